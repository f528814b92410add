//! The bytes of everything that travels, against the files in `vectors/`.
//!
//! Another implementation can read those files; this test makes them from the code and compares.
//! After a change that is meant, `BLESS=1 cargo nextest run --release -p session-protocols --test vectors`
//! writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it finds something else"
)]

use data_encoding::HEXLOWER as HEX;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::{Value, json};
use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace, NetworkName, NodeId, Protocol, Signature, Statement, SwarmId,
    answer::{
        Answer, Body, Code, Done, End, MAX_ANSWER, Message, RULES, Receipt, Receipts, Refusal, Subject,
        SwarmInfo, Told,
    },
    codec,
    directory::{self, Certificate, Members, Roster, Snapshot, Timing, Vote, checkpoint, snapshot::Entry},
    frame,
    identity::blake2b,
    notify::{self, Event, Subscribe, Subscribed},
    record::{Change, Life, Mutation, Place, Record, Stamp},
    request::{
        Auth, Condition, Cursor, Delete, Direction, Door, Drawers, Ends, Expire, Fetch, Form, GetExpiries,
        GetRevoked, Ids, If, MAX_REQUEST, Request, Retrieve, Revoke, Rights, Store, Subaccount, Token, Which,
    },
    ring::{self, Arc},
    store::Fingerprint,
    swarm::{Ask, BucketPrint, Known, MAX_MESSAGE, Replicated, Slice, SwarmAnswer, SwarmRequest},
};

#[path = "vectors/file.rs"]
mod file;
#[path = "vectors/names.rs"]
mod names;
#[path = "vectors/onion.rs"]
mod onion;

use file::{check, wire};

/// 2023-11-14T22:13:20Z.
const TIME: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400_000;

fn network() -> NetworkName {
    "test".parse().unwrap()
}

/// The key that grows from 32 equal bytes.
fn pair(byte: u8) -> KeyPair {
    KeyPair::from_seed(&[byte; 32])
}

const ALICE: u8 = 1;
const GROUP: u8 = 2;
const NODE: u8 = 3;
const FRIEND: u8 = 6;
const MEMBERS: [u8; 3] = [3, 4, 5];

fn alice() -> AccountId {
    AccountId::of_person(&pair(ALICE).public()).unwrap()
}

fn group() -> AccountId {
    let mut bytes = [0x03; 33];
    bytes[1..].copy_from_slice(&pair(GROUP).public());
    AccountId::from_bytes(bytes)
}

fn hash(data: &[u8]) -> MessageHash {
    MessageHash::of(&alice(), Namespace::INBOX, data)
}

fn auth(statement: &Statement, account: &AccountId, seed: u8) -> Auth {
    Auth::sign(account, &pair(seed), TIME, statement)
}

fn unsigned() -> Auth {
    let form = Form::Statement;
    Auth { key: None, time: TIME, signature: Signature([0; 64]), subaccount: None, form }
}

fn post() -> Store {
    Store {
        account: alice(),
        namespace: Namespace::INBOX,
        timestamp: TIME,
        expiry: TIME + DAY,
        data: ByteBuf::from("hello"),
        auth: None,
    }
}

fn keep() -> Store {
    let mut store = Store { namespace: Namespace(2), ..post() };
    store.auth = Some(auth(&store.statement(&network(), TIME), &alice(), ALICE));
    store
}

fn group_keep() -> Store {
    let mut store = Store { account: group(), namespace: Namespace(11), ..post() };
    store.auth = Some(auth(&store.statement(&network(), TIME), &group(), GROUP));
    store
}

fn retrieve() -> Retrieve {
    let after = Some(Cursor { incarnation: 0x0102_0304_0506_0708, sequence: 9 });
    let (account, namespace) = (alice(), Namespace::INBOX);
    let (max_count, max_size) = (Some(100), Some(65_536));
    let mut retrieve =
        Retrieve { account, namespace, after, last: None, max_count, max_size, ids: None, auth: None };
    retrieve.auth = Some(auth(&retrieve.statement(&network(), TIME), &alice(), ALICE));
    retrieve
}

fn retrieve_plainly() -> Retrieve {
    let mut retrieve = Retrieve { after: None, max_count: None, max_size: None, ..retrieve() };
    retrieve.auth = Some(auth(&retrieve.statement(&network(), TIME), &alice(), ALICE));
    retrieve
}

fn retrieve_ids(ids: Ids) -> Retrieve {
    let mut retrieve = Retrieve { max_count: None, max_size: None, ids: Some(ids), ..retrieve() };
    retrieve.auth = Some(auth(&retrieve.statement(&network(), TIME), &alice(), ALICE));
    retrieve
}

fn fetch() -> Fetch {
    let (namespace, hashes) = (Namespace::INBOX, vec![hash(b"hello")]);
    let mut fetch = Fetch { account: alice(), namespace, hashes, auth: None };
    fetch.auth = Some(auth(&fetch.statement(&network(), TIME), &alice(), ALICE));
    fetch
}

fn delete_which(which: Which, required: bool) -> Delete {
    let mut delete = Delete { account: alice(), which, required, auth: unsigned() };
    delete.auth = auth(&delete.statement(&network(), TIME), &alice(), ALICE);
    delete
}

fn delete() -> Delete {
    delete_which(Which::Hashes(vec![hash(b"hello"), hash(b"bye")]), false)
}

