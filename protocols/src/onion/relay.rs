//! What a hop does with what arrives: peel, check, forward, answer.
//!
//! The host takes a packet through these steps, in a task of its own, and waits for others only
//! between them. Steps that compute ([`Opening::run`], [`Back::relay`]) need the relay no longer and
//! run on worker threads; the steps of [`Relay`] itself look things up and are short.
//!
//! ```text
//! arrive -> Opening::run -> opened -> forward or deliver -> Back -> leave
//!    \______________________/ \______ refused, with one code
//! ```

use core::fmt;
use std::{collections::BTreeSet, sync::Arc};

use rand_core::Rng;
use zeroize::Zeroizing;

use super::{
    keys::Keyring,
    layer::{self, First, Handshake, OpenedFirst, SessionId, SessionKeys, Unreadable, Way},
    noise::OnionKey,
    prologue,
    replay::Replays,
    session::{MAX_SESSIONS, Sessions},
    shares::Shares,
    size::{
        Bucket, DELIVERY, Position, RESULT, ROUTE, answer_len, answer_of, answer_text_len, packet_len,
        packet_shape,
    },
    wrap::{Service, Status},
};
use crate::{NetworkName, NodeId, Prefix, Span, Time, mutants};

/// Packets under way through a hop, from arrival to answer; shared out as [`super::shares`] says.
pub const MAX_UNDER_WAY: usize = 16_384;
/// Packets that a host lets be under way on one stream, at either end of it: more than one neighbour may have
/// of [`MAX_UNDER_WAY`], so that one too many is refused. Left unread it would hold up all behind it.
pub const STREAM_WINDOW: usize = 4_096;

/// How long a destination may take over its answer: longer than it waits for a majority.
const HOP: Span = Span::secs(10);
/// How much longer each hop waits than the one behind it; see [`patience`].
const MARGIN: Span = Span::secs(1);

/// How long a hop at this position waits for the next one.
///
/// Of all who wait for one that is silent, the hop before it ends first: that one tells the client, and no
/// link between two that are honest is named. It tells so later than most clients wait for an answer: they
/// listen on for [`ECHO`](crate::path::ECHO).
pub const fn patience(position: Position) -> Span {
    match position {
        Position::Destination | Position::Last => HOP,
        Position::Middle => Span(HOP.0 + MARGIN.0),
        Position::Guard => Span(HOP.0 + 2 * MARGIN.0),
    }
}

/// Why a hop does not even open a packet, or forgets it: a code that it answers its neighbour with,
/// a frame of one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It cannot be opened, was seen before, or came at a wrong time or length: which, nobody is told.
    Unreadable,
    /// There is too much to do, for this neighbour or in all.
    Busy,
    /// This neighbour may not send packets of this position.
    Unknown,
}

impl Refusal {
    /// The frame that says so.
    pub const fn frame(self) -> [u8; 1] {
        [self.status().number()]
    }

    /// The refusal that a frame says; none if it is an answer.
    pub fn read(frame: &[u8]) -> Option<Self> {
        match *frame {
            [code] if code == Self::Busy.status().number() => Some(Self::Busy),
            [code] if code == Self::Unknown.status().number() => Some(Self::Unknown),
            [_] => Some(Self::Unreadable),
            _ => None,
        }
    }

    /// What the hop before it tells the client.
    pub const fn status(self) -> Status {
        match self {
            Self::Unreadable => Status::Unreadable,
            Self::Busy => Status::Busy,
            Self::Unknown => Status::Unknown,
        }
    }
}

impl From<Unreadable> for Refusal {
    fn from(Unreadable: Unreadable) -> Self {
        Self::Unreadable
    }
}

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour<K> {
    /// Who holds the other end of the connection.
    pub key: K,
    /// Whether that is a registered node: nodes forward, everybody else enters.
    pub node: bool,
    /// The address prefix that a stranger shares with others; none where it is counted by itself.
    pub prefix: Option<Prefix>,
}

/// A packet that may be opened.
pub struct Opening {
    packet: Vec<u8>,
    bucket: Bucket,
    position: Position,
    with: With,
}

