//! A client: asks over the paths of its machine, by the directory that the nodes have signed.

use std::collections::BTreeMap;

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use session_protocols::{
    AccountId, NetworkName, NodeId, Prefix, Span, Time,
    directory::{Answer, Download, Found, OnionDoor, Progress, Trusted},
    onion::size::{Bucket, CAPACITIES},
    path::{
        Candidate, HOPS, Input, Outcome, Output, PathId, Paths, Use, Want,
        delivery::{self, Delivery, Received, Terms},
        guards::Guards,
        passage::Passage,
        sessions::Sessions,
    },
};

use super::{
    node::echo,
    world::{Event, Party, Say, TIMING, Word, World},
};
use crate::{
    checks::{Violation, broken},
    dice::Dice,
};

mod packet;
pub(super) mod rogue;

use packet::Flight;

/// How long a request may take: as a client has it that stores a message.
const TERMS: Terms = Terms { patience: Span::secs(7), hold: Span(0), hedge: Span::millis(750) };
/// How often a client wants something, on average.
const EVERY: Span = Span::secs(7);
/// How often the first client gives up all paths before that, out of a thousand.
const REBUILD: u32 = 200;
/// How often it looks whether there is a newer directory.
const LOOK: Span = Span::secs(5);
/// How long it waits for one.
const FETCH: Span = Span::secs(4);

#[derive(Debug)]
pub(super) struct Client {
    accounts: [AccountId; 2],
    paths: Paths<ChaCha8Rng>,
    trusted: Trusted,
    /// The directory that it believes.
    doors: BTreeMap<NodeId, OnionDoor>,
    sessions: Sessions,
    flights: BTreeMap<u64, Flight>,
    /// Requests by the tickets of their wants.
    tickets: BTreeMap<u64, u64>,
    pub(super) requests: BTreeMap<u64, Asked>,
    fetching: Option<(u64, Download)>,
    /// Whether whom it asked last had no directory that can be believed.
    doubts: bool,
    /// Whether it has begun to ask.
    acts: bool,
    woken: Option<Time>,
    aes: bool,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Asked {
    usage: Use,
    to: NodeId,
    request: Vec<u8>,
    answer: Bucket,
    begun: Time,
    delivery: Delivery<ChaCha8Rng>,
    woken: Option<Time>,
    /// Packets that were sealed for it.
    packets: u32,
    /// The guards that it went by.
    guards: Vec<NodeId>,
    /// When it last failed over a path, if nothing was tried since.
    failed: Option<Time>,
}

impl Client {
    pub(super) fn new(
        at: usize,
        seed: u64,
        network: &NetworkName,
        members: &BTreeMap<NodeId, Prefix>,
    ) -> Self {
        let mut dice = Dice::new(seed, &format!("onion client {at}"));
        let account = |dice: &mut Dice| {
            let mut bytes = [5; 33];
            bytes[1..].copy_from_slice(&dice.array::<32>());
            AccountId::from_bytes(bytes)
        };
        Self {
            accounts: [account(&mut dice), account(&mut dice)],
            paths: Paths::new(Guards::default(), ChaCha8Rng::from_seed(dice.array())),
            trusted: Trusted::new(network.clone(), TIMING, members.clone()),
            doors: BTreeMap::new(),
            sessions: Sessions::default(),
            flights: BTreeMap::new(),
            tickets: BTreeMap::new(),
            requests: BTreeMap::new(),
            fetching: None,
            doubts: false,
            acts: false,
            woken: None,
            aes: dice.coin(),
        }
    }

    /// The guards in use, the one that it prefers first.
    pub(super) fn guards(&self) -> Vec<NodeId> {
        self.paths.guards().all().iter().filter(|guard| !guard.retired).map(|guard| guard.node).collect()
    }

    /// Guards in whose place another was drawn.
    pub(super) fn replaced(&self) -> usize {
        self.paths.guards().all().iter().filter(|guard| guard.retired).count()
    }

