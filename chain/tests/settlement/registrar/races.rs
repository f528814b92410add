//! Programs of one account that register or complete the same at once, and what others learn of it: nothing is paid
//! twice, and whoever comes second hears why.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Two programs of one account send a call each, both into one block. The first is mined first.
async fn at_once(
    world: &World,
    [first, second]: [(&mut Registrar, &Call); 2],
) -> [Result<(), RegistrarError>; 2] {
    let ((one, one_call), (two, two_call)) = (first, second);
    // As of before either is sent.
    let quotes = [one.quote(one_call).await.unwrap(), two.quote(two_call).await.unwrap()];
    world.chain.ask("evm_setAutomine", json!([false])).await;
    let sent = AtomicUsize::new(0);
    let count = |progress: Progress| {
        if matches!(progress, Progress::Sent { .. }) {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    let have_sent = async |programs: usize| {
        while sent.load(Ordering::Relaxed) < programs {
            tokio::task::yield_now().await;
        }
    };
    let (one, two, ()) = tokio::join!(
        async { one.sender().send_at(one_call, &quotes[0], count).await },
        async {
            have_sent(1).await;
            two.sender().send_at(two_call, &quotes[1], count).await
        },
        async {
            have_sent(2).await;
            world.chain.ask("evm_mine", json!([])).await;
        },
    );
    world.chain.ask("evm_setAutomine", json!([true])).await;
    [one, two].map(|sent| sent.map(drop).map_err(RegistrarError::from))
}

/// It was mined, and had no effect.
fn reverted(error: &RegistrarError, name: &str) {
    let RegistrarError::Send(SendError::Reverted { refusal, .. }) = error else { panic!("{error}") };
    assert!(refusal.error.starts_with(name) && refusal.meaning.is_some(), "{error}");
    assert!(!error.remedy().contains("report"), "{}", error.remedy());
}

/// Alice has the name for a year, and two programs of hers are to make two years of it, and let it say something.
struct Completions {
    world: World,
    programs: [Registrar; 2],
    calls: [Call; 2],
    fee: Amount,
    /// What she has before.
    had: Amount,
}

impl Completions {
    const TWO: Period = Period::of_years(2);

    /// Both look at the name before either does anything.
    async fn planned() -> Self {
        let mut world = World::new().await;
        let mut alice = person(&mut world, 1).await;
        take(&world, &mut alice, "alice").await;
        let programs = [alice, connect(&world.settlement, 1, 1).await];
        let (own, says) = (keys("alice"), [text("hello")]);
        let known = known(&world, &own).await;
        let mut planned = Vec::new();
        for program in &programs {
            let lacks = program.title(own.id()).await.unwrap().lacks(Self::TWO);
            assert_eq!(lacks, Some(Period::of_years(1)));
            planned.push(program.complete(&own, lacks, &says, &known).await.unwrap().unwrap());
        }
        let Ok([(one, fee), (two, same)]) = <[_; 2]>::try_from(planned) else { panic!("two") };
        assert_eq!(fee, same);
        let had = balance(&world, 1).await;
        Self { world, programs, calls: [one, two], fee, had }
    }

    /// It is completed, was paid for once, and nothing is left to do for either.
    async fn done(&self) {
        let (own, says) = (keys("alice"), [text("hello")]);
        assert_eq!(self.had.checked_sub(balance(&self.world, 1).await), Some(self.fee));
        let said = known(&self.world, &own).await;
        assert_eq!(own.open(1, Kind::Text, &said.records[&6]).unwrap(), says[0]);
        for program in &self.programs {
            let title = program.title(own.id()).await.unwrap();
            assert!(title.expires.abs_diff(title.now + 2 * YEAR) < DAY, "{title:?}");
            assert_eq!(title.lacks(Self::TWO), None);
            assert!(program.complete(&own, None, &says, &said).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_completion_that_another_program_made_first_is_refused_before_it_is_sent() {
    let mut both = Completions::planned().await;
    let [alice, twin] = &mut both.programs;
    send(alice, &both.calls[0]).await;
    let nonce = twin.sender().nonce().await.unwrap();
    let error = twin.send(&both.calls[1], |_| panic!("nothing is sent")).await.unwrap_err();
    assert!(error.to_string().contains("another transaction of the account used its permission"), "{error}");
    refused(error, "TransferFromFailed");
    assert_eq!(twin.sender().nonce().await.unwrap(), nonce);
    both.done().await;
}

#[tokio::test]
async fn of_two_completions_in_one_block_one_is_paid() {
    let mut both = Completions::planned().await;
    let [alice, twin] = &mut both.programs;
    let [first, second] = at_once(&both.world, [(alice, &both.calls[0]), (twin, &both.calls[1])]).await;
    first.unwrap();
    reverted(&second.unwrap_err(), "TransferFromFailed");
    both.done().await;
}

/// Whoever is told that their nonce is taken does not sign again what may be mined.
#[tokio::test]
async fn of_two_completions_with_one_nonce_one_is_paid() {
    let mut both = Completions::planned().await;
    let [alice, twin] = &mut both.programs;
    let mut signed = Vec::new();
    for (program, call) in [&mut *alice, &mut *twin].into_iter().zip(&both.calls) {
        let quote = program.quote(call).await.unwrap();
        signed.push(program.sender().sign(call, &quote).await.unwrap());
    }
    let Ok([first, second]) = <[_; 2]>::try_from(signed) else { panic!("two") };
    assert_eq!(first.nonce(), second.nonce());
    let lost = second.hash();
    alice.sender().deliver(first, |_| {}).await.unwrap();
    let error = twin.sender().deliver(second, |_| panic!("it is not taken")).await.unwrap_err();
    assert!(matches!(error, SendError::Unmined { hash, .. } if hash == lost), "{error}");
    assert!(error.remedy().contains("look later"), "{}", error.remedy());
    both.done().await;
}

/// With one secret, and with one each as on two devices: both have seen that nobody has the name.
#[tokio::test]
async fn of_two_registrations_in_one_block_one_is_paid() {
    for (secret, refusal) in [(SECRET, "NotCommitted"), ([8; 32], "NameTaken")] {
        let mut world = World::new().await;
        let mut alice = person(&mut world, 1).await;
        let mut twin = connect(&world.settlement, 1, 1).await;
        let (own, other) = (begun("alice"), Reservation { secret, ..begun("alice") });
        reserve(&world, &mut alice, &own).await;
        reserve(&world, &mut twin, &other).await;
        let (first, _) = alice.register(&own, Period::of_years(1), &[]).await.unwrap();
        let (second, _) = twin.register(&other, Period::of_years(1), &[]).await.unwrap();
        let [first, second] = at_once(&world, [(&mut alice, &first), (&mut twin, &second)]).await;
        first.unwrap();
        reverted(&second.unwrap_err(), refusal);
        assert_eq!(balance(&world, 1).await, sesh(990));
        // Which is hers, as each of them hears that looks again.
        for program in [&alice, &twin] {
            let again = program.register(&other, Period::of_years(1), &[]).await;
            assert!(matches!(again, Err(RegistrarError::Yours)));
            assert_eq!(program.title(own.id).await.unwrap().lacks(Period::of_years(1)), None);
        }
    }
}

/// Makes a block once an endpoint was asked so much that whoever asks waits for one.
async fn mine_late(world: &World, proxy: &Proxy) {
    let before = proxy.asked().1;
    while proxy.asked().1 < before + 60 {
        tokio::task::yield_now().await;
    }
    world.chain.ask("evm_mine", json!([])).await;
    world.chain.ask("evm_setAutomine", json!([true])).await;
}

/// The program ends after it wrote the secret down: before its commitment is sent, and while that is in no block.
#[tokio::test]
async fn a_commitment_that_nobody_saw_mined_is_gone_on_with_by_its_secret() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let own = begun("alice");
    assert!(!alice.is_committed(&own).await.unwrap(), "nothing was sent");
    // It waits in the mempool, and whoever waits for it goes.
    world.chain.ask("evm_setAutomine", json!([false])).await;
    let (tell, told) = mpsc::channel();
    let reserved = alice.reserve(&own, U256::MAX, move |step| {
        if matches!(step, Step::Committing(Progress::Sent { .. })) {
            tell.send(()).unwrap();
        }
    });
    tokio::select! {
        biased;
        reserved = reserved => panic!("{reserved:?}"),
        () = async { while told.try_recv().is_err() { tokio::task::yield_now().await } } => {}
    }
    drop(alice);
    let proxy = Proxy::start(&world.anvil.url()).await;
    let through = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    let mut again = connect(&through, 1, 1).await;
    assert!(!again.is_committed(&own).await.unwrap(), "it is in no block");
    again.quote_registration(&own, Period::of_years(1), 0).await.unwrap();
    let nonce = again.sender().nonce().await.unwrap();
    let (spent, ()) = tokio::join!(reserve(&world, &mut again, &own), mine_late(&world, &proxy));
    assert!(spent.is_zero(), "it is not paid for again");
    assert!(again.is_committed(&own).await.unwrap());
    assert_eq!(again.sender().nonce().await.unwrap(), nonce);
    let (call, _) = again.register(&own, Period::of_years(1), &[]).await.unwrap();
    send(&mut again, &call).await;
    assert_eq!((owner(&world, "alice").await, balance(&world, 1).await), (address(1), sesh(990)));
}

/// It serves whom it names, whoever pays for it: nothing is sent, and nobody gives up before it is in a block.
#[tokio::test]
async fn a_commitment_that_somebody_copied_is_waited_for_while_it_is_in_no_block() {
    let mut world = World::new().await;
    person(&mut world, 1).await;
    let mut thief = person(&mut world, 9).await;
    let own = begun("alice");
    let token = U256::from_be_bytes(*own.id.as_bytes());
    let commitment = keccak256((token, address(1), B256::from(SECRET)).abi_encode());
    let copied = Call {
        to: Some(world.settlement.contracts.names),
        data: Names::commitCall { commitment }.abi_encode().into(),
        ..Call::default()
    };
    let proxy = Proxy::start(&world.anvil.url()).await;
    let through = Settlement { rpc: vec![proxy.url.clone()], ..world.settlement.clone() };
    let mut alice = connect(&through, 1, 1).await;
    world.chain.ask("evm_setAutomine", json!([false])).await;
    let (tell, told) = mpsc::channel();
    let copies = thief.send(&copied, move |progress| {
        if matches!(progress, Progress::Sent { .. }) {
            tell.send(()).unwrap();
        }
    });
    let reserves = async {
        while told.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        reserve(&world, &mut alice, &own).await
    };
    let (copied, spent, ()) = tokio::join!(copies, reserves, mine_late(&world, &proxy));
    copied.unwrap();
    assert_eq!((spent, alice.sender().nonce().await.unwrap()), (U256::ZERO, 0));
    let (call, _) = alice.register(&own, Period::of_years(1), &[]).await.unwrap();
    send(&mut alice, &call).await;
    assert_eq!(owner(&world, "alice").await, address(1));
}

/// The registration had no effect, and all that it said is in a block.
#[tokio::test]
async fn a_secret_that_everybody_saw_serves_nobody_else() {
    let mut world = World::new().await;
    let mut alice = person(&mut world, 1).await;
    let mut thief = person(&mut world, 9).await;
    let own = begun("alice");
    reserve(&world, &mut alice, &own).await;
    let (call, _) = alice.register(&own, Period::of_years(1), &[]).await.unwrap();
    let mut quote = alice.quote(&call).await.unwrap();
    quote.gas = 60_000;
    let error = alice.sender().send_at(&call, &quote, |_| {}).await.unwrap_err();
    assert!(matches!(error, SendError::Reverted { .. }), "{error}");
    assert_eq!((owner(&world, "alice").await, balance(&world, 1).await), (Address::ZERO, MONEY));

    // What she committed with is for her alone; with a commitment of his own the thief is too late.
    let (stolen, _) = thief.register(&own, Period::of_years(1), &[]).await.unwrap();
    refused(thief.quote(&stolen).await.unwrap_err(), "NotCommitted");
    let token = U256::from_be_bytes(*own.id.as_bytes());
    let commitment = keccak256((token, address(9), B256::from(SECRET)).abi_encode());
    let commit = Call {
        to: Some(world.settlement.contracts.names),
        data: Names::commitCall { commitment }.abi_encode().into(),
        ..Call::default()
    };
    send(&mut thief, &commit).await;
    refused(thief.quote(&stolen).await.unwrap_err(), "CommitmentTooNew");
    // She goes on with the same secret, and pays once.
    let nonce = alice.sender().nonce().await.unwrap();
    assert!(reserve(&world, &mut alice, &own).await.is_zero());
    let (call, _) = alice.register(&own, Period::of_years(1), &[]).await.unwrap();
    send(&mut alice, &call).await;
    assert_eq!(alice.sender().nonce().await.unwrap(), nonce + 1);
    assert_eq!((owner(&world, "alice").await, balance(&world, 1).await), (address(1), sesh(990)));
    pass(&world, 61).await;
    refused(thief.quote(&stolen).await.unwrap_err(), "NameTaken");
}
