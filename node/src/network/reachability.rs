//! Where this node is to be reached: what the directory, those who dial back and those who watch are told of it.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId, upnp};
use session_protocols::{
    NodeId, Prefix,
    directory::{Endpoint, Input, MAX_ENDPOINTS},
    libp2p::address::{endpoint, node_id},
};

use super::{Announced, Dialling, Network};
use crate::{now, reach::Servers};

impl Network {
    /// The addresses that the node listens on have changed, or the prefix that it declared.
    pub(super) fn listening(&mut self) {
        let listening: Vec<_> = self.swarm.listeners().map(ToString::to_string).collect();
        let endpoints: Vec<Endpoint> = if self.announce.is_empty() {
            let own = listening.iter().filter_map(|address| address.parse().ok());
            let led: Vec<_> = self.contacts.borrow().reached.gateway.leads.iter().copied().collect();
            own.chain(led).collect()
        } else {
            self.announce.clone()
        };
        // Before it is registered it is asked about what its operator named, so that nobody stakes in vain.
        let named = if self.announce.is_empty() { &self.listen } else { &self.announce };
        let announced = Announced::new(self.prefix(&self.me()), endpoints.clone(), named);
        let asked = announced.inside.iter().chain(named.iter().filter(|one| endpoints.contains(one)));
        // On one machine everybody is reached.
        let asked = asked.take(if self.local { 0 } else { MAX_ENDPOINTS }).copied().collect();
        self.wanted.send_modify(|wanted| {
            wanted.addresses = asked;
            wanted.changes = wanted.changes.wrapping_add(1);
        });
        self.directory.handle(now(), Input::Listening(announced.inside.clone()));
        self.contacts.send_modify(|contacts| {
            contacts.listening = listening;
            contacts.announced = announced;
        });
    }

    /// The router leads ports here, or does not any more: others have to see.
    pub(super) fn led(&mut self, event: &upnp::Event) {
        tracing::debug!(?event, "the router was asked to lead ports here");
        self.contacts.send_modify(|contacts| contacts.reached.gateway.hear(now(), event));
        self.listening();
    }

    /// A node of the network came in over one of this node's transports: it is reached there.
    pub(super) fn reached(&self, peer: &PeerId, local: &Multiaddr) {
        let Some(node) = node_id(peer).filter(|node| self.is_registered(node)) else { return };
        if let Some(endpoint) = endpoint(local) {
            self.contacts.send_modify(|contacts| {
                contacts.reached.dialled.insert(endpoint.transport, (node, now()));
            });
        }
    }

    /// Tells who may be asked to dial back.
    pub(super) fn show_servers(&self, dialling: &Dialling) {
        let nodes = dialling.connections.peers().filter_map(node_id);
        let servers: BTreeMap<_, _> =
            nodes.filter_map(|node| Some((node, self.prefix_of_server(&node)?))).collect();
        let count = Servers::of(servers.values());
        self.contacts.send_if_modified(|contacts| {
            let other = contacts.reached.servers != count;
            contacts.reached.servers = count;
            other
        });
        self.wanted.send_if_modified(|wanted| {
            let other = wanted.servers != servers;
            if other {
                wanted.servers = servers;
            }
            other
        });
    }

    /// The prefix of a node of the network, by its registration, or by the network file where it has none yet; none
    /// of anybody else, nor of one that is known on this machine alone: its way here is not that of others.
    fn prefix_of_server(&self, node: &NodeId) -> Option<Prefix> {
        let first = || self.first.contains(node).then(|| from_afar(self.places.get(node)?)).flatten();
        self.prefix(node).or_else(first)
    }
}

/// The prefix of the first of these places that another machine can have.
fn from_afar(places: &[Endpoint]) -> Option<Prefix> {
    places.iter().find(|place| !place.ip.is_loopback()).map(|place| Prefix::of(place.ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_known_on_this_machine_alone_is_not_asked_how_others_get_here() {
        let [here, there] =
            ["/ip4/127.0.0.1/tcp/22021", "/ip4/45.4.0.2/tcp/22021"].map(|one| one.parse().unwrap());
        assert_eq!(from_afar(&[here]), None);
        assert_eq!(from_afar(&[here, there]), Some(Prefix::V4([45, 4, 0])));
    }
}
