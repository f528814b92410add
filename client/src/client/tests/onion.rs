//! Requests that travel over paths of three hops.

use std::collections::BTreeSet;

use futures::StreamExt;
use session_protocols::{
    AccountId, Namespace, NodeId, Protocol,
    answer::Answer,
    onion::size::{Bucket, Position, answer_len, packet_len},
    path::{State, Use},
    request::Request,
};
use tokio::time::timeout;

use super::{
    PATIENCE, account,
    fake::{Net, Over},
    some, texts,
};
use crate::{Client, ClientError, Cursors, Home, HomeError, Options, client::TTL, clock::Comparison};

async fn send(client: &Client, text: &str) {
    client.send(&account(1), &account(2).id(), text).await.unwrap();
}

/// The hops of the path that sending goes over.
fn sending(client: &Client) -> Vec<NodeId> {
    let paths = client.paths();
    let path = paths.iter().find(|path| path.usage == Use::Send && path.state == State::Ready).unwrap();
    path.hops.iter().map(|hop| hop.id).collect()
}

#[tokio::test]
async fn a_text_arrives_and_nodes_are_spoken_to_through_a_guard_alone() {
    for over in [Over::Quic, Over::Tcp] {
        let net = Net::start(8, over).await;
        let client = net.hidden().await;
        send(&client, "hidden").await;
        assert_eq!(texts(&client, &account(2)).await, some(&["hidden"]));
        assert_eq!(client.get_swarm(&account(2).id()).await.unwrap().members.len(), 8);
        client.info(&net.nodes()[3]).await.unwrap();
        let tap = net.world.lock().tap.clone();
        let guards: BTreeSet<_> = tap.iter().filter(|seen| !seen.inside).map(|seen| seen.at).collect();
        assert!((1..=2).contains(&guards.len()), "{guards:?}");
        for node in net.nodes() {
            assert!(!client.inner.links.live(node, Protocol::Storage), "asked straight");
            assert!(guards.contains(&node) || !client.inner.links.live(node, Protocol::Onion));
        }
    }
}

#[tokio::test]
async fn a_short_store_an_empty_poll_and_a_poll_of_one_message_look_alike() {
    let net = Net::start(8, Over::Tcp).await;
    let client = net.hidden().await;
    send(&client, "to have paths").await;
    let mut cursors = Cursors::new();
    let poll = async |cursors: &mut Cursors| {
        client.retrieve(&account(3), Namespace::INBOX, cursors).await.unwrap().messages.len()
    };
    let seen = || {
        let tap = std::mem::take(&mut net.world.lock().tap);
        tap.iter().map(|seen| (seen.packet.len(), seen.answer.len())).collect::<BTreeSet<_>>()
    };
    let small = Bucket::ALL[0];
    let expected: BTreeSet<_> = Position::ALL.map(|at| (packet_len(small, at), answer_len(small, at))).into();
    seen();
    assert_eq!(poll(&mut cursors).await, 0);
    assert_eq!(seen(), expected, "an empty poll");
    client.send(&account(3), &account(3).id(), "short").await.unwrap();
    assert_eq!(seen(), expected, "a short store");
    assert_eq!(poll(&mut cursors).await, 1);
    assert_eq!(seen(), expected, "a poll of one message");
}

#[tokio::test]
async fn what_is_larger_than_a_packet_is_continued_or_refused_before_it_is_sent() {
    let net = Net::start(8, Over::Tcp).await;
    let (client, bob) = (net.hidden().await, account(2));
    for number in 0..8_u8 {
        let data = vec![number; 70_000];
        client.store(&bob.id(), Namespace::INBOX, data, TTL, None).await.unwrap();
    }
    for number in 0..30_u8 {
        client.store(&bob.id(), Namespace::INBOX, vec![number; 900], TTL, None).await.unwrap();
    }
    assert_eq!(client.inbox(&bob).await.unwrap().len(), 38);
    // Another member may be asked next: it is asked for hashes, and then for what is lacking.
    let mut cursors = Cursors::new();
    let mut came = 0;
    loop {
        let known = |_: &_| false;
        let page = client.retrieve_unknown(&bob, Namespace::INBOX, &mut cursors, known).await.unwrap();
        came += page.messages.len();
        if !page.more {
            break;
        }
    }
    assert_eq!(came, 38);
    net.world.lock().tap.clear();
    let error = client.store(&bob.id(), Namespace::INBOX, vec![0; 140_000], TTL, None).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { bytes } if bytes > 140_000), "{error}");
    assert!(net.world.lock().tap.is_empty());
}

