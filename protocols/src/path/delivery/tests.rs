use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::*;
use crate::path::{
    self as paths, Use,
    guards::Guards,
    model::{World, apart, id},
};

const START: Time = Time::from_millis(1_790_000_000_000);
const TERMS: Terms = Terms { patience: Span::secs(20), hold: Span(0), hedge: Span::secs(8) };

fn hops(number: u64) -> [NodeId; HOPS] {
    [0, 1, 2].map(|at| NodeId::from_bytes([number as u8 * 3 + at; 32]))
}

/// A delivery, and what time it is.
struct Parcel {
    machine: Delivery<ChaCha8Rng>,
    now: Time,
}

impl Parcel {
    fn new(seed: u64) -> Self {
        Self { machine: Delivery::new(START, TERMS, ChaCha8Rng::seed_from_u64(seed)), now: START }
    }

    fn feed(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle(self.now, input);
        self.said()
    }

    fn said(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    /// Lets time pass until something is due.
    fn wait(&mut self) -> Vec<Output> {
        self.now = self.machine.deadline().unwrap();
        self.feed(Input::Tick)
    }

    /// The path comes that is wanted.
    fn find(&mut self, number: u64) {
        let found = self.feed(Input::Path { path: PathId(number), hops: hops(number) });
        assert_eq!(found, [Output::Carry { path: PathId(number), hops: hops(number) }]);
    }

    fn brings(&mut self, number: u64, outcome: Outcome, brought: Result<Received, Fault>) -> Vec<Output> {
        self.feed(Input::Brought { path: PathId(number), outcome, brought })
    }

    fn fails(&mut self, number: u64, outcome: Outcome) -> Vec<Output> {
        self.brings(number, outcome, Err(Fault::Silent))
    }

    fn waited(&self) -> Span {
        self.machine.deadline().unwrap().since(self.now)
    }
}

fn want(of: std::ops::Range<u64>) -> Output {
    Output::Want { not: of.map(hops).collect() }
}

fn report(number: u64, outcome: Outcome) -> Output {
    Output::Report { path: PathId(number), outcome }
}

fn answer() -> Result<Received, Fault> {
    Ok(Received::Answer(vec![7]))
}

#[test]
fn a_parcel_that_is_answered_is_done_and_nothing_changes_it_any_more() {
    for received in [Received::Answer(vec![7]), Received::TooLarge] {
        let mut parcel = Parcel::new(1);
        assert_eq!(parcel.said(), [want(0..0)]);
        parcel.find(0);
        let said = parcel.brings(0, Outcome::Answered, Ok(received.clone()));
        assert_eq!(said, [report(0, Outcome::Answered), Output::Done(Ok(received))]);
        assert_eq!(parcel.machine.deadline(), None);
        for input in
            [Input::Tick, Input::NoPath(PathError::Near), Input::Path { path: PathId(1), hops: hops(1) }]
        {
            assert_eq!(parcel.feed(input), []);
        }
        assert_eq!(parcel.brings(0, Outcome::Answered, answer()), []);
    }
}

#[test]
fn beside_a_silent_path_another_one_is_tried_after_half_the_hedge_to_all_of_it() {
    let mut waits = Vec::new();
    for seed in 0..64 {
        let mut parcel = Parcel::new(seed);
        parcel.said();
        parcel.find(0);
        waits.push(parcel.waited());
        assert_eq!(parcel.wait(), [report(0, Outcome::Slow), want(0..1)]);
        parcel.find(1);
        waits.push(parcel.waited());
        assert_eq!(parcel.wait(), [report(0, Outcome::Slow), report(1, Outcome::Slow), want(0..2)]);
        parcel.find(2);
        // There is no fourth, and the first answer is taken.
        assert_eq!(parcel.machine.deadline(), Some(START.after(TERMS.patience)));
        let said = parcel.brings(1, Outcome::Answered, answer());
        assert_eq!(said, [report(1, Outcome::Answered), Output::Done(answer())]);
    }
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!((Span::millis(4_000)..Span::millis(4_200)).contains(least), "{least:?}");
    assert!((Span::millis(7_800)..=Span::millis(8_000)).contains(most), "{most:?}");
}

#[test]
fn what_a_destination_may_keep_back_is_no_silence() {
    let terms = Terms { hold: Span::secs(8), hedge: Span::secs(1), ..TERMS };
    for seed in 0..64 {
        let machine = Delivery::new(START, terms, ChaCha8Rng::seed_from_u64(seed));
        let mut parcel = Parcel { machine, now: START };
        parcel.said();
        parcel.find(0);
        assert!((Span::millis(8_500)..=Span::millis(9_000)).contains(&parcel.waited()));
    }
}

/// How long a request may take whose hop dies under it, when all else goes well.
const MOST: Span = Span::secs(2);
/// What a client grants by default.
const GRANTED: Terms = Terms { patience: Span::secs(7), hold: Span(0), hedge: Span::millis(600) };
/// From a packet to its answer over any path, or to the word of a hop that the next is gone.
const ROUND: Span = Span::millis(300);

#[test]
fn a_hop_that_dies_under_a_request_costs_no_more_than_two_seconds() {
    let mut longest = Span(0);
    for seed in 0..200 {
        for at in 0..HOPS {
            for mute in [true, false] {
                longest = longest.max(deliver_over_a_dead_hop(seed, at, mute));
            }
        }
    }
    // Twice the way, and the longest silence between.
    assert!(longest <= MOST && longest > GRANTED.hedge, "{longest:?}");
}

/// Takes a parcel over paths of which the first has a hop that is dead, or is silent: how long it takes.
fn deliver_over_a_dead_hop(seed: u64, at: usize, mute: bool) -> Span {
    let random = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::begin(apart(12), random, START, Guards::default());
    world.ask(Use::Look, id(0)).unwrap();
    // One that is no guard itself: through the other alone there is no second way.
    let is_guard = |node: &NodeId| world.machine.guards().all().iter().any(|guard| guard.node == *node);
    let to = (0..12).map(id).find(|node| !is_guard(node)).unwrap();
    world.ask(Use::Send, to).unwrap();
    let begun = world.now;
    let mut delivery = Delivery::new(begun, GRANTED, ChaCha8Rng::seed_from_u64(seed + 1));
    let (mut victim, mut under_way) = (None, BTreeMap::new());
    loop {
        let mut found = None;
        while let Some(output) = delivery.poll() {
            match output {
                Output::Want { not } => {
                    let ticket = world.want(Use::Send, to, not);
                    let (path, hops) = world.results[&ticket].unwrap();
                    found = Some(Input::Path { path, hops });
                }
                Output::Carry { path, hops } => {
                    let victim = *victim.get_or_insert(hops[at]);
                    if mute && hops.contains(&victim) {
                        continue;
                    }
                    if !mute {
                        world.dead.insert(victim);
                    }
                    under_way.insert(world.now.after(ROUND), (path, world.send(&hops, to)));
                }
                Output::Report { path, outcome } => world.feed(paths::Input::Outcome { path, outcome }),
                Output::Done(result) => {
                    assert_eq!(result, answer(), "seed {seed}, hop {at}, mute: {mute}");
                    return world.now.since(begun);
                }
            }
        }
        let due = delivery.deadline().unwrap();
        let input = match (found, under_way.first_key_value()) {
            (Some(found), _) => found,
            (None, Some((&back, &(path, outcome)))) if back <= due => {
                under_way.remove(&back);
                world.run(back);
                let brought = if outcome == Outcome::Answered { answer() } else { Err(Fault::Silent) };
                Input::Brought { path, outcome, brought }
            }
            (None, _) => {
                world.run(due);
                Input::Tick
            }
        };
        delivery.handle(world.now, input);
    }
}

#[test]
fn after_a_path_failed_another_one_is_tried_soon() {
    let mut waits = Vec::new();
    for seed in 0..64 {
        let mut parcel = Parcel::new(seed);
        parcel.said();
        for number in 0..2 {
            parcel.find(number);
            assert_eq!(parcel.fails(number, Outcome::Refused), [report(number, Outcome::Refused)]);
            waits.push(parcel.waited());
            assert_eq!(parcel.wait(), [want(0..number + 1)]);
        }
        parcel.find(2);
        let said = parcel.brings(2, Outcome::Undone, Err(Fault::Busy));
        assert_eq!(said, [report(2, Outcome::Undone), Output::Done(Err(Fault::Busy))]);
    }
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*least < Span::millis(5) && *most > Span::millis(95) && *most <= RETRY, "{least:?}, {most:?}");
}

