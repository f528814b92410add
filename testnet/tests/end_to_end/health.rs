//! What a testnet is when nothing happens to it, and what nodes refuse.

use std::{collections::BTreeMap, fs};

use session_client::{Account, Client, Options};
use session_testnet::Stopped;

use crate::{conversations::members_become_equal, support::Place};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_run_warns_of_nothing() {
    let place = Place::up().await;
    let network = place.testnet.folder().network().unwrap();
    let client = Client::connect(network, Options::default()).await.unwrap();
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    for number in 0..20 {
        client.send(&alice, &bob.id(), &format!("message {number}")).await.unwrap();
    }
    assert_eq!(client.inbox(&bob).await.unwrap().len(), 20);
    members_become_equal(&place).await;
    assert_eq!(kept(&place).await, 40, "the messages and the sender's copies");
    let inbox = client.inbox(&bob).await.unwrap();
    let hashes: Vec<_> = inbox.iter().map(|item| item.hash).collect();
    client.delete(&bob, &hashes).await.unwrap();
    members_become_equal(&place).await;
    assert_eq!(kept(&place).await, 20, "what was deleted is no message");
    assert_eq!(place.testnet.restart(4).await.unwrap(), Stopped::default(), "node 4 stops when asked to");
    let down = place.testnet.down(true).await.unwrap();
    assert_eq!(down, Some(Stopped::default()), "every node stops when asked to");
    for index in 1..=12 {
        let log = fs::read_to_string(place.testnet.folder().log(index)).unwrap();
        assert!(log.contains("INFO"), "node {index} says nothing");
        let last = log.lines().last().unwrap();
        assert!(last.contains("stopping"), "node {index} does not end by stopping: {last}");
        let alarms: Vec<&str> =
            log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
        assert!(alarms.is_empty(), "node {index}: {alarms:#?}");
    }
}

/// How many messages the members of the swarms keep, each counted once.
async fn kept(place: &Place) -> u64 {
    let nodes = place.testnet.status().await.unwrap();
    let swarms: BTreeMap<_, _> = nodes.iter().map(|node| (&node.swarm, node.messages)).collect();
    swarms.values().sum()
}

#[tokio::test]
async fn a_second_node_on_the_same_folder_is_refused() {
    let place = Place::new();
    place.data(&["testnet", "up", "--no-chain", "--nodes", "1"]);
    let folder = place.testnet.folder();
    let (network, data) = (folder.network_path(), folder.data(1));
    let run = ["node", "run", "--network", network.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let (code, error) = place.error(&[&run[..], &["--http", "127.0.0.1:0"]].concat());
    assert_eq!((code, error["code"].as_str().unwrap()), (4, "in_use"));
    assert!(error["message"].as_str().unwrap().contains(data.to_str().unwrap()));
    assert_eq!(place.data(&["testnet", "status"])["nodes"][0]["state"], "ready", "the first goes on");
}

#[test]
fn a_broken_network_file_is_one_error_with_file_line_and_remedy() {
    let place = Place::new();
    let file = place.path().join("broken.toml");
    fs::write(&file, "version = 1\nname = \"local\"\nlocol = true\n").unwrap();
    let run = ["node", "run", "--network", file.to_str().unwrap(), "--data", "nowhere"];
    let ran = place.run(&run);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let place_named = format!("error: {}: line 3, column 1: unknown key `locol`", file.display());
    assert_eq!(ran.err.lines().collect::<Vec<_>>(), [place_named.as_str(), "  fix: did you mean `local`?"]);
    let (code, error) = place.error(&run);
    assert_eq!((code, error["code"].as_str().unwrap()), (2, "network_file"));
}

#[test]
fn a_node_without_its_key_makes_no_new_one() {
    let place = Place::new();
    place.data(&["testnet", "up", "--no-chain", "--nodes", "1"]);
    let network = place.testnet.folder().network_path();
    let data = place.path().join("empty");
    let (code, error) = place.error(&[
        "node",
        "run",
        "--network",
        network.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "/ip4/127.0.1.1/tcp/0",
        "--http",
        "127.0.0.1:0",
    ]);
    assert_eq!((code, error["code"].as_str().unwrap()), (2, "key"));
    assert!(!data.exists(), "nor a folder, which was mistyped");
}

#[test]
fn a_benchmark_prints_rows_of_one_form() {
    let place = Place::new();
    let small = ["testnet", "bench", "--nodes", "3", "--clients", "2", "--seconds", "1"];
    has_rows_of(
        &place.data(&small),
        &["stores, 3 nodes, 2 clients", "p50", "p99", "idle node", "nodes are ready", "killed node"],
    );
    let start = place.data(&["testnet", "bench", "--start", "--nodes", "4"]);
    has_rows_of(&start, &["4 nodes and their chain are ready", "4 nodes without a chain are ready"]);
}

fn has_rows_of(data: &serde_json::Value, names: &[&str]) {
    assert_eq!(data.as_object().unwrap().len(), 1);
    let rows = data["rows"].as_array().unwrap();
    for row in rows {
        let mut keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["ours", "peer", "ratio", "unit", "wanted", "what"]);
        for number in ["ours", "peer", "ratio", "wanted"] {
            assert!(row[number].as_f64().is_some_and(|number| number > 0.0), "{number} of {row}");
        }
        assert!(row["what"].is_string() && row["unit"].is_string(), "{row}");
    }
    for what in names {
        let named = |row: &serde_json::Value| row["what"].as_str().unwrap().contains(what);
        assert!(rows.iter().any(named), "{what}");
    }
}
