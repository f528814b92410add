//! The machine that knows who is where.

use core::ops::Bound;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_bytes::ByteArray;

use super::{
    ANNOUNCE, ANNOUNCE_PAUSE, Answer, Download, Endpoint, Found, LIFETIME, MAX_AHEAD, MAX_ANSWER,
    MAX_ENDPOINTS, Members, NodeRecord, OnionDoor, RECENT_BORDERS, Request, Roster, Share, SignedRecord,
    Snapshot, Timing, Vote,
    agreement::{Agreement, Demand},
    snapshot::Entry,
};
use crate::{NetworkName, NodeId, Time, prefix::Prefix};

/// What the directory machine is fed.
#[derive(Clone, Debug)]
pub enum Input {
    /// A record arrived by gossip, or in an answer; its signature was checked by opening it.
    Record {
        /// What was signed.
        record: NodeRecord,
        /// As it travels.
        signed: SignedRecord,
        /// The gossip message to judge, if it came by gossip.
        message: Option<u64>,
    },
    /// A gossip message could not be opened.
    Garbage {
        /// The gossip message to judge.
        message: u64,
    },
    /// This node can be reached here from now on.
    Listening(Vec<Endpoint>),
    /// Onion packets for this node are sealed to this from now on.
    Onion(OnionDoor),
    /// The ledger reached another border; records that name one of the last [`RECENT_BORDERS`] are
    /// believed, and one that names a later one is when it is known. The node says anew where it is. A
    /// network without a chain has one border, its seed.
    Border {
        /// Its height.
        height: u64,
        /// Its hash.
        hash: [u8; 32],
    },
    /// These nodes are registered from now on, and they agree on the snapshots from this period on.
    Members {
        /// The period, the same at all nodes.
        period: u64,
        /// The nodes, and the prefix that each declared.
        members: BTreeMap<NodeId, Prefix>,
    },
    /// Somebody new can hear this node's record.
    Heard,
    /// A share arrived by gossip, or was made here; its signature was checked.
    Share {
        /// Who votes for what.
        share: Share,
        /// The gossip message to judge, if it came by gossip.
        message: Option<u64>,
    },
    /// What came of an [`Output::Fetch`].
    Fetched {
        /// Which snapshot was wanted, by [`Download::wanted`].
        hash: Option<[u8; 32]>,
        /// What was found; none if nothing was, or nothing that can be believed.
        found: Option<Found>,
    },
    /// Time has passed.
    Tick,
}

/// What to do with a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Drop it; nobody is to blame.
    Ignore,
    /// Drop it; whoever sent it should have known.
    Reject,
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Sign this and gossip it.
    Announce(NodeRecord),
    /// Judge a gossip message.
    Judge {
        /// The number of [`Input::Record`].
        message: u64,
        /// What to do with it.
        verdict: Verdict,
    },
    /// A node is found here: tell the transport.
    Found {
        /// Who.
        node: NodeId,
        /// Where, best first.
        endpoints: Vec<Endpoint>,
    },
    /// Sign this, gossip the share, and feed it back.
    Vote(Vote),
    /// Fetch a snapshot, and tell what came of it.
    Fetch {
        /// From whom.
        from: NodeId,
        /// What to ask, and how to read the answers.
        download: Download,
    },
}

/// The machine of one participant's directory.
#[derive(Debug)]
pub struct Directory {
    me: Option<NodeId>,
    version: String,
    door: Option<u16>,
    members: BTreeMap<NodeId, Prefix>,
    known: BTreeMap<NodeId, Arc<Entry>>,
    /// Of each member at most one record that names a border which is not known here so far.
    early: BTreeMap<NodeId, (NodeRecord, SignedRecord)>,
    endpoints: Vec<Endpoint>,
    onion: Option<OnionDoor>,
    /// The last few, the latest last.
    borders: VecDeque<(u64, [u8; 32])>,
    announce_at: Option<Time>,
    announced: Time,
    outbox: VecDeque<Output>,
    snapshots: Option<Box<Snapshots>>,
}

/// What it takes to agree on snapshots.
#[derive(Debug)]
struct Snapshots {
    network: NetworkName,
    timing: Timing,
    agreement: Agreement,
}

impl Directory {
    /// A directory of `members`; `me` announces itself, a client has none.
    pub const fn new(me: Option<NodeId>, version: String, members: BTreeMap<NodeId, Prefix>) -> Self {
        Self {
            me,
            version,
            door: None,
            members,
            known: BTreeMap::new(),
            early: BTreeMap::new(),
            endpoints: Vec::new(),
            onion: None,
            borders: VecDeque::new(),
            announce_at: None,
            announced: Time::ZERO,
            outbox: VecDeque::new(),
            snapshots: None,
        }
    }

