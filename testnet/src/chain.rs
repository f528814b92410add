//! The settlement chain of a testnet: anvil, the contracts on it, and the stakes of the nodes.
//!
//! Everybody's key there follows from a number, as money of a local chain is worth nothing: that of whoever has
//! all tokens from 0, those of operators from the numbers of their nodes.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use alloy::{
    primitives::{Address, U64, U256},
    sol_types::{SolCall, SolEvent},
};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use session_chain::{
    Amount, Candidate, NetworkFile, Operator, account,
    network::{NetworkNode, Settlement},
    settlement::{
        Call, Delivery, Endpoint, Sender, Staker,
        calls::{Contribution, ContributionFactory, Registration, Staking, Token},
        deploy::{Deployed, Terms, deploy},
    },
};
use session_node::keystore;
use tokio::time::Instant;

use crate::{
    error::TestnetError,
    layout::{Folder, POLL},
    process::Process,
};

/// Seconds of an epoch.
const EPOCH: u64 = 10;
/// What a node stakes.
const STAKE: Amount = Amount::sesh(25_000);
/// What rewards are paid from: some thousandths of a SESH for each node and epoch.
const POOL: Amount = Amount::sesh(40_000_000);
/// What operators keep of their nodes' rewards, in basis points.
const FEE: u16 = 1_000;
/// Ether for whoever pays for something, in wei: 1,000.
const ETHER: &str = "0x3635c9adc5dea00000";
/// Every so many nodes one is staked by two.
const SHARED_EVERY: usize = 3;
/// Seconds from one block to the next.
const BLOCK: u64 = 1;
/// How long anvil may take to start, or to save its state and stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// How transactions are sent to a chain on this machine.
const DELIVERY: Delivery = Delivery { poll: Duration::from_millis(5), patience: PATIENCE, confirmations: 1 };
/// The id of the chain that a testnet on one machine has: that of development, of which nothing is worth anything.
pub const CHAIN: u64 = 31_337;
/// The seed of whoever has all tokens. No node has this number.
const TREASURY: u8 = 0;
/// The seed of whoever stakes with others. No node has this number.
const CONTRIBUTOR: u8 = 255;

/// What is written down about anvil.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anvil {
    pub(crate) port: u16,
    pub(crate) process: Option<Process>,
}

/// How the chain of a testnet is.
#[derive(Clone, Debug, Serialize)]
pub struct ChainStatus {
    /// Where it is asked.
    pub rpc: String,
    /// Its process; none when it is down.
    pub pid: Option<u32>,
    /// Its newest block; none when it does not answer.
    pub height: Option<u64>,
    /// The contract of stakes.
    pub staking: Option<String>,
}

/// The operator of a node of a testnet with a chain.
pub(crate) fn operator(number: u8) -> Operator {
    account::signer(&[number; 16]).address().into()
}

