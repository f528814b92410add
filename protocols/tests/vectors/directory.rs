//! Who is where: records of nodes, snapshots of them, and checkpoints of the ledger.

use data_encoding::HEXLOWER as HEX;
use serde_bytes::ByteArray;
use serde_json::json;
use session_protocols::{
    directory::snapshot::Entry,
    directory::{self, Certificate, Members, Roster, Snapshot, Timing, Vote, checkpoint},
};

use crate::file::{check, wire};
use crate::people::{TIME, network, pair};
use crate::samples::{MEMBERS, NODE};

pub(crate) fn node_record() -> directory::NodeRecord {
    directory::NodeRecord {
        node: pair(NODE).node_id(),
        time: TIME,
        height: 1_234,
        border: ByteArray::new([0xb0; 32]),
        endpoints: vec![
            "/ip4/127.0.1.1/udp/22021/quic-v1".parse().unwrap(),
            "/ip6/2001:db8:1::1/tcp/22021".parse().unwrap(),
        ],
        onion: directory::OnionDoor { day: 0xda, key: ByteArray::new([0x0d; 32]), aes: true },
        version: "0.1.0".into(),
        door: None,
    }
}

#[test]
fn directory() {
    let signed = node_record().sign(&network(), &pair(NODE));
    assert_eq!(signed.open(&network()), Some(node_record()));
    let page = directory::Answer::Records { records: vec![signed.clone()], more: false };
    let after = Some(pair(NODE).node_id());
    let with_door = directory::NodeRecord { door: Some(22_443), ..node_record() };
    let entries = [
        wire("request from the first", &directory::Request::Records { after: None }, directory::MAX_REQUEST),
        wire("request", &directory::Request::Records { after }, directory::MAX_REQUEST),
        wire("record", &node_record(), directory::MAX_RECORD),
        wire("record with a door", &with_door, directory::MAX_RECORD),
        wire("signed record, as gossiped", &signed, directory::MAX_RECORD),
        wire("answer", &page, directory::MAX_ANSWER),
    ];
    check("directory.json", &entries);
}

/// The members whose keys grow from 3, 4 and 5.
pub(crate) fn members() -> Members {
    let prefix = "127.0.1.0/24".parse().unwrap();
    Members::new(&network(), MEMBERS.map(|seed| (pair(seed).node_id(), prefix)).into())
}

/// What some of the members said so many seconds before the border.
pub(crate) fn listed<const N: usize>(period: u64, said: [(u8, u64); N]) -> Snapshot {
    let entries = said.map(|(seed, ago)| {
        let record = directory::NodeRecord {
            node: pair(seed).node_id(),
            time: Timing::PUBLIC.border(period).as_millis() - ago * 1_000,
            endpoints: vec![format!("/ip4/127.0.1.{seed}/udp/22021/quic-v1").parse().unwrap()],
            ..node_record()
        };
        let signed = record.sign(&network(), &pair(seed));
        (record.node, Entry::new(record, signed).into())
    });
    Snapshot::new(&network(), period, entries.into())
}

pub(crate) fn vote(snapshot: &Snapshot) -> Vote {
    let (hash, members) = (ByteArray::new(snapshot.hash()), ByteArray::new(members().id()));
    Vote { period: snapshot.period(), hash, members }
}

