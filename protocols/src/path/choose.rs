//! Hops at random: all of a path differ from each other and from the destination in node, operator and
//! prefix.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng;

use super::{Candidate, HOPS, guards::Guards};
use crate::{NodeId, mutants};

/// A number below `bound`, or zero where there is none. The bias is below `bound` in 2^64.
pub(super) fn below(random: &mut impl Rng, bound: u64) -> u64 {
    let product = u128::from(random.next_u64()).saturating_mul(u128::from(bound));
    u64::try_from(product >> 64).unwrap_or_default()
}

fn pick<T: Copy>(random: &mut impl Rng, from: &[T]) -> Option<T> {
    let at = below(random, from.len() as u64);
    from.get(usize::try_from(at).ok()?).copied()
}

/// Whether two nodes may stand on one path.
pub(super) fn differ(one: &Candidate, other: &Candidate) -> bool {
    (one.operator != other.operator || mutants::on("path-same-operator"))
        && (one.prefix != other.prefix || mutants::on("path-same-prefix"))
}

/// Whether none of these hops is the destination, or near it.
pub(super) fn fits(nodes: &BTreeMap<NodeId, Candidate>, hops: &[NodeId], destination: NodeId) -> bool {
    let Some(end) = nodes.get(&destination) else { return false };
    hops.iter().all(|hop| *hop != destination && nodes.get(hop).is_some_and(|hop| differ(hop, end)))
}

/// The nodes to choose from.
pub(super) struct Pool<'a> {
    pub(super) nodes: &'a BTreeMap<NodeId, Candidate>,
    /// Chosen only where nothing else will do.
    pub(super) avoid: &'a BTreeSet<NodeId>,
}

impl Pool<'_> {
    /// Hops that begin at a guard and fit to all of `others`.
    pub(super) fn hops(
        &self,
        random: &mut impl Rng,
        guard: NodeId,
        others: &[NodeId],
    ) -> Option<[NodeId; HOPS]> {
        if !others.iter().all(|other| fits(self.nodes, &[guard], *other)) {
            return None;
        }
        let taken = [&[guard], others].concat();
        let all = self.beside(&taken);
        let good: Vec<_> = all.iter().copied().filter(|node| !self.avoid.contains(node)).collect();
        let [middle, last] = self.two(random, good).or_else(|| self.two(random, all))?;
        Some([guard, middle, last])
    }

    /// The same, with a destination at random, which is returned beside them.
    pub(super) fn probe(
        &self,
        random: &mut impl Rng,
        guard: NodeId,
        beside: Option<NodeId>,
    ) -> Option<([NodeId; HOPS], NodeId)> {
        let mut ends = self.beside(&[guard]);
        while !ends.is_empty() {
            let at = usize::try_from(below(random, ends.len() as u64)).unwrap_or_default();
            let end = ends.swap_remove(at);
            // One that is avoided would fail for no fault of the path's; at the end it will do.
            if self.avoid.contains(&end) && ends.iter().any(|other| !self.avoid.contains(other)) {
                continue;
            }
            let others: Vec<_> = [end].into_iter().chain(beside).collect();
            if let Some(hops) = self.hops(random, guard, &others) {
                return Some((hops, end));
            }
        }
        None
    }

    /// Whether any path leads to a destination, whichever guard it begins at.
    pub(super) fn any(&self, random: &mut impl Rng, destination: NodeId) -> bool {
        let guards = self.beside(&[destination]);
        guards.into_iter().any(|guard| self.hops(random, guard, &[destination]).is_some())
    }

    /// A node to be a guard beside those that there are, of an operator and prefix of its own if one is
    /// left.
    pub(super) fn guard(&self, random: &mut impl Rng, guards: &Guards) -> Option<NodeId> {
        let known: Vec<_> = guards.active(self.nodes).map(|guard| guard.node).collect();
        let new = |node: &NodeId| !guards.contains(node) && !self.avoid.contains(node);
        let mut fresh: Vec<_> = self.beside(&known).into_iter().filter(new).collect();
        if fresh.is_empty() {
            let open = self.nodes.iter().filter(|(_, node)| node.open).map(|(node, _)| *node);
            fresh = open.filter(|node| !guards.contains(node)).collect();
        }
        pick(random, &fresh)
    }

    /// The nodes that differ from all of `taken` and can be used.
    fn beside(&self, taken: &[NodeId]) -> Vec<NodeId> {
        let kinds: Vec<_> = taken.iter().filter_map(|node| self.nodes.get(node)).collect();
        let free = self.nodes.iter().filter(|(id, node)| {
            node.open && !taken.contains(id) && kinds.iter().all(|kind| differ(kind, node))
        });
        free.map(|(id, _)| *id).collect()
    }

    /// Two nodes that differ: the first at random among those that have a second beside them.
    fn two(&self, random: &mut impl Rng, mut from: Vec<NodeId>) -> Option<[NodeId; 2]> {
        while !from.is_empty() {
            let at = usize::try_from(below(random, from.len() as u64)).unwrap_or_default();
            let one = from.swap_remove(at);
            let kind = self.nodes.get(&one)?;
            let beside = |node: &&NodeId| self.nodes.get(*node).is_some_and(|node| differ(kind, node));
            let others: Vec<_> = from.iter().filter(beside).copied().collect();
            if let Some(other) = pick(random, &others) {
                // Whichever was found first would otherwise have been chosen from more.
                return Some(if below(random, 2) == 0 { [one, other] } else { [other, one] });
            }
        }
        None
    }
}
