//! What clients of the JSON door ask, answered by the service behind every door.

use std::sync::Arc;

use data_encoding::BASE64;
use futures::future::BoxFuture;
use session_protocols::{
    answer::Code,
    door::{
        self, Call, Reply,
        names::{NONCE, resolved},
        nodes::{Listing, active_nodes, service_nodes},
        render::{self, Stamp},
    },
    request::Request,
};
use tokio::sync::{Semaphore, watch};

use super::{Caller, Room, Service};
use crate::{
    links::{self, Links, walk},
    now,
};

/// Long answers that are written at once. Nobody knows how long one is before it is there.
const LONG: usize = 8;

/// The service behind the JSON door.
#[derive(Clone)]
pub(crate) struct Json {
    links: Links,
    /// The nodes that clients are told of.
    listing: watch::Receiver<Arc<Listing>>,
    long: Arc<Semaphore>,
}

/// Who asks.
struct Asker {
    whose: Caller,
    /// The memory that may be had for it.
    room: Room,
}

impl Service for Json {
    fn answer(&self, call: super::Call, room: Room) -> BoxFuture<'static, Reply> {
        let json = self.clone();
        Box::pin(async move {
            let parsed = door::parse(&call.body, now().as_millis());
            let asker = Asker { whose: call.caller.counted(), room };
            drop(call.body);
            match parsed {
                Ok(call) => json.run(call, &asker).await,
                Err(refused) => refused,
            }
        })
    }
}

impl Json {
    /// Answers with what links know, and tells of the nodes of a listing.
    pub(crate) fn new(links: Links, listing: watch::Receiver<Arc<Listing>>) -> Self {
        Self { links, listing, long: Arc::new(Semaphore::new(LONG)) }
    }

    fn run<'a>(&'a self, call: Call, asker: &'a Asker) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            match call {
                Call::Storage(request) => self.storage(*request).await,
                Call::Nodes(params) => {
                    let _long = self.long.acquire().await;
                    let result = service_nodes(&self.listing.borrow(), &params, seed());
                    render::result_of(&result, self.stamp())
                }
                Call::ActiveNodes => {
                    let _long = self.long.acquire().await;
                    let nodes = BASE64.encode(&active_nodes(&self.listing.borrow()));
                    let mut fields = serde_json::json!({ "nodes": nodes });
                    self.stamp().put(&mut fields);
                    Reply::json(200, &fields)
                }
                Call::Name(hash) => self.name(hash, asker.whose).await,
                Call::Batch(calls) => self.several(calls, false, asker).await,
                Call::Sequence(calls) => self.several(calls, true, asker).await,
                Call::If { when, then, otherwise } => {
                    let Ok((condition, info)) = self.links.hold(&when, links::Caller::Json).await else {
                        return nothing();
                    };
                    let chosen = match if condition { then } else { otherwise } {
                        Some(call) => Some(self.run(*call, asker).await),
                        None => None,
                    };
                    render::choice(&info, condition, chosen)
                }
            }
        })
    }

    async fn several(&self, calls: Vec<Result<Call, Reply>>, in_turn: bool, asker: &Asker) -> Reply {
        let of_one = of_one(&calls);
        let failed = |reply: &Reply| !(200..300).contains(&reply.status);
        let replies = walk(calls, in_turn, |_, call| self.part(call, asker), failed).await;
        render::several(replies, of_one, self.stamp())
    }

    /// One of several answers, which lies there until the others are made.
    async fn part(&self, call: Result<Call, Reply>, asker: &Asker) -> Reply {
        let reply = match call {
            Ok(call) => self.run(call, asker).await,
            Err(refused) => refused,
        };
        if asker.room.take(reply.body.len()) {
            reply
        } else {
            Reply::text(503, "the answers together are too long for now")
        }
    }

    async fn storage(&self, request: Request) -> Reply {
        let about = request.without_message();
        let long = matches!(request, Request::Retrieve(_) | Request::GetExpiries(_));
        // Whoever waits for a check holds up nobody who may be answered: signatures are checked together.
        let admitted = self.links.admit(request, links::Caller::Json).await;
        let _long = if long && admitted.is_ok() { self.long.acquire().await.ok() } else { None };
        let answer = match admitted {
            Ok(request) => self.links.one(request, links::Caller::Json, None).await,
            Err(code) => Some(self.links.refuse(code)),
        };
        let Some(answer) = answer else { return nothing() };
        let listing = Arc::clone(&self.listing.borrow());
        door::render(&about, &answer, listing.rules(), |id| listing.node(id).cloned())
    }

    /// The account of a name that its owner revealed.
    async fn name(&self, hash: [u8; 32], whose: Caller) -> Reply {
        // Where nodes register on no chain there are no names.
        let found = match self.links.known_names() {
            Some(names) => names.revealed(hash, whose).await,
            None => Ok(None),
        };
        let mut nonce = [0; NONCE];
        match found {
            Ok(found) if getrandom::fill(&mut nonce).is_ok() => {
                let found = found.as_ref().map(|(name, account)| (name, account));
                render::result_of(&resolved(found, nonce).to_string(), self.stamp())
            }
            Ok(_) => Reply::text(500, Code::Failed.to_string()),
            Err(code) => Reply::text(code.number(), code.to_string()),
        }
    }

    /// What answers say that are made here.
    fn stamp(&self) -> Stamp {
        Stamp { time: now().as_millis(), rules: self.listing.borrow().rules() }
    }
}

