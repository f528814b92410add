//! What a run promises, as code.
//!
//! - a receipt is durable: whatever a node signed for is there when it opens its store again
//! - an acknowledged message is readable after healing, an acknowledged deletion never is
//! - a member that applied a deletion never serves the message again, but for its owner's later
//!   signed store
//! - nothing is accepted, kept or served that nobody signed, or that belongs to another swarm
//! - a member serves only while it is caught up with a majority, and then it has everything that
//!   was acknowledged before
//! - while a swarm changes, a node acknowledges what a majority of the next members has as well, and
//!   who serves under a new map has pulled from a majority of those who kept it before, and has what was
//!   acknowledged before that was known
//! - a map is known an epoch before it acts
//! - a node forgets what others keep now only when a majority of them has it
//! - a deletion of whole drawers takes nothing that its owner did not mean, whatever a member says that was
//!   there: no other drawer's messages, none from after its bound, none that came later
//! - an outbox shows one message, the latest
//! - an acknowledged revocation stands at every member, and so do rights that were given back; who knows
//!   of a revocation refuses whom it is about
//! - an honest node acknowledges with a majority of receipts and not without
//! - a cursor never skips (see `readers`), members are equal after healing (see `finale`)
//!
//! The watcher sees the same bytes as nodes and clients do, and every change of every store.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{
    AccountId, Maps, MessageHash, Namespace, NodeId, Span, SwarmMap, Time,
    answer::{Done, Message, Receipt},
    member::Output,
    namespace::Class,
    record::{Life, Record, Stamp},
    request::Store,
    ring::{Arc, majority},
    store::{self, Effect},
    swarm::{Ask, Replicated, SwarmAnswer},
};

use super::{
    Counts,
    host::{About, Node, Step},
};

mod fate;
mod finale;
mod pull;
mod rights;
mod whole;

use pull::Pulled;

pub(super) use fate::{Change, Deletion, Fate, Stored};
pub(super) use rights::Said;
pub(super) use whole::{AHEAD, Does, Whole};

/// A promise that was broken.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) check: &'static str,
    pub(super) detail: String,
}

/// Breaks off with a violation.
pub(super) fn broken<T>(check: &'static str, detail: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { check, detail: detail.into() })
}

/// By how many milliseconds ends are taken earlier or later, for clocks that disagree.
pub(super) const MARGIN: u64 = 15_000;

/// A record: whose, and of which message.
pub(super) type Key = (AccountId, MessageHash);

/// Watches everything.
#[derive(Debug)]
pub(super) struct Checks {
    maps: Maps,
    /// All maps, and when each became known.
    known: BTreeMap<u64, (Time, SwarmMap)>,
    index: BTreeMap<NodeId, usize>,
    pub(super) fates: BTreeMap<MessageHash, Fate>,
    pub(super) drawers: BTreeMap<(AccountId, Namespace), Vec<MessageHash>>,
    /// What was asked of whole drawers.
    whole: BTreeMap<AccountId, Vec<Whole>>,
    /// What was said of subaccounts, by the hashes of their tokens.
    pub(super) rights: BTreeMap<Key, Vec<Said>>,
    watched: Vec<Watched>,
}

/// What is known of one node from outside.
#[derive(Debug, Default)]
struct Watched {
    /// Deletions that it has applied, durably.
    tombstones: BTreeMap<MessageHash, Stamp>,
    /// Revocations that it has applied, durably, and since when.
    revoked: BTreeMap<Key, (Stamp, Time)>,
    /// What it has signed for.
    promises: BTreeMap<(AccountId, MessageHash), Promise>,
    /// The comparison under way, and when it began.
    comparing: Option<Comparison>,
    /// The last comparison with each member in contact, for each map.
    compared: BTreeMap<(NodeId, u64), Comparison>,
    /// A liar, or its disk was lost: a swarm with one promises less.
    unsound: bool,
    /// The newest map under which it has served.
    served: u64,
    /// What it has pulled since it has this disk.
    pulled: Pulled,
    /// Which nodes have told it that they hold what.
    confirmed: BTreeMap<Key, BTreeSet<NodeId>>,
}

/// With whom, by which map, on which part of the ring, and when it began.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    with: NodeId,
    version: u64,
    arc: Arc,
    began: Time,
}

#[derive(Clone, Copy, Debug)]
enum Promise {
    Keeps(u64),
    Deleted,
}

