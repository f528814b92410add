//! How packets enter nodes, as of now, and who is asked for that.
//!
//! Both come from the newest list of nodes that more than two thirds of them have signed. Once there are
//! guards, nobody else is asked for a newer one, as long as the one that is known can be used.
//!
//! On a local network, where nodes sign a first list only some seconds after they started, a node that
//! no list names so far is taken by its own signed record.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use session_protocols::{
    NodeId, Time,
    directory::{OnionDoor, Snapshot, Timing},
};
use tokio::time::{Instant, timeout};

use crate::{
    clock::Clock,
    connection::links::Links,
    directory::{DirectoryError, Snapshots},
};

/// Nodes that are asked in turn until one has the newest list.
const ASKED: usize = 5;
/// How long connecting to one of them may take.
const DIAL: Duration = Duration::from_secs(2);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The doors of a network's nodes.
pub(crate) struct Doors {
    links: Arc<Links>,
    clock: Arc<Clock>,
    snapshots: Snapshots,
    /// Whether the network is all on this machine.
    local: bool,
    /// Held by whoever asks; others wait for the outcome.
    tried: tokio::sync::Mutex<Option<Tried>>,
}

struct Tried {
    at: Instant,
    outcome: Result<(), DirectoryError>,
}

impl Doors {
    pub(crate) fn new(links: Arc<Links>, clock: Arc<Clock>, snapshots: Snapshots, local: bool) -> Self {
        let doors = Self { links, clock, snapshots, local, tried: tokio::sync::Mutex::default() };
        doors.tell(doors.clock.now());
        doors
    }

    /// The clock that tells what can be used.
    pub(crate) const fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Whether the network is all on this machine.
    pub(crate) const fn are_local(&self) -> bool {
        self.local
    }

    /// The doors of all nodes.
    pub(crate) fn all(&self) -> BTreeMap<NodeId, OnionDoor> {
        let mut doors = self.snapshots.doors(self.clock.now());
        if self.local {
            let addresses = self.links.addresses();
            for (node, door) in addresses.nodes().filter_map(|node| Some((node, addresses.onion(&node)?))) {
                doors.entry(node).or_insert(door);
            }
        }
        doors
    }

    /// The door of one node.
    pub(crate) fn of(&self, node: &NodeId) -> Option<OnionDoor> {
        let said = || self.links.addresses().onion(node).filter(|_| self.local);
        self.snapshots.door(self.clock.now(), node).or_else(said)
    }

    /// The list, if there is one that can be used.
    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshots.known(self.clock.now())
    }

    /// Whether there is something to make paths of.
    pub(crate) fn are_usable(&self) -> bool {
        self.snapshot().is_some() || (self.local && !self.all().is_empty())
    }

    /// Whether a newer list is due.
    pub(crate) fn are_behind(&self) -> bool {
        self.snapshots.is_behind(self.clock.now())
    }

    /// Brings them up to date; not if that was tried lately, unless `again`.
    pub(crate) async fn refresh(&self, guards: &[NodeId], again: bool) -> Result<(), DirectoryError> {
        // As long as it takes nodes to agree on a list.
        let pause = Duration::from_micros(Timing::of(self.local).step.0) * 4;
        let begun = Instant::now();
        let mut tried = self.tried.lock().await;
        if let Some(tried) = tried.as_ref()
            && (tried.at >= begun || (!again && tried.at.elapsed() < pause))
        {
            return tried.outcome;
        }
        let asked = timeout(PATIENCE, self.ask(guards)).await;
        let outcome = asked.unwrap_or(Err(DirectoryError::Silent));
        *tried = Some(Tried { at: Instant::now(), outcome });
        outcome
    }

    async fn ask(&self, guards: &[NodeId]) -> Result<(), DirectoryError> {
        let mut nodes = guards.to_vec();
        // Without a list that can be used it is as the first time: no path could ever be made again if
        // the guards had gone meanwhile.
        if guards.is_empty() || self.snapshot().is_none() {
            nodes.extend(self.links.at_random().into_iter().filter(|node| !guards.contains(node)));
        }
        let mut failed = DirectoryError::Silent;
        for node in nodes.into_iter().take(ASKED) {
            let Some((peer, addresses)) = self.links.addresses().of(&node) else { continue };
            let (now, connection) = (self.clock.now(), self.links.connection());
            if timeout(DIAL, connection.dial(peer, addresses)).await != Ok(true) {
                self.links.failed(node);
                continue;
            }
            match self.snapshots.refresh(now, |request| connection.records(peer, request)).await {
                Ok(()) => self.tell(now),
                // What a node says tells more than silence.
                Err(DirectoryError::Silent) => {}
                Err(error) => failed = error,
            }
            let done = match self.local {
                true => !self.lack_some() || self.links.learn(node, now).await,
                // Some node may hide what another one shows.
                false => !self.snapshots.is_behind(now),
            };
            if done {
                return Ok(());
            }
        }
        if self.snapshot().is_some() { Ok(()) } else { Err(failed) }
    }

    fn lack_some(&self) -> bool {
        self.all().len() < self.links.addresses().len()
    }

    /// Dials nodes where they are by the list.
    fn tell(&self, now: Time) {
        if let Some(snapshot) = self.snapshots.known(now) {
            self.links.addresses().follow(snapshot);
        }
    }
}
