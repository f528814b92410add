//! What a client believes of the whole network, and on whose word.
//!
//! It begins with the members that the network description names. A snapshot is believed when more
//! than two thirds of the members trusted last have signed its hash, every record in it is signed by
//! its node and inside its prefix, and its border is at most 24 hours away.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Download, Found, MAX_AHEAD, Members, NodeRecord, Snapshot, Timing,
    snapshot::{Entry, MAX_AGE},
};
use crate::{NetworkName, NodeId, Prefix, Time};

/// Why a snapshot is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// It has no certificate of the members that are trusted.
    #[error("not certified by the members that are trusted")]
    Uncertified,
    /// Too few have signed, or more than there are.
    #[error("{found} signatures where at least {needed} members have to sign")]
    Signatures {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Somebody stands there twice, or out of order.
    #[error("signatures out of order")]
    Order,
    /// Somebody who is no member.
    #[error("a signature of nobody")]
    Stranger,
    /// A signature is not good.
    #[error("the signature of {node} is not good")]
    Signature {
        /// Whose it should be.
        node: NodeId,
    },
    /// It is more than 24 hours old.
    #[error("{hours} hours old")]
    Old {
        /// How old, in whole hours.
        hours: u64,
    },
    /// Its border has not passed.
    #[error("from the future")]
    Ahead,
    /// It is older than the one known, or another one of the same period.
    #[error("not newer than the one known")]
    NotNewer,
}

/// In milliseconds.
const HOUR: u64 = 3_600_000;

/// What was trusted last.
#[derive(Clone, Debug)]
pub struct Trusted {
    network: NetworkName,
    timing: Timing,
    members: Arc<Members>,
    snapshot: Option<Arc<Snapshot>>,
}

impl Trusted {
    /// Trusts these members, which the network description names, and knows no snapshot.
    pub fn new(network: NetworkName, timing: Timing, members: BTreeMap<NodeId, Prefix>) -> Self {
        let members = Arc::new(Members::new(&network, members));
        Self { network, timing, members, snapshot: None }
    }

    /// How to fetch the newest snapshot: as changes of the one known, where that can be.
    pub fn download(&self) -> Download {
        let (network, members) = (self.network.clone(), Arc::clone(&self.members));
        Download::new(network, self.timing, members, None, self.snapshot.clone())
    }

    /// Believes what was fetched, in place of what was known before.
    ///
    /// # Errors
    /// When it is not certified, too old, or not newer; what was known before stays.
    pub fn believe(&mut self, now: Time, found: Found) -> Result<(), Distrust> {
        if !found.certified_by(&self.members) {
            return Err(Distrust::Uncertified);
        }
        let snapshot = found.snapshot;
        self.usable(now, &snapshot)?;
        if self.snapshot.as_ref().is_some_and(|known| known.period() >= snapshot.period()) {
            return Err(Distrust::NotNewer);
        }
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// The snapshot to use; none when none is known or the one that is known is too old.
    pub fn snapshot(&self, now: Time) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref().filter(|snapshot| self.usable(now, snapshot).is_ok())
    }

    /// What each node says of itself, in order of their ids; nothing when there is no snapshot to use.
    pub fn records(&self, now: Time) -> impl Iterator<Item = &NodeRecord> {
        let entries: &[Arc<Entry>] = self.snapshot(now).map_or(&[], |snapshot| snapshot.entries());
        entries.iter().map(|entry| entry.record())
    }

    /// Whether there is a newer snapshot than the one known, by the clock.
    pub fn is_behind(&self, now: Time) -> bool {
        // The agreement takes some steps; until then there is only the one before.
        let ready = Time(now.0.saturating_sub(self.timing.step.0.saturating_mul(4)));
        self.snapshot.as_ref().is_none_or(|known| known.period() < self.timing.last(ready))
    }

    fn usable(&self, now: Time, snapshot: &Snapshot) -> Result<(), Distrust> {
        let border = self.timing.border(snapshot.period());
        let age = now.since(border);
        if border > now.after(MAX_AHEAD) {
            Err(Distrust::Ahead)
        } else if age > MAX_AGE {
            Err(Distrust::Old { hours: age.as_millis() / HOUR })
        } else {
            Ok(())
        }
    }
}
