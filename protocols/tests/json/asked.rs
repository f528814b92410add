//! What clients of the JSON door ask, one call of each kind, as they sign it.

use data_encoding::{BASE64, HEXLOWER as HEX};
use serde_json::{Map, Value, json};
use session_protocols::{
    MessageHash, Namespace, Time,
    door::{Body as Said, Call, Reply, parse},
    request::{Door, MAX_REQUEST, Request, Rights, Subaccount, Token},
};

use crate::{
    file::{readable, sorted, wire},
    people::{ALICE, DAY, FRIEND, GROUP, TIME, alice, group, network, pair},
};

pub(crate) fn hash_in(namespace: i16, data: &str) -> MessageHash {
    MessageHash::of(&alice(), Namespace(namespace), data.as_bytes())
}

pub(crate) fn hash(data: &str) -> MessageHash {
    hash_in(0, data)
}

pub(crate) fn base64(data: impl AsRef<[u8]>) -> String {
    BASE64.encode(data.as_ref())
}

/// A subaccount of the group, to read and to write, and what the group's owner signed for it.
pub(crate) fn friend(rights: Rights) -> Subaccount {
    Subaccount::grant(&pair(GROUP), Token::new(0x03, rights, &pair(FRIEND).public()))
}

/// A request as it is sent, and what is signed of it.
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) body: String,
    pub(crate) signed: Option<(u8, Vec<u8>)>,
}

impl Asked {
    pub(crate) fn plain(name: &str, method: &str, params: &Value) -> Self {
        let body = sorted(&json!({ "method": method, "params": params }));
        Self { name: name.to_owned(), body, signed: None }
    }

