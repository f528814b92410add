//! Where nodes are reached: by the list that most of them have signed, and as the network file says. On
//! local networks without a chain their own word counts too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p::{Multiaddr, PeerId};
use session_chain::network::NetworkFile;
use session_protocols::{
    NetworkName, NodeId, Time,
    directory::{self, Answer, Directory, OnionDoor, Request, Snapshot},
    libp2p::address,
};

use super::Connection;
use crate::membership::Membership;

/// Pages of one node's directory that are read; what follows is left.
const MAX_PAGES: usize = 64;

/// The nodes of a network, and their addresses.
pub(crate) struct Addresses {
    network: NetworkName,
    members: Arc<Membership>,
    /// What the network file says.
    written: BTreeMap<NodeId, Vec<Multiaddr>>,
    listed: Mutex<Option<Arc<Snapshot>>>,
    /// What nodes say themselves, one by one: nothing but on local networks.
    directory: Mutex<Directory>,
}

impl Addresses {
    pub(crate) fn new(file: &NetworkFile, members: Arc<Membership>) -> Self {
        let written = file.nodes.iter().map(|node| {
            let addresses = node.addresses.iter().filter_map(|text| {
                let address = text.parse::<Multiaddr>();
                address
                    .inspect_err(|error| tracing::warn!(node = %node.id, text, %error, "not an address"))
                    .ok()
            });
            (node.id, addresses.collect())
        });
        let prefixes = file.nodes.iter().map(|node| (node.id, node.prefix)).collect();
        let mut directory = Directory::new(None, String::new(), prefixes);
        let (height, hash) = file.border();
        directory.handle(Time::ZERO, directory::Input::Border { height, hash });
        let (network, written) = (file.name.clone(), written.collect());
        Self { network, members, written, listed: Mutex::default(), directory: Mutex::new(directory) }
    }

    /// Whether a node is one of the network's.
    pub(crate) fn contains(&self, node: &NodeId) -> bool {
        self.members.nodes().contains_key(node)
    }

    /// How many nodes the network has.
    pub(crate) fn len(&self) -> usize {
        self.members.nodes().len()
    }

    /// The nodes, in order.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.members.nodes().keys().copied().collect()
    }

    /// Whoever can be dialled: the nodes of the network, and those that its file names.
    pub(crate) fn dialled(&self) -> BTreeSet<NodeId> {
        let listed = lock(&self.listed).clone();
        let listed = listed.iter().flat_map(|listed| listed.entries()).map(|entry| entry.record().node);
        listed.filter(|node| self.contains(node)).chain(self.written.keys().copied()).collect()
    }

    /// A node's libp2p identity, and where to dial it.
    pub(crate) fn of(&self, node: &NodeId) -> Option<(PeerId, Vec<Multiaddr>)> {
        let peer = address::peer_id(node)?;
        let written = self.written.get(node);
        if written.is_none() && !self.contains(node) {
            return None;
        }
        let mut addresses: Vec<_> = match lock(&self.listed).as_ref().and_then(|listed| listed.get(node)) {
            Some(entry) => entry.record().endpoints.iter().map(address::multiaddr).collect(),
            None => Vec::new(),
        };
        let said = lock(&self.directory).endpoints(node).iter().map(address::multiaddr).collect::<Vec<_>>();
        for address in written.into_iter().flatten().cloned().chain(said) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Some((peer, addresses))
    }

    /// Nodes are where this list says, from now on. A node is known by its key, wherever it is dialled.
    pub(crate) fn follow(&self, listed: Arc<Snapshot>) {
        *lock(&self.listed) = Some(listed);
    }

    /// Reads a connected node's directory. What it hands on is believed only where the node that a
    /// record is about has signed it, and declared the addresses in it.
    /// False when it does not answer.
    pub(crate) async fn learn(&self, connection: &Connection, from: PeerId, now: Time) -> bool {
        let mut after = None;
        for _ in 0..MAX_PAGES {
            let request = Request::Records { after };
            let Some(Answer::Records { records, more }) = connection.records(from, request).await else {
                return false;
            };
            let mut last = after;
            for signed in records {
                let Some(record) = signed.open(&self.network) else { continue };
                last = last.max(Some(record.node));
                let mut directory = lock(&self.directory);
                directory.handle(now, directory::Input::Record { record, signed, message: None });
                // What was found is asked for when it is needed.
                while directory.poll().is_some() {}
            }
            if !more || last == after {
                return true;
            }
            after = last;
        }
        true
    }

    /// How a node is entered by onion packets, by its own record; none when it has not said so.
    pub(crate) fn onion(&self, node: &NodeId) -> Option<OnionDoor> {
        lock(&self.directory).onion(node).copied()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
