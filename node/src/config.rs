//! Where a node lives and how much it may use.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use session_chain::NetworkFile;
use session_protocols::{directory::Endpoint, limits::AdmissionRates};

use crate::{Supervisor, door::DoorConfig, keystore::Passphrase};

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network.
    pub network: NetworkFile,
    /// The folder for its key and its store; made if missing. No two nodes share one.
    pub data: PathBuf,
    /// Where to listen for nodes and clients. Those within the node's declared prefix are announced.
    pub listen: Vec<Endpoint>,
    /// Where others reach the node, if that is elsewhere: behind a router that forwards a port. Announced in place of
    /// those above.
    pub announce: Vec<Endpoint>,
    /// Whether a router is asked to lead the node's ports to it (UPnP); where nobody says, only outside of local
    /// networks, and where the node listens on a private address.
    pub upnp: Option<bool>,
    /// Where to serve `/livez`, `/readyz`, `/metrics` and `/status`; loopback unless told otherwise.
    pub http: SocketAddr,
    /// The door for the clients that exist; none by default.
    pub door: Option<DoorConfig>,
    /// Who serves the settlement chain, by URL; those that the network file names if none.
    pub rpc: Vec<String>,
    /// What its ledger begins with, where it has none.
    pub sync: Beginning,
    /// How many bytes of messages may be kept.
    pub max_bytes: u64,
    /// How many bytes one account may fill.
    pub account_bytes: u64,
    /// How much memory the process may use before new connections are refused, in bytes.
    pub max_memory: usize,
    /// How much anyone may ask.
    pub rates: AdmissionRates,
    /// What the keys in the data folder are encrypted under, if they are.
    pub passphrase: Option<Passphrase>,
    /// Changes what is logged, where whoever runs the node lets that be changed while it runs.
    pub log: Option<LogControl>,
    /// Who is told how the node is, where a service manager started the process for this node alone.
    pub supervisor: Option<Supervisor>,
}

impl Config {
    /// Settings with the defaults: 20 GiB of messages, 256 MiB for one account, 2 GiB of memory.
    pub fn new(network: NetworkFile, data: PathBuf, listen: Vec<Endpoint>, http: SocketAddr) -> Self {
        Self {
            network,
            data,
            listen,
            announce: Vec::new(),
            upnp: None,
            http,
            door: None,
            rpc: Vec::new(),
            sync: Beginning::Checkpoint,
            max_bytes: 20 << 30,
            account_bytes: 256 << 20,
            max_memory: 2 << 30,
            rates: AdmissionRates::default(),
            passphrase: None,
            log: None,
            supervisor: None,
        }
    }
}

/// What a ledger begins with, and may go on with where it is far behind or is given no more logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// That of the last checkpoint that the contract accepted, as other nodes have it; with all logs where there is none
    /// to be had.
    Checkpoint,
    /// All logs since the contracts were deployed, and nothing else.
    Logs,
}

/// Changes what is logged.
#[derive(Clone)]
pub struct LogControl(Arc<Change>);

/// Sets a filter, or says what is wrong with it.
type Change = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl LogControl {
    /// By a function that takes a filter, or tells what is wrong with it.
    pub fn new(set: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(set))
    }

    /// Logs what a filter lets through, from here on.
    ///
    /// # Errors
    /// With what is wrong with the filter.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        (self.0)(filter)
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogControl")
    }
}
