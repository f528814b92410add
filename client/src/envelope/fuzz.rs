//! What the fuzzers run: any bytes as a direct message.

use zeroize::Zeroizing;

use super::{
    Draft, Money, Payment, Sum, Wallet, open,
    seal::{content, seal_content},
};
use crate::account::Account;

const TIME: u64 = 1_700_000_000_000;

/// The bytes that a node hands out, and the content inside a seal and a signature that hold. Tells
/// whether either is a message.
pub fn envelope(bytes: &[u8]) -> bool {
    let (alice, bob) = (Account::new(&[1; 16]), Account::new(&[2; 16]));
    let whole = open(&bob, bytes).is_ok();
    let inside = |from: &Account| {
        let sealed = seal_content(from, &bob.id(), bytes.to_vec(), TIME, Zeroizing::new([3; 32]));
        sealed.is_ok_and(|sealed| open(&bob, &sealed).is_ok())
    };
    // The recipient itself may say more than others.
    let (other, own) = (inside(&alice), inside(&bob));
    whole || other || own
}

/// A payment by somebody with a wallet.
fn paid() -> Draft<'static> {
    let sum = Sum { chain: 31_337, token: Some([8; 20]), units: 5 };
    let payment = Payment { sum, transaction: [9; 32], note: Some("lunch".to_owned()) };
    let wallet = Wallet { address: [6; 20], proof: [7; 65] };
    Draft { text: "hello", money: Some(Money::Payment(payment)), wallet: Some(wallet) }
}

/// Bytes that [`envelope`] takes.
pub fn envelopes() -> Vec<Vec<u8>> {
    let (alice, bob) = (Account::new(&[1; 16]), Account::new(&[2; 16]));
    let contents = [
        content(&"hello".into(), TIME, None),
        content(&"hello".into(), TIME, Some(&alice.id())),
        content(&paid(), TIME, None),
    ];
    let sealed = seal_content(&alice, &bob.id(), contents[0].clone(), TIME, Zeroizing::new([3; 32]));
    contents.into_iter().chain(sealed).collect()
}
