//! The door for people who watch: `/livez`, `/readyz`, `/metrics`, `/status`. What changes anything is behind the
//! guard of [`admin`]; nothing is told to a page whose name was made to lead to loopback.

pub mod admin;
mod bounded;
mod chain;
mod host;
mod markup;
mod reachability;

pub use bounded::{Bounded, Work};
pub(crate) use chain::Chain;
pub use markup::page;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use data_encoding::HEXLOWER;
use prometheus::{IntCounterVec, core::Collector};
use serde::Serialize;
use session_protocols::{NetworkName, NodeId};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use crate::{
    member::{self, Inspection, Job},
    metrics::{HostMetrics, Metrics},
    network::Contacts,
    onion::Hop,
};
use reachability::Reachability;

/// Connections that are served at once; more wait until one of them ends.
pub(crate) const CONNECTIONS: usize = 32;
/// How long one may last, whatever it is doing: whoever wants more connects again.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60);

/// What the door shows.
pub(crate) struct View {
    pub(crate) id: NodeId,
    pub(crate) network: NetworkName,
    /// How many bytes of messages may be kept.
    pub(crate) max_bytes: u64,
    pub(crate) http: SocketAddr,
    /// Where the door for the clients that exist listens.
    pub(crate) doors: Vec<SocketAddr>,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) contacts: watch::Receiver<Contacts>,
    pub(crate) metrics: Metrics,
    pub(crate) host: HostMetrics,
    pub(crate) hop: Hop,
    /// The settlement chain, if the node follows one.
    pub(crate) chain: Option<Chain>,
    pub(crate) libp2p: prometheus_client::registry::Registry,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// One check of readiness.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Status {
    id: NodeId,
    network: String,
    state: &'static str,
    swarm: Option<String>,
    /// Nodes in contact.
    peers: usize,
    /// Messages kept; no tombstones.
    messages: u64,
    bytes: u64,
    /// How many bytes may be kept.
    max_bytes: u64,
    traffic: Traffic,
    subscriptions: usize,
    /// Whether it may still keep what other swarms keep since the map changed.
    handing_over: bool,
    /// Equal at members that hold the same records.
    fingerprint: String,
    addresses: Vec<String>,
    /// What other nodes found when they dialled this one.
    reachability: Reachability,
    /// The newest certified snapshot of the directory.
    snapshot: Option<Snapshot>,
    /// The settlement chain, where nodes register on one.
    chain: Option<chain::Shown>,
    http: String,
    /// Where the clients that exist are served.
    doors: Vec<String>,
    version: &'static str,
}

/// What was asked of the node since it started.
#[derive(Serialize)]
struct Traffic {
    requests: u64,
    refused: u64,
    onion_packets: u64,
    swarm_requests: u64,
}

#[derive(Serialize)]
struct Snapshot {
    period: u64,
    /// Since the border of its period, in seconds.
    age_s: u64,
    nodes: usize,
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, view: View, admin: Router) -> std::io::Result<()> {
    let listens = view.http.ip();
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/", get(status_page))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(Arc::new(view))
        .merge(admin);
    let router = host::shield(router, listens);
    axum::serve(Bounded::new(listener, CONNECTIONS, LIFETIME), router).await
}

impl View {
    async fn inspect(&self) -> Option<Inspection> {
        member::inspect(&self.jobs).await
    }

    /// What has to hold for clients to be served.
    fn checks(&self, inspection: Option<&Inspection>) -> Vec<Check> {
        let stopping = *self.stopping.borrow();
        let mut checks = vec![Check {
            name: "store",
            ok: inspection.is_some(),
            detail: if inspection.is_some() { "open".into() } else { "not answering".into() },
        }];
        if let Some(inspection) = inspection {
            checks.push(Check {
                name: "disk",
                ok: !inspection.full,
                detail: if inspection.full { "full: make room".into() } else { "has room".into() },
            });
            checks.push(Check {
                name: "swarm",
                ok: inspection.swarm.is_some(),
                detail: inspection.swarm.map_or_else(|| "in no swarm yet".into(), |swarm| swarm.to_string()),
            });
            let (current, others) = (inspection.current, inspection.members.saturating_sub(1));
            checks.push(Check {
                name: "caught_up",
                ok: inspection.ready,
                detail: format!("compared with {current} of {others} other members"),
            });
        }
        let contacts = self.contacts.borrow();
        let (ok, detail) = contacts.announced.told();
        checks.push(Check { name: "addresses", ok, detail });
        let reached = contacts.reached.told(&contacts.announced.inside);
        checks.extend(reached.map(|(ok, detail)| Check { name: "reachable", ok, detail }));
        drop(contacts);
        checks.extend(self.chain.iter().flat_map(Chain::checks));
        let kept = self.hop.has_kept();
        checks.push(Check {
            name: "onion_keys",
            ok: kept,
            detail: if kept {
                "kept".into()
            } else {
                "cannot be written: make the data folder writable".into()
            },
        });
        checks.push(Check {
            name: "running",
            ok: !stopping,
            detail: if stopping { "stopping".into() } else { "running".into() },
        });
        checks
    }
}