impl Checks {
    pub(super) fn new(maps: Maps, nodes: &[Node]) -> Self {
        let watch = |node: &Node| Watched { unsound: node.hostile, ..Watched::default() };
        let watched = nodes.iter().map(watch).collect();
        let known = maps.all().map(|map| (map.version, (Time::ZERO, map.clone()))).collect();
        let index = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        let (fates, drawers) = (BTreeMap::new(), BTreeMap::new());
        let (whole, rights) = (BTreeMap::new(), BTreeMap::new());
        Self { maps, known, index, fates, drawers, whole, rights, watched }
    }

    /// These are the maps from now on.
    pub(super) fn change(&mut self, maps: &Maps, now: Time) -> Result<(), Violation> {
        let (before, acts) = (self.maps.acts.version, maps.acts.version);
        if acts != before && !self.known.contains_key(&acts) {
            let detail = format!("map {acts} follows {before} at a border, and was not known before it");
            return broken("a map is known an epoch before it acts", detail);
        }
        for map in maps.all() {
            self.known.entry(map.version).or_insert_with(|| (now, map.clone()));
        }
        self.maps = maps.clone();
        Ok(())
    }

    /// Whether a node may keep an account: by a map of the world, or by one that it still goes by.
    fn may_keep(&self, host: &Node, account: &AccountId) -> bool {
        let mut maps = self.maps.all().chain(host.maps.all());
        maps.any(|map| map.members_of(account).contains(&host.id))
    }

    /// An answer tells a node which records another has.
    pub(super) fn confirmed(
        &mut self,
        node: usize,
        by: NodeId,
        about: &[(usize, Key)],
        answer: &SwarmAnswer,
    ) {
        let holds = |place: usize| match answer {
            SwarmAnswer::Held { places } => places.iter().any(|held| *held as usize == place),
            SwarmAnswer::Replicated { results } => {
                matches!(results.get(place), Some(Replicated::Done { .. }))
            }
            SwarmAnswer::Noted
            | SwarmAnswer::Fingerprints { .. }
            | SwarmAnswer::Reconcile { .. }
            | SwarmAnswer::Fetched { .. }
            | SwarmAnswer::Refused { .. } => false,
        };
        for (_, key) in about.iter().filter(|(place, _)| holds(*place)) {
            self.watched[node].confirmed.entry(*key).or_default().insert(by);
        }
    }

    /// Whether a majority of those who keep a record told a node that they have it.
    fn told(&self, node: usize, acts: &SwarmMap, key: &Key) -> bool {
        let owners = acts.members_of(&key.0);
        let confirmed = self.watched[node].confirmed.get(key).into_iter().flatten();
        confirmed.filter(|by| owners.contains(by)).count() >= majority(owners.len())
    }

    /// Whether a majority of those who keep a record has it. Of who lies, or cannot be looked at, it
    /// is assumed.
    fn handed_over(&self, acts: &SwarmMap, nodes: &[Node], effect: &Effect, before: &Record) -> bool {
        let Effect { account, hash, .. } = effect;
        let owners = acts.members_of(account);
        let has = |node: &&Node| {
            let at = nodes.iter().position(|one| one.id == node.id).unwrap_or_default();
            let Some(store) = node.disk.store().filter(|_| !self.watched[at].unsound) else { return true };
            let record = match store.record(account, hash) {
                Ok(Some(record)) => record,
                Ok(None) => return false,
                // It is about to be opened again.
                Err(_) => return true,
            };
            if tombstone(Some(before)).is_some_and(|stamp| self.yields(account, stamp, &record)) {
                return true;
            }
            let mut joined = record;
            if let Some(life) = before.life {
                joined.join_life(life);
            }
            if let Some(change) = before.change {
                joined.join_change(change);
            }
            joined.id(account, hash) == record.id(account, hash)
        };
        let having = nodes.iter().filter(|node| owners.contains(&node.id)).filter(has).count();
        having >= majority(owners.len())
    }

    /// Whether every member of a node's swarm is honest and has kept its disk.
    pub(super) fn sound(&self, node: usize, host: &Node) -> bool {
        let fellows = host.fellows.iter().chain([&node]);
        fellows.into_iter().all(|member| !self.watched[*member].unsound)
    }

    pub(super) fn unsound(&self, node: usize) -> bool {
        self.watched[node].unsound
    }

