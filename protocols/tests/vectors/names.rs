//! Names: what they are read as, their ids at the stated cost, and their records.

use data_encoding::HEXLOWER as HEX;
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::{Value as Json, json};
use session_protocols::{
    answer::Code,
    names::{
        COST, Cost, Kind, Name, NameId, NameKeys, Value, Warning,
        lookup::{Answer, MAX_ANSWER, MAX_REQUEST, Proof, Request},
        value::RelayKey,
    },
};

use crate::{
    file::{check, wire},
    people::alice,
};

const READ: [&str; 14] = [
    "alice",
    "@Shop.ALICE",
    "_7-b",
    "M\u{fc}ller",
    "mu\u{308}ller",
    "XN--MLLER-KVA",
    "stra\u{df}e",
    "\u{ff21}l\u{ad}ice",
    "shop\u{3002}alice",
    "\u{1f600}",
    "\u{5d0}\u{5d1}",
    "\u{430}lice",
    "\u{440}\u{430}\u{443}",
    "sony\u{30bd}\u{30cb}\u{30fc}",
];

const REFUSED: [&str; 15] = [
    "",
    "@",
    "@@alice",
    "al ice",
    "-alice",
    "alice-",
    ".alice",
    "a.shop.alice",
    "\u{ad}",
    "xn--",
    "xn--alice",
    "xn--mller-kva0",
    "a\u{5d0}",
    "\u{308}a",
    "a\u{200d}b",
];

#[test]
fn names() {
    let mut entries: Vec<_> = READ.map(read).into();
    let longest = "a".repeat(64);
    entries.push(read(&longest));
    let too_long = [format!("{longest}a"), format!("\u{fc}{}", "a".repeat(58))];
    for text in REFUSED.into_iter().chain(too_long.iter().map(String::as_str)) {
        assert!(text.parse::<Name>().is_err(), "{text}");
        entries.push(json!({ "name": "refused", "utf8": HEX.encode(text.as_bytes()) }));
    }
    for (text, cost) in [("alice", COST), ("shop.alice", COST), ("shop.alice", Cost::other(32, 2))] {
        entries.extend(sealed(text, cost));
    }
    check("names.json", &entries);
}

#[test]
fn lookup() {
    let (id, sub) = (NameId::from_bytes([1; 32]), [2; 32]);
    let hash = |byte| ByteArray::new([byte; 32]);
    let present =
        Proof { value: Some(ByteBuf::from(*b"entry")), beside: vec![hash(3), hash(4)], instead: None };
    let absent = Proof { value: None, beside: vec![hash(5)], instead: Some((hash(6), hash(7))) };
    let proven = |first: &Proof, second: Option<&Proof>| Answer::Proven {
        epoch: 8,
        first: first.clone(),
        second: second.cloned(),
    };
    let entries = [
        wire("name", &Request::name(id, None), MAX_REQUEST),
        wire("sub-name", &Request::name(id, Some(sub)), MAX_REQUEST),
        wire("account", &Request::account([9; 20]), MAX_REQUEST),
        wire("present", &proven(&present, None), MAX_ANSWER),
        wire("absent", &proven(&absent, None), MAX_ANSWER),
        wire("both", &proven(&present, Some(&absent)), MAX_ANSWER),
        wire("empty", &proven(&Proof::default(), None), MAX_ANSWER),
        wire("refused", &Answer::Refused { code: Code::NotReady }, MAX_ANSWER),
    ];
    check("lookup.json", &entries);
}

fn read(text: &str) -> Json {
    let name: Name = text.parse().unwrap();
    let warning = |warning| match warning {
        Warning::MixedScripts { scripts, .. } => json!({ "mixed": scripts }),
        Warning::LooksLike { other, .. } => json!({ "looks_like": other.as_str() }),
        Warning::Address { .. } => json!("address"),
        other => panic!("{other}"),
    };
    let warnings: Vec<_> = name.warnings().into_iter().map(warning).collect();
    json!({
        "name": "read",
        "utf8": HEX.encode(text.as_bytes()),
        "ascii": name.to_string(),
        "unicode": HEX.encode(name.to_unicode().as_bytes()),
        "warnings": warnings,
    })
}

/// The ids of a name, and a record of each kind and form.
fn sealed(text: &str, cost: Cost) -> Vec<Json> {
    let keys = NameKeys::of(&text.parse().unwrap(), cost).unwrap();
    let ids = json!({
        "name": "ids",
        "ascii": text,
        "memory_kib": cost.memory_kib(),
        "passes": cost.passes(),
        "id": keys.id().to_string(),
        "label": keys.label().map(|label| HEX.encode(&label)),
        "sub_id": HEX.encode(&keys.sub_id()),
    });
    let written = |kind, text: &str| Value::parse(kind, text).unwrap();
    let values = [
        Value::Account(alice()),
        written(Kind::Wallet, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        Value::Relay(RelayKey([7; 32])),
        written(Kind::Community, "https://open.example/room"),
        written(Kind::Link, "https://example.org"),
        written(Kind::Text, &"a".repeat(55)),
        written(Kind::Text, &"a".repeat(56)),
    ];
    let record = |value: Value| {
        let version = 3;
        let bytes = keys.seal(version, &value);
        assert_eq!(keys.open(version, value.kind(), &bytes).as_ref(), Ok(&value));
        json!({
            "name": "record",
            "ascii": text,
            "memory_kib": cost.memory_kib(),
            "version": version,
            "kind": value.kind().number(),
            "value": value.to_string(),
            "sealed": HEX.encode(&bytes),
        })
    };
    std::iter::once(ids).chain(values.into_iter().map(record)).collect()
}
