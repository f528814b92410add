//! Who is a node of the network, and which maps act.
//!
//! Without a chain the network file says it once and for all. With one it is said by the newest checkpoint
//! that most of the nodes have signed which were trusted before, beginning with those of the file. Any node
//! may hand a checkpoint out: nothing in it is taken on that node's word. It is fetched with all members and
//! maps, so that nobody learns whose mailbox is meant.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_bytes::ByteArray;
use session_chain::{light, names::resolve::Anchor, network::NetworkFile};
use session_protocols::{
    AccountId, NodeId, Prefix, Span, SwarmMap, Time,
    answer::SwarmInfo,
    directory::{
        Answer, Request, SignedCheckpoint,
        checkpoint::{Collected, Collection},
    },
    path::Candidate,
};

use crate::{directory::DirectoryError, kept::Kept};

/// How long after a border nodes may take to sign its checkpoint.
const GRACE: Span = Span::secs(120);
/// The same on a local network.
const GRACE_LOCAL: Span = Span::secs(2);

/// How old a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// When the epoch ended that it is of, in milliseconds since 1970.
    pub ended_ms: u64,
    /// How many epochs have ended since, of none of which there is one.
    pub missing: u64,
}

impl Age {
    /// So many epochs are too many to rely on what was so before them.
    pub const MAX_MISSING: u64 = 3;

    /// Whether too much may have happened since.
    pub const fn is_old(&self) -> bool {
        self.missing >= Self::MAX_MISSING
    }
}

/// What is known of a network's nodes and maps.
pub(crate) struct Membership {
    /// None without a chain.
    light: Option<Mutex<light::Trusted>>,
    /// What the network file says.
    first: Arc<Seen>,
    seen: Mutex<Arc<Seen>>,
    grace: Span,
    kept: Kept,
}

/// The same at one moment.
#[derive(Debug)]
struct Seen {
    nodes: Arc<BTreeMap<NodeId, Candidate>>,
    acts: Arc<SwarmMap>,
    /// What acts later, and from when.
    next: Option<(Time, Arc<SwarmMap>)>,
}

impl Membership {
    /// Trusts the nodes that a network file names, and what was kept of the checkpoints that they signed, unless that is
    /// too old by the device's own clock.
    pub(crate) fn new(file: &NetworkFile, kept: Kept, now: Time) -> Self {
        let named = file.nodes.iter().map(|node| {
            let operator = *node.operator.as_bytes();
            (node.id, Candidate { operator, prefix: node.prefix, open: false })
        });
        let light = light::Trusted::new(file).map(|mut light| {
            if let Some(bytes) = kept.checkpoint()
                && let Err(error) = light.restore(now, &bytes)
            {
                tracing::info!(%error, "the nodes' checkpoint is fetched again");
            }
            Mutex::new(light)
        });
        // What a file says of a network with a chain is whom to ask, and nothing about mailboxes.
        let acts = if light.is_some() { SwarmMap::default() } else { file.ledger().map().clone() };
        let first = Arc::new(Seen { nodes: Arc::new(named.collect()), acts: Arc::new(acts), next: None });
        let grace = if file.local { GRACE_LOCAL } else { GRACE };
        let membership = Self { light, seen: Mutex::new(Arc::clone(&first)), first, grace, kept };
        membership.look();
        membership
    }

    /// The nodes, and what registration says of them; whether they are open is for others to say.
    pub(crate) fn nodes(&self) -> Arc<BTreeMap<NodeId, Candidate>> {
        Arc::clone(&self.seen().nodes)
    }

    /// Whether it is known which node keeps what.
    pub(crate) fn is_known(&self) -> bool {
        !self.seen().acts.swarms.is_empty()
    }

    /// The map to go by.
    pub(crate) fn map(&self, now: Time) -> Arc<SwarmMap> {
        let seen = self.seen();
        let next = seen.next.as_ref().filter(|(from, _)| *from <= now);
        Arc::clone(next.map_or(&seen.acts, |(_, map)| map))
    }

    /// The oldest version of a map that may act.
    pub(crate) fn version(&self) -> u64 {
        self.seen().acts.version
    }

    /// The members of a swarm that a node named, if a map which is proven says the same: clocks differ, and
    /// the node may have come to its next map before this client, or not so far.
    pub(crate) fn proves(&self, account: &AccountId, info: &SwarmInfo) -> bool {
        let seen = self.seen();
        let next = seen.next.as_ref().map(|(_, map)| map);
        [Some(&seen.acts), next].into_iter().flatten().any(|map| {
            let same = map.version == info.map_version && map.swarm_of(account) == Some(info.id);
            same && map.members(info.id) == info.members
        })
    }

