//! What nodes write and count while people send through them.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};

use session_client::Account;
use session_protocols::libp2p::address::peer_id;

use crate::support::Place;

/// A peer id of an Ed25519 key, as text, begins with this and has so many letters.
const PEER: (&str, usize) = ("12D3KooW", 52);

/// The peer ids that a text names.
fn peers(text: &str) -> BTreeSet<String> {
    let found = text.match_indices(PEER.0).filter_map(|(at, _)| text.get(at..at + PEER.1));
    found.map(str::to_owned).collect()
}

fn metrics(http: &str) -> String {
    let (mut stream, mut text) = (TcpStream::connect(http).unwrap(), String::new());
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_or_metric_names_a_client_or_a_mailbox() {
    let place = Place::new();
    let up = place
        .command(&["testnet", "up", "--no-chain", "--nodes", "12"])
        .env("RUST_LOG", "session=trace")
        .output();
    assert!(up.unwrap().status.success());
    let network = place.testnet.folder().network().unwrap();
    let client = session_client::Client::connect(network.clone(), Default::default()).await.unwrap();
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    for text in ["one", "two", "three"] {
        client.send(&alice, &bob.id(), text).await.unwrap();
    }
    assert_eq!(client.inbox(&bob).await.unwrap().len(), 3);
    drop(client);
    let nodes = network.nodes.iter().filter_map(|node| peer_id(&node.id)).map(|peer| peer.to_string());
    let nodes: BTreeSet<_> = nodes.collect();
    let status = place.testnet.status().await.unwrap();
    let mut forwarded = 0;
    for node in &status {
        let metrics = metrics(&node.http);
        forwarded += u64::from(metrics.contains("session_onion_packets_total{outcome=\"forwarded\"}"));
        let log = std::fs::read_to_string(place.testnet.folder().log(node.index)).unwrap();
        assert!(log.contains("node started"), "{log}");
        for text in [&metrics, &log] {
            for id in [alice.id(), bob.id()] {
                // An account's id in hex, whole or without its first byte.
                let id = id.to_string();
                assert!(!text.contains(&id[2..]), "{} names an account", node.index);
            }
            let strangers: Vec<_> = peers(text).difference(&nodes).cloned().collect();
            assert!(strangers.is_empty(), "{} names {strangers:?}", node.index);
            // Nodes are at 127.0.1.1 and so on: only clients come from here.
            assert!(!text.contains("127.0.0.1"), "{} names an address", node.index);
        }
    }
    assert!(forwarded >= 3, "packets passed {forwarded} nodes");
}
