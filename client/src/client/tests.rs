//! The client against fake members: honest, dead, silent and lying ones.

mod anew;
mod change;
mod directory;
mod fake;
mod membership;
mod names;
mod onion;
mod several;
mod tap;
mod watch;
mod world;

use std::time::Duration;

use serde_bytes::ByteBuf;
use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace, NodeId, Signature,
    answer::{Answer, Body, Code, Done, End, Message, Receipt, Refusal, Subject, SwarmInfo},
    request::{Direction, Drawers, Request, Rights},
};
use tokio::time::timeout;

use fake::{Net, Over};
use world::refusal;

use crate::{Account, Client, ClientError, Cursors, Deed, client::TTL};

const PATIENCE: Duration = Duration::from_secs(20);

fn account(number: u8) -> Account {
    Account::new(&[number; 16])
}

async fn texts(client: &Client, account: &Account) -> Vec<Option<String>> {
    let items = client.inbox(account).await.unwrap();
    items.into_iter().map(|item| item.content.unwrap().text).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[tokio::test]
async fn a_text_arrives_and_the_copy_stays_out_of_sight() {
    let net = Net::start(5, Over::Quic).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    let sent = client.send(&alice, &bob.id(), "hello").await.unwrap();
    assert!((3..=5).contains(&sent.stored) && sent.swarm == 5);
    assert!(sent.copy.unwrap().is_ok());
    let items = client.inbox(&bob).await.unwrap();
    assert_eq!((items.len(), items[0].hash, items[0].timestamp_ms), (1, sent.hash, sent.timestamp_ms));
    assert_eq!(items[0].content.as_ref().unwrap().from, alice.id());
    assert_eq!(texts(&client, &alice).await, []);
    let copies = client.retrieve(&alice, Namespace::INBOX, &mut Cursors::new()).await.unwrap();
    assert_eq!(copies.messages.len(), 1);
    // Members who compare what they keep find no number that is in both.
    let kept = client.retrieve(&bob, Namespace::INBOX, &mut Cursors::new()).await.unwrap();
    let (copy, message) = (&copies.messages[0], &kept.messages[0]);
    let life = |message: &Message| Duration::from_millis(message.expiry - message.timestamp);
    for life in [life(copy), life(message)] {
        assert!((TTL - Duration::from_secs(7_200)..=TTL - Duration::from_secs(3_600)).contains(&life));
    }
    assert_ne!(life(copy), life(message));
    assert_ne!(copy.expiry, message.expiry);
    let own = client.send(&alice, &alice.id(), "note").await.unwrap();
    assert!(own.copy.is_none());
    assert_eq!(texts(&client, &alice).await, some(&["note"]));
}

#[tokio::test]
async fn cursors_go_on_where_they_ended() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    let mut cursors = Cursors::new();
    for text in ["one", "two"] {
        client.send(&alice, &bob.id(), text).await.unwrap();
        let page = client.retrieve(&bob, Namespace::INBOX, &mut cursors).await.unwrap();
        assert_eq!((page.messages.len(), page.more), (1, false));
        cursors = Cursors::from_bytes(&cursors.to_bytes()).unwrap();
    }
    assert_eq!(texts(&client, &bob).await, some(&["one", "two"]));
}

#[tokio::test]
async fn more_than_one_page_is_read_to_its_end() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let bob = account(2);
    for number in 0..20_u8 {
        let stored = client.store(&bob.id(), Namespace::INBOX, vec![number; 70_000], super::TTL, None).await;
        assert_eq!(stored.unwrap().swarm, 5);
    }
    let items = client.inbox(&bob).await.unwrap();
    assert_eq!(items.len(), 20, "more than a page holds");
    assert!(items.iter().all(|item| item.content.is_err()));
}

#[tokio::test]
async fn what_cannot_be_opened_stops_nothing() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    client.send(&alice, &bob.id(), "before").await.unwrap();
    client.store(&bob.id(), Namespace::INBOX, b"\xff hostile".to_vec(), super::TTL, None).await.unwrap();
    client.send(&alice, &bob.id(), "after").await.unwrap();
    let items = client.inbox(&bob).await.unwrap();
    let opened =
        items.iter().filter_map(|item| item.content.as_ref().ok()).map(|message| message.text.clone());
    assert_eq!((items.len(), opened.collect::<Vec<_>>()), (3, some(&["before", "after"])));
}

