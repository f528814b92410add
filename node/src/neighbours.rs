//! Where the peers in contact come from, and how many connections one address prefix may open.
//!
//! An identity costs nothing, so a stranger is also counted by the address that its connection comes
//! from; in a local network not, where all come from one address. Registered nodes are known by their keys:
//! each is counted by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};
use session_protocols::{Prefix, libp2p::address, limits::Seats};

use crate::registry::Watched;

/// Connections that strangers of one prefix may have open.
pub(crate) const CONNECTIONS: usize = 256;
/// Connections that one registered node may have open. It needs one; one that died unnoticed, and a dial
/// from each side at once, may stand beside it for a while.
pub(crate) const CONNECTIONS_OF_NODE: usize = 8;
/// Connections that are counted at all; libp2p's own limit stands below it.
const TOTAL: usize = 16_384;

/// One prefix, or one node, has as many connections as it may have.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from one address prefix or node")]
struct Crowded;

/// Refuses connections of crowded prefixes, and remembers who comes from where.
#[derive(Debug)]
pub(crate) struct Neighbours {
    local: bool,
    nodes: Seats<PeerId>,
    /// Connections that hold one of these seats.
    seated: BTreeSet<ConnectionId>,
    places: Places,
}

/// Which prefix each stranger in contact comes from. Clones share what they know.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    registry: Watched,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug)]
struct Table {
    connections: Seats<Prefix>,
    peers: BTreeMap<PeerId, Vec<(ConnectionId, Prefix)>>,
}

impl Places {
    /// Nobody is known.
    pub(crate) fn new(registry: Watched) -> Self {
        let connections = Seats::new(CONNECTIONS, TOTAL);
        Self { registry, table: Arc::new(Mutex::new(Table { connections, peers: BTreeMap::new() })) }
    }

    /// The prefix that counts for a peer, if one does. None does for whoever has become a node since it came.
    pub(crate) fn of(&self, peer: &PeerId) -> Option<Prefix> {
        let prefix = self.lock().peers.get(peer)?.last().map(|(_, prefix)| *prefix);
        prefix.filter(|_| !self.is_node(peer))
    }

    fn is_node(&self, peer: &PeerId) -> bool {
        address::node_id(peer).is_some_and(|node| self.registry.borrow().contains(&node))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, connection: ConnectionId, peer: PeerId, prefix: Prefix) -> Result<(), Crowded> {
        let mut table = self.lock();
        if !table.connections.take(prefix) {
            return Err(Crowded);
        }
        table.peers.entry(peer).or_default().push((connection, prefix));
        Ok(())
    }

    fn leave(&self, connection: ConnectionId, peer: PeerId) {
        let mut table = self.lock();
        let Some(connections) = table.peers.get_mut(&peer) else { return };
        let Some(at) = connections.iter().position(|(id, _)| *id == connection) else { return };
        let (_, prefix) = connections.swap_remove(at);
        if connections.is_empty() {
            table.peers.remove(&peer);
        }
        table.connections.leave(&prefix);
    }
}

impl Neighbours {
    /// Counts whoever is not registered, unless the network is `local`.
    pub(crate) fn new(local: bool, registry: Watched) -> Self {
        let nodes = Seats::new(CONNECTIONS_OF_NODE, TOTAL);
        Self { local, nodes, seated: BTreeSet::new(), places: Places::new(registry) }
    }

    fn leave(&mut self, connection: ConnectionId, peer: PeerId) {
        if self.seated.remove(&connection) {
            self.nodes.leave(&peer);
        }
        self.places.leave(connection, peer);
    }

    /// Who is registered.
    pub(crate) fn registry(&self) -> Watched {
        self.places.registry.clone()
    }

    /// Who comes from where.
    pub(crate) fn places(&self) -> Places {
        self.places.clone()
    }
}

