//! One account at the contracts on a real chain: what it does, and what it is refused.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "what fails here fails a test")]

use std::time::Duration;

use crate::support::{
    PATIENCE, pace,
    proxy::{Fault, Proxy},
    through,
    world::{STAKE, World, pair, registration, send, signed},
};
use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use serde_json::json;
use session_chain::{
    Amount, Candidate, StakeId, account,
    ledger::Refusal,
    network::Settlement,
    settlement::{
        Call, Delivery, Options, Replayed, SendError, StakeError, Staker, Trouble,
        calls::{Contribution, ContributionFactory, Registration, Staking},
        replay,
        staker::{Enrolment, Held, Return},
    },
};
use session_protocols::NetworkName;

const DAY: u64 = 24 * 3_600;

fn network() -> NetworkName {
    "local".parse().unwrap()
}

fn address(seed: u8) -> Address {
    account::signer(&[seed; 16]).address()
}

async fn connect(settlement: &Settlement, seed: u8) -> Result<Staker, StakeError> {
    let delivery = Delivery { poll: Duration::from_millis(5), patience: PATIENCE, confirmations: 1 };
    Staker::connect(settlement, account::signer(&[seed; 16]), delivery).await
}

/// Somebody with ether and tokens.
async fn staker(world: &mut World, seed: u8, tokens: Amount) -> Staker {
    world.chain.sender(&world.anvil, seed).await;
    world.give(address(seed), tokens).await;
    connect(&world.settlement, seed).await.unwrap()
}

fn candidate(settlement: &Settlement, seed: u8) -> Candidate {
    described(settlement, seed, address(seed), 0)
}

/// The node of a seed, for an operator, when its keys were registered so often.
fn described(settlement: &Settlement, seed: u8, operator: Address, registrations: u64) -> Candidate {
    let prefix = format!("127.0.{seed}.0/24").parse().unwrap();
    Candidate::sign(network(), &settlement.domain(), &pair(seed), operator, prefix, registrations)
}

async fn now(settlement: &Settlement, path: Option<&std::path::Path>) -> Replayed {
    behind(settlement, path, None).await
}

/// The ledger of now, and the one of an accepted checkpoint.
async fn behind(settlement: &Settlement, path: Option<&std::path::Path>, accepted: Option<u64>) -> Replayed {
    let options = Options { pace: pace(), ..Options::new(settlement, [1; 32]).unwrap() };
    replay::replay(path, options, accepted, |_| {}).await.unwrap()
}

/// Lets time pass, and all before it be final.
async fn pass(world: &World, seconds: u64) {
    world.chain.ask("evm_increaseTime", json!([seconds])).await;
    world.chain.mine(4, 1).await;
}

