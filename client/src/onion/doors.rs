//! How packets enter nodes, as of now.
//!
//! This is all that paths know of the directory: [`Doors::all`], and that it is brought up to date. It
//! reads the nodes' signed records at the guards, or where there are none yet at any node.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use session_protocols::{NodeId, Time, directory::OnionDoor};
use tokio::time::Instant;

use crate::connection::links::Links;

/// When the doors are read anew. Keys change daily, and old ones are accepted for 26 hours more.
const REFRESH: Duration = Duration::from_secs(3_600);
/// When nothing is sent any more before they are.
const STALE: Duration = Duration::from_secs(24 * 3_600);
/// How soon they are read again when one is missing.
const AGAIN: Duration = Duration::from_secs(2);
/// Nodes that are asked in turn until one answers.
const ASKED: usize = 4;

/// The doors of a network's nodes.
pub(crate) struct Doors {
    links: Arc<Links>,
    read: Mutex<Read>,
    /// Held by whoever reads them; others wait for the outcome.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Read {
    /// When they were read.
    at: Option<Instant>,
    /// When that was last tried.
    tried: Option<Instant>,
}

impl Doors {
    pub(crate) fn new(links: Arc<Links>) -> Self {
        Self { links, read: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    /// The doors of all nodes that have told theirs.
    pub(crate) fn all(&self) -> BTreeMap<NodeId, OnionDoor> {
        let addresses = self.links.addresses();
        addresses.nodes().filter_map(|node| Some((node, addresses.onion(&node)?))).collect()
    }

    /// The door of one node.
    pub(crate) fn of(&self, node: &NodeId) -> Option<OnionDoor> {
        self.links.addresses().onion(node)
    }

    /// Whether they need not be read anew.
    pub(crate) fn is_fresh(&self) -> bool {
        self.read().at.is_some_and(|at| at.elapsed() < REFRESH)
    }

    /// Whether they are too old to be used.
    pub(crate) fn is_stale(&self) -> bool {
        self.read().at.is_none_or(|at| at.elapsed() >= STALE)
    }

    /// Reads them anew, at one of `first` if it answers; not if that was just done, unless `again`.
    pub(crate) async fn refresh(&self, first: &[NodeId], now: Time, again: bool) {
        let begun = Instant::now();
        let _reading = self.reading.lock().await;
        let tried = self.read().tried;
        if tried.is_some_and(|tried| tried >= begun || (!again && tried.elapsed() < AGAIN)) {
            return;
        }
        self.read().tried = Some(Instant::now());
        let others = self.links.at_random().into_iter().filter(|node| !first.contains(node));
        for node in first.iter().copied().chain(others).take(ASKED) {
            if self.links.learn(node, now).await {
                self.read().at = Some(Instant::now());
                return;
            }
        }
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
