//! The index of names in the state file, so that it is as far as the ledger beside it.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::names::tables::{Read, Table, Write};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// In the order of [`Table::ALL`].
const TABLES: [Definition; 5] = [
    Definition::new("name entries"),
    Definition::new("name entries before"),
    Definition::new("name leaves"),
    Definition::new("name nodes"),
    Definition::new("name expiries"),
];

/// The tables of one transaction.
#[derive(Debug)]
pub struct Tables<T>([T; 5]);

/// Tables that are read, as of one moment, however long that is ago.
pub type Snapshot = Tables<redb::ReadOnlyTable<&'static [u8], &'static [u8]>>;

impl Snapshot {
    /// Opens the tables.
    ///
    /// # Errors
    /// When they are not there, or the database fails.
    pub fn open(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        let [entries, before, leaves, nodes, expiries] = TABLES.map(|table| transaction.open_table(table));
        Ok(Self([entries?, before?, leaves?, nodes?, expiries?]))
    }
}

impl<'t> Tables<redb::Table<'t, &'static [u8], &'static [u8]>> {
    /// Opens the tables, and makes those that are not there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn write(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let [entries, before, leaves, nodes, expiries] = TABLES.map(|table| transaction.open_table(table));
        Ok(Self([entries?, before?, leaves?, nodes?, expiries?]))
    }
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Read for Tables<T> {
    type Error = redb::Error;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        let Some(table) = self.0.get(table as usize) else { return Ok(None) };
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        mut see: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), redb::Error> {
        let Some(table) = self.0.get(table as usize) else { return Ok(()) };
        for row in table.range(from..)? {
            let (key, value) = row?;
            if !see(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }
}

impl Write for Tables<redb::Table<'_, &'static [u8], &'static [u8]>> {
    fn put(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), redb::Error> {
        let Some(table) = self.0.get_mut(table as usize) else { return Ok(()) };
        match value {
            Some(value) => drop(table.insert(key, value)?),
            None => drop(table.remove(key)?),
        }
        Ok(())
    }
}
