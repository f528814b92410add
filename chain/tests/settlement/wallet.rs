//! One account's money on a real chain: what it pays, what it was paid, and what is no payment.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "what fails here fails a test")]

use std::time::Duration;

use crate::support::{
    PATIENCE,
    proxy::{Fault, Proxy},
    world::World,
};
use alloy::primitives::{Address, B256, U256};
use serde_json::json;
use session_chain::{
    Amount, account,
    network::Settlement,
    settlement::{
        Delivery, Progress, SendError, Wallet, WalletError,
        wallet::{Payment, Standing, Sum, payment::check},
    },
};

fn address(seed: u8) -> Address {
    account::signer(&[seed; 16]).address()
}

fn sesh(whole: u64) -> Sum {
    Sum::Sesh(Amount::sesh(whole))
}

fn wei(thousandths: u64) -> U256 {
    U256::from(thousandths) * U256::from(10).pow(U256::from(15))
}

async fn connect(settlement: &Settlement, seed: u8) -> Wallet {
    let delivery = Delivery { poll: Duration::from_millis(5), patience: PATIENCE, confirmations: 1 };
    Wallet::connect(settlement, account::signer(&[seed; 16]), delivery).await.unwrap()
}

/// Somebody with ether and tokens.
async fn wallet(world: &mut World, seed: u8, tokens: Amount) -> Wallet {
    world.chain.sender(&world.anvil, seed).await;
    world.give(address(seed), tokens).await;
    connect(&world.settlement, seed).await
}

async fn pay(wallet: &mut Wallet, to: Address, sum: Sum) -> B256 {
    let call = wallet.transfer(to, sum).unwrap();
    wallet.send(&call, |_| {}).await.unwrap().transaction_hash
}

/// Puts a transfer into the pool of a chain that mines nothing by itself.
async fn launch(world: &World, seed: u8, to: Address, sum: Sum) -> B256 {
    let mut wallet = connect(&world.settlement, seed).await;
    let call = wallet.transfer(to, sum).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let sent = tokio::spawn(async move { wallet.send(&call, |progress| tell.send(progress).unwrap()).await });
    let session_chain::settlement::Progress::Sent { hash, .. } = told.recv().await.unwrap() else {
        panic!("it is sent")
    };
    sent.abort();
    hash
}

#[tokio::test]
async fn money_is_paid_in_both_coins_and_told_of_on_both_sides() {
    let mut world = World::new().await;
    let mut alice = wallet(&mut world, 1, Amount::sesh(100)).await;
    let bob = connect(&world.settlement, 2).await;
    let first = pay(&mut alice, bob.address(), sesh(5)).await;
    let coin = Sum::Native(wei(20));
    let second = pay(&mut alice, bob.address(), coin).await;
    let balances = bob.balances().await.unwrap();
    assert_eq!((balances.sesh, balances.native), (Amount::sesh(5), wei(20)));
    assert_eq!(alice.balances().await.unwrap().sesh, Amount::sesh(95));

    // Final is what is two blocks deep.
    let payment = Payment { transaction: first, from: alice.address(), to: bob.address(), sum: sesh(5) };
    let of_coin = Payment { transaction: second, sum: coin, ..payment };
    let is = async |payment: &Payment| check(&world.settlement, payment).await.unwrap();
    assert!(matches!(is(&of_coin).await, Standing::Pending { height: Some(_) }));
    let before = alice.history(10).await.unwrap();
    world.chain.mine(4, 1).await;
    assert!(matches!(is(&payment).await, Standing::Paid { .. }));
    assert!(matches!(is(&of_coin).await, Standing::Paid { .. }));
    assert!(matches!(is(&Payment { sum: Sum::Native(wei(19)), ..of_coin }).await, Standing::Paid { .. }));

    // Both sides see it, the newest first, and no more than asked for.
    let history = alice.history(10).await.unwrap();
    let told: Vec<_> = history.transfers.iter().map(|it| (it.from, it.to, it.amount)).collect();
    let deployer = world.deployer.account();
    let (given, paid) = (Amount::sesh(100), Amount::sesh(5));
    assert_eq!(told, [(address(1), address(2), paid), (deployer, address(1), given)]);
    assert!(!history.more && history.transfers.iter().all(|it| it.is_final && it.height.is_some()));
    assert!(!before.transfers[0].is_final, "{before:?}");
    let one = alice.history(1).await.unwrap();
    assert_eq!((one.transfers.as_slice(), one.more), (&history.transfers[..1], true));
    assert_eq!(bob.history(10).await.unwrap().transfers, history.transfers[..1]);
    assert_eq!(connect(&world.settlement, 3).await.history(10).await.unwrap().transfers, []);

    // Of an endpoint that gives the logs of three blocks at once it is the same.
    let proxy = Proxy::start(&world.anvil.url()).await;
    proxy.set(Fault::Narrow(3));
    let narrow = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    assert_eq!(connect(&narrow, 1).await.history(10).await.unwrap(), history);
}

