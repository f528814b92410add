//! How many requests of one link are under way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{
    future::poll_fn,
    task::{AtomicWaker, Poll},
};

/// Slots for requests, all of which the one who reads them hands out.
#[derive(Debug)]
pub(super) struct Window(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: AtomicUsize,
    /// Who waits for one.
    reader: AtomicWaker,
}

impl Window {
    /// So many; with none at all nothing would ever be read, so there is one at least.
    pub(super) fn new(slots: usize) -> Self {
        let (free, reader) = (AtomicUsize::new(slots.max(1)), AtomicWaker::new());
        Self(Arc::new(Inner { free, reader }))
    }

    /// Takes a slot, as soon as there is one.
    pub(super) async fn slot(&self) -> Slot {
        let Inner { free, reader } = &*self.0;
        let take = || free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1));
        poll_fn(|context| {
            if take().is_err() {
                reader.register(context.waker());
                // One may have been given back just before anybody could be woken.
                if take().is_err() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(Slot(Arc::clone(&self.0)))
        })
        .await
    }
}

/// The place of one request; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot(Arc<Inner>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::AcqRel);
        self.0.reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn there_are_no_more_slots_than_that_and_each_comes_back() {
        let window = Window::new(2);
        let held = [window.slot().now_or_never().unwrap(), window.slot().now_or_never().unwrap()];
        assert!(window.slot().now_or_never().is_none());
        drop(held);
        let (woken, waker) = counting();
        let _one = window.slot().now_or_never().unwrap();
        let other = window.slot().now_or_never().unwrap();
        let mut waits = Box::pin(window.slot());
        assert!(waits.poll_unpin(&mut std::task::Context::from_waker(&waker)).is_pending());
        drop(other);
        assert_eq!(woken.load(Ordering::Acquire), 1, "whoever waits is told");
        assert!(waits.now_or_never().is_some());
        assert!(Window::new(0).slot().now_or_never().is_some());
    }

    /// A waker that counts how often it was used.
    fn counting() -> (Arc<AtomicUsize>, std::task::Waker) {
        struct Count(Arc<AtomicUsize>);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::AcqRel);
            }
        }
        let woken = Arc::new(AtomicUsize::new(0));
        (Arc::clone(&woken), Arc::new(Count(woken)).into())
    }
}
