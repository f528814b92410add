//! Requests that travel through onion paths: the host of the machines that decide over them.
//!
//! It keeps streams to guards, waits, and draws random bytes. Which hops a path has is said by the machine of
//! all paths, which path a request goes over and when another one by the machine of its delivery, and what a
//! refusal means by that of its passage over one path.
//!
//! - [`doors`]: the nodes' keys, as of now, and who is asked for them
//! - `packet`: a request over one path
//! - `time`: whether the clock is to blame

pub(crate) mod doors;
mod packet;
mod time;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use session_chain::network::NetworkFile;
use session_protocols::{
    NetworkName, NodeId, Protocol, Span, Time, codec,
    onion::{noise::has_aes, size::Bucket, wrap::Service},
    path::{
        Candidate, HOPS, Input, LIFETIME, Outcome, Output, PathError, PathId, Paths, Shown, Use, Want,
        delivery::{self, Delivery, Received, TRIES, Terms},
        passage::Passage,
        sessions::Sessions,
    },
    request::Request,
};
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    time::{Instant, sleep, sleep_until},
};
use zeroize::Zeroizing;

use crate::{
    client::ask::Fault,
    clock::{Clock, Comparison},
    connection::links::Links,
    error::ClientError,
    kept::Kept,
    membership::Membership,
};
use doors::Doors;
use time::Unlisted;

/// How long a path may take that is made ready before it is wanted, until another one is tried.
const READY: Duration = Duration::from_secs(2);
/// Packets that are listened for though nobody waits for their answers: few of those that a link takes at once.
const MAX_LISTENERS: usize = 16;
/// How long the keys of nodes that were just started are waited for, on a local network.
const DOORS: Duration = Duration::from_secs(3);
/// The same where nodes have to sign a list first.
const LISTED: Duration = Duration::from_secs(14);
/// The longest pause until they are asked again.
const LONGEST: Duration = Duration::from_millis(400);

/// The paths of one client.
pub(crate) struct Onion {
    me: Weak<Self>,
    network: NetworkName,
    members: Arc<Membership>,
    links: Arc<Links>,
    clock: Arc<Clock>,
    doors: Arc<Doors>,
    kept: Kept,
    /// How long connecting to a guard may take.
    connect: Duration,
    aes: bool,
    compared: tokio::sync::Mutex<Option<time::Compared>>,
    state: Mutex<State>,
    /// The places of packets that nobody waits for.
    listeners: Arc<Semaphore>,
    /// The machine's next deadline may be another.
    changed: Arc<Notify>,
}

pub(crate) struct State {
    pub(crate) machine: Paths<ChaCha20Rng>,
    random: ChaCha20Rng,
    sessions: Sessions,
    waiting: BTreeMap<u64, oneshot::Sender<Way>>,
    next: u64,
}

/// A path and its hops, or why there is none.
type Way = Result<(PathId, [NodeId; HOPS]), PathError>;

/// A request, and how it is sent.
#[derive(Clone)]
pub(crate) struct Parcel {
    pub(crate) usage: Use,
    pub(crate) service: Service,
    pub(crate) request: Vec<u8>,
    /// The bucket of its answer.
    pub(crate) answer: Bucket,
    /// How long all of it may take.
    pub(crate) patience: Duration,
    /// How long the destination may keep the answer back.
    pub(crate) hold: Duration,
    /// How long beyond that one path may be silent until another one is tried beside it; half of it at
    /// least.
    pub(crate) hedge: Duration,
}

