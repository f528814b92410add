//! Records are believed as the rules say.

use super::*;
use crate::{KeyPair, Span};

const DOOR: OnionDoor = OnionDoor { day: 1, key: ByteArray::new([9; 32]), aes: true };

fn setup() -> (NetworkName, KeyPair, Directory) {
    let pair = KeyPair::from_seed(&[1; 32]);
    let members = [(pair.node_id(), "127.0.1.0/24".parse().unwrap())].into();
    let mut directory = Directory::new(None, String::new(), members);
    directory.handle(Time::ZERO, Input::Border { height: 0, hash: [0; 32] });
    ("test".parse().unwrap(), pair, directory)
}

fn record(pair: &KeyPair, time: u64, endpoint: &str) -> NodeRecord {
    NodeRecord {
        node: pair.node_id(),
        time,
        height: 0,
        border: ByteArray::new([0; 32]),
        endpoints: vec![endpoint.parse().unwrap()],
        onion: DOOR,
        version: "1".into(),
        door: None,
    }
}

fn judge(directory: &mut Directory, network: &NetworkName, pair: &KeyPair, record: NodeRecord) -> Verdict {
    let signed = record.sign(network, pair);
    let record = signed.open(network).unwrap();
    directory.handle(Time::from_millis(1_000_000), Input::Record { record, signed, message: Some(7) });
    let verdict = std::iter::from_fn(|| directory.poll()).find_map(|output| match output {
        Output::Judge { message, verdict } => (message == 7).then_some(verdict),
        _ => None,
    });
    verdict.unwrap()
}

#[test]
fn a_record_is_believed_once_and_only_forwards_in_time() {
    let (network, pair, mut directory) = setup();
    let at = |time| record(&pair, time, "/ip4/127.0.1.1/udp/9/quic-v1");
    assert_eq!(judge(&mut directory, &network, &pair, at(999_000)), Verdict::Accept);
    assert_eq!(judge(&mut directory, &network, &pair, at(999_000)), Verdict::Ignore);
    assert_eq!(judge(&mut directory, &network, &pair, at(998_000)), Verdict::Ignore);
    assert_eq!(judge(&mut directory, &network, &pair, at(999_001)), Verdict::Accept);
    assert_eq!(judge(&mut directory, &network, &pair, at(1_061_000)), Verdict::Ignore, "from the future");
    assert_eq!(directory.endpoints(&pair.node_id()).len(), 1);
}

#[test]
fn a_record_names_a_border_that_is_known_and_recent() {
    let (network, pair, mut directory) = setup();
    let naming = |height: u8, hash: u8, time| NodeRecord {
        height: height.into(),
        border: ByteArray::new([hash; 32]),
        ..record(&pair, time, "/ip4/127.0.1.1/udp/9/quic-v1")
    };
    let judge = |directory: &mut Directory, record| judge(directory, &network, &pair, record);
    // Whoever prepares a record for later cannot know the border that it will have to name.
    assert_eq!(judge(&mut directory, naming(1, 1, 990_001)), Verdict::Ignore, "not reached so far");
    assert_eq!(judge(&mut directory, naming(0, 9, 990_002)), Verdict::Ignore, "another hash");
    assert!(directory.is_empty());
    for height in 1..=3 {
        let border = Input::Border { height: height.into(), hash: [height; 32] };
        directory.handle(Time::ZERO, border);
    }
    assert_eq!(judge(&mut directory, naming(0, 0, 990_003)), Verdict::Ignore, "too old");
    for (height, time) in [(1, 990_004), (3, 990_005)] {
        assert_eq!(judge(&mut directory, naming(height, height, time)), Verdict::Accept);
    }
}

#[test]
fn a_record_of_a_later_border_counts_when_that_is_known() {
    let (network, pair, mut directory) = setup();
    let named = |height: u8| NodeRecord {
        height: height.into(),
        border: ByteArray::new([height; 32]),
        ..record(&pair, 999_000 + u64::from(height), "/ip4/127.0.1.1/udp/9/quic-v1")
    };
    let now = Time::from_millis(1_000_000);
    assert_eq!(judge(&mut directory, &network, &pair, named(2)), Verdict::Ignore);
    assert_eq!(directory.early.len(), 1);
    directory.handle(now, Input::Border { height: 1, hash: [1; 32] });
    assert_eq!((directory.len(), directory.early.len()), (0, 1), "it is the next but one");
    directory.handle(now, Input::Border { height: 2, hash: [9; 32] });
    assert_eq!((directory.len(), directory.early.len()), (0, 0), "it is another one");
    assert_eq!(judge(&mut directory, &network, &pair, named(3)), Verdict::Ignore);
    directory.handle(now, Input::Border { height: 3, hash: [3; 32] });
    assert_eq!((directory.len(), directory.early.len()), (1, 0));
    // What waits goes with its member.
    assert_eq!(judge(&mut directory, &network, &pair, named(4)), Verdict::Ignore);
    directory.handle(now, Input::Members { period: 0, members: BTreeMap::new() });
    assert!(directory.early.is_empty());
}

