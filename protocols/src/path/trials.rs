//! Guards drawn and tested, and paths tested before they are needed.

use rand_core::Rng;

use super::{
    DRAW_PAUSE, Outcome, Output, PAUSE, Path, PathId, Paths, State, TEST, TESTS, UNHEARD, Use,
    choose::Pool,
    guards::{Guards, Health},
};
use crate::{NodeId, Span, Time, mutants};

impl<R: Rng> Paths<R> {
    /// Draws guards where there are too few.
    pub(super) fn recruit(&mut self, now: Time) {
        if self.wanted.is_none() || self.nodes.is_empty() {
            return;
        }
        self.keep |= self.guards.retire(now, &self.nodes);
        let mut lacking = None;
        while self.guards.wants_another(now, &self.nodes, &self.health) {
            if let Some(until) = self.unkept.filter(|until| now < *until) {
                lacking = Some(until);
                break;
            }
            let pool = Pool { nodes: &self.nodes, avoid: self.blame.dropped() };
            let Some(node) = pool.guard(&mut self.random, &self.guards) else {
                lacking = Some(now.after(DRAW_PAUSE));
                break;
            };
            self.guards.draw(now, node, &mut self.random);
            self.health.insert(node, Health::default());
            if !mutants::on("guards-unkept") {
                self.fresh.insert(node);
            }
            self.keep = true;
        }
        let next = self.guards.deadline(now, &self.nodes, &self.health);
        self.health.retain(|node, _| self.guards.contains(node));
        self.mute.retain(|node, _| self.guards.contains(node));
        self.recruit_at = lacking.into_iter().chain(next).min();
    }

    /// Goes on with the guards that are kept: those drawn here, or by another process before.
    pub(super) fn kept_guards(&mut self, kept: &Guards) {
        self.guards = self.guards.adopt(kept);
        for (node, health) in kept.health() {
            self.health.entry(node).or_insert(health);
        }
        self.fresh.clear();
        self.unkept = None;
    }

    /// Forgets guards that could not be kept; others are drawn after a pause, if somebody waits.
    pub(super) fn unkept_guards(&mut self, now: Time) {
        for node in core::mem::take(&mut self.fresh) {
            self.guards.forget(&node);
            self.health.remove(&node);
            self.unkept = Some(now.after(PAUSE));
        }
    }

    /// Has guards tested whose time has come.
    pub(super) fn test_guards(&mut self, now: Time) {
        if self.wanted.is_none() {
            return;
        }
        let due = |health: &Health| match health {
            Health::Untested { .. } => true,
            Health::Up { suspect, .. } => *suspect,
            Health::Down { retry_at, .. } => *retry_at <= now,
        };
        let guards: Vec<_> = self.guards.active(&self.nodes).map(|guard| guard.node).collect();
        for guard in guards {
            let kept = !self.fresh.contains(&guard);
            if kept && self.health.get(&guard).is_some_and(due) && !self.is_tested(guard) {
                self.test(now, guard);
            }
        }
    }

    /// Says of tests that they are late, or silent, when their time has come.
    pub(super) fn judge_trials(&mut self, now: Time) {
        let due = |path: &Path| path.due().is_some_and(|due| due <= now);
        let due = self.paths.iter().filter(|(_, path)| due(path));
        let due: Vec<_> = due.map(|(id, path)| (*id, path.tested)).collect();
        for (path, begun) in due {
            let silent = begun.is_some_and(|begun| begun.after(TEST) <= now);
            self.outcome(now, path, if silent { Outcome::Silent } else { Outcome::Slow });
        }
    }

    /// Has a guard tested; false if nothing can be sent through it.
    pub(super) fn test(&mut self, now: Time, guard: NodeId) -> bool {
        let probed = self.probe(now, None, guard, None);
        if !probed {
            // Nothing can be sent through it for now: that says nothing of it.
            if let Some(health @ Health::Down { .. }) = self.health.get_mut(&guard) {
                *health = health.down(now);
            }
        }
        probed
    }

    /// Whether no further test of a guard is to begin: beside one that is late a second one is made.
    pub(super) fn is_tested(&self, guard: NodeId) -> bool {
        let tests = self.tests(guard);
        let late = |test: &PathId| self.paths.get(test).is_some_and(|path| path.state == State::Suspect);
        tests.len() >= TESTS || !tests.iter().all(late)
    }

    /// The tests of a guard that are under way.
    pub(super) fn tests(&self, guard: NodeId) -> Vec<PathId> {
        let mine = |path: &Path| path.usage.is_none() && path.hops.first() == Some(&guard);
        self.paths.iter().filter(|(_, path)| mine(path)).map(|(id, _)| *id).collect()
    }

    /// Makes a path through a guard and has it tried; false if there is none.
    pub(super) fn probe(
        &mut self,
        now: Time,
        usage: Option<Use>,
        guard: NodeId,
        beside: Option<NodeId>,
    ) -> bool {
        let mut avoid = self.avoided();
        let late = self.tests(guard).into_iter().filter_map(|test| self.paths.get(&test));
        avoid.extend(late.flat_map(|test| test.hops));
        // A hop that it did not reach before says nothing more of it.
        avoid.extend(self.blame.beside(guard));
        let pool = Pool { nodes: &self.nodes, avoid: &avoid };
        let found = pool.probe(&mut self.random, guard, beside);
        let found = found.or_else(|| pool.probe(&mut self.random, guard, None).filter(|_| beside.is_some()));
        let Some((hops, destination)) = found else { return false };
        let path = self.make(now, usage, hops);
        if let Some(made) = self.paths.get_mut(&path) {
            made.tested = Some(now);
        }
        self.outbox.push_back(Output::Probe { path, hops, destination });
        true
    }

    /// A guard answers.
    pub(super) fn answers(&mut self, now: Time, guard: NodeId) {
        self.health.insert(guard, Health::Up { suspect: false, silent: 0 });
        self.keep |= self.guards.answers(now, guard);
    }

    /// Something that should have come through a guard did not: it is tested.
    pub(super) fn suspect(&mut self, guard: NodeId) {
        if let Some(health) = self.health.get_mut(&guard) {
            health.suspect();
        }
    }

    /// A guard left a packet without a word, or refused it.
    ///
    /// It counts if it answered a test within this span: then it is reached, and chooses what it answers. What
    /// was lost with a link counts once at most, however many packets that were.
    pub(super) fn leaves(&mut self, now: Time, guard: NodeId, tested: Span) {
        let Some(mute) = self.mute.get_mut(&guard) else { return };
        if mute.answered.take_if(|answered| now < answered.after(tested)).is_none() {
            return;
        }
        mute.packets = mute.packets.saturating_add(1);
        if mute.packets >= UNHEARD && self.guards.replace(now, guard, &self.nodes) {
            self.mute.remove(&guard);
            self.keep = true;
        }
    }

    /// A guard does not answer.
    pub(super) fn fails(&mut self, now: Time, guard: NodeId) {
        let health = self.health.get(&guard).copied().unwrap_or_default();
        self.health.insert(guard, health.down(now));
        self.keep |= self.guards.fails(now, guard);
    }
}
