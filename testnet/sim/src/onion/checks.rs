//! What onion paths promise, as code.
//!
//! - no hop learns both ends: who sees the client sees neither the destination nor the account nor a
//!   word of the request, and who sees one of these does not see the client
//! - what goes into a hop and what comes out have nothing in common, and the length of their position
//! - a changed packet is refused by the next honest hop, and a changed answer is no answer to the client
//! - of what cannot be opened nobody learns why, and an onion key is destroyed when its time is over
//! - an honest node takes nothing twice, across its restarts too
//! - an honest node sends on to registered nodes alone, and lets nobody else into the inside of a path
//! - a path serves one use and ends after ten minutes; all on it differ in node, operator and prefix
//! - a session serves the neighbour that made it, and one use; at a destination that is one account's reads
//! - nobody has more than its share of a hop, whatever it calls itself, and a hop forgets sessions
//! - nothing but tests goes through a guard that has answered none; a second try comes after
//!   a pause that nobody can foresee; a guard is passed over while it is busy, and kept; one that serves tests
//!   alone is replaced, and no other
//! - a refusal is laid at a link of whoever made it, and nobody is left out on one operator's word
//! - a client believes no directory that too few honest nodes have signed, uses none that is older than a
//!   day, and shows itself to few guards
//! - tables are bounded, every request ends, and after healing it is answered
//!
//! The watcher knows what nobody in the network does: which packet is whose. It is told beside the bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_chacha::ChaCha8Rng;
use session_protocols::{
    NodeId, Span, Time,
    directory::Vote,
    identity::blake2b,
    onion::{
        keys::{ACCEPTED, DAY},
        relay::{MAX_UNDER_WAY, Refusal, Step, patience},
        session::{self, MAX_SESSIONS},
        shares::{NODE_PART, STRANGER_PART},
        size::{Bucket, Position, answer_len, packet_len, packet_shape},
    },
    path::{Candidate, HOPS, LIFETIME, PathId, Paths, Use, guards::MAX_GUARDS},
};

use guarding::Guarding;

use super::{
    node::{Node, Running},
    world::{Party, Word},
};
use crate::checks::{Violation, broken};

mod guarding;

/// How long a refusal counts against both ends of its link.
const COUNTS: Span = Span::secs(600);
/// The first byte of a packet that comes by a session; the session's name follows.
const BY_SESSION: u8 = 0x12;

/// Watches everything.
#[derive(Debug)]
pub(super) struct Checks {
    packets: BTreeMap<u64, Truth>,
    /// What each node has opened, by its digest.
    taken: Vec<BTreeSet<[u8; 32]>>,
    /// What is known of each node's sessions, by their names.
    sessions: BTreeMap<(usize, [u8; 8]), Session>,
    /// When each node was greeted lately, and in which of its lives.
    greeted: Vec<(u32, VecDeque<Time>)>,
    /// Which honest nodes have signed which directory.
    votes: BTreeMap<[u8; 32], BTreeSet<usize>>,
    honest: Vec<bool>,
    ids: Vec<NodeId>,
    uses: BTreeMap<(usize, PathId), Use>,
    /// Whom each client has spoken to over a path.
    guards: Vec<BTreeSet<NodeId>>,
    /// The refusals that each client was told.
    refusals: Vec<Vec<(Time, NodeId, NodeId)>>,
    pub(super) guarding: Guarding,
}

/// Who made a session, and what its packets are for.
#[derive(Clone, Copy, Debug)]
struct Session {
    maker: Party,
    /// None while there were only tests.
    usage: Option<Use>,
}

/// What a packet is, which nobody on its way knows.
#[derive(Debug)]
pub(super) struct Truth {
    /// Guard, middle, last hop and destination.
    chain: [NodeId; HOPS + 1],
    /// None of a test, and of a rogue's.
    usage: Option<Use>,
    bucket: Bucket,
    answer: Bucket,
    /// What only the destination may read.
    secrets: Vec<Vec<u8>>,
    /// Hostile hops that changed it, refused it or dropped it.
    meddlers: Vec<NodeId>,
    /// It was lost, late, or came to a node that was down.
    trouble: bool,
}

