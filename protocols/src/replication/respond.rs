//! Answers to the other members' comparisons.

use std::collections::{BTreeMap, VecDeque};

use negentropy::Negentropy;
use serde_bytes::{ByteArray, ByteBuf};

use super::repair::{SLICE_IDS, sealed};
use crate::{
    MessageHash,
    answer::Code,
    record::{Life, Mutation, Record},
    ring::Arc,
    store::{Bucket, Fingerprint, Item, Store, StoreError},
    swarm::{
        Ask, BucketPrint, Known, MAX_BATCH_BYTES, MAX_FETCH, MAX_HELD, MAX_RECONCILE, Slice, SwarmAnswer,
    },
};

/// The most ids of a slice that is compared: both sides may have grown since the slices were cut.
pub(super) const MAX_SLICE_IDS: usize = SLICE_IDS as usize * 4;

/// The most ids of all slices that are remembered.
const MAX_WALKED_IDS: usize = MAX_SLICE_IDS;
/// The most slices that are remembered.
const MAX_WALKED: usize = 8;
/// The most sums of parts of buckets that are remembered; beyond it they are made anew.
const MAX_SUMS: usize = 1 << 15;

/// What a comparison is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The part of the ring whose accounts are compared.
    pub arc: Arc,
    /// Whether the store holds nothing else, as far as is known, so that the sums which it keeps will do.
    /// Where it does hold more they differ from the other's, and buckets are compared in vain.
    pub all: bool,
}

impl Scope {
    /// Everything.
    pub const ALL: Self = Self { arc: Arc::WHOLE, all: true };

    /// The fingerprints of what belongs to it.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn fingerprints<S: Store>(
        self,
        store: &S,
        sums: &mut Sums,
    ) -> Result<Vec<(Bucket, Fingerprint)>, StoreError> {
        if self.all { Ok(store.fingerprints()) } else { sums.of(store, self.arc) }
    }
}

/// The sums of parts of buckets, which no store keeps. They are remembered for as long as their bucket is
/// what it was.
#[derive(Debug, Default)]
pub struct Sums(BTreeMap<(Arc, Bucket), (Fingerprint, Fingerprint)>);

impl Sums {
    fn of<S: Store>(&mut self, store: &S, arc: Arc) -> Result<Vec<(Bucket, Fingerprint)>, StoreError> {
        let mut parts = Vec::new();
        for (bucket, whole) in store.fingerprints() {
            let known = self.0.get(&(arc, bucket)).filter(|(then, _)| *then == whole);
            let part = match known {
                Some((_, part)) => *part,
                None => {
                    let mut part = Fingerprint::default();
                    store.bucket(bucket, &mut |item| {
                        if arc.holds(&item.account) {
                            part.add(&item.id);
                        }
                    })?;
                    if self.0.len() >= MAX_SUMS {
                        self.0.clear();
                    }
                    self.0.insert((arc, bucket), (whole, part));
                    part
                }
            };
            if part.count > 0 {
                parts.push((bucket, part));
            }
        }
        Ok(parts)
    }

    /// How many records would have to be read.
    fn effort<S: Store>(&self, store: &S, arc: Arc) -> u64 {
        let fresh = |(bucket, whole): &(Bucket, Fingerprint)| {
            self.0.get(&(arc, *bucket)).is_none_or(|(then, _)| then != whole)
        };
        let prints = store.fingerprints().into_iter();
        prints.filter(fresh).fold(0, |sum, (_, whole)| sum.saturating_add(whole.count))
    }
}

/// Answers the other members' comparisons.
///
/// It remembers the slices that it walked last: a comparison asks about one slice several times, and
/// finding what belongs to it means reading a whole bucket.
#[derive(Debug, Default)]
pub struct Responder {
    /// The latest last.
    walked: VecDeque<Walked>,
    sums: Sums,
}

/// A slice as it was.
#[derive(Debug)]
struct Walked {
    arc: Arc,
    bucket: Bucket,
    slice: Slice,
    /// The fingerprint of the bucket at that time.
    print: Fingerprint,
    /// In the order of their ids.
    items: Vec<Item>,
}

impl Responder {
    /// How many records answering would have to read, beside those that the question names: 0 where
    /// they are remembered.
    pub fn effort<S: Store>(&self, store: &S, ask: &Ask, scope: Scope) -> u64 {
        let (bucket, slice, ids) = match ask {
            Ask::Reconcile { bucket, slice, .. } => (Bucket(*bucket), *slice, None),
            Ask::Fetch { bucket, slice, ids } => (Bucket(*bucket), *slice, Some(ids)),
            Ask::Fingerprints if scope.all => return 0,
            Ask::Fingerprints => return self.sums.effort(store, scope.arc),
            Ask::Replicate { .. } | Ask::Behind | Ask::Held { .. } => return 0,
        };
        let print = print(store, bucket);
        let known = self
            .find(scope.arc, bucket, slice)
            .is_some_and(|walked| walked.print == print || ids.is_some_and(|ids| walked.holds(slice, ids)));
        if known { 0 } else { print.count }
    }

