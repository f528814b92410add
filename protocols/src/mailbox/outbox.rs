//! Public outboxes: a message takes the place of the one before it, by the time at which it was signed.

use super::read::walk;
use crate::{
    AccountId, MessageHash, Namespace, Time,
    record::{Life, Mutation, Record, Stamp, remembered},
    store::{Effect, Entry, Store, StoreError, Transaction},
};

/// The other messages of an outbox, and when each was signed.
pub(super) fn others<S: Store>(
    store: &S,
    now: u64,
    account: &AccountId,
    namespace: Namespace,
    hash: &MessageHash,
) -> Result<Vec<(Stamp, MessageHash, Record)>, StoreError> {
    let mut others = Vec::new();
    if crate::mutants::on("outbox-keeps-both") {
        return Ok(others);
    }
    walk(store, Time::from_millis(now), account, namespace, 0, |other, record| {
        if let Some(Life::Stored { stamp, .. }) = record.life
            && other != *hash
        {
            others.push((stamp, other, *record));
        }
        Ok(true)
    })?;
    Ok(others)
}

/// Buries `buried`, whose place the message behind `row` took when it was signed at `stamp`. The store
/// without its message is kept as evidence.
pub(super) fn bury<T: Transaction>(
    store: &mut T,
    account: AccountId,
    (stamp, by): (Stamp, u64),
    buried: impl IntoIterator<Item = (MessageHash, Option<Record>)>,
) -> Result<(), StoreError> {
    let Some(Mutation::Store(request)) = store.mutation(by)? else {
        return Err(StoreError::Damaged("the row of a message in an outbox"));
    };
    let Some(request) = request.replacement() else { return Ok(()) };
    let row = store.head().saturating_add(1);
    let life = Some(Life::Deleted { stamp, row });
    let bury = |(hash, before): (MessageHash, Option<Record>)| {
        let after = Record { life, place: None, ..before.unwrap_or_default() };
        Effect { account, hash, before, after: Some(after) }
    };
    let effects: Vec<_> = buried.into_iter().map(bury).collect();
    if effects.is_empty() {
        return Ok(());
    }
    let mutation = Some(Mutation::Replace { request, held: Vec::new() });
    store.append(Entry { mutation, evidence_until: Some(remembered(stamp)), effects })?;
    Ok(())
}
