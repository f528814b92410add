//! Who reads along: cursors, subscriptions, and the check that neither skips.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{
    AccountId, MessageHash, Namespace, Span,
    answer::{Body, Message},
    codec, mailbox,
    member::Input,
    notify::{self, Event as Page, Subscribe, Subscribed},
    record::Place,
    request::{Cursor, Retrieve},
    store::Store as _,
};

use super::{
    checks::{Violation, broken},
    disk::View,
    queue::Event,
    world::World,
};

/// How often a reader looks whether its subscription still stands.
const EVERY: Span = Span::secs(6);

/// What was read along cursors, for each life of each store.
#[derive(Debug, Default)]
pub(super) struct Chain {
    latest: Option<Cursor>,
    places: BTreeMap<usize, Cursor>,
    seen: BTreeMap<u64, BTreeSet<MessageHash>>,
}

impl Chain {
    /// The cursor of the last answer, whoever gave it.
    pub(super) const fn latest(&self) -> Option<Cursor> {
        self.latest
    }

    /// The cursor of a node's last answer.
    pub(super) fn at(&self, node: usize) -> Option<Cursor> {
        self.places.get(&node).copied()
    }

    /// Notes a page that a node gave to a reader who had come to `asked`.
    pub(super) fn take(&mut self, node: usize, asked: Option<Cursor>, messages: &[Message], cursor: Cursor) {
        let seen = self.seen.entry(cursor.incarnation).or_default();
        if asked.is_none_or(|asked| asked.incarnation != cursor.incarnation) {
            // The node starts from its beginning.
            seen.clear();
        }
        seen.extend(messages.iter().map(|message| message.hash));
        self.latest = Some(cursor);
        self.places.insert(node, cursor);
    }
}

/// Somebody who is subscribed to a drawer, always at one member.
#[derive(Debug)]
pub(super) struct Reader {
    account: usize,
    namespace: Namespace,
    chain: Chain,
    at: Option<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    node: usize,
    life: u32,
    subscriber: u64,
    accepted: bool,
    /// Where the last page ended; before the first, what was asked for.
    place: Option<Cursor>,
}

impl Reader {
    pub(super) fn new(account: usize, namespace: Namespace) -> Self {
        Self { account, namespace, chain: Chain::default(), at: None }
    }
}

impl World {
    /// A reader subscribes, unless it is: at another member when the last one refused or died.
    pub(super) fn subscribe(&mut self, reader: usize) {
        self.queue.push(self.now.after(EVERY), Event::Subscribe { reader });
        let stands = self.readers[reader].at.as_ref().is_some_and(|at| self.nodes[at.node].life == at.life);
        // Now and then it moves without need.
        if stands && (self.now >= self.rest || !self.dice.client.chance(30)) {
            return;
        }
        if let Some(at) = self.readers[reader].at.take() {
            let host = &mut self.nodes[at.node];
            if host.life == at.life && host.subscribers.remove(&at.subscriber).is_some() {
                self.feed(at.node, Input::Unsubscribe { subscriber: at.subscriber });
            }
        }
        let (account, namespace) = (self.readers[reader].account, self.readers[reader].namespace);
        let node = self.some_member(account);
        self.next_subscriber += 1;
        let subscriber = self.next_subscriber;
        let state = &mut self.readers[reader];
        let place = if self.dice.client.coin() { state.chain.at(node) } else { state.chain.latest() };
        let life = self.nodes[node].life;
        state.at = Some(Subscription { node, life, subscriber, accepted: false, place });
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let mut retrieve = Retrieve {
            account: owner.id,
            namespace,
            after: place,
            last: None,
            max_count: None,
            max_size: None,
            ids: None,
            auth: None,
        };
        retrieve.auth = Some(owner.auth(time, &retrieve.statement(&self.network, time)));
        let bytes = codec::encode(&Subscribe { retrieve });
        let at = self.now.after(self.client_delay());
        self.queue.push(at, Event::Subscription { node, life, reader, subscriber, bytes });
    }

    /// A subscription reaches a node.
    pub(super) fn subscription(
        &mut self,
        node: usize,
        life: u32,
        reader: usize,
        subscriber: u64,
        bytes: &[u8],
    ) {
        let host = &mut self.nodes[node];
        if host.life != life || !host.up() {
            return;
        }
        let Ok(Subscribe { retrieve }) = codec::decode(bytes, notify::MAX_REQUEST) else { return };
        if retrieve.verify(&self.network, host.clock(self.now)).is_ok() {
            host.subscribers.insert(subscriber, reader);
            self.feed(node, Input::Subscribe { subscriber, retrieve });
        }
    }

    /// A node's word about a subscription reaches the reader.
    pub(super) fn subscribed(&mut self, reader: usize, subscriber: u64, bytes: &[u8]) {
        let Ok(answer) = codec::decode::<notify::Answer>(bytes, notify::MAX_EVENT) else { return };
        let state = &mut self.readers[reader].at;
        if let Some(at) = state.as_mut().filter(|at| at.subscriber == subscriber) {
            match answer.body {
                Subscribed::Until { .. } => at.accepted = true,
                Subscribed::Refused { .. } => *state = None,
            }
        }
    }

