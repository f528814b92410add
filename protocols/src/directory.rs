//! Who is where: node records, the machine that knows whom to believe, and snapshots.
//!
//! A record is a node's own signed word about its addresses. It names a recent border of the
//! ledger, so that none can be made in advance, and is believed only of a registered node and only
//! for addresses inside the prefix that the node declared.
//!
//! Clients do not collect records one by one: at every border of a period the nodes agree on one list
//! of records, the snapshot, and sign its hash.
//!
//! - [`record`]: what a node says of itself
//! - [`is_public`]: which addresses are everybody's
//! - [`machine`]: what one participant believes
//! - [`snapshot`]: the list, its hash, and the changes from one to another
//! - [`certificate`]: who has to sign a hash, and who has
//! - [`agreement`]: how the nodes come to sign the same
//! - [`download`]: how a list is fetched, page by page
//! - [`trusted`]: what a client believes, and on whose word
//! - [`kept`]: the same until another time
//! - [`checkpoint`]: who is a member, for clients of a network whose nodes register on a chain

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::{NodeId, Span};

pub mod agreement;
pub mod certificate;
pub mod checkpoint;
pub mod download;
pub mod kept;
pub mod machine;
mod public;
pub mod record;
pub mod snapshot;
pub mod trusted;

pub use certificate::{Certificate, Members, Roster, Share, Vote};
pub use checkpoint::{CheckpointPage, SignedCheckpoint};
pub use download::{Download, DownloadError, Found, Progress};
pub use kept::KeptError;
pub use machine::{Directory, Input, Output, Verdict};
pub use public::is_public;
pub use record::{Endpoint, EndpointError, NodeRecord, OnionDoor, SignedRecord, Transport};
pub use snapshot::{Change, Page, Snapshot, Timing};
pub use trusted::{Distrust, Trusted};

/// The longest encoded record, in bytes.
pub const MAX_RECORD: usize = 2_048;
/// The longest encoded share, in bytes.
pub const MAX_SHARE: usize = 512;
/// The longest encoded request, in bytes.
pub const MAX_REQUEST: usize = 1_024;
/// The longest encoded answer, in bytes.
pub const MAX_ANSWER: usize = 1024 * 1024;
/// The most endpoints in a record.
pub const MAX_ENDPOINTS: usize = 8;
/// How far ahead of our clock a record's time may be.
pub const MAX_AHEAD: Span = Span::secs(60);
/// How old a record may be when it arrives; it stays until a later one takes its place.
pub const LIFETIME: Span = Span::hours(24);
/// How often a node says where it is.
pub const ANNOUNCE: Span = Span::secs(600);
/// How soon a node may say so again when something changed.
pub const ANNOUNCE_PAUSE: Span = Span::secs(10);
/// How many of the last borders a record may name: a node may lag a little, and no record outlives
/// the few epochs in which it was made.
pub const RECENT_BORDERS: usize = 3;

/// A question about the directory: `/session/<net>/directory/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The records of nodes after this one, in order of their ids; from the first if none.
    Records {
        /// The last node of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<NodeId>,
    },
    /// A snapshot, as changes of another one where that is known, else whole.
    Snapshot {
        /// Which, by its hash; the newest that is certified if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<ByteArray<32>>,
        /// The one that the asker has, by its hash.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        have: Option<ByteArray<32>>,
        /// How many changes the pages before had; 0 for the first page.
        from: u32,
    },
    /// A checkpoint that most members have signed: the newest, but for what follows.
    Checkpoint {
        /// The first that is kept of this epoch and later ones: for who trusts too few of those who signed the
        /// newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
        /// The members that the asker has, by their root.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        have: Option<ByteArray<32>>,
        /// The epoch whose pages have to follow, and how many members those before had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<(u64, u32)>,
    },
}

/// An answer about the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A page of records.
    Records {
        /// In order of the nodes' ids.
        records: Vec<SignedRecord>,
        /// Whether more follow.
        more: bool,
    },
    /// A page of a snapshot.
    Snapshot(Page),
    /// A page of a checkpoint.
    Checkpoint(Box<CheckpointPage>),
    /// There is nothing of that kind here.
    Unknown,
}
