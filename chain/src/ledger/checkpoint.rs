//! Checkpoints: what the nodes of a network agree on at the end of an epoch, in one hash that they sign.
//!
//! The leaves and the digest are those of the contracts; `chain/contracts/README.md` lists them.

use alloy::{
    primitives::{Address, B256, FixedBytes, U256, keccak256},
    sol_types::SolValue,
};
use session_protocols::SwarmMap;

use super::{
    amount::Amount,
    input::{Border, Cursors},
    member::{Member, State},
    merkle::{self, Tree},
    registration::{Domain, StakeId, prefix_bytes},
    roll::Listed,
};

/// The first word of what is hashed into a digest.
const TAG: &[u8] = b"session-checkpoint-1";
/// The first word of the leaf that stands for the ledger.
const LEDGER: &[u8] = b"session-ledger-1";

/// What a checkpoint says of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Standing {
    /// Waits for its place.
    Awaiting = 0,
    /// Serves a swarm.
    Active = 1,
    /// Failed its tests.
    Decommissioned = 2,
    /// Lost its place or gave it up; its stake is locked.
    Deregistered = 3,
    /// Its stake may be paid back, less the penalty.
    Released = 4,
    /// The nodes never took it; its stake may be paid back in full.
    Refused = 5,
}

/// The roots of the trees that a checkpoint commits to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// Of lifetime totals.
    pub rewards: B256,
    /// Of the states of registrations, and of the ledger as a whole.
    pub states: B256,
    /// Of the swarms of the map that acts and of the one that acts next.
    pub swarms: B256,
    /// Of the nodes that are members.
    pub directory: B256,
    /// Of the index of names ([`crate::names`]).
    pub names: B256,
}

/// A checkpoint, ready to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The border that it stands for.
    pub border: Border,
    /// The digest of the epoch before; zero for the first.
    pub previous: B256,
    /// What it commits to.
    pub roots: Roots,
    /// What the nodes sign.
    pub digest: B256,
}

impl Checkpoint {
    /// The checkpoint of a border.
    pub fn new(domain: &Domain, border: Border, previous: B256, roots: Roots) -> Self {
        let Border { epoch, hash, ref cursors, .. } = border;
        let Cursors { staking, checkpoints, pool, names } = *cursors;
        let head = (
            FixedBytes::<32>::right_padding_from(TAG),
            U256::from(domain.chain),
            domain.checkpoints,
            epoch,
            hash,
            previous,
        );
        let logs = (
            (staking.number, staking.hash),
            (checkpoints.number, checkpoints.hash),
            (pool.number, pool.hash),
            (names.number, names.hash),
        );
        let tail = (roots.rewards, roots.states, roots.swarms, roots.directory, roots.names);
        // All are static types, so the encodings simply follow one another.
        let digest = keccak256([head.abi_encode(), logs.abi_encode(), tail.abi_encode()].concat());
        Self { border, previous, roots, digest }
    }
}

/// The leaf of an account's lifetime total.
pub fn reward_leaf(account: Address, total: Amount) -> B256 {
    merkle::leaf(&(account, total.units()).abi_encode())
}

/// The leaf of a registration's state.
pub fn state_leaf(id: StakeId, standing: Standing, penalty: u16) -> B256 {
    merkle::leaf(&(id.0, U256::from(standing as u8), penalty).abi_encode())
}

/// The leaf of the ledger as a whole, beside those of the states. What is hashed has two words, and that of a
/// state three: no contract takes the one for the other.
pub fn ledger_leaf(commitment: B256) -> B256 {
    merkle::leaf(&(B256::right_padding_from(LEDGER), commitment).abi_encode())
}

/// The leaves of a map, which acts (`next` is false) or acts an epoch later: of each swarm the map's version,
/// the swarm's id, and the hash of its members' ids in order.
pub fn swarm_leaves(map: &SwarmMap, next: bool) -> impl Iterator<Item = B256> {
    let version = map.version;
    map.swarms.iter().map(move |(swarm, members)| {
        let ids: Vec<u8> = members.iter().flat_map(|node| *node.as_bytes()).collect();
        merkle::leaf(&(version, next, swarm.0, keccak256(ids)).abi_encode())
    })
}

/// The leaf of a member: its key, its registration, who runs it, where it stands, the hash of the key that it
/// signs checkpoints with, and whether it agrees on the directory now and an epoch later.
pub fn member_leaf(member: &Listed) -> B256 {
    let Listed { node, id, operator, prefix, bls, now, later } = *member;
    let prefix = FixedBytes::<7>::from(prefix_bytes(prefix));
    let operator = Address::from(*operator.as_bytes());
    let key = bls.map(|bls| keccak256(bls.0)).unwrap_or_default();
    merkle::leaf(&(B256::from(*node.as_bytes()), id.0, operator, prefix, key, now, later).abi_encode())
}

impl Member {
    /// What a checkpoint at the instant `now`, in seconds since 1970, says of it; `serves` tells whether a map
    /// names it.
    pub(super) fn standing(&self, now: u64, serves: bool) -> Standing {
        match self.state {
            State::Awaiting => Standing::Awaiting,
            State::Active => Standing::Active,
            State::Decommissioned => Standing::Decommissioned,
            State::Deregistered if serves || self.locked > now => Standing::Deregistered,
            State::Deregistered => Standing::Released,
        }
    }
}

/// The tree of lifetime totals.
pub fn rewards_tree<'a>(totals: impl Iterator<Item = (&'a Address, &'a Amount)>) -> Tree {
    Tree::new(totals.map(|(account, total)| reward_leaf(*account, *total)).collect())
}
