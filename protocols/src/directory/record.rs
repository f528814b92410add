//! What a node says of itself, and how it is signed.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use curve25519_dalek::MontgomeryPoint;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::MAX_RECORD;
use crate::{
    KeyPair, NetworkName, NodeId, Signature, Statement, codec, identity,
    onion::{
        keys::DayKey,
        layer::Door,
        noise::{PUBLIC, Suite},
    },
};

/// A way to reach a node, shown as a multiaddr such as `/ip4/127.0.1.1/udp/22021/quic-v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Over what.
    pub transport: Transport,
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

/// What a node is reached over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// TCP with Noise and Yamux.
    Tcp,
}

impl Endpoint {
    /// Whether everybody can dial it: its address belongs to no range that is kept for something else, as
    /// [`is_public`](super::is_public) says.
    pub fn is_public(&self) -> bool {
        super::is_public(self.ip)
    }
}

/// A text is not an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address such as /ip4/127.0.1.1/udp/22021/quic-v1 or /ip6/::1/tcp/22021")]
pub struct EndpointError;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Who.
    pub node: NodeId,
    /// When it said so, in milliseconds since 1970.
    pub time: u64,
    /// The height of the last border of the ledger that it knew.
    pub height: u64,
    /// That border's block hash.
    pub border: ByteArray<32>,
    /// Where it is reached, best first; at most [`MAX_ENDPOINTS`](super::MAX_ENDPOINTS).
    pub endpoints: Vec<Endpoint>,
    /// What onion packets for it are sealed to.
    pub onion: OnionDoor,
    /// The version of its software.
    pub version: String,
    /// The port of its door for the clients that exist, at the address of its first endpoint of IPv4, of IPv6 where
    /// it has no other; none where it has no such door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<u16>,
}

/// How a node is entered by onion packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnionDoor {
    /// The last byte of the number of the key's day, counted from 1970.
    pub day: u8,
    /// The key's public half.
    pub key: ByteArray<PUBLIC>,
    /// Whether the node is fast at AES.
    pub aes: bool,
}

impl OnionDoor {
    /// The door that this key opens, at a node that is fast at AES or not.
    pub fn of(key: &DayKey, aes: bool) -> Self {
        Self { day: key.day(), key: ByteArray::new(*key.key.public()), aes }
    }

    /// Whether packets can be sealed to it: its key is none of those few with which every secret is known to all.
    pub fn is_sound(&self) -> bool {
        MontgomeryPoint(*self.key).mul_clamped([1; PUBLIC]) != MontgomeryPoint([0; PUBLIC])
    }

    /// The door for a client that is fast at AES or not.
    pub fn door(&self, aes: bool) -> Door<'_> {
        let suite = if aes && self.aes { Suite::Aes } else { Suite::ChaCha };
        Door { suite, day: self.day, public: &self.key }
    }
}

/// A record as it travels: the exact bytes that were signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord {
    /// An encoded [`NodeRecord`].
    pub record: ByteBuf,
    /// By the node that the record names.
    pub signature: Signature,
}

impl NodeRecord {
    /// Signs the record with the node's key.
    pub fn sign(&self, network: &NetworkName, pair: &KeyPair) -> SignedRecord {
        let record = codec::encode(self);
        let signature = pair.sign(statement(network, &record).as_bytes());
        SignedRecord { record: ByteBuf::from(record), signature }
    }
}

impl SignedRecord {
    /// Reads the record, if the node that it names has signed it and can be entered.
    pub fn open(&self, network: &NetworkName) -> Option<NodeRecord> {
        let record: NodeRecord = codec::decode(&self.record, MAX_RECORD).ok()?;
        let signed = identity::verify(
            record.node.as_bytes(),
            statement(network, &self.record).as_bytes(),
            &self.signature,
        );
        (signed && record.onion.is_sound()).then_some(record)
    }
}

fn statement(network: &NetworkName, record: &[u8]) -> Statement {
    Statement::new("node-record", network).bytes(record)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "/ip4/{ip}")?,
            IpAddr::V6(ip) => write!(f, "/ip6/{ip}")?,
        }
        match self.transport {
            Transport::Quic => write!(f, "/udp/{}/quic-v1", self.port),
            Transport::Tcp => write!(f, "/tcp/{}", self.port),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (family, ip, transport, port) = match parts.as_slice() {
            ["", family, ip, "udp", port, "quic-v1"] => (family, ip, Transport::Quic, port),
            ["", family, ip, "tcp", port] => (family, ip, Transport::Tcp, port),
            _ => return Err(EndpointError),
        };
        let ip: IpAddr = ip.parse().map_err(|_| EndpointError)?;
        let expected = if ip.is_ipv4() { "ip4" } else { "ip6" };
        let port = port.parse().map_err(|_| EndpointError)?;
        if *family == expected { Ok(Self { transport, ip, port }) } else { Err(EndpointError) }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_whose_key_keeps_no_secret_is_none() {
        let network: NetworkName = "test".parse().unwrap();
        let pair = KeyPair::from_seed(&[1; 32]);
        let opened = |key: [u8; PUBLIC]| {
            let record = NodeRecord {
                node: pair.node_id(),
                time: 1,
                height: 0,
                border: [0; 32].into(),
                endpoints: vec!["/ip4/127.0.1.1/tcp/9".parse().unwrap()],
                onion: OnionDoor { day: 1, key: key.into(), aes: true },
                version: "1".into(),
                door: None,
            };
            record.sign(&network, &pair).open(&network).is_some()
        };
        let number = |low: u8, high: u8| {
            let mut key = [if high == 0 { 0 } else { 0xff }; PUBLIC];
            (key[0], key[PUBLIC - 1]) = (low, high);
            key
        };
        // 0, 1, -1, the modulus and one more, each of low order or written in another way.
        for key in [number(0, 0), number(1, 0), number(0xec, 0x7f), number(0xed, 0x7f), number(0xee, 0x7f)] {
            assert!(!opened(key), "{key:?}");
        }
        assert!(opened([9; PUBLIC]));
    }

    #[test]
    fn endpoints_are_shown_as_they_are_read() {
        for text in ["/ip4/127.0.1.1/udp/22021/quic-v1", "/ip6/::1/tcp/22021"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for wrong in ["", "/ip4/::1/tcp/1", "/ip4/127.0.0.1/tcp/70000", "/dns4/a/tcp/1", "/ip4/1.2.3.4/udp/1"]
        {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
