//! The network file: the nodes that a network begins with, and the chain that says more, if there is one.
//!
//! Its text is TOML; the crate's README shows one. Reading it from disk is the caller's part.

use core::{net::SocketAddr, num::NonZeroU64};

use alloy::primitives::Address;
use session_protocols::{NetworkName, NodeId, answer::RULES, directory::Timing};

use crate::ledger::{BlsKey, Domain, Founder, Ledger, Operator, Parameters, Prefix};

pub use error::{NetworkFileError, Problem};
pub use read::{nearest, parse_release};
pub use signed::{Publisher, PublisherError, sign};

mod error;
mod read;
mod signed;
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
/// Endpoints of the chain in a file; a file with more is refused.
pub const MAX_RPC: usize = 8;
/// For how long what is known of the nodes is believed where the file does not say it, in seconds: a week, half as
/// long as stakes are meant to be bound.
pub const TRUST: u64 = 7 * 24 * 3_600;
/// The most that either number of [`NetworkFile::hf`] can be: such clients read a byte.
pub const MAX_HF: u64 = 255;
/// Epochs below so many seconds are those of a network for trying things out.
const SHORT: u64 = 60;
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
    /// Where newcomers of a test network get what they stake: an `http` or `https` URL.
    pub faucet: Option<String>,
    /// What a node's machine should have.
    pub limits: Limits,
    /// The version of the rules that its nodes tell clients, as the first network of this kind counts them: two
    /// numbers of up to [`MAX_HF`]. [`RULES`] where the file does not say it.
    pub hf: [u64; 2],
    /// The nodes that the network begins with; where there is a chain, those that are dialled first.
    pub nodes: Vec<NetworkNode>,
    /// The chain that nodes register on; without one the nodes above are all there are.
    pub settlement: Option<Settlement>,
}

/// What a node and its machine should have, at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Room on the disk of its data, in GiB.
    pub disk: u64,
    /// Memory, in MiB.
    pub memory: u64,
    /// Files and sockets that one process may have open.
    pub files: u64,
    /// The oldest release of the software that goes by what the network agreed on; 0.0.0 where each does.
    pub release: [u64; 3],
}

impl Default for Limits {
    fn default() -> Self {
        Self { disk: 30, memory: 2_048, files: 8_192, release: [0; 3] }
    }
}

/// A release of the software as it is written, such as `0.2.0`.
pub fn shown_release([major, minor, patch]: [u64; 3]) -> String {
    format!("{major}.{minor}.{patch}")
}

/// The chain that nodes stake on, and the contracts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The chain's id.
    pub chain: u64,
    /// Where it is asked, 1 to [`MAX_RPC`] URLs; a node may be told of others.
    pub rpc: Vec<String>,
    /// The block from which on events are read: none of the contracts is older.
    pub start: u64,
    /// When epoch 0 begins, in seconds since 1970.
    pub genesis: u64,
    /// Seconds of an epoch.
    pub epoch: NonZeroU64,
    /// How long the stake of a node that lost its place stays locked, in seconds.
    pub lock: u64,
    /// For how long those who follow no chain believe what they know of the nodes, in seconds: from the border of the
    /// checkpoint that they believed last on. It has to be shorter than stakes are bound, the contract's `unlockTime`:
    /// after that the nodes of that time may have nothing to lose any more. At least two epochs, and where not all of
    /// the network runs on this machine no longer than `lock`. [`TRUST`] where the file does not say it.
    pub trust: u64,
    /// When the nodes that the file names with their keys were nodes of the network, in seconds since 1970: the file
    /// is believed for as long after that. Whoever brings the nodes of a file up to date by the ledger writes here when
    /// that was. `genesis` where the file does not say it.
    pub written: u64,
    /// The contracts.
    pub contracts: Contracts,
    /// What a faucet lends stakes from, on test networks that have one.
    pub vault: Option<Address>,
}

/// The contracts of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contracts {
    /// What is staked and paid.
    pub token: Address,
    /// What rewards come from.
    pub pool: Address,
    /// What holds the stakes.
    pub staking: Address,
    /// What makes the contributions of nodes that several stake.
    pub factory: Address,
    /// What takes checkpoints and pays claims.
    pub checkpoints: Address,
    /// What names are registered and sold at.
    pub names: Address,
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
    /// Where it opens its HTTPS door, where the file says so.
    pub door: Option<SocketAddr>,
    /// The key that it signs checkpoints with, where there is a chain: whoever does not follow that believes
    /// the first checkpoint that more than two thirds of these keys have signed.
    pub bls: Option<BlsKey>,
}