#[test]
fn a_node_says_anew_where_it_is_at_each_border() {
    let (_, pair, Directory { members, .. }) = setup();
    let mut directory = Directory::new(Some(pair.node_id()), String::new(), members);
    directory.handle(Time::ZERO, Input::Listening(vec!["/ip4/127.0.1.1/udp/9/quic-v1".parse().unwrap()]));
    directory.handle(Time::ZERO, Input::Onion(DOOR));
    for (height, seconds) in [(1, 0), (2, 60), (3, 61)] {
        let now = Time::ZERO.after(Span::secs(seconds));
        directory.handle(now, Input::Border { height, hash: [height as u8; 32] });
        let due = directory.deadline().unwrap();
        assert!(due <= now.after(ANNOUNCE_PAUSE));
        directory.handle(due, Input::Tick);
        let Some(Output::Announce(record)) = directory.poll() else { panic!("nothing to announce") };
        assert_eq!(record.height, height);
    }
}

#[test]
fn a_node_announces_the_latest_border_and_nothing_before_the_first() {
    let (_, pair, Directory { members, .. }) = setup();
    let mut directory = Directory::new(Some(pair.node_id()), String::new(), members).with_door(Some(22_443));
    let endpoint = "/ip4/127.0.1.1/udp/9/quic-v1".parse().unwrap();
    directory.handle(Time::ZERO, Input::Listening(vec![endpoint]));
    assert_eq!(directory.deadline(), None);
    directory.handle(Time::ZERO, Input::Onion(DOOR));
    assert_eq!(directory.deadline(), None);
    directory.handle(Time::ZERO, Input::Border { height: 6, hash: [6; 32] });
    directory.handle(Time::ZERO, Input::Border { height: 7, hash: [7; 32] });
    let due = directory.deadline().unwrap();
    directory.handle(due, Input::Tick);
    let Some(Output::Announce(record)) = directory.poll() else { panic!("nothing to announce") };
    assert_eq!((record.height, *record.border, record.onion), (7, [7; 32], DOOR));
    assert_eq!(record.door, Some(22_443));
}

#[test]
fn a_new_onion_key_is_announced_soon() {
    let (_, pair, Directory { members, .. }) = setup();
    let mut directory = Directory::new(Some(pair.node_id()), String::new(), members);
    directory.handle(Time::ZERO, Input::Border { height: 6, hash: [6; 32] });
    directory.handle(Time::ZERO, Input::Listening(vec!["/ip4/127.0.1.1/udp/9/quic-v1".parse().unwrap()]));
    assert_eq!(directory.deadline(), None, "nobody could send it a packet");
    directory.handle(Time::ZERO, Input::Onion(DOOR));
    directory.handle(directory.deadline().unwrap(), Input::Tick);
    assert!(matches!(directory.poll(), Some(Output::Announce(record)) if record.onion == DOOR));
    let now = Time::ZERO.after(Span::secs(60));
    directory.handle(now, Input::Onion(DOOR));
    assert!(directory.deadline().unwrap() > now, "it is the same");
    let next = OnionDoor { day: 2, ..DOOR };
    directory.handle(now, Input::Onion(next));
    assert_eq!(directory.deadline(), Some(now));
    directory.handle(now, Input::Tick);
    assert!(matches!(directory.poll(), Some(Output::Announce(record)) if record.onion == next));
}

#[test]
fn addresses_outside_the_declared_prefix_are_refused() {
    let (network, pair, mut directory) = setup();
    let outside = record(&pair, 999_000, "/ip4/127.0.2.1/tcp/9");
    assert_eq!(judge(&mut directory, &network, &pair, outside), Verdict::Reject);
    assert!(directory.is_empty());
}

#[test]
fn strangers_and_forgers_are_not_believed() {
    let (network, pair, mut directory) = setup();
    let stranger = KeyPair::from_seed(&[2; 32]);
    let theirs = record(&stranger, 999_000, "/ip4/127.0.1.1/tcp/9");
    assert_eq!(judge(&mut directory, &network, &stranger, theirs), Verdict::Ignore);
    let forged = record(&pair, 999_000, "/ip4/127.0.1.1/tcp/9").sign(&network, &stranger);
    assert_eq!(forged.open(&network), None);
    let elsewhere = record(&pair, 999_000, "/ip4/127.0.1.1/tcp/9").sign(&"other".parse().unwrap(), &pair);
    assert_eq!(elsewhere.open(&network), None, "signed for another network");
}
