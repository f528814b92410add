//! Who may hold how much of this node's memory, with requests that are not whole yet and answers that
//! are not taken yet.
//!
//! Registered nodes and strangers have separate parts, so that no stranger can stand in the way of
//! replication; in each, one node or one prefix of strangers holds no more than it leaves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use libp2p::PeerId;
use session_protocols::{
    NodeId, Prefix,
    libp2p::{address::node_id, link::Backlog},
};

use crate::registry::Watched;

/// Bytes for all registered nodes.
pub(crate) const NODES: usize = 256 << 20;
/// Bytes for one of them.
pub(crate) const NODE: usize = 64 << 20;
/// Bytes for all strangers.
pub(crate) const STRANGERS: usize = 128 << 20;
/// Bytes for the strangers of one address prefix; in a local network for one stranger.
pub(crate) const STRANGER: usize = 16 << 20;

/// The memory that streams may hold. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    registry: Watched,
    nodes: Backlog,
    strangers: Backlog,
    parts: Arc<Mutex<Parts>>,
}

#[derive(Debug, Default)]
struct Parts {
    held: BTreeMap<Holder, Backlog>,
    /// How many there may be until those are looked for that nobody has any more.
    full: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Node(NodeId),
    Prefix(Prefix),
    Peer(PeerId),
}

impl Memory {
    pub(crate) fn new(registry: Watched) -> Self {
        Self {
            registry,
            nodes: Backlog::new(NODES),
            strangers: Backlog::new(STRANGERS),
            parts: Arc::default(),
        }
    }

    /// What a peer may hold; `prefix` is where it comes from, where that counts.
    pub(crate) fn of(&self, peer: PeerId, prefix: Option<Prefix>) -> Backlog {
        match node_id(&peer).filter(|node| self.registry.borrow().contains(node)) {
            Some(node) => self.part(Holder::Node(node), &self.nodes, NODE),
            None => {
                let holder = prefix.map_or(Holder::Peer(peer), Holder::Prefix);
                self.part(holder, &self.strangers, STRANGER)
            }
        }
    }

    fn part(&self, holder: Holder, of: &Backlog, most: usize) -> Backlog {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.held.get(&holder) {
            return part.clone();
        }
        if parts.held.len() >= parts.full {
            parts.held.retain(|_, part| part.is_shared());
            parts.full = (parts.held.len() * 2).max(64);
        }
        parts.held.entry(holder).or_insert_with(|| of.part(most)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn strangers_share_what_their_prefix_may_hold_and_nothing_with_nodes() {
        let nodes: Vec<_> =
            (0..3).map(|seed| session_protocols::KeyPair::from_seed(&[seed; 32]).node_id()).collect();
        let memory = Memory::new(Registry::of(nodes.iter().copied()));
        let prefix = |last| Some(Prefix::of(std::net::IpAddr::from([10, 0, last, 1])));
        let [one, same, other] =
            [prefix(1), prefix(1), prefix(2)].map(|prefix| memory.of(PeerId::random(), prefix));
        let node = memory.of(session_protocols::libp2p::address::peer_id(&nodes[0]).unwrap(), prefix(1));
        assert!(one.is(&same) && !one.is(&other) && !one.is(&node));
        assert!(memory.nodes.is_whole_of(&node) && memory.strangers.is_whole_of(&one));
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let memory = Memory::new(Registry::of([]));
        let kept = memory.of(PeerId::random(), None);
        for _ in 0..10_000 {
            memory.of(PeerId::random(), None);
        }
        assert!(memory.parts.lock().unwrap().held.len() <= 128);
        assert!(kept.is_shared(), "and who has not is kept");
    }
}
