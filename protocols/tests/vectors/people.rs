//! People, groups and nodes of the golden vectors: each key grows from 32 equal bytes.

use session_protocols::{AccountId, KeyPair, NetworkName};

/// 2023-11-14T22:13:20Z.
pub(crate) const TIME: u64 = 1_700_000_000_000;
pub(crate) const DAY: u64 = 86_400_000;

pub(crate) fn network() -> NetworkName {
    "test".parse().unwrap()
}

/// The key that grows from 32 equal bytes.
pub(crate) fn pair(byte: u8) -> KeyPair {
    KeyPair::from_seed(&[byte; 32])
}

pub(crate) const ALICE: u8 = 1;
pub(crate) const GROUP: u8 = 2;
pub(crate) const FRIEND: u8 = 6;

pub(crate) fn alice() -> AccountId {
    AccountId::of_person(&pair(ALICE).public()).unwrap()
}

pub(crate) fn group() -> AccountId {
    let mut bytes = [0x03; 33];
    bytes[1..].copy_from_slice(&pair(GROUP).public());
    AccountId::from_bytes(bytes)
}
