//! Who asks the faucet: from where, how many at once, and how often.
//!
//! What counts is where a request comes from, and not what it says: nobody uses up what is another's.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{extract::connect_info::Connected, http::HeaderMap, serve::IncomingStream};
use session_node::{Bounded, Work};
use session_protocols::Prefix;

use super::faucet::{Refused, busy};

/// Requests that are served or wait; more are refused.
const AT_ONCE: usize = 16;
/// Those of one prefix.
const A_PREFIX: usize = 2;
/// How long a prefix waits until something is dialled for it again.
const PAUSE: Duration = Duration::from_secs(60);
/// Prefixes that something was dialled for in that time; more are refused.
const MAX_TRIED: usize = 4_096;

/// Where a connection comes from, and what is worked on for it: it may take longer than a silence.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    address: SocketAddr,
    pub(super) work: Work,
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self { address: *stream.remote_addr(), work: stream.io().work() }
    }
}

impl Peer {
    /// The prefix of whoever asks: behind a server on this machine of the address that it saw. What connects from this
    /// machine to one of its `own` addresses comes from that address, and nothing else does.
    pub(super) fn prefix(&self, headers: &HeaderMap, own: &[IpAddr]) -> Prefix {
        let ip = self.address.ip().to_canonical();
        let is_here = ip.is_loopback() || own.iter().any(|own| own.to_canonical() == ip);
        // Whoever asks may have sent some before: the server's is the last.
        let said = headers.get_all("x-forwarded-for").iter().next_back();
        let seen = said.and_then(|it| it.to_str().ok()?.rsplit(',').next()).filter(|_| is_here);
        let seen = seen.and_then(|text| text.trim().parse::<IpAddr>().ok());
        Prefix::of(seen.map_or(ip, |seen| seen.to_canonical()))
    }
}

/// Those who are served, and those who tried.
#[derive(Debug, Default)]
pub(super) struct Callers {
    served: Mutex<BTreeMap<Prefix, usize>>,
    tried: Mutex<BTreeMap<Prefix, Instant>>,
}

/// A place among those who are served, for as long as this lives.
#[derive(Debug)]
pub(super) struct Place<'a> {
    callers: &'a Callers,
    prefix: Prefix,
}

impl Callers {
    /// Gives a prefix a place, unless it has its share or there is none.
    pub(super) fn enter(&self, prefix: Prefix) -> Result<Place<'_>, Refused> {
        let mut served = lock(&self.served);
        let own = served.get(&prefix).copied().unwrap_or_default();
        if own >= A_PREFIX || served.values().sum::<usize>() >= AT_ONCE {
            return Err(busy("many ask at once"));
        }
        served.insert(prefix, own + 1);
        Ok(Place { callers: self, prefix })
    }

    /// Lets a prefix try once a minute: nobody looks around the internet through the faucet.
    pub(super) fn attempt(&self, prefix: Prefix) -> Result<(), Refused> {
        let mut tried = lock(&self.tried);
        tried.retain(|_, when| when.elapsed() < PAUSE);
        if tried.contains_key(&prefix) {
            return Err(busy(&format!("somebody in {prefix} asked less than a minute ago")));
        }
        if tried.len() >= MAX_TRIED {
            return Err(busy("many ask at once"));
        }
        tried.insert(prefix, Instant::now());
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut served = lock(&self.callers.served);
        match served.get(&self.prefix).copied() {
            Some(own) if own > 1 => served.insert(self.prefix, own - 1),
            Some(_) | None => served.remove(&self.prefix),
        };
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(ip: &str) -> Prefix {
        Prefix::of(ip.parse().unwrap())
    }

    #[test]
    fn whoever_asks_through_a_server_here_is_told_apart_and_nobody_else_says_where_they_are() {
        let own: Vec<IpAddr> = vec!["203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let seen = |ip: &str, said: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append("x-forwarded-for", said.parse().unwrap());
            }
            let address = SocketAddr::new(ip.parse().unwrap(), 1);
            Peer { address, work: Work::default() }.prefix(&headers, &own).to_string()
        };
        for server in ["127.0.0.1", "203.0.113.7", "::ffff:203.0.113.7", "2001:db8::7"] {
            assert_eq!(seen(server, &["198.51.100.1, 192.0.2.9"]), "192.0.2.0/24", "{server}");
            assert_eq!(seen(server, &["198.51.100.1", "192.0.2.9"]), "192.0.2.0/24", "{server}");
        }
        assert_eq!(seen("203.0.113.7", &["who knows"]), "203.0.113.0/24");
        assert_eq!(seen("203.0.113.7", &[]), "203.0.113.0/24");
        assert_eq!(seen("203.0.113.8", &["198.51.100.1"]), "203.0.113.0/24", "not this machine");
    }

    #[test]
    fn no_prefix_takes_all_places_and_each_comes_free() {
        let callers = Callers::default();
        let one = prefix("203.0.113.1");
        let mut places: Vec<_> = (0..A_PREFIX).map(|_| callers.enter(one).ok().unwrap()).collect();
        assert!(callers.enter(one).is_err(), "it has its share");
        for number in 1..AT_ONCE / A_PREFIX {
            let other = prefix(&format!("10.0.{number}.1"));
            places.extend((0..A_PREFIX).map(|_| callers.enter(other).ok().unwrap()));
        }
        let last = prefix("198.51.100.1");
        assert!(callers.enter(last).is_err(), "all are taken");
        drop(places.remove(0));
        let place = callers.enter(last).ok().unwrap();
        assert!(callers.enter(one).is_err(), "all are taken again");
        drop(place);
        let again = callers.enter(one);
        assert!(again.is_ok());
        drop((again, places));
        assert!(lock(&callers.served).is_empty());
    }

    #[test]
    fn who_tries_uses_up_the_minute_of_its_own_prefix_alone() {
        let callers = Callers::default();
        assert!(callers.attempt(prefix("203.0.113.1")).is_ok());
        assert!(callers.attempt(prefix("203.0.113.2")).is_err());
        assert!(callers.attempt(prefix("198.51.100.1")).is_ok());
        for number in 2..MAX_TRIED {
            let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
            assert!(callers.attempt(prefix(&format!("10.{high}.{low}.1"))).is_ok());
        }
        assert!(callers.attempt(prefix("192.0.2.1")).is_err(), "nobody makes it remember more");
    }
}
