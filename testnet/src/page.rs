//! The network page of a testnet: its nodes in their swarms, what flows, and buttons to kill and restart nodes.
//!
//! It is a process of its own that lives as long as the nodes do: [`Testnet::up`](crate::Testnet::up) starts it,
//! [`Testnet::down`](crate::Testnet::down) ends it. It serves on loopback, and asks the nodes of this machine alone.
//! What changes anything is behind the guard of [`session_node::admin`], whose token is in the testnet's folder and,
//! behind the #, in the address of the page.
//!
//! - [`serve`]: what the process does
//! - [`PageStatus`]: where to look at it

mod state;

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener as Probe},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use session_node::{
    Bounded,
    admin::{Admin, Guard},
    page,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot},
    time::Instant,
};

use crate::{
    error::TestnetError,
    layout::{Folder, Lock, POLL, State as Written, gone},
    network::Testnet,
    process::Process,
};
use state::Drawn;

/// Connections that are served at once; more wait until one of them ends.
const CONNECTIONS: usize = 32;
/// How long one may last: a node may take a minute until it is ready.
const LIFETIME: Duration = Duration::from_secs(200);
/// Orders that wait to be taken up; a connection has one at a time.
const ORDERS: usize = CONNECTIONS;
/// How long what was seen of the nodes is shown again, however many look.
const FRESH: Duration = Duration::from_millis(500);
/// How long the page may take to serve, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is written down about the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    port: u16,
    process: Option<Process>,
}

/// The page of a testnet that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PageStatus {
    /// What to open: with the token of its buttons.
    pub url: String,
    /// Its process.
    pub pid: u32,
}

impl Testnet {
    /// Starts the page, unless it runs where it is wanted.
    pub(crate) async fn open_page(
        &self,
        state: &mut Written,
        port: u16,
        lock: &Lock,
    ) -> Result<(), TestnetError> {
        if let Some(page) = &state.page {
            if page.serves(port) {
                return Ok(());
            }
            page.stop().await?;
        }
        state.page = Some(Page::start(self, port).await?);
        self.folder.write(state, lock)
    }

    /// The page, while one runs.
    ///
    /// # Errors
    /// When there is no testnet.
    pub fn page(&self) -> Result<Option<PageStatus>, TestnetError> {
        Ok(self.folder.state()?.page.and_then(|page| page.status(&self.folder)))
    }
}

