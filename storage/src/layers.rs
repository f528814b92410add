//! One table under the overlays that will change it, read as one.

use std::{collections::btree_map, iter::Peekable};

use redb::{ReadOnlyTable, ReadableTableMetadata};
use session_protocols::store::StoreError;

use crate::{
    error::failed,
    layout::{self, Stored},
    overlay::Layer,
};

/// A table by keys of a fixed length.
pub(crate) type Table<const N: usize> = ReadOnlyTable<&'static [u8; N], &'static [u8]>;

/// What a key holds: what the newest layer says, or else the table.
pub(crate) fn get<const N: usize, V: Stored>(
    key: &[u8; N],
    newest: Option<&Option<V>>,
    table: &Table<N>,
) -> Result<Option<V>, StoreError> {
    if let Some(newest) = newest {
        return Ok(*newest);
    }
    let Some(value) = table.get(key).map_err(failed)? else { return Ok(None) };
    layout::decode(key, value.value()).map(Some)
}

/// How many keys a table has under a layer. The table knows its own number, so only the keys of the
/// layer are looked up.
pub(crate) fn count<const N: usize, V>(layer: &Layer<N, V>, table: &Table<N>) -> Result<u64, StoreError> {
    let mut count = table.len().map_err(failed)?;
    for (key, newest) in layer {
        let there = table.get(key).map_err(failed)?.is_some();
        match (there, newest.is_some()) {
            (false, true) => count = count.saturating_add(1),
            (true, false) => count = count.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
    }
    Ok(count)
}

/// A table and what is newer than it, the newest first.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a, const N: usize, V> {
    pub(crate) active: &'a Layer<N, V>,
    pub(crate) sealed: Option<&'a Layer<N, V>>,
    pub(crate) table: &'a Table<N>,
}

impl<'a, const N: usize, V: Stored> Layers<'a, N, V> {
    /// Walks the keys from `first` to `last`, both included.
    pub(crate) fn range(&self, first: [u8; N], last: [u8; N]) -> Result<Walk<'a, N, V>, StoreError> {
        if first > last {
            return Ok(self.newest(first, last));
        }
        let table = self.table.range::<&[u8; N]>(&first..=&last).map_err(failed)?;
        Ok(Walk { table: Some(table), ..self.newest(first, last) })
    }

    /// Walks the keys from `first` to `last`, both included, of which the layers say all there is.
    pub(crate) fn newest(&self, first: [u8; N], last: [u8; N]) -> Walk<'a, N, V> {
        if first > last {
            return Walk { layers: [None, None], table: None, ahead: None };
        }
        let layers =
            [Some(self.active), self.sealed].map(|layer| Some(layer?.range(first..=last).peekable()));
        Walk { layers, table: None, ahead: None }
    }
}

/// What one overlay holds of a range; none stands for a removed key.
type Changes<'a, const N: usize, V> = Peekable<btree_map::Range<'a, [u8; N], Option<V>>>;

/// A walk over the keys of [`Layers`].
pub(crate) struct Walk<'a, const N: usize, V> {
    layers: [Option<Changes<'a, N, V>>; 2],
    table: Option<redb::Range<'a, &'static [u8; N], &'static [u8]>>,
    /// What the table gave and was not taken yet.
    ahead: Option<([u8; N], V)>,
}

impl<const N: usize, V: Stored> Walk<'_, N, V> {
    fn step(&mut self) -> Result<Option<([u8; N], V)>, StoreError> {
        loop {
            if self.ahead.is_none()
                && let Some(table) = &mut self.table
            {
                match table.next() {
                    Some(row) => {
                        let (key, value) = row.map_err(failed)?;
                        let key = *key.value();
                        self.ahead = Some((key, layout::decode(&key, value.value())?));
                    }
                    None => self.table = None,
                }
            }
            let mut lowest = self.ahead.map(|(key, _)| key);
            for layer in self.layers.iter_mut().flatten() {
                let key = layer.peek().map(|(key, _)| **key);
                lowest = [lowest, key].into_iter().flatten().min();
            }
            let Some(key) = lowest else { return Ok(None) };
            // The newest layer that has the key decides; the others are passed by.
            let mut decided = None;
            for layer in self.layers.iter_mut().flatten() {
                if let Some((_, value)) = layer.next_if(|(at, _)| **at == key) {
                    decided = decided.or(Some(*value));
                }
            }
            if let Some((_, value)) = self.ahead.take_if(|(at, _)| *at == key) {
                decided = decided.or(Some(Some(value)));
            }
            if let Some(value) = decided.flatten() {
                return Ok(Some((key, value)));
            }
        }
    }
}

impl<const N: usize, V: Stored> Iterator for Walk<'_, N, V> {
    type Item = Result<([u8; N], V), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
