use std::collections::BTreeSet;

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::*;
use crate::onion::{
    layer::Door,
    noise::Suite,
    replay::stamp,
    shares::{NODE_PART, STRANGER_PART},
    size::{SESSION_HEAD, opened_len},
    wrap::{ClientSession, Entry, Hop, Question, Return, Stopped, Unwrapped, wrap},
};

const NOW: Time = Time::from_millis(1_790_000_000_000);
const CLIENT: Neighbour<u8> = Neighbour { key: 200, node: false, prefix: None };

/// Four hops, and the client of them.
struct Path {
    network: NetworkName,
    relays: Vec<Relay<u8, ChaCha8Rng>>,
    random: ChaCha8Rng,
    now: Time,
    /// What each hop received, and what it answered.
    tap: Vec<(Vec<u8>, Vec<u8>)>,
    /// A bit to change in the answer of one hop.
    flip: Option<(usize, usize)>,
}

fn id(at: usize) -> NodeId {
    NodeId::from_bytes([at as u8 + 1; 32])
}

impl Path {
    fn new() -> Self {
        let network: NetworkName = "fake".parse().unwrap();
        let nodes: BTreeSet<_> = (0..4).map(id).collect();
        let relay = |at: usize| {
            let keys = Keyring::new(NOW, [at as u8 + 50; 32]).unwrap();
            let random = ChaCha8Rng::seed_from_u64(at as u64);
            Relay::new(network.clone(), id(at), keys, nodes.clone(), 0, random)
        };
        let relays = (0..4).map(relay).collect();
        let random = ChaCha8Rng::seed_from_u64(99);
        Self { network, relays, random, now: NOW, tap: vec![Default::default(); 4], flip: None }
    }

    /// Wraps a request; hops without a session are entered for the first time.
    fn wrap(
        &mut self,
        sessions: &mut [Option<ClientSession>; 4],
        request: &[u8],
        answer: Bucket,
    ) -> (Vec<u8>, Return) {
        let publics: Vec<_> = self.relays.iter().map(|relay| *relay.keys().current.key.public()).collect();
        let days: Vec<_> = self.relays.iter().map(|relay| relay.keys().current.day()).collect();
        let mut sessions = sessions.iter_mut();
        let hops = std::array::from_fn(|at| {
            let entry = match sessions.next().unwrap() {
                Some(session) => Entry::Session(session),
                None => {
                    let mut random = Zeroizing::new([0; 64]);
                    self.random.fill_bytes(random.as_mut_slice());
                    let suite = if at % 2 == 0 { Suite::Aes } else { Suite::ChaCha };
                    Entry::First { door: Door { suite, day: days[at], public: &publics[at] }, random }
                }
            };
            Hop { node: id(at), entry }
        });
        let question = Question { service: Service::Storage, request, answer, stamp: stamp(self.now) };
        wrap(&self.network, hops, &question).unwrap()
    }

    /// Takes a packet through the hop at this place and all after it; the destination answers with
    /// the request, reversed.
    fn pass(&mut self, at: usize, from: Neighbour<u8>, packet: Vec<u8>) -> Vec<u8> {
        self.tap[at].0 = packet.clone();
        let answer = self.try_pass(at, from, packet);
        let mut answer = answer.unwrap_or_else(|refusal| refusal.frame().to_vec());
        if let Some((_, bit)) = self.flip.filter(|(hop, _)| *hop == at) {
            answer[bit / 8] ^= 1 << (bit % 8);
        }
        self.tap[at].1 = answer.clone();
        answer
    }

    fn try_pass(&mut self, at: usize, from: Neighbour<u8>, packet: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let now = self.now;
        let opening = self.relays[at].arrive(from, packet)?;
        let step = opening.run().and_then(|opened| self.relays[at].opened(now, from, opened));
        let sealed = step.and_then(|step| match step {
            Step::Forward { to, packet, back } => {
                let next = (0..4).find(|next| id(*next) == to).unwrap();
                let answer = self.pass(next, Neighbour { key: at as u8, node: true, prefix: None }, packet);
                back.relay(Some(&answer))
            }
            Step::Deliver { service, request, back } => {
                assert_eq!(service, Service::Storage);
                let answer: Vec<u8> = request.iter().rev().copied().collect();
                back.answer(&answer)
            }
            Step::Turn { status, back } => back.turn(status),
        });
        match sealed {
            Ok(sealed) => Ok(self.relays[at].leave(now, from, sealed)),
            Err(refusal) => {
                self.relays[at].forget(from);
                Err(refusal)
            }
        }
    }

