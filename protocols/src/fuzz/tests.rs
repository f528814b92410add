//! Everything that was found before, and all that the golden vectors say, once more.

use std::{fs, path::PathBuf};

use data_encoding::HEXLOWER as HEX;
use proptest::prelude::*;

use super::*;

fn file(path: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
}

/// A file of `scripts/fuzz`: a line of hex for each of some bytes.
fn lines(folder: &str, target: &str) -> Vec<Vec<u8>> {
    let lines = file(&format!("../scripts/fuzz/{folder}/{target}.txt"));
    lines.lines().map(|line| HEX.decode(line.as_bytes()).expect("a line of hex")).collect()
}

/// What a file of golden vectors has in a field, of those entries whose name begins so.
fn golden(file_name: &str, field: &str, name: &str) -> Vec<Vec<u8>> {
    let entries: Vec<serde_json::Value> =
        serde_json::from_str(&file(&format!("vectors/{file_name}.json"))).unwrap();
    entries
        .iter()
        .filter(|entry| entry["name"].as_str().is_some_and(|known| known.starts_with(name)))
        .filter_map(|entry| entry[field].as_str())
        .map(|hex| HEX.decode(hex.as_bytes()).unwrap())
        .collect()
}

/// What a file of golden vectors has as text in a field.
fn texts(file_name: &str, field: &str) -> Vec<Vec<u8>> {
    let entries: Vec<serde_json::Value> =
        serde_json::from_str(&file(&format!("vectors/{file_name}.json"))).unwrap();
    entries.iter().filter_map(|entry| Some(entry[field].as_str()?.as_bytes().to_vec())).collect()
}

/// Every encoded message of the golden vectors.
fn vectors() -> Vec<Vec<u8>> {
    let files = ["requests", "answers", "swarm", "notify", "lookup", "directory", "snapshots", "frames"];
    let messages: Vec<_> = files.iter().flat_map(|name| golden(name, "cbor", "")).collect();
    assert!(messages.len() > 40);
    messages
}

/// What the fuzzers begin with: the golden vectors, and for a machine, which takes any bytes, noise
/// that is always the same.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "request" => golden("requests", "cbor", ""),
        "answer" => golden("answers", "cbor", ""),
        "swarm_request" => golden("swarm", "cbor", "ask"),
        "swarm_answer" => golden("swarm", "cbor", "answer"),
        "notify" => golden("notify", "cbor", ""),
        "lookup" => golden("lookup", "cbor", ""),
        "ledger_page" => golden("ledgers", "cbor", ""),
        "directory" => [golden("directory", "cbor", ""), golden("snapshots", "cbor", "request")].concat(),
        "snapshot" => golden("snapshots", "cbor", ""),
        "frame" => golden("frames", "bytes", "frame head"),
        "codec" => vectors(),
        "onion_packet" => [golden("onion", "bytes", "first packet"), choices(&[])].concat(),
        "onion_session" => [golden("onion", "bytes", "session packet"), choices(&[0, 0, 0, 0, 1])].concat(),
        "onion_answer" => {
            let reaches_the_client = |what| golden("onion", "bytes", &format!("{what} answer, guard"));
            [reaches_the_client("first"), reaches_the_client("session"), choices(&[])].concat()
        }
        "door_onion" => golden("door_onion", "packet", ""),
        "door_json" => texts("json_requests", "body"),
        "guards" => vec![HEX.decode(file("src/path/tests/guards.hex").trim().as_bytes()).unwrap()],
        "record" | "member" => {
            let noise = |seed: u8| (0..16).flat_map(move |at: u8| crate::identity::blake2b(&[&[seed, at]]));
            (0..8).map(|seed| noise(seed).collect()).collect()
        }
        other => panic!("{other} has no seeds"),
    }
}

/// The largest bucket at each position, chosen by the byte after these, and then where and what is spoilt: the
/// second of its Noise messages.
fn choices(before: &[u8]) -> Vec<Vec<u8>> {
    (12..16).map(|choice| [before, &[choice, 0, 0, 1, 0x01, 0x04, 0x00]].concat()).collect()
}

#[test]
fn seeds_are_what_the_vectors_say_and_are_of_use() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        let text: String = seeds.iter().map(|seed| HEX.encode(seed) + "\n").collect();
        let path = format!("../scripts/fuzz/seeds/{name}.txt");
        #[expect(clippy::disallowed_methods, reason = "whoever runs the test says so")]
        let bless = std::env::var_os("BLESS").is_some();
        if bless {
            fs::write(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(&path), &text).unwrap();
        }
        assert!(file(&path) == text, "{name}: BLESS=1 writes its seeds anew");
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
fn every_target_takes_the_vectors_and_what_comes_of_spoiling_them() {
    let vectors = vectors();
    // Others take any bytes for choices, at length.
    let decodes = |name: &str| name != "member" && !name.starts_with("onion");
    for (_, target) in TARGETS.iter().filter(|(name, _)| decodes(name)) {
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
fn packets_answers_and_guards_are_of_use_and_may_be_spoilt() {
    let whole = |name: &str| name.starts_with("onion") || name == "guards" || name == "door_onion";
    for (name, target) in TARGETS.iter().filter(|(name, _)| whole(name)) {
        for seed in seeds(name) {
            assert!(target(&seed), "{name}");
            for place in (0..seed.len()).step_by(seed.len().div_ceil(24)) {
                let mut spoilt = seed.clone();
                spoilt[place] ^= 0x41;
                target(&spoilt);
                target(&seed[..place]);
                target(&[&[place as u8], &seed[..]].concat());
            }
        }
    }
}

#[test]
fn json_may_be_spoilt() {
    let seeds = seeds("door_json");
    assert!(seeds.len() > 60);
    for seed in &seeds {
        for place in (0..seed.len()).step_by(seed.len().div_ceil(48)) {
            for other in *b"\"0{-,\xff" {
                let mut spoilt = seed.clone();
                spoilt[place] = other;
                door::json(&spoilt);
            }
            door::json(&seed[..place]);
        }
    }
    // Deeper than anybody writes.
    for (open, close) in
        [("[", "]"), (r#"{"method":"ifelse","params":{"if":{"height_before":1},"then":"#, "}}")]
    {
        for depth in [4, 16, 17, 100, 10_000] {
            let text = format!(r#"{}{{"method":"info"}}{}"#, open.repeat(depth), close.repeat(depth));
            assert_eq!(door::json(text.as_bytes()), open.len() > 1 && depth <= 16, "{depth}");
        }
    }
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
