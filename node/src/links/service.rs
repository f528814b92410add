//! The storage service behind every door: what clients ask, alone or several at a time.

use futures::future::{BoxFuture, join_all};
use libp2p::PeerId;
use session_protocols::{
    answer::{Answer, Body, Code},
    codec,
    libp2p::link::Incoming,
    limits::payer,
    onion::fit,
    request::{self, Condition, Door, If, Request},
};
use std::sync::Arc;
use tokio::sync::oneshot;

use super::Links;
use crate::{
    door::Caller as Client,
    member::{Job, QUEUE},
    now,
};

/// Places in the member's queue for what clients of the JSON door ask; whoever comes beyond waits.
pub(super) const JSON_PLACES: usize = QUEUE / 4;
/// Those of one client: whoever asks for more at once waits behind itself.
const JSON_PLACES_EACH: usize = JSON_PLACES / 2;

/// Who asks, as far as that is known: who pays for each request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    /// A neighbour.
    Neighbour(PeerId),
    /// Somebody behind an onion path.
    Path,
    /// A client of the JSON door, which has limits of its own.
    Json(Client),
}

impl Caller {
    const fn door(self) -> Door {
        match self {
            Self::Neighbour(_) | Self::Path => Door::Native,
            Self::Json(_) => Door::Json,
        }
    }
}

impl Links {
    pub(super) async fn storage(self: Arc<Self>, peer: PeerId, incoming: Incoming) {
        let answer = if self.arrive(peer) {
            self.admitted(&incoming.payload, Caller::Neighbour(peer), None).await
        } else {
            Some(self.refuse(Code::TooMany))
        };
        if let Some(answer) = answer {
            incoming.reply.answer(codec::encode(&answer)).await;
        }
    }

    /// Answers what was let in, in at most `room` bytes where the answer can be continued. None when the
    /// member thread has forgotten the request: the asker is told that nothing comes.
    pub(crate) async fn admitted(
        &self,
        payload: &[u8],
        caller: Caller,
        room: Option<usize>,
    ) -> Option<Answer> {
        match codec::decode::<Request>(payload, request::MAX_REQUEST) {
            Ok(request) => self.answer(request, caller, room).await,
            Err(_) => {
                self.metrics.garbage_total.with_label_values(&["storage"]).inc();
                Some(self.refuse(Code::BadRequest))
            }
        }
    }

