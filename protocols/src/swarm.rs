//! What the members of one swarm say to each other: `/session/<net>/swarm/1`.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::{
    AccountId, MessageHash,
    answer::{Code, Done, Told},
    identity::Signature,
    record::Mutation,
    ring::Arc,
};

/// The longest encoded message between members, in bytes.
pub const MAX_MESSAGE: usize = 2 * 1024 * 1024;
/// The most mutations in one message.
pub const MAX_BATCH: usize = 512;
/// The most bytes of mutations in one message; one mutation may pass it alone.
pub const MAX_BATCH_BYTES: usize = 512 * 1024;
/// The most ids in one fetch.
pub const MAX_FETCH: usize = 512;
/// The most records in one question whether they are held.
pub const MAX_HELD: usize = 512;
/// The most bytes of one reconciliation message.
pub const MAX_RECONCILE: usize = 256 * 1024;

/// What one member asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmRequest {
    /// The version of the map by which the asker asks.
    pub map_version: u64,
    /// The version of the newest map that the asker knows, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    /// Which part of the asker's territory a comparison is about; none for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arc: Option<Arc>,
    /// What is asked.
    pub ask: Ask,
}

impl SwarmRequest {
    /// A question by a map that is the newest, about all of the asker's territory.
    pub const fn new(map_version: u64, ask: Ask) -> Self {
        Self { map_version, newest: None, arc: None, ask }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Make these durable and sign for them.
    Replicate {
        /// At most [`MAX_BATCH`].
        mutations: Vec<Mutation>,
        /// The places, from 0, of those whose client came through the JSON door: say what it is told.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        json: Vec<u32>,
    },
    /// You missed something that the asker holds: compare with it soon.
    Behind,
    /// Say what you hold, an hour at a time.
    Fingerprints,
    /// Compare the ids of one slice of a bucket (a message of `negentropy`, version 1).
    Reconcile {
        /// Hours since 1970.
        bucket: u32,
        /// Which slice.
        slice: Slice,
        /// At most [`MAX_RECONCILE`] bytes.
        message: ByteBuf,
    },
    /// Send the requests behind these ids.
    Fetch {
        /// Hours since 1970.
        bucket: u32,
        /// Which slice.
        slice: Slice,
        /// At most [`MAX_FETCH`].
        ids: Vec<ByteArray<32>>,
    },
    /// Say which of these you hold, so that the asker, who keeps them no longer, may forget them.
    Held {
        /// At most [`MAX_HELD`].
        records: Vec<Known>,
    },
}

/// A record in a known state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which message.
    pub hash: MessageHash,
    /// [`crate::record::Record::id`].
    pub id: ByteArray<32>,
}

/// The part of a bucket whose ids begin with given bits, so that no comparison grows without bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slice {
    /// How many leading bits count, 0 to 16.
    pub bits: u8,
    /// What those bits are.
    pub value: u16,
}

impl Slice {
    /// The most bits.
    pub const MAX_BITS: u8 = 16;

    /// Whether the slice is one that can be asked for.
    pub const fn valid(self) -> bool {
        self.bits <= Self::MAX_BITS && (self.value as u32) < (1_u32 << self.bits)
    }

    /// Whether `id` belongs to the slice.
    pub const fn contains(self, id: &[u8; 32]) -> bool {
        let head = u16::from_be_bytes([id[0], id[1]]);
        match self.bits {
            0 => true,
            bits @ 1..=15 => head >> 16_u8.saturating_sub(bits) == self.value,
            _ => head == self.value,
        }
    }

    /// The slice after this one of the same size; none after the last.
    pub const fn next(self) -> Option<Self> {
        let value = self.value.wrapping_add(1);
        let next = Self { bits: self.bits, value };
        if value != 0 && next.valid() { Some(next) } else { None }
    }
}

/// What a member answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwarmAnswer {
    /// One for each mutation, in order.
    Replicated {
        /// Done and signed, or why not.
        results: Vec<Replicated>,
    },
    /// Heard.
    Noted,
    /// What the member holds.
    Fingerprints {
        /// One for each hour that holds anything, in order.
        buckets: Vec<BucketPrint>,
        /// The versions of the maps under which the member keeps accounts and has not caught up with
        /// those who kept them before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        incomplete: Vec<u64>,
    },
    /// The next word of the comparison.
    Reconcile {
        /// At most [`MAX_RECONCILE`] bytes.
        message: ByteBuf,
    },
    /// The requests behind the ids asked for, as many as fit.
    Fetched {
        /// In the order in which they must be applied.
        mutations: Vec<Mutation>,
        /// How many of the ids, from the first, are dealt with.
        ids: u32,
    },
    /// Which of the records asked for are held, in the very state.
    Held {
        /// Their places in the question, from 0 and in order.
        places: Vec<u32>,
    },
    /// Not done.
    Refused {
        /// Why.
        code: Code,
    },
}

/// What became of one mutation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replicated {
    /// Durable; the parts of a receipt that the asker lacks.
    Done {
        /// What was done.
        done: Done,
        /// The member's signature.
        signature: Signature,
        /// What a client of the JSON door is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<Box<Told>>,
    },
    /// Not done.
    Refused {
        /// Why.
        code: Code,
    },
}

/// The fingerprint of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPrint {
    /// Hours since 1970.
    pub bucket: u32,
    /// How many records.
    pub count: u64,
    /// The sum of their ids.
    pub sum: ByteArray<32>,
}
