//! A member under test, whose clients, fellows and clock do as the bytes say.

use std::collections::{BTreeMap, BTreeSet};

use serde_bytes::{ByteArray, ByteBuf};

use super::{Feed, NOW, network, recount};
use crate::{
    AccountId, KeyPair, MessageHash, Namespace, NodeId, Signature, Span, SwarmId, SwarmMap, Time,
    answer::{Answer, Body, Done, MAX_ANSWER, RULES, Receipt, Subject, Told, told},
    codec,
    mailbox::{self, Detail, Limits, Mailbox, Outcome, page},
    member::{self, Input, Member, Output, Setup, durable, is_majority},
    notify::{EVENT_BYTES, EVENT_COUNT, Subscribed},
    record::Mutation,
    replication::{Responder, respond::Scope, writes},
    request::{
        Auth, Cursor, Delete, Direction, Door, Drawers, Ends, Expire, Fetch, Form, GetExpiries, GetRevoked,
        Ids, MAX_HASHES, Request, Retrieve, Revoke, Rights, Source, Store, Subaccount, Token, Which,
    },
    store::memory::MemoryStore,
    swarm::{Ask, BucketPrint, MAX_MESSAGE, Replicated, Slice, SwarmAnswer, SwarmRequest},
};

/// Members of the swarm; the first is under test, one more node is a stranger.
const MEMBERS: u8 = 4;
const MAP_VERSION: u64 = 3;
const STEPS: usize = 200;

fn node(number: u8) -> KeyPair {
    KeyPair::from_seed(&[number.wrapping_add(100); 32])
}

/// A page that was asked for and is on its way to a subscriber.
struct Page {
    cursor: Cursor,
    more: bool,
}

/// One subscriber, and what has reached it.
struct Subscriber {
    account: AccountId,
    namespace: Namespace,
    seen: BTreeSet<MessageHash>,
    page: Option<Page>,
}

/// A client that waits.
#[derive(Clone, Copy)]
struct Waits {
    /// What its receipts are about, where that can be told beforehand.
    subject: Option<Subject>,
    writes: bool,
    door: Door,
}

struct Host {
    member: Member,
    store: MemoryStore,
    now: Time,
    tickets: u64,
    /// Clients that wait.
    open: BTreeMap<u64, Waits>,
    /// Questions under way.
    exchanges: BTreeMap<u64, (u8, SwarmRequest, Vec<Subject>)>,
    subscribers: BTreeMap<u64, Subscriber>,
    /// An honest fellow.
    other: (Mailbox, MemoryStore),
    replied: Option<SwarmAnswer>,
}

/// Plays what the bytes say; tells whether any client asked for something that was sound.
pub(super) fn run(feed: &mut Feed<'_>) -> bool {
    let mut host = Host::new();
    for _ in 0..STEPS {
        if feed.is_empty() {
            break;
        }
        host.step(feed);
    }
    recount(&host.store);
    host.end();
    host.tickets > 0
}

impl Host {
    fn new() -> Self {
        let members: Vec<NodeId> = (0..MEMBERS).map(|number| node(number).node_id()).collect();
        let map = SwarmMap { version: MAP_VERSION, swarms: [(SwarmId(0), members)].into() };
        // Little room, so that it runs out.
        let limits = Limits { bytes: 9_000, account_bytes: 3_000 };
        let (maps, version, rules) = (map.into(), "fuzz".into(), RULES);
        let setup = Setup { network: network(), pair: node(0), maps, limits, version, rules };
        Self {
            member: Member::new(setup),
            store: MemoryStore::new(1),
            now: NOW,
            tickets: 0,
            open: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            other: (Mailbox::new(network(), Limits::default()), MemoryStore::new(2)),
            replied: None,
        }
    }

    fn step(&mut self, feed: &mut Feed<'_>) {
        match feed.below(12) {
            0..=2 => self.client(feed),
            3..=5 => self.answer(feed),
            6 => self.asked(feed),
            7 => {
                let with = node(feed.below(MEMBERS + 1)).node_id();
                let gone = feed.below(4) == 0;
                self.feed(if gone { Input::Disconnected(with) } else { Input::Connected(with) });
            }
            8 => self.subscriber(feed),
            9 => {
                // The honest fellow learns something of its own.
                let mutations = vec![self.mutation(feed)];
                self.teach(mutations);
            }
            _ => {
                let micros = u64::from(feed.byte()).pow(2) * 1_000;
                self.now = self.now.after(Span::micros(micros));
                self.feed(Input::Tick);
            }
        }
    }

