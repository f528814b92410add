//! The follower against a real chain, through endpoints that fail and lie.

use crate::support::{
    Anvil, Chain,
    proxy::{Fault, Proxy},
    through, until,
};
use session_chain::settlement::{Status, follower::Standing};
use tempfile::TempDir;

const FAST: [&str; 2] = ["--slots-in-an-epoch", "1"];
/// Longer than a test lasts.
const NO_EPOCH: u64 = 1_000_000_000;

/// What is wrong with an endpoint that is left out.
fn trouble_of(status: &Status, number: usize) -> Option<String> {
    let endpoint = &status.endpoints[number];
    let trouble = endpoint.trouble.as_ref().filter(|_| matches!(endpoint.standing, Standing::LeftOut(_)))?;
    assert!(!trouble.remedy().is_empty());
    Some(trouble.to_string())
}

#[tokio::test]
async fn a_node_that_was_off_for_ten_thousand_blocks_has_the_ledger_of_one_that_was_not() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (stays, returns) = (path("stays"), path("returns"));
    let settlement = chain.follow(&stays, 600, &[anvil.url()]);
    let returning = chain.follow(&returns, 600, &[anvil.url()]);
    chain.release(5).await;
    chain.mine(700, 1).await;
    through(&settlement, &chain).await;
    through(&returning, &chain).await;
    returning.stop().await;
    for part in 0..10 {
        chain.releases(part, 1_000 + part).await;
        chain.exit(part).await;
        chain.mine(1_000, 1).await;
        through(&settlement, &chain).await;
    }
    let (online, checkpoint) = (settlement.settled().ledger, settlement.settled().checkpoint.unwrap());
    assert!(online.epoch() >= 17, "epoch {}", online.epoch());
    assert_eq!(online.rewards().released().0, 5 + (0..10).map(|part| part * (1_000 + part)).sum::<u128>());
    let border = &checkpoint.border;
    assert_eq!(border.hash, chain.hash(border.height).await);
    for (name, path) in [("who was off", &returns), ("who is new", &path("new"))] {
        let other = chain.follow(path, 600, &[anvil.url()]);
        through(&other, &chain).await;
        assert_eq!(other.settled().ledger.to_bytes(), online.to_bytes(), "{name}");
        assert_eq!(other.settled().checkpoint.as_deref(), Some(&*checkpoint), "{name}");
    }
}

#[tokio::test]
async fn reorganisations_before_finality_go_unseen() {
    let anvil = Anvil::start(&["--slots-in-an-epoch", "4"]);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, &[anvil.url()]);
    for depth in [1, 5] {
        chain.release(7).await;
        chain.mine(12, 1).await;
        through(&settlement, &chain).await;
        let before = chain.hash(chain.head().await).await;
        // An event that is to vanish before it is final.
        chain.release(1_000).await;
        chain.mine(depth - 1, 1).await;
        chain.ask("anvil_reorg", serde_json::json!([depth, []])).await;
        assert_ne!(before, chain.hash(chain.head().await).await);
        chain.mine(12, 1).await;
        chain.release(1).await;
        chain.mine(12, 1).await;
        through(&settlement, &chain).await;
    }
    let status = settlement.status();
    assert_eq!((status.stopped, status.held, status.endpoints[0].faults), (None, None, 0));
    assert_eq!(settlement.settled().ledger.rewards().released().0, 2 * (7 + 1));
}

#[tokio::test]
async fn a_reorganisation_through_finality_stops_the_ledger_and_names_the_block() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("chain.redb");
    let settlement = chain.follow(&path, NO_EPOCH, &[anvil.url()]);
    chain.release(7).await;
    chain.mine(6, 1).await;
    through(&settlement, &chain).await;
    let mark = settlement.settled().mark;
    let depth = chain.head().await - mark.height + 2;
    chain.ask("anvil_reorg", serde_json::json!([depth, []])).await;
    let found = chain.hash(mark.height).await;
    assert_ne!(found, mark.hash);
    chain.mine(3, 1).await;
    let stopped =
        until(&settlement, "it stops", |status| status.stopped.is_some()).await.stopped.unwrap().to_string();
    assert!(stopped.contains("was final as 0x"), "{stopped}");
    assert_eq!(settlement.settled().mark, mark);
    // Nor does it go on after a restart; there the mark itself is compared.
    settlement.stop().await;
    let settlement = chain.follow(&path, NO_EPOCH, &[anvil.url()]);
    let stopped =
        until(&settlement, "it stops", |status| status.stopped.is_some()).await.stopped.unwrap().to_string();
    let block = format!("block {} was final as {} and is {found}", mark.height, mark.hash);
    assert_eq!(stopped, block);
}