fn expire_which(which: Which, ends: Ends, only: Option<Direction>) -> Expire {
    let mut expire = Expire { account: alice(), which, ends, only, auth: unsigned() };
    expire.auth = auth(&expire.statement(&network(), TIME), &alice(), ALICE);
    expire
}

fn expire(only: Option<Direction>) -> Expire {
    expire_which(Which::Hashes(vec![hash(b"hello")]), Ends::All(TIME + 2 * DAY), only)
}

fn whole(drawers: Drawers, before: Option<u64>) -> Which {
    Which::In { drawers, before, most: None }
}

/// A subaccount of the group, and its key.
fn friend() -> (KeyPair, Subaccount) {
    let pair = pair(FRIEND);
    let rights = Rights::READ.and(Rights::WRITE);
    let token = Token::new(0x03, rights, &pair.public());
    let granted = Subaccount::grant(&self::pair(GROUP), token);
    (pair, granted)
}

fn friends_keep() -> Store {
    let mut store = Store { account: group(), namespace: Namespace(11), ..post() };
    let (pair, granted) = friend();
    store.auth = Some(Auth::sign_for(None, &pair, granted, TIME, &store.statement(&network(), TIME)));
    store
}

fn outbox_keep() -> Store {
    let mut store = Store { namespace: Namespace(-1), ..post() };
    store.auth = Some(auth(&store.statement(&network(), TIME), &alice(), ALICE));
    store
}

fn revoke(undo: bool) -> Revoke {
    let mut revoke = Revoke { account: group(), tokens: vec![friend().1.token], undo, auth: unsigned() };
    revoke.auth = auth(&revoke.statement(&network(), TIME), &group(), GROUP);
    revoke
}

fn get_expiries(hashes: Option<Vec<MessageHash>>) -> GetExpiries {
    let mut request = GetExpiries { account: alice(), hashes, auth: unsigned() };
    request.auth = auth(&request.statement(&network(), TIME), &alice(), ALICE);
    request
}

fn get_revoked() -> GetRevoked {
    let mut request = GetRevoked { account: group(), auth: unsigned() };
    request.auth = auth(&request.statement(&network(), TIME), &group(), GROUP);
    request
}

/// As a client of the JSON door signs it.
fn texted(text: &[u8]) -> Auth {
    let form = Form::Text { received: None };
    Auth { signature: pair(ALICE).sign(text), form, ..Auth::unsigned(&alice(), &pair(ALICE), TIME) }
}

/// A deletion that came through the JSON door, whose text names no time: as the first receiver passes
/// it on.
fn received_delete() -> Delete {
    let which = Which::Hashes(vec![hash(b"hello")]);
    let text = format!("delete{}", hash(b"hello"));
    let mut delete = Delete { auth: texted(text.as_bytes()), which, ..delete() };
    delete.receive(&pair(NODE), &network());
    delete
}

/// A store that came through the JSON door.
fn texted_keep() -> Store {
    let auth = Some(texted(format!("store2{TIME}").as_bytes()));
    Store { namespace: Namespace(2), auth, ..post() }
}

const MAP_VERSION: u64 = 7;

fn kept() -> (Subject, Done) {
    let (account, namespace) = (alice(), Namespace::INBOX);
    (Subject::Message { account, namespace, hash: hash(b"hello") }, Done::Keeps { expiry: TIME + DAY })
}

fn changed() -> (Subject, Done) {
    let digest = delete().statement(&network(), TIME).digest();
    (Subject::Request { account: alice(), digest }, Done::Changed { hashes: vec![hash(b"hello")] })
}

fn receipt((subject, done): (Subject, Done)) -> Receipt {
    Receipt::sign(&pair(NODE), &network(), MAP_VERSION, &subject, done)
}

fn receipts(about: (Subject, Done)) -> Receipts {
    Receipts { map_version: MAP_VERSION, signed: vec![receipt(about)], missing: vec![] }
}

/// What a member tells a client of the JSON door of [`received_delete`].
fn told() -> Told {
    let text = format!("{}{}{}", alice(), hash(b"hello"), hash(b"hello"));
    let listed = vec![(Namespace::INBOX, hash(b"hello"))];
    Told { already: false, listed, unchanged: vec![], signature: pair(NODE).sign(text.as_bytes()) }
}

fn swarm_info() -> SwarmInfo {
    SwarmInfo {
        map_version: MAP_VERSION,
        id: SwarmId(0x8000_0000_0000_0001),
        members: vec![pair(NODE).node_id(), pair(4).node_id()],
    }
}

fn message() -> Message {
    let (timestamp, expiry) = (TIME, TIME + DAY);
    Message { hash: hash(b"hello"), timestamp, expiry, data: ByteBuf::from("hello") }
}

const CURSOR: Cursor = Cursor { incarnation: 0x0102_0304_0506_0708, sequence: 10 };

const INBOX: Drawers = Drawers::One(Namespace::INBOX);

fn outbox_retrieve() -> Retrieve {
    Retrieve { namespace: Namespace(-1), auth: None, ..retrieve_plainly() }
}

fn retrieve_last() -> Retrieve {
    let mut retrieve = Retrieve { last: Some(hash(b"hello")), ..retrieve_plainly() };
    retrieve.auth = Some(auth(&retrieve.statement(&network(), TIME), &alice(), ALICE));
    retrieve
}

