//! Which member of a swarm is asked, and which one next.
//!
//! One member is asked; when it fails the next one is, and when it is silent for a while the next
//! one is asked beside it; neither at a time that can be foreseen. Every request may be repeated, so
//! the first answer that can be believed is taken. A node that failed is asked last for some seconds.
//!
//! Each exchange travels over an onion path, in packets and answers of a few fixed sizes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
    limits::{Side, payer},
    onion::{size::Bucket, wrap::Service},
    path::{
        PathError, Use,
        delivery::{self, Received},
    },
    request::{Delete, Expire, MAX_REQUEST, Request, Which},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Inner, watch::TICK};
use crate::{
    clock::{Clock, Comparison},
    directory::DirectoryError,
    envelope::SealError,
    error::ClientError,
    onion::{Onion, Parcel},
};

/// How often the members of a swarm are gone through.
const ROUNDS: u32 = 3;
/// How long rounds go on in which nothing comes back over any path: nodes that were killed refuse
/// handshakes for up to 10 s after their return, because they do not know what they took before.
const RESTART: Duration = Duration::from_secs(12);
/// The pause before the second round; it doubles.
const PAUSE: Duration = Duration::from_millis(400);
/// The longest pause after a member failed, until the next one is asked.
const SOON: Duration = Duration::from_millis(100);
/// Members that are asked at once.
const MAX_RUNNING: usize = 3;
/// Members that have to say that a request is wrong until it is believed.
pub(super) const WITNESSES: usize = 2;
/// What is said of a node whose answer no packet holds.
pub(super) const ANSWER_TOO_LARGE: &str = "its answer is larger than any";
/// How long a first checkpoint is waited for.
const MEMBERS: Duration = Duration::from_secs(10);
/// What a changed message takes up in the receipts of a swarm, in bytes.
const CHANGED: usize = 34 * 10;
/// Accounts whose next page is a large one.
const MAX_HUNGRY: usize = 1_024;
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
    /// There is no path to it.
    Path(PathError),
    /// There is no list of nodes to make paths of.
    Directory(DirectoryError),
    /// The clock was moved: the request must be made again.
    ClockMoved,
    /// The clock is wrong by so many milliseconds, too many to follow the nodes.
    ClockWrong(i64),
    /// The request of so many bytes is larger than any that may be sent.
    TooLarge(usize),
}

impl From<delivery::Fault> for Fault {
    fn from(fault: delivery::Fault) -> Self {
        match fault {
            delivery::Fault::Silent => Self::Silent,
            delivery::Fault::Busy => Self::Busy,
            delivery::Fault::Service => Self::Disbelieved("it does not know the service"),
            delivery::Fault::Key => Self::Disbelieved("its onion key cannot be used"),
            delivery::Fault::Path(error) => Self::Path(error),
            delivery::Fault::ClockMoved => Self::ClockMoved,
            delivery::Fault::ClockWrong(by) => Self::ClockWrong(by),
            delivery::Fault::TooLarge(bytes) => Self::TooLarge(bytes),
        }
    }
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
    /// The request of so many bytes is larger than any that may be sent.
    TooLarge(usize),
    /// Nothing proves which nodes keep what.
    Directory(DirectoryError),
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
    /// What paths it may go over; of none, those of what is asked.
    pub(crate) usage: Option<Use>,
}

/// How large an answer is asked for.
///
/// A write, an empty mailbox and a mailbox with one short message look alike: the smallest bucket. Only
/// where more is known to wait the next page is a large one.
#[derive(Debug, Default)]
pub(crate) struct Appetite(Mutex<BTreeSet<AccountId>>);

