//! The newest entries, as they change the tables, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use session_protocols::{
    MessageHash,
    record::Record,
    store::{Bucket, Charge, Effect, Fingerprint, Usage},
};

use crate::layout::{self, Deeds, Stored};

/// What a table is to hold under some of its keys; none where it is to hold nothing.
pub(crate) type Layer<const N: usize, V> = BTreeMap<[u8; N], Option<V>>;

/// The same for a table that is never read in order.
pub(crate) type Points<const N: usize, V> = HashMap<[u8; N], Option<V>>;

/// What some consecutive entries change.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    pub(crate) records: Points<65, Record>,
    pub(crate) arrivals: Layer<43, MessageHash>,
    pub(crate) ends: Layer<73, [u8; 32]>,
    pub(crate) usage: Points<33, Usage>,
    pub(crate) evidence: Layer<16, Charge>,
    /// Rows whose mutation nothing needs.
    pub(crate) gone: BTreeSet<u64>,
    /// How many effects went in, retired evidence included.
    pub(crate) changes: usize,
    /// How many entries went in.
    pub(crate) entries: usize,
    /// How long they are in the journal.
    pub(crate) bytes: usize,
}

impl Overlay {
    /// An empty one, with room for as many keys: maps that grow are copied again and again.
    pub(crate) fn successor(&self) -> Self {
        Self {
            records: HashMap::with_capacity(self.records.len()),
            usage: HashMap::with_capacity(self.usage.len()),
            ..Self::default()
        }
    }

    /// Takes one entry in, and counts it into the sums.
    pub(crate) fn apply(&mut self, sequence: u64, deeds: &Deeds, bytes: usize, sums: &mut Sums) {
        for effect in &deeds.effects {
            self.effect(effect, sums);
        }
        for (account, usage) in &deeds.usage {
            self.usage.insert(*account.as_bytes(), (*usage != Usage::default()).then_some(*usage));
        }
        if let Some((until, charge)) = deeds.evidence {
            self.evidence.insert(layout::evidence_key(until, sequence), Some(charge));
            sums.occupied = sums.occupied.saturating_add(charge.bytes);
        }
        for (key, charge) in &deeds.retired {
            self.evidence.insert(*key, None);
            self.gone.insert(layout::evidence_row(key));
            sums.occupied = sums.occupied.saturating_sub(charge.bytes);
        }
        self.changes = self.changes.saturating_add(deeds.changes());
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn effect(&mut self, effect: &Effect, sums: &mut Sums) {
        let Effect { account, hash, before, after } = effect;
        if let Some(before) = before {
            sums.take_out(before, &before.id(account, hash));
            self.ends.insert(layout::end_key(before.until(), account, hash), None);
            if let Some(sheds) = before.sheds() {
                self.ends.insert(layout::end_key(sheds, account, hash), None);
            }
            if let Some(place) = before.place {
                self.arrivals.insert(layout::arrival_key(account, place.namespace, place.sequence), None);
                if after.and_then(|after| after.place).is_none_or(|kept| kept.row != place.row) {
                    self.gone.insert(place.row);
                }
            }
        }
        if let Some(after) = after {
            let id = after.id(account, hash);
            sums.put_in(after, &id);
            self.ends.insert(layout::end_key(after.until(), account, hash), Some(id));
            if let Some(sheds) = after.sheds() {
                self.ends.insert(layout::end_key(sheds, account, hash), Some(layout::SHEDS));
            }
            if let Some(place) = after.place {
                self.arrivals
                    .insert(layout::arrival_key(account, place.namespace, place.sequence), Some(*hash));
            }
        }
        self.records.insert(layout::record_key(account, hash), *after);
    }

    /// How many keys a merge will touch; a body counts as several.
    pub(crate) fn work(&self) -> usize {
        [
            self.entries,
            self.bytes / BODY_UNIT,
            self.gone.len(),
            self.evidence.len(),
            self.records.len(),
            self.arrivals.len(),
            self.ends.len(),
            self.usage.len(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

/// So many bytes of a body are as much work as a key.
pub(crate) const BODY_UNIT: usize = 2_048;

/// What is counted over all records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) prints: BTreeMap<Bucket, Fingerprint>,
    pub(crate) occupied: u64,
    /// Messages whose bytes are kept. It is not on the disk: whoever opens the store counts the arrivals.
    pub(crate) messages: u64,
}

impl Sums {
    fn put_in(&mut self, record: &Record, id: &[u8; 32]) {
        self.prints.entry(Bucket::of(record.until())).or_default().add(id);
        self.occupied = self.occupied.saturating_add(record.cost());
        self.messages = self.messages.saturating_add(u64::from(record.place.is_some()));
    }

    fn take_out(&mut self, record: &Record, id: &[u8; 32]) {
        let bucket = Bucket::of(record.until());
        let print = self.prints.entry(bucket).or_default();
        print.remove(id);
        if print.count == 0 {
            self.prints.remove(&bucket);
        }
        self.occupied = self.occupied.saturating_sub(record.cost());
        self.messages = self.messages.saturating_sub(u64::from(record.place.is_some()));
    }

    /// All of it as one value.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.occupied.write(&mut out);
        for (bucket, print) in &self.prints {
            bucket.0.write(&mut out);
            print.count.write(&mut out);
            print.sum.write(&mut out);
        }
        out
    }

    /// Reads that value.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = layout::Reader(bytes);
        let mut sums = Self { occupied: from.number()?, ..Self::default() };
        while !from.0.is_empty() {
            let bucket = Bucket(u32::read(&mut from)?);
            let print = Fingerprint { count: u64::read(&mut from)?, sum: <[u8; 32]>::read(&mut from)? };
            sums.prints.insert(bucket, print);
        }
        Some(sums)
    }
}
