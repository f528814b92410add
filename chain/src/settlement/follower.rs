//! The follower: which question goes to which endpoint, what is believed, and what the ledger is told.
//!
//! A machine over final blocks alone. It works in cycles: it asks everybody for its final block, then for the
//! logs up to the lowest of these, and believes what all agree on. Whoever contradicts itself is left out for a
//! while and named; a strict majority outvotes the rest; without one the follower holds, and the ledger stays
//! as it is. Before anything is applied, the block that was known last must still be the one it was, and the
//! contracts' own counts and rolling hashes must fit the logs. An endpoint that keeps no state of old blocks is
//! held against the state of its final one: what it alone tells waits until then.
//!
//! The README of this room lists what each fault does.

use std::collections::VecDeque;

use alloy::primitives::B256;
use rand_chacha::ChaCha8Rng;
use session_protocols::{Span, Time};

use super::{
    contracts::Followed,
    trouble::{Hold, Stop, Trouble},
};
use crate::ledger::Parameters;
use errand::{Context, Next, Range, Task};
use search::Search;
use witness::{Failing, Witness};

pub use input::{Advance, Answer, Failure, Header, Input, Mark, Output, Question, Which};
pub use status::{EndpointStatus, Standing, Status};

mod errand;
mod input;
mod search;
mod status;
#[cfg(test)]
mod tests;
mod verdict;
mod witness;

/// Blocks that one range spans at first, and at most.
const FIRST_SPAN: u64 = 2_000;
const MAX_SPAN: u64 = 10_000;
/// Shorter ones are not the reason why an answer is late.
const SMALL_SPAN: u64 = 250;
/// Ranges that must go well before a range is made longer after somebody refused one.
const CALM: u32 = 16;
/// Every so many cycles are spent on comparing the chain with what was known of it.
const CHECK_EVERY: u64 = 8;
/// Inputs of one [`Advance`], which is kept in one commit, unless one block holds more: what a commit changes, the file
/// has twice for a while.
pub const MAX_INPUTS: usize = 4_096;
/// Inputs that wait for their proof; whoever tells more without one cannot be followed.
const MAX_UNPROVEN: usize = 1 << 20;
/// The longest pause while endpoints disagree, in polls.
const MAX_PAUSE: u64 = 32;

/// How patient the follower is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one look at the chain to the next.
    pub poll: Span,
    /// How long one answer may take.
    pub answer: Span,
    /// How long an endpoint may fail to answer until the others go on without it.
    pub patience: Span,
    /// For how long an endpoint is left out at first; doubled each time.
    pub leave_out: Span,
    /// How much older than the others' an endpoint's final block may be.
    pub stale: Span,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Span::secs(12),
            answer: Span::secs(5),
            patience: Span::secs(30),
            leave_out: Span::secs(30),
            stale: Span::secs(600),
        }
    }
}

impl Pace {
    /// For a chain and its endpoints on this machine, where epochs pass in seconds.
    pub const fn local() -> Self {
        Self {
            poll: Span::millis(500),
            answer: Span::secs(2),
            patience: Span::secs(4),
            leave_out: Span::secs(1),
            stale: Span::secs(600),
        }
    }
}

/// A block that was once agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    height: u64,
    hash: B256,
}

/// Follows the contracts over some endpoints.
#[derive(Debug)]
pub struct Follower {
    followed: Followed,
    parameters: Parameters,
    pace: Pace,
    rng: ChaCha8Rng,
    mark: Mark,
    /// As far as the contracts' own state, or two endpoints, have shown what happened.
    proven: Mark,
    /// What happened between the two.
    unproven: Vec<Advance>,
    /// Up to here there is nothing for the ledger behind the mark.
    scanned: u64,
    /// Agreed on at the last check; compared at the next.
    pin: Known,
    /// Agreed on last.
    newest: Known,
    /// The last block of the epoch that ends next, once somebody has looked for it.
    border: Option<u64>,
    witnesses: Vec<Witness>,
    /// What those that take part are asked; none while resting.
    task: Option<Task>,
    rest: Option<Time>,
    cycle: u64,
    /// Whether the chain has been compared with the mark since this began.
    compared: bool,
    /// Who looks for the next border, and how many have done so in vain.
    lead: usize,
    vain: usize,
    span: u64,
    calm: u32,
    /// [`MAX_INPUTS`]; fewer in tests.
    most: usize,
    holds: u32,
    held: Option<Hold>,
    /// What several contradicted each other about, and who, until two agree: one that is left alone then proves
    /// nothing.
    disputed: Option<Hold>,
    /// Whether one of several alone has told what was told last.
    alone: bool,
    stopped: Option<Stop>,
    questions: u64,
    outbox: VecDeque<Output>,
}

