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

    /// The swarm that `node` belongs to.
    pub fn swarm_with(&self, node: &NodeId) -> Option<SwarmId> {
        self.swarms.iter().find(|(_, members)| members.contains(node)).map(|(id, _)| *id)
    }

    /// The members of one swarm; empty when there is no such swarm.
    pub fn members(&self, swarm: SwarmId) -> &[NodeId] {
        self.swarms.get(&swarm).map_or(&[], Vec::as_slice)
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
