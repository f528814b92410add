//! What a run promises, as code.
//!
//! - a receipt is durable: whatever a node signed for is there when it opens its store again
//! - an acknowledged message is readable after healing, an acknowledged deletion never is
//! - a member that applied a deletion never serves the message again, but for its owner's later
//!   signed store
//! - nothing is accepted, kept or served that nobody signed, or that belongs to another swarm
//! - a member serves only while it is caught up with a majority, and then it has everything that
//!   was acknowledged before
//! - an honest node acknowledges with a majority of receipts and not without
//! - a cursor never skips (see `readers`), members are equal after healing (see `finale`)
//!
//! The watcher sees the same bytes as nodes and clients do, and every change of every store.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{
    AccountId, MessageHash, Namespace, NodeId, SwarmMap, Time,
    answer::{Done, Message, Receipt},
    member::Output,
    record::{Life, Record, Stamp},
    ring::majority,
    store::Effect,
    swarm::{Ask, Replicated, SwarmAnswer},
};

use super::host::{About, Node, Step};

mod fate;
mod finale;

pub(super) use fate::{Change, Deletion, Fate, Stored};

/// A promise that was broken.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) check: &'static str,
    pub(super) detail: String,
}

/// Breaks off with a violation.
pub(super) fn broken<T>(check: &'static str, detail: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { check, detail: detail.into() })
}

/// By how many milliseconds ends are taken earlier or later, for clocks that disagree.
pub(super) const MARGIN: u64 = 15_000;

/// Watches everything.
#[derive(Debug)]
pub(super) struct Checks {
    map: SwarmMap,
    pub(super) fates: BTreeMap<MessageHash, Fate>,
    pub(super) drawers: BTreeMap<(AccountId, Namespace), Vec<MessageHash>>,
    watched: Vec<Watched>,
}

/// What is known of one node from outside.
#[derive(Debug, Default)]
struct Watched {
    /// Deletions that it has applied, durably.
    tombstones: BTreeMap<MessageHash, Stamp>,
    /// What it has signed for.
    promises: BTreeMap<(AccountId, MessageHash), Promise>,
    /// The comparison under way, and when it began.
    comparing: Option<(NodeId, Time)>,
    /// When the last comparison with each member in contact began.
    compared: BTreeMap<NodeId, Time>,
    /// A liar, or its disk was lost: a swarm with one promises less.
    unsound: bool,
}

#[derive(Clone, Copy, Debug)]
enum Promise {
    Keeps(u64),
    Deleted,
}

impl Checks {
    pub(super) fn new(map: SwarmMap, nodes: &[Node]) -> Self {
        let watch = |node: &Node| Watched { unsound: node.hostile, ..Watched::default() };
        let watched = nodes.iter().map(watch).collect();
        Self { map, fates: BTreeMap::new(), drawers: BTreeMap::new(), watched }
    }

    /// Whether every member of a node's swarm is honest and has kept its disk.
    pub(super) fn sound(&self, node: usize, host: &Node) -> bool {
        let fellows = host.fellows.iter().chain([&node]);
        fellows.into_iter().all(|member| !self.watched[*member].unsound)
    }

    pub(super) fn unsound(&self, node: usize) -> bool {
        self.watched[node].unsound
    }

