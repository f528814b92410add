use std::collections::BTreeSet;

use super::*;
use crate::{
    names::{Index, tables::Memory},
    network::Contracts,
};

fn followed() -> Followed {
    let [staking, checkpoints, pool, token, factory, names] = [1, 2, 3, 4, 5, 6].map(Address::repeat_byte);
    let contracts = Contracts { staking, checkpoints, pool, token, factory, names };
    Followed { chain: 31_337, start: 5, contracts }
}

fn log(address: Address, event: &impl SolEvent) -> Log {
    let (hash, time) = (B256::repeat_byte(7), Some(9));
    Log { address, data: event.encode_log_data(), height: 8, hash, time, index: 0, removed: false }
}

fn released(number: u64, amount: u64) -> Log {
    log(followed().contracts.pool, &events::Released { number, amount: U256::from(amount) })
}

fn registered() -> events::Registered {
    let share = |byte| events::Share {
        contributor: Address::repeat_byte(byte),
        beneficiary: Address::repeat_byte(byte + 1),
        amount: U256::from(byte),
    };
    events::Registered {
        number: 1,
        id: 4,
        operator: Address::repeat_byte(0x20),
        ed25519Key: [1; 32].into(),
        signatureR: [2; 32].into(),
        signatureS: [3; 32].into(),
        prefix: [4, 127, 0, 1, 0, 0, 0].into(),
        fee: 500,
        blsKey: [5; 96].into(),
        shares: vec![share(0x20), share(0x30)],
    }
}

/// What the first event of a contract tells.
fn first(log: &Log) -> Option<Input> {
    read(&followed(), &mut Cursors::default(), log).unwrap()
}

#[test]
fn gaps_and_repeats_are_named_with_contract_and_event_and_change_nothing() {
    let mut cursors = Cursors::default();
    assert_eq!(
        read(&followed(), &mut cursors, &released(1, 5)),
        Ok(Some(Input::Release { amount: Amount(5) }))
    );
    let after_one = cursors;
    for number in [0, 1, 3, u64::MAX] {
        let error = read(&followed(), &mut cursors, &released(number, 5)).unwrap_err();
        assert_eq!(error, LogError::Number { contract: Contract::Pool, last: 1, found: number });
        assert_eq!(error.to_string(), format!("event {number} of RewardPool after event 1"));
        assert_eq!(cursors, after_one);
    }
    read(&followed(), &mut cursors, &released(2, 5)).unwrap();
    assert_eq!((cursors.pool.number, cursors.staking), (2, Cursor::default()));
    // A number that is counted by nobody.
    cursors.pool.number = u64::MAX;
    assert!(read(&followed(), &mut cursors, &released(0, 5)).is_err());
}

#[test]
fn what_is_forged_gives_another_rolling_hash() {
    let hash = |log: &Log| {
        let mut cursors = Cursors::default();
        read(&followed(), &mut cursors, log).unwrap();
        cursors.pool.hash
    };
    assert_ne!(hash(&released(1, 5)), hash(&released(1, 6)));
    let data = released(1, 5).data;
    let entry = keccak256([&data.topics()[0].0[..], &data.topics()[1].0, &data.data].concat());
    assert_eq!(hash(&released(1, 5)), keccak256([[0; 32], entry.0].concat()));
}

