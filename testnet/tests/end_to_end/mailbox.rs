//! What nodes keep of an account: read at once, deleted, shortened and shared, over onion paths and by commands.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use session_client::{
    Account, Changed, Chosen, Client, ClientError, Cursors, Deed, Expiries, Options, Outcome,
};
use session_protocols::{
    KeyPair, MessageHash, Namespace,
    answer::{Code, End},
    request::{Condition, Direction, Drawers, Rights},
};
use session_testnet::Options as Testnet;

use crate::{
    person::Person,
    support::{PATIENCE, Place},
};

const PRIVATE: Namespace = Namespace(7);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_its_owners_to_end_and_to_share() {
    let place = Place::new();
    let options = Testnet { nodes: Some(8), chain: false, ..Testnet::default() };
    place.testnet.up(&options, &mut |_, _| {}).await.unwrap();
    let network = place.testnet.folder().network().unwrap();
    // No `direct`: each request travels over three hops.
    let client = Client::connect(network, Options::default()).await.unwrap();
    ends(&client).await;
    whole_drawers(&client).await;
    shared(&client).await;
    several_at_once(&client).await;
    in_turn(&client).await;
    asked_and_watched(&client).await;
    assert!(client.paths().iter().all(|path| path.hops.len() == 3) && !client.paths().is_empty());
    by_commands(&place);
}

async fn put(client: &Client, owner: &Account, namespace: Namespace, data: Vec<u8>) -> MessageHash {
    let stored = client.store(&owner.id(), namespace, data, DAY, Some(owner.into())).await.unwrap();
    stored.hash
}

async fn ends(client: &Client) {
    let owner = Account::generate().unwrap();
    let mut hashes = Vec::new();
    for number in 0..3 {
        hashes.push(put(client, &owner, PRIVATE, vec![number]).await);
    }
    let now = client.now_ms();
    let (hour, week) = (now + 3_600_000, now + 7 * 86_400_000);
    let shortened = client.expire(&owner, &hashes, hour, Some(Direction::Shorten)).await.unwrap();
    assert_eq!(shortened.hashes, hashes);
    assert!(2 * shortened.stored > shortened.swarm, "{shortened:?}");
    // None ends later than that.
    assert_eq!(client.expire(&owner, &hashes, week, Some(Direction::Shorten)).await.unwrap().hashes, []);
    assert_eq!(
        client.expire(&owner, &hashes[..1], week, Some(Direction::Extend)).await.unwrap().hashes,
        hashes[..1]
    );
    let each = [End { hash: hashes[1], expiry: week - 1_000 }, End { hash: hashes[2], expiry: hour - 1_000 }];
    let changed = client.expire_each(&owner, &each, None).await.unwrap();
    assert_eq!(changed.hashes, hashes[1..]);
    let mut found = client.expiries(&owner, None).await.unwrap();
    assert!(!found.more);
    found.ends.sort_by_key(|end| end.expiry);
    let first = End { hash: hashes[0], expiry: week };
    assert_eq!(found.ends, [each[1], each[0], first]);
    let one = client.expiries(&owner, Some(&[MessageHash([0; 32]), hashes[0]])).await.unwrap();
    assert_eq!(one, Expiries { ends: vec![first], more: false });
}

async fn whole_drawers(client: &Client) {
    let owner = Account::generate().unwrap();
    for number in 0..3 {
        put(client, &owner, PRIVATE, vec![number]).await;
        put(client, &owner, Namespace::INBOX, vec![number]).await;
    }
    let early = client.now_ms();
    while client.now_ms() <= early {
        tokio::task::yield_now().await;
    }
    let late = put(client, &owner, PRIVATE, vec![9]).await;
    let soon = client.now_ms() + 3_600_000;
    let shortened = client.expire_all(&owner, Drawers::One(PRIVATE), soon).await.unwrap();
    assert_eq!(shortened.hashes.len(), 4);
    assert_eq!(client.delete_before(&owner, Drawers::One(PRIVATE), early).await.unwrap().hashes.len(), 3);
    let left = client.expiries(&owner, None).await.unwrap().ends;
    assert_eq!(left.len(), 4);
    assert!(left.contains(&End { hash: late, expiry: soon }), "{left:?}");
    let deleted = client.delete_all(&owner, Drawers::All).await.unwrap();
    assert_eq!(deleted.hashes.len(), 4);
    assert!(2 * deleted.stored > deleted.swarm, "{deleted:?}");
    assert_eq!(client.expiries(&owner, None).await.unwrap().ends, []);
}

