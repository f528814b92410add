use alloy::primitives::Address;
use session_protocols::SwarmMap;
use tempfile::TempDir;

use super::*;
use crate::names::{Change, Key};

fn followed() -> Followed {
    let [staking, checkpoints, pool, token, factory, names] = [1, 2, 3, 4, 5, 6].map(Address::repeat_byte);
    let contracts = Contracts { staking, checkpoints, pool, token, factory, names };
    Followed { chain: 31_337, start: 5, contracts }
}

fn border(epoch: u64) -> Border {
    let cursors =
        Cursors { pool: Cursor { number: epoch, hash: B256::repeat_byte(9) }, ..Cursors::default() };
    Border { epoch, height: epoch + 10, hash: B256::repeat_byte(epoch as u8), cursors }
}

#[test]
fn cursor_ledger_and_checkpoints_come_back_together() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("chain.redb");
    let (mut file, mut mark, mut ledger) =
        StateFile::open(&path, &followed(), Parameters::default()).unwrap();
    assert_eq!((mark, ledger.epoch()), (Mark::before(&followed()), 0));
    let (mut made, mut signers, mut roll) = (Vec::new(), Signers::new(), Roll::default());
    assert_eq!((file.signers().unwrap(), file.roll().unwrap()), (signers.clone(), roll.clone()));
    for epoch in 0..CHECKPOINTS + 6 {
        let border = border(epoch);
        let (height, hash, cursors) = (border.height, border.hash, border.cursors);
        let (_, checkpoint) = ledger.cross(border, B256::ZERO).unwrap();
        mark = Mark { height, hash, time: epoch, epoch: epoch + 1, cursors };
        signers = [(StakeId(epoch), BlsKey([epoch as u8; 96])), (StakeId(200), BlsKey([9; 96]))].into();
        roll = Roll { acts: SwarmMap { version: epoch, ..SwarmMap::default() }, ..Roll::default() };
        made.push(checkpoint.clone());
        let crossed = Crossed {
            checkpoint: checkpoint.into(),
            signers: signers.clone().into(),
            roll: roll.clone().into(),
        };
        file.keep(&mark, &ledger, Some(&crossed)).unwrap();
    }
    assert!(matches!(
        StateFile::open(&path, &followed(), Parameters::default()),
        Err(StateError::InUse { .. })
    ));
    drop(file);
    let (file, found, kept) = StateFile::open(&path, &followed(), Parameters::default()).unwrap();
    assert_eq!((found, &kept), (mark, &ledger));
    assert_eq!(file.checkpoints().unwrap(), made[6..]);
    assert_eq!((file.signers().unwrap(), file.roll().unwrap()), (signers, roll));
    assert_eq!(file.border().unwrap(), ledger.to_bytes());
}

/// The layout as the README has it, so that no other build's file is misread.
#[test]
fn rows_are_laid_out_as_written_down() {
    let number = |number: u64| number.to_be_bytes().to_vec();
    let word = |byte: u8| vec![byte; 32];
    let cursor = |at: u8| Cursor { number: u64::from(at), hash: B256::repeat_byte(at) };
    let cursors = Cursors { staking: cursor(1), checkpoints: cursor(2), pool: cursor(3), names: cursor(4) };
    let counted: Vec<u8> = (1..=4).flat_map(|at| [number(at.into()), word(at)].concat()).collect();

    let mark = Mark { height: 7, hash: B256::repeat_byte(9), time: 8, epoch: 6, cursors };
    let mut bytes = [number(7), number(8), number(6), word(9), counted.clone()].concat();
    let sealed = keccak256([&bytes, &b"ledger"[..]].concat());
    bytes.extend(sealed);
    assert_eq!(mark_bytes(&mark, b"ledger"), bytes);
    assert_eq!(read_mark(&bytes, b"ledger"), Some(mark));
    assert_eq!(read_mark(&bytes, b"Ledger"), None);
    assert_eq!(read_mark(&bytes[1..], b"ledger"), None);

    let [rewards, states, swarms, directory, names] = [14, 15, 16, 17, 18].map(B256::repeat_byte);
    let checkpoint = Checkpoint {
        border: Border { epoch: 4, height: 5, hash: B256::repeat_byte(12), cursors },
        previous: B256::repeat_byte(13),
        roots: Roots { rewards, states, swarms, directory, names },
        digest: B256::repeat_byte(19),
    };
    let words = (12..=19).flat_map(word).collect();
    let bytes = [number(4), number(5), words, counted].concat();
    assert_eq!(checkpoint_bytes(&checkpoint), bytes);
    assert_eq!(read_checkpoint(&bytes), Some(checkpoint));
    assert_eq!(read_checkpoint(&bytes[..bytes.len() - 1]), None);

    let signers = [(StakeId(7), BlsKey([8; 96])), (StakeId(9), BlsKey([10; 96]))].into();
    let bytes = [number(7), vec![8; 96], number(9), vec![10; 96]].concat();
    assert_eq!(signers_bytes(&signers), bytes);
    assert_eq!((read_signers(&bytes), read_signers(&bytes[1..])), (Some(signers), None));

    let parameters = Parameters { genesis: 21, active_for: 23, lock: 24, ..Parameters::default() };
    let addresses = [1, 2, 3, 6].map(|byte| vec![byte; 20]).concat();
    let of = [addresses, number(31_337), number(5), number(21), number(3_600), number(23), number(24)];
    assert_eq!(network(&followed(), &parameters), of.concat());
}

