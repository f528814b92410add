//! How a ledger begins with that of a checkpoint, instead of with all logs since the contracts were deployed.
//!
//! A machine. It asks the endpoints which checkpoint the contract accepted last, by the state of their final blocks,
//! and believes what more than half of all that are configured say. Then it asks peers, one after the other, for the
//! ledger right behind that checkpoint's border and for the names there, and believes what the digest stands for:
//! more than two thirds of those who held a stake have signed it. A peer that lies, or is silent, costs its time and
//! is asked no more. Where nobody helps, the ledger begins with the logs. While these lead nowhere, as where the endpoints
//! have dropped old ones, it is tried again now and then.
//!
//! A ledger that has begun goes by the logs. It goes on with that of a checkpoint where they lead nowhere, though the
//! chain says that epochs have ended, or where it is so far behind that this takes less time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use alloy::primitives::B256;
use rand_chacha::{ChaCha8Rng, rand_core::Rng};
use serde_bytes::{ByteArray, ByteBuf};
use session_protocols::{
    Span, Time,
    directory::checkpoint::Events,
    snapshot::{Answer, Head, MAX_KEY, MAX_VALUE, PAGE, Request},
};

use super::state::CHECKPOINTS;
use crate::{
    ledger::{Cursor, Cursors, Ledger, Parameters, snapshot::Beside},
    names::Row,
};

mod input;
mod kept;
#[cfg(test)]
mod tests;

pub use input::{Accepted, Begun, Found, Input, Led, Output, Why};
pub use kept::Kept;

/// How long the endpoints are waited for.
const ENDPOINTS: Span = Span::secs(10);
/// How long a peer may take over a page.
const PATIENCE: Span = Span::secs(5);
/// How often a peer that has given something is asked for a page again, and how long after it gave none.
const AGAIN: u32 = 5;
const AGAIN_AFTER: Span = Span::secs(1);
/// How long one peer may take over all of it.
const PEER: Span = Span::secs(1_200);
/// Peers that are asked in one round.
const MAX_PEERS: usize = 8;
/// How often all of it is tried: the final blocks of endpoints may lie on two sides of a checkpoint for a while.
const ROUNDS: u32 = 5;
/// From the first round to the next; twice as long each time.
const PAUSE: Span = Span::secs(2);
/// How long the logs may lead nowhere before it is tried again; twice as long each time, so many times.
const NOWHERE: Span = Span::secs(60);
const DOUBLED: u32 = 4;
/// So many epochs behind, a ledger whose logs lead on goes on with a checkpoint that is as far ahead. The logs of one
/// take some 25 questions, most of them for its last block, so these take minutes; and no older checkpoint is kept.
const FAR: u64 = CHECKPOINTS;
/// The longest ledger that is fetched, in bytes.
const MAX_LEDGER: usize = 64 << 20;
/// The most bytes of rows of names that are fetched.
const MAX_NAMES: u64 = 4 << 30;

/// What is under way.
#[derive(Debug)]
enum Step {
    /// The endpoints are asked.
    Contract { said: BTreeMap<usize, Option<Accepted>>, until: Time },
    /// A peer is asked.
    Peer(Box<Fetch>),
    /// A peer is asked again then: it may have been asked too often.
    Again { fetch: Box<Fetch>, until: Time },
    /// The tree of names is made of what this peer gave.
    Plant(Box<Fetch>),
    /// Until the next round.
    Rest { until: Time },
    /// The logs are followed.
    Logs,
    /// Nothing: while one becomes another.
    End,
}

/// What one peer has given so far.
#[derive(Debug)]
struct Fetch {
    peer: usize,
    /// What it was asked last, and how often in vain.
    request: Request,
    vain: u32,
    /// When the answer to the question of this number, or all of it, is due.
    id: u64,
    due: Time,
    end: Time,
    head: Option<Beside>,
    ledger: Vec<u8>,
    /// Once the ledger is whole.
    found: Option<Box<Found>>,
    /// From which key on names are asked for.
    from: Vec<u8>,
    names: u64,
}