    /// Whether there is a map behind all that are known.
    pub(crate) fn is_newer(&self, version: u64) -> bool {
        let seen = self.seen();
        self.light.is_some() && seen.next.as_ref().map_or(&seen.acts, |(_, map)| map).version < version
    }

    /// Whether nodes register on a chain, where names live too.
    pub(crate) const fn has_chain(&self) -> bool {
        self.light.is_some()
    }

    /// What the newest checkpoint that was believed says of names.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        Anchor::of(&lock(self.light.as_ref()?))
    }

    /// How old the newest checkpoint is that was believed.
    pub(crate) fn age(&self, now: Time) -> Option<Age> {
        let light = lock(self.light.as_ref()?);
        let ended_ms = light.epochs().end(light.last()?.epoch()).as_millis();
        Some(Age { ended_ms, missing: light.missing(now, self.grace)? })
    }

    /// Whether nodes have a newer checkpoint, by the clock.
    pub(crate) fn is_behind(&self, now: Time) -> bool {
        self.light.as_ref().is_some_and(|light| lock(light).is_behind(now, self.grace))
    }

    /// Lets go of what was believed last if that is too old, in favour of what the network file says.
    ///
    /// `now` is of the device's own clock: nobody's word makes anything younger.
    ///
    /// # Errors
    /// When that is too old as well: nobody can be believed then.
    pub(crate) fn renew(&self, now: Time) -> Result<(), DirectoryError> {
        let Some(light) = &self.light else { return Ok(()) };
        if lock(light).forget_old(now) {
            tracing::warn!("what was known of the nodes is too old to be believed");
            *lock(&self.seen) = Arc::clone(&self.first);
        }
        lock(light).check(now).map_err(DirectoryError::Outdated)
    }

    /// Who agrees on the directory, each from an instant on; none while the network file alone says it.
    pub(crate) fn listed(&self) -> Option<[(Time, BTreeMap<NodeId, Prefix>); 2]> {
        lock(self.light.as_ref()?).listed()
    }

    /// Fetches the newest checkpoint from whoever `ask` asks; if too few of those who are trusted have signed
    /// that, those that lead to it.
    pub(crate) async fn refresh<F: Future<Output = Option<Answer>>>(
        &self,
        now: Time,
        ask: &impl Fn(Request) -> F,
    ) -> Result<(), DirectoryError> {
        let Some(light) = &self.light else { return Ok(()) };
        let mut walk = light::Walk::default();
        while let Some(since) = walk.since() {
            let found = fetch(since, self.root(), ask).await?;
            let believed = walk.take(&mut lock(light), now, &found)?;
            if believed {
                self.look();
                let bytes = lock(light).encode();
                bytes.iter().for_each(|bytes| self.kept.keep_checkpoint(bytes));
            }
        }
        Ok(())
    }

    /// The root of the members that are known.
    fn root(&self) -> Option<ByteArray<32>> {
        let light = lock(self.light.as_ref()?);
        light.last().map(|last| ByteArray::new(last.checkpoint.roots.directory.0))
    }

    /// Shows what was believed last.
    fn look(&self) {
        let Some(light) = self.light.as_ref().map(lock) else { return };
        let (Some(last), Some((acts, next))) = (light.last(), light.maps()) else { return };
        let node = |one: &session_chain::ledger::Listed| {
            let operator = *one.operator.as_bytes();
            (one.node, Candidate { operator, prefix: one.prefix, open: false })
        };
        let seen = Seen {
            nodes: Arc::new(last.roll.members.iter().map(node).collect()),
            acts: Arc::new(acts.clone()),
            next: next.map(|(from, map)| (from, Arc::new(map.clone()))),
        };
        *lock(&self.seen) = Arc::new(seen);
    }

    fn seen(&self) -> Arc<Seen> {
        Arc::clone(&lock(&self.seen))
    }
}

/// Asks for page after page.
async fn fetch<F: Future<Output = Option<Answer>>>(
    since: Option<u64>,
    have: Option<ByteArray<32>>,
    ask: &impl Fn(Request) -> F,
) -> Result<Box<SignedCheckpoint>, DirectoryError> {
    let mut collection = Collection::default();
    loop {
        let request = Request::Checkpoint { since, have, from: collection.goes_on() };
        let page = match ask(request).await.ok_or(DirectoryError::Silent)? {
            Answer::Checkpoint(page) => *page,
            Answer::Records { .. } | Answer::Snapshot(_) | Answer::Unknown => {
                return Err(DirectoryError::Uncertain);
            }
        };
        match collection.take(page)? {
            Collected::More(more) => collection = more,
            Collected::Whole(found) => return Ok(found),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
