//! What deletions, changes of expiry and replacements do to the records of a mailbox.

use std::collections::{BTreeMap, BTreeSet};

use super::read::matching;
use crate::{
    AccountId, MessageHash,
    record::{Change, Life, Mutation, Record, Stamp},
    request::{
        Delete, Direction, Door, Expire, MAX_BULK, MAX_BULK_JSON, Replacement, Revoke, Source,
        TOLERANCE_FORWARDED, Which,
    },
    store::{Effect, Store, StoreError},
};

/// More than a receipt says: what a client of the JSON door is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// The messages that were held here and changed, with their drawers.
    pub listed: Vec<(crate::Namespace, MessageHash)>,
    /// The messages that were held here and not changed, with their ends in milliseconds since 1970.
    pub unchanged: Vec<(MessageHash, u64)>,
}

/// Where a step of a change of whole drawers goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// The last arrival that it may be about.
    pub until: u64,
    /// Behind this message, where it still lies there.
    pub after: Option<MessageHash>,
}

impl Reach {
    /// All that is there.
    pub(super) const ALL: Self = Self { until: u64::MAX, after: None };
}

/// What a change does, before it is kept.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whether its evidence is kept here already.
    pub kept: bool,
    pub effects: Vec<Effect>,
    /// Which messages are as was asked for now, in the request's order.
    pub hashes: Vec<MessageHash>,
    pub detail: Detail,
}

/// Finds what a change does; `held` names what its sender changed.
pub(super) fn find<S: Store>(
    now: u64,
    mutation: &Mutation,
    stamp: Stamp,
    (source, reach): (Source, Reach),
    store: &S,
) -> Result<Found, StoreError> {
    match mutation {
        Mutation::Delete { request, held } => delete(now, request, held, stamp, (source, reach), store),
        Mutation::Expire { request, held } => expire(now, request, held, stamp, (source, reach), store),
        Mutation::Replace { request, held } => replace(now, request, held, stamp, store),
        Mutation::Revoke { request, held } => give_back(now, request, held, stamp, store),
        Mutation::Store(_) => Ok(Found::default()),
    }
}

/// Deletes what is known here or was held by the sender.
fn delete<S: Store>(
    now: u64,
    request: &Delete,
    held: &[MessageHash],
    stamp: Stamp,
    (source, reach): (Source, Reach),
    store: &S,
) -> Result<Found, StoreError> {
    let account = &request.account;
    let bound = match (source, &request.which) {
        (Source::Client, Which::In { before: None, .. }) => u64::MAX,
        _ => request.bound(),
    };
    let door = request.auth.form.door();
    let covered = |record: &Record| covers(&request.which, record, stamp.time);
    // What it does nothing to takes no place from the others, so that each step comes further.
    let wanted = |record: &Record| {
        let sent = record.timestamp().is_some_and(|timestamp| timestamp <= bound);
        sent && covered(record) && super::joins(record, &Life::Deleted { stamp, row: 0 })
    };
    let named = named(now, account, &request.which, held, (stamp, source, door, reach), store, wanted)?;
    bury(now, account, named, held, stamp, covered, store)
}

/// Buries what a message took the place of.
fn replace<S: Store>(
    now: u64,
    request: &Replacement,
    held: &[MessageHash],
    stamp: Stamp,
    store: &S,
) -> Result<Found, StoreError> {
    let others = held.iter().copied().filter(|hash| *hash != request.hash).collect();
    let covered = |record: &Record| record.place.is_none_or(|place| place.namespace == request.namespace);
    bury(now, &request.account, others, held, stamp, covered, store)
}

/// Gives subaccounts back what was taken from them, as far as that is known here or to the sender.
fn give_back<S: Store>(
    now: u64,
    request: &Revoke,
    held: &[MessageHash],
    stamp: Stamp,
    store: &S,
) -> Result<Found, StoreError> {
    let hashes = request.tokens.iter().map(|token| token.hash(&request.account)).collect();
    bury(now, &request.account, hashes, held, stamp, |_| true, store)
}

