//! The host of one node: batches, commits, crashes, and what it says to whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use session_protocols::{
    AccountId, KeyPair, Maps, MessageHash, NodeId, Span, SwarmId, Time,
    answer::{Answer, Body, Code, RULES, Refusal, Subject},
    codec,
    mailbox::{self, Limits},
    member::{Input, Member, Output, Setup, check_answer, check_ask, check_request},
    mutants, notify,
    record::Mutation,
    request::{self, Cursor, Door, Request},
    store::StoreError,
    swarm::{self, Ask, SwarmAnswer, SwarmRequest},
};

use super::{
    checks::{Key, Violation},
    clients::arrives,
    disk::{Commit, Disk, View},
    queue::{Event, Word},
    world::World,
};

/// The most inputs of one transaction.
pub(super) const MAX_BATCH: usize = 256;
/// The most inputs that wait for the next transaction; what comes beyond is refused.
pub(super) const MAX_INBOX: usize = 4_096;
/// How long a node waits for another's answer.
pub(super) const PATIENCE: Span = Span::secs(10);

/// One node: its machine, its disk, and what its host keeps.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) pair: KeyPair,
    /// The maps that it was told of, and when.
    pub(super) maps: Maps,
    pub(super) told: Time,
    pub(super) swarm: Option<SwarmId>,
    /// The other nodes that it has to do with: the members of its swarm, and those before and after.
    pub(super) fellows: Vec<usize>,
    /// Counts machines; what belongs to an earlier one is void.
    pub(super) life: u32,
    /// Counts processes: connections end with theirs.
    pub(super) boot: u32,
    /// None while it is down.
    pub(super) member: Option<Member>,
    pub(super) disk: Disk,
    /// How far its clock is off, in microseconds.
    pub(super) ahead: i64,
    pub(super) slow: bool,
    pub(super) hostile: bool,
    inbox: VecDeque<Input>,
    batch: Option<Batch>,
    tickets: BTreeMap<u64, Origin>,
    next_ticket: u64,
    /// Questions to other members that are not answered.
    open: BTreeMap<u64, Open>,
    wake_at: Option<Time>,
    /// The connections to each peer that it knows of.
    contacts: BTreeMap<usize, BTreeSet<u32>>,
    /// Which reader is behind which subscription.
    pub(super) subscribers: BTreeMap<u64, usize>,
    /// The power goes before its next commit with a client's write ends.
    pub(super) dies_writing: Option<Dying>,
    /// What it was before a batch that spoke too early: see the mutant `acknowledge-before-commit`.
    before: Option<Disk>,
}

/// How a node dies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dying {
    /// Whether it returns with an empty disk.
    pub(super) lose_disk: bool,
}

#[derive(Debug)]
struct Batch {
    inputs: Vec<Input>,
    began: Time,
    took: Span,
    writes: bool,
    /// Whether a client's write is among them, from the client or passed on.
    keeps: bool,
}

/// Who waits for an answer.
#[derive(Debug)]
enum Origin {
    Client { op: u64, attempt: u32 },
    Node { word: Word, about: Vec<About> },
}

#[derive(Debug)]
struct Open {
    to: usize,
    epoch: u32,
    /// The question.
    request: SwarmRequest,
    /// Which records an answer may confirm.
    about: Vec<(usize, Key)>,
    subjects: Vec<Subject>,
}

/// What a batch did, in order.
#[derive(Debug)]
pub(super) enum Step {
    /// A peer was reported gone.
    Gone(NodeId),
    /// The machine spoke.
    Said(Output),
}

impl Node {
    pub(super) fn new(pair: KeyPair, disk: Disk) -> Self {
        Self {
            id: pair.node_id(),
            pair,
            maps: Maps::default(),
            told: Time::ZERO,
            swarm: None,
            fellows: Vec::new(),
            life: 0,
            boot: 0,
            member: None,
            disk,
            ahead: 0,
            slow: false,
            hostile: false,
            inbox: VecDeque::new(),
            batch: None,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            open: BTreeMap::new(),
            wake_at: None,
            contacts: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            dies_writing: None,
            before: None,
        }
    }

