//! Dashboards and alerts: what they ask a real Prometheus that watches a testnet, and what fires when a fault is made.
//!
//! In `monitoring/alerts.test.yml` are invented series, at each alert's limit. Here the series are those of nodes, and
//! every alert fires at the fault that it is for. Faults of different nodes go on at once, where they have to last.

mod disk;
mod expressions;
mod ledger;
mod prometheus;
mod stand_in;
mod strain;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use session_client::{Account, Client};
use session_protocols::Namespace;
use session_testnet::Options;

use crate::{
    proxy::{Fault, Proxy},
    raw::Members,
    support::{PATIENCE, Place, get, until},
};
use disk::Disk;
use expressions::selectors;
use ledger::Chain;
use prometheus::{Prometheus, instance, promtool};
use stand_in::{StandIn, clock_ahead};

/// What a node may keep here, so that a few messages fill it.
const MAX_BYTES: u64 = 1 << 20;
/// How many nodes there are.
const NODES: usize = 6;
/// The node that asks a second endpoint of the chain.
const ASKS_TWO: usize = 1;
/// The node that leaves, and at which somebody asks too much before.
const LEAVES: usize = 2;
/// The node that is set up in ways that do not do.
const SET_UP_WRONG: usize = 3;
/// The node whose disk is bad.
const BAD_DISK: usize = 4;
/// The node that crashes again and again.
const CRASHES: usize = 5;
/// The node whose clock is ahead; in the end it crashes for good.
const CLOCK_AHEAD: usize = 6;
/// What fires at a disk that is slow, or full: not everybody may mount one for a node.
const OF_DISKS: [&str; 4] =
    ["SessionDiskFilling", "SessionDiskFull", "SessionStoreFails", "SessionStoreSlow"];
/// A text that is found on a disk.
const TEXT: &str = "one bit of this is turned on the disk";
const DAY: Duration = Duration::from_secs(86_400);

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

/// The dashboards, by the names of their files.
fn dashboards() -> BTreeMap<String, Value> {
    let files = fs::read_dir(monitoring().join("grafana/dashboards")).unwrap();
    let read = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).unwrap();
        (file.file_name().into_string().unwrap(), serde_json::from_str(&text).unwrap())
    };
    files.map(|file| read(file.unwrap())).collect()
}

/// The panels of a dashboard that ask something: their titles, and what they ask.
fn questions(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let asked = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let title = panel["title"].as_str().unwrap().to_owned();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
    });
    asked.collect()
}

/// A question of a dashboard, as Grafana asks it for all nodes.
fn asked(expression: &str) -> String {
    expression.replace("$instance", ".*").replace("$__rate_interval", "15s")
}

#[test]
fn alerts_fire_at_what_they_are_for_and_at_nothing_less() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "alerts.test.yml"]);
    let [rules, tests] =
        ["alerts.yml", "alerts.test.yml"].map(|file| fs::read_to_string(monitoring().join(file)).unwrap());
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 30, "{alerts:?}");
    for alert in &alerts {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} is never tested");
    }
    assert_eq!(alerts.iter().collect::<BTreeSet<_>>().len(), alerts.len(), "each has a name of its own");
}

