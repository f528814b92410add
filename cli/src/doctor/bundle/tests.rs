use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

use session_chain::{
    NetworkFile, NetworkNode, Operator,
    network::{Contracts, Limits, Settlement},
};
use session_node::keystore;
use session_protocols::Prefix;

use super::*;
use crate::{
    Context,
    args::Global,
    doctor::{gather::gather, judge::judge},
    output::Output,
};

/// Parts of an endpoint's URL that are keys.
const KEYS: [&str; 3] = ["user-key-8f14e45f", "path-key-c9f0f895fb98ab91", "query-key-45c48cce2e2d"];
const ACCOUNT: &str = "053db493811f729da20289e31498b8fe2b28edc90358cd3ec11a6b12ac1b9fb818";
const MESSAGE: &str = "yFZyJ6XCVVXrdZ4d+Y0OqQxPOFpRnBz9/EXJJfqsdLM";
const CLIENTS: [&str; 2] = ["203.0.113.99", "2001:db8:77::99"];
const PASSPHRASE: &str = "correct horse battery staple";

/// A node's folder in which all that is secret is marked.
struct Marked {
    folder: tempfile::TempDir,
    context: Context,
    id: String,
    secrets: Vec<String>,
}

impl Marked {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("node");
        let pair = keystore::create(&data).unwrap();
        keystore::create_gas(&data).unwrap();
        let [user, path, query] = KEYS;
        let url = format!("http://me:{user}@127.0.0.1:1/v3/{path}?key={query}");
        let network = folder.path().join("marked.toml");
        fs::write(&network, described(pair.node_id(), &url).to_toml()).unwrap();
        fs::write(
            data.join("node.toml"),
            format!(
                "network = \"../marked.toml\"\nhttp = \"127.0.0.1:1\"\nrpc = [\"{url}\"]\n\
                 log_file = \"node.log\"\npassphrase_file = \"../passphrase\"\n"
            ),
        )
        .unwrap();
        fs::write(folder.path().join("passphrase"), PASSPHRASE).unwrap();
        let token = "7".repeat(64);
        fs::write(data.join("admin-token"), format!("{token}\n127.0.0.1:1\n")).unwrap();
        let id = pair.node_id().to_string();
        let [v4, v6] = CLIENTS;
        let log = format!(
            "2026-01-01T00:00:00.000001Z  INFO session_node::run: node started id={id} http=127.0.0.1:1\n\
             {{\"timestamp\":\"2026-01-01T00:00:01.5Z\",\"fields\":{{\"account\":\"{ACCOUNT}\",\"hash\":\"{MESSAGE}\"}}}}\n\
             DEBUG peer=/ip4/{v4}/udp/4001/quic-v1 from={v4}:4001 and [{v6}]:4001, /ip6/{v6}/tcp/1 {ACCOUNT}:{MESSAGE}.\n\
             ERROR cannot ask {url}, with {path} or Bearer {token}\n"
        );
        fs::write(data.join("node.log"), log).unwrap();
        fs::create_dir_all(data.join("messages")).unwrap();
        fs::write(data.join("messages/store"), "a message that was kept").unwrap();
        let read = |name: &str| fs::read_to_string(data.join(name)).unwrap().trim().to_owned();
        let mut secrets = vec![read("node.key"), read("gas.key"), token, ACCOUNT.into(), MESSAGE.into()];
        secrets.extend(KEYS.iter().chain(&CLIENTS).map(|mark| (*mark).to_owned()));
        secrets.extend([PASSPHRASE.to_owned(), "a message that was kept".to_owned()]);
        let global = Global {
            json: true,
            home: Some(folder.path().join("home")),
            network: None,
            named: false,
            direct: false,
        };
        Self { folder, context: Context { output: Output::new(true), global }, id, secrets }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("node")
    }

    /// The secrets that occur in what is given.
    fn found(&self, bytes: &[u8]) -> Vec<&str> {
        let occurs = |secret: &&String| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        self.secrets.iter().filter(occurs).map(String::as_str).collect()
    }
}

fn described(id: session_protocols::NodeId, url: &str) -> NetworkFile {
    let [token, pool, staking, factory, checkpoints, names] =
        [1, 2, 3, 4, 5, 6].map(alloy::primitives::Address::repeat_byte);
    NetworkFile {
        name: "marked".parse().unwrap(),
        local: true,
        seed: [7; 32],
        faucet: None,
        limits: Limits::default(),
        hf: session_protocols::answer::RULES,
        nodes: vec![NetworkNode {
            id,
            operator: Operator::from_bytes([9; 20]),
            prefix: Prefix::of("127.0.5.1".parse().unwrap()),
            addresses: vec!["/ip4/127.0.5.1/tcp/1".to_owned()],
            door: None,
            bls: None,
        }],
        settlement: Some(Settlement {
            chain: 5,
            rpc: vec![url.to_owned()],
            start: 1,
            genesis: 1_767_225_600,
            epoch: 3_600_u64.try_into().unwrap(),
            lock: 2_592_000,
            trust: 604_800,
            written: 1_767_225_600,
            contracts: Contracts { token, pool, staking, factory, checkpoints, names },
            vault: None,
        }),
    }
}

