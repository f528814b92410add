//! Why a local testnet cannot do what it was asked.

use std::{fmt, io, path::PathBuf};

use session_chain::settlement::{RegistrarError, ReplayError, StakeError};

use crate::layout::MAX_NODES;

/// Why a local testnet cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestnetError {
    /// The system refuses to read or write.
    #[error("cannot {deed} {path}", path = .path.display())]
    Io {
        /// What was tried.
        deed: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// No folder was named, and the user has none.
    #[error("neither XDG_STATE_HOME nor HOME says where to keep the testnet")]
    NoHome,
    /// The state file cannot be understood.
    #[error("{path} is broken", path = .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// The state file was written by a newer version.
    #[error("{path} has version {found}, this build reads up to {known}", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that this build reads.
        known: u64,
    },
    /// The network file of the testnet cannot be used.
    #[error("{path}: {cause}", path = .path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        cause: session_chain::network::NetworkFileError,
    },
    /// The folder holds something else.
    #[error("{path} is not empty and holds no testnet", path = .0.display())]
    NotEmpty(PathBuf),
    /// Another command works on the same testnet.
    #[error("another command has been at work in {path} for {seconds} s", path = .path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// There is no testnet.
    #[error("no testnet in {path}", path = .0.display())]
    NotUp(PathBuf),
    /// A testnet of another size is there.
    #[error("a testnet of {have} nodes is there already, not of {wanted}")]
    Size {
        /// How many it has.
        have: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// A number of nodes that there cannot be.
    #[error("a testnet has 1 to {MAX_NODES} nodes, not {0}")]
    Nodes(usize),
    /// A node that is not there.
    #[error("there is no node {index}; this testnet has {nodes}")]
    NoNode {
        /// Which one was asked for.
        index: usize,
        /// How many there are.
        nodes: usize,
    },
    /// A node's key cannot be made.
    #[error(transparent)]
    Key(#[from] session_node::keystore::KeyError),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// A loopback address cannot be used.
    #[error("cannot find a free port on {ip}")]
    Port {
        /// The address.
        ip: std::net::IpAddr,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A node's process cannot be started.
    #[error("cannot run {binary}", binary = .binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A node's process cannot be signalled.
    #[error("cannot signal node {index}")]
    Signal {
        /// Which one.
        index: usize,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A node did not end, not even when killed.
    #[error("node {index} does not end")]
    Stuck {
        /// Which one.
        index: usize,
    },
    /// There is no program to run the chain.
    #[error("the chain of a testnet is run by anvil, and there is none at {path}", path = .path.display())]
    NoAnvil {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Anvil does not start.
    #[error("anvil does not answer; it says what is wrong in {log}", log = .log.display())]
    ChainSilent {
        /// Its log.
        log: PathBuf,
    },
    /// The network page cannot have its port.
    #[error("cannot serve the network page at port {port} of 127.0.0.1")]
    PagePort {
        /// Which one; 0 for any.
        port: u16,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The network page does not start.
    #[error("the network page does not start; it says what is wrong in {log}", log = .log.display())]
    PageSilent {
        /// Its log.
        log: PathBuf,
    },
    /// The network page cannot be signalled.
    #[error("cannot signal the network page")]
    PageSignal {
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Anvil cannot be signalled.
    #[error("cannot signal anvil")]
    ChainSignal {
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The chain does not do what it is asked.
    #[error("the chain of the testnet refuses: {what}")]
    Chain {
        /// What it says.
        what: String,
    },
    /// A transaction fails.
    #[error(transparent)]
    Send(#[from] session_chain::settlement::SendError),
    /// The contracts refuse.
    #[error(transparent)]
    Stake(Box<StakeError>),
    /// A name cannot be registered.
    #[error(transparent)]
    Name(Box<RegistrarError>),
    /// The chain cannot be read.
    #[error(transparent)]
    Replay(Box<ReplayError>),
    /// An endpoint's URL is none.
    #[error(transparent)]
    Endpoint(#[from] session_chain::settlement::EndpointError),
    /// There is no chain on which anybody could stake.
    #[error("the testnet in {path} has no chain", path = .0.display())]
    NoChain(PathBuf),
    /// The chain does not run.
    #[error("the chain of the testnet is down")]
    ChainDown,
    /// With fewer nodes no stake would be paid back.
    #[error("a testnet of {nodes} nodes cannot let one go: {least} have to be left to agree on a checkpoint")]
    TooFew {
        /// How many it has.
        nodes: usize,
        /// How many have to be left.
        least: usize,
    },
    /// A node does not come to what it should.
    #[error("node {index} is not {what} after {seconds} s")]
    Unsettled {
        /// Which one.
        index: usize,
        /// What it should be.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Nodes ended before they were ready.
    #[error("{} before being ready{}", names(.0, "stopped"), words(.0))]
    Died(Vec<LastWords>),
    /// Nodes were not ready in time.
    #[error("{} ready after {seconds} s{}", names(.nodes, "not"), words(.nodes))]
    NotReady {
        /// Which ones, and what they say.
        nodes: Vec<LastWords>,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A client cannot do what a measurement needs.
    #[error("the measurement failed")]
    Client(#[from] session_client::ClientError),
    /// A measurement has nothing to show.
    #[error("the measurement failed: {0}")]
    Bench(&'static str),
}

/// A node that failed, and what it said at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWords {
    /// Which node.
    pub index: usize,
    /// What it is not ready for, by its own checks.
    pub unmet: Vec<String>,
    /// The last lines of its log.
    pub lines: Vec<String>,
}

impl TestnetError {
    /// A short name that stays the same between versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::NoHome => "no_home",
            Self::Broken { .. } | Self::Newer { .. } | Self::Network { .. } => "state",
            Self::NotEmpty(_) => "not_empty",
            Self::Busy { .. } => "busy",
            Self::NotUp(_) => "not_up",
            Self::Size { .. } => "other_size",
            Self::Nodes(_) => "nodes",
            Self::NoNode { .. } => "no_node",
            Self::Key(_) => "key",
            Self::Random => "random",
            Self::Port { .. } | Self::PagePort { .. } => "port",
            Self::Spawn { .. } => "spawn",
            Self::Signal { .. } | Self::Stuck { .. } | Self::PageSignal { .. } => "signal",
            Self::PageSilent { .. } => "page",
            Self::NoAnvil { .. } => "no_anvil",
            Self::ChainSilent { .. } | Self::ChainSignal { .. } | Self::Chain { .. } | Self::Send(_) => {
                "chain"
            }
            Self::Stake(cause) => cause.code(),
            Self::Name(cause) => cause.code(),
            Self::Replay(_) | Self::Endpoint(_) => "chain",
            Self::NoChain(_) => "no_chain",
            Self::ChainDown => "chain_down",
            Self::TooFew { .. } => "too_few_nodes",
            Self::Died(_) => "died",
            Self::NotReady { .. } | Self::Unsettled { .. } => "not_ready",
            Self::Client(_) | Self::Bench(_) => "bench",
        }
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Io { .. } => "check that the folder belongs to this user and has room".to_owned(),
            Self::NoHome => "set HOME, or name a folder with --dir".to_owned(),
            Self::Broken { .. } => {
                "remove the testnet's folder, and start anew: session testnet up".to_owned()
            }
            Self::Newer { .. } => "use the newer build".to_owned(),
            Self::Network { cause, .. } => cause.remedy(),
            Self::NotEmpty(_) => "name an empty folder with --dir".to_owned(),
            Self::Busy { .. } => "wait for it to end, or end it".to_owned(),
            Self::NotUp(_) => "start one with: session testnet up".to_owned(),
            Self::Size { have, .. } => {
                format!(
                    "use it (session testnet up --nodes {have}), or remove it first: session testnet down"
                )
            }
            Self::Nodes(_) => "choose another number with --nodes".to_owned(),
            Self::NoNode { .. } => "look which there are with: session testnet status".to_owned(),
            Self::Key(_) => "remove what is left of the testnet with: session testnet down".to_owned(),
            Self::Random => "look at the system's log".to_owned(),
            Self::Port { .. } => {
                "the testnet uses 127.0.N.1, which Linux has unless told otherwise".to_owned()
            }
            Self::PagePort { .. } => "name another port: session testnet up --page PORT".to_owned(),
            Self::PageSilent { .. } => "the nodes run; try again with: session testnet up".to_owned(),
            Self::Spawn { .. } => "build it with: cargo build --release -p session-cli".to_owned(),
            Self::Signal { .. } => "check that its process belongs to this user".to_owned(),
            Self::Stuck { index } => format!("look at its log with: session testnet logs {index}"),
            Self::NoAnvil { .. } => {
                "run ./scripts/testnet up, which installs it, or set SESSION_ANVIL to one; without a chain: \
                 session testnet up --no-chain"
                    .to_owned()
            }
            Self::ChainSilent { .. } | Self::Chain { .. } => {
                "remove the testnet and start anew: session testnet down; without a chain: session testnet up \
                 --no-chain"
                    .to_owned()
            }
            Self::ChainSignal { .. } | Self::PageSignal { .. } => {
                "check that its process belongs to this user".to_owned()
            }
            Self::Send(cause) => cause.remedy().to_owned(),
            Self::Stake(cause) => cause.remedy().to_owned(),
            Self::Name(cause) => cause.remedy().to_owned(),
            Self::Replay(cause) => cause.remedy().to_owned(),
            Self::Endpoint(_) => "correct `rpc` in the testnet's network.toml".to_owned(),
            Self::NoChain(_) => {
                "begin one that has: session testnet down, then session testnet up".to_owned()
            }
            Self::ChainDown => "bring it back with: session testnet up".to_owned(),
            Self::TooFew { .. } => "add one first: session testnet add".to_owned(),
            Self::Unsettled { index, .. } => {
                format!("see what it waits for: session testnet status, session testnet logs {index}")
            }
            Self::Died(nodes) => logs(nodes),
            Self::NotReady { nodes, .. } => {
                format!("{}; where others are down, bring back all: session testnet up", logs(nodes))
            }
            Self::Client(cause) => cause.remedy().to_owned(),
            Self::Bench(_) => "run it again, with more seconds".to_owned(),
        }
    }
}

impl From<StakeError> for TestnetError {
    fn from(error: StakeError) -> Self {
        Self::Stake(Box::new(error))
    }
}

impl From<RegistrarError> for TestnetError {
    fn from(error: RegistrarError) -> Self {
        Self::Name(Box::new(error))
    }
}

impl From<ReplayError> for TestnetError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(Box::new(error))
    }
}

fn logs(nodes: &[LastWords]) -> String {
    let index = nodes.first().map_or(1, |node| node.index);
    format!("read the log with: session testnet logs {index}")
}

fn names(nodes: &[LastWords], verb: &str) -> String {
    let list: Vec<String> = nodes.iter().map(|node| node.index.to_string()).collect();
    match (nodes.len(), verb) {
        (1, "not") => format!("node {} is not", list.concat()),
        (_, "not") => format!("nodes {} are not", list.join(", ")),
        (1, _) => format!("node {} {verb}", list.concat()),
        _ => format!("nodes {} {verb}", list.join(", ")),
    }
}

/// Nodes whose last words are shown; with more the message would fill the screen.
const SHOWN: usize = 3;

fn words(nodes: &[LastWords]) -> String {
    nodes.iter().take(SHOWN).map(ToString::to_string).collect()
}

impl fmt::Display for LastWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for unmet in &self.unmet {
            write!(f, "\n  node {} | {unmet}", self.index)?;
        }
        for line in &self.lines {
            write!(f, "\n  node {} | {line}", self.index)?;
        }
        Ok(())
    }
}
