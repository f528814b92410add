//! What comes of a task once all that take part are done with it: who is believed, and what is applied.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use session_protocols::Time;

use super::{
    Advance, Follower, Header, Known, MAX_UNPROVEN, Mark, Output,
    errand::{Outcome, Range, Task, Told, Version},
    witness::Witness,
};
use crate::{
    ledger::{Block, Border},
    settlement::trouble::{Hold, Replaced, Stop, Trouble},
};

impl Follower {
    /// When all that take part are done with their task: what came of it.
    pub(super) fn settle(&mut self, now: Time) {
        while self.stopped.is_none()
            && self.task.is_some()
            && !self.witnesses.iter().any(|witness| witness.busy)
        {
            let Some(task) = self.task.take() else { return };
            let versions: BTreeMap<usize, Version> = self
                .witnesses
                .iter_mut()
                .enumerate()
                .filter_map(|(number, witness)| Some((number, witness.version.take()?)))
                .collect();
            if let Task::Look { lead, .. } = task {
                if let Some(Version { outcome: Outcome::Border(height), .. }) = versions.into_values().next()
                {
                    self.border = Some(height);
                } else {
                    self.try_next_lead(now, lead);
                }
                if self.rest.is_none() {
                    self.plan(now);
                }
                continue;
            }
            if versions.is_empty() {
                self.hold(now, Hold::Unanswered);
                continue;
            }
            match task {
                Task::Heads => self.heads(now, versions),
                Task::Begin(_) | Task::Check { .. } | Task::Prove(_) | Task::Range(_) => {
                    self.compare(now, &task, versions)
                }
                Task::Look { .. } => {}
            }
        }
    }

    fn heads(&mut self, now: Time, versions: BTreeMap<usize, Version>) {
        let (newest, told) = (self.newest, versions.len());
        let mut moved = false;
        for (number, version) in versions {
            let Outcome::Head(head) = version.outcome else { continue };
            moved |= head.height == newest.height && head.hash != newest.hash;
            if head.height < self.mark.height && !self.mark.hash.is_zero() {
                let trouble = Trouble::StaleHead { head: head.height, newest: self.mark.height };
                self.leave_out(now, number, trouble);
            }
        }
        self.leave_out_stale(now);
        let Some(target) = self.target() else {
            return self.hold(now, Hold::Disbelieved);
        };
        if target.height < self.mark.height {
            return self.hold(now, Hold::TooEarly { height: self.mark.height });
        }
        if self.mark.hash.is_zero() {
            self.start(now, Task::Begin(self.mark.height));
        } else if moved || !self.compared || (self.alone && told > 1) {
            self.start(now, Task::Check { known: newest, alone: false });
        } else {
            self.plan(now);
        }
    }

    /// Whoever is far behind what more than half of all know keeps the others back, and is left out.
    fn leave_out_stale(&mut self, now: Time) {
        let mut heads = self.heads_taking_part();
        // By time, of which blocks of another chain have some too.
        heads.sort_by_key(|(_, head)| core::cmp::Reverse(head.time));
        let Some((_, most)) = heads.get(heads.len() / 2).copied() else { return };
        for (number, head) in heads {
            if self.is_stale(&head, &most) {
                let trouble = Trouble::StaleHead { head: head.height, newest: most.height };
                self.leave_out(now, number, trouble);
            }
        }
    }

    fn try_next_lead(&mut self, now: Time, lead: usize) {
        self.border = None;
        self.lead = lead.wrapping_add(1) % self.witnesses.len().max(1);
        self.vain = self.vain.saturating_add(1);
        if self.vain > self.witnesses.len() {
            self.vain = 0;
            self.hold(now, Hold::NoBorder { epoch: self.mark.epoch });
        }
    }

    /// Compares what endpoints say, names the outvoted, and takes what is agreed on.
    fn compare(&mut self, now: Time, task: &Task, versions: BTreeMap<usize, Version>) {
        let voters = versions.len();
        let mut votes: BTreeMap<B256, usize> = BTreeMap::new();
        for version in versions.values() {
            *votes.entry(version.digest).or_default() += 1;
        }
        let best = votes.iter().max_by_key(|(_, votes)| **votes).map(|(digest, votes)| (*digest, *votes));
        let Some((digest, agreeing)) = best else { return };
        if let Task::Range(range) = task
            && agreeing < voters
            && !range.full
        {
            // Whoever left something out is to contradict itself: a majority that says nothing has shown nothing.
            return self.start(now, Task::Range(Range { full: true, ..*range }));
        }
        if agreeing < voters && !(agreeing >= 2 && agreeing * 2 > voters) {
            let names = versions.keys().filter_map(|it| self.name(*it)).map(str::to_owned).collect();
            let why = Hold::Disagree { names, about: task.to_string() };
            self.disputed = Some(why.clone());
            return self.hold(now, why);
        }
        match agreeing {
            0 | 1 => {
                // That the others fell silent does not tell who was right.
                if let Some(why) = self.disputed.clone() {
                    return self.hold(now, why);
                }
            }
            _ => self.disputed = None,
        }
        let (agreed, outvoted): (BTreeMap<_, _>, BTreeMap<_, _>) =
            versions.into_iter().partition(|(_, version)| version.digest == digest);
        for number in outvoted.into_keys() {
            let trouble = Trouble::Outvoted { others: agreeing, about: task.to_string() };
            self.leave_out(now, number, trouble);
        }
        self.agreed(now, task, agreed.into_values().collect());
    }

