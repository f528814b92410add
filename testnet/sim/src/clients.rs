//! Simulated clients: what they ask, how they judge answers, and when they give up.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what a client or a liar does with most requests is the same"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde_bytes::{ByteArray, ByteBuf};
use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace, Span, Time,
    answer::{self, Answer, Body, Code, Done, Receipt, Receipts, Subject},
    codec,
    identity::blake2b,
    member::{durable, is_majority},
    record::Stamp,
    request::{
        Auth, Delete, Direction, Drawers, Ends, Expire, Form, MAX_TTL, Request, Retrieve, Revoke, Rights,
        Store, Subaccount, Token, Which,
    },
};

use super::{
    checks::{Change, Deletion, Does, Fate, Said, Stored, Violation, Whole, broken, is_outbox},
    host::About,
    queue::Event,
    readers::Chain,
    world::World,
};

/// How long a client waits for an answer.
const PATIENCE: Span = Span::secs(12);
/// How often it asks in all.
const TRIES: u32 = 7;
/// How long it goes on asking: a signed time is good for a minute.
const PERSISTENCE: Span = Span::secs(45);
/// The drawers in use: two anybody may store in, two that are the owner's, one in which the owner's latest
/// message is for all to see.
const PUBLIC: [Namespace; 2] = [Namespace::INBOX, Namespace(10)];
const PRIVATE: [Namespace; 2] = [Namespace(1), Namespace(7)];
const OUTBOX: Namespace = Namespace(-1);
/// How many subaccounts each account has.
const FRIENDS: usize = 2;
/// How many requests are remembered to be sent again as they are.
const REMEMBERED: usize = 64;

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) accounts: Vec<Account>,
    ops: BTreeMap<u64, Op>,
    next_op: u64,
    reads: BTreeMap<(usize, Namespace), Read>,
    sent: Vec<(usize, Request)>,
}

/// An account and its owner.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    pair: KeyPair,
    /// How far its owner's clock is off, in microseconds.
    ahead: i64,
    /// The last time it signed, in milliseconds since 1970.
    signed: u64,
    /// Keeps a cursor for each member, or one for all.
    thorough: bool,
    known: Vec<(MessageHash, Namespace)>,
    /// Those to whom the owner gave rights.
    friends: Vec<Friend>,
    /// Nothing is ever stored there.
    empty: bool,
}

/// A subaccount.
#[derive(Debug)]
struct Friend {
    pair: KeyPair,
    subaccount: Subaccount,
}

/// Where the owner of a drawer has read to.
#[derive(Debug, Default)]
struct Read {
    chain: Chain,
    busy: bool,
}

/// One request, until it is done or given up.
#[derive(Debug)]
struct Op {
    account: usize,
    request: Request,
    aim: Aim,
    target: usize,
    /// Names the attempt whose answer counts.
    attempt: u32,
    tries: u32,
    until: Time,
    /// When it was sent last.
    sent: Time,
    /// Receipts that hold, one of each member by the map that acts.
    receipts: Vec<Receipt>,
    /// The version of that map.
    version: u64,
    /// It must come to a good end: everything has healed.
    must: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Write,
    Read,
    /// It is wrong, and must be refused.
    Refusal,
}

impl Clients {
    pub(super) fn new(accounts: Vec<Account>) -> Self {
        Self { accounts, ops: BTreeMap::new(), next_op: 0, reads: BTreeMap::new(), sent: Vec::new() }
    }

    /// Which drawer a request reads.
    fn about(&self, op: u64) -> Option<&Request> {
        self.ops.get(&op).map(|op| &op.request)
    }

    /// Where every owner has read to.
    pub(super) fn chains(&self) -> impl Iterator<Item = ((AccountId, Namespace), &Chain)> {
        self.reads
            .iter()
            .map(|((account, namespace), read)| ((self.accounts[*account].id, *namespace), &read.chain))
    }

    /// Requests under way.
    pub(super) fn pending(&self) -> usize {
        self.ops.len()
    }
}

impl Account {
    pub(super) fn new(pair: KeyPair, group: bool, ahead: i64, thorough: bool, empty: bool) -> Self {
        let mut id = [0x03; AccountId::LEN];
        id[1..].copy_from_slice(&pair.public());
        let group_id = AccountId::from_bytes(id);
        let id = if group { group_id } else { AccountId::of_person(&pair.public()).unwrap_or(group_id) };
        let friend = |number: usize| {
            let seed = blake2b(&[b"friend", id.as_bytes(), &number.to_be_bytes()]);
            let friend = KeyPair::from_seed(&seed);
            let rights = Rights::READ.and(Rights::WRITE).and(Rights::DELETE);
            let token = Token::new(id.as_bytes()[0], rights, &friend.public());
            Friend { pair: friend, subaccount: Subaccount::grant(&pair, token) }
        };
        let friends = (0..FRIENDS).map(friend).collect();
        Self { id, pair, ahead, signed: 0, thorough, known: Vec::new(), friends, empty }
    }

