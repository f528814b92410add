//! What was read lately, decoded: whoever asks for it again spares the tables, their checksums and the decoding.
//!
//! Nothing is found here that the files would not say: what a deed changes is let go of when the overlay takes the
//! deed in, and the overlay is asked first for as long as the tables do not have it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use session_protocols::{
    AccountId, MessageHash, Namespace,
    record::{Mutation, Record},
    store::Effect,
};

use crate::layout::{self, Deeds, RecordKey};

/// What a record or the frame of anything else counts for, in bytes: more than it is long, for the map.
const FRAME: usize = 512;

/// Decoded values of a store, up to a bound.
pub(crate) struct Recent(Mutex<Parts>);

struct Parts {
    records: Bounded<RecordKey, Record>,
    mutations: Bounded<u64, Mutation>,
    tails: Bounded<Drawer, Tail>,
}

type Drawer = (AccountId, Namespace);

/// All arrivals in a drawer after a sequence.
struct Tail {
    after: u64,
    arrivals: Vec<(u64, MessageHash)>,
}

impl Recent {
    /// Remembers values of about so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let eighth = bytes / 8;
        Self(Mutex::new(Parts {
            records: Bounded::new(eighth.saturating_mul(2)),
            mutations: Bounded::new(eighth.saturating_mul(5)),
            tails: Bounded::new(eighth),
        }))
    }

    pub(crate) fn record(&self, key: &RecordKey) -> Option<Record> {
        self.parts().records.get(key, |record| Some(*record))
    }

    pub(crate) fn keep_record(&self, key: RecordKey, record: Record) {
        self.parts().records.put(key, record, FRAME);
    }

    /// The mutation of a row.
    pub(crate) fn mutation(&self, row: u64) -> Option<Mutation> {
        self.parts().mutations.get(&row, |mutation| Some(mutation.clone()))
    }

    /// Keeps the mutation of a row, which is so long in bytes.
    pub(crate) fn keep_mutation(&self, row: u64, mutation: Mutation, len: usize) {
        self.parts().mutations.put(row, mutation, Self::weight(len));
    }

    /// What a mutation counts for that is so long in bytes.
    pub(crate) const fn weight(len: usize) -> usize {
        len.saturating_add(FRAME)
    }

    /// The weight of mutations that find room before one of them pushes another out.
    pub(crate) fn room(&self) -> usize {
        // A half may end before it is full: what is next would not fit.
        self.parts().mutations.half.saturating_mul(3) / 2
    }

    /// The first arrivals after a sequence.
    pub(crate) fn page(&self, drawer: &Drawer, after: u64, limit: usize) -> Option<Vec<(u64, MessageHash)>> {
        self.parts().tails.get(drawer, |tail| {
            let known = tail.after <= after;
            let first = tail.arrivals.partition_point(|(sequence, _)| *sequence <= after);
            known.then(|| tail.arrivals.iter().skip(first).take(limit).copied().collect())
        })
    }

    /// Keeps all arrivals after a sequence.
    pub(crate) fn keep_tail(&self, drawer: Drawer, after: u64, arrivals: Vec<(u64, MessageHash)>) {
        let bytes = arrivals.len().saturating_mul(size_of::<(u64, MessageHash)>()).saturating_add(FRAME);
        self.parts().tails.put(drawer, Tail { after, arrivals }, bytes);
    }

    /// Lets go of what an entry changes.
    pub(crate) fn forget(&self, deeds: &Deeds) {
        let mut parts = self.parts();
        for Effect { account, hash, before, after } in &deeds.effects {
            parts.records.remove(&layout::record_key(account, hash));
            let [before, after] = [before, after].map(|record| record.and_then(|record| record.place));
            for place in [before, after].into_iter().flatten() {
                parts.tails.remove(&(*account, place.namespace));
            }
            // What a row holds never changes: it goes when its message does, or has another row.
            if let Some(row) = before.map(|place| place.row)
                && after.is_none_or(|kept| kept.row != row)
            {
                parts.mutations.remove(&row);
            }
        }
        for (key, _) in &deeds.retired {
            parts.mutations.remove(&layout::evidence_row(key));
        }
    }

    /// Lets go of everything.
    pub(crate) fn clear(&self) {
        let mut parts = self.parts();
        let Parts { records, mutations, tails } = &mut *parts;
        records.clear();
        mutations.clear();
        tails.clear();
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A map that lets go of what nobody asked for lately: two halves, of which the older one makes room.
struct Bounded<K, V> {
    half: usize,
    recent: Half<K, V>,
    older: Half<K, V>,
}

/// Values with their bytes, and the sum of these.
struct Half<K, V> {
    values: HashMap<K, (V, usize)>,
    bytes: usize,
}

impl<K: Eq + Hash, V> Half<K, V> {
    fn new() -> Self {
        Self { values: HashMap::new(), bytes: 0 }
    }

    fn remove(&mut self, key: &K) -> Option<(K, V, usize)> {
        // It would hash the key first; while messages come and nobody reads, most maps are empty.
        if self.values.is_empty() {
            return None;
        }
        let (key, (value, bytes)) = self.values.remove_entry(key)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some((key, value, bytes))
    }
}

impl<K: Eq + Hash, V> Bounded<K, V> {
    fn new(most: usize) -> Self {
        Self { half: most / 2, recent: Half::new(), older: Half::new() }
    }

    fn get<T>(&mut self, key: &K, read: impl FnOnce(&V) -> Option<T>) -> Option<T> {
        if let Some((value, _)) = self.recent.values.get(key) {
            return read(value);
        }
        let (key, value, bytes) = self.older.remove(key)?;
        let found = read(&value);
        self.put(key, value, bytes);
        found
    }

    fn put(&mut self, key: K, value: V, bytes: usize) {
        if bytes > self.half {
            return;
        }
        self.remove(&key);
        if self.recent.bytes.saturating_add(bytes) > self.half {
            self.older = std::mem::replace(&mut self.recent, Half::new());
        }
        self.recent.bytes = self.recent.bytes.saturating_add(bytes);
        self.recent.values.insert(key, (value, bytes));
    }

    fn remove(&mut self, key: &K) {
        self.recent.remove(key);
        self.older.remove(key);
    }

    fn clear(&mut self) {
        (self.recent, self.older) = (Half::new(), Half::new());
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.recent.bytes + self.older.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_holds_no_more_than_its_bound_and_what_is_asked_for() {
        let mut map = Bounded::new(100);
        for number in 0..1_000_u32 {
            map.put(number, number, 10);
            assert!(map.bytes() <= 100, "{number}");
            assert_eq!(map.get(&0, |value| Some(*value)), Some(0), "it is asked for all the time");
            assert_eq!(map.get(&number, |value| Some(*value)), Some(number));
        }
        assert_eq!(map.get(&1, |value| Some(*value)), None);
        map.put(1_001, 0, 51);
        assert_eq!(map.get(&1_001, |value| Some(*value)), None, "it alone is more than a half");
        map.put(0, 7, 20);
        assert_eq!(map.get(&0, |value| Some(*value)), Some(7));
        map.remove(&0);
        assert_eq!(map.get(&0, |value| Some(*value)), None);
        map.clear();
        assert_eq!((map.bytes(), map.get(&999, |value| Some(*value))), (0, None));
    }

    #[test]
    fn a_tail_tells_what_is_after_it_and_of_nothing_before() {
        let recent = Recent::new(1 << 20);
        let (drawer, hash) = ((AccountId::from_bytes([5; 33]), Namespace::INBOX), MessageHash([1; 32]));
        recent.keep_tail(drawer, 10, vec![(11, hash), (15, hash)]);
        let page = |after, limit| {
            let found = recent.page(&drawer, after, limit);
            found.map(|rows| rows.into_iter().map(|(sequence, _)| sequence).collect::<Vec<_>>())
        };
        assert_eq!(page(9, 5), None);
        assert_eq!(page(10, 5), Some(vec![11, 15]));
        assert_eq!(page(10, 1), Some(vec![11]));
        assert_eq!(page(11, 5), Some(vec![15]));
        assert_eq!(page(15, 5), Some(vec![]));
        assert_eq!(recent.page(&(drawer.0, Namespace(1)), 10, 5), None);
    }
}
