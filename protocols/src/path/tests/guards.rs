//! Who may be a guard, and for how long.

use data_encoding::HEXLOWER;

use super::{model::START, *};
use crate::path::guards::{GUARDS, Guard, GuardsError, PATIENCE};

const NETWORK: [u8; 32] = [7; 32];

#[test]
fn two_guards_are_tested_before_anything_is_sent_and_then_stay() {
    let mut world = World::new(apart(50), 1);
    let mut firsts = BTreeSet::new();
    assert!(world.guards().is_empty(), "nobody has asked for anything");
    for number in 0..200 {
        let (_, hops, _) = world.ask(Use::Read(AccountId::from_bytes([number as u8; 33])), id(40)).unwrap();
        assert!(number > 0 || world.probes >= 1, "sent before a test");
        firsts.insert(hops[0]);
        world.pass(Span::hours(1));
    }
    assert_eq!(world.guards().len(), 2);
    assert!(firsts.iter().all(|first| world.guards().contains(first)));
    // Another process goes on with the same.
    let (now, kept) = (world.now, world.kept.clone().unwrap());
    let mut again = World::resume(apart(50), 99, now, kept);
    let (_, hops, _) = again.ask(Use::Send, id(40)).unwrap();
    assert!(firsts.contains(&hops[0]) && again.guards() == world.guards());
}

#[test]
fn a_silent_guard_is_waited_for_and_has_its_place_back() {
    let mut world = World::new(apart(50), 2);
    world.ask(Use::Send, id(40)).unwrap();
    let [first, second] = world.guards()[..] else { panic!("two guards") };
    world.dead.insert(first);
    let asks = |world: &mut World, span: Span| {
        let end = world.now.after(span);
        let mut through = BTreeSet::new();
        while world.now < end {
            if let Ok((_, hops, Outcome::Answered)) = world.ask(Use::Send, id(40)) {
                through.insert(hops[0]);
            }
            world.feed(Input::Rebuild);
            world.pass(Span::secs(60));
        }
        through
    };
    assert_eq!(asks(&mut world, Span(PATIENCE.0 - 120_000_000)), [second].into(), "the other one serves");
    assert_eq!(world.guards(), [first, second]);
    asks(&mut world, Span::secs(300));
    assert_eq!(world.guards().len(), 3, "after an hour a third one is drawn");
    // It returns, and the third one is needed no longer.
    world.dead.clear();
    asks(&mut world, Span::secs(1_200));
    let through = asks(&mut world, Span::hours(5));
    assert!(through.contains(&first) && !through.contains(&world.guards()[2]), "{through:?}");
}

/// It answers, and says each time that the next hop is gone.
#[test]
fn a_guard_that_never_carries_anything_is_replaced_like_a_silent_one() {
    let mut world = World::new(apart(50), 2);
    world.ask(Use::Send, id(40)).unwrap();
    let [first, second] = world.guards()[..] else { panic!("two guards") };
    world.liars.insert(first);
    for _ in 0..70 {
        let _ = world.ask(Use::Send, id(40));
        world.feed(Input::Rebuild);
        world.pass(Span::secs(60));
    }
    let [one, other, third] = world.guards()[..] else { panic!("after an hour a third one is drawn") };
    assert_eq!([one, other], [first, second]);
    for _ in 0..10 {
        let (_, [guard, ..], outcome) = world.ask(Use::Send, id(40)).unwrap();
        assert!(outcome == Outcome::Answered && [second, third].contains(&guard));
        world.feed(Input::Rebuild);
    }
}

