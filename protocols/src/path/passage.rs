//! A parcel on its way over one path: what a refusal means, and whether it is sealed once more.
//!
//! The host seals a packet, sends it to the guard, says what became of it, and does what comes next, until
//! that is [`Next::Done`].
//!
//! ```text
//! seal -> guard -> opened, hung_up, unreached, busy -> Next
//!   \______________________ again ___________________/
//! ```

use rand_core::Rng;

use super::{
    HOPS, Outcome, PathId, Use,
    choose::below,
    delivery::{Fault, RETRY, Received},
    sessions::Sessions,
};
use crate::{
    NetworkName, NodeId, Span,
    onion::{
        layer::Door,
        relay::Refusal,
        wrap::{Entry, Question, Return, Status, Stopped, Unwrapped, WrapError, wrap},
    },
};

#[cfg(test)]
mod tests;

/// How often a packet is sealed, because a session was gone or a stream had ended.
pub const SEALS: usize = 5;
/// Streams to a guard that are opened for one packet, which hangs them up at once.
pub const OPENS: usize = 3;

/// What comes next for a parcel on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Seal it, and send that to the guard.
    Seal {
        /// After this pause.
        after: Span,
    },
    /// Compare the clock with others, and say what came of that by [`Passage::compared`]: to a hop, a packet
    /// of another time is as unreadable as any that is not for it.
    Compare,
    /// It is over.
    Done {
        /// What that says of the path.
        outcome: Outcome,
        /// What it means for the parcel.
        brought: Result<Received, Fault>,
    },
}

/// What came of a comparison of the clock with those of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They agree with this one.
    Same,
    /// This one was moved.
    Moved,
    /// They are too far away to follow: by so many milliseconds.
    TooFar(i64),
}

/// A parcel on its way over one path.
#[derive(Debug)]
pub struct Passage {
    path: PathId,
    hops: [NodeId; HOPS],
    to: NodeId,
    usage: Use,
    seals: usize,
    opens: usize,
    /// The packet that is under way.
    packet: Option<Packet>,
    /// What is reported of the path if the clock is right.
    unread: Option<Outcome>,
    /// The clock was moved, and all began anew.
    anew: bool,
}

#[derive(Debug)]
struct Packet {
    back: Return,
    /// Which of the four are entered by a session.
    by_session: [bool; HOPS + 1],
}

/// What a guard answered, opened.
#[derive(Debug)]
pub struct Opened {
    by_session: [bool; HOPS + 1],
    said: Said,
}

#[derive(Debug)]
enum Said {
    Refusal(Refusal),
    Answer(Unwrapped),
    /// The guard itself did not make it.
    Nonsense,
}

impl Passage {
    /// A parcel for `to` that is to go over a path, beginning with [`Self::seal`].
    pub const fn new(path: PathId, hops: [NodeId; HOPS], to: NodeId, usage: Use) -> Self {
        Self { path, hops, to, usage, seals: 0, opens: 1, packet: None, unread: None, anew: false }
    }

    /// The path.
    pub const fn path(&self) -> PathId {
        self.path
    }

    /// Guard, middle, last hop and destination.
    pub const fn chain(&self) -> [NodeId; HOPS + 1] {
        let [guard, middle, last] = self.hops;
        [guard, middle, last, self.to]
    }