    /// What the owner's clock shows, in milliseconds since 1970.
    const fn clock(&self, now: Time) -> u64 {
        Time(now.0.saturating_add_signed(self.ahead)).as_millis()
    }

    /// A time to sign with: the owner never signs two requests at one moment.
    pub(super) fn sign_time(&mut self, now: Time) -> u64 {
        self.signed = self.clock(now).max(self.signed + 1);
        self.signed
    }

    pub(super) fn auth(&self, time: u64, said: &session_protocols::Statement) -> Auth {
        Auth::sign(&self.id, &self.pair, time, said)
    }

    /// The same by a subaccount, if one is named.
    fn auth_by(&self, friend: Option<usize>, time: u64, said: &session_protocols::Statement) -> Auth {
        let Some(friend) = friend.and_then(|friend| self.friends.get(friend)) else {
            return self.auth(time, said);
        };
        let owner = (!self.id.shows_key()).then(|| self.pair.public());
        Auth::sign_for(owner, &friend.pair, friend.subaccount, time, said)
    }

    /// The hashes by which the revocations of its subaccounts are known.
    pub(super) fn rights(&self) -> impl Iterator<Item = MessageHash> {
        self.friends.iter().map(|friend| friend.subaccount.token.hash(&self.id))
    }

    /// The token of one of its subaccounts.
    pub(super) fn token(&self) -> Option<Token> {
        self.friends.first().map(|friend| friend.subaccount.token)
    }
}

impl World {
    /// Does something new, and sets the time for the next.
    pub(super) fn act(&mut self) {
        if self.now >= self.rest {
            return;
        }
        let pause = Span(self.dice.client.below(2 * self.pace.0) + 1);
        self.queue.push(self.now.after(pause), Event::Act);
        let account = self.dice.client.index(self.clients.accounts.len());
        if self.clients.accounts[account].empty {
            return match self.dice.client.below(10) {
                0..5 => self.revoke(account),
                5 => self.delete_in(account),
                _ => self.read(account),
            };
        }
        match self.dice.client.below(124) {
            100..105 => self.delete_in(account),
            105..108 => self.expire_in(account),
            108..115 => self.race(account),
            115..120 => self.revoke(account),
            0..45 => self.store_new(account),
            45..52 => self.store_again(account),
            52..63 => self.delete(account),
            63..73 => self.expire(account),
            73..76 => self.repeat(),
            76..80 => self.wrong(account),
            _ => self.read(account),
        }
    }

    /// A life for a message: some end during the run, most do not.
    fn ttl(&mut self) -> u64 {
        let dice = &mut self.dice.client;
        match dice.below(10) {
            0 => dice.between(10_000, 60_000),
            1 | 2 => dice.between(60_000, 400_000),
            _ => dice.between(3_600_000, 13 * 24 * 3_600_000),
        }
    }

    /// Who asks: mostly the owner, at times a subaccount.
    fn asker(&mut self) -> Option<usize> {
        self.dice.client.chance(150).then(|| self.dice.client.index(FRIENDS))
    }

    fn store_new(&mut self, account: usize) {
        let dice = &mut self.dice.client;
        let public = dice.chance(550);
        let namespace = dice.pick(if public { &PUBLIC } else { &PRIVATE }).unwrap_or_default();
        let len = if dice.chance(10) { dice.between(1_000, 20_000) } else { dice.between(1, 400) };
        let data = dice.bytes(len as usize);
        let signed = !public || dice.chance(150);
        // A stranger's message may have been long under way.
        let late = if !signed && dice.chance(200) { dice.between(1_000, 400_000) } else { 0 };
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        self.store(account, namespace, data, (time, late), signed, None);
    }

    /// Two devices of one owner write to the outbox at once, each at a member of its own.
    fn race(&mut self, account: usize) {
        let time = self.clients.accounts[account].sign_time(self.now);
        let same = self.dice.client.coin();
        // Which of two came first shows in the tombstones until members have compared.
        let devices = if self.now < self.heal { 2 } else { 1 };
        for device in 0..devices {
            let data = self.dice.client.bytes(40);
            let time =
                if same || device == 0 { time } else { self.clients.accounts[account].sign_time(self.now) };
            let target = self.target(account);
            self.store(account, OUTBOX, data, (time, 0), true, Some(target));
        }
        self.counts.raced += 1;
    }

