use std::collections::BTreeMap;

use proptest::{prelude::*, strategy::ValueTree};

use super::*;
use crate::faulty::{Fault, FaultyDisk, Loss};
use history::{Player, Step, steps};

#[path = "damage.rs"]
mod damage;
#[path = "history.rs"]
mod history;

const INCARNATION: u64 = 77;

/// Overlays so small that a history merges many times.
fn tiny(overlay_changes: usize, slice: usize) -> Options {
    Options {
        cache_bytes: 4 << 20,
        overlay_changes,
        overlay_bytes: 40_000,
        recent_bytes: 16 << 10,
        slice,
        merge_thread: false,
        fresh_incarnation: INCARNATION,
    }
}

fn open(disk: &FaultyDisk, options: Options) -> MessageStore {
    MessageStore::open_on(Arc::new(disk.clone()), options).unwrap()
}

/// Plays steps up to the next commit; tells how many it took.
fn batch(player: &mut Player, store: &mut MessageStore, steps: &[Step]) -> Result<usize, StoreError> {
    let mut writer = store.begin()?;
    let mut played = 0;
    for step in steps {
        played += 1;
        if matches!(step, Step::Commit | Step::Reopen) {
            break;
        }
        player.play(step, &mut writer)?;
    }
    writer.commit()?;
    Ok(played)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_does_what_the_model_does(steps in steps(1..120), changes in 1_usize..40, slice in 1_usize..30) {
        let disk = FaultyDisk::new();
        let mut store = open(&disk, tiny(changes, slice));
        let mut player = Player::new(INCARNATION);
        for batch in steps.split_inclusive(|step| matches!(step, Step::Commit | Step::Reopen)) {
            let mut writer = store.begin().unwrap();
            for step in batch {
                player.play(step, &mut writer).unwrap();
            }
            player.check(&writer);
            writer.commit().unwrap();
            player.check(&store);
            prop_assert_eq!(store.stats().messages, player.messages());
            if matches!(batch.last(), Some(Step::Reopen)) {
                store.reopen().unwrap();
                player.check(&store);
                prop_assert_eq!(store.stats().messages, player.messages());
            }
        }
        // A process that is killed leaves what it wrote.
        let survivor = disk.survivor(Loss::Nothing);
        player.check(&open(&survivor, tiny(changes, slice)));
        drop(store);
        player.check(&open(&disk, tiny(changes, slice)));
    }

    #[test]
    fn a_thread_that_merges_changes_nothing(steps in steps(1..200), changes in 1_usize..40, slice in 1_usize..30) {
        let disk = FaultyDisk::new();
        let options = Options { merge_thread: true, ..tiny(changes, slice) };
        let mut store = open(&disk, options);
        let mut player = Player::new(INCARNATION);
        let mut rest = steps.as_slice();
        while !rest.is_empty() {
            let played = batch(&mut player, &mut store, rest).unwrap();
            player.check(&store);
            if matches!(rest[played - 1], Step::Reopen) {
                store.reopen().unwrap();
                player.check(&store);
            }
            rest = &rest[played..];
        }
        drop(store);
        player.check(&open(&disk, options));
    }

    #[test]
    fn nothing_is_left_behind(steps in steps(1..80), changes in 1_usize..20) {
        let mut disk = FaultyDisk::new();
        let mut store = open(&disk, tiny(changes, 3));
        let mut player = Player::new(INCARNATION);
        let mut rest = steps.as_slice();
        while !rest.is_empty() {
            let played = batch(&mut player, &mut store, rest).unwrap();
            if matches!(rest[played - 1], Step::Reopen) {
                disk = disk.survivor(Loss::Nothing);
                store = open(&disk, tiny(changes, 3));
            }
            rest = &rest[played..];
        }
        while !store.due(u64::MAX, 1).unwrap().is_empty() {
            batch(&mut player, &mut store, &[Step::Forget { hours: 1 << 30 }]).unwrap();
        }
        store.retire_all();
        store.merge_all();
        let view = &store.files().unwrap().tables.view;
        prop_assert_eq!(rows(&view.bodies), 0, "bodies");
        let left = [rows(&view.records), rows(&view.arrivals), rows(&view.ends)];
        prop_assert_eq!(left, [0; 3], "records, arrivals, ends");
        prop_assert_eq!([rows(&view.usage), rows(&view.evidence)], [0; 2], "usage, evidence");
    }
}

#[test]
fn a_store_that_was_opened_remembers_what_came_last() {
    let disk = FaultyDisk::new();
    // All of it stays in the journal.
    let options = Options { overlay_bytes: 1 << 20, ..tiny(1_000, 30) };
    let mut store = open(&disk, options);
    let mut player = Player::new(INCARNATION);
    for hash in 0..9 {
        let put = Step::Put { account: 1, hash, drawer: 0, size: 900, hours: 5, signed: false };
        batch(&mut player, &mut store, &[put, Step::Commit]).unwrap();
    }
    let delete = Step::Delete { account: 1, hashes: vec![8] };
    batch(&mut player, &mut store, &[delete, Step::Commit]).unwrap();
    drop(store);
    let mut store = open(&disk, options);
    for reopened in [false, true] {
        let knows = |row| store.recent.mutation(row).is_some();
        assert!(knows(8) && knows(7), "{reopened}");
        assert!(!knows(9), "it was deleted");
        assert!(!knows(1), "there is no room for it");
        player.check(&store);
        store.reopen().unwrap();
    }
}

