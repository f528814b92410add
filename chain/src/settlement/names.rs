//! The index of names in the state file, so that it is as far as the ledger beside it.

use std::collections::HashMap;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use crate::names::{
    tables::{Read, Table, Write},
    tree,
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// In the order of [`Table::ALL`].
const TABLES: [Definition; 5] = [
    Definition::new("name entries"),
    Definition::new("name entries before"),
    Definition::new("name leaves"),
    Definition::new("name nodes"),
    Definition::new("name expiries"),
];

/// The rows of the tree's upper nodes that a [`Snapshot`] holds in memory have this many bytes at most: those of
/// the 16 upper levels, which each proof goes through.
const UPPER: usize = 2;

/// The tables of an index that are read, as of one moment, however long that is ago.
#[derive(Debug)]
pub struct Snapshot {
    tables: [ReadOnlyTable<&'static [u8], &'static [u8]>; 5],
    upper: HashMap<Vec<u8>, Vec<u8>>,
}

/// The tables of an index that are written.
#[derive(Debug)]
pub struct Writing<'t>([redb::Table<'t, &'static [u8], &'static [u8]>; 5]);

impl Snapshot {
    /// Opens the tables, and reads the upper nodes.
    ///
    /// # Errors
    /// When they are not there, or the database fails.
    pub fn open(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        let [entries, before, leaves, nodes, expiries] = TABLES.map(|table| transaction.open_table(table));
        let mut snapshot =
            Self { tables: [entries?, before?, leaves?, nodes?, expiries?], upper: HashMap::new() };
        let mut upper = HashMap::new();
        tree::upper(&snapshot, |row, value| {
            let is_upper = row.len() <= UPPER;
            if is_upper {
                upper.insert(row.to_vec(), value.to_vec());
            }
            is_upper
        })?;
        snapshot.upper = upper;
        Ok(snapshot)
    }

    /// How many names there are, those in their grace too.
    ///
    /// # Errors
    /// When the database fails.
    pub fn count(&self) -> Result<u64, redb::Error> {
        // Each expires once.
        let [.., expiries] = &self.tables;
        Ok(expiries.len()?)
    }
}

impl<'t> Writing<'t> {
    /// Opens the tables, and makes those that are not there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let [entries, before, leaves, nodes, expiries] = TABLES.map(|table| transaction.open_table(table));
        Ok(Self([entries?, before?, leaves?, nodes?, expiries?]))
    }

    /// The same, but of what is in them nothing is left.
    ///
    /// # Errors
    /// When the database fails.
    pub fn anew(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        for table in TABLES {
            transaction.delete_table(table)?;
        }
        Self::open(transaction)
    }
}

impl Read for Snapshot {
    type Error = redb::Error;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        if table == Table::Nodes && key.len() <= UPPER && !self.upper.is_empty() {
            return Ok(self.upper.get(key).cloned());
        }
        get(&self.tables, table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        see: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), redb::Error> {
        scan(&self.tables, table, from, see)
    }
}

impl Read for Writing<'_> {
    type Error = redb::Error;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        get(&self.0, table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        see: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), redb::Error> {
        scan(&self.0, table, from, see)
    }
}

impl Write for Writing<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), redb::Error> {
        let Some(table) = self.0.get_mut(table as usize) else { return Ok(()) };
        match value {
            Some(value) => drop(table.insert(key, value)?),
            None => drop(table.remove(key)?),
        }
        Ok(())
    }
}

fn get(
    tables: &[impl ReadableTable<&'static [u8], &'static [u8]>],
    table: Table,
    key: &[u8],
) -> Result<Option<Vec<u8>>, redb::Error> {
    let Some(table) = tables.get(table as usize) else { return Ok(None) };
    Ok(table.get(key)?.map(|value| value.value().to_vec()))
}

fn scan(
    tables: &[impl ReadableTable<&'static [u8], &'static [u8]>],
    table: Table,
    from: &[u8],
    mut see: impl FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), redb::Error> {
    let Some(table) = tables.get(table as usize) else { return Ok(()) };
    for row in table.range(from..)? {
        let (key, value) = row?;
        if !see(key.value(), value.value()) {
            break;
        }
    }
    Ok(())
}
