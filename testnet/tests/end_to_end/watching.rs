//! Dashboards and alerts: what they ask a real Prometheus that watches a testnet, and what fires when a fault is made.
//!
//! What cannot be broken in a minute (a disk, a clock, a list of nodes) is in `monitoring/alerts.test.yml`: invented
//! series, for every alert. Here the series are those of nodes.

mod expressions;
mod prometheus;
mod strain;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use session_chain::settlement::Endpoint;
use session_client::{Account, Client};
use session_testnet::Options;

use crate::{
    proxy::{Fault, Proxy},
    support::{PATIENCE, Place, get, until},
};
use expressions::selectors;
use prometheus::{Prometheus, promtool};

/// What a node may keep here, so that a few messages fill it.
const MAX_BYTES: u64 = 1 << 20;
/// How many nodes there are.
const NODES: usize = 6;

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
    let rpc = place.testnet.chain().await.unwrap().unwrap().rpc;
    let rpc = Endpoint::new(&rpc).unwrap().rpc();
    let early: Value = rpc.request("eth_getBlockByNumber", json!(["finalized", false])).await.unwrap();
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
        firing.remove("SessionDiskFilling");
        firing.remove("SessionStoreSlow");
        firing.is_empty().then_some(())
    })
    .await;
    metrics_are_small(&doors).await;

    // Somebody asks more than it may, and a node may have few more files open than it has.
    strain::overload(&place, &prometheus).await;
    strain::few_files(&place, 4, &prometheus).await;
    // Node 1 asks a second endpoint, which lies, and is not believed. Then it is far behind, and at last silent: the
    // chain is followed by the word of the other alone, and nothing is signed by that.
    proxy.set(Fault::Hides);
    prometheus.until_fired(&["SessionEndpointDisagrees"]).await;
    proxy.set(Fault::Stale(early));
    prometheus.until_fired(&["SessionEndpointBehind"]).await;
    proxy.set(Fault::Silent);
    prometheus.until_fired(&["SessionCheckpointUnsigned"]).await;
    proxy.set(Fault::None);
    // Nobody can pay for submissions.
    for door in &doors {
        let status = get(door, "/status").await.unwrap();
        let account = status["chain"]["account"].as_str().unwrap();
        let _: Value = rpc.request("anvil_setBalance", json!([account, "0x0"])).await.unwrap();
    }
    // The store is filled up. What passes on the way, such as a path that broke, ends nothing.
    let text = "x".repeat(20_000);
    until("a store that refuses", async || {
        let _ = client.send(&alice, &bob.id(), &text).await;
        prometheus.firing().await.contains("SessionStoreRefuses").then_some(())
    })
    .await;
    // One node crashes again and again, and comes back with a certificate that ends soon; another crashes for good.
    let crashes = NODES - 1;
    for times in 1..=3 {
        assert!(place.testnet.kill(crashes).await.unwrap());
        strain::certify(&place.testnet.folder().data(crashes));
        assert_eq!(place.testnet.start(&[crashes]).await.unwrap(), [crashes]);
        let seen =
            format!("changes(process_start_time_seconds{{instance=\"node-{crashes}\"}}[30m]) >= {times}");
        until("a start to be seen", async || (!prometheus.query(&seen).await.is_empty()).then_some(())).await;
        // Starts are told in whole seconds: two within one would be one.
        let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let seen = second();
        until("the next second", async || (second() > seen).then_some(())).await;
    }
    assert!(place.testnet.kill(NODES).await.unwrap());
    prometheus
        .until_fired(&[
            "SessionCertificateExpires",
            "SessionCheckpointsStuck",
            "SessionGasLow",
            "SessionNodeDown",
            "SessionReplicationBehind",
            "SessionRestartLoop",
            "SessionStoreFilling",
            "SessionSubmissionTrouble",
        ])
        .await;

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
    for index in 3..NODES {
        place.testnet.kill(index).await.unwrap();
    }
    prometheus.until_fired(&["SessionPeersFew"]).await;

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
    let _ = place.testnet.restart(1).await.unwrap();
    fs::write(&path, alone).unwrap();
    (place, proxy)
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
