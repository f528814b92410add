//! The folder under ordinary use, under many writers, and when it is damaged.

use std::{fs, path::Path, thread};

use tempfile::TempDir;

use session_protocols::{
    NodeId,
    names::{Name, NameId},
    request::Cursor,
};

use super::*;
use crate::cursors::Cursors;

fn home() -> (TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    (folder, home)
}

fn account(number: u8) -> Account {
    Account::new(&[number; 16])
}

fn id(number: u8) -> AccountId {
    AccountId::from_bytes([number; 33])
}

fn hash(number: usize) -> MessageHash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    MessageHash(hash)
}

/// Every file below a folder, with what is in it.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn accounts_come_back_in_the_order_they_were_made() {
    let (_folder, home) = home();
    assert_eq!(home.accounts().unwrap(), []);
    home.create_account("zoe", &account(1)).unwrap();
    home.create_account("Adam", &account(2)).unwrap();

    let again = Home::open(home.path()).unwrap();
    let expected = [("zoe".to_owned(), account(1).id()), ("Adam".to_owned(), account(2).id())];
    assert_eq!(again.accounts().unwrap(), expected);
    assert_eq!(again.account("Adam").unwrap().seed(), account(2).seed());
    assert!(matches!(again.account("adam"), Err(HomeError::NoAccount(name)) if name == "adam"));
}

#[test]
fn no_account_is_made_twice() {
    let (_folder, home) = home();
    home.create_account("zoe", &account(1)).unwrap();
    home.add_contact("bob", id(9), None).unwrap();
    let before = everything(home.path());
    let taken = home.create_account("zoe", &account(2));
    assert!(matches!(taken, Err(HomeError::NameTaken { id, .. }) if id == account(1).id()));
    let taken = home.create_account("bob", &account(2));
    assert!(matches!(taken, Err(HomeError::NameTaken { .. })));
    for name in ["zoe", "zoe2"] {
        let twice = home.create_account(name, &account(1));
        assert!(matches!(twice, Err(HomeError::AccountExists { name, .. }) if name == "zoe"));
    }
    assert_eq!(everything(home.path()), before);
}

#[test]
fn names_are_plain() {
    let (_folder, home) = home();
    for name in ["a", "A-z_0.9", "..", &"x".repeat(64)] {
        home.add_contact(name, id(5), None).unwrap();
    }
    for name in ["", " ", "a b", "a/b", "n\u{e4}me", "a\n", &"x".repeat(65)] {
        assert!(matches!(home.add_contact(name, id(5), None), Err(HomeError::Name(_))), "{name}");
        assert!(matches!(home.create_account(name, &account(1)), Err(HomeError::Name(_))), "{name}");
    }
}

#[test]
fn contacts_are_added_found_and_removed() {
    let (_folder, home) = home();
    home.create_account("me", &account(1)).unwrap();
    home.add_contact("bob", id(5), None).unwrap();
    home.add_contact("bob", id(5), None).unwrap();
    assert!(matches!(home.add_contact("bob", id(6), None), Err(HomeError::NameTaken { .. })));
    assert!(matches!(home.add_contact("me", id(6), None), Err(HomeError::NameTaken { .. })));
    assert_eq!(home.contacts().unwrap(), BTreeMap::from([("bob".to_owned(), id(5))]));

    assert_eq!(home.resolve("bob").unwrap(), id(5));
    assert_eq!(home.resolve("me").unwrap(), account(1).id());
    assert_eq!(home.resolve(&id(0xab).to_string().to_uppercase()).unwrap(), id(0xab));
    assert!(matches!(home.resolve("carol"), Err(HomeError::Unknown(_))));

    assert_eq!(home.remove_contact("bob").unwrap(), id(5));
    assert!(matches!(home.remove_contact("bob"), Err(HomeError::NoContact(_))));
}