    /// Stores what was stored before, with another end, deleted or not.
    fn store_again(&mut self, account: usize) {
        let known = self.dice.client.pick(&self.clients.accounts[account].known);
        let Some((hash, namespace)) = known else { return self.store_new(account) };
        let Some(data) = self.messages.get(&hash).cloned() else { return };
        let signed = !namespace.class().anyone_stores() || self.dice.client.chance(300);
        let time = self.clients.accounts[account].sign_time(self.now);
        self.store(account, namespace, data, (time, 0), signed, None);
    }

    /// Stores something that was signed or sent at a time, `late` milliseconds after it was made.
    fn store(
        &mut self,
        account: usize,
        namespace: Namespace,
        data: Vec<u8>,
        (time, late): (u64, u64),
        signed: bool,
        target: Option<usize>,
    ) {
        let ttl = self.ttl();
        let friend = self.asker();
        let owner = &mut self.clients.accounts[account];
        let (timestamp, expiry) = (time - late, time + ttl);
        let mut request =
            Store { account: owner.id, namespace, timestamp, expiry, data: ByteBuf::from(data), auth: None };
        let hash = request.hash();
        let mut stamp = None;
        if signed {
            let said = request.statement(&self.network, time);
            stamp = Some(Stamp { time, digest: said.digest() });
            request.auth = Some(owner.auth_by(friend, time, &said));
        }
        let drawer = (owner.id, namespace);
        if !owner.known.contains(&(hash, namespace)) {
            owner.known.push((hash, namespace));
            self.checks.drawers.entry(drawer).or_default().push(hash);
        }
        self.messages.entry(hash).or_insert_with(|| request.data.to_vec());
        let fate = self.checks.fates.entry(hash).or_insert_with(|| Fate::new(drawer));
        fate.stores.push(Stored { stamp, timestamp, expiry, asked: self.now, acknowledged: None });
        if let Some(stamp) = stamp.filter(|_| is_outbox(namespace)) {
            let (drawers, does) = (Drawers::One(namespace), Does::Replace);
            let whole = Whole { stamp, drawers, before: None, does, sent: self.now };
            self.checks.asked_of_drawers(request.account, whole);
        }
        self.checks.asked_to_store(&hash);
        let request = Request::Store(request);
        match target {
            Some(target) => self.open_at(account, request, Aim::Write, target),
            None => self.open(account, request, Aim::Write),
        }
    }

    /// One drawer, or all.
    fn some_drawers(&mut self) -> Drawers {
        let one = self.dice.client.pick(&[PUBLIC[0], PUBLIC[1], PRIVATE[0], PRIVATE[1], OUTBOX]);
        let all = self.dice.client.chance(300);
        one.filter(|_| !all).map_or(Drawers::All, Drawers::One)
    }

    /// Deletes what is in a drawer or in all, or what of it was sent before some moment.
    fn delete_in(&mut self, account: usize) {
        let drawers = self.some_drawers();
        let ago = self.dice.client.chance(600).then(|| self.dice.client.between(0, 240_000));
        let friend = self.asker();
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let before = ago.map(|ago| time - ago);
        let which = Which::In { drawers, before, most: None };
        let mut request = Delete { account: owner.id, which, required: false, auth: unsigned(time) };
        let said = request.statement(&self.network, time);
        request.auth = owner.auth_by(friend, time, &said);
        let stamp = Stamp { time, digest: said.digest() };
        let whole = Whole { stamp, drawers, before, does: Does::Delete, sent: self.now };
        self.checks.asked_of_drawers(request.account, whole);
        self.open(account, Request::Delete(request), Aim::Write);
    }

    /// Lets everything in a drawer, or in all, end by some moment.
    fn expire_in(&mut self, account: usize) {
        let drawers = self.some_drawers();
        let ttl = self.ttl();
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let expiry = time + ttl;
        let which = Which::In { drawers, before: None, most: None };
        let ends = Ends::All(expiry);
        let mut request = Expire { account: owner.id, which, ends, only: None, auth: unsigned(time) };
        let said = request.statement(&self.network, time);
        request.auth = owner.auth(time, &said);
        let stamp = Stamp { time, digest: said.digest() };
        let does = Does::Expire(expiry);
        self.checks
            .asked_of_drawers(request.account, Whole { stamp, drawers, before: None, does, sent: self.now });
        self.open(account, Request::Expire(request), Aim::Write);
    }

