//! Deleting messages, changing when they end, and asking nodes about themselves.

use std::{collections::BTreeMap, time::Duration};

use session_protocols::{
    AccountId, MessageHash, NodeId, Signature,
    answer::{Body, Code, Done, End, Refusal, Subject, SwarmInfo},
    member::is_majority,
    request::{
        Auth, Delete, Direction, Drawers, Ends, Expire, Form, GetExpiries, MAX_HASHES, Request, Revoke,
        Token, Which,
    },
};
use tokio::time::Instant;

use super::{
    Client, Inner,
    ask::{Failure, Fault, Question},
    send::Tally,
};
use crate::{actor::Actor, error::ClientError};

/// How many messages one request changes: so many that twenty members, as many as there are while a swarm changes,
/// can name them all in the largest answer.
pub(super) const AT_ONCE: usize = 150;

/// A deletion or change of expiry that a majority of the swarm has proven to have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The messages that a majority changed, in the order they were named; of whole drawers in the order of the
    /// hashes. The others are not there, or too few members have proven that they changed them.
    pub hashes: Vec<MessageHash>,
    /// How many members have proven to have done it.
    pub stored: usize,
    /// How many members the swarm has.
    pub swarm: usize,
}

/// When messages of a mailbox end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiries {
    /// Of those that are there.
    pub ends: Vec<End>,
    /// Whether there are more than an answer holds: ask for those by their hashes.
    pub more: bool,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The version of its software.
    pub version: String,
    /// Its clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// How long it took to answer, with connecting to it where that was needed.
    pub round_trip: Duration,
}

