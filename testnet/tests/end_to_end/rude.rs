//! What a node bears from clients of its JSON door that are rude, as a process of its own: others are served, and
//! its memory stays within bounds. What the door does with each of them is tested at the node, without a process.

use std::net::SocketAddr;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    https::{Https, connector},
    support::Place,
};

/// What a node may hold more than before while they are all there, in bytes.
const BOUND: u64 = 128 << 20;
const STORAGE: &str = "/storage_rpc/v1";
/// The head of a request whose body is as long as may be, and does not come.
const SLOW: &str = "POST /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\nContent-Length: 10485760\r\n\r\n";

/// The node that they go to.
struct Node {
    place: Place,
    door: SocketAddr,
    before: u64,
}

impl Node {
    async fn up() -> Self {
        let place = Place::up().await;
        let status = place.data(&["testnet", "status"]);
        let door = status["nodes"][0]["door"].as_str().unwrap().strip_prefix("https://").unwrap();
        let door = door.parse().unwrap();
        let before = place.testnet.resident().unwrap()[0];
        Self { place, door, before }
    }

    /// Asserts that it serves somebody else who comes, and how much memory it holds.
    async fn serves(&self, beside: &str) {
        let mut other = Https::connect_from([127, 0, 0, 9], self.door).await;
        let (status, _) = other.post(STORAGE, r#"{"method":"info"}"#).await;
        assert_eq!(status, 200, "beside {beside}");
        let more = self.place.testnet.resident().unwrap()[0].saturating_sub(self.before);
        assert!(more < BOUND, "{more} bytes more than before, beside {beside}");
    }

    async fn bare(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.door).await.unwrap()
    }
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
    drop((idle, half_open, slow));
}
