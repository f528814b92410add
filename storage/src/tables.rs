//! The file that entries are merged into: bodies by row, and one table for each question.
//!
//! It may be large, so every commit to it also records where its free pages are (redb's quick
//! repair): it opens at once after a crash.

use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition, TableError, WriteTransaction};
use session_protocols::{
    MessageHash,
    record::Record,
    store::{Charge, StoreError, Usage},
};

use crate::{
    Disk, disk,
    error::{Stop, failed},
    layers::Table,
    layout::{self, Stored, seal},
    overlay::Sums,
};

/// The file's name.
const NAME: &str = "messages.redb";

/// What this build writes and reads.
pub(crate) const SCHEMA: u32 = 2;

/// A table by keys of a fixed length, by name.
pub(crate) type Definition<const N: usize> = TableDefinition<'static, &'static [u8; N], &'static [u8]>;

pub(crate) const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");
pub(crate) const BODIES: Definition<8> = TableDefinition::new("bodies");
pub(crate) const RECORDS: Definition<65> = TableDefinition::new("records");
pub(crate) const ARRIVALS: Definition<43> = TableDefinition::new("arrivals");
pub(crate) const ENDS: Definition<73> = TableDefinition::new("ends");
pub(crate) const USAGE: Definition<33> = TableDefinition::new("usage");
pub(crate) const EVIDENCE: Definition<16> = TableDefinition::new("evidence");

/// The tables, opened.
pub(crate) struct Tables {
    pub(crate) db: Arc<Database>,
    pub(crate) view: View,
    pub(crate) meta: Meta,
}

/// What the file says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// Which store it belongs to.
    pub(crate) id: u64,
    /// Entries up to here are merged.
    pub(crate) merged: u64,
}

/// The tables as they were at the last commit.
pub(crate) struct View {
    pub(crate) bodies: Table<8>,
    pub(crate) records: Table<65>,
    pub(crate) arrivals: Table<43>,
    pub(crate) ends: Table<73>,
    pub(crate) usage: Table<33>,
    pub(crate) evidence: Table<16>,
}

impl View {
    fn open(db: &Database) -> Result<Self, StoreError> {
        let transaction = db.begin_read().map_err(failed)?;
        Ok(Self {
            bodies: transaction.open_table(BODIES).map_err(failed)?,
            records: transaction.open_table(RECORDS).map_err(failed)?,
            arrivals: transaction.open_table(ARRIVALS).map_err(failed)?,
            ends: transaction.open_table(ENDS).map_err(failed)?,
            usage: transaction.open_table(USAGE).map_err(failed)?,
            evidence: transaction.open_table(EVIDENCE).map_err(failed)?,
        })
    }
}

impl Tables {
    /// Opens the tables of a file; one that says nothing of itself is made to say `own`.
    pub(crate) fn open(db: Database, found: Option<Meta>, own: Meta) -> Result<Self, StoreError> {
        let meta = match found {
            Some(meta) => meta,
            None => {
                create(&db, own)?;
                own
            }
        };
        let view = View::open(&db)?;
        Ok(Self { db: Arc::new(db), view, meta })
    }

    /// Lets reads see what was merged by now.
    pub(crate) fn refresh(&mut self) -> Result<(), StoreError> {
        self.view = View::open(&self.db)?;
        Ok(())
    }
}

/// Opens or makes the file, and reads what it says of itself; none when it is new.
pub(crate) fn open(disk: &dyn Disk, cache: usize) -> Result<(Database, Option<(Meta, Sums)>), Stop> {
    let db = disk::open(disk, NAME, cache)?;
    let Some(meta) = read_meta(&db)? else { return Ok((db, None)) };
    let own = Meta { id: meta.number("id")?, merged: meta.number("merged")? };
    let sums = Sums::decode(&meta.bytes("sums")?).ok_or(StoreError::Damaged("the sums"))?;
    Ok((db, Some((own, sums))))
}

