//! Looks and asks, and changes nothing: what it finds is judged elsewhere.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use futures::future::join_all;
use reqwest::Client;
use serde::Deserialize;
use session_chain::{
    Candidate, NetworkFile, account as chain_account,
    bls::BlsSecret,
    ledger::BlsKey,
    network::Settlement,
    settlement::{Delivery, Endpoint as RpcEndpoint, Staker},
};
use session_node::{
    admin::Admin,
    keystore::{self, KeyError},
    reach,
    settings::{Effective, Settings},
};
use session_protocols::{
    KeyPair,
    directory::{Endpoint, Transport},
};
use session_testnet::public::is_published;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::facts::{Chain, Check, Facts, Keys, Machine, Network, Node, Running, Status, Wrong, metrics};
use crate::{
    Context,
    args::Flags,
    failure::Failure,
    join::{
        endpoints, machine,
        service::{UNITS, unit},
    },
    node::settings,
    passphrase,
    stake::REGISTRATION,
};

/// How long the node may take to answer once.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// How long the chain may take to say whether a stake is there.
const STAKE: Duration = Duration::from_secs(15);
/// How often is written to measure the disk, and for how long at most.
const WRITES: usize = 32;
const MEASURE: Duration = Duration::from_secs(2);
/// Bytes of such a write.
const WRITE: usize = 4_096;
/// So many blocks below the newest one that all have, the same block is expected of all.
const DEPTH: u64 = 8;

/// What was found, and what only an archive for support needs.
pub(crate) struct Gathered {
    pub(crate) facts: Facts,
    pub(crate) effective: Option<Effective>,
    /// The network, where the settings name one that can be read.
    pub(crate) network: Option<NetworkFile>,
    /// What the node answered, by path.
    pub(crate) answers: Vec<(&'static str, String)>,
    /// What must be told to nobody, and may occur in what others say.
    pub(crate) secrets: Vec<Zeroizing<String>>,
}

/// Looks at the node in a folder.
pub(crate) async fn gather(context: &Context, data: &Path) -> Gathered {
    let chosen = settings::chosen(context, Some(data), None, &Flags::default());
    let (effective, network, wrong) = match chosen {
        Ok(chosen) => (Some(chosen.effective), chosen.network.map(|(_, network)| network), None),
        Err(failure) => (None, None, Some(Wrong::from(failure))),
    };
    let given = effective.as_ref().map(|effective| effective.settings().clone()).unwrap_or_default();
    let admin = Admin::of(data).ok();
    let mut secrets: Vec<_> = admin.iter().map(|admin| admin.token.clone()).collect();
    secrets.extend(std::env::var(passphrase::VARIABLE).ok().map(Zeroizing::new));
    let (keys, pair) = keys(data, &given);
    let told = admin.map(|admin| admin.address);
    let http = told.unwrap_or_else(|| near(given.http));
    // Whoever cannot be told from others is believed where the node itself said that it is there.
    let is_own = |id: &str| match &keys.id {
        Ok(own) => own == id,
        Err(_) => told.is_some(),
    };
    let (node, answers) = node(data, http, is_own).await;
    let runs = !matches!(node, Node::Stopped);
    let local = network.as_ref().is_none_or(|network| network.local);
    let rpc: Vec<String> = given.rpc.iter().map(|url| url.0.clone()).collect();
    let settlement = network.as_ref().and_then(|network| network.settlement.clone());
    let settlement = settlement.map(|settlement| Settlement { rpc: rpc.clone(), ..settlement });
    let bls = pair.map(|pair| BlsSecret::of_node(&pair).public()).or_else(|| registered_key(data));
    let (chain, staked, ahead, seen) = tokio::join!(
        async {
            match &settlement {
                Some(settlement) => Some(chain(settlement).await),
                None => None,
            }
        },
        async {
            match (&settlement, bls) {
                // A node that runs says more.
                (Some(settlement), Some(bls)) if !runs => Some(staked(settlement, &bls).await),
                (Some(_) | None, _) => None,
            }
        },
        machine::ahead(rpc.iter().map(String::as_str)),
        async {
            match &network {
                Some(network) if !local => Box::pin(reach::observed(network)).await,
                Some(_) | None => None,
            }
        },
    );
    let announced = announced(&given, &node);
    let facts = Facts {
        data: data.to_owned(),
        now: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: wrong.map_or_else(|| Ok(network.as_ref().map(described)), Err),
        keys,
        machine: Machine {
            disk: machine::disk(data).ok(),
            sync: sync(data).map_err(|cause| cause.to_string()),
            memory: machine::memory(),
            files: machine::files(),
        },
        ports: if runs { Vec::new() } else { ports(&given) },
        node,
        unit: unit_of(data),
        published: is_published(data),
        announced,
        seen,
        ahead,
        chain,
        staked,
    };
    Gathered { facts, effective, network, answers, secrets }
}

/// The unit that runs the node in a folder, if one does.
fn unit_of(data: &Path) -> Option<unit::Installed> {
    let data = std::path::absolute(data).ok()?;
    unit::installed(Path::new(UNITS)).into_iter().find(|unit| unit.data == data)
}

fn described(network: &NetworkFile) -> Network {
    let NetworkFile { name, local, limits, nodes, .. } = network;
    Network { name: name.to_string(), local: *local, limits: *limits, nodes: nodes.len() }
}

/// Who listens everywhere is asked from here.
fn near(http: SocketAddr) -> SocketAddr {
    let ip = match http.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, http.port())
}