impl Client {
    /// Deletes messages from a mailbox, for good.
    ///
    /// # Errors
    /// When no majority of the swarm proves to have done it. Of many messages some may be deleted all the same;
    /// repeating is safe.
    pub async fn delete<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        hashes: &[MessageHash],
    ) -> Result<Changed, ClientError> {
        self.inner.change_each(by.into(), hashes, &|hashes| Change::Delete(named(hashes))).await
    }

    /// Deletes all messages of one drawer, or of all, for good. What arrives meanwhile may be among them.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn delete_all<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        drawers: Drawers,
    ) -> Result<Changed, ClientError> {
        self.inner.change_all(by.into(), Change::Delete(within(drawers, None))).await
    }

    /// Deletes the messages of one drawer, or of all, that were sent at or before a time, in milliseconds since
    /// 1970 and no later than now.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn delete_before<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        drawers: Drawers,
        before_ms: u64,
    ) -> Result<Changed, ClientError> {
        self.inner.change_all(by.into(), Change::Delete(within(drawers, Some(before_ms)))).await
    }

    /// Changes when messages end, to `expiry_ms` in milliseconds since 1970; in one direction
    /// alone where one is given.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn expire<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        hashes: &[MessageHash],
        expiry_ms: u64,
        only: Option<Direction>,
    ) -> Result<Changed, ClientError> {
        let change = |hashes: &[MessageHash]| {
            let (which, ends) = (named(hashes), Ends::All(expiry_ms));
            Change::Expire { which, ends, only }
        };
        self.inner.change_each(by.into(), hashes, &change).await
    }

    /// Changes when messages end, each to an end of its own. Otherwise as [`Self::expire`].
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn expire_each<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        ends: &[End],
        only: Option<Direction>,
    ) -> Result<Changed, ClientError> {
        let hashes: Vec<_> = ends.iter().map(|end| end.hash).collect();
        let of: BTreeMap<_, _> = ends.iter().map(|end| (end.hash, end.expiry)).collect();
        let change = |hashes: &[MessageHash]| {
            let ends = hashes.iter().map(|hash| of.get(hash).copied().unwrap_or_default());
            Change::Expire { which: named(hashes), ends: Ends::Each(ends.collect()), only }
        };
        self.inner.change_each(by.into(), &hashes, &change).await
    }

    /// Lets all messages of one drawer, or of all, end at `expiry_ms` in milliseconds since 1970, which end later.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn expire_all<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        drawers: Drawers,
        expiry_ms: u64,
    ) -> Result<Changed, ClientError> {
        let (which, ends) = (within(drawers, None), Ends::All(expiry_ms));
        self.inner.change_all(by.into(), Change::Expire { which, ends, only: None }).await
    }

    /// Asks when messages end; none of `hashes` for all in the mailbox. One member is believed.
    ///
    /// # Errors
    /// When no member of the swarm gives an answer that can be believed.
    pub async fn expiries<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        hashes: Option<&[MessageHash]>,
    ) -> Result<Expiries, ClientError> {
        let (inner, by) = (&*self.inner, by.into());
        let Some(hashes) = hashes else { return inner.expiries(by, None).await };
        let mut all = Expiries { ends: Vec::new(), more: false };
        for hashes in hashes.chunks(MAX_HASHES) {
            all.ends.extend(inner.expiries(by, Some(hashes)).await?.ends);
        }
        Ok(all)
    }

    /// Asks which nodes keep an account. Others than the network file says are believed only when a
    /// majority of those name them.
    ///
    /// # Errors
    /// When no node gives an answer that can be believed.
    pub async fn get_swarm(&self, account: &AccountId) -> Result<SwarmInfo, ClientError> {
        let inner = &*self.inner;
        let question =
            Question { account: *account, patience: inner.options.answer, first: None, usage: None };
        let judge = |_, swarm: &[NodeId], body| match body {
            Body::Swarm(info) if info.members == swarm => Ok(info),
            Body::Swarm(info) => {
                Err(Fault::Refused(Refusal { code: Code::WrongSwarm, swarm: Some(info), receipts: None }))
            }
            Body::Stored { .. }
            | Body::Changed { .. }
            | Body::Messages { .. }
            | Body::Ids { .. }
            | Body::Fetched { .. }
            | Body::Info { .. }
            | Body::Expiries { .. }
            | Body::Revoked { .. }
            | Body::Batch(_)
            | Body::If { .. }
            | Body::Refused(_) => Err(Fault::Disbelieved("it answers something else")),
        };
        let asked = inner.ask(question, |_| Request::GetSwarm { account: *account }, judge).await;
        asked.map_err(|failure| inner.error(*account, failure))
    }

    /// Asks one node about itself.
    ///
    /// # Errors
    /// When the network file does not name it, or it gives no answer that can be believed.
    pub async fn info(&self, node: &NodeId) -> Result<NodeInfo, ClientError> {
        let (inner, node) = (&*self.inner, *node);
        if !inner.links.addresses().contains(&node) {
            return Err(ClientError::UnknownNode { node });
        }
        let start = Instant::now();
        let answer = inner.exchange(node, Request::Info, inner.options.answer).await;
        let round_trip = start.elapsed();
        match answer.map(|answer| (answer.time, answer.body)) {
            Ok((time_ms, Body::Info { version, .. })) => Ok(NodeInfo { version, time_ms, round_trip }),
            Ok((_, Body::Refused(refusal))) => Err(ClientError::Refused { node, code: refusal.code }),
            Ok(_) => Err(ClientError::Disbelieved { node, what: "it answers something else" }),
            Err(Fault::Disbelieved(what)) => Err(ClientError::Disbelieved { node, what }),
            Err(Fault::Path(error)) => Err(error.into()),
            Err(Fault::Directory(cause)) => Err(ClientError::Directory { cause }),
            Err(Fault::ClockWrong(by)) => Err(ClientError::Clock { seconds: by / 1_000 }),
            Err(Fault::Silent | Fault::Busy | Fault::Refused(_) | Fault::ClockMoved | Fault::TooLarge(_)) => {
                Err(ClientError::Silent { node })
            }
        }
    }
}

