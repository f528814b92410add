//! Whether others reach a node: each address that it announces is dialled back once by a node in contact (AutoNAT
//! v2), and whoever dials it later on shows that it is reached still.
//!
//! What peers say of this node's address by Identify is no candidate: only what the operator named, or what the
//! node listens on within reason, is asked about, so that nobody fills the table.

pub(crate) mod confirm;
mod stranger;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::client,
    core::{Endpoint as Role, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use session_protocols::{
    NodeId, Time,
    directory::{Endpoint, Transport},
    libp2p::address::{endpoint, multiaddr, node_id},
};
use tokio::time::Instant;

use crate::now;
pub use stranger::{dial, observed};

/// How often an address that nobody has tried is given to somebody to try.
const PROBE: Duration = Duration::from_secs(1);
/// How long a dial back may take; a connection that comes later is an ordinary one.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a node in contact found when it dialled an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The address.
    pub(crate) endpoint: Endpoint,
    /// Who dialled.
    pub(crate) by: NodeId,
    /// When it said so.
    pub(crate) at: Time,
    /// What it was in vain for; none where it came through.
    pub(crate) why: Option<String>,
}

/// Asks nodes in contact to dial this one, one address at a time.
pub(crate) struct Reach {
    client: client::Behaviour<ChaCha20Rng>,
    proposed: BTreeSet<Multiaddr>,
    unsaid: VecDeque<Multiaddr>,
    /// Who is to dial back, and since when.
    asked: BTreeMap<PeerId, Instant>,
}

impl Reach {
    /// Asks for nothing so far.
    pub(crate) fn new() -> Result<Self, String> {
        let config = client::Config::default().with_probe_interval(PROBE);
        let client = client::Behaviour::new(random()?, config);
        Ok(Self { client, proposed: BTreeSet::new(), unsaid: VecDeque::new(), asked: BTreeMap::new() })
    }

    /// Has an address tried, once.
    pub(crate) fn propose(&mut self, endpoint: &Endpoint) {
        let address = multiaddr(endpoint);
        if self.proposed.insert(address.clone()) {
            self.unsaid.push_back(address);
        }
    }

    /// Whether a connection from a peer may be a dial back that was asked for.
    pub(crate) fn awaits(&self, peer: &PeerId) -> bool {
        self.asked.get(peer).is_some_and(|since| since.elapsed() < PATIENCE)
    }

    fn judge(&mut self, event: client::Event) -> Option<Verdict> {
        self.asked.remove(&event.server);
        Some(Verdict {
            endpoint: endpoint(&event.tested_addr)?,
            by: node_id(&event.server)?,
            at: now(),
            why: event.result.err().map(|error| error.to_string()),
        })
    }
}

impl NetworkBehaviour for Reach {
    type ConnectionHandler = <client::Behaviour<ChaCha20Rng> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Option<Verdict>;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Role,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::NewExternalAddrCandidate(candidate) = &event
            && !self.proposed.contains(candidate.addr)
        {
            return;
        }
        self.client.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.client.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(address) = self.unsaid.pop_front() {
            return Poll::Ready(ToSwarm::NewExternalAddrCandidate(address));
        }
        let Poll::Ready(event) = self.client.poll(cx) else { return Poll::Pending };
        if let ToSwarm::NotifyHandler { peer_id, .. } = &event {
            self.asked.retain(|_, since| since.elapsed() < PATIENCE);
            self.asked.insert(*peer_id, Instant::now());
        }
        Poll::Ready(event.map_out(|event| self.judge(event)))
    }
}

/// What is known of how others reach this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The last verdict on each address.
    pub(crate) verdicts: BTreeMap<Endpoint, Verdict>,
    /// Which node dialled this one last over each transport, and when.
    pub(crate) dialled: BTreeMap<Transport, (NodeId, Time)>,
}

/// Randomness for nonces, which others must not guess.
fn random() -> Result<ChaCha20Rng, String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
    Ok(ChaCha20Rng::from_seed(seed))
}
