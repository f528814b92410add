//! The mutations that something still needs, several to a block.
//!
//! A block is a value of the table `bodies` under a number at or below its first row; it holds
//! rows in order, each behind its number and length. It fills a few pages of the file, because a
//! page for every two or three rows costs more than the rows.

use std::ops::Bound;

use redb::{ReadableTable, Table};
use session_protocols::store::StoreError;

use crate::{
    error::failed,
    layers,
    layout::{self, Reader, Stored, seal, unseal},
};

/// Values end before they need a page of twice the size.
const BLOCK: usize = (16 << 10) - 64;

type Bodies<'txn> = Table<'txn, &'static [u8; 8], &'static [u8]>;

/// Fills blocks with rows in order.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    first: u64,
    block: Vec<u8>,
}

impl Packer {
    /// Puts a row in.
    pub(crate) fn push(&mut self, row: u64, mutation: &[u8], to: &mut Bodies<'_>) -> Result<(), StoreError> {
        if self.block.len().saturating_add(mutation.len()) > BLOCK {
            self.flush(to)?;
        }
        if self.block.is_empty() {
            self.first = row;
        }
        put(&mut self.block, row, mutation);
        Ok(())
    }

    /// Writes what is left.
    pub(crate) fn flush(&mut self, to: &mut Bodies<'_>) -> Result<(), StoreError> {
        if !self.block.is_empty() {
            write(to, self.first, &mut self.block)?;
            self.block.clear();
        }
        Ok(())
    }
}

fn put(block: &mut Vec<u8>, row: u64, mutation: &[u8]) {
    row.write(block);
    layout::length(mutation.len()).write(block);
    block.extend_from_slice(mutation);
}

fn write(to: &mut Bodies<'_>, first: u64, block: &mut Vec<u8>) -> Result<(), StoreError> {
    let key = first.to_be_bytes();
    seal(&key, block);
    to.insert(&key, block.as_slice()).map_err(failed)?;
    Ok(())
}

/// Removes the blocks that begin at a row or later: a merge that did not end left them.
pub(crate) fn remove_from(row: u64, from: &mut Bodies<'_>) -> Result<(), StoreError> {
    from.retain_in::<&[u8; 8], _>(&row.to_be_bytes().., |_, _| false).map_err(failed)
}

/// Removes rows, given in order, from their blocks.
pub(crate) fn remove(rows: impl Iterator<Item = u64>, from: &mut Bodies<'_>) -> Result<(), StoreError> {
    let mut rows = rows.peekable();
    while let Some(row) = rows.next() {
        let (first, kept, next) = {
            let Some(block) = from.range::<&[u8; 8]>(..=&row.to_be_bytes()).map_err(failed)?.next_back()
            else {
                continue;
            };
            let (key, value) = block.map_err(failed)?;
            // Of a block that is damaged nothing can be read: all of it goes.
            let block = unseal(key.value(), value.value()).unwrap_or_default();
            let after = (Bound::Excluded(key.value()), Bound::Unbounded);
            let next = from.range::<&[u8; 8]>(after).map_err(failed)?.next().transpose().map_err(failed)?;
            let next = next.map(|(key, _)| u64::from_be_bytes(*key.value()));
            let mut gone = Some(row);
            let mut kept = Vec::with_capacity(block.len());
            for entry in entries(block) {
                let (at, mutation) = entry?;
                while gone.is_some_and(|row| row < at) {
                    gone = rows.next_if(|row| next.is_none_or(|next| *row < next));
                }
                if gone != Some(at) {
                    put(&mut kept, at, mutation);
                }
            }
            let unchanged = !kept.is_empty() && kept.len() == block.len();
            (u64::from_be_bytes(*key.value()), (!unchanged).then_some(kept), next)
        };
        // Rows behind the last one of the block are in none.
        while rows.next_if(|row| next.is_none_or(|next| *row < next)).is_some() {}
        match kept {
            None => {}
            Some(kept) if kept.is_empty() => {
                from.remove(&first.to_be_bytes()).map_err(failed)?;
            }
            Some(mut kept) => write(from, first, &mut kept)?,
        }
    }
    Ok(())
}

/// The mutation of a row, if something still needs it.
pub(crate) fn find<T>(
    table: &layers::Table<8>,
    row: u64,
    read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let Some(block) = table.range::<&[u8; 8]>(..=&row.to_be_bytes()).map_err(failed)?.next_back() else {
        return Ok(None);
    };
    let (key, value) = block.map_err(failed)?;
    for entry in entries(unseal(key.value(), value.value())?) {
        let (at, mutation) = entry?;
        if at == row {
            return read(mutation).map(Some);
        }
    }
    Ok(None)
}

/// The rows of a block.
fn entries(block: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), StoreError>> {
    let mut from = Reader(block);
    std::iter::from_fn(move || {
        if from.0.is_empty() {
            return None;
        }
        let entry = from.number().and_then(|row| Some((row, from.bytes()?)));
        if entry.is_none() {
            from = Reader(&[]);
        }
        Some(entry.ok_or(StoreError::Damaged("a block of mutations")))
    })
}
