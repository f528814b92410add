//! One account at the contract of names on a real chain: what it does, and what it is refused.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "what fails here fails a test")]

use std::{sync::mpsc, time::Duration};

use crate::support::{
    PATIENCE, pace,
    proxy::{Fault, Proxy},
    through,
    world::{EPOCH, World},
};
use alloy::{
    primitives::{Address, B256, Bytes, U64, U256, keccak256},
    sol_types::{SolCall, SolValue},
};
use serde_json::json;
use session_chain::{
    Amount, account,
    network::Settlement,
    settlement::{
        Call, Delivery, Options, Progress, Registrar, RegistrarError, Replayed, SendError,
        calls::Names,
        registrar::{Known, Period, Reservation, Step, check_free},
        replay,
    },
};
use session_protocols::names::{Cost, Name, NameKeys, Value, value::Kind};

mod offers;

const DAY: u64 = 24 * 3_600;
const YEAR: u64 = 365 * DAY;
/// What people have at first.
const MONEY: Amount = Amount::sesh(1_000);
const SECRET: [u8; 32] = [7; 32];

fn sesh(whole: u64) -> Amount {
    Amount::sesh(whole)
}

fn address(seed: u8) -> Address {
    account::signer(&[seed; 16]).address()
}

fn keys(name: &str) -> NameKeys {
    NameKeys::of(&name.parse().unwrap(), Cost::other(8, 1)).unwrap()
}

fn begun(name: &str) -> Reservation {
    Reservation { id: keys(name).id(), secret: SECRET }
}

fn text(value: &str) -> Value {
    Value::parse(Kind::Text, value).unwrap()
}

fn delivery(confirmations: u64) -> Delivery {
    Delivery { poll: Duration::from_millis(5), patience: PATIENCE, confirmations }
}

async fn connect(settlement: &Settlement, seed: u8, confirmations: u64) -> Registrar {
    Registrar::connect(settlement, account::signer(&[seed; 16]), delivery(confirmations)).await.unwrap()
}

/// Somebody with ether and tokens.
async fn person(world: &mut World, seed: u8) -> Registrar {
    world.chain.sender(&world.anvil, seed).await;
    world.give(address(seed), MONEY).await;
    connect(&world.settlement, seed, 1).await
}

async fn now(world: &World) -> Replayed {
    world.chain.mine(4, 1).await;
    let options = Options { pace: pace(), ..Options::new(&world.settlement, [1; 32]).unwrap() };
    replay::replay(None, options, None, |_| {}).await.unwrap()
}

/// What a name says as of now.
async fn known(world: &World, keys: &NameKeys) -> Known {
    Known::of(keys, &mut now(world).await).unwrap()
}

/// Lets time pass.
async fn pass(world: &World, seconds: u64) {
    world.chain.mine(1, seconds).await;
}

async fn send(registrar: &mut Registrar, call: &Call) {
    registrar.send(call, |_| {}).await.unwrap_or_else(|error| panic!("{error}: {}", error.remedy()));
}

/// Makes way for a registration, while the chain's time goes on.
async fn reserve(world: &World, registrar: &mut Registrar, begun: &Reservation) -> U256 {
    let (tell, told) = mpsc::channel();
    let reserved = registrar.reserve(begun, U256::MAX, |step| {
        if matches!(step, Step::Waiting { .. }) {
            tell.send(()).unwrap();
        }
    });
    let goes_on = async {
        loop {
            while told.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            pass(world, 30).await;
        }
    };
    tokio::select! {
        biased;
        reserved = reserved => reserved.unwrap(),
        () = goes_on => unreachable!("it goes on for ever"),
    }
}

/// Registers a name for a year.
async fn take(world: &World, registrar: &mut Registrar, name: &str) {
    let begun = begun(name);
    reserve(world, registrar, &begun).await;
    let (call, _) = registrar.register(&begun, Period::of_years(1), &[]).await.unwrap();
    send(registrar, &call).await;
}

fn refused(error: RegistrarError, name: &str) {
    let RegistrarError::Send(SendError::Refused { refusal }) = &error else { panic!("{error}") };
    assert!(refusal.error.starts_with(name) && refusal.meaning.is_some(), "{error}");
    assert!(!error.remedy().contains("report"), "{}", error.remedy());
}

async fn balance(world: &World, seed: u8) -> Amount {
    world.balance(address(seed)).await.try_into().unwrap()
}

