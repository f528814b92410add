//! Contracts that are put on a real chain, once, however often that was interrupted; and a node whose operator signs
//! elsewhere.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "what fails here fails a test")]

use core::{num::NonZeroU64, time::Duration};

use crate::support::{
    Anvil, Chain,
    proxy::{Fault, Proxy},
    world::{STAKE, World, pair},
};
use alloy::primitives::{Address, U256};
use session_chain::{
    Candidate, account,
    settlement::{
        Call, Delivery, Endpoint, SendError, Sender, Staker,
        deploy::{CONTRACTS, Origin, Terms, deploy_from, deploy_vault_from},
    },
};

#[tokio::test]
async fn a_deployment_goes_on_where_it_was_interrupted() {
    let anvil = Anvil::start(&["--slots-in-an-epoch", "1"]);
    let chain = Chain::connect(&anvil).await;
    let (mut sender, looks) = (chain.sender(&anvil, 0).await, chain.sender(&anvil, 0).await);
    let (epoch, me) = (NonZeroU64::new(60).unwrap(), sender.account());
    let terms = Terms::local(chain.began, epoch, STAKE, me);
    let origin = Origin::now(&sender).await.unwrap();
    let some = async {
        while looks.nonce().await.unwrap() < origin.nonce + 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = deploy_from(&mut sender, &terms, origin) => panic!("it was to be interrupted"),
        () = some => {}
    }
    let before = looks.nonce().await.unwrap();
    assert!(before < origin.nonce + CONTRACTS);
    let deployed = deploy_from(&mut sender, &terms, origin).await.unwrap();
    assert_eq!(sender.nonce().await.unwrap(), origin.nonce + CONTRACTS, "each was paid for once");
    assert_eq!(deploy_from(&mut sender, &terms, origin).await.unwrap(), deployed);
    let (settlement, nonce) = (&deployed.settlement, origin.nonce + CONTRACTS);
    let vault = deploy_vault_from(&mut sender, settlement, me, nonce).await.unwrap();
    assert_eq!(deploy_vault_from(&mut sender, settlement, me, nonce).await.unwrap(), vault);
    assert_eq!(sender.nonce().await.unwrap(), nonce + 1);
    let supply = sender.tokens_of(settlement.contracts.token, me).await.unwrap();
    assert!(supply > U256::ZERO && sender.has_code(vault).await.unwrap());

    // Where another transaction of the account came in between, what is there is of no use, once that is final.
    let origin = Origin::now(&sender).await.unwrap();
    let other = Call { to: Some(Address::repeat_byte(1)), value: U256::from(1), ..Call::default() };
    sender.send(&other, |_| {}).await.unwrap();
    let error = deploy_from(&mut sender, &terms, origin).await.unwrap_err();
    assert!(matches!(error, SendError::Behind { nonce, .. } if nonce == origin.nonce), "{error}");
    chain.mine(4, 1).await;
    let error = deploy_from(&mut sender, &terms, origin).await.unwrap_err();
    assert!(matches!(error, SendError::Contended { .. }), "{error}");
    assert_eq!(sender.ether_of(Address::repeat_byte(1)).await.unwrap(), U256::from(1));
}

#[tokio::test]
async fn an_endpoint_that_is_behind_for_a_moment_throws_no_deployment_away() {
    let anvil = Anvil::start(&["--slots-in-an-epoch", "1"]);
    let chain = Chain::connect(&anvil).await;
    let mut sender = chain.sender(&anvil, 0).await;
    let terms = Terms::local(chain.began, NonZeroU64::new(60).unwrap(), STAKE, sender.account());
    let before = Origin::now(&sender).await.unwrap();
    let deployed = deploy_from(&mut sender, &terms, before).await.unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    let delivery =
        Delivery { poll: Duration::from_millis(5), patience: crate::support::PATIENCE, confirmations: 1 };
    let endpoint = Endpoint::new(&proxy.url).unwrap();
    let mut behind =
        Sender::new(&endpoint, account::signer(&[0; account::SEED]), chain.followed.chain, delivery);

    // It does not show what is there.
    proxy.set(Fault::Lags(2));
    assert_eq!(deploy_from(&mut behind, &terms, before).await.unwrap(), deployed);
    let next = before.nonce + CONTRACTS;
    assert_eq!(sender.nonce().await.unwrap(), next, "nothing was paid again");

    // Nor what was sent last.
    let origin = Origin::now(&sender).await.unwrap();
    proxy.set(Fault::Lags(10));
    deploy_from(&mut behind, &terms, origin).await.unwrap();
    assert_eq!(sender.nonce().await.unwrap(), next + CONTRACTS, "each was paid for once");

    // One that stays behind is named, and nothing is thought to be lost.
    proxy.set(Fault::Lags(u64::MAX));
    chain.mine(4, 1).await;
    let error = deploy_from(&mut behind, &terms, before).await.unwrap_err();
    assert!(matches!(error, SendError::Behind { .. }), "{error}");
    assert_eq!((error.code(), sender.nonce().await.unwrap()), ("chain", next + CONTRACTS));
}

#[tokio::test]
async fn what_an_operator_signs_elsewhere_registers_its_node() {
    let mut world = World::new().await;
    // Whoever asks has nothing, and another account pays.
    let nobody = account::signer(&[0; account::SEED]);
    let staker = Staker::connect(&world.settlement, nobody, Delivery::default()).await.unwrap();
    let mut operator = world.person(7, STAKE, Address::repeat_byte(1)).await;
    let (network, domain) = ("local".parse().unwrap(), world.settlement.domain());
    let prefix = "127.0.7.0/24".parse().unwrap();
    let sign = |times| {
        Candidate::sign("local".parse().unwrap(), &domain, &pair(7), operator.account(), prefix, times)
    };
    let (candidate, late) = (sign(0), sign(1));
    let bls = candidate.bls;
    assert!(staker.elsewhere(&network, &late).await.is_err(), "it was registered less often");
    let [approve, register] = staker.elsewhere(&network, &candidate).await.unwrap();
    assert_eq!(
        (approve.to, register.to),
        (Some(world.settlement.contracts.token), Some(world.settlement.contracts.staking))
    );
    for call in [approve, register] {
        operator.send(&call, |_| {}).await.unwrap();
    }
    assert!(staker.holds(&bls).await.unwrap());
}
