//! The native door: requests in CBOR, signed over their statements, answered with members' receipts.

use std::collections::BTreeMap;

use session_chain::NetworkFile;
use session_protocols::{
    MessageHash, Namespace, NetworkName, NodeId, Protocol, Signature, Statement,
    answer::{Answer, Body, Done, MAX_ANSWER, MAX_PAGE, Receipts, Subject},
    codec,
    member::{durable, is_majority},
    notify::{self, Event, MAX_EVENT, Subscribe, Subscribed},
    request::{
        Auth, Condition, Delete, Direction, Drawers, Ends, Expire, Form, GetExpiries, GetRevoked, If,
        Request, Retrieve, Revoke, Rights, Store, Subaccount, Token, Which,
    },
};

use super::{At, By, Call, Got, Somebody, moment, steps_to};
use crate::{
    raw::Members,
    support::{PATIENCE, Place},
};

pub(crate) struct Door {
    file: NetworkFile,
    links: Members,
    /// Where drawers are watched.
    watched: Members,
}

impl Door {
    pub(crate) async fn open(place: &Place) -> Self {
        let file = place.testnet.folder().network().unwrap();
        let links = Members::connect(&file).await;
        let watched = Members::connect_over(&file, Protocol::Notify).await;
        Self { file, links, watched }
    }

