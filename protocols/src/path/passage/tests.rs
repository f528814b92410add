use std::collections::BTreeSet;

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::*;
use crate::{
    AccountId, Time,
    directory::OnionDoor,
    onion::{
        keys::Keyring,
        relay::{Neighbour, Relay, Step},
        replay::stamp,
        size::Bucket,
        wrap::Service,
    },
    path::sessions::MAX_ENDS,
};

const NOW: Time = Time::from_millis(1_790_000_000_000);
const PATH: PathId = PathId(1);
const READ: Use = Use::Read(AccountId::from_bytes([5; 33]));

fn id(at: usize) -> NodeId {
    NodeId::from_bytes([at as u8 + 1; 32])
}

/// Guard, middle, last hop and a destination, and a client that has one path over them.
struct Net {
    network: NetworkName,
    relays: Vec<Relay<usize, ChaCha8Rng>>,
    doors: [OnionDoor; 4],
    sessions: Sessions,
    random: ChaCha8Rng,
    /// Who of the four goes no further, and says what of that.
    stops: Option<(usize, Status)>,
}

impl Net {
    fn new() -> Self {
        let network: NetworkName = "fake".parse().unwrap();
        let relays: Vec<_> = (0..4).map(|at| Self::relay(&network, at)).collect();
        let doors = [0, 1, 2, 3].map(|at: usize| OnionDoor::of(&relays[at].keys().current, false));
        let mut sessions = Sessions::default();
        sessions.open(PATH);
        Self { network, relays, doors, sessions, random: ChaCha8Rng::seed_from_u64(9), stops: None }
    }

    fn relay(network: &NetworkName, at: usize) -> Relay<usize, ChaCha8Rng> {
        let keys = Keyring::new(NOW, [at as u8 + 50; 32]).unwrap();
        let random = ChaCha8Rng::seed_from_u64(at as u64);
        Relay::new(network.clone(), id(at), keys, (0..4).map(id).collect::<BTreeSet<_>>(), 0, random)
    }

    /// A hop forgets all sessions.
    fn forget(&mut self, at: usize) {
        self.relays[at] = Self::relay(&self.network, at);
    }

    fn seal(&mut self, passage: &mut Passage, request: &[u8]) -> Result<Vec<u8>, Next> {
        let doors = self.doors.each_ref().map(|door| door.door(false));
        let question =
            Question { service: Service::Storage, request, answer: Bucket::ALL[0], stamp: stamp(NOW) };
        passage.seal(&self.network, &mut self.sessions, doors, &mut self.random, &question)
    }

    /// Takes a packet through the hop at this place and all after it.
    fn pass(&mut self, at: usize, packet: Vec<u8>) -> Vec<u8> {
        let from = Neighbour { key: at, node: at > 0, prefix: None };
        let opened = self.relays[at].arrive(from, packet).and_then(|opening| opening.run());
        let step = opened.and_then(|opened| self.relays[at].opened(NOW, from, opened));
        let stops = self.stops.filter(|(place, _)| *place == at).map(|(_, status)| status);
        let sealed = match (step, stops) {
            (
                Ok(Step::Forward { back, .. } | Step::Deliver { back, .. } | Step::Turn { back, .. }),
                Some(status),
            )
            | (Ok(Step::Turn { status, back }), None) => back.turn(status),
            (Ok(Step::Forward { packet, back, .. }), None) => {
                let answer = self.pass(at + 1, packet);
                back.relay(Some(&answer))
            }
            (Ok(Step::Deliver { request, back, .. }), None) => back.answer(&request),
            (Err(refusal), _) => return refusal.frame().to_vec(),
        };
        self.relays[at].leave(NOW, from, sealed.unwrap())
    }

    /// Seals a packet, takes it there and back, and says how it was entered and what comes next.
    fn once(&mut self, passage: &mut Passage) -> ([bool; 4], Next) {
        let packet = self.seal(passage, b"hello").unwrap();
        let by_session = passage.by_session();
        let answer = self.pass(0, packet);
        let opened = passage.open(&answer);
        (by_session, passage.opened(&mut self.sessions, opened))
    }
}

