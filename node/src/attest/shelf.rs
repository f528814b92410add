//! `checkpoints/`: those that most members have signed, for whoever follows no chain. One file each.
//!
//! Losing them loses nothing but time for those who were away for long.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use session_chain::{
    ledger::Domain,
    light::{Archive, Signed},
};
use session_protocols::directory::{Answer, Request};

use crate::keystore::Draft;

const FOLDER: &str = "checkpoints";

/// The checkpoints that this node hands out; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    archive: Arc<Mutex<Archive>>,
}

impl Shelf {
    /// What the data folder has of this network; what cannot be read counts for nothing.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or listed.
    pub(crate) fn open(data: &Path, domain: &Domain) -> io::Result<Self> {
        let folder = data.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let mut archive = Archive::default();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match fs::read(&path).map(|bytes| Signed::from_bytes(domain, &bytes)) {
                Ok(Ok(signed)) => drop(archive.keep(Arc::new(signed.write()))),
                Ok(Err(_)) | Err(_) => {
                    tracing::info!(path = %path.display(), "this is no checkpoint of the network, and is removed");
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(Self { folder, archive: Arc::new(Mutex::new(archive)) })
    }

    /// Takes one in, with more signatures than what was known of its epoch. It is written at first, and once
    /// more when the next comes: a signature that came late is one that somebody may need.
    pub(crate) fn put(&self, signed: &Signed) {
        let (epoch, bytes) = (signed.epoch(), signed.to_bytes());
        let mut archive = self.lock();
        let known = archive.of(epoch).is_some();
        let before = archive.get(None).filter(|_| !known).cloned();
        let gone = archive.keep(Arc::new(signed.write()));
        let before = before.filter(|one| archive.of(one.head.epoch).is_some());
        drop(archive);
        if known {
            return;
        }
        let write = || -> io::Result<()> {
            if let Some(before) = before {
                self.write(before.head.epoch, &session_protocols::codec::encode(&*before))?;
            }
            for epoch in gone {
                match fs::remove_file(self.path(epoch)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            self.write(epoch, &bytes)
        };
        if let Err(error) = write() {
            let remedy = "make the data folder writable, or see whether its disk is full";
            tracing::warn!(%error, remedy, "a signed checkpoint is not kept for clients that were away");
        }
    }

    /// What whoever asks for one is answered.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        self.lock().page(request).map_or(Answer::Unknown, |page| Answer::Checkpoint(Box::new(page)))
    }

    fn write(&self, epoch: u64, bytes: &[u8]) -> io::Result<()> {
        Draft::write(&self.folder, &epoch.to_string(), bytes)?.replace(&self.path(epoch))
    }

    fn path(&self, epoch: u64) -> PathBuf {
        self.folder.join(epoch.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Archive> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
