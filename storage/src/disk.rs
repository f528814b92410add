//! Where the files of a store are.

use std::{
    fmt, fs, io,
    ops::Bound,
    path::{Path, PathBuf},
};

use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};
use session_protocols::store::StoreError;

use crate::error::{Stop, failed, guarded};

/// A place that holds files by name.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    ///
    /// When the place refuses.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// How a person finds the place.
    fn place(&self) -> String;

    /// Tells whether there is room: takes so many bytes, and gives them back.
    ///
    /// # Errors
    ///
    /// When there is none.
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        const STEP: usize = 1 << 16;
        let file = self.open("reserve")?;
        let zeros = [0; STEP];
        let mut steps = (0..bytes).step_by(STEP);
        let taken = steps.try_for_each(|at| file.write(at, &zeros));
        let taken = taken.and_then(|()| file.sync_data());
        // The room is given back, whatever came of it.
        let given = file.set_len(0);
        taken.and(given)
    }
}

/// A directory of the file system; made when it is missing.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().to_owned())
    }
}

impl Disk for Directory {
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        fs::create_dir_all(&self.0)?;
        let path = self.0.join(name);
        let known = path.exists();
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if !known {
            // A file whose name is not durable is gone after a power loss, synced or not.
            fs::File::open(&self.0)?.sync_all()?;
        }
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

/// Opens a file of the disk as a database, or makes it.
pub(crate) fn open(disk: &dyn Disk, name: &str, cache: usize) -> Result<Database, Stop> {
    let file = || disk.open(name).map_err(|error| failed(redb::Error::Io(error)));
    let open = |file| {
        guarded(|| Builder::new().set_cache_size(cache).create_with_backend(Boxed(file)).map_err(Opening))
    };
    match open(file()?) {
        Ok(db) => Ok(db),
        Err(Opening(DatabaseError::DatabaseAlreadyOpen)) => Err(Stop::InUse),
        Err(Opening(error)) => {
            // A crash while redb made the file leaves one that it does not know.
            let unborn = file()?;
            if !blank(unborn.as_ref()).unwrap_or(false) {
                return Err(failed(error).into());
            }
            unborn.set_len(0).map_err(|error| failed(redb::Error::Io(error)))?;
            open(unborn).map_err(|Opening(error)| failed(error).into())
        }
    }
}

struct Opening(DatabaseError);

impl From<StoreError> for Opening {
    fn from(error: StoreError) -> Self {
        Self(redb::StorageError::Corrupted(error.to_string()).into())
    }
}

/// Whether a file never took a commit: there is nothing behind its header.
fn blank(file: &dyn StorageBackend) -> io::Result<bool> {
    const HEADER: u64 = 4_096;
    const LONGEST: u64 = 1 << 21;
    let len = file.len()?;
    if len > LONGEST {
        return Ok(false);
    }
    let mut rest = vec![0; usize::try_from(len.saturating_sub(HEADER)).map_err(io::Error::other)?];
    file.read(HEADER.min(len), &mut rest)?;
    Ok(rest.iter().all(|byte| *byte == 0))
}

/// A boxed backend is a backend.
#[derive(Debug)]
struct Boxed(Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
