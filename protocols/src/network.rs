//! The network's name, which is part of every protocol id and every signed statement.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network's name: 1 to 32 of `a-z 0-9 -`.
///
/// Two networks never mix: the name is in each protocol id and in each signed statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

/// A text is not a network's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network's name is 1 to 32 of a-z, 0-9 and -")]
pub struct NameError;

impl NetworkName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of one of this network's protocols, as in `/session/<net>/storage/1`.
    pub fn protocol(&self, protocol: Protocol) -> String {
        format!("/session/{}/{}/1", self.0, protocol.name())
    }

    /// The id of the protocol in which nodes hand each other the onion requests of the clients that exist.
    pub fn door_onion(&self) -> String {
        format!("/session/{}/door-onion/1", self.0)
    }

    /// A gossip topic of this network, as in `<net>/records`.
    pub fn topic(&self, topic: &str) -> String {
        format!("{}/{topic}", self.0)
    }
}

/// The protocols that nodes and clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Clients' requests about mailboxes.
    Storage,
    /// Members of one swarm among themselves.
    Swarm,
    /// Node records and snapshots.
    Directory,
    /// Subscriptions and what they deliver.
    Notify,
    /// Lookups of names.
    Names,
    /// Onion packets and their answers.
    Onion,
    /// The ledger of a checkpoint.
    Snapshot,
    /// Kademlia.
    Kad,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Swarm => "swarm",
            Self::Directory => "directory",
            Self::Notify => "notify",
            Self::Names => "names",
            Self::Onion => "onion",
            Self::Snapshot => "snapshot",
            Self::Kad => "kad",
        }
    }
}

impl FromStr for NetworkName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = (1..=32).contains(&text.len());
        let plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(NameError) }
    }
}

impl TryFrom<String> for NetworkName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
