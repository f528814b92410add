//! Disks that are full, damaged, locked, mixed up, or written by another build.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::ValueTree;

use super::{history::*, *};
use crate::tables::{META, write_meta};

/// A disk after a history that merged a few times, and what was played.
fn filled() -> (FaultyDisk, Player) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = steps(400..401).new_tree(&mut runner).unwrap().current();
    let disk = FaultyDisk::new();
    let mut store = open(&disk, tiny(20, 40));
    let mut player = Player::new(INCARNATION);
    let mut rest = steps.as_slice();
    while !rest.is_empty() {
        let played = batch(&mut player, &mut store, rest).unwrap();
        rest = &rest[played..];
    }
    player.check(&store);
    drop(store);
    (disk, player)
}

#[test]
fn a_turned_bit_is_noticed_or_harmless() {
    let (disk, player) = filled();
    let image = disk.image();
    let (mut noticed, mut silent) = (0, 0);
    for seed in 0..600 {
        let disk = FaultyDisk::from_image(image.clone());
        let turned = disk.flip(seed).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let Ok(mut store) = MessageStore::open_on(Arc::new(disk.clone()), tiny(20, 40)) else {
                return true;
            };
            let mut damaged = false;
            for row in 1..=player.model.head() {
                match store.mutation(row) {
                    Ok(None) => {}
                    Ok(found) => assert_eq!(found.as_ref(), player.written.get(&row)),
                    Err(_) => damaged = true,
                }
            }
            for (account, hash, record) in player.model.records() {
                match store.record(account, hash) {
                    Ok(None) => damaged = true,
                    Ok(Some(found)) => assert_eq!(found, *record),
                    Err(_) => damaged = true,
                }
            }
            damaged |= store.due(u64::MAX, 1_000).is_err();
            // Writing on such a disk may fail; it must not panic either.
            let mut player = player.clone();
            for _ in 0..30 {
                let steps = [
                    Step::Put { account: 1, hash: 1, drawer: 0, size: 9, hours: 5, signed: true },
                    Step::Commit,
                ];
                damaged |= store.head() != player.model.head();
                if damaged || batch(&mut player, &mut store, &steps).is_err() {
                    return true;
                }
            }
            damaged
        }));
        match result {
            Ok(true) => noticed += 1,
            Ok(false) => silent += 1,
            Err(_) => panic!("bit {turned:?} of seed {seed}"),
        }
    }
    // Most bits lie in pages that hold nothing.
    assert!(noticed > 20, "{noticed} noticed, {silent} silent");
}

#[test]
fn a_full_disk_costs_nothing_that_was_acknowledged() {
    let (disk, mut player) = filled();
    for more in [0, 10_000, 60_000, 200_000, 500_000] {
        disk.set_capacity(Some(disk.len() + more));
        let mut store = open(&disk, tiny(20, 40));
        player.check(&store);
        let mut moments = Moments::from([(player.model.head(), player.clone())]);
        let mut acknowledged = player.model.head();
        for hash in (0..10).cycle().take(2_000) {
            let put = Step::Put { account: 2, hash, drawer: 1, size: 70_000, hours: 3, signed: true };
            let result = batch(&mut player, &mut store, &[put, Step::Commit]);
            moments.insert(player.model.head(), player.clone());
            if let Err(error) = result {
                assert!(matches!(error, StoreError::Full(_)), "{error:?}");
                assert!(store.reserve(1 << 20).is_err(), "there is no room");
                break;
            }
            acknowledged = player.model.head();
        }
        assert!(store.record(&account(2), &MessageHash([0; 32])).is_err(), "the disk never was full");
        disk.set_capacity(None);
        store.reserve(1 << 20).unwrap();
        store.reopen().unwrap();
        assert!(store.head() >= acknowledged);
        player = moments.remove(&store.head()).unwrap();
        player.check(&store);
    }
}

#[test]
fn a_dropped_transaction_leaves_it_refusing_until_it_is_reopened() {
    let (disk, player) = filled();
    let mut store = open(&disk, tiny(20, 40));
    let mut lost = player.clone();
    let put = Step::Put { account: 1, hash: 1, drawer: 0, size: 9, hours: 5, signed: true };
    lost.play(&put, &mut store.begin().unwrap()).unwrap();
    assert!(store.begin().is_err() && store.usage(&account(1)).is_err());
    store.reopen().unwrap();
    player.check(&store);
    // One without entries leaves no trace.
    drop(store.begin().unwrap());
    player.check(&store);
}

