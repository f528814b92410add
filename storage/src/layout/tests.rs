use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn account() -> AccountId {
    let mut bytes = [0xaa; 33];
    bytes[0] = 5;
    AccountId::from_bytes(bytes)
}

const STAMP: Stamp = Stamp { time: 0x0102, digest: [0xdd; 32] };
const PLACE: Place = Place { sequence: 7, row: 9, namespace: Namespace(-2), size: 0x0400 };

fn written(value: &impl Stored) -> String {
    let mut out = Vec::new();
    value.write(&mut out);
    hex(&out)
}

#[test]
fn records_have_the_bytes_of_schema_2() {
    let digest = "dd".repeat(32);
    let unsigned =
        Record { life: Some(Life::Unsigned { timestamp: 1, expiry: 2 }), change: None, place: Some(PLACE) };
    assert_eq!(
        written(&unsigned),
        "09 0000000000000001 0000000000000002 0000000000000007 0000000000000009 7ffe 00000400"
            .replace(' ', "")
    );
    let stored = Record {
        life: Some(Life::Stored { stamp: STAMP, timestamp: 1, expiry: 2, row: 3 }),
        change: Some(Change { stamp: STAMP, expiry: 4, row: 5 }),
        place: None,
    };
    assert_eq!(
        written(&stored),
        format!(
            "06 0000000000000102 {digest} 0000000000000001 0000000000000002 0000000000000003 \
             0000000000000102 {digest} 0000000000000004 0000000000000005"
        )
        .replace(' ', "")
    );
    let deleted = Record { life: Some(Life::Deleted { stamp: STAMP, row: 3 }), change: None, place: None };
    assert_eq!(written(&deleted), format!("03 0000000000000102 {digest} 0000000000000003").replace(' ', ""));
    let revoked =
        Record { life: Some(Life::Revoked { stamp: STAMP, row: 3 }), change: None, place: Some(PLACE) };
    assert_eq!(
        written(&revoked),
        format!(
            "18 0000000000000102 {digest} 0000000000000003 0000000000000007 0000000000000009 7ffe 00000400"
        )
        .replace(' ', "")
    );
    assert_eq!(written(&Record::default()), "00");
}

#[test]
fn entries_have_the_bytes_of_version_1() {
    let record = Record { life: Some(Life::Unsigned { timestamp: 1, expiry: 2 }), change: None, place: None };
    let deeds = Deeds {
        evidence: Some((6, Charge { account: account(), bytes: 292 })),
        retired: vec![(evidence_key(5, 4), Charge { account: account(), bytes: 256 })],
        effects: vec![
            Effect { account: account(), hash: MessageHash([0xee; 32]), before: None, after: Some(record) },
            Effect { account: account(), hash: MessageHash([0xef; 32]), before: Some(record), after: None },
        ],
        usage: vec![(account(), Usage { bytes: 256, records: 1 })],
    };
    let mut row = Vec::new();
    encode_head(&deeds, &mut row);
    row.extend_from_slice(b"cbor");
    let account = format!("05{}", "aa".repeat(32));
    let record = "01 0000000000000001 0000000000000002";
    let head = format!(
        "00000001 {account} 0000000000000100 0000000000000001 \
         01 0000000000000006 00000000 0000000000000124 \
         00000001 0000000000000005 0000000000000004 00000000 0000000000000100 \
         00000002 00000000 {} 02 {record} 00000000 {} 01 {record}",
        "ee".repeat(32),
        "ef".repeat(32)
    )
    .replace(' ', "");
    assert_eq!(hex(&row), format!("01{:08x}{head}{}", head.len() / 2, hex(b"cbor")));
    let (head, mutation) = split_row(&row).unwrap();
    assert_eq!((decode_deeds(head), mutation), (Ok(deeds), &b"cbor"[..]));
    row[0] = 2;
    assert_eq!(split_row(&row), Err(RowError::Version(2)));
}

#[test]
fn values_end_in_the_crc_of_key_and_value() {
    let mut value = b"value".to_vec();
    seal(b"key", &mut value);
    assert_eq!(hex(&value), "76616c7565c655f3e6");
    assert_eq!(unseal(b"key", &value).unwrap(), b"value");
    assert!(unseal(b"other", &value).is_err() && unseal(b"key", b"abc").is_err());
    for bit in 0..value.len() * 8 {
        let mut flipped = value.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(unseal(b"key", &flipped).is_err());
    }
}

#[test]
fn keys_sort_as_what_they_say() {
    let places = [(i16::MIN, 5), (-1, 9), (0, 1), (0, 256), (1, 0), (i16::MAX, 0)];
    let keys = places.map(|(namespace, sequence)| arrival_key(&account(), Namespace(namespace), sequence));
    assert!(keys.is_sorted());
    assert_eq!(keys.map(|key| arrival_sequence(&key)), places.map(|(_, sequence)| sequence));
    let key = end_key(0x0102, &account(), &MessageHash([3; 32]));
    assert_eq!(end_parts(&key), (0x0102, account(), MessageHash([3; 32])));
    assert!(key < end_key(0x0200, &AccountId::from_bytes([0; 33]), &MessageHash([0; 32])));
    assert_eq!(evidence_row(&evidence_key(1, 2)), 2);
}

fn stamp() -> impl Strategy<Value = Stamp> {
    any::<(u64, [u8; 32])>().prop_map(|(time, digest)| Stamp { time, digest })
}

fn record() -> impl Strategy<Value = Record> {
    let life = prop_oneof![
        any::<(u64, u64)>().prop_map(|(timestamp, expiry)| Life::Unsigned { timestamp, expiry }),
        (stamp(), any::<(u64, u64, u64)>()).prop_map(|(stamp, (timestamp, expiry, row))| Life::Stored {
            stamp,
            timestamp,
            expiry,
            row
        }),
        (stamp(), any::<u64>()).prop_map(|(stamp, row)| Life::Deleted { stamp, row }),
        (stamp(), any::<u64>()).prop_map(|(stamp, row)| Life::Revoked { stamp, row }),
    ];
    let change =
        (stamp(), any::<(u64, u64)>()).prop_map(|(stamp, (expiry, row))| Change { stamp, expiry, row });
    let place = any::<(u64, u64, i16, u32)>().prop_map(|(sequence, row, namespace, size)| Place {
        sequence,
        row,
        namespace: Namespace(namespace),
        size,
    });
    (proptest::option::of(life), proptest::option::of(change), proptest::option::of(place))
        .prop_map(|(life, change, place)| Record { life, change, place })
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(record in record()) {
        let mut value = Vec::new();
        record.write(&mut value);
        seal(b"k", &mut value);
        prop_assert_eq!(decode::<Record>(b"k", &value).unwrap(), record);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::read(&mut Reader(&bytes));
        let _ = decode_deeds(&bytes);
        let _ = split_row(&bytes);
    }
}