    /// Takes rights away, or gives them back.
    fn revoke(&mut self, account: usize) {
        let (both, which) = (self.dice.client.chance(300), self.dice.client.index(FRIENDS));
        let undo = self.dice.client.chance(400);
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let friends = owner.friends.iter().enumerate().filter(|(at, _)| both || *at == which);
        let tokens: Vec<_> = friends.map(|(_, friend)| friend.subaccount.token).collect();
        let mut request = Revoke { account: owner.id, tokens, undo, auth: unsigned(time) };
        let said = request.statement(&self.network, time);
        request.auth = owner.auth(time, &said);
        let stamp = Stamp { time, digest: said.digest() };
        for token in &request.tokens {
            let key = (request.account, token.hash(&request.account));
            self.checks.rights.entry(key).or_default().push(Said { stamp, undo, acknowledged: false });
        }
        self.open(account, Request::Revoke(request), Aim::Write);
    }

    fn some_known(&mut self, account: usize) -> Vec<MessageHash> {
        let count = self.dice.client.between(1, 3);
        let known = &self.clients.accounts[account].known;
        let mut hashes: Vec<_> =
            (0..count).filter_map(|_| self.dice.client.pick(known)).map(|(hash, _)| hash).collect();
        if self.dice.client.chance(50) {
            hashes.push(MessageHash(self.dice.client.array()));
        }
        hashes
    }

    fn delete(&mut self, account: usize) {
        let hashes = self.some_known(account);
        if hashes.is_empty() {
            return self.store_new(account);
        }
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let mut request =
            Delete { account: owner.id, which: Which::Hashes(hashes), required: false, auth: unsigned(time) };
        let said = request.statement(&self.network, time);
        request.auth = owner.auth(time, &said);
        let stamp = Stamp { time, digest: said.digest() };
        for hash in request.which.hashes() {
            if let Some(fate) = self.checks.fates.get_mut(hash) {
                fate.deletions.push(Deletion { stamp, bound: None, acknowledged: false });
            }
        }
        self.open(account, Request::Delete(request), Aim::Write);
    }

    fn expire(&mut self, account: usize) {
        let hashes = self.some_known(account);
        if hashes.is_empty() {
            return self.store_new(account);
        }
        let dice = &mut self.dice.client;
        let ttl = match dice.below(4) {
            0 => dice.between(8_000, 60_000),
            1 => dice.between(60_000, 400_000),
            _ => dice.between(3_600_000, MAX_TTL.as_millis() - 10_000),
        };
        let only = dice.pick(&[None, None, Some(Direction::Shorten), Some(Direction::Extend)]).flatten();
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let expiry = time + ttl;
        let mut request = Expire {
            account: owner.id,
            which: Which::Hashes(hashes),
            ends: Ends::All(expiry),
            only,
            auth: unsigned(time),
        };
        let said = request.statement(&self.network, time);
        request.auth = owner.auth(time, &said);
        let stamp = Stamp { time, digest: said.digest() };
        for hash in request.which.hashes() {
            if let Some(fate) = self.checks.fates.get_mut(hash) {
                fate.changes.push(Change { stamp, expiry, acknowledged: false });
            }
        }
        self.open(account, Request::Expire(request), Aim::Write);
    }

    /// Sends an older request again, as it is; it may be too old by now.
    fn repeat(&mut self) {
        let at = self.dice.client.index(self.clients.sent.len());
        if let Some((account, request)) = self.clients.sent.get(at).cloned() {
            self.open(account, request, Aim::Write);
        }
    }

    /// Asks for something that nobody may have.
    fn wrong(&mut self, account: usize) {
        let kind = self.dice.client.below(5);
        let noise: [u8; 64] = self.dice.client.array();
        let data = ByteBuf::from(self.dice.client.bytes(40));
        let hash = self.dice.client.pick(&self.clients.accounts[account].known).map(|(hash, _)| hash);
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let (namespace, expiry) = (PRIVATE[0], time + 3_600_000);
        let mut store = Store { account: owner.id, namespace, timestamp: time, expiry, data, auth: None };
        let request = match (kind, hash) {
            (0, Some(hash)) => {
                let mut auth = unsigned(time);
                auth.key = owner.auth(time, &store.statement(&self.network, time)).key;
                auth.signature.0 = noise;
                let which = Which::Hashes(vec![hash]);
                Request::Delete(Delete { account: owner.id, which, required: false, auth })
            }
            // Unsigned in a private drawer.
            (1, _) => Request::Store(store),
            (2, _) => {
                let old = time - 200_000;
                let said = store.statement(&self.network, old);
                store.auth = Some(owner.auth(old, &said));
                Request::Store(store)
            }
            (3, _) => {
                store.expiry = time + MAX_TTL.as_millis() + 1;
                let said = store.statement(&self.network, time);
                store.auth = Some(owner.auth(time, &said));
                Request::Store(store)
            }
            _ => {
                let mut read = Retrieve {
                    account: owner.id,
                    namespace,
                    after: None,
                    last: None,
                    max_count: None,
                    max_size: None,
                    ids: None,
                    auth: None,
                };
                read.auth = Some(owner.auth(time, &read.statement(&self.network, time)));
                // Signed for another drawer.
                read.namespace = PRIVATE[1];
                Request::Retrieve(read)
            }
        };
        self.open(account, request, Aim::Refusal);
    }

