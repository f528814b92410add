//! Whether a node has pulled what it keeps under a map, by the comparisons that were seen, whatever it says
//! of itself: with a majority of each swarm that kept a part of it before, or with a majority of its fellows
//! that have done so.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{
    Maps, NodeId,
    ring::{Arc, majority},
};

use super::Checks;

/// What one node has compared, and under which maps it began with nothing to pull.
#[derive(Debug, Default)]
pub(super) struct Pulled {
    compared: BTreeMap<NodeId, BTreeSet<Arc>>,
    from_the_start: BTreeSet<u64>,
}

impl Pulled {
    pub(super) fn compared(&mut self, with: NodeId, arc: Arc) {
        self.compared.entry(with).or_default().insert(arc);
    }

    fn has_compared(&self, with: &NodeId, part: Arc) -> bool {
        self.compared.get(with).into_iter().flatten().any(|arc| part.within(*arc))
    }
}

impl Checks {
    /// A node goes by these maps: what no other one is known before, it need not pull.
    pub(crate) fn goes_by(&mut self, node: usize, maps: &Maps) {
        let first = maps.all().next().map(|map| map.version);
        self.watched[node].pulled.from_the_start.extend(first);
    }

    /// Whether a node has pulled what it keeps under the map of this version.
    pub(super) fn pulled(&self, node: &NodeId, version: u64) -> bool {
        let Some((_, map)) = self.known.get(&version) else { return false };
        let Some(swarm) = map.swarm_with(node) else { return false };
        let Some(arc) = map.territory(swarm) else { return false };
        let members = map.members(swarm);
        let mut whole: BTreeSet<_> =
            members.iter().filter(|member| self.pulled_from_sources(member, version, arc)).collect();
        // Who compares with enough of those is one of them.
        loop {
            let by_fellows = |member: &&NodeId| {
                let fellow = |fellow: &&&NodeId| self.has_compared(member, fellow, arc);
                let fellows = whole.iter().filter(|one| *one != member).filter(fellow).count();
                fellows > 0 && fellows + 1 >= majority(members.len())
            };
            let more: Vec<_> =
                members.iter().filter(|member| !whole.contains(member)).filter(by_fellows).collect();
            if more.is_empty() {
                return whole.contains(node);
            }
            whole.extend(more);
        }
    }

    fn pulled_from_sources(&self, member: &NodeId, version: u64, arc: Arc) -> bool {
        let watched = self.index.get(member).map(|at| &self.watched[*at]);
        if watched.is_none_or(|one| one.unsound || one.pulled.from_the_start.contains(&version)) {
            return true;
        }
        let Some((_, (_, before))) = self.known.range(..version).next_back() else { return true };
        before.swarms.iter().all(|(swarm, sources)| {
            let Some(part) = before.territory(*swarm).and_then(|theirs| arc.part(theirs)) else {
                return true;
            };
            let heard = |source: &&NodeId| *source == member || self.has_compared(member, source, part);
            sources.iter().filter(heard).count() >= majority(sources.len())
        })
    }

    fn has_compared(&self, node: &NodeId, with: &NodeId, part: Arc) -> bool {
        self.index.get(node).is_some_and(|at| self.watched[*at].pulled.has_compared(with, part))
    }
}
