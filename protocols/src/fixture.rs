//! What the tests of this crate are made of: people, nodes, and requests with sound signatures.

use serde_bytes::ByteBuf;

use crate::{
    AccountId, KeyPair, MessageHash, Namespace, NetworkName, NodeId, Signature, Span, SwarmId, SwarmMap,
    Time,
    record::Mutation,
    request::{Auth, Cursor, Delete, Direction, Expire, Fetch, Retrieve, Store},
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

    pub(crate) fn delete(&self, hashes: &[MessageHash], time: u64) -> Delete {
        let mut request = Delete { account: self.account, hashes: hashes.to_vec(), auth: unsigned(time) };
        let statement = request.statement(&network(), ms(time));
        request.auth = Auth::sign(&self.account, &self.pair, ms(time), &statement);
        request
    }

    pub(crate) fn expire(
        &self,
        hashes: &[MessageHash],
        expiry: u64,
        only: Option<Direction>,
        time: u64,
    ) -> Expire {
        let mut request = Expire {
            account: self.account,
            hashes: hashes.to_vec(),
            expiry: ms(expiry),
            only,
            auth: unsigned(time),
        };
        let statement = request.statement(&network(), ms(time));
        request.auth = Auth::sign(&self.account, &self.pair, ms(time), &statement);
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
        let mut request = Retrieve {
            account: self.account,
            namespace: Namespace::INBOX,
            after,
            max_count,
            max_size,
            ids: None,
            auth: unsigned(time),
        };
        let statement = request.statement(&network(), ms(time));
        request.auth = Auth::sign(&self.account, &self.pair, ms(time), &statement);
        request
    }

    pub(crate) fn fetch(&self, hashes: &[MessageHash], time: u64) -> Fetch {
        let (account, namespace) = (self.account, Namespace::INBOX);
        let mut request = Fetch { account, namespace, hashes: hashes.to_vec(), auth: unsigned(time) };
        let statement = request.statement(&network(), ms(time));
        request.auth = Auth::sign(&self.account, &self.pair, ms(time), &statement);
        request
    }
}

/// Authority before it is signed.
pub(crate) fn unsigned(time: u64) -> Auth {
    Auth { key: None, time: ms(time), signature: Signature([0; 64]) }
}

/// A deletion as a client asks for it.
pub(crate) fn deletion(request: Delete) -> Mutation {
    Mutation::Delete { request, held: Vec::new() }
}

/// A change of expiry as a client asks for it.
pub(crate) fn change(request: Expire) -> Mutation {
    Mutation::Expire { request, held: Vec::new() }
}