#[test]
fn who_is_named_in_another_case_is_meant() {
    let (_folder, home) = home();
    home.create_account("Me", &account(1)).unwrap();
    home.add_contact("Bob", id(5), None).unwrap();
    home.add_contact("carol", id(6), None).unwrap();
    for (text, name, id) in [
        ("Bob", "Bob", id(5)),
        ("bob", "Bob", id(5)),
        ("BOB", "Bob", id(5)),
        ("Carol", "carol", id(6)),
        ("me", "Me", account(1).id()),
    ] {
        assert_eq!(home.resolve(text).unwrap(), id, "{text}");
        assert_eq!(home.entry(text).unwrap(), (name.to_owned(), id), "{text}");
    }
    assert!(matches!(home.resolve("bobby"), Err(HomeError::Unknown(_))));
}

#[test]
fn nobody_is_called_what_would_be_taken_for_somebody_else() {
    let (_folder, home) = home();
    home.create_account("Me", &account(1)).unwrap();
    for (name, number) in [("Bob", 5), ("paypal", 6), ("xn--mller-kva", 7), ("shop.alice", 8), ("-.-.a", 9)] {
        home.add_contact(name, id(number), None).unwrap();
    }
    let before = everything(home.path());
    for (name, known) in [
        ("bob", "Bob"),
        ("BOB", "Bob"),
        ("b0b", "Bob"),
        ("me", "Me"),
        ("PayPa1", "paypal"),
        ("XN--Mller-KVA", "xn--mller-kva"),
        ("Shop.A1ice", "shop.alice"),
        ("-.-.A", "-.-.a"),
    ] {
        // Also of the same account: it has a name.
        for number in [5, 1] {
            let error = home.add_contact(name, id(number), None).unwrap_err();
            assert!(matches!(&error, HomeError::NameAlike { known: it, .. } if it == known), "{error}");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("the name {name} would be taken for {known}, which is "))
            );
        }
        let error = home.create_account(name, &account(2)).unwrap_err();
        assert!(matches!(error, HomeError::NameAlike { .. }), "{error}");
        assert!(!home.is_free(name).unwrap() && !home.is_free(known).unwrap(), "{name}");
    }
    assert_eq!(everything(home.path()), before);
    for name in ["bobby", "muller", "alice", "shop.bob"] {
        assert!(home.is_free(name).unwrap(), "{name}");
        home.add_contact(name, id(9), None).unwrap();
    }
    // Once it is gone, another can have its place.
    home.remove_contact("Bob").unwrap();
    home.add_contact("bob", id(4), None).unwrap();
}

/// From before new names were refused.
#[test]
fn a_book_with_names_that_differ_by_case_alone_is_read_and_goes_on() {
    let (_folder, home) = home();
    home.create_account("bOB", &account(2)).unwrap();
    let contacts = [("Bob", id(5)), ("B0b", id(6)), ("carol", id(7)), ("Carol", id(8))];
    let contacts = contacts.map(|(name, id)| format!("\"{name}\":\"{id}\"")).join(",");
    let text = format!("{{\"version\":4,\"contacts\":{{{contacts}}}}}");
    fs::write(home.path().join("contacts.json"), text).unwrap();
    // An account of one's own is as good as a contact, and each is found by what it is called.
    for (name, id) in [
        ("Bob", id(5)),
        ("bOB", account(2).id()),
        ("B0b", id(6)),
        ("b0b", id(6)),
        ("carol", id(7)),
        ("Carol", id(8)),
    ] {
        assert_eq!(home.resolve(name).unwrap(), id, "{name}");
    }
    for (text, known) in [("bob", "Bob or bOB"), ("BOB", "Bob or bOB"), ("CAROL", "Carol or carol")] {
        let error = home.resolve(text).unwrap_err();
        let told = format!("\"{text}\" may be {known}: they differ by upper and lower case alone");
        assert_eq!(error.to_string(), told);
        assert!(matches!(error, HomeError::Ambiguous { .. }));
    }
    // What is said again of those that are there is no new name; others are refused beside them.
    home.add_contact("Carol", id(8), Some(&"carol".parse().unwrap())).unwrap();
    assert!(matches!(home.add_contact("carol", id(8), None), Err(HomeError::NameTaken { .. })));
    assert!(matches!(home.add_contact("cAROL", id(8), None), Err(HomeError::NameAlike { .. })));
    home.remove_contact("carol").unwrap();
    home.remove_contact("Bob").unwrap();
    assert_eq!(home.resolve("CAROL").unwrap(), id(8));
    assert_eq!(home.resolve("bob").unwrap(), account(2).id());
}

