//! Moves a full overlay and its part of the journal into the tables, a slice at a time.
//!
//! What an overlay says is absolute, so a merge that a crash cut short is done again from its
//! beginning. Only the slice that ends it moves the mark, with the sums of that moment.
//!
//! Commits pay for the merge with a share of what they add. On a thread of its own the merge runs
//! ahead, and a commit waits when it has not got as far as was paid for; without one, the commit
//! does the work itself, which takes the same course every time.

use std::{
    ops::{Bound, ControlFlow},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{Builder, JoinHandle},
};

use redb::{Database, WriteTransaction};
use session_protocols::store::StoreError;

use crate::{
    bodies::{self, Packer},
    error::{failed, guarded},
    journal::{Journal, rows, walk},
    layout,
    overlay::{BODY_UNIT, Layer, Overlay, Points, Sums},
    tables::{BODIES, Column, META, Tables, begin, set_merged},
};

/// An overlay that is being merged.
pub(crate) struct Sealed {
    job: Arc<Job>,
    worker: Option<JoinHandle<()>>,
    /// How many keys the entries since have paid for.
    paid: usize,
    /// How many slices the reader knows of.
    seen: usize,
}

/// How far a merge got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Something was merged since the last look.
    pub(crate) moved: bool,
    /// All is merged.
    pub(crate) done: bool,
}

struct Job {
    overlay: Overlay,
    /// The keys of its unordered maps, in order.
    records: OnceLock<Vec<[u8; 65]>>,
    usage: OnceLock<Vec<[u8; 33]>>,
    /// The sums when it was sealed.
    sums: Sums,
    /// The first entry of it.
    first: u64,
    /// The last one; the one before the first when there is none.
    last: u64,
    journal: Arc<Database>,
    tables: Arc<Database>,
    /// How many keys are to do in all: an estimate.
    work: usize,
    progress: Mutex<Progress>,
    moved: Condvar,
}

struct Progress {
    step: Step,
    keys: usize,
    slices: usize,
    stop: bool,
    error: Option<StoreError>,
}

/// Which table is at hand, and after which key.
#[derive(Clone, Copy, Debug)]
enum Step {
    Bodies(u64),
    Gone(Option<u64>),
    Evidence(Option<[u8; 16]>),
    Records(Option<[u8; 65]>),
    Arrivals(Option<[u8; 43]>),
    Ends(Option<[u8; 73]>),
    Usage(Option<[u8; 33]>),
    Done,
}

impl Sealed {
    /// Seals the overlay of the entries after those that are merged, up to `last`.
    pub(crate) fn new(overlay: Overlay, sums: Sums, last: u64, journal: &Journal, tables: &Tables) -> Self {
        let work = overlay.work().max(1);
        let first = tables.meta.merged.saturating_add(1);
        let progress = Progress { step: Step::Bodies(first), keys: 0, slices: 0, stop: false, error: None };
        let job = Job {
            overlay,
            records: OnceLock::new(),
            usage: OnceLock::new(),
            sums,
            first,
            last,
            journal: Arc::clone(&journal.db),
            tables: Arc::clone(&tables.db),
            work,
            progress: Mutex::new(progress),
            moved: Condvar::new(),
        };
        Self { job: Arc::new(job), worker: None, paid: 0, seen: 0 }
    }

    /// Lets a thread of its own do the work; without one the commits do it.
    pub(crate) fn start(&mut self, slice: usize) {
        let job = Arc::clone(&self.job);
        self.worker = Builder::new().name("merge".to_owned()).spawn(move || job.run(slice)).ok();
    }

    pub(crate) fn overlay(&self) -> &Overlay {
        &self.job.overlay
    }

    /// The last entry of it.
    pub(crate) fn last(&self) -> u64 {
        self.job.last
    }

    /// Pays `part` of `whole`, and sees to it that the merge gets as far as was paid for.
    ///
    /// It is done when four fifths of the next overlay are full, however full that gets at a
    /// time: no commit waits for more than its share.
    pub(crate) fn pay(&mut self, part: usize, whole: usize, slice: usize) -> Result<Pace, StoreError> {
        let share = (self.job.work as u128)
            .saturating_mul(part as u128)
            .saturating_mul(5)
            .div_ceil((whole as u128).saturating_mul(4).max(1));
        self.paid = self.paid.saturating_add(usize::try_from(share).unwrap_or(usize::MAX));
        let mut progress = self.job.progress();
        if self.worker.is_some() {
            // The fifth of the overlay that is spare is for a thread that is late now and then.
            let slack = (self.job.work / 4).max(slice);
            while !progress.ended() && progress.keys.saturating_add(slack) < self.paid {
                progress = self.job.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
            }
        } else {
            let due = self.paid.saturating_sub(progress.keys);
            let left = self.job.work.saturating_sub(progress.keys);
            if due >= slice.min(left).max(1) {
                drop(progress);
                self.job.step(due);
                progress = self.job.progress();
            }
        }
        if let Some(error) = progress.error.take() {
            return Err(error);
        }
        let moved = progress.slices != self.seen;
        self.seen = progress.slices;
        Ok(Pace { moved, done: matches!(progress.step, Step::Done) })
    }

    /// Merges all of it at once.
    pub(crate) fn finish(&self) -> Result<(), StoreError> {
        self.job.run(usize::MAX);
        self.job.progress().error.take().map_or(Ok(()), Err)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.job.progress().stop = true;
        if let Some(worker) = self.worker.take() {
            // What it could not do is said by its progress.
            let _ = worker.join();
        }
    }
}

