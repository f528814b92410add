//! Deleting messages, changing when they end, and asking nodes about themselves.

use std::time::Duration;

use session_protocols::{
    AccountId, MessageHash, NodeId, Signature,
    answer::{Body, Code, Done, Refusal, Subject, SwarmInfo},
    member::is_majority,
    request::{Auth, Delete, Direction, Ends, Expire, Form, MAX_HASHES, Request, Which},
};
use tokio::time::Instant;

use super::{
    Client, Inner,
    ask::{Failure, Fault, Question},
    send::Tally,
};
use crate::{account::Account, error::ClientError};

/// A deletion or change of expiry that a majority of the swarm has proven to have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The messages that a majority changed, in the order they were named. The others are not
    /// there, or too few members have proven that they changed them.
    pub hashes: Vec<MessageHash>,
    /// How many members have proven to have done it.
    pub stored: usize,
    /// How many members the swarm has.
    pub swarm: usize,
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
    /// Deletes messages from an account's mailbox, for good.
    ///
    /// # Errors
    /// When no majority of the swarm proves to have done it. With more than [`MAX_HASHES`] messages
    /// some may be deleted all the same; repeating is safe.
    pub async fn delete(&self, account: &Account, hashes: &[MessageHash]) -> Result<Changed, ClientError> {
        let inner = &*self.inner;
        let make = |hashes: &[MessageHash]| {
            let mut request = Delete {
                account: account.id(),
                which: Which::Hashes(hashes.to_vec()),
                required: false,
                auth: unsigned(),
            };
            request.auth = inner.sign(account, |network, time| request.statement(network, time));
            let digest = request.statement(&inner.network, request.auth.time).digest();
            (Request::Delete(request), digest)
        };
        inner.change(account, hashes, make).await
    }

    /// Changes when messages end, to `expiry_ms` in milliseconds since 1970; in one direction
    /// alone where one is given.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn expire(
        &self,
        account: &Account,
        hashes: &[MessageHash],
        expiry_ms: u64,
        only: Option<Direction>,
    ) -> Result<Changed, ClientError> {
        let inner = &*self.inner;
        let make = |hashes: &[MessageHash]| {
            let (which, ends) = (Which::Hashes(hashes.to_vec()), Ends::All(expiry_ms));
            let mut request = Expire { account: account.id(), which, ends, only, auth: unsigned() };
            request.auth = inner.sign(account, |network, time| request.statement(network, time));
            let digest = request.statement(&inner.network, request.auth.time).digest();
            (Request::Expire(request), digest)
        };
        inner.change(account, hashes, make).await
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

impl Inner {
    /// Has a signed change done, as many messages at a time as one request may name.
    async fn change(
        &self,
        account: &Account,
        hashes: &[MessageHash],
        make: impl Fn(&[MessageHash]) -> (Request, [u8; 32]),
    ) -> Result<Changed, ClientError> {
        let swarm = self.map().members_of(&account.id()).len();
        let mut all = Changed { hashes: Vec::new(), stored: swarm, swarm };
        for hashes in hashes.chunks(MAX_HASHES) {
            let mut tally = Tally::default();
            let mut done = self.change_once(account, make(hashes), &tally).await;
            if matches!(done, Err(Failure::ClockMoved)) {
                // Another time makes another request, of which nobody has done anything.
                tally = Tally::default();
                done = self.change_once(account, make(hashes), &tally).await;
            }
            let (stored, swarm) = done.map_err(|failure| self.write_error(account.id(), &tally, failure))?;
            let known = tally.lock();
            let by = |hash: &MessageHash| {
                let did = |member: &&NodeId| known.get(*member).is_some_and(|done| changed(done, hash));
                swarm.iter().filter(did).count()
            };
            all.hashes.extend(hashes.iter().filter(|hash| is_majority(by(hash), &swarm)));
            all.stored = all.stored.min(stored);
            all.swarm = swarm.len();
        }
        Ok(all)
    }

    async fn change_once(
        &self,
        account: &Account,
        (request, digest): (Request, [u8; 32]),
        tally: &Tally,
    ) -> Result<(usize, Vec<NodeId>), Failure> {
        let account = account.id();
        let subject = Subject::Request { account, digest };
        let question = Question { account, patience: self.options.answer_write, first: None, usage: None };
        let judge = |_, swarm: &[NodeId], body| {
            let ((), stored) = self.count(tally, swarm, &subject, body, changes, |body| match body {
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
            })?;
            Ok((stored, swarm.to_vec()))
        };
        self.ask(question, |_| request.clone(), judge).await
    }
}

const fn changes(done: &Done) -> bool {
    matches!(done, Done::Changed { .. })
}

fn changed(done: &Done, hash: &MessageHash) -> bool {
    match done {
        Done::Changed { hashes } => hashes.contains(hash),
        Done::Keeps { .. } => false,
    }
}

/// What stands for a signature until there is one.
pub(super) const fn unsigned() -> Auth {
    Auth { key: None, time: 0, signature: Signature([0; 64]), subaccount: None, form: Form::Statement }
}
