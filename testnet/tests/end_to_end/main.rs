//! Real processes on this machine, used as people and programs use them.
//!
//! They run the binary that `SESSION_BIN` names, or `target/release/session`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test speaks when it fails"
)]

mod capture;
mod chain;
mod commands;
mod conformance;
mod conversations;
mod doctor;
mod documented;
mod faults;
mod full;
mod health;
mod hosts;
#[path = "../../../node/tests/node/support/https.rs"]
#[allow(dead_code, unreachable_pub, missing_debug_implementations, reason = "the node's tests use the rest")]
mod https;
mod journey;
mod mailbox;
mod market;
mod names;
mod operating;
mod pages;
mod paths;
mod person;
#[path = "../../../chain/tests/settlement/support/proxy.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "the follower's tests use the rest"
)]
mod proxy;
mod quiet;
mod raw;
mod rude;
mod snapshot;
mod stakes;
mod support;
mod upkeep;
mod wallet;
mod watching;
mod wire;
