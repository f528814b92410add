//! Rights that owners took from subaccounts and gave back: who knows of it, and whom it binds.

use session_protocols::{
    Time,
    answer::{Body, Code, Refusal},
    record::{Record, Stamp},
    request::{Auth, Request},
};

use super::{Checks, Key, Node, Violation, broken};

/// A revocation, or its end.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stamp: Stamp,
    pub(crate) undo: bool,
    /// Whether a majority was durable, with this subaccount among those that it changed at enough of them.
    pub(crate) acknowledged: bool,
}

impl Checks {
    /// Whether an owner said what a record says of a subaccount.
    pub(super) fn said(&self, key: &Key, record: &Record) -> bool {
        let Some(said) = self.rights.get(key) else { return false };
        let (stamp, undo) = match (record.revoked(), super::tombstone(Some(record))) {
            (Some(stamp), _) => (stamp, false),
            (None, Some(stamp)) => (stamp, true),
            (None, None) => return false,
        };
        said.iter().any(|one| (one.stamp, one.undo) == (stamp, undo))
    }

    /// What a node knows of a subaccount, durably, has changed.
    pub(super) fn learnt(&mut self, node: usize, key: Key, now: Time, after: Option<&Record>) {
        let revoked = &mut self.watched[node].revoked;
        match after.and_then(Record::revoked) {
            Some(stamp) if revoked.get(&key).is_none_or(|(known, _)| *known != stamp) => {
                revoked.insert(key, (stamp, now));
            }
            Some(_) => {}
            None => drop(revoked.remove(&key)),
        }
    }

    /// A node answers a request that was sent at `sent`.
    pub(crate) fn asked_by(
        &self,
        node: usize,
        host: &Node,
        sent: Time,
        request: &Request,
        body: &Body,
    ) -> Result<(), Violation> {
        let (Some(account), Some(Auth { subaccount: Some(subaccount), .. })) =
            (request.account(), request.auth())
        else {
            return Ok(());
        };
        let key = (*account, subaccount.token.hash(account));
        // With 503 it was tried.
        let tried = |refusal: &Refusal| refusal.code == Code::NotReady && refusal.receipts.is_some();
        let refused = matches!(body, Body::Refused(refusal) if !tried(refusal));
        let Some((stamp, since)) = self.watched[node].revoked.get(&key) else { return Ok(()) };
        // It may have been given back in a batch that failed and is durable all the same.
        let store = host.disk.store().filter(|_| !host.hostile && *since < sent && !refused);
        let record = store.and_then(|store| store.record(&key.0, &key.1).ok().flatten());
        if record.is_some_and(|record| record.revoked() == Some(*stamp)) {
            let detail = format!("node {node} knows of {stamp:?} since {since}, and says {body:?}");
            return broken("who is revoked is refused", detail);
        }
        Ok(())
    }

    /// At the end every member knows what was acknowledged.
    pub(super) fn rights_stand(&self, at: usize, node: &Node) -> Result<(), Violation> {
        let Some(store) = node.disk.store().filter(|_| node.swarm.is_some()) else { return Ok(()) };
        let ours = self.rights.iter().filter(|(key, _)| self.maps.acts.swarm_of(&key.0) == node.swarm);
        for ((account, hash), said) in ours {
            let acknowledged = said.iter().filter(|one| one.acknowledged);
            let Some(last) = acknowledged.max_by_key(|one| one.stamp) else { continue };
            // What was asked for later and not acknowledged may have happened or not.
            if said.iter().any(|one| one.stamp > last.stamp && one.undo != last.undo) {
                continue;
            }
            let record = store.record(account, hash).ok().flatten();
            let revoked = record.is_some_and(|record| record.revoked().is_some());
            let detail = || format!("node {at}, {hash} of {account}: {record:?}, {said:?}");
            if revoked && last.undo {
                return broken("rights that were given back are there after healing", detail());
            }
            if !revoked && !last.undo {
                return broken("an acknowledged revocation stands", detail());
            }
        }
        Ok(())
    }
}
