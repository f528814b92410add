//! One layer: how it is sealed for a hop and opened there, and the same for the answer.
//!
//! A layer is entered by a handshake or by a session; both leave the same room. Everything that
//! cannot be opened is [`Unreadable`], whatever the reason, so that nobody learns from the answer.

use core::fmt;

use snow::{HandshakeState, StatelessTransportState};
use zeroize::Zeroizing;

use super::{
    noise::{self, Mask, OnionKey, Sealer, Suite},
    size::{
        FIRST_ANSWER_HEAD, FIRST_HEAD, FIRST_NOTE, NUMBER, Position, RECORD, SESSION_ANSWER_HEAD,
        SESSION_HEAD, SESSION_ID, SESSION_NOTE, TAG, opened_len, packet_shape,
    },
};
use crate::mutants;

/// The first byte of packets and answers: the version of the construction and the way in.
const CHACHA: u8 = 0x10;
const AES: u8 = 0x11;
const SESSION: u8 = 0x12;
const FIRST_ANSWER: u8 = 0x18;
const SESSION_ANSWER: u8 = 0x19;

/// Records that one packet or answer may take: their numbers are of one packet's number.
const RECORDS: u64 = 8;
/// The last number of a session's packets.
pub const MAX_NUMBER: u64 = (1 << (8 * NUMBER)) - 1;

/// Something that arrived cannot be opened: it is broken, forged, for another key, or too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet cannot be opened")]
pub struct Unreadable;

/// A session's name at the hop that keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; SESSION_ID]);

impl SessionId {
    /// Says that the hop keeps no session.
    pub const NONE: Self = Self([0; SESSION_ID]);
}

/// A session's keys.
pub(super) struct SessionKeys {
    transport: StatelessTransportState,
    mask: Mask,
}

impl SessionKeys {
    /// The number of a packet, under its mask.
    pub(super) fn number(&self, masked: [u8; NUMBER], packet: &[u8]) -> Option<u64> {
        let number = self.mask.apply(masked, packet)?;
        Some(number.into_iter().fold(0, |number, byte| (number << 8) | u64::from(byte)))
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys")
    }
}

/// How a hop is entered for the first time.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The cipher that both sides are fast at.
    pub suite: Suite,
    /// Which of the hop's keys this is: the last byte of its day.
    pub day: u8,
    /// That key's public half.
    pub public: &'a [u8; 32],
}

/// Seals `text` for a hop that was never entered.
///
/// `random` is 64 fresh bytes: the ephemeral key and the body's.
pub(super) fn seal_first(
    prologue: &[u8],
    door: &Door<'_>,
    stamp: u32,
    random: &[u8; 64],
    text: &[u8],
) -> Result<(Vec<u8>, Handshake), Unreadable> {
    let (ephemeral, body_key) = random.split_at(32);
    let ephemeral = Zeroizing::new(ephemeral.try_into().map_err(|_| Unreadable)?);
    let body_key: Zeroizing<[u8; 32]> = Zeroizing::new(body_key.try_into().map_err(|_| Unreadable)?);
    let kind = match door.suite {
        Suite::ChaCha => CHACHA,
        Suite::Aes => AES,
    };
    let prologue = [prologue, &[kind, door.day]].concat();
    let mut state =
        noise::initiator(door.suite, &prologue, door.public, ephemeral).map_err(|_| Unreadable)?;
    let mut note = Zeroizing::new([0; FIRST_NOTE]);
    let (first, last) = note.split_at_mut(32);
    first.copy_from_slice(body_key.as_slice());
    last.copy_from_slice(&stamp.to_be_bytes());
    let mut packet = vec![0; FIRST_HEAD.saturating_add(text.len()).saturating_add(TAG)];
    let (head, body) = packet.split_at_mut_checked(FIRST_HEAD).ok_or(Unreadable)?;
    let (marks, message) = head.split_at_mut_checked(2).ok_or(Unreadable)?;
    marks.copy_from_slice(&[kind, door.day]);
    state.write_message(note.as_slice(), message).map_err(|_| Unreadable)?;
    body.get_mut(..text.len()).ok_or(Unreadable)?.copy_from_slice(text);
    let sealer = Sealer::new(door.suite, &body_key).ok_or(Unreadable)?;
    if !bare(body) {
        sealer.seal(state.get_handshake_hash(), body).ok_or(Unreadable)?;
    }
    Ok((packet, Handshake { suite: door.suite, state }))
}

/// A first packet, looked at from outside.
pub(super) struct First {
    suite: Suite,
    /// Which of the hop's keys it wants.
    pub(super) day: u8,
    /// The client's ephemeral key, which no two honest packets share.
    pub(super) ephemeral: [u8; 32],
}

/// A first packet, opened.
pub(super) struct OpenedFirst {
    /// What the layer held.
    pub(super) text: Vec<u8>,
    /// When it was made, in units of 5 s.
    pub(super) stamp: u32,
    /// To answer with.
    pub(super) state: Handshake,
}

