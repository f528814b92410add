//! Real nodes whose network is on a real chain: they become members, are joined by others, and sign
//! checkpoints that the contract takes.

use session_node::keystore;
use session_protocols::{Protocol, codec, libp2p::link::Asker, request::Request};

use crate::support::{
    Plan, Running,
    chain::{Chain, operator},
    metric, reaches, ready_says, shows,
    stranger::{Person, Stranger},
    wait,
};

/// A network whose nodes register on a chain, and may pay for what they submit.
async fn planned(nodes: u8) -> (Plan, Chain) {
    let mut plan = Plan::new(nodes);
    let chain = Chain::start(plan.folder.path()).await;
    plan.network.settlement = Some(chain.settlement.clone());
    for (seed, node) in (1..).zip(&mut plan.network.nodes) {
        node.operator = operator(seed);
        let data = plan.folder.path().join(seed.to_string());
        chain.fund(&keystore::create_gas(&data).unwrap().address().to_string()).await;
    }
    (plan, chain)
}

async fn register(plan: &Plan, chain: &Chain, nodes: std::ops::Range<usize>) {
    for node in nodes {
        chain.register(&plan.network, &plan.pair(node), node as u8 + 1).await;
    }
}

fn start(plan: &Plan, nodes: std::ops::Range<usize>) -> Vec<Running> {
    nodes.map(|node| plan.start(node)).collect()
}

async fn ask(plan: &Plan, node: usize, request: &Request) -> Vec<u8> {
    let stranger = Stranger::meet(plan, node).await;
    let asker: Asker = stranger.link(Protocol::Storage).await;
    asker.ask(codec::encode(request)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_members_once_the_chain_says_so_and_sign_what_came_of_it() {
    let (mut plan, mut chain) = planned(6).await;
    // The sixth is not in the file that the others have: nobody knows of it beforehand.
    let newcomer = plan.network.nodes.pop().unwrap();
    let mut running = start(&plan, 0..5);
    wait(&plan.http[..5], 503).await;
    ready_says(&plan.http[..5], "not registered: put its stake down").await;
    shows(&plan.http[..5], "\"registration\":\"unregistered\"").await;
    register(&plan, &chain, 0..5).await;
    wait(&plan.http[..5], 200).await;
    shows(&plan.http[..5], "\"registration\":\"active\"").await;
    let person = Person::new(1);
    ask(&plan, 0, &person.post(b"kept")).await;
    shows(&plan.http[..5], "\"messages\":1,").await;

    // One that comes later is recognised by those that run, and gets what is its to keep.
    plan.network.nodes.push(newcomer);
    running.extend(start(&plan, 5..6));
    ready_says(&plan.http[5..], "not registered").await;
    register(&plan, &chain, 5..6).await;
    wait(&plan.http, 200).await;
    shows(&plan.http, "\"peers\":5,").await;
    shows(&plan.http, "\"messages\":1,").await;

    // What they sign is taken by the contract, and all learn it from there.
    for door in &plan.http {
        reaches(*door, "session_checkpoint_accepted_epochs", 1).await;
    }
    let mined = "session_checkpoint_submissions_total{outcome=\"mined\"}";
    assert!(plan.http.iter().map(|door| metric(*door, mined)).sum::<u64>() > 0);

    // Without their chain they say so, and go on when it is back.
    chain.stop();
    wait(&plan.http, 503).await;
    ready_says(&plan.http, "127.0.0.1:").await;
    ready_says(&plan.http, "no endpoint").await;
    let before = metric(plan.http[0], "session_checkpoint_signed_epochs");
    chain.restart().await;
    wait(&plan.http, 200).await;
    for door in &plan.http {
        reaches(*door, "session_checkpoint_signed_epochs", before + 1).await;
    }
    for one in running {
        one.stop().await;
    }
}
