//! Signatures that come from all sides, checked together where several wait.
//!
//! Nobody waits for others to come, but for those who are ready to ask now. A worker takes what has come, and then what
//! came meanwhile: under load batches grow, at rest each signature is checked at once.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

use session_protocols::{
    identity::{Claim, Keys, MAX_TOGETHER},
    member::Open,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::yield_now,
};

/// Askers that wait to be taken; those beyond wait for their place.
const QUEUE: usize = 1_024;
/// Keys whose points are remembered: 8 MB.
const MAX_KEYS: usize = 32_768;
/// Up to so many signatures are checked where they are asked about, in some 0.4 ms, or twice that where one is bad; more
/// on the blocking pool.
const INLINE: usize = 16;

/// Where signatures are checked. Clones share one desk.
#[derive(Clone, Debug)]
pub struct Checks {
    asks: mpsc::Sender<Asker>,
    desk: Arc<Desk>,
}

impl Checks {
    /// Has as many threads at once check as there are `workers`, which others may take too: those have their turn
    /// after each batch. Each batch's size is told to `seen`.
    pub fn start(
        runtime: &Handle,
        workers: Arc<Semaphore>,
        seen: impl Fn(usize) + Send + Sync + 'static,
    ) -> Self {
        let (asks, asked) = mpsc::channel(QUEUE);
        let desk = Desk {
            queue: Mutex::new(Queue { asked, left: None }),
            coming: AtomicUsize::new(0),
            keys: Keys::new(MAX_KEYS),
            workers,
            runtime: runtime.clone(),
            seen: Box::new(seen),
        };
        Self { asks, desk: Arc::new(desk) }
    }

    /// Which of the claims hold, as [`Keys::verify_all`] says; none when the runtime is stopping, on which whoever asks
    /// has to be.
    pub async fn verdicts(&self, mut claims: Vec<Claim>) -> Option<Vec<bool>> {
        let mut all = Vec::with_capacity(claims.len());
        // Who brings many takes turns with others.
        while !claims.is_empty() {
            let rest = claims.split_off(claims.len().min(MAX_TOGETHER));
            let (verdicts, checked) = oneshot::channel();
            self.asks.send(Asker { claims, verdicts }).await.ok()?;
            let mut asked = Asked(Some(&self.desk));
            // Others that are ready ask before this is looked at, and may have it checked with theirs.
            yield_now().await;
            if let Some(desk) = asked.0.take().filter(|_| checked.is_empty()) {
                desk.look();
            }
            let mut verdicts = checked.await.ok()?;
            all.append(&mut verdicts);
            claims = rest;
        }
        Some(all)
    }

    /// Whether all of the claims hold; none when the runtime is stopping.
    pub async fn hold(&self, claims: Vec<Claim>) -> Option<bool> {
        Some(self.verdicts(claims).await?.into_iter().all(|holds| holds))
    }

    /// Checks what is open; none when the runtime is stopping.
    pub(crate) async fn close<T: 'static>(&self, open: Open<T>) -> Option<T> {
        let (claims, close) = open.apart();
        let verdicts = self.verdicts(claims).await?;
        Some(close(&verdicts))
    }
}

/// What clones share.
struct Desk {
    queue: Mutex<Queue>,
    /// Workers that are at it, or are waited for: each looks again when it is done.
    coming: AtomicUsize,
    keys: Keys,
    workers: Arc<Semaphore>,
    runtime: Handle,
    seen: Box<dyn Fn(usize) + Send + Sync>,
}

#[derive(Debug)]
struct Queue {
    asked: mpsc::Receiver<Asker>,
    /// The first of them, who did not fit into the batch before.
    left: Option<Asker>,
}

#[derive(Debug)]
struct Asker {
    claims: Vec<Claim>,
    verdicts: oneshot::Sender<Vec<bool>>,
}

/// Somebody has asked, who has to see to it that it is looked at: when he goes away, too, since he has a place in the queue.
struct Asked<'a>(Option<&'a Arc<Desk>>);