    /// A node's batch is durable.
    pub(super) fn committed(
        &mut self,
        node: usize,
        host: &Node,
        now: Time,
        effects: &[Effect],
    ) -> Result<(), Violation> {
        for effect in effects {
            let Effect { account, hash, before, after } = effect;
            if self.map.swarm_of(account) != Some(host.swarm) {
                return broken(
                    "nothing is stored outside its swarm",
                    format!("node {node} stored {hash} of {account}"),
                );
            }
            if host.hostile {
                continue;
            }
            let local = host.clock(now).as_millis();
            let fate = self.fates.get(hash);
            let ended = fate.is_some_and(|fate| fate.changes.iter().any(|change| change.expiry <= local));
            if let (Some(before), None) = (before, after)
                && before.until() > local
                && !ended
            {
                let detail = format!(
                    "node {node} forgot {hash}, which ends in {} ms: {before:?}",
                    before.until() - local
                );
                return broken("nothing is forgotten before its end", detail);
            }
            if let (Some(before), Some(after)) = (before, after)
                && before.life.is_some()
                && after.life.is_none()
                && before.expiry().is_none_or(|end| end > local)
            {
                let detail = format!("node {node} shed {hash}: {before:?}");
                return broken("no message goes before its end", detail);
            }
            if let Some(after) = after {
                let known = fate.is_some_and(|fate| fate.explains(after));
                if !known {
                    return broken(
                        "nothing forged is accepted",
                        format!("node {node} took {hash}: {after:?}"),
                    );
                }
            }
            let tombstones = &mut self.watched[node].tombstones;
            match (tombstone(before.as_ref()), after.and_then(|after| after.life)) {
                (_, Some(Life::Deleted { stamp, .. })) => {
                    tombstones.insert(*hash, stamp);
                }
                (Some(deleted), Some(life)) if before.is_some_and(|before| before.until() > local) => {
                    let revived = matches!(life, Life::Stored { stamp, .. } if stamp > deleted);
                    if !revived {
                        let detail = format!("node {node} had deleted {hash} and holds {life:?}");
                        return broken("nothing deleted comes back", detail);
                    }
                    tombstones.remove(hash);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// One step of a batch that is durable.
    pub(super) fn step(&mut self, node: usize, now: Time, step: &Step) -> Result<(), Violation> {
        let watched = &mut self.watched[node];
        match step {
            Step::Gone(peer) => {
                watched.compared.remove(peer);
                watched.comparing.take_if(|(with, _)| with == peer);
            }
            Step::Said(Output::Send { to, request, .. }) if request.ask == Ask::Fingerprints => {
                watched.comparing = Some((*to, now));
            }
            Step::Said(Output::Reconciled { with, .. }) => {
                if let Some((_, began)) = watched.comparing.take().filter(|(peer, _)| peer == with) {
                    watched.compared.insert(*with, began);
                }
            }
            Step::Said(Output::Damaged(why)) => {
                return broken("a store reads what it wrote", format!("node {node}: {why}"));
            }
            Step::Said(_) => {}
        }
        Ok(())
    }

    /// Since when a node is caught up with a majority of its swarm, itself included.
    fn caught_up_since(&self, node: usize, host: &Node) -> Option<Time> {
        let others = majority(host.fellows.len() + 1) - 1;
        let mut since: Vec<_> = self.watched[node].compared.values().copied().collect();
        since.sort_unstable_by(|a, b| b.cmp(a));
        match others {
            0 => Some(Time::ZERO),
            _ => since.get(others - 1).copied(),
        }
    }

    /// Whether a node says that it is ready without being so.
    pub(super) fn ready(&self, node: usize, host: &Node) -> Result<(), Violation> {
        let says = host.member.as_ref().is_some_and(session_protocols::member::Member::ready);
        if says && self.caught_up_since(node, host).is_none() {
            let compared = self.watched[node].compared.len();
            let detail =
                format!("node {node} is ready, and compared with {compared} of {}", host.fellows.len());
            return broken("a member is ready only when caught up with a majority", detail);
        }
        Ok(())
    }

    /// A node serves messages.
    pub(super) fn served(
        &self,
        node: usize,
        host: &Node,
        drawer: (AccountId, Namespace),
        messages: &[Message],
    ) -> Result<(), Violation> {
        if host.hostile {
            return Ok(());
        }
        for message in messages {
            let hash = MessageHash::of(&drawer.0, drawer.1, &message.data);
            let fate =
                self.fates.get(&message.hash).filter(|fate| fate.drawer == drawer && hash == message.hash);
            let Some(fate) = fate else {
                return broken("nothing forged is readable", format!("node {node} serves {}", message.hash));
            };
            if !fate.expiries().any(|expiry| expiry == message.expiry) {
                let detail = format!("node {node} serves {} until {}", message.hash, message.expiry);
                return broken("a message ends when somebody said so", detail);
            }
            if let Some(deleted) = self.watched[node].tombstones.get(&message.hash)
                && !fate.stores.iter().any(|store| store.stamp.is_some_and(|stamp| stamp > *deleted))
            {
                let detail = format!("node {node} deleted {} and serves it", message.hash);
                return broken("nothing deleted comes back", detail);
            }
        }
        Ok(())
    }

    /// A node answers a read: it must have what was acknowledged before it caught up.
    pub(super) fn read(
        &self,
        node: usize,
        host: &Node,
        now: Time,
        drawer: (AccountId, Namespace),
    ) -> Result<(), Violation> {
        if host.hostile {
            return Ok(());
        }
        let Some(since) = self.caught_up_since(node, host) else {
            return broken(
                "a member serves only when caught up with a majority",
                format!("node {node} serves"),
            );
        };
        let Some(store) = host.disk.store().filter(|_| self.sound(node, host)) else { return Ok(()) };
        let local = host.clock(now);
        for hash in self.drawers.get(&drawer).into_iter().flatten() {
            let Some(fate) = self.fates.get(hash) else { continue };
            if !fate.changes.is_empty() || !fate.kept_since(since, local.as_millis() + MARGIN) {
                continue;
            }
            let record = store.record(&drawer.0, hash).ok().flatten();
            if !record.is_some_and(|record| record.readable(local)) {
                let detail = format!(
                    "node {node}, caught up since {since}, lacks {hash} at {now}: {record:?}, {:?}",
                    fate.stores
                );
                return broken("a ready member has what was acknowledged before it caught up", detail);
            }
        }
        Ok(())
    }

    /// A node has signed for what another passed on.
    pub(super) fn promised(&mut self, node: usize, about: &[About], answer: &SwarmAnswer) {
        let SwarmAnswer::Replicated { results } = answer else { return };
        for (about, result) in about.iter().zip(results) {
            if let Replicated::Done { done, .. } = result {
                self.promise(node, about, done);
            }
        }
    }

    /// A node has signed for what a client asked: its own receipt is among these.
    pub(super) fn promised_client(&mut self, node: usize, id: NodeId, about: &About, receipts: &[Receipt]) {
        for receipt in receipts.iter().filter(|receipt| receipt.node == id) {
            self.promise(node, about, &receipt.done);
        }
    }

    fn promise(&mut self, node: usize, about: &About, done: &Done) {
        let promises = &mut self.watched[node].promises;
        match (about, done) {
            (About::Store(account, hash), Done::Keeps { expiry }) => {
                promises.insert((*account, *hash), Promise::Keeps(*expiry));
            }
            (About::Delete(account), Done::Changed { hashes }) => {
                promises.extend(hashes.iter().map(|hash| ((*account, *hash), Promise::Deleted)));
            }
            (About::Store(..) | About::Delete(_) | About::Expire, _) => {}
        }
    }

    /// A node has opened its store again: what it signed for must be there.
    pub(super) fn reopened(&mut self, node: usize, host: &Node, now: Time) -> Result<(), Violation> {
        let watched = &self.watched[node];
        let Some(store) = host.disk.store().filter(|_| !host.hostile) else { return Ok(()) };
        let local = host.clock(now).as_millis();
        let mut over = BTreeSet::new();
        for ((account, hash), promise) in &watched.promises {
            let record = store.record(account, hash).ok().flatten();
            // Its owner may have ended it since, or stored it again for a shorter time.
            let over_early = self.fates.get(hash).is_some_and(|fate| fate.may_end(local + MARGIN));
            let held = match promise {
                Promise::Keeps(until) => {
                    let ended = *until <= local || over_early;
                    if ended {
                        over.insert((*account, *hash));
                    }
                    ended || record.is_some_and(|record| record.life.is_some())
                }
                Promise::Deleted => {
                    let restored = |record: Record| matches!(record.life, Some(Life::Stored { .. }));
                    over_early || record.is_some_and(|record| record.deleted() || restored(record))
                }
            };
            if !held {
                let detail = format!("node {node} signed {promise:?} for {hash} and finds {record:?}");
                return broken("a receipt is durable", detail);
            }
        }
        self.watched[node].promises.retain(|key, _| !over.contains(key));
        Ok(())
    }

    /// A node's machine is gone.
    pub(super) fn stopped(&mut self, node: usize) {
        self.watched[node].comparing = None;
        self.watched[node].compared.clear();
    }

    /// A node's disk is replaced by an empty one.
    pub(super) fn lost_disk(&mut self, node: usize) {
        self.watched[node] = Watched { unsound: true, ..Watched::default() };
    }
}

fn tombstone(record: Option<&Record>) -> Option<Stamp> {
    match record?.life? {
        Life::Deleted { stamp, .. } => Some(stamp),
        Life::Unsigned { .. } | Life::Stored { .. } => None,
    }
}
