//! One member of a swarm: mailboxes, replication and subscriptions under one door.
//!
//! The host hands [`Member::handle`] a batch of inputs inside one store transaction, commits it, and
//! only then takes the outputs: no word leaves before what it promises is durable. Signatures are
//! checked before, by [`check_request`], [`check_ask`] and [`check_answer`], which need no state and
//! run on any thread.

mod bulk;
mod change;
mod check;
mod clients;

use std::collections::{BTreeMap, VecDeque};

pub use check::{
    CheckedAnswer, CheckedAsk, Open, check_answer, check_ask, check_request, open_answer, open_ask,
};

use crate::{
    KeyPair, Maps, NetworkName, NodeId, SwarmId, Time,
    answer::{Answer, Code, Failure, Receipt, Receipts, Subject, Told, told},
    limits::{Limiter, Rate},
    mailbox::{self, Limits, Mailbox},
    maps::Outlook,
    notify::{self, Subscribed, Subscriptions},
    record::Mutation,
    replication::{Handover, Repair, Responder, Writes, repair, writes},
    request::{Cursor, Door, Request, Retrieve},
    ring,
    store::{StoreError, Transaction},
    swarm::{Ask, Replicated, SwarmAnswer, SwarmRequest},
};
use bulk::Bulk;
use check::Checked;

/// What the machine is fed. Every signature in it has been checked.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client asks.
    Request {
        /// The host's number for it.
        ticket: u64,
        /// What it asks; [`check_request`] has passed it. Of several requests the host hands in one at a
        /// time.
        request: Request,
        /// Through which door the client came.
        door: Door,
    },
    /// Another node asks.
    Asked {
        /// The host's number for it.
        ticket: u64,
        /// Who.
        from: NodeId,
        /// What, after [`check_ask`].
        ask: CheckedAsk,
    },
    /// The answer to an [`Output::Send`] came, or will not come.
    Answered {
        /// The number of [`Output::Send`].
        exchange: u64,
        /// What came, after [`check_answer`]; none when nothing did.
        answer: Option<CheckedAnswer>,
    },
    /// A client subscribes.
    Subscribe {
        /// The host's number for it.
        subscriber: u64,
        /// What to; its authority is checked.
        retrieve: Retrieve,
    },
    /// A subscriber has gone.
    Unsubscribe {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
    },
    /// A subscriber took what [`Output::Push`] asked for.
    Pushed {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
        /// Where it ended.
        cursor: Cursor,
        /// Whether more was waiting.
        more: bool,
    },
    /// The bytes behind one record cannot be read, the host found ([`StoreError::Lost`]).
    Lost {
        /// Whose.
        account: crate::AccountId,
        /// Which.
        hash: crate::MessageHash,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A node can be reached (again).
    Connected(NodeId),
    /// A node cannot be reached any more.
    Disconnected(NodeId),
    /// These are the maps that are known from now on. To be said once at least at each border of an
    /// epoch; maps that are no newer than those known change nothing.
    Maps(Maps),
    /// Time has passed.
    Tick,
}

/// What the host must do once the batch is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Answer a client.
    Answer {
        /// The ticket of [`Input::Request`].
        ticket: u64,
        /// The answer.
        answer: Answer,
    },
    /// Answer a node.
    Reply {
        /// The ticket of [`Input::Asked`].
        ticket: u64,
        /// The answer.
        answer: SwarmAnswer,
    },
    /// Ask a member, check its answer against `subjects`, report it.
    Send {
        /// Names it in the report.
        exchange: u64,
        /// Whom.
        to: NodeId,
        /// What.
        request: SwarmRequest,
        /// What each receipt of the answer must be about.
        subjects: Vec<Subject>,
    },
    /// Answer a subscription, or end it when refused.
    Subscribed {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
        /// The answer.
        answer: Subscribed,
    },
    /// Read a page for a subscriber, send it if it holds anything, report [`Input::Pushed`].
    Push {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
        /// Whose mailbox.
        account: crate::AccountId,
        /// Which drawer.
        namespace: crate::Namespace,
        /// From where.
        after: Option<Cursor>,
    },
    /// A comparison with another member ended well.
    Reconciled {
        /// With whom.
        with: NodeId,
        /// How many mutations were fetched.
        fetched: u64,
    },
    /// Something could not be read from the disk: what this is about was refused or forgotten, and is
    /// fetched again from the others where it can be. Reopening the store would not mend it.
    Damaged(&'static str),
}