/// A worker that has come to check.
struct Worker {
    desk: Arc<Desk>,
    /// Held until this is dropped.
    _permit: OwnedSemaphorePermit,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(desk) = self.0 {
            desk.look_soon();
        }
    }
}

impl Desk {
    /// Has what waits checked: now, if a worker is free; else by one that is coming.
    fn look(self: &Arc<Self>) {
        if let Some(worker) = self.worker() {
            self.serve(worker);
        }
    }

    /// The same in a task of its own.
    fn look_soon(self: &Arc<Self>) {
        let desk = Arc::clone(self);
        self.runtime.spawn(async move { desk.look() });
    }

    /// Somebody who checks, if anybody is free; else sees to it that one comes.
    fn worker(self: &Arc<Self>) -> Option<Worker> {
        if let Ok(permit) = Arc::clone(&self.workers).try_acquire_owned() {
            self.coming.fetch_add(1, Ordering::Relaxed);
            return Some(Worker { desk: Arc::clone(self), _permit: permit });
        }
        // Either this sees that nobody is coming any more, or who was sees what was asked: see `waits`.
        fence(Ordering::SeqCst);
        if self.coming.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            // Others have all of them, and will not look here.
            let (desk, free) = (Arc::clone(self), Arc::clone(&self.workers).acquire_owned());
            self.runtime.spawn(async move {
                if let Ok(permit) = free.await {
                    desk.serve(Worker { desk: Arc::clone(&desk), _permit: permit });
                }
            });
        }
        None
    }

    /// Checks what waits: little of it here, else on the blocking pool.
    fn serve(self: &Arc<Self>, worker: Worker) {
        let batch = self.take();
        if batch.claims.len() > INLINE {
            self.runtime.spawn_blocking(move || worker.check_all(batch));
            return;
        }
        let verdicts = self.check(&batch.claims);
        drop(worker);
        batch.answer(&verdicts);
        if self.waits() {
            self.look_soon();
        }
    }

    /// As many of those who wait as are checked together; maybe none. If others are left, whoever is free comes, too.
    fn take(self: &Arc<Self>) -> Batch {
        let mut batch = Batch::default();
        let mut queue = self.lock();
        let mut next = queue.left.take().or_else(|| queue.asked.try_recv().ok());
        while let Some(one) = next {
            queue.left = batch.take(one);
            next = if queue.left.is_none() { queue.asked.try_recv().ok() } else { None };
        }
        let more = queue.left.is_some();
        drop(queue);
        if more && self.workers.available_permits() > 0 {
            self.look_soon();
        }
        batch
    }

    fn check(&self, claims: &[Claim]) -> Vec<bool> {
        if !claims.is_empty() {
            (self.seen)(claims.len());
        }
        self.keys.verify_all(claims)
    }

    /// Whether anybody waits, for who has just left.
    fn waits(&self) -> bool {
        fence(Ordering::SeqCst);
        let queue = self.lock();
        queue.left.is_some() || !queue.asked.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("coming", &self.coming).finish_non_exhaustive()
    }
}

impl Worker {
    /// Checks a batch, and what has come meanwhile: a thread that is awake stays so.
    fn check_all(mut self, mut batch: Batch) {
        let desk = Arc::clone(&self.desk);
        loop {
            let verdicts = desk.check(&batch.claims);
            // Those who wait are woken by the runtime's own threads, from another each would have to be handed over; and
            // before all else: they may have asked again by the time that this looks again.
            desk.runtime.spawn(async move { batch.answer(&verdicts) });
            // It is somebody else's turn, if anybody waits for a worker.
            drop(self);
            if !desk.waits() {
                return;
            }
            let Some(again) = desk.worker() else { return };
            (self, batch) = (again, desk.take());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.desk.coming.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.desk.look_soon();
        }
    }
}

/// Those whose signatures are checked together.
#[derive(Debug, Default)]
struct Batch {
    claims: Vec<Claim>,
    /// Who brought how many of them, in their order.
    askers: Vec<(usize, oneshot::Sender<Vec<bool>>)>,
}

