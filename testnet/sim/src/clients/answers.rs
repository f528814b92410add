//! How clients judge answers: receipts are counted, and what was acknowledged is noted for the checks.

use std::collections::BTreeSet;

use session_protocols::{
    MessageHash, NetworkName,
    answer::{self, Answer, Body, Code, Done, Receipt, Receipts, Subject},
    codec,
    member::{durable, is_majority},
    record::Stamp,
    request::{Request, Store, Which},
};

use super::{Aim, digest_of};
use crate::{
    checks::{Stored, Violation, broken},
    host::About,
    world::World,
};

impl World {
    /// An answer reaches a client.
    pub(crate) fn answer(
        &mut self,
        op: u64,
        attempt: u32,
        from: usize,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let Some(state) = self.clients.ops.get(&op).filter(|state| state.attempt == attempt) else {
            return Ok(());
        };
        let (aim, honest) = (state.aim, !self.nodes[from].hostile);
        let Ok(answer) = codec::decode::<Answer>(bytes, answer::MAX_ANSWER) else {
            if honest {
                return broken("an answer can be read", format!("node {from}: {} bytes", bytes.len()));
            }
            return self.try_again(op, None);
        };
        match (answer.body, aim) {
            (Body::Refused(refusal), Aim::Refusal) => {
                self.counts.refused += u64::from(refusal.code != Code::NotReady);
                self.clients.ops.remove(&op);
                Ok(())
            }
            (body, Aim::Refusal) if honest => {
                let detail = format!("node {from} did {:?}: {body:?}", self.clients.about(op));
                broken("a wrong request is refused", detail)
            }
            (Body::Refused(refusal), Aim::Write | Aim::Read) => {
                let revoked = refusal.code == Code::Unauthorized && honest;
                self.counts.shut_out += u64::from(revoked);
                if let Some(receipts) = &refusal.receipts
                    && self.count(op, receipts)
                {
                    self.acknowledge(op);
                    return Ok(());
                }
                let swarm = refusal.swarm.filter(|_| refusal.code == Code::WrongSwarm);
                let next = swarm.and_then(|swarm| self.follow(op, from, &swarm.members)).transpose()?;
                self.try_again(op, next)
            }
            (Body::Stored { receipts, .. } | Body::Changed { receipts }, Aim::Write) => {
                if self.count(op, &receipts) {
                    self.acknowledge(op);
                    return Ok(());
                }
                // By another map they say nothing to this client, and one of the JSON door counts for itself.
                if honest && !self.clients.of_json(op) && receipts.map_version == self.map.version {
                    let signed = receipts.signed.len();
                    let detail = format!("node {from} acknowledged with {signed} receipts");
                    return broken("a majority of receipts is behind an acknowledgement", detail);
                }
                self.try_again(op, None)
            }
            (Body::Messages { messages, cursor, .. }, Aim::Read) => {
                let Some(state) = self.clients.ops.remove(&op) else { return Ok(()) };
                self.end_read(&state);
                if let Request::Retrieve(request) = &state.request
                    && honest
                {
                    self.counts.reads += 1;
                    self.counts.delivered += messages.len() as u64;
                    let read = self.clients.reads.entry((state.account, request.namespace)).or_default();
                    if state.by_text() {
                        self.counts.read_texts += 1;
                        read.last = messages.last().map(|message| message.hash).or(read.last);
                    } else {
                        read.chain.take(from, request.after, &messages, cursor);
                    }
                }
                Ok(())
            }
            (body, _) if honest => broken("an answer fits its request", format!("node {from} said {body:?}")),
            _ => self.try_again(op, None),
        }
    }

    /// Another swarm keeps the account: the client goes there when its map says the same.
    fn follow(
        &mut self,
        op: u64,
        from: usize,
        members: &[session_protocols::NodeId],
    ) -> Option<Result<usize, Violation>> {
        let account = self.clients.ops.get(&op)?.account;
        let own = self.map.members_of(&self.clients.accounts[account].id);
        if own == members {
            return Some(Ok(self.some_member(account)));
        }
        // The node may not have heard of the last border.
        let mut known = self.maps.all().chain(self.nodes[from].maps.all());
        let known = known.any(|map| map.swarms.values().any(|swarm| swarm == members));
        if self.nodes[from].hostile || known {
            return None;
        }
        Some(broken("a refusal names the right swarm", format!("node {from} named {members:?}")))
    }

    /// Counts the receipts that hold; whether they are a majority by now.
    fn count(&mut self, op: u64, receipts: &Receipts) -> bool {
        let Some(state) = self.clients.ops.get_mut(&op) else { return false };
        let Some(subject) = subject(&self.network, &state.request) else { return false };
        let members = self.map.members_of(&self.clients.accounts[state.account].id);
        if state.version != self.map.version {
            state.version = self.map.version;
            state.receipts.clear();
        }
        for receipt in &receipts.signed {
            let known = state.receipts.iter().any(|known| known.node == receipt.node);
            let alone = Receipts {
                map_version: receipts.map_version,
                signed: vec![receipt.clone()],
                missing: Vec::new(),
            };
            if !known
                && receipts.map_version == self.map.version
                && durable(&self.network, members, &subject, &alone) == 1
            {
                state.receipts.push(receipt.clone());
            }
        }
        is_majority(state.receipts.len(), members)
    }