/// A change of a mailbox, before it is signed.
pub(super) enum Change {
    Delete(Which),
    Expire { which: Which, ends: Ends, only: Option<Direction> },
    Revoke { tokens: Vec<Token>, undo: bool },
}

/// What a majority of a swarm has proven to have changed.
pub(super) struct Proven {
    /// In their order.
    pub(super) hashes: Vec<MessageHash>,
    /// How many one member says to have changed, at most.
    most: usize,
    pub(super) stored: usize,
    pub(super) swarm: usize,
}

impl Change {
    /// The request, and the digest of its statement, that members sign.
    pub(super) fn sign(&self, inner: &Inner, by: Actor<'_>) -> (Request, [u8; 32]) {
        let account = by.account();
        macro_rules! signed {
            ($kind:ident, $request:expr) => {{
                let mut request = $request;
                request.auth = inner.sign(by, |network, time| request.statement(network, time));
                let digest = request.statement(&inner.network, request.auth.time).digest();
                (Request::$kind(request), digest)
            }};
        }
        match self {
            Self::Delete(which) => {
                let which = which.clone();
                signed!(Delete, Delete { account, which, required: false, auth: unsigned() })
            }
            Self::Expire { which, ends, only } => {
                let (which, ends, only) = (which.clone(), ends.clone(), *only);
                signed!(Expire, Expire { account, which, ends, only, auth: unsigned() })
            }
            Self::Revoke { tokens, undo } => {
                let (tokens, undo) = (tokens.clone(), *undo);
                signed!(Revoke, Revoke { account, tokens, undo, auth: unsigned() })
            }
        }
    }
}

fn named(hashes: &[MessageHash]) -> Which {
    Which::Hashes(hashes.to_vec())
}

/// So many at a time that the answer can name them.
fn within(drawers: Drawers, before: Option<u64>) -> Which {
    Which::In { drawers, before, most: u32::try_from(AT_ONCE).ok() }
}

impl Inner {
    /// Has messages changed that are named, some at a time.
    async fn change_each(
        &self,
        by: Actor<'_>,
        hashes: &[MessageHash],
        change: &(dyn Fn(&[MessageHash]) -> Change + Send + Sync),
    ) -> Result<Changed, ClientError> {
        let swarm = self.map().members_of(&by.account()).len();
        let mut all = Changed { hashes: Vec::new(), stored: swarm, swarm };
        for hashes in hashes.chunks(AT_ONCE) {
            let proven = self.change(by, &change(hashes)).await?;
            all.hashes.extend(hashes.iter().filter(|hash| proven.hashes.binary_search(hash).is_ok()));
            (all.stored, all.swarm) = (all.stored.min(proven.stored), proven.swarm);
        }
        Ok(all)
    }

    /// Has messages of whole drawers changed, until no member says that there were as many as it may change at once.
    async fn change_all(&self, by: Actor<'_>, change: Change) -> Result<Changed, ClientError> {
        let mut all = self.change(by, &change).await?;
        let (mut more, mut hashes) = (all.most >= AT_ONCE, std::mem::take(&mut all.hashes));
        while more {
            let proven = self.change(by, &change).await?;
            let before = hashes.len();
            hashes.extend(proven.hashes);
            hashes.sort_unstable();
            hashes.dedup();
            // One member that says so for ever keeps nobody here.
            more = proven.most >= AT_ONCE && hashes.len() > before;
            (all.stored, all.swarm) = (all.stored.min(proven.stored), proven.swarm);
        }
        Ok(Changed { hashes, stored: all.stored, swarm: all.swarm })
    }

    /// Has one signed change done.
    pub(super) async fn change(&self, by: Actor<'_>, change: &Change) -> Result<Proven, ClientError> {
        let account = by.account();
        let mut tally = Tally::default();
        let mut done = self.change_once(account, change.sign(self, by), &tally).await;
        if matches!(done, Err(Failure::ClockMoved)) {
            // Another time makes another request, of which nobody has done anything.
            tally = Tally::default();
            done = self.change_once(account, change.sign(self, by), &tally).await;
        }
        let (stored, swarm) = done.map_err(|failure| self.write_error(account, &tally, failure))?;
        Ok(Proven::of(&tally, stored, &swarm))
    }

