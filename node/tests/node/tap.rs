//! A tap at one real node, after transport decryption: what others hand it and what it hands them.
//!
//! The hops around it are relay machines in the test, and the two nodes that it knows are strangers who
//! hold their keys. So all that it takes in and gives out passes here.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Instant,
};

use futures::StreamExt;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use session_protocols::{
    KeyPair, NodeId, Protocol, codec,
    directory::OnionDoor,
    libp2p::{
        address::peer_id,
        link::{self, Asker, Backlog, Limits},
    },
    onion::{
        keys::Keyring,
        relay::{Neighbour, Refusal, Relay, Step},
        replay::stamp,
        size::{Bucket, MAX_PACKET, Position, answer_len, packet_len},
        wrap::{ClientSession, Entry, Hop, Question, Service, wrap},
    },
};
use zeroize::Zeroizing;

use crate::support::{
    PATIENCE, Plan, Running,
    stranger::{Person, Stranger, now},
};

const HOPS: usize = 4;
/// The nodes of the network file: the real one, the one before it and the one behind it.
const REAL: usize = 0;
const BEFORE: usize = 1;
const BEHIND: usize = 2;
/// The shortest run of bytes by which two wires could be told to carry one packet.
const RUN: usize = 16;
const TEXT: &[u8] = b"a text that nobody but its reader may see";

type Machine = Relay<u8, ChaCha20Rng>;
/// A packet, and its answer.
type Side = (Vec<u8>, Vec<u8>);

/// A real node at one position of a path, the rest of the path, and what passes on both its sides.
struct Tap {
    plan: Plan,
    running: Running,
    nodes: [NodeId; HOPS],
    doors: [OnionDoor; HOPS],
    before: Vec<Machine>,
    entry: Asker,
    near: Vec<Side>,
    far: Arc<Mutex<Vec<Side>>>,
    _neighbours: [Stranger; 2],
}

impl Tap {
    /// With the node `at` hops behind the guard.
    async fn new(at: usize) -> Self {
        let plan = Plan::new(3);
        let running = plan.start(REAL);
        crate::support::wait(&plan.http[..1], 503).await;
        let node = |index: usize| plan.network.nodes[index].id;
        let other = |number: u8| KeyPair::from_seed(&[number; 32]).node_id();
        let nodes = std::array::from_fn(|place| match place {
            place if place == at => node(REAL),
            place if place + 1 == at => node(BEFORE),
            place if place == at + 1 => node(BEHIND),
            place => other(place as u8),
        });
        let all: BTreeSet<_> = nodes.into_iter().collect();
        let machine = |node| {
            let (keys, seed) = (Keyring::new(now(), random()).unwrap(), random());
            let name = plan.network.name.clone();
            Relay::new(name, node, keys, all.clone(), 0, ChaCha20Rng::from_seed(seed))
        };
        let before: Vec<Machine> = nodes[..at].iter().map(|node| machine(*node)).collect();
        let behind: Vec<Machine> = nodes[at + 1..].iter().map(|node| machine(*node)).collect();
        let sender = match at {
            0 => Stranger::meet(&plan, REAL).await,
            _ => Stranger::meet_as(BEFORE, &plan, REAL).await,
        };
        let receiver = Stranger::meet_as(BEHIND, &plan, REAL).await;
        let real = door(&receiver, &plan).await;
        let of = |machine: &Machine| OnionDoor::of(&machine.keys().current, true);
        let doors = before.iter().map(of).chain([real]).chain(behind.iter().map(of));
        let doors = doors.collect::<Vec<_>>().try_into().unwrap();
        let far = Arc::default();
        answer(&receiver, behind, Arc::clone(&far));
        let entry = sender.link(Protocol::Onion).await;
        let _neighbours = [sender, receiver];
        Self { plan, running, nodes, doors, before, entry, near: Vec::new(), far, _neighbours }
    }

    /// Asks the destination, and checks that what it says comes back.
    async fn ask(&mut self, sessions: &mut [Option<ClientSession>; HOPS], request: &[u8], answer: Bucket) {
        let mut kept = sessions.iter_mut();
        let hops = std::array::from_fn(|at| {
            let entry = match kept.next().unwrap() {
                Some(session) => Entry::Session(session),
                None => {
                    let mut bytes = Zeroizing::new([0; 64]);
                    getrandom::fill(bytes.as_mut_slice()).unwrap();
                    Entry::First { door: self.doors[at].door(true), random: bytes }
                }
            };
            Hop { node: self.nodes[at], entry }
        });
        let question = Question { service: Service::Storage, request, answer, stamp: stamp(now()) };
        let (packet, back) = wrap(&self.plan.network.name, hops, &question).unwrap();
        let opened = back.open(&self.carry(packet).await).unwrap();
        opened.outcome.unwrap();
        for (kept, fresh) in sessions.iter_mut().zip(opened.sessions) {
            *kept = fresh.or_else(|| kept.take());
        }
    }