    /// A node's batch is durable, and the map that `acted` when it began, if that may have changed.
    pub(super) fn committed(
        &mut self,
        node: usize,
        nodes: &[Node],
        now: Time,
        effects: &[Effect],
        acted: Option<&SwarmMap>,
        counts: &mut Counts,
    ) -> Result<(), Violation> {
        let host = &nodes[node];
        for effect in effects {
            let Effect { account, hash, before, after } = effect;
            if after.is_some() && !self.may_keep(host, account) {
                return broken(
                    "nothing is stored outside its swarm",
                    format!("node {node} stored {hash} of {account}"),
                );
            }
            if host.hostile {
                continue;
            }
            self.learnt(node, (*account, *hash), now, after.as_ref());
            if let (Some(after), Some(fate)) = (after, self.fates.get_mut(hash))
                && let Some((stamp, store)) = fate.repeated(after)
            {
                let asked = store.asked;
                fate.stores.push(store);
                self.asked_to_store(hash, Some(stamp), asked);
            }
            let local = host.clock(now).as_millis();
            counts.changed_early += u64::from(met_its_change(before.as_ref(), after.as_ref(), local));
            let fate = self.fates.get(hash);
            let ended = fate.is_some_and(|fate| fate.changes.iter().any(|change| change.expiry <= local));
            let acts = host.member.as_ref().map_or(&host.maps.acts, |member| &member.maps().acts);
            let kept = acts.members_of(account).contains(&host.id);
            if let (Some(before), None) = (before, after)
                && before.until() > local
                && !kept
            {
                // Others may have forgotten what has ended by their clocks.
                let soon = local + MARGIN;
                let ends = fate.is_some_and(|fate| fate.expiries().any(|end| end <= soon));
                let over = ends || before.until() <= soon;
                let handed_over = |acts: &SwarmMap| {
                    self.told(node, acts, &(*account, *hash)) && self.handed_over(acts, nodes, effect, before)
                };
                if !over && !handed_over(acts) && !acted.is_some_and(handed_over) {
                    let detail = format!("node {node} forgot {hash} of {account}: {before:?}");
                    return broken("a record goes only when a majority of its new owners has it", detail);
                }
                counts.purged += 1;
                self.watched[node].promises.remove(&(*account, *hash));
                continue;
            }
            if let (Some(before), None) = (before, after)
                && before.until() > local
                && !ended
            {
                let detail = format!(
                    "node {node} forgot {hash}, which ends in {} ms: {before:?}",
                    before.until() - local
                );
                return broken("nothing is forgotten before its end", detail);
            }
            if let (Some(before), Some(after)) = (before, after)
                && before.life.is_some()
                && after.life.is_none()
                && before.expiry().is_none_or(|end| end > local)
            {
                let detail = format!("node {node} shed {hash}: {before:?}");
                return broken("no message goes before its end", detail);
            }
            if let Some(after) = after {
                let taken = before.filter(|before| before.place.is_some());
                let whole = tombstone(Some(after)).and_then(|stamp| self.whole(account, stamp));
                let known = fate.is_some_and(|fate| fate.explains(after))
                    || self.said(&(*account, *hash), after)
                    // A tombstone of what is not known here, on a member's word.
                    || whole.is_some() && taken.is_none();
                let covered = |whole: &Whole| {
                    let record = taken.and_then(|taken| Some((taken.place?.namespace, taken.timestamp()?)));
                    record.is_none_or(|(namespace, timestamp)| whole.is_about(namespace, timestamp))
                };
                if let (Some(taken), Some(whole)) = (taken, whole)
                    && !(known && covered(whole))
                {
                    let detail = format!("node {node} deleted {hash}, {taken:?}, by {whole:?}");
                    return broken("a deletion of whole drawers takes what it is about", detail);
                }
                if !known {
                    return broken(
                        "nothing forged is accepted",
                        format!("node {node} took {hash}: {after:?}"),
                    );
                }
            }
            let yields = match (tombstone(before.as_ref()), after) {
                (Some(stamp), Some(after)) => self.yields(account, stamp, after),
                (None, _) | (_, None) => false,
            };
            let tombstones = &mut self.watched[node].tombstones;
            match (tombstone(before.as_ref()), after.and_then(|after| after.life)) {
                (_, Some(Life::Deleted { stamp, .. })) => {
                    tombstones.insert(*hash, stamp);
                }
                (Some(deleted), Some(life)) if before.is_some_and(|before| before.until() > local) => {
                    let revived = match life {
                        Life::Stored { stamp, .. } | Life::Revoked { stamp, .. } => stamp > deleted,
                        Life::Unsigned { .. } | Life::Deleted { .. } => false,
                    };
                    if !revived && !yields {
                        let detail = format!("node {node} had deleted {hash} and holds {life:?}");
                        return broken("nothing deleted comes back", detail);
                    }
                    tombstones.remove(hash);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// One step of a batch that is durable.
    pub(super) fn step(&mut self, node: usize, host: &Node, now: Time, step: &Step) -> Result<(), Violation> {
        let watched = &mut self.watched[node];
        match step {
            Step::Gone(peer) => {
                watched.compared.retain(|(with, _), _| with != peer);
                watched.comparing.take_if(|one| one.with == *peer);
            }
            Step::Said(Output::Send { to, request, .. }) if request.ask == Ask::Fingerprints => {
                let version = request.map_version;
                let territory = || host.maps.arcs(&host.id).get(&version).copied();
                let arc = request.arc.or_else(territory);
                watched.comparing = arc.map(|arc| Comparison { with: *to, version, arc, began: now });
            }
            Step::Said(Output::Reconciled { with, .. }) => {
                if let Some(one) = watched.comparing.take().filter(|one| one.with == *with) {
                    watched.pulled.compared(*with, one.arc);
                    watched.compared.insert((*with, one.version), one);
                }
            }
            Step::Said(Output::Damaged(why)) => {
                return broken("a store reads what it wrote", format!("node {node}: {why}"));
            }
            Step::Said(_) => {}
        }
        Ok(())
    }

    /// Since when a node is caught up with a majority of its swarm, itself included, about a part of the
    /// ring. It goes by the maps that its machine knows.
    fn caught_up_since(&self, node: usize, host: &Node, about: impl Fn(Arc) -> bool) -> Option<Time> {
        let acts = &host.member.as_ref()?.maps().acts;
        let members = acts.members(acts.swarm_with(&host.id)?);
        let others = majority(members.len()) - 1;
        let last = |member: &NodeId| {
            let compared = self.watched[node].compared.range((*member, 0)..=(*member, u64::MAX));
            compared.filter(|(_, one)| about(one.arc)).map(|(_, one)| one.began).max()
        };
        let mut since: Vec<_> = members.iter().filter_map(last).collect();
        since.sort_unstable_by(|a, b| b.cmp(a));
        match others {
            0 => Some(Time::ZERO),
            _ => since.get(others - 1).copied(),
        }
    }

    /// Whether a node says that it is ready without being so.
    pub(super) fn ready(&mut self, node: usize, host: &Node, now: Time) -> Result<(), Violation> {
        let Some(member) = host.member.as_ref().filter(|member| member.ready()) else { return Ok(()) };
        let (acts, id) = (&member.maps().acts, &host.id);
        let Some(territory) = acts.swarm_with(id).and_then(|swarm| acts.territory(swarm)) else {
            return broken("who serves has a swarm", format!("node {node} is ready"));
        };
        if self.caught_up_since(node, host, |arc| territory.within(arc)).is_none() {
            let compared = self.watched[node].compared.len();
            let detail = format!("node {node} is ready, and made {compared} comparisons");
            return broken("a member is ready only when caught up with a majority", detail);
        }
        let (version, changed) = (acts.version, member.maps().past.is_some());
        if std::mem::replace(&mut self.watched[node].served, version) == version || !changed || host.hostile {
            return Ok(());
        }
        if !self.pulled(id, version) {
            let detail = format!("node {node} serves by map {version}");
            return broken("who serves under a new map has pulled from a majority of those before", detail);
        }
        let (Some((known, _)), Some(store)) = (self.known.get(&version), host.disk.store()) else {
            return Ok(());
        };
        let local = host.clock(now);
        let ours = self.drawers.iter().filter(|(drawer, _)| territory.holds(&drawer.0));
        for ((account, hash), fate) in ours
            .flat_map(|((account, _), hashes)| hashes.iter().map(move |hash| (*account, *hash)))
            .filter_map(|key| Some((key, self.fates.get(&key.1)?)))
        {
            let kept = fate.changes.is_empty() && fate.kept_since(*known, local.as_millis() + MARGIN);
            let record = store.record(&account, &hash).ok().flatten();
            if kept && self.sound(node, host) && !record.is_some_and(|record| record.readable(local)) {
                let detail =
                    format!("node {node} serves by map {version}, known since {known}, without {hash}");
                return broken("who serves under a new map has what was there before it", detail);
            }
        }
        Ok(())
    }

    /// A node acknowledges a store: the next members have it too, unless the node heard of them meanwhile.
    pub(super) fn stored(
        &self,
        node: usize,
        nodes: &[Node],
        now: Time,
        request: &Store,
    ) -> Result<(), Violation> {
        let host = &nodes[node];
        let late = now < host.told.after(Span::secs(15)) || request.expiry <= now.as_millis() + MARGIN;
        let Some(next) = host.maps.next.as_ref().filter(|_| !late && !host.hostile) else { return Ok(()) };
        let owners = next.members_of(&request.account);
        let has = |at: &usize| {
            let store = nodes[*at].disk.store().filter(|_| !self.watched[*at].unsound);
            let record = |store: &dyn store::Store| store.record(&request.account, &request.hash());
            // One that cannot be read is about to be opened again.
            store.is_none_or(|store| !matches!(record(store), Ok(None)))
        };
        let having = (0..nodes.len()).filter(|at| owners.contains(&nodes[*at].id)).filter(has).count();
        if having < majority(owners.len()) {
            let detail = format!("node {node} acknowledged {}, which {having} have", request.hash());
            return broken("a majority of the next members has what is acknowledged", detail);
        }
        Ok(())
    }

    /// A node serves messages.
    pub(super) fn served(
        &self,
        node: usize,
        host: &Node,
        drawer: (AccountId, Namespace),
        messages: &[Message],
    ) -> Result<(), Violation> {
        if host.hostile {
            return Ok(());
        }
        if is_outbox(drawer.1) && messages.len() > 1 {
            let hashes: Vec<_> = messages.iter().map(|message| message.hash).collect();
            let detail = format!("node {node} shows {hashes:?} of {}", drawer.0);
            return broken("an outbox shows one message", detail);
        }
        for message in messages {
            let hash = MessageHash::of(&drawer.0, drawer.1, &message.data);
            let fate =
                self.fates.get(&message.hash).filter(|fate| fate.drawer == drawer && hash == message.hash);
            let Some(fate) = fate else {
                return broken("nothing forged is readable", format!("node {node} serves {}", message.hash));
            };
            if !fate.expiries().any(|expiry| expiry == message.expiry) {
                let detail = format!("node {node} serves {} until {}", message.hash, message.expiry);
                return broken("a message ends when somebody said so", detail);
            }
            if let Some(deleted) = self.watched[node].tombstones.get(&message.hash)
                && !fate.stores.iter().any(|store| store.stamp.is_some_and(|stamp| stamp > *deleted))
            {
                let detail = format!("node {node} deleted {} and serves it", message.hash);
                return broken("nothing deleted comes back", detail);
            }
        }
        Ok(())
    }

    /// A node answers a read: it must have what was acknowledged before it caught up.
    pub(super) fn read(
        &self,
        node: usize,
        host: &Node,
        now: Time,
        drawer: (AccountId, Namespace),
    ) -> Result<(), Violation> {
        if host.hostile {
            return Ok(());
        }
        let Some(since) = self.caught_up_since(node, host, |arc| arc.holds(&drawer.0)) else {
            return broken(
                "a member serves only when caught up with a majority",
                format!("node {node} serves"),
            );
        };
        let Some(store) = host.disk.store().filter(|_| self.sound(node, host)) else { return Ok(()) };
        let local = host.clock(now);
        for hash in self.drawers.get(&drawer).into_iter().flatten() {
            let Some(fate) = self.fates.get(hash) else { continue };
            if !fate.changes.is_empty() || !fate.kept_since(since, local.as_millis() + MARGIN) {
                continue;
            }
            let record = store.record(&drawer.0, hash).ok().flatten();
            if !record.is_some_and(|record| record.readable(local)) {
                let detail = format!(
                    "node {node}, caught up since {since}, lacks {hash} at {now}: {record:?}, {:?}",
                    fate.stores
                );
                return broken("a ready member has what was acknowledged before it caught up", detail);
            }
        }
        Ok(())
    }

    /// A node has signed for what another passed on.
    pub(super) fn promised(&mut self, node: usize, about: &[About], answer: &SwarmAnswer) {
        let SwarmAnswer::Replicated { results } = answer else { return };
        for (about, result) in about.iter().zip(results) {
            if let Replicated::Done { done, .. } = result {
                self.promise(node, about, done);
            }
        }
    }

    /// A node has signed for what a client asked: its own receipt is among these.
    pub(super) fn promised_client(&mut self, node: usize, id: NodeId, about: &About, receipts: &[Receipt]) {
        for receipt in receipts.iter().filter(|receipt| receipt.node == id) {
            self.promise(node, about, &receipt.done);
        }
    }

    fn promise(&mut self, node: usize, about: &About, done: &Done) {
        let promises = &mut self.watched[node].promises;
        match (about, done) {
            (About::Store(account, hash), Done::Keeps { expiry }) => {
                promises.insert((*account, *hash), Promise::Keeps(*expiry));
            }
            (About::Delete(account), Done::Changed { hashes }) => {
                promises.extend(hashes.iter().map(|hash| ((*account, *hash), Promise::Deleted)));
            }
            (About::Store(..) | About::Delete(_) | About::Expire, _) => {}
        }
    }

    /// A node has opened its store again: what it signed for must be there.
    pub(super) fn reopened(&mut self, node: usize, nodes: &[Node], now: Time) -> Result<(), Violation> {
        let host = &nodes[node];
        let watched = &self.watched[node];
        let Some(store) = host.disk.store().filter(|_| !host.hostile) else { return Ok(()) };
        let local = host.clock(now).as_millis();
        let mut over = BTreeSet::new();
        for ((account, hash), promise) in &watched.promises {
            let record = store.record(account, hash).ok().flatten();
            // Its owner may have ended it since, or stored it again for a shorter time.
            let over_early = self.fates.get(hash).is_some_and(|fate| fate.may_end(local + MARGIN));
            let held = match promise {
                Promise::Keeps(until) => {
                    let ended = *until <= local || over_early;
                    if ended {
                        over.insert((*account, *hash));
                    }
                    ended || record.is_some_and(|record| record.life.is_some())
                }
                Promise::Deleted => {
                    let restored = |record: Record| matches!(record.life, Some(Life::Stored { .. }));
                    let yielded = |record: Record| {
                        let whole = self.whole.get(account).into_iter().flatten();
                        whole.into_iter().any(|whole| self.yields(account, whole.stamp, &record))
                    };
                    let fits = |record: Record| record.deleted() || restored(record) || yielded(record);
                    over_early || record.is_some_and(fits)
                }
            };
            // It may have handed it over in a batch that failed and is durable all the same.
            let kept = host.maps.acts.members_of(account).contains(&host.id);
            if !held && !kept && record.is_none() {
                over.insert((*account, *hash));
            } else if !held {
                let detail = format!("node {node} signed {promise:?} for {hash} and finds {record:?}");
                return broken("a receipt is durable", detail);
            }
        }
        self.watched[node].promises.retain(|key, _| !over.contains(key));
        Ok(())
    }

    /// A node's machine is gone.
    pub(super) fn stopped(&mut self, node: usize) {
        self.watched[node].comparing = None;
        self.watched[node].confirmed.clear();
        self.watched[node].compared.clear();
    }

    /// A node's disk is replaced by an empty one.
    pub(super) fn lost_disk(&mut self, node: usize) {
        self.watched[node] = Watched { unsound: true, ..Watched::default() };
    }
}

/// Whether a drawer holds one message.
pub(super) const fn is_outbox(namespace: Namespace) -> bool {
    matches!(namespace.class(), Class::PublicOutbox)
}

/// Whether a message came of which nothing was known but a change of its expiry.
fn met_its_change(before: Option<&Record>, after: Option<&Record>, local: u64) -> bool {
    // Where its end has passed, the message may have been there before.
    let waits =
        |record: &Record| record.change.filter(|change| record.life.is_none() && change.expiry > local);
    let change = before.and_then(waits);
    change.is_some() && after.is_some_and(|after| after.change == change && after.place.is_some())
}

fn tombstone(record: Option<&Record>) -> Option<Stamp> {
    match record?.life? {
        Life::Deleted { stamp, .. } => Some(stamp),
        Life::Unsigned { .. } | Life::Stored { .. } | Life::Revoked { .. } => None,
    }
}
