//! The HTTPS door with real sockets: what it answers, and what it bears from clients that are rude.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::BoxFuture};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use session_node::door::{Behind, Call, Caller, Carry, Door, DoorConfig, Limits, Lost, Room, Service, Told};
use session_protocols::{
    KeyPair, NodeId, SwarmId,
    answer::RULES,
    door::{
        Reply,
        nodes::{DoorNode, Listing},
        onion::{
            Cipher, NONCE, Passed,
            wrap::{Hop, Question, wrap},
        },
    },
    limits::Rate,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::{
    PATIENCE, Plan,
    https::{Https, connector, post},
    stranger::Stranger,
    wait,
};

/// Says what it was asked, and how; or does what it is told.
struct Echo {
    /// Told when it was asked to wait.
    waiting: Notify,
    /// Whoever waits goes on when there is one of these.
    going_on: Semaphore,
}

struct Echoing(Arc<Echo>);

impl Service for Echoing {
    fn answer(&self, call: Call, room: Room) -> BoxFuture<'static, Reply> {
        let echo = Arc::clone(&self.0);
        async move {
            let asked: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            match asked["method"].as_str() {
                Some("wait") => {
                    echo.waiting.notify_one();
                    echo.going_on.acquire().await.unwrap().forget();
                    Reply::text(200, "waited")
                }
                Some("big") => Reply::text(200, "x".repeat(asked["params"].as_u64().unwrap() as usize)),
                Some("part") => {
                    Reply::text(200, room.take(asked["params"].as_u64().unwrap() as usize).to_string())
                }
                Some("refuse") => Reply::text(421, "elsewhere"),
                _ => {
                    let caller = match call.caller {
                        Caller::Client(ip) => ip.to_string(),
                        Caller::Onion(None) => "onion".to_owned(),
                        Caller::Onion(Some(over)) => format!("onion over {over}"),
                    };
                    Reply::json(200, &json!({ "caller": caller, "length": call.body.len() }))
                }
            }
        }
        .boxed()
    }
}

struct Nobody;

impl Carry for Nobody {
    fn carry(&self, _: NodeId, _: Passed) -> BoxFuture<'static, Result<Told, Lost>> {
        std::future::ready(Err(Lost::NotFound)).boxed()
    }
}

struct Opened {
    addresses: Vec<SocketAddr>,
    echo: Arc<Echo>,
    id: NodeId,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    _folder: TempDir,
}

impl Opened {
    fn new(limits: Limits) -> Self {
        Self::at(limits, vec!["127.0.0.1:0".parse().unwrap()])
    }

    fn at(limits: Limits, listen: Vec<SocketAddr>) -> Self {
        Self::by(&DoorConfig { limits, ..DoorConfig::new(listen) })
    }

