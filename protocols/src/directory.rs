//! Who is where: node records, and the machine that knows whom to believe.
//!
//! A record is a node's own signed word about its addresses. It names a recent border of the
//! ledger, so that none can be made in advance, and is believed only of a registered node and only
//! for addresses inside the prefix that the node declared.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::{
    KeyPair, NetworkName, NodeId, Signature, Span, Statement, Time, codec, identity,
    onion::{
        keys::DayKey,
        layer::Door,
        noise::{PUBLIC, Suite},
    },
    prefix::Prefix,
};

/// The longest encoded record, in bytes.
pub const MAX_RECORD: usize = 2_048;
/// The longest encoded request, in bytes.
pub const MAX_REQUEST: usize = 1_024;
/// The longest encoded answer, in bytes.
pub const MAX_ANSWER: usize = 512 * 1024;
/// The most endpoints in a record.
pub const MAX_ENDPOINTS: usize = 8;
/// How far ahead of our clock a record's time may be.
pub const MAX_AHEAD: Span = Span::secs(60);
/// How old a record may be when it arrives; it stays until a later one takes its place.
pub const LIFETIME: Span = Span::hours(24);
/// How often a node says where it is.
pub const ANNOUNCE: Span = Span::secs(600);
/// How soon a node may say so again when something changed.
pub const ANNOUNCE_PAUSE: Span = Span::secs(10);
/// How many of the last borders a record may name: a node may lag a little, and no record outlives
/// the few epochs in which it was made.
pub const RECENT_BORDERS: usize = 3;

/// A way to reach a node, shown as a multiaddr such as `/ip4/127.0.1.1/udp/22021/quic-v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Over what.
    pub transport: Transport,
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

/// What a node is reached over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// TCP with Noise and Yamux.
    Tcp,
}

/// A text is not an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address such as /ip4/127.0.1.1/udp/22021/quic-v1 or /ip6/::1/tcp/22021")]
pub struct EndpointError;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Who.
    pub node: NodeId,
    /// When it said so, in milliseconds since 1970.
    pub time: u64,
    /// The height of the last border of the ledger that it knew.
    pub height: u64,
    /// That border's block hash.
    pub border: ByteArray<32>,
    /// Where it is reached, best first; at most [`MAX_ENDPOINTS`].
    pub endpoints: Vec<Endpoint>,
    /// What onion packets for it are sealed to.
    pub onion: OnionDoor,
    /// The version of its software.
    pub version: String,
}

/// How a node is entered by onion packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnionDoor {
    /// The last byte of the number of the key's day, counted from 1970.
    pub day: u8,
    /// The key's public half.
    pub key: ByteArray<PUBLIC>,
    /// Whether the node is fast at AES.
    pub aes: bool,
}

impl OnionDoor {
    /// The door that this key opens, at a node that is fast at AES or not.
    pub fn of(key: &DayKey, aes: bool) -> Self {
        Self { day: key.day(), key: ByteArray::new(*key.key.public()), aes }
    }

    /// The door for a client that is fast at AES or not.
    pub fn door(&self, aes: bool) -> Door<'_> {
        let suite = if aes && self.aes { Suite::Aes } else { Suite::ChaCha };
        Door { suite, day: self.day, public: &self.key }
    }
}

/// A record as it travels: the exact bytes that were signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord {
    /// An encoded [`NodeRecord`].
    pub record: ByteBuf,
    /// By the node that the record names.
    pub signature: Signature,
}

/// A question about the directory: `/session/<net>/directory/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The records of nodes after this one, in order of their ids; from the first if none.
    Records {
        /// The last node of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<NodeId>,
    },
}

/// An answer about the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A page of records.
    Records {
        /// In order of the nodes' ids.
        records: Vec<SignedRecord>,
        /// Whether more follow.
        more: bool,
    },
}

impl NodeRecord {
    /// Signs the record with the node's key.
    pub fn sign(&self, network: &NetworkName, pair: &KeyPair) -> SignedRecord {
        let record = codec::encode(self);
        let signature = pair.sign(statement(network, &record).as_bytes());
        SignedRecord { record: ByteBuf::from(record), signature }
    }
}

impl SignedRecord {
    /// Reads the record, if the node that it names has signed it.
    pub fn open(&self, network: &NetworkName) -> Option<NodeRecord> {
        let record: NodeRecord = codec::decode(&self.record, MAX_RECORD).ok()?;
        let signed = identity::verify(
            record.node.as_bytes(),
            statement(network, &self.record).as_bytes(),
            &self.signature,
        );
        signed.then_some(record)
    }
}

fn statement(network: &NetworkName, record: &[u8]) -> Statement {
    Statement::new("node-record", network).bytes(record)
}