impl Appetite {
    fn bucket(&self, request: &Request) -> Bucket {
        let [small, .., large] = Bucket::ALL;
        match request {
            Request::Retrieve(retrieve) if self.hungry().contains(&retrieve.account) => large,
            Request::Fetch(fetch) if fetch.hashes.len() > 1 => large,
            Request::Delete(Delete { which, .. }) | Request::Expire(Expire { which, .. }) => match which {
                Which::Hashes(hashes) if hashes.len() > 1 => {
                    Bucket::fitting(small.capacity() + hashes.len() * CHANGED).unwrap_or(large)
                }
                Which::Hashes(_) => small,
                Which::In { .. } => large,
            },
            Request::GetExpiries(_) | Request::GetRevoked(_) | Request::Revoke(_) => large,
            Request::Batch(_) | Request::Sequence(_) | Request::If(_) => large,
            Request::Store(_)
            | Request::Retrieve(_)
            | Request::Fetch(_)
            | Request::GetSwarm { .. }
            | Request::Info => small,
        }
    }

    fn note(&self, request: &Request, body: &Body) {
        let Request::Retrieve(retrieve) = request else { return };
        let mut hungry = self.hungry();
        let more = matches!(body, Body::Messages { more: true, .. } | Body::Ids { more: true, .. });
        if !more {
            hungry.remove(&retrieve.account);
        } else if hungry.len() < MAX_HUNGRY {
            hungry.insert(retrieve.account);
        }
    }

