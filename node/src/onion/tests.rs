//! A stop and a start, and when the answers of a watch leave.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace, Prefix, Span,
    answer::Message,
    notify::{Event, Subscribed},
    onion::{
        keys::DAY,
        replay::stamp,
        size::{Bucket, Position, answer_len},
        wrap::{Entry, Hop as Layer, Question, Return, Stopped, Unwrapped, wrap},
    },
    request::{Auth, Cursor, Retrieve},
};
use tokio::sync::mpsc;

use super::*;
use crate::member::Job;

const SMALL: Bucket = Bucket::ALL[0];
/// Answers of one watch.
const ANSWERS: u64 = 24;

#[test]
fn only_a_clean_stop_tells_the_next_start_what_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let me = KeyPair::from_seed(&[1; 32]).node_id();
        Hop::open(folder.path(), "test".parse().unwrap(), me, BTreeSet::new(), true).unwrap()
    };
    let first = open();
    assert_eq!(first.relay().taken(), 0, "nothing was sealed to a new key");
    first.close().unwrap();
    let second = open();
    assert_eq!(second.relay().taken(), 0);
    assert_eq!(second.door(), first.door());
    // This one is killed.
    let before = in_doubt(now());
    drop(second);
    let third = open();
    assert!(third.relay().taken() >= before, "what it may have taken is refused");
    assert_eq!(third.door(), first.door());
    // The next day has another key, and the old one goes on being accepted.
    assert!(third.turn_keys(now()).is_none());
    let keys = third.turn_keys(now().after(DAY)).unwrap();
    assert_ne!(third.door(), first.door());
    assert!(keys.find(first.door().day).is_some());
}

#[test]
fn keys_that_cannot_be_kept_are_said_not_to_be_until_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let me = pair(1).node_id();
    let hop = Hop::open(&data, network(), me, BTreeSet::new(), true).unwrap();
    let replaced = hop.door();
    assert!(hop.turn_keys(now().after(Span::secs(3 * 86_400))).is_some() && hop.has_kept());
    std::fs::rename(&data, folder.path().join("away")).unwrap();
    hop.keep();
    assert!(!hop.has_kept(), "what is on the disk is old");
    std::fs::rename(folder.path().join("away"), &data).unwrap();
    let (old, _) = keystore::load_onion(&data).unwrap().unwrap();
    assert!(old.find(replaced.day).is_some());
    hop.keep();
    assert!(hop.has_kept());
    let (kept, _) = keystore::load_onion(&data).unwrap().unwrap();
    assert_eq!(OnionDoor::of(&kept.current, has_aes()), hop.door());
    assert!(kept.find(replaced.day).is_none(), "it is destroyed on the disk too");
}

#[test]
fn a_watch_that_is_held_is_not_silent() {
    assert!(u128::from(patience(Position::Last).0) > (TICK + Duration::from_secs(1)).as_micros());
}

fn pair(number: u8) -> KeyPair {
    KeyPair::from_seed(&[number; 32])
}

fn network() -> NetworkName {
    "test".parse().unwrap()
}

/// Time that passes when somebody waits for it, in microseconds.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn pass(&self, micros: u64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    fn tick(&self) -> Tick {
        let clock = self.clone();
        Arc::new(move || {
            let tick = TICK.as_micros() as u64;
            clock.pass(tick - clock.now() % tick);
            Box::pin(std::future::ready(()))
        })
    }
}

/// Three hops and a destination, whose mailbox gets a message at every third question.
struct Watched {
    hops: Vec<Relay<u8, ChaCha20Rng>>,
    links: Links,
    clock: Clock,
    owner: KeyPair,
    _kept: (tempfile::TempDir, watch::Sender<bool>),
}

