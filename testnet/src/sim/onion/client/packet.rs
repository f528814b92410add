//! One packet over one path: sealed, sent to the guard, and its answer opened.

use std::mem;

use session_protocols::{
    NodeId, Span,
    onion::{
        relay::Refusal,
        replay::stamp,
        size::Bucket,
        wrap::{ClientSession, Entry, Hop, Question, Return, Status, Stopped, Unwrapped, wrap},
    },
    path::{HOPS, Outcome, PathId, Use},
};

use crate::sim::{
    checks::{Violation, broken},
    onion::{
        checks::Truth,
        client::RETRY,
        world::{Event, Party, SERVICE, Say, Word, World},
    },
};

/// How often a packet is sealed anew, because a session was gone.
const SEALS: usize = 5;
/// How long a test of a path may take.
const TEST: Span = Span::secs(6);

/// A packet that is to go over a path.
#[derive(Debug)]
pub(in crate::sim::onion) struct Flight {
    /// None of a test.
    pub(in crate::sim::onion) request: Option<u64>,
    pub(in crate::sim::onion) path: PathId,
    pub(in crate::sim::onion) hops: [NodeId; HOPS],
    pub(in crate::sim::onion) to: NodeId,
    pub(in crate::sim::onion) usage: Use,
    pub(in crate::sim::onion) answer: Bucket,
    pub(in crate::sim::onion) seals: usize,
}

/// One that is under way.
#[derive(Debug)]
pub(in crate::sim::onion) struct Flying {
    pub(in crate::sim::onion) flight: Flight,
    back: Return,
    /// Which of the four were entered by a session.
    by_session: [bool; HOPS + 1],
    packet: u64,
}

/// A question that is nobody's.
const HARMLESS: &[u8] = &[0, 8];

impl World {
    /// Seals a packet and sends it to the guard.
    pub(super) fn fly(&mut self, at: usize, flight: Flight) -> Result<(), Violation> {
        let Flight { request, path, hops, to, usage, answer, seals } = flight;
        let [guard, middle, last] = hops;
        let chain = [guard, middle, last, to];
        self.checks.sends(at, (path, hops), request.map(|_| usage), to, &self.ledger)?;
        let fresh = [(); HOPS + 1].map(|()| self.dice.client.array::<64>());
        let client = &mut self.clients[at];
        let asked = request.and_then(|request| client.requests.get_mut(&request));
        let (body, secrets) = match asked {
            Some(asked) => {
                asked.seals += 1;
                // The account, and some of the rest.
                let parts = [2..35, 35..51].map(|part| asked.request.get(part).map(<[u8]>::to_vec));
                (asked.request.clone(), parts.into_iter().flatten().collect())
            }
            None => (HARMLESS.to_vec(), Vec::new()),
        };
        let doors: Vec<_> = chain.iter().filter_map(|node| client.doors.get(node).copied()).collect();
        let [one, two, three, four] = &doors[..] else {
            return broken("a path leads over nodes whose keys are known", format!("client {at}: {chain:?}"));
        };
        let doors = [one, two, three, four];
        let mut kept = [const { None }; HOPS + 1];
        // A path that was closed meanwhile leaves no sessions, and takes none.
        if let Some(sessions) = client.sessions.get_mut(&path) {
            let end = sessions.ends.get_mut(&to);
            let all = sessions.hops.iter_mut().map(Option::as_mut).chain([end]);
            kept.iter_mut().zip(all).for_each(|(kept, session)| *kept = session);
        }
        let by_session = [0, 1, 2, 3].map(|place: usize| kept[place].is_some());
        let wrapped = [0, 1, 2, 3].map(|place: usize| {
            let entry = match kept[place].take() {
                Some(session) => Entry::Session(session),
                None => Entry::First { door: doors[place].door(client.aes), random: fresh[place].into() },
            };
            Hop { node: chain[place], entry }
        });
        let question = Question { service: SERVICE, request: &body, answer, stamp: stamp(self.now) };
        let Ok((bytes, back)) = wrap(&self.network, wrapped, &question) else {
            return broken("a request can be sealed", format!("client {at}: {} bytes", body.len()));
        };
        let by_sessions = by_session.iter().filter(|by| **by).count() as u64;
        self.counts.by_session += by_sessions;
        self.counts.by_handshake += by_session.len() as u64 - by_sessions;
        let (packet, exchange) = (self.number(), self.number());
        let bucket = Bucket::fitting(body.len()).unwrap_or(Bucket::ALL[3]);
        self.checks.sealed(packet, Truth::new(chain, bucket, answer, secrets));
        let flight = Flight { seals: seals + 1, ..flight };
        self.clients[at].flights.insert(exchange, Flying { flight, back, by_session, packet });
        let (from, to) = (Party::Client(at), Party::Node(self.index[&guard]));
        self.send(Word { from, to, life: 0, exchange, say: Say::Packet(bytes), packet, spoilt: false });
        if request.is_none() {
            let test = Event::Silence { asker: from, life: 0, exchange };
            self.queue.push(self.now.after(TEST), test);
        }
        Ok(())
    }