/// What the directory machine is fed.
#[expect(clippy::large_enum_variant, reason = "short-lived, and the large one is the common one")]
#[derive(Clone, Debug)]
pub enum Input {
    /// A record arrived by gossip, or in an answer; its signature was checked by opening it.
    Record {
        /// What was signed.
        record: NodeRecord,
        /// As it travels.
        signed: SignedRecord,
        /// The gossip message to judge, if it came by gossip.
        message: Option<u64>,
    },
    /// A gossip message could not be opened.
    Garbage {
        /// The gossip message to judge.
        message: u64,
    },
    /// This node can be reached here from now on.
    Listening(Vec<Endpoint>),
    /// Onion packets for this node are sealed to this from now on.
    Onion(OnionDoor),
    /// The ledger reached another border; records that name one of the last [`RECENT_BORDERS`] are
    /// believed. A network without a chain has one border, its seed.
    Border {
        /// Its height.
        height: u64,
        /// Its hash.
        hash: [u8; 32],
    },
    /// Somebody new can hear this node's record.
    Heard,
    /// Time has passed.
    Tick,
}

/// What to do with a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Drop it; nobody is to blame.
    Ignore,
    /// Drop it; whoever sent it should have known.
    Reject,
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Sign this and gossip it.
    Announce(NodeRecord),
    /// Judge a gossip message.
    Judge {
        /// The number of [`Input::Record`].
        message: u64,
        /// What to do with it.
        verdict: Verdict,
    },
    /// A node is found here: tell the transport.
    Found {
        /// Who.
        node: NodeId,
        /// Where, best first.
        endpoints: Vec<Endpoint>,
    },
}

/// The machine of one participant's directory.
#[derive(Debug)]
pub struct Directory {
    me: Option<NodeId>,
    version: String,
    members: BTreeMap<NodeId, Prefix>,
    known: BTreeMap<NodeId, (NodeRecord, SignedRecord)>,
    endpoints: Vec<Endpoint>,
    onion: Option<OnionDoor>,
    /// The last few, the latest last.
    borders: VecDeque<(u64, [u8; 32])>,
    announce_at: Option<Time>,
    announced: Time,
    outbox: VecDeque<Output>,
}

impl Directory {
    /// A directory of `members`; `me` announces itself, a client has none.
    pub const fn new(me: Option<NodeId>, version: String, members: BTreeMap<NodeId, Prefix>) -> Self {
        Self {
            me,
            version,
            members,
            known: BTreeMap::new(),
            endpoints: Vec::new(),
            onion: None,
            borders: VecDeque::new(),
            announce_at: None,
            announced: Time::ZERO,
            outbox: VecDeque::new(),
        }
    }

