use super::*;

#[test]
fn a_key_is_made_once_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let made = create(folder.path()).unwrap();
    assert_eq!(load(folder.path()).unwrap().public(), made.public());
    assert!(matches!(create(folder.path()), Err(KeyError::Exists { .. })));
    assert_eq!(load(folder.path()).unwrap().public(), made.public(), "still the same");
}

fn key_file(data: &Path) -> PathBuf {
    data.join(NODE)
}

#[test]
fn what_pays_is_made_once_and_need_not_be_there() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load_gas(folder.path()).unwrap().is_none());
    let made = create_gas(folder.path()).unwrap().address();
    assert_eq!(load_gas(folder.path()).unwrap().unwrap().address(), made);
    assert!(matches!(create_gas(folder.path()), Err(KeyError::Exists { .. })));
    fs::write(folder.path().join(GAS), "0".repeat(64)).unwrap();
    assert!(matches!(load_gas(folder.path()), Err(KeyError::Content { .. })), "nobody's key");
}

#[test]
fn a_key_is_there_as_a_whole_or_not_at_all() {
    // Among many who make it at once, one does, and whoever finds it finds it whole.
    let folder = tempfile::tempdir().unwrap();
    let made: Vec<_> = std::thread::scope(|scope| {
        let maker =
            || create(folder.path()).map(|pair| (pair.public(), load(folder.path()).unwrap().public()));
        let reader = || {
            while !key_file(folder.path()).exists() {
                std::hint::spin_loop();
            }
            assert_eq!(fs::read(key_file(folder.path())).unwrap().len(), 64);
        };
        scope.spawn(reader);
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(maker)).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    let won: Vec<_> = made.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert!(matches!(won[..], [(made, read)] if made == read), "{} made it", won.len());
    assert!(made.iter().all(|one| matches!(one, Ok(_) | Err(KeyError::Exists { .. }))));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["node.key"], "drafts are removed");
    let mode = fs::metadata(key_file(folder.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What cannot be written leaves nothing behind.
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    assert!(matches!(create(&blocked), Err(KeyError::File { .. })));
}

#[test]
fn a_damaged_or_open_key_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path()).unwrap();
    let path = folder.path().join("node.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(load(folder.path()), Err(KeyError::Permissions { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "not hex").unwrap();
    assert!(matches!(load(folder.path()), Err(KeyError::Content { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "not hex");
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

#[test]
fn a_key_under_a_passphrase_opens_with_it_alone_and_tells_whose_it_is_without() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let (right, wrong) = (passphrase("right"), passphrase("wrong"));
    let made = create_under(data, Some(&right)).unwrap();
    let gas = create_gas_under(data, Some(&right)).unwrap().address();
    assert!(is_sealed(data).unwrap());
    assert_eq!(load_under(data, Some(&right)).unwrap().public(), made.public());
    assert_eq!(load_gas_under(data, Some(&right)).unwrap().unwrap().address(), gas);
    assert!(matches!(load_under(data, Some(&wrong)), Err(KeyError::Passphrase { .. })));
    assert!(matches!(load(data), Err(KeyError::Sealed { .. })));
    assert!(matches!(load_gas(data), Err(KeyError::Sealed { .. })));
    assert_eq!((id(data).unwrap(), gas_address(data).unwrap()), (made.node_id(), Some(gas)));
    let text = fs::read_to_string(key_file(data)).unwrap();
    assert!(!text.contains(&HEX.encode(made.seed().as_ref())));
    // One key does not pass for the other, and whose it is cannot be changed.
    fs::copy(data.join(NODE), data.join(GAS)).unwrap();
    assert!(matches!(load_gas_under(data, Some(&right)), Err(KeyError::Passphrase { .. })));
    let other = text.replace(&made.node_id().to_string(), &"11".repeat(32));
    fs::write(data.join(NODE), other).unwrap();
    assert!(matches!(load_under(data, Some(&right)), Err(KeyError::Passphrase { .. })));
}

#[test]
fn the_format_of_a_sealed_key_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        sealed_text(&[1; 32], Which::Node, &passphrase("correct horse"), &Lock::cheap(7), folder.path());
    assert_eq!(*text.unwrap(), GOLDEN);
    fs::write(folder.path().join(NODE), GOLDEN).unwrap();
    fs::set_permissions(folder.path().join(NODE), fs::Permissions::from_mode(0o600)).unwrap();
    let read = load_under(folder.path(), Some(&passphrase("correct horse"))).unwrap();
    assert_eq!(*read.seed(), [1; 32]);
}

/// The seed 1..1 under `correct horse`.
const GOLDEN: &str = "sealed 1 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c argon2id 8 1 1 07070707070707070707070707070707 070707070707070707070707070707070707070707070707 b33bf61f5f10fa70639a17b97c8ebce658d3b295dc24fa23d7e132ea99b7745574020ef353e62950c4d15f18cd489267\n";

#[test]
fn a_passphrase_is_changed_taken_away_and_given_also_where_that_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let (one, two) = (passphrase("one"), passphrase("two"));
    let made = create(data).unwrap().node_id();
    change(data, None, Some(&one)).unwrap();
    assert_eq!(load_under(data, Some(&one)).unwrap().node_id(), made, "without an account that pays");
    let gas = create_gas_under(data, Some(&one)).unwrap().address();
    assert!(matches!(change(data, Some(&two), None), Err(KeyError::Passphrase { .. })));
    assert!(matches!(change(data, None, Some(&two)), Err(KeyError::Sealed { .. })));
    // Of two files one was replaced already.
    let before = fs::read(data.join(NODE)).unwrap();
    change(data, Some(&one), Some(&two)).unwrap();
    fs::write(data.join(NODE), before).unwrap();
    assert!(load_under(data, Some(&two)).is_err());
    change(data, Some(&one), Some(&two)).unwrap();
    assert_eq!(load_under(data, Some(&two)).unwrap().node_id(), made);
    assert_eq!(load_gas_under(data, Some(&two)).unwrap().unwrap().address(), gas);
    let sealed = fs::read(data.join(GAS)).unwrap();
    change(data, Some(&two), None).unwrap();
    fs::write(data.join(GAS), sealed).unwrap();
    change(data, None, Some(&two)).unwrap();
    change(data, Some(&two), None).unwrap();
    assert_eq!((load(data).unwrap().node_id(), load_gas(data).unwrap().unwrap().address()), (made, gas));
    let mode = fs::metadata(key_file(data)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let left = fs::read_dir(data).unwrap().count();
    assert_eq!(left, 2, "drafts are removed");
}
