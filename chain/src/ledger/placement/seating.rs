//! Who sits where, and the changes that never bring nodes of one kind closer together.
//!
//! Nodes are edges between their operator and their prefix, swarms are colours. Let the *lead* of a group
//! between two swarms be how many more of its nodes the first has. A path that leaves the first swarm's edges
//! for the second's and back, by turns, leaves every lead inside it as it is when its edges trade swarms, and
//! changes that of its two ends by one edge each. So a path may end wherever that edge comes from the swarm
//! which leads there. Pairing at each group as many edges of the two swarms as possible divides all edges into
//! such paths (and rings), which shows that the paths looked for below exist.

use core::ops::RangeInclusive;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use session_protocols::{NodeId, Prefix, SwarmId};

use super::super::dice::Dice;
use super::super::member::Operator;
use super::Swarms;

/// A node and the two groups it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Seat {
    pub(in super::super) node: NodeId,
    pub(in super::super) operator: Operator,
    pub(in super::super) prefix: Prefix,
}

/// Nodes that should not share a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Operator(Operator),
    Prefix(Prefix),
}

impl Seat {
    const fn groups(&self) -> [Group; 2] {
        [Group::Operator(self.operator), Group::Prefix(self.prefix)]
    }

    /// The group at this edge's other end.
    const fn beyond(&self, group: Group) -> Group {
        match group {
            Group::Operator(_) => Group::Prefix(self.prefix),
            Group::Prefix(_) => Group::Operator(self.operator),
        }
    }
}

/// Swarms, their members, and how many of each group sit in each.
#[derive(Debug, Default)]
pub(super) struct Seating {
    swarms: BTreeMap<SwarmId, BTreeSet<Seat>>,
    /// No zeros are kept, and no empty maps.
    spread: BTreeMap<Group, BTreeMap<SwarmId, usize>>,
}

impl Seating {
    pub(super) fn len(&self) -> usize {
        self.swarms.len()
    }

    pub(super) fn seated(&self) -> usize {
        self.swarms.values().map(BTreeSet::len).sum()
    }

    pub(super) fn size(&self, swarm: SwarmId) -> usize {
        self.swarms.get(&swarm).map_or(0, BTreeSet::len)
    }

    pub(super) fn has_below(&self, size: usize) -> bool {
        self.swarms.values().any(|members| members.len() < size)
    }

    pub(super) fn seats(&self) -> Vec<(Seat, SwarmId)> {
        self.swarms.iter().flat_map(|(swarm, seats)| seats.iter().map(|seat| (*seat, *swarm))).collect()
    }

    pub(super) fn open(&mut self, swarm: SwarmId) {
        self.swarms.entry(swarm).or_default();
    }

    /// Removes a swarm; its members stand up.
    pub(super) fn close(&mut self, swarm: SwarmId) -> BTreeSet<Seat> {
        let members = self.swarms.get(&swarm).cloned().unwrap_or_default();
        for seat in &members {
            self.rise(seat, swarm);
        }
        self.swarms.remove(&swarm);
        members
    }

    pub(super) fn sit(&mut self, seat: Seat, swarm: SwarmId) {
        if self.swarms.entry(swarm).or_default().insert(seat) {
            for group in seat.groups() {
                *self.spread.entry(group).or_default().entry(swarm).or_default() += 1;
            }
        }
    }

    fn rise(&mut self, seat: &Seat, swarm: SwarmId) {
        if !self.swarms.get_mut(&swarm).is_some_and(|members| members.remove(seat)) {
            return;
        }
        for group in seat.groups() {
            let Some(counts) = self.spread.get_mut(&group) else { continue };
            let left = counts.remove(&swarm).map_or(0, |count| count.saturating_sub(1));
            if left > 0 {
                counts.insert(swarm, left);
            } else if counts.is_empty() {
                self.spread.remove(&group);
            }
        }
    }

    fn count(&self, group: Group, swarm: SwarmId) -> usize {
        self.spread.get(&group).and_then(|counts| counts.get(&swarm)).copied().unwrap_or(0)
    }

    /// How many members of a swarm share an operator or a prefix with `seat`; those that share both count
    /// twice, and so does `seat` itself.
    fn meets(&self, seat: &Seat, swarm: SwarmId) -> usize {
        seat.groups().into_iter().map(|group| self.count(group, swarm)).sum()
    }

    /// For each swarm: whom `seat` would meet, how many sit there, and which it is.
    pub(super) fn choices(&self, seat: &Seat) -> impl Iterator<Item = (usize, usize, SwarmId)> {
        let counts = seat.groups().map(|group| self.spread.get(&group));
        self.swarms.iter().map(move |(swarm, members)| {
            let meets = counts.iter().flatten().filter_map(|counts| counts.get(swarm)).sum();
            (meets, members.len(), *swarm)
        })
    }

