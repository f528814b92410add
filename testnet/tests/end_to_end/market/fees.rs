//! What names have paid, and where it went, asked of the settlement chain beside the program.

use alloy::{
    primitives::{Address, Bytes, U64, U256},
    rpc::{client::RpcClient, types::Log},
    sol_types::{SolCall, SolEvent},
};
use serde_json::json;
use session_chain::{
    Amount,
    network::Settlement,
    settlement::{
        Endpoint,
        calls::{Names, RewardPool, Token},
    },
};

use crate::support::{Place, until};

/// The fees of names, from some moment on.
pub(crate) struct Fees {
    rpc: RpcClient,
    settlement: Settlement,
    /// What the pool had been given by then.
    pool_before: Amount,
}

impl Fees {
    pub(crate) async fn from_here_on(place: &Place) -> Self {
        let settlement = place.testnet.folder().network().unwrap().settlement.unwrap();
        let rpc = Endpoint::new(&settlement.rpc[0]).unwrap().rpc();
        let mut fees = Self { rpc, settlement, pool_before: Amount::ZERO };
        fees.pool_before = fees.pool_was_given().await;
        fees
    }

    /// Nobody but the nodes has them paid out: nine tenths to the pool, one to the treasury, and none stay.
    pub(crate) async fn reach_pool_and_treasury(&self, all: u64) {
        let (pool, treasury) = (self.settlement.contracts.pool, self.treasury().await);
        let (nine, one) = (Amount::sesh(all).part(9, 10).unwrap(), Amount::sesh(all).part(1, 10).unwrap());
        until(&format!("{nine} SESH to reach the pool"), async || {
            (self.paid_to(pool).await == nine).then_some(())
        })
        .await;
        assert_eq!(self.paid_to(treasury).await, one);
        assert_eq!(self.pool_was_given().await.checked_sub(self.pool_before), Some(nine));
        let names = self.settlement.contracts.names;
        assert_eq!(self.ask(names, Names::feesCall {}.abi_encode(), self.height().await).await, Amount::ZERO);
    }

    /// What the pool has, and what rewards were paid of it, at one block.
    async fn pool_was_given(&self) -> Amount {
        let contracts = &self.settlement.contracts;
        let height = self.height().await;
        let balance = Token::balanceOfCall { account: contracts.pool }.abi_encode();
        let has = self.ask(contracts.token, balance, height).await;
        let released = self.ask(contracts.pool, RewardPool::releasedCall {}.abi_encode(), height).await;
        has.checked_add(released).unwrap()
    }

    /// What the contract of names has paid to one of the two.
    async fn paid_to(&self, holder: Address) -> Amount {
        let contracts = &self.settlement.contracts;
        let filter = json!([{
            "address": contracts.token,
            "topics": [Token::Transfer::SIGNATURE_HASH, contracts.names.into_word(), holder.into_word()],
            "fromBlock": "0x0",
            "toBlock": "latest",
        }]);
        let logs: Vec<Log> = self.rpc.request("eth_getLogs", filter).await.unwrap();
        let amounts = logs.iter().map(|log| {
            let Token::Transfer { value, .. } = Token::Transfer::decode_log_data(&log.inner.data).unwrap();
            Amount::try_from(value).unwrap()
        });
        amounts.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
    }

    async fn treasury(&self) -> Address {
        let call = Bytes::from(Names::treasuryCall {}.abi_encode());
        let call = json!([{ "to": self.settlement.contracts.names, "data": call }, "latest"]);
        let returned: Bytes = self.rpc.request("eth_call", call).await.unwrap();
        Names::treasuryCall::abi_decode_returns(&returned).unwrap()
    }

    async fn height(&self) -> U64 {
        self.rpc.request("eth_blockNumber", json!([])).await.unwrap()
    }

    /// A number of a contract's, at a block.
    async fn ask(&self, to: Address, view: Vec<u8>, height: U64) -> Amount {
        let call = json!([{ "to": to, "data": Bytes::from(view) }, height]);
        let word: U256 = self.rpc.request("eth_call", call).await.unwrap();
        Amount::try_from(word).unwrap()
    }
}
