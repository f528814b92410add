//! How the members come to sign the same snapshot.
//!
//! Records form a lattice: of each node the latest counts, so whatever order two members exchange
//! records in, they end with the same. At a border, and a [`Timing::step`] after it, each member
//! freezes what it knows and signs that. Mostly all know the same and this is all that happens. Where
//! hashes differ a step later, a member fetches some of the others' snapshots, those that most have
//! signed first, and
//! - two steps after it froze, it signs the union of its own and all that it has fetched,
//! - at each step after that it signs, of the snapshots that it holds and may sign, the one that most
//!   have signed.
//!
//! It may sign a snapshot in which every record is good (signed, in its prefix, of the right time, of a
//! border that it knows) and which lacks at most a tenth of the members that it knew itself when it froze.
//! While fewer than a third lie, more than a third of the members are honest and have signed whatever is
//! certified: each of them misses at most that tenth. It is what lets a member that shows its own record
//! to some and not to others delay nobody's place but its own.
//!
//! A member may sign several snapshots of one period, [`MAX_VOTES`] at most, and two may be certified.
//! That does no harm: both hold nothing but records that their nodes have signed, within 90 minutes before
//! the same border, and whoever uses them checks each of those.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_bytes::ByteArray;

use super::{
    Certificate, Found, MAX_AHEAD, Members, Page, Share, Snapshot, Timing, Verdict, Vote,
    snapshot::{Entry, join},
};
use crate::{NetworkName, NodeId, Signature, Time, identity::blake2b};

/// Snapshots that one member signs in one period; more shares of it are dropped.
pub const MAX_VOTES: usize = 6;
/// Certified snapshots that are kept, for those who ask for changes; the oldest goes.
pub const KEPT: usize = 4;
/// Snapshots of others that a member tries to fetch in one period. Half of that is for the first two
/// steps, in which anybody's may be wanted: liars cannot use up the rest.
const MAX_FETCHES: usize = 16;
/// Those that it fetches at once.
const PARALLEL: usize = 3;
/// Steps after which a member does not expect to agree in this period.
const STEPS: u32 = 10;
/// Steps that a fetch may take before another is begun in its place.
const PATIENCE: u64 = 4;
/// Steps from one look for a certified snapshot that was missed to the next.
const LOOK: u64 = 4;

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Sign this and gossip it.
    Vote(Vote),
    /// Fetch a snapshot, as changes of `base`.
    Fetch { from: NodeId, hash: Option<[u8; 32]>, base: Option<Arc<Snapshot>> },
}

/// The part of a member's directory that agrees with the others'.
#[derive(Debug)]
pub(super) struct Agreement {
    network: NetworkName,
    me: NodeId,
    members: Arc<Members>,
    /// Those from this period on.
    next: Option<(u64, Arc<Members>)>,
    timing: Timing,
    /// The newest records at or before the border of `period`.
    draft: BTreeMap<NodeId, Arc<Entry>>,
    /// The newest of those after it.
    later: BTreeMap<NodeId, Arc<Entry>>,
    /// The next one to freeze; none before the first moment is known.
    period: Option<u64>,
    /// Shares for it that came before that.
    early: Tally,
    ballot: Option<Ballot>,
    /// The newest first.
    kept: VecDeque<(Arc<Snapshot>, Certificate)>,
    look_at: Option<Time>,
    looks: u64,
    demands: VecDeque<Demand>,
}

/// Who has signed what in one period.
#[derive(Debug, Default)]
struct Tally {
    hashes: BTreeMap<[u8; 32], BTreeMap<NodeId, Signature>>,
    votes: BTreeMap<NodeId, usize>,
}

/// The period on which the members are agreeing.
#[derive(Debug)]
struct Ballot {
    period: u64,
    frozen: Arc<Snapshot>,
    union: BTreeMap<NodeId, Arc<Entry>>,
    /// What is held, and whether this member may sign it.
    held: BTreeMap<[u8; 32], (Arc<Snapshot>, bool)>,
    tally: Tally,
    cast: BTreeSet<[u8; 32]>,
    step: u32,
    step_at: Option<Time>,
    fetching: BTreeMap<[u8; 32], Time>,
    tried: BTreeSet<([u8; 32], NodeId)>,
    certified: bool,
}

impl Agreement {
    pub(super) const fn new(network: NetworkName, me: NodeId, members: Arc<Members>, timing: Timing) -> Self {
        Self {
            network,
            me,
            members,
            next: None,
            timing,
            draft: BTreeMap::new(),
            later: BTreeMap::new(),
            period: None,
            early: Tally { hashes: BTreeMap::new(), votes: BTreeMap::new() },
            ballot: None,
            kept: VecDeque::new(),
            look_at: None,
            looks: 0,
            demands: VecDeque::new(),
        }
    }

