//! What somebody sees who watches the line between a client and its guards.
//!
//! Every byte of the client passes through relays that stand where its list says that the nodes are.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use session_client::{Account, Client, Cursors, Home};
use session_node::keystore;
use session_protocols::{
    Namespace, NodeId, Time,
    directory::{
        Certificate, Endpoint, Members, Progress, Snapshot, Timing, Transport, Trusted, Vote, snapshot::Entry,
    },
    frame::HEAD,
    onion::size::{Bucket, Position, answer_len, packet_len},
    path::{READY, State, Use},
};
use session_testnet::Options;

use crate::{
    support::{PATIENCE, Place, until},
    wire::{Way, Wire},
};

/// Enough for two guards and, on every path, two other hops and a destination.
const NODES: usize = 6;
/// How often each thing is done.
const ROUNDS: u8 = 5;
/// How long a message is kept, and how long one is that is not short.
const TTL: Duration = Duration::from_secs(3_600);
const LONG: usize = 3_000;
/// What Yamux says of itself, of round trips and of room, and whatever is asked: a head, and Noise's tag.
const UPKEEP: usize = 12 + 16;
/// What is sealed by Noise with a packet or an answer: the head of its frame, that of Yamux, and the tag.
const IN_NOISE: usize = HEAD + UPKEEP;
/// A message of Noise up to so long carries no packet and no answer: it sets the connection and its streams up.
const SETTING_UP: usize = 1_024;
/// What QUIC puts around a packet or an answer in two datagrams: heads, tags, and word of what has arrived, which varies
/// whatever is asked.
const IN_QUIC: RangeInclusive<usize> = 2 * 20..=2 * 64;
/// How far what is equally long may be apart for that.
const APART: usize = 48;
/// A datagram up to so long carries nothing but such word.
const WORD: usize = 100;

/// What a client does, and how many requests it makes.
const DEEDS: [(&str, usize); 4] =
    [("an empty poll", 1), ("a poll of one message", 1), ("a short store", 1), ("a text and its copy", 2)];

/// A client whose line is watched, and who takes part.
struct Scene {
    client: Client,
    wire: Wire,
    alice: Account,
    /// Has one message.
    bob: Account,
    /// Has none.
    carol: Account,
    dave: Account,
}

impl Scene {
    /// Waits until all is made that is done beside: the paths of each use. `answered` says whether all answers
    /// are there.
    async fn of(place: &Place, transport: Transport, answered: impl Fn(&Wire) -> bool) -> Self {
        let wire = Wire::default();
        let client = watched(place, transport, &wire).await;
        let [alice, bob, carol, dave] = std::array::from_fn(|_| Account::generate().unwrap());
        let scene = Self { client, wire, alice, bob, carol, dave };
        scene.client.send(&scene.alice, &scene.bob.id(), "short").await.unwrap();
        assert_eq!((scene.poll(&scene.bob).await, scene.poll(&scene.carol).await), (1, 0));
        let uses = [Use::Send, Use::Copy, Use::Read(scene.bob.id()), Use::Read(scene.carol.id())];
        until("paths to send and to read over, and their spares", async || {
            let paths = scene.client.paths();
            let ready = |usage| paths.iter().filter(|path| path.usage == usage).count() >= READY;
            let all = uses.iter().all(|usage| ready(*usage));
            let tried = paths.iter().all(|path| path.state == State::Ready) && answered(&scene.wire);
            (all && tried).then_some(())
        })
        .await;
        scene.wire.take();
        scene
    }

    /// Does each of [`DEEDS`]; returns what each shows.
    async fn act(&self, round: u8) -> [Vec<(Way, usize)>; DEEDS.len()] {
        assert_eq!(self.poll(&self.carol).await, 0);
        let empty = self.wire.take();
        assert_eq!(self.poll(&self.bob).await, 1);
        let one = self.wire.take();
        self.store(vec![round; 99]).await;
        let store = self.wire.take();
        self.client.send(&self.alice, &self.dave.id(), "short").await.unwrap();
        [empty, one, store, self.wire.take()]
    }

    async fn poll(&self, account: &Account) -> usize {
        let mut cursors = Cursors::new();
        self.client.retrieve(account, Namespace::INBOX, &mut cursors).await.unwrap().messages.len()
    }

    async fn store(&self, data: Vec<u8>) {
        self.client.store(&self.dave.id(), Namespace::INBOX, data, TTL, None).await.unwrap();
    }
}