    fn hungry(&self) -> MutexGuard<'_, BTreeSet<AccountId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let mut swarm = self.swarm_of(&question.account).await?;
        let mut faults = BTreeMap::new();
        // Each once.
        let (mut followed, mut looked, mut compared) = (false, false, false);
        let begun = Instant::now();
        let offset = self.clock.offset_ms();
        for round in 0.. {
            let pathless = self.onion.is_some() && faults.values().all(is_silence);
            if round >= ROUNDS && !(pathless && begun.elapsed() < RESTART) {
                break;
            }
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
                let pause = self.jitter(PAUSE * 2_u32.pow((round - 1).min(1)));
                if Instant::now() + pause >= deadline {
                    break;
                }
                sleep(pause).await;
            }
            queue.reverse();
            let mut running = FuturesUnordered::new();
            let mut hedge = Instant::now();
            loop {
                if running.is_empty() && queue.is_empty() {
                    break;
                }
                if Instant::now() >= hedge
                    && running.len() < MAX_RUNNING
                    && let Some(node) = queue.pop()
                {
                    let asked = self.exchange_as(node, request(node), question.patience, question.usage);
                    running.push(async move { (node, asked.await) });
                    // After a time that nobody can foresee: by it two questions could be known for one
                    // request. And not before another path was tried.
                    let half = self.options.hedge / 2;
                    hedge = Instant::now() + half + self.jitter(half);
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
                        if !followed =>
                    {
                        let look = !std::mem::replace(&mut looked, true);
                        let other = self.follow(&question.account, info, &swarm, look).await;
                        faults.insert(node, fault);
                        if let Some(other) = other {
                            followed = true;
                            swarm = other;
                            running.clear();
                            queue = self.order(&swarm, Protocol::Storage);
                            queue.reverse();
                            hedge = Instant::now();
                        }
                        continue;
                    }
                    Fault::ClockMoved => return Err(Failure::ClockMoved),
                    Fault::ClockWrong(by) => return Err(Failure::ClockWrong(*by)),
                    // What another request found out holds for this one.
                    Fault::Refused(Refusal { code: Code::Clock | Code::BadTtl, .. })
                        if self.clock.offset_ms() != offset =>
                    {
                        return Err(Failure::ClockMoved);
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
                    Fault::TooLarge(bytes) => return Err(Failure::TooLarge(*bytes)),
                    // No other member can be reached either.
                    Fault::Path(PathError::TooFew { .. }) | Fault::Directory(_) => {
                        faults.insert(node, fault);
                        return Err(Failure::Faults(faults));
                    }
                    Fault::Refused(_) | Fault::Busy | Fault::Path(_) => {}
                }
                tracing::debug!(%node, ?fault, "the next member is asked");
                faults.insert(node, fault);
                hedge = Instant::now() + self.jitter(SOON);
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
        request: Request,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Answer, Fault>> {
        self.exchange_as(node, request, patience, None)
    }

    fn exchange_as(
        &self,
        node: NodeId,
        request: Request,
        patience: Duration,
        usage: Option<Use>,
    ) -> BoxFuture<'_, Result<Answer, Fault>> {
        let payload = codec::encode(&request);
        let usage = usage.unwrap_or_else(|| self::usage(&request));
        Box::pin(async move {
            match &self.onion {
                _ if payload.len() > MAX_REQUEST => Err(Fault::TooLarge(payload.len())),
                Some(onion) => self.by_path(onion, node, usage, &request, payload, patience).await,
                None => {
                    let bytes = self.directly(node, Protocol::Storage, payload, patience).await?;
                    codec::decode(&bytes, MAX_ANSWER)
                        .map_err(|_| Fault::Disbelieved("the answer cannot be read"))
                }
            }
        })
    }

    /// Asks one node for what arrives after a cursor, and gives it time to wait for that; none when that
    /// is longer than the answer of a watch, which is never larger than the smallest.
    pub(crate) fn await_arrival(
        &self,
        onion: &Onion,
        node: NodeId,
        request: Request,
    ) -> impl Future<Output = Result<Option<Answer>, Fault>> + Send {
        let [answer, ..] = Bucket::ALL;
        let (usage, service) = (usage(&request), Service::Notify);
        let hold = TICK;
        let hedge = self.options.hedge;
        let patience = hold + hedge + self.options.answer;
        let parcel =
            Parcel { usage, service, request: codec::encode(&request), answer, patience, hold, hedge };
        let parcel = Arc::new(parcel);
        async move {
            match onion.send(node, &parcel).await? {
                Received::Answer(bytes) => self.read_answer(&request, &bytes).map(Some),
                Received::TooLarge => Ok(None),
            }
        }
    }

    async fn by_path(
        &self,
        onion: &Onion,
        node: NodeId,
        usage: Use,
        request: &Request,
        payload: Vec<u8>,
        patience: Duration,
    ) -> Result<Answer, Fault> {
        let (service, answer) = (Service::Storage, self.appetite.bucket(request));
        // Another path is tried before another member is asked.
        let hedge = self.options.hedge * 3 / 4;
        let hold = Duration::ZERO;
        let parcel = Parcel { usage, service, request: payload, answer, patience, hold, hedge };
        let bytes = self.carry(onion, node, parcel).await?;
        self.read_answer(request, &bytes)
    }

    /// Sends a parcel, for a larger answer again until it fits.
    pub(super) async fn carry(&self, onion: &Onion, node: NodeId, parcel: Parcel) -> Result<Vec<u8>, Fault> {
        let mut parcel = Arc::new(parcel);
        loop {
            match onion.send(node, &parcel).await? {
                Received::Answer(bytes) => return Ok(bytes),
                Received::TooLarge => {
                    let next = Bucket::from_number(parcel.answer.number().saturating_add(1));
                    Arc::make_mut(&mut parcel).answer = next.ok_or(Fault::Disbelieved(ANSWER_TOO_LARGE))?;
                }
            }
        }
    }

    fn read_answer(&self, request: &Request, bytes: &[u8]) -> Result<Answer, Fault> {
        let answer: Answer =
            codec::decode(bytes, MAX_ANSWER).map_err(|_| Fault::Disbelieved("the answer cannot be read"))?;
        self.appetite.note(request, &answer.body);
        Ok(answer)
    }

    pub(super) fn directly(
        &self,
        node: NodeId,
        protocol: Protocol,
        payload: Vec<u8>,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async move {
            let mut tries = 0..2;
            loop {
                let kept = self.links.live(node, protocol);
                let link = self.links.link(node, protocol, self.clock.now());
                let link = timeout(self.options.connect, link).await;
                let link = link.ok().and_then(Result::ok).ok_or(Fault::Silent)?;
                tries.next();
                match timeout(patience, link.ask(payload.clone())).await {
                    Ok(Ok(bytes)) => return Ok(bytes),
                    // The stream had ended before it was used: that tells nothing of the node.
                    Ok(Err(LinkError::Closed)) if kept && !tries.is_empty() => {}
                    Ok(Err(LinkError::Busy)) => return Err(Fault::Busy),
                    Ok(Err(_)) => return Err(Fault::Silent),
                    Err(_) => {
                        self.links.forget(node, protocol);
                        return Err(Fault::Silent);
                    }
                }
            }
        })
    }