    /// What its clock shows.
    pub(super) const fn clock(&self, now: Time) -> Time {
        Time(now.0.saturating_add_signed(self.ahead))
    }

    /// When its clock shows `local`.
    const fn when(&self, local: Time) -> Time {
        Time(local.0.saturating_add_signed(-self.ahead))
    }

    pub(super) const fn up(&self) -> bool {
        self.member.is_some()
    }

    /// Whether an input is what another member passes on.
    fn passed_on(&self, input: &Input) -> bool {
        let Input::Asked { ticket, .. } = input else { return false };
        matches!(self.tickets.get(ticket), Some(Origin::Node { about, .. }) if !about.is_empty())
    }

    fn forget_host(&mut self) {
        self.life += 1;
        self.member = None;
        self.inbox.clear();
        self.batch = None;
        self.tickets.clear();
        self.open.clear();
        self.wake_at = None;
        self.contacts.clear();
        self.subscribers.clear();
    }

    fn ticket(&mut self, origin: Origin) -> u64 {
        self.next_ticket += 1;
        self.tickets.insert(self.next_ticket, origin);
        self.next_ticket
    }
}

/// Whether an input can change the store.
const fn writes(input: &Input) -> bool {
    match input {
        Input::Request { .. } => keeps(input),
        Input::Asked { .. } | Input::Answered { .. } | Input::Lost { .. } | Input::Tick => true,
        Input::Subscribe { .. }
        | Input::Unsubscribe { .. }
        | Input::Pushed { .. }
        | Input::Connected(_)
        | Input::Disconnected(_)
        | Input::Maps(_) => false,
    }
}

/// Whether an input is a client's write, which is seldom void.
const fn keeps(input: &Input) -> bool {
    matches!(
        input,
        Input::Request {
            request: Request::Store(_) | Request::Delete(_) | Request::Expire(_) | Request::Revoke(_),
            ..
        }
    )
}

/// What a receipt is about, as far as it can be looked for later.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    Store(AccountId, MessageHash),
    Delete(AccountId),
    Expire,
}

fn about(ask: &Ask) -> Vec<About> {
    let Ask::Replicate { mutations, .. } = ask else { return Vec::new() };
    let one = |mutation: &Mutation| match mutation {
        Mutation::Store(request) => About::Store(request.account, request.hash()),
        Mutation::Delete { request, .. } => About::Delete(request.account),
        Mutation::Expire { .. } | Mutation::Replace { .. } | Mutation::Revoke { .. } => About::Expire,
    };
    mutations.iter().map(one).collect()
}

/// The records that a question is about, each with its place in it.
fn records(ask: &Ask) -> Vec<(usize, Key)> {
    let of = |mutation: &Mutation| match mutation {
        Mutation::Store(request) => vec![request.hash()],
        Mutation::Revoke { request, .. } => {
            request.tokens.iter().map(|token| token.hash(&request.account)).collect()
        }
        Mutation::Delete { held, .. } | Mutation::Expire { held, .. } | Mutation::Replace { held, .. } => {
            held.clone()
        }
    };
    let all = |(place, mutation): (usize, &Mutation)| {
        let account = *mutation.account();
        of(mutation).into_iter().map(move |hash| (place, (account, hash))).collect::<Vec<_>>()
    };
    match ask {
        Ask::Held { records } => {
            records.iter().map(|known| (known.account, known.hash)).enumerate().collect()
        }
        Ask::Replicate { mutations, .. } => mutations.iter().enumerate().flat_map(all).collect(),
        Ask::Behind | Ask::Fingerprints | Ask::Reconcile { .. } | Ask::Fetch { .. } => Vec::new(),
    }
}

