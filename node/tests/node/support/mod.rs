//! Real nodes in the process of a test.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, each of which takes what it needs"
)]

pub mod chain;
pub mod https;
pub mod stranger;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use session_chain::{NetworkFile, NetworkNode, Operator, bls::BlsSecret};
use session_node::{Config, NodeError, Registry, door::DoorConfig, keystore, run, run_by};
use session_protocols::{
    KeyPair, Prefix,
    answer::RULES,
    directory::{Endpoint, Transport},
    limits::AdmissionRates,
};
use tempfile::TempDir;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// Longer than any healthy start; a test that gets here has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Plan {
    pub folder: TempDir,
    pub network: NetworkFile,
    pub listen: Vec<Vec<Endpoint>>,
    pub http: Vec<SocketAddr>,
    /// Where the first nodes have their HTTPS doors.
    pub doors: Vec<SocketAddr>,
    /// What is asked of nodes at most, where it is not the default.
    pub rates: Option<AdmissionRates>,
}

impl Plan {
    /// A network of `nodes`, each on an address, with a key and an operator of its own.
    pub fn new(nodes: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut network, mut listen, mut http) = (Vec::new(), Vec::new(), Vec::new());
        // All are held until the last one is chosen, or one could be chosen twice.
        let mut held = Vec::new();
        for index in 1..=nodes {
            let ip = Ipv4Addr::new(127, 0, index, 1);
            let pair = keystore::create(&folder.path().join(index.to_string())).unwrap();
            let ports = Ports::hold(ip);
            let door = TcpListener::bind((ip, 0)).unwrap();
            http.push(door.local_addr().unwrap());
            let endpoints = ports.endpoints();
            held.push((ports, door));
            network.push(NetworkNode {
                id: pair.node_id(),
                operator: Operator::from_bytes([index; 20]),
                prefix: Prefix::of(ip.into()),
                addresses: endpoints.iter().map(ToString::to_string).collect(),
                door: None,
                bls: Some(BlsSecret::of_node(&pair).public()),
            });
            listen.push(endpoints);
        }
        let network = NetworkFile {
            name: "test".parse().unwrap(),
            local: true,
            seed: [7; 32],
            faucet: None,
            limits: Default::default(),
            hf: RULES,
            nodes: network,
            settlement: None,
        };
        Self { folder, network, listen, http, doors: Vec::new(), rates: None }
    }

    /// The folder of a node.
    pub fn data(&self, index: usize) -> PathBuf {
        self.folder.path().join((index + 1).to_string())
    }

    /// The key of a node.
    pub fn pair(&self, index: usize) -> KeyPair {
        keystore::load(&self.data(index)).unwrap()
    }

    pub fn config(&self, index: usize) -> Config {
        let mut config =
            Config::new(self.network.clone(), self.data(index), self.listen[index].clone(), self.http[index]);
        config.rates = self.rates.unwrap_or(config.rates);
        config.door = self.doors.get(index).map(|door| DoorConfig::new(vec![*door]));
        config
    }

    /// Gives the first nodes an HTTPS door each.
    pub fn open_doors(&mut self, nodes: usize) {
        let held = self.http.iter().take(nodes).map(|http| TcpListener::bind((http.ip(), 0)).unwrap());
        let held: Vec<_> = held.collect();
        self.doors = held.iter().map(|door| door.local_addr().unwrap()).collect();
    }

    pub fn start(&self, index: usize) -> Running {
        Running::of(self.config(index), run)
    }

    /// Starts a node with other settings.
    pub fn start_with(&self, index: usize, change: impl FnOnce(Config) -> Config) -> Running {
        Running::of(change(self.config(index)), run)
    }

    /// Starts a node that goes by what arrives.
    pub fn start_by(&self, index: usize, registry: watch::Receiver<Registry>) -> Running {
        Running::of(self.config(index), |config, stopped| run_by(config, registry, stopped))
    }

    /// What the network file says.
    pub fn registry(&self) -> Registry {
        Registry::new(&self.network.ledger(), self.network.border())
    }
}

