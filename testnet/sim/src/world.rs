//! The world: nodes, network and clients on one clock, from the first event to the last check.

use std::collections::BTreeMap;

use session_chain::{Ledger, NetworkFile, NetworkNode, Operator};
use session_protocols::{
    KeyPair, Maps, MessageHash, Namespace, NetworkName, NodeId, Span, SwarmMap, Time, answer::RULES, mutants,
    record::Mutation, ring::majority,
};

use super::{
    Counts, Disk as DiskChoice, Options, REDB_NODES, Report,
    changes::Changes,
    checks::{Checks, Violation},
    clients::{Account, Clients},
    dice::Dice,
    disk::Disk,
    faults::Faults,
    host::{Dying, Node},
    links::Links,
    queue::{Event, Queue, Trace, Trouble},
    readers::Reader,
};

/// When a run begins: a moment like any other.
const START: Time = Time::from_millis(1_800_000_000_000);
/// How long healing takes at least: everybody has compared with everybody by then.
const HEALING: Span = Span::secs(300);
/// How long after the healing writes may still fail.
const SETTLING: Span = Span::secs(40);
/// The same where a last map acts meanwhile, whose members have yet to pull.
const SETTLING_CHANGED: Span = Span::secs(100);
/// How long writes go on after that.
const LAST_WRITES: Span = Span::secs(60);
/// Events in one second of virtual time, for each node, beyond which something spins.
const SPINNING: u64 = 20_000;

