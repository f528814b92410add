//! How often an adversary stands at both ends of a path.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::Serialize;
use session_protocols::{
    NodeId,
    path::{
        HOPS, Use,
        guards::Guards,
        model::{START, World, apart, id},
    },
};

use super::{Failure, failure};
use crate::{
    checks::{Violation, broken},
    dice::Dice,
};

/// Shares of bad nodes, in percent.
pub const SHARES: [u16; 4] = [1, 5, 10, 20];

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many nodes, all of operators and prefixes of their own.
    pub nodes: u16,
    /// How many clients, each with a path of its own.
    pub clients: u32,
    /// Fixes everything that is drawn.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 200, clients: 6_000, seed: 1 }
    }
}

impl Options {
    /// The line that runs this again.
    pub fn replay(&self) -> String {
        let Self { nodes, clients, seed } = self;
        format!("session testnet sim --what ends --nodes {nodes} --clients {clients} --seed {seed}")
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many nodes.
    pub nodes: u16,
    /// How many paths for each share.
    pub paths: u32,
    /// The seed.
    pub seed: u64,
    /// One for each of [`SHARES`].
    pub rows: Vec<Row>,
}

/// One share of bad nodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Bad nodes, in percent of all.
    pub bad: u16,
    /// Paths whose first hop is bad, in percent of all.
    pub first: f64,
    /// Paths whose first and last hop are bad, likewise.
    pub both: f64,
    /// The same by theory: two different nodes drawn out of all but the destination.
    pub theory: f64,
}

/// Counts paths whose first and last hop are bad.
///
/// # Errors
///
/// When it differs from theory by more than chance does.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let rows = SHARES.into_iter().map(|percent| row(options, percent)).collect::<Result<_, _>>();
    let rows = rows.map_err(|violation| failure(violation, 0, "bad nodes".to_owned(), options.replay()))?;
    Ok(Report { nodes: options.nodes, paths: options.clients, seed: options.seed, rows })
}

fn row(options: &Options, percent: u16) -> Result<Row, Violation> {
    let mut dice = Dice::new(options.seed, &format!("ends {percent}"));
    let nodes = apart(options.nodes);
    let bad = options.nodes * percent / 100;
    let is_bad = |node: NodeId| node < id(bad);
    let (mut first, mut both) = (0_u32, 0_u32);
    for _ in 0..options.clients {
        let random = ChaCha8Rng::from_seed(dice.array());
        let mut world = World::begin(nodes.clone(), random, START, Guards::default());
        let hops: [NodeId; HOPS] = match world.ask(Use::Send, id(options.nodes - 1)) {
            Ok((_, hops, _)) => hops,
            Err(error) => return broken("paths can be made", error.to_string()),
        };
        first += u32::from(is_bad(hops[0]));
        both += u32::from(is_bad(hops[0]) && is_bad(hops[HOPS - 1]));
    }
    let (bad, others) = (f64::from(bad), f64::from(options.nodes - 1));
    let theory = (bad / others * (bad - 1.0) / (others - 1.0)).max(0.0);
    let count = f64::from(options.clients);
    let (first, measured) = (f64::from(first) / count, f64::from(both) / count);
    let deviation = (theory * (1.0 - theory) / count).sqrt();
    if (measured - theory).abs() > 3.5 * deviation.max(1.0 / count) {
        return broken(
            "both ends are bad as often as theory says",
            format!("{percent} %: {measured} beside {theory}"),
        );
    }
    Ok(Row { bad: percent, first: first * 100.0, both: measured * 100.0, theory: theory * 100.0 })
}
