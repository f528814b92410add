//! A node: a hop for others, a member of the directory, and an echo where packets end.

use std::collections::BTreeMap;

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use session_protocols::{
    KeyPair, NodeId, Prefix, Span, Time,
    directory::{
        Answer, Directory, Download, Endpoint, Input, OnionDoor, Output, Progress, Share, SignedRecord,
        Transport,
    },
    identity::blake2b,
    onion::{
        keys::{ACCEPTED, DAY, Keyring},
        relay::{Back, Neighbour, Refusal, Relay, Sealed, Step, patience},
        replay::in_doubt,
        wrap::Status,
    },
    path::Operator,
};

use super::{
    ill::Fate,
    world::{Event, Party, START, Say, TIMING, Word, World},
};
use crate::{checks::Violation, dice::Dice};

/// How long a fetch may take.
const FETCH: Span = Span::secs(10);

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) operator: Operator,
    pub(super) prefix: Prefix,
    pub(super) hostile: bool,
    pub(super) slow: bool,
    /// Whether it is fast at AES.
    aes: bool,
    pub(super) pair: KeyPair,
    /// Counts starts; what belongs to an earlier one is void.
    pub(super) life: u32,
    pub(super) running: Option<Running>,
    /// What is on its disk: its keys, and the last stamp that it took if it stopped cleanly.
    pub(super) disk: Option<(Keyring, Option<u32>)>,
    /// When its first key was made.
    key_since: Time,
    /// What a hostile hop sent on lately, to send it again.
    pub(super) recorded: Vec<(usize, Vec<u8>, u64)>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) relay: Relay<Party, ChaCha8Rng>,
    pub(super) directory: Directory,
    pub(super) pending: BTreeMap<u64, Pending>,
    fetching: BTreeMap<u64, Download>,
    woken: Option<Time>,
}

/// A packet that was sent on and waits for its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) way_back: WayBack,
    back: Back,
    pub(super) since: Time,
}

/// Whom to answer, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct WayBack {
    pub(super) to: Party,
    pub(super) life: u32,
    pub(super) exchange: u64,
    pub(super) packet: u64,
}

impl Node {
    /// The node at this place. Some share an operator, others a prefix.
    pub(super) fn new(
        pair: KeyPair,
        at: usize,
        hostile: bool,
        slow: bool,
        life: Span,
        dice: &mut Dice,
    ) -> Self {
        let (operator, prefix) = match at % 5 {
            3 => (at - 1, at),
            4 => (at, at - 1),
            _ => (at, at),
        };
        let mut bytes = [0; 20];
        bytes[12..].copy_from_slice(&(operator as u64).to_be_bytes());
        // Every second one has a new key during the run, or destroys the last one.
        let age = if at % 4 == 3 { Span(DAY.0 + ACCEPTED.0) } else { DAY };
        let key_since = Time(START.0 - age.0 + dice.between(Span::secs(60).0, 2 * life.0));
        Self {
            id: pair.node_id(),
            operator: bytes,
            prefix: Prefix::V4([10, (prefix / 256) as u8, (prefix % 256) as u8]),
            hostile,
            slow,
            aes: dice.coin(),
            pair,
            life: 0,
            running: None,
            disk: None,
            key_since,
            recorded: Vec::new(),
        }
    }

    fn door(&self, running: &Running) -> OnionDoor {
        OnionDoor::of(&running.relay.keys().current, self.aes)
    }

    /// Where it stands.
    pub(super) fn endpoint(&self) -> Endpoint {
        let Prefix::V4([a, b, c]) = self.prefix else { unreachable!("every prefix is one of IPv4") };
        Endpoint { transport: Transport::Quic, ip: [a, b, c, 1].into(), port: 22_021 }
    }

    /// How it is entered, as long as it runs.
    pub(super) fn open_door(&self) -> Option<OnionDoor> {
        self.running.as_ref().map(|running| self.door(running))
    }
}