/// Somebody reads and writes in the owner's place, and no more once the owner says so.
async fn shared(client: &Client) {
    let owner = Account::generate().unwrap();
    let key = KeyPair::from_seed(&[9; 32]);
    let grant = owner.grant(Rights::READ.and(Rights::WRITE), &key.public());
    let (by, token) = ((&grant, &key), grant.token());
    let stored = client.store(&owner.id(), PRIVATE, b"ours".to_vec(), DAY, Some(by.into())).await.unwrap();
    let read = async || client.retrieve(by, PRIVATE, &mut Cursors::new()).await;
    assert_eq!(read().await.unwrap().messages[0].hash, stored.hash);
    let later = client.now_ms() + 2 * 86_400_000;
    assert_eq!(client.expire(by, &[stored.hash], later, None).await.unwrap().hashes, [stored.hash]);
    let unauthorized = |error: ClientError| {
        assert!(matches!(error, ClientError::Refused { code: Code::Unauthorized, .. }), "{error}");
    };
    unauthorized(client.delete(by, &[stored.hash]).await.unwrap_err());
    assert_eq!(client.revoke(&owner, &[token]).await.unwrap().tokens, [token]);
    assert_eq!(client.revoked(&owner).await.unwrap(), [token]);
    unauthorized(read().await.unwrap_err());
    assert_eq!(client.unrevoke(&owner, &[token]).await.unwrap().tokens, [token]);
    assert_eq!(client.revoked(&owner).await.unwrap(), []);
    assert_eq!(read().await.unwrap().messages.len(), 1);
}

async fn several_at_once(client: &Client) {
    let owner = Account::generate().unwrap();
    let first = put(client, &owner, PRIVATE, vec![1]).await;
    let second = put(client, &owner, PRIVATE, vec![2]).await;
    let other = put(client, &owner, Namespace::INBOX, vec![3]).await;
    let soon = client.now_ms() + 3_600_000;
    let deeds = [
        Deed::Retrieve { namespace: PRIVATE, after: Some(first) },
        Deed::Delete(vec![other]),
        Deed::Expire { hashes: vec![first], expiry_ms: soon, only: None },
        Deed::Expire { hashes: vec![first], expiry_ms: 1, only: None },
        Deed::Expiries(Some(vec![second])),
    ];
    let outcomes = client.batch(&owner, &deeds).await.unwrap();
    let [
        Outcome::Page(page),
        Outcome::Changed(deleted),
        Outcome::Changed(ended),
        Outcome::Refused(refused),
        Outcome::Expiries(ends),
    ] = outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!((page.messages[0].hash, page.messages.len(), page.more), (second, 1, false));
    assert_eq!((&deleted.hashes[..], &ended.hashes[..]), (&[other][..], &[first][..]));
    assert!([deleted, ended].into_iter().all(|Changed { stored, swarm, .. }| 2 * stored > *swarm));
    assert_eq!((*refused, ends.ends[0].hash), (Code::BadTtl, second));
    let left = client.expiries(&owner, None).await.unwrap().ends;
    assert!(left.len() == 2 && left.contains(&End { hash: first, expiry: soon }), "{left:?}");
    // More than one request may hold, and messages of which an answer holds one.
    for number in 0..3 {
        put(client, &owner, Namespace(8), vec![number; 60_000]).await;
    }
    let all = Deed::Retrieve { namespace: Namespace(8), after: None };
    let outcomes = client.batch(&owner, &vec![all; 25]).await.unwrap();
    assert_eq!(outcomes.len(), 25);
    let has = |outcome: &Outcome| matches!(outcome, Outcome::Page(page) if !page.messages.is_empty());
    assert!(outcomes.iter().all(has), "{outcomes:?}");
}

