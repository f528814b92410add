//! A disk of its own for a node, which can be slow, and full.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::NamedTempFile;

use crate::support::allowed;

/// What it has room for, in bytes: what a node of a test keeps, several times.
const SIZE: u64 = 64 << 20;
/// How long it does nothing at a time: longer than a commit may take, with the way of a message to it.
const STALL: Duration = Duration::from_secs(2);

/// A small disk at a folder, for as long as this lives.
pub(super) struct Disk {
    folder: PathBuf,
    _image: NamedTempFile,
}

impl Disk {
    /// Moves what is in a folder to a disk that is mounted there. None, with a message, where this user may not mount one.
    pub(super) fn below(folder: &Path) -> Option<Self> {
        let image = NamedTempFile::new().unwrap();
        image.as_file().set_len(SIZE).unwrap();
        let (file, at) = (image.path().to_str().unwrap(), folder.to_str().unwrap());
        // No room is kept back for the owner of the system.
        let made = allowed("mkfs.ext4", &["-q", "-m", "0", "-b", "4096", "-O", "^has_journal", file]);
        let kept = tempfile::tempdir().unwrap();
        copy(folder, kept.path());
        if !made || !allowed("mount", &["-t", "ext4", "-o", "loop", file, at]) {
            return None;
        }
        let disk = Self { folder: folder.to_owned(), _image: image };
        copy(kept.path(), folder);
        Some(disk)
    }

    /// Has whoever writes to it wait.
    pub(super) async fn stall(&self) {
        self.freeze("--freeze");
        tokio::time::sleep(STALL).await;
        self.freeze("--unfreeze");
    }

    fn freeze(&self, how: &str) {
        assert!(Command::new("fsfreeze").arg(how).arg(&self.folder).status().unwrap().success());
    }

    /// Leaves no room beside what is there.
    pub(super) fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        // What is held back for what is not on the disk so far is free once it is.
        for step in [1 << 20, 1 << 12, 1 << 12] {
            let zeros = vec![0; step];
            while filler.write_all(&zeros).is_ok() {}
            let _ = filler.sync_all();
        }
    }

    /// Makes room again.
    pub(super) fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever waits for a disk that stands still cannot be ended.
        let mut thaw = Command::new("fsfreeze");
        let _ = thaw.arg("--unfreeze").arg(&self.folder).stderr(Stdio::null()).status();
        // What still has files open there keeps them until it ends.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

/// Copies what is in a folder, and how it may be read, to another.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success());
}
