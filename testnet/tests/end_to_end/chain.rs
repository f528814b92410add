//! A testnet whose nodes stake on a chain: up, a conversation, a checkpoint that the contract takes, and a chain
//! that goes and comes back, is reorganised, lied about, and lost.

use alloy::primitives::{B256, U64};
use serde_json::{Value, json};
use session_chain::settlement::Endpoint;

use crate::{
    proxy::{Fault, Proxy},
    support::{Place, get, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_stake_serve_and_attest_and_survive_that_their_chain_is_away() {
    let place = Place::new();
    let up = place.data(&["testnet", "up"]);
    let nodes = up["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 12, "of two swarms");
    all_serve(&place).await;
    assert!(up["chain"]["height"].as_u64().unwrap() > 0, "{up}");

    // A message is sent and read.
    place.data(&["account", "new", "--name", "alice"]);
    place.data(&["account", "new", "--name", "bob"]);
    let network = up["network"].as_str().unwrap();
    place.data(&["send", "--network", network, "--from", "alice", "bob", "staked"]);
    let inbox = place.data(&["inbox", "--network", network, "--account", "bob"]);
    assert!(inbox.to_string().contains("staked"), "{inbox}");

    // Whoever writes asks no chain: what the nodes have signed says who keeps what.
    let described = std::fs::read_to_string(network).unwrap();
    let (head, tail) = described.split_once("rpc = [").unwrap();
    let nowhere = format!(
        "{head}rpc = [\"http://127.0.0.1:1/\"{}",
        tail.split_once(']').unwrap().1.replacen('\n', "]\n", 1)
    );
    let without = place.path().join("without.toml");
    std::fs::write(&without, nowhere).unwrap();
    let without = without.to_str().unwrap();
    place.data(&["send", "--network", without, "--from", "alice", "bob", "unchained"]);

    // A checkpoint is signed, submitted, and taken: all learn it from the contract.
    let doors: Vec<String> = nodes.iter().map(|node| node["http"].as_str().unwrap().to_owned()).collect();
    let first = accepted(&doors, 0).await;

    // Without the chain they say so, with what to do; nothing that they keep is lost.
    assert!(place.testnet.stop_chain().await.unwrap());
    until("all nodes to miss their chain", async || {
        let told = all(&doors, "/readyz").await?;
        told.iter()
            .all(|one| check(one, "chain").is_some_and(|(ok, why)| !ok && why.contains("holds")))
            .then_some(())
    })
    .await;
    place.data(&["send", "--network", network, "--from", "bob", "alice", "meanwhile"]);
    let inbox = place.data(&["inbox", "--network", network, "--account", "alice"]);
    assert!(inbox.to_string().contains("meanwhile"), "{inbox}");
    let status = place.data(&["testnet", "status"]);
    assert_eq!(status["chain"]["pid"], Value::Null);
    let up = place.data(&["testnet", "up"]);
    assert_eq!((&up["already"], up["nodes"].as_array().unwrap().len()), (&false.into(), 12));
    let inbox = place.data(&["inbox", "--network", network, "--account", "bob"]);
    assert!(inbox.to_string().contains("staked") && inbox.to_string().contains("unchained"), "{inbox}");
    assert!(accepted(&doors, first + 1).await > first);

    // All goes down, and comes up again as it was.
    place.data(&["testnet", "down", "--keep"]);
    let up = place.data(&["testnet", "up"]);
    assert_eq!(up["nodes"].as_array().unwrap().len(), 12);
    all_serve(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_and_a_bad_endpoint_are_survived_and_a_lost_chain_is_told_of() {
    let place = Place::new();
    let up = place.data(&["testnet", "up", "--nodes", "5"]);
    let network = up["network"].as_str().unwrap();
    let doors: Vec<String> = up["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["http"].as_str().unwrap().to_owned())
        .collect();
    let (first, others) = doors.split_first().unwrap();
    place.data(&["account", "new", "--name", "alice"]);
    place.data(&["send", "--network", network, "--from", "alice", "alice", "kept"]);

    // One node asks a second endpoint, which lies.
    let rpc = up["chain"]["rpc"].as_str().unwrap();
    let proxy = Proxy::start(rpc).await;
    let mut described = place.testnet.folder().network().unwrap();
    described.settlement.as_mut().unwrap().rpc.push(proxy.url.clone());
    std::fs::write(place.testnet.folder().network_path(), described.to_toml()).unwrap();
    assert!(place.testnet.kill(1).await.unwrap());
    assert_eq!(place.testnet.start(&[1]).await.unwrap(), [1]);
    proxy.set(Fault::Hides);

    // Blocks that are not final are replaced.
    let before = get(first, "/status").await.unwrap()["chain"]["accepted"].as_u64();
    let (height, was) = hash_of(rpc, json!("latest")).await.unwrap();
    place.testnet.reorganise_chain(2).await.unwrap();
    let is = hash_of(rpc, json!(format!("{height:#x}"))).await.unwrap().1;
    assert_ne!(is, was, "block {height} is another one");

    // The liar is named with what it does; its node serves on, and signs nothing by the word of one alone.
    until("the liar to be named", async || {
        let told = get(first, "/readyz").await?;
        let (chain, why) = check(&told, "chain")?;
        let (checkpoints, signs) = check(&told, "checkpoints")?;
        let named = chain && why.contains(proxy.name()) && why.contains("is left out or forged");
        (named && checkpoints && signs.contains("one of several endpoints")).then_some(())
    })
    .await;
    proxy.set(Fault::None);
    accepted(&doors, before.map_or(0, |epoch| epoch + 1)).await;
    until("all nodes to be beyond the reorganisation", async || {
        let told = all(&doors, "/status").await?;
        told.iter().all(|one| one["chain"]["height"].as_u64() > Some(height)).then_some(())
    })
    .await;
    for told in all(others, "/status").await.unwrap() {
        assert_eq!(told["chain"]["endpoints"][0]["faults"], 0, "{told}");
    }

    // Two that contradict each other hold it, and its peers hear of that.
    let agree = async || {
        let told = get(first, "/status").await?;
        let endpoints = told["chain"]["endpoints"].as_array()?.clone();
        endpoints.iter().all(|one| one["standing"] == "good").then_some(())
    };
    until("both endpoints to be believed", agree).await;
    proxy.set(Fault::OtherBlocks);
    until("its peers to hear that they disagree", async || {
        let (ok, why) = check(&get(first, "/readyz").await?, "chain")?;
        let told = all(others, "/readyz").await?;
        let heard =
            |one| check(one, "checkpoints").is_some_and(|(_, why)| why.contains("one other node signs none"));
        (!ok && why.contains("disagree") && told.iter().all(heard)).then_some(())
    })
    .await;
    proxy.set(Fault::None);
    until("it to go on", async || {
        check(&get(first, "/readyz").await?, "chain").filter(|(ok, _)| *ok).map(|_| ())
    })
    .await;

    // A chain that comes back without what was final is no chain to go by, and all say so.
    assert!(place.testnet.kill_chain().await.unwrap());
    assert!(place.testnet.resume_chain().await.unwrap());
    until("all nodes to see what is lost", async || {
        let lost =
            |one| check(one, "chain").is_some_and(|(ok, why)| !ok && why.contains("is the last final one"));
        all(&doors, "/readyz").await?.iter().all(lost).then_some(())
    })
    .await;
    let inbox = place.data(&["inbox", "--network", network, "--account", "alice"]);
    assert!(inbox.to_string().contains("kept"), "{inbox}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_through_finality_stops_all_nodes_and_they_name_the_block() {
    let place = Place::new();
    let up = place.data(&["testnet", "up", "--nodes", "5"]);
    let network = up["network"].as_str().unwrap();
    let nodes = up["nodes"].as_array().unwrap();
    let doors: Vec<String> = nodes.iter().map(|node| node["http"].as_str().unwrap().to_owned()).collect();
    let rpc = up["chain"]["rpc"].as_str().unwrap();
    place.data(&["account", "new", "--name", "alice"]);
    place.data(&["send", "--network", network, "--from", "alice", "alice", "kept"]);

    // Three times as deep as all of them have come by then; what is final is two blocks deep.
    let depth = until("all nodes to be where the chain is", async || {
        let newest = hash_of(rpc, json!("latest")).await?.0;
        let told = all(&doors, "/status").await?;
        let behind = |one: &Value| newest.checked_sub(one["chain"]["height"].as_u64()?);
        let most = told.iter().map(behind).collect::<Option<Vec<_>>>()?.into_iter().max()?;
        (newest > 40 && (2..=6).contains(&most)).then_some(3 * most)
    })
    .await;
    place.testnet.reorganise_chain(depth).await.unwrap();
    let stopped = until("all nodes to stop", async || {
        let told = all(&doors, "/readyz").await?;
        let stopped = |one: &Value| {
            let (ok, why) = check(one, "chain")?;
            (!ok && one["ready"] == false).then(|| why.strip_prefix("stopped: block ").map(str::to_owned))?
        };
        told.iter().map(stopped).collect::<Option<Vec<_>>>()
    })
    .await;
    // Each names the block that it had seen, and which one stands there.
    let mut epochs = Vec::new();
    for (door, why) in doors.iter().zip(&stopped) {
        let (height, rest) = why.split_once(" was final as ").unwrap();
        let (was, is) = rest.split_once(" and is ").unwrap();
        let (found, hash) =
            hash_of(rpc, json!(format!("{:#x}", height.parse::<u64>().unwrap()))).await.unwrap();
        assert_eq!(found.to_string(), height);
        assert!(is.starts_with(&hash.to_string()) && !was.contains(&hash.to_string()), "{why}");
        epochs.push(get(door, "/status").await.unwrap()["chain"]["epoch"].clone());
    }
    // The chain goes on without them, and what they keep is kept.
    let end = hash_of(rpc, json!("latest")).await.unwrap().0 + 12;
    until("another border", async || (hash_of(rpc, json!("latest")).await?.0 > end).then_some(())).await;
    for (told, epoch) in all(&doors, "/status").await.unwrap().iter().zip(&epochs) {
        assert_eq!(&told["chain"]["epoch"], epoch, "{told}");
    }
    let inbox = place.data(&["inbox", "--network", network, "--account", "alice"]);
    assert!(inbox.to_string().contains("kept"), "{inbox}");
}

#[test]
fn where_there_is_no_anvil_it_says_how_to_get_one_and_how_to_do_without() {
    let place = Place::new();
    let mut command = place.command(&["testnet", "up", "--json"]);
    let ran = command.env("SESSION_ANVIL", place.path().join("nowhere")).output().unwrap();
    let answer: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((ran.status.code(), &answer["error"]["code"]), (Some(1), &"no_anvil".into()), "{answer}");
    let remedy = answer["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("SESSION_ANVIL") && remedy.contains("--no-chain"), "{remedy}");
}

/// Waits until all nodes are active by the contract, and ready at one moment: a border may just have moved some.
async fn all_serve(place: &Place) {
    until("all nodes to be active and ready", async || {
        let status = place.data(&["testnet", "status"]);
        let mut nodes = status["nodes"].as_array().unwrap().iter();
        nodes.all(|node| node["state"] == "ready" && node["registration"] == "active").then_some(())
    })
    .await;
}

/// Waits until all nodes know of an accepted checkpoint of this epoch or a later one; the earliest of them.
async fn accepted(doors: &[String], least: u64) -> u64 {
    until("a checkpoint to be accepted", async || {
        let told = all(doors, "/status").await?;
        let epochs: Option<Vec<u64>> = told.iter().map(|one| one["chain"]["accepted"].as_u64()).collect();
        epochs?.into_iter().min().filter(|epoch| *epoch >= least)
    })
    .await
}

/// The height and hash of a block of the chain; none while it does not tell.
async fn hash_of(rpc: &str, which: Value) -> Option<(u64, B256)> {
    let rpc = Endpoint::new(rpc).unwrap().rpc();
    let block: Value = rpc.request("eth_getBlockByNumber", json!([which, false])).await.ok()?;
    let number: U64 = serde_json::from_value(block["number"].clone()).ok()?;
    Some((number.to(), serde_json::from_value(block["hash"].clone()).ok()?))
}

/// What all of them answer; none while one does not.
async fn all(doors: &[String], path: &str) -> Option<Vec<Value>> {
    let mut told = Vec::new();
    for door in doors {
        told.push(get(door, path).await?);
    }
    Some(told)
}

/// What a node says of one of its checks.
fn check(readiness: &Value, name: &str) -> Option<(bool, String)> {
    let one = readiness["checks"].as_array()?.iter().find(|check| check["name"] == name)?;
    Some((one["ok"].as_bool()?, one["detail"].as_str()?.to_owned()))
}