impl Anvil {
    /// Starts one on a free port.
    pub(crate) async fn start(folder: &Folder) -> Result<Self, TestnetError> {
        let ip = Ipv4Addr::LOCALHOST;
        let port = TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr());
        let port = port.map_err(|cause| TestnetError::Port { ip: ip.into(), cause })?.port();
        let mut anvil = Self { port, process: None };
        anvil.resume(folder).await?;
        Ok(anvil)
    }

    /// Starts it over the state that it saved, unless it runs.
    pub(crate) async fn resume(&mut self, folder: &Folder) -> Result<(), TestnetError> {
        if self.running().is_some() {
            return Ok(());
        }
        let binary = find()?;
        let port = self.port.to_string();
        let mut arguments: Vec<_> =
            ["--quiet", "--port", &port, "--hardfork", "prague"].map(Into::into).into();
        // Final is what is two blocks deep. Old states would go to the disk, some 2 MB a block.
        arguments.extend(["--slots-in-an-epoch", "1", "--prune-history", "100", "--state"].map(Into::into));
        arguments.push(folder.chain_state().into_os_string());
        let spawned = Process::spawn(&binary, arguments, &folder.chain_log());
        self.process = Some(spawned.map_err(|cause| TestnetError::Spawn { binary, cause })?);
        let until = Instant::now() + PATIENCE;
        while self.ask("eth_chainId", json!([])).await.is_err() {
            if self.running().is_none() || Instant::now() >= until {
                return Err(TestnetError::ChainSilent { log: folder.chain_log() });
            }
            tokio::time::sleep(POLL).await;
        }
        // Its mode of mining is no part of its state.
        if folder.chain_state().exists() {
            self.mine_by_itself().await?;
        }
        Ok(())
    }

    /// Ends it, so that it saves its state; kills it when that takes too long.
    pub(crate) async fn stop(&mut self) -> Result<(), TestnetError> {
        self.end(&[(Signal::TERM, PATIENCE), (Signal::KILL, PATIENCE)]).await
    }

    async fn end(&mut self, signals: &[(Signal, Duration)]) -> Result<(), TestnetError> {
        for (signal, patience) in signals {
            let Some(process) = self.running() else { break };
            process.signal(*signal).map_err(|cause| TestnetError::ChainSignal { cause })?;
            let until = Instant::now() + *patience;
            while self.running().is_some() && Instant::now() < until {
                tokio::time::sleep(POLL).await;
            }
        }
        self.process = None;
        Ok(())
    }

    /// Kills it, as a crash would: what it did since it was last stopped is gone.
    pub(crate) async fn kill(&mut self) -> Result<(), TestnetError> {
        self.end(&[(Signal::KILL, PATIENCE)]).await
    }

    /// Replaces its newest blocks by others without transactions, as a reorganisation may.
    pub(crate) async fn reorganise(&self, depth: u64) -> Result<(), TestnetError> {
        self.ask("anvil_reorg", json!([depth, []])).await.map(drop)
    }

    /// The process, if it runs.
    pub(crate) fn running(&self) -> Option<&Process> {
        self.process.as_ref().filter(|process| process.is_running())
    }

    /// How it is.
    pub(crate) async fn status(&self, network: &NetworkFile) -> ChainStatus {
        let height = match self.running() {
            Some(_) => self.ask("eth_blockNumber", json!([])).await.ok(),
            None => None,
        };
        let height = height.and_then(|height| serde_json::from_value::<U64>(height).ok()).map(|it| it.to());
        ChainStatus {
            rpc: self.url(),
            pid: self.running().map(|process| process.pid),
            height,
            staking: network.settlement.as_ref().map(|it| format!("{:#x}", it.contracts.staking)),
        }
    }

    /// Deploys the contracts, in the first epoch of a chain whose clock stands until [`Self::begin`]: whatever
    /// this machine does beside it, all is done before the first border.
    pub(crate) async fn deploy(&self) -> Result<Settlement, TestnetError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.ask("evm_setNextBlockTimestamp", json!([now])).await?;
        self.ask("evm_mine", json!([])).await?;
        self.ask("anvil_setBlockTimestampInterval", json!([0])).await?;
        let mut treasury = self.sender(TREASURY).await?;
        let governor = treasury.account();
        let epoch = EPOCH.try_into().unwrap_or(core::num::NonZeroU64::MIN);
        let terms = Terms::local(now.saturating_sub(EPOCH - 1), epoch, STAKE, governor);
        let Deployed { mut settlement, .. } = deploy(&mut treasury, &terms).await?;
        settlement.rpc = vec![self.url()];
        self.give(&mut treasury, &settlement, settlement.contracts.pool, POOL).await?;
        Ok(settlement)
    }

    /// Puts down the stakes of all nodes, some by two each, and pays for what they will submit.
    pub(crate) async fn register(&self, folder: &Folder, network: &NetworkFile) -> Result<(), TestnetError> {
        for (index, node) in (1..).zip(&network.nodes) {
            self.enrol(folder, network, index, node).await?;
        }
        Ok(())
    }

    /// Puts down the stake of one node, every third by two, and pays for what it will submit.
    pub(crate) async fn enrol(
        &self,
        folder: &Folder,
        network: &NetworkFile,
        index: usize,
        node: &NetworkNode,
    ) -> Result<(), TestnetError> {
        let Some(settlement) = &network.settlement else { return Ok(()) };
        if let Some(gas) = keystore::load_gas(&folder.data(index))? {
            self.ask("anvil_setBalance", json!([gas.address(), ETHER])).await?;
        }
        let mut treasury = self.sender(TREASURY).await?;
        let mut operator = self.sender(number(index)?).await?;
        let pair = keystore::load(&folder.data(index))?;
        let account = operator.account();
        let candidate =
            Candidate::sign(network.name.clone(), &settlement.domain(), &pair, account, node.prefix, 0);
        let registration = Registration::new(&candidate, FEE).map_err(|_| TestnetError::Random)?;
        self.give(&mut treasury, settlement, account, STAKE).await?;
        if index.is_multiple_of(SHARED_EVERY) {
            let mut contributor = self.sender(CONTRIBUTOR).await?;
            self.give(&mut treasury, settlement, contributor.account(), STAKE).await?;
            return share(settlement, registration, &mut operator, &mut contributor).await;
        }
        approve(&mut operator, settlement, settlement.contracts.staking).await?;
        let register = Staking::registerCall { registration, beneficiary: account };
        send(&mut operator, settlement.contracts.staking, register.abi_encode()).await
    }

    /// Gives an account tokens, and ether to pay for what it sends.
    pub(crate) async fn fund(
        &self,
        settlement: &Settlement,
        account: Address,
        amount: Amount,
        ether: U256,
    ) -> Result<(), TestnetError> {
        let mut treasury = self.sender(TREASURY).await?;
        self.give(&mut treasury, settlement, account, amount).await?;
        let call = Call { to: Some(account), value: ether, repeatable: true, ..Call::default() };
        treasury.send(&call, |_| {}).await.map(drop).map_err(Into::into)
    }

    /// The operator of a node at the contracts, with ether to pay for what it sends.
    pub(crate) async fn staker(&self, settlement: &Settlement, index: usize) -> Result<Staker, TestnetError> {
        let number = number(index)?;
        self.sender(number).await?;
        Ok(Staker::connect(settlement, account::signer(&[number; 16]), DELIVERY).await?)
    }

    /// Lets the clock go on, past the first border, and blocks come by themselves.
    pub(crate) async fn begin(&self) -> Result<(), TestnetError> {
        // What the border block itself registers would wait for another epoch.
        self.ask("evm_mine", json!([])).await?;
        self.ask("anvil_removeBlockTimestampInterval", json!([])).await?;
        self.mine_by_itself().await
    }

    async fn mine_by_itself(&self) -> Result<(), TestnetError> {
        self.ask("evm_setIntervalMining", json!([BLOCK])).await.map(drop)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn sender(&self, number: u8) -> Result<Sender, TestnetError> {
        let signer = account::signer(&[number; 16]);
        self.ask("anvil_setBalance", json!([signer.address(), ETHER])).await?;
        Ok(Sender::new(&self.endpoint()?, signer, CHAIN, DELIVERY))
    }

    fn endpoint(&self) -> Result<Endpoint, TestnetError> {
        Endpoint::new(&self.url()).map_err(|cause| TestnetError::Chain { what: cause.to_string() })
    }

    async fn give(
        &self,
        treasury: &mut Sender,
        settlement: &Settlement,
        to: Address,
        amount: Amount,
    ) -> Result<(), TestnetError> {
        let give = Token::transferCall { to, value: amount.units() };
        send(treasury, settlement.contracts.token, give.abi_encode()).await.map(drop)
    }

    async fn ask(&self, method: &'static str, params: Value) -> Result<Value, TestnetError> {
        let answer = self.endpoint()?.rpc().request(method, params).await;
        answer.map_err(|error| TestnetError::Chain { what: format!("{method}: {error}") })
    }
}

