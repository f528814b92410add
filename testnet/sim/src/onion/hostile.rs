//! Hostile hops: they run the node's machine like everybody, and lie on top of it.

use std::sync::Arc;

use serde_bytes::ByteArray;
use session_protocols::{
    Span,
    directory::{Answer, Certificate, Members, NodeRecord, Request, Snapshot, Vote, snapshot::Entry},
    onion::wrap::Status,
};

use super::{
    node::WayBack,
    world::{Event, Party, Say, TIMING, Word, World},
};

/// Packets that a hostile hop keeps, to send them again.
const RECORDED: usize = 64;

impl World {
    fn hostile(&mut self, at: usize, per_mille: u32) -> bool {
        self.nodes[at].hostile && self.dice.hostile.chance(per_mille)
    }

    /// Whether a hostile hop refuses a packet that it could open.
    pub(super) fn refuses(&mut self, at: usize, packet: u64) -> bool {
        let refuses = self.hostile(at, self.faults.refusals / 2);
        if refuses {
            self.counts.false_refusals += 1;
            self.checks.meddled(packet, at);
        }
        refuses
    }

    /// What a hostile hop says of the next one without having asked it.
    pub(super) fn accuses(&mut self, at: usize, packet: u64) -> Option<Status> {
        if !self.hostile(at, self.faults.refusals) {
            return None;
        }
        self.counts.false_refusals += 1;
        self.checks.meddled(packet, at);
        let lies =
            [Status::Unreachable, Status::Busy, Status::Unreadable, Status::Unknown, Status::Malformed];
        self.dice.hostile.pick(&lies)
    }

    /// Sends a packet on, or does something else with it.
    pub(super) fn forward(&mut self, at: usize, to: usize, exchange: u64, packet: u64, mut bytes: Vec<u8>) {
        let life = self.nodes[at].life;
        let mut from = Party::Node(at);
        let mut spoilt = false;
        if self.nodes[at].hostile {
            let recorded = &mut self.nodes[at].recorded;
            if recorded.len() >= RECORDED {
                recorded.remove(0);
            }
            recorded.push((to, bytes.clone(), packet));
        }
        if self.hostile(at, self.faults.drops) {
            self.counts.drops += 1;
            self.checks.meddled(packet, at);
            return;
        }
        if self.hostile(at, self.faults.flips) {
            self.counts.flips += 1;
            self.flip(&mut bytes);
            self.checks.meddled(packet, at);
            spoilt = true;
        } else if self.hostile(at, self.faults.sizes) {
            self.counts.resized += 1;
            self.resize(&mut bytes);
            self.checks.meddled(packet, at);
            spoilt = true;
        } else if self.hostile(at, self.faults.side_doors) {
            self.checks.trouble(packet);
            from = self.other_sender(at);
        } else if self.hostile(at, self.faults.replays) {
            let pause = self.dice.hostile.span(Span::secs(2), Span::secs(90));
            self.replay_later(at, to, packet, bytes.clone(), pause);
        }
        let say = Say::Packet(bytes);
        self.send(Word { from, to: Party::Node(to), life, exchange, say, packet, spoilt });
    }

    /// Whom a hostile hop has a packet sent on by: somebody who is no node, or another hostile one.
    fn other_sender(&mut self, at: usize) -> Party {
        let allies: Vec<_> =
            (0..self.nodes.len()).filter(|ally| *ally != at && self.nodes[*ally].hostile).collect();
        match self.dice.hostile.pick(&allies).filter(|_| self.dice.hostile.coin()) {
            Some(ally) => {
                self.counts.detours += 1;
                Party::Node(ally)
            }
            None => {
                self.counts.side_doors += 1;
                Party::Client(self.clients.len())
            }
        }
    }

    /// Hostile hops send a node that has started anew what they sent it before.
    pub(super) fn replay_to(&mut self, to: usize) {
        if self.faults.replays == 0 || self.nodes[to].life == 1 {
            return;
        }
        for at in 0..self.nodes.len() {
            for (_, bytes, packet) in self.nodes[at].recorded.clone().into_iter().filter(|(at, ..)| *at == to)
            {
                self.counts.replays_after_start += 1;
                let pause = self.dice.hostile.span(Span::millis(1), Span::secs(3));
                self.replay_later(at, to, packet, bytes, pause);
            }
        }
    }