impl Watched {
    fn new(local: bool) -> Self {
        let data = tempfile::tempdir().unwrap();
        let nodes: BTreeSet<_> = (1..=4).map(|number| pair(number).node_id()).collect();
        let hop = |number: u8| {
            let keys = Keyring::new(now(), [number; 32]).unwrap();
            let random = ChaCha20Rng::from_seed([number; 32]);
            Relay::new(network(), pair(number).node_id(), keys, nodes.clone(), 0, random)
        };
        let me = pair(4);
        let clock = Clock::default();
        let own = Hop::open(data.path(), network(), me.node_id(), nodes.clone(), local).unwrap();
        let own = Hop { tick: clock.tick(), ..own };
        let (jobs, queue) = mpsc::channel(8);
        let (links, stop) = Links::alone(&me, local, own, jobs);
        tokio::spawn(member(queue, clock.clone()));
        Self { hops: (1..4).map(hop).collect(), links, clock, owner: pair(200), _kept: (data, stop) }
    }

    fn wrap(&self) -> (Vec<u8>, Return) {
        let account = AccountId::of_person(&self.owner.public()).unwrap();
        let time = now().as_millis();
        let (namespace, ids) = (Namespace::INBOX, None);
        let mut retrieve = Retrieve {
            account,
            namespace,
            after: None,
            last: None,
            max_count: None,
            max_size: None,
            ids,
            auth: None,
        };
        let statement = retrieve.statement(&network(), time);
        retrieve.auth = Some(Auth::sign(&account, &self.owner, time, &statement));
        let doors = self.hops.iter().map(|hop| OnionDoor::of(&hop.keys().current, true));
        let doors: Vec<_> = doors.chain([self.links.hop.door()]).collect();
        let layers = std::array::from_fn(|at| {
            let entry = Entry::First { door: doors[at].door(true), random: random_bytes() };
            Layer { node: pair(at as u8 + 1).node_id(), entry }
        });
        let request = codec::encode(&Request::Retrieve(retrieve));
        let (service, stamp) = (Service::Notify, stamp(now()));
        wrap(&network(), layers, &Question { service, request: &request, answer: SMALL, stamp }).unwrap()
    }

    /// Asks once: when the answer left its destination, how long it was there, and how many messages it
    /// tells of.
    async fn ask(&mut self) -> (u64, usize, usize) {
        let (left, length, outcome) = self.ask_anything().await;
        let messages = match outcome {
            Ok(Body::Messages { messages, .. }) => messages.len(),
            // One that is longer than the bucket.
            Err(Stopped { by: 3, status: Status::TooLarge }) => 1,
            other => panic!("{other:?}"),
        };
        (left, length, messages)
    }

    async fn ask_anything(&mut self) -> (u64, usize, Result<Body, Stopped>) {
        let (mut packet, back) = self.wrap();
        let mut backs = Vec::new();
        for (at, hop) in self.hops.iter_mut().enumerate() {
            let from = Neighbour { key: at as u8, node: at > 0, prefix: None };
            let opened = hop.arrive(from, packet).unwrap().run().unwrap();
            let Step::Forward { packet: inner, back, .. } = hop.opened(now(), from, opened).unwrap() else {
                panic!("the last hop is another")
            };
            backs.push((from, back));
            packet = inner;
        }
        let last = session_protocols::libp2p::address::peer_id(&pair(3).node_id()).unwrap();
        let mut answer = self.links.pass(last, packet).await.unwrap();
        let (left, length) = (self.clock.now(), answer.len());
        for (hop, (from, back)) in self.hops.iter_mut().zip(backs).rev() {
            answer = hop.leave(now(), from, back.relay(Some(&answer)).unwrap());
        }
        let Unwrapped { outcome, .. } = back.open(&answer).unwrap();
        let body = outcome.map(|answer| codec::decode::<Answer>(&answer, SMALL.capacity()).unwrap().body);
        (left, length, body)
    }
}

fn random_bytes() -> Zeroizing<[u8; 64]> {
    let mut bytes = Zeroizing::new([0; 64]);
    getrandom::fill(bytes.as_mut_slice()).unwrap();
    bytes
}

