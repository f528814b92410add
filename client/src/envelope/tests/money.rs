//! Golden vectors of what is said of money, made with Python's integers and bytes; and what is refused.

use data_encoding::HEXLOWER as HEX;
use prost::Message;

use super::{TIME, alice, bob, bob_reads, bytes, plain};
use crate::envelope::{
    DirectMessage, Draft, Kind, Money, OpenError, Payment, SealError, Sum, Wallet, money::MAX_NOTE, open,
    seal, seal::content, wire,
};

/// A payment of 5 SESH with a note, and where its sender is paid.
const PAYMENT: &str = "\
    0a700a0f5061696420796f7520352053455348aa065cca3e590a14060606060606060606060606060606060606060612\
    410707070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707\
    0707070707070707070707070707070707077880d095ffbc31ca3e5b080112500a2c08e9f40112140808080808080808\
    0808080808080808080808081a100000000000000000000000012a05f200122009090909090909090909090909090909\
    090909090909090909090909090909092a056c756e6368\
";
/// A request for 1 ETH.
const REQUEST: &str = "\
    0a150a13506c6561736520706179206d652031204554487880d095ffbc31ca3e1c08011a1808e9f40112001a10000000\
    00000000000de0b6b3a7640000\
";
/// The wish to know where somebody is paid.
const WANTED: &str = "\
    0a160a1457686572652063616e20492070617920796f753f7880d095ffbc31ca3e0408012001\
";

fn sesh(units: u128) -> Sum {
    Sum { chain: 31_337, token: Some([8; 20]), units }
}

fn payment() -> Draft<'static> {
    let payment = Payment { sum: sesh(5_000_000_000), transaction: [9; 32], note: Some("lunch".to_owned()) };
    let wallet = Wallet { address: [6; 20], proof: [7; 65] };
    Draft { text: "Paid you 5 SESH", money: Some(Money::Payment(payment)), wallet: Some(wallet) }
}

fn request() -> Draft<'static> {
    let sum = Sum { chain: 31_337, token: None, units: 1_000_000_000_000_000_000 };
    let money = Some(Money::Request { sum, note: None });
    Draft { text: "Please pay me 1 ETH", money, wallet: None }
}

fn wanted() -> Draft<'static> {
    Draft { text: "Where can I pay you?", money: Some(Money::WalletWanted), wallet: None }
}

#[test]
fn what_is_said_of_money_is_written_as_the_vectors_and_read() {
    for (draft, vector) in [(payment(), PAYMENT), (request(), REQUEST), (wanted(), WANTED)] {
        assert_eq!(HEX.encode(&content(&draft, TIME, None)), vector, "{draft:?}");
        let read = bob_reads(&wire::Content::decode(&bytes(vector)[..]).unwrap()).unwrap();
        let kind = Kind::Money(draft.money.clone().unwrap());
        assert_eq!(read, DirectMessage { kind, wallet: draft.wallet, ..plain(draft.text) });
        let sealed = seal(alice(), &bob().id(), draft.clone(), TIME, None).unwrap();
        assert_eq!(open(bob(), &sealed), Ok(read));
    }
}

#[test]
fn a_profile_is_signed_with_any_message() {
    let draft = Draft { wallet: payment().wallet, ..Draft::from("here") };
    let sealed = seal(alice(), &bob().id(), draft.clone(), TIME, None).unwrap();
    assert_eq!(open(bob(), &sealed), Ok(DirectMessage { wallet: draft.wallet, ..plain("here") }));
    let only = Draft { money: Some(Money::Wallet), ..draft };
    let sealed = seal(alice(), &bob().id(), only, TIME, None).unwrap();
    assert_eq!(open(bob(), &sealed).unwrap().kind, Kind::Money(Money::Wallet));
}

#[test]
fn clients_that_do_not_know_money_or_its_version_read_the_text() {
    let mut written = wire::Content::decode(&bytes(PAYMENT)[..]).unwrap();
    written.money.as_mut().unwrap().version = 2;
    let read = bob_reads(&written).unwrap();
    assert_eq!((read.kind, read.text.as_deref()), (Kind::Data, Some("Paid you 5 SESH")));
    written.money = None;
    assert_eq!(bob_reads(&written).unwrap().kind, Kind::Data);
}

#[test]
fn what_could_not_be_paid_is_refused() {
    let spoiled = |spoil: &dyn Fn(&mut wire::Money)| {
        let mut written = wire::Content::decode(&bytes(PAYMENT)[..]).unwrap();
        spoil(written.money.as_mut().unwrap());
        bob_reads(&written).unwrap_err()
    };
    let sum = |money: &mut wire::Money, spoil: &dyn Fn(&mut wire::Sum)| {
        spoil(&mut money.payment.as_mut().unwrap().sum)
    };
    let error = spoiled(&|money| sum(money, &|sum| sum.units.push(0)));
    assert_eq!(
        (error.clone(), error.to_string()),
        (OpenError::Money("amount"), "the amount is none".to_owned())
    );
    assert_eq!(spoiled(&|money| sum(money, &|sum| sum.units.fill(0))), OpenError::Money("amount"));
    assert_eq!(spoiled(&|money| sum(money, &|sum| sum.token.truncate(19))), OpenError::Money("token"));
    let transaction = spoiled(&|money| money.payment.as_mut().unwrap().transaction.clear());
    assert_eq!(transaction, OpenError::Money("transaction"));
    let long = "x".repeat(MAX_NOTE + 1);
    assert_eq!(spoiled(&|money| money.note = Some(long.clone())), OpenError::Money("note"));
    let draft = Draft { money: Some(Money::Request { sum: sesh(1), note: Some(long) }), ..request() };
    let error = seal(alice(), &bob().id(), draft, TIME, None);
    assert_eq!(error, Err(SealError::Note { bytes: MAX_NOTE + 1 }));

    let mut written = wire::Content::decode(&bytes(PAYMENT)[..]).unwrap();
    let profile = written.data.as_mut().unwrap().profile.as_mut().unwrap();
    profile.wallet.as_mut().unwrap().proof.pop();
    assert_eq!(bob_reads(&written), Err(OpenError::Money("proof of a wallet")));
}
