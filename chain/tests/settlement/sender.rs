//! Transactions over a real chain: under contention, with fees that rise, and those that cannot succeed.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::Duration;

use crate::support::{
    Anvil, Chain,
    proxy::{Fault, Proxy},
};
use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use serde_json::json;
use session_chain::{
    Amount, account,
    settlement::{Call, Delivery, Endpoint, Progress, SendError, Sender, Spending},
};

alloy::sol! {
    function refuse(uint256 wanted, uint256 most, uint256 work) external payable;
    function remove(uint64 id) external pure;
}

fn sender(anvil: &Anvil, signer: PrivateKeySigner) -> Sender {
    let delivery =
        Delivery { poll: Duration::from_millis(20), patience: crate::support::PATIENCE, confirmations: 1 };
    Sender::new(&Endpoint::new(&anvil.url()).unwrap(), signer, 31_337, delivery)
}

async fn funded(chain: &Chain, seed: u8, wei: U256) -> PrivateKeySigner {
    let signer = account::signer(&[seed; 16]);
    chain.ask("anvil_setBalance", json!([signer.address(), wei])).await;
    signer
}

fn ether(thousandths: u64) -> U256 {
    U256::from(thousandths) * U256::from(10).pow(U256::from(15))
}

fn work(chain: &Chain) -> Call {
    let data = refuseCall { wanted: U256::ZERO, most: U256::ZERO, work: U256::from(3) }.abi_encode();
    Call { to: Some(chain.followed.contracts.pool), data: data.into(), repeatable: true, ..Call::default() }
}

#[tokio::test]
async fn two_senders_of_one_account_take_turns() {
    let anvil = Anvil::start(&[]);
    let chain = Chain::deploy(&anvil).await;
    let signer = funded(&chain, 1, ether(10_000)).await;
    let send = |signer: PrivateKeySigner| {
        let (mut sender, call) = (sender(&anvil, signer), work(&chain));
        async move {
            for _ in 0..10 {
                sender.send(&call, |_| {}).await.unwrap();
            }
        }
    };
    tokio::join!(send(signer.clone()), send(signer.clone()));
    let count = chain.ask("eth_getTransactionCount", json!([signer.address(), "latest"])).await;
    assert_eq!(count, json!("0x14"));
}

#[tokio::test]
async fn the_same_call_is_never_the_same_transaction() {
    let anvil = Anvil::start(&[]);
    let chain = Chain::deploy(&anvil).await;
    let signer = funded(&chain, 1, ether(10_000)).await;
    let (mut sender, call) = (sender(&anvil, signer), work(&chain));
    let quote = sender.quote(&call).await.unwrap();
    let [one, other] = [sender.sign(&call, &quote).await.unwrap(), sender.sign(&call, &quote).await.unwrap()];
    assert_eq!(one.nonce(), other.nonce());
    assert_ne!(one.hash(), other.hash(), "two programs would both take it for theirs");
}

#[tokio::test]
async fn the_next_block_is_waited_for() {
    let anvil = Anvil::start(&[]);
    let chain = Chain::deploy(&anvil).await;
    let proxy = Proxy::start(&anvil.url()).await;
    let delivery =
        Delivery { poll: Duration::from_millis(5), patience: crate::support::PATIENCE, confirmations: 1 };
    let endpoint = Endpoint::new(&proxy.url).unwrap();
    let sender = Sender::new(&endpoint, account::signer(&[1; 16]), 31_337, delivery);
    let before = chain.head().await;
    let comes = async {
        while proxy.asked().1 < 20 {
            tokio::task::yield_now().await;
        }
        chain.mine(1, 1).await;
    };
    let waits = async {
        sender.next_block().await.unwrap();
        chain.head().await
    };
    let (head, ()) = tokio::join!(waits, comes);
    assert_eq!(head, before + 1);
}