/// It answers what is a test, and nothing else.
#[test]
fn a_guard_that_leaves_packets_without_a_word_is_replaced_whatever_it_says_to_tests() {
    let mut world = World::new(apart(50), 2);
    world.ask(Use::Send, id(40)).unwrap();
    let [first, second] = world.guards()[..] else { panic!("two guards") };
    world.mute.insert(first);
    let mut packets = 0;
    while world.machine.guards().is_active(first) {
        packets += 1;
        assert!(packets < 20, "it is kept");
        let (path, [guard, ..], outcome) = world.ask(Use::Send, id(40)).unwrap();
        if guard == first {
            assert_eq!(outcome, Outcome::Silent);
            // It was given up after a while, and is listened for still.
            world.pass(Span::secs(7));
            world.feed(Input::Outcome { path, outcome: Outcome::Unheard });
        }
        world.feed(Input::Rebuild);
        world.pass(Span::secs(60));
    }
    let through = || world.ask(Use::Send, id(40)).map(|(_, [guard, ..], outcome)| (guard, outcome));
    let through: Vec<_> = std::iter::repeat_with(through).take(10).collect();
    let [_, _, third] = world.guards()[..] else { panic!("a third one is drawn at once") };
    let good = |guard: NodeId| [second, third].contains(&guard);
    assert!(
        through
            .iter()
            .all(|sent| sent.is_ok_and(|(guard, outcome)| good(guard) && outcome == Outcome::Answered))
    );
}

/// It refuses what is no test, now and then, for as rarely as anything is asked.
#[test]
fn a_guard_that_refuses_packets_is_replaced_whatever_it_says_to_tests() {
    for pause in [Span::millis(1_500), Span::secs(60), Span(RECENT.0 - 1)] {
        let mut world = World::new(apart(50), 2);
        world.ask(Use::Send, id(40)).unwrap();
        let [first, second] = world.guards()[..] else { panic!("two guards") };
        world.picky.insert(first);
        let mut packets = 0;
        while world.machine.guards().is_active(first) {
            packets += 1;
            assert!(packets < 20, "it is kept");
            let (_, hops, outcome) = world.ask(Use::Send, id(40)).unwrap();
            assert_eq!(outcome == Outcome::Refused, hops[0] == first);
            if outcome == Outcome::Refused {
                let again = world.ask_anew(Use::Send, id(40), vec![hops]).unwrap();
                assert_eq!((again.1[0], again.2), (second, Outcome::Answered));
            }
            world.feed(Input::Rebuild);
            world.pass(pause);
        }
        assert!(packets > usize::from(UNHEARD), "{packets}");
        world.ask(Use::Send, id(40)).unwrap();
        assert_eq!(world.guards().len(), 3, "a third one is drawn at once");
    }
}

/// Whoever can keep a guard busy must not choose the next one; but there are two.
#[test]
fn a_guard_that_has_too_much_to_do_is_passed_over_for_a_while_and_kept() {
    let mut world = World::new(apart(50), 2);
    world.ask(Use::Send, id(40)).unwrap();
    world.pass(Span::secs(60));
    let [first, second] = world.guards()[..] else { panic!("two guards") };
    world.busy.insert(first);
    let mut refused = 0;
    for _ in 0..120 {
        let (_, [guard, ..], outcome) = world.ask(Use::Send, id(40)).unwrap();
        refused += usize::from(outcome == Outcome::Busy);
        assert_eq!(outcome == Outcome::Busy, guard == first);
        world.pass(Span::secs(5));
    }
    assert!((1..=24).contains(&refused), "{refused} of 120 went to it in ten minutes");
    assert_eq!(world.guards(), [first, second]);
    world.busy.clear();
    world.pass(Span::secs(60));
    world.feed(Input::Rebuild);
    assert_eq!(world.ask(Use::Send, id(40)).unwrap().1[0], first, "it has its place back");
}

