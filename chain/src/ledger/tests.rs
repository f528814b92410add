use std::collections::BTreeMap;

use alloy::primitives::B256;
use proptest::prelude::*;
use session_protocols::{KeyPair, identity::blake2b};

use super::*;

mod rewards;
mod snapshot;
mod states;
mod vectors;

/// How far apart borders are, in seconds.
const EPOCH: u64 = 10;

fn pair(number: u32) -> KeyPair {
    KeyPair::from_seed(&blake2b(&[b"node", &number.to_be_bytes()]))
}

fn node(number: u32) -> NodeId {
    pair(number).node_id()
}

fn account(number: u32) -> Address {
    let mut bytes = [0; 20];
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

fn prefix(number: u32) -> Prefix {
    let [_, a, b, c] = (number % 31).to_be_bytes();
    Prefix::V4([a, b, c])
}

fn founder(number: u32) -> Founder {
    Founder { node: node(number), operator: account(number % 23).into(), prefix: prefix(number) }
}

/// A signed registration of a node whose operator put all of its stake down.
fn registration(id: u64, number: u32) -> Registration {
    let operator = account(number % 23);
    let (prefix, bls) = (prefix(number), BlsKey([number as u8; 96]));
    let signature = pair(number).sign(&parameters().domain.registration(operator, prefix, &bls));
    let share = Share { contributor: operator, beneficiary: operator, amount: Amount::sesh(25_000) };
    let (id, node) = (StakeId(id), node(number));
    Registration { id, node, signature, operator, prefix, fee: 1_000, bls, shares: vec![share] }
}

/// Registers a node under its own number, and 1,000 so that founders' numbers are free.
fn register(number: u32) -> Input {
    Input::Register(Box::new(registration(1_000 + u64::from(number), number)))
}

fn parameters() -> Parameters {
    let [staking, checkpoints] = [1, 2].map(Address::repeat_byte);
    Parameters {
        epoch_seconds: NonZeroU64::new(EPOCH).unwrap(),
        active_for: 2 * EPOCH,
        lock: 3 * EPOCH,
        domain: Domain { chain: 31_337, staking, checkpoints },
        ..Parameters::default()
    }
}

fn started(nodes: u32) -> Ledger {
    Ledger::genesis(parameters(), [7; 32], (0..nodes).map(founder))
}

/// A ledger and the events of what was last done to it. Blocks are a second apart.
struct Chain {
    ledger: Ledger,
    events: Vec<Event>,
}

impl Chain {
    fn new(ledger: Ledger) -> Self {
        Self { ledger, events: Vec::new() }
    }

    /// The next block of the epoch.
    fn block(&mut self, inputs: Vec<Input>) -> &[Event] {
        let height = self.ledger.height() + 1;
        let block = Block { height, time: self.ledger.time, inputs };
        self.events = self.ledger.apply(&block).unwrap();
        &self.events
    }

    /// Ends the epoch with an empty block.
    fn border(&mut self) -> Checkpoint {
        let height = self.ledger.height() + 1;
        self.border_at(height)
    }

    fn border_at(&mut self, height: u64) -> Checkpoint {
        let hash = B256::from(blake2b(&[b"block", &height.to_be_bytes()]));
        let border = Border { epoch: self.ledger.epoch(), height, hash, cursors: Cursors::default() };
        let (events, checkpoint) = self.ledger.cross(border, B256::ZERO).unwrap();
        self.events = events;
        checkpoint
    }

    fn state(&self, number: u32) -> Option<State> {
        self.ledger.node(&node(number)).map(|member| member.state)
    }

    /// Whether the map that acts and the one that is known next name a node.
    fn placed(&self, number: u32) -> [bool; 2] {
        let maps = [Some(self.ledger.map()), self.ledger.next_map()];
        maps.map(|map| map.is_some_and(|map| map.swarm_with(&node(number)).is_some()))
    }
}

/// A map's hash: of its version and, in order, of each swarm's id, size and members.
fn fingerprint(map: &SwarmMap) -> String {
    let mut bytes = map.version.to_be_bytes().to_vec();
    for (swarm, members) in &map.swarms {
        bytes.extend(swarm.0.to_be_bytes());
        bytes.extend((members.len() as u64).to_be_bytes());
        members.iter().for_each(|node| bytes.extend(node.as_bytes()));
    }
    data_encoding::HEXLOWER.encode(&blake2b(&[&bytes]))
}

#[test]
fn genesis_places_all_nodes_at_once() {
    let ledger = Ledger::genesis(parameters(), [7; 32], (0..12).chain([3]).map(founder));
    assert_eq!((ledger.map().version, ledger.map().swarms.len()), (1, 2));
    assert_eq!((ledger.height(), ledger.epoch(), ledger.next_map()), (0, 0, None));
    assert_eq!(ledger.nodes().len(), 12);
    assert!(ledger.nodes().all(|(_, member)| member.state == State::Active));
    assert!(ledger.nodes().map(|(node, _)| node).is_sorted());
}

#[test]
fn a_network_may_begin_empty_and_its_first_map_acts_at_once() {
    let mut chain = Chain::new(Ledger::new(parameters()));
    chain.border();
    assert!(chain.ledger.map().swarms.is_empty());
    chain.block((0..12).map(register).collect());
    chain.border();
    assert_eq!((chain.ledger.map().version, chain.ledger.map().swarms.len()), (1, 2));
    assert!(chain.ledger.nodes().all(|(_, member)| member.state == State::Active));
}

#[test]
fn a_map_is_known_for_an_epoch_acts_for_one_and_is_remembered_for_one() {
    let mut chain = Chain::new(started(12));
    let first = chain.ledger.map().clone();
    assert_eq!(chain.ledger.maps(), Maps::from(first.clone()));
    chain.block(vec![Input::Decommission { node: node(4) }]);
    chain.border();
    let known = chain.ledger.maps();
    let second = known.next.clone().unwrap();
    assert_eq!((known.past, &known.acts, second.version), (None, &first, 2));
    assert!(second.swarm_with(&node(4)).is_none() && known.leaving.is_empty());
    chain.border();
    let acting = chain.ledger.maps();
    assert_eq!((acting.past.as_ref(), &acting.acts), (Some(&first), &second));
    assert!(acting.leaving.is_empty(), "the map before names it");
    chain.border();
    let later = chain.ledger.maps();
    assert_eq!(later.past, acting.next.map(|_| second));
    assert_eq!(later.leaving, [node(4)].into(), "it may still have something to hand over");
}

#[test]
fn a_map_goes_on_while_nothing_changes() {
    let swarms = SwarmRule::new(5, 7, 10, 0).unwrap();
    let parameters = Parameters { swarms, ..parameters() };
    let mut chain = Chain::new(Ledger::genesis(parameters, [7; 32], (0..12).map(founder)));
    for _ in 1..5 {
        chain.border();
        assert_eq!(chain.events, []);
    }
    assert_eq!((chain.ledger.map().version, chain.ledger.next_map(), chain.ledger.epoch()), (1, None, 4));
}

#[test]
fn what_a_border_block_registers_waits_for_the_next_border() {
    let mut chain = Chain::new(started(12));
    chain.block(vec![register(50)]);
    chain.border_at(1);
    assert_eq!(chain.placed(50), [false, false]);
    chain.border();
    assert_eq!(chain.placed(50), [false, true]);
}

#[test]
fn blocks_and_borders_must_follow_one_another() {
    let mut chain = Chain::new(Ledger::new(Parameters { genesis: 1_000, ..parameters() }));
    let block = |height, time| Block { height, time, inputs: vec![register(1)] };
    let border = |epoch, height| Border { epoch, height, hash: B256::ZERO, cursors: Cursors::default() };
    chain.ledger.apply(&Block { inputs: vec![], ..block(100, 1_005) }).unwrap();
    let before = chain.ledger.clone();
    let refused = [
        (block(100, 1_006), LedgerError::Height { last: 100, found: 100 }),
        (block(101, 1_004), LedgerError::Time { last: 1_005, found: 1_004 }),
        (block(101, 1_010), LedgerError::Epoch { epoch: 0 }),
    ];
    for (block, error) in refused {
        assert_eq!(chain.ledger.apply(&block), Err(error));
    }
    let refused = [
        (border(1, 100), LedgerError::Border { epoch: 0, found: 1 }),
        (border(0, 99), LedgerError::Height { last: 100, found: 99 }),
    ];
    for (border, error) in refused {
        assert_eq!(chain.ledger.cross(border, B256::ZERO), Err(error));
    }
    assert_eq!(chain.ledger, before);
    chain.ledger.cross(border(0, 100), B256::ZERO).unwrap();
    assert_eq!(chain.ledger.apply(&block(101, 1_009)), Err(LedgerError::Time { last: 1_010, found: 1_009 }));
    assert_eq!(chain.ledger.apply(&block(101, 1_010)).unwrap().len(), 1);
    let error = chain.ledger.apply(&block(101, 1_010)).unwrap_err();
    assert_eq!(error.to_string(), "block 101 cannot follow block 101");
}

/// A fixed history; if these change, nodes of different builds disagree about who keeps what, or sign
/// different checkpoints.
#[test]
fn the_rule_is_the_same_for_all_builds() {
    let mut chain = Chain::new(started(40));
    assert_eq!(
        fingerprint(chain.ledger.map()),
        "6fe9d116239dcf9ef9ccdb19ced7710c283ee4730962bf7620909fb7fd48fde6"
    );
    for epoch in 1..=30_u32 {
        let join = (epoch % 2 == 0).then(|| register(100 + epoch));
        let leave = (epoch % 3 == 0).then(|| Input::Deregister { node: node(epoch % 40), penalty: 0 });
        chain.block(join.into_iter().chain(leave).collect());
        chain.border();
    }
    assert_eq!(chain.ledger.map().version, 30);
    assert_eq!(
        fingerprint(chain.ledger.map()),
        "e652236e581e4ba23f11bfabe9f48a2819619f9812a79d2fca80698f13c7014a"
    );
    assert_eq!(
        chain.ledger.digest().to_string(),
        "0xefbaf3f5ad4ffb30473c3203c8cc08f79a04c262e21c255f82b9ca82b7c90553"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_map_is_known_for_an_epoch_and_names_all_members(
        start in 1..60_u32,
        history in proptest::collection::vec(proptest::collection::vec((any::<bool>(), 0..90_u32), 0..12), 0..20),
        order in any::<u64>(),
    ) {
        let founders: BTreeMap<u64, Founder> =
            (0..start).map(|number| (u64::from(number).wrapping_mul(order | 1), founder(number))).collect();
        let shuffled = Ledger::genesis(parameters(), [7; 32], founders.into_values());
        let mut chain = Chain::new(started(start));
        prop_assert_eq!(shuffled.map(), chain.ledger.map(), "the order of founders does not matter");
        let mut id = 1_000;
        for changes in history {
            let known = chain.ledger.next_map().cloned();
            let before = chain.ledger.map().clone();
            let input = |(joins, number): (bool, u32)| {
                id += 1;
                if joins {
                    Input::Register(Box::new(registration(id, number)))
                } else {
                    Input::Deregister { node: node(number), penalty: 0 }
                }
            };
            chain.block(changes.into_iter().map(input).collect());
            let checkpoint = chain.border();
            prop_assert!(before.swarms.is_empty() || chain.ledger.map() == &known.unwrap_or(before));
            for (node, member) in chain.ledger.nodes() {
                let here = chain.ledger.map().swarm_with(node).is_some();
                let next = chain.ledger.next_map().unwrap_or_else(|| chain.ledger.map());
                let next = next.swarm_with(node).is_some();
                match member.state {
                    State::Awaiting => prop_assert!(!here),
                    State::Active => prop_assert!(here && next),
                    State::Deregistered => prop_assert_eq!(member.left, !here && !next),
                    State::Decommissioned => prop_assert!(false, "nobody was"),
                }
            }
            for node in chain.ledger.map().swarms.values().flatten() {
                prop_assert!(chain.ledger.node(node).is_some());
            }
            let bytes = chain.ledger.to_bytes();
            prop_assert_eq!(Ledger::from_bytes(parameters(), &bytes), Ok(chain.ledger.clone()));
            let beside = crate::ledger::snapshot::Beside::of(&checkpoint);
            let behind = Ledger::behind(parameters(), &bytes, &beside, checkpoint.digest);
            prop_assert_eq!(behind, Ok((chain.ledger.clone(), checkpoint)));
        }
    }
}
