//! A node's way from its registration to its stake.

use super::*;

fn standing(chain: &Chain, number: u32) -> Option<Standing> {
    let id = StakeId(1_000 + u64::from(number));
    chain.ledger.standings().find_map(|(one, standing, _)| (one == id).then_some(standing))
}

fn exit(number: u32, unlocks: u64) -> Input {
    Input::RequestExit { id: StakeId(1_000 + u64::from(number)), unlocks }
}

fn remove(number: u32) -> Input {
    Input::Remove { id: StakeId(1_000 + u64::from(number)) }
}

fn refused(input: Input, reason: Refusal) -> [Event; 1] {
    [Event::Refused { input, reason }]
}

#[test]
fn a_node_joins_serves_exits_and_is_paid_back() {
    let mut chain = Chain::new(started(12));
    assert_eq!(chain.block(vec![register(50)]), [Event::Registered { node: node(50) }]);
    assert_eq!((chain.state(50), standing(&chain, 50)), (Some(State::Awaiting), Some(Standing::Awaiting)));
    chain.border();
    assert_eq!((chain.state(50), chain.placed(50)), (Some(State::Awaiting), [false, true]));
    chain.border();
    assert!(chain.events.contains(&Event::Activated { node: node(50) }));
    assert_eq!((chain.state(50), chain.placed(50)), (Some(State::Active), [true, true]));
    // It serves until its time has come.
    let unlocks = chain.ledger.border() + 1;
    assert_eq!(chain.block(vec![exit(50, unlocks)]), [Event::Exiting { node: node(50), unlocks }]);
    assert_eq!(*chain.block(vec![exit(50, 1)]), refused(exit(50, 1), Refusal::Leaving));
    chain.border();
    assert_eq!((chain.state(50), chain.placed(50)), (Some(State::Active), [true, true]));
    chain.border();
    assert!(chain.events.contains(&Event::Deregistered { node: node(50) }));
    assert_eq!((chain.state(50), chain.placed(50)), (Some(State::Deregistered), [true, false]));
    assert_eq!(standing(&chain, 50), Some(Standing::Deregistered));
    assert_eq!(*chain.block(vec![register(50)]), refused(register(50), Refusal::Registration));
    chain.border();
    assert!(chain.events.contains(&Event::Left { node: node(50) }));
    assert_eq!(standing(&chain, 50), Some(Standing::Released));
    assert_eq!(chain.block(vec![remove(50)]), []);
    assert_eq!((chain.state(50), standing(&chain, 50)), (None, None));
    assert_eq!(*chain.block(vec![remove(50)]), refused(remove(50), Refusal::Unknown));
    assert_eq!(chain.block(vec![register(50)]), [Event::Registered { node: node(50) }]);
}

#[test]
fn a_registration_that_nodes_do_not_take_is_paid_back() {
    let mut chain = Chain::new(started(12));
    let stranger = Registration { operator: account(9), ..registration(1_050, 50) };
    let stranger =
        Registration { shares: vec![Share { contributor: account(9), ..stranger.shares[0] }], ..stranger };
    let other = |id: u64, change: fn(&mut Registration)| {
        let mut registration = registration(id, 50);
        change(&mut registration);
        Input::Register(Box::new(registration))
    };
    let refusals = [
        (Input::Register(Box::new(stranger)), Refusal::Unsigned),
        (other(1_051, |one| one.signature.0[5] ^= 1), Refusal::Unsigned),
        (other(1_052, |one| one.prefix = prefix(51)), Refusal::Unsigned),
        (other(1_053, |one| one.bls.0[0] ^= 1), Refusal::Unsigned),
        (Input::Register(Box::new(registration(1_054, 3))), Refusal::Registered),
    ];
    for (input, reason) in refusals {
        assert_eq!(*chain.block(vec![input.clone()]), refused(input, reason));
    }
    // The key was not taken by who could not sign for it.
    assert_eq!(
        chain.block(vec![Input::Register(Box::new(registration(1_060, 50)))]),
        [Event::Registered { node: node(50) }]
    );
    let standings: Vec<_> = chain.ledger.standings().map(|(id, standing, _)| (id.0, standing)).collect();
    let refused = (1_050..1_055).map(|id| (id, Standing::Refused));
    assert_eq!(standings, refused.chain([(1_060, Standing::Awaiting)]).collect::<Vec<_>>());
    assert_eq!(chain.block(vec![Input::Remove { id: StakeId(1_051) }]), []);
    assert_eq!((chain.ledger.standings().count(), chain.state(50)), (5, Some(State::Awaiting)));
}

