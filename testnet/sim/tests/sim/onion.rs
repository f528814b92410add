//! Onion paths: promises hold over many seeds, runs replay, and what one wants to know is measured.

use session_sim::{
    Choice,
    onion::{self, Options, Report, ends, guards, steering},
};

fn run(options: &Options) -> Report {
    onion::run(options).unwrap_or_else(|failure| panic!("{failure}"))
}

fn seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let report = run(&Options { seed, ..Options::default() });
        what_was_drawn_happened(&report);
        assert!(report.answered > 100, "{report:?}");
    }
}

/// Each fault that the seed switched on has left its mark, and none that it did not.
fn what_was_drawn_happened(report: &Report) {
    let faults = report.drawn;
    assert!(report.longest_way_ms + 2 >= faults.delay_max.as_millis(), "delay: {report:?}");
    for (kind, on, count) in [
        ("loss", faults.loss > 0, report.lost),
        ("crashes", faults.crashes, report.crashes),
        ("clean stops", faults.crashes, report.stops),
        ("slow hops", faults.slow, report.slowed),
        ("drops", faults.drops > 0, report.drops),
        ("false refusals", faults.refusals > 0, report.false_refusals),
        ("flips", faults.flips > 0, report.flips),
        ("flips on the way back", faults.flips > 0, report.flips_back),
        ("wrong sizes", faults.sizes > 0, report.resized),
        ("replays", faults.replays > 0, report.replays),
        ("replays after a start", faults.replays > 0 && faults.crashes, report.replays_after_start),
        ("side doors", faults.side_doors > 0, report.side_doors),
        ("detours", faults.side_doors > 0 && report.hostile > 1, report.detours),
        ("a rogue", faults.rogue, report.strange),
        ("a crowd", faults.rogue, report.crowd),
        ("forgers", faults.forgers, report.forged),
        ("news kept back", faults.forgers, report.withheld),
        ("a mute guard", faults.mute, report.ignored),
        ("a busy guard", faults.busy, report.busy),
        ("a steering guard", faults.steers, report.steered),
    ] {
        assert_eq!(on, count > 0, "{kind}: {count} in {report:?}");
    }
    assert!(!faults.mute || report.replaced > 0, "{report:?}");
    assert!(report.new_keys > 0 && report.by_session > 0 && report.by_handshake > 0, "{report:?}");
}

#[test]
fn seeds_01_to_05() {
    seeds(1..6);
}

#[test]
fn seeds_06_to_10() {
    seeds(6..11);
}

#[test]
fn without_trouble_everything_is_answered_at_the_first_try() {
    let report = run(&Options { faults: Choice::None, ..Options::default() });
    what_was_drawn_happened(&report);
    assert_eq!((report.requests, report.lost_sessions), (report.first_try, 0), "{report:?}");
    assert_eq!((report.failed, report.left_out, report.disbelieved), (0, 0, 0), "{report:?}");
    assert!(report.guards <= 2, "{report:?}");
}

#[test]
fn every_fault_at_once() {
    for seed in 3..=4 {
        let report = run(&Options { seed, faults: Choice::All, ..Options::default() });
        what_was_drawn_happened(&report);
        assert!(report.lost_sessions > 0 && report.left_out > 0, "{report:?}");
    }
}

#[test]
fn a_seed_gives_one_trace() {
    let options = Options { seed: 3, minutes: 8, faults: Choice::All, ..Options::default() };
    let (one, other) = (run(&options), run(&options));
    assert_eq!(one, other);
    let another = run(&Options { seed: 4, ..options });
    assert_ne!(one.trace, another.trace);
}

#[test]
fn both_ends_are_bad_as_often_as_theory_says() {
    let report = ends::run(&ends::Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(report.rows.len(), ends::SHARES.len());
    assert!(report.rows.iter().all(|row| row.first >= row.both), "{report:?}");
}

/// Whoever drops, refuses or accuses is used less than who does not. That a guard is busy is believed.
#[test]
fn guards_that_steer_stand_at_both_ends_no_more_often_unless_they_say_that_they_are_busy() {
    let rows = steering::run(&steering::Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
    for row in &rows {
        println!("{row:?}");
        let most = if row.manner == steering::Manner::Busy { 3.0 * row.theory } else { row.theory };
        assert!(row.both <= most && row.failed < 6.0, "{row:?}");
    }
}

#[test]
fn in_ninety_days_of_churn_no_sixty_have_more_than_four_guards() {
    let mut refused = 0;
    for seed in 1..=6 {
        let report = guards::run(&guards::Options { seed, ..guards::Options::default() });
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(
            report.deaths > 0 && report.left > 0 && report.restarts > 0 && report.besieged > 0,
            "{report:?}"
        );
        refused += report.refused;
    }
    assert!(refused > 0, "no guard was ever drawn while the disk was full");
}
