//! What a node says of itself while it joins, over its own door.

use std::{
    net::{IpAddr, SocketAddr},
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
/// How long nothing of the chain may come in: by then the node has asked for the last checkpoint again, too.
const STILL: Duration = Duration::from_secs(300);
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

#[derive(Debug, Default, Deserialize)]
struct Reachability {
    dialled_back: Vec<DialledBack>,
    /// An older node does not say.
    servers: Option<Servers>,
    upnp: Upnp,
}

/// How many nodes in contact may be asked to dial, by the kind of their address.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Servers {
    ip4: u64,
    ip6: u64,
}

impl Servers {
    /// How many surely have a way to an address.
    const fn akin(&self, endpoint: &Endpoint) -> u64 {
        if endpoint.ip.is_ipv4() { self.ip4 } else { self.ip6 }
    }
}

#[derive(Debug, Deserialize)]
struct DialledBack {
    address: String,
    /// When the first one was asked, in milliseconds since 1970.
    begun: u64,
    ok: bool,
    said: Vec<Said>,
}

/// What one node said that dialled it.
#[derive(Debug, Deserialize)]
struct Said {
    by: String,
    why: Option<String>,
}

/// The router, where it is asked to lead ports here.
#[derive(Debug, Default, Deserialize)]
struct Upnp {
    state: String,
    at: u64,
}

impl Upnp {
    /// Whether a dial that was in vain may not be after all: the router may have led nothing here by then.
    fn may_mend(&self, verdict: &DialledBack) -> bool {
        !verdict.ok && (self.state == "asked" || self.state == "leads" && verdict.begun <= self.at)
    }