    fn agreed(&mut self, now: Time, task: &Task, versions: Vec<Version>) {
        let agreeing = versions.len();
        let confirmed = versions.iter().any(|version| version.confirmed);
        let ends: Vec<Option<Header>> = versions.iter().map(Version::end).collect();
        let Some(version) = versions.into_iter().next() else { return };
        let lone = agreeing == 1 && self.witnesses.len() > 1;
        match version.outcome {
            Outcome::Begin(header) => {
                (self.mark.hash, self.mark.time) = (header.hash, header.time);
                self.proven = self.mark;
                (self.pin, self.newest) = (self.mark.known(), self.mark.known());
                (self.compared, self.alone) = (true, lone);
                self.plan(now);
            }
            Outcome::Proven if confirmed => {
                self.release();
                self.plan(now);
            }
            Outcome::Proven => self.hold(now, Hold::Unproven { height: self.proven.height }),
            Outcome::Same => {
                (self.pin, self.compared) = (self.newest, true);
                self.alone &= lone;
                self.witnesses.iter_mut().for_each(Witness::forgive);
                if let (Task::Check { alone: true, .. }, Some(target)) = (task, self.target()) {
                    self.rest(now, &target);
                } else {
                    self.plan(now);
                }
            }
            Outcome::Replaced(replaced) => self.replaced(now, agreeing, replaced),
            Outcome::Quiet(_) => self.quiet(now, task, &ends),
            Outcome::Told(told) => {
                // Who agrees on a block agrees on all before it.
                self.alone = lone;
                let agreed = agreeing > 1 && self.unproven.is_empty();
                self.told(now, task, *told, confirmed || agreed);
            }
            Outcome::Head(_) | Outcome::Border(_) => {}
        }
    }

    /// A block that was final is another one.
    fn replaced(&mut self, now: Time, agreeing: usize, replaced: Replaced) {
        if agreeing > 1 || self.witnesses.len() == 1 {
            self.stopped = Some(Stop::Replaced(replaced));
            self.task = None;
            self.witnesses.iter_mut().for_each(Witness::reset);
            self.outbox.retain(|output| matches!(output, Output::Advance(_)));
        } else {
            self.hold(now, Hold::Alone(replaced));
        }
    }

    /// There is nothing in a range. Those whose final block its end is told its header too.
    fn quiet(&mut self, now: Time, task: &Task, ends: &[Option<Header>]) {
        let Task::Range(range) = task else { return };
        let mut told = ends.iter().flatten();
        if let Some(end) = told.next() {
            if told.any(|other| other != end) {
                return self.start(now, Task::Range(Range { full: true, ..*range }));
            }
            if end.time >= self.instant() {
                return self.look(now, *end);
            }
            if ends.iter().all(Option::is_some) {
                self.newest = Known { height: end.height, hash: end.hash };
            }
        }
        self.went_well();
        self.scanned = range.to;
        self.plan(now);
    }

    fn told(&mut self, now: Time, task: &Task, told: Told, proven: bool) {
        let Task::Range(range) = task else { return };
        let Told { to, after, blocks, cursors } = told;
        let inputs: usize = blocks.iter().map(|block| block.inputs.len()).sum();
        if let Some(last) = self.holds_enough(&blocks)
            && last < range.to
        {
            // What is behind it is for another commit. Providers have refused nothing: no need to be calm.
            self.span = last.saturating_sub(self.scanned).max(1);
            return self.plan(now);
        }
        let instant = self.instant();
        let mut border = None;
        if range.border {
            let ends = to.time < instant && after.is_some_and(|after| after.time >= instant);
            // An epoch that ended before the chain began ends with the chain's first block.
            let before_all = to.height == 0 && to.time >= instant;
            if !ends && !before_all {
                self.try_next_lead(now, self.lead);
                if self.rest.is_none() {
                    self.plan(now);
                }
                return;
            }
            border = Some(Border { epoch: self.mark.epoch, height: to.height, hash: to.hash, cursors });
            (self.border, self.vain) = (None, 0);
        } else if to.time >= instant {
            return self.look(now, to);
        }
        if to.height >= self.mark.height {
            self.mark = Mark { height: to.height, hash: to.hash, time: to.time, cursors, ..self.mark };
            (self.pin, self.newest) = (self.mark.known(), self.mark.known());
        }
        if border.is_some() {
            self.mark.epoch = self.mark.epoch.saturating_add(1);
        }
        self.scanned = self.scanned.max(to.height);
        if inputs.saturating_mul(2) <= self.most {
            self.went_well();
        }
        self.unproven.push(Advance { blocks, border, mark: self.mark });
        if proven {
            self.release();
        }
        let waiting: usize =
            self.unproven.iter().flat_map(|advance| &advance.blocks).map(|block| block.inputs.len()).sum();
        if waiting > MAX_UNPROVEN {
            return self.hold(now, Hold::Unproven { height: self.proven.height });
        }
        self.plan(now);
    }

    /// The block with which a piece has to end that holds as many inputs as one may; none where all fit.
    fn holds_enough(&self, blocks: &[Block]) -> Option<u64> {
        let mut held = 0_usize;
        let over = blocks.iter().position(|block| {
            held = held.saturating_add(block.inputs.len());
            held > self.most
        })?;
        let height = blocks.get(over)?.height;
        // One that holds more alone is a piece of its own.
        Some(if over == 0 { height } else { height.saturating_sub(1) })
    }

    /// Tells what has been proven by now.
    fn release(&mut self) {
        self.proven = self.mark;
        self.outbox.extend(self.unproven.drain(..).map(|advance| Output::Advance(Box::new(advance))));
    }
}
