//! Stakes that a faucet lends, on a real chain: at work for whom they are lent to, and back in the vault.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "what fails here fails a test")]

use std::{collections::BTreeSet, time::Duration};

use crate::support::{
    PATIENCE, pace, through,
    world::{STAKE, World, pair, send, signed},
};
use alloy::{
    primitives::{Address, U256, hex},
    sol_types::SolCall,
};
use serde_json::json;
use session_chain::{
    Amount, Candidate, StakeId, State, account,
    network::Settlement,
    settlement::{
        Call, Delivery, Options, Replayed, SendError, StakeError, Staker, Vault, VaultError, calls,
        deploy::deploy_vault, replay, staker::Return, vault::Loan,
    },
};
use session_protocols::{NetworkName, NodeId};

const FAUCET: u8 = 20;
const PUBLISHER: u8 = 21;
const DAY: u64 = 24 * 3_600;

fn network() -> NetworkName {
    "local".parse().unwrap()
}

fn address(seed: u8) -> Address {
    account::signer(&[seed; 16]).address()
}

fn node(seed: u8) -> NodeId {
    pair(seed).node_id()
}

fn delivery() -> Delivery {
    Delivery { poll: Duration::from_millis(5), patience: PATIENCE, confirmations: 1 }
}

/// The contracts, and a vault of the publisher's with so many stakes, as the faucet.
async fn world(stakes: u64) -> (World, Vault) {
    let mut world = World::new().await;
    let mut publisher = world.chain.sender(&world.anvil, PUBLISHER).await;
    let vault = deploy_vault(&mut publisher, &world.settlement, address(FAUCET)).await.unwrap();
    world.settlement.vault = Some(vault);
    world.give(vault, Amount(STAKE.0 * u128::from(stakes))).await;
    world.chain.sender(&world.anvil, FAUCET).await;
    let faucet = connect(&world.settlement, FAUCET).await.unwrap();
    (world, faucet)
}

async fn connect(settlement: &Settlement, seed: u8) -> Result<Vault, VaultError> {
    Vault::connect(settlement, account::signer(&[seed; 16]), delivery()).await
}

/// Somebody with ether and no tokens.
async fn staker(world: &World, seed: u8) -> Staker {
    world.chain.sender(&world.anvil, seed).await;
    Staker::connect(&world.settlement, account::signer(&[seed; 16]), delivery()).await.unwrap()
}

/// What the keys of a node say, for an operator, when they were registered so often.
fn described(settlement: &Settlement, seed: u8, operator: Address, registrations: u64) -> Candidate {
    let prefix = format!("127.0.{seed}.0/24").parse().unwrap();
    Candidate::sign(network(), &settlement.domain(), &pair(seed), operator, prefix, registrations)
}

/// Lends a node its stake, whose keys were registered so often. Returns where the loan is.
async fn lend(world: &World, faucet: &mut Vault, seed: u8, operator: Address, registrations: u64) -> Address {
    let loan = faucet.loan_for(operator, &node(seed)).await.unwrap();
    let asked = calls::Vault::loanForCall { operator, ed25519Key: (*node(seed).as_bytes()).into() };
    let told = world.view(faucet.at(), asked).await;
    assert_eq!(loan, told, "computed as the vault does");
    let candidate = described(&world.settlement, seed, loan, registrations);
    let (call, stake) = faucet.lend(&network(), &candidate, operator).await.unwrap();
    assert_eq!(stake, STAKE);
    faucet.send(&call, |_| {}).await.unwrap();
    loan
}

/// The ledger of now, and the one of the last checkpoint.
async fn now(world: &World, staker: &Staker) -> Replayed {
    let options = Options { pace: pace(), ..Options::new(&world.settlement, [1; 32]).unwrap() };
    let accepted = staker.accepted().await.unwrap();
    replay::replay(None, options, accepted, |_| {}).await.unwrap()
}

