//! The world: nodes, clients and what lies between them, on one clock.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{
    KeyPair, NetworkName, NodeId, Prefix, Span, Time, codec,
    directory::{Answer, Request, Share, SignedRecord, Timing, Trusted, snapshot::MAX_AGE},
    onion::{relay::patience, size::Position, wrap::Service},
    path::Candidate,
};

use super::{
    Counts, Options, Report,
    checks::Checks,
    client::{Client, rogue::Rogue},
    faults::Faults,
    ill::Ill,
    node::Node,
};
use crate::{
    checks::{Violation, broken},
    dice::Dice,
    queue::{Queue, Trace},
};

/// When snapshots are made: often, and agreed on soon.
pub(super) const TIMING: Timing = Timing { period: Span::secs(300), step: Span::secs(5) };
/// When a run begins: shortly before the border of a period, so that there is a snapshot soon.
pub(super) const START: Time = Time::from_millis(1_800_000_270_000);
/// How long a run goes on after everything has healed.
const HEALING: Span = Span::secs(180);
/// How long after the healing requests may still fail.
const SETTLING: Span = Span::secs(60);
/// How long before the end clients rest.
const REST: Span = Span::secs(40);
/// Events in one second of virtual time beyond which something spins.
const SPINNING: u64 = 200_000;
/// How often a node crashes, in a run in which they do.
const CRASH: Span = Span::secs(240);
/// When guards fall ill: clients have some by then.
const ILL: Span = Span::secs(90);

/// The longest way that hops reckon with, there and as long back, when they wait longer than the next one.
const RECKONED: Span = Span((patience(Position::Middle).0 - patience(Position::Last).0) / 2);

/// Who speaks, or is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Node(usize),
    /// Those after the last client are rogues, all at one address.
    Client(usize),
}

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Event {
    Word(Word),
    /// A party hears that whom it asked is not there.
    Gone {
        asker: Party,
        life: u32,
        exchange: u64,
    },
    /// A party waits no longer for an answer.
    Silence {
        asker: Party,
        life: u32,
        exchange: u64,
    },
    /// A machine asked to be woken.
    Wake {
        who: Party,
        life: u32,
    },
    /// A node starts.
    Start {
        node: usize,
    },
    /// Some node crashes.
    Crash,
    /// A client wants something new.
    Act {
        client: usize,
    },
    /// The delivery of a client's request asked to be woken.
    Due {
        client: usize,
        request: u64,
    },
    /// A client looks after its directory.
    Look {
        client: usize,
    },
    /// The rogue client sends something.
    Mischief,
    /// A guard falls ill.
    FallIll,
    Heal,
}

/// What one party says to another.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) from: Party,
    pub(super) to: Party,
    /// Which life of the asker waits for the answer.
    pub(super) life: u32,
    /// The asker's number.
    pub(super) exchange: u64,
    pub(super) say: Say,
    /// Which packet it is, for the checks alone.
    pub(super) packet: u64,
    /// Whether a hostile hop changed it, for the checks alone.
    pub(super) spoilt: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Say {
    Packet(Vec<u8>),
    Answer(Vec<u8>),
    Record(SignedRecord),
    Share(Box<Share>),
    Ask(Request),
    Tell(Box<Answer>),
}

