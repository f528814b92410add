//! What the fuzzers run: any bytes as what is read from a disk.

use session_protocols::{
    AccountId, MessageHash, Namespace,
    record::{Change, Life, Place, Record, Stamp},
    store::{Charge, Effect, Usage},
};

use crate::layout::{Deeds, Stored, decode, decode_deeds, encode_head, evidence_key, seal, split_row};

/// An entry of the journal, and a record of a table. Tells whether the bytes are either.
///
/// # Panics
///
/// When what was read is written in other words.
pub fn row(bytes: &[u8]) -> bool {
    let entry =
        split_row(bytes).ok().and_then(|(deeds, mutation)| Some((decode_deeds(deeds).ok()?, mutation)));
    if let Some((deeds, mutation)) = &entry {
        let mut again = Vec::new();
        encode_head(deeds, &mut again);
        again.extend_from_slice(mutation);
        let (said, rest) = split_row(&again).unwrap_or_default();
        assert_eq!((decode_deeds(said).as_ref(), rest), (Ok(deeds), *mutation));
    }
    let key = b"key";
    // Few bytes end in their checksum by chance.
    let mut sealed = bytes.to_vec();
    seal(key, &mut sealed);
    let record = decode::<Record>(key, &sealed);
    if let Ok(record) = &record {
        let mut again = Vec::new();
        record.write(&mut again);
        assert_eq!(again, bytes);
    }
    let _ = decode::<Record>(key, bytes);
    entry.is_some() || record.is_ok()
}

/// Bytes that [`row`] takes.
pub fn rows() -> Vec<Vec<u8>> {
    let account = AccountId::from_bytes([5; 33]);
    let stamp = Stamp { time: 1, digest: [2; 32] };
    let place = Place { sequence: 7, row: 8, namespace: Namespace(-10), size: 9 };
    let lives = [
        None,
        Some(Life::Unsigned { timestamp: 1, expiry: 2 }),
        Some(Life::Stored { stamp, timestamp: 1, expiry: 2, row: 3 }),
        Some(Life::Deleted { stamp, row: 3 }),
        Some(Life::Revoked { stamp, row: 3 }),
    ];
    let change = Change { stamp, expiry: 5, row: 6 };
    let records = lives.map(|life| Record { life, change: Some(change), place: Some(place) });
    let effects = records.iter().map(|after| Effect {
        account,
        hash: MessageHash([4; 32]),
        before: Some(Record::default()),
        after: Some(*after),
    });
    let charge = Charge { account, bytes: 11 };
    let deeds = Deeds {
        evidence: Some((12, charge)),
        retired: vec![(evidence_key(13, 14), charge)],
        effects: effects.collect(),
        usage: vec![(account, Usage { bytes: 15, records: 16 })],
    };
    let mut rows = vec![Vec::new(), Vec::new()];
    for (row, (deeds, mutation)) in
        rows.iter_mut().zip([(&deeds, &b"mutation"[..]), (&Deeds::default(), b"")])
    {
        encode_head(deeds, row);
        row.extend_from_slice(mutation);
    }
    rows.extend(records.map(|record| {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        bytes
    }));
    rows
}
