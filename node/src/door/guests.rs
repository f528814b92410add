//! Who is connected, who asks how often, and who holds how much memory.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use session_protocols::{
    Span, Time,
    limits::{Rate, Seats, TokenBucket},
};
use tokio::sync::Notify;

use super::Limits;
use crate::seat::{Seat, SharedSeats};

/// A client's address as it is counted: whoever has a /64 of IPv6 has all of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address(IpAddr);

impl Address {
    pub(super) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }

    /// The network of an address of IPv6, which one client may have; none of IPv4.
    fn network(self) -> Option<[u16; 3]> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => {
                let [a, b, c, ..] = ip.segments();
                Some([a, b, c])
            }
        }
    }

    /// One that stands for all of them.
    pub(super) const fn ip(self) -> IpAddr {
        self.0
    }
}

/// Who asked lately, and how often.
#[derive(Debug)]
pub(super) struct Clients {
    rate: Rate,
    limits: Limits,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    buckets: BTreeMap<Address, (TokenBucket, Time)>,
    /// How many addresses of a network are among them.
    networks: BTreeMap<[u16; 3], usize>,
    swept: Time,
}

impl Clients {
    /// Counts something that each may do so often.
    pub(super) fn new(rate: Rate, limits: Limits) -> Self {
        Self { rate, limits, table: Mutex::default() }
    }

    /// Whether a client may do it at `now`.
    pub(super) fn may(&self, address: Address, now: Time) -> bool {
        let Self { rate, limits, .. } = *self;
        let mut table = lock(&self.table);
        if !table.buckets.contains_key(&address) {
            if !table.has_room(address, limits) {
                table.sweep(now, rate.burst / rate.per_second.max(1));
            }
            if !table.has_room(address, limits) {
                return false;
            }
            if let Some(network) = address.network() {
                *table.networks.entry(network).or_default() += 1;
            }
            table.buckets.insert(address, (TokenBucket::full(rate, now), now));
        }
        let Some((bucket, used)) = table.buckets.get_mut(&address) else { return false };
        *used = now;
        bucket.take(rate, now, 1)
    }
}

impl Table {
    /// Whether another address may be counted.
    fn has_room(&self, address: Address, limits: Limits) -> bool {
        let of_network = address.network().and_then(|network| self.networks.get(&network).copied());
        self.buckets.len() < limits.tracked && of_network.unwrap_or_default() < limits.tracked_each
    }

    /// Forgets those whose buckets are full again: after so many seconds all are. Once in such a time, as each
    /// look is at all of them.
    fn sweep(&mut self, now: Time, seconds: u32) {
        let full = Span::secs(u64::from(seconds) + 1);
        if now < self.swept.after(full) && self.swept <= now {
            return;
        }
        self.swept = now;
        let Self { buckets, networks, .. } = self;
        buckets.retain(|_, (_, used)| now < used.after(full) && *used <= now);
        networks.clear();
        for network in buckets.keys().filter_map(|address| address.network()) {
            *networks.entry(network).or_default() += 1;
        }
    }
}

/// Memory that requests and answers hold, in units.
#[derive(Clone, Debug)]
pub(super) struct Memory<K>(SharedSeats<K>);

/// Bytes of a unit.
const UNIT: usize = 16 << 10;

/// Of what is left, the part that one may hold: nobody's share is the next one's want.
pub(super) const PART: usize = 4;

/// Some of it, held for one of those who share it.
#[derive(Debug)]
pub(super) struct Held<K: Copy + Ord> {
    memory: Memory<K>,
    key: K,
    bytes: usize,
    units: Vec<Seat<K>>,
}

impl<K: Copy + Ord> Memory<K> {
    /// At most so many bytes for each, and in all.
    pub(super) fn new(each: usize, total: usize) -> Self {
        let seats = Seats::new(each.div_ceil(UNIT), total.div_ceil(UNIT));
        Self(Arc::new(Mutex::new(seats)))
    }

    /// The same, of which nobody holds more than a [`PART`]th of what all leave.
    pub(super) fn fair(each: usize, total: usize) -> Self {
        let seats = Seats::new(each.div_ceil(UNIT), total.div_ceil(UNIT)).leaving(PART);
        Self(Arc::new(Mutex::new(seats)))
    }

