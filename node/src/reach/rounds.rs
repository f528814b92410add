//! Whom to ask to dial this node back, when, and what all answers come to.
//!
//! Each address is asked about in rounds. Nodes of two prefixes that came through end the round: the address is
//! reached; where there are not that many, one suffices. One that did not come through may have a broken line itself,
//! or lie: it takes several of other prefixes to believe it, or all there are. Whoever had no time says nothing, and somebody else is asked. So does a node of IPv4 that did not come through
//! to IPv6, or the other way round: it may have no way there. Neighbours in one prefix are not asked: what stands
//! between the address and the rest need not stand between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use session_protocols::{NodeId, Prefix, Span, Time, directory::Endpoint, identity::blake2b};

/// Nodes of so many prefixes have to say that an address is not reached.
const ENOUGH: usize = 3;
/// Nodes of so many prefixes have to come through: one may have found a way that others do not have.
const SUFFICES: usize = 2;
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
/// The same where one has come through.
const SECOND: Span = Span::secs(5);
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
    /// A word that decides: of the first that came through, or the last that did not.
    pub(crate) fn word(&self) -> Option<&Word> {
        let mut said = self.said.iter();
        if self.reached { said.find(|word| word.why.is_none()) } else { self.missed().last() }
    }

    /// What those said that came in vain.
    pub(crate) fn missed(&self) -> impl Iterator<Item = &Word> {
        self.said.iter().filter(|word| word.why.is_some())
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
        let (mut pending, mut reached) = (0_usize, 0_usize);
        let (mut missed, mut spoken) = (BTreeSet::new(), BTreeSet::new());
        for asked in self.asked.values() {
            match asked.answer.as_ref().map(|(_, answer)| answer) {
                None => pending += 1,
                // Each of a prefix of its own: nobody else is asked there but where one had nothing to say.
                Some(Answer::Reached) => reached += 1,
                Some(Answer::Missed(_)) => {
                    missed.insert(asked.prefix);
                }
                Some(Answer::Refused) => continue,
            }
            spoken.insert(asked.prefix);
        }
        if reached >= SUFFICES || missed.len() >= ENOUGH {
            self.end(now, reached >= SUFFICES);
            return Vec::new();
        }
        // One after the other is asked, and where one does not come through as many as it takes.
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
        if reached == 0 && missed.is_empty() && !self.asked.is_empty() {
            self.pause(now, PAUSE);
        } else if self.settled().is_some_and(|settled| settled <= now) {
            self.end(now, reached > 0);
        }
        chosen
    }

    /// When whoever is in contact is all there are.
    fn settled(&self) -> Option<Time> {
        let came = |asked: &Asked| matches!(asked.answer, Some((_, Answer::Reached)));
        let patience = if self.asked.values().any(came) { SECOND } else { SETTLE };
        self.asked.values().map(|asked| asked.at.after(patience)).min()
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
mod tests;