/// How far the logs have led.
#[derive(Debug, Default)]
struct Reading {
    /// The highest block that they were known up to since the epoch began, of those that there were then: whoever
    /// leaves logs out leads to new blocks without end.
    height: Option<u64>,
    goal: Option<u64>,
    /// When the checkpoint is tried, unless they lead on; none while nothing is missing.
    until: Option<Time>,
    /// Not before.
    again: Time,
}

impl Reading {
    /// Whether they have led on since; from the beginning in another epoch.
    fn leads_on(&mut self, led: &Led, other: bool) -> bool {
        if other {
            (self.height, self.goal) = (None, None);
        }
        self.goal = self.goal.or(led.head);
        let to = led.height.min(self.goal.unwrap_or(u64::MAX));
        let higher = self.height.is_some_and(|before| before < to);
        self.height = self.height.max(Some(to));
        other || higher
    }
}

/// What is wrong with an answer.
enum Fault {
    /// The peer has nothing of it, or did not answer: another time it may.
    Missing,
    /// It is not what it should be.
    Wrong,
}

/// Begins a ledger with that of a checkpoint.
#[derive(Debug)]
pub struct Syncing {
    parameters: Parameters,
    endpoints: usize,
    /// The order in which peers are asked.
    peers: Vec<usize>,
    bad: BTreeSet<usize>,
    /// The next of them in this round.
    next: usize,
    asked: usize,
    wanted: Option<(u64, B256)>,
    rounds: u32,
    /// The epoch that ends next in the ledger; none while nothing has come of anything.
    epoch: Option<u64>,
    /// By how many epochs a checkpoint has to be ahead of it.
    least: u64,
    reading: Reading,
    /// How often the logs were gone on with since they led on.
    logs: u32,
    questions: u64,
    step: Step,
    outbox: VecDeque<Output>,
}

impl Syncing {
    /// Over so many endpoints and peers.
    pub fn new(parameters: Parameters, endpoints: usize, peers: usize, mut rng: ChaCha8Rng) -> Self {
        let mut keyed: Vec<(u64, usize)> = (0..peers).map(|peer| (rng.next_u64(), peer)).collect();
        keyed.sort_unstable();
        Self {
            parameters,
            endpoints,
            peers: keyed.into_iter().map(|(_, peer)| peer).collect(),
            bad: BTreeSet::new(),
            next: 0,
            asked: 0,
            wanted: None,
            rounds: 0,
            epoch: None,
            least: 1,
            reading: Reading::default(),
            logs: 0,
            questions: 0,
            step: Step::Rest { until: Time::ZERO },
            outbox: VecDeque::new(),
        }
    }

    /// The same for a ledger that goes by the logs, and in which this epoch ends next; none where nothing has come of
    /// anything.
    #[must_use]
    pub fn by_logs(self, epoch: Option<u64>) -> Self {
        Self { epoch, step: Step::Logs, ..self }
    }