#[test]
fn what_the_contract_cannot_have_let_through_holds_no_stake() {
    let mut chain = Chain::new(started(12));
    let broken: [fn(&mut Registration); 5] = [
        |one| one.shares.clear(),
        |one| one.shares[0].contributor = account(9_999),
        |one| one.shares[0].amount = Amount::ZERO,
        |one| one.shares = vec![one.shares[0]; 11],
        |one| one.fee = 10_001,
    ];
    for change in broken {
        let mut registration = registration(1_050, 50);
        change(&mut registration);
        let input = Input::Register(Box::new(registration));
        assert_eq!(*chain.block(vec![input.clone()]), refused(input, Refusal::Registration));
    }
    assert_eq!(chain.ledger.stakes().len(), 0);
}

#[test]
fn a_node_that_lost_its_place_is_locked_and_pays() {
    let mut chain = Chain::new(started(12));
    chain.block(vec![register(50)]);
    chain.border();
    chain.border();
    let lost = Input::Deregister { node: node(50), penalty: 200 };
    assert_eq!(chain.block(vec![lost.clone()]), [Event::Deregistered { node: node(50) }]);
    assert_eq!(*chain.block(vec![lost.clone()]), refused(lost, Refusal::Leaving));
    assert_eq!(*chain.block(vec![exit(50, 1)]), refused(exit(50, 1), Refusal::Leaving));
    let mut standings = Vec::new();
    for _ in 0..4 {
        chain.border();
        standings.extend(chain.ledger.standings().map(|(_, standing, penalty)| (standing, penalty)));
    }
    let locked = (Standing::Deregistered, 200);
    assert_eq!(standings, [locked, locked, (Standing::Released, 200), (Standing::Released, 200)]);
}

#[test]
fn a_node_that_failed_serves_again_when_it_passes() {
    let mut chain = Chain::new(started(12));
    let [fails, passes] = [Input::Decommission { node: node(5) }, Input::Recommission { node: node(5) }];
    assert_eq!(*chain.block(vec![passes.clone()]), refused(passes.clone(), Refusal::State));
    assert_eq!(chain.block(vec![fails.clone()]), [Event::Decommissioned { node: node(5) }]);
    assert_eq!(*chain.block(vec![fails.clone()]), refused(fails, Refusal::State));
    chain.border();
    assert_eq!(chain.placed(5), [true, false]);
    chain.border();
    assert_eq!((chain.state(5), chain.placed(5)), (Some(State::Decommissioned), [false, false]));
    assert_eq!(chain.block(vec![passes]), [Event::Recommissioned { node: node(5) }]);
    chain.border();
    chain.border();
    assert_eq!((chain.state(5), chain.placed(5)), (Some(State::Active), [true, true]));
}

#[test]
fn a_stake_that_went_by_the_escape_hatch_takes_its_node_along() {
    let mut chain = Chain::new(started(12));
    chain.block(vec![register(50), register(51)]);
    chain.border();
    chain.border();
    chain.block(vec![register(52)]);
    // One that no map names, and one that serves.
    assert_eq!(chain.block(vec![remove(52)]), [Event::Left { node: node(52) }]);
    assert_eq!(chain.block(vec![remove(50)]), [Event::Deregistered { node: node(50) }]);
    assert_eq!((chain.state(50), chain.state(52)), (Some(State::Deregistered), None));
    chain.border();
    chain.border();
    assert!(chain.events.contains(&Event::Left { node: node(50) }));
    assert_eq!((chain.state(50), chain.state(51)), (None, Some(State::Active)));
}

#[test]
fn a_node_that_goes_before_its_map_acts_serves_until_it_is_out() {
    let mut chain = Chain::new(started(12));
    chain.block(vec![register(50)]);
    chain.border();
    chain.block(vec![remove(50)]);
    assert_eq!((chain.state(50), chain.placed(50)), (Some(State::Deregistered), [false, true]));
    chain.border();
    assert_eq!(chain.placed(50), [true, false]);
    chain.border();
    assert_eq!(chain.state(50), None);
}
