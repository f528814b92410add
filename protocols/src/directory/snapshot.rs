//! The records of all members at a border of time, under one hash.
//!
//! A snapshot holds for each member the newest record that was made at or before the border, and no
//! more than [`FRESH`] before it. Everybody who has the same records makes the same snapshot.
//!
//! It travels as changes of another snapshot, or of nothing. Nodes say anew where they are every few
//! minutes, and mostly nothing but the time has changed: then a change says that and no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::{Certificate, MAX_ANSWER, NodeRecord, SignedRecord};
use crate::{NetworkName, NodeId, Signature, Span, Statement, Time, codec, identity::blake2b};

/// How long before the border a record in a snapshot was made at most. A node accepts an onion key
/// for 26 hours after the next one took its place: longer than this and [`MAX_AGE`] together.
pub const FRESH: Span = Span::secs(5_400);
/// How long after its border a snapshot is used.
pub const MAX_AGE: Span = Span::hours(24);

/// When snapshots are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From one border to the next; borders are counted from 1970.
    pub period: Span,
    /// What nodes wait for each other: from a border until they begin, and from one step of the
    /// agreement to the next.
    pub step: Span,
}

impl Timing {
    /// An hour, for networks that nobody watches come up.
    pub const PUBLIC: Self = Self { period: Span::hours(1), step: Span::secs(30) };
    /// A few seconds, for networks on one machine.
    pub const LOCAL: Self = Self { period: Span::secs(5), step: Span::millis(500) };

    /// That of a network which is all on one machine, or is not.
    pub const fn of(local: bool) -> Self {
        if local { Self::LOCAL } else { Self::PUBLIC }
    }

    /// The border of a period.
    pub const fn border(self, period: u64) -> Time {
        Time(period.saturating_mul(self.period.0))
    }

    /// The first period whose border does not lie before an instant.
    pub const fn first(self, from: Time) -> u64 {
        let last = self.last(from);
        if self.border(last).0 == from.0 { last } else { last.saturating_add(1) }
    }

    /// The last period whose border has passed.
    pub const fn last(self, now: Time) -> u64 {
        match now.0.checked_div(self.period.0) {
            Some(period) => period,
            None => 0,
        }
    }
}

/// A record that its node has signed, and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    record: NodeRecord,
    signed: SignedRecord,
    digest: [u8; 32],
}

impl Entry {
    /// A record whose signature was checked by opening it.
    pub fn new(record: NodeRecord, signed: SignedRecord) -> Self {
        // The signature has a fixed length, so no two records give the same bytes.
        let digest = blake2b(&[&signed.signature.0, &signed.record]);
        Self { record, signed, digest }
    }

    /// Opens a record. None if the node that it names has not signed it.
    pub fn open(network: &NetworkName, signed: SignedRecord) -> Option<Self> {
        Some(Self::new(signed.open(network)?, signed))
    }

    /// What the node says.
    pub const fn record(&self) -> &NodeRecord {
        &self.record
    }

    /// The same as it travels.
    pub const fn signed(&self) -> &SignedRecord {
        &self.signed
    }

    /// Which of two records of a node counts: the later one. A node that signs two for one moment has
    /// no say in which.
    pub(super) const fn rank(&self) -> (u64, [u8; 32]) {
        (self.record.time, self.digest)
    }
}

/// Puts a record in its place unless a later one is there. Whether it did.
pub(super) fn join(into: &mut BTreeMap<NodeId, Arc<Entry>>, entry: &Arc<Entry>) -> bool {
    let known = into.get(&entry.record.node);
    let counts = known.is_none_or(|known| known.rank() < entry.rank());
    if counts {
        into.insert(entry.record.node, Arc::clone(entry));
    }
    counts
}

/// The records of members at one border, in order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    period: u64,
    hash: [u8; 32],
    entries: Vec<Arc<Entry>>,
}

impl Snapshot {
    /// The snapshot of these records, one of each node.
    pub fn new(network: &NetworkName, period: u64, entries: BTreeMap<NodeId, Arc<Entry>>) -> Self {
        let entries: Vec<_> = entries.into_values().collect();
        let digests = entries.iter().map(|entry| entry.digest.as_slice());
        let hash = Statement::new("snapshot", network).number(period).list(digests).digest();
        Self { period, hash, entries }
    }

    /// The number of its period.
    pub const fn period(&self) -> u64 {
        self.period
    }

    /// What is signed.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The records, in order of the nodes' ids.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The record of a node.
    pub fn get(&self, node: &NodeId) -> Option<&Arc<Entry>> {
        let at = self.entries.binary_search_by(|entry| entry.record.node.cmp(node)).ok()?;
        self.entries.get(at)
    }

