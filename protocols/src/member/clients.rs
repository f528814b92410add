//! What clients ask, and when they are answered: at once, or once members have signed.

use super::{MAX_LOST, Member, Output, Waiting};
use crate::{
    SwarmId, Time,
    answer::{Answer, Body, Code, Receipt, Receipts, Refusal, Subject, SwarmInfo, told},
    mailbox,
    namespace::Class,
    notify::{self, Subscribed},
    record::Mutation,
    replication::writes,
    request::{Door, Request, Retrieve},
    store::{StoreError, Transaction},
};

/// What a request wants to change.
struct Write {
    mutation: Mutation,
    /// Whether it fails where nobody had anything to change.
    required: bool,
}

impl Member {
    pub(super) fn request<T: Transaction>(
        &mut self,
        now: Time,
        ticket: u64,
        request: Request,
        door: Door,
        store: &mut T,
    ) -> Result<(), StoreError> {
        let time = now.as_millis();
        if let Some(refusal) = self.turn_away(&request) {
            self.outbox
                .push_back(Output::Answer { ticket, answer: Answer { time, body: Body::Refused(refusal) } });
            return Ok(());
        }
        let allowed = self.read(now, store, |store| mailbox::allowed(store, &request))?;
        let body = match (allowed, request) {
            (None, _) => failed(),
            (Some(false), _) => refused(Code::Unauthorized),
            (Some(true), request) => match self.answer(now, request, door, store)? {
                Ok(body) => body,
                Err(_) if self.full && door == Door::Native => refused(Code::Full),
                Err(write) => {
                    let Write { mutation, required } = *write;
                    self.waiting.insert(ticket, Waiting { door, required, done: None });
                    if self.full {
                        self.pass_on(now, ticket, mutation);
                        return Ok(());
                    }
                    return self.mailbox.handle(now, mailbox::Input::Write { ticket, mutation }, store);
                }
            },
        };
        self.outbox.push_back(Output::Answer { ticket, answer: Answer { time, body } });
        Ok(())
    }

    /// Has the others write what a client of the JSON door asks for where this member has no room: such a client counts
    /// for itself.
    pub(super) fn pass_on(&mut self, now: Time, ticket: u64, mutation: Mutation) {
        let subject = mutation.subject(&self.setup.network);
        if let Some(waiting) = self.waiting.get_mut(&ticket) {
            waiting.done = Some((subject, false));
        }
        let quorums = self.maps().quorums(mutation.account());
        let (receipt, door) = (None, Door::Json);
        let write = writes::Input::Write { ticket, subject, mutation, receipt, quorums, door };
        self.writes.handle(now, write);
    }

    /// What a request is answered at once, or what it wants to change.
    fn answer<T: Transaction>(
        &mut self,
        now: Time,
        request: Request,
        door: Door,
        store: &mut T,
    ) -> Result<Result<Body, Box<Write>>, StoreError> {
        let write = |mutation| Ok(Err(Box::new(Write { mutation, required: false })));
        let held = Vec::new();
        let body = match request {
            Request::Store(request) => return write(Mutation::Store(request)),
            Request::Delete(mut request) => {
                request.receive(&self.setup.pair, &self.setup.network);
                let required = request.required;
                return Ok(Err(Box::new(Write { mutation: Mutation::Delete { request, held }, required })));
            }
            Request::Expire(mut request) => {
                request.receive(&self.setup.pair, &self.setup.network);
                return write(Mutation::Expire { request, held });
            }
            Request::Revoke(request) => return write(Mutation::Revoke { request, held }),
            Request::Retrieve(request) => {
                self.read(now, store, |store| mailbox::retrieve(store, now, &request, door))?
            }
            Request::Fetch(request) => self.read(now, store, |store| mailbox::fetch(store, now, &request))?,
            Request::GetExpiries(request) => {
                self.read(now, store, |store| mailbox::expiries(store, now, &request))?
            }
            Request::GetRevoked(request) => {
                self.read(now, store, |store| mailbox::revoked(store, &request.account))?
            }
            Request::GetSwarm { account } => Some(match self.maps().acts.swarm_of(&account) {
                Some(id) => Body::Swarm(self.info(id)),
                None => refused(Code::NotReady),
            }),
            Request::Info => {
                let (version, rules, height) = (self.setup.version.clone(), self.setup.rules, self.height);
                Some(Body::Info { version, rules, height })
            }
            Request::Batch(_) | Request::Sequence(_) | Request::If(_) => Some(refused(Code::BadRequest)),
        };
        Ok(Ok(body.unwrap_or_else(failed)))
    }