/// All packets that were under way when the client's own network went away are one loss, and what is answered
/// afterwards makes it none.
#[test]
fn a_client_that_loses_its_network_blames_no_guard_for_it() {
    let mut world = World::new(apart(50), 2);
    for _ in 0..20 {
        let mut under_way = BTreeSet::new();
        for _ in 0..10 {
            let ticket = world.want(Use::Send, id(40), Vec::new());
            world.pass(WAIT);
            under_way.extend(world.results[&ticket].map(|(path, _)| path));
            world.feed(Input::Rebuild);
        }
        assert!(under_way.len() > 5);
        world.pass(Span::secs(7));
        for path in under_way {
            world.feed(Input::Outcome { path, outcome: Outcome::Unheard });
        }
        assert_eq!(world.ask(Use::Send, id(40)).unwrap().2, Outcome::Answered);
    }
    assert_eq!(world.guards().len(), GUARDS);
    assert!(world.machine.guards().all().iter().all(|guard| !guard.retired));
}

#[test]
fn with_both_guards_gone_two_more_are_drawn_and_then_it_fails_until_one_returns() {
    let mut world = World::new(apart(50), 3);
    // Somebody who is no guard.
    fn ask(world: &mut World) -> Result<(PathId, [NodeId; HOPS], Outcome), PathError> {
        let guards = world.guards();
        let to = (0..50).map(id).find(|node| !guards.contains(node)).unwrap();
        world.ask(Use::Send, to)
    }
    ask(&mut world).unwrap();
    let guards = world.guards();
    world.dead.extend(&guards);
    // The paths find out.
    while ask(&mut world).is_ok() {}
    let error = ask(&mut world).unwrap_err();
    assert_eq!(error, PathError::Guards { guards: 2, left: 2 });
    assert_eq!(error.to_string(), "both guards are gone, and 2 more may be chosen");
    assert_eq!(world.guards(), guards, "the network may be what is gone");
    world.pass(Span::secs(20));
    for drawn in [3, 4] {
        assert!(ask(&mut world).is_ok());
        let all = world.guards();
        assert_eq!(all.len(), drawn, "one at a time");
        world.dead.insert(all[drawn - 1]);
        while ask(&mut world).is_ok() {}
        world.pass(Span::secs(20));
    }
    let all = world.guards();
    for _ in 0..3_000 {
        if let Ok((.., outcome)) = ask(&mut world) {
            assert_ne!(outcome, Outcome::Answered);
        }
        world.pass(Span::secs(60));
    }
    assert_eq!(world.guards(), all, "no fifth in two days");
    let error = ask(&mut world).unwrap_err();
    assert_eq!(error, PathError::Guards { guards: 4, left: 0 });
    assert_eq!(error.to_string(), "all 4 guards are gone, and 0 more may be chosen");
    world.dead.remove(&all[3]);
    world.pass(Span::secs(2));
    let (_, hops, outcome) = ask(&mut world).unwrap();
    assert_eq!((hops[0], outcome), (all[3], Outcome::Answered), "it recovers when it is asked");
}

#[test]
fn guards_that_never_answered_are_not_waited_for_and_count() {
    let mut world = World::new(apart(50), 4);
    world.dead.extend((0..50).map(id));
    let error = world.ask(Use::Send, id(40)).unwrap_err();
    assert_eq!(error, PathError::Guards { guards: 4, left: 0 });
    world.dead.clear();
    world.pass(Span::secs(2));
    let (_, hops, _) = world.ask(Use::Send, id(40)).unwrap();
    assert!(world.guards().contains(&hops[0]));
}

#[test]
fn who_is_not_registered_any_more_does_not_count() {
    let mut world = World::new(apart(50), 5);
    for round in 1..=5_u16 {
        let destination = world.nodes.keys().next_back().copied().unwrap();
        world.ask(Use::Send, destination).unwrap();
        let active: Vec<_> = world.machine.guards().active(&world.nodes).map(|guard| guard.node).collect();
        assert_eq!(active.len(), 2, "round {round}");
        for guard in active {
            world.nodes.remove(&guard);
        }
        world.feed(Input::Nodes(world.nodes.clone()));
    }
}