#[test]
fn what_is_not_this_networks_or_not_whole_is_not_opened() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("chain.redb");
    let open = |followed: &Followed| StateFile::open(&path, followed, Parameters::default());
    let (file, mark, ledger) = open(&followed()).unwrap();
    let spoil = |file: StateFile, key: &str, value: &[u8]| {
        let write = file.db.begin_write().unwrap();
        write.open_table(STATE).unwrap().insert(key, value).unwrap();
        write.commit().unwrap();
    };
    let other = Followed { chain: 1, ..followed() };
    let header = [&[SCHEMA], &network(&followed(), &Parameters::default())[..]].concat();
    drop(file);
    assert!(matches!(open(&other), Err(StateError::Network { .. })));
    spoil(open(&followed()).unwrap().0, "network", &[&[9], &header[1..]].concat());
    assert!(matches!(open(&followed()), Err(StateError::Schema { found: 9, .. })));
    // Back to what it was, but with a cursor that has gone on without its ledger.
    let raw = |key: &str, value: &[u8]| {
        let file = StateFile { db: Database::create(&path).unwrap(), path: path.clone(), writing: None };
        spoil(file, key, value);
    };
    raw("network", &header);
    let ahead = mark_bytes(&Mark { height: 7, ..mark }, b"another ledger");
    raw("mark", &ahead);
    assert!(matches!(open(&followed()), Err(StateError::Damaged { .. })));
    let mut flipped = ledger.to_bytes();
    flipped[20] ^= 1;
    raw("mark", &mark_bytes(&mark, &ledger.to_bytes()));
    raw("ledger", &flipped);
    assert!(matches!(open(&followed()), Err(StateError::Damaged { .. })));
    raw("ledger", &ledger.to_bytes());
    assert!(open(&followed()).is_ok());
    // What an older build wrote is made again, but not that of another network.
    raw("network", &[&[SCHEMA - 1], &header[1..]].concat());
    assert!(matches!(open(&other), Err(StateError::Network { .. })));
    raw("mark", b"of another form");
    let (file, found, made) = open(&followed()).unwrap();
    assert_eq!((found, &made), (Mark::before(&followed()), &ledger));
    assert_eq!(file.border().unwrap(), Vec::<u8>::new());
}

#[test]
fn what_is_no_database_is_not_opened_and_the_error_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("chain.redb");
    let open = || StateFile::open(&path, &followed(), Parameters::default());
    drop(open().unwrap());
    let whole = std::fs::read(&path).unwrap();
    let mut headless = whole.clone();
    headless[..64].fill(0x55);
    let junk = vec![0x2a; 4_096];
    for bytes in [&junk, &headless, &whole[..whole.len() / 3].to_vec()] {
        std::fs::write(&path, bytes).unwrap();
        let error = open().unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().ends_with("delete it, and the ledger is made again from the chain"));
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(open().is_ok());
}

