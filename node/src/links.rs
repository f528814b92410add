//! Kept streams: what clients and members ask over them, and what this node asks of members.
//!
//! Everything is checked here before it reaches the member thread: length and shape, rates, then
//! signatures. Checks that may take long run on the blocking pool, off the tasks that read.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use libp2p::{PeerId, Stream, StreamProtocol};
use session_protocols::{
    NetworkName, NodeId, Protocol,
    answer::{Answer, Code},
    codec,
    libp2p::{
        address::{node_id, peer_id},
        link::{self, Asker, Incoming, Limits},
    },
    limits::Admission,
    member::{check_answer, check_ask, check_request},
    notify::{self, Subscribe, Subscribed},
    request::{self, Request},
    swarm::{self, Ask, SwarmAnswer, SwarmRequest},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    member::{Exchange, Job},
    metrics::Metrics,
    now,
};

/// Requests under way on one link.
const WINDOW: usize = 64;
/// Streams of one protocol that are served at once.
const MAX_LINKS: usize = 8_192;
/// How long a member's answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Signatures beyond this many are checked on the blocking pool.
const INLINE_CHECKS: usize = 4;

/// What every link needs.
#[derive(Clone)]
pub(crate) struct Links {
    network: NetworkName,
    map_version: u64,
    jobs: mpsc::Sender<Job>,
    admission: Arc<Mutex<Admission<PeerId>>>,
    metrics: Metrics,
    control: libp2p_stream::Control,
    askers: Arc<Mutex<HashMap<NodeId, Asker>>>,
    subscribers: Arc<AtomicU64>,
    /// Where tasks run, whichever thread starts them.
    runtime: tokio::runtime::Handle,
    /// Becomes true when the node stops: a stream that lived on would keep its connection open.
    stopping: watch::Receiver<bool>,
}