impl Truth {
    pub(super) const fn new(
        chain: [NodeId; HOPS + 1],
        usage: Option<Use>,
        [bucket, answer]: [Bucket; 2],
        secrets: Vec<Vec<u8>>,
    ) -> Self {
        Self { chain, usage, bucket, answer, secrets, meddlers: Vec::new(), trouble: false }
    }

    /// Who opens it at a node.
    fn position(&self, node: &NodeId) -> Option<Position> {
        let place = self.chain.iter().position(|hop| hop == node)?;
        Position::ALL.iter().rev().nth(place).copied()
    }

    /// Who brings it to a node; none where that is the client.
    fn before(&self, node: &NodeId) -> Option<&NodeId> {
        let place = self.chain.iter().position(|hop| hop == node)?;
        self.chain.get(place.checked_sub(1)?)
    }
}

impl Checks {
    pub(super) fn new(nodes: &[Node], clients: usize) -> Self {
        Self {
            packets: BTreeMap::new(),
            taken: vec![BTreeSet::new(); nodes.len()],
            sessions: BTreeMap::new(),
            greeted: vec![(0, VecDeque::new()); nodes.len()],
            votes: BTreeMap::new(),
            honest: nodes.iter().map(|node| !node.hostile).collect(),
            ids: nodes.iter().map(|node| node.id).collect(),
            uses: BTreeMap::new(),
            guards: vec![BTreeSet::new(); clients],
            refusals: vec![Vec::new(); clients],
            guarding: Guarding::default(),
        }
    }

    /// A packet was sealed.
    pub(super) fn sealed(&mut self, packet: u64, truth: Truth) {
        self.packets.insert(packet, truth);
    }

    /// Something came in a packet's way that leaves no trace of whose fault it is.
    pub(super) fn trouble(&mut self, packet: u64) {
        if let Some(truth) = self.packets.get_mut(&packet) {
            truth.trouble = true;
        }
    }

    /// A hostile hop changed or dropped a packet or its answer, or said something false about it.
    pub(super) fn meddled(&mut self, packet: u64, at: usize) {
        if let Some(truth) = self.packets.get_mut(&packet) {
            truth.meddlers.push(self.ids[at]);
        }
    }

    /// Whom a packet goes to from a node; none for tests.
    pub(super) fn next_hop(&self, packet: u64, node: &NodeId) -> Option<NodeId> {
        let truth = self.packets.get(&packet).filter(|truth| truth.usage.is_some())?;
        let place = truth.chain.iter().position(|hop| hop == node)?;
        truth.chain.get(place + 1).copied()
    }

    /// A node's directory signs.
    pub(super) fn voted(&mut self, at: usize, vote: &Vote) {
        if self.honest[at] {
            self.votes.entry(*vote.hash).or_default().insert(at);
        }
    }

    /// What a node has is bounded, and shared.
    pub(super) fn bounded(&mut self, at: usize, node: &Node, now: Time) -> Result<(), Violation> {
        let Some(Running { relay, pending, .. }) = &node.running else { return Ok(()) };
        let on_disk = node.disk.as_ref().map(|(keys, _)| keys);
        for (key, _) in [Some(relay.keys()), on_disk].into_iter().flatten().flat_map(|keys| &keys.previous) {
            let end = key.since.after(DAY).after(ACCEPTED);
            if now > end {
                let detail = format!("node {at}: one of {} ms ago", now.since(key.since).as_millis());
                return broken("an onion key is destroyed when its time is over", detail);
            }
        }
        let (sessions, under_way, waiting) = (relay.sessions(), relay.under_way(), pending.len());
        if sessions > MAX_SESSIONS || under_way > MAX_UNDER_WAY || waiting > under_way {
            let detail = format!("node {at}: {sessions} sessions, {under_way} and {waiting} under way");
            return broken("a hop's tables are bounded", detail);
        }
        let mut shares: BTreeMap<Party, usize> = BTreeMap::new();
        for pending in pending.values() {
            let from = if self.is_rogue(pending.way_back.to) { self.rogue() } else { pending.way_back.to };
            *shares.entry(from).or_default() += 1;
        }
        let part = |from: Party| if matches!(from, Party::Node(_)) { NODE_PART } else { STRANGER_PART };
        if let Some((from, held)) =
            shares.iter().find(|(from, held)| **held > MAX_UNDER_WAY / 2 / part(**from))
        {
            let detail = format!("node {at}: {held} packets of {from:?} are under way");
            return broken("nobody has more than a share of a hop", detail);
        }
        // A session begins when the answer to a greeting leaves.
        let longest = Span(session::LIFETIME.0 + patience(Position::Guard).0);
        let greeted = self.greeted(at, node.life);
        greeted.retain(|at| now <= at.after(longest));
        if !node.hostile && sessions > greeted.len() {
            let detail = format!("node {at}: {sessions} sessions of {} greetings", greeted.len());
            return broken("a hop forgets sessions", detail);
        }
        Ok(())
    }

