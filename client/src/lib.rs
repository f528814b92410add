//! Send and receive as a user of a Session network.
//!
//! ```no_run
//! use session_chain::network::NetworkFile;
//! use session_client::{Account, Client, Options};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let network = NetworkFile::parse(&std::fs::read_to_string("network.toml")?)?;
//! let client = Client::connect(network, Options::default()).await?;
//! let (alice, bob) = (Account::generate()?, Account::generate()?);
//! let sent = client.send(&alice, &bob.id(), "hello").await?;
//! println!("kept by {} of {} nodes", sent.stored, sent.swarm);
//! for item in client.inbox(&bob).await? {
//!     println!("{:?}", item.content?.text);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Requests travel through onion paths of three hops, so that nobody on the way knows both ends; what
//! nodes are asked to keep is sealed. It keeps no secrets: accounts belong to the caller, on disk to
//! [`home`].
//!
//! Who and what:
//! - [`account`], [`phrase`]: who the user is, and the thirteen words that bring an account back
//! - [`actor`]: its owner, or somebody to whom the owner gave rights on the mailbox
//! - [`envelope`]: direct messages, sealed and opened
//! - [`home`]: what is kept on disk
//!
//! The network:
//! - [`client`]: sending, reading, watching and changing mailboxes
//! - [`cursors`]: how far a mailbox was read
//! - [`directory`]: all nodes at once, as more than two thirds of them have signed it
//! - `membership`: who is a node, and which maps act, as most of them have signed it
//! - [`error`]: what can go wrong, and what to do about it
//! - `onion`: paths of three hops, and the packets that travel over them
//! - `connection`: the task that owns libp2p, and the streams that it keeps
//! - `clock`: the time as the nodes have it

#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm, reason = "a test names the one that it wants"))]

pub mod account;
pub mod actor;
pub mod client;
mod clock;
mod connection;
pub mod cursors;
pub mod directory;
pub mod envelope;
pub mod error;
pub mod home;
mod kept;
mod membership;
mod onion;
pub mod phrase;

pub use account::Account;
pub use actor::{Actor, Grant};
pub use client::{
    Changed, Chosen, Client, Deed, Expiries, GoesBy, InboxItem, NodeInfo, Options, Outcome, Page, PathInfo,
    Resolved, Revoked, Sent, Stored,
    watch::{Messages, Watch},
};
pub use cursors::Cursors;
pub use directory::DirectoryError;
pub use error::ClientError;
pub use home::{Home, HomeError, Pin};
pub use membership::Age;

/// Tests the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
