//! What the fuzzers run on the onion: any bytes as a packet, as an answer, as what somebody sealed who means no
//! good, and laid over what was sealed well. Few of them are enough for the largest bucket, whose packets and
//! answers are several Noise messages long.
//!
//! Keys and all randomness are those of `vectors/onion.json`, so that its packets and answers open here.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "to panic is how a fuzzer speaks"
)]

use core::convert::Infallible;
use std::collections::BTreeSet;

use rand_core::TryRng;
use zeroize::Zeroizing;

use super::{
    keys::Keyring,
    layer::{self, Door, Handshake, OpenedFirstAnswer, SessionId, Way},
    noise::Suite,
    prologue,
    relay::{Neighbour, Refusal, Relay, Step},
    replay::stamp,
    size::{Bucket, Position, ROUTE, answer_len, answer_text_len, packet_len, packet_shape, text_len},
    wrap::{self, ClientSession, Entry, Question, Return, Service, Stopped},
};
use crate::{KeyPair, NetworkName, NodeId, Time};

const NOW: Time = Time::from_millis(1_700_000_000_000);
/// What every hop's neighbour is called here.
const NEIGHBOUR: u8 = 1;
const SMALL: Bucket = Bucket::ALL[0];
/// Makes a client's randomness another.
const SALT: u8 = 8;

fn network() -> NetworkName {
    "test".parse().expect("a name")
}

fn node(at: u8) -> NodeId {
    KeyPair::from_seed(&[3 + at; 32]).node_id()
}

fn keys(at: u8) -> Keyring {
    Keyring::new(NOW, [0x40 + at; 32]).expect("any bytes are a key")
}

const fn suite(at: u8) -> Suite {
    if at.is_multiple_of(2) { Suite::Aes } else { Suite::ChaCha }
}

/// The client's ephemeral key for a hop, and the body's.
fn random(at: u8, salt: u8) -> Zeroizing<[u8; 64]> {
    let mut random = [0x50 + salt + at; 64];
    random[32..].fill(0x60 + salt + at);
    Zeroizing::new(random)
}

/// A hop draws equal bytes, and the next ones the next time.
struct Counting(u8);

impl Counting {
    const fn of(at: u8) -> Self {
        Self(0x80 + 0x10 * at)
    }
}

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(self.0);
        self.0 = self.0.wrapping_add(1);
        Ok(())
    }
}

/// One hop, and whoever sends to it.
struct Hop {
    at: u8,
    position: Position,
    from: Neighbour<u8>,
    relay: Relay<u8, Counting>,
}

impl Hop {
    fn new(position: Position) -> Self {
        let at = 3 - u8::try_from(Position::ALL.iter().position(|one| *one == position).unwrap_or(0))
            .expect("one of four");
        let nodes: BTreeSet<_> = (0..4).map(node).collect();
        let relay = Relay::new(network(), node(at), keys(at), nodes, 0, Counting::of(at));
        let from = Neighbour { key: NEIGHBOUR, node: position != Position::Guard, prefix: None };
        Self { at, position, from, relay }
    }

    /// Seals a text for it, as a first packet.
    fn first(&self, text: &[u8]) -> (Vec<u8>, Handshake) {
        let keys = keys(self.at);
        let door = Door { suite: suite(self.at), day: keys.current.day(), public: keys.current.key.public() };
        layer::seal_first(&prologue(&network(), &node(self.at)), &door, stamp(NOW), &random(self.at, 0), text)
            .expect("the key is one")
    }

    /// Takes a packet, and answers whatever it wants with these bytes.
    fn take(&mut self, packet: &[u8], with: &[u8]) -> Result<Vec<u8>, Refusal> {
        let opening = self.relay.arrive(self.from, packet.to_vec())?;
        let (bucket, _) = packet_shape(packet.len()).expect("others are refused on arrival");
        let step = opening.run().and_then(|opened| self.relay.opened(NOW, self.from, opened));
        let sealed = step.and_then(|step| match step {
            Step::Forward { to, packet, back } => {
                assert!(self.relay.knows(&to) && to != node(self.at));
                let next = self.position.next().expect("the destination forwards nothing");
                assert_eq!(packet_shape(packet.len()), Some((bucket, next)));
                back.relay(Some(with))
            }
            Step::Deliver { request, back, .. } => {
                assert!(self.position == Position::Destination && request.len() <= bucket.capacity());
                back.answer(with)
            }
            Step::Turn { status, back } => back.turn(status),
        });
        let answer = match sealed {
            Ok(sealed) => Ok(self.relay.leave(NOW, self.from, sealed)),
            Err(refusal) => {
                self.relay.forget(self.from);
                Err(refusal)
            }
        };
        assert_eq!(self.relay.under_way(), 0);
        if let Ok(answer) = &answer {
            assert!(Bucket::ALL.iter().any(|bucket| answer_len(*bucket, self.position) == answer.len()));
            let again = self.relay.arrive(self.from, packet.to_vec()).and_then(|opening| {
                let step = opening.run().and_then(|opened| self.relay.opened(NOW, self.from, opened));
                self.relay.forget(self.from);
                step
            });
            assert_eq!(again.map(|_| ()), Err(Refusal::Unreadable), "nothing is taken twice");
        }
        answer
    }
}