#[tokio::test]
async fn what_is_not_mined_is_sent_again_with_a_higher_fee_and_mined_once() {
    let anvil = Anvil::start(&[]);
    let chain = Chain::deploy(&anvil).await;
    let signer = funded(&chain, 2, ether(100_000)).await;
    let (account, mut sender, call) = (signer.address(), sender(&anvil, signer), work(&chain));
    chain.ask("evm_setAutomine", json!([false])).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let sent = tokio::spawn(async move { sender.send(&call, |progress| tell.send(progress).unwrap()).await });
    let Some(Progress::Sent { hash: first, nonce: 0 }) = told.recv().await else { panic!("it is sent") };
    // Gas becomes dearer than what is offered before anybody mines it, and not than what may be.
    let transaction = chain.ask("eth_getTransactionByHash", json!([first])).await;
    let offered: U256 = transaction["maxFeePerGas"].as_str().unwrap().parse().unwrap();
    let dear = offered + offered / U256::from(2);
    let mut seen = Vec::new();
    while !sent.is_finished() {
        chain.ask("anvil_setNextBlockBaseFeePerGas", json!([dear])).await;
        chain.mine(1, 1).await;
        while let Ok(progress) = told.try_recv() {
            seen.push(progress);
        }
    }
    let receipt = sent.await.unwrap().unwrap();
    while let Ok(progress) = told.try_recv() {
        seen.push(progress);
    }
    assert!(matches!(seen[0], Progress::Bumped { hash, .. } if hash != first), "{seen:?}");
    assert!(matches!(seen.last(), Some(Progress::Mined { hash, .. }) if *hash == receipt.transaction_hash));
    let count = chain.ask("eth_getTransactionCount", json!([account, "latest"])).await;
    assert_eq!(count, json!("0x1"));
}

/// It may have arrived: whoever did not look for it would take its nonce for another's.
#[tokio::test]
async fn a_replacement_whose_answer_is_lost_is_looked_for() {
    let anvil = Anvil::start(&[]);
    let chain = Chain::deploy(&anvil).await;
    let signer = funded(&chain, 5, ether(100_000)).await;
    let (account, call) = (signer.address(), Call { repeatable: false, ..work(&chain) });
    let proxy = Proxy::start(&anvil.url()).await;
    let delivery =
        Delivery { poll: Duration::from_millis(20), patience: crate::support::PATIENCE, confirmations: 1 };
    let mut sender = Sender::new(&Endpoint::new(&proxy.url).unwrap(), signer, 31_337, delivery);
    chain.ask("evm_setAutomine", json!([false])).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let sent = tokio::spawn(async move { sender.send(&call, |progress| tell.send(progress).unwrap()).await });
    let Some(Progress::Sent { hash: first, .. }) = told.recv().await else { panic!("it is sent") };
    proxy.set(Fault::Loses);
    let transaction = chain.ask("eth_getTransactionByHash", json!([first])).await;
    let offered: U256 = transaction["maxFeePerGas"].as_str().unwrap().parse().unwrap();
    while !sent.is_finished() {
        let dear = offered + offered / U256::from(2);
        chain.ask("anvil_setNextBlockBaseFeePerGas", json!([dear])).await;
        chain.mine(1, 1).await;
    }
    let receipt = sent.await.unwrap().unwrap();
    assert_ne!(receipt.transaction_hash, first);
    let count = chain.ask("eth_getTransactionCount", json!([account, "latest"])).await;
    assert_eq!(count, json!("0x1"));
}

#[tokio::test]
async fn what_cannot_succeed_is_not_sent_and_the_reason_is_exact() {
    let anvil = Anvil::start(&[]);
    let chain = Chain::deploy(&anvil).await;
    let signer = funded(&chain, 3, ether(10)).await;
    let (address, mut sender) = (signer.address(), sender(&anvil, signer));
    let pool = chain.followed.contracts.pool;
    let mut refused = async |call: Call| sender.send(&call, |_| panic!("nothing is sent")).await.unwrap_err();

    let error = refused(Call { value: ether(13), ..work(&chain) }).await;
    assert_eq!(
        error.to_string(),
        format!("account {address} has 0.01 ETH and needs 0.013 ETH: 0.003 ETH more")
    );
    // The value alone it could pay, with the fee it cannot.
    let error = refused(Call { value: ether(10) - U256::from(1), ..work(&chain) }).await;
    assert!(matches!(error, SendError::Ether { has, needs, .. } if has < needs), "{error}");

    let spends = |amount, spender| Some(Spending { token: pool, spender, amount: Amount::sesh(amount) });
    let error = refused(Call { spends: spends(6, pool), ..work(&chain) }).await;
    assert_eq!(error.to_string(), format!("account {address} has 5 SESH and needs 6 SESH: 1 SESH more"));
    let error = refused(Call { spends: spends(4, chain.followed.contracts.staking), ..work(&chain) }).await;
    assert!(error.to_string().ends_with("take 3 SESH and it needs 4 SESH: approve 4 SESH first"), "{error}");

    let data = removeCall { id: 7 }.abi_encode().into();
    let error = refused(Call { to: Some(pool), data, ..Call::default() }).await;
    let text = "the contract refuses: there is no node 7, or its stake was paid back (NoSuchNode { id: 7 })";
    assert_eq!(error.to_string(), text);
    assert!(error.remedy().contains("session stake list"));
    let data =
        refuseCall { wanted: U256::from(2), most: U256::from(1), work: U256::ZERO }.abi_encode().into();
    let error = refused(Call { to: Some(pool), data, ..Call::default() }).await;
    assert!(error.to_string().contains("an error that is not known here, 0x"), "{error}");

    let count = chain.ask("eth_getTransactionCount", json!([address, "latest"])).await;
    assert_eq!(count, json!("0x0"));
}

