//! Bad bytes and greed against real nodes: what is refused is counted, the node goes on serving, and its
//! memory does not grow.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Stream, SwarmBuilder, gossipsub, identity, noise, swarm::SwarmEvent, tcp, yamux};
use session_protocols::{
    Protocol,
    answer::Code,
    codec, directory,
    frame::{HEAD, Head, Kind},
    identity::blake2b,
    libp2p::{address::multiaddr, link::Asker},
    limits::{AdmissionRates, NEIGHBOURS_PER_PREFIX, Rate},
    notify::{self, MAX_PER_MAILBOX, MAX_PER_NEIGHBOUR, Subscribe, Subscribed},
    onion::{
        keys,
        relay::Refusal,
        size::{Bucket, MAX_PACKET, Position, packet_len},
    },
    request::{self, Request},
    swarm::{self, SwarmAnswer},
};

use crate::support::{
    Plan, Running, metric, reaches,
    stranger::{Person, Stranger, now, refusal, refusal_of, subscribed},
    wait,
};

const UNLIMITED: Rate = Rate { per_second: 1 << 30, burst: 1 << 30 };

/// How much this process may grow while it is attacked, in KiB.
const GROWTH: u64 = 96 * 1024;

/// Memory of this process, the nodes in it included, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Bytes that look random, and are the same in every run.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let block = |number: usize| blake2b(&[&seed.to_be_bytes(), &(number as u64).to_be_bytes()]);
    (0..len.div_ceil(32)).flat_map(block).take(len).collect()
}

/// Payloads that are no message of a protocol, whose messages are at most `max` bytes long.
fn garbage(sound: &[u8], max: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(), vec![0x81; 4_000], [vec![0x81; 4_000], vec![0x00]].concat()];
    // More than is there, in one string, in one list and in nested ones.
    all.extend([
        vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x9a, 0xff, 0xff, 0xff, 0xff],
    ]);
    all.push([0x9a, 0x00, 0x01, 0x00, 0x00].repeat(20));
    all.extend((0..sound.len()).step_by(7).map(|len| sound[..len].to_vec()));
    all.extend((0..100).map(|seed| noise(seed, 1 + seed as usize * 5)));
    all.push(noise(7, max));
    all.push([sound, &[0x00]].concat());
    all
}

fn unlimited(nodes: u8) -> Plan {
    let mut plan = Plan::new(nodes);
    plan.rates = Some(AdmissionRates { neighbour: UNLIMITED, account: UNLIMITED, total: UNLIMITED });
    plan
}

fn counted(protocol: &str) -> String {
    format!("session_garbage_total{{protocol=\"{protocol}\"}}")
}

