//! Kept streams: what clients and members ask over them, and what this node asks of members.
//!
//! Everything is checked here before it reaches the member thread: length and shape, rates, then
//! signatures, together with those that others brought meanwhile. Checks that may take long run on the
//! blocking pool, off the tasks that read.

mod service;

pub(crate) use service::{Caller, walk};

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use futures::StreamExt;
use libp2p::{PeerId, Stream, StreamProtocol};
use session_protocols::{
    AccountId, NetworkName, NodeId, Prefix, Protocol,
    answer::Code,
    codec,
    libp2p::{
        address::{node_id, peer_id},
        link::{self, Asker, Incoming, Limits},
    },
    limits::{Admission, Seats, Side, payer},
    member::{Setup, open_answer, open_ask},
    names::lookup,
    notify::{self, Subscribe, Subscribed},
    onion::{self, relay},
    request::{self, Door, Request, Retrieve},
    swarm::{self, SwarmAnswer, SwarmRequest},
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{
    behaviour::Behaviour,
    checks::Checks,
    member::{Exchange, Job},
    memory::Memory,
    metrics::Metrics,
    names::Names,
    neighbours::Places,
    now,
    onion::Hop,
    registry::Watched,
    seat::{Seat, SharedSeats},
};

/// Requests under way on one link.
const WINDOW: usize = 64;
/// Streams of one protocol that are served at once.
const MAX_LINKS: usize = 8_192;
/// Those of one neighbour. It needs one; a connection that died unnoticed keeps its own for a while.
const LINKS_PER_NEIGHBOUR: usize = 8;
/// Those of strangers of one address prefix.
const LINKS_PER_PREFIX: usize = 512;
/// Where those come from together of whom it is not known, as their connection has just ended.
const NOWHERE: Prefix = Prefix::V4([0; 3]);
/// How long the other side may take over a frame that it has begun, or over the next part of what it
/// is sent.
const FRAME: Duration = Duration::from_secs(20);
/// How long a member's answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Streams to other nodes, by protocol.
type Askers = BTreeMap<(NodeId, Protocol), SharedAsker>;
type SharedAsker = Arc<tokio::sync::Mutex<Option<Asker>>>;

/// What every link needs.
#[derive(Clone)]
pub(crate) struct Links {
    network: NetworkName,
    jobs: mpsc::Sender<Job>,
    admission: Arc<Mutex<Admission<PeerId>>>,
    pub(crate) metrics: Metrics,
    pub(crate) hop: Hop,
    /// What lookups of names are answered from; none where there are no names.
    names: Option<Names>,
    control: libp2p_stream::Control,
    askers: Arc<Mutex<Askers>>,
    /// Who is a node of the network: nobody else is answered on `/swarm/1`.
    registry: Watched,
    places: Places,
    memory: Memory,
    subscribers: Arc<AtomicU64>,
    subscriptions: SharedSeats<PeerId>,
    /// Worker threads that are busy at once.
    workers: Arc<Semaphore>,
    checks: Checks,
    /// Where tasks run, whichever thread starts them.
    runtime: tokio::runtime::Handle,
    /// Becomes true when the node stops: a stream that lived on would keep its connection open.
    stopping: watch::Receiver<bool>,
}

impl Links {
    pub(crate) fn new(
        setup: &Setup,
        jobs: mpsc::Sender<Job>,
        admission: Admission<PeerId>,
        metrics: Metrics,
        hop: Hop,
        behaviour: &Behaviour,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let workers = Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, usize::from)));
        let runtime = tokio::runtime::Handle::current();
        let together = metrics.batch_signatures.clone();
        let checks =
            Checks::start(&runtime, Arc::clone(&workers), move |count| together.observe(count as f64));
        let registry = behaviour.neighbours.registry();
        let subscriptions = Seats::new(notify::MAX_PER_NEIGHBOUR, notify::MAX_SUBSCRIPTIONS);
        Self {
            network: setup.network.clone(),
            jobs,
            admission: Arc::new(Mutex::new(admission)),
            metrics,
            hop,
            names: None,
            control: behaviour.streams.new_control(),
            askers: Arc::default(),
            registry: registry.clone(),
            places: behaviour.neighbours.places(),
            memory: Memory::new(registry),
            subscribers: Arc::default(),
            subscriptions: Arc::new(Mutex::new(subscriptions)),
            workers,
            checks,
            runtime,
            stopping,
        }
    }

    /// Answers lookups of names too.
    pub(crate) fn with_names(self, names: Option<Names>) -> Self {
        Self { names, ..self }
    }

    /// What lookups of names are answered from.
    pub(crate) fn known_names(&self) -> Option<Names> {
        self.names.clone()
    }

    /// The node that a peer is, if it is one: the member says itself what it takes from whom.
    fn welcomed(&self, peer: &PeerId) -> Option<NodeId> {
        node_id(peer).filter(|node| self.registry.borrow().contains(node))
    }

    /// Starts to accept streams of the kept protocols.
    ///
    /// # Errors
    ///
    /// When a protocol is accepted already.
    pub(crate) fn accept(&mut self) -> Result<(), libp2p_stream::AlreadyRegistered> {
        let all = [Protocol::Storage, Protocol::Swarm, Protocol::Notify, Protocol::Onion];
        for protocol in all.into_iter().chain(self.names.as_ref().map(|_| Protocol::Names)) {
            let Some(name) = self.protocol(protocol) else { continue };
            let mut streams = self.control.accept(name)?;
            let links = Arc::new(self.clone());
            let room = Room::new();
            self.spawn(async move {
                while let Some((peer, stream)) = streams.next().await {
                    let seats = match links.let_in(protocol, peer, &room) {
                        Ok(seats) => seats,
                        Err(reason) => {
                            links.metrics.streams_refused_total.with_label_values(&[reason]).inc();
                            continue;
                        }
                    };
                    let serving = Arc::clone(&links);
                    links.spawn(async move {
                        serving.serve(protocol, peer, stream).await;
                        drop(seats);
                    });
                }
            });
        }
        Ok(())
    }

    /// Whether a stream may be opened, and the seats that it takes; else why not.
    fn let_in(
        &self,
        protocol: Protocol,
        peer: PeerId,
        room: &Room,
    ) -> Result<(Seat<PeerId>, Option<Seat<Prefix>>), &'static str> {
        if protocol == Protocol::Swarm && self.welcomed(&peer).is_none() {
            return Err("stranger");
        }
        let neighbour = Seat::take(&room.neighbours, peer).ok_or("neighbour")?;
        let prefix = match self.places.of(&peer) {
            Some(prefix) => Some(Seat::take(&room.prefixes, prefix).ok_or("prefix")?),
            None => None,
        };
        Ok((neighbour, prefix))
    }

    /// Carries a question to a member and reports its answer.
    pub(crate) fn carry(&self, exchange: Exchange) {
        let links = self.clone();
        self.spawn(async move {
            let Exchange { number, to, request, subjects } = exchange;
            let answer = tokio::time::timeout(PATIENCE, links.ask(to, &request)).await.ok().flatten();
            if answer.is_none() {
                links.metrics.exchange_failures_total.inc();
                // It may lead to a process that is gone: the next question opens another.
                links.forget(&to);
            }
            let answer = match answer {
                Some(answer) => {
                    let asked = (&request, subjects.as_slice());
                    links.checks.close(open_answer(&links.network, now(), to, asked, answer)).await
                }
                None => None,
            };
            let _ = links.jobs.send(Job::Answered { exchange: number, answer }).await;
        });
    }

    /// Forgets the links to a node that went out of contact.
    pub(crate) fn forget(&self, node: &NodeId) {
        let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
        for protocol in [Protocol::Swarm, Protocol::Onion] {
            askers.remove(&(*node, protocol));
        }
    }

    async fn ask(&self, to: NodeId, request: &SwarmRequest) -> Option<SwarmAnswer> {
        let answer = match self.carried(to, request).await {
            Some(answer) => answer,
            // The connection may be one that is being closed for another. A question may be repeated.
            None => {
                self.forget(&to);
                self.carried(to, request).await?
            }
        };
        let answer = codec::decode(&answer, swarm::MAX_MESSAGE);
        if answer.is_err() {
            self.metrics.garbage_total.with_label_values(&["swarm"]).inc();
        }
        answer.ok()
    }

    async fn carried(&self, to: NodeId, request: &SwarmRequest) -> Option<Vec<u8>> {
        self.asker(to, Protocol::Swarm).await?.ask(codec::encode(request)).await.ok()
    }

    /// The kept link to a node, opened if there is none.
    pub(crate) async fn asker(&self, to: NodeId, protocol: Protocol) -> Option<Asker> {
        let kept = {
            let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(askers.entry((to, protocol)).or_default())
        };
        // Whoever else asks this node waits here for the same stream.
        let mut kept = kept.lock().await;
        if let Some(asker) = kept.as_ref().filter(|asker| !asker.is_closed()) {
            return Some(asker.clone());
        }
        let name = self.protocol(protocol)?;
        let peer = peer_id(&to)?;
        let stream = self.control.clone().open_stream(peer, name).await.ok()?;
        let limits = self.limits(protocol, peer);
        let (asker, run) = link::open_within(stream, limits, || tokio::time::sleep(FRAME));
        let metrics = self.metrics.clone();
        self.spawn(async move { metrics.ended(label(protocol), run.await) });
        Some(kept.insert(asker).clone())
    }

    fn limits(&self, protocol: Protocol, peer: PeerId) -> Limits {
        let backlog = self.memory.of(peer, self.places.of(&peer));
        Limits { max_in: max_in(protocol), window: window(protocol), backlog }
    }

    fn protocol(&self, protocol: Protocol) -> Option<StreamProtocol> {
        StreamProtocol::try_from_owned(self.network.protocol(protocol)).ok()
    }

    async fn serve(self: Arc<Self>, protocol: Protocol, peer: PeerId, stream: Stream) {
        let limits = self.limits(protocol, peer);
        let (mut requests, run) = link::serve_within(stream, limits, || tokio::time::sleep(FRAME));
        let metrics = self.metrics.clone();
        self.spawn(async move { metrics.ended(label(protocol), run.await) });
        while let Some(incoming) = requests.next().await {
            let links = Arc::clone(&self);
            self.spawn(async move {
                match protocol {
                    Protocol::Storage => links.storage(peer, incoming).await,
                    Protocol::Swarm => links.swarm(peer, incoming).await,
                    Protocol::Notify => links.notify(peer, incoming).await,
                    Protocol::Onion => links.onion(peer, incoming).await,
                    Protocol::Names => links.names(peer, incoming).await,
                    Protocol::Directory | Protocol::Snapshot | Protocol::Kad => {}
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

    /// Waits until something arrives in a mailbox after a cursor; its request was admitted. False when the
    /// member does not take the subscription.
    pub(crate) async fn arrival(&self, retrieve: Retrieve) -> bool {
        let subscriber = self.subscribers.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let (events, mut waiting) = mpsc::channel(1);
        if self.jobs.send(Job::Subscribe { subscriber, retrieve, answer, events }).await.is_err() {
            return false;
        }
        let leave = Leave { subscriber, jobs: self.jobs.clone() };
        if !matches!(answered.await, Ok(Subscribed::Until { .. })) {
            return false;
        }
        let arrived = waiting.recv().await.is_some();
        drop(leave);
        arrived
    }

    async fn swarm(self: Arc<Self>, peer: PeerId, incoming: Incoming) {
        self.metrics.swarm_requests_total.inc();
        // It was one when it opened the stream.
        let Some(from) = self.welcomed(&peer) else { return };
        let Ok(request) = codec::decode::<SwarmRequest>(&incoming.payload, swarm::MAX_MESSAGE) else {
            self.metrics.garbage_total.with_label_values(&["swarm"]).inc();
            let refused = SwarmAnswer::Refused { code: Code::BadRequest };
            incoming.reply.answer(codec::encode(&refused)).await;
            return;
        };
        let Some(ask) = self.checks.close(open_ask(&self.network, now(), request)).await else { return };
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job::Asked { from, ask, answer }).await.is_err() {
            return;
        }
        if let Ok(answer) = answered.await {
            incoming.reply.answer(codec::encode(&answer)).await;
        }
    }

    async fn notify(self: Arc<Self>, peer: PeerId, incoming: Incoming) {
        let (retrieve, seat) = match self.subscription(peer, &incoming.payload).await {
            Ok(allowed) => allowed,
            Err(code) => {
                self.metrics.refused_total.with_label_values(&[&code.number().to_string()]).inc();
                incoming.reply.answer(subscribed(Subscribed::Refused { code })).await;
                return;
            }
        };
        let subscriber = self.subscribers.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let (events, mut waiting) = mpsc::channel(1);
        if self.jobs.send(Job::Subscribe { subscriber, retrieve, answer, events }).await.is_err() {
            return;
        }
        let Ok(answer) = answered.await else { return };
        let refused = matches!(answer, Subscribed::Refused { .. });
        let payload = subscribed(answer);
        if refused {
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
        drop(seat);
    }

    /// What a subscription asks for, if it may, and the neighbour's seat for it.
    async fn subscription(&self, peer: PeerId, payload: &[u8]) -> Result<(Retrieve, Seat<PeerId>), Code> {
        if !self.arrive(peer) {
            return Err(Code::TooMany);
        }
        let Ok(Subscribe { retrieve }) = codec::decode(payload, notify::MAX_REQUEST) else {
            self.metrics.garbage_total.with_label_values(&[label(Protocol::Notify)]).inc();
            return Err(Code::BadRequest);
        };
        self.metrics.requests_total.with_label_values(&["subscribe"]).inc();
        let request = Request::Retrieve(retrieve);
        self.check(&request, Door::Native).await?;
        if payer(&request).is_some_and(|(account, side)| !self.about(account, side)) {
            return Err(Code::TooMany);
        }
        let seat = Seat::take(&self.subscriptions, peer).ok_or(Code::TooMany)?;
        let Request::Retrieve(retrieve) = request else { return Err(Code::BadRequest) };
        Ok((retrieve, seat))
    }

    /// Charges a neighbour for something that it sent; false when that is too much.
    pub(crate) fn arrive(&self, peer: PeerId) -> bool {
        let prefix = self.places.of(&peer);
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).arrive(now(), peer, prefix)
    }

    /// The prefix that a stranger shares with others; not for local networks.
    pub(crate) fn place(&self, peer: &PeerId) -> Prefix {
        self.places.of(peer).unwrap_or(NOWHERE)
    }

    /// Charges nobody in particular for something that came through an onion path.
    pub(crate) fn arrive_unknown(&self) -> bool {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).arrive_unknown(now())
    }

    fn about(&self, account: &AccountId, side: Side) -> bool {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).about(now(), account, side)
    }

    /// Checks all that needs no state in a client's request.
    async fn check(&self, request: &Request, door: Door) -> Result<(), Code> {
        let claims = request.claims(&self.network, now(), door)?;
        if claims.is_empty() {
            return Ok(());
        }
        match self.checks.hold(claims).await {
            Some(true) => Ok(()),
            Some(false) => Err(Code::Unauthorized),
            None => Err(Code::Failed),
        }
    }

    /// Runs a check where it holds nobody up; none when the runtime is stopping.
    pub(crate) async fn off_the_loop<T: Send + 'static>(
        &self,
        costly: bool,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if !costly {
            return Some(check());
        }
        let _worker = self.workers.acquire().await.ok()?;
        tokio::task::spawn_blocking(check).await.ok()
    }
}