impl Batch {
    /// Takes somebody in who still waits, or gives him back where there is no room.
    fn take(&mut self, mut one: Asker) -> Option<Asker> {
        if one.verdicts.is_closed() {
            return None;
        }
        if !self.claims.is_empty() && self.claims.len().saturating_add(one.claims.len()) > MAX_TOGETHER {
            return Some(one);
        }
        self.askers.push((one.claims.len(), one.verdicts));
        self.claims.append(&mut one.claims);
        None
    }

    /// Tells everybody what was found of all the claims.
    fn answer(self, verdicts: &[bool]) {
        let mut rest = verdicts;
        for (count, asker) in self.askers {
            let (own, others) = rest.split_at(count.min(rest.len()));
            // Whoever does not wait any more needs no answer.
            let _ = asker.send(own.to_vec());
            rest = others;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use futures::future::join_all;
    use session_protocols::KeyPair;

    fn claim(number: usize) -> Claim {
        let (pair, said) = (KeyPair::from_seed(&[3; 32]), number.to_le_bytes().to_vec());
        Claim::by(pair.public(), said.clone(), pair.sign(&said))
    }

    fn bad(number: usize) -> Claim {
        Claim { said: vec![], ..claim(number) }
    }

    /// Where signatures are checked, and the sizes of the batches.
    fn start(workers: &Arc<Semaphore>) -> (Checks, Arc<Mutex<Vec<usize>>>) {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&sizes);
        let seen = move |size| told.lock().unwrap().push(size);
        (Checks::start(&Handle::current(), Arc::clone(workers), seen), sizes)
    }

    /// So many ask at once for what is told.
    async fn ask(checks: &Checks, askers: usize, claims: impl Fn(usize) -> Vec<Claim>) -> Vec<Vec<bool>> {
        join_all((0..askers).map(|number| checks.verdicts(claims(number))))
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    async fn until(holds: impl Fn() -> bool) {
        while !holds() {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn everyone_gets_his_own_verdicts() {
        let workers = Arc::new(Semaphore::new(1));
        let (checks, sizes) = start(&workers);
        let busy = Arc::clone(&workers).acquire_owned().await.unwrap();
        // As many as one batch holds, and one that is too many.
        let askers = MAX_TOGETHER / 3 + 1;
        let asks = ask(&checks, askers, |number| vec![claim(number), bad(number), claim(number)]);
        let free = async {
            until(|| checks.asks.capacity() == QUEUE - askers).await;
            until(|| checks.desk.coming.load(Ordering::Relaxed) == 1).await;
            drop(busy);
        };
        let (answers, ()) = tokio::join!(asks, free);
        assert_eq!(answers, vec![vec![true, false, true]; askers]);
        assert_eq!(*sizes.lock().unwrap(), [MAX_TOGETHER / 3 * 3, 3]);
    }

    #[tokio::test]
    async fn those_who_are_ready_together_are_checked_together() {
        for askers in [1, INLINE, INLINE + 1, MAX_TOGETHER] {
            let (checks, sizes) = start(&Arc::new(Semaphore::new(2)));
            let ask = |number| {
                let checks = checks.clone();
                tokio::spawn(async move { checks.hold(vec![claim(number)]).await })
            };
            let answers = join_all((0..askers).map(ask).collect::<Vec<_>>()).await;
            assert!(answers.into_iter().all(|one| one.unwrap() == Some(true)));
            assert_eq!(*sizes.lock().unwrap(), [askers]);
        }
    }

    #[tokio::test]
    async fn others_who_need_a_worker_have_their_turn_after_each_batch() {
        let workers = Arc::new(Semaphore::new(1));
        let (checks, sizes) = start(&workers);
        let busy = Arc::clone(&workers).acquire_owned().await.unwrap();
        let askers = 4 * MAX_TOGETHER;
        let asks = ask(&checks, askers, |number| vec![claim(number)]);
        let other = async {
            until(|| checks.asks.capacity() == QUEUE - askers).await;
            until(|| checks.desk.coming.load(Ordering::Relaxed) == 1).await;
            // Who is to come stands in line now.
            yield_now().await;
            yield_now().await;
            let mut turn = Box::pin(workers.acquire());
            assert!(futures::poll!(&mut turn).is_pending());
            drop(busy);
            let _turn = turn.await.unwrap();
            sizes.lock().unwrap().clone()
        };
        let (answers, before) = tokio::join!(asks, other);
        assert_eq!((answers.len(), before), (askers, vec![MAX_TOGETHER]));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_is_forgotten() {
        for (many, askers, rounds) in [(1, 3, 2_000), (2, 3, 2_000), (1, 30, 200), (2, 30, 200)] {
            let workers = Arc::new(Semaphore::new(many));
            let (checks, _) = start(&workers);
            for round in 0..rounds {
                let one = |number: usize| {
                    let (checks, workers) = (checks.clone(), Arc::clone(&workers));
                    tokio::spawn(async move {
                        match (number + round) % 5 {
                            // It has a worker for something else.
                            3 => drop(workers.acquire().await.unwrap()),
                            // It asks, and does not wait.
                            4 => drop(futures::poll!(Box::pin(checks.hold(vec![claim(round)])))),
                            _ => {
                                assert_eq!(checks.hold(vec![claim(round); 1 + number / 3]).await, Some(true))
                            }
                        }
                    })
                };
                // No other comes by who would have it looked at.
                let all = join_all((0..askers).map(one).collect::<Vec<_>>());
                let done = tokio::time::timeout(Duration::from_secs(30), all).await;
                done.expect("somebody waits for nothing").into_iter().for_each(|one| one.unwrap());
            }
            let nobody = || checks.desk.coming.load(Ordering::Relaxed) == 0;
            until(|| nobody() && workers.available_permits() == many).await;
        }
    }

    #[tokio::test]
    async fn those_who_went_away_hold_up_nobody_and_are_not_checked() {
        let (checks, sizes) = start(&Arc::new(Semaphore::new(1)));
        for number in 0..QUEUE {
            let asks = tokio::task::unconstrained(checks.hold(vec![claim(number)]));
            assert!(futures::poll!(Box::pin(asks)).is_pending());
        }
        assert_eq!(checks.asks.capacity(), 0);
        let held = tokio::time::timeout(Duration::from_secs(30), checks.hold(vec![claim(0)])).await;
        assert_eq!((held, &*sizes.lock().unwrap()), (Ok(Some(true)), &vec![1]));
    }

    #[tokio::test]
    async fn a_check_that_fails_takes_nobody_with_it_but_its_batch() {
        let failed = std::sync::atomic::AtomicBool::new(false);
        let seen = move |_| assert!(failed.swap(true, Ordering::Relaxed), "the first one fails");
        let checks = Checks::start(&Handle::current(), Arc::new(Semaphore::new(1)), seen);
        let asks = (0..MAX_TOGETHER + 1).map(|number| {
            let checks = checks.clone();
            tokio::spawn(async move { checks.hold(vec![claim(number)]).await })
        });
        let all =
            tokio::time::timeout(Duration::from_secs(30), join_all(asks.collect::<Vec<_>>())).await.unwrap();
        let answers: Vec<_> = all.into_iter().map(|one| one.unwrap()).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), MAX_TOGETHER);
        assert_eq!(answers[MAX_TOGETHER], Some(true));
    }

    #[tokio::test]
    async fn many_are_checked_in_parts_and_none_at_once() {
        let (checks, _) = start(&Arc::new(Semaphore::new(1)));
        let mut claims: Vec<_> = (0..MAX_TOGETHER * 2 + 5).map(claim).collect();
        assert_eq!(checks.hold(claims.clone()).await, Some(true));
        claims[MAX_TOGETHER + 1] = bad(0);
        let verdicts = checks.verdicts(claims.clone()).await.unwrap();
        assert!(verdicts.iter().enumerate().all(|(place, holds)| *holds == (place != MAX_TOGETHER + 1)));
        assert_eq!((verdicts.len(), checks.hold(claims).await), (MAX_TOGETHER * 2 + 5, Some(false)));
        assert_eq!(checks.verdicts(vec![]).await, Some(vec![]));
    }
}