fn expire_each() -> Expire {
    let which = Which::Hashes(vec![hash(b"hello"), hash(b"bye")]);
    expire_which(which, Ends::Each(vec![TIME + DAY, TIME + 2 * DAY]), None)
}

fn expire_all() -> Expire {
    expire_which(whole(Drawers::All, None), Ends::All(TIME + DAY), None)
}

fn some_of_all() -> Which {
    Which::In { drawers: Drawers::All, before: None, most: Some(100) }
}

fn choice() -> If {
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

#[test]
fn requests() {
    let requests = [
        ("store, unsigned, into a public inbox", Request::Store(post())),
        ("store, signed, into a private namespace", Request::Store(keep())),
        ("store, signed by a group", Request::Store(group_keep())),
        ("retrieve after a cursor, with limits", Request::Retrieve(retrieve())),
        ("retrieve from the beginning", Request::Retrieve(retrieve_plainly())),
        ("retrieve, hashes where the cursor is not known", Request::Retrieve(retrieve_ids(Ids::Anew))),
        ("retrieve, hashes in any case", Request::Retrieve(retrieve_ids(Ids::Always))),
        ("fetch", Request::Fetch(fetch())),
        ("delete", Request::Delete(delete())),
        ("expire", Request::Expire(expire(None))),
        ("expire, only shorten", Request::Expire(expire(Some(Direction::Shorten)))),
        ("expire, only extend", Request::Expire(expire(Some(Direction::Extend)))),
        ("get_swarm", Request::GetSwarm { account: alice() }),
        ("info", Request::Info),
        ("store, signed, into a public outbox", Request::Store(outbox_keep())),
        ("store, signed by a subaccount", Request::Store(friends_keep())),
        ("store, of a client of the JSON door", Request::Store(texted_keep())),
        ("retrieve, from a public outbox", Request::Retrieve(outbox_retrieve())),
        ("retrieve, after a message", Request::Retrieve(retrieve_last())),
        ("get_expiries", Request::GetExpiries(get_expiries(Some(vec![hash(b"hello")])))),
        ("get_expiries, of all", Request::GetExpiries(get_expiries(None))),
        ("delete, required", Request::Delete(delete_which(delete().which, true))),
        ("delete, all in one drawer", Request::Delete(delete_which(whole(INBOX, None), false))),
        ("delete, all in all drawers", Request::Delete(delete_which(whole(Drawers::All, None), false))),
        ("delete, what was sent before", Request::Delete(delete_which(whole(INBOX, Some(TIME - 5)), false))),
        ("delete, all, some at a time", Request::Delete(delete_which(some_of_all(), false))),
        ("expire, an end for each", Request::Expire(expire_each())),
        ("expire, all in all drawers", Request::Expire(expire_all())),
        ("revoke_subaccount", Request::Revoke(revoke(false))),
        ("unrevoke_subaccount", Request::Revoke(revoke(true))),
        ("revoked_subaccounts", Request::GetRevoked(get_revoked())),
        ("batch", Request::Batch(vec![Request::Store(post()), Request::Info])),
        ("sequence", Request::Sequence(vec![Request::Store(post()), Request::Info])),
        ("if", Request::If(Box::new(choice()))),
    ];
    let now = session_protocols::Time::from_millis(TIME);
    for (name, request) in &requests {
        let door = request.auth().map_or(Door::Native, |auth| auth.form.door());
        assert_eq!(request.verify(&network(), now, door), Ok(()), "{name}");
    }
    let entries = requests.iter().map(|(name, request)| wire(name, request, MAX_REQUEST));
    check("requests.json", &entries.collect::<Vec<_>>());
}

#[test]
fn answers() {
    let refused = |refusal| Body::Refused(refusal);
    let plain = |code| Refusal { code, swarm: None, receipts: None };
    let bodies = [
        ("stored", Body::Stored { hash: hash(b"hello"), already: false, receipts: receipts(kept()) }),
        ("changed", Body::Changed { receipts: receipts(changed()) }),
        ("messages", Body::Messages { messages: vec![message()], more: true, cursor: CURSOR }),
        ("no messages", Body::Messages { messages: vec![], more: false, cursor: CURSOR }),
        ("ids", Body::Ids { hashes: vec![hash(b"hello")], more: true, cursor: CURSOR }),
        ("fetched", Body::Fetched { messages: vec![message()], hashes: 1 }),
        ("swarm", Body::Swarm(swarm_info())),
        ("info", Body::Info { version: "0.1.0".into(), rules: RULES, height: 1_234 }),
        ("refused", refused(plain(Code::Full))),
        ("refused, another swarm", refused(Refusal { swarm: Some(swarm_info()), ..plain(Code::WrongSwarm) })),
        (
            "refused, too few have it",
            refused(Refusal { receipts: Some(receipts(kept())), ..plain(Code::NotReady) }),
        ),
        ("refused, none is held", refused(plain(Code::NotFound))),
        (
            "expiries",
            Body::Expiries { ends: vec![End { hash: hash(b"hello"), expiry: TIME + DAY }], more: true },
        ),
        ("revoked", Body::Revoked { tokens: vec![friend().1.token] }),
        (
            "batch",
            Body::Batch(vec![
                Answer { time: TIME, body: Body::Expiries { ends: vec![], more: false } },
                Answer::refused(TIME, Code::Full),
            ]),
        ),
        ("if, done", Body::If { condition: true, answer: Some(Box::new(Answer::refused(TIME, Code::Full))) }),
        ("if, nothing to do", Body::If { condition: false, answer: None }),
    ];
    let entries = bodies.map(|(name, body)| wire(name, &Answer { time: TIME, body }, MAX_ANSWER));
    check("answers.json", &entries);
}

/// Three records as a comparison sees them: when they end, and their ids.
fn items() -> [(u64, [u8; 32]); 3] {
    [(TIME + 1, [0x11; 32]), (TIME + 1, [0x22; 32]), (TIME + 2, [0x33; 32])]
}

fn comparison() -> Negentropy<'static, NegentropyStorageVector> {
    let mut storage = NegentropyStorageVector::new();
    for (until, id) in items() {
        storage.insert(until, Id::from_byte_array(id)).unwrap();
    }
    storage.seal().unwrap();
    Negentropy::owned(storage, session_protocols::swarm::MAX_RECONCILE as u64).unwrap()
}