/// Whether requests are all about one account.
fn of_one(calls: &[Result<Call, Reply>]) -> bool {
    let mut accounts = calls.iter().map(|call| match call {
        Ok(Call::Storage(request)) => request.account(),
        Ok(_) | Err(_) => None,
    });
    let first = accounts.next().flatten();
    first.is_some() && accounts.all(|account| account == first)
}

/// What is said where the member thread has forgotten a request.
fn nothing() -> Reply {
    Reply::text(503, "the node is not ready")
}

/// Without randomness the order of nodes is the same for all.
fn seed() -> u64 {
    let mut seed = [0; 8];
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use session_protocols::{
        AccountId, KeyPair,
        answer::{Answer, Body, RULES},
        request::Cursor,
    };
    use tokio::sync::mpsc;

    use super::*;
    use crate::{member::Job, onion::Hop};

    /// What a client of this door sends to read a drawer: signed, or not.
    fn read(owner: &KeyPair, namespace: i16, signed: bool) -> super::super::Call {
        let account = AccountId::of_person(&owner.public()).unwrap();
        let time = now().as_millis();
        let mut params =
            serde_json::json!({ "pubkey": account.to_string(), "namespace": namespace, "timestamp": time });
        if signed {
            let signature = owner.sign(format!("retrieve{namespace}{time}").as_bytes());
            params["signature"] = BASE64.encode(&signature.0).into();
            params["pubkey_ed25519"] = HEXLOWER.encode(&owner.public()).into();
        }
        let body = serde_json::json!({ "method": "retrieve", "params": params }).to_string().into_bytes();
        super::super::Call { body, caller: super::super::Caller::Onion(None) }
    }

    #[tokio::test]
    async fn who_waits_for_a_check_keeps_no_place_of_those_who_are_answered() {
        let data = tempfile::tempdir().unwrap();
        let (node, owner) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
        let hop = Hop::open(data.path(), "test".parse().unwrap(), node.node_id(), [].into(), true).unwrap();
        let (jobs, mut queue) = mpsc::channel(64);
        let (links, _stop) = Links::alone(&node, true, hop, jobs);
        let listing = watch::channel(Arc::new(Listing::new(Vec::new(), 0, RULES))).1;
        let json = Json::new(links, listing);
        let room = Room(Arc::new(|_| true));
        // As many as may be answered at once, and one that nobody has to sign for.
        let signed = (0..LONG).map(|_| read(&owner, 2, true));
        let asked = signed.chain([read(&owner, -1, false)]);
        let replies = futures::future::join_all(asked.map(|call| json.answer(call, room.clone())));
        let member = async {
            let mut drawers = Vec::new();
            while drawers.len() <= LONG {
                let Some(Job::Request { request: Request::Retrieve(request), answer, .. }) =
                    queue.recv().await
                else {
                    panic!("something else was asked")
                };
                drawers.push(request.namespace.0);
                let cursor = Cursor { incarnation: 1, sequence: 1 };
                let body = Body::Messages { messages: Vec::new(), more: false, cursor };
                answer.send(Answer { time: now().as_millis(), body }).unwrap();
            }
            drawers
        };
        let (replies, drawers) = futures::future::join(replies, member).await;
        assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
        assert_eq!(drawers, [[-1].as_slice(), &[2; LONG]].concat());
    }

    #[test]
    fn requests_of_one_account_name_it_and_no_other() {
        let of = |kind| {
            let account = AccountId::from_bytes([kind; 33]);
            Ok(Call::Storage(Box::new(Request::GetSwarm { account })))
        };
        assert!(of_one(&[of(3)]) && of_one(&[of(3), of(3)]));
        assert!(!of_one(&[of(3), of(4)]) && !of_one(&[of(3), Ok(Call::ActiveNodes)]));
        assert!(
            !of_one(&[Ok(Call::ActiveNodes), of(3)]) && !of_one(&[Err(nothing()), of(3)]) && !of_one(&[])
        );
    }
}