#[test]
fn what_the_contracts_never_say_is_refused() {
    let error = |log: &Log| {
        let mut cursors = Cursors::default();
        let error = read(&followed(), &mut cursors, log).unwrap_err();
        assert_eq!(cursors, Cursors::default());
        error
    };
    let stranger = Address::repeat_byte(9);
    let stray = Log { address: stranger, ..released(1, 5) };
    assert_eq!(error(&stray), LogError::Stray { address: stranger });
    // Another contract's event.
    let lost = Log { address: followed().contracts.staking, ..released(1, 5) };
    assert_eq!(error(&lost), LogError::Malformed { contract: Contract::Staking, number: 1 });
    for data in [
        LogData::empty(),
        LogData::new_unchecked(vec![events::Released::SIGNATURE_HASH], Bytes::new()),
        LogData::new_unchecked(released(1, 5).data.topics().to_vec(), Bytes::from(vec![0; 31])),
        LogData::new_unchecked(
            vec![events::Released::SIGNATURE_HASH, B256::repeat_byte(1)],
            Bytes::from(vec![0; 32]),
        ),
    ] {
        let error = error(&Log { data, ..released(1, 5) });
        assert_eq!(error.to_string(), "something that is no event of RewardPool for event 1");
    }
    let huge = events::Released { number: 1, amount: U256::MAX };
    assert!(matches!(error(&log(followed().contracts.pool, &huge)), LogError::Malformed { .. }));
    let short = events::Registered { blsKey: [5; 95].into(), ..registered() };
    assert!(matches!(error(&log(followed().contracts.staking, &short)), LogError::Malformed { .. }));
}

#[test]
fn a_registration_is_read_whole() {
    let Some(Input::Register(read)) = first(&log(followed().contracts.staking, &registered())) else {
        panic!("a registration")
    };
    assert_eq!((read.id, read.fee, read.operator), (StakeId(4), 500, Address::repeat_byte(0x20)));
    assert_eq!(read.prefix, Prefix::V4([127, 0, 1]));
    assert_eq!((read.signature.0[31], read.signature.0[32]), (2, 3));
    assert_eq!((read.shares.len(), read.shares[1].amount), (2, Amount(0x30)));
    assert_eq!(read.shares[1].beneficiary, Address::repeat_byte(0x31));
    // A prefix that is none: nobody signed it, and the stake is known all the same.
    let odd = events::Registered { prefix: [9; 7].into(), ..registered() };
    let Some(Input::Register(read)) = first(&log(followed().contracts.staking, &odd)) else {
        panic!("a registration")
    };
    assert_eq!((read.signature.0, read.shares.len()), ([0; 64], 2));
}

