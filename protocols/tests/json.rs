//! What clients of the JSON door ask and are answered, against the files in `vectors/`.
//!
//! What they sign, and what members sign for them, is put together here as the README says, and not by the code that is
//! compared with it. After a change that is meant, `BLESS=1 cargo nextest run --release --workspace --test json` writes
//! the files anew.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it finds something else"
)]

use data_encoding::{BASE64, HEXLOWER as HEX};
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use session_protocols::{
    MessageHash, Namespace, NodeId, SwarmId, Time,
    answer::{
        Answer, Body, Code, Done, End, Failure, Message, Missing, RULES, Receipt, Receipts, Refusal, Subject,
        SwarmInfo, Told, told,
    },
    door::{
        Body as Said, Call, Reply,
        names::{NONCE, hash as name_hash, resolved},
        nodes::{DoorNode, Listing, active_nodes, json_rpc, service_nodes},
        parse,
        render::{Stamp, choice, render, result_of, several},
    },
    names::Label,
    record::Mutation,
    request::{Door, MAX_CONDITIONS_JSON, MAX_REQUEST, Request, Rights, Subaccount, Token},
};

#[path = "vectors/file.rs"]
mod file;
#[path = "vectors/people.rs"]
mod people;

use file::{check, readable, sorted, wire};
use people::{ALICE, DAY, FRIEND, GROUP, TIME, alice, group, network, pair};

/// What every answer says beside its own.
const STAMP: Stamp = Stamp { time: TIME, rules: RULES };

/// The members of the swarm: two that do what they are asked, and one for each way to fail.
const MEMBERS: [u8; 7] = [3, 4, 5, 7, 8, 9, 10];

fn hash_in(namespace: i16, data: &str) -> MessageHash {
    MessageHash::of(&alice(), Namespace(namespace), data.as_bytes())
}

fn hash(data: &str) -> MessageHash {
    hash_in(0, data)
}

fn base64(data: impl AsRef<[u8]>) -> String {
    BASE64.encode(data.as_ref())
}

/// A subaccount of the group, to read and to write, and what the group's owner signed for it.
fn friend(rights: Rights) -> Subaccount {
    Subaccount::grant(&pair(GROUP), Token::new(0x03, rights, &pair(FRIEND).public()))
}

/// A request as it is sent, and what is signed of it.
struct Asked {
    name: String,
    body: String,
    signed: Option<(u8, Vec<u8>)>,
}

impl Asked {
    fn plain(name: &str, method: &str, params: &Value) -> Self {
        let body = sorted(&json!({ "method": method, "params": params }));
        Self { name: name.to_owned(), body, signed: None }
    }

    /// Signed by the key of a seed, over this text.
    fn signed(name: &str, seed: u8, method: &str, params: &Value, text: impl AsRef<[u8]>) -> Self {
        let mut params = params.clone();
        let text = text.as_ref();
        params["signature"] = base64(pair(seed).sign(text).0).into();
        let account = if seed == ALICE { alice() } else { group() };
        params["pubkey"] = account.to_string().into();
        if seed == ALICE {
            params["pubkey_ed25519"] = HEX.encode(&pair(ALICE).public()).into();
        }
        Self { signed: Some((seed, text.to_vec())), ..Self::plain(name, method, &params) }
    }

    fn parsed(&self) -> Result<Call, Reply> {
        parse(self.body.as_bytes(), TIME)
    }

