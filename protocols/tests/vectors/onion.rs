//! Requests through three hops and their answers, by handshakes and then by sessions, in every bucket; and every way in
//! which one comes back without an answer.

use std::convert::Infallible;

use data_encoding::HEXLOWER as HEX;
use rand_core::TryRng;
use serde_json::json;
use session_protocols::{
    NodeId, Time,
    answer::{Answer, Body},
    codec,
    identity::blake2b,
    onion::{
        keys::Keyring,
        layer::Door,
        noise::Suite,
        relay::{Neighbour, Refusal, Relay, Step},
        replay::stamp,
        size::Bucket,
        wrap::{ClientSession, Entry, Hop, Question, Service, Status, Stopped, wrap},
    },
    request::Request,
};
use zeroize::Zeroizing;

use crate::{
    file::check,
    people::{TIME, network, pair},
    samples::{NODE, hash, kept, post, receipts},
};

/// What a hop draws: equal bytes, and the next ones the next time.
struct Counting(u8);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a hop draws bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a hop draws bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(self.0);
        self.0 += 1;
        Ok(())
    }
}

/// Guard, middle, last and destination; `src/onion/fuzz.rs` has the same.
struct Hops {
    relays: Vec<Relay<u8, Counting>>,
    sessions: [Option<ClientSession>; 4],
    /// What each hop received, and what it answered.
    seen: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What comes of a request.
enum End<'a> {
    /// The destination answers.
    Answer(&'a [u8]),
    /// The destination gives its status.
    Turn(Status),
    /// The last hop gets this from the destination, or nothing.
    Frame(Option<&'a [u8]>),
}

const PLACES: [&str; 4] = ["guard", "middle", "last", "destination"];

fn hop(at: usize) -> NodeId {
    pair(NODE + at as u8).node_id()
}

const fn suite(at: usize) -> Suite {
    if at.is_multiple_of(2) { Suite::Aes } else { Suite::ChaCha }
}

impl Hops {
    fn new() -> Self {
        let relay = |at: usize| {
            let keys = Keyring::new(Time::from_millis(TIME), [0x40 + at as u8; 32]).unwrap();
            Relay::new(
                network(),
                hop(at),
                keys,
                (0..4).map(hop).collect(),
                0,
                Counting(0x80 + 0x10 * at as u8),
            )
        };
        let relays = (0..4).map(relay).collect();
        Self { relays, sessions: [const { None }; 4], seen: vec![Default::default(); 4] }
    }

    /// Asks the destination over all hops.
    fn ask(&mut self, request: &[u8], answer: Bucket, end: &End<'_>) -> Result<Vec<u8>, Stopped> {
        let keys: Vec<_> = self.relays.iter().map(|relay| relay.keys().current.clone()).collect();
        let mut sessions = self.sessions.iter_mut();
        let hops = std::array::from_fn(|at| {
            let entry = match sessions.next().unwrap() {
                Some(session) => Entry::Session(session),
                None => {
                    let mut random = Zeroizing::new([0x50 + at as u8; 64]);
                    random[32..].fill(0x60 + at as u8);
                    let (day, public) = (keys[at].day(), keys[at].key.public());
                    Entry::First { door: Door { suite: suite(at), day, public }, random }
                }
            };
            Hop { node: hop(at), entry }
        });
        let now = Time::from_millis(TIME);
        let question = Question { service: Service::Storage, request, answer, stamp: stamp(now) };
        let (packet, back) = wrap(&network(), hops, &question).unwrap();
        let came = self.pass(0, packet, end);
        let opened = back.open(&came).unwrap();
        for (kept, fresh) in self.sessions.iter_mut().zip(opened.sessions) {
            *kept = fresh.or_else(|| kept.take());
        }
        opened.outcome
    }

    fn pass(&mut self, at: usize, packet: Vec<u8>, end: &End<'_>) -> Vec<u8> {
        let (now, from) = (Time::from_millis(TIME), Neighbour { key: 0, node: at > 0, prefix: None });
        let came = packet.clone();
        let opened = self.relays[at].arrive(from, packet).unwrap().run().unwrap();
        let sealed = match self.relays[at].opened(now, from, opened).unwrap() {
            Step::Forward { packet, back, .. } => match end {
                End::Frame(frame) if at == 2 => back.relay(*frame),
                End::Frame(_) | End::Answer(_) | End::Turn(_) => {
                    back.relay(Some(&self.pass(at + 1, packet, end)))
                }
            },
            Step::Deliver { back, .. } => match end {
                End::Answer(answer) => back.answer(answer),
                End::Turn(status) => back.turn(*status),
                End::Frame(_) => unreachable!("it ends before"),
            },
            Step::Turn { status, .. } => panic!("{status:?}"),
        };
        let answer = self.relays[at].leave(now, from, sealed.unwrap());
        self.seen[at] = (came, answer.clone());
        answer
    }
}

#[test]
fn onion() {
    let mut hops = Hops::new();
    let request = codec::encode(&Request::Store(post()));
    let body = Body::Stored { hash: hash(b"hello"), already: false, receipts: receipts(kept()) };
    let answer = codec::encode(&Answer { time: TIME, body });
    let now = Time::from_millis(TIME);
    let mut entries: Vec<_> = (0..4)
        .map(|at| {
            let (byte, drawn) = (at as u8, 0x80 + 0x10 * at as u8);
            let key = &hops.relays[at].keys().current;
            json!({
                "name": format!("hop: {}", PLACES[at]),
                "node": hop(at).to_string(),
                "onion_key": HEX.encode(key.key.as_bytes()), "onion_public": HEX.encode(key.key.public()),
                "day": key.day(), "suite": format!("{:?}", suite(at)),
                "client_ephemeral": HEX.encode(&[0x50 + byte; 32]), "body_key": HEX.encode(&[0x60 + byte; 32]),
                "hop_ephemeral": HEX.encode(&[drawn + 1; 32]),
                "session": HEX.encode(&[drawn + 2; 8]), "mask_key": HEX.encode(&[drawn + 3; 32]),
            })
        })
        .collect();
    entries.push(json!({
        "name": "question", "stamp": stamp(now), "service": 1, "answer_bucket": 0,
        "request": HEX.encode(&request), "answer": HEX.encode(&answer),
    }));
    for way in ["first", "session"] {
        assert_eq!(hops.ask(&request, Bucket::ALL[0], &End::Answer(&answer)).as_ref(), Ok(&answer));
        for (place, seen) in PLACES.iter().zip(&hops.seen) {
            entries.push(json!({ "name": format!("{way} packet, {place}"), "bytes": HEX.encode(&seen.0) }));
        }
        for (place, seen) in PLACES.iter().zip(&hops.seen).rev() {
            entries.push(json!({ "name": format!("{way} answer, {place}"), "bytes": HEX.encode(&seen.1) }));
        }
    }
    larger(&mut entries);
    endings(&mut hops, &mut entries);
    check("onion.json", &entries);
}

/// In the larger buckets lengths and hashes stand for the bytes.
fn larger(entries: &mut Vec<serde_json::Value>) {
    for bucket in &Bucket::ALL[1..] {
        let (number, mut hops) = (bucket.number(), Hops::new());
        let (request, answer) =
            (vec![0xa0 + number; bucket.capacity()], vec![0xb0 + number; bucket.capacity()]);
        let name = |what| format!("bucket {number}: {what}");
        entries.push(json!({
            "name": name("question".to_owned()), "answer_bucket": number,
            "request": HEX.encode(&request[..1]), "request_repeated": request.len(),
            "answer": HEX.encode(&answer[..1]), "answer_repeated": answer.len(),
        }));
        for way in ["first", "session"] {
            assert_eq!(hops.ask(&request, *bucket, &End::Answer(&answer)).as_ref(), Ok(&answer));
            for (place, (packet, answer)) in PLACES.iter().zip(&hops.seen) {
                for (what, bytes) in [("packet", packet), ("answer", answer)] {
                    let name = name(format!("{way} {what}, {place}"));
                    entries.push(hashed(name, bytes));
                }
            }
        }
    }
}

/// All refusals, and what the client is given for each, and for silence, by sessions.
fn endings(hops: &mut Hops, entries: &mut Vec<serde_json::Value>) {
    let refusals = [Refusal::Unreadable, Refusal::Busy, Refusal::Unknown];
    let frames = refusals.map(Refusal::frame);
    for frame in &frames {
        entries.push(json!({ "name": format!("refusal {}", frame[0]), "bytes": HEX.encode(frame) }));
    }
    let mut ends = vec![
        (2, Status::Unreachable, End::Frame(None)),
        (2, Status::Malformed, End::Frame(Some(b"no answer"))),
        (3, Status::Unreachable, End::Turn(Status::Unreachable)),
        (3, Status::TooLarge, End::Turn(Status::TooLarge)),
        (3, Status::BadRequest, End::Turn(Status::BadRequest)),
    ];
    let refused = refusals.iter().zip(&frames);
    ends.extend(refused.map(|(refusal, frame)| (2, refusal.status(), End::Frame(Some(frame)))));
    for (by, status, end) in ends {
        assert_eq!(hops.ask(b"", Bucket::ALL[0], &end), Err(Stopped { by, status }));
        let name = format!("status {} by {}", status.number(), PLACES[by]);
        for (place, seen) in PLACES.iter().zip(&hops.seen).take(by + 1).rev() {
            entries.push(hashed(format!("{name}, answer, {place}"), &seen.1));
        }
    }
}

fn hashed(name: String, bytes: &[u8]) -> serde_json::Value {
    json!({ "name": name, "length": bytes.len(), "blake2b": HEX.encode(&blake2b(&[bytes])) })
}