fn passage(usage: Use) -> Passage {
    Passage::new(PATH, [id(0), id(1), id(2)], id(3), usage)
}

fn answered() -> Next {
    super::answered(Ok(Received::Answer(b"hello".to_vec())))
}

const AT_ONCE: Next = Next::Seal { after: Span(0) };

#[test]
fn hops_keep_sessions_and_a_destination_for_reading_alone() {
    for (usage, end) in [(READ, true), (Use::Send, false), (Use::Look, false)] {
        let mut net = Net::new();
        assert_eq!(net.once(&mut passage(usage)), ([false; 4], answered()));
        assert_eq!(net.once(&mut passage(usage)), ([true, true, true, end], answered()));
    }
}

#[test]
fn who_lost_its_session_is_greeted_anew() {
    for at in 0..4 {
        let mut net = Net::new();
        net.once(&mut passage(READ));
        net.forget(at);
        let mut passage = passage(READ);
        assert_eq!(net.once(&mut passage), ([true; 4], AT_ONCE));
        let by_session = [0, 1, 2, 3].map(|place| place != at);
        assert_eq!(net.once(&mut passage), (by_session, answered()));
        assert_eq!(net.once(&mut passage), ([true; 4], answered()));
    }
}

#[test]
fn a_path_that_was_closed_keeps_nothing() {
    let mut net = Net::new();
    net.once(&mut passage(READ));
    net.sessions.close(PATH);
    for _ in 0..2 {
        assert_eq!(net.once(&mut passage(READ)), ([false; 4], answered()));
    }
}

#[test]
fn a_path_keeps_the_sessions_of_so_many_destinations_and_forgets_the_oldest() {
    let mut net = Net::new();
    let mut passage = passage(READ);
    let packet = net.seal(&mut passage, b"hello").unwrap();
    let answer = net.pass(0, packet);
    let Opened { said: Said::Answer(unwrapped), .. } = passage.open(&answer) else { panic!("no answer") };
    let [.., session] = unwrapped.sessions;
    // The first comes again, takes no more room, and is the newest then.
    let ends: Vec<_> = (0..MAX_ENDS).chain([0, 0, MAX_ENDS]).map(|at| id(at + 3)).collect();
    for to in &ends {
        net.sessions.keep(PATH, *to, READ, [None, None, None, session.clone()]);
    }
    for to in ends {
        let doors = net.doors.each_ref().map(|door| door.door(false));
        let [guard, middle, last, end] = doors;
        let places = [(id(0), guard), (id(1), middle), (id(2), last), (to, end)];
        let [.., end] = net.sessions.enter(PATH, places, &mut net.random);
        assert_eq!(matches!(end.entry, Entry::Session(_)), to != id(4));
    }
}

#[test]
fn a_packet_is_sealed_so_often_and_no_more() {
    let mut net = Net::new();
    let mut passage = passage(Use::Send);
    for _ in 1..SEALS {
        net.seal(&mut passage, b"hello").unwrap();
        assert_eq!(passage.hung_up(true, &mut net.random), AT_ONCE);
    }
    net.seal(&mut passage, b"hello").unwrap();
    assert_eq!(passage.hung_up(true, &mut net.random), nothing(Outcome::Refused));
}

#[test]
fn a_stream_that_is_hung_up_is_opened_again_after_a_pause_and_not_for_ever() {
    let mut net = Net::new();
    let mut pauses = BTreeSet::new();
    for _ in 0..32 {
        let mut passage = passage(Use::Send);
        for _ in 1..OPENS {
            net.seal(&mut passage, b"hello").unwrap();
            let Next::Seal { after } = passage.hung_up(false, &mut net.random) else { panic!("given up") };
            pauses.insert(after);
        }
        net.seal(&mut passage, b"hello").unwrap();
        assert_eq!(passage.hung_up(false, &mut net.random), nothing(Outcome::Unreached));
    }
    assert!(pauses.len() > 32 && pauses.last() <= Some(&RETRY), "{pauses:?}");
}