    /// Applies one input at `now`.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Tick => self.tick(now),
            Input::Accepted { endpoint, found } => {
                let endpoints = self.endpoints;
                if let Step::Contract { said, .. } = &mut self.step {
                    said.insert(endpoint, found);
                    if said.len() >= endpoints {
                        self.judge(now);
                    }
                }
            }
            Input::Answer { id, answer } => {
                if let Some(fetch) = self.answered(id) {
                    self.take(now, fetch, answer);
                }
            }
            Input::Planted { root } => self.planted(now, root),
            Input::Logs(led) => self.followed(now, &led),
        }
    }

    /// The next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When to feed [`Input::Tick`] next.
    pub fn deadline(&self) -> Option<Time> {
        match &self.step {
            Step::Contract { until, .. } | Step::Rest { until } | Step::Again { until, .. } => Some(*until),
            Step::Peer(fetch) => Some(fetch.due.min(fetch.end)),
            Step::Logs => self.reading.until,
            Step::Plant(_) | Step::End => None,
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Begun {
        let bytes = match &self.step {
            Step::Peer(fetch) | Step::Again { fetch, .. } | Step::Plant(fetch) => {
                (fetch.ledger.len() as u64).saturating_add(fetch.names)
            }
            Step::Contract { .. } | Step::Rest { .. } | Step::Logs | Step::End => 0,
        };
        Begun::Fetching { epoch: self.wanted.map(|(epoch, _)| epoch), bytes }
    }

    fn tick(&mut self, now: Time) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match core::mem::replace(&mut self.step, Step::End) {
            step @ (Step::Rest { .. } | Step::Logs) => {
                if matches!(step, Step::Logs) {
                    // Whoever was too slow may not be by now; and the logs are not left for long.
                    self.bad.clear();
                    self.rounds = self.rounds.max(ROUNDS.saturating_sub(1));
                }
                self.outbox.extend((0..self.endpoints).map(|endpoint| Output::AskContract { endpoint }));
                self.step = Step::Contract { said: BTreeMap::new(), until: now.after(ENDPOINTS) };
            }
            step @ Step::Contract { .. } => {
                self.step = step;
                self.judge(now);
            }
            Step::Peer(fetch) => {
                // Whoever takes too long over all of it is not asked again.
                let fault = if fetch.end <= now { Fault::Wrong } else { Fault::Missing };
                self.failed(now, fetch, &fault);
            }
            Step::Again { fetch, .. } => self.ask(now, fetch),
            Step::Plant(_) | Step::End => {}
        }
    }

    /// What the endpoints say, all of it or in time.
    fn judge(&mut self, now: Time) {
        let Step::Contract { said, .. } = core::mem::replace(&mut self.step, Step::End) else { return };
        let all: Vec<Accepted> = said.into_values().flatten().collect();
        let half = |one: &&Accepted| {
            all.iter().filter(|other| other == one).count().saturating_mul(2) > self.endpoints
        };
        match all.iter().find(half) {
            Some(None) => self.logs(now, Why::None),
            Some(Some((epoch, _))) if !self.is_ahead(*epoch) => self.logs(now, Why::Near),
            Some(Some(accepted)) => {
                self.wanted = Some(*accepted);
                (self.next, self.asked) = (0, 0);
                self.turn(now);
            }
            None => self.rest(now, Why::Endpoints),
        }
    }

    /// Whether the checkpoint of an epoch is so far ahead of the ledger that it is worth while.
    fn is_ahead(&self, epoch: u64) -> bool {
        self.epoch.is_none_or(|ends| epoch.saturating_add(1) >= ends.saturating_add(self.least))
    }

    /// Asks the next peer.
    fn turn(&mut self, now: Time) {
        let Some((epoch, _)) = self.wanted else { return };
        let mut rest = self.peers.iter().enumerate().skip(self.next);
        let good = rest.find(|(_, peer)| !self.bad.contains(*peer)).filter(|_| self.asked < MAX_PEERS);
        let Some((at, peer)) = good.map(|(at, peer)| (at, *peer)) else {
            return self.rest(now, Why::Peers);
        };
        self.next = at.saturating_add(1);
        self.asked = self.asked.saturating_add(1);
        let fetch = Fetch {
            peer,
            request: Request::Ledger { epoch, from: 0 },
            vain: 0,
            id: 0,
            due: now,
            end: now.after(PEER),
            head: None,
            ledger: Vec::new(),
            found: None,
            from: Vec::new(),
            names: 0,
        };
        self.ask(now, Box::new(fetch));
    }

    fn ask(&mut self, now: Time, mut fetch: Box<Fetch>) {
        self.questions = self.questions.saturating_add(1);
        (fetch.id, fetch.due) = (self.questions, now.after(PATIENCE));
        let (id, peer, request) = (fetch.id, fetch.peer, fetch.request.clone());
        self.outbox.push_back(Output::Ask { id, peer, request });
        self.step = Step::Peer(fetch);
    }

    /// Tries all of it again, but not for ever: one round at a time where the logs have been gone on with.
    fn rest(&mut self, now: Time, why: Why) {
        let pause = Span(PAUSE.0.saturating_mul(1 << self.rounds.min(ROUNDS)));
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds < ROUNDS {
            self.step = Step::Rest { until: now.after(pause) };
        } else {
            self.logs(now, why);
        }
    }

    /// Goes on with the logs.
    fn logs(&mut self, now: Time, why: Why) {
        let patience = Span(NOWHERE.0.saturating_mul(1 << self.logs.min(DOUBLED)));
        self.logs = self.logs.saturating_add(1);
        self.reading.again = now.after(patience);
        self.reading.until = Some(self.reading.again);
        self.step = Step::Logs;
        self.outbox.push_back(Output::Logs(why));
    }

    /// Waits for as long as the logs lead on, or nothing is missing. One that is far behind, or that nobody gives the
    /// next logs, waits for nothing but the time since it was tried.
    fn followed(&mut self, now: Time, led: &Led) {
        if !matches!(self.step, Step::Logs) {
            return;
        }
        let other = core::mem::replace(&mut self.epoch, led.epoch) != led.epoch;
        let reading = &mut self.reading;
        let leads_on = reading.leads_on(led, other);
        // While nothing is known, whatever was missing still is.
        let unknown = led.epoch.is_none() || reading.until.is_some();
        let missing = led.pruned || led.behind.map_or(unknown, |behind| behind > 0);
        let far = led.compared && led.behind.is_some_and(|behind| behind >= FAR);
        if !missing {
            (reading.until, self.logs) = (None, 0);
        } else if far || led.pruned {
            reading.until = Some(reading.again);
        } else if leads_on {
            (reading.until, self.logs) = (Some(now.after(NOWHERE)), 0);
        } else {
            reading.until.get_or_insert_with(|| now.after(NOWHERE).max(reading.again));
        }
        // One that was tried in vain goes on with what there is.
        self.least = if far && !led.pruned && self.logs == 0 { FAR } else { 1 };
    }

    /// What the peer of this question has given, if it is the one that is waited for.
    fn answered(&mut self, id: u64) -> Option<Box<Fetch>> {
        if !matches!(&self.step, Step::Peer(fetch) if fetch.id == id) {
            return None;
        }
        let Step::Peer(fetch) = core::mem::replace(&mut self.step, Step::End) else { return None };
        Some(fetch)
    }

    fn take(&mut self, now: Time, mut fetch: Box<Fetch>, answer: Option<Answer>) {
        let taken = match answer {
            Some(Answer::Ledger { head, bytes, more }) if fetch.found.is_none() => {
                self.ledger_page(&mut fetch, head.as_deref(), &bytes, more)
            }
            Some(Answer::Names { rows, next }) if fetch.found.is_some() => {
                let rows = rows.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())).collect();
                self.names_page(&mut fetch, rows, next.map(|next| next.into_vec()))
            }
            Some(Answer::Ledger { .. } | Answer::Names { .. }) => Err(Fault::Wrong),
            Some(Answer::Unknown) | None => Err(Fault::Missing),
        };
        match taken {
            Ok(Some(request)) => {
                (fetch.request, fetch.vain) = (request, 0);
                self.ask(now, fetch);
            }
            Ok(None) => {
                self.outbox.push_back(Output::Plant);
                self.step = Step::Plant(fetch);
            }
            Err(fault) => self.failed(now, fetch, &fault),
        }
    }

    /// Goes on without the answer: whoever has given something may be asked too often.
    fn failed(&mut self, now: Time, mut fetch: Box<Fetch>, fault: &Fault) {
        fetch.vain = fetch.vain.saturating_add(1);
        if matches!(fault, Fault::Missing) && fetch.head.is_some() && fetch.vain < AGAIN {
            self.step = Step::Again { fetch, until: now.after(AGAIN_AFTER) };
        } else {
            self.give_up(now, &fetch, fault);
        }
    }

    /// Takes a page of the ledger, and says what to ask for next.
    fn ledger_page(
        &self,
        fetch: &mut Fetch,
        head: Option<&Head>,
        bytes: &[u8],
        more: bool,
    ) -> Result<Option<Request>, Fault> {
        let (epoch, digest) = self.wanted.ok_or(Fault::Missing)?;
        match (fetch.head, head) {
            (None, Some(head)) => fetch.head = Some(beside(epoch, head)),
            (Some(_), None) => {}
            (None, None) | (Some(_), Some(_)) => return Err(Fault::Wrong),
        }
        let len = fetch.ledger.len().saturating_add(bytes.len());
        if bytes.len() > PAGE || (more && bytes.len() != PAGE) || len > MAX_LEDGER {
            return Err(Fault::Wrong);
        }
        fetch.ledger.extend_from_slice(bytes);
        if more {
            return Ok(Some(Request::Ledger { epoch, from: len as u64 }));
        }
        let head = fetch.head.as_ref().ok_or(Fault::Wrong)?;
        let read = Ledger::behind(self.parameters, &fetch.ledger, head, digest);
        let (ledger, checkpoint) = read.map_err(|_| Fault::Wrong)?;
        fetch.found = Some(Box::new(Found { ledger, checkpoint }));
        Ok(Some(Request::Names { epoch, from: ByteBuf::new() }))
    }

    /// Takes a page of names, and says what to ask for next; none when that was all.
    fn names_page(
        &mut self,
        fetch: &mut Fetch,
        rows: Vec<Row>,
        next: Option<Vec<u8>>,
    ) -> Result<Option<Request>, Fault> {
        let (epoch, _) = self.wanted.ok_or(Fault::Missing)?;
        let fits = |(key, value): &Row| matches!(key.len(), 20 | 32 | MAX_KEY) && value.len() <= MAX_VALUE;
        let first = rows.first().is_none_or(|(key, _)| *key >= fetch.from);
        let ordered = rows.is_sorted_by(|(one, _), (other, _)| one < other);
        let last = rows.last().map_or(&fetch.from, |(key, _)| key);
        let leads =
            next.as_ref().is_none_or(|next| next > last && next > &fetch.from && next.len() <= MAX_KEY);
        let bytes: u64 = rows.iter().map(|(key, value)| key.len().saturating_add(value.len()) as u64).sum();
        fetch.names = fetch.names.saturating_add(bytes);
        if !first || !ordered || !leads || fetch.names > MAX_NAMES || !rows.iter().all(fits) {
            return Err(Fault::Wrong);
        }
        if !rows.is_empty() {
            self.outbox.push_back(Output::Restore(rows));
        }
        Ok(next.map(|from| {
            fetch.from.clone_from(&from);
            Request::Names { epoch, from: from.into() }
        }))
    }

    fn planted(&mut self, now: Time, root: B256) {
        if !matches!(self.step, Step::Plant(_)) {
            return;
        }
        let Step::Plant(mut fetch) = core::mem::replace(&mut self.step, Step::End) else { return };
        match fetch.found.take().filter(|found| found.checkpoint.roots.names == root) {
            Some(found) => {
                (self.epoch, self.logs, self.wanted) = (Some(found.ledger.epoch()), 0, None);
                (self.reading, self.step) = (Reading::default(), Step::Logs);
                self.outbox.push_back(Output::Begin(found));
            }
            None => self.give_up(now, &fetch, &Fault::Wrong),
        }
    }

    /// Goes on with another peer.
    fn give_up(&mut self, now: Time, fetch: &Fetch, fault: &Fault) {
        if matches!(fault, Fault::Wrong) {
            self.bad.insert(fetch.peer);
        }
        self.outbox.push_back(Output::Forget);
        self.turn(now);
    }
}

/// What a page says beside the ledger.
fn beside(epoch: u64, head: &Head) -> Beside {
    let word = |bytes: &ByteArray<32>| B256::new(**bytes);
    let cursor = |events: Events| Cursor { number: events.number, hash: word(&events.hash) };
    let [staking, checkpoints, pool, names] = head.events.map(cursor);
    let cursors = Cursors { staking, checkpoints, pool, names };
    let (block, previous, names) = (word(&head.block), word(&head.previous), word(&head.names));
    Beside { epoch, block, previous, cursors, names }
}
