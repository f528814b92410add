//! What a chain says, in order; and what the ledger makes of it.

use alloy::primitives::{Address, B256};
use session_protocols::NodeId;

use super::{
    amount::Amount,
    registration::{Registration, StakeId},
};
use crate::names;

/// One block with something in it. Blocks without inputs need not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height, above that of the block before.
    pub height: u64,
    /// Its time, in seconds since 1970.
    pub time: u64,
    /// What happened, in order.
    pub inputs: Vec<Input>,
}

/// The end of an epoch: the last block whose time lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Border {
    /// The epoch that ends.
    pub epoch: u64,
    /// The height of its last block.
    pub height: u64,
    /// The hash of its last block, which seeds the next map.
    pub hash: B256,
    /// How far the numbered events of each contract had come.
    pub cursors: Cursors,
}

/// How far the numbered events of one contract have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The number of the last event, 0 before the first.
    pub number: u64,
    /// The contract's rolling hash over its events.
    pub hash: B256,
}

/// The cursors of all contracts whose events are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// Of the staking contract.
    pub staking: Cursor,
    /// Of the contract of checkpoints and claims.
    pub checkpoints: Cursor,
    /// Of the reward pool.
    pub pool: Cursor,
    /// Of the contract of names.
    pub names: Cursor,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Something happened to a name: for the index of names, and nothing to the ledger.
    Name(names::Change),
    /// A stake was put down for a node.
    Register(Box<Registration>),
    /// A contributor wants the node's stake back: it goes when `unlocks` has come. Final.
    RequestExit {
        /// Which registration.
        id: StakeId,
        /// When its service ends, in seconds since 1970.
        unlocks: u64,
    },
    /// The stake was paid back.
    Remove {
        /// Which registration.
        id: StakeId,
    },
    /// A contributor's rewards go to another account from here on.
    ChangeBeneficiary {
        /// Which registration.
        id: StakeId,
        /// Whose rewards.
        contributor: Address,
        /// Where they go.
        beneficiary: Address,
    },
    /// A share is another's from here on, and its rewards too; the operator's makes another the operator.
    HandOver {
        /// Which registration.
        id: StakeId,
        /// Whose it was.
        from: Address,
        /// Whose it is.
        to: Address,
    },
    /// The pool released rewards.
    Release {
        /// How much.
        amount: Amount,
    },
    /// A checkpoint was accepted.
    Accept {
        /// Of which epoch.
        epoch: u64,
        /// Who paid for the transaction.
        submitter: Address,
        /// What the nodes had signed.
        digest: B256,
    },
    /// What the submitter of a checkpoint is credited changed.
    ChangeCredit {
        /// To how much.
        credit: Amount,
    },
    /// How long a node must have been active to earn changed.
    ChangeActiveFor {
        /// To so many seconds.
        seconds: u64,
    },
    /// The fewest nodes whose checkpoint the contract takes changed.
    ChangeMinimumNodes {
        /// To so many.
        nodes: u64,
    },
    /// A node failed its tests: it serves nobody until it passes them again.
    Decommission {
        /// Which one.
        node: NodeId,
    },
    /// A decommissioned node passes its tests again.
    Recommission {
        /// Which one.
        node: NodeId,
    },
    /// A node lost its place.
    Deregister {
        /// Which one.
        node: NodeId,
        /// What it costs its operator, in basis points of the operator's own share.
        penalty: u16,
    },
}

/// What a block or a border did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node is a member and waits for its place.
    Registered {
        /// Which one.
        node: NodeId,
    },
    /// A node will go when its time has come.
    Exiting {
        /// Which one.
        node: NodeId,
        /// When, in seconds since 1970.
        unlocks: u64,
    },
    /// A node serves nobody, and earns nothing.
    Decommissioned {
        /// Which one.
        node: NodeId,
    },
    /// A node may serve again.
    Recommissioned {
        /// Which one.
        node: NodeId,
    },
    /// A node is going; it serves until [`Self::Left`].
    Deregistered {
        /// Which one.
        node: NodeId,
    },
    /// An input had no effect.
    Refused {
        /// Which one.
        input: Input,
        /// Why.
        reason: Refusal,
    },
    /// The map that was known acts from this block on.
    MapActs {
        /// Its version.
        version: u64,
    },
    /// The map that acts from the next border on is known.
    MapKnown {
        /// Its version.
        version: u64,
    },
    /// A node is in a map that acts, for the first time or again.
    Activated {
        /// Which one.
        node: NodeId,
    },
    /// A deregistered node is in no map any more.
    Left {
        /// Which one.
        node: NodeId,
    },
}

/// Why an input had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The number was given out before, or the stake is none that the contract lets through.
    #[error("the registration is none that the contract lets through")]
    Registration,
    /// The node's key did not sign the registration.
    #[error("the node's key did not sign the registration")]
    Unsigned,
    /// The node to register is a member.
    #[error("the node is registered already")]
    Registered,
    /// No such registration or node.
    #[error("the node is not registered")]
    Unknown,
    /// The node deregistered, and its stake has not been paid back so far.
    #[error("the node is leaving")]
    Leaving,
    /// The node is not in the state that this begins from.
    #[error("the node is in another state")]
    State,
    /// The contributor has no share in the node, or one already where it would get one.
    #[error("there is no such share")]
    Share,
    /// More than all tokens that could be.
    #[error("the amount is out of range")]
    Amount,
}

impl Refusal {
    /// What whoever put down a stake does when the nodes refuse its registration so.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Unsigned => {
                "get its stake back, which the next checkpoint releases in full: session stake withdraw NODE; \
                 then describe the node again, for its operator and this network: session node init --again"
            }
            Self::Registered => {
                "get its stake back, which the next checkpoint releases in full: session stake withdraw NODE"
            }
            Self::Leaving => {
                "get its stake back, which the next checkpoint releases in full: session stake withdraw NODE; \
                 register the node again when the stake that it had before is paid back too"
            }
            Self::Registration | Self::Unknown | Self::State | Self::Share | Self::Amount => {
                "nothing: the chain goes on"
            }
        }
    }
}

/// A block or border that does not follow; the ledger is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// This block has been applied, or a later one.
    #[error("block {found} cannot follow block {last}")]
    Height {
        /// The height of the last block applied.
        last: u64,
        /// The height of the block offered.
        found: u64,
    },
    /// The block is older than the one before.
    #[error("a block of second {found} cannot follow one of second {last}")]
    Time {
        /// The time of the last block applied.
        last: u64,
        /// The time of the block offered.
        found: u64,
    },
    /// The block lies beyond the epoch's end, which has to be crossed first.
    #[error("epoch {epoch} has to end first")]
    Epoch {
        /// The epoch.
        epoch: u64,
    },
    /// Another epoch is the one that ends next.
    #[error("epoch {found} cannot end before epoch {epoch}")]
    Border {
        /// The epoch that ends next.
        epoch: u64,
        /// The epoch offered.
        found: u64,
    },
}
