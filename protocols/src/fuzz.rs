//! What the fuzzers run: any bytes through each decoder and each machine.
//!
//! Plain functions that panic when a promise is broken: `scripts/fuzz` calls them with what
//! libFuzzer invents, and an ordinary test with everything that was found before.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "to panic is how a fuzzer speaks"
)]

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::{ByteArray, ByteBuf};

use crate::{
    KeyPair, NetworkName, NodeId, Prefix, Time,
    answer::{Answer, MAX_ANSWER},
    codec,
    directory::{
        self, Certificate, Download, Members, Progress, Roster, Share, SignedRecord, Timing, Trusted,
    },
    frame,
    identity::blake2b,
    member,
    names::lookup,
    notify::{self, Event, Subscribe},
    path::{self, Candidate, Outcome, Paths, Use, Want, guards::Guards},
    record::{Change, Life, Mutation, Record, Stamp},
    request::{self, Door, Request},
    snapshot as ledger,
    store::{Bucket, Fingerprint, Store, Usage, memory::MemoryStore},
    swarm::{Ask, MAX_MESSAGE, SwarmAnswer, SwarmRequest},
};

pub use crate::{door::fuzz as door, onion::fuzz as onion};

mod host;
#[cfg(test)]
mod tests;

/// A target: its name, and what it does with any bytes. It tells whether they were of any use: a seed
/// that is not leads the fuzzer nowhere.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All targets there are.
pub const TARGETS: &[Target] = &[
    ("request", request),
    ("answer", answer),
    ("swarm_request", swarm_request),
    ("swarm_answer", swarm_answer),
    ("notify", notify),
    ("lookup", lookup),
    ("ledger_page", ledger_page),
    ("directory", directory),
    ("snapshot", snapshot),
    ("frame", frame),
    ("codec", codec),
    ("record", record),
    ("member", member),
    ("onion_packet", onion::packet),
    ("onion_session", onion::session),
    ("onion_answer", onion::answer),
    ("guards", guards),
    ("door_onion", door::onion),
    ("door_json", door::json),
];

/// When the snapshot of the vectors can be used.
const KEPT: Time = Time::from_millis(1_700_000_000_000);

/// Bytes as a source of choices; zeros when it has run dry.
#[derive(Debug)]
struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `end`.
    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    /// At most so many bytes.
    fn some(&mut self, most: u8) -> &'a [u8] {
        let len = usize::from(self.below(most)).min(self.0.len());
        let (some, rest) = self.0.split_at(len);
        self.0 = rest;
        some
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn network() -> NetworkName {
    "test".parse().expect("a name")
}

const NOW: Time = Time::from_millis(1_700_000_000_000);

/// What decodes is said again in the same bytes, and those decode to the same.
fn round_trip<T>(bytes: &[u8], max: usize) -> Option<T>
where
    T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug,
{
    let value: T = codec::decode(bytes, max).ok()?;
    let encoded = codec::encode(&value);
    // Longer than what came it may be: somebody may have used shorter forms than we do.
    let again: T = codec::decode(&encoded, usize::MAX).expect("what we say can be read");
    assert_eq!(value, again);
    assert_eq!(codec::encode(&again), encoded);
    Some(value)
}

/// A storage request: read, said again, checked.
pub fn request(bytes: &[u8]) -> bool {
    let Some(request) = round_trip::<Request>(bytes, request::MAX_REQUEST) else { return false };
    for now in [Time::ZERO, NOW, Time(u64::MAX)] {
        for door in [Door::Native, Door::Json] {
            let _ = member::check_request(&network(), now, &request, door);
        }
    }
    true
}

/// A storage answer.
pub fn answer(bytes: &[u8]) -> bool {
    round_trip::<Answer>(bytes, MAX_ANSWER).is_some()
}

/// A question between members: read, said again, checked.
pub fn swarm_request(bytes: &[u8]) -> bool {
    let request = round_trip::<SwarmRequest>(bytes, MAX_MESSAGE);
    request.map(|request| member::check_ask(&network(), NOW, request)).is_some()
}

/// An answer between members: read, said again, checked.
pub fn swarm_answer(bytes: &[u8]) -> bool {
    let from = crate::NodeId::from_bytes([7; 32]);
    let answer = round_trip::<SwarmAnswer>(bytes, MAX_MESSAGE);
    let asked = SwarmRequest::new(3, Ask::Fingerprints);
    answer.map(|answer| member::check_answer(&network(), NOW, from, (&asked, &[]), answer)).is_some()
}