impl World {
    /// Hands a node something, unless it is down.
    pub(super) fn feed(&mut self, node: usize, input: Input) {
        let host = &mut self.nodes[node];
        if host.member.is_none() {
            return;
        }
        if host.inbox.len() >= MAX_INBOX {
            self.counts.lost += 1;
            return;
        }
        host.inbox.push_back(input);
        self.counts.longest_inbox = self.counts.longest_inbox.max(host.inbox.len() as u64);
        self.begin(node);
    }

    /// Begins a batch with what has arrived, unless one is under way.
    fn begin(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        if host.batch.is_some() || host.inbox.is_empty() || host.member.is_none() {
            return;
        }
        let take = host.inbox.len().min(MAX_BATCH);
        let inputs: Vec<_> = host.inbox.drain(..take).collect();
        let (writes, keeps) =
            (inputs.iter().any(writes), inputs.iter().any(|input| keeps(input) || host.passed_on(input)));
        let took = match (writes, host.slow) {
            (false, _) => Span::micros(50),
            (true, false) => self.dice.disk.span(Span::micros(300), Span::millis(4)),
            (true, true) => self.dice.disk.span(Span::millis(20), Span::millis(300)),
        };
        host.batch = Some(Batch { inputs, began: self.now, took, writes, keeps });
        let life = host.life;
        let early = writes && mutants::on("acknowledge-before-commit");
        let ends = if early { self.now } else { self.now.after(took) };
        self.queue.push(ends, Event::Commit { node, life });
    }

    /// Applies a batch, and tells what it did; the error is the disk's.
    fn apply(&mut self, node: usize, commit: Commit) -> Result<Vec<Step>, Broken> {
        let host = &mut self.nodes[node];
        let (Some(batch), Some(member)) = (&mut host.batch, &mut host.member) else { return Ok(Vec::new()) };
        let local = Time(batch.began.0.saturating_add_signed(host.ahead));
        let inputs = std::mem::take(&mut batch.inputs);
        let changes = inputs.iter().any(|input| matches!(input, Input::Maps(_)));
        let acted = changes.then(|| member.maps().acts.clone());
        self.counts.batches += 1;
        let done = host.disk.transact(commit, &mut self.dice.disk, |tx| {
            let mut steps = Vec::new();
            for input in inputs {
                if let Input::Disconnected(peer) = &input {
                    steps.push(Step::Gone(*peer));
                }
                member.handle(local, input, tx)?;
                steps.extend(std::iter::from_fn(|| member.poll()).map(Step::Said));
            }
            Ok(steps)
        });
        match done {
            Ok((steps, effects)) => {
                self.checks
                    .committed(node, &self.nodes, self.now, &effects, acted.as_ref(), &mut self.counts)
                    .map_err(Broken::Promise)?;
                Ok(steps)
            }
            Err(StoreError::Damaged(why)) => {
                let detail = format!("node {node}: {why}");
                Err(Broken::Promise(Violation { check: "a store reads what it wrote", detail }))
            }
            Err(_) => Err(Broken::Disk),
        }
    }

    /// A commit ends, well or not.
    pub(super) fn commit(&mut self, node: usize, life: u32) -> Result<(), Violation> {
        let host = &mut self.nodes[node];
        let Some(batch) = host.batch.as_ref().filter(|_| host.life == life) else { return Ok(()) };
        let (writes, took) = (batch.writes, batch.took);
        if writes && mutants::on("acknowledge-before-commit") && host.before.is_none() {
            host.before = host.disk.copy();
            let Ok(steps) = self.apply(node, Commit::Fine) else { return Ok(()) };
            self.queue.push(self.now.after(took), Event::Commit { node, life });
            return self.release(node, steps);
        }
        let keeps = self.faults.crashes && batch.keeps;
        if let Some(Dying { lose_disk }) = host.dies_writing.take_if(|_| keeps) {
            self.crash(node, lose_disk);
            return Ok(());
        }
        host.before = None;
        let tickets: Vec<_> = batch.inputs.iter().filter_map(ticket_of).collect();
        let fails = writes && self.dice.disk.chance(self.faults.failed_commits);
        let fate = if fails { Commit::Fails } else { Commit::Fine };
        match self.apply(node, fate) {
            Ok(steps) => {
                self.nodes[node].batch = None;
                self.release(node, steps)?;
            }
            Err(Broken::Promise(violation)) => return Err(violation),
            Err(Broken::Disk) => {
                self.counts.failed_commits += 1;
                for ticket in tickets {
                    self.refuse(node, ticket);
                }
                self.rebuild(node);
                return Ok(());
            }
        }
        self.after(node);
        Ok(())
    }

