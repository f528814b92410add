//! Keys on disk, in the data folder, readable by their owner only: `node.key`, the node's own in 64 hex
//! digits, `gas.key`, that of the account which pays for its transactions, likewise, and `onion.keys`, those
//! of the hop that it is. The key that signs checkpoints follows from the node's own.

mod onion;

pub(crate) use onion::{load as load_onion, save as save_onion};

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_chain::account::PrivateKeySigner;
use session_protocols::KeyPair;
use zeroize::Zeroizing;

const NODE: &str = "node.key";
const GAS: &str = "gas.key";
/// The longest key file, in bytes.
const MAX_FILE: usize = 1_024;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is one already, and it is never replaced.
    #[error("{path} exists already")]
    Exists {
        /// The key file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("cannot use the key file {path}")]
    File {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file holds something else.
    #[error("{path} is not a key: expected 64 hex digits")]
    Content {
        /// The key file.
        path: PathBuf,
    },
    /// The file should hold onion keys, and does not.
    #[error("{path} is damaged: expected lines of onion keys")]
    Onion {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the file.
    #[error("{path} can be read by others: run chmod 600 on it")]
    Permissions {
        /// The key file.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
}

/// Makes a key in the data folder `data`, which is made if missing.
///
/// # Errors
///
/// When there is a key already: it is never replaced, nor made anew silently.
pub fn create(data: &Path) -> Result<KeyPair, KeyError> {
    make(data, NODE).map(|seed| KeyPair::from_seed(&seed))
}

/// Makes the key of the account on the settlement chain that pays for what the node submits; it needs some
/// ether to be of use.
///
/// # Errors
///
/// As with [`create`].
pub fn create_gas(data: &Path) -> Result<PrivateKeySigner, KeyError> {
    signer(&*make(data, GAS)?, data)
}

/// That key; none where there is no file.
///
/// # Errors
///
/// When it is damaged, or others can read it.
pub fn load_gas(data: &Path) -> Result<Option<PrivateKeySigner>, KeyError> {
    match seed(data, GAS) {
        Ok(seed) => signer(&seed, data).map(Some),
        Err(KeyError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn signer(key: &[u8; 32], data: &Path) -> Result<PrivateKeySigner, KeyError> {
    session_chain::account::imported(key).ok_or_else(|| KeyError::Content { path: data.join(GAS) })
}

fn make(data: &Path, name: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let path = data.join(name);
    let file = |cause| KeyError::File { path: path.clone(), cause };
    fs::create_dir_all(data).map_err(file)?;
    if path.exists() {
        return Err(KeyError::Exists { path });
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| KeyError::Random)?;
    let text = Zeroizing::new(HEX.encode(seed.as_ref()));
    // Whole under another name first: a key file is there as a whole or not at all.
    let draft = Draft::write(data, name, text.as_bytes()).map_err(file)?;
    match fs::hard_link(&draft.0, &path) {
        Ok(()) => {}
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => return Err(KeyError::Exists { path }),
        Err(cause) => return Err(file(cause)),
    }
    drop(draft);
    fs::File::open(data).and_then(|folder| folder.sync_all()).map_err(file)?;
    Ok(seed)
}

/// A file that is removed when it is dropped; its content may live on under another name.
pub(crate) struct Draft(PathBuf);

impl Draft {
    pub(crate) fn write(folder: &Path, name: &str, content: &[u8]) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let draft = Self(folder.join(format!("{name}.{}", HEX.encode(&random))));
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.0)?;
        out.write_all(content)?;
        out.sync_all()?;
        Ok(draft)
    }

    /// Takes the place of the file at `path`, durably.
    pub(crate) fn replace(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)?;
        let folder = path.parent().unwrap_or(path);
        fs::File::open(folder)?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that stays is no key: nothing reads it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Reads the key of the data folder `data`.
///
/// # Errors
///
/// When there is none, it is damaged, or others can read it.
pub fn load(data: &Path) -> Result<KeyPair, KeyError> {
    seed(data, NODE).map(|seed| KeyPair::from_seed(&seed))
}

fn seed(data: &Path, name: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let path = data.join(name);
    let text = read(&path)?;
    let seed = HEX.decode(text.trim().as_bytes()).ok().map(Zeroizing::new);
    let seed = seed.and_then(|seed| <[u8; 32]>::try_from(seed.as_slice()).ok()).map(Zeroizing::new);
    seed.ok_or(KeyError::Content { path })
}

/// The text of a key file, which nobody else may read.
fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let file = |cause| KeyError::File { path: path.to_owned(), cause };
    let source = fs::File::open(path).map_err(file)?;
    if source.metadata().map_err(file)?.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::Permissions { path: path.to_owned() });
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE));
    source.take(MAX_FILE as u64).read_to_string(&mut text).map_err(file)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let made = create(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap().public(), made.public());
        assert!(matches!(create(folder.path()), Err(KeyError::Exists { .. })));
        assert_eq!(load(folder.path()).unwrap().public(), made.public(), "still the same");
    }

    fn key_file(data: &Path) -> PathBuf {
        data.join(NODE)
    }

    #[test]
    fn what_pays_is_made_once_and_need_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load_gas(folder.path()).unwrap().is_none());
        let made = create_gas(folder.path()).unwrap().address();
        assert_eq!(load_gas(folder.path()).unwrap().unwrap().address(), made);
        assert!(matches!(create_gas(folder.path()), Err(KeyError::Exists { .. })));
        fs::write(folder.path().join(GAS), "0".repeat(64)).unwrap();
        assert!(matches!(load_gas(folder.path()), Err(KeyError::Content { .. })), "nobody's key");
    }

    #[test]
    fn a_key_is_there_as_a_whole_or_not_at_all() {
        // Among many who make it at once, one does, and whoever finds it finds it whole.
        let folder = tempfile::tempdir().unwrap();
        let made: Vec<_> = std::thread::scope(|scope| {
            let maker =
                || create(folder.path()).map(|pair| (pair.public(), load(folder.path()).unwrap().public()));
            let reader = || {
                while !key_file(folder.path()).exists() {
                    std::hint::spin_loop();
                }
                assert_eq!(fs::read(key_file(folder.path())).unwrap().len(), 64);
            };
            scope.spawn(reader);
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(maker)).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        let won: Vec<_> = made.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert!(matches!(won[..], [(made, read)] if made == read), "{} made it", won.len());
        assert!(made.iter().all(|one| matches!(one, Ok(_) | Err(KeyError::Exists { .. }))));
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["node.key"], "drafts are removed");
        let mode = fs::metadata(key_file(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What cannot be written leaves nothing behind.
        let blocked = folder.path().join("file");
        fs::write(&blocked, "").unwrap();
        assert!(matches!(create(&blocked), Err(KeyError::File { .. })));
    }

    #[test]
    fn a_damaged_or_open_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path()).unwrap();
        let path = folder.path().join("node.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(folder.path()), Err(KeyError::Permissions { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "not hex").unwrap();
        assert!(matches!(load(folder.path()), Err(KeyError::Content { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "not hex");
    }
}