#[cfg(test)]
impl Links {
    /// Those of a node that is alone in its network, for tests of what stands before and behind them. They end with
    /// what is given beside them.
    pub(crate) fn alone(
        me: &session_protocols::KeyPair,
        local: bool,
        hop: Hop,
        jobs: mpsc::Sender<Job>,
    ) -> (Self, watch::Sender<bool>) {
        use session_protocols::{
            SwarmId, SwarmMap, answer::RULES, libp2p::address::keypair, limits::AdmissionRates, mailbox,
        };
        let map = SwarmMap { version: 1, swarms: [(SwarmId(0), vec![me.node_id()])].into() };
        let (network, limits): (NetworkName, _) = ("test".parse().unwrap(), mailbox::Limits::default());
        let (version, rules) = (String::new(), RULES);
        let metrics = Metrics::new().unwrap();
        let (key, registry) = (keypair(me).unwrap(), crate::registry::Registry::of([]));
        let behaviour = Behaviour::new(&key, &network, local, usize::MAX, false, registry, &metrics).unwrap();
        let setup = Setup { network, pair: me.clone(), maps: map.into(), limits, version, rules };
        let (stop, stopping) = watch::channel(false);
        let admission = Admission::new(AdmissionRates::default());
        (Self::new(&setup, jobs, admission, metrics, hop, &behaviour, stopping), stop)
    }
}

