//! What the JSON door has and the native one has not.

use super::*;

impl Door {
    /// What clients in the field send beyond the table: other names for parameters, numbers as texts, parameters
    /// that nobody knows.
    pub(crate) async fn aliases_and_tolerance(&self) {
        let somebody = Somebody::new(Kind::Person, 9_001);
        let id = somebody.id.to_string();
        let door = self.swarm(&somebody).await.remove(0);
        let now = moment(0);
        for (text, params) in [
            ("one", json!({ "pubKey": id, "timestamp": now.to_string(), "ttl": "60000" })),
            ("two", json!({ "pubkey": id, "timestamp": now, "ttl": 60_000, "jsonrpc": "2.0", "maxSize": 7 })),
            ("six", json!({ "pubkey": id, "timestamp": now, "expiry": now + 60_000, "namespace": 0 })),
        ] {
            let mut params = params;
            params["data"] = BASE64.encode(text.as_bytes()).into();
            let (status, body) = self.post(&door, "store", params).await;
            assert_eq!(status, 200, "{body}");
            let hash = body["hash"].as_str().unwrap();
            assert_eq!(hash, somebody.hash((0, text)).to_string(), "at the top too");
        }
        let signed = |params: Value| {
            let mut params = params;
            let time = moment(0);
            // Namespace 0 is signed as nothing, also where the request says 0.
            sign(&somebody, By::Owner, &mut params, format!("retrieve{time}").into_bytes());
            params["timestamp"] = time.into();
            params
        };
        let first = somebody.hash((0, "one")).to_string();
        for (params, texts) in [
            (json!({ "pubkey": id, "lastHash": "" }), 3),
            (json!({ "pubKey": id, "namespace": 0, "last_hash": "" }), 3),
            (json!({ "pubkey": id, "lastHash": first }), 2),
            (json!({ "pubkey": id, "last_hash": "A".repeat(43) }), 3),
            (json!({ "pubkey": id, "max_size": -5, "maxSize": 1, "pubkeyEd25519": "x" }), 3),
            (json!({ "pubkey": id, "max_count": 1 }), 1),
            (json!({ "pubkey": id, "max_size": 1 }), 1),
        ] {
            let (status, body) = self.post(&door, "retrieve", signed(params.clone())).await;
            assert_eq!(status, 200, "{params}: {body}");
            let messages = body["messages"].as_array().unwrap();
            assert_eq!(messages.len(), texts, "{params}");
            assert_eq!(body["more"], Value::Bool(texts == 1), "{params}");
            for message in messages {
                assert!(message["expiration"].as_u64() > message["timestamp"].as_u64());
            }
        }
        // One end may stand in a list, and one message in none.
        let both = json!([first, somebody.hash((0, "two")).to_string()]);
        let end = moment(0) + 90_000;
        for (messages, expiry, end) in
            [(both, json!([end]), end), (json!(first), json!(end + 1_000), end + 1_000)]
        {
            let spelt = messages.as_str().map_or_else(|| strings(&messages).concat(), str::to_owned);
            let mut params = json!({ "pubkey": id, "messages": messages, "expiry": expiry });
            sign(&somebody, By::Owner, &mut params, format!("expire{end}{spelt}").into_bytes());
            let (status, body) = self.post(&door, "expire", params).await;
            assert_eq!(status, 200, "{body}");
            let did = body["swarm"].as_object().unwrap().values().filter(|said| said["failed"] != true);
            did.for_each(|said| assert_eq!(said["expiry"], json!(end), "a number, as one is asked for"));
        }
        // What has just ended is taken, and is not there; who says that it ended before has another clock.
        for (ended, code) in [(5_000, 200), (20_000, 406)] {
            let params = json!({ "pubkey": id, "timestamp": now - 40_000, "expiry": moment(0) - ended,
                "data": BASE64.encode(b"late") });
            assert_eq!(self.post(&door, "store", params).await.0, code, "ended {ended} ms ago");
        }
        // An envelope of JSON-RPC, without an id.
        let requests =
            json!([{ "method": "info" }, { "method": "get_snodes_for_pubkey", "params": { "pubkey": id } }]);
        let batch = json!({ "jsonrpc": "2.0", "method": "batch", "params": { "requests": requests } });
        let (status, body) = self.send(&door, "storage_rpc/v1", batch.to_string()).await;
        assert_eq!((status, body["results"].as_array().unwrap().len()), (200, 2));
        assert!(body["results"].as_array().unwrap().iter().all(|result| result["code"] == 200), "{body}");
        // One that nobody can read fails alone.
        let requests = json!([{ "method": "info" }, { "method": "store", "params": { "pubkey": id } }]);
        let (status, body) = self.post(&door, "batch", json!({ "requests": requests })).await;
        assert_eq!(
            (status, &body["results"][0]["code"], &body["results"][1]["code"]),
            (200, &json!(200), &json!(400))
        );
    }

