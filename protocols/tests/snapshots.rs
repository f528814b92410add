//! The members of a network agree on snapshots: loss, delay, partitions and liars, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it finds something else"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_core::Rng;
use serde_bytes::ByteArray;
use session_protocols::{
    KeyPair, NetworkName, NodeId, Prefix, Span, Time,
    directory::{
        Answer, Certificate, Directory, Distrust, Download, DownloadError, Found, Input, KeptError,
        MAX_AHEAD, Members, NodeRecord, OnionDoor, Output, Page, Progress, Request, Share, SignedRecord,
        Snapshot, Timing, Trusted, Vote,
        snapshot::{Entry, MAX_AGE},
    },
};

const TIMING: Timing = Timing::PUBLIC;
/// A border, and the hour that ends there.
const HOUR: u64 = 480_000;

/// What a simulated network suffers from.
#[derive(Clone, Debug)]
struct Weather {
    nodes: u8,
    /// Of a hundred messages, for each receiver anew.
    loss: u64,
    delay: Span,
    /// The last few of the nodes lie.
    liars: u8,
    /// Until then the nodes with even and with odd numbers do not hear each other.
    apart_until: Time,
    seed: u64,
}

impl Weather {
    const fn fair(nodes: u8) -> Self {
        Self { nodes, loss: 0, delay: Span::millis(300), liars: 0, apart_until: Time::ZERO, seed: 1 }
    }
}

#[derive(Clone, Debug)]
enum Message {
    Record(SignedRecord),
    Share(Share),
    Ask {
        from: usize,
        id: u64,
        request: Request,
    },
    Answer {
        id: u64,
        answer: Box<Answer>,
    },
    /// Nothing came.
    Late {
        id: u64,
    },
    Wake,
}

struct Node {
    pair: KeyPair,
    directory: Directory,
    fetching: BTreeMap<u64, (usize, Download)>,
    lies: Option<Lies>,
    woken: Option<Time>,
}

/// What a liar says: snapshots with bad records under good signatures, and no word about others.
#[derive(Default)]
struct Lies {
    snapshots: BTreeMap<[u8; 32], Snapshot>,
    told: u64,
}

struct Net {
    weather: Weather,
    network: NetworkName,
    random: ChaCha8Rng,
    now: Time,
    queue: BTreeMap<(Time, u64), (usize, Message)>,
    sequence: u64,
    nodes: Vec<Node>,
    places: BTreeMap<NodeId, usize>,
    members: BTreeMap<NodeId, Prefix>,
    /// When each node had the snapshot of each period.
    certified: BTreeMap<(u64, usize), Time>,
    fetches: usize,
}

impl Net {
    fn new(weather: Weather) -> Self {
        let network: NetworkName = "test".parse().unwrap();
        let pairs: Vec<_> = (1..=weather.nodes).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
        let members: BTreeMap<_, _> = pairs
            .iter()
            .zip(1..)
            .map(|(pair, at)| (pair.node_id(), format!("127.0.{at}.0/24").parse().unwrap()))
            .collect();
        let start = TIMING.border(HOUR);
        let honest = usize::from(weather.nodes - weather.liars);
        let mut net = Self {
            random: ChaCha8Rng::seed_from_u64(weather.seed),
            network: network.clone(),
            now: start,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: Vec::new(),
            places: pairs.iter().zip(0..).map(|(pair, at)| (pair.node_id(), at)).collect(),
            members: members.clone(),
            certified: BTreeMap::new(),
            fetches: 0,
            weather,
        };
        for (at, pair) in pairs.into_iter().enumerate() {
            let directory = Directory::new(Some(pair.node_id()), "1".into(), members.clone());
            let mut directory = directory.with_snapshots(network.clone(), TIMING);
            let door = OnionDoor { day: 1, key: ByteArray::new([9; 32]), aes: true };
            let endpoint = format!("/ip4/127.0.{}.1/udp/9/quic-v1", at + 1).parse().unwrap();
            // Not all at once.
            let from = start.after(Span::secs(net.random.next_u64() % 600));
            directory.handle(from, Input::Border { height: 0, hash: [0; 32] });
            directory.handle(from, Input::Listening(vec![endpoint]));
            directory.handle(from, Input::Onion(door));
            let lies = (at >= honest).then(Lies::default);
            net.nodes.push(Node { pair, directory, fetching: BTreeMap::new(), lies, woken: None });
            net.post(from, at, Message::Wake);
        }
        net
    }

