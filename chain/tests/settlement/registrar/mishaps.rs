//! A chain that is down, loses answers or takes blocks back, accounts that lack something, and programs that meet.

use super::*;

#[tokio::test]
async fn while_the_chain_is_down_nothing_is_lost_and_what_was_begun_goes_on() {
    let mut world = World::new().await;
    person(&mut world, 1).await;
    let proxy = Proxy::start(&world.anvil.url()).await;
    let through = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    let down = |error: RegistrarError| {
        assert!(matches!(error, RegistrarError::Send(SendError::Endpoint { .. })), "{error}");
        assert!(error.to_string().contains(proxy.name()) && !error.remedy().is_empty(), "{error}");
    };
    proxy.set(Fault::Http(503));
    let signer = account::signer(&[1; 16]);
    down(Registrar::connect(&through, signer, delivery(1)).await.unwrap_err());
    proxy.set(Fault::None);
    let mut alice = connect(&through, 1, 1).await;
    let begun = begun("alice");
    let id = begun.id;
    proxy.set(Fault::Http(503));
    down(alice.quote_registration(&begun, Period::of_years(1), 0).await.unwrap_err());
    down(alice.reserve(&begun, U256::MAX, |_| {}).await.unwrap_err());
    proxy.set(Fault::None);
    reserve(&world, &mut alice, &begun).await;
    let nonce = alice.sender().nonce().await.unwrap();
    proxy.set(Fault::Http(503));
    down(alice.register(&begun, Period::of_years(1), &[]).await.unwrap_err());
    proxy.set(Fault::None);
    let (call, _) = alice.register(&begun, Period::of_years(1), &[]).await.unwrap();
    proxy.set(Fault::Http(503));
    down(alice.send(&call, |_| panic!("nothing is sent")).await.unwrap_err());
    proxy.set(Fault::None);
    reserve(&world, &mut alice, &begun).await;
    let (call, _) = alice.register(&begun, Period::of_years(1), &[]).await.unwrap();
    send(&mut alice, &call).await;
    assert_eq!(alice.sender().nonce().await.unwrap(), nonce + 1, "it was committed to once");
    assert_eq!((owner(&world, "alice").await, balance(&world, 1).await), (address(1), sesh(990)));
    proxy.set(Fault::Http(503));
    down(alice.sell(id, sesh(1)).await.unwrap_err());
    down(alice.buy(id, None).await.unwrap_err());
}

#[tokio::test]
async fn what_is_repeated_since_its_answer_was_lost_is_paid_once() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    person(&mut world, 2).await;
    let proxy = Proxy::start(&world.anvil.url()).await;
    let through = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    let mut bob = connect(&through, 2, 1).await;
    let lost = |error: RegistrarError| {
        assert!(matches!(error, RegistrarError::Send(SendError::Unanswered { .. })), "{error}");
        assert!(error.to_string().contains("may have been sent or not"), "{error}");
    };
    let begun = begun("bob");
    // The commitment, the registration, and a purchase: each comes into a block, and nobody says so.
    proxy.set(Fault::Loses);
    lost(bob.reserve(&begun, U256::MAX, |_| {}).await.unwrap_err());
    proxy.set(Fault::None);
    let nonce = bob.sender().nonce().await.unwrap();
    reserve(&world, &mut bob, &begun).await;
    assert_eq!(bob.sender().nonce().await.unwrap(), nonce, "it is not committed to again");
    let (call, _) = bob.register(&begun, Period::of_years(1), &[]).await.unwrap();
    proxy.set(Fault::Loses);
    lost(bob.send(&call, |_| panic!("nobody knows")).await.unwrap_err());
    proxy.set(Fault::None);
    bob.sender().settled().await.unwrap();
    assert!(matches!(bob.register(&begun, Period::of_years(1), &[]).await, Err(RegistrarError::Yours)));
    refused(bob.quote(&call).await.unwrap_err(), "NotCommitted");
    assert_eq!((owner(&world, "bob").await, balance(&world, 2).await), (address(2), sesh(990)));

    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    let call = alice.sell(id, sesh(100)).await.unwrap();
    send(&mut alice, &call).await;
    let (call, _) = bob.buy(id, None).await.unwrap();
    proxy.set(Fault::Loses);
    lost(bob.send(&call, |_| panic!("nobody knows")).await.unwrap_err());
    proxy.set(Fault::None);
    bob.sender().settled().await.unwrap();
    assert!(matches!(bob.buy(id, None).await, Err(RegistrarError::Yours)));
    refused(bob.quote(&call).await.unwrap_err(), "VersionChanged");
    assert_eq!((balance(&world, 1).await, balance(&world, 2).await), (sesh(1_090), sesh(890)));
}

