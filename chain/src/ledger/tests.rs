use std::collections::BTreeMap;

use proptest::prelude::*;
use session_protocols::identity::blake2b;

use super::*;

fn node(number: u32) -> NodeId {
    NodeId::from_bytes(blake2b(&[b"node", &number.to_be_bytes()]))
}

fn register(number: u32) -> Input {
    let mut operator = [0; 20];
    operator[16..].copy_from_slice(&(number % 23).to_be_bytes());
    let [_, a, b, c] = (number % 31).to_be_bytes();
    Input::Register {
        node: node(number),
        operator: Operator::from_bytes(operator),
        prefix: Prefix::V4([a, b, c]),
    }
}

fn parameters(epoch_blocks: u64) -> Parameters {
    Parameters { epoch_blocks: NonZeroU64::new(epoch_blocks).unwrap(), ..Parameters::default() }
}

fn block(height: u64, inputs: Vec<Input>) -> Block {
    Block { height, hash: blake2b(&[b"block", &height.to_be_bytes()]), inputs }
}

fn started(nodes: u32, epoch_blocks: u64) -> Ledger {
    Ledger::genesis(parameters(epoch_blocks), [7; 32], (0..nodes).map(register)).0
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
    let inputs = (0..12).map(register).chain([register(3), Input::Deregister { node: node(99) }]);
    let (ledger, events) = Ledger::genesis(Parameters::default(), [7; 32], inputs);
    assert_eq!((ledger.map().version, ledger.map().swarms.len()), (1, 2));
    assert_eq!((ledger.height(), ledger.epoch(), ledger.next_map()), (0, 0, None));
    assert_eq!(ledger.nodes().len(), 12);
    assert!(ledger.nodes().all(|(_, member)| member.state == State::Active));
    assert!(ledger.nodes().map(|(node, _)| node).is_sorted());
    assert!(events.contains(&Event::Refused { input: register(3), reason: Refusal::Registered }));
    assert!(events.contains(&Event::Activated { node: node(3) }));
}

#[test]
fn a_network_may_begin_empty() {
    let mut ledger = started(0, 1);
    assert!(ledger.map().swarms.is_empty());
    ledger.apply(&block(1, (0..12).map(register).collect())).unwrap();
    ledger.apply(&block(2, vec![])).unwrap();
    ledger.apply(&block(3, vec![])).unwrap();
    assert_eq!((ledger.map().version, ledger.map().swarms.len()), (2, 2));
}

#[test]
fn a_node_joins_and_leaves_in_the_course_of_epochs() {
    let mut ledger = started(12, 10);
    let mut at = |height: u64, inputs: Vec<Input>| {
        let next = ledger.height() + 1;
        (next..height)
            .for_each(|height| assert_eq!(ledger.apply(&block(height, vec![])), Ok(expected(height))));
        let events = ledger.apply(&block(height, inputs)).unwrap();
        let state = ledger.node(&node(50)).map(|member| member.state);
        let maps = [Some(ledger.map()), ledger.next_map()];
        let placed = maps.map(|map| map.is_some_and(|map| map.swarm_with(&node(50)).is_some()));
        (events, state, placed)
    };
    /// Two swaps at each border make a new map.
    fn expected(height: u64) -> Vec<Event> {
        let version = height / 10;
        let acts = Event::MapActs { version };
        let known = Event::MapKnown { version: version + 1 };
        match (height % 10, version) {
            (0, 1) => vec![known],
            (0, _) => vec![acts, known],
            _ => vec![],
        }
    }
    let joined = at(5, vec![register(50)]);
    assert_eq!(joined, (vec![Event::Registered { node: node(50) }], Some(State::Awaiting), [false, false]));
    assert_eq!(at(10, vec![]), (expected(10), Some(State::Awaiting), [false, true]));
    let (events, state, placed) = at(20, vec![]);
    assert!(events.contains(&Event::Activated { node: node(50) }));
    assert_eq!((state, placed), (Some(State::Active), [true, true]));
    let leaves = at(25, vec![Input::Deregister { node: node(50) }]);
    assert_eq!(leaves, (vec![Event::Deregistered { node: node(50) }], Some(State::Leaving), [true, true]));
    for input in [Input::Deregister { node: node(50) }, register(50)] {
        let refused = Event::Refused { input: input.clone(), reason: Refusal::Leaving };
        let height = if input == register(50) { 27 } else { 26 };
        assert_eq!(at(height, vec![input]).0, [refused]);
    }
    assert_eq!(at(30, vec![]), (expected(30), Some(State::Leaving), [true, false]));
    let (events, state, placed) = at(40, vec![]);
    assert!(events.contains(&Event::Left { node: node(50) }));
    assert_eq!((state, placed), (None, [false, false]));
}

#[test]
fn what_a_border_block_registers_waits_for_the_next_border() {
    let mut ledger = started(12, 1);
    ledger.apply(&block(1, vec![register(50)])).unwrap();
    assert_eq!(ledger.next_map().unwrap().swarm_with(&node(50)), None);
    ledger.apply(&block(2, vec![])).unwrap();
    assert!(ledger.next_map().unwrap().swarm_with(&node(50)).is_some());
}

