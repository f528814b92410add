//! The ledgers of checkpoints, handed out to nodes that begin: `/session/<net>/snapshot/1`.
//!
//! A node that begins wants that of the checkpoint which the contract accepted last. By the final blocks of its
//! endpoints that may be the one before, or a newer one, than by those of this node.

pub(crate) mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use session_chain::{
    ledger::snapshot::Beside,
    settlement::{Settled, names::Snapshot, sync::Kept},
};
use session_protocols::snapshot::{Answer, Request};
use tokio::sync::watch;

/// Borders whose ledger is kept. Each keeps the pages of the state file that changed since.
pub(crate) const MAX_KEPT: usize = 4;

/// The ledgers that are handed out; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledgers(Arc<Mutex<BTreeMap<u64, Arc<Kept<Snapshot>>>>>);

impl Ledgers {
    /// Begins with that of the last border.
    pub(crate) fn new(settled: &Settled) -> Self {
        let ledgers = Self::default();
        ledgers.take(settled);
        ledgers
    }

    /// Goes on with the ledger until nobody keeps it any more.
    pub(crate) async fn follow(self, mut settled: watch::Receiver<Settled>) {
        while settled.changed().await.is_ok() {
            let now = settled.borrow_and_update().clone();
            self.take(&now);
        }
    }

    /// What whoever asks is answered; the disk is read for it.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let (Request::Ledger { epoch, .. } | Request::Names { epoch, .. }) = request;
        let kept = self.lock().get(epoch).cloned();
        let Some(kept) = kept else { return Answer::Unknown };
        kept.answer(request).unwrap_or_else(|error| {
            // Else the disk failed while the ledger was written, and its file is opened anew.
            if kept.names.0.is_open() {
                tracing::error!(%error, "the index of names cannot be read: see whether the disk is sound");
            }
            Answer::Unknown
        })
    }

    /// Keeps the ledger of a border that was crossed, and lets go of those that nobody asks for any more: those
    /// before the one before the accepted.
    fn take(&self, settled: &Settled) {
        let accepted = settled.ledger.accepted().map(|(epoch, _)| epoch);
        let mut kept = self.lock();
        // Of a file that was opened anew the newest border can be read again.
        kept.retain(|_, kept| kept.names.0.is_open());
        if let Some(checkpoint) = settled.checkpoint.as_ref().filter(|_| !settled.behind.is_empty()) {
            kept.entry(checkpoint.border.epoch).or_insert_with(|| {
                let (ledger, names) = (Arc::clone(&settled.behind), Arc::clone(&settled.names));
                Arc::new(Kept { beside: Beside::of(checkpoint), ledger, names })
            });
        }
        let before =
            accepted.and_then(|accepted| kept.range(..accepted).next_back().map(|(epoch, _)| *epoch));
        if let Some(before) = before {
            *kept = kept.split_off(&before);
        }
        while kept.len() > MAX_KEPT {
            let oldest = kept.keys().copied().find(|epoch| Some(*epoch) != accepted);
            oldest.and_then(|epoch| kept.remove(&epoch));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Kept<Snapshot>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
