//! The contracts, deployed from their artifacts on a real chain, and the ledger that follows them.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use crate::support::{
    pace, through,
    world::{POOL, STAKE, World, pair, registration, send, signed},
};
use alloy::{
    primitives::{Address, U256},
    sol_types::{SolCall, SolEvent},
};
use session_chain::{
    Amount, State,
    ledger::{StakeId, Standing, checkpoint, snapshot::Beside},
    settlement::{
        Ask, Begun, Call, LiveLedger, Options, SendError, Sender, Source, Spending,
        calls::{self, Checkpoints, Contribution, ContributionFactory, Registration, RewardPool, Staking},
        sync::Kept,
    },
};

#[tokio::test]
async fn stakes_rewards_and_exits_go_through_the_contracts_and_every_token_is_accounted_for() {
    let mut world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let live = world.follow(&dir.path().join("chain.redb"));
    let contracts = world.settlement.contracts;
    let (staking, checkpoints) = (contracts.staking, contracts.checkpoints);

    // Three nodes of one staker each.
    let mut operators = Vec::new();
    for seed in 1..=3 {
        let mut operator = world.person(seed, STAKE, staking).await;
        let (declared, beneficiary) =
            (registration(&world.settlement, seed, operator.account()), operator.account());
        let register = Staking::registerCall { registration: declared, beneficiary }.abi_encode();
        send(&mut operator, staking, register).await;
        operators.push(operator);
    }
    // One of two, whose rewards go elsewhere.
    let mut fourth = world.person(4, STAKE, contracts.factory).await;
    let create = ContributionFactory::createCall {
        registration: registration(&world.settlement, 4, fourth.account()),
        amount: Amount::sesh(10_000).units(),
        beneficiary: fourth.account(),
        reserved: Vec::new(),
    };
    let call = Call { to: Some(contracts.factory), data: create.abi_encode().into(), ..Call::default() };
    let receipt = fourth.send(&call, |_| {}).await.unwrap();
    let created = receipt.logs().iter().find_map(|log| {
        ContributionFactory::Created::decode_log(&log.inner).ok().map(|created| created.data.contribution)
    });
    let contribution = created.unwrap();
    let mut contributor = world.person(5, Amount::sesh(20_000), contribution).await;
    let purse = Address::repeat_byte(0x77);
    let contribute =
        Contribution::contributeCall { amount: Amount::sesh(15_000).units(), beneficiary: purse }
            .abi_encode();
    send(&mut contributor, contribution, contribute).await;
    send(&mut fourth, contribution, Contribution::finaliseCall {}.abi_encode()).await;
    // One whose key did not sign: for another operator.
    let mut thief = world.person(6, STAKE, staking).await;
    let mut stolen = registration(&world.settlement, 6, thief.account());
    stolen.ed25519Key = registration(&world.settlement, 1, thief.account()).ed25519Key;
    let register = Staking::registerCall { registration: stolen, beneficiary: thief.account() }.abi_encode();
    send(&mut thief, staking, register).await;

    world.pass(1).await;
    world.pass(1).await;
    world.pass(1).await;
    through(&live, &world.chain).await;
    let ledger = live.settled().ledger;
    assert_eq!((ledger.nodes().len(), ledger.stakes().len()), (4, 5));
    assert!(ledger.nodes().all(|(_, member)| member.state == State::Active));
    assert_eq!(ledger.map().swarms.len(), 1);
    let of_two = ledger.node(&pair(4).node_id()).unwrap();
    assert_eq!(of_two.shares[1].beneficiary, purse);
    assert!(ledger.standings().any(|it| it == (StakeId(5), Standing::Refused, 0)));

    // What the nodes sign is what the contract hashes; four of five are enough.
    let (checkpoint, border) = (live.to_sign().unwrap(), live.settled());
    let content = calls::Checkpoint::from(&*checkpoint);
    let hashed = world.view(checkpoints, Checkpoints::digestCall { checkpoint: content }).await;
    assert_eq!(hashed, checkpoint.digest);
    let submit = signed(&ledger, &checkpoint, 6, &[StakeId(5)]);
    send(&mut operators[0], checkpoints, submit).await;

    // Whom the nodes refused is paid back in full, by anybody.
    let refused = checkpoint::state_leaf(StakeId(5), Standing::Refused, 0);
    let proof = ledger.states_tree().proof(refused).unwrap();
    let release = Staking::releaseCall { id: 5, state: 5, penaltyBps: 0, proof }.abi_encode();
    send(&mut operators[1], staking, release).await;
    assert_eq!(world.balance(thief.account()).await, STAKE.units());

    // What the submission released is divided at the next border, and claimed with one transaction.
    world.pass(1).await;
    through(&live, &world.chain).await;
    let ledger = live.settled().ledger;
    let released = ledger.rewards().released();
    assert_eq!(world.view(contracts.pool, RewardPool::releasedCall {}).await.to::<u128>(), released.0);
    assert_eq!(ledger.accepted(), Some((checkpoint.border.epoch, checkpoint.digest)));

    // Whoever begins with what it stands for comes to where this ledger is.
    let kept = Kept { beside: Beside::of(&checkpoint), ledger: border.behind, names: border.names };
    let (ask, mut asks) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(Ask { request, answer, .. }) = asks.recv().await {
            answer.send(kept.answer(&request).unwrap()).unwrap();
        }
    });
    let source = Some(Source { peers: 1, ask });
    let options = Options { pace: pace(), source, ..Options::new(&world.settlement, [1; 32]).unwrap() };
    let other = LiveLedger::start(&dir.path().join("other.redb"), options).unwrap();
    through(&other, &world.chain).await;
    assert_eq!(other.status().begun, Begun::Checkpoint { epoch: checkpoint.border.epoch });
    assert_eq!(other.settled().ledger, live.settled().ledger);
    other.stop().await;
    let checkpoint = live.to_sign().unwrap();
    send(&mut operators[1], checkpoints, signed(&ledger, &checkpoint, 6, &[])).await;
    let total = ledger.rewards().total(&operators[0].account());
    assert!(total > ledger.rewards().total(&operators[1].account()), "it submitted the first checkpoint");
    let tree = checkpoint::rewards_tree(ledger.rewards().totals());
    let proof = tree.proof(checkpoint::reward_leaf(operators[0].account(), total)).unwrap();
    let claim = Checkpoints::claimCall { lifetimeTotal: total.units(), proof, to: purse };
    send(&mut operators[0], checkpoints, claim.abi_encode()).await;
    assert_eq!(world.balance(purse).await, total.units());
    let call = Call { to: Some(checkpoints), data: claim.abi_encode().into(), ..Call::default() };
    let again = operators[0].send(&call, |_| {}).await.unwrap_err();
    assert!(again.to_string().contains("SESH are claimed (NothingToClaim"), "{again}");
    assert!(again.remedy().contains("more rewards"));

    // The node of two leaves; its stake goes back to both.
    send(&mut contributor, staking, Staking::requestExitCall { id: 4 }.abi_encode()).await;
    for _ in 0..4 {
        world.pass(1).await;
    }
    through(&live, &world.chain).await;
    let ledger = live.settled().ledger;
    assert!(ledger.standings().any(|it| it == (StakeId(4), Standing::Released, 0)), "{ledger:?}");
    let checkpoint = live.to_sign().unwrap();
    send(&mut operators[2], checkpoints, signed(&ledger, &checkpoint, 6, &[])).await;
    let proof =
        ledger.states_tree().proof(checkpoint::state_leaf(StakeId(4), Standing::Released, 0)).unwrap();
    let release = Staking::releaseCall { id: 4, state: 4, penaltyBps: 0, proof }.abi_encode();
    send(&mut operators[2], staking, release).await;
    world.pass(1).await;
    through(&live, &world.chain).await;
    assert_eq!((live.settled().ledger.nodes().len(), live.settled().ledger.stakes().len()), (3, 3));
    assert_eq!(world.balance(contributor.account()).await, Amount::sesh(20_000).units());
    assert_eq!(world.balance(fourth.account()).await, STAKE.units());

    // Every token is somewhere: in purses, in the stakes of three nodes, in the pool, and with what is not claimed.
    let released = world.view(contracts.pool, RewardPool::releasedCall {}).await.to::<u128>();
    assert_eq!(world.balance(staking).await, (STAKE.units()) * U256::from(3));
    assert_eq!(world.balance(checkpoints).await, U256::from(released - total.0));
    assert_eq!(world.balance(contracts.pool).await, POOL.units() - U256::from(released));
    let mut holders = vec![world.deployer.account(), staking, checkpoints, contracts.pool, purse];
    holders.extend(operators.iter().chain([&fourth, &contributor, &thief]).map(Sender::account));
    let mut sum = U256::ZERO;
    for holder in holders {
        sum += world.balance(holder).await;
    }
    assert_eq!(sum, Amount::sesh(240_000_000).units());

    // A node that begins now has the same ledger.
    let late = world.follow(&dir.path().join("late.redb"));
    through(&late, &world.chain).await;
    assert_eq!(late.settled().ledger.to_bytes(), live.settled().ledger.to_bytes());
    assert_eq!(late.to_sign(), live.to_sign());
}