    /// Whether it would use the directory that it believes at another time, if it stopped or if it went on.
    pub(super) fn uses(&self, now: Time, mut anew: Trusted) -> bool {
        let kept = self.trusted.encode();
        let restored = kept.is_some_and(|kept| anew.restore(now, &kept).is_ok());
        restored || self.trusted.records(now).next().is_some()
    }
}

impl World {
    /// A client wants something new, and will again.
    pub(super) fn act(&mut self, at: usize) -> Result<(), Violation> {
        if self.now >= self.rest {
            return Ok(());
        }
        // Its user wants other paths now and then.
        if at == 0 && self.dice.client.chance(REBUILD) {
            self.feed(at, Input::Rebuild)?;
        }
        let dice = &mut self.dice.client;
        let pause = dice.span(Span(0), Span(2 * EVERY.0));
        let to = self.nodes[dice.index(self.nodes.len())].id;
        let [one, other] = self.clients[at].accounts;
        // What is stored is stored for somebody, and nobody sees in it for whom but the destination.
        let (usage, account) = match dice.below(4) {
            0 => (Use::Read(one), one),
            1 => (Use::Read(other), other),
            _ => (Use::Send, self.clients[(at + 1) % self.clients.len()].accounts[0]),
        };
        let large = dice.chance(100);
        let length = if large { dice.between(100, CAPACITIES[1] as u64) } else { dice.between(80, 1_000) };
        let wanted =
            if large { dice.between(0, CAPACITIES[1] as u64) } else { dice.between(0, 1_500) } as usize;
        let filler = dice.bytes(length as usize);
        let mut request = (wanted as u16).to_be_bytes().to_vec();
        request.extend(account.as_bytes());
        request.extend(filler);
        request.truncate(CAPACITIES[1]);
        let answer = Bucket::fitting(wanted).unwrap_or(Bucket::ALL[3]);
        let (begun, random) = (self.now, ChaCha8Rng::from_seed(dice.array()));
        let delivery = Delivery::new(begun, TERMS, random);
        let number = self.number();
        let asked = Asked {
            usage,
            to,
            request,
            answer,
            begun,
            delivery,
            woken: None,
            packets: 0,
            guards: Vec::new(),
            failed: None,
        };
        self.counts.requests += 1;
        self.clients[at].requests.insert(number, asked);
        self.queue.push(self.now.after(pause), Event::Act { client: at });
        self.deliver(at, number)
    }

    /// A delivery asked to be woken.
    pub(super) fn due(&mut self, at: usize, request: u64) -> Result<(), Violation> {
        if let Some(asked) = self.clients[at].requests.get_mut(&request) {
            asked.woken = None;
        }
        self.tell(at, request, delivery::Input::Tick)
    }

    /// Feeds the machine of a delivery, and does what it says.
    fn tell(&mut self, at: usize, request: u64, input: delivery::Input) -> Result<(), Violation> {
        if let Some(asked) = self.clients[at].requests.get_mut(&request) {
            if let delivery::Input::Brought { brought: Err(_), .. } = &input {
                asked.failed = Some(self.now);
            }
            asked.delivery.handle(self.now, input);
        }
        self.deliver(at, request)
    }

    fn deliver(&mut self, at: usize, request: u64) -> Result<(), Violation> {
        while let Some(asked) = self.clients[at].requests.get_mut(&request)
            && let Some(output) = asked.delivery.poll()
        {
            let (usage, to) = (asked.usage, asked.to);
            match output {
                delivery::Output::Want { not } => {
                    if let Some(failed) = asked.failed.take() {
                        self.checks.guarding.pauses(self.now.since(failed));
                    }
                    self.want(at, request, (usage, to), not)?;
                }
                delivery::Output::Carry { path, hops } => {
                    let before = asked.guards.clone();
                    asked.guards.push(hops[0]);
                    let other = self.other_guard(at, to, &[&before[..], &hops[..1]].concat());
                    self.checks.guarding.begins(at, self.now, hops[0], &before, other)?;
                    self.fly(at, Some(request), Passage::new(path, hops, to, usage))?;
                }
                delivery::Output::Report { path, outcome } => {
                    self.becomes(at, path, outcome, false)?;
                }
                delivery::Output::Done(result) => self.done(at, request, result)?,
            }
        }
        let Some(asked) = self.clients[at].requests.get_mut(&request) else { return Ok(()) };
        let due = asked.delivery.deadline();
        if let Some(due) = due.filter(|due| asked.woken.is_none_or(|woken| *due < woken)) {
            asked.woken = Some(due);
            self.queue.push(due, Event::Due { client: at, request });
        }
        Ok(())
    }

