//! The bytes of everything that travels, against the files in `vectors/`.
//!
//! Another implementation can read those files; this test makes them from the code and compares.
//! After a change that is meant, `BLESS=1 cargo nextest run --release -p session-protocols --test vectors`
//! writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it finds something else"
)]

use data_encoding::HEXLOWER as HEX;
use serde_json::json;
use session_protocols::{
    MessageHash, Namespace, NodeId, Protocol, SwarmId, codec, frame, request::Cursor, ring,
};

#[path = "vectors/directory.rs"]
mod directory;
#[path = "vectors/file.rs"]
mod file;
#[path = "vectors/ledgers.rs"]
mod ledgers;
#[path = "vectors/names.rs"]
mod names;
#[path = "vectors/onion.rs"]
mod onion;
#[path = "vectors/people.rs"]
mod people;
#[path = "vectors/requests.rs"]
mod requests;
#[path = "vectors/samples.rs"]
mod samples;
#[path = "vectors/statements.rs"]
mod statements;
#[path = "vectors/swarm.rs"]
mod swarm;

use file::check;
use people::{ALICE, GROUP, alice, group, network, pair};
use samples::{CURSOR, NODE};

#[test]
fn hashes() {
    let mut entries = Vec::new();
    for (account, namespace, data) in [
        (alice(), 0, &b"hello"[..]),
        (alice(), 2, b"hello"),
        (alice(), 10, b"hello"),
        (alice(), i16::MAX, b"hello"),
        (alice(), -1, b"hello"),
        (alice(), i16::MIN, b"hello"),
        (alice(), 0, b""),
        (group(), 11, b"hello"),
    ] {
        let hash = MessageHash::of(&account, Namespace(namespace), data);
        entries.push(json!({
            "account": account.to_string(), "namespace": namespace, "data": HEX.encode(data),
            "hash": HEX.encode(&hash.0), "shown": hash.to_string(),
        }));
    }
    check("hashes.json", &entries);
}

#[test]
fn accounts_and_places() {
    let entries = [("person", ALICE, alice()), ("group", GROUP, group())].map(|(name, seed, account)| {
        json!({
            "name": name, "seed": HEX.encode(&[seed; 32]), "key": HEX.encode(&pair(seed).public()),
            "account": account.to_string(), "place": SwarmId(ring::position(&account)).to_string(),
        })
    });
    check("accounts.json", &entries);
}

#[test]
fn frames_and_cursors() {
    let mut entries = Vec::new();
    for (kind, name) in [
        (frame::Kind::Request, "request"),
        (frame::Kind::Answer, "answer"),
        (frame::Kind::Event, "event"),
        (frame::Kind::Close, "close"),
    ] {
        let head = frame::Head { len: 0x0001_0203, id: 0xa0b0_c0d0, kind };
        assert_eq!(frame::Head::decode(head.encode(), u32::MAX), Some(head));
        entries.push(json!({
            "name": format!("frame head: {name}"), "len": head.len, "id": head.id,
            "bytes": HEX.encode(&head.encode()),
        }));
    }
    for cursor in [CURSOR, Cursor { incarnation: u64::MAX, sequence: 0 }] {
        assert_eq!(Cursor::from_bytes(cursor.to_bytes()), cursor);
        entries.push(json!({
            "name": "cursor", "incarnation": cursor.incarnation, "sequence": cursor.sequence,
            "bytes": HEX.encode(&cursor.to_bytes()), "cbor": HEX.encode(&codec::encode(&cursor)),
        }));
    }
    for (protocol, name) in [
        (Protocol::Storage, "storage"),
        (Protocol::Swarm, "swarm"),
        (Protocol::Directory, "directory"),
        (Protocol::Notify, "notify"),
        (Protocol::Onion, "onion"),
        (Protocol::Names, "names"),
        (Protocol::Snapshot, "snapshot"),
        (Protocol::Kad, "kad"),
    ] {
        entries.push(json!({ "name": format!("protocol: {name}"), "id": network().protocol(protocol) }));
    }
    entries.push(json!({ "name": "protocol: door-onion", "id": network().door_onion() }));
    entries.push(json!({ "name": "topic: records", "id": network().topic("records") }));
    check("frames.json", &entries);
}

#[test]
fn a_node_is_its_key() {
    assert_eq!(NodeId::from_bytes(pair(NODE).public()), pair(NODE).node_id());
}