    fn ask(
        &mut self,
        sessions: &mut [Option<ClientSession>; 4],
        request: &[u8],
        answer: Bucket,
    ) -> Result<Vec<u8>, Stopped> {
        let (packet, back) = self.wrap(sessions, request, answer);
        let answer = self.pass(0, CLIENT, packet);
        assert_eq!(answer.len(), back.length());
        let Unwrapped { sessions: fresh, outcome } = back.open(&answer).unwrap();
        for (kept, fresh) in sessions.iter_mut().zip(fresh) {
            *kept = fresh.or_else(|| kept.take());
        }
        outcome
    }
}

const SMALL: Bucket = Bucket::ALL[0];

#[test]
fn a_request_is_answered_by_handshakes_and_then_by_sessions() {
    let mut path = Path::new();
    let mut sessions = [const { None }; 4];
    for round in 0..5_u8 {
        assert_eq!(path.ask(&mut sessions, &[1, 2, round], SMALL), Ok(vec![round, 2, 1]));
        assert!(sessions.iter().all(Option::is_some));
        assert!(path.relays.iter().all(|relay| relay.sessions() >= 1));
        // A store opens a fresh layer at the destination.
        sessions[3] = None;
        assert_eq!(path.ask(&mut sessions, b"ab", SMALL), Ok(b"ba".to_vec()));
        for relay in &mut path.relays {
            assert_eq!(relay.under_way(), 0);
        }
    }
}

#[test]
fn lengths_tell_the_bucket_and_the_position_alone() {
    let mut path = Path::new();
    let mut kept = [const { None }; 4];
    for request in [0, 1, 600, 2_048, 2_049, 70_000, 131_072] {
        for answer in Bucket::ALL.into_iter().filter(|answer| answer.capacity() >= request) {
            for fresh in [true, false] {
                let mut sessions = if fresh { [const { None }; 4] } else { kept.clone() };
                path.ask(&mut sessions, &vec![7; request], answer).unwrap();
                let bucket = Bucket::fitting(request).unwrap();
                for (tapped, position) in path.tap.iter().zip(Position::ALL.into_iter().rev()) {
                    assert_eq!(tapped.0.len(), packet_len(bucket, position));
                    assert_eq!(tapped.1.len(), answer_len(answer, position));
                }
                kept = sessions;
            }
        }
    }
}

#[test]
fn nothing_is_equal_on_both_sides_of_a_hop() {
    let mut path = Path::new();
    let mut sessions = [const { None }; 4];
    for _ in 0..2 {
        path.ask(&mut sessions, &[9; 500], SMALL).unwrap();
        for hop in 0..3 {
            let windows = |bytes: &[u8]| bytes.windows(8).map(<[u8]>::to_vec).collect::<BTreeSet<_>>();
            let (near, far) = (&path.tap[hop], &path.tap[hop + 1]);
            assert!(windows(&near.0).is_disjoint(&windows(&far.0)), "requests at hop {hop}");
            assert!(windows(&near.1).is_disjoint(&windows(&far.1)), "answers at hop {hop}");
            let ids = [id(hop + 1), id(3)];
            assert!(ids.iter().all(|id| !near.0.windows(32).any(|part| part == id.as_bytes())));
        }
    }
}

#[test]
fn a_changed_bit_dies_at_the_next_hop() {
    let mut path = Path::new();
    let mut sessions = [const { None }; 4];
    for fresh in [true, false] {
        for at in 0..4 {
            let (packet, _) = path.wrap(&mut sessions, &[9; 500], SMALL);
            // What reaches this hop.
            let mut reaching = packet;
            for hop in 0..at {
                let from = if hop == 0 {
                    CLIENT
                } else {
                    Neighbour { key: hop as u8 - 1, node: true, prefix: None }
                };
                let opening = path.relays[hop].arrive(from, reaching).unwrap();
                let opened = opening.run().unwrap();
                let step = path.relays[hop].opened(NOW, from, opened).unwrap();
                let Step::Forward { packet, .. } = step else { panic!("it is forwarded") };
                path.relays[hop].forget(from);
                reaching = packet;
            }
            let from =
                if at == 0 { CLIENT } else { Neighbour { key: at as u8 - 1, node: true, prefix: None } };
            for bit in (0..reaching.len() * 8).step_by(37) {
                let mut changed = reaching.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let refused = path.try_pass(at, from, changed);
                assert_eq!(refused, Err(Refusal::Unreadable), "bit {bit} at hop {at}, fresh {fresh}");
            }
            assert!(path.try_pass(at, from, reaching).is_ok(), "the same without the change");
        }
        path.ask(&mut sessions, b"x", SMALL).unwrap();
    }
}

