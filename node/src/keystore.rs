//! Keys on disk, in the data folder, readable by their owner only: `node.key`, the node's own, `gas.key`, that of
//! the account which pays for its transactions, and `onion.keys`, those of the hop that it is. The key that signs
//! checkpoints follows from the node's own.
//!
//! A key file is the key's 64 hex digits, or, where there is a passphrase, one line:
//!
//! ```text
//! sealed 1 <whose> argon2id <KiB> <passes> <lanes> <salt> <nonce> <sealed>
//! ```
//!
//! `whose` is the node's id, or the account's address without 0x, so that both can be told without the passphrase.
//! The file's name and all of the line before the last word are bound to what is sealed.
//!
//! - [`backup`]: all but the messages in one file

pub mod backup;
mod onion;
mod sealed;
#[cfg(test)]
mod tests;

pub(crate) use onion::{load as load_onion, save as save_onion};
pub use sealed::Passphrase;

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use alloy::primitives::Address;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_chain::account::PrivateKeySigner;
use session_protocols::{KeyPair, NodeId};
use zeroize::Zeroizing;

use sealed::Lock;

/// The file of a node's key, in its data folder.
pub const NODE: &str = "node.key";
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
    #[error("{path} is not a key: expected 64 hex digits, or a line that begins with `sealed 1`")]
    Content {
        /// The key file.
        path: PathBuf,
    },
    /// The key is encrypted, and nobody gave a passphrase.
    #[error("{path} is encrypted, and there is no passphrase")]
    Sealed {
        /// The key file.
        path: PathBuf,
    },
    /// The key is encrypted under another passphrase, or the file was changed.
    #[error("the passphrase does not open {path}")]
    Passphrase {
        /// The key file.
        path: PathBuf,
    },
    /// There is no memory to make a key of a passphrase.
    #[error("there is no memory to make a key of the passphrase")]
    Memory,
    /// The file should hold onion keys, and does not.
    #[error("{path} is damaged: expected lines of onion keys")]
    Onion {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the file.
    #[error("{path} can be read by others")]
    Permissions {
        /// The key file.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
}

impl KeyError {
    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Exists { .. } => "use that key, or name another folder".to_owned(),
            Self::Onion { .. } => {
                "remove the file: new onion keys are made, and clients learn them within a day".to_owned()
            }
            Self::Permissions { path } => {
                format!("chmod 600 {}; if others may have read it, they have the key", path.display())
            }
            Self::Sealed { .. } => {
                "give its passphrase: with --passphrase-file FILE or in SESSION_PASSPHRASE".to_owned()
            }
            Self::Passphrase { .. } => {
                "give the passphrase that the key was encrypted under; without it, restore a backup"
                    .to_owned()
            }
            Self::Memory => "free some memory: 64 MiB are needed".to_owned(),
            Self::Random => "restart the machine; its source of randomness does not work".to_owned(),
            Self::File { path, cause } if cause.kind() == io::ErrorKind::PermissionDenied => {
                format!(
                    "run this as the user whose file it is, or give it to this one: chown USER {}",
                    path.display()
                )
            }
            Self::File { cause, .. } if cause.kind() == io::ErrorKind::StorageFull => {
                "make room on the disk of the data folder".to_owned()
            }
            Self::File { .. } | Self::Content { .. } => {
                "restore the key file from a backup; a new key would be another node".to_owned()
            }
        }
    }
}

/// Makes a key in the data folder `data`, which is made if missing.
///
/// # Errors
///
/// When there is a key already: it is never replaced, nor made anew silently.
pub fn create(data: &Path) -> Result<KeyPair, KeyError> {
    create_under(data, None)
}

/// Makes it, encrypted under a passphrase where there is one.
///
/// # Errors
///
/// As with [`create`].
pub fn create_under(data: &Path, passphrase: Option<&Passphrase>) -> Result<KeyPair, KeyError> {
    make(data, Which::Node, passphrase).map(|seed| KeyPair::from_seed(&seed))
}

/// Makes the key of the account on the settlement chain that pays for what the node submits; it needs some
/// ether to be of use.
///
/// # Errors
///
/// As with [`create`].
pub fn create_gas(data: &Path) -> Result<PrivateKeySigner, KeyError> {
    create_gas_under(data, None)
}

/// Makes that one, encrypted under a passphrase where there is one.
///
/// # Errors
///
/// As with [`create`].
pub fn create_gas_under(data: &Path, passphrase: Option<&Passphrase>) -> Result<PrivateKeySigner, KeyError> {
    signer(&*make(data, Which::Gas, passphrase)?, data)
}

