//! Writes: a mutation goes to every other member, and counts when a majority is durable.
//!
//! Mutations to one member wait in a queue and leave in batches, few of them under way at once, so
//! that load makes batches larger instead of messages more. What a member misses is not sent
//! again: it is told that it is behind, and fetches it itself (see [`super::repair`]).
//!
//! While a swarm changes a write wants a majority of each of several quorums. One that is under way
//! when the map changes is judged by those that it began with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    Span, Time,
    answer::{Failure, Missing, Receipt, Receipts, Subject},
    identity::NodeId,
    maps::Quorum,
    message::MAX_DATA,
    record::Mutation,
    request::{Door, MAX_HASHES, TOLERANCE_FORWARDED},
    swarm::{Ask, MAX_BATCH, MAX_BATCH_BYTES, SwarmRequest},
};

/// How long a write waits for its majority.
pub const WAIT: Span = Span::secs(5);
/// Batches under way to one member.
pub const WINDOW: usize = 2;
/// Mutations waiting for one member; beyond it new ones are left to repair.
pub const MAX_QUEUE: usize = 4_096;
/// Bytes of mutations waiting for one member, by [`Mutation::weight`]; likewise.
pub const MAX_QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// Writes waiting for a majority; beyond it new ones end at once with what they have.
pub const MAX_PENDING: usize = 16_384;
/// How long nothing is sent to a member that failed.
pub const BACKOFF: Span = Span::millis(500);
/// How soon a member that did not hear that it is behind is told again.
pub const TELL_AGAIN: Span = Span::secs(5);

const _: () = assert!(MAX_DATA + 1_024 < MAX_BATCH_BYTES && MAX_HASHES * 64 < MAX_BATCH_BYTES);
const _: () = assert!(WAIT.0 < TOLERANCE_FORWARDED.0);

/// What the machine is fed.
#[expect(clippy::large_enum_variant, reason = "short-lived, and the large one is the common one")]
#[derive(Clone, Debug)]
pub enum Input {
    /// A mutation wants a majority.
    Write {
        /// The host's number for it.
        ticket: u64,
        /// What the receipts are about.
        subject: Subject,
        /// What to pass on.
        mutation: Mutation,
        /// This member's own receipt; none where it cannot write itself, which only a client of the JSON door
        /// does not mind.
        receipt: Option<Receipt>,
        /// Who must have it. The client hears of receipts of the first alone.
        quorums: Vec<Quorum>,
        /// Through which door the client came. One of the JSON door counts for itself: it is told once all
        /// members have spoken, or time has run out.
        door: Door,
    },
    /// A batch was answered: a receipt, checked, for each mutation that was done.
    Answered {
        /// The number of [`Output::Send`].
        batch: u64,
        /// One for each mutation of the batch, in order, or why there is none.
        receipts: Vec<Result<Receipt, Failure>>,
    },
    /// A batch was not answered, refused as a whole, or answered nonsensically.
    Failed {
        /// The number of [`Output::Send`].
        batch: u64,
        /// Which of these.
        why: Failure,
    },
    /// A member can be reached (again).
    Connected(NodeId),
    /// Time has passed.
    Tick,
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a batch and report its answer.
    Send {
        /// Names the batch in the report.
        batch: u64,
        /// The member.
        to: NodeId,
        /// The message.
        request: SwarmRequest,
        /// What each of its receipts must be about.
        subjects: Vec<Subject>,
    },
    /// Tell a member that it missed something, and report like a batch whether it heard.
    Behind {
        /// Names it in the report.
        batch: u64,
        /// The member.
        to: NodeId,
        /// The message.
        request: SwarmRequest,
    },
    /// A majority is durable.
    Done {
        /// The ticket of [`Input::Write`].
        ticket: u64,
        /// Who.
        receipts: Receipts,
    },
    /// Time ran out, or too few members can be reached.
    Short {
        /// The ticket of [`Input::Write`].
        ticket: u64,
        /// Who has it all the same.
        receipts: Receipts,
    },
}

/// The machine of one member's writes.
#[derive(Debug)]
pub struct Writes {
    me: NodeId,
    map_version: u64,
    newest: Option<u64>,
    links: BTreeMap<NodeId, Link>,
    pending: BTreeMap<u64, Pending>,
    deadlines: BTreeSet<(Time, u64)>,
    batches: BTreeMap<u64, Batch>,
    next_batch: u64,
    outbox: VecDeque<Output>,
}

