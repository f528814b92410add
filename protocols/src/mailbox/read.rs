//! What is read of a mailbox.

use crate::{
    AccountId, MessageHash, Namespace, Time,
    answer::{Body, End, JSON_OVERHEAD, MAX_PAGE, MAX_PAGE_COUNT, MAX_PAGE_IDS, MAX_PAGE_JSON, Message},
    namespace::Class,
    record::{Mutation, Record},
    request::{
        Auth, Cursor, Door, Drawers, Fetch, GetExpiries, Ids, MAX_BULK_JSON, MAX_TOKENS, REVOCATIONS,
        Request, Retrieve, Token,
    },
    store::{Store, StoreError},
};

/// Whether whoever asks still has the rights that the owner gave; for the owner itself always.
///
/// # Errors
///
/// When the store fails.
pub fn allowed<S: Store>(store: &S, request: &Request) -> Result<bool, StoreError> {
    let (Some(account), Some(Auth { subaccount: Some(subaccount), .. })) =
        (request.account(), request.auth())
    else {
        return Ok(true);
    };
    let namespace = if let Request::Retrieve(Retrieve { namespace, .. })
    | Request::Fetch(Fetch { namespace, .. }) = request
    {
        Some(*namespace)
    } else {
        None
    };
    if namespace.is_some_and(|namespace| namespace.class() == Class::Unrevocable) {
        return Ok(true);
    }
    let record = store.record(account, &subaccount.token.hash(account))?;
    Ok(record.is_none_or(|record| record.revoked().is_none()) || crate::mutants::on("revoked-ask"))
}

/// Reads a page of one namespace: [`Body::Messages`], or [`Body::Ids`] to who wants hashes first.
///
/// A cursor that is not known here starts from the beginning: it may resend, it never skips.
///
/// # Errors
///
/// When the store fails.
pub fn retrieve<S: Store>(store: &S, now: Time, request: &Retrieve, door: Door) -> Result<Body, StoreError> {
    let (account, namespace) = (&request.account, request.namespace);
    let cursor = known(store, request.after);
    let after = match (cursor, request.last) {
        (Some(sequence), _) => Some(sequence),
        (None, Some(last)) => {
            let place = store.record(account, &last)?.and_then(|record| record.place);
            place.filter(|place| place.namespace == namespace).map(|place| place.sequence)
        }
        (None, None) => None,
    };
    let listed = match request.ids {
        None => false,
        Some(Ids::Anew) => after.is_none(),
        Some(Ids::Always) => true,
    };
    let after = after.unwrap_or(0);
    let most = if listed { MAX_PAGE_IDS } else { MAX_PAGE_COUNT };
    let count = request.max_count.map_or(most, |count| (count as usize).clamp(1, most));
    if listed {
        return ids(store, now, account, namespace, after, count);
    }
    let (most, weigh): (usize, fn(usize) -> usize) = match door {
        Door::Native => (MAX_PAGE, |size| size),
        Door::Json => {
            (MAX_PAGE_JSON, |size| size.div_ceil(3).saturating_mul(4).saturating_add(JSON_OVERHEAD))
        }
    };
    let size = request.max_size.map_or(most, |size| (size as usize).min(most));
    messages(store, now, account, namespace, after, (count, size), weigh)
}

/// Reads a page after a cursor, at most `count` messages and `size` bytes, but one at least.
///
/// # Errors
///
/// When the store fails.
pub fn page<S: Store>(
    store: &S,
    now: Time,
    account: &AccountId,
    namespace: Namespace,
    after: Option<Cursor>,
    count: usize,
    size: usize,
) -> Result<Body, StoreError> {
    let after = known(store, after).unwrap_or(0);
    messages(store, now, account, namespace, after, (count, size), |size| size)
}