    /// Reads what is asked for, past messages that are damaged: the others of the swarm still have
    /// them. None when what is left cannot be read either.
    pub(super) fn read<T: Transaction, A>(
        &mut self,
        now: Time,
        store: &mut T,
        mut read: impl FnMut(&T) -> Result<A, StoreError>,
    ) -> Result<Option<A>, StoreError> {
        for _ in 0..MAX_LOST {
            match read(store) {
                Err(StoreError::Lost { account, hash, why }) => {
                    self.outbox.push_back(Output::Damaged(why));
                    if self.full {
                        return Ok(None);
                    }
                    let head = store.head();
                    self.mailbox.handle(now, mailbox::Input::Lost { account, hash }, store)?;
                    // What cannot be forgotten either is read no further.
                    if store.head() == head {
                        return Ok(None);
                    }
                }
                Err(StoreError::Damaged(why)) => {
                    self.outbox.push_back(Output::Damaged(why));
                    return Ok(None);
                }
                read => return read.map(Some),
            }
        }
        Ok(None)
    }

    /// Why a request is not for this node, or not for it yet.
    fn turn_away(&self, request: &Request) -> Option<Refusal> {
        let refusal = |code, swarm| Some(Refusal { code, swarm, receipts: None });
        let of_mailbox = !matches!(request, Request::GetSwarm { .. });
        let about_mailbox = request.account().filter(|_| of_mailbox)?;
        let keeper = self.maps().acts.swarm_of(about_mailbox);
        if keeper != self.swarm || self.swarm.is_none() {
            return refusal(Code::WrongSwarm, keeper.map(|swarm| self.info(swarm)));
        }
        if self.ready() { None } else { refusal(Code::NotReady, None) }
    }

    fn info(&self, id: SwarmId) -> SwarmInfo {
        let acts = &self.maps().acts;
        SwarmInfo { map_version: acts.version, id, members: acts.members(id).to_vec() }
    }

    pub(super) fn subscribe<T: Transaction>(
        &mut self,
        now: Time,
        subscriber: u64,
        retrieve: Retrieve,
        store: &mut T,
    ) -> Result<(), StoreError> {
        let Retrieve { account, namespace, after, .. } = retrieve;
        let subaccount = retrieve.auth.as_ref().and_then(|auth| auth.subaccount);
        let by = subaccount
            .filter(|_| namespace.class() != Class::Unrevocable)
            .map(|subaccount| subaccount.token.hash(&account));
        let about = Request::Retrieve(retrieve);
        let code = match self.turn_away(&about) {
            Some(refusal) => Some(refusal.code),
            None => match self.read(now, store, |store| mailbox::allowed(store, &about))? {
                Some(true) => None,
                Some(false) => Some(Code::Unauthorized),
                None => Some(Code::Failed),
            },
        };
        if let Some(code) = code {
            let answer = Subscribed::Refused { code };
            self.outbox.push_back(Output::Subscribed { subscriber, answer });
        } else {
            self.subscriptions
                .handle(now, notify::Input::Subscribe { subscriber, account, namespace, after, by });
        }
        Ok(())
    }

    /// Answers a client whose write has ended: `done` when it is durable as often as it has to be. One of
    /// the JSON door counts for itself, unless there is nothing to count.
    pub(super) fn written(&mut self, now: Time, ticket: u64, receipts: Receipts, done: bool) {
        let Some(Waiting { door, required, done: Some((subject, already)) }) = self.waiting.remove(&ticket)
        else {
            return;
        };
        let anything = |receipt: &Receipt| match &receipt.told {
            Some(told) => !told.listed.is_empty(),
            None => told::anything(&receipt.done),
        };
        let body = match subject {
            _ if !done && door == Door::Native => {
                Body::Refused(Refusal { code: Code::NotReady, swarm: None, receipts: Some(receipts) })
            }
            _ if receipts.signed.is_empty() => undone(Code::Full, receipts, door),
            Subject::Request { .. } if required && !receipts.signed.iter().any(anything) => {
                undone(Code::NotFound, receipts, door)
            }
            Subject::Message { hash, .. } => Body::Stored { hash, already, receipts },
            Subject::Request { .. } => Body::Changed { receipts },
        };
        self.outbox.push_back(Output::Answer { ticket, answer: Answer { time: now.as_millis(), body } });
    }
}

/// Refuses what no member did; clients of the JSON door are told what each said of it.
fn undone(code: Code, receipts: Receipts, door: Door) -> Body {
    Body::Refused(Refusal { code, swarm: None, receipts: (door == Door::Json).then_some(receipts) })
}

const fn failed() -> Body {
    refused(Code::Failed)
}

const fn refused(code: Code) -> Body {
    Body::Refused(Refusal { code, swarm: None, receipts: None })
}
