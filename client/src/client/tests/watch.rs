//! Watching: everything comes, and once, whatever happens to the member that is watched at.

use std::collections::BTreeSet;

use futures::{Stream, StreamExt};
use serde_bytes::ByteBuf;
use session_protocols::{MessageHash, Namespace, NodeId};
use tokio::time::timeout;

use super::{
    PATIENCE, account,
    fake::{Net, Over},
};
use crate::{Client, Cursors, InboxItem, client::TTL};

pub(super) async fn next(watch: &mut (impl Stream<Item = InboxItem> + Unpin)) -> String {
    let item = timeout(PATIENCE, watch.next()).await.expect("nothing came").unwrap();
    item.content.unwrap().text.unwrap()
}

pub(super) fn watched_at(net: &Net) -> Vec<NodeId> {
    let world = net.world.lock();
    let nodes = world.nodes().into_iter().filter(|(_, alive)| *alive).map(|(node, _)| node);
    nodes.filter(|node| world.subscriptions(*node) > 0).collect()
}

async fn send(client: &Client, text: &str) -> MessageHash {
    client.send(&account(1), &account(2).id(), text).await.unwrap().hash
}

#[tokio::test]
async fn what_is_there_comes_first_and_then_what_arrives() {
    let net = Net::start(5, Over::Quic).await;
    let client = net.client().await;
    let shown = send(&client, "shown").await;
    send(&client, "waiting").await;
    let mut watch = client.watch(&account(2), Cursors::new(), [shown]).await.unwrap();
    assert_eq!(next(&mut watch).await, "waiting");
    send(&client, "new").await;
    assert_eq!(next(&mut watch).await, "new");
    // Another watch goes on where this one was.
    let cursors = Cursors::from_bytes(&watch.cursors().to_bytes()).unwrap();
    drop(watch);
    send(&client, "newer").await;
    let mut watch = client.watch(&account(2), cursors, []).await.unwrap();
    assert_eq!(next(&mut watch).await, "newer");
}

#[tokio::test]
async fn another_member_takes_over_and_nothing_is_lost_or_doubled() {
    let mut net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let sender = net.client().await;
    let mut watch = client.watch(&account(2), Cursors::new(), []).await.unwrap();
    let mut came = Vec::new();
    for round in 0..3 {
        send(&sender, &format!("{round}a")).await;
        came.push(next(&mut watch).await);
        if round < 2 {
            let [node] = watched_at(&net)[..] else { panic!("watched at one member") };
            net.kill(node).await;
        }
        send(&sender, &format!("{round}b")).await;
        came.push(next(&mut watch).await);
    }
    assert_eq!(came, ["0a", "0b", "1a", "1b", "2a", "2b"]);
}

#[tokio::test]
async fn a_member_that_lies_is_left() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let mut watch = client.watch(&account(2), Cursors::new(), []).await.unwrap();
    let [liar] = watched_at(&net)[..] else { panic!("watched at one member") };
    net.world.lock().twist(liar, |mut event| {
        event.messages[0].data = ByteBuf::from(b"something else".to_vec());
        event
    });
    send(&client, "true").await;
    assert_eq!(next(&mut watch).await, "true");
    assert_ne!(watched_at(&net), [liar]);
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_and_holds_up_nobody() {
    let net = Net::start(1, Over::Tcp).await;
    let client = net.client().await;
    let slow = client.watch_namespace(&account(2), Namespace::INBOX, Cursors::new(), []).await.unwrap();
    let mut sent = BTreeSet::new();
    for number in 0..40_u8 {
        let to = account(2).id();
        let stored = client.store(&to, Namespace::INBOX, vec![number; 70_000], TTL, None).await.unwrap();
        sent.insert(stored.hash);
    }
    // Nobody reads the first watch; another one on the same link goes on all the same.
    let mut quick = client.watch(&account(1), Cursors::new(), []).await.unwrap();
    client.send(&account(2), &account(1).id(), "quick").await.unwrap();
    assert_eq!(next(&mut quick).await, "quick");
    let came: Vec<_> = timeout(PATIENCE, slow.take(40).map(|message| message.hash).collect()).await.unwrap();
    assert_eq!(came.iter().copied().collect::<BTreeSet<_>>(), sent);
    assert_eq!(came.len(), sent.len());
}

#[tokio::test]
async fn a_dropped_watch_leaves_its_member() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let watch = client.watch(&account(2), Cursors::new(), []).await.unwrap();
    assert_eq!(watched_at(&net).len(), 1);
    drop(watch);
    let gone = async {
        while !watched_at(&net).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}
