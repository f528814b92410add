//! Repair: a member pulls what it lacks.
//!
//! With every other member, on contact, when told that it is behind, and every few minutes, it
//! compares fingerprints of hour buckets, reconciles the buckets that differ (`negentropy`), and
//! fetches the requests behind the ids that it does not have. It counts as caught up while a
//! majority of the swarm, itself included, is in contact and was compared with since.

use std::collections::{BTreeMap, VecDeque};

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde_bytes::{ByteArray, ByteBuf};

use super::respond::{MAX_SLICE_IDS, slice_of};
use crate::{
    Span, Time,
    identity::NodeId,
    record::Mutation,
    ring::majority,
    store::{Bucket, Fingerprint, Store, StoreError},
    swarm::{Ask, BucketPrint, MAX_FETCH, MAX_RECONCILE, Slice, SwarmAnswer, SwarmRequest},
};

/// How often every member is compared with while nothing happens.
pub const EVERY: Span = Span::secs(180);
/// How long to wait after a comparison failed.
pub const RETRY: Span = Span::secs(1);
/// The least time between two comparisons that a member asks for.
pub const BEHIND_PAUSE: Span = Span::millis(500);
/// How long one question may stay unanswered.
pub const PATIENCE: Span = Span::secs(10);
/// The most ids that one comparison holds in memory.
pub const SLICE_IDS: u64 = 1 << 15;
/// How long one comparison may go on while another member waits for its turn. What was fetched is
/// durable, so the next comparison with the same member begins where this one ended.
pub const TURN: Span = Span::secs(60);
/// The most slices with almost nothing in them. A bucket is cut into slices by how much the other says
/// to hold: one that says so and does not is not gone on with before [`EVERY`].
const MAX_BARREN: u32 = 16;
/// The most rounds of one slice; an honest one takes a handful.
const MAX_ROUNDS: u32 = 64;
/// The most ids that a slice may turn out to need: as many as a member answers for.
const MAX_NEEDED: usize = MAX_SLICE_IDS;
/// The most records that an answer may count in all; no store holds more.
const MAX_RECORDS: u64 = 1 << 30;
/// The most buckets that an answer may list: the longest a record lives, twice over, in hours.
const MAX_BUCKETS: usize = 2 * 60 * 24;

/// What the machine is fed.
#[derive(Clone, Debug)]
pub enum Input {
    /// A member can be reached (again).
    Connected(NodeId),
    /// A member cannot be reached any more.
    Disconnected(NodeId),
    /// A member says that this one missed something.
    Behind(NodeId),
    /// The answer to a question, or none if there was none.
    Answered {
        /// The number of [`Output::Ask`].
        question: u64,
        /// What came back.
        answer: Option<SwarmAnswer>,
    },
    /// What [`Output::Apply`] asked for is durable, as far as it was sound.
    Applied {
        /// The number of [`Output::Apply`].
        question: u64,
    },
    /// Time has passed.
    Tick,
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask a member and report the answer.
    Ask {
        /// Names the question in the report.
        question: u64,
        /// The member.
        to: NodeId,
        /// The message.
        request: SwarmRequest,
    },
    /// Check these, hand them to the mailbox, and report when they are durable.
    Apply {
        /// Names the task in the report.
        question: u64,
        /// Who sent them.
        from: NodeId,
        /// In order.
        mutations: Vec<Mutation>,
    },
    /// What this member keeps could not be read, so that it cannot be compared.
    Damaged(&'static str),
    /// A comparison ended well.
    Reconciled {
        /// With whom.
        with: NodeId,
        /// How many mutations were fetched.
        fetched: u64,
    },
}

/// The machine of one member's repair.
pub struct Repair {
    map_version: u64,
    needed: usize,
    peers: BTreeMap<NodeId, Peer>,
    session: Option<Session>,
    next_question: u64,
    outbox: VecDeque<Output>,
}

#[derive(Debug, Default)]
struct Peer {
    connected: bool,
    /// Compared with since the last contact.
    current: bool,
    /// When to compare next, while connected.
    due: Time,
    /// When it was last begun.
    begun: Time,
}

/// One comparison with one member.
struct Session {
    with: NodeId,
    question: u64,
    begun: Time,
    asked: Time,
    fetched: u64,
    stage: Stage,
    /// Buckets still to compare, each from this slice on.
    todo: VecDeque<(Bucket, Slice)>,
    /// Slices in which there was almost nothing.
    barren: u32,
    /// Asked again meanwhile: the other has newer news.
    again: bool,
}

enum Stage {
    Fingerprints,
    Compare {
        bucket: Bucket,
        slice: Slice,
        state: Box<Comparison>,
        /// How many records this member has in the slice.
        held: usize,
        needed: Vec<ByteArray<32>>,
        rounds: u32,
    },
    Fetch {
        bucket: Bucket,
        slice: Slice,
        needed: Vec<ByteArray<32>>,
    },
    Apply {
        bucket: Bucket,
        slice: Slice,
        needed: Vec<ByteArray<32>>,
    },
}

type Comparison = Negentropy<'static, NegentropyStorageVector>;

impl core::fmt::Debug for Repair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let with = self.session.as_ref().map(|session| session.with);
        f.debug_struct("Repair").field("peers", &self.peers).field("session", &with).finish_non_exhaustive()
    }
}

