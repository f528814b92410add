//! The network file: the nodes that a network begins with, until a chain says more.
//!
//! Its text is TOML; the crate's README shows one. Reading it from disk is the caller's part.

use session_protocols::{NetworkName, NodeId};

use crate::ledger::{Founder, Ledger, Operator, Parameters, Prefix};

pub use error::{NetworkFileError, Problem};

mod error;
mod read;
#[cfg(test)]
mod tests;

/// The version of the format that this build reads and writes.
pub const VERSION: i64 = 1;
/// Nodes in a file; a file with more is refused.
pub const MAX_NODES: usize = 10_000;
/// Addresses of one node; a file with more is refused.
pub const MAX_ADDRESSES: usize = 8;
/// Bytes of one address; a file with a longer one is refused.
pub const MAX_ADDRESS_BYTES: usize = 256;
/// Bytes of a file, room for [`MAX_NODES`] with usual addresses; a longer one is refused unread.
pub const MAX_BYTES: usize = 16 << 20;

/// A network as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFile {
    /// The network's name.
    pub name: NetworkName,
    /// Whether all of it runs on this machine.
    pub local: bool,
    /// Seeds the first swarm map.
    pub seed: [u8; 32],
    /// The nodes that the network begins with.
    pub nodes: Vec<NetworkNode>,
}

/// A node as the network file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkNode {
    /// Its key.
    pub id: NodeId,
    /// Who runs it.
    pub operator: Operator,
    /// Where it declares to stand.
    pub prefix: Prefix,
    /// Where it can be dialled: multiaddresses, as they are written.
    pub addresses: Vec<String>,
}

impl NetworkFile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// At the first thing that is wrong, with its place and a remedy.
    pub fn parse(text: &str) -> Result<Self, NetworkFileError> {
        read::network(text)
    }

    /// The file's text, as [`Self::parse`] reads it.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "version = {VERSION}\nname = \"{}\"\nlocal = {}\nseed = \"{}\"\n",
            self.name,
            self.local,
            data_encoding::HEXLOWER.encode(&self.seed),
        );
        for node in &self.nodes {
            text.push_str(&format!("\n{}", node.to_toml()));
        }
        text
    }

    /// The nodes that the network begins with, as the ledger takes them.
    pub fn founders(&self) -> impl Iterator<Item = Founder> {
        let founder =
            |node: &NetworkNode| Founder { node: node.id, operator: node.operator, prefix: node.prefix };
        self.nodes.iter().map(founder)
    }

    /// The ledger that the network begins with, under the default parameters.
    pub fn ledger(&self) -> Ledger {
        Ledger::genesis(Parameters::default(), self.seed, self.founders())
    }

    /// The border at which the network begins, its height and its hash: what node records name for as long
    /// as there is no chain.
    pub fn border(&self) -> (u64, [u8; 32]) {
        (0, self.seed)
    }
}

impl NetworkNode {
    /// The node's section of the file.
    pub fn to_toml(&self) -> String {
        let Self { id, operator, prefix, addresses } = self;
        let addresses = toml::Value::from(addresses.clone());
        format!(
            "[[nodes]]\nid = \"{id}\"\noperator = \"{operator}\"\nprefix = \"{prefix}\"\naddresses = {addresses}\n"
        )
    }
}
