//! Runs the first nodes of a public test network, and serves its description.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::header,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{StreamExt, stream::FuturesUnordered};
use session_node::{Bounded, Config, LogControl};
use session_protocols::directory::Endpoint;
use tokio::{net::TcpListener, sync::watch};

use super::{
    Public, PublicError,
    callers::Peer,
    coins, data,
    faucet::{self, Faucet},
    nodes::{PAUSES, keep, write_settings},
    places::{is_own, listens, near, served, taken},
    renewal,
};

/// Connections of each address that are served at once; more wait until one of them ends.
const CONNECTIONS: usize = 128;
/// Those of one prefix.
const OF_PREFIX: usize = 8;
/// How long one may last: a loan takes some blocks.
const LIFETIME: Duration = Duration::from_secs(200);
/// How long nothing may be asked on one, nor be answered.
const SILENCE: Duration = Duration::from_secs(10);
/// What each node adds to the memory from which on all of them refuse new connections: they count that of the process.
const MEMORY: usize = 256 << 20;
/// How often the description is signed anew: it is believed for an hour at least.
const RENEWAL: Duration = Duration::from_secs(600);

/// What is served.
pub(super) struct Desk {
    public: Public,
    /// The description.
    text: RwLock<String>,
    url: String,
    /// Those of its addresses that this machine has.
    pub(super) own: Vec<IpAddr>,
    pub(super) faucet: Arc<Faucet>,
}

/// Runs the nodes, each with its door for people who watch at a port of loopback from `status` on, and serves the
/// description at the port `http` of the addresses `ips`, which others know as `url`; until `shutdown` completes. By `log`
/// each of them changes what the process logs.
/// What this machine does not have of these addresses a router leads to it.
///
/// # Errors
/// When the address is taken, or a node cannot start. One that fails later begins again.
pub async fn serve(
    public: Public,
    (ips, http): (&[IpAddr], u16),
    url: String,
    status: u16,
    log: LogControl,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), PublicError> {
    let own = ips.iter().copied().filter(|ip| is_own(*ip)).collect();
    let mut listeners = Vec::new();
    for at in served(ips, http) {
        listeners.push(TcpListener::bind(at).await.map_err(taken(at, "--http-port"))?);
    }
    let network = near(&public.network);
    let (stop, stopping) = watch::channel(false);
    let mut nodes: FuturesUnordered<_> = FuturesUnordered::new();
    for (index, node) in (1_usize..).zip(&public.network.nodes) {
        let announce: Vec<Endpoint> = node.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let listen: Vec<_> = announce.iter().map(listens).collect();
        let port = status.saturating_add(u16::try_from(index).unwrap_or(u16::MAX)).saturating_sub(1);
        let door = SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = Config::new(network.clone(), data(&public.folder, index), listen, door);
        config.max_memory = config.max_memory.max(MEMORY.saturating_mul(public.network.nodes.len()));
        config.log = Some(log.clone());
        if config.listen != announce {
            config.announce = announce;
        }
        write_settings(&config)?;
        let run = {
            let stopping = stopping.clone();
            move || {
                let mut stopping = stopping.clone();
                let told = async move {
                    // Whoever stops all of them says so; whoever is gone cannot.
                    let _ = stopping.wait_for(|stop| *stop).await;
                };
                session_node::run(config.clone(), told)
            }
        };
        let node = keep(index, stopping.clone(), PAUSES, run);
        nodes.push(async move { (index, node.await) });
    }
    let faucet = Arc::new(Faucet::open(&public)?);
    let mut sweep = Box::pin(Arc::clone(&faucet).sweep());
    let text = RwLock::new(public.text.clone());
    let desk = Arc::new(Desk { public, text, url, own, faucet });
    let renews = tokio::spawn(renew(Arc::clone(&desk)));
    let router = Router::new()
        .route("/", get(page))
        .route("/network.toml", get(description))
        .route("/faucet", get(page).post(faucet::ask).layer(DefaultBodyLimit::max(faucet::MAX_BODY)))
        .route("/faucet/wallet", post(coins::ask).layer(DefaultBodyLimit::max(faucet::MAX_BODY)))
        .with_state(desk)
        .into_make_service_with_connect_info::<Peer>();
    let mut http: FuturesUnordered<_> = listeners
        .into_iter()
        .map(|listener| Bounded::new(listener, CONNECTIONS, LIFETIME).for_strangers(OF_PREFIX, SILENCE))
        .map(|listener| tokio::spawn(axum::serve(listener, router.clone()).into_future()))
        .collect();
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        () = &mut sweep => Ok(()),
        Some(_) = http.next() => Ok(()),
        Some((index, ended)) = nodes.next() => ended.map_err(|source| PublicError::Node { index, source }),
    };
    let _ = stop.send(true);
    let mut result = ended;
    while let Some((index, ended)) = nodes.next().await {
        let ended = ended.map_err(|source| PublicError::Node { index, source });
        result = if result.is_ok() { ended } else { result };
    }
    renews.abort();
    http.iter().for_each(tokio::task::JoinHandle::abort);
    result
}

async fn description(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let text = desk.text.read().unwrap_or_else(PoisonError::into_inner).clone();
    ([(header::CONTENT_TYPE, "application/toml; charset=utf-8")], text)
}

/// Signs the description anew, again and again, for as long as this is polled.
async fn renew(desk: Arc<Desk>) {
    let mut often = tokio::time::interval(RENEWAL);
    loop {
        often.tick().await;
        match renewal::vouched(&desk.public).await {
            Ok(Some(text)) => *desk.text.write().unwrap_or_else(PoisonError::into_inner) = text,
            Ok(None) => tracing::warn!(
                "a node of the description is not registered any more: newcomers stop to believe it"
            ),
            Err(error) => {
                tracing::warn!(%error, "the description could not be signed anew; it is tried again")
            }
        }
    }
}

/// What somebody sees who opens the address in a browser.
async fn page(State(desk): State<Arc<Desk>>) -> Response {
    let name = &desk.public.network.name;
    let url = desk.url.replace('&', "&amp;").replace('<', "&lt;");
    session_node::page(format!(
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{name}</title><style>body{{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem;\
         color-scheme:light dark}}pre{{overflow-x:auto;padding:.75rem;border:1px solid;border-radius:.4rem}}</style>\
         <h1>{name}</h1><p>A test network of Session nodes. Its tokens are worth nothing.</p>\
         <p>Run a node of it:</p><pre>session join {url}</pre>\
         <p>The command asks the faucet here for the node's stake, once other nodes can reach it: one for each \
         address prefix and day. The stake is lent: it cannot be sent elsewhere, and comes back when the node leaves.</p>\
         <p>Use it:</p><pre>session network add {url}\nsession --network {name} account new\nsession --network {name} wallet faucet</pre>\
         <p><a href=/network.toml>Its description</a></p>"
    ))
}