fn messages<S: Store>(
    store: &S,
    now: Time,
    account: &AccountId,
    namespace: Namespace,
    after: u64,
    (count, size): (usize, usize),
    weigh: impl Fn(usize) -> usize,
) -> Result<Body, StoreError> {
    let mut messages: Vec<Message> = Vec::new();
    let mut bytes = 0_usize;
    let (more, cursor) = walk(store, now, account, namespace, after, |hash, record| {
        if messages.len() >= count {
            return Ok(false);
        }
        let Some(message) = read(store, account, record, hash)? else { return Ok(true) };
        let longer = bytes.saturating_add(weigh(message.data.len()));
        let fits = longer <= size || messages.is_empty();
        if fits {
            bytes = longer;
            messages.push(message);
        }
        Ok(fits)
    })?;
    Ok(Body::Messages { messages, more, cursor })
}

/// Lists the hashes of a page after a cursor, at most `count`.
fn ids<S: Store>(
    store: &S,
    now: Time,
    account: &AccountId,
    namespace: Namespace,
    after: u64,
    count: usize,
) -> Result<Body, StoreError> {
    let mut hashes = Vec::new();
    let (more, cursor) = walk(store, now, account, namespace, after, |hash, _| {
        let fits = hashes.len() < count;
        if fits {
            hashes.push(hash);
        }
        Ok(fits)
    })?;
    Ok(Body::Ids { hashes, more, cursor })
}

/// Says when messages end: [`Body::Expiries`], of all messages at most [`MAX_BULK_JSON`].
///
/// # Errors
///
/// When the store fails.
pub fn expiries<S: Store>(store: &S, now: Time, request: &GetExpiries) -> Result<Body, StoreError> {
    let account = &request.account;
    let hashes = match &request.hashes {
        Some(hashes) => hashes.clone(),
        None => {
            let most = MAX_BULK_JSON.saturating_add(1);
            matching(store, now, account, (Drawers::All, None), most, |_| true)?
        }
    };
    let more = request.hashes.is_none() && hashes.len() > MAX_BULK_JSON;
    let mut ends = Vec::new();
    for hash in hashes.into_iter().take(MAX_BULK_JSON) {
        let record = store.record(account, &hash)?.filter(|record| record.readable(now));
        ends.extend(record.and_then(|record| record.expiry()).map(|expiry| End { hash, expiry }));
    }
    Ok(Body::Expiries { ends, more })
}