/// Reads the key of the data folder `data`, which is not encrypted.
///
/// # Errors
///
/// When there is none, it is damaged or encrypted, or others can read it.
pub fn load(data: &Path) -> Result<KeyPair, KeyError> {
    load_under(data, None)
}

/// Reads it; a passphrase that an open key does not need does no harm.
///
/// # Errors
///
/// As with [`load`]; and when the passphrase does not open it.
pub fn load_under(data: &Path, passphrase: Option<&Passphrase>) -> Result<KeyPair, KeyError> {
    seed(data, Which::Node, passphrase).map(|seed| KeyPair::from_seed(&seed))
}

/// The key of the account that pays; none where there is no file.
///
/// # Errors
///
/// As with [`load`].
pub fn load_gas(data: &Path) -> Result<Option<PrivateKeySigner>, KeyError> {
    load_gas_under(data, None)
}

/// That key, opened as with [`load_under`].
///
/// # Errors
///
/// As with [`load_under`].
pub fn load_gas_under(
    data: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<Option<PrivateKeySigner>, KeyError> {
    match seed(data, Which::Gas, passphrase) {
        Ok(seed) => signer(&seed, data).map(Some),
        Err(KeyError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The id of the node in the data folder `data`, whether or not its key is encrypted.
///
/// # Errors
///
/// As with [`load`].
pub fn id(data: &Path) -> Result<NodeId, KeyError> {
    whose(data, Which::Node).map(NodeId::from_bytes)
}

/// The address of the account that pays, likewise; none where there is no file.
///
/// # Errors
///
/// As with [`load`].
pub fn gas_address(data: &Path) -> Result<Option<Address>, KeyError> {
    match whose(data, Which::Gas) {
        Ok(bytes) => Ok(bytes.last_chunk::<20>().copied().map(Address::from)),
        Err(KeyError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether one of the keys in the data folder is encrypted.
///
/// # Errors
///
/// As with [`load`].
pub fn is_sealed(data: &Path) -> Result<bool, KeyError> {
    let sealed = |which| kept(data, which).map(|(kept, _)| matches!(kept, Kept::Sealed { .. }));
    // Between the two files a change may have been interrupted.
    Ok(sealed(Which::Node)? || sealed(Which::Gas).unwrap_or(false))
}

/// Encrypts the keys in the data folder under another passphrase, or not at all. Each file is replaced as a whole;
/// where it was interrupted between two of them, the same once more finishes it.
///
/// # Errors
///
/// When a key opens neither with the one nor with the other; then none is changed.
pub fn change(data: &Path, old: Option<&Passphrase>, new: Option<&Passphrase>) -> Result<(), KeyError> {
    let mut drafts = Vec::new();
    for which in [Which::Gas, Which::Node] {
        let opened = match seed(data, which, old) {
            Err(error @ (KeyError::Passphrase { .. } | KeyError::Sealed { .. })) => {
                seed(data, which, new).map_err(|_| error)
            }
            opened => opened,
        };
        let seed = match (opened, which) {
            (Err(KeyError::File { cause, .. }), Which::Gas) if cause.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            (opened, _) => opened?,
        };
        let path = data.join(which.name());
        let file = |cause| KeyError::File { path: path.clone(), cause };
        let text = written(&seed, which, new, data)?;
        drafts.push((Draft::write(data, which.name(), text.as_bytes()).map_err(file)?, path));
    }
    for (draft, path) in drafts {
        draft.replace(&path).map_err(|cause| KeyError::File { path, cause })?;
    }
    Ok(())
}

/// One of the two keys that may be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Node,
    Gas,
}

impl Which {
    const fn name(self) -> &'static str {
        match self {
            Self::Node => NODE,
            Self::Gas => GAS,
        }
    }

    /// Whose key it is: the node's id, or the account's address; none if it is nobody's.
    fn whose(self, seed: &[u8; 32]) -> Option<Vec<u8>> {
        match self {
            Self::Node => Some(KeyPair::from_seed(seed).public().to_vec()),
            Self::Gas => session_chain::account::imported(seed).map(|signer| signer.address().to_vec()),
        }
    }
}

/// What a key file holds.
enum Kept {
    Open(Zeroizing<[u8; 32]>),
    Sealed { whose: Vec<u8>, lock: Lock, beside: String, sealed: Vec<u8> },
}

impl Kept {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let Some(words) = text.strip_prefix("sealed 1 ") else {
            let seed = Zeroizing::new(HEX.decode(text.as_bytes()).ok()?);
            return Some(Self::Open(Zeroizing::new(seed.as_slice().try_into().ok()?)));
        };
        let (head, sealed) = words.rsplit_once(' ')?;
        let (whose, lock) = head.split_once(' ')?;
        let whose = HEX.decode(whose.as_bytes()).ok().filter(|whose| matches!(whose.len(), 20 | 32))?;
        let sealed = HEX.decode(sealed.as_bytes()).ok()?;
        Some(Self::Sealed { whose, lock: Lock::parse(lock)?, beside: format!("sealed 1 {head}"), sealed })
    }
}

fn kept(data: &Path, which: Which) -> Result<(Kept, PathBuf), KeyError> {
    let path = data.join(which.name());
    let kept = Kept::parse(&read(&path)?);
    Ok((kept.ok_or_else(|| KeyError::Content { path: path.clone() })?, path))
}

fn whose(data: &Path, which: Which) -> Result<[u8; 32], KeyError> {
    let (kept, path) = kept(data, which)?;
    let bytes = match kept {
        Kept::Open(seed) => which.whose(&seed),
        Kept::Sealed { whose, .. } => Some(whose),
    };
    let bytes = bytes.filter(|bytes| bytes.len() == if which == Which::Node { 32 } else { 20 });
    let bytes = bytes.ok_or(KeyError::Content { path })?;
    let mut whose = [0; 32];
    whose.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
    Ok(whose)
}

fn seed(data: &Path, which: Which, passphrase: Option<&Passphrase>) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let (kept, path) = kept(data, which)?;
    let (whose, lock, beside, sealed) = match kept {
        Kept::Open(seed) => return Ok(seed),
        Kept::Sealed { whose, lock, beside, sealed } => (whose, lock, beside, sealed),
    };
    let Some(passphrase) = passphrase else { return Err(KeyError::Sealed { path }) };
    let opened = lock.open(passphrase, bound(which, &beside).as_bytes(), &sealed);
    let seed = opened.and_then(|opened| opened.as_slice().try_into().ok().map(Zeroizing::new));
    let seed: Zeroizing<[u8; 32]> = seed.ok_or_else(|| KeyError::Passphrase { path: path.clone() })?;
    if which.whose(&seed) == Some(whose) { Ok(seed) } else { Err(KeyError::Content { path }) }
}

/// What is bound to a key that is sealed.
fn bound(which: Which, beside: &str) -> String {
    format!("{} {beside}", which.name())
}

/// The text of a key file.
fn written(
    seed: &[u8; 32],
    which: Which,
    passphrase: Option<&Passphrase>,
    data: &Path,
) -> Result<Zeroizing<String>, KeyError> {
    let Some(passphrase) = passphrase else { return Ok(Zeroizing::new(HEX.encode(seed))) };
    let lock = Lock::fresh().map_err(|_| KeyError::Random)?;
    sealed_text(seed, which, passphrase, &lock, data)
}

fn sealed_text(
    seed: &[u8; 32],
    which: Which,
    passphrase: &Passphrase,
    lock: &Lock,
    data: &Path,
) -> Result<Zeroizing<String>, KeyError> {
    let whose = which.whose(seed).ok_or_else(|| KeyError::Content { path: data.join(which.name()) })?;
    let beside = format!("sealed 1 {} {lock}", HEX.encode(&whose));
    let sealed = lock.seal(passphrase, bound(which, &beside).as_bytes(), seed).ok_or(KeyError::Memory)?;
    Ok(Zeroizing::new(format!("{beside} {}\n", HEX.encode(&sealed))))
}

fn signer(key: &[u8; 32], data: &Path) -> Result<PrivateKeySigner, KeyError> {
    session_chain::account::imported(key).ok_or_else(|| KeyError::Content { path: data.join(GAS) })
}

fn make(data: &Path, which: Which, passphrase: Option<&Passphrase>) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let path = data.join(which.name());
    let file = |cause| KeyError::File { path: path.clone(), cause };
    fs::create_dir_all(data).map_err(file)?;
    if path.exists() {
        return Err(KeyError::Exists { path });
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| KeyError::Random)?;
    let text = written(&seed, which, passphrase, data)?;
    place(data, which.name(), text.as_bytes())?;
    Ok(seed)
}

/// Puts a file in a folder, whole and durably, where there is none.
fn place(folder: &Path, name: &str, content: &[u8]) -> Result<(), KeyError> {
    let path = folder.join(name);
    let file = |cause| KeyError::File { path: path.clone(), cause };
    // Whole under another name first: a key file is there as a whole or not at all.
    let draft = Draft::write(folder, name, content).map_err(file)?;
    match fs::hard_link(&draft.0, &path) {
        Ok(()) => {}
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => return Err(KeyError::Exists { path }),
        Err(cause) => return Err(file(cause)),
    }
    drop(draft);
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(file)
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