#[tokio::test]
async fn what_waits_is_pending_and_what_is_gone_is_unknown() {
    let mut world = World::new().await;
    let alice = wallet(&mut world, 1, Amount::sesh(100)).await;
    world.chain.mine(4, 1).await;
    world.chain.ask("evm_setAutomine", json!([false])).await;
    let transaction = launch(&world, 1, address(2), sesh(5)).await;
    let payment = Payment { transaction, from: address(1), to: address(2), sum: sesh(5) };
    let is = async |payment: &Payment| check(&world.settlement, payment).await.unwrap();
    assert_eq!(is(&payment).await, Standing::Pending { height: None });
    let short = Standing::Short { paid: Sum::Sesh(Amount::ZERO) };
    // Of somebody else's transaction that waits nobody can say that it will pay him.
    assert_eq!(is(&Payment { to: address(3), ..payment }).await, short);
    assert_eq!(is(&Payment { from: address(3), ..payment }).await, short);
    let history = alice.history(10).await.unwrap();
    let first = history.transfers[0];
    assert_eq!((first.transaction, first.height, first.is_final), (transaction, None, false), "{history:?}");
    assert_eq!(history.transfers.len(), 2, "{history:?}");

    world.chain.mine(1, 1).await;
    assert!(matches!(is(&payment).await, Standing::Pending { height: Some(_) }));
    assert_eq!(alice.history(10).await.unwrap().transfers.len(), 2);
    // Another block takes the place of its own, without it.
    world.chain.ask("anvil_reorg", json!([1, []])).await;
    world.chain.ask("anvil_dropAllTransactions", json!([])).await;
    assert_eq!(is(&payment).await, Standing::Unknown);
    let history = alice.history(10).await.unwrap();
    assert!(history.transfers.iter().all(|it| it.transaction != transaction), "{history:?}");
}

#[tokio::test]
async fn a_payment_that_the_chain_takes_back_is_waited_for_and_made_once() {
    let mut world = World::new().await;
    wallet(&mut world, 1, Amount::sesh(100)).await;
    let delivery = Delivery { poll: Duration::from_millis(5), patience: PATIENCE, confirmations: 3 };
    let mut alice = Wallet::connect(&world.settlement, account::signer(&[1; 16]), delivery).await.unwrap();
    let call = alice.transfer(address(2), sesh(5)).unwrap();
    let quote = alice.quote(&call).await.unwrap();
    let signed = alice.sign(&call, &quote).await.unwrap();
    let payment = Payment { transaction: signed.hash(), from: address(1), to: address(2), sum: sesh(5) };
    let is = async |payment: &Payment| check(&world.settlement, payment).await.unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let paid = alice.deliver(signed, move |progress| tell.send(progress).unwrap());
    let reorganised = async {
        while !matches!(told.try_recv(), Ok(Progress::Mined { .. })) {
            tokio::task::yield_now().await;
        }
        assert!(matches!(is(&payment).await, Standing::Pending { height: Some(_) }));
        world.chain.ask("anvil_reorg", json!([1, []])).await;
        assert!(matches!(is(&payment).await, Standing::Pending { height: None } | Standing::Unknown));
        assert_eq!(world.balance(address(2)).await, U256::ZERO);
        loop {
            world.chain.mine(1, 1).await;
        }
    };
    let paid = tokio::select! {
        biased;
        paid = paid => paid.unwrap(),
        () = reorganised => unreachable!("it goes on for ever"),
    };
    // Whoever is told of it now is told of a block that stands, and of the transaction that is in it: it may have been
    // sent again for a higher fee, under the same nonce.
    let there = world.chain.ask("eth_getTransactionReceipt", json!([paid.transaction_hash])).await;
    assert_eq!(there["blockHash"], json!(paid.block_hash));
    let payment = Payment { transaction: paid.transaction_hash, ..payment };
    world.chain.mine(4, 1).await;
    assert!(matches!(is(&payment).await, Standing::Paid { .. }));
    assert_eq!(world.balance(address(2)).await, Amount::sesh(5).units());
}

