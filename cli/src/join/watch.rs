//! What a node says of itself while it joins, over its own door.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::Client;
use serde::Deserialize;
use session_chain::network::Settlement;
use session_protocols::{NodeId, directory::Endpoint};
use tokio::time::sleep;

use super::board::Say;
use crate::failure::{Exit, Failure};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(200);
/// How long it may take to answer once.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a node may take to start.
const START: Duration = Duration::from_secs(60);
/// How long other nodes may take to dial one back.
const REACH: Duration = Duration::from_secs(60);
/// How long a chain may take until a stake is final, and a node that has its place until it is ready.
const FINAL: Duration = Duration::from_secs(1_800);
/// Epochs until a stake that is final has a place, one of them in reserve.
const EPOCHS: u64 = 4;

/// One node's door for people who watch.
#[derive(Debug)]
pub(crate) struct Watch {
    client: Client,
    http: SocketAddr,
    id: NodeId,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    id: NodeId,
    swarm: Option<String>,
    peers: u64,
    reachability: Reachability,
    chain: Option<Chain>,
}

#[derive(Debug, Deserialize)]
struct Reachability {
    dialled_back: Vec<DialledBack>,
}

#[derive(Debug, Deserialize)]
struct DialledBack {
    address: String,
    by: String,
    ok: bool,
    why: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Chain {
    registration: String,
    height: u64,
    head: Option<u64>,
    epoch: u64,
}

#[derive(Debug, Deserialize)]
struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    ok: bool,
    detail: String,
}

impl Watch {
    /// That of the node `id`; another one's is not believed.
    pub(crate) fn new(http: SocketAddr, id: NodeId) -> Result<Self, Failure> {
        // What is on this machine is asked straight.
        let client = Client::builder().no_proxy().timeout(ANSWER).build().map_err(|error| {
            Failure::new(Exit::Failed, "http", error.to_string(), "check the system's certificates")
        })?;
        Ok(Self { client, http, id })
    }