impl NetworkFile {
    /// Reads the file's text. Where it is signed, the signature has to hold; whose it is, [`Self::publisher`] tells.
    ///
    /// # Errors
    /// At the first thing that is wrong, with its place and a remedy.
    pub fn parse(text: &str) -> Result<Self, NetworkFileError> {
        read::network(text).map(|(file, _)| file)
    }

    /// Who signed the file's text, if somebody did: the signature holds.
    ///
    /// # Errors
    /// As with [`Self::parse`].
    pub fn publisher(text: &str) -> Result<Option<Publisher>, NetworkFileError> {
        read::network(text).map(|(_, publisher)| publisher)
    }

    /// The file's text, as [`Self::parse`] reads it, unsigned; [`sign`] signs it.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "version = {VERSION}\nname = \"{}\"\nlocal = {}\nseed = \"{}\"\n",
            self.name,
            self.local,
            data_encoding::HEXLOWER.encode(&self.seed),
        );
        if let Some(faucet) = &self.faucet {
            text.push_str(&format!("faucet = {}\n", toml::Value::from(faucet.as_str())));
        }
        if self.hf != RULES {
            let [hard, soft] = self.hf;
            text.push_str(&format!("hf = [{hard}, {soft}]\n"));
        }
        if self.limits != Limits::default() {
            let Limits { disk, memory, files, release } = self.limits;
            text.push_str(&format!("\n[limits]\ndisk = {disk}\nmemory = {memory}\nfiles = {files}\n"));
            if release != [0; 3] {
                text.push_str(&format!("release = \"{}\"\n", shown_release(release)));
            }
        }
        if let Some(settlement) = &self.settlement {
            text.push_str(&format!("\n{}", settlement.to_toml()));
        }
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

    /// The ledger of the nodes above alone. Where there is a chain it says otherwise, and whoever does not
    /// follow it has no more to begin with than this.
    pub fn ledger(&self) -> Ledger {
        Ledger::genesis(Parameters::default(), self.seed, self.founders())
    }

    /// When its nodes agree on lists of nodes: every few seconds on one machine and where epochs are shorter than a
    /// minute, which are for trying things out; else every hour.
    pub fn timing(&self) -> Timing {
        let short = self.settlement.as_ref().is_some_and(|settlement| settlement.epoch.get() < SHORT);
        Timing::of(self.local || short)
    }

    /// The border at which the network begins, its height and its hash: what node records name for as long
    /// as there is no chain.
    pub fn border(&self) -> (u64, [u8; 32]) {
        (0, self.seed)
    }
}

impl Settlement {
    /// What the contracts' signatures are bound to.
    pub const fn domain(&self) -> Domain {
        let Contracts { staking, checkpoints, .. } = self.contracts;
        Domain { chain: self.chain, staking, checkpoints }
    }

    /// What the ledgers of the network have in common.
    pub fn parameters(&self) -> Parameters {
        Parameters {
            genesis: self.genesis,
            epoch_seconds: self.epoch,
            lock: self.lock,
            domain: self.domain(),
            ..Parameters::default()
        }
    }

    /// The section of the file.
    pub fn to_toml(&self) -> String {
        let Self { chain, rpc, start, genesis, epoch, lock, trust, written, contracts, vault } = self;
        let Contracts { token, pool, staking, factory, checkpoints, names } = contracts;
        let rpc = toml::Value::from(rpc.clone());
        let vault = vault.map(|vault| format!("vault = \"{vault}\"\n")).unwrap_or_default();
        format!(
            "[settlement]\nchain = {chain}\nrpc = {rpc}\nstart = {start}\ngenesis = {genesis}\nepoch = {epoch}\n\
             lock = {lock}\ntrust = {trust}\nwritten = {written}\ntoken = \"{token}\"\npool = \"{pool}\"\nstaking = \"{staking}\"\n\
             factory = \"{factory}\"\ncheckpoints = \"{checkpoints}\"\nnames = \"{names}\"\n{vault}"
        )
    }
}

impl NetworkNode {
    /// The node's section of the file.
    pub fn to_toml(&self) -> String {
        let Self { id, operator, prefix, addresses, door, bls } = self;
        let addresses = toml::Value::from(addresses.clone());
        let door = door.map(|door| format!("door = \"{door}\"\n")).unwrap_or_default();
        let bls = bls.map(|bls| format!("bls = \"{bls}\"\n")).unwrap_or_default();
        format!(
            "[[nodes]]\nid = \"{id}\"\noperator = \"{operator}\"\nprefix = \"{prefix}\"\naddresses = {addresses}\n{door}{bls}"
        )
    }
}