    fn read(&mut self, account: usize) {
        let drawers = [PUBLIC[0], PUBLIC[1], PRIVATE[0], PRIVATE[1], OUTBOX];
        let namespace = self.dice.client.pick(&drawers).unwrap_or_default();
        let read = self.clients.reads.entry((account, namespace)).or_default();
        if std::mem::replace(&mut read.busy, true) {
            return;
        }
        let target = self.target(account);
        let friend = self.asker();
        let read = self.clients.reads.entry((account, namespace)).or_default();
        let owner = &mut self.clients.accounts[account];
        let after = if owner.thorough { read.chain.at(target) } else { read.chain.latest() };
        let max_count = self.dice.client.chance(600).then(|| self.dice.client.between(1, 4) as u32);
        let max_size = self.dice.client.chance(200).then(|| self.dice.client.between(1, 2_000) as u32);
        let time = owner.sign_time(self.now);
        let mut request = Retrieve {
            account: owner.id,
            namespace,
            after,
            last: None,
            max_count,
            max_size,
            ids: None,
            auth: None,
        };
        request.auth = Some(owner.auth_by(friend, time, &request.statement(&self.network, time)));
        self.open_at(account, Request::Retrieve(request), Aim::Read, target);
    }

    /// A member of the account's swarm; now and then any node.
    fn target(&mut self, account: usize) -> usize {
        if self.dice.client.chance(40) {
            return self.dice.client.index(self.nodes.len());
        }
        self.some_member(account)
    }

    pub(super) fn some_member(&mut self, account: usize) -> usize {
        let members = self.map.members_of(&self.clients.accounts[account].id);
        let member = self.dice.client.pick(members);
        member.and_then(|member| self.index.get(&member).copied()).unwrap_or_default()
    }

    fn open(&mut self, account: usize, request: Request, aim: Aim) {
        let target = self.target(account);
        self.open_at(account, request, aim, target);
    }

    fn open_at(&mut self, account: usize, request: Request, aim: Aim, target: usize) {
        self.clients.next_op += 1;
        let op = self.clients.next_op;
        let must = aim == Aim::Write && self.now >= self.settled;
        if aim == Aim::Write {
            let remembered = (account, request.clone());
            if self.clients.sent.len() < REMEMBERED {
                self.clients.sent.push(remembered);
            } else {
                self.clients.sent[(op % REMEMBERED as u64) as usize] = remembered;
            }
        }
        // A repeat may be too old to be taken, and a short life be over before the last try.
        let fresh = request_times(&request).is_none_or(|(made, ends)| {
            let clock = self.clients.accounts[account].clock(self.now);
            made + 10_000 > clock && ends > clock + 90_000
        });
        let until = self.now.after(PERSISTENCE);
        // Who is revoked is refused.
        let owner = request.auth().is_none_or(|auth| auth.subaccount.is_none());
        let must = must && fresh && owner;
        let (attempt, tries, receipts, version) = (0, 0, Vec::new(), self.map.version);
        let sent = self.now;
        let op_state =
            Op { account, request, aim, target, attempt, tries, until, sent, receipts, version, must };
        self.clients.ops.insert(op, op_state);
        self.attempt(op);
    }

    /// Sends a request, for the first time or again.
    fn attempt(&mut self, op: u64) {
        let Some(state) = self.clients.ops.get_mut(&op) else { return };
        state.attempt += 1;
        state.tries += 1;
        state.sent = self.now;
        if let (Some(account), Some(digest)) =
            (state.request.account(), digest_of(&self.network, &state.request))
        {
            self.checks.sent(*account, &digest, Some(self.now));
        }
        let (attempt, node) = (state.attempt, state.target);
        let bytes = codec::encode(&state.request);
        let host = &self.nodes[node];
        let (up, boot) = (host.up(), host.boot);
        if up && !self.client_drops() {
            let at = self.now.after(self.client_delay());
            self.queue.push(at, Event::Request { node, boot, op, attempt, bytes });
        }
        // Where nobody listens, that is often said at once.
        let refused = !up && self.dice.net.coin();
        let wait = if refused { self.client_delay() } else { PATIENCE };
        self.queue.push(self.now.after(wait), Event::Patience { op, attempt });
    }

