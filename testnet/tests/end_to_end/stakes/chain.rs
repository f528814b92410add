//! The settlement chain, asked beside the program.

use alloy::{
    primitives::{Address, Bytes, U64, U256},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use serde_json::{Value, json};
use session_chain::{
    Amount, Candidate, account,
    network::Settlement,
    settlement::{
        Call, Delivery, Endpoint, Sender,
        calls::{Registration, Staking, Token},
    },
};
use session_protocols::{KeyPair, NodeId};

use super::rule::Rule;
use crate::support::{Place, until};

/// All there will ever be.
const SUPPLY: Amount = Amount::sesh(240_000_000);
/// What a node takes.
pub(crate) const STAKE: Amount = Amount::sesh(25_000);

/// The chain, asked beside the program.
pub(crate) struct Chain {
    rpc: alloy::rpc::client::RpcClient,
    settlement: Settlement,
}

impl Chain {
    pub(crate) fn of(place: &Place) -> Self {
        let settlement = place.testnet.folder().network().unwrap().settlement.unwrap();
        let rpc = Endpoint::new(&settlement.rpc[0]).unwrap().rpc();
        Self { rpc, settlement }
    }

    /// What the rule of rewards makes of all that the contracts have told so far.
    pub(crate) async fn rule(&self) -> Rule {
        Rule::read(&self.rpc, &self.settlement).await
    }

    /// Puts down an account's stake for a node whose key did not sign that: the contract cannot tell.
    pub(crate) async fn register_unsigned(&self, signer: PrivateKeySigner) -> NodeId {
        let (domain, staking) = (self.settlement.domain(), self.settlement.contracts.staking);
        let (pair, account) = (KeyPair::from_seed(&[99; 32]), signer.address());
        let prefix = "127.0.252.0/24".parse().unwrap();
        let candidate = Candidate::sign("local".parse().unwrap(), &domain, &pair, account, prefix, 0);
        let mut registration = Registration::new(&candidate, 0).unwrap();
        registration.signatureR.0[0] ^= 1;
        let endpoint = Endpoint::new(&self.settlement.rpc[0]).unwrap();
        let mut sender = Sender::new(&endpoint, signer, self.settlement.chain, Delivery::default());
        let approve = Token::approveCall { spender: staking, value: STAKE.units() };
        let register = Staking::registerCall { registration, beneficiary: account };
        let calls =
            [(self.settlement.contracts.token, approve.abi_encode()), (staking, register.abi_encode())];
        for (to, data) in calls {
            let call = Call { to: Some(to), data: data.into(), ..Call::default() };
            sender.send(&call, |_| {}).await.unwrap();
        }
        pair.node_id()
    }

    /// Where in the chain a transaction is, as block and number in it.
    pub(crate) async fn place(&self, transaction: &Value) -> (u64, u64) {
        let receipt: Option<TransactionReceipt> =
            self.rpc.request("eth_getTransactionReceipt", json!([transaction])).await.unwrap();
        let receipt = receipt.unwrap();
        (receipt.block_number.unwrap(), receipt.transaction_index.unwrap())
    }

    pub(crate) async fn balance(&self, account: &str) -> Amount {
        self.balance_of(account.parse().unwrap(), &json!("latest")).await
    }

    async fn balance_of(&self, account: Address, block: &Value) -> Amount {
        let data = Bytes::from(Token::balanceOfCall { account }.abi_encode());
        let call = json!([{ "to": self.settlement.contracts.token, "data": data }, block]);
        let word: U256 = self.rpc.request("eth_call", call).await.unwrap();
        Amount::try_from(word).unwrap()
    }

    /// Stops the chain at a moment at which a checkpoint waits for its block.
    pub(crate) async fn hold_a_checkpoint_back(&self) {
        until("a checkpoint that waits for its block", async || {
            if !self.checkpoint_waits().await {
                return None;
            }
            self.mine_every(0).await;
            // A block may have taken it in between.
            if self.checkpoint_waits().await {
                return Some(());
            }
            self.mine_every(1).await;
            None
        })
        .await;
    }

    /// Lets the chain go on.
    pub(crate) async fn go_on(&self) {
        self.mine_every(1).await;
    }

    async fn mine_every(&self, seconds: u64) {
        let _: Value = self.rpc.request("evm_setIntervalMining", json!([seconds])).await.unwrap();
    }

    async fn checkpoint_waits(&self) -> bool {
        let pending: Value =
            self.rpc.request("eth_getBlockByNumber", json!(["pending", true])).await.unwrap();
        let checkpoints = json!(self.settlement.contracts.checkpoints);
        pending["transactions"].as_array().unwrap().iter().any(|one| one["to"] == checkpoints)
    }

    /// How many transactions an account has sent.
    pub(crate) async fn sent(&self, account: &str) -> u64 {
        let count: U64 =
            self.rpc.request("eth_getTransactionCount", json!([account, "latest"])).await.unwrap();
        count.to()
    }

    /// The stakes are those of so many nodes, and all tokens are held by the contracts and by people.
    pub(crate) async fn every_token_is_somewhere(&self, nodes: u64, people: &[&str]) {
        let contracts = &self.settlement.contracts;
        // At one block: what nodes submit moves tokens meanwhile.
        let block: Value = self.rpc.request("eth_blockNumber", json!([])).await.unwrap();
        assert_eq!(self.balance_of(contracts.staking, &block).await, Amount(STAKE.0 * u128::from(nodes)));
        let mut holders = vec![contracts.pool, contracts.staking, contracts.checkpoints, contracts.factory];
        // Whoever has all others, those who run nodes of the testnet, and who contributes to them.
        holders.extend((0..=12).chain([255]).map(|seed| account::signer(&[seed; 16]).address()));
        holders.extend(people.iter().map(|person| person.parse::<Address>().unwrap()));
        holders.sort_unstable();
        holders.dedup();
        let mut sum = Amount::ZERO;
        for holder in holders {
            sum = sum.checked_add(self.balance_of(holder, &block).await).unwrap();
        }
        assert_eq!(sum, SUPPLY);
    }
}
