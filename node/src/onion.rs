//! The hop that this node is for others: takes onion packets through the steps of the relay machine.
//!
//! Nothing here is logged, and what is counted has no label but the outcome: neither says who sent a
//! packet nor where it goes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use libp2p::PeerId;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use session_protocols::{
    NetworkName, NodeId, Protocol, Time,
    answer::{Answer, Body, Code},
    codec,
    directory::OnionDoor,
    libp2p::{address::node_id, link::Incoming},
    limits::Seats,
    notify,
    onion::{
        keys::Keyring,
        noise::has_aes,
        relay::{Back, Neighbour, Opening, Refusal, Relay, Sealed, Step, patience},
        replay::in_doubt,
        wrap::{Service, Status},
    },
    request::{self, Request},
};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::{
    keystore::{self, KeyError},
    links::{Caller, Links},
    now,
    seat::{Seat, SharedSeats},
};

/// How long an answer waits: less than [`patience`] of the hop before.
const TICK: Duration = Duration::from_micros(notify::TICK.0);
/// Answers that wait at once; beyond it questions are refused.
pub(crate) const MAX_WAITING: usize = 8_192;
/// Those that came from one neighbour.
pub(crate) const WAITING_PER_NEIGHBOUR: usize = 1_024;
/// The longest sleep between two looks at the keys, so that a stepped clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// From one try to keep the keys to the next, where that fails.
const KEEP_AGAIN: Duration = Duration::from_secs(10);

/// The relay machine, and where its keys are kept.
#[derive(Clone)]
pub(crate) struct Hop {
    relay: Arc<Mutex<Relay<PeerId, ChaCha20Rng>>>,
    data: PathBuf,
    /// Whether the keys on the disk are those in use.
    kept: Arc<AtomicBool>,
    /// Whether the network is one machine's, where times tell nobody anything.
    local: bool,
    /// Waits for the next tick.
    tick: Tick,
    waiting: SharedSeats<PeerId>,
}

type Tick = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