#[tokio::test]
async fn a_lent_node_serves_its_operator_is_rewarded_and_the_stake_comes_back() {
    let (world, mut faucet) = world(4).await;
    let dir = tempfile::tempdir().unwrap();
    let live = world.follow(&dir.path().join("chain.redb"));
    let mut alice = staker(&world, 1).await;
    // Alice has two of four nodes.
    let mut loans = Vec::new();
    for (seed, operator) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
        loans.push(lend(&world, &mut faucet, seed, address(operator), 0).await);
    }
    assert_eq!(faucet.unlent().await.unwrap(), Amount::ZERO);
    let all = faucet.all_loans().await.unwrap();
    let first = Loan { at: loans[0], operator: address(1) };
    assert_eq!((all.len(), all.get(&StakeId(1))), (4, Some(&first)));
    assert_eq!(faucet.standing(&mut BTreeSet::new()).await.unwrap(), (4, 4), "all of them are lent");

    for _ in 0..3 {
        world.pass(1).await;
    }
    through(&live, &world.chain).await;
    let ledger = live.settled().ledger;
    assert!(ledger.nodes().all(|(_, member)| member.state == State::Active));
    for (seed, loan) in (1..).zip(&loans) {
        let member = ledger.node(&node(seed)).unwrap();
        assert_eq!(member.operator.to_string(), format!("{loan:#x}"), "an operator of its own");
    }
    assert_eq!(alice.loans(&ledger).await.unwrap(), all);

    // She is paid for both, and no loan is.
    send(
        faucet.sender(),
        world.settlement.contracts.checkpoints,
        signed(&ledger, &live.to_sign().unwrap(), 4, &[]),
    )
    .await;
    world.pass(1).await;
    through(&live, &world.chain).await;
    let rewards = live.settled().ledger;
    let earned = [1, 2].map(|seed| rewards.rewards().total(&address(seed)).0);
    assert!(earned[1] > 0 && earned[0] >= 2 * earned[1], "{earned:?}");
    assert!(loans.iter().all(|loan| rewards.rewards().total(loan).is_zero()));

    // Her first leaves by its loan, and the stake goes to that, then to the vault; the second stays.
    let replayed = now(&world, &alice).await;
    let (call, id) = alice.exit(&node(1), &replayed.ledger).await.unwrap();
    assert_eq!((call.to, id), (Some(loans[0]), StakeId(1)));
    let error = alice.withdraw(&node(1), &replayed).await.unwrap_err();
    assert!(matches!(error, StakeError::Locked { leaving: false, .. }), "{error}");
    alice.send(&call, |_| {}).await.unwrap();
    for _ in 0..4 {
        world.pass(1).await;
    }
    through(&live, &world.chain).await;
    let ledger = live.settled().ledger;
    let submit = signed(&ledger, &live.to_sign().unwrap(), 4, &[]);
    send(faucet.sender(), world.settlement.contracts.checkpoints, submit).await;
    let replayed = now(&world, &alice).await;
    // Whoever brings stakes back need not wait for her either, and finds no other.
    let stranger = staker(&world, 9).await;
    let ids: BTreeSet<StakeId> = all.keys().copied().collect();
    let free = stranger.free(&ids, &replayed).await.unwrap();
    let (call, back) = alice.withdraw(&node(1), &replayed).await.unwrap();
    assert_eq!(back, Return::ToLoan(STAKE));
    let found: Vec<_> = free.iter().map(|(id, call)| (*id, call.to, &call.data)).collect();
    assert_eq!(found, [(StakeId(1), call.to, &call.data)]);
    let error = faucet.give_back(loans[0]).await.unwrap_err();
    assert!(matches!(error, VaultError::NothingBack { .. }) && error.passes(), "{error}");
    alice.send(&call, |_| {}).await.unwrap();
    assert_eq!(world.balance(loans[0]).await, STAKE.units());
    assert!(stranger.free(&ids, &replayed).await.unwrap().is_empty(), "it was paid back");
    // Whoever has nothing to do with it is not led to it.
    let error = stranger.withdraw(&node(1), &replayed).await.unwrap_err();
    assert!(matches!(error, StakeError::NoStake { .. }), "{error}");
    let (call, back) = alice.withdraw(&node(1), &replayed).await.unwrap();
    assert_eq!((call.to, back), (Some(loans[0]), Return::GivenBack(STAKE)));
    alice.send(&call, |_| {}).await.unwrap();
    assert_eq!(faucet.unlent().await.unwrap(), STAKE);
    assert_eq!(world.balance(address(1)).await, U256::ZERO, "it was never hers");
    let error = alice.withdraw(&node(1), &replayed).await.unwrap_err();
    assert!(matches!(error, StakeError::NoStake { .. }), "{error}");
    world.pass(1).await;
    through(&live, &world.chain).await;
    let left: Vec<_> = live.settled().ledger.nodes().map(|(id, _)| *id).collect();
    assert!(left.len() == 3 && left.contains(&node(2)), "{left:?}");

    // What is lent for the node again is another loan, which the vault's owner may end as she may.
    let second = lend(&world, &mut faucet, 1, address(1), 1).await;
    assert!(second != loans[0]);
    for at in [loans[0], second] {
        assert_eq!(faucet.operator_of_loan(at).await.unwrap(), Some(address(1)));
    }
    for none in [address(1), world.settlement.contracts.staking, faucet.at()] {
        assert_eq!(faucet.operator_of_loan(none).await.unwrap(), None);
    }
    world.pass(1).await;
    through(&live, &world.chain).await;
    let (call, id) = alice.exit(&node(1), &live.settled().ledger).await.unwrap();
    assert_eq!((call.to, id), (Some(second), StakeId(5)));
    let call = faucet.request_exit(second);
    let error = faucet.quote(&call).await.unwrap_err();
    assert!(error.to_string().contains("is not the operator (NotOperator"), "{error}");
    let mut publisher = connect(&world.settlement, PUBLISHER).await.unwrap();
    publisher.send(&call, |_| {}).await.unwrap();
    let error = alice.quote(&call).await.unwrap_err();
    assert!(error.to_string().contains("(ExitAlreadyRequested"), "{error}");
}