    pub(super) fn patience(&mut self, op: u64, attempt: u32) -> Result<(), Violation> {
        if self.clients.ops.get(&op).is_some_and(|state| state.attempt == attempt) {
            return self.try_again(op, None);
        }
        Ok(())
    }

    /// Asks another member in a while, unless it was asked often enough.
    fn try_again(&mut self, op: u64, target: Option<usize>) -> Result<(), Violation> {
        let Some(state) = self.clients.ops.get_mut(&op) else { return Ok(()) };
        let account = state.account;
        let over = state.tries >= TRIES || self.now >= state.until || state.aim != Aim::Write;
        if over && (target.is_none() || state.tries >= TRIES) {
            return self.give_up(op);
        }
        // An answer to this attempt comes too late.
        state.attempt += 1;
        let member = target.unwrap_or_else(|| self.some_member(account));
        if let Some(state) = self.clients.ops.get_mut(&op) {
            state.target = member;
        }
        let pause = self.dice.client.span(Span::millis(200), Span::secs(2));
        self.queue.push(self.now.after(pause), Event::Again { op });
        Ok(())
    }

    pub(super) fn again(&mut self, op: u64) {
        self.attempt(op);
    }

    fn give_up(&mut self, op: u64) -> Result<(), Violation> {
        let Some(state) = self.clients.ops.remove(&op) else { return Ok(()) };
        match state.aim {
            Aim::Write if state.must => {
                let detail = format!("no majority for {:?} at node {}", state.request, state.target);
                return broken("writes succeed after healing", detail);
            }
            // Who is revoked asks in vain.
            Aim::Write if state.request.auth().is_some_and(|auth| auth.subaccount.is_some()) => {}
            Aim::Write => self.counts.given_up += 1,
            Aim::Read => self.end_read(&state),
            Aim::Refusal => {}
        }
        Ok(())
    }

    fn end_read(&mut self, state: &Op) {
        if let Request::Retrieve(request) = &state.request
            && let Some(read) = self.clients.reads.get_mut(&(state.account, request.namespace))
        {
            read.busy = false;
        }
    }

    /// An answer reaches a client.
    pub(super) fn answer(
        &mut self,
        op: u64,
        attempt: u32,
        from: usize,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let Some(state) = self.clients.ops.get(&op).filter(|state| state.attempt == attempt) else {
            return Ok(());
        };
        let (aim, honest) = (state.aim, !self.nodes[from].hostile);
        let Ok(answer) = codec::decode::<Answer>(bytes, answer::MAX_ANSWER) else {
            if honest {
                return broken("an answer can be read", format!("node {from}: {} bytes", bytes.len()));
            }
            return self.try_again(op, None);
        };
        match (answer.body, aim) {
            (Body::Refused(refusal), Aim::Refusal) => {
                self.counts.refused += u64::from(refusal.code != Code::NotReady);
                self.clients.ops.remove(&op);
                Ok(())
            }
            (body, Aim::Refusal) if honest => {
                let detail = format!("node {from} did {:?}: {body:?}", self.clients.about(op));
                broken("a wrong request is refused", detail)
            }
            (Body::Refused(refusal), Aim::Write | Aim::Read) => {
                let revoked = refusal.code == Code::Unauthorized && honest;
                self.counts.shut_out += u64::from(revoked);
                if let Some(receipts) = &refusal.receipts
                    && self.count(op, receipts)
                {
                    self.acknowledge(op);
                    return Ok(());
                }
                let swarm = refusal.swarm.filter(|_| refusal.code == Code::WrongSwarm);
                let next = swarm.and_then(|swarm| self.follow(op, from, &swarm.members)).transpose()?;
                self.try_again(op, next)
            }
            (Body::Stored { receipts, .. } | Body::Changed { receipts }, Aim::Write) => {
                if self.count(op, &receipts) {
                    self.acknowledge(op);
                    return Ok(());
                }
                // By another map they say nothing to this client.
                if honest && receipts.map_version == self.map.version {
                    let signed = receipts.signed.len();
                    let detail = format!("node {from} acknowledged with {signed} receipts");
                    return broken("a majority of receipts is behind an acknowledgement", detail);
                }
                self.try_again(op, None)
            }
            (Body::Messages { messages, cursor, .. }, Aim::Read) => {
                let Some(state) = self.clients.ops.remove(&op) else { return Ok(()) };
                self.end_read(&state);
                if let Request::Retrieve(request) = &state.request
                    && honest
                {
                    self.counts.reads += 1;
                    self.counts.delivered += messages.len() as u64;
                    let read = self.clients.reads.entry((state.account, request.namespace)).or_default();
                    read.chain.take(from, request.after, &messages, cursor);
                }
                Ok(())
            }
            (body, _) if honest => broken("an answer fits its request", format!("node {from} said {body:?}")),
            _ => self.try_again(op, None),
        }
    }

