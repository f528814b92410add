//! What `session testnet sim` is told.

use clap::{Args, ValueEnum};
use session_sim::{
    self as sim,
    onion::{self, ends, guards},
};

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// What is simulated
    #[arg(long, value_enum, default_value_t)]
    pub(crate) what: What,
    /// How many nodes: 1 to 2000 of swarms [default: 30], 12 to 250 of onion paths [default: 30], 5 to
    /// 5000 for both ends [default: 200] and for guards [default: 100]
    #[arg(long)]
    nodes: Option<usize>,
    /// How many minutes of virtual time, 6 at least [default: 10 of swarms, 15 of onion paths]
    #[arg(long)]
    minutes: Option<u64>,
    /// How many clients, for onion paths [default: 3] and for both ends [default: 6000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: Option<u32>,
    /// How many days, for guards
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Fixes everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which faults there are, of swarms and of onion paths
    #[arg(long, value_enum, default_value_t)]
    faults: Faults,
    /// What the nodes of swarms keep their messages on
    #[arg(long, value_enum, default_value_t)]
    disk: Disk,
    /// A deliberate bug, which the run must catch
    #[cfg(feature = "mutants")]
    #[arg(long, value_parser = mutant)]
    mutant: Option<&'static str>,
}

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Simulation {
    Swarms(sim::Options),
    Onion(onion::Options),
    Ends(ends::Options),
    Guards(guards::Options),
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum What {
    /// Swarms that keep messages
    #[default]
    Swarms,
    /// Onion paths through hostile nodes
    Onion,
    /// How often the first and the last hop of a path are bad, beside the theory
    Ends,
    /// How many guards see a client, in months of churn
    Guards,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Faults {
    /// The seed decides
    #[default]
    Seeded,
    /// None at all
    None,
    /// Every kind
    All,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Disk {
    /// The seed decides
    #[default]
    Seeded,
    /// Plain maps
    Memory,
    /// The node's own engine
    Redb,
}

#[cfg(feature = "mutants")]
fn mutant(name: &str) -> Result<&'static str, String> {
    let all: Vec<_> = session_protocols::mutants::all().collect();
    let known = all.iter().copied().find(|known| *known == name);
    known.ok_or_else(|| format!("the deliberate bugs are {}", all.join(", ")))
}

impl Sim {
    /// What to run; what is wrong with it if it cannot be.
    pub(crate) fn simulation(&self) -> Result<Simulation, String> {
        let (seed, mutant) = (self.seed, self.mutant());
        let between = |what: &str, number: usize, least: usize, most: usize| {
            let message = || format!("{what} have {least} to {most} nodes");
            (least..=most).contains(&number).then_some(()).ok_or_else(message)
        };
        let long = |minutes: u64, least: u64| {
            (minutes >= least).then_some(()).ok_or_else(|| format!("a run has at least {least} minutes"))
        };
        let few = |what: &str, nodes: usize| -> Result<u16, String> {
            between(what, nodes, 5, 5_000)?;
            u16::try_from(nodes).map_err(|_| format!("{what} have fewer nodes"))
        };
        Ok(match self.what {
            What::Swarms => {
                let plain = sim::Options::default();
                let nodes = self.nodes.unwrap_or(plain.nodes);
                let minutes = self.minutes.unwrap_or(plain.minutes);
                between("swarms", nodes, 1, sim::MAX_NODES)?;
                long(minutes, sim::MIN_MINUTES)?;
                let disk = self.disk();
                Simulation::Swarms(sim::Options { nodes, minutes, seed, faults: self.faults(), disk, mutant })
            }
            What::Onion => {
                let plain = onion::Options::default();
                let nodes = self.nodes.unwrap_or(plain.nodes);
                let clients = self.clients.map_or(plain.clients, |clients| clients as usize);
                let minutes = self.minutes.unwrap_or(plain.minutes);
                between("onion paths", nodes, onion::MIN_NODES, onion::MAX_NODES)?;
                long(minutes, onion::MIN_MINUTES)?;
                let faults = self.faults();
                Simulation::Onion(onion::Options { nodes, clients, minutes, seed, faults, mutant })
            }
            What::Ends => {
                let plain = ends::Options::default();
                let nodes = self.nodes.unwrap_or_else(|| plain.nodes.into());
                let clients = self.clients.unwrap_or(plain.clients);
                Simulation::Ends(ends::Options { nodes: few("networks", nodes)?, clients, seed })
            }
            What::Guards => {
                let plain = guards::Options::default();
                let nodes = self.nodes.unwrap_or_else(|| plain.nodes.into());
                let (nodes, days) = (few("networks", nodes)?, self.days);
                Simulation::Guards(guards::Options { nodes, days, seed, mutant })
            }
        })
    }

    const fn faults(&self) -> sim::Choice {
        match self.faults {
            Faults::Seeded => sim::Choice::Seeded,
            Faults::None => sim::Choice::None,
            Faults::All => sim::Choice::All,
        }
    }

    const fn disk(&self) -> sim::Disk {
        match self.disk {
            Disk::Seeded => sim::Disk::Seeded,
            Disk::Memory => sim::Disk::Memory,
            Disk::Redb => sim::Disk::Redb,
        }
    }

    #[cfg(feature = "mutants")]
    const fn mutant(&self) -> Option<&'static str> {
        self.mutant
    }

    #[cfg(not(feature = "mutants"))]
    const fn mutant(&self) -> Option<&'static str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, Testnet, Verb};

    fn read(line: &str) -> Simulation {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        let Command::Testnet(Testnet { verb: Verb::Sim(sim), .. }) = cli.command else {
            panic!("{line} is something else")
        };
        sim.simulation().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_line_that_replays_a_run_is_understood() {
        let mut swarms = vec![sim::Options::default()];
        swarms.push(sim::Options { nodes: 7, minutes: 6, seed: u64::MAX, ..sim::Options::default() });
        let mut paths = vec![onion::Options { clients: 9, ..onion::Options::default() }];
        for faults in [sim::Choice::None, sim::Choice::All] {
            for disk in [sim::Disk::Memory, sim::Disk::Redb] {
                swarms.push(sim::Options { faults, disk, ..sim::Options::default() });
            }
            paths.push(onion::Options { faults, ..onion::Options::default() });
        }
        let mut months = vec![guards::Options { days: 70, ..guards::Options::default() }];
        #[cfg(feature = "mutants")]
        for mutant in session_protocols::mutants::all() {
            swarms.push(sim::Options { mutant: Some(mutant), ..sim::Options::default() });
            paths.push(onion::Options { mutant: Some(mutant), ..onion::Options::default() });
            months.push(guards::Options { mutant: Some(mutant), ..guards::Options::default() });
        }
        for options in swarms {
            assert_eq!(read(&options.replay()), Simulation::Swarms(options));
        }
        for options in paths {
            assert_eq!(read(&options.replay()), Simulation::Onion(options));
        }
        for options in months.drain(..) {
            assert_eq!(read(&options.replay()), Simulation::Guards(options));
        }
        let ends = ends::Options { seed: 9, ..ends::Options::default() };
        assert_eq!(read(&ends.replay()), Simulation::Ends(ends));
    }

    #[test]
    fn no_run_is_too_small_or_too_large() {
        for wrong in ["--nodes 0", "--what onion --nodes 11", "--minutes 5", "--what ends --nodes 5001"] {
            let line = format!("session testnet sim {wrong}");
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Command::Testnet(Testnet { verb: Verb::Sim(sim), .. }) = cli.command else {
                panic!("{line}")
            };
            assert!(sim.simulation().is_err(), "{line}");
        }
    }
}
