//! What a node bears from clients of its JSON door that are rude, and from a member of its swarm that falls silent,
//! as a process of its own: others are served, and its memory stays within bounds. What the door does with each of
//! them is tested at the node, without a process.

use std::{fs, io, net::SocketAddr, pin::pin};

use data_encoding::{BASE64, HEXLOWER};
use futures::future::join_all;
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};
use serde_json::{Value, json};
use session_chain::NetworkFile;
use session_client::Account;
use session_protocols::{
    Namespace, NodeId,
    answer::{Answer, Body, MAX_ANSWER},
    codec,
    request::{Request, Store},
};
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    conformance::moment,
    https::{Https, connector},
    raw::Members,
    support::{Place, until},
};

/// What a node may hold more than before while they are all there, in bytes.
const BOUND: u64 = 128 << 20;
const STORAGE: &str = "/storage_rpc/v1";
/// The head of a request whose body is as long as may be, and does not come.
const SLOW: &str = "POST /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\nContent-Length: 10485760\r\n\r\n";
/// The same for HTTP/2, of any length: a POST over HTTPS, its path and its host.
const SLOW_2: &[u8] = b"\x83\x87\x04\x0f/storage_rpc/v1\x01\x04node";
/// Frames of HTTP/2.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
/// Flags: nothing more comes on the stream; no more headers come.
const END: u8 = 1;
const WHOLE: u8 = 4;

/// The node that they go to.
struct Node {
    place: Place,
    file: NetworkFile,
    id: NodeId,
    pid: u64,
    door: SocketAddr,
    /// Somebody whose messages it keeps.
    owner: Account,
    before: u64,
}

impl Node {
    async fn up() -> Self {
        let place = Place::up().await;
        let file = place.testnet.folder().network().unwrap();
        let status = place.data(&["testnet", "status"]);
        let node = &status["nodes"][0];
        let door = node["door"].as_str().unwrap().strip_prefix("https://").unwrap();
        let (door, id) = (door.parse().unwrap(), node["id"].as_str().unwrap().parse().unwrap());
        let pid = node["pid"].as_u64().unwrap();
        let owner = kept_at(door, &id).await;
        let before = place.testnet.resident().unwrap()[0];
        Self { place, file, id, pid, door, owner, before }
    }

    /// Asserts that it serves somebody else who comes, at either door, and how much memory it holds.
    async fn serves(&self, beside: &str) {
        let mut other = Https::connect_from([127, 0, 0, 9], self.door).await;
        let account = self.owner.id();
        let store = self.message(&format!("in JSON, beside {beside}"));
        let (status, _) = asked(&mut other, "store", &store).await;
        assert_eq!(status, 200, "beside {beside}");
        let body = self.read(&mut other, beside).await;
        let shown = body["messages"].as_array().unwrap().iter().map(|message| message["data"].clone());
        assert!(shown.into_iter().any(|data| data == store["data"]), "{body}, beside {beside}");

        let natively = Members::connect(&self.file).await;
        let (timestamp, data) = (moment(0), format!("beside {beside}").into_bytes().into());
        let (namespace, expiry) = (Namespace::INBOX, timestamp + 600_000);
        let store = Store { account, namespace, timestamp, expiry, data, auth: None };
        let hash = store.hash();
        let answer = natively.ask(&self.id, codec::encode(&Request::Store(store))).await;
        let answer: Answer = codec::decode(&answer, MAX_ANSWER).unwrap();
        assert!(matches!(answer.body, Body::Stored { .. }), "{answer:?}, beside {beside}");
        let inbox = natively.inbox(&self.owner, &self.id, moment(0)).await;
        assert!(inbox.contains(&hash), "beside {beside}");

        let more = self.place.testnet.resident().unwrap()[0].saturating_sub(self.before);
        assert!(more < BOUND, "{more} bytes more than before, beside {beside}");
    }

    /// What is asked in JSON to store something for the owner.
    fn message(&self, said: &str) -> Value {
        json!({ "pubkey": self.owner.id().to_string(), "timestamp": moment(0), "ttl": 600_000,
            "data": BASE64.encode(said.as_bytes()) })
    }