/// What somebody has of the chain's own coin, in wei.
async fn ether(world: &World, seed: u8) -> U256 {
    let balance = world.chain.ask("eth_getBalance", json!([address(seed), "latest"])).await;
    serde_json::from_value(balance).unwrap()
}

async fn owner(world: &World, name: &str) -> Address {
    let id = U256::from_be_bytes(*keys(name).id().as_bytes());
    world.view(world.settlement.contracts.names, Names::nameOfCall { id }).await.owner
}

#[tokio::test]
async fn a_name_is_registered_with_what_it_says_and_lives_on() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let (own, shop, begun) = (keys("alice"), keys("shop.alice"), begun("alice"));
    let value = text("hello");
    assert!(matches!(alice.title(own.id()).await, Err(RegistrarError::Free)));

    reserve(&world, &mut alice, &begun).await;
    let records = [(&own, &value), (&shop, &value)];
    let (quote, fee) = alice.quote_registration(&begun, Period::of_years(2), records.len()).await.unwrap();
    assert_eq!(fee, sesh(20));
    let (call, fee) = alice.register(&begun, Period::of_years(2), &records).await.unwrap();
    assert_eq!(fee, sesh(20));
    let gas = alice.quote(&call).await.unwrap().gas;
    assert!(gas <= quote.gas, "{gas} of {}", quote.gas);
    let receipt = alice.send(&call, |_| {}).await.unwrap();
    assert_eq!(receipt.inner.logs().iter().filter(|log| log.address() == call.to.unwrap()).count(), 4);
    let title = alice.title(own.id()).await.unwrap();
    assert_eq!((title.owner, title.version), (address(1), 1));
    assert!(title.expires.abs_diff(title.now + 2 * YEAR) < 60);
    assert_eq!(balance(&world, 1).await, sesh(980));
    assert!(matches!(alice.register(&begun, Period::of_years(1), &[]).await, Err(RegistrarError::Yours)));

    // What it says is read by who knows the name, and is not said twice.
    let mut replayed = now(&world).await;
    for keys in [&own, &shop] {
        let known = Known::of(keys, &mut replayed).unwrap();
        assert_eq!(keys.open(known.version, Kind::Text, &known.records[&6]).unwrap(), value);
        assert!(alice.record(keys, Kind::Text, Some(&value), &known).await.unwrap().is_none());
        assert!(alice.record(keys, Kind::Link, None, &known).await.unwrap().is_none());
        // Changed, and changed back before that is final.
        let call = alice.record(keys, Kind::Text, Some(&text("other")), &known).await.unwrap().unwrap();
        send(&mut alice, &call).await;
        let call = alice.record(keys, Kind::Text, Some(&value), &known).await.unwrap().unwrap();
        send(&mut alice, &call).await;
        let call = alice.record(keys, Kind::Text, None, &known).await.unwrap().unwrap();
        send(&mut alice, &call).await;
    }
    let mut replayed = now(&world).await;
    for keys in [&own, &shop] {
        assert!(Known::of(keys, &mut replayed).unwrap().records.is_empty());
    }

    // Any days, rounded up to what can be paid.
    let (call, fee, expires) = alice.renew(own.id(), Period::of_days(73)).await.unwrap();
    assert_eq!((fee, expires), (sesh(2), title.expires + 73 * DAY));
    send(&mut alice, &call).await;
    let (call, fee, expires) = alice.renew(own.id(), Period::of_days(8 * 365 - 73)).await.unwrap();
    assert_eq!((fee, expires), (sesh(78), title.expires + 8 * YEAR));
    // Ten years ahead at most, of whoever pays.
    send(&mut alice, &call).await;
    let (call, ..) = alice.renew(own.id(), Period::of_years(1)).await.unwrap();
    refused(alice.quote(&call).await.unwrap_err(), "PeriodOutOfRange");
    for period in [Period::of_years(11), Period::of_days(27)] {
        assert!(matches!(alice.renew(own.id(), period).await, Err(RegistrarError::Period { .. })));
    }

    let call = alice.reverse(Some(own.id()), None).await.unwrap().unwrap();
    send(&mut alice, &call).await;
    let name: Name = "alice".parse().unwrap();
    let call = alice.reveal(&name, own.id()).await.unwrap();
    send(&mut alice, &call).await;
    let mut replayed = now(&world).await;
    let entry = replayed.names.named(&own.id()).unwrap().unwrap();
    assert_eq!((entry.revealed.as_deref(), entry.expires), (Some("alice"), expires));
    assert!(matches!(check_free(Some(&entry), address(1), 0), Err(RegistrarError::Yours)));

    // It is handed over, not to what cannot have it, and alice can do no more with it.
    assert!(matches!(alice.transfer(own.id(), address(1)).await, Err(RegistrarError::Yours)));
    let call = alice.transfer(own.id(), world.settlement.contracts.pool).await.unwrap();
    refused(alice.quote(&call).await.unwrap_err(), "TransferToNonERC721ReceiverImplementer");
    let call = alice.transfer(own.id(), address(2)).await.unwrap();
    send(&mut alice, &call).await;
    assert_eq!(owner(&world, "alice").await, address(2));
    let error = alice.sell(own.id(), sesh(1)).await.unwrap_err();
    assert!(matches!(error, RegistrarError::NotYours { .. }), "{error}");
    assert!(matches!(alice.reveal(&name, own.id()).await, Err(RegistrarError::NotYours { .. })));
    assert!(matches!(alice.reverse(Some(own.id()), None).await, Err(RegistrarError::NotYours { .. })));
    let known = now(&world).await.names.goes_by(address(1)).unwrap();
    assert!(alice.reverse(None, known).await.unwrap().is_none(), "it counts no more");

    // It expires, and can be renewed by anybody, until it is free.
    pass(&world, 10 * YEAR + 1).await;
    assert!(matches!(alice.buy(own.id(), None).await, Err(RegistrarError::Expired { .. })));
    let (call, ..) = alice.renew(own.id(), Period::of_years(1)).await.unwrap();
    send(&mut alice, &call).await;
    pass(&world, YEAR + 31 * DAY).await;
    assert!(matches!(alice.renew(own.id(), Period::of_years(1)).await, Err(RegistrarError::Free)));
    take(&world, &mut alice, "alice").await;
    assert_eq!(alice.title(own.id()).await.unwrap().version, 3, "what was said before does not count");
}

