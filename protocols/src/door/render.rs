//! Answers of the JSON door.

use core::fmt;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value, json};

use super::{
    Reply,
    nodes::{DoorNode, Listing, active_nodes},
};
use crate::{
    MessageHash, Namespace, NodeId,
    answer::{Answer, Body, Code, Done, Failure, Receipt, Receipts, Refusal, SwarmInfo, told},
    request::{Ends, Request, Which, numbers},
};

/// What every answer says beside its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The node's clock, in milliseconds since 1970.
    pub time: u64,
    /// The version of the rules that the network goes by.
    pub rules: [u64; 2],
}

impl Stamp {
    /// Adds it to an object.
    pub fn put(self, fields: &mut Value) {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("t".to_owned(), self.time.into());
            fields.insert("hf".to_owned(), self.rules.to_vec().into());
        }
    }
}

impl fmt::Display for Stamp {
    /// As it stands in an object that is written out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, rules: [hard, soft] } = self;
        write!(f, r#""t":{time},"hf":[{hard},{soft}]"#)
    }
}

/// What a node answers to a storage request, of which a message is not looked at, by the network's `rules`. `listed`
/// finds how a node can be reached.
pub fn render(
    request: &Request,
    answer: &Answer,
    rules: [u64; 2],
    listed: impl Fn(&NodeId) -> Option<DoorNode>,
) -> Reply {
    let stamp = Stamp { time: answer.time, rules };
    let mut fields = match &answer.body {
        Body::Refused(refusal) => return refused(request, refusal, stamp, listed),
        Body::Stored { hash, already, receipts } => {
            let mut fields =
                json!({ "hash": hash.to_string(), "swarm": swarm(request, Some(hash), receipts) });
            if *already {
                flag(&mut fields, "already");
            }
            fields
        }
        Body::Changed { receipts } => json!({ "swarm": swarm(request, None, receipts) }),
        Body::Messages { messages, more, .. } => {
            let messages = messages.iter().map(|message| {
                json!({
                    "hash": message.hash.to_string(),
                    "timestamp": message.timestamp,
                    "expiration": message.expiry,
                    "data": BASE64.encode(&message.data),
                })
            });
            json!({ "messages": messages.collect::<Vec<_>>(), "more": more })
        }
        Body::Expiries { ends, more } => {
            let expiries: Map<_, _> =
                ends.iter().map(|end| (end.hash.to_string(), end.expiry.into())).collect();
            let mut fields = json!({ "expiries": expiries });
            if *more {
                flag(&mut fields, "more");
            }
            fields
        }
        Body::Revoked { tokens } => {
            let tokens: Vec<_> = tokens.iter().map(|token| BASE64.encode(&token.0)).collect();
            json!({ "revoked_subaccounts": tokens })
        }
        Body::Swarm(info) => match swarm_of(info, listed) {
            Some(fields) => fields,
            None => return nowhere(),
        },
        Body::Info { version, height, .. } => {
            json!({ "version": numbers(version), "timestamp": answer.time, "height": height })
        }
        Body::Ids { .. } | Body::Fetched { .. } | Body::Batch(_) | Body::If { .. } => {
            return Reply::text(500, "the node failed");
        }
    };
    stamp.put(&mut fields);
    Reply::json(200, &fields)
}

fn flag(fields: &mut Value, name: &str) {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert(name.to_owned(), Value::Bool(true));
    }
}

fn refused(
    request: &Request,
    refusal: &Refusal,
    stamp: Stamp,
    listed: impl Fn(&NodeId) -> Option<DoorNode>,
) -> Reply {
    let (status, text) = in_words(refusal.code);
    let mut fields = match (&refusal.swarm, &refusal.receipts) {
        (Some(info), _) if refusal.code == Code::WrongSwarm => match swarm_of(info, listed) {
            Some(fields) => fields,
            None => return nowhere(),
        },
        // What no member did: each says why.
        (_, Some(receipts)) => json!({ "swarm": swarm(request, None, receipts) }),
        _ => return Reply::text(status, text),
    };
    stamp.put(&mut fields);
    Reply::json(status, &fields)
}