#[test]
fn dashboards_are_told_apart_and_ask_the_prometheus_that_is_provisioned() {
    let source = fs::read_to_string(monitoring().join("grafana/provisioning/datasources/prometheus.yml"));
    let source =
        source.unwrap().lines().find_map(|line| line.trim().strip_prefix("uid: ").map(str::to_owned));
    let source = json!({ "type": "prometheus", "uid": source.unwrap() });
    let dashboards = dashboards();
    let uids: BTreeSet<_> = dashboards.values().map(|one| one["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), dashboards.len());
    assert_eq!(
        dashboards.values().map(|one| one["title"].as_str().unwrap()).collect::<BTreeSet<_>>(),
        BTreeSet::from([
            "Session: Network",
            "Session: Operator",
            "Session: Protocols",
            "Session: Storage and chain"
        ])
    );
    for (name, dashboard) in &dashboards {
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        let panels = dashboard["panels"].as_array().unwrap();
        for panel in panels {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {title} has another's id");
            let at = |edge: &str| panel["gridPos"][edge].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{name}: {title} is too wide");
            for cell in
                (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
            {
                assert!(cells.insert(cell), "{name}: {title} lies over another panel");
            }
            if panel["type"] != "row" {
                assert_eq!(panel["datasource"], source, "{name}: {title}");
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["datasource"], source, "{name}: {title}");
                assert!(!target["legendFormat"].as_str().unwrap().is_empty(), "{name}: {title}");
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            assert_eq!(variable["datasource"], source, "{name}");
            assert_eq!(variable["query"]["query"], "label_values(session_ready, instance)", "{name}");
        }
        assert!(questions(dashboard).len() > 15, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_alert_is_fed_and_alerts_fire_when_something_breaks() {
    let (place, proxy) = up().await;
    let chain = Chain::of(&place);
    let early: Value = chain.rpc.request("eth_getBlockByNumber", json!(["finalized", false])).await.unwrap();
    let doors: Vec<String> =
        place.testnet.status().await.unwrap().into_iter().map(|node| node.http).collect();
    let prometheus = Prometheus::start(&place.testnet.folder().path().join("targets"));
    let alerts = prometheus.alerts().await;
    every_alert_has_its_runbook(&alerts);

    // While all is well every panel has something to show, and nothing fires.
    let network = place.testnet.folder().network().unwrap();
    let client = Client::connect(network, Default::default()).await.unwrap();
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let mut number = 0;
    let mut empty: BTreeSet<_> = dashboards().values().flat_map(questions).collect();
    until_none(&prometheus, &mut empty, async || {
        number += 1;
        client.send(&alice, &bob.id(), &format!("message {number}")).await.unwrap();
        client.inbox(&bob).await.unwrap();
    })
    .await;
    until("nothing to fire", async || {
        let mut firing = prometheus.firing().await;
        // Those are about the machine of whoever runs this.
        firing.retain(|(name, _)| !["SessionDiskFilling", "SessionStoreSlow"].contains(&name.as_str()));
        firing.is_empty().then_some(())
    })
    .await;
    metrics_are_small(&doors).await;

    // Somebody asks more than it may, and a node may have few more files open than it has.
    strain::overload(&place, LEAVES, &prometheus).await;
    strain::few_files(&place, BAD_DISK, &prometheus).await;
    // A node is to leave. Some minute later it loses its seat, whatever else goes on.
    let leaver = place.testnet.folder().network().unwrap().nodes[LEAVES - 1].id;
    chain.leave(LEAVES.try_into().unwrap(), &leaver).await;
    let (disk, ()) = tokio::join!(
        Box::pin(a_disk_fails(&place, &prometheus, &client)),
        Box::pin(endpoints_fail(&prometheus, &proxy, early, &chain)),
    );
    Box::pin(a_node_is_set_up_wrong(&place, &prometheus, &chain)).await;
    // Nobody can pay for submissions.
    for door in &doors {
        let status = get(door, "/status").await.unwrap();
        let account = status["chain"]["account"].as_str().unwrap();
        let _: Value = chain.rpc.request("anvil_setBalance", json!([account, "0x0"])).await.unwrap();
    }
    // The store is filled up. What passes on the way, such as a path that broke, ends nothing.
    let text = "x".repeat(20_000);
    until("a store that refuses", async || {
        let _ = client.send(&alice, &bob.id(), &text).await;
        // The node whose disk was full refused what came then.
        let elsewhere = |at: &str| at != instance(BAD_DISK);
        let firing = prometheus.firing().await;
        firing.iter().any(|(name, at)| name == "SessionStoreRefuses" && elsewhere(at)).then_some(())
    })
    .await;
    // One node crashes again and again, and comes back with a certificate that ends soon; another crashes for good.
    for times in 1..=3 {
        assert!(place.testnet.kill(CRASHES).await.unwrap());
        strain::certify(&place.testnet.folder().data(CRASHES));
        assert_eq!(place.testnet.start(&[CRASHES]).await.unwrap(), [CRASHES]);
        let seen =
            format!("changes(process_start_time_seconds{{instance=\"node-{CRASHES}\"}}[30m]) >= {times}");
        until("a start to be seen", async || (!prometheus.query(&seen).await.is_empty()).then_some(())).await;
        // Starts are told in whole seconds: two within one would be one.
        let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let seen = second();
        until("the next second", async || (second() > seen).then_some(())).await;
    }
    prometheus.until_fired_at(CRASHES, &["SessionCertificateExpires", "SessionRestartLoop"]).await;
    assert!(place.testnet.kill(CLOCK_AHEAD).await.unwrap());
    prometheus.until_fired_at(CLOCK_AHEAD, &["SessionNodeDown"]).await;
    prometheus
        .until_fired(&[
            "SessionCheckpointsStuck",
            "SessionGasLow",
            "SessionReplicationBehind",
            "SessionStoreFilling",
            "SessionStoreRefuses",
            "SessionSubmissionTrouble",
        ])
        .await;
    prometheus.until_fired_at(LEAVES, &["SessionNodeDecommissioned"]).await;

    // The chain is away, and nodes that run serve nobody.
    assert!(place.testnet.stop_chain().await.unwrap());
    prometheus
        .until_fired(&[
            "SessionChainHeld",
            "SessionDecommissionThreatened",
            "SessionEndpointFailing",
            "SessionEpochBehind",
            "SessionNodeNotReady",
        ])
        .await;
    // It comes back, goes on, and then another history is final than the one that was.
    assert!(place.testnet.resume_chain().await.unwrap());
    let height = async || get(&doors[1], "/status").await?["chain"]["height"].as_u64();
    let before = until("node 2 to answer", async || height().await).await;
    until("the chain to be followed again", async || (height().await? > before + 10).then_some(())).await;
    place.testnet.reorganise_chain(8).await.unwrap();
    prometheus.until_fired(&["SessionChainStopped"]).await;
    // Most nodes are away.
    for index in [SET_UP_WRONG, BAD_DISK, CRASHES] {
        place.testnet.kill(index).await.unwrap();
    }
    prometheus.until_fired_at(ASKS_TWO, &["SessionDirectoryOld", "SessionPeersFew"]).await;

    // There is no alert without its fault.
    let mut unmade: BTreeSet<String> =
        alerts.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    unmade.retain(|name| !prometheus.fired().contains(name));
    let left_out: &[&str] = if disk.is_some() { &[] } else { &OF_DISKS };
    assert!(unmade.iter().eq(left_out), "nothing is done for {unmade:?} but what {left_out:?} are for");

    // Whatever a panel or an alert names was seen by now, with these labels.
    let panels = dashboards().values().flat_map(questions).map(|(_, asked)| asked).collect::<Vec<_>>();
    let asks = panels.into_iter().chain(alerts.iter().map(|one| one["query"].as_str().unwrap().to_owned()));
    let named: BTreeSet<String> = asks.flat_map(|one| selectors(&asked(&one))).collect();
    assert!(named.len() > 100, "{named:#?}");
    let mut unknown = Vec::new();
    for selector in named {
        if prometheus.series(&selector).await.is_empty() {
            unknown.push(selector);
        }
    }
    assert!(unknown.is_empty(), "no node has {unknown:#?}");
}

/// A testnet whose nodes keep little, and of which the first asks a second endpoint of the chain.
async fn up() -> (Place, Proxy) {
    let place = Place::new();
    let arguments = vec!["--max-bytes".to_owned(), MAX_BYTES.to_string()];
    let options = Options { nodes: Some(NODES), arguments, chain: true, page: None };
    place.testnet.up(&options, &mut |_, _| {}).await.unwrap_or_else(|error| panic!("{error}"));
    let proxy = Proxy::start(&place.testnet.chain().await.unwrap().unwrap().rpc).await;
    let path = place.testnet.folder().network_path();
    let alone = fs::read_to_string(&path).unwrap();
    let mut network = place.testnet.folder().network().unwrap();
    network.settlement.as_mut().unwrap().rpc.push(proxy.url.clone());
    fs::write(&path, network.to_toml()).unwrap();
    let _ = place.testnet.restart(ASKS_TWO).await.unwrap();
    fs::write(&path, alone).unwrap();
    (place, proxy)
}

/// One bit of what a node keeps is another, its disk is slow, and then it is full. That disk; none, and only the bit, where
/// the node cannot be given one.
async fn a_disk_fails(place: &Place, prometheus: &Prometheus, client: &Client) -> Option<Disk> {
    let network = place.testnet.folder().network().unwrap();
    let (data, node) = (place.testnet.folder().data(BAD_DISK), network.nodes[BAD_DISK - 1].id);
    let owner = Account::generate().unwrap();
    let members = Members::connect(&network).await;
    for text in [TEXT, "what came later"] {
        let store = async || client.store(&owner.id(), Namespace::INBOX, text.into(), DAY, None).await.ok();
        let hash = until("a message to be taken", store).await.hash;
        let kept = async || members.kept(&owner, &node, client.now_ms()).await;
        until("it to be kept", async || kept().await?.contains(&hash).then_some(())).await;
    }
    strain::stop(place, BAD_DISK).await;
    strain::damage(&data, TEXT);
    let disk = Disk::below(&data);
    assert_eq!(place.testnet.start(&[BAD_DISK]).await.unwrap(), [BAD_DISK]);
    let members = Members::connect(&network).await;
    until("damage to be told of", async || {
        members.kept(&owner, &node, client.now_ms()).await;
        prometheus.fires_at(BAD_DISK, "SessionStoreDamaged").await.then_some(())
    })
    .await;

    let disk = disk?;
    let (another, to) = (Account::generate().unwrap(), owner.id());
    until("a slow disk to be told of", async || {
        // It stands still before the message is on its way.
        let ((), _) = tokio::join!(disk.stall(), client.send(&another, &to, "slow"));
        prometheus.fires_at(BAD_DISK, "SessionStoreSlow").await.then_some(())
    })
    .await;
    disk.fill();
    let text = "x".repeat(20_000);
    until("a full disk to be told of", async || {
        let _ = client.send(&another, &to, &text).await;
        prometheus.fires_at(BAD_DISK, "SessionDiskFull").await.then_some(())
    })
    .await;
    prometheus.until_fired_at(BAD_DISK, &["SessionDiskFilling", "SessionStoreFails"]).await;
    disk.clear();
    // The ledger does not go on by itself.
    let _ = place.testnet.restart(BAD_DISK).await.unwrap();
    Some(disk)
}

/// An endpoint lies to the node that asks two, and is not believed. Then it is far behind, and at last silent: the chain is
/// followed by the word of the other alone, and nothing is signed by that. Meanwhile nodes submit what the contract does
/// not take.
async fn endpoints_fail(prometheus: &Prometheus, proxy: &Proxy, early: Value, chain: &Chain) {
    proxy.set(Fault::Hides);
    prometheus.until_fired_at(ASKS_TWO, &["SessionEndpointDisagrees"]).await;
    let code = chain.outdate_contract().await;
    proxy.set(Fault::Stale(early));
    prometheus.until_fired_at(ASKS_TWO, &["SessionEndpointBehind"]).await;
    proxy.set(Fault::Silent);
    prometheus.until_fired_at(ASKS_TWO, &["SessionCheckpointUnsigned"]).await;
    proxy.set(Fault::None);
    prometheus.until_fired(&["SessionSubmissionsRefused"]).await;
    chain.set_contract(&code).await;
}

/// A node announces an address that is not its own, may use little memory when many crowd at its door, and goes by an
/// endpoint that nobody else asks and that tells of another chain. The clock of one more is ahead.
async fn a_node_is_set_up_wrong(place: &Place, prometheus: &Prometheus, chain: &Chain) {
    let proxy = Proxy::start(chain.url()).await;
    let ahead = StandIn::run(place, CLOCK_AHEAD, &[], Some(&clock_ahead(place.path()))).await;
    let door = place.testnet.status().await.unwrap()[SET_UP_WRONG - 1].door.clone().unwrap();
    let door = door.strip_prefix("https://").unwrap().parse().unwrap();
    let flags = ["--announce", "/ip4/127.0.99.1/tcp/1", "--max-memory", "134217728", "--rpc", &proxy.url];
    let wrong = StandIn::run(place, SET_UP_WRONG, &flags, None).await;
    prometheus.until_fired_at(SET_UP_WRONG, &["SessionNodeUnreachable"]).await;
    let crowded = async {
        let crowd = strain::crowd(door);
        prometheus.until_fired_at(SET_UP_WRONG, &["SessionDoorFails", "SessionMemoryHigh"]).await;
        drop(crowd);
    };
    chain.end_epoch_otherwise(&proxy, crowded).await;
    prometheus.until_fired_at(SET_UP_WRONG, &["SessionCheckpointsDisagree"]).await;
    prometheus.until_fired_at(CLOCK_AHEAD, &["SessionClockOff"]).await;
    drop((wrong, ahead));
    // It was told what never happened: it begins anew.
    fs::remove_file(place.testnet.folder().data(SET_UP_WRONG).join("chain.redb")).unwrap();
    let both = [SET_UP_WRONG, CLOCK_AHEAD];
    assert_eq!(place.testnet.start(&both).await.unwrap(), both);
}

/// Each alert says what happened, and leads to an entry of the handbook.
fn every_alert_has_its_runbook(alerts: &[Value]) {
    let handbook = fs::read_to_string(monitoring().join("../../node/README.md")).unwrap();
    let headings: BTreeSet<_> = handbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    for alert in alerts {
        let (name, said) = (alert["name"].as_str().unwrap(), &alert["annotations"]);
        for text in ["summary", "description"] {
            assert!(said[text].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {text}");
        }
        assert_eq!(said["runbook"], format!("node/README.md#{}", name.to_lowercase()));
        assert!(headings.contains(name), "{name} is not in the handbook");
        let severity = alert["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name} is {severity:?}");
    }
    for heading in headings.iter().filter(|heading| heading.starts_with("Session")) {
        assert!(alerts.iter().any(|alert| alert["name"] == **heading), "the handbook has {heading}");
    }
}

/// Asks until each question has an answer, and does something in between, so that there is something to answer.
async fn until_none(
    prometheus: &Prometheus,
    empty: &mut BTreeSet<(String, String)>,
    mut meanwhile: impl AsyncFnMut(),
) {
    let end = Instant::now() + PATIENCE;
    loop {
        meanwhile().await;
        let mut left = BTreeSet::new();
        for (title, expression) in std::mem::take(empty) {
            if !prometheus.has(&asked(&expression)).await {
                left.insert((title, expression));
            }
        }
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "nothing comes of {left:#?}");
        *empty = left;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What each node tells Prometheus is below 500 KB.
async fn metrics_are_small(doors: &[String]) {
    for door in doors {
        let text = reqwest::get(format!("http://{door}/metrics")).await.unwrap().text().await.unwrap();
        assert!(text.len() < 500_000, "{door}: {} bytes", text.len());
    }
}