/// How a member is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The network.
    pub network: NetworkName,
    /// The node's key, with which it signs receipts.
    pub pair: KeyPair,
    /// Which nodes form which swarm, as far as is known now.
    pub maps: Maps,
    /// How much may be kept.
    pub limits: Limits,
    /// The version of the software.
    pub version: String,
    /// The version of the rules that the network goes by: see [`RULES`](crate::answer::RULES).
    pub rules: [u64; 2],
}

/// The machine.
#[derive(Debug)]
pub struct Member {
    setup: Setup,
    outlook: Outlook,
    swarm: Option<SwarmId>,
    mailbox: Mailbox,
    writes: Writes,
    repair: Repair,
    responder: Responder,
    handover: Handover,
    /// What each of the others may ask about this member's store.
    comparisons: Limiter<NodeId>,
    subscriptions: Subscriptions,
    /// Clients that wait for a majority.
    waiting: BTreeMap<u64, Waiting>,
    /// How many of them wait for changes that have more steps than one.
    bulks: usize,
    /// Those of these whose next step is due.
    steps: VecDeque<u64>,
    /// How many further steps were taken.
    taken: u64,
    exchanges: BTreeMap<u64, Exchange>,
    /// The exchange of the comparison under way: a late answer to an earlier one is of no use.
    question: Option<u64>,
    next_exchange: u64,
    /// When to forget what has ended next.
    forget_at: Time,
    /// The disk is full: nothing is written.
    full: bool,
    /// The last final block of the settlement chain.
    height: u64,
    outbox: VecDeque<Output>,
}

/// A client that waits for a write.
#[derive(Debug)]
struct Waiting {
    /// The host's number for it.
    ticket: u64,
    door: Door,
    required: bool,
    /// What was done here, once it was: what about, and whether it was known before.
    done: Option<(Subject, bool)>,
    /// Where it may have more steps than one.
    bulk: Option<Box<Bulk>>,
}

/// A batch of another member's that was just applied.
struct Batch {
    /// The map by which it came.
    version: u64,
    /// Which of its mutations never got there.
    refused: Vec<Option<Code>>,
    /// Which of them clients of the JSON door asked for.
    json: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Exchange {
    Batch(u64),
    Question(u64),
    Handover(u64),
}

/// Questions that one member may ask about another's store; so many records that have to be read for it
/// count as one more.
const COMPARISONS: Rate = Rate { per_second: 500, burst: 8_000 };
/// See [`COMPARISONS`].
const EFFORT_UNIT: u64 = 4_096;
/// Nodes whose questions are counted: more than have anything to do with one while maps change.
const MAX_COMPARED: usize = 256;
/// Damaged messages that one question may come upon; the next one finds the rest.
const MAX_LOST: usize = 128;
/// How often what has ended is looked for.
const FORGET_EVERY: crate::Span = crate::Span::secs(5);

impl Member {
    /// A member as the maps say; a node without a swarm refuses everything but [`Request::Info`].
    pub fn new(setup: Setup) -> Self {
        let me = setup.pair.node_id();
        let outlook = Outlook::new(me, setup.maps.clone());
        let mut handover = Handover::default();
        handover.look(Time::ZERO);
        let mut writes = Writes::new(me, [], 0);
        writes.change(outlook.kin(), setup.maps.acts.version, setup.maps.newest());
        let mut member = Self {
            swarm: setup.maps.acts.swarm_with(&me),
            outlook,
            mailbox: Mailbox::new(setup.network.clone(), setup.limits),
            writes,
            repair: Repair::new(me, &setup.maps),
            responder: Responder::default(),
            handover,
            comparisons: Limiter::new(COMPARISONS, MAX_COMPARED),
            subscriptions: Subscriptions::new(),
            waiting: BTreeMap::new(),
            bulks: 0,
            steps: VecDeque::new(),
            taken: 0,
            exchanges: BTreeMap::new(),
            question: None,
            next_exchange: 0,
            forget_at: Time::ZERO,
            full: false,
            height: 0,
            outbox: VecDeque::new(),
            setup,
        };
        member.repair.set_steady(member.steady());
        member
    }

