//! How much anyone may ask, and hold at once: token buckets and seats, in tables that cannot grow.

use core::hash::Hash;
use std::collections::{BTreeMap, BTreeSet};

use crate::{AccountId, Prefix, Time, request::Request};

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
/// first.
///
/// Who was forgotten begins anew with a full bucket. So where keys can be made up this alone bounds
/// nobody: another limit must stand behind it, on what cannot be made up.
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

/// What a node lets in: limits for each neighbour, for each address prefix, for each account and in
/// total.
///
/// Everybody pays as a neighbour when something arrives ([`Self::arrive`]), whatever it is; an account
/// pays only for what was found to be genuine ([`Self::about`]), so that nobody can use up what
/// belongs to somebody else.
#[derive(Debug)]
pub struct Admission<K> {
    rates: AdmissionRates,
    neighbours: Limiter<K>,
    prefixes: Limiter<Prefix>,
    owners: Limiter<AccountId>,
    strangers: Limiter<AccountId>,
    total: Option<TokenBucket>,
}

/// The rates of [`Admission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionRates {
    /// Requests of one neighbour.
    pub neighbour: Rate,
    /// Requests that one account's owner signed, whoever brings them; and as many stores into it that
    /// nobody signed.
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

/// How many neighbours, prefixes and accounts are tracked.
pub const TRACKED: usize = 10_000;
/// One address prefix may ask as much as this many neighbours: an identity costs nothing, an address
/// does.
pub const NEIGHBOURS_PER_PREFIX: u32 = 16;

/// Who vouches for a request about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The account's owner, by a signature.
    Owner,
    /// Nobody: a store into a public inbox, or a look into a public outbox.
    Stranger,
}

/// Which account pays for a request, and from which of its buckets; none where no account pays.
///
/// A question about the swarm costs no more than the answer, and its asker has paid for that. Of several
/// requests each pays when its turn comes.
pub const fn payer(request: &Request) -> Option<(&AccountId, Side)> {
    match (request, request.account()) {
        (Request::GetSwarm { .. }, _) | (_, None) => None,
        (_, Some(account)) if request.auth().is_none() => Some((account, Side::Stranger)),
        (_, Some(account)) => Some((account, Side::Owner)),
    }
}

impl<K: Copy + Ord + Hash> Admission<K> {
    /// Lets in as much as `rates` say.
    pub const fn new(rates: AdmissionRates) -> Self {
        let Rate { per_second, burst } = rates.neighbour;
        let prefix = Rate {
            per_second: per_second.saturating_mul(NEIGHBOURS_PER_PREFIX),
            burst: burst.saturating_mul(NEIGHBOURS_PER_PREFIX),
        };
        Self {
            rates,
            neighbours: Limiter::new(rates.neighbour, TRACKED),
            prefixes: Limiter::new(prefix, TRACKED),
            owners: Limiter::new(rates.account, TRACKED),
            strangers: Limiter::new(rates.account, TRACKED),
            total: None,
        }
    }

    /// Whether something that a neighbour sent may be looked at; `prefix` is where it comes from, where
    /// that counts.
    pub fn arrive(&mut self, now: Time, neighbour: K, prefix: Option<Prefix>) -> bool {
        // The neighbour pays first, so that one alone cannot use up what belongs to many.
        self.neighbours.take(neighbour, now, 1)
            && prefix.is_none_or(|prefix| self.prefixes.take(prefix, now, 1))
            && self.arrive_unknown(now)
    }

    /// The same for what came through an onion path, whose sender nobody knows: all of it together pays.
    pub fn arrive_unknown(&mut self, now: Time) -> bool {
        let rate = self.rates.total;
        self.total.get_or_insert_with(|| TokenBucket::full(rate, now)).take(rate, now, 1)
    }

    /// Whether a request about an account may come in; its signature, if it has one, was found good.
    pub fn about(&mut self, now: Time, account: &AccountId, side: Side) -> bool {
        match side {
            Side::Owner => self.owners.take(*account, now, 1),
            Side::Stranger => self.strangers.take(*account, now, 1),
        }
    }
}

/// How many of something each of many may hold at once.
///
/// Who holds nothing is forgotten, so that the table is never longer than `total`.
#[derive(Debug)]
pub struct Seats<K> {
    each: usize,
    total: usize,
    /// Of what is left each may hold so small a part; 0 for any.
    part: usize,
    held: usize,
    taken: BTreeMap<K, usize>,
}