#[test]
fn swarm() {
    let bucket = u32::try_from((TIME + DAY) / 3_600_000).unwrap();
    let slice = Slice { bits: 1, value: 1 };
    let first = comparison().initiate().unwrap();
    let reply = comparison().reconcile(&first).unwrap();
    let known = Known { account: alice(), hash: hash(b"hello"), id: ByteArray::new([0x22; 32]) };
    let asks = [
        (
            "replicate",
            Ask::Replicate {
                mutations: vec![
                    Mutation::Store(post()),
                    Mutation::Delete { request: delete(), held: vec![hash(b"hello")] },
                    Mutation::Expire { request: expire(None), held: vec![] },
                ],
                json: vec![],
            },
        ),
        (
            "replicate: more kinds, the last for a client of the JSON door",
            Ask::Replicate {
                mutations: vec![
                    Mutation::Replace {
                        request: outbox_keep().replacement().unwrap(),
                        held: vec![hash(b"hello")],
                    },
                    Mutation::Revoke { request: revoke(true), held: vec![friend().1.token.hash(&group())] },
                    Mutation::Delete { request: received_delete(), held: vec![hash(b"hello")] },
                ],
                json: vec![2],
            },
        ),
        ("behind", Ask::Behind),
        ("fingerprints", Ask::Fingerprints),
        (
            "reconcile: the first word about the items of `comparisons.json`",
            Ask::Reconcile { bucket, slice: Slice::default(), message: ByteBuf::from(first) },
        ),
        ("fetch", Ask::Fetch { bucket, slice, ids: vec![ByteArray::new([0x11; 32])] }),
        ("held", Ask::Held { records: vec![known] }),
    ];
    let print = BucketPrint { bucket, count: 3, sum: ByteArray::new(sum().sum) };
    let (signature, done) = (receipt(kept()).signature, kept().1);
    let answers = [
        (
            "replicated",
            SwarmAnswer::Replicated {
                results: vec![
                    Replicated::Done { done, signature, told: None },
                    Replicated::Refused { code: Code::Full },
                ],
            },
        ),
        (
            "replicated, for a client of the JSON door",
            SwarmAnswer::Replicated {
                results: vec![Replicated::Done {
                    done: changed().1,
                    signature: receipt(changed()).signature,
                    told: Some(Box::new(told())),
                }],
            },
        ),
        ("noted", SwarmAnswer::Noted),
        ("fingerprints", SwarmAnswer::Fingerprints { buckets: vec![print], incomplete: vec![] }),
        (
            "reconcile: the reply of a member that holds the same",
            SwarmAnswer::Reconcile { message: ByteBuf::from(reply) },
        ),
        ("fetched", SwarmAnswer::Fetched { mutations: vec![Mutation::Store(post())], ids: 1 }),
        ("refused", SwarmAnswer::Refused { code: Code::WrongSwarm }),
        ("held", SwarmAnswer::Held { places: vec![0, 2] }),
        (
            "fingerprints: of a member that is not complete under the next map",
            SwarmAnswer::Fingerprints { buckets: vec![], incomplete: vec![MAP_VERSION + 1] },
        ),
    ];
    let entries = asks
        .map(|(name, ask)| wire(&format!("ask: {name}"), &SwarmRequest::new(MAP_VERSION, ask), MAX_MESSAGE));
    let part = SwarmRequest {
        newest: Some(MAP_VERSION + 1),
        arc: Some(Arc { first: u64::MAX - 1, last: 7 }),
        ..SwarmRequest::new(MAP_VERSION, Ask::Fingerprints)
    };
    let part = wire("ask: fingerprints of a part, by one who knows a newer map", &part, MAX_MESSAGE);
    let answers = answers.map(|(name, answer)| wire(&format!("answer: {name}"), &answer, MAX_MESSAGE));
    check("swarm.json", &[entries.to_vec(), vec![part], answers.to_vec()].concat());
}

#[test]
fn notify() {
    let event = Event { messages: vec![message()], cursor: CURSOR };
    let entries = [
        wire("subscribe", &Subscribe { retrieve: retrieve() }, notify::MAX_REQUEST),
        wire("until", &Subscribed::Until { expiry: TIME + 3_900_000 }, notify::MAX_EVENT),
        wire("refused", &Subscribed::Refused { code: Code::NotReady }, notify::MAX_EVENT),
        wire("event", &event, notify::MAX_EVENT),
    ];
    check("notify.json", &entries);
}

