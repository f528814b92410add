//! The other side: SQLite as its documentation advises for many small durable transactions.

use std::{path::Path, time::Instant};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{
    Run, cpu,
    load::{Load, Message},
};

/// As much memory for pages as the store has.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -131072;
    PRAGMA mmap_size = 4294967296;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA temp_store = MEMORY;
    CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        owner BLOB NOT NULL,
        namespace INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        expiry INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS by_owner ON messages (owner, namespace, id);
    CREATE INDEX IF NOT EXISTS by_expiry ON messages (expiry);
";

const INSERT: &str = "
    INSERT INTO messages (hash, owner, namespace, timestamp, expiry, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO NOTHING
";

/// Opens the database in a directory, or makes it.
pub fn open(dir: &Path) -> Connection {
    let db = Connection::open(dir.join("messages.sqlite")).expect("the database opens");
    db.execute_batch(SETTINGS).expect("the settings are taken");
    db
}

pub fn run(dir: &Path, mut load: Load, messages: usize, batch: usize) -> Run {
    let mut db = open(dir);
    let mut times = Vec::new();
    let mut used = 0.0;
    let mut stored = 0;
    while stored < messages {
        let batch = load.batch(batch);
        stored += batch.len();
        let (start, before) = (Instant::now(), cpu());
        commit(&mut db, &batch);
        times.push(start.elapsed());
        used += cpu() - before;
    }
    Run::new(stored, times, used)
}

/// Stores a batch and makes it durable.
pub fn commit(db: &mut Connection, batch: &[Message]) {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).expect("it begins");
    {
        let mut insert = transaction.prepare_cached(INSERT).expect("it is prepared");
        for Message { request, hash } in batch {
            insert
                .execute(params![
                    hash.0.as_slice(),
                    request.account.as_bytes().as_slice(),
                    request.namespace.0,
                    request.timestamp as i64,
                    request.expiry as i64,
                    request.data.as_slice(),
                ])
                .expect("it is inserted");
        }
    }
    transaction.commit().expect("the commit succeeds");
}
