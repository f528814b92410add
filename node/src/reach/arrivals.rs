//! Who has opened a connection to this node, over what, and in which order.
//!
//! Whoever says what it was to say on a dial back must have dialled for it: a connection that this node made, or that
//! was there before it asked, shows nothing of whether others reach it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint as Role, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};
use session_protocols::{
    Prefix,
    directory::Transport,
    libp2p::address::{endpoint, prefix},
};

/// A connection that somebody else opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Came {
    /// The number of the connection among all.
    pub(super) number: u64,
    /// What it came in over.
    pub(super) transport: Transport,
    /// Whether it came in at an address of IPv4.
    pub(super) four: bool,
    /// Where from.
    pub(super) prefix: Option<Prefix>,
}

/// The connections of all peers; clones share what they know. It has to stand behind what refuses connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Connections so far.
    count: u64,
    /// None for those that nobody else opened.
    peers: BTreeMap<PeerId, BTreeMap<ConnectionId, Option<Came>>>,
}

impl Arrivals {
    /// The number of the next connection.
    pub(super) fn next(&self) -> u64 {
        self.lock().count
    }

    /// How a peer came that opened one connection, and has no other.
    pub(super) fn of(&self, peer: &PeerId) -> Option<Came> {
        let table = self.lock();
        let mut connections = table.peers.get(peer)?.values();
        let first = connections.next()?;
        if connections.next().is_some() { None } else { *first }
    }

    fn enter(&self, connection: ConnectionId, peer: PeerId, came: impl FnOnce(u64) -> Option<Came>) {
        let mut table = self.lock();
        let number = table.count;
        table.count = number.saturating_add(1);
        table.peers.entry(peer).or_default().insert(connection, came(number));
    }

    fn leave(&self, connection: ConnectionId, peer: &PeerId) {
        let mut table = self.lock();
        let Some(connections) = table.peers.get_mut(peer) else { return };
        connections.remove(&connection);
        if connections.is_empty() {
            table.peers.remove(peer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NetworkBehaviour for Arrivals {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    // Before anything is read from the connection.
    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.enter(connection, peer, |number| {
            let at = endpoint(local)?;
            let (four, prefix) = (at.ip.is_ipv4(), prefix(remote));
            Some(Came { number, transport: at.transport, four, prefix })
        });
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Role,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.enter(connection, peer, |_| None);
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = event {
            self.leave(closed.connection_id, &closed.peer_id);
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
    use super::*;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn only_who_opened_its_one_connection_has_come() {
        let mut arrivals = Arrivals::default();
        let (stranger, other) = (PeerId::random(), PeerId::random());
        let [quic, tcp, from]: [Multiaddr; 3] =
            ["/ip4/10.0.0.1/udp/9/quic-v1", "/ip6/2a10::1/tcp/9", "/ip4/45.1.2.3/udp/7/quic-v1"]
                .map(|text| text.parse().unwrap());
        assert_eq!((arrivals.of(&stranger), arrivals.next()), (None, 0));
        arrivals.handle_established_inbound_connection(id(0), stranger, &quic, &from).unwrap();
        let prefix = Some(Prefix::V4([45, 1, 2]));
        let came = Came { number: 0, transport: Transport::Quic, four: true, prefix };
        assert_eq!((arrivals.of(&stranger), arrivals.next()), (Some(came), 1));
        // Of two nobody knows over which one a stream came.
        arrivals.handle_established_inbound_connection(id(1), stranger, &tcp, &from).unwrap();
        assert_eq!(arrivals.of(&stranger), None);
        arrivals.leave(id(0), &stranger);
        let came = Came { number: 1, transport: Transport::Tcp, four: false, prefix };
        assert_eq!(arrivals.of(&stranger), Some(came));
        // Whom this node dialled has not come.
        arrivals
            .handle_established_outbound_connection(id(2), other, &tcp, Role::Dialer, PortUse::New)
            .unwrap();
        assert_eq!((arrivals.of(&other), arrivals.next()), (None, 3));
        arrivals.leave(id(1), &stranger);
        arrivals.leave(id(2), &other);
        assert!(arrivals.lock().peers.is_empty(), "who has gone is forgotten");
    }
}
