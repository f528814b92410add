//! Measures the index of names: run by `./scripts/bench names`.
//!
//! One million names with a record each, on disk, and lookups of random ones with their proofs, on one core.

use std::time::Instant;

use alloy::primitives::{Address, B256, keccak256};
use redb::{Database, ReadableDatabase};
use session_chain::{
    names::{Change, Index, Key},
    settlement::names::{Snapshot, Writing},
};
use session_protocols::names::NameId;

const NAMES: u64 = 1_000_000;
/// Names that are new in one epoch.
const PER_EPOCH: u64 = 20_000;
/// Bytes of memory for the database's pages, as nodes have them.
const CACHE: usize = 64 << 20;
const LOOKUPS: u64 = 500_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = std::env::args().any(|word| word == "--json");
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("names.redb");
    let began = Instant::now();
    let root = fill(&Database::builder().set_cache_size(CACHE).create(&path)?)?;
    let filled = began.elapsed();
    {
        let mut db = Database::builder().create(&path)?;
        let w = db.begin_write()?;
        eprintln!("{:?}", w.stats()?);
        drop(w);
        eprintln!("{}", std::fs::metadata(&path)?.len());
        db.compact()?;
        eprintln!("{}", std::fs::metadata(&path)?.len());
    }
    let bytes = std::fs::metadata(&path)?.len();

    let began = Instant::now();
    let db = Database::builder().set_cache_size(CACHE).create(&path)?;
    let index = Index(Snapshot::open(&db.begin_read()?)?);
    assert_eq!(index.root()?, root);
    let opened = began.elapsed();

    let rate = |absent: bool| -> Result<f64, redb::Error> {
        let began = Instant::now();
        let mut proven = 0_u64;
        for number in 0..LOOKUPS {
            // Any order but that of their keys.
            let number = (number * 7_919) % NAMES + u64::from(absent) * NAMES;
            let found = index.prove(&Key::Name(id(number)))?;
            proven += u64::from(found.value.is_none() == absent);
        }
        assert_eq!(proven, LOOKUPS);
        Ok(LOOKUPS as f64 / began.elapsed().as_secs_f64())
    };
    rate(false)?;
    let rows = [
        ("1,000,000 names with a record: bytes on disk", bytes as f64 / f64::from(1 << 20), "MiB"),
        ("filled", filled.as_secs_f64(), "s"),
        ("opened", opened.as_secs_f64() * 1_000.0, "ms"),
        ("lookups with proof, one core", rate(false)?, "per s"),
        ("lookups with proof of absence, one core", rate(true)?, "per s"),
    ];
    if json {
        let rows =
            rows.map(|(what, value, unit)| serde_json::json!({ "what": what, "value": value, "unit": unit }));
        print(&serde_json::json!({ "data": { "rows": rows } }).to_string());
    } else {
        for (what, value, unit) in rows {
            print(&format!("{what:<64} {value:>12.1} {unit}"));
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn print(line: &str) {
    println!("{line}");
}

fn id(number: u64) -> NameId {
    NameId::from_bytes(keccak256(number.to_be_bytes()).0)
}

fn fill(db: &Database) -> Result<B256, redb::Error> {
    let mut root = B256::ZERO;
    for epoch in 0..NAMES / PER_EPOCH {
        let write = db.begin_write()?;
        {
            let mut index = Index(Writing::open(&write)?);
            for number in epoch * PER_EPOCH..(epoch + 1) * PER_EPOCH {
                let (id, owner) = (id(number), Address::left_padding_from(&number.to_be_bytes()));
                index.apply(&Change::Registered { id, owner, expires: 1 << 33, version: 1 })?;
                let value = vec![1; 96];
                index.apply(&Change::Record { id, sub: B256::ZERO, version: 1, kind: 1, value })?;
            }
            root = index.cross(epoch)?;
        }
        write.commit()?;
    }
    Ok(root)
}