    /// Nothing yet, for one of them.
    pub(super) fn hold(&self, key: K) -> Held<K> {
        Held { memory: Self(Arc::clone(&self.0)), key, bytes: 0, units: Vec::new() }
    }
}

impl<K: Copy + Ord> Held<K> {
    /// Holds enough for so many bytes, if there is room.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        while self.units.len() * UNIT < bytes {
            let Some(unit) = Seat::take(&self.memory.0, self.key) else { return false };
            self.units.push(unit);
        }
        self.bytes = self.bytes.max(bytes);
        true
    }

    /// Nothing yet, for the same one.
    pub(super) fn beside(&self) -> Self {
        self.memory.hold(self.key)
    }

    /// Holds enough for so many bytes more, if there is room.
    pub(super) fn add(&mut self, bytes: usize) -> bool {
        self.grow(self.bytes.saturating_add(bytes))
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) ip: IpAddr,
    pub(super) address: Address,
    /// Requests that have come over it.
    asked: AtomicUsize,
    /// Those that the door works on.
    busy: AtomicUsize,
    /// Told when it is to make room.
    leave: Notify,
}

impl Guest {
    /// Notes that a request has come.
    pub(super) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have come; none when one of them is worked on.
    pub(super) fn idle_since(&self) -> Option<usize> {
        let idle = self.busy.load(Ordering::Relaxed) == 0;
        idle.then(|| self.asked.load(Ordering::Relaxed))
    }

    /// Notes that a request is worked on while this is held.
    pub(super) fn work(self: &Arc<Self>) -> Working {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Working(Arc::clone(self))
    }

    /// Completes when it is to make room.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

/// A request that is worked on.
#[derive(Debug)]
pub(super) struct Working(Arc<Guest>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who is connected, in the order of their coming.
#[derive(Debug)]
pub(super) struct Guests {
    limits: Limits,
    table: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    guests: BTreeMap<u64, Arc<Guest>>,
    each: BTreeMap<Address, usize>,
    next: u64,
}

/// A place among them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    guests: Arc<Guests>,
    number: u64,
    pub(super) guest: Arc<Guest>,
}

impl Guests {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, table: Mutex::default() })
    }

    /// Lets somebody in. At a limit the oldest connection that waits for its client makes room: of the same
    /// address, where that one's limit is reached. None where none waits.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let address = Address::of(ip);
        let mut present = lock(&self.table);
        let each = present.each.get(&address).copied().unwrap_or_default();
        if each >= self.limits.connections_each {
            present.make_room(Some(address))?;
        }
        if present.guests.len() >= self.limits.connections {
            present.make_room(None)?;
        }
        let number = present.next;
        present.next = number.wrapping_add(1);
        let guest = Guest {
            ip,
            address,
            asked: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            leave: Notify::new(),
        };
        let guest = Arc::new(guest);
        present.guests.insert(number, Arc::clone(&guest));
        *present.each.entry(address).or_default() += 1;
        Some(Place { guests: Arc::clone(self), number, guest })
    }
}

impl Present {
    fn make_room(&mut self, of: Option<Address>) -> Option<()> {
        let waits =
            |guest: &Guest| guest.idle_since().is_some() && of.is_none_or(|address| guest.address == address);
        let number = self.guests.iter().find(|(_, guest)| waits(guest)).map(|(number, _)| *number)?;
        let guest = self.forget(number)?;
        guest.leave.notify_one();
        Some(())
    }

    fn forget(&mut self, number: u64) -> Option<Arc<Guest>> {
        let guest = self.guests.remove(&number)?;
        if let Some(each) = self.each.get_mut(&guest.address) {
            *each -= 1;
            if *each == 0 {
                self.each.remove(&guest.address);
            }
        }
        Some(guest)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.guests.table).forget(self.number);
    }
}

