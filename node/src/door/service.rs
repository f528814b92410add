//! What clients of the JSON door ask, answered by the service behind every door.

use std::sync::Arc;

use data_encoding::BASE64;
use futures::future::{BoxFuture, join_all};
use session_protocols::{
    answer::{Answer, Body, Code},
    door::{
        self, Call, Reply,
        names::{NONCE, resolved},
        nodes::{Listing, active_nodes, service_nodes},
        render,
    },
    request::Request,
};
use tokio::sync::{Semaphore, watch};

use super::{Caller, Room, Service};
use crate::{
    links::{self, Links},
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
                    render::result_of(&result, now().as_millis())
                }
                Call::ActiveNodes => {
                    let _long = self.long.acquire().await;
                    let nodes = BASE64.encode(&active_nodes(&self.listing.borrow()));
                    let mut fields = serde_json::json!({ "nodes": nodes });
                    render::stamp(&mut fields, now().as_millis());
                    Reply::json(200, &fields)
                }
                Call::Name(hash) => self.name(hash, asker.whose).await,
                Call::Batch(calls) => {
                    let of_one = of_one(&calls);
                    let replies = join_all(calls.into_iter().map(|call| self.part(call, asker))).await;
                    render::several(replies, of_one, now().as_millis())
                }
                Call::Sequence(calls) => {
                    let of_one = of_one(&calls);
                    let mut replies = Vec::with_capacity(calls.len());
                    for call in calls {
                        let reply = self.part(call, asker).await;
                        let failed = !(200..300).contains(&reply.status);
                        replies.push(reply);
                        if failed {
                            break;
                        }
                    }
                    render::several(replies, of_one, now().as_millis())
                }
                Call::If { when, then, otherwise } => {
                    let Some(info) = self.ask(Request::Info).await else { return nothing() };
                    let Body::Info { version, rules, height } = &info.body else { return nothing() };
                    let condition = when.iter().all(|one| one.holds(*rules, version, *height));
                    let chosen = match if condition { then } else { otherwise } {
                        Some(call) => Some(self.run(*call, asker).await),
                        None => None,
                    };
                    render::choice(&info, condition, chosen)
                }
            }
        })
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
        let long = matches!(request, Request::Retrieve(_) | Request::GetExpiries(_));
        let _long = if long { self.long.acquire().await.ok() } else { None };
        let about = request.without_message();
        let Some(answer) = self.ask(request).await else { return nothing() };
        let listing = Arc::clone(&self.listing.borrow());
        door::render(&about, &answer, |id| listing.node(id).cloned())
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
                render::result_of(&resolved(found, nonce).to_string(), now().as_millis())
            }
            Ok(_) => Reply::text(500, Code::Failed.to_string()),
            Err(code) => Reply::text(code.number(), code.to_string()),
        }
    }

    async fn ask(&self, request: Request) -> Option<Answer> {
        self.links.answer(request, links::Caller::Json, None).await
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
    use session_protocols::AccountId;

    use super::*;

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
