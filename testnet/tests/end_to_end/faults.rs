//! What can be wrong when a node is to join: each is one error with a remedy, and the same command goes on once that is
//! mended.

mod machine;
mod published;

use core::num::NonZeroU64;
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use session_chain::{
    NetworkFile,
    bls::BlsSecret,
    network::{Contracts, Limits, NetworkNode, Settlement, sign},
};
use session_protocols::KeyPair;
use tokio::task::JoinHandle;

use crate::{hosts::Running, support::Place};

const CHAIN: u64 = 421_614;

/// What is wrong with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Its clock is five minutes late.
    Clock,
    OtherChain,
    /// Its newest block is so many seconds old.
    Behind(u64),
    /// Its newest block is of tomorrow.
    Ahead,
    TooOften,
    /// One contract of the description is not there: the last that is asked about.
    Bare,
}

/// An endpoint of a chain on which nothing happens.
struct Endpoint {
    url: String,
    fault: Arc<Mutex<Fault>>,
    task: JoinHandle<()>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fault = Arc::new(Mutex::new(Fault::None));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&fault));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, fault, task }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(fault): State<Arc<Mutex<Fault>>>, body: Bytes) -> Response {
    let fault = *fault.lock().unwrap();
    let question: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match question["method"].as_str() {
        _ if fault == Fault::TooOften => return StatusCode::TOO_MANY_REQUESTS.into_response(),
        None if fault == Fault::Clock => return [(header::DATE, date("-5 minutes"))].into_response(),
        Some("eth_chainId") if fault == Fault::OtherChain => json!("0x1"),
        Some("eth_chainId") => json!(format!("{CHAIN:#x}")),
        Some("eth_getBlockByNumber") => {
            let time = match fault {
                Fault::Behind(seconds) => now() - seconds,
                Fault::Ahead => now() + 86_400,
                _ => now(),
            };
            let hash = format!("0x{}", "11".repeat(32));
            json!({ "number": "0x10", "hash": hash, "parentHash": hash, "timestamp": format!("{time:#x}") })
        }
        Some("eth_getCode") if fault == Fault::Bare && question["params"][0] == json!(at(6)) => json!("0x"),
        Some("eth_getCode") => json!("0x6001"),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }).to_string().into_response()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A moment as HTTP says it.
