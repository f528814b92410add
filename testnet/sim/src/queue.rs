//! What happens next: the event queue, and the hash over everything that happened.

use std::collections::BTreeMap;

use blake2::Digest;
use session_protocols::{Time, identity::Blake2b256};

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// Bytes from one node reach another.
    Word(Word),
    /// A node waits no longer for an answer.
    Silence { node: usize, life: u32, exchange: u64 },
    /// A node hears that a link came or went.
    Contact { node: usize, boot: u32, peer: usize, epoch: u32, up: bool },
    /// Two nodes try to reach each other.
    Dial { a: usize, b: usize },
    /// Two nodes notice that nothing comes through any more.
    Sever { a: usize, b: usize, epoch: u32 },
    /// A node's commit ends.
    Commit { node: usize, life: u32 },
    /// A node's machine asked to be woken.
    Wake { node: usize, life: u32 },
    /// A node starts again.
    Start { node: usize },
    /// A client's request reaches a node.
    Request { node: usize, boot: u32, op: u64, attempt: u32, bytes: Vec<u8> },
    /// A node's answer reaches the client.
    Answer { op: u64, attempt: u32, from: usize, bytes: Vec<u8> },
    /// A client waits no longer.
    Patience { op: u64, attempt: u32 },
    /// A client asks again.
    Again { op: u64 },
    /// A client does something new.
    Act,
    /// A subscriber (re)subscribes.
    Subscribe { reader: usize },
    /// Its subscription reaches a node.
    Subscription { node: usize, life: u32, reader: usize, subscriber: u64, bytes: Vec<u8> },
    /// What a node says to a subscription reaches the reader.
    Subscribed { reader: usize, subscriber: u64, bytes: Vec<u8> },
    /// A page reaches the reader.
    Page { reader: usize, node: usize, life: u32, subscriber: u64, more: bool, bytes: Vec<u8> },
    /// The node hears that a page was taken, or was empty.
    Taken { node: usize, life: u32, subscriber: u64, cursor: [u8; 16], more: bool },
    /// Something goes wrong.
    Trouble(Trouble),
    /// A hostile member says something on its own account.
    Mischief { node: usize },
    /// An epoch ends, and the maps change.
    Border,
    /// A node hears of it.
    Told { node: usize },
    /// Everything heals.
    Heal,
}

/// Bytes between two nodes.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The connection that carries it; a word does not outlive it.
    pub(super) epoch: Option<u32>,
    /// Which life of the asker waits for the answer.
    pub(super) life: u32,
    /// The asker's number; none when no answer is wanted.
    pub(super) exchange: Option<u64>,
    pub(super) answer: bool,
    pub(super) bytes: Vec<u8>,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    Crash,
    Blackout,
    Partition,
    /// A partition ends.
    Mend(u64),
}

/// Events in the order of their time, those of one moment in the order of their making.
#[derive(Debug)]
pub(super) struct Queue<E = Event> {
    events: BTreeMap<(Time, u64), E>,
    made: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), made: 0 }
    }
}

impl<E> Queue<E> {
    pub(super) fn push(&mut self, at: Time, event: E) {
        self.made += 1;
        self.events.insert((at, self.made), event);
    }

    pub(super) fn pop(&mut self) -> Option<(Time, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}

/// The hash over everything that happened.
#[derive(Debug, Default)]
pub(super) struct Trace(Blake2b256);

impl Trace {
    pub(super) fn note(&mut self, at: Time, kind: &str, numbers: &[u64], bytes: &[u8]) {
        self.0.update(at.0.to_be_bytes());
        self.0.update((kind.len() as u64).to_be_bytes());
        self.0.update(kind);
        for number in numbers {
            self.0.update(number.to_be_bytes());
        }
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    pub(super) fn event(&mut self, at: Time, event: &Event) {
        match event {
            Event::Word(Word { from, to, epoch, life, exchange, answer, bytes }) => {
                let epoch = epoch.map_or(u64::MAX, u64::from);
                let exchange = exchange.unwrap_or(u64::MAX);
                let numbers = [index(from), index(to), epoch, flag(*life), exchange, flag(*answer)];
                self.note(at, "word", &numbers, bytes);
            }
            Event::Silence { node, life, exchange } => {
                self.note(at, "silence", &[index(node), flag(*life), *exchange], &[]);
            }
            Event::Contact { node, boot, peer, epoch, up } => {
                let numbers = [index(node), flag(*boot), index(peer), flag(*epoch), flag(*up)];
                self.note(at, "contact", &numbers, &[]);
            }
            Event::Dial { a, b } => self.note(at, "dial", &[index(a), index(b)], &[]),
            Event::Sever { a, b, epoch } => {
                self.note(at, "sever", &[index(a), index(b), flag(*epoch)], &[]);
            }
            Event::Commit { node, life } => self.note(at, "commit", &[index(node), flag(*life)], &[]),
            Event::Wake { node, life } => self.note(at, "wake", &[index(node), flag(*life)], &[]),
            Event::Start { node } => self.note(at, "start", &[index(node)], &[]),
            Event::Request { node, boot, op, attempt, bytes } => {
                self.note(at, "request", &[index(node), flag(*boot), *op, flag(*attempt)], bytes);
            }
            Event::Answer { op, attempt, from, bytes } => {
                self.note(at, "answer", &[*op, flag(*attempt), index(from)], bytes);
            }
            Event::Patience { op, attempt } => self.note(at, "patience", &[*op, flag(*attempt)], &[]),
            Event::Again { op } => self.note(at, "again", &[*op], &[]),
            Event::Act => self.note(at, "act", &[], &[]),
            Event::Subscribe { reader } => self.note(at, "subscribe", &[index(reader)], &[]),
            Event::Subscription { node, life, reader, subscriber, bytes } => {
                let numbers = [index(node), flag(*life), index(reader), *subscriber];
                self.note(at, "subscription", &numbers, bytes);
            }
            Event::Subscribed { reader, subscriber, bytes } => {
                self.note(at, "subscribed", &[index(reader), *subscriber], bytes);
            }
            Event::Page { reader, node, life, subscriber, more, bytes } => {
                let numbers = [index(reader), index(node), flag(*life), *subscriber, flag(*more)];
                self.note(at, "page", &numbers, bytes);
            }
            Event::Taken { node, life, subscriber, cursor, more } => {
                self.note(at, "taken", &[index(node), flag(*life), *subscriber, flag(*more)], cursor);
            }
            Event::Trouble(trouble) => {
                let (kind, number) = match trouble {
                    Trouble::Crash => (0, 0),
                    Trouble::Blackout => (1, 0),
                    Trouble::Partition => (2, 0),
                    Trouble::Mend(number) => (3, *number),
                };
                self.note(at, "trouble", &[kind, number], &[]);
            }
            Event::Mischief { node } => self.note(at, "mischief", &[index(node)], &[]),
            Event::Border => self.note(at, "border", &[], &[]),
            Event::Told { node } => self.note(at, "told", &[index(node)], &[]),
            Event::Heal => self.note(at, "heal", &[], &[]),
        }
    }
}

fn flag(number: impl Into<u64>) -> u64 {
    number.into()
}

const fn index(at: &usize) -> u64 {
    *at as u64
}
