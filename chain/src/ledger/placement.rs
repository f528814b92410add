//! The swarm rule: which node sits in which swarm, out of the map before and one seed.
//!
//! What is **exact**:
//! - *Sizes.* With at least `min` nodes every swarm has `min..=max` members; with fewer there is one swarm.
//! - *Diversity.* The nodes of one operator, and those of one prefix, are spread over the swarms as evenly as
//!   can be: for any two swarms the counts differ by at most one. So no two of them share a swarm unless
//!   there are more of them than swarms, and then as few share as the number of swarms permits.
//!
//! Both hold at once, always, and take polynomial time. A node joins one operator to one prefix, so nodes are
//! the edges of a bipartite multigraph and swarms its colours; such a graph has, for every number of colours,
//! a colouring that is even at each vertex and in its sizes (Koenig 1916, de Werra 1971), and any other one is
//! improved until it is, by exchanging two colours along an alternating path (`seating`).
//!
//! What is **bounded, not least**: moves. Each repair takes a shortest path between two swarms; that two
//! repairs could share a move, or that a way through three swarms is shorter, is not searched for.
//!
//! The number of swarms follows from the number of nodes alone, so nobody can force a split by registering
//! nodes that look alike.

use std::collections::BTreeMap;

use session_protocols::{NodeId, SwarmId};

use super::dice::Dice;
pub(super) use seating::Seat;
use seating::Seating;

mod seating;
#[cfg(test)]
mod tests;

/// Which nodes form which swarm: a map without its version.
pub(super) type Swarms = BTreeMap<SwarmId, Vec<NodeId>>;

/// Pairs that are tried for one random swap before it is let go.
const SWAP_TRIES: usize = 32;

/// How large swarms are, and how many random swaps an epoch brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwarmRule {
    min: usize,
    target: usize,
    max: usize,
    swaps: usize,
}

/// Sizes that some number of nodes could not be divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sizes must satisfy 1 <= min <= target <= max and 2 * min <= max + 1")]
pub struct SwarmRuleError;

impl Default for SwarmRule {
    /// Five to ten members, seven by preference, and two swaps an epoch.
    fn default() -> Self {
        Self { min: 5, target: 7, max: 10, swaps: 2 }
    }
}

impl SwarmRule {
    /// A rule with these sizes and so many random swaps an epoch.
    ///
    /// # Errors
    /// When the sizes are out of order, or so close that one swarm too large could not become two.
    pub fn new(min: usize, target: usize, max: usize, swaps: usize) -> Result<Self, SwarmRuleError> {
        let ordered = 1 <= min && min <= target && target <= max;
        let divisible = min <= max.saturating_sub(min).saturating_add(1);
        if ordered && divisible { Ok(Self { min, target, max, swaps }) } else { Err(SwarmRuleError) }
    }

    /// How many swarms `nodes` nodes form where `before` swarms were.
    ///
    /// The first time as many as bring the size nearest to the target. Later one is split off when there are
    /// more than `max` nodes to a swarm, or at least `max - 1` and would still be `target - 1` afterwards, and
    /// one is dissolved when there are fewer than `min`.
    pub fn count(&self, nodes: usize, before: usize) -> usize {
        let (min, target, max) = (self.min, self.target, self.max);
        if nodes == 0 {
            return 0;
        }
        let mut swarms = before;
        if swarms == 0 {
            let nearest = nodes.saturating_add(target / 2) / target;
            swarms = nearest.min(nodes / min).max(nodes.div_ceil(max));
        }
        let splits = |swarms: usize| {
            let more = swarms.saturating_add(1);
            let wide = nodes >= (max - 1).saturating_mul(swarms);
            let enough = nodes >= min.max(target - 1).saturating_mul(more);
            nodes > max.saturating_mul(swarms) || (wide && enough)
        };
        while before != 0 && splits(swarms) {
            swarms += 1;
        }
        while swarms > 1 && nodes < min.saturating_mul(swarms) {
            swarms -= 1;
        }
        swarms.max(1)
    }