/// A code as clients of this door know it, and its sentence.
fn in_words(code: Code) -> (u16, String) {
    // They know no other number for a full disk.
    let status = if code == Code::Full { Code::Failed } else { code }.number();
    let text = match code {
        Code::Clock => "Timestamp error: check your clock".to_owned(),
        Code::BadTtl => "Provided expiry/TTL is not valid.".to_owned(),
        Code::Unauthorized => "Signature verification failed".to_owned(),
        Code::BadRequest
        | Code::NotFound
        | Code::TooLarge
        | Code::WrongSwarm
        | Code::TooMany
        | Code::Failed
        | Code::NotReady
        | Code::Full => code.to_string(),
    };
    (status, text)
}

/// The members of a swarm that clients can reach; none where there are none, which no client could go on with.
fn swarm_of(info: &SwarmInfo, listed: impl Fn(&NodeId) -> Option<DoorNode>) -> Option<Value> {
    let nodes: Vec<_> = info.members.iter().filter_map(listed).map(|node| member(&node)).collect();
    (!nodes.is_empty()).then(|| json!({ "snodes": nodes, "swarm": format!("{:x}", info.id.0) }))
}

/// What is said where no member of a swarm is known to have a door.
fn nowhere() -> Reply {
    Reply::text(503, "no node of the account's swarm is known to have a door for this client")
}

/// A member of a swarm, as clients reach it.
fn member(node: &DoorNode) -> Value {
    json!({
        "ip": node.ip.to_string(),
        "port": node.https.to_string(),
        "port_https": node.https,
        "port_omq": node.quic,
        "port_quic": node.quic,
        "pubkey_ed25519": node.id.to_string(),
        "pubkey_x25519": HEXLOWER.encode(&node.x25519),
        "pubkey_legacy": node.id.to_string(),
    })
}

/// What each member says for itself.
fn swarm(request: &Request, hash: Option<&MessageHash>, receipts: &Receipts) -> Value {
    let said = receipts.signed.iter().map(|receipt| (receipt.node.to_string(), said(request, hash, receipt)));
    let failed = receipts.missing.iter().map(|missing| (missing.node.to_string(), failed(missing.why)));
    Value::Object(said.chain(failed).collect())
}

/// Why a member says nothing for itself.
fn failed(why: Failure) -> Value {
    match why {
        Failure::Silent => json!({ "failed": true, "timeout": true }),
        Failure::Refused { code } => {
            let (code, reason) = in_words(code);
            json!({ "failed": true, "code": code, "reason": reason })
        }
        Failure::Unsound => json!({ "failed": true, "bad_peer_response": true }),
        Failure::Own => json!({ "failed": true, "query_failure": true }),
    }
}

fn said(request: &Request, hash: Option<&MessageHash>, receipt: &Receipt) -> Value {
    let Some(told) = &receipt.told else { return failed(Failure::Unsound) };
    let mut fields = Map::new();
    match request {
        Request::Store(_) => {
            fields.extend(hash.map(|hash| ("hash".to_owned(), hash.to_string().into())));
            if let Done::Keeps { expiry } = &receipt.done {
                fields.insert("expiry".to_owned(), (*expiry).into());
            }
            if told.already {
                fields.insert("already".to_owned(), Value::Bool(true));
            }
        }
        Request::Delete(delete) => {
            fields.insert("deleted".to_owned(), listing(&delete.which, &told.listed));
        }
        Request::Expire(expire) => {
            fields.insert("updated".to_owned(), listing(&expire.which, &told.listed));
            let ends = match &expire.ends {
                Ends::All(_) => expire.end(0).into(),
                Ends::Each(_) => told::ends(expire, &told.listed).into(),
            };
            fields.insert("expiry".to_owned(), ends);
            if expire.only.is_some() {
                let unchanged: Map<_, _> =
                    told.unchanged.iter().map(|(hash, end)| (hash.to_string(), (*end).into())).collect();
                fields.insert("unchanged".to_owned(), unchanged.into());
            }
        }
        Request::Revoke(revoke) if revoke.undo => {
            if let Done::Changed { hashes } = &receipt.done {
                fields.insert("count".to_owned(), hashes.len().into());
            }
        }
        Request::Revoke(_)
        | Request::Retrieve(_)
        | Request::Fetch(_)
        | Request::GetExpiries(_)
        | Request::GetRevoked(_)
        | Request::GetSwarm { .. }
        | Request::Info
        | Request::Batch(_)
        | Request::Sequence(_)
        | Request::If(_) => {}
    }
    fields.insert("signature".to_owned(), BASE64.encode(&told.signature.0).into());
    Value::Object(fields)
}