    /// A page reaches the reader, who takes it.
    pub(super) fn page(
        &mut self,
        reader: usize,
        (node, life): (usize, u32),
        subscriber: u64,
        more: bool,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let Ok(Page { messages, cursor }) = codec::decode::<Page>(bytes, notify::MAX_EVENT) else {
            return broken("an event can be read", format!("node {node}: {} bytes", bytes.len()));
        };
        let state = &mut self.readers[reader];
        if let Some(at) = state.at.as_mut().filter(|at| at.subscriber == subscriber) {
            self.counts.reads += 1;
            self.counts.delivered += messages.len() as u64;
            if !self.nodes[node].hostile {
                state.chain.take(node, at.place, &messages, cursor);
            }
            at.place = Some(cursor);
            let at = self.now.after(self.client_delay());
            let taken = Event::Taken { node, life, subscriber, cursor: cursor.to_bytes(), more };
            self.queue.push(at, taken);
        }
        Ok(())
    }

    /// A node hears that a page was taken.
    pub(super) fn taken(&mut self, node: usize, life: u32, subscriber: u64, cursor: [u8; 16], more: bool) {
        let host = &self.nodes[node];
        if host.life == life && host.subscribers.contains_key(&subscriber) {
            let cursor = Cursor::from_bytes(cursor);
            self.feed(node, Input::Pushed { subscriber, cursor, more });
        }
    }

    /// Whoever reads on along a cursor has then seen all that can be read.
    pub(super) fn nothing_skipped(&self) -> Result<(), Violation> {
        for (drawer, chain) in self.clients.chains() {
            for (node, cursor) in &chain.places {
                let rest = self.readable(*node, drawer, Some(*cursor));
                self.complete(*node, drawer, chain, Some(*cursor), rest, "a cursor never skips")?;
            }
        }
        for reader in &self.readers {
            let drawer = (self.clients.accounts[reader.account].id, reader.namespace);
            let standing = reader.at.as_ref().filter(|at| at.accepted && self.nodes[at.node].life == at.life);
            if let Some(at) = standing {
                let check = "a subscription delivers everything";
                self.complete(at.node, drawer, &reader.chain, at.place, Vec::new(), check)?;
            }
        }
        Ok(())
    }

    /// Whether a page goes on behind a message that the asked node holds, and has something. It leaves out nothing that
    /// lies between that and its end.
    pub(super) fn follows(
        &self,
        node: usize,
        request: &Retrieve,
        page: &[Message],
        end: Cursor,
    ) -> Result<bool, Violation> {
        let host = &self.nodes[node];
        let (Some(last), Some(store)) = (request.last, host.disk.store().filter(|_| !host.hostile)) else {
            return Ok(false);
        };
        let (account, namespace) = (request.account, request.namespace);
        let place = |hash: &MessageHash| {
            let record = View(store).record(&account, hash).ok().flatten();
            record.and_then(|record| record.place).filter(|place| place.namespace == namespace)
        };
        let Some(Place { sequence, .. }) = place(&last).filter(|_| store.incarnation() == end.incarnation)
        else {
            return Ok(false);
        };
        let got: BTreeSet<_> = page.iter().map(|message| message.hash).collect();
        let after = Cursor { incarnation: end.incarnation, sequence };
        for hash in self.readable(node, (account, namespace), Some(after)) {
            let within = place(&hash).is_some_and(|place| place.sequence <= end.sequence);
            if within && !got.contains(&hash) {
                let detail = format!("node {node} left out {hash} behind {last}");
                return broken("a page leaves out nothing behind the last message", detail);
            }
        }
        Ok(!got.is_empty())
    }

    fn complete(
        &self,
        node: usize,
        drawer: (AccountId, Namespace),
        chain: &Chain,
        cursor: Option<Cursor>,
        rest: Vec<MessageHash>,
        check: &'static str,
    ) -> Result<(), Violation> {
        let host = &self.nodes[node];
        let Some(store) = host.disk.store().filter(|_| !host.hostile) else { return Ok(()) };
        let incarnation = store.incarnation();
        let known = cursor.is_some_and(|cursor| cursor.incarnation == incarnation);
        if !known && check.starts_with("a cursor") {
            return Ok(());
        }
        let seen = chain.seen.get(&incarnation).filter(|_| known);
        for hash in self.readable(node, drawer, None) {
            if !rest.contains(&hash) && !seen.is_some_and(|seen| seen.contains(&hash)) {
                let detail = format!("node {node} holds {hash}, which nobody got who read up to {cursor:?}");
                return broken(check, detail);
            }
        }
        Ok(())
    }

    fn readable(
        &self,
        node: usize,
        drawer: (AccountId, Namespace),
        after: Option<Cursor>,
    ) -> Vec<MessageHash> {
        let host = &self.nodes[node];
        let Some(store) = host.disk.store() else { return Vec::new() };
        let local = host.clock(self.now);
        match mailbox::page(&View(store), local, &drawer.0, drawer.1, after, usize::MAX, usize::MAX) {
            Ok(Body::Messages { messages, .. }) => messages.iter().map(|message| message.hash).collect(),
            _ => Vec::new(),
        }
    }
}