impl Follower {
    /// A follower that goes on behind `mark`, over endpoints of these names.
    pub fn new(
        followed: Followed,
        parameters: Parameters,
        pace: Pace,
        mark: Mark,
        endpoints: impl IntoIterator<Item = String>,
        rng: ChaCha8Rng,
    ) -> Self {
        let witnesses: Vec<_> = endpoints.into_iter().map(Witness::new).collect();
        // Who told what is in the ledger so far is not known.
        let alone = witnesses.len() > 1;
        Self {
            followed,
            parameters,
            pace,
            rng,
            mark,
            proven: mark,
            unproven: Vec::new(),
            scanned: mark.height,
            pin: mark.known(),
            newest: mark.known(),
            border: None,
            witnesses,
            task: None,
            rest: Some(Time::ZERO),
            cycle: 0,
            compared: false,
            lead: 0,
            vain: 0,
            span: FIRST_SPAN,
            calm: CALM,
            most: MAX_INPUTS,
            holds: 0,
            held: None,
            disputed: None,
            alone,
            stopped: None,
            questions: 0,
            outbox: VecDeque::new(),
        }
    }

    /// Applies one input at `now`.
    pub fn handle(&mut self, now: Time, input: Input) {
        if self.stopped.is_some() {
            return;
        }
        match input {
            Input::Tick => self.tick(now),
            Input::Answer { endpoint, id, answer } => self.answer(now, endpoint, id, answer),
        }
        self.settle(now);
    }

    /// The next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When to feed [`Input::Tick`] next.
    pub fn deadline(&self) -> Option<Time> {
        if self.stopped.is_some() {
            return None;
        }
        self.witnesses.iter().filter_map(Witness::deadline).chain(self.rest).min()
    }

    /// How far the chain has been followed.
    pub const fn proven(&self) -> &Mark {
        &self.proven
    }

    /// Whether the block that was known when this began was found to be what it was.
    pub const fn has_compared(&self) -> bool {
        self.compared
    }

    /// How many epochs have ended by the newest final block that all know, behind those that are in the ledger; none
    /// where no such block is known.
    pub fn behind(&self) -> Option<u64> {
        let since = self.target()?.time.saturating_sub(self.parameters.genesis);
        let ended = since.checked_div(self.parameters.epoch_seconds.get())?;
        Some(ended.saturating_sub(self.proven.epoch))
    }

    fn tick(&mut self, now: Time) {
        if self.rest.is_some_and(|rest| rest <= now) {
            self.begin(now);
        }
        for number in 0..self.witnesses.len() {
            let Some(witness) = self.witnesses.get_mut(number) else { continue };
            if let Some(question) = witness.timed_out(now) {
                self.late(now, number, question);
            } else if witness.retry_due(now) {
                self.ask_on(now, number);
            }
        }
    }

    fn answer(&mut self, now: Time, number: usize, id: u64, answer: Result<Answer, Failure>) {
        let Some(witness) = self.witnesses.get_mut(number) else { return };
        let Some(question) = witness.answered(id) else { return };
        match answer {
            Ok(answer) => match witness.take(question, answer) {
                Ok(()) => self.ask_on(now, number),
                Err(fault) => self.leave_out(now, number, fault),
            },
            Err(Failure::TooMany) => self.too_many(now, number, question),
            Err(Failure::Trouble(Trouble::Late)) => self.late(now, number, question),
            Err(Failure::Trouble(trouble)) if trouble.passes() => self.failed(now, number, trouble),
            Err(Failure::Trouble(trouble)) => self.leave_out(now, number, trouble),
        }
    }