/// Whoever has a name can have the contract say anything of it.
#[tokio::test]
async fn a_name_that_is_revealed_as_no_text_stops_nobody() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    let reveal = |called: &'static [u8]| {
        let said = (U256::from_be_bytes(*id.as_bytes()), Bytes::from_static(called)).abi_encode_params();
        let data = [&Names::revealCall::SELECTOR[..], &said].concat().into();
        Call { to: Some(world.settlement.contracts.names), data, ..Call::default() }
    };
    let dir = tempfile::TempDir::new().unwrap();
    let follows = world.follow(&dir.path().join("chain.redb"));
    let none = b"\xff";
    for (called, known) in [(&none[..], None), (b"alice", Some("alice")), (none, Some("alice"))] {
        send(&mut alice, &reveal(called)).await;
        let entry = now(&world).await.names.named(&id).unwrap().unwrap();
        assert_eq!(entry.revealed.as_deref(), known);
        through(&follows, &world.chain).await;
        assert_eq!(follows.status().endpoints[0].faults, 0);
    }
}

#[tokio::test]
async fn an_account_goes_by_a_name_that_came_back_once_it_says_so_again() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut bob = person(&mut world, 2).await;
    take(&world, &mut alice, "alice").await;
    let id = keys("alice").id();
    for _ in 0..2 {
        let known = now(&world).await.names.goes_by(address(1)).unwrap();
        assert_eq!(known, None);
        let call = alice.reverse(Some(id), known).await.unwrap().expect("there is something to say");
        send(&mut alice, &call).await;
        let known = now(&world).await.names.goes_by(address(1)).unwrap();
        assert_eq!(known, Some(id));
        assert!(alice.reverse(Some(id), known).await.unwrap().is_none(), "it is said");
        // It leaves, and comes back.
        let call = alice.transfer(id, address(2)).await.unwrap();
        send(&mut alice, &call).await;
        let call = bob.transfer(id, address(1)).await.unwrap();
        send(&mut bob, &call).await;
    }
}