impl Links {
    pub(crate) fn new(
        network: NetworkName,
        map_version: u64,
        jobs: mpsc::Sender<Job>,
        admission: Admission<PeerId>,
        metrics: Metrics,
        control: libp2p_stream::Control,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            network,
            map_version,
            jobs,
            admission: Arc::new(Mutex::new(admission)),
            metrics,
            control,
            askers: Arc::default(),
            subscribers: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
            stopping,
        }
    }

    /// Starts to accept streams of the three kept protocols.
    ///
    /// # Errors
    ///
    /// When a protocol is accepted already.
    pub(crate) fn accept(&mut self) -> Result<(), libp2p_stream::AlreadyRegistered> {
        for protocol in [Protocol::Storage, Protocol::Swarm, Protocol::Notify] {
            let Some(name) = self.protocol(protocol) else { continue };
            let mut streams = self.control.accept(name)?;
            let links = self.clone();
            let room = Arc::new(tokio::sync::Semaphore::new(MAX_LINKS));
            self.spawn(async move {
                while let Some((peer, stream)) = streams.next().await {
                    let Ok(room) = Arc::clone(&room).try_acquire_owned() else { continue };
                    let serving = links.clone();
                    links.spawn(async move {
                        serving.serve(protocol, peer, stream).await;
                        drop(room);
                    });
                }
            });
        }
        Ok(())
    }

    /// Carries a question to a member and reports its answer.
    pub(crate) fn carry(&self, exchange: Exchange) {
        let links = self.clone();
        self.spawn(async move {
            let Exchange { number, to, request, subjects } = exchange;
            let answer = tokio::time::timeout(PATIENCE, links.ask(to, &request)).await.ok().flatten();
            let Some(number) = number else { return };
            if answer.is_none() {
                links.metrics.exchange_failures_total.inc();
            }
            let answer = match answer {
                Some(answer) => {
                    let (network, version) = (links.network.clone(), links.map_version);
                    let costly = costly(&answer);
                    off_the_loop(costly, move || {
                        check_answer(&network, now(), version, to, &subjects, answer)
                    })
                    .await
                }
                None => None,
            };
            let _ = links.jobs.send(Job::Answered { exchange: number, answer }).await;
        });
    }

    /// Forgets the link to a node that went out of contact.
    pub(crate) fn forget(&self, node: &NodeId) {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    async fn ask(&self, to: NodeId, request: &SwarmRequest) -> Option<SwarmAnswer> {
        let asker = self.asker(to).await?;
        let answer = asker.ask(codec::encode(request)).await.ok()?;
        let answer = codec::decode(&answer, swarm::MAX_MESSAGE);
        if answer.is_err() {
            self.metrics.garbage_total.with_label_values(&["swarm"]).inc();
        }
        answer.ok()
    }

    /// The kept link to a member, opened if there is none.
    async fn asker(&self, to: NodeId) -> Option<Asker> {
        let known = self.askers.lock().unwrap_or_else(PoisonError::into_inner).get(&to).cloned();
        if let Some(asker) = known.filter(|asker| !asker.is_closed()) {
            return Some(asker);
        }
        let name = self.protocol(Protocol::Swarm)?;
        let stream = self.control.clone().open_stream(peer_id(&to)?, name).await.ok()?;
        let (asker, run) = link::open(stream, Limits { max_in: swarm::MAX_MESSAGE, window: WINDOW });
        self.spawn(run);
        self.askers.lock().unwrap_or_else(PoisonError::into_inner).insert(to, asker.clone());
        Some(asker)
    }

    fn protocol(&self, protocol: Protocol) -> Option<StreamProtocol> {
        StreamProtocol::try_from_owned(self.network.protocol(protocol)).ok()
    }

    async fn serve(self, protocol: Protocol, peer: PeerId, stream: Stream) {
        let max_in = match protocol {
            Protocol::Storage => request::MAX_REQUEST,
            Protocol::Swarm => swarm::MAX_MESSAGE,
            Protocol::Notify => notify::MAX_REQUEST,
            Protocol::Directory | Protocol::Kad => return,
        };
        let (mut requests, run) = link::serve(stream, Limits { max_in, window: WINDOW });
        self.spawn(run);
        while let Some(incoming) = requests.next().await {
            let links = self.clone();
            self.spawn(async move {
                match protocol {
                    Protocol::Storage => links.storage(peer, incoming).await,
                    Protocol::Swarm => links.swarm(peer, incoming).await,
                    Protocol::Notify => links.notify(peer, incoming).await,
                    Protocol::Directory | Protocol::Kad => {}
                }
            });
        }
    }

    /// Runs a task until it ends or the node stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopping = self.stopping.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                () = task => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
    }

    async fn storage(self, peer: PeerId, incoming: Incoming) {
        let answer = self.answer(peer, &incoming.payload).await;
        if let Some(answer) = answer {
            incoming.reply.answer(codec::encode(&answer)).await;
        }
    }

    /// None when the member thread has forgotten the request: the asker is told that nothing comes.
    async fn answer(&self, peer: PeerId, payload: &[u8]) -> Option<Answer> {
        let refuse = |code: Code| {
            self.metrics.refused_total.with_label_values(&[&code.number().to_string()]).inc();
            Some(Answer::refused(now().as_millis(), code))
        };
        let Ok(request) = codec::decode::<Request>(payload, request::MAX_REQUEST) else {
            self.metrics.garbage_total.with_label_values(&["storage"]).inc();
            return refuse(Code::BadRequest);
        };
        self.metrics.requests_total.with_label_values(&[method(&request)]).inc();
        if !self.admit(peer, request.account()) {
            return refuse(Code::TooMany);
        }
        if let Err(code) = check_request(&self.network, now(), &request) {
            return refuse(code);
        }
        let (answer, answered) = oneshot::channel();
        if self.jobs.try_send(Job::Request { request, answer }).is_err() {
            return refuse(Code::TooMany);
        }
        answered.await.ok()
    }

    async fn swarm(self, peer: PeerId, incoming: Incoming) {
        self.metrics.swarm_requests_total.inc();
        let Some(from) = node_id(&peer) else { return };
        let Ok(request) = codec::decode::<SwarmRequest>(&incoming.payload, swarm::MAX_MESSAGE) else {
            self.metrics.garbage_total.with_label_values(&["swarm"]).inc();
            let refused = SwarmAnswer::Refused { code: Code::BadRequest };
            incoming.reply.answer(codec::encode(&refused)).await;
            return;
        };
        let costly = matches!(&request.ask, Ask::Replicate { mutations } if mutations.len() > INLINE_CHECKS);
        let network = self.network.clone();
        let Some(ask) = off_the_loop(costly, move || check_ask(&network, now(), request)).await else {
            return;
        };
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job::Asked { from, ask, answer }).await.is_err() {
            return;
        }
        if let Ok(answer) = answered.await {
            incoming.reply.answer(codec::encode(&answer)).await;
        }
    }

    async fn notify(self, peer: PeerId, incoming: Incoming) {
        let refused = |code| codec::encode(&Subscribed::Refused { code });
        let Ok(Subscribe { retrieve }) = codec::decode(&incoming.payload, notify::MAX_REQUEST) else {
            self.metrics.garbage_total.with_label_values(&["notify"]).inc();
            incoming.reply.answer(refused(Code::BadRequest)).await;
            return;
        };
        self.metrics.requests_total.with_label_values(&["subscribe"]).inc();
        let allowed = if self.admit(peer, Some(&retrieve.account)) {
            retrieve.verify(&self.network, now())
        } else {
            Err(Code::TooMany)
        };
        if let Err(code) = allowed {
            self.metrics.refused_total.with_label_values(&[&code.number().to_string()]).inc();
            incoming.reply.answer(refused(code)).await;
            return;
        }
        let subscriber = self.subscribers.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let (events, mut waiting) = mpsc::channel(1);
        if self.jobs.send(Job::Subscribe { subscriber, retrieve, answer, events }).await.is_err() {
            return;
        }
        let Ok(answer) = answered.await else { return };
        let payload = codec::encode(&answer);
        if matches!(answer, Subscribed::Refused { .. }) {
            incoming.reply.answer(payload).await;
            return;
        }
        let Ok(mut pusher) = incoming.reply.accept(payload).await else {
            let _ = self.jobs.send(Job::Unsubscribe { subscriber }).await;
            return;
        };
        loop {
            let (event, more) = tokio::select! {
                event = waiting.recv() => match event {
                    Some(event) => event,
                    // The node ended it, not the subscriber.
                    None => return pusher.close().await,
                },
                () = pusher.closed() => break,
            };
            let cursor = event.cursor;
            if pusher.push(codec::encode(&event)).await.is_err() {
                break;
            }
            if self.jobs.send(Job::Pushed { subscriber, cursor, more }).await.is_err() {
                return;
            }
        }
        let _ = self.jobs.send(Job::Unsubscribe { subscriber }).await;
    }

    fn admit(&self, peer: PeerId, account: Option<&session_protocols::AccountId>) -> bool {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).admit(now(), peer, account)
    }
}

fn costly(answer: &SwarmAnswer) -> bool {
    match answer {
        SwarmAnswer::Replicated { results } => results.len() > INLINE_CHECKS,
        SwarmAnswer::Fetched { mutations, .. } => mutations.len() > INLINE_CHECKS,
        SwarmAnswer::Noted
        | SwarmAnswer::Fingerprints { .. }
        | SwarmAnswer::Reconcile { .. }
        | SwarmAnswer::Refused { .. } => false,
    }
}

/// Runs a check where it holds nobody up; none when the runtime is stopping.
async fn off_the_loop<T: Send + 'static>(
    costly: bool,
    check: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if costly { tokio::task::spawn_blocking(check).await.ok() } else { Some(check()) }
}

const fn method(request: &Request) -> &'static str {
    match request {
        Request::Store(_) => "store",
        Request::Retrieve(_) => "retrieve",
        Request::Delete(_) => "delete",
        Request::Expire(_) => "expire",
        Request::GetSwarm { .. } => "get_swarm",
        Request::Info => "info",
    }
}
