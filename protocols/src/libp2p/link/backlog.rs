//! How many bytes wait in memory, over all links of a host.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The bytes that the links of one host may hold. Clones count as one.
#[derive(Clone, Debug)]
pub struct Backlog {
    most: usize,
    held: Arc<AtomicUsize>,
}

impl Backlog {
    /// At most so many bytes. One link alone gets half of them: it may hold no more than it leaves.
    pub fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// How many bytes wait.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// One link's part of it.
    pub(super) fn share(&self) -> Share {
        Share { all: self.clone(), own: Arc::default() }
    }
}

/// What one link holds of a [`Backlog`]. Clones count as one.
#[derive(Clone, Debug)]
pub(super) struct Share {
    all: Backlog,
    own: Arc<AtomicUsize>,
}

impl Share {
    /// Charges the link with so many bytes, until the charge is dropped; none when there is no room.
    pub(super) fn take(&self, bytes: usize) -> Option<Charge> {
        let mut charge = Charge { share: self.clone(), bytes: 0 };
        charge.grow(bytes).then_some(charge)
    }

    fn give_back(&self, bytes: usize) {
        self.all.held.fetch_sub(bytes, Ordering::Relaxed);
        self.own.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes that are counted for as long as it lives.
#[derive(Debug)]
pub(super) struct Charge {
    share: Share,
    bytes: usize,
}

impl Charge {
    /// Charges as many more; false when there is no room. What was charged before stays.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let Share { all, own } = &self.share;
        // Counted first and looked at then: of two that come at once both may be turned away, but they
        // never get past the bound together.
        let held = all.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let ours = own.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let fits = all.most.checked_sub(held).is_some_and(|left| ours <= left);
        if fits {
            self.bytes = self.bytes.saturating_add(bytes);
        } else {
            self.share.give_back(bytes);
        }
        fits
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.share.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_link_leaves_as_much_as_it_takes() {
        let backlog = Backlog::new(100);
        let (one, other) = (backlog.share(), backlog.share());
        let most = one.take(50).unwrap();
        assert!(one.take(1).is_none(), "half is the most for one");
        let more = other.take(25).unwrap();
        assert!(other.take(1).is_none(), "and half of what is left for the next");
        assert_eq!(backlog.held(), 75, "what was turned away is not counted");
        drop(most);
        assert!(other.take(25).is_some(), "there is room again");
        drop(more);
        assert_eq!(backlog.held(), 0);
    }
}