/// Whose keys there are, and the node's own where it can be opened without asking anybody.
fn keys(data: &Path, given: &Settings) -> (Keys, Option<KeyPair>) {
    let wrong = |error: KeyError| Wrong::from(Failure::from(error));
    let id = keystore::id(data).map(|id| id.to_string()).map_err(wrong);
    let gas = keystore::gas_address(data).map(|gas| gas.map(crate::stake::lower)).map_err(wrong);
    let sealed = keystore::is_sealed(data).unwrap_or(false);
    if !sealed {
        let pair = keystore::load(data).ok();
        return (Keys { id, gas, sealed, opened: None }, pair);
    }
    let (opened, pair) = match passphrase::given(given.passphrase_file.as_deref(), passphrase::VARIABLE) {
        Ok(None) => (None, None),
        Err(failure) => (Some(Err(failure.into())), None),
        Ok(Some(passphrase)) => match keystore::load_under(data, Some(&passphrase)) {
            Ok(pair) => (Some(Ok(())), Some(pair)),
            Err(error) => (Some(Err(wrong(error))), None),
        },
    };
    (Keys { id, gas, sealed, opened }, pair)
}

/// The key for checkpoints that a node's registration names: no secret.
fn registered_key(data: &Path) -> Option<BlsKey> {
    let text = fs::read_to_string(data.join(REGISTRATION)).ok()?;
    Candidate::parse(&text).ok().map(|candidate| candidate.bls)
}

/// Whether the node runs, and what it says; another one's answers are not taken.
async fn node(
    data: &Path,
    http: SocketAddr,
    is_own: impl Fn(&str) -> bool,
) -> (Node, Vec<(&'static str, String)>) {
    // What is on this machine is asked straight.
    let client = Client::builder().no_proxy().timeout(ANSWER).build().ok();
    let mut answers = Vec::new();
    for path in ["status", "readyz", "metrics"] {
        let answer = match &client {
            Some(client) => answer(client, &format!("http://{http}/{path}")).await,
            None => None,
        };
        answers.extend(answer.map(|answer| (path, answer)));
    }
    let said = |path: &str| answers.iter().find(|(one, _)| *one == path).map(|(_, text)| text.as_str());
    let status = said("status").and_then(|text| serde_json::from_str::<Status>(text).ok());
    let status = status.filter(|status| !status.id.is_empty() && is_own(&status.id));
    let Some(status) = status else {
        let node = if is_held(data) { Node::Silent { http } } else { Node::Stopped };
        return (node, Vec::new());
    };
    let checks = said("readyz").and_then(|text| serde_json::from_str::<Readiness>(text).ok());
    let running = Running {
        status,
        checks: checks.map(|readiness| readiness.checks).unwrap_or_default(),
        metrics: said("metrics").map(metrics).unwrap_or_default(),
    };
    (Node::Running(Box::new(running)), answers)
}

#[derive(Deserialize)]
struct Readiness {
    checks: Vec<Check>,
}

/// What is answered, whatever the code; none where it is too long, or does not come.
async fn answer(client: &Client, url: &str) -> Option<String> {
    let mut response = client.get(url).send().await.ok()?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return None;
        }
    }
    String::from_utf8(body).ok()
}

