//! Who has to sign a snapshot's hash, and who has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{
    Distrust, MAX_ENDPOINTS,
    snapshot::{Entry, FRESH, Timing},
};
use crate::{KeyPair, NetworkName, NodeId, Prefix, Signature, Statement, identity, mutants};

/// The members of a network: those whose records are listed, and those who sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    nodes: BTreeMap<NodeId, Prefix>,
    id: [u8; 32],
}

impl Members {
    /// These nodes, and the prefix that each declared.
    pub fn new(network: &NetworkName, nodes: BTreeMap<NodeId, Prefix>) -> Self {
        let prefixes: Vec<String> = nodes.values().map(ToString::to_string).collect();
        let id = Statement::new("members", network)
            .list(nodes.keys().map(|node| node.as_bytes().as_slice()))
            .list(prefixes.iter().map(String::as_bytes))
            .digest();
        Self { nodes, id }
    }

    /// Equal for equal members.
    pub const fn id(&self) -> [u8; 32] {
        self.id
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a node is one.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    /// The members, in order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.keys().copied()
    }

    /// The fewest that are more than two thirds.
    pub fn quorum(&self) -> usize {
        if mutants::on("directory-few") {
            return self.nodes.len().saturating_sub(1) / 3;
        }
        (self.nodes.len().saturating_mul(2) / 3).saturating_add(1)
    }

    /// Whether a record may stand in the snapshot of a period.
    pub fn admits(&self, entry: &Entry, timing: Timing, period: u64) -> bool {
        let record = entry.record();
        let Some(prefix) = self.nodes.get(&record.node) else { return false };
        let some = (1..=MAX_ENDPOINTS).contains(&record.endpoints.len());
        let border = timing.border(period);
        let made = crate::Time::from_millis(record.time);
        let fresh = made <= border && border.since(made) <= FRESH;
        some && fresh && record.endpoints.iter().all(|endpoint| prefix.covers(endpoint.ip))
    }
}

/// Who agrees on the snapshots of which periods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster(BTreeMap<u64, Arc<Members>>);

impl Roster {
    /// Members in a roster; of more the oldest go.
    const MAX: usize = 4;

    /// These, for all periods.
    pub fn new(members: Arc<Members>) -> Self {
        Self(BTreeMap::from([(0, members)]))
    }

    /// From the period `first` on these agree, and none of those that were named for later ones.
    pub fn change(&mut self, first: u64, members: Arc<Members>) {
        self.0.retain(|period, _| *period < first);
        if self.of(first).is_none_or(|before| before.id() != members.id()) {
            self.0.insert(first, members);
        }
        while self.0.len() > Self::MAX {
            self.0.pop_first();
        }
    }

    /// Who agrees on the snapshot of a period; none when that is not known.
    pub fn of(&self, period: u64) -> Option<&Arc<Members>> {
        self.0.range(..=period).next_back().map(|(_, members)| members)
    }

    /// Who does from the last change on.
    pub(super) fn last(&self) -> Option<&Arc<Members>> {
        self.0.last_key_value().map(|(_, members)| members)
    }
}

/// What a member says about a snapshot: that every record in it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The number of its period.
    pub period: u64,
    /// Its hash.
    pub hash: ByteArray<32>,
    /// Which members are to sign, by [`Members::id`].
    pub members: ByteArray<32>,
}

impl Vote {
    /// Signs it with a member's key.
    pub fn sign(self, network: &NetworkName, pair: &KeyPair) -> Share {
        let signature = pair.sign(self.statement(network).as_bytes());
        Share { vote: self, node: pair.node_id(), signature }
    }

    fn statement(&self, network: &NetworkName) -> Statement {
        Statement::new("snapshot-share", network)
            .number(self.period)
            .bytes(&self.members[..])
            .bytes(&self.hash[..])
    }
}

/// A vote and whose it is, as it is gossiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// What is said.
    pub vote: Vote,
    /// By whom.
    pub node: NodeId,
    /// Its signature.
    pub signature: Signature,
}

impl Share {
    /// Whether the node that it names has signed it.
    pub fn verify(&self, network: &NetworkName) -> bool {
        identity::verify(self.node.as_bytes(), self.vote.statement(network).as_bytes(), &self.signature)
    }
}

/// Signatures of more than two thirds of the members under one vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The places of those who signed, among the members in order of their ids, and what they signed;
    /// in that order, and no more than are needed.
    pub signatures: Vec<(u16, Signature)>,
}

impl Certificate {
    /// The certificate that these signatures make. None while they are too few.
    pub(super) fn of(members: &Members, signatures: &BTreeMap<NodeId, Signature>) -> Option<Self> {
        let places = members.nodes().zip(0..=u16::MAX);
        let signed = places.filter_map(|(node, place)| Some((place, *signatures.get(&node)?)));
        let signatures: Vec<_> = signed.take(members.quorum()).collect();
        (signatures.len() == members.quorum()).then_some(Self { signatures })
    }

    /// Checks every signature.
    ///
    /// # Errors
    /// When there are too few or too many, one is not of a member or not in order, or one is not good.
    pub fn verify(
        &self,
        network: &NetworkName,
        members: &Members,
        period: u64,
        hash: [u8; 32],
    ) -> Result<(), Distrust> {
        let (found, needed) = (self.signatures.len(), members.quorum());
        if found < needed || found > members.len() {
            return Err(Distrust::Signatures { found, needed });
        }
        if !self.signatures.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(Distrust::Order);
        }
        let vote = Vote { period, hash: ByteArray::new(hash), members: ByteArray::new(members.id) };
        let statement = vote.statement(network);
        let mut nodes = members.nodes().zip(0..=u16::MAX);
        for (place, signature) in &self.signatures {
            let node = nodes.find(|(_, at)| at == place).map(|(node, _)| node);
            let node = node.ok_or(Distrust::Stranger)?;
            if !identity::verify(node.as_bytes(), statement.as_bytes(), signature) {
                return Err(Distrust::Signature { node });
            }
        }
        Ok(())
    }

    /// The most bytes that it takes up.
    pub(super) fn size(&self) -> usize {
        // A signature is 66 bytes, its place 3 at most, the two together one more.
        self.signatures.len().saturating_mul(70).saturating_add(32)
    }
}
