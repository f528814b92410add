//! How many bytes wait in memory, over all links of a host.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that may be held, and that are. A part of it is charged to it, too. Clones are one.
#[derive(Clone, Debug)]
pub struct Backlog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    held: AtomicUsize,
    whole: Option<Backlog>,
}

impl Backlog {
    /// At most so many bytes.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, held: AtomicUsize::new(0), whole: None }))
    }

    /// A part for one of many: at most so many bytes, and no more than it leaves to all others.
    #[must_use]
    pub fn part(&self, most: usize) -> Self {
        Self(Arc::new(Inner { most, held: AtomicUsize::new(0), whole: Some(self.clone()) }))
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Whether the two are one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the other is a part of this.
    pub fn is_whole_of(&self, part: &Self) -> bool {
        part.0.whole.as_ref().is_some_and(|whole| whole.is(self))
    }

    /// Whether somebody beside the caller has it.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Charges nothing yet.
    pub(super) fn open(&self) -> Charge {
        Charge { on: self.clone(), bytes: 0 }
    }

    /// Charges so many bytes, until the charge is dropped; none when there is no room.
    pub(super) fn take(&self, bytes: usize) -> Option<Charge> {
        let mut charge = self.open();
        charge.grow(bytes).then_some(charge)
    }

    /// Counts first and looks then: of two that come at once both may be turned away, but they never get
    /// past the bound together.
    fn add(&self, bytes: usize) -> bool {
        let Inner { most, held, whole } = &*self.0;
        let held = held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let whole = whole.as_ref().is_none_or(|whole| {
            let fits = whole.add(bytes);
            fits && held <= whole.0.most.saturating_sub(whole.held())
        });
        whole && held <= *most
    }

    fn give_back(&self, bytes: usize) {
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.give_back(bytes);
        }
    }
}

/// Bytes that are counted for as long as it lives.
#[derive(Debug)]
pub(super) struct Charge {
    on: Backlog,
    bytes: usize,
}

impl Charge {
    /// Charges as many more; false when there is no room. What was charged before stays.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.on.add(bytes);
        if fits {
            self.bytes = self.bytes.saturating_add(bytes);
        } else {
            self.on.give_back(bytes);
        }
        fits
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.on.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_leaves_as_much_as_it_takes() {
        let all = Backlog::new(100);
        let (one, other) = (all.part(usize::MAX), all.part(usize::MAX));
        let most = one.take(50).unwrap();
        assert!(one.take(1).is_none(), "half is the most for one");
        let more = other.take(25).unwrap();
        assert!(other.take(1).is_none(), "and half of what is left for the next");
        assert_eq!(all.held(), 75, "what was turned away is not counted");
        assert!(one.open().grow(0) || one.held() == 50, "who has its share may still hold nothing more");
        drop(most);
        assert!(other.take(25).is_some(), "there is room again");
        drop(more);
        assert_eq!(all.held(), 0);
    }

    #[test]
    fn many_links_of_one_are_one() {
        let all = Backlog::new(1_000);
        let neighbour = all.part(100);
        let links: Vec<_> = (0..8).map(|_| neighbour.part(usize::MAX)).collect();
        let held: Vec<_> = links.iter().flat_map(|link| (0..100).map_while(|_| link.take(1))).collect();
        assert!(held.len() <= 100 && all.held() == held.len(), "{}", held.len());
        assert!(all.part(100).take(50).is_some(), "the next has room");
        drop(held);
        assert_eq!((neighbour.held(), all.held()), (0, 0));
    }
}