#[tokio::test]
async fn a_forged_payment_is_none() {
    let mut world = World::new().await;
    let mut alice = wallet(&mut world, 1, Amount::sesh(100)).await;
    let transaction = pay(&mut alice, address(2), sesh(5)).await;
    // One that fails, sent with gas so that nobody refuses it before.
    let data = world.settlement.contracts.token;
    let failing = json!([{
        "from": world.chain.account, "to": data, "gas": "0x30000",
        "data": alice.transfer(address(2), sesh(5)).unwrap().data,
    }]);
    let failed: B256 = serde_json::from_value(world.chain.ask("eth_sendTransaction", failing).await).unwrap();
    world.chain.mine(4, 1).await;
    let truth = Payment { transaction, from: address(1), to: address(2), sum: sesh(5) };
    let is = async |payment: Payment| check(&world.settlement, &payment).await.unwrap();
    assert!(matches!(is(truth).await, Standing::Paid { .. }));
    assert!(matches!(is(Payment { sum: sesh(4), ..truth }).await, Standing::Paid { .. }));
    let short = |sum| Standing::Short { paid: sum };
    assert_eq!(is(Payment { sum: sesh(6), ..truth }).await, short(sesh(5)));
    assert_eq!(is(Payment { to: address(3), ..truth }).await, short(sesh(0)));
    assert_eq!(is(Payment { from: address(3), ..truth }).await, short(sesh(0)));
    // Of the other coin it paid nothing.
    let ether = Sum::Native(U256::from(1));
    assert_eq!(is(Payment { sum: ether, ..truth }).await, short(Sum::Native(U256::ZERO)));
    assert_eq!(is(Payment { transaction: B256::repeat_byte(9), ..truth }).await, Standing::Unknown);
    assert_eq!(
        is(Payment { transaction: failed, from: world.chain.account, ..truth }).await,
        Standing::Failed
    );
}

#[tokio::test]
async fn endpoints_have_to_agree_and_most_of_them_to_answer() {
    let mut world = World::new().await;
    let mut alice = wallet(&mut world, 1, Amount::sesh(100)).await;
    let transaction = pay(&mut alice, address(2), sesh(5)).await;
    world.chain.mine(4, 1).await;
    let payment = Payment { transaction, from: address(1), to: address(2), sum: sesh(5) };
    let proxies = [Proxy::start(&world.anvil.url()).await, Proxy::start(&world.anvil.url()).await];
    let mut rpc = vec![world.anvil.url()];
    rpc.extend(proxies.iter().map(|proxy| proxy.url.clone()));
    let three = Settlement { rpc, ..world.settlement.clone() };
    assert!(matches!(check(&three, &payment).await, Ok(Standing::Paid { .. })));

    // One lies: it gives the payment to somebody else.
    let hex = |address: Address| format!("{address:x}");
    proxies[0].set(Fault::Swaps { from: hex(address(2)), to: hex(address(3)) });
    let stolen = Payment { to: address(3), ..payment };
    let error = check(&three, &stolen).await.unwrap_err();
    assert_eq!(error.code(), "endpoints_disagree");
    assert!(error.to_string().contains(proxies[0].name()), "{error}");

    // One is down, which proves nothing; two are too many.
    proxies[0].set(Fault::Http(500));
    assert!(matches!(check(&three, &payment).await, Ok(Standing::Paid { .. })));
    proxies[1].set(Fault::OtherChain);
    let error = check(&three, &payment).await.unwrap_err();
    assert!(matches!(error, WalletError::TooFew { answered: 1, asked: 3, .. }), "{error}");
}