/// The answer to a subscription, as it is sent.
fn subscribed(body: Subscribed) -> Vec<u8> {
    codec::encode(&notify::Answer { time: now().as_millis(), body })
}

/// Ends a subscription when whoever waited for it has gone.
struct Leave {
    subscriber: u64,
    jobs: mpsc::Sender<Job>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let job = Job::Unsubscribe { subscriber: self.subscriber };
        // Where the queue is full the member learns it from the closed channel, at the next event.
        let _ = self.jobs.try_send(job);
    }
}

/// Seats for the streams of one protocol.
struct Room {
    neighbours: SharedSeats<PeerId>,
    prefixes: SharedSeats<Prefix>,
}

impl Room {
    fn new() -> Self {
        Self {
            neighbours: Arc::new(Mutex::new(Seats::new(LINKS_PER_NEIGHBOUR, MAX_LINKS))),
            prefixes: Arc::new(Mutex::new(Seats::new(LINKS_PER_PREFIX, MAX_LINKS))),
        }
    }
}

/// Requests under way on one link. Packets wait long at times: their own limits are the relay's.
const fn window(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Onion => relay::STREAM_WINDOW,
        Protocol::Storage
        | Protocol::Swarm
        | Protocol::Notify
        | Protocol::Names
        | Protocol::Directory
        | Protocol::Snapshot
        | Protocol::Kad => WINDOW,
    }
}

/// A protocol's name in the metrics.
const fn label(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Storage => "storage",
        Protocol::Swarm => "swarm",
        Protocol::Notify => "notify",
        Protocol::Onion => "onion",
        Protocol::Names => "names",
        Protocol::Directory => "directory",
        Protocol::Snapshot => "snapshot",
        Protocol::Kad => "kad",
    }
}

/// The longest payload that a kept stream brings in, in bytes.
const fn max_in(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Storage => request::MAX_REQUEST,
        Protocol::Swarm => swarm::MAX_MESSAGE,
        Protocol::Notify => notify::MAX_REQUEST,
        Protocol::Onion => onion::size::MAX_PACKET,
        Protocol::Names => lookup::MAX_REQUEST,
        // They have streams of their own.
        Protocol::Directory | Protocol::Snapshot | Protocol::Kad => 0,
    }
}