impl Repair {
    /// A machine for `me` in a swarm of `members`, which may or may not list `me`.
    pub fn new(me: NodeId, members: &[NodeId], map_version: u64) -> Self {
        let peers: BTreeMap<_, _> =
            members.iter().filter(|member| **member != me).map(|member| (*member, Peer::default())).collect();
        Self {
            map_version,
            needed: majority(peers.len().saturating_add(1)),
            peers,
            session: None,
            next_question: 0,
            outbox: VecDeque::new(),
        }
    }

    /// Whether this member is caught up with a majority of its swarm, itself included.
    pub fn caught_up(&self) -> bool {
        self.current().saturating_add(1) >= self.needed
    }

    /// How many other members it is caught up with.
    pub fn current(&self) -> usize {
        self.peers.values().filter(|peer| peer.current).count()
    }

    /// Applies one input at `now`; results are read with [`Self::poll`].
    ///
    /// # Errors
    ///
    /// When the store fails; the comparison under way is given up.
    pub fn handle<S: Store>(&mut self, now: Time, input: Input, store: &S) -> Result<(), StoreError> {
        let result = self.step(now, input, store);
        if result.is_err() {
            self.give_up(now);
        }
        result
    }

    /// Goes on after a batch of inputs that is void: the comparison under way is given up, and those
    /// that ended in the batch, with `void`, do not count.
    pub fn resume(&mut self, now: Time, mut void: Vec<NodeId>) {
        void.extend(self.outbox.drain(..).filter_map(|output| match output {
            Output::Reconciled { with, .. } => Some(with),
            Output::Ask { .. } | Output::Apply { .. } | Output::Damaged(_) => None,
        }));
        for member in void {
            if let Some(peer) = self.peers.get_mut(&member) {
                (peer.current, peer.due) = (false, now);
            }
        }
        self.give_up(now);
        // What that began would have asked was not heard.
        self.session = None;
        self.outbox.clear();
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Option<Time> {
        match &self.session {
            Some(session) => Some(session.asked.after(PATIENCE)),
            None => self.peers.values().filter(|peer| peer.connected).map(|peer| peer.due).min(),
        }
    }

    fn step<S: Store>(&mut self, now: Time, input: Input, store: &S) -> Result<(), StoreError> {
        match input {
            Input::Connected(member) => {
                if let Some(peer) = self.peers.get_mut(&member) {
                    if !peer.connected {
                        *peer = Peer { connected: true, current: false, due: now, begun: Time::ZERO };
                    }
                    self.begin(now);
                }
            }
            Input::Disconnected(member) => {
                if let Some(peer) = self.peers.get_mut(&member) {
                    *peer = Peer::default();
                    if self.session.as_ref().is_some_and(|session| session.with == member) {
                        self.session = None;
                        self.begin(now);
                    }
                }
            }
            Input::Behind(member) => {
                if let Some(session) = self.session.as_mut().filter(|session| session.with == member) {
                    session.again = true;
                } else if let Some(peer) = self.peers.get_mut(&member) {
                    peer.due = peer.due.min(now.max(peer.begun.after(BEHIND_PAUSE)));
                    self.begin(now);
                }
            }
            Input::Answered { question, answer } => {
                if self.session.as_ref().is_some_and(|session| session.question == question) {
                    match answer {
                        Some(answer) => self.answered(now, answer, store)?,
                        None => self.give_up(now),
                    }
                }
            }
            Input::Applied { question } => self.applied(now, question, store)?,
            Input::Tick => {
                let late = |session: &Session| now >= session.asked.after(PATIENCE);
                if self.session.as_ref().is_some_and(late) {
                    self.give_up(now);
                }
                self.begin(now);
            }
        }
        Ok(())
    }

    /// Begins the comparison that is most overdue, unless one is under way.
    fn begin(&mut self, now: Time) {
        if self.session.is_some() {
            return;
        }
        let due = self.peers.iter_mut().filter(|(_, peer)| peer.connected && peer.due <= now);
        // Those never compared with come first.
        let Some((member, peer)) = due.min_by_key(|(_, peer)| (peer.current, peer.due)) else { return };
        let member = *member;
        peer.begun = now;
        let stage = Stage::Fingerprints;
        self.session = Some(Session {
            with: member,
            question: 0,
            begun: now,
            asked: now,
            fetched: 0,
            stage,
            todo: VecDeque::new(),
            barren: 0,
            again: false,
        });
        self.ask(now, Ask::Fingerprints);
    }

    fn ask(&mut self, now: Time, ask: Ask) {
        if self.overstays(now) {
            self.give_up(now);
            return;
        }
        let Some(session) = &mut self.session else { return };
        self.next_question = self.next_question.wrapping_add(1);
        session.question = self.next_question;
        session.asked = now;
        let request = SwarmRequest { map_version: self.map_version, ask };
        self.outbox.push_back(Output::Ask { question: session.question, to: session.with, request });
    }

    /// Whether the comparison under way has had its turn and another member waits.
    fn overstays(&self, now: Time) -> bool {
        self.session.as_ref().is_some_and(|session| {
            let waits = |(member, peer): (&NodeId, &Peer)| {
                *member != session.with && peer.connected && peer.due <= now
            };
            now >= session.begun.after(TURN) && self.peers.iter().any(waits)
        })
    }

    fn answered<S: Store>(&mut self, now: Time, answer: SwarmAnswer, store: &S) -> Result<(), StoreError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        match (&mut session.stage, answer) {
            (Stage::Fingerprints, SwarmAnswer::Fingerprints { buckets }) if plausible(&buckets) => {
                let ours: BTreeMap<Bucket, Fingerprint> = store.fingerprints().into_iter().collect();
                // What has ended meanwhile is not worth fetching.
                let gone = Bucket::of(now.as_millis());
                for theirs in buckets.iter().filter(|theirs| theirs.bucket >= gone.0 && theirs.count > 0) {
                    let bucket = Bucket(theirs.bucket);
                    let ours = ours.get(&bucket).copied().unwrap_or_default();
                    if crate::mutants::on("skip-reconciliation") {
                        continue;
                    }
                    if ours != (Fingerprint { count: theirs.count, sum: theirs.sum.into_array() }) {
                        session.todo.push_back((bucket, first_slice(ours.count.max(theirs.count))));
                    }
                }
                self.compare_next(now, store)
            }
            (
                Stage::Compare { bucket, slice, state, held, needed, rounds },
                SwarmAnswer::Reconcile { message },
            ) if message.len() <= MAX_RECONCILE && *rounds < MAX_ROUNDS => {
                let (mut have, mut need) = (Vec::new(), Vec::new());
                let Ok(next) = state.reconcile_with_ids(&message, &mut have, &mut need) else {
                    self.give_up(now);
                    return Ok(());
                };
                // They come in the order of a hash table, which no replay would repeat.
                let mut need: Vec<_> = need.into_iter().map(|id| id.to_bytes()).collect();
                need.sort_unstable();
                needed.extend(need.into_iter().map(ByteArray::new));
                if needed.len() > MAX_NEEDED {
                    self.give_up(now);
                    return Ok(());
                }
                *rounds = rounds.saturating_add(1);
                let (bucket, slice) = (*bucket, *slice);
                if let Some(message) = next {
                    let message = ByteBuf::from(message);
                    self.ask(now, Ask::Reconcile { bucket: bucket.0, slice, message });
                    return Ok(());
                }
                let needed = core::mem::take(needed);
                if slice.bits > 0 && (held.saturating_add(needed.len()) as u64) < SLICE_IDS / 16 {
                    session.barren = session.barren.saturating_add(1);
                }
                if session.barren > MAX_BARREN {
                    self.give_up_for(now, EVERY);
                    return Ok(());
                }
                session.stage = Stage::Fetch { bucket, slice, needed };
                self.fetch_next(now, store)
            }
            (Stage::Fetch { bucket, slice, needed }, SwarmAnswer::Fetched { mutations, ids })
                if ids > 0 && ids as usize <= needed.len().min(MAX_FETCH) =>
            {
                let (bucket, slice) = (*bucket, *slice);
                let needed = needed.split_off(ids as usize);
                session.stage = Stage::Apply { bucket, slice, needed };
                session.fetched = session.fetched.saturating_add(mutations.len() as u64);
                session.asked = now;
                let (question, from) = (session.question, session.with);
                self.outbox.push_back(Output::Apply { question, from, mutations });
                Ok(())
            }
            _ => {
                self.give_up(now);
                Ok(())
            }
        }
    }

