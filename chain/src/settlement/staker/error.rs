//! Why something cannot be done with a stake.

use alloy::primitives::Address;
use session_protocols::NodeId;

use crate::{
    candidate::CandidateError,
    ledger::{Amount, Refusal, State},
    settlement::sender::SendError,
};

/// Why something cannot be done with a stake. Nothing was sent, unless the sender says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StakeError {
    /// It cannot be sent, or the chain cannot be asked.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The node's description does not fit.
    #[error(transparent)]
    Candidate(#[from] CandidateError),
    /// Another account may.
    #[error("the node was described for the operator {operator}, and this account is {account}")]
    NotOperator {
        /// Who may.
        operator: Address,
        /// Who asked.
        account: Address,
    },
    /// The node's keys signed for another registration of theirs than the next.
    #[error(
        "node {node} signed for registration {} of its keys, and the next is registration {}: what it signs is for \
         one alone",
        signed.saturating_add(1), registered.saturating_add(1)
    )]
    Spent {
        /// Which node.
        node: NodeId,
        /// How often they had been registered by what it signed.
        signed: u64,
        /// How often they have been.
        registered: u64,
    },
    /// An endpoint names a contract that is none of the network's.
    #[error(
        "{endpoint} names {at} as a contribution, and the network's factory cannot have opened it: it lies"
    )]
    Forged {
        /// Who does, by its host.
        endpoint: String,
        /// Where it leads.
        at: Address,
    },
    /// Two endpoints contradict each other.
    #[error(
        "{one} says that the node's keys have been registered {first} times, and {two} says {second} times"
    )]
    Apart {
        /// An endpoint, by its host.
        one: String,
        /// How often by that one.
        first: u64,
        /// Another one.
        two: String,
        /// How often by that one.
        second: u64,
    },
    /// More than all.
    #[error("a fee of {}.{:02} % is more than all", fee / 100, fee % 100)]
    Fee {
        /// In basis points.
        fee: u16,
    },
    /// Stake and reserved slots are more than a node takes.
    #[error("the reserved slots come to {reserved} SESH and a node takes {required} SESH in all")]
    Reserved {
        /// Reserved in all.
        reserved: Amount,
        /// What a node takes.
        required: Amount,
    },
    /// The contribution waits for others.
    #[error("the contribution for node {node} is open and lacks {lacks} SESH")]
    Incomplete {
        /// For which node.
        node: NodeId,
        /// How much.
        lacks: Amount,
    },
    /// Nobody opened a contribution, or it has ended.
    #[error("no contribution for node {node} is open")]
    NotOpen {
        /// For which node.
        node: NodeId,
    },
    /// The node is not in the ledger.
    #[error("node {node} is not registered, as far as the chain is final")]
    Unknown {
        /// Which node.
        node: NodeId,
    },
    /// Nothing of the account is to be had back.
    #[error("this account has no stake in node {node}")]
    NoStake {
        /// Which node.
        node: NodeId,
    },
    /// The stake has to stay.
    #[error(
        "the stake of node {node} is locked: the node is {}{}",
        word(*state), if *leaving { " and leaves" } else { "" }
    )]
    Locked {
        /// Of which node.
        node: NodeId,
        /// What it is.
        state: State,
        /// Whether its exit was requested.
        leaving: bool,
    },
    /// The nodes refused the registration, and no checkpoint says so yet.
    #[error(
        "the nodes refuse this registration of node {node}: {why}; no checkpoint has released its stake so far"
    )]
    Unreleased {
        /// Of which node.
        node: NodeId,
        /// Why they refuse it.
        why: Refusal,
        /// Whether its exit was requested.
        leaving: bool,
    },
    /// The logs of so few blocks come at once that all of them would take too long.
    #[error("{endpoint} gives the logs of few blocks at once: nobody looked at blocks {from} to {head}")]
    Unsearched {
        /// Who does, by its host.
        endpoint: String,
        /// The first block that nobody looked at.
        from: u64,
        /// The newest block.
        head: u64,
    },
    /// Nothing can be proved to the contract.
    #[error("the nodes have agreed on no checkpoint so far")]
    NoCheckpoint,
    /// The ledger has not come to the last checkpoint.
    #[error("the checkpoint of epoch {epoch} is not final so far")]
    NotFinal {
        /// Of which epoch.
        epoch: u64,
    },
    /// The ledger is not the one that was signed.
    #[error("the ledger that follows from the chain is not the one in the checkpoint of epoch {epoch}")]
    OtherLedger {
        /// Of which epoch.
        epoch: u64,
    },
    /// All is claimed.
    #[error("account {account} has nothing to claim: {claimed} SESH are claimed already")]
    NothingToClaim {
        /// Whose.
        account: Address,
        /// What it claimed in all.
        claimed: Amount,
    },
}

