//! The backends that snow can have, alternately: a hop's handshake, and a packet of 2 KiB after it.

use std::{hint::black_box, time::Instant};

use session_protocols::onion::noise::{self, OnionKey, Suite};
use snow::{
    Builder, HandshakeState, StatelessTransportState,
    resolvers::{BoxedCryptoResolver, DefaultResolver, FallbackResolver, RingResolver},
};
use zeroize::Zeroizing;

use super::{REQUEST, micros};
use crate::table::{Row, median};

const PROLOGUE: &[u8] = b"bench";

/// Who computes.
#[derive(Clone, Copy)]
enum Backend {
    Ours,
    /// snow's own choice: RustCrypto and curve25519-dalek.
    Default,
    /// snow's other one: ring, where it has the primitive, and the first for the rest, X25519 among them.
    Ring,
}

/// Measures each backend with each cipher.
pub fn run(packets: usize, repeats: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (suite, cipher) in [(Suite::Aes, "AES-GCM"), (Suite::ChaCha, "ChaCha20")] {
        let backends = [Backend::Ours, Backend::Default, Backend::Ring];
        let mut times = backends.map(|_| (Vec::new(), Vec::new()));
        for repeat in 0..repeats {
            for turn in 0..backends.len() {
                let at = (repeat + turn) % backends.len();
                let (handshake, packet) = measure(backends[at], suite, packets);
                times[at].0.push(handshake);
                times[at].1.push(packet);
            }
        }
        let [ours, default, ring] = times.map(|(handshakes, packets)| (median(handshakes), median(packets)));
        let row = |what: String, ours, peer| Row {
            what,
            ours,
            peer,
            unit: "us",
            more_is_better: false,
            wanted: 1.0,
        };
        for (name, peer) in [("snow's default", default), ("snow with ring", ring)] {
            rows.push(row(format!("handshake, {cipher}, beside {name}"), ours.0, peer.0));
            rows.push(row(format!("kept session, {cipher}, beside {name}"), ours.1, peer.1));
        }
    }
    rows
}

/// Microseconds for a handshake of both sides, from their keys to a session, and for a packet of one,
/// sealed and opened.
fn measure(backend: Backend, suite: Suite, packets: usize) -> (f64, f64) {
    let key = OnionKey::from_bytes([7; 32]).expect("a key");
    let start = Instant::now();
    let mut session = None;
    for number in 0..packets {
        session = Some(black_box(shake(backend, suite, &key, number as u64)));
    }
    let handshake = micros(start, packets);
    let (here, there) = session.expect("a session");
    let (mut sealed, mut opened) = (vec![0; REQUEST.len() + 16], vec![0; REQUEST.len() + 16]);
    let start = Instant::now();
    for number in 0..packets as u64 {
        let length = here.write_message(number, &REQUEST, &mut sealed).expect("it is sealed");
        let length = there.read_message(number, &sealed[..length], &mut opened).expect("it is opened");
        black_box(&opened[..length]);
    }
    (handshake, micros(start, packets))
}

fn shake(
    backend: Backend,
    suite: Suite,
    key: &OnionKey,
    number: u64,
) -> (StatelessTransportState, StatelessTransportState) {
    let (mut here, mut there) = sides(backend, suite, key, number);
    let mut buffers = [[0; 256]; 2];
    let [message, read] = &mut buffers;
    let length = here.write_message(&[], message).expect("a message");
    there.read_message(&message[..length], read).expect("it is read");
    let length = there.write_message(&[], message).expect("an answer");
    here.read_message(&message[..length], read).expect("it is read");
    let session = |side: HandshakeState| side.into_stateless_transport_mode().expect("a session");
    (session(here), session(there))
}

fn sides(backend: Backend, suite: Suite, key: &OnionKey, number: u64) -> (HandshakeState, HandshakeState) {
    let resolver = || -> BoxedCryptoResolver {
        match backend {
            Backend::Ring => {
                Box::new(FallbackResolver::new(Box::new(RingResolver), Box::new(DefaultResolver)))
            }
            Backend::Ours | Backend::Default => Box::new(DefaultResolver),
        }
    };
    if matches!(backend, Backend::Ours) {
        let ephemeral = |side: u8| {
            let mut bytes = Zeroizing::new([side; 32]);
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            bytes
        };
        let here = noise::initiator(suite, PROLOGUE, key.public(), ephemeral(1)).expect("a side");
        let there = noise::responder(suite, PROLOGUE, key, ephemeral(2)).expect("a side");
        return (here, there);
    }
    let builder = || Builder::with_resolver(suite.params().parse().expect("a pattern"), resolver());
    let here =
        builder().remote_public_key(key.public()).expect("a key").prologue(PROLOGUE).expect("a prologue");
    let there =
        builder().local_private_key(key.as_bytes()).expect("a key").prologue(PROLOGUE).expect("a prologue");
    (here.build_initiator().expect("a side"), there.build_responder().expect("a side"))
}
