//! Endpoints and node ids as libp2p writes them.

use core::net::IpAddr;

use libp2p::{Multiaddr, PeerId, identity::ed25519, multiaddr::Protocol};

use crate::{
    KeyPair, NodeId, Prefix,
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

/// The prefix that a connection's remote address lies in; none when it does not begin with an IP address.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest of the open-ended set are no IP addresses")]
pub fn prefix(address: &Multiaddr) -> Option<Prefix> {
    let ip = match address.iter().next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    Some(Prefix::of(ip))
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

    #[test]
    fn a_connection_comes_from_a_prefix() {
        for (address, prefix) in [
            ("/ip4/127.0.1.1/udp/9/quic-v1", "127.0.1.0/24"),
            ("/ip6/2001:db8:1:2::3/tcp/9", "2001:db8:1::/48"),
            ("/ip6/::ffff:127.0.1.1/tcp/9", "127.0.1.0/24"),
        ] {
            assert_eq!(super::prefix(&address.parse().unwrap()), prefix.parse().ok(), "{address}");
        }
        assert_eq!(super::prefix(&"/dns4/localhost/tcp/9".parse().unwrap()), None);
    }
}