/// Whether a process has the folder.
fn is_held(data: &Path) -> bool {
    let held = |file: fs::File| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
    fs::File::open(data.join("lock")).is_ok_and(held)
}

/// What a node by these settings would listen on, and what keeps it from that.
fn ports(given: &Settings) -> Vec<(String, Option<String>)> {
    let doors = given.door.iter().chain([&given.http]);
    let doors = doors.map(|at| (at.to_string(), TcpListener::bind(at).err().map(|cause| cause.to_string())));
    let listens = given.listen.iter().map(|endpoint| {
        let at = SocketAddr::new(endpoint.ip, endpoint.port);
        let bound = match endpoint.transport {
            Transport::Quic => UdpSocket::bind(at).map(drop),
            Transport::Tcp => TcpListener::bind(at).map(drop),
        };
        (endpoint.to_string(), bound.err().map(|cause| cause.to_string()))
    });
    listens.chain(doors).collect()
}

/// Where others are to reach the node: as its settings say, else where it says that it listens.
fn announced(given: &Settings, node: &Node) -> Vec<(Endpoint, bool)> {
    let written = if given.announce.is_empty() { &given.listen } else { &given.announce };
    let all: Vec<Endpoint> = match node {
        Node::Running(running) if written.is_empty() => {
            running.status.addresses.iter().filter_map(|text| text.parse::<Endpoint>().ok()).collect()
        }
        Node::Running(_) | Node::Silent { .. } | Node::Stopped => written.clone(),
    };
    let own = |endpoint: &Endpoint| UdpSocket::bind(SocketAddr::new(endpoint.ip, 0)).is_ok();
    all.into_iter().map(|endpoint| (endpoint, own(&endpoint))).collect()
}

/// How long a small write takes until it is durable, in the middle of some; in a file of its own, which is removed.
fn sync(data: &Path) -> io::Result<Duration> {
    let unique = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let path = data.join(format!("doctor.{}.{unique}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let measured = measure(&mut file);
    fs::remove_file(&path)?;
    measured
}

fn measure(file: &mut fs::File) -> io::Result<Duration> {
    let (begun, mut took) = (Instant::now(), Vec::new());
    while took.len() < WRITES && begun.elapsed() < MEASURE {
        let one = Instant::now();
        file.write_all(&[0; WRITE])?;
        file.sync_data()?;
        took.push(one.elapsed());
    }
    took.sort_unstable();
    Ok(took.get(took.len() / 2).copied().unwrap_or_default())
}

/// What the endpoints say of their chain, and whether they agree on one of its blocks.
async fn chain(settlement: &Settlement) -> Chain {
    let looks = join_all(settlement.rpc.iter().map(|url| endpoints::look(settlement, url))).await;
    let heights = looks.iter().flatten().map(|look| look.height);
    let block = heights.min().unwrap_or_default().saturating_sub(DEPTH);
    let good = settlement.rpc.iter().zip(&looks).filter(|(_, look)| look.is_ok());
    let hashes = join_all(good.map(|(url, _)| async move {
        let endpoint = RpcEndpoint::within(url, endpoints::PATIENCE).ok()?;
        let hash = endpoint.hash(block).await.ok().flatten()?;
        Some((endpoint.name().to_owned(), hash.to_string()))
    }))
    .await;
    Chain { id: settlement.chain, looks, block, hashes: hashes.into_iter().flatten().collect() }
}

/// Whether a node's key stands in a registration.
async fn staked(settlement: &Settlement, key: &BlsKey) -> Result<bool, Wrong> {
    let nobody = chain_account::signer(&[0; chain_account::SEED]);
    let asked = async { Staker::connect(settlement, nobody, Delivery::default()).await?.holds(key).await };
    match timeout(STAKE, asked).await {
        Ok(told) => told.map_err(|error| Failure::from(error).into()),
        Err(_) => Err(Wrong {
            message: format!("no endpoint said in {} s whether a stake is there", STAKE.as_secs()),
            remedy: "try again; or ask others: --rpc of the settings".to_owned(),
        }),
    }
}
