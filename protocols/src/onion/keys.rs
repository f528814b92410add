//! A hop's onion keys: a new one every day, the one before it for a while, and no older one.
//!
//! Who takes a node over learns what was sealed to the keys that it still has, and nothing that was
//! sent before.

use super::noise::OnionKey;
use crate::{Span, Time, mutants};

/// How long a key is given out.
pub const DAY: Span = Span::days(1);
/// How long a key is accepted after the next one took its place: longer than any directory that
/// names it is used.
pub const ACCEPTED: Span = Span::hours(26);

/// A key, and since when it is given out.
#[derive(Clone, Debug)]
pub struct DayKey {
    /// The pair.
    pub key: OnionKey,
    /// Since when.
    pub since: Time,
}

impl DayKey {
    /// What packets call it: the last byte of the number of its day since 1970.
    pub fn day(&self) -> u8 {
        let day = self.since.0 / DAY.0;
        u8::try_from(day % 256).unwrap_or_default()
    }
}

/// The keys that a hop has.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// The one that is given out.
    pub current: DayKey,
    /// Those before it that are still accepted, and until when; newest first, two at most.
    pub previous: Vec<(DayKey, Time)>,
}

impl Keyring {
    /// A first key. None if the library refuses these bytes, which it does for none.
    pub fn new(now: Time, fresh: [u8; 32]) -> Option<Self> {
        let current = DayKey { key: OnionKey::from_bytes(fresh)?, since: now };
        Some(Self { current, previous: Vec::new() })
    }

    /// The key that a packet wants.
    pub fn find(&self, day: u8) -> Option<&OnionKey> {
        let known = [&self.current].into_iter().chain(self.previous.iter().map(|(key, _)| key));
        known.into_iter().find(|key| key.day() == day).map(|key| &key.key)
    }

    /// When something is to be replaced or destroyed, if the clock goes on as it does.
    pub fn deadline(&self) -> Time {
        let replaced = self.current.since.after(DAY);
        self.previous.iter().fold(replaced, |first, (_, until)| first.min(*until))
    }

    /// Whether [`Self::turn`] would change anything: its time has come, or the clock was set back.
    pub fn is_due(&self, now: Time) -> bool {
        now >= self.deadline()
            || self.is_ahead(now)
            || self.previous.iter().any(|(_, until)| *until > latest(now))
    }

    /// Replaces and destroys what has had its time. Whether anything changed: what is on a disk is
    /// to be overwritten then.
    ///
    /// A key of a day that is still to come was made by a clock that was ahead. It is replaced at once, and
    /// none is accepted for longer than if it had been replaced now: else it would live until that day.
    pub fn turn(&mut self, now: Time, fresh: [u8; 32]) -> bool {
        if !self.is_due(now) {
            return false;
        }
        self.previous.retain_mut(|(_, until)| {
            *until = latest(now).min(*until);
            now < *until
        });
        let end = self.current.since.after(DAY);
        if now < end && !self.is_ahead(now) {
            return true;
        }
        if let Some(key) = OnionKey::from_bytes(fresh) {
            let replaced = core::mem::replace(&mut self.current, DayKey { key, since: now });
            // A node that slept for days gave this key out on its first day alone.
            let accepted = if mutants::on("key-too-long") { Span::days(9) } else { ACCEPTED };
            let until = end.min(now).after(accepted);
            if now < until && !mutants::on("key-too-soon") {
                self.previous.insert(0, (replaced, until));
                self.previous.truncate(2);
            }
        }
        true
    }

    fn is_ahead(&self, now: Time) -> bool {
        self.current.since.0 / DAY.0 > now.0 / DAY.0
    }
}

/// Until when any key is accepted that is not given out at `now`.
fn latest(now: Time) -> Time {
    now.after(ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_for_26_hours_after_its_day_and_then_destroyed() {
        let start = Time(DAY.0 * 20_000);
        let mut keys = Keyring::new(start, [1; 32]).unwrap();
        let by_day = |keys: &Keyring, day: u32| keys.find((day % 256) as u8).map(|key| *key.public());
        let first = *keys.current.key.public();
        assert!(!keys.turn(Time(keys.deadline().0 - 1), [2; 32]));
        assert!(keys.turn(start.after(DAY), [2; 32]));
        assert!(keys.turn(start.after(DAY).after(DAY), [3; 32]));
        assert_ne!(*keys.current.key.public(), first);
        let end = start.after(DAY).after(ACCEPTED);
        assert_eq!(keys.deadline(), end);
        assert!(!keys.turn(Time(end.0 - 1), [4; 32]));
        assert_eq!(by_day(&keys, 20_000), Some(first));
        assert!(keys.turn(end, [4; 32]));
        assert_eq!(by_day(&keys, 20_000), None, "destroyed");
        assert!(by_day(&keys, 20_001).is_some() && by_day(&keys, 20_002).is_some());
        assert!(keys.turn(end.after(Span::days(9)), [5; 32]));
        assert!(keys.previous.is_empty(), "nobody was given those lately");
    }

    #[test]
    fn keys_of_a_clock_that_was_ahead_live_no_longer_than_others() {
        let now = Time(DAY.0 * 20_000);
        let ahead = now.after(Span::days(30));
        let mut keys = Keyring::new(ahead, [1; 32]).unwrap();
        assert!(
            keys.turn(ahead.after(DAY), [2; 32]),
            "one of them is replaced before the clock is set right"
        );
        let (newest, first) = (keys.current.day(), keys.previous[0].0.day());
        assert!(keys.is_due(now) && keys.turn(now, [3; 32]));
        assert_eq!(keys.current.since, now);
        assert!(keys.find(newest).is_some() && keys.find(first).is_some(), "who was given one may use it");
        assert!(!keys.is_due(now) && !keys.turn(now, [4; 32]));
        let end = now.after(ACCEPTED);
        keys.turn(end, [5; 32]);
        assert!(keys.find(newest).is_none() && keys.find(first).is_none(), "destroyed");
        // Seconds are no other day.
        let mut keys = Keyring::new(now.after(Span::secs(9)), [1; 32]).unwrap();
        assert!(!keys.turn(now, [2; 32]));
    }
}
