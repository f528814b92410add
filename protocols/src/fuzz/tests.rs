//! Everything that was found before, and all that the golden vectors say, once more.

use std::{fs, path::PathBuf};

use data_encoding::HEXLOWER as HEX;
use proptest::prelude::*;

use super::*;

fn file(path: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
}

/// The committed seeds of a target, a line of hex each.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let lines = file(&format!("../scripts/fuzz/seeds/{target}.txt"));
    lines.lines().map(|line| HEX.decode(line.as_bytes()).expect("a line of hex")).collect()
}

/// Every encoded message of the golden vectors.
fn vectors() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for name in ["requests", "answers", "swarm", "notify", "directory", "frames"] {
        let entries: Vec<serde_json::Value> =
            serde_json::from_str(&file(&format!("vectors/{name}.json"))).unwrap();
        for hex in entries.iter().filter_map(|entry| entry["cbor"].as_str()) {
            messages.push(HEX.decode(hex.as_bytes()).unwrap());
        }
    }
    assert!(messages.len() > 40);
    messages
}

#[test]
fn every_target_takes_its_seeds() {
    let mut some = 0;
    for (name, target) in TARGETS {
        for seed in seeds(name) {
            target(&seed);
            some += 1;
        }
    }
    assert!(some > 0, "the seeds are there");
}

#[test]
fn every_target_takes_the_vectors_and_what_comes_of_spoiling_them() {
    let vectors = vectors();
    for (_, target) in TARGETS.iter().filter(|(name, _)| *name != "member") {
        for message in &vectors {
            target(message);
            for cut in [1, message.len() / 2, message.len() - 1] {
                target(&message[..cut]);
            }
            for place in 0..message.len().min(64) {
                for flip in [0x01, 0x20, 0x80, 0xff] {
                    let mut spoilt = message.clone();
                    spoilt[place] ^= flip;
                    target(&spoilt);
                }
            }
        }
    }
}

#[test]
fn every_seed_file_has_its_target() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/fuzz");
    let names = |folder: PathBuf| {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| PathBuf::from(entry.unwrap().file_name()).with_extension(""))
            .map(|name| name.to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let mut known: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    assert_eq!(names(folder.join("fuzz_targets")), known);
    assert!(names(folder.join("seeds")).iter().all(|name| known.contains(name)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_target_takes_anything(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for (_, target) in TARGETS {
            target(&bytes);
        }
    }
}
