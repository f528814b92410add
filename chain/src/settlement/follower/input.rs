//! What the follower is fed, and what it wants done.

use alloy::primitives::B256;

use super::Known;
use crate::{
    ledger::{Block, Border, Cursors},
    settlement::{contracts::Followed, logs::Log, trouble::Trouble},
};

/// A block's header, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of the block before.
    pub parent: B256,
    /// Its time, in seconds since 1970.
    pub time: u64,
}

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest final one.
    Final,
    /// The one at a height.
    At(u64),
}

/// What an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The chain's id.
    Chain,
    /// A header.
    Header(Which),
    /// The numbered events of all contracts in some blocks.
    Logs {
        /// The first block.
        from: u64,
        /// The last block.
        to: u64,
    },
    /// How far the contracts' events had come after the block of this hash.
    Cursors(B256),
}

/// What an endpoint answered, in the order of [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "one for each question")]
pub enum Answer {
    Chain(u64),
    /// None when the endpoint does not know the block.
    Header(Option<Header>),
    Logs(Vec<Log>),
    /// None when the endpoint keeps no state of that block.
    Cursors(Option<Cursors>),
}

/// Why an endpoint gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// So many logs, or blocks, are refused.
    TooMany,
    /// Something is wrong with it.
    Trouble(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// What the machine is fed.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// An endpoint answered, or did not.
    Answer {
        /// Which endpoint.
        endpoint: usize,
        /// The number of the question.
        id: u64,
        /// What came of it.
        answer: Result<Answer, Failure>,
    },
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask an endpoint.
    Ask {
        /// Which endpoint.
        endpoint: usize,
        /// The number to answer with.
        id: u64,
        /// What to ask.
        question: Question,
    },
    /// Apply this to the ledger, and keep it together with the mark before more is asked.
    Advance(Box<Advance>),
}

/// The next piece of the chain: blocks with inputs, then perhaps a border.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The blocks with something in them.
    pub blocks: Vec<Block>,
    /// The border behind them, if an epoch ends here.
    pub border: Option<Border>,
    /// Where following goes on.
    pub mark: Mark,
}

/// How far the chain has been followed: all of it up to this block is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The block's height.
    pub height: u64,
    /// Its hash; zero before anything is known.
    pub hash: B256,
    /// Its time, in seconds since 1970.
    pub time: u64,
    /// The epoch that ends next.
    pub epoch: u64,
    /// How far each contract's events have come.
    pub cursors: Cursors,
}

impl Mark {
    /// The mark before the contracts were deployed.
    pub fn before(followed: &Followed) -> Self {
        let height = followed.start.saturating_sub(1);
        Self { height, hash: B256::ZERO, time: 0, epoch: 0, cursors: Cursors::default() }
    }

    /// Whether nothing has happened by then: no event of a contract, and no border.
    pub fn is_bare(&self) -> bool {
        self.epoch == 0 && self.cursors == Cursors::default()
    }

    pub(super) const fn known(&self) -> Known {
        Known { height: self.height, hash: self.hash }
    }
}
