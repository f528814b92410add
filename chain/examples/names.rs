//! Measures the index of names: run by `./scripts/bench names`.
//!
//! One million names with a record each, on disk, and lookups of random ones with their proofs, on one core.

use std::{ops::Range, os::unix::fs::MetadataExt, time::Instant};

use alloy::primitives::{Address, B256, keccak256};
use session_chain::{
    Block, Input, Parameters,
    names::{Change, Key},
    network::Contracts,
    settlement::{Followed, StateFile, follower::MAX_INPUTS},
};
use session_protocols::names::NameId;

const NAMES: u64 = 1_000_000;
/// Names that are new in one epoch: as many as some seventy blocks hold that are full of them.
const PER_EPOCH: u64 = 20_000;
/// Names that are kept at once; what happened to each are two inputs.
const PER_COMMIT: u64 = MAX_INPUTS as u64 / 2;
const LOOKUPS: u64 = 500_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = std::env::args().any(|word| word == "--json");
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("chain.redb");
    let none = Address::ZERO;
    let contracts =
        Contracts { token: none, pool: none, staking: none, factory: none, checkpoints: none, names: none };
    let followed = Followed { chain: 1, start: 1, contracts };
    let open = || StateFile::open(&path, &followed, Parameters::default());
    let began = Instant::now();
    let (mut file, mark, ledger) = open()?;
    let mut root = B256::ZERO;
    for epoch in 0..NAMES / PER_EPOCH {
        let (mut from, end) = (epoch * PER_EPOCH, (epoch + 1) * PER_EPOCH);
        while from < end {
            let to = end.min(from + PER_COMMIT);
            file.name(&[block(epoch, from..to)])?;
            file.keep(&mark, &ledger, None)?;
            from = to;
        }
        root = file.cross_names(epoch)?;
        file.keep(&mark, &ledger, None)?;
    }
    drop(file);
    let filled = began.elapsed();
    let file = std::fs::metadata(&path)?;
    // It grows by doubling, and what was never written takes no room.
    let [taken, long] = [file.blocks() * 512, file.len()].map(|bytes| bytes as f64 / f64::from(1 << 20));

    let began = Instant::now();
    let file = open()?.0;
    let index = file.index()?;
    assert_eq!(index.root()?, root);
    let opened = began.elapsed();

    let rate = |absent: bool| -> Result<f64, Box<dyn std::error::Error>> {
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
        ("a million names with a record each: filled", filled.as_secs_f64(), "s"),
        ("on disk then", taken, "MiB"),
        ("length of the file, with its holes", long, "MiB"),
        ("opened", opened.as_secs_f64(), "s"),
        ("lookups with proof, one core", rate(false)?, "per s"),
        ("lookups with proof of absence, one core", rate(true)?, "per s"),
    ];
    if json {
        let rows =
            rows.map(|(what, value, unit)| serde_json::json!({ "what": what, "ours": value, "unit": unit }));
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

/// Registrations in an epoch.
fn block(epoch: u64, numbers: Range<u64>) -> Block {
    let named = |number: u64| {
        let (id, owner) = (id(number), Address::left_padding_from(&number.to_be_bytes()));
        let record = Change::Record { id, sub: B256::ZERO, version: 1, kind: 1, value: vec![1; 96] };
        [Change::Registered { id, owner, expires: 1 << 33, version: 1 }, record].map(Input::Name)
    };
    let inputs = numbers.flat_map(named).collect();
    Block { height: epoch + 1, time: epoch, inputs }
}
