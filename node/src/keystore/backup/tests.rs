use std::os::unix::fs::PermissionsExt;

use session_chain::bls::BlsSecret;

use super::*;
use crate::keystore::{self, create, create_gas};

/// A backup of the node of seed 1..1, made at 1,767,225,600,000 ms under `correct horse`.
const GOLDEN: &str = include_str!("golden.txt");

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse").unwrap()
}

/// What is in [`GOLDEN`].
fn golden() -> Backup {
    let files = [
        (NODE, "01".repeat(32)),
        (GAS, "02".repeat(32)),
        ("node.toml", "http = \"127.0.0.1:22080\"\n".to_owned()),
        ("networks/test.toml", "version = 1\n".to_owned()),
    ];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), Zeroizing::new(text.into_bytes())));
    let id = session_protocols::KeyPair::from_seed(&[1; 32]).node_id();
    Backup { kind: Kind::Node, id, made: 1_767_225_600_000, files: files.collect() }
}

#[test]
fn the_format_stays_as_it_is() {
    let made = golden();
    let text = made.seal(&passphrase(), &Lock::cheap(7)).unwrap();
    assert_eq!(text, GOLDEN, "what is written");
    let read = Backup::open(GOLDEN, Path::new("golden"), &passphrase()).unwrap();
    assert_eq!((read.id, read.made, read.files), (made.id, made.made, made.files), "what is read");
    // As somebody's mail may have left it.
    let other = GOLDEN.lines().skip(2).fold(String::new(), |text, line| text + line + "\r\n");
    let head: String = GOLDEN.lines().take(2).map(|line| format!("{line}\n")).collect();
    assert!(Backup::open(&(head + &other), Path::new("golden"), &passphrase()).is_ok());
}

#[test]
fn what_was_destroyed_is_the_same_node_once_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("node"), folder.path().join("backup"));
    let pair = create(&data).unwrap();
    let gas = create_gas(&data).unwrap().address();
    let bls = BlsSecret::of_node(&pair).public();
    fs::write(data.join("registration.toml"), "x = 1\n").unwrap();
    fs::write(data.join("node.toml"), "http = \"127.0.0.1:1\"\n").unwrap();
    fs::write(data.join("onion.keys"), "gone\n").unwrap();
    fs::write(data.join("signed"), "3\n").unwrap();
    fs::create_dir_all(data.join("messages")).unwrap();
    fs::create_dir_all(data.join("networks")).unwrap();
    fs::write(data.join("networks/here.toml"), "a = 1\n").unwrap();
    let elsewhere = [("there".to_owned(), "b = 1\n".to_owned())];
    let backup = Backup::of(&data, &passphrase(), elsewhere).unwrap();
    backup.save(&file, &passphrase()).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let seed = data_encoding::HEXLOWER.encode(pair.seed().as_ref());
    assert!(!fs::read_to_string(&file).unwrap().contains(&seed));
    assert!(matches!(backup.save(&file, &passphrase()), Err(BackupError::Exists { .. })));

    fs::remove_dir_all(&data).unwrap();
    let read = Backup::read(&file, &passphrase()).unwrap();
    assert_eq!(read.id(), pair.node_id());
    read.restore(&data).unwrap();
    let back = load(&data).unwrap();
    assert_eq!(back.node_id(), pair.node_id());
    assert_eq!(BlsSecret::of_node(&back).public(), bls);
    assert_eq!(load_gas(&data).unwrap().unwrap().address(), gas);
    let mut found: Vec<_> = read.files().map(|name| (name, data.join(name))).collect();
    found.sort();
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    let all = [
        "gas.key",
        "networks/here.toml",
        "networks/there.toml",
        "node.key",
        "node.toml",
        "registration.toml",
    ];
    assert_eq!(names, all);
    for (name, path) in &found {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert!(!data.join("onion.keys").exists() && !data.join("signed").exists());
    // What is the same stays; what is not is not replaced, and then nothing is written.
    read.restore(&data).unwrap();
    fs::remove_file(data.join("gas.key")).unwrap();
    read.restore(&data).unwrap();
    assert_eq!(load_gas(&data).unwrap().unwrap().address(), gas, "what was interrupted is finished");
    fs::remove_file(data.join("gas.key")).unwrap();
    fs::remove_file(data.join("node.key")).unwrap();
    let other = create(&data).unwrap().node_id();
    assert!(matches!(read.restore(&data), Err(BackupError::Exists { path }) if path.ends_with("node.key")));
    assert_eq!(load(&data).unwrap().node_id(), other);
    assert!(!data.join("gas.key").exists());
}

