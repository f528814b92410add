//! Hostile members: they run the node's machine like everybody, and lie on top of it.

#![allow(clippy::wildcard_enum_match_arm, reason = "what a liar does with most requests is the same")]

use serde_bytes::{ByteArray, ByteBuf};
use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace, NodeId, Signature, Span,
    answer::{Answer, Body, Code, Done, Receipt, Subject, Told, told},
    codec,
    namespace::Class,
    record::Mutation,
    request::{Auth, Delete, Drawers, Ends, Expire, Form, MAX_TTL, Replacement, Revoke, Store, Which},
    swarm::{Ask, BucketPrint, MAX_BATCH, Replicated, Slice, SwarmAnswer, SwarmRequest},
};

use super::{
    checks::AHEAD,
    clients::{Account, unsigned},
    queue::{Event, Word},
    world::World,
};

/// How often a hostile member says something on its own account, on average.
const EVERY: Span = Span::secs(4);
/// How many old mutations are kept to be said again.
const COLLECTED: usize = 64;

impl World {
    /// Whether a hostile member answers a question in its own way; the others it answers as it
    /// should.
    pub(super) fn mislead(&mut self, word: &Word, request: &SwarmRequest) -> bool {
        let node = word.to;
        if let Ask::Replicate { mutations, .. } = &request.ask {
            for mutation in mutations {
                let at = self.dice.hostile.index(COLLECTED);
                match self.collected.get_mut(at) {
                    Some(place) => *place = mutation.clone(),
                    None => self.collected.push(mutation.clone()),
                }
                if let Some(wide) = stretchable(mutation) {
                    if self.stretchable.len() >= COLLECTED {
                        self.stretchable.remove(0);
                    }
                    self.stretchable.push(wide);
                }
            }
        }
        // What it alone holds it gives away early or never: members could not come to rest.
        let dice = match request.ask {
            Ask::Replicate { .. } => self.dice.hostile.below(20),
            Ask::Behind
            | Ask::Fingerprints
            | Ask::Reconcile { .. }
            | Ask::Fetch { .. }
            | Ask::Held { .. } => self.dice.hostile.below(if self.now < self.heal { 20 } else { 7 }),
        };
        let answer = match (dice, &request.ask) {
            (0, _) => return true,
            (1, _) => {
                let len = self.dice.hostile.index(200);
                let noise = self.dice.hostile.bytes(len);
                self.reply_bytes(word.clone(), noise);
                return true;
            }
            (2, _) => SwarmAnswer::Refused { code: Code::Failed },
            (3, _) => {
                // Not an answer to this.
                SwarmAnswer::Fetched { mutations: self.forged_batch(node), ids: 3 }
            }
            (4..12, Ask::Replicate { mutations, json }) => {
                // Signs and forgets, or does not even sign.
                let badly = dice >= 9;
                let each = (0..).zip(mutations);
                let lie = |(place, mutation)| self.lie(node, mutation, badly, json.contains(&place));
                SwarmAnswer::Replicated { results: each.map(lie).collect() }
            }
            (4..8, Ask::Fingerprints) => {
                SwarmAnswer::Fingerprints { buckets: Vec::new(), incomplete: Vec::new() }
            }
            (8..14, Ask::Fingerprints) => {
                let hour = (self.now.as_millis() / 3_600_000) as u32;
                let mut bucket = hour;
                let mut print = || {
                    bucket += 1;
                    let count = self.dice.hostile.between(1, 200_000);
                    BucketPrint { bucket, count, sum: ByteArray::new(self.dice.hostile.array()) }
                };
                SwarmAnswer::Fingerprints {
                    buckets: (0..20).map(|_| print()).collect(),
                    incomplete: Vec::new(),
                }
            }
            (4..9, Ask::Reconcile { message, .. }) => {
                // Its own words back, with a bit turned.
                let mut message = message.to_vec();
                let at = self.dice.hostile.index(message.len());
                if let Some(byte) = message.get_mut(at) {
                    *byte ^= 1 << self.dice.hostile.below(8);
                }
                SwarmAnswer::Reconcile { message: ByteBuf::from(message) }
            }
            (4..14, Ask::Fetch { ids, .. }) => {
                let ids = self.dice.hostile.between(0, ids.len() as u64 + 1) as u32;
                SwarmAnswer::Fetched { mutations: self.forged_batch(node), ids }
            }
            // Has everything.
            (4..9, Ask::Held { records }) => {
                SwarmAnswer::Held { places: (0..).zip(records).map(|(place, _)| place).collect() }
            }
            _ => return false,
        };
        let mut bytes = codec::encode(&answer);
        if self.dice.hostile.chance(50) {
            let len = self.dice.hostile.index(bytes.len());
            bytes.truncate(len);
        }
        self.reply_bytes(word.clone(), bytes);
        true
    }

