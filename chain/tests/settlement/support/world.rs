//! A network's contracts on an anvil of their own, and people with money.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use session_chain::{
    Amount, Candidate,
    bls::{BlsSecret, BlsSignature},
    ledger::{BlsKey, Checkpoint, StakeId},
    network::Settlement,
    settlement::{
        Call, LiveLedger, Options, Sender,
        calls::{Checkpoints, Registration, Signers, Token},
        deploy::{Deployed, Terms, deploy},
    },
};
use session_protocols::{KeyPair, NetworkName};

use super::{Anvil, Chain, pace};

/// Seconds.
pub const EPOCH: u64 = 60;
pub const STAKE: Amount = Amount::sesh(25_000);
/// What the pool is given: nearly 1 SESH a minute come of it.
pub const POOL: Amount = Amount::sesh(4_000_000);

/// A network's contracts on an anvil of their own.
pub struct World {
    pub chain: Chain,
    pub anvil: Anvil,
    pub settlement: Settlement,
    pub deployer: Sender,
}

impl World {
    pub async fn new() -> Self {
        let anvil = Anvil::start(&["--slots-in-an-epoch", "1"]);
        let chain = Chain::connect(&anvil).await;
        let mut deployer = chain.sender(&anvil, 0).await;
        let epoch = EPOCH.try_into().unwrap();
        let terms = Terms::local(chain.began, epoch, STAKE, deployer.account());
        let Deployed { mut settlement, .. } = deploy(&mut deployer, &terms).await.unwrap();
        settlement.rpc = vec![anvil.url()];
        let mut world = Self { chain, anvil, settlement, deployer };
        let pool = world.settlement.contracts.pool;
        world.give(pool, POOL).await;
        world
    }

    pub fn follow(&self, path: &std::path::Path) -> LiveLedger {
        let options = Options { pace: pace(), ..Options::new(&self.settlement, [1; 32]).unwrap() };
        LiveLedger::start(path, options).unwrap()
    }

    pub async fn give(&mut self, to: Address, amount: Amount) {
        let data = Token::transferCall { to, value: amount.units() }.abi_encode();
        let token = self.settlement.contracts.token;
        send(&mut self.deployer, token, data).await;
    }

    /// Somebody with ether and tokens, all of which `spender` may take.
    pub async fn person(&mut self, seed: u8, tokens: Amount, spender: Address) -> Sender {
        let mut sender = self.chain.sender(&self.anvil, seed).await;
        self.give(sender.account(), tokens).await;
        let approve = Token::approveCall { spender, value: U256::MAX }.abi_encode();
        send(&mut sender, self.settlement.contracts.token, approve).await;
        sender
    }

    pub async fn balance(&self, account: Address) -> U256 {
        let call = Token::balanceOfCall { account };
        self.view::<Token::balanceOfCall>(self.settlement.contracts.token, call).await
    }

    pub async fn view<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let call = serde_json::json!([{ "to": to, "data": alloy::primitives::Bytes::from(call.abi_encode()) }, "latest"]);
        let returned = self.chain.ask("eth_call", call).await;
        let returned: alloy::primitives::Bytes = serde_json::from_value(returned).unwrap();
        C::abi_decode_returns(&returned).unwrap()
    }

    /// Goes on to the next epoch but some seconds, and makes what was before final.
    pub async fn pass(&self, epochs: u64) {
        self.chain.mine(4, epochs * EPOCH / 4 + 1).await;
        self.chain.mine(4, 1).await;
    }
}

pub async fn send(sender: &mut Sender, to: Address, data: Vec<u8>) {
    let call = Call { to: Some(to), data: data.into(), ..Call::default() };
    sender.send(&call, |_| {}).await.unwrap_or_else(|error| panic!("{error}: {}", error.remedy()));
}

pub fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

pub fn registration(settlement: &Settlement, seed: u8, operator: Address) -> Registration {
    let network: NetworkName = "local".parse().unwrap();
    let prefix = format!("127.0.{seed}.0/24").parse().unwrap();
    let candidate = Candidate::sign(network, &settlement.domain(), &pair(seed), operator, prefix, 0);
    Registration::new(&candidate, 1_000).unwrap()
}

/// What a checkpoint is submitted with, signed by all but the absent.
pub fn signed(
    ledger: &session_chain::Ledger,
    checkpoint: &Checkpoint,
    nodes: u8,
    absent: &[StakeId],
) -> Vec<u8> {
    let signers: BTreeMap<StakeId, BlsKey> = ledger.stakes().map(|(id, stake)| (*id, stake.bls)).collect();
    let present = ledger.stakes().filter(|(id, _)| !absent.contains(id));
    let secrets: Vec<BlsSecret> = (1..=nodes).map(|seed| BlsSecret::of_node(&pair(seed))).collect();
    let shares: Vec<BlsSignature> = present
        .map(|(_, stake)| {
            let secret = secrets.iter().find(|secret| secret.public() == stake.bls).unwrap();
            secret.sign(checkpoint.digest.as_slice())
        })
        .collect();
    let signature = BlsSignature::aggregate(&shares).unwrap();
    let signers = Signers::new(&signers, absent, &signature).unwrap();
    Checkpoints::submitCall { checkpoint: checkpoint.into(), signers }.abi_encode()
}
