//! Endpoints and node ids as libp2p writes them.

use libp2p::{Multiaddr, PeerId, identity::ed25519, multiaddr::Protocol};

use crate::{
    KeyPair, NodeId,
    directory::{Endpoint, Transport},
};

/// The multiaddr of an endpoint.
pub fn multiaddr(endpoint: &Endpoint) -> Multiaddr {
    let address = Multiaddr::empty().with(endpoint.ip.into());
    match endpoint.transport {
        Transport::Quic => address.with(Protocol::Udp(endpoint.port)).with(Protocol::QuicV1),
        Transport::Tcp => address.with(Protocol::Tcp(endpoint.port)),
    }
}

/// The endpoint that a multiaddr names, if it is of a kind that nodes listen on.
pub fn endpoint(address: &Multiaddr) -> Option<Endpoint> {
    address.to_string().split("/p2p/").next()?.parse().ok()
}

/// The libp2p identity of a node; none when the id is not a point of the curve.
pub fn peer_id(node: &NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(libp2p::identity::PublicKey::from(key).to_peer_id())
}

/// The node behind a libp2p identity, if its key is an Ed25519 one.
pub fn node_id(peer: &PeerId) -> Option<NodeId> {
    // An Ed25519 key is short enough to stand in the id itself, behind a head of 6 bytes.
    let bytes = peer.to_bytes();
    let key = bytes.strip_prefix(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20])?;
    Some(NodeId::from_bytes(key.try_into().ok()?))
}

/// A key pair as libp2p holds it.
pub fn keypair(pair: &KeyPair) -> Option<libp2p::identity::Keypair> {
    let mut seed = *pair.seed();
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_and_its_peer_id_are_one() {
        let pair = KeyPair::from_seed(&[7; 32]);
        let peer = keypair(&pair).unwrap().public().to_peer_id();
        assert_eq!(peer_id(&pair.node_id()), Some(peer));
        assert_eq!(node_id(&peer), Some(pair.node_id()));
    }

    #[test]
    fn endpoints_and_multiaddrs_are_one() {
        for text in ["/ip4/127.0.1.1/udp/9/quic-v1", "/ip6/::1/tcp/9"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(multiaddr(&endpoint).to_string(), text);
            assert_eq!(super::endpoint(&multiaddr(&endpoint)), Some(endpoint));
        }
    }
}
