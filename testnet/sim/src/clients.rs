//! Simulated clients: who they are ([`Account`]), what they ask (`asks`), what they sign for the JSON door
//! (`text`), whom they ask and when they give up (`sending`), and how they judge answers (`answers`).

#![allow(clippy::wildcard_enum_match_arm, reason = "what a client does with most requests is the same")]

use std::collections::{BTreeMap, BTreeSet};

use serde_bytes::ByteArray;
use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace, NetworkName, Signature, Statement, Time,
    answer::Receipt,
    identity::blake2b,
    request::{Auth, Door, Form, Request, Rights, Subaccount, Token},
};

use super::readers::Chain;

mod answers;
mod asks;
mod sending;
mod text;

pub(super) use text::arrives;

/// The drawers in use: two anybody may store in, two that are the owner's, one in which the owner's latest
/// message is for all to see.
const PUBLIC: [Namespace; 2] = [Namespace::INBOX, Namespace(10)];
const PRIVATE: [Namespace; 2] = [Namespace(1), Namespace(7)];
const OUTBOX: Namespace = Namespace(-1);
/// How many subaccounts each account has.
const FRIENDS: usize = 2;

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) accounts: Vec<Account>,
    ops: BTreeMap<u64, Op>,
    next_op: u64,
    reads: BTreeMap<(usize, Namespace), Read>,
    sent: Vec<(usize, Request)>,
    /// Races for an outbox in which one of two devices had its answer, by the number of the first's request.
    half_raced: BTreeSet<u64>,
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
    /// The last message that its owner's client of the JSON door was given, whoever gave it.
    last: Option<MessageHash>,
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
    /// It was sent while members of the swarm could not reach each other.
    apart: bool,
    /// It was first sent while no member kept anything of the account.
    empty: bool,
    /// The race that it is part of, see [`Clients::half_raced`].
    race: Option<u64>,
}

impl Op {
    /// Whether it was made as clients of the JSON door make it.
    fn by_text(&self) -> bool {
        self.request.auth().is_some_and(|auth| auth.form.door() == Door::Json)
    }
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
        Self {
            accounts,
            ops: BTreeMap::new(),
            next_op: 0,
            reads: BTreeMap::new(),
            sent: Vec::new(),
            half_raced: BTreeSet::new(),
        }
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

    /// Whether a request was made as clients of the JSON door make it.
    fn of_json(&self, op: u64) -> bool {
        self.ops.get(&op).is_some_and(Op::by_text)
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

    pub(super) fn auth(&self, time: u64, said: &Statement) -> Auth {
        self.auth_by(None, time, said, None)
    }

    /// Signs as the owner, or as a subaccount if one is named: the statement, or the text if there is one.
    fn auth_by(&self, friend: Option<usize>, time: u64, said: &Statement, text: Option<&[u8]>) -> Auth {
        let friend = friend.and_then(|friend| self.friends.get(friend));
        let mut auth = match friend {
            None => Auth::sign(&self.id, &self.pair, time, said),
            Some(friend) => {
                let owner = (!self.id.shows_key()).then(|| self.pair.public());
                Auth::sign_for(owner, &friend.pair, friend.subaccount, time, said)
            }
        };
        if let Some(text) = text {
            auth.signature = friend.map_or(&self.pair, |friend| &friend.pair).sign(text);
            auth.form = Form::text();
        }
        auth
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

/// A place for a signature.
pub(super) const fn unsigned(time: u64) -> Auth {
    let signature = Signature([0; 64]);
    Auth { key: None::<ByteArray<32>>, time, signature, subaccount: None, form: Form::Statement }
}

/// The digest of a change as its owner signed it.
fn digest_of(network: &NetworkName, request: &Request) -> Option<[u8; 32]> {
    let statement = match request {
        Request::Delete(request) => request.statement(network, request.auth.time),
        Request::Expire(request) => request.statement(network, request.auth.time),
        Request::Revoke(request) => request.statement(network, request.auth.time),
        _ => return None,
    };
    Some(statement.digest())
}
