//! A small network of real nodes in one process: they find each other, become ready and stop.

use std::net::{Ipv4Addr, TcpListener};

use session_node::{NodeError, keystore, run};

use crate::support::{Plan, free, get, wait};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_find_each_other_and_a_minority_is_not_ready() {
    let mut plan = Plan::new(5);
    let mut running: Vec<_> = (0..5).map(|index| plan.start(index)).collect();
    wait(&plan.http, 200).await;
    let (_, metrics) = get(plan.http[0], "/metrics").unwrap();
    for name in ["session_ready 1", "session_commit_seconds_count", "libp2p_swarm_connections_established"] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    // Three of five leave: the others are cut off from their majority, and say so.
    for one in running.drain(2..) {
        one.stop().await;
    }
    wait(&plan.http[..2], 503).await;
    // One returns, at other ports: a majority is together again.
    plan.listen[4] = free(Ipv4Addr::new(127, 0, 5, 1));
    let returned = plan.start(4);
    wait(&[plan.http[0], plan.http[1], plan.http[4]], 200).await;
    returned.stop().await;
    for one in running {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_has_one_node() {
    let plan = Plan::new(1);
    let first = plan.start(0);
    wait(&plan.http, 200).await;
    let second = run(plan.config(0), std::future::ready(())).await;
    assert!(matches!(second, Err(NodeError::InUse { .. })), "{second:?}");
    first.stop().await;
    // The lock went with the node.
    plan.start(0).stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_and_a_taken_port_are_told_apart() {
    let plan = Plan::new(2);
    let mut stranger = plan.config(0);
    stranger.data = plan.folder.path().join("stranger");
    keystore::create(&stranger.data).unwrap();
    let refused = run(stranger, std::future::pending()).await;
    assert!(matches!(refused, Err(NodeError::NotRegistered { .. })), "{refused:?}");
    let _taken = TcpListener::bind(plan.http[0]).unwrap();
    let refused = run(plan.config(0), std::future::pending()).await;
    assert!(matches!(refused, Err(NodeError::Http { .. })), "{refused:?}");
}
