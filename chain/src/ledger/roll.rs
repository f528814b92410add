//! The roll: what a checkpoint says about members and maps, all of it, for those who have no ledger.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;
use session_protocols::{NodeId, Prefix, SwarmMap};

use super::{
    Ledger,
    checkpoint::{member_leaf, swarm_leaves},
    member::Operator,
    merkle::Tree,
    registration::{BlsKey, StakeId},
};

/// A member, as far as others have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub node: NodeId,
    /// The number of its registration.
    pub id: StakeId,
    /// Who runs it.
    pub operator: Operator,
    /// Where it declared to stand.
    pub prefix: Prefix,
    /// The key that it signs checkpoints with; none once its stake has gone.
    pub bls: Option<BlsKey>,
    /// Whether it agrees on the directory in the epoch that begins: the map that acts names it, or the one
    /// before did.
    pub now: bool,
    /// Whether it does in the epoch after that.
    pub later: bool,
}

/// The members and maps of a network at a border.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// The members, in order of their ids.
    pub members: Vec<Listed>,
    /// The map that acts from the border on.
    pub acts: SwarmMap,
    /// The map that acts an epoch later, if that is another.
    pub next: Option<SwarmMap>,
}

impl Roll {
    /// Of the members, in order of their ids.
    pub fn directory_root(&self) -> B256 {
        Tree::new(self.members.iter().map(member_leaf).collect()).root()
    }

    /// Of the maps.
    pub fn swarms_root(&self) -> B256 {
        let acts = swarm_leaves(&self.acts, false);
        let next = self.next.iter().flat_map(|map| swarm_leaves(map, true));
        Tree::new(acts.chain(next).collect()).root()
    }

    /// The keys of those members that can sign.
    pub fn keys(&self) -> BTreeMap<NodeId, BlsKey> {
        self.members.iter().filter_map(|member| Some((member.node, member.bls?))).collect()
    }
}

impl Ledger {
    /// The members and maps as of now; what a checkpoint says of them right after its border was crossed.
    pub fn roll(&self) -> Roll {
        let seated = |maps: &[Option<&SwarmMap>]| -> BTreeSet<NodeId> {
            maps.iter().flatten().flat_map(|map| map.swarms.values().flatten()).copied().collect()
        };
        let now = seated(&[self.past.as_ref(), Some(&self.map)]);
        let later = seated(&[Some(&self.map), self.next.as_ref()]);
        let members = self.members.iter().map(|(node, member)| Listed {
            node: *node,
            id: member.id,
            operator: member.operator,
            prefix: member.prefix,
            bls: self.stakes.get(&member.id).map(|stake| stake.bls),
            now: now.contains(node),
            later: later.contains(node),
        });
        Roll { members: members.collect(), acts: self.map.clone(), next: self.next.clone() }
    }
}