#[tokio::test]
async fn a_loan_obeys_its_operator_and_comes_back_by_the_escape_hatch() {
    let (world, mut faucet) = world(1).await;
    let mut alice = staker(&world, 1).await;
    let first = lend(&world, &mut faucet, 1, address(1), 0).await;
    world.chain.mine(4, 1).await;
    let replayed = now(&world, &alice).await;
    // Bob has nothing to do with it.
    let mut bob = staker(&world, 2).await;
    let (call, _) = bob.exit(&node(1), &replayed.ledger).await.unwrap();
    let error = bob.quote(&call).await.unwrap_err();
    assert!(error.to_string().contains("holds no share of node 1 (NotAContributor"), "{error}");
    let through_loan = faucet.request_exit(first);
    let error = bob.quote(&through_loan).await.unwrap_err();
    assert!(error.to_string().contains("is not the operator (NotOperator"), "{error}");

    let (call, _) = alice.exit(&node(1), &replayed.ledger).await.unwrap();
    alice.send(&call, |_| {}).await.unwrap();
    let ids: BTreeSet<StakeId> = [StakeId(1)].into();
    assert!(bob.free(&ids, &replayed).await.unwrap().is_empty(), "it is locked");
    world.chain.ask("evm_increaseTime", json!([30 * DAY])).await;
    world.chain.mine(1, 1).await;
    let free = bob.free(&ids, &replayed).await.unwrap();
    let (call, back) = alice.withdraw(&node(1), &replayed).await.unwrap();
    assert_eq!(back, Return::ToLoan(STAKE), "by the escape hatch");
    assert_eq!(
        free.iter().map(|(id, call)| (*id, &call.data)).collect::<Vec<_>>(),
        [(StakeId(1), &call.data)]
    );
    alice.send(&call, |_| {}).await.unwrap();
    // The faucet need not wait for her.
    let (call, amount) = faucet.give_back(first).await.unwrap();
    assert_eq!(amount, STAKE);
    faucet.send(&call, |_| {}).await.unwrap();
    assert_eq!(faucet.unlent().await.unwrap(), STAKE);
}