    /// The members of the swarm that keeps an account; in a network with a chain a checkpoint has to say which
    /// it is.
    pub(crate) async fn swarm_of(&self, account: &AccountId) -> Result<Vec<NodeId>, Failure> {
        let known = self.members.is_known();
        if !known || (self.onion.is_none() && self.members.is_behind(self.clock.now())) {
            let learned = self.learn_members().await;
            if !self.members.is_known() {
                return Err(learned.err().map_or(Failure::Faults(BTreeMap::new()), Failure::Directory));
            }
        }
        Ok(self.map().members_of(account).to_vec())
    }

    /// Fetches the newest checkpoint; for a first one nodes that have just started are given a moment.
    pub(super) async fn learn_members(&self) -> Result<(), DirectoryError> {
        let until = Instant::now() + self.options.deadline.min(MEMBERS);
        let mut pause = Duration::from_millis(100);
        loop {
            let guards = self.onion.as_ref().map_or_else(Vec::new, |onion| onion.guards());
            let again = !self.members.is_known();
            let learned = self.doors.refresh(&guards, again).await;
            if let Some(onion) = &self.onion {
                onion.tell();
            }
            let none = matches!(learned, Ok(()) | Err(DirectoryError::Uncertain | DirectoryError::Silent));
            if self.members.is_known() || !none || Instant::now() + pause >= until {
                return learned;
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// The other swarm that keeps an account, when a member of `swarm` names one: if a map says so that is
    /// proven, or, where it may be looked, the newest checkpoint does once it was fetched. Nothing is followed
    /// on that member's word.
    async fn follow(
        &self,
        account: &AccountId,
        info: &SwarmInfo,
        swarm: &[NodeId],
        look: bool,
    ) -> Option<Vec<NodeId>> {
        if self.members.proves(account, info) {
            return Some(info.members.clone()).filter(|members| members != swarm);
        }
        if look && self.members.is_newer(info.map_version) {
            let guards = self.onion.as_ref().map_or_else(Vec::new, |onion| onion.guards());
            if let Err(error) = self.doors.refresh(&guards, true).await {
                tracing::debug!(%error, "no newer checkpoint");
            }
            if self.members.proves(account, info) {
                return Some(info.members.clone()).filter(|members| members != swarm);
            }
        }
        let now = self.map().members_of(account).to_vec();
        (now != swarm).then_some(now)
    }

    /// Compares the clock with that of the node which complained, and of some others beside it.
    pub(crate) async fn compare_clocks(&self, node: NodeId, swarm: &[NodeId]) -> Comparison {
        let members = self.order(swarm, Protocol::Storage);
        let others = members.into_iter().filter(|other| *other != node).take(CLOCKS);
        let look = |node| async move {
            let answer = self.exchange(node, Request::Info, self.options.answer).await;
            answer.ok().map(|answer| Clock::sample(answer.time))
        };
        let samples = join_all([node].into_iter().chain(others).map(look)).await;
        self.clock.follow(samples.into_iter().flatten().collect())
    }

    /// Says what went wrong.
    pub(crate) fn error(&self, account: AccountId, failure: Failure) -> ClientError {
        let swarm = self.map().members_of(&account).len();
        let asked = match &failure {
            Failure::Faults(faults) if swarm == 0 && !faults.values().any(is_unlisted) => {
                return ClientError::NoNodes { account };
            }
            Failure::Faults(faults) => faults.len(),
            Failure::ClockMoved
            | Failure::Seal(_)
            | Failure::ClockWrong(_)
            | Failure::TooLarge(_)
            | Failure::Directory(_) => 0,
        };
        worst(ClientError::Unreachable { account, asked, swarm }, failure)
    }
}

/// Whether a list of nodes was lacking.
const fn is_unlisted(fault: &Fault) -> bool {
    matches!(fault, Fault::Directory(_))
}

/// What went wrong: of many faults the one that tells most; `silent` where none tells anything.
pub(super) fn worst(silent: ClientError, failure: Failure) -> ClientError {
    let faults = match failure {
        Failure::ClockMoved => return ClientError::Clock { seconds: 0 },
        Failure::ClockWrong(by) => return ClientError::Clock { seconds: by / 1_000 },
        Failure::Seal(error) => return error.into(),
        Failure::TooLarge(bytes) => return ClientError::TooLarge { bytes },
        Failure::Directory(cause) => return ClientError::Directory { cause },
        Failure::Faults(faults) => faults,
    };
    let mut error = silent;
    for fault in faults.values() {
        match fault {
            Fault::Path(why) => error = (*why).into(),
            Fault::Directory(cause) => error = ClientError::Directory { cause: *cause },
            Fault::ClockWrong(by) => error = ClientError::Clock { seconds: by / 1_000 },
            Fault::Silent
            | Fault::Busy
            | Fault::Disbelieved(_)
            | Fault::Refused(_)
            | Fault::ClockMoved
            | Fault::TooLarge(_) => {}
        }
    }
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

/// Which paths a request may go over.
const fn usage(request: &Request) -> Use {
    if let Request::Store(_) = request {
        // Whoever signs it: a path that reads never stores.
        return Use::Send;
    }
    match payer(request) {
        Some((account, Side::Owner)) => Use::Read(*account),
        Some((_, Side::Stranger)) => Use::Send,
        None => Use::Look,
    }
}

/// Takes a refusal for what it is.
///
/// One with receipts goes on to whoever counts them.
pub(super) fn split(answer: Answer) -> Result<Body, Fault> {
    if let Body::Refused(refusal @ Refusal { receipts: None, .. }) = answer.body {
        return Err(Fault::Refused(refusal));
    }
    Ok(answer.body)
}

/// Whether every member would say the same.
pub(super) fn is_final(fault: &Fault) -> bool {
    use Code::{
        BadRequest, BadTtl, Clock, Failed, Full, NotFound, NotReady, TooLarge, TooMany, Unauthorized,
        WrongSwarm,
    };
    match fault {
        Fault::Silent
        | Fault::Busy
        | Fault::Disbelieved(_)
        | Fault::Path(_)
        | Fault::Directory(_)
        | Fault::ClockMoved
        | Fault::ClockWrong(_)
        | Fault::TooLarge(_) => false,
        Fault::Refused(refusal) => match refusal.code {
            BadRequest | Unauthorized | BadTtl | NotFound | TooLarge => true,
            Clock | WrongSwarm | TooMany | Failed | NotReady | Full => false,
        },
    }
}

/// Whether nothing came back.
const fn is_silence(fault: &Fault) -> bool {
    matches!(fault, Fault::Silent | Fault::Busy | Fault::Path(_))
}

/// Whether a member may do better when it is asked again soon.
fn may_be_asked_again(fault: &Fault) -> bool {
    match fault {
        Fault::Silent | Fault::Busy | Fault::Path(_) | Fault::ClockMoved => true,
        Fault::Disbelieved(_) | Fault::Directory(_) | Fault::ClockWrong(_) | Fault::TooLarge(_) => false,
        Fault::Refused(refusal) => matches!(refusal.code, Code::TooMany | Code::Failed | Code::NotReady),
    }
}
