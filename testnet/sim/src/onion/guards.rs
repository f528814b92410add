//! Months of churn, and how many guards a client shows itself to.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::Serialize;
use session_protocols::{
    NodeId, Span, Time,
    path::{
        Input, Outcome, PathError, Use,
        guards::{Guards, MAX_GUARDS, WINDOW},
        model::{START, World, apart, candidate, id},
    },
};

use super::{Failure, Mutant, failure};
use crate::{
    checks::{Violation, broken},
    dice::Dice,
};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many nodes, all of operators and prefixes of their own.
    pub nodes: u16,
    /// For how many days.
    pub days: u32,
    /// Fixes everything that is drawn.
    pub seed: u64,
    /// A deliberate bug of [`session_protocols::mutants`].
    pub mutant: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 100, days: 90, seed: 1, mutant: None }
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// For how many days.
    pub days: u32,
    /// The seed.
    pub seed: u64,
    /// Nodes that died for some hours.
    pub deaths: u32,
    /// Nodes that left, and others joined for them.
    pub left: u32,
    /// Guards that somebody took down to make the client draw others.
    pub besieged: u32,
    /// How often the client was started anew.
    pub restarts: u32,
    /// Requests that found no guard that was kept, because the disk was full.
    pub refused: u32,
    /// The most guards, of those still registered, that it showed itself to in 60 days.
    pub most_guards: usize,
    /// All guards of the run.
    pub all_guards: usize,
    /// Requests.
    pub asked: u32,
    /// Those that were answered.
    pub answered: u32,
}

/// How often the client's disk is full, for a quarter of an hour.
const FULL: u32 = 100;
/// Quarters of an hour from one siege to the next.
const SIEGES: u32 = 20 * 96;
/// For how many a siege holds the guards down that it met.
const SIEGE: u32 = 32;
/// It takes one more down every so many.
const STRIKES: u32 = 6;
/// So many in all: one of [`MAX_GUARDS`] is left.
const STRUCK: usize = MAX_GUARDS - 1;

impl Options {
    /// The line that runs this again.
    pub fn replay(&self) -> String {
        let Self { nodes, days, seed, mutant } = self;
        let mutant = mutant.map(|mutant| format!(" --mutant {mutant}")).unwrap_or_default();
        format!("session testnet sim --what guards --nodes {nodes} --days {days} --seed {seed}{mutant}")
    }
}

/// Lets nodes die, return, leave and join for months, around a client that asks every quarter of an hour
/// and is started anew now and then, and whose disk is full at times. Somebody who sees its line takes down, every twenty days and one after
/// the other, the guards that he sees used.
///
/// # Errors
///
/// When it shows itself to more than [`MAX_GUARDS`] guards in [`WINDOW`], or to one that is not kept, or is
/// not answered.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let _mutant = Mutant::activate(options.mutant);
    let mut at = START;
    let churn = "nodes die, leave and join".to_owned();
    months(options, &mut at)
        .map_err(|violation| failure(violation, at.since(START).as_millis(), churn, options.replay()))
}

