//! The thread that owns the store and the member machine: commit, then speak.
//!
//! What arrives waits in one bounded queue. The thread drains it into a batch, applies the batch
//! inside one transaction, commits, and only then lets the machine's words out. When a commit fails
//! it refuses the batch, reopens the store and makes the machine anew over what is found; whoever
//! waited may repeat. When the disk is full the machine goes on as it was and refuses what would
//! write, or leaves it to the other members, until there is room again; reading goes on.

mod job;

use std::{
    collections::{BTreeSet, HashMap},
    error::Error,
    thread,
    time::{Duration, Instant},
};

pub(crate) use job::{Exchange, Inspection, Job, inspect};
use session_protocols::{
    NodeId,
    answer::{Answer, Body, Code},
    identity::blake2b,
    mailbox,
    member::{Input, Member, Output, Setup},
    notify::{EVENT_BYTES, EVENT_COUNT, Event, Subscribed},
    request::Request,
    store::{Store as _, StoreError},
    swarm::SwarmAnswer,
};
use session_storage::MessageStore;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{metrics::Metrics, now};

/// Inputs that may wait; beyond it clients are refused, and other nodes wait.
pub(crate) const QUEUE: usize = 1_024;
/// Inputs that one commit takes at most.
pub(crate) const BATCH: usize = 256;
/// The longest sleep between two looks at the clock, so that a stepped clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// The first pause before a store that does not open is tried again; it doubles up to [`MAX_PAUSE`].
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
/// The longest of these pauses.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The first pause before a full disk is looked at again; it doubles up to [`MAX_FULL_PAUSE`].
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const MAX_FULL_PAUSE: Duration = Duration::from_secs(30);
/// A disk that is full again within this has not been emptied: the pauses go on growing.
const FULL_AGAIN: Duration = Duration::from_secs(60);
/// How often damage is told of.
const TELL_DAMAGE: Duration = Duration::from_secs(600);
/// How much room makes a full disk worth another try, in bytes.
const ROOM: u64 = 8 << 20;

/// The thread, once it runs.
#[derive(Debug)]
pub(crate) struct Running {
    thread: thread::JoinHandle<()>,
    /// Its sender is dropped when the thread ends, however that comes; none after that.
    ended: Option<oneshot::Receiver<()>>,
}

impl Running {
    /// Waits until the thread has ended and the store is closed.
    pub(crate) async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            let _ = ended.await;
            self.ended = None;
        }
    }

    /// Whether the thread ended well, after [`Self::ended`].
    pub(crate) fn ended_well(self) -> bool {
        self.thread.join().is_ok()
    }
}

/// Starts the thread on a queue of [`QUEUE`] jobs; it ends when `stopping` turns true, or when nobody
/// can send it jobs any more.
///
/// # Errors
///
/// When the system starts no thread.
pub(crate) fn start(
    setup: Setup,
    store: MessageStore,
    metrics: Metrics,
    queue: mpsc::Receiver<Job>,
    stopping: watch::Receiver<bool>,
    carry: impl Fn(Exchange) + Send + 'static,
    height: impl Fn() -> u64 + Send + 'static,
) -> std::io::Result<Running> {
    let host = Host {
        member: Member::new(setup.clone()),
        setup,
        store,
        metrics,
        carry: Box::new(carry),
        height: Box::new(height),
        life: 0,
        next_ticket: 0,
        clients: HashMap::new(),
        nodes: HashMap::new(),
        subscribers: HashMap::new(),
        contacts: BTreeSet::new(),
        local: Vec::new(),
        inspections: Vec::new(),
        full: Full::Not { since: None, pause: FULL_PAUSE },
        told_of_damage: None,
    };
    let source = Source { queue, stopping };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (ending, ended) = oneshot::channel();
    let thread = thread::Builder::new().name("member".into()).spawn(move || {
        let _ending: oneshot::Sender<()> = ending;
        runtime.block_on(host.run(source));
    })?;
    Ok(Running { thread, ended: Some(ended) })
}

/// Where jobs come from, and the word to stop.
struct Source {
    queue: mpsc::Receiver<Job>,
    stopping: watch::Receiver<bool>,
}

impl Source {
    /// Waits for jobs, and for `patience` at most; false when the thread is to end.
    async fn wait(&mut self, patience: Duration, batch: &mut Vec<Job>) -> bool {
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
            received = tokio::time::timeout(patience, self.queue.recv_many(batch, BATCH)) => received != Ok(0),
        }
    }
}

/// Whether the disk is full.
#[derive(Clone, Copy, Debug)]
enum Full {
    /// It is not; since when it is not any more, and how long the next pause will be.
    Not { since: Option<Instant>, pause: Duration },
    /// It is, and is looked at again then.
    Until { until: Instant, pause: Duration },
}

