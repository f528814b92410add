//! Why a node cannot start or go on.

use std::{io, path::PathBuf};

use session_chain::settlement::{EndpointError, FollowError};
use session_protocols::directory::Endpoint;

use crate::{door::DoorError, keystore::KeyError};

/// Why a node cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder {path}")]
    Data {
        /// The folder or a file in it.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Another node lives in the data folder.
    #[error("another process uses the data folder {path}")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The key cannot be read, or there is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] session_storage::OpenError),
    /// The node is not one of the network's.
    #[error("the node {id} is not registered in the network {network}")]
    NotRegistered {
        /// The node.
        id: String,
        /// The network.
        network: String,
    },
    /// The settlement chain cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// An endpoint of the settlement chain is none.
    #[error(transparent)]
    Rpc(#[from] EndpointError),
    /// It is not known which checkpoint was signed last.
    #[error("cannot tell from {path} which checkpoint was signed last")]
    Signed {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {endpoint}: {reason}")]
    Listen {
        /// The address.
        endpoint: Endpoint,
        /// What the transport said.
        reason: String,
    },
    /// The HTTP door cannot be opened.
    #[error("cannot serve HTTP on {address}")]
    Http {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The door for the clients that exist cannot be opened.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// A part of the node stopped that should not have.
    #[error("the node's {part} stopped")]
    Stopped {
        /// Which part.
        part: &'static str,
    },
}

impl NodeError {
    /// A short name that stays the same between versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Data { .. } => "data_folder",
            Self::InUse { .. } | Self::Store(session_storage::OpenError::InUse { .. }) => "in_use",
            Self::Key(_) => "key",
            Self::Store(_) => "store",
            Self::NotRegistered { .. } => "not_registered",
            Self::Follow(_) => "chain",
            Self::Rpc(_) => "rpc",
            Self::Signed { .. } => "signed",
            Self::Listen { .. } => "listen",
            Self::Http { .. } => "http",
            Self::Door(_) => "door",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        let remedy = match self {
            Self::Data { .. } => "check that the folder exists, belongs to this user and has room",
            Self::InUse { .. } | Self::Store(session_storage::OpenError::InUse { .. }) => {
                "stop the other node, or give this one a data folder of its own"
            }
            Self::Key(error) => return error.remedy(),
            Self::Store(session_storage::OpenError::Full { .. }) => {
                "make room on the disk of the data folder"
            }
            Self::Store(_) => "read the message above; the swarm refills an empty store",
            Self::NotRegistered { .. } => "use the key that is registered, or the network file that lists it",
            Self::Follow(_) => "read the message above; the ledger can always be made again from the chain",
            Self::Rpc(_) => "name endpoints by their URLs: in the network file, or with --rpc",
            Self::Signed { .. } => {
                "remove the file once an epoch has ended since this node ran: it must not sign two checkpoints of one"
            }
            Self::Door(DoorError::Certificate(_)) => {
                "check the files of certificate and key; without them, remove door.pem and another one is made"
            }
            Self::Door(DoorError::Key) => "restore the key file from a backup",
            Self::Listen { .. } | Self::Http { .. } | Self::Door(DoorError::Listen { .. }) => {
                "choose an address of this machine and a free port"
            }
            Self::Stopped { .. } => "look at the last lines of the log, and start the node again",
        };
        remedy.to_owned()
    }
}
