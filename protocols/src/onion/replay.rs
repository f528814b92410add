//! First packets that were seen: none is opened twice.
//!
//! A first packet carries the time of its making in units of 5 s and an ephemeral key. Stamps that
//! are too old or too new are refused, and for each of the others the hop remembers the keys, as 64
//! bits under a secret of its own. One honest packet in 2^64 / [`LOAD`] is mistaken for another, and
//! none is forgotten: where there is no more room, or where what was seen is not known because the
//! process has just started, packets are refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Span, Time, identity::blake2b, mutants};

/// What a stamp counts.
pub const UNIT: Span = Span::secs(5);
/// Stamps of the past that are tolerated.
pub const PAST: u32 = 12;
/// Stamps of the future that are tolerated.
pub const FUTURE: u32 = 1;
/// First packets that are taken with one stamp: 4,000 a second, all of them some 4 MB.
pub const LOAD: usize = 20_000;

/// The stamp of a time.
pub fn stamp(now: Time) -> u32 {
    u32::try_from(now.as_millis() / (UNIT.0 / 1_000)).unwrap_or(u32::MAX)
}

/// The last stamp that a process may have taken which ended before `now`, nobody knows how.
pub fn in_doubt(now: Time) -> u32 {
    stamp(now).saturating_add(FUTURE)
}

/// The first packets that were seen.
#[derive(Debug)]
pub struct Replays {
    secret: [u8; 32],
    /// No stamp up to this one is taken.
    until: u32,
    seen: BTreeMap<u32, BTreeSet<u64>>,
}

impl Replays {
    /// A hop that has taken no stamp after `until`: [`in_doubt`] where that is not known. `secret` is
    /// fresh.
    pub const fn new(until: u32, secret: [u8; 32]) -> Self {
        Self { secret, until, seen: BTreeMap::new() }
    }

    /// The last stamp that was taken, to start from next time.
    pub fn last(&self) -> u32 {
        self.seen.last_key_value().map_or(self.until, |(stamped, _)| self.until.max(*stamped))
    }

    /// Whether a stamp is taken now.
    pub fn tolerates(&self, now: Time, stamped: u32) -> bool {
        let now = stamp(now);
        let until = if mutants::on("relay-old-stamp") { 0 } else { self.until };
        stamped > until && stamped >= now.saturating_sub(PAST) && stamped <= now.saturating_add(FUTURE)
    }

    /// Takes an authentic packet in. False if it came before, at a wrong time, or beyond [`LOAD`].
    pub fn take(&mut self, now: Time, stamped: u32, ephemeral: &[u8; 32]) -> bool {
        if !self.tolerates(now, stamped) {
            return false;
        }
        let oldest = stamp(now).saturating_sub(PAST);
        while self.seen.first_key_value().is_some_and(|(stamped, _)| *stamped < oldest) {
            self.seen.pop_first();
        }
        let seen = self.seen.entry(stamped).or_default();
        let digest = blake2b(&[&self.secret, ephemeral]);
        let tag = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        seen.len() < LOAD && (seen.insert(tag) || mutants::on("relay-replay"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(stamped: u32) -> Time {
        Time::from_millis(u64::from(stamped) * 5_000)
    }

    #[test]
    fn a_packet_is_taken_once_for_as_long_as_its_stamp_is() {
        let mut replays = Replays::new(0, [1; 32]);
        assert!(replays.take(at(100), 100, &[7; 32]));
        for later in 100..130 {
            assert!(!replays.take(at(later), 100, &[7; 32]), "at {later}");
            assert_eq!(replays.tolerates(at(later), 100), later <= 100 + PAST);
        }
        assert!(replays.take(at(130), 130 + FUTURE, &[7; 32]));
        assert!(!replays.take(at(130), 131 + FUTURE, &[8; 32]), "too new");
        assert_eq!(replays.last(), 130 + FUTURE);
    }

    #[test]
    fn a_process_that_does_not_know_refuses_what_it_may_have_seen() {
        let mut before = Replays::new(0, [1; 32]);
        assert!(before.take(at(100), 100 + FUTURE, &[7; 32]));
        let mut after = Replays::new(in_doubt(at(100)), [2; 32]);
        for later in 100..140 {
            assert!(!after.take(at(later), 100 + FUTURE, &[7; 32]));
        }
        assert!(after.take(at(101 + FUTURE), 101 + FUTURE, &[8; 32]));
    }

    #[test]
    fn beyond_the_load_it_refuses_and_forgets_nothing() {
        let mut replays = Replays::new(0, [1; 32]);
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        let taken = (0..LOAD + 100).filter(|number| replays.take(at(100), 100, &key(*number))).count();
        assert_eq!(taken, LOAD);
        assert!(!(0..LOAD + 100).any(|number| replays.take(at(100), 100, &key(number))));
        assert!(replays.take(at(100), 99, &key(0)), "other stamps have room");
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice(steps in prop::collection::vec((0_u32..60, 80_u32..160, 0_u8..4), 1..300)) {
            let (mut replays, mut taken) = (Replays::new(90, [1; 32]), BTreeSet::new());
            let mut now = 100;
            for (ahead, stamped, key) in steps {
                now += ahead / 20;
                if replays.take(at(now), stamped, &[key; 32]) {
                    prop_assert!(taken.insert((stamped, key)));
                    prop_assert!(stamped > 90 && stamped + PAST >= now && stamped <= now + FUTURE);
                }
            }
        }
    }
}