/// The files of an archive, as another program reads them.
fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut rest = archive;
    while rest[0] != 0 {
        let (head, body) = rest.split_at(512);
        let text = |from: usize, to: usize| {
            let field = head[from..to].split(|byte| *byte == 0).next().unwrap();
            String::from_utf8(field.to_vec()).unwrap()
        };
        let sum: u64 = head.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = head[148..156].iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(u64::from_str_radix(&text(148, 156), 8).unwrap(), sum - own + 8 * 32, "the checksum");
        assert_eq!((text(257, 263), text(100, 108)), ("ustar".into(), "0000600".into()));
        let length = usize::from_str_radix(&text(124, 136), 8).unwrap();
        files.insert(text(0, 100), body[..length].to_vec());
        rest = &body[length.next_multiple_of(512)..];
    }
    assert_eq!(rest, [0; 1_024]);
    files
}

#[tokio::test]
async fn an_archive_has_neither_secrets_nor_anything_of_clients() {
    let marked = Marked::new();
    let (data, path) = (marked.data(), marked.folder.path().join("support.tar"));
    // They are there, and would be found.
    let everything = ["node.key", "gas.key", "node.toml", "node.log", "../passphrase", "messages/store"];
    let everything: Vec<u8> = everything.iter().flat_map(|name| fs::read(data.join(name)).unwrap()).collect();
    assert_eq!(marked.found(&everything), marked.secrets);

    let mut gathered = gather(&marked.context, &data).await;
    assert!(gathered.effective.is_some() && gathered.network.is_some(), "{:?}", gathered.facts.network);
    // As a provider or a node might say.
    let said = format!("{{\"trouble\":\"invalid key {}\"}}", KEYS[1]);
    gathered.answers = ["status", "readyz", "metrics"].map(|path| (path, said.clone())).into();
    let findings = judge(&gathered.facts);
    let files = files(&data, &gathered, &findings);
    write(&path, &files, 1_767_225_600).unwrap();
    let archive = fs::read(&path).unwrap();
    assert_eq!(marked.found(&archive), Vec::<&str>::new());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(write(&path, &files, 0).unwrap_err().exit, Exit::Refused, "none is replaced");
    assert_eq!(fs::read(&path).unwrap(), archive);
    assert_eq!(check(&path).unwrap_err().code, "exists");
    assert_eq!(check(Path::new("support.tar.gz")).unwrap_err().exit, Exit::Usage);

    // What helps is there.
    let unpacked = unpacked(&archive);
    let text = |name: &str| String::from_utf8(unpacked[name].clone()).unwrap();
    let names: Vec<&str> = unpacked.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "README.txt",
            "doctor.json",
            "log.txt",
            "metrics.txt",
            "readyz.json",
            "settings.json",
            "status.json",
            "system.txt"
        ]
    );
    let log = text("log.txt");
    assert!(log.contains(&format!("node started id={} http=127.0.0.1:1\n", marked.id)), "{log}");
    assert!(log.contains("/udp/4001/quic-v1") && log.contains("ERROR cannot ask http://"), "{log}");
    let settings: serde_json::Value = serde_json::from_str(&text("settings.json")).unwrap();
    let rpc = settings.as_array().unwrap().iter().find(|one| one["key"] == "rpc").unwrap();
    assert_eq!((&rpc["value"], &rpc["origin"]), (&json!(["http://127.0.0.1:1"]), &json!("file")));
    assert_eq!(text("status.json"), "{\"trouble\":\"invalid key <hidden>\"}");
    let doctor: serde_json::Value = serde_json::from_str(&text("doctor.json")).unwrap();
    assert_eq!(doctor["findings"].as_array().unwrap().len(), findings.len());
    let left: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("doctor.")), "{left:?}");
}

#[test]
fn of_a_long_log_the_end_is_taken_from_the_beginning_of_a_line_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.log");
    let line = format!("{}\n", "x".repeat(1_000));
    fs::write(&path, line.repeat(1_000) + "the end\n").unwrap();
    let text = tail(&path, folder.path()).unwrap();
    assert!(text.len() as u64 <= LOG && text.ends_with("the end\n"));
    assert!(text.lines().rev().skip(1).all(|one| one.len() == 1_000), "no half of a line");
    fs::write(&path, "short\n").unwrap();
    assert_eq!(tail(&path, folder.path()).unwrap(), "short\n");
    assert!(tail(&folder.path().join("none"), folder.path()).is_err());
    if rustix::process::geteuid().is_root() {
        // As a link would lead there that whoever broke into the node left in the place of its log.
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(54_711), None).unwrap();
        assert!(tail(&path, &theirs).is_err(), "root's file is none of that node's");
    }
}

#[test]
fn of_a_service_the_end_of_its_journal_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("journalctl");
    let write = |script: &str| {
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("echo \"$@\"");
    let asked = journal(&program, "session-net.service").unwrap();
    assert!(asked.starts_with("--unit session-net.service --lines "), "{asked}");
    write(
        "i=0; while [ $i -lt 8000 ]; do echo \"$i a line of fifty characters, or of a few more than that\"; i=$((i+1)); done",
    );
    let text = journal(&program, "session-net.service").unwrap();
    assert!(text.len() as u64 <= LOG && text.ends_with("more than that\n"), "{}", text.len());
    assert!(text.lines().all(|line| line.contains(" a line of fifty")), "no half of a line");
    assert!(text.lines().last().unwrap().starts_with("7999 "));
    write("exit 1");
    assert!(journal(&program, "session-net.service").is_err());
    assert!(journal(&folder.path().join("none"), "session-net.service").is_err());
}
