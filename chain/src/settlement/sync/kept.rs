//! What a checkpoint stands for, as it is handed out to those that begin.

use std::sync::Arc;

use serde_bytes::{ByteArray, ByteBuf};
use session_protocols::{
    directory::checkpoint::Events,
    snapshot::{Answer, Head, MAX_KEY, NAMES_PAGE, PAGE, Request},
};

use crate::{
    ledger::{Cursor, Cursors, snapshot::Beside},
    names::{Index, tables::Read},
};

/// What the checkpoint of one epoch stands for.
#[derive(Clone, Debug)]
pub struct Kept<T> {
    /// What the digest is made of beside the ledger.
    pub beside: Beside,
    /// The ledger right behind the border, as bytes.
    pub ledger: Arc<Vec<u8>>,
    /// The index of names, as of that border.
    pub names: Arc<Index<T>>,
}

impl<T: Read> Kept<T> {
    /// What whoever asks is answered.
    ///
    /// # Errors
    /// As the tables of names.
    pub fn answer(&self, request: &Request) -> Result<Answer, T::Error> {
        let own = self.beside.epoch;
        match request {
            Request::Ledger { epoch, from } if *epoch == own => {
                Ok(self.ledger(*from).unwrap_or(Answer::Unknown))
            }
            Request::Names { epoch, from } if *epoch == own && from.len() <= MAX_KEY => {
                let (rows, next) = self.names.rows(from, NAMES_PAGE)?;
                let rows = rows.into_iter().map(|(key, value)| (ByteBuf::from(key), ByteBuf::from(value)));
                let rows = rows.collect();
                Ok(Answer::Names { rows, next: next.map(ByteBuf::from) })
            }
            Request::Ledger { .. } | Request::Names { .. } => Ok(Answer::Unknown),
        }
    }

    fn ledger(&self, from: u64) -> Option<Answer> {
        let rest = self.ledger.get(usize::try_from(from).ok()?..)?;
        let bytes = rest.get(..PAGE).unwrap_or(rest);
        Some(Answer::Ledger {
            head: (from == 0).then(|| Box::new(head(&self.beside))),
            bytes: ByteBuf::from(bytes.to_vec()),
            more: bytes.len() < rest.len(),
        })
    }
}

/// What is said beside the ledger, as it travels.
fn head(beside: &Beside) -> Head {
    let Beside { block, previous, cursors, names, .. } = beside;
    let Cursors { staking, checkpoints, pool, names: named } = *cursors;
    let events = |cursor: Cursor| Events { number: cursor.number, hash: ByteArray::new(cursor.hash.0) };
    Head {
        block: ByteArray::new(block.0),
        previous: ByteArray::new(previous.0),
        events: [staking, checkpoints, pool, named].map(events),
        names: ByteArray::new(names.0),
    }
}
