mod guards;

use proptest::prelude::*;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{
    model::{START, apart, candidate, id},
    *,
};

type World = model::World<ChaCha8Rng>;

impl World {
    fn new(nodes: BTreeMap<NodeId, Candidate>, seed: u64) -> Self {
        Self::resume(nodes, seed, START, Guards::default())
    }

    fn resume(nodes: BTreeMap<NodeId, Candidate>, seed: u64, now: Time, guards: Guards) -> Self {
        Self::begin(nodes, ChaCha8Rng::seed_from_u64(seed), now, guards)
    }
}

const ALICE: Use = Use::Read(AccountId::from_bytes([5; 33]));
const BOB: Use = Use::Read(AccountId::from_bytes([6; 33]));

/// Whether three hops and this destination can be found at all.
fn possible(nodes: &BTreeMap<NodeId, Candidate>, chosen: &[NodeId]) -> bool {
    let fits = |node: &NodeId| {
        let fits = |other: &NodeId| choose::differ(&nodes[node], &nodes[other]);
        nodes[node].open && chosen.iter().all(fits)
    };
    chosen.len() > HOPS
        || nodes.keys().filter(|node| fits(node)).any(|node| possible(nodes, &[chosen, &[*node]].concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `check` looks at every path; what is possible is found, unless the guards stand in the way.
    #[test]
    fn hops_differ_and_are_found_where_there_are_any(
        kinds in proptest::collection::vec((0_u16..6, 0_u16..6, proptest::bool::weighted(0.9)), 1..14),
        seed: u64,
    ) {
        let nodes: BTreeMap<_, _> = kinds.iter().enumerate().map(|(number, (operator, prefix, open))| {
            (id(number as u16), Candidate { open: *open, ..candidate(*operator, *prefix) })
        }).collect();
        let mut world = World::new(nodes.clone(), seed);
        for (destination, node) in &nodes {
            match world.ask(Use::Send, *destination) {
                Ok((.., outcome)) => prop_assert_eq!(outcome, Outcome::Answered),
                Err(PathError::Destination) => prop_assert!(!node.open),
                Err(PathError::TooFew { nodes: count, open, .. }) => {
                    prop_assert!(!possible(&nodes, &[*destination]));
                    prop_assert_eq!(count, nodes.len());
                    prop_assert_eq!(open, nodes.values().filter(|node| node.open).count());
                }
                Err(PathError::Near | PathError::Guards { .. }) => {
                    prop_assert!(possible(&nodes, &[*destination]));
                }
                Err(PathError::Busy | PathError::Unkept) => prop_assert!(false),
            }
        }
    }

    /// Whatever happens in whatever order: nothing is due for ever, all is bounded, and every want
    /// is answered.
    #[test]
    fn anything_in_any_order(steps in proptest::collection::vec((0_u8..9, any::<u16>()), 1..200), seed: u64) {
        let mut world = World::new(apart(9), seed);
        for (step, number) in steps {
            let node = id(number % 9);
            match step {
                0 | 1 => drop(world.want([ALICE, BOB, Use::Send][usize::from(number % 3)], node, vec![])),
                2 => drop(world.dead.insert(node)),
                3 => drop(world.dead.remove(&node)),
                4 => drop(world.liars.insert(node)),
                5 => world.pass(Span::secs(number.into())),
                6 => world.feed(Input::Rebuild),
                7 => {
                    let outcome = [Outcome::Slow, Outcome::Silent, Outcome::Unheard, Outcome::Refused,
                        Outcome::Unreached, Outcome::Answered, Outcome::Busy,
                        Outcome::Stopped { by: usize::from(number), destination: node }][usize::from(number % 8)];
                    world.feed(Input::Outcome { path: PathId(u64::from(number % 64)), outcome });
                }
                _ => {
                    let left: BTreeMap<_, _> = apart(9).into_iter().filter(|(other, _)| *other != node).collect();
                    world.feed(Input::Nodes(left));
                }
            }
            prop_assert!(world.machine.paths.len() <= 3 * MAX_PATHS + MAX_KEPT_TESTS);
            prop_assert!(world.machine.guards().all().len() <= 16);
        }
        world.pass(Span(WAIT.0 * 2));
        prop_assert_eq!(world.results.len() as u64, world.ticket);
        world.pass(Span(LIFETIME.0 * 2));
        prop_assert_eq!((world.machine.paths.len(), world.machine.uses.len()), (0, 0));
    }
}

/// Tests under way for each guard that is remembered.
const MAX_KEPT_TESTS: usize = 16 * TESTS;

#[test]
fn too_few_nodes_are_told_from_other_troubles() {
    let mut world = World::new(apart(3), 1);
    let error = world.ask(Use::Send, id(0)).unwrap_err();
    assert_eq!(error, PathError::TooFew { nodes: 3, open: 3, operators: 3, prefixes: 3 });
    assert_eq!(
        error.to_string(),
        "a path needs 3 hops and a destination of different operators and prefixes: 3 of the network's 3 \
         nodes can be used now, of 3 operators in 3 prefixes"
    );
    // Twelve nodes of three operators are too few as well.
    let nodes = (0..12).map(|number| (id(number), candidate(number % 3, number))).collect();
    let error = World::new(nodes, 1).ask(Use::Send, id(0)).unwrap_err();
    assert!(matches!(error, PathError::TooFew { nodes: 12, operators: 3, prefixes: 12, .. }), "{error}");
    // Four that differ suffice for each of them.
    let mut world = World::new(apart(4), 1);
    for number in 0..4 {
        assert_eq!(world.ask(Use::Send, id(number)).unwrap().2, Outcome::Answered);
    }
    assert_eq!(world.ask(Use::Send, id(9)).unwrap_err(), PathError::Destination);
}

#[test]
fn a_clock_that_is_set_back_makes_no_path_live_longer() {
    let mut world = World::new(apart(30), 2);
    let (before, ..) = world.ask(Use::Send, id(29)).unwrap();
    world.now = Time(world.now.0 - Span::secs(3_600).0);
    world.feed(Input::Tick);
    assert!(world.closed.contains(&before));
    let (after, ..) = world.ask(Use::Send, id(29)).unwrap();
    // What a clock wanders by as it is set right all the time changes nothing.
    world.now = Time(world.now.0 - Span::millis(900).0);
    world.feed(Input::Tick);
    assert!(!world.closed.contains(&after));
}

#[test]
fn a_path_serves_one_use_and_lives_for_ten_minutes() {
    let mut world = World::new(apart(30), 2);
    let mut used: BTreeMap<PathId, (Use, Time)> = BTreeMap::new();
    let mut hops = BTreeSet::new();
    for round in 0..720_u16 {
        for usage in [ALICE, BOB, Use::Send, Use::Look] {
            let (path, through, _) = world.ask(usage, id(29)).unwrap();
            let (first, since) = *used.entry(path).or_insert((usage, world.now));
            assert_eq!(first, usage, "a path of another use");
            assert!(world.now.since(since) < LIFETIME && !world.closed.contains(&path));
            let shown = world.machine.paths().find(|shown| shown.path == path).unwrap();
            // Paths are there before they are needed: all but a use's first were tried before.
            let before = shown.made < world.now || world.now > since || round == 0;
            assert!(before, "{usage:?} {round}: made when it was needed");
            assert!(world.now.since(shown.made) < Span(LIFETIME.0 - LAST.0));
            hops.insert(through);
        }
        world.pass(Span::secs(10));
    }
    // Two hours: two paths at a time, each for seven to nine minutes.
    assert!((4 * 24..4 * 36).contains(&used.len()), "{} paths", used.len());
    assert!(hops.len() > 40, "other hops each time");
    let alive: Vec<_> = used.keys().filter(|path| !world.closed.contains(path)).collect();
    assert!(alive.len() <= 8, "what is over is closed");
}

#[test]
fn a_use_that_is_wanted_no_longer_costs_nothing() {
    let mut world = World::new(apart(30), 3);
    world.ask(Use::Send, id(29)).unwrap();
    world.pass(Span(RECENT.0 + LIFETIME.0));
    let probes = world.probes;
    assert_eq!((world.machine.paths().count(), world.machine.deadline()), (0, None));
    world.pass(Span::days(1));
    assert_eq!(world.probes, probes);
}

#[test]
fn a_stopped_path_is_closed_and_a_dead_destination_closes_none() {
    let mut world = World::new(apart(30), 4);
    let (path, [_, middle, _], _) = world.ask(Use::Send, id(29)).unwrap();
    world.dead.insert(id(28));
    let (same, _, outcome) = world.ask(Use::Send, id(28)).unwrap();
    assert_eq!((same, outcome), (path, Outcome::Stopped { by: 2, destination: id(28) }));
    assert_eq!(world.ask(Use::Send, id(29)).unwrap().0, path);
    world.dead.insert(middle);
    assert_eq!(world.ask(Use::Send, id(29)).unwrap().2, Outcome::Stopped { by: 0, destination: id(29) });
    assert!(world.closed.contains(&path));
    assert_ne!(world.ask(Use::Send, id(29)).unwrap().0, path);
}

#[test]
fn a_second_try_takes_another_path_by_another_guard() {
    let mut world = World::new(apart(30), 5);
    for usage in [ALICE, Use::Send] {
        let (path, hops, _) = world.ask(usage, id(29)).unwrap();
        world.feed(Input::Outcome { path, outcome: Outcome::Slow });
        let ticket = world.want(usage, id(29), vec![hops]);
        let (other, others) = world.results[&ticket].unwrap();
        assert_ne!(other, path);
        assert!(others.iter().all(|hop| !hops.contains(hop)), "nothing in common");
    }
}

/// Nothing speaks against the first guard, and there is no spare so far.
#[test]
fn a_second_try_goes_by_the_other_guard_though_the_first_is_well() {
    let mut world = World::new(apart(30), 5);
    let (path, hops, _) = world.ask(Use::Send, id(29)).unwrap();
    world.feed(Input::Outcome { path, outcome: Outcome::Stopped { by: 1, destination: id(29) } });
    assert!(world.closed.contains(&path) && world.machine.is_up(hops[0]));
    let ticket = world.want(Use::Send, id(29), vec![hops]);
    assert_ne!(world.results[&ticket].unwrap().1[0], hops[0]);
}

#[test]
fn after_silence_the_spare_by_the_other_guard_is_used_at_once() {
    let mut world = World::new(apart(30), 6);
    let (path, hops, _) = world.ask(Use::Send, id(29)).unwrap();
    world.pass(Span::secs(2));
    let spare = world.machine.paths().find(|shown| shown.path != path).unwrap();
    assert_eq!((spare.state, spare.usage), (State::Ready, Use::Send));
    assert_ne!(spare.hops[0], hops[0]);
    world.dead.insert(hops[0]);
    world.feed(Input::Outcome { path, outcome: Outcome::Slow });
    let ticket = world.want(Use::Send, id(29), vec![hops]);
    assert_eq!(world.results[&ticket], Ok((spare.path, spare.hops)));
}

#[test]
fn a_spare_that_cannot_be_made_is_tried_less_and_less_often() {
    let mut world = World::new(apart(12), 6);
    world.ask(Use::Send, id(11)).unwrap();
    let guards = world.guards();
    // Whatever is sent gets to the middle, and no further.
    world.liars.extend((0..11).map(id).filter(|node| !guards.contains(node)));
    world.feed(Input::Rebuild);
    let before = world.probes;
    world.pass(Span(RECENT.0 - 1));
    let probes = world.probes - before;
    assert!((4..20).contains(&probes), "{probes} tests in five minutes");
    // When hops are better, and what they did is worn out, it is there.
    world.liars.clear();
    for _ in 0..20 {
        world.ask(Use::Send, id(11)).unwrap();
        world.pass(Span::secs(60));
    }
    assert_eq!(world.machine.paths().count(), READY);
}

/// Of a hop that is silent, the one before it tells when the client has long gone on.
#[test]
fn a_refusal_counts_after_its_path_was_given_up_and_nothing_else_does() {
    let mut world = World::new(apart(30), 6);
    let silent = |world: &mut World| {
        let (path, hops, _) = world.ask(Use::Send, id(29)).unwrap();
        world.feed(Input::Outcome { path, outcome: Outcome::Silent });
        assert!(world.closed.contains(&path));
        (path, hops)
    };
    let (path, [guard, middle, last]) = silent(&mut world);
    world.pass(Span(ECHO.0 - 1));
    world.feed(Input::Outcome { path, outcome: Outcome::Refused });
    world.feed(Input::Outcome { path, outcome: Outcome::BadKey { hop: guard } });
    assert!(world.machine.is_up(guard) && world.machine.left_out().is_empty());
    world.feed(Input::Outcome { path, outcome: Outcome::Stopped { by: 1, destination: id(29) } });
    assert_eq!(world.machine.blame.links(), 1);
    // The same of a path through another middle.
    let (other, hops) = std::iter::repeat_with(|| silent(&mut world))
        .take(10_000)
        .find(|(_, hops)| hops[2] == last && hops[1] != middle)
        .expect("so many paths");
    world.feed(Input::Outcome { path: other, outcome: Outcome::Stopped { by: 1, destination: id(29) } });
    assert_eq!(world.machine.left_out(), &[last].into(), "{hops:?}");
    // Too late.
    let (path, _) = silent(&mut world);
    world.pass(ECHO);
    world.feed(Input::Outcome { path, outcome: Outcome::Stopped { by: 0, destination: id(29) } });
    assert_eq!(world.machine.blame.links(), 2);
    assert!(world.machine.gone.len() <= MAX_GONE);
}

#[test]
fn one_liar_gets_nobody_left_out_but_itself() {
    let mut world = World::new(apart(12), 7);
    world.ask(Use::Send, id(11)).unwrap();
    let guards = world.guards();
    let liar = (0..11).map(id).find(|node| !guards.contains(node)).unwrap();
    world.liars.insert(liar);
    let mut refused = 0;
    for _ in 0..40 {
        let outcome = world.ask(Use::Send, id(11)).unwrap().2;
        refused += usize::from(outcome != Outcome::Answered);
        world.feed(Input::Rebuild);
        let dropped = world.machine.blame.dropped();
        assert!(dropped.iter().all(|node| *node == liar), "{dropped:?}");
    }
    assert!(world.machine.blame.dropped().contains(&liar));
    assert!((2..8).contains(&refused), "{refused} refusals until it was left out");
    // It may come back when that is worn out.
    world.liars.clear();
    world.pass(blame::WEARS_OUT);
    world.ask(Use::Send, id(11)).unwrap();
    assert!(world.machine.blame.dropped().is_empty());
}

#[test]
fn a_refusal_counts_against_both_ends_and_needs_two_operators() {
    let mut nodes = apart(6);
    // Two nodes of one operator refuse the same third.
    nodes.insert(id(1), candidate(0, 1));
    let mut blame = Blame::default();
    let mut dropped = |links: &[(u16, u16)], at: u64| {
        for (one, other) in links {
            blame.refuse(Time(at), id(*one), id(*other));
        }
        blame.refresh(Time(at), &nodes);
        blame.dropped().iter().copied().collect::<Vec<_>>()
    };
    assert_eq!(dropped(&[(0, 5), (1, 5)], 0), []);
    assert_eq!(dropped(&[(2, 5)], 1), [id(5)]);
    // The same says nothing of those that could not reach it.
    assert_eq!(dropped(&[(2, 4)], 2), [id(5)]);
    assert_eq!(dropped(&[(2, 3)], 3), [id(2)], "who reaches nobody says nothing of others");
    assert_eq!(dropped(&[(3, 5)], 4), [id(2), id(5)]);
    assert_eq!(dropped(&[], blame::WEARS_OUT.0), [id(2)], "the first two are worn out");
    assert_eq!(dropped(&[], blame::WEARS_OUT.0 + 3), [], "and more");
    for number in 0..1_000 {
        blame.refuse(START, id(number), id(number + 1));
    }
    assert_eq!(blame.links(), blame::MAX_LINKS);
}

#[test]
fn those_that_are_left_out_are_better_than_nothing() {
    let mut world = World::new(apart(4), 8);
    world.ask(Use::Send, id(3)).unwrap();
    world.liars.extend([id(0), id(1), id(2)]);
    for _ in 0..20 {
        let _ = world.ask(Use::Send, id(3));
    }
    assert!(!world.machine.blame.dropped().is_empty());
    world.liars.clear();
    world.pass(Span::secs(1));
    assert_eq!(world.ask(Use::Send, id(3)).unwrap().2, Outcome::Answered);
}

#[test]
fn uses_and_wants_have_limits() {
    let mut world = World::new(apart(12), 9);
    for number in 0..=MAX_USES as u8 {
        world.ask(Use::Read(AccountId::from_bytes([number; 33])), id(11)).unwrap();
    }
    let uses: BTreeSet<_> = world.machine.paths().map(|shown| shown.usage).collect();
    assert!(uses.len() == MAX_USES && !uses.contains(&Use::Read(AccountId::from_bytes([0; 33]))));
    // Wants that wait for the answer of a test that does not come.
    let mut machine = Paths::new(Guards::default(), ChaCha8Rng::seed_from_u64(1));
    machine.handle(START, Input::Nodes(apart(12)));
    for ticket in 0..=MAX_WANTS as u64 {
        let want = Want { ticket, usage: Use::Send, destination: id(11), not: Vec::new() };
        machine.handle(START, Input::Want(want));
    }
    let failed = std::iter::from_fn(|| machine.poll()).filter(|output| matches!(output, Output::Fail { .. }));
    let busy = Output::Fail { ticket: MAX_WANTS as u64, error: PathError::Busy };
    assert_eq!(failed.collect::<Vec<_>>(), [busy]);
    machine.handle(START, Input::Forget { ticket: 0 });
    machine.handle(START.after(WAIT), Input::Tick);
    let failed = std::iter::from_fn(|| machine.poll()).filter(|output| matches!(output, Output::Fail { .. }));
    assert_eq!(failed.count(), MAX_WANTS - 1);
}

#[test]
fn a_rebuild_closes_all_paths_and_keeps_the_guards() {
    let mut world = World::new(apart(30), 10);
    let (path, hops, _) = world.ask(Use::Send, id(29)).unwrap();
    let guards = world.guards();
    world.feed(Input::Rebuild);
    assert!(world.closed.contains(&path));
    let (_, others, _) = world.ask(Use::Send, id(29)).unwrap();
    assert_ne!(hops, others);
    assert_eq!(world.guards(), guards);
}
