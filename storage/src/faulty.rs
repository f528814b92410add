//! A disk in memory that fails on demand: writes wait for a sync, and a power loss takes some.
//!
//! Everything follows from calls and seeds, so a failure replays. Operations that change a file
//! (writes, changes of length, syncs) are counted over all files: a [`Fault`] names one of them.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use crate::Disk;

/// What goes wrong at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and changes nothing; a sync leaves what it should have made durable unsynced.
    Error,
    /// Half of what it writes is written, then it fails.
    Half,
    /// It fails, and so does everything after it.
    PowerLoss,
}

/// What a power loss leaves of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of them: the process was killed, the machine went on.
    Nothing,
    /// None of them.
    Everything,
    /// All up to a moment that is drawn from the seed; the tail is gone.
    Tail(u64),
    /// Each one or not, drawn from the seed.
    Scattered(u64),
    /// Each sector of 4,096 bytes of each one or not, drawn from the seed.
    Sectors(u64),
}

const SECTOR: usize = 4_096;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// In order, over all files.
    unsynced: Vec<Change>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    next_sync: Option<Fault>,
    capacity: Option<u64>,
    off: bool,
}

/// One change of a file, to be undone or done again.
struct Change {
    file: String,
    kind: Kind,
}

enum Kind {
    Write { offset: usize, old: Vec<u8>, new: Vec<u8> },
    Length { old: usize, new: usize, cut: Vec<u8> },
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("FaultyDisk")
            .field("files", &state.files.len())
            .field("operations", &state.operations)
            .finish()
    }
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds these files, synced.
    pub fn from_image(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    /// What the files hold, synced or not.
    pub fn image(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().files.clone()
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many bytes all files take up.
    pub fn len(&self) -> u64 {
        self.state().len()
    }

    /// Whether no file holds anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets an operation go wrong; the first ever is number 0.
    pub fn fail(&self, operation: u64, fault: Fault) {
        self.state().faults.insert(operation, fault);
    }

    /// Lets the next sync go wrong, whichever operation that is.
    pub fn fail_next_sync(&self, fault: Fault) {
        self.state().next_sync = Some(fault);
    }

    /// Takes back the faults that no operation has met yet.
    pub fn mend(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.next_sync = None;
    }

    /// Lets every operation fail from here on.
    pub fn power_off(&self) {
        self.state().off = true;
    }

    /// Lets the disk be full once all files together would take more than this; none: never.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Turns one bit around, drawn from the seed; tells which file and which bit.
    pub fn flip(&self, seed: u64) -> Option<(String, usize)> {
        let mut state = self.state();
        let mut draw = Draw(seed);
        let mut bit = usize::try_from(draw.below(state.len().saturating_mul(8))).ok()?;
        for (name, file) in &mut state.files {
            if let Some(byte) = file.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
                return Some((name.clone(), bit));
            }
            bit = bit.saturating_sub(file.len().saturating_mul(8));
        }
        None
    }

    /// The disk that is found after a power loss.
    pub fn survivor(&self, loss: Loss) -> Self {
        let state = self.state();
        let mut files = state.files.clone();
        if loss == Loss::Nothing {
            return Self::from_image(files);
        }
        for Change { file, kind } in state.unsynced.iter().rev() {
            let bytes = files.entry(file.clone()).or_default();
            match kind {
                Kind::Write { offset, old, .. } => put(bytes, *offset, old),
                Kind::Length { old, cut, new } => {
                    bytes.resize(*old, 0);
                    put(bytes, *new, cut);
                }
            }
        }
        let mut draw = Draw(match loss {
            Loss::Tail(seed) | Loss::Scattered(seed) | Loss::Sectors(seed) => seed,
            Loss::Nothing | Loss::Everything => 0,
        });
        let kept = draw.below((state.unsynced.len() as u64).saturating_add(1));
        for (at, Change { file, kind }) in state.unsynced.iter().enumerate() {
            let keep = match loss {
                Loss::Nothing => true,
                Loss::Everything => false,
                Loss::Tail(_) => (at as u64) < kept,
                Loss::Scattered(_) => draw.coin(),
                // A length is not torn.
                Loss::Sectors(_) => matches!(kind, Kind::Write { .. }) || draw.coin(),
            };
            if !keep {
                continue;
            }
            let bytes = files.entry(file.clone()).or_default();
            match kind {
                Kind::Length { new, .. } => bytes.resize(*new, 0),
                Kind::Write { offset, new, .. } => {
                    let mut at = *offset;
                    for sector in new.chunks(SECTOR) {
                        if !matches!(loss, Loss::Sectors(_)) || draw.coin() {
                            put(bytes, at, sector);
                        }
                        at = at.saturating_add(sector.len());
                    }
                }
            }
        }
        Self::from_image(files)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes into a file, which grows where that is needed.
fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if !bytes.is_empty() && file.len() < end {
        file.resize(end, 0);
    }
    if let Some(place) = file.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl State {
    fn len(&self) -> u64 {
        self.files.values().map(|file| file.len() as u64).fold(0, u64::saturating_add)
    }

    /// Counts an operation; tells the fault that it meets.
    fn operate(&mut self) -> io::Result<Option<Fault>> {
        let fault = self.faults.get(&self.operations).copied();
        self.operations = self.operations.saturating_add(1);
        self.off |= fault == Some(Fault::PowerLoss);
        if self.off || fault == Some(Fault::Error) {
            return Err(io::Error::other("the disk failed, as it was told to"));
        }
        Ok(fault)
    }

    /// Whether a file may take up so much.
    fn allow(&self, name: &str, len: usize) -> io::Result<()> {
        let own = self.files.get(name).map_or(0, Vec::len);
        let more = len.saturating_sub(own) as u64;
        if more > 0 && self.capacity.is_some_and(|capacity| self.len().saturating_add(more) > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for FaultyDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.state();
        if state.off {
            return Err(io::Error::other("the disk is off"));
        }
        state.files.entry(name.to_owned()).or_default();
        Ok(Box::new(File { disk: self.clone(), name: name.to_owned() }))
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

/// One file of a [`FaultyDisk`].
#[derive(Debug)]
struct File {
    disk: FaultyDisk,
    name: String,
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state.files.get(&self.name).map_or(0, |file| file.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        if state.off {
            return Err(io::Error::other("the disk is off"));
        }
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|offset| state.files.get(&self.name)?.get(offset..offset.checked_add(out.len())?));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        let new = usize::try_from(len).map_err(io::Error::other)?;
        state.allow(&self.name, new)?;
        state.operate()?;
        let file = state.files.entry(self.name.clone()).or_default();
        let old = file.len();
        let cut = file.get(new..).map(<[u8]>::to_vec).unwrap_or_default();
        file.resize(new, 0);
        state.unsynced.push(Change { file: self.name.clone(), kind: Kind::Length { old, new, cut } });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Some(fault) = state.next_sync.take() {
            let this = state.operations;
            state.faults.insert(this, fault);
        }
        if state.operate()?.is_some() {
            return Err(io::Error::other("the disk failed, as it was told to"));
        }
        state.unsynced.retain(|change| change.file != self.name);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = offset.saturating_add(data.len());
        state.allow(&self.name, end)?;
        let fault = state.operate()?;
        let new = if fault.is_some() { data.get(..data.len() / 2).unwrap_or_default() } else { data };
        let file = state.files.entry(self.name.clone()).or_default();
        if file.len() < end {
            let kind = Kind::Length { old: file.len(), new: end, cut: Vec::new() };
            file.resize(end, 0);
            state.unsynced.push(Change { file: self.name.clone(), kind });
        }
        let old = file.get(offset..offset.saturating_add(new.len())).unwrap_or_default().to_vec();
        put(file, offset, new);
        let kind = Kind::Write { offset, old, new: new.to_vec() };
        state.unsynced.push(Change { file: self.name.clone(), kind });
        if fault.is_some() { Err(io::Error::other("the disk failed, as it was told to")) } else { Ok(()) }
    }
}

/// Numbers that follow from a seed: splitmix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or_default()
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

#[cfg(test)]
mod tests;
