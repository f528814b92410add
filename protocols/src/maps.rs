//! The maps that a node knows: the one that acts, the one before it and the one after it.
//!
//! While a swarm changes its members have duties under more than one map. What they are follows from
//! the maps alone, and stands here: whom a node listens to, what it keeps, and what it must have
//! pulled, and from whom, before it serves under a map ([`Goal`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AccountId, NodeId, SwarmMap,
    ring::{Arc, majority, position},
};

/// The maps that a node knows. Their versions grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    /// The map that acted until the last border of an epoch, if that border changed it. So a change is
    /// over at the next border, and who has not caught up with the owners before it by then never will.
    pub past: Option<SwarmMap>,
    /// The map that acts.
    pub acts: SwarmMap,
    /// The map that acts from the next border on, if that changes it.
    pub next: Option<SwarmMap>,
    /// Nodes of the network that none of these names: they may still have something to hand over.
    pub leaving: BTreeSet<NodeId>,
}

impl From<SwarmMap> for Maps {
    fn from(acts: SwarmMap) -> Self {
        Self { past: None, acts, next: None, leaving: BTreeSet::new() }
    }
}

impl Maps {
    /// All of them, the oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &SwarmMap> {
        self.past.iter().chain([&self.acts]).chain(&self.next)
    }

    /// The one with this version.
    pub fn named(&self, version: u64) -> Option<&SwarmMap> {
        self.all().find(|map| map.version == version)
    }

    /// All nodes that any of them names, or that are leaving.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let named = self.all().flat_map(|map| map.swarms.values().flatten());
        named.chain(&self.leaving).copied().collect()
    }

    /// The version of the newest.
    pub fn newest(&self) -> u64 {
        self.next.as_ref().map_or(self.acts.version, |next| next.version)
    }

    /// The nodes whose territory under any of them meets one of `me`'s, with the territory for each
    /// version: whom `me` has to do with. It is among them itself.
    pub fn kin(&self, me: &NodeId) -> BTreeMap<NodeId, BTreeMap<u64, Arc>> {
        let mine = self.arcs(me);
        let mut kin = BTreeMap::<NodeId, BTreeMap<u64, Arc>>::new();
        for map in self.all() {
            for (swarm, members) in &map.swarms {
                let Some(arc) = map.territory(*swarm) else { continue };
                if mine.values().any(|own| own.part(arc).is_some()) {
                    for member in members {
                        kin.entry(*member).or_default().insert(map.version, arc);
                    }
                }
            }
        }
        kin
    }

    /// A node's territory by each version under which it has one.
    pub fn arcs(&self, node: &NodeId) -> BTreeMap<u64, Arc> {
        let arc = |map: &SwarmMap| Some((map.version, map.territory(map.swarm_with(node)?)?));
        self.all().filter_map(arc).collect()
    }

    /// What `me` must reach to serve under the map that acts and under the next one.
    pub fn goals(&self, me: &NodeId) -> Vec<Goal> {
        let acts = Goal::new(me, &self.acts, self.past.as_ref());
        let next = self.next.as_ref().and_then(|next| Goal::new(me, next, Some(&self.acts)));
        acts.into_iter().chain(next).collect()
    }

    /// Who must make a write to `account` durable: a majority of each of these. The first are those by
    /// the map that acts.
    pub fn quorums(&self, account: &AccountId) -> Vec<Quorum> {
        let quorum = |map: &SwarmMap| Quorum::of(map.members_of(account).to_vec());
        let acts = quorum(&self.acts);
        let next = self.next.as_ref().map(quorum).filter(|next| next.members != acts.members);
        let next = next.filter(|_| !crate::mutants::on("change-old-majority"));
        [acts].into_iter().chain(next).collect()
    }
}

/// Some nodes, and how many of them are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// The nodes.
    pub members: Vec<NodeId>,
    /// How many.
    pub needed: usize,
}