#[test]
fn a_path_that_fails_late_holds_the_next_one_up_no_longer_than_its_silence() {
    for seed in 0..16 {
        let mut parcel = Parcel::new(seed);
        parcel.said();
        parcel.find(0);
        let due = parcel.machine.deadline().unwrap();
        parcel.now = Time(due.0 - 1);
        parcel.fails(0, Outcome::Refused);
        assert!(parcel.machine.deadline() <= Some(due));
    }
}

#[test]
fn the_last_path_is_waited_for_after_all_others_failed() {
    let mut parcel = Parcel::new(1);
    parcel.said();
    for number in 0..3 {
        parcel.find(number);
        if number < 2 {
            parcel.wait();
        }
    }
    assert_eq!(parcel.fails(2, Outcome::Unreached), [report(2, Outcome::Unreached)]);
    assert_eq!(parcel.fails(0, Outcome::Refused), [report(0, Outcome::Refused)]);
    assert_eq!(parcel.machine.deadline(), Some(START.after(TERMS.patience)));
    let said = parcel.brings(1, Outcome::Answered, Err(Fault::Service));
    assert_eq!(said, [report(1, Outcome::Answered), Output::Done(Err(Fault::Service))]);
}

#[test]
fn a_path_is_not_called_slow_because_another_one_failed() {
    let mut parcel = Parcel::new(1);
    parcel.said();
    parcel.find(0);
    assert_eq!(parcel.wait(), [report(0, Outcome::Slow), want(0..1)]);
    parcel.find(1);
    assert_eq!(parcel.fails(0, Outcome::Refused), [report(0, Outcome::Refused)]);
    assert!(parcel.waited() <= RETRY);
    assert_eq!(parcel.wait(), [want(0..2)]);
}