    /// Goes on after a batch that could not be committed, over the reopened store, which holds all
    /// that was durable before.
    ///
    /// Whoever waited is not answered and may repeat, and subscribers subscribe anew. Comparisons that
    /// had ended before the batch still count, so that a disk that is full takes no reader away.
    pub fn resume(&mut self, now: Time) {
        let (full, height) = (self.full, self.height);
        let mut resumed = Self { full, height, ..Self::new(self.setup.clone()) };
        core::mem::swap(&mut resumed.repair, &mut self.repair);
        let void = self.outbox.drain(..).filter_map(|output| match output {
            Output::Reconciled { with, .. } => Some(with),
            Output::Answer { .. }
            | Output::Reply { .. }
            | Output::Send { .. }
            | Output::Subscribed { .. }
            | Output::Push { .. }
            | Output::Damaged(_) => None,
        });
        resumed.repair.resume(now, void.collect());
        *self = resumed;
    }

    /// Tells whether the disk is full. As long as it is, what would write is refused with 507, or left to the
    /// others for a client of the JSON door, and what the store keeps is read: no input makes the member append
    /// to the store.
    pub const fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Tells how high the settlement chain's last final block is, for who asks.
    pub const fn set_height(&mut self, height: u64) {
        self.height = height;
    }

    /// The maps that it goes by.
    pub const fn maps(&self) -> &Maps {
        self.outlook.maps()
    }

    /// The other nodes that it has to do with under these maps: the host keeps in contact with them and
    /// lets them ask.
    pub fn kin(&self) -> impl Iterator<Item = NodeId> {
        self.outlook.kin()
    }

    /// Whether it may still keep what belongs to other swarms by the map that acts. A node that leaves
    /// the network has handed everything over when this turns false.
    pub const fn handing_over(&self) -> bool {
        self.handover.under_way()
    }

    /// The swarm that this node belongs to.
    pub const fn swarm(&self) -> Option<SwarmId> {
        self.swarm
    }

    /// The members of that swarm, this one included.
    pub fn members(&self) -> &[NodeId] {
        self.swarm.map_or(&[], |swarm| self.maps().acts.members(swarm))
    }

    /// Whether clients are served: in a swarm, and caught up with a majority of it.
    pub fn ready(&self) -> bool {
        self.swarm.is_some() && (self.repair.caught_up() || crate::mutants::on("serve-stale"))
    }

    /// How many other members this one is caught up with.
    pub fn current(&self) -> usize {
        self.repair.current()
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// How many writes wait for a majority.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many exchanges with other members it waits for: at most [`writes::WINDOW`] for each of
    /// them, one comparison, and one question of a handover.
    pub fn under_way(&self) -> usize {
        self.exchanges.len()
    }

    /// Applies one input at `now`; results are read with [`Self::poll`] after the commit.
    ///
    /// # Errors
    ///
    /// When the store fails. The transaction must be dropped and the member made anew over the
    /// reopened store, or, where the disk is full, [resumed](Self::resume); whoever waits gets no answer
    /// and may repeat.
    pub fn handle<T: Transaction>(
        &mut self,
        now: Time,
        input: Input,
        store: &mut T,
    ) -> Result<(), StoreError> {
        match input {
            Input::Request { ticket, request, door } => self.request(now, ticket, request, door, store)?,
            Input::Asked { ticket, from, ask } => self.asked(now, ticket, from, ask, store)?,
            Input::Answered { exchange, answer } => self.answered(now, exchange, answer, store)?,
            Input::Subscribe { subscriber, retrieve } => self.subscribe(now, subscriber, retrieve, store)?,
            Input::Unsubscribe { subscriber } => {
                self.subscriptions.handle(now, notify::Input::Unsubscribe { subscriber });
            }
            Input::Pushed { subscriber, cursor, more } => {
                self.subscriptions.handle(now, notify::Input::Sent { subscriber, cursor, more });
            }
            Input::Lost { account, hash, why } => {
                self.outbox.push_back(Output::Damaged(why));
                if !self.full {
                    self.mailbox.handle(now, mailbox::Input::Lost { account, hash }, store)?;
                }
            }
            Input::Connected(node) => {
                self.writes.handle(now, writes::Input::Connected(node));
                self.repair.handle(now, repair::Input::Connected(node), store)?;
            }
            Input::Disconnected(node) => {
                self.repair.handle(now, repair::Input::Disconnected(node), store)?;
            }
            Input::Maps(maps) => self.change(now, maps),
            Input::Tick => {
                if now >= self.forget_at && self.full {
                    self.forget_at = now.after(FORGET_EVERY);
                } else if now >= self.forget_at {
                    self.mailbox.handle(now, mailbox::Input::Tick, store)?;
                    let again = self.mailbox.more_to_forget();
                    self.forget_at = if again { now } else { now.after(FORGET_EVERY) };
                }
                self.writes.handle(now, writes::Input::Tick);
                self.repair.handle(now, repair::Input::Tick, store)?;
                self.subscriptions.handle(now, notify::Input::Tick);
                self.step(now, store)?;
                if !self.full {
                    self.handover.step(now, !self.repair.idle(), &self.outlook, store)?;
                }
            }
        }
        self.drain(now, store)
    }

    /// Returns the next thing the host must do; call only after the commit.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Option<Time> {
        let (writes, repair, handover) =
            (self.writes.deadline(), self.repair.deadline(), self.handover.deadline().filter(|_| !self.full));
        let subscriptions = self.subscriptions.deadline();
        let step = (!self.steps.is_empty()).then_some(Time::ZERO);
        [writes, repair, handover, subscriptions, step, Some(self.forget_at)].into_iter().flatten().min()
    }

