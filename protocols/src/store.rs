//! What a machine asks of the disk.
//!
//! The store keeps a log: every mutation with its effects, under a local sequence that grows by one.
//! All else (records by hash, mailboxes, expiries, fingerprints, usage) follows from the effects.

use crate::{
    AccountId, MessageHash, Namespace,
    record::{Mutation, Record},
};

#[cfg(any(test, feature = "test-utils"))]
pub mod memory;

/// The store cannot answer, or cannot promise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk failed. A commit that failed may still be durable: reopen and look.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk has no room. As after any failure the store must be reopened.
    #[error("the disk is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was read is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(&'static str),
    /// The bytes behind one record are not what was written; all else can be read.
    #[error("message {hash} of {account} is damaged: {why}")]
    Lost {
        /// Whose.
        account: AccountId,
        /// Which.
        hash: MessageHash,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl StoreError {
    /// The same, known to be about the bytes behind one record.
    pub fn about(self, account: &AccountId, hash: MessageHash) -> Self {
        match self {
            Self::Damaged(why) => Self::Lost { account: *account, hash, why },
            other @ (Self::Failed(_) | Self::Full(_) | Self::Lost { .. }) => other,
        }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The mutation, kept for as long as a record needs its bytes or its signature; none when
    /// records were only forgotten.
    pub mutation: Option<Mutation>,
    /// Until when the mutation is kept as the evidence of a deletion or change of expiry, in
    /// milliseconds since 1970; none when it goes with the record whose message it holds. The
    /// account is charged for it: see [`Self::charge`].
    pub evidence_until: Option<u64>,
    /// What it did to which records.
    pub effects: Vec<Effect>,
}

/// What evidence takes up, and at whose expense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Whose.
    pub account: AccountId,
    /// By [`Mutation::evidence_cost`].
    pub bytes: u64,
}

impl Entry {
    /// What the mutation takes up as evidence, from the entry until it is retired.
    pub fn charge(&self) -> Option<(u64, Charge)> {
        let (until, mutation) = (self.evidence_until?, self.mutation.as_ref()?);
        Some((until, Charge { account: *mutation.account(), bytes: mutation.evidence_cost() }))
    }
}

/// What an entry did to one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which message.
    pub hash: MessageHash,
    /// The record as it was; none when there was none.
    pub before: Option<Record>,
    /// The record as it is; none when it is forgotten.
    pub after: Option<Record>,
}

/// What an account takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, by [`Record::cost`] and [`Mutation::evidence_cost`].
    pub bytes: u64,
    /// Records, tombstones included.
    pub records: u64,
}

/// Records that end in the same hour, compared as one: hours since 1970 of [`Record::until`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(pub u32);

impl Bucket {
    /// One hour, in milliseconds.
    pub const MILLIS: u64 = 3_600_000;

    /// The bucket that holds records ending at `until` (milliseconds since 1970).
    pub fn of(until: u64) -> Self {
        Self(u32::try_from(until / Self::MILLIS).unwrap_or(u32::MAX))
    }

    /// When the bucket begins, in milliseconds since 1970.
    pub fn start(self) -> u64 {
        u64::from(self.0).saturating_mul(Self::MILLIS)
    }
}

/// The ids of a bucket as one value: how many, and their sum modulo 2^256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many records.
    pub count: u64,
    /// The sum of their ids as little-endian numbers.
    pub sum: [u8; 32],
}

impl Fingerprint {
    /// Counts an id in.
    pub fn add(&mut self, id: &[u8; 32]) {
        self.count = self.count.saturating_add(1);
        let mut carry = 0_u16;
        for (byte, other) in self.sum.iter_mut().zip(id) {
            carry = carry.saturating_add(u16::from(*byte)).saturating_add(u16::from(*other));
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
    }

    /// Counts an id out.
    pub fn remove(&mut self, id: &[u8; 32]) {
        self.count = self.count.saturating_sub(1);
        let mut borrow = false;
        for (byte, other) in self.sum.iter_mut().zip(id) {
            let (difference, first) = byte.overflowing_sub(*other);
            let (difference, second) = difference.overflowing_sub(u8::from(borrow));
            *byte = difference;
            borrow = first || second;
        }
    }
}

/// One record of a bucket, as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// [`Record::id`].
    pub id: [u8; 32],
    /// [`Record::until`].
    pub until: u64,
    /// Whose mailbox.
    pub account: AccountId,
    /// Which message.
    pub hash: MessageHash,
}

/// Reads what is kept.
pub trait Store {
    /// What is known of a message.
    ///
    /// # Errors
    ///
    /// When the disk fails, as everywhere here.
    fn record(&self, account: &AccountId, hash: &MessageHash) -> Result<Option<Record>, StoreError>;

    /// The arrivals in one namespace after `sequence`, in order, at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`Self::record`].
    fn page(
        &self,
        account: &AccountId,
        namespace: Namespace,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<(u64, MessageHash)>, StoreError>;

    /// The drawers of an account in which anything lies, in order.
    ///
    /// # Errors
    ///
    /// As [`Self::record`].
    fn drawers(&self, account: &AccountId) -> Result<Vec<Namespace>, StoreError>;

    /// The mutation of a log row that a record names; none once it was retired.
    ///
    /// # Errors
    ///
    /// As [`Self::record`].
    fn mutation(&self, row: u64) -> Result<Option<Mutation>, StoreError>;

    /// What an account takes up.
    ///
    /// # Errors
    ///
    /// As [`Self::record`].
    fn usage(&self, account: &AccountId) -> Result<Usage, StoreError>;

    /// What all accounts take up, in bytes.
    fn occupied(&self) -> u64;

    /// Records of whose [`Record::dues`] one is at or before `now` (milliseconds), at most `limit`; a
    /// record with two is listed twice.
    ///
    /// # Errors
    ///
    /// As [`Self::record`].
    fn due(&self, now: u64, limit: usize) -> Result<Vec<(AccountId, MessageHash)>, StoreError>;

    /// The fingerprints of all buckets that hold anything, in order.
    fn fingerprints(&self) -> Vec<(Bucket, Fingerprint)>;

    /// Walks the records of one bucket, in order of their end, then account and hash.
    ///
    /// # Errors
    ///
    /// As [`Self::record`].
    fn bucket(&self, bucket: Bucket, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError>;

    /// Which life of this store this is; drawn at random whenever a process opens it, for it may
    /// have been made, restored from a copy or refilled.
    fn incarnation(&self) -> u64;

    /// The sequence of the last entry; 0 before the first.
    fn head(&self) -> u64;
}

/// Reads and writes; nothing is promised before the commit.
pub trait Transaction: Store {
    /// Appends an entry and returns its sequence: [`Store::head`] plus one.
    ///
    /// # Errors
    ///
    /// As [`Store::record`]. After one of damage, where [`Store::head`] is what it was, nothing was
    /// appended and the transaction may go on; after any other it must not be committed.
    fn append(&mut self, entry: Entry) -> Result<u64, StoreError>;

    /// Drops mutations whose [`Entry::evidence_until`] is at or before `now` (milliseconds), at
    /// most `limit`; returns how many. It appends an entry of its own if there are any.
    ///
    /// # Errors
    ///
    /// As [`Self::append`].
    fn retire(&mut self, now: u64, limit: usize) -> Result<usize, StoreError>;
}