    /// Seats `nodes`, beginning with where they sit in `before`.
    pub(super) fn plan(&self, before: &Swarms, nodes: impl Iterator<Item = Seat>, seed: [u8; 32]) -> Swarms {
        let mut dice = Dice::new(seed);
        let mut waiting: BTreeMap<NodeId, Seat> = nodes.map(|seat| (seat.node, seat)).collect();
        let count = self.count(waiting.len(), before.len());
        let mut seating = Seating::default();
        for (swarm, members) in before {
            seating.open(*swarm);
            for seat in members.iter().filter_map(|node| waiting.remove(node)) {
                seating.sit(seat, *swarm);
            }
        }
        let mut waiting: Vec<Seat> = waiting.into_values().collect();
        while seating.len() > count
            && let Some(swarm) = seating.least()
        {
            waiting.extend(seating.close(swarm));
        }
        if before.is_empty() {
            while seating.len() < count {
                seating.open(seating.gap().unwrap_or_else(|| SwarmId(dice.number())));
            }
        }
        dice.shuffle(&mut waiting);
        let share = self.target.min((seating.seated() + waiting.len()) / count.max(1));
        loop {
            while seating.has_below(self.max)
                && let Some(seat) = waiting.pop()
            {
                self.place(&mut seating, seat, &mut dice);
            }
            // Newcomers sit before: a new swarm draws from all, so that nobody can join into it as a group.
            let Some(swarm) = seating.gap().filter(|_| seating.len() < count) else { break };
            fill(&mut seating, swarm, share, &mut dice);
        }
        self.mend(&mut seating, &mut dice);
        while seating.relieve(self.min..=self.max, &mut dice) {}
        if !before.is_empty() {
            for _ in 0..self.swaps {
                swap(&mut seating, &mut dice);
            }
        }
        seating.into_swarms()
    }

    /// Seats one node where it meets the fewest of its operator and prefix: in a random one of the smallest
    /// quarter of such swarms.
    fn place(&self, seating: &mut Seating, seat: Seat, dice: &mut Dice) {
        let mut choices: Vec<(usize, usize, SwarmId)> = seating.choices(&seat).collect();
        choices.retain(|(_, size, _)| *size < self.max);
        let fewest = choices.iter().map(|(meets, ..)| *meets).min();
        choices.retain(|(meets, ..)| Some(*meets) == fewest);
        choices.sort_unstable();
        let quarter = choices.get(choices.len() / 4).map_or(0, |(_, size, _)| *size);
        choices.retain(|(_, size, _)| *size <= quarter);
        if let Some((.., swarm)) = dice.pick(&choices) {
            seating.sit(seat, swarm);
        }
    }

    /// Fills swarms that are too small from the largest ones.
    fn mend(&self, seating: &mut Seating, dice: &mut Dice) {
        while let (Some(small), Some(large)) = (dice.pick(&seating.smallest()), dice.pick(&seating.largest()))
        {
            let (least, most) = (seating.size(small), seating.size(large));
            if least >= self.min || least + 1 >= most || !seating.shift(large, small, dice) {
                break;
            }
        }
    }
}

/// Opens a swarm and fills it from the largest ones.
fn fill(seating: &mut Seating, swarm: SwarmId, share: usize, dice: &mut Dice) {
    seating.open(swarm);
    while let Some(largest) = dice.pick(&seating.largest()) {
        let size = seating.size(swarm);
        if size >= share || size + 1 >= seating.size(largest) || !seating.shift(largest, swarm, dice) {
            break;
        }
    }
}

/// Exchanges two random nodes of different swarms, if a pair is found that meets no more of their kind.
fn swap(seating: &mut Seating, dice: &mut Dice) {
    let seats = seating.seats();
    for _ in 0..SWAP_TRIES {
        if let (Some(one), Some(other)) = (dice.pick(&seats), dice.pick(&seats))
            && seating.swap(one, other)
        {
            break;
        }
    }
}