    /// Begins the next batch and sets the alarm.
    fn after(&mut self, node: usize) {
        self.begin(node);
        let host = &mut self.nodes[node];
        let Some(due) = host.member.as_ref().and_then(Member::deadline) else { return };
        // A host wakes a little late, and never twice in a millisecond.
        let at = host.when(due).max(self.now.after(Span::millis(1)));
        if host.wake_at.is_none_or(|known| known > at) {
            host.wake_at = Some(at);
            self.queue.push(at, Event::Wake { node, life: host.life });
        }
    }

    pub(super) fn wake(&mut self, node: usize, life: u32) {
        let host = &mut self.nodes[node];
        if host.life == life && host.wake_at == Some(self.now) {
            host.wake_at = None;
            self.feed(node, Input::Tick);
        }
    }

    /// Refuses what was in a batch whose commit failed.
    fn refuse(&mut self, node: usize, ticket: u64) {
        match self.nodes[node].tickets.remove(&ticket) {
            Some(Origin::Client { op, attempt }) => {
                let time = self.nodes[node].clock(self.now).as_millis();
                let answer = Answer::refused(time, Code::Failed);
                self.answer_client(node, op, attempt, &answer);
            }
            Some(Origin::Node { word, .. }) => {
                self.reply(word, &SwarmAnswer::Refused { code: Code::Failed });
            }
            None => {}
        }
    }

    /// After a failed commit: the store is opened again, the machine made anew; connections stay.
    fn rebuild(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        let contacts = std::mem::take(&mut host.contacts);
        host.forget_host();
        host.contacts = contacts;
        self.checks.stopped(node);
        let pause = self.dice.disk.span(Span::millis(20), Span::millis(500));
        self.queue.push(self.now.after(pause), Event::Start { node });
    }

    /// The power goes at one node.
    pub(super) fn crash(&mut self, node: usize, lose_disk: bool) {
        let host = &mut self.nodes[node];
        if host.member.is_none() {
            return;
        }
        self.counts.crashes += 1;
        if host.batch.as_ref().is_some_and(|batch| batch.writes) && host.before.is_none() {
            // What the commit had reached is what is found; nobody heard of it.
            let _ = self.apply(node, Commit::Dies);
        }
        let host = &mut self.nodes[node];
        if let Some(before) = host.before.take() {
            host.disk = before;
        }
        host.forget_host();
        host.boot += 1;
        self.counts.torn += u64::from(host.disk.crash(&mut self.dice.disk));
        if lose_disk {
            self.counts.lost_disks += 1;
            self.nodes[node].disk = self.fresh_disk();
            self.checks.lost_disk(node);
        }
        self.checks.stopped(node);
        self.break_links(node);
        let away = self.dice.trouble.span(Span::millis(300), Span::secs(40));
        self.queue.push(self.now.after(away), Event::Start { node });
    }

    pub(super) fn fresh_disk(&mut self) -> Disk {
        let incarnation = self.dice.disk.number();
        if self.engine { Disk::engine(incarnation, &mut self.dice.disk) } else { Disk::memory(incarnation) }
    }

