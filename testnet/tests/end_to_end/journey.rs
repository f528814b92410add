//! A newcomer's way through the commands, with nodes down, and back.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    time::Duration,
};

use serde_json::json;
use session_client::{Client, Options};
use session_protocols::Namespace;

use crate::{
    conversations::members_become_equal,
    support::{PATIENCE, Place, Ran, ended, lines, until},
};

fn texts(inbox: &serde_json::Value) -> Vec<String> {
    let text = |message: &serde_json::Value| message["text"].as_str().map(ToOwned::to_owned);
    inbox["messages"].as_array().unwrap().iter().filter_map(text).collect()
}

fn keys(object: &serde_json::Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn nodes(status: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    status["nodes"].as_array().unwrap().iter()
}

/// Each field of each node, against the network file and against what the node itself says.
async fn status_tells_what_nodes_are(place: &Place) {
    let status = until("every node to be in contact with all others", async || {
        let status = place.data(&["testnet", "status"]);
        let all = nodes(&status).all(|node| node["peers"] == 11);
        all.then_some(status)
    })
    .await;
    let network = place.testnet.folder().network().unwrap();
    let map = network.ledger().map().clone();
    for ((node, known), index) in nodes(&status).zip(&network.nodes).zip(1..) {
        assert_eq!(
            keys(node),
            [
                "addresses",
                "door",
                "fingerprint",
                "http",
                "id",
                "index",
                "messages",
                "names",
                "peers",
                "pid",
                "registration",
                "state",
                "swarm"
            ]
        );
        assert_eq!(
            (&node["index"], &node["state"], &node["messages"]),
            (&json!(index), &json!("ready"), &json!(0))
        );
        let (id, swarm) = (known.id.to_string(), map.swarm_with(&known.id).unwrap().to_string());
        assert!(id.len() == 64 && id.chars().all(|digit| matches!(digit, '0'..='9' | 'a'..='f')), "{id}");
        assert_eq!((node["id"].as_str().unwrap(), node["swarm"].as_str().unwrap()), (&*id, &*swarm));
        let addresses = node["addresses"].as_array().unwrap().iter();
        let addresses: BTreeSet<&str> = addresses.map(|address| address.as_str().unwrap()).collect();
        assert_eq!(addresses, known.addresses.iter().map(String::as_str).collect());
        let process = format!("/proc/{}/cmdline", node["pid"].as_u64().unwrap());
        let command = std::fs::read_to_string(process).unwrap();
        assert!(command.contains(place.testnet.folder().data(index).to_str().unwrap()), "{command}");
        let door = node["door"].as_str().unwrap().strip_prefix("https://").unwrap();
        assert!(door.parse::<SocketAddr>().unwrap().ip().is_loopback());
        TcpStream::connect(door).unwrap();
        // Whoever answers at the address is the node that is meant.
        let http: SocketAddr = node["http"].as_str().unwrap().parse().unwrap();
        assert!(http.ip().is_loopback());
        let mut stream = TcpStream::connect(http).unwrap();
        stream.write_all(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(&id), "{answer}");
    }
    assert_eq!(nodes(&status).count(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_talk_while_nodes_2_and_5_are_killed() {
    let place = Place::new();
    let up = place.data(&["testnet", "up", "--no-chain"]);
    assert_eq!(up["nodes"].as_array().unwrap().len(), 12);
    assert_eq!(up["already"], false);
    assert_eq!(place.data(&["testnet", "up", "--no-chain"])["already"], true);
    status_tells_what_nodes_are(&place).await;
    let (code, error) = place.error(&["testnet", "up", "--no-chain", "--nodes", "3"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "other_size"));

    let alice = place.data(&["account", "new", "--name", "alice"]);
    let bob = place.data(&["account", "new", "--name", "bob"]);
    place.data(&["testnet", "kill", "2", "5"]);
    let status = place.data(&["testnet", "status"]);
    for node in status["nodes"].as_array().unwrap() {
        let down = [2, 5].contains(&node["index"].as_u64().unwrap());
        assert_eq!((node["state"] == "down", node["pid"].is_null()), (down, down), "{node}");
        assert!(node["swarm"].is_string() && !node["addresses"].as_array().unwrap().is_empty());
        assert!(!down || (node["peers"] == 0 && node["messages"] == 0), "{node}");
    }

    let sent = place.data(&["send", "--from", "alice", "bob", "hello,", "bob"]);
    let (stored, swarm) = (sent["stored"].as_u64().unwrap(), sent["swarm"].as_u64().unwrap());
    assert!(stored * 2 > swarm && stored <= swarm, "{sent}");
    assert_eq!(keys(&sent), ["first", "found", "from", "hash", "stored", "swarm", "timestamp", "to"]);
    assert!(sent["found"].is_null() && sent["first"] == false, "no name of the network led there: {sent}");
    assert_eq!((&sent["from"], &sent["to"]), (&alice["id"], &bob["id"]));
    let reply =
        place.run(&["send", "--from", "bob", alice["id"].as_str().unwrap(), "hello, alice \u{1b}[2J"]);
    assert_eq!(reply.code, 0, "{}", reply.err);
    assert!(reply.out.starts_with("sent to 05") && reply.out.contains("durable at "), "{}", reply.out);
    let inbox = place.data(&["inbox", "--account", "bob"]);
    assert_eq!(texts(&inbox), ["hello, bob"]);
    let first = &inbox["messages"][0];
    assert_eq!(keys(first), ["from", "hash", "text", "timestamp"]);
    for field in ["from", "hash", "timestamp"] {
        assert_eq!(first[field], sent[field], "the same {field} is told to both");
    }
    assert!(sent["timestamp"].as_u64().is_some_and(|time| time > 1_700_000_000_000), "{sent}");
    let human = place.run(&["inbox", "--account", "alice"]).out;
    assert!(human.contains("  bob\n    hello, alice [2J\n") && !human.contains('\u{1b}'), "{human:?}");

    assert_eq!(texts(&place.data(&["inbox", "--account", "bob", "--new"])), [""; 0]);
    place.data(&["testnet", "start", "2", "5"]);
    members_become_equal(&place).await;
    // Two messages and their senders' copies, at every member of the swarm that they are in.
    let status = place.data(&["testnet", "status"]);
    let kept: BTreeMap<&str, u64> = nodes(&status)
        .map(|node| (node["swarm"].as_str().unwrap(), node["messages"].as_u64().unwrap()))
        .collect();
    assert_eq!(kept.values().sum::<u64>(), 4, "{kept:?}");

    hostile_messages_stop_nothing(&place, bob["id"].as_str().unwrap()).await;
    a_watch_prints_what_arrives(&place);
    all_nodes_die_and_come_back(&place);

    place.data(&["testnet", "down"]);
    let (code, error) = place.error(&["testnet", "status"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (3, "not_up"));
    let (code, error) = place.error(&["send", "--from", "alice", "bob", "anybody there?"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (3, "no_network"));
}

async fn hostile_messages_stop_nothing(place: &Place, bob: &str) {
    let network = place.testnet.folder().network().unwrap();
    let client = Client::connect(network, Options::default()).await.unwrap();
    let ttl = Duration::from_secs(3_600);
    for garbage in [vec![0; 3], b"\x08\x01\x12\xff\xff\xff\xff\x0f".to_vec()] {
        client.store(&bob.parse().unwrap(), Namespace::INBOX, garbage, ttl, None).await.unwrap();
    }
    place.data(&["send", "--from", "alice", "bob", "after the garbage"]);
    let inbox = place.data(&["inbox", "--account", "bob", "--new"]);
    assert_eq!(texts(&inbox), ["after the garbage"]);
    let unreadable: Vec<_> =
        inbox["messages"].as_array().unwrap().iter().filter(|message| message["text"].is_null()).collect();
    assert!(unreadable.len() == 2 && unreadable.iter().all(|message| message["error"].is_string()));
}

fn a_watch_prints_what_arrives(place: &Place) {
    let mut command = place.command(&["inbox", "--account", "bob", "--new", "--watch", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    place.data(&["send", "--from", "alice", "bob", "one"]);
    let lines = lines(child.stdout.take().unwrap());
    let next = || {
        let line = lines.recv_timeout(PATIENCE).expect("the watch prints nothing");
        let envelope: serde_json::Value = serde_json::from_str(&line).unwrap();
        texts(&envelope["data"])
    };
    assert_eq!(next(), ["one"]);
    place.data(&["send", "--from", "alice", "bob", "two"]);
    assert_eq!(next(), ["two"]);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = ended(child, "the watch");
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert_eq!(texts(&place.data(&["inbox", "--account", "bob", "--new"])), [""; 0], "they were shown");
}

fn all_nodes_die_and_come_back(place: &Place) {
    let all: Vec<String> = (1..=12).map(|index: u8| index.to_string()).collect();
    let kill: Vec<&str> = ["testnet", "kill"].into_iter().chain(all.iter().map(String::as_str)).collect();
    place.data(&kill);
    let (code, error) = place.error(&["inbox", "--account", "bob"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (3, "testnet_down"));
    let ran: Ran = place.run(&["testnet", "up", "--no-chain"]);
    assert!(ran.code == 0 && ran.out.contains("ready again"), "{} {}", ran.out, ran.err);
    let inbox = texts(&place.data(&["inbox", "--account", "bob"]));
    assert_eq!(inbox, ["hello, bob", "after the garbage", "one", "two"]);
}
