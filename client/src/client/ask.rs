//! Which member of a swarm is asked, and which one next.
//!
//! One member is asked; when it fails the next one is, and when it is silent for a while the next
//! one is asked beside it. Every request may be repeated, so the first answer that can be believed
//! is taken. A node that failed is asked last for some seconds.

use std::{collections::BTreeMap, time::Duration};

use futures::{
    StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use session_protocols::{
    AccountId, NodeId, Protocol,
    answer::{Answer, Body, Code, MAX_ANSWER, Refusal, SwarmInfo},
    codec,
    libp2p::link::LinkError,
    member::is_majority,
    request::Request,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Inner;
use crate::{
    clock::{Clock, Comparison},
    envelope::SealError,
    error::ClientError,
};

/// How often the members of a swarm are gone through.
const ROUNDS: u32 = 3;
/// The pause before the second round; it doubles.
const PAUSE: Duration = Duration::from_millis(400);
/// Members that are asked at once.
const MAX_RUNNING: usize = 3;
/// Members that have to say that a request is wrong until it is believed.
const WITNESSES: usize = 2;
/// The most members that a swarm has.
const MAX_SWARM: usize = 32;
/// The fewest members that a swarm has, in a network of more.
const MIN_SWARM: usize = 5;
/// Members beside the first whose clocks are looked at.
const CLOCKS: usize = 2;

/// Why one member gave nothing to go on with.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It cannot be reached, or is silent.
    Silent,
    /// Too much is under way to it.
    Busy,
    /// What it says cannot be believed.
    Disbelieved(&'static str),
    /// It refuses.
    Refused(Refusal),
}

/// Why no member gave anything to go on with.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The clock was moved: what was made with the old time must be made again.
    ClockMoved,
    /// There is nothing to ask for: the message cannot be written.
    Seal(SealError),
    /// The clock is wrong by so many milliseconds, too many to follow the nodes.
    ClockWrong(i64),
    /// Each member's last fault.
    Faults(BTreeMap<NodeId, Fault>),
}

/// What is asked of a swarm, and whom it may be asked of first.
pub(crate) struct Question {
    /// Whose mailbox it is about.
    pub(crate) account: AccountId,
    /// How long a member may take to answer.
    pub(crate) patience: Duration,
    /// Asked first, unless it failed lately.
    pub(crate) first: Option<NodeId>,
}

impl Inner {
    /// Asks one member after the other until `judge` takes an answer.
    ///
    /// `judge` is told the members of the swarm, which may be others than the map says when a node
    /// has pointed elsewhere.
    pub(crate) async fn ask<T>(
        &self,
        question: Question,
        request: impl Fn(NodeId) -> Request + Sync,
        judge: impl Fn(NodeId, &[NodeId], Body) -> Result<T, Fault> + Sync,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.options.deadline;
        let mut swarm = self.map.members_of(&question.account).to_vec();
        let mut faults = BTreeMap::new();
        let (mut followed, mut compared) = (false, false);
        for round in 0..ROUNDS {
            let again = |node: &NodeId| faults.get(node).is_none_or(may_be_asked_again);
            let mut queue: Vec<_> = self.order(&swarm, Protocol::Storage).into_iter().filter(again).collect();
            if let Some(first) =
                question.first.filter(|first| queue.contains(first) && !self.links.avoided(*first))
            {
                queue.retain(|node| *node != first);
                queue.insert(0, first);
            }
            if queue.is_empty() {
                break;
            }
            if round > 0 {
                let pause = self.jitter(PAUSE * 2_u32.pow(round - 1));
                if Instant::now() + pause >= deadline {
                    break;
                }
                sleep(pause).await;
            }
            queue.reverse();
            let mut running = FuturesUnordered::new();
            let mut hedge = Instant::now();
            loop {
                if running.is_empty() || (Instant::now() >= hedge && running.len() < MAX_RUNNING) {
                    if let Some(node) = queue.pop() {
                        let asked = self.exchange(node, codec::encode(&request(node)), question.patience);
                        running.push(async move { (node, asked.await) });
                        hedge = Instant::now() + self.options.hedge;
                    } else if running.is_empty() {
                        break;
                    }
                }
                let may_hedge = running.len() < MAX_RUNNING && !queue.is_empty();
                let (node, outcome) = tokio::select! {
                    Some(answered) = running.next() => answered,
                    () = sleep_until(hedge), if may_hedge => continue,
                    () = sleep_until(deadline) => return Err(Failure::Faults(faults)),
                };
                let fault = match outcome.and_then(split).and_then(|body| judge(node, &swarm, body)) {
                    Ok(done) => {
                        self.links.answered(node);
                        return Ok(done);
                    }
                    Err(fault) => fault,
                };
                match &fault {
                    Fault::Refused(Refusal { code: Code::WrongSwarm, swarm: Some(info), .. })
                        if !followed && self.is_plausible(info) =>
                    {
                        let info = info.clone();
                        faults.insert(node, fault);
                        if is_witnessed(&info, &faults, &swarm) {
                            followed = true;
                            swarm = info.members;
                            running.clear();
                            queue = self.order(&swarm, Protocol::Storage);
                            queue.reverse();
                        }
                        continue;
                    }
                    Fault::Refused(Refusal { code: Code::Clock, .. }) if !compared => {
                        compared = true;
                        match self.compare_clocks(node, &swarm).await {
                            Comparison::Same => {}
                            Comparison::Moved => return Err(Failure::ClockMoved),
                            Comparison::TooFar(by) => return Err(Failure::ClockWrong(by)),
                        }
                    }
                    Fault::Silent | Fault::Disbelieved(_) => self.links.failed(node),
                    Fault::Refused(_) | Fault::Busy => {}
                }
                tracing::debug!(%node, ?fault, "the next member is asked");
                faults.insert(node, fault);
                hedge = Instant::now();
                let wrong = faults.values().filter(|fault| is_final(fault)).count();
                if wrong >= WITNESSES {
                    return Err(Failure::Faults(faults));
                }
            }
        }
        Err(Failure::Faults(faults))
    }

    /// Asks one node.
    ///
    /// Boxed, so that what is below it is compiled here and not again by every crate that calls a
    /// method of [`super::Client`].
    pub(crate) fn exchange(
        &self,
        node: NodeId,
        payload: Vec<u8>,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Answer, Fault>> {
        Box::pin(async move {
            let mut tries = 0..2;
            loop {
                let kept = self.links.live(node, Protocol::Storage);
                let link = self.links.link(node, Protocol::Storage, self.clock.now());
                let link = timeout(self.options.connect, link).await;
                let link = link.ok().and_then(Result::ok).ok_or(Fault::Silent)?;
                tries.next();
                match timeout(patience, link.ask(payload.clone())).await {
                    Ok(Ok(bytes)) => {
                        return codec::decode(&bytes, MAX_ANSWER)
                            .map_err(|_| Fault::Disbelieved("the answer cannot be read"));
                    }
                    // The stream had ended before it was used: that tells nothing of the node.
                    Ok(Err(LinkError::Closed)) if kept && !tries.is_empty() => {}
                    Ok(Err(LinkError::Busy)) => return Err(Fault::Busy),
                    Ok(Err(_)) => return Err(Fault::Silent),
                    Err(_) => {
                        self.links.forget(node, Protocol::Storage);
                        return Err(Fault::Silent);
                    }
                }
            }
        })
    }

    /// Whether a swarm that a node names could be one: its members are nodes of the network, as
    /// many as a swarm has, by a map that is no older.
    fn is_plausible(&self, info: &SwarmInfo) -> bool {
        let addresses = self.links.addresses();
        let distinct = info.members.is_sorted_by(|one, next| one < next);
        let fits = (MIN_SWARM.min(addresses.len())..=MAX_SWARM).contains(&info.members.len());
        let known = info.members.iter().all(|node| addresses.contains(node));
        distinct && fits && known && info.map_version >= self.map.version
    }

    /// Compares the clock with that of the node which complained, and of some others beside it.
    pub(crate) async fn compare_clocks(&self, node: NodeId, swarm: &[NodeId]) -> Comparison {
        let members = self.order(swarm, Protocol::Storage);
        let others = members.into_iter().filter(|other| *other != node).take(CLOCKS);
        let look = |node| async move {
            let answer = self.exchange(node, codec::encode(&Request::Info), self.options.answer).await;
            answer.ok().map(|answer| Clock::sample(answer.time))
        };
        let samples = join_all([node].into_iter().chain(others).map(look)).await;
        self.clock.follow(samples.into_iter().flatten().collect())
    }

    /// Says what went wrong.
    pub(crate) fn error(&self, account: AccountId, failure: Failure) -> ClientError {
        let faults = match failure {
            Failure::ClockMoved => return ClientError::Clock { seconds: 0 },
            Failure::ClockWrong(by) => return ClientError::Clock { seconds: by / 1_000 },
            Failure::Seal(error) => return error.into(),
            Failure::Faults(faults) => faults,
        };
        let swarm = self.map.members_of(&account).len();
        if swarm == 0 {
            return ClientError::NoNodes { account };
        }
        let mut error = ClientError::Unreachable { account, asked: faults.len(), swarm };
        // What nodes say tells more than silence, and a refusal more than what is not believed.
        for (node, fault) in &faults {
            if let Fault::Disbelieved(what) = fault {
                error = ClientError::Disbelieved { node: *node, what };
            }
        }
        for (node, fault) in faults {
            if let Fault::Refused(refusal) = fault {
                error = ClientError::Refused { node, code: refusal.code };
            }
        }
        error
    }
}

/// Whether a majority of `swarm` names this other swarm instead. Fewer could have made it up, to
/// sign for what they do not keep; the same majority is trusted with the messages.
fn is_witnessed(info: &SwarmInfo, faults: &BTreeMap<NodeId, Fault>, swarm: &[NodeId]) -> bool {
    let names = |node: &&NodeId| match faults.get(*node) {
        Some(Fault::Refused(refusal)) => refusal.swarm.as_ref() == Some(info),
        Some(Fault::Silent | Fault::Busy | Fault::Disbelieved(_)) | None => false,
    };
    is_majority(swarm.iter().filter(names).count(), swarm)
}

/// Takes a refusal for what it is.
///
/// One with receipts goes on to whoever counts them.
fn split(answer: Answer) -> Result<Body, Fault> {
    if let Body::Refused(refusal @ Refusal { receipts: None, .. }) = answer.body {
        return Err(Fault::Refused(refusal));
    }
    Ok(answer.body)
}

/// Whether every member would say the same.
fn is_final(fault: &Fault) -> bool {
    use Code::{
        BadRequest, BadTtl, Clock, Failed, Full, NotReady, TooLarge, TooMany, Unauthorized, WrongSwarm,
    };
    match fault {
        Fault::Silent | Fault::Busy | Fault::Disbelieved(_) => false,
        Fault::Refused(refusal) => match refusal.code {
            BadRequest | Unauthorized | BadTtl | TooLarge => true,
            Clock | WrongSwarm | TooMany | Failed | NotReady | Full => false,
        },
    }
}

/// Whether a member may do better when it is asked again soon.
fn may_be_asked_again(fault: &Fault) -> bool {
    match fault {
        Fault::Silent | Fault::Busy => true,
        Fault::Disbelieved(_) => false,
        Fault::Refused(refusal) => matches!(refusal.code, Code::TooMany | Code::Failed | Code::NotReady),
    }
}
