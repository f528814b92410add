//! A store in plain maps: the model that the real one is tested against, and what large
//! simulations run on.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bucket, Charge, Effect, Entry, Fingerprint, Item, Store, StoreError, Transaction, Usage};
use crate::{
    AccountId, MessageHash, Namespace,
    record::{Mutation, Record},
};

/// A store in memory. Every append is durable at once; clone it to keep a moment.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    incarnation: u64,
    head: u64,
    rows: BTreeMap<u64, Mutation>,
    evidence: BTreeMap<(u64, u64), Charge>,
    records: BTreeMap<(AccountId, MessageHash), Record>,
    mailboxes: BTreeMap<(AccountId, Namespace, u64), MessageHash>,
    ends: BTreeMap<(u64, AccountId, MessageHash), [u8; 32]>,
    dues: BTreeSet<(u64, AccountId, MessageHash)>,
    prints: BTreeMap<Bucket, Fingerprint>,
    usage: BTreeMap<AccountId, Usage>,
    occupied: u64,
    damaged_rows: BTreeSet<u64>,
    damaged_records: BTreeSet<(AccountId, MessageHash)>,
    damaged_accounts: BTreeSet<AccountId>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(incarnation: u64) -> Self {
        Self { incarnation, ..Self::default() }
    }

    /// Makes the mutation of a row unreadable.
    pub fn damage_row(&mut self, row: u64) {
        self.damaged_rows.insert(row);
    }

    /// Makes what is known of a message unreadable.
    pub fn damage_record(&mut self, account: AccountId, hash: MessageHash) {
        self.damaged_records.insert((account, hash));
    }

    /// Makes what an account takes up unreadable.
    pub fn damage_usage(&mut self, account: AccountId) {
        self.damaged_accounts.insert(account);
    }

    /// Every record there is, in order of account and hash.
    pub fn records(&self) -> impl Iterator<Item = (&AccountId, &MessageHash, &Record)> {
        self.records.iter().map(|((account, hash), record)| (account, hash, record))
    }

    /// What all evidence takes up, one by one.
    pub fn evidence(&self) -> impl Iterator<Item = &Charge> {
        self.evidence.values()
    }

    /// Every mutation there is, by its row.
    pub fn mutations(&self) -> impl Iterator<Item = (&u64, &Mutation)> {
        self.rows.iter()
    }

    fn apply(&mut self, effect: &Effect) {
        let Effect { account, hash, before, after } = effect;
        if let Some(before) = before {
            let id = before.id(account, hash);
            self.ends.remove(&(before.until(), *account, *hash));
            for due in before.dues() {
                self.dues.remove(&(due, *account, *hash));
            }
            let bucket = Bucket::of(before.until());
            let print = self.prints.entry(bucket).or_default();
            print.remove(&id);
            if print.count == 0 {
                self.prints.remove(&bucket);
            }
            if let Some(place) = before.place {
                self.mailboxes.remove(&(*account, place.namespace, place.sequence));
                if after.and_then(|after| after.place).is_none_or(|kept| kept.row != place.row) {
                    self.rows.remove(&place.row);
                }
            }
            self.charge(account, before.cost(), 1, false);
            self.records.remove(&(*account, *hash));
        }
        if let Some(after) = after {
            let id = after.id(account, hash);
            self.ends.insert((after.until(), *account, *hash), id);
            self.dues.extend(after.dues().map(|due| (due, *account, *hash)));
            self.prints.entry(Bucket::of(after.until())).or_default().add(&id);
            if let Some(place) = after.place {
                self.mailboxes.insert((*account, place.namespace, place.sequence), *hash);
            }
            self.charge(account, after.cost(), 1, true);
            self.records.insert((*account, *hash), *after);
        }
    }

    fn charge(&mut self, account: &AccountId, bytes: u64, records: u64, more: bool) {
        let usage = self.usage.entry(*account).or_default();
        if more {
            usage.bytes = usage.bytes.saturating_add(bytes);
            usage.records = usage.records.saturating_add(records);
            self.occupied = self.occupied.saturating_add(bytes);
        } else {
            usage.bytes = usage.bytes.saturating_sub(bytes);
            usage.records = usage.records.saturating_sub(records);
            self.occupied = self.occupied.saturating_sub(bytes);
            if *usage == Usage::default() {
                self.usage.remove(account);
            }
        }
    }
}