/// Streams of numbers; what one draws does not move another.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) net: Dice,
    pub(super) client: Dice,
    pub(super) trouble: Dice,
    pub(super) hostile: Dice,
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) faults: Faults,
    pub(super) queue: Queue<Event>,
    pub(super) counts: Counts,
    pub(super) network: NetworkName,
    pub(super) nodes: Vec<Node>,
    pub(super) index: BTreeMap<NodeId, usize>,
    /// All nodes of the network, as the ledger names them.
    pub(super) ledger: BTreeMap<NodeId, Candidate>,
    pub(super) clients: Vec<Client>,
    pub(super) rogue: Rogue,
    /// Guards that are good to tests alone, until everything has healed.
    pub(super) ill: BTreeMap<usize, Ill>,
    pub(super) checks: Checks,
    pub(super) dice: Streams,
    /// From when on requests must succeed.
    pub(super) settled: Time,
    /// From when on clients rest.
    pub(super) rest: Time,
    pub(super) drawn: Faults,
    pub(super) heal: Time,
    end: Time,
    next: u64,
    trace: Trace,
    seed: u64,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let seed = options.seed;
        let drawn = Faults::of(options.faults, seed);
        let mut dice = Dice::new(seed, "onion nodes");
        let network: NetworkName = "sim".parse().unwrap_or_else(|_| unreachable!("a fixed name is a name"));
        let end = START.after(Span::secs(options.minutes * 60));
        let heal = Time(end.0 - HEALING.0);
        let count = options.nodes;
        // Fewer than a third lie; those who forge a directory are as many as may.
        let most = (count - 1) / 3;
        let bad = match (drawn.hostile(), drawn.forgers) {
            (false, _) => 0,
            (true, true) => most,
            (true, false) => dice.between(1, most.max(1) as u64) as usize,
        };
        let nodes: Vec<_> = (0..count)
            .map(|at| {
                let slow = drawn.slow && dice.chance(150);
                let life = end.since(START);
                Node::new(KeyPair::from_seed(&dice.array()), at, at < bad, slow, life, &mut dice)
            })
            .collect();
        let index: BTreeMap<_, _> = nodes.iter().zip(0..).map(|(node, at)| (node.id, at)).collect();
        let ledger: BTreeMap<_, _> = nodes
            .iter()
            .map(|node| (node.id, Candidate { operator: node.operator, prefix: node.prefix, open: false }))
            .collect();
        let members: BTreeMap<_, _> = ledger.iter().map(|(node, kind)| (*node, kind.prefix)).collect();
        let clients: Vec<_> =
            (0..options.clients).map(|at| Client::new(at, seed, &network, &members)).collect();
        let checks = Checks::new(&nodes, clients.len());
        let rogue = Rogue::new(&mut dice);
        Self {
            now: START,
            faults: drawn,
            queue: Queue::default(),
            counts: Counts::default(),
            network,
            nodes,
            index,
            ledger,
            clients,
            rogue,
            ill: BTreeMap::new(),
            checks,
            dice: Streams {
                net: Dice::new(seed, "onion net"),
                client: Dice::new(seed, "onion client"),
                trouble: Dice::new(seed, "onion trouble"),
                hostile: Dice::new(seed, "onion hostile"),
            },
            settled: heal.after(SETTLING),
            rest: Time(end.0 - REST.0),
            drawn,
            heal,
            end,
            next: 0,
            trace: Trace::default(),
            seed,
        }
    }

    /// How long it has run, in milliseconds of virtual time.
    pub(super) const fn elapsed_ms(&self) -> u64 {
        self.now.since(START).as_millis()
    }

    /// The members, as directories know them.
    pub(super) fn members(&self) -> BTreeMap<NodeId, Prefix> {
        self.ledger.iter().map(|(node, kind)| (*node, kind.prefix)).collect()
    }

    /// All nodes but those that do not exist.
    pub(super) fn registered(&self) -> BTreeSet<NodeId> {
        self.ledger.keys().copied().collect()
    }

    /// A number that nothing else has.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) const fn is_rogue(&self, party: Party) -> bool {
        matches!(party, Party::Client(at) if at >= self.clients.len())
    }

    /// Runs to the end, or to the first broken promise.
    pub(super) fn run(&mut self) -> Result<Report, Violation> {
        self.begin_all();
        let (mut second, mut events) = (0, 0);
        while let Some((at, event)) = self.queue.pop() {
            if at > self.end {
                break;
            }
            self.now = at;
            self.note(&event);
            self.counts.events += 1;
            let this = at.0 / 1_000_000;
            (second, events) = if this == second { (second, events + 1) } else { (this, 1) };
            if events > SPINNING {
                return broken("no machine spins", format!("{event:?} over and over"));
            }
            self.handle(event)?;
        }
        self.now = self.end;
        self.at_rest()?;
        Ok(self.report())
    }

    fn report(&self) -> Report {
        Report {
            nodes: self.nodes.len(),
            hostile: self.nodes.iter().filter(|node| node.hostile).count(),
            clients: self.clients.len(),
            seed: self.seed,
            faults: self.drawn.to_string(),
            drawn: self.drawn,
            trace: data_encoding::HEXLOWER.encode(&self.trace.digest()),
            virtual_ms: self.elapsed_ms(),
            counts: Counts {
                guards: self.checks.most_guards(),
                replaced: self.clients.iter().map(|client| client.replaced() as u64).sum(),
                ..self.counts
            },
        }
    }

    fn begin_all(&mut self) {
        for node in 0..self.nodes.len() {
            let at = START.after(self.dice.trouble.span(Span(0), Span::secs(2)));
            self.queue.push(at, Event::Start { node });
        }
        for client in 0..self.clients.len() {
            let at = START.after(self.dice.client.span(Span::secs(50), Span::secs(60)));
            self.queue.push(at, Event::Look { client });
        }
        self.queue.push(self.heal, Event::Heal);
        self.queue.push(START.after(ILL), Event::FallIll);
        self.crash_later();
        self.mischief_later();
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Word(word) => return self.word(word),
            Event::Gone { asker: Party::Node(node), life, exchange }
            | Event::Silence { asker: Party::Node(node), life, exchange } => {
                return self.no_answer(node, life, exchange);
            }
            Event::Gone { asker: Party::Client(client), exchange, .. } => {
                return self.unreached(client, exchange);
            }
            Event::Silence { asker: Party::Client(client), exchange, .. } => {
                return self.silent(client, exchange);
            }
            Event::Wake { who: Party::Node(node), life } => return self.wake(node, life),
            Event::Wake { who: Party::Client(client), .. } => return self.wake_client(client),
            Event::Start { node } => return self.start(node),
            Event::Crash => {
                let node = self.dice.trouble.index(self.nodes.len());
                self.crash(node);
                self.crash_later();
            }
            Event::Act { client } => return self.act(client),
            Event::Due { client, request } => return self.due(client, request),
            Event::Look { client } => self.look(client),
            Event::Mischief => {
                self.mischief();
                self.mischief_later();
            }
            Event::FallIll => self.fall_ill(),
            Event::Heal => self.faults = self.drawn.healed(),
        }
        Ok(())
    }

    fn word(&mut self, word: Word) -> Result<(), Violation> {
        let asks = matches!(word.say, Say::Packet(_) | Say::Ask(_));
        if let Party::Node(node) = word.to
            && self.nodes[node].running.is_none()
        {
            if asks {
                self.checks.trouble(word.packet);
                self.gone(&word);
            }
            return Ok(());
        }
        match (word.to, word.say.clone()) {
            (Party::Node(node), Say::Packet(bytes)) => self.packet(node, word, bytes),
            (Party::Node(node), Say::Answer(bytes)) => self.answered(node, &word, &bytes),
            (Party::Node(node), say) => self.directory_word(node, word, say),
            (Party::Client(_), _) if self.is_rogue(word.to) => Ok(()),
            (Party::Client(client), Say::Answer(bytes)) => self.returned(client, &word, &bytes),
            (Party::Client(client), Say::Tell(answer)) => self.told(client, word.exchange, *answer),
            (Party::Client(_), Say::Packet(_) | Say::Record(_) | Say::Share(_) | Say::Ask(_)) => Ok(()),
        }
    }

    /// Whoever asked hears that nobody is there.
    fn gone(&mut self, word: &Word) {
        if self.is_rogue(word.from) {
            return;
        }
        let at = self.now.after(self.way());
        self.queue.push(at, Event::Gone { asker: word.from, life: word.life, exchange: word.exchange });
    }

    /// Sends something: it arrives once or never.
    pub(super) fn send(&mut self, word: Word) {
        self.counts.words += 1;
        if self.dice.net.chance(self.faults.loss) {
            self.counts.lost += 1;
            self.checks.trouble(word.packet);
            return;
        }
        let mut way = self.way();
        if let Party::Node(node) = word.from
            && self.nodes[node].slow
        {
            way = Span(way.0 + self.dice.net.span(Span::millis(200), Span::secs(1)).0);
            self.counts.slowed += 1;
        }
        if way > RECKONED {
            self.checks.trouble(word.packet);
        }
        self.counts.longest_way_ms = self.counts.longest_way_ms.max(way.as_millis());
        self.queue.push(self.now.after(way), Event::Word(word));
    }

    fn way(&mut self) -> Span {
        self.dice.net.span(self.faults.delay_min, self.faults.delay_max)
    }

    fn crash_later(&mut self) {
        let pause = Span(self.dice.trouble.below(2 * CRASH.0 / self.nodes.len() as u64));
        let at = self.now.max(START.after(Span::secs(60))).after(pause);
        if self.faults.crashes && at < self.heal {
            self.queue.push(at, Event::Crash);
        }
    }

    fn mischief_later(&mut self) {
        let at =
            self.now.max(START.after(Span::secs(60))).after(self.dice.hostile.span(Span(0), Span::secs(20)));
        if self.faults.rogue && at < self.heal {
            self.queue.push(at, Event::Mischief);
        }
    }

    /// What holds when nobody has anything left to do.
    fn at_rest(&self) -> Result<(), Violation> {
        self.checks.guarding.at_rest()?;
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(running) = &node.running else {
                return broken("every node returns", format!("node {at} is down"));
            };
            let under_way = running.relay.under_way();
            // A test of a path may be under way.
            let old = running
                .pending
                .values()
                .any(|pending| self.now > pending.since.after(patience(Position::Guard)));
            if under_way != running.pending.len() || old {
                let detail = format!("node {at}: {under_way}, {} of them forwarded", running.pending.len());
                return broken("no packet is under way for ever", detail);
            }
        }
        for (at, client) in self.clients.iter().enumerate() {
            if !client.requests.is_empty() {
                return broken("every request ends", format!("client {at}: {:?}", client.requests));
            }
            let tomorrow = self.now.after(MAX_AGE).after(Span::secs(1));
            let anew = Trusted::new(self.network.clone(), TIMING, self.members());
            let (here, there) = (client.uses(self.now, anew.clone()), client.uses(tomorrow, anew));
            if !here || there {
                let detail = format!("client {at}: {here} now, {there} after a day");
                return broken("a directory is used for a day", detail);
            }
        }
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        let party = |party: Party| match party {
            Party::Node(at) => at as u64,
            Party::Client(at) => u64::MAX - at as u64,
        };
        let (kind, numbers, bytes): (&str, [u64; 4], Vec<u8>) = match event {
            Event::Word(Word { from, to, exchange, say, packet, .. }) => {
                let (kind, bytes) = match say {
                    Say::Packet(bytes) => ("packet", bytes.clone()),
                    Say::Answer(bytes) => ("answer", bytes.clone()),
                    Say::Record(record) => ("record", codec::encode(record)),
                    Say::Share(share) => ("share", codec::encode(&**share)),
                    Say::Ask(request) => ("ask", codec::encode(request)),
                    Say::Tell(answer) => ("tell", codec::encode(&**answer)),
                };
                (kind, [party(*from), party(*to), *exchange, *packet], bytes)
            }
            Event::Gone { asker, exchange, .. } => ("gone", [party(*asker), *exchange, 0, 0], Vec::new()),
            Event::Silence { asker, exchange, .. } => {
                ("silence", [party(*asker), *exchange, 0, 0], Vec::new())
            }
            Event::Wake { who, life } => ("wake", [party(*who), u64::from(*life), 0, 0], Vec::new()),
            Event::Start { node } => ("start", [*node as u64, 0, 0, 0], Vec::new()),
            Event::Crash => ("crash", [0; 4], Vec::new()),
            Event::Act { client } => ("act", [*client as u64, 0, 0, 0], Vec::new()),
            Event::Due { client, request } => ("due", [*client as u64, *request, 0, 0], Vec::new()),
            Event::Look { client } => ("look", [*client as u64, 0, 0, 0], Vec::new()),
            Event::Mischief => ("mischief", [0; 4], Vec::new()),
            Event::FallIll => ("ill", [0; 4], Vec::new()),
            Event::Heal => ("heal", [0; 4], Vec::new()),
        };
        self.trace.note(self.now, kind, &numbers, &bytes);
    }
}

/// What every request asks.
pub(super) const SERVICE: Service = Service::Storage;
