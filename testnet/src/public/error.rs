//! Why a public test network cannot be published.

use std::{io, net::SocketAddr, path::PathBuf};

use session_chain::{
    Operator,
    network::NetworkFileError,
    settlement::{EndpointError, SendError, StakeError, Trouble, VaultError},
};
use session_node::{NodeError, keystore::KeyError};
use session_protocols::NetworkName;

use super::LEAST_NODES;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublicError {
    /// Too few nodes to agree on anything.
    #[error("a network begins with {LEAST_NODES} nodes or more, and {nodes} were asked for")]
    TooFew {
        /// How many were asked for.
        nodes: usize,
    },
    /// Another process publishes it.
    #[error("the network in {} is being published already", path.display())]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
    /// The folder is of another network.
    #[error("{} describes the network {name}", path.display())]
    Another {
        /// The description.
        path: PathBuf,
        /// That network.
        name: NetworkName,
    },
    /// What the network has from its beginning on.
    #[error("{what}, cannot change once a network has begun: it is {is}")]
    Fixed {
        /// What was to be changed.
        what: &'static str,
        /// What it is.
        is: String,
    },
    /// Whoever pays is not who began it.
    #[error("the network was begun by the account {wanted}, and this is {found}")]
    OtherAccount {
        /// Who began it.
        wanted: Operator,
        /// Who was to pay.
        found: Operator,
    },
    /// The endpoint is another chain's.
    #[error("the network is on chain {wanted}, and the first endpoint serves chain {found}")]
    OtherChain {
        /// Where its contracts are.
        wanted: u64,
        /// What the endpoint says.
        found: u64,
    },
    /// Something is left to be paid for.
    #[error("something of the network is left to be paid for, and no account pays")]
    NoTreasury,
    /// The faucet's key here is not the one that lends.
    #[error("the vault lends for the account {lender}, and the faucet's key here is that of {faucet}")]
    Lender {
        /// Who lends.
        lender: Operator,
        /// Who is to lend.
        faucet: Operator,
    },
    /// The vault cannot be asked, or does not do as it is told.
    #[error(transparent)]
    Vault(Box<VaultError>),
    /// The description that is there cannot be read.
    #[error("{}: {cause}", path.display())]
    Description {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: Box<NetworkFileError>,
    },
    /// The description names no chain, or not these nodes.
    #[error("the network has no chain, or its description names other nodes than this folder has")]
    NoChain,
    /// A key cannot be read or made.
    #[error("a node's key")]
    Key(#[from] KeyError),
    /// No URL.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// The chain cannot be asked.
    #[error("the chain at {url} cannot be asked: {trouble}")]
    Chain {
        /// Where.
        url: String,
        /// Why not.
        trouble: Trouble,
    },
    /// A transaction failed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A stake could not be put down.
    #[error(transparent)]
    Stake(#[from] StakeError),
    /// A node stopped.
    #[error("node {index} of this network stopped")]
    Node {
        /// Which, from 1.
        index: usize,
        /// Why.
        source: NodeError,
    },
    /// Something listens there, or this user may not.
    #[error("cannot listen on {at}: {cause}")]
    Taken {
        /// Where.
        at: SocketAddr,
        /// The flag that names another port.
        flag: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// The disk or the network of this machine refuses.
    #[error("{}: {cause}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl PublicError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "too_few_nodes",
            Self::InUse { .. } => "in_use",
            Self::Another { .. } => "another_network",
            Self::Fixed { .. } => "fixed",
            Self::OtherAccount { .. } => "other_account",
            Self::OtherChain { .. } => "chain",
            Self::NoTreasury => "no_account",
            Self::Lender { .. } => "other_lender",
            Self::Vault(error) => error.code(),
            Self::Description { .. } => "network_file",
            Self::NoChain => "no_chain",
            Self::Key(_) => "key",
            Self::Url(_) => "url",
            Self::Chain { .. } => "chain",
            Self::Send(error) => error.code(),
            Self::Stake(error) => error.code(),
            Self::Node { source, .. } => source.code(),
            Self::Taken { .. } => "port",
            Self::Io { .. } => "io",
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::TooFew { .. } => format!("ask for {LEAST_NODES} or more: --nodes {LEAST_NODES}"),
            Self::InUse { .. } => {
                "stop that first (Ctrl-C where it runs), then type the command again".to_owned()
            }
            Self::Another { .. } => "name another folder: --data DIR".to_owned(),
            Self::Fixed { .. } => {
                "leave that as it is; or begin another network, in another folder: --data DIR".to_owned()
            }
            Self::OtherAccount { .. } => {
                "name the account that began it: --account NAME; session account list shows yours".to_owned()
            }
            Self::OtherChain { .. } => {
                "name an endpoint that serves its chain: --rpc https://rpc.example.org".to_owned()
            }
            Self::NoTreasury => "name the account that pays: --account NAME".to_owned(),
            Self::Lender { .. } => {
                "let the account that published the network name this one: --account NAME. Or bring the faucet's key \
                 back, which is faucet/gas.key in the network's folder"
                    .to_owned()
            }
            Self::Vault(error) => error.remedy().to_owned(),
            Self::Description { cause, .. } => cause.remedy(),
            Self::NoChain => "put the folder back as it was, or begin in another one: --data DIR".to_owned(),
            Self::Key(_) => "check that the folder belongs to this user and has room".to_owned(),
            Self::Url(_) => "name the chain's endpoint: --rpc https://rpc.example.org".to_owned(),
            Self::Chain { trouble, .. } => trouble.remedy().to_owned(),
            Self::Send(error) => error.remedy().to_owned(),
            Self::Stake(error) => error.remedy().to_owned(),
            Self::Node { source, .. } => source.remedy(),
            Self::Taken { flag, cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
                format!("name a port from 1024 on, which is not root's: {flag} PORT")
            }
            Self::Taken { flag, .. } => {
                format!("stop whatever listens there (ss -lntup shows it), or name another port: {flag} PORT")
            }
            Self::Io { .. } => "check the address, the folder, its owner and the room on the disk".to_owned(),
        }
    }
}

impl From<VaultError> for PublicError {
    fn from(error: VaultError) -> Self {
        Self::Vault(Box::new(error))
    }
}