    fn asked<T: Transaction>(
        &mut self,
        now: Time,
        ticket: u64,
        from: NodeId,
        ask: CheckedAsk,
        store: &mut T,
    ) -> Result<(), StoreError> {
        let scope = match self.hear(&from, &ask) {
            Ok(scope) => scope,
            Err(code) => {
                self.outbox.push_back(Output::Reply { ticket, answer: SwarmAnswer::Refused { code } });
                return Ok(());
            }
        };
        let version = ask.map_version;
        match ask.ask {
            Checked::Replicate(..) if self.full => {
                let answer = SwarmAnswer::Refused { code: Code::Full };
                self.outbox.push_back(Output::Reply { ticket, answer });
            }
            Checked::Replicate(checked, json) => {
                // A bad one is refused alone; the rest of the batch goes on.
                let ours = |mutation: &Mutation| {
                    self.outlook.keeps(mutation.account(), version) || crate::mutants::on("keep-foreign")
                };
                let sound: Vec<_> = checked
                    .into_iter()
                    .map(|result| {
                        result.and_then(|one| if ours(&one) { Ok(one) } else { Err(Code::WrongSwarm) })
                    })
                    .collect();
                let refused: Vec<_> = sound.iter().map(|result| result.as_ref().err().copied()).collect();
                let mutations: Vec<_> = sound.into_iter().filter_map(Result::ok).collect();
                let acts = self.maps().acts.version;
                if mutations.iter().any(|mutation| !self.outlook.keeps(mutation.account(), acts)) {
                    self.handover.came(now);
                }
                self.mailbox.handle(now, mailbox::Input::Replicated { ticket, mutations }, store)?;
                self.drain_mailbox(now, Some(Batch { version, refused, json }));
            }
            Checked::Other(Ask::Behind) => {
                self.repair.handle(now, repair::Input::Behind(from), store)?;
                self.outbox.push_back(Output::Reply { ticket, answer: SwarmAnswer::Noted });
            }
            Checked::Other(ask) => {
                let effort = self.responder.effort(&*store, &ask, scope) / EFFORT_UNIT;
                let cost = u32::try_from(effort).unwrap_or(u32::MAX).saturating_add(1);
                let answer = if self.comparisons.take(from, now, cost.min(COMPARISONS.burst)) {
                    let mut responder = core::mem::take(&mut self.responder);
                    let answer = self.read(now, store, |store| responder.respond(store, &ask, scope));
                    self.responder = responder;
                    match answer? {
                        Some(SwarmAnswer::Fingerprints { buckets, .. }) => {
                            SwarmAnswer::Fingerprints { buckets, incomplete: self.repair.incomplete() }
                        }
                        answer => answer.unwrap_or(SwarmAnswer::Refused { code: Code::Failed }),
                    }
                } else {
                    SwarmAnswer::Refused { code: Code::TooMany }
                };
                self.outbox.push_back(Output::Reply { ticket, answer });
            }
        }
        Ok(())
    }

