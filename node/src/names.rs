//! Lookups of names, answered from the index as of the newest border whose checkpoint this node hands out.
//!
//! Who asks believes an answer by that checkpoint. So between a border and its signatures the one before is
//! served, and after a start nothing until a checkpoint is signed that this node's own index fits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p::PeerId;
use session_chain::{
    names::{Index, tables::Read},
    settlement::{Settled, names::Snapshot},
};
use session_protocols::{
    answer::Code,
    codec,
    libp2p::link::Incoming,
    names::lookup::{Answer, MAX_REQUEST, Request},
};
use tokio::sync::watch;

use crate::{attest::Shelf, links::Links};
use revealed::Revealed;

mod revealed;
#[cfg(test)]
mod tests;

/// Borders whose index is kept, beside the one that is served, until their checkpoints are signed. Each keeps the
/// pages of the state file that changed since.
const MAX_UNSIGNED: usize = 4;

/// The indexes that lookups are answered from; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    shelf: Shelf,
    kept: Arc<Mutex<Kept>>,
    revealed: Revealed,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the epochs that ended at them, each with its root.
    borders: BTreeMap<u64, ([u8; 32], Arc<Index<Snapshot>>)>,
    /// Which of them is served.
    served: Option<u64>,
    /// The newest.
    newest: Option<Arc<Index<Snapshot>>>,
}

impl Names {
    /// Answers by the checkpoints of this shelf.
    pub(crate) fn new(shelf: Shelf, settled: &Settled) -> Self {
        let names = Self { shelf, kept: Arc::default(), revealed: Revealed::default() };
        names.cross(settled);
        names
    }

    /// Goes on with the ledger until nobody keeps it any more.
    pub(crate) async fn follow(self, mut settled: watch::Receiver<Settled>) {
        while settled.changed().await.is_ok() {
            let now = settled.borrow_and_update().clone();
            self.cross(&now);
        }
    }

    /// How many names there were at the last border.
    pub(crate) fn count(&self) -> u64 {
        let newest = self.lock().newest.clone();
        newest.and_then(|index| index.0.count().ok()).unwrap_or_default()
    }

    /// What is answered; the disk is read for it.
    fn answer(&self, request: &Request) -> Result<Answer, Code> {
        let (epoch, index) = self.served().ok_or(Code::NotReady)?;
        index.answer(epoch, request).map_err(|error| unreadable(&index, error))
    }

    /// Keeps the index of a border that was crossed.
    fn cross(&self, settled: &Settled) {
        let Some(checkpoint) = &settled.checkpoint else { return };
        let (epoch, root) = (checkpoint.border.epoch, checkpoint.roots.names.0);
        let mut kept = self.lock();
        // Of a file that was opened anew the newest border can be read again.
        kept.borders.retain(|_, (_, index)| index.0.is_open());
        kept.served = kept.served.filter(|epoch| kept.borders.contains_key(epoch));
        kept.newest = Some(Arc::clone(&settled.names));
        kept.borders.entry(epoch).or_insert_with(|| (root, Arc::clone(&settled.names)));
        self.look(&mut kept);
        while kept.borders.len() > MAX_UNSIGNED.saturating_add(1) {
            let served = kept.served;
            let oldest = kept.borders.keys().copied().find(|epoch| Some(*epoch) != served);
            oldest.and_then(|epoch| kept.borders.remove(&epoch));
        }
    }

    /// What is served, and of which epoch it is.
    fn served(&self) -> Option<(u64, Arc<Index<Snapshot>>)> {
        let mut kept = self.lock();
        self.look(&mut kept);
        let epoch = kept.served?;
        kept.borders.get(&epoch).map(|(_, index)| (epoch, Arc::clone(index)))
    }

    /// Sees whether a newer checkpoint is handed out, and lets go of what was before it.
    fn look(&self, kept: &mut Kept) {
        let Some((epoch, root)) = self.shelf.newest() else { return };
        if kept.served < Some(epoch) && kept.borders.get(&epoch).is_some_and(|(own, _)| *own == root) {
            kept.borders = kept.borders.split_off(&epoch);
            kept.served = Some(epoch);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes of an index that cannot be read.
fn unreadable(index: &Index<Snapshot>, error: <Snapshot as Read>::Error) -> Code {
    if !index.0.is_open() {
        // The disk refused what the ledger wrote, and its file is opened anew.
        return Code::NotReady;
    }
    tracing::error!(%error, "the index of names cannot be read: see whether the disk is sound");
    Code::Failed
}

impl Links {
    /// Answers a lookup of a neighbour.
    pub(crate) async fn names(self: Arc<Self>, peer: PeerId, Incoming { payload, reply }: Incoming) {
        let answer = match self.arrive(peer) {
            true => self.look_up(&payload).await,
            false => self.unnamed(Code::TooMany),
        };
        reply.answer(codec::encode(&answer)).await;
    }

    /// Answers a lookup that was let in.
    pub(crate) async fn look_up(&self, payload: &[u8]) -> Answer {
        let Ok(request) = codec::decode::<Request>(payload, MAX_REQUEST) else {
            self.metrics.garbage_total.with_label_values(&["names"]).inc();
            return self.unnamed(Code::BadRequest);
        };
        self.metrics.requests_total.with_label_values(&["name"]).inc();
        // Where nodes register on no chain there are no names.
        let Some(names) = self.known_names() else { return self.unnamed(Code::BadRequest) };
        let answered = self.off_the_loop(true, move || names.answer(&request)).await;
        answered.unwrap_or(Err(Code::Failed)).unwrap_or_else(|code| self.unnamed(code))
    }

    /// A refusal, counted.
    pub(crate) fn unnamed(&self, code: Code) -> Answer {
        self.metrics.refused_total.with_label_values(&[&code.number().to_string()]).inc();
        Answer::Refused { code }
    }
}
