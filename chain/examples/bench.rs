//! Measures the follower and the ledger: run by `./scripts/bench chain`.
//!
//! A local anvil is filled with 100,000 events and followed from its first block on. The ledger is measured
//! without a chain, on one core.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256};
use session_chain::{
    Amount, Block, Border, Input, Ledger, Parameters, Registration, Share, StakeId,
    ledger::{BlsKey, Cursors},
};
use session_protocols::{KeyPair, Prefix};

use support::proxy::Proxy;

#[path = "../tests/settlement/support/mod.rs"]
mod support;

const EVENTS: u64 = 100_000;
/// Events in one block of the local chain.
const PER_BLOCK: u64 = 500;
/// Polls at the end of the chain.
const POLLS: u64 = 56;
const NODES: u64 = 2_000;
const ACCOUNTS: u64 = 10_000;

struct Row {
    what: &'static str,
    value: f64,
    unit: &'static str,
}

#[tokio::main]
async fn main() {
    let json = std::env::args().any(|word| word == "--json");
    let mut rows = ledger();
    rows.extend(follower().await);
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| serde_json::json!({ "what": row.what, "value": row.value, "unit": row.unit }))
            .collect();
        print(&serde_json::json!({ "data": { "rows": rows } }).to_string());
    } else {
        for Row { what, value, unit } in rows {
            print(&format!("{what:<64} {value:>12.1} {unit}"));
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn print(line: &str) {
    println!("{line}");
}

async fn follower() -> [Row; 2] {
    let anvil = support::Anvil::start(&["--slots-in-an-epoch", "1", "--gas-limit", "10000000000"]);
    let chain = support::Chain::deploy(&anvil).await;
    for _ in 0..EVENTS / PER_BLOCK {
        chain.releases(PER_BLOCK, 1).await;
    }
    chain.mine(3, 1).await;
    let dir = tempfile::tempdir().expect("a directory");
    let proxy = Proxy::start(&anvil.url()).await;
    let began = Instant::now();
    let live = chain.follow(&dir.path().join("chain.redb"), 1_000_000_000, std::slice::from_ref(&proxy.url));
    support::through(&live, &chain).await;
    let took = began.elapsed();
    assert_eq!(live.settled().ledger.rewards().released().0, u128::from(EVENTS));
    let (polls, asked) = proxy.asked();
    let mut status = live.watch_status();
    while proxy.asked().0 < polls + POLLS {
        chain.mine(1, 1).await;
        let end = chain.finalized().await;
        status.wait_for(|status| status.height >= end).await.expect("it goes on");
    }
    let (polls, asked) = (proxy.asked().0 - polls, proxy.asked().1 - asked);
    // Of eight polls one compares the chain with what is known, instead of looking at its end.
    let polls = polls as f64 * 8.0 / 7.0;
    [
        Row {
            what: "follow 100,000 past events of a local anvil, one endpoint",
            value: seconds(took),
            unit: "s",
        },
        Row { what: "questions to one endpoint in an idle poll", value: asked as f64 / polls, unit: "" },
    ]
}

fn seconds(took: Duration) -> f64 {
    took.as_secs_f64()
}

fn ledger() -> Vec<Row> {
    let parameters = Parameters {
        epoch_seconds: NonZeroU64::new(3_600).expect("not zero"),
        active_for: 0,
        ..Parameters::default()
    };
    let mut ledger = Ledger::new(parameters);
    let registrations: Vec<Block> = (0..NODES).map(|number| registration(&ledger, number)).collect();
    let began = Instant::now();
    registrations.iter().for_each(|block| drop(ledger.apply(block).expect("it follows")));
    let registered = began.elapsed();
    let mut mixed = Ledger::new(parameters);
    let blocks: Vec<Block> =
        registrations.iter().zip(0..).map(|(block, number)| mix(block, number)).collect();
    let events: usize = blocks.iter().map(|block| block.inputs.len()).sum();
    let began = Instant::now();
    blocks.iter().for_each(|block| drop(mixed.apply(block).expect("it follows")));
    let mingled = began.elapsed();
    assert_eq!(mixed.nodes().len(), ledger.nodes().len());
    cross(&mut ledger);
    cross(&mut ledger);
    // Releases, and changes of beneficiaries that every node has.
    let blocks: Vec<Block> = (0..EVENTS / 100)
        .map(|number| {
            let inputs = (0..100).map(|index| change(number * 100 + index)).collect();
            Block { height: ledger.height() + 1 + number, time: ledger.border() - 1, inputs }
        })
        .collect();
    let began = Instant::now();
    blocks.iter().for_each(|block| drop(ledger.apply(block).expect("it follows")));
    let applied = began.elapsed();
    let began = Instant::now();
    cross(&mut ledger);
    let crossed = began.elapsed();
    assert_eq!((ledger.nodes().len() as u64, ledger.rewards().totals().len() as u64), (NODES, ACCOUNTS));
    let began = Instant::now();
    let bytes = ledger.to_bytes();
    let written = began.elapsed();
    let began = Instant::now();
    assert!(Ledger::from_bytes(parameters, &bytes).is_ok_and(|read| read == ledger));
    let read = began.elapsed();
    let rate = |count: u64, took: Duration| count as f64 / seconds(took);
    let millis = |took: Duration| seconds(took) * 1_000.0;
    vec![
        Row { what: "ledger: registrations, signatures checked", value: rate(NODES, registered), unit: "/s" },
        Row {
            what: "ledger: one event in ten a registration",
            value: rate(events as u64, mingled),
            unit: "/s",
        },
        Row { what: "ledger: other events", value: rate(EVENTS, applied), unit: "/s" },
        Row {
            what: "border and checkpoint, 2,000 nodes, 10,000 accounts",
            value: millis(crossed),
            unit: "ms",
        },
        Row { what: "write a snapshot of it", value: millis(written), unit: "ms" },
        Row { what: "read it", value: millis(read), unit: "ms" },
        Row { what: "its size", value: bytes.len() as f64 / 1_024.0, unit: "KiB" },
    ]
}

fn account(number: u64) -> Address {
    let mut bytes = [0; 20];
    bytes[12..].copy_from_slice(&(number + 1).to_be_bytes());
    bytes.into()
}

/// A node with five contributors, each of its own.
fn registration(ledger: &Ledger, number: u64) -> Block {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let pair = KeyPair::from_seed(&seed);
    let [.., a, b, c] = number.to_be_bytes();
    let (prefix, bls) = (Prefix::V4([a, b, c]), BlsKey([number as u8; 96]));
    let share = |index| {
        let account = account(number * 5 + index);
        Share { contributor: account, beneficiary: account, amount: Amount::sesh(5_000) }
    };
    let operator = account(number * 5);
    let signature = pair.sign(&ledger.parameters().domain.registration(operator, prefix, &bls));
    let registration = Registration {
        id: StakeId(number + 1),
        node: pair.node_id(),
        signature,
        operator,
        prefix,
        fee: 1_000,
        bls,
        shares: (0..5).map(share).collect(),
    };
    Block { height: number + 1, time: 1, inputs: vec![Input::Register(Box::new(registration))] }
}

/// A registration, and nine other events behind it.
fn mix(registration: &Block, number: u64) -> Block {
    let mut block = registration.clone();
    block.inputs.extend((0..9).map(|_| change(number)));
    block
}

fn change(number: u64) -> Input {
    if number.is_multiple_of(2) {
        return Input::Release { amount: Amount::sesh(1) };
    }
    let node = number % NODES;
    let contributor = account(node * 5);
    Input::ChangeBeneficiary { id: StakeId(node + 1), contributor, beneficiary: contributor }
}

fn cross(ledger: &mut Ledger) {
    let (epoch, height) = (ledger.epoch(), ledger.height() + 1);
    let border = Border { epoch, height, hash: B256::repeat_byte(epoch as u8), cursors: Cursors::default() };
    ledger.cross(border, B256::ZERO).expect("it follows");
}
