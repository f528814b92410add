//! What members of a swarm say to each other, and how they compare what they hold.

use data_encoding::HEXLOWER as HEX;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::{Value, json};
use session_protocols::{
    Namespace,
    answer::Code,
    record::{Change, Life, Mutation, Place, Record, Stamp},
    ring::Arc,
    store::Fingerprint,
    swarm::{Ask, BucketPrint, Known, MAX_MESSAGE, Replicated, Slice, SwarmAnswer, SwarmRequest},
};

use crate::file::{check, wire};
use crate::people::{DAY, TIME, alice, group};
use crate::samples::{
    MAP_VERSION, changed, delete, expire, friend, hash, kept, outbox_keep, post, receipt, received_delete,
    revoke, told,
};

/// Three records as a comparison sees them: when they end, and their ids.
fn items() -> [(u64, [u8; 32]); 3] {
    [(TIME + 1, [0x11; 32]), (TIME + 1, [0x22; 32]), (TIME + 2, [0x33; 32])]
}

fn comparison() -> Negentropy<'static, NegentropyStorageVector> {
    let mut storage = NegentropyStorageVector::new();
    for (until, id) in items() {
        storage.insert(until, Id::from_byte_array(id)).unwrap();
    }
    storage.seal().unwrap();
    Negentropy::owned(storage, session_protocols::swarm::MAX_RECONCILE as u64).unwrap()
}

#[test]
fn swarm() {
    let bucket = u32::try_from((TIME + DAY) / 3_600_000).unwrap();
    let slice = Slice { bits: 1, value: 1 };
    let first = comparison().initiate().unwrap();
    let reply = comparison().reconcile(&first).unwrap();
    let known = Known { account: alice(), hash: hash(b"hello"), id: ByteArray::new([0x22; 32]) };
    let asks = [
        (
            "replicate",
            Ask::Replicate {
                mutations: vec![
                    Mutation::Store(post()),
                    Mutation::Delete { request: delete(), held: vec![hash(b"hello")] },
                    Mutation::Expire { request: expire(None), held: vec![] },
                ],
                json: vec![],
            },
        ),
        (
            "replicate: more kinds, the last for a client of the JSON door",
            Ask::Replicate {
                mutations: vec![
                    Mutation::Replace {
                        request: outbox_keep().replacement().unwrap(),
                        held: vec![hash(b"hello")],
                    },
                    Mutation::Revoke { request: revoke(true), held: vec![friend().1.token.hash(&group())] },
                    Mutation::Delete { request: received_delete(), held: vec![hash(b"hello")] },
                ],
                json: vec![2],
            },
        ),
        ("behind", Ask::Behind),
        ("fingerprints", Ask::Fingerprints),
        (
            "reconcile: the first word about the items of `comparisons.json`",
            Ask::Reconcile { bucket, slice: Slice::default(), message: ByteBuf::from(first) },
        ),
        ("fetch", Ask::Fetch { bucket, slice, ids: vec![ByteArray::new([0x11; 32])] }),
        ("held", Ask::Held { records: vec![known] }),
    ];
    let print = BucketPrint { bucket, count: 3, sum: ByteArray::new(sum().sum) };
    let (signature, done) = (receipt(kept()).signature, kept().1);
    let answers = [
        (
            "replicated",
            SwarmAnswer::Replicated {
                results: vec![
                    Replicated::Done { done, signature, told: None },
                    Replicated::Refused { code: Code::Full },
                ],
            },
        ),
        (
            "replicated, for a client of the JSON door",
            SwarmAnswer::Replicated {
                results: vec![Replicated::Done {
                    done: changed().1,
                    signature: receipt(changed()).signature,
                    told: Some(Box::new(told())),
                }],
            },
        ),
        ("noted", SwarmAnswer::Noted),
        ("fingerprints", SwarmAnswer::Fingerprints { buckets: vec![print], incomplete: vec![] }),
        (
            "reconcile: the reply of a member that holds the same",
            SwarmAnswer::Reconcile { message: ByteBuf::from(reply) },
        ),
        ("fetched", SwarmAnswer::Fetched { mutations: vec![Mutation::Store(post())], ids: 1 }),
        ("refused", SwarmAnswer::Refused { code: Code::WrongSwarm }),
        ("held", SwarmAnswer::Held { places: vec![0, 2] }),
        (
            "fingerprints: of a member that is not complete under the next map",
            SwarmAnswer::Fingerprints { buckets: vec![], incomplete: vec![MAP_VERSION + 1] },
        ),
    ];
    let entries = asks
        .map(|(name, ask)| wire(&format!("ask: {name}"), &SwarmRequest::new(MAP_VERSION, ask), MAX_MESSAGE));
    let part = SwarmRequest {
        newest: Some(MAP_VERSION + 1),
        arc: Some(Arc { first: u64::MAX - 1, last: 7 }),
        ..SwarmRequest::new(MAP_VERSION, Ask::Fingerprints)
    };
    let part = wire("ask: fingerprints of a part, by one who knows a newer map", &part, MAX_MESSAGE);
    let answers = answers.map(|(name, answer)| wire(&format!("answer: {name}"), &answer, MAX_MESSAGE));
    check("swarm.json", &[entries.to_vec(), vec![part], answers.to_vec()].concat());
}