/// Hashes in the order of their text; of all drawers, by drawer.
fn listing(which: &Which, listed: &[(Namespace, MessageHash)]) -> Value {
    if !told::by_drawers(which) {
        return told::sorted(listed.iter().map(|(_, hash)| hash)).into();
    }
    let mut drawers = std::collections::BTreeMap::<_, Vec<&MessageHash>>::new();
    for (namespace, hash) in listed {
        drawers.entry(*namespace).or_default().push(hash);
    }
    let drawer = |(namespace, hashes): (Namespace, Vec<&MessageHash>)| {
        (namespace.to_string(), told::sorted(hashes.into_iter()).into())
    };
    Value::Object(drawers.into_iter().map(drawer).collect())
}

/// A result that is written out already, as [`super::nodes::service_nodes`] gives it.
pub fn result_of(result: &str, stamp: Stamp) -> Reply {
    let body = format!(r#"{{"result":{result},{stamp}}}"#);
    Reply { status: 200, body: super::Body::Json(body.into_bytes()) }
}

/// The nodes with a place in a swarm, short, as [`active_nodes`] gives them.
pub fn active(listing: &Listing) -> Reply {
    Reply { status: 200, body: super::Body::Bytes(active_nodes(listing)) }
}

/// The answers to several requests, in order.
///
/// Where all requests are about one account (`of_one`), those that were not run among them, and another swarm
/// keeps it, that is what is said of the whole: clients look for it there.
pub fn several(replies: Vec<Reply>, of_one: bool, stamp: Stamp) -> Reply {
    if of_one
        && replies.iter().all(|reply| reply.status == 421)
        && let Some(first) = replies.first()
    {
        return first.clone();
    }
    let mut bytes = br#"{"results":["#.to_vec();
    for (place, reply) in replies.into_iter().enumerate() {
        if place > 0 {
            bytes.push(b',');
        }
        bytes.extend(result(reply));
    }
    bytes.extend(format!("],{stamp}}}").bytes());
    Reply { status: 200, body: super::Body::Json(bytes) }
}

/// The answer to a choice: what the node says of itself (`info` is [`Body::Info`]), whether the conditions
/// held, and what came of the request that was chosen.
pub fn choice(info: &Answer, condition: bool, chosen: Option<Reply>) -> Reply {
    let Body::Info { version, rules, height } = &info.body else {
        return Reply::text(500, "the node failed");
    };
    let mut fields = json!({
        "hf": rules,
        "v": numbers(version),
        "height": height,
        "condition": condition,
        "t": info.time,
    })
    .to_string()
    .into_bytes();
    if let Some(chosen) = chosen {
        fields.pop();
        fields.extend(br#","result":"#);
        fields.extend(result(chosen));
        fields.push(b'}');
    }
    Reply { status: 200, body: super::Body::Json(fields) }
}

/// One answer among others.
fn result(reply: Reply) -> Vec<u8> {
    let mut bytes = format!(r#"{{"code":{},"body":"#, reply.status).into_bytes();
    bytes.extend(match reply.body {
        super::Body::Json(body) => body,
        super::Body::Text(text) => Value::String(text).to_string().into_bytes(),
        super::Body::Bytes(bytes) => Value::String(BASE64.encode(&bytes)).to_string().into_bytes(),
    });
    bytes.push(b'}');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccountId, SwarmId,
        answer::RULES,
        fixture::{node, nodes},
    };

    #[test]
    fn a_swarm_is_told_where_a_client_can_go_on_with_it() {
        let info = SwarmInfo { map_version: 1, id: SwarmId(9), members: nodes(3) };
        let told = Body::Swarm(info.clone());
        let foreign = Refusal { code: Code::WrongSwarm, swarm: Some(info), receipts: None };
        let request = Request::GetSwarm { account: AccountId::from_bytes([5; 33]) };
        for (body, status) in [(told, 200), (Body::Refused(foreign), 421)] {
            let answer = Answer { time: 1, body };
            let one = |id: &NodeId| {
                DoorNode::new(*id, [127, 0, 0, 1].into(), 7).filter(|_| *id == node(1).node_id())
            };
            let reply = render(&request, &answer, RULES, one);
            let fields: Value = serde_json::from_slice(&reply.body.into_bytes()).unwrap();
            assert_eq!((reply.status, fields["snodes"].as_array().map(Vec::len)), (status, Some(1)));
            assert_eq!(render(&request, &answer, RULES, |_| None).status, 503);
        }
    }
}
