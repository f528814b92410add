//! What changes for the task that owns libp2p when the ledger has gone on: who is a node, and who has to do
//! with this one.

use std::collections::BTreeSet;

use libp2p::PeerId;
use session_protocols::{NodeId, Prefix, directory::Input, identity::blake2b, libp2p::address::peer_id};
use tokio::time::Instant;

use super::{Dialling, Network, OTHERS, REDIAL};
use crate::{member::Job, now, records::Asked, registry::Registry};

impl Network {
    /// Goes by what the registry says now.
    pub(super) fn change(&mut self, dialling: &mut Dialling) {
        let now = self.registry.borrow_and_update().clone();
        let before = self.seen.replace(now.clone());
        self.tell_directory(before.as_ref(), &now);
        let before = before.unwrap_or_default();
        self.recognise(&before, &now, dialling);
        dialling.clocks.keep(now.nodes());
        if before.maps() != now.maps() {
            self.go_by(&now, dialling);
        }
        if before.prefix(&self.me()) != now.prefix(&self.me()) {
            self.listening();
        }
        self.doors.change();
        self.choose(dialling);
        self.count(dialling);
    }

    pub(super) fn me(&self) -> NodeId {
        self.pair.node_id()
    }

    /// The border that records name, and who agrees on snapshots; the members are told first, whose records
    /// may have waited for that border.
    fn tell_directory(&mut self, before: Option<&Registry>, now: &Registry) {
        let told = before.map_or_else(|| now.listed(), Registry::listed_next);
        let members = now.listed_next();
        if told != members {
            // The first map acts at once, and so do its nodes.
            let period = if told.is_empty() { 0 } else { now.next_period(self.timing) };
            self.directory.handle(crate::now(), Input::Members { period, members });
        }
        if before.is_none_or(|before| before.border() != now.border()) {
            let (height, hash) = now.border();
            self.directory.handle(crate::now(), Input::Border { height, hash });
        }
    }

    /// Whoever has become a node is one from here on, and whoever is none any more has to come as a stranger.
    fn recognise(&mut self, before: &Registry, now: &Registry, dialling: &mut Dialling) {
        let me = self.me();
        let others = |nodes: &BTreeSet<NodeId>| nodes.iter().copied().filter(|node| *node != me).collect();
        let (were, are): (BTreeSet<_>, BTreeSet<_>) = (others(before.nodes()), others(now.nodes()));
        if were == are {
            return;
        }
        for peer in are.difference(&were).filter_map(peer_id) {
            self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
            if self.swarm.is_connected(&peer) {
                self.meet(peer, dialling);
            }
        }
        for node in were.difference(&are) {
            self.links.forget(node);
            if !self.first.contains(node) {
                self.places.remove(node);
            }
            let Some(peer) = peer_id(node) else { continue };
            let behaviour = self.swarm.behaviour_mut();
            behaviour.limits.remove_peer_id(&peer);
            behaviour.kad.remove_peer(&peer);
            // It was counted as a node.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        self.links.hop.set_nodes(are);
    }

    /// Exchanges records with a node in contact.
    pub(super) fn meet(&mut self, peer: PeerId, dialling: &mut Dialling) {
        self.directory.handle(now(), Input::Heard);
        self.ask(Asked::first(peer), dialling);
    }

    /// Goes by other maps. Who has to do with this node by them is kept in contact with, and reported to the
    /// member.
    fn go_by(&mut self, now: &Registry, dialling: &mut Dialling) {
        let (maps, me) = (now.maps().clone(), self.me());
        let fellows = maps.kin(&me).into_keys().filter(|node| *node != me).collect();
        let before = std::mem::replace(&mut self.fellows, fellows);
        dialling.owed.retain(|job| !matches!(job, Job::Maps(_)));
        dialling.owed.push_back(Job::Maps(Box::new(maps)));
        for node in before.difference(&self.fellows) {
            dialling.owe(*node, [Job::Disconnected(*node)]);
        }
        for node in self.fellows.difference(&before) {
            // Its pause may have grown long while it was one of many.
            dialling.dial_at.remove(node);
            if peer_id(node).is_some_and(|peer| self.swarm.is_connected(&peer)) {
                dialling.owe(*node, [Job::Disconnected(*node), Job::Connected(*node)]);
            }
        }
    }

    /// Dials those to keep in contact with, and nobody else.
    fn choose(&self, dialling: &mut Dialling) {
        dialling.kept = self.chosen();
        let kept = &dialling.kept;
        dialling.dial_at.retain(|node, _| kept.contains(node));
        let apart = |node: &&NodeId| peer_id(node).is_some_and(|peer| !self.swarm.is_connected(&peer));
        let now = Instant::now();
        for node in dialling.kept.iter().filter(apart) {
            dialling.dial_at.entry(*node).or_insert((now, REDIAL));
        }
    }

    /// The nodes to keep in contact with: the fellows, and of the rest some, those of the network file last
    /// where they are not registered. Everybody has another choice, so that all are chosen by some.
    fn chosen(&self) -> BTreeSet<NodeId> {
        let me = self.me();
        let known = |node: &&NodeId| self.is_registered(node) || self.first.contains(*node);
        let others = self.places.keys().filter(|node| **node != me && !self.fellows.contains(*node));
        let mut others: Vec<_> = others.filter(known).copied().collect();
        others.sort_by_cached_key(|node| {
            (!self.is_registered(node), blake2b(&[me.as_bytes(), node.as_bytes()]))
        });
        others.truncate(OTHERS);
        others.extend(&self.fellows);
        others.into_iter().collect()
    }

    /// The prefix that a node declared.
    pub(super) fn prefix(&self, node: &NodeId) -> Option<Prefix> {
        self.seen.as_ref().and_then(|registry| registry.prefix(node))
    }

    /// Whether somebody is a node of the network.
    pub(super) fn is_registered(&self, node: &NodeId) -> bool {
        self.seen.as_ref().is_some_and(|registry| registry.contains(node))
    }
}
