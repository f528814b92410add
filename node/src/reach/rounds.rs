//! Whom to ask to dial this node back, when, and what all answers come to.
//!
//! Each address is asked about in rounds. A node that came through ends the round: the address is reached. One that
//! did not may have a broken line itself, or lie: it takes several of other prefixes to believe it, or all there
//! are. Whoever had no time says nothing, and somebody else is asked. So does a node of IPv4 that did not come through
//! to IPv6, or the other way round: it may have no way there. Neighbours in one prefix are not asked: what stands
//! between the address and the rest need not stand between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use session_protocols::{NodeId, Prefix, Span, Time, directory::Endpoint, identity::blake2b};

/// Nodes of so many prefixes have to say that an address is not reached.
const ENOUGH: usize = 3;
/// How many are asked in one round.
const MAX_ASKED: usize = 16;
/// From one round to the next, about an address that is reached.
const PERIOD: Span = Span::hours(1);
/// About one that is not: its operator may be mending it.
const AGAIN: Span = Span::secs(120);
/// After a round in which nobody said anything.
const PAUSE: Span = Span::secs(10);
/// The least from one round to the next, where the node's own addresses have changed.
const CHANGED: Span = Span::secs(10);
/// How long others have to come in contact, where fewer than [`ENOUGH`] are.
const SETTLE: Span = Span::secs(10);
/// How long an answer is waited for.
const PATIENCE: Span = Span::secs(40);

/// What is asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// What it is to dial.
    pub(super) address: Endpoint,
    /// Who.
    pub(super) by: NodeId,
    round: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It came through.
    Reached,
    /// It did not.
    Missed(String),
    /// It did not have the time, or does not do that.
    Refused,
}

/// What changes.
#[derive(Debug)]
pub(super) enum Input {
    /// The addresses to ask about, and whether those that the node listens on have changed.
    Addresses { addresses: BTreeSet<Endpoint>, changed: bool },
    /// Who may be asked, and the prefix that each declared.
    Servers(BTreeMap<NodeId, Prefix>),
    /// What came of what was asked.
    Answered(Ask, Answer),
    /// Time has passed.
    Tick,
}

/// What a round came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether the address is reached.
    pub(crate) reached: bool,
    /// When the first one was asked.
    pub(crate) begun: Time,
    /// When it was known.
    pub(crate) at: Time,
    /// What each node said in that round, the last one last.
    pub(crate) said: Vec<Word>,
}

/// What one node said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Which one.
    pub(crate) by: NodeId,
    /// When.
    pub(crate) at: Time,
    /// Why it did not come through; none where it did.
    pub(crate) why: Option<String>,
}

impl Verdict {
    /// The word that decides: of whoever came through, or the last one.
    pub(crate) fn word(&self) -> Option<&Word> {
        self.said.iter().find(|word| word.why.is_none()).or_else(|| self.said.last())
    }
}

/// The rounds of all addresses.
#[derive(Debug)]
pub(super) struct Rounds {
    /// So that nobody knows who is asked first.
    seed: u64,
    number: u64,
    servers: BTreeMap<NodeId, Prefix>,
    rounds: BTreeMap<Endpoint, Round>,
    outbox: VecDeque<Ask>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    begun: Time,
    /// When the next one begins, once this one is over.
    next: Option<Time>,
    /// Whether addresses have changed since somebody was asked.
    stale: bool,
    asked: BTreeMap<NodeId, Asked>,
    /// What the last one that came to anything came to.
    verdict: Option<Verdict>,
}

#[derive(Debug)]
struct Asked {
    prefix: Prefix,
    at: Time,
    answer: Option<(Time, Answer)>,
}

impl Rounds {
    /// About no address so far.
    pub(super) fn new(seed: u64) -> Self {
        let (servers, rounds) = (BTreeMap::new(), BTreeMap::new());
        Self { seed, number: 0, servers, rounds, outbox: VecDeque::new() }
    }