    /// Another swarm keeps the account: the client goes there when its map says the same.
    fn follow(
        &mut self,
        op: u64,
        from: usize,
        members: &[session_protocols::NodeId],
    ) -> Option<Result<usize, Violation>> {
        let account = self.clients.ops.get(&op)?.account;
        let own = self.map.members_of(&self.clients.accounts[account].id);
        if own == members {
            return Some(Ok(self.some_member(account)));
        }
        // The node may not have heard of the last border.
        let mut known = self.maps.all().chain(self.nodes[from].maps.all());
        let known = known.any(|map| map.swarms.values().any(|swarm| swarm == members));
        if self.nodes[from].hostile || known {
            return None;
        }
        Some(broken("a refusal names the right swarm", format!("node {from} named {members:?}")))
    }

    /// Counts the receipts that hold; whether they are a majority by now.
    fn count(&mut self, op: u64, receipts: &Receipts) -> bool {
        let Some(state) = self.clients.ops.get_mut(&op) else { return false };
        let Some(subject) = subject(&self.network, &state.request) else { return false };
        let members = self.map.members_of(&self.clients.accounts[state.account].id);
        if state.version != self.map.version {
            state.version = self.map.version;
            state.receipts.clear();
        }
        for receipt in &receipts.signed {
            let known = state.receipts.iter().any(|known| known.node == receipt.node);
            let alone = Receipts {
                map_version: receipts.map_version,
                signed: vec![receipt.clone()],
                missing: Vec::new(),
            };
            if !known
                && receipts.map_version == self.map.version
                && durable(&self.network, members, &subject, &alone) == 1
            {
                state.receipts.push(receipt.clone());
            }
        }
        is_majority(state.receipts.len(), members)
    }

    /// A write has its majority.
    fn acknowledge(&mut self, op: u64) {
        let Some(state) = self.clients.ops.remove(&op) else { return };
        let members = self.map.members_of(&self.clients.accounts[state.account].id);
        let sound = members
            .iter()
            .all(|member| self.index.get(member).is_some_and(|node| !self.checks.unsound(*node)));
        let listed = |hash: &MessageHash| {
            let lists = |receipt: &&Receipt| matches!(&receipt.done, Done::Changed { hashes } if hashes.contains(hash));
            let count = state.receipts.iter().filter(lists).count();
            // One that keeps its word and its disk is enough to tell the others.
            if sound { count > 0 } else { is_majority(count, members) }
        };
        let changed: BTreeSet<_> = state
            .receipts
            .iter()
            .filter_map(|receipt| match &receipt.done {
                Done::Changed { hashes } => Some(hashes),
                Done::Keeps { .. } => None,
            })
            .flatten()
            .copied()
            .collect();
        match &state.request {
            Request::Store(request) => {
                self.counts.acknowledged += 1;
                let keeps = state.receipts.iter().filter_map(|receipt| match &receipt.done {
                    Done::Keeps { expiry } => Some(*expiry),
                    Done::Changed { .. } => None,
                });
                let keeps = keeps.min().unwrap_or_default();
                let stamp = stamp_of(&self.network, request);
                let fate = self.checks.fates.get_mut(&request.hash());
                let store = fate.and_then(|fate| {
                    let same = |store: &&mut Stored| {
                        (store.stamp, store.timestamp, store.expiry)
                            == (stamp, request.timestamp, request.expiry)
                    };
                    fate.stores.iter_mut().find(same)
                });
                if let Some(store) = store {
                    let first = store.acknowledged.map_or(self.now, |(first, _)| first);
                    store.acknowledged = Some((first, keeps));
                }
            }
            Request::Delete(request) => {
                self.counts.deleted += 1;
                self.counts.emptied += u64::from(matches!(request.which, Which::In { .. }));
                let digest = request.statement(&self.network, request.auth.time).digest();
                for hash in changed.iter().filter(|hash| listed(hash)) {
                    let Some(fate) = self.checks.fates.get_mut(hash) else { continue };
                    for deletion in fate.deletions.iter_mut().filter(|one| one.stamp.digest == digest) {
                        deletion.acknowledged = true;
                    }
                }
            }
            Request::Expire(request) => {
                self.counts.changed += 1;
                let digest = request.statement(&self.network, request.auth.time).digest();
                for hash in changed.iter().filter(|hash| listed(hash)) {
                    let Some(fate) = self.checks.fates.get_mut(hash) else { continue };
                    for change in fate.changes.iter_mut().filter(|one| one.stamp.digest == digest) {
                        change.acknowledged = true;
                    }
                }
            }
            Request::Revoke(request) => {
                self.counts.revoked += 1;
                let digest = request.statement(&self.network, request.auth.time).digest();
                for hash in changed.iter().filter(|hash| listed(hash)) {
                    let said = self.checks.rights.get_mut(&(request.account, *hash)).into_iter().flatten();
                    for one in said.filter(|one| one.stamp.digest == digest) {
                        one.acknowledged = true;
                    }
                }
            }
            _ => {}
        }
    }