/// Lists the subaccounts whose rights are taken away, the latest first: [`Body::Revoked`].
///
/// # Errors
///
/// When the store fails.
pub fn revoked<S: Store>(store: &S, account: &AccountId) -> Result<Body, StoreError> {
    let mut found: Vec<(_, Token)> = Vec::new();
    for (hash, record) in revocations(store, account)? {
        let (Some(stamp), Some(place)) = (record.revoked(), record.place) else { continue };
        let behind = store.mutation(place.row).map_err(|error| error.about(account, hash))?;
        if let Some(Mutation::Revoke { request, .. }) = behind {
            let token = request.tokens.into_iter().find(|token| token.hash(account) == hash);
            found.extend(token.map(|token| (stamp, token)));
        }
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(Body::Revoked { tokens: found.into_iter().map(|(_, token)| token).collect() })
}

/// The revocations of an account, with the hashes of their tokens.
pub(super) fn revocations<S: Store>(
    store: &S,
    account: &AccountId,
) -> Result<Vec<(MessageHash, Record)>, StoreError> {
    let mut found = Vec::new();
    for (_, hash) in store.page(account, REVOCATIONS, 0, MAX_TOKENS.saturating_mul(2))? {
        let record = store.record(account, &hash)?.filter(|record| record.revoked().is_some());
        found.extend(record.map(|record| (hash, record)));
    }
    Ok(found)
}

/// The messages in some drawers that are `wanted`, at most `most` of them: all, or those behind an arrival of a drawer.
pub(super) fn matching<S: Store>(
    store: &S,
    now: Time,
    account: &AccountId,
    (drawers, behind): (Drawers, Option<(Namespace, u64)>),
    most: usize,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Vec<MessageHash>, StoreError> {
    let drawers = match drawers {
        Drawers::One(namespace) => vec![namespace],
        Drawers::All => store.drawers(account)?,
    };
    let mut found = Vec::new();
    for namespace in drawers {
        let after = match behind {
            Some((drawer, _)) if namespace < drawer => continue,
            Some((drawer, sequence)) if namespace == drawer => sequence,
            Some(_) | None => 0,
        };
        walk(store, now, account, namespace, after, |hash, record| {
            if found.len() >= most {
                return Ok(false);
            }
            if wanted(record) {
                found.push(hash);
            }
            Ok(true)
        })?;
    }
    Ok(found)
}

/// Reads messages by their hashes, at most [`MAX_PAGE`] bytes, but one at least: [`Body::Fetched`].
///
/// # Errors
///
/// When the store fails.
pub fn fetch<S: Store>(store: &S, now: Time, request: &Fetch) -> Result<Body, StoreError> {
    let mut messages: Vec<Message> = Vec::new();
    let mut bytes = 0_usize;
    let mut dealt = 0_u32;
    for hash in &request.hashes {
        let record = store.record(&request.account, hash)?.filter(|record| record.readable(now));
        let record =
            record.filter(|record| record.place.is_some_and(|place| place.namespace == request.namespace));
        if let Some(message) =
            record.map(|record| read(store, &request.account, &record, *hash)).transpose()?.flatten()
        {
            bytes = bytes.saturating_add(message.data.len());
            if bytes > MAX_PAGE && !messages.is_empty() {
                break;
            }
            messages.push(message);
        }
        dealt = dealt.saturating_add(1);
    }
    Ok(Body::Fetched { messages, hashes: dealt })
}

/// Walks what can be read after a place, oldest arrival first, until `take` wants no more; tells
/// whether it stopped there, and where.
pub(super) fn walk<S: Store>(
    store: &S,
    now: Time,
    account: &AccountId,
    namespace: Namespace,
    after: u64,
    mut take: impl FnMut(MessageHash, &Record) -> Result<bool, StoreError>,
) -> Result<(bool, Cursor), StoreError> {
    const STEP: usize = 128;
    let incarnation = store.incarnation();
    let mut sequence = after;
    if crate::mutants::on("skip-cursor") && after > 0 {
        sequence = sequence.saturating_add(1);
    }
    loop {
        let arrivals = store.page(account, namespace, sequence, STEP)?;
        let last = arrivals.len() < STEP;
        for (arrival, hash) in arrivals {
            let record = store.record(account, &hash)?.filter(|record| record.readable(now));
            if let Some(record) = record
                && !take(hash, &record)?
            {
                return Ok((true, Cursor { incarnation, sequence }));
            }
            sequence = arrival;
        }
        if last {
            // Everything up to the head was looked at, whatever it was.
            return Ok((false, Cursor { incarnation, sequence: store.head() }));
        }
    }
}

/// Where a cursor stands, if it is one of this life of the store.
///
/// One beyond the last arrival was given out before the store lost what it points behind.
fn known<S: Store>(store: &S, after: Option<Cursor>) -> Option<u64> {
    let ours =
        after.filter(|cursor| cursor.incarnation == store.incarnation() && cursor.sequence <= store.head());
    ours.map(|cursor| cursor.sequence)
}

fn read<S: Store>(
    store: &S,
    account: &AccountId,
    record: &Record,
    hash: MessageHash,
) -> Result<Option<Message>, StoreError> {
    let lost = |why| StoreError::Lost { account: *account, hash, why };
    let (Some(place), Some(timestamp), Some(expiry)) = (record.place, record.timestamp(), record.expiry())
    else {
        return Ok(None);
    };
    match store.mutation(place.row).map_err(|error| error.about(account, hash))? {
        Some(Mutation::Store(request)) => Ok(Some(Message { hash, timestamp, expiry, data: request.data })),
        Some(_) => Err(lost("its row holds something else")),
        None => Err(lost("its row is missing")),
    }
}
