//! What there is to ask: `/storage_rpc/v1`, `/json_rpc`, `/onion_req/v2`.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::{Extension, Request},
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::post,
};
use futures::StreamExt;
use hyper::body::{Bytes, Frame, SizeHint};
use session_protocols::door::{
    Reply,
    nodes::json_rpc,
    onion::{Layer, Passed},
};
use tokio::time::timeout;

use super::{
    Call, Caller, Limits, Onions, Room, Told,
    guests::{Address, Clients, Guest, Held, Memory, lock},
};
use crate::{
    metrics::DoorMetrics,
    now,
    seat::{Seat, SharedSeats},
};

/// Clients that were written for long polling say so with this, and are told that there is none.
const LONG_POLL: &str = "x-loki-long-poll";
/// The limit of memory, as it is counted.
const MEMORY: &str = "memory";
/// Bytes of an answer that are written at once.
const CHUNK: usize = 64 << 10;

/// What all requests share.
pub(super) struct State {
    pub(super) limits: Limits,
    /// None where nobody reads them.
    pub(super) metrics: Option<DoorMetrics>,
    pub(super) onions: Arc<Onions>,
    /// Who asks how often.
    pub(super) clients: Clients,
    /// Who connects how often.
    pub(super) arrivals: Clients,
    pub(super) memory: Memory<Address>,
    pub(super) at_once: SharedSeats<Address>,
}

pub(super) fn router(state: Arc<State>) -> Router {
    let handler = |ask: Ask| {
        let state = Arc::clone(&state);
        move |Extension(guest): Extension<Arc<Guest>>, request: Request| async move {
            state.serve(ask, &guest, request).await
        }
    };
    Router::new()
        .route("/storage_rpc/v1", post(handler(Ask::Storage)))
        .route("/json_rpc", post(handler(Ask::Nodes)))
        .route("/onion_req/v2", post(handler(Ask::Onion)))
        // What is not there is counted and charged like all else.
        .fallback(handler(Ask::Elsewhere))
        .method_not_allowed_fallback(handler(Ask::Otherwise))
}

/// What is asked.
#[derive(Clone, Copy)]
enum Ask {
    Storage,
    Nodes,
    Onion,
    /// By a path that there is not.
    Elsewhere,
    /// By another method than `POST`.
    Otherwise,
}

impl Ask {
    /// Its name in the metrics.
    const fn endpoint(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Nodes => "nodes",
            Self::Onion => "onion",
            Self::Elsewhere | Self::Otherwise => "none",
        }
    }

    /// What is said where nothing is to be asked.
    fn nothing(self) -> Option<Told> {
        match self {
            Self::Storage | Self::Nodes | Self::Onion => None,
            Self::Elsewhere => Some(text(404, "there is nothing at this path")),
            Self::Otherwise => Some(text(405, "ask by POST")),
        }
    }
}

impl State {
    /// Counts what met a limit.
    pub(super) fn refused(&self, limit: &str) {
        if let Some(metrics) = &self.metrics {
            metrics.refused(limit);
        }
    }

    async fn serve(&self, ask: Ask, guest: &Arc<Guest>, request: Request) -> Response {
        guest.ask();
        let held = Arc::new(Mutex::new(self.memory.hold(guest.address)));
        let told = match self.told(ask, guest, request, &held).await {
            Ok(told) => told,
            Err(refused) => {
                self.refused(refused.2);
                text(refused.0, refused.1)
            }
        };
        // What the request held goes on to the answer.
        let room = lock(&held).grow(told.body.len());
        let told = if room {
            told
        } else {
            self.refused(MEMORY);
            text(503, "the answer is too long for now")
        };
        if let Some(metrics) = &self.metrics {
            metrics.answered(ask.endpoint(), told.status);
        }
        response(told, held)
    }