#[tokio::test]
async fn faults_of_one_endpoint_are_named_and_survived() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    let urls = [anvil.url(), proxy.url.clone()];
    let mut released = 0;
    let faults = [
        (Fault::Html, "is no JSON-RPC: <html>We will be back soon"),
        (Fault::Drops, "after event"),
        (Fault::Hides, "is left out or forged"),
        (Fault::Delays(2), "is left out or forged"),
        (Fault::Repeats, "after event"),
        (Fault::Reorders, "after event"),
        (Fault::Forges, "is left out or forged"),
        (Fault::Http(429), "HTTP 429"),
        (Fault::Http(503), "HTTP 503"),
        (Fault::Silent, "in time"),
    ];
    for (number, (fault, named)) in faults.into_iter().enumerate() {
        // Each for itself: whoever is found out again is left out for longer.
        let settlement = chain.follow(&dir.path().join(number.to_string()), NO_EPOCH, &urls);
        through(&settlement, &chain).await;
        proxy.set(fault.clone());
        released += 3 * 4;
        chain.releases(3, 4).await;
        chain.mine(3, 1).await;
        let status =
            until(&settlement, &format!("{fault:?} is named"), |status| trouble_of(status, 1).is_some())
                .await;
        let said = trouble_of(&status, 1).unwrap();
        assert!(said.contains(named), "{fault:?}: {said}");
        assert_eq!(status.endpoints[1].name, proxy.name());
        through(&settlement, &chain).await;
        assert_eq!(settlement.settled().ledger.rewards().released().0, released, "{fault:?}");
        assert_eq!(settlement.status().endpoints[0].faults, 0);
        // It is asked again, and takes part again.
        proxy.set(Fault::None);
        until(&settlement, "all is well", |status| {
            status.is_good() && status.endpoints.iter().all(|endpoint| endpoint.standing == Standing::Good)
        })
        .await;
    }
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_never_believed() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    proxy.set(Fault::OtherChain);
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, std::slice::from_ref(&proxy.url));
    let status = until(&settlement, "it is named", |status| trouble_of(status, 0).is_some()).await;
    assert_eq!(trouble_of(&status, 0), Some("serves chain 1 and not 31337".to_owned()));
    until(&settlement, "it holds", |status| status.held.is_some()).await;
    proxy.set(Fault::None);
    chain.mine(3, 1).await;
    through(&settlement, &chain).await;
}

#[tokio::test]
async fn a_lone_endpoint_that_leaves_events_out_is_found_out_and_survived() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, std::slice::from_ref(&proxy.url));
    proxy.set(Fault::Hides);
    chain.releases(2, 50).await;
    chain.mine(3, 1).await;
    let status = until(&settlement, "it is named", |status| trouble_of(status, 0).is_some()).await;
    assert!(
        trouble_of(&status, 0)
            .unwrap()
            .contains("logs of RewardPool that are not its own: event 1 is left out"),
        "{status:?}"
    );
    proxy.set(Fault::None);
    let mut settled = settlement.watch();
    let known = settled.wait_for(|settled| settled.ledger.rewards().released().0 == 100);
    tokio::time::timeout(crate::support::PATIENCE, known).await.expect("it comes after all").unwrap();
}

#[tokio::test]
async fn a_lone_endpoint_whose_logs_come_late_is_found_out_and_nothing_is_lost() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    proxy.set(Fault::Delays(2));
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, std::slice::from_ref(&proxy.url));
    chain.releases(2, 50).await;
    chain.mine(3, 1).await;
    let status = until(&settlement, "it is named", |status| trouble_of(status, 0).is_some()).await;
    assert!(trouble_of(&status, 0).unwrap().contains("is left out or forged"), "{status:?}");
    // Nothing is applied before all of it has come, and then by itself.
    let mut settled = settlement.watch();
    let mut seen = Vec::new();
    let known = settled.wait_for(|settled| {
        seen.push(settled.ledger.rewards().released().0);
        seen.last() == Some(&100)
    });
    tokio::time::timeout(crate::support::PATIENCE, known).await.expect("it comes after all").unwrap();
    seen.dedup();
    assert_eq!(seen, [0, 100]);
}

