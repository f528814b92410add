//! The seeds of the fuzzers, everything that was found before, and what comes of spoiling them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use data_encoding::HEXLOWER as HEX;
use session_chain::{NetworkNode, Operator};
use session_protocols::{KeyPair, answer::RULES, codec, request::Cursor};

use super::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/fuzz")
}

fn file(name: &str, target: &str) -> String {
    fs::read_to_string(folder().join(name).join(target).with_extension("txt")).unwrap_or_default()
}

/// A file of the folder: a line of hex for each of some bytes.
fn lines(name: &str, target: &str) -> Vec<Vec<u8>> {
    file(name, target).lines().map(|line| HEX.decode(line.as_bytes()).expect("a line of hex")).collect()
}

fn network(nodes: u8) -> Vec<u8> {
    let node = |number: u8| NetworkNode {
        id: KeyPair::from_seed(&[number; 32]).node_id(),
        operator: Operator::from_bytes([number; 20]),
        prefix: format!("127.0.{number}.0/24").parse().unwrap(),
        addresses: vec![format!("/ip4/127.0.{number}.1/tcp/22021")],
        door: None,
        bls: None,
    };
    let nodes = (1..=nodes).map(node).collect();
    let file = NetworkFile {
        name: "test".parse().unwrap(),
        local: true,
        seed: [7; 32],
        faucet: None,
        limits: Default::default(),
        hf: RULES,
        nodes,
        settlement: None,
    };
    file.to_toml().into_bytes()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "envelope" => session_client::envelope::fuzz::envelopes(),
        "network_file" => vec![network(1), network(3)],
        "storage_row" => session_storage::fuzz::rows(),
        "cursors" => {
            let cursor = Cursor { incarnation: 1, sequence: 2 };
            let places = [KeyPair::from_seed(&[1; 32]).node_id(), KeyPair::from_seed(&[2; 32]).node_id()];
            vec![codec::encode(&places.map(|node| (node, cursor))), codec::encode(&[(); 0])]
        }
        "link" => {
            // Length, conversation, kind, payload: a request, an answer, an event, a close.
            let frame = |kind: u8| [&[0, 0, 0, 2, 0, 0, 0, 0, kind][..], b"hi"].concat();
            vec![frame(0), frame(1), [frame(0), frame(3), frame(1), frame(2)].concat()]
        }
        other => panic!("{other} has no seeds"),
    }
}

#[test]
fn seeds_are_of_use() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        let text: String = seeds.iter().map(|seed| HEX.encode(seed) + "\n").collect();
        if std::env::var_os("BLESS").is_some() {
            fs::write(folder().join("seeds").join(name).with_extension("txt"), &text).unwrap();
        }
        assert!(file("seeds", name) == text, "{name}: BLESS=1 writes its seeds anew");
        assert!(seeds.iter().any(|seed| target(seed)), "{name} takes none of its seeds");
    }
}

#[test]
fn every_target_takes_all_of_its_seeds_and_what_was_found() {
    for (name, target) in TARGETS {
        let seeds = lines("seeds", name);
        assert!(!seeds.is_empty(), "{name}: what is committed for it is not read");
        for bytes in seeds.iter().chain(&lines("findings", name)) {
            target(bytes);
        }
    }
}

#[test]
fn every_target_takes_what_comes_of_spoiling_its_seeds() {
    for (name, target) in TARGETS {
        for seed in seeds(name) {
            for cut in [0, 1, seed.len() / 2, seed.len().saturating_sub(1)] {
                target(&seed[..cut.min(seed.len())]);
            }
            for place in 0..seed.len().min(200) {
                for flip in [0x01, 0x20, 0x80, 0xff] {
                    let mut spoilt = seed.clone();
                    spoilt[place] ^= flip;
                    target(&spoilt);
                }
            }
        }
    }
}

#[test]
fn every_target_has_its_file_and_its_seeds() {
    let names = |name: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(folder().join(name)).into_iter().flatten();
        let stem =
            |entry: io::Result<fs::DirEntry>| PathBuf::from(entry.unwrap().file_name()).with_extension("");
        entries.map(|entry| stem(entry).to_str().unwrap().to_owned()).collect()
    };
    let all = session_protocols::fuzz::TARGETS.iter().chain(TARGETS);
    let known: BTreeSet<_> = all.map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("seeds"), known);
    // There need be none, but none is passed over.
    assert!(names("findings").is_subset(&known), "{:?}", names("findings"));
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
    }
}