    /// A node starts: for the first time, after a crash, or after a failed commit.
    pub(super) fn start(&mut self, node: usize) -> Result<(), Violation> {
        if self.nodes[node].up() {
            return Ok(());
        }
        match self.nodes[node].disk.open() {
            Ok(()) => {}
            Err(session_storage::OpenError::Failed { .. }) => {
                // The fault that was meant for a commit met the opening.
                self.queue.push(self.now.after(Span::millis(200)), Event::Start { node });
                return Ok(());
            }
            Err(error) => {
                let detail = format!("node {node}: {error}");
                return Err(Violation { check: "a store opens after a crash", detail });
            }
        }
        self.checks.reopened(node, &self.nodes, self.now)?;
        self.take_maps(node);
        let setup = Setup {
            network: self.network.clone(),
            pair: self.nodes[node].pair.clone(),
            maps: self.nodes[node].maps.clone(),
            limits: Limits::default(),
            version: "sim".to_owned(),
            rules: RULES,
        };
        let host = &mut self.nodes[node];
        host.member = Some(Member::new(setup));
        let contacts: Vec<_> = host.contacts.keys().copied().collect();
        for peer in contacts {
            let peer = self.nodes[peer].id;
            self.feed(node, Input::Connected(peer));
        }
        self.dial_all(node);
        self.after(node);
        Ok(())
    }

    /// A node hears that a connection came or went. Like libp2p it counts the connections to each
    /// peer, and the machine is told of the first and of the last alone.
    pub(super) fn contact(&mut self, node: usize, boot: u32, peer: usize, epoch: u32, up: bool) {
        let peer_id = self.nodes[peer].id;
        let current = self.connection(node, peer) == Some(epoch);
        let host = &mut self.nodes[node];
        if host.boot != boot || (up && !current) {
            return;
        }
        let life = host.life;
        let known = host.contacts.entry(peer).or_default();
        if up {
            if known.insert(epoch) && known.len() == 1 {
                self.feed(node, Input::Connected(peer_id));
            }
            return;
        }
        let last = known.remove(&epoch) && known.is_empty();
        if known.is_empty() {
            host.contacts.remove(&peer);
        }
        let dead = |open: &Open| open.to == peer && open.epoch == epoch;
        let failed: Vec<_> =
            host.open.iter().filter(|(_, open)| dead(open)).map(|(exchange, _)| *exchange).collect();
        for exchange in failed {
            self.silence(node, life, exchange);
        }
        if last {
            self.feed(node, Input::Disconnected(peer_id));
        }
    }

    /// No answer came.
    pub(super) fn silence(&mut self, node: usize, life: u32, exchange: u64) {
        let host = &mut self.nodes[node];
        if host.life == life && host.open.remove(&exchange).is_some() {
            self.feed(node, Input::Answered { exchange, answer: None });
        }
    }

    /// Says what a batch had to say, once it is durable.
    fn release(&mut self, node: usize, steps: Vec<Step>) -> Result<(), Violation> {
        for step in steps {
            self.checks.step(node, &self.nodes[node], self.now, &step)?;
            let Step::Said(output) = step else { continue };
            match output {
                Output::Answer { ticket, answer } => {
                    if let Some(Origin::Client { op, attempt }) = self.nodes[node].tickets.remove(&ticket) {
                        self.vouch_for_answer(node, (op, attempt), &answer)?;
                        let answer = self.tamper_answer(node, answer);
                        if let Some(answer) = answer {
                            self.answer_client(node, op, attempt, &answer);
                        }
                    }
                }
                Output::Reply { ticket, answer } => {
                    if let Some(Origin::Node { word, about }) = self.nodes[node].tickets.remove(&ticket) {
                        self.checks.promised(node, &about, &answer);
                        self.reply(word, &answer);
                    }
                }
                Output::Send { exchange, to, request, subjects } => {
                    self.ask(node, to, &request, exchange, subjects);
                }
                Output::Subscribed { subscriber, answer } => {
                    let reader = match answer {
                        notify::Subscribed::Until { .. } => {
                            self.nodes[node].subscribers.get(&subscriber).copied()
                        }
                        notify::Subscribed::Refused { .. } => {
                            self.nodes[node].subscribers.remove(&subscriber)
                        }
                    };
                    if let Some(reader) = reader {
                        let time = self.nodes[node].clock(self.now).as_millis();
                        let bytes = codec::encode(&notify::Answer { time, body: answer });
                        let at = self.now.after(self.client_delay());
                        self.queue.push(at, Event::Subscribed { reader, subscriber, bytes });
                    }
                }
                Output::Push { subscriber, account, namespace, after } => {
                    self.push(node, subscriber, (account, namespace), after)?;
                }
                Output::Reconciled { fetched, .. } => self.counts.repaired += fetched,
                // It was found by the checks.
                Output::Damaged(_) => {}
            }
        }
        let host = &self.nodes[node];
        self.checks.ready(node, host, self.now)
    }