/// Puts tombstones where something is known or was held by the sender.
fn bury<S: Store>(
    now: u64,
    account: &AccountId,
    hashes: Vec<MessageHash>,
    held: &[MessageHash],
    stamp: Stamp,
    covered: impl Fn(&Record) -> bool,
    store: &S,
) -> Result<Found, StoreError> {
    let held: BTreeSet<_> = held.iter().filter(|_| !crate::mutants::on("bulk-known-only")).collect();
    let records = records(store, account, &hashes)?;
    // A member is told of one hash at a time, and keeps the request once.
    let kept = records.iter().find_map(|(_, record)| match record.as_ref()?.life? {
        Life::Deleted { stamp: known, row } if known == stamp => Some(row),
        Life::Deleted { .. } | Life::Stored { .. } | Life::Unsigned { .. } | Life::Revoked { .. } => None,
    });
    let row = kept.unwrap_or_else(|| store.head().saturating_add(1));
    let mut found = Found { kept: kept.is_some(), ..Found::default() };
    for (hash, before) in &records {
        let before = *before;
        // What has ended but was not forgotten yet counts as unknown.
        let known = before.and_then(|record| record.at(now));
        if known.is_none() && !held.contains(hash) || known.is_some_and(|record| !covered(&record)) {
            continue;
        }
        let mut after = known.unwrap_or_default();
        let place = after.place.filter(|_| after.readable(crate::Time::from_millis(now)));
        let changed = after.join_life(Life::Deleted { stamp, row });
        if changed && after.until() <= now {
            // Passed on so late that its tombstone would be over.
            continue;
        }
        if changed && after.deleted() {
            after.place = None;
        }
        // An exact repeat is answered again, under the row that it already has.
        let repeat = matches!(after.life, Some(Life::Deleted { stamp: known, .. }) if known == stamp);
        if repeat || after.deleted() {
            found.hashes.push(*hash);
        }
        if changed {
            if let Some(place) = place {
                found.detail.listed.push((place.namespace, *hash));
            }
            let after = if crate::mutants::on("forget-tombstone") { None } else { Some(after) };
            found.effects.push(Effect { account: *account, hash: *hash, before, after });
        }
    }
    Ok(found)
}

/// Changes the expiry of what is known here or was changed by the sender.
fn expire<S: Store>(
    now: u64,
    request: &Expire,
    held: &[MessageHash],
    stamp: Stamp,
    (source, reach): (Source, Reach),
    store: &S,
) -> Result<Found, StoreError> {
    let account = request.account;
    let door = request.auth.form.door();
    let bound = if source == Source::Client { u64::MAX } else { stamp.time };
    // Whoever repeats the request goes on behind those that it does nothing to, and those that end early enough.
    let wanted = |record: &Record| {
        let sent = record.timestamp().is_some_and(|timestamp| timestamp <= bound);
        let mut after = *record;
        sent && covers(&request.which, record, stamp.time)
            && after.join_change(Change { stamp, expiry: request.end(0), row: 0 })
            && after.expiry() < record.expiry()
    };
    let named = named(now, &account, &request.which, held, (stamp, source, door, reach), store, wanted)?;
    let held: BTreeSet<_> = held.iter().collect();
    let mut places = BTreeMap::new();
    for (place, hash) in request.which.hashes().iter().enumerate() {
        places.entry(*hash).or_insert(place);
    }
    let records = records(store, &account, &named)?;
    let mut changes = records.iter().filter_map(|(_, record)| record.as_ref()?.change);
    let kept = changes.find(|change| change.stamp == stamp).map(|change| change.row);
    let row = kept.unwrap_or_else(|| store.head().saturating_add(1));
    let mut found = Found { kept: kept.is_some(), ..Found::default() };
    for (hash, before) in &records {
        let before = *before;
        let expiry = request.end(places.get(hash).copied().unwrap_or_default());
        let known = before.and_then(|record| record.at(now));
        if known.is_some_and(|record| !covers(&request.which, &record, stamp.time)) {
            continue;
        }
        let told = source == Source::Member && held.contains(hash);
        if known.is_none() && crate::mutants::on("change-known-only") {
            continue;
        }
        // What has ended does not come back by a change; nor by one to what is deleted.
        let end = |record: &Record| match record.life {
            None => record.change.map(|change| change.expiry),
            Some(_) => record.expiry(),
        };
        let live = known.filter(|record| end(record).is_none_or(|end| end > now));
        let current = live.and_then(|record| record.expiry());
        // A direction was judged by the first receiver; the others do as it did, but of whole drawers
        // each knows its own messages.
        let own = source == Source::Client || matches!(request.which, Which::In { .. });
        let wanted = match (request.direction(), current) {
            _ if told => true,
            (None, _) => live.is_some(),
            (Some(_), _) if !own => false,
            (Some(Direction::Shorten), Some(current)) => expiry < current,
            (Some(Direction::Extend), Some(current)) => expiry > current,
            (Some(_), None) => false,
        };
        let repeat = known.and_then(|record| record.change).is_some_and(|change| change.stamp == stamp);
        if !wanted && !repeat {
            found.detail.unchanged.extend(current.map(|end| (*hash, end)));
            continue;
        }
        let mut after = known.unwrap_or_default();
        let place = after.place.filter(|_| after.readable(crate::Time::from_millis(now)));
        let changed = after.join_change(Change { stamp, expiry, row });
        let counts = after.counting_change().is_some_and(|change| change.stamp == stamp);
        if counts && !after.deleted() {
            found.hashes.push(*hash);
            if let Some(place) = place {
                found.detail.listed.push((place.namespace, *hash));
            }
        }
        // It may end with this change.
        let after = after.at(now);
        if changed && (before.is_some() || after.is_some()) {
            found.effects.push(Effect { account, hash: *hash, before, after });
        }
    }
    Ok(found)
}