    /// What came back through the guard.
    pub(in crate::sim::onion) fn returned(
        &mut self,
        at: usize,
        word: &Word,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let Some(Flying { flight, back, by_session, packet }) =
            self.clients[at].flights.remove(&word.exchange)
        else {
            return Ok(());
        };
        if let Some(refusal) = Refusal::read(bytes) {
            if refusal == Refusal::Unreadable && by_session[0] {
                self.forget(at, &flight, 0);
                return self.seal_anew(at, flight);
            }
            return self.nothing(at, &flight, Outcome::Refused);
        }
        let Ok(Unwrapped { sessions, outcome }) = back.open(bytes) else {
            return self.nothing(at, &flight, Outcome::Refused);
        };
        self.keep(at, &flight, sessions);
        match outcome {
            Ok(answer) => {
                self.checks.accepts(at, word)?;
                self.report_outcome(at, flight.path, Outcome::Answered)?;
                match flight.request {
                    Some(request) => self.succeeds(at, request, &answer),
                    None => Ok(()),
                }
            }
            // The destination itself refuses: the path is good.
            Err(Stopped { by: HOPS, .. }) => {
                self.report_outcome(at, flight.path, Outcome::Answered)?;
                self.next_path(at, &flight)
            }
            Err(Stopped { by, status: Status::Unreadable })
                if by_session.get(by + 1).is_some_and(|kept| *kept) =>
            {
                self.forget(at, &flight, by + 1);
                self.seal_anew(at, flight)
            }
            Err(Stopped { by, .. }) => {
                let next = flight.hops.get(by + 1).copied().unwrap_or(flight.to);
                self.checks.stopped(at, self.now, packet, [flight.hops[by], next])?;
                self.nothing(at, &flight, Outcome::Stopped { by, destination: flight.to })
            }
        }
    }

    /// The guard is not there.
    pub(in crate::sim::onion) fn unreached(&mut self, at: usize, exchange: u64) -> Result<(), Violation> {
        if self.clients[at].fetching.take_if(|(number, _)| *number == exchange).is_some() {
            self.disbelieve(at);
            return Ok(());
        }
        match self.clients[at].flights.remove(&exchange) {
            Some(flying) => self.nothing(at, &flying.flight, Outcome::Unreached),
            None => Ok(()),
        }
    }

    /// A test, or a question for a directory, has had its time.
    pub(in crate::sim::onion) fn silent(&mut self, at: usize, exchange: u64) -> Result<(), Violation> {
        if self.clients[at].fetching.take_if(|(number, _)| *number == exchange).is_some() {
            self.disbelieve(at);
            return Ok(());
        }
        match self.clients[at].flights.remove(&exchange) {
            Some(flying) => self.report_outcome(at, flying.flight.path, Outcome::Silent),
            None => Ok(()),
        }
    }

    fn seal_anew(&mut self, at: usize, flight: Flight) -> Result<(), Violation> {
        self.counts.lost_sessions += 1;
        if flight.seals >= SEALS {
            return self.nothing(at, &flight, Outcome::Refused);
        }
        self.fly(at, flight)
    }

    /// A path failed; another one may do.
    fn nothing(&mut self, at: usize, flight: &Flight, outcome: Outcome) -> Result<(), Violation> {
        self.report_outcome(at, flight.path, outcome)?;
        self.next_path(at, flight)
    }

    fn next_path(&mut self, at: usize, flight: &Flight) -> Result<(), Violation> {
        let Some(request) = flight.request else { return Ok(()) };
        let Some(asked) = self.clients[at].requests.get_mut(&request) else { return Ok(()) };
        asked.tried.remove(&flight.path);
        let more = asked.not.len() < super::TRIES;
        if more {
            let soon = self.dice.client.span(Span(0), RETRY);
            self.queue.push(self.now.after(soon), Event::Again { client: at, request });
        } else if !self.clients[at].runs(request) {
            return self.fails(at, request, "over any path");
        }
        Ok(())
    }

    /// Keeps the sessions that hops made; that of a destination only for reading one account.
    fn keep(&mut self, at: usize, flight: &Flight, made: [Option<ClientSession>; HOPS + 1]) {
        let Some(sessions) = self.clients[at].sessions.get_mut(&flight.path) else { return };
        let [guard, middle, last, end] = made;
        for (kept, made) in sessions.hops.iter_mut().zip([guard, middle, last]) {
            if made.is_some() {
                drop(mem::replace(kept, made));
            }
        }
        if let (Some(end), Use::Read(_)) = (end, flight.usage) {
            sessions.ends.insert(flight.to, end);
        }
    }

    fn forget(&mut self, at: usize, flight: &Flight, place: usize) {
        let Some(sessions) = self.clients[at].sessions.get_mut(&flight.path) else { return };
        match sessions.hops.get_mut(place) {
            Some(hop) => *hop = None,
            None => drop(sessions.ends.remove(&flight.to)),
        }
    }
}