#[tokio::test]
async fn what_lacks_is_told_exactly_and_nothing_is_lost() {
    let mut world = World::new().await;
    let mut alice = wallet(&mut world, 1, Amount::sesh(4)).await;
    let mut refused = async |to: Address, sum: Sum| {
        let call = alice.transfer(to, sum)?;
        alice.send(&call, |_| panic!("nothing is sent")).await.map(drop)
    };
    let error = refused(address(2), sesh(6)).await.unwrap_err();
    let text = format!("account {} has 4 SESH and needs 6 SESH: 2 SESH more", address(1));
    assert_eq!((error.to_string(), error.code()), (text, "too_little_sesh"));
    let error = refused(address(2), Sum::Native(wei(2_000_000))).await.unwrap_err();
    assert_eq!(error.code(), "too_little_ether");
    assert_eq!(refused(address(2), sesh(0)).await.unwrap_err().code(), "nothing");
    for lost in [Address::ZERO, world.settlement.contracts.token] {
        assert!(matches!(refused(lost, sesh(1)).await, Err(WalletError::Lost { .. })));
    }
    // Tokens, and nothing to pay the fee with.
    world.give(address(5), Amount::sesh(1)).await;
    let mut poor = connect(&world.settlement, 5).await;
    let call = poor.transfer(address(2), sesh(1)).unwrap();
    let error = poor.quote(&call).await.unwrap_err();
    assert!(matches!(error, WalletError::Send(SendError::Ether { has, .. }) if has.is_zero()), "{error}");
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_named_since_it_may_pay() {
    let mut world = World::new().await;
    wallet(&mut world, 1, Amount::sesh(4)).await;
    let proxy = Proxy::start(&world.anvil.url()).await;
    let settlement = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    let mut alice = connect(&settlement, 1).await;
    proxy.set(Fault::Loses);
    let call = alice.transfer(address(2), sesh(3)).unwrap();
    let error = alice.send(&call, |_| panic!("nobody knows whether it is sent")).await.unwrap_err();
    let WalletError::Send(SendError::Unanswered { hash, nonce: 0, .. }) = error else { panic!("{error}") };
    assert!(
        error.to_string().contains("may have been sent or not") && error.code() == "not_mined",
        "{error}"
    );
    // It was: whoever believed the error would have paid twice.
    world.chain.mine(4, 1).await;
    let payment = Payment { transaction: hash, from: address(1), to: address(2), sum: sesh(3) };
    assert!(matches!(check(&settlement, &payment).await, Ok(Standing::Paid { .. })));
}

/// Alice with tokens, over an endpoint with this fault once she has a quote, pays Bob 3 SESH.
async fn pays_over(world: &mut World, proxy: &Proxy, fault: Fault) -> Result<B256, WalletError> {
    wallet(world, 1, Amount::sesh(100)).await;
    let settlement = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    let mut alice = connect(&settlement, 1).await;
    let call = alice.transfer(address(2), sesh(3)).unwrap();
    proxy.set(fault);
    alice.send(&call, |_| {}).await.map(|receipt| receipt.transaction_hash)
}

#[tokio::test]
async fn a_payment_whose_receipt_is_late_is_signed_once_and_named() {
    let mut world = World::new().await;
    let proxy = Proxy::start(&world.anvil.url()).await;
    let error = pays_over(&mut world, &proxy, Fault::Unreceipted).await.unwrap_err();
    let WalletError::Send(SendError::Unmined { hash, nonce: 0 }) = error else { panic!("{error}") };
    assert_eq!(world.balance(address(2)).await, Amount::sesh(3).units());
    let payment = Payment { transaction: hash, from: address(1), to: address(2), sum: sesh(3) };
    assert!(!matches!(check(&world.settlement, &payment).await.unwrap(), Standing::Unknown));
}

#[tokio::test]
async fn a_payment_that_is_already_known_is_on_its_way() {
    for known in ["already known", "transaction already imported"] {
        let mut world = World::new().await;
        let proxy = Proxy::start(&world.anvil.url()).await;
        let hash = pays_over(&mut world, &proxy, Fault::Denies(known)).await.unwrap();
        let payment = Payment { transaction: hash, from: address(1), to: address(2), sum: sesh(3) };
        assert!(matches!(check(&world.settlement, &payment).await.unwrap(), Standing::Pending { .. }));
        assert_eq!(world.balance(address(2)).await, Amount::sesh(3).units());
    }
}

#[tokio::test]
async fn a_payment_whose_nonce_is_said_to_be_taken_is_not_signed_again() {
    for taken in ["nonce too low", "replacement transaction underpriced"] {
        let mut world = World::new().await;
        let proxy = Proxy::start(&world.anvil.url()).await;
        let error = pays_over(&mut world, &proxy, Fault::Denies(taken)).await.unwrap_err();
        assert!(matches!(error, WalletError::Send(SendError::Unmined { nonce: 0, .. })), "{error}");
        // It was sent all the same, once.
        world.chain.mine(1, 1).await;
        assert_eq!(world.balance(address(2)).await, Amount::sesh(3).units());
    }
}

#[tokio::test]
async fn what_waits_is_counted() {
    let mut world = World::new().await;
    let alice = wallet(&mut world, 1, Amount::sesh(100)).await;
    assert_eq!(alice.waiting().await.unwrap(), 0);
    world.chain.ask("evm_setAutomine", json!([false])).await;
    launch(&world, 1, address(2), sesh(5)).await;
    launch(&world, 1, address(2), sesh(6)).await;
    assert_eq!(alice.waiting().await.unwrap(), 2);
    // Both are mined, one after the other: neither took the other's nonce.
    world.chain.mine(1, 1).await;
    assert_eq!((alice.waiting().await.unwrap(), alice.balances().await.unwrap().sesh), (0, Amount::sesh(89)));
}