    /// Applies one input at `now`; results are read with [`Self::poll`].
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Record { record, signed, message } => {
                let verdict = self.take(now, record, signed);
                self.outbox.extend(message.map(|message| Output::Judge { message, verdict }));
            }
            Input::Garbage { message } => {
                self.outbox.push_back(Output::Judge { message, verdict: Verdict::Reject });
            }
            Input::Listening(mut endpoints) => {
                endpoints.truncate(MAX_ENDPOINTS);
                if endpoints != self.endpoints {
                    self.endpoints = endpoints;
                    self.announce_soon(now);
                }
            }
            Input::Onion(door) => {
                if self.onion.replace(door) != Some(door) {
                    self.announce_soon(now);
                }
            }
            Input::Border { height, hash } => {
                if self.borders.len() >= RECENT_BORDERS {
                    self.borders.pop_front();
                }
                self.borders.push_back((height, hash));
                if self.borders.len() == 1 {
                    self.announce_soon(now);
                }
            }
            Input::Heard => self.announce_soon(now),
            Input::Tick => self.tick(now),
        }
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when [`Input::Tick`] is next due.
    pub const fn deadline(&self) -> Option<Time> {
        self.announce_at
    }

    /// Where a node says it is, best first; empty when nothing is known.
    pub fn endpoints(&self, node: &NodeId) -> &[Endpoint] {
        self.known.get(node).map_or(&[], |(record, _)| &record.endpoints)
    }

    /// How a node is entered by onion packets; none when nothing is known.
    pub fn onion(&self, node: &NodeId) -> Option<&OnionDoor> {
        self.known.get(node).map(|(record, _)| &record.onion)
    }

    /// How many nodes have said where they are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no node has said where it is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a node is a member.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.members.contains_key(node)
    }

    /// The prefix that a member declared.
    pub fn prefix(&self, node: &NodeId) -> Option<Prefix> {
        self.members.get(node).copied()
    }

    /// Answers a question.
    pub fn answer(&self, request: &Request) -> Answer {
        let Request::Records { after } = request;
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        let start = after.map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
        for (_, signed) in self.known.range((start, core::ops::Bound::Unbounded)).map(|(_, known)| known) {
            bytes = bytes.saturating_add(signed.record.len()).saturating_add(128);
            if bytes > MAX_ANSWER {
                return Answer::Records { records, more: true };
            }
            records.push(signed.clone());
        }
        Answer::Records { records, more: false }
    }

    fn take(&mut self, now: Time, record: NodeRecord, signed: SignedRecord) -> Verdict {
        let Some(prefix) = self.members.get(&record.node) else { return Verdict::Ignore };
        let stays = record.endpoints.iter().all(|endpoint| prefix.covers(endpoint.ip));
        if record.endpoints.is_empty() || record.endpoints.len() > MAX_ENDPOINTS || !stays {
            return Verdict::Reject;
        }
        // One that knows a later border than this participant is not to blame.
        if !self.borders.contains(&(record.height, *record.border)) {
            return Verdict::Ignore;
        }
        let said = Time::from_millis(record.time);
        if said > now.after(MAX_AHEAD) || now.since(said) > LIFETIME {
            return Verdict::Ignore;
        }
        if self.known.get(&record.node).is_some_and(|(old, _)| old.time >= record.time) {
            return Verdict::Ignore;
        }
        if Some(record.node) != self.me {
            self.outbox.push_back(Output::Found { node: record.node, endpoints: record.endpoints.clone() });
        }
        self.known.insert(record.node, (record, signed));
        Verdict::Accept
    }

    fn announce_soon(&mut self, now: Time) {
        let complete = !self.endpoints.is_empty() && self.onion.is_some() && !self.borders.is_empty();
        if self.me.is_some() && complete {
            let soon = now.max(self.announced.after(ANNOUNCE_PAUSE));
            self.announce_at = Some(self.announce_at.map_or(soon, |at| at.min(soon)));
        }
    }

    fn tick(&mut self, now: Time) {
        let due = self.announce_at.is_some_and(|at| at <= now);
        let Some(node) = self.me.filter(|_| due) else { return };
        // Without a border or a key nothing is ever due: nobody would believe it.
        let (Some((height, border)), Some(onion)) = (self.borders.back().copied(), self.onion) else {
            return;
        };
        self.announced = now;
        self.announce_at = Some(now.after(ANNOUNCE));
        self.outbox.push_back(Output::Announce(NodeRecord {
            node,
            time: now.as_millis(),
            height,
            border: ByteArray::new(border),
            endpoints: self.endpoints.clone(),
            onion,
            version: self.version.clone(),
        }));
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "/ip4/{ip}")?,
            IpAddr::V6(ip) => write!(f, "/ip6/{ip}")?,
        }
        match self.transport {
            Transport::Quic => write!(f, "/udp/{}/quic-v1", self.port),
            Transport::Tcp => write!(f, "/tcp/{}", self.port),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (family, ip, transport, port) = match parts.as_slice() {
            ["", family, ip, "udp", port, "quic-v1"] => (family, ip, Transport::Quic, port),
            ["", family, ip, "tcp", port] => (family, ip, Transport::Tcp, port),
            _ => return Err(EndpointError),
        };
        let ip: IpAddr = ip.parse().map_err(|_| EndpointError)?;
        let expected = if ip.is_ipv4() { "ip4" } else { "ip6" };
        let port = port.parse().map_err(|_| EndpointError)?;
        if *family == expected { Ok(Self { transport, ip, port }) } else { Err(EndpointError) }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    fn judge(
        directory: &mut Directory,
        network: &NetworkName,
        pair: &KeyPair,
        record: NodeRecord,
    ) -> Verdict {
        let signed = record.sign(network, pair);
        let record = signed.open(network).unwrap();
        directory.handle(Time::from_millis(1_000_000), Input::Record { record, signed, message: Some(7) });
        let verdict = std::iter::from_fn(|| directory.poll()).find_map(|output| match output {
            Output::Judge { message, verdict } => (message == 7).then_some(verdict),
            Output::Announce(_) | Output::Found { .. } => None,
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
    fn a_node_announces_the_latest_border_and_nothing_before_the_first() {
        let (_, pair, Directory { members, .. }) = setup();
        let mut directory = Directory::new(Some(pair.node_id()), String::new(), members);
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

    #[test]
    fn endpoints_are_shown_as_they_are_read() {
        for text in ["/ip4/127.0.1.1/udp/22021/quic-v1", "/ip6/::1/tcp/22021"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for wrong in ["", "/ip4/::1/tcp/1", "/ip4/127.0.0.1/tcp/70000", "/dns4/a/tcp/1", "/ip4/1.2.3.4/udp/1"]
        {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