    /// A cycle begins: everybody who is not left out is asked for its final block.
    fn begin(&mut self, now: Time) {
        for witness in &mut self.witnesses {
            witness.join(now);
        }
        self.cycle = self.cycle.wrapping_add(1);
        let mut taking_part = self.witnesses.iter().filter(|witness| witness.takes_part).peekable();
        if taking_part.peek().is_some() {
            // Instead of a look at the chain's end, so that no cycle asks more than two questions in vain.
            let check =
                self.cycle.is_multiple_of(CHECK_EVERY) && taking_part.all(|witness| witness.head.is_some());
            let pin = Task::Check { known: self.pin, alone: true };
            self.start(now, if check && self.held.is_none() { pin } else { Task::Heads });
        } else {
            let next = self.witnesses.iter().filter_map(|witness| witness.out).min();
            self.hold(now, Hold::Disbelieved);
            self.rest = next.or(self.rest);
        }
    }

    /// Sets those that take part a task.
    fn start(&mut self, now: Time, task: Task) {
        self.rest = None;
        let only = if let Task::Look { lead, .. } = &task { Some(*lead) } else { None };
        self.task = Some(task);
        for number in 0..self.witnesses.len() {
            let Some(witness) = self.witnesses.get_mut(number) else { continue };
            witness.reset();
            if witness.takes_part && only.is_none_or(|only| only == number) {
                witness.busy = true;
                self.ask_on(now, number);
            }
        }
    }

    /// Asks an endpoint the next thing that its task needs.
    fn ask_on(&mut self, now: Time, number: usize) {
        let (Some(witness), Some(task)) = (self.witnesses.get_mut(number), &self.task) else { return };
        if !witness.busy {
            return;
        }
        let Self { followed, mark, proven, pin, .. } = self;
        let context = Context { followed, mark, proven, pin: *pin };
        match errand::next(&context, task, witness) {
            Next::Ask(question) => {
                self.questions = self.questions.saturating_add(1);
                witness.ask(self.questions, question, now.after(self.pace.answer));
                self.outbox.push_back(Output::Ask { endpoint: number, id: self.questions, question });
            }
            Next::Done(version) => witness.done(*version),
            Next::Fault(fault) => {
                if matches!(task, Task::Check { .. }) {
                    // Its word may be the first to show that events are missing: look for them again.
                    self.scanned = self.mark.height;
                }
                self.leave_out(now, number, fault);
            }
        }
    }

    fn failed(&mut self, now: Time, number: usize, trouble: Trouble) {
        let Some(witness) = self.witnesses.get_mut(number) else { return };
        if let Failing::TooLong(fault) = witness.failed(now, &self.pace, trouble, &mut self.rng) {
            self.leave_out(now, number, fault);
        }
    }

    /// Back to what is proven.
    fn forget_unproven(&mut self) {
        if !self.unproven.is_empty() {
            self.unproven = Vec::new();
            (self.mark, self.scanned, self.border) = (self.proven, self.proven.height, None);
            (self.pin, self.newest) = (self.mark.known(), self.mark.known());
        }
    }

    /// No answer in time, perhaps because so many logs were asked for.
    fn late(&mut self, now: Time, number: usize, question: Question) {
        self.failed(now, number, Trouble::Late);
        if let Question::Logs { from, to } = question
            && to.saturating_sub(from) > SMALL_SPAN
            && self.witnesses.get(number).is_some_and(|witness| witness.takes_part)
        {
            self.shorten(now, from, to);
        }
    }

    fn shorten(&mut self, now: Time, from: u64, to: u64) {
        self.span = to.saturating_sub(from).div_ceil(2).max(1);
        self.calm = 0;
        self.plan(now);
    }

    fn leave_out(&mut self, now: Time, number: usize, trouble: Trouble) {
        if let Some(witness) = self.witnesses.get_mut(number) {
            witness.leave_out(now, &self.pace, trouble, &mut self.rng);
        }
    }