impl Hop {
    /// A hop that forwards to `nodes`, with the keys of the data folder; a first one is made if there
    /// is none.
    pub(crate) fn open(
        data: &Path,
        network: NetworkName,
        me: NodeId,
        nodes: BTreeSet<NodeId>,
        local: bool,
    ) -> Result<Self, KeyError> {
        let (seed, fresh) = (random()?, random()?);
        let now = now();
        let (mut keys, taken) = match keystore::load_onion(data)? {
            Some((keys, taken)) => (keys, taken.unwrap_or_else(|| in_doubt(now))),
            // Nothing was ever sealed to a key that is new.
            None => (Keyring::new(now, *fresh).ok_or(KeyError::Random)?, 0),
        };
        keys.turn(now, *random()?);
        // Until it is written again, this stop was not a clean one.
        keystore::save_onion(data, &keys, None)?;
        let relay = Relay::new(network, me, keys, nodes, taken, ChaCha20Rng::from_seed(*seed));
        let waiting = Arc::new(Mutex::new(Seats::new(WAITING_PER_NEIGHBOUR, MAX_WAITING)));
        let (relay, tick) =
            (Arc::new(Mutex::new(relay)), Arc::new(|| -> BoxFuture<'static, ()> { Box::pin(tick()) }));
        let kept = Arc::new(AtomicBool::new(true));
        Ok(Self { relay, data: data.to_owned(), kept, local, tick, waiting })
    }

    /// Forwards to these nodes and no others from now on, and they may forward to it.
    pub(crate) fn set_nodes(&self, nodes: BTreeSet<NodeId>) {
        self.relay().set_nodes(nodes);
    }

    /// How others enter this node.
    pub(crate) fn door(&self) -> OnionDoor {
        OnionDoor::of(&self.relay().keys().current, has_aes())
    }

    /// Replaces and destroys keys when their time has come, and says which door is open.
    pub(crate) async fn keep_keys(self, doors: watch::Sender<OnionDoor>) {
        loop {
            let wait = Duration::from_micros(self.relay().deadline().since(now()).0);
            let longest = if self.has_kept() { LONGEST_SLEEP } else { KEEP_AGAIN };
            tokio::time::sleep(wait.clamp(Duration::from_secs(1), longest)).await;
            let turned = self.turn_keys(now()).is_some();
            if turned || !self.has_kept() {
                self.keep();
            }
            if turned {
                doors.send_replace(self.door());
            }
        }
    }

    /// Whether the keys on the disk are those in use, and no key that was to be destroyed is there.
    pub(crate) fn has_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// Puts the keys on the disk, in the place of those that are there.
    fn keep(&self) {
        let keys = self.relay().keys().clone();
        let saved = keystore::save_onion(&self.data, &keys, None);
        let before = self.kept.swap(saved.is_ok(), Ordering::Relaxed);
        match saved {
            Err(error) if before => tracing::error!(
                %error,
                "today's onion key cannot be kept, and old ones stay on the disk: a restart would lose it; trying on"
            ),
            Ok(()) if !before => tracing::info!("the onion keys are kept again"),
            Ok(()) | Err(_) => {}
        }
    }

    /// The keys, if they changed.
    fn turn_keys(&self, now: Time) -> Option<Keyring> {
        let mut relay = self.relay();
        relay.tick(now).then(|| relay.keys().clone())
    }

    /// Notes what was taken, once nothing is any more: the next start need not refuse it in doubt.
    pub(crate) fn close(&self) -> Result<(), KeyError> {
        let relay = self.relay();
        keystore::save_onion(&self.data, relay.keys(), Some(relay.taken()))
    }

    fn relay(&self) -> MutexGuard<'_, Relay<PeerId, ChaCha20Rng>> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the next multiple of [`TICK`].
async fn tick() {
    let tick = TICK.as_micros() as u64;
    tokio::time::sleep(Duration::from_micros(tick - now().0 % tick)).await;
}

/// Bytes that nobody can guess.
fn random() -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

impl Links {
    /// Answers a packet.
    pub(crate) async fn onion(self: Arc<Self>, peer: PeerId, Incoming { payload, reply }: Incoming) {
        let answer = match self.pass(peer, payload).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let reason = match refusal {
                    Refusal::Unreadable => "unreadable",
                    Refusal::Busy => "busy",
                    Refusal::Unknown => "unknown",
                };
                self.metrics.onion_refused_total.with_label_values(&[reason]).inc();
                refusal.frame().to_vec()
            }
        };
        reply.answer(answer).await;
    }

    /// Takes a packet through this hop and all behind it; its answer.
    async fn pass(&self, peer: PeerId, packet: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let node = node_id(&peer).is_some_and(|node| self.hop.relay().knows(&node));
        if !node && !self.arrive(peer) {
            return Err(Refusal::Busy);
        }
        let prefix = if node || self.hop.local { None } else { Some(self.place(&peer)) };
        let from = Neighbour { key: peer, node, prefix };
        let opening = self.hop.relay().arrive(from, packet)?;
        let sealed = self.go_on(from, opening).await;
        let mut relay = self.hop.relay();
        match sealed {
            Ok(sealed) => Ok(relay.leave(now(), from, sealed)),
            Err(refusal) => {
                relay.forget(from);
                Err(refusal)
            }
        }
    }

    async fn go_on(&self, from: Neighbour<PeerId>, opening: Opening) -> Result<Sealed, Refusal> {
        let opened = self.off_the_loop(opening.is_dear(), move || opening.run()).await;
        let step = self.hop.relay().opened(now(), from, opened.ok_or(Refusal::Busy)??)?;
        let outcome = match &step {
            Step::Forward { .. } => "forwarded",
            Step::Deliver { .. } => "delivered",
            Step::Turn { .. } => "turned",
        };
        self.metrics.onion_packets_total.with_label_values(&[outcome]).inc();
        match step {
            Step::Forward { to, packet, back } => {
                let patience = Duration::from_micros(patience(back.position()).0);
                let asked = tokio::time::timeout(patience, async {
                    self.asker(to, Protocol::Onion).await?.ask(packet).await.ok()
                });
                let answer = asked.await.ok().flatten();
                self.seal(back, move |back| back.relay(answer.as_deref())).await
            }
            Step::Deliver { service, request, back } => {
                let room = back.capacity();
                let told = |answer: Answer| codec::encode(&answer);
                let admitted = self.arrive_unknown();
                let answer = match service {
                    Service::Names if !admitted => Some(codec::encode(&self.unnamed(Code::TooMany))),
                    Service::Names => Some(codec::encode(&self.look_up(&request).await)),
                    _ if !admitted => Some(told(self.refuse(Code::TooMany))),
                    Service::Storage => self.admitted(&request, Caller::Path, Some(room)).await.map(told),
                    Service::Notify => self.await_arrival(from.key, &request, room).await.map(told),
                };
                let seal = move |back: Back| match answer {
                    Some(answer) => back.answer(&answer),
                    None => back.turn(Status::Unreachable),
                };
                self.seal(back, seal).await
            }
            Step::Turn { status, back } => self.seal(back, move |back| back.turn(status)).await,
        }
    }

    /// Answers a `retrieve` once something has arrived, or time is up; outside local networks at the next
    /// tick, whatever has.
    async fn await_arrival(&self, from: PeerId, payload: &[u8], room: usize) -> Option<Answer> {
        let Ok(Request::Retrieve(mut retrieve)) = codec::decode(payload, request::MAX_REQUEST) else {
            return Some(self.refuse(Code::BadRequest));
        };
        // At once with an answer, whoever asks on would ask without end.
        let Some(_seat) = Seat::take(&self.hop.waiting, from) else {
            return Some(self.refuse(Code::TooMany));
        };
        if !self.hop.local {
            (self.hop.tick)().await;
            return self.admitted(payload, Caller::Path, Some(room)).await;
        }
        // What is there, or a refusal, is told at once.
        let answer = self.admitted(payload, Caller::Path, Some(room)).await?;
        let Body::Messages { messages, more: false, cursor } = &answer.body else { return Some(answer) };
        if !messages.is_empty() {
            return Some(answer);
        }
        retrieve.after = Some(*cursor);
        let arrived = tokio::time::timeout(TICK, self.arrival(retrieve)).await;
        if arrived == Ok(true) {
            self.admitted(payload, Caller::Path, Some(room)).await
        } else {
            Some(answer)
        }
    }

    async fn seal(
        &self,
        back: Back,
        seal: impl FnOnce(Back) -> Result<Sealed, Refusal> + Send + 'static,
    ) -> Result<Sealed, Refusal> {
        self.off_the_loop(back.is_dear(), move || seal(back)).await.unwrap_or(Err(Refusal::Busy))
    }
}

#[cfg(test)]
mod tests;
