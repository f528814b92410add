//! What becomes of an index as names change, and at borders.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, keccak256};
use session_protocols::names::NameId;

use super::{
    Change, GRACE, Key,
    entry::{Entry, Offer, SubEntry},
    tables::{Read, Table, Write},
    tree::{self, Way},
};

/// Leaves that the tree takes at once where all of it is made.
const LEAVES: usize = 1 << 16;

/// A key of an index, and what stands under it.
pub type Row = (Vec<u8>, Vec<u8>);
/// Some rows, and the key from which on there are more.
pub type Rows = (Vec<Row>, Option<Vec<u8>>);

/// An index of names, kept in tables.
///
/// It has two views: that of now, and that of the last border, which the tree proves. What changed in between is
/// kept twice, until the next border.
#[derive(Clone, Debug, Default)]
pub struct Index<T>(pub T);

/// What stands under a key at the last border, and the way from it to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The bytes; none where nothing stands there.
    pub value: Option<Vec<u8>>,
    /// The way.
    pub way: Way,
}

impl<T: Read> Index<T> {
    /// What is known of a name now; none when it is free, or its bytes are damaged.
    ///
    /// # Errors
    /// As the tables.
    pub fn name(&self, id: &NameId) -> Result<Option<Entry>, T::Error> {
        let bytes = self.0.get(Table::Entries, &Key::Name(*id).to_bytes())?;
        Ok(bytes.and_then(|bytes| Entry::from_bytes(&bytes).ok()))
    }

    /// What is known of a sub-name now.
    ///
    /// # Errors
    /// As the tables.
    pub fn sub(&self, id: &NameId, sub: B256) -> Result<Option<SubEntry>, T::Error> {
        let bytes = self.0.get(Table::Entries, &Key::Sub(*id, sub).to_bytes())?;
        Ok(bytes.and_then(|bytes| SubEntry::from_bytes(&bytes).ok()))
    }

    /// By which name an account goes now.
    ///
    /// # Errors
    /// As the tables.
    pub fn reverse(&self, account: Address) -> Result<Option<NameId>, T::Error> {
        let bytes = self.0.get(Table::Entries, &Key::Account(account).to_bytes())?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(NameId::from_bytes))
    }

    /// Shows all names as they are now, in order of their ids, until `see` returns false.
    ///
    /// # Errors
    /// As the tables.
    pub fn names(&self, mut see: impl FnMut(NameId, Entry) -> bool) -> Result<(), T::Error> {
        self.0.scan(Table::Entries, &[], |key, bytes| {
            let name = <[u8; 32]>::try_from(key).ok().map(NameId::from_bytes);
            name.zip(Entry::from_bytes(bytes).ok()).is_none_or(|(id, entry)| see(id, entry))
        })
    }

    /// What stood under a key at the last border, and the proof of it.
    ///
    /// # Errors
    /// As the tables.
    pub fn prove(&self, key: &Key) -> Result<Proven, T::Error> {
        let bytes = key.to_bytes();
        let (_, way) = tree::find(&self.0, keccak256(&bytes))?;
        let value = match self.0.get(Table::Before, &bytes)? {
            Some(before) => before.split_first().map(|(_, before)| before.to_vec()),
            None => self.0.get(Table::Entries, &bytes)?,
        };
        Ok(Proven { value, way })
    }

    /// Rows as they were at the last border, from a key on and in order of their keys, and from which key on there
    /// are more: at most twice `most` bytes, and two rows.
    ///
    /// # Errors
    /// As the tables.
    pub fn rows(&self, from: &[u8], most: usize) -> Result<Rows, T::Error> {
        let mut found: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let mut next: Option<Vec<u8>> = None;
        for table in [Table::Entries, Table::Before] {
            let mut bytes = 0_usize;
            self.0.scan(table, from, |key, value| {
                if next.as_deref().is_some_and(|next| key >= next) {
                    return false;
                }
                if bytes >= most {
                    next = Some(key.to_vec());
                    return false;
                }
                bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
                let value = if table == Table::Before {
                    value.split_first().map(|(_, before)| before.to_vec())
                } else {
                    Some(value.to_vec())
                };
                found.insert(key.to_vec(), value);
                true
            })?;
        }
        if let Some(next) = &next {
            found.retain(|key, _| key < next);
        }
        Ok((found.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(), next))
    }

    /// The root at the last border.
    ///
    /// # Errors
    /// As the tables.
    pub fn root(&self) -> Result<B256, T::Error> {
        tree::root(&self.0)
    }
}