    fn feed(&mut self, input: Input) {
        self.member.handle(self.now, input, &mut self.store).expect("memory does not fail");
        while let Some(output) = self.member.poll() {
            self.carry(output);
        }
        assert!(self.member.deadline().is_some(), "it always wants to forget");
        assert!(self.member.waiting() <= self.open.len());
        // Beside the batches each member may be hearing that it is behind.
        assert!(self.member.under_way() <= (writes::WINDOW + 1) * usize::from(MEMBERS - 1) + 1);
    }

    fn carry(&mut self, output: Output) {
        match output {
            Output::Answer { ticket, answer } => {
                assert!(codec::encode(&answer).len() <= MAX_ANSWER);
                let waits = self.open.remove(&ticket).expect("answered once, and only who asked");
                self.judge(waits, &answer);
            }
            Output::Reply { answer, .. } => {
                assert!(codec::encode(&answer).len() <= MAX_MESSAGE);
                assert!(self.replied.replace(answer).is_none(), "one reply to one question");
            }
            Output::Send { exchange, to, request, subjects } => {
                assert!(codec::encode(&request).len() <= MAX_MESSAGE);
                let to = (1..MEMBERS).find(|number| node(*number).node_id() == to);
                let to = to.expect("only fellow members are asked");
                let known = self.exchanges.insert(exchange, (to, request, subjects));
                assert!(known.is_none(), "each exchange has its own number");
            }
            Output::Subscribed { subscriber, answer } => {
                if matches!(answer, Subscribed::Refused { .. }) {
                    self.subscribers.remove(&subscriber);
                }
            }
            Output::Push { subscriber, account, namespace, after } => {
                let body = page(&self.store, self.now, &account, namespace, after, EVENT_COUNT, EVENT_BYTES);
                let Ok(Body::Messages { messages, more, cursor }) = body else { panic!("no page") };
                let subscriber = self.subscribers.get_mut(&subscriber).expect("only who subscribed");
                subscriber.seen.extend(messages.iter().map(|message| message.hash));
                assert!(subscriber.page.replace(Page { cursor, more }).is_none(), "one page at a time");
            }
            Output::Reconciled { .. } => {}
            Output::Damaged(why) => panic!("memory is never damaged: {why}"),
        }
    }

    /// Holds what a client is told against what it may be told.
    fn judge(&self, waits: Waits, answer: &Answer) {
        let swarm = self.member.members();
        let count = |receipts| match waits.subject {
            Some(subject) => durable(&network(), swarm, &subject, receipts),
            None => panic!("receipts for a request that writes nothing"),
        };
        let json = waits.door == Door::Json;
        match &answer.body {
            Body::Stored { receipts, .. } | Body::Changed { receipts } => {
                assert!(waits.writes, "receipts for a request that writes nothing");
                assert!(json || is_majority(count(receipts), swarm), "done, without a majority");
                assert!(json || count(receipts) == receipts.signed.len(), "all its receipts hold");
                let told = |receipt: &Receipt| receipt.told.is_some();
                let own = receipts.signed.iter().find(|receipt| receipt.node == node(0).node_id());
                assert_eq!(own.is_some_and(told), json, "one door is told more");
                let spoken = receipts.signed.len() + receipts.missing.len();
                assert_eq!(spoken, if json { swarm.len() } else { receipts.signed.len() });
            }
            Body::Refused(refusal) => {
                if let Some(receipts) = &refusal.receipts {
                    assert!(waits.writes, "receipts for a request that writes nothing");
                    assert!(json || !is_majority(count(receipts), swarm), "short, with a majority");
                }
            }
            Body::Messages { .. }
            | Body::Ids { .. }
            | Body::Fetched { .. }
            | Body::Expiries { .. }
            | Body::Revoked { .. }
            | Body::Swarm(_)
            | Body::Info { .. } => assert!(!waits.writes),
            Body::Batch(_) | Body::If { .. } => panic!("a member is asked one thing at a time"),
        }
    }

