//! What nodes write and count while people send through them.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};

use futures::StreamExt;
use session_chain::NetworkFile;
use session_client::{Account, Client, ClientError, Cursors, Options};
use session_protocols::{
    NodeId, Protocol,
    answer::{Answer, Body, Code, MAX_ANSWER},
    codec,
    libp2p::address::peer_id,
    onion::relay::Refusal,
    request::Request,
};

use crate::{
    raw::Members,
    support::{PATIENCE, Place, until},
};

/// All that nodes can be made to write of themselves, and what others write by default.
const LOUD: &str = "warn,yamux=error,session=trace";
/// What a node says of nodes at times of its own, whatever anybody asks: when it starts and stops, and when it
/// has compared what it keeps.
const UNASKED: [&str; 3] = [": node started ", ": stopping ", ": compared with a member "];
/// What it says when it did not reach one.
const NOT_REACHED: &str = "a node was not reached";
/// A peer id of an Ed25519 key, as text, begins with this and has so many letters.
const PEER: (&str, usize) = ("12D3KooW", 52);
/// More questions than a node answers one neighbour at once.
const FLOOD: usize = 5_000;

/// A testnet whose nodes write all that they can.
fn loud(nodes: &str) -> Place {
    let place = Place::new();
    let up = place.command(&["testnet", "up", "--no-chain", "--nodes", nodes]).env("RUST_LOG", LOUD).output();
    assert!(up.unwrap().status.success());
    place
}

/// The peer ids that a text names.
fn peers(text: &str) -> BTreeSet<&str> {
    text.match_indices(PEER.0).filter_map(|(at, _)| text.get(at..at + PEER.1)).collect()
}

/// What stands for a node: its key in hex, and its peer id.
fn names(node: &NodeId) -> [String; 2] {
    [node.to_string(), peer_id(node).unwrap().to_string()]
}

fn metrics(http: &str) -> String {
    let (mut stream, mut text) = (TcpStream::connect(http).unwrap(), String::new());
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// What a node has written that somebody may have made it write.
fn log(place: &Place, index: usize) -> String {
    let log = std::fs::read_to_string(place.testnet.folder().log(index)).unwrap();
    let (unasked, asked): (Vec<_>, Vec<_>) =
        log.lines().partition(|line| UNASKED.iter().any(|message| line.contains(message)));
    assert!(!unasked.is_empty(), "{log}");
    asked.join("\n")
}

/// Panics if a text names a node, or anybody else by a peer id.
fn names_nobody(network: &NetworkFile, what: &str, text: &str) {
    for (number, node) in (1..).zip(&network.nodes) {
        let line = text.lines().find(|line| names(&node.id).iter().any(|name| line.contains(name)));
        assert_eq!(line, None, "{what} names node {number}");
    }
    assert_eq!(peers(text), BTreeSet::new(), "{what} names a peer");
}

/// Asks each node for what it has to refuse: bytes that are no request, somebody else's mailbox, and more than
/// is one neighbour's share.
async fn annoy(network: &NetworkFile, client: &Client, bob: &Account) {
    let requests = Members::connect_over(network, Protocol::Storage).await;
    let packets = Members::connect_over(network, Protocol::Onion).await;
    let eve = Account::generate().unwrap();
    let mut refusals = BTreeSet::new();
    for node in &network.nodes {
        let mut refused = async |request: Vec<u8>| {
            let answer: Answer = codec::decode(&requests.ask(&node.id, request).await, MAX_ANSWER).unwrap();
            let Body::Refused(refusal) = answer.body else { return None };
            refusals.insert(refusal.code);
            Some(refusal.code)
        };
        refused(b"no request".to_vec()).await.unwrap();
        let mut stranger = requests.retrieve(&eve, None, client.now_ms());
        stranger.account = bob.id();
        refused(codec::encode(&Request::Retrieve(stranger))).await.unwrap();
        let mut flood = 0..FLOOD;
        while refused(codec::encode(&Request::GetSwarm { account: bob.id() })).await != Some(Code::TooMany) {
            flood.next().unwrap();
        }
        let mut flood = 0..FLOOD;
        while Refusal::read(&packets.ask(&node.id, vec![1; 99]).await) != Some(Refusal::Busy) {
            flood.next().unwrap();
        }
    }
    let wanted = [Code::BadRequest, Code::Unauthorized, Code::TooMany];
    assert!(wanted.iter().all(|code| refusals.contains(code)), "{refusals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_or_metric_names_a_client_a_mailbox_or_a_destination() {
    let place = loud("12");
    let network = place.testnet.folder().network().unwrap();
    let client = Client::connect(network.clone(), Default::default()).await.unwrap();
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let mut watch = client.watch(&bob, Cursors::new(), []).await.unwrap();
    for text in ["one", "two", "three"] {
        client.send(&alice, &bob.id(), text).await.unwrap();
        assert_eq!(watch.next().await.unwrap().content.unwrap().text.as_deref(), Some(text));
    }
    assert_eq!(client.inbox(&bob).await.unwrap().len(), 3);
    annoy(&network, &client, &bob).await;
    drop((client, watch));
    let mut forwarded = 0;
    for node in &place.testnet.status().await.unwrap() {
        let metrics = metrics(&node.http);
        let counted = metrics.lines().find_map(|line| {
            line.strip_prefix("session_onion_packets_total{outcome=\"forwarded\"} ")?.parse::<u64>().ok()
        });
        forwarded += u64::from(counted > Some(0));
        for text in [&metrics, &log(&place, node.index)] {
            for id in [alice.id(), bob.id()] {
                // An account's id in hex, whole or without its first byte.
                let id = id.to_string();
                assert!(!text.contains(&id[2..]), "{} names an account", node.index);
            }
            names_nobody(&network, &format!("node {}", node.index), text);
            // Nodes are at 127.0.1.1 and so on: only clients come from here.
            assert!(!text.contains("127.0.0.1"), "{} names an address", node.index);
        }
    }
    assert!(forwarded >= 3, "packets passed {forwarded} nodes");
}

/// The last hop dials it for the packet, since there is no contact any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_a_packet_does_not_reach_is_not_named() {
    let place = loud("8");
    let network = place.testnet.folder().network().unwrap();
    // It waits until each hop that does not reach the node has said so.
    let options = Options { answer: PATIENCE, ..Options::default() };
    let client = Client::connect(network.clone(), options).await.unwrap();
    client.prepare_paths(&[]).await.unwrap();
    let guards: BTreeSet<_> = client.paths().iter().map(|path| path.hops[0].id).collect();
    let gone = network.nodes.iter().position(|node| !guards.contains(&node.id)).unwrap();
    let others: Vec<_> = (1..=network.nodes.len()).filter(|index| *index != gone + 1).collect();
    assert!(place.testnet.kill(gone + 1).await.unwrap());
    let missed = |index: &usize| log(&place, *index).contains(NOT_REACHED);
    until("that all nodes miss it", async || others.iter().all(missed).then_some(())).await;
    let asked = client.info(&network.nodes[gone].id).await;
    assert!(matches!(asked, Err(ClientError::Silent { .. })), "{asked:?}");
    for index in others {
        names_nobody(&network, &format!("node {index}"), &log(&place, index));
    }
}
