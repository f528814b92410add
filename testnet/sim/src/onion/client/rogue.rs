//! Clients that keep to no rule: they have packets sent to strangers, and come in crowds.

use session_protocols::{
    KeyPair, NodeId,
    directory::OnionDoor,
    onion::{
        keys::Keyring,
        relay::MAX_UNDER_WAY,
        replay::stamp,
        shares::STRANGER_PART,
        size::Bucket,
        wrap::{Entry, Hop, Question, wrap},
    },
};

use crate::{
    dice::Dice,
    onion::{
        checks::Truth,
        world::{Party, SERVICE, START, Say, Word, World},
    },
};

/// Packets of a crowd: some more than the strangers of one address may have under way at a hop.
const CROWD: usize = MAX_UNDER_WAY / 2 / STRANGER_PART + 64;

#[derive(Debug)]
pub(in crate::onion) struct Rogue {
    /// Somebody who is no node, and how it would be entered.
    stranger: NodeId,
    door: OnionDoor,
}

impl Rogue {
    pub(in crate::onion) fn new(dice: &mut Dice) -> Self {
        let keys = Keyring::new(START, dice.array()).unwrap_or_else(|| unreachable!("any bytes are a key"));
        let stranger = KeyPair::from_seed(&dice.array()).node_id();
        Self { stranger, door: OnionDoor::of(&keys.current, false) }
    }
}

impl World {
    /// Once many of one address send more at once than it may have under way; then one, to a stranger.
    pub(in crate::onion) fn mischief(&mut self) {
        let Some(mut chain) = self.draw_chain() else { return };
        if self.counts.crowd == 0 {
            // One that is honest will be held to it.
            let honest = self.nodes.iter().filter(|node| !node.hostile);
            let entrance = honest
                .filter_map(|node| Some((node.id, node.open_door()?)))
                .find(|(node, _)| chain.iter().all(|(known, _)| known != node));
            let Some(entrance) = entrance else { return };
            chain[0] = entrance;
            for name in 0..CROWD {
                self.counts.crowd += 1;
                self.rogue_sends(name, &chain);
            }
            return;
        }
        let place = self.dice.hostile.between(1, 3) as usize;
        chain[place] = (self.rogue.stranger, self.rogue.door);
        self.counts.strange += 1;
        self.rogue_sends(0, &chain);
    }

    /// Four nodes that are there.
    fn draw_chain(&mut self) -> Option<[(NodeId, OnionDoor); 4]> {
        let mut chain: Vec<_> = Vec::new();
        while chain.len() < 4 {
            let node = &self.nodes[self.dice.hostile.index(self.nodes.len())];
            let door = node.open_door()?;
            if chain.iter().all(|(known, _)| *known != node.id) {
                chain.push((node.id, door));
            }
        }
        chain.try_into().ok()
    }

    fn rogue_sends(&mut self, name: usize, chain: &[(NodeId, OnionDoor); 4]) {
        let random = [(); 4].map(|()| self.dice.hostile.array::<64>());
        let hops = [0, 1, 2, 3].map(|at: usize| {
            let (node, door) = &chain[at];
            Hop { node: *node, entry: Entry::First { door: door.door(false), random: random[at].into() } }
        });
        let answer = Bucket::ALL[0];
        let question = Question { service: SERVICE, request: b"strange", answer, stamp: stamp(self.now) };
        let Ok((bytes, _)) = wrap(&self.network, hops, &question) else { return };
        let (packet, exchange) = (self.number(), self.number());
        let nodes = chain.map(|(node, _)| node);
        self.checks.sealed(packet, Truth::new(nodes, None, [answer; 2], Vec::new()));
        let (from, to) = (Party::Client(self.clients.len() + name), Party::Node(self.index[&nodes[0]]));
        let say = Say::Packet(bytes);
        self.send(Word { from, to, life: 0, exchange, say, packet, spoilt: false });
    }
}
