//! What nodes say whose endpoints of the settlement chain disagree: they sign nothing, and tell how far they are.

use std::collections::BTreeMap;

use alloy::{
    primitives::{B256, U256, keccak256},
    sol_types::SolValue,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use session_protocols::{codec, directory::Verdict};

use super::MAX_SHARE;
use crate::{
    bls::{BlsSecret, BlsSignature},
    ledger::{BlsKey, Cursors, Domain, StakeId},
};

/// The first words of what is signed.
const TAG: &[u8] = b"session-holds-1";
/// Reports of one node that count until it signs again; more are not passed on.
pub(super) const MAX_REPORTS: u8 = 8;
/// Places of this node's own ledger that reports are held against; the oldest goes.
const MAX_PLACES: usize = 64;

/// One node's word that its endpoints disagree, as it travels on `<net>/checkpoints`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The epoch that ends next by its ledger.
    pub epoch: u64,
    /// The last block of which it knows all.
    pub height: u64,
    /// The contracts' rolling hashes after that block: [`Report::rolled`].
    pub hash: ByteArray<32>,
    /// Who says so: the number of its registration.
    pub id: u64,
    /// The signature, a compressed point of G2.
    pub signature: ByteArray<96>,
}

/// What is known of the nodes that hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// How many there are.
    pub nodes: usize,
    /// Whether they are more than a third of those that hold a stake: then no checkpoint comes.
    pub most: bool,
    /// The first block of which one of them knows another history than this node.
    pub other: Option<u64>,
}

impl Report {
    /// The rolling hashes of all contracts, and how many events each covers, in one hash.
    pub fn rolled(cursors: &Cursors) -> B256 {
        let all = [cursors.staking, cursors.checkpoints, cursors.pool, cursors.names]
            .map(|one| (one.number, one.hash));
        keccak256(all.abi_encode())
    }

    /// Signs one.
    pub fn sign(
        id: StakeId,
        secret: &BlsSecret,
        domain: &Domain,
        (epoch, height, hash): (u64, u64, B256),
    ) -> Self {
        let report =
            Self { epoch, height, hash: hash.0.into(), id: id.0, signature: ByteArray::new([0; 96]) };
        Self { signature: secret.sign(report.statement(domain).as_slice()).0.into(), ..report }
    }

    /// Whether it was signed with `key`, on this chain.
    pub fn is_signed(&self, key: &BlsKey, domain: &Domain) -> bool {
        BlsSignature(*self.signature).verify(&[*key], self.statement(domain).as_slice())
    }

    /// As it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads one as it travels.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode(bytes, MAX_SHARE)
    }

    fn statement(&self, domain: &Domain) -> B256 {
        let hash = B256::from(self.hash.into_array());
        let tag = B256::right_padding_from(TAG);
        let all = (tag, U256::from(domain.chain), domain.checkpoints, self.epoch, self.height, hash, self.id);
        keccak256(all.abi_encode())
    }
}

/// The reports that are held: the newest of each stake, and of nobody else.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Each with how many there were since its node signed last.
    held: BTreeMap<StakeId, (Report, u8)>,
    /// Where this node's own ledger was, and the rolled hash there.
    places: BTreeMap<u64, B256>,
}

impl Reports {
    /// Takes one whose signature holds, unless a newer one is held.
    pub(super) fn take(&mut self, report: Report) -> Verdict {
        let id = StakeId(report.id);
        let place = |one: &Report| (one.epoch, one.height);
        let count = match self.held.get(&id) {
            Some((held, count)) if place(held) >= place(&report) || *count >= MAX_REPORTS => {
                return Verdict::Ignore;
            }
            Some((_, count)) => count.saturating_add(1),
            None => 1,
        };
        self.held.insert(id, (report, count));
        Verdict::Accept
    }

    /// Who signs the end of an epoch holds no longer.
    pub(super) fn signed(&mut self, id: StakeId, epoch: u64) {
        if self.held.get(&id).is_some_and(|(report, _)| report.epoch <= epoch) {
            self.held.remove(&id);
        }
    }

    /// Keeps those of whom `stays` is true.
    pub(super) fn retain(&mut self, stays: impl Fn(StakeId) -> bool) {
        self.held.retain(|id, _| stays(*id));
    }

    /// This node's own ledger was here.
    pub(super) fn been(&mut self, height: u64, hash: B256) {
        self.places.insert(height, hash);
        if self.places.len() > MAX_PLACES {
            self.places.pop_first();
        }
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// What is known of them, where so many hold a stake.
    pub(super) fn holding(&self, stakes: usize) -> Holding {
        let reports = self.held.values().map(|(report, _)| report);
        let differs =
            |report: &&Report| self.places.get(&report.height).is_some_and(|hash| hash.0 != *report.hash);
        Holding {
            nodes: self.held.len(),
            most: self.held.len().saturating_mul(3) > stakes,
            other: reports.filter(differs).map(|report| report.height).min(),
        }
    }
}
