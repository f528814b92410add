//! What a client believes of the whole network, and on whose word.
//!
//! It begins with the members that the network description names; others come by the checkpoints of a chain.
//! A snapshot is believed when more than two thirds of the members of its period have signed its hash, every
//! record in it is signed by its node and inside its prefix, and its border is at most 24 hours away.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Certificate, Download, Found, KeptError, MAX_AHEAD, Members, NodeRecord, Roster, Snapshot, Timing, kept,
    snapshot::{Entry, MAX_AGE},
};
use crate::{NetworkName, NodeId, Prefix, Time, mutants};

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
    roster: Roster,
    /// The newest, and who signed it.
    known: Option<(Arc<Snapshot>, Certificate)>,
}

impl Trusted {
    /// Trusts these members, which the network description names, and knows no snapshot.
    pub fn new(network: NetworkName, timing: Timing, members: BTreeMap<NodeId, Prefix>) -> Self {
        let roster = Roster::new(Arc::new(Members::new(&network, members)));
        Self { network, timing, roster, known: None }
    }

    /// Trusts these members with the snapshots from the period `first` on; the caller has checked who they
    /// are. What others signed goes on being used until it is too old, but for the records of nodes that are
    /// no members any more.
    pub fn replace_members(&mut self, first: u64, members: BTreeMap<NodeId, Prefix>) {
        self.roster.change(first, Arc::new(Members::new(&self.network, members)));
    }

    /// How to fetch the newest snapshot: as changes of the one known, where that can be.
    pub fn download(&self) -> Download {
        let (network, roster) = (self.network.clone(), self.roster.clone());
        Download::new(network, self.timing, roster, None, self.newest().cloned())
    }

    /// Believes what was fetched, in place of what was known before.
    ///
    /// # Errors
    /// When it is not certified, too old, or not newer; what was known before stays.
    pub fn believe(&mut self, now: Time, found: Found) -> Result<(), Distrust> {
        let members = self.roster.of(found.snapshot.period());
        let certified = members.is_some_and(|members| found.certified_by(members));
        let Some(certificate) = found.certificate.clone().filter(|_| certified) else {
            return Err(Distrust::Uncertified);
        };
        let snapshot = found.snapshot;
        self.usable(now, &snapshot)?;
        if self.newest().is_some_and(|known| known.period() >= snapshot.period()) {
            return Err(Distrust::NotNewer);
        }
        self.known = Some((snapshot, certificate));
        Ok(())
    }

    /// The snapshot to use; none when none is known or the one that is known is too old.
    pub fn snapshot(&self, now: Time) -> Option<&Arc<Snapshot>> {
        self.newest().filter(|snapshot| self.usable(now, snapshot).is_ok())
    }

    /// What each member says of itself, in order of their ids; nothing when there is no snapshot to use.
    pub fn records(&self, now: Time) -> impl Iterator<Item = &NodeRecord> {
        let entries: &[Arc<Entry>] = self.snapshot(now).map_or(&[], |snapshot| snapshot.entries());
        let records = entries.iter().map(|entry| entry.record());
        records.filter(|record| self.contains(&record.node))
    }

    /// What one member says of itself.
    pub fn record(&self, now: Time, node: &NodeId) -> Option<&NodeRecord> {
        let entry = self.snapshot(now).filter(|_| self.contains(node))?.get(node)?;
        Some(entry.record())
    }

    /// Whether there is a newer snapshot than the one known, by the clock.
    pub fn is_behind(&self, now: Time) -> bool {
        // The agreement takes some steps; until then there is only the one before.
        let ready = Time(now.0.saturating_sub(self.timing.step.0.saturating_mul(4)));
        self.newest().is_none_or(|known| known.period() < self.timing.last(ready))
    }

    /// The bytes to keep until another time: the newest snapshot, with those who signed it. None while
    /// there is none.
    pub fn encode(&self) -> Option<Vec<u8>> {
        self.known.as_ref().map(|(snapshot, certificate)| kept::encode(snapshot, certificate))
    }

    /// Believes what [`Self::encode`] wrote, no more than if a stranger handed it out.
    ///
    /// # Errors
    /// When it is damaged, not certified by the members that are trusted, too old or not newer; what was
    /// known before stays.
    pub fn restore(&mut self, now: Time, bytes: &[u8]) -> Result<(), KeptError> {
        let found = kept::decode(bytes, self.download())?;
        Ok(self.believe(now, found)?)
    }

    fn contains(&self, node: &NodeId) -> bool {
        self.roster.last().is_some_and(|members| members.contains(node))
    }

    fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.known.as_ref().map(|(snapshot, _)| snapshot)
    }

    fn usable(&self, now: Time, snapshot: &Snapshot) -> Result<(), Distrust> {
        let border = self.timing.border(snapshot.period());
        let age = now.since(border);
        if border > now.after(MAX_AHEAD) {
            Err(Distrust::Ahead)
        } else if age > MAX_AGE && !mutants::on("directory-old") {
            Err(Distrust::Old { hours: age.as_millis() / HOUR })
        } else {
            Ok(())
        }
    }
}