    /// When a node was greeted in this life.
    fn greeted(&mut self, at: usize, life: u32) -> &mut VecDeque<Time> {
        let (of, greeted) = &mut self.greeted[at];
        if std::mem::replace(of, life) != life {
            greeted.clear();
        }
        greeted
    }

    /// All rogues are at one address, and count as one.
    const fn rogue(&self) -> Party {
        Party::Client(self.guards.len())
    }

    fn is_rogue(&self, party: Party) -> bool {
        matches!(party, Party::Client(_)) && party >= self.rogue()
    }

    /// A node has looked at a packet.
    pub(super) fn peeled(
        &mut self,
        at: usize,
        node: &Node,
        word: &Word,
        bytes: &[u8],
        step: &Result<Step, Refusal>,
        now: Time,
    ) -> Result<(), Violation> {
        let rogue = self.is_rogue(word.from);
        let Some(truth) = self.packets.get_mut(&word.packet) else { return Ok(()) };
        if step.is_err() && !word.spoilt {
            // A session that is gone, or a replay: nobody here is to blame.
            truth.trouble = true;
        }
        let entered = packet_shape(bytes.len()).map(|(_, position)| position == Position::Guard);
        let misplaced = entered == Some(matches!(word.from, Party::Node(_)));
        if !node.hostile && matches!(step, Err(Refusal::Unknown)) && !misplaced {
            let detail = format!("node {at}, packet {} from {:?}", word.packet, word.from);
            return broken("whatever cannot be opened is refused with one code", detail);
        }
        if !rogue {
            learns_one_end(at, node, word, bytes, step, truth)?;
        }
        let Ok(step) = step else { return Ok(()) };
        if node.hostile {
            return Ok(());
        }
        let detail = || format!("node {at}, packet {} from {:?}: {step:?}", word.packet, word.from);
        if word.spoilt {
            return broken("a changed packet is refused by the next honest hop", detail());
        }
        if !self.taken[at].insert(blake2b(&[bytes])) {
            return broken("nothing is taken twice", detail());
        }
        let Some(position) = truth.position(&node.id) else {
            return broken("only whom a packet is for opens it", detail());
        };
        if bytes.len() != packet_len(truth.bucket, position) {
            return broken("a packet has the length of its position", detail());
        }
        if matches!(word.from, Party::Node(_)) == (position == Position::Guard) {
            return broken("only nodes stand inside a path, and only others enter one", detail());
        }
        let (usage, bucket) = (truth.usage, truth.bucket);
        if bytes.first() == Some(&BY_SESSION) {
            let before = truth.before(&node.id);
            let place = self.ids.iter().position(|id| Some(id) == before);
            let maker = place.map_or(word.from, Party::Node);
            self.joins((at, position), word, bytes, Session { maker, usage })?;
        } else {
            self.greeted(at, node.life).push_back(now);
        }
        let Step::Forward { packet, .. } = step else { return Ok(()) };
        let next = position.next().map_or(0, |next| packet_len(bucket, next));
        if packet.len() != next {
            return broken(
                "a packet has the length of its position",
                format!("{}, {}", packet.len(), detail()),
            );
        }
        if share_a_run(bytes, packet) {
            return broken("nothing is equal on both sides of a hop", detail());
        }
        Ok(())
    }

