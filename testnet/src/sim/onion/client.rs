//! A client: asks over the paths of its machine, by the directory that the nodes have signed.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use session_protocols::{
    AccountId, NetworkName, NodeId, Prefix, Span, Time,
    directory::{Answer, Download, Found, OnionDoor, Progress, Trusted},
    onion::{
        size::{Bucket, CAPACITIES},
        wrap::ClientSession,
    },
    path::{Candidate, HOPS, Input, Outcome, Output, PathId, Paths, Use, Want, guards::Guards},
};

use super::{
    node::echo,
    world::{Event, Party, Say, TIMING, Word, World},
};
use crate::sim::{
    checks::{Violation, broken},
    dice::Dice,
};

mod packet;
pub(super) mod rogue;

use packet::{Flight, Flying};

/// Paths that one request is tried over.
const TRIES: usize = 3;
/// How long a request may take.
const PATIENCE: Span = Span::secs(20);
/// How long one path may be silent until another one is tried beside it; half of it at least.
const HEDGE: Span = Span::secs(8);
/// The longest pause after a path was refused, until another one is tried.
const RETRY: Span = Span::millis(100);
/// How often a client wants something, on average.
const EVERY: Span = Span::secs(7);
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
    sessions: BTreeMap<PathId, Sessions>,
    flights: BTreeMap<u64, Flying>,
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

/// What the hops of one path keep.
#[derive(Debug, Default)]
struct Sessions {
    hops: [Option<ClientSession>; HOPS],
    /// The destinations that one account is read at.
    ends: BTreeMap<NodeId, ClientSession>,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Asked {
    usage: Use,
    to: NodeId,
    request: Vec<u8>,
    answer: Bucket,
    begun: Time,
    /// The paths that it went over.
    not: Vec<[NodeId; HOPS]>,
    /// Those that have not brought anything.
    tried: BTreeSet<PathId>,
    /// Packets that were sealed for it.
    seals: u32,
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
            sessions: BTreeMap::new(),
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

    fn runs(&self, request: u64) -> bool {
        self.flights.values().any(|flying| flying.flight.request == Some(request))
            || self.tickets.values().any(|other| *other == request)
    }
}

impl World {
    /// A client wants something new, and will again.
    pub(super) fn act(&mut self, at: usize) -> Result<(), Violation> {
        if self.now >= self.rest {
            return Ok(());
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
        let number = self.number();
        let asked = Asked {
            usage,
            to,
            request,
            answer,
            begun: self.now,
            not: Vec::new(),
            tried: BTreeSet::new(),
            seals: 0,
        };
        self.counts.requests += 1;
        self.clients[at].requests.insert(number, asked);
        self.queue.push(self.now.after(pause), Event::Act { client: at });
        self.queue.push(self.now.after(PATIENCE), Event::Patience { client: at, request: number });
        self.want(at, number)
    }

    /// A client tries a path for a request.
    fn want(&mut self, at: usize, request: u64) -> Result<(), Violation> {
        let ticket = self.number();
        let client = &mut self.clients[at];
        let Some(asked) = client.requests.get(&request) else { return Ok(()) };
        let want = Want { ticket, usage: asked.usage, destination: asked.to, not: asked.not.clone() };
        client.tickets.insert(ticket, request);
        self.feed(at, Input::Want(want))
    }

    /// What is late is tried over another path beside it.
    pub(super) fn again(&mut self, at: usize, request: u64) -> Result<(), Violation> {
        let Some(asked) = self.clients[at].requests.get(&request) else { return Ok(()) };
        if asked.not.len() >= TRIES {
            return Ok(());
        }
        for path in asked.tried.clone() {
            self.report_outcome(at, path, Outcome::Slow)?;
        }
        self.want(at, request)
    }

    /// A request has had its time.
    pub(super) fn impatient(&mut self, at: usize, request: u64) -> Result<(), Violation> {
        let Some(asked) = self.clients[at].requests.get(&request) else { return Ok(()) };
        for path in asked.tried.clone() {
            self.report_outcome(at, path, Outcome::Silent)?;
        }
        self.fails(at, request, "in time")
    }

    /// A request is given up.
    fn fails(&mut self, at: usize, request: u64, why: &str) -> Result<(), Violation> {
        let client = &mut self.clients[at];
        client.tickets.retain(|_, other| *other != request);
        client.flights.retain(|_, flying| flying.flight.request != Some(request));
        let Some(asked) = client.requests.remove(&request) else { return Ok(()) };
        self.counts.failed += 1;
        if asked.begun >= self.settled {
            let detail = format!("client {at}, request {request} over {:?}: {why}", asked.not);
            return broken("every request is answered after healing", detail);
        }
        Ok(())
    }

    /// An answer has come for a request.
    fn succeeds(&mut self, at: usize, request: u64, answer: &[u8]) -> Result<(), Violation> {
        let client = &mut self.clients[at];
        let Some(asked) = client.requests.remove(&request) else { return Ok(()) };
        client.tickets.retain(|_, other| *other != request);
        client.flights.retain(|_, flying| flying.flight.request != Some(request));
        if answer != echo(&asked.request) {
            return broken("an answer is the destination's", format!("client {at}, request {request}"));
        }
        self.counts.answered += 1;
        self.counts.first_try += u64::from(asked.seals == 1);
        Ok(())
    }

    fn report_outcome(&mut self, at: usize, path: PathId, outcome: Outcome) -> Result<(), Violation> {
        self.feed(at, Input::Outcome { path, outcome })
    }

    pub(super) fn wake_client(&mut self, at: usize) -> Result<(), Violation> {
        self.clients[at].woken = None;
        self.feed(at, Input::Tick)
    }

    /// Feeds a client's machine, and does what it says.
    fn feed(&mut self, at: usize, input: Input) -> Result<(), Violation> {
        let now = self.now;
        self.clients[at].paths.handle(now, input);
        while let Some(output) = self.clients[at].paths.poll() {
            let client = &mut self.clients[at];
            match output {
                Output::Use { ticket, path, hops } => {
                    let Some(request) = client.tickets.remove(&ticket) else { continue };
                    let Some(asked) = client.requests.get_mut(&request) else { continue };
                    asked.not.push(hops);
                    asked.tried.insert(path);
                    let (usage, to, answer) = (asked.usage, asked.to, asked.answer);
                    client.sessions.entry(path).or_default();
                    let late = self.dice.client.span(Span(HEDGE.0 / 2), HEDGE);
                    self.queue.push(now.after(late), Event::Again { client: at, request });
                    let flight = Flight { request: Some(request), path, hops, to, usage, answer, seals: 0 };
                    self.fly(at, flight)?;
                }
                Output::Fail { ticket, error } => {
                    let Some(request) = client.tickets.remove(&ticket) else { continue };
                    if !client.runs(request) {
                        self.fails(at, request, &error.to_string())?;
                    }
                }
                Output::Probe { path, hops, destination } => {
                    client.sessions.entry(path).or_default();
                    self.counts.probes += 1;
                    let (to, usage, answer) = (destination, Use::Look, Bucket::ALL[0]);
                    self.fly(at, Flight { request: None, path, hops, to, usage, answer, seals: 0 })?;
                }
                Output::Keep(_) => {}
                Output::Closed { path } => drop(client.sessions.remove(&path)),
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
        // The first client of a network with forgers begins at one of them.
        let hostile = self.faults.forgers && at == 0 && guards.is_empty() && self.counts.forged == 0;
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
            Answer::Records { .. } | Answer::Unknown => None,
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
