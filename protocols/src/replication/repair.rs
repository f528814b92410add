//! Repair: a member pulls what it lacks.
//!
//! With every other member, on contact, when told that it is behind, and every few minutes, it
//! compares fingerprints of hour buckets, reconciles the buckets that differ (`negentropy`), and
//! fetches the requests behind the ids that it does not have. It counts as caught up while a
//! majority of the swarm, itself included, is in contact and was compared with since.
//!
//! While maps change it works towards a [`Goal`] for each map under which it keeps accounts: it is
//! *complete* under a map once it has compared itself with a majority of each swarm that kept a part
//! of its accounts before, all of them complete themselves under the map before, or with a majority of
//! its own swarm that are complete. Who completes by former owners then compares with its fellows
//! once more, because the former owners may have forgotten what its fellows hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde_bytes::{ByteArray, ByteBuf};

use super::respond::{MAX_SLICE_IDS, Scope, Sums, slice_of};
use crate::{
    Maps, Span, Time,
    identity::NodeId,
    maps::{Goal, Quorum},
    record::Mutation,
    ring::Arc,
    store::{Bucket, Fingerprint, Store, StoreError},
    swarm::{Ask, BucketPrint, MAX_FETCH, MAX_RECONCILE, Slice, SwarmAnswer, SwarmRequest},
};

/// How often every member is compared with while nothing happens.
pub const EVERY: Span = Span::secs(180);
/// How long to wait after a comparison failed.
pub const RETRY: Span = Span::secs(1);
/// The least time between two comparisons that a member asks for.
pub const BEHIND_PAUSE: Span = Span::millis(500);
/// How long until a member is compared with again that is not complete, while this one is not either.
pub const INCOMPLETE_PAUSE: Span = Span::secs(5);
/// The most nodes in contact that are remembered: more than a network has.
pub const MAX_CONTACTS: usize = 1 << 14;
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
/// The most maps under which a member may say that it is not complete: more than it knows.
const MAX_INCOMPLETE: usize = 4;
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
    me: NodeId,
    acts: u64,
    newest: u64,
    /// For the map that acts, and for the next one.
    goals: Vec<Progress>,
    /// Whether the sums that the store keeps are those of every scope.
    steady: bool,
    sums: Sums,
    contacts: BTreeSet<NodeId>,
    /// What is to be compared with whom, by the version of the map for which it is.
    tasks: BTreeMap<(NodeId, u64), Task>,
    session: Option<Session>,
    next_question: u64,
    outbox: VecDeque<Output>,
}

#[derive(Debug)]
struct Progress {
    goal: Goal,
    complete: bool,
}

#[derive(Clone, Debug)]
struct Task {
    arc: Arc,
    /// Compared with since the last contact.
    current: bool,
    /// The maps under which the other was not complete then.
    incomplete: Vec<u64>,
    /// When to compare next, while in contact.
    due: Time,
    /// When it was last begun.
    begun: Time,
}

impl Task {
    const fn new(arc: Arc, due: Time) -> Self {
        Self { arc, current: false, incomplete: Vec::new(), due, begun: Time::ZERO }
    }

    /// Whether it was compared, with one that was complete under this map.
    fn with_complete(&self, version: u64) -> bool {
        self.current && !self.incomplete.contains(&version)
    }
}

/// One comparison with one member.
struct Session {
    with: NodeId,
    version: u64,
    arc: Arc,
    /// What the other said of itself.
    incomplete: Vec<u64>,
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
        let mut out = f.debug_struct("Repair");
        out.field("goals", &self.goals)
            .field("tasks", &self.tasks)
            .field("session", &with)
            .finish_non_exhaustive()
    }
}

impl Repair {
    /// A machine for `me`.
    pub fn new(me: NodeId, maps: &Maps) -> Self {
        let mut repair = Self {
            me,
            acts: 0,
            newest: 0,
            goals: Vec::new(),
            steady: true,
            sums: Sums::default(),
            contacts: BTreeSet::new(),
            tasks: BTreeMap::new(),
            session: None,
            next_question: 0,
            outbox: VecDeque::new(),
        };
        repair.change(Time::ZERO, maps);
        repair
    }

    /// Goes on under other maps. What was compared counts as far as it is the same under them; a
    /// comparison under way goes on if it is still wanted.
    pub fn change(&mut self, now: Time, maps: &Maps) {
        let before = core::mem::take(&mut self.goals);
        let complete =
            |version| before.iter().find(|one| one.goal.version == version).map(|one| one.complete);
        let mut arcs: BTreeMap<_, _> = before.iter().map(|one| (one.goal.version, one.goal.arc)).collect();
        let mut known = core::mem::take(&mut self.tasks);
        for goal in maps.goals(&self.me) {
            let stays = arcs.get(&goal.before) == Some(&goal.arc);
            for (partner, arc) in goal.partners(&self.me) {
                let same = known.get(&(partner, goal.version)).filter(|task| task.arc == arc);
                // Whoever keeps the same accounts as before has compared them already.
                let earlier = known.get(&(partner, goal.before));
                let earlier = earlier.filter(|task| stays && arc.within(task.arc));
                let task = same.or(earlier).cloned().map(|task| Task { arc, ..task });
                self.tasks.insert((partner, goal.version), task.unwrap_or_else(|| Task::new(arc, now)));
            }
            arcs.insert(goal.version, goal.arc);
            known.extend(self.tasks.iter().map(|(key, task)| (*key, task.clone())));
            let complete = complete(goal.version).unwrap_or(false);
            self.goals.push(Progress { goal, complete });
        }
        (self.acts, self.newest) = (maps.acts.version, maps.newest());
        let wanted = |session: &Session| {
            self.tasks.get(&(session.with, session.version)).is_some_and(|task| task.arc == session.arc)
        };
        if !self.session.as_ref().is_some_and(wanted) {
            self.session = None;
        }
        self.look_for_completion(now, false);
        self.begin(now);
    }

