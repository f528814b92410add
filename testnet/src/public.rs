//! A public test network: its contracts, its first nodes, its description, and where newcomers find all that.
//!
//! Each step looks at what is there already and goes on from it, so that whoever was interrupted repeats the command.

mod callers;
mod coins;
mod deployment;
mod error;
mod faucet;
mod nodes;
mod places;
mod renewal;
mod serve;
mod share;
mod sweep;

use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
};
use session_chain::{
    Amount, Candidate, NetworkFile,
    bls::BlsSecret,
    network::{Limits, NetworkNode, Settlement, sign},
    settlement::{Delivery, Staker},
};
use session_node::keystore::{self, KeyError};
use session_protocols::{
    KeyPair, NetworkName, Prefix,
    directory::{Endpoint as Place, Transport},
};

pub use coins::Wish;
pub use error::PublicError;
pub use faucet::Ask;
pub use nodes::is_published;
pub use places::check_ports;
pub use serve::serve;
pub use share::lendable;

/// Nodes that a network begins with: fewer agree on no checkpoint.
pub const LEAST_NODES: usize = 4;
/// Nodes that it begins with where nobody says how many: so many that the stakes of several newcomers are a small share.
pub const FIRST_NODES: usize = 16;
/// What a node stakes.
const STAKE: Amount = Amount::sesh(25_000);
/// What rewards are paid from.
const POOL: Amount = Amount::sesh(40_000_000);
/// What the faucet lends: the stakes of two thousand nodes.
const STOCK: Amount = Amount::sesh(50_000_000);
/// What it gives to wallets, in all.
const COINS: Amount = Amount::sesh(100_000);
/// What it pays from, in wei: half an ether. Whoever runs it sends it more.
const ETHER: u64 = 500_000_000_000_000_000;
/// Seconds of an epoch, unless the plan says it.
const EPOCH: u64 = 3_600;
/// The share of the nodes that the faucet lends to, in percent, unless the plan says it: with a third of them, nodes that
/// cost nothing could stop the checkpoints.
const LENT: u64 = 25;
/// What a node's own account gets to submit checkpoints from, in wei: a hundredth of an ether.
const GAS: u64 = 10_000_000_000_000_000;
/// What a process has the folder by, in it.
const LOCK: &str = "lock";
/// The description, in the folder.
const DESCRIPTION: &str = "network.toml";
/// The folder of the key that signs it.
const PUBLISHER: &str = "publisher";
/// The folder of the key that the faucet lends and gives with.
const FAUCET: &str = "faucet";

/// What to publish.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the network is called.
    pub name: NetworkName,
    /// Where it lives on this machine.
    pub folder: PathBuf,
    /// Who serves the chain, for everybody: the first is asked here.
    pub rpc: Vec<String>,
    /// The addresses of this machine at which others reach its nodes, which take turns with them.
    pub ips: Vec<IpAddr>,
    /// The port of the first node; the others have the next ones.
    pub port: u16,
    /// How many nodes begin; as many as there are, or [`FIRST_NODES`], unless it is said.
    pub nodes: Option<usize>,
    /// Seconds of an epoch; an hour unless it is said.
    pub epoch: Option<NonZeroU64>,
    /// Room on the disk that a node should have, in GiB.
    pub disk: Option<u64>,
    /// The oldest release of the software that a node may run; any unless it is said.
    pub release: Option<[u64; 3]>,
    /// The share of the nodes whose stakes the faucet lends at most, in percent; a quarter unless it is said.
    pub lent: Option<u64>,
    /// Where others find the description and the faucet: a URL without a slash at its end.
    pub url: String,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Keys of the nodes and of the publisher are made.
    Keys,
    /// The contracts are deployed, and the pool filled.
    Contracts,
    /// So many of the nodes have their stake.
    Stakes(usize),
    /// The description is signed.
    Description,
}

/// A network that can be served.
#[derive(Clone, Debug)]
pub struct Public {
    /// Where it lives on this machine.
    pub folder: PathBuf,
    /// The description, with its signature.
    pub text: String,
    /// The same, read.
    pub network: NetworkFile,
    /// What the faucet lends and gives with: the vault's lender, which has no other right.
    pub faucet: PrivateKeySigner,
    /// The share of the nodes that it lends to, in percent.
    pub lent: u64,
    /// The folder is this process's for as long as there is one of these.
    _lock: Arc<fs::File>,
}

impl Plan {
    /// Where newcomers ask the faucet.
    fn faucet(&self) -> String {
        format!("{}/faucet", self.url)
    }

    /// What a node should have: as the plan says, else as before.
    fn limits(&self, before: Limits) -> Limits {
        let (disk, release) = (self.disk.unwrap_or(before.disk), self.release.unwrap_or(before.release));
        Limits { disk, release, ..before }
    }
}