/// Which messages a change of whole drawers is about: those that its sender knew, and those that are here.
///
/// What a member holds alone goes too, as long as the request is fresh, if it is `wanted`: later on it may
/// have arrived after the request.
fn named<S: Store>(
    now: u64,
    account: &AccountId,
    which: &Which,
    held: &[MessageHash],
    (stamp, source, door, reach): (Stamp, Source, Door, Reach),
    store: &S,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Vec<MessageHash>, StoreError> {
    let Which::In { drawers, most, .. } = which else { return Ok(which.hashes().to_vec()) };
    let bulk = match door {
        Door::Native => MAX_BULK,
        Door::Json => MAX_BULK_JSON,
    };
    let most = most.map_or(bulk, |most| (most as usize).min(bulk));
    let mut named = held.to_vec();
    let fresh = now <= stamp.time.saturating_add(TOLERANCE_FORWARDED.as_millis());
    if source == Source::Client || fresh || crate::mutants::on("bulk-takes-late") {
        let most = most.saturating_sub(named.len());
        let after = match reach.after {
            Some(hash) => store.record(account, &hash)?.and_then(|record| record.place),
            None => None,
        };
        let after = after.map(|place| (place.namespace, place.sequence));
        let reached = |record: &Record| record.place.is_some_and(|place| place.sequence <= reach.until);
        let wanted = |record: &Record| reached(record) && wanted(record);
        let now = crate::Time::from_millis(now);
        named.extend(matching(store, now, account, (*drawers, after), most, wanted)?);
    }
    Ok(named)
}

/// Whether a change that was signed at `time` can be about a message that is here. A revocation
/// is no message: its owner alone gives rights back.
fn covers(which: &Which, record: &Record, time: u64) -> bool {
    if record.revoked().is_some() {
        return false;
    }
    let Some(place) = record.place.filter(|_| !crate::mutants::on("bulk-any-drawer")) else { return true };
    which.covers(time, place.namespace, record.timestamp().unwrap_or_default())
}

/// Each hash once, with what is known of it.
fn records<S: Store>(
    store: &S,
    account: &AccountId,
    hashes: &[MessageHash],
) -> Result<Vec<(MessageHash, Option<Record>)>, StoreError> {
    let mut seen = BTreeSet::new();
    let unique = hashes.iter().filter(move |hash| seen.insert(**hash));
    unique.map(|hash| Ok((*hash, store.record(account, hash)?))).collect()
}
