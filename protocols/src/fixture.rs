//! What the tests of this crate are made of: people, nodes, and requests with sound signatures.

use serde_bytes::ByteBuf;

use crate::{
    AccountId, KeyPair, MessageHash, Namespace, NetworkName, NodeId, Signature, Span, Statement, SwarmId,
    SwarmMap, Time,
    record::Mutation,
    request::{
        Auth, Cursor, Delete, Direction, Drawers, Ends, Expire, Fetch, Form, GetExpiries, GetRevoked,
        Request, Retrieve, Revoke, Rights, Store, Subaccount, Token, Which,
    },
};

/// The moment at which tests begin.
pub(crate) const NOW: Time = Time::from_millis(1_700_000_000_000);

/// The moment `secs` seconds after [`NOW`].
pub(crate) fn at(secs: u64) -> Time {
    NOW.after(Span::secs(secs))
}

/// The same in milliseconds since 1970.
pub(crate) fn ms(secs: u64) -> u64 {
    at(secs).as_millis()
}

pub(crate) fn network() -> NetworkName {
    "test".parse().unwrap()
}

/// The key of a node.
pub(crate) fn node(number: u8) -> KeyPair {
    KeyPair::from_seed(&[number.wrapping_add(100); 32])
}

/// The ids of nodes 0 to `count`.
pub(crate) fn nodes(count: u8) -> Vec<NodeId> {
    (0..count).map(|number| node(number).node_id()).collect()
}

/// A map of one swarm.
pub(crate) fn one_swarm(members: Vec<NodeId>) -> SwarmMap {
    SwarmMap { version: 3, swarms: [(SwarmId(0), members)].into() }
}

/// A person and its requests; times are in seconds after [`NOW`].
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) pair: KeyPair,
    pub(crate) account: AccountId,
}

impl Person {
    pub(crate) fn new(number: u8) -> Self {
        let pair = KeyPair::from_seed(&[number.wrapping_add(1); 32]);
        let account = AccountId::of_person(&pair.public()).unwrap();
        Self { pair, account }
    }

    /// A group: its id is its key.
    pub(crate) fn group(number: u8) -> Self {
        let pair = KeyPair::from_seed(&[number.wrapping_add(50); 32]);
        let mut bytes = [0x03; 33];
        bytes[1..].copy_from_slice(&pair.public());
        Self { pair, account: AccountId::from_bytes(bytes) }
    }

    pub(crate) fn hash(&self, text: &str) -> MessageHash {
        MessageHash::of(&self.account, Namespace::INBOX, text.as_bytes())
    }

    /// A stranger's message into the inbox.
    pub(crate) fn post(&self, text: &str, sent: u64, expiry: u64) -> Store {
        Store {
            account: self.account,
            namespace: Namespace::INBOX,
            timestamp: ms(sent),
            expiry: ms(expiry),
            data: ByteBuf::from(text),
            auth: None,
        }
    }

    /// The owner's own store, signed at `time`.
    pub(crate) fn keep(&self, text: &str, time: u64, expiry: u64) -> Store {
        self.signed(Store { timestamp: ms(time), ..self.post(text, time, expiry) }, time)
    }

    pub(crate) fn signed(&self, mut request: Store, time: u64) -> Store {
        let statement = request.statement(&network(), ms(time));
        request.auth = Some(Auth::sign(&self.account, &self.pair, ms(time), &statement));
        request
    }

    /// Its proof of what the statement says, signed at `time`.
    fn sign(&self, statement: &Statement, time: u64) -> Auth {
        Auth::sign(&self.account, &self.pair, ms(time), statement)
    }

    /// The owner's own store into a drawer, signed at `time`.
    pub(crate) fn keep_in(&self, namespace: i16, text: &str, time: u64, expiry: u64) -> Store {
        self.signed(Store { namespace: Namespace(namespace), ..self.post(text, time, expiry) }, time)
    }

    pub(crate) fn hash_in(&self, namespace: i16, text: &str) -> MessageHash {
        MessageHash::of(&self.account, Namespace(namespace), text.as_bytes())
    }