#[test]
fn a_node_that_was_not_placed_leaves_at_once() {
    let mut ledger = started(12, 10);
    ledger.apply(&block(1, vec![register(50)])).unwrap();
    let events = ledger.apply(&block(2, vec![Input::Deregister { node: node(50) }])).unwrap();
    assert_eq!(events, [Event::Left { node: node(50) }]);
    assert_eq!(ledger.node(&node(50)), None);
    let events = ledger.apply(&block(3, vec![Input::Deregister { node: node(50) }])).unwrap();
    let refused = Event::Refused { input: Input::Deregister { node: node(50) }, reason: Refusal::Unknown };
    assert_eq!(events, [refused]);
}

#[test]
fn a_node_that_goes_before_its_map_acts_serves_until_it_is_out() {
    let mut ledger = started(12, 10);
    let mut states = Vec::new();
    for height in 1..=30 {
        let inputs = match height {
            1 => vec![register(50)],
            15 => vec![Input::Deregister { node: node(50) }],
            _ => vec![],
        };
        ledger.apply(&block(height, inputs)).unwrap();
        states.push(ledger.node(&node(50)).map(|member| member.state));
    }
    states.dedup();
    assert_eq!(states, [Some(State::Awaiting), Some(State::Leaving), None]);
}

#[test]
fn a_map_goes_on_while_nothing_changes() {
    let swarms = SwarmRule::new(5, 7, 10, 0).unwrap();
    let (mut ledger, _) =
        Ledger::genesis(Parameters { swarms, ..parameters(1) }, [7; 32], (0..12).map(register));
    for height in 1..5 {
        assert_eq!(ledger.apply(&block(height, vec![])), Ok(vec![]));
    }
    assert_eq!((ledger.map().version, ledger.next_map(), ledger.epoch()), (1, None, 4));
}

#[test]
fn blocks_must_follow_one_another() {
    let (mut ledger, _) = Ledger::genesis(Parameters { start: 100, ..parameters(10) }, [7; 32], []);
    for found in [0, 1, 100, 102] {
        assert_eq!(
            ledger.apply(&block(found, vec![register(1)])),
            Err(LedgerError::Height { last: 100, found })
        );
    }
    assert_eq!(ledger.nodes().len(), 0);
    assert_eq!(ledger.apply(&block(101, vec![])), Ok(vec![]));
    let error = ledger.apply(&block(101, vec![])).unwrap_err();
    assert_eq!(error.to_string(), "block 101 cannot follow block 101");
}

/// A fixed history; if this hash changes, nodes of different builds disagree about who keeps what.
#[test]
fn the_rule_is_the_same_for_all_builds() {
    let mut ledger = started(40, 3);
    assert_eq!(fingerprint(ledger.map()), "616b39e5e680940a2c63e1edb7fbd765bfe4a3d5e8580aa3abe9ccbebac3c951");
    for height in 1..=90_u32 {
        let join = (height % 2 == 0).then(|| register(100 + height));
        let leave = (height % 3 == 0).then(|| Input::Deregister { node: node(height % 40) });
        ledger.apply(&block(height.into(), join.into_iter().chain(leave).collect())).unwrap();
    }
    assert_eq!(ledger.map().version, 30);
    assert_eq!(fingerprint(ledger.map()), "6684571ba0c627af5c46c6f718fef2b18efdcecc89757dda8f0a3d161bf3020e");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_map_is_known_for_an_epoch_and_names_all_members(
        start in 0..60_u32,
        history in proptest::collection::vec(proptest::collection::vec((any::<bool>(), 0..90_u32), 0..6), 0..60),
        order in any::<u64>(),
    ) {
        let inputs: BTreeMap<u64, Input> =
            (0..start).map(|number| (u64::from(number).wrapping_mul(order | 1), register(number))).collect();
        let (mut ledger, _) = Ledger::genesis(parameters(4), [7; 32], inputs.into_values());
        prop_assert_eq!(&ledger, &started(start, 4), "the order of registrations does not matter");
        for (height, changes) in (1_u64..).zip(history) {
            let known = ledger.next_map().cloned();
            let before = ledger.map().clone();
            let input = |(joins, number)| if joins { register(number) } else { Input::Deregister { node: node(number) } };
            ledger.apply(&block(height, changes.into_iter().map(input).collect())).unwrap();
            let acts = if height % 4 == 0 { known.unwrap_or(before) } else { before };
            prop_assert_eq!(ledger.map(), &acts);
            for (node, member) in ledger.nodes() {
                let here = ledger.map().swarm_with(node).is_some();
                let next = ledger.next_map().unwrap_or_else(|| ledger.map()).swarm_with(node).is_some();
                match member.state {
                    State::Awaiting => prop_assert!(!here),
                    State::Active => prop_assert!(here && next),
                    State::Leaving => prop_assert!(here || next),
                }
            }
            for node in ledger.map().swarms.values().flatten() {
                prop_assert!(ledger.node(node).is_some());
            }
        }
    }
}
