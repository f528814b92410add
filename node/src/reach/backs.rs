//! Who has come over a connection of its own and is to say what it was to say.
//!
//! An honest one says it at once. Whoever stays silent makes room for whoever comes behind it, so that nobody is kept
//! from being heard by many that say nothing.

use std::collections::VecDeque;

use futures::future::{AbortHandle, AbortRegistration};
use libp2p::PeerId;

use super::arrivals::Came;

/// How many are read from at once; each peer has one of these places.
const MAX: usize = 32;
/// Of these for one prefix: a node that is asked about all addresses at once dials from there so often.
const MAX_OF_PREFIX: usize = 8;

/// Those that are read from.
#[derive(Debug, Default)]
pub(super) struct Backs {
    count: u64,
    /// The oldest first.
    heard: VecDeque<Back>,
}

#[derive(Debug)]
struct Back {
    number: u64,
    peer: PeerId,
    came: Came,
    stop: AbortHandle,
}

impl Backs {
    /// Gives a place to whoever has come, unless it has one; in a crowd that of whoever has been silent longest.
    /// Reading ends when that is taken.
    pub(super) fn admit(&mut self, peer: PeerId, came: Came) -> Option<(u64, AbortRegistration)> {
        if self.heard.iter().any(|back| back.peer == peer) {
            return None;
        }
        let beside = |back: &Back| back.came.prefix == came.prefix;
        if self.heard.iter().filter(|back| beside(back)).count() >= MAX_OF_PREFIX {
            let oldest = self.heard.iter().position(beside);
            self.evict(oldest);
        } else if self.heard.len() >= MAX {
            self.evict(Some(0));
        }
        self.count = self.count.wrapping_add(1);
        let (stop, stopped) = AbortHandle::new_pair();
        self.heard.push_back(Back { number: self.count, peer, came, stop });
        Some((self.count, stopped))
    }

    /// Takes back a place; tells whose it was.
    pub(super) fn end(&mut self, number: u64) -> Option<(PeerId, Came)> {
        let at = self.heard.iter().position(|back| back.number == number)?;
        self.heard.remove(at).map(|back| (back.peer, back.came))
    }

    fn evict(&mut self, at: Option<usize>) {
        if let Some(back) = at.and_then(|at| self.heard.remove(at)) {
            back.stop.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{
        FutureExt,
        future::{Abortable, pending},
    };
    use session_protocols::{Prefix, directory::Transport};

    use super::*;

    fn from(prefix: u8) -> Came {
        let prefix = Some(Prefix::V4([45, 1, prefix]));
        Came { number: 0, transport: Transport::Tcp, four: true, prefix }
    }

    #[test]
    fn who_says_nothing_keeps_nobody_from_being_heard() {
        let mut backs = Backs::default();
        let mut silent: Vec<_> = (0..1_000)
            .map(|_| {
                let (_, stopped) = backs.admit(PeerId::random(), from(1)).unwrap();
                Abortable::new(pending::<()>(), stopped)
            })
            .collect();
        assert_eq!(backs.heard.len(), MAX_OF_PREFIX, "one prefix has its share");
        let ended = silent.iter_mut().filter_map(|reading| reading.now_or_never()).count();
        assert_eq!(ended, silent.len() - MAX_OF_PREFIX, "whoever has lost its place is read from no more");
        for prefix in 2..100 {
            let honest = PeerId::random();
            let (number, _) = backs.admit(honest, from(prefix)).unwrap();
            assert!(backs.heard.len() <= MAX);
            assert!(backs.admit(honest, from(prefix)).is_none(), "each has one place");
            assert_eq!(backs.heard.back().map(|back| back.peer), Some(honest), "the newest is not evicted");
            if prefix % 2 == 0 {
                assert_eq!(backs.end(number), Some((honest, from(prefix))));
                assert_eq!(backs.end(number), None);
            }
        }
    }
}