fn months(options: &Options, at: &mut Time) -> Result<Report, Violation> {
    let Options { nodes, days, seed, .. } = *options;
    let mut dice = Dice::new(seed, "guards");
    let fresh = |dice: &mut Dice| ChaCha8Rng::from_seed(dice.array());
    let mut world = World::begin(apart(nodes), fresh(&mut dice), START, Guards::default());
    let mut next = nodes;
    // When each guard last learnt where the client is.
    let mut shown: BTreeMap<NodeId, Time> = BTreeMap::new();
    let mut siege = Siege::default();
    let (mut asked, mut answered, mut deaths, mut left, mut restarts, mut refused) = (0, 0, 0, 0, 0, 0);
    let mut most_guards = 0;
    for quarter in 0..days * 96 {
        // A node is down for some hours about twice a month.
        for node in world.nodes.keys().copied().collect::<Vec<_>>() {
            let down = world.dead.contains(&node);
            if siege.struck.contains(&node) {
                continue;
            } else if down && dice.below(16) == 0 {
                world.dead.remove(&node);
            } else if !down && dice.below(1_440) == 0 {
                world.dead.insert(node);
                deaths += 1;
            }
        }
        // Every other day one leaves and one joins.
        if quarter % 192 == 0 {
            let all: Vec<_> = world.nodes.keys().copied().collect();
            let gone = all[dice.index(all.len())];
            world.nodes.remove(&gone);
            world.dead.remove(&gone);
            world.nodes.insert(id(next), candidate(next, next));
            next += 1;
            left += 1;
            world.feed(Input::Nodes(world.nodes.clone()));
        }
        if quarter % 400 == 399 {
            let kept = world.kept.take().unwrap_or_default();
            let kept = Guards::decode(&kept.encode(&[1; 32]), &[1; 32]);
            let Ok(kept) = kept else {
                return broken("guards are read as they were kept", format!("{kept:?}"));
            };
            let World { nodes, now, dead, dialled, .. } = world;
            world = World::begin(nodes, fresh(&mut dice), now, kept);
            world.dead = dead;
            world.dialled.extend(dialled);
            restarts += 1;
        }
        world.disk_full = dice.chance(FULL);
        let alive: Vec<_> = world.nodes.keys().filter(|node| !world.dead.contains(node)).copied().collect();
        let destination = alive[dice.index(alive.len())];
        asked += 1;
        for _ in 0..4 {
            match world.ask(Use::Send, destination) {
                Ok((_, [guard, ..], outcome)) => {
                    siege.met = Some(guard);
                    if outcome == Outcome::Answered {
                        answered += 1;
                        break;
                    }
                }
                Err(PathError::Near | PathError::Guards { .. }) => {}
                Err(PathError::Unkept) if world.disk_full => refused += 1,
                Err(other) => return broken("paths can be made", other.to_string()),
            }
        }
        siege.go_on(quarter, &mut world.dead);
        *at = world.now;
        let kept = world.kept.iter().flat_map(Guards::all).map(|guard| guard.node).collect::<BTreeSet<_>>();
        if let Some(guard) = world.dialled.iter().find(|guard| !kept.contains(guard)) {
            return broken("guards are kept before anything goes through them", format!("{guard} is not"));
        }
        // Whoever is dialled learns the address, answer or not.
        shown.extend(std::mem::take(&mut world.dialled).into_iter().map(|guard| (guard, world.now)));
        let since = Time(world.now.0.saturating_sub(WINDOW.0));
        let lately =
            shown.iter().filter(|(guard, last)| world.nodes.contains_key(guard) && **last > since).count();
        most_guards = most_guards.max(lately);
        if lately > MAX_GUARDS {
            return broken("a client shows itself to few guards", format!("{lately} in sixty days"));
        }
        world.pass(Span::secs(900));
    }
    if answered * 100 < asked * 99 {
        return broken("nearly every request is answered", format!("{answered} of {asked}"));
    }
    let (all_guards, besieged) = (shown.len(), siege.all);
    Ok(Report {
        days,
        seed,
        deaths,
        left,
        besieged,
        restarts,
        refused,
        most_guards,
        all_guards,
        asked,
        answered,
    })
}

/// Somebody who makes guards fail, so that the client shows itself to others.
#[derive(Debug, Default)]
struct Siege {
    /// The guard that he saw used last.
    met: Option<NodeId>,
    /// Those that he holds down.
    struck: BTreeSet<NodeId>,
    /// How many that were in all.
    all: u32,
}

impl Siege {
    fn go_on(&mut self, quarter: u32, dead: &mut BTreeSet<NodeId>) {
        match quarter % SIEGES {
            SIEGE => std::mem::take(&mut self.struck).iter().for_each(|node| {
                dead.remove(node);
            }),
            within if within < SIEGE && within.is_multiple_of(STRIKES) && self.struck.len() < STRUCK => {
                let Some(guard) = self.met.filter(|guard| self.struck.insert(*guard)) else { return };
                dead.insert(guard);
                self.all += 1;
            }
            _ => {}
        }
    }
}