    /// The records by their nodes.
    pub(super) fn map(&self) -> BTreeMap<NodeId, Arc<Entry>> {
        self.entries.iter().map(|entry| (entry.record.node, Arc::clone(entry))).collect()
    }

    /// A page of what has to change in `base`, or in nothing, to make this snapshot; `from` counts the
    /// changes of the pages before.
    pub fn page(&self, base: Option<&Self>, certificate: Option<&Certificate>, from: u32) -> Page {
        let certificate = certificate.filter(|_| from == 0).cloned();
        let mut room = MAX_ANSWER.saturating_sub(512);
        room = room.saturating_sub(certificate.as_ref().map_or(0, Certificate::size));
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        let (mut changes, mut more) = (Vec::new(), false);
        for change in self.changes(base).skip(skip) {
            let left = room.checked_sub(change.size());
            let Some(left) = left else {
                more = true;
                break;
            };
            room = left;
            changes.push(change);
        }
        Page {
            hash: ByteArray::new(self.hash),
            period: self.period,
            base: base.map(|base| ByteArray::new(base.hash)),
            certificate,
            changes,
            more,
        }
    }

    fn changes<'a>(&'a self, base: Option<&'a Self>) -> impl Iterator<Item = Change> + 'a {
        let known: &[Arc<Entry>] = base.map_or(&[], |base| &base.entries);
        let gone = known.iter().filter(|old| self.get(&old.record.node).is_none());
        let put = self.entries.iter().filter_map(move |entry| match base {
            None => Some(Change::Put(entry.signed.clone())),
            Some(base) => Change::between(base, entry),
        });
        put.chain(gone.map(|old| Change::Drop(old.record.node)))
    }
}

/// What makes one snapshot out of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// This record takes the place of whatever was known of its node.
    Put(SignedRecord),
    /// The node has said the same again.
    Renew {
        /// The place of its record among those of the other snapshot.
        at: u32,
        /// When.
        time: u64,
        /// The last border of the ledger that it knew; as before if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        border: Option<(u64, ByteArray<32>)>,
        /// Over the record with these in it.
        signature: Signature,
    },
    /// Nothing is known of this node.
    Drop(NodeId),
}

impl Change {
    /// How an entry differs from what `base` has of its node; none where it does not.
    fn between(base: &Snapshot, entry: &Entry) -> Option<Self> {
        let put = || Some(Self::Put(entry.signed.clone()));
        let at = base.entries.binary_search_by(|old| old.record.node.cmp(&entry.record.node));
        let Some((at, old)) = at.ok().and_then(|at| Some((at, base.entries.get(at)?))) else { return put() };
        if old.digest == entry.digest {
            return None;
        }
        let NodeRecord { time, height, border, .. } = entry.record;
        let same = (height, border) == (old.record.height, old.record.border);
        let border = (!same).then_some((height, border));
        // A node may have written its record in other bytes than we would.
        let renewed = renewed(&old.record, time, border);
        let (Ok(at), true) = (u32::try_from(at), renewed == entry.signed.record) else { return put() };
        Some(Self::Renew { at, time, border, signature: entry.signed.signature })
    }

    /// The record that this change is about, as it travels, if it is about one.
    pub(super) fn signed(self, base: Option<&Snapshot>) -> Option<SignedRecord> {
        match self {
            Self::Put(signed) => Some(signed),
            Self::Renew { at, time, border, signature } => {
                let old = base?.entries.get(usize::try_from(at).ok()?)?;
                Some(SignedRecord { record: renewed(&old.record, time, border), signature })
            }
            Self::Drop(_) => None,
        }
    }

    /// The most bytes that it takes up in a page.
    pub fn size(&self) -> usize {
        match self {
            Self::Put(signed) => signed.record.len().saturating_add(128),
            Self::Renew { .. } => 192,
            Self::Drop(_) => 48,
        }
    }
}

fn renewed(old: &NodeRecord, time: u64, border: Option<(u64, ByteArray<32>)>) -> ByteBuf {
    let (height, border) = border.unwrap_or((old.height, old.border));
    ByteBuf::from(codec::encode(&NodeRecord { time, height, border, ..old.clone() }))
}

/// A part of a snapshot as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Which snapshot.
    pub hash: ByteArray<32>,
    /// The number of its period.
    pub period: u64,
    /// The snapshot that the changes are made to, by its hash; nothing if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ByteArray<32>>,
    /// Who signed it: on the first page, of a snapshot that is certified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// What changes, behind what the pages before said.
    pub changes: Vec<Change>,
    /// Whether more follow.
    pub more: bool,
}
