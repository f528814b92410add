//! What a finished handshake leaves at a hop: sessions, in a table that cannot grow, and the window
//! in which their packets may come in any order, but once.

use core::fmt;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    layer::{MAX_NUMBER, SessionId, SessionKeys},
    relay::Neighbour,
    shares::Shares,
    size::NUMBER,
};
use crate::{Span, Time, mutants};

/// Sessions that a hop keeps at once, shared out as [`super::shares`] says. Each takes about 1.5 KiB.
pub const MAX_SESSIONS: usize = 16_384;
/// How long a session lives: a little longer than any path.
pub const LIFETIME: Span = Span::secs(660);
/// Packets that may be late: one that is older than so many after it is refused.
pub const WINDOW: u64 = 1_024;

const WORDS: usize = (WINDOW / 64) as usize;

/// Which numbers have come. The first packet had number 0.
#[derive(Clone, Debug)]
pub struct Window {
    highest: u64,
    /// One bit for each number of the window, at the number modulo [`WINDOW`].
    seen: [u64; WORDS],
}

impl Default for Window {
    fn default() -> Self {
        let mut seen = [0; WORDS];
        seen[0] = 1;
        Self { highest: 0, seen }
    }
}

impl Window {
    /// Whether a number may still come: it is new, and not too late.
    pub fn allows(&self, number: u64) -> bool {
        if number > MAX_NUMBER {
            return false;
        }
        if mutants::on("session-window") {
            return true;
        }
        number > self.highest || (self.highest.saturating_sub(number) < WINDOW && !self.has(number))
    }

    /// Takes a number in, whose packet was authentic. False if it may not come.
    pub fn take(&mut self, number: u64) -> bool {
        if !self.allows(number) {
            return false;
        }
        if number.saturating_sub(self.highest) >= WINDOW {
            self.seen = [0; WORDS];
        } else {
            for skipped in self.highest.saturating_add(1)..number {
                self.set(skipped, false);
            }
        }
        self.highest = self.highest.max(number);
        self.set(number, true);
        true
    }

    fn has(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, number: u64, to: bool) {
        let (word, bit) = place(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word = if to { *word | bit } else { *word & !bit };
        }
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    (usize::try_from(at / 64).unwrap_or_default(), 1 << (at % 64))
}

/// The sessions of a hop, and whose they are.
pub struct Sessions<K> {
    shares: Shares<K>,
    /// Small keys and values: each packet is looked up twice among thousands.
    kept: BTreeMap<Place, Box<Kept<K>>>,
    ends: BTreeSet<(Time, Place)>,
}

/// A session's id as a number, which is compared at once and not byte by byte.
type Place = u64;

struct Kept<K> {
    keys: Arc<SessionKeys>,
    window: Window,
    owner: Neighbour<K>,
    end: Time,
}

impl<K: Copy + Ord> Sessions<K> {
    /// An empty table for at most so many.
    pub const fn new(capacity: usize) -> Self {
        Self { shares: Shares::new(capacity), kept: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether a neighbour may have another one.
    pub(super) fn has_room(&self, owner: Neighbour<K>) -> bool {
        self.shares.has_room(owner)
    }

    /// Keeps a session for [`LIFETIME`]. An id that is taken, or no room, leaves all as it was.
    pub(super) fn keep(
        &mut self,
        now: Time,
        id: SessionId,
        owner: Neighbour<K>,
        keys: Arc<SessionKeys>,
    ) -> bool {
        let at = place_of(id);
        if id == SessionId::NONE || self.kept.contains_key(&at) || !self.shares.take(owner) {
            return false;
        }
        let end = now.after(if mutants::on("session-endless") { Span::days(1) } else { LIFETIME });
        self.kept.insert(at, Box::new(Kept { keys, window: Window::default(), owner, end }));
        self.ends.insert((end, at));
        true
    }

    /// The keys and the number of a packet from `from`, if it may come. Only the neighbour that made
    /// the session uses it.
    pub(super) fn find(
        &self,
        from: K,
        id: SessionId,
        masked: [u8; NUMBER],
        packet: &[u8],
    ) -> Option<(Arc<SessionKeys>, u64)> {
        let own = |kept: &&Kept<K>| kept.owner.key == from || mutants::on("session-anybody");
        let kept = self.kept.get(&place_of(id)).map(Box::as_ref).filter(own)?;
        let number = kept.keys.number(masked, packet)?;
        kept.window.allows(number).then(|| (Arc::clone(&kept.keys), number))
    }

    /// Takes a packet in that was authentic. False if it came before.
    pub(super) fn take(&mut self, id: SessionId, number: u64) -> bool {
        self.kept.get_mut(&place_of(id)).is_some_and(|kept| kept.window.take(number))
    }

    /// Forgets what has ended.
    pub fn expire(&mut self, now: Time) {
        while let Some((_, at)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.pop_first();
            let Some(kept) = self.kept.remove(&at) else { continue };
            debug_assert!(kept.end <= now);
            self.shares.leave(kept.owner);
        }
    }

    /// When the next one ends.
    pub fn deadline(&self) -> Option<Time> {
        self.ends.first().map(|(end, _)| *end)
    }
}

const fn place_of(id: SessionId) -> Place {
    u64::from_be_bytes(id.0)
}

impl<K> fmt::Debug for Sessions<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({}, {:?})", self.kept.len(), self.shares)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_comes_once_and_not_too_late() {
        let mut window = Window::default();
        assert!(!window.take(0), "the first packet was number 0");
        assert!(window.take(1) && !window.take(1));
        assert!(window.take(WINDOW + 1) && window.take(2) && !window.take(1));
        assert!(window.take(5 * WINDOW) && !window.take(4 * WINDOW) && window.take(4 * WINDOW + 1));
        assert!(!window.take(MAX_NUMBER + 1));
    }

    proptest! {
        #[test]
        fn a_window_is_a_set_of_numbers(steps in prop::collection::vec(0_u64..4_096, 1..400)) {
            let (mut window, mut seen) = (Window::default(), BTreeSet::from([0]));
            for number in steps {
                let highest = *seen.last().unwrap();
                let fresh = !seen.contains(&number) && (number > highest || highest - number < WINDOW);
                prop_assert_eq!(window.allows(number), fresh);
                prop_assert_eq!(window.take(number), fresh);
                if fresh {
                    seen.insert(number);
                }
            }
        }
    }
}
