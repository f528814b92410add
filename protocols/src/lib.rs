//! Say what nodes and clients of a Session network say to each other, and decide by its rules.
//!
//! This crate turns values into bytes and back, and decides; it never opens sockets or files,
//! reads clocks, draws randomness of its own or spawns tasks.
//!
//! What things are called and how they look:
//! - [`identity`]: accounts, nodes, keys and signatures
//! - [`network`]: the network's name and the ids of its protocols
//! - [`namespace`], [`message`]: the drawers of a mailbox, and the hash of a message
//! - [`names`]: names for accounts and more: their rules, ids and records
//! - [`ring`], [`maps`]: which swarm keeps which account, and what that means while it changes
//! - [`time`], [`statement`], [`codec`], [`frame`]: moments, what is signed, CBOR, frames
//!
//! What is said:
//! - [`request`], [`answer`]: the storage protocol, between clients and nodes
//! - [`swarm`]: between the members of one swarm
//! - [`directory`]: who is where, as a protocol and as a machine
//! - [`mod@notify`]: subscriptions, likewise
//! - [`onion`]: requests through three hops, sealed, peeled and relayed
//! - [`snapshot`]: the ledger of a checkpoint, for nodes that begin
//! - [`door`]: what the clients that exist say, in their own formats
//!
//! What is decided:
//! - [`record`]: the state of one message under every order of arrival
//! - [`store`]: what a machine asks of the disk
//! - [`mailbox`]: what a request does to the store
//! - [`replication`]: what the members of a swarm send each other
//! - [`member`]: all of these as one member of a swarm, under one door
//! - [`path`]: which hops a client uses, when it changes them, and how a request gets over them
//! - [`limits`]: how much anyone may ask
//!
//! Two things are off by default: the adaptor towards libp2p (feature `libp2p`), and [`mutants`],
//! deliberate bugs that the simulator must catch.

#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm, reason = "a test names the one that it wants"))]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod answer;
pub mod codec;
pub mod directory;
pub mod door;
#[cfg(test)]
mod fixture;
pub mod frame;
#[cfg(any(test, feature = "test-utils"))]
pub mod fuzz;
pub mod identity;
#[cfg(feature = "libp2p")]
pub mod libp2p;
pub mod limits;

pub mod mailbox;
pub mod maps;
pub mod member;
pub mod message;
pub mod mutants;
pub mod names;
pub mod namespace;
pub mod network;
pub mod notify;
pub mod onion;
pub mod path;
pub mod prefix;
pub mod record;
pub mod replication;
pub mod request;
pub mod ring;
pub mod snapshot;
pub mod statement;
pub mod store;
pub mod swarm;
pub mod time;

pub use identity::{AccountId, KeyPair, NodeId, Signature};
pub use maps::Maps;
pub use message::MessageHash;
pub use namespace::Namespace;
pub use network::{NetworkName, Protocol};
pub use prefix::Prefix;
pub use ring::{SwarmId, SwarmMap};
pub use statement::Statement;
pub use time::{Span, Time};