impl StakeError {
    /// A word for it, which stays.
    pub fn code(&self) -> &'static str {
        if self.is_overtaken() {
            return "overtaken";
        }
        match self {
            Self::Send(error) => error.code(),
            Self::Candidate(_) | Self::NotOperator { .. } | Self::Spent { .. } => "registration",
            Self::Forged { .. } | Self::Apart { .. } => "endpoint_lies",
            Self::Fee { .. } => "fee",
            Self::Reserved { .. } => "reserved",
            Self::Incomplete { .. } => "incomplete",
            Self::NotOpen { .. } => "not_open",
            Self::Unknown { .. } => "not_registered",
            Self::NoStake { .. } => "no_stake",
            Self::Locked { .. } | Self::Unreleased { .. } => "locked",
            Self::NoCheckpoint => "no_checkpoint",
            Self::NotFinal { .. } => "overtaken",
            Self::Unsearched { .. } => "chain",
            Self::OtherLedger { .. } => "other_ledger",
            Self::NothingToClaim { .. } => "nothing_to_claim",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Send(error) => error.remedy(),
            Self::Candidate(_) => {
                "make the node's registration again for this operator and network, with `session node init --again`"
            }
            Self::NotOperator { .. } => {
                "name the operator's account with --account, or describe the node for this one: session node init \
                 --again --operator ADDRESS"
            }
            Self::Spent { .. } => {
                "let the node sign once more, for this operator: session node init --again --operator ADDRESS"
            }
            Self::Forged { .. } => "take this endpoint out of `rpc` in the network file, and use another one",
            Self::Apart { .. } => "take the one that is wrong, or behind, out of `rpc` in the network file",
            Self::Fee { .. } => "give a fee of 0 to 100 %",
            Self::Reserved { .. } => "reserve less: the operator brings a quarter at least",
            Self::Incomplete { .. } => {
                "wait until others have contributed, then register again to finalise it"
            }
            Self::NotOpen { .. } => {
                "ask its operator to open one: session stake register NODE --stake AMOUNT"
            }
            Self::Unknown { .. } => {
                "see which nodes there are: session stake list; a new one takes some blocks"
            }
            Self::NoStake { .. } => "name the account that contributed with --account",
            Self::Locked { leaving: true, .. } => {
                "wait until it has served its time and a checkpoint releases it; 30 days after the request it can \
                 be taken out whatever happens"
            }
            Self::Unreleased { leaving: false, .. } => {
                "wait: the next checkpoint releases it in full. Where none comes: session stake exit NODE, and \
                 30 days later it can be taken out whatever happens"
            }
            Self::Unreleased { leaving: true, .. } => {
                "wait: the next checkpoint releases it in full; 30 days after the request it can be taken out \
                 whatever happens"
            }
            Self::Locked { leaving: false, .. } => "let it leave first: session stake exit NODE",
            Self::NoCheckpoint => {
                "wait: the first comes when enough nodes are registered and an epoch has ended"
            }
            Self::NotFinal { .. } => "try again in a few minutes",
            Self::Unsearched { .. } => {
                "name an endpoint that gives the logs of more blocks at once in the network file"
            }
            Self::OtherLedger { .. } => {
                "use other endpoints in the network file; if they agree with these, report this"
            }
            Self::NothingToClaim { .. } => {
                "wait for the next checkpoint: session stake rewards shows what is coming"
            }
        }
    }

    /// Whether another checkpoint came in between: what was proved was true, and can be proved anew.
    pub fn is_overtaken(&self) -> bool {
        if let Self::Send(SendError::Refused { refusal } | SendError::Reverted { refusal, .. }) = self {
            return refusal.error.starts_with("NotInCheckpoint");
        }
        matches!(self, Self::NotFinal { .. })
    }

    /// Whether no stake of the node can be released to the account, or to its loan: what came before may be there.
    pub(super) const fn is_unreleased(&self) -> bool {
        matches!(self, Self::NoStake { .. } | Self::Locked { .. } | Self::Unreleased { .. })
    }

    /// Whether waiting helps.
    pub fn passes(&self) -> bool {
        self.is_overtaken()
            || matches!(
                self,
                Self::Incomplete { .. }
                    | Self::Locked { .. }
                    | Self::Unreleased { .. }
                    | Self::NoCheckpoint
                    | Self::Send(SendError::Endpoint { .. })
            )
    }
}

/// A state, as it is shown.
pub const fn word(state: State) -> &'static str {
    match state {
        State::Awaiting => "awaiting",
        State::Active => "active",
        State::Decommissioned => "decommissioned",
        State::Deregistered => "deregistered",
    }
}