/// Begins a change of the tables.
pub(crate) fn begin(db: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = db.begin_write().map_err(failed)?;
    // Every commit must do so: one without would cost a walk of the whole file after a crash.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn create(db: &Database, own: Meta) -> Result<(), StoreError> {
    let transaction = begin(db)?;
    {
        let mut meta = transaction.open_table(META).map_err(failed)?;
        write_meta(&mut meta, "schema", &SCHEMA)?;
        write_meta(&mut meta, "id", &own.id)?;
        set_merged(&mut meta, own.merged, &Sums::default())?;
        transaction.open_table(BODIES).map_err(failed)?;
        transaction.open_table(RECORDS).map_err(failed)?;
        transaction.open_table(ARRIVALS).map_err(failed)?;
        transaction.open_table(ENDS).map_err(failed)?;
        transaction.open_table(USAGE).map_err(failed)?;
        transaction.open_table(EVIDENCE).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

type MetaTable<'txn> = redb::Table<'txn, &'static str, &'static [u8]>;

/// Says up to where entries are merged, and the sums at that moment.
pub(crate) fn set_merged(meta: &mut MetaTable<'_>, merged: u64, sums: &Sums) -> Result<(), StoreError> {
    write_meta(meta, "merged", &merged)?;
    let mut bytes = sums.encode();
    seal(b"sums", &mut bytes);
    meta.insert("sums", bytes.as_slice()).map_err(failed)?;
    Ok(())
}

/// Writes one value of a `meta` table.
pub(crate) fn write_meta<V: Stored>(
    meta: &mut MetaTable<'_>,
    name: &str,
    value: &V,
) -> Result<(), StoreError> {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    seal(name.as_bytes(), &mut bytes);
    meta.insert(name, bytes.as_slice()).map_err(failed)?;
    Ok(())
}

/// The `meta` table of a file whose schema this build reads.
pub(crate) struct ReadMeta(ReadOnlyTable<&'static str, &'static [u8]>);

/// Reads what a file says of itself; none when it is new.
pub(crate) fn read_meta(db: &Database) -> Result<Option<ReadMeta>, Stop> {
    let transaction = db.begin_read().map_err(failed)?;
    let table = match transaction.open_table(META) {
        Ok(table) => ReadMeta(table),
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(failed(error).into()),
    };
    match table.value::<u32>("schema")? {
        0 => Err(StoreError::Damaged("the schema version").into()),
        SCHEMA => Ok(Some(table)),
        found => Err(Stop::Schema { found, supported: SCHEMA }),
    }
}

impl ReadMeta {
    pub(crate) fn number(&self, name: &'static str) -> Result<u64, StoreError> {
        self.value(name)
    }

    fn value<V: Stored>(&self, name: &'static str) -> Result<V, StoreError> {
        let bytes = self.0.get(name).map_err(failed)?.ok_or(StoreError::Damaged(name))?;
        layout::decode(name.as_bytes(), bytes.value())
    }

    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError> {
        let bytes = self.0.get(name).map_err(failed)?.ok_or(StoreError::Damaged(name))?;
        layout::unseal(name.as_bytes(), bytes.value()).map(<[u8]>::to_vec)
    }
}

/// The tables that hold one value for each key of an overlay.
pub(crate) trait Column<const N: usize>: Stored {
    const TABLE: Definition<N>;

    /// Writes up to `budget` rows to the table; the last key if some may be left.
    fn put<'a>(
        transaction: &WriteTransaction,
        rows: impl Iterator<Item = (&'a [u8; N], Option<&'a Option<Self>>)>,
        budget: &mut usize,
    ) -> Result<Option<[u8; N]>, StoreError>
    where
        Self: 'a,
    {
        let mut table = transaction.open_table(Self::TABLE).map_err(failed)?;
        let mut bytes = Vec::new();
        for (key, value) in rows {
            match value.copied().flatten() {
                Some(value) => {
                    bytes.clear();
                    value.write(&mut bytes);
                    seal(key, &mut bytes);
                    table.insert(key, bytes.as_slice()).map_err(failed)?;
                }
                None => {
                    table.remove(key).map_err(failed)?;
                }
            }
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                return Ok(Some(*key));
            }
        }
        Ok(None)
    }
}

impl Column<65> for Record {
    const TABLE: Definition<65> = RECORDS;
}

impl Column<43> for MessageHash {
    const TABLE: Definition<43> = ARRIVALS;
}

impl Column<73> for [u8; 32] {
    const TABLE: Definition<73> = ENDS;
}

impl Column<33> for Usage {
    const TABLE: Definition<33> = USAGE;
}

impl Column<16> for Charge {
    const TABLE: Definition<16> = EVIDENCE;
}
