//! The ledger: a pure state machine from ordered inputs to members and swarm maps.
//!
//! It takes blocks and does not care who ordered them; equal blocks give equal ledgers everywhere.
//!
//! An epoch ends with a border block. There the map that was known acts, and the next one is computed: out
//! of the members registered in blocks before the border, with a seed made from the border block's hash,
//! which nobody knew when they registered. It acts one epoch later. So a node that registers waits for two
//! borders until it is active, and one that deregisters stays in its swarm for up to two.
//!
//! ```text
//! registered --> border: seed, next map known --> border: map acts, node active
//! ```

use core::num::NonZeroU64;
use std::collections::{BTreeMap, BTreeSet};

use session_protocols::identity::blake2b;
use session_protocols::{NodeId, SwarmMap};

pub use member::{Member, Operator, OperatorError, State};
use placement::{Seat, Swarms};
pub use placement::{SwarmRule, SwarmRuleError};
pub use session_protocols::prefix::{Prefix, PrefixError};

mod dice;
mod member;
pub mod placement;
#[cfg(test)]
mod tests;

/// Blocks in an epoch by default: an hour of Arbitrum, at four blocks a second.
pub const EPOCH_BLOCKS: NonZeroU64 = NonZeroU64::MIN.saturating_add(14_399);

/// What the ledgers of one network have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The height of the genesis; the first block is one above. 0 by default.
    pub start: u64,
    /// Blocks from one epoch's border to the next. [`EPOCH_BLOCKS`] by default.
    pub epoch_blocks: NonZeroU64,
    /// How nodes are seated in swarms.
    pub swarms: SwarmRule,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { start: 0, epoch_blocks: EPOCH_BLOCKS, swarms: SwarmRule::default() }
    }
}

/// One block of ordered inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// One more than that of the block before.
    pub height: u64,
    /// The block's hash; at a border it seeds the next map.
    pub hash: [u8; 32],
    /// What happened, in order.
    pub inputs: Vec<Input>,
}

/// Something that the chain says happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A node joins.
    Register {
        /// Which one.
        node: NodeId,
        /// Who runs it.
        operator: Operator,
        /// Where it declares to stand.
        prefix: Prefix,
    },
    /// A node goes.
    Deregister {
        /// Which one.
        node: NodeId,
    },
}

/// What a block did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node is a member and waits for its place.
    Registered {
        /// Which one.
        node: NodeId,
    },
    /// A node is going; it serves until [`Self::Left`].
    Deregistered {
        /// Which one.
        node: NodeId,
    },
    /// An input had no effect.
    Refused {
        /// Which one.
        input: Input,
        /// Why.
        reason: Refusal,
    },
    /// The map that was known acts from this block on.
    MapActs {
        /// Its version.
        version: u64,
    },
    /// The map that acts from the next border on is known.
    MapKnown {
        /// Its version.
        version: u64,
    },
    /// A node is in a map that acts, for the first time.
    Activated {
        /// Which one.
        node: NodeId,
    },
    /// A deregistered node is in no map any more, and forgotten.
    Left {
        /// Which one.
        node: NodeId,
    },
}

/// Why an input had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The node to register is a member.
    #[error("the node is registered already")]
    Registered,
    /// The node to deregister is not a member.
    #[error("the node is not registered")]
    Unknown,
    /// The node deregistered, and has not left its swarm so far.
    #[error("the node is leaving")]
    Leaving,
}

/// A block that does not follow; the ledger is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Blocks are missing, or this one has been applied.
    #[error("block {found} cannot follow block {last}")]
    Height {
        /// The height of the last block applied.
        last: u64,
        /// The height of the block offered.
        found: u64,
    },
}

/// The members of a network and its swarm maps, at some height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    parameters: Parameters,
    height: u64,
    members: BTreeMap<NodeId, Member>,
    map: SwarmMap,
    next: Option<SwarmMap>,
}

impl Ledger {
    /// A network's beginning: the nodes that `inputs` register are all placed at once, in map version 1.
    ///
    /// The events tell what was refused, as those of a block do.
    pub fn genesis(
        parameters: Parameters,
        seed: [u8; 32],
        inputs: impl IntoIterator<Item = Input>,
    ) -> (Self, Vec<Event>) {
        let map = SwarmMap { version: 1, swarms: BTreeMap::new() };
        let height = parameters.start;
        let mut ledger = Self { parameters, height, members: BTreeMap::new(), map, next: None };
        let mut events: Vec<Event> = inputs.into_iter().map(|input| ledger.input(input, height)).collect();
        ledger.map.swarms = ledger.plan(blake2b(&[b"session swarms at genesis", &seed]));
        ledger.activate(&mut events);
        (ledger, events)
    }