    pub(super) fn largest(&self) -> Vec<SwarmId> {
        self.sized(self.swarms.values().map(BTreeSet::len).max())
    }

    pub(super) fn smallest(&self) -> Vec<SwarmId> {
        self.sized(self.swarms.values().map(BTreeSet::len).min())
    }

    fn sized(&self, size: Option<usize>) -> Vec<SwarmId> {
        let fits =
            |(swarm, members): (&SwarmId, &BTreeSet<Seat>)| (Some(members.len()) == size).then_some(*swarm);
        self.swarms.iter().filter_map(fits).collect()
    }

    /// Each swarm and the distance to the next one on the ring; a swarm alone is 2^64 from itself.
    fn gaps(&self) -> impl DoubleEndedIterator<Item = (SwarmId, u128)> {
        let first = self.swarms.keys().next().copied();
        let following = self.swarms.keys().skip(1).copied().chain(first);
        let gap = |(low, high): (&SwarmId, SwarmId)| match high.0.wrapping_sub(low.0) {
            0 => (*low, 1 << 64),
            gap => (*low, u128::from(gap)),
        };
        self.swarms.keys().zip(following).map(gap).collect::<Vec<_>>().into_iter()
    }

    /// The middle of the ring's widest gap, the lowest of several; none while there is no swarm.
    pub(super) fn gap(&self) -> Option<SwarmId> {
        // Of equals `max_by_key` takes the last it meets.
        let (low, gap) = self.gaps().rev().max_by_key(|(_, gap)| *gap)?;
        Some(SwarmId(low.0.wrapping_add(u64::try_from(gap / 2).ok()?)))
    }

    /// The swarm to dissolve: a smallest one, and of those the one that leaves the narrowest gap.
    pub(super) fn least(&self) -> Option<SwarmId> {
        let before = self.gaps().next_back().map(|(_, gap)| gap);
        let behind = before.into_iter().chain(self.gaps().map(|(_, gap)| gap));
        let leaves =
            |((swarm, ahead), behind): ((SwarmId, u128), u128)| (self.size(swarm), ahead + behind, swarm);
        self.gaps().zip(behind).map(leaves).min().map(|(.., swarm)| swarm)
    }

    /// Makes `to` one larger and `from` one smaller, while no group gets closer together.
    ///
    /// Always possible while `from` is the larger one: then more paths have both ends in `from` than in `to`.
    pub(super) fn shift(&mut self, from: SwarmId, to: SwarmId, dice: &mut Dice) -> bool {
        let between = Between::new(self, from, to, dice);
        let starts: Vec<Group> = between
            .seats
            .iter()
            .map(|seat| Group::Operator(seat.operator))
            .filter(|group| between.lead(*group) > 0)
            .collect();
        let Some(path) = between.path(&starts, true, false) else { return false };
        self.trade(&path, from, to);
        true
    }

    /// Takes the first group that is spread unevenly, and spreads it more evenly; false when there is none.
    ///
    /// The sum over groups and swarms of pairs that share one falls with each call, so calls come to an end.
    pub(super) fn relieve(&mut self, sizes: RangeInclusive<usize>, dice: &mut Dice) -> bool {
        let uneven = self.spread.iter().find_map(|(group, counts)| {
            let (crowded, most) = counts.iter().max_by_key(|(_, count)| **count)?;
            let everywhere = counts.len() == self.swarms.len();
            let least = if everywhere { counts.values().min().copied()? } else { 0 };
            (*most >= least + 2).then_some((*group, *crowded, *most))
        });
        let Some((group, from, most)) = uneven else { return false };
        let mut others: Vec<SwarmId> =
            self.swarms.keys().copied().filter(|swarm| self.count(group, *swarm) + 2 <= most).collect();
        dice.shuffle(&mut others);
        for keep_sizes in [true, false] {
            let mut best: Option<(Vec<Seat>, SwarmId)> = None;
            for to in &others {
                let fits = self.size(from) > *sizes.start() && self.size(*to) < *sizes.end();
                let path = Between::new(self, from, *to, dice).path(&[group], fits || !keep_sizes, true);
                if let Some(path) = path
                    && best.as_ref().is_none_or(|(least, _)| path.len() < least.len())
                {
                    let done = path.len() == 1;
                    best = Some((path, *to));
                    if done {
                        break;
                    }
                }
            }
            if let Some((path, to)) = best {
                self.trade(&path, from, to);
                if self.size(from) < *sizes.start() || self.size(to) > *sizes.end() {
                    self.shift(to, from, dice);
                }
                return true;
            }
        }
        false
    }

