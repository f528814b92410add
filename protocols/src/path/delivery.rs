//! How a parcel gets to its destination: over one path, and over others when that one fails.
//!
//! A machine for one parcel. Its host gets paths from [`Paths`](super::Paths), takes the parcel over each as
//! a [`Passage`](super::passage::Passage) and says what came of it. The machine says when another path is
//! tried, what is reported of each, and when it is over.
//!
//! - A path that is silent for a while is reported as slow, and another one is tried beside it.
//! - One that fails is followed by another one soon, after a pause that nobody can foresee.
//! - The first answer is taken. What is under way beside it, or when patience ends, is waited for no longer;
//!   its host listens on for [`ECHO`](super::ECHO), and reports what it hears then to [`Paths`](super::Paths)
//!   itself: of a hop that is silent, the one before it tells later than anybody waits.
//! - Some faults are the same over every path: they end it at once, and say nothing of the other paths.
//! - What is under way when patience ends was silent.
//!
//! Waiting for a path holds nothing up that is under way. Times may count from any moment, if they never run
//! backwards: a clock that is set would end a parcel early, or late.

use std::collections::VecDeque;

use rand_core::Rng;

use super::{HOPS, Outcome, PathError, PathId, choose::below};
use crate::{NodeId, Span, Time, mutants};

#[cfg(test)]
mod tests;

/// Paths that one parcel is tried over.
pub const TRIES: usize = 3;
/// The longest pause after a path failed, until another one is tried.
pub const RETRY: Span = Span::millis(100);

/// How long a parcel may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// All of it.
    pub patience: Span,
    /// How long the destination may keep the answer back.
    pub hold: Span,
    /// The silence of one path, beyond that, until another one is tried beside it; half of it at least.
    pub hedge: Span,
}

/// What the machine is fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The path that was wanted: one that this parcel did not go over.
    Path {
        /// Its number.
        path: PathId,
        /// Its hops, from the guard on.
        hops: [NodeId; HOPS],
    },
    /// There is none.
    NoPath(PathError),
    /// What a path brought.
    Brought {
        /// Which path.
        path: PathId,
        /// What that says of it.
        outcome: Outcome,
        /// What it means for the parcel.
        brought: Result<Received, Fault>,
    },
    /// Time has passed.
    Tick,
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Want a path, for [`Input::Path`] or [`Input::NoPath`].
    Want {
        /// The paths that it went over, as [`Want::not`](super::Want::not).
        not: Vec<[NodeId; HOPS]>,
    },
    /// Take the parcel over this path, for [`Input::Brought`].
    Carry {
        /// Its number.
        path: PathId,
        /// Its hops, from the guard on.
        hops: [NodeId; HOPS],
    },
    /// Report what became of the parcel on a path, as [`Input::Outcome`](super::Input::Outcome).
    Report {
        /// Which path.
        path: PathId,
        /// What.
        outcome: Outcome,
    },
    /// It is over, and this is the last output: forget what is wanted, and only listen to what is under way.
    Done(Result<Received, Fault>),
}

/// What came back for a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The service's answer.
    Answer(Vec<u8>),
    /// It needs a larger bucket.
    TooLarge,
}

/// Why nothing came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Somebody on the way failed, or nothing came in time.
    #[error("there was no answer over any path")]
    Silent,
    /// The guard, or the link to it, has too much to do.
    #[error("too much is under way to the guard")]
    Busy,
    /// The destination does not know what it is asked for.
    #[error("the destination does not know the service")]
    Service,
    /// Nothing can be sealed for the destination.
    #[error("the onion key of the destination cannot be used")]
    Key,
    /// There is no path.
    #[error(transparent)]
    Path(PathError),
    /// The clock was moved: what names the time must be made again.
    #[error("the clock was moved")]
    ClockMoved,
    /// The clock is wrong by so many milliseconds, too many to follow the nodes.
    #[error("the clock is wrong by {0} ms")]
    ClockWrong(i64),
    /// The request of so many bytes is larger than a packet holds.
    #[error("a request of {0} bytes is larger than a packet holds")]
    TooLarge(usize),
}

impl Fault {
    /// Whether no other path does better.
    const fn is_final(self) -> bool {
        match self {
            Self::ClockMoved | Self::ClockWrong(_) | Self::TooLarge(_) => true,
            Self::Silent | Self::Busy | Self::Service | Self::Key | Self::Path(_) => false,
        }
    }
}