    /// The storage request that it is.
    fn request(&self) -> Request {
        match self.parsed() {
            Ok(Call::Storage(request)) => *request,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    fn entry(&self) -> Value {
        let mut entry = json!({ "name": self.name, "now": TIME, "body": self.body });
        let parsed = self.parsed();
        entry["means"] = meaning(&self.name, &parsed);
        if let Some((seed, text)) = &self.signed {
            let signed = signature(*seed, text);
            entry["signed"] = signed;
        }
        entry
    }
}

/// What is signed by the key of a seed: as text where it is ASCII, and in hex where it has the bytes of tokens.
fn signature(seed: u8, text: &[u8]) -> Value {
    let plain = text.is_ascii().then(|| String::from_utf8(text.to_vec()).unwrap());
    json!({
        "seed": HEX.encode(&[seed; 32]),
        "key": HEX.encode(&pair(seed).public()),
        "text": plain, "bytes": HEX.encode(text),
        "signature": base64(pair(seed).sign(text).0),
    })
}

/// What a request was read as: the native one that says the same, or one of the door's own.
fn meaning(name: &str, parsed: &Result<Call, Reply>) -> Value {
    let each =
        |calls: &[Result<Call, Reply>]| calls.iter().map(|call| meaning(name, call)).collect::<Vec<_>>();
    let branch = |call: &Option<Box<Call>>| call.as_ref().map(|call| meaning(name, &Ok((**call).clone())));
    match parsed {
        Ok(Call::Storage(request)) => {
            // A batch may hold what is not signed.
            let genuine = request.verify(&network(), Time::from_millis(TIME), Door::Json);
            assert!(genuine.is_ok() || name.starts_with("batch"), "{name}: {genuine:?}");
            let said = wire(name, &**request, MAX_REQUEST);
            json!({ "request": said["value"], "cbor": said["cbor"] })
        }
        Ok(Call::Nodes(params)) => json!({ "nodes": params }),
        Ok(Call::ActiveNodes) => json!("active_nodes"),
        Ok(Call::Name(hash)) => json!({ "name_hash": HEX.encode(hash) }),
        Ok(Call::Batch(calls)) => json!({ "batch": each(calls) }),
        Ok(Call::Sequence(calls)) => json!({ "sequence": each(calls) }),
        Ok(Call::If { when, then, otherwise }) => {
            let when = readable(serde_json::to_value(when).unwrap());
            json!({ "when": when, "then": branch(then), "else": branch(otherwise) })
        }
        Err(refused) => said(refused),
    }
}

/// An answer, its JSON read, as the order of its keys means nothing.
fn said(reply: &Reply) -> Value {
    let body = match &reply.body {
        Said::Json(bytes) => serde_json::from_slice(bytes).unwrap(),
        Said::Text(text) => json!(text),
    };
    json!({ "status": reply.status, "body": body })
}

fn store(namespace: Option<i16>) -> Value {
    json!({ "pubkey": alice().to_string(), "namespace": namespace, "data": base64("hello"),
        "timestamp": TIME, "ttl": DAY })
}

fn keep() -> Asked {
    let mut params = store(Some(2));
    params["sig_timestamp"] = (TIME + 1).into();
    Asked::signed(
        "store, signed, into a private namespace",
        ALICE,
        "store",
        &params,
        format!("store2{}", TIME + 1),
    )
}

fn messages() -> Value {
    json!([hash("hello").to_string(), hash("bye").to_string()])
}

fn hashes() -> String {
    format!("{}{}", hash("hello"), hash("bye"))
}

fn delete() -> Asked {
    let text = format!("delete{}", hashes());
    Asked::signed("delete", ALICE, "delete", &json!({ "messages": messages() }), text)
}

fn delete_all(name: &str, namespace: &Value, ns: &str) -> Asked {
    let params = json!({ "namespace": namespace, "timestamp": TIME });
    Asked::signed(name, ALICE, "delete_all", &params, format!("delete_all{ns}{TIME}"))
}

fn delete_before() -> Asked {
    let (before, params) = (TIME - 5, json!({ "namespace": 2, "before": TIME - 5 }));
    Asked::signed("delete_before", ALICE, "delete_before", &params, format!("delete_before2{before}"))
}

fn expire(name: &str, expiry: &Value, ends: &str, direction: &str) -> Asked {
    let mut params = json!({ "messages": messages(), "expiry": expiry });
    if !direction.is_empty() {
        params[direction] = true.into();
    }
    Asked::signed(name, ALICE, "expire", &params, format!("expire{direction}{ends}{}", hashes()))
}

fn expire_all(name: &str, namespace: &Value, ns: &str) -> Asked {
    let expiry = TIME + DAY;
    let params = json!({ "namespace": namespace, "expiry": expiry });
    Asked::signed(name, ALICE, "expire_all", &params, format!("expire_all{ns}{expiry}"))
}

fn revoke(method: &str) -> Asked {
    let token = friend(Rights::READ).token;
    let params = json!({ (method): [base64(token.0)], "timestamp": TIME });
    let method = format!("{method}_subaccount");
    let text = [format!("{method}{TIME}").as_bytes(), &token.0].concat();
    Asked::signed(&method, GROUP, &method, &params, text)
}

fn retrieve(name: &str, params: &Value, ns: &str) -> Asked {
    let mut params = params.clone();
    params["timestamp"] = TIME.into();
    Asked::signed(name, ALICE, "retrieve", &params, format!("retrieve{ns}{TIME}"))
}

fn get_expiries(name: &str, messages: &Value, text: &str) -> Asked {
    let params = json!({ "messages": messages, "timestamp": TIME });
    Asked::signed(name, ALICE, "get_expiries", &params, format!("get_expiries{TIME}{text}"))
}

fn revoked_subaccounts() -> Asked {
    let text = format!("revoked_subaccounts{TIME}");
    Asked::signed("revoked_subaccounts", GROUP, "revoked_subaccounts", &json!({ "timestamp": TIME }), text)
}

fn by_friend(name: &str, written: impl Fn(Token) -> String) -> Asked {
    let granted = friend(Rights::READ.and(Rights::WRITE));
    let mut params = store(Some(11));
    params["subaccount"] = written(granted.token).into();
    params["subaccount_sig"] = base64(granted.signature.0).into();
    let text = format!("store11{TIME}");
    Asked::signed(name, FRIEND, "store", &params, text)
}

fn get_swarm() -> Asked {
    Asked::plain("get_swarm", "get_swarm", &json!({ "pubKey": alice().to_string() }))
}

fn info() -> Asked {
    Asked::plain("info", "info", &json!({}))
}

/// As clients send nearly everything: in an envelope, and more than once.
fn several_of(name: &str, method: &str, requests: &[&str]) -> Asked {
    let requests = requests.join(",");
    let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"requests":[{requests}]}}}}"#);
    Asked { name: name.to_owned(), body, signed: None }
}

