//! What is answered to whatever changes nothing, and to several requests at once.

use data_encoding::HEXLOWER as HEX;
use serde_bytes::ByteBuf;
use serde_json::{Map, Value, json};
use session_protocols::{
    NodeId, SwarmId,
    answer::{Answer, Body, Code, End, Message, RULES, Refusal, SwarmInfo},
    door::{
        Reply,
        names::{NONCE, hash as name_hash, resolved},
        nodes::{self, DoorNode, Listing, json_rpc, service_nodes},
        render::{Stamp, active, choice, render, result_of, several},
    },
    names::Label,
    request::Rights,
};

use crate::{
    asked::{
        Asked, base64, friend, get_expiries, get_swarm, hash, hashes, info, messages, retrieve,
        revoked_subaccounts, said,
    },
    file::check,
    people::{DAY, TIME, alice, pair},
};

/// What every answer says beside its own.
const STAMP: Stamp = Stamp { time: TIME, rules: RULES };

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
    let mut named = entry("oxend_request: ons_resolve", &result_of(&found.to_string(), STAMP));
    named["named"] = json!({ "name": label.as_str(), "name_hash": base64(name_hash(&label)),
        "account": alice().to_string(), "nonce": HEX.encode(&nonce) });
    let all_of = |name: &str, listing: &Listing| {
        let all = service_nodes(listing, &nodes::Asked::of(&Map::new()), 1);
        entry(name, &result_of(&all, STAMP))
    };
    // A swarm has zeros before it in the one form and not in the other.
    let placed = |swarm| Listing::new(vec![DoorNode { swarm, ..node(3) }], 1_234, RULES);
    let short = entry("active_nodes_bin, of two nodes, in hex", &active(&both));
    let among = entry("batch: active_nodes_bin, of two nodes", &several(vec![active(&both)], false, STAMP));
    let entries = [
        rpc("json_rpc: get_n_service_nodes", &first),
        rpc("json_rpc: get_service_nodes, all fields", r#"{"id":"a","method":"get_service_nodes"}"#),
        rpc("json_rpc: a method that there is not", r#"{"id":"a","method":"stop_daemon"}"#),
        rpc("json_rpc: no method", "{}"),
        rpc("json_rpc: not JSON", "{"),
        all_of("oxend_request: get_service_nodes", &listing),
        all_of("oxend_request: get_service_nodes, of a node in the swarm 1", &placed(Some(SwarmId(1)))),
        all_of("oxend_request: get_service_nodes, of a node that waits for a place", &placed(None)),
        short,
        among,
        named,
        entry(
            "oxend_request: ons_resolve, no such name",
            &result_of(&resolved(None, nonce).to_string(), STAMP),
        ),
    ];
    check("json_nodes.json", &entries);
}