    fn honest(&self) -> usize {
        usize::from(self.weather.nodes - self.weather.liars)
    }

    fn post(&mut self, at: Time, to: usize, message: Message) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (to, message));
    }

    /// Sends over the wire.
    fn send(&mut self, from: usize, to: usize, message: Message) {
        let lost = self.random.next_u64() % 100 < self.weather.loss;
        let apart = self.now < self.weather.apart_until && from % 2 != to % 2;
        if !lost && !apart {
            let delay = Span(self.random.next_u64() % self.weather.delay.0);
            self.post(self.now.after(delay), to, message);
        }
    }

    fn gossip(&mut self, from: usize, message: &Message) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            self.send(from, to, message.clone());
        }
    }

    fn run_until(&mut self, end: Time) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            self.now = entry.key().0;
            let (to, message) = entry.remove();
            self.deliver(to, message);
            self.drain(to);
        }
        self.now = end;
    }

    fn deliver(&mut self, to: usize, message: Message) {
        let now = self.now;
        let network = self.network.clone();
        let node = &mut self.nodes[to];
        match message {
            Message::Record(signed) => {
                let record = signed.open(&network).unwrap();
                node.directory.handle(now, Input::Record { record, signed, message: Some(1) });
            }
            Message::Share(share) => {
                if share.verify(&network) {
                    node.directory.handle(now, Input::Share { share, message: Some(1) });
                }
            }
            Message::Ask { from, id, request } => {
                let lie = node.lies.as_ref().map(|lies| lies.answer(&request));
                let answer = lie.unwrap_or_else(|| node.directory.answer(&request));
                self.send(to, from, Message::Answer { id, answer: Box::new(answer) });
            }
            Message::Answer { id, answer } => {
                let Some((from, download)) = node.fetching.remove(&id) else { return };
                let hash = download.wanted();
                let taken = match *answer {
                    Answer::Snapshot(page) => download.take(page).ok(),
                    _ => None,
                };
                match taken {
                    Some(Progress::More(download)) => self.ask(to, from, download),
                    Some(Progress::Whole(found)) => {
                        node.directory.handle(now, Input::Fetched { hash, found: Some(found) });
                    }
                    None => node.directory.handle(now, Input::Fetched { hash, found: None }),
                }
            }
            Message::Late { id } => {
                if let Some((_, download)) = node.fetching.remove(&id) {
                    let hash = download.wanted();
                    node.directory.handle(now, Input::Fetched { hash, found: None });
                }
            }
            Message::Wake => {
                node.woken = None;
                node.directory.handle(now, Input::Tick);
            }
        }
    }

    fn ask(&mut self, from: usize, to: usize, download: Download) {
        self.fetches += 1;
        let (id, request) = (self.sequence, download.request());
        self.nodes[from].fetching.insert(id, (to, download));
        self.send(from, to, Message::Ask { from, id, request });
        self.post(self.now.after(Span::secs(10)), from, Message::Late { id });
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.nodes[at].directory.poll() {
            match output {
                Output::Announce(record) => {
                    let signed = record.sign(&self.network, &self.nodes[at].pair);
                    let own = Input::Record { record, signed: signed.clone(), message: None };
                    self.nodes[at].directory.handle(self.now, own);
                    self.gossip(at, &Message::Record(signed));
                }
                Output::Vote(vote) if self.nodes[at].lies.is_some() => self.lie(at, vote),
                Output::Vote(vote) => {
                    let share = vote.sign(&self.network, &self.nodes[at].pair);
                    self.nodes[at].directory.handle(self.now, Input::Share { share, message: None });
                    self.gossip(at, &Message::Share(share));
                }
                Output::Fetch { from, download } => self.ask(at, self.places[&from], download),
                Output::Judge { .. } | Output::Found { .. } => {}
            }
        }
        if let Some(snapshot) = self.nodes[at].directory.snapshot() {
            self.certified.entry((snapshot.period(), at)).or_insert(self.now);
        }
        let node = &mut self.nodes[at];
        let due = node.directory.deadline().map(|due| due.max(self.now));
        if let Some(due) = due.filter(|due| node.woken.is_none_or(|woken| *due < woken)) {
            node.woken = Some(due);
            self.post(due, at, Message::Wake);
        }
    }

    /// Signs other things for each listener, with records that nobody signed or that stand elsewhere.
    fn lie(&mut self, at: usize, vote: Vote) {
        for to in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            let lies = node.lies.as_mut().unwrap();
            lies.told += 1;
            let mut record = NodeRecord {
                node: node.pair.node_id(),
                time: TIMING.border(vote.period).as_millis() - lies.told,
                height: 0,
                border: ByteArray::new([0; 32]),
                endpoints: vec![format!("/ip4/127.0.{}.1/tcp/9", at + 1).parse().unwrap()],
                onion: OnionDoor { day: 1, key: ByteArray::new([9; 32]), aes: true },
                version: "1".into(),
                door: None,
            };
            let signer = if to % 2 == 0 {
                record.endpoints = vec!["/ip4/127.0.250.1/tcp/9".parse().unwrap()];
                node.pair.clone()
            } else {
                KeyPair::from_seed(&[200; 32])
            };
            let signed = record.sign(&self.network, &signer);
            let entries = [(record.node, Entry::new(record, signed).into())].into();
            let snapshot = Snapshot::new(&self.network, vote.period, entries);
            let vote = Vote { hash: ByteArray::new(snapshot.hash()), ..vote };
            lies.snapshots.insert(snapshot.hash(), snapshot);
            let share = vote.sign(&self.network, &node.pair);
            self.send(at, to, Message::Share(share));
        }
    }

    /// When the last honest node had the snapshot of a period. None while one has not.
    fn agreed(&self, period: u64) -> Option<Time> {
        let times = (0..self.honest()).map(|at| self.certified.get(&(period, at)).copied());
        times.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Nothing is certified but signed records of members, inside their prefixes, and no honest node
    /// is left out.
    fn check(&self, lacking: usize) {
        let members = Members::new(&self.network, self.members.clone());
        for node in &self.nodes[..self.honest()] {
            let Some(snapshot) = node.directory.snapshot() else { continue };
            for entry in snapshot.entries() {
                let opened = entry.signed().open(&self.network);
                assert_eq!(opened.as_ref(), Some(entry.record()));
                assert!(members.admits(entry, TIMING, snapshot.period()), "{entry:?}");
            }
            let known = self.nodes[..self.honest()].iter().filter(|node| {
                let id = node.pair.node_id();
                snapshot.get(&id).is_some()
            });
            assert!(known.count() + lacking >= self.honest(), "honest nodes are left out");
        }
    }
}