#[test]
fn two_processes_never_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = MessageStore::open(dir.path(), tiny(9, 9)).unwrap();
    let error = MessageStore::open(dir.path(), tiny(9, 9)).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("another process uses the store in"));
    drop(store);
    MessageStore::open(dir.path(), tiny(9, 9)).unwrap();
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let (disk, _) = filled();
    let (old, journal, tables) = (disk.image(), "journal.redb", "messages.redb");
    let mut store = open(&disk, tiny(20, 40));
    let mut player = filled().1;
    for _ in 0..200 {
        let put = Step::Put { account: 1, hash: 1, drawer: 0, size: 9, hours: 5, signed: true };
        batch(&mut player, &mut store, &[put, Step::Commit]).unwrap();
    }
    drop(store);
    let new = disk.image();
    let stranger = FaultyDisk::new();
    drop(open(&stranger, Options { fresh_incarnation: 1, ..tiny(9, 9) }));
    let stranger = stranger.image();
    let mix = |journal_of: Option<&BTreeMap<String, Vec<u8>>>,
               tables_of: Option<&BTreeMap<String, Vec<u8>>>| {
        let mut files = BTreeMap::new();
        for (name, of) in [(journal, journal_of), (tables, tables_of)] {
            files.extend(of.map(|of| (name.to_owned(), of[name].clone())));
        }
        match MessageStore::open_on(Arc::new(FaultyDisk::from_image(files)), tiny(20, 40)) {
            Err(OpenError::Mismatch { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(mix(None, Some(&new)), "the journal is missing");
    assert_eq!(mix(Some(&new), None), "the tables are older than the journal");
    assert_eq!(mix(Some(&new), Some(&old)), "the tables are older than the journal");
    assert_eq!(mix(Some(&old), Some(&new)), "the journal is older than the tables");
    assert_eq!(mix(Some(&stranger), Some(&new)), "they are of different stores");
}

#[test]
fn what_a_newer_build_wrote_is_refused_by_name() {
    for name in ["journal.redb", "messages.redb"] {
        let disk = filled().0;
        let db = crate::disk::open(&disk, name, 1 << 20).unwrap();
        let transaction = db.begin_write().unwrap();
        write_meta(&mut transaction.open_table(META).unwrap(), "schema", &7_u32).unwrap();
        transaction.commit().unwrap();
        drop(db);
        let error = MessageStore::open_on(Arc::new(disk), tiny(9, 9)).unwrap_err();
        assert!(matches!(error, OpenError::Schema { found: 7, supported: 2, .. }), "{error:?}");
        assert!(error.to_string().contains("has schema 7, this build reads 2"), "{error}");
    }
    let (disk, player) = filled();
    let mut journal = Journal::open(&disk, 1 << 20).unwrap().0;
    let mut chunks = Vec::new();
    journal::push(&mut chunks, player.model.head() + 1, &[2, 0, 0, 0, 0]);
    journal.commit(chunks, 0).unwrap();
    drop(journal);
    let error = MessageStore::open_on(Arc::new(disk), tiny(9, 9)).unwrap_err();
    assert!(matches!(error, OpenError::Entry { found: 2, supported: 1, .. }), "{error:?}");
}

#[test]
fn each_opening_begins_an_incarnation() {
    let (disk, mut player) = filled();
    let mut store = open(&disk, tiny(20, 40));
    assert_eq!(store.incarnation(), INCARNATION);
    store.reopen().unwrap();
    assert_eq!(store.incarnation(), INCARNATION, "nothing that was acknowledged can be gone");
    drop(store);
    // The copy that is opened may be an old one, put back.
    let store = open(&disk, Options { fresh_incarnation: 5, ..tiny(20, 40) });
    player.incarnation = 5;
    player.check(&store);
}

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/schema-2");

/// The history of the fixture, which must stay as it is.
fn fixture_steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..40_u8 {
        let (account, hash, drawer) = (round % 4, round % 10, round % 3);
        let (size, hours) = (u32::from(round) * 97, 2 + u64::from(round % 7));
        steps.push(Step::Put { account, hash, drawer, size, hours, signed: round % 2 == 0 });
        if round % 5 == 4 {
            steps.push(Step::Delete { account: round % 3, hashes: vec![round % 10, 3] });
            steps.push(Step::Expire { account: round % 2, hashes: vec![1, 7], hours: 8 });
            steps.push(Step::Commit);
        }
        if round % 20 == 19 {
            steps.push(Step::Forget { hours: 3 });
            steps.push(Step::Retire { hours: 3 });
        }
    }
    steps
}

fn play_fixture(disk: Arc<dyn Disk>) -> Player {
    let mut store = MessageStore::open_on(disk, tiny(12, 30)).unwrap();
    let mut player = Player::new(INCARNATION);
    let steps = fixture_steps();
    let mut rest = steps.as_slice();
    while !rest.is_empty() {
        let played = batch(&mut player, &mut store, rest).unwrap();
        rest = &rest[played..];
    }
    player
}

/// The fixture of a released schema never changes; `BLESS=1` writes it where there is none.
#[test]
fn a_store_of_schema_2_opens_and_holds_what_it_held() {
    let dir = tempfile::tempdir().unwrap();
    if std::env::var_os("BLESS").is_some() && !std::path::Path::new(FIXTURE).exists() {
        std::fs::create_dir_all(FIXTURE).unwrap();
        play_fixture(Arc::new(Directory::new(FIXTURE)));
    }
    for name in ["journal.redb", "messages.redb"] {
        std::fs::copy(format!("{FIXTURE}/{name}"), dir.path().join(name)).unwrap();
    }
    let mut player = play_fixture(Arc::new(FaultyDisk::new()));
    let mut store = MessageStore::open(dir.path(), tiny(12, 30)).unwrap();
    player.check(&store);
    let steps = [Step::Put { account: 1, hash: 1, drawer: 0, size: 9, hours: 5, signed: true }, Step::Commit];
    for _ in 0..40 {
        batch(&mut player, &mut store, &steps).unwrap();
        player.check(&store);
    }
}