#[test]
fn names_are_kept_with_the_cursor_and_an_open_index_stays_as_it_was() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("chain.redb");
    let open = || StateFile::open(&path, &followed(), Parameters::default()).unwrap();
    let block = |byte: u8| {
        let (id, owner) = (NameId::from_bytes([byte; 32]), Address::repeat_byte(byte));
        let change = Change::Registered { id, owner, expires: u64::MAX, version: 1 };
        Block { height: 9, time: 9, inputs: vec![Input::Name(change)] }
    };
    let check = |index: &Index<Snapshot>, root: B256, there: &[u8]| {
        assert_eq!(index.root().unwrap(), root);
        for byte in 1..=3 {
            let key = Key::Name(NameId::from_bytes([byte; 32]));
            let proven = index.prove(&key).unwrap();
            assert!(
                proven.value.is_some() == there.contains(&byte) && key.is_proven(root, &proven),
                "{byte}"
            );
        }
    };
    let (mut file, mark, ledger) = open();
    let empty = file.index().unwrap();
    file.name(&[block(1)]).unwrap();
    let first = file.cross_names(10).unwrap();
    file.keep(&mark, &ledger, None).unwrap();
    check(&empty, B256::ZERO, &[]);
    check(&file.index().unwrap(), first, &[1]);
    // Told of, and not kept: whoever stops here has never heard of it.
    file.name(&[block(2)]).unwrap();
    let mut seen = 0;
    file.names(|_, _| {
        seen += 1;
        true
    })
    .unwrap();
    assert_eq!(seen, 2);
    drop((file, empty));
    let (mut file, mark, ledger) = open();
    check(&file.index().unwrap(), first, &[1]);
    file.name(&[block(3)]).unwrap();
    file.keep(&mark, &ledger, None).unwrap();
    let before = file.index().unwrap();
    check(&before, first, &[1]);
    let second = file.cross_names(20).unwrap();
    file.keep(&mark, &ledger, None).unwrap();
    check(&file.index().unwrap(), second, &[1, 3]);
    check(&before, first, &[1]);
}

#[test]
fn names_that_are_restored_take_the_place_of_those_that_were_kept_once_they_are() {
    let id = |byte: u8| NameId::from_bytes([byte; 32]);
    let made = |names: &[u8]| {
        let (mut file, mark, ledger) = StateFile::in_memory(&followed(), Parameters::default()).unwrap();
        let register = |byte: &u8| {
            let owner = Address::repeat_byte(*byte);
            Input::Name(Change::Registered { id: id(*byte), owner, expires: u64::MAX, version: 1 })
        };
        file.name(&[Block { height: 9, time: 9, inputs: names.iter().map(register).collect() }]).unwrap();
        let root = file.cross_names(10).unwrap();
        file.keep(&mark, &ledger, None).unwrap();
        (file, mark, ledger, root)
    };
    let there = |file: &mut StateFile| {
        let known = (1..=3).filter(|byte| file.named(&id(*byte)).unwrap().is_some());
        known.collect::<Vec<u8>>()
    };
    let (other, _, _, root) = made(&[2, 3]);
    let (rows, more) = other.index().unwrap().rows(&[], usize::MAX).unwrap();
    assert_eq!((rows.len(), more), (2, None));

    let (mut file, mark, ledger, before) = made(&[1, 2]);
    file.restore_names(&rows).unwrap();
    file.forget();
    assert_eq!((there(&mut file), file.index().unwrap().root().unwrap()), (vec![1, 2], before));
    file.forget();
    // In pages, and not seen before they are kept.
    file.restore_names(&rows[..1]).unwrap();
    file.restore_names(&rows[1..]).unwrap();
    assert_eq!(file.plant_names().unwrap(), root);
    assert_eq!(file.index().unwrap().root().unwrap(), before);
    file.keep(&mark, &ledger, None).unwrap();
    assert_eq!((there(&mut file), file.index().unwrap().root().unwrap()), (vec![2, 3], root));
    file.forget();
    // Where there are no names at all, none of the old ones are left.
    assert_eq!(file.plant_names().unwrap(), B256::ZERO);
    file.keep(&mark, &ledger, None).unwrap();
    assert_eq!((there(&mut file), file.index().unwrap().0.count().unwrap()), (Vec::new(), 0));
}
