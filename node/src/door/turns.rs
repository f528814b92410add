//! Whose turn it is to have something done of which little is done at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guests::lock;

/// A few turns at once, of which each of those who ask has a share: whoever asks for more waits behind itself, and is
/// nobody else's delay.
#[derive(Debug)]
pub(super) struct Turns<K: Ord> {
    all: Arc<Semaphore>,
    /// Of those who have turns or wait for some: nobody else is remembered.
    shares: Mutex<BTreeMap<K, Share>>,
}

#[derive(Debug)]
struct Share {
    turns: Arc<Semaphore>,
    /// How many have one of them, or wait.
    users: usize,
}

/// A turn, for as long as this is held.
#[derive(Debug)]
pub(super) struct Turn<'a, K: Ord + Copy> {
    // Given back in this order, so that a share is not forgotten while something of it is held.
    _all: Option<OwnedSemaphorePermit>,
    _own: Option<OwnedSemaphorePermit>,
    _user: User<'a, K>,
}

/// Somebody who has a turn, or waits.
#[derive(Debug)]
struct User<'a, K: Ord + Copy> {
    turns: &'a Turns<K>,
    key: K,
}

impl<K: Ord + Copy> Turns<K> {
    /// So many at once.
    pub(super) fn new(total: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(total)), shares: Mutex::default() }
    }

    /// Waits for a turn of one who has a share of so many, the same each time. Those who have a share free come in the
    /// order of their asking, and as nobody has more than its share among them, the wait is as long as others are many,
    /// however much each of them asks.
    pub(super) async fn take(&self, key: K, share: usize) -> Turn<'_, K> {
        let (own, user) = self.enter(key, share);
        // Neither is ever closed.
        let own = own.acquire_owned().await.ok();
        let all = Arc::clone(&self.all).acquire_owned().await.ok();
        Turn { _all: all, _own: own, _user: user }
    }

    fn enter(&self, key: K, share: usize) -> (Arc<Semaphore>, User<'_, K>) {
        let mut shares = lock(&self.shares);
        let new = || Share { turns: Arc::new(Semaphore::new(share)), users: 0 };
        let share = shares.entry(key).or_insert_with(new);
        share.users += 1;
        (Arc::clone(&share.turns), User { turns: self, key })
    }
}

impl<K: Ord + Copy> Drop for User<'_, K> {
    fn drop(&mut self) {
        let mut shares = lock(&self.turns.shares);
        let Some(share) = shares.get_mut(&self.key) else { return };
        share.users -= 1;
        if share.users == 0 {
            shares.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream::FuturesUnordered};

    use super::*;

    #[tokio::test]
    async fn whoever_asks_for_much_waits_behind_itself() {
        let turns = Turns::new(8);
        let greedy: FuturesUnordered<_> = (0..1_280).map(|_| turns.take(0, 2)).collect();
        let mut greedy = greedy.ready_chunks(1_280);
        let held = greedy.next().await.unwrap();
        assert_eq!(held.len(), 2, "its share");
        // Others have theirs at once.
        let others: Vec<_> =
            (1..4).flat_map(|key| [key; 2]).map(|key| turns.take(key, 2).now_or_never()).collect();
        assert!(others.iter().all(Option::is_some));
        let mut honest = std::pin::pin!(turns.take(9, 2));
        assert!(honest.as_mut().now_or_never().is_none(), "all eight are had");
        drop(held);
        let turn = honest.as_mut().now_or_never();
        assert!(turn.is_some(), "before the rest of what was asked first");
        assert_eq!(greedy.next().await.unwrap().len(), 1, "the other turn that was free");
    }

    #[tokio::test]
    async fn nobody_is_remembered_who_has_no_turn_and_waits_for_none() {
        let turns = Turns::new(1);
        let first = turns.take(1, 1).await;
        {
            let mut waits = std::pin::pin!(turns.take(1, 1));
            let mut also = std::pin::pin!(turns.take(2, 1));
            assert!(waits.as_mut().now_or_never().is_none() && also.as_mut().now_or_never().is_none());
            assert_eq!(lock(&turns.shares).len(), 2);
        }
        assert_eq!(lock(&turns.shares).len(), 1, "who gave up is forgotten");
        drop(first);
        assert!(lock(&turns.shares).is_empty());
        assert!(turns.take(2, 1).now_or_never().is_some());
    }
}