    /// Answers a question about what this member holds of a scope.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn respond<S: Store>(
        &mut self,
        store: &S,
        ask: &Ask,
        scope: Scope,
    ) -> Result<SwarmAnswer, StoreError> {
        let arc = scope.arc;
        let answer = match ask {
            Ask::Fingerprints => Some(printed(scope.fingerprints(store, &mut self.sums)?)),
            Ask::Reconcile { bucket, slice, message } => {
                self.reconcile(store, arc, Bucket(*bucket), *slice, message)?
            }
            Ask::Fetch { bucket, slice, ids } => self.fetch(store, arc, Bucket(*bucket), *slice, ids)?,
            Ask::Held { records } => held(store, records)?,
            Ask::Behind => Some(SwarmAnswer::Noted),
            Ask::Replicate { .. } => None,
        };
        Ok(answer.unwrap_or(SwarmAnswer::Refused { code: Code::BadRequest }))
    }

    fn reconcile<S: Store>(
        &mut self,
        store: &S,
        arc: Arc,
        bucket: Bucket,
        slice: Slice,
        message: &[u8],
    ) -> Result<Option<SwarmAnswer>, StoreError> {
        if message.len() > MAX_RECONCILE {
            return Ok(None);
        }
        let Some(walked) = self.walk(store, arc, bucket, slice)? else { return Ok(None) };
        let Some(items) = sealed(walked.items.iter().map(|item| (item.until, item.id))) else {
            return Ok(None);
        };
        let reply =
            Negentropy::owned(items, MAX_RECONCILE as u64).and_then(|mut state| state.reconcile(message));
        Ok(reply.ok().map(|message| SwarmAnswer::Reconcile { message: ByteBuf::from(message) }))
    }

    fn fetch<S: Store>(
        &mut self,
        store: &S,
        arc: Arc,
        bucket: Bucket,
        slice: Slice,
        ids: &[ByteArray<32>],
    ) -> Result<Option<SwarmAnswer>, StoreError> {
        if ids.len() > MAX_FETCH || !slice.valid() {
            return Ok(None);
        }
        // What was compared a moment ago is fetched from what is remembered of it.
        let known = self.find(arc, bucket, slice).is_some_and(|walked| walked.holds(slice, ids));
        let walked =
            if known { self.find(arc, bucket, slice) } else { self.walk(store, arc, bucket, slice)? };
        let Some(walked) = walked else { return Ok(None) };
        let mut mutations = Vec::new();
        let mut bytes = 0_usize;
        let mut dealt = 0_u32;
        for id in ids {
            // What has changed or ended since it was compared is passed over.
            let behind = match walked.find(id) {
                Some(Item { account, hash, .. }) => match store.record(account, hash)? {
                    Some(record) if record.id(account, hash) == **id => {
                        evidence(store, &record, *hash).map_err(|error| error.about(account, *hash))?
                    }
                    Some(_) | None => Vec::new(),
                },
                None => Vec::new(),
            };
            bytes = behind.iter().map(Mutation::weight).fold(bytes, usize::saturating_add);
            if bytes > MAX_BATCH_BYTES && !mutations.is_empty() {
                break;
            }
            mutations.extend(behind);
            dealt = dealt.saturating_add(1);
        }
        Ok(Some(SwarmAnswer::Fetched { mutations, ids: dealt }))
    }

    fn find(&self, arc: Arc, bucket: Bucket, slice: Slice) -> Option<&Walked> {
        self.walked.iter().find(|walked| walked.is(arc, bucket, slice))
    }

    /// A slice as it is now; none when it is malformed or holds too many.
    fn walk<S: Store>(
        &mut self,
        store: &S,
        arc: Arc,
        bucket: Bucket,
        slice: Slice,
    ) -> Result<Option<&Walked>, StoreError> {
        let print = print(store, bucket);
        let at = self.walked.iter().position(|walked| walked.is(arc, bucket, slice));
        let known = at.and_then(|at| self.walked.remove(at)).filter(|walked| walked.print == print);
        let walked = match known {
            Some(walked) => walked,
            None => {
                let Some(mut items) = slice_of(store, arc, bucket, slice)? else { return Ok(None) };
                items.sort_unstable_by_key(|item| item.id);
                Walked { arc, bucket, slice, print, items }
            }
        };
        self.walked.push_back(walked);
        let ids = |walked: &VecDeque<Walked>| walked.iter().map(|walked| walked.items.len()).sum::<usize>();
        while self.walked.len() > 1 && (self.walked.len() > MAX_WALKED || ids(&self.walked) > MAX_WALKED_IDS)
        {
            self.walked.pop_front();
        }
        Ok(self.walked.back())
    }
}

