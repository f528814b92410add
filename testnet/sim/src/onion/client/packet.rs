//! One packet over one path: sealed, sent to the guard, and its answer opened.

use session_protocols::{
    NodeId, Time,
    onion::{replay::stamp, size::Bucket, wrap::Question},
    path::{
        ECHO, HOPS, Outcome, TEST,
        delivery::{self, Received},
        passage::{Comparison, Next, Passage},
    },
};

use crate::{
    checks::{Violation, broken},
    onion::{
        checks::Truth,
        world::{Event, Party, SERVICE, Say, Word, World},
    },
};

/// A packet that is under way.
#[derive(Debug)]
pub(in crate::onion) struct Flight {
    /// None of a test.
    pub(in crate::onion) request: Option<u64>,
    sent: Time,
    passage: Passage,
    packet: u64,
}

impl Flight {
    /// Whether it is a test through this guard that the machine has given up by now.
    pub(super) fn is_silent_test(&self, guard: NodeId, now: Time) -> bool {
        self.request.is_none() && self.passage.chain()[0] == guard && now >= self.sent.after(TEST)
    }
}

/// A question that is nobody's.
const HARMLESS: &[u8] = &[0, 8];

impl World {
    /// Seals a packet and sends it to the guard.
    pub(super) fn fly(
        &mut self,
        at: usize,
        request: Option<u64>,
        mut passage: Passage,
    ) -> Result<(), Violation> {
        let chain = passage.chain();
        let [guard, middle, last, to] = chain;
        let client = &mut self.clients[at];
        let asked = request.and_then(|request| client.requests.get_mut(&request));
        let usage = asked.as_ref().map(|asked| asked.usage);
        let (body, answer, secrets) = match asked {
            Some(asked) => {
                asked.packets += 1;
                // The account, and some of the rest.
                let parts = [2..35, 35..51].map(|part| asked.request.get(part).map(<[u8]>::to_vec));
                (asked.request.clone(), asked.answer, parts.into_iter().flatten().collect())
            }
            None => (HARMLESS.to_vec(), Bucket::ALL[0], Vec::new()),
        };
        self.checks.sends(at, (passage.path(), [guard, middle, last]), usage, to, &self.ledger)?;
        let [Some(first), Some(second), Some(third), Some(end)] =
            chain.map(|node| client.doors.get(&node).copied())
        else {
            return broken("a path leads over nodes whose keys are known", format!("client {at}: {chain:?}"));
        };
        let doors = [&first, &second, &third, &end].map(|door| door.door(client.aes));
        let question = Question { service: SERVICE, request: &body, answer, stamp: stamp(self.now) };
        let random = self.dice.client.generator();
        let bytes = match passage.seal(&self.network, &mut client.sessions, doors, random, &question) {
            Ok(bytes) => bytes,
            Err(next) => return broken("a request can be sealed", format!("client {at}: {next:?}")),
        };
        let by_session = passage.by_session();
        let by_sessions = by_session.iter().filter(|by| **by).count() as u64;
        self.counts.by_session += by_sessions;
        self.counts.by_handshake += by_session.len() as u64 - by_sessions;
        let (packet, exchange) = (self.number(), self.number());
        let bucket = Bucket::fitting(body.len()).unwrap_or(Bucket::ALL[3]);
        self.checks.sealed(packet, Truth::new(chain, usage, [bucket, answer], secrets));
        self.clients[at].flights.insert(exchange, Flight { request, sent: self.now, passage, packet });
        let (from, to) = (Party::Client(at), Party::Node(self.index[&guard]));
        self.send(Word { from, to, life: 0, exchange, say: Say::Packet(bytes), packet, spoilt: false });
        self.queue.push(self.now.after(ECHO), Event::Silence { asker: from, life: 0, exchange });
        Ok(())
    }

    /// What came back through the guard.
    pub(in crate::onion) fn returned(
        &mut self,
        at: usize,
        word: &Word,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let client = &mut self.clients[at];
        let Some(mut flight) = client.flights.remove(&word.exchange) else { return Ok(()) };
        let opened = flight.passage.open(bytes);
        let next = flight.passage.opened(&mut client.sessions, opened);
        if let Next::Done { brought: Ok(Received::Answer(_)), .. } = &next {
            self.checks.accepts(at, word)?;
        }
        self.goes_on(at, flight, next)
    }

    /// The guard is not there.
    pub(in crate::onion) fn unreached(&mut self, at: usize, exchange: u64) -> Result<(), Violation> {
        if self.clients[at].fetching.take_if(|(number, _)| *number == exchange).is_some() {
            self.disbelieve(at);
            return Ok(());
        }
        let Some(flight) = self.clients[at].flights.remove(&exchange) else { return Ok(()) };
        let next = flight.passage.unreached();
        self.goes_on(at, flight, next)
    }

    /// A packet is listened for no longer, or a question for a directory has had its time.
    pub(in crate::onion) fn silent(&mut self, at: usize, exchange: u64) -> Result<(), Violation> {
        if self.clients[at].fetching.take_if(|(number, _)| *number == exchange).is_some() {
            self.disbelieve(at);
        }
        let Some(flight) = self.clients[at].flights.remove(&exchange) else { return Ok(()) };
        if flight.request.is_none() {
            self.checks.guarding.told(at, self.now, flight.passage.path(), Outcome::Silent, true);
            return Ok(());
        }
        self.counts.unheard += 1;
        self.becomes(at, flight.passage.path(), Outcome::Unheard, false)
    }

    fn goes_on(&mut self, at: usize, mut flight: Flight, next: Next) -> Result<(), Violation> {
        // Nobody waits for it any more: it is not sealed again, and what is heard counts for its path alone.
        let alone = flight.request.is_some_and(|request| !self.clients[at].requests.contains_key(&request));
        match next {
            Next::Seal { .. } | Next::Compare if alone => Ok(()),
            // No stream is hung up here, so that there is no pause.
            Next::Seal { .. } => {
                self.counts.lost_sessions += 1;
                self.fly(at, flight.request, flight.passage)
            }
            // All have one clock.
            Next::Compare => {
                let next = flight.passage.compared(Comparison::Same);
                self.goes_on(at, flight, next)
            }
            Next::Done { outcome, brought } => {
                if let Outcome::Stopped { by, .. } = outcome {
                    let link = [by, (by + 1).min(HOPS)].map(|place| flight.passage.chain()[place]);
                    self.checks.stopped(at, self.now, flight.packet, link)?;
                }
                let path = flight.passage.path();
                self.counts.echoes += u64::from(alone);
                match flight.request.filter(|_| !alone) {
                    Some(request) => {
                        self.tell(at, request, delivery::Input::Brought { path, outcome, brought })
                    }
                    None => self.becomes(at, path, outcome, flight.request.is_none()),
                }
            }
        }
    }
}