/// A position and a bucket that these bytes choose, and what is left of them as a text of that size.
fn chosen(bytes: &[u8], length: fn(Bucket, Position) -> usize) -> Option<(Bucket, Position, Vec<u8>)> {
    let (choice, text) = bytes.split_first()?;
    let position = Position::ALL[usize::from(choice % 4)];
    let bucket = Bucket::ALL[usize::from(choice / 4 % 4)];
    let mut text = text.to_vec();
    text.resize(length(bucket, position), 0);
    Some((bucket, position, text))
}

/// Something that was sealed with these bytes laid over it, from where the last of them say; none if that
/// changes nothing.
fn spoilt(sealed: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let place = bytes.last_chunk::<3>()?.iter().fold(0, |place, byte| place << 8 | usize::from(*byte));
    let mut spoilt = sealed.to_vec();
    spoilt[place % sealed.len()..].iter_mut().zip(bytes).for_each(|(sealed, byte)| *sealed ^= byte);
    Some(spoilt).filter(|spoilt| *spoilt != sealed)
}

/// A packet for a hop that was never entered: as it is, and as the text of a layer.
pub fn packet(bytes: &[u8]) -> bool {
    let taken = packet_shape(bytes.len())
        .is_some_and(|(_, position)| Hop::new(position).take(bytes, b"answer").is_ok());
    let Some((_, position, text)) = chosen(bytes, text_len) else { return taken };
    let mut hop = Hop::new(position);
    let (packet, state) = hop.first(&text);
    if let Some(spoilt) = spoilt(&packet, bytes) {
        assert_eq!(Hop::new(position).take(&spoilt, b"answer"), Err(Refusal::Unreadable));
    }
    let Ok(answer) = hop.take(&packet, bytes) else { return taken };
    if let Some(spoilt) = spoilt(&answer, bytes) {
        let (_, state) = hop.first(&text);
        assert!(layer::open_first_answer(state, &spoilt).is_err(), "a changed answer is no answer");
    }
    assert!(layer::open_first_answer(state, &answer).is_ok(), "whoever asks can read the answer");
    assert_eq!(hop.relay.sessions(), 1);
    true
}

/// The same for a hop that keeps a session: as it is, and as the text of its packet of any number.
pub fn session(bytes: &[u8]) -> bool {
    let entered = |position| {
        let mut hop = Hop::new(position);
        let mut text = vec![0; text_len(SMALL, position)];
        if position != Position::Destination {
            text[..32].copy_from_slice(node((hop.at + 1) % 4).as_bytes());
        }
        let (packet, state) = hop.first(&text);
        let answer = hop.take(&packet, b"").expect("an honest packet");
        (hop, layer::open_first_answer(state, &answer).expect("an honest answer"))
    };
    let taken = packet_shape(bytes.len())
        .is_some_and(|(_, position)| entered(position).0.take(bytes, b"answer").is_ok());
    let Some((number, rest)) = bytes.split_first_chunk::<5>() else { return taken };
    let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let Some((bucket, position, text)) = chosen(rest, text_len) else { return taken };
    let (mut hop, OpenedFirstAnswer { id, keys, .. }) = entered(position);
    let packet = layer::seal_session(&keys, id, number, &text, packet_len(bucket, position));
    let packet = packet.expect("five bytes are a number");
    if let Some(spoilt) = spoilt(&packet, rest) {
        assert_eq!(hop.take(&spoilt, b"answer"), Err(Refusal::Unreadable));
    }
    match hop.take(&packet, bytes) {
        Ok(answer) => {
            assert_ne!(number, 0, "the first packet was number 0");
            if let Some(spoilt) = spoilt(&answer, rest) {
                assert!(layer::open_session_answer(&keys, number, &spoilt).is_err());
            }
            assert!(layer::open_session_answer(&keys, number, &answer).is_ok());
            true
        }
        Err(_) => taken,
    }
}