#[tokio::test]
async fn a_provider_that_refuses_long_ranges_is_asked_for_short_ones() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    proxy.set(Fault::Narrow(60));
    for amount in 1..=10 {
        chain.release(amount).await;
        chain.mine(50, 1).await;
    }
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, std::slice::from_ref(&proxy.url));
    through(&settlement, &chain).await;
    assert_eq!(settlement.settled().ledger.rewards().released().0, 55);
    assert_eq!(settlement.status().endpoints[0].faults, 0);
}

#[tokio::test]
async fn two_that_serve_different_chains_hold_the_ledger_and_are_named() {
    let (anvil, other) =
        (Anvil::start(&FAST), Anvil::start(&["--slots-in-an-epoch", "1", "--timestamp", "1700000000"]));
    let chain = Chain::deploy(&anvil).await;
    Chain::deploy(&other).await.mine(10, 1).await;
    let dir = TempDir::new().unwrap();
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, &[anvil.url(), other.url()]);
    chain.release(7).await;
    chain.mine(10, 1).await;
    let held = until(&settlement, "it holds", |status| status.held.is_some()).await.held.unwrap().to_string();
    for anvil in [&anvil, &other] {
        assert!(held.contains(&format!("127.0.0.1:{}", anvil.port)), "{held}");
    }
    assert!(held.contains("disagree about block"), "{held}");
    assert!(settlement.settled().mark.hash.is_zero());
}

#[tokio::test]
async fn of_two_heads_that_stand_apart_the_lower_is_followed_and_that_is_told() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    chain.release(7).await;
    chain.mine(5, 1).await;
    let stale = chain.ask("eth_getBlockByNumber", serde_json::json!(["finalized", false])).await;
    proxy.set(Fault::Stale(stale));
    chain.mine(2, 7_200).await;
    chain.release(9).await;
    chain.mine(3, 1).await;
    let settlement =
        chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, &[anvil.url(), proxy.url.clone()]);
    let status = until(&settlement, "it is told", |status| status.held.is_some()).await;
    assert!(status.held.unwrap().to_string().contains("knows final blocks up to"));
    assert_eq!(settlement.settled().ledger.rewards().released().0, 7);
    proxy.set(Fault::None);
    until(&settlement, "it goes on", |status| status.is_good()).await;
    through(&settlement, &chain).await;
    assert_eq!(settlement.settled().ledger.rewards().released().0, 16);
}

#[tokio::test]
async fn a_chain_that_is_killed_and_comes_back_is_followed_on() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state").display().to_string();
    let options = ["--slots-in-an-epoch", "1", "--state", &state];
    let anvil = Anvil::start(&options);
    let chain = Chain::deploy(&anvil).await;
    let proxy = Proxy::start(&anvil.url()).await;
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, std::slice::from_ref(&proxy.url));
    chain.release(7).await;
    chain.mine(5, 1).await;
    through(&settlement, &chain).await;
    anvil.stop();
    let status = until(&settlement, "it is named", |status| trouble_of(status, 0).is_some()).await;
    assert!(trouble_of(&status, 0).unwrap().contains("HTTP 502"), "{status:?}");
    let anvil = Anvil::start(&options);
    proxy.lead_to(&anvil.url());
    let chain = Chain { rpc: session_chain::settlement::Endpoint::new(&anvil.url()).unwrap().rpc(), ..chain };
    // Its clock went back with it.
    let last = chain.ask("eth_getBlockByNumber", serde_json::json!(["latest", false])).await;
    let time: alloy::primitives::U64 = serde_json::from_value(last["timestamp"].clone()).unwrap();
    chain.ask("evm_setNextBlockTimestamp", serde_json::json!([time.to::<u64>() + 1])).await;
    chain.release(9).await;
    chain.mine(5, 1).await;
    through(&settlement, &chain).await;
    until(&settlement, "it goes on", |status| status.is_good()).await;
    assert_eq!(settlement.settled().ledger.rewards().released().0, 16);
}

