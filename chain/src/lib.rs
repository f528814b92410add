//! Decide, from ordered inputs, who is a node of the network and which swarm each one sits in.
//!
//! This crate computes; it never opens sockets or files, reads clocks or draws randomness of its own. What does
//! (follow a settlement chain, send to it) stands behind the feature `settlement`, which is off by default.
//!
//! - `account`: an account's key on the settlement chain (with that feature)
//! - [`attestation`]: how nodes sign a checkpoint and who submits it
//! - [`bls`]: the signatures under checkpoints
//! - [`candidate`]: what a node's keys say to its registration
//! - [`ledger`]: the state machine that takes blocks and yields members, swarm maps, rewards and checkpoints
//! - [`ledger::placement`]: the rule by which nodes are seated in swarms
//! - [`light`]: what those believe who follow no chain
//! - [`names`]: the index of names, and its proofs
//! - [`network`]: the network file, which names the nodes that a network begins with
//! - `settlement`: the chain's contracts, followed and written to

#[cfg(feature = "settlement")]
pub mod account;
pub mod attestation;
pub mod bls;
pub mod candidate;
pub mod ledger;
pub mod light;
pub mod names;
pub mod network;
#[cfg(feature = "settlement")]
pub mod settlement;

pub use candidate::Candidate;
pub use ledger::{
    Amount, Block, Border, Checkpoint, Event, Founder, Input, Ledger, LedgerError, Member, Operator,
    Parameters, Prefix, Registration, Share, Stake, StakeId, State, SwarmRule,
};
pub use network::{NetworkFile, NetworkFileError, NetworkNode};