    /// Others are the members from this period on. All have to name the same one: a period that is signed
    /// by some under the one set and by some under the other is certified by neither. Named before the last
    /// ones are in force, they take their place.
    pub(super) fn replace_members(&mut self, period: u64, members: Arc<Members>) {
        self.next = Some((period, members));
    }

    /// Those who agree on the period that is under way.
    pub(super) const fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// A record that the directory believes.
    pub(super) fn learn(&mut self, now: Time, entry: &Arc<Entry>) {
        self.begin(now);
        let border = self.timing.border(self.period.unwrap_or_default());
        let early = Time::from_millis(entry.record().time) <= border;
        join(if early { &mut self.draft } else { &mut self.later }, entry);
    }

    /// A vote whose signature was checked.
    pub(super) fn share(&mut self, now: Time, share: &Share) -> Verdict {
        self.begin(now);
        let Share { vote, node, signature } = share;
        let members = self.members_of(vote.period);
        if *vote.members != members.id() || !members.contains(node) {
            return Verdict::Ignore;
        }
        let passed = self.timing.border(vote.period) <= now.after(MAX_AHEAD.min(self.timing.step));
        let tally = match &mut self.ballot {
            Some(ballot) if ballot.period == vote.period => &mut ballot.tally,
            _ if self.period == Some(vote.period) && passed => &mut self.early,
            _ => return Verdict::Ignore,
        };
        if !tally.count(*vote.hash, *node, *signature) {
            return Verdict::Ignore;
        }
        self.settle(now, *vote.hash);
        Verdict::Accept
    }

    /// What came of a fetch, none if nothing did. Its records are good.
    pub(super) fn fetched(&mut self, now: Time, hash: Option<[u8; 32]>, found: Option<Found>) {
        self.begin(now);
        if let (Some(ballot), Some(hash)) = (&mut self.ballot, hash) {
            ballot.fetching.remove(&hash);
        }
        if let Some(found) = found {
            let snapshot = Arc::clone(&found.snapshot);
            // One from the future would stand in the way of all until then.
            let passed = self.timing.border(snapshot.period()) <= now.after(MAX_AHEAD);
            if found.certified_by(self.members_of(snapshot.period()))
                && passed
                && let Some(certificate) = found.certificate
            {
                self.keep(Arc::clone(&snapshot), certificate);
            }
            if let Some(ballot) = self.ballot.as_mut().filter(|ballot| ballot.period == snapshot.period()) {
                ballot.hold(&snapshot, &self.members);
            }
            self.settle(now, snapshot.hash());
        }
        self.fetch(now);
    }

    pub(super) fn tick(&mut self, now: Time) {
        self.begin(now);
        // A border that passed while nobody looked is left out.
        let ready = Time(now.0.saturating_sub(self.timing.step.0));
        let last = self.timing.last(ready);
        if self.period.is_some_and(|period| period <= last) {
            self.freeze(now, last);
        }
        while let Some(ballot) = &mut self.ballot
            && let Some(at) = ballot.step_at.filter(|at| *at <= now && !ballot.certified)
        {
            ballot.step = ballot.step.saturating_add(1);
            ballot.step_at = (ballot.step < STEPS).then(|| at.after(self.timing.step));
            self.step(now);
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look(now);
        }
    }

    pub(super) fn poll(&mut self) -> Option<Demand> {
        self.demands.pop_front()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let freeze = self.period.map(|period| self.timing.border(period).after(self.timing.step));
        let step = self.ballot.as_ref().and_then(|ballot| ballot.step_at.filter(|_| !ballot.certified));
        freeze.into_iter().chain(step).chain(self.look_at).min()
    }

