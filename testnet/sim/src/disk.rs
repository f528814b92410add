//! What a node keeps its messages on: plain maps, or the node's own engine over a disk in memory.
//!
//! A batch is applied when its commit ends, not when it begins: nobody can see the difference, and
//! a crash in between needs nothing undone. What a crash or a failed commit may leave is drawn.

use std::sync::Arc;

use session_protocols::{
    AccountId, MessageHash, Namespace,
    record::{Mutation, Record},
    store::{
        Bucket, Effect, Entry, Fingerprint, Item, Store, StoreError, Transaction, Usage, memory::MemoryStore,
    },
};
use session_storage::{
    MessageStore, OpenError, Options, Writer,
    faulty::{Fault, FaultyDisk, Loss},
};

use super::dice::Dice;

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Fine,
    /// It reports a failure; it may be durable all the same.
    Fails,
    /// The node dies before it ends; it may be durable all the same.
    Dies,
}

/// What one transaction came to.
pub(super) type Committed<R> = Result<(R, Vec<Effect>), StoreError>;

#[expect(clippy::large_enum_variant, reason = "one for each node, and each is large anyway")]
#[derive(Debug)]
pub(super) enum Disk {
    Memory(MemoryStore),
    Engine(Engine),
}

/// The node's own engine.
#[derive(Debug)]
pub(super) struct Engine {
    disk: FaultyDisk,
    options: Options,
    store: Option<MessageStore>,
}

impl Disk {
    pub(super) fn memory(incarnation: u64) -> Self {
        Self::Memory(MemoryStore::new(incarnation))
    }

    /// Small bounds, so that a run of minutes merges as a node does in weeks.
    pub(super) fn engine(incarnation: u64, dice: &mut Dice) -> Self {
        let options = Options {
            cache_bytes: 1 << 20,
            overlay_changes: dice.between(16, 256) as usize,
            overlay_bytes: 64 << 10,
            recent_bytes: 16 << 10,
            slice: dice.between(4, 64) as usize,
            // A thread would share the count of operations that places the faults.
            merge_thread: false,
            fresh_incarnation: incarnation,
        };
        Self::Engine(Engine { disk: FaultyDisk::new(), options, store: None })
    }

    /// Opens it, as a starting node does, and one whose commit failed.
    pub(super) fn open(&mut self) -> Result<(), OpenError> {
        let Self::Engine(Engine { disk, options, store }) = self else { return Ok(()) };
        match store {
            Some(store) => store.reopen(),
            None => {
                *store = Some(MessageStore::open_on(Arc::new(disk.clone()), *options)?);
                Ok(())
            }
        }
    }

    /// Applies a batch and commits it.
    pub(super) fn transact<R>(
        &mut self,
        commit: Commit,
        dice: &mut Dice,
        work: impl FnOnce(&mut Tx<'_>) -> Result<R, StoreError>,
    ) -> Committed<R> {
        match self {
            Self::Memory(store) => {
                if commit != Commit::Fine && dice.coin() {
                    return Err(failed());
                }
                let mut tx = Tx { store: Inner::Memory(store), effects: Vec::new() };
                let result = work(&mut tx)?;
                if commit == Commit::Fine { Ok((result, tx.effects)) } else { Err(failed()) }
            }
            Self::Engine(engine) => {
                let next = engine.disk.operations();
                match commit {
                    Commit::Fine => {}
                    Commit::Fails => {
                        let fault = if dice.coin() { Fault::Error } else { Fault::Half };
                        engine.disk.fail(next + dice.below(6), fault);
                    }
                    // Somewhere on the way, or, more often, with all written and nothing synced.
                    Commit::Dies if dice.chance(250) => {
                        engine.disk.fail(next + dice.below(6), Fault::PowerLoss)
                    }
                    Commit::Dies => engine.disk.fail_next_sync(Fault::PowerLoss),
                }
                let Some(store) = &mut engine.store else { return Err(failed()) };
                let mut tx = Tx { store: Inner::Engine(store.begin()?), effects: Vec::new() };
                let result = work(&mut tx)?;
                let Tx { store: Inner::Engine(writer), effects } = tx else { return Err(failed()) };
                writer.commit()?;
                Ok((result, effects))
            }
        }
    }

    /// The power goes: what was not synced is lost, in part or as a whole. Tells whether anything was
    /// lost, of the node's own engine alone: plain maps lose a batch or keep it.
    pub(super) fn crash(&mut self, dice: &mut Dice) -> bool {
        let Self::Engine(engine) = self else { return false };
        engine.disk.power_off();
        engine.store = None;
        let seed = dice.number();
        let loss = match dice.below(5) {
            0 => Loss::Nothing,
            1 => Loss::Everything,
            2 => Loss::Tail(seed),
            3 => Loss::Scattered(seed),
            _ => Loss::Sectors(seed),
        };
        let survivor = engine.disk.survivor(loss);
        let torn = survivor.image() != engine.disk.image();
        engine.disk = survivor;
        torn
    }

    /// The moment, kept; none where that cannot be done.
    pub(super) fn copy(&self) -> Option<Self> {
        match self {
            Self::Memory(store) => Some(Self::Memory(store.clone())),
            Self::Engine(_) => None,
        }
    }

    /// What can be read; none while it is not open.
    pub(super) fn store(&self) -> Option<&dyn Store> {
        match self {
            Self::Memory(store) => Some(store),
            Self::Engine(engine) => engine.store.as_ref().map(|store| store as &dyn Store),
        }
    }
}

fn failed() -> StoreError {
    StoreError::Failed("the disk failed, as it was told to".into())
}

/// One transaction; it keeps what was done in it.
#[derive(Debug)]
pub(super) struct Tx<'a> {
    store: Inner<'a>,
    effects: Vec<Effect>,
}