#[tokio::test]
async fn a_batch_that_names_too_many_messages_is_not_sent() {
    let mut net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    for node in net.nodes() {
        net.kill(node).await;
    }
    let deeds = [Deed::Expiries(None), Deed::Delete(vec![MessageHash([1; 32]); 151])];
    let refused = client.batch(&account(1), &deeds).await.unwrap_err();
    assert!(matches!(refused, ClientError::TooManyNamed { named: 151, most: 150 }), "{refused}");
}

#[tokio::test]
async fn the_dead_and_the_silent_are_passed_by() {
    let mut net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let nodes = net.nodes();
    for node in &nodes[..2] {
        net.kill(*node).await;
    }
    net.world.lock().lie(nodes[2], Box::new(|_, _| None));
    let (alice, bob) = (account(1), account(2));
    for text in ["one", "two", "three"] {
        let sent = client.send(&alice, &bob.id(), text).await.unwrap();
        assert_eq!((sent.stored, sent.swarm), (3, 5));
    }
    assert_eq!(texts(&client, &bob).await, some(&["one", "two", "three"]));
}

#[tokio::test]
async fn without_a_majority_the_error_says_how_many_have_it() {
    let mut net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    for node in net.nodes().into_iter().skip(2) {
        net.kill(node).await;
    }
    let error =
        timeout(PATIENCE, client.send(&account(1), &account(2).id(), "x")).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::NotDurable { durable: 1..=2, wanted: 3, swarm: 5, .. }), "{error}");
    assert_eq!(error.code(), "not_durable");
    for node in net.nodes().into_iter().take(2) {
        net.kill(node).await;
    }
    let error = timeout(PATIENCE, client.inbox(&account(2))).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { asked: 5, swarm: 5, .. }), "{error}");
}

/// Changes the receipts of every answer to a store.
fn twist_receipts(net: &Net, twist: fn(NodeId, &mut Body)) {
    for node in net.nodes() {
        let lie = move |_: &Request, mut answer: Answer| {
            twist(node, &mut answer.body);
            Some(answer)
        };
        net.world.lock().lie(node, Box::new(lie));
    }
}

#[tokio::test]
async fn forged_receipts_are_not_counted() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    // The first member's true receipt at most, again and again; the others' signatures are nothing.
    twist_receipts(&net, |_, body| {
        let Body::Stored { receipts, .. } = body else { return };
        let first = session_protocols::KeyPair::from_seed(&[1; 32]).node_id();
        for receipt in &mut receipts.signed {
            if receipt.node != first {
                receipt.signature = Signature([7; 64]);
            }
        }
        let again = receipts.signed.iter().filter(|receipt| receipt.node == first).cloned();
        let again: Vec<_> = again.flat_map(|receipt| vec![receipt; 9]).collect();
        receipts.signed.extend(again);
    });
    let error = client.send(&account(1), &account(2).id(), "x").await.unwrap_err();
    match error {
        ClientError::NotDurable { durable, wanted, swarm, .. } => {
            assert_eq!((durable, wanted, swarm), (1, 3, 5))
        }
        other => assert_eq!(other.code(), "disbelieved", "{other}"),
    }
}

#[tokio::test]
async fn receipts_of_several_refusals_count_together() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    twist_receipts(&net, |node, body| {
        let Body::Stored { receipts, .. } = body else { return };
        receipts.signed.retain(|receipt| receipt.node == node);
        let receipts = Some(receipts.clone());
        *body = Body::Refused(Refusal { code: Code::NotReady, swarm: None, receipts });
    });
    let sent = client.send(&account(1), &account(2).id(), "x").await.unwrap();
    assert_eq!((sent.stored, sent.swarm), (3, 5));
}