impl Lies {
    fn answer(&self, request: &Request) -> Answer {
        let Request::Snapshot { hash: Some(hash), from, .. } = request else { return Answer::Unknown };
        let snapshot = self.snapshots.get(&**hash);
        snapshot.map_or(Answer::Unknown, |snapshot| Answer::Snapshot(snapshot.page(None, None, *from)))
    }
}

/// Steps from a border to a moment, begun ones included.
fn steps(period: u64, at: Time) -> u64 {
    at.since(TIMING.border(period)).0.div_ceil(TIMING.step.0)
}

fn after_border(period: u64) -> Time {
    TIMING.border(period).after(Span::secs(1_200))
}

#[test]
fn in_fair_weather_one_signature_each_is_enough_and_nothing_is_fetched() {
    let mut net = Net::new(Weather::fair(20));
    net.run_until(TIMING.border(HOUR + 1));
    // Those who looked for an older one before there was any.
    let before = net.fetches;
    net.run_until(after_border(HOUR + 1));
    let agreed = net.agreed(HOUR + 1).expect("all have it");
    assert!(steps(HOUR + 1, agreed) <= 2, "{}", steps(HOUR + 1, agreed));
    assert_eq!(net.fetches, before);
    net.check(0);
    let hashes: BTreeSet<_> =
        net.nodes.iter().map(|node| node.directory.snapshot().unwrap().hash()).collect();
    assert_eq!(hashes.len(), 1);
}

#[test]
fn every_period_has_a_snapshot_and_clients_follow_by_changes() {
    let mut net = Net::new(Weather { loss: 3, ..Weather::fair(20) });
    let mut client = Trusted::new(net.network.clone(), TIMING, net.members.clone());
    for period in HOUR + 1..HOUR + 5 {
        net.run_until(after_border(period));
        assert!(net.agreed(period).is_some(), "period {period}");
        net.check(0);
        assert!(client.is_behind(net.now));
        let server = &net.nodes[3].directory;
        let Answer::Snapshot(page) = server.answer(&client.download().request()) else { panic!() };
        assert_eq!(page.base.is_some(), period > HOUR + 1, "the second is told as changes of the first");
        let Progress::Whole(found) = client.download().take(page).unwrap() else { panic!() };
        client.believe(net.now, found).unwrap();
        assert!(!client.is_behind(net.now));
        assert_eq!(client.records(net.now).count(), 20);
    }
}

