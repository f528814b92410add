//! Requests through three real hops to a fourth node.

use std::{collections::BTreeMap, time::Instant};

use session_protocols::{
    NodeId, Protocol,
    answer::{Answer, Body},
    codec,
    directory::OnionDoor,
    libp2p::link::Asker,
    onion::{
        relay::Refusal,
        replay::stamp,
        size::{Bucket, Position, packet_len},
        wrap::{ClientSession, Entry, Hop, Question, Return, Service, Status, Stopped, wrap},
    },
    request::Request,
};
use zeroize::Zeroizing;

use crate::support::{
    PATIENCE, Plan, Running, metric, reaches,
    stranger::{Person, Stranger, now},
    wait,
};

const HOPS: usize = 4;
/// Questions of a watch, each of which waits for a second.
const WATCHED: usize = 20;
const SMALL: Bucket = Bucket::ALL[0];

/// Four nodes and somebody who speaks to the first.
struct Path {
    plan: Plan,
    running: Vec<Option<Running>>,
    guard: Asker,
    stranger: Stranger,
    doors: BTreeMap<NodeId, OnionDoor>,
    sessions: [Option<ClientSession>; HOPS],
}

impl Path {
    async fn new() -> Self {
        let plan = Plan::new(HOPS as u8);
        let running = (0..HOPS).map(|node| Some(plan.start(node))).collect();
        wait(&plan.http, 200).await;
        let stranger = Stranger::meet(&plan, 0).await;
        let doors = doors(&stranger, &plan).await;
        let guard = stranger.link(Protocol::Onion).await;
        Self { plan, running, guard, stranger, doors, sessions: [const { None }; HOPS] }
    }

    fn node(&self, at: usize) -> NodeId {
        self.plan.network.nodes[at].id
    }

    /// Seals a request for the last node; hops without a session are entered for the first time.
    fn wrap(&mut self, service: Service, request: &[u8], answer: Bucket) -> (Vec<u8>, Return) {
        let nodes: [_; HOPS] = std::array::from_fn(|at| self.node(at));
        let doors = &self.doors;
        let mut sessions = self.sessions.iter_mut();
        let hops = nodes.map(|node| {
            let entry = match sessions.next().unwrap() {
                Some(session) => Entry::Session(session),
                None => {
                    let mut random = Zeroizing::new([0; 64]);
                    getrandom::fill(random.as_mut_slice()).unwrap();
                    Entry::First { door: doors[&node].door(true), random }
                }
            };
            Hop { node, entry }
        });
        let question = Question { service, request, answer, stamp: stamp(now()) };
        wrap(&self.plan.network.name, hops, &question).unwrap()
    }

    async fn ask(&mut self, request: &Request) -> Result<Answer, Stopped> {
        let answer = match request {
            Request::Retrieve(_) => Bucket::ALL[1],
            _ => SMALL,
        };
        let (packet, back) = self.wrap(Service::Storage, &codec::encode(request), answer);
        let opened = back.open(&self.guard.ask(packet).await.unwrap()).unwrap();
        for (kept, fresh) in self.sessions.iter_mut().zip(opened.sessions) {
            *kept = fresh.or_else(|| kept.take());
        }
        opened.outcome.map(|answer| codec::decode(&answer, Bucket::ALL[3].capacity()).unwrap())
    }

    async fn stop(self) {
        for running in self.running.into_iter().flatten() {
            running.stop().await;
        }
    }
}

