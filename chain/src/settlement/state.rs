//! Cursor, ledger and index of names on disk: all of them, and the checkpoints that came of them, in one redb
//! transaction.
//!
//! What cannot be read, or belongs to other contracts, is not opened: the ledger can always be made again from
//! the chain, so whoever wants that deletes the file. Of a file that an older build wrote nothing is kept: what
//! its ledger signed were other checkpoints.

use core::fmt;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::primitives::{Address, B256, keccak256};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
    backends::InMemoryBackend,
};

use session_protocols::names::NameId;

use super::{
    contracts::Followed,
    follower::Mark,
    host::{Crossed, Signers},
    names::{Snapshot, Writing},
};
use crate::{
    ledger::{
        Block, BlsKey, Border, Checkpoint, Cursor, Cursors, Input, Ledger, Parameters, Roll, Roots, StakeId,
        snapshot::SnapshotError,
    },
    names::{Entry, Index, Row, SubEntry},
    network::Contracts,
};

/// The version of the file that this build reads and writes.
pub const SCHEMA: u8 = 3;
/// Checkpoints that are kept, the newest.
pub const CHECKPOINTS: u64 = 64;

const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// The row of those who may sign the newest checkpoint.
const SIGNERS: &str = "signers";
/// The row of the members and maps that it stands for.
const ROLL: &str = "roll";
/// The row of the ledger right behind its border.
const BORDER: &str = "border";
const KEPT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("checkpoints");
/// Bytes of memory for the database's pages.
const CACHE: usize = 64 << 20;

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process has it open.
    #[error("another process uses {path}: stop it first")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// Another build wrote it.
    #[error("{path} has schema {found}, this build reads {SCHEMA}")]
    Schema {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: u8,
    },
    /// It is of another network.
    #[error("{path} follows other contracts, or other epochs: use another file for this network")]
    Network {
        /// Which file.
        path: PathBuf,
    },
    /// What was read is not what was written.
    #[error("{path} is damaged ({why}): delete it, and the ledger is made again from the chain")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// It was opened anew, and is older than what was kept in it.
    #[error("{path} has lost what was kept in it: check its disk")]
    Lost {
        /// Which file.
        path: PathBuf,
    },
    /// The ledger in it cannot be read.
    #[error("{path} holds a ledger that cannot be read: delete it, and it is made again from the chain")]
    Ledger {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: SnapshotError,
    },
    /// The disk or the database refuses.
    #[error("cannot use {path}: see whether its disk is full, and whether this user may write to it")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<redb::Error>,
    },
}

impl StateError {
    /// Whether it may be over when the file is opened anew: a full disk, or one that fails.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Disk { .. })
    }
}

type Opener = dyn Fn() -> Result<Database, DatabaseError> + Send + Sync;

/// Where a state file is; clones are the same place.
#[derive(Clone)]
pub struct Place {
    path: PathBuf,
    open: Arc<Opener>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.path).finish()
    }
}

