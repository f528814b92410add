//! What can be known of a node, before anybody judges it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use session_chain::network::Limits;
use session_protocols::directory::Endpoint;

use crate::{
    failure::Failure,
    join::{endpoints::Look, service::unit::Installed},
};

/// What could not be found out, or does not hold, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self { message: failure.message, remedy: failure.remedy }
    }
}

/// All that was found out of one node.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) data: PathBuf,
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    /// The version of this program.
    pub(crate) version: String,
    /// The network that the settings name, if they name one; or what is wrong with them.
    pub(crate) network: Result<Option<Network>, Wrong>,
    pub(crate) keys: Keys,
    pub(crate) machine: Machine,
    pub(crate) node: Node,
    /// The unit that runs it, where systemd does.
    pub(crate) unit: Option<Installed>,
    /// Whether the process runs it that publishes its network.
    pub(crate) published: bool,
    /// What a node that does not run would listen on, and what keeps it from that.
    pub(crate) ports: Vec<(String, Option<String>)>,
    /// Where others are to reach it, and whether this machine has that address.
    pub(crate) announced: Vec<(Endpoint, bool)>,
    /// The address that nodes of the network see this machine come from, where they were asked.
    pub(crate) seen: Option<IpAddr>,
    /// By how many seconds this machine's clock is ahead of servers', where one tells the time.
    pub(crate) ahead: Option<i64>,
    /// The endpoints of the chain, where there is one.
    pub(crate) chain: Option<Chain>,
    /// Whether a stake is put down for a node that does not run, where the chain was asked.
    pub(crate) staked: Option<Result<bool, Wrong>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// Whether all of it runs on this machine.
    pub(crate) local: bool,
    /// What the machine of a node should have.
    pub(crate) limits: Limits,
    /// Nodes that its description names.
    pub(crate) nodes: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The node's id.
    pub(crate) id: Result<String, Wrong>,
    /// What pays for checkpoints, if there is such a key.
    pub(crate) gas: Result<Option<String>, Wrong>,
    pub(crate) sealed: bool,
    /// Whether a passphrase that is known here opens them; none where none is known, or none is needed.
    pub(crate) opened: Option<Result<(), Wrong>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Bytes that the node may fill, or has filled.
    pub(crate) disk: Option<u64>,
    /// What a small write to the data folder takes until it is durable, in the middle; or why it fails.
    pub(crate) sync: Result<Duration, String>,
    /// MiB, where the system tells.
    pub(crate) memory: Option<u64>,
    /// How many files a process of this user may have open.
    pub(crate) files: u64,
}

/// Whether the node runs.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// No process has its folder.
    Stopped,
    /// A process has it, and does not answer.
    Silent { http: SocketAddr },
    /// It answers.
    Running(Box<Running>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Running {
    pub(crate) status: Status,
    pub(crate) checks: Vec<Check>,
    /// Metrics without labels, by their names.
    pub(crate) metrics: BTreeMap<String, f64>,
}

/// What `/status` says. What another version leaves out is as if it were nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) peers: u64,
    pub(crate) addresses: Vec<String>,
    pub(crate) version: String,
    reachability: Value,
    pub(crate) chain: Option<Followed>,
}

impl Status {
    /// The last dial back of each address.
    pub(crate) fn dialled_back(&self) -> Vec<DialledBack> {
        self.listed("dialled_back")
    }

    /// Which node came in over each transport last.
    pub(crate) fn reached(&self) -> Vec<Inbound> {
        self.listed("reached")
    }

    /// Entries of another shape are as if they were not there.
    fn listed<T: DeserializeOwned>(&self, name: &str) -> Vec<T> {
        let all = self.reachability[name].as_array().into_iter().flatten();
        all.filter_map(|one| serde_json::from_value(one.clone()).ok()).collect()
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DialledBack {
    pub(crate) address: String,
    pub(crate) by: String,
    pub(crate) at: u64,
    pub(crate) ok: bool,
    pub(crate) why: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Inbound {
    pub(crate) transport: String,
    pub(crate) by: String,
    pub(crate) at: u64,
}

/// How the node stands with the chain.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Followed {
    pub(crate) registration: String,
    pub(crate) trouble: Option<String>,
    pub(crate) stake: Option<Stake>,
    pub(crate) endpoints: Vec<Standing>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stake {
    pub(crate) staked: String,
    pub(crate) unlocks: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) standing: String,
    pub(crate) trouble: Option<String>,
}

/// A check of `/readyz`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

/// What the endpoints of the chain say.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The chain that is wanted.
    pub(crate) id: u64,
    /// What each says, or what is wrong with it.
    pub(crate) looks: Vec<Result<Look, String>>,
    /// A block that all of them should have, and its hash by each that tells.
    pub(crate) block: u64,
    pub(crate) hashes: Vec<(String, String)>,
}

/// The metrics of a text that have no labels.
pub(crate) fn metrics(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(' ')).filter(|(name, _)| !name.contains('{'));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}
