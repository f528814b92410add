//! A settlement chain of a test's own: an anvil with the contracts on it.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use alloy::{primitives::U256, sol_types::SolCall};
use serde_json::{Value, json};
use session_chain::{
    Amount, Candidate, NetworkFile, Operator, account,
    network::Settlement,
    settlement::{
        Call, Delivery, Endpoint, Sender,
        calls::{Registration, Staking, Token},
        deploy::{Deployed, Terms, deploy},
    },
};
use session_protocols::KeyPair;

use super::PATIENCE;

/// Seconds of an epoch.
const EPOCH: u64 = 5;
const STAKE: Amount = Amount::sesh(100);
/// The account that has all tokens.
const DEPLOYER: u8 = 0;

/// An anvil, until this is dropped or the test's process ends.
pub struct Chain {
    child: Child,
    port: u16,
    state: PathBuf,
    pub settlement: Settlement,
}

impl Chain {
    /// A chain that makes a block a second, with the contracts on it; its state is kept in `folder`.
    pub async fn start(folder: &std::path::Path) -> Self {
        let state = folder.join("anvil.json");
        let (child, port) = spawn(&state, 0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut deployer = sender(port, DEPLOYER).await;
        let epoch = EPOCH.try_into().unwrap();
        let terms = Terms::local(now - 1, epoch, STAKE, deployer.account());
        let Deployed { mut settlement, .. } = deploy(&mut deployer, &terms).await.unwrap();
        settlement.rpc = vec![url(port)];
        let chain = Self { child, port, state, settlement };
        chain.ask("evm_setIntervalMining", json!([1])).await;
        chain
    }

    /// Puts down the stake of a node of a network, by the operator that its file names for it.
    pub async fn register(&self, network: &NetworkFile, pair: &KeyPair, seed: u8) {
        let node = network.nodes.iter().find(|node| node.id == pair.node_id()).unwrap();
        let mut operator = sender(self.port, seed).await;
        assert_eq!(Operator::from(operator.account()), node.operator);
        let mut deployer = sender(self.port, DEPLOYER).await;
        let (token, staking) = (self.settlement.contracts.token, self.settlement.contracts.staking);
        let account = operator.account();
        let give = Token::transferCall { to: account, value: STAKE.units() };
        let approve = Token::approveCall { spender: staking, value: U256::MAX };
        let domain = self.settlement.domain();
        let candidate = Candidate::sign(network.name.clone(), &domain, pair, account, node.prefix, 0);
        let registration = Registration::new(&candidate, 0).unwrap();
        let register = Staking::registerCall { registration, beneficiary: account };
        send(&mut deployer, token, give.abi_encode()).await;
        send(&mut operator, token, approve.abi_encode()).await;
        send(&mut operator, staking, register.abi_encode()).await;
    }

    /// Gives somebody ether.
    pub async fn fund(&self, account: &str) {
        self.ask("anvil_setBalance", json!([account, "0x3635c9adc5dea00000"])).await;
    }

    async fn ask(&self, method: &'static str, params: Value) -> Value {
        ask(self.port, method, params).await
    }

    /// Ends it as one ends a program that is to save its state.
    pub fn stop(&mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap();
    }

    /// Starts it anew over its state, at the port it had.
    pub async fn restart(&mut self) {
        (self.child, self.port) = spawn(&self.state, self.port);
        self.ask("evm_setIntervalMining", json!([1])).await;
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The operator whose key grows from a seed.
pub fn operator(seed: u8) -> Operator {
    account::signer(&[seed; 16]).address().into()
}

fn spawn(state: &std::path::Path, port: u16) -> (Child, u16) {
    // It goes when this process goes, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(anvil()).args(["--port", &port.to_string()]);
    command.args(["--hardfork", "prague", "--slots-in-an-epoch", "1", "--prune-history", "100"]);
    command.arg("--state").arg(state).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("setpriv runs");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines
        .by_ref()
        .map(|line| line.expect("anvil starts"))
        .find_map(|line| line.strip_prefix("Listening on 127.0.0.1:").and_then(|port| port.parse().ok()))
        .expect("anvil says where it listens");
    // What it prints has to go somewhere.
    std::thread::spawn(move || lines.for_each(drop));
    (child, port)
}

fn anvil() -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let built_in = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../chain/contracts/node_modules/@foundry-rs/anvil-linux-{arch}/bin/anvil"));
    let path = std::env::var_os("SESSION_ANVIL").map_or(built_in, PathBuf::from);
    let shown = path.display();
    assert!(
        path.exists(),
        "no anvil at {shown}: run ./scripts/test, which installs it, or set SESSION_ANVIL"
    );
    path
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

async fn ask(port: u16, method: &'static str, params: Value) -> Value {
    let rpc = Endpoint::new(&url(port)).unwrap().rpc();
    rpc.request(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

async fn sender(port: u16, seed: u8) -> Sender {
    let signer = account::signer(&[seed; 16]);
    ask(port, "anvil_setBalance", json!([signer.address(), "0x3635c9adc5dea00000"])).await;
    let delivery = Delivery { poll: Duration::from_millis(20), patience: PATIENCE, confirmations: 1 };
    Sender::new(&Endpoint::new(&url(port)).unwrap(), signer, 31_337, delivery)
}

async fn send(sender: &mut Sender, to: alloy::primitives::Address, data: Vec<u8>) {
    let call = Call { to: Some(to), data: data.into(), ..Call::default() };
    sender.send(&call, |_| {}).await.unwrap_or_else(|error| panic!("{error}: {}", error.remedy()));
}