#[derive(Debug, Default)]
struct Link {
    queue: VecDeque<Queued>,
    /// What the queue weighs.
    bytes: usize,
    under_way: usize,
    /// Nothing is sent before this.
    not_before: Time,
    /// It missed something since it was last told.
    behind: bool,
    /// It is being told.
    telling: bool,
    /// It is not told before this.
    tell_at: Time,
}

#[derive(Debug)]
struct Queued {
    ticket: u64,
    /// The map that acted when it was written, over which its receipts are signed, and the newest that
    /// was known then, for whose members it was meant.
    maps: (u64, Option<u64>),
    subject: Subject,
    mutation: Mutation,
    door: Door,
}

#[derive(Debug)]
struct Pending {
    map_version: u64,
    quorums: Vec<Quorum>,
    receipts: Vec<Receipt>,
    /// Who has said no, or nothing sound. Who is in neither list has said nothing.
    failed: BTreeMap<NodeId, Failure>,
    /// Members that have not said yes or no.
    open: usize,
    deadline: Time,
    door: Door,
}

impl Pending {
    fn of(&self, quorum: &Quorum) -> usize {
        self.receipts.iter().filter(|receipt| quorum.members.contains(&receipt.node)).count()
    }

    fn done(&self) -> bool {
        let one = crate::mutants::on("count-one-as-majority");
        self.quorums.iter().all(|quorum| self.of(quorum) >= if one { 1 } else { quorum.needed })
    }

    /// What the client is told: receipts of members by the map that it knows. As long as a swarm changes
    /// it hears of none before all have spoken, because it would count them to a majority of the old
    /// members alone.
    fn told(self, done: bool) -> Receipts {
        let mut signed = self.receipts;
        let mut missing = Vec::new();
        match self.quorums.first() {
            Some(acting) if self.door == Door::Json => {
                signed.retain(|receipt| acting.members.contains(&receipt.node));
                let has = |member: &&NodeId| signed.iter().any(|receipt| receipt.node == **member);
                let why = |member| self.failed.get(member).copied().unwrap_or(Failure::Silent);
                let lacking = acting.members.iter().filter(|member| !has(member));
                missing.extend(lacking.map(|node| Missing { node: *node, why: why(node) }));
            }
            Some(acting) if done => signed.retain(|receipt| acting.members.contains(&receipt.node)),
            Some(_) if self.quorums.len() > 1 => signed.clear(),
            Some(_) | None => {}
        }
        Receipts { map_version: self.map_version, signed, missing }
    }
}

#[derive(Debug)]
struct Batch {
    to: NodeId,
    /// None where a member is told that it is behind.
    tickets: Option<Vec<u64>>,
}

impl Writes {
    /// A machine for `me` that passes mutations on to `others`.
    pub fn new(me: NodeId, others: impl IntoIterator<Item = NodeId>, map_version: u64) -> Self {
        let others = others.into_iter().filter(|other| *other != me);
        Self {
            me,
            map_version,
            newest: None,
            links: others.map(|other| (other, Link::default())).collect(),
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
            outbox: VecDeque::new(),
        }
    }

    /// Goes on with others under another map. What waits for those that are no longer among them is given up.
    pub fn change(&mut self, others: impl IntoIterator<Item = NodeId>, map_version: u64, newest: u64) {
        (self.map_version, self.newest) = (map_version, Some(newest).filter(|newest| *newest != map_version));
        let mut left = core::mem::take(&mut self.links);
        let others = others.into_iter().filter(|other| *other != self.me);
        self.links = others.map(|other| (other, left.remove(&other).unwrap_or_default())).collect();
        for (member, link) in left {
            for queued in link.queue {
                self.answer_for(queued.ticket, member, Err(Failure::Silent));
                self.settle(queued.ticket);
            }
        }
    }