impl NetworkBehaviour for Neighbours {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.places.is_node(&peer) {
            if !self.nodes.take(peer) {
                return Err(ConnectionDenied::new(Crowded));
            }
            self.seated.insert(connection);
        } else if !self.local
            && let Some(prefix) = address::prefix(remote)
        {
            self.places.enter(connection, peer, prefix).map_err(ConnectionDenied::new)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's events are open-ended; the rest ends nothing"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.leave(closed.connection_id, closed.peer_id),
            // Another part of the node turned it away after this one had let it in.
            FromSwarm::ListenFailure(failed) => {
                if let Some(peer) = failed.peer_id {
                    self.leave(failed.connection_id, peer);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use session_protocols::{KeyPair, NodeId};
    use tokio::sync::watch;

    use super::*;
    use crate::registry::Registry;

    const HERE: &str = "/ip4/10.1.2.3/udp/9/quic-v1";
    const BESIDE: &str = "/ip4/10.1.2.200/tcp/7";
    const ELSEWHERE: &str = "/ip4/10.1.3.3/udp/9/quic-v1";

    fn enter(neighbours: &mut Neighbours, id: usize, peer: PeerId, from: &str) -> bool {
        let (id, from) = (ConnectionId::new_unchecked(id), from.parse().unwrap());
        neighbours.handle_established_inbound_connection(id, peer, &Multiaddr::empty(), &from).is_ok()
    }

    #[test]
    fn new_identities_do_not_get_one_prefix_more_connections() {
        let mut neighbours = Neighbours::new(false, Registry::of([]));
        let peers: Vec<_> = (0..CONNECTIONS).map(|_| PeerId::random()).collect();
        for (id, peer) in peers.iter().enumerate() {
            assert!(enter(&mut neighbours, id, *peer, if id % 2 == 0 { HERE } else { BESIDE }));
        }
        assert!(!enter(&mut neighbours, 1_000, PeerId::random(), HERE));
        assert!(enter(&mut neighbours, 1_001, PeerId::random(), ELSEWHERE));
        assert_eq!(neighbours.places().of(&peers[0]), Some(Prefix::V4([10, 1, 2])));
        neighbours.places.leave(ConnectionId::new_unchecked(0), peers[0]);
        assert_eq!(neighbours.places().of(&peers[0]), None, "who has gone is forgotten");
        assert!(enter(&mut neighbours, 1_002, PeerId::random(), BESIDE), "there is room again");
    }

    fn node(seed: u8) -> NodeId {
        KeyPair::from_seed(&[seed; 32]).node_id()
    }

    #[test]
    fn who_becomes_a_node_is_counted_as_one_from_then_on() {
        let (register, registry) = watch::channel(Registry::default());
        let mut neighbours = Neighbours::new(false, registry);
        let newcomer = address::peer_id(&node(1)).unwrap();
        assert!(enter(&mut neighbours, 0, newcomer, HERE));
        assert_eq!(neighbours.places().of(&newcomer), Some(Prefix::V4([10, 1, 2])));
        register.send_replace(Registry::of([node(1)]).borrow().clone());
        assert_eq!(neighbours.places().of(&newcomer), None);
        for id in 1..=CONNECTIONS_OF_NODE {
            assert!(enter(&mut neighbours, id, newcomer, HERE));
        }
        assert!(!enter(&mut neighbours, 1_000, newcomer, HERE));
        // What it came with is given back where it was taken.
        neighbours.leave(ConnectionId::new_unchecked(0), newcomer);
        assert!(neighbours.places.lock().peers.is_empty() && neighbours.seated.len() == CONNECTIONS_OF_NODE);
    }

    #[test]
    fn in_a_local_network_nobody_is_counted_by_the_prefix() {
        let (mut neighbours, stranger) = (Neighbours::new(true, Registry::of([])), PeerId::random());
        for id in 0..=CONNECTIONS {
            assert!(enter(&mut neighbours, id, stranger, HERE));
        }
        assert_eq!(neighbours.places().of(&stranger), None);
    }

    #[test]
    fn a_registered_node_is_counted_by_itself_wherever_it_comes_from() {
        let nodes: Vec<_> = (0..40).map(node).collect();
        let registry = Registry::of(nodes.iter().copied());
        let nodes: Vec<_> = nodes.iter().filter_map(address::peer_id).collect();
        let mut neighbours = Neighbours::new(false, registry);
        let mut id = 0;
        for node in &nodes {
            for _ in 0..CONNECTIONS_OF_NODE {
                id += 1;
                assert!(enter(&mut neighbours, id, *node, HERE), "the prefix does not count for it");
            }
            assert!(!enter(&mut neighbours, 0, *node, ELSEWHERE));
            assert_eq!(neighbours.places().of(node), None);
        }
        neighbours.leave(ConnectionId::new_unchecked(id), nodes[39]);
        assert!(enter(&mut neighbours, id, nodes[39], HERE), "there is room again");
    }
}
