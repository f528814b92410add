//! The time as the nodes have it.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use session_protocols::Time;
pub(crate) use session_protocols::path::passage::Comparison;

/// The most that nodes may move the clock, in milliseconds: a day, wide enough for a wrong time zone.
const MAX_OFFSET: i64 = 24 * 60 * 60 * 1_000;
/// Differences up to this are the way there and back, in milliseconds.
const SAME: i64 = 2_000;
/// Differences up to this between two nodes' clocks leave them agreed, in milliseconds.
const AGREED: i64 = 5_000;
/// How far dates may run ahead of the clock, in milliseconds: nodes take nothing from further ahead than ten
/// times that.
const MAX_STAMPS: u64 = 1_000;

/// The device's clock, and what is added to it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_ms: AtomicI64,
    /// What was given out last to date something.
    stamped_ms: AtomicU64,
}

impl Clock {
    /// Milliseconds since 1970, as the nodes count them.
    pub(crate) fn now_ms(&self) -> u64 {
        system_ms().saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }

    /// The same, to date something that is read in the order of its dates: no two are equal, also within a
    /// millisecond.
    pub(crate) fn stamp_ms(&self) -> u64 {
        let now = self.now_ms();
        // A clock that was set back is followed.
        let next = |last: u64| match last.checked_sub(now) {
            Some(0..MAX_STAMPS) => last.saturating_add(1),
            Some(_) | None => now,
        };
        let stamp = |last| Some(next(last));
        let last = self.stamped_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, stamp);
        last.map_or(now, next)
    }

    /// The same, as machines take it.
    pub(crate) fn now(&self) -> Time {
        Time::from_millis(self.now_ms())
    }

    /// What the device's own clock says: for what must not change by anybody's word.
    pub(crate) fn device_now() -> Time {
        Time::from_millis(system_ms())
    }

    /// What is added to the device's clock: whoever made something with another offset must make it again.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// How far a node's clock is from the device's, in milliseconds, by an answer that just came.
    pub(crate) fn sample(node_ms: u64) -> i64 {
        i64::try_from(i128::from(node_ms) - i128::from(system_ms())).unwrap_or(i64::MAX)
    }

    /// Follows the median of the samples, when it is another time and not too far away. One node alone
    /// moves nothing: another one must agree with it.
    pub(crate) fn follow(&self, mut samples: Vec<i64>) -> Comparison {
        samples.sort_unstable();
        // Of two in the middle, the one that moves the clock less.
        let middle = [samples.len().saturating_sub(1) / 2, samples.len() / 2];
        let middle = middle.iter().filter_map(|at| samples.get(*at)).copied();
        let Some(median) = middle.min_by_key(|sample| sample.unsigned_abs()) else { return Comparison::Same };
        let near = |other: &&i64| other.saturating_sub(median).unsigned_abs() <= AGREED.unsigned_abs();
        let moves = median.saturating_sub(self.offset_ms()).unsigned_abs();
        if moves <= SAME.unsigned_abs() || samples.iter().filter(near).count() < 2 {
            return Comparison::Same;
        }
        if median.unsigned_abs() > MAX_OFFSET.unsigned_abs() {
            return Comparison::TooFar(median);
        }
        tracing::warn!(offset_ms = median, "the clock of this device is wrong; using the nodes' time");
        self.offset_ms.store(median, Ordering::Relaxed);
        Comparison::Moved
    }
}

fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn the_median_is_followed_and_one_liar_is_not() {
        let clock = Clock::default();
        assert_eq!(clock.follow(vec![HOUR, 0, 40]), Comparison::Same);
        assert_eq!(clock.follow(vec![HOUR, 0]), Comparison::Same);
        assert_eq!(clock.follow(vec![HOUR, HOUR + 40, -9 * HOUR]), Comparison::Moved);
        let ahead = clock.now_ms() - system_ms();
        assert!((3_590_000..3_610_000).contains(&ahead));
        assert_eq!(clock.follow(vec![HOUR + 80]), Comparison::Same, "as the clock goes now");
    }

    #[test]
    fn what_is_dated_within_a_millisecond_has_an_order() {
        let clock = Clock::default();
        let stamps: Vec<_> = (0..100).map(|_| clock.stamp_ms()).collect();
        assert!(stamps.is_sorted_by(|one, next| one < next), "{stamps:?}");
        assert_eq!(clock.follow(vec![-HOUR; 2]), Comparison::Moved);
        let back = clock.stamp_ms();
        assert!(back + 3_000_000 < stamps[0], "a clock that is set back is followed");
    }

    #[test]
    fn one_node_alone_moves_nothing() {
        let clock = Clock::default();
        for samples in [vec![HOUR], vec![HOUR, 2 * HOUR], vec![-HOUR, HOUR, 9 * HOUR]] {
            assert_eq!(clock.follow(samples.clone()), Comparison::Same, "{samples:?}");
            assert_eq!(clock.offset_ms(), 0);
        }
        assert_eq!(clock.follow(vec![HOUR, HOUR - 4_000]), Comparison::Moved);
        assert_eq!(clock.offset_ms(), HOUR - 4_000);
    }

    #[test]
    fn nobody_moves_the_clock_by_more_than_a_day() {
        let clock = Clock::default();
        assert_eq!(clock.follow(vec![25 * HOUR; 2]), Comparison::TooFar(25 * HOUR));
        let ancient = Clock::sample(0);
        assert_eq!(clock.follow(vec![ancient; 3]), Comparison::TooFar(ancient));
        assert_eq!(Clock::sample(u64::MAX), i64::MAX);
    }
}