#[tokio::test]
async fn a_message_that_is_not_its_hash_is_refused() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    client.send(&alice, &bob.id(), "true").await.unwrap();
    let nodes = net.nodes();
    let lie = |_: &Request, mut answer: Answer| {
        if let Body::Messages { messages, .. } = &mut answer.body {
            messages[0].data = ByteBuf::from(b"something else".to_vec());
        }
        Some(answer)
    };
    for node in &nodes[..4] {
        net.world.lock().lie(*node, Box::new(lie));
    }
    assert_eq!(texts(&client, &bob).await, some(&["true"]));
    net.world.lock().lie(nodes[4], Box::new(lie));
    let error = client.inbox(&bob).await.unwrap_err();
    assert_eq!(error.code(), "disbelieved");
}

#[tokio::test]
async fn strangers_are_not_followed() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    let point = |members: Vec<NodeId>| {
        let map_version = net.file.ledger().map().version + 1;
        let id = net.file.ledger().map().swarm_of(&bob.id()).unwrap();
        for node in net.nodes() {
            let swarm = Some(SwarmInfo { map_version, id, members: members.clone() });
            let body = Body::Refused(Refusal { code: Code::WrongSwarm, swarm, receipts: None });
            let lie = move |_: &Request, answer: Answer| Some(Answer { body: body.clone(), ..answer });
            net.world.lock().lie(node, Box::new(lie));
        }
    };
    // Strangers, and one node that would be a majority of its own.
    let strangers = (101..106).map(|byte| NodeId::from_bytes([byte; 32])).collect();
    for members in [strangers, vec![net.nodes()[0]]] {
        point(members);
        let error = client.send(&alice, &bob.id(), "x").await.unwrap_err();
        assert!(matches!(error, ClientError::Refused { code: Code::WrongSwarm, .. }), "{error}");
    }
}

#[tokio::test]
async fn receipts_of_an_older_map_are_not_counted() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let map = net.file.ledger().map().clone();
    let (network, pairs) = (net.file.name.clone(), net.pairs.clone());
    for node in net.nodes() {
        let (network, pairs) = (network.clone(), pairs.clone());
        let lie = move |request: &Request, mut answer: Answer| {
            if let (Request::Store(store), Body::Stored { hash, receipts, .. }) = (request, &mut answer.body)
            {
                receipts.map_version = map.version - 1;
                let subject =
                    Subject::Message { account: store.account, namespace: store.namespace, hash: *hash };
                let sign = |pair: &KeyPair| {
                    Receipt::sign(
                        pair,
                        &network,
                        map.version - 1,
                        &subject,
                        Done::Keeps { expiry: store.expiry },
                    )
                };
                receipts.signed = pairs.iter().map(sign).collect();
            }
            Some(answer)
        };
        net.world.lock().lie(node, Box::new(lie));
    }
    let error = client.send(&account(1), &account(2).id(), "x").await.unwrap_err();
    assert_eq!(error.code(), "disbelieved", "{error}");
}

#[tokio::test]
async fn the_clock_follows_the_nodes() {
    for (hours, hidden) in [(-1, false), (1, false), (-1, true), (1, true)] {
        let net = Net::start(8, Over::Tcp).await;
        net.world.lock().offset_ms = hours * 3_600_000;
        net.announce();
        let (alice, bob) = (account(1), account(2));
        let client = if hidden { net.hidden().await } else { net.client().await };
        client.send(&alice, &bob.id(), "late").await.unwrap();
        assert_eq!(texts(&client, &bob).await, some(&["late"]));
        let wrong = client.now_ms().abs_diff(net.world.lock().now().as_millis());
        assert!(wrong < 2_000, "{wrong} ms");
        if let Some(onion) = &client.inner.onion {
            let guards = onion.guards();
            assert!(guards.len() <= 2 && !net.world.lock().tap.is_empty(), "{guards:?}");
        }
    }
}