    async fn told(
        &self,
        ask: Ask,
        guest: &Arc<Guest>,
        request: Request,
        held: &Arc<Mutex<Held<Address>>>,
    ) -> Result<Told, Refused> {
        if request.headers().contains_key(LONG_POLL) {
            return Err(Refused(410, "long polling is not supported", "long_poll"));
        }
        if !self.clients.may(guest.address, now()) {
            return Err(Refused(429, "too many requests", "rate"));
        }
        if let Some(nothing) = ask.nothing() {
            return Ok(nothing);
        }
        let body = self.read(request.into_body(), held).await?;
        let Some(_place) = Seat::take(&self.at_once, guest.address) else {
            return Err(Refused(503, "too many requests are worked on", "at_once"));
        };
        let _working = guest.work();
        timeout(self.limits.answer_time, self.answer(ask, guest, body, Room::of(held)))
            .await
            .map_err(|_| Refused(504, "the answer takes too long", "answer_time"))
    }

    /// Reads a body in its time, as far as there is memory for it.
    async fn read(&self, body: Body, held: &Mutex<Held<Address>>) -> Result<Vec<u8>, Refused> {
        let Limits { body: most, body_time, .. } = self.limits;
        let too_long = Refused(413, "the request is too long", "body");
        let announced = usize::try_from(hyper::body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
        if announced > most {
            return Err(too_long);
        }
        let reading = async {
            let (mut parts, mut read) = (body.into_data_stream(), Vec::new());
            while let Some(part) = parts.next().await {
                let part = part.map_err(|_| Refused(400, "the request's body broke off", "broken_off"))?;
                if part.len() > most - read.len() {
                    return Err(too_long);
                }
                if !lock(held).grow(read.len() + part.len()) {
                    return Err(Refused(503, "too many requests are read", MEMORY));
                }
                read.extend_from_slice(&part);
            }
            Ok(read)
        };
        timeout(body_time, reading).await.unwrap_or(Err(Refused(
            408,
            "the request takes too long",
            "body_time",
        )))
    }

    async fn answer(&self, ask: Ask, guest: &Guest, body: Vec<u8>, room: Room) -> Told {
        match ask {
            Ask::Storage => {
                let call = Call { body, caller: Caller::Client(guest.ip) };
                self.onions.behind.service.answer(call, room).await.into()
            }
            Ask::Nodes => {
                let listing = Arc::clone(&self.onions.behind.listing.borrow());
                let Some(_loan) = room.lend(listing.bytes()) else {
                    self.refused(MEMORY);
                    return text(503, "too many lists of nodes are written");
                };
                let mut seed = [0; 8];
                // Without randomness the order is the same for all.
                let _ = getrandom::fill(&mut seed);
                json_rpc(&body, &listing, u64::from_le_bytes(seed)).into()
            }
            Ask::Onion => match Layer::read(&body) {
                Ok(layer) => {
                    drop(body);
                    self.onions.pass(Passed { hops: 0, layer }, None, room).await
                }
                Err(refusal) => Reply::text(400, refusal.to_string()).into(),
            },
            Ask::Elsewhere | Ask::Otherwise => text(404, "there is nothing to ask"),
        }
    }
}

/// A request that gets no further: what its client is told, and at which limit, as it is counted.
#[derive(Clone, Copy)]
struct Refused(u16, &'static str, &'static str);

fn text(status: u16, text: &str) -> Told {
    Reply::text(status, text).into()
}

impl From<Reply> for Told {
    fn from(reply: Reply) -> Self {
        let kind = reply.body.content_type();
        Self { status: reply.status, kind, body: reply.body.into_bytes() }
    }
}

fn response(told: Told, held: Arc<Mutex<Held<Address>>>) -> Response {
    let answer = Answer { bytes: told.body, written: 0, held };
    let mut response = Response::new(Body::new(answer));
    *response.status_mut() = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(told.kind));
    response
}

/// The body of an answer, handed out a part at a time, and the memory that it holds until the last one is written.
struct Answer {
    bytes: Vec<u8>,
    written: usize,
    held: Arc<Mutex<Held<Address>>>,
}

