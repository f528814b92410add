//! Requests, receipts and what else travels, as the golden vectors have it.

use serde_bytes::ByteBuf;
use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace, Signature, Statement, SwarmId,
    answer::{Done, Message, Receipt, Receipts, Subject, SwarmInfo, Told},
    request::{
        Auth, Condition, Cursor, Delete, Direction, Drawers, Ends, Expire, Fetch, Form, GetExpiries,
        GetRevoked, Ids, If, Request, Retrieve, Revoke, Rights, Store, Subaccount, Token, Which,
    },
};

use crate::people::{ALICE, DAY, FRIEND, GROUP, TIME, alice, group, network, pair};

/// The node that speaks, and the members of its swarm.
pub(crate) const NODE: u8 = 3;
pub(crate) const MEMBERS: [u8; 3] = [3, 4, 5];

pub(crate) fn hash(data: &[u8]) -> MessageHash {
    MessageHash::of(&alice(), Namespace::INBOX, data)
}

fn auth(statement: &Statement, account: &AccountId, seed: u8) -> Auth {
    Auth::sign(account, &pair(seed), TIME, statement)
}

fn unsigned() -> Auth {
    let form = Form::Statement;
    Auth { key: None, time: TIME, signature: Signature([0; 64]), subaccount: None, form }
}

pub(crate) fn post() -> Store {
    Store {
        account: alice(),
        namespace: Namespace::INBOX,
        timestamp: TIME,
        expiry: TIME + DAY,
        data: ByteBuf::from("hello"),
        auth: None,
    }
}

pub(crate) fn keep() -> Store {
    let mut store = Store { namespace: Namespace(2), ..post() };
    store.auth = Some(auth(&store.statement(&network(), TIME), &alice(), ALICE));
    store
}

pub(crate) fn group_keep() -> Store {
    let mut store = Store { account: group(), namespace: Namespace(11), ..post() };
    store.auth = Some(auth(&store.statement(&network(), TIME), &group(), GROUP));
    store
}

pub(crate) fn retrieve() -> Retrieve {
    let after = Some(Cursor { incarnation: 0x0102_0304_0506_0708, sequence: 9 });
    let (account, namespace) = (alice(), Namespace::INBOX);
    let (max_count, max_size) = (Some(100), Some(65_536));
    let mut retrieve =
        Retrieve { account, namespace, after, last: None, max_count, max_size, ids: None, auth: None };
    retrieve.auth = Some(auth(&retrieve.statement(&network(), TIME), &alice(), ALICE));
    retrieve
}

pub(crate) fn retrieve_plainly() -> Retrieve {
    let mut retrieve = Retrieve { after: None, max_count: None, max_size: None, ..retrieve() };
    retrieve.auth = Some(auth(&retrieve.statement(&network(), TIME), &alice(), ALICE));
    retrieve
}

pub(crate) fn retrieve_ids(ids: Ids) -> Retrieve {
    let mut retrieve = Retrieve { max_count: None, max_size: None, ids: Some(ids), ..retrieve() };
    retrieve.auth = Some(auth(&retrieve.statement(&network(), TIME), &alice(), ALICE));
    retrieve
}

pub(crate) fn fetch() -> Fetch {
    let (namespace, hashes) = (Namespace::INBOX, vec![hash(b"hello")]);
    let mut fetch = Fetch { account: alice(), namespace, hashes, auth: None };
    fetch.auth = Some(auth(&fetch.statement(&network(), TIME), &alice(), ALICE));
    fetch
}

pub(crate) fn delete_which(which: Which, required: bool) -> Delete {
    let mut delete = Delete { account: alice(), which, required, auth: unsigned() };
    delete.auth = auth(&delete.statement(&network(), TIME), &alice(), ALICE);
    delete
}

pub(crate) fn delete() -> Delete {
    delete_which(Which::Hashes(vec![hash(b"hello"), hash(b"bye")]), false)
}

fn expire_which(which: Which, ends: Ends, only: Option<Direction>) -> Expire {
    let mut expire = Expire { account: alice(), which, ends, only, auth: unsigned() };
    expire.auth = auth(&expire.statement(&network(), TIME), &alice(), ALICE);
    expire
}

pub(crate) fn expire(only: Option<Direction>) -> Expire {
    expire_which(Which::Hashes(vec![hash(b"hello")]), Ends::All(TIME + 2 * DAY), only)
}

pub(crate) fn whole(drawers: Drawers, before: Option<u64>) -> Which {
    Which::In { drawers, before, most: None }
}

/// A subaccount of the group, and its key.
pub(crate) fn friend() -> (KeyPair, Subaccount) {
    let pair = pair(FRIEND);
    let rights = Rights::READ.and(Rights::WRITE);
    let token = Token::new(0x03, rights, &pair.public());
    let granted = Subaccount::grant(&self::pair(GROUP), token);
    (pair, granted)
}

pub(crate) fn friends_keep() -> Store {
    let mut store = Store { account: group(), namespace: Namespace(11), ..post() };
    let (pair, granted) = friend();
    store.auth = Some(Auth::sign_for(None, &pair, granted, TIME, &store.statement(&network(), TIME)));
    store
}

pub(crate) fn outbox_keep() -> Store {
    let mut store = Store { namespace: Namespace(-1), ..post() };
    store.auth = Some(auth(&store.statement(&network(), TIME), &alice(), ALICE));
    store
}

