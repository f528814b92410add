//! Servers outside that onion requests may go to: those that the operator named, and nobody else.

use std::{collections::BTreeSet, sync::OnceLock, time::Duration};

use reqwest::{Client, redirect::Policy};
use session_protocols::door::{MAX_REQUEST, Reply, onion::Server};
use tokio::sync::Semaphore;

use super::Room;

/// How long a server may take over its answer.
const PATIENCE: Duration = Duration::from_secs(25);
/// Requests under way to servers at once.
const AT_ONCE: usize = 32;

/// The way to them.
pub(super) struct Outside {
    servers: BTreeSet<String>,
    /// Made when the first request goes out; none where the system has no TLS to offer.
    client: OnceLock<Option<Client>>,
    places: Semaphore,
}

impl Outside {
    /// To these hosts, named as clients name them.
    pub(super) fn new(servers: &BTreeSet<String>) -> Self {
        let servers = servers.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { servers, client: OnceLock::new(), places: Semaphore::new(AT_ONCE) }
    }

    /// What the server answers, which it has sealed itself; `room` is taken for it as it is read.
    ///
    /// # Errors
    ///
    /// What the client is told where there is no such answer.
    pub(super) async fn post(&self, server: &Server, body: Vec<u8>, room: &Room) -> Result<Vec<u8>, Reply> {
        if !self.servers.contains(&server.host.to_ascii_lowercase()) {
            return Err(Reply::text(403, "requests to this server are not forwarded"));
        }
        let busy = |_| Reply::text(503, "too many requests are under way to servers");
        let _place = self.places.try_acquire().map_err(busy)?;
        let asked = tokio::time::timeout(PATIENCE, self.ask(server, body, room)).await;
        asked.unwrap_or_else(|_| Err(Reply::text(504, "Request time out")))
    }

    async fn ask(&self, server: &Server, body: Vec<u8>, room: &Room) -> Result<Vec<u8>, Reply> {
        let unreached = || Reply::text(502, "the server cannot be reached");
        // It follows nobody elsewhere, and goes by no proxy that the surroundings name.
        let make = || Client::builder().redirect(Policy::none()).no_proxy().build().ok();
        let client = self.client.get_or_init(make).as_ref().ok_or_else(unreached)?;
        let Server { host, port, tls, target } = server;
        let url = format!("{}://{host}:{port}{target}", if *tls { "https" } else { "http" });
        let mut answer = client.post(url).body(body).send().await.map_err(|_| unreached())?;
        if answer.status() != 200 {
            let status = answer.status().as_u16();
            let status = if (400..600).contains(&status) { status } else { 502 };
            return Err(Reply::text(status, "the server refuses"));
        }
        let mut read = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|_| unreached())? {
            if part.len() > MAX_REQUEST - read.len() {
                return Err(unreached());
            }
            if !room.take(part.len()) {
                return Err(Reply::text(503, "the server's answer is too long for now"));
            }
            read.extend_from_slice(&part);
        }
        Ok(read)
    }
}
