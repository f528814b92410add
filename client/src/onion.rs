//! Requests that travel through onion paths: the host of the path machine.
//!
//! It keeps streams to guards alone, and the sessions of each path's hops. A request goes over one path;
//! when that is refused or silent it goes over another, after a delay that nobody can foresee.
//!
//! - [`doors`]: the nodes' keys, as of now, and who is asked for them
//! - `packet`: one packet over one path

pub(crate) mod doors;
mod packet;

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
    NetworkName, NodeId, codec,
    onion::{
        noise::has_aes,
        size::Bucket,
        wrap::{ClientSession, Service},
    },
    path::{
        self, Candidate, HOPS, Input, LIFETIME, Outcome, Output, PathError, PathId, Paths, Shown, Use, Want,
    },
    request::Request,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    client::ask::Fault, clock::Clock, connection::links::Links, directory::DirectoryError,
    error::ClientError, kept::Kept,
};
use doors::Doors;

/// Paths that one request is tried over.
const TRIES: usize = 3;
/// The longest pause after a path was refused, until another one is tried.
const RETRY: Duration = Duration::from_millis(100);
/// How long a test of a path may take.
const TEST: Duration = Duration::from_secs(2);
/// How long the keys of nodes that were just started are waited for, on a local network.
const DOORS: Duration = Duration::from_secs(3);

/// The paths of one client.
pub(crate) struct Onion {
    me: Weak<Self>,
    network: NetworkName,
    nodes: BTreeMap<NodeId, Candidate>,
    links: Arc<Links>,
    clock: Arc<Clock>,
    doors: Arc<Doors>,
    kept: Kept,
    /// How long connecting to a guard may take.
    connect: Duration,
    aes: bool,
    state: Mutex<State>,
    /// The machine's next deadline may be another.
    changed: Arc<Notify>,
}

struct State {
    machine: Paths<ChaCha20Rng>,
    random: ChaCha20Rng,
    sessions: BTreeMap<PathId, Sessions>,
    waiting: BTreeMap<u64, oneshot::Sender<Way>>,
    next: u64,
}

/// A path and its hops, or why there is none.
type Way = Result<(PathId, [NodeId; HOPS]), PathError>;

/// What the hops of one path keep.
#[derive(Default)]
struct Sessions {
    hops: [Option<ClientSession>; HOPS],
    /// The destinations that one account is read at.
    ends: BTreeMap<NodeId, ClientSession>,
}

/// A request, and how it is sent.
pub(crate) struct Parcel {
    pub(crate) usage: Use,
    pub(crate) service: Service,
    pub(crate) request: Vec<u8>,
    /// The bucket of its answer.
    pub(crate) answer: Bucket,
    /// How long all of it may take.
    pub(crate) patience: Duration,
    /// How long one path may be silent until another one is tried beside it; half of it at least.
    pub(crate) hedge: Duration,
}

/// What one path brought.
enum Brought {
    Answer(Vec<u8>),
    /// The bucket is too small.
    TooLarge,
    /// The path failed; another one may do.
    Nothing(Fault),
}

/// What came back for a parcel.
pub(crate) enum Received {
    /// The service's answer.
    Answer(Vec<u8>),
    /// It needs a larger bucket.
    TooLarge,
}

