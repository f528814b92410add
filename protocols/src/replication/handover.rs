//! Handover: a member forgets what others keep by the map that acts, once they have it.
//!
//! It walks its store for records of accounts that it keeps neither by the map that acts nor by the
//! next one. For some hundred at a time it asks the members of their swarm which of them they hold in
//! the very state, passes on what a member lacks, and forgets a record when a majority of its swarm is
//! known to have made it durable. What is left waits for the next round. Nothing of this is kept on the
//! disk: a restart walks the store again.

use std::collections::{BTreeSet, VecDeque};

use serde_bytes::ByteArray;

use super::respond::evidence;
use crate::{
    NodeId, Span, SwarmId, Time,
    maps::Outlook,
    record::Mutation,
    ring::{SwarmMap, majority},
    store::{Item, Store, StoreError},
    swarm::{Ask, Known, MAX_BATCH, MAX_BATCH_BYTES, MAX_HELD, Replicated, SwarmAnswer, SwarmRequest},
};

/// How long one question may stay unanswered.
pub const PATIENCE: Span = Span::secs(10);
/// From the end of a round that found something to the next one.
pub const ROUND_PAUSE: Span = Span::secs(10);
/// How many records one step may look at before something else has its turn; a bucket is looked at as a whole.
const STEP: usize = 1 << 14;
/// From one step to the next, and until it is looked again whether a comparison is under way.
const STEP_PAUSE: Span = Span::millis(100);
/// How often in turn a comparison that is under way holds it up.
const MAX_WAITS: u32 = 20;

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask a node and report the answer.
    Ask {
        /// Names the question in the report.
        question: u64,
        /// The node.
        to: NodeId,
        /// The message.
        request: SwarmRequest,
    },
    /// Forget these records, as far as they are in this state.
    Purge(Vec<Known>),
}

/// The machine of one member's handover.
#[derive(Debug, Default)]
pub struct Handover {
    /// Where the walk has come to; none when a whole one has found nothing.
    walk: Option<Walk>,
    /// Whether anything was found in this round or in the last one.
    found: bool,
    /// When to go on.
    due: Time,
    /// How often it has waited for something else by now.
    waits: u32,
    chunk: Option<Chunk>,
    /// Who has not answered in this round, and is not asked again before the next one.
    silent: BTreeSet<NodeId>,
    next_question: u64,
    outbox: VecDeque<Output>,
}

#[derive(Debug, Default)]
struct Walk {
    bucket: u32,
    /// The last record that was dealt with.
    after: Option<(u64, Known)>,
    found: bool,
}

/// Some foreign records, and how far their handover has come.
#[derive(Debug)]
struct Chunk {
    records: Vec<Foreign>,
    /// Nodes to ask, each with its swarm.
    todo: VecDeque<(NodeId, SwarmId)>,
    /// The question under way, and when it was asked.
    question: u64,
    asked: Time,
    about: About,
}

#[derive(Debug)]
struct Foreign {
    known: Known,
    swarm: SwarmId,
    needed: usize,
    /// How many of its swarm have it.
    at: usize,
}

/// What a question is about, by the places of records in the chunk.
#[derive(Debug)]
enum About {
    Nothing,
    Held {
        to: NodeId,
        places: Vec<usize>,
    },
    /// Each with how many mutations of the batch are for it; the rest follows.
    Push {
        to: NodeId,
        batch: Vec<(usize, usize)>,
        rest: Vec<usize>,
    },
}

impl Chunk {
    /// These records, and whom to ask about them: who keeps them now, but for those who are silent.
    fn new(now: Time, records: Vec<Known>, acts: &SwarmMap, silent: &BTreeSet<NodeId>) -> Self {
        let foreign = |known: Known| {
            let swarm = acts.swarm_of(&known.account)?;
            let needed = majority(acts.members(swarm).len());
            let needed = if crate::mutants::on("purge-at-one") { 1 } else { needed };
            Some(Foreign { known, swarm, needed, at: 0 })
        };
        let records: Vec<_> = records.into_iter().filter_map(foreign).collect();
        let swarms: BTreeSet<_> = records.iter().map(|record| record.swarm).collect();
        let members = |swarm: SwarmId| acts.members(swarm).iter().map(move |member| (*member, swarm));
        let todo = swarms.into_iter().flat_map(members).filter(|(member, _)| !silent.contains(member));
        Self { records, todo: todo.collect(), question: 0, asked: now, about: About::Nothing }
    }
}

