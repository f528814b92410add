//! Why a transaction did not do what it should, and what to do.

use alloy::primitives::{Address, B256, U256, utils::format_ether};

use crate::{
    ledger::Amount,
    settlement::{endpoint::EndpointError, errors::Refusal, trouble::Trouble},
};

/// Why a transaction did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The endpoint does not help.
    #[error("{endpoint} {trouble}")]
    Endpoint {
        /// Its host.
        endpoint: String,
        /// What it did.
        trouble: Trouble,
    },
    /// An endpoint's URL is none.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// The network's contracts are not there.
    #[error("there is no contract of the network at {at} on chain {chain}")]
    NoContract {
        /// Where it should be.
        at: Address,
        /// On which chain.
        chain: u64,
    },
    /// There is no token at the address that is said to be one.
    #[error("there is no token at {token}")]
    NoToken {
        /// The address.
        token: Address,
    },
    /// There is too little ether. Nothing was sent.
    #[error(
        "account {account} has {} ETH and needs {} ETH: {} ETH more",
        ether(*has), ether(*needs), ether(needs.saturating_sub(*has))
    )]
    Ether {
        /// Whose.
        account: Address,
        /// How much there is, in wei.
        has: U256,
        /// What value and fee may come to, in wei.
        needs: U256,
    },
    /// There are too few tokens. Nothing was sent.
    #[error("account {account} has {} SESH and needs {needs} SESH: {} SESH more", sesh(*has), more(*has, *needs))]
    Tokens {
        /// Whose.
        account: Address,
        /// How much there is, in units.
        has: U256,
        /// How much is needed.
        needs: Amount,
    },
    /// The contract may not take that many tokens. Nothing was sent.
    #[error(
        "account {account} lets {spender} take {} SESH and it needs {needs} SESH: approve {needs} SESH first",
        sesh(*has)
    )]
    Allowance {
        /// Whose tokens.
        account: Address,
        /// Who may take them.
        spender: Address,
        /// How many, in units.
        has: U256,
        /// How many it will take.
        needs: Amount,
    },
    /// The contract refuses. Nothing was sent.
    #[error("the contract refuses: {refusal}")]
    Refused {
        /// Why.
        refusal: Box<Refusal>,
    },
    /// It was mined and had no effect, since the chain had changed in between.
    #[error("transaction {hash} had no effect: {refusal}")]
    Reverted {
        /// Its hash.
        hash: B256,
        /// Why.
        refusal: Box<Refusal>,
    },
    /// It was sent, and was not seen in a block: it may be on its way, or its receipt is late.
    #[error(
        "transaction {hash} (nonce {nonce}) was not seen in a block in time; it may be mined all the same"
    )]
    Unmined {
        /// The hash of the last one sent.
        hash: B256,
        /// Its nonce: one transaction at most is mined with it.
        nonce: u64,
    },
    /// Nobody knows whether it was sent.
    #[error("{endpoint} {trouble}: transaction {hash} (nonce {nonce}) may have been sent or not")]
    Unanswered {
        /// To whom it went, by its host.
        endpoint: String,
        /// What that did.
        trouble: Trouble,
        /// Its hash.
        hash: B256,
        /// Its nonce.
        nonce: u64,
    },
    /// Others keep using the account.
    #[error("other transactions of account {account} keep taking the nonces of this one")]
    Contended {
        /// Whose.
        account: Address,
    },
    /// Something of the account's stays on its way.
    #[error("a transaction of account {account} is on its way, and is in no block")]
    Waiting {
        /// Whose.
        account: Address,
    },
    /// The endpoint does not show what came of a transaction that made a contract, or was to make one.
    #[error(
        "{endpoint} does not show so far what account {account} sent with nonce {nonce}: it may be behind"
    )]
    Behind {
        /// Its host.
        endpoint: String,
        /// Whose.
        account: Address,
        /// With which nonce.
        nonce: u64,
    },
    /// The key cannot sign.
    #[error("cannot sign")]
    Sign(#[from] alloy::signers::Error),
}

impl SendError {
    /// A word for it, which stays.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } | Self::Behind { .. } => "chain",
            Self::Url(_) | Self::NoContract { .. } => "network_file",
            Self::Ether { .. } => "too_little_ether",
            Self::Tokens { .. } => "too_little_sesh",
            Self::Refused { .. } | Self::Reverted { .. } => "contract_refuses",
            Self::Unmined { .. } | Self::Unanswered { .. } | Self::Waiting { .. } => "not_mined",
            Self::NoToken { .. } | Self::Allowance { .. } | Self::Contended { .. } | Self::Sign(_) => {
                "not_sent"
            }
        }
    }

    /// Whether the contract has such a checkpoint already: another node was quicker.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Refused { refusal } | Self::Reverted { refusal, .. } if refusal.is_taken())
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Endpoint { trouble, .. } => trouble.remedy(),
            Self::Url(_) => "correct `rpc` in the network file",
            Self::NoContract { .. } => "check chain and addresses in the network file's section `settlement`",
            Self::NoToken { .. } => "check the token's address in the network file",
            Self::Ether { .. } => "send it the ether that lacks, on this chain, then try again",
            Self::Tokens { .. } => "send it the SESH that lack, on this chain, then try again",
            Self::Allowance { .. } => "approve the amount, then try again",
            Self::Refused { refusal } | Self::Reverted { refusal, .. } => refusal.remedy,
            Self::Unmined { .. } | Self::Unanswered { .. } => {
                "look later whether it was mined before you do the same again"
            }
            Self::Waiting { .. } => "do the same again once it is in a block: nothing is sent before",
            Self::Contended { .. } => "let one program at a time send from this account",
            Self::Behind { .. } => {
                "try again in a minute, or with another endpoint; where another program sent from this account \
                 meanwhile, once that is final, some minutes later"
            }
            Self::Sign(_) => "check the account's key",
        }
    }
}

/// Wei as ether, without needless zeros.
pub(in crate::settlement) fn ether(wei: U256) -> String {
    let text = format_ether(wei);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn sesh(units: U256) -> String {
    Amount::try_from(units).map_or_else(|_| units.to_string(), |amount| amount.to_string())
}

fn more(has: U256, needs: Amount) -> String {
    sesh(needs.units().saturating_sub(has))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_exactly() {
        let account = Address::repeat_byte(1);
        let wei = |thousandths: u64| U256::from(thousandths) * U256::from(10).pow(U256::from(15));
        let error = SendError::Ether { account, has: wei(10), needs: wei(13) };
        let text = "account 0x0101010101010101010101010101010101010101 has 0.01 ETH and needs 0.013 ETH: 0.003 ETH more";
        assert_eq!(error.to_string(), text);
        let error =
            SendError::Tokens { account, has: Amount::sesh(24_000).units(), needs: Amount::sesh(25_000) };
        assert!(
            error.to_string().ends_with("has 24000 SESH and needs 25000 SESH: 1000 SESH more"),
            "{error}"
        );
    }
}
