//! Names that are sold, bought and offered for.

use super::*;

#[tokio::test]
async fn a_name_changes_hands_for_money_and_nobody_pays_for_what_they_did_not_see() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut bob = person(&mut world, 2).await;
    let mut carol = person(&mut world, 3).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    let known = now(&world).await;
    assert!(matches!(bob.buy(id, None).await, Err(RegistrarError::NotForSale)));
    let call = alice.sell(id, sesh(100)).await.unwrap();
    send(&mut alice, &call).await;
    assert!(matches!(alice.buy(id, None).await, Err(RegistrarError::Yours)));
    let error = bob.buy(id, Some(sesh(99))).await.unwrap_err();
    assert!(matches!(error, RegistrarError::Dear { price, .. } if price == sesh(100)), "{error}");

    // The price is raised after bob saw it; then the name is carol's, whose price is as low.
    let (seen, price) = bob.buy(id, Some(sesh(100))).await.unwrap();
    assert_eq!(price, sesh(100));
    let call = alice.sell(id, sesh(101)).await.unwrap();
    send(&mut alice, &call).await;
    refused(bob.quote(&seen).await.unwrap_err(), "PriceTooHigh");
    let (call, _) = carol.buy(id, None).await.unwrap();
    let bought = carol.send(&call, |_| {}).await.unwrap().transaction_hash;
    // What she paid for the name she did not pay for anything else.
    let owed = Payment { transaction: bought, from: address(3), to: address(1), sum: Sum::Sesh(sesh(101)) };
    let nothing = Standing::Short { paid: Sum::Sesh(Amount::ZERO) };
    assert_eq!(payment::check(&world.settlement, &owed).await.unwrap(), nothing);
    let call = carol.sell(id, sesh(100)).await.unwrap();
    send(&mut carol, &call).await;
    refused(bob.quote(&seen).await.unwrap_err(), "VersionChanged");
    // Alice was paid, and her records would be carol's no more than hers.
    assert_eq!((balance(&world, 1).await, balance(&world, 3).await), (sesh(1_091), sesh(899)));
    assert_eq!(balance(&world, 2).await, MONEY);
    let stale = Known { height: known.height, ..Known::default() };
    let error = alice.record(&keys("alice"), Kind::Text, Some(&text("mine")), &stale).await.unwrap_err();
    assert!(matches!(error, RegistrarError::NotYours { .. }), "{error}");
    let call = carol.sell(id, Amount::ZERO).await.unwrap();
    send(&mut carol, &call).await;
    assert_eq!(bob.price(id).await.unwrap(), None);

    // Offers are no dust, better ones are better by 5 %, and what they hold comes back.
    let (call, _) = bob.offer(id, Amount(1), 7).await.unwrap();
    refused(bob.quote(&call).await.unwrap_err(), "OfferTooLow");
    for days in [0, 31] {
        let (call, _) = bob.offer(id, sesh(50), days).await.unwrap();
        refused(bob.quote(&call).await.unwrap_err(), "OfferTimeOutOfRange");
    }
    let (call, _) = bob.offer(id, sesh(5_000), 7).await.unwrap();
    let error = bob.quote(&call).await.unwrap_err();
    assert!(error.to_string().ends_with("has 1000 SESH and needs 5000 SESH: 4000 SESH more"), "{error}");
    for amount in [50, 60] {
        let (call, _) = bob.offer(id, sesh(amount), 1).await.unwrap();
        send(&mut bob, &call).await;
    }
    assert_eq!(balance(&world, 2).await, sesh(940));
    let (call, amount) = bob.withdraw_offer(id).await.unwrap();
    assert_eq!(amount, sesh(60));
    refused(bob.quote(&call).await.unwrap_err(), "OfferBinds");
    let (call, _) = alice.offer(id, sesh(62), 7).await.unwrap();
    refused(alice.quote(&call).await.unwrap_err(), "OfferTooLow");
    assert!(matches!(alice.withdraw_offer(id).await, Err(RegistrarError::NoOffer)));
    assert_eq!(alice.held(id).await.unwrap(), None);
    let held = bob.held(id).await.unwrap().unwrap();
    assert_eq!((held.amount, held.binds), (sesh(60), true));
    pass(&world, DAY + 3_601).await;
    assert!(matches!(carol.accept(id, None).await, Err(RegistrarError::NoOffer)));
    assert_eq!(bob.held(id).await.unwrap(), Some(Held { binds: false, ..held }), "it is still there");
    let (call, _) = bob.withdraw_offer(id).await.unwrap();
    send(&mut bob, &call).await;
    assert_eq!((balance(&world, 2).await, bob.held(id).await.unwrap()), (MONEY, None));

    // One for a name that has another owner by now counts no more, and what it holds is told.
    let (call, _) = bob.offer(id, sesh(50), 7).await.unwrap();
    send(&mut bob, &call).await;
    let call = carol.transfer(id, address(1)).await.unwrap();
    send(&mut carol, &call).await;
    let held = bob.held(id).await.unwrap().unwrap();
    assert_eq!((held.amount, held.binds), (sesh(50), false));
    let mut known = now(&world).await;
    assert!(known.names.named(&id).unwrap().unwrap().offer.is_none(), "nodes have forgotten it");
    let (call, _) = bob.withdraw_offer(id).await.unwrap();
    send(&mut bob, &call).await;
    let call = alice.transfer(id, address(3)).await.unwrap();
    send(&mut alice, &call).await;
    assert_eq!(balance(&world, 2).await, MONEY);

    // A worse one cannot be slipped in under who accepts.
    let (call, until) = bob.offer(id, sesh(200), 7).await.unwrap();
    send(&mut bob, &call).await;
    let error = carol.accept(id, Some(sesh(201))).await.unwrap_err();
    assert!(matches!(error, RegistrarError::Little { amount, .. } if amount == sesh(200)), "{error}");
    let (call, best) = carol.accept(id, Some(sesh(200))).await.unwrap();
    assert_eq!((best.buyer, best.amount, best.until), (address(2), sesh(200), until));
    send(&mut carol, &call).await;
    assert_eq!(owner(&world, "alice").await, address(2));
    assert_eq!((balance(&world, 2).await, balance(&world, 3).await), (sesh(800), sesh(1_099)));
    assert!(matches!(bob.accept(id, None).await, Err(RegistrarError::NoOffer)));
}