impl<K: Copy + Ord> Seats<K> {
    /// At most `each` for one, and `total` for all.
    pub const fn new(each: usize, total: usize) -> Self {
        Self { each, total, part: 0, held: 0, taken: BTreeMap::new() }
    }

    /// The same, of which nobody holds more than a `part`th of what all together leave: many who take what they may
    /// still leave something to the next. One seat is anybody's, as long as there is one.
    #[must_use]
    pub const fn leaving(mut self, part: usize) -> Self {
        self.part = part;
        self
    }

    /// Takes a seat for `key` if there is one.
    pub fn take(&mut self, key: K) -> bool {
        let held = self.taken.get(&key).copied().unwrap_or_default();
        let (held, all) = (held.saturating_add(1), self.held.saturating_add(1));
        if held > self.each || all > self.total {
            return false;
        }
        if held > 1 && held.saturating_mul(self.part) > self.total.saturating_sub(all) {
            return false;
        }
        self.held = all;
        self.taken.insert(key, held);
        true
    }

    /// Gives back a seat that [`Self::take`] gave to `key`.
    pub fn leave(&mut self, key: &K) {
        let Some(held) = self.taken.get_mut(key) else { return };
        self.held = self.held.saturating_sub(1);
        *held = held.saturating_sub(1);
        if *held == 0 {
            self.taken.remove(key);
        }
    }

    /// How many are held.
    pub const fn held(&self) -> usize {
        self.held
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

    const ACCOUNT: AccountId = AccountId::from_bytes([5; 33]);
    const HERE: Prefix = Prefix::V4([127, 0, 1]);

    fn tight(neighbour: u32, account: u32, total: u32) -> Admission<u32> {
        let rate = |burst| Rate { per_second: 1, burst };
        Admission::new(AdmissionRates {
            neighbour: rate(neighbour),
            account: rate(account),
            total: rate(total),
        })
    }

    #[test]
    fn strangers_do_not_use_up_what_the_owner_may_ask() {
        let mut admission = tight(100, 2, 100);
        let fill = |admission: &mut Admission<u32>, side| {
            (0..9).filter(|_| admission.about(Time::ZERO, &ACCOUNT, side)).count()
        };
        assert_eq!(fill(&mut admission, Side::Stranger), 2);
        assert_eq!(fill(&mut admission, Side::Owner), 2, "a bucket of its own");
    }

    #[test]
    fn new_names_at_one_address_gain_nothing() {
        let mut admission = tight(1, 1, 1_000);
        let admitted = (0..100).filter(|name| admission.arrive(Time::ZERO, *name, Some(HERE))).count();
        assert_eq!(admitted, NEIGHBOURS_PER_PREFIX as usize);
        assert!(admission.arrive(Time::ZERO, 100, Some(Prefix::V4([127, 0, 2]))), "elsewhere it goes on");
        assert!(admission.arrive(Time::ZERO, 101, None), "where addresses do not count");
    }

    #[test]
    fn all_together_have_a_limit() {
        let mut admission = tight(1, 1, 5);
        assert_eq!((0..100).filter(|name| admission.arrive(Time::ZERO, *name, None)).count(), 5);
    }

    #[test]
    fn many_who_take_all_they_may_leave_some_to_the_next() {
        let mut seats = Seats::new(64, 512).leaving(4);
        let mut fill = |key| (0..1_000).filter(|_| seats.take(key)).count();
        assert_eq!([1, 2, 3, 4].map(&mut fill), [64; 4]);
        let more: usize = (5..9).map(&mut fill).sum();
        assert!(more < 160, "eight have {}", 256 + more);
        assert!(fill(9) > 16, "the ninth has some");
        // And many more have one.
        for key in 10..1_000 {
            fill(key);
        }
        assert_eq!(seats.held(), 512);
        for key in 1..9 {
            (0..64).for_each(|_| seats.leave(&key));
        }
        assert!(seats.take(9) && seats.take(9));
    }

    #[test]
    fn seats_are_counted_for_each_and_in_all() {
        let mut seats = Seats::new(2, 3);
        assert_eq!([7, 7, 7, 8, 9].map(|key| seats.take(key)), [true, true, false, true, false]);
        seats.leave(&7);
        seats.leave(&9);
        assert_eq!((seats.held(), seats.take(9), seats.take(7)), (2, true, false));
        for key in [7, 8, 9] {
            seats.leave(&key);
        }
        assert_eq!((seats.held(), seats.taken.len()), (0, 0), "nobody is remembered");
    }
}
