//! Changes of whole drawers for clients of the JSON door, who ask once: the member goes on for them.
//!
//! Such a change is made in steps of [`MAX_BULK_JSON`] messages. Each is a mutation of its own with the client's one
//! proof, and is passed on like any other. The client is told what the first one did, which members sign for, once the
//! last one is durable: what it is told is bounded, and what is done is not.

use super::{Member, Output, Waiting};
use crate::{
    MessageHash, NodeId, Time,
    answer::{Answer, Code, Done, Receipts},
    mailbox,
    record::Mutation,
    request::{Door, MAX_BULK_JSON, TOLERANCE_FORWARDED, Which},
    store::{StoreError, Transaction},
};

/// Changes that go on at once; whoever asks for another one is told with 429 to ask again for the rest.
pub(super) const MAX_BULKS: usize = 16;

/// Where the numbers of steps begin: the host's for clients come from the other end. Each step has its own, so that a
/// member's late word on one is not taken for its word on the next.
const STEPS: u64 = 1 << 63;

/// A change of whole drawers, until there is nothing left to change.
#[derive(Debug)]
pub(super) struct Bulk {
    /// As it was asked for.
    mutation: Mutation,
    /// Until when other members change what they hold alone.
    fresh: Time,
    /// The last arrival that it is about.
    until: u64,
    /// The last message that this member changed.
    last: Option<MessageHash>,
    /// Whether this member changed as many as one step may.
    full: bool,
    /// What the first step did, once it was done.
    told: Option<Receipts>,
}

impl Bulk {
    /// One for a mutation that has more steps than one where there is enough to change; `head` is the newest arrival.
    pub(super) fn of(mutation: &Mutation, door: Door, head: u64) -> Option<Box<Self>> {
        let (which, auth) = match mutation {
            Mutation::Delete { request, .. } => (&request.which, &request.auth),
            Mutation::Expire { request, .. } => (&request.which, &request.auth),
            Mutation::Store(_) | Mutation::Replace { .. } | Mutation::Revoke { .. } => return None,
        };
        // Whoever says how many at a time repeats.
        let whole = matches!(which, Which::In { most: None, .. }) && door == Door::Json;
        let fresh = Time::from_millis(auth.time).after(TOLERANCE_FORWARDED);
        let mutation = whole.then(|| mutation.clone())?;
        Some(Box::new(Self { mutation, fresh, until: head, last: None, full: false, told: None }))
    }

    /// Whether a step left something, at this member or at one that holds it alone: no member is believed that for
    /// longer than it may be so.
    fn has_more(&self, now: Time, me: &NodeId, receipts: &Receipts) -> bool {
        let other = |node: &NodeId, done: &Done| node != me && changed(done).len() >= MAX_BULK_JSON;
        let others = || receipts.signed.iter().any(|receipt| other(&receipt.node, &receipt.done));
        self.full || now <= self.fresh && others()
    }
}

fn changed(done: &Done) -> &[MessageHash] {
    match done {
        Done::Changed { hashes } => hashes,
        Done::Keeps { .. } => &[],
    }
}

impl Waiting {
    /// Notes what this member did of a step.
    pub(super) fn note(&mut self, done: &Done) {
        if let Some(bulk) = &mut self.bulk {
            let changed = changed(done);
            bulk.full = changed.len() >= MAX_BULK_JSON;
            bulk.last = changed.last().copied().or(bulk.last);
        }
    }

    /// The door by which a step is passed on. After the first one no member tells the client anything, and none that
    /// is silent holds the others up: it fetches what it missed.
    pub(super) fn door_of_step(&self) -> Door {
        if self.goes_on() { Door::Native } else { self.door }
    }

    /// Whether the first step was done and was not all.
    fn goes_on(&self) -> bool {
        self.bulk.as_ref().is_some_and(|bulk| bulk.told.is_some())
    }
}

impl Member {
    /// Gives back who is to be answered, and with what: whose change goes on waits for the next step.
    pub(super) fn go_on(
        &mut self,
        now: Time,
        number: u64,
        mut waiting: Waiting,
        receipts: Receipts,
    ) -> Option<(Waiting, Receipts)> {
        let (me, begins) = (self.setup.pair.node_id(), !waiting.goes_on());
        let Some(bulk) = &mut waiting.bulk else { return Some((waiting, receipts)) };
        let more = bulk.has_more(now, &me, &receipts);
        let mut told = bulk.told.take().unwrap_or(receipts);
        if begins && more && self.bulks >= MAX_BULKS {
            let answer = Answer::refused(now.as_millis(), Code::TooMany);
            self.outbox.push_back(Output::Answer { ticket: waiting.ticket, answer });
            return None;
        }
        self.bulks = match (begins, more) {
            (true, true) => self.bulks.saturating_add(1),
            (false, false) => self.bulks.saturating_sub(1),
            (true, false) | (false, true) => self.bulks,
        };
        if !more {
            return Some((waiting, told));
        }
        // The client is told what each lists: the rest would lie there for as long as this goes on.
        told.signed.iter_mut().for_each(|receipt| receipt.done = Done::Changed { hashes: Vec::new() });
        bulk.told = Some(told);
        self.waiting.insert(number, waiting);
        self.steps.push_back(number);
        None
    }

    /// Forgets who waits under a number; the host's own for it.
    pub(super) fn forget_waiting(&mut self, number: u64) -> u64 {
        let Some(waiting) = self.waiting.remove(&number) else { return number };
        if waiting.goes_on() {
            self.bulks = self.bulks.saturating_sub(1);
        }
        waiting.ticket
    }

    /// Takes the next step of the change that has waited longest: one in each turn, so that others have theirs.
    pub(super) fn step<T: Transaction>(&mut self, now: Time, store: &mut T) -> Result<(), StoreError> {
        let before = self.steps.pop_front().and_then(|number| self.waiting.remove(&number));
        let Some(mut waiting) = before else { return Ok(()) };
        let Some(bulk) = &mut waiting.bulk else { return Ok(()) };
        bulk.full = false;
        let (mutation, until, after) = (bulk.mutation.clone(), bulk.until, bulk.last);
        self.taken = self.taken.wrapping_add(1);
        let ticket = STEPS | self.taken;
        self.waiting.insert(ticket, waiting);
        if self.full {
            self.pass_on(now, ticket, mutation);
            return Ok(());
        }
        self.mailbox.handle(now, mailbox::Input::Continue { ticket, mutation, until, after }, store)
    }
}
