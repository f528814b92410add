//! The other half: dials nodes back that ask whether they are reached (AutoNAT v2), a bounded number at a time.
//!
//! Whoever asks names any address it likes, and pays for it with more bytes than it costs to dial. Outside of a
//! local network none is dialled that is not everybody's: nobody searches this machine's neighbourhood through it.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::server,
    core::{Endpoint as Role, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use rand_chacha::ChaCha20Rng;
use session_protocols::libp2p::address::endpoint;
use tokio::time::Instant;

/// Dials back that may be under way.
const MAX_DIALS: usize = 32;
/// Of these for one peer.
const MAX_OF_ONE: usize = 2;
/// How long one may take; it is closed then, and its place is free again.
const PATIENCE: Duration = Duration::from_secs(20);

/// A dial back is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("too many dials back are under way")]
    Busy,
    #[error("an address that is not everybody's is not dialled back")]
    Private,
}

/// Dials back.
pub(crate) struct Confirm {
    server: server::Behaviour<ChaCha20Rng>,
    local: bool,
    /// The dials back that are under way, whom to, and since when.
    dials: BTreeMap<ConnectionId, (PeerId, Instant)>,
    done: VecDeque<(PeerId, ConnectionId)>,
}

impl Confirm {
    /// For a network that is all on one machine if it is `local`.
    pub(crate) fn new(local: bool) -> Result<Self, String> {
        let server = server::Behaviour::new(super::random()?);
        Ok(Self { server, local, dials: BTreeMap::new(), done: VecDeque::new() })
    }

    /// Whether a connection was opened to dial somebody back, and for nothing else.
    pub(crate) fn is_dial_back(&self, id: ConnectionId) -> bool {
        self.dials.contains_key(&id)
    }

    /// What may be dialled back.
    fn check(&self, peer: &PeerId, addresses: &[Multiaddr]) -> Result<(), Refused> {
        // This one is among them already.
        let of_one = self.dials.values().filter(|(one, _)| one == peer).count();
        if self.dials.len() > MAX_DIALS || of_one > MAX_OF_ONE {
            return Err(Refused::Busy);
        }
        let open = |address: &Multiaddr| endpoint(address).is_some_and(|one| one.is_public());
        if self.local || addresses.iter().all(open) { Ok(()) } else { Err(Refused::Private) }
    }

    /// Closes what took too long: whoever took the dial back and never answered would hold it for ever.
    fn expire(&mut self) {
        let late = self.dials.iter().filter(|(_, (_, since))| since.elapsed() >= PATIENCE);
        let late: Vec<_> = late.map(|(id, (peer, _))| (*peer, *id)).collect();
        self.dials.retain(|_, (_, since)| since.elapsed() < PATIENCE);
        self.done.extend(late);
    }

    /// Closes what was opened to dial a peer back: it has been answered.
    fn answered(&mut self, client: &PeerId) {
        let ids: Vec<_> =
            self.dials.iter().filter(|(_, (peer, _))| peer == client).map(|(id, _)| *id).collect();
        self.done.extend(ids.into_iter().map(|id| (*client, id)));
    }
}

impl NetworkBehaviour for Confirm {
    type ConnectionHandler = <server::Behaviour<ChaCha20Rng> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = ();

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Role,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some((peer, _)) = self.dials.get(&id) {
            self.check(peer, addresses).map_err(ConnectionDenied::new)?;
        }
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.server.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Role,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.server.handle_established_outbound_connection(id, peer, address, role, port)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's events are open-ended; the rest ends no dial"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::DialFailure(failed) => {
                self.dials.remove(&failed.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.dials.remove(&closed.connection_id);
            }
            _ => {}
        }
        self.server.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.server.on_connection_handler_event(peer, id, event);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest of the open-ended set passes as it is")]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some((peer_id, id)) = self.done.pop_front() {
                return Poll::Ready(ToSwarm::CloseConnection {
                    peer_id,
                    connection: CloseConnection::One(id),
                });
            }
            let Poll::Ready(event) = self.server.poll(cx) else { return Poll::Pending };
            match &event {
                ToSwarm::GenerateEvent(answered) => {
                    self.answered(&answered.client);
                    continue;
                }
                ToSwarm::Dial { opts } => {
                    self.expire();
                    if let Some(peer) = opts.get_peer_id() {
                        self.dials.insert(opts.connection_id(), (peer, Instant::now()));
                    }
                }
                _ => {}
            }
            return Poll::Ready(event.map_out(drop));
        }
    }
}