    /// A node took a packet that came by a session, and so knows that it belongs to others.
    fn joins(
        &mut self,
        (at, position): (usize, Position),
        word: &Word,
        bytes: &[u8],
        now: Session,
    ) -> Result<(), Violation> {
        let name = bytes.get(1..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        let known = self.sessions.entry((at, name)).or_insert(now);
        let detail = format!("node {at}, packet {} from {:?}: {now:?} in {known:?}", word.packet, word.from);
        if known.maker != word.from {
            return broken("a session serves the neighbour that made it", detail);
        }
        if position == Position::Destination && !matches!(now.usage, Some(Use::Read(_))) {
            return broken("a destination's session is for one account's reads", detail);
        }
        known.usage = known.usage.or(now.usage);
        if now.usage.is_some() && known.usage != now.usage {
            return broken("a session serves one use", detail);
        }
        Ok(())
    }

    /// A node sends a packet on.
    pub(super) fn forwards(&self, at: usize, to: &NodeId, known: bool) -> Result<(), Violation> {
        if self.honest[at] && !known {
            return broken("packets go to registered nodes alone", format!("node {at} to {to}"));
        }
        Ok(())
    }

    /// A hop answers with what the next one answered, if it did.
    pub(super) fn answer_to(
        &self,
        at: usize,
        node: &Node,
        packet: u64,
        near: &[u8],
        far: Option<&[u8]>,
    ) -> Result<(), Violation> {
        let Some(truth) = self.packets.get(&packet).filter(|_| !node.hostile) else { return Ok(()) };
        let Some(position) = truth.position(&node.id) else { return Ok(()) };
        let detail = || format!("node {at}, packet {packet}: {} bytes", near.len());
        if near.len() != 1 && near.len() != answer_len(truth.answer, position) {
            return broken("an answer has the length of its position", detail());
        }
        if far.is_some_and(|far| share_a_run(near, far)) {
            return broken("nothing is equal on both sides of a hop", detail());
        }
        Ok(())
    }

    /// A client sends a packet over a path.
    pub(super) fn sends(
        &mut self,
        client: usize,
        (path, hops): (PathId, [NodeId; HOPS]),
        usage: Option<Use>,
        to: NodeId,
        ledger: &BTreeMap<NodeId, Candidate>,
    ) -> Result<(), Violation> {
        let all: Vec<_> = hops.iter().chain([&to]).collect();
        for (place, one) in all.iter().enumerate() {
            for other in &all[place + 1..] {
                let (a, b) = (&ledger[*one], &ledger[*other]);
                if one == other || a.operator == b.operator || a.prefix == b.prefix {
                    let detail = format!("client {client}: {one} and {other} on one path");
                    return broken("all on a path differ in node, operator and prefix", detail);
                }
            }
        }
        // A test is nobody's.
        if let Some(usage) = usage {
            let first = *self.uses.entry((client, path)).or_insert(usage);
            if first != usage {
                let detail = format!("client {client}, {path:?}: {first:?} and {usage:?}");
                return broken("a path serves one use", detail);
            }
        }
        self.guarding.sends(client, path, hops[0], usage.is_none())?;
        self.guards[client].insert(hops[0]);
        let guards = self.guards[client].len();
        if guards > MAX_GUARDS {
            return broken("a client shows itself to few guards", format!("client {client}: {guards}"));
        }
        Ok(())
    }

    /// The most guards that a client has spoken to.
    pub(super) fn most_guards(&self) -> u64 {
        self.guards.iter().map(BTreeSet::len).max().unwrap_or_default() as u64
    }

    /// An answer opened well.
    pub(super) fn accepts(&self, client: usize, word: &Word) -> Result<(), Violation> {
        if word.spoilt {
            let detail = format!("client {client}, packet {}", word.packet);
            return broken("a changed answer is no answer", detail);
        }
        Ok(())
    }

    /// A client is told that a packet did not get from one to the other.
    pub(super) fn stopped(
        &mut self,
        client: usize,
        now: Time,
        packet: u64,
        link: [NodeId; 2],
    ) -> Result<(), Violation> {
        let [one, other] = link;
        self.refusals[client].push((now, one, other));
        let Some(truth) = self.packets.get(&packet) else { return Ok(()) };
        if !truth.trouble && !truth.meddlers.iter().any(|node| link.contains(node)) {
            let detail = format!("client {client}, packet {packet}: {link:?} in {truth:?}");
            return broken("a refusal is laid at a link of whoever made it", detail);
        }
        Ok(())
    }

    /// A client's machine is as its rules want it.
    pub(super) fn machine(
        &mut self,
        client: usize,
        now: Time,
        paths: &Paths<ChaCha8Rng>,
        ledger: &BTreeMap<NodeId, Candidate>,
    ) -> Result<(), Violation> {
        self.refusals[client].retain(|(at, ..)| now < at.after(COUNTS));
        for node in paths.left_out() {
            let links = self.refusals[client].iter().filter(|(_, one, other)| one == node || other == node);
            let others = links.map(|(_, one, other)| ledger[if one == node { other } else { one }].operator);
            let operators: BTreeSet<_> = others.collect();
            if operators.len() < 2 {
                let detail = format!("client {client} leaves out {node} for {} operators", operators.len());
                return broken("nobody is left out on one operator's word", detail);
            }
        }
        self.guarding.guards(client, paths.guards().all())?;
        if let Some(old) = paths.paths().find(|path| now > path.made.after(LIFETIME)) {
            return broken("a path ends after ten minutes", format!("client {client}: {old:?}"));
        }
        Ok(())
    }

    /// A client believes a directory.
    pub(super) fn believes(&self, client: usize, hash: &[u8; 32]) -> Result<(), Violation> {
        let honest = self.honest.iter().filter(|honest| **honest).count();
        let signed = self.votes.get(hash).map_or(0, BTreeSet::len);
        // More than two thirds of all, less all that may lie.
        let needed = self.honest.len() * 2 / 3 + 1 - (self.honest.len() - honest);
        if signed < needed {
            let detail = format!("client {client}: {signed} of {honest} honest nodes signed it");
            return broken("no directory is believed that too few honest nodes signed", detail);
        }
        Ok(())
    }
}

/// Whoever sees the client must see nothing of the other end, and the other way round.
fn learns_one_end(
    at: usize,
    node: &Node,
    word: &Word,
    bytes: &[u8],
    step: &Result<Step, Refusal>,
    truth: &Truth,
) -> Result<(), Violation> {
    let [.., last, destination] = &truth.chain;
    let sees_client = matches!(word.from, Party::Client(_));
    let (plain, request): (&[u8], bool) = match step {
        Ok(Step::Forward { packet, .. }) => (packet, false),
        Ok(Step::Deliver { request, .. }) => (request, true),
        Ok(Step::Turn { .. }) | Err(_) => (&[], false),
    };
    let to = match step {
        Ok(Step::Forward { to, .. }) => Some(to),
        Ok(Step::Deliver { .. } | Step::Turn { .. }) | Err(_) => None,
    };
    let reads = |secret: &[u8]| contains(bytes, secret) || contains(plain, secret);
    let secret = truth.secrets.iter().any(|secret| reads(secret));
    let names = [last, destination].into_iter().any(|hop| *hop != node.id && reads(hop.as_bytes()));
    let end = request || secret || names || to == Some(destination);
    if (sees_client && end) || (!request && secret) {
        let detail = format!("node {at}, packet {}: from {:?} to {to:?}, {step:?}", word.packet, word.from);
        return broken("no hop learns both ends", detail);
    }
    Ok(())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Whether a run of 16 bytes stands in both: every such run of one holds a block of eight that begins at a
/// multiple of eight.
fn share_a_run(one: &[u8], other: &[u8]) -> bool {
    const BLOCK: usize = 8;
    let number = |block: &[u8]| block.first_chunk().map_or(0, |block| u64::from_be_bytes(*block));
    let place = |number: u64| (number % (1 << 16)) as usize;
    // Most blocks are told from all others by a part of them.
    let mut some = vec![false; 1 << 16];
    let mut blocks: Vec<_> = one.chunks_exact(BLOCK).map(number).collect();
    blocks.sort_unstable();
    blocks.iter().for_each(|block| some[place(*block)] = true);
    other.windows(BLOCK).map(number).any(|block| some[place(block)] && blocks.binary_search(&block).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_wherever_it_stands() {
        let mut dice = crate::dice::Dice::new(1, "runs");
        for at in 0..40 {
            let (one, mut other) = (dice.bytes(400), dice.bytes(300));
            assert!(!share_a_run(&one, &other));
            other[100..116].copy_from_slice(&one[at..at + 16]);
            assert!(share_a_run(&one, &other) && share_a_run(&other, &one), "{at}");
        }
    }
}
