//! Members that do not know how far a mailbox was read: they are asked for hashes first.

use std::sync::{Arc, Mutex};

use session_protocols::{
    MessageHash, Namespace,
    answer::{Answer, Body},
    request::Request,
};
use tokio::time::timeout;

use super::{
    PATIENCE, account,
    fake::{Net, Over},
    some, texts,
};
use crate::{Cursors, client::TTL};

/// How many messages every member handed out, and how many hashes.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<(usize, usize)>>);

impl Counts {
    fn of(net: &Net) -> Self {
        let counts = Self::default();
        for node in net.nodes() {
            let counted = counts.clone();
            let count = move |_: &Request, answer: Answer| {
                let mut counts = counted.0.lock().unwrap();
                match &answer.body {
                    Body::Messages { messages, .. } | Body::Fetched { messages, .. } => {
                        counts.0 += messages.len();
                    }
                    Body::Ids { hashes, .. } => counts.1 += hashes.len(),
                    _ => {}
                }
                Some(answer)
            };
            net.world.lock().lie(node, Box::new(count));
            let counted = counts.clone();
            net.world.lock().twist(node, move |event| {
                counted.0.lock().unwrap().0 += event.messages.len();
                event
            });
        }
        counts
    }

    fn take(&self) -> (usize, usize) {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn another_member_is_asked_for_hashes_and_then_for_what_is_lacking() {
    let mut net = Net::start(5, Over::Tcp).await;
    let (client, bob) = (net.client().await, account(2));
    for number in 0..20 {
        client.send(&account(1), &bob.id(), &number.to_string()).await.unwrap();
    }
    let mut cursors = Cursors::new();
    let first = client.retrieve(&bob, Namespace::INBOX, &mut cursors).await.unwrap();
    let mut have: Vec<MessageHash> = first.messages.iter().map(|message| message.hash).collect();
    assert_eq!((have.len(), first.more), (20, false));
    net.kill(first.node).await;
    let sent = [
        client.send(&account(1), &bob.id(), "new").await.unwrap().hash,
        client.send(&account(1), &bob.id(), "newer").await.unwrap().hash,
    ];
    let counts = Counts::of(&net);
    let mut came = Vec::new();
    loop {
        let known = have.clone();
        let known = move |hash: &MessageHash| known.contains(hash);
        let page = client.retrieve_unknown(&bob, Namespace::INBOX, &mut cursors, known).await.unwrap();
        came.extend(page.messages.iter().map(|message| message.hash));
        have.extend(page.messages.iter().map(|message| message.hash));
        if !page.more {
            break;
        }
    }
    assert_eq!((came, counts.take()), (sent.to_vec(), (2, 22)));
    // From there on its own cursor counts.
    let cursors_kept = Cursors::from_bytes(&cursors.to_bytes()).unwrap();
    client.send(&account(1), &bob.id(), "last").await.unwrap();
    cursors = cursors_kept;
    let known = move |hash: &MessageHash| have.contains(hash);
    let page = client.retrieve_unknown(&bob, Namespace::INBOX, &mut cursors, known).await.unwrap();
    assert_eq!((page.messages.len(), page.more, counts.take()), (1, false, (1, 0)));
}

#[tokio::test]
async fn what_is_lacking_is_fetched_to_the_end() {
    let net = Net::start(5, Over::Tcp).await;
    let (client, bob) = (net.client().await, account(2));
    let mut sent = Vec::new();
    for number in 0..40_u8 {
        let data = vec![number; 70_000];
        sent.push(client.store(&bob.id(), Namespace::INBOX, data, TTL, None).await.unwrap().hash);
    }
    let counts = Counts::of(&net);
    let (mut cursors, mut came) = (Cursors::new(), Vec::new());
    loop {
        let first = sent[0];
        let known = move |hash: &MessageHash| *hash == first;
        let page = client.retrieve_unknown(&bob, Namespace::INBOX, &mut cursors, known).await.unwrap();
        came.extend(page.messages.iter().map(|message| message.hash));
        if !page.more {
            break;
        }
    }
    assert_eq!((came, counts.take()), (sent[1..].to_vec(), (39, 40)));
}

#[tokio::test]
async fn a_watch_that_changes_its_member_fetches_what_it_lacks_alone() {
    let mut net = Net::start(5, Over::Tcp).await;
    let (client, sender, bob) = (net.client().await, net.client().await, account(2));
    for number in 0..20 {
        client.send(&account(1), &bob.id(), &number.to_string()).await.unwrap();
    }
    let mut watch = client.watch(&bob, Cursors::new(), []).await.unwrap();
    for number in 0..20 {
        assert_eq!(super::watch::next(&mut watch).await, number.to_string());
    }
    let [node] = super::watch::watched_at(&net)[..] else { panic!("watched at one member") };
    let counts = Counts::of(&net);
    net.kill(node).await;
    sender.send(&account(1), &bob.id(), "new").await.unwrap();
    assert_eq!(super::watch::next(&mut watch).await, "new");
    sender.send(&account(1), &bob.id(), "newer").await.unwrap();
    assert_eq!(super::watch::next(&mut watch).await, "newer");
    let (messages, hashes) = counts.take();
    // The message of the one page that a member which knows the cursor answers with may be counted.
    assert!(messages <= 4 && hashes >= 20, "{messages} messages, {hashes} hashes");
    // Another watch at the same place is brought nothing twice.
    let cursors = Cursors::from_bytes(&watch.cursors().to_bytes()).unwrap();
    drop(watch);
    let mut again = client.watch(&bob, cursors, []).await.unwrap();
    sender.send(&account(1), &bob.id(), "last").await.unwrap();
    assert_eq!(super::watch::next(&mut again).await, "last");
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_believed() {
    let net = Net::start(5, Over::Tcp).await;
    let (client, bob) = (net.client().await, account(2));
    for text in ["one", "two"] {
        client.send(&account(1), &bob.id(), text).await.unwrap();
    }
    for node in net.nodes().into_iter().take(4) {
        // Hashes for ever, and nothing behind them.
        let lie = |_: &Request, mut answer: Answer| {
            match &mut answer.body {
                Body::Fetched { hashes, .. } => *hashes = 0,
                Body::Ids { more, .. } => *more = true,
                _ => {}
            }
            Some(answer)
        };
        net.world.lock().lie(node, Box::new(lie));
    }
    let (mut cursors, mut came) = (Cursors::new(), 0);
    let reading = async {
        loop {
            let known = |_: &MessageHash| false;
            let page = client.retrieve_unknown(&bob, Namespace::INBOX, &mut cursors, known).await.unwrap();
            came += page.messages.len();
            if !page.more {
                break;
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    assert!(came >= 2);
    assert_eq!(texts(&client, &bob).await, some(&["one", "two"]));
}

#[tokio::test]
async fn an_inbox_is_read_on_from_where_it_was_read_to() {
    let mut net = Net::start(5, Over::Tcp).await;
    let (client, bob) = (net.client().await, account(2));
    let said = async |text: &str| client.send(&account(1), &bob.id(), text).await.unwrap();
    let read = async |cursors: &mut Cursors| {
        let items = client.inbox_after(&bob, cursors).await.unwrap();
        items.into_iter().map(|item| item.content.unwrap().text).collect::<Vec<_>>()
    };
    said("one").await;
    said("two").await;
    let mut cursors = Cursors::new();
    assert_eq!(read(&mut cursors).await, some(&["one", "two"]));
    cursors = Cursors::from_bytes(&cursors.to_bytes()).unwrap();
    said("three").await;
    let counts = Counts::of(&net);
    assert_eq!(read(&mut cursors).await, some(&["three"]));
    assert_eq!(counts.take(), (1, 0), "what was read is not sent again");

    // Another member was not read before, and nothing is left out.
    let member = cursors.last().unwrap();
    net.kill(member).await;
    said("four").await;
    assert_eq!(read(&mut cursors).await, some(&["one", "two", "three", "four"]));
    assert_ne!(cursors.last(), Some(member));

    // Who is not answered has not read on.
    let before = cursors.clone();
    for node in net.nodes().into_iter().filter(|node| *node != member) {
        net.kill(node).await;
    }
    client.inbox_after(&bob, &mut cursors).await.unwrap_err();
    assert_eq!(cursors, before);
}