#[tokio::test]
async fn a_registration_that_ended_early_goes_on_and_nobody_else_gains_by_it() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut thief = person(&mut world, 9).await;
    let (id, names) = (keys("alice").id(), world.settlement.contracts.names);
    let own = begun("alice");

    // The thief sees the commitment come, and is first: it serves alice all the same.
    let token = U256::from_be_bytes(*id.as_bytes());
    let commitment = keccak256((token, address(1), B256::from(SECRET)).abi_encode());
    let copied = Call {
        to: Some(names),
        data: Names::commitCall { commitment }.abi_encode().into(),
        ..Call::default()
    };
    send(&mut thief, &copied).await;
    let (call, _) = alice.register(&own, Period::of_years(1), &[]).await.unwrap();
    refused(alice.quote(&call).await.unwrap_err(), "CommitmentTooNew");
    // The program ends here, and another one goes on with what was kept.
    let nonce = alice.sender().nonce().await.unwrap();
    drop(alice);
    let mut alice = connect(&world.settlement, 1, 1).await;
    reserve(&world, &mut alice, &own).await;
    assert_eq!(alice.sender().nonce().await.unwrap(), nonce, "nothing had to be sent");

    // Too late: it is committed to again.
    pass(&world, 3_601).await;
    let (call, _) = alice.register(&own, Period::of_years(1), &[]).await.unwrap();
    refused(alice.quote(&call).await.unwrap_err(), "CommitmentTooOld");
    reserve(&world, &mut alice, &own).await;
    assert_eq!(alice.sender().nonce().await.unwrap(), nonce + 1);

    // What the thief sees of the registration is for alice alone, for as long as she pays: with all that he saw he
    // can neither be first nor use up what she committed to.
    let value = text("hello");
    let records = [(&keys("alice"), &value)];
    let (call, _) = alice.register(&own, Period::of_years(2), &records).await.unwrap();
    for period in [28 * DAY, 2 * YEAR] {
        let period = U256::from(period);
        let stolen = Names::registerCall { id: token, period, secret: SECRET.into(), mostFee: U256::MAX };
        let stolen = Call { to: Some(names), data: stolen.abi_encode().into(), ..Call::default() };
        refused(thief.quote(&stolen).await.unwrap_err(), "NotCommitted");
    }
    let copied_whole = Call { spends: None, ..call.clone() };
    refused(thief.quote(&copied_whole).await.unwrap_err(), "NotCommitted");
    send(&mut alice, &call).await;
    assert_eq!(owner(&world, "alice").await, address(1));
    let title = alice.title(id).await.unwrap();
    assert!(title.expires.abs_diff(title.now + 2 * YEAR) < 60 && title.lacks(Period::of_years(2)).is_none());
    assert_eq!(known(&world, &keys("alice")).await.records.len(), 1, "with what it says");
    // Nor does what alice committed to serve twice.
    send(&mut thief, &copied).await;
    pass(&world, 61).await;
    assert!(matches!(alice.register(&own, Period::of_years(1), &[]).await, Err(RegistrarError::Yours)));
    refused(alice.quote(&call).await.unwrap_err(), "NameTaken");
    assert_eq!(balance(&world, 1).await, sesh(980));

    // Two want the same: whoever comes second hears it, and pays nothing.
    let second = begun("carol");
    reserve(&world, &mut alice, &second).await;
    let (call, _) = alice.register(&second, Period::of_years(1), &[]).await.unwrap();
    take(&world, &mut thief, "carol").await;
    refused(alice.quote(&call).await.unwrap_err(), "NameTaken");
    let error = alice.register(&second, Period::of_years(1), &[]).await.unwrap_err();
    assert!(matches!(error, RegistrarError::Taken { owner, .. } if owner == address(9)), "{error}");
    let mut replayed = now(&world).await;
    let entry = replayed.names.named(&keys("carol").id()).unwrap();
    let error = check_free(entry.as_ref(), address(1), 0).unwrap_err();
    assert!(error.to_string().contains(&address(9).to_string()), "{error}");
    assert_eq!(balance(&world, 1).await, sesh(980));
}

