//! One packet over one path: sealed, sent to the guard, and its answer opened.

use session_protocols::{
    NodeId, Protocol,
    libp2p::link::LinkError,
    onion::{
        relay::Refusal,
        replay::stamp,
        wrap::{Entry, Hop, Question, Return, Status, Stopped, Unwrapped, WrapError, wrap},
    },
    path::{HOPS, Outcome, PathId, Use},
};
use tokio::time::{Duration, sleep, timeout};
use zeroize::Zeroizing;

use super::{Brought, Onion, Parcel};
use crate::{client::ask::Fault, clock::Comparison};

/// How often a packet is sealed anew, because a session was gone or a stream had ended.
const SEALS: usize = 5;

/// Streams to a guard that are opened for one packet, which hangs them up at once.
const OPENS: usize = 3;

/// What became of a packet.
enum Passed {
    /// This.
    Done(Outcome, Brought),
    /// A hop cannot read what greets it, whosever fault that is.
    Unread(Outcome),
}

impl Passed {
    const fn nothing(outcome: Outcome) -> Self {
        Self::Done(outcome, Brought::Nothing(Fault::Silent))
    }
}

/// A packet that is ready to go.
struct Sealed {
    packet: Vec<u8>,
    back: Return,
    /// Which of the four are entered by a session.
    by_session: [bool; HOPS + 1],
}

impl Onion {
    /// Takes a parcel over one path, and tells the machine what became of it, whatever that is. A test may
    /// take no longer than `patience`.
    pub(super) async fn carry(
        &self,
        path: PathId,
        hops: [NodeId; HOPS],
        to: NodeId,
        parcel: &Parcel,
        patience: Duration,
    ) -> Brought {
        for last in [false, true] {
            let passed = timeout(patience, self.pass(path, hops, to, parcel)).await;
            let (outcome, brought) = match passed {
                Ok(Passed::Done(outcome, brought)) => (outcome, brought),
                Ok(Passed::Unread(outcome)) => match self.compare_clocks().await {
                    // A question that names no time is asked again as it is.
                    Comparison::Moved if parcel.usage == Use::Look && !last => continue,
                    Comparison::Moved => (Outcome::Undone, Brought::Nothing(Fault::ClockMoved)),
                    Comparison::TooFar(by) => (Outcome::Undone, Brought::Nothing(Fault::ClockWrong(by))),
                    Comparison::Same => (outcome, Brought::Nothing(Fault::Silent)),
                },
                Err(_) => {
                    // Whatever it leads to, the next packet begins anew.
                    let [guard, ..] = hops;
                    self.links.forget(guard, Protocol::Onion);
                    (Outcome::Silent, Brought::Nothing(Fault::Silent))
                }
            };
            self.report(path, outcome);
            return brought;
        }
        Brought::Nothing(Fault::Silent)
    }

    async fn pass(&self, path: PathId, hops: [NodeId; HOPS], to: NodeId, parcel: &Parcel) -> Passed {
        let [guard, ..] = hops;
        let nothing = Passed::nothing;
        let mut opened = 1;
        for _ in 0..SEALS {
            let Sealed { packet, back, by_session } = match self.seal(path, hops, to, parcel) {
                Ok(sealed) => sealed,
                Err(passed) => return *passed,
            };
            let kept = self.links.live(guard, Protocol::Onion);
            let link = timeout(self.connect, self.links.link(guard, Protocol::Onion, self.clock.now())).await;
            let Ok(Ok(link)) = link else { return nothing(Outcome::Unreached) };
            let answer = match link.ask(packet).await {
                Ok(answer) => answer,
                // The stream had ended before it was used.
                Err(LinkError::Closed) if kept => continue,
                // A node to which many turn at the same instant hangs up some of their streams.
                Err(LinkError::Closed) if opened < OPENS => {
                    opened += 1;
                    sleep(self.between(Duration::ZERO, super::RETRY)).await;
                    continue;
                }
                Err(LinkError::Busy) => return Passed::Done(Outcome::Undone, Brought::Nothing(Fault::Busy)),
                Err(_) => return nothing(Outcome::Unreached),
            };
            if let Some(refusal) = Refusal::read(&answer) {
                if refusal == Refusal::Unreadable && by_session[0] {
                    self.forget(path, to, 0);
                    continue;
                }
                return match refusal {
                    Refusal::Unreadable => Passed::Unread(Outcome::Refused),
                    Refusal::Busy => Passed::Done(Outcome::Undone, Brought::Nothing(Fault::Busy)),
                    Refusal::Unknown => nothing(Outcome::Refused),
                };
            }
            let Ok(Unwrapped { sessions, outcome }) = back.open(&answer) else {
                return nothing(Outcome::Refused);
            };
            self.keep(path, to, parcel.usage, sessions);
            match outcome {
                Ok(answer) => return Passed::Done(Outcome::Answered, Brought::Answer(answer)),
                Err(Stopped { by: HOPS, status }) => {
                    let brought = match status {
                        Status::TooLarge => Brought::TooLarge,
                        Status::Unreachable | Status::Busy => Brought::Nothing(Fault::Silent),
                        Status::Ok
                        | Status::Unreadable
                        | Status::Unknown
                        | Status::Malformed
                        | Status::BadRequest => {
                            Brought::Nothing(Fault::Disbelieved("it does not know the service"))
                        }
                    };
                    return Passed::Done(Outcome::Answered, brought);
                }
                // The next hop has lost its session: it is greeted anew.
                Err(Stopped { by, status: Status::Unreadable })
                    if by_session.get(by + 1).is_some_and(|kept| *kept) =>
                {
                    self.forget(path, to, by + 1);
                }
                Err(Stopped { by, status }) => {
                    let stopped = Outcome::Stopped { by, destination: to };
                    return if status == Status::Unreadable {
                        Passed::Unread(stopped)
                    } else {
                        nothing(stopped)
                    };
                }
            }
        }
        nothing(Outcome::Refused)
    }