    /// A node answers a client: what it says of itself is noted and checked.
    pub(super) fn vouch_for_answer(
        &mut self,
        node: usize,
        (op, attempt): (u64, u32),
        answer: &Answer,
    ) -> Result<(), Violation> {
        let Some(state) = self.clients.ops.get(&op) else { return Ok(()) };
        let (request, host) = (&state.request, &self.nodes[node]);
        if state.attempt == attempt {
            self.checks.asked_by(node, host, state.sent, request, &answer.body)?;
        }
        match (&answer.body, request) {
            (Body::Messages { messages, .. }, Request::Retrieve(request)) => {
                let drawer = (request.account, request.namespace);
                self.checks.served(node, host, drawer, messages)?;
                self.checks.read(node, host, self.now, drawer)
            }
            (body, Request::Store(_) | Request::Delete(_)) => {
                if let (Body::Stored { .. }, Request::Store(request)) = (body, request) {
                    self.checks.stored(node, &self.nodes, self.now, request)?;
                }
                let about = match request {
                    Request::Store(request) => About::Store(request.account, request.hash()),
                    _ => request.account().map_or(About::Expire, |account| About::Delete(*account)),
                };
                let receipts = match body {
                    Body::Stored { receipts, .. } | Body::Changed { receipts } => Some(receipts),
                    Body::Refused(refusal) => refusal.receipts.as_ref(),
                    _ => None,
                };
                if let Some(receipts) = receipts {
                    self.checks.promised_client(node, host.id, &about, &receipts.signed);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A place for a signature.
pub(super) const fn unsigned(time: u64) -> Auth {
    let signature = session_protocols::Signature([0; 64]);
    Auth { key: None::<ByteArray<32>>, time, signature, subaccount: None, form: Form::Statement }
}

fn stamp_of(network: &session_protocols::NetworkName, request: &Store) -> Option<Stamp> {
    let time = request.auth.as_ref()?.time;
    Some(Stamp { time, digest: request.statement(network, time).digest() })
}

/// When a request was signed or made, and when what it asks for ends.
fn request_times(request: &Request) -> Option<(u64, u64)> {
    match request {
        Request::Store(request) => {
            Some((request.auth.as_ref().map_or(request.timestamp, |auth| auth.time), request.expiry))
        }
        Request::Delete(request) => Some((request.auth.time, u64::MAX)),
        Request::Expire(request) => Some((request.auth.time, request.end(0))),
        Request::Revoke(request) => Some((request.auth.time, u64::MAX)),
        _ => None,
    }
}

/// What the receipts for a request are about.
fn subject(network: &session_protocols::NetworkName, request: &Request) -> Option<Subject> {
    match request {
        Request::Store(request) => Some(Subject::Message {
            account: request.account,
            namespace: request.namespace,
            hash: request.hash(),
        }),
        _ => {
            let (account, digest) = (*request.account()?, digest_of(network, request)?);
            Some(Subject::Request { account, digest })
        }
    }
}

/// The digest of a change as its owner signed it.
fn digest_of(network: &session_protocols::NetworkName, request: &Request) -> Option<[u8; 32]> {
    let statement = match request {
        Request::Delete(request) => request.statement(network, request.auth.time),
        Request::Expire(request) => request.statement(network, request.auth.time),
        Request::Revoke(request) => request.statement(network, request.auth.time),
        _ => return None,
    };
    Some(statement.digest())
}