#[tokio::test]
async fn a_renewal_that_is_repeated_since_its_answer_was_lost_is_paid_once() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    take(&world, &mut alice, "alice").await;
    person(&mut world, 2).await;
    let proxy = Proxy::start(&world.anvil.url()).await;
    let through = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    let mut bob = connect(&through, 2, 1).await;
    let (id, year) = (keys("alice").id(), Period::of_years(1));
    let before = alice.title(id).await.unwrap().expires;
    let (call, _, sent) = bob.renew(id, year).await.unwrap();
    proxy.set(Fault::Loses);
    let lost = bob.send(&call, |_| panic!("nobody knows")).await.unwrap_err();
    assert!(matches!(lost, RegistrarError::Send(SendError::Unanswered { .. })), "{lost}");
    proxy.set(Fault::None);
    assert!(bob.renew_unless(id, year, sent).await.unwrap().is_none(), "it was made");
    assert_eq!(
        (balance(&world, 2).await, alice.title(id).await.unwrap().expires),
        (sesh(990), before + YEAR)
    );

    // One that was not made is made now.
    let wanted = sent + YEAR;
    let (second, _, expires) = bob.renew_unless(id, year, wanted).await.unwrap().unwrap();
    assert_eq!(expires, wanted);
    // Should the first one come after all, it comes in place of this one.
    let (first, _, _) = bob.renew(id, year).await.unwrap();
    send(&mut bob, &first).await;
    bob.quote(&second).await.unwrap_err();
    assert_eq!((balance(&world, 2).await, alice.title(id).await.unwrap().expires), (sesh(980), wanted));
}

#[tokio::test]
async fn too_little_gas_costs_the_fee_alone_and_what_was_meant_can_be_done_again() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut bob = person(&mut world, 2).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    let call = alice.sell(id, sesh(100)).await.unwrap();
    send(&mut alice, &call).await;
    let (call, _) = bob.buy(id, None).await.unwrap();
    let mut quote = bob.quote(&call).await.unwrap();
    quote.gas = 60_000;
    let error = RegistrarError::from(bob.sender().send_at(&call, &quote, |_| {}).await.unwrap_err());
    assert!(matches!(error, RegistrarError::Send(SendError::Reverted { .. })), "{error}");
    assert!(error.to_string().contains("its gas ran out"), "{error}");
    assert_eq!((owner(&world, "alice").await, balance(&world, 2).await), (address(1), MONEY));
    let (call, _) = bob.buy(id, None).await.unwrap();
    send(&mut bob, &call).await;
    assert_eq!((owner(&world, "alice").await, balance(&world, 2).await), (address(2), sesh(900)));
}

#[tokio::test]
async fn what_an_account_lacks_is_said_before_anything_is_sent() {
    let mut world = World::new().await;
    let begun = begun("alice");
    let mut poor = connect(&world.settlement, 5, 1).await;
    let error = poor.quote_registration(&begun, Period::of_years(1), 0).await.unwrap_err();
    assert!(error.to_string().ends_with("has 0 SESH and needs 10 SESH: 10 SESH more"), "{error}");
    world.give(address(5), sesh(10)).await;
    let error = poor.quote_registration(&begun, Period::of_years(1), 0).await.unwrap_err();
    assert!(matches!(error, RegistrarError::Send(SendError::Ether { .. })), "{error}");
    // Enough for the commitment, and not for what comes after it.
    let give = |wei: U256| world.chain.ask("anvil_setBalance", json!([address(5), wei]));
    give(U256::from(10).pow(U256::from(18))).await;
    let (quote, _) = poor.quote_registration(&begun, Period::of_years(1), 0).await.unwrap();
    // Twice what is offered at first is the most that is ever offered.
    let offered = quote.most / U256::from(2);
    let short = offered - U256::from(1);
    give(short).await;
    let error = poor.quote_registration(&begun, Period::of_years(1), 0).await.unwrap_err();
    let RegistrarError::Send(SendError::Ether { has, needs, .. }) = error else { panic!("{error}") };
    assert_eq!((has, needs), (short, offered));
    give(offered).await;
    poor.quote_registration(&begun, Period::of_years(1), 0).await.unwrap();
    assert_eq!(poor.sender().nonce().await.unwrap(), 0);
}

