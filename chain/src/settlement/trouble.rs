//! What can be wrong with an endpoint, why the ledger holds or stops, and what to do about each.

use alloy::primitives::B256;

use super::{contracts::Contract, logs::LogError};

/// What an endpoint did: the end of a sentence that begins with its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// No connection, or it broke.
    #[error("cannot be reached: {why}")]
    Unreachable {
        /// What the system says.
        why: String,
    },
    /// No answer in time.
    #[error("does not answer in time")]
    Late,
    /// It wants to be asked less.
    #[error("is asked too often: {said}")]
    TooOften {
        /// What it says.
        said: String,
    },
    /// It answers with an error of HTTP alone.
    #[error("answers with HTTP {status}")]
    Http {
        /// The status.
        status: u16,
    },
    /// It answers with an error.
    #[error("refuses: {said}")]
    Refuses {
        /// What it says.
        said: String,
    },
    /// It keeps what is asked for no longer.
    #[error("has dropped what is that old: {said}")]
    Pruned {
        /// What it says.
        said: String,
    },
    /// A page, or something else that is not what is spoken.
    #[error("answers with what is no JSON-RPC: {said}")]
    NotRpc {
        /// How it begins.
        said: String,
    },
    /// JSON-RPC, but nothing that answers the question.
    #[error("gave no answer to what it was asked: {what}")]
    NoAnswer {
        /// What it was.
        what: &'static str,
    },
    /// It serves another chain.
    #[error("serves chain {found} and not {wanted}")]
    WrongChain {
        /// The chain that it serves.
        found: u64,
        /// The one that is followed.
        wanted: u64,
    },
    /// Its final block is older than one that was final before.
    #[error("its final block went back from {from} to {to}")]
    WentBack {
        /// What it was.
        from: u64,
        /// What it is.
        to: u64,
    },
    /// Its final block is far behind the others'.
    #[error("says that block {head} is the last final one, and {newest} is")]
    StaleHead {
        /// What it says.
        head: u64,
        /// What others say, or what was final before.
        newest: u64,
    },
    /// It does not know a block before its final one.
    #[error("does not know block {height}, which is before its final one")]
    UnknownBlock {
        /// Which one.
        height: u64,
    },
    /// Another block than the one asked for.
    #[error("gave block {found} for block {height}")]
    OtherBlock {
        /// The one asked for.
        height: u64,
        /// The one given.
        found: u64,
    },
    /// Two blocks that do not follow each other.
    #[error("gave a block that does not follow block {height}")]
    Unlinked {
        /// The first of the two.
        height: u64,
    },
    /// Its logs have a gap, a repeat, or what the contracts never say.
    #[error("gave {0}")]
    Log(#[from] LogError),
    /// A log from outside the blocks that were asked for.
    #[error("gave a log of block {height}, which was not asked for")]
    Outside {
        /// Its block.
        height: u64,
    },
    /// Logs out of order, taken back, or of two times or two hashes of one block.
    #[error("gave logs of block {height} that cannot be final")]
    NotFinal {
        /// Their block.
        height: u64,
    },
    /// What its logs come to is not what the contract recorded.
    #[error(
        "gave logs of {contract} that are not its own: event {number} is left out or forged, as the contract's \
         hash at block {height} shows"
    )]
    Forged {
        /// Whose.
        contract: Contract,
        /// The first event that may be wrong.
        number: u64,
        /// Where the contract was asked.
        height: u64,
    },
    /// So much is refused that nothing is left.
    #[error("refuses the logs of a single block ({height})")]
    TooSmall {
        /// Which one.
        height: u64,
    },
    /// More than half of all say something else.
    #[error("disagrees with {others} others about {about}")]
    Outvoted {
        /// How many.
        others: usize,
        /// Which blocks.
        about: String,
    },
}