impl Quorum {
    /// A majority of `members`.
    pub const fn of(members: Vec<NodeId>) -> Self {
        let needed = majority(members.len());
        Self { members, needed }
    }
}

/// What a node must reach to serve under one map: a majority of everybody who kept its accounts under
/// the map before, and then of its fellows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The version of the map.
    pub version: u64,
    /// The node's territory under it.
    pub arc: Arc,
    /// Its swarm, itself included.
    pub swarm: Quorum,
    /// The version of the map before, under which the sources must have been whole.
    pub before: u64,
    /// The swarms that kept a part of the territory under the map before, each with that part.
    pub sources: Vec<(Arc, Quorum)>,
}

impl Goal {
    fn new(me: &NodeId, map: &SwarmMap, before: Option<&SwarmMap>) -> Option<Self> {
        let swarm = map.swarm_with(me)?;
        let arc = map.territory(swarm)?;
        let before = before.filter(|_| !crate::mutants::on("ready-before-pull"));
        let source = |(swarm, members): (&_, &Vec<NodeId>)| {
            let part = arc.part(before?.territory(*swarm)?)?;
            Some((part, Quorum::of(members.clone())))
        };
        let sources = before.into_iter().flat_map(|before| &before.swarms).filter_map(source).collect();
        let swarm = Quorum::of(map.members(swarm).to_vec());
        Some(Self { version: map.version, arc, swarm, before: before.map_or(0, |map| map.version), sources })
    }

    /// Whom to compare with to reach it, and on which part of the ring.
    pub fn partners(&self, me: &NodeId) -> BTreeMap<NodeId, Arc> {
        let sources =
            self.sources.iter().flat_map(|(part, quorum)| quorum.members.iter().map(|one| (*one, *part)));
        let fellows = self.swarm.members.iter().map(|one| (*one, self.arc));
        sources.chain(fellows).filter(|(one, _)| one != me).collect()
    }
}

/// What the maps mean for one node, ready for use with each message.
#[derive(Clone, Debug)]
pub(crate) struct Outlook {
    me: NodeId,
    maps: Maps,
    mine: BTreeMap<u64, Arc>,
    kin: BTreeMap<NodeId, BTreeMap<u64, Arc>>,
    nodes: BTreeSet<NodeId>,
}

impl Outlook {
    pub(crate) fn new(me: NodeId, maps: Maps) -> Self {
        let (mine, kin, nodes) = (maps.arcs(&me), maps.kin(&me), maps.nodes());
        Self { me, maps, mine, kin, nodes }
    }

    pub(crate) const fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Whom this node has to do with, itself left out.
    pub(crate) fn kin(&self) -> impl Iterator<Item = NodeId> {
        self.kin.keys().copied().filter(|node| *node != self.me)
    }

    /// Its territory under one map.
    pub(crate) fn arc_in(&self, version: u64) -> Option<Arc> {
        self.mine.get(&version).copied()
    }

    /// Another node's territory under one map, if the two have to do with each other.
    pub(crate) fn arc_of(&self, node: &NodeId, version: u64) -> Option<Arc> {
        self.kin.get(node).filter(|_| *node != self.me)?.get(&version).copied()
    }

    /// Whether another node has or had a part in the network.
    pub(crate) fn knows(&self, node: &NodeId) -> bool {
        *node != self.me && self.nodes.contains(node)
    }

    /// Whether this node keeps an account under a map of at least this version.
    pub(crate) fn keeps(&self, account: &AccountId, since: u64) -> bool {
        let place = position(account);
        self.mine.range(since..).any(|(_, arc)| arc.contains(place))
    }

    /// Whether this node keeps the same accounts under all maps.
    pub(crate) fn steady(&self) -> bool {
        let mut arcs = self.mine.values();
        let first = arcs.next();
        self.mine.len() == self.maps.all().count() && arcs.all(|arc| Some(arc) == first)
    }
}

#[cfg(test)]
mod tests;