    /// Applies one input at `now`; results are read with [`Self::poll`].
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Write { ticket, subject, mutation, receipt, quorums, door } => {
                self.write(now, (ticket, subject, door), &mutation, receipt, quorums);
            }
            Input::Answered { batch, receipts } => self.answered(now, batch, receipts),
            Input::Failed { batch, why } => self.failed(now, batch, why),
            Input::Connected(member) => {
                if let Some(link) = self.links.get_mut(&member) {
                    (link.not_before, link.tell_at) = (Time::ZERO, Time::ZERO);
                    self.resume(now, member);
                }
            }
            Input::Tick => self.tick(now),
        }
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Option<Time> {
        let waits = |link: &&Link| {
            let to_send = !link.queue.is_empty() && link.under_way < WINDOW;
            to_send || (link.behind && !link.telling && link.under_way == 0)
        };
        let due = |link: &Link| {
            if link.queue.is_empty() { link.not_before.max(link.tell_at) } else { link.not_before }
        };
        let resume = self.links.values().filter(waits).map(due).min();
        self.deadlines.first().map(|(deadline, _)| *deadline).into_iter().chain(resume).min()
    }

    /// How many writes wait for a majority.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn write(
        &mut self,
        now: Time,
        (ticket, subject, door): (u64, Subject, Door),
        mutation: &Mutation,
        receipt: Option<Receipt>,
        quorums: Vec<Quorum>,
    ) {
        let full = self.pending.len() >= MAX_PENDING;
        let members: BTreeSet<_> = quorums.iter().flat_map(|quorum| &quorum.members).copied().collect();
        let members: Vec<_> = members.into_iter().filter(|member| self.links.contains_key(member)).collect();
        let open = if full { 0 } else { members.len() };
        let (deadline, maps) = (now.after(WAIT), (self.map_version, self.newest));
        let map_version = self.map_version;
        self.deadlines.insert((deadline, ticket));
        let failed =
            if receipt.is_none() { BTreeMap::from([(self.me, Failure::Own)]) } else { BTreeMap::new() };
        let receipts = receipt.into_iter().collect();
        let pending = Pending { map_version, quorums, receipts, failed, open, deadline, door };
        self.pending.insert(ticket, pending);
        let weight = mutation.weight();
        for member in members {
            let Some(link) = self.links.get_mut(&member) else { continue };
            let bytes = link.bytes.saturating_add(weight);
            if full || link.queue.len() >= MAX_QUEUE || bytes > MAX_QUEUE_BYTES {
                link.behind = true;
                self.answer_for(ticket, member, Err(Failure::Silent));
                continue;
            }
            link.bytes = bytes;
            link.queue.push_back(Queued { ticket, maps, subject, mutation: mutation.clone(), door });
            self.send(now, member);
        }
        self.settle(ticket);
    }

    /// Sends what waits for a member, as far as its window allows.
    fn send(&mut self, now: Time, member: NodeId) {
        let Some(link) = self.links.get_mut(&member) else { return };
        while link.under_way < WINDOW && now >= link.not_before && !link.queue.is_empty() {
            let (mut mutations, mut subjects, mut tickets) = (Vec::new(), Vec::new(), Vec::new());
            let mut json = Vec::new();
            let mut bytes = 0_usize;
            let Some(maps) = link.queue.front().map(|queued| queued.maps) else { break };
            while mutations.len() < MAX_BATCH {
                let front = link.queue.front().filter(|queued| queued.maps == maps);
                let Some(queued) = front else { break };
                bytes = bytes.saturating_add(queued.mutation.weight());
                if bytes > MAX_BATCH_BYTES && !mutations.is_empty() {
                    break;
                }
                if let Some(queued) = link.queue.pop_front() {
                    link.bytes = link.bytes.saturating_sub(queued.mutation.weight());
                    if queued.door == Door::Json {
                        json.extend(u32::try_from(mutations.len()));
                    }
                    mutations.push(queued.mutation);
                    subjects.push(queued.subject);
                    tickets.push(queued.ticket);
                }
            }
            link.under_way = link.under_way.saturating_add(1);
            self.next_batch = self.next_batch.wrapping_add(1);
            let batch = self.next_batch;
            self.batches.insert(batch, Batch { to: member, tickets: Some(tickets) });
            let (map_version, newest) = maps;
            let ask = Ask::Replicate { mutations, json };
            let request = SwarmRequest { map_version, newest, arc: None, ask };
            self.outbox.push_back(Output::Send { batch, to: member, request, subjects });
        }
    }

    fn answered(&mut self, now: Time, batch: u64, receipts: Vec<Result<Receipt, Failure>>) {
        let Some(Batch { to, tickets }) = self.batches.remove(&batch) else { return };
        let Some(tickets) = tickets else { return self.told(now, to, true) };
        let mut receipts = receipts.into_iter();
        let mut missed = false;
        for ticket in tickets {
            let answer = match receipts.next() {
                Some(Ok(receipt)) if receipt.node == to => Ok(receipt),
                Some(Ok(_)) | None => Err(Failure::Unsound),
                Some(Err(why)) => Err(why),
            };
            missed |= answer.is_err();
            self.answer_for(ticket, to, answer);
            self.settle(ticket);
        }
        if let Some(link) = self.links.get_mut(&to) {
            link.under_way = link.under_way.saturating_sub(1);
            link.behind |= missed;
        }
        self.tell_if_behind(now, to);
        self.send(now, to);
    }

    fn failed(&mut self, now: Time, batch: u64, why: Failure) {
        let Some(Batch { to, tickets }) = self.batches.remove(&batch) else { return };
        let Some(mut lost) = tickets else { return self.told(now, to, false) };
        if let Some(link) = self.links.get_mut(&to) {
            link.under_way = link.under_way.saturating_sub(1);
            link.not_before = now.after(BACKOFF);
            link.behind = true;
            link.bytes = 0;
            lost.extend(link.queue.drain(..).map(|queued| queued.ticket));
        }
        for ticket in lost {
            self.answer_for(ticket, to, Err(why));
            self.settle(ticket);
        }
    }

    fn tick(&mut self, now: Time) {
        while let Some((deadline, ticket)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            if let Some(pending) = self.pending.get_mut(&ticket) {
                pending.open = 0;
            }
            self.settle(ticket);
            self.deadlines.remove(&(deadline, ticket));
        }
        let members: Vec<_> = self.links.keys().copied().collect();
        for member in members {
            self.resume(now, member);
        }
    }

    /// Sends what waits for a member; where nothing does, says at least what it missed.
    fn resume(&mut self, now: Time, member: NodeId) {
        self.send(now, member);
        let idle = |link: &Link| link.under_way == 0 && now >= link.not_before;
        if self.links.get(&member).is_some_and(idle) {
            self.tell_if_behind(now, member);
        }
    }

    /// Counts one member's yes or no.
    fn answer_for(&mut self, ticket: u64, member: NodeId, answer: Result<Receipt, Failure>) {
        let Some(pending) = self.pending.get_mut(&ticket) else { return };
        pending.open = pending.open.saturating_sub(1);
        match answer {
            Ok(receipt) => pending.receipts.push(receipt),
            Err(why) => drop(pending.failed.insert(member, why)),
        }
    }

    /// Ends a write that has its majority, or about which every member has spoken.
    fn settle(&mut self, ticket: u64) {
        let Some(pending) = self.pending.get(&ticket) else { return };
        let done = pending.done();
        if (!done || pending.door == Door::Json) && pending.open > 0 {
            return;
        }
        let Some(pending) = self.pending.remove(&ticket) else { return };
        self.deadlines.remove(&(pending.deadline, ticket));
        let receipts = pending.told(done);
        self.outbox.push_back(if done {
            Output::Done { ticket, receipts }
        } else {
            Output::Short { ticket, receipts }
        });
    }

    fn tell_if_behind(&mut self, now: Time, member: NodeId) {
        let Some(link) = self.links.get_mut(&member) else { return };
        if !link.behind || link.telling || now < link.tell_at {
            return;
        }
        (link.behind, link.telling) = (false, true);
        self.next_batch = self.next_batch.wrapping_add(1);
        let batch = self.next_batch;
        self.batches.insert(batch, Batch { to: member, tickets: None });
        let ask = Ask::Behind;
        let request = SwarmRequest { map_version: self.map_version, newest: self.newest, arc: None, ask };
        self.outbox.push_back(Output::Behind { batch, to: member, request });
    }

    /// A member heard that it is behind, or did not: what it missed must not wait for the next comparison.
    fn told(&mut self, now: Time, member: NodeId, heard: bool) {
        if let Some(link) = self.links.get_mut(&member) {
            link.telling = false;
            if !heard {
                link.behind = true;
                link.tell_at = now.after(TELL_AGAIN);
            }
        }
        self.tell_if_behind(now, member);
    }
}

#[cfg(test)]
mod tests;