    /// The newest certified snapshot.
    pub(super) fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.kept.front().map(|(snapshot, _)| snapshot)
    }

    /// A page of a snapshot. None if it is not here.
    pub(super) fn page(&self, hash: Option<&[u8; 32]>, have: Option<&[u8; 32]>, from: u32) -> Option<Page> {
        let kept = |hash: &[u8; 32]| self.kept.iter().find(|(snapshot, _)| snapshot.hash() == *hash);
        let base = have.and_then(kept).map(|(base, _)| &**base);
        let wanted = hash.map_or_else(|| self.kept.front(), kept);
        if let Some((snapshot, certificate)) = wanted {
            return Some(snapshot.page(base, Some(certificate), from));
        }
        let (snapshot, _) = self.ballot.as_ref()?.held.get(hash?)?;
        Some(snapshot.page(base, None, from))
    }

    fn members_of(&self, period: u64) -> &Members {
        let next = self.next.as_ref().filter(|(from, _)| *from <= period);
        next.map_or(&self.members, |(_, members)| members)
    }

    fn begin(&mut self, now: Time) {
        if self.period.is_none() {
            self.period = Some(self.timing.last(now).saturating_add(1));
            self.look_soon(now, 2);
        }
    }

    fn freeze(&mut self, now: Time, period: u64) {
        let border = self.timing.border(period);
        self.ripen(border);
        if let Some((_, members)) = self.next.take_if(|(from, _)| *from <= period) {
            self.draft.retain(|node, _| members.contains(node));
            self.later.retain(|node, _| members.contains(node));
            self.members = members;
        }
        let entries: BTreeMap<_, _> = self
            .draft
            .iter()
            .filter(|(_, entry)| self.members.admits(entry, self.timing, period))
            .map(|(node, entry)| (*node, Arc::clone(entry)))
            .collect();
        let frozen = Arc::new(Snapshot::new(&self.network, period, entries));
        let tally = core::mem::take(&mut self.early);
        let mut ballot = Ballot {
            period,
            union: frozen.map(),
            held: BTreeMap::new(),
            tally: if self.period == Some(period) { tally } else { Tally::default() },
            cast: BTreeSet::new(),
            step: 0,
            step_at: Some(now.after(self.timing.step)),
            fetching: BTreeMap::new(),
            tried: BTreeSet::new(),
            certified: false,
            frozen: Arc::clone(&frozen),
        };
        ballot.hold(&frozen, &self.members);
        self.ballot = Some(ballot);
        let next = period.saturating_add(1);
        self.period = Some(next);
        self.ripen(self.timing.border(next));
        self.look_soon(now, u64::from(STEPS));
        self.vote(frozen.hash());
        self.settle(now, frozen.hash());
    }

    /// Takes those records into the draft whose time has come.
    fn ripen(&mut self, border: Time) {
        let ripe = |entry: &Entry| Time::from_millis(entry.record().time) <= border;
        self.later.retain(|_, entry| {
            let ripe = ripe(entry);
            if ripe {
                join(&mut self.draft, entry);
            }
            !ripe
        });
    }

    fn step(&mut self, now: Time) {
        let Some(ballot) = &mut self.ballot else { return };
        match ballot.step {
            0 | 1 => {}
            2 => {
                let union = Arc::new(Snapshot::new(&self.network, ballot.period, ballot.union.clone()));
                ballot.hold(&union, &self.members);
                self.vote(union.hash());
                self.settle(now, union.hash());
            }
            _ => {
                let signers = |hash: &[u8; 32]| ballot.tally.hashes.get(hash).map_or(0, BTreeMap::len);
                let fit = ballot.held.iter().filter(|(_, (_, fit))| *fit);
                let best = fit.max_by_key(|(hash, (held, _))| (signers(hash), held.entries().len(), **hash));
                if let Some(hash) = best.map(|(hash, _)| *hash) {
                    self.vote(hash);
                    self.settle(now, hash);
                }
            }
        }
        self.fetch(now);
    }

    /// Signs a snapshot, if this member may and has not.
    fn vote(&mut self, hash: [u8; 32]) {
        let Some(ballot) = &mut self.ballot else { return };
        let fit = ballot.held.get(&hash).is_some_and(|(_, fit)| *fit) && self.members.contains(&self.me);
        if fit && ballot.cast.len() < MAX_VOTES && ballot.cast.insert(hash) {
            self.demands.push_back(Demand::Vote(Vote {
                period: ballot.period,
                hash: ByteArray::new(hash),
                members: ByteArray::new(self.members.id()),
            }));
        }
    }

    /// Certifies a snapshot if enough have signed it, and fetches it if it is not here.
    fn settle(&mut self, now: Time, hash: [u8; 32]) {
        let Some(ballot) = self.ballot.as_ref().filter(|ballot| !ballot.certified) else { return };
        let Some(signatures) = ballot.tally.hashes.get(&hash) else { return };
        let Some(certificate) = Certificate::of(&self.members, signatures) else { return };
        match ballot.held.get(&hash) {
            Some((snapshot, _)) => self.keep(Arc::clone(snapshot), certificate),
            None => self.fetch(now),
        }
    }

    fn keep(&mut self, snapshot: Arc<Snapshot>, certificate: Certificate) {
        if let Some(ballot) = self.ballot.as_mut().filter(|ballot| ballot.period == snapshot.period()) {
            ballot.certified = true;
        }
        if self.period.is_some_and(|next| snapshot.period().saturating_add(1) >= next) {
            self.look_at = None;
        }
        if self.newest().is_none_or(|newest| newest.period() < snapshot.period()) {
            self.kept.push_front((snapshot, certificate));
            self.kept.truncate(KEPT);
        }
    }

    /// Begins to fetch what others have signed, what most have signed first.
    fn fetch(&mut self, now: Time) {
        let newest = self.newest().cloned();
        let Some(ballot) = self.ballot.as_mut().filter(|ballot| !ballot.certified) else { return };
        let quorum = self.members.quorum();
        let patience = crate::Span(self.timing.step.0.saturating_mul(PATIENCE));
        ballot.fetching.retain(|_, since| now.since(*since) < patience);
        let most = if ballot.step <= 2 { MAX_FETCHES / 2 } else { MAX_FETCHES };
        while ballot.fetching.len() < PARALLEL && ballot.tried.len() < most {
            let Some((hash, from)) = ballot.wanted(&self.me, quorum) else { return };
            ballot.fetching.insert(hash, now);
            ballot.tried.insert((hash, from));
            self.demands.push_back(Demand::Fetch { from, hash: Some(hash), base: newest.clone() });
        }
    }

    /// Looks for a certified snapshot that was missed, at one member after the other.
    fn look(&mut self, now: Time) {
        self.looks = self.looks.saturating_add(1);
        self.look_soon(now, LOOK);
        let others = self.members.nodes().filter(|node| *node != self.me);
        let drawn = others.min_by_key(|node| drawn(&self.me, node.as_bytes(), self.looks));
        if let Some(from) = drawn {
            self.demands.push_back(Demand::Fetch { from, hash: None, base: self.newest().cloned() });
        }
    }

    fn look_soon(&mut self, now: Time, steps: u64) {
        self.look_at = Some(now.after(crate::Span(self.timing.step.0.saturating_mul(steps))));
    }
}

