//! A tap at every hop: what goes in and out after transport decryption.
//!
//! The client is the real one, and so are its links; hops are the relay machines that nodes run, and every
//! byte that they hand each other passes here.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use session_protocols::{
    Namespace, codec,
    libp2p::address,
    onion::size::{Bucket, Position, answer_len, packet_shape},
    request::{MAX_REQUEST, Request},
};

use super::{
    account,
    fake::{Net, Over},
    some, texts,
    world::{Beyond, Tapped},
};
use crate::{Cursors, client::TTL};

/// The first byte of a packet of a session.
const SESSION: u8 = 0x12;
/// The shortest run of bytes by which two wires could be told to carry one packet.
const RUN: usize = 16;
const TEXT: &str = "a text that nobody but its reader may see";

/// What no wire may show, by name.
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn of(net: &Net, accounts: &[u8]) -> Self {
        let mut secrets = vec![("the text".to_owned(), TEXT.as_bytes().to_vec())];
        let mut key = |name: String, bytes: &[u8]| {
            secrets.push((format!("{name}, in hex"), HEXLOWER.encode(bytes).into_bytes()));
            secrets.push((name, bytes.to_vec()));
        };
        for number in accounts {
            let id = account(*number).id();
            key(format!("account {number}"), id.as_bytes());
            key(format!("the key of account {number}"), &id.as_bytes()[1..]);
        }
        for node in net.nodes() {
            key(format!("node {node}"), node.as_bytes());
            key(format!("the peer id of node {node}"), &address::peer_id(&node).unwrap().to_bytes());
            key(format!("the onion key of node {node}"), net.world.lock().door(node).key.as_slice());
        }
        Self(secrets)
    }

    /// The first that these bytes show.
    fn shown(&self, bytes: &[u8]) -> Option<&str> {
        let shows = |secret: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
        self.0.iter().find(|(_, secret)| shows(secret)).map(|(name, _)| name.as_str())
    }
}

fn runs(bytes: &[u8]) -> BTreeSet<&[u8]> {
    bytes.windows(RUN).collect()
}

/// Looks at one hop: its position, if nothing is wrong with what it took in and gave out.
fn look(seen: &Tapped, secrets: &Secrets) -> Result<Position, String> {
    let (_, position) = packet_shape(seen.packet.len()).ok_or("a packet of a length of its own")?;
    if seen.inside == (position == Position::Guard) {
        return Err("a packet of another position".to_owned());
    }
    if !Bucket::ALL.iter().any(|bucket| answer_len(*bucket, position) == seen.answer.len()) {
        return Err(format!("an answer of {} bytes", seen.answer.len()));
    }
    let near = [&seen.packet, &seen.answer];
    let far = match &seen.beyond {
        Beyond::Hop(_, packet, answer) => Some([packet, answer]),
        Beyond::Service(_) | Beyond::Nothing => None,
    };
    for bytes in near.into_iter().chain(far.into_iter().flatten()) {
        if let Some(secret) = secrets.shown(bytes) {
            return Err(format!("{secret} is shown"));
        }
    }
    // Not its packets, not its answers, nor the one in the other.
    for far in far.into_iter().flatten() {
        let far = runs(far);
        if near.iter().any(|near| near.windows(RUN).any(|run| far.contains(run))) {
            return Err(format!("{RUN} bytes are equal on both sides"));
        }
    }
    Ok(position)
}

/// Does what clients do, and gives out all that hops saw of it.
async fn tapped(net: &Net) -> Vec<Tapped> {
    let client = net.hidden().await;
    for round in 0..2 {
        client.send(&account(1), &account(2).id(), TEXT).await.unwrap();
        assert_eq!(texts(&client, &account(2)).await, some(&vec![TEXT; round + 1]));
        let large = vec![u8::try_from(round).unwrap(); 30_000];
        client.store(&account(3).id(), Namespace::INBOX, large, TTL, None).await.unwrap();
        let mut cursors = Cursors::new();
        client.retrieve(&account(3), Namespace::INBOX, &mut cursors).await.unwrap();
        client.get_swarm(&account(1).id()).await.unwrap();
    }
    std::mem::take(&mut net.world.lock().tap)
}