#[test]
fn keys_that_are_encrypted_are_backed_up_under_their_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("node"), folder.path().join("backup"));
    let id = create(&data).unwrap().node_id();
    keystore::change(&data, None, Some(&passphrase())).unwrap();
    let other = Passphrase::new("other").unwrap();
    let refused = Backup::of(&data, &other, []);
    assert!(matches!(refused, Err(BackupError::Key(KeyError::Passphrase { .. }))));
    Backup::of(&data, &passphrase(), []).unwrap().save(&file, &passphrase()).unwrap();
    fs::remove_dir_all(&data).unwrap();
    Backup::read(&file, &passphrase()).unwrap().restore(&data).unwrap();
    assert!(matches!(load(&data), Err(KeyError::Sealed { .. })), "they are encrypted as they were");
    assert_eq!(load_under(&data, Some(&passphrase())).unwrap().node_id(), id);
}

#[test]
fn the_network_that_a_node_goes_by_is_in_its_backup_and_none_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    create(&data).unwrap();
    fs::create_dir_all(data.join(NETWORKS)).unwrap();
    for name in ["a", "b"] {
        fs::write(data.join(NETWORKS).join(format!("{name}.toml")), "old = 1\n").unwrap();
    }
    let backup = Backup::of(&data, &passphrase(), [("b".to_owned(), "new = 1\n".to_owned())]).unwrap();
    let kept = |name: &str| backup.files.get(name).map(|kept| kept.to_vec());
    assert_eq!(kept("networks/a.toml"), Some(b"old = 1\n".to_vec()));
    assert_eq!(kept("networks/b.toml"), Some(b"new = 1\n".to_vec()));
    for number in 0..MAX_NETWORKS {
        fs::write(data.join(NETWORKS).join(format!("n{number}.toml")), "").unwrap();
    }
    let refused = Backup::of(&data, &passphrase(), []);
    assert!(matches!(refused, Err(BackupError::TooLong { path }) if path.ends_with(NETWORKS)));
}

