//! The ledger: a pure state machine from ordered inputs to members, swarm maps, rewards and checkpoints.
//!
//! It takes blocks and does not care who ordered them; equal blocks give equal ledgers everywhere.
//!
//! An epoch ends at a *border*: the last block whose time lies in it. There the map that was known acts, and
//! the next one is computed: out of the members registered in blocks before the border, with a seed made from
//! the border block's hash, which nobody knew when they registered. It acts one epoch later. So a node that
//! registers waits for two borders until it is active, and one that deregisters stays in its swarm for up to
//! two. The first map of a network, before which nobody served, acts at once.
//!
//! ```text
//! registered --> border: seed, next map known --> border: map acts, node active
//! ```
//!
//! At each border the rewards of the epoch are divided, and a [`Checkpoint`] says what came of everything.

use core::num::NonZeroU64;
use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};
use session_protocols::identity::blake2b;
use session_protocols::{Maps, NodeId, SwarmMap, mutants};

pub use amount::{Amount, AmountError};
pub use checkpoint::{Checkpoint, Roots, Standing};
pub use input::{Block, Border, Cursor, Cursors, Event, Input, LedgerError, Refusal};
pub use member::{Member, Operator, OperatorError, State};
use placement::{Seat, Swarms};
pub use placement::{SwarmRule, SwarmRuleError};
pub use registration::{BlsKey, BlsKeyError, Domain, Registration, Share, StakeId};
pub use rewards::Rewards;
pub use roll::{Listed, Roll};
pub use session_protocols::prefix::{Prefix, PrefixError};

mod amount;
pub mod checkpoint;
mod dice;
mod input;
mod member;
pub mod merkle;
pub mod placement;
pub mod registration;
mod rewards;
mod roll;
pub mod snapshot;
mod stakes;
#[cfg(test)]
mod tests;

/// Seconds in an epoch by default.
pub const EPOCH_SECONDS: NonZeroU64 = NonZeroU64::MIN.saturating_add(3_599);
/// How long a node must have been active to earn, in seconds, by default: a day.
pub const ACTIVE_FOR: u64 = 24 * 3_600;
/// The fewest nodes whose checkpoint the contract takes, until the chain says otherwise: it never takes one of fewer.
pub const MINIMUM_NODES: u64 = 4;
/// How long the stake of a node that lost its place stays locked, in seconds, by default: 30 days.
pub const LOCK: u64 = 30 * 24 * 3_600;

/// What the ledgers of one network have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// When epoch 0 begins, in seconds since 1970.
    pub genesis: u64,
    /// Seconds from one border to the next. [`EPOCH_SECONDS`] by default.
    pub epoch_seconds: NonZeroU64,
    /// How long a node must have been active to earn, in seconds, until the chain says otherwise.
    /// [`ACTIVE_FOR`] by default.
    pub active_for: u64,
    /// How long the stake of a node that lost its place stays locked, in seconds. [`LOCK`] by default.
    pub lock: u64,
    /// Which contracts; zeros where there is no chain.
    pub domain: Domain,
    /// How nodes are seated in swarms.
    pub swarms: SwarmRule,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            genesis: 0,
            epoch_seconds: EPOCH_SECONDS,
            active_for: ACTIVE_FOR,
            lock: LOCK,
            domain: Domain { chain: 0, staking: Address::ZERO, checkpoints: Address::ZERO },
            swarms: SwarmRule::default(),
        }
    }
}

/// A node that a network begins with, without a stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Which one.
    pub node: NodeId,
    /// Who runs it.
    pub operator: Operator,
    /// Where it declares to stand.
    pub prefix: Prefix,
}

/// A registration that holds a stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stake {
    /// For which node.
    pub node: NodeId,
    /// The key it signs checkpoints with; the contract counts it whether or not the nodes took the node.
    pub bls: BlsKey,
    /// Why the nodes refuse the node: then the next checkpoint lets the stake be paid back in full.
    pub refused: Option<Refusal>,
}

/// The members of a network, its swarm maps and its rewards, at some height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    parameters: Parameters,
    height: u64,
    time: u64,
    epoch: u64,
    members: BTreeMap<NodeId, Member>,
    stakes: BTreeMap<StakeId, Stake>,
    /// The map before, if the last border changed it.
    past: Option<SwarmMap>,
    map: SwarmMap,
    next: Option<SwarmMap>,
    rewards: Rewards,
    /// How long a node must have been active to earn, in seconds.
    active_for: u64,
    /// The fewest nodes whose checkpoint the contract takes.
    minimum_nodes: u64,
    /// The digest of the last border's checkpoint; zero before the first.
    digest: B256,
    /// The epoch and digest of the last checkpoint that the contract accepted.
    accepted: Option<(u64, B256)>,
}

