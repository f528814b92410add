use super::*;

const START: Time = Time::from_millis(1_000_000);

/// Nodes in contact, and the time.
struct World {
    rounds: Rounds,
    now: Time,
}

impl World {
    /// With so many nodes, each of a prefix of its own.
    fn of(nodes: u8) -> Self {
        let mut world = Self { rounds: Rounds::new(7), now: START };
        world.contact((1..=nodes).map(|number| (number, number)));
        world.listen(&[address()], false);
        world
    }

    fn contact(&mut self, nodes: impl IntoIterator<Item = (u8, u8)>) {
        let servers = nodes.into_iter().map(|(number, prefix)| (node(number), Prefix::V4([9, 9, prefix])));
        self.rounds.handle(self.now, Input::Servers(servers.collect()));
    }

    fn listen(&mut self, addresses: &[Endpoint], changed: bool) {
        let addresses = addresses.iter().copied().collect();
        self.rounds.handle(self.now, Input::Addresses { addresses, changed });
    }

    fn asks(&mut self) -> Vec<Ask> {
        std::iter::from_fn(|| self.rounds.poll()).collect()
    }

    fn answer(&mut self, ask: Ask, answer: Answer) {
        self.rounds.handle(self.now, Input::Answered(ask, answer));
    }

    /// Whoever is asked gives this answer, until nobody is.
    fn all_answer(&mut self, answer: &Answer) -> usize {
        let mut count = 0;
        loop {
            let asks = self.asks();
            if asks.is_empty() {
                break count;
            }
            count += asks.len();
            asks.into_iter().for_each(|ask| self.answer(ask, answer.clone()));
        }
    }

    /// Lets time pass to the next deadline.
    fn wait(&mut self) -> Span {
        let until = self.rounds.deadline().unwrap();
        assert!(until > self.now, "the machine asks for a tick that is due");
        let span = until.since(self.now);
        self.now = until;
        self.rounds.handle(until, Input::Tick);
        span
    }

    fn verdict(&self) -> Option<Verdict> {
        self.rounds.verdicts().remove(&address())
    }

    fn reached(&self) -> Option<bool> {
        self.verdict().map(|verdict| verdict.reached)
    }
}

fn address() -> Endpoint {
    "/ip4/203.0.113.7/tcp/22021".parse().unwrap()
}

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn missed() -> Answer {
    Answer::Missed("it could not connect".into())
}

#[test]
fn two_that_came_through_suffice_and_are_asked_again_after_an_hour() {
    let mut world = World::of(5);
    let asks = world.asks();
    assert_eq!(asks.len(), 1, "{asks:?}");
    world.answer(asks[0], Answer::Reached);
    assert_eq!(world.reached(), None, "one may lie");
    let second = world.asks();
    assert_eq!(second.len(), 1, "{second:?}");
    world.answer(second[0], Answer::Reached);
    let verdict = world.verdict().unwrap();
    assert_eq!((verdict.reached, verdict.said.len()), (true, SUFFICES));
    assert!(verdict.word().is_some_and(|word| word.why.is_none()));
    assert_eq!(world.asks(), []);
    assert_eq!(world.wait(), PERIOD);
    assert_eq!(world.asks().len(), 1);
    // The last word holds until there is another.
    assert_eq!(world.verdict(), Some(verdict));
}

#[test]
fn one_suffices_where_there_are_no_others_after_a_moment() {
    let mut world = World::of(1);
    assert_eq!((world.all_answer(&Answer::Reached), world.reached()), (1, None));
    assert_eq!((world.wait(), world.reached()), (SECOND, Some(true)));
    // Whoever comes in contact in that moment is asked.
    let mut world = World::of(1);
    world.all_answer(&Answer::Reached);
    world.contact([(1, 1), (2, 2)]);
    assert_eq!((world.all_answer(&Answer::Reached), world.reached()), (1, Some(true)));
}

#[test]
fn no_node_alone_says_that_an_address_is_reached_while_others_miss_it() {
    let mut world = World::of(9);
    let liar = world.asks();
    world.answer(liar[0], Answer::Reached);
    assert_eq!((world.all_answer(&missed()), world.reached()), (ENOUGH, Some(false)));
    let verdict = world.verdict().unwrap();
    assert!(verdict.word().is_some_and(|word| word.by != liar[0].by && word.why.is_some()));
}

#[test]
fn no_node_alone_says_that_an_address_is_not_reached() {
    let mut world = World::of(5);
    let first = world.asks();
    world.answer(first[0], missed());
    assert_eq!(world.reached(), None);
    let others = world.asks();
    assert_eq!(others.len(), ENOUGH - 1);
    world.answer(others[0], missed());
    assert_eq!(world.reached(), None);
    // Two that come through are believed whatever others say.
    world.answer(others[1], Answer::Reached);
    let last = world.asks();
    assert_eq!((world.reached(), last.len()), (None, 1));
    world.answer(last[0], Answer::Reached);
    assert_eq!(world.reached(), Some(true));
    assert!([others[1].by, last[0].by].contains(&world.verdict().unwrap().word().unwrap().by));
}

