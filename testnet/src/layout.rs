//! The folder of a testnet: what is in it, and who may change it.
//!
//! ```text
//! lock           held while something is changed
//! testnet.json   the nodes and their processes
//! network.toml   the network file
//! chain.json     what anvil saved, where there is a chain
//! nodes/<n>      the data folder of node n
//! logs/<n>.log   what node n says
//! logs/chain.log what anvil says
//! logs/page.log  what the network page says
//! page/          the token of the network page, while one runs
//! targets/       where Prometheus finds the nodes
//! ```

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use session_chain::NetworkFile;
use session_protocols::NodeId;
use tokio::time::Instant;

use crate::{
    chain::Anvil,
    error::TestnetError,
    page::Page,
    process::Process,
    targets::{self, TARGETS},
};

/// The most nodes: each has an address 127.0.n.1 of its own.
pub const MAX_NODES: usize = 250;
/// The version of the state file that this build writes.
const VERSION: u64 = 2;
/// How long one command waits for another.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often is looked whether what is waited for has come.
pub const POLL: Duration = Duration::from_millis(50);

const STATE: &str = "testnet.json";
const LOCK: &str = "lock";
const NETWORK: &str = "network.toml";
const CHAIN: &str = "chain.json";
const NODES: &str = "nodes";
const LOGS: &str = "logs";
const PAGE: &str = "page";

/// Where a testnet lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// What is written down about a testnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u64,
    /// Given to every node beside what tells it from the others.
    pub(crate) arguments: Vec<String>,
    /// None without a chain.
    #[serde(default)]
    pub(crate) chain: Option<Anvil>,
    /// None where nobody asked for one.
    #[serde(default)]
    pub(crate) page: Option<Page>,
    pub(crate) nodes: Vec<Entry>,
}

/// What is written down about a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) index: usize,
    pub(crate) id: NodeId,
    pub(crate) listen: Vec<String>,
    pub(crate) http: SocketAddr,
    /// Where its HTTPS door is; none in a testnet that was made before there were any.
    #[serde(default)]
    pub(crate) door: Option<SocketAddr>,
    pub(crate) process: Option<Process>,
}

/// The right to change a testnet, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: fs::File,
}

impl State {
    pub(crate) const fn new(arguments: Vec<String>, chain: Option<Anvil>, nodes: Vec<Entry>) -> Self {
        Self { version: VERSION, arguments, chain, page: None, nodes }
    }

    pub(crate) fn node(&self, index: usize) -> Result<&Entry, TestnetError> {
        let nodes = self.nodes.len();
        self.nodes.iter().find(|node| node.index == index).ok_or(TestnetError::NoNode { index, nodes })
    }

    pub(crate) fn node_mut(&mut self, index: usize) -> Result<&mut Entry, TestnetError> {
        let nodes = self.nodes.len();
        self.nodes.iter_mut().find(|node| node.index == index).ok_or(TestnetError::NoNode { index, nodes })
    }
}

impl Entry {
    /// The process, if it runs.
    pub(crate) fn running(&self) -> Option<&Process> {
        self.process.as_ref().filter(|process| process.is_running())
    }
}