/// Ports of an address that nobody else is given.
struct Ports {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Ports {
    fn hold(ip: Ipv4Addr) -> Self {
        Self { udp: UdpSocket::bind((ip, 0)).unwrap(), tcp: TcpListener::bind((ip, 0)).unwrap() }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint =
            |transport, address: SocketAddr| Endpoint { transport, ip: address.ip(), port: address.port() };
        vec![
            endpoint(Transport::Quic, self.udp.local_addr().unwrap()),
            endpoint(Transport::Tcp, self.tcp.local_addr().unwrap()),
        ]
    }
}

/// Free ports of an address.
pub fn free(ip: Ipv4Addr) -> Vec<Endpoint> {
    Ports::hold(ip).endpoints()
}

pub struct Running {
    listen: Vec<Endpoint>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn of(
        config: Config,
        node: impl FnOnce(Config, BoxFuture<'static, ()>) -> BoxFuture<'static, Result<(), NodeError>>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let listen = config.listen.clone();
        let stopped = Box::pin(async move {
            let _ = stopped.await;
        });
        let node = node(config, stopped);
        Self { listen, stop, task: tokio::spawn(async { node.await.expect("the node runs") }) }
    }

    /// Stops the node, and waits until another can have its addresses: what drives a QUIC socket lets go of it a moment
    /// after the node has ended.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        let is_free = |endpoint: &Endpoint| UdpSocket::bind((endpoint.ip, endpoint.port)).is_ok();
        while !self.listen.iter().filter(|one| one.transport == Transport::Quic).all(is_free) {
            assert!(Instant::now() < deadline, "{:?} are still held", self.listen);
            tokio::task::yield_now().await;
        }
    }
}

/// The status code and body of a GET.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Waits until every door gives the wanted code for `/readyz`.
pub async fn wait(doors: &[SocketAddr], code: u16) {
    let deadline = Instant::now() + PATIENCE;
    let doors = doors.to_vec();
    let waited = tokio::task::spawn_blocking(move || {
        let mut last = Vec::new();
        while Instant::now() < deadline {
            last = doors.iter().map(|door| get(*door, "/readyz")).collect();
            if last.iter().all(|answer| answer.as_ref().is_some_and(|(found, _)| *found == code)) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Err(last)
    });
    if let Err(last) = waited.await.unwrap() {
        panic!("not all at {code}: {last:?}");
    }
}

/// Waits until what every door says of its node has this in it.
pub async fn shows(doors: &[SocketAddr], wanted: &str) {
    says(doors, "/status", wanted).await;
}

/// The same of what it says about being ready.
pub async fn ready_says(doors: &[SocketAddr], wanted: &str) {
    says(doors, "/readyz", wanted).await;
}

async fn says(doors: &[SocketAddr], path: &'static str, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    let (doors, wanted) = (doors.to_vec(), wanted.to_owned());
    let waited = tokio::task::spawn_blocking(move || {
        let mut last = Vec::new();
        while Instant::now() < deadline {
            last = doors.iter().filter_map(|door| Some(get(*door, path)?.1)).collect();
            if last.len() == doors.len() && last.iter().all(|said: &String| said.contains(&wanted)) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Err((wanted, last))
    });
    if let Err((wanted, last)) = waited.await.unwrap() {
        panic!("not all say `{wanted}`: {last:?}");
    }
}

/// What one of a node's metrics says; 0 when it says nothing.
pub fn metric(door: SocketAddr, name: &str) -> u64 {
    let (_, text) = get(door, "/metrics").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Waits until a metric has reached a value.
pub async fn reaches(door: SocketAddr, name: &str, least: u64) {
    let deadline = Instant::now() + PATIENCE;
    let wanted = name.to_owned();
    let waited = tokio::task::spawn_blocking(move || {
        loop {
            let found = metric(door, &wanted);
            if found >= least || Instant::now() > deadline {
                return found;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let found = waited.await.unwrap();
    assert!(found >= least, "{name} is {found}, not {least}");
}