#[tokio::test]
async fn the_wrong_chain_and_a_dead_endpoint_are_told_apart() {
    let anvil = Anvil::start(&["--chain-id", "5"]);
    let signer = account::signer(&[4; 16]);
    let call = Call { to: Some(Address::ZERO), ..Call::default() };
    let mut sender = sender(&anvil, signer);
    let error = sender.send(&call, |_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), format!("127.0.0.1:{} serves chain 5 and not 31337", anvil.port));
    let port = anvil.port;
    drop(anvil);
    let error = sender.send(&call, |_| {}).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("127.0.0.1:{port} cannot be reached")), "{error}");
}

/// Nobody waits for ever for an endpoint that takes a question and says nothing.
#[tokio::test]
async fn an_endpoint_that_is_silent_is_given_up() {
    let anvil = Anvil::start(&[]);
    let chain = Chain::deploy(&anvil).await;
    let signer = funded(&chain, 9, ether(10)).await;
    let proxy = Proxy::start(&anvil.url()).await;
    let endpoint = Endpoint::within(&proxy.url, Duration::from_secs(1)).unwrap();
    let mut sender = Sender::new(&endpoint, signer, 31_337, Delivery::default());
    sender.quote(&work(&chain)).await.unwrap();
    proxy.set(Fault::Silent);
    let error = sender.quote(&work(&chain)).await.unwrap_err();
    assert!(matches!(error, SendError::Endpoint { .. }), "{error}");
}

/// After so many blocks a transaction is sent again.
const PATIENT_BLOCKS: u64 = 5;

/// What is quoted is the most that is paid, whatever the fees come to meanwhile.
#[tokio::test]
async fn no_more_is_offered_than_was_quoted() {
    let anvil = Anvil::start(&[]);
    let chain = Chain::deploy(&anvil).await;
    let signer = funded(&chain, 8, ether(100_000)).await;
    let (mut sender, call) = (sender(&anvil, signer), work(&chain));
    let quote = sender.quote(&call).await.unwrap();
    chain.ask("evm_setAutomine", json!([false])).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let most = quote.most;
    let sent =
        tokio::spawn(
            async move { sender.send_at(&call, &quote, |progress| tell.send(progress).unwrap()).await },
        );
    let Some(Progress::Sent { .. }) = told.recv().await else { panic!("it is sent") };
    let block = chain.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    let base =
        u128::from_str_radix(block["baseFeePerGas"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let mut offered = Vec::new();
    for block in 0.. {
        if sent.is_finished() {
            break;
        }
        // A hundred times as expensive, for longer than it takes to be sent again.
        let dear = U256::from(base * if block < 3 * PATIENT_BLOCKS { 100 } else { 1 });
        chain.ask("anvil_setNextBlockBaseFeePerGas", json!([dear])).await;
        chain.mine(1, 1).await;
        while let Ok(progress) = told.try_recv() {
            if let Progress::Bumped { fee, .. } = progress {
                offered.push(U256::from(fee) * U256::from(quote.gas));
            }
        }
    }
    let receipt = sent.await.unwrap().unwrap();
    offered.push(U256::from(receipt.effective_gas_price) * U256::from(receipt.gas_used));
    assert!(offered.iter().all(|offered| *offered <= most), "{offered:?} of {most}");
}