    fn applied<S: Store>(&mut self, now: Time, question: u64, store: &S) -> Result<(), StoreError> {
        let Some(session) = self.session.as_mut().filter(|session| session.question == question) else {
            return Ok(());
        };
        if let Stage::Apply { bucket, slice, needed } = &mut session.stage {
            let (bucket, slice, needed) = (*bucket, *slice, core::mem::take(needed));
            session.stage = Stage::Fetch { bucket, slice, needed };
            return self.fetch_next(now, store);
        }
        Ok(())
    }

    fn fetch_next<S: Store>(&mut self, now: Time, store: &S) -> Result<(), StoreError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        match &session.stage {
            Stage::Fetch { bucket, slice, needed } if !needed.is_empty() => {
                let ids = needed.iter().take(MAX_FETCH).copied().collect();
                let (bucket, slice) = (bucket.0, *slice);
                self.ask(now, Ask::Fetch { bucket, slice, ids });
                Ok(())
            }
            Stage::Fingerprints | Stage::Compare { .. } | Stage::Fetch { .. } | Stage::Apply { .. } => {
                self.compare_next(now, store)
            }
        }
    }

    fn compare_next<S: Store>(&mut self, now: Time, store: &S) -> Result<(), StoreError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let Some((bucket, slice)) = session.todo.pop_front() else {
            self.finish(now);
            return Ok(());
        };
        if let Some(next) = slice.next() {
            session.todo.push_front((bucket, next));
        }
        let items = match slice_of(store, bucket, slice) {
            Err(StoreError::Damaged(why)) => {
                self.outbox.push_back(Output::Damaged(why));
                self.give_up_for(now, EVERY);
                return Ok(());
            }
            items => items?,
        };
        let started = items.and_then(|items| {
            let held = items.len();
            let items = sealed(items.iter().map(|item| (item.until, item.id)))?;
            let mut state = Negentropy::owned(items, MAX_RECONCILE as u64).ok()?;
            let message = state.initiate().ok()?;
            Some((state, held, message))
        });
        let Some((state, held, message)) = started else {
            self.give_up(now);
            return Ok(());
        };
        session.stage =
            Stage::Compare { bucket, slice, state: Box::new(state), held, needed: Vec::new(), rounds: 0 };
        self.ask(now, Ask::Reconcile { bucket: bucket.0, slice, message: ByteBuf::from(message) });
        Ok(())
    }

    fn finish(&mut self, now: Time) {
        let Some(session) = self.session.take() else { return };
        if let Some(peer) = self.peers.get_mut(&session.with) {
            peer.current = true;
            peer.due = if session.again { now.after(BEHIND_PAUSE) } else { now.after(EVERY) };
        }
        self.outbox.push_back(Output::Reconciled { with: session.with, fetched: session.fetched });
        self.begin(now);
    }

    fn give_up(&mut self, now: Time) {
        self.give_up_for(now, RETRY);
    }

    fn give_up_for(&mut self, now: Time, pause: Span) {
        let Some(session) = self.session.take() else { return };
        if let Some(peer) = self.peers.get_mut(&session.with) {
            peer.due = now.after(pause);
        }
        self.begin(now);
    }
}

/// Whether a member may list these buckets: not too many, and no more records than a store holds.
fn plausible(buckets: &[BucketPrint]) -> bool {
    let records = buckets.iter().fold(0_u64, |sum, bucket| sum.saturating_add(bucket.count));
    buckets.len() <= MAX_BUCKETS && records <= MAX_RECORDS
}

/// The first of the slices to compare when the larger side has `count` records.
fn first_slice(count: u64) -> Slice {
    let parts = count.div_ceil(SLICE_IDS).next_power_of_two();
    let bits = u8::try_from(parts.trailing_zeros()).unwrap_or(Slice::MAX_BITS).min(Slice::MAX_BITS);
    Slice { bits, value: 0 }
}

/// The ids of some items, as `negentropy` wants them.
pub(super) fn sealed(items: impl Iterator<Item = (u64, [u8; 32])>) -> Option<NegentropyStorageVector> {
    let mut storage = NegentropyStorageVector::new();
    for (until, id) in items {
        storage.insert(until, Id::from_byte_array(id)).ok()?;
    }
    storage.seal().ok()?;
    Some(storage)
}

#[cfg(test)]
mod tests;