/// A subscription, its answer, an event.
pub fn notify(bytes: &[u8]) -> bool {
    let subscribe = round_trip::<Subscribe>(bytes, notify::MAX_REQUEST).is_some();
    let subscribed = round_trip::<notify::Answer>(bytes, notify::MAX_EVENT).is_some();
    let event = round_trip::<Event>(bytes, notify::MAX_EVENT).is_some();
    subscribe || subscribed || event
}

/// A lookup of a name, its answer.
pub fn lookup(bytes: &[u8]) -> bool {
    let request = round_trip::<lookup::Request>(bytes, lookup::MAX_REQUEST).is_some();
    let answer = round_trip::<lookup::Answer>(bytes, lookup::MAX_ANSWER).is_some();
    request || answer
}

/// A page of the ledger of a checkpoint, its request.
pub fn ledger_page(bytes: &[u8]) -> bool {
    let request = round_trip::<ledger::Request>(bytes, ledger::MAX_REQUEST).is_some();
    let answer = round_trip::<ledger::Answer>(bytes, ledger::MAX_ANSWER).is_some();
    request || answer
}

/// A directory's question, its answer, a record.
pub fn directory(bytes: &[u8]) -> bool {
    let request = round_trip::<directory::Request>(bytes, directory::MAX_REQUEST).is_some();
    let answer = round_trip::<directory::Answer>(bytes, directory::MAX_ANSWER).is_some();
    let record = round_trip::<directory::NodeRecord>(bytes, directory::MAX_RECORD).is_some();
    let signed = round_trip::<SignedRecord>(bytes, directory::MAX_RECORD);
    let signed = signed.map(|signed| signed.open(&network())).is_some();
    request || answer || record || signed
}

/// Pages and shares of the members whose keys grow from 3, 4 and 5, which may be known or not, and what
/// a client kept of them.
pub fn snapshot(bytes: &[u8]) -> bool {
    let share = round_trip::<Share>(bytes, directory::MAX_SHARE);
    let verified = share.is_some_and(|share| share.verify(&network()));
    let certificate = round_trip::<Certificate>(bytes, directory::MAX_ANSWER);
    let nodes: BTreeMap<_, _> =
        (3..6).map(|seed| (KeyPair::from_seed(&[seed; 32]).node_id(), Prefix::V4([127, 0, 1]))).collect();
    let mut client = Trusted::new(network(), Timing::PUBLIC, nodes.clone());
    let kept = client.restore(KEPT, bytes).is_ok();
    if kept {
        let again = client.encode().unwrap_or_default();
        let mut later = Trusted::new(network(), Timing::PUBLIC, nodes.clone());
        assert_eq!((later.restore(KEPT, &again), later.snapshot(KEPT)), (Ok(()), client.snapshot(KEPT)));
    }
    let members = || Arc::new(Members::new(&network(), nodes.clone()));
    if let Some(certificate) = &certificate {
        let _ = certificate.verify(&network(), &members(), 0, [0; 32]);
    }
    let Some(directory::Answer::Snapshot(page)) = round_trip(bytes, directory::MAX_ANSWER) else {
        return kept || verified || certificate.is_some();
    };
    let download = |base| Download::new(network(), Timing::PUBLIC, Roster::new(members()), None, base);
    match download(None).take(page.clone()) {
        Ok(Progress::More(more)) => assert_ne!(more.request(), download(None).request()),
        Ok(Progress::Whole(found)) => {
            let snapshot = found.snapshot;
            assert_eq!((snapshot.hash(), snapshot.period()), (*page.hash, page.period));
            // It can be handed on, whole and as changes of itself.
            let whole = snapshot.page(None, found.certificate.as_ref(), 0);
            let Ok(Progress::Whole(again)) = download(None).take(whole) else { panic!("not handed on") };
            assert_eq!(again.snapshot, snapshot);
            let same = snapshot.page(Some(&snapshot), None, 0);
            assert!(same.changes.is_empty());
            let download = download(Some(Arc::clone(&snapshot)));
            assert!(matches!(download.take(same), Ok(Progress::Whole(again)) if again.snapshot == snapshot));
        }
        Err(_) => {}
    }
    true
}

/// The head of a frame.
pub fn frame(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk() else { return false };
    let Some(decoded) = frame::Head::decode(*head, u32::MAX) else { return false };
    assert_eq!(decoded.encode(), *head);
    assert_eq!(frame::Head::decode(*head, decoded.len), Some(decoded));
    assert!(decoded.len == 0 || frame::Head::decode(*head, decoded.len - 1).is_none());
    true
}

