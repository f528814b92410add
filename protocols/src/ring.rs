//! The ring: which swarm keeps which account.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::{AccountId, NodeId};

/// A swarm's place on the ring of 64-bit numbers, shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SwarmId(pub u64);

/// Which nodes form which swarm. A version holds from one epoch to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmMap {
    /// Grows by one with each change; receipts and swarm messages name it.
    pub version: u64,
    /// The members of each swarm, in order of their ids.
    pub swarms: BTreeMap<SwarmId, Vec<NodeId>>,
}

impl SwarmMap {
    /// The swarm that keeps `account`: the nearest on the ring, the lower one of two equally near.
    ///
    /// None only while the map is empty.
    pub fn swarm_of(&self, account: &AccountId) -> Option<SwarmId> {
        let place = position(account);
        let above = self.swarms.range(SwarmId(place)..).next().or_else(|| self.swarms.first_key_value());
        let below = self.swarms.range(..=SwarmId(place)).next_back().or_else(|| self.swarms.last_key_value());
        let (&above, &below) = (above?.0, below?.0);
        let up = above.0.wrapping_sub(place);
        let down = place.wrapping_sub(below.0);
        Some(if down <= up { below } else { above })
    }

    /// The members of the swarm that keeps `account`; empty only while the map is.
    pub fn members_of(&self, account: &AccountId) -> &[NodeId] {
        self.swarm_of(account).and_then(|id| self.swarms.get(&id)).map_or(&[], Vec::as_slice)
    }

    /// The places whose accounts a swarm keeps; none when there is no such swarm.
    pub fn territory(&self, swarm: SwarmId) -> Option<Arc> {
        self.swarms.get(&swarm)?;
        let below = self.swarms.range(..swarm).next_back().or_else(|| self.swarms.last_key_value())?.0.0;
        let above = self.swarms.range(swarm..).nth(1).or_else(|| self.swarms.first_key_value())?.0.0;
        if below == swarm.0 {
            return Some(Arc::WHOLE);
        }
        // The lower one of two equally near keeps what lies between.
        let first = below.wrapping_add(swarm.0.wrapping_sub(below) / 2).wrapping_add(1);
        Some(Arc { first, last: swarm.0.wrapping_add(above.wrapping_sub(swarm.0) / 2) })
    }

    /// The swarm that `node` belongs to.
    pub fn swarm_with(&self, node: &NodeId) -> Option<SwarmId> {
        self.swarms.iter().find(|(_, members)| members.contains(node)).map(|(id, _)| *id)
    }

    /// The members of one swarm; empty when there is no such swarm.
    pub fn members(&self, swarm: SwarmId) -> &[NodeId] {
        self.swarms.get(&swarm).map_or(&[], Vec::as_slice)
    }
}

/// A stretch of the ring: from its first place upwards to its last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Arc {
    /// Where it begins.
    pub first: u64,
    /// Where it ends, across the edge of the ring if that is below `first`.
    pub last: u64,
}

impl Arc {
    /// The whole ring.
    pub const WHOLE: Self = Self { first: 0, last: u64::MAX };

    /// Whether a place lies on it.
    pub const fn contains(self, place: u64) -> bool {
        place.wrapping_sub(self.first) <= self.last.wrapping_sub(self.first)
    }

    /// Whether an account's place lies on it.
    pub fn holds(self, account: &AccountId) -> bool {
        self == Self::WHOLE || self.contains(position(account))
    }

    /// Whether all of it lies on `other`.
    pub const fn within(self, other: Self) -> bool {
        let offset = self.first.wrapping_sub(other.first);
        let (length, room) = (self.last.wrapping_sub(self.first), other.last.wrapping_sub(other.first));
        room == u64::MAX || (offset <= room && length <= room.saturating_sub(offset))
    }

    /// The part of it that lies on `other`; all of it where that would be two parts. None where they do not meet.
    pub const fn part(self, other: Self) -> Option<Self> {
        if !self.contains(other.first) && !other.contains(self.first) {
            return None;
        }
        let first = if other.contains(self.first) { self.first } else { other.first };
        let last = if other.contains(self.last) { self.last } else { other.last };
        Some(Self { first, last })
    }
}

/// How many of `members` make a majority: more than half.
pub const fn majority(members: usize) -> usize {
    (members / 2).saturating_add(1)
}

