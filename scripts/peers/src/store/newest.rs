//! A client that has all but the newest messages of a full mailbox fetches those: what that takes both sides.

use std::{hint::black_box, path::Path, time::Instant};

use rusqlite::params;
use session_protocols::{
    AccountId, MessageHash, Namespace, Time,
    answer::Body,
    mailbox::retrieve,
    request::{Door, Retrieve},
};
use session_storage::{MessageStore, Options};

use super::{
    load::{Load, START, account},
    ours, sqlite,
};
use crate::table::median;

/// Mailboxes, filled by turns.
const MAILBOXES: u64 = 20;
/// Messages of each.
const MESSAGES: usize = 10_000;
/// What the client has not.
const NEWEST: usize = 20;
/// Fetches of each side at a time.
const FETCHES: usize = 2_000;

const SELECT: &str = "
    SELECT hash, timestamp, expiry, data FROM messages
    WHERE owner = ?1 AND namespace = ?2 AND id > (SELECT id FROM messages WHERE hash = ?3) AND expiry > ?4
    ORDER BY id LIMIT ?5
";

/// Microseconds of one fetch, by turns on the same messages.
pub struct Fetched {
    /// Ours, of mailboxes that are asked for again and again.
    pub again: f64,
    /// Ours, the first of each mailbox after the store was opened; SQLite's too.
    pub opened: f64,
    /// Ours, of a store that may remember nothing: all comes from its files.
    pub bare: f64,
    /// SQLite's at the time of each; its pages are in its cache but when it was just opened.
    pub peers: [f64; 3],
}

/// What a fetch takes, of a few mailboxes by turns.
pub fn measure(dir: &Path, repeats: usize) -> Fetched {
    let (dir_ours, dir_peer) = (dir.join("ours"), dir.join("peer"));
    for dir in [&dir_ours, &dir_peer] {
        std::fs::create_dir_all(dir).expect("the directory can be made");
    }
    let mut store = MessageStore::open(&dir_ours, ours::options()).expect("the store opens");
    let mut db = sqlite::open(&dir_peer);
    let mut load = Load::new(MAILBOXES, 0);
    let mut known: Vec<(AccountId, MessageHash)> = Vec::new();
    for round in 0..MESSAGES {
        let batch: Vec<_> = (0..MAILBOXES).map(|number| load.to(account(number))).collect();
        if round == MESSAGES - NEWEST - 1 {
            known = batch.iter().map(|message| (message.request.account, message.hash)).collect();
        }
        sqlite::commit(&mut db, &batch);
        ours::commit(&mut store, batch);
    }
    let now = Time::from_millis(START);
    let taken = |store: &MessageStore| {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for repeat in 0..repeats.max(3) * 2 {
            let begun = Instant::now();
            let own = repeat % 2 == 0;
            for number in 0..FETCHES {
                let (account, last) = known[number % known.len()];
                let found =
                    if own { fetch(store, now, account, last) } else { select(&db, now, account, last) };
                assert_eq!(found, NEWEST);
            }
            let each = begun.elapsed().as_secs_f64() * 1e6 / FETCHES as f64;
            if own { ours.push(each) } else { peer.push(each) }
        }
        eprintln!("newest: {ours:.1?} us, sqlite {peer:.1?} us, {:?}", store.stats());
        (median(ours), median(peer))
    };
    let (again, peer) = taken(&store);
    drop(store);
    let (opened, peer_opened) = opened(&dir_ours, &dir_peer, now, &known, repeats);
    let forgetful = Options { recent_bytes: 0, ..ours::options() };
    let (bare, peer_then) = taken(&MessageStore::open(&dir_ours, forgetful).expect("the store opens"));
    Fetched { again, opened, bare, peers: [peer, peer_opened, peer_then] }
}

/// What the first fetch of each mailbox takes after both sides were opened.
fn opened(
    dir_ours: &Path,
    dir_peer: &Path,
    now: Time,
    known: &[(AccountId, MessageHash)],
    repeats: usize,
) -> (f64, f64) {
    let (mut taken, mut taken_peer) = (Vec::new(), Vec::new());
    let each = |begun: Instant| begun.elapsed().as_secs_f64() * 1e6 / known.len() as f64;
    for _ in 0..repeats.max(3) {
        let store = MessageStore::open(dir_ours, ours::options()).expect("the store opens");
        let db = sqlite::open(dir_peer);
        // Whatever is made ready once for all mailboxes, a statement for one, is not counted.
        let (nobody, nothing) = (account(MAILBOXES), MessageHash([0; 32]));
        assert_eq!(fetch(&store, now, nobody, nothing) + select(&db, now, nobody, nothing), 0);
        let begun = Instant::now();
        for (account, last) in known {
            assert_eq!(fetch(&store, now, *account, *last), NEWEST);
        }
        taken.push(each(begun));
        let begun = Instant::now();
        for (account, last) in known {
            assert_eq!(select(&db, now, *account, *last), NEWEST);
        }
        taken_peer.push(each(begun));
    }
    eprintln!("newest, just opened: {taken:.1?} us, sqlite {taken_peer:.1?} us");
    (median(taken), median(taken_peer))
}

fn fetch(store: &MessageStore, now: Time, account: AccountId, last: MessageHash) -> usize {
    let request = Retrieve {
        account,
        namespace: Namespace::INBOX,
        after: None,
        last: Some(last),
        max_count: Some(NEWEST as u32),
        max_size: None,
        ids: None,
        auth: None,
    };
    match black_box(retrieve(store, now, &request, Door::Native)).expect("it is read") {
        Body::Messages { messages, .. } => messages.len(),
        _ => 0,
    }
}

fn select(db: &rusqlite::Connection, now: Time, account: AccountId, last: MessageHash) -> usize {
    let mut select = db.prepare_cached(SELECT).expect("it is prepared");
    let rows = select.query_map(
        params![
            account.as_bytes().as_slice(),
            Namespace::INBOX.0,
            last.0.as_slice(),
            now.as_millis() as i64,
            NEWEST as i64,
        ],
        |row| {
            Ok((
                row.get::<_, [u8; 32]>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, Vec<u8>>(3)?,
            ))
        },
    );
    let found: Vec<_> = rows.expect("it is read").map(|row| row.expect("a row is read")).collect();
    black_box(found).len()
}