impl Walked {
    fn is(&self, arc: Arc, bucket: Bucket, slice: Slice) -> bool {
        (self.arc, self.bucket, self.slice) == (arc, bucket, slice)
    }

    /// Whether all of these ids that can belong to the slice do.
    fn holds(&self, slice: Slice, ids: &[ByteArray<32>]) -> bool {
        ids.iter().filter(|id| slice.contains(id)).all(|id| self.find(id).is_some())
    }

    fn find(&self, id: &[u8; 32]) -> Option<&Item> {
        let at = self.items.binary_search_by_key(id, |item| item.id).ok()?;
        self.items.get(at)
    }
}

fn print<S: Store>(store: &S, bucket: Bucket) -> Fingerprint {
    let prints = store.fingerprints();
    let at = prints.binary_search_by_key(&bucket, |(bucket, _)| *bucket).ok();
    at.and_then(|at| prints.get(at)).map(|(_, print)| *print).unwrap_or_default()
}

fn printed(prints: Vec<(Bucket, Fingerprint)>) -> SwarmAnswer {
    let buckets = prints.into_iter().map(|(bucket, print)| BucketPrint {
        bucket: bucket.0,
        count: print.count,
        sum: ByteArray::new(print.sum),
    });
    SwarmAnswer::Fingerprints { buckets: buckets.collect(), incomplete: Vec::new() }
}

fn held<S: Store>(store: &S, records: &[Known]) -> Result<Option<SwarmAnswer>, StoreError> {
    if records.len() > MAX_HELD {
        return Ok(None);
    }
    let mut places = Vec::new();
    for (place, Known { account, hash, id }) in (0..).zip(records) {
        if store.record(account, hash)?.is_some_and(|record| record.id(account, hash) == **id) {
            places.push(place);
        }
    }
    Ok(Some(SwarmAnswer::Held { places }))
}

/// The requests that bring another member to the same record.
///
/// Whichever ends later goes first: a message whose own end has passed is kept by who knows its
/// extension, and a change that has passed is kept by who knows the message that it ended.
pub(super) fn evidence<S: Store>(
    store: &S,
    record: &Record,
    hash: MessageHash,
) -> Result<Vec<Mutation>, StoreError> {
    let (life, own_end) = match (record.life, record.place) {
        (Some(Life::Unsigned { timestamp, expiry }), Some(place)) => {
            // Repeats joined their times: what is passed on is the store that says both.
            let joined = match store.mutation(place.row)? {
                Some(Mutation::Store(request)) => {
                    Some(crate::request::Store { timestamp, expiry, auth: None, ..request })
                }
                _ => None,
            };
            (joined.map(Mutation::Store), expiry)
        }
        (Some(Life::Stored { row, expiry, .. }), _) => (store.mutation(row)?, expiry),
        (Some(Life::Deleted { row, .. } | Life::Revoked { row, .. }), _) => {
            (store.mutation(row)?.map(|request| request.about(hash)), 0)
        }
        (Some(Life::Unsigned { .. }) | None, _) => (None, 0),
    };
    let Some(change) = record.counting_change() else { return Ok(life.into_iter().collect()) };
    let changed = match store.mutation(change.row)? {
        Some(expire @ Mutation::Expire { .. }) => Some(expire.about(hash)),
        _ => None,
    };
    let both = if change.expiry >= own_end { [changed, life] } else { [life, changed] };
    Ok(both.into_iter().flatten().collect())
}

/// What belongs to one slice of a bucket, of the accounts on one arc; none when the slice is malformed or holds too many.
pub(super) fn slice_of<S: Store>(
    store: &S,
    arc: Arc,
    bucket: Bucket,
    slice: Slice,
) -> Result<Option<Vec<Item>>, StoreError> {
    if !slice.valid() {
        return Ok(None);
    }
    let mut items = Vec::new();
    store.bucket(bucket, &mut |item| {
        if slice.contains(&item.id) && arc.holds(&item.account) && items.len() <= MAX_SLICE_IDS {
            items.push(item);
        }
    })?;
    Ok((items.len() <= MAX_SLICE_IDS).then_some(items))
}

#[cfg(test)]
mod tests;
