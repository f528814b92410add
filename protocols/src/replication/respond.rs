//! Answers to the other members' comparisons; what a function can do needs no machine.

use std::collections::BTreeMap;

use negentropy::{Negentropy, NegentropyStorageVector};
use serde_bytes::{ByteArray, ByteBuf};

use super::{
    repair::{SLICE_IDS, sealed},
    writes::weight,
};
use crate::{
    AccountId, MessageHash,
    answer::Code,
    record::{Life, Mutation, Record},
    store::{Bucket, Store, StoreError},
    swarm::{Ask, BucketPrint, MAX_BATCH_BYTES, MAX_FETCH, MAX_RECONCILE, Slice, SwarmAnswer},
};

/// The most ids of a slice that is compared: both sides may have grown since the slices were cut.
pub(super) const MAX_SLICE_IDS: usize = SLICE_IDS as usize * 4;

/// Answers a question about what this member holds.
///
/// # Errors
///
/// When the store fails.
pub fn respond<S: Store>(store: &S, ask: &Ask) -> Result<SwarmAnswer, StoreError> {
    let answer = match ask {
        Ask::Fingerprints => Some(fingerprints(store)),
        Ask::Reconcile { bucket, slice, message } => reconcile(store, Bucket(*bucket), *slice, message)?,
        Ask::Fetch { bucket, slice, ids } => fetch(store, Bucket(*bucket), *slice, ids)?,
        Ask::Behind => Some(SwarmAnswer::Noted),
        Ask::Replicate { .. } => None,
    };
    Ok(answer.unwrap_or(SwarmAnswer::Refused { code: Code::BadRequest }))
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

fn reconcile<S: Store>(
    store: &S,
    bucket: Bucket,
    slice: Slice,
    message: &[u8],
) -> Result<Option<SwarmAnswer>, StoreError> {
    if message.len() > MAX_RECONCILE {
        return Ok(None);
    }
    let Some(items) = slice_of(store, bucket, slice)? else { return Ok(None) };
    let reply = Negentropy::owned(items, MAX_RECONCILE as u64).and_then(|mut state| state.reconcile(message));
    Ok(reply.ok().map(|message| SwarmAnswer::Reconcile { message: ByteBuf::from(message) }))
}

fn fetch<S: Store>(
    store: &S,
    bucket: Bucket,
    slice: Slice,
    ids: &[ByteArray<32>],
) -> Result<Option<SwarmAnswer>, StoreError> {
    if ids.len() > MAX_FETCH || !slice.valid() {
        return Ok(None);
    }
    let mut found: BTreeMap<[u8; 32], Option<(AccountId, MessageHash)>> =
        ids.iter().map(|id| (id.into_array(), None)).collect();
    store.bucket(bucket, &mut |item| {
        if let Some(place) = found.get_mut(&item.id) {
            *place = Some((item.account, item.hash));
        }
    })?;
    let mut mutations = Vec::new();
    let mut bytes = 0_usize;
    let mut dealt = 0_u32;
    for id in ids {
        // What has changed or ended since it was compared is passed over.
        let behind = match found.get(&id.into_array()).copied().flatten() {
            Some((account, hash)) => match store.record(&account, &hash)? {
                Some(record) => evidence(store, &record, hash)?,
                None => Vec::new(),
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

/// The ids of one slice of a bucket; none when the slice is malformed or holds too many.
pub(super) fn slice_of<S: Store>(
    store: &S,
    bucket: Bucket,
    slice: Slice,
) -> Result<Option<NegentropyStorageVector>, StoreError> {
    if !slice.valid() {
        return Ok(None);
    }
    let mut items = Vec::new();
    store.bucket(bucket, &mut |item| {
        if slice.contains(&item.id) && items.len() <= MAX_SLICE_IDS {
            items.push((item.until, item.id));
        }
    })?;
    Ok(if items.len() > MAX_SLICE_IDS { None } else { sealed(items.into_iter()) })
}

#[cfg(test)]
mod tests;
