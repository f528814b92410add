//! The thread that owns the store and the member machine: commit, then speak.
//!
//! What arrives waits in one bounded queue. The thread drains it into a batch, applies the batch
//! inside one transaction, commits, and only then lets the machine's words out. When a commit fails
//! it reopens the store and makes the machine anew over what is found; whoever waited gets no answer
//! and may repeat.

use std::{
    collections::{BTreeSet, HashMap},
    thread,
    time::{Duration, Instant},
};

use session_protocols::{
    NodeId, SwarmId,
    answer::{Answer, Body},
    identity::blake2b,
    mailbox,
    member::{CheckedAnswer, CheckedAsk, Input, Member, Output, Setup},
    notify::{EVENT_BYTES, EVENT_COUNT, Event, Subscribed},
    request::{Cursor, Request, Retrieve},
    store::Store as _,
    swarm::{SwarmAnswer, SwarmRequest},
};
use session_storage::MessageStore;
use tokio::sync::{mpsc, oneshot};

use crate::{metrics::Metrics, now};

/// Inputs that may wait; beyond it clients are refused, and other nodes wait.
pub(crate) const QUEUE: usize = 1_024;
/// Inputs that one commit takes at most.
const BATCH: usize = 256;
/// The longest sleep between two looks at the clock, so that a stepped clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What the thread is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Answer a client; its request was checked.
    Request { request: Request, answer: oneshot::Sender<Answer> },
    /// Answer another node; its question was checked.
    Asked { from: NodeId, ask: CheckedAsk, answer: oneshot::Sender<SwarmAnswer> },
    /// Take in a member's answer, or that there is none.
    Answered { exchange: u64, answer: Option<CheckedAnswer> },
    /// Serve a subscription; events go out one at a time, each with whether more is waiting.
    Subscribe {
        subscriber: u64,
        retrieve: Retrieve,
        answer: oneshot::Sender<Subscribed>,
        events: mpsc::Sender<(Event, bool)>,
    },
    /// End a subscription.
    Unsubscribe { subscriber: u64 },
    /// An event was taken.
    Pushed { subscriber: u64, cursor: Cursor, more: bool },
    /// A node came into contact.
    Connected(NodeId),
    /// A node went out of contact.
    Disconnected(NodeId),
    /// Say how things are.
    Inspect(oneshot::Sender<Inspection>),
    /// Close the store and end.
    Stop,
}

/// How things are with a member.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    pub(crate) swarm: Option<SwarmId>,
    pub(crate) ready: bool,
    /// How many other members it is caught up with.
    pub(crate) current: usize,
    pub(crate) members: usize,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) subscriptions: usize,
    /// BLAKE2b-256 over the fingerprints of all buckets: equal at members that hold the same.
    pub(crate) fingerprint: [u8; 32],
}

/// A question for another member that the links carry.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Named in the report; none when nobody waits for one.
    pub(crate) number: Option<u64>,
    pub(crate) to: NodeId,
    pub(crate) request: SwarmRequest,
    pub(crate) subjects: Vec<session_protocols::answer::Subject>,
}