impl<T: Write> Index<T> {
    /// Takes what happened to a name. What cannot be has no effect: the contract lets none of it through.
    ///
    /// # Errors
    /// As the tables.
    pub fn apply(&mut self, change: &Change) -> Result<(), T::Error> {
        match change {
            Change::Registered { id, owner, expires, version } => {
                self.begin(id, *owner, *expires, *version)?;
            }
            Change::Transferred { id, owner, version } => {
                if let Some(before) = self.name(id)? {
                    self.begin(id, *owner, before.expires, *version)?;
                }
            }
            Change::Renewed { id, expires } => {
                if let Some(mut entry) = self.name(id)? {
                    self.0.put(Table::Expiries, &expiry(entry.expires, id), None)?;
                    entry.expires = *expires;
                    self.0.put(Table::Expiries, &expiry(*expires, id), Some(&[]))?;
                    self.set(&Key::Name(*id), Some(entry.to_bytes()))?;
                }
            }
            Change::Record { id, sub, version, kind, value } if sub.is_zero() => {
                self.edit(id, Some(*version), |entry| {
                    if value.is_empty() {
                        entry.records.remove(kind);
                    } else {
                        entry.records.insert(*kind, value.clone());
                    }
                })?;
            }
            Change::Record { id, sub, version, kind, value } => {
                if self.name(id)?.is_none_or(|name| name.version != *version) {
                    return Ok(());
                }
                let mut entry = self.sub(id, *sub)?.unwrap_or_default();
                entry.version = *version;
                if value.is_empty() {
                    entry.records.remove(kind);
                } else {
                    entry.records.insert(*kind, value.clone());
                }
                let bytes = (!entry.records.is_empty()).then(|| entry.to_bytes());
                self.set(&Key::Sub(*id, *sub), bytes)?;
            }
            Change::Reverse { account, id } => {
                let none = *id == NameId::from_bytes([0; 32]);
                if none || self.name(id)?.is_some_and(|name| name.owner == *account) {
                    self.set(&Key::Account(*account), (!none).then(|| id.as_bytes().to_vec()))?;
                }
            }
            Change::Revealed { id, version, name } => {
                self.edit(id, Some(*version), |entry| entry.revealed = Some(name.clone()))?;
            }
            Change::Price { id, version, price } => {
                let price = Some(*price).filter(|price| !price.is_zero());
                self.edit(id, Some(*version), |entry| entry.price = price)?;
            }
            Change::Offered { id, version, buyer, amount, until } => {
                let offer = Offer { buyer: *buyer, amount: *amount, until: *until };
                self.edit(id, Some(*version), |entry| entry.offer = Some(offer))?;
            }
            Change::Withdrawn { id, buyer } => {
                // One that was made for an earlier version is gone already.
                self.edit(id, None, |entry| {
                    entry.offer.take_if(|offer| offer.buyer == *buyer).map_or((), drop)
                })?;
            }
        }
        Ok(())
    }

    /// Ends an epoch at an instant, in seconds since 1970: frees the names whose grace is over, and returns the
    /// root of all that there is.
    ///
    /// # Errors
    /// As the tables.
    pub fn cross(&mut self, now: u64) -> Result<B256, T::Error> {
        let mut free = Vec::new();
        self.0.scan(Table::Expiries, &[], |row, _| {
            let Some((expires, id)) = read_expiry(row) else { return false };
            let over = expires.saturating_add(GRACE) <= now;
            if over {
                free.push(id);
            }
            over
        })?;
        for id in free {
            self.end(&id)?;
            self.set(&Key::Name(id), None)?;
        }
        let mut changed = Vec::new();
        self.0.scan(Table::Before, &[], |key, _| {
            changed.push(key.to_vec());
            true
        })?;
        let mut leaves = Vec::with_capacity(changed.len());
        for key in &changed {
            leaves.push((keccak256(key), self.0.get(Table::Entries, key)?.map(keccak256)));
            self.0.put(Table::Before, key, None)?;
        }
        tree::update(&mut self.0, leaves)
    }

