//! A client that keeps to no rule: it has packets sent to strangers.

use session_protocols::{
    KeyPair, NodeId,
    directory::OnionDoor,
    onion::{
        keys::Keyring,
        replay::stamp,
        size::Bucket,
        wrap::{Entry, Hop, Question, wrap},
    },
};

use crate::sim::{
    dice::Dice,
    onion::{
        checks::Truth,
        world::{Party, SERVICE, START, Say, Word, World},
    },
};

#[derive(Debug)]
pub(in crate::sim::onion) struct Rogue {
    /// Somebody who is no node, and how it would be entered.
    stranger: NodeId,
    door: OnionDoor,
}

impl Rogue {
    pub(in crate::sim::onion) fn new(dice: &mut Dice) -> Self {
        let keys = Keyring::new(START, dice.array()).unwrap_or_else(|| unreachable!("any bytes are a key"));
        let stranger = KeyPair::from_seed(&dice.array()).node_id();
        Self { stranger, door: OnionDoor::of(&keys.current, false) }
    }
}

impl World {
    /// Sends a packet that leads to a stranger, at any place but the first.
    pub(in crate::sim::onion) fn mischief(&mut self) {
        let mut chain: Vec<_> = Vec::new();
        while chain.len() < 4 {
            let node = &self.nodes[self.dice.hostile.index(self.nodes.len())];
            let Some(door) = node.open_door() else { return };
            if chain.iter().all(|(known, _)| *known != node.id) {
                chain.push((node.id, door));
            }
        }
        let place = self.dice.hostile.between(1, 3) as usize;
        chain[place] = (self.rogue.stranger, self.rogue.door);
        let Ok(chain) = <[(NodeId, OnionDoor); 4]>::try_from(chain) else { return };
        let random = [(); 4].map(|()| self.dice.hostile.array::<64>());
        let hops = [0, 1, 2, 3].map(|at: usize| {
            let (node, door) = &chain[at];
            Hop { node: *node, entry: Entry::First { door: door.door(false), random: random[at].into() } }
        });
        let answer = Bucket::ALL[0];
        let question = Question { service: SERVICE, request: b"strange", answer, stamp: stamp(self.now) };
        let Ok((bytes, _)) = wrap(&self.network, hops, &question) else { return };
        let (packet, exchange) = (self.number(), self.number());
        self.checks.sealed(packet, Truth::new(chain.map(|(node, _)| node), answer, answer, Vec::new()));
        self.counts.strange += 1;
        let (from, to) = (Party::Client(self.clients.len()), Party::Node(self.index[&chain[0].0]));
        let say = Say::Packet(bytes);
        self.send(Word { from, to, life: 0, exchange, say, packet, spoilt: false });
    }
}