/// Where an account stands on the ring: its key's four 8-byte words, folded by XOR, big-endian.
pub fn position(account: &AccountId) -> u64 {
    account.key().chunks_exact(8).fold(0, |place, word| {
        place ^ word.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
    })
}

impl fmt::Display for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmId({self})")
    }
}

impl FromStr for SwarmId {
    type Err = core::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(place: u64) -> AccountId {
        let mut bytes = [0; 33];
        bytes[0] = 0x05;
        bytes[1..9].copy_from_slice(&place.to_be_bytes());
        AccountId::from_bytes(bytes)
    }

    fn map(places: &[u64]) -> SwarmMap {
        SwarmMap { version: 1, swarms: places.iter().map(|place| (SwarmId(*place), Vec::new())).collect() }
    }

    #[test]
    fn the_nearest_swarm_keeps_an_account() {
        let map = map(&[100, 200, u64::MAX - 9]);
        for (place, swarm) in [
            (0, u64::MAX - 9),  // 10 down over the edge, 100 up
            (45, u64::MAX - 9), // a tie across the edge: 55 either way
            (46, 100),
            (150, 100), // a tie
            (151, 200),
            (200, 200),
            (u64::MAX, u64::MAX - 9),
        ] {
            assert_eq!(map.swarm_of(&account(place)), Some(SwarmId(swarm)), "at {place}");
        }
        assert_eq!(SwarmMap::default().swarm_of(&account(1)), None);
    }

    #[test]
    fn a_territory_is_what_a_swarm_keeps() {
        for ids in [&[7][..], &[7, 8], &[0, u64::MAX], &[100, 200, u64::MAX - 9], &[1 << 63, 3, 10, 11]] {
            let map = map(ids);
            let near = |id: u64| (0..3).flat_map(move |by| [id.wrapping_add(by), id.wrapping_sub(by)]);
            let arcs: Vec<_> = ids.iter().filter_map(|id| map.territory(SwarmId(*id))).collect();
            let edges = arcs.iter().flat_map(|arc| near(arc.first).chain(near(arc.last)));
            for place in edges.chain(ids.iter().flat_map(|id| near(*id))) {
                let keeper = map.swarm_of(&account(place)).unwrap();
                for (id, arc) in ids.iter().zip(&arcs) {
                    assert_eq!(arc.contains(place), keeper == SwarmId(*id), "{place} and {id} of {ids:?}");
                }
            }
        }
        assert_eq!(map(&[1]).territory(SwarmId(2)), None);
    }

    #[test]
    fn parts_of_arcs_lie_on_both_or_are_all_of_one() {
        let arc = |first, last| Arc { first, last };
        for (one, other, part) in [
            (arc(10, 20), arc(15, 30), Some(arc(15, 20))),
            (arc(10, 20), arc(20, 5), Some(arc(20, 20))),
            (arc(10, 20), arc(0, 50), Some(arc(10, 20))),
            (arc(0, 50), arc(10, 20), Some(arc(10, 20))),
            (arc(u64::MAX - 5, 5), arc(3, 9), Some(arc(3, 5))),
            (arc(10, 20), arc(21, 9), None),
            // Two parts.
            (arc(10, 20), arc(18, 12), Some(arc(10, 20))),
            (Arc::WHOLE, arc(18, 12), Some(Arc::WHOLE)),
            (arc(18, 12), Arc::WHOLE, Some(arc(18, 12))),
        ] {
            assert_eq!(one.part(other), part, "{one:?} and {other:?}");
            assert!(part.is_none_or(|part| part.within(one)), "{one:?} and {other:?}");
        }
        assert!(!arc(10, 20).within(arc(11, 30)) && !arc(10, 20).within(arc(5, 19)));
        assert!(!Arc::WHOLE.within(arc(1, u64::MAX)) && arc(9, 3).within(Arc::WHOLE));
    }

    #[test]
    fn a_majority_is_more_than_half() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(majority), [1, 2, 2, 3, 3, 4, 4]);
    }

    #[test]
    fn the_place_folds_all_four_words() {
        let mut bytes = [0; 33];
        for (at, value) in [(1, 0x11), (9, 0x22), (17, 0x44), (25, 0x88)] {
            bytes[at] = value;
        }
        assert_eq!(position(&AccountId::from_bytes(bytes)), 0xff00_0000_0000_0000);
    }
}
