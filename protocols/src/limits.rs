//! How much anyone may ask: token buckets, in tables that cannot grow.

use core::hash::Hash;
use std::collections::{BTreeMap, BTreeSet};

use crate::{AccountId, Time};

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: u32,
    /// Tokens it holds when full: what may be asked at once.
    pub burst: u32,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Millionths of a token.
    tokens: u64,
    filled: Time,
}

const MICRO: u64 = 1_000_000;

impl TokenBucket {
    /// A full bucket.
    pub fn full(rate: Rate, now: Time) -> Self {
        Self { tokens: u64::from(rate.burst).saturating_mul(MICRO), filled: now }
    }

    /// Takes `cost` tokens if they are there.
    pub fn take(&mut self, rate: Rate, now: Time, cost: u32) -> bool {
        let gained = now.since(self.filled).0.saturating_mul(u64::from(rate.per_second));
        self.tokens = self.tokens.saturating_add(gained).min(u64::from(rate.burst).saturating_mul(MICRO));
        self.filled = self.filled.max(now);
        let cost = u64::from(cost).saturating_mul(MICRO);
        let enough = self.tokens >= cost;
        if enough {
            self.tokens = self.tokens.saturating_sub(cost);
        }
        enough
    }
}

/// A bucket for each of many, at most `capacity` of them: whoever asked least recently is forgotten
/// first, which gives nobody more than a burst.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    capacity: usize,
    buckets: BTreeMap<K, (TokenBucket, u64)>,
    order: BTreeSet<(u64, K)>,
    clock: u64,
}

impl<K: Copy + Ord + Hash> Limiter<K> {
    /// A limiter that tracks at most `capacity` keys.
    pub const fn new(rate: Rate, capacity: usize) -> Self {
        Self { rate, capacity, buckets: BTreeMap::new(), order: BTreeSet::new(), clock: 0 }
    }

    /// Takes `cost` tokens of `key` if they are there.
    pub fn take(&mut self, key: K, now: Time, cost: u32) -> bool {
        self.clock = self.clock.wrapping_add(1);
        let crowded = !self.buckets.contains_key(&key) && self.buckets.len() >= self.capacity;
        if let Some((_, oldest)) = self.order.first().copied().filter(|_| crowded) {
            self.order.pop_first();
            self.buckets.remove(&oldest);
        }
        let full = (TokenBucket::full(self.rate, now), self.clock);
        let (bucket, used) = self.buckets.entry(key).or_insert(full);
        self.order.remove(&(*used, key));
        *used = self.clock;
        self.order.insert((*used, key));
        bucket.take(self.rate, now, cost)
    }
}

/// What a node lets in: limits for each neighbour, for each account and in total.
#[derive(Debug)]
pub struct Admission<K> {
    neighbours: Limiter<K>,
    accounts: Limiter<AccountId>,
    total: (Rate, Option<TokenBucket>),
}

/// The rates of [`Admission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionRates {
    /// Requests of one neighbour.
    pub neighbour: Rate,
    /// Requests about one account, whoever asks.
    pub account: Rate,
    /// All requests.
    pub total: Rate,
}

impl Default for AdmissionRates {
    fn default() -> Self {
        Self {
            neighbour: Rate { per_second: 300, burst: 600 },
            account: Rate { per_second: 300, burst: 600 },
            total: Rate { per_second: 20_000, burst: 40_000 },
        }
    }
}

/// How many neighbours, and how many accounts, are tracked.
pub const TRACKED: usize = 10_000;

impl<K: Copy + Ord + Hash> Admission<K> {
    /// Lets in as much as `rates` say.
    pub const fn new(rates: AdmissionRates) -> Self {
        Self {
            neighbours: Limiter::new(rates.neighbour, TRACKED),
            accounts: Limiter::new(rates.account, TRACKED),
            total: (rates.total, None),
        }
    }

    /// Whether a neighbour's request about an account may come in.
    pub fn admit(&mut self, now: Time, neighbour: K, account: Option<&AccountId>) -> bool {
        let (rate, bucket) = &mut self.total;
        // The neighbour pays first, so that one alone cannot use up what belongs to all.
        self.neighbours.take(neighbour, now, 1)
            && account.is_none_or(|account| self.accounts.take(*account, now, 1))
            && bucket.get_or_insert_with(|| TokenBucket::full(*rate, now)).take(*rate, now, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut limiter = Limiter::new(RATE, 8);
        let now = Time::from_millis(1_000);
        assert_eq!([0; 4].map(|_| limiter.take(1, now, 1)), [true, true, true, false]);
        assert!(limiter.take(2, now, 1), "others are not held up");
        let later = now.after(Span::millis(100));
        assert_eq!([0; 2].map(|_| limiter.take(1, later, 1)), [true, false]);
        let idle = now.after(Span::secs(60));
        assert_eq!(
            [0; 4].map(|_| limiter.take(1, idle, 1)),
            [true, true, true, false],
            "no more than a burst"
        );
    }

    #[test]
    fn the_table_never_grows_past_its_capacity() {
        let mut limiter = Limiter::new(RATE, 4);
        for key in 0..1_000 {
            limiter.take(key, Time::ZERO, 1);
        }
        assert_eq!((limiter.buckets.len(), limiter.order.len()), (4, 4));
    }
}