    pub(crate) fn delete(&self, hashes: &[MessageHash], time: u64) -> Delete {
        self.delete_which(Which::Hashes(hashes.to_vec()), time)
    }

    /// A deletion of whole drawers, of what was sent at or before some second.
    pub(crate) fn delete_in(&self, drawers: Drawers, before: Option<u64>, time: u64) -> Delete {
        self.delete_which(Which::In { drawers, before: before.map(ms), most: None }, time)
    }

    pub(crate) fn delete_which(&self, which: Which, time: u64) -> Delete {
        let mut request = Delete { account: self.account, which, required: false, auth: unsigned(time) };
        request.auth = self.sign(&request.statement(&network(), ms(time)), time);
        request
    }

    pub(crate) fn expire(
        &self,
        hashes: &[MessageHash],
        expiry: u64,
        only: Option<Direction>,
        time: u64,
    ) -> Expire {
        self.expire_which(Which::Hashes(hashes.to_vec()), Ends::All(ms(expiry)), only, time)
    }

    /// A new end for everything in some drawers.
    pub(crate) fn expire_in(&self, drawers: Drawers, expiry: u64, time: u64) -> Expire {
        self.expire_which(Which::In { drawers, before: None, most: None }, Ends::All(ms(expiry)), None, time)
    }

    pub(crate) fn expire_which(
        &self,
        which: Which,
        ends: Ends,
        only: Option<Direction>,
        time: u64,
    ) -> Expire {
        let mut request = Expire { account: self.account, which, ends, only, auth: unsigned(time) };
        request.auth = self.sign(&request.statement(&network(), ms(time)), time);
        request
    }

    pub(crate) fn revoke(&self, tokens: &[Token], time: u64) -> Revoke {
        self.revoke_or_not(tokens, false, time)
    }

    /// Gives subaccounts their rights back.
    pub(crate) fn unrevoke(&self, tokens: &[Token], time: u64) -> Revoke {
        self.revoke_or_not(tokens, true, time)
    }

    fn revoke_or_not(&self, tokens: &[Token], undo: bool, time: u64) -> Revoke {
        let (account, tokens) = (self.account, tokens.to_vec());
        let mut request = Revoke { account, tokens, undo, auth: unsigned(time) };
        request.auth = self.sign(&request.statement(&network(), ms(time)), time);
        request
    }

    pub(crate) fn get_expiries(&self, hashes: Option<&[MessageHash]>, time: u64) -> GetExpiries {
        let hashes = hashes.map(<[MessageHash]>::to_vec);
        let mut request = GetExpiries { account: self.account, hashes, auth: unsigned(time) };
        request.auth = self.sign(&request.statement(&network(), ms(time)), time);
        request
    }

    pub(crate) fn get_revoked(&self, time: u64) -> GetRevoked {
        let mut request = GetRevoked { account: self.account, auth: unsigned(time) };
        request.auth = self.sign(&request.statement(&network(), ms(time)), time);
        request
    }

    pub(crate) fn retrieve(&self, after: Option<Cursor>) -> Retrieve {
        self.retrieve_at(after, None, None, 0)
    }

    pub(crate) fn retrieve_at(
        &self,
        after: Option<Cursor>,
        max_count: Option<u32>,
        max_size: Option<u32>,
        time: u64,
    ) -> Retrieve {
        let request = Retrieve { after, max_count, max_size, ..self.look(0) };
        let auth = Some(self.sign(&request.statement(&network(), ms(time)), time));
        Retrieve { auth, ..request }
    }

    /// A stranger's look into a drawer.
    pub(crate) fn look(&self, namespace: i16) -> Retrieve {
        Retrieve {
            account: self.account,
            namespace: Namespace(namespace),
            after: None,
            last: None,
            max_count: None,
            max_size: None,
            ids: None,
            auth: None,
        }
    }

    pub(crate) fn fetch(&self, hashes: &[MessageHash], time: u64) -> Fetch {
        let (account, namespace) = (self.account, Namespace::INBOX);
        let mut request = Fetch { account, namespace, hashes: hashes.to_vec(), auth: None };
        request.auth = Some(self.sign(&request.statement(&network(), ms(time)), time));
        request
    }

