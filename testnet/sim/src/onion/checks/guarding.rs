//! What a client makes of its guards: which it uses, passes over and replaces.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{
    NodeId, Span, Time,
    path::{
        Outcome, PathId,
        delivery::RETRY,
        guards::{Guard, MAX_GUARDS},
    },
};

use crate::checks::{Violation, broken};

/// How long a guard that is busy is passed over.
const BUSY: Span = Span::secs(30);
/// Packets that a guard leaves or refuses until another takes its place.
const LEFT: u32 = 3;
/// The same with those that are under way before the first is given up, or that were lost besides.
const MOST_LEFT: u32 = 16;
/// Pauses that are enough to tell whether they are foreseen.
const PAUSES: u32 = 20;

/// What clients have seen of their guards.
#[derive(Debug, Default)]
pub(in crate::onion) struct Guarding {
    /// The guard of each path.
    guards: BTreeMap<(usize, PathId), NodeId>,
    /// Paths of which a client is told nothing more that counts for the guard's health.
    closed: BTreeSet<(usize, PathId)>,
    met: BTreeMap<(usize, NodeId), Met>,
    /// Pauses before second tries: in the first half of the longest, and in the second.
    pauses: [u32; 2],
}

/// What a client has seen of one guard.
#[derive(Debug, Default)]
struct Met {
    /// Whether it has ever answered.
    answered: bool,
    /// Whether the last word on it was that it answers.
    well: bool,
    /// Until when it is passed over.
    busy: Time,
    /// Packets of the client's own that it left or refused, as the client has it.
    left: u32,
    /// The same, as it was, since the last one that was answered.
    ignored: u32,
}

impl Guarding {
    /// A client sends a packet, which is a test or not.
    pub(super) fn sends(
        &mut self,
        client: usize,
        path: PathId,
        guard: NodeId,
        test: bool,
    ) -> Result<(), Violation> {
        self.guards.insert((client, path), guard);
        let met = self.met.entry((client, guard)).or_default();
        if !test && !met.answered {
            let detail = format!("client {client}, {path:?}: {guard} has answered nothing");
            return broken("nothing but tests goes through a guard that has answered none", detail);
        }
        Ok(())
    }

    /// A client's machine is told what became of a packet.
    pub(in crate::onion) fn told(
        &mut self,
        client: usize,
        now: Time,
        path: PathId,
        outcome: Outcome,
        test: bool,
    ) {
        let Some(guard) = self.guards.get(&(client, path)) else { return };
        let met = self.met.entry((client, *guard)).or_default();
        let well = matches!(outcome, Outcome::Answered | Outcome::Stopped { by: 1.., .. });
        let closed = self.closed.contains(&(client, path));
        // Bad news may count whatever became of the path. A test that was closed may have been late.
        met.well &= well && !(test && closed);
        if !test {
            met.left += u32::from(matches!(outcome, Outcome::Unheard | Outcome::Refused));
            met.ignored *= u32::from(outcome != Outcome::Answered);
        }
        if closed {
            return;
        }
        met.answered |= well;
        met.well = well;
        if !test && outcome == Outcome::Busy {
            met.busy = now.after(BUSY);
        }
    }

    /// A client has closed a path.
    pub(in crate::onion) fn closed(&mut self, client: usize, path: PathId) {
        self.closed.insert((client, path));
    }

    /// A guard left a packet that was no test, or refused it.
    pub(in crate::onion) fn ignored(&mut self, client: usize, guard: NodeId) {
        self.met.entry((client, guard)).or_default().ignored += 1;
    }

    /// Whether the last word on a guard was that it answers, and it is not passed over.
    pub(in crate::onion) fn is_well(&self, client: usize, now: Time, guard: NodeId) -> bool {
        self.met.get(&(client, guard)).is_some_and(|met| met.well && met.busy <= now)
    }

    /// A request goes over a path by this guard, after those by `before`; another would do.
    pub(in crate::onion) fn begins(
        &self,
        client: usize,
        now: Time,
        guard: NodeId,
        before: &[NodeId],
        other: Option<NodeId>,
    ) -> Result<(), Violation> {
        let Some(other) = other else { return Ok(()) };
        let detail = || format!("client {client}: {guard} and not {other}");
        if self.met.get(&(client, guard)).is_some_and(|met| met.busy > now) {
            return broken("a guard that is busy is passed over", detail());
        }
        if before.contains(&guard) {
            return broken("a second try goes through another guard", detail());
        }
        Ok(())
    }

    /// A second try is made so long after the one before failed.
    pub(in crate::onion) fn pauses(&mut self, pause: Span) {
        self.pauses[usize::from(pause.0 > RETRY.0 / 2)] += 1;
    }

    /// A client's guards are these.
    pub(super) fn guards(&self, client: usize, guards: &[Guard]) -> Result<(), Violation> {
        for guard in guards {
            let Some(met) = self.met.get(&(client, guard.node)) else { continue };
            let detail = || format!("client {client}, {}: {met:?}", guard.node);
            if guard.retired && met.left < LEFT {
                return broken("no guard is replaced that serves its client", detail());
            }
            if !guard.retired && met.ignored > MOST_LEFT && guards.len() < MAX_GUARDS {
                return broken("a guard that serves tests alone is replaced", detail());
            }
        }
        Ok(())
    }

    /// A run is over.
    pub(in crate::onion) fn at_rest(&self) -> Result<(), Violation> {
        let [first, second] = self.pauses;
        if first + second >= PAUSES && (first == 0 || second == 0) {
            let detail = format!("{first} pauses in the first half of the longest, {second} in the second");
            return broken("a second try waits for a time that nobody can foresee", detail);
        }
        Ok(())
    }
}