/// A handshake that waits for its answer to be made, or to come.
pub(super) struct Handshake {
    suite: Suite,
    state: HandshakeState,
}

/// A packet's way in.
pub(super) enum Way {
    /// By a handshake.
    First(First),
    /// By a session, as its packet of a number that is masked.
    Session(SessionId, [u8; NUMBER]),
}

/// Reads how a packet wants to be opened.
pub(super) fn way(packet: &[u8]) -> Result<Way, Unreadable> {
    match packet {
        [kind @ (CHACHA | AES), day, rest @ ..] => {
            let suite = if *kind == AES { Suite::Aes } else { Suite::ChaCha };
            let ephemeral = *rest.first_chunk().ok_or(Unreadable)?;
            Ok(Way::First(First { suite, day: *day, ephemeral }))
        }
        [SESSION, rest @ ..] => {
            let (id, rest) = rest.split_first_chunk().ok_or(Unreadable)?;
            Ok(Way::Session(SessionId(*id), *rest.first_chunk().ok_or(Unreadable)?))
        }
        _ => Err(Unreadable),
    }
}

/// Opens a first packet. `random` is fresh: the ephemeral key of the answer.
pub(super) fn open_first(
    prologue: &[u8],
    key: &OnionKey,
    first: &First,
    random: Zeroizing<[u8; 32]>,
    mut packet: Vec<u8>,
) -> Result<OpenedFirst, Unreadable> {
    let (head, body) = packet.split_at_mut_checked(FIRST_HEAD).ok_or(Unreadable)?;
    let (marks, message) = head.split_at_mut_checked(2).ok_or(Unreadable)?;
    let prologue = [prologue, marks].concat();
    let mut state = noise::responder(first.suite, &prologue, key, random).map_err(|_| Unreadable)?;
    let mut note = Zeroizing::new([0; FIRST_NOTE]);
    let read = state.read_message(message, note.as_mut_slice()).map_err(|_| Unreadable)?;
    if read != FIRST_NOTE {
        return Err(Unreadable);
    }
    let (body_key, stamp) = note.split_first_chunk().ok_or(Unreadable)?;
    let stamp = u32::from_be_bytes(stamp.try_into().map_err(|_| Unreadable)?);
    let sealer = Sealer::new(first.suite, body_key).ok_or(Unreadable)?;
    if !bare(body) {
        sealer.open(state.get_handshake_hash(), body).ok_or(Unreadable)?;
    }
    let length = body.len().saturating_sub(TAG);
    packet.drain(..FIRST_HEAD);
    packet.truncate(length);
    Ok(OpenedFirst { text: packet, stamp, state: Handshake { suite: first.suite, state } })
}

/// Whether a body travels as it is: a deliberate bug, of the destination's layer alone.
fn bare(body: &[u8]) -> bool {
    mutants::on("layer-bare")
        && packet_shape(body.len().saturating_add(FIRST_HEAD))
            .is_some_and(|(_, position)| position == Position::Destination)
}

/// Seals `text` for a hop that keeps a session, as its packet of this number, `length` bytes long.
pub(super) fn seal_session(
    keys: &SessionKeys,
    id: SessionId,
    number: u64,
    text: &[u8],
    length: usize,
) -> Result<Vec<u8>, Unreadable> {
    let mut packet = Vec::with_capacity(length);
    packet.push(SESSION);
    packet.extend(id.0);
    packet.extend([0; NUMBER]);
    let mut packet = seal(&keys.transport, number, text, length, packet)?;
    let [.., a, b, c, d, e] = number.to_be_bytes();
    let masked = keys.mask.apply([a, b, c, d, e], &packet).ok_or(Unreadable)?;
    packet
        .get_mut(SESSION_HEAD.saturating_sub(NUMBER)..SESSION_HEAD)
        .ok_or(Unreadable)?
        .copy_from_slice(&masked);
    Ok(packet)
}

/// Opens a session's packet.
pub(super) fn open_session(keys: &SessionKeys, number: u64, packet: &[u8]) -> Result<Vec<u8>, Unreadable> {
    open(&keys.transport, number, packet.get(SESSION_HEAD..).ok_or(Unreadable)?)
}