/// What makes a path ready, and what tests guards and spares, is nobody's question.
#[tokio::test]
async fn what_tests_a_path_names_nobody() {
    let net = Net::start(12, Over::Tcp).await;
    let client = net.hidden().await;
    client.prepare_paths(&[account(1).id(), account(2).id()]).await.unwrap();
    let tap = std::mem::take(&mut net.world.lock().tap);
    let asked: Vec<Request> = tap
        .iter()
        .filter_map(|seen| match &seen.beyond {
            Beyond::Service(request) => Some(codec::decode(request, MAX_REQUEST).unwrap()),
            Beyond::Hop(..) | Beyond::Nothing => None,
        })
        .collect();
    assert!(asked.len() >= 3, "a path for sending, and one for each account: {asked:?}");
    assert!(asked.iter().all(|request| *request == Request::Info), "{asked:?}");
}

#[tokio::test]
async fn a_tap_at_each_hop_shows_sizes_and_nothing_else() {
    let net = Net::start(12, Over::Tcp).await;
    let tap = tapped(&net).await;
    let secrets = Secrets::of(&net, &[1, 2, 3]);
    let mut ways: BTreeMap<Position, BTreeSet<bool>> = BTreeMap::new();
    let mut delivered = Vec::new();
    for seen in &tap {
        let position = look(seen, &secrets).unwrap_or_else(|wrong| panic!("at {}: {wrong}", seen.at));
        ways.entry(position).or_default().insert(seen.packet[0] == SESSION);
        match &seen.beyond {
            Beyond::Hop(to, packet, answer) => {
                // The wire between two hops is tapped at both ends, and shows the same at both.
                let other = tap.iter().find(|other| other.packet == *packet).unwrap();
                assert_eq!((other.at, &other.answer), (*to, answer));
            }
            Beyond::Service(request) => delivered.push(request.clone()),
            Beyond::Nothing => panic!("a packet went no further"),
        }
    }
    // All positions were seen, by handshakes and by sessions; what is looked for was there to be found.
    let both = BTreeSet::from([false, true]);
    assert_eq!(ways, Position::ALL.map(|position| (position, both.clone())).into());
    for number in [2, 3] {
        let id = account(number).id();
        let named = |request: &Vec<u8>| request.windows(33).any(|part| part == id.as_bytes());
        assert!(delivered.iter().any(named), "no request names account {number}");
    }
}

#[tokio::test]
async fn the_tap_notices_what_it_looks_for() {
    let net = Net::start(8, Over::Tcp).await;
    let tap = tapped(&net).await;
    let secrets = Secrets::of(&net, &[1, 2, 3]);
    let honest = tap.iter().find(|seen| matches!(seen.beyond, Beyond::Hop(..))).unwrap();
    let spoilt = |spoil: &dyn Fn(&mut Tapped)| {
        let mut seen = honest.clone();
        spoil(&mut seen);
        look(&seen, &secrets).unwrap_err()
    };
    let write = |bytes: &mut [u8], secret: &[u8]| bytes[700..][..secret.len()].copy_from_slice(secret);
    for (name, secret) in &secrets.0 {
        assert!(spoilt(&|seen| write(&mut seen.packet, secret)).contains("is shown"), "{name}");
        assert!(spoilt(&|seen| write(&mut seen.answer, secret)).contains("is shown"), "{name}");
    }
    let copies = |near: fn(&mut Tapped) -> &mut Vec<u8>, from: usize| {
        spoilt(&|seen| {
            let Beyond::Hop(_, packet, answer) = &seen.beyond else { panic!("a hop") };
            let copied = [packet, answer][from][500..][..RUN].to_vec();
            write(near(seen), &copied);
        })
    };
    for from in 0..2 {
        assert!(copies(|seen| &mut seen.packet, from).contains("equal"));
        assert!(copies(|seen| &mut seen.answer, from).contains("equal"));
    }
    assert!(spoilt(&|seen| seen.packet.truncate(2_000)).contains("length"));
    assert!(spoilt(&|seen| seen.answer.push(0)).contains("answer of"));
    assert!(spoilt(&|seen| seen.inside = !seen.inside).contains("position"));
}