    /// Seals a packet for the [`chain`](Self::chain), whose keys are `doors`.
    ///
    /// # Errors
    ///
    /// When it cannot be sealed: what that means.
    pub fn seal(
        &mut self,
        network: &NetworkName,
        sessions: &mut Sessions,
        [guard, middle, last, to]: [Door<'_>; HOPS + 1],
        random: &mut impl Rng,
        question: &Question<'_>,
    ) -> Result<Vec<u8>, Next> {
        let [first, second, third, end] = self.chain();
        let places = [(first, guard), (second, middle), (third, last), (end, to)];
        let hops = sessions.enter(self.path, places, random);
        let by_session = hops.each_ref().map(|hop| matches!(hop.entry, Entry::Session(_)));
        let (packet, back) = wrap(network, hops, question).map_err(|error| self.unsealed(error))?;
        self.seals = self.seals.saturating_add(1);
        self.packet = Some(Packet { back, by_session });
        Ok(packet)
    }

    /// Which of the four are entered by a session in the packet that is under way.
    pub fn by_session(&self) -> [bool; HOPS + 1] {
        self.packet.as_ref().map(|packet| packet.by_session).unwrap_or_default()
    }

    /// The key of one of the four is not known.
    pub const fn keyless(&self) -> Next {
        nothing(Outcome::Undone)
    }

    /// The guard is not there, or gives no answer that can be read.
    pub const fn unreached(&self) -> Next {
        nothing(Outcome::Unreached)
    }

    /// Too much is under way to the guard: the packet was not sent.
    pub const fn busy(&self) -> Next {
        undone(Fault::Busy)
    }

    /// The stream to the guard ended under the packet; `kept` says whether it was there before.
    pub fn hung_up(&mut self, kept: bool, random: &mut impl Rng) -> Next {
        // It had ended before it was used.
        if kept {
            return self.again(Span(0));
        }
        if self.opens >= OPENS {
            return self.unreached();
        }
        self.opens = self.opens.saturating_add(1);
        // A node to which many turn at the same instant hangs up some of their streams.
        self.again(Span(below(random, RETRY.0.saturating_add(1))))
    }

    /// Opens what the guard answered, for [`Self::opened`]: this computes, and needs nothing else.
    pub fn open(&mut self, answer: &[u8]) -> Opened {
        let Some(Packet { back, by_session }) = self.packet.take() else {
            return Opened { by_session: [false; HOPS + 1], said: Said::Nonsense };
        };
        let said = match Refusal::read(answer) {
            Some(refusal) => Said::Refusal(refusal),
            None => back.open(answer).map_or(Said::Nonsense, Said::Answer),
        };
        Opened { by_session, said }
    }

    /// What the guard answered is opened.
    pub fn opened(&mut self, sessions: &mut Sessions, Opened { by_session, said }: Opened) -> Next {
        let kept = |place: usize| by_session.get(place).is_some_and(|kept| *kept);
        let Unwrapped { sessions: made, outcome } = match said {
            Said::Refusal(Refusal::Unreadable) if kept(0) => return self.greet(sessions, 0),
            Said::Refusal(Refusal::Unreadable) => return self.unread(Outcome::Refused),
            Said::Refusal(Refusal::Busy) => {
                return Next::Done { outcome: Outcome::Busy, brought: Err(Fault::Busy) };
            }
            Said::Refusal(Refusal::Unknown) | Said::Nonsense => return nothing(Outcome::Refused),
            Said::Answer(unwrapped) => unwrapped,
        };
        sessions.keep(self.path, self.to, self.usage, made);
        match outcome {
            Ok(answer) => answered(Ok(Received::Answer(answer))),
            // The path is good, whatever the destination says.
            Err(Stopped { by: HOPS, status }) => answered(match status {
                Status::TooLarge => Ok(Received::TooLarge),
                Status::Unreachable | Status::Busy => Err(Fault::Silent),
                Status::Ok
                | Status::Unreadable
                | Status::Unknown
                | Status::Malformed
                | Status::BadRequest => Err(Fault::Service),
            }),
            Err(Stopped { by, status }) => {
                let next = by.saturating_add(1);
                let stopped = Outcome::Stopped { by, destination: self.to };
                match status {
                    Status::Unreadable if kept(next) => self.greet(sessions, next),
                    Status::Unreadable => self.unread(stopped),
                    Status::Ok
                    | Status::Unreachable
                    | Status::Busy
                    | Status::Unknown
                    | Status::Malformed
                    | Status::TooLarge
                    | Status::BadRequest => nothing(stopped),
                }
            }
        }
    }

    /// The clock was compared, as [`Next::Compare`] wants.
    pub fn compared(&mut self, comparison: Comparison) -> Next {
        let outcome = self.unread.take().unwrap_or(Outcome::Refused);
        match comparison {
            Comparison::Same => nothing(outcome),
            Comparison::TooFar(by) => undone(Fault::ClockWrong(by)),
            // A question that names no time is asked again as it is.
            Comparison::Moved if self.usage == Use::Look && !self.anew => {
                let Self { path, hops, to, usage, .. } = *self;
                *self = Self { anew: true, ..Self::new(path, hops, to, usage) };
                self.again(Span(0))
            }
            Comparison::Moved => undone(Fault::ClockMoved),
        }
    }

    fn unsealed(&self, error: WrapError) -> Next {
        match error {
            WrapError::TooLarge(bytes) => undone(Fault::TooLarge(bytes)),
            WrapError::BadKey(place) => match self.hops.get(place) {
                Some(hop) => nothing(Outcome::BadKey { hop: *hop }),
                None => undone(Fault::Key),
            },
        }
    }

    /// A hop has lost its session: it is greeted anew.
    fn greet(&self, sessions: &mut Sessions, place: usize) -> Next {
        sessions.forget(self.path, self.to, place);
        self.again(Span(0))
    }

    /// A hop cannot read what greets it, whosever fault that is.
    const fn unread(&mut self, outcome: Outcome) -> Next {
        self.unread = Some(outcome);
        Next::Compare
    }

    const fn again(&self, after: Span) -> Next {
        if self.seals < SEALS { Next::Seal { after } } else { nothing(Outcome::Refused) }
    }
}

const fn answered(brought: Result<Received, Fault>) -> Next {
    Next::Done { outcome: Outcome::Answered, brought }
}

/// Nothing came, and that says nothing of the path.
const fn undone(fault: Fault) -> Next {
    Next::Done { outcome: Outcome::Undone, brought: Err(fault) }
}

/// Nothing came; another path may do.
const fn nothing(outcome: Outcome) -> Next {
    Next::Done { outcome, brought: Err(Fault::Silent) }
}