/// What the first node's directory says, once it knows all.
async fn doors(stranger: &Stranger, plan: &Plan) -> BTreeMap<NodeId, OnionDoor> {
    let until = Instant::now() + PATIENCE;
    loop {
        let records = stranger.records().await;
        let doors: BTreeMap<_, _> = records.iter().map(|record| (record.node, record.onion)).collect();
        if doors.len() == plan.network.nodes.len() {
            return doors;
        }
        assert!(Instant::now() < until, "only {} nodes are known", doors.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_stored_and_read_through_three_hops() {
    let mut path = Path::new().await;
    let person = Person::new(1);
    for text in ["by handshakes", "by sessions"] {
        let answer = path.ask(&person.post(text.as_bytes())).await.unwrap();
        assert!(matches!(answer.body, Body::Stored { already: false, .. }), "{answer:?}");
        assert!(path.sessions.iter().all(Option::is_some));
    }
    let retrieve = Request::Retrieve(person.retrieve(&path.plan.network.name));
    let answer = path.ask(&retrieve).await.unwrap();
    let Body::Messages { messages, .. } = answer.body else { panic!("{answer:?}") };
    let texts: Vec<_> = messages.iter().map(|message| &message.data[..]).collect();
    assert_eq!(texts, [&b"by handshakes"[..], b"by sessions"]);
    let opened = |at: usize, outcome: &str| {
        metric(path.plan.http[at], &format!("session_onion_packets_total{{outcome=\"{outcome}\"}}"))
    };
    for at in 0..HOPS {
        let last = at + 1 == HOPS;
        assert_eq!((opened(at, "forwarded"), opened(at, "delivered")), if last { (0, 3) } else { (3, 0) });
    }
    path.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_waits_for_a_message_and_ends_where_its_bucket_ends() {
    let mut path = Path::new().await;
    let person = Person::new(1);
    path.ask(&Request::Info).await.unwrap();
    let request = codec::encode(&Request::Retrieve(person.retrieve(&path.plan.network.name)));
    let messages = |answer: &[u8]| {
        let answer: Answer = codec::decode(answer, SMALL.capacity()).unwrap();
        let Body::Messages { messages, more, .. } = answer.body else { panic!("{answer:?}") };
        (messages.len(), more)
    };
    // A page that comes back empty has waited to the end of its time, and it is asked for again.
    let asked: Vec<_> = (0..WATCHED).map(|_| path.wrap(Service::Notify, &request, SMALL)).collect();
    let guard = path.guard.clone();
    let watch = tokio::spawn(async move {
        for (packet, back) in asked {
            let page = messages(&back.open(&guard.ask(packet).await.unwrap()).unwrap().outcome.unwrap());
            if page.0 > 0 {
                return page;
            }
        }
        panic!("nothing arrives");
    });
    reaches(path.plan.http[HOPS - 1], "session_subscriptions", 1).await;
    path.ask(&person.post(&[1; 900])).await.unwrap();
    assert_eq!(watch.await.unwrap(), (1, false));
    // Three of these do not fit a small answer.
    for number in [2, 3] {
        path.ask(&person.post(&[number; 900])).await.unwrap();
    }
    let request = codec::encode(&Request::Retrieve(person.retrieve(&path.plan.network.name)));
    let (packet, back) = path.wrap(Service::Storage, &request, SMALL);
    let answer = back.open(&path.guard.ask(packet).await.unwrap()).unwrap().outcome.unwrap();
    let (count, more) = messages(&answer);
    assert!((1..3).contains(&count) && more, "{count} messages");
    // One that is larger than its answer may be needs another.
    let large = Person::new(2);
    path.ask(&large.post(&[4; 3_000])).await.unwrap();
    let request = codec::encode(&Request::Retrieve(large.retrieve(&path.plan.network.name)));
    let (packet, back) = path.wrap(Service::Storage, &request, SMALL);
    let stopped = back.open(&path.guard.ask(packet).await.unwrap()).unwrap().outcome.unwrap_err();
    assert_eq!(stopped, Stopped { by: HOPS - 1, status: Status::TooLarge });
    path.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_packet_of_this_hop_is_refused_and_counted() {
    let mut path = Path::new().await;
    let door = path.plan.http[0];
    let refused = |reason: &str| format!("session_onion_refused_total{{reason=\"{reason}\"}}");
    let (packet, back) = path.wrap(Service::Storage, &codec::encode(&Request::Info), SMALL);
    let mut bad = vec![Vec::new(), vec![0x10], packet[1..].to_vec(), [&packet[..], &[0]].concat()];
    bad.extend((0..packet.len()).step_by(97).map(|at| {
        let mut changed = packet.clone();
        changed[at] ^= 1;
        changed
    }));
    for payload in &bad {
        let answer = path.guard.ask(payload.clone()).await.unwrap();
        assert_eq!(Refusal::read(&answer), Some(Refusal::Unreadable));
    }
    assert!(back.open(&path.guard.ask(packet.clone()).await.unwrap()).unwrap().outcome.is_ok());
    let again = path.guard.ask(packet).await.unwrap();
    assert_eq!(Refusal::read(&again), Some(Refusal::Unreadable), "a replay");
    reaches(door, &refused("unreadable"), bad.len() as u64 + 1).await;
    // Nobody but a node stands inside a path.
    let inner = vec![0x10; packet_len(SMALL, Position::Middle)];
    assert_eq!(Refusal::read(&path.guard.ask(inner).await.unwrap()), Some(Refusal::Unknown));
    reaches(door, &refused("unknown"), 1).await;
    path.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_is_gone_or_forgot_is_named_by_the_one_before_it() {
    let mut path = Path::new().await;
    let person = Person::new(1);
    path.ask(&person.post(b"before")).await.unwrap();
    path.running[2].take().unwrap().stop().await;
    let gone = path.ask(&person.post(b"while it is away")).await.unwrap_err();
    assert_eq!(gone, Stopped { by: 1, status: Status::Unreachable });
    // It returns with the key that it gave out, and without sessions.
    path.running[2] = Some(path.plan.start(2));
    wait(&path.plan.http, 200).await;
    assert_eq!(doors(&path.stranger, &path.plan).await, path.doors, "the same keys");
    let until = Instant::now() + PATIENCE;
    let forgot = loop {
        let stopped = path.ask(&person.post(b"once it is back")).await.unwrap_err();
        // Until the hop before it has met it again.
        if stopped.status != Status::Unreachable || Instant::now() > until {
            break stopped;
        }
    };
    assert_eq!(forgot, Stopped { by: 1, status: Status::Unreadable });
    path.sessions[2] = None;
    let answer = path.ask(&person.post(b"by a new session")).await.unwrap();
    assert!(matches!(answer.body, Body::Stored { .. }), "{answer:?}");
    path.stop().await;
}