    fn client(&mut self, feed: &mut Feed<'_>) {
        let request = match feed.below(10) {
            0 => Request::Retrieve(self.retrieve(feed)),
            1 => Request::GetSwarm { account: person(feed).1 },
            2 => Request::Info,
            3 => Request::Fetch(self.fetch(feed)),
            4 => self.ask_about(feed),
            _ => match self.mutation(feed) {
                Mutation::Store(request) => Request::Store(request),
                Mutation::Delete { request, .. } => Request::Delete(request),
                Mutation::Expire { request, .. } => Request::Expire(request),
                Mutation::Revoke { request, .. } => Request::Revoke(request),
                Mutation::Replace { .. } => return,
            },
        };
        let door = request.auth().map_or(Door::Native, |auth| auth.form.door());
        if member::check_request(&network(), self.now, &request, door).is_err() {
            return;
        }
        let writes = match &request {
            Request::Store(_) | Request::Delete(_) | Request::Expire(_) | Request::Revoke(_) => true,
            Request::Retrieve(_)
            | Request::Fetch(_)
            | Request::GetExpiries(_)
            | Request::GetRevoked(_)
            | Request::GetSwarm { .. }
            | Request::Info
            | Request::Batch(_)
            | Request::Sequence(_)
            | Request::If(_) => false,
        };
        // What comes through the JSON door may get its time, or its end, from the member.
        let subject = match &request {
            _ if door == Door::Json => None,
            Request::Store(request) => Some(Subject::Message {
                account: request.account,
                namespace: request.namespace,
                hash: request.hash(),
            }),
            Request::Delete(Delete { account, .. })
            | Request::Expire(Expire { account, .. })
            | Request::Revoke(Revoke { account, .. }) => {
                let account = *account;
                statement(&request).map(|said| Subject::Request { account, digest: said.digest() })
            }
            _ => None,
        };
        self.tickets += 1;
        self.open.insert(self.tickets, Waits { subject, writes, door });
        self.feed(Input::Request { ticket: self.tickets, request, door });
        let waits = self.open.get(&self.tickets);
        assert!(waits.is_none_or(|waits| waits.writes), "only writes wait for others");
    }

    /// A question under way is answered, by whoever pleases.
    fn answer(&mut self, feed: &mut Feed<'_>) {
        let Some(count) = u8::try_from(self.exchanges.len()).ok().filter(|count| *count > 0) else { return };
        let which = usize::from(feed.below(count));
        let Some(exchange) = self.exchanges.keys().nth(which).copied() else { return };
        let Some((from, request, subjects)) = self.exchanges.remove(&exchange) else { return };
        let (honest, lies) = (feed.below(4) > 0, feed.below(8));
        let answer = match (honest, lies) {
            (true, _) => Some(self.honestly(from, &request, &subjects)),
            (false, 0) => None,
            (false, _) => Some(self.falsely(feed, lies, &subjects)),
        };
        let from = node(from).node_id();
        let answer = answer
            .map(|answer| member::check_answer(&network(), self.now, from, (&request, &subjects), answer));
        self.feed(Input::Answered { exchange, answer });
    }

    fn honestly(&mut self, from: u8, request: &SwarmRequest, subjects: &[Subject]) -> SwarmAnswer {
        let Ask::Replicate { mutations, json } = &request.ask else {
            return Responder::default()
                .respond(&self.other.1, &request.ask, Scope::ALL)
                .expect("memory does not fail");
        };
        let done = self.teach(mutations.clone());
        assert_eq!((done.len(), mutations.len()), (subjects.len(), subjects.len()));
        let each = (0_u32..).zip(done).zip(mutations.iter().zip(subjects));
        let results = each.map(|((place, outcome), (mutation, subject))| match outcome {
            Some(Outcome { done, already, detail: Detail { listed, unchanged } }) => {
                let receipt = Receipt::sign(&node(from), &network(), MAP_VERSION, subject, done);
                let signature = node(from).sign(&told::text(mutation, &listed, &unchanged));
                let told = Box::new(Told { already, listed, unchanged, signature });
                let told = Some(told).filter(|_| json.contains(&place));
                Replicated::Done { done: receipt.done, signature: receipt.signature, told }
            }
            None => Replicated::Refused { code: crate::answer::Code::Full },
        });
        SwarmAnswer::Replicated { results: results.collect() }
    }