impl Onion {
    /// Makes paths over the nodes that a network file names, with the guards that are kept. One task is
    /// spawned, which ends with this.
    pub(crate) fn start(
        file: &NetworkFile,
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
        let nodes = file.nodes.iter().map(|node| {
            let operator = *node.operator.as_bytes();
            (node.id, Candidate { operator, prefix: node.prefix, open: false })
        });
        let onion = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            network: file.name.clone(),
            nodes: nodes.collect(),
            clock: Arc::clone(doors.clock()),
            doors,
            links,
            kept,
            connect,
            aes: has_aes(),
            state: Mutex::new(State {
                machine,
                random,
                sessions: BTreeMap::new(),
                waiting: BTreeMap::new(),
                next: 0,
            }),
            changed: Arc::new(Notify::new()),
        });
        onion.tell();
        tokio::spawn(tick(Arc::downgrade(&onion), Arc::clone(&onion.changed)));
        Ok(onion)
    }

    /// Sends a parcel, over as many paths as it takes.
    pub(crate) async fn send(&self, to: NodeId, parcel: &Parcel) -> Result<Received, Fault> {
        let deadline = Instant::now() + parcel.patience;
        self.know(Some(to)).await.map_err(Fault::Directory)?;
        let mut running = FuturesUnordered::new();
        let (mut not, mut tried) = (Vec::new(), Vec::new());
        let mut next = Instant::now();
        let mut last = Fault::Silent;
        loop {
            if not.len() < TRIES && next <= Instant::now() {
                match self.path(parcel.usage, to, not.clone()).await {
                    Ok((path, hops)) => {
                        not.push(hops);
                        tried.push(path);
                        running.push(async move { (path, self.carry(path, hops, to, parcel).await) });
                        next = Instant::now() + self.between(parcel.hedge / 2, parcel.hedge);
                    }
                    Err(error) if running.is_empty() => return Err(Fault::Path(error)),
                    Err(_) => next = deadline,
                }
            }
            let more = not.len() < TRIES;
            tokio::select! {
                Some((path, brought)) = running.next() => match brought {
                    Brought::Answer(answer) => return Ok(Received::Answer(answer)),
                    Brought::TooLarge => return Ok(Received::TooLarge),
                    Brought::Nothing(fault) => {
                        tried.retain(|other| *other != path);
                        last = fault;
                        if !more && running.is_empty() {
                            return Err(last);
                        }
                        next = next.min(Instant::now() + self.between(Duration::ZERO, RETRY));
                    }
                },
                () = sleep_until(next), if more => {
                    tried.iter().for_each(|path| self.report(*path, Outcome::Slow));
                }
                () = sleep_until(deadline) => {
                    tried.iter().for_each(|path| self.report(*path, Outcome::Silent));
                    return Err(last);
                }
            }
        }
    }

    /// Makes a path ready for each of these uses, and tells how all paths are.
    pub(crate) async fn prepare(&self, uses: &[Use], patience: Duration) -> Result<Vec<Shown>, ClientError> {
        self.know(None).await.map_err(|cause| ClientError::Directory { cause })?;
        let mut error = None;
        for usage in uses {
            for _ in 0..TRIES {
                let ends = self.doors.all();
                let to = ends.keys().nth(self.below(ends.len())).copied();
                let to = to.or_else(|| self.nodes.keys().next().copied());
                let Some(to) = to else { break };
                match self.send(to, &Parcel { patience, ..harmless(*usage) }).await {
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
        let guards = state.machine.guards().all().iter().filter(|guard| !guard.retired);
        guards.map(|guard| guard.node).collect()
    }

    /// How the paths are.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        self.state().machine.paths().collect()
    }

    /// Makes sure that there is a list of nodes to make paths of, and that `node` stands in it if that can
    /// be.
    async fn know(&self, node: Option<NodeId>) -> Result<(), DirectoryError> {
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
    async fn learn(&self, node: Option<NodeId>) -> Result<(), DirectoryError> {
        let until = Instant::now() + DOORS;
        let mut pause = Duration::from_millis(50);
        loop {
            let refreshed = self.doors.refresh(&self.guards(), true).await;
            self.tell();
            let all = self.doors.all();
            let enough = node.map_or_else(|| !all.is_empty(), |node| all.contains_key(&node));
            let whole = all.len() == self.nodes.len() || !self.doors.are_local();
            if whole || Instant::now() >= until || (enough && pause >= Duration::from_millis(200)) {
                return if self.doors.are_usable() { Ok(()) } else { refreshed };
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// Tells the machine which nodes can be used.
    fn tell(&self) {
        let known: BTreeSet<_> = self.doors.all().into_keys().collect();
        let nodes =
            self.nodes.iter().map(|(id, node)| (*id, Candidate { open: known.contains(id), ..*node }));
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
        let now = self.clock.now();
        state.machine.handle(now, input);
        let mut probes = Vec::new();
        while let Some(output) = state.machine.poll() {
            match output {
                Output::Use { ticket, path, hops } => {
                    state.sessions.entry(path).or_default();
                    state.waiting.remove(&ticket).map(|waiting| waiting.send(Ok((path, hops))));
                }
                Output::Fail { ticket, error } => {
                    state.waiting.remove(&ticket).map(|waiting| waiting.send(Err(error)));
                }
                Output::Probe { path, hops, destination } => {
                    state.sessions.entry(path).or_default();
                    probes.push((path, hops, destination));
                }
                // At once, before anything is sent through a new guard: a process that forgot it would
                // draw others.
                Output::Keep(guards) => self.kept.keep_guards(&guards),
                Output::Closed { path } => {
                    state.sessions.remove(&path);
                }
            }
        }
        drop(state);
        self.changed.notify_one();
        for (path, hops, destination) in probes {
            let Some(onion) = self.me.upgrade() else { return };
            tokio::spawn(async move {
                let parcel = harmless(Use::Look);
                if timeout(TEST, onion.carry(path, hops, destination, &parcel)).await.is_err() {
                    // Whatever it leads to, the next test begins anew.
                    let [guard, ..] = hops;
                    onion.links.forget(guard, session_protocols::Protocol::Onion);
                    onion.report(path, Outcome::Silent);
                }
            });
        }
    }

    fn between(&self, least: Duration, most: Duration) -> Duration {
        let micros = usize::try_from(most.saturating_sub(least).as_micros()).unwrap_or(usize::MAX);
        least + Duration::from_micros(self.below(micros.saturating_add(1)) as u64)
    }

    fn below(&self, bound: usize) -> usize {
        let drawn = self.state().random.next_u64();
        usize::try_from(drawn % (bound.max(1) as u64)).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
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
        patience: TEST,
        hedge: TEST,
    }
}

/// Feeds the machine what time it is, when it wants to know.
async fn tick(onion: Weak<Onion>, changed: Arc<Notify>) {
    loop {
        let Some(wait) = onion.upgrade().map(|onion| {
            let deadline = onion.state().machine.deadline();
            deadline.map_or(Duration::from_micros(LIFETIME.0), |at| {
                Duration::from_micros(at.since(onion.clock.now()).0)
            })
        }) else {
            return;
        };
        tokio::select! {
            () = sleep(wait) => {
                if let Some(onion) = onion.upgrade() {
                    onion.feed(path::Input::Tick);
                }
            }
            () = changed.notified() => {}
        }
    }
}