#[tokio::test]
async fn what_several_bring_is_open_to_them_and_comes_back() {
    let mut world = World::new().await;
    let node = pair(1).node_id();
    let mut alice = staker(&mut world, 1, STAKE).await;
    let mut bob = staker(&mut world, 2, STAKE).await;
    let carol = address(3);
    let own = candidate(&world.settlement, 1);
    let part = Amount::sesh;

    assert!(matches!(bob.contribute(&node, part(5_000)).await, Err(StakeError::NotOpen { .. })));
    let error = bob.register(&network(), &own, 0, None, &[]).await.unwrap_err();
    assert!(matches!(error, StakeError::NotOperator { .. }), "{error}");
    let error = alice.register(&network(), &own, 10_001, None, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "a fee of 100.01 % is more than all");
    let error = alice.register(&network(), &own, 0, None, &[(carol, STAKE)]).await.unwrap_err();
    assert!(matches!(error, StakeError::Reserved { .. }), "{error}");

    // Somebody else opens a contribution for her node, whose key did not agree: nobody is led to it.
    let mut thief = world.person(9, STAKE, world.settlement.contracts.factory).await;
    let mut stolen = registration(&world.settlement, 9, thief.account());
    stolen.ed25519Key = registration(&world.settlement, 1, thief.account()).ed25519Key;
    let open = ContributionFactory::createCall {
        registration: stolen,
        amount: part(10_000).units(),
        beneficiary: thief.account(),
        reserved: Vec::new(),
    };
    send(&mut thief, world.settlement.contracts.factory, open.abi_encode()).await;
    assert!(matches!(bob.contribute(&node, part(5_000)).await, Err(StakeError::NotOpen { .. })));

    let reserved = [(carol, part(7_000))];
    let (call, enrolment) = alice.register(&network(), &own, 1_000, None, &reserved).await.unwrap();
    assert_eq!(enrolment, Enrolment::Opened { stake: part(18_000), lacks: part(7_000) });
    alice.send(&call, |_| {}).await.unwrap();
    let pooled = bob.contributions(&node).await.unwrap();
    assert_eq!(
        pooled.iter().map(|it| (it.signed, it.operator)).collect::<Vec<_>>(),
        [(true, address(1)), (false, address(9)),]
    );
    assert_eq!((pooled[0].total(), &pooled[0].reserved[..]), (part(18_000), &reserved[..]));
    // All that is open is kept for another.
    let (call, _) = bob.contribute(&node, part(7_000)).await.unwrap();
    refused(bob.quote(&call).await.unwrap_err(), "NoSlot");
    // It ends, and a part of another one comes back after a day.
    let back = alice.withdraw(&node, &now(&world.settlement, None).await).await.unwrap();
    assert_eq!(back.1, Return::All(part(18_000)));
    alice.send(&back.0, |_| {}).await.unwrap();
    assert_eq!(world.balance(address(1)).await, STAKE.units());

    let (call, _) = alice.register(&network(), &own, 1_000, Some(part(10_000)), &[]).await.unwrap();
    alice.send(&call, |_| {}).await.unwrap();
    let (call, _) = bob.contribute(&node, part(5_000)).await.unwrap();
    bob.send(&call, |_| {}).await.unwrap();
    let error = alice.register(&network(), &own, 0, None, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the contribution for node {node} is open and lacks 10000 SESH"));
    assert!(error.passes());
    let replayed = now(&world.settlement, None).await;
    let (call, back) = bob.withdraw(&node, &replayed).await.unwrap();
    assert_eq!(back, Return::Part(part(5_000)));
    refused(bob.quote(&call).await.unwrap_err(), "TooEarly");
    pass(&world, DAY).await;
    bob.send(&call, |_| {}).await.unwrap();
    assert_eq!(world.balance(address(2)).await, STAKE.units());
    assert!(matches!(bob.withdraw(&node, &replayed).await, Err(StakeError::NoStake { .. })));
    // The thief gets back what it put down.
    let mut thief = connect(&world.settlement, 9).await.unwrap();
    let (call, back) = thief.withdraw(&node, &replayed).await.unwrap();
    assert_eq!(back, Return::All(part(10_000)));
    thief.send(&call, |_| {}).await.unwrap();
    assert_eq!(world.balance(address(9)).await, STAKE.units());
}

#[tokio::test]
async fn a_contribution_is_not_buried_under_those_that_others_open_and_cancel() {
    let mut world = World::new().await;
    let node = pair(1).node_id();
    let mut alice = staker(&mut world, 1, STAKE).await;
    let bob = staker(&mut world, 2, STAKE).await;
    let own = candidate(&world.settlement, 1);
    let (call, _) = alice.register(&network(), &own, 1_000, Some(Amount::sesh(10_000)), &[]).await.unwrap();
    alice.send(&call, |_| {}).await.unwrap();
    let at = alice.contributions(&node).await.unwrap()[0].at;
    let factory = world.settlement.contracts.factory;
    let mut thief = world.person(9, STAKE, factory).await;
    let mut stolen = registration(&world.settlement, 9, thief.account());
    stolen.ed25519Key = registration(&world.settlement, 1, thief.account()).ed25519Key;
    // More than are told of.
    for _ in 0..20 {
        let open = ContributionFactory::createCall {
            registration: stolen.clone(),
            amount: Amount::sesh(10_000).units(),
            beneficiary: thief.account(),
            reserved: Vec::new(),
        };
        send(&mut thief, factory, open.abi_encode()).await;
        let opened = bob.contributions_of(thief.account(), &node).await.unwrap()[0].at;
        send(&mut thief, opened, Contribution::cancelCall {}.abi_encode()).await;
    }
    let pooled = bob.contributions(&node).await.unwrap();
    let open: Vec<_> = pooled.iter().filter(|pooled| pooled.is_open()).map(|pooled| pooled.at).collect();
    assert_eq!((open, pooled.len() < 20), (vec![at], true), "those that are over are told of in part");
    assert_eq!(bob.contribute(&node, Amount::sesh(5_000)).await.unwrap().1, at);
    let own = alice.contributions_of(address(1), &node).await.unwrap();
    assert_eq!(own.iter().map(|pooled| pooled.at).collect::<Vec<_>>(), [at]);
}

/// The endpoint is consistent: it names another contract in each log, and answers for it as if it were the real one.
#[tokio::test]
async fn an_endpoint_that_leads_elsewhere_is_found_out_and_nothing_is_permitted() {
    let mut world = World::new().await;
    let node = pair(1).node_id();
    let mut alice = staker(&mut world, 1, STAKE).await;
    let mut thief = staker(&mut world, 9, STAKE).await;
    for (staker, seed) in [(&mut alice, 1), (&mut thief, 9)] {
        let own = candidate(&world.settlement, seed);
        let stake = Some(Amount::sesh(10_000));
        let (call, _) = staker.register(&network(), &own, 1_000, stake, &[]).await.unwrap();
        staker.send(&call, |_| {}).await.unwrap();
    }
    let at = alice.contributions(&node).await.unwrap()[0].at;
    let trap = thief.contributions(&pair(9).node_id()).await.unwrap()[0].at;

    let proxy = Proxy::start(&world.anvil.url()).await;
    let through = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    world.give(address(2), STAKE).await;
    let [bob, alice] = [connect(&through, 2).await.unwrap(), connect(&through, 1).await.unwrap()];
    let amount = Amount::sesh(5_000);
    assert_eq!(bob.contribute(&node, amount).await.unwrap().1, at);
    let hex = |address: Address| format!("{address:x}");
    let word = |number: u32| format!("{number:064x}");
    let (data, fee) = (format!("\"data\":\"0x{}", word(0)), format!("{}{}", &word(0)[..60], "03e8"));
    for (from, to) in [
        // A contract of the thief's own, one of the factory's, and the operator whom that one belongs to.
        (hex(at), hex(Address::repeat_byte(0x66))),
        (hex(at), hex(trap)),
        (hex(address(1)), hex(address(9))),
        // Another number, and what the operator did not declare.
        (data, format!("\"data\":\"0x{}", word(1))),
        (fee, word(1)),
    ] {
        let led = to.clone();
        proxy.set(Fault::Swaps { from, to });
        let error = bob.contribute(&node, amount).await.unwrap_err();
        let StakeError::Forged { endpoint, at: named } = &error else { panic!("{led}: {error}") };
        assert_eq!(endpoint, proxy.name());
        let leads = led == hex(*named);
        assert!(leads || *named == at, "{named}");
        assert!(error.to_string().contains(&named.to_string()) && error.remedy().contains("network file"));
        // Neither does the operator finalise or end what is not its own.
        let own = candidate(&world.settlement, 1);
        let error = alice.register(&network(), &own, 1_000, None, &[]).await.unwrap_err();
        assert!(
            matches!(error, StakeError::Forged { .. } | StakeError::NotOperator { .. }),
            "{led}: {error}"
        );
    }
    proxy.set(Fault::None);
    assert_eq!(bob.contribute(&node, amount).await.unwrap().1, at);
}

#[tokio::test]
async fn what_a_node_signed_for_a_former_operator_is_void_once_another_registered_it() {
    let mut world = World::new().await;
    let (node, staking) = (pair(1).node_id(), world.settlement.contracts.staking);
    let old = candidate(&world.settlement, 1);
    let mut alice = staker(&mut world, 1, STAKE).await;
    let mut bob = staker(&mut world, 2, STAKE).await;
    let times = async |world: &World| Staker::registrations(&world.settlement, &old.bls).await.unwrap();
    assert_eq!(times(&world).await, 0);

    // Alice has the node, then it leaves her, and bob has it.
    let (call, _) = alice.register(&network(), &old, 0, None, &[]).await.unwrap();
    alice.send(&call, |_| {}).await.unwrap();
    assert_eq!(times(&world).await, 1);
    come_out(&world, &mut alice, 1).await;
    let error = alice.register(&network(), &old, 0, None, &[]).await.unwrap_err();
    let spent = |error: &StakeError, wanted: (u64, u64)| match error {
        StakeError::Spent { signed, registered, .. } => (*signed, *registered) == wanted,
        _ => false,
    };
    assert!(spent(&error, (0, 1)) && error.code() == "registration", "{error}");
    assert!(error.to_string().contains("for registration 1 of its keys, and the next is registration 2"));
    assert!(error.remedy().contains("session node init --again"));
    let ahead = described(&world.settlement, 1, address(2), 2);
    let error = bob.register(&network(), &ahead, 0, None, &[]).await.unwrap_err();
    assert!(spent(&error, (2, 1)), "{error}");
    let next = described(&world.settlement, 1, address(2), times(&world).await);
    let (call, _) = bob.register(&network(), &next, 0, None, &[]).await.unwrap();
    bob.send(&call, |_| {}).await.unwrap();
    let (call, _) = alice.register(&network(), &old, 0, None, &[]).await.unwrap();
    refused(alice.quote(&call).await.unwrap_err(), "KeyInUse");
    come_out(&world, &mut bob, 2).await;

    // Whatever alice sends, she blocks nothing and nobody is led to her.
    assert!(spent(&alice.register(&network(), &old, 0, None, &[]).await.unwrap_err(), (0, 2)));
    let mut former = world.person(1, Amount::sesh(1), staking).await;
    let registration = Registration::new(&old, 0).unwrap();
    let replay = Staking::registerCall { registration: registration.clone(), beneficiary: former.account() };
    let call = Call { to: Some(staking), data: replay.abi_encode().into(), ..Call::default() };
    let error = former.quote(&call).await.unwrap_err();
    assert!(
        error.to_string().contains("(BadProofOfPossession") && error.remedy().contains("--again"),
        "{error}"
    );
    let factory = world.settlement.contracts.factory;
    let mut former = world.person(1, Amount::sesh(1), factory).await;
    let (amount, beneficiary) = (Amount::sesh(10_000).units(), former.account());
    let open = ContributionFactory::createCall { registration, amount, beneficiary, reserved: Vec::new() };
    send(&mut former, factory, open.abi_encode()).await;
    let pooled = bob.contributions(&node).await.unwrap();
    assert_eq!(pooled.iter().map(|it| (it.is_open(), it.signed)).collect::<Vec<_>>(), [(true, false)]);
    assert!(matches!(bob.contribute(&node, Amount::sesh(5_000)).await, Err(StakeError::NotOpen { .. })));
    let next = described(&world.settlement, 1, address(2), 2);
    let (call, _) = bob.register(&network(), &next, 0, None, &[]).await.unwrap();
    bob.send(&call, |_| {}).await.unwrap();
    assert!(world.view(staking, Staking::isNodeCall { id: 3 }).await);

    // Who asks how often believes no single one of several.
    let proxy = Proxy::start(&world.anvil.url()).await;
    let mut several = world.settlement.clone();
    several.rpc = vec!["http://127.0.0.1:1/".to_owned(), proxy.url.clone(), world.anvil.url()];
    assert_eq!(Staker::registrations(&several, &old.bls).await.unwrap(), 3);
    proxy.set(Fault::Swaps { from: format!("{:064x}", 3), to: format!("{:064x}", 9) });
    let error = Staker::registrations(&several, &old.bls).await.unwrap_err();
    assert!(matches!(error, StakeError::Apart { first: 9, second: 3, .. }), "{error}");
    several.rpc.truncate(1);
    let error = Staker::registrations(&several, &old.bls).await.unwrap_err();
    assert!(matches!(error, StakeError::Send(SendError::Endpoint { .. })), "{error}");
}

/// Lets a node leave, and takes its stake out.
async fn come_out(world: &World, operator: &mut Staker, id: u64) {
    let of = |data: Vec<u8>| Call {
        to: Some(world.settlement.contracts.staking),
        data: data.into(),
        ..Call::default()
    };
    operator.send(&of(Staking::requestExitCall { id }.abi_encode()), |_| {}).await.unwrap();
    pass(world, 30 * DAY).await;
    operator.send(&of(Staking::escapeCall { id }.abi_encode()), |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_stake_of_one_goes_in_by_permit_and_comes_out_by_the_escape_hatch() {
    let mut world = World::new().await;
    let node = pair(1).node_id();
    let mut alice = staker(&mut world, 1, STAKE).await;
    let own = candidate(&world.settlement, 1);
    let (call, enrolment) = alice.register(&network(), &own, 250, None, &[]).await.unwrap();
    assert_eq!(enrolment, Enrolment::Alone { stake: STAKE });
    let mut poor = connect(&world.settlement, 7).await.unwrap();
    let (of_poor, _) =
        poor.register(&network(), &candidate(&world.settlement, 7), 0, None, &[]).await.unwrap();
    let error = poor.quote(&of_poor).await.unwrap_err();
    assert!(error.to_string().ends_with("has 0 SESH and needs 25000 SESH: 25000 SESH more"), "{error}");
    world.give(address(7), STAKE).await;
    let error = poor.quote(&of_poor).await.unwrap_err();
    assert!(matches!(error, StakeError::Send(SendError::Ether { .. })), "{error}");

    let before = now(&world.settlement, None).await;
    assert!(matches!(alice.exit(&node, &before.ledger).await, Err(StakeError::Unknown { .. })));
    assert!(matches!(alice.claim(address(1), &before).await, Err(StakeError::NoCheckpoint)));
    alice.send(&call, |_| {}).await.unwrap();
    world.chain.mine(4, 1).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let registered = now(&world.settlement, Some(&path)).await;
    assert_eq!(registered.ledger.node(&node).unwrap().fee, 250);
    let again = now(&world.settlement, Some(&path)).await;
    assert_eq!(again.ledger, registered.ledger, "the next one has the same");
    let error = alice.withdraw(&node, &registered).await.unwrap_err();
    assert!(matches!(error, StakeError::Locked { leaving: false, .. }), "{error}");

    let (call, _) = alice.exit(&node, &registered.ledger).await.unwrap();
    alice.send(&call, |_| {}).await.unwrap();
    refused(alice.quote(&call).await.unwrap_err(), "ExitAlreadyRequested");
    let error = alice.withdraw(&node, &registered).await.unwrap_err();
    assert!(matches!(error, StakeError::Locked { leaving: true, .. }), "{error}");
    pass(&world, 30 * DAY).await;
    let (call, back) = alice.withdraw(&node, &registered).await.unwrap();
    assert_eq!(back, Return::Escaped(STAKE));
    alice.send(&call, |_| {}).await.unwrap();
    assert_eq!(world.balance(address(1)).await, STAKE.units());
    // It is paid back, which is not final so far.
    assert!(matches!(alice.withdraw(&node, &registered).await, Err(StakeError::NoStake { .. })));
}

#[tokio::test]
async fn what_the_nodes_refuse_comes_back_to_whose_it_is_whatever_others_put_down_for_the_same_key() {
    let mut world = World::new().await;
    let node = pair(1).node_id();
    // A stranger and then alice put a stake down for a key that signed for neither.
    let staking = world.settlement.contracts.staking;
    for seed in [9, 1] {
        let mut person = world.person(seed, STAKE, staking).await;
        let mut unsigned = registration(&world.settlement, seed, person.account());
        unsigned.ed25519Key = registration(&world.settlement, 1, person.account()).ed25519Key;
        unsigned.signatureR.0[0] ^= 1;
        let beneficiary = person.account();
        let register = Staking::registerCall { registration: unsigned, beneficiary };
        send(&mut person, staking, register.abi_encode()).await;
    }
    world.chain.mine(4, 1).await;
    let replayed = now(&world.settlement, None).await;
    assert!(replayed.ledger.node(&node).is_none());
    let mut alice = connect(&world.settlement, 1).await.unwrap();
    let stranger = connect(&world.settlement, 9).await.unwrap();
    let nobody = connect(&world.settlement, 5).await.unwrap();
    let held = alice.held(&replayed.ledger, |stake| stake.refused.is_some()).await.unwrap();
    let of = |held: &Held| (held.id.0, held.parts[0].0, held.total(), held.refused);
    let why = Some(Refusal::Unsigned);
    assert_eq!(
        held.iter().map(of).collect::<Vec<_>>(),
        [(1, address(9), STAKE, why), (2, address(1), STAKE, why)]
    );

    // No checkpoint says so: each is told why, and has the escape hatch for an own one.
    let error = alice.withdraw(&node, &replayed).await.unwrap_err();
    assert!(matches!(error, StakeError::Unreleased { leaving: false, .. }) && error.passes(), "{error}");
    assert!(error.to_string().contains("did not sign") && error.remedy().contains("session stake exit"));
    assert!(matches!(nobody.exit(&node, &replayed.ledger).await, Err(StakeError::NoStake { .. })));
    assert_eq!(stranger.exit(&node, &replayed.ledger).await.unwrap().1, StakeId(1));
    let (call, id) = alice.exit(&node, &replayed.ledger).await.unwrap();
    assert_eq!(id, StakeId(2));
    alice.send(&call, |_| {}).await.unwrap();
    let error = alice.withdraw(&node, &replayed).await.unwrap_err();
    assert!(matches!(error, StakeError::Unreleased { leaving: true, .. }), "{error}");
    pass(&world, 30 * DAY).await;
    let (call, back) = alice.withdraw(&node, &replayed).await.unwrap();
    assert_eq!(back, Return::Escaped(STAKE));
    alice.send(&call, |_| {}).await.unwrap();
    assert_eq!(world.balance(address(1)).await, STAKE.units());
    assert_eq!(world.balance(address(9)).await, U256::ZERO);
}

#[tokio::test]
async fn a_checkpoint_releases_what_the_nodes_refuse_and_anybody_may_have_it_paid_back() {
    let mut world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let live = world.follow(&dir.path().join("chain.redb"));
    let staking = world.settlement.contracts.staking;
    // Four nodes, as many as a checkpoint takes; alice's key did not sign for her.
    let mut first = None;
    for seed in 1..=5 {
        let mut person = world.person(seed, STAKE, staking).await;
        let beneficiary = person.account();
        let mut registration = registration(&world.settlement, seed, beneficiary);
        registration.signatureR.0[0] ^= u8::from(seed == 5);
        let register = Staking::registerCall { registration, beneficiary };
        send(&mut person, staking, register.abi_encode()).await;
        first.get_or_insert(person);
    }
    let node = pair(5).node_id();
    let nobody = connect(&world.settlement, 9).await.unwrap();
    world.pass(1).await;
    let replayed = behind(&world.settlement, None, nobody.accepted().await.unwrap()).await;
    let error = nobody.withdraw(&node, &replayed).await.unwrap_err();
    assert!(matches!(error, StakeError::Unreleased { leaving: false, .. }), "{error}");

    world.pass(1).await;
    through(&live, &world.chain).await;
    let submit = signed(&live.settled().ledger, &live.to_sign().unwrap(), 5, &[StakeId(5)]);
    send(&mut first.unwrap(), world.settlement.contracts.checkpoints, submit).await;
    let mut nobody = staker(&mut world, 9, Amount::ZERO).await;
    let replayed = behind(&world.settlement, None, nobody.accepted().await.unwrap()).await;
    let (call, back) = nobody.withdraw(&node, &replayed).await.unwrap();
    assert_eq!(back, Return::Released(STAKE));
    nobody.send(&call, |_| {}).await.unwrap();
    assert_eq!(world.balance(address(5)).await, STAKE.units());
    assert_eq!(world.balance(address(9)).await, U256::ZERO);
    // Once.
    assert!(matches!(nobody.withdraw(&node, &replayed).await, Err(StakeError::NoStake { .. })));
    // A node that the others took is not released by the same checkpoint.
    let error = nobody.withdraw(&pair(1).node_id(), &replayed).await.unwrap_err();
    assert!(matches!(error, StakeError::Locked { leaving: false, .. }), "{error}");
}

#[tokio::test]
async fn a_network_file_that_does_not_fit_is_found_at_once() {
    let world = World::new().await;
    let elsewhere = Settlement { chain: 1, ..world.settlement.clone() };
    let error = connect(&elsewhere, 1).await.unwrap_err();
    let wrong = |error: &StakeError| match error {
        StakeError::Send(SendError::Endpoint { trouble, .. }) => {
            *trouble == Trouble::WrongChain { found: 31_337, wanted: 1 }
        }
        _ => false,
    };
    assert!(wrong(&error), "{error}");
    let mut nobody = world.settlement.clone();
    nobody.contracts.checkpoints = address(1);
    let error = connect(&nobody, 1).await.unwrap_err();
    assert!(
        matches!(error, StakeError::Send(SendError::NoContract { at, .. }) if at == address(1)),
        "{error}"
    );
    // Of several endpoints the first that serves the chain is taken.
    let mut settlement = world.settlement.clone();
    settlement.rpc.insert(0, "http://127.0.0.1:1/".to_owned());
    assert!(connect(&settlement, 1).await.is_ok());
}

fn refused(error: StakeError, name: &str) {
    let StakeError::Send(SendError::Refused { refusal }) = &error else { panic!("{error}") };
    assert!(refusal.error.starts_with(name) && refusal.meaning.is_some(), "{error}");
}
