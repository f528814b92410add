//! Offers that take the place of others, and purchases by a transfer: nobody pays more than is due, and a long offer
//! gives way to none that binds shorter.

use alloy::primitives::Uint;

use super::*;

#[tokio::test]
async fn a_short_offer_does_not_drive_a_long_one_away() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut bob = person(&mut world, 2).await;
    let mut mallory = person(&mut world, 9).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    let (call, bound) = bob.offer(id, sesh(400), 30).await.unwrap();
    send(&mut bob, &call).await;

    // Nothing is sent, and it says for how long; the contract would refuse it, too.
    pass(&world, 3 * DAY).await;
    let error = mallory.offer(id, sesh(420), 1).await.unwrap_err();
    assert!(matches!(error, RegistrarError::Brief { until, days: 27 } if until == bound), "{error}");
    assert!(error.to_string().contains("for 27 days or more") && error.remedy().contains("--days N"));
    let title = mallory.title(id).await.unwrap();
    let brief = Names::offerCall {
        id: U256::from_be_bytes(*id.as_bytes()),
        version: title.version,
        amount: Uint::from(420_000_000_000_u64),
        until: Uint::from(bound - 1),
    };
    let names = world.settlement.contracts.names;
    let brief = Call { to: Some(names), data: brief.abi_encode().into(), ..Call::default() };
    refused(mallory.quote(&brief).await.unwrap_err(), "OfferTimeOutOfRange");
    let offer = alice.best_offer(id).await.unwrap().unwrap();
    assert_eq!((offer.buyer, offer.amount, offer.until), (address(2), sesh(400), bound));

    // Nor does whoever made it make it shorter.
    assert!(matches!(bob.offer(id, sesh(420), 7).await, Err(RegistrarError::Brief { .. })));
    // For as many days as it says it takes the place.
    let (call, until) = mallory.offer(id, sesh(420), 27).await.unwrap();
    assert!(until >= bound);
    send(&mut mallory, &call).await;
    assert_eq!((balance(&world, 2).await, balance(&world, 9).await), (MONEY, sesh(580)));
}

#[tokio::test]
async fn whoever_raises_their_own_offer_pays_what_is_more() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut bob = person(&mut world, 2).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    let paid = |call: &Call| call.spends.map_or(Amount::ZERO, |spends| spends.amount);
    let (call, _) = bob.offer(id, sesh(600), 7).await.unwrap();
    assert_eq!(paid(&call), sesh(600));
    send(&mut bob, &call).await;

    // He has 400 left, which is not all of it and enough.
    let (call, _) = bob.offer(id, sesh(900), 7).await.unwrap();
    assert_eq!(paid(&call), sesh(300));
    send(&mut bob, &call).await;
    assert_eq!(balance(&world, 2).await, sesh(100));
    let (call, _) = bob.offer(id, sesh(1_001), 7).await.unwrap();
    let error = bob.quote(&call).await.unwrap_err();
    assert!(error.to_string().ends_with("has 100 SESH and needs 101 SESH: 1 SESH more"), "{error}");

    // Once it binds no more he may offer less, and has the rest back.
    pass(&world, 8 * DAY).await;
    let (call, _) = bob.offer(id, sesh(500), 7).await.unwrap();
    assert_eq!(paid(&call), Amount::ZERO);
    send(&mut bob, &call).await;
    assert_eq!(balance(&world, 2).await, sesh(500));
    let (call, _) = alice.accept(id, Some(sesh(500))).await.unwrap();
    send(&mut alice, &call).await;
    assert_eq!((owner(&world, "alice").await, balance(&world, 1).await), (address(2), sesh(1_490)));
}

/// It pays the contract, which pays the seller: nothing is allowed before, and what is too much comes back.
#[tokio::test]
async fn a_purchase_pays_the_price_as_it_is_by_then() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut bob = person(&mut world, 2).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    let call = alice.sell(id, sesh(100)).await.unwrap();
    send(&mut alice, &call).await;
    let (purchase, _) = bob.buy(id, None).await.unwrap();
    assert_eq!(purchase.to, Some(world.settlement.contracts.token));
    // The price falls while it is on its way.
    let call = alice.sell(id, sesh(90)).await.unwrap();
    send(&mut alice, &call).await;
    send(&mut bob, &purchase).await;
    assert_eq!(owner(&world, "alice").await, address(2));
    assert_eq!((balance(&world, 1).await, balance(&world, 2).await), (sesh(1_080), sesh(910)));
    // And it is made once.
    refused(bob.quote(&purchase).await.unwrap_err(), "VersionChanged");
}
