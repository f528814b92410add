//! Where a node that begins, or a program, gets the ledger of a checkpoint: from the nodes that the network file names.
//!
//! They are asked by a peer of a moment, with a key of its own: who is registered, and so a neighbour, is known only
//! by what they answer.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, noise,
    request_response::{self, OutboundRequestId, ProtocolSupport},
    swarm::SwarmEvent,
    tcp, yamux,
};
use session_chain::{
    NetworkFile,
    settlement::{Ask, Source},
};
use session_protocols::{
    NetworkName, NodeId, Protocol,
    directory::Endpoint,
    libp2p::{
        address::{multiaddr, peer_id},
        codec::Cbor,
    },
    snapshot::{Answer, MAX_ANSWER, MAX_REQUEST, Request},
};
use tokio::sync::{mpsc, oneshot};

/// How long an answer may take, the connection included; who asks gives up sooner.
const PATIENCE: Duration = Duration::from_secs(10);

type Behaviour = request_response::Behaviour<Cbor<Request, Answer>>;

/// The nodes of the network file, but this one if it is one of them, as those that may have the ledger of a checkpoint.
///
/// Nobody is dialled before somebody is asked. Call it inside a tokio runtime.
pub fn ledger_source(network: &NetworkFile, me: Option<NodeId>) -> Source {
    let place = |text: &String| text.parse::<Endpoint>().ok().map(|endpoint| multiaddr(&endpoint));
    let peers: Vec<(PeerId, Vec<Multiaddr>)> = network
        .nodes
        .iter()
        .filter(|node| Some(node.id) != me)
        .filter_map(|node| Some((peer_id(&node.id)?, node.addresses.iter().filter_map(place).collect())))
        .collect();
    let (ask, asks) = mpsc::channel(1);
    let source = Source { peers: peers.len(), ask };
    tokio::spawn(carry(network.name.clone(), peers, asks));
    source
}

/// Carries questions to their peers until nobody asks any more.
async fn carry(network: NetworkName, peers: Vec<(PeerId, Vec<Multiaddr>)>, mut asks: mpsc::Receiver<Ask>) {
    let Some(first) = asks.recv().await else { return };
    let Some(mut swarm) = swarm(&network) else { return };
    let mut asked: BTreeMap<OutboundRequestId, oneshot::Sender<Answer>> = BTreeMap::new();
    let mut next = Some(first);
    loop {
        if let Some(Ask { peer, request, answer }) = next.take()
            && let Some((peer, addresses)) = peers.get(peer)
        {
            let behaviour = swarm.behaviour_mut();
            let id = behaviour.send_request_with_addresses(peer, request, addresses.clone());
            asked.insert(id, answer);
        }
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(ask) => next = Some(ask),
                None => return,
            },
            event = swarm.select_next_some() => told(event, &mut asked),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "libp2p's events are open-ended; the rest is not ours")]
fn told(
    event: SwarmEvent<request_response::Event<Request, Answer>>,
    asked: &mut BTreeMap<OutboundRequestId, oneshot::Sender<Answer>>,
) {
    match event {
        SwarmEvent::Behaviour(request_response::Event::Message {
            message: request_response::Message::Response { request_id, response },
            ..
        }) => {
            if let Some(answer) = asked.remove(&request_id) {
                // Who asked may have given up.
                let _ = answer.send(response);
            }
        }
        SwarmEvent::Behaviour(request_response::Event::OutboundFailure {
            request_id, peer, error, ..
        }) => {
            tracing::debug!(%peer, %error, "no page of a ledger");
            asked.remove(&request_id);
        }
        _ => {}
    }
}

/// With a key that nobody knows, and this protocol alone.
fn swarm(network: &NetworkName) -> Option<Swarm<Behaviour>> {
    let protocol = StreamProtocol::try_from_owned(network.protocol(Protocol::Snapshot)).ok()?;
    let config = request_response::Config::default().with_request_timeout(PATIENCE);
    let codec = Cbor::new(MAX_REQUEST, MAX_ANSWER);
    let behaviour = Behaviour::with_codec(codec, [(protocol, ProtocolSupport::Outbound)], config);
    let builder = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
        .ok()?
        .with_quic()
        .with_behaviour(|_| behaviour)
        .ok()?;
    Some(builder.with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE)).build())
}
