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
        registrar::{Held, Known, Period, Reservation, Step, check_free},
        replay,
        wallet::{Payment, Standing, Sum, payment},
    },
};
use session_protocols::names::{Cost, Name, NameKeys, Value, value::Kind};

mod mishaps;
mod offers;
mod races;
mod trade;

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
    assert!(matches!(check_free(Some(&entry), address(1), expires - 1), Err(RegistrarError::Yours)));
    // Who has it can renew it for thirty days; then it is anybody's.
    for later in [0, 30 * DAY - 1] {
        let error = check_free(Some(&entry), address(1), expires + later).unwrap_err();
        assert!(matches!(error, RegistrarError::Expired { since } if since == expires), "{error}");
        assert!(error.remedy().contains("session name renew NAME"));
        let error = check_free(Some(&entry), address(2), expires + later).unwrap_err();
        assert!(matches!(error, RegistrarError::Taken { free_at, .. } if free_at == expires + 30 * DAY));
    }
    assert!(check_free(Some(&entry), address(1), expires + 30 * DAY).is_ok());

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