impl Store for MemoryStore {
    fn record(&self, account: &AccountId, hash: &MessageHash) -> Result<Option<Record>, StoreError> {
        if self.damaged_records.contains(&(*account, *hash)) {
            return Err(StoreError::Damaged("a record"));
        }
        Ok(self.records.get(&(*account, *hash)).copied())
    }

    fn page(
        &self,
        account: &AccountId,
        namespace: Namespace,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<(u64, MessageHash)>, StoreError> {
        let from = (*account, namespace, sequence.saturating_add(1));
        let range = self.mailboxes.range(from..=(*account, namespace, u64::MAX));
        Ok(range.take(limit).map(|((_, _, sequence), hash)| (*sequence, *hash)).collect())
    }

    fn drawers(&self, account: &AccountId) -> Result<Vec<Namespace>, StoreError> {
        let mut found = Vec::new();
        let mut from = Some(i16::MIN);
        while let Some(start) = from {
            let range = (*account, Namespace(start), 0)..=(*account, Namespace(i16::MAX), u64::MAX);
            let Some(((_, namespace, _), _)) = self.mailboxes.range(range).next() else { break };
            found.push(*namespace);
            from = namespace.0.checked_add(1);
        }
        Ok(found)
    }

    fn mutation(&self, row: u64) -> Result<Option<Mutation>, StoreError> {
        if self.damaged_rows.contains(&row) {
            return Err(StoreError::Damaged("a row"));
        }
        Ok(self.rows.get(&row).cloned())
    }

    fn usage(&self, account: &AccountId) -> Result<Usage, StoreError> {
        if self.damaged_accounts.contains(account) {
            return Err(StoreError::Damaged("what an account takes up"));
        }
        Ok(self.usage.get(account).copied().unwrap_or_default())
    }

    fn occupied(&self) -> u64 {
        self.occupied
    }

    fn due(&self, now: u64, limit: usize) -> Result<Vec<(AccountId, MessageHash)>, StoreError> {
        let due = self.dues.iter().take_while(|(due, _, _)| *due <= now).take(limit);
        Ok(due.map(|(_, account, hash)| (*account, *hash)).collect())
    }

    fn fingerprints(&self) -> Vec<(Bucket, Fingerprint)> {
        self.prints.iter().map(|(bucket, print)| (*bucket, *print)).collect()
    }

    fn bucket(&self, bucket: Bucket, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError> {
        let lowest = AccountId::from_bytes([0; 33]);
        let from = (bucket.start(), lowest, MessageHash([0; 32]));
        for ((until, account, hash), id) in self.ends.range(from..) {
            if Bucket::of(*until) != bucket {
                break;
            }
            visit(Item { id: *id, until: *until, account: *account, hash: *hash });
        }
        Ok(())
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn head(&self) -> u64 {
        self.head
    }
}

impl Transaction for MemoryStore {
    fn append(&mut self, entry: Entry) -> Result<u64, StoreError> {
        for effect in &entry.effects {
            self.usage(&effect.account)?;
        }
        self.head = self.head.saturating_add(1);
        if let Some((until, charge)) = entry.charge() {
            self.evidence.insert((until, self.head), charge);
            self.charge(&charge.account, charge.bytes, 0, true);
        }
        if let Some(mutation) = entry.mutation {
            self.rows.insert(self.head, mutation);
        }
        for effect in &entry.effects {
            self.apply(effect);
        }
        Ok(self.head)
    }

    fn retire(&mut self, now: u64, limit: usize) -> Result<usize, StoreError> {
        let due = self.evidence.range(..=(now, u64::MAX)).take(limit);
        let due: Vec<_> = due.map(|(key, charge)| (*key, *charge)).collect();
        for ((until, row), Charge { account, bytes }) in &due {
            self.evidence.remove(&(*until, *row));
            self.rows.remove(row);
            self.charge(account, *bytes, 0, false);
        }
        self.head = self.head.saturating_add(u64::from(!due.is_empty()));
        Ok(due.len())
    }
}
