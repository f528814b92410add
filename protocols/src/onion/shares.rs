//! How much of something bounded each neighbour may have.
//!
//! Half of it is for registered nodes and half for everybody else, so that neither stands in the way
//! of the other. In each half one sharer may have a part of all that it would leave: the first one a
//! quarter or an eighth, later ones less, and somebody who has nothing yet one as long as there is
//! any. An identity costs nothing, so strangers share by the address prefix that they come from.

use core::fmt;
use std::collections::BTreeMap;

use super::relay::Neighbour;
use crate::{Prefix, mutants};

/// One node may have this part of its half, as one of so many.
pub const NODE_PART: usize = 4;
/// The strangers of one prefix may have this part of theirs, as one of so many.
pub const STRANGER_PART: usize = 8;

/// What is shared, and who has how much of it.
pub(super) struct Shares<K> {
    half: usize,
    nodes: usize,
    strangers: usize,
    of: BTreeMap<Sharer<K>, usize>,
}

/// Who is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sharer<K> {
    Node(K),
    Prefix(Prefix),
    Peer(K),
}

impl<K> Shares<K> {
    /// Nobody has anything of `total`.
    pub(super) const fn new(total: usize) -> Self {
        Self { half: total / 2, nodes: 0, strangers: 0, of: BTreeMap::new() }
    }

    /// How much is taken.
    pub(super) const fn held(&self) -> usize {
        self.nodes.saturating_add(self.strangers)
    }
}

impl<K: Copy + Ord> Shares<K> {
    /// Whether a neighbour may have one more.
    pub(super) fn has_room(&self, from: Neighbour<K>) -> bool {
        let (held, part) = if from.node { (self.nodes, NODE_PART) } else { (self.strangers, STRANGER_PART) };
        let own = self.of.get(&sharer(from)).copied().filter(|_| !mutants::on("shares-alone"));
        let own = own.unwrap_or_default();
        own.saturating_mul(part.saturating_sub(1)) < self.half.saturating_sub(held)
    }

    /// Takes one for a neighbour if it may have it.
    pub(super) fn take(&mut self, from: Neighbour<K>) -> bool {
        let room = self.has_room(from);
        if room {
            let (held, own) = self.counts(from);
            *held = held.saturating_add(1);
            *own = own.saturating_add(1);
        }
        room
    }

    /// Gives back one that [`Self::take`] took for this neighbour.
    pub(super) fn leave(&mut self, from: Neighbour<K>) {
        let (held, own) = self.counts(from);
        *held = held.saturating_sub(1);
        *own = own.saturating_sub(1);
        if *own == 0 {
            self.of.remove(&sharer(from));
        }
    }

    fn counts(&mut self, from: Neighbour<K>) -> (&mut usize, &mut usize) {
        let held = if from.node { &mut self.nodes } else { &mut self.strangers };
        (held, self.of.entry(sharer(from)).or_default())
    }
}

fn sharer<K>(Neighbour { key, node, prefix }: Neighbour<K>) -> Sharer<K> {
    match prefix {
        _ if node => Sharer::Node(key),
        Some(prefix) if !mutants::on("shares-by-name") => Sharer::Prefix(prefix),
        Some(_) | None => Sharer::Peer(key),
    }
}

impl<K> fmt::Debug for Shares<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shares({} and {} of {})", self.nodes, self.strangers, self.half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 4_096;

    fn stranger(key: u32, prefix: Option<u8>) -> Neighbour<u32> {
        Neighbour { key, node: false, prefix: prefix.map(|last| Prefix::V4([10, 0, last])) }
    }

    fn fill(shares: &mut Shares<u32>, from: impl Fn(u32) -> Neighbour<u32>) -> usize {
        (0..10_000).filter(|key| shares.take(from(*key))).count()
    }

    #[test]
    fn new_identities_at_one_address_gain_nothing() {
        let mut shares = Shares::new(TOTAL);
        let many = fill(&mut shares, |key| stranger(key, Some(1)));
        let mut shares = Shares::new(TOTAL);
        let one = fill(&mut shares, |_| stranger(0, Some(1)));
        assert_eq!((many, one), (TOTAL / 16, TOTAL / 16));
        assert!(
            fill(&mut shares, |_| stranger(0, Some(2))) > one * 3 / 4,
            "the next one has as good as that"
        );
    }

    #[test]
    fn strangers_and_nodes_leave_each_other_room() {
        let node = |key| Neighbour { key, node: true, prefix: None };
        let mut shares = Shares::new(TOTAL);
        assert_eq!(fill(&mut shares, |key| stranger(key, None)), TOTAL / 2);
        assert!(!shares.take(stranger(99_999, Some(1))), "there is no more for strangers");
        assert_eq!(fill(&mut shares, |_| node(1)), TOTAL / 8, "as if nobody else were there");
        let mut shares = Shares::new(TOTAL);
        assert_eq!(fill(&mut shares, node), TOTAL / 2);
        assert_eq!(fill(&mut shares, |_| stranger(1, Some(1))), TOTAL / 16);
    }

    #[test]
    fn what_is_given_back_is_there_again_and_who_has_nothing_is_forgotten() {
        let mut shares = Shares::new(64);
        let from = stranger(7, Some(1));
        let taken = fill(&mut shares, |_| from);
        for _ in 0..taken {
            shares.leave(stranger(8, Some(1)));
        }
        assert_eq!((shares.held(), shares.of.len()), (0, 0));
        assert_eq!(fill(&mut shares, |_| from), taken);
    }
}