    /// The members of somebody's swarm.
    pub(crate) async fn members(&self, somebody: &Somebody) -> Vec<NodeId> {
        let request = Request::GetSwarm { account: somebody.id };
        match self.exchange(&self.file.nodes[0].id, &request).await {
            Body::Swarm(info) => info.members,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ask(&self, somebody: &Somebody, call: &Call, by: By) -> Got {
        self.ask_at(0, somebody, call, by).await
    }

    /// The same of the member at this place of the swarm.
    pub(crate) async fn ask_at(&self, place: usize, somebody: &Somebody, call: &Call, by: By) -> Got {
        let members = self.members(somebody).await;
        let member = &members[place];
        if let Call::Monitor { at } = call {
            return self.watch(somebody, member, *at, by).await;
        }
        let request = self.request(somebody, call, by);
        let body = self.exchange(member, &request).await;
        let got = self.read(somebody, &members, &request, body);
        match (call, got) {
            // What came of it is told by whoever is asked for it.
            (Call::Revoke { rights, undo: false }, Got::Count(_)) => {
                let asked = self.request(somebody, &Call::Revoked, By::Owner);
                let Body::Revoked { tokens } = self.exchange(member, &asked).await else {
                    panic!("its owner may ask")
                };
                Got::Count(somebody.among(rights, &tokens))
            }
            (_, got) => got,
        }
    }

    async fn exchange(&self, node: &NodeId, request: &Request) -> Body {
        let bytes = self.links.ask(node, codec::encode(request)).await;
        let answer: Answer = codec::decode(&bytes, MAX_ANSWER).unwrap();
        assert!(answer.time.abs_diff(moment(0)) < 60_000, "every answer carries the server's time");
        answer.body
    }

    /// Watches a drawer at one member, and has its owner store there at another.
    async fn watch(&self, somebody: &Somebody, member: &NodeId, at: At, by: By) -> Got {
        let read = Call::Retrieve { namespace: at.0, last: None, count: None, size: None };
        let Request::Retrieve(retrieve) = self.request(somebody, &read, by) else { unreachable!() };
        let (answer, mut events) =
            self.watched.subscribe(member, codec::encode(&Subscribe { retrieve })).await;
        let answer: notify::Answer = codec::decode(&answer, MAX_EVENT).unwrap();
        assert!(answer.time.abs_diff(moment(0)) < 60_000, "every answer carries the server's time");
        match answer.body {
            Subscribed::Refused { code } => return Got::Refused(code.number()),
            Subscribed::Until { expiry } => assert!(expiry > moment(0)),
        }
        let store = self.request(somebody, &Call::Store { at, ttl: 60_000, sent: 0 }, By::Owner);
        let other = self.members(somebody).await[1];
        assert!(matches!(self.exchange(&other, &store).await, Body::Stored { .. }), "its owner may");
        let mut told: Vec<String> = Vec::new();
        while told.last().is_none_or(|last| last != at.1) {
            let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").unwrap();
            let event: Event = codec::decode(&event, MAX_EVENT).unwrap();
            let texts = event.messages.iter().map(|one| String::from_utf8(one.data.to_vec()).unwrap());
            told.extend(texts);
        }
        Got::Told(told)
    }

    fn read(&self, somebody: &Somebody, members: &[NodeId], request: &Request, body: Body) -> Got {
        match (body, request) {
            (Body::Refused(refusal), _) => Got::Refused(refusal.code.number()),
            (Body::Stored { already, hash, receipts }, Request::Store(store)) => {
                assert_eq!(hash, store.hash());
                let subject =
                    Subject::Message { account: somebody.id, namespace: store.namespace, hash: store.hash() };
                self.count(members, &subject, &receipts);
                Got::Stored { already }
            }
            (Body::Changed { receipts }, request) => {
                let (time, statement) = match request {
                    Request::Delete(one) => (one.auth.time, one.statement(self.name(), one.auth.time)),
                    Request::Expire(one) => (one.auth.time, one.statement(self.name(), one.auth.time)),
                    Request::Revoke(one) => (one.auth.time, one.statement(self.name(), one.auth.time)),
                    other => panic!("{other:?} changes nothing"),
                };
                assert!(time > 0);
                let subject = Subject::Request { account: somebody.id, digest: statement.digest() };
                self.count(members, &subject, &receipts);
                let changed = by_majority(members, &receipts);
                match request {
                    Request::Revoke(_) => Got::Count(changed.len()),
                    _ => Got::Changed(changed),
                }
            }
            (Body::Messages { messages, more, .. }, _) => {
                let text = |message: &session_protocols::answer::Message| {
                    String::from_utf8(message.data.to_vec()).unwrap()
                };
                Got::Messages(messages.iter().map(text).collect(), more)
            }
            (Body::Expiries { ends, .. }, _) => {
                let mut ends: Vec<_> = ends.iter().map(|end| (end.hash, steps_to(end.expiry))).collect();
                ends.sort_unstable();
                Got::Expiries(ends)
            }
            (Body::Revoked { tokens }, _) => Got::Revoked(tokens),
            (Body::Swarm(info), _) => Got::Swarm(info.members.len()),
            (Body::Info { version, rules, .. }, _) => {
                assert_eq!((version.split('.').count(), rules), (3, [22, 0]));
                Got::Info
            }
            (Body::Batch(answers), Request::Batch(requests) | Request::Sequence(requests)) => {
                let each = answers.into_iter().zip(requests);
                Got::Several(
                    each.map(|(answer, request)| self.read(somebody, members, request, answer.body))
                        .collect(),
                )
            }
            (Body::If { condition, answer }, Request::If(choice)) => {
                let chosen = if condition { &choice.then } else { &choice.otherwise };
                let answer = answer.zip(chosen.as_ref());
                let got = answer
                    .map(|(answer, request)| Box::new(self.read(somebody, members, request, answer.body)));
                Got::Chosen(condition, got)
            }
            (body, request) => panic!("{body:?} answers {request:?}"),
        }
    }

    /// Whether a majority has signed for it.
    fn count(&self, members: &[NodeId], subject: &Subject, receipts: &Receipts) {
        let signed = durable(self.name(), members, subject, receipts);
        assert!(is_majority(signed, members), "{signed} of {} have signed", members.len());
    }

    fn name(&self) -> &NetworkName {
        &self.file.name
    }

    fn request(&self, somebody: &Somebody, call: &Call, by: By) -> Request {
        let (account, name) = (somebody.id, self.name());
        let signed = |statement: &dyn Fn(u64) -> Statement| auth(somebody, by, statement);
        let which =
            |messages: &[super::At]| Which::Hashes(messages.iter().map(|at| somebody.hash(*at)).collect());
        let within = |drawer: &Option<i16>, before: Option<u64>| Which::In {
            drawers: drawer.map_or(Drawers::All, |drawer| Drawers::One(Namespace(drawer))),
            before,
            most: None,
        };
        match call {
            Call::Store { at: (namespace, text), ttl, sent } => {
                let timestamp = moment(*sent);
                let expiry = timestamp.saturating_add_signed(*ttl);
                let (namespace, data) = (Namespace(*namespace), text.as_bytes().to_vec().into());
                let mut store = Store { account, namespace, timestamp, expiry, data, auth: None };
                store.auth = signed(&|time| store.statement(name, time));
                Request::Store(store)
            }
            Call::Retrieve { namespace, last, count, size } => {
                let (namespace, last) = (Namespace(*namespace), last.map(|at| somebody.hash(at)));
                // Here whoever asks makes a share a number of bytes.
                let size = size.map(|size| {
                    if size < 0 { MAX_PAGE as u64 / size.unsigned_abs() } else { size.unsigned_abs() }
                });
                let max_size = size.map(|size| u32::try_from(size).unwrap());
                let (after, max_count, ids, auth) = (None, *count, None, None);
                let mut request =
                    Retrieve { account, namespace, after, last, max_count, max_size, ids, auth };
                request.auth = signed(&|time| request.statement(name, time));
                Request::Retrieve(request)
            }
            Call::Delete { messages, required } => {
                let (which, required) = (which(messages), *required);
                let mut request = Delete { account, which, required, auth: none() };
                request.auth = signed(&|time| request.statement(name, time)).unwrap_or_else(none);
                Request::Delete(request)
            }
            Call::DeleteIn { drawer, before } => {
                let which = within(drawer, before.map(moment));
                let mut request = Delete { account, which, required: false, auth: none() };
                request.auth = signed(&|time| request.statement(name, time)).unwrap_or_else(none);
                Request::Delete(request)
            }
            Call::Expire { messages, ends, only } => {
                let ends = match ends.as_slice() {
                    [end] => Ends::All(moment(*end)),
                    ends => Ends::Each(ends.iter().map(|end| moment(*end)).collect()),
                };
                let only = only.map(|only| match only {
                    "shorten" => Direction::Shorten,
                    _ => Direction::Extend,
                });
                let mut request = Expire { account, which: which(messages), ends, only, auth: none() };
                request.auth = signed(&|time| request.statement(name, time)).unwrap_or_else(none);
                Request::Expire(request)
            }
            Call::ExpireIn { drawer, end } => {
                let (which, ends) = (within(drawer, None), Ends::All(moment(*end)));
                let mut request = Expire { account, which, ends, only: None, auth: none() };
                request.auth = signed(&|time| request.statement(name, time)).unwrap_or_else(none);
                Request::Expire(request)
            }
            Call::Expiries { messages } => {
                let hashes = messages.as_ref().map(|all| all.iter().map(|at| somebody.hash(*at)).collect());
                let mut request = GetExpiries { account, hashes, auth: none() };
                request.auth = signed(&|time| request.statement(name, time)).unwrap_or_else(none);
                Request::GetExpiries(request)
            }
            Call::Revoke { rights, undo } => {
                let tokens = rights.iter().map(|rights| somebody.token(*rights)).collect();
                let mut request = Revoke { account, tokens, undo: *undo, auth: none() };
                request.auth = signed(&|time| request.statement(name, time)).unwrap_or_else(none);
                Request::Revoke(request)
            }
            Call::Revoked => {
                let mut request = GetRevoked { account, auth: none() };
                request.auth = signed(&|time| request.statement(name, time)).unwrap_or_else(none);
                Request::GetRevoked(request)
            }
            Call::Monitor { .. } => panic!("it is no request of this protocol"),
            Call::Swarm => Request::GetSwarm { account },
            Call::Info => Request::Info,
            Call::Batch(calls) => Request::Batch(self.requests(somebody, calls)),
            Call::Sequence(calls) => Request::Sequence(self.requests(somebody, calls)),
            Call::If { rules, then, otherwise } => {
                let branch = |branch: &Option<Box<(Call, By)>>| {
                    branch.as_ref().map(|one| self.request(somebody, &one.0, one.1))
                };
                let (then, otherwise) = (branch(then), branch(otherwise));
                Request::If(Box::new(If { when: vec![Condition::RulesAtLeast(*rules)], then, otherwise }))
            }
        }
    }

    fn requests(&self, somebody: &Somebody, calls: &[(Call, By)]) -> Vec<Request> {
        calls.iter().map(|(call, by)| self.request(somebody, call, *by)).collect()
    }
}

/// What a majority says that it changed.
fn by_majority(members: &[NodeId], receipts: &Receipts) -> Vec<MessageHash> {
    let mut counts = BTreeMap::<MessageHash, usize>::new();
    for receipt in &receipts.signed {
        if let Done::Changed { hashes } = &receipt.done {
            hashes.iter().for_each(|hash| *counts.entry(*hash).or_default() += 1);
        }
    }
    counts.into_iter().filter(|(_, count)| is_majority(*count, members)).map(|(hash, _)| hash).collect()
}

/// What stands where nobody has signed.
fn none() -> Auth {
    let (time, signature) = (moment(0), Signature([0; 64]));
    Auth { key: None, time, signature, subaccount: None, form: Form::Statement }
}

fn auth(somebody: &Somebody, by: By, statement: &dyn Fn(u64) -> Statement) -> Option<Auth> {
    let Somebody { id, pair } = somebody;
    let person = !id.shows_key();
    let owner = person.then(|| pair.public());
    let stranger = session_protocols::KeyPair::from_seed(&[0x77; 32]);
    let time = match by {
        By::OwnerAt(offset) => moment(offset),
        _ => moment(0),
    };
    let said = statement(time);
    let sub = |rights: u8, token: Token, by: &session_protocols::KeyPair| {
        Auth::sign_for(owner, &somebody.sub(rights), Subaccount::grant(by, token), time, &said)
    };
    Some(match by {
        By::Nobody => return None,
        By::Owner | By::OwnerAt(_) => Auth::sign(id, pair, time, &said),
        By::Stranger => {
            let signature = stranger.sign(said.as_bytes());
            Auth { signature, ..Auth::sign(id, pair, time, &said) }
        }
        By::Sub(rights) => sub(rights, somebody.token(rights), pair),
        By::SubOfOthers(rights) => {
            let token = Token::new(id.as_bytes()[0] ^ 0xf0, Rights(rights), &somebody.sub(rights).public());
            sub(rights, token, pair)
        }
        By::SubOfStranger(rights) => sub(rights, somebody.token(rights), &stranger),
    })
}