/// What a lock guards.
pub(super) fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const NOW: Time = Time::from_millis(1_000_000);

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn limits() -> Limits {
        Limits {
            rate: Rate { per_second: 2, burst: 4 },
            tracked: 3,
            connections: 4,
            connections_each: 2,
            ..Limits::default()
        }
    }

    #[test]
    fn who_has_many_addresses_of_one_network_is_one_client() {
        let of = |text: &str| Address::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn a_client_asks_as_often_as_it_may_and_no_new_one_is_taken_on_beyond_the_table() {
        let clients = Clients::new(limits().rate, limits());
        let ask = |last, now| clients.may(Address::of(ip(last)), now);
        assert_eq!([0; 5].map(|_| ask(1, NOW)), [true, true, true, true, false]);
        assert!(ask(2, NOW) && ask(3, NOW));
        assert!(!ask(4, NOW), "nobody else is taken on");
        let later = NOW.after(Span::secs(1));
        assert_eq!([0; 3].map(|_| ask(1, later)), [true, true, false]);
        assert!(!ask(4, later));
        // Full again, so that nothing is lost by forgetting them.
        let later = NOW.after(Span::millis(3_500));
        assert!(ask(4, later));
        assert_eq!(lock(&clients.table).buckets.len(), 2, "who asked since is still known");
        for last in 5..255 {
            ask(last, later);
        }
        assert_eq!(lock(&clients.table).buckets.len(), 3);
    }

    #[test]
    fn who_has_a_network_of_many_addresses_keeps_nobody_else_out() {
        let limits = Limits { tracked: 100, tracked_each: 10, ..limits() };
        let clients = Clients::new(limits.rate, limits);
        let address =
            |network: u16, of: u16| Address::of(Ipv6Addr::new(0x2001, 0xdb8, network, of, 0, 0, 0, 1).into());
        let counted = |network, first: u16, now| {
            (first..first + 1_000).filter(|of| clients.may(address(network, *of), now)).count()
        };
        assert_eq!(counted(1, 0, NOW), 10);
        assert!(clients.may(address(1, 0), NOW), "who is counted goes on");
        assert_eq!(counted(2, 0, NOW), 10);
        assert!(clients.may(Address::of(ip(1)), NOW));
        // When they have been silent for long others of the network have their turn, and as many.
        assert_eq!(counted(1, 1_000, NOW.after(Span::secs(10))), 10);
        assert_eq!(lock(&clients.table).networks.len(), 1);
    }

    #[test]
    fn memory_is_bounded_for_each_and_in_all() {
        let memory = Memory::new(4 * UNIT, 8 * UNIT);
        let [mut one, mut two, mut three] = [1, 2, 3].map(|last| memory.hold(Address::of(ip(last))));
        assert!(one.grow(4 * UNIT) && one.grow(1) && !one.grow(4 * UNIT + 1));
        assert!(two.grow(3 * UNIT) && three.grow(UNIT) && !three.grow(UNIT + 1));
        assert!(!memory.hold(Address::of(ip(1))).grow(1), "all connections of one address share");
        drop(one);
        assert!(three.grow(4 * UNIT));
    }

    #[test]
    fn many_who_hold_all_they_may_leave_a_long_request_to_the_next() {
        let Limits { memory_each, memory, body, .. } = Limits::default();
        let memory = Memory::fair(memory_each, memory);
        let mut greedy = [0; 8].map(|_| Vec::new());
        for (last, held) in (1..).zip(&mut greedy) {
            loop {
                let mut request = memory.hold(Address::of(ip(last)));
                if !request.grow(UNIT) {
                    break;
                }
                held.push(request);
            }
        }
        assert_eq!(greedy[0].len() * UNIT, memory_each);
        assert!(memory.hold(Address::of(ip(9))).grow(body));
    }

    #[test]
    fn the_oldest_that_waits_makes_room_and_none_that_is_served() {
        let guests = Guests::new(limits());
        let told = |place: &Place| place.guest.told_to_leave().now_or_never().is_some();
        let (first, second) = (guests.enter(ip(1)).unwrap(), guests.enter(ip(1)).unwrap());
        let working = first.guest.work();
        let third = guests.enter(ip(1)).unwrap();
        assert!(!told(&first) && told(&second), "the first is served");
        let also = third.guest.work();
        assert!(guests.enter(ip(1)).is_none(), "both are served");
        drop(working);
        let others = [2, 3].map(|last| guests.enter(ip(last)).unwrap());
        let last = guests.enter(ip(4)).unwrap();
        assert!(told(&first) && others.iter().all(|place| !told(place)), "the oldest of all");
        drop((first, second, third, also, others, last));
        let present = lock(&guests.table);
        assert_eq!((present.guests.len(), present.each.len()), (0, 0));
    }
}