    /// Applies one input.
    pub(super) fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Addresses { addresses, changed } => {
                self.rounds.retain(|address, _| addresses.contains(address));
                for address in addresses {
                    if let Some(round) = self.rounds.get_mut(&address) {
                        round.hasten(now, changed);
                    } else {
                        self.number += 1;
                        self.rounds.insert(address, Round::new(self.number, now));
                    }
                }
            }
            Input::Servers(servers) => self.servers = servers,
            Input::Answered(ask, answer) => {
                let round = self.rounds.get_mut(&ask.address).filter(|round| round.number == ask.round);
                if let Some(asked) = round.and_then(|round| round.asked.get_mut(&ask.by)) {
                    let says = answer == Answer::Reached || akin(&asked.prefix, &ask.address);
                    asked.answer.get_or_insert((now, if says { answer } else { Answer::Refused }));
                }
            }
            Input::Tick => {}
        }
        self.advance(now);
    }

    /// What is to be asked next.
    pub(super) fn poll(&mut self) -> Option<Ask> {
        self.outbox.pop_front()
    }

    /// When [`Input::Tick`] is next due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.rounds.values().filter_map(Round::deadline).min()
    }

    /// What is known of each address.
    pub(super) fn verdicts(&self) -> BTreeMap<Endpoint, Verdict> {
        let known = self.rounds.iter();
        known.filter_map(|(address, round)| Some((*address, round.verdict.clone()?))).collect()
    }

    fn advance(&mut self, now: Time) {
        for (address, round) in &mut self.rounds {
            if round.next.is_some_and(|next| next <= now) {
                self.number += 1;
                let verdict = round.verdict.take();
                *round = Round { verdict, ..Round::new(self.number, now) };
            }
            if round.next.is_none() {
                let number = round.number;
                let asked = round.advance(now, address, &self.servers, self.seed);
                self.outbox.extend(asked.into_iter().map(|by| Ask { address: *address, by, round: number }));
            }
        }
    }
}

impl Round {
    fn new(number: u64, now: Time) -> Self {
        Self { number, begun: now, next: None, stale: false, asked: BTreeMap::new(), verdict: None }
    }

    /// Has the next one begin soon, where addresses have changed.
    fn hasten(&mut self, now: Time, changed: bool) {
        let soon = now.max(self.begun.after(CHANGED));
        match self.next.as_mut().filter(|_| changed) {
            Some(next) => *next = (*next).min(soon),
            None => self.stale |= changed && !self.asked.is_empty(),
        }
    }

    /// Ends the round if its answers suffice; else tells whom to ask, too.
    fn advance(
        &mut self,
        now: Time,
        address: &Endpoint,
        servers: &BTreeMap<NodeId, Prefix>,
        seed: u64,
    ) -> Vec<NodeId> {
        for asked in self.asked.values_mut().filter(|asked| asked.answer.is_none()) {
            if now.since(asked.at) >= PATIENCE {
                asked.answer = Some((now, Answer::Refused));
            }
        }
        let (mut pending, mut reached) = (0, false);
        let (mut missed, mut spoken) = (BTreeSet::new(), BTreeSet::new());
        for asked in self.asked.values() {
            match asked.answer.as_ref().map(|(_, answer)| answer) {
                None => pending += 1,
                Some(Answer::Reached) => reached = true,
                Some(Answer::Missed(_)) => {
                    missed.insert(asked.prefix);
                }
                Some(Answer::Refused) => continue,
            }
            spoken.insert(asked.prefix);
        }
        if reached || missed.len() >= ENOUGH {
            self.end(now, reached);
            return Vec::new();
        }
        // One is asked, and where it does not come through as many as it takes.
        let wanted = if missed.is_empty() { 1 } else { ENOUGH - missed.len() };
        let may = |node: &NodeId, prefix: &Prefix| {
            let says = missed.is_empty() || akin(prefix, address);
            says && !prefix.covers(address.ip) && !self.asked.contains_key(node)
        };
        let mut others: Vec<_> = servers.iter().filter(|&(node, prefix)| may(node, prefix)).collect();
        others.sort_by_cached_key(|(node, prefix)| {
            let lot = blake2b(&[&seed.to_be_bytes(), &self.number.to_be_bytes(), node.as_bytes()]);
            (!akin(prefix, address), lot)
        });
        let mut chosen = Vec::new();
        for (node, prefix) in others {
            if pending + chosen.len() >= wanted || self.asked.len() >= MAX_ASKED {
                break;
            }
            if spoken.insert(*prefix) {
                self.asked.insert(*node, Asked { prefix: *prefix, at: now, answer: None });
                chosen.push(*node);
            }
        }
        if pending > 0 || !chosen.is_empty() {
            return chosen;
        }
        // Nobody is left.
        if missed.is_empty() && !self.asked.is_empty() {
            self.pause(now, PAUSE);
        } else if self.settled().is_some_and(|settled| settled <= now) {
            self.end(now, false);
        }
        chosen
    }

