//! What owners asked to be done to whole drawers: which messages that may be about, and which not.

use session_protocols::{
    AccountId, MessageHash, Namespace, Span, Time,
    record::{Record, Stamp},
    request::{Drawers, MAX_AHEAD, TOLERANCE},
};

use super::{
    Checks,
    fate::{Change, Deletion, Fate, Stored},
};

/// For how long after it was signed a member applies a request to what it alone holds, clocks that
/// disagree included.
const FRESH: Span = Span::secs(85);
/// How long a request can be under way to the member that takes it, which applies it to all that it holds.
const UNDER_WAY: Span = Span::secs(15);

/// How much later than a request that names no bound a message it is about may say that it was sent, in
/// milliseconds.
pub(crate) const AHEAD: u64 = TOLERANCE.as_millis() + MAX_AHEAD.as_millis();

/// A change of whole drawers.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) stamp: Stamp,
    pub(crate) drawers: Drawers,
    /// Only of what was sent until then, in milliseconds since 1970.
    pub(crate) before: Option<u64>,
    pub(crate) does: Does,
    /// When a client sent it last.
    pub(crate) sent: Time,
}

/// What is done to the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Delete,
    /// They end at this, in milliseconds since 1970.
    Expire(u64),
    /// A message of an outbox takes their place.
    Replace,
}

impl Whole {
    /// Whether a message is among those that its owner meant, whoever says that it was there.
    pub(crate) fn is_about(&self, namespace: Namespace, timestamp: u64) -> bool {
        self.is_of(namespace) && (self.does == Does::Replace || timestamp <= self.latest())
    }

    /// The latest time of a message that it can be about: where its owner names none, what may be there when
    /// the request is taken.
    fn latest(&self) -> u64 {
        self.before.unwrap_or(self.stamp.time + AHEAD)
    }

    fn is_of(&self, namespace: Namespace) -> bool {
        match self.drawers {
            Drawers::One(one) => one == namespace,
            Drawers::All => true,
        }
    }

    /// Whether it may have met a message at a member that applied it to what it held.
    fn meets(&self, namespace: Namespace, store: &Stored) -> bool {
        let sent = store.timestamp <= self.before.unwrap_or(self.stamp.time);
        let fresh = store.asked <= Time::from_millis(self.stamp.time).after(FRESH);
        let held = self.before.is_none() && store.asked <= self.sent.after(UNDER_WAY);
        self.does != Does::Replace && self.is_about(namespace, store.timestamp) && (sent && fresh || held)
    }

    /// Notes in a message's fate what may have become of it.
    fn mark(&self, fate: &mut Fate) {
        let namespace = fate.drawer.1;
        if !fate.stores.iter().any(|store| self.meets(namespace, store)) {
            return;
        }
        let (stamp, bound, acknowledged) = (self.stamp, Some(self.latest()), false);
        match self.does {
            Does::Delete if fate.deletions.iter().all(|known| known.stamp != stamp) => {
                fate.deletions.push(Deletion { stamp, bound, acknowledged });
            }
            Does::Expire(expiry) if fate.changes.iter().all(|known| known.stamp != stamp) => {
                fate.changes.push(Change { stamp, expiry, acknowledged });
            }
            Does::Delete | Does::Expire(_) | Does::Replace => {}
        }
    }
}

impl Checks {
    /// An owner asks for a change of whole drawers.
    pub(crate) fn asked_of_drawers(&mut self, account: AccountId, whole: Whole) {
        let stamp = whole.stamp;
        self.whole.entry(account).or_default().push(whole);
        self.sent(account, &stamp.digest, None);
    }

    /// A client sends the request with this digest, for the first time or again.
    pub(crate) fn sent(&mut self, account: AccountId, digest: &[u8; 32], now: Option<Time>) {
        let of_account = self.whole.get_mut(&account).into_iter().flatten();
        for whole in of_account.filter(|whole| whole.stamp.digest == *digest) {
            whole.sent = now.unwrap_or(whole.sent);
            let drawers = self.drawers.range((account, Namespace(i16::MIN))..=(account, Namespace(i16::MAX)));
            for hash in drawers.flat_map(|(_, hashes)| hashes) {
                if let Some(fate) = self.fates.get_mut(hash) {
                    whole.mark(fate);
                }
            }
        }
    }

    /// A client asks at `now` for a message to be stored, which is in its fate: what else that may mean for
    /// it and, in an outbox, for the others.
    pub(crate) fn asked_to_store(&mut self, hash: &MessageHash, stamp: Option<Stamp>, now: Time) {
        let Some(drawer) = self.fates.get(hash).map(|fate| fate.drawer) else { return };
        if let Some(stamp) = stamp.filter(|_| super::is_outbox(drawer.1)) {
            let (drawers, does) = (Drawers::One(drawer.1), Does::Replace);
            let whole = Whole { stamp, drawers, before: None, does, sent: now };
            self.asked_of_drawers(drawer.0, whole);
        }
        let Some(fate) = self.fates.get_mut(hash) else { return };
        for whole in self.whole.get(&drawer.0).into_iter().flatten() {
            whole.mark(fate);
        }
        if !super::is_outbox(drawer.1) {
            return;
        }
        let hashes = self.drawers.get(&drawer).map_or(&[][..], Vec::as_slice);
        let stamps = |fate: &Fate| fate.stores.iter().filter_map(|store| store.stamp).collect::<Vec<_>>();
        let all: Vec<_> =
            hashes.iter().filter_map(|hash| Some((*hash, stamps(self.fates.get(hash)?)))).collect();
        for (other, later) in &all {
            for hash in hashes.iter().filter(|hash| *hash != other) {
                let Some(fate) = self.fates.get_mut(hash) else { continue };
                let first = stamps(fate).into_iter().min();
                for stamp in later.iter().copied().filter(|stamp| first.is_some_and(|first| *stamp > first)) {
                    if fate.deletions.iter().all(|known| known.stamp != stamp) {
                        fate.deletions.push(Deletion { stamp, bound: None, acknowledged: false });
                    }
                }
            }
        }
    }

    /// What an owner asked of whole drawers at this stamp.
    pub(super) fn whole(&self, account: &AccountId, stamp: Stamp) -> Option<&Whole> {
        self.whole.get(account)?.iter().find(|whole| whole.stamp == stamp)
    }

    /// Whether a tombstone with this stamp may stand for something that its request is not about, by a lie of
    /// a member about what was not known: it yields to `record`.
    pub(super) fn yields(&self, account: &AccountId, stamp: Stamp, record: &Record) -> bool {
        self.whole(account, stamp).is_some_and(|whole| match (record.place, record.timestamp()) {
            (Some(place), Some(timestamp)) => !whole.is_about(place.namespace, timestamp),
            (Some(_), None) => record.revoked().is_some(),
            (None, _) => false,
        })
    }
}