#[derive(Debug)]
enum Inner<'a> {
    Memory(&'a mut MemoryStore),
    Engine(Writer<'a>),
}

impl Tx<'_> {
    fn reads(&self) -> &dyn Store {
        match &self.store {
            Inner::Memory(store) => *store,
            Inner::Engine(store) => store,
        }
    }
}

impl Transaction for Tx<'_> {
    fn append(&mut self, entry: Entry) -> Result<u64, StoreError> {
        self.effects.extend_from_slice(&entry.effects);
        match &mut self.store {
            Inner::Memory(store) => store.append(entry),
            Inner::Engine(store) => store.append(entry),
        }
    }

    fn retire(&mut self, now: u64, limit: usize) -> Result<usize, StoreError> {
        match &mut self.store {
            Inner::Memory(store) => store.retire(now, limit),
            Inner::Engine(store) => store.retire(now, limit),
        }
    }
}

/// Any store, behind one type that the machine's functions take.
pub(super) struct View<'a>(pub(super) &'a dyn Store);

macro_rules! reads {
    ($type:ty) => {
        impl Store for $type {
            fn record(&self, account: &AccountId, hash: &MessageHash) -> Result<Option<Record>, StoreError> {
                self.reads().record(account, hash)
            }

            fn page(
                &self,
                account: &AccountId,
                namespace: Namespace,
                sequence: u64,
                limit: usize,
            ) -> Result<Vec<(u64, MessageHash)>, StoreError> {
                self.reads().page(account, namespace, sequence, limit)
            }

            fn drawers(&self, account: &AccountId) -> Result<Vec<Namespace>, StoreError> {
                self.reads().drawers(account)
            }

            fn mutation(&self, row: u64) -> Result<Option<Mutation>, StoreError> {
                self.reads().mutation(row)
            }

            fn usage(&self, account: &AccountId) -> Result<Usage, StoreError> {
                self.reads().usage(account)
            }

            fn occupied(&self) -> u64 {
                self.reads().occupied()
            }

            fn due(&self, now: u64, limit: usize) -> Result<Vec<(AccountId, MessageHash)>, StoreError> {
                self.reads().due(now, limit)
            }

            fn fingerprints(&self) -> Vec<(Bucket, Fingerprint)> {
                self.reads().fingerprints()
            }

            fn bucket(&self, bucket: Bucket, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError> {
                self.reads().bucket(bucket, visit)
            }

            fn incarnation(&self) -> u64 {
                self.reads().incarnation()
            }

            fn head(&self) -> u64 {
                self.reads().head()
            }
        }
    };
}

impl View<'_> {
    const fn reads(&self) -> &dyn Store {
        self.0
    }
}

reads!(Tx<'_>);
reads!(View<'_>);
