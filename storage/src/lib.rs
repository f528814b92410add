//! Keep messages over redb, and lose none that was acknowledged.
//!
//! This crate writes what the mailbox machine decided and reads it back; it decides nothing,
//! and reads no clock. A [`MessageStore`] is two redb files: a small journal that every commit goes
//! to, and the tables that the journal is merged into, a slice at a time, by a thread that
//! [`Options::merge_thread`] allows and that ends with the store, or else by the commits. What
//! lies on the disk, and what a crash leaves of it, is written in this crate's README.
//!
//! - [`MessageStore`], [`Writer`]: the store, and one transaction on it
//! - [`Options`], [`Stats`]: its bounds, and how full it is
//! - [`Disk`], [`Directory`]: where its files are
//! - [`OpenError`]: why it does not open
//! - `faulty` (feature `test-utils`): a disk in memory that fails on demand
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod bodies;
mod disk;
mod error;
#[cfg(any(test, feature = "test-utils"))]
pub mod faulty;
#[cfg(any(test, feature = "test-utils"))]
pub mod fuzz;
mod journal;
mod layers;
mod layout;
mod merge;
mod options;
mod overlay;
mod recent;
mod store;
mod tables;

pub use disk::{Directory, Disk};
pub use error::OpenError;
pub use options::{Options, Stats};
pub use store::{MessageStore, Writer};