    /// What the owner reads in JSON.
    async fn read(&self, https: &mut Https, beside: &str) -> Value {
        let time = moment(0);
        let signature = self.owner.key_pair().sign(format!("retrieve{time}").as_bytes());
        let key = HEXLOWER.encode(&self.owner.key_pair().public());
        let retrieve = json!({ "pubkey": self.owner.id().to_string(), "timestamp": time, "pubkey_ed25519": key,
            "signature": BASE64.encode(&signature.0) });
        let (status, body) = asked(https, "retrieve", &retrieve).await;
        assert_eq!(status, 200, "beside {beside}");
        body
    }

    /// The other members of its swarm, and their processes.
    fn fellows(&self) -> Vec<(NodeId, Pid)> {
        let status = self.place.data(&["testnet", "status"]);
        let (first, others) = status["nodes"].as_array().unwrap().split_first().unwrap();
        let fellows = others.iter().filter(|one| one["swarm"] == first["swarm"]);
        let pid = |one: &Value| i32::try_from(one["pid"].as_u64().unwrap()).unwrap();
        let fellow = |one: &Value| (id(&one["id"]), Pid::from_raw(pid(one)).unwrap());
        fellows.map(fellow).collect()
    }

    async fn bare(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.door).await.unwrap()
    }

    /// The most memory that it ever held, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() << 10
    }
}

/// A process that stands still, its connections open, for as long as this lives.
struct Halted(Pid);

impl Halted {
    async fn new(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).unwrap();
        let halted = Self(pid);
        until("all of its threads to stop", async || halted.stopped().then_some(())).await;
        halted
    }

    fn stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.as_raw_nonzero())).unwrap();
        let status = |thread: io::Result<fs::DirEntry>| fs::read_to_string(thread?.path().join("status"));
        threads.map(status).all(|status| status.is_ok_and(|status| status.contains("\nState:\tT")))
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn id(value: &Value) -> NodeId {
    value.as_str().unwrap().parse().unwrap()
}

/// An account whose messages this node keeps.
async fn kept_at(door: SocketAddr, node: &NodeId) -> Account {
    let mut https = Https::connect(door).await;
    for seed in 0..=u8::MAX {
        let account = Account::new(&[seed; 16]);
        let (_, body) = asked(&mut https, "get_swarm", &json!({ "pubkey": account.id().to_string() })).await;
        // Where nodes have not heard of each other yet there are none.
        let mut members = body["snodes"].as_array().into_iter().flatten();
        if members.any(|member| member["pubkey_ed25519"] == node.to_string().as_str()) {
            return account;
        }
    }
    panic!("{node} keeps nobody's messages")
}