    /// Signed by the key of a seed, over this text.
    pub(crate) fn signed(name: &str, seed: u8, method: &str, params: &Value, text: impl AsRef<[u8]>) -> Self {
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

    pub(crate) fn parsed(&self) -> Result<Call, Reply> {
        parse(self.body.as_bytes(), TIME)
    }

    /// The storage request that it is.
    pub(crate) fn request(&self) -> Request {
        match self.parsed() {
            Ok(Call::Storage(request)) => *request,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    pub(crate) fn entry(&self) -> Value {
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
pub(crate) fn signature(seed: u8, text: &[u8]) -> Value {
    let plain = text.is_ascii().then(|| String::from_utf8(text.to_vec()).unwrap());
    json!({
        "seed": HEX.encode(&[seed; 32]),
        "key": HEX.encode(&pair(seed).public()),
        "text": plain, "bytes": HEX.encode(text),
        "signature": base64(pair(seed).sign(text).0),
    })
}

/// What a request was read as: the native one that says the same, or one of the door's own.
pub(crate) fn meaning(name: &str, parsed: &Result<Call, Reply>) -> Value {
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
        Ok(Call::Nodes(asked)) => {
            let fields: Map<_, _> = asked.fields().map(|name| (name.to_owned(), true.into())).collect();
            json!({ "nodes": { "fields": fields, "limit": asked.limit() } })
        }
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
pub(crate) fn said(reply: &Reply) -> Value {
    let body = match &reply.body {
        Said::Json(bytes) => serde_json::from_slice(bytes).unwrap(),
        Said::Text(text) => json!(text),
        Said::Bytes(bytes) => json!(HEX.encode(bytes)),
    };
    json!({ "status": reply.status, "body": body })
}

pub(crate) fn store(namespace: Option<i16>) -> Value {
    json!({ "pubkey": alice().to_string(), "namespace": namespace, "data": base64("hello"),
        "timestamp": TIME, "ttl": DAY })
}

/// The same message, with the time of its end.
pub(crate) fn store_until() -> Asked {
    let params = json!({ "pubkey": alice().to_string(), "data": base64("hello"), "timestamp": TIME,
        "expiry": TIME + DAY });
    Asked::plain("store, with its end", "store", &params)
}

pub(crate) fn delete_required() -> Asked {
    let params = json!({ "messages": messages(), "required": true });
    Asked::signed("delete, required", ALICE, "delete", &params, format!("delete{}", hashes()))
}

pub(crate) fn keep() -> Asked {
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

pub(crate) fn messages() -> Value {
    json!([hash("hello").to_string(), hash("bye").to_string()])
}

pub(crate) fn hashes() -> String {
    format!("{}{}", hash("hello"), hash("bye"))
}

pub(crate) fn delete() -> Asked {
    let text = format!("delete{}", hashes());
    Asked::signed("delete", ALICE, "delete", &json!({ "messages": messages() }), text)
}

pub(crate) fn delete_all(name: &str, namespace: &Value, ns: &str) -> Asked {
    let params = json!({ "namespace": namespace, "timestamp": TIME });
    Asked::signed(name, ALICE, "delete_all", &params, format!("delete_all{ns}{TIME}"))
}

pub(crate) fn delete_before() -> Asked {
    let (before, params) = (TIME - 5, json!({ "namespace": 2, "before": TIME - 5 }));
    Asked::signed("delete_before", ALICE, "delete_before", &params, format!("delete_before2{before}"))
}

pub(crate) fn expire(name: &str, expiry: &Value, ends: &str, direction: &str) -> Asked {
    let mut params = json!({ "messages": messages(), "expiry": expiry });
    if !direction.is_empty() {
        params[direction] = true.into();
    }
    Asked::signed(name, ALICE, "expire", &params, format!("expire{direction}{ends}{}", hashes()))
}

pub(crate) fn expire_all(name: &str, namespace: &Value, ns: &str) -> Asked {
    let expiry = TIME + DAY;
    let params = json!({ "namespace": namespace, "expiry": expiry });
    Asked::signed(name, ALICE, "expire_all", &params, format!("expire_all{ns}{expiry}"))
}

pub(crate) fn revoke(method: &str) -> Asked {
    let token = friend(Rights::READ).token;
    let params = json!({ (method): [base64(token.0)], "timestamp": TIME });
    let method = format!("{method}_subaccount");
    let text = [format!("{method}{TIME}").as_bytes(), &token.0].concat();
    Asked::signed(&method, GROUP, &method, &params, text)
}

pub(crate) fn retrieve(name: &str, params: &Value, ns: &str) -> Asked {
    let mut params = params.clone();
    params["timestamp"] = TIME.into();
    Asked::signed(name, ALICE, "retrieve", &params, format!("retrieve{ns}{TIME}"))
}

pub(crate) fn get_expiries(name: &str, messages: &Value, text: &str) -> Asked {
    let params = json!({ "messages": messages, "timestamp": TIME });
    Asked::signed(name, ALICE, "get_expiries", &params, format!("get_expiries{TIME}{text}"))
}

pub(crate) fn revoked_subaccounts() -> Asked {
    let text = format!("revoked_subaccounts{TIME}");
    Asked::signed("revoked_subaccounts", GROUP, "revoked_subaccounts", &json!({ "timestamp": TIME }), text)
}

pub(crate) fn by_friend(name: &str, written: impl Fn(Token) -> String) -> Asked {
    let granted = friend(Rights::READ.and(Rights::WRITE));
    let mut params = store(Some(11));
    params["subaccount"] = written(granted.token).into();
    params["subaccount_sig"] = base64(granted.signature.0).into();
    let text = format!("store11{TIME}");
    Asked::signed(name, FRIEND, "store", &params, text)
}

pub(crate) fn get_swarm() -> Asked {
    Asked::plain("get_swarm", "get_swarm", &json!({ "pubKey": alice().to_string() }))
}

pub(crate) fn info() -> Asked {
    Asked::plain("info", "info", &json!({}))
}

/// As clients send nearly everything: in an envelope, and more than once.
pub(crate) fn several_of(name: &str, method: &str, requests: &[&str]) -> Asked {
    let requests = requests.join(",");
    let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"requests":[{requests}]}}}}"#);
    Asked { name: name.to_owned(), body, signed: None }
}