impl World {
    /// A node starts, with what is on its disk.
    pub(super) fn start(&mut self, at: usize) -> Result<(), Violation> {
        let now = self.now;
        let (seed, fresh, first): ([u8; 32], [u8; 32], [u8; 32]) =
            (self.dice.trouble.array(), self.dice.trouble.array(), self.dice.trouble.array());
        let (members, registered) = (self.members(), self.registered());
        let network = self.network.clone();
        let node = &mut self.nodes[at];
        let made =
            || Keyring::new(node.key_since, first).unwrap_or_else(|| unreachable!("any bytes are a key"));
        let (mut keys, taken) = match node.disk.take() {
            Some((keys, taken)) => (keys, taken.unwrap_or_else(|| in_doubt(now))),
            None => (made(), 0),
        };
        keys.turn(now, fresh);
        node.disk = Some((keys.clone(), None));
        node.life += 1;
        let random = ChaCha8Rng::from_seed(seed);
        let relay = Relay::new(network.clone(), node.id, keys, registered, taken, random);
        let directory = Directory::new(Some(node.id), "1".into(), members);
        let mut directory = directory.with_snapshots(network, TIMING);
        let endpoint = node.endpoint();
        directory.handle(now, Input::Border { height: 0, hash: [0; 32] });
        directory.handle(now, Input::Listening(vec![endpoint]));
        let running =
            Running { relay, directory, pending: BTreeMap::new(), fetching: BTreeMap::new(), woken: None };
        let door = node.door(&running);
        let running = node.running.insert(running);
        running.directory.handle(now, Input::Onion(door));
        self.drain(at)?;
        self.replay_to(at);
        Ok(())
    }

    /// A node stops, cleanly or not, and is back before long.
    pub(super) fn crash(&mut self, at: usize) {
        let clean = self.dice.trouble.chance(300);
        let lasts = self.dice.trouble.span(Span::secs(1), Span::secs(25));
        let node = &mut self.nodes[at];
        let Some(running) = node.running.take() else { return };
        let taken = clean.then(|| running.relay.taken());
        node.disk = Some((running.relay.keys().clone(), taken));
        for pending in running.pending.values() {
            self.checks.trouble(pending.way_back.packet);
        }
        *if clean { &mut self.counts.stops } else { &mut self.counts.crashes } += 1;
        self.queue.push(self.now.after(lasts), Event::Start { node: at });
    }

    pub(super) fn wake(&mut self, at: usize, life: u32) -> Result<(), Violation> {
        let now = self.now;
        let node = &mut self.nodes[at];
        let Some(running) = node.running.as_mut().filter(|_| node.life == life) else { return Ok(()) };
        running.woken = None;
        if running.relay.tick(now) {
            self.counts.new_keys += u64::from(running.relay.keys().current.since == now);
            node.disk = Some((running.relay.keys().clone(), None));
        }
        running.directory.handle(now, Input::Tick);
        let door = node.open_door();
        if let (Some(running), Some(door)) = (&mut node.running, door) {
            running.directory.handle(now, Input::Onion(door));
        }
        self.drain(at)
    }

    /// Does what a node's directory says, and sees to it that both machines are woken.
    fn drain(&mut self, at: usize) -> Result<(), Violation> {
        let now = self.now;
        while let Some(running) = &mut self.nodes[at].running
            && let Some(output) = running.directory.poll()
        {
            match output {
                Output::Announce(record) => {
                    let signed = record.sign(&self.network, &self.nodes[at].pair);
                    let own = Input::Record { record, signed: signed.clone(), message: None };
                    self.feed_directory(at, own);
                    self.gossip(at, &Say::Record(signed));
                }
                Output::Vote(vote) => {
                    let share = vote.sign(&self.network, &self.nodes[at].pair);
                    self.checks.voted(at, &vote);
                    self.feed_directory(at, Input::Share { share, message: None });
                    self.gossip(at, &Say::Share(Box::new(share)));
                }
                Output::Fetch { from, download } => self.fetch(at, self.index[&from], download),
                Output::Judge { .. } | Output::Found { .. } => {}
            }
        }
        self.checks.bounded(at, &self.nodes[at], now)?;
        let node = &mut self.nodes[at];
        if let Some(running) = &mut node.running {
            let due = running.directory.deadline().into_iter().chain([running.relay.deadline()]).min();
            let due = due.map(|due| due.max(now)).filter(|due| running.woken.is_none_or(|at| *due < at));
            if let Some(due) = due {
                running.woken = Some(due);
                self.queue.push(due, Event::Wake { who: Party::Node(at), life: node.life });
            }
        }
        Ok(())
    }