/// A client that believes that nodes are where the capture stands.
///
/// It believes nothing but what the members have signed, so this signs with their keys. The network is called
/// one that is not local, where a list is good for an hour: no newer one is fetched meanwhile.
async fn watched(place: &Place, transport: Transport, wire: &Wire) -> Client {
    let folder = place.testnet.folder();
    let mut network = folder.network().unwrap();
    let path = place.path().join(format!("home-{transport:?}"));
    let home = || Some(Home::open(&path).unwrap());
    let options = session_client::Options { home: home(), ..Default::default() };
    let client = Client::connect(network.clone(), options).await.unwrap();
    let listed = until("a list of all nodes", async || {
        client.directory().await.ok().filter(|listed| listed.entries().len() == NODES)
    })
    .await;
    let name = network.name.clone();
    let now = Time::from_millis(client.now_ms());
    let period = Timing::PUBLIC.last(now);
    let (mut records, mut pairs) = (BTreeMap::new(), BTreeMap::new());
    for (index, node) in (1..).zip(&mut network.nodes) {
        let endpoints = node.addresses.iter().map(|address| address.parse::<Endpoint>().unwrap());
        let far = endpoints.into_iter().find(|endpoint| endpoint.transport == transport).unwrap();
        let near = wire.before(far).await;
        node.addresses = vec![near.to_string()];
        let pair = keystore::load(&folder.data(index)).unwrap();
        let mut record = listed.get(&node.id).unwrap().record().clone();
        (record.endpoints, record.time) = (vec![near], Timing::PUBLIC.border(period).as_millis());
        let signed = record.sign(&name, &pair);
        records.insert(node.id, Arc::new(Entry::new(record, signed)));
        pairs.insert(node.id, pair);
    }
    let prefixes: BTreeMap<_, _> = network.nodes.iter().map(|node| (node.id, node.prefix)).collect();
    let members = Members::new(&name, prefixes.clone());
    let snapshot = Snapshot::new(&name, period, records);
    let vote = Vote { period, hash: snapshot.hash().into(), members: members.id().into() };
    let sign = |(place, node): (u16, NodeId)| (place, vote.sign(&name, &pairs[&node]).signature);
    let certificate = Certificate { signatures: (0..).zip(members.nodes()).map(sign).collect() };
    let mut trusted = Trusted::new(name, Timing::PUBLIC, prefixes);
    let page = snapshot.page(None, Some(&certificate), 0);
    let Progress::Whole(found) = trusted.download().take(page).unwrap() else { panic!("one page") };
    trusted.believe(now, found).unwrap();
    let kept = std::fs::read_dir(path.join("directory")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(kept, trusted.encode().unwrap()).unwrap();
    network.local = false;
    // No other path is tried beside the first, however slow this machine is.
    let options = session_client::Options { home: home(), hedge: PATIENCE, ..Default::default() };
    Client::connect(network, options).await.unwrap()
}

async fn small_testnet() -> Place {
    let place = Place::new();
    let options = Options { nodes: Some(NODES), ..Options::default() };
    place.testnet.up(&options, &mut |_, _| {}).await.unwrap();
    place
}

/// What goes by is compared whole and in order: one message for the packet, one for its answer, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_short_stores_empty_polls_and_polls_of_one_message_look_alike_to_the_byte() {
    let place = small_testnet().await;
    let up = |bucket| (Way::Up, packet_len(bucket, Position::Guard) + IN_NOISE);
    let [small, larger, ..] = Bucket::ALL;
    let one = [up(small), (Way::Down, answer_len(small, Position::Guard) + IN_NOISE)];
    let answered = |wire: &Wire| wire.count(Way::Up, SETTING_UP) == wire.count(Way::Down, SETTING_UP);
    let scene = Scene::of(&place, Transport::Tcp, answered).await;
    let asked = |mut seen: Vec<(Way, usize)>| {
        seen.retain(|(_, length)| *length != UPKEEP);
        seen
    };
    for round in 0..ROUNDS {
        for ((deed, requests), seen) in DEEDS.into_iter().zip(scene.act(round).await) {
            assert_eq!(asked(seen), one.repeat(requests), "{deed}");
        }
    }
    // A longer one the capture tells apart.
    scene.store(vec![9; LONG]).await;
    assert_eq!(asked(scene.wire.take()), [up(larger), one[1]]);
}

/// QUIC speaks of what has arrived as it likes, and sends again what it takes for lost: both come on top, and so
/// the least of some rounds is compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_quic_they_look_alike_but_for_what_quic_says_of_itself() {
    let place = small_testnet().await;
    let scene = Scene::of(&place, Transport::Quic, |_| true).await;
    let sum = |seen: &[(Way, usize)], way| -> usize {
        let carries = |seen: &&(Way, usize)| seen.0 == way && seen.1 > WORD;
        seen.iter().filter(carries).map(|(_, length)| length).sum()
    };
    let mut least = DEEDS.map(|_| [usize::MAX; 2]);
    for round in 0..ROUNDS {
        for (least, seen) in least.iter_mut().zip(scene.act(round).await) {
            let [up, down] = *least;
            *least = [up.min(sum(&seen, Way::Up)), down.min(sum(&seen, Way::Down))];
        }
    }
    let [small, larger, ..] = Bucket::ALL;
    let one = [packet_len(small, Position::Guard), answer_len(small, Position::Guard)];
    for ((deed, requests), least) in DEEDS.into_iter().zip(least) {
        for (seen, carried) in least.into_iter().zip(one) {
            let around = (seen / requests).saturating_sub(carried + HEAD);
            assert!(IN_QUIC.contains(&around), "{deed}: {least:?} bytes where packets have {one:?}");
        }
    }
    for way in [0, 1] {
        let ones =
            DEEDS.iter().zip(&least).filter(|((_, requests), _)| *requests == 1).map(|(_, least)| least[way]);
        let (least, most) = (ones.clone().min().unwrap(), ones.max().unwrap());
        assert!(most - least <= APART, "from {least} to {most} bytes");
    }
    scene.store(vec![9; LONG]).await;
    assert!(sum(&scene.wire.take(), Way::Up) > packet_len(larger, Position::Guard));
}