fn id(byte: u8) -> [u8; 32] {
    [byte; 32]
}

/// The fingerprint of the items that `comparisons.json` lists.
fn sum() -> Fingerprint {
    let mut print = Fingerprint::default();
    for (_, id) in items() {
        print.add(&id);
    }
    print
}

fn described(record: &Record) -> Value {
    let stamped = |stamp: Stamp| json!({ "time": stamp.time, "digest": HEX.encode(&stamp.digest) });
    let life = match record.life {
        None => json!("none"),
        Some(Life::Unsigned { timestamp, expiry }) => {
            json!({ "unsigned": { "timestamp": timestamp, "expiry": expiry } })
        }
        Some(Life::Stored { stamp, timestamp, expiry, .. }) => {
            json!({ "stored": { "signed": stamped(stamp), "timestamp": timestamp, "expiry": expiry } })
        }
        Some(Life::Deleted { stamp, .. }) => json!({ "deleted": { "signed": stamped(stamp) } }),
        Some(Life::Revoked { stamp, .. }) => json!({ "revoked": { "signed": stamped(stamp) } }),
    };
    let change =
        record.change.map(|change| json!({ "signed": stamped(change.stamp), "expiry": change.expiry }));
    json!({ "life": life, "change": change })
}

#[test]
fn comparisons() {
    let stamp = |time, byte| Stamp { time, digest: id(byte) };
    let unsigned = Life::Unsigned { timestamp: TIME, expiry: TIME + DAY };
    let stored = Life::Stored { stamp: stamp(TIME, 1), timestamp: TIME, expiry: TIME + DAY, row: 5 };
    let deleted = Life::Deleted { stamp: stamp(TIME + 1, 2), row: 6 };
    let revoked = Life::Revoked { stamp: stamp(TIME + 1, 2), row: 6 };
    let change = |time| Some(Change { stamp: stamp(time, 3), expiry: TIME + 2 * DAY, row: 7 });
    let place = Some(Place { sequence: 4, row: 5, namespace: Namespace::INBOX, size: 5 });
    let records = [
        ("unsigned", Record { life: Some(unsigned), change: None, place }),
        ("unsigned, changed", Record { life: Some(unsigned), change: change(TIME - 1), place }),
        ("signed", Record { life: Some(stored), change: None, place }),
        ("signed, changed after", Record { life: Some(stored), change: change(TIME + 1), place }),
        ("signed, changed before", Record { life: Some(stored), change: change(TIME - 1), place }),
        ("deleted", Record { life: Some(deleted), change: None, place: None }),
        ("revoked", Record { life: Some(revoked), change: None, place }),
        ("only a change is known", Record { life: None, change: change(TIME), place: None }),
    ];
    let mut entries: Vec<_> = records
        .iter()
        .map(|(name, record)| {
            json!({
                "name": format!("record: {name}"),
                "record": described(record),
                "account": alice().to_string(), "hash": HEX.encode(&hash(b"hello").0),
                "id": HEX.encode(&record.id(&alice(), &hash(b"hello"))), "until": record.until(),
            })
        })
        .collect();
    assert_eq!(entries[2]["id"], entries[4]["id"], "a change that does not count is not compared");
    let listed = items().map(|(until, id)| json!({ "until": until, "id": HEX.encode(&id) }));
    entries.push(json!({
        "name": "fingerprint", "items": listed, "count": sum().count, "sum": HEX.encode(&sum().sum),
    }));
    let mut carries = Fingerprint::default();
    carries.add(&id(0xff));
    carries.add(&id(0x01));
    entries.push(json!({
        "name": "fingerprint that carries, lowest byte first",
        "items": [{ "id": HEX.encode(&id(0xff)) }, { "id": HEX.encode(&id(0x01)) }],
        "count": carries.count, "sum": HEX.encode(&carries.sum),
    }));
    check("comparisons.json", &entries);
}