#[test]
fn a_halved_network_certifies_nothing_and_goes_on_when_it_is_whole() {
    let apart_until = TIMING.border(HOUR + 2).after(Span::secs(1_800));
    let mut net = Net::new(Weather { apart_until, ..Weather::fair(30) });
    net.run_until(apart_until);
    assert!(net.certified.is_empty(), "half of the members are not two thirds");
    net.run_until(after_border(HOUR + 3));
    assert!(net.agreed(HOUR + 3).is_some());
    net.check(0);
}

#[test]
fn a_node_that_was_away_fetches_what_the_others_signed() {
    let mut net = Net::new(Weather::fair(12));
    net.run_until(TIMING.border(HOUR + 1));
    // It hears nothing while the others agree: all that was meant for it is lost.
    let deaf = 11;
    let end = TIMING.border(HOUR + 1).after(Span::secs(250));
    while net.now < end {
        net.queue.retain(|_, (to, message)| *to != deaf || matches!(message, Message::Wake));
        net.run_until(net.now.after(Span::millis(10)));
    }
    assert!(!net.certified.contains_key(&(HOUR + 1, deaf)));
    net.run_until(after_border(HOUR + 1));
    assert!(net.agreed(HOUR + 1).is_some());
    net.check(0);
}

#[test]
fn a_third_less_one_may_lie() {
    // Every honest member is needed. Where a share is lost, a certificate that another has takes its place.
    for (loss, most) in [(0, 6), (2, 40)] {
        let mut net = Net::new(Weather { liars: 9, loss, ..Weather::fair(30) });
        for period in HOUR + 1..HOUR + 4 {
            net.run_until(after_border(period));
            let agreed = net.agreed(period).unwrap_or_else(|| panic!("no snapshot of period {period}"));
            assert!(steps(period, agreed) <= most, "{}", steps(period, agreed));
            net.check(0);
        }
    }
}

#[test]
fn a_third_of_liars_stops_it_and_forges_nothing() {
    let mut net = Net::new(Weather { liars: 10, ..Weather::fair(30) });
    net.run_until(after_border(HOUR + 2));
    assert!(net.certified.is_empty());
}

#[test]
fn a_certificate_needs_more_than_two_thirds_each_once_and_in_order() {
    let mut net = Net::new(Weather::fair(9));
    net.run_until(after_border(HOUR + 1));
    let members = Members::new(&net.network, net.members.clone());
    let Answer::Snapshot(page) =
        net.nodes[0].directory.answer(&Request::Snapshot { hash: None, have: None, from: 0 })
    else {
        panic!()
    };
    let certificate = page.certificate.clone().unwrap();
    let verify = |one: &Certificate| one.verify(&net.network, &members, page.period, *page.hash);
    assert_eq!(verify(&certificate), Ok(()));
    assert_eq!(certificate.signatures.len(), 7);
    let changed = |change: &dyn Fn(&mut Vec<_>)| {
        let mut one = certificate.clone();
        change(&mut one.signatures);
        verify(&one)
    };
    assert!(changed(&|all| all.truncate(6)).is_err(), "too few");
    assert!(changed(&|all| all[1] = all[0]).is_err(), "one twice");
    assert!(changed(&|all| all.swap(0, 1)).is_err(), "out of order");
    assert!(changed(&|all| all[0].1.0[5] ^= 1).is_err(), "forged");
    assert!(changed(&|all| all[6].0 = 9).is_err(), "of nobody");
    assert!(
        changed(&|all| {
            let one = all[0].1;
            all.extend((20..30).map(|at| (at, one)));
        })
        .is_err(),
        "too many"
    );
    let other = "other".parse().unwrap();
    assert!(certificate.verify(&other, &members, page.period, *page.hash).is_err());
    assert!(certificate.verify(&net.network, &members, page.period + 1, *page.hash).is_err());
    let mut fewer = net.members.clone();
    fewer.pop_last();
    let fewer = Members::new(&net.network, fewer);
    assert!(certificate.verify(&net.network, &fewer, page.period, *page.hash).is_err());
    // Of a page that was spoilt in any way nothing is believed.
    let client = Trusted::new(net.network.clone(), TIMING, net.members.clone());
    let take = |change: &dyn Fn(&mut Page)| {
        let mut page = page.clone();
        change(&mut page);
        client.download().take(page).is_ok()
    };
    assert!(take(&|_| {}));
    assert!(!take(&|page| page.period += 1));
    assert!(!take(&|page| page.hash[0] ^= 1));
    assert!(!take(&|page| page.changes.truncate(8)));
    assert!(!take(&|page| page.changes.extend(page.changes.clone())));
    assert!(!take(&|page| page.base = Some(page.hash)));
}

