//! `session testnet sim`: networks in virtual time.

use std::{fmt::Write, time::Duration};

use indicatif::ProgressStyle;
use session_sim::{
    self as sim,
    onion::{self, ends, guards},
};

use crate::{
    Context,
    args::{Sim, Simulation},
    failure::{Exit, Failure},
    testnet::bar,
    text,
};

pub(crate) fn run(context: &Context, arguments: &Sim) -> Result<(), Failure> {
    let simulation = arguments.simulation();
    let simulation = simulation.map_err(|error| Failure::usage(error, "choose other numbers, see --help"))?;
    match simulation {
        Simulation::Swarms(options) => {
            let what = format!("{} nodes, {} virtual minutes", options.nodes, options.minutes);
            let report = watched(what, || sim::run(&options))?;
            context.output.data(&report, || swarms(&report))
        }
        Simulation::Onion(options) => {
            let what = format!("{} nodes, {} virtual minutes", options.nodes, options.minutes);
            let report = watched(what, || onion::run(&options))?;
            context.output.data(&report, || paths(&report))
        }
        Simulation::Ends(options) => {
            let what = format!("{} clients of {} nodes", options.clients, options.nodes);
            let report = watched(what, || ends::run(&options))?;
            context.output.data(&report, || both_ends(&report))
        }
        Simulation::Guards(options) => {
            let what = format!("{} virtual days of {} nodes", options.days, options.nodes);
            let report = watched(what, || guards::run(&options))?;
            context.output.data(&report, || months(&report))
        }
    }
}

/// Runs something while a spinner turns.
fn watched<T>(what: String, run: impl FnOnce() -> Result<T, sim::Failure>) -> Result<T, Failure> {
    let spinner = bar("");
    spinner.set_style(
        ProgressStyle::with_template("{spinner} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    spinner.set_message(what);
    spinner.enable_steady_tick(Duration::from_millis(200));
    let report = run();
    spinner.finish_and_clear();
    report.map_err(|failure| {
        let remedy = format!("see it again with: {}", failure.replay);
        Failure::new(Exit::Failed, "promise_broken", failure.to_string(), remedy)
    })
}

fn swarms(report: &sim::Report) -> String {
    let mut shown = format!(
        "every promise was kept, for {} nodes in {} swarms over {} virtual minutes\n\n",
        report.nodes,
        report.swarms,
        report.virtual_ms / 60_000
    );
    let rows: [(&str, &dyn std::fmt::Display); 8] = [
        ("seed", &report.seed),
        ("faults", &report.faults),
        ("acknowledged", &report.acknowledged),
        ("delivered", &report.delivered),
        ("repaired", &report.repaired),
        ("crashes", &report.crashes),
        ("events", &report.events),
        ("trace", &report.trace),
    ];
    list(&mut shown, &rows);
    shown
}

fn paths(report: &onion::Report) -> String {
    let mut shown = format!(
        "every promise was kept, for {} clients of {} nodes, {} of them hostile, over {} virtual minutes\n\n",
        report.clients,
        report.nodes,
        report.hostile,
        report.virtual_ms / 60_000
    );
    let rows: [(&str, &dyn std::fmt::Display); 13] = [
        ("seed", &report.seed),
        ("faults", &report.faults),
        ("requests", &report.requests),
        ("answered", &report.answered),
        ("at first try", &report.first_try),
        ("given up", &report.failed),
        ("packets", &report.packets),
        ("flipped bits", &(report.flips + report.flips_back)),
        ("replays", &report.replays),
        ("crashes", &report.crashes),
        ("guards, most", &report.guards),
        ("events", &report.events),
        ("trace", &report.trace),
    ];
    list(&mut shown, &rows);
    shown
}

fn both_ends(report: &ends::Report) -> String {
    let percent = |share: f64| format!("{share:.3} %");
    let rows: Vec<_> = report
        .rows
        .iter()
        .map(|row| {
            let ends::Row { bad, first, both, theory, swarm, swarm_theory } = *row;
            let [first, both, theory, swarm, swarm_theory] =
                [first, both, theory, swarm, swarm_theory].map(percent);
            [format!("{bad} %"), first, both, theory, swarm, swarm_theory]
        })
        .collect();
    format!(
        "{} paths over {} nodes for each share of bad ones, seed {}\n\n{}",
        report.paths,
        report.nodes,
        report.seed,
        text::table(["BAD", "FIRST HOP", "AND LAST", "THEORY", "AND LAST OR SWARM", "THEORY"], &rows)
    )
}

fn months(report: &guards::Report) -> String {
    let mut shown = format!("every promise was kept, for one client over {} virtual days\n\n", report.days);
    let rows: [(&str, &dyn std::fmt::Display); 9] = [
        ("seed", &report.seed),
        ("guards, in 60 d", &report.most_guards),
        ("guards, all", &report.all_guards),
        ("asked", &report.asked),
        ("answered", &report.answered),
        ("deaths", &report.deaths),
        ("left, joined", &report.left),
        ("taken down", &report.besieged),
        ("restarts", &report.restarts),
    ];
    list(&mut shown, &rows);
    shown
}

fn list(into: &mut String, rows: &[(&str, &dyn std::fmt::Display)]) {
    for (name, value) in rows {
        // Writing into a string cannot fail.
        let _ = writeln!(into, "{name:<16}{value}");
    }
}