    /// A write has its majority.
    fn acknowledge(&mut self, op: u64) {
        let Some(state) = self.clients.ops.remove(&op) else { return };
        let members = self.map.members_of(&self.clients.accounts[state.account].id);
        let sound = members
            .iter()
            .all(|member| self.index.get(member).is_some_and(|node| !self.checks.unsound(*node)));
        let listed = |hash: &MessageHash| {
            let lists = |receipt: &&Receipt| matches!(&receipt.done, Done::Changed { hashes } if hashes.contains(hash));
            let count = state.receipts.iter().filter(lists).count();
            // One that keeps its word and its disk is enough to tell the others.
            if sound { count > 0 } else { is_majority(count, members) }
        };
        let changed: BTreeSet<_> = state
            .receipts
            .iter()
            .filter_map(|receipt| match &receipt.done {
                Done::Changed { hashes } => Some(hashes),
                Done::Keeps { .. } => None,
            })
            .flatten()
            .copied()
            .collect();
        self.counts.texts += u64::from(state.by_text());
        match &state.request {
            Request::Store(request) => {
                self.counts.acknowledged += 1;
                if let Some(race) = state.race.filter(|_| state.tries == 1)
                    && !self.clients.half_raced.insert(race)
                {
                    self.counts.raced_apart += 1;
                }
                let keeps = state.receipts.iter().filter_map(|receipt| match &receipt.done {
                    Done::Keeps { expiry } => Some(*expiry),
                    Done::Changed { .. } => None,
                });
                let keeps = keeps.min().unwrap_or_default();
                let stamp = stamp_of(&self.network, request);
                let fate = self.checks.fates.get_mut(&request.hash());
                let store = fate.and_then(|fate| {
                    let same = |store: &&mut Stored| {
                        (store.stamp, store.timestamp, store.expiry)
                            == (stamp, request.timestamp, request.expiry)
                    };
                    fate.stores.iter_mut().find(same)
                });
                if let Some(store) = store {
                    let first = store.acknowledged.map_or(self.now, |(first, _)| first);
                    store.acknowledged = Some((first, keeps));
                }
            }
            Request::Delete(request) => {
                self.counts.deleted += 1;
                let whole = matches!(request.which, Which::In { .. });
                self.counts.emptied += u64::from(whole);
                self.counts.emptied_apart += u64::from(whole && state.apart && !changed.is_empty());
                let digest = request.statement(&self.network, request.auth.time).digest();
                for hash in changed.iter().filter(|hash| listed(hash)) {
                    let Some(fate) = self.checks.fates.get_mut(hash) else { continue };
                    for deletion in fate.deletions.iter_mut().filter(|one| one.stamp.digest == digest) {
                        deletion.acknowledged = true;
                    }
                }
            }
            Request::Expire(request) => {
                self.counts.changed += 1;
                let digest = request.statement(&self.network, request.auth.time).digest();
                for hash in changed.iter().filter(|hash| listed(hash)) {
                    let Some(fate) = self.checks.fates.get_mut(hash) else { continue };
                    for change in fate.changes.iter_mut().filter(|one| one.stamp.digest == digest) {
                        change.acknowledged = true;
                    }
                }
            }
            Request::Revoke(request) => {
                self.counts.revoked += 1;
                self.counts.revoked_empty += u64::from(state.empty && !request.undo && !changed.is_empty());
                let digest = request.statement(&self.network, request.auth.time).digest();
                for hash in changed.iter().filter(|hash| listed(hash)) {
                    let said = self.checks.rights.get_mut(&(request.account, *hash)).into_iter().flatten();
                    for one in said.filter(|one| one.stamp.digest == digest) {
                        one.acknowledged = true;
                    }
                }
            }
            _ => {}
        }
    }

    /// A node answers a client: what it says of itself is noted and checked.
    pub(crate) fn vouch_for_answer(
        &mut self,
        node: usize,
        (op, attempt): (u64, u32),
        answer: &Answer,
    ) -> Result<(), Violation> {
        let Some(state) = self.clients.ops.get(&op) else { return Ok(()) };
        let (request, host) = (&state.request, &self.nodes[node]);
        if state.attempt == attempt {
            self.checks.asked_by(node, host, state.sent, request, &answer.body)?;
        }
        match (&answer.body, request) {
            (Body::Messages { messages, cursor, .. }, Request::Retrieve(request)) => {
                let drawer = (request.account, request.namespace);
                self.counts.read_on += u64::from(self.follows(node, request, messages, *cursor)?);
                self.checks.served(node, host, drawer, messages)?;
                self.checks.read(node, host, self.now, drawer)
            }
            (body, Request::Store(_) | Request::Delete(_)) => {
                // To a client of the JSON door this says who has it, and not that it is enough.
                if let (Body::Stored { .. }, Request::Store(request), false) =
                    (body, request, state.by_text())
                {
                    self.checks.stored(node, &self.nodes, self.now, request)?;
                }
                let about = match request {
                    Request::Store(request) => About::Store(request.account, request.hash()),
                    _ => request.account().map_or(About::Expire, |account| About::Delete(*account)),
                };
                let receipts = match body {
                    Body::Stored { receipts, .. } | Body::Changed { receipts } => Some(receipts),
                    Body::Refused(refusal) => refusal.receipts.as_ref(),
                    _ => None,
                };
                if let Some(receipts) = receipts {
                    self.checks.promised_client(node, host.id, &about, &receipts.signed);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn stamp_of(network: &NetworkName, request: &Store) -> Option<Stamp> {
    let time = request.auth.as_ref()?.time;
    Some(Stamp { time, digest: request.statement(network, time).digest() })
}

/// What the receipts for a request are about.
fn subject(network: &NetworkName, request: &Request) -> Option<Subject> {
    match request {
        Request::Store(request) => Some(Subject::Message {
            account: request.account,
            namespace: request.namespace,
            hash: request.hash(),
        }),
        _ => {
            let (account, digest) = (*request.account()?, digest_of(network, request)?);
            Some(Subject::Request { account, digest })
        }
    }
}