/// Anything that passes the walk is taken, and what is taken can be said again.
pub fn codec(bytes: &[u8]) -> bool {
    let checked = codec::check(bytes, usize::MAX);
    let decoded = codec::decode::<serde_cbor::Value>(bytes, usize::MAX);
    assert!(checked.is_ok() || decoded.is_err(), "nothing gets past the walk");
    if let Ok(value) = decoded {
        let encoded = codec::encode(&value);
        assert_eq!(codec::check(&encoded, usize::MAX), Ok(()));
        assert_eq!(codec::decode::<serde_cbor::Value>(&encoded, usize::MAX), Ok(value));
    }
    let short = codec::check(bytes, bytes.len() / 2);
    assert!(bytes.is_empty() || matches!(short, Err(codec::DecodeError::TooLong { .. })));
    checked.is_ok()
}

/// One request about a message, as a record takes it in.
#[derive(Clone, Copy, Debug)]
enum Step {
    Life(Life),
    Change(Change),
}

fn step(feed: &mut Feed<'_>) -> Step {
    let (kind, time, other) = (feed.below(5), u64::from(feed.below(8)), feed.below(4));
    let stamp = |kind: u8| Stamp { time, digest: [kind.wrapping_mul(4).wrapping_add(other); 32] };
    // A stamp names one request, so all else in it follows from the stamp.
    let (timestamp, expiry) = (time + u64::from(other), time * 3 + u64::from(other) + 1);
    match kind {
        0 => Step::Life(Life::Unsigned { timestamp, expiry }),
        1 => Step::Life(Life::Stored { stamp: stamp(1), timestamp, expiry, row: 0 }),
        2 => Step::Life(Life::Deleted { stamp: stamp(2), row: 0 }),
        4 => Step::Life(Life::Revoked { stamp: stamp(4), row: 0 }),
        _ => Step::Change(Change { stamp: stamp(3), expiry, row: 0 }),
    }
}

fn joined<'a>(steps: impl Iterator<Item = &'a Step>) -> Record {
    let mut record = Record::default();
    for step in steps {
        match step {
            Step::Life(life) => record.join_life(*life),
            Step::Change(change) => record.join_change(*change),
        };
    }
    record
}

/// The same requests in any order, any of them twice, give one record.
pub fn record(bytes: &[u8]) -> bool {
    let mut feed = Feed(bytes);
    let mut steps = Vec::new();
    for _ in 0..feed.below(16) {
        steps.push(step(&mut feed));
    }
    let first = joined(steps.iter());
    assert_eq!(first, joined(steps.iter().chain(&steps)));
    assert_eq!(first, joined(steps.iter().rev()));
    let mut shuffled = steps.clone();
    for place in 1..shuffled.len() {
        let other = usize::from(feed.byte()) % (place + 1);
        shuffled.swap(place, other);
    }
    assert_eq!(first, joined(shuffled.iter()));
    // And parts that were joined apart can be joined.
    let (left, right) = shuffled.split_at(usize::from(feed.byte()) % (shuffled.len() + 1));
    let (mut left, right) = (joined(left.iter()), joined(right.iter()));
    right.life.map(|life| left.join_life(life));
    right.change.map(|change| left.join_change(change));
    assert_eq!(first, left);
    let deleted = steps.iter().any(|step| matches!(step, Step::Life(Life::Deleted { .. })));
    let later = |step: &Step| matches!(step, Step::Life(Life::Stored { .. } | Life::Revoked { .. }));
    let signed = steps.iter().any(later);
    assert!(!deleted || signed || first.deleted(), "nothing deleted comes back by itself");
    !steps.is_empty()
}

/// A member among members, any of which may lie.
pub fn member(bytes: &[u8]) -> bool {
    host::run(&mut Feed(bytes))
}

/// What [`Guards::encode`] makes: bytes that are whole, whoever made them.
#[derive(Serialize)]
struct Kept {
    version: u32,
    body: ByteBuf,
    check: ByteArray<16>,
}

/// A client's guards, and the machine that begins with them: as they are, and as whole bytes.
pub fn guards(bytes: &[u8]) -> bool {
    let network = [7; 32];
    let mut check = [0; 16];
    check.copy_from_slice(&blake2b(&[b"session guards", bytes])[..16]);
    let kept = Kept { version: 1, body: ByteBuf::from(bytes), check: ByteArray::new(check) };
    let mut read = false;
    for bytes in [bytes, &codec::encode(&kept)] {
        let Ok(guards) = Guards::decode(bytes, &network) else { continue };
        assert_eq!(Guards::decode(&guards.encode(&network), &network).as_ref(), Ok(&guards));
        client(guards, bytes.last().copied().unwrap_or_default());
        read = true;
    }
    read
}