#[tokio::test]
async fn who_may_not_lend_and_what_is_not_to_be_lent_is_told_with_what_to_do() {
    let (mut world, mut faucet) = world(1).await;
    let none = Settlement { vault: None, ..world.settlement.clone() };
    let error = connect(&none, 1).await.unwrap_err();
    assert!(matches!(error, VaultError::None) && error.code() == "no_faucet", "{error}");
    let mut elsewhere = world.settlement.clone();
    elsewhere.contracts.staking = address(1);
    let error = connect(&elsewhere, 1).await.unwrap_err();
    assert!(matches!(error, VaultError::Elsewhere { .. }), "{error}");
    let nothing = Settlement { vault: Some(address(1)), ..world.settlement.clone() };
    let error = connect(&nothing, 1).await.unwrap_err();
    assert!(
        matches!(error, VaultError::Send(SendError::NoContract { at, .. }) if at == address(1)),
        "{error}"
    );

    let (alice, network) = (address(1), network());
    let loan = faucet.loan_for(alice, &node(1)).await.unwrap();
    let candidate = described(&world.settlement, 1, loan, 0);
    let for_another = faucet.lend(&network, &candidate, address(2)).await.unwrap_err();
    assert!(matches!(for_another, VaultError::OtherLoan { signed, .. } if signed == loan), "{for_another}");
    assert!(for_another.remedy().contains("session node init --again"));
    let error = faucet.lend(&"main".parse().unwrap(), &candidate, alice).await.unwrap_err();
    assert!(matches!(error, VaultError::Candidate(_)), "{error}");
    world.chain.sender(&world.anvil, 1).await;
    let mut other = connect(&world.settlement, 1).await.unwrap();
    assert_eq!(other.loan_for(alice, &node(1)).await.unwrap(), loan, "anybody may ask");
    let error = other.lend(&network, &candidate, alice).await.unwrap_err();
    assert!(matches!(error, VaultError::NotLender { .. }) && error.code() == "not_lender", "{error}");
    let (call, _) = faucet.lend(&network, &candidate, alice).await.unwrap();
    let not_lender = format!("{} does not lend from the vault", address(1));
    refused(other.quote(&call).await.unwrap_err(), &not_lender);

    // Signed for a later registration than the next.
    let late = described(&world.settlement, 1, loan, 1);
    let (of_late, _) = faucet.lend(&network, &late, alice).await.unwrap();
    refused(faucet.quote(&of_late).await.unwrap_err(), "the node's BLS key did not sign this registration");

    let mut publisher = connect(&world.settlement, PUBLISHER).await.unwrap();
    let most = Amount(STAKE.0 + 1);
    assert!(matches!(publisher.withdraw(most).await.unwrap_err(), VaultError::Empty { .. }));
    let out = publisher.withdraw(Amount(1)).await.unwrap();
    // Whoever has the faucet's key takes nothing out.
    let error = faucet.withdraw(Amount(1)).await.unwrap_err();
    let its = address(PUBLISHER);
    assert!(matches!(error, VaultError::NotOwner { owner, .. } if owner == its), "{error}");
    refused(faucet.quote(&out).await.unwrap_err(), "only the vault's owner says who lends");
    publisher.send(&out, |_| {}).await.unwrap();
    assert_eq!(world.balance(address(PUBLISHER)).await, U256::from(1));
    let error = faucet.lend(&network, &candidate, alice).await.unwrap_err();
    assert_eq!(error.to_string(), "the vault has 24999.999999999 SESH left, and 25000 SESH are needed");
    assert!(error.passes() && error.code() == "faucet_empty");
    let error = faucet.quote(&call).await.unwrap_err();
    refused(error, "the vault has 24999.999999999 SESH and 25000 SESH are needed");
    world.give(faucet.at(), Amount(1)).await;
    faucet.send(&call, |_| {}).await.unwrap();
    // Once.
    let again = Call { to: call.to, data: call.data.clone(), ..Call::default() };
    refused(faucet.quote(&again).await.unwrap_err(), "the vault has 0 SESH");
    world.give(faucet.at(), STAKE).await;
    refused(faucet.quote(&again).await.unwrap_err(), "node 1 holds this BLS key");
}