    /// Applies the next block and tells what it did.
    ///
    /// # Errors
    /// When the block is not the next one; nothing has changed then.
    pub fn apply(&mut self, block: &Block) -> Result<Vec<Event>, LedgerError> {
        if self.height.checked_add(1) != Some(block.height) {
            return Err(LedgerError::Height { last: self.height, found: block.height });
        }
        let mut events = Vec::new();
        self.height = block.height;
        if block.height.saturating_sub(self.parameters.start) % self.parameters.epoch_blocks == 0 {
            // Before the inputs: who made this block knew its hash, and could have tried several.
            self.cross_border(block, &mut events);
        }
        for input in &block.inputs {
            events.push(self.input(input.clone(), block.height));
        }
        Ok(events)
    }

    /// The parameters that the ledger was made with.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The height of the last block applied.
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// The epoch that the last block belongs to; the genesis begins epoch 0.
    pub fn epoch(&self) -> u64 {
        self.height.saturating_sub(self.parameters.start) / self.parameters.epoch_blocks
    }

    /// The map that acts.
    pub const fn map(&self) -> &SwarmMap {
        &self.map
    }

    /// The map that acts from the next border on; none when [`Self::map`] goes on.
    pub const fn next_map(&self) -> Option<&SwarmMap> {
        self.next.as_ref()
    }

    /// What is known of a node; none when it is not a member.
    pub fn node(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// All members, in order of their ids.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (&NodeId, &Member)> {
        self.members.iter()
    }

    fn input(&mut self, input: Input, height: u64) -> Event {
        let done = match input {
            Input::Register { node, operator, prefix } => self.register(node, operator, prefix, height),
            Input::Deregister { node } => self.deregister(node),
        };
        done.unwrap_or_else(|reason| Event::Refused { input, reason })
    }

    fn register(
        &mut self,
        node: NodeId,
        operator: Operator,
        prefix: Prefix,
        registered: u64,
    ) -> Result<Event, Refusal> {
        match self.members.get(&node).map(|member| member.state) {
            Some(State::Leaving) => Err(Refusal::Leaving),
            Some(State::Awaiting | State::Active) => Err(Refusal::Registered),
            None => {
                let member = Member { operator, prefix, state: State::Awaiting, registered };
                self.members.insert(node, member);
                Ok(Event::Registered { node })
            }
        }
    }

    fn deregister(&mut self, node: NodeId) -> Result<Event, Refusal> {
        let member = self.members.get_mut(&node).ok_or(Refusal::Unknown)?;
        let placed = self.next.as_ref().is_some_and(|next| next.swarm_with(&node).is_some());
        match member.state {
            State::Leaving => Err(Refusal::Leaving),
            State::Awaiting if !placed => {
                self.members.remove(&node);
                Ok(Event::Left { node })
            }
            State::Awaiting | State::Active => {
                member.state = State::Leaving;
                Ok(Event::Deregistered { node })
            }
        }
    }

    fn cross_border(&mut self, block: &Block, events: &mut Vec<Event>) {
        if let Some(next) = self.next.take() {
            self.map = next;
            events.push(Event::MapActs { version: self.map.version });
            self.activate(events);
        }
        let seed = blake2b(&[b"session swarms at a border", &block.height.to_be_bytes(), &block.hash]);
        let swarms = self.plan(seed);
        if swarms != self.map.swarms {
            let version = self.map.version.saturating_add(1);
            self.next = Some(SwarmMap { version, swarms });
            events.push(Event::MapKnown { version });
        }
    }

    /// Brings the members' states in line with the map that acts.
    fn activate(&mut self, events: &mut Vec<Event>) {
        let seated: BTreeSet<NodeId> = self.map.swarms.values().flatten().copied().collect();
        self.members.retain(|node, member| match (member.state, seated.contains(node)) {
            (State::Awaiting, true) => {
                member.state = State::Active;
                events.push(Event::Activated { node: *node });
                true
            }
            (State::Leaving, false) => {
                events.push(Event::Left { node: *node });
                false
            }
            (State::Awaiting | State::Active, false) | (State::Active | State::Leaving, true) => true,
        });
    }

    fn plan(&self, seed: [u8; 32]) -> Swarms {
        let staying = self.members.iter().filter(|(_, member)| member.state != State::Leaving);
        let seats = staying.map(|(node, member)| Seat {
            node: *node,
            operator: member.operator,
            prefix: member.prefix,
        });
        self.parameters.swarms.plan(&self.map.swarms, seats, seed)
    }
}
