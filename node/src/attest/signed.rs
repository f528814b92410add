//! `signed`: which checkpoint this node signed last. On the disk before the signature leaves.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER as HEX;

use crate::keystore::Draft;

const FILE: &str = "signed";
/// Bytes of the file: an epoch of up to 20 digits, a space, a digest of 64, and an end of line.
const MAX_FILE: u64 = 86;

/// The last epoch of which something was signed, and what.
#[derive(Debug)]
pub(crate) struct Signed {
    data: PathBuf,
    last: Option<(u64, [u8; 32])>,
    /// Whether that is on the disk.
    kept: bool,
}

impl Signed {
    /// What the data folder says; nothing if there is no file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds something else.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        let last = match fs::metadata(&path).map(|found| found.len()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
            Ok(1..=MAX_FILE) => Some(parse(&fs::read_to_string(&path)?).ok_or(io::ErrorKind::InvalidData)?),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(Self { data: data.to_owned(), last, kept: true })
    }

    /// The last epoch of which something was signed.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.last.map(|(epoch, _)| epoch)
    }

    /// Makes it durable that this is signed; false when something else was, of the same epoch or a later one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn note(&mut self, epoch: u64, digest: [u8; 32]) -> io::Result<bool> {
        match self.last {
            Some(last) if self.kept && last == (epoch, digest) => return Ok(true),
            Some(last) if last != (epoch, digest) && last.0 >= epoch => return Ok(false),
            _ => {}
        }
        let draft = Draft::write(&self.data, FILE, format!("{epoch} {}\n", HEX.encode(&digest)).as_bytes())?;
        // If this fails half way, nothing else is signed of this epoch either.
        (self.last, self.kept) = (Some((epoch, digest)), false);
        draft.replace(&self.data.join(FILE))?;
        self.kept = true;
        Ok(true)
    }
}

fn parse(text: &str) -> Option<(u64, [u8; 32])> {
    let (epoch, digest) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((epoch.parse().ok()?, HEX.decode(digest.as_bytes()).ok()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_epoch_one_thing_is_signed_whatever_happens_in_between() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Signed::open(folder.path()).unwrap();
        let mut signed = open();
        assert_eq!(signed.epoch(), None);
        assert!(signed.note(7, [1; 32]).unwrap());
        for mut signed in [signed, open()] {
            assert_eq!(signed.epoch(), Some(7));
            assert!(signed.note(7, [1; 32]).unwrap(), "it may be said again");
            assert!(!signed.note(7, [2; 32]).unwrap());
            assert!(!signed.note(6, [1; 32]).unwrap(), "of an earlier one it is not known");
        }
        assert!(open().note(8, [2; 32]).unwrap());
        assert_eq!(open().epoch(), Some(8));
    }

    #[test]
    fn what_cannot_be_kept_is_not_signed() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let mut signed = Signed::open(&data).unwrap();
        fs::remove_dir(&data).unwrap();
        assert!(signed.note(7, [1; 32]).is_err());
        // Nor is it when it could be written, and did not come into its place.
        fs::create_dir_all(data.join(FILE).join("x")).unwrap();
        for _ in 0..2 {
            assert!(signed.note(7, [1; 32]).is_err());
        }
        assert!(!signed.note(7, [2; 32]).unwrap(), "the first may be there after all");
        fs::remove_dir_all(data.join(FILE)).unwrap();
        assert!(signed.note(7, [1; 32]).unwrap());
        assert_eq!(Signed::open(&data).unwrap().epoch(), Some(7));
        for spoilt in ["", "7", "7 00\n", &"7".repeat(99)] {
            fs::write(folder.path().join(FILE), spoilt).unwrap();
            assert!(Signed::open(folder.path()).is_err(), "{spoilt}");
        }
    }
}
