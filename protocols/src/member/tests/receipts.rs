//! How a client counts, and what does not count.

use super::*;
use crate::{MessageHash, Signature, answer::Done};

const KEEPS: Done = Done::Keeps { expiry: 77 };

fn subject() -> Subject {
    Subject::Message {
        account: Person::new(0).account,
        namespace: Namespace::INBOX,
        hash: MessageHash([1; 32]),
    }
}

fn receipt(number: u8) -> Receipt {
    Receipt::sign(&node(number), &network(), 3, &subject(), KEEPS)
}

fn count(signed: Vec<Receipt>) -> usize {
    durable(&network(), &nodes(5), &subject(), &Receipts { map_version: 3, signed, missing: vec![] })
}

#[test]
fn distinct_members_count() {
    assert_eq!(count(vec![]), 0);
    assert_eq!(count(vec![receipt(0), receipt(1), receipt(4)]), 3);
}

#[test]
fn nobody_counts_twice() {
    assert_eq!(count(vec![receipt(0); 5]), 1);
    // Not even for saying something else each time.
    let other = Receipt::sign(&node(0), &network(), 3, &subject(), Done::Keeps { expiry: 78 });
    assert_eq!(count(vec![receipt(0), other]), 1);
}

#[test]
fn strangers_do_not_count() {
    assert_eq!(count(vec![receipt(5), receipt(6), receipt(0)]), 1);
}

#[test]
fn one_member_cannot_sign_for_another() {
    let forged = Receipt { node: node(1).node_id(), ..receipt(0) };
    assert_eq!(count(vec![forged, receipt(0)]), 1);
}

#[test]
fn a_forged_receipt_does_not_hide_the_true_one() {
    let forged = Receipt { signature: Signature([0; 64]), ..receipt(0) };
    assert_eq!(count(vec![forged.clone(), receipt(0), forged]), 1);
}

#[test]
fn a_signature_holds_for_what_was_signed_alone() {
    let pair = node(0);
    let Subject::Message { account, namespace, hash } = subject() else { panic!("a message") };
    let sign = |network: &str, version, subject: &Subject| {
        Receipt::sign(&pair, &network.parse().unwrap(), version, subject, KEEPS)
    };
    for (what, signed) in [
        ("another map", sign("test", 2, &subject())),
        ("another network", sign("test2", 3, &subject())),
        (
            "another account",
            sign("test", 3, &Subject::Message { account: Person::new(1).account, namespace, hash }),
        ),
        ("another drawer", sign("test", 3, &Subject::Message { account, namespace: Namespace(10), hash })),
        (
            "another hash",
            sign("test", 3, &Subject::Message { account, namespace, hash: MessageHash([2; 32]) }),
        ),
        ("a request", sign("test", 3, &Subject::Request { account, digest: hash.0 })),
        ("another end", Receipt { done: Done::Keeps { expiry: 78 }, ..receipt(0) }),
        ("another deed", Receipt { done: Done::Changed { hashes: vec![] }, ..receipt(0) }),
    ] {
        assert_eq!(count(vec![signed]), 0, "{what}");
    }
}

#[test]
fn receipts_of_another_map_do_not_count_under_this_one() {
    let old: Vec<_> =
        (0..5).map(|number| Receipt::sign(&node(number), &network(), 2, &subject(), KEEPS)).collect();
    assert_eq!(count(old.clone()), 0);
    // Whoever says so openly is caught by comparing the versions.
    let receipts = Receipts { map_version: 2, signed: old, missing: vec![] };
    assert_eq!(durable(&network(), &nodes(5), &subject(), &receipts), 5);
}
