//! The follower over HTTP: asks what the machine wants to know, and keeps what it concludes before going on.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use session_protocols::{Span, Time};
use tokio::{
    sync::{oneshot, watch},
    task::{AbortHandle, JoinHandle, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tracing::{debug, error, info, warn};

use super::{
    contracts::Followed,
    endpoint::{Endpoint, EndpointError},
    follower::{Advance, Answer, Failure, Follower, Input, Mark, Output, Pace, Standing, Status},
    names::Snapshot,
    state::{StateError, StateFile},
    sync::{self, Begun, Syncing},
    trouble::{Stop, Trouble},
};
use crate::{
    ledger::{BlsKey, Checkpoint, Event, Ledger, LedgerError, Parameters, Roll, StakeId},
    names::Index,
    network::Settlement,
};

mod begin;

pub use begin::{Ask, Source};
pub(super) use begin::{Asked, Came, begin};

/// The most that is slept at once, so that a clock that is set back is noticed.
const NAP: Duration = Duration::from_secs(60);

/// What is followed, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which contracts.
    pub followed: Followed,
    /// What the ledgers of the network have in common.
    pub parameters: Parameters,
    /// Who serves the chain: two or more, of different providers, so that none has to be trusted.
    pub endpoints: Vec<Endpoint>,
    /// How patiently.
    pub pace: Pace,
    /// Seeds the pauses.
    pub seed: [u8; 32],
    /// Who may have the ledger of the last checkpoint, for a ledger that begins; none to begin with the logs.
    pub source: Option<Source>,
}

impl Options {
    /// Follows the chain of a network over the endpoints that its file names.
    ///
    /// # Errors
    /// When an endpoint's URL is none.
    pub fn new(settlement: &Settlement, seed: [u8; 32]) -> Result<Self, EndpointError> {
        let endpoints = settlement.rpc.iter().map(|url| Endpoint::new(url));
        Ok(Self {
            followed: settlement.into(),
            parameters: settlement.parameters(),
            endpoints: endpoints.collect::<Result<_, _>>()?,
            pace: Pace::default(),
            seed,
            source: None,
        })
    }
}

/// Why the chain cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// Nobody serves the chain.
    #[error("no endpoint of the settlement chain is configured")]
    NoEndpoint,
    /// The file of cursor and ledger cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// What was followed does not fit the ledger.
    #[error("the chain does not fit the ledger")]
    Ledger(#[from] LedgerError),
}

/// The ledger at some height; on disk before anybody sees it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// Up to where the chain is in it.
    pub mark: Mark,
    /// The checkpoint of the last border; none before the first.
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// Who may sign it: all that held a stake at that border.
    pub signers: Arc<Signers>,
    /// What it says about members and maps.
    pub roll: Arc<Roll>,
    /// The index of names, which proves what was known at the last border.
    pub names: Arc<Index<Snapshot>>,
    /// The ledger right behind that border, as bytes; empty before the first.
    pub behind: Arc<Vec<u8>>,
}

/// Those whose signatures a checkpoint takes, and with which keys.
pub type Signers = BTreeMap<StakeId, BlsKey>;

/// A border that was crossed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// What is to be signed.
    pub checkpoint: Arc<Checkpoint>,
    /// Who may sign it.
    pub signers: Arc<Signers>,
    /// What it says about members and maps.
    pub roll: Arc<Roll>,
}

impl Crossed {
    /// The border that `ledger` has just crossed, and the checkpoint that came of it.
    pub fn new(ledger: &Ledger, checkpoint: Checkpoint) -> Self {
        let signers = ledger.stakes().map(|(id, stake)| (*id, stake.bls)).collect();
        let (checkpoint, roll) = (Arc::new(checkpoint), Arc::new(ledger.roll()));
        Self { checkpoint, signers: Arc::new(signers), roll }
    }
}