impl Progress {
    const fn ended(&self) -> bool {
        matches!(self.step, Step::Done) || self.error.is_some()
    }
}

impl Job {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, slice: usize) {
        loop {
            let progress = self.progress();
            if progress.ended() || progress.stop {
                return;
            }
            drop(progress);
            self.step(slice);
        }
    }

    /// Merges about `budget` keys.
    fn step(&self, budget: usize) {
        let from = self.progress().step;
        let result = guarded(|| self.slice(from, budget));
        let mut progress = self.progress();
        match result {
            Ok(step) => progress.step = step,
            Err(error) => progress.error = Some(error),
        }
        progress.keys = progress.keys.saturating_add(budget);
        progress.slices = progress.slices.saturating_add(1);
        self.moved.notify_all();
    }

    fn slice(&self, mut step: Step, mut budget: usize) -> Result<Step, StoreError> {
        let transaction = begin(&self.tables)?;
        let overlay = &self.overlay;
        while budget > 0 {
            let budget = &mut budget;
            step = match step {
                Step::Bodies(from) => self.bodies(from, &transaction, budget)?,
                Step::Gone(after) => {
                    let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
                    let rows: Vec<u64> = overlay.gone.range(from).take(*budget).copied().collect();
                    let mut table = transaction.open_table(BODIES).map_err(failed)?;
                    bodies::remove(rows.iter().copied(), &mut table)?;
                    *budget = budget.saturating_sub(rows.len());
                    if *budget == 0 {
                        Step::Gone(rows.last().copied().or(after))
                    } else {
                        Step::Evidence(None)
                    }
                }
                Step::Evidence(after) => {
                    let left = Column::put(&transaction, after_key(&overlay.evidence, after), budget)?;
                    left.map_or(Step::Records(None), |key| Step::Evidence(Some(key)))
                }
                Step::Records(after) => {
                    let keys = self.records.get_or_init(|| sorted(&overlay.records));
                    let rows = behind(keys, after).map(|key| (key, overlay.records.get(key)));
                    let left = Column::put(&transaction, rows, budget)?;
                    left.map_or(Step::Arrivals(None), |key| Step::Records(Some(key)))
                }
                Step::Arrivals(after) => {
                    let left = Column::put(&transaction, after_key(&overlay.arrivals, after), budget)?;
                    left.map_or(Step::Ends(None), |key| Step::Arrivals(Some(key)))
                }
                Step::Ends(after) => {
                    let left = Column::put(&transaction, after_key(&overlay.ends, after), budget)?;
                    left.map_or(Step::Usage(None), |key| Step::Ends(Some(key)))
                }
                Step::Usage(after) => {
                    let keys = self.usage.get_or_init(|| sorted(&overlay.usage));
                    let rows = behind(keys, after).map(|key| (key, overlay.usage.get(key)));
                    let left = Column::put(&transaction, rows, budget)?;
                    left.map_or(Step::Done, |key| Step::Usage(Some(key)))
                }
                Step::Done => break,
            };
        }
        if matches!(step, Step::Done) {
            let mut meta = transaction.open_table(META).map_err(failed)?;
            set_merged(&mut meta, self.last, &self.sums)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(step)
    }

    /// Moves the mutations of the chunks that begin at or after `from`.
    fn bodies(
        &self,
        from: u64,
        transaction: &WriteTransaction,
        budget: &mut usize,
    ) -> Result<Step, StoreError> {
        let mut table = transaction.open_table(BODIES).map_err(failed)?;
        if from == self.first {
            bodies::remove_from(from, &mut table)?;
        }
        let mut left = None;
        let mut packer = Packer::default();
        walk(&self.journal, from, |first, chunk| {
            if first > self.last {
                return Ok(ControlFlow::Break(()));
            }
            if *budget == 0 {
                left = Some(first);
                return Ok(ControlFlow::Break(()));
            }
            for row in rows(first, chunk) {
                let (sequence, row) = row.ok_or(StoreError::Damaged("an entry of the journal"))?;
                let (_, mutation) = layout::split_row(row)?;
                *budget = budget.saturating_sub(1);
                if !mutation.is_empty() && !self.overlay.gone.contains(&sequence) {
                    *budget = budget.saturating_sub(mutation.len() / BODY_UNIT);
                    packer.push(sequence, mutation, &mut table)?;
                }
            }
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        })?;
        packer.flush(&mut table)?;
        Ok(left.map_or(Step::Gone(None), Step::Bodies))
    }
}

fn sorted<const N: usize, V>(points: &Points<N, V>) -> Vec<[u8; N]> {
    let mut keys: Vec<_> = points.keys().copied().collect();
    keys.sort_unstable();
    keys
}

fn behind<const N: usize>(keys: &[[u8; N]], after: Option<[u8; N]>) -> impl Iterator<Item = &[u8; N]> {
    let skip = keys.partition_point(|key| after.is_some_and(|after| *key <= after));
    keys.iter().skip(skip)
}

fn after_key<const N: usize, V>(
    layer: &Layer<N, V>,
    after: Option<[u8; N]>,
) -> impl Iterator<Item = (&[u8; N], Option<&Option<V>>)> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    layer.range((from, Bound::Unbounded)).map(|(key, value)| (key, Some(value)))
}
