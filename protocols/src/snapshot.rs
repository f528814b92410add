//! The ledger of a checkpoint: `/session/<net>/snapshot/1`.
//!
//! A node that begins asks for all that a checkpoint stands for, in pages: the ledger right behind its border, as
//! the bytes that the checkpoint's digest is made of, and the rows of the index of names there. It knows the digest
//! already, from the contract, so it believes whatever fits that, and nothing else (`session-chain`,
//! `settlement::sync`).

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::directory::checkpoint::Events;

/// The longest encoded request, in bytes.
pub const MAX_REQUEST: usize = 256;
/// The longest encoded answer, in bytes.
pub const MAX_ANSWER: usize = 512 << 10;
/// Bytes of the ledger in a page, but for the last.
pub const PAGE: usize = 256 << 10;
/// Rows of names are added to a page until they have so many bytes; as much again may come of what changed since
/// the border.
pub const NAMES_PAGE: usize = 192 << 10;
/// The longest key of a row, in bytes.
pub const MAX_KEY: usize = 64;
/// The longest value of a row, in bytes.
pub const MAX_VALUE: usize = 4 << 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A page of the ledger.
    Ledger {
        /// Behind the end of which epoch.
        epoch: u64,
        /// From which byte on.
        from: u64,
    },
    /// A page of the rows of names.
    Names {
        /// At the end of which epoch.
        epoch: u64,
        /// From which key on.
        from: ByteBuf,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A page of the ledger.
    Ledger {
        /// On the first page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<Box<Head>>,
        /// The ledger's bytes; [`PAGE`] of them where there are more.
        bytes: ByteBuf,
        /// Whether more follow.
        more: bool,
    },
    /// A page of the rows of names.
    Names {
        /// Keys and values, in order of the keys.
        rows: Vec<(ByteBuf, ByteBuf)>,
        /// From which key on there are more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<ByteBuf>,
    },
    /// The node has nothing of that epoch.
    Unknown,
}

/// What the checkpoint's digest is made of beside the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The hash of the epoch's last block.
    pub block: ByteArray<32>,
    /// The digest of the epoch before.
    pub previous: ByteArray<32>,
    /// Of the contracts of stakes and of checkpoints, of the pool, and of the contract of names.
    pub events: [Events; 4],
    /// The root of names.
    pub names: ByteArray<32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn the_longest_of_both_have_room() {
        let head = Head {
            block: ByteArray::new([0xff; 32]),
            previous: ByteArray::new([0xff; 32]),
            events: [Events { number: u64::MAX, hash: ByteArray::new([0xff; 32]) }; 4],
            names: ByteArray::new([0xff; 32]),
        };
        let bytes = ByteBuf::from(vec![0xff; PAGE]);
        let ledger = Answer::Ledger { head: Some(Box::new(head)), bytes, more: true };
        assert!(codec::encode(&ledger).len() <= MAX_ANSWER);
        // As many rows as possible, and two at their longest.
        let row = |key: usize, value: usize| (ByteBuf::from(vec![0; key]), ByteBuf::from(vec![0; value]));
        let mut rows = vec![row(20, 32); 2 * NAMES_PAGE / 52];
        rows.extend([row(MAX_KEY, MAX_VALUE), row(MAX_KEY, MAX_VALUE)]);
        let names = Answer::Names { rows, next: Some(ByteBuf::from(vec![0; MAX_KEY])) };
        let bytes = codec::encode(&names);
        assert!(bytes.len() <= MAX_ANSWER, "{} bytes", bytes.len());
        assert_eq!(codec::decode::<Answer>(&bytes, MAX_ANSWER), Ok(names));
        let request = Request::Names { epoch: u64::MAX, from: ByteBuf::from(vec![0xff; MAX_KEY]) };
        assert!(codec::encode(&request).len() <= MAX_REQUEST);
    }
}