    /// Moves each seat of a path to the other one of two swarms.
    fn trade(&mut self, path: &[Seat], from: SwarmId, to: SwarmId) {
        for seat in path {
            let there = self.swarms.get(&from).is_some_and(|members| members.contains(seat));
            let (from, to) = if there { (from, to) } else { (to, from) };
            self.rise(seat, from);
            self.sit(*seat, to);
        }
    }

    /// Exchanges two seats of different swarms, unless they would meet more of their kind.
    pub(super) fn swap(&mut self, one: (Seat, SwarmId), other: (Seat, SwarmId)) -> bool {
        let ((a, here), (b, there)) = (one, other);
        if here == there {
            return false;
        }
        self.rise(&a, here);
        self.rise(&b, there);
        let stay = self.meets(&a, here) + self.meets(&b, there);
        let go = self.meets(&a, there) + self.meets(&b, here);
        let (here, there) = if go <= stay { (there, here) } else { (here, there) };
        self.sit(a, here);
        self.sit(b, there);
        go <= stay
    }

    pub(super) fn into_swarms(self) -> Swarms {
        let nodes = |seats: BTreeSet<Seat>| seats.into_iter().map(|seat| seat.node).collect();
        self.swarms.into_iter().map(|(swarm, seats)| (swarm, nodes(seats))).collect()
    }
}

/// Two swarms as a graph to search in.
struct Between<'a> {
    seating: &'a Seating,
    from: SwarmId,
    to: SwarmId,
    /// The members of `from`, shuffled.
    seats: Vec<Seat>,
    forth: BTreeMap<Group, Vec<Seat>>,
    back: BTreeMap<Group, Vec<Seat>>,
}

impl<'a> Between<'a> {
    fn new(seating: &'a Seating, from: SwarmId, to: SwarmId, dice: &mut Dice) -> Self {
        let mut shuffled = |swarm: SwarmId| {
            let mut seats: Vec<Seat> = seating.swarms.get(&swarm).into_iter().flatten().copied().collect();
            dice.shuffle(&mut seats);
            seats
        };
        let (seats, others) = (shuffled(from), shuffled(to));
        let (forth, back) = (by_group(&seats), by_group(&others));
        Self { seating, from, to, seats, forth, back }
    }

    fn lead(&self, group: Group) -> i64 {
        let count = |swarm| i64::try_from(self.seating.count(group, swarm)).unwrap_or(i64::MAX);
        count(self.from) - count(self.to)
    }

    /// The shortest path whose first edge leaves one of `starts` (all operators, or all prefixes) in `from`.
    ///
    /// It may end with an edge of `from` when `odd` (the sizes change by one), of `to` when `even`. A group is
    /// always entered on edges of the same swarm, as the two kinds take turns like the swarms do: so a search
    /// that visits each group once finds a path if there is one, and no group twice on it.
    fn path(&self, starts: &[Group], odd: bool, even: bool) -> Option<Vec<Seat>> {
        let mut entered: BTreeMap<Group, Option<(Group, Seat)>> =
            starts.iter().map(|start| (*start, None)).collect();
        let mut queue: VecDeque<(Group, bool)> = starts.iter().map(|start| (*start, true)).collect();
        while let Some((group, forth)) = queue.pop_front() {
            let edges = if forth { &self.forth } else { &self.back };
            for seat in edges.get(&group).into_iter().flatten() {
                let next = seat.beyond(group);
                if entered.contains_key(&next) {
                    continue;
                }
                entered.insert(next, Some((group, *seat)));
                let lead = self.lead(next);
                if (forth && odd && lead > 0) || (!forth && even && lead < 0) {
                    return Some(trace(&entered, next));
                }
                queue.push_back((next, !forth));
            }
        }
        None
    }
}

fn by_group(seats: &[Seat]) -> BTreeMap<Group, Vec<Seat>> {
    let mut edges: BTreeMap<Group, Vec<Seat>> = BTreeMap::new();
    for seat in seats {
        for group in seat.groups() {
            edges.entry(group).or_default().push(*seat);
        }
    }
    edges
}

/// The edges from `end` back to where the search began.
fn trace(entered: &BTreeMap<Group, Option<(Group, Seat)>>, end: Group) -> Vec<Seat> {
    let steps = core::iter::successors(entered.get(&end), |step| {
        step.as_ref().and_then(|(group, _)| entered.get(group))
    });
    steps.map_while(|step| step.map(|(_, seat)| seat)).collect()
}