/// Takes up guards, sends something, and lets time pass.
fn client(guards: Guards, seed: u8) {
    let candidate = |node: NodeId| {
        let bytes = node.as_bytes();
        let mut operator = [0; 20];
        operator.copy_from_slice(&bytes[..20]);
        let prefix = Prefix::V4([bytes[0], bytes[1], bytes[2]]);
        (node, Candidate { operator, prefix, open: true })
    };
    let others = (0..8).map(|number| NodeId::from_bytes([number; 32]));
    let nodes: BTreeMap<_, _> =
        guards.all().iter().map(|guard| guard.node).chain(others).map(candidate).collect();
    let mut paths = Paths::new(guards, Draws(u64::from(seed)));
    let mut now = NOW;
    paths.handle(now, path::Input::Nodes(nodes));
    let destination = NodeId::from_bytes([7; 32]);
    let want = Want { ticket: 1, usage: Use::Send, destination, not: Vec::new() };
    paths.handle(now, path::Input::Want(want));
    let mut answered = false;
    for step in 0..64 {
        while let Some(output) = paths.poll() {
            match output {
                path::Output::Probe { path, .. } => {
                    let lives = (step + usize::from(seed)).is_multiple_of(3);
                    let outcome = if lives { Outcome::Answered } else { Outcome::Unreached };
                    paths.handle(now, path::Input::Outcome { path, outcome });
                }
                path::Output::Use { .. } | path::Output::Fail { .. } => answered = true,
                path::Output::Keep(guards) => paths.handle(now, path::Input::Kept(guards)),
                path::Output::Closed { .. } | path::Output::HangUp { .. } => {}
            }
        }
        let Some(next) = paths.deadline() else { break };
        assert!(next > now, "nothing is due for ever");
        now = next;
        paths.handle(now, path::Input::Tick);
    }
    assert!(answered, "a want is answered in time");
    assert!(paths.guards().all().len() <= 16);
}

/// Draws that a seed fixes.
struct Draws(u64);

impl rand_core::TryRng for Draws {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|drawn| (drawn >> 32) as u32)
    }

    /// SplitMix64.
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let drawn = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(drawn ^ (drawn >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Counts everything in a store again from the records alone.
///
/// # Panics
///
/// When the books say otherwise, or when what a record names is not there.
pub fn recount(store: &MemoryStore) {
    let mut usage: BTreeMap<_, Usage> = BTreeMap::new();
    let mut prints: BTreeMap<Bucket, Fingerprint> = BTreeMap::new();
    for (account, hash, record) in store.records() {
        let usage = usage.entry(*account).or_default();
        usage.bytes += record.cost();
        usage.records += 1;
        prints.entry(Bucket::of(record.until())).or_default().add(&record.id(account, hash));
        let row = |row: u64| store.mutation(row).expect("memory does not fail");
        if let Some(place) = record.place {
            match (row(place.row), record.revoked()) {
                (Some(Mutation::Store(request)), None) => {
                    assert_eq!((request.hash(), request.data.len()), (*hash, place.size as usize));
                }
                (Some(Mutation::Revoke { request, .. }), Some(_)) => {
                    assert!(request.tokens.iter().any(|token| token.hash(account) == *hash));
                    assert_eq!(place.namespace, crate::request::REVOCATIONS);
                }
                _ => panic!("the bytes of {hash} are gone"),
            }
            let found = store.page(account, place.namespace, place.sequence - 1, 1);
            assert_eq!(found.expect("memory does not fail"), [(place.sequence, *hash)]);
        }
        let signed = match record.life {
            Some(Life::Stored { row, .. } | Life::Deleted { row, .. } | Life::Revoked { row, .. }) => {
                Some(row)
            }
            Some(Life::Unsigned { .. }) | None => None,
        };
        for named in signed.into_iter().chain(record.counting_change().map(|change| change.row)) {
            assert!(row(named).is_some(), "the evidence for {hash} is gone");
        }
    }
    for charge in store.evidence() {
        usage.entry(charge.account).or_default().bytes += charge.bytes;
    }
    for (account, usage) in &usage {
        assert_eq!(store.usage(account).expect("memory does not fail"), *usage);
    }
    assert_eq!(store.occupied(), usage.values().map(|usage| usage.bytes).sum::<u64>());
    assert_eq!(store.fingerprints(), prints.into_iter().collect::<Vec<_>>());
}
