//! How often an adversary stands at both ends of a path: at its first hop, and at its last one or in the swarm
//! of the mailbox that is asked for.

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
/// Members of the swarm of each mailbox, of which one is asked.
pub const MEMBERS: usize = 7;

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
    /// The same by theory: two different nodes drawn out of all.
    pub theory: f64,
    /// Paths whose first hop is bad, and whose last one or a member of the swarm is, likewise.
    pub swarm: f64,
    /// The same by theory, with a swarm drawn out of all.
    pub swarm_theory: f64,
}

/// Counts paths with bad ends.
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
    let (mut first, mut both, mut met) = (0_u32, 0_u32, 0_u32);
    for _ in 0..options.clients {
        let random = ChaCha8Rng::from_seed(dice.array());
        let mut world = World::begin(nodes.clone(), random, START, Guards::default());
        let swarm = swarm(&mut dice, options.nodes);
        let [guard, _, last]: [NodeId; HOPS] = match world.ask(Use::Send, swarm[0]) {
            Ok((_, hops, _)) => hops,
            Err(error) => return broken("paths can be made", error.to_string()),
        };
        let sees = is_bad(last) || swarm.iter().any(|member| is_bad(*member));
        first += u32::from(is_bad(guard));
        both += u32::from(is_bad(guard) && is_bad(last));
        met += u32::from(is_bad(guard) && sees);
    }
    let (both_theory, met_theory) = theory(f64::from(options.nodes), f64::from(bad));
    let count = f64::from(options.clients);
    let [first, both, met] = [first, both, met].map(|found| f64::from(found) / count);
    for (what, measured, theory) in [("last hop", both, both_theory), ("swarm", met, met_theory)] {
        let deviation = (theory * (1.0 - theory) / count).sqrt();
        if (measured - theory).abs() > 3.5 * deviation.max(1.0 / count) {
            return broken(
                "both ends are bad as often as theory says",
                format!("{what}, {percent} %: {measured} beside {theory}"),
            );
        }
    }
    let [first, both, theory, swarm, swarm_theory] =
        [first, both, both_theory, met, met_theory].map(|share| share * 100.0);
    Ok(Row { bad: percent, first, both, theory, swarm, swarm_theory })
}

/// The members of one swarm; the first is asked.
fn swarm(dice: &mut Dice, nodes: u16) -> Vec<NodeId> {
    let mut members = Vec::new();
    while members.len() < MEMBERS.min(usize::from(nodes)) {
        let member = id(dice.index(usize::from(nodes)) as u16);
        if !members.contains(&member) {
            members.push(member);
        }
    }
    members
}

/// How many paths have a bad guard, and a bad last hop; and how many a bad guard, and a bad last hop or member
/// of the swarm. Guard, last hop and who is asked are different nodes, and the guard may be another member.
fn theory(nodes: f64, bad: f64) -> (f64, f64) {
    let good = nodes - bad;
    let first = bad / nodes;
    let both = first * (bad - 1.0).max(0.0) / (nodes - 1.0);
    // A bad guard, and good are who is asked, the last hop and the other members.
    let mut unseen = first * (good / (nodes - 1.0)) * ((good - 1.0) / (nodes - 2.0));
    for other in 1..MEMBERS {
        let drawn = other as f64;
        unseen *= (good - drawn) / (nodes - drawn);
    }
    (both, first - unseen)
}
