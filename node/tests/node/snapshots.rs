//! Four real nodes sign one list of themselves; a client takes it from one, and then its changes from
//! another.

use futures::{AsyncReadExt, AsyncWriteExt};
use session_protocols::{
    Protocol, codec,
    directory::{self, Answer, Found, Page, Progress, Timing, Trusted},
};

use crate::support::{
    Plan, get, metric, reaches,
    stranger::{Stranger, now},
    wait,
};

const NODES: usize = 4;
const PERIOD: &str = "session_directory_snapshot_period";

async fn ask(stranger: &Stranger, request: &directory::Request) -> Answer {
    let mut stream = stranger.open(Protocol::Directory).await;
    stream.write_all(&codec::encode(request)).await.unwrap();
    stream.close().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    codec::decode(&answer, directory::MAX_ANSWER).unwrap()
}

/// What a node answers to somebody who trusts so far, and what comes of it.
async fn fetch(stranger: &Stranger, trusted: &Trusted) -> (Page, Found) {
    let download = trusted.download();
    let Answer::Snapshot(page) = ask(stranger, &download.request()).await else { panic!("no snapshot") };
    let Ok(Progress::Whole(found)) = download.take(page.clone()) else { panic!("not whole: {page:?}") };
    (page, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_sign_a_snapshot_and_serve_it_whole_and_by_changes() {
    let plan = Plan::new(NODES as u8);
    let running: Vec<_> = (0..NODES).map(|node| plan.start(node)).collect();
    wait(&plan.http, 200).await;
    for door in &plan.http {
        reaches(*door, "session_directory_snapshot_nodes", NODES as u64).await;
    }
    let (first, second) = (Stranger::meet(&plan, 0).await, Stranger::meet(&plan, 1).await);
    let members = plan.network.nodes.iter().map(|node| (node.id, node.prefix)).collect();
    let mut trusted = Trusted::new(plan.network.name.clone(), Timing::LOCAL, members);

    let (page, found) = fetch(&first, &trusted).await;
    assert_eq!((page.base, page.changes.len()), (None, NODES));
    assert_eq!(page.certificate.as_ref().unwrap().signatures.len(), 3, "more than two thirds of four");
    trusted.believe(now(), found).unwrap();
    for (record, node) in trusted.records(now()).zip(in_order(&plan)) {
        assert_eq!(record.node, plan.network.nodes[node].id);
        // A node speaks as soon as it listens on one of its endpoints, and names the others a little later.
        assert!(!record.endpoints.is_empty());
        assert!(record.endpoints.iter().all(|endpoint| plan.listen[node].contains(endpoint)));
    }
    let (_, status) = get(plan.http[0], "/status").unwrap();
    assert!(status.contains("\"snapshot\":{\"period\":"), "{status}");

    reaches(plan.http[1], PERIOD, page.period + 1).await;
    let (page, found) = fetch(&second, &trusted).await;
    assert!(page.base.is_some(), "{page:?}");
    assert_eq!(page.base.map(|base| *base), trusted.snapshot(now()).map(|known| known.hash()));
    trusted.believe(now(), found).unwrap();
    assert_eq!(trusted.records(now()).count(), NODES);

    // What is not there is not made up, and what nobody asked for is not believed.
    let nothing = directory::Request::Snapshot { hash: Some([7; 32].into()), have: None, from: 0 };
    assert_eq!(ask(&first, &nothing).await, Answer::Unknown);
    assert_eq!(metric(plan.http[0], "session_garbage_total{protocol=\"snapshots\"}"), 0);
    assert_eq!(metric(plan.http[0], "session_garbage_total{protocol=\"directory\"}"), 0);
    for one in running {
        one.stop().await;
    }
}

/// The nodes' places in the plan, in order of their ids.
fn in_order(plan: &Plan) -> Vec<usize> {
    let mut places: Vec<_> = (0..NODES).collect();
    places.sort_by_key(|place| plan.network.nodes[*place].id);
    places
}
