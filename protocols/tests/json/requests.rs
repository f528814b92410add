//! Every request as it is sent, and what it is read as.

use data_encoding::HEXLOWER as HEX;
use serde_json::{Value, json};
use session_protocols::{
    door::names::hash as name_hash,
    request::{MAX_CONDITIONS_JSON, Request, Rights},
};

use crate::{
    asked::{
        Asked, base64, by_friend, delete, delete_all, delete_before, expire, expire_all, friend,
        get_expiries, get_swarm, hash, hash_in, hashes, info, keep, messages, retrieve, revoke,
        revoked_subaccounts, several_of, store,
    },
    file::check,
    people::{ALICE, DAY, GROUP, TIME, alice, group, pair},
};

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

#[test]
fn who_counts_messages_is_not_given_a_fifth_of_them() {
    let most = |params: &Value| {
        let asked = retrieve("retrieve", params, "");
        let Request::Retrieve(read) = asked.request() else { panic!("{}", asked.name) };
        read.max_size.unwrap()
    };
    assert_eq!(most(&json!({})), 1_560_000);
    assert_eq!(most(&json!({ "max_count": 100 })), 7_800_000);
    for (count, size, bytes) in [(0, 0, 1_560_000), (100, 0, 7_800_000), (0, -1, 7_800_000)] {
        assert_eq!(
            most(&json!({ "max_count": count, "max_size": size })),
            bytes,
            "{count}, {size}: 0 says nothing"
        );
    }
    assert_eq!(most(&json!({ "max_count": 100, "max_size": -5 })), 1_560_000);
}