#[tokio::test]
async fn the_owner_names_who_lends() {
    let (world, mut faucet) = world(1).await;
    let mut publisher = connect(&world.settlement, PUBLISHER).await.unwrap();
    assert_eq!(publisher.owner().await.unwrap(), address(PUBLISHER));
    assert_eq!(publisher.lender().await.unwrap(), address(FAUCET));
    let error = faucet.set_lender(address(1)).await.unwrap_err();
    assert!(matches!(error, VaultError::NotOwner { .. }) && error.code() == "not_owner", "{error}");
    world.chain.sender(&world.anvil, 1).await;
    let mut next = connect(&world.settlement, 1).await.unwrap();
    let call = publisher.set_lender(next.account()).await.unwrap();
    refused(faucet.quote(&call).await.unwrap_err(), "only the vault's owner says who lends");
    publisher.send(&call, |_| {}).await.unwrap();

    let loan = next.loan_for(address(2), &node(1)).await.unwrap();
    let candidate = described(&world.settlement, 1, loan, 0);
    let error = faucet.lend(&network(), &candidate, address(2)).await.unwrap_err();
    assert!(matches!(error, VaultError::NotLender { lender, .. } if lender == address(1)), "{error}");
    lend(&world, &mut next, 1, address(2), 0).await;
    assert_eq!(next.unlent().await.unwrap(), Amount::ZERO);
}

/// A vault that knows its owner alone is named, and an endpoint that refuses everything is not taken for one.
#[tokio::test]
async fn a_vault_whose_owner_lends_is_told_apart() {
    let (world, faucet) = world(1).await;
    let mut settlement = world.settlement.clone();
    let at = address(77);
    settlement.vault = Some(at);
    // It answers each question with the staking contract's address, but who lends: there it reverts.
    let code = [
        &hex!("60003560e01c63")[..],
        &calls::Vault::lenderCall::SELECTOR,
        &hex!("14602c5773"),
        settlement.contracts.staking.as_slice(),
        &hex!("60005260206000f35b60006000fd"),
    ]
    .concat();
    world.chain.ask("anvil_setCode", json!([at, hex::encode_prefixed(code)])).await;
    let old = connect(&settlement, FAUCET).await.unwrap();
    let error = old.lender().await.unwrap_err();
    assert!(matches!(error, VaultError::OneRole { at: told } if told == at), "{error}");
    assert!(error.code() == "old_vault" && error.remedy().contains("session network publish"), "{error}");
    // Where every question reverts it is that.
    world.chain.ask("anvil_setCode", json!([faucet.at(), "0x60006000fd"])).await;
    let error = faucet.lender().await.unwrap_err();
    assert!(matches!(error, VaultError::Send(SendError::Refused { .. })), "{error}");
}

fn refused(error: VaultError, said: &str) {
    let VaultError::Send(SendError::Refused { refusal }) = &error else { panic!("{error}") };
    assert!(refusal.meaning.as_ref().is_some_and(|meaning| meaning.starts_with(said)), "{error}");
    assert!(!error.remedy().is_empty());
}