#[test]
fn waiting_for_a_path_holds_nothing_up() {
    let mut parcel = Parcel::new(1);
    parcel.said();
    parcel.find(0);
    assert_eq!(parcel.wait(), [report(0, Outcome::Slow), want(0..1)]);
    // Nothing else is wanted meanwhile, whatever happens.
    assert_eq!(parcel.waited(), START.after(TERMS.patience).since(parcel.now));
    let said = parcel.brings(0, Outcome::Answered, answer());
    assert_eq!(said, [report(0, Outcome::Answered), Output::Done(answer())]);
}

#[test]
fn without_a_path_what_is_under_way_goes_on() {
    let mut parcel = Parcel::new(1);
    parcel.said();
    let near = Input::NoPath(PathError::Near);
    assert_eq!(parcel.feed(near.clone()), [Output::Done(Err(Fault::Path(PathError::Near)))]);

    let mut parcel = Parcel::new(1);
    parcel.said();
    parcel.find(0);
    parcel.wait();
    assert_eq!(parcel.feed(near.clone()), []);
    assert_eq!(parcel.machine.deadline(), Some(START.after(TERMS.patience)), "none is asked for again");
    // But when the last one failed, there may be one.
    parcel.fails(0, Outcome::Silent);
    assert!(parcel.waited() <= RETRY);
    assert_eq!(parcel.wait(), [want(0..1)]);
    assert_eq!(parcel.feed(near), [Output::Done(Err(Fault::Path(PathError::Near)))]);
}

#[test]
fn a_fault_that_no_other_path_mends_ends_it_and_says_nothing_of_the_others() {
    for fault in [Fault::ClockMoved, Fault::ClockWrong(9), Fault::TooLarge(200_000)] {
        let mut parcel = Parcel::new(1);
        parcel.said();
        parcel.find(0);
        parcel.wait();
        parcel.find(1);
        parcel.wait();
        let said = parcel.brings(1, Outcome::Undone, Err(fault));
        let reports = [1, 0].map(|number| report(number, Outcome::Undone));
        assert_eq!(said, [&reports[..], &[Output::Done(Err(fault))]].concat());
    }
}

#[test]
fn at_the_end_of_patience_what_is_under_way_was_silent() {
    let mut parcel = Parcel::new(1);
    parcel.said();
    assert_eq!(parcel.wait(), [Output::Done(Err(Fault::Silent))], "no path came");

    let mut parcel = Parcel::new(1);
    parcel.said();
    parcel.find(0);
    parcel.brings(0, Outcome::Undone, Err(Fault::Busy));
    for number in 1..3 {
        parcel.wait();
        parcel.find(number);
    }
    let end = [report(1, Outcome::Silent), report(2, Outcome::Silent), Output::Done(Err(Fault::Busy))];
    assert_eq!(parcel.wait(), end);
    assert_eq!(parcel.now, START.after(TERMS.patience));
}