#[tokio::test]
async fn a_chain_that_is_killed_and_has_lost_what_was_final_is_named_and_never_followed_on() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state").display().to_string();
    let options = ["--slots-in-an-epoch", "1", "--state", &state];
    let anvil = Anvil::start(&options);
    let chain = Chain::deploy(&anvil).await;
    // What it has saved is what it will come back with.
    anvil.stop();
    let anvil = Anvil::start(&options);
    let proxy = Proxy::start(&anvil.url()).await;
    let connect = |anvil: &Anvil| session_chain::settlement::Endpoint::new(&anvil.url()).unwrap().rpc();
    let chain = Chain { rpc: connect(&anvil), ..chain };
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, std::slice::from_ref(&proxy.url));
    chain.release(7).await;
    chain.mine(5, 1).await;
    through(&settlement, &chain).await;
    let mark = settlement.settled().mark;
    // Its end is SIGKILL.
    drop(anvil);
    until(&settlement, "it is missed", |status| status.held.is_some()).await;
    let anvil = Anvil::start(&options);
    proxy.lead_to(&anvil.url());
    let chain = Chain { rpc: connect(&anvil), ..chain };
    let lost = format!("is the last final one, and {} is", mark.height);
    let named = |status: &Status| trouble_of(status, 0).is_some_and(|said| said.contains(&lost));
    until(&settlement, "what it lost is named", named).await;
    assert_eq!(settlement.settled().mark, mark);
    // Once it has grown anew to where it was, it is another one.
    chain.release(9).await;
    chain.mine(12, 1).await;
    let stopped = until(&settlement, "it stops", |status| status.stopped.is_some()).await.stopped.unwrap();
    assert!(stopped.to_string().contains("was final as 0x"), "{stopped}");
    assert_eq!((settlement.settled().mark, settlement.settled().ledger.rewards().released().0), (mark, 7));
}

#[tokio::test]
async fn one_of_two_that_tells_of_other_blocks_holds_the_ledger_until_it_does_not() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    let urls = [anvil.url(), proxy.url.clone()];
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, &urls);
    chain.release(7).await;
    chain.mine(5, 1).await;
    through(&settlement, &chain).await;
    until(&settlement, "both agree", |status| status.may_sign()).await;
    proxy.set(Fault::OtherBlocks);
    chain.release(9).await;
    chain.mine(5, 1).await;
    until(&settlement, "they disagree", |status| status.held.as_ref().is_some_and(|why| why.is_dispute()))
        .await;
    // That it falls silent proves nothing.
    proxy.set(Fault::Http(503));
    let left = |status: &Status| trouble_of(status, 1).is_some_and(|said| said.contains("503"));
    until(&settlement, "it is left out", left).await;
    let held = until(&settlement, "it holds on", |status| status.held.is_some()).await;
    assert!(held.held.unwrap().is_dispute() && settlement.settled().ledger.rewards().released().0 == 7);
    proxy.set(Fault::None);
    through(&settlement, &chain).await;
    until(&settlement, "both agree again", |status| status.may_sign()).await;
    assert_eq!(settlement.settled().ledger.rewards().released().0, 16);
}

#[tokio::test]
async fn an_idle_follower_asks_two_questions_a_poll() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let proxy = Proxy::start(&anvil.url()).await;
    let settlement = chain.follow(&dir.path().join("chain.redb"), NO_EPOCH, std::slice::from_ref(&proxy.url));
    chain.release(7).await;
    chain.mine(5, 1).await;
    through(&settlement, &chain).await;
    let (polls, asked) = proxy.asked();
    // Of eight polls seven look at the chain's end; there are new blocks each time.
    while proxy.asked().0 < polls + 28 {
        chain.mine(1, 1).await;
        through(&settlement, &chain).await;
    }
    let (polls, asked) = (proxy.asked().0 - polls, proxy.asked().1 - asked);
    assert!(
        asked <= 2 * (polls + polls / 7 + 1),
        "{asked} questions in {polls} polls and the checks between"
    );
}