    /// Waits until the node answers.
    pub(crate) async fn started(&self, say: &Say) -> Result<((), String), Failure> {
        say.doing("starting the node");
        let until = Instant::now() + START;
        loop {
            if self.status().await.is_some() {
                return Ok(((), format!("it answers at http://{}/status", self.http)));
            }
            if Instant::now() >= until {
                let message =
                    format!("the node does not answer at {} after {} s", self.http, START.as_secs());
                return Err(Failure::new(Exit::NotReady, "start", message, "look at what it logged"));
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until nodes of the network have dialled every address, each of them in vain or not.
    pub(crate) async fn reached(&self, say: &Say, announced: &[Endpoint]) -> Result<((), String), Failure> {
        let until = Instant::now() + REACH;
        loop {
            let status = self.status().await;
            let peers = status.as_ref().map_or(0, |status| status.peers);
            let told = status.map(|status| status.reachability.dialled_back).unwrap_or_default();
            let verdicts: Vec<_> = announced
                .iter()
                .filter_map(|one| told.iter().find(|verdict| verdict.address == one.to_string()))
                .collect();
            if verdicts.len() == announced.len() || Instant::now() >= until {
                let judged = judged(announced, &verdicts, peers);
                // Whoever has its place keeps it, and is told what is wrong.
                return match (judged, self.registration().await.as_deref()) {
                    (Err(failure), Some("awaiting" | "active" | "decommissioned")) => {
                        Ok(((), format!("not confirmed: {}: {}", failure.message, failure.remedy)))
                    }
                    (judged, _) => judged,
                };
            }
            let left = announced.len().saturating_sub(verdicts.len());
            say.doing(match peers {
                0 => "looking for nodes of the network".to_owned(),
                _ => format!("{left} of {} addresses are still to be dialled by others", announced.len()),
            });
            sleep(LOOK).await;
        }
    }

    /// Waits until the node has read the chain.
    pub(crate) async fn synced(&self, say: &Say) -> Result<((), String), Failure> {
        loop {
            let check = self.check("chain").await;
            if let Some(check) = &check
                && check.ok
            {
                return Ok(((), check.detail.clone()));
            }
            let chain = self.status().await.and_then(|status| status.chain);
            if let Some(check) = check.as_ref().filter(|check| check.detail.starts_with("stopped:")) {
                let remedy = "as it says; then type the same command again";
                return Err(Failure::new(Exit::Failed, "chain", check.detail.clone(), remedy));
            }
            say.doing(match (chain, check) {
                (Some(Chain { height, head: Some(head), .. }), _) => {
                    format!("reading the chain: block {height} of {head}")
                }
                (_, Some(check)) => check.detail,
                (_, None) => "waiting for the node".to_owned(),
            });
            sleep(LOOK).await;
        }
    }

    /// What the chain says of the node's registration.
    pub(crate) async fn registration(&self) -> Option<String> {
        Some(self.status().await?.chain?.registration)
    }

    /// Waits until the node is in a swarm and ready, for as long as that may take; returns that swarm.
    pub(crate) async fn active(&self, say: &Say, patience: Duration) -> Result<(String, String), Failure> {
        let begun = Instant::now();
        loop {
            let (status, readiness) = (self.status().await, self.readiness().await);
            if let (Some(Status { swarm: Some(swarm), peers, .. }), Some(Readiness { ready: true, .. })) =
                (&status, &readiness)
            {
                return Ok((swarm.clone(), format!("in swarm {swarm}, in contact with {peers} nodes")));
            }
            let waits = readiness.iter().flat_map(|it| &it.checks).find(|check| !check.ok);
            let chain = status.and_then(|status| status.chain);
            if begun.elapsed() >= patience {
                return Err(inactive(patience, readiness.as_ref()));
            }
            say.doing(match (chain, waits) {
                (Some(chain), _) if matches!(&*chain.registration, "refused" | "deregistered") => {
                    let why = waits.map(|check| check.detail.clone()).unwrap_or_default();
                    return Err(Failure::new(
                        Exit::Failed,
                        "refused",
                        why,
                        "as it says; then type the same command again",
                    ));
                }
                (Some(chain), Some(check)) => format!("{} (epoch {})", check.detail, chain.epoch),
                (_, Some(check)) => check.detail.clone(),
                (_, None) => "waiting for the node".to_owned(),
            });
            sleep(LOOK).await;
        }
    }

    pub(crate) async fn status(&self) -> Option<Status> {
        let asked = self.client.get(format!("http://{}/status", self.http)).send().await.ok()?;
        let status: Status = asked.json().await.ok()?;
        (status.id == self.id).then_some(status)
    }

    async fn readiness(&self) -> Option<Readiness> {
        self.client.get(format!("http://{}/readyz", self.http)).send().await.ok()?.json().await.ok()
    }

    async fn check(&self, name: &str) -> Option<Check> {
        self.readiness().await?.checks.into_iter().find(|check| check.name == name)
    }
}

/// How long a node of a network may take to become active.
pub(crate) fn patience(settlement: Option<&Settlement>) -> Duration {
    let epoch = settlement.map_or(0, |settlement| settlement.epoch.get());
    FINAL.saturating_add(Duration::from_secs(epoch.saturating_mul(EPOCHS)))
}

/// What a node lacks that is not active after so long.
fn inactive(waited: Duration, readiness: Option<&Readiness>) -> Failure {
    let missing: Vec<&Check> =
        readiness.into_iter().flat_map(|it| &it.checks).filter(|check| !check.ok).collect();
    let told = match &*missing {
        [] => "it does not answer".to_owned(),
        missing => {
            missing.iter().map(|it| format!("{}: {}", it.name, it.detail)).collect::<Vec<_>>().join("; ")
        }
    };
    let lacks = |name: &str| missing.iter().any(|check| check.name == name);
    let remedy = if lacks("disk") || lacks("store") || lacks("onion_keys") {
        "make its folder writable, and room on its disk; then type the same command again"
    } else if lacks("chain") {
        "do as it says, or name another endpoint of the chain: --rpc URL; then type the same command again"
    } else if lacks("registered") {
        "see what became of its stake: session stake show NODE; then type the same command again"
    } else if lacks("addresses") {
        "let others through to its port, and type the same command again"
    } else {
        "look at what it logged; type the same command again, which goes on waiting"
    };
    Failure::new(Exit::NotReady, "not_active", format!("not after {} s: {told}", waited.as_secs()), remedy)
}

/// What the dials back come to.
fn judged(announced: &[Endpoint], verdicts: &[&DialledBack], peers: u64) -> Result<((), String), Failure> {
    let unreachable =
        |message: String, remedy: &str| Err(Failure::new(Exit::NotReady, "unreachable", message, remedy));
    let reached = |one: &&Endpoint| verdicts.iter().any(|it| it.ok && it.address == one.to_string());
    let missing: Vec<_> = announced.iter().filter(|one| !reached(one)).collect();
    if let Some(first) = missing.first().filter(|_| peers > 0) {
        let all: Vec<_> = missing.iter().map(ToString::to_string).collect();
        let failed = verdicts.iter().find(|verdict| !verdict.ok && verdict.address == first.to_string());
        let why = failed.map_or_else(
            || format!("no answer came back in {} s", REACH.as_secs()),
            |verdict| {
                let by = verdict.by.get(..8).unwrap_or(&verdict.by);
                format!("node {by}… says: {}", verdict.why.clone().unwrap_or_default())
            },
        );
        let message = format!("other nodes dialled {} in vain: {why}", all.join(" and "));
        let remedy = "let UDP and TCP to that port through: open it in the firewall, and where there is a router lead it \
                      to this machine (port forwarding); if others reach it elsewhere, say where: --address ENDPOINT";
        return unreachable(message, remedy);
    }
    if verdicts.len() == announced.len() {
        let by: Vec<_> = verdicts
            .iter()
            .map(|it| format!("{} by {}…", it.address, it.by.get(..8).unwrap_or(&it.by)))
            .collect();
        return Ok(((), format!("dialled back: {}", by.join(", "))));
    }
    if peers == 0 {
        let message = format!("no node of the network was reached in {} s", REACH.as_secs());
        return unreachable(
            message,
            "check that this machine may send UDP and TCP to the internet, and that the network runs",
        );
    }
    let message = format!("no node has dialled all addresses back in {} s", REACH.as_secs());
    unreachable(message, "type the same command again; the nodes may be busy")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use session_protocols::KeyPair;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A door that says the same again and again: of itself, and of whether it is ready.
    async fn door(status: String, ready: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1_024];
                let long = stream.read(&mut asked).await.unwrap();
                let body = if asked[..long].starts_with(b"GET /readyz") { ready } else { &*status };
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_node_that_does_not_become_active_is_told_with_what_it_lacks() {
        let id = KeyPair::from_seed(&[7; 32]).node_id();
        let status = json!({
            "id": id, "swarm": null, "peers": 3, "reachability": { "dialled_back": [] },
            "chain": { "registration": "awaiting", "height": 5, "head": 6, "epoch": 2 },
        });
        let ready = r#"{"ready":false,"checks":[{"name":"store","ok":true,"detail":"open"},
            {"name":"swarm","ok":false,"detail":"in no swarm yet"},
            {"name":"chain","ok":false,"detail":"no endpoint answers"}]}"#;
        let watch = Watch::new(door(status.to_string(), ready).await, id).unwrap();
        let failure = watch.active(&Say::default(), Duration::ZERO).await.unwrap_err();
        assert_eq!((failure.exit, failure.code), (Exit::NotReady, "not_active"));
        assert_eq!(failure.message, "not after 0 s: swarm: in no swarm yet; chain: no endpoint answers");
        assert!(failure.remedy.contains("--rpc"), "{}", failure.remedy);
    }

    #[test]
    fn a_longer_epoch_is_waited_for_longer() {
        assert_eq!(patience(None), FINAL);
    }
}