#[tokio::test]
async fn a_hop_that_dies_under_a_request_is_gone_around() {
    for at in 0..3 {
        for mute in [true, false] {
            let net = Net::start(12, Over::Tcp).await;
            let client = net.hidden().await;
            send(&client, "before").await;
            let hop = sending(&client)[at];
            if mute {
                net.world.lock().mute.insert(hop);
            } else {
                net.world.lock().down.insert(hop);
            }
            let stored = client.store(&account(2).id(), Namespace::INBOX, vec![1; 99], TTL, None).await;
            assert!(stored.is_ok(), "hop {at}, mute: {mute}: {stored:?}");
        }
    }
}

#[tokio::test]
async fn with_both_guards_gone_it_says_so_and_goes_on_when_one_returns() {
    let net = Net::start(12, Over::Tcp).await;
    let client = net.hidden().await;
    send(&client, "before").await;
    let guards: Vec<_> = client.inner.onion.as_ref().unwrap().guards();
    assert_eq!(guards.len(), 2);
    net.world.lock().down.extend(&guards);
    let error = client.inbox(&account(2)).await.unwrap_err();
    assert_eq!(error.code(), "guards_gone", "{error}");
    assert!(error.to_string().contains("both guards are gone"), "{error}");
    net.world.lock().down.remove(&guards[1]);
    let again = async { while client.inbox(&account(2)).await.is_err() {} };
    timeout(PATIENCE, again).await.unwrap();
    assert_eq!(client.inner.onion.as_ref().unwrap().guards(), guards, "the same as before");
}

#[tokio::test]
async fn a_clock_that_goes_wrong_under_paths_is_set_right_and_no_guard_is_blamed() {
    let net = Net::start(12, Over::Tcp).await;
    let client = net.hidden().await;
    send(&client, "before").await;
    let onion = client.inner.onion.as_ref().unwrap();
    let guards = onion.guards();
    // In this order: a node whose own clock is set back takes no stamps again that it has forgotten.
    for hours in [-1, 1] {
        net.world.lock().offset_ms = hours * 3_600_000;
        net.world.lock().met.clear();
        client.rebuild_paths();
        send(&client, "after").await;
        assert_eq!(onion.guards(), guards);
        let met = net.world.lock().met.clone();
        assert!(met.iter().all(|node| guards.contains(node)), "{met:?}");
    }
    let silent = || onion.state().machine.guards().all().iter().any(|guard| guard.silent.is_some());
    assert!(!silent());
    // Further away than nodes are followed it is told, and nobody is blamed either.
    net.world.lock().offset_ms = 30 * 3_600_000;
    client.rebuild_paths();
    let error = client.inbox(&account(2)).await.unwrap_err();
    assert!(matches!(error, ClientError::Clock { seconds: 107_990..=108_010 }), "{error}");
    assert!(!silent());
}

#[tokio::test]
async fn one_guard_alone_does_not_move_the_clock() {
    let net = Net::start(12, Over::Tcp).await;
    let client = net.hidden().await;
    send(&client, "before").await;
    let liar = client.inner.onion.as_ref().unwrap().guards()[0];
    let lie = |_: &Request, answer: Answer| Some(Answer { time: answer.time + 3_600_000, ..answer });
    net.world.lock().lie(liar, Box::new(lie));
    assert_eq!(client.inner.onion.as_ref().unwrap().compare_clocks().await, Comparison::Same);
    assert_eq!(client.inner.clock.offset_ms(), 0);
}

#[tokio::test]
async fn a_guard_that_has_too_much_to_do_is_passed_by_and_not_blamed() {
    let net = Net::start(12, Over::Tcp).await;
    let client = net.hidden().await;
    send(&client, "before").await;
    let onion = client.inner.onion.as_ref().unwrap();
    let guards = onion.guards();
    net.world.lock().busy.insert(guards[0]);
    for number in 0..3 {
        send(&client, &number.to_string()).await;
    }
    assert_eq!(onion.guards(), guards);
    assert!(onion.state().machine.guards().all().iter().all(|guard| guard.silent.is_none()));
}