#[test]
fn of_the_other_events_the_ledger_is_told_what_it_needs() {
    let Contracts { staking, checkpoints, .. } = followed().contracts;
    let (account, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let id = StakeId(3);
    let exit = events::ExitRequested { number: 1, id: 3, by: account, unlocksAt: 77 };
    assert_eq!(first(&log(staking, &exit)), Some(Input::RequestExit { id, unlocks: 77 }));
    let removed = events::Removed { number: 1, id: 3, how: 1, penalty: U256::from(5) };
    assert_eq!(first(&log(staking, &removed)), Some(Input::Remove { id }));
    let changed = events::BeneficiaryChanged { number: 1, id: 3, contributor: account, beneficiary: other };
    let input = Input::ChangeBeneficiary { id, contributor: account, beneficiary: other };
    assert_eq!(first(&log(staking, &changed)), Some(input));
    let handed = events::ShareHandedOver { number: 1, id: 3, from: account, to: other };
    assert_eq!(first(&log(staking, &handed)), Some(Input::HandOver { id, from: account, to: other }));
    let digest = B256::repeat_byte(6);
    let accepted = events::Accepted { number: 1, epoch: 2, submitter: account, digest };
    let input = Input::Accept { epoch: 2, submitter: account, digest };
    assert_eq!(first(&log(checkpoints, &accepted)), Some(input));

    let parameter = |name: &[u8]| events::ParameterChanged {
        number: 1,
        name: FixedBytes::right_padding_from(name),
        value: U256::from(7),
    };
    let credit = Some(Input::ChangeCredit { credit: Amount(7) });
    assert_eq!(first(&log(checkpoints, &parameter(SUBMITTER_REWARD))), credit);
    assert_eq!(first(&log(checkpoints, &parameter(ACTIVE_FOR))), Some(Input::ChangeActiveFor { seconds: 7 }));
    let fewest = Some(Input::ChangeMinimumNodes { nodes: 7 });
    assert_eq!(first(&log(checkpoints, &parameter(MINIMUM_NODES))), fewest);
    assert_eq!(first(&log(checkpoints, &parameter(b"stakingRequirement"))), None);
    // Of the same name, and another contract's.
    assert_eq!(first(&log(staking, &parameter(SUBMITTER_REWARD))), None);
}

/// The contract takes any bytes, and one that is taken must not stop whoever reads it.
#[test]
fn what_a_name_is_called_is_kept_if_it_is_written_as_names_are_and_read_over_else() {
    let names = followed().contracts.names;
    let revealed = |called: &[u8]| {
        let data = (U256::from(2), Bytes::copy_from_slice(called)).abi_encode_params();
        let topics = [events::NameRevealed::SIGNATURE_HASH, B256::with_last_byte(1), B256::repeat_byte(7)];
        let data = LogData::new_unchecked(topics.to_vec(), data.into());
        Log { address: names, data, ..released(1, 1) }
    };
    let id = NameId::from_bytes([7; 32]);
    for called in ["alice", "xn--bcher-kva", "a-1_b", "a".repeat(64).as_str()] {
        let change = Change::Revealed { id, version: 2, name: called.to_owned() };
        assert_eq!(first(&revealed(called.as_bytes())), Some(Input::Name(change)));
    }
    let long = [b'a'; 65];
    let others: [&[u8]; 9] = [
        &[0xff],
        b"alice\xc3",
        b"\0",
        b"",
        b"Alice",
        b"@alice",
        b"shop.alice",
        "b\u{fc}cher".as_bytes(),
        &long,
    ];
    for called in others {
        let mut cursors = Cursors::default();
        let log = revealed(called);
        assert_eq!(read(&followed(), &mut cursors, &log), Ok(None), "{called:?}");
        assert_eq!(cursors.names, roll(&Cursor::default(), &log.data), "it is counted all the same");
    }
    // Not what the contract tells: cut off.
    let mut cut = revealed(b"alice");
    cut.data = LogData::new_unchecked(cut.data.topics().to_vec(), cut.data.data.slice(..64));
    assert!(matches!(read(&followed(), &mut Cursors::default(), &cut), Err(LogError::Malformed { .. })));
}

/// All kinds of events of names, as the contract itself told them, and its rolling hash before and after.
#[test]
fn names_are_read_as_their_contract_tells_of_them() {
    let told: serde_json::Value =
        serde_json::from_str(include_str!("../../../contracts/vectors/names.json")).unwrap();
    let word = |value: &serde_json::Value| value.as_str().unwrap().parse::<B256>().unwrap();
    let mut followed = followed();
    followed.contracts.names = told["names"].as_str().unwrap().parse().unwrap();
    let number = |key: &str| told[key].as_u64().unwrap();
    let before = Cursor { number: number("numberBefore"), hash: word(&told["hashBefore"]) };
    let mut cursors = Cursors { names: before, ..Cursors::default() };
    let mut index = Index::<Memory>::default();
    let mut seen = BTreeSet::new();
    for row in told["logs"].as_array().unwrap() {
        let topics = row["topics"].as_array().unwrap().iter().map(word).collect();
        let data = LogData::new_unchecked(topics, row["data"].as_str().unwrap().parse().unwrap());
        let log = Log { data, address: followed.contracts.names, ..released(1, 1) };
        if let Some(Input::Name(change)) = read(&followed, &mut cursors, &log).unwrap() {
            index.apply(&change).unwrap();
            seen.insert(row["topics"][0].as_str());
        }
    }
    let after = Cursor { number: number("numberAfter"), hash: word(&told["hashAfter"]) };
    assert_eq!((cursors.names, seen.len()), (after, 9), "no kind of change is left out");
    let mut names = Vec::new();
    index
        .names(|id, entry| {
            names.push((id, entry));
            true
        })
        .unwrap();
    let [(id, entry)] = &names[..] else { panic!("one name") };
    let label = keccak256("Argon2id of alice");
    assert_eq!(id.as_bytes(), &keccak256(label).0);
    assert_eq!((entry.version, entry.price, entry.offer, &entry.revealed), (3, None, None, &None));
    assert!(entry.records.is_empty(), "those of other versions count no more");
    assert_eq!(index.reverse(entry.owner).unwrap(), None);
}