#[test]
fn nothing_is_begun_at_the_end_and_an_answer_is_taken_still() {
    let mut parcel = Parcel::new(1);
    parcel.said();
    parcel.now = START.after(TERMS.patience);
    let said = parcel.feed(Input::Path { path: PathId(0), hops: hops(0) });
    assert_eq!(said, [Output::Done(Err(Fault::Silent))]);

    let mut parcel = Parcel::new(1);
    parcel.said();
    parcel.find(0);
    parcel.now = START.after(TERMS.patience);
    let said = parcel.brings(0, Outcome::Answered, answer());
    assert_eq!(said, [report(0, Outcome::Answered), Output::Done(answer())]);
}

/// A path is wanted three times, and once more for each that failed after there was none.
const MAX_WANTS: usize = 2 * TRIES;
/// With each want all that is under way is slow; each path is used, and has an outcome; it ends.
const MAX_OUTPUTS: usize = MAX_WANTS * TRIES + 2 * TRIES + 1;

/// What a delivery said, held against its rules.
#[derive(Default)]
struct Seen {
    outputs: usize,
    wants: usize,
    wanted: bool,
    /// The paths that it went over, and what became of each.
    paths: BTreeMap<PathId, Option<Outcome>>,
    not: Vec<[NodeId; HOPS]>,
    done: Option<Result<Received, Fault>>,
}

impl Seen {
    fn take(&mut self, output: Output) {
        assert_eq!(self.done, None, "nothing comes after the end: {output:?}");
        self.outputs += 1;
        match output {
            Output::Want { not } => {
                assert!(!std::mem::replace(&mut self.wanted, true), "one path is waited for at once");
                assert_eq!(not, self.not, "not one of those before");
                self.wants += 1;
            }
            Output::Carry { path, hops } => {
                assert_eq!(self.paths.insert(path, None), None, "a path is used once");
                self.not.push(hops);
            }
            Output::Report { path, outcome } => {
                let kept = self.paths.get_mut(&path).expect("it went over that path");
                assert_eq!(*kept, None, "{path:?} has one outcome, and is not slow after it");
                if outcome != Outcome::Slow {
                    *kept = Some(outcome);
                }
            }
            Output::Done(result) => self.done = Some(result),
        }
    }

    fn check(&self) {
        assert!(self.paths.len() <= TRIES && self.wants <= MAX_WANTS && self.outputs <= MAX_OUTPUTS);
    }
}

proptest! {
    /// Whatever comes in whatever order, asked for or not: at most three paths, each wanted to be another
    /// one, at most one outcome of each, and one end. Only beside an answer a path has no outcome.
    #[test]
    fn anything_in_any_order(
        steps in proptest::collection::vec((0_u8..8, 0_u64..4, 0_u64..9_000), 0..40),
        seed: u64,
    ) {
        let mut parcel = Parcel::new(seed);
        let mut seen = Seen::default();
        parcel.said().into_iter().for_each(|output| seen.take(output));
        let mut fresh = 0;
        let end = START.after(TERMS.patience);
        for (step, number, millis) in steps {
            let path = PathId(number);
            let brought = |outcome, brought| Input::Brought { path, outcome, brought };
            let input = match step {
                0 | 1 => {
                    fresh += u64::from(seen.wanted);
                    Input::Path { path: PathId(fresh), hops: hops(fresh) }
                }
                2 => Input::NoPath(PathError::Near),
                3 => brought(Outcome::Answered, Ok(Received::TooLarge)),
                4 => brought(Outcome::Refused, Err(Fault::Silent)),
                5 => brought(Outcome::Undone, Err(Fault::ClockMoved)),
                6 => {
                    parcel.now = parcel.machine.deadline().unwrap_or(parcel.now);
                    Input::Tick
                }
                _ => {
                    parcel.now = parcel.now.after(Span::millis(millis));
                    Input::Tick
                }
            };
            if matches!(input, Input::Path { .. } | Input::NoPath(_)) {
                seen.wanted = false;
            }
            parcel.feed(input).into_iter().for_each(|output| seen.take(output));
            seen.check();
            let due = parcel.machine.deadline();
            prop_assert_eq!(due.is_none(), seen.done.is_some());
            prop_assert!(due.is_none_or(|due| due > parcel.now && due <= end), "nothing is due for ever");
        }
        while parcel.machine.deadline().is_some() {
            parcel.wait().into_iter().for_each(|output| seen.take(output));
            seen.check();
        }
        let open = seen.paths.values().filter(|outcome| outcome.is_none()).count();
        match seen.done.expect("it ends") {
            Ok(_) => prop_assert!(open < TRIES),
            Err(_) => prop_assert_eq!(open, 0, "each path has its outcome"),
        }
    }
}