impl Ledger {
    /// The beginning of a network whose nodes register on a chain: nobody is a member.
    pub fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            height: 0,
            time: parameters.genesis,
            epoch: 0,
            members: BTreeMap::new(),
            stakes: BTreeMap::new(),
            past: None,
            map: SwarmMap { version: 0, swarms: BTreeMap::new() },
            next: None,
            rewards: Rewards::default(),
            active_for: parameters.active_for,
            minimum_nodes: MINIMUM_NODES,
            digest: B256::ZERO,
            accepted: None,
        }
    }

    /// The beginning of a network without a chain: its founders are all placed at once, in map version 1. Who
    /// founds twice is counted once.
    pub fn genesis(
        parameters: Parameters,
        seed: [u8; 32],
        founders: impl IntoIterator<Item = Founder>,
    ) -> Self {
        let mut ledger = Self::new(parameters);
        for (id, Founder { node, operator, prefix }) in (1..).zip(founders) {
            let member = Member::new(StakeId(id), operator, prefix, 0);
            ledger.members.entry(node).or_insert(member);
        }
        ledger.map.version = 1;
        ledger.map.swarms = ledger.plan(blake2b(&[b"session swarms at genesis", &seed]), u64::MAX);
        ledger.activate(parameters.genesis, &mut Vec::new());
        ledger
    }

    /// Applies the next block and tells what it did.
    ///
    /// # Errors
    /// When the block does not follow, or a border comes before it; nothing has changed then.
    pub fn apply(&mut self, block: &Block) -> Result<Vec<Event>, LedgerError> {
        if block.height <= self.height {
            return Err(LedgerError::Height { last: self.height, found: block.height });
        }
        if block.time < self.time {
            return Err(LedgerError::Time { last: self.time, found: block.time });
        }
        if block.time >= self.border() {
            return Err(LedgerError::Epoch { epoch: self.epoch });
        }
        self.height = block.height;
        self.time = block.time;
        Ok(block.inputs.iter().filter_map(|input| self.input(input)).collect())
    }

    /// Ends the epoch, and tells what that did and what the nodes sign; `names` is the root of the index of names
    /// there.
    ///
    /// # Errors
    /// When it is another epoch's end, or the border lies before a block that was applied; nothing has changed
    /// then.
    pub fn cross(&mut self, border: Border, names: B256) -> Result<(Vec<Event>, Checkpoint), LedgerError> {
        if border.epoch != self.epoch {
            return Err(LedgerError::Border { epoch: self.epoch, found: border.epoch });
        }
        if border.height < self.height {
            return Err(LedgerError::Height { last: self.height, found: border.height });
        }
        let mut events = Vec::new();
        let now = self.border();
        self.height = border.height;
        self.time = now;
        self.epoch = self.epoch.saturating_add(1);
        let earns = |member: &&Member| {
            let long = member.since.saturating_add(self.active_for) <= now;
            member.state == State::Active && long && !member.shares.is_empty()
        };
        let earners: Vec<&Member> = self.members.values().filter(earns).collect();
        self.rewards.divide(earners.into_iter());
        self.end_services(now, &mut events);
        self.past = None;
        if let Some(next) = self.next.take() {
            self.past = Some(core::mem::replace(&mut self.map, next));
            events.push(Event::MapActs { version: self.map.version });
        }
        self.activate(now, &mut events);
        self.plan_next(&border, now, &mut events);
        let checkpoint = Checkpoint::new(&self.parameters.domain, border, self.digest, self.roots(names));
        self.digest = checkpoint.digest;
        Ok((events, checkpoint))
    }

    /// The parameters that the ledger was made with.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The height of the last block applied or crossed.
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// The epoch that the next block belongs to, unless a border comes first.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the epoch ends, in seconds since 1970: its blocks are older.
    pub fn border(&self) -> u64 {
        let length = self.parameters.epoch_seconds.get();
        self.parameters.genesis.saturating_add(self.epoch.saturating_add(1).saturating_mul(length))
    }

    /// The map that acts.
    pub const fn map(&self) -> &SwarmMap {
        &self.map
    }

    /// The map that acts from the next border on; none when [`Self::map`] goes on.
    pub const fn next_map(&self) -> Option<&SwarmMap> {
        self.next.as_ref()
    }

    /// The maps that nodes go by until the next border.
    pub fn maps(&self) -> Maps {
        let (past, acts, next) = (self.past.clone(), self.map.clone(), self.next.clone());
        let mut maps = Maps { past, acts, next, leaving: BTreeSet::new() };
        let named = maps.nodes();
        maps.leaving = self.members.keys().copied().filter(|node| !named.contains(node)).collect();
        maps
    }

    /// What is known of a node; none when it is not a member.
    pub fn node(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// All members, in order of their ids.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (&NodeId, &Member)> {
        self.members.iter()
    }

    /// All registrations that hold a stake, in order of their numbers: who may sign the next checkpoint.
    pub fn stakes(&self) -> impl ExactSizeIterator<Item = (&StakeId, &Stake)> {
        self.stakes.iter()
    }

    /// What everybody has earned.
    pub const fn rewards(&self) -> &Rewards {
        &self.rewards
    }

    /// The digest of the last border's checkpoint; zero before the first.
    pub const fn digest(&self) -> B256 {
        self.digest
    }

    /// The fewest nodes whose checkpoint the contract takes.
    pub const fn minimum_nodes(&self) -> u64 {
        self.minimum_nodes
    }

    /// The epoch and digest of the last checkpoint that the contract accepted.
    pub const fn accepted(&self) -> Option<(u64, B256)> {
        self.accepted
    }

    /// What the next checkpoint says of each registration, in order of their numbers, with the penalty.
    pub fn standings(&self) -> impl Iterator<Item = (StakeId, Standing, u16)> {
        self.stakes.iter().map(|(id, stake)| {
            let member = self.members.get(&stake.node).filter(|_| stake.refused.is_none());
            let standing = member
                .map_or(Standing::Refused, |member| member.standing(self.time, self.serves(&stake.node)));
            (*id, standing, member.map_or(0, |member| member.penalty))
        })
    }

    /// The tree of [`Self::standings`] and of the ledger as a whole: the checkpoint's, right behind its border.
    pub fn states_tree(&self) -> merkle::Tree {
        let states =
            self.standings().map(|(id, standing, penalty)| checkpoint::state_leaf(id, standing, penalty));
        let ledger = checkpoint::ledger_leaf(self.commitment());
        merkle::Tree::new(states.chain([ledger]).collect())
    }

    fn roots(&self, names: B256) -> Roots {
        let roll = self.roll();
        Roots {
            rewards: checkpoint::rewards_tree(self.rewards.totals()).root(),
            states: self.states_tree().root(),
            swarms: roll.swarms_root(),
            directory: roll.directory_root(),
            names,
        }
    }

    /// Whether a map that is known names the node.
    fn serves(&self, node: &NodeId) -> bool {
        let next = self.next.as_ref();
        [Some(&self.map), next].into_iter().flatten().any(|map| map.swarm_with(node).is_some())
    }

    fn plan_next(&mut self, border: &Border, now: u64, events: &mut Vec<Event>) {
        let height = border.height;
        let seed = blake2b(&[b"session swarms at a border", &height.to_be_bytes(), border.hash.as_slice()]);
        // Not what the border block itself registered: who made that block knew its hash.
        let swarms = self.plan(seed, height);
        if swarms == self.map.swarms {
            return;
        }
        let version = self.map.version.saturating_add(1);
        if self.map.swarms.is_empty() || mutants::on("act-at-once") {
            self.map = SwarmMap { version, swarms };
            events.push(Event::MapActs { version });
            self.activate(now, events);
        } else {
            self.next = Some(SwarmMap { version, swarms });
            events.push(Event::MapKnown { version });
        }
    }

    /// Brings the members' states in line with the map that acts.
    fn activate(&mut self, now: u64, events: &mut Vec<Event>) {
        let seated = |map: &SwarmMap| map.swarms.values().flatten().copied().collect::<BTreeSet<NodeId>>();
        let acts = seated(&self.map);
        let known = self.next.as_ref().map(seated).unwrap_or_default();
        self.members.retain(|node, member| match member.state {
            State::Awaiting if acts.contains(node) => {
                member.state = State::Active;
                member.since = now;
                events.push(Event::Activated { node: *node });
                true
            }
            State::Deregistered if !acts.contains(node) && !known.contains(node) => {
                if !member.left {
                    member.left = true;
                    events.push(Event::Left { node: *node });
                }
                // Its stake is still to be paid back, or there is none.
                !member.removed && !member.shares.is_empty()
            }
            State::Awaiting | State::Active | State::Decommissioned | State::Deregistered => true,
        });
    }

    /// Seats all that stay and were registered below `height`.
    fn plan(&self, seed: [u8; 32], height: u64) -> Swarms {
        let stays = |member: &Member| match member.state {
            State::Awaiting | State::Active => member.registered < height,
            State::Decommissioned | State::Deregistered => false,
        };
        let seats = self.members.iter().filter(|(_, member)| stays(member)).map(|(node, member)| Seat {
            node: *node,
            operator: member.operator,
            prefix: member.prefix,
        });
        self.parameters.swarms.plan(&self.map.swarms, seats, seed)
    }
}