/// Another program of the account was first, with less.
#[tokio::test]
async fn a_name_that_is_registered_for_less_than_was_meant_becomes_what_was_meant() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let (own, begun, ten) = (keys("alice"), begun("alice"), Period::of_years(10));
    reserve(&world, &mut alice, &begun).await;
    let (old, other) = (text("old"), Value::parse(Kind::Link, "https://alice.example").unwrap());
    let (call, _) = alice.register(&begun, Period::of_days(28), &[(&own, &old)]).await.unwrap();
    // As of before it is registered: what the chain told since counts as well.
    let before = known(&world, &own).await;
    send(&mut alice, &call).await;
    assert!(matches!(alice.register(&begun, ten, &[]).await, Err(RegistrarError::Yours)));

    let lacks = alice.title(own.id()).await.unwrap().lacks(ten).unwrap();
    assert_eq!(lacks, Period::of_days(3_650 - 28));
    let says = [text("new"), other];
    let (call, fee) = alice.complete(&own, Some(lacks), &says, &before).await.unwrap().unwrap();
    let had = balance(&world, 1).await;
    send(&mut alice, &call).await;
    assert_eq!(had.checked_sub(balance(&world, 1).await), Some(fee), "what lacks is paid, and no more");
    let title = alice.title(own.id()).await.unwrap();
    assert_eq!((title.owner, title.version, title.lacks(ten)), (address(1), 1, None));
    assert!(title.expires > title.now + 10 * YEAR - 28 * DAY);
    for known in [&before, &known(&world, &own).await] {
        assert!(alice.complete(&own, None, &says, known).await.unwrap().is_none(), "it lacks nothing");
    }

    // Of what it says alone, only what it does not say is set; of two of a kind the last counts.
    let said = known(&world, &own).await;
    let twice = [text("newer"), says[1].clone(), text("new")];
    assert!(alice.complete(&own, None, &twice, &said).await.unwrap().is_none());
    let again = [text("newer"), says[1].clone()];
    let (call, fee) = alice.complete(&own, None, &again, &said).await.unwrap().unwrap();
    assert!(fee.is_zero());
    let receipt = alice.send(&call, |_| {}).await.unwrap();
    assert_eq!(receipt.inner.logs().len(), 1);
    let said = known(&world, &own).await;
    assert_eq!(own.open(1, Kind::Text, &said.records[&6]).unwrap(), again[0]);

    // Nobody else completes it.
    let bob = person(&mut world, 2).await;
    let error = bob.complete(&own, None, &says, &said).await.unwrap_err();
    assert!(matches!(error, RegistrarError::NotYours { .. }), "{error}");
}

#[tokio::test]
async fn a_commitment_costs_no_more_than_was_agreed_to_and_what_it_came_to_is_told() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let begun = begun("alice");
    let before = ether(&world, 1).await;
    for most in [U256::ZERO, U256::from(1_000)] {
        let error = alice.reserve(&begun, most, |_| panic!("nothing is sent")).await.unwrap_err();
        assert!(matches!(error, RegistrarError::Costly { most: it, .. } if it == most), "{error}");
        assert!(!error.remedy().is_empty() && error.to_string().contains("were agreed to"), "{error}");
    }
    assert_eq!(alice.sender().nonce().await.unwrap(), 0);
    // What is told before covers it, and what is left of that is there for the registration.
    let (quote, _) = alice.quote_registration(&begun, Period::of_years(1), 0).await.unwrap();
    assert!(!alice.is_committed(&begun).await.unwrap());
    let spent = reserve(&world, &mut alice, &begun).await;
    assert_eq!(before - ether(&world, 1).await, spent);
    // Before anybody hears which name it is, it is known that the rest suffices.
    assert!(alice.is_committed(&begun).await.unwrap());
    let (left, fee) = alice.quote_committed(Period::of_years(1), 0).await.unwrap();
    assert!(left.most <= quote.most - spent && fee == alice.fee(Period::of_years(1)).await.unwrap());
    let (call, _) = alice.register(&begun, Period::of_years(1), &[]).await.unwrap();
    assert!(alice.quote(&call).await.unwrap().most <= left.most);
    // It is there already, and nothing is paid for it.
    assert!(alice.reserve(&begun, U256::ZERO, |_| {}).await.unwrap().is_zero());
    send(&mut alice, &call).await;
}

#[tokio::test]
async fn fees_that_are_worth_it_go_to_pool_and_treasury() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let (names, pool) = (world.settlement.contracts.names, world.settlement.contracts.pool);
    let treasury = world.view(names, Names::treasuryCall {}).await;
    let mut anyone = world.chain.sender(&world.anvil, 5).await;
    assert_eq!(anyone.release_fees(names, sesh(10)).await.unwrap(), None, "there are none");
    take(&world, &mut alice, "alice").await;
    assert_eq!(anyone.release_fees(names, sesh(11)).await.unwrap(), None, "there are too few");
    assert_eq!(anyone.nonce().await.unwrap(), 0, "nothing was sent");
    let (pool_before, treasury_before) = (world.balance(pool).await, world.balance(treasury).await);
    assert_eq!(anyone.release_fees(names, sesh(10)).await.unwrap(), Some(sesh(10)));
    assert_eq!(world.balance(pool).await - pool_before, sesh(9).units());
    assert_eq!(world.balance(treasury).await - treasury_before, sesh(1).units());
    assert_eq!(world.balance(names).await, U256::ZERO);
    assert_eq!(anyone.release_fees(names, sesh(10)).await.unwrap(), None, "once");
    let error = anyone.release_fees(address(77), sesh(10)).await.unwrap_err();
    assert!(matches!(error, SendError::NoContract { at, .. } if at == address(77)), "{error}");
}