    fn falsely(&self, feed: &mut Feed<'_>, lie: u8, subjects: &[Subject]) -> SwarmAnswer {
        match lie {
            1 => {
                let signature = Signature([feed.byte(); 64]);
                let result =
                    Replicated::Done { done: Done::Keeps { expiry: u64::MAX }, signature, told: None };
                SwarmAnswer::Replicated { results: vec![result; subjects.len()] }
            }
            2 => {
                let hour = u32::try_from(self.now.as_millis() / 3_600_000).unwrap_or(u32::MAX);
                let bucket = |_| BucketPrint {
                    bucket: hour.saturating_add(u32::from(feed.byte())),
                    count: u64::from(feed.byte()) << feed.below(57),
                    sum: ByteArray::new([feed.byte(); 32]),
                };
                SwarmAnswer::Fingerprints { buckets: (0..5).map(bucket).collect(), incomplete: Vec::new() }
            }
            3 | 4 => {
                let word = [&[0x61][..], feed.some(200)].concat();
                SwarmAnswer::Reconcile { message: ByteBuf::from(word) }
            }
            5 => {
                let mutations = (0..feed.below(4)).map(|_| self.mutation(feed)).collect();
                SwarmAnswer::Fetched { mutations, ids: u32::from(feed.byte()) }
            }
            6 => codec::decode(feed.some(255), MAX_MESSAGE).unwrap_or(SwarmAnswer::Noted),
            _ => SwarmAnswer::Noted,
        }
    }

    /// What the honest fellow does with mutations.
    fn teach(&mut self, mutations: Vec<Mutation>) -> Vec<Option<Outcome>> {
        let (machine, store) = &mut self.other;
        let input = mailbox::Input::Replicated { ticket: 0, mutations };
        machine.handle(self.now, input, store).expect("memory does not fail");
        let outputs = core::iter::from_fn(|| machine.poll());
        let applied = outputs.filter_map(|output| match output {
            mailbox::Output::Applied { results, .. } => Some(results),
            _ => None,
        });
        applied.flatten().map(|(_, _, result)| result.ok()).collect()
    }

    /// Another node asks.
    fn asked(&mut self, feed: &mut Feed<'_>) {
        let from = node(feed.below(MEMBERS + 1)).node_id();
        let map_version = if feed.below(8) == 0 { MAP_VERSION + 1 } else { MAP_VERSION };
        let slice = Slice { bits: feed.below(18), value: u16::from(feed.below(4)) };
        let bucket = u32::try_from(self.now.as_millis() / 3_600_000).unwrap_or(0) + u32::from(feed.below(3));
        let ask = match feed.below(6) {
            0 => Ask::Behind,
            1 => Ask::Fingerprints,
            2 => {
                let word = [&[0x61][..], feed.some(200)].concat();
                Ask::Reconcile { bucket, slice, message: ByteBuf::from(word) }
            }
            3 => {
                let ids = self.store.records().map(|(account, hash, record)| record.id(account, hash));
                let mut ids: Vec<_> = ids.map(ByteArray::new).collect();
                ids.push(ByteArray::new([feed.byte(); 32]));
                Ask::Fetch { bucket, slice, ids }
            }
            _ => Ask::Replicate {
                mutations: (0..feed.below(4)).map(|_| self.mutation(feed)).collect(),
                json: (0..feed.below(3)).map(u32::from).collect(),
            },
        };
        let count = match &ask {
            Ask::Replicate { mutations, .. } => Some(mutations.len()),
            _ => None,
        };
        let heard = self.member.members().iter().skip(1).any(|member| *member == from);
        let ask = member::check_ask(&network(), self.now, SwarmRequest::new(map_version, ask));
        self.replied = None;
        self.feed(Input::Asked { ticket: u64::MAX / 2, from, ask });
        let reply = self.replied.take().expect("every question has a reply");
        let refused = matches!(reply, SwarmAnswer::Refused { code: crate::answer::Code::WrongSwarm });
        assert_eq!(refused, !heard || map_version != MAP_VERSION, "only fellows are listened to");
        if let (SwarmAnswer::Replicated { results }, Some(count)) = (reply, count) {
            assert_eq!(results.len(), count, "a result for each");
        }
    }