    /// Brings a packet to the node, through the hops before it, and its answer back.
    async fn carry(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        let mut backs = Vec::new();
        for (place, machine) in self.before.iter_mut().enumerate() {
            let from = Neighbour { key: 0, node: place > 0, prefix: None };
            let opened = machine.arrive(from, packet).unwrap().run().unwrap();
            let Step::Forward { packet: next, back, .. } = machine.opened(now(), from, opened).unwrap()
            else {
                panic!("it goes on");
            };
            packet = next;
            backs.push((from, back));
        }
        let mut answer = self.entry.ask(packet.clone()).await.unwrap();
        self.near.push((packet, answer.clone()));
        for (machine, (from, back)) in self.before.iter_mut().zip(backs).rev() {
            answer = machine.leave(now(), from, back.relay(Some(&answer)).unwrap());
        }
        answer
    }

    /// What no wire may show.
    fn secrets(&self, person: &Person) -> Vec<Vec<u8>> {
        let mut secrets = vec![TEXT.to_vec(), person.account.as_bytes()[1..].to_vec()];
        secrets.extend(self.nodes.iter().map(|node| node.as_bytes().to_vec()));
        secrets.extend(self.nodes.iter().filter_map(|node| Some(peer_id(node)?.to_bytes())));
        secrets.extend(self.doors.iter().map(|door| door.key.to_vec()));
        secrets
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// How the real node is entered: what it says once it is met.
async fn door(stranger: &Stranger, plan: &Plan) -> OnionDoor {
    let until = Instant::now() + PATIENCE;
    loop {
        let records = stranger.records().await;
        if let Some(record) = records.iter().find(|record| record.node == plan.network.nodes[REAL].id) {
            return record.onion;
        }
        assert!(Instant::now() < until, "it does not say how it is entered");
    }
}

/// Answers what the real node forwards by the machines behind it, and keeps both.
fn answer(stranger: &Stranger, mut machines: Vec<Machine>, far: Arc<Mutex<Vec<Side>>>) {
    let mut streams = stranger.accept(Protocol::Onion);
    tokio::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            let limits = Limits { max_in: MAX_PACKET, window: 64, backlog: Backlog::new(64 << 20) };
            let (mut requests, run) = link::serve(stream, limits);
            tokio::spawn(run);
            while let Some(incoming) = requests.next().await {
                let packet = incoming.payload;
                let answer = pass(&mut machines, packet.clone()).unwrap();
                far.lock().unwrap().push((packet, answer.clone()));
                incoming.reply.answer(answer).await;
            }
        }
    });
}

/// Takes a packet through the hops from this one on, and brings their answer back.
fn pass(machines: &mut [Machine], packet: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let (machine, rest) = machines.split_first_mut().unwrap();
    let from = Neighbour { key: 0, node: true, prefix: None };
    let opened = machine.arrive(from, packet)?.run()?;
    let sealed = match machine.opened(now(), from, opened)? {
        Step::Forward { packet, back, .. } => back.relay(pass(rest, packet).ok().as_deref()),
        Step::Deliver { request, back, .. } => back.answer(&request[..1_000]),
        Step::Turn { status, back } => back.turn(status),
    }?;
    Ok(machine.leave(now(), from, sealed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_at_a_real_node_shows_sizes_and_nothing_that_is_equal_on_both_sides() {
    let person = Person::new(1);
    let [small, large] = [Bucket::ALL[0], Bucket::ALL[1]];
    for (at, position) in Position::ALL.into_iter().rev().enumerate() {
        let mut tap = Tap::new(at).await;
        let mut buckets = Vec::new();
        // Each by handshakes, and again by sessions.
        for (bytes, bucket, answer) in [(1_000, small, small), (3_000, large, large), (1_500, small, large)] {
            let request = codec::encode(&person.post(&TEXT.repeat(bytes / TEXT.len())));
            let mut sessions = [const { None }; HOPS];
            for _ in 0..2 {
                tap.ask(&mut sessions, &request, answer).await;
                buckets.push((bucket, answer));
            }
        }
        let (secrets, far) = (tap.secrets(&person), tap.far.lock().unwrap().clone());
        assert_eq!(tap.near.len(), buckets.len());
        assert_eq!(far.len(), if position == Position::Destination { 0 } else { buckets.len() });
        let lengths = |position| {
            let length = |(bucket, answer): &(Bucket, Bucket)| {
                (packet_len(*bucket, position), answer_len(*answer, position))
            };
            buckets.iter().map(length).collect::<Vec<_>>()
        };
        let found = |sides: &[Side]| -> Vec<_> {
            sides.iter().map(|(packet, answer)| (packet.len(), answer.len())).collect()
        };
        assert_eq!(found(&tap.near), lengths(position));
        if let Some(next) = position.next() {
            assert_eq!(found(&far), lengths(next));
        }
        let both = |sides: &[Side]| -> Vec<Vec<u8>> {
            sides.iter().flat_map(|(packet, answer)| [packet.clone(), answer.clone()]).collect()
        };
        let (near, far) = (both(&tap.near), both(&far));
        for bytes in near.iter().chain(&far) {
            for secret in &secrets {
                assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{position:?}");
            }
        }
        let runs: BTreeSet<&[u8]> = far.iter().flat_map(|bytes| bytes.windows(RUN)).collect();
        assert!(!near.iter().any(|bytes| bytes.windows(RUN).any(|run| runs.contains(run))), "{position:?}");
        tap.running.stop().await;
    }
}
