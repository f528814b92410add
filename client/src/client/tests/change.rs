//! Swarms that change while somebody writes and reads.

use session_protocols::{Maps, SwarmMap};

use super::*;

/// The map after this one: all swarms change places.
fn after(map: &SwarmMap) -> SwarmMap {
    let members = map.swarms.values().cycle().skip(1).cloned();
    SwarmMap { version: map.version + 1, swarms: map.swarms.keys().copied().zip(members).collect() }
}

#[tokio::test]
async fn a_mailbox_that_moves_is_followed_and_nothing_is_lost() {
    let net = Net::start(12, Over::Tcp).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    let old = net.file.ledger().map().clone();
    let new = after(&old);
    let (before, members) = (old.members_of(&bob.id()), new.members_of(&bob.id()));
    assert_ne!(before, members);
    client.send(&alice, &bob.id(), "before").await.unwrap();
    net.world.lock().tell(&Maps { next: Some(new.clone()), ..Maps::from(old.clone()) });
    let sent = client.send(&alice, &bob.id(), "while").await.unwrap();
    assert!(sent.stored > before.len() / 2, "{sent:?}");
    let named = client.get_swarm(&bob.id()).await.unwrap();
    assert_eq!((named.map_version, &named.members[..]), (1, before), "it acts until the border");

    net.world.lock().tell(&Maps { past: Some(old.clone()), ..Maps::from(new.clone()) });
    assert_eq!(texts(&client, &bob).await, some(&["before", "while"]));
    let sent = client.send(&alice, &bob.id(), "after").await.unwrap();
    assert!(sent.stored > members.len() / 2, "{sent:?}");
    let named = client.get_swarm(&bob.id()).await.unwrap();
    assert_eq!((named.map_version, &named.members[..]), (2, members));
    assert_eq!(texts(&client, &bob).await, some(&["before", "while", "after"]));
}

#[tokio::test]
async fn the_old_majority_alone_is_not_enough_while_a_swarm_changes() {
    let mut net = Net::start(12, Over::Tcp).await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    let old = net.file.ledger().map().clone();
    let new = after(&old);
    let members = new.members_of(&bob.id()).to_vec();
    net.world.lock().tell(&Maps { next: Some(new), ..Maps::from(old.clone()) });
    for node in &members[..members.len().div_ceil(2)] {
        net.kill(*node).await;
    }
    let error = timeout(PATIENCE, client.send(&alice, &bob.id(), "x")).await.unwrap().unwrap_err();
    // Who has it counts to a majority of the old members, and is not told.
    assert!(matches!(error, ClientError::NotDurable { durable: 0, .. }), "{error}");
}
