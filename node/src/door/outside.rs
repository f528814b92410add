//! Servers outside that onion requests may go to: those that the operator named, and nobody else.

use std::{collections::BTreeSet, sync::OnceLock, time::Duration};

use reqwest::{Client, redirect::Policy};
use session_protocols::door::{MAX_REQUEST, Reply, onion::Server};
use tokio::sync::Semaphore;

/// How long a server may take over its answer.
const PATIENCE: Duration = Duration::from_secs(25);
/// Requests under way to servers at once.
const AT_ONCE: usize = 32;

/// The way to them.
pub(super) struct Outside {
    servers: BTreeSet<String>,
    /// Made when the first request goes out; none where the system has no TLS to offer.
    client: OnceLock<Option<Client>>,
    room: Semaphore,
}

impl Outside {
    /// To these hosts, named as clients name them.
    pub(super) fn new(servers: &BTreeSet<String>) -> Self {
        let servers = servers.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { servers, client: OnceLock::new(), room: Semaphore::new(AT_ONCE) }
    }

    /// What the server answers, which it has sealed itself.
    ///
    /// # Errors
    ///
    /// What the client is told where there is no such answer.
    pub(super) async fn post(&self, server: &Server, body: Vec<u8>) -> Result<Vec<u8>, Reply> {
        if !self.servers.contains(&server.host.to_ascii_lowercase()) {
            return Err(Reply::text(403, "requests to this server are not forwarded"));
        }
        let busy = |_| Reply::text(503, "too many requests are under way to servers");
        let _place = self.room.try_acquire().map_err(busy)?;
        match tokio::time::timeout(PATIENCE, self.ask(server, body)).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(status))) => Err(Reply::text(status, "the server refuses")),
            Ok(Err(_)) => Err(Reply::text(502, "the server cannot be reached")),
            Err(_) => Err(Reply::text(504, "Request time out")),
        }
    }

    /// The body of a 200, or another status.
    async fn ask(&self, server: &Server, body: Vec<u8>) -> Result<Result<Vec<u8>, u16>, Unreached> {
        // It follows nobody elsewhere, and goes by no proxy that the surroundings name.
        let make = || Client::builder().redirect(Policy::none()).no_proxy().build().ok();
        let client = self.client.get_or_init(make).as_ref().ok_or(Unreached)?;
        let Server { host, port, tls, target } = server;
        let url = format!("{}://{host}:{port}{target}", if *tls { "https" } else { "http" });
        let mut answer = client.post(url).body(body).send().await.map_err(|_| Unreached)?;
        if answer.status() != 200 {
            let status = answer.status().as_u16();
            return Ok(Err(if (400..600).contains(&status) { status } else { 502 }));
        }
        let mut read = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|_| Unreached)? {
            if part.len() > MAX_REQUEST - read.len() {
                return Err(Unreached);
            }
            read.extend_from_slice(&part);
        }
        Ok(Ok(read))
    }
}

/// There is no whole answer.
struct Unreached;
