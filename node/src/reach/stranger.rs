//! A peer of a moment, with a key of its own: to see where one comes from, and whether somebody is where they say.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, identify, identity,
    multiaddr::Protocol,
    noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use session_chain::NetworkFile;
use session_protocols::{
    NodeId,
    directory::Endpoint,
    libp2p::address::{multiaddr, peer_id},
};
use tokio::time::timeout;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How many nodes are asked.
const ASKED: usize = 4;
/// How many have to say the same to be believed at once.
const AGREE: usize = 2;

/// The address that nodes of the network file see this machine come from: what two of them say, or most of those that
/// answered in time; none where nobody did. They may be wrong, or lie: it has to be dialled.
pub async fn observed(network: &NetworkFile) -> Option<IpAddr> {
    let mut swarm = swarm()?;
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
    let (Some(mut swarm), Some(peer)) = (swarm(), peer_id(node)) else {
        return Err("this machine cannot dial, or that is no node's key".to_owned());
    };
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

/// With a key that nobody knows, and Identify alone.
fn swarm() -> Option<Swarm<identify::Behaviour>> {
    let key = identity::Keypair::generate_ed25519();
    let config =
        identify::Config::new("/session/stranger/1".to_owned(), key.public()).with_hide_listen_addrs(true);
    let builder = libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
        .ok()?
        .with_quic()
        .with_behaviour(|_| identify::Behaviour::new(config))
        .ok()?;
    Some(builder.with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE)).build())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest of the open-ended set are no IP addresses")]
fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}
