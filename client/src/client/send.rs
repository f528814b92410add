//! Writing into a mailbox.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_bytes::ByteBuf;
use session_protocols::{
    AccountId, MessageHash, Namespace, NodeId,
    answer::{Body, Code, Done, Receipts, Refusal, Subject},
    member::{durable, is_majority},
    path::Use,
    request::{MAX_TTL_PUBLIC, Request, Store},
    ring::majority,
};

use super::{
    Client, Inner,
    ask::{Failure, Fault, Question},
};
use crate::{
    account::Account,
    actor::Actor,
    envelope::{self, Draft},
    error::ClientError,
};

/// How long a direct message is kept, at most: 14 days. Each is kept one to two hours less, at random.
pub const TTL: Duration = Duration::from_millis(MAX_TTL_PUBLIC.as_millis());
/// So much less at most: a message and its copy for the sender's own devices must not end together.
const SPREAD: Duration = Duration::from_secs(2 * 60 * 60);

/// The most receipts of one answer that are looked at.
const MAX_RECEIPTS: usize = 64;

/// A direct message that a majority of the recipient's swarm has proven to keep.
#[derive(Debug)]
pub struct Sent {
    /// Its hash.
    pub hash: MessageHash,
    /// When it was sent, in milliseconds since 1970: the same in the message and beside it.
    pub timestamp_ms: u64,
    /// How many members have proven that they keep it.
    pub stored: usize,
    /// How many members the swarm has.
    pub swarm: usize,
    /// What became of the copy for the sender's own devices; none when sender and recipient are
    /// one. The message is sent even where the copy is not.
    pub copy: Option<Result<Stored, ClientError>>,
}

/// A message that a majority of its swarm has proven to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its hash.
    pub hash: MessageHash,
    /// When it was sent, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Until when a majority has signed to keep it, in milliseconds since 1970. An earlier end that the
    /// mailbox's owner has set shows until it has passed; that an owner has ended or deleted a message
    /// before, nobody is told.
    pub expires_ms: u64,
    /// Whether the asked member knew it before.
    pub already: bool,
    /// How many members have proven that they keep it.
    pub stored: usize,
    /// How many members the swarm has.
    pub swarm: usize,
}

impl Client {
    /// Sends a text to somebody, or a whole draft, and keeps a copy for the sender's own devices.
    ///
    /// Nodes learn whose mailbox it goes to and nothing of its sender or content.
    ///
    /// # Errors
    /// When the text is too long, or when no majority of the recipient's swarm proves to keep it.
    pub async fn send<'a>(
        &self,
        from: &Account,
        to: &AccountId,
        draft: impl Into<Draft<'a>>,
    ) -> Result<Sent, ClientError> {
        let (inner, draft) = (&*self.inner, draft.into());
        let once = async |tally: &Tally| {
            let now = inner.clock.stamp_ms();
            let data = envelope::seal(from, to, draft.clone(), now, None).map_err(Failure::Seal)?;
            inner.store(&outgoing(*to, Namespace::INBOX, now, lifetime(inner), data), None, tally).await
        };
        let mut tally = Tally::default();
        let mut sent = once(&tally).await;
        if matches!(sent, Err(Failure::ClockMoved)) {
            // Sealed again, because the time is in the seal: another message, which nobody has.
            tally = Tally::default();
            sent = once(&tally).await;
        }
        let Stored { hash, timestamp_ms, stored, swarm, .. } =
            sent.map_err(|failure| inner.write_error(*to, &tally, failure))?;
        let copy =
            if *to == from.id() { None } else { Some(self.copy(from, to, &draft, timestamp_ms).await) };
        Ok(Sent { hash, timestamp_ms, stored, swarm, copy })
    }

    /// Stores bytes in any mailbox: what [`Self::send`] is made of.
    ///
    /// Private namespaces need the account that owns the mailbox, or somebody with the right to write: `by`; a store
    /// into a public one needs nobody, and then carries nothing of its sender.
    ///
    /// # Errors
    /// When no majority of the swarm proves to keep it.
    pub async fn store(
        &self,
        account: &AccountId,
        namespace: Namespace,
        data: Vec<u8>,
        ttl: Duration,
        by: Option<Actor<'_>>,
    ) -> Result<Stored, ClientError> {
        let inner = &*self.inner;
        let tally = Tally::default();
        let once = async || {
            let mut request = outgoing(*account, namespace, inner.clock.now_ms(), ttl, data.clone());
            request.auth = by.map(|by| inner.sign(by, |network, time| request.statement(network, time)));
            inner.store(&request, None, &tally).await
        };
        let stored = match once().await {
            Err(Failure::ClockMoved) => once().await,
            done => done,
        };
        stored.map_err(|failure| inner.write_error(*account, &tally, failure))
    }

    async fn copy(
        &self,
        from: &Account,
        to: &AccountId,
        draft: &Draft<'_>,
        timestamp_ms: u64,
    ) -> Result<Stored, ClientError> {
        let inner = &*self.inner;
        let data = envelope::seal(from, &from.id(), draft.clone(), timestamp_ms, Some(to))?;
        let tally = Tally::default();
        // Neither the path nor a number that members keep may join it to what was sent.
        let now = inner.clock.now_ms();
        let request = outgoing(from.id(), Namespace::INBOX, now, lifetime(inner), data);
        let stored = inner.store(&request, Some(Use::Copy), &tally).await;
        stored.map_err(|failure| inner.write_error(from.id(), &tally, failure))
    }
}