fn node_record() -> directory::NodeRecord {
    directory::NodeRecord {
        node: pair(NODE).node_id(),
        time: TIME,
        height: 1_234,
        border: ByteArray::new([0xb0; 32]),
        endpoints: vec![
            "/ip4/127.0.1.1/udp/22021/quic-v1".parse().unwrap(),
            "/ip6/2001:db8:1::1/tcp/22021".parse().unwrap(),
        ],
        onion: directory::OnionDoor { day: 0xda, key: ByteArray::new([0x0d; 32]), aes: true },
        version: "0.1.0".into(),
        door: None,
    }
}

#[test]
fn directory() {
    let signed = node_record().sign(&network(), &pair(NODE));
    assert_eq!(signed.open(&network()), Some(node_record()));
    let page = directory::Answer::Records { records: vec![signed.clone()], more: false };
    let after = Some(pair(NODE).node_id());
    let with_door = directory::NodeRecord { door: Some(22_443), ..node_record() };
    let entries = [
        wire("request from the first", &directory::Request::Records { after: None }, directory::MAX_REQUEST),
        wire("request", &directory::Request::Records { after }, directory::MAX_REQUEST),
        wire("record", &node_record(), directory::MAX_RECORD),
        wire("record with a door", &with_door, directory::MAX_RECORD),
        wire("signed record, as gossiped", &signed, directory::MAX_RECORD),
        wire("answer", &page, directory::MAX_ANSWER),
    ];
    check("directory.json", &entries);
}

/// The members whose keys grow from 3, 4 and 5.
fn members() -> Members {
    let prefix = "127.0.1.0/24".parse().unwrap();
    Members::new(&network(), MEMBERS.map(|seed| (pair(seed).node_id(), prefix)).into())
}

/// What some of the members said so many seconds before the border.
fn listed<const N: usize>(period: u64, said: [(u8, u64); N]) -> Snapshot {
    let entries = said.map(|(seed, ago)| {
        let record = directory::NodeRecord {
            node: pair(seed).node_id(),
            time: Timing::PUBLIC.border(period).as_millis() - ago * 1_000,
            endpoints: vec![format!("/ip4/127.0.1.{seed}/udp/22021/quic-v1").parse().unwrap()],
            ..node_record()
        };
        let signed = record.sign(&network(), &pair(seed));
        (record.node, Entry::new(record, signed).into())
    });
    Snapshot::new(&network(), period, entries.into())
}

fn vote(snapshot: &Snapshot) -> Vote {
    let (hash, members) = (ByteArray::new(snapshot.hash()), ByteArray::new(members().id()));
    Vote { period: snapshot.period(), hash, members }
}

#[test]
fn snapshots() {
    let period = TIME / 3_600_000;
    let old = listed(period - 1, [(3, 60), (4, 60)]);
    // One has said the same again, one is gone, one is new.
    let new = listed(period, [(3, 30), (5, 30)]);
    let mut signed: Vec<_> = members()
        .nodes()
        .zip(0..)
        .map(|(node, place)| {
            let seed = MEMBERS.into_iter().find(|seed| pair(*seed).node_id() == node).unwrap();
            (place, vote(&new).sign(&network(), &pair(seed)).signature)
        })
        .collect();
    signed.truncate(members().quorum());
    let certificate = Certificate { signatures: signed };
    assert_eq!(certificate.verify(&network(), &members(), period, new.hash()), Ok(()));
    let whole = new.page(None, Some(&certificate), 0);
    let changes = new.page(Some(&old), None, 0);
    for (base, page) in [(None, &whole), (Some(old.clone().into()), &changes)] {
        let roster = Roster::new(members().into());
        let download = directory::Download::new(network(), Timing::PUBLIC, roster, Some(new.hash()), base);
        let Ok(directory::Progress::Whole(found)) = download.take(page.clone()) else { panic!() };
        assert_eq!(*found.snapshot, new);
    }
    let prefixes = MEMBERS.map(|seed| (pair(seed).node_id(), "127.0.1.0/24".parse().unwrap()));
    let client = || directory::Trusted::new(network(), Timing::PUBLIC, prefixes.into());
    let (mut first, mut later) = (client(), client());
    let Ok(directory::Progress::Whole(found)) = first.download().take(whole.clone()) else { panic!() };
    let now = Timing::PUBLIC.border(period);
    first.believe(now, found).unwrap();
    let kept = first.encode().unwrap();
    later.restore(now, &kept).unwrap();
    assert_eq!(later.snapshot(now).map(|one| &**one), Some(&new));
    let (hash, have) = (Some(ByteArray::new(new.hash())), Some(ByteArray::new(old.hash())));
    let newest = directory::Request::Snapshot { hash: None, have: None, from: 0 };
    let next = directory::Request::Snapshot { hash, have, from: 2_000 };
    let share = vote(&new).sign(&network(), &pair(NODE));
    let entries = [
        wire("request for the newest, whole", &newest, directory::MAX_REQUEST),
        wire("request for a later page", &next, directory::MAX_REQUEST),
        wire("page: a snapshot, certified", &directory::Answer::Snapshot(whole), directory::MAX_ANSWER),
        wire("page: changes of another", &directory::Answer::Snapshot(changes), directory::MAX_ANSWER),
        wire("unknown", &directory::Answer::Unknown, directory::MAX_ANSWER),
        wire("share, as gossiped", &share, directory::MAX_SHARE),
        wire("certificate", &certificate, directory::MAX_ANSWER),
        json!({ "name": "as a client keeps it", "cbor": HEX.encode(&kept) }),
    ];
    check("snapshots.json", &entries);
}