#[test]
fn guards_of_one_operator_or_prefix_do_not_stand_together() {
    for seed in 0..50 {
        let nodes = (0..20).map(|number| (id(number), candidate(number % 5, number % 4))).collect();
        let mut world = World::new(nodes, seed);
        let _ = world.ask(Use::Send, id(0));
        let [one, other] = world.guards()[..] else { panic!("two guards") };
        assert!(choose::differ(&world.nodes[&one], &world.nodes[&other]));
    }
}

fn example() -> Guards {
    let guard = |number: u16, silent| Guard {
        node: id(number),
        drawn: START,
        until: START.after(Span::days(70)),
        seen: START.after(Span::hours(3)),
        confirmed: true,
        silent,
        retired: number == 2,
    };
    let kept = [guard(1, None), guard(2, Some(START.after(Span::secs(9))))];
    Guards::of(kept.to_vec())
}

#[test]
fn the_state_has_these_bytes() {
    let bytes = example().encode(&NETWORK);
    assert_eq!(HEXLOWER.encode(&bytes), include_str!("guards.hex").trim());
    assert_eq!(Guards::decode(&bytes, &NETWORK), Ok(example()));
    let most = Guards::of(vec![example().all()[1].clone(); 16]);
    assert_eq!(Guards::decode(&most.encode(&NETWORK), &NETWORK), Ok(most), "the most that are kept fit");
}

#[test]
fn a_damaged_state_is_told_and_never_taken_for_another() {
    let bytes = example().encode(&NETWORK);
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let read = Guards::decode(&changed, &NETWORK);
        let told = matches!(read, Err(GuardsError::Damaged | GuardsError::Newer { .. }));
        assert!(told || read == Ok(example()), "bit {bit}: {read:?}");
    }
    for length in 0..bytes.len() {
        assert_eq!(Guards::decode(&bytes[..length], &NETWORK), Err(GuardsError::Damaged));
    }
    assert_eq!(Guards::decode(&bytes, &[8; 32]), Err(GuardsError::OtherNetwork));
}

#[test]
fn what_was_not_taken_or_not_sent_blames_no_guard() {
    let mut world = World::new(apart(50), 9);
    let (path, hops, _) = world.ask(Use::Send, id(40)).unwrap();
    let guards = world.guards();
    for _ in 0..10 {
        world.feed(Input::Outcome { path, outcome: Outcome::Undone });
        world.pass(Span::secs(1));
    }
    assert_eq!(world.machine.paths().next().map(|shown| shown.path), Some(path), "it goes on");
    // A hop whose key is of no use is left out at once, and its guard is as good as before.
    world.feed(Input::Outcome { path, outcome: Outcome::BadKey { hop: hops[1] } });
    assert!(world.closed.contains(&path));
    for _ in 0..100 {
        world.feed(Input::Rebuild);
        let (_, others, _) = world.ask(Use::Send, id(40)).unwrap();
        assert!(!others.contains(&hops[1]));
    }
    assert_eq!(world.guards(), guards);
    assert!(world.machine.guards().all().iter().all(|guard| guard.silent.is_none()));
}

#[test]
fn guards_that_cannot_be_kept_are_not_used() {
    let mut world = World::new(apart(50), 10);
    world.disk_full = true;
    for _ in 0..20 {
        assert_eq!(world.ask(Use::Send, id(40)).unwrap_err(), PathError::Unkept);
        world.pass(Span::secs(3));
    }
    assert_eq!((world.probes, world.guards()), (0, Vec::new()));
    world.disk_full = false;
    world.pass(Span::secs(3));
    world.ask(Use::Send, id(40)).unwrap();
    // What is kept is used, whatever becomes of the disk.
    world.disk_full = true;
    world.feed(Input::Rebuild);
    world.pass(Span::hours(2));
    world.ask(Use::Send, id(40)).unwrap();
}

