//! Decide, from ordered inputs, who is a node of the network and which swarm each one sits in.
//!
//! This crate computes; it never opens sockets or files, reads clocks or draws randomness of its own.
//!
//! - [`ledger`]: the state machine that takes blocks and yields members and swarm maps
//! - [`ledger::placement`]: the rule by which nodes are seated in swarms
//! - [`network`]: the network file, which names the nodes that a network begins with

pub mod ledger;
pub mod network;

pub use ledger::{
    Block, Event, Input, Ledger, LedgerError, Member, Operator, Parameters, Prefix, State, SwarmRule,
};
pub use network::{NetworkFile, NetworkFileError, NetworkNode};