#[tokio::test]
async fn nodes_whose_keys_cannot_be_used_are_left_out_and_no_guard_is_blamed_for_them() {
    let net = Net::start(12, Over::Tcp).await;
    // Half of those that are in no way of the others.
    let bad: BTreeSet<_> = net.nodes().into_iter().take(5).collect();
    let now = net.world.lock().now();
    let mut records = net.records(now);
    for record in records.iter_mut().filter(|record| bad.contains(&record.node)) {
        record.onion.key = [0; 32].into();
    }
    let signed = records.into_iter().zip(&net.pairs).map(|(record, pair)| record.sign(&net.file.name, pair));
    let signed = signed.collect();
    net.world.lock().records = signed;
    let client = net.hidden().await;
    for _ in 0..10 {
        client.rebuild_paths();
        send(&client, "x").await;
    }
    let onion = client.inner.onion.as_ref().unwrap();
    let silent: Vec<_> =
        onion.state().machine.guards().all().iter().filter(|guard| guard.silent.is_some()).cloned().collect();
    assert!(silent.iter().all(|guard| bad.contains(&guard.node)), "{silent:?}");
}

#[tokio::test]
async fn a_hop_that_lost_its_sessions_is_greeted_again_on_the_same_path() {
    let net = Net::start(8, Over::Tcp).await;
    let client = net.hidden().await;
    send(&client, "before").await;
    let hops = sending(&client);
    for pair in &net.pairs {
        net.world.lock().forget_sessions(&net.file.name, pair);
    }
    send(&client, "after").await;
    assert_eq!(sending(&client), hops);
    assert_eq!(texts(&client, &account(2)).await, some(&["before", "after"]));
}

#[tokio::test]
async fn each_account_and_sending_have_paths_of_their_own() {
    let net = Net::start(12, Over::Tcp).await;
    let client = net.hidden().await;
    send(&client, "one").await;
    for number in [2, 3] {
        client.inbox(&account(number)).await.unwrap();
    }
    let uses: BTreeSet<_> = client.paths().iter().map(|path| path.usage).collect();
    let reads = |number| Use::Read(account(number).id());
    // What is kept for the sender's own devices goes another way than what was sent.
    assert_eq!(uses, [Use::Send, Use::Copy, reads(2), reads(3)].into());
    // Given up, they are others.
    client.rebuild_paths();
    assert_eq!(client.paths(), []);
    let accounts: [AccountId; 1] = [account(2).id()];
    let made = client.prepare_paths(&accounts).await.unwrap();
    assert!(made.iter().all(|path| path.state == State::Ready && path.hops.len() == 3));
    assert!(made.iter().flat_map(|path| &path.hops).all(|hop| hop.address.is_some()));
}

#[tokio::test]
async fn a_watch_over_a_path_brings_everything_once() {
    let net = Net::start(12, Over::Tcp).await;
    let (client, sender) = (net.hidden().await, net.hidden().await);
    send(&sender, "waiting").await;
    let mut watch = client.watch(&account(2), Cursors::new(), []).await.unwrap();
    assert_eq!(super::watch::next(&mut watch).await, "waiting");
    for number in 0..10 {
        send(&sender, &number.to_string()).await;
        assert_eq!(super::watch::next(&mut watch).await, number.to_string());
    }
    drop(watch);
    let again = client.watch(&account(2), Cursors::new(), []).await.unwrap();
    let all: Vec<_> = timeout(PATIENCE, again.take(11).collect()).await.unwrap();
    assert_eq!(all.len(), 11);
}

#[tokio::test]
async fn answers_of_a_watch_are_of_one_length_whatever_there_is_to_read() {
    let net = Net::start(12, Over::Tcp).await;
    let (client, bob) = (net.hidden().await, account(2));
    let mut expected = BTreeSet::new();
    let mut store = async |lengths: &[usize]| {
        for length in lengths {
            let data = vec![expected.len() as u8; *length];
            expected.insert(client.store(&bob.id(), Namespace::INBOX, data, TTL, None).await.unwrap().hash);
        }
    };
    // More than one page, and then some that are longer than a page by themselves.
    store(&[900; 20]).await;
    let mut watch = client.watch_namespace(&bob, Namespace::INBOX, Cursors::new(), []).await.unwrap();
    store(&[10_000, 99, 70_000, 900]).await;
    let came = async {
        let mut came = BTreeSet::new();
        while came.len() < expected.len() {
            assert!(came.insert(watch.next().await.unwrap().hash), "it came twice");
        }
        came
    };
    assert_eq!(timeout(PATIENCE, came).await.unwrap(), expected);
    let world = net.world.lock();
    assert!(world.frames.len() > 1 && world.frames.iter().all(|room| *room == Bucket::ALL[0].capacity()));
    let large = answer_len(Bucket::ALL[3], Position::Destination);
    assert!(world.tap.iter().any(|seen| seen.answer.len() == large), "the rest was read apart");
}

