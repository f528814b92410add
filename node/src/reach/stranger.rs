//! A peer of a moment, with a key of its own: to see where one comes from, and whether somebody is where they say.
//!
//! Whoever is dialled takes it for a client that is gone soon. A node that dialled as itself would have a second
//! connection with it, over which either might send what is lost when the connection closes.

use std::{collections::BTreeMap, io, net::IpAddr, pin::pin, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, identify, identity,
    multiaddr::Protocol,
    noise,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use libp2p_stream::Control;
use session_chain::NetworkFile;
use session_protocols::{
    NodeId,
    directory::Endpoint,
    libp2p::address::{multiaddr, peer_id},
};
use tokio::time::{sleep, timeout};

use super::wire::{self, Back, BackAnswer};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How many nodes are asked.
const ASKED: usize = 4;
/// How many have to say the same to be believed at once.
const AGREE: usize = 2;
/// How long the other side may take to answer over a connection.
const ANSWER: Duration = Duration::from_secs(5);
/// How often it is said what the other side is to hear, where nobody did, and how long after the last time.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_millis(100);
/// How long it may take to close one.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a dial back did not come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// No connection came about.
    Connection,
    /// One did, but nobody answered.
    Answer,
}

/// The address that nodes of the network file see this machine come from: what two of them say, or most of those that
/// answered in time; none where nobody did. They may be wrong, or lie: it has to be dialled.
pub async fn observed(network: &NetworkFile) -> Option<IpAddr> {
    let mut swarm = swarm(identify)?;
    for node in network.nodes.iter().take(ASKED) {
        let addresses: Vec<Multiaddr> = node
            .addresses
            .iter()
            .filter_map(|text| text.parse::<Endpoint>().ok())
            .map(|one| multiaddr(&one))
            .collect();
        let Some(peer) = peer_id(&node.id) else { continue };
        // Whoever cannot be dialled says nothing.
        let _ = swarm.dial(DialOpts::peer_id(peer).addresses(addresses).build());
    }
    let mut said: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let agreed = async {
        loop {
            if let SwarmEvent::Behaviour(identify::Event::Received { info, .. }) =
                swarm.select_next_some().await
                && let Some(ip) = ip(&info.observed_addr)
            {
                let times = said.entry(ip).or_default();
                *times = times.saturating_add(1);
                if *times >= AGREE {
                    break ip;
                }
            }
        }
    };
    match timeout(PATIENCE, agreed).await {
        Ok(ip) => Some(ip),
        Err(_) => said.into_iter().max_by_key(|(_, times)| *times).map(|(ip, _)| ip),
    }
}

/// Whether a node answers at an address, and proves that it is the one.
///
/// # Errors
/// Says why not.
pub async fn dial(node: &NodeId, endpoint: &Endpoint) -> Result<(), String> {
    let (Some(mut swarm), Some(peer)) = (swarm(identify), peer_id(node)) else {
        return Err("this machine cannot dial, or that is no node's key".to_owned());
    };
    connect(&mut swarm, peer, endpoint).await
}

/// Dials a peer back at an address, and says there what it is to hear.
pub(super) async fn dial_back(peer: PeerId, endpoint: &Endpoint, nonce: u64) -> Result<(), Missed> {
    let mut swarm = swarm(|_| libp2p_stream::Behaviour::new()).ok_or(Missed::Connection)?;
    // Why not is not told: it names somebody who may be a client.
    connect(&mut swarm, peer, endpoint).await.map_err(|_| Missed::Connection)?;
    let mut control = swarm.behaviour().new_control();
    let said = async {
        // Whoever listens has room for one new stream at a time, and lets those that come beside it go unheard.
        for _ in 0..TRIES {
            if let Ok(BackAnswer { status }) = say(&mut control, peer, nonce).await {
                return status == 0;
            }
            sleep(AGAIN).await;
        }
        false
    };
    let mut said = pin!(timeout(ANSWER, said));
    let said = loop {
        tokio::select! {
            said = &mut said => break said,
            _ = swarm.select_next_some() => {}
        }
    };
    // The other side need not find out by waiting.
    let _ = swarm.disconnect_peer_id(peer);
    let closed = async {
        while swarm.is_connected(&peer) {
            swarm.select_next_some().await;
        }
    };
    let _ = timeout(GOODBYE, closed).await;
    if matches!(said, Ok(true)) { Ok(()) } else { Err(Missed::Answer) }
}

/// Says over a stream of its own what a peer is to hear.
async fn say(control: &mut Control, peer: PeerId, nonce: u64) -> io::Result<BackAnswer> {
    let mut stream = control.open_stream(peer, wire::BACK).await.map_err(io::Error::other)?;
    wire::send(&mut stream, &Back { nonce }).await?;
    wire::receive(&mut stream).await
}

async fn connect<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    peer: PeerId,
    endpoint: &Endpoint,
) -> Result<(), String> {
    let options = DialOpts::peer_id(peer).addresses(vec![multiaddr(endpoint)]).build();
    swarm.dial(options).map_err(|error| error.to_string())?;
    let came = async {
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = &event
                && *peer_id == peer
            {
                break Ok(());
            }
            if let SwarmEvent::OutgoingConnectionError { error, .. } = event {
                break Err(error.to_string());
            }
        }
    };
    timeout(PATIENCE, came).await.unwrap_or_else(|_| Err(format!("no answer in {} s", PATIENCE.as_secs())))
}

/// With a key that nobody knows.
pub(super) fn swarm<B: NetworkBehaviour>(
    behaviour: impl FnOnce(&identity::Keypair) -> B,
) -> Option<Swarm<B>> {
    let key = identity::Keypair::generate_ed25519();
    let builder = libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
        .ok()?
        .with_quic()
        .with_behaviour(behaviour)
        .ok()?;
    Some(builder.with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE)).build())
}

/// Which hears from others what they see.
fn identify(key: &identity::Keypair) -> identify::Behaviour {
    let config = identify::Config::new("/session/stranger/1".to_owned(), key.public());
    identify::Behaviour::new(config.with_hide_listen_addrs(true))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest of the open-ended set are no IP addresses")]
fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}
