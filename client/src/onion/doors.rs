//! How packets enter nodes, as of now, and who is asked for that.
//!
//! Both come from the newest list of nodes that more than two thirds of them have signed. Once there are
//! guards, nobody else is asked for a newer one, as long as the one that is known can be used.
//!
//! On a local network without a chain, where nodes sign a first list only some seconds after they started, a
//! node that no list names so far is taken by its own signed record.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use session_chain::network::NetworkFile;
use session_protocols::{
    NodeId, Time,
    directory::{OnionDoor, Snapshot, Timing},
};
use tokio::time::{Instant, timeout};

use crate::{
    clock::Clock,
    connection::links::Links,
    directory::{DirectoryError, Snapshots},
    membership::Membership,
};

/// Nodes that are asked one after the other until one has the newest list.
const ASKED: usize = 5;
/// How long one of them may be silent until the next is asked beside it.
const BESIDE: Duration = Duration::from_millis(500);
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
    timing: Timing,
    /// Whether nodes are believed what they say of themselves.
    by_word: bool,
    members: Arc<Membership>,
    /// Held by whoever asks; others wait for the outcome.
    tried: tokio::sync::Mutex<Option<Tried>>,
}

struct Tried {
    at: Instant,
    outcome: Result<(), DirectoryError>,
}

impl Doors {
    pub(crate) fn new(
        file: &NetworkFile,
        links: Arc<Links>,
        clock: Arc<Clock>,
        snapshots: Snapshots,
        members: Arc<Membership>,
    ) -> Self {
        let (local, by_word) = (file.local, file.local && file.settlement.is_none());
        let doors = Self {
            links,
            clock,
            snapshots,
            local,
            by_word,
            timing: file.timing(),
            members,
            tried: tokio::sync::Mutex::default(),
        };
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

    /// Whether all of it is on this machine, and its nodes sign who they are all the same.
    pub(crate) const fn are_local_lists(&self) -> bool {
        self.local && !self.by_word
    }

    /// The doors of all nodes.
    pub(crate) fn all(&self) -> BTreeMap<NodeId, OnionDoor> {
        let mut doors = self.snapshots.doors(self.clock.now());
        if self.by_word {
            let addresses = self.links.addresses();
            let said = addresses.nodes().into_iter().filter_map(|node| Some((node, addresses.onion(&node)?)));
            for (node, door) in said {
                doors.entry(node).or_insert(door);
            }
        }
        doors
    }

    /// The door of one node.
    pub(crate) fn of(&self, node: &NodeId) -> Option<OnionDoor> {
        let said = || self.links.addresses().onion(node).filter(|_| self.by_word);
        self.snapshots.door(self.clock.now(), node).or_else(said)
    }

    /// The list, if there is one that can be used.
    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshots.known(self.clock.now())
    }

    /// Whether there is something to make paths of.
    pub(crate) fn are_usable(&self) -> bool {
        self.members.is_known() && (self.snapshot().is_some() || (self.by_word && !self.all().is_empty()))
    }

    /// Whether a newer list is due.
    pub(crate) fn are_behind(&self) -> bool {
        self.snapshots.is_behind(self.clock.now())
    }

    /// Brings them up to date; not if that was tried lately, unless `again`.
    pub(crate) async fn refresh(&self, guards: &[NodeId], again: bool) -> Result<(), DirectoryError> {
        // As long as it takes nodes to agree on a list.
        let pause = Duration::from_micros(self.timing.step.0) * 4;
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
        self.members.renew(Clock::device_now())?;
        let mut nodes = guards.to_vec();
        // Without a list that can be used it is as the first time: no path could ever be made again if
        // the guards had gone meanwhile.
        if guards.is_empty() || !self.are_usable() {
            nodes.extend(self.links.at_random().into_iter().filter(|node| !guards.contains(node)));
        }
        let mut nodes = nodes.into_iter().take(ASKED);
        let (mut asked, mut failed) = (FuturesUnordered::new(), DirectoryError::Silent);
        loop {
            if let Some(node) = nodes.next() {
                asked.push(self.ask_one(node));
            }
            match timeout(BESIDE, asked.next()).await {
                Ok(Some(Ok(true))) => return Ok(()),
                // What a node says tells more than silence.
                Ok(Some(Ok(false) | Err(DirectoryError::Silent))) | Err(_) => {}
                Ok(Some(Err(error))) => failed = error,
                Ok(None) => break,
            }
        }
        if self.snapshot().is_some() && self.members.is_known() { Ok(()) } else { Err(failed) }
    }

    /// Asks one node for what is new; true when nobody else need be asked.
    async fn ask_one(&self, node: NodeId) -> Result<bool, DirectoryError> {
        let (peer, addresses) = self.links.addresses().of(&node).ok_or(DirectoryError::Silent)?;
        let (now, connection) = (self.clock.now(), self.links.connection());
        if timeout(DIAL, connection.dial(peer, addresses)).await != Ok(true) {
            self.links.failed(node);
            return Err(DirectoryError::Silent);
        }
        let refreshed = self.snapshots.refresh(now, |request| connection.records(peer, request)).await;
        if refreshed.is_ok() {
            self.tell(now);
        }
        let done = match self.by_word {
            true => !self.lack_some() || self.links.learn(node, now).await,
            // Some node may hide what another one shows.
            false => !self.snapshots.is_behind(now),
        };
        if done { Ok(true) } else { refreshed.map(|()| false) }
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
