//! What a real node answers at both its doors, beside members of its swarm that do not do as they should.

use futures::StreamExt;
use serde_json::{Value, json};
use session_node::Config;
use session_protocols::{
    AccountId, KeyPair, Protocol,
    answer::{Answer, Body, Code, Done, Receipt, Subject, Told, told},
    codec,
    libp2p::link::{self, Backlog, Limits},
    record::Mutation,
    request::Request,
    swarm::{self, Ask, Replicated, SwarmAnswer, SwarmRequest},
};

use crate::support::{
    PATIENCE, Plan, Running,
    https::post,
    stranger::{Person, Stranger, now},
    wait,
};

const STORAGE: &str = "/storage_rpc/v1";

/// What the door of the first node answers to a method.
async fn ask(plan: &Plan, method: &str, params: Value) -> (u16, Value) {
    let body = json!({ "method": method, "params": params }).to_string();
    let (status, body) = post(plan.doors[0], STORAGE, body).await;
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

/// A message for somebody's inbox, as clients of that door send it.
fn message(to: &AccountId, data: &[u8]) -> Value {
    let data = data_encoding::BASE64.encode(data);
    json!({ "pubkey": to.to_string(), "timestamp": now().as_millis(), "ttl": 60_000, "data": data })
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_tell_the_rules_of_the_network_file() {
    let mut plan = Plan::new(1);
    plan.network.hf = [23, 1];
    plan.open_doors(1);
    let node = plan.start(0);
    wait(&plan.http, 200).await;
    let stranger = Stranger::meet(&plan, 0).await;
    let answer = stranger.link(Protocol::Storage).await.ask(codec::encode(&Request::Info)).await.unwrap();
    let answer: Answer = codec::decode(&answer, 10_000).unwrap();
    assert!(matches!(answer.body, Body::Info { rules: [23, 1], .. }), "{answer:?}");
    let person = Person::new(1);
    let info = json!({ "method": "info" });
    for (method, params) in [
        ("info", json!({})),
        ("store", message(&person.account, b"a")),
        ("get_swarm", json!({ "pubkey": person.account.to_string() })),
        ("batch", json!({ "requests": [info] })),
        ("oxend_request", json!({ "endpoint": "get_service_nodes", "params": {} })),
        ("ifelse", json!({ "if": { "hf_at_least": [23, 1] }, "then": info })),
    ] {
        let (status, body) = ask(&plan, method, params).await;
        assert_eq!((status, &body["hf"]), (200, &json!([23, 1])), "{method}: {body}");
        assert!(method != "ifelse" || body["condition"] == true, "{body}");
    }
    let (_, body) = post(plan.doors[0], "/json_rpc", r#"{"method":"get_n_service_nodes"}"#).await;
    let listed: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(listed["result"]["hardfork"], 23, "{listed}");
    node.stop().await;
}

/// What somebody who holds a node's key does with what its fellow asks it to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fellow {
    /// Signs for it.
    Signs,
    /// Refuses it.
    Refuses,
    /// Signs for it, and puts another signature below what the client is to be told.
    Forges,
    /// Answers another question.
    Strays,
    /// Says nothing.
    Silent,
}

impl Fellow {
    /// Comes to the first node with the key of another one, and does so from then on.
    async fn meet(self, plan: &Plan, own: usize) -> Stranger {
        let stranger = Stranger::meet_as(own, plan, 0).await;
        let mut streams = stranger.accept(Protocol::Swarm);
        let (pair, network) = (plan.pair(own), plan.network.name.clone());
        tokio::spawn(async move {
            while let Some((_, stream)) = streams.next().await {
                let limits =
                    Limits { max_in: swarm::MAX_MESSAGE, window: 64, backlog: Backlog::new(64 << 20) };
                let (mut asked, run) = link::serve(stream, limits);
                tokio::spawn(run);
                let (pair, network) = (pair.clone(), network.clone());
                tokio::spawn(async move {
                    let mut unanswered = Vec::new();
                    while let Some(incoming) = asked.next().await {
                        let request = codec::decode(&incoming.payload, swarm::MAX_MESSAGE).unwrap();
                        match self.answer(&pair, &network, request) {
                            Some(answer) => incoming.reply.answer(codec::encode(&answer)).await,
                            None => unanswered.push(incoming),
                        }
                    }
                });
            }
        });
        stranger
    }

    fn answer(
        self,
        pair: &KeyPair,
        network: &session_protocols::NetworkName,
        request: SwarmRequest,
    ) -> Option<SwarmAnswer> {
        let (mutations, json) = match request.ask {
            Ask::Replicate { mutations, json } => (mutations, json),
            // It holds what its fellow holds.
            Ask::Fingerprints => {
                return Some(SwarmAnswer::Fingerprints { buckets: Vec::new(), incomplete: Vec::new() });
            }
            _ => return Some(SwarmAnswer::Noted),
        };
        let sign = |(place, mutation): (u32, &Mutation)| {
            let Mutation::Store(store) = mutation else { panic!("{mutation:?}") };
            let (account, namespace, hash) = (store.account, store.namespace, store.hash());
            let subject = Subject::Message { account, namespace, hash };
            let done = Done::Keeps { expiry: store.expiry };
            let receipt = Receipt::sign(pair, network, request.map_version, &subject, done);
            let mut signature = pair.sign(&told::text(mutation, &[], &[]));
            if self == Self::Forges {
                signature.0[7] ^= 1;
            }
            let told = Told { already: false, listed: Vec::new(), unchanged: Vec::new(), signature };
            let told = json.contains(&place).then(|| Box::new(told));
            Replicated::Done { done: receipt.done, signature: receipt.signature, told }
        };
        Some(match self {
            Self::Signs | Self::Forges => {
                SwarmAnswer::Replicated { results: (0..).zip(&mutations).map(sign).collect() }
            }
            Self::Refuses => SwarmAnswer::Replicated {
                results: vec![Replicated::Refused { code: Code::WrongSwarm }; mutations.len()],
            },
            Self::Strays => SwarmAnswer::Noted,
            Self::Silent => return None,
        })
    }
}

/// The first node of a swarm of as many as there are fellows, and one more; it keeps no more than so many bytes.
async fn beside<const N: usize>(fellows: [Fellow; N], max_bytes: u64) -> (Plan, Running, Vec<Stranger>) {
    let mut plan = Plan::new(u8::try_from(N).unwrap() + 1);
    plan.open_doors(1);
    let node = plan.start_with(0, |config| Config { max_bytes, ..config });
    wait(&plan.http[..1], 503).await;
    let mut strangers = Vec::new();
    for (fellow, own) in fellows.into_iter().zip(1..) {
        strangers.push(fellow.meet(&plan, own).await);
    }
    wait(&plan.http[..1], 200).await;
    (plan, node, strangers)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_door_says_of_each_member_what_it_signed_or_why_it_has_not() {
    let fellows = [Fellow::Signs, Fellow::Refuses, Fellow::Forges, Fellow::Strays, Fellow::Silent];
    let (plan, node, _strangers) = beside(fellows, u64::MAX).await;
    let person = Person::new(1);
    let store = ask(&plan, "store", message(&person.account, b"a"));
    let (status, body) = tokio::time::timeout(PATIENCE, store).await.expect("an answer in time");
    assert_eq!(status, 200, "{body}");
    let said = |place: usize| &body["swarm"][plan.network.nodes[place].id.to_string()];
    for place in [0, 1] {
        let signature = data_encoding::BASE64.decode(said(place)["signature"].as_str().unwrap().as_bytes());
        let signature = session_protocols::Signature(signature.unwrap().try_into().unwrap());
        let (node, text) = (plan.network.nodes[place].id, body["hash"].as_str().unwrap());
        assert!(session_protocols::identity::verify(node.as_bytes(), text.as_bytes(), &signature), "{body}");
        assert!(said(place).get("failed").is_none(), "{body}");
    }
    for (place, expected) in [
        (2, json!({ "failed": true, "code": 421, "reason": Code::WrongSwarm.to_string() })),
        (3, json!({ "failed": true, "bad_peer_response": true })),
        (4, json!({ "failed": true, "bad_peer_response": true })),
        (5, json!({ "failed": true, "timeout": true })),
    ] {
        assert_eq!(said(place), &expected, "{:?}", fellows[place - 1]);
    }
    assert_eq!(body["swarm"].as_object().unwrap().len(), 6);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_has_no_room_for_the_others_keep_and_the_json_door_says_so() {
    let (plan, node, _strangers) = beside([Fellow::Signs, Fellow::Signs, Fellow::Refuses], 6_000).await;
    let failure = json!({ "failed": true, "query_failure": true });
    let mut kept = 0;
    // Each of somebody else, whose account has room.
    let body = loop {
        let (status, body) = ask(&plan, "store", message(&Person::new(kept).account, &[7; 2_000])).await;
        assert_eq!(status, 200, "{body}");
        if body["swarm"][plan.network.nodes[0].id.to_string()] == failure {
            break body;
        }
        kept += 1;
        assert!(kept < 10, "it has room for no more than two: {body}");
    };
    assert!(kept > 0, "the first one has room");
    let signed =
        [1, 2].map(|place| body["swarm"][plan.network.nodes[place].id.to_string()]["signature"].is_string());
    assert_eq!(signed, [true; 2], "{body}");
    let refused = &body["swarm"][plan.network.nodes[3].id.to_string()];
    assert_eq!((&refused["failed"], &refused["code"]), (&json!(true), &json!(421)), "{body}");
    node.stop().await;
}
