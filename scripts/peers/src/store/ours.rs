//! This side: what the mailbox machine does to the store for a public inbox.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use session_protocols::{
    Namespace,
    record::{Life, Mutation, Place},
    store::{Effect, Entry, Store, Transaction},
};
use session_storage::{MessageStore, Options};

use super::{
    Run, cpu,
    load::{Load, Message, account},
};

pub fn options() -> Options {
    Options { fresh_incarnation: 1, ..Options::default() }
}

pub fn run(dir: &Path, mut load: Load, messages: usize, batch: usize) -> (Run, f64) {
    let mut store = MessageStore::open(dir, options()).expect("the store opens");
    let mut times = Vec::new();
    let mut used = 0.0;
    let mut stored = 0;
    while stored < messages {
        let batch = load.batch(batch);
        stored += batch.len();
        let (start, before) = (Instant::now(), cpu());
        commit(&mut store, batch);
        times.push(start.elapsed());
        used += cpu() - before;
    }
    (Run::new(stored, times, used), poll(&store))
}

/// Stores a batch and makes it durable.
pub fn commit(store: &mut MessageStore, batch: Vec<Message>) {
    let mut writer = store.begin().expect("a transaction begins");
    for Message { request, hash } in batch {
        let account = request.account;
        let before = writer.record(&account, &hash).expect("a record is read");
        let row = writer.head() + 1;
        let mut after = before.unwrap_or_default();
        after.join_life(Life::Unsigned { timestamp: request.timestamp, expiry: request.expiry });
        let size = request.data.len() as u32;
        after.place = Some(Place { sequence: row, row, namespace: request.namespace, size });
        let usage = writer.usage(&account).expect("the usage is read");
        assert!(usage.bytes < u64::MAX / 2 && writer.occupied() < u64::MAX / 2, "there is room");
        writer
            .append(Entry {
                mutation: Some(Mutation::Store(request)),
                evidence_until: None,
                effects: vec![Effect { account, hash, before, after: Some(after) }],
            })
            .expect("an entry is appended");
    }
    writer.commit().expect("the commit succeeds");
}

/// What a poll takes that finds nothing, in microseconds.
fn poll(store: &MessageStore) -> f64 {
    const POLLS: u64 = 20_000;
    let accounts: Vec<_> = (0..POLLS).map(|number| account(number * 7)).collect();
    let head = store.head();
    let start = Instant::now();
    let mut found = 0;
    for account in &accounts {
        found += store.page(account, Namespace::INBOX, head, 128).expect("a page is read").len();
    }
    let whole: Duration = start.elapsed();
    assert_eq!(found, 0);
    whole.as_secs_f64() * 1e6 / POLLS as f64
}
