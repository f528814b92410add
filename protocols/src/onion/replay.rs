//! First packets that were seen: none is opened twice.
//!
//! A first packet carries the time of its making in units of 5 s and an ephemeral key. Stamps that
//! are too old or too new are refused, and for each of the others the hop remembers the keys, as 64
//! bits under a secret of its own. One honest packet in 2^64 / [`LOAD`] is mistaken for another, and
//! none is forgotten: where there is no more room, for this neighbour or in all, or where what was
//! seen is not known because the process has just started, packets are refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    relay::{Neighbour, Refusal},
    shares::Shares,
};
use crate::{Span, Time, identity::blake2b, mutants};

/// What a stamp counts.
pub const UNIT: Span = Span::secs(5);
/// Stamps of the past that are tolerated.
pub const PAST: u32 = 12;
/// Stamps of the future that are tolerated.
pub const FUTURE: u32 = 1;
/// First packets that are taken with one stamp, shared out as [`super::shares`] says: 4,000 a second
/// of nodes and as many of others, all of them some 8 MB.
pub const LOAD: usize = 40_000;

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
pub struct Replays<K> {
    secret: [u8; 32],
    /// No stamp up to this one is taken.
    until: u32,
    seen: BTreeMap<u32, Seen<K>>,
}

/// Those of one stamp.
#[derive(Debug)]
struct Seen<K> {
    tags: BTreeSet<u64>,
    shares: Shares<K>,
}

impl<K: Copy + Ord> Replays<K> {
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

    /// Takes an authentic packet in.
    ///
    /// # Errors
    ///
    /// When it came before or at a wrong time; and where its neighbour has sent too many of this stamp:
    /// that one is not taken, and may come another way.
    pub fn take(
        &mut self,
        now: Time,
        stamped: u32,
        ephemeral: &[u8; 32],
        from: Neighbour<K>,
    ) -> Result<(), Refusal> {
        if !self.tolerates(now, stamped) {
            return Err(Refusal::Unreadable);
        }
        let oldest = stamp(now).saturating_sub(PAST);
        while let Some(over) = self.seen.first_entry().filter(|first| *first.key() < oldest) {
            // A clock that is set back must not bring the stamp back whose packets are forgotten.
            self.until = self.until.max(*over.key());
            over.remove();
        }
        let seen = self.seen.entry(stamped);
        let seen = seen.or_insert_with(|| Seen { tags: BTreeSet::new(), shares: Shares::new(LOAD) });
        let digest = blake2b(&[&self.secret, ephemeral]);
        let tag = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if seen.tags.contains(&tag) && !mutants::on("relay-replay") {
            return Err(Refusal::Unreadable);
        }
        if !seen.shares.take(from) {
            return Err(Refusal::Busy);
        }
        seen.tags.insert(tag);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Prefix,
        onion::shares::{NODE_PART, STRANGER_PART},
    };

    const FROM: Neighbour<u8> = Neighbour { key: 1, node: false, prefix: None };

    fn at(stamped: u32) -> Time {
        Time::from_millis(u64::from(stamped) * 5_000)
    }

    #[test]
    fn a_packet_is_taken_once_for_as_long_as_its_stamp_is() {
        let mut replays = Replays::new(0, [1; 32]);
        assert!(replays.take(at(100), 100, &[7; 32], FROM).is_ok());
        for later in 100..130 {
            assert!(replays.take(at(later), 100, &[7; 32], FROM).is_err(), "at {later}");
            assert_eq!(replays.tolerates(at(later), 100), later <= 100 + PAST);
        }
        assert!(replays.take(at(130), 130 + FUTURE, &[7; 32], FROM).is_ok());
        assert!(replays.take(at(130), 131 + FUTURE, &[8; 32], FROM).is_err(), "too new");
        assert_eq!(replays.last(), 130 + FUTURE);
    }

    #[test]
    fn a_process_that_does_not_know_refuses_what_it_may_have_seen() {
        let mut before = Replays::new(0, [1; 32]);
        assert!(before.take(at(100), 100 + FUTURE, &[7; 32], FROM).is_ok());
        let mut after = Replays::new(in_doubt(at(100)), [2; 32]);
        for later in 100..140 {
            assert!(after.take(at(later), 100 + FUTURE, &[7; 32], FROM).is_err());
        }
        assert!(after.take(at(101 + FUTURE), 101 + FUTURE, &[8; 32], FROM).is_ok());
    }

    #[test]
    fn beyond_its_share_a_neighbour_is_refused_and_nothing_is_forgotten() {
        let mut replays = Replays::new(0, [1; 32]);
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        // As many as one prefix of strangers may send in the time of a stamp, each from another one.
        let prefix = Some(Prefix::V4([10, 1, 2]));
        let crowd = |number: usize| Neighbour { key: number, node: false, prefix };
        let mut take = |number: usize, from| replays.take(at(100), 100, &key(number), from);
        let taken = (0..24_000).filter(|number| take(*number, crowd(*number)).is_ok()).count();
        assert_eq!(taken, LOAD / 2 / STRANGER_PART);
        assert_eq!(take(24_000, crowd(0)), Err(Refusal::Busy));
        assert!((0..taken).all(|number| take(number, crowd(0)) == Err(Refusal::Unreadable)));
        let elsewhere = Neighbour { key: 0, node: false, prefix: Some(Prefix::V4([10, 1, 3])) };
        assert_eq!(take(24_000, elsewhere), Ok(()), "there is room for whoever else comes");
        let node = Neighbour { key: 0, node: true, prefix: None };
        let taken = (30_000..60_000).filter(|number| take(*number, node).is_ok()).count();
        assert_eq!(taken, LOAD / 2 / NODE_PART, "as if nobody else had come");
        assert_eq!(replays.take(at(100), 99, &key(0), crowd(0)), Ok(()), "other stamps have room");
    }

    #[test]
    fn a_clock_that_is_set_back_brings_no_packet_back() {
        let mut replays = Replays::new(0, [1; 32]);
        assert!(replays.take(at(100), 100, &[7; 32], FROM).is_ok());
        assert!(replays.take(at(200), 200, &[8; 32], FROM).is_ok());
        assert!(replays.take(at(100), 100, &[7; 32], FROM).is_err());
        assert!(replays.take(at(101), 101, &[7; 32], FROM).is_ok(), "nothing of that stamp was taken");
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice(steps in prop::collection::vec((0_u32..60, 80_u32..160, 0_u8..4), 1..300)) {
            let (mut replays, mut taken) = (Replays::new(90, [1; 32]), BTreeSet::new());
            let mut now: u32 = 100;
            for (ahead, stamped, key) in steps {
                // One step in sixty sets the clock back.
                now = if ahead == 0 { now.saturating_sub(40) } else { now + ahead / 20 };
                if replays.take(at(now), stamped, &[key; 32], FROM).is_ok() {
                    prop_assert!(taken.insert((stamped, key)));
                    prop_assert!(stamped > 90 && stamped + PAST >= now && stamped <= now + FUTURE);
                }
            }
        }
    }
}