/// Streams of numbers; what one draws does not move another.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) net: Dice,
    pub(super) disk: Dice,
    pub(super) client: Dice,
    /// Through which door clients come.
    pub(super) door: Dice,
    pub(super) trouble: Dice,
    pub(super) hostile: Dice,
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) faults: Faults,
    pub(super) queue: Queue,
    pub(super) counts: Counts,
    pub(super) network: NetworkName,
    /// The map that acts, for clients too.
    pub(super) map: SwarmMap,
    pub(super) maps: Maps,
    pub(super) changes: Changes,
    pub(super) nodes: Vec<Node>,
    pub(super) index: BTreeMap<NodeId, usize>,
    pub(super) links: Links,
    pub(super) clients: Clients,
    pub(super) readers: Vec<Reader>,
    pub(super) checks: Checks,
    pub(super) dice: Streams,
    /// What was ever stored.
    pub(super) messages: BTreeMap<MessageHash, Vec<u8>>,
    /// What hostile members have seen.
    pub(super) collected: Vec<Mutation>,
    /// Those of them that say on their sender's word alone which messages they are about.
    pub(super) stretchable: Vec<Mutation>,
    pub(super) next_subscriber: u64,
    /// Whether nodes run on their own engine.
    pub(super) engine: bool,
    /// The average pause between two things that clients do.
    pub(super) pace: Span,
    /// From when on writes must succeed.
    pub(super) settled: Time,
    /// From when on clients rest.
    pub(super) rest: Time,
    /// When everything heals.
    pub(super) heal: Time,
    end: Time,
    drawn: Faults,
    doomed: Vec<bool>,
    trace: Trace,
    seed: u64,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let seed = options.seed;
        let count = options.nodes.clamp(1, super::MAX_NODES);
        let drawn = Faults::of(options.faults, seed);
        let mut dice = Dice::new(seed, "nodes");
        let engine = match options.disk {
            DiskChoice::Memory => false,
            DiskChoice::Redb => true,
            DiskChoice::Seeded => count <= REDB_NODES && dice.chance(200),
        };
        // Speaking too early needs a store that can be put back to an earlier moment.
        let engine = engine && !mutants::on("acknowledge-before-commit");
        let pairs: Vec<_> = (0..count).map(|_| KeyPair::from_seed(&dice.array())).collect();
        let network: NetworkName = "sim".parse().unwrap_or_else(|_| unreachable!("a fixed name is a name"));
        let ledger = placed(&network, &pairs, &mut dice);
        let map = ledger.map().clone();
        let index: BTreeMap<_, _> = pairs.iter().enumerate().map(|(at, pair)| (pair.node_id(), at)).collect();
        let mut streams = Streams {
            net: Dice::new(seed, "net"),
            disk: Dice::new(seed, "disk"),
            client: Dice::new(seed, "client"),
            door: Dice::new(seed, "door"),
            trouble: Dice::new(seed, "trouble"),
            hostile: Dice::new(seed, "hostile"),
        };
        let mut nodes: Vec<Node> = pairs
            .into_iter()
            .map(|pair| {
                let incarnation = streams.disk.number();
                let disk = if engine {
                    Disk::engine(incarnation, &mut streams.disk)
                } else {
                    Disk::memory(incarnation)
                };
                Node::new(pair, disk)
            })
            .collect();
        let mut doomed = vec![false; count];
        let mut liars = 0;
        // Where swarms change, all that is bad may come to sit in one.
        let mut budget = if drawn.changes { 2.min(count.saturating_sub(1) / 2) } else { count };
        for members in map.swarms.values() {
            let mut left: Vec<_> = members.iter().filter_map(|member| index.get(member).copied()).collect();
            // Liars and lost disks together never make a majority of receipts worthless.
            let mut bad = (majority(left.len()) - 1).min(budget);
            budget -= bad;
            if drawn.hostile && bad > 0 && left.len() >= 4 && (liars == 0 || dice.chance(600)) {
                nodes[left.swap_remove(dice.index(left.len()))].hostile = true;
                liars += 1;
                bad -= 1;
            }
            // Where there may be few in all, these are they.
            let least = if drawn.changes { bad as u64 } else { 0 };
            let lost = if drawn.lost_disks { dice.between(least, bad as u64) } else { 0 };
            for _ in 0..lost {
                doomed[left.swap_remove(dice.index(left.len()))] = true;
            }
        }
        for node in &mut nodes {
            node.slow = drawn.slow_disks && dice.chance(300);
            node.ahead = off(drawn.clock, &mut dice);
        }
        let used = count + count / 3 + 2;
        let accounts: Vec<_> = (0..used + count.div_ceil(12))
            .map(|at| {
                let pair = KeyPair::from_seed(&dice.array());
                let ahead = off(drawn.clock, &mut dice);
                Account::new(pair, dice.chance(300), ahead, dice.coin(), at >= used)
            })
            .collect();
        let readers = (0..used / 3).map(|at| Reader::new(at, Namespace(if at % 2 == 0 { 0 } else { 1 })));
        let readers: Vec<_> = readers.collect();
        let minutes = options.minutes.max(super::MIN_MINUTES);
        let end = START.after(Span::secs(minutes * 60));
        let heal = Time(end.0 - HEALING.0);
        let settled = heal.after(if drawn.changes { SETTLING_CHANGED } else { SETTLING });
        let mut checks = Checks::new(map.clone().into(), &nodes);
        for (node, _) in doomed.iter().enumerate().filter(|(_, doomed)| **doomed) {
            checks.lost_disk(node);
        }
        Self {
            now: START,
            faults: drawn,
            queue: Queue::default(),
            counts: Counts::default(),
            checks,
            network,
            maps: map.clone().into(),
            changes: Changes::new(ledger, seed),
            map,
            nodes,
            index,
            links: Links::default(),
            clients: Clients::new(accounts),
            readers,
            dice: streams,
            messages: BTreeMap::new(),
            collected: Vec::new(),
            stretchable: Vec::new(),
            next_subscriber: 0,
            engine,
            // A node's share of the clients' load stays the same in networks of any size.
            pace: Span(14_000_000 / count as u64),
            settled,
            rest: settled.after(LAST_WRITES),
            heal,
            end,
            drawn,
            doomed,
            trace: Trace::default(),
            seed,
        }
    }

    /// The faults of this run.
    pub(super) const fn drawn_faults(&self) -> &Faults {
        &self.drawn
    }

    /// How long it has run, in milliseconds of virtual time.
    pub(super) const fn elapsed_ms(&self) -> u64 {
        self.now.since(START).as_millis()
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
            self.trace.event(at, &event);
            self.counts.events += 1;
            let this = at.0 / 1_000_000;
            (second, events) = if this == second { (second, events + 1) } else { (this, 1) };
            if events > SPINNING * self.nodes.len() as u64 {
                return super::checks::broken("no machine spins", format!("{event:?} over and over"));
            }
            self.handle(event)?;
        }
        self.now = self.end;
        self.checks.finale(&self.nodes, START, self.now)?;
        self.nothing_skipped()?;
        if self.clients.pending() > 0 {
            let detail = format!("{} are still under way", self.clients.pending());
            return super::checks::broken("every request ends", detail);
        }
        Ok(self.report())
    }

    fn report(&self) -> Report {
        Report {
            nodes: self.nodes.len(),
            swarms: self.map.swarms.len(),
            seed: self.seed,
            disk: if self.engine { DiskChoice::Redb } else { DiskChoice::Memory },
            faults: self.drawn.to_string(),
            drawn: self.drawn,
            trace: data_encoding::HEXLOWER.encode(&self.trace.digest()),
            virtual_ms: self.elapsed_ms(),
            counts: self.counts,
        }
    }

    fn begin_all(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.take_maps(node));
        self.border_later();
        for node in 0..self.nodes.len() {
            let at = START.after(self.dice.trouble.span(Span(0), Span::secs(2)));
            self.queue.push(at, Event::Start { node });
            if self.nodes[node].hostile {
                self.queue.push(at.after(Span::secs(5)), Event::Mischief { node });
            }
        }
        for reader in 0..self.readers.len() {
            let at = START.after(self.dice.client.span(Span::secs(3), Span::secs(12)));
            self.queue.push(at, Event::Subscribe { reader });
        }
        self.queue.push(START.after(Span::secs(4)), Event::Act);
        self.queue.push(self.heal, Event::Heal);
        for trouble in [Trouble::Crash, Trouble::Blackout, Trouble::Partition] {
            self.trouble_later(trouble);
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Word(word) => self.word(word),
            Event::Silence { node, life, exchange } => self.silence(node, life, exchange),
            Event::Contact { node, boot, peer, epoch, up } => self.contact(node, boot, peer, epoch, up),
            Event::Dial { a, b } => self.dial(a, b),
            Event::Sever { a, b, epoch } => self.sever(a, b, epoch),
            Event::Commit { node, life } => return self.commit(node, life),
            Event::Wake { node, life } => self.wake(node, life),
            Event::Start { node } => return self.start(node),
            Event::Request { node, boot, op, attempt, bytes } => {
                self.request(node, boot, op, attempt, &bytes)
            }
            Event::Answer { op, attempt, from, bytes } => return self.answer(op, attempt, from, &bytes),
            Event::Patience { op, attempt } => return self.patience(op, attempt),
            Event::Again { op } => self.again(op),
            Event::Act => self.act(),
            Event::Subscribe { reader } => self.subscribe(reader),
            Event::Subscription { node, life, reader, subscriber, bytes } => {
                self.subscription(node, life, reader, subscriber, &bytes);
            }
            Event::Subscribed { reader, subscriber, bytes } => self.subscribed(reader, subscriber, &bytes),
            Event::Page { reader, node, life, subscriber, more, bytes } => {
                return self.page(reader, (node, life), subscriber, more, &bytes);
            }
            Event::Taken { node, life, subscriber, cursor, more } => {
                self.taken(node, life, subscriber, cursor, more);
            }
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Mischief { node } => self.mischief(node),
            Event::Border => return self.border(),
            Event::Told { node } => self.told(node),
            Event::Heal => self.heal_all(),
        }
        Ok(())
    }

    /// Plans the next trouble of a kind, if this run has it.
    fn trouble_later(&mut self, trouble: Trouble) {
        let nodes = self.nodes.len() as u64;
        let (on, every) = match trouble {
            // Each node about once in five minutes.
            Trouble::Crash => (self.faults.crashes, Span::secs(300).0 / nodes),
            Trouble::Blackout => (self.faults.blackouts, Span::secs(90).0),
            Trouble::Partition => (self.faults.partitions, Span::secs(45).0),
            Trouble::Mend(_) => return,
        };
        let pause = Span(self.dice.trouble.below(2 * every));
        let at = self.now.after(Span::secs(10)).after(pause);
        if on && at < self.heal {
            self.queue.push(at, Event::Trouble(trouble));
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Crash => {
                let any = self.dice.trouble.index(self.nodes.len());
                // Where few are doomed, their time comes all the same.
                let doomed = self.doomed.iter().position(|doomed| *doomed);
                let doomed = doomed.filter(|_| self.faults.changes && self.dice.trouble.chance(150));
                let node = doomed.unwrap_or(any);
                let lose = self.doomed[node] && self.dice.trouble.coin();
                // A node rests most of the time, and a crash then takes nothing with it.
                if self.dice.trouble.coin() {
                    self.nodes[node].dies_writing = Some(Dying { lose_disk: lose });
                } else {
                    self.crash(node, lose);
                }
            }
            Trouble::Blackout => {
                let swarms: Vec<_> = self.map.swarms.keys().copied().collect();
                let Some(swarm) = self.dice.trouble.pick(&swarms) else { return };
                self.counts.blackouts += 1;
                for node in 0..self.nodes.len() {
                    if self.nodes[node].swarm == Some(swarm) {
                        self.crash(node, false);
                    }
                }
            }
            Trouble::Partition => self.partition(),
            Trouble::Mend(cut) => self.mend(cut),
        }
        self.trouble_later(trouble);
    }

    /// Everything heals: who is down returns, what is apart comes together.
    fn heal_all(&mut self) {
        self.faults = self.drawn.healed();
        self.mend_all();
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up() {
                let at = self.now.after(self.dice.trouble.span(Span(0), Span::secs(2)));
                self.queue.push(at, Event::Start { node });
            }
        }
    }
}

/// The ledger that begins with these nodes, each with an operator and a prefix of its own.
fn placed(network: &NetworkName, pairs: &[KeyPair], dice: &mut Dice) -> Ledger {
    let nodes = pairs.iter().enumerate().map(|(at, pair)| {
        let mut operator = [0; 20];
        operator[12..].copy_from_slice(&(at as u64).to_be_bytes());
        let prefix = format!("10.{}.{}.0/24", at / 256, at % 256);
        NetworkNode {
            id: pair.node_id(),
            operator: Operator::from_bytes(operator),
            prefix: prefix.parse().unwrap_or_else(|_| unreachable!("a prefix by construction")),
            addresses: vec!["/memory/1".to_owned()],
            door: None,
            bls: None,
        }
    });
    let file = NetworkFile {
        name: network.clone(),
        local: true,
        seed: dice.array(),
        faucet: None,
        limits: Default::default(),
        hf: RULES,
        nodes: nodes.collect(),
        settlement: None,
    };
    file.ledger()
}

/// How far a clock is off, in microseconds.
fn off(most: Span, dice: &mut Dice) -> i64 {
    dice.below(2 * most.0 + 1) as i64 - most.0 as i64
}
