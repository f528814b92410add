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
/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 8 << 20;

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
        let shelf = Self { folder, archive: Arc::default() };
        let (mut kept, mut others) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&shelf.folder)? {
            let entry = entry?;
            let epoch: Option<u64> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let short = entry.metadata()?.len() <= MAX_FILE;
            let signed = epoch.filter(|_| short).and_then(|epoch| {
                let signed = Signed::from_bytes(domain, &fs::read(entry.path()).ok()?).ok()?;
                (signed.epoch() == epoch).then_some(signed)
            });
            match signed {
                Some(signed) => kept.push(signed),
                None => others.push(entry.path()),
            }
        }
        kept.sort_by_key(Signed::epoch);
        for path in others {
            tracing::info!(path = %path.display(), "this is no checkpoint of the network, and is removed");
            fs::remove_file(&path)?;
        }
        for signed in kept {
            let gone = shelf.lock().keep(Arc::new(signed.write()));
            shelf.remove(&gone)?;
        }
        Ok(shelf)
    }

    /// Takes one in, in place of what was known of its epoch.
    pub(crate) fn put(&self, signed: &Signed) {
        let gone = self.lock().keep(Arc::new(signed.write()));
        let kept = self.write(signed.epoch(), &signed.to_bytes()).and_then(|()| self.remove(&gone));
        if let Err(error) = kept {
            let remedy = "make the data folder writable, or see whether its disk is full";
            tracing::warn!(%error, remedy, "a signed checkpoint is not kept for clients that were away");
        }
    }

    /// The epoch of the newest, and its root of names.
    pub(crate) fn newest(&self) -> Option<(u64, [u8; 32])> {
        let archive = self.lock();
        archive.get(None).map(|one| (one.head.epoch, *one.head.names))
    }

    /// What whoever asks for one is answered.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        // What is in it is shared: nobody waits while a page is made.
        let archive = self.lock().clone();
        archive.page(request).map_or(Answer::Unknown, |page| Answer::Checkpoint(Box::new(page)))
    }

    fn remove(&self, gone: &[u64]) -> io::Result<()> {
        for epoch in gone {
            match fs::remove_file(self.path(*epoch)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use session_chain::{
        Checkpoint, StakeId,
        bls::BlsSecret,
        ledger::{Border, Cursors, Listed, Operator, Roll, Roots},
    };
    use session_protocols::KeyPair;

    use super::*;

    const DOMAIN: Domain = Domain { chain: 7, staking: NOBODY, checkpoints: NOBODY };
    const NOBODY: alloy::primitives::Address = alloy::primitives::Address::ZERO;

    /// What a node has signed of an epoch, after so many other nodes came.
    fn signed(epoch: u64, others: u8) -> Signed {
        let listed = |seed: u8| Listed {
            node: KeyPair::from_seed(&[seed; 32]).node_id(),
            id: StakeId(seed.into()),
            operator: Operator::from_bytes([seed; 20]),
            prefix: format!("127.0.{seed}.0/24").parse().unwrap(),
            bls: Some(BlsSecret::from_seed(&[seed; 32]).public()),
            now: true,
            later: true,
        };
        let mut members: Vec<_> = (1..=others + 1).map(listed).collect();
        members.sort_by_key(|one| one.node);
        let roll = Roll { members, ..Roll::default() };
        let roots =
            Roots { swarms: roll.swarms_root(), directory: roll.directory_root(), ..Roots::default() };
        let border = Border { epoch, height: 0, hash: [1; 32].into(), cursors: Cursors::default() };
        let checkpoint = Checkpoint::new(&DOMAIN, border, [2; 32].into(), roots);
        let signature = BlsSecret::from_seed(&[1; 32]).sign(checkpoint.digest.as_slice());
        let node = KeyPair::from_seed(&[1; 32]).node_id();
        Signed { checkpoint, roll: roll.into(), signatures: [(node, signature)].into() }
    }

    fn asked(shelf: &Shelf, since: Option<u64>) -> Option<u64> {
        match shelf.answer(&Request::Checkpoint { since, have: None, from: None }) {
            Answer::Checkpoint(page) => Some(page.epoch),
            Answer::Records { .. } | Answer::Snapshot(_) | Answer::Unknown => None,
        }
    }

    #[test]
    fn what_is_handed_out_is_there_again_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let open = || Shelf::open(data.path(), &DOMAIN).unwrap();
        let shelf = open();
        assert_eq!(asked(&shelf, None), None);
        for (epoch, others) in [(3, 0), (4, 1), (5, 1), (6, 1)] {
            shelf.put(&signed(epoch, others));
        }
        for shelf in [shelf, open()] {
            assert_eq!(
                [None, Some(0), Some(4), Some(5), Some(7)].map(|since| asked(&shelf, since)),
                [Some(6), Some(3), Some(4), Some(6), None]
            );
        }
        let mut names: Vec<_> = fs::read_dir(data.path().join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["3", "4", "6"], "where nobody came the newest is enough");
    }

    #[test]
    fn what_is_damaged_or_of_another_network_is_not_handed_out() {
        let data = tempfile::tempdir().unwrap();
        Shelf::open(data.path(), &DOMAIN).unwrap().put(&signed(3, 0));
        let path = data.path().join(FOLDER).join("3");
        let bytes = fs::read(&path).unwrap();
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        for (name, content) in [("3", &damaged[..]), ("3", &bytes[..9]), ("4", &bytes[..]), ("x", b"")] {
            fs::write(data.path().join(FOLDER).join(name), content).unwrap();
            let shelf = Shelf::open(data.path(), &DOMAIN).unwrap();
            assert!(asked(&shelf, None).is_none_or(|epoch| epoch == 3 && name != "3"), "{name}");
            fs::write(&path, &bytes).unwrap();
        }
        let other = Domain { chain: 8, ..DOMAIN };
        assert_eq!(asked(&Shelf::open(data.path(), &other).unwrap(), None), None);
    }
}
