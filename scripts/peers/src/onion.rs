//! The onion's crypto beside sphinx-packet, alternately: one packet built, one layer peeled.
//!
//! Both sides carry 2 KiB over three hops. Sphinx is another construction: it has no sessions, so
//! the row about a kept session compares what each costs where the other has nothing of the kind.

use std::{collections::BTreeSet, hint::black_box, time::Instant};

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use session_protocols::{
    NetworkName, NodeId, Time,
    onion::{
        keys::Keyring,
        layer::Door,
        noise::Suite,
        relay::{Neighbour, Relay, Step},
        replay::stamp,
        size::Bucket,
        wrap::{Entry, Hop, Question, Service, wrap},
    },
};
use sphinx_packet::{
    SphinxPacket, SphinxPacketBuilder,
    header::delays,
    route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes},
};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::table::{Row, median};

mod noise;

pub const HELP: &str = "\
usage: ./scripts/bench onion [--json] [--packets N] [--repeats N]

  --json        one line of JSON instead of the table
  --packets     packets in each run (2000)
  --repeats     runs of each side; the median counts (7)
";

const REQUEST: [u8; 2_048] = [7; 2_048];
const NOW: Time = Time::from_millis(1_790_000_000_000);
const CLIENT: Neighbour<u16> = Neighbour { key: 200, node: false, prefix: None };
/// Who else has a session at the hop that is measured: nearly as many as it gives to strangers.
const STRANGERS: u16 = 8_000;
/// The first of them.
const STRANGER: u16 = 1_000;
/// Nodes of the network.
const NODES: u64 = 2_000;

