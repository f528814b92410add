//! Months of churn, and how often an adversary stands at both ends.

use super::*;
use crate::path::guards::{MAX_GUARDS, WINDOW};

fn draw(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    below(random, bound)
}

/// Ninety days in which nodes die, return, leave and join, and a client that asks every quarter of an
/// hour and is restarted now and then.
#[test]
fn in_ninety_days_of_churn_no_sixty_have_more_than_four_guards() {
    for seed in 0..6_u64 {
        let mut world = World::new(apart(100), seed);
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0xc0ffee);
        let mut next = 100_u16;
        // When each guard that is still registered carried something.
        let mut carried: BTreeMap<NodeId, Vec<Time>> = BTreeMap::new();
        let (mut asked, mut answered) = (0_u32, 0_u32);
        for quarter in 0..90 * 96_u32 {
            // A node is down for some hours about twice a month.
            for node in world.nodes.keys().copied().collect::<Vec<_>>() {
                let down = world.dead.contains(&node);
                if down && draw(&mut random, 16) == 0 {
                    world.dead.remove(&node);
                } else if !down && draw(&mut random, 1_440) == 0 {
                    world.dead.insert(node);
                }
            }
            // Every other day one leaves and one joins.
            if quarter % 192 == 0 {
                let all: Vec<_> = world.nodes.keys().copied().collect();
                let gone = all[draw(&mut random, all.len() as u64) as usize];
                world.nodes.remove(&gone);
                world.dead.remove(&gone);
                world.nodes.insert(id(next), candidate(next, next));
                next += 1;
                world.feed(Input::Nodes(world.nodes.clone()));
            }
            if quarter % 400 == 399 {
                let guards = Guards::decode(&world.machine.guards().encode(&[1; 32]), &[1; 32]).unwrap();
                let mut again =
                    World::resume(world.nodes.clone(), random_seed(&mut random), world.now, guards);
                again.dead = world.dead.clone();
                world = again;
            }
            let alive: Vec<_> =
                world.nodes.keys().filter(|node| !world.dead.contains(node)).copied().collect();
            let destination = alive[draw(&mut random, alive.len() as u64) as usize];
            asked += 1;
            for _ in 0..4 {
                match world.ask(Use::Send, destination) {
                    Ok((_, [guard, ..], outcome)) => {
                        // Whoever is dialled learns the address, answer or not.
                        carried.entry(guard).or_default().push(world.now);
                        if outcome == Outcome::Answered {
                            answered += 1;
                            break;
                        }
                    }
                    Err(PathError::Near | PathError::Guards { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            let registered = |node: &NodeId| world.nodes.contains_key(node);
            let since = Time(world.now.0.saturating_sub(WINDOW.0));
            let lately = carried
                .iter()
                .filter(|(guard, times)| registered(guard) && times.last().is_some_and(|time| *time > since));
            let lately = lately.count();
            assert!(lately <= MAX_GUARDS, "SEED={seed}: {lately} guards in sixty days");
            world.pass(Span::secs(900));
        }
        let share = f64::from(answered) / f64::from(asked);
        assert!(share > 0.99, "SEED={seed}: {share:.4} of the requests were answered");
    }
}

fn random_seed(random: &mut ChaCha8Rng) -> u64 {
    draw(random, u64::MAX)
}

/// Many clients, each with a path: how often the first and the last hop are an adversary's, each of whose
/// nodes has an operator and a prefix of its own.
#[test]
#[expect(clippy::print_stdout, reason = "the table is what one looks at")]
fn both_ends_are_bad_as_often_as_theory_says() {
    const NODES: u16 = 200;
    const CLIENTS: u64 = 6_000;
    println!("{:>6} {:>10} {:>10}", "bad", "measured", "theory");
    for percent in [1, 5, 10, 20_u16] {
        let bad = NODES * percent / 100;
        let mut both = 0_u32;
        for client in 0..CLIENTS {
            let mut world = World::new(apart(NODES), client << 8 | u64::from(percent));
            let (_, [guard, _, last], _) = world.ask(Use::Send, id(NODES - 1)).unwrap();
            let is_bad = |node: NodeId| node < id(bad);
            both += u32::from(is_bad(guard) && is_bad(last));
        }
        // Two different nodes out of all but the destination.
        let (bad, others) = (f64::from(bad), f64::from(NODES - 1));
        let theory = bad / others * (bad - 1.0) / (others - 1.0);
        let measured = f64::from(both) / CLIENTS as f64;
        println!("{percent:>5}% {:>9.3}% {:>9.3}%", measured * 100.0, theory * 100.0);
        let deviation = (theory * (1.0 - theory) / CLIENTS as f64).sqrt();
        assert!((measured - theory).abs() < 3.5 * deviation, "{percent} %: {measured} beside {theory}");
    }
}