/// A part of it: whoever does not take what is sent has it lie in queues below, and it is held there too.
struct Part {
    bytes: Vec<u8>,
    _held: Arc<Mutex<Held<Address>>>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let bytes = if this.written == 0 && this.bytes.len() <= CHUNK {
            std::mem::take(&mut this.bytes)
        } else {
            let end = this.bytes.len().min(this.written + CHUNK);
            let part = this.bytes[this.written..end].to_vec();
            this.written = end;
            part
        };
        if bytes.is_empty() {
            return Poll::Ready(None);
        }
        let part = Part { bytes, _held: Arc::clone(&this.held) };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.written == self.bytes.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.bytes.len() - self.written) as u64)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};
    use session_protocols::{
        KeyPair, NodeId,
        answer::RULES,
        door::nodes::Listing,
        limits::{Rate, Seats},
    };

    use super::*;
    use crate::{
        door::{Behind, Carry, Door, DoorConfig, Lost, Service, guests::Guests},
        metrics::Metrics,
    };

    struct Nobody;

    impl Service for Nobody {
        fn answer(&self, _: Call, _: Room) -> BoxFuture<'static, Reply> {
            std::future::ready(Reply::text(421, "elsewhere")).boxed()
        }
    }

    impl Carry for Nobody {
        fn carry(&self, _: NodeId, _: Passed) -> BoxFuture<'static, Result<Told, Lost>> {
            std::future::ready(Err(Lost::NotFound)).boxed()
        }
    }

    #[tokio::test]
    async fn what_is_asked_and_what_meets_a_limit_is_counted() {
        let (folder, pair) = (tempfile::tempdir().unwrap(), KeyPair::from_seed(&[3; 32]));
        let door = Door::open(&DoorConfig::new(Vec::new()), folder.path(), &pair).unwrap();
        let listing = tokio::sync::watch::channel(Arc::new(Listing::new(Vec::new(), 0, RULES))).1;
        let (service, carry) = (Arc::new(Nobody), Arc::new(Nobody));
        let onions = door.onions(Behind { me: pair.node_id(), service, carry, listing });
        let rate = Rate { per_second: 0, burst: 6 };
        let limits = Limits { rate, body: 100, ..Limits::default() };
        let metrics = Metrics::new().unwrap();
        let state = State {
            limits,
            metrics: Some(DoorMetrics::new(&metrics).unwrap()),
            onions,
            clients: Clients::new(limits.rate, limits),
            arrivals: Clients::new(limits.arrivals, limits),
            memory: Memory::new(limits.memory_each, limits.memory),
            at_once: Arc::new(Mutex::new(Seats::new(1, 1))),
        };
        let place = Guests::new(limits).enter([127, 0, 0, 1].into()).unwrap();
        let long = " ".repeat(101);
        for (ask, body, status) in [
            (Ask::Storage, "{}", 421),
            (Ask::Nodes, "{}", 200),
            (Ask::Onion, "{}", 400),
            (Ask::Onion, &long, 413),
            (Ask::Elsewhere, "{}", 404),
            (Ask::Otherwise, "{}", 405),
            (Ask::Nodes, "{}", 429),
            (Ask::Elsewhere, "{}", 429),
        ] {
            let response = state.serve(ask, &place.guest, Request::new(Body::from(body.to_owned()))).await;
            assert_eq!(response.status(), status);
        }
        let text = metrics.render(&prometheus_client::registry::Registry::default());
        for line in [
            r#"session_door_requests_total{code="200",endpoint="nodes"} 1"#,
            r#"session_door_requests_total{code="429",endpoint="nodes"} 1"#,
            r#"session_door_requests_total{code="421",endpoint="storage"} 1"#,
            r#"session_door_requests_total{code="413",endpoint="onion"} 1"#,
            r#"session_door_requests_total{code="404",endpoint="none"} 1"#,
            r#"session_door_requests_total{code="405",endpoint="none"} 1"#,
            r#"session_door_refused_total{limit="body"} 1"#,
            r#"session_door_refused_total{limit="rate"} 2"#,
            "session_door_connections 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
