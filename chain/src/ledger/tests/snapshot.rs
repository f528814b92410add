//! A ledger that is put away and taken up again.

use super::{super::snapshot::SnapshotError, *};
use session_protocols::codec::DecodeError;

/// One with something in every field.
fn full() -> Ledger {
    let mut chain = Chain::new(started(12));
    chain.block(vec![register(50), register(51), Input::Register(Box::new(registration(9, 3)))]);
    let mut unsigned = registration(10, 52);
    unsigned.fee = 1;
    unsigned.signature.0[0] ^= 1;
    chain.block(vec![Input::Register(Box::new(unsigned))]);
    chain.border();
    chain.block(vec![
        Input::ChangeCredit { credit: Amount(5) },
        Input::ChangeMinimumNodes { nodes: 9 },
        Input::Release { amount: Amount(u128::from(u64::MAX) + 7) },
        Input::Accept { epoch: 0, submitter: account(5), digest: B256::repeat_byte(3) },
    ]);
    chain.border();
    chain.block(vec![
        Input::Accept { epoch: 1, submitter: account(6), digest: B256::repeat_byte(4) },
        Input::RequestExit { id: StakeId(1_050), unlocks: 77 },
        Input::Decommission { node: node(4) },
        Input::Deregister { node: node(51), penalty: 9 },
        Input::Remove { id: StakeId(1_051) },
    ]);
    chain.ledger
}

#[test]
fn what_was_put_away_goes_on_as_if_nothing_had_been() {
    let ledger = full();
    let again = Ledger::from_bytes(parameters(), &ledger.to_bytes()).unwrap();
    assert_eq!(again, ledger);
    assert_eq!((again.minimum_nodes(), started(1).minimum_nodes()), (9, MINIMUM_NODES));
    let refused = [9, 10].map(|id| ledger.stakes[&StakeId(id)].refused);
    assert_eq!(refused, [Some(Refusal::Registered), Some(Refusal::Unsigned)]);
    let [mut one, mut other] = [ledger, again].map(Chain::new);
    assert_eq!(one.border(), other.border());
    assert_eq!(one.ledger.to_bytes(), other.ledger.to_bytes());
}

#[test]
fn what_is_none_is_refused() {
    let bytes = full().to_bytes();
    for len in 0..bytes.len() {
        let cut = Ledger::from_bytes(parameters(), &bytes[..len]);
        assert!(matches!(cut, Err(SnapshotError::Decode(DecodeError::Truncated))), "{len}: {cut:?}");
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        // Another ledger or none, and no panic.
        assert!(Ledger::from_bytes(parameters(), &flipped).ok() != Some(full()), "byte {at}");
    }
    let newer = session_protocols::codec::encode(&std::collections::BTreeMap::from([(
        "version",
        super::super::snapshot::VERSION + 1,
    )]));
    assert!(Ledger::from_bytes(parameters(), &newer).is_err());
}

/// The bytes are on the disks of nodes: a change needs a new version.
#[test]
fn the_format_is_the_same_for_all_builds() {
    let digest = data_encoding::HEXLOWER.encode(&blake2b(&[&full().to_bytes()]));
    assert_eq!(digest, "238cdfcf66faa8f01c7f25a3704d0f58079d34f168c7df92ad84a92aa9a03106");
}
