//! All layers at once: what a client sends, and how it opens what comes back.

use core::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{
    layer::{self, Door, Handshake, SessionId, SessionKeys, Unreadable},
    prologue,
    size::{Bucket, DELIVERY, Position, answer_len, packet_len, text_len},
};
use crate::{NetworkName, NodeId, mutants};

/// What is asked of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The storage protocol.
    Storage,
    /// The storage protocol's `retrieve`, whose answer waits a while for something to arrive.
    Notify,
    /// Lookups of names.
    Names,
}

impl Service {
    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Storage => 1,
            Self::Notify => 2,
            Self::Names => 3,
        }
    }

    /// The service of this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Storage),
            2 => Some(Self::Notify),
            3 => Some(Self::Names),
            _ => None,
        }
    }
}

/// How a hop, or the destination, fared with what it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Here is the answer.
    Ok,
    /// The next hop cannot be reached, or gave no answer.
    Unreachable,
    /// The next hop says that it cannot open the packet: its session is gone, or worse.
    Unreadable,
    /// The next hop has too much to do.
    Busy,
    /// The next hop is not a node of this network.
    Unknown,
    /// The next hop's answer has no length that an answer has.
    Malformed,
    /// The answer needs a larger bucket.
    TooLarge,
    /// The destination knows no such service, or cannot read the request.
    BadRequest,
}

impl Status {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::Unreachable,
        Self::Unreadable,
        Self::Busy,
        Self::Unknown,
        Self::Malformed,
        Self::TooLarge,
        Self::BadRequest,
    ];

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The status of this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A session that a client keeps with a hop.
#[derive(Clone)]
pub struct ClientSession {
    id: SessionId,
    keys: Arc<SessionKeys>,
    /// The number of the next packet.
    next: u64,
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientSession(packet {} next)", self.next)
    }
}

/// How a hop is entered.
#[derive(Debug)]
pub enum Entry<'a> {
    /// By a handshake; `random` is 64 fresh bytes.
    First {
        /// To which key.
        door: Door<'a>,
        /// For the ephemeral keys.
        random: Zeroizing<[u8; 64]>,
    },
    /// By a session that an answer left.
    Session(&'a mut ClientSession),
}

/// One of the four that a packet passes.
#[derive(Debug)]
pub struct Hop<'a> {
    /// Which node.
    pub node: NodeId,
    /// How it is entered.
    pub entry: Entry<'a>,
}

/// A request for a destination.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is asked for.
    pub service: Service,
    /// The request, encoded.
    pub request: &'a [u8],
    /// The bucket of its answer.
    pub answer: Bucket,
    /// The stamp of this time.
    pub stamp: u32,
}

/// A request cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// It is larger than the largest bucket.
    #[error("a request of {0} bytes is larger than a packet holds")]
    TooLarge(usize),
    /// A hop's key is of no use.
    #[error("the key of hop {0} cannot be used")]
    BadKey(usize),
}

/// What opens the answer to one packet.
pub struct Return {
    answer: Bucket,
    layers: [Layer; 4],
}

enum Layer {
    First(Box<Handshake>),
    Session(Arc<SessionKeys>, u64),
}

/// An answer, opened as far as it goes.
#[derive(Debug)]
pub struct Unwrapped {
    /// Sessions that hops now keep, by their place from the guard on.
    pub sessions: [Option<ClientSession>; 4],
    /// What the destination answered, or who of the four went no further and why.
    pub outcome: Result<Vec<u8>, Stopped>,
}

/// How far a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Who says so: its place from the guard on, 0 to 3.
    pub by: usize,
    /// How it fared.
    pub status: Status,
}