#[test]
fn a_changed_answer_is_laid_at_the_door_of_whoever_let_it_through() {
    let mut path = Path::new();
    let mut kept = [const { None }; 4];
    path.ask(&mut kept, b"x", SMALL).unwrap();
    for fresh in [true, false] {
        for at in 0..4 {
            for bit in (0..answer_len(SMALL, Position::ALL[3 - at]) * 8).step_by(509) {
                let mut first = [const { None }; 4];
                let (packet, back) = path.wrap(if fresh { &mut first } else { &mut kept }, b"x", SMALL);
                path.flip = Some((at, bit));
                let answer = path.pass(0, CLIENT, packet);
                let opened = back.open(&answer);
                match at.checked_sub(1) {
                    None => assert!(opened.is_err(), "bit {bit}"),
                    Some(by) => {
                        let stopped = Stopped { by, status: Status::Malformed };
                        assert_eq!(opened.unwrap().outcome, Err(stopped), "bit {bit} by hop {at}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_replay_is_refused_everywhere() {
    let mut path = Path::new();
    let mut sessions = [const { None }; 4];
    for _ in 0..2 {
        path.ask(&mut sessions, b"x", SMALL).unwrap();
        let seen = path.tap.clone();
        for (at, (packet, _)) in seen.into_iter().enumerate() {
            let from =
                if at == 0 { CLIENT } else { Neighbour { key: at as u8 - 1, node: true, prefix: None } };
            assert_eq!(path.try_pass(at, from, packet.clone()), Err(Refusal::Unreadable));
            assert!(path.try_pass(at, Neighbour { key: 99, ..from }, packet).is_err(), "nor by another");
        }
    }
}

#[test]
fn a_hop_that_lost_its_session_is_named_by_the_one_before_it() {
    let mut path = Path::new();
    let mut sessions = [const { None }; 4];
    path.ask(&mut sessions, b"x", SMALL).unwrap();
    for lost in 1..4 {
        let kept = path.relays[lost].sessions.len();
        path.relays[lost].tick(NOW.after(crate::Span::secs(661)));
        assert!(path.relays[lost].sessions.len() < kept);
        let refused = path.ask(&mut sessions, b"x", SMALL).unwrap_err();
        assert_eq!(refused, Stopped { by: lost - 1, status: Status::Unreadable });
        sessions[lost] = None;
        assert_eq!(path.ask(&mut sessions, b"xy", SMALL), Ok(b"yx".to_vec()));
    }
}

#[test]
fn only_nodes_stand_inside_a_path_and_only_others_enter_it() {
    let mut path = Path::new();
    let (packet, _) = path.wrap(&mut [const { None }; 4], b"x", SMALL);
    let node = Neighbour { key: 3, node: true, prefix: None };
    assert_eq!(path.relays[0].arrive(node, packet.clone()).unwrap_err(), Refusal::Unknown);
    path.pass(0, CLIENT, packet);
    for at in 1..4 {
        let packet = path.tap[at].0.clone();
        assert_eq!(path.relays[at].arrive(CLIENT, packet).unwrap_err(), Refusal::Unknown);
    }
    path.relays[0].set_nodes(BTreeSet::from([id(2)]));
    let refused = path.ask(&mut [const { None }; 4], b"x", SMALL).unwrap_err();
    assert_eq!(refused, Stopped { by: 0, status: Status::Unknown });
}

#[test]
fn an_answer_that_needs_more_room_says_so() {
    let mut path = Path::new();
    let mut sessions = [const { None }; 4];
    let refused = path.ask(&mut sessions, &[1; 2_049], SMALL).unwrap_err();
    assert_eq!(refused, Stopped { by: 3, status: Status::TooLarge });
    assert_eq!(path.ask(&mut sessions, &[1; 2_049], Bucket::ALL[1]), Ok(vec![1; 2_049]));
}

/// A stranger of one of many identities, all of them at one address.
fn one_of_a_crowd(key: usize) -> Neighbour<u8> {
    Neighbour { key: (key % 199) as u8, node: false, prefix: Some(Prefix::V4([10, 1, 2])) }
}

#[test]
fn many_identities_of_one_prefix_leave_packets_of_others_room() {
    let mut path = Path::new();
    let mut arrive = |from| {
        let (packet, _) = path.wrap(&mut [const { None }; 4], b"x", SMALL);
        path.relays[0].arrive(from, packet).map(drop)
    };
    let mut crowd = 0;
    while arrive(one_of_a_crowd(crowd)).is_ok() {
        crowd += 1;
    }
    assert_eq!(crowd, MAX_UNDER_WAY / 2 / STRANGER_PART);
    assert_eq!(arrive(one_of_a_crowd(0)), Err(Refusal::Busy));
    let elsewhere = Neighbour { key: 1, node: false, prefix: Some(Prefix::V4([10, 1, 3])) };
    assert_eq!(arrive(elsewhere), Ok(()));
    assert_eq!(arrive(CLIENT), Ok(()), "one that is counted by itself");
}

#[test]
fn one_node_is_refused_what_is_too_many_before_its_stream_stands_still() {
    let mut path = Path::new();
    let node = Neighbour { key: 7, node: true, prefix: None };
    path.ask(&mut [const { None }; 4], b"x", SMALL).unwrap();
    let inner = path.tap[1].0.clone();
    let mut under_way = 0;
    while path.relays[1].arrive(node, inner.clone()).is_ok() {
        under_way += 1;
    }
    assert_eq!(path.relays[1].arrive(node, inner).map(drop), Err(Refusal::Busy));
    assert_eq!(under_way, MAX_UNDER_WAY / 2 / NODE_PART);
    assert!(under_way < STREAM_WINDOW);
}

#[test]
fn many_identities_of_one_prefix_leave_sessions_of_others_room() {
    let mut path = Path::new();
    let mut greet = |from| {
        let (packet, _) = path.wrap(&mut [const { None }; 4], b"x", SMALL);
        let relay = &mut path.relays[0];
        let before = relay.sessions();
        let opened = relay.arrive(from, packet).unwrap().run().unwrap();
        let Step::Forward { back, .. } = relay.opened(NOW, from, opened).unwrap() else {
            panic!("it is forwarded")
        };
        relay.leave(NOW, from, back.relay(None).unwrap());
        relay.sessions() > before
    };
    let crowd = (0..2_000).filter(|number| greet(one_of_a_crowd(*number))).count();
    assert_eq!(crowd, MAX_SESSIONS / 2 / STRANGER_PART);
    assert!(!greet(one_of_a_crowd(0)) && greet(CLIENT));
    path.relays[0].tick(NOW.after(crate::Span::secs(661)));
    assert_eq!(path.relays[0].sessions(), 0);
    assert!(path.relays[0].sessions.has_room(one_of_a_crowd(0)), "what has ended is given back");
}

#[test]
fn a_session_serves_the_neighbour_that_made_it_and_nobody_else() {
    let mut path = Path::new();
    let mut sessions = [const { None }; 4];
    path.ask(&mut sessions, b"x", SMALL).unwrap();
    let (packet, _) = path.wrap(&mut sessions, b"x", SMALL);
    let thief = Neighbour { key: 201, node: false, prefix: None };
    assert_eq!(path.try_pass(0, thief, packet.clone()), Err(Refusal::Unreadable));
    assert!(path.try_pass(0, CLIENT, packet).is_ok());
}

#[test]
fn of_two_copies_that_are_opened_at_once_one_goes_on() {
    let mut path = Path::new();
    let mut sessions = [const { None }; 4];
    for _ in 0..2 {
        let (packet, _) = path.wrap(&mut sessions, b"x", SMALL);
        let copies = [packet.clone(), packet].map(|packet| path.relays[0].arrive(CLIENT, packet).unwrap());
        let [first, second] = copies.map(|opening| opening.run().unwrap());
        assert!(matches!(path.relays[0].opened(NOW, CLIENT, first), Ok(Step::Forward { .. })));
        let second = path.relays[0].opened(NOW, CLIENT, second);
        assert_eq!(second.unwrap_err(), Refusal::Unreadable);
        // The next round is by sessions.
        path.ask(&mut sessions, b"x", SMALL).unwrap();
    }
}

#[test]
fn an_answer_of_another_length_is_not_passed_on() {
    let mut path = Path::new();
    let length = answer_len(SMALL, Position::Middle);
    for wrong in [0, 2, length - 1, length + 1, answer_len(Bucket::ALL[1], Position::Middle)] {
        let (packet, back) = path.wrap(&mut [const { None }; 4], b"x", SMALL);
        let opened = path.relays[0].arrive(CLIENT, packet).unwrap().run().unwrap();
        let Step::Forward { back: seal, .. } = path.relays[0].opened(NOW, CLIENT, opened).unwrap() else {
            panic!("it is forwarded")
        };
        let sealed = seal.relay(Some(&vec![9; wrong])).unwrap();
        let answer = path.relays[0].leave(NOW, CLIENT, sealed);
        let stopped = Stopped { by: 0, status: Status::Malformed };
        assert_eq!(back.open(&answer).unwrap().outcome, Err(stopped), "{wrong} bytes");
    }
}

#[test]
fn a_client_that_seals_by_hand_bends_no_rule() {
    let mut path = Path::new();
    let key = path.relays[0].keys().current.clone();
    let door = Door { suite: Suite::Aes, day: key.day(), public: key.key.public() };
    let prologue = prologue(&path.network, &id(0));
    let length = packet_len(SMALL, Position::Middle);
    let text = |to: usize| [id(to).as_bytes().as_slice(), &[SMALL.number()], &vec![0; length]].concat();
    let open = |path: &mut Path, packet: Vec<u8>| {
        let opened = path.relays[0].arrive(CLIENT, packet)?.run()?;
        path.relays[0].opened(NOW, CLIENT, opened)
    };
    let first = |path: &mut Path, to: usize| {
        let random = [to as u8 + 1; 64];
        let (packet, state) = layer::seal_first(&prologue, &door, stamp(NOW), &random, &text(to)).unwrap();
        (open(path, packet), state)
    };
    let (step, _) = first(&mut path, 0);
    assert!(matches!(step, Ok(Step::Turn { status: Status::Unknown, .. })), "a hop forwards to itself");
    let (step, state) = first(&mut path, 1);
    let Ok(Step::Forward { back, .. }) = step else { panic!("it is forwarded") };
    let answer = path.relays[0].leave(NOW, CLIENT, back.relay(None).unwrap());
    let kept = layer::open_first_answer(state, &answer).unwrap();
    // A session's layer leaves room behind the packet, which must stay empty.
    let whole = packet_len(SMALL, Position::Guard);
    let room = opened_len(whole - SESSION_HEAD);
    for (number, last) in [(1, 0), (2, 1)] {
        let mut text = text(1);
        text.resize(room, 0);
        *text.last_mut().unwrap() = last;
        let packet = layer::seal_session(&kept.keys, kept.id, number, &text, whole).unwrap();
        match open(&mut path, packet) {
            Ok(Step::Forward { packet, .. }) => assert_eq!((last, packet.len()), (0, length)),
            Ok(step) => panic!("{step:?}"),
            Err(refusal) => assert_eq!((last, refusal), (1, Refusal::Unreadable)),
        }
    }
}

#[test]
fn of_all_who_wait_for_a_silent_node_the_hop_before_it_ends_first() {
    // Each begins to wait when the one before it has sent the packet on, and its word takes a way back.
    let way = MARGIN.0 / 4;
    for silent in 0..3 {
        let waits = Position::ALL.into_iter().skip(1 + silent).zip(0_u64..);
        let hops = u64::try_from(3 - silent).unwrap();
        let begins = |hops_behind| way * (hops - 1 - hops_behind);
        let ends: Vec<_> = waits.map(|(at, behind)| (begins(behind) + patience(at).0, at, behind)).collect();
        let (first, named, _) = ends[0];
        assert_eq!(named, Position::ALL[1 + silent]);
        for (end, at, behind) in &ends[1..] {
            assert!(first + way * *behind < *end, "{at:?} names another link before it hears of this one");
        }
    }
    assert!(crate::path::ECHO > patience(Position::Guard), "the client still listens");
}
