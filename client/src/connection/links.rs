//! Kept streams: one to each node for requests and one for subscriptions, opened when needed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use libp2p::PeerId;
use session_protocols::{
    NodeId, Protocol, Time,
    answer::{self, Answer},
    codec,
    libp2p::link::{self, Asker, Backlog, Limits},
    names::lookup,
    notify, onion,
    request::Request,
};
use tokio::time::Instant;

use super::{Connection, addresses::Addresses};
use crate::clock::Clock;

/// Requests under way on one link before the others wait.
const WINDOW: usize = 128;
/// How long a node that failed is asked last.
const AVOID: Duration = Duration::from_secs(10);
/// Bytes of answers that all streams together may hold in memory.
const BACKLOG: usize = 64 << 20;
/// How long connecting to a node may take whose directory is to be read.
const LEARN: Duration = Duration::from_secs(1);
/// How long a node may take to say what time it is.
const TIME: Duration = Duration::from_secs(1);
/// How often nodes are asked for their directory.
const REFRESH: Duration = Duration::from_secs(30);

/// A node cannot be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unreachable;

type Slot = Arc<tokio::sync::Mutex<Option<Asker>>>;

/// The kept streams of one client, at most a given number of them: the one that was used least
/// recently gives way.
pub(crate) struct Links {
    connection: Connection,
    addresses: Addresses,
    capacity: usize,
    /// What all streams hold in memory.
    backlog: Backlog,
    slots: Mutex<Slots>,
    failed: Mutex<BTreeMap<NodeId, Instant>>,
    refreshed: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Slots {
    all: BTreeMap<(NodeId, Protocol), (u64, Slot)>,
    clock: u64,
}

impl Links {
    pub(crate) fn new(connection: Connection, addresses: Addresses, capacity: usize) -> Self {
        Self {
            connection,
            addresses,
            capacity: capacity.max(1),
            backlog: Backlog::new(BACKLOG),
            slots: Mutex::default(),
            failed: Mutex::default(),
            refreshed: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The link to a node: the one that is there, or a new one.
    pub(crate) async fn link(
        &self,
        node: NodeId,
        protocol: Protocol,
        now: Time,
    ) -> Result<Asker, Unreachable> {
        let slot = self.slot(node, protocol);
        // Whoever else wants this link waits here for the same stream.
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| !link.is_closed()) {
            return Ok(link.clone());
        }
        *slot = None;
        let link = self.open(node, protocol, now).await?;
        Ok(slot.insert(link).clone())
    }

    /// Whether there is a link that a request could use at once.
    pub(crate) fn live(&self, node: NodeId, protocol: Protocol) -> bool {
        let slots = lock(&self.slots);
        slots.all.get(&(node, protocol)).is_some_and(|(_, slot)| {
            slot.try_lock().is_ok_and(|slot| slot.as_ref().is_some_and(|link| !link.is_closed()))
        })
    }

    /// Lets a link go that gives no answers; the next request opens another.
    pub(crate) fn forget(&self, node: NodeId, protocol: Protocol) {
        lock(&self.slots).all.remove(&(node, protocol));
    }

    /// Notes that a node failed, so that others are asked first for a while.
    pub(crate) fn failed(&self, node: NodeId) {
        lock(&self.failed).insert(node, Instant::now());
    }

    /// Notes that a node answered.
    pub(crate) fn answered(&self, node: NodeId) {
        lock(&self.failed).remove(&node);
    }

    /// Whether a node failed a short while ago.
    pub(crate) fn avoided(&self, node: NodeId) -> bool {
        lock(&self.failed).get(&node).is_some_and(|at| at.elapsed() < AVOID)
    }

    /// All nodes, those that failed a short while ago last, otherwise at random.
    pub(crate) fn at_random(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.addresses.dialled().into_iter().collect();
        let drawn = nodes.iter().map(|_| getrandom::u64().unwrap_or_default()).collect::<Vec<_>>();
        let mut order: Vec<_> = nodes.drain(..).zip(drawn).collect();
        order.sort_by_key(|(node, drawn)| (self.avoided(*node), *drawn));
        order.into_iter().map(|(node, _)| node).collect()
    }

    /// Reads a node's directory. False if it cannot be reached.
    pub(crate) async fn learn(&self, node: NodeId, now: Time) -> bool {
        let Some((peer, addresses)) = self.addresses.of(&node) else { return false };
        let dialled = tokio::time::timeout(LEARN, self.connection.dial(peer, addresses)).await;
        let reached = dialled.unwrap_or(false) && self.addresses.learn(&self.connection, peer, now).await;
        if !reached {
            self.failed(node);
        }
        reached
    }

    /// What time a node says it is, asked straight of it by a stream that is not kept; none if it does not
    /// answer. The question is nobody's, and nobody else is asked where the node is.
    pub(crate) async fn time_of(&self, node: NodeId) -> Option<i64> {
        let (peer, addresses) = self.addresses.of(&node)?;
        let asked = async {
            if !self.connection.dial(peer, addresses).await {
                return None;
            }
            let link = self.stream(peer, Protocol::Storage).await.ok()?;
            let answer = link.ask(codec::encode(&Request::Info)).await.ok()?;
            let answer: Answer = codec::decode(&answer, answer::MAX_ANSWER).ok()?;
            Some(Clock::sample(answer.time))
        };
        tokio::time::timeout(TIME, asked).await.ok().flatten()
    }

    fn slot(&self, node: NodeId, protocol: Protocol) -> Slot {
        let mut slots = lock(&self.slots);
        slots.clock = slots.clock.wrapping_add(1);
        let used = slots.clock;
        if !slots.all.contains_key(&(node, protocol)) && slots.all.len() >= self.capacity {
            let oldest = slots.all.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
            // Requests that are under way on it hold the stream until they end.
            oldest.map(|key| slots.all.remove(&key));
        }
        let entry = slots.all.entry((node, protocol)).or_default();
        entry.0 = used;
        Arc::clone(&entry.1)
    }

    async fn open(&self, node: NodeId, protocol: Protocol, now: Time) -> Result<Asker, Unreachable> {
        let (peer, known) = self.addresses.of(&node).ok_or(Unreachable)?;
        if !self.connection.dial(peer, known.clone()).await {
            // Others are not told who the guard is.
            if protocol == Protocol::Onion {
                return Err(Unreachable);
            }
            self.refresh(node, now).await;
            let (_, learnt) = self.addresses.of(&node).ok_or(Unreachable)?;
            if learnt == known || !self.connection.dial(peer, learnt).await {
                return Err(Unreachable);
            }
        }
        self.stream(peer, protocol).await
    }

    /// A new link to a connected node.
    async fn stream(&self, peer: PeerId, protocol: Protocol) -> Result<Asker, Unreachable> {
        let stream = self.connection.open(peer, protocol).await.ok_or(Unreachable)?;
        let max_in = match protocol {
            Protocol::Notify => notify::MAX_EVENT,
            Protocol::Onion => onion::size::MAX_PACKET,
            Protocol::Names => lookup::MAX_ANSWER,
            Protocol::Storage
            | Protocol::Swarm
            | Protocol::Directory
            | Protocol::Snapshot
            | Protocol::Kad => answer::MAX_ANSWER,
        };
        let (link, run) =
            link::open(stream, Limits { max_in, window: WINDOW, backlog: self.backlog.clone() });
        tokio::spawn(run);
        Ok(link)
    }

    /// Asks the nodes that are most likely there where the others are, unless that was just done.
    async fn refresh(&self, missing: NodeId, now: Time) {
        const ASKED: usize = 3;
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < REFRESH) {
            return;
        }
        let mut others: Vec<_> = self.addresses.nodes();
        others.retain(|node| *node != missing);
        // From the missing one on around, so that not every client turns to the same nodes.
        others.sort_by_key(|node| {
            (!self.live(*node, Protocol::Storage), self.avoided(*node), *node < missing, *node)
        });
        for node in others.into_iter().take(ASKED) {
            let Some((peer, addresses)) = self.addresses.of(&node) else { continue };
            if self.connection.dial(peer, addresses).await {
                *refreshed = Some(Instant::now());
                self.addresses.learn(&self.connection, peer, now).await;
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