impl Tally {
    /// Takes a vote in. Whether it is new, and its member has not cast too many.
    fn count(&mut self, hash: [u8; 32], node: NodeId, signature: Signature) -> bool {
        let votes = self.votes.entry(node).or_default();
        let known = self.hashes.get(&hash).is_some_and(|signed| signed.contains_key(&node));
        if known || *votes >= MAX_VOTES {
            return false;
        }
        *votes = votes.saturating_add(1);
        self.hashes.entry(hash).or_default().insert(node, signature);
        true
    }
}

impl Ballot {
    /// Keeps a snapshot whose records are good, and takes them into the union.
    fn hold(&mut self, snapshot: &Arc<Snapshot>, members: &Members) {
        for entry in snapshot.entries() {
            join(&mut self.union, entry);
        }
        let lacking = self.frozen.entries().iter().filter(|own| snapshot.get(&own.record().node).is_none());
        // With fewer records than that there are not enough members to sign it.
        let enough = snapshot.entries().len() >= members.quorum();
        let fit = enough && lacking.count() <= members.len() / 10;
        self.held.insert(snapshot.hash(), (Arc::clone(snapshot), fit));
    }

    /// What to fetch next, and from whom. Before the first step nothing but what is certified; after
    /// the second, only what most have signed.
    fn wanted(&self, me: &NodeId, quorum: usize) -> Option<([u8; 32], NodeId)> {
        let mut hashes: Vec<_> = self.tally.hashes.iter().collect();
        hashes.sort_by_key(|(hash, signed)| (core::cmp::Reverse(signed.len()), drawn(me, hash, 0)));
        if self.step == 0 {
            hashes.retain(|(_, signed)| signed.len() >= quorum);
        }
        hashes.truncate(if self.step <= 2 { MAX_FETCHES } else { PARALLEL });
        hashes.into_iter().find_map(|(hash, signed)| {
            let here = self.held.contains_key(hash) || self.fetching.contains_key(hash);
            let others = signed.keys().filter(|node| !here && !self.tried.contains(&(*hash, **node)));
            let others = others.filter(|node| *node != me);
            Some((*hash, *others.min_by_key(|node| drawn(me, node.as_bytes(), 0))?))
        })
    }
}

/// A number that orders others for one member, for each member differently: not everybody turns to
/// the same ones, and nobody can make itself the first for all.
fn drawn(me: &NodeId, other: &[u8; 32], turn: u64) -> [u8; 32] {
    blake2b(&[me.as_bytes(), other, &turn.to_be_bytes()])
}