    /// Reads a page for a subscriber and sends it, if there is anything in it.
    fn push(
        &mut self,
        node: usize,
        subscriber: u64,
        (account, namespace): (AccountId, session_protocols::Namespace),
        after: Option<Cursor>,
    ) -> Result<(), Violation> {
        let host = &self.nodes[node];
        let Some(store) = host.disk.store() else { return Ok(()) };
        let (count, size) = (notify::EVENT_COUNT, notify::EVENT_BYTES);
        let page = mailbox::page(&View(store), host.clock(self.now), &account, namespace, after, count, size);
        let Ok(Body::Messages { messages, more, cursor }) = page else {
            let detail = format!("node {node}: {page:?}");
            return Err(Violation { check: "a store reads what it wrote", detail });
        };
        let life = host.life;
        if messages.is_empty() {
            let taken = Event::Taken { node, life, subscriber, cursor: cursor.to_bytes(), more };
            self.queue.push(self.now, taken);
            return Ok(());
        }
        self.checks.served(node, host, (account, namespace), &messages)?;
        let Some(&reader) = host.subscribers.get(&subscriber) else { return Ok(()) };
        let bytes = codec::encode(&notify::Event { messages, cursor });
        let at = self.now.after(self.client_delay());
        self.queue.push(at, Event::Page { reader, node, life, subscriber, more, bytes });
        Ok(())
    }

    /// Asks another node.
    pub(super) fn ask(
        &mut self,
        node: usize,
        to: NodeId,
        request: &SwarmRequest,
        exchange: u64,
        subjects: Vec<Subject>,
    ) {
        let Some(&to) = self.index.get(&to) else { return };
        let life = self.nodes[node].life;
        let connection = self.nodes[node].contacts.get(&to).and_then(|known| known.last().copied());
        let wait = match connection {
            Some(_) => PATIENCE,
            None => self.dice.net.span(Span::millis(1), Span::millis(50)),
        };
        if connection.is_none() && to != node {
            self.dial_later(node, to, Span::millis(1), Span::millis(50));
        }
        let about = records(&request.ask);
        let open =
            Open { to, epoch: connection.unwrap_or_default(), request: request.clone(), about, subjects };
        self.nodes[node].open.insert(exchange, open);
        self.queue.push(self.now.after(wait), Event::Silence { node, life, exchange });
        if connection.is_some() {
            let bytes = codec::encode(request);
            let exchange = Some(exchange);
            self.send(Word { from: node, to, epoch: connection, life, exchange, answer: false, bytes });
        }
    }

    /// Answers another node.
    pub(super) fn reply(&mut self, asked: Word, answer: &SwarmAnswer) {
        let bytes = codec::encode(answer);
        self.reply_bytes(asked, bytes);
    }

    pub(super) fn reply_bytes(&mut self, asked: Word, bytes: Vec<u8>) {
        if asked.exchange.is_some() {
            self.send(Word { from: asked.to, to: asked.from, answer: true, bytes, ..asked });
        }
    }

