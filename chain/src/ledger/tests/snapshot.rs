//! A ledger that is put away and taken up again.

use super::{
    super::snapshot::{Beside, SnapshotError},
    *,
};
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

#[test]
fn a_ledger_is_believed_by_its_checkpoint_and_goes_on_as_it_would_have() {
    let mut chain = Chain::new(full());
    let checkpoint = chain.border();
    let beside = Beside::of(&checkpoint);
    let bytes = chain.ledger.to_bytes();
    let (again, made) = Ledger::behind(parameters(), &bytes, &beside, checkpoint.digest).unwrap();
    assert_eq!((&again, &made), (&chain.ledger, &checkpoint));
    let mut other = Chain::new(again);
    for chain in [&mut chain, &mut other] {
        chain.block(vec![
            register(60),
            Input::Accept { epoch: 2, submitter: account(7), digest: made.digest },
        ]);
    }
    assert_eq!(chain.border(), other.border());
}

#[test]
fn nothing_else_is_believed_by_that_checkpoint() {
    let mut chain = Chain::new(full());
    let checkpoint = chain.border();
    let (beside, digest) = (Beside::of(&checkpoint), checkpoint.digest);
    let bytes = chain.ledger.to_bytes();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(Ledger::behind(parameters(), &flipped, &beside, digest).is_err(), "byte {at}");
    }
    let word = B256::repeat_byte(1);
    let cursors = Cursors { pool: Cursor { number: 1, hash: word }, ..beside.cursors };
    let others = [
        Beside { epoch: beside.epoch + 1, ..beside },
        Beside { block: word, ..beside },
        Beside { previous: word, ..beside },
        Beside { names: word, ..beside },
        Beside { cursors, ..beside },
    ];
    for other in others {
        let refused = Ledger::behind(parameters(), &bytes, &other, digest);
        assert_eq!(refused, Err(SnapshotError::Other), "{other:?}");
    }
    // One that has gone on is not the one behind the border.
    chain.block(vec![register(60)]);
    let later = Ledger::behind(parameters(), &chain.ledger.to_bytes(), &beside, digest);
    assert_eq!(later, Err(SnapshotError::Other));
}

/// The bytes are on the disks of nodes: a change needs a new version.
#[test]
fn the_format_is_the_same_for_all_builds() {
    let digest = data_encoding::HEXLOWER.encode(&blake2b(&[&full().to_bytes()]));
    assert_eq!(digest, "8c4ae8055dc26f2991e28873cab8475f51e941e206c9b7e67112cff32c7c22ef");
}
