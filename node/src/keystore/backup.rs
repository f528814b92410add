//! All of a node but its messages in one file, encrypted: its key, the key of the account that pays, its
//! registration, its settings and the files of networks.
//!
//! ```text
//! session node backup 1 <node id, 64 hex digits> <milliseconds since 1970>
//! argon2id <KiB> <passes> <lanes> <salt> <nonce>
//! <base64 in lines of 76>
//! ```
//!
//! The first two lines, with their ends, are bound to what is sealed. That is, for each file in the order of their
//! names, `file <name> <bytes>`, a line's end, the file as it is on the disk, and a line's end. Onion keys are not in
//! it: they are destroyed daily, and a copy would keep what was sealed to them from being forgotten. Nor is what was
//! signed last, since an older one would let the node sign two checkpoints of an epoch.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER as HEX};
use session_protocols::NodeId;
use zeroize::Zeroizing;

use super::{GAS, Kept, KeyError, Lock, NODE, Passphrase, Which, load_under, place};

/// What the first line begins with.
const MAGIC: &str = "session node backup ";
const VERSION: &str = "1";
/// The folder of networks' files.
const NETWORKS: &str = "networks";
/// Files of a data folder that are kept as they are, beside those of networks.
const FILES: [&str; 4] = [NODE, GAS, "registration.toml", crate::settings::FILE];
/// The longest file in a backup, and the longest backup, in bytes.
const MAX_FILE: usize = 16 << 20;
const MAX_BACKUP: usize = 64 << 20;
/// The most files of networks.
const MAX_NETWORKS: usize = 64;

/// Why there is no backup, or it cannot be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// It holds something else.
    #[error("{path} is no backup of a node, or was cut off")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A format that this build does not know.
    #[error("{path} has version {found}, this build reads {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it has.
        found: String,
    },
    /// Another passphrase, or a file that was changed.
    #[error("the passphrase does not open {path}, or the file was changed")]
    Passphrase {
        /// The file.
        path: PathBuf,
    },
    /// More than a backup holds.
    #[error("{path} is longer than a backup holds")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// There is something else already, and it is never replaced.
    #[error("{path} exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl BackupError {
    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Key(error) => error.remedy(),
            Self::File { .. } => "check the path, its owner and the room on the disk".to_owned(),
            Self::Format { .. } => {
                "name the file that session key backup wrote, or another copy of it".to_owned()
            }
            Self::Version { .. } => "use the build of session that wrote it, or a newer one".to_owned(),
            Self::Passphrase { .. } => {
                "give the passphrase that it was made with; a file that was changed cannot be read at all"
                    .to_owned()
            }
            Self::TooLong { .. } => "move it elsewhere; it is none of a node's own files".to_owned(),
            Self::Exists { .. } => {
                "name a path where there is nothing, or move what is there to a safe place first".to_owned()
            }
        }
    }
}

/// All of a node but its messages.
pub struct Backup {
    id: NodeId,
    made: u64,
    files: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").field("id", &self.id).field("made", &self.made).finish_non_exhaustive()
    }
}