impl Folder {
    /// This folder, or the user's own if none is named: `session/testnet` in the state folder.
    ///
    /// # Errors
    /// When none is named and the user has no home.
    pub fn new(named: Option<&Path>) -> Result<Self, TestnetError> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => default_path().ok_or(TestnetError::NoHome)?,
        };
        let io = |cause| TestnetError::Io { deed: "find", path: path.clone(), cause };
        std::path::absolute(&path).map(Self).map_err(io)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where its network file is, if there is a testnet.
    pub fn network_path(&self) -> PathBuf {
        self.0.join(NETWORK)
    }

    /// Where a node keeps its key and its messages.
    pub fn data(&self, index: usize) -> PathBuf {
        self.0.join(NODES).join(index.to_string())
    }

    /// Where a node's log is.
    pub fn log(&self, index: usize) -> PathBuf {
        self.0.join(LOGS).join(format!("{index}.log"))
    }

    /// What anvil saves when it stops.
    pub(crate) fn chain_state(&self) -> PathBuf {
        self.0.join(CHAIN)
    }

    /// Where anvil's log is.
    pub(crate) fn chain_log(&self) -> PathBuf {
        self.0.join(LOGS).join("chain.log")
    }

    /// Where the token of the network page is.
    pub(crate) fn page(&self) -> PathBuf {
        self.0.join(PAGE)
    }

    /// Where the log of the network page is.
    pub(crate) fn page_log(&self) -> PathBuf {
        self.0.join(LOGS).join("page.log")
    }

    /// Reads the network file.
    ///
    /// # Errors
    /// When there is no testnet, or its file is broken.
    pub fn network(&self) -> Result<NetworkFile, TestnetError> {
        let path = self.network_path();
        match fs::read_to_string(&path) {
            Ok(text) => NetworkFile::parse(&text).map_err(|cause| TestnetError::Network { path, cause }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(TestnetError::NotUp(self.0.clone())),
            Err(cause) => Err(TestnetError::Io { deed: "read", path, cause }),
        }
    }

    /// Makes the folder, for this user only, and locks it.
    pub(crate) async fn lock(&self) -> Result<Lock, TestnetError> {
        make(&self.0)?;
        let path = self.0.join(LOCK);
        let io = |cause| TestnetError::Io { deed: "lock", path: path.clone(), cause };
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < until => tokio::time::sleep(POLL).await,
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(TestnetError::Busy { path: self.0.clone(), seconds: PATIENCE.as_secs() });
                }
                Err(fs::TryLockError::Error(cause)) => return Err(io(cause)),
            }
        }
    }

    /// What is written down, if there is a testnet.
    pub(crate) fn read(&self) -> Result<Option<State>, TestnetError> {
        let path = self.0.join(STATE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(TestnetError::Io { deed: "read", path, cause }),
        };
        let broken = |cause| TestnetError::Broken { path: path.clone(), cause };
        // The version first: a newer file may have other fields.
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(broken)?;
        let found = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found > VERSION {
            return Err(TestnetError::Newer { path, found, known: VERSION });
        }
        serde_json::from_value(value).map(Some).map_err(broken)
    }

    /// What is written down.
    pub(crate) fn state(&self) -> Result<State, TestnetError> {
        let state = self.read()?.filter(|state| !state.nodes.is_empty());
        state.ok_or_else(|| TestnetError::NotUp(self.0.clone()))
    }

    pub(crate) fn write(&self, state: &State, _lock: &Lock) -> Result<(), TestnetError> {
        let path = self.0.join(STATE);
        let text = serde_json::to_vec_pretty(state)
            .map_err(|cause| TestnetError::Broken { path: path.clone(), cause })?;
        replace(&path, &text)?;
        if state.nodes.is_empty() { Ok(()) } else { targets::write(&self.0, &state.nodes) }
    }

    pub(crate) fn write_network(&self, network: &NetworkFile) -> Result<(), TestnetError> {
        replace(&self.network_path(), network.to_toml().as_bytes())
    }

    /// Takes the folder for a new testnet: whatever fails after this is found, and removed, as one.
    pub(crate) fn begin(&self, lock: &Lock) -> Result<(), TestnetError> {
        let io = |cause| TestnetError::Io { deed: "read", path: self.0.clone(), cause };
        if self.read()?.is_none() {
            let entries: io::Result<Vec<_>> = fs::read_dir(&self.0).and_then(Iterator::collect);
            let ours = |entry: &fs::DirEntry| [LOCK, TARGETS].iter().any(|name| entry.file_name() == *name);
            if !entries.map_err(io)?.iter().all(ours) {
                return Err(TestnetError::NotEmpty(self.0.clone()));
            }
        }
        self.write(&State::new(Vec::new(), None, Vec::new()), lock)?;
        self.clear()?;
        make(&self.0.join(NODES))?;
        make(&self.0.join(LOGS))
    }

    /// Removes what one node kept and wrote.
    pub(crate) fn remove_node(&self, index: usize, _lock: &Lock) -> Result<(), TestnetError> {
        let (data, log) = (self.data(index), self.log(index));
        gone(fs::remove_dir_all(&data), "remove", &data)?;
        gone(fs::remove_file(&log), "remove", &log)
    }

    /// Removes the testnet; the state goes last, so that an interrupted removal can be repeated.
    pub(crate) fn remove(&self, _lock: &Lock) -> Result<(), TestnetError> {
        self.clear()?;
        gone(fs::remove_file(self.0.join(STATE)), "remove", &self.0.join(STATE))
    }

    fn clear(&self) -> Result<(), TestnetError> {
        for name in [NODES, LOGS, PAGE] {
            let path = self.0.join(name);
            gone(fs::remove_dir_all(&path), "remove", &path)?;
        }
        // The folder stays: whoever has it mounted would not see another one.
        for path in [self.chain_state(), self.network_path(), targets::path(&self.0)] {
            gone(fs::remove_file(&path), "remove", &path)?;
        }
        Ok(())
    }
}

