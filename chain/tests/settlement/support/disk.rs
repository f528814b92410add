//! A disk in memory that is full, or fails, while it is told to.

use std::{
    io,
    sync::{Arc, Mutex},
};

use redb::{Builder, StorageBackend, backends::InMemoryBackend};
use session_chain::settlement::state::Place;

/// What goes wrong with whatever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// There is no room for it.
    Full,
    /// It is there, but the disk does not say that it will stay.
    Unsynced,
    /// The next write fails, and none after it.
    Once,
}

/// A disk with one file. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<State>);

#[derive(Debug, Default)]
struct State {
    file: InMemoryBackend,
    fault: Mutex<Fault>,
}

impl Disk {
    /// The file on it.
    pub fn place(&self) -> Place {
        let disk = self.clone();
        Place::new("disk/chain.redb", move || Builder::new().create_with_backend(disk.clone()))
    }

    pub fn set(&self, fault: Fault) {
        *self.0.fault.lock().unwrap() = fault;
    }

    pub fn fault(&self) -> Fault {
        *self.0.fault.lock().unwrap()
    }

    /// Whether something may be written.
    fn allow(&self) -> io::Result<()> {
        let mut fault = self.0.fault.lock().unwrap();
        match *fault {
            Fault::None | Fault::Unsynced => Ok(()),
            Fault::Full => Err(io::ErrorKind::StorageFull.into()),
            Fault::Once => {
                *fault = Fault::None;
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        StorageBackend::len(&self.0.file)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(&self.0.file, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.allow()?;
        StorageBackend::set_len(&self.0.file, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.fault() {
            Fault::None | Fault::Once => Ok(()),
            Fault::Full | Fault::Unsynced => Err(io::Error::other("it is not known to be durable")),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.allow()?;
        StorageBackend::write(&self.0.file, offset, data)
    }
}