    fn answered<T: Transaction>(
        &mut self,
        now: Time,
        exchange: u64,
        answer: Option<CheckedAnswer>,
        store: &mut T,
    ) -> Result<(), StoreError> {
        match (self.exchanges.remove(&exchange), answer) {
            (Some(Exchange::Batch(batch)), answer) => {
                let failed = |why| writes::Input::Failed { batch, why };
                let report = match answer {
                    Some(CheckedAnswer::Receipts(receipts)) => writes::Input::Answered { batch, receipts },
                    Some(CheckedAnswer::Other(SwarmAnswer::Noted)) => {
                        writes::Input::Answered { batch, receipts: Vec::new() }
                    }
                    Some(CheckedAnswer::Other(SwarmAnswer::Refused { code })) => {
                        failed(Failure::Refused { code })
                    }
                    Some(CheckedAnswer::Other(_) | CheckedAnswer::Fetched(..)) => failed(Failure::Unsound),
                    None => failed(Failure::Silent),
                };
                self.writes.handle(now, report);
            }
            (Some(Exchange::Question(question)), answer) => {
                let answer = unchecked(answer);
                self.repair.handle(now, repair::Input::Answered { question, answer }, store)?;
            }
            (Some(Exchange::Handover(question)), answer) => {
                self.handover.answered(now, question, unchecked(answer), &self.outlook, store)?;
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// Moves what the inner machines say to each other and to the host, until they are silent.
    fn drain<T: Transaction>(&mut self, now: Time, store: &mut T) -> Result<(), StoreError> {
        loop {
            self.drain_mailbox(now, None);
            self.drain_writes(now);
            self.drain_subscriptions();
            self.drain_handover(now, store)?;
            let Some(output) = self.repair.poll() else { break };
            match output {
                repair::Output::Ask { question, to, request } => {
                    self.send(Exchange::Question(question), to, request, Vec::new());
                }
                repair::Output::Apply { question, .. } if self.full => {
                    let given_up = repair::Input::Answered { question, answer: None };
                    self.repair.handle(now, given_up, store)?;
                }
                repair::Output::Apply { question, mutations, .. } => {
                    let acts = self.maps().acts.version;
                    let ours = |mutation: &Mutation| self.outlook.keeps(mutation.account(), acts);
                    let mutations = mutations.into_iter().filter(ours).collect();
                    // Fetched, not asked: nobody waits for receipts.
                    let input = mailbox::Input::Replicated { ticket: NOBODY, mutations };
                    self.mailbox.handle(now, input, store)?;
                    self.repair.handle(now, repair::Input::Applied { question }, store)?;
                }
                repair::Output::Damaged(why) => self.outbox.push_back(Output::Damaged(why)),
                repair::Output::Reconciled { with, fetched } => {
                    self.outbox.push_back(Output::Reconciled { with, fetched });
                }
            }
        }
        self.repair.set_steady(self.steady());
        Ok(())
    }

    fn drain_mailbox(&mut self, now: Time, mut batch: Option<Batch>) {
        let acts = self.maps().acts.version;
        while let Some(output) = self.mailbox.poll() {
            match output {
                mailbox::Output::Written { ticket, subject, mutation, outcome } => {
                    let waiting = self.waiting.get_mut(&ticket);
                    let door = waiting.map_or(Door::Native, |waiting| {
                        waiting.done = Some((subject, outcome.already));
                        waiting.note(&outcome.done);
                        waiting.door_of_step()
                    });
                    let receipt = Some(self.sign(acts, &subject, &mutation, outcome, door));
                    let quorums = self.maps().quorums(mutation.account());
                    let write = writes::Input::Write { ticket, subject, mutation, receipt, quorums, door };
                    self.writes.handle(now, write);
                }
                mailbox::Output::Refused { ticket, code, left } => {
                    let json = self.waiting.get(&ticket).is_some_and(|one| one.door == Door::Json);
                    if let Some(mutation) = left.filter(|_| json) {
                        self.pass_on(now, ticket, *mutation);
                        continue;
                    }
                    let ticket = self.forget_waiting(ticket);
                    let answer = Answer::refused(now.as_millis(), code);
                    self.outbox.push_back(Output::Answer { ticket, answer });
                }
                mailbox::Output::Applied { ticket, results } => {
                    if ticket == NOBODY {
                        continue;
                    }
                    let Some(Batch { version, refused, json }) = batch.take() else { continue };
                    let mut applied = results.into_iter();
                    let results = (0_u32..).zip(refused).map(|(place, refused)| {
                        let applied = if refused.is_none() { applied.next() } else { None };
                        let door = if json.contains(&place) { Door::Json } else { Door::Native };
                        match applied {
                            Some((subject, mutation, Ok(outcome))) => {
                                let receipt = self.sign(version, &subject, &mutation, outcome, door);
                                let Receipt { done, signature, told, .. } = receipt;
                                Replicated::Done { done, signature, told: told.map(Box::new) }
                            }
                            Some((_, _, Err(code))) => Replicated::Refused { code },
                            None => Replicated::Refused { code: refused.unwrap_or(Code::Failed) },
                        }
                    });
                    let answer = SwarmAnswer::Replicated { results: results.collect() };
                    self.outbox.push_back(Output::Reply { ticket, answer });
                }
                mailbox::Output::Revoked { account, hash } => {
                    self.subscriptions.handle(now, notify::Input::Revoked { account, hash });
                }
                mailbox::Output::Damaged(why) => self.outbox.push_back(Output::Damaged(why)),
                mailbox::Output::Arrived { account, namespace } => {
                    self.subscriptions.handle(now, notify::Input::Arrived { account, namespace });
                }
            }
        }
    }

    fn drain_writes(&mut self, now: Time) {
        while let Some(output) = self.writes.poll() {
            match output {
                writes::Output::Send { batch, to, request, subjects } => {
                    self.send(Exchange::Batch(batch), to, request, subjects);
                }
                writes::Output::Behind { batch, to, request } => {
                    self.send(Exchange::Batch(batch), to, request, Vec::new());
                }
                writes::Output::Done { ticket, receipts } => self.written(now, ticket, receipts, true),
                writes::Output::Short { ticket, receipts } => self.written(now, ticket, receipts, false),
            }
        }
    }

    fn drain_subscriptions(&mut self) {
        while let Some(output) = self.subscriptions.poll() {
            self.outbox.push_back(match output {
                notify::Output::Accept { subscriber, expiry } => {
                    let answer = Subscribed::Until { expiry: expiry.as_millis() };
                    Output::Subscribed { subscriber, answer }
                }
                notify::Output::End { subscriber, code } => {
                    Output::Subscribed { subscriber, answer: Subscribed::Refused { code } }
                }
                notify::Output::Push { subscriber, account, namespace, after } => {
                    Output::Push { subscriber, account, namespace, after }
                }
            });
        }
    }

    fn sign(
        &self,
        version: u64,
        subject: &Subject,
        mutation: &Mutation,
        outcome: mailbox::Outcome,
        door: Door,
    ) -> Receipt {
        let told = (door == Door::Json).then(|| Told {
            already: outcome.already,
            listed: outcome.detail.listed.clone(),
            unchanged: outcome.detail.unchanged.clone(),
            signature: self.setup.pair.sign(&told::text(
                mutation,
                &outcome.detail.listed,
                &outcome.detail.unchanged,
            )),
        });
        let receipt = Receipt::sign(&self.setup.pair, &self.setup.network, version, subject, outcome.done);
        Receipt { told, ..receipt }
    }

    fn send(&mut self, what: Exchange, to: NodeId, request: SwarmRequest, subjects: Vec<Subject>) {
        self.next_exchange = self.next_exchange.wrapping_add(1);
        if matches!(what, Exchange::Question(_)) {
            let earlier = self.question.replace(self.next_exchange);
            earlier.map(|earlier| self.exchanges.remove(&earlier));
        }
        self.exchanges.insert(self.next_exchange, what);
        self.outbox.push_back(Output::Send { exchange: self.next_exchange, to, request, subjects });
    }
}

/// An answer whose receipts, if it has any, nobody counts.
fn unchecked(answer: Option<CheckedAnswer>) -> Option<SwarmAnswer> {
    match answer? {
        CheckedAnswer::Fetched(mutations, ids) => Some(SwarmAnswer::Fetched { mutations, ids }),
        CheckedAnswer::Other(answer) => Some(answer),
        CheckedAnswer::Receipts(_) => None,
    }
}

/// The ticket of mutations that nobody waits for.
const NOBODY: u64 = u64::MAX;

/// How many of these receipts count: distinct members of `swarm` whose signatures hold.
///
/// This is all that a client believes of a write. The signatures are over the version that the
/// receipts name: that this is the version of the map which `swarm` is from, the caller checks.
pub fn durable(network: &NetworkName, swarm: &[NodeId], subject: &Subject, receipts: &Receipts) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    let counted = receipts.signed.iter().filter(|receipt| {
        // Whoever forges a member's receipt must not thereby hide the true one.
        swarm.contains(&receipt.node)
            && !seen.contains(&receipt.node)
            && receipt.verify(network, receipts.map_version, subject)
            && seen.insert(receipt.node)
    });
    counted.count()
}

/// Whether that many of `swarm` make a write count.
pub const fn is_majority(durable: usize, swarm: &[NodeId]) -> bool {
    durable >= ring::majority(swarm.len())
}

#[cfg(test)]
mod tests;
