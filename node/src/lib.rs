//! Host one node of a Session network: its machines, its disk, its network, its doors.
//!
//! This crate waits, speaks and keeps; what it says and keeps is decided by the machines of
//! `session-protocols` and the ledger of `session-chain`.
//!
//! - [`Config`]: where a node lives and how much it may use
//! - [`settings`]: what may be set for a node, and where each value comes from
//! - [`keystore`]: the node's keys on disk, open or encrypted, and their backup
//! - [`run`]: one node, from start to graceful stop; [`run_by`]: by a [`Registry`] that changes
//! - [`Registry`]: who is a node of the network, and which maps it goes by
//! - `attest`: the node's part in checkpoints
//! - `follow`: the ledger of a network whose nodes register on a chain
//! - `member`: the thread that owns the store and the member machine: commit, then speak
//! - `links`: kept streams, in and out, and the checks before anything reaches the member
//! - [`Checks`]: signatures, checked together where several wait
//! - `onion`: the hop that this node is for others
//! - `snapshot`: the ledgers of checkpoints, handed out to nodes that begin, and asked for by one
//! - `seat`: what somebody holds and gives back
//! - `network`: the task that owns the libp2p swarm and the directory machine
//! - `records`: node records that wait for a worker thread to check them
//! - [`reach`]: whether others reach this node, and the same for them
//! - `neighbours`: where peers come from, and how many connections one address prefix may open
//! - `behaviour`: which libp2p protocols, with which limits
//! - [`door`]: HTTPS and JSON, for the clients that exist
//! - [`Supervisor`]: the service manager, which restarts a node that hangs
//! - `http`, `metrics`: for people who watch; [`admin`]: the guard of what they may change

mod attest;
mod behaviour;
mod checks;
mod config;
pub mod door;
mod error;
mod follow;
mod http;
pub mod keystore;
mod links;
mod member;
mod memory;
mod metrics;
mod names;
mod neighbours;
mod network;
mod onion;
pub mod reach;
#[cfg(test)]
mod readme;
mod records;
mod registry;
mod run;
mod seat;
pub mod settings;
mod snapshot;
mod supervisor;

pub use checks::Checks;
pub use config::{Beginning, Config, LogControl};
pub use error::NodeError;
pub use http::admin;
pub use http::{Bounded, Work, page};
pub use registry::Registry;
pub use run::{run, run_by};
pub use snapshot::source::ledger_source;
pub use supervisor::Supervisor;

use session_protocols::Time;

/// The clock of this host.
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time(since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}