/// What a node answers to a client.
fn fetch(net: &Net, client: &Trusted) -> Result<Found, DownloadError> {
    let Answer::Snapshot(page) = net.nodes[3].directory.answer(&client.download().request()) else {
        panic!()
    };
    client.download().take(page).map(|progress| match progress {
        Progress::Whole(found) => found,
        Progress::More(_) => panic!("one page"),
    })
}

#[test]
fn others_are_the_members_from_a_border_on_that_all_name() {
    let mut net = Net::new(Weather::fair(12));
    let mut client = Trusted::new(net.network.clone(), TIMING, net.members.clone());
    let all = net.members.clone();
    let mut fewer = all.clone();
    let (gone, _) = fewer.pop_last().unwrap();
    let change = |net: &mut Net, period: u64, members: &BTreeMap<_, _>| {
        for at in 0..net.nodes.len() {
            // Each hears of it at another time, some before and some after a border that is not the one.
            net.run_until(net.now.after(Span::secs(120)));
            let input = Input::Members { period, members: members.clone() };
            net.nodes[at].directory.handle(net.now, input);
        }
    };
    net.run_until(TIMING.border(HOUR + 1).after(Span::secs(3_000)));
    client.believe(net.now, fetch(&net, &client).unwrap()).unwrap();
    change(&mut net, HOUR + 3, &fewer);
    assert!(net.now > TIMING.border(HOUR + 2) && net.now < TIMING.border(HOUR + 3));
    assert!(net.agreed(HOUR + 2).is_some(), "the former members still sign");
    assert_eq!(net.nodes[0].directory.snapshot().unwrap().period(), HOUR + 2);
    client.believe(net.now, fetch(&net, &client).unwrap()).unwrap();
    net.run_until(after_border(HOUR + 3));
    assert!(net.agreed(HOUR + 3).is_some());
    let newest = Arc::clone(net.nodes[0].directory.snapshot().unwrap());
    assert_eq!((newest.period(), newest.entries().len(), newest.get(&gone)), (HOUR + 3, 11, None));

    // A client that has not heard of them goes on with what it knows, until it has.
    let found = fetch(&net, &client);
    assert!(matches!(found, Err(DownloadError::Certificate(_))), "{found:?}");
    assert!(client.record(net.now, &gone).is_some());
    client.replace_members(HOUR + 3, fewer.clone());
    assert_eq!((client.records(net.now).count(), client.record(net.now, &gone)), (11, None));
    let before = fetch(&net, &client).unwrap();
    client.believe(net.now, before).unwrap();
    assert_eq!(client.snapshot(net.now).map(|known| known.period()), Some(HOUR + 3));

    // What was found among the former members counts for nothing among these.
    change(&mut net, HOUR + 4, &all);
    net.run_until(after_border(HOUR + 5));
    assert!(net.agreed(HOUR + 5).is_some());
    assert_eq!(net.nodes[0].directory.snapshot().unwrap().entries().len(), 12);
    let mut other = Trusted::new(net.network.clone(), TIMING, all);
    let found = fetch(&net, &other).unwrap();
    other.replace_members(HOUR + 5, fewer);
    assert_eq!(other.believe(net.now, found), Err(Distrust::Uncertified));
}