    /// A guard beside these that would do for a packet to `to`, by all that a client was told.
    fn other_guard(&self, at: usize, to: NodeId, these: &[NodeId]) -> Option<NodeId> {
        let client = &self.clients[at];
        let end = self.ledger[&to];
        client.guards().into_iter().find(|guard| {
            let kind = self.ledger[guard];
            let silent = client.flights.values().any(|flight| flight.is_silent_test(*guard, self.now));
            !these.contains(guard)
                && !silent
                && self.checks.guarding.is_well(at, self.now, *guard)
                && (kind.operator != end.operator && kind.prefix != end.prefix)
                && client.doors.contains_key(guard)
                && !client.paths.left_out().contains(guard)
        })
    }

    fn want(
        &mut self,
        at: usize,
        request: u64,
        (usage, destination): (Use, NodeId),
        not: Vec<[NodeId; HOPS]>,
    ) -> Result<(), Violation> {
        let ticket = self.number();
        self.clients[at].tickets.insert(ticket, request);
        self.feed(at, Input::Want(Want { ticket, usage, destination, not }))
    }

    /// A delivery is over.
    fn done(
        &mut self,
        at: usize,
        request: u64,
        result: Result<Received, delivery::Fault>,
    ) -> Result<(), Violation> {
        let client = &mut self.clients[at];
        let tickets = client.tickets.iter().filter(|(_, other)| **other == request);
        let tickets: Vec<_> = tickets.map(|(ticket, _)| *ticket).collect();
        let asked = client.requests.remove(&request);
        for ticket in tickets {
            self.clients[at].tickets.remove(&ticket);
            self.feed(at, Input::Forget { ticket })?;
        }
        let Some(asked) = asked else { return Ok(()) };
        match result {
            Ok(Received::Answer(answer)) => self.succeeds(at, request, &asked, &answer),
            Ok(Received::TooLarge) => self.fails(at, request, &asked, "its answer is too large"),
            Err(fault) => self.fails(at, request, &asked, &fault.to_string()),
        }
    }

    /// A request is given up.
    fn fails(&mut self, at: usize, request: u64, asked: &Asked, why: &str) -> Result<(), Violation> {
        self.counts.failed += 1;
        if asked.begun >= self.settled {
            let detail = format!("client {at}, request {request}, {:?}: {why}", asked.delivery);
            return broken("every request is answered after healing", detail);
        }
        Ok(())
    }

    /// An answer has come for a request.
    fn succeeds(&mut self, at: usize, request: u64, asked: &Asked, answer: &[u8]) -> Result<(), Violation> {
        if answer != echo(&asked.request) {
            return broken("an answer is the destination's", format!("client {at}, request {request}"));
        }
        self.counts.answered += 1;
        self.counts.first_try += u64::from(asked.packets == 1);
        Ok(())
    }

    pub(super) fn wake_client(&mut self, at: usize) -> Result<(), Violation> {
        self.clients[at].woken = None;
        self.feed(at, Input::Tick)
    }

    /// Tells a client's machine what became of a packet, which was a test or not.
    fn becomes(&mut self, at: usize, path: PathId, outcome: Outcome, test: bool) -> Result<(), Violation> {
        self.checks.guarding.told(at, self.now, path, outcome, test);
        self.feed(at, Input::Outcome { path, outcome })
    }

    /// Feeds a client's machine, and does what it says.
    fn feed(&mut self, at: usize, input: Input) -> Result<(), Violation> {
        let now = self.now;
        self.clients[at].paths.handle(now, input);
        while let Some(output) = self.clients[at].paths.poll() {
            let client = &mut self.clients[at];
            match output {
                Output::Use { ticket, path, hops } => {
                    client.sessions.open(path);
                    let Some(request) = client.tickets.remove(&ticket) else { continue };
                    self.tell(at, request, delivery::Input::Path { path, hops })?;
                }
                Output::Fail { ticket, error } => {
                    let Some(request) = client.tickets.remove(&ticket) else { continue };
                    self.tell(at, request, delivery::Input::NoPath(error))?;
                }
                Output::Probe { path, hops, destination } => {
                    client.sessions.open(path);
                    self.counts.probes += 1;
                    self.fly(at, None, Passage::new(path, hops, destination, Use::Look))?;
                }
                Output::Keep(guards) => client.paths.handle(now, Input::Kept(guards)),
                Output::Closed { path } => {
                    client.sessions.close(path);
                    self.checks.guarding.closed(at, path);
                }
                // There are no streams here.
                Output::HangUp { .. } => {}
            }
        }
        let client = &mut self.clients[at];
        self.checks.machine(at, now, &client.paths, &self.ledger)?;
        self.counts.left_out = self.counts.left_out.max(client.paths.left_out().len() as u64);
        let due = client.paths.deadline().map(|due| due.max(now));
        if let Some(due) = due.filter(|due| client.woken.is_none_or(|woken| *due < woken)) {
            client.woken = Some(due);
            self.queue.push(due, Event::Wake { who: Party::Client(at), life: 0 });
        }
        Ok(())
    }

