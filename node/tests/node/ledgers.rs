//! The ledgers of checkpoints, handed out by a real node to those who take them, and to those who do not.

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Stream, identity};
use session_protocols::{
    Protocol, codec,
    limits::{AdmissionRates, Rate},
    snapshot::{Answer, MAX_ANSWER, Request},
};
use tokio::time::timeout;

use crate::support::{PATIENCE, Plan, chain::Chain, metric, reaches, ready_says, stranger::Stranger};

const UNLIMITED: Rate = Rate { per_second: 1 << 30, burst: 1 << 30 };
/// Pages that one peer may hold, and streams of one connection.
const HELD: usize = 4;
/// The bytes of a stream that a slow reader is sent ahead: far fewer than a page has.
const WINDOW: u32 = 128;

const EPOCH: &str = "session_chain_epoch";
const ADMITTED: &str = "session_requests_total{method=\"ledger\"}";
const REFUSED: &str = "session_refused_total{code=\"429\"}";

/// Asks for the ledger of an epoch, and reads nothing.
async fn asks(stranger: &Stranger, epoch: u64) -> Stream {
    let mut stream = stranger.open(Protocol::Snapshot).await;
    // The node may end the stream before all is written.
    let _ = stream.write_all(&codec::encode(&Request::Ledger { epoch, from: 0 })).await;
    let _ = stream.close().await;
    stream
}

/// What a stream brings; none where it is ended without an answer.
async fn reads(mut stream: Stream) -> Option<Answer> {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the node ends it");
    read.ok()?;
    codec::decode(&answer, MAX_ANSWER).ok()
}

/// Whether somebody is given the ledger of an epoch.
async fn is_given(stranger: &Stranger, epoch: u64) -> bool {
    let answer = reads(asks(stranger, epoch).await).await;
    matches!(answer, Some(Answer::Ledger { head: Some(_), .. }))
}

/// The newest epoch whose ledger is handed out.
async fn newest(plan: &Plan, stranger: &Stranger) -> u64 {
    let mut ended = 1;
    loop {
        reaches(plan.http[0], EPOCH, ended).await;
        let epoch = metric(plan.http[0], EPOCH) - 1;
        if is_given(stranger, epoch).await {
            return epoch;
        }
        // It was told of this border, and is yet to keep what it hands out.
        ended += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_no_page_holds_few_and_not_for_long_and_others_get_theirs() {
    let mut plan = Plan::new(1);
    plan.rates = Some(AdmissionRates { neighbour: UNLIMITED, account: UNLIMITED, total: UNLIMITED });
    let chain = Chain::start(plan.folder.path()).await;
    plan.network.settlement = Some(chain.settlement.clone());
    let running = plan.start(0);
    ready_says(&plan.http, "not registered").await;
    let door = plan.http[0];
    let honest = Stranger::meet(&plan, 0).await;
    let epoch = newest(&plan, &honest).await;

    // It asks for as many pages as it may, and takes none of them.
    let key = identity::Keypair::generate_ed25519();
    let slow = Stranger::narrow(&key, &plan, 0, WINDOW).await;
    let admitted = metric(door, ADMITTED);
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(asks(&slow, epoch).await);
    }
    reaches(door, ADMITTED, admitted + HELD as u64).await;
    // Neither over this connection nor over another one it is given more.
    assert!(!is_given(&slow, epoch).await);
    let (again, refused) = (Stranger::narrow(&key, &plan, 0, WINDOW).await, metric(door, REFUSED));
    assert!(!is_given(&again, epoch).await);
    assert_eq!(metric(door, REFUSED), refused + 1);
    assert_eq!(metric(door, ADMITTED), admitted + HELD as u64);

    // Many open streams and say nothing.
    let (mut strangers, mut silent) = (Vec::new(), Vec::new());
    for _ in 0..16 {
        let stranger = Stranger::meet(&plan, 0).await;
        for _ in 0..HELD {
            silent.push(stranger.open(Protocol::Snapshot).await);
        }
        assert!(is_given(&honest, epoch).await, "others get theirs meanwhile");
        strangers.push(stranger);
    }
    assert!(is_given(&Stranger::meet(&plan, 0).await, epoch).await, "whoever is new, too");

    // A stream that says nothing is ended in time; those before it were, by then.
    let clock = honest.open(Protocol::Snapshot).await;
    assert_eq!(reads(clock).await, None);
    let epoch = newest(&plan, &honest).await;
    assert!(is_given(&again, epoch).await, "the slow one has room again");
    for stream in held.into_iter().chain(silent) {
        assert_eq!(reads(stream).await, None, "what is not taken in time is not given");
    }
    running.stop().await;
}
