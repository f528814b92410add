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
use tokio::sync::watch;

use super::Service;
use crate::{
    links::{Caller, Links},
    now,
};

/// The service behind the JSON door.
#[derive(Clone)]
pub(crate) struct Json {
    pub(crate) links: Links,
    /// The nodes that clients are told of.
    pub(crate) listing: watch::Receiver<Arc<Listing>>,
}

impl Service for Json {
    fn answer(&self, call: super::Call) -> BoxFuture<'static, Reply> {
        let json = self.clone();
        Box::pin(async move {
            let parsed = door::parse(&call.body, now().as_millis());
            drop(call);
            match parsed {
                Ok(call) => json.run(call).await,
                Err(refused) => refused,
            }
        })
    }
}

impl Json {
    fn run(&self, call: Call) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            match call {
                Call::Storage(request) => self.storage(*request).await,
                Call::Nodes(params) => {
                    let result = service_nodes(&self.listing.borrow(), &params, seed());
                    render::result_of(&result, now().as_millis())
                }
                Call::ActiveNodes => {
                    let nodes = BASE64.encode(&active_nodes(&self.listing.borrow()));
                    let mut fields = serde_json::json!({ "nodes": nodes });
                    render::stamp(&mut fields, now().as_millis());
                    Reply::json(200, &fields)
                }
                Call::Name(hash) => self.name(hash).await,
                Call::Batch(calls) => {
                    let replies = join_all(calls.into_iter().map(|call| self.part(call))).await;
                    render::several(replies, now().as_millis())
                }
                Call::Sequence(calls) => {
                    let mut replies = Vec::with_capacity(calls.len());
                    for call in calls {
                        let reply = self.part(call).await;
                        let failed = !(200..300).contains(&reply.status);
                        replies.push(reply);
                        if failed {
                            break;
                        }
                    }
                    render::several(replies, now().as_millis())
                }
                Call::If { when, then, otherwise } => {
                    let Some(info) = self.ask(Request::Info).await else { return nothing() };
                    let Body::Info { version, rules, height } = &info.body else { return nothing() };
                    let condition = when.iter().all(|one| one.holds(*rules, version, *height));
                    let chosen = match if condition { then } else { otherwise } {
                        Some(call) => Some(self.run(*call).await),
                        None => None,
                    };
                    render::choice(&info, condition, chosen)
                }
            }
        })
    }

    async fn part(&self, call: Result<Call, Reply>) -> Reply {
        match call {
            Ok(call) => self.run(call).await,
            Err(refused) => refused,
        }
    }

    async fn storage(&self, request: Request) -> Reply {
        let about = request.without_message();
        let Some(answer) = self.ask(request).await else { return nothing() };
        let listing = Arc::clone(&self.listing.borrow());
        door::render(&about, &answer, |id| listing.node(id).cloned())
    }

    /// The account of a name that its owner revealed.
    async fn name(&self, hash: [u8; 32]) -> Reply {
        // Where nodes register on no chain there are no names.
        let found = match self.links.known_names() {
            Some(names) => names.revealed(hash).await,
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
        self.links.answer(request, Caller::Json, None).await
    }
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
