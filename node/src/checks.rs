//! Signatures that come from all sides, checked together where several wait.
//!
//! Nobody waits for others to come. While workers are busy requests queue up, and the next worker takes what
//! has come: under load batches grow, at rest each signature is checked at once.

use std::sync::Arc;

use session_protocols::{
    identity::{Claim, Keys, MAX_TOGETHER},
    member::Open,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Askers that wait to be taken; those beyond wait for their place.
const QUEUE: usize = 1_024;
/// Keys whose points are remembered: 8 MB.
const MAX_KEYS: usize = 32_768;
/// Up to so many signatures are checked where they are found; more on the blocking pool.
const INLINE: usize = 4;

/// Where signatures are checked. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Checks {
    queue: mpsc::Sender<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    claims: Vec<Claim>,
    verdicts: oneshot::Sender<Vec<bool>>,
}

impl Checks {
    /// Starts to check on as many threads at once as there are `workers`, which others may take too. Each
    /// batch's size is told to `seen`. It ends when nobody is left to ask.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        workers: Arc<Semaphore>,
        seen: impl Fn(usize) + Send + 'static,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        runtime.spawn(run(waiting, workers, seen));
        Self { queue }
    }

    /// Which of the claims hold, as [`Keys::verify_all`] says; none when the runtime is stopping.
    pub async fn verdicts(&self, mut claims: Vec<Claim>) -> Option<Vec<bool>> {
        let mut all = Vec::with_capacity(claims.len());
        // Who brings many takes turns with others.
        while !claims.is_empty() {
            let rest = claims.split_off(claims.len().min(MAX_TOGETHER));
            let (verdicts, checked) = oneshot::channel();
            self.queue.send(Waiting { claims, verdicts }).await.ok()?;
            all.append(&mut checked.await.ok()?);
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

/// Those whose signatures are checked together.
#[derive(Debug, Default)]
struct Batch {
    claims: Vec<Claim>,
    /// Who brought how many of them, in their order.
    askers: Vec<(usize, oneshot::Sender<Vec<bool>>)>,
}

impl Batch {
    /// Takes somebody in, or gives him back where there is no room.
    fn take(&mut self, mut one: Waiting) -> Option<Waiting> {
        if !self.claims.is_empty() && self.claims.len() + one.claims.len() > MAX_TOGETHER {
            return Some(one);
        }
        self.askers.push((one.claims.len(), one.verdicts));
        self.claims.append(&mut one.claims);
        None
    }

    /// Tells everybody what was found of all the claims.
    fn answer(askers: Vec<(usize, oneshot::Sender<Vec<bool>>)>, verdicts: &[bool]) {
        let mut rest = verdicts;
        for (count, asker) in askers {
            let (own, others) = rest.split_at(count.min(rest.len()));
            // Whoever does not wait any more needs no answer.
            let _ = asker.send(own.to_vec());
            rest = others;
        }
    }
}

async fn run(mut queue: mpsc::Receiver<Waiting>, workers: Arc<Semaphore>, seen: impl Fn(usize)) {
    let keys = Arc::new(Keys::new(MAX_KEYS));
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(first) => Some(first),
            None => queue.recv().await,
        };
        let Some(first) = first else { return };
        let Ok(worker) = Arc::clone(&workers).acquire_owned().await else { return };
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(one) = next {
            left = batch.take(one);
            next = if left.is_none() { queue.try_recv().ok() } else { None };
        }
        seen(batch.claims.len());
        let Batch { claims, askers } = batch;
        if claims.len() <= INLINE {
            Batch::answer(askers, &keys.verify_all(&claims));
        } else {
            let keys = Arc::clone(&keys);
            let checked = tokio::task::spawn_blocking(move || {
                let verdicts = keys.verify_all(&claims);
                drop(worker);
                verdicts
            });
            // Those who wait are woken by the runtime's own thread: from another each would have to be handed over.
            tokio::spawn(async move {
                if let Ok(verdicts) = checked.await {
                    Batch::answer(askers, &verdicts);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use session_protocols::KeyPair;

    fn claim(number: usize) -> Claim {
        let (pair, said) = (KeyPair::from_seed(&[3; 32]), number.to_le_bytes().to_vec());
        Claim::by(pair.public(), said.clone(), pair.sign(&said))
    }

    fn bad(number: usize) -> Claim {
        Claim { said: vec![], ..claim(number) }
    }

    #[tokio::test]
    async fn everyone_gets_his_own_verdicts() {
        let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = Arc::clone(&sizes);
        let workers = Arc::new(Semaphore::new(1));
        let busy = Arc::clone(&workers).acquire_owned().await.unwrap();
        let runtime = tokio::runtime::Handle::current();
        let checks = Checks::start(&runtime, workers, move |size| told.lock().unwrap().push(size));
        // As many as one batch holds, and one that is too many.
        let ask = |number: usize| {
            let checks = checks.clone();
            async move { checks.verdicts(vec![claim(number), bad(number), claim(number)]).await }
        };
        let asks = futures::future::join_all((0..MAX_TOGETHER / 3 + 1).map(ask));
        let free = async {
            while checks.queue.capacity() > QUEUE - MAX_TOGETHER / 3 {
                tokio::task::yield_now().await;
            }
            drop(busy);
        };
        let (answers, ()) = tokio::join!(asks, free);
        assert!(answers.into_iter().all(|one| one.as_deref() == Some(&[true, false, true])));
        assert_eq!(*sizes.lock().unwrap(), [MAX_TOGETHER / 3 * 3, 3]);
    }

    #[tokio::test]
    async fn many_are_checked_in_parts_and_none_at_once() {
        let runtime = tokio::runtime::Handle::current();
        let checks = Checks::start(&runtime, Arc::new(Semaphore::new(1)), |_| {});
        let mut claims: Vec<_> = (0..MAX_TOGETHER * 2 + 5).map(claim).collect();
        assert_eq!(checks.hold(claims.clone()).await, Some(true));
        claims[MAX_TOGETHER + 1] = bad(0);
        let verdicts = checks.verdicts(claims.clone()).await.unwrap();
        assert!(verdicts.iter().enumerate().all(|(place, holds)| *holds == (place != MAX_TOGETHER + 1)));
        assert_eq!((verdicts.len(), checks.hold(claims).await), (MAX_TOGETHER * 2 + 5, Some(false)));
        assert_eq!(checks.verdicts(vec![]).await, Some(vec![]));
    }
}