/// Has messages for every third question, at once or a moment after it was asked: one that is short, one
/// that is longer than the bucket, or more than one page; takes some time itself.
async fn member(mut queue: mpsc::Receiver<Job>, clock: Clock) {
    let mut asked = 0_u64;
    let cursor = Cursor { incarnation: 1, sequence: 1 };
    while let Some(job) = queue.recv().await {
        clock.pass(7_000 + 1_009 * asked);
        match job {
            Job::Request { answer, .. } => {
                asked += 1;
                let message = |number: u64| Message {
                    hash: MessageHash([number as u8; 32]),
                    timestamp: number,
                    expiry: number,
                    data: vec![7; if number.is_multiple_of(2) { 40 } else { 5_000 }].into(),
                };
                let messages = asked.is_multiple_of(3).then(|| message(asked)).into_iter().collect();
                let body = Body::Messages { messages, more: asked.is_multiple_of(12), cursor };
                let _ = answer.send(Answer { time: now().as_millis(), body });
            }
            Job::Subscribe { answer, events, .. } => {
                let _ = answer.send(Subscribed::Until { expiry: u64::MAX });
                let _ = events.try_send((Event { messages: Vec::new(), cursor }, false));
            }
            Job::Asked { .. }
            | Job::Answered { .. }
            | Job::Unsubscribe { .. }
            | Job::Pushed { .. }
            | Job::Connected(_)
            | Job::Disconnected(_)
            | Job::Maps(_)
            | Job::Inspect(_) => {}
        }
    }
}

#[tokio::test]
async fn outside_local_networks_one_answer_of_one_length_leaves_at_each_tick() {
    let mut watched = Watched::new(false);
    let tick = TICK.as_micros() as u64;
    let mut with = 0;
    for number in 0..ANSWERS {
        // The question comes back after an answer at some time before the next tick.
        watched.clock.pass(1_000 + 31_337 * number);
        let (left, length, messages) = watched.ask().await;
        // What the member takes to look comes after the tick, and is no longer for a message.
        let late = left % tick;
        assert_eq!(left / tick, number + 1, "one for each tick: {left} us");
        assert_eq!(late, 7_000 + 1_009 * number, "it leaves at the tick, messages: {messages}");
        assert_eq!(length, answer_len(SMALL, Position::Destination), "messages: {messages}");
        with += usize::from(messages > 0);
    }
    assert_eq!(with as u64, ANSWERS / 3, "some had a message, and most had none");
}

#[tokio::test]
async fn without_a_seat_a_watch_is_refused_and_not_answered_at_once() {
    for local in [false, true] {
        let mut watched = Watched::new(local);
        let last = session_protocols::libp2p::address::peer_id(&pair(3).node_id()).unwrap();
        let seats: Vec<_> = std::iter::from_fn(|| Seat::take(&watched.links.hop.waiting, last)).collect();
        assert_eq!(seats.len(), WAITING_PER_NEIGHBOUR);
        let (_, length, body) = watched.ask_anything().await;
        assert!(matches!(&body, Ok(Body::Refused(refusal)) if refusal.code == Code::TooMany), "{body:?}");
        assert_eq!(length, answer_len(SMALL, Position::Destination));
        drop(seats);
        watched.ask().await;
    }
}

#[tokio::test]
async fn a_stranger_whose_connection_has_ended_is_not_counted_by_itself() {
    let watched = Watched::new(false);
    let places = [0; 2].map(|_| watched.links.place(&PeerId::random()));
    assert_eq!(places, [Prefix::V4([0; 3]); 2]);
}

#[tokio::test]
async fn on_a_local_network_an_arrival_is_told_at_once() {
    let mut watched = Watched::new(true);
    let tick = TICK.as_micros() as u64;
    let mut offsets = BTreeSet::new();
    for _ in 0..ANSWERS {
        let (left, length, _) = watched.ask().await;
        offsets.insert(left % tick);
        assert_eq!(length, answer_len(SMALL, Position::Destination));
    }
    assert!(offsets.len() > 2 && watched.clock.now() < ANSWERS * tick / 2, "as if there were ticks");
}