    fn by(config: &DoorConfig) -> Self {
        let (folder, pair) = (tempfile::tempdir().unwrap(), KeyPair::from_seed(&[3; 32]));
        let door = Door::open(config, folder.path(), &pair).unwrap();
        let addresses = door.addresses();
        let echo = Arc::new(Echo { waiting: Notify::new(), going_on: Semaphore::new(0) });
        let mut node = DoorNode::new(pair.node_id(), [127, 0, 0, 1].into(), 7).unwrap();
        node.swarm = Some(SwarmId(9));
        let listing = watch::channel(Arc::new(Listing::new(vec![node], 1, RULES))).1;
        let behind = Behind {
            me: pair.node_id(),
            service: Arc::new(Echoing(Arc::clone(&echo))),
            carry: Arc::new(Nobody),
            listing,
        };
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(door.serve(behind, stopping));
        Self { addresses, echo, id: pair.node_id(), stop, serving, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.addresses[0]
    }
}

const STORAGE: &str = "/storage_rpc/v1";
/// Short, for what the server is to end.
const SHORT: Duration = Duration::from_millis(200);

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_over_either_family_is_answered() {
    let door =
        Opened::at(Limits::default(), vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    for (address, ip) in door.addresses.iter().zip(["127.0.0.1", "::1"]) {
        // On one connection.
        let mut https = Https::connect(*address).await;
        let (status, body) = https.post(STORAGE, r#"{"method":"info"}"#).await;
        assert_eq!((status, json_of(&body)), (200, json!({ "caller": ip, "length": 17 })));
        assert_eq!(https.post(STORAGE, r#"{"method":"refuse"}"#).await, (421, b"elsewhere".to_vec()));
        let asked = r#"{"id":0,"method":"get_n_service_nodes","params":{"fields":{"public_ip":true,"storage_port":true}}}"#;
        let (status, body) = https.post("/json_rpc", asked).await;
        let states = &json_of(&body)["result"]["service_node_states"];
        assert_eq!((status, states), (200, &json!([{ "public_ip": "127.0.0.1", "storage_port": 7 }])));
        let (status, body) = https.post(STORAGE, r#"{"method":"big","params":1000000}"#).await;
        assert_eq!((status, body.len()), (200, 1_000_000));
        assert_eq!(https.post("/elsewhere", "").await.0, 404);
        https.send("GET /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\n\r\n").await;
        assert_eq!(https.answer().await.unwrap().0, 405);
        https.send("POST /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\nX-Loki-Long-Poll: 1\r\n\r\n").await;
        assert_eq!(https.answer().await.unwrap().0, 410);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_onion_request_is_answered_under_its_own_seal() {
    let door = Opened::new(Limits::default());
    let other = KeyPair::from_seed(&[4; 32]).node_id();
    let hop = |node, cipher| Hop { node, cipher, secret: [7; 32], nonce: [8; NONCE] };
    for cipher in [Cipher::AesGcm, Cipher::XChaCha20] {
        let question = Question::request(br#"{"method":"info"}"#, true, true);
        // The node may be named more than once.
        for hops in [vec![hop(door.id, cipher)], vec![hop(door.id, cipher); 3]] {
            let (packet, answer) = wrap(&hops, &question).unwrap();
            let (status, body) = post(door.address(), "/onion_req/v2", packet).await;
            let expected = json!({ "status": 200, "body": { "caller": "onion", "length": 17 } });
            assert_eq!((status, answer.open(&body, true)), (200, Some(expected)));
        }
        // A sentence has the time beside it: no head of HTTP reaches so far.
        let refused = Question::request(br#"{"method":"refuse"}"#, true, true);
        let (packet, answer) = wrap(&[hop(door.id, cipher)], &refused).unwrap();
        let opened = answer.open(&post(door.address(), "/onion_req/v2", packet).await.1, true).unwrap();
        assert_eq!((&opened["status"], &opened["body"]), (&json!(421), &json!("elsewhere")));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!(u128::from(opened["t"].as_u64().unwrap()).abs_diff(now) < 60_000, "{opened}");
        assert_eq!(opened["hf"], json!(RULES));
        let (packet, _) = wrap(&[hop(door.id, cipher), hop(other, cipher)], &question).unwrap();
        let (status, body) = post(door.address(), "/onion_req/v2", packet).await;
        let expected = format!("Next node not found: {other}");
        assert_eq!((status, String::from_utf8(body).unwrap()), (502, expected));
        let (packet, _) = wrap(&vec![hop(door.id, cipher); 18], &question).unwrap();
        assert_eq!(post(door.address(), "/onion_req/v2", packet).await.0, 400, "too many hops");
        let (packet, _) = wrap(&[hop(other, cipher)], &question).unwrap();
        let (status, body) = post(door.address(), "/onion_req/v2", packet).await;
        assert_eq!((status, &body[..]), (400, &b"Invalid ciphertext"[..]));
    }
    assert_eq!(post(door.address(), "/onion_req/v2", "no such thing").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_and_answers_come_in_any_order() {
    let door = Opened::new(Limits::default());
    let stream = TcpStream::connect(door.address()).await.unwrap();
    let stream = Https::over(stream, &connector(&["h2"])).await.0;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = |body: &'static str| {
        let uri = format!("https://node{STORAGE}");
        let request = hyper::Request::post(uri).body(axum::body::Body::from(body)).unwrap();
        sender.send_request(request)
    };
    let waiting = tokio::spawn(ask(r#"{"method":"wait"}"#));
    door.echo.waiting.notified().await;
    assert_eq!(ask("{}").await.unwrap().status(), 200, "beside one that waits");
    door.echo.going_on.add_permits(1);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    connection.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_body_than_may_be_is_refused() {
    let door = Opened::new(Limits { body: 1_000, ..Limits::default() });
    assert_eq!(post(door.address(), STORAGE, vec![b' '; 1_000]).await.0, 200);
    let mut https = Https::connect(door.address()).await;
    https.send("POST /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\nContent-Length: 1001\r\n\r\n").await;
    assert_eq!(https.answer().await.unwrap().0, 413, "before a byte of it was sent");
    let mut https = Https::connect(door.address()).await;
    https.send("POST /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    https.send([b"3e9\r\n".to_vec(), vec![b' '; 1_001]].concat()).await;
    assert_eq!(https.answer().await.unwrap().0, 413, "whatever it says of its length");
    assert_eq!(Limits::default().body, 10 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_too_often_is_told_so_and_others_are_not() {
    let rate = Rate { per_second: 0, burst: 3 };
    let door = Opened::new(Limits { rate, ..Limits::default() });
    let mut statuses = Vec::new();
    for path in [STORAGE, "/json_rpc", "/onion_req/v2", STORAGE, "/onion_req/v2"] {
        statuses.push(post(door.address(), path, "{}").await.0);
    }
    assert_eq!(statuses, [200, 200, 400, 429, 429]);
    assert_eq!(Https::connect_from([127, 0, 0, 2], door.address()).await.post(STORAGE, "{}").await.0, 200);
    let Limits { rate, tracked, .. } = Limits::default();
    assert_eq!((rate, tracked), (Rate { per_second: 300, burst: 600 }, 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_charged_like_all_else() {
    let rate = Rate { per_second: 0, burst: 3 };
    let door = Opened::new(Limits { rate, ..Limits::default() });
    let mut https = Https::connect(door.address()).await;
    assert_eq!(https.post("/elsewhere", "{}").await.0, 404);
    https.send("GET /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\n\r\n").await;
    assert_eq!(https.answer().await.unwrap().0, 405);
    assert_eq!(https.post("/elsewhere", "{}").await.0, 404);
    assert_eq!(https.post("/elsewhere", "{}").await.0, 429);
    assert_eq!(https.post(STORAGE, "{}").await.0, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_connects_too_often_is_closed_before_the_handshake() {
    let arrivals = Rate { per_second: 0, burst: 2 };
    let door = Opened::new(Limits { arrivals, ..Limits::default() });
    let mut kept = Https::connect(door.address()).await;
    assert_eq!(post(door.address(), STORAGE, "{}").await.0, 200);
    let stream = TcpStream::connect(door.address()).await.unwrap();
    let name = ServerName::try_from("node").unwrap();
    assert!(connector(&["http/1.1"]).connect(name, stream).await.is_err());
    assert_eq!(kept.post(STORAGE, "{}").await.0, 200, "who is there goes on");
    assert_eq!(Https::connect_from([127, 0, 0, 2], door.address()).await.post(STORAGE, "{}").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_worked_on_at_once_is_bounded_and_in_time() {
    let door = Opened::new(Limits { at_once: 1, ..Limits::default() });
    let address = door.address();
    let first = tokio::spawn(post(address, STORAGE, r#"{"method":"wait"}"#));
    door.echo.waiting.notified().await;
    assert_eq!(post(address, STORAGE, "{}").await.0, 503);
    door.echo.going_on.add_permits(1);
    assert_eq!(first.await.unwrap(), (200, b"waited".to_vec()));
    assert_eq!(post(address, STORAGE, "{}").await.0, 200);
    // Who waits in all of his places keeps nobody else out.
    let door = Opened::new(Limits { at_once_each: 1, ..Limits::default() });
    let address = door.address();
    let first = tokio::spawn(post(address, STORAGE, r#"{"method":"wait"}"#));
    door.echo.waiting.notified().await;
    assert_eq!(post(address, STORAGE, "{}").await.0, 503);
    assert_eq!(Https::connect_from([127, 0, 0, 2], address).await.post(STORAGE, "{}").await.0, 200);
    door.echo.going_on.add_permits(1);
    assert_eq!(first.await.unwrap().0, 200);
    let door = Opened::new(Limits { answer_time: SHORT, ..Limits::default() });
    assert_eq!(post(door.address(), STORAGE, r#"{"method":"wait"}"#).await.0, 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_who_wait_in_all_of_their_places_leave_some_to_the_next() {
    let door = Opened::new(Limits { at_once: 64, at_once_each: 8, ..Limits::default() });
    let address = door.address();
    let ask = move |from: u8, body: &'static str| async move {
        Https::connect_from([127, 0, 0, from], address).await.post(STORAGE, body).await.0
    };
    let mut waiting = Vec::new();
    for from in 1..9 {
        for _ in 0..8 {
            let mut asked = tokio::spawn(ask(from, r#"{"method":"wait"}"#));
            tokio::select! {
                () = door.echo.waiting.notified() => waiting.push(asked),
                status = &mut asked => assert_eq!(status.unwrap(), 503),
            }
        }
    }
    assert!((32..64).contains(&waiting.len()), "{} wait", waiting.len());
    assert_eq!(ask(9, "{}").await, 200);
    door.echo.going_on.add_permits(waiting.len());
    for asked in waiting {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_parts_takes_room_for_each_as_it_is_made() {
    let door = Opened::new(Limits { memory_each: 64 << 10, ..Limits::default() });
    // One after the other on one connection: what an answer takes is given back once it is written.
    let mut https = Https::connect(door.address()).await;
    for (bytes, taken) in [(40 << 10, "true"), (65 << 10, "false"), (40 << 10, "true")] {
        let asked = json!({ "method": "part", "params": bytes }).to_string();
        assert_eq!(https.post(STORAGE, asked).await.1, taken.as_bytes(), "{bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_come_slowly_are_given_up() {
    let door = Opened::new(Limits { body_time: SHORT, ..Limits::default() });
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut https = Https::connect(door.address()).await;
        https.send("POST /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\nContent-Length: 100\r\n\r\n{").await;
        slow.push(https);
    }
    assert_eq!(post(door.address(), STORAGE, "{}").await.0, 200);
    for mut https in slow {
        let said = String::from_utf8(https.until_closed().await).unwrap();
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_come_make_room_for_those_that_do() {
    // No time runs out here.
    let limits = Limits { connections: 32, connections_each: 16, ..Limits::default() };
    let door = Opened::new(limits);
    let mut slow = Vec::new();
    for number in 0..64 {
        let mut https = Https::connect_from([127, 0, 0, 1 + number % 4], door.address()).await;
        https.send("POST /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\nContent-Length: 100\r\n\r\n{").await;
        slow.push(https);
        for from in [1, 9] {
            let mut good = Https::connect_from([127, 0, 0, from], door.address()).await;
            assert_eq!(good.post(STORAGE, "{}").await.0, 200, "beside {number}");
        }
    }
    // The first ones had to go.
    assert_eq!(slow[0].until_closed().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_hold_no_more_memory_than_they_may() {
    let limits = Limits { memory: 1 << 20, memory_each: 128 << 10, ..Limits::default() };
    let door = Opened::new(limits);
    let address = door.address();
    let long = |text: &str| text.to_owned() + &" ".repeat(120_000 - text.len());
    let mut first = Https::connect(address).await;
    let waiting = long(r#"{"method":"wait"}"#);
    let held = tokio::spawn(async move { (first.post(STORAGE, waiting).await.0, first) });
    door.echo.waiting.notified().await;
    assert_eq!(post(address, STORAGE, long("{}")).await.0, 503);
    assert_eq!(post(address, STORAGE, "{}").await.0, 503, "not even this");
    let elsewhere = Https::connect_from([127, 0, 0, 2], address).await.post(STORAGE, long("{}")).await;
    assert_eq!(elsewhere.0, 200);
    door.echo.going_on.add_permits(1);
    let (status, mut first) = held.await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(first.post(STORAGE, long("{}")).await.0, 200);
    assert_eq!(first.post(STORAGE, r#"{"method":"big","params":200000}"#).await.0, 503);
    assert_eq!(first.post(STORAGE, r#"{"method":"big","params":120000}"#).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_heads_are_refused() {
    let door = Opened::new(Limits { head: 8 << 10, ..Limits::default() });
    let mut good = Https::connect(door.address()).await;
    for head in [
        format!("X-Long: {}\r\n", "x".repeat(64 << 10)),
        (0..100).map(|number| format!("X-{number}: 1\r\n")).collect(),
    ] {
        let mut https = Https::connect(door.address()).await;
        https.send(format!("POST /storage_rpc/v1 HTTP/1.1\r\nHost: node\r\n{head}\r\n")).await;
        let said = String::from_utf8(https.until_closed().await).unwrap();
        assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
        assert_eq!(good.post(STORAGE, "{}").await.0, 200);
    }
    // One that never ends.
    let mut https = Https::connect(door.address()).await;
    https.send("POST /storage_rpc/v1 HTTP/1.1\r\nHost: ").await;
    for _ in 0..1_000 {
        https.send("x".repeat(100)).await;
    }
    https.until_closed().await;
    assert_eq!(good.post(STORAGE, "{}").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_half_open_are_closed() {
    let limits = Limits {
        handshake_time: SHORT,
        head_time: SHORT,
        body_time: SHORT,
        stall_time: SHORT,
        ..Limits::default()
    };
    let door = Opened::new(limits);
    let mut bare = TcpStream::connect(door.address()).await.unwrap();
    let mut begun = TcpStream::connect(door.address()).await.unwrap();
    begun.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
    let mut silent = Https::connect(door.address()).await;
    let mut halting = Https::connect(door.address()).await;
    halting.send("POST /storage_rpc/v1 HTTP/1.1\r\nHost: no").await;
    let stream = TcpStream::connect(door.address()).await.unwrap();
    let mut second = Https::over(stream, &connector(&["h2"])).await;
    let mut idle = Https::connect(door.address()).await;
    assert_eq!(idle.post(STORAGE, "{}").await.0, 200);
    let mut rest = Vec::new();
    for stream in [&mut bare, &mut begun] {
        let _ = stream.read_to_end(&mut rest).await;
    }
    for https in [&mut silent, &mut halting, &mut second, &mut idle] {
        https.until_closed().await;
    }
    assert_eq!(post(door.address(), STORAGE, "{}").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_given_up() {
    let limits = Limits { stall_time: SHORT, memory_each: 20 << 20, ..Limits::default() };
    let door = Opened::new(limits);
    let mut https = Https::connect(door.address()).await;
    let body = r#"{"method":"big","params":16000000}"#;
    https
        .send(format!(
            "POST {STORAGE} HTTP/1.1\r\nHost: node\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    // Nothing is read until there is room for another, which is when the first was given up.
    while post(door.address(), STORAGE, body).await.0 != 200 {
        tokio::task::yield_now().await;
    }
    assert!(https.until_closed().await.len() < 16_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_when_its_time_is_over() {
    let door = Opened::new(Limits { lifetime: SHORT, ..Limits::default() });
    let mut https = Https::connect(door.address()).await;
    while https.try_post(STORAGE, "{}").await.is_some() {}
    // By now this client may have asked too often for another answer.
    assert!([200, 429].contains(&post(door.address(), STORAGE, "{}").await.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_hold_up_nobody() {
    // Theirs and the door's.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    let door = Opened::new(Limits::default());
    let each = Limits::default().connections_each;
    let mut kept = Https::connect_from([127, 0, 0, 2], door.address()).await;
    assert_eq!(kept.post(STORAGE, "{}").await.0, 200);
    let tls = connector(&["http/1.1"]);
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(Https::over(TcpStream::connect(door.address()).await.unwrap(), &tls).await);
    }
    assert_eq!(post(door.address(), STORAGE, "{}").await.0, 200, "from the same address");
    assert_eq!(kept.post(STORAGE, "{}").await.0, 200, "others keep what they have");
    // All but the newest were closed: what one address may have is left.
    for https in &mut idle[..=1_000 - each] {
        https.until_closed().await;
    }
    assert_eq!(idle.last_mut().unwrap().post(STORAGE, "{}").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_closes_lets_go_of_everybody() {
    let door = Opened::new(Limits::default());
    let mut https = Https::connect(door.address()).await;
    assert_eq!(https.post(STORAGE, "{}").await.0, 200);
    door.stop.send(true).unwrap();
    door.serving.await.unwrap();
    https.until_closed().await;
    assert!(TcpStream::connect(door.addresses[0]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_nodes_list_each_other_and_hand_on_onion_requests() {
    let mut plan = Plan::new(4);
    plan.open_doors(3);
    let nodes: Vec<_> = (0..4).map(|index| plan.start(index)).collect();
    wait(&plan.http, 200).await;
    let ids: Vec<_> = (0..4).map(|index| plan.pair(index).node_id()).collect();
    let asked = json!({ "id": 0, "method": "get_n_service_nodes", "params": {} }).to_string();
    // They learn of each other's doors by gossip.
    let mut https = Https::connect(plan.doors[0]).await;
    let states = loop {
        let (status, body) = https.post("/json_rpc", &asked).await;
        let states = json_of(&body)["result"]["service_node_states"].clone();
        match (status, states.as_array().map(Vec::len)) {
            (200, Some(3)) => break states,
            (200 | 429, _) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    };
    let mut states = states.as_array().unwrap().clone();
    states.sort_by_key(|state| state["storage_port"].as_u64());
    let mut doors = plan.doors.clone();
    doors.sort_by_key(SocketAddr::port);
    for (state, door) in states.iter().zip(&doors) {
        let index = plan.doors.iter().position(|one| one == door).unwrap();
        let id = ids[index];
        assert_eq!((&state["public_ip"], &state["storage_port"]), (&json!(door.ip()), &json!(door.port())));
        assert_eq!((&state["pubkey_ed25519"], &state["active"]), (&json!(id), &json!(true)));
        let key = session_protocols::identity::to_x25519(id.as_bytes()).unwrap();
        assert_eq!(state["pubkey_x25519"], data_encoding::HEXLOWER.encode(&key));
        assert_eq!(state["storage_server_version"], json!([0, 1, 0]));
    }
    let hop = |index: usize, cipher| Hop { node: ids[index], cipher, secret: [7; 32], nonce: [8; NONCE] };
    let question = Question::request(br#"{"method":"info","params":{}}"#, false, false);
    let hops = [hop(0, Cipher::AesGcm), hop(1, Cipher::XChaCha20), hop(2, Cipher::AesGcm)];
    let (packet, answer) = wrap(&hops, &question).unwrap();
    let (status, body) = post(plan.doors[0], "/onion_req/v2", packet).await;
    let opened = answer.open(&body, false).expect("sealed by the last one");
    assert!(status == 200 && opened["status"].is_u64() && opened["body"].is_string(), "{opened}");
    // A larger one than a frame of the connection.
    let long = "{}".to_owned() + &" ".repeat(2_000_000);
    let (packet, answer) = wrap(&hops, &Question::request(long.as_bytes(), true, true)).unwrap();
    let (status, body) = post(plan.doors[0], "/onion_req/v2", packet).await;
    assert!(status == 200 && answer.open(&body, true).is_some());
    // The second hop names the next one that it cannot reach: a node without a door, and nobody.
    let nobody = KeyPair::from_seed(&[99; 32]).node_id();
    for missing in [ids[3], nobody] {
        let last = Hop { node: missing, ..hop(2, Cipher::AesGcm) };
        let (packet, _) = wrap(&[hop(0, Cipher::AesGcm), hop(1, Cipher::AesGcm), last], &question).unwrap();
        let (status, body) = post(plan.doors[0], "/onion_req/v2", packet).await;
        let expected = format!("Next node not found: {missing}");
        assert_eq!((status, String::from_utf8(body).unwrap()), (502, expected));
    }
    for node in nodes {
        node.stop().await;
    }
}

/// Whether a node takes what another hands on to it: it reads it, and says that it is no onion request.
async fn is_read(neighbour: &Stranger) -> bool {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let Some(mut stream) = neighbour.open_door_onion().await else { return false };
    let mut told = Vec::new();
    // Where there is no seat for it, it may be closed before it is written.
    let _ = stream.write_all(b"no onion request").await;
    let _ = stream.close().await;
    let _ = stream.read_to_end(&mut told).await;
    told.starts_with(&400_u16.to_be_bytes())
}

/// Waits until it does.
async fn until_it_is_read(neighbour: &Stranger) {
    let read = async {
        while !is_read(neighbour).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("there is a seat");
}

/// Begins to hand something on, and does not end it.
async fn begin(neighbour: &Stranger) -> libp2p::Stream {
    use futures::AsyncWriteExt;
    let mut stream = neighbour.open_door_onion().await.unwrap();
    let _ = stream.write_all(&[0]).await;
    let _ = stream.flush().await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_takes_seats_of_its_own_and_gives_them_back() {
    let mut plan = Plan::new(3);
    plan.open_doors(1);
    let node = plan.start(0);
    wait(&plan.http[..1], 503).await;
    let greedy = Stranger::meet_as(1, &plan, 0).await;
    let other = Stranger::meet_as(2, &plan, 0).await;
    until_it_is_read(&greedy).await;
    // What is begun and does not end holds a seat each; what was answered may still hold one for a moment.
    let mut begun = Vec::new();
    while is_read(&greedy).await {
        begun.push(begin(&greedy).await);
        assert!(begun.len() <= 128, "it takes all that it likes");
    }
    assert!(begun.len() >= 32, "{}", begun.len());
    until_it_is_read(&other).await;
    drop(begun);
    until_it_is_read(&greedy).await;
    drop((greedy, other));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_outside_are_reached_where_the_operator_says_so_and_nowhere_else() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        let asked = question(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsealed").await.unwrap();
        asked
    });
    let mut config = DoorConfig::new(vec!["127.0.0.1:0".parse().unwrap()]);
    config.servers.insert("127.0.0.1".to_owned());
    let door = Opened::by(&config);
    let hop = Hop { node: door.id, cipher: Cipher::AesGcm, secret: [7; 32], nonce: [8; NONCE] };
    let ask = async |host: &str| {
        let head = json!({ "host": host, "target": "/loki/v3/lsrpc", "port": port, "protocol": "http" });
        let (packet, answer) = wrap(std::slice::from_ref(&hop), &Question { body: b"for it", head }).unwrap();
        let (status, body) = post(door.address(), "/onion_req/v2", packet).await;
        assert_eq!(answer.open(&body, true), None, "what is sealed is the server's");
        (status, body)
    };
    assert_eq!(ask("127.0.0.1").await, (200, b"sealed".to_vec()), "as the server said it");
    let (head, body) = asked.await.unwrap();
    assert!(head.starts_with("post /loki/v3/lsrpc http/1.1\r\n"), "{head}");
    assert_eq!(&body[..10], b"\x06\0\0\0for it", "the whole layer");
    assert_eq!(ask("127.0.0.2").await.0, 403);
    assert_eq!(ask("localhost").await.0, 403, "by the name that was given");
    assert_eq!(ask("127.0.0.1").await.0, 502, "it is gone");
}

/// What a server is asked: head and body.
async fn question(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_outside_answers_takes_room_as_it_is_read() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        question(&mut stream).await;
        // Nobody reads to the end.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        let _ = stream.write_all(&vec![b'x'; 1_000_000]).await;
    });
    let mut config = DoorConfig::new(vec!["127.0.0.1:0".parse().unwrap()]);
    config.servers.insert("127.0.0.1".to_owned());
    config.limits.memory_each = 128 << 10;
    let door = Opened::by(&config);
    let hop = Hop { node: door.id, cipher: Cipher::AesGcm, secret: [7; 32], nonce: [8; NONCE] };
    let head = json!({ "host": "127.0.0.1", "target": "/loki/v3/lsrpc", "port": port, "protocol": "http" });
    let (packet, _) = wrap(std::slice::from_ref(&hop), &Question { body: b"for it", head }).unwrap();
    let (status, body) = post(door.address(), "/onion_req/v2", packet).await;
    assert_eq!((status, body), (503, b"the server's answer is too long for now".to_vec()));
}
