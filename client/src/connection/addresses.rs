//! Where nodes are reached: by the list that most of them have signed, and as the network file says. On
//! local networks their own word counts too.

use std::{
    collections::BTreeMap,
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

/// Pages of one node's directory that are read; what follows is left.
const MAX_PAGES: usize = 64;

/// The nodes of a network, and their addresses.
pub(crate) struct Addresses {
    network: NetworkName,
    nodes: BTreeMap<NodeId, (PeerId, Vec<Multiaddr>)>,
    listed: Mutex<Option<Arc<Snapshot>>>,
    /// What nodes say themselves, one by one: nothing but on local networks.
    directory: Mutex<Directory>,
}

impl Addresses {
    pub(crate) fn new(file: &NetworkFile) -> Self {
        let nodes = file.nodes.iter().filter_map(|node| {
            let peer = address::peer_id(&node.id)?;
            let addresses = node.addresses.iter().filter_map(|text| {
                let address = text.parse::<Multiaddr>();
                address
                    .inspect_err(|error| tracing::warn!(node = %node.id, text, %error, "not an address"))
                    .ok()
            });
            Some((node.id, (peer, addresses.collect())))
        });
        let members = file.nodes.iter().map(|node| (node.id, node.prefix)).collect();
        let mut directory = Directory::new(None, String::new(), members);
        let (height, hash) = file.border();
        directory.handle(Time::ZERO, directory::Input::Border { height, hash });
        let (network, nodes) = (file.name.clone(), nodes.collect());
        Self { network, nodes, listed: Mutex::default(), directory: Mutex::new(directory) }
    }

    /// Whether a node is one of the network's.
    pub(crate) fn contains(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    /// How many nodes the network has.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes, in order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    /// A node's libp2p identity, and where to dial it.
    pub(crate) fn of(&self, node: &NodeId) -> Option<(PeerId, Vec<Multiaddr>)> {
        let (peer, written) = self.nodes.get(node)?;
        let mut addresses: Vec<_> = match lock(&self.listed).as_ref().and_then(|listed| listed.get(node)) {
            Some(entry) => entry.record().endpoints.iter().map(address::multiaddr).collect(),
            None => Vec::new(),
        };
        let said = lock(&self.directory).endpoints(node).iter().map(address::multiaddr).collect::<Vec<_>>();
        for address in written.iter().cloned().chain(said) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Some((*peer, addresses))
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