    fn subscriber(&mut self, feed: &mut Feed<'_>) {
        let number = u64::from(feed.below(3));
        match (self.subscribers.get_mut(&number), feed.below(4)) {
            (None, _) => {
                let retrieve = Retrieve { after: None, ..self.retrieve(feed) };
                let (account, namespace) = (retrieve.account, retrieve.namespace);
                let seen = BTreeSet::new();
                self.subscribers.insert(number, Subscriber { account, namespace, seen, page: None });
                self.feed(Input::Subscribe { subscriber: number, retrieve });
            }
            (Some(_), 0) => {
                self.subscribers.remove(&number);
                self.feed(Input::Unsubscribe { subscriber: number });
            }
            (Some(subscriber), _) => {
                if let Some(Page { cursor, more }) = subscriber.page.take() {
                    self.feed(Input::Pushed { subscriber: number, cursor, more });
                }
            }
        }
    }

    /// A request of an owner, a friend of it or a stranger, sound in most cases.
    fn mutation(&self, feed: &mut Feed<'_>) -> Mutation {
        let (pair, account) = person(feed);
        let text = [feed.below(4)];
        let hashes = vec![MessageHash::of(&account, drawer(feed), &text), hash_of(feed, &account)];
        let now = self.now.as_millis();
        let time = now.saturating_sub(u64::from(feed.byte()) * 100);
        let expiry = now + u64::from(feed.byte()).pow(2) * 100;
        let mut held = if feed.below(2) == 0 { hashes.clone() } else { Vec::new() };
        let auth = Auth::unsigned(&account, &pair, time);
        let tokens = vec![friend(feed, &pair, &account).1.token];
        match feed.below(9) {
            kind @ 0..=3 => {
                // Now and then one that fills the mailbox.
                let data = if kind == 3 { text.repeat(900) } else { text.to_vec() };
                let (namespace, data) = (drawer(feed), ByteBuf::from(data));
                let auth = (kind == 2).then_some(auth);
                let request = Store { account, namespace, timestamp: time, expiry, data, auth };
                match sign(feed, &pair, Request::Store(request)) {
                    Request::Store(request) if feed.below(8) == 0 => match request.replacement() {
                        Some(request) => Mutation::Replace { request, held },
                        None => Mutation::Store(request),
                    },
                    Request::Store(request) => Mutation::Store(request),
                    _ => unreachable!("it was a store"),
                }
            }
            kind @ 4..=5 => {
                let bound = (feed.below(2) == 0).then_some(time);
                let which = if kind == 4 { Which::Hashes(hashes) } else { within(feed, bound) };
                let required = feed.below(4) == 0;
                match sign(feed, &pair, Request::Delete(Delete { account, which, required, auth })) {
                    Request::Delete(request) => Mutation::Delete { request, held },
                    _ => unreachable!("it was a deletion"),
                }
            }
            kind @ 6..=7 => {
                let only = [None, Some(Direction::Shorten), Some(Direction::Extend)];
                let only = only[usize::from(feed.below(3))];
                let which = if kind == 6 { Which::Hashes(hashes) } else { within(feed, None) };
                let each = Ends::Each(vec![expiry, expiry + u64::from(feed.byte())]);
                let ends = if feed.below(2) == 0 { Ends::All(expiry) } else { each };
                match sign(feed, &pair, Request::Expire(Expire { account, which, ends, only, auth })) {
                    Request::Expire(request) => Mutation::Expire { request, held },
                    _ => unreachable!("it was a change of expiry"),
                }
            }
            _ => {
                held.extend(tokens.iter().map(|token| token.hash(&account)));
                let undo = feed.below(2) == 0;
                match sign(feed, &pair, Request::Revoke(Revoke { account, tokens, undo, auth })) {
                    Request::Revoke(request) => Mutation::Revoke { request, held },
                    _ => unreachable!("it was a revocation"),
                }
            }
        }
    }