enum With {
    First { first: First, key: OnionKey, prologue: Vec<u8>, random: Zeroizing<[u8; 32]> },
    Session { keys: Arc<SessionKeys>, id: SessionId, number: u64 },
}

/// A packet that was opened and is authentic.
pub struct Opened {
    text: Vec<u8>,
    bucket: Bucket,
    position: Position,
    by: By,
}

enum By {
    First { ephemeral: [u8; 32], stamp: u32, state: Box<Handshake> },
    Session { keys: Arc<SessionKeys>, id: SessionId, number: u64 },
}

/// What comes next for a packet.
#[derive(Debug)]
pub enum Step {
    /// Send it on, and answer with what comes back.
    Forward {
        /// To whom.
        to: NodeId,
        /// What.
        packet: Vec<u8>,
        /// To answer with.
        back: Back,
    },
    /// It is for this node: ask the service, and answer with what it says.
    Deliver {
        /// Whom to ask.
        service: Service,
        /// What, encoded.
        request: Vec<u8>,
        /// To answer with.
        back: Back,
    },
    /// It goes no further: answer so.
    Turn {
        /// Why.
        status: Status,
        /// To answer with.
        back: Back,
    },
}

/// What a packet's answer is sealed with.
pub struct Back {
    bucket: Bucket,
    position: Position,
    with: Reply,
}

enum Reply {
    First(Box<Handshake>, SessionId, Zeroizing<[u8; 32]>),
    Session(Arc<SessionKeys>, u64),
}

/// A sealed answer.
pub struct Sealed {
    answer: Vec<u8>,
    session: Option<(SessionId, Arc<SessionKeys>)>,
}

/// A hop.
pub struct Relay<K, R> {
    network: NetworkName,
    me: NodeId,
    keys: Keyring,
    nodes: BTreeSet<NodeId>,
    sessions: Sessions<K>,
    replays: Replays<K>,
    under_way: Shares<K>,
    random: R,
}

impl<K: Copy + Ord, R: Rng> Relay<K, R> {
    /// A hop of this network, that forwards to `nodes`. `taken` is the last stamp that it may have
    /// taken before, as [`Replays::new`] wants it; `random` must be seeded with secret bytes.
    pub fn new(
        network: NetworkName,
        me: NodeId,
        keys: Keyring,
        nodes: BTreeSet<NodeId>,
        taken: u32,
        mut random: R,
    ) -> Self {
        let mut secret = [0; 32];
        random.fill_bytes(&mut secret);
        Self {
            network,
            me,
            keys,
            nodes,
            sessions: Sessions::new(MAX_SESSIONS),
            replays: Replays::new(taken, secret),
            under_way: Shares::new(MAX_UNDER_WAY),
            random,
        }
    }

    /// The nodes that it forwards to are others from now on.
    pub fn set_nodes(&mut self, nodes: BTreeSet<NodeId>) {
        self.nodes = nodes;
    }

    /// Whether it forwards to this node, which may forward to it.
    pub fn knows(&self, node: &NodeId) -> bool {
        self.nodes.contains(node)
    }

    /// The keys that it has.
    pub const fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// The last stamp that it took: what [`Self::new`] wants to know after a clean stop.
    pub fn taken(&self) -> u32 {
        self.replays.last()
    }

    /// How many sessions it keeps.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many packets are under way.
    pub const fn under_way(&self) -> usize {
        self.under_way.held()
    }

    /// A packet arrived. Once this has said yes, [`Self::leave`] or [`Self::forget`] must follow.
    ///
    /// # Errors
    ///
    /// When it is not to be opened.
    pub fn arrive(&mut self, from: Neighbour<K>, packet: Vec<u8>) -> Result<Opening, Refusal> {
        let (bucket, position) = packet_shape(packet.len()).ok_or(Refusal::Unreadable)?;
        // Only nodes stand inside a path, and only others enter one.
        if from.node == (position == Position::Guard) && !mutants::on("relay-entrance") {
            return Err(Refusal::Unknown);
        }
        let with = match layer::way(&packet)? {
            Way::First(first) => {
                let key = self.keys.find(first.day).ok_or(Refusal::Unreadable)?.clone();
                let mut random = Zeroizing::new([0; 32]);
                self.random.fill_bytes(random.as_mut_slice());
                With::First { first, key, prologue: prologue(&self.network, &self.me), random }
            }
            Way::Session(id, masked) => {
                let found = self.sessions.find(from.key, id, masked, &packet);
                let tells = mutants::on("refusal-tells");
                let lost = if tells { Refusal::Unknown } else { Refusal::Unreadable };
                let (keys, number) = found.ok_or(lost)?;
                With::Session { keys, id, number }
            }
        };
        if !self.under_way.take(from) {
            return Err(Refusal::Busy);
        }
        Ok(Opening { packet, bucket, position, with })
    }