/// One after the other, and under conditions.
async fn in_turn(client: &Client) {
    let owner = Account::generate().unwrap();
    let hash = put(client, &owner, PRIVATE, vec![1]).await;
    let soon = client.now_ms() + 3_600_000;
    let expire = |expiry_ms| Deed::Expire { hashes: vec![hash], expiry_ms, only: None };
    let delete = Deed::Delete(vec![hash]);
    let outcomes = client.sequence(&owner, &[expire(soon), expire(1), delete.clone()]).await.unwrap();
    let [Outcome::Changed(ended), Outcome::Refused(Code::BadTtl)] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert_eq!(ended.hashes, [hash]);
    let then = [delete, Deed::Retrieve { namespace: PRIVATE, after: None }];
    let older = client.if_else(&owner, &[Condition::RulesBefore([1, 0])], &then, &[]).await.unwrap();
    assert_eq!(older, Chosen { condition: false, outcomes: Vec::new() });
    let chosen = client.if_else(&owner, &[Condition::RulesAtLeast([1, 0])], &then, &[]).await.unwrap();
    let [Outcome::Changed(deleted), Outcome::Page(page)] = chosen.outcomes.as_slice() else {
        panic!("{chosen:?}")
    };
    assert!(chosen.condition && deleted.hashes == [hash] && page.messages.is_empty(), "{chosen:?}");
}

async fn asked_and_watched(client: &Client) {
    let owner = Account::generate().unwrap();
    let swarm = client.get_swarm(&owner.id()).await.unwrap();
    let info = client.info(&swarm.members[0]).await.unwrap();
    assert_eq!(info.version.split('.').count(), 3, "{info:?}");
    assert!(info.time_ms.abs_diff(client.now_ms()) < 60_000, "{info:?}");
    let mut watch = client.watch_namespace(&owner, PRIVATE, Cursors::new(), []).await.unwrap();
    let hash = put(client, &owner, PRIVATE, vec![1]).await;
    let told = tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time").unwrap();
    assert_eq!(told.hash, hash);
    assert_eq!(client.delete(&owner, &[hash]).await.unwrap().hashes, [hash]);
}

fn by_commands(place: &Place) {
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(place, name));
    let sent: Vec<String> = ["one", "two", "three"]
        .map(|text| alice.data(&["send", &bob.id, text])["hash"].as_str().unwrap().to_owned())
        .to_vec();
    let ends =
        |of: &[&str]| bob.data(&[&["mailbox", "ends"], of].concat())["ends"].as_array().unwrap().clone();
    assert_eq!(ends(&[]).len(), 3);
    let before = ends(&[&sent[0]])[0]["expires"].as_u64().unwrap();
    let changed = bob.data(&["mailbox", "expire", "24", &sent[0]]);
    assert_eq!(changed["hashes"], json!([sent[0]]), "{changed}");
    assert!(ends(&[&sent[0]])[0]["expires"].as_u64().unwrap() < before);
    let same = bob.data(&["mailbox", "expire", "12", &sent[0], "--only", "extend"]);
    assert_eq!(same["hashes"], json!([]), "{same}");
    let all = bob.data(&["mailbox", "expire", "48", "--all"]);
    assert_eq!(all["hashes"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(bob.data(&["mailbox", "delete", &sent[1]])["hashes"], json!([sent[1]]));
    bob.refused(&["mailbox", "delete", "--all"], 4, "not_confirmed");
    assert_eq!(ends(&[]).len(), 2);
    let none = bob.data(&["mailbox", "delete", "--before", "1000", "--yes"]);
    assert_eq!(none["hashes"], json!([]), "{none}");
    let deleted = bob.data(&["mailbox", "delete", "--all", "--namespace", "0", "--yes"]);
    assert_eq!(deleted["hashes"].as_array().unwrap().len(), 2, "{deleted}");
    assert_eq!(ends(&[]), Vec::<Value>::new());
    let token = format!("0503{}", "0000".to_owned() + &"ab".repeat(32));
    assert_eq!(bob.data(&["mailbox", "revoke", &token])["tokens"], json!([token]));
    assert_eq!(bob.data(&["mailbox", "revoked"])["tokens"], json!([token]));
    assert_eq!(bob.data(&["mailbox", "unrevoke", &token])["tokens"], json!([token]));
    assert_eq!(bob.data(&["mailbox", "revoked"])["tokens"], json!([]));
}