#[test]
fn a_network_that_was_published_is_restored_with_all_its_keys_and_nothing_that_its_nodes_keep() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("net"), folder.path().join("backup"));
    let key = |name: &str| create(&data.join(name)).unwrap().node_id();
    let ids = ["node-1", "node-2", "publisher"].map(key);
    let faucet = create_gas(&data.join("faucet")).unwrap().address();
    create_gas(&data.join("node-1")).unwrap();
    for name in
        ["network.toml", "faucet.json", "lock", "node-1/node.toml", "node-1/signed", "node-2/onion.keys"]
    {
        fs::write(data.join(name), "x = 1\n").unwrap();
    }
    assert!(holds_network(&data) && !holds_network(&data.join("node-1")));
    let backup = Backup::of_network(&data).unwrap();
    assert!(backup.is_of_network() && backup.id() == ids[2]);
    let all = [
        "faucet.json",
        "faucet/gas.key",
        "network.toml",
        "node-1/gas.key",
        "node-1/node.key",
        "node-2/node.key",
        "publisher/node.key",
    ];
    assert_eq!(backup.files().collect::<Vec<_>>(), all);
    backup.save(&file, &passphrase()).unwrap();
    let head = format!("session network backup 1 {} ", ids[2]);
    assert!(fs::read_to_string(&file).unwrap().starts_with(&head));

    let other = folder.path().join("other");
    let read = Backup::read(&file, &passphrase()).unwrap();
    assert!(read.is_of_network());
    read.restore(&other).unwrap();
    let again = ["node-1", "node-2", "publisher"].map(|name| load(&other.join(name)).unwrap().node_id());
    assert_eq!(again, ids);
    assert_eq!(load_gas(&other.join("faucet")).unwrap().unwrap().address(), faucet);
    assert_eq!(fs::read_to_string(other.join("network.toml")).unwrap(), "x = 1\n");
    assert!(!other.join("node-1/signed").exists());
    // One key that cannot be used is found now, and not when it is needed.
    fs::write(data.join("node-2").join(NODE), "no key").unwrap();
    assert!(matches!(Backup::of_network(&data), Err(BackupError::Key(KeyError::Content { .. }))));
    // What belongs to a node is none of a network's, whoever says so.
    for name in ["node.key", "../evil/node.key", "a/b/node.key", "node-1/node.toml", "evil.sh", ".json"] {
        let Backup { kind, id, made, ref files } = read;
        let mut evil = Backup { kind, id, made, files: files.clone() };
        evil.files.insert(name.to_owned(), Zeroizing::new(b"x".to_vec()));
        let text = evil.seal(&passphrase(), &Lock::cheap(7)).unwrap();
        let opened = Backup::open(&text, Path::new("evil"), &passphrase());
        assert!(matches!(opened, Err(BackupError::Format { .. })), "{name}");
    }
}

#[test]
fn what_is_no_backup_is_refused() {
    let open = |text: &str| Backup::open(text, Path::new("golden"), &passphrase());
    let (head, body) = GOLDEN.split_at(GOLDEN.match_indices('\n').nth(1).unwrap().0);
    let newer = GOLDEN.replacen("backup 1 ", "backup 2 ", 1);
    assert!(matches!(open(&newer), Err(BackupError::Version { found, .. }) if found == "2"));
    assert!(matches!(open(""), Err(BackupError::Format { .. })));
    assert!(matches!(open(head), Err(BackupError::Format { .. })));
    assert!(matches!(
        open(&GOLDEN.replacen("argon2id 8 ", "argon2id 4294967295 ", 1)),
        Err(BackupError::Format { .. })
    ));
    assert!(matches!(open(&format!("{head}\n****\n")), Err(BackupError::Format { .. })));
    let cut = format!(
        "{head}{}",
        body.lines().next_back().map_or("", |last| body.strip_suffix(&format!("{last}\n")).unwrap())
    );
    assert!(matches!(open(&cut), Err(BackupError::Passphrase { .. })), "cut off");
    let later = GOLDEN.replacen(" 1767225600000", " 1767225600001", 1);
    assert!(matches!(open(&later), Err(BackupError::Passphrase { .. })), "the head is bound to it");
    let wrong = Backup::open(GOLDEN, Path::new("golden"), &Passphrase::new("wrong").unwrap());
    assert!(matches!(wrong, Err(BackupError::Passphrase { .. })));
    // Also whoever knows the passphrase writes nowhere else, and no other node.
    for name in ["../evil", "networks/../evil.toml", "networks/.toml", "onion.keys", "/etc/passwd"] {
        let mut backup = golden();
        backup.files.insert(name.to_owned(), Zeroizing::new(b"x".to_vec()));
        let text = backup.seal(&passphrase(), &Lock::cheap(7)).unwrap();
        assert!(matches!(open(&text), Err(BackupError::Format { .. })), "{name}");
    }
    let mut backup = golden();
    backup.id = NodeId::from_bytes([9; 32]);
    assert!(matches!(
        open(&backup.seal(&passphrase(), &Lock::cheap(7)).unwrap()),
        Err(BackupError::Format { .. })
    ));
}
