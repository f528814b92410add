//! The file that every commit goes to: entries in order, several to a value.
//!
//! It is small, so that the whole of it can be verified after a crash, and its commits need no
//! second sync. What was merged is removed, a few chunks with each commit.

use std::{
    ops::ControlFlow,
    sync::{Arc, OnceLock},
};

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use session_protocols::store::StoreError;

use crate::{
    Disk, disk,
    error::{Stop, failed},
    layout::{self, Reader, Stored, seal, unseal},
    tables::{META, SCHEMA, read_meta, write_meta},
};

/// The file's name.
const NAME: &str = "journal.redb";

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");

/// Values end before they need a page of twice the size.
const CHUNK: usize = (64 << 10) - 128;

/// Consecutive entries as one value of the journal.
#[derive(Debug)]
pub(crate) struct Chunk {
    first: u64,
    bytes: Vec<u8>,
}

/// Appends an entry to the last chunk, or to a new one where that is full.
pub(crate) fn push(chunks: &mut Vec<Chunk>, sequence: u64, row: &[u8]) {
    let room = |chunk: &Chunk| chunk.bytes.len().saturating_add(row.len()) <= CHUNK;
    if !chunks.last().is_some_and(room) {
        chunks.push(Chunk { first: sequence, bytes: Vec::with_capacity(CHUNK) });
    }
    if let Some(chunk) = chunks.last_mut() {
        layout::length(row.len()).write(&mut chunk.bytes);
        chunk.bytes.extend_from_slice(row);
    }
}

/// The entry with this sequence, if a chunk holds it.
pub(crate) fn pushed(chunks: &[Chunk], sequence: u64) -> Option<&[u8]> {
    let at = chunks.partition_point(|chunk| chunk.first <= sequence).checked_sub(1)?;
    let chunk = chunks.get(at)?;
    nth(&chunk.bytes, sequence.checked_sub(chunk.first)?)
}

fn nth(bytes: &[u8], skip: u64) -> Option<&[u8]> {
    let mut from = Reader(bytes);
    for _ in 0..skip {
        from.bytes()?;
    }
    from.bytes()
}

/// What the file says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// Which store it belongs to.
    pub(crate) id: u64,
    /// Entries up to here were merged and are removed, or will be.
    pub(crate) floor: u64,
}

/// The journal, opened.
pub(crate) struct Journal {
    pub(crate) db: Arc<Database>,
    floor: u64,
    /// Entries at or below the floor may be left.
    stale: bool,
    view: OnceLock<Entries>,
}

type Entries = ReadOnlyTable<u64, &'static [u8]>;

impl Journal {
    /// Opens or makes the file; none of its own says that it is new.
    pub(crate) fn open(disk: &dyn Disk, cache: usize) -> Result<(Self, Option<Meta>), Stop> {
        let db = Arc::new(disk::open(disk, NAME, cache)?);
        let meta = match read_meta(&db)? {
            None => None,
            Some(meta) => Some(Meta { id: meta.number("id")?, floor: meta.number("floor")? }),
        };
        let floor = meta.map_or(0, |meta| meta.floor);
        Ok((Self { db, floor, stale: true, view: OnceLock::new() }, meta))
    }