    /// A receipt for what was not done; `badly`: and not signed for it either. A client of the JSON door it tells that
    /// there was nothing to do.
    fn lie(&mut self, node: usize, mutation: &Mutation, badly: bool, json: bool) -> Replicated {
        let network = &self.network;
        let changed = |digest, hashes: &[MessageHash]| {
            let done = Done::Changed { hashes: hashes.to_vec() };
            (Subject::Request { account: *mutation.account(), digest }, done)
        };
        let digest = mutation.stamp(network).unwrap_or_default().digest;
        let (subject, done) = match mutation {
            Mutation::Store(request) => {
                let (account, namespace, hash) = (request.account, request.namespace, request.hash());
                (Subject::Message { account, namespace, hash }, Done::Keeps { expiry: request.expiry })
            }
            Mutation::Delete { request, held } => changed(digest, &[request.which.hashes(), held].concat()),
            Mutation::Expire { request, held } => changed(digest, &[request.which.hashes(), held].concat()),
            Mutation::Replace { held, .. } | Mutation::Revoke { held, .. } => changed(digest, held),
        };
        let pair = &self.nodes[node].pair;
        let Receipt { done, mut signature, .. } =
            Receipt::sign(pair, network, self.map.version, &subject, done);
        let (listed, unchanged) = (Vec::new(), Vec::new());
        let text = pair.sign(&told::text(mutation, &listed, &unchanged));
        let told = json.then(|| Box::new(Told { already: false, listed, unchanged, signature: text }));
        if badly {
            signature = Signature(self.dice.hostile.array());
        }
        Replicated::Done { done, signature, told }
    }

    /// What no owner signed: for the member's own swarm, and for others.
    fn forged_batch(&mut self, node: usize) -> Vec<Mutation> {
        (0..self.dice.hostile.between(1, 4)).map(|_| self.forged(node)).collect()
    }

    /// What an owner signed, said to be about something that the owner did not mean: a message of another
    /// drawer, or from after the bound, or a revocation.
    fn stretched(&mut self) -> Option<Mutation> {
        let at = self.dice.hostile.index(self.stretchable.len());
        let mut mutation = self.stretchable.get(at).cloned()?;
        let account = *mutation.account();
        let meant = |namespace: Namespace, timestamp: u64| match &mutation {
            Mutation::Delete {
                request: Delete { which: Which::In { drawers, before, .. }, auth, .. },
                ..
            } => {
                let one = match drawers {
                    Drawers::One(one) => *one == namespace,
                    Drawers::All => true,
                };
                one && timestamp <= before.unwrap_or(auth.time + AHEAD)
            }
            _ => namespace.class() == Class::PublicOutbox,
        };
        let drawers = self.checks.drawers.iter().filter(|((owner, _), _)| *owner == account);
        let others =
            drawers.flat_map(|((_, namespace), hashes)| hashes.iter().map(|hash| (*namespace, *hash)));
        let not_meant = |(namespace, hash): &(Namespace, MessageHash)| {
            let fate = self.checks.fates.get(hash);
            fate.is_some_and(|fate| fate.stores.iter().all(|store| !meant(*namespace, store.timestamp)))
        };
        let mut hashes: Vec<_> = others.filter(not_meant).map(|(_, hash)| hash).collect();
        let owner = self.clients.accounts.iter().find(|one| one.id == account)?;
        hashes.extend(owner.rights());
        let hash = self.dice.hostile.pick(&hashes)?;
        *mutation.held_mut()? = vec![hash];
        Some(mutation)
    }