    /// Answers a request that was let in, or each of several: as [`Self::admitted`].
    pub(crate) fn answer(
        &self,
        request: Request,
        caller: Caller,
        room: Option<usize>,
    ) -> BoxFuture<'_, Option<Answer>> {
        Box::pin(async move {
            let request = match self.admit(request, caller).await {
                Ok(request) => request,
                Err(code) => return Some(self.refuse(code)),
            };
            match request {
                Request::Batch(requests) => self.several(requests, false, caller, room).await,
                Request::Sequence(requests) => self.several(requests, true, caller, room).await,
                Request::If(choice) => {
                    let If { when, then, otherwise } = *choice;
                    let condition = match self.hold(&when, caller).await {
                        Ok((condition, _)) => condition,
                        Err(code) => return Some(self.refuse(code)),
                    };
                    let answer = match if condition { then } else { otherwise } {
                        Some(chosen) => Some(Box::new(self.answer(chosen, caller, room).await?)),
                        None => None,
                    };
                    Some(answered(Body::If { condition, answer }))
                }
                request @ (Request::Store(_)
                | Request::Retrieve(_)
                | Request::Fetch(_)
                | Request::GetExpiries(_)
                | Request::Delete(_)
                | Request::Expire(_)
                | Request::Revoke(_)
                | Request::GetRevoked(_)
                | Request::GetSwarm { .. }
                | Request::Info) => self.one(request, caller, room).await,
            }
        })
    }

    /// Counts a request and checks all of it that needs no state; the code to refuse with where it does not pass.
    pub(crate) async fn admit(&self, request: Request, caller: Caller) -> Result<Request, Code> {
        self.metrics.requests_total.with_label_values(&[method(&request)]).inc();
        // All others have paid when it arrived.
        if matches!(caller, Caller::Json(_)) && !self.arrive_unknown() {
            return Err(Code::TooMany);
        }
        self.check(&request, caller.door()).await?;
        Ok(request)
    }

    /// Answers several, each in its share of the room.
    async fn several(
        &self,
        requests: Vec<Request>,
        in_turn: bool,
        caller: Caller,
        room: Option<usize>,
    ) -> Option<Answer> {
        let room = room.map(|room| room / requests.len().max(1));
        let one = |place, request| self.part(place, request, caller, room);
        let refused = |answer: &Option<Answer>| {
            answer.as_ref().is_none_or(|answer| matches!(answer.body, Body::Refused(_)))
        };
        let answers = walk(requests, in_turn, one, refused).await;
        Some(answered(Body::Batch(answers.into_iter().collect::<Option<_>>()?)))
    }

    /// Whether conditions hold of this node, and what it says of itself; a code where it says nothing.
    pub(crate) async fn hold(&self, when: &[Condition], caller: Caller) -> Result<(bool, Answer), Code> {
        let info = self.one(Request::Info, caller, None).await.ok_or(Code::NotReady)?;
        let Body::Info { version, rules, height } = &info.body else { return Err(Code::Failed) };
        Ok((when.iter().all(|one| one.holds(*rules, version, *height)), info))
    }

    /// Answers one of several: the first was paid for when they came.
    async fn part(
        &self,
        place: usize,
        request: Request,
        caller: Caller,
        room: Option<usize>,
    ) -> Option<Answer> {
        let paid = place == 0
            || match caller {
                Caller::Neighbour(peer) => self.arrive(peer),
                Caller::Path => self.arrive_unknown(),
                Caller::Json(_) => true,
            };
        if paid { self.answer(request, caller, room).await } else { Some(self.refuse(Code::TooMany)) }
    }

    /// Has the member answer a single request that was [admitted](Self::admit).
    pub(crate) async fn one(
        &self,
        mut request: Request,
        caller: Caller,
        room: Option<usize>,
    ) -> Option<Answer> {
        // Only what is genuine is charged to an account, or anybody could use it up.
        if payer(&request).is_some_and(|(account, side)| !self.about(account, side)) {
            return Some(self.refuse(Code::TooMany));
        }
        let mut fetched = Vec::new();
        if let Some(room) = room {
            fit::narrow(&mut request, room);
            if let Request::Fetch(fetch) = &request {
                fetched.clone_from(&fetch.hashes);
            }
        }
        let place = match caller {
            Caller::Json(client) => Some(self.json.take(client, JSON_PLACES_EACH).await),
            Caller::Neighbour(_) | Caller::Path => None,
        };
        let (answer, answered) = oneshot::channel();
        if self.jobs.try_send(Job::Request { request, door: caller.door(), answer, place }).is_err() {
            return Some(self.refuse(Code::TooMany));
        }
        let mut answer = answered.await.ok()?;
        if let Some(room) = room {
            fit::trim(&mut answer, &fetched, room);
        }
        Some(answer)
    }

    /// A refusal, counted.
    pub(crate) fn refuse(&self, code: Code) -> Answer {
        self.metrics.refused_total.with_label_values(&[&code.number().to_string()]).inc();
        Answer::refused(now().as_millis(), code)
    }
}

/// Answers several requests, side by side or one after the other up to the first that failed. `one` is told the place
/// of each.
pub(crate) async fn walk<R, A, F: Future<Output = A>>(
    requests: Vec<R>,
    in_turn: bool,
    one: impl Fn(usize, R) -> F,
    failed: impl Fn(&A) -> bool,
) -> Vec<A> {
    let each = requests.into_iter().enumerate();
    if !in_turn {
        return join_all(each.map(|(place, request)| one(place, request))).await;
    }
    let mut answers = Vec::with_capacity(each.len());
    for (place, request) in each {
        answers.push(one(place, request).await);
        if answers.last().is_some_and(&failed) {
            break;
        }
    }
    answers
}

fn answered(body: Body) -> Answer {
    Answer { time: now().as_millis(), body }
}

/// A request's name in the metrics.
const fn method(request: &Request) -> &'static str {
    match request {
        Request::Store(_) => "store",
        Request::Retrieve(_) => "retrieve",
        Request::Fetch(_) => "fetch",
        Request::GetExpiries(_) => "get_expiries",
        Request::Delete(_) => "delete",
        Request::Expire(_) => "expire",
        Request::Revoke(_) => "revoke",
        Request::GetRevoked(_) => "get_revoked",
        Request::GetSwarm { .. } => "get_swarm",
        Request::Info => "info",
        Request::Batch(_) => "batch",
        Request::Sequence(_) => "sequence",
        Request::If(_) => "if",
    }
}
