//! Asks a node over HTTP how it is.
//!
//! One question a connection, to loopback, is all that is needed: a client library would bring more
//! than these lines.

use std::{io, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// What `/status` tells that is of use here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) swarm: Option<String>,
    pub(crate) peers: u64,
    pub(crate) messages: u64,
    #[serde(default)]
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) traffic: Option<Traffic>,
    #[serde(default)]
    pub(crate) chain: Option<Chain>,
    #[serde(default)]
    pub(crate) snapshot: Option<Snapshot>,
    #[serde(default)]
    pub(crate) fingerprint: String,
    pub(crate) addresses: Vec<String>,
}

/// What it tells of the chain, if there is one.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Chain {
    pub(crate) registration: String,
    #[serde(default)]
    pub(crate) height: u64,
    #[serde(default)]
    pub(crate) epoch: u64,
    #[serde(default)]
    pub(crate) names: u64,
    #[serde(default)]
    pub(crate) stake: Option<Stake>,
}

/// What it was asked since it started.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) onion_packets: u64,
    pub(crate) swarm_requests: u64,
}

/// What is staked on it, in SESH.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Stake {
    pub(crate) staked: String,
    pub(crate) contributors: usize,
    /// By the operator.
    pub(crate) earned: String,
}

/// What it tells of the newest list of nodes that clients go by.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) nodes: usize,
}

/// What `/readyz` tells.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) checks: Vec<Check>,
}

/// One check of readiness.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

/// How the node behind this address is; none when it does not answer.
pub(crate) async fn status(http: SocketAddr) -> Option<Status> {
    ask(http, "/status").await
}

/// Whether the node behind this address is ready; none when it does not answer.
pub(crate) async fn readiness(http: SocketAddr) -> Option<Readiness> {
    ask(http, "/readyz").await
}

async fn ask<T: serde::de::DeserializeOwned>(http: SocketAddr, path: &str) -> Option<T> {
    let answer = tokio::time::timeout(PATIENCE, get(http, path)).await.ok()?.ok()?;
    serde_json::from_slice(body(&answer)?).ok()
}

async fn get(http: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(http).await?;
    // In version 1.0 an answer ends with its connection, and never comes in chunks.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {http}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn body(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    answer.get(end + 4..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_follows_the_first_empty_line() {
        assert_eq!(body(b"HTTP/1.0 503 x\r\na: b\r\n\r\n{}\r\n\r\n"), Some(&b"{}\r\n\r\n"[..]));
        assert_eq!(body(b"HTTP/1.0 503 x\r\na: b\r\n"), None);
    }
}