/// A checkpoint of two members, as it travels; what is hashed and signed has its vectors with the ledger.
#[test]
fn checkpoints() {
    let word = |byte: u8| ByteArray::new([byte; 32]);
    let member = |seed: u8, key, lists| checkpoint::Member {
        node: pair(seed).node_id(),
        registration: seed.into(),
        operator: ByteArray::new([seed; 20]),
        prefix: format!("127.0.{seed}.0/24"),
        key,
        lists,
    };
    let mut members =
        vec![member(1, Some(ByteArray::new([7; 96])), 3), member(2, None, 1), member(3, None, 0)];
    members.sort_by_key(|one| one.node);
    let events = |number| checkpoint::Events { number, hash: word(9) };
    let seats = |version, seats| checkpoint::Seats { version, swarms: vec![(1 << 40, seats)] };
    let head = checkpoint::Head {
        epoch: 300,
        block: word(1),
        previous: word(2),
        events: [events(1), events(2), events(300), events(4)],
        rewards: word(3),
        states: word(4),
        directory: word(5),
        names: word(0),
        acts: seats(6, vec![0, 1]),
        next: Some(seats(7, vec![0, 2])),
        signatures: vec![(0, ByteArray::new([8; 96])), (2, ByteArray::new([9; 96]))],
    };
    let whole = directory::SignedCheckpoint { head, members };
    let root = *whole.head.directory;
    let newest = directory::Request::Checkpoint { since: None, have: None, from: None };
    let next =
        directory::Request::Checkpoint { since: Some(299), have: Some(word(5)), from: Some((300, 2_000)) };
    let page = |has| directory::Answer::Checkpoint(Box::new(whole.page(has, 0)));
    let entries = [
        wire("request for the newest", &newest, directory::MAX_REQUEST),
        wire("request for a later page of another", &next, directory::MAX_REQUEST),
        wire("page", &page(None), directory::MAX_ANSWER),
        wire("page for who has the members", &page(Some(&root)), directory::MAX_ANSWER),
        wire("as it is kept", &whole, directory::MAX_ANSWER),
    ];
    check("checkpoints.json", &entries);
}

/// A statement, its digest, and the signature of a known key.
fn said(name: &str, seed: u8, statement: &Statement, signature: &Signature) -> Value {
    assert_eq!(pair(seed).sign(statement.as_bytes()), *signature, "{name}");
    json!({
        "name": name,
        "seed": HEX.encode(&[seed; 32]),
        "key": HEX.encode(&pair(seed).public()),
        "statement": HEX.encode(statement.as_bytes()),
        "digest": HEX.encode(&statement.digest()),
        "signature": signature.to_string(),
    })
}