#[test]
fn three_prefixes_say_that_it_is_not_and_it_is_asked_about_again_soon() {
    let mut world = World::of(9);
    assert_eq!(world.all_answer(&missed()), ENOUGH);
    let verdict = world.verdict().unwrap();
    assert_eq!((verdict.reached, verdict.said.len()), (false, ENOUGH));
    assert_eq!(verdict.word().unwrap().why.as_deref(), Some("it could not connect"));
    assert_eq!(world.wait(), AGAIN);
    assert_eq!(world.reached(), Some(false));
    assert_eq!(world.all_answer(&Answer::Reached), SUFFICES);
    assert_eq!(world.reached(), Some(true));
}

#[test]
fn neighbours_count_as_one_and_all_that_there_are_suffice_after_a_while() {
    let mut world = World::of(0);
    assert_eq!((world.asks(), world.rounds.deadline()), (vec![], None));
    world.contact([(1, 1), (2, 1), (3, 1), (4, 2)]);
    assert_eq!(world.all_answer(&missed()), 2);
    assert_eq!(world.reached(), None, "others may come yet");
    assert_eq!(world.wait(), SETTLE);
    assert_eq!(world.reached(), Some(false));
    // One more comes in time, the next time.
    world.wait();
    assert_eq!(world.all_answer(&missed()), 2);
    world.contact([(1, 1), (4, 2), (5, 3)]);
    assert_eq!(world.all_answer(&missed()), 1);
    assert_eq!((world.reached(), world.verdict().unwrap().said.len()), (Some(false), ENOUGH));
}

#[test]
fn whoever_has_no_time_or_is_gone_says_nothing_and_another_is_asked() {
    let mut world = World::of(3);
    assert_eq!(world.all_answer(&Answer::Refused), 3);
    assert_eq!((world.reached(), world.wait()), (None, PAUSE));
    let asks = world.asks();
    assert_eq!(asks.len(), 1);
    assert_eq!((world.wait(), world.asks().len()), (PATIENCE, 1), "another, when it is late");
    // What comes too late counts for nothing.
    world.answer(asks[0], Answer::Reached);
    assert_eq!(world.reached(), None);
    // And there is an end to it.
    let mut crowd = World::of(100);
    assert_eq!(crowd.all_answer(&Answer::Refused), MAX_ASKED);
}

#[test]
fn those_who_may_have_no_way_there_are_asked_last_and_only_believed_if_they_come_through() {
    let contact = |world: &mut World, four: u8, six: u8| {
        let four = (1..=four).map(|number| (node(number), Prefix::V4([9, 9, number])));
        let six = (101..=100 + six).map(|number| (node(number), Prefix::V6([number; 6])));
        world.rounds.handle(world.now, Input::Servers(four.chain(six).collect()));
    };
    let mut world = World::of(0);
    contact(&mut world, 2, 5);
    // The two that surely have a way say that there is none: the others are not asked.
    assert_eq!(world.all_answer(&missed()), 2);
    assert_eq!((world.wait(), world.reached()), (SETTLE, Some(false)));

    let mut world = World::of(0);
    contact(&mut world, 0, 5);
    assert_eq!((world.all_answer(&missed()), world.reached()), (5, None));
    assert_eq!(world.wait(), PAUSE);
    assert_eq!((world.all_answer(&Answer::Reached), world.reached()), (SUFFICES, Some(true)));
}

#[test]
fn neighbours_are_not_asked() {
    let mut world = World::of(0);
    let near = [(node(1), Prefix::of(address().ip))].into();
    world.rounds.handle(world.now, Input::Servers(near));
    assert_eq!((world.asks(), world.rounds.deadline()), (vec![], None));
}

#[test]
fn what_the_node_listens_on_changes() {
    let mut world = World::of(5);
    world.all_answer(&Answer::Reached);
    let other: Endpoint = "/ip4/203.0.113.8/tcp/22021".parse().unwrap();
    // The old one as it was before; the new one at once.
    world.listen(&[address(), other], false);
    let asks = world.asks();
    assert_eq!(asks.iter().map(|ask| ask.address).collect::<Vec<_>>(), [other]);
    // A line that comes and goes does not make it ask without end.
    world.listen(&[address(), other], true);
    assert_eq!(world.asks(), []);
    assert_eq!(world.wait(), CHANGED);
    assert_eq!(world.asks().iter().map(|ask| ask.address).collect::<Vec<_>>(), [address()]);
    world.listen(&[address()], true);
    world.answer(asks[0], Answer::Reached);
    assert_eq!(world.rounds.verdicts().into_keys().collect::<Vec<_>>(), [address()], "the other is gone");
}

#[test]
fn what_was_asked_before_a_change_is_asked_again_after_it() {
    let mut world = World::of(3);
    let asks = world.asks();
    world.listen(&[address()], true);
    assert_eq!(world.asks(), [], "one round at a time");
    world.answer(asks[0], missed());
    assert_eq!(world.all_answer(&missed()), ENOUGH - 1);
    assert_eq!((world.reached(), world.wait()), (Some(false), CHANGED));
    assert_eq!((world.all_answer(&Answer::Reached), world.reached()), (SUFFICES, Some(true)));
    assert_eq!(world.verdict().unwrap().begun, START.after(CHANGED));
    assert_eq!(world.wait(), PERIOD);
}

#[test]
fn nobody_knows_who_is_asked_first() {
    let first = |seed| {
        let mut world = World { rounds: Rounds::new(seed), now: START };
        world.contact((1..=9).map(|number| (number, number)));
        world.listen(&[address()], false);
        world.asks()[0].by
    };
    assert!((0..32).map(first).collect::<BTreeSet<_>>().len() > 3);
}
