//! A node that begins with the ledger of the last checkpoint.

use data_encoding::BASE64;
use serde_json::{Value, json};
use session_chain::settlement::Endpoint;
use session_protocols::door::names as door;

use crate::{
    person::Person,
    proxy::{Fault, Proxy},
    support::{Place, get, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_where_nobody_has_the_old_logs_any_more() {
    let place = Place::new();
    let up = place.data(&["testnet", "up", "--nodes", "5"]);
    let first = up["nodes"][0]["http"].as_str().unwrap();
    let rpc = up["chain"]["rpc"].as_str().unwrap();
    let alice = Person::new(&place, "alice");
    alice.data(&["wallet", "faucet"]);
    alice.data(&["name", "register", "alice", "--yes"]);
    alice.data(&["name", "set", "alice", "account", "alice", "--yes"]);
    alice.data(&["name", "reveal", "alice", "--yes"]);

    // What happened so far lies before the border of a checkpoint that the contract has.
    let (last, _) = Endpoint::new(rpc).unwrap().newest().await.unwrap();
    let least = get(first, "/status").await.unwrap()["chain"]["epoch"].as_u64().unwrap() + 2;
    until("a checkpoint of what happened to be accepted", async || {
        let accepted = get(first, "/status").await?["chain"]["accepted"].as_u64()?;
        (accepted >= least).then_some(())
    })
    .await;

    // Its one endpoint has the logs from then on.
    let proxy = Proxy::start(rpc).await;
    proxy.set(Fault::Prunes(last));
    let mut described = place.testnet.folder().network().unwrap();
    described.settlement.as_mut().unwrap().rpc = vec![proxy.url.clone()];
    std::fs::write(place.testnet.folder().network_path(), described.to_toml()).unwrap();
    place.testnet.add().await.unwrap_or_else(|error| panic!("{error}"));

    let status = place.data(&["testnet", "status"]);
    let node = status["nodes"].as_array().unwrap().last().unwrap();
    let http = node["http"].as_str().unwrap();
    let chain = get(http, "/status").await.unwrap()["chain"].clone();
    assert_eq!((&chain["began"], &chain["names"]), (&json!("checkpoint"), &json!(1)), "{chain}");
    assert!(chain["began_epoch"].as_u64().unwrap() >= least, "{chain}");

    // It signs what the others sign, and proves what it never read of.
    until("the contract to take what it has signed", async || {
        let chain = get(http, "/status").await?["chain"].clone();
        let (signed, accepted) = (chain["signed"].as_u64()?, chain["accepted"].as_u64()?);
        let ready = get(http, "/readyz").await?;
        let agrees = ready["checks"].as_array()?.iter().all(|check| check["ok"] == true);
        (agrees && accepted + 1 >= signed).then_some(())
    })
    .await;
    let label = "alice".parse().unwrap();
    let body = json!({ "method": "oxend_request", "params": { "endpoint": "ons_resolve", "params":
        { "type": 0, "name_hash": BASE64.encode(&door::hash(&label)) } } });
    let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
    let url = format!("{}/storage_rpc/v1", node["door"].as_str().unwrap());
    until("it to find the name", async || {
        let answer = client.post(&url).body(body.to_string()).send().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).ok()?;
        answer["result"]["nonce"].is_string().then_some(())
    })
    .await;
}