impl Backup {
    /// Takes it from a data folder, whose keys the passphrase has to open if they are encrypted; with the files of
    /// `networks` that lie elsewhere, by their names: they count before those of the folder.
    ///
    /// # Errors
    ///
    /// When there is no key, or it does not open; when a file cannot be read.
    pub fn of(
        data: &Path,
        passphrase: &Passphrase,
        networks: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BackupError> {
        let id = load_under(data, Some(passphrase))?.node_id();
        super::load_gas_under(data, Some(passphrase))?;
        let mut files = BTreeMap::new();
        let own = FILES.iter().map(|name| (*name).to_owned()).chain(networks_in(data)?);
        for name in own {
            if let Some(content) = content(&data.join(&name))? {
                files.insert(name, content);
            }
        }
        // That which the node goes by, also where an older one of that name lies in its folder.
        for (name, text) in networks {
            files.insert(format!("{NETWORKS}/{name}.toml"), Zeroizing::new(text.into_bytes()));
        }
        let made = crate::now().as_millis();
        Ok(Self { id, made, files })
    }

    /// Whose it is.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// When it was made, in milliseconds since 1970.
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// The files in it.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Writes it to a file that is not there yet, encrypted, readable by its owner only.
    ///
    /// # Errors
    ///
    /// When there is a file, or it cannot be written.
    pub fn save(&self, path: &Path, passphrase: &Passphrase) -> Result<(), BackupError> {
        let text = self.seal(passphrase, &Lock::fresh().map_err(|_| KeyError::Random)?)?;
        if text.len() > MAX_BACKUP {
            return Err(BackupError::TooLong { path: path.to_owned() });
        }
        put(path, text.as_bytes())
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// When it is none, or the passphrase does not open it.
    pub fn read(path: &Path, passphrase: &Passphrase) -> Result<Self, BackupError> {
        let file = |cause| BackupError::File { path: path.to_owned(), cause };
        let source = fs::File::open(path).map_err(file)?;
        let mut text = String::new();
        let most = MAX_BACKUP as u64;
        match source.take(most.saturating_add(1)).read_to_string(&mut text) {
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                return Err(BackupError::Format { path: path.to_owned() });
            }
            read => read.map_err(file)?,
        };
        Self::open(&text, path, passphrase)
    }

    /// Puts everything back into a data folder, which is made if missing: the key last, so that a node is there as a
    /// whole or not at all. What is there already and is the same stays, so that the same once more finishes what was
    /// interrupted.
    ///
    /// # Errors
    ///
    /// When there is something else; then nothing is written.
    pub fn restore(&self, data: &Path) -> Result<(), BackupError> {
        let mut missing = Vec::new();
        for (name, kept) in &self.files {
            let path = data.join(name);
            match content(&path)? {
                None => missing.push((name, kept)),
                Some(found) if found == *kept => {}
                Some(_) => return Err(BackupError::Exists { path }),
            }
        }
        missing.sort_by_key(|(name, _)| *name == NODE);
        for (name, kept) in missing {
            let path = data.join(name);
            let folder = path.parent().unwrap_or(data);
            fs::create_dir_all(folder)
                .map_err(|cause| BackupError::File { path: folder.to_owned(), cause })?;
            put(&path, kept)?;
        }
        Ok(())
    }

    fn seal(&self, passphrase: &Passphrase, lock: &Lock) -> Result<String, BackupError> {
        let size =
            self.files.iter().map(|(name, kept)| name.len().saturating_add(kept.len()).saturating_add(64));
        // As long as it gets, so that no copy of a key is left behind in memory.
        let mut plain = Zeroizing::new(Vec::with_capacity(size.sum()));
        for (name, kept) in &self.files {
            plain.extend_from_slice(format!("file {name} {}\n", kept.len()).as_bytes());
            plain.extend_from_slice(kept);
            plain.push(b'\n');
        }
        let head = format!("{MAGIC}{VERSION} {} {}\n{lock}\n", HEX.encode(self.id.as_bytes()), self.made);
        let sealed = lock.seal(passphrase, head.as_bytes(), &plain).ok_or(KeyError::Memory)?;
        let mut text = head;
        for line in sealed.chunks(57) {
            BASE64.encode_append(line, &mut text);
            text.push('\n');
        }
        Ok(text)
    }

    fn open(text: &str, path: &Path, passphrase: &Passphrase) -> Result<Self, BackupError> {
        let format = || BackupError::Format { path: path.to_owned() };
        let mut lines = text.splitn(3, '\n');
        let (Some(first), Some(second), Some(rest)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(format());
        };
        let words = first.strip_prefix(MAGIC).ok_or_else(format)?;
        let (version, words) = words.split_once(' ').ok_or_else(format)?;
        if version != VERSION {
            let found = version.chars().take(16).collect();
            return Err(BackupError::Version { path: path.to_owned(), found });
        }
        let (id, made) = words.split_once(' ').ok_or_else(format)?;
        let (id, made): (NodeId, u64) = id.parse().ok().zip(made.parse().ok()).ok_or_else(format)?;
        let lock = Lock::parse(second).ok_or_else(format)?;
        let joined: String = rest.lines().map(|line| line.trim_end_matches('\r')).collect();
        let sealed = BASE64.decode(joined.as_bytes()).map_err(|_| format())?;
        let head = format!("{first}\n{second}\n");
        let wrong = || BackupError::Passphrase { path: path.to_owned() };
        let plain = lock.open(passphrase, head.as_bytes(), &sealed).ok_or_else(wrong)?;
        let files = files(&plain).ok_or_else(format)?;
        let key = files.get(NODE).and_then(|text| Kept::parse(core::str::from_utf8(text).ok()?));
        let whose = key.and_then(|kept| match kept {
            Kept::Open(seed) => Which::Node.whose(&seed),
            Kept::Sealed { whose, .. } => Some(whose),
        });
        if whose.as_deref() != Some(id.as_bytes()) {
            return Err(format());
        }
        Ok(Self { id, made, files })
    }
}

/// The files of a backup's plain content; none if it is no such thing, or names a file that belongs to no node.
fn files(mut plain: &[u8]) -> Option<BTreeMap<String, Zeroizing<Vec<u8>>>> {
    let mut files = BTreeMap::new();
    while !plain.is_empty() {
        let end = plain.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = plain.split_at_checked(end)?;
        let words = core::str::from_utf8(line).ok()?.strip_prefix("file ")?;
        let (name, bytes) = words.rsplit_once(' ')?;
        let (kept, rest) = rest.strip_prefix(b"\n")?.split_at_checked(bytes.parse().ok()?)?;
        plain = rest.strip_prefix(b"\n")?;
        let belongs = FILES.contains(&name) || name.strip_prefix("networks/").is_some_and(is_network);
        if !belongs || files.insert(name.to_owned(), Zeroizing::new(kept.to_vec())).is_some() {
            return None;
        }
    }
    Some(files)
}

/// Whether a file in the folder of networks is one's.
fn is_network(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.strip_suffix(".toml").is_some_and(|name| (1..=64).contains(&name.len()) && name.bytes().all(plain))
}

/// The files of networks in a data folder, as they are named from there.
fn networks_in(data: &Path) -> Result<Vec<String>, BackupError> {
    let folder = data.join(NETWORKS);
    let file = |cause| BackupError::File { path: folder.clone(), cause };
    let entries = match fs::read_dir(&folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(file)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(file)?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_network(name)) {
            found.push(format!("{NETWORKS}/{name}"));
        }
    }
    // None is left out unsaid.
    if found.len() > MAX_NETWORKS {
        return Err(BackupError::TooLong { path: folder });
    }
    found.sort();
    Ok(found)
}

/// What a file holds; none where there is no file.
fn content(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, BackupError> {
    let file = |cause| BackupError::File { path: path.to_owned(), cause };
    let source = match fs::File::open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        source => source.map_err(file)?,
    };
    let size = source.metadata().map_err(file)?.len();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > MAX_FILE {
        return Err(BackupError::TooLong { path: path.to_owned() });
    }
    let mut content = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    source.take(MAX_FILE as u64).read_to_end(&mut content).map_err(file)?;
    Ok(Some(content))
}

/// Puts a file where there is none.
fn put(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let file = |cause| BackupError::File { path: path.to_owned(), cause };
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| file(io::ErrorKind::InvalidFilename.into()))?;
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    place(folder, name, content).map_err(|error| match error {
        KeyError::Exists { path } => BackupError::Exists { path },
        KeyError::File { path, cause } => BackupError::File { path, cause },
        error @ (KeyError::Content { .. }
        | KeyError::Sealed { .. }
        | KeyError::Passphrase { .. }
        | KeyError::Memory
        | KeyError::Onion { .. }
        | KeyError::Permissions { .. }
        | KeyError::Random) => BackupError::Key(error),
    })
}

#[cfg(test)]
mod tests;
