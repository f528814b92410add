//! A local chain with contracts that record what they are told, and a proxy that spoils what passes.

#![allow(dead_code, unreachable_pub, missing_debug_implementations, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "what fails here fails a test")]

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256, hex},
    rpc::client::RpcClient,
    sol_types::{SolCall, SolEvent},
};
use serde_json::{Value, json};
use session_chain::{
    Parameters, account,
    network::Contracts,
    settlement::{
        Delivery, Endpoint, Followed, LiveLedger, Options, Pace, Sender, contracts::events, state::Place,
    },
};
use session_protocols::Span;

pub mod disk;
pub mod proxy;
pub mod world;

alloy::sol! {
    function record(bytes32 topic, bytes32 first, bytes32 second, bytes data) external;
    function many(uint256 count, bytes32 topic, bytes data) external;
}

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An anvil, until this is dropped or the test's process ends.
pub struct Anvil {
    child: Child,
    pub port: u16,
}

fn anvil() -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let built_in = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("contracts/node_modules/@foundry-rs/anvil-linux-{arch}/bin/anvil"));
    let path = std::env::var_os("SESSION_ANVIL").map_or(built_in, PathBuf::from);
    assert!(
        path.exists(),
        "no anvil at {}: run ./scripts/test, which installs it, or set SESSION_ANVIL to one",
        path.display()
    );
    path
}