    async fn change_once(
        &self,
        account: AccountId,
        (request, digest): (Request, [u8; 32]),
        tally: &Tally,
    ) -> Result<(usize, Vec<NodeId>), Failure> {
        let question = Question { account, patience: self.options.answer_write, first: None, usage: None };
        let judge = |_, swarm: &[NodeId], body| {
            let stored = self.count_changed(tally, swarm, account, digest, body)?;
            Ok((stored, swarm.to_vec()))
        };
        self.ask(question, |_| request.clone(), judge).await
    }

    /// Counts the receipts of an answer to a change.
    pub(super) fn count_changed(
        &self,
        tally: &Tally,
        swarm: &[NodeId],
        account: AccountId,
        digest: [u8; 32],
        body: Body,
    ) -> Result<usize, Fault> {
        let subject = Subject::Request { account, digest };
        let counted = self.count(tally, swarm, &subject, body, changes, |body| match body {
            Body::Changed { receipts } => Some(((), receipts)),
            Body::Stored { .. }
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
        });
        counted.map(|((), stored)| stored)
    }

    async fn expiries(&self, by: Actor<'_>, hashes: Option<&[MessageHash]>) -> Result<Expiries, ClientError> {
        let found = match self.expiries_once(by, hashes).await {
            Err(Failure::ClockMoved) => self.expiries_once(by, hashes).await,
            done => done,
        };
        found.map_err(|failure| self.error(by.account(), failure))
    }

    async fn expiries_once(
        &self,
        by: Actor<'_>,
        hashes: Option<&[MessageHash]>,
    ) -> Result<Expiries, Failure> {
        let account = by.account();
        let question = Question { account, patience: self.options.answer, first: None, usage: None };
        let request = self.get_expiries(by, hashes);
        let judge = |_, _: &[NodeId], body| {
            let Body::Expiries { ends, more } = body else {
                return Err(Fault::Disbelieved("it answers something else"));
            };
            Ok(Expiries { ends, more })
        };
        self.ask(question, |_| Request::GetExpiries(request.clone()), judge).await
    }

    pub(super) fn get_expiries(&self, by: Actor<'_>, hashes: Option<&[MessageHash]>) -> GetExpiries {
        let hashes = hashes.map(<[MessageHash]>::to_vec);
        let mut request = GetExpiries { account: by.account(), hashes, auth: unsigned() };
        request.auth = self.sign(by, |network, time| request.statement(network, time));
        request
    }
}

impl Proven {
    /// What the members of a swarm say in their receipts.
    pub(super) fn of(tally: &Tally, stored: usize, swarm: &[NodeId]) -> Self {
        let known = tally.lock();
        let mut counts = BTreeMap::<MessageHash, usize>::new();
        let mut most = 0;
        for (_, done) in known.iter().filter(|(member, _)| swarm.contains(member)) {
            let Done::Changed { hashes } = done else { continue };
            let each: std::collections::BTreeSet<_> = hashes.iter().collect();
            most = most.max(each.len());
            each.into_iter().for_each(|hash| *counts.entry(*hash).or_default() += 1);
        }
        let by_most = counts.into_iter().filter(|(_, count)| is_majority(*count, swarm));
        Self { hashes: by_most.map(|(hash, _)| hash).collect(), most, stored, swarm: swarm.len() }
    }
}

const fn changes(done: &Done) -> bool {
    matches!(done, Done::Changed { .. })
}

/// What stands for a signature until there is one.
pub(super) const fn unsigned() -> Auth {
    Auth { key: None, time: 0, signature: Signature([0; 64]), subaccount: None, form: Form::Statement }
}