    fn replay_later(&mut self, at: usize, to: usize, packet: u64, bytes: Vec<u8>, pause: Span) {
        self.counts.replays += 1;
        let (life, exchange, say) = (self.nodes[at].life, self.number(), Say::Packet(bytes));
        let (from, to) = (Party::Node(at), Party::Node(to));
        let word = Word { from, to, life, exchange, say, packet, spoilt: false };
        self.queue.push(self.now.after(pause), Event::Word(word));
    }

    /// Answers, truly or not.
    pub(super) fn answer(&mut self, at: usize, way_back: WayBack, mut bytes: Vec<u8>, mut spoilt: bool) {
        let WayBack { to, life, exchange, packet } = way_back;
        if self.hostile(at, self.faults.drops / 2) {
            self.counts.drops += 1;
            self.checks.meddled(packet, at);
            return;
        }
        if self.hostile(at, self.faults.flips) {
            self.counts.flips_back += 1;
            self.flip(&mut bytes);
            self.checks.meddled(packet, at);
            spoilt = true;
        } else if self.hostile(at, self.faults.sizes) {
            self.counts.resized += 1;
            self.resize(&mut bytes);
            self.checks.meddled(packet, at);
            spoilt = true;
        }
        let (from, say) = (Party::Node(at), Say::Answer(bytes));
        self.send(Word { from, to, life, exchange, say, packet, spoilt });
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let bit = self.dice.hostile.index(bytes.len() * 8);
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }

    fn resize(&mut self, bytes: &mut Vec<u8>) {
        let by = self.dice.hostile.between(1, 200) as usize;
        if self.dice.hostile.coin() {
            let more = self.dice.hostile.bytes(by);
            bytes.extend(more);
        } else {
            bytes.truncate(bytes.len().saturating_sub(by).max(2));
        }
    }

    /// What a node answers about the directory; a hostile one lies to clients.
    pub(super) fn tells(&mut self, at: usize, to: Party, request: &Request) -> Option<Answer> {
        let mut answer = self.nodes[at].running.as_ref()?.directory.answer(request);
        let lies = self.faults.forgers && self.nodes[at].hostile && matches!(to, Party::Client(_));
        let Request::Snapshot { hash: None, have, from: 0 } = request else { return Some(answer) };
        if !lies {
            return Some(answer);
        }
        // To whoever knows a directory already it tells all news but one.
        if let (Some(_), Answer::Snapshot(page)) = (have, &mut answer)
            && page.changes.pop().is_some()
        {
            self.counts.withheld += 1;
            return Some(answer);
        }
        Some(self.forged_page())
    }

    /// A directory of hostile nodes alone, signed by all of them.
    fn forged_page(&mut self) -> Answer {
        self.counts.forged += 1;
        let period = TIMING.last(self.now);
        let members = Members::new(&self.network, self.members());
        let forgers = self.nodes.iter().filter(|node| node.hostile);
        let entries = forgers.clone().filter_map(|node| {
            let record = NodeRecord {
                node: node.id,
                time: TIMING.border(period).as_millis() - 1,
                height: 0,
                border: ByteArray::new([0; 32]),
                endpoints: vec![node.endpoint()],
                onion: node.open_door()?,
                version: "1".into(),
                door: None,
            };
            let signed = record.sign(&self.network, &node.pair);
            Some((node.id, Arc::new(Entry::new(record, signed))))
        });
        let snapshot = Snapshot::new(&self.network, period, entries.collect());
        let vote =
            Vote { period, hash: ByteArray::new(snapshot.hash()), members: ByteArray::new(members.id()) };
        let places: Vec<_> = members.nodes().collect();
        let mut signatures: Vec<_> = forgers
            .filter_map(|node| {
                let place = places.iter().position(|other| *other == node.id)?;
                Some((place as u16, vote.sign(&self.network, &node.pair).signature))
            })
            .collect();
        signatures.sort_by_key(|(place, _)| *place);
        Answer::Snapshot(snapshot.page(None, Some(&Certificate { signatures }), 0))
    }
}