#[tokio::test]
async fn a_name_that_is_sold_while_its_records_change_says_what_its_new_owner_says() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut bob = person(&mut world, 2).await;
    take(&world, &mut alice, "alice").await;
    let own = keys("alice");
    let (hers, his) = (text("alice's"), text("bob's"));
    let none = Known { version: 1, ..Known::default() };
    let call = alice.sell(own.id(), sesh(100)).await.unwrap();
    send(&mut alice, &call).await;
    // She changes what it says while bob buys it: before, and after.
    let (purchase, _) = bob.buy(own.id(), None).await.unwrap();
    let before = alice.record(&own, Kind::Text, Some(&hers), &none).await.unwrap().unwrap();
    let after = alice.record(&own, Kind::Link, None, &known(&world, &own).await).await.unwrap();
    assert!(after.is_none(), "it has no link");
    let late = alice.record(&own, Kind::Text, Some(&text("too late")), &none).await.unwrap().unwrap();
    send(&mut alice, &before).await;
    let seen = known(&world, &own).await;
    assert_eq!(own.open(1, Kind::Text, &seen.records[&6]).unwrap(), hers);
    send(&mut bob, &purchase).await;
    refused(alice.quote(&late).await.unwrap_err(), "NotPermitted");
    let sold = known(&world, &own).await;
    assert_eq!((sold.version, sold.records.len()), (2, 0), "what she said went with her");
    // What he says is no repetition of what she did, and cannot be read as hers.
    let call = bob.record(&own, Kind::Text, Some(&hers), &seen).await.unwrap().expect("it is said anew");
    send(&mut bob, &call).await;
    let call = bob.record(&own, Kind::Text, Some(&his), &sold).await.unwrap().unwrap();
    send(&mut bob, &call).await;
    let said = known(&world, &own).await;
    assert_eq!(own.open(2, Kind::Text, &said.records[&6]).unwrap(), his);
    assert!(own.open(1, Kind::Text, &said.records[&6]).is_err());
    assert!(own.open(2, Kind::Text, &seen.records[&6]).is_err());
}