#[tokio::test]
async fn guards_are_kept_at_home_and_never_replaced_unasked() {
    let net = Net::start(12, Over::Tcp).await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let options = || Options { home: Some(home.clone()), ..Options::default() };
    let client = Client::connect(net.file.clone(), options()).await.unwrap();
    send(&client, "one").await;
    let guards = client.inner.onion.as_ref().unwrap().guards();
    assert_eq!(guards.len(), 2);
    let again = Client::connect(net.file.clone(), options()).await.unwrap();
    send(&again, "two").await;
    assert_eq!(again.inner.onion.as_ref().unwrap().guards(), guards);
    // Of another network there are others.
    let other = session_chain::network::NetworkFile { seed: [9; 32], ..net.file.clone() };
    let other = Client::connect(other, options()).await.unwrap();
    assert!(other.inner.onion.as_ref().unwrap().guards().is_empty());

    let file = std::fs::read_dir(home.path().join("guards")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let error = Client::connect(net.file.clone(), options()).await.unwrap_err();
    let ClientError::Guards(HomeError::Broken { path, remedy, .. }) = &error else { panic!("{error}") };
    assert_eq!((path, *remedy, std::fs::read(&file).unwrap()), (&file, error.remedy(), bytes));
}

#[tokio::test]
async fn guards_are_the_last_to_be_asked() {
    let net = Net::start(12, Over::Tcp).await;
    let client = net.hidden().await;
    send(&client, "x").await;
    let guards: BTreeSet<_> = client.inner.onion.as_ref().unwrap().guards().into_iter().collect();
    for _ in 0..20 {
        let order = client.inner.order(&net.nodes(), Protocol::Storage);
        assert_eq!(order[10..].iter().copied().collect::<BTreeSet<_>>(), guards);
    }
}

#[tokio::test]
async fn programs_with_one_home_have_the_guards_in_it_and_no_others() {
    let net = Net::start(12, Over::Tcp).await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let options = Options { home: Some(home.clone()), ..Options::default() };
        clients.push(Client::connect(net.file.clone(), options).await.unwrap());
    }
    // None of them knew of the others when it began.
    futures::future::join_all(clients.iter().map(|client| send(client, "at once"))).await;
    let first: BTreeSet<_> =
        net.world.lock().tap.iter().filter(|seen| !seen.inside).map(|seen| seen.at).collect();
    assert!(first.len() <= 2, "{first:?}");
    for client in &clients {
        let guards = client.inner.onion.as_ref().unwrap().guards();
        assert!(first.is_subset(&guards.into_iter().collect()), "{first:?}");
    }
}

#[tokio::test]
async fn no_guard_is_used_that_cannot_be_kept() {
    let net = Net::start(12, Over::Tcp).await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    // Nothing can be changed where a folder stands in the place of the lock, whoever runs this.
    let lock = home.path().join("lock");
    let _ = std::fs::remove_file(&lock);
    std::fs::create_dir(&lock).unwrap();
    let options = Options { home: Some(home.clone()), ..Options::default() };
    let client = Client::connect(net.file.clone(), options).await.unwrap();
    let error = client.inbox(&account(2)).await.unwrap_err();
    assert_eq!(error.code(), "guards_unkept", "{error}");
    assert!(error.remedy().contains("home folder"));
    assert!(net.world.lock().tap.is_empty() && client.inner.onion.as_ref().unwrap().guards().is_empty());
    std::fs::remove_dir(&lock).unwrap();
    let again = async { while client.inbox(&account(2)).await.is_err() {} };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn straight_is_refused_where_the_network_is_not_local() {
    let net = Net::start(4, Over::Tcp).await;
    let file = session_chain::network::NetworkFile { local: false, ..net.file.clone() };
    let error = Client::connect(file, Options { direct: true, ..Options::default() }).await.unwrap_err();
    assert_eq!(error.code(), "not_local");
}

#[tokio::test]
async fn a_network_that_is_too_small_for_paths_says_what_is_missing() {
    let net = Net::start(3, Over::Tcp).await;
    let error = net.hidden().await.inbox(&account(2)).await.unwrap_err();
    assert_eq!(error.code(), "no_path");
    assert!(error.to_string().contains("3 of the network's 3 nodes"), "{error}");
}
