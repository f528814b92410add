//! What clients asked to be done to one message, and what was acknowledged.

use session_protocols::{
    AccountId, Namespace, Time,
    record::{Life, Record, Stamp},
};

/// Everything that was ever asked about one message.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) drawer: (AccountId, Namespace),
    pub(crate) stores: Vec<Stored>,
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) changes: Vec<Change>,
}

/// A store that was asked for. Times without a type are milliseconds since 1970.
#[derive(Debug)]
pub(crate) struct Stored {
    /// None when it is not signed.
    pub(crate) stamp: Option<Stamp>,
    /// What its owner signed names its time alone: a member that knows the message keeps its first timestamp
    /// and its later end.
    pub(crate) text: bool,
    pub(crate) timestamp: u64,
    pub(crate) expiry: u64,
    pub(crate) asked: Time,
    /// When a majority was durable, and until when they all keep it.
    pub(crate) acknowledged: Option<(Time, u64)>,
}

/// A deletion that was asked for.
#[derive(Debug)]
pub(crate) struct Deletion {
    pub(crate) stamp: Stamp,
    /// It is about what was sent until then alone, in milliseconds since 1970.
    pub(crate) bound: Option<u64>,
    /// Whether a majority was durable, with this message among the deleted at enough of them.
    pub(crate) acknowledged: bool,
}

/// A change of expiry that was asked for.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) stamp: Stamp,
    pub(crate) expiry: u64,
    /// As with [`Deletion`].
    pub(crate) acknowledged: bool,
}

impl Fate {
    pub(crate) const fn new(drawer: (AccountId, Namespace)) -> Self {
        Self { drawer, stores: Vec::new(), deletions: Vec::new(), changes: Vec::new() }
    }

    /// What a store of the JSON door became at a member that knew the message, if a record says so.
    pub(super) fn repeated(&self, record: &Record) -> Option<(Stamp, Stored)> {
        let Some(Life::Stored { stamp, timestamp, expiry, .. }) = record.life else { return None };
        let of = |store: &&Stored| store.text && store.stamp.is_some_and(|own| own.time == stamp.time);
        let asked = self.stores.iter().find(of)?.asked;
        let new = self.stores.iter().all(|store| store.stamp != Some(stamp));
        let known = self.stores.iter().any(|store| store.timestamp == timestamp)
            && self.expiries().any(|end| end == expiry);
        let (text, acknowledged) = (true, None);
        (new && known)
            .then_some((stamp, Stored { stamp: Some(stamp), text, timestamp, expiry, asked, acknowledged }))
    }

    /// Every end that was ever asked for.
    pub(super) fn expiries(&self) -> impl Iterator<Item = u64> {
        let stores = self.stores.iter().map(|store| store.expiry);
        stores.chain(self.changes.iter().map(|change| change.expiry))
    }

    /// Whether its owner asked for something by which it may have ended at `at`.
    pub(super) fn may_end(&self, at: u64) -> bool {
        let signed = self.stores.iter().filter(|store| store.stamp.is_some());
        let ends = signed.map(|store| store.expiry).chain(self.changes.iter().map(|change| change.expiry));
        ends.into_iter().any(|end| end <= at)
    }

    /// Whether all that a record says was asked for by somebody who may.
    pub(super) fn explains(&self, record: &Record) -> bool {
        let life = match record.life {
            None => true,
            Some(Life::Unsigned { timestamp, expiry }) => {
                let unsigned = || self.stores.iter().filter(|store| store.stamp.is_none());
                unsigned().any(|store| store.timestamp == timestamp)
                    && unsigned().any(|store| store.expiry == expiry)
            }
            Some(Life::Stored { stamp, timestamp, expiry, .. }) => self.stores.iter().any(|store| {
                (store.stamp, store.timestamp, store.expiry) == (Some(stamp), timestamp, expiry)
            }),
            Some(Life::Deleted { stamp, .. } | Life::Revoked { stamp, .. }) => {
                self.deletions.iter().any(|deletion| deletion.stamp == stamp)
            }
        };
        let change = record.change.is_none_or(|known| {
            self.changes.iter().any(|change| (change.stamp, change.expiry) == (known.stamp, known.expiry))
        });
        life && change
    }

    /// Whether the message must be readable at `at`, by what was acknowledged until `since`.
    ///
    /// What was asked for and not acknowledged may have happened or not.
    pub(super) fn kept_since(&self, since: Time, at: u64) -> bool {
        self.stores.iter().any(|store| {
            let Some((acknowledged, keeps)) = store.acknowledged else { return false };
            let later = |stamp: Stamp| store.stamp.is_none_or(|own| stamp > own);
            let deleted = self.deletions.iter().any(|deletion| later(deletion.stamp));
            let replaced =
                self.stores.iter().any(|other| other.stamp.is_some_and(later) && other.expiry <= at);
            acknowledged <= since && !deleted && !replaced && self.end(store, keeps) > at
        })
    }

    /// Until when an acknowledged store is kept at least.
    fn end(&self, store: &Stored, keeps: u64) -> u64 {
        let later = |stamp: Stamp| store.stamp.is_none_or(|own| stamp > own);
        let counting = || self.changes.iter().filter(|change| later(change.stamp));
        let last = counting().max_by_key(|change| change.stamp);
        let restored =
            |stamp: Stamp| self.stores.iter().any(|other| other.stamp.is_some_and(|own| own > stamp));
        match last {
            Some(change) if change.acknowledged && !restored(change.stamp) => change.expiry,
            Some(_) => counting().map(|change| change.expiry).fold(keeps, u64::min),
            None => keeps,
        }
    }

    /// Why the message must not be readable at `at`, if it must not.
    pub(super) fn gone(&self, at: u64, margin: u64, start: u64) -> Option<&'static str> {
        let restored =
            |stamp: Stamp| self.stores.iter().any(|store| store.stamp.is_some_and(|own| own > stamp));
        // What is sent again after the bound of a deletion is a message that it is not about.
        let sent_anew = |stamp: Stamp| {
            let bounds = self.deletions.iter().filter(|one| one.stamp >= stamp).filter_map(|one| one.bound);
            bounds.into_iter().any(|bound| self.stores.iter().any(|store| store.timestamp > bound))
        };
        let undone = |stamp: Stamp| restored(stamp) || sent_anew(stamp);
        if self.deletions.iter().any(|deletion| deletion.acknowledged && !undone(deletion.stamp)) {
            return Some("its deletion was acknowledged");
        }
        if self.expiries().all(|expiry| expiry.saturating_add(margin) <= at) {
            return Some("every end that was asked for has passed");
        }
        let shortened = self.changes.iter().any(|change| {
            let last = self.changes.iter().all(|other| other.stamp <= change.stamp);
            // Once it has ended and is forgotten, anybody may send it to a public inbox again.
            let sent_again = self.stores.iter().any(|store| {
                store.stamp.is_none() && store.asked.as_millis() + margin >= change.expiry.max(start)
            });
            let ended = change.expiry.saturating_add(margin) <= at;
            change.acknowledged && last && ended && !restored(change.stamp) && !sent_again
        });
        shortened.then_some("its owner ended it")
    }
}
