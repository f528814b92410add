//! Why a store does not open, and how redb's errors are told.

use std::{
    error::Error,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use session_protocols::store::StoreError;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Two processes never share a store.
    #[error("another process uses the store in {place}: stop it first")]
    InUse {
        /// Where the store is.
        place: String,
    },
    /// A newer build wrote the tables.
    #[error(
        "the store in {place} has schema {found}, this build reads {supported}: use the build that wrote it, or move it away and let the node fetch again what it keeps"
    )]
    Schema {
        /// Where the store is.
        place: String,
        /// The schema found.
        found: u32,
        /// The schema that this build reads.
        supported: u32,
    },
    /// A newer build wrote an entry of the journal.
    #[error(
        "the journal in {place} has an entry of version {found}, this build reads up to {supported}: use a newer build"
    )]
    Entry {
        /// Where the store is.
        place: String,
        /// The version found.
        found: u8,
        /// The newest version that this build reads.
        supported: u8,
    },
    /// The files are of different stores or moments.
    #[error("the files in {place} do not belong together ({why}): restore both from one moment")]
    Mismatch {
        /// Where the store is.
        place: String,
        /// What does not fit.
        why: &'static str,
    },
    /// What was read is not what was written.
    #[error(
        "the store in {place} is damaged ({why}): restore it, or start afresh and let the swarm refill it"
    )]
    Damaged {
        /// Where the store is.
        place: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The disk has no room to open it.
    #[error("the disk of the store in {place} is full: make room")]
    Full {
        /// Where the store is.
        place: String,
        /// What it said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The disk refuses.
    #[error("cannot open the store in {place}")]
    Failed {
        /// Where the store is.
        place: String,
        /// What it said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
}

/// Why opening stops, before the place is known.
#[derive(Debug)]
pub(crate) enum Stop {
    InUse,
    Schema { found: u32, supported: u32 },
    Entry { found: u8, supported: u8 },
    Mismatch(&'static str),
    Store(StoreError),
}

impl Stop {
    pub(crate) fn at(self, place: String) -> OpenError {
        match self {
            Self::InUse => OpenError::InUse { place },
            Self::Schema { found, supported } => OpenError::Schema { place, found, supported },
            Self::Entry { found, supported } => OpenError::Entry { place, found, supported },
            Self::Mismatch(why) => OpenError::Mismatch { place, why },
            Self::Store(StoreError::Damaged(why)) => OpenError::Damaged { place, why },
            Self::Store(StoreError::Full(cause)) => OpenError::Full { place, cause },
            Self::Store(error) => OpenError::Failed { place, cause: Box::new(error) },
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The store needs [`crate::MessageStore::reopen`].
#[derive(Debug, thiserror::Error)]
#[error("an earlier write failed: reopen the store")]
pub(crate) struct Refusing;

pub(crate) fn refusing() -> StoreError {
    StoreError::Failed(Box::new(Refusing))
}

/// Tells a redb error as the store's.
#[expect(clippy::wildcard_enum_match_arm, reason = "the errors of redb are open-ended")]
pub(crate) fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(_) => StoreError::Damaged("a page of the file"),
        redb::Error::Io(cause)
            if matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
        {
            StoreError::Full(Box::new(cause))
        }
        error => StoreError::Failed(Box::new(error)),
    }
}

/// Runs what reads or writes pages: redb trusts those it does not verify and may panic on one that
/// the disk changed.
pub(crate) fn guarded<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // Whatever a panic leaves half done is not used again: writers poison the store, and readers
    // only hold what they read.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Damaged("a page of the file makes no sense").into()))
}