    /// A client looks whether there is a newer directory: at its guards, who know it already, and
    /// without any at a node that it knows from the description of the network.
    pub(super) fn look(&mut self, at: usize) {
        self.queue.push(self.now.after(LOOK), Event::Look { client: at });
        let client = &mut self.clients[at];
        if client.fetching.is_some() || !client.trusted.is_behind(self.now) {
            return;
        }
        let guards = client.paths.guards().all();
        let guards: Vec<_> = guards.iter().filter_map(|guard| self.index.get(&guard.node).copied()).collect();
        let anybody = self.dice.client.index(self.nodes.len());
        // The first client of a network with forgers begins at one of them, and comes back once.
        let begins = guards.is_empty() && self.counts.forged == 0;
        let returns = client.acts && !client.doubts && self.counts.withheld == 0;
        let hostile = self.faults.forgers && at == 0 && (begins || returns);
        let guard = self.dice.client.pick(&guards).filter(|_| !client.doubts).unwrap_or(anybody);
        let from = if hostile { 0 } else { guard };
        let exchange = self.number();
        let download = self.clients[at].trusted.download();
        let say = Say::Ask(download.request());
        self.clients[at].fetching = Some((exchange, download));
        let (asker, to) = (Party::Client(at), Party::Node(from));
        self.send(Word { from: asker, to, life: 0, exchange, say, packet: 0, spoilt: false });
        self.queue.push(self.now.after(FETCH), Event::Silence { asker, life: 0, exchange });
    }

    /// A client hears of a directory.
    pub(super) fn told(&mut self, at: usize, exchange: u64, answer: Answer) -> Result<(), Violation> {
        let client = &mut self.clients[at];
        let Some((_, download)) = client.fetching.take_if(|(number, _)| *number == exchange) else {
            return Ok(());
        };
        let found = match answer {
            Answer::Snapshot(page) => match download.take(page) {
                Ok(Progress::Whole(found)) => Some(found),
                // Of so few nodes all is one page.
                Ok(Progress::More(_)) | Err(_) => None,
            },
            Answer::Records { .. } | Answer::Checkpoint(_) | Answer::Unknown => None,
        };
        match found {
            Some(found) => self.believe(at, found),
            None => {
                self.disbelieve(at);
                Ok(())
            }
        }
    }

    fn believe(&mut self, at: usize, found: Found) -> Result<(), Violation> {
        let (now, hash) = (self.now, found.snapshot.hash());
        let client = &mut self.clients[at];
        if client.trusted.believe(now, found).is_err() {
            self.disbelieve(at);
            return Ok(());
        }
        self.checks.believes(at, &hash)?;
        client.doubts = false;
        self.counts.directories += 1;
        client.doors = client.trusted.records(now).map(|record| (record.node, record.onion)).collect();
        let nodes = self
            .ledger
            .iter()
            .map(|(id, node)| (*id, Candidate { open: client.doors.contains_key(id), ..*node }));
        let nodes = nodes.collect();
        if !std::mem::replace(&mut client.acts, true) {
            let soon = self.dice.client.span(Span(0), EVERY);
            self.queue.push(now.after(soon), Event::Act { client: at });
        }
        self.feed(at, Input::Nodes(nodes))
    }

    /// Nothing that can be believed: another node is asked next.
    fn disbelieve(&mut self, at: usize) {
        self.counts.disbelieved += 1;
        self.clients[at].doubts = true;
    }
}