/// The number that keys grow from, of a node.
fn number(index: usize) -> Result<u8, TestnetError> {
    u8::try_from(index).map_err(|_| TestnetError::Nodes(index))
}

/// The node of an operator with a quarter of its stake, and of somebody with the rest.
async fn share(
    settlement: &Settlement,
    registration: Registration,
    operator: &mut Sender,
    contributor: &mut Sender,
) -> Result<(), TestnetError> {
    let quarter = STAKE.units() / U256::from(4);
    let factory = settlement.contracts.factory;
    approve(operator, settlement, factory).await?;
    let beneficiary = operator.account();
    let create =
        ContributionFactory::createCall { registration, amount: quarter, beneficiary, reserved: Vec::new() };
    let call = Call { to: Some(factory), data: create.abi_encode().into(), ..Call::default() };
    let receipt = operator.send(&call, |_| {}).await?;
    let created = receipt.logs().iter().find_map(|log| {
        ContributionFactory::Created::decode_log(&log.inner).ok().map(|created| created.data.contribution)
    });
    let nothing = || TestnetError::Chain { what: "a contribution was made and not told of".to_owned() };
    let contribution = created.ok_or_else(nothing)?;
    approve(contributor, settlement, contribution).await?;
    let amount = STAKE.units() - quarter;
    let contribute = Contribution::contributeCall { amount, beneficiary: contributor.account() };
    send(contributor, contribution, contribute.abi_encode()).await?;
    send(operator, contribution, Contribution::finaliseCall {}.abi_encode()).await
}

async fn approve(owner: &mut Sender, settlement: &Settlement, spender: Address) -> Result<(), TestnetError> {
    let approve = Token::approveCall { spender, value: STAKE.units() };
    send(owner, settlement.contracts.token, approve.abi_encode()).await
}

async fn send(sender: &mut Sender, to: Address, data: Vec<u8>) -> Result<(), TestnetError> {
    // Money that is worth nothing: several commands give it away at once, and take turns.
    let call = Call { to: Some(to), data: data.into(), repeatable: true, ..Call::default() };
    sender.send(&call, |_| {}).await.map(drop).map_err(Into::into)
}

/// The program: what `SESSION_ANVIL` names, else what `./scripts/testnet` installs beside the contracts.
fn find() -> Result<PathBuf, TestnetError> {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../chain/contracts/node_modules/@foundry-rs/anvil-linux-{arch}/bin/anvil"));
    let path = std::env::var_os("SESSION_ANVIL").map_or(installed, PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(TestnetError::NoAnvil { path }) }
}