    fn forged(&mut self, node: usize) -> Mutation {
        if self.now < self.heal
            && self.dice.hostile.chance(250)
            && let Some(stretched) = self.stretched()
        {
            return stretched;
        }
        let ours = |account: &AccountId| self.map.swarm_of(account) == self.nodes[node].swarm;
        let accounts: Vec<_> = self.clients.accounts.iter().map(|account| account.id).collect();
        let near: Vec<_> = accounts.iter().copied().filter(ours).collect();
        let foreign = near.is_empty() || self.dice.hostile.chance(300);
        let account = self.dice.hostile.pick(if foreign { &accounts } else { &near });
        let account = account.unwrap_or(AccountId::from_bytes([5; 33]));
        let known: Vec<MessageHash> = self
            .checks
            .drawers
            .iter()
            .filter(|((owner, _), _)| *owner == account)
            .flat_map(|(_, hashes)| hashes.iter().copied())
            .collect();
        let hashes = vec![self.dice.hostile.pick(&known).unwrap_or(MessageHash([7; 32]))];
        let now = self.now.as_millis();
        let kind = self.dice.hostile.below(8);
        let token = self.clients.accounts.iter().find(|one| one.id == account).and_then(Account::token);
        let auth = self.forged_auth(now);
        match kind {
            0 => {
                let which = Which::Hashes(hashes.clone());
                let mut request = Delete { account, which, required: false, auth };
                request.receive(&self.nodes[node].pair, &self.network);
                Mutation::Delete { request, held: hashes }
            }
            1 => {
                let expiry = if self.dice.hostile.coin() { now + 1 } else { now + MAX_TTL.as_millis() };
                let mut request = Expire {
                    account,
                    which: Which::Hashes(hashes.clone()),
                    ends: Ends::All(expiry),
                    only: None,
                    auth,
                };
                request.receive(&self.nodes[node].pair, &self.network);
                Mutation::Expire { request, held: hashes }
            }
            6 => {
                let (tokens, undo) = (token.into_iter().collect(), self.dice.hostile.coin());
                Mutation::Revoke { request: Revoke { account, tokens, undo, auth }, held: hashes }
            }
            7 => {
                let (namespace, timestamp, expiry) = (Namespace(-1), now, now + 3_600_000);
                let hash = MessageHash(self.dice.hostile.array());
                let request = Replacement { account, namespace, timestamp, expiry, hash, auth };
                Mutation::Replace { request, held: hashes }
            }
            _ => {
                let namespace = Namespace(if kind == 2 { 10 } else { 1 });
                let data = ByteBuf::from(self.dice.hostile.bytes(64));
                // An unsigned one is refused for its drawer.
                let auth = (kind != 3).then_some(auth);
                let expiry = now + 3_600_000;
                Mutation::Store(Store { account, namespace, timestamp: now, expiry, data, auth })
            }
        }
    }

    /// Noise, or a true signature by somebody else's key.
    fn forged_auth(&mut self, now: u64) -> Auth {
        let mut auth = unsigned(now);
        let pair = KeyPair::from_seed(&self.dice.hostile.array());
        auth.signature = pair.sign(&self.dice.hostile.array::<32>());
        auth.key = self.dice.hostile.coin().then(|| ByteArray::new(pair.public()));
        if self.dice.hostile.coin() {
            auth.form = Form::text();
        }
        auth
    }

