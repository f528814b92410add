//! The nodes that the door for the clients that exist tells of: those that say that they have one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use session_protocols::{
    NodeId, SwarmMap,
    directory::{Directory, NodeRecord, Transport},
    door::nodes::{DoorNode, Listing},
    identity::to_x25519,
    request::numbers,
};
use tokio::{sync::watch, time::Instant};

/// A list longer than [`SHORT`] is made anew at most this often.
const PAUSE: Duration = Duration::from_secs(1);
const SHORT: usize = 64;

/// The list, as it is told, and what it is made of again.
pub(crate) struct Doors {
    told: watch::Sender<Arc<Listing>>,
    /// Of each node that was on the list: its key as clients use it, which is dear to make.
    keys: BTreeMap<NodeId, [u8; 32]>,
    rules: [u64; 2],
    stale: bool,
    made: Instant,
}

impl Doors {
    /// An empty list of a network that goes by these rules, and where it is told.
    pub(crate) fn new(rules: [u64; 2]) -> (Self, watch::Receiver<Arc<Listing>>) {
        let (told, listing) = watch::channel(Arc::new(Listing::new(Vec::new(), 0, rules)));
        (Self { told, keys: BTreeMap::new(), rules, stale: true, made: Instant::now() }, listing)
    }

    /// Something has changed that it is made of.
    pub(super) const fn change(&mut self) {
        self.stale = true;
    }

    /// Makes it anew, where something has changed. Says whether it did.
    pub(super) fn refresh(&mut self, directory: &Directory, map: &SwarmMap, height: u64) -> bool {
        let waits = directory.len() > SHORT && self.made.elapsed() < PAUSE;
        if !self.stale || waits {
            return false;
        }
        (self.stale, self.made) = (false, Instant::now());
        let swarms = map.swarms.iter();
        let swarms: BTreeMap<_, _> =
            swarms.flat_map(|(swarm, members)| members.iter().map(|node| (*node, *swarm))).collect();
        let listed = directory.said().filter_map(|said| {
            Some(DoorNode { swarm: swarms.get(&said.node).copied(), ..self.listed(said)? })
        });
        let nodes: Vec<_> = listed.collect();
        self.keys = nodes.iter().map(|node| (node.id, node.x25519)).collect();
        self.told.send_replace(Arc::new(Listing::new(nodes, height, self.rules)));
        true
    }

    fn listed(&self, said: &NodeRecord) -> Option<DoorNode> {
        let https = said.door?;
        // Those clients know four bytes of address; where a node has none of these, the first of what it has.
        let first = said.endpoints.iter().min_by_key(|one| !one.ip.is_ipv4())?;
        let known = self.keys.get(&said.node).copied();
        let x25519 = known.or_else(|| to_x25519(said.node.as_bytes()))?;
        let quic = said.endpoints.iter().find(|one| one.transport == Transport::Quic && one.ip == first.ip);
        Some(DoorNode {
            id: said.node,
            x25519,
            ip: first.ip,
            https,
            quic: quic.map_or(0, |endpoint| endpoint.port),
            swarm: None,
            version: numbers(&said.version).map(|part| u16::try_from(part).unwrap_or(u16::MAX)),
        })
    }
}

#[cfg(test)]
mod tests {
    use session_protocols::{
        KeyPair,
        answer::RULES,
        directory::{Endpoint, OnionDoor},
    };

    use super::*;

    #[test]
    fn clients_are_told_of_an_address_of_four_bytes_wherever_it_stands() {
        let over = |transport, ip: &str, port| Endpoint { transport, ip: ip.parse().unwrap(), port };
        let (six, four) = ("2001:db8::1", "192.0.2.1");
        let listed = |endpoints: Vec<Endpoint>| {
            let said = NodeRecord {
                node: KeyPair::from_seed(&[1; 32]).node_id(),
                time: 1,
                height: 0,
                border: [0; 32].into(),
                endpoints,
                onion: OnionDoor { day: 0, key: [9; 32].into(), aes: true },
                version: "1.2.3".to_owned(),
                door: Some(443),
            };
            let node = Doors::new(RULES).0.listed(&said).unwrap();
            (node.ip.to_string(), node.quic)
        };
        let (quic, tcp) = (Transport::Quic, Transport::Tcp);
        let both = vec![over(quic, six, 1), over(tcp, six, 2), over(quic, four, 3), over(tcp, four, 4)];
        assert_eq!(listed(both), (four.to_owned(), 3));
        assert_eq!(listed(vec![over(tcp, six, 2), over(tcp, four, 4)]), (four.to_owned(), 0));
        assert_eq!(listed(vec![over(quic, six, 1)]), (six.to_owned(), 1), "where there is no other");
    }
}