    /// Puts rows there as they were at a border, into an index that has none of them; [`Self::plant`] makes the tree
    /// when all are there.
    ///
    /// # Errors
    /// As the tables.
    pub fn restore(&mut self, rows: &[Row]) -> Result<(), T::Error> {
        for (key, value) in rows {
            let name = <[u8; 32]>::try_from(key.as_slice()).ok().map(NameId::from_bytes);
            if let Some((id, entry)) = name.zip(Entry::from_bytes(value).ok()) {
                self.0.put(Table::Expiries, &expiry(entry.expires, &id), Some(&[]))?;
            }
            self.0.put(Table::Entries, key, Some(value.as_slice()))?;
        }
        Ok(())
    }

    /// Makes the tree of all that there is, as at a border, and returns its root.
    ///
    /// # Errors
    /// As the tables.
    pub fn plant(&mut self) -> Result<B256, T::Error> {
        let mut from = Some(Vec::<u8>::new());
        while let Some(first) = from.take() {
            let mut leaves = Vec::new();
            self.0.scan(Table::Entries, &first, |key, value| {
                let fits = leaves.len() < LEAVES;
                if fits {
                    leaves.push((keccak256(key), Some(keccak256(value))));
                } else {
                    from = Some(key.to_vec());
                }
                fits
            })?;
            tree::update(&mut self.0, leaves)?;
        }
        tree::root(&self.0)
    }

    /// Begins a version of a name.
    fn begin(&mut self, id: &NameId, owner: Address, expires: u64, version: u32) -> Result<(), T::Error> {
        self.end(id)?;
        let entry =
            Entry { owner, expires, version, price: None, offer: None, revealed: None, records: [].into() };
        self.0.put(Table::Expiries, &expiry(expires, id), Some(&[]))?;
        self.set(&Key::Name(*id), Some(entry.to_bytes()))
    }

    /// Takes away what was said of a name's version, but for its own entry.
    fn end(&mut self, id: &NameId) -> Result<(), T::Error> {
        let Some(entry) = self.name(id)? else { return Ok(()) };
        self.0.put(Table::Expiries, &expiry(entry.expires, id), None)?;
        if self.reverse(entry.owner)? == Some(*id) {
            self.set(&Key::Account(entry.owner), None)?;
        }
        let mut subs = Vec::new();
        self.0.scan(Table::Entries, id.as_bytes(), |key, _| {
            let of_name = key.starts_with(id.as_bytes());
            if let Some(sub) = key.get(32..).filter(|_| of_name).and_then(|sub| B256::try_from(sub).ok()) {
                subs.push(sub);
            }
            of_name
        })?;
        for sub in subs {
            self.set(&Key::Sub(*id, sub), None)?;
        }
        Ok(())
    }

    /// Changes what is said of a name, if it has that version.
    fn edit(
        &mut self,
        id: &NameId,
        version: Option<u32>,
        edit: impl FnOnce(&mut Entry),
    ) -> Result<(), T::Error> {
        let entry = self.name(id)?;
        let Some(mut entry) = entry.filter(|entry| version.is_none_or(|version| version == entry.version))
        else {
            return Ok(());
        };
        edit(&mut entry);
        self.set(&Key::Name(*id), Some(entry.to_bytes()))
    }

    /// Puts bytes under a key, and keeps what stood there at the last border.
    fn set(&mut self, key: &Key, value: Option<Vec<u8>>) -> Result<(), T::Error> {
        let key = key.to_bytes();
        if self.0.get(Table::Before, &key)?.is_none() {
            let before = self.0.get(Table::Entries, &key)?;
            // A byte more where there was something: nothing at all is what stood under a new key.
            let before = before.map_or_else(Vec::new, |before| [&[1], &before[..]].concat());
            self.0.put(Table::Before, &key, Some(&before))?;
        }
        self.0.put(Table::Entries, &key, value.as_deref())
    }
}

/// The row of a name in the order of expiry.
fn expiry(expires: u64, id: &NameId) -> Vec<u8> {
    [&expires.to_be_bytes()[..], id.as_bytes()].concat()
}

fn read_expiry(row: &[u8]) -> Option<(u64, NameId)> {
    let (expires, id) = row.split_first_chunk()?;
    Some((u64::from_be_bytes(*expires), NameId::from_bytes(id.try_into().ok()?)))
}