/// Wraps a request for a destination: `hops` are guard, middle, last and the destination.
///
/// # Errors
///
/// When it is too large, or a key cannot be used.
pub fn wrap(
    network: &NetworkName,
    hops: [Hop<'_>; 4],
    question: &Question<'_>,
) -> Result<(Vec<u8>, Return), WrapError> {
    let bucket =
        Bucket::fitting(question.request.len()).ok_or(WrapError::TooLarge(question.request.len()))?;
    let answer = question.answer.number();
    let mut text = Vec::with_capacity(text_len(bucket, Position::Destination));
    text.extend([answer, question.service.number()]);
    text.extend(u32::try_from(question.request.len()).unwrap_or(u32::MAX).to_be_bytes());
    text.extend(question.request);
    text.resize(DELIVERY.saturating_add(bucket.capacity()), 0);
    let mut layers = Vec::with_capacity(4);
    let mut packet = Vec::new();
    let mut next: Option<NodeId> = None;
    for ((at, hop), position) in hops.into_iter().enumerate().rev().zip(Position::ALL) {
        if let Some(next) = next {
            text = Vec::with_capacity(text_len(bucket, position));
            text.extend(next.as_bytes());
            text.push(answer);
            text.extend(&packet);
        }
        next = next.filter(|_| mutants::on("wrap-tells-end")).or(Some(hop.node));
        let sealed = match hop.entry {
            Entry::First { door, random } => {
                let sealed =
                    layer::seal_first(&prologue(network, &hop.node), &door, question.stamp, &random, &text);
                sealed.map(|(sealed, state)| (sealed, Layer::First(Box::new(state))))
            }
            Entry::Session(session) => {
                let number = session.next;
                session.next = number.saturating_add(1);
                let length = packet_len(bucket, position);
                let sealed = layer::seal_session(&session.keys, session.id, number, &text, length);
                sealed.map(|sealed| (sealed, Layer::Session(session.keys.clone(), number)))
            }
        };
        let (sealed, opens) = sealed.map_err(|Unreadable| WrapError::BadKey(at))?;
        packet = sealed;
        layers.push(opens);
    }
    layers.reverse();
    let layers = layers.try_into().map_err(|_| WrapError::BadKey(0))?;
    Ok((packet, Return { answer: question.answer, layers }))
}

impl fmt::Debug for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Return({:?})", self.answer)
    }
}

impl Return {
    /// How long the answer is.
    pub const fn length(&self) -> usize {
        answer_len(self.answer, Position::Guard)
    }

    /// Opens what came back through the guard.
    ///
    /// # Errors
    ///
    /// When the guard itself did not make it; the sessions are then of no use.
    pub fn open(self, answer: &[u8]) -> Result<Unwrapped, Unreadable> {
        let mut sessions = [const { None }; 4];
        let mut answer = answer.to_vec();
        let positions = Position::ALL.into_iter().rev();
        for ((by, opens), position) in self.layers.into_iter().enumerate().zip(positions) {
            let stopped = |status| Stopped { by, status };
            let opened = open(opens, &answer, answer_len(self.answer, position));
            let (text, session) = match opened {
                Ok(opened) => opened,
                // The hop before it let something through that this one did not make.
                Err(Unreadable) => match by.checked_sub(1) {
                    Some(by) => {
                        let by = if mutants::on("blame-before") { by.saturating_sub(1) } else { by };
                        let outcome = Err(Stopped { by, status: Status::Malformed });
                        return Ok(Unwrapped { sessions, outcome });
                    }
                    None => return Err(Unreadable),
                },
            };
            if let Some(kept) = sessions.get_mut(by) {
                *kept = session;
            }
            let (status, rest) = text.split_first().ok_or(Unreadable)?;
            let status = Status::from_number(*status).unwrap_or(Status::Malformed);
            if status != Status::Ok {
                return Ok(Unwrapped { sessions, outcome: Err(stopped(status)) });
            }
            match position.next() {
                Some(next) => {
                    let inner = rest.get(..answer_len(self.answer, next)).ok_or(Unreadable)?;
                    answer = inner.to_vec();
                }
                None => {
                    let outcome = result(rest).ok_or_else(|| stopped(Status::Malformed));
                    return Ok(Unwrapped { sessions, outcome });
                }
            }
        }
        Err(Unreadable)
    }
}

fn open(layer: Layer, answer: &[u8], length: usize) -> Result<(Vec<u8>, Option<ClientSession>), Unreadable> {
    if answer.len() != length {
        return Err(Unreadable);
    }
    match layer {
        Layer::First(state) => {
            let opened = layer::open_first_answer(*state, answer)?;
            let kept = (opened.id != SessionId::NONE).then(|| ClientSession {
                id: opened.id,
                keys: Arc::new(opened.keys),
                next: 1,
            });
            Ok((opened.text, kept))
        }
        Layer::Session(keys, number) => Ok((layer::open_session_answer(&keys, number, answer)?, None)),
    }
}

fn result(rest: &[u8]) -> Option<Vec<u8>> {
    let (length, bytes) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    bytes.get(..length).map(<[u8]>::to_vec)
}
