//! Claims that nobody can check, many of them, and one of nothing.

use core::num::NonZeroU64;

use session_chain::network::Contracts;
use session_client::Account;

use super::*;

const TOKEN: Address = Address::repeat_byte(1);

/// A chain of which nobody tells anything.
pub(crate) fn silent() -> Settlement {
    let at = Address::repeat_byte;
    let contracts = Contracts {
        token: TOKEN,
        pool: at(2),
        staking: at(3),
        factory: at(4),
        checkpoints: at(5),
        names: at(6),
    };
    Settlement {
        chain: 7,
        rpc: Vec::new(),
        start: 0,
        genesis: 0,
        epoch: NonZeroU64::MIN,
        lock: 0,
        trust: 0,
        written: 0,
        contracts,
        vault: None,
    }
}

/// Somebody says that they paid, in this transaction.
pub(crate) fn claim(sender: &Account, number: u8) -> InboxItem {
    let signer = chain_account::signer(sender.seed());
    let wallet = envelope::Wallet {
        address: signer.address().into_array(),
        proof: chain_account::prove(&signer, &sender.id()).unwrap(),
    };
    let sum = envelope::Sum { chain: 7, token: Some(TOKEN.into_array()), units: 5 };
    let payment = envelope::Payment { sum, transaction: [number; 32], note: None };
    let content = DirectMessage {
        from: sender.id(),
        timestamp_ms: number.into(),
        sync_target: None,
        kind: Kind::Money(Money::Payment(payment)),
        text: None,
        display_name: None,
        wallet: Some(wallet),
        attachments: Vec::new(),
        previews: Vec::new(),
        quote: None,
        reaction: None,
    };
    InboxItem {
        hash: MessageHash([number; 32]),
        timestamp_ms: number.into(),
        expiry_ms: 1_000,
        content: Ok(content),
    }
}

#[tokio::test]
async fn of_many_forged_payments_the_newest_are_asked_about_and_all_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let (me, mallory) = (Account::new(&[1; 16]), Account::new(&[2; 16]));
    home.create_account("me", &me).unwrap();
    let items: Vec<InboxItem> = (1..=200).map(|number| claim(&mallory, number)).collect();
    let mut cashier = Cashier::new(&home, "me", me.id(), Some(silent())).unwrap();
    let paid = Paid { message: MessageHash([3; 32]), height: 9 };
    home.keep_paid(&me.id(), &[3; 32], paid).unwrap();
    let said = said(&mut cashier, &items).await.unwrap();
    assert_eq!(said.len(), items.len());
    let of = |number: u8| match &said[&MessageHash([number; 32])] {
        Said::Payment { state, why, .. } => (*state, why.clone().unwrap_or_default()),
        Said::Request { .. } | Said::AddressWanted | Said::Address { .. } => panic!("another deed"),
    };
    assert_eq!(of(3), (State::Verified, String::new()));
    for number in (1..=200).filter(|number| *number != 3) {
        let (state, why) = of(number);
        let told = if number > 200 - 32 { "it could not be checked" } else { claims::NOT_CHECKED };
        assert!(state == State::Claimed && why.starts_with(told), "{number}: {why}");
    }
    // What could not be found out is not held against them: others are asked about first, and that is all.
    let kept = home.claims(&me.id()).unwrap();
    assert_eq!((kept.unfounded.len(), kept.received.len()), (32, 0));
    assert!(kept.unfounded.values().all(|it| it.asked_ms > 0 && it.again_ms <= it.asked_ms));
    // Whose turn did not come is not told of for good.
    assert_eq!(cashier.unchecked().len(), 200 - 1 - 32);
    assert!(cashier.unchecked().contains(&MessageHash([1; 32])));
    // Where the sender is paid was said two hundred times, and counts once.
    assert!(home.paid_at(&mallory.id()).unwrap().is_some());
}

#[tokio::test]
async fn what_is_asked_for_in_another_coin_is_shown_with_no_command_that_pays_one_of_these() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let (me, mallory) = (Account::new(&[1; 16]), Account::new(&[2; 16]));
    home.create_account("me", &me).unwrap();
    let mut cashier = Cashier::new(&home, "me", me.id(), Some(silent())).unwrap();
    let own = envelope::Sum { chain: 7, token: Some(TOKEN.into_array()), units: 5_000_000_000 };
    for (sum, head, command) in [
        (own, "[asks for 5 SESH]", Some("session wallet send 5 mallory")),
        (envelope::Sum { token: None, ..own }, "[asks for 0.000000005 ETH]", Some(" mallory --native")),
        (envelope::Sum { token: Some([9; 20]), ..own }, "units of something else]", None),
        (envelope::Sum { chain: 8, ..own }, "units of something else]", None),
        (envelope::Sum { chain: 8, token: None, ..own }, "units of something else]", None),
    ] {
        let mut item = claim(&mallory, 1);
        if let Ok(message) = &mut item.content {
            message.kind = Kind::Money(Money::Request { sum, note: Some("lunch".to_owned()) });
        }
        let said = said(&mut cashier, &[item]).await.unwrap();
        let request = &said[&MessageHash([1; 32])];
        let (shown, body) = (request.head(), request.body("mallory"));
        assert!(shown.ends_with(head), "{shown}");
        assert!(body.starts_with("lunch\n"), "{body}");
        match command {
            Some(command) => assert!(body.ends_with(command), "{body}"),
            None => assert!(!body.contains("session "), "{body}"),
        }
    }
}

#[tokio::test]
async fn who_forges_many_payments_keeps_nobody_elses_from_being_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let [me, mallory, bob, carol] = [1, 2, 3, 4].map(|number| Account::new(&[number; 16]));
    home.create_account("me", &me).unwrap();
    home.add_contact("carol", carol.id(), None).unwrap();
    // Theirs came first, and Mallory's after them.
    let theirs = [claim(&bob, 1), claim(&bob, 2), claim(&carol, 3)];
    let items: Vec<InboxItem> =
        theirs.into_iter().chain((4..=200).map(|number| claim(&mallory, number))).collect();
    let mut cashier = Cashier::new(&home, "me", me.id(), Some(silent())).unwrap();
    said(&mut cashier, &items).await.unwrap();
    let asked = home.claims(&me.id()).unwrap().unfounded;
    assert_eq!(asked.len(), 32, "all that are asked about at once");
    for number in 1..=3 {
        let message = MessageHash([number; 32]);
        assert!(asked.contains_key(&message) && !cashier.unchecked().contains(&message), "{number}");
    }
}

#[tokio::test]
async fn who_claims_to_have_paid_nothing_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let (me, mallory) = (Account::new(&[1; 16]), Account::new(&[2; 16]));
    home.create_account("me", &me).unwrap();
    let mut item = claim(&mallory, 1);
    if let Ok(DirectMessage { kind: Kind::Money(Money::Payment(payment)), .. }) = &mut item.content {
        payment.sum.units = 0;
    }
    let mut cashier = Cashier::new(&home, "me", me.id(), Some(silent())).unwrap();
    let said = said(&mut cashier, &[item]).await.unwrap();
    let Some(Said::Payment { state, why, .. }) = said.get(&MessageHash([1; 32])) else {
        panic!("another deed")
    };
    assert_eq!((*state, why.as_deref()), (State::Claimed, Some("it is of nothing")));
    assert!(cashier.unchecked().is_empty());
}