#[tokio::test]
async fn whoever_has_the_wrong_time_reads_and_changes_all_the_same() {
    for (hours, hidden) in [(-1, false), (1, false), (-1, true), (1, true)] {
        let net = Net::start(8, Over::Tcp).await;
        net.world.lock().offset_ms = hours * 3_600_000;
        net.announce();
        let (alice, bob) = (account(1), account(2));
        // Each time a program that knows nothing of the time.
        let client = async || if hidden { net.hidden().await } else { net.client().await };
        let sent = client().await.send(&alice, &bob.id(), "late").await.unwrap();
        assert_eq!(texts(&client().await, &bob).await, some(&["late"]));
        assert_eq!(client().await.expiries(&bob, None).await.unwrap().ends[0].hash, sent.hash);
        assert_eq!(client().await.revoked(&bob).await.unwrap(), []);
        let deleted = client().await.delete_all(&bob, Drawers::All).await.unwrap();
        assert_eq!(deleted.hashes, [sent.hash], "{hours} {hidden}");
        let token = alice.grant(Rights::READ, &[9; 32]).token();
        assert_eq!(client().await.revoke(&alice, &[token]).await.unwrap().tokens, [token]);
    }
}

#[tokio::test]
async fn refusals_that_all_would_give_need_two_witnesses() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    let nodes = net.nodes();
    net.world.lock().lie(nodes[0], refusal(Code::Unauthorized));
    net.world.lock().lie(nodes[1], refusal(Code::TooMany));
    for text in ["one", "two", "three", "four"] {
        client.send(&alice, &bob.id(), text).await.unwrap();
    }
    // A private namespace wants the owner's signature, and gets it.
    let private = Namespace(7);
    let error = client.store(&bob.id(), private, vec![1], super::TTL, None).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: Code::Unauthorized, .. }), "{error}");
    client.store(&bob.id(), private, vec![1], super::TTL, Some((&bob).into())).await.unwrap();
}

#[tokio::test]
async fn messages_are_deleted_and_their_ends_changed() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    let one = client.send(&alice, &bob.id(), "one").await.unwrap().hash;
    let two = client.send(&alice, &bob.id(), "two").await.unwrap().hash;
    let expiry = client.now_ms() + 3_600_000;
    let changed = client.expire(&bob, &[one, two], expiry, Some(Direction::Shorten)).await.unwrap();
    assert_eq!(changed.hashes, [one, two]);
    assert_eq!(client.inbox(&bob).await.unwrap()[0].expiry_ms, expiry);
    let unknown = session_protocols::MessageHash([0; 32]);
    let changed = client.delete(&bob, &[unknown, one]).await.unwrap();
    assert_eq!((changed.hashes, changed.swarm), (vec![one], 5));
    assert!(changed.stored >= 3);
    assert_eq!(texts(&client, &bob).await, some(&["two"]));
    let [later, sooner] = [expiry + 3_600_000, expiry - 60_000];
    let three = client.send(&alice, &bob.id(), "three").await.unwrap().hash;
    let ends = [(three, sooner), (two, later)].map(|(hash, expiry)| End { hash, expiry });
    // Three ends later than that, two sooner: neither moves the wrong way.
    let changed = client.expire_each(&bob, &ends, Some(Direction::Extend)).await.unwrap();
    assert_eq!(changed.hashes, [two]);
    let changed = client.expire_each(&bob, &ends, None).await.unwrap();
    assert!(changed.hashes.contains(&three));
    let mut found = client.expiries(&bob, None).await.unwrap();
    found.ends.sort_by_key(|end| end.expiry);
    assert_eq!((found.ends, found.more), (ends.to_vec(), false));
    assert_eq!(client.expiries(&bob, Some(&[one, two])).await.unwrap().ends, ends[1..]);
}

