//! Swarms that change while somebody writes and reads.

use session_protocols::{Maps, SwarmMap};

use super::*;

/// The map after this one: all swarms change places.
fn after(map: &SwarmMap) -> SwarmMap {
    let members = map.swarms.values().cycle().skip(1).cloned();
    SwarmMap { version: map.version + 1, swarms: map.swarms.keys().copied().zip(members).collect() }
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