/// Whether nothing of a network is left to be paid for: who goes on with it needs no money then.
///
/// # Errors
/// When its description cannot be read.
pub fn is_paid(plan: &Plan) -> Result<bool, PublicError> {
    let begun = begun(&plan.folder.join(DESCRIPTION))?;
    // It is signed when all stakes are put down.
    Ok(begun.is_some_and(|(network, signed)| {
        signed && plan.nodes.is_none_or(|nodes| nodes <= network.nodes.len())
    }))
}

/// Makes what is missing of the network: keys, contracts, stakes, and the signed description. The treasury pays; where
/// nothing is left to be paid for, none is needed.
///
/// # Errors
/// Tells what could not be done; whoever repeats it goes on there.
pub async fn prepare(
    plan: &Plan,
    treasury: Option<&PrivateKeySigner>,
    mut progress: impl FnMut(Stage) + Send,
) -> Result<Public, PublicError> {
    let lock = Arc::new(lock(&plan.folder)?);
    let path = plan.folder.join(DESCRIPTION);
    let (is_paid, begun) = (is_paid(plan)?, begun(&path)?.map(|(network, _)| network));
    if let Some(file) = begun.as_ref().filter(|file| file.name != plan.name) {
        return Err(PublicError::Another { path, name: file.name.clone() });
    }
    let nodes = count(plan, begun.as_ref());
    if nodes < LEAST_NODES {
        return Err(PublicError::TooFew { nodes });
    }
    progress(Stage::Keys);
    let publisher = key(&plan.folder.join(PUBLISHER))?;
    let faucet = faucet_key(&plan.folder)?;
    let pairs = (1..=nodes).map(|index| key(&data(&plan.folder, index))).collect::<Result<Vec<_>, _>>()?;
    progress(Stage::Contracts);
    let network = match begun {
        Some(network) => {
            renewal::renewed(plan, &pairs, network, treasury.map(PrivateKeySigner::address)).await?
        }
        None => {
            let treasury = treasury.ok_or(PublicError::NoTreasury)?;
            let nodes = (0..).zip(&pairs).map(|(index, pair)| first(plan, index, pair, treasury.address()));
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|_| KeyError::Random)?;
            let mut network = NetworkFile {
                name: plan.name.clone(),
                local: false,
                seed,
                hf: session_protocols::answer::RULES,
                faucet: Some(plan.faucet()),
                limits: plan.limits(Limits::default()),
                nodes: nodes.collect(),
                settlement: None,
            };
            // Before anything is paid for.
            readable(&network, &path)?;
            network.settlement = Some(deployment::deploy(plan, treasury, faucet.address()).await?);
            write(&path, &readable(&network, &path)?)?;
            network
        }
    };
    let settlement = network.settlement.as_ref().ok_or(PublicError::NoChain)?;
    deployment::appoint(settlement, treasury, faucet.address()).await?;
    if let Some(owner) = treasury {
        sweep::recall(&plan.folder, settlement, owner).await?;
    }
    if !is_paid {
        let treasury = treasury.ok_or(PublicError::NoTreasury)?;
        for (index, pair) in pairs.iter().enumerate() {
            progress(Stage::Stakes(index));
            let data = data(&plan.folder, index.saturating_add(1));
            stake(&network, settlement, treasury, pair, &data).await?;
        }
    }
    progress(Stage::Description);
    let text = sign(&readable(&network, &path)?, &publisher);
    write(&path, &text)?;
    let lent = plan.lent.unwrap_or(LENT);
    Ok(Public { folder: plan.folder.clone(), text, network, faucet, lent, _lock: lock })
}