    /// Says that this node has a door for the clients that exist, at this port.
    #[must_use]
    pub fn with_door(self, door: Option<u16>) -> Self {
        Self { door, ..self }
    }

    /// Agrees with the other members on snapshots, which are made by this timing. A client does not.
    #[must_use]
    pub fn with_snapshots(mut self, network: NetworkName, timing: Timing) -> Self {
        let members = Arc::new(Members::new(&network, self.members.clone()));
        self.snapshots = self.me.map(|me| {
            let agreement = Agreement::new(network.clone(), me, members, timing);
            Box::new(Snapshots { network, timing, agreement })
        });
        self
    }

    /// Applies one input at `now`; results are read with [`Self::poll`].
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Record { record, signed, message } => {
                let verdict = self.take(now, record, signed);
                self.outbox.extend(message.map(|message| Output::Judge { message, verdict }));
            }
            Input::Garbage { message } => {
                self.outbox.push_back(Output::Judge { message, verdict: Verdict::Reject });
            }
            Input::Listening(mut endpoints) => {
                endpoints.truncate(MAX_ENDPOINTS);
                if endpoints != self.endpoints {
                    self.endpoints = endpoints;
                    self.announce_soon(now);
                }
            }
            Input::Onion(door) => {
                if self.onion.replace(door) != Some(door) {
                    self.announce_soon(now);
                }
            }
            Input::Border { height, hash } => {
                if self.borders.len() >= RECENT_BORDERS {
                    self.borders.pop_front();
                }
                self.borders.push_back((height, hash));
                // What named an older one will soon not be believed by whoever hears it for the first time.
                self.announce_soon(now);
                for (record, signed) in core::mem::take(&mut self.early).into_values() {
                    self.take(now, record, signed);
                }
            }
            Input::Members { period, members } => {
                self.known.retain(|node, _| members.contains_key(node));
                self.early.retain(|node, _| members.contains_key(node));
                if let Some(Snapshots { network, agreement, .. }) = self.snapshots.as_deref_mut() {
                    agreement.replace_members(period, Arc::new(Members::new(network, members.clone())));
                }
                self.members = members;
            }
            Input::Heard => self.announce_soon(now),
            Input::Share { share, message } => {
                let snapshots = self.snapshots.as_mut();
                let verdict = snapshots.map_or(Verdict::Ignore, |one| one.agreement.share(now, &share));
                self.outbox.extend(message.map(|message| Output::Judge { message, verdict }));
            }
            Input::Fetched { hash, found } => self.fetched(now, hash, found),
            Input::Tick => self.tick(now),
        }
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front().or_else(|| self.snapshots.as_mut()?.poll())
    }

    /// Returns when [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Option<Time> {
        let snapshots = self.snapshots.as_ref().and_then(|one| one.agreement.deadline());
        self.announce_at.into_iter().chain(snapshots).min()
    }

    /// The newest snapshot that more than two thirds of the members have signed.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshots.as_ref().and_then(|one| one.agreement.newest())
    }

    /// Where a node says it is, best first; empty when nothing is known.
    pub fn endpoints(&self, node: &NodeId) -> &[Endpoint] {
        self.known.get(node).map_or(&[], |entry| &entry.record().endpoints)
    }

    /// What the nodes say of themselves, in the order of their ids.
    pub fn said(&self) -> impl Iterator<Item = &NodeRecord> {
        self.known.values().map(|entry| entry.record())
    }

    /// How a node is entered by onion packets; none when nothing is known.
    pub fn onion(&self, node: &NodeId) -> Option<&OnionDoor> {
        self.known.get(node).map(|entry| &entry.record().onion)
    }

    /// How many nodes have said where they are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no node has said where it is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a node is a member.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.members.contains_key(node)
    }

    /// The prefix that a member declared.
    pub fn prefix(&self, node: &NodeId) -> Option<Prefix> {
        self.members.get(node).copied()
    }

    /// Answers a question about records or snapshots.
    pub fn answer(&self, request: &Request) -> Answer {
        match request {
            Request::Records { after } => self.records(after.as_ref()),
            Request::Snapshot { hash, have, from } => {
                let page = self
                    .snapshots
                    .as_ref()
                    .and_then(|one| one.agreement.page(hash.as_deref(), have.as_deref(), *from));
                page.map_or(Answer::Unknown, Answer::Snapshot)
            }
            // Who follows the ledger keeps those.
            Request::Checkpoint { .. } => Answer::Unknown,
        }
    }

    fn records(&self, after: Option<&NodeId>) -> Answer {
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (_, entry) in self.known.range((start, Bound::Unbounded)) {
            let signed = entry.signed();
            bytes = bytes.saturating_add(signed.record.len()).saturating_add(128);
            if bytes > MAX_ANSWER {
                return Answer::Records { records, more: true };
            }
            records.push(signed.clone());
        }
        Answer::Records { records, more: false }
    }

    fn take(&mut self, now: Time, record: NodeRecord, signed: SignedRecord) -> Verdict {
        let Some(prefix) = self.members.get(&record.node) else { return Verdict::Ignore };
        let stays = record.endpoints.iter().all(|endpoint| prefix.covers(endpoint.ip));
        if record.endpoints.is_empty() || record.endpoints.len() > MAX_ENDPOINTS || !stays {
            return Verdict::Reject;
        }
        if !self.borders.contains(&(record.height, *record.border)) {
            // One that knows a later border than this participant is not to blame: it counts when that one
            // is known here.
            if self.borders.back().is_none_or(|(last, _)| record.height > *last) {
                self.early.insert(record.node, (record, signed));
            }
            return Verdict::Ignore;
        }
        let said = Time::from_millis(record.time);
        if said > now.after(MAX_AHEAD) || now.since(said) > LIFETIME {
            return Verdict::Ignore;
        }
        if self.known.get(&record.node).is_some_and(|old| old.record().time >= record.time) {
            return Verdict::Ignore;
        }
        if Some(record.node) != self.me {
            self.outbox.push_back(Output::Found { node: record.node, endpoints: record.endpoints.clone() });
        }
        let entry = Arc::new(Entry::new(record, signed));
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.agreement.learn(now, &entry);
        }
        self.known.insert(entry.record().node, entry);
        Verdict::Accept
    }

    /// Takes in a snapshot that others know, and the records in it that this node lacks.
    fn fetched(&mut self, now: Time, hash: Option<[u8; 32]>, found: Option<Found>) {
        let Some(snapshots) = &mut self.snapshots else { return };
        let borders = &self.borders;
        let recent = |entry: &Arc<Entry>| {
            let record = entry.record();
            borders.contains(&(record.height, *record.border))
        };
        // What more than two thirds have signed needs no second opinion.
        let found =
            found.filter(|found| found.certificate.is_some() || found.snapshot.entries().iter().all(recent));
        let entries: Vec<_> = found.iter().flat_map(|found| found.snapshot.entries()).cloned().collect();
        snapshots.agreement.fetched(now, hash, found);
        for entry in entries {
            self.take(now, entry.record().clone(), entry.signed().clone());
        }
    }

    fn announce_soon(&mut self, now: Time) {
        let complete = !self.endpoints.is_empty() && self.onion.is_some() && !self.borders.is_empty();
        if self.me.is_some() && complete {
            let soon = now.max(self.announced.after(ANNOUNCE_PAUSE));
            self.announce_at = Some(self.announce_at.map_or(soon, |at| at.min(soon)));
        }
    }

    fn tick(&mut self, now: Time) {
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.agreement.tick(now);
        }
        let due = self.announce_at.is_some_and(|at| at <= now);
        let Some(node) = self.me.filter(|_| due) else { return };
        // Without a border or a key nothing is ever due: nobody would believe it.
        let (Some((height, border)), Some(onion)) = (self.borders.back().copied(), self.onion) else {
            return;
        };
        self.announced = now;
        self.announce_at = Some(now.after(ANNOUNCE));
        self.outbox.push_back(Output::Announce(NodeRecord {
            node,
            time: now.as_millis(),
            height,
            border: ByteArray::new(border),
            endpoints: self.endpoints.clone(),
            onion,
            version: self.version.clone(),
            door: self.door,
        }));
    }
}

impl Snapshots {
    fn poll(&mut self) -> Option<Output> {
        Some(match self.agreement.poll()? {
            Demand::Vote(vote) => Output::Vote(vote),
            Demand::Fetch { from, hash, base } => {
                let roster = Roster::new(Arc::clone(self.agreement.members()));
                let download = Download::new(self.network.clone(), self.timing, roster, hash, base);
                Output::Fetch { from, download }
            }
        })
    }
}

#[cfg(test)]
mod tests;