    /// Codes that the native door says in another way, or has no use for.
    pub(crate) async fn codes_of_its_own(&self) {
        let somebody = Somebody::new(Kind::Person, 9_002);
        let group = Somebody::new(Kind::Group, 9_003);
        let (id, now) = (somebody.id.to_string(), moment(0));
        let swarm = self.swarm(&somebody).await;
        let data = BASE64.encode(b"x");
        let store = |more: Value| {
            let mut params = json!({ "pubkey": id, "timestamp": now, "ttl": 60_000, "data": data });
            for (name, value) in more.as_object().unwrap() {
                params[name] = value.clone();
            }
            params
        };
        let unsigned = BASE64.encode(&[0; 64]);
        let hash = somebody.hash((0, "x")).to_string();
        for (why, method, params, code) in [
            ("no such method", "nothing", json!({}), 400),
            ("no account", "store", json!({ "data": data }), 400),
            ("half an account", "get_swarm", json!({ "pubkey": "05aa" }), 400),
            ("no base64", "store", store(json!({ "data": "%" })), 400),
            ("seconds", "store", store(json!({ "timestamp": 1_000 })), 400),
            ("too long", "store", store(json!({ "data": BASE64.encode(&vec![0; 76_801]) })), 413),
            ("too short a life", "store", store(json!({ "ttl": 9_999 })), 403),
            ("too long a life", "store", store(json!({ "ttl": 14 * 86_400_000_u64 + 1 })), 403),
            ("from the future", "store", store(json!({ "timestamp": now + 60_000 })), 406),
            ("no proof", "retrieve", json!({ "pubkey": id }), 401),
            ("a time is no proof", "retrieve", json!({ "pubkey": id, "timestamp": now }), 401),
            (
                "a person without the key that signs",
                "retrieve",
                json!({ "pubkey": id, "timestamp": now, "signature": unsigned }),
                401,
            ),
            (
                "a key beside a group",
                "retrieve",
                json!({ "pubkey": group.id.to_string(), "timestamp": now, "signature": unsigned, "pubkey_ed25519": "00".repeat(32) }),
                400,
            ),
            (
                "a short hash",
                "delete",
                json!({ "pubkey": id, "messages": ["short"], "signature": unsigned }),
                400,
            ),
            ("no messages", "delete", json!({ "pubkey": id, "messages": [], "signature": unsigned }), 400),
            (
                "before is ahead",
                "delete_before",
                json!({ "pubkey": id, "before": now + 120_000, "signature": unsigned }),
                401,
            ),
            (
                "an end that has passed",
                "expire",
                json!({ "pubkey": id, "messages": [hash], "expiry": now - 1, "signature": unsigned }),
                401,
            ),
            (
                "the same of all",
                "expire_all",
                json!({ "pubkey": id, "expiry": now - 1, "signature": unsigned }),
                406,
            ),
            (
                "both directions",
                "expire",
                json!({ "pubkey": id, "messages": [hash], "expiry": now + 1_000, "shorten": true, "extend": true, "signature": unsigned }),
                400,
            ),
            ("too many", "batch", json!({ "requests": vec![json!({ "method": "info" }); 21] }), 400),
            ("none", "sequence", json!({ "requests": [] }), 400),
            ("no condition", "ifelse", json!({ "if": {}, "then": { "method": "info" } }), 400),
            ("conditions within conditions", "ifelse", nested(17), 400),
            ("too many values", "info", json!({ "ignored": vec![0; 40_000] }), 413),
            ("an endpoint of others", "oxend_request", json!({ "endpoint": "stop_daemon" }), 400),
        ] {
            let (status, body) = self.post(&swarm[0], method, params.clone()).await;
            assert_eq!(status, code, "{why}: {method} {params}: {body}");
            assert!(body.as_str().is_some_and(|text| !text.is_empty()), "{why}: a sentence says why: {body}");
        }
        // What has to be there and is not, each member has looked for.
        let mut params = json!({ "pubkey": id, "messages": [hash], "required": true });
        sign(&somebody, By::Owner, &mut params, format!("delete{hash}").into_bytes());
        let (status, body) = self.post(&swarm[0], "delete", params).await;
        assert_eq!(status, 404, "{body}");
        signed_by_majority(body["swarm"].as_object().unwrap(), |said| {
            assert_eq!(said["deleted"], json!([]), "{said}");
            format!("{id}{hash}").into_bytes()
        });
        // Each of the conditions holds, down to what is asked at last.
        let (status, mut body) = self.post(&swarm[0], "ifelse", nested(16)).await;
        for _ in 0..16 {
            assert_eq!((status, &body["condition"]), (200, &json!(true)), "{body}");
            body = body["result"]["body"].take();
        }
        assert!(body["version"].is_array(), "{body}");
        // Another swarm's node names the right one, alone and in a batch.
        let foreign = self.foreign(&swarm);
        let (status, body) = self.post(foreign, "store", store(json!({}))).await;
        assert_eq!((status, body["snodes"].as_array().unwrap().len()), (421, swarm.len()));
        let requests = json!([{ "method": "store", "params": store(json!({})) }]);
        let (status, body) = self.post(foreign, "batch", json!({ "requests": requests })).await;
        assert_eq!((status, body["snodes"].as_array().unwrap().len()), (421, swarm.len()));
        let requests = json!([{ "method": "store", "params": store(json!({})) }, { "method": "info" }]);
        let (status, body) = self.post(foreign, "batch", json!({ "requests": requests })).await;
        assert_eq!(
            (status, &body["results"][0]["code"], &body["results"][1]["code"]),
            (200, &json!(421), &json!(200))
        );
        // Of several accounts, and where something else was asked too, each has its own answer.
        let mut other = store(json!({}));
        other["pubkey"] = group.id.to_string().into();
        for (method, second, answers) in [
            ("batch", json!({ "method": "store", "params": other }), 2),
            ("sequence", json!({ "method": "info" }), 1),
        ] {
            let requests = json!([{ "method": "store", "params": store(json!({})) }, second]);
            let (status, body) = self.post(foreign, method, json!({ "requests": requests })).await;
            let results = body["results"].as_array().unwrap();
            assert_eq!((status, results.len(), &results[0]["code"]), (200, answers, &json!(421)), "{body}");
        }
        // How such a client begins: nodes by the fields that it asks for.
        let asked = json!({ "jsonrpc": "2.0", "id": 0, "method": "get_n_service_nodes", "params": { "fields": {
            "public_ip": true, "storage_port": true, "pubkey_x25519": true, "pubkey_ed25519": true, "swarm_id": true } } });
        let (status, body) = self.send(foreign, "json_rpc", asked.to_string()).await;
        let states = body["result"]["service_node_states"].as_array().unwrap();
        assert_eq!((status, states.len()), (200, self.doors.len()));
        for state in states {
            assert_eq!(state.as_object().unwrap().len(), 5, "{state}");
            let door = format!("https://{}:{}", state["public_ip"].as_str().unwrap(), state["storage_port"]);
            assert_eq!(self.doors[state["pubkey_ed25519"].as_str().unwrap()], door);
            assert!(state["swarm_id"].is_u64());
        }
        let (status, body) = self
            .post(
                foreign,
                "oxend_request",
                json!({ "endpoint": "get_service_nodes", "params": { "limit": 3 } }),
            )
            .await;
        assert_eq!((status, body["result"]["service_node_states"].as_array().unwrap().len()), (200, 3));
        // All nodes, short.
        let short = json!({ "method": "active_nodes_bin", "params": {} });
        let (status, bytes) = self.bytes(foreign, "storage_rpc/v1", short.to_string().into_bytes()).await;
        assert_eq!((status, bytes.len()), (200, 51 * self.doors.len()));
        let (_, body) = self.post(foreign, "batch", json!({ "requests": [short] })).await;
        assert_eq!(body["results"][0], json!({ "code": 200, "body": BASE64.encode(&bytes) }));
        for node in bytes.chunks(51) {
            let ip = std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&node[40..44]).unwrap());
            let door = format!("https://{ip}:{}", u16::from_be_bytes([node[44], node[45]]));
            assert_eq!(self.doors[&HEXLOWER.encode(&node[..32])], door);
        }
        // Nobody has a name where there is no chain.
        let params = json!({ "type": 0, "name_hash": BASE64.encode(&[7; 32]) });
        let asked = json!({ "endpoint": "ons_resolve", "params": params });
        let (status, body) = self.post(foreign, "oxend_request", asked).await;
        assert_eq!((status, &body["result"]), (200, &json!({})));
    }

    /// What is kept through three hops, sealed in either way, is shown at any door of the swarm, and what anyone on the
    /// way could change unnoticed is not taken.
    pub(crate) async fn three_hops(&self) {
        let somebody = Somebody::new(Kind::Person, 9_004);
        let retrieve = Call::Retrieve { namespace: 0, last: None, count: None, size: None };
        let mut kept = Vec::new();
        for (cipher, text) in [(Cipher::AesGcm, "by AES"), (Cipher::XChaCha20, "by ChaCha")] {
            let store = Call::Store { at: (0, text), ttl: 60_000, sent: 0 };
            let got = self.ask(Way::Hops(cipher), &somebody, &store, By::Nobody).await;
            assert_eq!(got, Got::Stored { already: false });
            kept.push(text.to_owned());
            for way in [Way::Hops(cipher), Way::Door(0)] {
                let got = self.ask(way, &somebody, &retrieve, By::Owner).await;
                assert_eq!(got, Got::Messages(kept.clone(), false), "{way:?}");
            }
        }
        let path = self.path(&self.swarm(&somebody).await[0]);
        let hop = Hop {
            node: path[0].0.parse().unwrap(),
            cipher: Cipher::AesGcm,
            secret: [7; 32],
            nonce: [8; NONCE],
        };
        let (packet, _) = wrap(&[hop], &Question::request(br#"{"method":"info"}"#, true, true)).unwrap();
        for (name, status) in [("aes-gcm", 200), ("aes-cbc", 400), ("cbc", 400)] {
            let (length, rest) = packet.split_first_chunk::<4>().unwrap();
            let (sealed, head) = rest.split_at(u32::from_le_bytes(*length) as usize);
            let mut head: Value = serde_json::from_slice(head).unwrap();
            head["enc_type"] = name.into();
            let packet = [length.as_slice(), sealed, head.to_string().as_bytes()].concat();
            assert_eq!(self.onion(path[0].1, packet).await.0, status, "{name}");
        }
    }
}