    /// Bytes of another node arrive.
    pub(super) fn word(&mut self, word: Word) {
        let carried = word.epoch.is_none_or(|epoch| self.connection(word.from, word.to) == Some(epoch));
        if !self.nodes[word.to].up() || !carried {
            self.counts.lost += 1;
            return;
        }
        if word.answer { self.word_back(word) } else { self.question(word) }
    }

    fn question(&mut self, word: Word) {
        // What is not of the protocol is not answered.
        let Ok(request) = codec::decode::<SwarmRequest>(&word.bytes, swarm::MAX_MESSAGE) else { return };
        if self.nodes[word.to].hostile && self.mislead(&word, &request) {
            self.counts.lies += 1;
            return;
        }
        let node = word.to;
        let about = about(&request.ask);
        let ask = check_ask(&self.network, self.nodes[node].clock(self.now), request);
        let from = self.nodes[word.from].id;
        let ticket =
            self.nodes[node].ticket(Origin::Node { word: Word { bytes: Vec::new(), ..word }, about });
        self.feed(node, Input::Asked { ticket, from, ask });
    }

    fn word_back(&mut self, word: Word) {
        let local = self.nodes[word.to].clock(self.now);
        let from = self.nodes[word.from].id;
        let host = &mut self.nodes[word.to];
        let Some(exchange) = word.exchange.filter(|_| host.life == word.life) else { return };
        let Some(open) = host.open.remove(&exchange) else { return };
        let answer = codec::decode::<SwarmAnswer>(&word.bytes, swarm::MAX_MESSAGE).ok();
        if let Some(answer) = &answer {
            self.checks.confirmed(word.to, from, &open.about, answer);
        }
        let check =
            |answer| check_answer(&self.network, local, from, (&open.request, &open.subjects), answer);
        let answer = answer.map(check);
        self.feed(word.to, Input::Answered { exchange, answer });
    }

    /// A client's request arrives.
    pub(super) fn request(&mut self, node: usize, boot: u32, op: u64, attempt: u32, bytes: &[u8]) {
        // A connection does not outlive the process at its other end.
        if !self.nodes[node].up() || self.nodes[node].boot != boot {
            return;
        }
        let local = self.nodes[node].clock(self.now);
        let decoded = codec::decode::<Request>(bytes, request::MAX_REQUEST);
        let checked = decoded.map_err(|_| Code::BadRequest).and_then(|mut request| {
            let door = request.auth().map_or(Door::Native, |auth| auth.form.door());
            arrives(&mut request, local);
            check_request(&self.network, local, &request, door).map(|()| (request, door))
        });
        match checked {
            Ok((request, door)) => {
                self.took(op, attempt, &request);
                let ticket = self.nodes[node].ticket(Origin::Client { op, attempt });
                self.feed(node, Input::Request { ticket, request, door });
            }
            Err(code) => {
                let refusal = Refusal { code, swarm: None, receipts: None };
                let answer = Answer { time: local.as_millis(), body: Body::Refused(refusal) };
                self.answer_client(node, op, attempt, &answer);
            }
        }
    }

    fn answer_client(&mut self, node: usize, op: u64, attempt: u32, answer: &Answer) {
        if self.client_drops() {
            self.counts.lost += 1;
            return;
        }
        let at = self.now.after(self.client_delay());
        let bytes = codec::encode(answer);
        self.queue.push(at, Event::Answer { op, attempt, from: node, bytes });
    }
}

/// Why a batch came to nothing.
enum Broken {
    Disk,
    Promise(Violation),
}

/// Who waits for an input's answer.
const fn ticket_of(input: &Input) -> Option<u64> {
    match input {
        Input::Request { ticket, .. } | Input::Asked { ticket, .. } => Some(*ticket),
        Input::Answered { .. }
        | Input::Subscribe { .. }
        | Input::Unsubscribe { .. }
        | Input::Pushed { .. }
        | Input::Lost { .. }
        | Input::Connected(_)
        | Input::Disconnected(_)
        | Input::Maps(_)
        | Input::Tick => None,
    }
}
