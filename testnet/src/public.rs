//! A public test network: its contracts, its first nodes, its description, and where newcomers find all that.
//!
//! Each step looks at what is there already and goes on from it, so that whoever was interrupted repeats the command.

mod error;
mod faucet;
mod serve;

use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use session_chain::{
    Amount, Candidate, NetworkFile,
    bls::BlsSecret,
    network::{Limits, NetworkNode, Settlement, sign},
    settlement::{
        Call, Delivery, Endpoint, Sender, Staker,
        calls::Token,
        deploy::{Deployed, Terms, deploy, deploy_vault},
    },
};
use session_node::keystore::{self, KeyError};
use session_protocols::{
    KeyPair, NetworkName, Prefix,
    directory::{Endpoint as Place, Transport},
};

pub use error::PublicError;
pub use faucet::Ask;
pub use serve::serve;

/// Nodes that a network begins with: fewer agree on no checkpoint.
pub const LEAST_NODES: usize = 4;
/// What a node stakes.
const STAKE: Amount = Amount::sesh(25_000);
/// What rewards are paid from.
const POOL: Amount = Amount::sesh(40_000_000);
/// What the faucet lends: the stakes of two thousand nodes.
const STOCK: Amount = Amount::sesh(50_000_000);
/// What a node's own account gets to submit checkpoints from, in wei: a hundredth of an ether.
const GAS: u64 = 10_000_000_000_000_000;
/// The description, in the folder.
const DESCRIPTION: &str = "network.toml";
/// The folder of the key that signs it.
const PUBLISHER: &str = "publisher";

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
    /// How many nodes begin.
    pub nodes: usize,
    /// Seconds of an epoch.
    pub epoch: NonZeroU64,
    /// What a node's machine should have.
    pub limits: Limits,
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
    /// What the faucet lends with.
    pub treasury: PrivateKeySigner,
    /// The same, read.
    pub network: NetworkFile,
}

/// Makes what is missing of the network: keys, contracts, stakes, and the signed description.
///
/// # Errors
/// Tells what could not be done; whoever repeats it goes on there.
pub async fn prepare(
    plan: &Plan,
    treasury: &PrivateKeySigner,
    mut progress: impl FnMut(Stage) + Send,
) -> Result<Public, PublicError> {
    if plan.nodes < LEAST_NODES {
        return Err(PublicError::TooFew { nodes: plan.nodes });
    }
    progress(Stage::Keys);
    let publisher = key(&plan.folder.join(PUBLISHER))?;
    let pairs =
        (1..=plan.nodes).map(|index| key(&data(&plan.folder, index))).collect::<Result<Vec<_>, _>>()?;
    let path = plan.folder.join(DESCRIPTION);
    let begun = begun(&path)?;
    if let Some(file) = begun.as_ref().filter(|file| file.name != plan.name) {
        return Err(PublicError::Another { path, name: file.name.clone() });
    }
    progress(Stage::Contracts);
    let network = match begun {
        Some(network) => network,
        None => {
            let settlement = contracts(plan, treasury).await?;
            let nodes = (0..).zip(&pairs).map(|(index, pair)| first(plan, index, pair, treasury.address()));
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|_| KeyError::Random)?;
            let network = NetworkFile {
                name: plan.name.clone(),
                local: false,
                seed,
                hf: session_protocols::answer::RULES,
                faucet: Some(format!("{}/faucet", plan.url)),
                limits: plan.limits,
                nodes: nodes.collect(),
                settlement: Some(settlement),
            };
            write(&path, &network.to_toml())?;
            network
        }
    };
    let settlement = network.settlement.as_ref().ok_or(PublicError::NoChain)?;
    for (index, pair) in pairs.iter().enumerate() {
        progress(Stage::Stakes(index));
        stake(&network, settlement, treasury, pair, &data(&plan.folder, index.saturating_add(1))).await?;
    }
    progress(Stage::Description);
    let text = sign(&network.to_toml(), &publisher);
    write(&path, &text)?;
    Ok(Public { folder: plan.folder.clone(), text, treasury: treasury.clone(), network })
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

/// The description of a network whose contracts are deployed already.
fn begun(path: &Path) -> Result<Option<NetworkFile>, PublicError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            Ok(Some(NetworkFile::parse(&text).map_err(|cause| PublicError::Description {
                path: path.to_owned(),
                cause: Box::new(cause),
            })?))
        }
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(PublicError::Io { path: path.to_owned(), cause }),
    }
}

/// Deploys the contracts, and fills the pool.
async fn contracts(plan: &Plan, treasury: &PrivateKeySigner) -> Result<Settlement, PublicError> {
    let url = plan.rpc.first().ok_or(PublicError::NoChain)?;
    let endpoint = Endpoint::new(url)?;
    let chain = endpoint.chain().await.map_err(|trouble| PublicError::Chain { url: url.clone(), trouble })?;
    let mut sender = Sender::new(&endpoint, treasury.clone(), chain, Delivery::default());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let terms = Terms::test(now.saturating_sub(1), plan.epoch, STAKE, treasury.address());
    let Deployed { mut settlement, .. } = deploy(&mut sender, &terms).await?;
    settlement.rpc.clone_from(&plan.rpc);
    give(&mut sender, &settlement, settlement.contracts.pool, POOL).await?;
    let vault = deploy_vault(&mut sender, &settlement, treasury.address()).await?;
    give(&mut sender, &settlement, vault, STOCK).await?;
    settlement.vault = Some(vault);
    Ok(settlement)
}

/// One of the first nodes, as the description has it.
fn first(plan: &Plan, index: u16, pair: &KeyPair, operator: Address) -> NetworkNode {
    let port = plan.port.saturating_add(index);
    let ip =
        plan.ips.iter().cycle().nth(usize::from(index)).copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let place = |transport| Place { transport, ip, port }.to_string();
    NetworkNode {
        id: pair.node_id(),
        operator: operator.into(),
        prefix: Prefix::of(ip),
        addresses: [Transport::Quic, Transport::Tcp].map(place).into(),
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
    if Staker::registrations(settlement, &bls).await? > 0 {
        return Ok(());
    }
    let node = network.nodes.iter().find(|node| node.id == pair.node_id());
    let prefix = node.map(|node| node.prefix).ok_or(PublicError::NoChain)?;
    let mut staker = Staker::connect(settlement, treasury.clone(), Delivery::default()).await?;
    if let Some(gas) = keystore::load_gas(data)? {
        let give = Call { to: Some(gas.address()), value: U256::from(GAS), ..Call::default() };
        staker.send(&give, |_| {}).await?;
    }
    let operator = treasury.address();
    let candidate = Candidate::sign(network.name.clone(), &settlement.domain(), pair, operator, prefix, 0);
    let (call, _) = staker.register(&network.name, &candidate, 0, None, &[]).await?;
    staker.send(&call, |_| {}).await?;
    Ok(())
}

async fn give(
    sender: &mut Sender,
    settlement: &Settlement,
    to: Address,
    amount: Amount,
) -> Result<(), PublicError> {
    let give = Token::transferCall { to, value: amount.units() };
    let call =
        Call { to: Some(settlement.contracts.token), data: give.abi_encode().into(), ..Call::default() };
    sender.send(&call, |_| {}).await?;
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