#[test]
fn statements() {
    let net = network();
    let record = node_record().sign(&net, &pair(NODE));
    let receipt_of = |(subject, done): (Subject, Done)| {
        // As the README says it, part by part.
        let said = Statement::new("receipt", &net).number(MAP_VERSION);
        let said = match subject {
            Subject::Message { account, namespace, hash } => {
                said.bytes(account.as_bytes()).bytes(&namespace.0.to_be_bytes()).bytes(&hash.0)
            }
            Subject::Request { account, digest } => said.bytes(account.as_bytes()).bytes(&digest),
        };
        match done {
            Done::Keeps { expiry } => said.number(expiry),
            Done::Changed { hashes } => said.list(hashes.iter().map(|hash| hash.0.as_slice())),
        }
    };
    let signature = |auth: &Auth| auth.signature;
    let (keep, group_keep) = (keep(), group_keep());
    let store = |store: &Store| store.statement(&net, TIME);
    let of = |store: &Store| signature(store.auth.as_ref().unwrap());
    let of_read = |retrieve: &Retrieve| signature(retrieve.auth.as_ref().unwrap());
    let (extend, shorten) = (expire(Some(Direction::Extend)), expire(Some(Direction::Shorten)));
    let expiry = |expire: &Expire| (expire.statement(&net, TIME), expire.auth.signature);
    let mut entries = vec![
        said("store", ALICE, &store(&keep), &of(&keep)),
        said("store of a group", GROUP, &store(&group_keep), &of(&group_keep)),
        said("retrieve", ALICE, &retrieve().statement(&net, TIME), &of_read(&retrieve())),
        said(
            "retrieve without cursor and limits",
            ALICE,
            &retrieve_plainly().statement(&net, TIME),
            &of_read(&retrieve_plainly()),
        ),
        said(
            "retrieve, hashes where the cursor is not known",
            ALICE,
            &retrieve_ids(Ids::Anew).statement(&net, TIME),
            &of_read(&retrieve_ids(Ids::Anew)),
        ),
        said("fetch", ALICE, &fetch().statement(&net, TIME), &signature(fetch().auth.as_ref().unwrap())),
        said("delete", ALICE, &delete().statement(&net, TIME), &signature(&delete().auth)),
    ];
    for (name, request) in
        [("expire", expire(None)), ("expire, only shorten", shorten), ("expire, only extend", extend)]
    {
        let (statement, signature) = expiry(&request);
        entries.push(said(name, ALICE, &statement, &signature));
    }
    for (name, request) in [
        ("delete, required", delete_which(delete().which, true)),
        ("delete, all in one drawer", delete_which(whole(INBOX, None), false)),
        ("delete, all in all drawers", delete_which(whole(Drawers::All, None), false)),
        ("delete, what was sent before", delete_which(whole(INBOX, Some(TIME - 5)), false)),
        ("delete, all, some at a time", delete_which(some_of_all(), false)),
    ] {
        entries.push(said(name, ALICE, &request.statement(&net, TIME), &request.auth.signature));
    }
    for (name, request) in
        [("expire, an end for each", expire_each()), ("expire, all in all drawers", expire_all())]
    {
        let (statement, signature) = expiry(&request);
        entries.push(said(name, ALICE, &statement, &signature));
    }
    for (name, undo) in [("revoke_subaccount", false), ("unrevoke_subaccount", true)] {
        let request = revoke(undo);
        entries.push(said(name, GROUP, &request.statement(&net, TIME), &request.auth.signature));
    }
    let (revoked, some, all) = (get_revoked(), get_expiries(Some(vec![hash(b"hello")])), get_expiries(None));
    entries.push(said("revoked_subaccounts", GROUP, &revoked.statement(&net, TIME), &revoked.auth.signature));
    entries.push(said("get_expiries", ALICE, &some.statement(&net, TIME), &some.auth.signature));
    entries.push(said("get_expiries, of all", ALICE, &all.statement(&net, TIME), &all.auth.signature));
    let last = retrieve_last();
    entries.push(said("retrieve, after a message", ALICE, &last.statement(&net, TIME), &of_read(&last)));
    let by_friend = friends_keep();
    entries.push(said("store of a subaccount", FRIEND, &store(&by_friend), &of(&by_friend)));
    let received = received_delete();
    let Form::Text { received: Some(word) } = received.auth.form else { panic!() };
    let when = Statement::new("received", &net).bytes(&received.statement(&net, TIME).digest());
    entries.push(said("received: when a deletion of the JSON door came", NODE, &when, &word.signature));
    for (name, about) in [("receipt: keeps", kept()), ("receipt: changed", changed())] {
        let receipt = receipt(about.clone());
        assert!(receipt.verify(&net, MAP_VERSION, &about.0));
        entries.push(said(name, NODE, &receipt_of(about), &receipt.signature));
    }
    let record_statement = Statement::new("node-record", &net).bytes(&record.record);
    entries.push(said("node-record", NODE, &record_statement, &record.signature));
    let listed = listed(TIME / 3_600_000, [(3, 30), (4, 30)]);
    let digests: Vec<_> = listed
        .entries()
        .iter()
        .map(|entry| blake2b(&[&entry.signed().signature.0, &entry.signed().record]))
        .collect();
    // Nobody signs these two: their digests are the snapshot's hash and the members' id.
    let snapshot_statement = Statement::new("snapshot", &net)
        .number(listed.period())
        .list(digests.iter().map(<[u8; 32]>::as_slice));
    assert_eq!(snapshot_statement.digest(), listed.hash());
    let nodes: Vec<_> = members().nodes().collect();
    let members_statement = Statement::new("members", &net)
        .list(nodes.iter().map(|node| node.as_bytes().as_slice()))
        .list(nodes.iter().map(|_| b"127.0.1.0/24".as_slice()));
    assert_eq!(members_statement.digest(), members().id());
    for (name, statement) in [("snapshot", &snapshot_statement), ("members", &members_statement)] {
        let signature = pair(NODE).sign(statement.as_bytes());
        entries.push(said(name, NODE, statement, &signature));
    }
    let share = vote(&listed).sign(&net, &pair(NODE));
    let share_statement = Statement::new("snapshot-share", &net)
        .number(listed.period())
        .bytes(&members().id())
        .bytes(&listed.hash());
    entries.push(said("snapshot-share", NODE, &share_statement, &share.signature));
    check("statements.json", &entries);
}

#[test]
fn hashes() {
    let mut entries = Vec::new();
    for (account, namespace, data) in [
        (alice(), 0, &b"hello"[..]),
        (alice(), 2, b"hello"),
        (alice(), 10, b"hello"),
        (alice(), i16::MAX, b"hello"),
        (alice(), -1, b"hello"),
        (alice(), i16::MIN, b"hello"),
        (alice(), 0, b""),
        (group(), 11, b"hello"),
    ] {
        let hash = MessageHash::of(&account, Namespace(namespace), data);
        entries.push(json!({
            "account": account.to_string(), "namespace": namespace, "data": HEX.encode(data),
            "hash": HEX.encode(&hash.0), "shown": hash.to_string(),
        }));
    }
    check("hashes.json", &entries);
}

#[test]
fn accounts_and_places() {
    let entries = [("person", ALICE, alice()), ("group", GROUP, group())].map(|(name, seed, account)| {
        json!({
            "name": name, "seed": HEX.encode(&[seed; 32]), "key": HEX.encode(&pair(seed).public()),
            "account": account.to_string(), "place": SwarmId(ring::position(&account)).to_string(),
        })
    });
    check("accounts.json", &entries);
}

fn id(byte: u8) -> [u8; 32] {
    [byte; 32]
}

/// The fingerprint of the items that `comparisons.json` lists.
fn sum() -> Fingerprint {
    let mut print = Fingerprint::default();
    for (_, id) in items() {
        print.add(&id);
    }
    print
}