#[test]
fn who_is_named_as_the_network_writes_it_is_meant() {
    let (_folder, home) = home();
    home.add_contact("xn--mller-kva", id(5), None).unwrap();
    home.add_contact("Bob", id(6), None).unwrap();
    for (text, name, id) in [
        ("m\u{fc}ller", "xn--mller-kva", id(5)),
        ("M\u{dc}LLER", "xn--mller-kva", id(5)),
        ("\u{ff42}\u{ff4f}\u{ff42}", "Bob", id(6)),
    ] {
        assert_eq!(home.entry(text).unwrap(), (name.to_owned(), id), "{text}");
    }
    assert!(matches!(home.resolve("@bob"), Err(HomeError::Unknown(_))));
    assert!(matches!(home.resolve("muller"), Err(HomeError::Unknown(_))));
}

#[test]
fn what_was_shown_is_known_until_it_ends() {
    let (_folder, home) = home();
    let shown = || home.shown(&id(1)).unwrap();
    assert!(shown().is_empty());
    home.mark_shown(&id(1), &[(hash(1), 10), (hash(2), 20), (hash(1), 10)]).unwrap();
    home.mark_shown(&id(1), &[(hash(2), 20), (hash(3), 30)]).unwrap();
    assert_eq!(shown(), BTreeSet::from([hash(1), hash(2), hash(3)]));
    assert!(home.shown(&id(2)).unwrap().is_empty(), "accounts are kept apart");

    // The first has ended and is gone; the second ended too, but its end was put off meanwhile; the third
    // is not in the mailbox of the member that was asked, and may be in another's.
    home.mark_all_shown(&id(1), &[(hash(2), 40)], 25).unwrap();
    assert_eq!(shown(), BTreeSet::from([hash(2), hash(3)]));
    home.mark_all_shown(&id(1), &[], 35).unwrap();
    assert_eq!(shown(), BTreeSet::from([hash(2)]));
    home.mark_all_shown(&id(1), &[], 40).unwrap();
    assert!(shown().is_empty());
}

#[test]
fn a_full_mailbox_that_was_shown_is_known_as_a_whole() {
    let (_folder, home) = home();
    let many: Vec<_> = (0..40_000).map(|number| (hash(number), 100)).collect();
    home.mark_all_shown(&id(1), &many, 50).unwrap();
    home.mark_shown(&id(1), &[(hash(40_000), 100)]).unwrap();
    assert_eq!(home.shown(&id(1)).unwrap().len(), 40_001);
    // What no mailbox can hold makes those give way that end first.
    let mut more: BTreeMap<_, _> =
        (0..MAX_SHOWN + 2).map(|number| (hash(number), 9 + number as u64)).collect();
    bound(&mut more);
    assert_eq!(more.len(), MAX_SHOWN);
    assert_eq!(more.values().min(), Some(&11));
}

#[test]
fn writers_at_once_lose_nothing() {
    let (_folder, home) = home();
    thread::scope(|scope| {
        for writer in 0..8_u8 {
            let path = home.path();
            scope.spawn(move || {
                let home = Home::open(path).unwrap();
                home.create_account(&format!("account{writer}"), &account(writer)).unwrap();
                for round in 0..4_u8 {
                    home.add_contact(&format!("contact{writer}.{round}"), id(round), None).unwrap();
                    let number = usize::from(writer) * 10 + usize::from(round);
                    home.mark_shown(&id(1), &[(hash(number), 9)]).unwrap();
                    home.contacts().unwrap();
                }
            });
        }
    });
    assert_eq!(home.accounts().unwrap().len(), 8);
    assert_eq!(home.contacts().unwrap().len(), 32);
    assert_eq!(home.shown(&id(1)).unwrap().len(), 32);
    assert!(everything(home.path()).keys().all(|path| path.extension().is_none_or(|end| end != "new")));
}