fn default_path() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("session/testnet"))
}

fn make(path: &Path) -> Result<(), TestnetError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| TestnetError::Io { deed: "make", path: path.to_owned(), cause })
}

/// Replaces a file as a whole.
pub(crate) fn replace(path: &Path, text: &[u8]) -> Result<(), TestnetError> {
    let io = |cause| TestnetError::Io { deed: "write", path: path.to_owned(), cause };
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new).map_err(io)?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&new, path).map_err(io)
}

/// What is not there need not be removed.
pub(crate) fn gone(result: io::Result<()>, deed: &'static str, path: &Path) -> Result<(), TestnetError> {
    match result {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(TestnetError::Io { deed, path: path.to_owned(), cause })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path) -> Folder {
        Folder::new(Some(path)).unwrap()
    }

    #[tokio::test]
    async fn a_folder_with_other_things_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("diary"), "dear").unwrap();
        let folder = folder(temp.path());
        let lock = folder.lock().await.unwrap();
        assert!(matches!(folder.begin(&lock), Err(TestnetError::NotEmpty(_))));
        assert_eq!(fs::read_to_string(temp.path().join("diary")).unwrap(), "dear");
    }

    #[tokio::test]
    async fn what_was_begun_can_be_begun_again_and_removed() {
        let temp = tempfile::tempdir().unwrap();
        let folder = folder(&temp.path().join("a/b"));
        let lock = folder.lock().await.unwrap();
        folder.begin(&lock).unwrap();
        fs::write(folder.log(1), "half").unwrap();
        assert!(matches!(folder.state(), Err(TestnetError::NotUp(_))), "no nodes so far");
        folder.begin(&lock).unwrap();
        assert!(!folder.log(1).exists());
        folder.remove(&lock).unwrap();
        folder.remove(&lock).unwrap();
        assert_eq!(folder.read().unwrap(), None);
    }

    #[tokio::test]
    async fn prometheus_is_told_of_the_nodes_that_there_are_and_may_read_that() {
        use std::os::unix::fs::PermissionsExt;

        let temp = tempfile::tempdir().unwrap();
        let folder = folder(&temp.path().join("net"));
        let lock = folder.lock().await.unwrap();
        folder.begin(&lock).unwrap();
        let path = folder.path().join("targets/testnet.json");
        assert!(!path.exists());
        let node = |index: usize| Entry {
            index,
            id: NodeId::from_bytes([1; 32]),
            listen: Vec::new(),
            http: format!("127.0.{index}.1:80").parse().unwrap(),
            door: None,
            process: None,
        };
        for count in [3, 2] {
            let state = State::new(Vec::new(), None, (1..=count).map(node).collect());
            folder.write(&state, &lock).unwrap();
            let told: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            assert_eq!(told.as_array().unwrap().len(), count);
            let second =
                serde_json::json!({ "targets": ["127.0.2.1:80"], "labels": { "instance": "node-2" } });
            assert_eq!(told[1], second);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path.parent().unwrap()), mode(&path), mode(folder.path())), (0o755, 0o644, 0o700));
        folder.remove(&lock).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_newer_or_broken_state_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let folder = folder(temp.path());
        fs::write(temp.path().join(STATE), "{\"version\": 3, \"planets\": []}").unwrap();
        assert!(matches!(folder.read(), Err(TestnetError::Newer { found: 3, known: 2, .. })));
        fs::write(temp.path().join(STATE), "{").unwrap();
        assert!(matches!(folder.read(), Err(TestnetError::Broken { .. })));
    }
}