/// The status page: it puts nothing that it hears into its markup.
async fn status_page() -> impl IntoResponse {
    page(include_str!("http/page.html"))
}

/// What a counter counted, whatever its labels.
fn all(counter: &IntCounterVec) -> u64 {
    let families = counter.collect();
    let all = families.iter().flat_map(|family| family.get_metric());
    // Counts of requests: exact far beyond what a node sees.
    all.map(|metric| metric.get_counter().get_value() as u64).sum()
}

async fn readyz(State(view): State<Arc<View>>) -> impl IntoResponse {
    let checks = view.checks(view.inspect().await.as_ref());
    let ready = checks.iter().all(|check| check.ok);
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { ready, checks }))
}

async fn metrics(State(view): State<Arc<View>>) -> impl IntoResponse {
    let inspection = view.inspect().await;
    inspection.iter().for_each(|one| view.metrics.show_member(one));
    let checks = view.checks(inspection.as_ref());
    view.metrics.show_checks(checks.iter().map(|check| (check.name, check.ok)));
    view.metrics.show_reached(&view.contacts.borrow());
    view.chain.iter().for_each(Chain::count);
    view.host.count();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], view.metrics.render(&view.libp2p))
}

async fn status(State(view): State<Arc<View>>) -> impl IntoResponse {
    let inspection = view.inspect().await;
    let Contacts { peers, listening, snapshot, reached, .. } = view.contacts.borrow().clone();
    let state = match &inspection {
        _ if *view.stopping.borrow() => "stopping",
        None => "starting",
        Some(inspection) if inspection.ready => "ready",
        Some(_) => "syncing",
    };
    Json(Status {
        id: view.id,
        network: view.network.to_string(),
        state,
        swarm: inspection.as_ref().and_then(|one| one.swarm).map(|swarm| swarm.to_string()),
        peers,
        messages: inspection.as_ref().map_or(0, |one| one.messages),
        bytes: inspection.as_ref().map_or(0, |one| one.bytes),
        max_bytes: view.max_bytes,
        traffic: Traffic {
            requests: all(&view.metrics.requests_total),
            refused: all(&view.metrics.refused_total),
            onion_packets: all(&view.metrics.onion_packets_total),
            swarm_requests: view.metrics.swarm_requests_total.get(),
        },
        subscriptions: inspection.as_ref().map_or(0, |one| one.subscriptions),
        handing_over: inspection.as_ref().is_some_and(|one| one.handing_over),
        fingerprint: inspection.map_or_else(String::new, |one| HEXLOWER.encode(&one.fingerprint)),
        addresses: listening,
        reachability: (&reached).into(),
        snapshot: snapshot.map(|seen| Snapshot {
            period: seen.period,
            age_s: crate::now().since(seen.border).as_millis() / 1_000,
            nodes: seen.nodes,
        }),
        chain: view.chain.as_ref().map(Chain::shown),
        http: view.http.to_string(),
        doors: view.doors.iter().map(|address| format!("https://{address}")).collect(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_member_that_is_stuck_is_said_not_to_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        // Nobody takes jobs from this queue, and it is full after one.
        let (jobs, _queue) = mpsc::channel(1);
        let (_contacts, contacts) = watch::channel(Contacts::default());
        let (_stop, stopping) = watch::channel(false);
        let (id, metrics) = (NodeId::from_bytes([1; 32]), Metrics::new().unwrap());
        let libp2p = prometheus_client::registry::Registry::default();
        let data = tempfile::tempdir().unwrap();
        let hop =
            Hop::open(data.path(), "test".parse().unwrap(), id, std::collections::BTreeSet::new(), true)
                .unwrap();
        let doors = vec!["[::1]:22443".parse().unwrap()];
        let host = HostMetrics::new(&metrics, data.path().to_owned(), 2 << 30, "1").unwrap();
        let (network, max_bytes) = ("test".parse().unwrap(), 1);
        let view = View {
            id,
            network,
            max_bytes,
            http,
            doors,
            jobs,
            contacts,
            metrics,
            host,
            hop,
            chain: None,
            libp2p,
            stopping,
        };
        let door = tokio::spawn(serve(listener, view, Router::new()));
        let ask = async |path: &str| {
            let mut stream = tokio::net::TcpStream::connect(http).await.unwrap();
            let request = format!("GET /{path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (readiness, status, metrics) = tokio::join!(ask("readyz"), ask("status"), ask("metrics"));
        assert!(readiness.contains(" 503 ") && readiness.contains("not answering"), "{readiness}");
        assert!(status.contains(r#""doors":["https://[::1]:22443"]"#), "{status}");
        assert!(status.contains("starting"), "{status}");
        // Those who watch see the same, and how the machine is.
        for line in [
            "session_ready 0",
            "session_check{check=\"store\"} 0",
            "session_check{check=\"running\"} 1",
            "session_info{version=\"1\"} 1",
            "\nprocess_resident_memory_bytes ",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        let free = metrics.lines().find_map(|line| line.strip_prefix("session_disk_free_bytes "));
        assert!(free.and_then(|free| free.parse::<u64>().ok()) > Some(0), "{free:?}");
        door.abort();
    }
}