impl Handover {
    /// Looks for foreign records from the beginning: the maps have changed, or one came.
    pub fn look(&mut self, now: Time) {
        if self.walk.is_none() {
            self.due = now;
        }
        self.walk = Some(Walk::default());
        self.chunk = None;
        self.silent.clear();
        self.outbox.clear();
    }

    /// A foreign record came: a round that has gone past it is followed by another.
    pub fn came(&mut self, now: Time) {
        match &mut self.walk {
            Some(walk) => walk.found = true,
            None => self.look(now),
        }
    }

    /// Whether the store is not known to be free of foreign records.
    pub const fn under_way(&self) -> bool {
        self.walk.is_some()
    }

    /// Whether there are foreign records, as far as is known.
    pub const fn found(&self) -> bool {
        self.found
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when another step is next due.
    pub fn deadline(&self) -> Option<Time> {
        let chunk = self.chunk.as_ref().map(|chunk| chunk.asked.after(PATIENCE));
        self.walk.as_ref().map(|_| chunk.unwrap_or(self.due))
    }

    /// Goes on if it is time; `busy` says that something else comes first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) fn step<S: Store>(
        &mut self,
        now: Time,
        busy: bool,
        outlook: &Outlook,
        store: &S,
    ) -> Result<(), StoreError> {
        if self.deadline().is_none_or(|due| due > now) {
            return Ok(());
        }
        if self.chunk.is_some() {
            self.note_silence();
            return self.ask_next(now, outlook);
        }
        self.due = now.after(STEP_PAUSE);
        if busy && self.waits < MAX_WAITS {
            self.waits = self.waits.saturating_add(1);
            return Ok(());
        }
        self.waits = 0;
        self.collect(now, outlook, store)
    }