    /// A question about ends or revocations.
    fn ask_about(&self, feed: &mut Feed<'_>) -> Request {
        let (pair, account) = person(feed);
        let auth = Auth::unsigned(&account, &pair, self.now.as_millis());
        let request = match feed.below(3) {
            0 => Request::GetRevoked(GetRevoked { account, auth }),
            1 => Request::GetExpiries(GetExpiries { account, hashes: None, auth }),
            _ => {
                let hashes = Some(vec![hash_of(feed, &account)]);
                Request::GetExpiries(GetExpiries { account, hashes, auth })
            }
        };
        sign(feed, &pair, request)
    }

    fn retrieve(&self, feed: &mut Feed<'_>) -> Retrieve {
        let (pair, account) = person(feed);
        let after = (feed.below(2) == 1)
            .then(|| Cursor { incarnation: u64::from(feed.below(3)), sequence: u64::from(feed.byte()) });
        let last = (feed.below(4) == 0).then(|| hash_of(feed, &account));
        let max_count = (feed.below(2) == 1).then(|| u32::from(feed.byte()));
        let (namespace, max_size) = (drawer(feed), max_count);
        let ids = [None, Some(Ids::Anew), Some(Ids::Always)][usize::from(feed.below(3))];
        let auth = Some(Auth::unsigned(&account, &pair, self.now.as_millis()));
        let request = Retrieve { account, namespace, after, last, max_count, max_size, ids, auth };
        match sign(feed, &pair, Request::Retrieve(request)) {
            Request::Retrieve(request) => request,
            _ => unreachable!("it was a retrieval"),
        }
    }

    fn fetch(&self, feed: &mut Feed<'_>) -> Fetch {
        let (pair, account) = person(feed);
        let records = self.store.records().filter(|(owner, ..)| **owner == account);
        let hashes =
            records.map(|(_, hash, _)| *hash).chain([MessageHash([0; 32])]).take(MAX_HASHES).collect();
        let auth = Some(Auth::unsigned(&account, &pair, self.now.as_millis()));
        let request = Fetch { account, namespace: drawer(feed), hashes, auth };
        match sign(feed, &pair, Request::Fetch(request)) {
            Request::Fetch(request) => request,
            _ => unreachable!("it was a fetch"),
        }
    }

    /// Everything comes to rest, and then nobody waits and no subscriber lacks anything.
    fn end(&mut self) {
        for exchange in core::mem::take(&mut self.exchanges).into_keys() {
            self.feed(Input::Answered { exchange, answer: None });
        }
        self.now = self.now.after(writes::WAIT);
        self.feed(Input::Tick);
        assert_eq!((self.open.len(), self.member.waiting()), (0, 0), "everybody is answered in time");
        let numbers: Vec<_> = self.subscribers.keys().copied().collect();
        for number in numbers {
            while let Some(Page { cursor, more }) =
                self.subscribers.get_mut(&number).and_then(|subscriber| subscriber.page.take())
            {
                self.feed(Input::Pushed { subscriber: number, cursor, more });
            }
        }
        for subscriber in self.subscribers.values() {
            for (account, hash, record) in self.store.records() {
                let there = record.place.is_some_and(|place| place.namespace == subscriber.namespace);
                let theirs = there && *account == subscriber.account && record.readable(self.now);
                assert!(!theirs || subscriber.seen.contains(hash), "a gap in a subscription");
            }
        }
        recount(&self.store);
    }
}

/// One of two people.
fn person(feed: &mut Feed<'_>) -> (KeyPair, AccountId) {
    let pair = KeyPair::from_seed(&[feed.below(2) + 1; 32]);
    let account = AccountId::of_person(&pair.public()).expect("a point of the curve");
    (pair, account)
}

/// The inbox in most cases, or one of another class.
fn drawer(feed: &mut Feed<'_>) -> Namespace {
    match feed.below(12) {
        0 => Namespace(1),
        1..=2 => Namespace(-1),
        3 => Namespace(-11),
        4 => Namespace(-10),
        5 => Namespace::CLOSED,
        _ => Namespace::INBOX,
    }
}