/// The machine of one parcel.
#[derive(Debug)]
pub struct Delivery<R> {
    random: R,
    hold: Span,
    hedge: Span,
    end: Time,
    /// When another path is tried, if there may be one more.
    next: Time,
    /// A path is being waited for.
    wants: bool,
    /// The hops of each path that it went over.
    used: Vec<[NodeId; HOPS]>,
    /// Paths that have brought nothing so far, and from when on each is slow.
    under_way: Vec<(PathId, Time)>,
    /// What the last one that failed brought.
    last: Fault,
    done: bool,
    outbox: VecDeque<Output>,
}

impl<R: Rng> Delivery<R> {
    /// A parcel that is to be sent now. `random` must be seeded with secret bytes: who can guess it, knows
    /// when it will be tried again.
    pub fn new(now: Time, terms: Terms, random: R) -> Self {
        let mut delivery = Self {
            random,
            hold: terms.hold,
            hedge: terms.hedge,
            end: now.after(terms.patience),
            next: now,
            wants: false,
            used: Vec::new(),
            under_way: Vec::new(),
            last: Fault::Silent,
            done: false,
            outbox: VecDeque::new(),
        };
        delivery.proceed(now);
        delivery
    }

    /// Applies one input at `now`; results are read with [`Self::poll`]. What nobody asked for, and whatever
    /// comes after the end, changes nothing.
    pub fn handle(&mut self, now: Time, input: Input) {
        if self.done {
            return;
        }
        match input {
            Input::Path { path, hops } => self.found(now, path, hops),
            Input::NoPath(error) => self.pathless(error),
            Input::Brought { path, outcome, brought } => self.brought(now, path, outcome, brought),
            Input::Tick => {}
        }
        self.proceed(now);
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when [`Input::Tick`] is next due; never after the end.
    pub fn deadline(&self) -> Option<Time> {
        let next = if self.may_want() { self.next.min(self.end) } else { self.end };
        (!self.done).then_some(next)
    }

    fn found(&mut self, now: Time, path: PathId, hops: [NodeId; HOPS]) {
        // Nothing is begun that nobody would wait for.
        if !core::mem::take(&mut self.wants) || now >= self.end {
            return;
        }
        self.used.push(hops);
        self.outbox.push_back(Output::Carry { path, hops });
        let least = Span(self.hedge.0 / 2);
        self.next = now.after(self.hold).after(self.between(least, self.hedge));
        self.under_way.push((path, self.next));
    }

    fn pathless(&mut self, error: PathError) {
        if !core::mem::take(&mut self.wants) {
            return;
        }
        if self.under_way.is_empty() {
            self.finish(Err(Fault::Path(error)));
        } else {
            // Only when what is under way fails another one is asked for.
            self.next = self.end;
        }
    }

    fn brought(&mut self, now: Time, path: PathId, outcome: Outcome, brought: Result<Received, Fault>) {
        let Some(at) = self.under_way.iter().position(|(other, _)| *other == path) else { return };
        self.under_way.remove(at);
        self.outbox.push_back(Output::Report { path, outcome });
        match brought {
            Ok(received) => self.finish(Ok(received)),
            Err(fault) if fault.is_final() => {
                self.report(Outcome::Undone, |_| true);
                self.finish(Err(fault));
            }
            Err(fault) => {
                self.last = fault;
                if self.used.len() >= TRIES && self.under_way.is_empty() {
                    self.finish(Err(fault));
                } else {
                    let longest = if mutants::on("retry-at-once") { Span(0) } else { RETRY };
                    self.next = self.next.min(now.after(self.between(Span(0), longest)));
                }
            }
        }
    }

    /// Does what is due.
    fn proceed(&mut self, now: Time) {
        if self.done {
            return;
        }
        if now >= self.end {
            self.report(Outcome::Silent, |_| true);
            self.finish(Err(self.last));
        } else if self.may_want() && now >= self.next {
            // One that was tried beside another, which failed just now, has its own time.
            self.report(Outcome::Slow, |slow| slow <= now);
            self.wants = true;
            self.outbox.push_back(Output::Want { not: self.used.clone() });
        }
    }

    const fn may_want(&self) -> bool {
        !self.wants && self.used.len() < TRIES
    }

    /// Reports those under way that this is true of, by when they are slow.
    fn report(&mut self, outcome: Outcome, of: impl Fn(Time) -> bool) {
        let paths = self.under_way.iter().filter(|(_, slow)| of(*slow));
        let reports = paths.map(|(path, _)| Output::Report { path: *path, outcome });
        self.outbox.extend(reports);
    }

    fn finish(&mut self, result: Result<Received, Fault>) {
        self.done = true;
        self.under_way.clear();
        self.outbox.push_back(Output::Done(result));
    }

    /// A span from `least` to `most`, both included.
    fn between(&mut self, least: Span, most: Span) -> Span {
        let width = most.0.saturating_sub(least.0).saturating_add(1);
        Span(least.0.saturating_add(below(&mut self.random, width)))
    }
}
