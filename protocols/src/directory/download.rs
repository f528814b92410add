//! How a snapshot is fetched, page by page, and checked: what comes out is good, or nothing does.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_bytes::ByteArray;

use super::{
    Certificate, Distrust, Members, Page, Request, Roster, Snapshot, Timing,
    snapshot::{Change, Entry},
};
use crate::{NetworkName, NodeId, mutants};

/// Why what was fetched is no snapshot that can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The pages are of different snapshots, or of one that was not asked for.
    #[error("another snapshot than the one asked for")]
    Other,
    /// The changes are made to a snapshot that the asker does not have.
    #[error("changes of a snapshot that is not known")]
    Base,
    /// A page that leads nowhere, or more changes than there can be.
    #[error("pages without end")]
    Endless,
    /// A record that its node has not signed.
    #[error("a record that its node has not signed")]
    Forged,
    /// A record of a stranger, outside its prefix, or of another time.
    #[error("a record of {node} that has no place in this snapshot")]
    Unfit {
        /// The node.
        node: NodeId,
    },
    /// The changes do not give the hash.
    #[error("the changes do not give the hash")]
    Hash,
    /// Who agrees on the snapshots of its period is not known.
    #[error("of a period whose members are not known")]
    Members,
    /// The certificate is not good.
    #[error("not certified")]
    Certificate(#[from] Distrust),
}

/// A snapshot that was fetched: all in it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Who signed it, if the one who was asked knows of enough.
    pub certificate: Option<Certificate>,
    /// Among whom they are more than two thirds; private, so that nothing unchecked can pass for this.
    members: [u8; 32],
}

impl Found {
    /// Whether more than two thirds of these members have signed it.
    pub(super) fn certified_by(&self, members: &Members) -> bool {
        self.certificate.is_some() && self.members == members.id()
    }
}

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Ask for the next page.
    More(Download),
    /// That was the last one.
    Whole(Found),
}

/// A snapshot that is being fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    network: NetworkName,
    timing: Timing,
    roster: Roster,
    wanted: Option<[u8; 32]>,
    base: Option<Arc<Snapshot>>,
    /// What the first page said.
    head: Option<Head>,
    entries: BTreeMap<NodeId, Arc<Entry>>,
    taken: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    hash: [u8; 32],
    period: u64,
    base: Option<ByteArray<32>>,
    certificate: Option<Certificate>,
    /// Who agrees on the snapshots of this period.
    members: Arc<Members>,
}

impl Download {
    /// Will fetch the `wanted` snapshot, or the newest that is certified; as changes of `base` where the
    /// one who is asked knows it.
    pub const fn new(
        network: NetworkName,
        timing: Timing,
        roster: Roster,
        wanted: Option<[u8; 32]>,
        base: Option<Arc<Snapshot>>,
    ) -> Self {
        let entries = BTreeMap::new();
        Self { network, timing, roster, wanted, base, head: None, entries, taken: 0 }
    }

    /// The hash of the snapshot that is wanted; the newest certified one if none.
    pub const fn wanted(&self) -> Option<[u8; 32]> {
        self.wanted
    }

    /// What to ask next.
    pub fn request(&self) -> Request {
        let hash = self.head.as_ref().map(|head| head.hash).or(self.wanted);
        let have = self.base.as_ref().map(|base| ByteArray::new(base.hash()));
        Request::Snapshot { hash: hash.map(ByteArray::new), have, from: self.taken }
    }

    /// Takes the answer in.
    ///
    /// # Errors
    /// When it cannot be believed: nothing of it can, and the download is over.
    pub fn take(mut self, page: Page) -> Result<Progress, DownloadError> {
        let first = self.head.is_none();
        let Page { hash, period, base, certificate, changes, more } = page;
        let members = self.roster.of(period).cloned().ok_or(DownloadError::Members)?;
        let head = self.head.get_or_insert(Head { hash: *hash, period, base, certificate, members });
        let most = head.members.len();
        if (head.hash, head.period, head.base) != (*hash, period, base) {
            return Err(DownloadError::Other);
        }
        if self.wanted.is_some_and(|wanted| wanted != *hash) {
            return Err(DownloadError::Other);
        }
        if first {
            self.entries = match (base, &self.base) {
                (None, _) => BTreeMap::new(),
                (Some(named), Some(base)) if *named == base.hash() => base.map(),
                (Some(_), _) => return Err(DownloadError::Base),
            };
        }
        let known = self.base.clone().filter(|_| base.is_some());
        let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        self.taken = self.taken.saturating_add(count);
        let most = most.saturating_add(known.as_ref().map_or(0, |base| base.entries().len()));
        let endless = usize::try_from(self.taken).unwrap_or(usize::MAX) > most;
        if endless || (more && changes.is_empty() && !first) {
            return Err(DownloadError::Endless);
        }
        for change in changes {
            self.apply(change, known.as_deref(), period)?;
        }
        if more { Ok(Progress::More(self)) } else { self.finish() }
    }

    fn apply(&mut self, change: Change, base: Option<&Snapshot>, period: u64) -> Result<(), DownloadError> {
        if let Change::Drop(node) = &change {
            self.entries.remove(node);
            return Ok(());
        }
        let entry = change.signed(base).and_then(|signed| Entry::open(&self.network, signed));
        let entry = entry.ok_or(DownloadError::Forged)?;
        let node = entry.record().node;
        let members = self.head.as_ref().map(|head| &head.members);
        if !members.is_some_and(|members| members.admits(&entry, self.timing, period)) {
            return Err(DownloadError::Unfit { node });
        }
        self.entries.insert(node, Arc::new(entry));
        Ok(())
    }

    fn finish(self) -> Result<Progress, DownloadError> {
        let Self { network, timing, head, entries, .. } = self;
        let Some(Head { hash, period, certificate, members, .. }) = head else {
            return Err(DownloadError::Hash);
        };
        // What was taken over unchanged may have become too old, or the members others.
        let unfit = entries.values().find(|entry| !members.admits(entry, timing, period));
        if let Some(entry) = unfit {
            return Err(DownloadError::Unfit { node: entry.record().node });
        }
        let snapshot = Snapshot::new(&network, period, entries);
        if snapshot.hash() != hash && !mutants::on("directory-any-change") {
            return Err(DownloadError::Hash);
        }
        if let Some(certificate) = &certificate {
            certificate.verify(&network, &members, period, hash)?;
        }
        Ok(Progress::Whole(Found { snapshot: Arc::new(snapshot), certificate, members: members.id() }))
    }
}