/// Starts the thread on a queue of [`QUEUE`] jobs; it ends after [`Job::Stop`], or when nobody can send
/// it jobs any more.
///
/// # Errors
///
/// When the system starts no thread.
pub(crate) fn start(
    setup: Setup,
    store: MessageStore,
    metrics: Metrics,
    queue: mpsc::Receiver<Job>,
    carry: impl Fn(Exchange) + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    let host = Host {
        member: Member::new(setup.clone()),
        setup,
        store,
        metrics,
        carry: Box::new(carry),
        life: 0,
        next_ticket: 0,
        clients: HashMap::new(),
        nodes: HashMap::new(),
        subscribers: HashMap::new(),
        contacts: BTreeSet::new(),
        local: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("member".into()).spawn(move || runtime.block_on(host.run(queue)))
}

/// Exchange numbers carry the machine's life above this many bits.
const LIFE_SHIFT: u32 = 48;

struct Host {
    setup: Setup,
    member: Member,
    store: MessageStore,
    metrics: Metrics,
    carry: Box<dyn Fn(Exchange) + Send>,
    /// How often the machine was made anew: answers to an earlier one are dropped.
    life: u64,
    next_ticket: u64,
    clients: HashMap<u64, oneshot::Sender<Answer>>,
    nodes: HashMap<u64, oneshot::Sender<SwarmAnswer>>,
    subscribers: HashMap<u64, Subscriber>,
    contacts: BTreeSet<NodeId>,
    /// Inputs that this host owes the machine itself.
    local: Vec<Input>,
}

struct Subscriber {
    answer: Option<oneshot::Sender<Subscribed>>,
    events: mpsc::Sender<(Event, bool)>,
}

impl Host {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // What is owed goes first, and the machine's own time comes before more from outside.
            let sleep = if self.local.is_empty() { self.sleep() } else { Duration::ZERO };
            if let Ok(0) = tokio::time::timeout(sleep, queue.recv_many(&mut batch, BATCH)).await {
                return;
            }
            if batch.iter().any(|job| matches!(job, Job::Stop)) {
                return;
            }
            if !self.step(&mut batch) {
                self.start_over().await;
            }
        }
    }

    fn sleep(&self) -> Duration {
        let wait = self.member.deadline().map_or(u64::MAX, |deadline| deadline.since(now()).0);
        Duration::from_micros(wait).min(LONGEST_SLEEP)
    }

    /// Applies a batch, commits it, and lets the outputs out; false when the store failed.
    fn step(&mut self, batch: &mut Vec<Job>) -> bool {
        let started = Instant::now();
        let mut inputs = std::mem::take(&mut self.local);
        let mut inspections = Vec::new();
        for job in batch.drain(..) {
            match self.input(job) {
                Ok(input) => inputs.push(input),
                Err(Some(inspect)) => inspections.push(inspect),
                Err(None) => {}
            }
        }
        if self.member.deadline().is_some_and(|deadline| deadline <= now()) {
            inputs.push(Input::Tick);
        }
        if !inputs.is_empty() {
            self.metrics.batch_inputs.observe(inputs.len() as f64);
            if let Err(error) = self.apply(inputs) {
                tracing::error!(error = &error as &dyn std::error::Error, "the store failed; reopening it");
                self.metrics.store_failures_total.inc();
                return false;
            }
            self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
            while let Some(output) = self.member.poll() {
                self.let_out(output);
            }
        }
        for inspect in inspections {
            let _ = inspect.send(self.inspection());
        }
        self.metrics.ready.set(i64::from(self.member.ready()));
        self.metrics.subscriptions.set(self.member.subscriptions() as i64);
        self.metrics.stored_bytes.set(i64::try_from(self.store.occupied()).unwrap_or(i64::MAX));
        true
    }

    fn apply(&mut self, inputs: Vec<Input>) -> Result<(), session_protocols::store::StoreError> {
        let mut writer = self.store.begin()?;
        let now = now();
        for input in inputs {
            self.member.handle(now, input, &mut writer)?;
        }
        writer.commit()
    }

    /// Turns a job into an input; an inspection waits for the end of the batch.
    fn input(&mut self, job: Job) -> Result<Input, Option<oneshot::Sender<Inspection>>> {
        Ok(match job {
            Job::Request { request, answer } => {
                let ticket = self.ticket();
                self.clients.insert(ticket, answer);
                Input::Request { ticket, request }
            }
            Job::Asked { from, ask, answer } => {
                let ticket = self.ticket();
                self.nodes.insert(ticket, answer);
                Input::Asked { ticket, from, ask }
            }
            Job::Answered { exchange, answer } => {
                let (life, exchange) = (exchange >> LIFE_SHIFT, exchange & ((1 << LIFE_SHIFT) - 1));
                if life != self.life {
                    return Err(None);
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
            Job::Inspect(answer) => return Err(Some(answer)),
            Job::Stop => return Err(None),
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
                    let _ = waiting.send(answer);
                }
            }
            Output::Reply { ticket, answer } => {
                if let Some(waiting) = self.nodes.remove(&ticket) {
                    let _ = waiting.send(answer);
                }
            }
            Output::Send { exchange, to, request, subjects } => {
                let number = Some((self.life << LIFE_SHIFT) | exchange);
                (self.carry)(Exchange { number, to, request, subjects });
            }
            Output::Tell { to, request } => {
                (self.carry)(Exchange { number: None, to, request, subjects: Vec::new() });
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
            records,
            bytes: self.store.occupied(),
            subscriptions: self.member.subscriptions(),
            fingerprint: blake2b(&[&prints]),
        }
    }

    /// Reopens the store and begins again with a machine that knows nothing but the store.
    async fn start_over(&mut self) {
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.store.reopen() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store does not open; trying again"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        self.member = Member::new(self.setup.clone());
        self.life = self.life.wrapping_add(1);
        self.clients.clear();
        self.nodes.clear();
        self.subscribers.clear();
        self.local = self.contacts.iter().map(|node| Input::Connected(*node)).collect();
    }
}