/// Has the folder, which is made if missing, for this process alone, with a kernel lock that dies with the process: two
/// would pay twice, and write the description by turns.
fn lock(folder: &Path) -> Result<fs::File, PublicError> {
    let path = folder.join(LOCK);
    let failed = |cause| PublicError::Io { path: path.clone(), cause };
    fs::create_dir_all(folder).map_err(failed)?;
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(PublicError::InUse { path: folder.to_owned() }),
        Err(fs::TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// How many nodes a network has by a plan, which may have begun.
fn count(plan: &Plan, begun: Option<&NetworkFile>) -> usize {
    plan.nodes.unwrap_or_else(|| begun.map_or(FIRST_NODES, |network| network.nodes.len()))
}

/// The text of a description, if everybody can read it: what was asked for may be what none may say.
fn readable(network: &NetworkFile, path: &Path) -> Result<String, PublicError> {
    let text = network.to_toml();
    match NetworkFile::parse(&text) {
        Ok(_) => Ok(text),
        Err(cause) => Err(PublicError::Description { path: path.to_owned(), cause: Box::new(cause) }),
    }
}

/// The folder of a node, from 1.
pub(crate) fn data(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("node-{index}"))
}

/// A key that is there, or a new one.
fn key(folder: &Path) -> Result<KeyPair, PublicError> {
    let pair = match keystore::load(folder) {
        Ok(pair) => pair,
        Err(KeyError::File { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
            keystore::create(folder)?
        }
        Err(error) => return Err(error.into()),
    };
    if keystore::load_gas(folder)?.is_none() {
        keystore::create_gas(folder)?;
    }
    Ok(pair)
}

/// The key that the faucet lends with, or a new one.
fn faucet_key(folder: &Path) -> Result<PrivateKeySigner, PublicError> {
    let folder = folder.join(FAUCET);
    match keystore::load_gas(&folder)? {
        Some(key) => Ok(key),
        None => Ok(keystore::create_gas(&folder)?),
    }
}

/// The description of a network whose contracts are deployed already, and whether it is signed.
fn begun(path: &Path) -> Result<Option<(NetworkFile, bool)>, PublicError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let read = NetworkFile::parse(&text)
                .and_then(|file| Ok((file, NetworkFile::publisher(&text)?.is_some())));
            let wrong = |cause| PublicError::Description { path: path.to_owned(), cause: Box::new(cause) };
            read.map(Some).map_err(wrong)
        }
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(PublicError::Io { path: path.to_owned(), cause }),
    }
}

/// Where others reach one of the first nodes.
fn place(plan: &Plan, index: u16) -> [Place; 2] {
    let port = plan.port.saturating_add(index);
    let ip =
        plan.ips.iter().cycle().nth(usize::from(index)).copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    [Transport::Quic, Transport::Tcp].map(|transport| Place { transport, ip, port })
}

/// One of the first nodes, as the description has it.
fn first(plan: &Plan, index: u16, pair: &KeyPair, operator: Address) -> NetworkNode {
    let places = place(plan, index);
    let [Place { ip, .. }, _] = places;
    NetworkNode {
        id: pair.node_id(),
        operator: operator.into(),
        prefix: Prefix::of(ip),
        addresses: places.map(|place| place.to_string()).into(),
        door: None,
        bls: Some(BlsSecret::of_node(pair).public()),
    }
}

/// Puts down the stake of a node, unless that was done, and gives it something to pay for what it submits.
async fn stake(
    network: &NetworkFile,
    settlement: &Settlement,
    treasury: &PrivateKeySigner,
    pair: &KeyPair,
    data: &Path,
) -> Result<(), PublicError> {
    let bls = BlsSecret::of_node(pair).public();
    let mut staker = Staker::connect(settlement, treasury.clone(), Delivery::default()).await?;
    // What is on its way may be its stake.
    staker.sender().settled().await?;
    if Staker::registrations(settlement, &bls).await? > 0 {
        return Ok(());
    }
    let node = network.nodes.iter().find(|node| node.id == pair.node_id());
    let prefix = node.map(|node| node.prefix).ok_or(PublicError::NoChain)?;
    if let Some(gas) = keystore::load_gas(data)? {
        deployment::fuel(staker.sender(), gas.address(), U256::from(GAS)).await?;
    }
    let operator = treasury.address();
    let candidate = Candidate::sign(network.name.clone(), &settlement.domain(), pair, operator, prefix, 0);
    let (call, _) = staker.register(&network.name, &candidate, 0, None, &[]).await?;
    staker.send(&call, |_| {}).await?;
    Ok(())
}

/// Replaces a file as a whole.
fn write(path: &Path, text: &str) -> Result<(), PublicError> {
    let failed = |cause| PublicError::Io { path: path.to_owned(), cause };
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn plan(folder: PathBuf) -> Plan {
        Plan {
            name: "mynet".parse().unwrap(),
            folder,
            rpc: Vec::new(),
            ips: Vec::new(),
            port: 0,
            nodes: None,
            epoch: None,
            disk: None,
            release: None,
            lent: None,
            url: String::new(),
        }
    }

    #[tokio::test]
    async fn one_process_has_a_networks_folder() {
        let temp = tempfile::tempdir().unwrap();
        let plan = plan(temp.path().join("mynet"));
        let held = lock(&plan.folder).unwrap();
        let refused = prepare(&plan, None, |_| {}).await.unwrap_err();
        assert!(matches!(&refused, PublicError::InUse { path } if *path == plan.folder), "{refused}");
        assert_eq!(refused.code(), "in_use");
        assert_eq!(fs::read_dir(&plan.folder).unwrap().count(), 1, "nothing is made but the lock");
        drop(held);
        let refused = prepare(&plan, None, |_| {}).await.unwrap_err();
        assert!(matches!(refused, PublicError::NoTreasury), "{refused}");
        assert!(lock(&plan.folder).is_ok(), "whoever failed has it no more");
    }
}