impl Place {
    /// The file at a path, which is made where there is none.
    pub fn file(path: &Path) -> Self {
        let at = path.to_owned();
        Self::new(path, move || {
            let fresh = match fs::metadata(&at) {
                Ok(found) => found.len() == 0,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            let opened = Database::builder().set_cache_size(CACHE).create(&at);
            if fresh && !matches!(opened, Ok(_) | Err(DatabaseError::DatabaseAlreadyOpen)) {
                // A disk that was full leaves what would be taken for a damaged file.
                let _ = fs::remove_file(&at);
            }
            opened
        })
    }

    /// What `open` opens, or makes; errors call it by this path.
    pub fn new(
        path: impl Into<PathBuf>,
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Self {
        Self { path: path.into(), open: Arc::new(open) }
    }

    /// What errors call it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The file.
pub struct StateFile {
    db: Database,
    path: PathBuf,
    /// Lives as long as the file is open.
    open: Arc<()>,
    /// What became of names since the last [`StateFile::keep`].
    writing: Option<WriteTransaction>,
}

impl fmt::Debug for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StateFile {
    /// Opens the file of a network, or begins it, and returns how far it has come.
    ///
    /// # Errors
    /// When the file is damaged, in use, of another network or of another build.
    pub fn open(
        path: &Path,
        followed: &Followed,
        parameters: Parameters,
    ) -> Result<(Self, Mark, Ledger), StateError> {
        Self::open_at(&Place::file(path), followed, parameters)
    }

    /// The same at a place. One of which an error was told is opened anew so, once it is dropped: until then the
    /// database refuses everything.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(
        place: &Place,
        followed: &Followed,
        parameters: Parameters,
    ) -> Result<(Self, Mark, Ledger), StateError> {
        let path = place.path.clone();
        let db = (place.open)().map_err(|error| {
            if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
                StateError::InUse { path: path.clone() }
            } else {
                disk(&path, error)
            }
        })?;
        Self { db, path, open: Arc::default(), writing: None }.begin(followed, parameters)
    }

    /// Begins one in memory, for whoever keeps nothing.
    ///
    /// # Errors
    /// When there is not the memory.
    pub fn in_memory(
        followed: &Followed,
        parameters: Parameters,
    ) -> Result<(Self, Mark, Ledger), StateError> {
        let path = PathBuf::from("(in memory)");
        let opened = Database::builder().set_cache_size(CACHE).create_with_backend(InMemoryBackend::new());
        let db = opened.map_err(|error| disk(&path, error))?;
        Self { db, path, open: Arc::default(), writing: None }.begin(followed, parameters)
    }

    fn begin(self, followed: &Followed, parameters: Parameters) -> Result<(Self, Mark, Ledger), StateError> {
        let mut file = self;
        let network = network(followed, &parameters);
        let damaged = |why| StateError::Damaged { path: file.path.clone(), why };
        let (found, header, state) = file.read()?;
        let Some(header) = header else {
            if found {
                return Err(damaged("it does not say what it is"));
            }
            let (mark, ledger) = (Mark::before(followed), Ledger::new(parameters));
            file.write(Some(&network), &mark, &ledger, None)?;
            return Ok((file, mark, ledger));
        };
        let (schema, of) = header.split_first().ok_or_else(|| damaged("it does not say what it is"))?;
        if *schema > SCHEMA {
            return Err(StateError::Schema { path: file.path, found: *schema });
        }
        if *of != network {
            return Err(StateError::Network { path: file.path });
        }
        if *schema < SCHEMA {
            let Self { db, path, .. } = file;
            drop(db);
            tracing::info!(path = %path.display(), schema, "an older build wrote this ledger: it is made again");
            fs::remove_file(&path).map_err(|cause| disk(&path, redb::Error::Io(cause)))?;
            return Self::open(&path, followed, parameters);
        }
        let [mark, ledger] = state.ok_or_else(|| damaged("there is no ledger"))?;
        let mark = read_mark(&mark, &ledger).ok_or_else(|| damaged("the ledger is not the cursor's"))?;
        let ledger = Ledger::from_bytes(parameters, &ledger)
            .map_err(|cause| StateError::Ledger { path: file.path.clone(), cause })?;
        if ledger.epoch() != mark.epoch || ledger.height() > mark.height {
            return Err(damaged("the ledger is not the cursor's"));
        }
        Ok((file, mark, ledger))
    }

    /// Takes what blocks say of names. It is seen by [`Self::names`] at once, and kept with [`Self::keep`].
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn name(&mut self, blocks: &[Block]) -> Result<(), StateError> {
        let inputs = || blocks.iter().flat_map(|block| &block.inputs);
        if !inputs().any(|input| matches!(input, Input::Name(_))) {
            return Ok(());
        }
        self.write_names(|index| {
            for input in inputs() {
                if let Input::Name(change) = input {
                    index.apply(change)?;
                }
            }
            Ok(())
        })
    }

    /// Ends an epoch of names at an instant, in seconds since 1970, and returns the root of all that there are.
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn cross_names(&mut self, now: u64) -> Result<B256, StateError> {
        self.write_names(|index| index.cross(now))
    }

    /// The index of names as it was kept last; it stays as it is when the file goes on, and can be read as long as the
    /// file is open.
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn index(&self) -> Result<Index<Snapshot>, StateError> {
        let open = || Ok(Index(Snapshot::open(&self.db.begin_read()?, &self.open)?));
        open().map_err(|cause: redb::Error| disk(&self.path, cause))
    }

    /// Shows all names as they are now, also what is not kept yet, in order of their ids, until `see` returns
    /// false.
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn names(&mut self, see: impl FnMut(NameId, Entry) -> bool) -> Result<(), StateError> {
        self.write_names(|index| index.names(see))
    }

    /// What is known of a name now, also what is not kept yet.
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn named(&mut self, id: &NameId) -> Result<Option<Entry>, StateError> {
        self.write_names(|index| index.name(id))
    }

    /// The same of a sub-name.
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn sub_named(&mut self, id: &NameId, sub: B256) -> Result<Option<SubEntry>, StateError> {
        self.write_names(|index| index.sub(id, sub))
    }

    /// By which name an account goes now.
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn goes_by(&mut self, account: Address) -> Result<Option<NameId>, StateError> {
        self.write_names(|index| index.reverse(account))
    }

    fn write_names<T>(
        &mut self,
        work: impl FnOnce(&mut Index<Writing<'_>>) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        self.write_names_of(false, work)
    }

    /// The same without those names that were kept, until they are forgotten or kept.
    fn write_other_names<T>(
        &mut self,
        work: impl FnOnce(&mut Index<Writing<'_>>) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        if self.writing.is_none() {
            self.write_names_of(true, |_| Ok(()))?;
        }
        self.write_names(work)
    }

    fn write_names_of<T>(
        &mut self,
        anew: bool,
        work: impl FnOnce(&mut Index<Writing<'_>>) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let Self { db, path, writing, open: _ } = self;
        let run = || {
            let write = match writing.take() {
                Some(write) => write,
                None => db.begin_write()?,
            };
            let names = if anew { Writing::anew(&write)? } else { Writing::open(&write)? };
            let done = work(&mut Index(names))?;
            *writing = Some(write);
            Ok(done)
        };
        run().map_err(|cause: redb::Error| disk(path, cause))
    }

    /// Keeps how far the chain has been followed and what came of it, durably: right behind a border also the
    /// checkpoint, who may sign it, and what it says about members and maps.
    ///
    /// # Errors
    /// When the disk or the database refuses; the file is as it was, or has kept it.
    pub fn keep(
        &mut self,
        mark: &Mark,
        ledger: &Ledger,
        crossed: Option<&Crossed>,
    ) -> Result<(), StateError> {
        self.write(None, mark, ledger, crossed)
    }

    /// The newest checkpoints, oldest first.
    ///
    /// # Errors
    /// When the disk or the database refuses, or what it holds is damaged.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, StateError> {
        let disk = |error: redb::Error| disk(&self.path, error);
        let read = self.db.begin_read().map_err(|error| disk(error.into()))?;
        let table = read.open_table(KEPT).map_err(|error| disk(error.into()))?;
        let rows = table.iter().map_err(|error| disk(error.into()))?;
        rows.map(|row| {
            let (_, bytes) = row.map_err(|error| disk(error.into()))?;
            let damaged = || StateError::Damaged { path: self.path.clone(), why: "a checkpoint" };
            read_checkpoint(bytes.value()).ok_or_else(damaged)
        })
        .collect()
    }

    /// Who may sign the newest checkpoint.
    ///
    /// # Errors
    /// When the disk or the database refuses, or what it holds is damaged.
    pub fn signers(&self) -> Result<Signers, StateError> {
        Ok(self.row(SIGNERS, "who may sign", read_signers)?.unwrap_or_default())
    }

    /// The members and maps that the newest checkpoint stands for; nobody where an older build wrote it.
    ///
    /// # Errors
    /// When the disk or the database refuses, or what it holds is damaged.
    pub fn roll(&self) -> Result<Roll, StateError> {
        Ok(self.row(ROLL, "members and maps", |bytes| Roll::from_bytes(bytes).ok())?.unwrap_or_default())
    }

    /// The ledger right behind the newest border, as bytes; empty before the first.
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn border(&self) -> Result<Vec<u8>, StateError> {
        Ok(self.row(BORDER, "the ledger of a border", |bytes| Some(bytes.to_vec()))?.unwrap_or_default())
    }

    /// Takes rows of names as they were at a border, beside those that were taken since the last [`Self::keep`], in
    /// place of those that were kept.
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn restore_names(&mut self, rows: &[Row]) -> Result<(), StateError> {
        self.write_other_names(|index| index.restore(rows))
    }

    /// Makes the tree of all names that were restored, and returns its root. They are kept with [`Self::keep`].
    ///
    /// # Errors
    /// When the disk or the database refuses.
    pub fn plant_names(&mut self) -> Result<B256, StateError> {
        self.write_other_names(|index| index.plant())
    }

    /// Forgets what is not kept.
    pub fn forget(&mut self) {
        self.writing = None;
    }

    fn row<T>(
        &self,
        name: &str,
        why: &'static str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StateError> {
        let read = || -> Result<_, redb::Error> {
            let state = self.db.begin_read()?.open_table(STATE)?;
            Ok(state.get(name)?.map(|bytes| parse(bytes.value())))
        };
        match read().map_err(|cause| disk(&self.path, cause))? {
            Some(parsed) => {
                parsed.map(Some).ok_or_else(|| StateError::Damaged { path: self.path.clone(), why })
            }
            None => Ok(None),
        }
    }

    fn write(
        &mut self,
        network: Option<&[u8]>,
        mark: &Mark,
        ledger: &Ledger,
        crossed: Option<&Crossed>,
    ) -> Result<(), StateError> {
        let bytes = ledger.to_bytes();
        let writing = self.writing.take();
        let put = || -> Result<(), redb::Error> {
            let write = match writing {
                Some(write) => write,
                None => self.db.begin_write()?,
            };
            {
                // So that whoever reads finds the tables.
                drop(Writing::open(&write)?);
                let mut state = write.open_table(STATE)?;
                if let Some(network) = network {
                    state.insert("network", [&[SCHEMA], network].concat().as_slice())?;
                }
                state.insert("mark", mark_bytes(mark, &bytes).as_slice())?;
                state.insert("ledger", bytes.as_slice())?;
                let mut kept = write.open_table(KEPT)?;
                if let Some(Crossed { checkpoint, signers, roll }) = crossed {
                    state.insert(SIGNERS, signers_bytes(signers).as_slice())?;
                    state.insert(ROLL, roll.to_bytes().as_slice())?;
                    state.insert(BORDER, bytes.as_slice())?;
                    let epoch = checkpoint.border.epoch;
                    kept.insert(epoch, checkpoint_bytes(checkpoint).as_slice())?;
                    kept.retain(|of, _| of.saturating_add(CHECKPOINTS) > epoch)?;
                }
            }
            write.commit()?;
            Ok(())
        };
        put().map_err(|cause| disk(&self.path, cause))
    }

    /// Whether the file holds anything, what it says of itself, and its mark and ledger.
    #[expect(clippy::type_complexity, reason = "read in one place")]
    fn read(&self) -> Result<(bool, Option<Vec<u8>>, Option<[Vec<u8>; 2]>), StateError> {
        let read = || -> Result<_, redb::Error> {
            let read = self.db.begin_read()?;
            let state = match read.open_table(STATE) {
                Ok(state) => state,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok((false, None, None)),
                Err(error) => return Err(error.into()),
            };
            let get = |key| -> Result<_, redb::Error> { Ok(state.get(key)?.map(|it| it.value().to_vec())) };
            let both = get("mark")?.zip(get("ledger")?).map(|(mark, ledger)| [mark, ledger]);
            Ok((true, get("network")?, both))
        };
        read().map_err(|cause| disk(&self.path, cause))
    }
}

fn disk(path: &Path, cause: impl Into<redb::Error>) -> StateError {
    let (path, cause) = (path.to_owned(), cause.into());
    if matches!(cause, redb::Error::Corrupted(_)) {
        return StateError::Damaged { path, why: "it is corrupted" };
    }
    if matches!(&cause, redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData) {
        return StateError::Damaged { path, why: "it is no database" };
    }
    StateError::Disk { path, cause: Box::new(cause) }
}

/// What two files of one network have in common.
fn network(followed: &Followed, parameters: &Parameters) -> Vec<u8> {
    let Followed { chain, start, contracts } = followed;
    let Contracts { staking, checkpoints, pool, names, .. } = contracts;
    let Parameters { genesis, epoch_seconds, active_for, lock, .. } = parameters;
    let addresses = [staking, checkpoints, pool, names].into_iter().flatten().copied();
    let numbers = [*chain, *start, *genesis, epoch_seconds.get(), *active_for, *lock];
    addresses.chain(numbers.into_iter().flat_map(u64::to_be_bytes)).collect()
}

fn cursors_bytes(cursors: &Cursors) -> Vec<u8> {
    let cursor = |cursor: &Cursor| [&cursor.number.to_be_bytes()[..], cursor.hash.as_slice()].concat();
    [&cursors.staking, &cursors.checkpoints, &cursors.pool, &cursors.names]
        .into_iter()
        .flat_map(cursor)
        .collect()
}

/// The mark, and a hash over it and its ledger.
fn mark_bytes(mark: &Mark, ledger: &[u8]) -> Vec<u8> {
    let Mark { height, hash, time, epoch, cursors } = mark;
    let numbers = [height, time, epoch].into_iter().flat_map(|number| number.to_be_bytes());
    let mut bytes: Vec<u8> = numbers.chain(hash.0).chain(cursors_bytes(cursors)).collect();
    bytes.extend(keccak256([&bytes, ledger].concat()));
    bytes
}

fn read_mark(bytes: &[u8], ledger: &[u8]) -> Option<Mark> {
    let mut reader = Reader(bytes);
    let (height, time, epoch) = (reader.number()?, reader.number()?, reader.number()?);
    let mark = Mark { height, hash: reader.word()?, time, epoch, cursors: reader.cursors()? };
    (mark_bytes(&mark, ledger) == bytes).then_some(mark)
}

fn checkpoint_bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    let Checkpoint { border, previous, roots, digest } = checkpoint;
    let Roots { rewards, states, swarms, directory, names } = roots;
    let words = [&border.hash, previous, rewards, states, swarms, directory, names, digest];
    let numbers = [border.epoch, border.height].into_iter().flat_map(u64::to_be_bytes);
    numbers.chain(words.into_iter().flatten().copied()).chain(cursors_bytes(&border.cursors)).collect()
}

fn read_checkpoint(bytes: &[u8]) -> Option<Checkpoint> {
    let mut reader = Reader(bytes);
    let (epoch, height) = (reader.number()?, reader.number()?);
    let (hash, previous) = (reader.word()?, reader.word()?);
    let (rewards, states, swarms) = (reader.word()?, reader.word()?, reader.word()?);
    let roots = Roots { rewards, states, swarms, directory: reader.word()?, names: reader.word()? };
    let (digest, cursors) = (reader.word()?, reader.cursors()?);
    let border = Border { epoch, height, hash, cursors };
    reader.0.is_empty().then_some(Checkpoint { border, previous, roots, digest })
}

fn signers_bytes(signers: &Signers) -> Vec<u8> {
    signers.iter().flat_map(|(id, key)| id.0.to_be_bytes().into_iter().chain(key.0)).collect()
}

fn read_signers(bytes: &[u8]) -> Option<Signers> {
    let mut reader = Reader(bytes);
    let mut signers = Signers::new();
    while !reader.0.is_empty() {
        signers.insert(StakeId(reader.number()?), BlsKey(reader.take()?));
    }
    Some(signers)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn word(&mut self) -> Option<B256> {
        self.take().map(B256::new)
    }

    fn cursors(&mut self) -> Option<Cursors> {
        let mut cursor = || Some(Cursor { number: self.number()?, hash: self.word()? });
        Some(Cursors { staking: cursor()?, checkpoints: cursor()?, pool: cursor()?, names: cursor()? })
    }
}

#[cfg(test)]
mod tests;
