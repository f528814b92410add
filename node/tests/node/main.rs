//! Real nodes in the process of a test, and whoever asks them, is one of them, or means them ill.
//!
//! One program: each would instantiate libp2p anew.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test speaks when it fails, and names the variant that it wants"
)]

mod answers;
mod chain;
mod changes;
mod codes;
mod door;
mod hostile;
mod ledgers;
mod network;
mod onion;
mod snapshots;
mod support;
mod tap;
