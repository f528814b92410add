//! How often an adversary stands at both ends of what is answered, when its guards steer: they pass on to each
//! other alone.

use std::collections::BTreeMap;

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::Serialize;
use session_protocols::{
    NodeId, Span,
    path::{
        ECHO, HOPS, Input, Outcome, PathError, Use,
        delivery::TRIES,
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
pub const SHARES: [u16; 2] = [10, 20];
/// How often a bad guard passes on what it would rather not, out of a thousand.
pub const LENIENCES: [u32; 2] = [0, 600];
/// What becomes of the rest.
pub const MANNERS: [Manner; 4] = [Manner::Leaves, Manner::Refuses, Manner::Accuses, Manner::Busy];
/// From one request of a client to its next.
const EVERY: Span = Span::secs(60);
/// How long a path is silent until another is tried.
const HEDGE: Span = Span::millis(500);

/// What a guard does that does not pass a packet on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Manner {
    /// It says nothing.
    Leaves,
    /// It refuses the packet as one that it cannot read.
    Refuses,
    /// It says that the next hop is gone.
    Accuses,
    /// It says that it has too much to do.
    Busy,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many nodes, all of operators and prefixes of their own.
    pub nodes: u16,
    /// How many clients.
    pub clients: u32,
    /// How many requests of each.
    pub requests: u32,
    /// Fixes everything that is drawn.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 200, clients: 300, requests: 120, seed: 1 }
    }
}

impl Options {
    /// The line that runs this again.
    pub fn replay(&self) -> String {
        let Self { nodes, clients, requests, seed } = self;
        format!("steering: {nodes} nodes, {clients} clients, {requests} requests, seed {seed}")
    }
}

/// One share of bad nodes, and how lenient they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Bad nodes, in percent of all.
    pub bad: u16,
    /// One of [`LENIENCES`].
    pub lenience: u32,
    /// One of [`MANNERS`].
    pub manner: Manner,
    /// Answered requests whose first and last hop are bad, in percent of all that were answered.
    pub both: f64,
    /// The same where no guard steers, by theory.
    pub theory: f64,
    /// Guards in whose place another was drawn, for each client.
    pub replaced: f64,
    /// Requests that were not answered, in percent.
    pub failed: f64,
}

/// Counts answered requests whose first and last hop are bad.
///
/// # Errors
///
/// When requests fail that another guard would have carried.
pub fn run(options: &Options) -> Result<Vec<Row>, Failure> {
    let all = SHARES.into_iter().flat_map(|bad| LENIENCES.map(|lenience| (bad, lenience)));
    let all = all.flat_map(|(bad, lenience)| MANNERS.map(|manner| (bad, lenience, manner)));
    let rows =
        all.map(|(bad, lenience, manner)| row(options, bad, lenience, manner)).collect::<Result<_, _>>();
    rows.map_err(|violation| failure(violation, 0, "steering guards".to_owned(), options.replay()))
}

fn row(options: &Options, percent: u16, lenience: u32, manner: Manner) -> Result<Row, Violation> {
    let mut dice = Dice::new(options.seed, &format!("steering {percent} {lenience} {manner:?}"));
    let count = options.nodes * percent / 100;
    let is_bad = |node: &NodeId| *node < id(count);
    let (mut answered, mut both, mut failed, mut replaced) = (0_u32, 0_u32, 0_u32, 0_usize);
    for _ in 0..options.clients {
        let random = ChaCha8Rng::from_seed(dice.array());
        let mut world = World::begin(apart(options.nodes), random, START, Guards::default());
        for _ in 0..options.requests {
            match request(&mut world, id(options.nodes - 1), (count, lenience, manner), &mut dice)? {
                Some([first, _, last]) => {
                    answered += 1;
                    both += u32::from(is_bad(&first) && is_bad(&last));
                }
                None => failed += 1,
            }
        }
        replaced += world.machine.guards().all().iter().filter(|guard| guard.retired).count();
    }
    let (bad, others) = (f64::from(count), f64::from(options.nodes - 1));
    let theory = (bad / others * (bad - 1.0) / (others - 1.0)).max(0.0);
    let percent_of = |count: u32, all: u32| f64::from(count) / f64::from(all.max(1)) * 100.0;
    Ok(Row {
        bad: percent,
        lenience,
        manner,
        both: percent_of(both, answered),
        theory: theory * 100.0,
        replaced: replaced as f64 / f64::from(options.clients),
        failed: percent_of(failed, answered + failed),
    })
}

/// One request, over as many paths as it takes; the hops of the one that was answered.
fn request(
    world: &mut World<ChaCha8Rng>,
    to: NodeId,
    (bad, lenience, manner): (u16, u32, Manner),
    dice: &mut Dice,
) -> Result<Option<[NodeId; HOPS]>, Violation> {
    let (begun, mut used, mut left, mut done) = (world.now, Vec::new(), Vec::new(), None);
    for _ in 0..TRIES {
        let steered = match manner {
            Manner::Leaves => Outcome::Silent,
            Manner::Refuses => Outcome::Refused,
            Manner::Accuses => Outcome::Stopped { by: 0, destination: to },
            Manner::Busy => Outcome::Busy,
        };
        let steering = (0..bad).map(|bad| (id(bad), steered)).collect();
        world.steering = if dice.chance(lenience) { BTreeMap::new() } else { steering };
        let (path, hops, outcome) = match world.ask_anew(Use::Send, to, used.clone()) {
            Ok(sent) => sent,
            Err(PathError::Near | PathError::Guards { .. }) => break,
            Err(other) => return broken("paths can be made", other.to_string()),
        };
        if outcome == Outcome::Answered {
            done = Some(hops);
            break;
        }
        used.push(hops);
        if outcome == Outcome::Silent {
            left.push(path);
        }
        world.pass(HEDGE);
    }
    world.pass(Span(ECHO.0 - HEDGE.0 * TRIES as u64));
    for path in left {
        world.feed(Input::Outcome { path, outcome: Outcome::Unheard });
    }
    world.run(begun.after(EVERY));
    Ok(done)
}