impl Onion {
    /// Makes paths over the nodes of a network, with the guards that are kept. One task is
    /// spawned, which ends with this.
    pub(crate) fn start(
        file: &NetworkFile,
        members: Arc<Membership>,
        links: Arc<Links>,
        doors: Arc<Doors>,
        kept: Kept,
        connect: Duration,
    ) -> Result<Arc<Self>, ClientError> {
        let random = || -> Result<_, ClientError> {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(ClientError::Random)?;
            Ok(ChaCha20Rng::from_seed(seed))
        };
        let machine = Paths::new(kept.guards()?, random()?);
        let random = random()?;
        let onion = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            network: file.name.clone(),
            members,
            clock: Arc::clone(doors.clock()),
            doors,
            links,
            kept,
            connect,
            aes: has_aes(),
            compared: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                machine,
                random,
                sessions: Sessions::default(),
                waiting: BTreeMap::new(),
                next: 0,
            }),
            listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
            changed: Arc::new(Notify::new()),
        });
        onion.tell();
        tokio::spawn(tick(Arc::downgrade(&onion), Arc::clone(&onion.changed)));
        Ok(onion)
    }

    /// Sends a parcel, over as many paths as it takes.
    pub(crate) async fn send(&self, to: NodeId, parcel: &Arc<Parcel>) -> Result<Received, Fault> {
        let begun = Instant::now();
        let offset = self.clock.offset_ms();
        self.know(Some(to)).await?;
        if parcel.usage != Use::Look && self.clock.offset_ms() != offset {
            return Err(Fault::ClockMoved);
        }
        let Parcel { patience, hold, hedge, .. } = **parcel;
        let terms = Terms { patience: span(patience), hold: span(hold), hedge: span(hedge) };
        let mut delivery = Delivery::new(Time::ZERO, terms, self.generator());
        // A path may have to be waited for, and what is under way meanwhile goes on.
        let (mut wanted, mut running) = (FuturesUnordered::new(), FuturesUnordered::new());
        loop {
            while let Some(output) = delivery.poll() {
                match output {
                    delivery::Output::Want { not } => wanted.push(self.path(parcel.usage, to, not)),
                    delivery::Output::Carry { path, hops } => {
                        let passage = Passage::new(path, hops, to, parcel.usage);
                        let carried = self.carry(passage, Arc::clone(parcel));
                        running.push(async move { (path, carried.await) });
                    }
                    delivery::Output::Report { path, outcome } => self.report(path, outcome),
                    delivery::Output::Done(result) => return Ok(result?),
                }
            }
            let due = delivery.deadline().map(|due| begun + Duration::from_micros(due.0));
            let input = tokio::select! {
                Some(found) = wanted.next() => match found {
                    Ok((path, hops)) => delivery::Input::Path { path, hops },
                    Err(error) => delivery::Input::NoPath(error),
                },
                Some((path, carried)) = running.next() => {
                    let silent = (Outcome::Silent, Err(delivery::Fault::Silent));
                    let (outcome, brought) = carried.unwrap_or(silent);
                    delivery::Input::Brought { path, outcome, brought }
                }
                () = sleep_until(due.unwrap_or(begun)) => delivery::Input::Tick,
            };
            delivery.handle(Time::ZERO.after(span(begun.elapsed())), input);
        }
    }

    /// Makes a path ready for each of these uses, and tells how all paths are.
    pub(crate) async fn prepare(&self, uses: &[Use], patience: Duration) -> Result<Vec<Shown>, ClientError> {
        self.know(None).await?;
        let mut error = None;
        for usage in uses {
            for _ in 0..TRIES {
                let ends = self.doors.all();
                let to = ends.keys().nth(self.below(ends.len())).copied();
                let to = to.or_else(|| self.members.nodes().keys().next().copied());
                let Some(to) = to else { break };
                let parcel = Arc::new(Parcel { patience, ..harmless(*usage) });
                match self.send(to, &parcel).await {
                    Ok(_) => break,
                    Err(Fault::Path(why)) => error = Some(why),
                    Err(_) => {}
                }
            }
        }
        let shown = self.shown();
        match error {
            Some(error) if shown.is_empty() => Err(error.into()),
            _ => Ok(shown),
        }
    }

    /// Gives all paths up; the next request makes others.
    pub(crate) fn rebuild(&self) {
        self.feed(Input::Rebuild);
    }

    /// The nodes that know the client's address already, in the order in which they were drawn.
    pub(crate) fn guards(&self) -> Vec<NodeId> {
        let state = self.state();
        let machine = &state.machine;
        let kept = machine.guards().all().iter().filter(|guard| machine.is_kept(&guard.node));
        kept.filter(|guard| !guard.retired).map(|guard| guard.node).collect()
    }

    /// How the paths are.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        self.state().machine.paths().collect()
    }

    /// Makes sure that there is a list of nodes to make paths of, and that `node` stands in it if that can
    /// be.
    async fn know(&self, node: Option<NodeId>) -> Result<(), Unlisted> {
        if !self.doors.are_usable() {
            return self.learn(node).await;
        }
        if node.is_some_and(|node| self.doors.of(&node).is_none()) {
            // The machine says what is missing.
            let _ = self.doors.refresh(&self.guards(), false).await;
            self.tell();
        } else if self.doors.are_behind()
            && let Some(onion) = self.me.upgrade()
        {
            // Nobody waits for what is only about to be too old.
            tokio::spawn(async move {
                let refreshed = onion.doors.refresh(&onion.guards(), false).await;
                if let Err(error) = refreshed {
                    tracing::debug!(%error, "no newer list of nodes");
                }
                onion.tell();
            });
        }
        Ok(())
    }

    /// Fetches the list for the first time, or because the one that is known is too old. Nodes of a local
    /// network may have started just now, and not know each other: they are given a moment.
    async fn learn(&self, node: Option<NodeId>) -> Result<(), Unlisted> {
        let until = Instant::now() + if self.doors.are_local_lists() { LISTED } else { DOORS };
        let mut pause = Duration::from_millis(50);
        let mut compared = false;
        loop {
            let refreshed = self.doors.refresh(&self.guards(), true).await;
            self.tell();
            if !compared && !self.doors.are_usable() && self.is_untimely(refreshed) {
                compared = true;
                match self.compare_clocks().await {
                    Comparison::Same => {}
                    Comparison::Moved => continue,
                    Comparison::TooFar(by) => return Err(Unlisted::Clock(by)),
                }
            }
            let all = self.doors.all();
            let enough = node.map_or_else(|| !all.is_empty(), |node| all.contains_key(&node));
            let whole = all.len() == self.members.nodes().len() || !self.doors.are_local();
            if whole || Instant::now() >= until || (enough && pause >= Duration::from_millis(200)) {
                let refreshed = refreshed.map_err(Unlisted::Directory);
                return if self.doors.are_usable() { Ok(()) } else { refreshed };
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Tells the machine which nodes can be used.
    pub(crate) fn tell(&self) {
        let known: BTreeSet<_> = self.doors.all().into_keys().collect();
        let nodes = self.members.nodes();
        let nodes = nodes.iter().map(|(id, node)| (*id, Candidate { open: known.contains(id), ..*node }));
        self.feed(Input::Nodes(nodes.collect()));
    }

    async fn path(&self, usage: Use, destination: NodeId, not: Vec<[NodeId; HOPS]>) -> Way {
        let (found, path) = oneshot::channel();
        let ticket = {
            let mut state = self.state();
            state.next = state.next.wrapping_add(1);
            let ticket = state.next;
            state.waiting.insert(ticket, found);
            ticket
        };
        let forget = Forget { onion: self, ticket };
        self.feed(Input::Want(Want { ticket, usage, destination, not }));
        let found = path.await.unwrap_or(Err(PathError::Busy));
        drop(forget);
        found
    }

    fn report(&self, path: PathId, outcome: Outcome) {
        self.feed(Input::Outcome { path, outcome });
    }

    /// Feeds the machine, and does what it says.
    fn feed(&self, input: Input) {
        let mut state = self.state();
        // Nobody else's clock makes guards older than they are.
        let now = Clock::device_now();
        state.machine.handle(now, input);
        let mut probes = Vec::new();
        while let Some(output) = state.machine.poll() {
            match output {
                Output::Use { ticket, path, hops } => {
                    state.sessions.open(path);
                    state.waiting.remove(&ticket).map(|waiting| waiting.send(Ok((path, hops))));
                }
                Output::Fail { ticket, error } => {
                    state.waiting.remove(&ticket).map(|waiting| waiting.send(Err(error)));
                }
                Output::Probe { path, hops, destination } => {
                    state.sessions.open(path);
                    probes.push((path, hops, destination));
                }
                // At once, before anything is sent through a new guard.
                Output::Keep(guards) => {
                    let kept = self.kept.keep_guards(&guards, now, &self.members.nodes());
                    let kept = kept.map_or(Input::Unkept, Input::Kept);
                    state.machine.handle(now, kept);
                }
                Output::Closed { path } => state.sessions.close(path),
                // The next packet begins anew, whatever that one's silence was about.
                Output::HangUp { guard } => self.links.forget(guard, Protocol::Onion),
            }
        }
        drop(state);
        self.changed.notify_one();
        for (path, hops, destination) in probes {
            self.probe(Passage::new(path, hops, destination, Use::Look), Arc::new(harmless(Use::Look)));
        }
    }

    /// A generator of its own for a machine.
    fn generator(&self) -> ChaCha20Rng {
        let mut seed = Zeroizing::new([0; 32]);
        self.state().random.fill_bytes(seed.as_mut_slice());
        ChaCha20Rng::from_seed(*seed)
    }

    fn below(&self, bound: usize) -> usize {
        let drawn = self.state().random.next_u64();
        usize::try_from(drawn % (bound.max(1) as u64)).unwrap_or_default()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Onion {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

/// Tells the machine that a path is wanted no longer when its asker has gone.
struct Forget<'a> {
    onion: &'a Onion,
    ticket: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if self.onion.state().waiting.remove(&self.ticket).is_some() {
            self.onion.feed(Input::Forget { ticket: self.ticket });
        }
    }
}

/// A question that is nobody's.
fn harmless(usage: Use) -> Parcel {
    Parcel {
        usage,
        service: Service::Storage,
        request: codec::encode(&Request::Info),
        answer: Bucket::ALL[0],
        patience: READY,
        hold: Duration::ZERO,
        hedge: READY,
    }
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// Feeds the machine what time it is, when it wants to know.
async fn tick(onion: Weak<Onion>, changed: Arc<Notify>) {
    loop {
        let Some(wait) = onion.upgrade().map(|onion| {
            let deadline = onion.state().machine.deadline();
            deadline.map_or(Duration::from_micros(LIFETIME.0), |at| {
                Duration::from_micros(at.since(Clock::device_now()).0)
            })
        }) else {
            return;
        };
        tokio::select! {
            () = sleep(wait) => {
                if let Some(onion) = onion.upgrade() {
                    onion.feed(Input::Tick);
                }
            }
            () = changed.notified() => {}
        }
    }
}
