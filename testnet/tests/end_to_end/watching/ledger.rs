//! What happens on the settlement chain, and with it.

use std::time::Duration;

use alloy::{
    primitives::{B256, U64},
    rpc::{client::RpcClient, types::Log},
    sol_types::{SolCall, SolEvent},
};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use session_chain::{
    account,
    network::Settlement,
    settlement::{
        Call, Delivery, Endpoint, Sender,
        calls::{Checkpoints, Staking},
        contracts::events,
    },
};
use session_protocols::NodeId;

use crate::{
    proxy::{Fault, Proxy},
    support::Place,
};

/// The chain of a testnet, for whoever may do anything with it.
pub(super) struct Chain {
    pub(super) rpc: RpcClient,
    endpoint: Endpoint,
    settlement: Settlement,
}

impl Chain {
    pub(super) fn of(place: &Place) -> Self {
        let settlement = place.testnet.folder().network().unwrap().settlement.unwrap();
        let endpoint = Endpoint::new(&settlement.rpc[0]).unwrap();
        Self { rpc: endpoint.rpc(), endpoint, settlement }
    }

    /// Where it is asked.
    pub(super) fn url(&self) -> &str {
        &self.settlement.rpc[0]
    }

    /// Has the operator of this number let a node of its own leave.
    pub(super) async fn leave(&self, operator: u8, node: &NodeId) {
        let staking = self.settlement.contracts.staking;
        let filter = json!([{ "address": staking, "topics": [events::Registered::SIGNATURE_HASH],
            "fromBlock": "0x0", "toBlock": "latest" }]);
        let logs: Vec<Log> = self.rpc.request("eth_getLogs", filter).await.unwrap();
        let mut all = logs.iter().map(|log| events::Registered::decode_log(&log.inner).unwrap().data);
        let key = B256::from(*node.as_bytes());
        let id = all.find(|told| told.ed25519Key == key).unwrap().id;
        let signer = account::signer(&[operator; 16]);
        let mut sender = Sender::new(&self.endpoint, signer, self.settlement.chain, Delivery::default());
        let data = Staking::requestExitCall { id }.abi_encode().into();
        let call = Call { to: Some(staking), data, ..Call::default() };
        sender.send(&call, |_| {}).await.unwrap();
    }

    /// Puts a version of the contract of checkpoints in its place to which nobody submits as nodes do. What was there.
    pub(super) async fn outdate_contract(&self) -> String {
        let at = self.settlement.contracts.checkpoints;
        let code: String = self.rpc.request("eth_getCode", json!([at, "latest"])).await.unwrap();
        let [a, b, c, d] = Checkpoints::submitCall::SELECTOR;
        // Where code tells calls apart it pushes the four bytes of each.
        let push = |selector: [u8; 4]| format!("63{}", HEXLOWER.encode(&selector));
        let other = code.replace(&push([a, b, c, d]), &push([a, b, c, d ^ 1]));
        assert_ne!(other, code);
        self.set_contract(&other).await;
        code
    }

    /// Sets the code of the contract of checkpoints.
    pub(super) async fn set_contract(&self, code: &str) {
        let at = self.settlement.contracts.checkpoints;
        let _: Value = self.rpc.request("anvil_setCode", json!([at, code])).await.unwrap();
    }

    /// Ends an epoch, with another block for whoever asks this proxy. Until it is over no block comes, and `meanwhile` is
    /// done.
    pub(super) async fn end_epoch_otherwise(&self, proxy: &Proxy, meanwhile: impl Future<Output = ()>) {
        self.mine_every(0).await;
        // One may have been under way; after this one none is.
        let _: Value = self.rpc.request("evm_mine", json!([])).await.unwrap();
        let newest: Value = self.rpc.request("eth_getBlockByNumber", json!(["latest", false])).await.unwrap();
        // Nobody goes by it so far: it is final when there are two more.
        let hash = newest["hash"].as_str().unwrap();
        let (most, last) = hash.split_at(hash.len() - 1);
        let to = format!("{most}{}", if last == "0" { '1' } else { '0' });
        proxy.set(Fault::Swaps { from: hash.to_owned(), to });
        let time: U64 = serde_json::from_value(newest["timestamp"].clone()).unwrap();
        let (genesis, epoch) = (self.settlement.genesis, self.settlement.epoch.get());
        let left = epoch - (time.to::<u64>() - genesis) % epoch;
        // The chain counts whole seconds.
        let over = tokio::time::sleep(Duration::from_secs(left + 1));
        tokio::join!(over, meanwhile);
        self.mine_every(1).await;
    }

    async fn mine_every(&self, seconds: u64) {
        let _: Value = self.rpc.request("evm_setIntervalMining", json!([seconds])).await.unwrap();
    }
}
