//! The door for people who watch: `/livez`, `/readyz`, `/metrics`, `/status`. It changes nothing.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use data_encoding::HEXLOWER;
use serde::Serialize;
use session_protocols::NodeId;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use crate::{
    member::{self, Inspection, Job},
    metrics::Metrics,
    network::Contacts,
};

/// What the door shows.
pub(crate) struct View {
    pub(crate) id: NodeId,
    pub(crate) http: SocketAddr,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) contacts: watch::Receiver<Contacts>,
    pub(crate) metrics: Metrics,
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
    state: &'static str,
    swarm: Option<String>,
    /// Nodes in contact.
    peers: usize,
    /// Records kept, tombstones included.
    messages: u64,
    bytes: u64,
    subscriptions: usize,
    /// Equal at members that hold the same records.
    fingerprint: String,
    addresses: Vec<String>,
    /// The newest certified snapshot of the directory.
    snapshot: Option<Snapshot>,
    http: String,
    version: &'static str,
}

#[derive(Serialize)]
struct Snapshot {
    period: u64,
    /// Since the border of its period, in seconds.
    age_s: u64,
    nodes: usize,
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, view: View) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(Arc::new(view));
    axum::serve(listener, router).await
}

impl View {
    async fn inspect(&self) -> Option<Inspection> {
        member::inspect(&self.jobs).await
    }
}

async fn readyz(State(view): State<Arc<View>>) -> impl IntoResponse {
    let inspection = view.inspect().await;
    let stopping = *view.stopping.borrow();
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
    checks.push(Check {
        name: "running",
        ok: !stopping,
        detail: if stopping { "stopping".into() } else { "running".into() },
    });
    let ready = checks.iter().all(|check| check.ok);
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { ready, checks }))
}

async fn metrics(State(view): State<Arc<View>>) -> impl IntoResponse {
    let _ = view.inspect().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], view.metrics.render(&view.libp2p))
}

async fn status(State(view): State<Arc<View>>) -> impl IntoResponse {
    let inspection = view.inspect().await;
    let Contacts { peers, listening, snapshot } = view.contacts.borrow().clone();
    let state = match &inspection {
        _ if *view.stopping.borrow() => "stopping",
        None => "starting",
        Some(inspection) if inspection.ready => "ready",
        Some(_) => "syncing",
    };
    Json(Status {
        id: view.id,
        state,
        swarm: inspection.as_ref().and_then(|one| one.swarm).map(|swarm| swarm.to_string()),
        peers,
        messages: inspection.as_ref().map_or(0, |one| one.records),
        bytes: inspection.as_ref().map_or(0, |one| one.bytes),
        subscriptions: inspection.as_ref().map_or(0, |one| one.subscriptions),
        fingerprint: inspection.map_or_else(String::new, |one| HEXLOWER.encode(&one.fingerprint)),
        addresses: listening,
        snapshot: snapshot.map(|seen| Snapshot {
            period: seen.period,
            age_s: crate::now().since(seen.border).as_millis() / 1_000,
            nodes: seen.nodes,
        }),
        http: view.http.to_string(),
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
        let view = View { id, http, jobs, contacts, metrics, libp2p, stopping };
        let door = tokio::spawn(serve(listener, view));
        let ask = async |path: &str| {
            let mut stream = tokio::net::TcpStream::connect(http).await.unwrap();
            let request = format!("GET /{path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (readiness, status, metrics) = tokio::join!(ask("readyz"), ask("status"), ask("metrics"));
        assert!(readiness.contains(" 503 ") && readiness.contains("not answering"), "{readiness}");
        assert!(status.contains("starting") && metrics.contains("session_ready"), "{status}");
        door.abort();
    }
}