/// Sends streams of frames that are none, and waits until each has been closed and counted.
async fn send_bad_frames(stranger: &Stranger, protocol: Protocol, name: &str, max: usize, door: SocketAddr) {
    let too_long = Head { len: u32::try_from(max).unwrap() + 1, id: 1, kind: Kind::Request }.encode();
    let answer = Head { len: 0, id: 1, kind: Kind::Answer }.encode();
    let unknown = [0, 0, 0, 0, 0, 0, 0, 1, 77];
    let mut bad = vec![too_long.to_vec(), answer.to_vec(), unknown.to_vec()];
    bad.extend((0..20).map(|seed| [&[0xff][..], &noise(seed, 500)].concat()));
    let before = metric(door, &counted(name));
    let sent = bad.len() as u64;
    for bytes in bad {
        let mut stream = stranger.open(protocol).await;
        // The node may close it before all is written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.flush().await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "a bad frame is not answered");
    }
    // Cut short: the stream ends inside a frame.
    let whole = [&Head { len: 9, id: 1, kind: Kind::Request }.encode()[..], b"nine byte"].concat();
    for len in 1..whole.len() {
        let mut stream = stranger.open(protocol).await;
        stream.write_all(&whole[..len]).await.unwrap();
        stream.close().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    reaches(door, &counted(name), before + sent + whole.len() as u64 - 1).await;
}

/// Whether a request on a fresh stream is answered, rather than the stream ended.
async fn answers(stream: &mut Stream, request: &[u8]) -> bool {
    let head = Head { len: u32::try_from(request.len()).unwrap(), id: 1, kind: Kind::Request }.encode();
    let sent = stream.write_all(&[&head[..], request].concat()).await.is_ok() && stream.flush().await.is_ok();
    let mut first = [0];
    if !sent || stream.read_exact(&mut first).await.is_err() {
        return false;
    }
    let mut rest = [0; HEAD - 1];
    stream.read_exact(&mut rest).await.unwrap();
    let head = Head::decode([&first[..], &rest].concat().try_into().unwrap(), 1 << 20).unwrap();
    stream.read_exact(&mut vec![0; head.len as usize]).await.unwrap();
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_and_subscriptions_are_refused_and_counted() {
    let plan = unlimited(1);
    let running = plan.start(0);
    wait(&plan.http, 200).await;
    let door = plan.http[0];
    let stranger = Stranger::meet(&plan, 0).await;
    let storage = stranger.link(Protocol::Storage).await;
    assert_eq!(refusal(&storage, &Request::Info).await, None);
    let person = Person::new(1).retrieve(&plan.network.name);
    let before = resident();

    let sound = codec::encode(&Request::Retrieve(person.clone()));
    let bad = garbage(&sound, request::MAX_REQUEST);
    for round in 1..=5 {
        for payload in &bad {
            assert_eq!(refusal_of(&storage, payload.clone()).await, Some(Code::BadRequest), "{payload:?}");
        }
        assert_eq!(metric(door, &counted("storage")), round * bad.len() as u64);
    }
    send_bad_frames(&stranger, Protocol::Storage, "storage", request::MAX_REQUEST, door).await;

    let notify = stranger.link(Protocol::Notify).await;
    let bad = garbage(&codec::encode(&Subscribe { retrieve: person }), notify::MAX_REQUEST);
    for payload in &bad {
        let answer = subscribed(&notify.ask(payload.clone()).await.unwrap());
        assert_eq!(answer, Subscribed::Refused { code: Code::BadRequest });
    }
    assert_eq!(metric(door, &counted("notify")), bad.len() as u64);
    send_bad_frames(&stranger, Protocol::Notify, "notify", notify::MAX_REQUEST, door).await;

    assert_eq!(refusal(&storage, &Request::Info).await, None, "it goes on serving");
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "grew by {grown} KiB");
    running.stop().await;
}

/// Three make a swarm: two run, and the third speaks to the first with its own key, as nobody should.
async fn traitor() -> (Plan, [Running; 2], Stranger) {
    let plan = unlimited(3);
    let running = [plan.start(0), plan.start(1)];
    wait(&plan.http[..2], 200).await;
    let fellow = Stranger::meet_as(2, &plan, 0).await;
    (plan, running, fellow)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_words_of_a_member_are_refused_and_counted() {
    let (plan, running, fellow) = traitor().await;
    let door = plan.http[0];
    let link = fellow.link(Protocol::Swarm).await;
    let before = resident();
    let ask = swarm::SwarmRequest::new(1, swarm::Ask::Fingerprints);
    let bad = garbage(&codec::encode(&ask), swarm::MAX_MESSAGE);
    for payload in &bad {
        let answer: SwarmAnswer = codec::decode(&link.ask(payload.clone()).await.unwrap(), 1_000).unwrap();
        assert_eq!(answer, SwarmAnswer::Refused { code: Code::BadRequest });
    }
    assert!(metric(door, &counted("swarm")) >= bad.len() as u64);
    send_bad_frames(&fellow, Protocol::Swarm, "swarm", swarm::MAX_MESSAGE, door).await;

    // Frames of 2 MiB that never end cost what arrived of them, on as many streams as one may have: 8, of
    // which the link above is one.
    let mut half = Vec::new();
    while half.len() < 7 {
        let mut stream = fellow.open(Protocol::Swarm).await;
        // libp2p's stream behaviour drops one that arrives while another is being taken in.
        if !answers(&mut stream, &codec::encode(&ask)).await {
            continue;
        }
        let head = Head { len: swarm::MAX_MESSAGE as u32, id: 2, kind: Kind::Request }.encode();
        stream.write_all(&head).await.unwrap();
        stream.write_all(&noise(1, 1_000)).await.unwrap();
        stream.flush().await.unwrap();
        half.push(stream);
    }
    let refused = "session_streams_refused_total{reason=\"neighbour\"}";
    for tried in 0.. {
        if tried >= 32 && metric(door, refused) >= 32 {
            break;
        }
        assert!(tried < 320, "{refused} is {}", metric(door, refused));
        let mut stream = fellow.open(Protocol::Swarm).await;
        assert!(!answers(&mut stream, &codec::encode(&ask)).await, "a ninth stream is served");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "grew by {grown} KiB");
    // Nobody waits for the rest for ever: the node ends them all.
    for mut stream in half {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    reaches(door, "session_streams_slow_total{protocol=\"swarm\"}", 7).await;
    wait(&plan.http[..2], 200).await;
    for one in running {
        one.stop().await;
    }
}

/// From outside as a stranger, and inside a path as a member of the network.
#[tokio::test(flavor = "multi_thread")]
async fn bad_packets_are_refused_in_every_position_and_counted() {
    let (plan, running, fellow) = traitor().await;
    let door = plan.http[0];
    let stranger = Stranger::meet(&plan, 0).await;
    // First packets of today's key are opened in vain, by both suites; all others are seen through sooner.
    let today = (now().0 / keys::DAY.0 % 256) as u8;
    let heads = [&[0x10, today][..], &[0x11, today], &[0x10, today.wrapping_sub(9)], &[0x12], &[0xff]];
    let before = resident();
    let mut sent = 0;
    for (place, link) in [
        (Position::Guard, stranger.link(Protocol::Onion).await),
        (Position::Middle, fellow.link(Protocol::Onion).await),
        (Position::Last, fellow.link(Protocol::Onion).await),
        (Position::Destination, fellow.link(Protocol::Onion).await),
    ] {
        for bucket in Bucket::ALL {
            let len = packet_len(bucket, place);
            for (seed, head) in (0..8).flat_map(|seed| heads.iter().map(move |head| (seed, head))) {
                let mut packet = noise(seed, len);
                packet[..head.len()].copy_from_slice(head);
                for bad in [&packet[..], &packet[..len - 1], &[&packet[..], &[0]].concat()] {
                    let answer = link.ask(bad.to_vec()).await.unwrap();
                    assert_eq!(Refusal::read(&answer), Some(Refusal::Unreadable), "{place:?}, {bucket:?}");
                    sent += 1;
                }
            }
        }
    }
    reaches(door, "session_onion_refused_total{reason=\"unreadable\"}", sent).await;
    send_bad_frames(&stranger, Protocol::Onion, "onion", MAX_PACKET, door).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "grew by {grown} KiB");
    wait(&plan.http[..2], 200).await;
    for one in running {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_heard_among_members() {
    let plan = Plan::new(1);
    let running = plan.start(0);
    wait(&plan.http, 200).await;
    let stranger = Stranger::meet(&plan, 0).await;
    let ask = swarm::SwarmRequest::new(1, swarm::Ask::Fingerprints);
    let link = stranger.link(Protocol::Swarm).await;
    assert!(link.ask(codec::encode(&ask)).await.is_err(), "it was answered");
    reaches(plan.http[0], "session_streams_refused_total{reason=\"stranger\"}", 1).await;
    assert_eq!(metric(plan.http[0], "session_swarm_requests_total"), 0, "nothing of it was read");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_about_the_directory_are_counted() {
    let plan = unlimited(1);
    let running = plan.start(0);
    wait(&plan.http, 200).await;
    let stranger = Stranger::meet(&plan, 0).await;
    let before = resident();
    let ask = async |bytes: &[u8]| {
        let mut stream = stranger.open(Protocol::Directory).await;
        // The node closes it as soon as it has seen enough.
        let _ = stream.write_all(bytes).await;
        let _ = stream.close().await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map(|_| answer).unwrap_or_default()
    };
    let sound = codec::encode(&directory::Request::Records { after: None });
    let mut bad = garbage(&sound, directory::MAX_REQUEST);
    bad.push(noise(8, 1 << 20));
    for payload in &bad {
        assert!(ask(payload).await.is_empty(), "{payload:?}");
    }
    reaches(plan.http[0], &counted("directory"), bad.len() as u64).await;
    let answer: directory::Answer = codec::decode(&ask(&sound).await, directory::MAX_ANSWER).unwrap();
    let directory::Answer::Records { records, more } = answer else { panic!("no records") };
    assert_eq!((records.len(), more), (1, false), "it goes on answering");
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "grew by {grown} KiB");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_the_directory_are_charged_to_who_asks() {
    let mut plan = Plan::new(1);
    let neighbour = Rate { per_second: 0, burst: 5 };
    plan.rates = Some(AdmissionRates { neighbour, account: UNLIMITED, total: UNLIMITED });
    let running = plan.start(0);
    wait(&plan.http, 200).await;
    let stranger = Stranger::meet(&plan, 0).await;
    let mut answered = 0;
    for _ in 0..9 {
        let mut stream = stranger.open(Protocol::Directory).await;
        stream.write_all(&codec::encode(&directory::Request::Records { after: None })).await.unwrap();
        stream.close().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answered += usize::from(!answer.is_empty());
    }
    assert_eq!(answered, 5);
    reaches(plan.http[0], "session_refused_total{code=\"429\"}", 4).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_gossip_is_rejected_and_counted() {
    let plan = Plan::new(1);
    let running = plan.start(0);
    wait(&plan.http, 200).await;
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| gossipsub::MessageId::from(blake2b(&[&message.data]).to_vec()))
        .build()
        .unwrap();
    let topic = gossipsub::IdentTopic::new(plan.network.name.topic("records"));
    let mut swarm = SwarmBuilder::with_existing_identity(identity::Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| {
            gossipsub::Behaviour::<gossipsub::IdentityTransform>::new(
                gossipsub::MessageAuthenticity::Anonymous,
                config,
            )
            .unwrap()
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(crate::support::PATIENCE))
        .build();
    swarm.behaviour_mut().subscribe(&topic).unwrap();
    swarm.dial(multiaddr(&plan.listen[0][1])).unwrap();
    let sound = codec::encode(&directory::SignedRecord {
        record: noise(1, 200).into(),
        signature: session_protocols::Signature([7; 64]),
    });
    let bad = [noise(2, 400), sound[..100].to_vec(), [vec![0x81; 40], vec![0x00]].concat(), sound];
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. }) => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("no connection: {error}"),
            _ => {}
        }
    }
    for payload in bad.clone() {
        swarm.behaviour_mut().publish(topic.clone(), payload).unwrap();
    }
    let swarm = tokio::spawn(async move { while swarm.next().await.is_some() {} });
    reaches(plan.http[0], &counted("records"), bad.len() as u64).await;
    assert_eq!(metric(plan.http[0], "session_known_nodes"), 1, "it believes itself alone");
    swarm.abort();
    running.stop().await;
}

/// A store into a mailbox that nobody signed.
fn post(person: &Person, number: u64) -> Request {
    person.post(&number.to_be_bytes())
}

async fn count(link: &Asker, code: Option<Code>, requests: impl Iterator<Item = Request>) -> usize {
    let mut found = 0;
    for request in requests {
        found += usize::from(refusal(link, &request).await == code);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_about_an_account_does_not_lock_its_owner_out() {
    let mut plan = Plan::new(1);
    // One a second: as good as none for as long as this takes.
    let account = Rate { per_second: 1, burst: 20 };
    plan.rates = Some(AdmissionRates { neighbour: UNLIMITED, account, total: UNLIMITED });
    let running = plan.start(0);
    wait(&plan.http, 200).await;
    let (person, network) = (Person::new(1), &plan.network.name);
    let stranger = Stranger::meet(&plan, 0).await;
    let hostile = stranger.link(Protocol::Storage).await;
    let forged = || Request::Retrieve(person.forged(network));
    let refused = count(&hostile, Some(Code::Unauthorized), (0..100).map(|_| forged())).await;
    assert_eq!(refused, 100, "each is looked at, none is charged to the account");
    let full = count(&hostile, Some(Code::TooMany), (0..100).map(|number| post(&person, number))).await;
    assert!(full >= 60, "strangers have a limit: {full}");
    let owner = Stranger::meet(&plan, 0).await;
    let owner = owner.link(Protocol::Storage).await;
    let served = (0..15).map(|_| Request::Retrieve(person.retrieve(network)));
    assert_eq!(count(&owner, None, served).await, 15, "the owner is served all the same");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_identities_at_one_address_gain_nothing_outside_local_networks() {
    const EACH: u32 = 3;
    for local in [false, true] {
        let mut plan = Plan::new(1);
        plan.network.local = local;
        // As good as nothing is added while this takes place.
        let neighbour = Rate { per_second: 0, burst: EACH };
        plan.rates = Some(AdmissionRates { neighbour, account: UNLIMITED, total: UNLIMITED });
        let running = plan.start(0);
        wait(&plan.http, 200).await;
        let mut served = 0;
        for _ in 0..NEIGHBOURS_PER_PREFIX + 4 {
            let stranger = Stranger::meet(&plan, 0).await;
            let link = stranger.link(Protocol::Storage).await;
            served += count(&link, None, (0..EACH).map(|_| Request::Info)).await;
        }
        let strangers = NEIGHBOURS_PER_PREFIX + if local { 4 } else { 0 };
        assert_eq!(served, (strangers * EACH) as usize, "local: {local}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_neighbour_has_so_many_subscriptions_and_no_more() {
    let plan = unlimited(1);
    let running = plan.start(0);
    wait(&plan.http, 200).await;
    let people = [1, 2, 3].map(Person::new);
    let stranger = Stranger::meet(&plan, 0).await;
    let link = stranger.link(Protocol::Notify).await;
    let subscribe = async |link: &Asker, person: &Person| {
        let retrieve = person.retrieve(&plan.network.name);
        let (answer, events) = link.subscribe(codec::encode(&Subscribe { retrieve })).await.unwrap();
        match subscribed(&answer) {
            Subscribed::Until { .. } => Ok(events),
            Subscribed::Refused { code } => Err(code),
        }
    };
    let mut held = Vec::new();
    for number in 0..MAX_PER_NEIGHBOUR {
        held.push(subscribe(&link, &people[number / MAX_PER_MAILBOX]).await.unwrap());
    }
    assert_eq!(subscribe(&link, &people[2]).await.unwrap_err(), Code::TooMany, "of one neighbour");
    let other = Stranger::meet(&plan, 0).await;
    let other = other.link(Protocol::Notify).await;
    assert_eq!(subscribe(&other, &people[0]).await.unwrap_err(), Code::TooMany, "to one mailbox");
    let _third = subscribe(&other, &people[2]).await.unwrap();
    // What is given back is there for the next.
    drop(held);
    until_there_is_room(&link, &plan, &people[0], subscribe).await;
    running.stop().await;
}

/// Subscribes again until there is room: the node learns of what was dropped a moment later.
async fn until_there_is_room<F, E>(link: &Asker, plan: &Plan, person: &Person, subscribe: F)
where
    F: AsyncFn(&Asker, &Person) -> Result<E, Code>,
{
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while subscribe(link, person).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no room, {:?}", plan.http);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_the_http_door_waits_and_keeps_nobody_out_for_good() {
    const SERVED: usize = 32;
    let plan = unlimited(1);
    let running = plan.start(0);
    wait(&plan.http, 200).await;
    let door = plan.http[0];
    let visited = tokio::task::spawn_blocking(move || {
        let mut idle: Vec<_> = (0..SERVED).map(|_| TcpStream::connect(door).unwrap()).collect();
        let mut last = TcpStream::connect(door).unwrap();
        last.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        last.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut answer = String::new();
        assert!(last.read_to_string(&mut answer).is_err(), "it waits: {answer}");
        // Whoever leaves makes room for the next.
        idle.pop();
        last.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        last.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
    visited.await.unwrap();
    running.stop().await;
}