impl Page {
    /// Starts one at a port, or at a free one if that is 0.
    pub(crate) async fn start(testnet: &Testnet, port: u16) -> Result<Self, TestnetError> {
        let Testnet { folder, binary, .. } = testnet;
        let free = Probe::bind((Ipv4Addr::LOCALHOST, port)).and_then(|probe| probe.local_addr());
        let port = free.map_err(|cause| TestnetError::PagePort { port, cause })?.port();
        // The token of one that ended is no sign of this one.
        let token = folder.page().join(session_node::admin::FILE);
        gone(fs::remove_file(&token), "remove", &token)?;
        let arguments: [OsString; 6] = [
            "testnet".into(),
            "page".into(),
            "--port".into(),
            port.to_string().into(),
            "--dir".into(),
            folder.path().into(),
        ];
        let spawned = Process::spawn(binary, arguments, &folder.page_log());
        let process = spawned.map_err(|cause| TestnetError::Spawn { binary: binary.to_owned(), cause })?;
        let page = Self { port, process: Some(process) };
        let until = Instant::now() + PATIENCE;
        while page.status(folder).is_none() {
            if page.running().is_none() || Instant::now() >= until {
                page.stop().await?;
                return Err(TestnetError::PageSilent { log: folder.page_log() });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(page)
    }

    /// Whether it runs, at this port if one is named.
    pub(crate) fn serves(&self, port: u16) -> bool {
        self.running().is_some() && (port == 0 || port == self.port)
    }

    /// How it is; none while it does not serve.
    pub(crate) fn status(&self, folder: &Folder) -> Option<PageStatus> {
        let process = self.running()?;
        // It is written when the page listens.
        let Admin { address, token } = Admin::of(&folder.page()).ok()?;
        let url = format!("http://{address}/#{}", token.as_str());
        (address.port() == self.port).then_some(PageStatus { url, pid: process.pid })
    }

    /// Ends it; kills it when that takes too long.
    pub(crate) async fn stop(&self) -> Result<(), TestnetError> {
        for signal in [Signal::TERM, Signal::KILL] {
            let Some(process) = self.running() else { break };
            process.signal(signal).map_err(|cause| TestnetError::PageSignal { cause })?;
            let until = Instant::now() + PATIENCE;
            while self.running().is_some() && Instant::now() < until {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    fn running(&self) -> Option<&Process> {
        self.process.as_ref().filter(|process| process.is_running())
    }
}

/// What somebody at the page wants, and where the answer goes. They are carried out in one place, beside the server.
struct Order {
    what: What,
    answer: oneshot::Sender<Answer>,
}

/// What somebody wants.
#[derive(Clone, Copy)]
enum What {
    Look,
    Kill(usize),
    Restart(usize),
}

type Answer = Result<Came, Refusal>;

/// What came of an order.
enum Came {
    State(Arc<Drawn>),
    Done(usize),
}

/// Why nothing came of it.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// What was seen of the nodes last, and when.
type Last = Mutex<Option<(Instant, Arc<Drawn>)>>;

/// Serves the page of a testnet at a port of loopback, a free one if that is 0, until the process ends.
///
/// # Errors
/// When the port is taken, or the token cannot be written.
pub async fn serve(testnet: &Testnet, port: u16) -> Result<(), TestnetError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let failed = |cause| TestnetError::PagePort { port, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let home = testnet.folder().page();
    let made = fs::create_dir_all(&home).and_then(|()| Guard::open(&home, address));
    let guard = made.map_err(|cause| TestnetError::Io { deed: "write to", path: home, cause })?;
    let (orders, mut queue) = mpsc::channel(ORDERS);
    let listener = Bounded::new(listener, CONNECTIONS, LIFETIME);
    let mut http = std::pin::pin!(axum::serve(listener, routes(&guard, orders)).into_future());
    let last = Last::default();
    let mut work: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            ended = &mut http => return ended.map_err(failed),
            Some(order) = queue.recv() => work.push(Box::pin(carry_out(testnet, &last, order))),
            Some(()) = work.next() => {}
        }
    }
}

async fn carry_out(testnet: &Testnet, last: &Last, Order { what, answer }: Order) {
    let came = match what {
        What::Look => look(testnet, last).await.map(Came::State),
        What::Kill(node) => testnet.kill(node).await.map(|_| Came::Done(node)),
        What::Restart(node) => testnet.restart(node).await.map(|_| Came::Done(node)),
    };
    // Whoever asked may have gone.
    let _ = answer.send(came.map_err(|error| Refusal::from(&error)));
}

/// How the nodes are, as of half a second ago at most.
async fn look(testnet: &Testnet, last: &Last) -> Result<Arc<Drawn>, TestnetError> {
    // Held while they are asked: who comes meanwhile gets the same.
    let mut last = last.lock().await;
    if let Some((_, drawn)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return Ok(Arc::clone(drawn));
    }
    let drawn = Arc::new(Drawn::of(testnet).await?);
    *last = Some((Instant::now(), Arc::clone(&drawn)));
    Ok(drawn)
}

fn routes(guard: &Guard, orders: mpsc::Sender<Order>) -> Router {
    let deeds =
        Router::new().route("/nodes/{node}/kill", post(kill)).route("/nodes/{node}/restart", post(restart));
    let router =
        Router::new().route("/", get(network_page)).route("/state", get(state)).merge(guard.protect(deeds));
    guard.shield(router.with_state(orders))
}

/// It puts nothing that it hears into its markup.
async fn network_page() -> impl IntoResponse {
    page(include_str!("page/page.html"))
}

async fn state(State(orders): State<mpsc::Sender<Order>>) -> Response {
    ask(&orders, What::Look).await
}

async fn kill(State(orders): State<mpsc::Sender<Order>>, Path(node): Path<usize>) -> Response {
    ask(&orders, What::Kill(node)).await
}

async fn restart(State(orders): State<mpsc::Sender<Order>>, Path(node): Path<usize>) -> Response {
    ask(&orders, What::Restart(node)).await
}

async fn ask(orders: &mpsc::Sender<Order>, what: What) -> Response {
    let (answer, came) = oneshot::channel();
    if orders.try_send(Order { what, answer }).is_err() {
        return Refusal::unavailable("busy", "too much is asked at once: try again").into_response();
    }
    match came.await {
        Ok(Ok(Came::State(drawn))) => Json(&*drawn).into_response(),
        Ok(Ok(Came::Done(node))) => Json(json!({ "node": node })).into_response(),
        Ok(Err(refusal)) => refusal.into_response(),
        Err(_) => {
            Refusal::unavailable("ending", "the page ends: start it with session testnet up").into_response()
        }
    }
}

impl Refusal {
    fn unavailable(code: &'static str, message: &str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code, message: message.to_owned() }
    }
}

impl From<&TestnetError> for Refusal {
    fn from(error: &TestnetError) -> Self {
        let unknown = matches!(error, TestnetError::NoNode { .. });
        let status = if unknown { StatusCode::NOT_FOUND } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self { status, code: error.code(), message: format!("{error}: {}", error.remedy()) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
    }
}