#[test]
fn a_broken_file_is_named_and_left_alone() {
    for (file, damage, refused) in [
        ("contacts.json", "{\"version\":1,\"contacts\":{\"bob\":", 3),
        ("contacts.json", "", 3),
        ("contacts.json", "{\"version\":1,\"contacts\":{},\"more\":1}", 3),
        ("accounts.json", "[]", 2),
        (&format!("inbox/{}.json", id(1)), "\0\0\0", 1),
    ] {
        let (_folder, home) = home();
        home.create_account("me", &account(1)).unwrap();
        home.add_contact("bob", id(5), None).unwrap();
        home.mark_shown(&id(1), &[(hash(1), 9)]).unwrap();
        let path = home.path().join(file);
        fs::write(&path, damage).unwrap();
        let results = [
            home.add_contact("carol", id(6), None),
            home.remove_contact("bob").map(drop),
            home.create_account("other", &account(2)),
            home.mark_shown(&id(1), &[(hash(2), 9)]),
        ];
        let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.len(), refused, "{file}: {errors:?}");
        for error in errors {
            assert!(matches!(error, HomeError::Broken { .. }), "{error:?}");
            assert!(error.to_string().starts_with(&format!("{} is broken; ", path.display())));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), damage);
    }
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let (_folder, home) = home();
    let path = home.path().join("contacts.json");
    let newer = "{\"version\":5,\"people\":[]}";
    fs::write(&path, newer).unwrap();
    let error = home.add_contact("bob", id(5), None).unwrap_err();
    assert!(matches!(error, HomeError::Newer { found: 5, known: 4, .. }));
    assert_eq!(error.to_string(), format!("{} has version 5, this build reads up to 4", path.display()));
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}

/// The files of a home with an account, a contact and a message that was shown.
fn golden(version: u32, shown: &str) -> [(String, String); 4] {
    let own = account(1).id();
    let bob = "05".repeat(33);
    [
        (
            "accounts.json".to_owned(),
            format!(
                "{{\n  \"version\": {version},\n  \"accounts\": [\n    {{\n      \"name\": \"me\",\n      \"id\": \"{own}\"\n    }}\n  ]\n}}\n"
            ),
        ),
        (
            "contacts.json".to_owned(),
            format!("{{\n  \"version\": {version},\n  \"contacts\": {{\n    \"bob\": \"{bob}\"\n  }}\n}}\n"),
        ),
        (format!("seeds/{own}"), "01".repeat(16) + "\n"),
        (format!("inbox/{own}.json"), format!("{{\n  \"version\": {version},\n  \"shown\": {shown}\n}}\n")),
    ]
}

#[test]
fn files_are_written_as_the_fourth_version() {
    let (_folder, home) = home();
    home.create_account("me", &account(1)).unwrap();
    home.add_contact("bob", id(5), None).unwrap();
    home.mark_shown(&account(1).id(), &[(hash(0), 77)]).unwrap();
    let shown = format!("{{\n    \"{}\": 77\n  }}", "A".repeat(43));
    for (file, text) in golden(4, &shown) {
        assert_eq!(fs::read_to_string(home.path().join(&file)).unwrap(), text, "{file}");
    }
}