    /// Somebody refuses that many logs: everybody is asked for half as many blocks.
    fn too_many(&mut self, now: Time, number: usize, question: Question) {
        let Question::Logs { from, to } = question else {
            let said = "it says that a small question asks for too much".to_owned();
            return self.failed(now, number, Trouble::Refuses { said });
        };
        if from >= to {
            return self.leave_out(now, number, Trouble::TooSmall { height: from });
        }
        self.shorten(now, from, to);
    }

    fn is_stale(&self, head: &Header, other: &Header) -> bool {
        Span::secs(other.time.saturating_sub(head.time)) > self.pace.stale
    }

    fn heads_taking_part(&self) -> Vec<(usize, Header)> {
        let all = self.witnesses.iter().enumerate().filter(|(_, witness)| witness.takes_part);
        all.filter_map(|(number, witness)| Some((number, witness.head?))).collect()
    }

    /// The lowest final block of those that take part: nobody can say that it does not know it.
    fn target(&self) -> Option<Header> {
        self.heads_taking_part().into_iter().map(|(_, head)| head).min_by_key(|head| head.height)
    }

    /// When the epoch that ends next ends, in seconds since 1970.
    fn instant(&self) -> u64 {
        let length = self.parameters.epoch_seconds.get();
        let epochs = self.mark.epoch.saturating_add(1);
        self.parameters.genesis.saturating_add(epochs.saturating_mul(length))
    }

    /// The next task on the way to the target; rest once it is reached.
    fn plan(&mut self, now: Time) {
        let Some(target) = self.target() else {
            return self.hold(now, Hold::Unanswered);
        };
        if self.border.is_none() && target.time >= self.instant() {
            return self.look(now, target);
        }
        let last = self.border.unwrap_or(target.height);
        if self.border.is_none() && self.scanned >= last {
            if self.unproven.is_empty() {
                return self.rest(now, &target);
            }
            return self.start(now, Task::Prove(target.height));
        }
        let from = self.scanned.saturating_add(1);
        let to = last.min(self.scanned.saturating_add(self.span));
        let border = self.border == Some(to);
        self.start(now, Task::Range(Range { from, to, border, full: false }));
    }

    fn rest(&mut self, now: Time, target: &Header) {
        (self.held, self.holds) = (None, 0);
        // Two cannot outvote each other: what the lower one knows is applied, and that is told.
        let ahead = self.heads_taking_part().into_iter().find(|(_, head)| self.is_stale(target, head));
        if let Some((number, head)) = ahead {
            let name = self.name(number).unwrap_or_default().to_owned();
            let (low, high) = (target.height, head.height);
            self.held = Some(Hold::Apart { name, high, low });
        }
        self.task = None;
        self.rest = Some(now.after(self.pace.poll));
    }

    /// One endpoint looks for the last block of the epoch; the others are asked about what it finds.
    fn look(&mut self, now: Time, after: Header) {
        let count = self.witnesses.len().max(1);
        let takes_part = |number: &usize| self.witnesses.get(*number).is_some_and(|it| it.takes_part);
        let Some(lead) = (0..count).map(|step| (self.lead + step) % count).find(takes_part) else {
            return self.hold(now, Hold::Unanswered);
        };
        let before = (self.mark.time < self.instant()).then_some((self.mark.height, self.mark.time));
        let search = Search::new(self.instant(), before, (after.height, after.time));
        self.start(now, Task::Look { lead, search });
    }

    fn went_well(&mut self) {
        self.calm = self.calm.saturating_add(1);
        if self.calm >= CALM {
            self.span = self.span.saturating_mul(2).min(MAX_SPAN);
        }
    }

    /// Nothing is applied until the next cycle, which comes the later the longer this lasts.
    fn hold(&mut self, now: Time, why: Hold) {
        let pause = 1_u64.checked_shl(self.holds).map_or(MAX_PAUSE, |pause| pause.min(MAX_PAUSE));
        self.holds = self.holds.saturating_add(1).min(16);
        self.held = Some(why);
        self.task = None;
        self.forget_unproven();
        self.witnesses.iter_mut().for_each(Witness::reset);
        self.rest = Some(now.after(Span(self.pace.poll.0.saturating_mul(pause))));
    }

    fn name(&self, number: usize) -> Option<&str> {
        self.witnesses.get(number).map(|witness| witness.name.as_str())
    }
}
