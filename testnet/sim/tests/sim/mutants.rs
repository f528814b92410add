//! Every deliberate bug is caught by the simulation that is meant to catch it.

use std::collections::BTreeSet;

use session_protocols::mutants;
use session_sim::{
    self as sim, Choice, Failure, Options,
    onion::{self, guards},
};

/// So many seeds are tried before a mutant counts as not caught.
const TRIES: u64 = 48;

/// Runs seeds until each of these promises was broken, and no other; which seed was the last.
fn caught(
    mutant: &'static str,
    checks: &[&'static str],
    run: impl Fn(u64, Option<&'static str>) -> (String, Option<Failure>),
) -> u64 {
    let mut kept: BTreeSet<_> = checks.iter().copied().collect();
    for seed in 1..=TRIES {
        let (replay, failure) = run(seed, Some(mutant));
        let Some(failure) = failure else { continue };
        println!("{failure}");
        assert!(
            checks.contains(&failure.check),
            "{mutant} is to break {checks:?}, and broke {:?}",
            failure.check
        );
        let told = failure.to_string();
        assert_eq!(told.lines().last(), Some(replay.as_str()));
        assert!(replay.ends_with(&format!("--mutant {mutant}")), "{replay}");
        assert!(told.contains(concat!("version ", env!("CARGO_PKG_VERSION"))), "which build it was: {told}");
        if let Ok(commit) = std::env::var("SESSION_COMMIT") {
            assert!(told.contains(&format!("commit {commit}")), "{told}");
        }
        kept.remove(failure.check);
        if kept.is_empty() {
            return seed;
        }
    }
    panic!("{mutant} lives through {TRIES} seeds, or these promises do: {kept:?}");
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

fn quiet(seed: u64, mutant: Option<&'static str>) -> (String, Option<Failure>) {
    let options = onion::Options { seed, mutant, faults: Choice::None, ..onion::Options::default() };
    (options.replay(), onion::run(&options).err())
}

fn months(seed: u64, mutant: Option<&'static str>) -> (String, Option<Failure>) {
    let options = guards::Options { seed, mutant, ..guards::Options::default() };
    (options.replay(), guards::run(&options).err())
}

macro_rules! caught {
    ($all:ident $tried:ident by $run:ident within $most:literal, $sane:expr; $($name:ident $mutant:literal breaks $($check:literal),+)*) => {
        $(#[test]
        fn $name() {
            let seed = caught($mutant, &[$($check),+], $run);
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
    SWARMS all_of_swarms_are_tried by swarms within 48, sane;
    acknowledging_before_the_commit "acknowledge-before-commit"
        breaks "a receipt is durable"
    forgetting_tombstones "forget-tombstone"
        breaks "nothing is forgotten before its end"
    skipping_verification "skip-verification"
        breaks "nothing forged is accepted"
    serving_stale "serve-stale"
        breaks "a member is ready only when caught up with a majority"
    counting_one_as_a_majority "count-one-as-majority"
        breaks "a majority of receipts is behind an acknowledgement"
    skipping_reconciliation "skip-reconciliation"
        breaks "a ready member has what was acknowledged before it caught up"
    skipping_with_the_cursor "skip-cursor"
        breaks "a cursor never skips", "a subscription delivers everything"
    keeping_what_is_foreign "keep-foreign"
        breaks "nothing is stored outside its swarm"
    forgetting_an_early_end "forget-early-end"
        breaks "what is gone stays gone after healing"
    resurrecting_by_a_strangers_store "unsigned-resurrects"
        breaks "nothing deleted comes back"
    purging_at_once "purge-at-once"
        breaks "a record goes only when a majority of its new owners has it"
    purging_when_one_has_it "purge-at-one"
        breaks "a record goes only when a majority of its new owners has it"
    asking_the_old_majority_alone "change-old-majority"
        breaks "a majority of the next members has what is acknowledged"
    serving_before_the_pull "ready-before-pull"
        breaks "who serves under a new map has pulled from a majority of those before"
    acting_as_soon_as_known "act-at-once"
        breaks "a map is known an epoch before it acts"
    turning_an_old_deletion_on_what_comes_late "bulk-takes-late"
        breaks "a deletion of whole drawers takes what it is about", "nothing forged is accepted"
    deleting_from_other_drawers "bulk-any-drawer"
        breaks "a deletion of whole drawers takes what it is about"
    forgetting_revocations "forget-revocation"
        breaks "an acknowledged revocation stands"
    serving_who_is_revoked "revoked-ask"
        breaks "who is revoked is refused"
    keeping_both_in_an_outbox "outbox-keeps-both"
        breaks "an outbox shows one message"
    deleting_what_is_known_alone "bulk-known-only"
        breaks "members are equal after healing"
    changing_what_is_known_alone "change-known-only"
        breaks "members are equal after healing", "an acknowledged message is readable after healing"
    dropping_a_revocation_where_nothing_is_kept "revoke-empty"
        breaks "an acknowledged revocation stands"
    taking_any_text "text-unverified"
        breaks "a wrong request is refused"
    passing_on_a_text_without_its_time "text-unreceived"
        breaks "writes succeed after healing"
}

caught! {
    ONION all_of_paths_are_tried by paths within 2, elsewhere;
    taking_a_replay "relay-replay"
        breaks "nothing is taken twice"
    taking_an_old_stamp "relay-old-stamp"
        breaks "nothing is taken twice"
    forwarding_any_size "relay-any-size"
        breaks "a packet has the length of its position"
    forwarding_to_strangers "relay-strangers"
        breaks "packets go to registered nodes alone"
    letting_anybody_in "relay-entrance"
        breaks "only nodes stand inside a path, and only others enter one"
    giving_one_everything "shares-alone"
        breaks "nobody has more than a share of a hop"
    counting_names "shares-by-name"
        breaks "nobody has more than a share of a hop"
    taking_a_number_twice "session-window"
        breaks "nothing is taken twice"
    lending_a_session "session-anybody"
        breaks "a session serves the neighbour that made it"
    keeping_sessions "session-endless"
        breaks "a hop forgets sessions"
    joining_stores "session-any-use"
        breaks "a destination's session is for one account's reads"
    destroying_a_key_too_soon "key-too-soon"
        breaks "every request is answered after healing"
    keeping_a_key_too_long "key-too-long"
        breaks "an onion key is destroyed when its time is over"
    telling_that_a_session_is_gone "refusal-tells"
        breaks "whatever cannot be opened is refused with one code"
    opening_what_was_changed "layer-unchecked"
        breaks "a changed packet is refused by the next honest hop"
    believing_a_changed_answer "handshake-unchecked"
        breaks "a changed answer is no answer"
    answering_at_any_length "answer-unfilled"
        breaks "an answer has the length of its position"
    blaming_the_link_before "blame-before"
        breaks "a refusal is laid at a link of whoever made it"
    leaving_out_on_one_word "blame-one"
        breaks "nobody is left out on one operator's word"
    mixing_uses "path-mixed"
        breaks "a path serves one use"
    two_of_one_operator "path-same-operator"
        breaks "all on a path differ in node, operator and prefix"
    two_of_one_prefix "path-same-prefix"
        breaks "all on a path differ in node, operator and prefix"
    using_a_guard_before_its_test "guards-untested"
        breaks "nothing but tests goes through a guard that has answered none"
    trying_again_at_once "retry-at-once"
        breaks "a second try waits for a time that nobody can foresee"
    trying_again_by_the_same_guard "retry-same-guard"
        breaks "every request is answered after healing"
    believing_a_few "directory-few"
        breaks "no directory is believed that too few honest nodes signed"
    using_an_old_directory "directory-old"
        breaks "a directory is used for a day"
    taking_any_change "directory-any-change"
        breaks "no directory is believed that too few honest nodes signed"
}

caught! {
    QUIET all_of_quiet_paths_are_tried by quiet within 1, elsewhere;
    telling_the_guard_the_end "wrap-tells-end"
        breaks "no hop learns both ends"
    leaving_a_layer_bare "layer-bare"
        breaks "no hop learns both ends"
    keeping_paths "path-endless"
        breaks "a path ends after ten minutes"
}

caught! {
    GUARDS all_of_guards_are_tried by months within 12, elsewhere;
    drawing_guards_without_end "guards-unlimited"
        breaks "a client shows itself to few guards"
    using_guards_that_are_not_kept "guards-unkept"
        breaks "guards are kept before anything goes through them"
}