#[tokio::test]
async fn whole_drawers_are_emptied_and_shortened_beyond_what_one_request_changes() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let bob = account(2);
    let private = Namespace(7);
    let put = async |namespace: Namespace, count: u16| {
        for number in 0..count {
            let (data, by) = (number.to_be_bytes().to_vec(), Some((&bob).into()));
            client.store(&bob.id(), namespace, data, Duration::from_secs(86_400), by).await.unwrap();
        }
        client.now_ms()
    };
    let early = put(private, 160).await;
    while client.now_ms() <= early {
        tokio::task::yield_now().await;
    }
    put(Namespace::INBOX, 3).await;
    let count = async || client.expiries(&bob, None).await.unwrap().ends.len();
    assert_eq!(count().await, 163);
    let soon = client.now_ms() + 3_600_000;
    let shortened = client.expire_all(&bob, Drawers::One(private), soon).await.unwrap();
    assert_eq!((shortened.hashes.len(), shortened.swarm), (160, 5));
    let ends = client.expiries(&bob, None).await.unwrap().ends;
    assert_eq!(ends.iter().filter(|end| end.expiry == soon).count(), 160);
    // All drawers, as far as it was there then.
    let before = client.delete_before(&bob, Drawers::All, early).await.unwrap();
    assert_eq!(before.hashes.len(), 160);
    assert!(before.stored >= 3);
    assert_eq!(client.delete_all(&bob, Drawers::One(private)).await.unwrap().hashes, []);
    assert_eq!(client.delete_all(&bob, Drawers::All).await.unwrap().hashes.len(), 3);
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn a_subaccount_does_what_it_may_until_its_rights_are_taken_away() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let (owner, private) = (account(1), Namespace(7));
    let key = KeyPair::from_seed(&[9; 32]);
    let grant = owner.grant(Rights::READ.and(Rights::WRITE), &key.public());
    let (by, id) = ((&grant, &key), owner.id());
    let day = Duration::from_secs(86_400);
    let stored = client.store(&id, private, b"ours".to_vec(), day, Some(by.into())).await.unwrap();
    let page = client.retrieve(by, private, &mut Cursors::new()).await.unwrap();
    assert_eq!(page.messages[0].hash, stored.hash);
    let later = client.now_ms() + 2 * 86_400_000;
    assert_eq!(client.expire(by, &[stored.hash], later, None).await.unwrap().hashes, [stored.hash]);
    assert_eq!(client.expiries(by, None).await.unwrap().ends[0].expiry, later);
    let refused = |error: ClientError| {
        assert!(matches!(error, ClientError::Refused { code: Code::Unauthorized, .. }), "{error}");
    };
    refused(client.delete(by, &[stored.hash]).await.unwrap_err());
    // Whose key it is not.
    let other = KeyPair::from_seed(&[8; 32]);
    refused(client.retrieve((&grant, &other), private, &mut Cursors::new()).await.unwrap_err());

    assert_eq!(client.revoked(&owner).await.unwrap(), []);
    let revoked = client.revoke(&owner, &[grant.token()]).await.unwrap();
    assert_eq!((revoked.tokens, revoked.swarm), (vec![grant.token()], 5));
    assert!(revoked.stored >= 3);
    assert_eq!(client.revoked(&owner).await.unwrap(), [grant.token()]);
    refused(client.retrieve(by, private, &mut Cursors::new()).await.unwrap_err());
    let back = client.unrevoke(&owner, &[grant.token()]).await.unwrap();
    assert_eq!(back.tokens, [grant.token()]);
    assert_eq!(client.revoked(&owner).await.unwrap(), []);
    assert_eq!(client.retrieve(by, private, &mut Cursors::new()).await.unwrap().messages.len(), 1);
}

#[tokio::test]
async fn nodes_that_moved_are_found_through_the_others() {
    let net = Net::start(5, Over::Tcp).await;
    net.announce();
    let mut file = net.file.clone();
    // Nobody listens there.
    file.nodes[0].addresses = vec!["/ip4/127.0.1.1/tcp/1".to_owned()];
    let client = net.client_of(file).await;
    let info = client.info(&net.nodes()[0]).await.unwrap();
    assert_eq!(info.version, "1.2.3");
    let stranger = NodeId::from_bytes([9; 32]);
    assert_eq!(client.info(&stranger).await.unwrap_err().code(), "unknown_node");
}

#[tokio::test]
async fn texts_that_cannot_be_sent_are_refused_here() {
    let net = Net::start(1, Over::Tcp).await;
    let client = net.client().await;
    let error = client.send(&account(1), &account(2).id(), &"x".repeat(80_000)).await.unwrap_err();
    assert_eq!((error.code(), error.remedy()), ("not_sealed", "send a shorter text, or send it in parts"));
    let group = AccountId::from_bytes([3; 33]);
    assert_eq!(client.send(&account(1), &group, "x").await.unwrap_err().code(), "not_sealed");
}
