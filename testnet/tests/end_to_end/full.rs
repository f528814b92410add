//! A node that keeps as much as it may: what it has no room for the others of its swarm keep, and the answer at its
//! JSON door says so.

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use session_protocols::{KeyPair, MessageHash, Namespace, Signature, identity};

use crate::{
    conformance::{Kind, Somebody, moment},
    https::Https,
    support::{Place, get, until},
};

/// How much it may keep, in bytes: two messages of [`SIZE`], and not three.
const MAX: &str = "100000";
const SIZE: usize = 40_000;

/// The first node of the testnet, run again with less room; it ends with this.
struct Small(Child);

impl Small {
    async fn start(place: &Place, status: &Value) -> Self {
        assert!(place.testnet.kill(1).await.unwrap());
        let (network, data) = (place.testnet.folder().network_path(), place.testnet.folder().data(1));
        let http = status["http"].as_str().unwrap();
        let door = status["door"].as_str().unwrap().strip_prefix("https://").unwrap();
        let mut command = place.command(&["node", "run", "--max-bytes", MAX, "--http", http, "--door", door]);
        command.arg("--network").arg(network).arg("--data").arg(data);
        let log = std::fs::File::create(place.path().join("small.log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let small = Self(child);
        until("the node to be ready again", async || {
            (get(http, "/status").await?["state"] == "ready").then_some(())
        })
        .await;
        small
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_node_has_no_room_for_its_swarm_keeps() {
    let place = Place::up().await;
    let nodes = place.data(&["testnet", "status"])["nodes"].clone();
    let status = nodes[0].clone();
    let small = Small::start(&place, &status).await;
    // Its swarm compares with it first.
    until("all nodes to be ready", async || {
        for node in nodes.as_array()? {
            let state = get(node["http"].as_str()?, "/status").await?["state"].clone();
            (state == "ready").then_some(())?;
        }
        Some(())
    })
    .await;
    let (id, ledger) = (status["id"].as_str().unwrap(), place.testnet.folder().network().unwrap().ledger());
    let own = ledger.map().swarm_with(&id.parse().unwrap());
    let people = (0..).map(|number| Somebody::new(Kind::Person, number));
    let mut people = people.filter(|person| ledger.map().swarm_of(&person.id) == own);
    let door = status["door"].as_str().unwrap().strip_prefix("https://").unwrap().parse().unwrap();
    let mut https = Https::connect(door).await;
    let mut post = async |method: &str, params: Value| -> (u16, Value) {
        let body = json!({ "method": method, "params": params }).to_string();
        let (status, body) = https.post("/storage_rpc/v1", body).await;
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
    };
    let data = vec![7; SIZE];
    let mut kept = 0;
    let (person, body) = loop {
        let person = people.next().unwrap();
        let params = json!({ "pubkey": person.id.to_string(), "timestamp": moment(0), "ttl": 3_600_000,
            "data": data_encoding::BASE64.encode(&data) });
        let (status, body) = post("store", params).await;
        assert_eq!(status, 200, "{body}");
        if body["swarm"][id].get("failed").is_some() {
            break (person, body);
        }
        kept += 1;
        assert!(kept <= 2, "there is room for two: {body}");
    };
    assert!(kept > 0, "there is room for one: {body}");
    // It says that it has it not, and who has.
    let hash = MessageHash::of(&person.id, Namespace::INBOX, &data).to_string();
    let members = body["swarm"].as_object().unwrap();
    for (node, said) in members {
        if node == id {
            assert_eq!(said, &json!({ "failed": true, "query_failure": true }));
            continue;
        }
        let signature = data_encoding::BASE64.decode(said["signature"].as_str().unwrap().as_bytes()).unwrap();
        let signature = Signature(signature.try_into().unwrap());
        let node: session_protocols::NodeId = node.parse().unwrap();
        assert!(identity::verify(node.as_bytes(), hash.as_bytes(), &signature), "{body}");
    }
    assert!(members.len() >= 5, "{body}");
    // What it keeps it still serves; what it does not keep the others serve.
    let (_, swarm) = post("get_swarm", json!({ "pubkey": person.id.to_string() })).await;
    for node in swarm["snodes"].as_array().unwrap() {
        let address = format!("{}:{}", node["ip"].as_str().unwrap(), node["port_https"]).parse().unwrap();
        let body = json!({ "method": "retrieve", "params": read(&person) }).to_string();
        let (status, body) = Https::connect(address).await.post("/storage_rpc/v1", body).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let held: Vec<_> =
            body["messages"].as_array().unwrap().iter().map(|one| one["hash"].as_str().unwrap()).collect();
        let expected = if node["pubkey_ed25519"] == id { vec![] } else { vec![hash.as_str()] };
        assert_eq!((status, held), (200, expected), "{node}");
    }
    drop(small);
}

/// A signed question for somebody's inbox.
fn read(person: &Somebody) -> Value {
    let (time, pair): (u64, &KeyPair) = (moment(0), &person.pair);
    let signature = pair.sign(format!("retrieve{time}").as_bytes());
    json!({ "pubkey": person.id.to_string(), "timestamp": time,
        "pubkey_ed25519": data_encoding::HEXLOWER.encode(&pair.public()),
        "signature": data_encoding::BASE64.encode(&signature.0) })
}