fn rows<const N: usize>(table: &Table<N>) -> u64 {
    redb::ReadableTableMetadata::len(table).unwrap()
}

impl MessageStore {
    /// Retires all evidence.
    fn retire_all(&mut self) {
        let mut writer = self.begin().unwrap();
        while writer.retire(u64::MAX, 100).unwrap() > 0 {}
        writer.commit().unwrap();
    }

    /// Merges what is sealed, and then what is active.
    fn merge_all(&mut self) {
        let options = self.options;
        let (Files { journal, tables }, memory) = self.parts().unwrap();
        for _ in 0..2 {
            if let Some(sealed) = memory.sealed.take() {
                sealed.finish().unwrap();
                tables.meta.merged = sealed.last();
            }
            memory.seal(journal, tables, &options);
        }
        tables.refresh().unwrap();
    }
}

/// What a history was at each of its commits.
type Moments = BTreeMap<u64, Player>;

/// Plays until the disk fails; returns the moments, and the last one that was acknowledged.
fn play_until_failure(
    disk: &FaultyDisk,
    options: Options,
    steps: &[Step],
) -> (Moments, u64, Option<MessageStore>) {
    let mut player = Player::new(INCARNATION);
    let mut moments = Moments::from([(0, player.clone())]);
    let mut acknowledged = 0;
    let Ok(mut store) = MessageStore::open_on(Arc::new(disk.clone()), options) else {
        return (moments, acknowledged, None);
    };
    let mut rest = steps;
    while !rest.is_empty() {
        let result = batch(&mut player, &mut store, rest);
        moments.insert(player.model.head(), player.clone());
        match result {
            Ok(played) => rest = &rest[played..],
            Err(_) => return (moments, acknowledged, Some(store)),
        }
        acknowledged = player.model.head();
    }
    (moments, acknowledged, Some(store))
}

/// Checks that the store is at one of the moments, none before the last acknowledged one, and that
/// it goes on from there.
fn check_and_go_on(store: &mut MessageStore, moments: &Moments, acknowledged: u64, steps: &[Step]) {
    let head = store.head();
    assert!(head >= acknowledged, "lost {acknowledged}, found {head}");
    let mut player = moments.get(&head).unwrap().clone();
    player.check(store);
    assert_eq!(store.stats().messages, player.messages(), "after a crash");
    let mut rest = steps;
    while !rest.is_empty() {
        let played = batch(&mut player, store, rest).unwrap();
        rest = &rest[played..];
    }
    player.check(store);
}

/// A fixed number of histories, each cut at each of its operations.
fn crash_everywhere(histories: u32, fault: Fault, losses: &[fn(u64) -> Loss]) {
    crash_anywhere(histories, fault, losses, false);
}

/// The same, with a thread that merges or without. With one, the operations come in another order
/// and number at every run, so that none names a certain place: some are tried, and what is checked
/// is the outcome.
fn crash_anywhere(histories: u32, fault: Fault, losses: &[fn(u64) -> Loss], merge_thread: bool) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for number in 0..histories {
        let steps = steps(24..25).new_tree(&mut runner).unwrap().current();
        let options = Options {
            merge_thread,
            ..tiny([2, 5, 9][number as usize % 3], [1, 4, 1_000][number as usize % 3])
        };
        let clean = FaultyDisk::new();
        drop(play_until_failure(&clean, options, &steps));
        for operation in (0..clean.operations()).step_by(if merge_thread { 7 } else { 1 }) {
            let disk = FaultyDisk::new();
            disk.fail(operation, fault);
            let (moments, acknowledged, store) = play_until_failure(&disk, options, &steps);
            if fault != Fault::PowerLoss {
                // A run that took fewer operations has not met it.
                disk.mend();
            }
            let context = format!("history {number}, operation {operation}, {fault:?}");
            if fault != Fault::PowerLoss {
                let mut store = store.map_or_else(
                    || open(&disk, options),
                    |mut store| {
                        store.reopen().expect(&context);
                        store
                    },
                );
                check_and_go_on(&mut store, &moments, acknowledged, &steps[..12]);
                continue;
            }
            drop(store);
            for loss in losses {
                let survivor = disk.survivor(loss(operation));
                let mut store = MessageStore::open_on(Arc::new(survivor), options).expect(&context);
                check_and_go_on(&mut store, &moments, acknowledged, &steps[..6]);
            }
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    crash_everywhere(6, Fault::PowerLoss, &[|_| Loss::Nothing]);
}

#[test]
fn a_thread_that_merges_loses_nothing_acknowledged() {
    crash_anywhere(2, Fault::PowerLoss, &[|_| Loss::Everything, Loss::Scattered], true);
    crash_anywhere(2, Fault::Error, &[], true);
    crash_anywhere(1, Fault::Half, &[], true);
}

#[test]
fn a_power_loss_loses_nothing_acknowledged() {
    crash_everywhere(3, Fault::PowerLoss, &[|_| Loss::Everything, Loss::Tail]);
}

#[test]
fn writes_in_any_order_lose_nothing_acknowledged() {
    crash_everywhere(3, Fault::PowerLoss, &[Loss::Scattered, Loss::Sectors]);
}

#[test]
fn a_failed_write_or_sync_loses_nothing_acknowledged() {
    crash_everywhere(3, Fault::Error, &[]);
    crash_everywhere(3, Fault::Half, &[]);
}