    /// Makes a new file the journal of a store.
    pub(crate) fn create(&mut self, id: u64) -> Result<Meta, StoreError> {
        let transaction = self.db.begin_write().map_err(failed)?;
        {
            let mut meta = transaction.open_table(META).map_err(failed)?;
            write_meta(&mut meta, "schema", &SCHEMA)?;
            write_meta(&mut meta, "id", &id)?;
            write_meta(&mut meta, "floor", &0_u64)?;
            transaction.open_table(ENTRIES).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(Meta { id, floor: 0 })
    }

    /// Makes entries durable, and removes some of those that were merged, up to `merged`.
    pub(crate) fn commit(&mut self, chunks: Vec<Chunk>, merged: u64) -> Result<(), StoreError> {
        self.view = OnceLock::new();
        let transaction = self.db.begin_write().map_err(failed)?;
        if merged > self.floor {
            let mut meta = transaction.open_table(META).map_err(failed)?;
            write_meta(&mut meta, "floor", &merged)?;
            (self.floor, self.stale) = (merged, true);
        }
        {
            let mut table = transaction.open_table(ENTRIES).map_err(failed)?;
            // Twice as many as come: what is left never grows.
            let mut remove = chunks.len().saturating_mul(2).saturating_add(1);
            while self.stale && remove > 0 {
                let first = table.first().map_err(failed)?.map(|(first, _)| first.value());
                match first.filter(|first| *first <= self.floor) {
                    Some(first) => drop(table.remove(first).map_err(failed)?),
                    None => self.stale = false,
                }
                remove = remove.saturating_sub(1);
            }
            for Chunk { first, mut bytes } in chunks {
                seal(&first.to_be_bytes(), &mut bytes);
                table.insert(first, bytes.as_slice()).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }

    /// The last entry that is or was in the journal.
    pub(crate) fn last(&self) -> Result<u64, StoreError> {
        let table = self.entries()?;
        let Some((first, bytes)) = table.last().map_err(failed)? else { return Ok(self.floor) };
        let first = first.value();
        let count = rows(first, unseal(&first.to_be_bytes(), bytes.value())?).count() as u64;
        Ok(first.saturating_add(count).saturating_sub(1).max(self.floor))
    }

    /// One entry, if the journal holds it.
    pub(crate) fn row(&self, sequence: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(chunk) = self.entries()?.range(..=sequence).map_err(failed)?.next_back() else {
            return Ok(None);
        };
        let (first, bytes) = chunk.map_err(failed)?;
        let first = first.value();
        let bytes = unseal(&first.to_be_bytes(), bytes.value())?;
        Ok(nth(bytes, sequence.saturating_sub(first)).map(<[u8]>::to_vec))
    }

    fn entries(&self) -> Result<&Entries, StoreError> {
        if let Some(view) = self.view.get() {
            return Ok(view);
        }
        let view = self.db.begin_read().map_err(failed)?.open_table(ENTRIES).map_err(failed)?;
        Ok(self.view.get_or_init(|| view))
    }
}

/// Walks the chunks that begin at or after `from`.
pub(crate) fn walk<E: From<StoreError>>(
    db: &Database,
    from: u64,
    mut visit: impl FnMut(u64, &[u8]) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let table = db.begin_read().map_err(failed)?.open_table(ENTRIES).map_err(failed)?;
    for chunk in table.range(from..).map_err(failed)? {
        let (first, bytes) = chunk.map_err(failed)?;
        let first = first.value();
        if visit(first, unseal(&first.to_be_bytes(), bytes.value())?)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Walks the chunks that begin at or after `from`, the last one first.
pub(crate) fn walk_back(
    db: &Database,
    from: u64,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let table = db.begin_read().map_err(failed)?.open_table(ENTRIES).map_err(failed)?;
    for chunk in table.range(from..).map_err(failed)?.rev() {
        let (first, bytes) = chunk.map_err(failed)?;
        let first = first.value();
        if visit(first, unseal(&first.to_be_bytes(), bytes.value())?).is_break() {
            break;
        }
    }
    Ok(())
}

/// The entries of a chunk with their sequences; stops with none where the bytes make no sense.
pub(crate) fn rows(first: u64, bytes: &[u8]) -> impl Iterator<Item = Option<(u64, &[u8])>> {
    let mut from = Reader(bytes);
    let mut next = first;
    let mut broken = false;
    std::iter::from_fn(move || {
        if from.0.is_empty() || broken {
            return None;
        }
        let row = from.bytes().map(|row| (next, row));
        broken = row.is_none();
        next = next.saturating_add(1);
        Some(row)
    })
}
