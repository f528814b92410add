//! Why something cannot be done with money.

use alloy::primitives::Address;

use crate::settlement::{endpoint::EndpointError, sender::SendError};

/// Why something cannot be done with money. Nothing was sent, unless the sender says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// It cannot be sent, or the chain cannot be asked.
    #[error(transparent)]
    Send(#[from] SendError),
    /// An endpoint's URL is none.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nothing is to be paid.
    #[error("an amount of nothing pays nobody")]
    Nothing,
    /// Nobody could ever pay it on.
    #[error("what is paid to {to} is lost: nobody has its key")]
    Lost {
        /// To whom it was to be paid.
        to: Address,
    },
    /// The logs of so few blocks come at once that all of them would take too long.
    #[error("{endpoint} gives the logs of few blocks at once: nobody looked at blocks {from} to {to}")]
    Unsearched {
        /// Who does, by its host.
        endpoint: String,
        /// The first block that nobody looked at.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Endpoints contradict each other about a payment.
    #[error(
        "the endpoints contradict each other about this payment: {one} says that {first}, and {two} that {second}"
    )]
    Apart {
        /// One of them, by its host.
        one: String,
        /// What it says.
        first: String,
        /// The other one.
        two: String,
        /// What that one says.
        second: String,
    },
    /// Too few endpoints answer to believe them.
    #[error(
        "{answered} of {asked} endpoints answer, and more than half have to before a payment is believed"
    )]
    TooFew {
        /// How many do.
        answered: usize,
        /// How many were asked.
        asked: usize,
        /// What was wrong with the last that did not.
        #[source]
        cause: Option<Box<Self>>,
    },
}

impl WalletError {
    /// A word for it, which stays.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Send(error) => error.code(),
            Self::Endpoint(_) | Self::Unsearched { .. } | Self::TooFew { .. } => "chain",
            Self::Nothing => "nothing",
            Self::Lost { .. } => "lost",
            Self::Apart { .. } => "endpoints_disagree",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Send(error) => error.remedy(),
            Self::Endpoint(_) => "check `rpc` in the network file",
            Self::Nothing => "give an amount of more than 0",
            Self::Lost { .. } => "ask whom you pay for the address once more",
            Self::Unsearched { .. } => "name an endpoint first that gives the logs of more blocks at once",
            Self::Apart { .. } => "do not rely on this payment: look at the transaction elsewhere",
            Self::TooFew { .. } => "try again later, or name other endpoints in the network file",
        }
    }
}
