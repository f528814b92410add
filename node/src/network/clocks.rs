//! How far the clocks of other nodes are from this one's.
//!
//! A node's record says when it was signed, and is gossiped at once: what is between that and its arrival is the
//! way, which is short, and the difference of two clocks. No node is believed alone: the one in the middle counts.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{NodeId, Time};

/// Fewer nodes say nothing about who is right.
const LEAST: usize = 3;

/// What was heard, the newest of each node.
#[derive(Debug, Default)]
pub(super) struct Clocks(BTreeMap<NodeId, Heard>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// When the record was signed, in milliseconds since 1970.
    said: u64,
    /// How far this clock was ahead of that when it came, in milliseconds.
    ahead: i64,
}

impl Clocks {
    /// A registered node's record has come by gossip. One that is not newer than another was sent again.
    pub(super) fn heard(&mut self, now: Time, node: NodeId, said: u64) {
        if self.0.get(&node).is_some_and(|known| known.said >= said) {
            return;
        }
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let ahead = now.saturating_sub(i64::try_from(said).unwrap_or(i64::MAX));
        self.0.insert(node, Heard { said, ahead });
    }

    /// Forgets whoever is none of these.
    pub(super) fn keep(&mut self, nodes: &BTreeSet<NodeId>) {
        self.0.retain(|node, _| nodes.contains(node));
    }

    /// How far this clock is ahead of the others', in seconds; none while too few were heard.
    pub(super) fn ahead(&self) -> Option<f64> {
        let mut all: Vec<_> = self.0.values().map(|heard| heard.ahead).collect();
        all.sort_unstable();
        let middle = all.get(all.len() / 2).filter(|_| all.len() >= LEAST)?;
        Some(*middle as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    #[test]
    fn the_one_in_the_middle_says_how_far_the_clock_is_off() {
        let (mut clocks, now) = (Clocks::default(), Time::from_millis(1_000_000));
        clocks.heard(now, node(1), 1_000_000 - 30_100);
        clocks.heard(now, node(2), 1_000_000 - 30_200);
        assert_eq!(clocks.ahead(), None, "two say nothing");
        // Whoever lies, or lives in the future, is one of many.
        clocks.heard(now, node(3), u64::MAX);
        assert_eq!(clocks.ahead(), Some(30.1));
        clocks.heard(now, node(4), 0);
        clocks.heard(now, node(5), 1_000_000 - 30_150);
        assert_eq!(clocks.ahead(), Some(30.15));
        // The clock was set right, and all but the liar say so again.
        let now = Time::from_millis(1_000_000 - 29_900);
        for number in [1, 2, 5] {
            clocks.heard(now, node(number), 1_000_000 - 30_000);
        }
        assert_eq!(clocks.ahead(), Some(0.1));
    }

    #[test]
    fn a_record_that_is_sent_again_later_and_who_left_count_for_nothing() {
        let mut clocks = Clocks::default();
        for (number, now) in [(1, 1_000), (2, 1_000), (3, 1_000), (3, 90_000)] {
            clocks.heard(Time::from_millis(now), node(number), 900);
        }
        assert_eq!(clocks.ahead(), Some(0.1));
        clocks.keep(&[node(1), node(2)].into());
        assert_eq!(clocks.ahead(), None);
    }
}