#[tokio::test]
async fn a_commitment_that_the_chain_takes_back_is_made_again() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let begun = begun("alice");
    let (tell, told) = mpsc::channel();
    let reserved = alice.reserve(&begun, U256::MAX, move |step| tell.send(step).unwrap());
    let goes_on = async {
        while !matches!(told.try_recv(), Ok(Step::Waiting { .. })) {
            tokio::task::yield_now().await;
        }
        world.chain.ask("anvil_reorg", json!([1, []])).await;
        loop {
            while !matches!(told.try_recv(), Ok(Step::Waiting { .. })) {
                tokio::task::yield_now().await;
            }
            pass(&world, 30).await;
        }
    };
    tokio::select! {
        biased;
        reserved = reserved => assert!(!reserved.unwrap().is_zero(), "it was paid for"),
        () = goes_on => {}
    }
    let (call, _) = alice.register(&begun, Period::of_years(1), &[]).await.unwrap();
    send(&mut alice, &call).await;
    assert_eq!(owner(&world, "alice").await, address(1));
}

#[tokio::test]
async fn two_programs_that_register_the_same_at_once_do_not_hinder_each_other() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut twin = connect(&world.settlement, 1, 1).await;
    let begun = begun("alice");
    let (tell, told) = mpsc::channel();
    let tell_too = tell.clone();
    let both = async {
        tokio::join!(
            alice.reserve(&begun, U256::MAX, move |step| tell.send(step).unwrap()),
            twin.reserve(&begun, U256::MAX, move |step| tell_too.send(step).unwrap()),
        )
    };
    let goes_on = async {
        loop {
            while !matches!(told.try_recv(), Ok(Step::Waiting { .. })) {
                tokio::task::yield_now().await;
            }
            pass(&world, 10).await;
        }
    };
    let (first, second) = tokio::select! {
        biased;
        both = both => both,
        () = goes_on => unreachable!("it goes on for ever"),
    };
    first.unwrap();
    second.unwrap();
    let (call, _) = alice.register(&begun, Period::of_years(1), &[]).await.unwrap();
    send(&mut alice, &call).await;
    assert!(matches!(twin.register(&begun, Period::of_years(1), &[]).await, Err(RegistrarError::Yours)));
    assert_eq!(balance(&world, 1).await, sesh(990));
}

#[tokio::test]
async fn no_endpoint_hears_of_a_name_before_nobody_else_can_be_in_time() {
    let mut world = World::new().await;
    person(&mut world, 1).await;
    let proxy = Proxy::start(&world.anvil.url()).await;
    let through = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    let mut alice = connect(&through, 1, 1).await;
    let begun = begun("alice");
    alice.quote_registration(&begun, Period::of_years(1), 0).await.unwrap();
    reserve(&world, &mut alice, &begun).await;
    let id = begun.id.to_string();
    assert!(!proxy.heard(&id));
    let (call, _) = alice.register(&begun, Period::of_years(1), &[]).await.unwrap();
    send(&mut alice, &call).await;
    assert!(proxy.heard(&id));
}

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
    send(&mut carol, &call).await;
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
    pass(&world, DAY + 3_601).await;
    assert!(matches!(carol.accept(id, None).await, Err(RegistrarError::NoOffer)));
    let (call, _) = bob.withdraw_offer(id).await.unwrap();
    send(&mut bob, &call).await;
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
    // The commitment, the registration, and a purchase: each is in a block, and nobody said so.
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
    assert!(matches!(bob.buy(id, None).await, Err(RegistrarError::Yours)));
    refused(bob.quote(&call).await.unwrap_err(), "VersionChanged");
    assert_eq!((balance(&world, 1).await, balance(&world, 2).await), (sesh(1_090), sesh(890)));
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
    let count = world.chain.ask("eth_getTransactionCount", json!([address(1), "latest"])).await;
    assert_eq!(count, json!(U64::from(nonce + 2)), "and what waited came after it");

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