#[test]
fn two_processes_together_use_no_more_guards_than_one() {
    let mut worlds = [World::new(apart(50), 11), World::new(apart(50), 12)];
    // What both read and write.
    let mut file: Option<Guards> = None;
    for gone in 0..4 {
        for _ in 0..3 {
            for world in &mut worlds {
                world.kept = file.take();
                let dead = world.kept.iter().flat_map(|guards| guards.all().iter().take(gone));
                let dead: Vec<_> = dead.map(|guard| guard.node).collect();
                world.dead.extend(dead);
                world.feed(Input::Rebuild);
                let _ = world.ask(Use::Send, id(40));
                world.pass(Span::hours(2));
                file = world.kept.take();
                let kept: Vec<_> = file.iter().flat_map(Guards::all).map(|guard| guard.node).collect();
                assert!(kept.len() <= 4, "{kept:?}");
                assert!(world.guards().iter().all(|guard| kept.contains(guard)));
            }
        }
    }
    assert_eq!(file.unwrap().all().len(), 4, "others are drawn where they are needed");
}

#[test]
fn a_guard_that_is_gone_is_no_hop_of_other_paths_either() {
    let mut world = World::new(apart(30), 13);
    world.ask(Use::Send, id(29)).unwrap();
    let gone = world.guards()[0];
    world.dead.insert(gone);
    world.pass(Span::secs(2));
    while world.ask(Use::Send, id(29)).unwrap().2 != Outcome::Answered {}
    for _ in 0..60 {
        world.feed(Input::Rebuild);
        let (_, hops, outcome) = world.ask(Use::Send, id(29)).unwrap();
        assert_eq!(outcome, Outcome::Answered, "{hops:?} with {gone}");
    }
}

#[test]
fn beside_a_test_that_is_late_another_one_goes_through_other_hops() {
    let World { mut machine, now, .. } = World::new(apart(30), 14);
    let mut step = |now: Time, input: Input| {
        let (mut probes, mut closed, mut hung_up) = (Vec::new(), 0, 0);
        machine.handle(now, input);
        while let Some(output) = machine.poll() {
            match output {
                Output::Keep(guards) => machine.handle(now, Input::Kept(guards)),
                Output::Probe { path, hops, .. } => probes.push((path, hops)),
                Output::Closed { .. } => closed += 1,
                Output::HangUp { .. } => hung_up += 1,
                Output::Use { .. } | Output::Fail { .. } => {}
            }
        }
        (probes, closed, hung_up, machine.deadline())
    };
    let want = Want { ticket: 1, usage: Use::Look, destination: id(29), not: Vec::new() };
    let (first, .., due) = step(now, Input::Want(want));
    assert_eq!((first.len(), due), (GUARDS, Some(now.after(LATE))));
    let [(path, hops), (other, _)] = first[..] else { panic!("two guards") };
    step(now, Input::Outcome { path: other, outcome: Outcome::Answered });
    assert_eq!(step(Time(now.after(LATE).0 - 1), Input::Tick).0, []);
    let late = now.after(LATE);
    let (second, .., due) = step(late, Input::Tick);
    let [(beside, others)] = second[..] else { panic!("{second:?}") };
    assert_eq!((others[0], due), (hops[0], Some(late.after(LATE))));
    assert!(!hops[1..].iter().any(|hop| others.contains(hop)), "{hops:?} {others:?}");
    let later = late.after(LATE);
    let through_it = |(_, others): &(PathId, [NodeId; HOPS])| others[0] == hops[0];
    assert!(!step(later, Input::Tick).0.iter().any(through_it), "two are enough");
    // The first is silent, and its stream may be.
    let (third, closed, hung_up, _) = step(now.after(TEST), Input::Tick);
    assert_eq!((third.into_iter().filter(through_it).count(), closed, hung_up), (1, 1, 1));
    let (.., closed, _, _) =
        step(now.after(TEST), Input::Outcome { path: beside, outcome: Outcome::Answered });
    assert_eq!(closed, 2);
    // What becomes of the first says nothing any more.
    let (probes, closed, hung_up, _) =
        step(now.after(TEST), Input::Outcome { path, outcome: Outcome::Silent });
    assert_eq!((probes.len(), closed, hung_up), (0, 0, 0));
}
