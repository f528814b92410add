//! Why a stake cannot be lent, or brought back.

use alloy::primitives::Address;
use session_protocols::NodeId;

use crate::{candidate::CandidateError, ledger::Amount, settlement::sender::SendError};

/// Why a stake cannot be lent, or brought back. Nothing was sent, unless the sender says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// It cannot be sent, or the chain cannot be asked.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The node's description does not fit.
    #[error(transparent)]
    Candidate(#[from] CandidateError),
    /// Nobody lends stakes.
    #[error("the network names no vault: no faucet lends stakes")]
    None,
    /// The vault is another network's.
    #[error("the vault {at} stakes at another contract than this network's")]
    Elsewhere {
        /// Where it is.
        at: Address,
    },
    /// The vault is of the kind whose owner lends.
    #[error("the vault {at} has no lender beside its owner: another release published it")]
    OneRole {
        /// Where it is.
        at: Address,
    },
    /// Another account lends.
    #[error("the vault lends for the account {lender}, and this is {account}")]
    NotLender {
        /// Who may.
        lender: Address,
        /// Who asked.
        account: Address,
    },
    /// Another account owns the vault.
    #[error("the vault belongs to the account {owner}, and this is {account}")]
    NotOwner {
        /// Who may.
        owner: Address,
        /// Who asked.
        account: Address,
    },
    /// The node signed for another operator than the loan that would register it.
    #[error("node {node} signed for the operator {signed}, and its loan to {operator} is to be {loan}")]
    OtherLoan {
        /// Which node.
        node: NodeId,
        /// For whom it signed.
        signed: Address,
        /// Whom the stake is for.
        operator: Address,
        /// Where the loan will be.
        loan: Address,
    },
    /// All is lent.
    #[error("the vault has {has} SESH left, and {stake} SESH are needed")]
    Empty {
        /// What it has.
        has: Amount,
        /// What is needed.
        stake: Amount,
    },
    /// The stake is still locked, or was brought back.
    #[error("the loan {loan} has nothing to give back")]
    NothingBack {
        /// Which loan.
        loan: Address,
    },
}

impl VaultError {
    /// A word for it, which stays.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Send(error) => error.code(),
            Self::Candidate(_) | Self::OtherLoan { .. } => "registration",
            Self::None => "no_faucet",
            Self::Elsewhere { .. } => "vault",
            Self::OneRole { .. } => "old_vault",
            Self::NotLender { .. } => "not_lender",
            Self::NotOwner { .. } => "not_owner",
            Self::Empty { .. } => "faucet_empty",
            Self::NothingBack { .. } => "nothing_back",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Send(error) => error.remedy(),
            Self::Candidate(_) => {
                "make the node's registration again for this loan and network, with `session node init --again`"
            }
            Self::None => "stake your own SESH: session stake register NODE",
            Self::Elsewhere { .. } => {
                "correct `vault` in the network file, or take it out if no faucet lends stakes"
            }
            Self::OneRole { .. } => {
                "let the network's publisher run it with the release that published it, or begin another network with \
                 this one: session network publish NAME --data DIR"
            }
            Self::NotLender { .. } => {
                "use the faucet's account, or let the vault's owner name this one: session network publish NAME \
                 --account OWNER"
            }
            Self::NotOwner { .. } => "use the account that published the network",
            Self::OtherLoan { .. } => {
                "let the node sign once more, for the loan: session node init --again --operator LOAN"
            }
            Self::Empty { .. } => {
                "send the vault more SESH, or wait until stakes come back to it; or stake your own: session stake \
                 register NODE"
            }
            Self::NothingBack { .. } => {
                "wait until the node's stake is released: session stake withdraw NODE"
            }
        }
    }

    /// Whether waiting helps.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Empty { .. } | Self::NothingBack { .. } | Self::Send(SendError::Endpoint { .. }))
    }
}