    /// Takes in an answer, or that none came.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) fn answered<S: Store>(
        &mut self,
        now: Time,
        question: u64,
        answer: Option<SwarmAnswer>,
        outlook: &Outlook,
        store: &S,
    ) -> Result<(), StoreError> {
        let Some(chunk) = self.chunk.as_mut().filter(|chunk| chunk.question == question) else {
            return Ok(());
        };
        match (&mut chunk.about, answer) {
            (About::Held { to, places }, Some(SwarmAnswer::Held { places: held })) => {
                let (to, places) = (*to, core::mem::take(places));
                let held =
                    |place: usize| u32::try_from(place).is_ok_and(|place| held.binary_search(&place).is_ok());
                let mut lacking = Vec::new();
                for (at, place) in places.into_iter().enumerate() {
                    match chunk.records.get_mut(place) {
                        Some(record) if held(at) => record.at = record.at.saturating_add(1),
                        _ => lacking.push(place),
                    }
                }
                self.push(now, to, &lacking, outlook, store)
            }
            (About::Push { to, batch, rest }, Some(SwarmAnswer::Replicated { results })) => {
                let (to, batch, rest) = (*to, core::mem::take(batch), core::mem::take(rest));
                let mut results = results.into_iter();
                for (place, mutations) in batch {
                    let done = |one: Option<Replicated>| matches!(one, Some(Replicated::Done { .. }));
                    let all = (0..mutations).fold(true, |all, _| done(results.next()) && all);
                    if let Some(record) = chunk.records.get_mut(place).filter(|_| all) {
                        record.at = record.at.saturating_add(1);
                    }
                }
                self.push(now, to, &rest, outlook, store)
            }
            (_, None) => {
                self.note_silence();
                self.ask_next(now, outlook)
            }
            _ => self.ask_next(now, outlook),
        }
    }

    /// Whoever was asked last has not answered.
    fn note_silence(&mut self) {
        if let Some(About::Held { to, .. } | About::Push { to, .. }) =
            self.chunk.as_ref().map(|one| &one.about)
        {
            self.silent.insert(*to);
        }
    }

    /// Looks for the next foreign records.
    fn collect<S: Store>(&mut self, now: Time, outlook: &Outlook, store: &S) -> Result<(), StoreError> {
        let Some(walk) = &mut self.walk else { return Ok(()) };
        let acts = &outlook.maps().acts;
        let (mut records, mut seen, mut ended) = (Vec::new(), 0_usize, true);
        for (bucket, _) in store.fingerprints() {
            if bucket.0 < walk.bucket {
                continue;
            }
            if seen >= STEP || records.len() >= MAX_HELD {
                ended = false;
                break;
            }
            if bucket.0 > walk.bucket {
                (walk.bucket, walk.after) = (bucket.0, None);
            }
            let after = walk.after.map(|(until, known)| (until, known.account, known.hash));
            store.bucket(bucket, &mut |Item { id, until, account, hash }| {
                seen = seen.saturating_add(1);
                let new = after.is_none_or(|after| (until, account, hash) > after);
                if new && records.len() < MAX_HELD && !outlook.keeps(&account, acts.version) {
                    let known = Known { account, hash, id: ByteArray::new(id) };
                    walk.after = Some((until, known));
                    records.push(known);
                }
            })?;
            if records.len() < MAX_HELD {
                (walk.bucket, walk.after) = (bucket.0.saturating_add(1), None);
            }
        }
        if !records.is_empty() {
            (walk.found, self.found) = (true, true);
            self.chunk = Some(Chunk::new(now, records, acts, &self.silent));
            return self.ask_next(now, outlook);
        }
        if !ended {
            return Ok(());
        }
        self.found = walk.found;
        // Until a whole round has found nothing.
        self.walk = self.found.then(Walk::default);
        self.silent.clear();
        self.due = if self.found { now.after(ROUND_PAUSE) } else { now };
        Ok(())
    }

    /// Asks the next member about what too few are known to have; at the end forgets what enough have.
    fn ask_next(&mut self, now: Time, outlook: &Outlook) -> Result<(), StoreError> {
        let Some(chunk) = &mut self.chunk else { return Ok(()) };
        let at_once = crate::mutants::on("purge-at-once");
        while let Some((to, swarm)) = chunk.todo.pop_front().filter(|_| !at_once) {
            let wanted = |(_, record): &(usize, &Foreign)| record.swarm == swarm && record.at < record.needed;
            let open = chunk.records.iter().enumerate().filter(wanted);
            let (places, records): (Vec<_>, Vec<_>) =
                open.map(|(place, record)| (place, record.known)).unzip();
            if !records.is_empty() {
                chunk.about = About::Held { to, places };
                self.ask(now, to, Ask::Held { records }, outlook);
                return Ok(());
            }
        }
        let enough = |record: &&Foreign| record.at >= record.needed || at_once;
        let purge: Vec<_> = chunk.records.iter().filter(enough).map(|record| record.known).collect();
        self.chunk = None;
        self.due = now;
        if !purge.is_empty() {
            self.outbox.push_back(Output::Purge(purge));
        }
        Ok(())
    }

    /// Passes on what a member lacks, as much as fits into one message.
    fn push<S: Store>(
        &mut self,
        now: Time,
        to: NodeId,
        lacking: &[usize],
        outlook: &Outlook,
        store: &S,
    ) -> Result<(), StoreError> {
        let Some(chunk) = &mut self.chunk else { return Ok(()) };
        let (mut mutations, mut batch, mut bytes) = (Vec::<Mutation>::new(), Vec::new(), 0_usize);
        let mut dealt = 0_usize;
        for place in lacking {
            let Some(Known { account, hash, id }) = chunk.records.get(*place).map(|record| record.known)
            else {
                break;
            };
            // What has changed meanwhile, or cannot be read, is left to the next round.
            let behind = match store.record(&account, &hash) {
                Ok(Some(record)) if record.id(&account, &hash) == *id => evidence(store, &record, hash),
                Ok(_) => Ok(Vec::new()),
                Err(error) => Err(error),
            };
            let behind = match behind {
                Err(StoreError::Damaged(_) | StoreError::Lost { .. }) => Vec::new(),
                behind => behind?,
            };
            bytes = behind.iter().map(Mutation::weight).fold(bytes, usize::saturating_add);
            let more = mutations.len().saturating_add(behind.len());
            if (bytes > MAX_BATCH_BYTES || more > MAX_BATCH) && !mutations.is_empty() {
                break;
            }
            if !behind.is_empty() {
                batch.push((*place, behind.len()));
                mutations.extend(behind);
            }
            dealt = dealt.saturating_add(1);
        }
        if mutations.is_empty() {
            return self.ask_next(now, outlook);
        }
        let rest = lacking.get(dealt..).unwrap_or_default().to_vec();
        chunk.about = About::Push { to, batch, rest };
        self.ask(now, to, Ask::Replicate { mutations, json: Vec::new() }, outlook);
        Ok(())
    }

    fn ask(&mut self, now: Time, to: NodeId, ask: Ask, outlook: &Outlook) {
        let Some(chunk) = &mut self.chunk else { return };
        self.next_question = self.next_question.wrapping_add(1);
        (chunk.question, chunk.asked) = (self.next_question, now);
        let (map_version, newest) = (outlook.maps().acts.version, outlook.maps().newest());
        let newest = Some(newest).filter(|newest| *newest != map_version);
        let request = SwarmRequest { map_version, newest, arc: None, ask };
        self.outbox.push_back(Output::Ask { question: chunk.question, to, request });
    }
}