impl Trouble {
    /// A word for it, of a fixed set.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Late => "late",
            Self::TooOften { .. } => "rate-limited",
            Self::Http { .. } => "http",
            Self::Refuses { .. } => "refuses",
            Self::Pruned { .. } => "pruned",
            Self::NotRpc { .. } => "not-rpc",
            Self::NoAnswer { .. } => "no-answer",
            Self::WrongChain { .. } => "wrong-chain",
            Self::WentBack { .. } | Self::StaleHead { .. } => "stale",
            Self::UnknownBlock { .. } | Self::OtherBlock { .. } | Self::Unlinked { .. } => "bad-block",
            Self::Log(_) | Self::Outside { .. } | Self::NotFinal { .. } => "bad-logs",
            Self::Forged { .. } => "forged",
            Self::TooSmall { .. } => "too-small",
            Self::Outvoted { .. } => "outvoted",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Late | Self::Http { .. } | Self::Refuses { .. } => {
                "nothing if it passes: it is asked again; if it lasts, use another endpoint"
            }
            Self::TooOften { .. } => "raise what the provider lets you ask, or use another endpoint",
            Self::Pruned { .. } => {
                "nothing where the ledger goes on with a checkpoint by itself (`sync = \"checkpoint\"`); else use an \
                 endpoint that keeps old logs"
            }
            Self::NotRpc { .. } | Self::NoAnswer { .. } => {
                "check its URL: it must serve Ethereum's JSON-RPC, with logs and calls at past blocks"
            }
            Self::WrongChain { .. } => "check its URL: it belongs to another chain",
            Self::WentBack { .. } | Self::StaleHead { .. } => {
                "wait until it has caught up, or use another endpoint"
            }
            Self::TooSmall { .. } => "use an endpoint that gives all the logs of a block",
            Self::UnknownBlock { .. }
            | Self::OtherBlock { .. }
            | Self::Unlinked { .. }
            | Self::Log(_)
            | Self::Outside { .. }
            | Self::NotFinal { .. }
            | Self::Forged { .. }
            | Self::Outvoted { .. } => "do not trust it with anything: use an endpoint of another provider",
        }
    }

    /// Whether it may be over when the same is asked again.
    pub(super) const fn passes(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Late
                | Self::TooOften { .. }
                | Self::Http { .. }
                | Self::Refuses { .. }
        )
    }
}

/// Why nothing is applied at present, and nothing is to be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Hold {
    /// All are silent.
    #[error("no endpoint answers")]
    Unanswered,
    /// All are left out.
    #[error("no endpoint can be believed")]
    Disbelieved,
    /// Nobody is in the majority.
    #[error("{} disagree about {about}", names.join(" and "))]
    Disagree {
        /// Who.
        names: Vec<String>,
        /// Which blocks.
        about: String,
    },
    /// There is nothing to hold the only endpoint's logs against, or there are too many until there is.
    #[error(
        "the only endpoint that answers shows no state of the contracts, so what happened after block {height} cannot be checked"
    )]
    Unproven {
        /// The last block that is proven.
        height: u64,
    },
    /// One of several says that a final block was replaced.
    #[error("one endpoint alone says that {0}")]
    Alone(Replaced),
    /// Nobody says where an epoch ends.
    #[error("no endpoint finds the end of epoch {epoch}")]
    NoBorder {
        /// Which one.
        epoch: u64,
    },
    /// The chain has not come to where the contracts begin.
    #[error("block {height}, before the contracts, is not final so far")]
    TooEarly {
        /// Which one.
        height: u64,
    },
    /// Of two, one knows much more; what both know is applied.
    #[error("{name} knows final blocks up to {high}, another endpoint up to {low} alone")]
    Apart {
        /// Who knows more.
        name: String,
        /// What it knows.
        high: u64,
        /// What the other knows.
        low: u64,
    },
}

impl Hold {
    /// Whether endpoints contradict each other.
    pub const fn is_dispute(&self) -> bool {
        matches!(self, Self::Disagree { .. } | Self::Alone(_))
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unanswered => "check the connection of this machine, and the endpoints' URLs",
            Self::Disbelieved => "see what each endpoint did wrong, and use others",
            Self::Disagree { .. } | Self::Alone(_) => {
                "use a third endpoint, of another provider, so that a majority decides"
            }
            Self::Unproven { .. } => "use an archive endpoint, or a second one",
            Self::NoBorder { .. } => "use an endpoint that knows all past blocks",
            Self::TooEarly { .. } => "wait, or check where the network file says that the contracts begin",
            Self::Apart { .. } => "wait until the slower one has caught up, or use a third endpoint",
        }
    }
}

/// A block that was final is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {height} was final as {was} and is {is}")]
pub struct Replaced {
    /// The block's height.
    pub height: u64,
    /// The hash that it had.
    pub was: B256,
    /// The hash that it has.
    pub is: B256,
}

/// Why nothing will be applied any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// The chain changed what was final.
    #[error("{0}")]
    Replaced(Replaced),
    /// The ledger or its file failed.
    #[error("{why}")]
    Failed {
        /// What happened.
        why: String,
    },
}

impl Stop {
    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Replaced(_) => {
                "do not restart this node as if nothing were: hear what the network agrees on, then delete the \
                 ledger's file, and the ledger is made again from the chain"
            }
            Self::Failed { .. } => "mend what it names, then start the node again",
        }
    }
}
