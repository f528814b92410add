//! Where an index of names is kept: ordered tables of bytes.

use core::convert::Infallible;
use std::collections::BTreeMap;

/// The tables of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Table {
    /// What stands under each [`Key`](super::Key).
    Entries,
    /// What stood there at the last border, where that is something else.
    Before,
    /// The leaves of the tree at the last border.
    Leaves,
    /// What is over them.
    Nodes,
    /// Names by when they expire.
    Expiries,
}

impl Table {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Entries, Self::Before, Self::Leaves, Self::Nodes, Self::Expiries];
}

/// Reads tables, all as of one moment.
pub trait Read {
    /// What the tables' keeper fails with.
    type Error;

    /// What stands under a key.
    ///
    /// # Errors
    /// As the keeper.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Shows key and value of all rows from `from` on, in order, until `see` returns false.
    ///
    /// # Errors
    /// As the keeper.
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        see: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Self::Error>;
}

/// Writes tables.
pub trait Write: Read {
    /// Puts a value under a key, or takes away what stands there.
    ///
    /// # Errors
    /// As the keeper.
    fn put(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), Self::Error>;
}

/// Tables in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory([BTreeMap<Vec<u8>, Vec<u8>>; 5]);

impl Read for Memory {
    type Error = Infallible;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.get(table as usize).and_then(|table| table.get(key)).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        mut see: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Infallible> {
        let rows = self.0.get(table as usize).map(|table| table.range(from.to_vec()..));
        let _ = rows.into_iter().flatten().all(|(key, value)| see(key, value));
        Ok(())
    }
}

impl Write for Memory {
    fn put(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), Infallible> {
        if let Some(table) = self.0.get_mut(table as usize) {
            match value {
                Some(value) => drop(table.insert(key.to_vec(), value.to_vec())),
                None => drop(table.remove(key)),
            }
        }
        Ok(())
    }
}
