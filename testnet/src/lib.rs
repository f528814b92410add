//! Run many Session nodes on one machine, as real processes.
//!
//! This crate starts nodes, stops them and looks at them; what they do is decided elsewhere.
//!
//! - [`Testnet`]: nodes as processes on loopback, each with an address and an operator of its own
//! - [`Folder`]: where such a testnet lives
//! - [`logs`]: what its nodes wrote
//! - [`page`]: the page that shows it, and kills and restarts nodes
//! - [`public`]: a network that others join
//! - [`mod@bench`]: how fast such a testnet is
//! - [`mod@fuzz`]: what the fuzzers run, beside what `session-protocols` has for them
//!
//! A whole network in one thread and in virtual time is beside it, in `session-sim`.

pub mod bench;
mod chain;
mod door;
mod error;
pub mod fuzz;
mod genesis;
mod layout;
pub mod logs;
mod network;
pub mod page;
mod process;
pub mod public;
mod stakes;
mod targets;

pub use chain::{CHAIN, ChainStatus};
pub use error::{LastWords, TestnetError};
pub use layout::{Folder, MAX_NODES};
pub use network::{DEFAULT_NODES, NodeStatus, Options, Progress, Stopped, Testnet, Up};
pub use stakes::FUND_ETHER;