    /// A hostile member says something that nobody asked for.
    pub(super) fn mischief(&mut self, node: usize) {
        let pause = Span(self.dice.hostile.below(2 * EVERY.0) + 1);
        self.queue.push(self.now.after(pause), Event::Mischief { node });
        if !self.nodes[node].up() {
            return;
        }
        let stranger = self.dice.hostile.chance(150);
        let fellows = self.nodes[node].fellows.clone();
        let any = self.dice.hostile.index(self.nodes.len());
        let to = if stranger { any } else { self.dice.hostile.pick(&fellows).unwrap_or(any) };
        if to == node {
            return;
        }
        let version = self.map.version;
        let map_version = if self.dice.hostile.chance(100) { version + 1 } else { version };
        let kind = self.dice.hostile.below(8);
        let ask = match if self.now < self.heal { kind } else { kind.max(4) } {
            0..3 => Ask::Replicate { mutations: self.forged_batch(node), json: Vec::new() },
            3 => {
                let at = self.dice.hostile.index(self.collected.len());
                let mutations = self.collected.get(at).cloned().into_iter().collect();
                Ask::Replicate { mutations, json: Vec::new() }
            }
            4 => {
                let one = self.forged(node);
                Ask::Replicate { mutations: vec![one; MAX_BATCH + 1], json: Vec::new() }
            }
            5 => {
                let slice = Slice {
                    bits: self.dice.hostile.below(20) as u8,
                    value: self.dice.hostile.number() as u16,
                };
                let message = ByteBuf::from(self.dice.hostile.bytes(50));
                Ask::Reconcile { bucket: (self.now.as_millis() / 3_600_000) as u32 + 1, slice, message }
            }
            6 => {
                let ids = (0..600).map(|_| ByteArray::new(self.dice.hostile.array())).collect();
                Ask::Fetch { bucket: 1, slice: Slice::default(), ids }
            }
            _ => Ask::Behind,
        };
        // A turned bit can make a store that anybody may ask for, in a public inbox.
        let sound = matches!(&ask, Ask::Replicate { mutations, .. } if mutations.iter().any(may_anybody));
        let mut bytes = codec::encode(&SwarmRequest::new(map_version, ask));
        if !sound && self.dice.hostile.chance(100) {
            let at = self.dice.hostile.index(bytes.len());
            bytes[at] ^= 1 << self.dice.hostile.below(8);
        }
        let life = self.nodes[node].life;
        // An answer to a question that its machine never asked is dropped there.
        let exchange = Some(u64::MAX - self.dice.hostile.below(1_000));
        let word = Word { from: node, to, epoch: None, life, exchange, answer: false, bytes };
        self.counts.lies += 1;
        self.send(word);
    }

    /// A hostile member's answer to a client: true, false, or none.
    pub(super) fn tamper_answer(&mut self, node: usize, mut answer: Answer) -> Option<Answer> {
        if !self.nodes[node].hostile {
            return Some(answer);
        }
        match self.dice.hostile.below(10) {
            0 => return None,
            1 | 2 => {
                // All sign, and none of it holds.
                let swarm = self.nodes[node].swarm;
                let members: Vec<NodeId> = swarm.map_or(&[][..], |swarm| self.map.members(swarm)).to_vec();
                if let Body::Stored { receipts, .. } | Body::Changed { receipts } = &mut answer.body {
                    let done = receipts.signed.first().map(|receipt| receipt.done.clone());
                    let done = done.unwrap_or(Done::Keeps { expiry: 0 });
                    receipts.signed = members
                        .into_iter()
                        .map(|node| Receipt {
                            node,
                            done: done.clone(),
                            signature: Signature(self.dice.hostile.array()),
                            told: None,
                        })
                        .collect();
                }
            }
            3 => {
                // One of its own, many times over.
                if let Body::Stored { receipts, .. } | Body::Changed { receipts } = &mut answer.body {
                    let own = self.nodes[node].id;
                    receipts.signed.retain(|receipt| receipt.node == own);
                    let one = receipts.signed.clone();
                    (0..6).for_each(|_| receipts.signed.extend_from_slice(&one));
                }
            }
            _ => {}
        }
        Some(answer)
    }
}

/// Whether a mutation is a store into a public inbox.
fn may_anybody(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::Store(request) if request.namespace.class() == Class::PublicInbox)
}

/// A mutation that says on its sender's word what it is about, if this is or makes one.
fn stretchable(mutation: &Mutation) -> Option<Mutation> {
    match mutation {
        Mutation::Delete { request: Delete { which: Which::In { .. }, .. }, .. }
        | Mutation::Replace { .. } => Some(mutation.clone()),
        Mutation::Store(request) if request.namespace.class() == Class::PublicOutbox => {
            let request = request.replacement()?;
            Some(Mutation::Replace { request, held: Vec::new() })
        }
        Mutation::Store(_) | Mutation::Delete { .. } | Mutation::Expire { .. } | Mutation::Revoke { .. } => {
            None
        }
    }
}