#[test]
fn what_a_guard_refuses_with_is_told_apart() {
    let mut net = Net::new();
    for (frame, next) in [
        (Refusal::Busy.frame().to_vec(), Next::Done { outcome: Outcome::Busy, brought: Err(Fault::Busy) }),
        (Refusal::Unknown.frame().to_vec(), nothing(Outcome::Refused)),
        (Refusal::Unreadable.frame().to_vec(), Next::Compare),
        (vec![7; 5_000], nothing(Outcome::Refused)),
        (Vec::new(), nothing(Outcome::Refused)),
    ] {
        let mut passage = passage(Use::Send);
        net.seal(&mut passage, b"hello").unwrap();
        let opened = passage.open(&frame);
        assert_eq!(passage.opened(&mut net.sessions, opened), next, "{frame:?}");
        // Nothing more is expected.
        let opened = passage.open(&frame);
        assert_eq!(passage.opened(&mut net.sessions, opened), nothing(Outcome::Refused));
    }
    let passage = passage(Use::Send);
    assert_eq!(passage.busy(), undone(Fault::Busy));
    assert_eq!(passage.unreached(), nothing(Outcome::Unreached));
    assert_eq!(passage.keyless(), nothing(Outcome::Undone));
}

#[test]
fn what_cannot_be_read_is_laid_at_the_clock_if_that_was_wrong() {
    let mut net = Net::new();
    let stopped = Outcome::Stopped { by: 1, destination: id(3) };
    net.stops = Some((1, Status::Unreadable));
    let mut unread = |usage| {
        let mut passage = passage(usage);
        net.sessions.close(PATH);
        assert_eq!(net.once(&mut passage).1, Next::Compare);
        passage
    };
    assert_eq!(unread(Use::Send).compared(Comparison::Same), nothing(stopped));
    assert_eq!(unread(Use::Look).compared(Comparison::TooFar(9)), undone(Fault::ClockWrong(9)));
    for usage in [Use::Send, READ] {
        assert_eq!(unread(usage).compared(Comparison::Moved), undone(Fault::ClockMoved));
    }
    // A question that names no time is asked again, once.
    let mut passage = unread(Use::Look);
    assert_eq!(passage.compared(Comparison::Moved), AT_ONCE);
    assert_eq!(net.once(&mut passage).1, Next::Compare);
    assert_eq!(passage.compared(Comparison::Moved), undone(Fault::ClockMoved));
}

#[test]
fn who_goes_no_further_is_reported_and_a_destination_that_refuses_answers() {
    let mut net = Net::new();
    for status in [
        Status::Unreachable,
        Status::Busy,
        Status::Unknown,
        Status::Malformed,
        Status::TooLarge,
        Status::BadRequest,
    ] {
        for by in 0..3 {
            net.stops = Some((by, status));
            let stopped = Outcome::Stopped { by, destination: id(3) };
            assert_eq!(net.once(&mut passage(READ)).1, nothing(stopped), "{status:?}");
        }
        net.stops = Some((3, status));
        let brought = match status {
            Status::TooLarge => Ok(Received::TooLarge),
            Status::Unreachable | Status::Busy => Err(Fault::Silent),
            _ => Err(Fault::Service),
        };
        assert_eq!(net.once(&mut passage(READ)).1, super::answered(brought), "{status:?}");
    }
    net.stops = None;
    assert_eq!(net.once(&mut passage(READ)), ([true; 4], answered()), "each of them left a session");
}

#[test]
fn what_cannot_be_sealed_is_laid_at_the_request_or_the_key() {
    let mut net = Net::new();
    let sealed = net.seal(&mut passage(Use::Send), &[0; 140_000]);
    assert_eq!(sealed, Err(undone(Fault::TooLarge(140_000))));
    for at in 0..4 {
        let mut net = Net::new();
        net.doors[at].key = [0; 32].into();
        let expected = if at < 3 { nothing(Outcome::BadKey { hop: id(at) }) } else { undone(Fault::Key) };
        assert_eq!(net.seal(&mut passage(Use::Send), b"hello"), Err(expected));
    }
}