#[test]
fn files_of_the_first_version_are_read_and_go_on() {
    let (_folder, home) = home();
    let own = account(1).id();
    for (file, text) in golden(1, &format!("[\n    \"{}\"\n  ]", "A".repeat(43))) {
        let path = home.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    assert_eq!(home.account("me").unwrap().id(), own);
    assert_eq!(home.resolve("bob").unwrap(), id(5));
    assert_eq!(home.shown(&own).unwrap(), BTreeSet::from([hash(0)]));
    home.mark_shown(&own, &[(hash(1), 77)]).unwrap();
    assert_eq!(home.shown(&own).unwrap(), BTreeSet::from([hash(0), hash(1)]), "until the mailbox was seen");
    home.mark_all_shown(&own, &[(hash(1), 77)], 50).unwrap();
    assert_eq!(home.shown(&own).unwrap(), BTreeSet::from([hash(1)]));
    let inbox = home.path().join(format!("inbox/{own}.json"));
    assert!(
        fs::read_to_string(inbox).unwrap().contains("\"version\": 4"),
        "an older build does not misread it"
    );
}

#[test]
fn a_seed_that_has_gone_or_is_another_is_an_error_until_it_is_restored() {
    let (_folder, home) = home();
    home.create_account("me", &account(1)).unwrap();
    let path = home.path().join("seeds").join(account(1).id().to_string());
    for damage in ["", "0101", &"02".repeat(16), &"0g".repeat(16)] {
        fs::write(&path, damage).unwrap();
        let error = home.account("me").unwrap_err();
        assert!(matches!(error, HomeError::Broken { .. }), "{error:?}");
        assert!(matches!(home.create_account("me", &account(1)), Err(HomeError::AccountExists { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), damage);
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(home.account("me"), Err(HomeError::Broken { .. })));
    home.create_account("me", &account(1)).unwrap();
    assert_eq!(home.account("me").unwrap().id(), account(1).id());
}

#[test]
fn what_an_interrupted_run_left_does_not_hinder() {
    let (_folder, home) = home();
    home.create_account("first", &account(1)).unwrap();
    fs::write(home.path().join("contacts.json.new"), "half a fi").unwrap();
    fs::remove_file(home.path().join("accounts.json")).unwrap();
    home.add_contact("bob", id(5), None).unwrap();
    home.create_account("me", &account(1)).unwrap();
    assert_eq!(home.resolve("bob").unwrap(), id(5));
    assert_eq!(home.account("me").unwrap().id(), account(1).id());
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_and_writes() {
    use std::os::unix::fs::PermissionsExt;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (_folder, home) = home();
    home.create_account("me", &account(1)).unwrap();
    home.add_contact("bob", id(5), None).unwrap();
    home.mark_shown(&id(1), &[(hash(1), 9)]).unwrap();
    for folder in [home.path().to_owned(), home.path().join("seeds"), home.path().join("inbox")] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    for file in everything(home.path()).keys() {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }

    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o775)).unwrap();
    assert!(matches!(Home::open(home.path()), Err(HomeError::OpenToOthers(_))));
    let file = home.path().join("contacts.json");
    assert!(matches!(Home::open(file.join("below")), Err(HomeError::Io { .. })));
}

#[test]
fn an_imported_chain_key_is_kept_for_its_owner_and_never_replaced() {
    let (_folder, home) = home();
    home.create_account("zoe", &account(1)).unwrap();
    let zoe = account(1).id();
    assert_eq!(home.chain_key(&zoe).unwrap(), None);
    home.import_chain_key(&zoe, &[7; 32]).unwrap();
    home.import_chain_key(&zoe, &[7; 32]).unwrap();
    assert_eq!(home.chain_key(&zoe).unwrap().as_deref(), Some(&[7; 32]));
    assert_eq!(home.chain_key(&account(2).id()).unwrap(), None);

    let before = everything(home.path());
    let refused = home.import_chain_key(&zoe, &[8; 32]).unwrap_err();
    let HomeError::ChainKeyExists(path) = &refused else { panic!("{refused}") };
    assert_eq!(everything(home.path()), before);
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    fs::write(path, "07").unwrap();
    let broken = home.chain_key(&zoe).unwrap_err();
    assert!(broken.to_string().contains("is broken; put a copy of it back"), "{broken}");
}

#[test]
fn a_registration_that_was_begun_goes_on_with_the_same_secret_until_it_is_done() {
    let (_folder, home) = home();
    let (mine, network, other) = (id(1), [1; 32], [2; 32]);
    let name: Name = "alice".parse().unwrap();
    let secret = |byte| Secret([byte; 32]);
    assert_eq!(home.names(&mine, &network).unwrap(), OwnNames::default());
    assert_eq!(home.begin_name(&mine, &network, &name, secret(1)).unwrap(), secret(1));
    // The program ended, and another one draws another secret.
    let again = Home::open(home.path()).unwrap();
    assert_eq!(again.begin_name(&mine, &network, &name, secret(2)).unwrap(), secret(1));
    // Of another network and another account nothing is known.
    assert_eq!(again.begin_name(&mine, &other, &name, secret(3)).unwrap(), secret(3));
    assert_eq!(again.begin_name(&id(2), &network, &name, secret(4)).unwrap(), secret(4));

    let name_id = NameId::from_bytes([5; 32]);
    again.keep_name(&mine, &network, &name, name_id).unwrap();
    let names = again.names(&mine, &network).unwrap();
    assert_eq!(names.known.into_iter().collect::<Vec<_>>(), [(name.clone(), name_id)]);
    assert!(names.begun.is_empty());
    assert_eq!(again.begin_name(&mine, &network, &name, secret(6)).unwrap(), secret(6), "it expired since");
    again.give_name_up(&mine, &network, &name).unwrap();
    assert!(again.names(&mine, &network).unwrap().begun.is_empty());
}

#[test]
fn programs_that_begin_a_registration_at_once_have_one_secret() {
    let (_folder, home) = home();
    let name: Name = "alice".parse().unwrap();
    let begun: Vec<Secret> = thread::scope(|scope| {
        let begins = |program: u8| {
            let (path, name) = (home.path(), &name);
            scope.spawn(move || {
                let home = Home::open(path).unwrap();
                home.begin_name(&id(1), &[1; 32], name, Secret([program; 32])).unwrap()
            })
        };
        let programs: Vec<_> = (1..=8).map(begins).collect();
        programs.into_iter().map(|program| program.join().unwrap()).collect()
    });
    let kept = home.names(&id(1), &[1; 32]).unwrap().begun.remove(&name).unwrap();
    assert_eq!(begun, vec![kept; 8]);
}

#[test]
fn a_file_of_names_has_one_form_and_nobody_writes_over_what_cannot_be_read() {
    let (_folder, home) = home();
    let (mine, network) = (id(1), [1; 32]);
    let name: Name = "alice".parse().unwrap();
    home.keep_name(&mine, &network, &name, NameId::from_bytes([5; 32])).unwrap();
    home.begin_name(&mine, &network, &"bob".parse().unwrap(), Secret([0xab; 32])).unwrap();
    let path = home.path().join("names").join(format!("{mine}.json"));
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let expected = serde_json::json!({
        "version": 4,
        "networks": { "0101010101010101": {
            "known": { "alice": "05".repeat(32) },
            "begun": { "bob": "ab".repeat(32) },
        } },
    });
    assert_eq!(written, expected);
    for wrong in ["{", r#"{"version":3,"networks":{"01":{"known":{},"begun":{"bob":"ab"}}}}"#] {
        fs::write(&path, wrong).unwrap();
        assert!(matches!(home.names(&mine, &network), Err(HomeError::Broken { .. })), "{wrong}");
        let kept = home.keep_name(&mine, &network, &name, NameId::from_bytes([5; 32]));
        assert!(matches!(kept, Err(HomeError::Broken { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), wrong);
    }
}

#[test]
fn strangers_who_say_where_they_are_paid_push_out_no_contacts() {
    let (_folder, home) = home();
    let person = |number: usize| {
        let mut bytes = [5; 33];
        bytes[25..].copy_from_slice(&(number as u64).to_be_bytes());
        AccountId::from_bytes(bytes)
    };
    home.add_contact("bob", person(0), None).unwrap();
    // The contact spoke longest ago, and then one that was agreed to.
    let said = |number: usize| {
        let agreed = if number == 1 { format!(",\"agreed\":\"{}\"", "01".repeat(20)) } else { String::new() };
        format!("\"{}\":{{\"said\":\"{}\",\"said_ms\":{number}{agreed}}}", person(number), "01".repeat(20))
    };
    let all: Vec<String> = (0..money::MAX_WALLETS).map(said).collect();
    let text = format!("{{\"version\":4,\"wallets\":{{{}}}}}", all.join(","));
    fs::write(home.path().join("wallets.json"), text).unwrap();
    home.keep_said(&person(money::MAX_WALLETS), [2; 20], 1_000_000).unwrap();
    for number in [0, 1, 3, money::MAX_WALLETS] {
        assert!(home.paid_at(&person(number)).unwrap().is_some(), "{number}");
    }
    assert_eq!(home.paid_at(&person(2)).unwrap(), None, "a stranger who spoke longest ago");
}

#[test]
fn where_somebody_is_paid_is_what_was_said_last_and_what_was_agreed_to_stays_known() {
    let (_folder, home) = home();
    assert_eq!(home.paid_at(&id(5)).unwrap(), None);
    home.keep_agreed(&id(5), [1; 20], None).unwrap();
    assert_eq!(home.paid_at(&id(5)).unwrap(), None, "it was never said");
    home.keep_said(&id(5), [1; 20], 10).unwrap();
    let at = |said, agreed| Some(PaidAt { said: [said; 20], agreed, over: None });
    assert_eq!(home.paid_at(&id(5)).unwrap(), at(1, None));
    home.keep_agreed(&id(5), [1; 20], None).unwrap();
    home.keep_said(&id(5), [2; 20], 9).unwrap();
    assert_eq!(home.paid_at(&id(5)).unwrap(), at(1, Some([1; 20])), "that was said before");
    home.keep_said(&id(5), [2; 20], 11).unwrap();
    assert_eq!(home.paid_at(&id(5)).unwrap(), at(2, Some([1; 20])));
    let path = home.path().join("wallets.json");
    let text = fs::read_to_string(&path).unwrap();
    let written = format!(
        "{{\n  \"version\": 4,\n  \"wallets\": {{\n    \"{}\": {{\n      \"said\": \"{}\",\n      \"said_ms\": 11,\n      \
         \"agreed\": \"{}\"\n    }}\n  }}\n}}\n",
        id(5),
        "02".repeat(20),
        "01".repeat(20)
    );
    assert_eq!(text, written);
    fs::write(&path, text.replace("0202", "02")).unwrap();
    assert!(matches!(home.paid_at(&id(5)), Err(HomeError::Broken { .. })));
}

#[test]
fn how_far_an_inbox_was_read_is_kept_with_what_was_learnt_of_it() {
    let (_folder, home) = home();
    let reached = |sequence| {
        let mut cursors = Cursors::new();
        cursors.set(NodeId::from_bytes([7; 32]), Cursor { incarnation: 1, sequence });
        cursors
    };
    let network = [1; 32];
    assert_eq!(home.read_to(&id(1), &network).unwrap(), Cursors::new());
    home.keep_said(&id(5), [1; 20], 10).unwrap();
    home.keep_read_to(&id(1), &network, &reached(8)).unwrap();
    home.keep_read_to(&id(1), &network, &reached(9)).unwrap();
    home.keep_read_to(&id(2), &network, &reached(3)).unwrap();
    home.keep_said(&id(6), [2; 20], 11).unwrap();
    assert_eq!(home.read_to(&id(1), &network).unwrap(), reached(9));
    assert_eq!(home.read_to(&id(2), &network).unwrap(), reached(3));
    assert_eq!(home.read_to(&id(1), &[2; 32]).unwrap(), Cursors::new(), "another network's nodes count anew");

    // A place that is damaged is none; where all is lost that was learnt, all is read again.
    let path = home.path().join("wallets.json");
    let whole = fs::read_to_string(&path).unwrap();
    let place = HEX.encode(&reached(9).to_bytes());
    for damaged in ["00", "no hex", &place[2..]] {
        fs::write(&path, whole.replace(&place, damaged)).unwrap();
        assert_eq!(home.read_to(&id(1), &network).unwrap(), Cursors::new(), "{damaged}");
        assert!(home.paid_at(&id(5)).unwrap().is_some());
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(home.read_to(&id(2), &network).unwrap(), Cursors::new());

    // Of many inboxes, the one that was read longest ago is read anew.
    for number in 0..33 {
        home.keep_read_to(&id(number), &network, &reached(1)).unwrap();
        home.keep_read_to(&id(1), &network, &reached(u64::from(number))).unwrap();
    }
    assert_eq!(home.read_to(&id(0), &network).unwrap(), Cursors::new());
    assert_eq!(home.read_to(&id(1), &network).unwrap(), reached(32));
    assert_eq!(home.read_to(&id(3), &network).unwrap(), reached(1));
}

#[test]
fn what_an_address_was_agreed_to_over_is_known_until_another_is_agreed_to() {
    let (_folder, home) = home();
    let at = |said, agreed, over| {
        Some(PaidAt { said: [said; 20], agreed: Some([agreed; 20]), over: Some([over; 20]) })
    };
    home.keep_said(&id(5), [1; 20], 10).unwrap();
    home.keep_agreed(&id(5), [2; 20], Some([1; 20])).unwrap();
    assert_eq!(home.paid_at(&id(5)).unwrap(), at(1, 2, 1));
    home.keep_said(&id(5), [3; 20], 11).unwrap();
    assert_eq!(home.paid_at(&id(5)).unwrap(), at(3, 2, 1), "what was said since is not what they saw");
    home.keep_agreed(&id(5), [2; 20], Some([3; 20])).unwrap();
    assert_eq!(home.paid_at(&id(5)).unwrap(), at(3, 2, 3));
    home.keep_agreed(&id(5), [3; 20], None).unwrap();
    assert_eq!(
        home.paid_at(&id(5)).unwrap(),
        Some(PaidAt { said: [3; 20], agreed: Some([3; 20]), over: None })
    );
}

#[test]
fn a_contact_keeps_the_name_by_which_it_was_found() {
    let (_folder, home) = home();
    let [bob, shop]: [Name; 2] = ["bob", "shop.bob"].map(|name| name.parse().unwrap());
    let names = |of: &[(&str, &Name)]| {
        of.iter().map(|(contact, name)| ((*contact).to_owned(), (*name).clone())).collect::<BTreeMap<_, _>>()
    };
    home.add_contact("bob", id(5), Some(&bob)).unwrap();
    home.add_contact("carol", id(6), None).unwrap();
    assert_eq!(home.contact_names().unwrap(), names(&[("bob", &bob)]));
    assert!(matches!(home.add_contact("bob", id(6), Some(&shop)), Err(HomeError::NameTaken { .. })));
    // Of the same account another name is learnt, and none is forgotten.
    home.add_contact("carol", id(6), Some(&shop)).unwrap();
    home.add_contact("bob", id(5), None).unwrap();
    assert_eq!(home.contact_names().unwrap(), names(&[("bob", &bob), ("carol", &shop)]));
    home.remove_contact("bob").unwrap();
    home.add_contact("bob", id(7), None).unwrap();
    assert_eq!(home.contact_names().unwrap(), names(&[("carol", &shop)]));
    let text = fs::read_to_string(home.path().join("contacts.json")).unwrap();
    assert!(text.contains("\"names\": {\n    \"carol\": \"shop.bob\"\n  }"), "{text}");
}

#[test]
fn a_payment_belongs_to_the_message_that_told_of_it_first() {
    let (_folder, home) = home();
    let paid = |message, height| Paid { message: hash(message), height };
    assert!(home.paid(&id(1)).unwrap().is_empty());
    home.keep_paid(&id(1), &[7; 32], paid(1, 9)).unwrap();
    home.keep_paid(&id(1), &[7; 32], paid(2, 9)).unwrap();
    assert_eq!(home.paid(&id(1)).unwrap(), BTreeMap::from([([7; 32], paid(1, 9))]));
    assert!(home.paid(&id(2)).unwrap().is_empty(), "accounts are kept apart");
}