fn described(record: &Record) -> Value {
    let stamped = |stamp: Stamp| json!({ "time": stamp.time, "digest": HEX.encode(&stamp.digest) });
    let life = match record.life {
        None => json!("none"),
        Some(Life::Unsigned { timestamp, expiry }) => {
            json!({ "unsigned": { "timestamp": timestamp, "expiry": expiry } })
        }
        Some(Life::Stored { stamp, timestamp, expiry, .. }) => {
            json!({ "stored": { "signed": stamped(stamp), "timestamp": timestamp, "expiry": expiry } })
        }
        Some(Life::Deleted { stamp, .. }) => json!({ "deleted": { "signed": stamped(stamp) } }),
        Some(Life::Revoked { stamp, .. }) => json!({ "revoked": { "signed": stamped(stamp) } }),
    };
    let change =
        record.change.map(|change| json!({ "signed": stamped(change.stamp), "expiry": change.expiry }));
    json!({ "life": life, "change": change })
}

#[test]
fn comparisons() {
    let stamp = |time, byte| Stamp { time, digest: id(byte) };
    let unsigned = Life::Unsigned { timestamp: TIME, expiry: TIME + DAY };
    let stored = Life::Stored { stamp: stamp(TIME, 1), timestamp: TIME, expiry: TIME + DAY, row: 5 };
    let deleted = Life::Deleted { stamp: stamp(TIME + 1, 2), row: 6 };
    let revoked = Life::Revoked { stamp: stamp(TIME + 1, 2), row: 6 };
    let change = |time| Some(Change { stamp: stamp(time, 3), expiry: TIME + 2 * DAY, row: 7 });
    let place = Some(Place { sequence: 4, row: 5, namespace: Namespace::INBOX, size: 5 });
    let records = [
        ("unsigned", Record { life: Some(unsigned), change: None, place }),
        ("unsigned, changed", Record { life: Some(unsigned), change: change(TIME - 1), place }),
        ("signed", Record { life: Some(stored), change: None, place }),
        ("signed, changed after", Record { life: Some(stored), change: change(TIME + 1), place }),
        ("signed, changed before", Record { life: Some(stored), change: change(TIME - 1), place }),
        ("deleted", Record { life: Some(deleted), change: None, place: None }),
        ("revoked", Record { life: Some(revoked), change: None, place }),
        ("only a change is known", Record { life: None, change: change(TIME), place: None }),
    ];
    let mut entries: Vec<_> = records
        .iter()
        .map(|(name, record)| {
            json!({
                "name": format!("record: {name}"),
                "record": described(record),
                "account": alice().to_string(), "hash": HEX.encode(&hash(b"hello").0),
                "id": HEX.encode(&record.id(&alice(), &hash(b"hello"))), "until": record.until(),
            })
        })
        .collect();
    assert_eq!(entries[2]["id"], entries[4]["id"], "a change that does not count is not compared");
    let listed = items().map(|(until, id)| json!({ "until": until, "id": HEX.encode(&id) }));
    entries.push(json!({
        "name": "fingerprint", "items": listed, "count": sum().count, "sum": HEX.encode(&sum().sum),
    }));
    let mut carries = Fingerprint::default();
    carries.add(&id(0xff));
    carries.add(&id(0x01));
    entries.push(json!({
        "name": "fingerprint that carries, lowest byte first",
        "items": [{ "id": HEX.encode(&id(0xff)) }, { "id": HEX.encode(&id(0x01)) }],
        "count": carries.count, "sum": HEX.encode(&carries.sum),
    }));
    check("comparisons.json", &entries);
}

#[test]
fn frames_and_cursors() {
    let mut entries = Vec::new();
    for (kind, name) in [
        (frame::Kind::Request, "request"),
        (frame::Kind::Answer, "answer"),
        (frame::Kind::Event, "event"),
        (frame::Kind::Close, "close"),
    ] {
        let head = frame::Head { len: 0x0001_0203, id: 0xa0b0_c0d0, kind };
        assert_eq!(frame::Head::decode(head.encode(), u32::MAX), Some(head));
        entries.push(json!({
            "name": format!("frame head: {name}"), "len": head.len, "id": head.id,
            "bytes": HEX.encode(&head.encode()),
        }));
    }
    for cursor in [CURSOR, Cursor { incarnation: u64::MAX, sequence: 0 }] {
        assert_eq!(Cursor::from_bytes(cursor.to_bytes()), cursor);
        entries.push(json!({
            "name": "cursor", "incarnation": cursor.incarnation, "sequence": cursor.sequence,
            "bytes": HEX.encode(&cursor.to_bytes()), "cbor": HEX.encode(&codec::encode(&cursor)),
        }));
    }
    for (protocol, name) in [
        (Protocol::Storage, "storage"),
        (Protocol::Swarm, "swarm"),
        (Protocol::Directory, "directory"),
        (Protocol::Notify, "notify"),
        (Protocol::Onion, "onion"),
        (Protocol::Names, "names"),
        (Protocol::Kad, "kad"),
    ] {
        entries.push(json!({ "name": format!("protocol: {name}"), "id": network().protocol(protocol) }));
    }
    entries.push(json!({ "name": "topic: records", "id": network().topic("records") }));
    check("frames.json", &entries);
}

#[test]
fn a_node_is_its_key() {
    assert_eq!(NodeId::from_bytes(pair(NODE).public()), pair(NODE).node_id());
}