/// A ledger that is kept in step with its chain, until this is dropped.
#[derive(Debug)]
pub struct LiveLedger {
    status: watch::Receiver<Status>,
    settled: watch::Receiver<Settled>,
    /// Following ends when this is gone, behind what is being written.
    go_on: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl LiveLedger {
    /// Follows the chain from where the file at `path` has come to. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When there is no endpoint, or the file cannot be used.
    pub fn start(path: &Path, options: Options) -> Result<Self, FollowError> {
        let Options { followed, parameters, endpoints, pace, seed, source } = options;
        if endpoints.is_empty() {
            return Err(FollowError::NoEndpoint);
        }
        let (file, mark, ledger) = StateFile::open(path, &followed, parameters)?;
        let checkpoint = file.checkpoints()?.pop().map(Arc::new);
        let (signers, roll) = (Arc::new(file.signers()?), Arc::new(file.roll()?));
        let (names, behind) = (Arc::new(file.index()?), Arc::new(file.border()?));
        if let [endpoint] = &endpoints[..] {
            info!(endpoint = endpoint.name(), "one endpoint serves the settlement chain, and is trusted");
        }
        let follow = move |endpoints: &[Endpoint], mark| {
            let names = endpoints.iter().map(|endpoint| endpoint.name().to_owned());
            Follower::new(followed, parameters, pace, mark, names, ChaCha8Rng::from_seed(seed))
        };
        let follower = follow(&endpoints, mark);
        let way = source.map(|source| {
            let rng = ChaCha8Rng::from_seed(seed);
            let syncing = Syncing::new(parameters, endpoints.len(), source.peers, rng);
            Way { syncing: if mark.is_bare() { syncing } else { syncing.by_logs(Some(mark.epoch)) }, source }
        });
        let begun = if way.is_some() && mark.is_bare() {
            Begun::Fetching { epoch: None, bytes: 0 }
        } else {
            Begun::Kept
        };
        let (tell, status) = watch::channel(Status { begun, ..follower.status(now()) });
        let ledger = Arc::new(ledger);
        let (settle, settled) =
            watch::channel(Settled { ledger, mark, checkpoint, signers, roll, names, behind });
        let host = Host {
            followed,
            answer: duration(pace.answer),
            slots: endpoints.iter().map(|_| None).collect(),
            endpoints,
            follower,
            begun,
            asked: JoinSet::new(),
            tell,
            settle,
        };
        let (go_on, end) = oneshot::channel();
        let task = tokio::spawn(Box::pin(host.work(file, way, follow, end)));
        Ok(Self { status, settled, go_on, task })
    }

    /// How following goes.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The ledger.
    pub fn settled(&self) -> Settled {
        self.settled.borrow().clone()
    }

    /// The checkpoint of the last border, if it is to be signed: not while endpoints disagree about the chain.
    pub fn to_sign(&self) -> Option<Arc<Checkpoint>> {
        let may = self.status.borrow().may_sign();
        self.settled.borrow().checkpoint.clone().filter(|_| may)
    }

    /// Ends following and closes the file; dropping does the same, and waits for nothing.
    pub async fn stop(self) {
        drop(self.go_on);
        if let Err(failed) = self.task.await {
            error!(%failed, "following the settlement chain failed");
        }
    }

    /// Tells of every change of the status.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Tells of every change of the ledger.
    pub fn watch(&self) -> watch::Receiver<Settled> {
        self.settled.clone()
    }
}

type Answered = (usize, u64, Result<Answer, Failure>);

struct Host {
    followed: Followed,
    endpoints: Vec<Endpoint>,
    answer: Duration,
    follower: Follower,
    begun: Begun,
    asked: JoinSet<Answered>,
    /// The one question that each endpoint has to answer.
    slots: Vec<Option<AbortHandle>>,
    tell: watch::Sender<Status>,
    settle: watch::Sender<Settled>,
}

/// How a ledger may begin, or go on, with that of a checkpoint.
struct Way {
    syncing: Syncing,
    source: Source,
}

impl Host {
    /// Follows the chain, and whenever that is due has the ledger begin, or go on, with that of a checkpoint.
    async fn work(
        mut self,
        mut file: StateFile,
        mut way: Option<Way>,
        follow: impl Fn(&[Endpoint], Mark) -> Follower + Send,
        mut end: oneshot::Receiver<()>,
    ) {
        loop {
            if let Some(Way { syncing, source }) = &mut way
                && syncing.deadline().is_some_and(|due| due <= now())
            {
                let other;
                match Box::pin(self.begin(file, syncing, source, &mut end)).await {
                    Ok(Some(begun)) => (file, other) = begun,
                    Ok(None) => return,
                    Err(error) => return self.give_up(&error),
                }
                if other {
                    // Whatever the one before still asks belongs to none of the new one's questions.
                    self.asked = JoinSet::new();
                    self.slots.iter_mut().for_each(|slot| *slot = None);
                    let mark = self.settle.borrow().mark;
                    self.follower = follow(&self.endpoints, mark);
                }
            }
            let syncing = way.as_mut().map(|way| &mut way.syncing);
            match Box::pin(self.run(file, syncing, &mut end)).await {
                Ok(Some(kept)) => file = kept,
                Ok(None) => return,
                Err(error) => return self.give_up(&error),
            }
        }
    }

    /// Follows the chain until it is to end; or returns the file when `syncing` is to go on.
    async fn run(
        &mut self,
        mut file: StateFile,
        mut syncing: Option<&mut Syncing>,
        end: &mut oneshot::Receiver<()>,
    ) -> Result<Option<StateFile>, FollowError> {
        loop {
            while let Some(output) = self.follower.poll() {
                match output {
                    Output::Ask { endpoint, id, question } => self.ask(endpoint, id, question),
                    Output::Advance(advance) => file = self.advance(file, *advance).await?,
                }
            }
            self.report();
            let mut deadline = self.follower.deadline();
            if let Some(syncing) = &mut syncing {
                let mark = self.settle.borrow().mark;
                let epoch = (!mark.is_bare()).then_some(mark.epoch);
                let led = self.follower.led(epoch, &self.tell.borrow());
                syncing.handle(now(), sync::Input::Logs(led));
                if let Some(due) = syncing.deadline() {
                    if due <= now() {
                        return Ok(Some(file));
                    }
                    deadline = Some(deadline.map_or(due, |deadline| deadline.min(due)));
                }
            }
            let nap = deadline.map_or(NAP, |deadline| duration(deadline.since(now())).min(NAP));
            let input = tokio::select! {
                biased;
                _ = &mut *end => return Ok(None),
                Some(answered) = self.asked.join_next() => match answered {
                    Ok((endpoint, id, answer)) => Input::Answer { endpoint, id, answer },
                    // Given up for another question.
                    Err(_) => continue,
                },
                () = sleep(nap) => Input::Tick,
            };
            self.follower.handle(now(), input);
        }
    }

