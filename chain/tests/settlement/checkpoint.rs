//! Ledgers that have begun, on a real chain whose old logs are far away or dropped: they go on with a checkpoint.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::{path::Path, sync::Arc};

use crate::support::{
    pace,
    proxy::{Fault, Proxy},
    through, until,
    world::{STAKE, World, registration, send, signed},
};
use alloy::sol_types::SolCall;
use session_chain::{
    ledger::snapshot::Beside,
    network::Settlement,
    settlement::{
        Ask, Begun, LiveLedger, Options, Replayed, Sender, Settled, Source, calls::Staking, replay,
        state::CHECKPOINTS, sync::Kept,
    },
};

/// Nodes at first.
const NODES: u8 = 5;

/// Registers the node of a seed, and returns its operator.
async fn register(world: &mut World, seed: u8) -> Sender {
    let staking = world.settlement.contracts.staking;
    let mut operator = world.person(seed, STAKE, staking).await;
    let beneficiary = operator.account();
    let registration = registration(&world.settlement, seed, beneficiary);
    let register = Staking::registerCall { registration, beneficiary }.abi_encode();
    send(&mut operator, staking, register).await;
    operator
}

/// A network of some nodes, and a ledger that follows it all the time.
async fn network(folder: &Path) -> (World, LiveLedger) {
    let mut world = World::new().await;
    let live = world.follow(&folder.join("live.redb"));
    for seed in 1..=NODES {
        register(&mut world, seed).await;
    }
    world.pass(1).await;
    world.pass(1).await;
    through(&live, &world.chain).await;
    (world, live)
}

/// Follows the chain to its end, and is off from then on.
async fn is_off(world: &World, path: &Path) {
    let off = world.follow(path);
    through(&off, &world.chain).await;
    off.stop().await;
}

/// Has the contract accept the last checkpoint of so many nodes. Returns what the ledger was behind it, and who hands
/// that out.
async fn accept(world: &World, live: &LiveLedger, operator: &mut Sender, nodes: u8) -> (Settled, Source) {
    through(live, &world.chain).await;
    let (settled, checkpoint) = (live.settled(), live.to_sign().unwrap());
    let submit = signed(&settled.ledger, &checkpoint, nodes, &[]);
    send(operator, world.settlement.contracts.checkpoints, submit).await;
    // What the contract says is asked of final blocks.
    world.chain.mine(4, 1).await;
    through(live, &world.chain).await;
    let (ledger, names) = (Arc::clone(&settled.behind), Arc::clone(&settled.names));
    let kept = Kept { beside: Beside::of(&checkpoint), ledger, names };
    let (ask, mut asks) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(Ask { request, answer, .. }) = asks.recv().await {
            answer.send(kept.answer(&request).unwrap()).unwrap();
        }
    });
    (settled, Source { peers: 1, ask })
}

/// The network's chain, over one endpoint.
fn over(world: &World, url: &str, source: Option<Source>) -> Options {
    let settlement = Settlement { rpc: vec![url.to_owned()], ..world.settlement.clone() };
    Options { pace: pace(), source, ..Options::new(&settlement, [1; 32]).unwrap() }
}

async fn replayed(options: Options, accepted: Option<u64>) -> Replayed {
    replay::replay(None, options, accepted, |_| {}).await.unwrap()
}

#[tokio::test]
async fn a_node_whose_next_logs_were_dropped_while_it_was_off_goes_on_with_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, live) = network(dir.path()).await;
    type Forgetful = fn(u64) -> Fault;
    let kinds: [(&str, Forgetful); 2] = [("told", Fault::Prunes), ("untold", Fault::Forgets)];
    for (name, _) in kinds {
        is_off(&world, &dir.path().join(name)).await;
    }
    is_off(&world, &dir.path().join("by logs")).await;
    let was = live.settled().ledger;
    let mut operator = register(&mut world, NODES + 1).await;
    world.pass(1).await;
    world.pass(1).await;
    let (behind, source) = accept(&world, &live, &mut operator, NODES + 1).await;
    let border = behind.checkpoint.as_ref().unwrap().border.clone();
    let begun = Begun::Checkpoint { epoch: border.epoch };

    let proxy = Proxy::start(&world.anvil.url()).await;
    for (name, fault) in kinds {
        proxy.set(fault(border.height));
        let options = over(&world, &proxy.url, Some(source.clone()));
        let back = LiveLedger::start(&dir.path().join(name), options).unwrap();
        assert_eq!((back.status().begun, back.settled().ledger), (Begun::Kept, Arc::clone(&was)), "{name}");
        through(&back, &world.chain).await;
        assert_eq!((back.status().begun, back.settled().ledger), (begun, live.settled().ledger), "{name}");
        assert_eq!(back.to_sign(), live.to_sign(), "{name}");
        back.stop().await;
        // It is kept.
        let again =
            LiveLedger::start(&dir.path().join(name), over(&world, &world.anvil.url(), None)).unwrap();
        assert_eq!(again.settled().ledger.epoch(), live.settled().ledger.epoch(), "{name}");
        again.stop().await;
    }
    // So do programs that ask once, and have nothing.
    proxy.set(Fault::Prunes(border.height));
    let once = replayed(over(&world, &proxy.url, Some(source)), Some(border.epoch)).await;
    assert_eq!((once.begun, &once.ledger), (begun, &*live.settled().ledger));
    assert_eq!(once.accepted.unwrap().to_bytes(), *behind.behind);

    // Whoever wants all logs is told what is wrong, and stays what it was.
    let by_logs = over(&world, &proxy.url, None);
    let stays = LiveLedger::start(&dir.path().join("by logs"), by_logs).unwrap();
    let status = until(&stays, "it holds", |status| status.lacks_logs() && status.held.is_some()).await;
    let trouble = status.endpoints[0].trouble.clone().unwrap();
    assert_eq!(trouble.to_string(), "has dropped what is that old: pruned history unavailable");
    assert!(trouble.remedy().contains("an endpoint that keeps old logs"), "{}", trouble.remedy());
    assert_eq!(stays.settled().ledger, was);
    stays.stop().await;
}

#[tokio::test]
async fn a_node_that_was_off_for_very_long_goes_on_with_the_last_checkpoint_and_no_other_does() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, live) = network(dir.path()).await;
    let [far, near] = ["far", "near"].map(|name| dir.path().join(name));
    is_off(&world, &far).await;
    let mut operator = register(&mut world, NODES + 1).await;
    world.pass(CHECKPOINTS + 2).await;
    is_off(&world, &near).await;
    world.pass(2).await;
    let (behind, source) = accept(&world, &live, &mut operator, NODES + 1).await;
    let epoch = behind.checkpoint.as_ref().unwrap().border.epoch;

    for (path, begun) in [(far, Begun::Checkpoint { epoch }), (near, Begun::Kept)] {
        let options = over(&world, &world.anvil.url(), Some(source.clone()));
        let back = LiveLedger::start(&path, options).unwrap();
        through(&back, &world.chain).await;
        assert_eq!((back.status().begun, back.settled().ledger), (begun, live.settled().ledger));
        back.stop().await;
    }
    // Nor does a program that asks once begin with the logs of so many epochs, if it may do otherwise.
    for (source, begun) in [(Some(source), Begun::Checkpoint { epoch }), (None, Begun::Logs)] {
        let once = replayed(over(&world, &world.anvil.url(), source), Some(epoch)).await;
        assert_eq!((once.begun, &once.ledger), (begun, &*live.settled().ledger));
        assert_eq!(once.accepted.unwrap().to_bytes(), *behind.behind);
    }
}