    /// What it says, for whoever is not reached.
    fn told(&self) -> &'static str {
        match &*self.state {
            "leads" => "; the router says that it leads the port here (UPnP)",
            "asked" | "ended" => "; the router was asked to lead the port here (UPnP), and does not",
            "silent" => "; no router answered that could be asked to lead the port here (UPnP)",
            "inner" => {
                "; the router stands behind another one, so it was not asked to lead the port here (UPnP)"
            }
            _ => "",
        }
    }
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

    /// Waits until nodes of the network have said of every address whether they reach it.
    pub(crate) async fn reached(&self, say: &Say, announced: &[Endpoint]) -> Result<((), String), Failure> {
        let until = Instant::now() + REACH;
        loop {
            let status = self.status().await;
            let peers = status.as_ref().map_or(0, |status| status.peers);
            let reachability = status.map(|status| status.reachability).unwrap_or_default();
            let (told, upnp) = (&reachability.dialled_back, &reachability.upnp);
            let verdicts: Vec<_> = announced
                .iter()
                .filter_map(|one| told.iter().find(|verdict| verdict.address == one.to_string()))
                .collect();
            let open = verdicts.iter().filter(|verdict| upnp.may_mend(verdict)).count();
            let left = announced.len().saturating_sub(verdicts.len()).saturating_add(open);
            if left == 0 || Instant::now() >= until {
                let judged = judged(announced, &verdicts, (peers, reachability.servers), upnp);
                // Whoever has its place keeps it, and is told what is wrong.
                return match (judged, self.registration().await.as_deref()) {
                    (Err(failure), Some("awaiting" | "active" | "decommissioned")) => {
                        Ok(((), format!("not confirmed: {}: {}", failure.message, failure.remedy)))
                    }
                    (judged, _) => judged,
                };
            }
            say.doing(match peers {
                0 => "looking for nodes of the network".to_owned(),
                _ if open > 0 => "asking the router to lead the port here (UPnP)".to_owned(),
                _ => format!("{left} of {} addresses are still to be dialled by others", announced.len()),
            });
            sleep(LOOK).await;
        }
    }

    /// Waits until the node has read the chain, for as long as more of it comes in.
    pub(crate) async fn synced(&self, say: &Say) -> Result<((), String), Failure> {
        let mut motion = Motion::begins(Instant::now());
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
            let detail = check.as_ref().map_or("", |check| &*check.detail);
            if motion.still(Instant::now(), chain.as_ref().map(|chain| chain.height), detail) >= STILL {
                return Err(stuck(detail));
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
            // That others do not reach it was said in a step of its own.
            let ready = |it: &Readiness| it.checks.iter().all(|check| check.ok || check.name == "reachable");
            if let (Some(Status { swarm: Some(swarm), peers, .. }), Some(true)) =
                (&status, readiness.as_ref().map(ready))
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

/// Whether more of the chain comes in.
struct Motion {
    at: Instant,
    height: Option<u64>,
    /// What was said last of a ledger that is being fetched.
    fetched: String,
}

impl Motion {
    const fn begins(at: Instant) -> Self {
        Self { at, height: None, fetched: String::new() }
    }

    /// For how long nothing has come in, after this look.
    fn still(&mut self, now: Instant, height: Option<u64>, detail: &str) -> Duration {
        if height > self.height {
            (self.at, self.height) = (now, height);
        }
        if detail.starts_with("fetching") && detail != self.fetched {
            (self.at, self.fetched) = (now, detail.to_owned());
        }
        now.saturating_duration_since(self.at)
    }
}

/// Nothing has come in for long.
fn stuck(detail: &str) -> Failure {
    let why = if detail.is_empty() { "it does not answer" } else { detail };
    let message = format!("nothing of the chain has come in for {} s: {why}", STILL.as_secs());
    let remedy = "do as it says, or name another endpoint of the chain: --rpc URL (one that keeps old logs, where the \
                  network has no checkpoint yet); then type the same command again";
    Failure::new(Exit::NotReady, "not_synced", message, remedy)
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
fn judged(
    announced: &[Endpoint],
    verdicts: &[&DialledBack],
    (peers, servers): (u64, Option<Servers>),
    upnp: &Upnp,
) -> Result<((), String), Failure> {
    let unreachable =
        |message: String, remedy: &str| Err(Failure::new(Exit::NotReady, "unreachable", message, remedy));
    if announced.is_empty() {
        return Ok(((), "a matter of course on one machine".to_owned()));
    }
    if let Some(missed) = verdicts.iter().find(|verdict| !verdict.ok) {
        let all: Vec<_> = verdicts.iter().filter(|verdict| !verdict.ok).map(|it| &*it.address).collect();
        let said: Vec<_> = missed.said.iter().filter_map(Said::told).collect();
        let message =
            format!("other nodes dialled {} in vain: {}{}", all.join(" and "), said.join("; "), upnp.told());
        let remedy = "let UDP and TCP to that port through: open it in the firewall, and where there is a router lead it \
                      to this machine (port forwarding); if others reach it elsewhere, say where: --address ENDPOINT";
        return unreachable(message, remedy);
    }
    if verdicts.len() == announced.len() {
        let by = verdicts.iter().filter_map(|it| {
            let word = it.said.iter().find(|word| word.why.is_none())?;
            Some(format!("{} by {}", it.address, word.short()))
        });
        return Ok(((), format!("dialled back: {}", by.collect::<Vec<_>>().join(", "))));
    }
    if peers == 0 {
        let message = format!("no node of the network was reached in {} s", REACH.as_secs());
        return unreachable(
            message,
            "check that this machine may send UDP and TCP to the internet, and that the network runs",
        );
    }
    let left = announced.iter().filter(|one| verdicts.iter().all(|it| it.address != one.to_string()));
    let left: Vec<&Endpoint> = left.collect();
    let shown = left.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    // Those of the other kind may have no way there, and are believed only if they come through.
    if let Some(servers) = servers.filter(|servers| servers.ip4.saturating_add(servers.ip6) > 0)
        && let Some(apart) = left.iter().find(|one| servers.akin(one) == 0)
    {
        let (kind, other, form) = match apart.ip {
            IpAddr::V4(_) => ("IPv4", "IPv6", "/ip6/ADDRESS/udp/22021/quic-v1"),
            IpAddr::V6(_) => ("IPv6", "IPv4", "/ip4/ADDRESS/udp/22021/quic-v1"),
        };
        let message =
            format!("none of the nodes in contact has {kind}, so none says whether it reaches {shown}");
        let remedy = format!(
            "say where others reach this machine over {other}: --address {form} (behind a router its public address, \
             which has to lead that port here)"
        );
        return unreachable(message, &remedy);
    }
    let message = format!("no node said within {} s whether it reaches {shown}", REACH.as_secs());
    unreachable(message, "type the same command again: the nodes may be busy")
}

impl Said {
    /// Who, in short.
    fn short(&self) -> String {
        format!("{}\u{2026}", self.by.get(..8).unwrap_or(&self.by))
    }

    /// What it says, where it came in vain.
    fn told(&self) -> Option<String> {
        Some(format!("node {} says: {}", self.short(), self.why.as_ref()?))
    }
}

#[cfg(test)]
mod tests;
