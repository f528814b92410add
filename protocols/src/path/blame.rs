//! Who refused whom.
//!
//! A refusal counts against both ends of a link, for nobody can tell which of them is at fault. A node
//! that has refusals with ends of two operators is left out: an honest one gets there by no single
//! liar, and a liar by any two of its victims. Refusals with an end that is left out already say
//! nothing of the other, and all of them wear out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Operator};
use crate::{NodeId, Span, Time, mutants};

/// How long a refusal counts.
pub(super) const WEARS_OUT: Span = Span::secs(600);
/// Links whose refusals are remembered; beyond it the oldest are forgotten.
pub(super) const MAX_LINKS: usize = 256;
/// Operators at the other ends until a node is left out.
const OPERATORS: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Blame {
    /// By both ends, the lesser first: when it was last refused.
    links: BTreeMap<(NodeId, NodeId), Time>,
    /// Left out without a witness, and since when.
    alone: BTreeMap<NodeId, Time>,
    dropped: BTreeSet<NodeId>,
    stale: bool,
}

impl Blame {
    /// A packet did not get from one of these to the other.
    pub(super) fn refuse(&mut self, now: Time, one: NodeId, other: NodeId) {
        self.links.insert((one.min(other), one.max(other)), now);
        if self.links.len() > MAX_LINKS {
            let oldest = self.links.iter().min_by_key(|(_, at)| **at).map(|(link, _)| *link);
            oldest.map(|link| self.links.remove(&link));
        }
        self.stale = true;
    }

    /// The client itself has seen that a node is of no use.
    pub(super) fn leave_out(&mut self, now: Time, node: NodeId) {
        if self.alone.len() < MAX_LINKS {
            self.alone.insert(node, now);
        }
        self.stale = true;
    }

    /// The nodes are others: look again.
    pub(super) const fn stale(&mut self) {
        self.stale = true;
    }

    /// Forgets what is worn out, and says anew who is left out.
    pub(super) fn refresh(&mut self, now: Time, nodes: &BTreeMap<NodeId, Candidate>) {
        let before = (self.links.len(), self.alone.len());
        self.links.retain(|_, at| now < at.after(WEARS_OUT));
        self.alone.retain(|_, at| now < at.after(WEARS_OUT));
        if !self.stale && (self.links.len(), self.alone.len()) == before {
            return;
        }
        self.stale = false;
        self.dropped = self.alone.keys().copied().collect();
        while let Some(worst) = self.worst(nodes) {
            self.dropped.insert(worst);
        }
    }

    /// Who is left out.
    pub(super) const fn dropped(&self) -> &BTreeSet<NodeId> {
        &self.dropped
    }

    /// The other ends of refusals that a node has.
    pub(super) fn beside(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let ends = self.links.keys().copied();
        ends.filter_map(move |(one, other)| match node {
            _ if node == one => Some(other),
            _ if node == other => Some(one),
            _ => None,
        })
    }

    #[cfg(test)]
    pub(super) fn links(&self) -> usize {
        self.links.len()
    }

    /// The node with the most operators against it, of those that are not left out.
    fn worst(&self, nodes: &BTreeMap<NodeId, Candidate>) -> Option<NodeId> {
        let mut against: BTreeMap<NodeId, BTreeSet<Operator>> = BTreeMap::new();
        for (one, other) in self.links.keys() {
            if self.dropped.contains(one) || self.dropped.contains(other) {
                continue;
            }
            for (node, witness) in [(one, other), (other, one)] {
                if let Some(witness) = nodes.get(witness) {
                    against.entry(*node).or_default().insert(witness.operator);
                }
            }
        }
        let worst = against.into_iter().map(|(node, operators)| (operators.len(), node));
        let enough = if mutants::on("blame-one") { 1 } else { OPERATORS };
        worst.filter(|(operators, _)| *operators >= enough).max().map(|(_, node)| node)
    }
}
