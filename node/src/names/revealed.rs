//! Names that their owners revealed, found by the hashes that clients of the JSON door ask for.
//!
//! Whether a name is called what somebody says of it, its keys show, which are dear to make. They are made for whom
//! they are asked for, one name at a time, and kept while the name is revealed: so a name costs its run once, however
//! many are asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use session_chain::{
    names::{Entry, Index, Key, tables::Read},
    settlement::names::Snapshot,
};
use session_protocols::{
    AccountId,
    answer::Code,
    door::names::hash,
    limits::Seats,
    names::{COST, Cost, Kind, Label, Name, NameKeys, Value},
};
use tokio::sync::Semaphore;

use super::{Names, unreadable};
use crate::{
    door::Caller,
    now,
    seat::{Seat, SharedSeats},
};

/// Names that are found by hash, and whose keys are kept once they were made; beyond it those with the greatest ids
/// are not.
const MAX_REVEALED: usize = 1 << 18;
/// Who looks for a name by its hash at once, each on a thread; beyond it 429. The first after a border reads all
/// names for all of them.
pub(super) const MAX_LOOKING: usize = 64;
/// Who waits for keys to be made, which is done for one name at a time; beyond it 429.
pub(super) const MAX_ASKING: usize = 64;
/// How many of either are one client's.
pub(super) const EACH: usize = 16;

/// What is known of them; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Revealed {
    known: Arc<Mutex<Known>>,
    /// Seats of those who look, and of those who wait for keys to be made.
    pub(super) looking: SharedSeats<Caller>,
    pub(super) asking: SharedSeats<Caller>,
    /// One turn: keys are made one at a time.
    pub(super) making: Arc<Semaphore>,
    /// What making them costs.
    pub(super) cost: Cost,
}

/// The names as of one border.
#[derive(Debug, Default)]
struct Known {
    /// The epoch that ended there.
    epoch: Option<u64>,
    /// By their hashes.
    names: BTreeMap<[u8; 32], Called>,
}

/// What somebody says that a name of theirs is called.
#[derive(Debug)]
struct Called {
    label: Label,
    /// Its keys, once they were made.
    keys: Option<Arc<NameKeys>>,
}

impl Default for Revealed {
    fn default() -> Self {
        let [looking, asking] =
            [MAX_LOOKING, MAX_ASKING].map(|seats| Arc::new(Mutex::new(Seats::new(EACH, seats))));
        Self { known: Arc::default(), looking, asking, making: Arc::new(Semaphore::new(1)), cost: COST }
    }
}

impl Revealed {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the keys of a name, in turn, for somebody who waits for them.
    async fn make(&self, hash: [u8; 32], label: Label, whose: Caller) -> Result<Arc<NameKeys>, Code> {
        let seat = seat(&self.asking, whose)?;
        let turn = Arc::clone(&self.making).acquire_owned().await.map_err(|_| Code::Failed)?;
        let revealed = self.clone();
        off((seat, turn), move || {
            // Somebody before may have asked for the same.
            let made = revealed.lock().names.get(&hash).and_then(|called| called.keys.clone());
            if let Some(keys) = made {
                return Ok(keys);
            }
            let keys = NameKeys::of(&Name::from(label), revealed.cost).map_err(|_| Code::Failed)?;
            let keys = Arc::new(keys);
            if let Some(called) = revealed.lock().names.get_mut(&hash) {
                called.keys = Some(Arc::clone(&keys));
            }
            Ok(keys)
        })
        .await
    }
}

impl Names {
    /// The account of a name that its owner revealed, found by its [`hash`]: as of the border that is served.
    ///
    /// Keys that are known are at hand. Others are made one at a time, which takes a while, and nobody waits for that
    /// but those who ask for them. Who finds no seat is told so, [`Code::TooMany`].
    pub(crate) async fn revealed(
        &self,
        hash: [u8; 32],
        whose: Caller,
    ) -> Result<Option<(Label, AccountId)>, Code> {
        let (names, seat_of_one) = (self.clone(), seat(&self.revealed.looking, whose)?);
        let called = off(seat_of_one, move || names.called(&hash)).await?;
        let Some((label, keys)) = called else { return Ok(None) };
        let keys = match keys {
            Some(keys) => keys,
            None => self.revealed.make(hash, label.clone(), whose).await?,
        };
        let (names, seat_of_one) = (self.clone(), seat(&self.revealed.looking, whose)?);
        off(seat_of_one, move || names.open(label, &keys)).await
    }

    /// What the name of a hash is called, and its keys where they are known.
    #[expect(clippy::type_complexity, reason = "read in one place")]
    fn called(&self, hash: &[u8; 32]) -> Result<Option<(Label, Option<Arc<NameKeys>>)>, Code> {
        let (epoch, index) = self.served().ok_or(Code::NotReady)?;
        let mut known = self.revealed.lock();
        // Who was served the one before may come late.
        if known.epoch < Some(epoch) {
            let mut names = called(&index).map_err(|error| unreadable(&index, error))?;
            for (hash, before) in std::mem::take(&mut known.names) {
                if let Some(called) = names.get_mut(&hash) {
                    called.keys = before.keys;
                }
            }
            *known = Known { epoch: Some(epoch), names };
        }
        Ok(known.names.get(hash).map(|called| (called.label.clone(), called.keys.clone())))
    }

    /// The account that a name leads to, if it is called so.
    fn open(&self, label: Label, keys: &NameKeys) -> Result<Option<(Label, AccountId)>, Code> {
        let (_, index) = self.served().ok_or(Code::NotReady)?;
        let proven = index.prove(&Key::Name(keys.id())).map_err(|error| unreadable(&index, error))?;
        let entry = proven.value.and_then(|bytes| Entry::from_bytes(&bytes).ok());
        // Another one may say that its name is called so.
        let called = |entry: &Entry| entry.revealed.as_deref() == Some(label.as_str());
        let entry = entry.filter(|entry| called(entry) && entry.is_live(now().as_millis() / 1_000));
        let opened = entry.and_then(|entry| {
            let sealed = entry.records.get(&Kind::Account.number())?;
            keys.open(entry.version, Kind::Account, sealed).ok()
        });
        Ok(match opened {
            Some(Value::Account(account)) => Some((label, account)),
            _ => None,
        })
    }
}

fn seat(of: &SharedSeats<Caller>, whose: Caller) -> Result<Seat<Caller>, Code> {
    Seat::take(of, whose).ok_or(Code::TooMany)
}

/// Does what takes a while beside the tasks of the runtime. The seat is held until it is done, though nobody waits
/// for it any more.
async fn off<T: Send + 'static>(
    seat: impl Send + 'static,
    does: impl FnOnce() -> Result<T, Code> + Send + 'static,
) -> Result<T, Code> {
    let done = tokio::task::spawn_blocking(move || {
        let done = does();
        drop(seat);
        done
    });
    done.await.unwrap_or(Err(Code::Failed))
}

/// What names are called that their owners revealed, by the hashes.
fn called(index: &Index<Snapshot>) -> Result<BTreeMap<[u8; 32], Called>, <Snapshot as Read>::Error> {
    let mut names = BTreeMap::new();
    index.names(|_, entry| {
        let label = entry.revealed.and_then(|called| called.parse::<Label>().ok());
        names.extend(label.map(|label| (hash(&label), Called { label, keys: None })));
        names.len() < MAX_REVEALED
    })?;
    Ok(names)
}