    /// Tells whether the store holds nothing but what this member keeps under all maps alike.
    pub const fn set_steady(&mut self, steady: bool) {
        self.steady = steady;
    }

    /// Whether this member is complete under the map that acts, and caught up with a majority of its
    /// swarm, itself included.
    pub fn caught_up(&self) -> bool {
        let acting = self.goals.iter().find(|one| one.goal.version == self.acts);
        acting.is_none_or(|Progress { goal, complete }| {
            let current = self.current().saturating_add(1) >= goal.swarm.needed;
            current && *complete
        })
    }

    /// How many others of its swarm it is caught up with, by the map that acts.
    pub fn current(&self) -> usize {
        let acting = self.goals.iter().find(|one| one.goal.version == self.acts);
        acting.map_or(0, |one| self.count(&one.goal, &one.goal.swarm, |task| task.current))
    }

    /// The versions of the maps under which this member is not complete.
    pub fn incomplete(&self) -> Vec<u64> {
        self.goals.iter().filter(|one| !one.complete).map(|one| one.goal.version).collect()
    }

    /// Whether no comparison is under way.
    pub const fn idle(&self) -> bool {
        self.session.is_none()
    }

    /// Whether a node is in contact.
    pub fn in_contact(&self, node: &NodeId) -> bool {
        self.contacts.contains(node)
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
        for ((member, version), task) in &mut self.tasks {
            if void.contains(member) {
                (task.current, task.due) = (false, now);
                let doubtful =
                    |one: &&mut Progress| one.goal.version == *version && !one.goal.sources.is_empty();
                self.goals.iter_mut().filter(doubtful).for_each(|one| one.complete = false);
            }
        }
        self.look_for_completion(now, false);
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
            None => self.wanted().map(|(_, task)| task.due).min(),
        }
    }

    fn step<S: Store>(&mut self, now: Time, input: Input, store: &S) -> Result<(), StoreError> {
        match input {
            Input::Connected(member) => {
                if self.contacts.len() < MAX_CONTACTS && self.contacts.insert(member) {
                    self.anew(member, now);
                }
                self.begin(now);
            }
            Input::Disconnected(member) => {
                self.contacts.remove(&member);
                self.anew(member, now);
                if self.session.as_ref().is_some_and(|session| session.with == member) {
                    self.session = None;
                    self.begin(now);
                }
            }
            Input::Behind(member) => {
                if let Some(session) = self.session.as_mut().filter(|session| session.with == member) {
                    session.again = true;
                } else {
                    for task in self.tasks_with(member) {
                        task.due = task.due.min(now.max(task.begun.after(BEHIND_PAUSE)));
                    }
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

    fn tasks_with(&mut self, member: NodeId) -> impl Iterator<Item = &mut Task> {
        self.tasks.range_mut((member, 0)..=(member, u64::MAX)).map(|(_, task)| task)
    }

    /// What was compared with a member does not count any more.
    fn anew(&mut self, member: NodeId, now: Time) {
        self.tasks_with(member).for_each(|task| *task = Task::new(task.arc, now));
    }

    /// What is to be compared with nodes in contact. Who kept accounts before is asked no more once this
    /// member keeps them and is complete.
    fn wanted(&self) -> impl Iterator<Item = (&(NodeId, u64), &Task)> {
        let over = |(member, version): &(NodeId, u64)| {
            *version == self.acts
                && self.goals.iter().any(|Progress { goal, complete }| {
                    goal.version == *version && *complete && !goal.swarm.members.contains(member)
                })
        };
        self.tasks.iter().filter(move |(key, _)| self.contacts.contains(&key.0) && !over(key))
    }

    /// Begins the comparison that is most overdue, unless one is under way.
    fn begin(&mut self, now: Time) {
        if self.session.is_some() {
            return;
        }
        // Those never compared with come first, and what is for the map that acts.
        let due = self.wanted().filter(|(_, task)| task.due <= now);
        let first = due.min_by_key(|((_, version), task)| (task.current, *version, task.due));
        let Some((with, version)) = first.map(|(key, _)| *key) else { return };
        let Some(task) = self.tasks.get_mut(&(with, version)) else { return };
        task.begun = now;
        self.session = Some(Session {
            with,
            version,
            arc: task.arc,
            incomplete: Vec::new(),
            question: 0,
            begun: now,
            asked: now,
            fetched: 0,
            stage: Stage::Fingerprints,
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
        let (map_version, newest) = (session.version, Some(self.newest));
        let newest = newest.filter(|newest| *newest != map_version);
        let whole =
            self.goals.iter().any(|one| one.goal.version == map_version && one.goal.arc == session.arc);
        let arc = (!whole).then_some(session.arc);
        let request = SwarmRequest { map_version, newest, arc, ask };
        self.outbox.push_back(Output::Ask { question: session.question, to: session.with, request });
    }

    /// Whether the comparison under way has had its turn and another member waits.
    fn overstays(&self, now: Time) -> bool {
        self.session.as_ref().is_some_and(|session| {
            let waits =
                |((member, _), task): (&(NodeId, u64), &Task)| *member != session.with && task.due <= now;
            now >= session.begun.after(TURN) && self.wanted().any(waits)
        })
    }

    /// How many others of a quorum have such a task.
    fn count(&self, goal: &Goal, quorum: &Quorum, counts: impl Fn(&Task) -> bool) -> usize {
        let task = |member: &&NodeId| self.tasks.get(&(**member, goal.version)).is_some_and(&counts);
        quorum.members.iter().filter(|member| **member != self.me).filter(task).count()
    }

    /// Marks the maps under which this member is complete by now.
    fn look_for_completion(&mut self, now: Time, compared: bool) {
        for at in 0..self.goals.len() {
            let Some(Progress { goal, complete: false }) = self.goals.get(at) else { continue };
            let by_fellows = self.count(goal, &goal.swarm, |task| task.with_complete(goal.version));
            let by_fellows = by_fellows > 0 && by_fellows.saturating_add(1) >= goal.swarm.needed;
            let incomplete = self.incomplete();
            let by_sources = goal.sources.iter().all(|(_, quorum)| {
                let own = quorum.members.contains(&self.me) && !incomplete.contains(&goal.before);
                let others = self.count(goal, quorum, |task| task.with_complete(goal.before));
                others.saturating_add(usize::from(own)) >= quorum.needed
            });
            if !by_fellows && !by_sources {
                continue;
            }
            let again: Vec<_> = goal.swarm.members.iter().map(|member| (*member, goal.version)).collect();
            for key in again.iter().filter(|_| compared && !by_fellows) {
                if let Some(task) = self.tasks.get_mut(key) {
                    *task = Task::new(task.arc, now);
                }
            }
            if let Some(one) = self.goals.get_mut(at) {
                one.complete = true;
            }
        }
    }

    fn answered<S: Store>(&mut self, now: Time, answer: SwarmAnswer, store: &S) -> Result<(), StoreError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        match (&mut session.stage, answer) {
            (Stage::Fingerprints, SwarmAnswer::Fingerprints { buckets, incomplete })
                if plausible(&buckets) && incomplete.len() <= MAX_INCOMPLETE =>
            {
                session.incomplete = incomplete;
                let scope = Scope { arc: session.arc, all: self.steady };
                let ours = match scope.fingerprints(store, &mut self.sums) {
                    Err(StoreError::Damaged(why)) => return self.damaged(now, why),
                    ours => ours?,
                };
                let ours: BTreeMap<Bucket, Fingerprint> = ours.into_iter().collect();
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
        let items = match slice_of(store, session.arc, bucket, slice) {
            Err(StoreError::Damaged(why)) => return self.damaged(now, why),
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

    fn damaged(&mut self, now: Time, why: &'static str) -> Result<(), StoreError> {
        self.outbox.push_back(Output::Damaged(why));
        self.give_up_for(now, EVERY);
        Ok(())
    }

    fn finish(&mut self, now: Time) {
        let Some(session) = self.session.take() else { return };
        let goal = self.goals.iter().find(|one| one.goal.version == session.version);
        let in_vain = !session.incomplete.is_empty() && goal.is_some_and(|one| !one.complete);
        let pause = match (session.again, in_vain) {
            (true, _) => BEHIND_PAUSE,
            (false, true) => INCOMPLETE_PAUSE,
            (false, false) => EVERY,
        };
        // The same accounts need not be compared once more for the map before.
        for (_, task) in self.tasks.range_mut((session.with, 0)..=(session.with, session.version)) {
            if task.arc.within(session.arc) {
                (task.current, task.due) = (true, now.after(pause));
                task.incomplete.clone_from(&session.incomplete);
            }
        }
        self.look_for_completion(now, true);
        self.outbox.push_back(Output::Reconciled { with: session.with, fetched: session.fetched });
        self.begin(now);
    }

    fn give_up(&mut self, now: Time) {
        self.give_up_for(now, RETRY);
    }

    fn give_up_for(&mut self, now: Time, pause: Span) {
        let Some(session) = self.session.take() else { return };
        if let Some(task) = self.tasks.get_mut(&(session.with, session.version)) {
            task.due = now.after(pause);
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