#[test]
fn snapshots() {
    let period = TIME / 3_600_000;
    let old = listed(period - 1, [(3, 60), (4, 60)]);
    // One has said the same again, one is gone, one is new.
    let new = listed(period, [(3, 30), (5, 30)]);
    let mut signed: Vec<_> = members()
        .nodes()
        .zip(0..)
        .map(|(node, place)| {
            let seed = MEMBERS.into_iter().find(|seed| pair(*seed).node_id() == node).unwrap();
            (place, vote(&new).sign(&network(), &pair(seed)).signature)
        })
        .collect();
    signed.truncate(members().quorum());
    let certificate = Certificate { signatures: signed };
    assert_eq!(certificate.verify(&network(), &members(), period, new.hash()), Ok(()));
    let whole = new.page(None, Some(&certificate), 0);
    let changes = new.page(Some(&old), None, 0);
    for (base, page) in [(None, &whole), (Some(old.clone().into()), &changes)] {
        let roster = Roster::new(members().into());
        let download = directory::Download::new(network(), Timing::PUBLIC, roster, Some(new.hash()), base);
        let Ok(directory::Progress::Whole(found)) = download.take(page.clone()) else { panic!() };
        assert_eq!(*found.snapshot, new);
    }
    let prefixes = MEMBERS.map(|seed| (pair(seed).node_id(), "127.0.1.0/24".parse().unwrap()));
    let client = || directory::Trusted::new(network(), Timing::PUBLIC, prefixes.into());
    let (mut first, mut later) = (client(), client());
    let Ok(directory::Progress::Whole(found)) = first.download().take(whole.clone()) else { panic!() };
    let now = Timing::PUBLIC.border(period);
    first.believe(now, found).unwrap();
    let kept = first.encode().unwrap();
    later.restore(now, &kept).unwrap();
    assert_eq!(later.snapshot(now).map(|one| &**one), Some(&new));
    let (hash, have) = (Some(ByteArray::new(new.hash())), Some(ByteArray::new(old.hash())));
    let newest = directory::Request::Snapshot { hash: None, have: None, from: 0 };
    let next = directory::Request::Snapshot { hash, have, from: 2_000 };
    let share = vote(&new).sign(&network(), &pair(NODE));
    let entries = [
        wire("request for the newest, whole", &newest, directory::MAX_REQUEST),
        wire("request for a later page", &next, directory::MAX_REQUEST),
        wire("page: a snapshot, certified", &directory::Answer::Snapshot(whole), directory::MAX_ANSWER),
        wire("page: changes of another", &directory::Answer::Snapshot(changes), directory::MAX_ANSWER),
        wire("unknown", &directory::Answer::Unknown, directory::MAX_ANSWER),
        wire("share, as gossiped", &share, directory::MAX_SHARE),
        wire("certificate", &certificate, directory::MAX_ANSWER),
        json!({ "name": "as a client keeps it", "cbor": HEX.encode(&kept) }),
    ];
    check("snapshots.json", &entries);
}

/// A checkpoint of two members, as it travels; what is hashed and signed has its vectors with the ledger.
#[test]
fn checkpoints() {
    let word = |byte: u8| ByteArray::new([byte; 32]);
    let member = |seed: u8, key, lists| checkpoint::Member {
        node: pair(seed).node_id(),
        registration: seed.into(),
        operator: ByteArray::new([seed; 20]),
        prefix: format!("127.0.{seed}.0/24"),
        key,
        lists,
    };
    let mut members =
        vec![member(1, Some(ByteArray::new([7; 96])), 3), member(2, None, 1), member(3, None, 0)];
    members.sort_by_key(|one| one.node);
    let events = |number| checkpoint::Events { number, hash: word(9) };
    let seats = |version, seats| checkpoint::Seats { version, swarms: vec![(1 << 40, seats)] };
    let head = checkpoint::Head {
        epoch: 300,
        block: word(1),
        previous: word(2),
        events: [events(1), events(2), events(300), events(4)],
        rewards: word(3),
        states: word(4),
        directory: word(5),
        names: word(0),
        acts: seats(6, vec![0, 1]),
        next: Some(seats(7, vec![0, 2])),
        signatures: vec![(0, ByteArray::new([8; 96])), (2, ByteArray::new([9; 96]))],
    };
    let whole = directory::SignedCheckpoint { head, members };
    let root = *whole.head.directory;
    let newest = directory::Request::Checkpoint { since: None, have: None, from: None };
    let next =
        directory::Request::Checkpoint { since: Some(299), have: Some(word(5)), from: Some((300, 2_000)) };
    let page = |has| directory::Answer::Checkpoint(Box::new(whole.page(has, 0)));
    let entries = [
        wire("request for the newest", &newest, directory::MAX_REQUEST),
        wire("request for a later page of another", &next, directory::MAX_REQUEST),
        wire("page", &page(None), directory::MAX_ANSWER),
        wire("page for who has the members", &page(Some(&root)), directory::MAX_ANSWER),
        wire("as it is kept", &whole, directory::MAX_ANSWER),
    ];
    check("checkpoints.json", &entries);
}