#[tokio::test]
async fn an_epoch_may_end_before_a_call_is_mined() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    // The first event of an epoch pays for what is kept of the border.
    for turn in 0..2 {
        let call = alice.sell(id, sesh(100 + turn)).await.unwrap();
        send(&mut alice, &call).await;
        world.chain.ask("evm_setAutomine", json!([false])).await;
        let call = alice.sell(id, sesh(200 + turn)).await.unwrap();
        let (tell, told) = mpsc::channel();
        let sent = alice.send(&call, |progress| {
            if matches!(progress, Progress::Sent { .. }) {
                tell.send(()).unwrap();
            }
        });
        let border = async {
            while told.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            world.chain.ask("evm_increaseTime", json!([EPOCH])).await;
            world.chain.ask("evm_mine", json!([])).await;
        };
        let (sent, ()) = tokio::join!(sent, border);
        sent.unwrap();
        world.chain.ask("evm_setAutomine", json!([true])).await;
    }
}

#[tokio::test]
async fn a_gap_of_nonces_is_filled_and_two_programs_of_one_account_take_turns() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    // Another program of hers sent what waits for a transaction before it.
    let nonce = alice.sender().nonce().await.unwrap();
    world.chain.ask("anvil_impersonateAccount", json!([address(1)])).await;
    let later =
        json!({ "from": address(1), "to": address(2), "value": "0x1", "nonce": U64::from(nonce + 1) });
    world.chain.ask("eth_sendTransaction", json!([later])).await;
    let call = alice.sell(id, sesh(100)).await.unwrap();
    send(&mut alice, &call).await;
    assert_eq!(alice.sender().settled().await.unwrap(), nonce + 2, "and what waited came after it");

    let mut twin = connect(&world.settlement, 1, 1).await;
    let (first, second) = (alice.sell(id, sesh(1)).await.unwrap(), twin.sell(id, sesh(2)).await.unwrap());
    let (first, second) = tokio::join!(alice.send(&first, |_| {}), twin.send(&second, |_| {}));
    assert!(first.is_ok() && second.is_ok());
    let count = world.chain.ask("eth_getTransactionCount", json!([address(1), "latest"])).await;
    assert_eq!(count, json!(U64::from(nonce + 4)));
}

/// Alice's name is for sale, and bob's purchase is in a block that the chain takes back.
async fn taken_back(rival: bool) -> (World, Result<alloy::rpc::types::TransactionReceipt, RegistrarError>) {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    person(&mut world, 2).await;
    let mut bob = connect(&world.settlement, 2, 3).await;
    let mut carol = person(&mut world, 3).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    let call = alice.sell(id, sesh(100)).await.unwrap();
    send(&mut alice, &call).await;
    let (purchase, _) = bob.buy(id, None).await.unwrap();
    let (tell, told) = mpsc::channel();
    let bought = bob.send(&purchase, move |progress| tell.send(progress).unwrap());
    let reorganised = async {
        while !matches!(told.try_recv(), Ok(Progress::Mined { .. })) {
            tokio::task::yield_now().await;
        }
        assert_eq!(owner(&world, "alice").await, address(2));
        world.chain.ask("anvil_reorg", json!([1, []])).await;
        assert_eq!(owner(&world, "alice").await, address(1));
        if rival {
            let (call, _) = carol.buy(id, None).await.unwrap();
            send(&mut carol, &call).await;
        }
        loop {
            world.chain.mine(1, 1).await;
        }
    };
    let bought = tokio::select! {
        biased;
        bought = bought => bought,
        () = reorganised => unreachable!("it goes on for ever"),
    };
    (world, bought)
}

#[tokio::test]
async fn a_purchase_that_the_chain_takes_back_is_made_again_and_paid_once() {
    let (world, bought) = taken_back(false).await;
    let receipt = bought.unwrap();
    let there = world.chain.ask("eth_getTransactionReceipt", json!([receipt.transaction_hash])).await;
    assert_eq!(there["blockHash"], json!(receipt.block_hash));
    assert_eq!(owner(&world, "alice").await, address(2));
    assert_eq!((balance(&world, 1).await, balance(&world, 2).await), (sesh(1_090), sesh(900)));
}

#[tokio::test]
async fn a_purchase_that_another_overtakes_when_the_chain_takes_it_back_is_not_said_to_be_made() {
    let (world, bought) = taken_back(true).await;
    let error = bought.unwrap_err();
    let RegistrarError::Send(SendError::Reverted { refusal, .. }) = &error else { panic!("{error}") };
    assert!(refusal.error.starts_with("VersionChanged"), "{error}");
    assert_eq!(owner(&world, "alice").await, address(3));
    assert_eq!(balance(&world, 2).await, MONEY, "nothing is paid");
}
