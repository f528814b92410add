use alloy::primitives::Address;
use tempfile::TempDir;

use super::*;

fn contracts() -> Contracts {
    let [staking, checkpoints, pool] = [1, 2, 3].map(Address::repeat_byte);
    Contracts { chain: 31_337, staking, checkpoints, pool, deployed: 5 }
}

fn border(epoch: u64) -> Border {
    let cursors =
        Cursors { pool: Cursor { number: epoch, hash: B256::repeat_byte(9) }, ..Cursors::default() };
    Border { epoch, height: epoch + 10, hash: B256::repeat_byte(epoch as u8), cursors }
}

#[test]
fn cursor_ledger_and_checkpoints_come_back_together() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("settlement.redb");
    let (mut journal, mut mark, mut ledger) =
        Journal::open(&path, &contracts(), Parameters::default()).unwrap();
    assert_eq!((mark, ledger.epoch()), (Mark::before(&contracts()), 0));
    let mut made = Vec::new();
    for epoch in 0..CHECKPOINTS + 6 {
        let border = border(epoch);
        let (height, hash, cursors) = (border.height, border.hash, border.cursors);
        let (_, checkpoint) = ledger.cross(border).unwrap();
        mark = Mark { height, hash, time: epoch, epoch: epoch + 1, cursors };
        journal.keep(&mark, &ledger, Some(&checkpoint)).unwrap();
        made.push(checkpoint);
    }
    assert!(matches!(
        Journal::open(&path, &contracts(), Parameters::default()),
        Err(JournalError::InUse { .. })
    ));
    drop(journal);
    let (journal, found, kept) = Journal::open(&path, &contracts(), Parameters::default()).unwrap();
    assert_eq!((found, &kept), (mark, &ledger));
    assert_eq!(journal.checkpoints().unwrap(), made[6..]);
}

#[test]
fn what_is_not_this_networks_or_not_whole_is_not_opened() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("settlement.redb");
    let open = |contracts: &Contracts| Journal::open(&path, contracts, Parameters::default());
    let (journal, mark, ledger) = open(&contracts()).unwrap();
    let spoil = |journal: Journal, key: &str, value: &[u8]| {
        let write = journal.db.begin_write().unwrap();
        write.open_table(STATE).unwrap().insert(key, value).unwrap();
        write.commit().unwrap();
    };
    let other = Contracts { chain: 1, ..contracts() };
    let header = [&[SCHEMA], &network(&contracts(), &Parameters::default())[..]].concat();
    drop(journal);
    assert!(matches!(open(&other), Err(JournalError::Network { .. })));
    spoil(open(&contracts()).unwrap().0, "network", &[&[9], &header[1..]].concat());
    assert!(matches!(open(&contracts()), Err(JournalError::Schema { found: 9, .. })));
    // Back to what it was, but with a cursor that has gone on without its ledger.
    let raw = |key: &str, value: &[u8]| {
        let journal = Journal { db: Database::create(&path).unwrap(), path: path.clone() };
        spoil(journal, key, value);
    };
    raw("network", &header);
    let ahead = mark_bytes(&Mark { height: 7, ..mark }, b"another ledger");
    raw("mark", &ahead);
    assert!(matches!(open(&contracts()), Err(JournalError::Damaged { .. })));
    let mut flipped = ledger.to_bytes();
    flipped[20] ^= 1;
    raw("mark", &mark_bytes(&mark, &ledger.to_bytes()));
    raw("ledger", &flipped);
    assert!(matches!(open(&contracts()), Err(JournalError::Damaged { .. })));
    raw("ledger", &ledger.to_bytes());
    assert!(open(&contracts()).is_ok());
}