/// Measures what `words` ask for.
pub fn run(words: &[String]) -> Result<Vec<Row>, String> {
    let (mut packets, mut repeats) = (2_000, 7);
    for pair in words.chunks(2) {
        let [word, value] = pair else { return Err(format!("{} wants a value", pair[0])) };
        let number =
            value.parse::<usize>().map_err(|_| format!("{word} wants a number, not {value}"))?.max(1);
        match word.as_str() {
            "--packets" => packets = number,
            "--repeats" => repeats = number,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    let (mut build, mut peel, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sphinx_build, mut sphinx_peel) = (Vec::new(), Vec::new());
    for repeat in 0..repeats {
        let mut sides = [true, false];
        if repeat % 2 == 1 {
            sides.reverse();
        }
        for own in sides {
            if own {
                let times = ours(packets, repeat as u64);
                eprintln!(
                    "ours   build {:.1} us, peel {:.1} us, session {:.2} us",
                    times.0, times.1, times.2
                );
                build.push(times.0);
                peel.push(times.1);
                kept.push(times.2);
            } else {
                let times = sphinx(packets);
                eprintln!("sphinx build {:.1} us, peel {:.1} us", times.0, times.1);
                sphinx_build.push(times.0);
                sphinx_peel.push(times.1);
            }
        }
    }
    let row = |what: &str, ours, peer, wanted| Row {
        what: what.to_owned(),
        ours,
        peer,
        unit: "us",
        more_is_better: false,
        wanted,
    };
    let peer = median(sphinx_peel);
    let mut rows = vec![
        row("peel one layer of a first packet, 2 KiB", median(peel), peer, 3.5),
        row("build a first packet of three layers, 2 KiB", median(build), median(sphinx_build), 3.0),
        row("one packet of a kept session, 2 KiB, AES-GCM", median(kept), peer, 100.0),
    ];
    rows.extend(noise::run(packets, repeats));
    Ok(rows)
}

/// Microseconds to build a packet of three handshakes and a session, to peel a handshake, and to
/// peel a session's packet, lookup and all.
fn ours(packets: usize, seed: u64) -> (f64, f64, f64) {
    let network: NetworkName = "bench".parse().expect("a name");
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let node = |at: u8| NodeId::from_bytes([at + 1; 32]);
    let others = (4..NODES).map(|number| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    });
    let nodes: BTreeSet<_> = (0..4).map(node).chain(others).collect();
    let keys: Vec<_> = (0..4).map(|at| Keyring::new(NOW, [at + 50; 32]).expect("a key")).collect();
    let mut fresh = |at: u8| {
        let key = &keys[usize::from(at)].current;
        let mut bytes = Zeroizing::new([0; 64]);
        random.fill_bytes(bytes.as_mut_slice());
        let door = Door { suite: Suite::Aes, day: key.day(), public: key.key.public() };
        Entry::First { door, random: bytes }
    };
    let question = Question {
        service: Service::Storage,
        request: &REQUEST,
        answer: Bucket::fitting(REQUEST.len()).expect("a bucket"),
        stamp: stamp(NOW),
    };
    let relay = |at: u8| {
        let (keys, random) =
            (keys[usize::from(at)].clone(), ChaCha20Rng::seed_from_u64(seed + u64::from(at)));
        Relay::new(network.clone(), node(at), keys, nodes.clone(), 0, random)
    };
    let mut relays: Vec<_> = (0..4).map(relay).collect();
    let hops = [0, 1, 2, 3].map(|at| Hop { node: node(at), entry: fresh(at) });
    let (packet, back) = wrap(&network, hops, &question).expect("a packet");
    let answer = pass(&mut relays, CLIENT, packet);
    let [kept, .., inner] = back.open(&answer).expect("it opens").sessions;
    let (mut kept, mut inner) = (kept.expect("a session"), inner.expect("a session"));
    // As at a busy hop: what is looked up stands among many. No stamp's room is taken by them all.
    for stranger in 0..STRANGERS {
        let from = Neighbour { key: STRANGER + stranger, node: false, prefix: None };
        let hops = [0, 1, 2, 3].map(|at| Hop { node: node(at), entry: fresh(at) });
        let question = Question { stamp: stamp(NOW) - 1 - u32::from(stranger % 8), ..question };
        let (packet, back) = wrap(&network, hops, &question).expect("a packet");
        let answer = pass(&mut relays, from, packet);
        assert!(back.open(&answer).expect("it opens").sessions[0].is_some(), "room for a session");
    }
    let guard = &mut relays[0];

    let start = Instant::now();
    let first: Vec<_> = (0..packets)
        .map(|_| {
            let hops = [
                Hop { node: node(0), entry: fresh(0) },
                Hop { node: node(1), entry: fresh(1) },
                Hop { node: node(2), entry: fresh(2) },
                Hop { node: node(3), entry: Entry::Session(&mut inner) },
            ];
            wrap(&network, hops, &question).expect("a packet")
        })
        .collect();
    let build = micros(start, packets);

    let mut peel = 0.0;
    for (packet, _) in first {
        let start = Instant::now();
        let opened = guard.arrive(CLIENT, packet).expect("it arrives").run().expect("it opens");
        black_box(guard.opened(NOW, CLIENT, opened).expect("it is new"));
        guard.forget(CLIENT);
        peel += start.elapsed().as_secs_f64();
    }
    let peel = peel * 1e6 / packets as f64;

    let mut session = 0.0;
    for _ in 0..packets {
        let hops = [
            Hop { node: node(0), entry: Entry::Session(&mut kept) },
            Hop { node: node(1), entry: fresh(1) },
            Hop { node: node(2), entry: fresh(2) },
            Hop { node: node(3), entry: Entry::Session(&mut inner) },
        ];
        let (packet, _) = wrap(&network, hops, &question).expect("a packet");
        let start = Instant::now();
        let opened = guard.arrive(CLIENT, packet).expect("it arrives").run().expect("it opens");
        black_box(guard.opened(NOW, CLIENT, opened).expect("it is new"));
        guard.forget(CLIENT);
        session += start.elapsed().as_secs_f64();
    }
    (build, peel, session * 1e6 / packets as f64)
}

/// Takes a packet through the hops from this one on, and brings their answer back.
fn pass(relays: &mut [Relay<u16, ChaCha20Rng>], from: Neighbour<u16>, packet: Vec<u8>) -> Vec<u8> {
    let (relay, rest) = relays.split_first_mut().expect("a hop");
    let opened = relay.arrive(from, packet).expect("it arrives").run().expect("it opens");
    let sealed = match relay.opened(NOW, from, opened).expect("it is new") {
        Step::Forward { packet, back, .. } => {
            back.relay(Some(&pass(rest, Neighbour { key: 0, node: true, prefix: None }, packet)))
        }
        Step::Deliver { request, back, .. } => back.answer(&request),
        Step::Turn { .. } => panic!("it goes on"),
    };
    relay.leave(NOW, from, sealed.expect("an answer"))
}

/// The same for Sphinx: microseconds to build for three hops, and to process at one.
fn sphinx(packets: usize) -> (f64, f64) {
    let secrets: Vec<_> = (0..3).map(|_| StaticSecret::random()).collect();
    let route: Vec<_> = (0_u8..3)
        .zip(&secrets)
        .map(|(at, secret)| Node::new(NodeAddressBytes::from_bytes([at; 32]), PublicKey::from(secret)))
        .collect();
    let delays = delays::generate_from_average_duration(3, std::time::Duration::from_millis(10));
    let destination = Destination::new(DestinationAddressBytes::from_bytes([3; 32]), [4; 16]);
    let builder = SphinxPacketBuilder::new().with_payload_size(REQUEST.len() + 17);
    let start = Instant::now();
    let built: Vec<SphinxPacket> = (0..packets)
        .map(|_| builder.build_packet(REQUEST, &route, &destination, &delays).expect("a packet"))
        .collect();
    let build = micros(start, packets);
    let start = Instant::now();
    for packet in built {
        black_box(packet.process(&secrets[0]).expect("it opens"));
    }
    (build, micros(start, packets))
}

fn micros(start: Instant, count: usize) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}
