//! Every deliberate bug is caught by the simulation that is meant to catch it.

use session_protocols::mutants;
use session_testnet::sim::{
    self, Choice, Failure, Options,
    onion::{self, guards},
};

/// So many seeds are tried before a mutant counts as not caught.
const TRIES: u64 = 12;

/// Runs seeds until one breaks a promise; which one did.
fn caught(mutant: &'static str, run: impl Fn(u64, Option<&'static str>) -> (String, Option<Failure>)) -> u64 {
    let failed = (1..=TRIES).find_map(|seed| {
        let (replay, failure) = run(seed, Some(mutant));
        Some((seed, replay, failure?))
    });
    let (seed, replay, failure) = failed.unwrap_or_else(|| panic!("{mutant} lives through {TRIES} seeds"));
    println!("{failure}");
    let told = failure.to_string();
    assert_eq!(told.lines().last(), Some(replay.as_str()));
    assert!(replay.ends_with(&format!("--mutant {mutant}")), "{replay}");
    assert!(told.contains(concat!("version ", env!("CARGO_PKG_VERSION"))), "which build it was: {told}");
    if let Ok(commit) = std::env::var("SESSION_COMMIT") {
        assert!(told.contains(&format!("commit {commit}")), "{told}");
    }
    seed
}

/// Without the mutant a seed keeps all promises.
fn sane(seed: u64) {
    if let Some(failure) = swarms(seed, None).1 {
        panic!("without a mutant: {failure}");
    }
}

/// The same is for other tests to show.
const fn elsewhere(_: u64) {}

fn swarms(seed: u64, mutant: Option<&'static str>) -> (String, Option<Failure>) {
    let options = Options { seed, mutant, ..Options::default() };
    (options.replay(), sim::run(&options).err())
}

/// Everything that a rule is against happens in a run with every fault.
fn paths(seed: u64, mutant: Option<&'static str>) -> (String, Option<Failure>) {
    let options = onion::Options { seed, mutant, faults: Choice::All, ..onion::Options::default() };
    (options.replay(), onion::run(&options).err())
}

fn months(seed: u64, mutant: Option<&'static str>) -> (String, Option<Failure>) {
    let options = guards::Options { seed, mutant, ..guards::Options::default() };
    (options.replay(), guards::run(&options).err())
}

macro_rules! caught {
    ($all:ident $tried:ident by $run:ident within $most:literal, $sane:expr; $($name:ident $mutant:literal)*) => {
        $(#[test]
        fn $name() {
            let seed = caught($mutant, $run);
            assert!(seed <= $most, "{} is caught by seed {seed} only", $mutant);
            $sane(seed);
        })*

        #[test]
        fn $tried() {
            assert_eq!(mutants::$all, [$($mutant),*]);
        }
    };
}

caught! {
    SWARMS all_of_swarms_are_tried by swarms within 12, sane;
    acknowledging_before_the_commit "acknowledge-before-commit"
    forgetting_tombstones "forget-tombstone"
    skipping_verification "skip-verification"
    serving_stale "serve-stale"
    counting_one_as_a_majority "count-one-as-majority"
    skipping_reconciliation "skip-reconciliation"
    skipping_with_the_cursor "skip-cursor"
    keeping_what_is_foreign "keep-foreign"
    forgetting_an_early_end "forget-early-end"
    resurrecting_by_a_strangers_store "unsigned-resurrects"
    purging_at_once "purge-at-once"
    purging_when_one_has_it "purge-at-one"
    asking_the_old_majority_alone "change-old-majority"
    serving_before_the_pull "ready-before-pull"
    acting_as_soon_as_known "act-at-once"
}

caught! {
    ONION all_of_paths_are_tried by paths within 2, elsewhere;
    taking_a_replay "relay-replay"
    taking_an_old_stamp "relay-old-stamp"
    taking_a_number_twice "session-window"
    forwarding_any_size "relay-any-size"
    forwarding_to_strangers "relay-strangers"
    letting_anybody_in "relay-entrance"
    destroying_a_key_too_soon "key-too-soon"
    blaming_the_link_before "blame-before"
    leaving_out_on_one_word "blame-one"
    mixing_uses "path-mixed"
    two_of_one_operator "path-same-operator"
    believing_a_few "directory-few"
}

caught! {
    GUARDS all_of_guards_are_tried by months within 12, elsewhere;
    drawing_guards_without_end "guards-unlimited"
}