/// Answers a first packet, and finishes the handshake: names the session that the hop keeps, if it
/// keeps one. `random` is fresh: the key of the mask.
pub(super) fn seal_first_answer(
    Handshake { suite, mut state }: Handshake,
    id: SessionId,
    random: &[u8; 32],
    text: &[u8],
    length: usize,
) -> Result<(Vec<u8>, SessionKeys), Unreadable> {
    let mut answer = vec![0; FIRST_ANSWER_HEAD];
    let (kind, message) = answer.split_first_mut().ok_or(Unreadable)?;
    *kind = FIRST_ANSWER;
    let mut note = Zeroizing::new([0; SESSION_NOTE]);
    let (first, last) = note.split_at_mut(SESSION_ID);
    first.copy_from_slice(&id.0);
    last.copy_from_slice(random);
    state.write_message(note.as_slice(), message).map_err(|_| Unreadable)?;
    let transport = state.into_stateless_transport_mode().map_err(|_| Unreadable)?;
    answer.reserve_exact(length.saturating_sub(FIRST_ANSWER_HEAD));
    let answer = seal(&transport, 0, text, length, answer)?;
    Ok((answer, SessionKeys { transport, mask: Mask::new(suite, random).ok_or(Unreadable)? }))
}

/// What an answer to a first packet says.
pub(super) struct OpenedFirstAnswer {
    /// What the layer held.
    pub(super) text: Vec<u8>,
    /// The session, if the hop keeps one.
    pub(super) id: SessionId,
    /// Its keys.
    pub(super) keys: SessionKeys,
}

/// Opens the answer to a first packet.
pub(super) fn open_first_answer(
    Handshake { suite, mut state }: Handshake,
    answer: &[u8],
) -> Result<OpenedFirstAnswer, Unreadable> {
    let (head, body) = answer.split_at_checked(FIRST_ANSWER_HEAD).ok_or(Unreadable)?;
    let (kind, message) = head.split_first().ok_or(Unreadable)?;
    let mut note = Zeroizing::new([0; SESSION_NOTE]);
    let read = state.read_message(message, note.as_mut_slice()).map_err(|_| Unreadable)?;
    if *kind != FIRST_ANSWER || read != SESSION_NOTE {
        return Err(Unreadable);
    }
    let (id, mask) = note.split_first_chunk().ok_or(Unreadable)?;
    let mask = Mask::new(suite, mask.try_into().map_err(|_| Unreadable)?).ok_or(Unreadable)?;
    let transport = state.into_stateless_transport_mode().map_err(|_| Unreadable)?;
    let text = open(&transport, 0, body)?;
    Ok(OpenedFirstAnswer { text, id: SessionId(*id), keys: SessionKeys { transport, mask } })
}

/// Answers a session's packet.
pub(super) fn seal_session_answer(
    keys: &SessionKeys,
    number: u64,
    text: &[u8],
    length: usize,
) -> Result<Vec<u8>, Unreadable> {
    let mut answer = Vec::with_capacity(length);
    answer.push(SESSION_ANSWER);
    seal(&keys.transport, number, text, length, answer)
}

/// Opens the answer to a session's packet.
pub(super) fn open_session_answer(
    keys: &SessionKeys,
    number: u64,
    answer: &[u8],
) -> Result<Vec<u8>, Unreadable> {
    let (kind, body) = answer.split_at_checked(SESSION_ANSWER_HEAD).ok_or(Unreadable)?;
    if kind != [SESSION_ANSWER] {
        return Err(Unreadable);
    }
    open(&keys.transport, number, body)
}

/// Appends Noise messages to `head`: `text`, and zeros until all is `length` bytes.
fn seal(
    transport: &StatelessTransportState,
    number: u64,
    text: &[u8],
    length: usize,
    head: Vec<u8>,
) -> Result<Vec<u8>, Unreadable> {
    let room = opened_len(length.checked_sub(head.len()).ok_or(Unreadable)?);
    let filled;
    let text = if text.len() == room {
        text
    } else {
        let mut text = text.to_vec();
        text.resize(room, 0);
        filled = text;
        filled.as_slice()
    };
    let mut at = head.len();
    let mut sealed = head;
    sealed.resize(length, 0);
    for (nonce, part) in nonces(number)?.zip(text.chunks(RECORD.saturating_sub(TAG))) {
        let record = sealed.get_mut(at..).ok_or(Unreadable)?;
        let wrote = transport.write_message(nonce, part, record).map_err(|_| Unreadable)?;
        at = at.saturating_add(wrote);
    }
    if at == length { Ok(sealed) } else { Err(Unreadable) }
}

fn open(transport: &StatelessTransportState, number: u64, sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut text = vec![0; opened_len(sealed.len())];
    let mut at: usize = 0;
    for (nonce, record) in nonces(number)?.zip(sealed.chunks(RECORD)) {
        let part = text.get_mut(at..).ok_or(Unreadable)?;
        let read = transport.read_message(nonce, record, part).map_err(|_| Unreadable)?;
        at = at.saturating_add(read);
    }
    if at == text.len() { Ok(text) } else { Err(Unreadable) }
}

/// The nonces of one packet's records.
fn nonces(number: u64) -> Result<core::ops::Range<u64>, Unreadable> {
    if number > MAX_NUMBER {
        return Err(Unreadable);
    }
    let first = number.saturating_mul(RECORDS);
    Ok(first..first.saturating_add(RECORDS))
}
