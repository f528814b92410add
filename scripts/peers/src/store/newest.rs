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
    /// Ours, without what a store remembers of those and of what it was just given: as after it was opened.
    pub first: f64,
    /// SQLite's, whose pages are in its cache, at the time of each.
    pub peers: [f64; 2],
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
    let forgetful = Options { recent_bytes: 0, ..ours::options() };
    let (first, peer_then) = taken(&MessageStore::open(&dir_ours, forgetful).expect("the store opens"));
    Fetched { again, first, peers: [peer, peer_then] }
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
