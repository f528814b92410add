//! Whose requests for a dial back are served.
//!
//! An identity costs nothing: strangers are counted by the prefix that they come from, and have no places of those of
//! the network's nodes. Whoever has not said all that it was to say makes room for whoever comes behind it, so that
//! nobody is kept from being dialled by many that say nothing; a dial that is under way goes on.

use std::collections::VecDeque;

use futures::future::{AbortHandle, AbortRegistration};
use libp2p::PeerId;
use session_protocols::Prefix;

/// How many requests of strangers are served at once.
const MAX_OF_STRANGERS: usize = 24;
/// Of these for one prefix: a newcomer asks about two addresses at once.
const MAX_OF_PREFIX: usize = 4;
/// How many of nodes are served beside them.
const MAX_OF_NODES: usize = 32;
/// Of these for one node.
const MAX_OF_NODE: usize = 8;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A node of the network, or anybody in a network that is all on one machine.
    Node(PeerId),
    /// Somebody from there.
    Stranger(Prefix),
}

/// Those that are served.
#[derive(Debug, Default)]
pub(super) struct Served {
    count: u64,
    /// The oldest first.
    all: VecDeque<Request>,
}

#[derive(Debug)]
struct Request {
    number: u64,
    asker: Asker,
    /// Ends the reading; none once the dial is under way.
    stop: Option<AbortHandle>,
}

impl Served {
    /// Gives a place to whoever asks; in a crowd that of whoever has been silent longest, or none where nobody is.
    /// Reading ends when that is taken.
    pub(super) fn admit(&mut self, asker: Asker) -> Option<(u64, AbortRegistration)> {
        let is_node = matches!(asker, Asker::Node(_));
        let (most, whole) =
            if is_node { (MAX_OF_NODE, MAX_OF_NODES) } else { (MAX_OF_PREFIX, MAX_OF_STRANGERS) };
        let same = |one: &Request| one.asker == asker;
        let akin = |one: &Request| matches!(one.asker, Asker::Node(_)) == is_node;
        if self.all.iter().filter(|one| same(one)).count() >= most {
            self.evict(same)?;
        } else if self.all.iter().filter(|one| akin(one)).count() >= whole {
            self.evict(akin)?;
        }
        self.count = self.count.wrapping_add(1);
        let (stop, stopped) = AbortHandle::new_pair();
        self.all.push_back(Request { number: self.count, asker, stop: Some(stop) });
        Some((self.count, stopped))
    }

    /// All was said that was to be said: the dial is under way, unless the place was taken.
    pub(super) fn dials(&mut self, number: u64) -> bool {
        let request = self.all.iter_mut().find(|one| one.number == number);
        request.map(|request| request.stop = None).is_some()
    }

    /// Takes back a place.
    pub(super) fn end(&mut self, number: u64) {
        self.all.retain(|one| one.number != number);
    }

    /// Takes the place of whoever among these has been silent longest, if one is.
    fn evict(&mut self, among: impl Fn(&Request) -> bool) -> Option<()> {
        let at = self.all.iter().position(|one| one.stop.is_some() && among(one))?;
        self.all.remove(at)?.stop?.abort();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use futures::{
        FutureExt,
        future::{Abortable, pending},
    };

    use super::*;

    fn from(prefix: u8) -> Asker {
        Asker::Stranger(Prefix::V4([45, 1, prefix]))
    }

    #[test]
    fn one_host_keeps_nobody_from_being_dialled() {
        let mut served = Served::default();
        let mut silent: Vec<_> =
            (0..1_000).map(|_| Abortable::new(pending::<()>(), served.admit(from(1)).unwrap().1)).collect();
        assert_eq!(served.all.len(), MAX_OF_PREFIX, "one prefix has its share");
        let ended = silent.iter_mut().filter_map(|reading| reading.now_or_never()).count();
        assert_eq!(ended, silent.len() - MAX_OF_PREFIX, "whoever has lost its place is read from no more");
        for prefix in 2..100 {
            let (number, _) = served.admit(from(prefix)).unwrap();
            assert!(served.all.len() <= MAX_OF_STRANGERS);
            if prefix % 2 == 0 {
                assert!(served.dials(number), "the newest is not evicted");
                served.end(number);
                assert!(!served.dials(number));
            }
        }
    }

    #[test]
    fn a_dial_that_is_under_way_goes_on_and_its_prefix_waits() {
        let mut served = Served::default();
        for _ in 0..MAX_OF_PREFIX {
            let (number, _) = served.admit(from(1)).unwrap();
            assert!(served.dials(number));
        }
        assert!(served.admit(from(1)).is_none());
        let (late, _) = served.admit(from(2)).unwrap();
        for _ in 0..MAX_OF_PREFIX {
            served.admit(from(2)).unwrap();
        }
        assert!(!served.dials(late), "its place was taken");
        assert_eq!(served.all.len(), 2 * MAX_OF_PREFIX);
    }

    #[test]
    fn strangers_take_no_place_of_a_node() {
        let mut served = Served::default();
        for prefix in 0..=u8::MAX {
            if let Some((number, _)) = served.admit(from(prefix)) {
                served.dials(number);
            }
        }
        assert_eq!(served.all.len(), MAX_OF_STRANGERS, "all are dialled");
        assert!(served.admit(from(0)).is_none());
        let nodes: Vec<_> = (0..MAX_OF_NODES).map(|_| Asker::Node(PeerId::random())).collect();
        for node in &nodes {
            let (number, _) = served.admit(*node).unwrap();
            assert!(served.dials(number));
        }
        assert!(served.admit(nodes[0]).is_none());
        assert_eq!(served.all.len(), MAX_OF_STRANGERS + MAX_OF_NODES);
    }
}