    /// A packet was opened.
    ///
    /// # Errors
    ///
    /// When it was seen before, came at a wrong time, or its neighbour has sent too many first ones.
    pub fn opened(&mut self, now: Time, from: Neighbour<K>, opened: Opened) -> Result<Step, Refusal> {
        let Opened { text, bucket, position, by } = opened;
        let with = match by {
            By::First { ephemeral, stamp, state } => {
                self.replays.take(now, stamp, &ephemeral, from)?;
                let mut id = SessionId::NONE;
                if self.sessions.has_room(from) {
                    self.random.fill_bytes(&mut id.0);
                }
                let mut mask = Zeroizing::new([0; 32]);
                self.random.fill_bytes(mask.as_mut_slice());
                Reply::First(state, id, mask)
            }
            By::Session { keys, id, number } => {
                if !self.sessions.take(id, number) {
                    return Err(Refusal::Unreadable);
                }
                Reply::Session(keys, number)
            }
        };
        match position.next() {
            Some(next) => self.route(text, bucket, position, next, with),
            None => deliver(text, with),
        }
        .ok_or(Refusal::Unreadable)
    }

    fn route(
        &self,
        mut text: Vec<u8>,
        bucket: Bucket,
        position: Position,
        next: Position,
        with: Reply,
    ) -> Option<Step> {
        let (to, rest) = text.split_first_chunk()?;
        let to = NodeId::from_bytes(*to);
        let (answer, rest) = rest.split_first()?;
        let back = Back { bucket: Bucket::from_number(*answer)?, position, with };
        let length = if mutants::on("relay-any-size") { rest.len() } else { packet_len(bucket, next) };
        if !rest.get(length..)?.iter().all(|fill| *fill == 0) {
            return None;
        }
        if to == self.me || !(self.nodes.contains(&to) || mutants::on("relay-strangers")) {
            return Some(Step::Turn { status: Status::Unknown, back });
        }
        text.drain(..ROUTE);
        text.truncate(length);
        Some(Step::Forward { to, packet: text, back })
    }

    /// The answer leaves: what it left behind is kept.
    pub fn leave(&mut self, now: Time, from: Neighbour<K>, sealed: Sealed) -> Vec<u8> {
        if let Some((id, keys)) = sealed.session {
            self.sessions.keep(now, id, from, keys);
        }
        self.forget(from);
        sealed.answer
    }

    /// A packet is under way no longer.
    pub fn forget(&mut self, from: Neighbour<K>) {
        self.under_way.leave(from);
    }

    /// Time has passed. True when the keys changed: they are to be kept, and the new one given out.
    pub fn tick(&mut self, now: Time) -> bool {
        self.sessions.expire(now);
        if !self.keys.is_due(now) {
            return false;
        }
        let mut fresh = Zeroizing::new([0; 32]);
        self.random.fill_bytes(fresh.as_mut_slice());
        self.keys.turn(now, *fresh)
    }

    /// When [`Self::tick`] is due.
    pub fn deadline(&self) -> Time {
        let keys = self.keys.deadline();
        self.sessions.deadline().map_or(keys, |end| end.min(keys))
    }
}

fn deliver(mut text: Vec<u8>, with: Reply) -> Option<Step> {
    let ([answer, service], rest) = text.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let back = Back { bucket: Bucket::from_number(*answer)?, position: Position::Destination, with };
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let Some(service) = Service::from_number(*service).filter(|_| length <= rest.len()) else {
        return Some(Step::Turn { status: Status::BadRequest, back });
    };
    text.drain(..DELIVERY);
    text.truncate(length);
    Some(Step::Deliver { service, request: text, back })
}

