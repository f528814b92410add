//! What clients of the JSON door ask and are answered, against the files in `vectors/`.
//!
//! What they sign, and what members sign for them, is put together here as the README says, and not by the code that is
//! compared with it. After a change that is meant, `BLESS=1 cargo nextest run --release --workspace --test json` writes
//! the files anew.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it finds something else"
)]

#[path = "json/asked.rs"]
mod asked;
#[path = "vectors/file.rs"]
mod file;
#[path = "vectors/people.rs"]
mod people;
#[path = "json/reads.rs"]
mod reads;
#[path = "json/requests.rs"]
mod requests;
#[path = "json/writes.rs"]
mod writes;