    /// When whoever is in contact is all there are.
    fn settled(&self) -> Option<Time> {
        self.asked.values().map(|asked| asked.at.after(SETTLE)).min()
    }

    fn end(&mut self, now: Time, reached: bool) {
        let word = |(by, asked): (&NodeId, &Asked)| {
            let (at, answer) = asked.answer.as_ref()?;
            let why = match answer {
                Answer::Reached => None,
                Answer::Missed(why) => Some(why.clone()),
                Answer::Refused => return None,
            };
            Some(Word { by: *by, at: *at, why })
        };
        let mut said: Vec<_> = self.asked.iter().filter_map(word).collect();
        said.sort_by_key(|word| word.at);
        let begun = self.asked.values().map(|asked| asked.at).min().unwrap_or(self.begun);
        self.verdict = Some(Verdict { reached, begun, at: now, said });
        self.pause(now, if reached { PERIOD } else { AGAIN });
    }

    /// Ends the round for so long, or for a moment where addresses have changed since it began.
    fn pause(&mut self, now: Time, pause: Span) {
        self.next = Some(now.after(pause));
        let stale = std::mem::take(&mut self.stale);
        self.hasten(now, stale);
    }

    fn deadline(&self) -> Option<Time> {
        let waiting = self.asked.values().filter(|asked| asked.answer.is_none());
        let late = waiting.map(|asked| asked.at.after(PATIENCE)).min();
        self.next.or(late).or_else(|| self.settled())
    }
}

/// Whether a node of this prefix surely has a way to an address.
const fn akin(prefix: &Prefix, address: &Endpoint) -> bool {
    match (prefix, address.ip) {
        (Prefix::V4(_), IpAddr::V4(_)) | (Prefix::V6(_), IpAddr::V6(_)) => true,
        (Prefix::V4(_), IpAddr::V6(_)) | (Prefix::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
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
            let servers =
                nodes.into_iter().map(|(number, prefix)| (node(number), Prefix::V4([9, 9, prefix])));
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
    fn one_that_came_through_suffices_and_is_asked_again_after_an_hour() {
        let mut world = World::of(5);
        let asks = world.asks();
        assert_eq!(asks.len(), 1, "{asks:?}");
        world.answer(asks[0], Answer::Reached);
        let verdict = world.verdict().unwrap();
        let word = Word { by: asks[0].by, at: START, why: None };
        assert_eq!((verdict.word(), verdict.reached), (Some(&word), true));
        assert_eq!(world.asks(), []);
        assert_eq!(world.wait(), PERIOD);
        assert_eq!(world.asks().len(), 1);
        // The last word holds until there is another.
        assert_eq!(world.verdict(), Some(verdict));
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
        // One that comes through is believed whatever others say.
        world.answer(others[1], Answer::Reached);
        assert_eq!(world.reached(), Some(true));
        assert_eq!(world.verdict().unwrap().word().unwrap().by, others[1].by);
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
        assert_eq!(world.all_answer(&Answer::Reached), 1);
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
        assert_eq!((world.all_answer(&Answer::Reached), world.reached()), (1, Some(true)));
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
        assert_eq!((world.all_answer(&Answer::Reached), world.reached()), (1, Some(true)));
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
}