pub(crate) fn revoke(undo: bool) -> Revoke {
    let mut revoke = Revoke { account: group(), tokens: vec![friend().1.token], undo, auth: unsigned() };
    revoke.auth = auth(&revoke.statement(&network(), TIME), &group(), GROUP);
    revoke
}

pub(crate) fn get_expiries(hashes: Option<Vec<MessageHash>>) -> GetExpiries {
    let mut request = GetExpiries { account: alice(), hashes, auth: unsigned() };
    request.auth = auth(&request.statement(&network(), TIME), &alice(), ALICE);
    request
}

pub(crate) fn get_revoked() -> GetRevoked {
    let mut request = GetRevoked { account: group(), auth: unsigned() };
    request.auth = auth(&request.statement(&network(), TIME), &group(), GROUP);
    request
}

/// As a client of the JSON door signs it.
fn texted(text: &[u8]) -> Auth {
    let form = Form::text();
    Auth { signature: pair(ALICE).sign(text), form, ..Auth::unsigned(&alice(), &pair(ALICE), TIME) }
}

/// A deletion that came through the JSON door, whose text names no time: as the first receiver passes
/// it on.
pub(crate) fn received_delete() -> Delete {
    let which = Which::Hashes(vec![hash(b"hello")]);
    let text = format!("delete{}", hash(b"hello"));
    let mut delete = Delete { auth: texted(text.as_bytes()), which, ..delete() };
    delete.receive(&pair(NODE), &network());
    delete
}

/// A store that came through the JSON door.
pub(crate) fn texted_keep() -> Store {
    let auth = Some(texted(format!("store2{TIME}").as_bytes()));
    Store { namespace: Namespace(2), auth, ..post() }
}

pub(crate) const MAP_VERSION: u64 = 7;

pub(crate) fn kept() -> (Subject, Done) {
    let (account, namespace) = (alice(), Namespace::INBOX);
    (Subject::Message { account, namespace, hash: hash(b"hello") }, Done::Keeps { expiry: TIME + DAY })
}

pub(crate) fn changed() -> (Subject, Done) {
    let digest = delete().statement(&network(), TIME).digest();
    (Subject::Request { account: alice(), digest }, Done::Changed { hashes: vec![hash(b"hello")] })
}

pub(crate) fn receipt((subject, done): (Subject, Done)) -> Receipt {
    Receipt::sign(&pair(NODE), &network(), MAP_VERSION, &subject, done)
}

pub(crate) fn receipts(about: (Subject, Done)) -> Receipts {
    Receipts { map_version: MAP_VERSION, signed: vec![receipt(about)], missing: vec![] }
}

/// What a member tells a client of the JSON door of [`received_delete`].
pub(crate) fn told() -> Told {
    let text = format!("{}{}{}", alice(), hash(b"hello"), hash(b"hello"));
    let listed = vec![(Namespace::INBOX, hash(b"hello"))];
    Told { already: false, listed, unchanged: vec![], signature: pair(NODE).sign(text.as_bytes()) }
}

pub(crate) fn swarm_info() -> SwarmInfo {
    SwarmInfo {
        map_version: MAP_VERSION,
        id: SwarmId(0x8000_0000_0000_0001),
        members: vec![pair(NODE).node_id(), pair(4).node_id()],
    }
}

pub(crate) fn message() -> Message {
    let (timestamp, expiry) = (TIME, TIME + DAY);
    Message { hash: hash(b"hello"), timestamp, expiry, data: ByteBuf::from("hello") }
}

pub(crate) const CURSOR: Cursor = Cursor { incarnation: 0x0102_0304_0506_0708, sequence: 10 };

pub(crate) const INBOX: Drawers = Drawers::One(Namespace::INBOX);

pub(crate) fn outbox_retrieve() -> Retrieve {
    Retrieve { namespace: Namespace(-1), auth: None, ..retrieve_plainly() }
}

pub(crate) fn retrieve_last() -> Retrieve {
    let mut retrieve = Retrieve { last: Some(hash(b"hello")), ..retrieve_plainly() };
    retrieve.auth = Some(auth(&retrieve.statement(&network(), TIME), &alice(), ALICE));
    retrieve
}

pub(crate) fn expire_each() -> Expire {
    let which = Which::Hashes(vec![hash(b"hello"), hash(b"bye")]);
    expire_which(which, Ends::Each(vec![TIME + DAY, TIME + 2 * DAY]), None)
}

pub(crate) fn expire_all() -> Expire {
    expire_which(whole(Drawers::All, None), Ends::All(TIME + DAY), None)
}

pub(crate) fn some_of_all() -> Which {
    Which::In { drawers: Drawers::All, before: None, most: Some(100) }
}

pub(crate) fn choice() -> If {
    let when = vec![
        Condition::RulesAtLeast([22, 0]),
        Condition::RulesBefore([23, 0]),
        Condition::VersionAtLeast([0, 1, 0]),
        Condition::VersionBefore([9, 0, 0]),
        Condition::HeightAtLeast(100),
        Condition::HeightBefore(u64::MAX),
    ];
    If { when, then: Some(Request::Info), otherwise: Some(Request::Batch(vec![Request::Info])) }
}
