//! What a real node answers, request by request, over IPv4 and IPv6, QUIC and TCP.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
};

use futures::StreamExt;
use libp2p::{
    StreamProtocol, SwarmBuilder, identity, noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use session_chain::{NetworkFile, NetworkNode, Operator};
use session_node::{Config, keystore, run};
use session_protocols::{
    MessageHash, Namespace, Prefix, Protocol, Signature,
    answer::{Answer, Body, Code, MAX_ANSWER, RULES},
    codec,
    directory::{Endpoint, Transport},
    libp2p::{
        address::{multiaddr, peer_id},
        link::{self, Asker, Backlog, Limits},
    },
    limits::{AdmissionRates, Rate},
    message::MAX_DATA,
    request::{Auth, Cursor, Delete, Ends, Expire, Fetch, Form, MAX_HASHES, Request, Retrieve, Store, Which},
};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::support::{
    Plan, https,
    stranger::{Person, now},
    wait,
};

const DAY: u64 = 24 * 3_600_000;

/// A node that runs.
struct Node {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Node {
    fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let node = run(config, async move {
            let _ = stopped.await;
        });
        Self { stop, task: tokio::spawn(async { node.await.expect("the node runs") }) }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// A client's link to one endpoint of a node.
struct Client {
    link: Asker,
    network: session_protocols::NetworkName,
    task: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    async fn connect(plan: &Plan, node: usize, transport: Transport) -> Self {
        let endpoint = plan.listen[node].iter().find(|endpoint| endpoint.transport == transport).unwrap();
        let streams = libp2p_stream::Behaviour::new();
        let mut control = streams.new_control();
        let mut swarm = SwarmBuilder::with_existing_identity(identity::Keypair::generate_ed25519())
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_quic()
            .with_behaviour(|_| streams)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(crate::support::PATIENCE))
            .build();
        let peer = peer_id(&plan.network.nodes[node].id).unwrap();
        swarm.dial(DialOpts::peer_id(peer).addresses(vec![multiaddr(endpoint)]).build()).unwrap();
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => {
                    panic!("no connection to {endpoint}: {error}")
                }
                _ => {}
            }
        }
        let task = tokio::spawn(async move { while swarm.next().await.is_some() {} });
        let network = plan.network.name.clone();
        let name = StreamProtocol::try_from_owned(network.protocol(Protocol::Storage)).unwrap();
        let stream = control.open_stream(peer, name).await.unwrap();
        let (link, run) =
            link::open(stream, Limits { max_in: MAX_ANSWER, window: 64, backlog: Backlog::new(64 << 20) });
        tokio::spawn(run);
        Self { link, network, task }
    }

    async fn send(&self, payload: Vec<u8>) -> Body {
        let answer = tokio::time::timeout(crate::support::PATIENCE, self.link.ask(payload)).await;
        let answer = answer.expect("an answer in time").expect("an answer");
        codec::decode::<Answer>(&answer, MAX_ANSWER).unwrap().body
    }

    async fn ask(&self, request: Request) -> Body {
        self.send(codec::encode(&request)).await
    }

    /// The code that a request is refused with; none when it is not.
    async fn code(&self, request: Request) -> Option<Code> {
        match self.ask(request).await {
            Body::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    async fn store(&self, person: &Person, data: &[u8]) -> MessageHash {
        let request = post(person, data);
        let hash = request.hash();
        match self.ask(Request::Store(request)).await {
            Body::Stored { hash: stored, .. } if stored == hash => hash,
            other => panic!("not stored: {other:?}"),
        }
    }

    async fn read(&self, person: &Person, after: Option<Cursor>) -> (Vec<MessageHash>, Cursor) {
        match self.ask(Request::Retrieve(retrieve(self, person, after, 0))).await {
            Body::Messages { messages, more: false, cursor } => {
                (messages.into_iter().map(|message| message.hash).collect(), cursor)
            }
            other => panic!("not served: {other:?}"),
        }
    }
}

fn post(person: &Person, data: &[u8]) -> Store {
    let timestamp = now().as_millis();
    let (account, namespace, expiry) = (person.account, Namespace::INBOX, timestamp + DAY);
    Store { account, namespace, timestamp, expiry, data: data.to_vec().into(), auth: None }
}

/// The status with which a JSON door answers the same, from a client of its own.
async fn by_json(door: SocketAddr, person: &Person, data: &[u8]) -> u16 {
    let data = data_encoding::BASE64.encode(data);
    let params = serde_json::json!({ "pubkey": person.account.to_string(), "timestamp": now().as_millis(),
        "ttl": DAY, "data": data });
    let body = serde_json::json!({ "method": "store", "params": params }).to_string();
    https::post(door, "/storage_rpc/v1", body).await.0
}

fn unsigned() -> Auth {
    let signature = Signature([0; 64]);
    Auth { key: None, time: now().as_millis(), signature, subaccount: None, form: Form::Statement }
}

/// A question that was signed so many milliseconds ago.
fn retrieve(client: &Client, person: &Person, after: Option<Cursor>, ago: u64) -> Retrieve {
    let time = now().as_millis() - ago;
    let mut request = Retrieve { after, ..person.retrieve(&client.network) };
    let statement = request.statement(&client.network, time);
    request.auth = Some(Auth::sign(&person.account, &person.pair, time, &statement));
    request
}

fn fetch(client: &Client, person: &Person, hashes: Vec<MessageHash>) -> Fetch {
    let (account, namespace) = (person.account, Namespace::INBOX);
    let mut request = Fetch { account, namespace, hashes, auth: None };
    let time = now().as_millis();
    let statement = request.statement(&client.network, time);
    request.auth = Some(Auth::sign(&account, &person.pair, time, &statement));
    request
}

fn delete(client: &Client, person: &Person, hashes: Vec<MessageHash>) -> Delete {
    let mut request =
        Delete { account: person.account, which: Which::Hashes(hashes), required: false, auth: unsigned() };
    let statement = request.statement(&client.network, request.auth.time);
    request.auth = Auth::sign(&person.account, &person.pair, request.auth.time, &statement);
    request
}

/// A change of when messages end, that was signed so many milliseconds ago.
fn expire(client: &Client, person: &Person, hashes: Vec<MessageHash>, expiry: u64, ago: u64) -> Expire {
    let mut request = Expire {
        account: person.account,
        which: Which::Hashes(hashes),
        ends: Ends::All(expiry),
        only: None,
        auth: unsigned(),
    };
    let time = now().as_millis() - ago;
    let statement = request.statement(&client.network, time);
    request.auth = Auth::sign(&person.account, &person.pair, time, &statement);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_request_has_its_code() {
    let plan = Plan::new(1);
    let node = Node::start(plan.config(0));
    wait(&plan.http, 200).await;
    let client = Client::connect(&plan, 0, Transport::Quic).await;
    let (person, other) = (Person::new(1), Person::new(2));
    let sound = || post(&person, b"x");
    let at = now().as_millis();
    let hashes = |count| vec![MessageHash([7; 32]); count];
    let forged = person.forged(&client.network);
    let ends = |count, expiry| Request::Expire(expire(&client, &person, hashes(count), expiry, 0));
    let table = [
        ("a sound store", Request::Store(sound()), None),
        ("a sound retrieve", Request::Retrieve(retrieve(&client, &person, None, 0)), None),
        ("a sound fetch", Request::Fetch(fetch(&client, &person, hashes(2))), None),
        ("a sound delete", Request::Delete(delete(&client, &person, hashes(2))), None),
        ("a sound expire", ends(2, at + DAY), None),
        ("an expire that ends as late as may be", ends(1, at + 30 * DAY), None),
        ("info", Request::Info, None),
        (
            "a stranger's message for an outbox",
            Request::Store(Store { namespace: Namespace(-1), ..sound() }),
            Some(Code::Unauthorized),
        ),
        ("no hashes", Request::Fetch(fetch(&client, &person, hashes(0))), Some(Code::BadRequest)),
        (
            "a private drawer without a signature",
            Request::Store(Store { namespace: Namespace(7), ..sound() }),
            Some(Code::Unauthorized),
        ),
        ("a wrong signature", Request::Retrieve(forged), Some(Code::Unauthorized)),
        (
            "somebody else's signature",
            Request::Fetch(Fetch { account: other.account, ..fetch(&client, &person, hashes(1)) }),
            Some(Code::Unauthorized),
        ),
        ("too short a life", Request::Store(Store { expiry: at + 5_000, ..sound() }), Some(Code::BadTtl)),
        ("too long a life", Request::Store(Store { expiry: at + 15 * DAY, ..sound() }), Some(Code::BadTtl)),
        ("signed long ago", Request::Retrieve(retrieve(&client, &person, None, 90_000)), Some(Code::Clock)),
        (
            "from the future",
            Request::Store(Store { timestamp: at + DAY, expiry: at + 2 * DAY, ..sound() }),
            Some(Code::Clock),
        ),
        ("too long a message", Request::Store(post(&person, &vec![0; MAX_DATA + 1])), Some(Code::TooLarge)),
        (
            "too many hashes",
            Request::Delete(delete(&client, &person, hashes(MAX_HASHES + 1))),
            Some(Code::TooLarge),
        ),
        ("an expire without hashes", ends(0, at + DAY), Some(Code::BadRequest)),
        ("an expire of too many", ends(MAX_HASHES + 1, at + DAY), Some(Code::TooLarge)),
        ("an expire that ends in the past", ends(1, at - 1), Some(Code::BadTtl)),
        ("an expire beyond the longest life, which counts as that", ends(1, at + 31 * DAY), None),
        (
            "an expire that was signed long ago",
            Request::Expire(expire(&client, &person, hashes(1), at + DAY, 90_000)),
            Some(Code::Clock),
        ),
        (
            "an expire of somebody else's messages",
            Request::Expire(Expire {
                account: other.account,
                ..expire(&client, &person, hashes(1), at + DAY, 0)
            }),
            Some(Code::Unauthorized),
        ),
        (
            "an expire that was signed for another end",
            Request::Expire(Expire {
                ends: Ends::All(at + 2 * DAY),
                ..expire(&client, &person, hashes(1), at + DAY, 0)
            }),
            Some(Code::Unauthorized),
        ),
    ];
    for (what, request, code) in table {
        assert_eq!(client.code(request).await, code, "{what}");
    }
    for garbage in [vec![], vec![0xff; 40], b"{\"store\":{}}".to_vec(), vec![0x81; 5_000]] {
        let Body::Refused(refusal) = client.send(garbage).await else { panic!("garbage is taken") };
        assert_eq!(refusal.code, Code::BadRequest);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_so() {
    let mut plan = Plan::new(1);
    let (few, many) = (Rate { per_second: 1, burst: 4 }, Rate { per_second: 10_000, burst: 10_000 });
    plan.rates = Some(AdmissionRates { neighbour: few, account: many, total: many });
    let node = Node::start(plan.config(0));
    wait(&plan.http, 200).await;
    let client = Client::connect(&plan, 0, Transport::Tcp).await;
    let mut codes = Vec::new();
    for _ in 0..8 {
        codes.push(client.code(Request::Info).await);
    }
    assert_eq!((codes[0], codes[7]), (None, Some(Code::TooMany)), "{codes:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_and_a_full_account_refuse_and_a_deletion_makes_room() {
    let mut plan = Plan::new(1);
    plan.open_doors(1);
    let config = Config { max_bytes: 6_000, account_bytes: 3_000, ..plan.config(0) };
    let node = Node::start(config);
    wait(&plan.http, 200).await;
    let client = Client::connect(&plan, 0, Transport::Tcp).await;
    let (person, other, third) = (Person::new(1), Person::new(2), Person::new(3));
    client.store(&person, &[1; 2_000]).await;
    assert_eq!(
        client.code(Request::Store(post(&person, &[2; 2_000]))).await,
        Some(Code::Full),
        "the account"
    );
    client.store(&other, &[3; 2_000]).await;
    assert_eq!(client.code(Request::Store(post(&third, &[4; 2_000]))).await, Some(Code::Full), "the node");
    // Clients of the JSON door know no other number for it.
    for (who, text) in [(&person, [2; 2_000]), (&third, [4; 2_000])] {
        assert_eq!(by_json(plan.doors[0], who, &text).await, 500);
    }
    let hash = MessageHash::of(&person.account, Namespace::INBOX, &[1; 2_000]);
    assert_eq!(client.code(Request::Delete(delete(&client, &person, vec![hash]))).await, None, "makes room");
    client.store(&third, &[4; 2_000]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_points_to_the_right_swarm_and_says_when_it_is_not_ready() {
    let mut plan = Plan::new(12);
    plan.open_doors(1);
    let map = plan.network.ledger().map().clone();
    // Alone, it is caught up with nobody.
    let node = Node::start(plan.config(0));
    wait(&plan.http[..1], 503).await;
    let client = Client::connect(&plan, 0, Transport::Tcp).await;
    let own = map.swarm_with(&plan.network.nodes[0].id);
    let find = |ours: bool| {
        (1..).map(Person::new).find(|person| (map.swarm_of(&person.account) == own) == ours).unwrap()
    };
    let (mine, foreign) = (find(true), find(false));
    assert_eq!(client.code(Request::Store(post(&mine, b"x"))).await, Some(Code::NotReady));
    assert_eq!(by_json(plan.doors[0], &mine, b"x").await, 503);
    for request in [
        Request::Store(post(&foreign, b"x")),
        Request::Retrieve(retrieve(&client, &foreign, None, 0)),
        Request::Fetch(fetch(&client, &foreign, vec![MessageHash([0; 32])])),
        Request::Delete(delete(&client, &foreign, vec![MessageHash([0; 32])])),
        Request::Expire(expire(&client, &foreign, vec![MessageHash([0; 32])], now().as_millis() + DAY, 0)),
    ] {
        let Body::Refused(refusal) = client.ask(request).await else { panic!("not refused") };
        let swarm = refusal.swarm.expect("the right one is named");
        assert_eq!((refusal.code, Some(swarm.id)), (Code::WrongSwarm, map.swarm_of(&foreign.account)));
        assert_eq!(swarm.members, map.members_of(&foreign.account));
    }
    node.stop().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_put_back_from_a_copy_skips_nothing() {
    let plan = Plan::new(1);
    let (messages, kept) = (plan.config(0).data.join("messages"), plan.folder.path().join("copy"));
    let person = Person::new(1);
    let run = async || {
        let node = Node::start(plan.config(0));
        wait(&plan.http, 200).await;
        (node, Client::connect(&plan, 0, Transport::Tcp).await)
    };
    let (node, client) = run().await;
    let first = client.store(&person, b"first").await;
    drop(client);
    node.stop().await;
    copy(&messages, &kept);
    let (node, client) = run().await;
    for number in 0..9 {
        client.store(&person, &[number]).await;
    }
    let (read, cursor) = client.read(&person, None).await;
    assert_eq!(read.len(), 10);
    drop(client);
    node.stop().await;
    // The copy has other messages where the cursor points.
    fs::remove_dir_all(&messages).unwrap();
    copy(&kept, &messages);
    let (node, client) = run().await;
    let mut expected = vec![first];
    for number in 100..120 {
        expected.push(client.store(&person, &[number]).await);
    }
    assert_eq!(client.read(&person, Some(cursor)).await.0, expected);
    drop(client);
    node.stop().await;
}

/// A network of one node that has nothing but the loopback address of IPv6.
fn only_ipv6() -> Plan {
    let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let tcp = TcpListener::bind((ip, 0))
        .expect("this test needs the IPv6 loopback address ::1, which this machine lacks");
    let (udp, door) = (UdpSocket::bind((ip, 0)).unwrap(), TcpListener::bind((ip, 0)).unwrap());
    let endpoint = |transport, address: SocketAddr| Endpoint { transport, ip, port: address.port() };
    let listen = vec![
        endpoint(Transport::Quic, udp.local_addr().unwrap()),
        endpoint(Transport::Tcp, tcp.local_addr().unwrap()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let pair = keystore::create(&folder.path().join("1")).unwrap();
    let prefix = Prefix::of(ip);
    assert_eq!(prefix.to_string(), "::/48");
    let node = NetworkNode {
        id: pair.node_id(),
        operator: Operator::from_bytes([1; 20]),
        prefix,
        addresses: listen.iter().map(ToString::to_string).collect(),
        door: None,
        bls: None,
    };
    let network = NetworkFile {
        name: "test".parse().unwrap(),
        local: true,
        seed: [7; 32],
        faucet: None,
        limits: Default::default(),
        hf: RULES,
        nodes: vec![node],
        settlement: None,
    };
    let http = vec![door.local_addr().unwrap()];
    Plan { folder, network, listen: vec![listen], http, doors: Vec::new(), rates: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_ipv6_alone_stores_and_serves_over_quic_and_tcp() {
    let plan = only_ipv6();
    let node = Node::start(plan.config(0));
    wait(&plan.http, 200).await;
    let person = Person::new(1);
    let mut stored = Vec::new();
    for transport in [Transport::Quic, Transport::Tcp] {
        let client = Client::connect(&plan, 0, transport).await;
        stored.push(client.store(&person, format!("{transport:?}").as_bytes()).await);
        assert_eq!(client.read(&person, None).await.0, stored, "{transport:?}");
    }
    node.stop().await;
}
