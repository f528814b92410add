//! Answers to the other members' comparisons.

use std::collections::VecDeque;

use negentropy::Negentropy;
use serde_bytes::{ByteArray, ByteBuf};

use super::{
    repair::{SLICE_IDS, sealed},
    writes::weight,
};
use crate::{
    MessageHash,
    answer::Code,
    record::{Life, Mutation, Record},
    store::{Bucket, Fingerprint, Item, Store, StoreError},
    swarm::{Ask, BucketPrint, MAX_BATCH_BYTES, MAX_FETCH, MAX_RECONCILE, Slice, SwarmAnswer},
};

/// The most ids of a slice that is compared: both sides may have grown since the slices were cut.
pub(super) const MAX_SLICE_IDS: usize = SLICE_IDS as usize * 4;

/// The most ids of all slices that are remembered.
const MAX_WALKED_IDS: usize = MAX_SLICE_IDS;
/// The most slices that are remembered.
const MAX_WALKED: usize = 8;

/// Answers the other members' comparisons.
///
/// It remembers the slices that it walked last: a comparison asks about one slice several times, and
/// finding what belongs to it means reading a whole bucket.
#[derive(Debug, Default)]
pub struct Responder {
    /// The latest last.
    walked: VecDeque<Walked>,
}

/// A slice as it was.
#[derive(Debug)]
struct Walked {
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
    pub fn effort<S: Store>(&self, store: &S, ask: &Ask) -> u64 {
        let (bucket, slice, ids) = match ask {
            Ask::Reconcile { bucket, slice, .. } => (Bucket(*bucket), *slice, None),
            Ask::Fetch { bucket, slice, ids } => (Bucket(*bucket), *slice, Some(ids)),
            Ask::Replicate { .. } | Ask::Behind | Ask::Fingerprints => return 0,
        };
        let print = print(store, bucket);
        let known = self
            .find(bucket, slice)
            .is_some_and(|walked| walked.print == print || ids.is_some_and(|ids| walked.holds(slice, ids)));
        if known { 0 } else { print.count }
    }

    /// Answers a question about what this member holds.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn respond<S: Store>(&mut self, store: &S, ask: &Ask) -> Result<SwarmAnswer, StoreError> {
        let answer = match ask {
            Ask::Fingerprints => Some(fingerprints(store)),
            Ask::Reconcile { bucket, slice, message } => {
                self.reconcile(store, Bucket(*bucket), *slice, message)?
            }
            Ask::Fetch { bucket, slice, ids } => self.fetch(store, Bucket(*bucket), *slice, ids)?,
            Ask::Behind => Some(SwarmAnswer::Noted),
            Ask::Replicate { .. } => None,
        };
        Ok(answer.unwrap_or(SwarmAnswer::Refused { code: Code::BadRequest }))
    }

    fn reconcile<S: Store>(
        &mut self,
        store: &S,
        bucket: Bucket,
        slice: Slice,
        message: &[u8],
    ) -> Result<Option<SwarmAnswer>, StoreError> {
        if message.len() > MAX_RECONCILE {
            return Ok(None);
        }
        let Some(walked) = self.walk(store, bucket, slice)? else { return Ok(None) };
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
        bucket: Bucket,
        slice: Slice,
        ids: &[ByteArray<32>],
    ) -> Result<Option<SwarmAnswer>, StoreError> {
        if ids.len() > MAX_FETCH || !slice.valid() {
            return Ok(None);
        }
        // What was compared a moment ago is fetched from what is remembered of it.
        let known = self.find(bucket, slice).is_some_and(|walked| walked.holds(slice, ids));
        let walked = if known { self.find(bucket, slice) } else { self.walk(store, bucket, slice)? };
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
            bytes = behind.iter().map(weight).fold(bytes, usize::saturating_add);
            if bytes > MAX_BATCH_BYTES && !mutations.is_empty() {
                break;
            }
            mutations.extend(behind);
            dealt = dealt.saturating_add(1);
        }
        Ok(Some(SwarmAnswer::Fetched { mutations, ids: dealt }))
    }

    fn find(&self, bucket: Bucket, slice: Slice) -> Option<&Walked> {
        self.walked.iter().find(|walked| walked.bucket == bucket && walked.slice == slice)
    }

    /// A slice as it is now; none when it is malformed or holds too many.
    fn walk<S: Store>(
        &mut self,
        store: &S,
        bucket: Bucket,
        slice: Slice,
    ) -> Result<Option<&Walked>, StoreError> {
        let print = print(store, bucket);
        let at = self.walked.iter().position(|walked| walked.bucket == bucket && walked.slice == slice);
        let known = at.and_then(|at| self.walked.remove(at)).filter(|walked| walked.print == print);
        let walked = match known {
            Some(walked) => walked,
            None => {
                let Some(mut items) = slice_of(store, bucket, slice)? else { return Ok(None) };
                items.sort_unstable_by_key(|item| item.id);
                Walked { bucket, slice, print, items }
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

fn fingerprints<S: Store>(store: &S) -> SwarmAnswer {
    let prints = store.fingerprints().into_iter();
    let buckets = prints.map(|(bucket, print)| BucketPrint {
        bucket: bucket.0,
        count: print.count,
        sum: ByteArray::new(print.sum),
    });
    SwarmAnswer::Fingerprints { buckets: buckets.collect() }
}

/// The requests that bring another member to the same record.
///
/// Whichever ends later goes first: a message whose own end has passed is kept by who knows its
/// extension, and a change that has passed is kept by who knows the message that it ended.
fn evidence<S: Store>(store: &S, record: &Record, hash: MessageHash) -> Result<Vec<Mutation>, StoreError> {
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
        (Some(Life::Deleted { row, .. }), _) => {
            let deletion = match store.mutation(row)? {
                Some(Mutation::Delete { request, .. }) => {
                    Some(Mutation::Delete { request, held: vec![hash] })
                }
                _ => None,
            };
            (deletion, 0)
        }
        (Some(Life::Unsigned { .. }) | None, _) => (None, 0),
    };
    let Some(change) = record.counting_change() else { return Ok(life.into_iter().collect()) };
    let changed = match store.mutation(change.row)? {
        Some(Mutation::Expire { request, .. }) => Some(Mutation::Expire { request, held: vec![hash] }),
        _ => None,
    };
    let both = if change.expiry >= own_end { [changed, life] } else { [life, changed] };
    Ok(both.into_iter().flatten().collect())
}

/// What belongs to one slice of a bucket; none when the slice is malformed or holds too many.
pub(super) fn slice_of<S: Store>(
    store: &S,
    bucket: Bucket,
    slice: Slice,
) -> Result<Option<Vec<Item>>, StoreError> {
    if !slice.valid() {
        return Ok(None);
    }
    let mut items = Vec::new();
    store.bucket(bucket, &mut |item| {
        if slice.contains(&item.id) && items.len() <= MAX_SLICE_IDS {
            items.push(item);
        }
    })?;
    Ok((items.len() <= MAX_SLICE_IDS).then_some(items))
}

#[cfg(test)]
mod tests;
