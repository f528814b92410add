//! The simulator over many seeds: promises hold, runs replay, and deliberate bugs are caught.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test speaks when it fails"
)]

#[cfg(feature = "mutants")]
mod mutants;
mod onion;

use std::process::Command;

use session_sim::{self as sim, Choice, Disk, Options, Report};

/// Runs some seeds; a failure prints the line that replays it.
fn seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let report = sim::run(&Options { seed, ..Options::default() });
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.acknowledged > 100, "{report:?}");
        assert!(report.emptied > 0 && report.revoked > 0 && report.raced > 0, "{report:?}");
        assert!(report.texts > 0 && report.revoked_empty > 0 && report.raced_apart > 0, "{report:?}");
        what_was_drawn_happened(&report);
    }
}

/// Not every seed has partitions or losses, but some of the first do.
#[test]
fn what_is_rare_happens_too() {
    let mut met = sim::Counts::default();
    for seed in 1..=25 {
        let report = sim::run(&Options { seed, ..Options::default() });
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        met.emptied_apart += report.emptied_apart;
        met.changed_early += report.changed_early;
        met.read_texts += report.read_texts;
        met.read_on += report.read_on;
        if [met.emptied_apart, met.changed_early, met.read_texts, met.read_on].iter().all(|count| *count > 0)
        {
            return;
        }
    }
    panic!("{met:?}");
}

/// A fault that silently stops happening would make every seed pass: each that the seed switched on
/// has left its mark, and none that it did not.
fn what_was_drawn_happened(report: &Report) {
    let faults = report.drawn;
    let power = faults.crashes || faults.blackouts;
    let least = faults.delay_max.as_millis();
    assert!(report.longest_way_ms + 1 >= least && report.overtaken > 0, "delay: {report:?}");
    for (kind, on, count) in [
        ("stray", faults.stray > 0, report.strayed),
        ("loss", faults.loss > 0, report.dropped),
        ("duplication", faults.duplication > 0, report.duplicated),
        ("partitions", faults.partitions, report.partitions),
        ("crashes", power, report.crashes),
        ("blackouts", faults.blackouts, report.blackouts),
        ("failed commits", faults.failed_commits > 0, report.failed_commits),
        ("liars", faults.hostile, report.lies),
        ("changing swarms", faults.changes, report.borders),
        ("changing swarms", faults.changes, report.purged),
    ] {
        assert_eq!(on, count > 0, "{kind}: {count} in {report:?}");
    }
    // A crash may find everything synced: that some do not is for the run with every fault to show.
    let torn = power && report.disk == Disk::Redb;
    assert!(torn || report.torn == 0, "lost writes without a cause: {report:?}");
}

macro_rules! fifty_seeds {
    ($($name:ident $from:literal)*) => {
        $(#[test]
        fn $name() {
            seeds($from..$from + 5);
        })*
    };
}

fifty_seeds! {
    seeds_01_to_05 1
    seeds_06_to_10 6
    seeds_11_to_15 11
    seeds_16_to_20 16
    seeds_21_to_25 21
    seeds_26_to_30 26
    seeds_31_to_35 31
    seeds_36_to_40 36
    seeds_41_to_45 41
    seeds_46_to_50 46
}

#[test]
fn a_seed_gives_one_trace_in_every_run_and_process() {
    // The first runs on plain maps, the second on the node's own engine.
    for (seed, disk) in [(2, Disk::Memory), (3, Disk::Redb)] {
        let here = sim::run(&Options { seed, ..Options::default() }).unwrap();
        assert_eq!(here.disk, disk, "the seeds are chosen so that both are compared");
        let binary = std::env::var("SESSION_BIN")
            .unwrap_or_else(|_| format!("{}/../../target/release/session", env!("CARGO_MANIFEST_DIR")));
        let elsewhere = Command::new(binary)
            .args([
                "testnet",
                "sim",
                "--nodes",
                "30",
                "--minutes",
                "10",
                "--json",
                "--seed",
                &seed.to_string(),
            ])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&elsewhere.stdout);
        assert!(printed.contains(&here.trace), "seed {seed}: {printed}");
    }
}

#[test]
fn a_network_without_trouble_loses_no_word_and_gives_nothing_up() {
    let options = Options { nodes: 12, minutes: 6, faults: Choice::None, ..Options::default() };
    let report = sim::run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((report.lost, report.given_up, report.crashes, report.failed_commits), (0, 0, 0, 0));
}

#[test]
fn every_fault_at_once() {
    let (mut torn, mut lost_disks, mut repaired) = (0, 0, 0);
    for seed in 4..7 {
        let options = Options { seed, faults: Choice::All, disk: Disk::Redb, ..Options::default() };
        let report = sim::run(&options).unwrap_or_else(|failure| panic!("{failure}"));
        what_was_drawn_happened(&report);
        torn += report.torn;
        lost_disks += report.lost_disks;
        repaired += report.repaired;
    }
    assert!(torn > 0 && lost_disks > 0 && repaired > 0, "{torn}, {lost_disks}, {repaired}");
}

/// Networks of one swarm, down to a single node.
#[test]
fn small_networks() {
    for nodes in 1..8 {
        let options = Options { nodes, minutes: 6, seed: nodes as u64, ..Options::default() };
        sim::run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
