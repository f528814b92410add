//! What the machine is fed, what it wants done, and what is told of it.

use core::fmt;

use alloy::primitives::B256;
use session_protocols::snapshot::{Answer, Request};

use crate::{
    ledger::{Checkpoint, Ledger},
    names::Row,
};

/// How the ledger of a node began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begun {
    /// With what was kept.
    #[default]
    Kept,
    /// It has not: the ledger of a checkpoint is being fetched.
    Fetching {
        /// Of which epoch, once that is known.
        epoch: Option<u64>,
        /// So many bytes of it are there.
        bytes: u64,
    },
    /// With the ledger of a checkpoint.
    Checkpoint {
        /// Of which epoch.
        epoch: u64,
    },
    /// With the logs since the contracts were deployed.
    Logs,
}

/// Why it begins, or goes on, with the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No checkpoint was ever accepted.
    None,
    /// No more than half of the endpoints say the same of the last one.
    Endpoints,
    /// No peer that was asked has its ledger.
    Peers,
    /// It is not ahead of the ledger, or not by much.
    Near,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no checkpoint was accepted so far",
            Self::Endpoints => "too few endpoints agree on the last checkpoint",
            Self::Peers => "no node that was asked gave the ledger of the last checkpoint",
            Self::Near => "the last checkpoint is hardly ahead of the ledger",
        })
    }
}

/// The epoch and digest of the checkpoint that the contract accepted last; none before the first.
pub type Accepted = Option<(u64, B256)>;

/// What the machine is fed.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has come; or it begins.
    Tick,
    /// What an endpoint says of the contract; none where it says nothing.
    Accepted {
        /// Which endpoint.
        endpoint: usize,
        /// What it says.
        found: Option<Accepted>,
    },
    /// What a peer answered; none where it did not.
    Answer {
        /// The number of the question.
        id: u64,
        /// The answer.
        answer: Option<Answer>,
    },
    /// The tree of names was made, and has this root.
    Planted {
        /// The root.
        root: B256,
    },
    /// How far the logs have led, while it goes by these.
    Logs(Led),
}

/// How far the logs have led.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// Up to which block they are known.
    pub height: u64,
    /// The newest final block, where it is known.
    pub head: Option<u64>,
    /// The epoch that ends next in the ledger; none while nothing of the logs is in it.
    pub epoch: Option<u64>,
    /// How many epochs have ended since, by the time of that block; none where it is not known.
    pub behind: Option<u64>,
    /// Whether the block that the ledger stands at was found to be what it was.
    pub compared: bool,
    /// Whether no endpoint has what comes next: each says that it has dropped it, or leaves some of it out.
    pub pruned: bool,
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask an endpoint what the contract accepted last.
    AskContract {
        /// Which endpoint.
        endpoint: usize,
    },
    /// Ask a peer.
    Ask {
        /// The number to answer with.
        id: u64,
        /// Which peer.
        peer: usize,
        /// What to ask.
        request: Request,
    },
    /// Put these rows of names beside those before.
    Restore(Vec<Row>),
    /// Forget all rows of names.
    Forget,
    /// Make the tree of all names, and tell its root.
    Plant,
    /// Keep this ledger and go on from there.
    Begin(Box<Found>),
    /// Go on with the logs, and tell how far they lead; once [`super::Syncing::deadline`] comes all of this is
    /// tried again. After [`Self::Begin`], too.
    Logs(Why),
}

/// The ledger right behind the border of an accepted checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The ledger.
    pub ledger: Ledger,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}