#[tokio::test]
async fn refusals_of_the_contracts_say_what_lacks_and_what_to_do() {
    let mut world = World::new().await;
    let contracts = world.settlement.contracts;
    let staking = contracts.staking;
    let mut operator = world.person(1, Amount::sesh(24_000), staking).await;
    let account = operator.account();
    let register = |registration: Registration| Call {
        to: Some(staking),
        data: Staking::registerCall { registration, beneficiary: account }.abi_encode().into(),
        spends: Some(Spending { token: contracts.token, spender: staking, amount: STAKE }),
        ..Call::default()
    };
    let good = registration(&world.settlement, 1, account);
    let error = operator.quote(&register(good.clone())).await.unwrap_err();
    let text = format!("account {account} has 24000 SESH and needs 25000 SESH: 1000 SESH more");
    assert_eq!(error.to_string(), text);
    world.give(account, Amount::sesh(1_000)).await;

    let mut refused = async |registration: Registration, said: &str, remedy: &str| {
        let error = operator.quote(&register(registration)).await.unwrap_err();
        assert!(matches!(error, SendError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.remedy().contains(remedy), "{error}: {}", error.remedy());
    };
    let of_another = registration(&world.settlement, 1, Address::repeat_byte(9));
    refused(of_another, "(BadProofOfPossession", "session node init").await;
    let greedy = Registration { fee: 10_001, ..good.clone() };
    refused(greedy, "a fee of 100.01 % is more than all (FeeOutOfRange", "0 to 100 %").await;
    let nowhere = Registration { prefix: [5; 7].into(), ..good.clone() };
    refused(nowhere, "neither an IPv4 /24 nor an IPv6 /48", "session node init").await;

    let quote = operator.quote(&register(good.clone())).await.unwrap();
    assert!(quote.likely < quote.most && quote.gas > 400_000, "{quote:?}");
    let receipt = operator.send(&register(good.clone()), |_| {}).await.unwrap();
    assert!(receipt.gas_used <= quote.gas);
    let spent = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price);
    assert!(spent <= quote.most, "{spent} of {quote}");
    world.give(account, STAKE).await;
    let error = operator.quote(&register(good)).await.unwrap_err();
    assert!(error.to_string().contains("node 1 holds this BLS key (KeyInUse"), "{error}");
}