    fn ask(&mut self, number: usize, id: u64, question: super::follower::Question) {
        let (Some(endpoint), Some(slot)) = (self.endpoints.get(number), self.slots.get_mut(number)) else {
            return;
        };
        if let Some(old) = slot.take() {
            old.abort();
        }
        let (endpoint, followed, patience) = (endpoint.clone(), self.followed, self.answer);
        *slot = Some(self.asked.spawn(async move {
            let answer = timeout(patience, endpoint.answer(&followed, question)).await;
            (number, id, answer.unwrap_or(Err(Failure::Trouble(Trouble::Late))))
        }));
    }

    /// Applies and keeps a piece of the chain, and only then shows it.
    async fn advance(&self, mut file: StateFile, advance: Advance) -> Result<StateFile, FollowError> {
        let settled = self.settle.borrow().clone();
        let work = move || -> Result<_, FollowError> {
            let Advance { blocks, border, mark } = advance;
            let mut ledger = Ledger::clone(&settled.ledger);
            let mut events = Vec::new();
            file.name(&blocks)?;
            for block in &blocks {
                events.extend(ledger.apply(block)?);
            }
            let crossed = match border {
                Some(border) => Some(ledger.cross(border, file.cross_names(ledger.border())?)?),
                None => None,
            };
            let crossed = crossed.map(|(more, checkpoint)| {
                events.extend(more);
                Crossed::new(&ledger, checkpoint)
            });
            file.keep(&mark, &ledger, crossed.as_ref())?;
            let ledger = Arc::new(ledger);
            let settled = match crossed {
                Some(Crossed { checkpoint, signers, roll }) => {
                    let (names, behind) = (Arc::new(file.index()?), Arc::new(ledger.to_bytes()));
                    Settled { ledger, mark, checkpoint: Some(checkpoint), signers, roll, names, behind }
                }
                None => Settled { ledger, mark, ..settled },
            };
            Ok((file, events, settled))
        };
        let (file, events, settled) = match spawn_blocking(work).await {
            Ok(done) => done?,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        debug!(height = settled.mark.height, epoch = settled.mark.epoch, "followed the settlement chain");
        for event in events {
            if let Event::Refused { reason, .. } = event {
                debug!(%reason, "an event of the chain had no effect");
            } else {
                debug!(?event, "the ledger changed");
            }
        }
        self.settle.send_replace(settled);
        Ok(file)
    }

    /// Shows the status, and logs what changed for the worse or the better.
    fn report(&self) {
        let status = Status { begun: self.begun, ..self.follower.status(now()) };
        let old = self.tell.send_replace(status.clone());
        for (endpoint, before) in status.endpoints.iter().zip(&old.endpoints) {
            if endpoint.faults > before.faults {
                let Some(trouble) = &endpoint.trouble else { continue };
                let (endpoint, remedy) = (&endpoint.name, trouble.remedy());
                warn!(endpoint, %trouble, remedy, "an endpoint of the settlement chain is left out");
            }
        }
        match (&old.held, &status.held) {
            (before, Some(why)) if before.as_ref() != Some(why) => {
                warn!(%why, remedy = why.remedy(), "the ledger holds");
            }
            (Some(_), None) => info!("the ledger goes on"),
            _ => {}
        }
        match (is_lone(&old), is_lone(&status)) {
            (false, true) => warn!(
                remedy = LONE,
                "all endpoints of the settlement chain but one are left out: it is followed, and nothing is signed"
            ),
            (true, false) => {
                info!("what one endpoint of the settlement chain told alone is confirmed, or disputed")
            }
            _ => {}
        }
        if let (None, Some(why)) = (&old.stopped, &status.stopped) {
            error!(%why, remedy = why.remedy(), "the ledger stopped");
        }
    }

    fn give_up(self, error: &FollowError) {
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        let why = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let stop = Stop::Failed { why };
        error!(why = %stop, remedy = stop.remedy(), "the ledger stopped");
        self.tell.send_modify(|status| status.stopped = Some(stop));
    }
}

/// What to do where one of several endpoints is left.
pub const LONE: &str = "see what is wrong with the others, or use others";

/// Whether the ledger goes by one of several endpoints, since all others are left out.
fn is_lone(status: &Status) -> bool {
    let good = status.endpoints.iter().filter(|one| !matches!(one.standing, Standing::LeftOut(_)));
    status.alone && status.held.is_none() && good.count() == 1
}

/// The time, by this machine's clock.
pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

pub(super) const fn duration(span: Span) -> Duration {
    Duration::from_micros(span.0)
}