    /// Seals a parcel, or says what stands in its way.
    fn seal(
        &self,
        path: PathId,
        hops: [NodeId; HOPS],
        to: NodeId,
        parcel: &Parcel,
    ) -> Result<Sealed, Box<Passed>> {
        let [guard, middle, last] = hops;
        let nodes = [guard, middle, last, to];
        let [Some(first), Some(second), Some(third), Some(end)] = nodes.map(|node| self.doors.of(&node))
        else {
            // They are others than the machine was told.
            self.tell();
            return Err(Box::new(Passed::nothing(Outcome::Undone)));
        };
        let doors = [first, second, third, end];
        let state = &mut *self.state();
        let mut fresh = [const { None }; HOPS + 1];
        for random in &mut fresh {
            let mut bytes = Zeroizing::new([0; 64]);
            rand_chacha::rand_core::Rng::fill_bytes(&mut state.random, bytes.as_mut_slice());
            *random = Some(bytes);
        }
        let mut kept = [const { None }; HOPS + 1];
        // A path that was closed meanwhile leaves no sessions, and takes none.
        if let Some(sessions) = state.sessions.get_mut(&path) {
            let ends = sessions.ends.get_mut(&to);
            let all = sessions.hops.iter_mut().map(Option::as_mut).chain([ends]);
            kept.iter_mut().zip(all).for_each(|(kept, session)| *kept = session);
        }
        let by_session = [0, 1, 2, 3].map(|at: usize| kept[at].is_some());
        let hops = [0, 1, 2, 3].map(|at: usize| {
            let entry = match (kept[at].take(), fresh[at].take()) {
                (Some(session), _) => Entry::Session(session),
                (None, random) => {
                    let random = random.unwrap_or_else(|| Zeroizing::new([0; 64]));
                    Entry::First { door: doors[at].door(self.aes), random }
                }
            };
            Hop { node: nodes[at], entry }
        });
        let question = Question {
            service: parcel.service,
            request: &parcel.request,
            answer: parcel.answer,
            stamp: stamp(self.clock.now()),
        };
        let (packet, back) = wrap(&self.network, hops, &question).map_err(|error| {
            Box::new(match error {
                WrapError::TooLarge(bytes) => {
                    Passed::Done(Outcome::Undone, Brought::Nothing(Fault::TooLarge(bytes)))
                }
                WrapError::BadKey(at) => match nodes.get(at).filter(|_| at < HOPS) {
                    Some(hop) => Passed::nothing(Outcome::BadKey { hop: *hop }),
                    None => {
                        let fault = Fault::Disbelieved("its onion key cannot be used");
                        Passed::Done(Outcome::Undone, Brought::Nothing(fault))
                    }
                },
            })
        })?;
        Ok(Sealed { packet, back, by_session })
    }

    /// Keeps the sessions that hops made; that of a destination only for reading one account.
    fn keep(
        &self,
        path: PathId,
        to: NodeId,
        usage: Use,
        made: [Option<session_protocols::onion::wrap::ClientSession>; HOPS + 1],
    ) {
        let mut state = self.state();
        let Some(sessions) = state.sessions.get_mut(&path) else { return };
        let [guard, middle, last, end] = made;
        for (kept, made) in sessions.hops.iter_mut().zip([guard, middle, last]) {
            if made.is_some() {
                *kept = made;
            }
        }
        if let (Some(end), Use::Read(_)) = (end, usage) {
            sessions.ends.insert(to, end);
        }
    }

    fn forget(&self, path: PathId, to: NodeId, at: usize) {
        let mut state = self.state();
        let Some(sessions) = state.sessions.get_mut(&path) else { return };
        match sessions.hops.get_mut(at) {
            Some(hop) => *hop = None,
            None => drop(sessions.ends.remove(&to)),
        }
    }
}