#[test]
fn what_a_client_kept_is_believed_as_little_as_a_stranger() {
    let mut net = Net::new(Weather::fair(12));
    net.run_until(after_border(HOUR + 1));
    let client = || Trusted::new(net.network.clone(), TIMING, net.members.clone());
    let mut first = client();
    assert_eq!(first.encode(), None);
    first.believe(net.now, fetch(&net, &first).unwrap()).unwrap();
    let bytes = first.encode().unwrap();
    let mut later = client();
    later.restore(net.now, &bytes).unwrap();
    assert_eq!((later.snapshot(net.now), later.encode()), (first.snapshot(net.now), Some(bytes.clone())));
    assert_eq!(later.restore(net.now, &bytes), Err(KeptError::Distrust(Distrust::NotNewer)));
    let old = net.now.after(MAX_AGE);
    assert_eq!(client().restore(old, &bytes), Err(KeptError::Distrust(Distrust::Old { hours: 24 })));
    let mut fewer = client();
    fewer.replace_members(0, net.members.clone().into_iter().skip(1).collect());
    assert!(fewer.restore(net.now, &bytes).is_err(), "of other members");
    for length in (0..bytes.len()).step_by(7) {
        assert_eq!(client().restore(net.now, &bytes[..length]), Err(KeptError::Damaged));
    }
    // Bits of names and of versions may make no difference, others all do.
    for at in (0..bytes.len()).step_by(13) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let mut other = client();
        if other.restore(net.now, &changed).is_ok() {
            assert_eq!(other.snapshot(net.now), first.snapshot(net.now), "byte {at}");
        }
    }
}

#[test]
fn a_client_believes_for_a_day_and_forwards_alone() {
    let mut net = Net::new(Weather::fair(9));
    let fetch = |net: &Net, client: &Trusted| {
        let Answer::Snapshot(page) = net.nodes[0].directory.answer(&client.download().request()) else {
            panic!()
        };
        let Progress::Whole(found) = client.download().take(page).unwrap() else { panic!() };
        found
    };
    let trusting = |members| Trusted::new("test".parse().unwrap(), TIMING, members);
    let mut client = trusting(net.members.clone());
    net.run_until(after_border(HOUR + 1));
    let first = fetch(&net, &client);
    net.run_until(after_border(HOUR + 2));
    let second = fetch(&net, &client);
    let border = TIMING.border(HOUR + 2);
    let (before, instant) = (Time(border.0 - MAX_AHEAD.0), Span::millis(1));
    let late = border.after(MAX_AGE);
    assert_eq!(client.believe(Time(before.0 - instant.0), second.clone()), Err(Distrust::Ahead));
    assert_eq!(client.believe(late.after(instant), second.clone()), Err(Distrust::Old { hours: 24 }));
    // Others would have to sign for other members, and for members that stand elsewhere.
    let (mut fewer, mut moved) = (net.members.clone(), net.members.clone());
    fewer.pop_last();
    *moved.values_mut().next().unwrap() = "127.0.99.0/24".parse().unwrap();
    for members in [fewer, moved] {
        assert_eq!(trusting(members).believe(net.now, second.clone()), Err(Distrust::Uncertified));
    }
    client.believe(before, second.clone()).unwrap();
    assert_eq!(client.believe(net.now, first), Err(Distrust::NotNewer));
    assert_eq!(client.believe(net.now, second), Err(Distrust::NotNewer));
    assert!(client.snapshot(late).is_some() && client.snapshot(late.after(instant)).is_none());
    // Records that the client has already are too old for a later border.
    let known = client.snapshot(net.now).unwrap();
    let entries = known.entries().iter().map(|entry| (entry.record().node, entry.clone())).collect();
    let later = Snapshot::new(&net.network, HOUR + 5, entries);
    let taken = client.download().take(later.page(Some(known), None, 0));
    assert!(matches!(taken, Err(DownloadError::Unfit { .. })), "{taken:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn members_agree_through_loss_delay_and_reordering(
        nodes in 20_u8..50, loss in 0_u64..12, delay in 10_u64..9_000, lie in 0_u8..5, seed in any::<u64>(),
    ) {
        let liars = if lie == 0 { 0 } else { nodes / 10 };
        let delay = Span::millis(delay);
        let mut net = Net::new(Weather { nodes, loss, delay, liars, apart_until: Time::ZERO, seed });
        net.run_until(after_border(HOUR + 1));
        let agreed = net.agreed(HOUR + 1);
        prop_assert!(agreed.is_some(), "{} of {nodes}", net.certified.len());
        prop_assert!(steps(HOUR + 1, agreed.unwrap()) <= 30);
        net.check(usize::from(nodes / 10));
    }
}