async fn asked(https: &mut Https, method: &str, params: &Value) -> (u16, Value) {
    let (status, body) = https.post(STORAGE, json!({ "method": method, "params": params }).to_string()).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// How a client of HTTP/2 begins.
fn hello() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[])].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rude_clients_leave_a_node_serving_others_within_its_bounds() {
    // Theirs, and the node's, which has as many as who starts it.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    let node = Node::up().await;
    let tls = connector(&["http/1.1"]);
    let mut idle = Vec::new();
    for number in 0..1_000_u16 {
        let from = [127, 0, 0, 2 + u8::try_from(number % 4).unwrap()];
        idle.push(Https::over(node.bare(from).await, &tls).await);
    }
    node.serves("1,000 idle connections").await;
    let mut half_open = Vec::new();
    for _ in 0..200 {
        half_open.push(node.bare([127, 0, 0, 6]).await);
    }
    node.serves("half-open connections").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut https = Https::connect_from([127, 0, 0, 7], node.door).await;
        https.send([SLOW.as_bytes(), &[b' '; 64 << 10]].concat()).await;
        slow.push(https);
    }
    node.serves("slow bodies").await;
    for _ in 0..50 {
        let mut https = Https::connect_from([127, 0, 0, 8], node.door).await;
        https.send(format!("POST {STORAGE} HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20))).await;
        let said = https.until_closed().await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&said));
    }
    node.serves("huge heads").await;
    let tls_2 = connector(&["h2"]);
    let (mut slow_2, mut fickle) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let mut https = Https::over(node.bare([127, 0, 0, 10]).await, &tls_2).await;
        let streams = (1..64).step_by(2).flat_map(|stream| {
            [frame(HEADERS, WHOLE, stream, SLOW_2), frame(DATA, 0, stream, &[b' '; 16 << 10])].concat()
        });
        https.send([hello(), streams.collect()].concat()).await;
        slow_2.push(https);
    }
    node.serves("slow bodies over HTTP/2").await;
    for _ in 0..50 {
        let mut https = Https::over(node.bare([127, 0, 0, 11]).await, &tls_2).await;
        let streams = (1..2_000).step_by(2).flat_map(|stream| {
            let cancel = 8_u32.to_be_bytes();
            [frame(HEADERS, WHOLE | END, stream, SLOW_2), frame(RESET, 0, stream, &cancel)].concat()
        });
        https.send([hello(), streams.collect()].concat()).await;
        fickle.push(https);
    }
    node.serves("requests over HTTP/2 that are taken back").await;
    drop((idle, half_open, slow, slow_2, fickle));
}

/// Two bytes of such a body are a value of some thirty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_hold_much_leave_a_node_within_its_bounds() {
    let node = Node::up().await;
    let before = node.peak();
    let bomb = format!(r#"{{"method":"info","params":{{"odd":[{}0]}}}}"#, "0,".repeat(4_900_000));
    let alone = Https::connect_from([127, 0, 0, 12], node.door).await.post(STORAGE, &bomb).await;
    assert_eq!(alone.0, 413);
    let bombs = (0..6).map(|_| async {
        let mut https = Https::connect_from([127, 0, 0, 12], node.door).await;
        https.try_post(STORAGE, &bomb).await
    });
    for answer in join_all(bombs).await {
        // Beyond what one address may hold a body is read no further.
        assert!(answer.is_none_or(|(status, _)| matches!(status, 413 | 503)));
    }
    let more = node.peak() - before;
    assert!(more < BOUND, "{more} bytes more at the most, for bodies of {}", bomb.len());
    node.serves("bodies that hold much").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_silent_is_named_and_holds_up_nobody_else() {
    let mut node = Node::up().await;
    let fellows = node.fellows();
    let (silent, pid) = fellows[0];
    let halted = Halted::new(pid).await;
    let mut writers = Vec::new();
    for number in 0..32 {
        let mut https = Https::connect_from([127, 0, 0, 13], node.door).await;
        let store = node.message(&format!("number {number}"));
        writers.push(async move { asked(&mut https, "store", &store).await });
    }
    let mut stored = pin!(join_all(writers));
    let mut reader = Https::connect_from([127, 0, 0, 14], node.door).await;
    tokio::select! {
        biased;
        told = &mut stored => panic!("nobody waited for the member: {told:?}"),
        _ = node.read(&mut reader, "a silent member") => {}
    }
    for (status, body) in stored.await {
        assert_eq!(status, 200, "{body}");
        let mut swarm = body["swarm"].as_object().unwrap().clone();
        let named = swarm.remove(&silent.to_string());
        assert_eq!(named, Some(json!({ "failed": true, "timeout": true })), "{body}");
        assert_eq!(swarm.len(), fellows.len(), "{body}");
        assert!(swarm.values().all(|member| member["signature"].is_string()), "{body}");
    }
    // It cannot be asked itself.
    node.file.nodes.retain(|one| one.id != silent);
    node.serves("a silent member").await;
    drop(halted);
    until("the member to sign again", async || {
        let mut https = Https::connect_from([127, 0, 0, 14], node.door).await;
        let (_, body) = asked(&mut https, "store", &node.message("afterwards")).await;
        body["swarm"][silent.to_string()]["signature"].is_string().then_some(())
    })
    .await;
}