impl Opening {
    /// Whether opening it is worth a thread of its own.
    pub const fn is_dear(&self) -> bool {
        matches!(self.with, With::First { .. })
    }

    /// Opens the packet: the dear part.
    ///
    /// # Errors
    ///
    /// When it is not authentic.
    pub fn run(self) -> Result<Opened, Refusal> {
        let Self { packet, bucket, position, with } = self;
        match with {
            With::First { first, key, prologue, random } => {
                let OpenedFirst { text, stamp, state } =
                    layer::open_first(&prologue, &key, &first, random, packet)?;
                let by = By::First { ephemeral: first.ephemeral, stamp, state: Box::new(state) };
                Ok(Opened { text, bucket, position, by })
            }
            With::Session { keys, id, number } => {
                let text = layer::open_session(&keys, number, &packet)?;
                Ok(Opened { text, bucket, position, by: By::Session { keys, id, number } })
            }
        }
    }
}

impl Back {
    /// Whether sealing the answer is worth a thread of its own.
    pub const fn is_dear(&self) -> bool {
        matches!(self.with, Reply::First(..))
    }

    /// Where on its path this hop is, which the packet's length told.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// How many bytes an answer may have.
    pub const fn capacity(&self) -> usize {
        self.bucket.capacity()
    }

    /// Seals what the next hop sent back; none if it sent nothing.
    ///
    /// # Errors
    ///
    /// Never for what [`Relay`] handed out.
    pub fn relay(self, answer: Option<&[u8]>) -> Result<Sealed, Refusal> {
        let status = match (answer, self.position.next()) {
            (None, _) => Status::Unreachable,
            (Some(answer), Some(next)) if answer.len() == answer_len(self.bucket, next) => Status::Ok,
            (Some(answer), _) => Refusal::read(answer).map_or(Status::Malformed, Refusal::status),
        };
        let inner = answer.filter(|_| status == Status::Ok).unwrap_or_default();
        self.seal(status, &[inner])
    }

    /// Seals what the service answered.
    ///
    /// # Errors
    ///
    /// Never for what [`Relay`] handed out.
    pub fn answer(self, answer: &[u8]) -> Result<Sealed, Refusal> {
        if answer.len() > self.bucket.capacity() {
            return self.turn(Status::TooLarge);
        }
        let length = u32::try_from(answer.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.seal(Status::Ok, &[&length, answer])
    }

    /// Seals that it goes no further.
    ///
    /// # Errors
    ///
    /// Never for what [`Relay`] handed out.
    pub fn turn(self, status: Status) -> Result<Sealed, Refusal> {
        self.seal(status, &[])
    }

    fn seal(self, status: Status, parts: &[&[u8]]) -> Result<Sealed, Refusal> {
        let mut text = Vec::with_capacity(answer_text_len(self.bucket, self.position).max(RESULT));
        text.push(status.number());
        for part in parts {
            text.extend(*part);
        }
        let full = answer_len(self.bucket, self.position);
        let length = if mutants::on("answer-unfilled") { answer_of(text.len()) } else { full };
        Ok(match self.with {
            Reply::First(state, id, mask) => {
                let (answer, keys) = layer::seal_first_answer(*state, id, &mask, &text, length)?;
                Sealed { answer, session: (id != SessionId::NONE).then(|| (id, Arc::new(keys))) }
            }
            Reply::Session(keys, number) => {
                let answer = layer::seal_session_answer(&keys, number, &text, length)?;
                Sealed { answer, session: None }
            }
        })
    }
}

impl fmt::Debug for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Back({:?}, {:?})", self.bucket, self.position)
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({:?}, {:?})", self.bucket, self.position)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({:?}, {:?})", self.bucket, self.position)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.answer.len())
    }
}

impl<K, R> fmt::Debug for Relay<K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({}, {:?}, {} under way)", self.me, self.sessions, self.under_way.held())
    }
}

#[cfg(test)]
mod tests;