/// A client's request, as packet and as what opens its answer of this bucket; by sessions if there are any.
fn asked(salt: u8, answer: Bucket, sessions: Option<&mut [ClientSession; 4]>) -> (Vec<u8>, Return) {
    let keys: [_; 4] = core::array::from_fn(|at| keys(at as u8));
    let mut sessions = sessions.map(|sessions| sessions.iter_mut());
    let hops = core::array::from_fn(|place| {
        let (at, current) = (place as u8, &keys[place].current);
        let first = Door { suite: suite(at), day: current.day(), public: current.key.public() };
        let entry = match sessions.as_mut().and_then(Iterator::next) {
            Some(session) => Entry::Session(session),
            None => Entry::First { door: first, random: random(at, salt) },
        };
        wrap::Hop { node: node(at), entry }
    });
    let question = Question { service: Service::Storage, request: b"request", answer, stamp: stamp(NOW) };
    wrap::wrap(&network(), hops, &question).expect("it is small")
}

/// What reaches the client when one hop answers a first packet with this text, and those before it pass that on.
fn answered(mut packet: Vec<u8>, bucket: Bucket, position: Position, text: Vec<u8>) -> Vec<u8> {
    let mut states = Vec::new();
    for (at, hop) in (0..4_u8).zip(Position::ALL.into_iter().rev().take_while(|hop| *hop >= position)) {
        let Ok(Way::First(first)) = layer::way(&packet) else { panic!("a first packet") };
        let drawn = Zeroizing::new([Counting::of(at).0 + 1; 32]);
        let opened =
            layer::open_first(&prologue(&network(), &node(at)), &keys(at).current.key, &first, drawn, packet)
                .expect("an honest packet");
        packet = opened.text.get(ROUTE..).unwrap_or_default().to_vec();
        packet.truncate(hop.next().map_or(0, |next| packet_len(SMALL, next)));
        states.push((at, hop, opened.state));
    }
    let mut text = text;
    let mut answer = Vec::new();
    for (at, hop, state) in states.into_iter().rev() {
        let drawn = Counting::of(at).0;
        let length = answer_len(bucket, hop);
        let sealed =
            layer::seal_first_answer(state, SessionId([drawn + 2; 8]), &[drawn + 3; 32], &text, length);
        answer = sealed.expect("it fits").0;
        text = [&[0][..], &answer].concat();
    }
    answer
}

/// An answer for a client: as it is, to first packets and to those of sessions, and as what one hop says in a
/// layer of its own.
pub fn answer(bytes: &[u8]) -> bool {
    let (packet, back) = asked(0, SMALL, None);
    let mut read = back.open(bytes).is_ok();
    let nothing = vec![0; answer_text_len(SMALL, Position::Destination)];
    let honest = answered(packet, SMALL, Position::Destination, nothing);
    let opened = asked(0, SMALL, None).1.open(&honest).expect("an honest answer");
    assert_eq!(opened.outcome, Ok(Vec::new()));
    let mut sessions = opened.sessions.map(|session| session.expect("every hop keeps one"));
    read |= asked(0, SMALL, Some(&mut sessions)).1.open(bytes).is_ok();
    let Some((bucket, position, text)) = chosen(bytes, answer_text_len) else { return read };
    // Other randomness: what hops beyond it have sealed fits no answer that is known.
    let (packet, back) = asked(SALT, bucket, None);
    let answer = answered(packet, bucket, position, text);
    if let Some(spoilt) = spoilt(&answer, bytes) {
        assert!(asked(SALT, bucket, None).1.open(&spoilt).is_err(), "a changed answer is no answer");
    }
    let opened = back.open(&answer).expect("the guard speaks for itself");
    let by = Position::ALL.into_iter().rev().take_while(|hop| *hop > position).count();
    assert!(opened.sessions.iter().take(by + 1).all(Option::is_some));
    match opened.outcome {
        Ok(_) => assert_eq!(position, Position::Destination, "nobody answers for the destination"),
        Err(Stopped { by: who, .. }) => assert_eq!(who, by, "whoever speaks is named"),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_chooses_any_bucket_at_any_position() {
        let shapes: BTreeSet<_> = (0..16)
            .filter_map(|choice| chosen(&[choice], text_len))
            .map(|(bucket, position, text)| (bucket, position, text.len()))
            .collect();
        let all = Bucket::ALL.into_iter().flat_map(|bucket| Position::ALL.map(|position| (bucket, position)));
        let all = all.map(|(bucket, position)| (bucket, position, text_len(bucket, position)));
        assert_eq!(shapes, all.collect());
    }

    #[test]
    fn what_is_laid_over_a_packet_changes_it_where_the_last_bytes_say() {
        let [.., large] = Bucket::ALL;
        let sealed = vec![0; packet_len(large, Position::Guard)];
        let changed = spoilt(&sealed, &[5, 0x01, 0x04, 0x00]).expect("it changes something");
        let places: Vec<_> = changed.iter().enumerate().filter(|(_, byte)| **byte != 0).collect();
        assert_eq!(places, [(0x1_0400, &5), (0x1_0401, &1), (0x1_0402, &4)]);
        assert_eq!(spoilt(&sealed, &[0, 0, 0, 0]), None);
    }
}