    /// A subaccount of this account.
    pub(crate) fn friend(&self, number: u8, rights: Rights) -> Friend {
        let pair = KeyPair::from_seed(&[number.wrapping_add(200); 32]);
        let token = Token::new(self.account.as_bytes()[0], rights, &pair.public());
        let owner = (!self.account.shows_key()).then(|| self.pair.public());
        Friend { pair, owner, subaccount: Subaccount::grant(&self.pair, token) }
    }
}

/// A subaccount: a key, and what the owner signed for it.
#[derive(Clone, Debug)]
pub(crate) struct Friend {
    pub(crate) pair: KeyPair,
    /// The owner's key, where the account's id does not show it.
    pub(crate) owner: Option<[u8; 32]>,
    pub(crate) subaccount: Subaccount,
}

impl Friend {
    pub(crate) fn token(&self) -> Token {
        self.subaccount.token
    }

    /// The same request, signed by the subaccount at `time` instead.
    pub(crate) fn asks(&self, mut request: Request, time: u64) -> Request {
        let statement = statement(&request, time);
        let auth = Auth::sign_for(self.owner, &self.pair, self.subaccount, ms(time), &statement);
        *auth_of(&mut request) = auth;
        request
    }
}

/// What a request's signature covers.
pub(crate) fn statement(request: &Request, time: u64) -> Statement {
    let (network, time) = (network(), ms(time));
    match request {
        Request::Store(request) => request.statement(&network, time),
        Request::Retrieve(request) => request.statement(&network, time),
        Request::Fetch(request) => request.statement(&network, time),
        Request::GetExpiries(request) => request.statement(&network, time),
        Request::Delete(request) => request.statement(&network, time),
        Request::Expire(request) => request.statement(&network, time),
        Request::Revoke(request) => request.statement(&network, time),
        Request::GetRevoked(request) => request.statement(&network, time),
        other => panic!("nobody signs {other:?}"),
    }
}

/// A request's proof; an empty one where there was none.
pub(crate) fn auth_of(request: &mut Request) -> &mut Auth {
    let none = || unsigned(0);
    match request {
        Request::Store(request) => request.auth.get_or_insert_with(none),
        Request::Retrieve(request) => request.auth.get_or_insert_with(none),
        Request::Fetch(request) => request.auth.get_or_insert_with(none),
        Request::GetExpiries(request) => &mut request.auth,
        Request::Delete(request) => &mut request.auth,
        Request::Expire(request) => &mut request.auth,
        Request::Revoke(request) => &mut request.auth,
        Request::GetRevoked(request) => &mut request.auth,
        other => panic!("nobody signs {other:?}"),
    }
}

/// The same request as it comes through the JSON door: its owner signs a text at `time`.
pub(crate) fn texted(person: &Person, mut request: Request, text: &[u8], time: u64) -> Request {
    let signature = person.pair.sign(text);
    let form = Form::text();
    *auth_of(&mut request) =
        Auth { signature, form, ..Auth::unsigned(&person.account, &person.pair, ms(time)) };
    request
}

/// What a member applies of a client's request.
pub(crate) fn mutation(request: Request) -> Mutation {
    let held = Vec::new();
    match request {
        Request::Store(request) => Mutation::Store(request),
        Request::Delete(request) => Mutation::Delete { request, held },
        Request::Expire(request) => Mutation::Expire { request, held },
        Request::Revoke(request) => Mutation::Revoke { request, held },
        other => panic!("{other:?} changes nothing"),
    }
}

/// Authority before it is signed.
pub(crate) fn unsigned(time: u64) -> Auth {
    let form = Form::Statement;
    Auth { key: None, time: ms(time), signature: Signature([0; 64]), subaccount: None, form }
}

/// A deletion as a client asks for it.
pub(crate) fn deletion(request: Delete) -> Mutation {
    Mutation::Delete { request, held: Vec::new() }
}

/// A change of expiry as a client asks for it.
pub(crate) fn change(request: Expire) -> Mutation {
    Mutation::Expire { request, held: Vec::new() }
}