/// A client that waits for its answer.
struct Client {
    answer: oneshot::Sender<Answer>,
    writes: bool,
}

/// Exchange numbers carry the machine's life above this many bits.
const LIFE_SHIFT: u32 = 48;

struct Host {
    setup: Setup,
    member: Member,
    store: MessageStore,
    metrics: Metrics,
    carry: Box<dyn Fn(Exchange) + Send>,
    /// The last final block of the settlement chain.
    height: Box<dyn Fn() -> u64 + Send>,
    /// How often the machine was made anew: answers to an earlier one are dropped.
    life: u64,
    next_ticket: u64,
    clients: HashMap<u64, Client>,
    nodes: HashMap<u64, oneshot::Sender<SwarmAnswer>>,
    subscribers: HashMap<u64, Subscriber>,
    contacts: BTreeSet<NodeId>,
    /// Inputs that this host owes the machine itself.
    local: Vec<Input>,
    /// People who ask how things are; they are told at the end of a batch.
    inspections: Vec<oneshot::Sender<Inspection>>,
    full: Full,
    told_of_damage: Option<Instant>,
}

struct Subscriber {
    answer: Option<oneshot::Sender<Subscribed>>,
    events: mpsc::Sender<(Event, bool)>,
}

impl Host {
    async fn run(mut self, mut source: Source) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // What is owed goes first, and the machine's own time comes before more from outside.
            let sleep = if self.local.is_empty() { self.sleep() } else { Duration::ZERO };
            if !source.wait(sleep, &mut batch).await {
                return;
            }
            let room = self.look_for_room();
            let done = self.step(&mut batch);
            if (room || done.is_err()) && !self.start_over(done.err(), &mut source).await {
                return;
            }
        }
    }

    fn sleep(&self) -> Duration {
        let wait = self.member.deadline().map_or(u64::MAX, |deadline| deadline.since(now()).0);
        Duration::from_micros(wait).min(LONGEST_SLEEP)
    }

    /// Applies a batch, commits it, and lets the outputs out.
    fn step(&mut self, batch: &mut Vec<Job>) -> Result<(), StoreError> {
        let started = Instant::now();
        self.member.set_height((self.height)());
        let mut inputs = std::mem::take(&mut self.local);
        inputs.extend(batch.drain(..).filter_map(|job| self.input(job)));
        if self.member.deadline().is_some_and(|deadline| deadline <= now()) {
            inputs.push(Input::Tick);
        }
        if !inputs.is_empty() {
            self.metrics.batch_inputs.observe(inputs.len() as f64);
            self.apply(inputs)?;
            self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
            while let Some(output) = self.member.poll() {
                self.let_out(output);
            }
        }
        for inspect in std::mem::take(&mut self.inspections) {
            let _ = inspect.send(self.inspection());
        }
        self.metrics.subscriptions.set(self.member.subscriptions() as i64);
        self.metrics.stored_bytes.set(i64::try_from(self.store.occupied()).unwrap_or(i64::MAX));
        Ok(())
    }

    fn apply(&mut self, inputs: Vec<Input>) -> Result<(), StoreError> {
        let mut writer = self.store.begin()?;
        let now = now();
        for input in inputs {
            self.member.handle(now, input, &mut writer)?;
        }
        // Even an empty commit may merge, which a full disk does not allow.
        if matches!(self.full, Full::Until { .. }) && writer.is_empty() {
            return Ok(());
        }
        writer.commit()
    }

    /// Whether a disk that was full is worth another try.
    fn look_for_room(&mut self) -> bool {
        let Full::Until { until, pause } = self.full else { return false };
        if Instant::now() < until {
            return false;
        }
        let pause = (pause * 2).min(MAX_FULL_PAUSE);
        if self.store.reserve(ROOM).is_err() {
            self.full = Full::Until { until: Instant::now() + pause, pause };
            return false;
        }
        self.full = Full::Not { since: Some(Instant::now()), pause };
        true
    }

    /// Turns a job into an input; one that is none waits for the end of the batch, or is for an
    /// earlier machine.
    fn input(&mut self, job: Job) -> Option<Input> {
        Some(match job {
            Job::Request { request, door, answer, place } => {
                // It is out of the queue.
                drop(place);
                let ticket = self.ticket();
                let writes = matches!(
                    request,
                    Request::Store(_) | Request::Delete(_) | Request::Expire(_) | Request::Revoke(_)
                );
                self.clients.insert(ticket, Client { answer, writes });
                Input::Request { ticket, request, door }
            }
            Job::Asked { from, ask, answer } => {
                let ticket = self.ticket();
                self.nodes.insert(ticket, answer);
                Input::Asked { ticket, from, ask }
            }
            Job::Answered { exchange, answer } => {
                let (life, exchange) = (exchange >> LIFE_SHIFT, exchange & ((1 << LIFE_SHIFT) - 1));
                if life != self.life {
                    return None;
                }
                Input::Answered { exchange, answer }
            }
            Job::Subscribe { subscriber, retrieve, answer, events } => {
                self.subscribers.insert(subscriber, Subscriber { answer: Some(answer), events });
                Input::Subscribe { subscriber, retrieve }
            }
            Job::Unsubscribe { subscriber } => {
                self.subscribers.remove(&subscriber);
                Input::Unsubscribe { subscriber }
            }
            Job::Pushed { subscriber, cursor, more } => Input::Pushed { subscriber, cursor, more },
            Job::Connected(node) => {
                self.contacts.insert(node);
                Input::Connected(node)
            }
            Job::Disconnected(node) => {
                self.contacts.remove(&node);
                Input::Disconnected(node)
            }
            Job::Maps(maps) => {
                self.setup.maps = (*maps).clone();
                Input::Maps(*maps)
            }
            Job::Inspect(answer) => {
                self.inspections.push(answer);
                return None;
            }
        })
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.next_ticket
    }

    fn let_out(&mut self, output: Output) {
        match output {
            Output::Answer { ticket, answer } => {
                if let Body::Refused(refusal) = &answer.body {
                    let code = refusal.code.number().to_string();
                    self.metrics.refused_total.with_label_values(&[&code]).inc();
                }
                if let Some(waiting) = self.clients.remove(&ticket) {
                    let _ = waiting.answer.send(answer);
                }
            }
            Output::Reply { ticket, answer } => {
                if let Some(waiting) = self.nodes.remove(&ticket) {
                    let _ = waiting.send(answer);
                }
            }
            Output::Send { exchange, to, request, subjects } => {
                let number = (self.life << LIFE_SHIFT) | exchange;
                (self.carry)(Exchange { number, to, request, subjects });
            }
            Output::Subscribed { subscriber, answer } => {
                let ended = matches!(answer, Subscribed::Refused { .. });
                if let Some(waiting) = self.subscribers.get_mut(&subscriber).and_then(|one| one.answer.take())
                {
                    let _ = waiting.send(answer);
                }
                if ended {
                    self.subscribers.remove(&subscriber);
                }
            }
            Output::Push { subscriber, account, namespace, after } => {
                let page =
                    mailbox::page(&self.store, now(), &account, namespace, after, EVENT_COUNT, EVENT_BYTES);
                match page {
                    Ok(Body::Messages { messages, more, cursor }) => {
                        self.push(subscriber, Event { messages, cursor }, more);
                    }
                    Err(StoreError::Lost { account, hash, why }) => {
                        // Whoever subscribes anew gets past it.
                        self.local.push(Input::Lost { account, hash, why });
                        self.subscribers.remove(&subscriber);
                        self.local.push(Input::Unsubscribe { subscriber });
                    }
                    Ok(_) | Err(_) => {
                        self.subscribers.remove(&subscriber);
                        self.local.push(Input::Unsubscribe { subscriber });
                    }
                }
            }
            Output::Reconciled { with, fetched } => {
                self.metrics.reconciliations_total.inc();
                self.metrics.repaired_total.inc_by(fetched);
                tracing::debug!(%with, fetched, "compared with a member");
            }
            Output::Damaged(what) => self.damaged(what),
        }
    }

    /// Counts damage, and says so now and then.
    fn damaged(&mut self, what: &str) {
        self.metrics.store_damaged_total.inc();
        if self.told_of_damage.is_none_or(|told| told.elapsed() >= TELL_DAMAGE) {
            self.told_of_damage = Some(Instant::now());
            tracing::error!(
                what,
                "the store is damaged; lost messages are fetched from the swarm. Check the disk; when \
                 this goes on, stop the node, move the folder `messages` away and start it again",
            );
        }
    }

    /// Sends an event; the machine has at most one under way for each subscriber.
    fn push(&mut self, subscriber: u64, event: Event, more: bool) {
        let Some(one) = self.subscribers.get(&subscriber) else { return };
        if event.messages.is_empty() {
            self.local.push(Input::Pushed { subscriber, cursor: event.cursor, more });
        } else if one.events.try_send((event, more)).is_err() {
            self.subscribers.remove(&subscriber);
            self.local.push(Input::Unsubscribe { subscriber });
        }
    }

    fn inspection(&self) -> Inspection {
        let mut prints = Vec::new();
        let mut records = 0_u64;
        for (bucket, print) in self.store.fingerprints() {
            prints.extend_from_slice(&bucket.0.to_be_bytes());
            prints.extend_from_slice(&print.count.to_be_bytes());
            prints.extend_from_slice(&print.sum);
            records = records.saturating_add(print.count);
        }
        self.metrics.records.set(i64::try_from(records).unwrap_or(i64::MAX));
        Inspection {
            swarm: self.member.swarm(),
            ready: self.member.ready(),
            current: self.member.current(),
            members: self.member.members().len(),
            messages: self.store.stats().messages,
            bytes: self.store.occupied(),
            subscriptions: self.member.subscriptions(),
            handing_over: self.member.handing_over(),
            full: matches!(self.full, Full::Until { .. }),
            fingerprint: blake2b(&[&prints]),
        }
    }

    /// Refuses who waits, reopens the store and begins again: after an error with a machine that
    /// knows nothing but the store, and where the disk is or was full with the one that was. False
    /// when the thread is to end.
    async fn start_over(&mut self, error: Option<StoreError>, source: &mut Source) -> bool {
        let code = match &error {
            None => Code::Failed,
            Some(StoreError::Full(_)) => {
                self.disk_is_full();
                Code::Full
            }
            Some(error) => {
                tracing::error!(error = error as &dyn Error, "the store failed; reopening it");
                Code::Failed
            }
        };
        self.metrics.store_failures_total.inc_by(u64::from(error.is_some()));
        self.refuse_all(code);
        if !self.reopen(source).await {
            return false;
        }
        if matches!(error, None | Some(StoreError::Full(_))) {
            self.member.resume(now());
        } else {
            self.member = Member::new(self.setup.clone());
        }
        let full = matches!(self.full, Full::Until { .. });
        if !full && error.is_none() {
            tracing::info!("the disk has room again");
        }
        self.member.set_full(full);
        self.life = self.life.wrapping_add(1);
        // What the last batch said of contacts may not have got through.
        let gone = self.member.kin().filter(|node| !self.contacts.contains(node)).map(Input::Disconnected);
        self.local = gone.chain(self.contacts.iter().map(|node| Input::Connected(*node))).collect();
        true
    }

    /// Pauses what writes. Each time that the disk is full soon again the pause grows.
    fn disk_is_full(&mut self) {
        let pause = match self.full {
            Full::Until { pause, .. } => pause,
            Full::Not { since, pause } => {
                tracing::error!("the disk is full: make room; until then nothing is written");
                if since.is_some_and(|since| since.elapsed() < FULL_AGAIN) { pause } else { FULL_PAUSE }
            }
        };
        self.full = Full::Until { until: Instant::now() + pause, pause };
    }

    /// Answers everybody who waits; subscribers see their streams end.
    #[expect(clippy::iter_over_hash_type, reason = "all get the same answer, in whichever order")]
    fn refuse_all(&mut self, code: Code) {
        for (_, Client { answer, writes }) in self.clients.drain() {
            let code = if writes { code } else { Code::Failed };
            let _ = answer.send(Answer::refused(now().as_millis(), code));
        }
        for (_, answer) in self.nodes.drain() {
            let _ = answer.send(SwarmAnswer::Refused { code });
        }
        self.subscribers.clear();
        self.local.clear();
    }

    /// Reopens the store, however often that takes; whoever asks meanwhile is turned away at once.
    /// False when the thread is to end.
    async fn reopen(&mut self, source: &mut Source) -> bool {
        let (mut pause, mut jobs, mut tries) = (REOPEN_PAUSE, Vec::new(), 0_u64);
        while let Err(error) = self.store.reopen() {
            tries += 1;
            if tries == 1 {
                tracing::error!(error = &error as &dyn Error, "the store does not open; trying again");
            }
            let until = Instant::now() + pause;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                if !source.wait(left, &mut jobs).await {
                    return false;
                }
                jobs.drain(..).for_each(|job| self.turn_away(job));
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
        if tries > 0 {
            tracing::info!(tries, "the store is open again");
        }
        true
    }

    /// Deals with a job while there is no store.
    fn turn_away(&mut self, job: Job) {
        let code = Code::NotReady;
        match job {
            Job::Request { answer, .. } => {
                let _ = answer.send(Answer::refused(now().as_millis(), code));
            }
            Job::Asked { answer, .. } => {
                let _ = answer.send(SwarmAnswer::Refused { code });
            }
            Job::Subscribe { answer, .. } => {
                let _ = answer.send(Subscribed::Refused { code });
            }
            Job::Connected(node) => {
                self.contacts.insert(node);
            }
            Job::Disconnected(node) => {
                self.contacts.remove(&node);
            }
            Job::Maps(maps) => self.setup.maps = *maps,
            // Nobody answers: that is what is to be known.
            Job::Inspect(_) | Job::Answered { .. } | Job::Unsubscribe { .. } | Job::Pushed { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