impl Anvil {
    pub fn start(options: &[&str]) -> Self {
        // It goes when this process goes, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(anvil());
        // Old states would go to this user's disk, some 2 MB a block.
        command.args(["--port", "0", "--hardfork", "prague", "--prune-history", "100"]).args(options);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("setpriv runs");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map(|line| line.expect("anvil starts"))
            .find_map(|line| line.strip_prefix("Listening on 127.0.0.1:").and_then(|port| port.parse().ok()))
            .expect("anvil says where it listens");
        // What it prints has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it as one ends a program that is to save its state.
    pub fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap();
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A local chain, and the contracts on it.
pub struct Chain {
    pub rpc: RpcClient,
    pub followed: Followed,
    pub account: Address,
    /// The time of its first block, in seconds since 1970.
    pub began: u64,
}

impl Chain {
    /// A chain with no contracts so far.
    pub async fn connect(anvil: &Anvil) -> Self {
        let rpc = Endpoint::new(&anvil.url()).unwrap().rpc();
        let accounts: Vec<Address> = rpc.request("eth_accounts", json!([])).await.unwrap();
        let [token, pool, staking, factory, checkpoints, names] = [Address::ZERO; 6];
        let none = Contracts { token, pool, staking, factory, checkpoints, names };
        let followed = Followed { chain: 31_337, start: 1, contracts: none };
        let mut chain = Self { rpc, followed, account: accounts[0], began: 0 };
        let first: Value = chain.ask("eth_getBlockByNumber", json!(["0x0", false])).await;
        chain.began = serde_json::from_value::<U64>(first["timestamp"].clone()).unwrap().to();
        chain
    }

    /// A chain with four recorders in the place of the contracts.
    pub async fn deploy(anvil: &Anvil) -> Self {
        let mut chain = Self::connect(anvil).await;
        let code = include_str!("../../../contracts/vectors/recorder.hex").trim();
        let mut made = Vec::new();
        for _ in 0..4 {
            let receipt = chain.transact(None, hex::decode(code).unwrap().into()).await;
            made.push(serde_json::from_value::<Address>(receipt["contractAddress"].clone()).unwrap());
        }
        let [staking, checkpoints, pool, names] = made[..] else { panic!("four") };
        chain.followed.contracts =
            Contracts { staking, checkpoints, pool, names, ..chain.followed.contracts };
        chain
    }

    pub async fn ask(&self, method: &'static str, params: Value) -> Value {
        self.rpc.request(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub async fn transact(&self, to: Option<Address>, data: Bytes) -> Value {
        let call = json!({ "from": self.account, "to": to, "data": data, "gas": U64::from(25_000_000_u64) });
        let hash = self.ask("eth_sendTransaction", json!([call])).await;
        loop {
            // It is mined beside what is asked.
            let receipt = self.ask("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                assert_eq!(receipt["status"], "0x1", "{receipt}");
                return receipt;
            }
        }
    }

    /// What sends from the account of a seed, which is given ether.
    pub async fn sender(&self, anvil: &Anvil, seed: u8) -> Sender {
        let signer = account::signer(&[seed; 16]);
        let wei = U256::from(10).pow(U256::from(21));
        self.ask("anvil_setBalance", json!([signer.address(), wei])).await;
        let delivery = Delivery { poll: Duration::from_millis(5), patience: PATIENCE, confirmations: 1 };
        Sender::new(&Endpoint::new(&anvil.url()).unwrap(), signer, self.followed.chain, delivery)
    }

    /// Has the pool record a release, in a block of its own.
    pub async fn release(&self, amount: u64) {
        self.releases(1, amount).await;
    }

    /// Has the pool record some releases in one block.
    pub async fn releases(&self, count: u64, amount: u64) {
        let event = events::Released { number: 0, amount: U256::from(amount) };
        let data = event.encode_log_data().data;
        let call = manyCall { count: U256::from(count), topic: events::Released::SIGNATURE_HASH, data };
        self.transact(Some(self.followed.contracts.pool), call.abi_encode().into()).await;
    }

    /// Has the staking contract record an exit of a node that nobody knows.
    pub async fn exit(&self, id: u64) {
        let event = events::ExitRequested { number: 0, id, by: self.account, unlocksAt: 1 };
        let log = event.encode_log_data();
        let [topic, _, first, second] = log.topics()[..] else { panic!("four topics") };
        let call = recordCall { topic, first, second, data: log.data };
        self.transact(Some(self.followed.contracts.staking), call.abi_encode().into()).await;
    }

    pub async fn mine(&self, blocks: u64, apart: u64) {
        // A busy machine takes long for many at once.
        for from in (0..blocks).step_by(100) {
            let some = (blocks - from).min(100);
            self.ask("anvil_mine", json!([U64::from(some), U64::from(apart)])).await;
        }
    }

    pub async fn head(&self) -> u64 {
        self.number("latest").await
    }

    pub async fn finalized(&self) -> u64 {
        self.number("finalized").await
    }

    async fn number(&self, tag: &str) -> u64 {
        let block = self.ask("eth_getBlockByNumber", json!([tag, false])).await;
        serde_json::from_value::<U64>(block["number"].clone()).unwrap().to()
    }

    pub async fn hash(&self, height: u64) -> B256 {
        let block = self.ask("eth_getBlockByNumber", json!([U64::from(height), false])).await;
        serde_json::from_value(block["hash"].clone()).unwrap()
    }

    pub fn parameters(&self, epoch: u64) -> Parameters {
        let epoch_seconds = epoch.try_into().unwrap();
        Parameters { genesis: self.began, epoch_seconds, ..Parameters::default() }
    }

    /// Follows the chain over some endpoints, impatiently.
    pub fn follow(&self, path: &std::path::Path, epoch: u64, urls: &[String]) -> LiveLedger {
        self.follow_at(Place::file(path), epoch, urls)
    }

    /// The same with the file at a place.
    pub fn follow_at(&self, place: Place, epoch: u64, urls: &[String]) -> LiveLedger {
        let endpoints = urls.iter().map(|url| Endpoint::new(url).unwrap()).collect();
        let (followed, parameters) = (self.followed, self.parameters(epoch));
        let options = Options { followed, parameters, endpoints, pace: pace(), seed: [7; 32], source: None };
        LiveLedger::start_at(place, options).unwrap()
    }
}

/// Impatient, so that tests are short.
pub fn pace() -> Pace {
    Pace {
        poll: Span::millis(50),
        answer: Span::millis(2_000),
        patience: Span::millis(2_300),
        leave_out: Span::millis(300),
        stale: Span::secs(3_600),
    }
}

/// Waits for a status.
pub async fn until(
    settlement: &LiveLedger,
    what: &str,
    is: impl FnMut(&session_chain::settlement::Status) -> bool,
) -> session_chain::settlement::Status {
    let mut status = settlement.watch_status();
    let waited = tokio::time::timeout(PATIENCE, status.wait_for(is)).await;
    match waited {
        Ok(status) => status.expect("it goes on").clone(),
        Err(_) => panic!("never: {what}; the status is {:?}", settlement.status()),
    }
}

/// Waits until all that is final is in the ledger.
pub async fn through(settlement: &LiveLedger, chain: &Chain) {
    let end = chain.finalized().await;
    until(settlement, "all that is final is known", |status| status.height >= end).await;
}