fn date(when: &str) -> String {
    let mut command = Command::new("date");
    command.env("LC_ALL", "C").args(["-u", "-d", when, "+%a, %d %b %Y %H:%M:%S GMT"]);
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

fn at(number: u8) -> alloy::primitives::Address {
    alloy::primitives::Address::repeat_byte(number)
}

/// A port of loopback at which nobody listens.
fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A network, a machine that is to join it, and where.
struct Joining {
    place: Place,
    network: NetworkFile,
    file: PathBuf,
    port: u16,
    http: u16,
    rpc: Vec<String>,
}

impl Joining {
    fn new(rpc: &str) -> Self {
        let place = Place::new();
        let first = KeyPair::from_seed(&[9; 32]);
        let contracts = Contracts {
            token: at(1),
            pool: at(2),
            staking: at(3),
            factory: at(4),
            checkpoints: at(5),
            names: at(6),
        };
        let genesis = now() - 60;
        let settlement = Settlement {
            chain: CHAIN,
            rpc: vec![rpc.to_owned()],
            start: 1,
            genesis,
            epoch: NonZeroU64::new(60).unwrap(),
            lock: 3_600,
            trust: 3_600,
            written: genesis,
            contracts,
            vault: None,
        };
        let node = NetworkNode {
            id: first.node_id(),
            operator: at(7).into(),
            prefix: "127.0.0.0/24".parse().unwrap(),
            addresses: vec![format!("/ip4/127.0.0.1/tcp/{}", free())],
            door: None,
            bls: Some(BlsSecret::of_node(&first).public()),
        };
        let network = NetworkFile {
            name: "faulty".parse().unwrap(),
            local: false,
            seed: [7; 32],
            faucet: None,
            limits: Limits { disk: 0, memory: 1, files: 64, ..Limits::default() },
            hf: session_protocols::answer::RULES,
            nodes: vec![node],
            settlement: Some(settlement),
        };
        let file = place.path().join("faulty.toml");
        let joining = Self { place, network, file, port: free(), http: free(), rpc: vec![rpc.to_owned()] };
        joining.publish(&joining.network, 1);
        joining
    }

    /// Writes the description, signed by the publisher of this number.
    fn publish(&self, network: &NetworkFile, publisher: u8) {
        let text = sign(&network.to_toml(), &KeyPair::from_seed(&[publisher; 32]));
        fs::write(&self.file, text).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("node")
    }

    fn join(&self) -> Running {
        self.join_at(self.port)
    }

    fn join_at(&self, port: u16) -> Running {
        let arguments = self.arguments(port);
        let mut command = self.place.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command, "join")
    }

    /// The words of the command.
    fn arguments(&self, port: u16) -> Vec<String> {
        let (address, http) = (format!("/ip4/127.0.0.1/tcp/{port}"), self.http.to_string());
        let (file, data) = (self.file.to_str().unwrap(), self.data());
        let mut arguments = vec!["join", file, "--data", data.to_str().unwrap(), "--address", &address];
        arguments.extend(["--http-port", &http, "--once", "--json"]);
        arguments.extend(self.rpc.iter().flat_map(|url| ["--rpc", url]));
        arguments.into_iter().map(ToOwned::to_owned).collect()
    }

    /// Fails at a step with a code and an exit code; returns what is said, and the remedy.
    fn fails(&self, step: &str, code: &str, exit: i32) -> (String, String) {
        let running = self.join();
        let (steps, end) = running.result();
        let error = end.unwrap_err();
        let last = steps.last().unwrap();
        assert_eq!((last["step"].as_str(), last["state"].as_str()), (Some(step), Some("failed")), "{error}");
        assert_eq!(error["code"], code, "{error}");
        let text = |field: &str| error[field].as_str().unwrap().to_owned();
        let (message, remedy) = (text("message"), text("remedy"));
        assert!(message.starts_with(&format!("{step}: ")) && !remedy.is_empty(), "{error}");
        assert_eq!(running.ended(), exit, "{error}");
        (message, remedy)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_machines_clocks_and_endpoints_that_are_wrong_are_named() {
    let (first, second) = (Endpoint::start().await, Endpoint::start().await);
    let mut joining = Joining::new(&first.url);
    // Whatever is wrong before, the port is taken in the end: a run that comes so far has gone on.
    let taken = TcpListener::bind(("127.0.0.1", joining.port)).unwrap();
    let goes_on = |joining: &Joining| {
        let (message, remedy) = joining.fails("address", "port", 1);
        assert!(message.contains("cannot listen on /ip4/127.0.0.1/tcp/"), "{message}");
        assert!(remedy.contains("--port"), "{remedy}");
    };

    let text = fs::read_to_string(&joining.file).unwrap();
    fs::write(&joining.file, text.replace("trust = 3600", "trust = 3599")).unwrap();
    joining.fails("network", "bad_signature", 4);
    fs::write(&joining.file, text).unwrap();
    goes_on(&joining);
    // Somebody else's network under the same name.
    joining.publish(&joining.network, 2);
    let (message, remedy) = joining.fails("network", "publisher", 4);
    assert!(message.contains("that is kept here by"), "{message}");
    assert!(remedy.contains("move"), "{remedy}");

    let mut large = joining.network.clone();
    large.limits.disk = 1 << 40;
    joining.publish(&large, 1);
    let (message, _) = joining.fails("machine", "disk", 3);
    assert!(message.ends_with(&format!("a node needs {}", 1_u64 << 40)), "{message}");
    large.limits = Limits { memory: 1 << 40, ..joining.network.limits };
    joining.publish(&large, 1);
    joining.fails("machine", "memory", 3);
    large.limits = Limits { release: [u64::MAX, 0, 0], ..joining.network.limits };
    joining.publish(&large, 1);
    let (message, remedy) = joining.fails("machine", "release", 3);
    assert!(message.ends_with(&format!("the network asks for {}.0.0 or newer", u64::MAX)), "{message}");
    assert!(remedy.contains("install"), "{remedy}");
    joining.publish(&joining.network, 1);

    first.set(Fault::Clock);
    let (message, remedy) = joining.fails("clock", "clock", 3);
    assert!(message.contains("s ahead of others"), "{message}");
    assert!(remedy.contains("timedatectl"), "{remedy}");

    for (fault, said, remedy) in [
        (Fault::OtherChain, "serves chain 1 and not 421614", "check its URL"),
        (Fault::Behind(3_600), "is behind: its newest block 16 is 36", "wait until it has caught up"),
        (Fault::TooOften, "is asked too often", "raise what the provider lets you ask"),
        (Fault::Bare, "has no contract at 0x0606", "name another with --rpc"),
    ] {
        first.set(fault);
        let (message, _) = joining.fails("chain", "chain", 3);
        assert!(message.contains(said) && message.contains(remedy), "{fault:?}: {message}");
    }
    first.set(Fault::None);
    joining.rpc = vec![format!("http://127.0.0.1:{}", free())];
    let (message, _) = joining.fails("chain", "chain", 3);
    assert!(message.contains("cannot be reached"), "{message}");

    // One that is right is enough, and no date of another's makes it late.
    joining.rpc = vec![first.url.clone(), second.url.clone()];
    for fault in [Fault::Ahead, Fault::Behind(3_600), Fault::OtherChain, Fault::TooOften] {
        second.set(fault);
        goes_on(&joining);
    }
    drop(taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_used_are_named_and_one_process_has_a_node() {
    let chain = Endpoint::start().await;
    let joining = Joining::new(&chain.url);
    let taken = TcpListener::bind(("127.0.0.1", joining.port)).unwrap();
    joining.fails("address", "port", 1);
    let key = joining.data().join("node.key");
    let made = fs::read(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, remedy) = joining.fails("keys", "key_open_to_others", 4);
    assert!(remedy.starts_with("chmod 600"), "{remedy}");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o700)).unwrap();
    let (message, remedy) = joining.fails("keys", "key", 1);
    assert!(message.contains("node.key") && remedy.contains("backup"), "{message}: {remedy}");
    fs::remove_dir(&key).unwrap();
    fs::write(&key, "no key").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let (_, remedy) = joining.fails("keys", "key", 1);
    assert!(remedy.contains("backup"), "{remedy}");
    fs::write(&key, made).unwrap();
    drop(taken);
    // What the node itself finds is a matter of a step, too.
    let door = TcpListener::bind(("127.0.0.1", joining.http)).unwrap();
    let (message, remedy) = joining.fails("start", "http", 1);
    assert!(message.contains("cannot serve HTTP on 127.0.0.1:"), "{message}");
    assert!(remedy.contains("--http-port"), "{remedy}");
    drop(door);

    let mut first = started(&joining);
    let second = joining.join_at(other(joining.port));
    let (steps, end) = second.result();
    let error = end.unwrap_err();
    let last = steps.last().unwrap();
    assert_eq!((last["step"].as_str(), last["state"].as_str()), (Some("machine"), Some("failed")), "{error}");
    assert_eq!((error["code"].as_str(), second.ended()), (Some("in_use"), 4), "{error}");
    assert!(error["message"].as_str().unwrap().starts_with("machine: a node runs in "), "{error}");

    // Its door is that of this machine alone, and tells no secret.
    assert!(tokio::net::TcpStream::connect(("127.0.0.2", joining.http)).await.is_err());
    let mut secrets = Vec::new();
    for file in ["node.key", "gas.key", "admin-token"] {
        let text = fs::read_to_string(joining.data().join(file)).unwrap();
        secrets.extend(text.lines().filter(|line| line.len() >= 64).map(ToOwned::to_owned));
    }
    assert!(secrets.len() >= 3, "each file has one");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let told = async |path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", joining.http);
        client.get(url).send().await.unwrap().text().await.unwrap()
    };
    for path in ["/", "/livez", "/readyz", "/metrics", "/status"] {
        let told = told(path).await;
        assert!(!told.is_empty());
        assert!(!secrets.iter().any(|secret| told.contains(secret.as_str())), "{path} tells a secret");
    }

    // The power fails, and the same command goes on with the same keys.
    let id = fs::read(&key).unwrap();
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    drop(started(&joining));
    assert_eq!(fs::read(&key).unwrap(), id);
}

/// A node that has started.
fn started(joining: &Joining) -> Running {
    let running = joining.join();
    loop {
        let step = running.next().unwrap_or_else(|error| panic!("{error}"));
        if (step["step"].as_str(), step["state"].as_str()) == (Some("start"), Some("done")) {
            return running;
        }
    }
}

/// A port that is neither this one nor taken, for both kinds.
fn other(port: u16) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let found = socket.local_addr().unwrap().port();
    assert_ne!(found, port);
    found
}
