//! All of a node but its messages in one file, encrypted: its key, the key of the account that pays, its
//! registration, its settings and the files of networks. Or all of a network that was published, but what its nodes
//! keep: the keys of its publisher, its faucet and its first nodes, its description, and what was written of it.
//!
//! ```text
//! session node backup 1 <node id, 64 hex digits> <milliseconds since 1970>
//! argon2id <KiB> <passes> <lanes> <salt> <nonce>
//! <base64 in lines of 76>
//! ```
//!
//! That of a network begins with `session network backup 1`, and its id is the publisher's key.
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

use super::{GAS, Kept, KeyError, Lock, NODE, Passphrase, Which, load, load_gas, load_under, place};

const VERSION: &str = "1";
/// The folder of networks' files.
const NETWORKS: &str = "networks";
/// The key that signs a network's description, and the description, in the folder where it was published.
const PUBLISHER: &str = "publisher/node.key";
const DESCRIPTION: &str = "network.toml";
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
    #[error("{path} is no backup of a node or a network, or was cut off")]
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
            Self::TooLong { .. } => "move it elsewhere: no node and no network needs it".to_owned(),
            Self::Exists { .. } => {
                "name a path where there is nothing, or move what is there to a safe place first".to_owned()
            }
        }
    }
}

/// Of what a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Node,
    Network,
}

impl Kind {
    /// What the first line begins with.
    const fn magic(self) -> &'static str {
        match self {
            Self::Node => "session node backup ",
            Self::Network => "session network backup ",
        }
    }

    /// The file of the key by which it is told whose it is.
    const fn key(self) -> &'static str {
        match self {
            Self::Node => NODE,
            Self::Network => PUBLISHER,
        }
    }

    /// The file that is put back last: without it nothing is there.
    const fn last(self) -> &'static str {
        match self {
            Self::Node => NODE,
            Self::Network => DESCRIPTION,
        }
    }

    /// Whether a file belongs into it.
    fn has(self, name: &str) -> bool {
        match (self, name.split_once('/')) {
            (Self::Node, None) => FILES.contains(&name),
            (Self::Node, Some((folder, file))) => folder == NETWORKS && is_network(file),
            (Self::Network, None) => name == DESCRIPTION || name.strip_suffix(".json").is_some_and(is_plain),
            (Self::Network, Some((folder, file))) => is_plain(folder) && [NODE, GAS].contains(&file),
        }
    }
}

/// Whether a folder is that of a network that was published, and not of a node.
pub fn holds_network(folder: &Path) -> bool {
    folder.join(PUBLISHER).is_file()
}

/// All of a node but its messages, or of a network that was published.
pub struct Backup {
    kind: Kind,
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
        Ok(Self { kind: Kind::Node, id, made: crate::now().as_millis(), files })
    }

    /// Takes it from the folder where a network was published, whose keys are not encrypted.
    ///
    /// # Errors
    ///
    /// When there is no publisher's key, or a key is none; when a file cannot be read.
    pub fn of_network(folder: &Path) -> Result<Self, BackupError> {
        let mut files = BTreeMap::new();
        for entry in entries(folder)? {
            let names = match folder.join(&entry).is_dir() {
                true => [NODE, GAS].map(|key| format!("{entry}/{key}")).to_vec(),
                false => vec![entry],
            };
            for name in names.into_iter().filter(|name| Kind::Network.has(name)) {
                if let Some(content) = content(&folder.join(&name))? {
                    files.insert(name, content);
                }
            }
        }
        for name in files.keys() {
            match name.split_once('/') {
                Some((of, NODE)) => load(&folder.join(of)).map(drop)?,
                Some((of, _)) => load_gas(&folder.join(of)).map(drop)?,
                None => {}
            }
        }
        let publisher = folder.join(PUBLISHER);
        let id = load(publisher.parent().unwrap_or(folder))?.node_id();
        Ok(Self { kind: Kind::Network, id, made: crate::now().as_millis(), files })
    }

    /// Whether it is that of a network.
    pub fn is_of_network(&self) -> bool {
        self.kind == Kind::Network
    }

    /// Whose it is: the node's id, or the publisher's key.
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

    /// Puts everything back into a folder, which is made if missing: a node's key and a network's description last, so that
    /// whoever looks for these finds all of it or nothing. What is there already and is the same stays: the same once more
    /// finishes what was interrupted, and is to come before anything else there.
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
        missing.sort_by_key(|(name, _)| *name == self.kind.last());
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
        let (magic, id) = (self.kind.magic(), HEX.encode(self.id.as_bytes()));
        let head = format!("{magic}{VERSION} {id} {}\n{lock}\n", self.made);
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
        let mut kinds = [Kind::Node, Kind::Network].into_iter();
        let of = kinds.find_map(|kind| Some((kind, first.strip_prefix(kind.magic())?)));
        let (kind, words) = of.ok_or_else(format)?;
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
        let files = files(&plain, kind).ok_or_else(format)?;
        let key = files.get(kind.key()).and_then(|text| Kept::parse(core::str::from_utf8(text).ok()?));
        let whose = key.and_then(|kept| match kept {
            Kept::Open(seed) => Which::Node.whose(&seed),
            Kept::Sealed { whose, .. } => Some(whose),
        });
        if whose.as_deref() != Some(id.as_bytes()) {
            return Err(format());
        }
        Ok(Self { kind, id, made, files })
    }
}

/// The files of a backup's plain content; none if it is no such thing, or names a file that does not belong into it.
fn files(mut plain: &[u8], kind: Kind) -> Option<BTreeMap<String, Zeroizing<Vec<u8>>>> {
    let mut files = BTreeMap::new();
    while !plain.is_empty() {
        let end = plain.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = plain.split_at_checked(end)?;
        let words = core::str::from_utf8(line).ok()?.strip_prefix("file ")?;
        let (name, bytes) = words.rsplit_once(' ')?;
        let (kept, rest) = rest.strip_prefix(b"\n")?.split_at_checked(bytes.parse().ok()?)?;
        plain = rest.strip_prefix(b"\n")?;
        if !kind.has(name) || files.insert(name.to_owned(), Zeroizing::new(kept.to_vec())).is_some() {
            return None;
        }
    }
    Some(files)
}

/// Whether a file in the folder of networks is one's.
fn is_network(name: &str) -> bool {
    name.strip_suffix(".toml").is_some_and(is_plain)
}

/// Whether a name leads nowhere else.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// The names of all that is in a folder that can be said in words; none where there is no folder.
fn entries(folder: &Path) -> Result<Vec<String>, BackupError> {
    let file = |cause| BackupError::File { path: folder.to_owned(), cause };
    let all = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        all => all.map_err(file)?,
    };
    let mut names = Vec::new();
    for entry in all {
        names.extend(entry.map_err(file)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The files of networks in a data folder, as they are named from there.
fn networks_in(data: &Path) -> Result<Vec<String>, BackupError> {
    let folder = data.join(NETWORKS);
    let named = entries(&folder)?.into_iter().filter(|name| is_network(name));
    let found: Vec<String> = named.map(|name| format!("{NETWORKS}/{name}")).collect();
    // None is left out unsaid.
    if found.len() > MAX_NETWORKS {
        return Err(BackupError::TooLong { path: folder });
    }
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