fn within(feed: &mut Feed<'_>, before: Option<u64>) -> Which {
    let drawers = if feed.below(2) == 0 { Drawers::All } else { Drawers::One(drawer(feed)) };
    let most = (feed.below(2) == 0).then(|| feed.below(3).into());
    Which::In { drawers, before, most }
}

/// One of two subaccounts, with any rights.
fn friend(feed: &mut Feed<'_>, owner: &KeyPair, account: &AccountId) -> (KeyPair, Subaccount) {
    let pair = KeyPair::from_seed(&[feed.below(2) + 9; 32]);
    let kind = if feed.below(8) == 0 { 0x03 } else { account.as_bytes()[0] };
    let token = Token::new(kind, Rights(feed.below(17)), &pair.public());
    (pair, Subaccount::grant(owner, token))
}

/// What a request's signature covers; none where nobody signs it.
fn statement(request: &Request) -> Option<crate::Statement> {
    let (network, time) = (network(), request.auth()?.time);
    Some(match request {
        Request::Store(request) => request.statement(&network, time),
        Request::Retrieve(request) => request.statement(&network, time),
        Request::Fetch(request) => request.statement(&network, time),
        Request::GetExpiries(request) => request.statement(&network, time),
        Request::Delete(request) => request.statement(&network, time),
        Request::Expire(request) => request.statement(&network, time),
        Request::Revoke(request) => request.statement(&network, time),
        Request::GetRevoked(request) => request.statement(&network, time),
        Request::GetSwarm { .. }
        | Request::Info
        | Request::Batch(_)
        | Request::Sequence(_)
        | Request::If(_) => return None,
    })
}

/// Signs a request that wants it, as its owner or as a friend, in either form.
fn sign(feed: &mut Feed<'_>, owner: &KeyPair, mut request: Request) -> Request {
    let (Some(account), Some(auth), Some(said)) =
        (request.account().copied(), request.auth().cloned(), statement(&request))
    else {
        return request;
    };
    let by_friend = (feed.below(4) == 0).then(|| friend(feed, owner, &account));
    let auth = Auth { subaccount: by_friend.as_ref().map(|(_, subaccount)| *subaccount), ..auth };
    let pair = by_friend.map_or_else(|| owner.clone(), |(pair, _)| pair);
    let signed = if feed.below(4) == 0 {
        let form = Form::text();
        let mut auth = Auth { form, ..auth };
        // As a member passes it on, now and then.
        if feed.below(4) == 0 {
            auth.receive(&node(1), &network(), &said);
        }
        put(&mut request, auth.clone());
        let text = text(&request).unwrap_or_default();
        Auth { signature: pair.sign(&text), ..auth }
    } else {
        Auth { signature: pair.sign(said.as_bytes()), ..auth }
    };
    put(&mut request, signed);
    request
}

fn put(request: &mut Request, auth: Auth) {
    match request {
        Request::Store(request) => request.auth = Some(auth),
        Request::Retrieve(request) => request.auth = Some(auth),
        Request::Fetch(request) => request.auth = Some(auth),
        Request::GetExpiries(request) => request.auth = auth,
        Request::Delete(request) => request.auth = auth,
        Request::Expire(request) => request.auth = auth,
        Request::Revoke(request) => request.auth = auth,
        Request::GetRevoked(request) => request.auth = auth,
        Request::GetSwarm { .. }
        | Request::Info
        | Request::Batch(_)
        | Request::Sequence(_)
        | Request::If(_) => {}
    }
}

/// The text that a request is signed over: what its check says was signed last.
fn text(request: &Request) -> Option<Vec<u8>> {
    let network = network();
    let now = Time::from_millis(request.auth()?.time);
    let claims = match request {
        Request::Store(request) => request.claims(&network, now, Source::Member),
        Request::Delete(request) => request.claims(&network, now, Source::Member),
        Request::Expire(request) => request.claims(&network, now, Source::Member),
        Request::Revoke(request) => request.claims(&network, now, Source::Member),
        request => request.claims(&network, now, Door::Json),
    };
    Some(claims.ok()?.pop()?.said)
}

fn hash_of(feed: &mut Feed<'_>, account: &AccountId) -> MessageHash {
    MessageHash::of(account, Namespace::INBOX, &[feed.below(4)])
}
