//! A small network of real nodes in one process: they find each other, become ready and stop.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use session_chain::{NetworkFile, NetworkNode, Operator};
use session_node::{Config, NodeError, keystore, run};
use session_protocols::{
    Prefix,
    directory::{Endpoint, Transport},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

/// Longer than any healthy start; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(30);

struct Plan {
    folder: TempDir,
    network: NetworkFile,
    listen: Vec<Vec<Endpoint>>,
    http: Vec<SocketAddr>,
}

impl Plan {
    /// A network of `nodes`, each on an address, with a key and an operator of its own.
    fn new(nodes: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut network, mut listen, mut http) = (Vec::new(), Vec::new(), Vec::new());
        for index in 1..=nodes {
            let ip = Ipv4Addr::new(127, 0, index, 1);
            let pair = keystore::create(&folder.path().join(index.to_string())).unwrap();
            let endpoints = free(ip);
            http.push(TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap());
            network.push(NetworkNode {
                id: pair.node_id(),
                operator: Operator::from_bytes([index; 20]),
                prefix: Prefix::of(ip.into()),
                addresses: endpoints.iter().map(ToString::to_string).collect(),
            });
            listen.push(endpoints);
        }
        let network =
            NetworkFile { name: "test".parse().unwrap(), local: true, seed: [7; 32], nodes: network };
        Self { folder, network, listen, http }
    }

    fn config(&self, index: usize) -> Config {
        let data = self.folder.path().join((index + 1).to_string());
        Config::new(self.network.clone(), data, self.listen[index].clone(), self.http[index])
    }

    fn start(&self, index: usize) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            let _ = stopped.await;
        };
        let node = run(self.config(index), stopped);
        Running { stop, task: tokio::spawn(async { node.await.expect("the node runs") }) }
    }
}

/// Free ports of an address.
fn free(ip: Ipv4Addr) -> Vec<Endpoint> {
    let udp = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
    let tcp = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port();
    vec![
        Endpoint { transport: Transport::Quic, ip: ip.into(), port: udp },
        Endpoint { transport: Transport::Tcp, ip: ip.into(), port: tcp },
    ]
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// The status code and body of a GET.
fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Waits until every door gives the wanted code for `/readyz`.
async fn wait(doors: &[SocketAddr], code: u16) {
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

#[tokio::test(flavor = "multi_thread")]
async fn nodes_find_each_other_and_a_minority_is_not_ready() {
    let mut plan = Plan::new(5);
    let mut running: Vec<_> = (0..5).map(|index| plan.start(index)).collect();
    wait(&plan.http, 200).await;
    let (_, metrics) = get(plan.http[0], "/metrics").unwrap();
    for name in ["session_ready 1", "session_commit_seconds_count", "libp2p_swarm_connections_established"] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    // Three of five leave: the others are cut off from their majority, and say so.
    for one in running.drain(2..) {
        one.stop().await;
    }
    wait(&plan.http[..2], 503).await;
    // One returns, at other ports: a majority is together again.
    plan.listen[4] = free(Ipv4Addr::new(127, 0, 5, 1));
    let returned = plan.start(4);
    wait(&[plan.http[0], plan.http[1], plan.http[4]], 200).await;
    returned.stop().await;
    for one in running {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_has_one_node() {
    let plan = Plan::new(1);
    let first = plan.start(0);
    wait(&plan.http, 200).await;
    let second = run(plan.config(0), std::future::ready(())).await;
    assert!(matches!(second, Err(NodeError::InUse { .. })), "{second:?}");
    first.stop().await;
    // The lock went with the node.
    plan.start(0).stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_and_a_taken_port_are_told_apart() {
    let plan = Plan::new(2);
    let mut stranger = plan.config(0);
    stranger.data = plan.folder.path().join("stranger");
    keystore::create(&stranger.data).unwrap();
    let refused = run(stranger, std::future::pending()).await;
    assert!(matches!(refused, Err(NodeError::NotRegistered { .. })), "{refused:?}");
    let _taken = TcpListener::bind(plan.http[0]).unwrap();
    let refused = run(plan.config(0), std::future::pending()).await;
    assert!(matches!(refused, Err(NodeError::Http { .. })), "{refused:?}");
}