    fn feed_directory(&mut self, at: usize, input: Input) {
        let now = self.now;
        if let Some(running) = &mut self.nodes[at].running {
            running.directory.handle(now, input);
        }
    }

    fn gossip(&mut self, from: usize, say: &Say) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let life = self.nodes[from].life;
            let (from, to, say) = (Party::Node(from), Party::Node(to), say.clone());
            self.send(Word { from, to, life, exchange: 0, say, packet: 0, spoilt: false });
        }
    }

    fn fetch(&mut self, at: usize, from: usize, download: Download) {
        let (exchange, life, request) = (self.number(), self.nodes[at].life, download.request());
        if let Some(running) = &mut self.nodes[at].running {
            running.fetching.insert(exchange, download);
        }
        let (asker, to, say) = (Party::Node(at), Party::Node(from), Say::Ask(request));
        self.send(Word { from: asker, to, life, exchange, say, packet: 0, spoilt: false });
        self.queue.push(self.now.after(FETCH), Event::Silence { asker, life, exchange });
    }

    /// Something about the directory reaches a node.
    pub(super) fn directory_word(&mut self, at: usize, word: Word, say: Say) -> Result<(), Violation> {
        match say {
            Say::Record(signed) => self.record(at, signed),
            Say::Share(share) => self.share(at, *share),
            Say::Ask(request) => {
                let Some(answer) = self.tells(at, word.from, &request) else { return Ok(()) };
                let (from, to, say) = (word.to, word.from, Say::Tell(Box::new(answer)));
                self.send(Word { from, to, say, ..word });
            }
            Say::Tell(answer) if self.nodes[at].life == word.life => self.take(at, word.exchange, *answer),
            Say::Tell(_) | Say::Packet(_) | Say::Answer(_) => {}
        }
        self.drain(at)
    }

    fn record(&mut self, at: usize, signed: SignedRecord) {
        let input = match signed.open(&self.network) {
            Some(record) => Input::Record { record, signed, message: Some(0) },
            None => Input::Garbage { message: 0 },
        };
        self.feed_directory(at, input);
    }

    fn share(&mut self, at: usize, share: Share) {
        if share.verify(&self.network) {
            self.feed_directory(at, Input::Share { share, message: Some(0) });
        }
    }

    fn take(&mut self, at: usize, exchange: u64, answer: Answer) {
        let Some(running) = &mut self.nodes[at].running else { return };
        let Some(download) = running.fetching.remove(&exchange) else { return };
        let hash = download.wanted();
        let taken = match answer {
            Answer::Snapshot(page) => download.take(page).ok(),
            Answer::Records { .. } | Answer::Checkpoint(_) | Answer::Unknown => None,
        };
        let found = match taken {
            // Of so few nodes all is one page.
            Some(Progress::More(_)) | None => None,
            Some(Progress::Whole(found)) => Some(found),
        };
        self.feed_directory(at, Input::Fetched { hash, found });
    }

    /// A packet reaches a node.
    pub(super) fn packet(&mut self, at: usize, word: Word, bytes: Vec<u8>) -> Result<(), Violation> {
        self.counts.packets += 1;
        let way_back =
            WayBack { to: word.from, life: word.life, exchange: word.exchange, packet: word.packet };
        match self.fate(at, &word) {
            Some(Fate::Left) => return Ok(()),
            Some(Fate::Refused(refusal)) => {
                self.answer(at, way_back, refusal.frame().to_vec(), false);
                return Ok(());
            }
            None => {}
        }
        if self.refuses(at, word.packet) {
            self.answer(at, way_back, Refusal::Unreadable.frame().to_vec(), false);
            return Ok(());
        }
        let step = self.peel(at, word.from, bytes.clone());
        self.checks.peeled(at, &self.nodes[at], &word, &bytes, &step, self.now)?;
        match step {
            Err(refusal) => self.answer(at, way_back, refusal.frame().to_vec(), false),
            Ok(Step::Turn { status, back }) => {
                return self.seal(at, way_back, back.turn(status), false, None);
            }
            Ok(Step::Deliver { request, back, .. }) => {
                self.counts.delivered += 1;
                return self.seal(at, way_back, back.answer(&echo(&request)), false, None);
            }
            Ok(Step::Forward { to, packet, back }) => {
                if let Some(status) = self.accuses(at, word.packet) {
                    return self.seal(at, way_back, back.turn(status), false, None);
                }
                // What the ledger does not name is nobody's address; the checks have seen it.
                let known = self.index.get(&to).copied();
                self.checks.forwards(at, &to, known.is_some())?;
                let Some(to) = known else {
                    return self.seal(at, way_back, back.turn(Status::Unreachable), false, None);
                };
                let (exchange, now) = (self.number(), self.now);
                let until = now.after(patience(back.position()));
                if let Some(running) = &mut self.nodes[at].running {
                    running.pending.insert(exchange, Pending { way_back, back, since: now });
                }
                self.forward(at, to, exchange, word.packet, packet);
                let life = self.nodes[at].life;
                let silence = Event::Silence { asker: Party::Node(at), life, exchange };
                self.queue.push(until, silence);
            }
        }
        self.drain(at)
    }

    fn peel(&mut self, at: usize, from: Party, bytes: Vec<u8>) -> Result<Step, Refusal> {
        let (now, neighbour) = (self.now, self.neighbour(from));
        let Some(running) = &mut self.nodes[at].running else { return Err(Refusal::Busy) };
        let opening = running.relay.arrive(neighbour, bytes)?;
        let step = opening.run().and_then(|opened| running.relay.opened(now, neighbour, opened));
        if step.is_err() {
            running.relay.forget(neighbour);
        }
        step
    }

    /// The next hop's answer reaches a node.
    pub(super) fn answered(&mut self, at: usize, word: &Word, bytes: &[u8]) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        let Some(running) = node.running.as_mut().filter(|_| node.life == word.life) else { return Ok(()) };
        let Some(pending) = running.pending.remove(&word.exchange) else { return Ok(()) };
        let sealed = pending.back.relay(Some(bytes));
        let spoilt = word.spoilt;
        self.seal(at, pending.way_back, sealed, spoilt, Some(bytes))
    }

    /// The next hop, or whom a snapshot was asked of, is not there or does not answer.
    pub(super) fn no_answer(&mut self, at: usize, life: u32, exchange: u64) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        let Some(running) = node.running.as_mut().filter(|_| node.life == life) else { return Ok(()) };
        if let Some(download) = running.fetching.remove(&exchange) {
            self.feed_directory(at, Input::Fetched { hash: download.wanted(), found: None });
            return self.drain(at);
        }
        let Some(pending) = running.pending.remove(&exchange) else { return Ok(()) };
        let sealed = pending.back.relay(None);
        self.seal(at, pending.way_back, sealed, false, None)
    }

    fn seal(
        &mut self,
        at: usize,
        way_back: WayBack,
        sealed: Result<Sealed, Refusal>,
        spoilt: bool,
        far: Option<&[u8]>,
    ) -> Result<(), Violation> {
        let bytes = self.leave(at, way_back, sealed);
        self.checks.answer_to(at, &self.nodes[at], way_back.packet, &bytes, far)?;
        self.answer(at, way_back, bytes, spoilt);
        self.drain(at)
    }

    fn leave(&mut self, at: usize, way_back: WayBack, sealed: Result<Sealed, Refusal>) -> Vec<u8> {
        let (now, from) = (self.now, self.neighbour(way_back.to));
        let Some(running) = &mut self.nodes[at].running else { return Vec::new() };
        match sealed {
            Ok(sealed) => running.relay.leave(now, from, sealed),
            Err(refusal) => {
                running.relay.forget(from);
                refusal.frame().to_vec()
            }
        }
    }

    /// Nodes forward, everybody else enters; all rogues come from one address.
    fn neighbour(&self, party: Party) -> Neighbour<Party> {
        let prefix = self.is_rogue(party).then_some(Prefix::V4([172, 16, 0]));
        Neighbour { key: party, node: matches!(party, Party::Node(_)), prefix }
    }
}

/// What a destination answers: as many bytes as the request's first two say, which follow from it.
pub(super) fn echo(request: &[u8]) -> Vec<u8> {
    let length = request.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
    let blocks = (0..length.div_ceil(32) as u64).flat_map(|block| blake2b(&[request, &block.to_be_bytes()]));
    blocks.take(length).collect()
}
