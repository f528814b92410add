//! Why something cannot be done with a name.

use alloy::primitives::{Address, U256};

use super::{MAX_YEARS, MIN_DAYS, Period};
use crate::{
    ledger::Amount,
    settlement::{
        errors::second,
        sender::{SendError, ether},
        state::StateError,
    },
};

/// Why something cannot be done with a name. Nothing was sent, unless the sender says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrarError {
    /// It cannot be sent, or the chain cannot be asked.
    #[error(transparent)]
    Send(#[from] SendError),
    /// What is known of names cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Somebody has the name.
    #[error(
        "the name is taken: {owner} has it, and nobody else can register it before {}",
        second(U256::from(*free_at))
    )]
    Taken {
        /// Who has.
        owner: Address,
        /// When it is free, if nobody renews it, in seconds since 1970.
        free_at: u64,
    },
    /// The account has the name.
    #[error("the name is this account's already")]
    Yours,
    /// Nobody has the name.
    #[error("nobody has registered this name")]
    Free,
    /// Somebody else has the name.
    #[error("the name is {owner}'s, and this account is {account}")]
    NotYours {
        /// Who has.
        owner: Address,
        /// Who asked.
        account: Address,
    },
    /// The name was not paid for.
    #[error("the name expired at {}: it can be renewed, and nothing else", second(U256::from(*since)))]
    Expired {
        /// When, in seconds since 1970.
        since: u64,
    },
    /// Names are never paid for so long, or so shortly.
    #[error("{period} is not from {MIN_DAYS} days to {MAX_YEARS} years")]
    Period {
        /// For how long was asked.
        period: Period,
    },
    /// Its owner does not sell it to whoever comes.
    #[error("the name is not for sale")]
    NotForSale,
    /// The price is more than whoever buys agreed to.
    #[error("the name costs {price} SESH, which is more than {most} SESH")]
    Dear {
        /// What it costs.
        price: Amount,
        /// What was agreed to.
        most: Amount,
    },
    /// Nobody offers anything, or not this account.
    #[error("there is no such offer for the name")]
    NoOffer,
    /// The best offer is less than whoever sells agreed to.
    #[error("the best offer is {amount} SESH, which is less than {least} SESH")]
    Little {
        /// What is offered.
        amount: Amount,
        /// What was agreed to.
        least: Amount,
    },
    /// One in place of the best offer would bind shorter.
    #[error(
        "the best offer binds until {}, and one in its place binds as long: for {days} days or more",
        second(U256::from(*until))
    )]
    Brief {
        /// Until when the best one binds, in seconds since 1970.
        until: u64,
        /// How many days that takes at least, 30 at most.
        days: u64,
    },
    /// There are not as many tokens.
    #[error("there are not {amount} SESH in all")]
    TooMuch {
        /// How many.
        amount: Amount,
    },
    /// Sending costs more than was agreed to. Nothing was sent.
    #[error(
        "to commit to the name costs up to {} ETH by now, and {} ETH were agreed to for all of it",
        ether(*needs), ether(*most)
    )]
    Costly {
        /// The most that it can cost, in wei.
        needs: U256,
        /// What was agreed to, less what is spent, in wei.
        most: U256,
    },
    /// The chain took a commitment back again and again.
    #[error("the chain does not keep the commitment to the name")]
    Uncommitted,
    /// The chain makes no blocks.
    #[error("the chain's time stands still: the commitment to the name cannot be used yet")]
    Stands,
}

impl RegistrarError {
    /// A word for it, which stays.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Send(error) => error.code(),
            Self::State(_) => "chain",
            Self::Taken { .. } => "name_taken",
            Self::Yours => "name_yours",
            Self::Free => "no_name",
            Self::NotYours { .. } => "not_yours",
            Self::Expired { .. } => "name_expired",
            Self::Period { .. } => "period",
            Self::NotForSale => "not_for_sale",
            Self::Dear { .. } => "too_dear",
            Self::NoOffer => "no_offer",
            Self::Little { .. } => "too_little",
            Self::Brief { .. } => "too_short",
            Self::TooMuch { .. } => "amount",
            Self::Costly { .. } => "too_costly",
            Self::Uncommitted | Self::Stands => "not_committed",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Send(error) => error.remedy(),
            Self::State(_) => "do what it says; the file is made again from the chain",
            Self::Taken { .. } => {
                "choose another name, or see whether it is for sale: session name buy NAME; or offer for it: \
                 session name offer NAME PRICE"
            }
            Self::Yours => "nothing: see session name list",
            Self::Free => {
                "check how it is written, or register it now, as the endpoint that was asked has heard its id: \
                 session name register NAME"
            }
            Self::NotYours { .. } => "name the owner's account with --account",
            Self::Expired { .. } => "renew it, which anyone may: session name renew NAME",
            Self::Period { .. } => "give another period: --years N, or --days N",
            Self::NotForSale => "offer for it: session name offer NAME PRICE",
            Self::Dear { .. } => "agree to the price, or offer less: session name offer NAME PRICE",
            Self::NoOffer => "see what there is: session name market",
            Self::Little { .. } => "agree to less, or set a price: session name sell NAME PRICE",
            Self::Brief { .. } => "offer for as many days: session name offer NAME PRICE --days N",
            Self::TooMuch { .. } => "give a smaller amount",
            Self::Costly { .. } => "register it again, and see what it costs by then",
            Self::Uncommitted => {
                "use another endpoint in the network file, then register it again: it goes on"
            }
            Self::Stands => "register it again once the chain goes on: nothing is lost",
        }
    }

    /// Whether waiting helps.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Uncommitted | Self::Stands | Self::Send(SendError::Endpoint { .. }))
    }
}