/// How long a message that is sent now is kept.
fn lifetime(inner: &Inner) -> Duration {
    TTL - inner.jitter(SPREAD)
}

fn outgoing(account: AccountId, namespace: Namespace, timestamp: u64, ttl: Duration, data: Vec<u8>) -> Store {
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let expiry = timestamp.saturating_add(ttl);
    Store { account, namespace, timestamp, expiry, data: ByteBuf::from(data), auth: None }
}

impl Inner {
    async fn store(&self, request: &Store, usage: Option<Use>, tally: &Tally) -> Result<Stored, Failure> {
        let (account, namespace, hash) = (request.account, request.namespace, request.hash());
        let subject = Subject::Message { account, namespace, hash };
        let question = Question { account, patience: self.options.answer_write, first: None, usage };
        let judge = |_, swarm: &[NodeId], body| {
            let (already, stored) = self.count(tally, swarm, &subject, body, keeps, |body| match body {
                Body::Stored { hash: named, already, receipts } if named == hash => Some((already, receipts)),
                Body::Stored { .. }
                | Body::Changed { .. }
                | Body::Messages { .. }
                | Body::Ids { .. }
                | Body::Fetched { .. }
                | Body::Swarm(_)
                | Body::Info { .. }
                | Body::Expiries { .. }
                | Body::Revoked { .. }
                | Body::Batch(_)
                | Body::If { .. }
                | Body::Refused(_) => None,
            })?;
            let expires_ms = proven_end(tally, swarm);
            let timestamp_ms = request.timestamp;
            Ok(Stored { hash, timestamp_ms, expires_ms, already, stored, swarm: swarm.len() })
        };
        self.ask(question, |_| Request::Store(request.clone()), judge).await
    }

    /// Counts the receipts of an answer to a write, together with those of the answers before it; those
    /// whose word does not fit what was asked do not count.
    pub(super) fn count<T: Default>(
        &self,
        tally: &Tally,
        swarm: &[NodeId],
        subject: &Subject,
        body: Body,
        fits: impl Fn(&Done) -> bool,
        take: impl FnOnce(Body) -> Option<(T, Receipts)>,
    ) -> Result<(T, usize), Fault> {
        let (taken, receipts, fault) = if let Body::Refused(Refusal { code, swarm, receipts }) = body {
            let refusal = Refusal { code, swarm, receipts: None };
            (T::default(), receipts.unwrap_or_default(), Fault::Refused(refusal))
        } else {
            let (taken, receipts) = take(body).ok_or(Fault::Disbelieved("it answers something else"))?;
            (taken, receipts, Fault::Disbelieved("too few of its receipts hold"))
        };
        // What members of an older map signed once may be gone since.
        let timely = receipts.map_version >= self.members.version();
        let signed = if timely { receipts.signed } else { Vec::new() };
        let mut known = tally.lock();
        for receipt in signed.into_iter().take(MAX_RECEIPTS) {
            let member = receipt.node;
            if !swarm.contains(&member) || known.contains_key(&member) || !fits(&receipt.done) {
                continue;
            }
            let done = receipt.done.clone();
            let alone =
                Receipts { map_version: receipts.map_version, signed: vec![receipt], missing: Vec::new() };
            if durable(&self.network, &[member], subject, &alone) == 1 {
                known.insert(member, done);
            }
        }
        let stored = known.keys().filter(|member| swarm.contains(member)).count();
        // Together they may be enough where none of the answers is.
        if is_majority(stored, swarm) { Ok((taken, stored)) } else { Err(fault) }
    }

    /// Says what went wrong with a write: as a shortfall when some members have it.
    pub(super) fn write_error(&self, account: AccountId, tally: &Tally, failure: Failure) -> ClientError {
        let swarm = self.map().members_of(&account).len();
        let durable = tally.lock().len();
        let error = self.error(account, failure);
        let short = matches!(error, ClientError::Refused { code: Code::NotReady, .. });
        let most = matches!(
            error,
            ClientError::Unreachable { .. } | ClientError::Refused { .. } | ClientError::Disbelieved { .. }
        );
        if short || (most && durable > 0) {
            ClientError::NotDurable { account, durable, wanted: majority(swarm), swarm }
        } else {
            error
        }
    }
}

const fn keeps(done: &Done) -> bool {
    matches!(done, Done::Keeps { .. })
}

/// Until when a majority keeps a message: the latest end to which so many have signed.
fn proven_end(tally: &Tally, swarm: &[NodeId]) -> u64 {
    let known = tally.lock();
    let signed = known.iter().filter(|(member, _)| swarm.contains(member));
    let mut ends: Vec<u64> = signed
        .filter_map(|(_, done)| match done {
            Done::Keeps { expiry } => Some(*expiry),
            Done::Changed { .. } => None,
        })
        .collect();
    ends.sort_unstable_by(|one, other| other.cmp(one));
    ends.get(majority(swarm.len()).saturating_sub(1)).copied().unwrap_or_default()
}

/// The members that have proven to have done what one request asked, and what each did.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<NodeId, Done>>);

impl Tally {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