/// As many conditions within each other, and a request within those.
fn nested(deep: usize) -> Value {
    (0..deep).fold(
        json!({ "method": "info" }),
        |inner, _| json!({ "method": "ifelse", "params": { "if": { "height_before": 1 }, "then": inner } }),
    )
}

fn requests() -> Vec<Asked> {
    let account = alice().to_string();
    let (all, none) = (json!("all"), Value::Null);
    let end = TIME + 2 * DAY;
    let lenient = json!({ "pubKey": account, "data": base64("hello"), "timestamp": TIME.to_string(),
        "ttl": DAY.to_string(), "maxSize": 7, "odd": { "er": [] } });
    let until =
        json!({ "pubkey": account, "data": base64("hello"), "timestamp": TIME, "expiry": TIME + DAY });
    let choice = json!({
        "if": { "hf_at_least": [22, 0], "hf_before": [23], "v_at_least": [0, 1], "v_before": [9, 0, 0],
            "height_at_least": 100, "height_before": 1_u64 << 60, "odd": 1 },
        "then": { "method": "info" },
        "else": { "method": "batch", "params": { "requests": [{ "method": "info" }] } },
    });
    let fields = json!({ "public_ip": true, "storage_port": true });
    let alone = |seed: &str| json!({ "endpoint": "ons_resolve", "params": { "type": 0, "name_hash": seed } });
    let name = name_hash(&"alice".parse().unwrap());
    vec![
        Asked::plain("store, unsigned, into a public inbox", "store", &store(None)),
        Asked::plain("store, other names and texts for numbers", "store", &lenient),
        Asked::plain("store, with its end", "store", &until),
        Asked::plain("store, into the namespace of legacy groups", "store", &store(Some(-10))),
        keep(),
        Asked::signed(
            "store, signed as of its timestamp",
            ALICE,
            "store",
            &store(Some(0)),
            format!("store{TIME}"),
        ),
        Asked::signed(
            "store, into a public outbox",
            ALICE,
            "store",
            &store(Some(-1)),
            format!("store-1{TIME}"),
        ),
        Asked::signed("store, signed by a group", GROUP, "store", &store(Some(11)), format!("store11{TIME}")),
        by_friend("store, signed by a subaccount", |token| base64(token.0)),
        by_friend("store, signed by a subaccount whose token is in hex", |token| HEX.encode(&token.0)),
        retrieve("retrieve", &json!({}), ""),
        retrieve("retrieve, namespace 0 said", &json!({ "namespace": 0, "lastHash": "" }), ""),
        retrieve(
            "retrieve, after a message, within limits",
            &json!({ "namespace": 2, "last_hash": hash_in(2, "hello").to_string(), "max_count": 10, "max_size": -5 }),
            "2",
        ),
        retrieve(
            "retrieve, another name",
            &json!({ "lastHash": hash("hello").to_string(), "max_size": 9_000 }),
            "",
        ),
        Asked::plain(
            "retrieve, from a public outbox",
            "retrieve",
            &json!({ "pubkey": account, "namespace": -21 }),
        ),
        delete(),
        Asked::signed(
            "delete, required",
            ALICE,
            "delete",
            &json!({ "messages": messages(), "required": true }),
            format!("delete{}", hashes()),
        ),
        delete_all("delete_all", &none, ""),
        delete_all("delete_all, of a namespace", &json!(2), "2"),
        delete_all("delete_all, of all namespaces", &all, "all"),
        delete_before(),
        expire("expire", &json!(end), &end.to_string(), ""),
        expire("expire, an end for each", &json!([TIME + DAY, end]), &format!("{}{end}", TIME + DAY), ""),
        expire("expire, one end in a list", &json!([end]), &end.to_string(), ""),
        expire("expire, only shorten", &json!(end), &end.to_string(), "shorten"),
        expire("expire, only extend", &json!(end), &end.to_string(), "extend"),
        expire_all("expire_all", &none, ""),
        expire_all("expire_all, of a namespace", &json!(2), "2"),
        expire_all("expire_all, of all namespaces", &all, "all"),
        get_expiries("get_expiries", &messages(), &hashes()),
        get_expiries("get_expiries, of all", &json!(["all"]), "all"),
        get_expiries(
            "get_expiries, of one in no list",
            &json!(hash("hello").to_string()),
            &hash("hello").to_string(),
        ),
        revoke("revoke"),
        revoke("unrevoke"),
        revoked_subaccounts(),
        get_swarm(),
        Asked::plain("get_swarm, another name", "get_snodes_for_pubkey", &json!({ "pubkey": account })),
        info(),
        Asked::plain("active_nodes_bin", "active_nodes_bin", &json!({})),
        Asked::plain(
            "oxend_request: get_service_nodes",
            "oxend_request",
            &json!({ "endpoint": "get_service_nodes", "params": { "fields": fields, "limit": 5 } }),
        ),
        Asked::plain("oxend_request: ons_resolve", "oxend_request", &alone(&base64(name))),
        Asked::plain("oxend_request: ons_resolve, in hex", "oxend_request", &alone(&HEX.encode(&name))),
        several_of(
            "batch, of which one cannot be read",
            "batch",
            &[&keep().body, &retrieve("", &json!({}), "").body, r#"{"method":"odd"}"#],
        ),
        several_of("sequence", "sequence", &[r#"{"method":"info"}"#, &delete().body]),
        Asked::plain("ifelse", "ifelse", &choice),
        Asked::plain("ifelse, 16 deep", "ifelse", &nested(MAX_CONDITIONS_JSON)["params"]),
        Asked::plain(
            "ifelse, the first number of a version alone",
            "ifelse",
            &json!({ "if": { "hf_at_least": 22, "v_at_least": [] }, "then": { "method": "info" } }),
        ),
    ]
}

fn refused() -> Vec<Asked> {
    let account = alice().to_string();
    let with = |field: &str, value: Value| {
        let mut params = store(None);
        params[field] = value;
        params
    };
    let raw = |name: &str, body: &str| Asked { name: name.to_owned(), body: body.to_owned(), signed: None };
    let odd =
        |name: &str, method: &str, params: &Value| Asked::plain(&format!("refused: {name}"), method, params);
    let unsigned = |name: &str, method: &str| {
        odd(
            name,
            method,
            &json!({ "pubkey": account, "messages": messages(),
        "timestamp": TIME, "expiry": TIME + DAY, "before": TIME, "revoke": "", "unrevoke": "" }),
        )
    };
    let expired = |method: &str| {
        odd(
            &format!("{method} into the past"),
            method,
            &json!({ "pubkey": account, "messages": messages(), "expiry": TIME }),
        )
    };
    let ahead = json!({ "pubkey": account, "before": TIME + 60_001 });
    let one = json!({ "method": "info" });
    let in_group = json!({ "pubkey": group().to_string(), "messages": messages(), "signature": base64([0; 64]),
        "pubkey_ed25519": HEX.encode(&pair(GROUP).public()) });
    let deep = nested(MAX_CONDITIONS_JSON + 1);
    let oxend = |endpoint: &str, params: Value| json!({ "endpoint": endpoint, "params": params });
    vec![
        raw("refused: not JSON", "{"),
        raw("refused: not an object", "[]"),
        raw("refused: no method", r#"{"params":{}}"#),
        raw("refused: params of another type", r#"{"method":"info","params":[]}"#),
        odd("a method that there is not", "reboot", &json!({})),
        odd("no account", "store", &json!({})),
        odd("not an account", "store", &with("pubkey", "05ab".into())),
        odd("data that are no base64", "store", &with("data", "?".into())),
        odd("too many data", "store", &with("data", base64(vec![0; 76_801]).into())),
        odd("a time that can only be seconds", "store", &with("timestamp", 999_999_999.into())),
        odd("both ttl and expiry", "store", &with("expiry", (TIME + DAY).into())),
        odd("no such namespace", "store", &with("namespace", 32_768.into())),
        odd("half of a subaccount", "store", &{
            let mut params = with("signature", base64([0; 64]).into());
            params["subaccount"] = base64(friend(Rights::READ).token.0).into();
            params
        }),
        odd("a signature of another length", "store", &with("signature", base64([0; 63]).into())),
        unsigned("delete, unsigned", "delete"),
        unsigned("delete_all, unsigned", "delete_all"),
        unsigned("expire_all, unsigned", "expire_all"),
        unsigned("get_expiries, unsigned", "get_expiries"),
        odd("not a hash", "delete", &json!({ "pubkey": account, "messages": ["hello"] })),
        odd("no hashes", "delete", &json!({ "pubkey": account, "messages": [] })),
        odd("a key beside an account that shows it", "delete", &in_group),
        odd("delete_before too far ahead", "delete_before", &ahead),
        expired("expire"),
        expired("expire_all"),
        odd(
            "both shorten and extend",
            "expire",
            &json!({ "pubkey": account, "messages": messages(),
            "expiry": TIME + DAY, "shorten": true, "extend": true }),
        ),
        odd("an empty batch", "batch", &json!({ "requests": [] })),
        odd("a batch of 21", "batch", &json!({ "requests": vec![&one; 21] })),
        odd("conditions 17 deep", "ifelse", &deep["params"]),
        odd("no condition that is known", "ifelse", &json!({ "if": { "odd": 1 }, "then": one })),
        odd("nothing to choose from", "ifelse", &json!({ "if": { "height_before": 1 } })),
        odd("an endpoint that is not offered", "oxend_request", &oxend("stop_daemon", json!({}))),
        odd(
            "a name of another type",
            "oxend_request",
            &oxend("ons_resolve", json!({ "type": 2, "name_hash": "" })),
        ),
        odd(
            "not the hash of a name",
            "oxend_request",
            &oxend("ons_resolve", json!({ "type": 0, "name_hash": "ab" })),
        ),
    ]
}

#[test]
fn what_is_asked() {
    let mut entries = Vec::new();
    for asked in requests() {
        assert!(asked.parsed().is_ok(), "{}: {:?}", asked.name, asked.parsed());
        entries.push(asked.entry());
    }
    for asked in refused() {
        assert!(asked.parsed().is_err(), "{}", asked.name);
        // Too long for a line that people read.
        if asked.body.len() < 10_000 {
            entries.push(asked.entry());
        }
    }
    check("json_requests.json", &entries);
}

/// Session's desktop client fills a list of one up with what is no message's hash.
#[test]
fn lists_are_filled_up() {
    let (hello, filler) = (hash("hello"), "/".repeat(43));
    let (list, spelt) = (json!([hello.to_string(), filler]), format!("{hello}{filler}"));
    let genuine = |asked: &Asked| asked.request().verify(&network(), Time::from_millis(TIME), Door::Json);

    let asked = get_expiries("get_expiries, filled up", &list, &spelt);
    assert_eq!(genuine(&asked), Ok(()));
    let end = TIME + DAY;
    let params = json!({ "messages": list, "expiry": end });
    let asked = Asked::signed("expire, filled up", ALICE, "expire", &params, format!("expire{end}{spelt}"));
    assert_eq!(genuine(&asked), Ok(()));
    let did = || Did::of(&[(0, hello)], format!("{}{end}{spelt}{hello}", alice()));
    written(&asked, vec![did(), did()]);
    let params = json!({ "messages": list });
    let asked = Asked::signed("delete, filled up", ALICE, "delete", &params, format!("delete{spelt}"));
    assert_eq!(genuine(&asked), Ok(()));
    let did = || Did::of(&[(0, hello)], format!("{}{spelt}{hello}", alice()));
    written(&asked, vec![did(), did()]);

    // After a message that there cannot be comes all that there is.
    let asked = retrieve("retrieve, after none", &json!({ "lastHash": filler }), "");
    let Request::Retrieve(read) = asked.request() else { panic!("{}", asked.name) };
    assert_eq!(read.last, None);
}

#[test]
fn who_counts_messages_is_not_given_a_fifth_of_them() {
    let most = |params: &Value| {
        let asked = retrieve("retrieve", params, "");
        let Request::Retrieve(read) = asked.request() else { panic!("{}", asked.name) };
        read.max_size.unwrap()
    };
    assert_eq!(most(&json!({})), 1_560_000);
    assert_eq!(most(&json!({ "max_count": 100 })), 7_800_000);
    assert_eq!(most(&json!({ "max_count": 100, "max_size": -5 })), 1_560_000);
}

/// What one member did, and the text that it signs.
struct Did {
    already: bool,
    changed: Vec<(i16, MessageHash)>,
    unchanged: Vec<(MessageHash, u64)>,
    text: Vec<u8>,
}

impl Did {
    fn of(changed: &[(i16, MessageHash)], text: impl AsRef<[u8]>) -> Self {
        Self {
            already: false,
            changed: changed.to_vec(),
            unchanged: Vec::new(),
            text: text.as_ref().to_vec(),
        }
    }
}

/// Hashes in the order of their text, joined.
fn in_order(changed: &[(i16, MessageHash)]) -> String {
    let mut shown: Vec<_> = changed.iter().map(|(_, hash)| hash.to_string()).collect();
    shown.sort();
    shown.concat()
}

/// The answer to a store or a change: what each member did, from the first on. Of the rest one tells nothing that
/// clients of this door can read, and the others fail.
fn written(asked: &Asked, did: Vec<Did>) -> Value {
    let request = asked.request();
    let mutation = match request.clone() {
        Request::Store(request) => Mutation::Store(request),
        Request::Delete(request) => Mutation::Delete { request, held: Vec::new() },
        Request::Expire(request) => Mutation::Expire { request, held: Vec::new() },
        Request::Revoke(request) => Mutation::Revoke { request, held: Vec::new() },
        other => panic!("{other:?} changes nothing"),
    };
    let account = *request.account().unwrap();
    let subject = Subject::Request { account, digest: [0; 32] };
    let mut nodes = MEMBERS.iter();
    let (mut signed, mut members, already) = (Vec::new(), Vec::new(), did[0].already);
    for (Did { already, changed, unchanged, text }, seed) in did.into_iter().zip(nodes.by_ref()) {
        let done = match &request {
            Request::Store(store) => Done::Keeps { expiry: store.expiry },
            _ => Done::Changed { hashes: changed.iter().map(|(_, hash)| *hash).collect() },
        };
        let listed: Vec<_> = changed.iter().map(|(namespace, hash)| (Namespace(*namespace), *hash)).collect();
        assert_eq!(told::text(&mutation, &listed, &unchanged), text, "{}", asked.name);
        let told = Told { already, listed, unchanged, signature: pair(*seed).sign(&text) };
        signed
            .push(Receipt { told: Some(told), ..Receipt::sign(&pair(*seed), &network(), 7, &subject, done) });
        members.push(signature(*seed, &text));
    }
    let mute = pair(*nodes.next().unwrap());
    signed.push(Receipt::sign(&mute, &network(), 7, &subject, Done::Changed { hashes: vec![] }));
    let failures = [Failure::Silent, Failure::Refused { code: Code::Full }, Failure::Unsound, Failure::Own];
    let missing = |(seed, why): (&u8, _)| Missing { node: pair(*seed).node_id(), why };
    let missing: Vec<_> = nodes.zip(failures).map(missing).collect();
    assert_eq!(signed.len() + missing.len(), MEMBERS.len());
    let receipts = Receipts { map_version: 7, signed, missing };
    let body = match &request {
        Request::Store(store) => Body::Stored { hash: store.hash(), already, receipts },
        _ => Body::Changed { receipts },
    };
    let reply = render(&request, &Answer { time: TIME, body }, RULES, |_| None);
    let mut entry = said(&reply);
    for member in &members {
        let told = &entry["body"]["swarm"][member["key"].as_str().unwrap()];
        assert_eq!(told["signature"], member["signature"], "{}", asked.name);
    }
    assert_eq!(entry["body"]["swarm"].as_object().unwrap().len(), MEMBERS.len());
    entry["name"] = asked.name.clone().into();
    entry["members"] = members.into();
    entry
}

/// Both messages, and the second alone, as two members hold them.
fn held() -> [Vec<(i16, MessageHash)>; 2] {
    let bye = (0, hash("bye"));
    [vec![(0, hash("hello")), bye], vec![bye]]
}

fn deletions() -> Vec<Value> {
    let account = alice();
    let each = |asked: &Asked, before: &str| {
        written(
            asked,
            held().map(|held| Did::of(&held, format!("{account}{before}{}", in_order(&held)))).into(),
        )
    };
    let everywhere = [
        vec![(2, hash_in(2, "hello")), (0, hash("bye")), (-1, hash_in(-1, "bye")), (0, hash("hello"))],
        vec![],
    ];
    let all = delete_all("delete_all, of all namespaces", &json!("all"), "all");
    vec![
        each(&delete(), &hashes()),
        each(&delete_all("delete_all", &Value::Null, ""), &TIME.to_string()),
        written(
            &all,
            everywhere.map(|held| Did::of(&held, format!("{account}{TIME}{}", in_order(&held)))).into(),
        ),
        each(&delete_before(), &(TIME - 5).to_string()),
    ]
}

/// A store that nobody signed is answered as one that is.
fn stored_by_anybody() -> Vec<Value> {
    let asked = Asked::plain("store, unsigned, into a public inbox", "store", &store(None));
    let shown = hash("hello").to_string();
    vec![written(&asked, vec![Did::of(&[], &shown), Did { already: true, ..Did::of(&[], &shown) }])]
}

fn expiries() -> Vec<Value> {
    let (account, end) = (alice(), TIME + 2 * DAY);
    let each = |asked: &Asked, before: &str| {
        written(
            asked,
            held().map(|held| Did::of(&held, format!("{account}{before}{}", in_order(&held)))).into(),
        )
    };
    // The end of one that is left as it was, beside one that changed.
    let shorten = expire("expire, only shorten", &json!(end), &end.to_string(), "shorten");
    let left = vec![(hash("hello"), TIME + DAY), (hash("bye"), TIME + 5)];
    let mut shown: Vec<_> = left.iter().map(|(hash, end)| format!("{hash}{end}")).collect();
    shown.sort();
    let bye = vec![(0, hash("bye"))];
    let (hello, later) = (hash("hello"), TIME + DAY);
    let some = format!("{account}{end}{}{}{hello}{later}", hashes(), hash("bye"));
    let none = format!("{account}{end}{}{}", hashes(), shown.concat());
    let shortened = vec![
        Did { unchanged: left[..1].to_vec(), ..Did::of(&bye, some) },
        Did { unchanged: left, ..Did::of(&[], none) },
    ];
    // Each member tells the ends of what it changed, in the order in which it lists that.
    let apart =
        expire("expire, an end for each", &json!([TIME + DAY, end]), &format!("{}{end}", TIME + DAY), "");
    let own = |held: &[(i16, MessageHash)]| {
        let end_of = |one: &MessageHash| if *one == hello { later } else { end };
        let mut ends: Vec<_> = held.iter().map(|(_, one)| (one.to_string(), end_of(one))).collect();
        ends.sort();
        ends.iter().map(|(_, end)| end.to_string()).collect::<String>()
    };
    let text = |held: &[(i16, MessageHash)]| format!("{account}{}{}{}", own(held), hashes(), in_order(held));
    vec![
        each(&expire("expire", &json!(end), &end.to_string(), ""), &format!("{end}{}", hashes())),
        written(&apart, held().map(|held| Did::of(&held, text(&held))).into()),
        written(&shorten, shortened),
        extended(),
        each(&expire_all("expire_all, of a namespace", &json!(2), "2"), &(TIME + DAY).to_string()),
        each(&expire_all("expire_all, of all namespaces", &json!("all"), "all"), &(TIME + DAY).to_string()),
    ]
}

/// One message ends later, and one ends later than asked already, at the first member; the second holds none.
fn extended() -> Value {
    let end = TIME + 2 * DAY;
    let (hello, bye, later) = (hash("hello"), hash("bye"), TIME + 3 * DAY);
    let before = format!("{}{end}{}", alice(), hashes());
    let some = Did {
        unchanged: vec![(bye, later)],
        ..Did::of(&[(0, hello)], format!("{before}{hello}{bye}{later}"))
    };
    let asked = expire("expire, only extend", &json!(end), &end.to_string(), "extend");
    written(&asked, vec![some, Did::of(&[], before)])
}

#[test]
fn what_writes_are_answered() {
    let (stored, token) = (hash_in(2, "hello").to_string(), friend(Rights::READ).token);
    let again = Did { already: true, ..Did::of(&[], &stored) };
    let mut entries = vec![written(&keep(), vec![Did::of(&[], &stored), again])];
    entries.extend(stored_by_anybody());
    entries.extend(deletions());
    entries.extend(expiries());
    let signed = [format!("{}{TIME}", group()).as_bytes(), &token.0].concat();
    for method in ["revoke", "unrevoke"] {
        let known = [(i16::MIN, token.hash(&group()))];
        entries.push(written(&revoke(method), vec![Did::of(&known, &signed), Did::of(&[], &signed)]));
    }
    check("json_writes.json", &entries);
}

fn node(seed: u8) -> DoorNode {
    let mut node =
        DoorNode::new(pair(seed).node_id(), [127, 0, seed, 1].into(), 22_000 + u16::from(seed)).unwrap();
    (node.quic, node.swarm, node.version) =
        (23_000 + u16::from(seed), Some(SwarmId(u64::MAX - 7)), [0, 1, 300]);
    node
}

fn swarm() -> SwarmInfo {
    SwarmInfo { map_version: 7, id: SwarmId(0x0001), members: vec![pair(3).node_id(), pair(4).node_id()] }
}

fn rendered(asked: &Asked, body: Body) -> Reply {
    let listed = |id: &NodeId| [3, 4].map(node).into_iter().find(|node| node.id == *id);
    render(&asked.request(), &Answer { time: TIME, body }, RULES, listed)
}

fn entry(name: &str, reply: &Reply) -> Value {
    let mut entry = said(reply);
    entry["name"] = name.into();
    entry
}

fn info_body() -> Body {
    Body::Info { version: "0.1.300-dev".into(), rules: RULES, height: 1_234 }
}

#[test]
fn what_reads_are_answered() {
    let message = |data: &str| {
        let (hash, timestamp, expiry) = (hash(data), TIME - 1, TIME + DAY);
        Message { hash, timestamp, expiry, data: ByteBuf::from(data) }
    };
    let cursor = session_protocols::request::Cursor { incarnation: 1, sequence: 2 };
    let page = |messages, more| Body::Messages { messages, more, cursor };
    let look = retrieve("retrieve", &json!({}), "");
    let ends = vec![End { hash: hash("hello"), expiry: TIME + DAY }];
    let expiries = get_expiries("get_expiries", &messages(), &hashes());
    let of_all = get_expiries("get_expiries, of all", &json!(["all"]), "all");
    let tokens = [Rights::READ, Rights::WRITE].map(|rights| friend(rights).token);
    let mut entries = vec![
        entry("retrieve", &rendered(&look, page(vec![message("hello"), message("bye")], true))),
        entry("retrieve, nothing", &rendered(&look, page(vec![], false))),
        entry("get_expiries", &rendered(&expiries, Body::Expiries { ends: ends.clone(), more: false })),
        entry("get_expiries, of all", &rendered(&of_all, Body::Expiries { ends: ends.clone(), more: false })),
        entry(
            "get_expiries, of all, nothing",
            &rendered(&of_all, Body::Expiries { ends: vec![], more: false }),
        ),
        entry(
            "get_expiries, of all, and there are more",
            &rendered(&of_all, Body::Expiries { ends, more: true }),
        ),
        entry(
            "revoked_subaccounts",
            &rendered(&revoked_subaccounts(), Body::Revoked { tokens: tokens.into() }),
        ),
        entry("get_swarm", &rendered(&get_swarm(), Body::Swarm(swarm()))),
        entry("info", &rendered(&info(), info_body())),
    ];
    let plain = |code| Body::Refused(Refusal { code, swarm: None, receipts: None });
    let codes = [400, 401, 403, 404, 406, 413, 429, 500, 503, 507];
    for code in codes {
        let reply = rendered(&look, plain(Code::try_from(code).unwrap()));
        entries.push(entry(&format!("refused, natively {code}"), &reply));
    }
    let elsewhere = Body::Refused(Refusal { code: Code::WrongSwarm, swarm: Some(swarm()), receipts: None });
    let elsewhere = rendered(&look, elsewhere);
    entries.push(entry("refused, another swarm", &elsewhere));
    let (told, not) = (rendered(&info(), info_body()), rendered(&look, plain(Code::Unauthorized)));
    entries.push(entry("batch", &several(vec![told.clone(), elsewhere.clone(), not.clone()], false, STAMP)));
    entries.push(entry(
        "batch, all for another swarm",
        &several(vec![elsewhere.clone(), elsewhere], true, STAMP),
    ));
    entries.push(entry(
        "sequence, up to one that failed",
        &several(vec![told.clone(), not.clone()], true, STAMP),
    ));
    let answer = Answer { time: TIME, body: info_body() };
    entries.push(entry("ifelse, then", &choice(&answer, true, Some(told))));
    entries.push(entry("ifelse, else, which failed", &choice(&answer, false, Some(not))));
    entries.push(entry("ifelse, nothing to do", &choice(&answer, false, None)));
    check("json_reads.json", &entries);
}

#[test]
fn what_is_told_of_nodes_and_names() {
    let listing = Listing::new(vec![node(3)], 1_234, RULES);
    let both = Listing::new([3, 4].map(node).into(), 1_234, RULES);
    let rpc = |name: &str, body: &str| {
        let mut entry = entry(name, &json_rpc(body.as_bytes(), &listing, 1));
        entry["asked"] = body.into();
        entry
    };
    let fields =
        r#"{"fields":{"public_ip":true,"storage_port":true,"pubkey_x25519":true,"pubkey_ed25519":true}}"#;
    let first = format!(r#"{{"jsonrpc":"2.0","id":0,"method":"get_n_service_nodes","params":{fields}}}"#);
    let (label, nonce): (Label, _) = ("alice".parse().unwrap(), [0x70; NONCE]);
    let found = resolved(Some((&label, &alice())), nonce);
    let mut named = entry("ons_resolve", &result_of(&found.to_string(), STAMP));
    named["named"] = json!({ "name": label.as_str(), "name_hash": base64(name_hash(&label)),
        "account": alice().to_string(), "nonce": HEX.encode(&nonce) });
    let entries = [
        rpc("json_rpc: get_n_service_nodes", &first),
        rpc("json_rpc: get_service_nodes, all fields", r#"{"id":"a","method":"get_service_nodes"}"#),
        rpc("json_rpc: a method that there is not", r#"{"id":"a","method":"stop_daemon"}"#),
        rpc("json_rpc: no method", "{}"),
        rpc("json_rpc: not JSON", "{"),
        entry("oxend_request: get_service_nodes", &result_of(&service_nodes(&listing, &json!({}), 1), STAMP)),
        json!({ "name": "active_nodes_bin: what `nodes` holds, of two nodes", "bytes": HEX.encode(&active_nodes(&both)) }),
        named,
        entry("ons_resolve, no such name", &result_of(&resolved(None, nonce).to_string(), STAMP)),
    ];
    check("json_nodes.json", &entries);
}
