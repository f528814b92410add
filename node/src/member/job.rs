//! What the thread is asked to do, and what it asks others.

use std::time::Duration;

use session_protocols::{
    Maps, NodeId, SwarmId,
    answer::{Answer, Subject},
    member::{CheckedAnswer, CheckedAsk},
    notify::{Event, Subscribed},
    request::{Cursor, Door, Request, Retrieve},
    swarm::{SwarmAnswer, SwarmRequest},
};
use tokio::sync::{mpsc, oneshot};

use crate::door::{Caller, Turn};

/// What the thread is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Answer a client; its request was checked.
    Request {
        request: Request,
        door: Door,
        answer: oneshot::Sender<Answer>,
        /// The place in the queue of a client of the JSON door, which has a share.
        place: Option<Turn<Caller>>,
    },
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
    /// Go by these maps from now on.
    Maps(Box<Maps>),
    /// Say how things are.
    Inspect(oneshot::Sender<Inspection>),
}

/// How things are with a member.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    pub(crate) swarm: Option<SwarmId>,
    pub(crate) ready: bool,
    /// How many other members it is caught up with.
    pub(crate) current: usize,
    pub(crate) members: usize,
    /// Messages kept; no tombstones.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) subscriptions: usize,
    /// It may still keep what other swarms keep since the map changed.
    pub(crate) handing_over: bool,
    /// The disk is full: nothing is written.
    pub(crate) full: bool,
    /// BLAKE2b-256 over the fingerprints of all buckets: equal at members that hold the same.
    pub(crate) fingerprint: [u8; 32],
}

/// How long somebody who asks how things are waits at most.
const INSPECT: Duration = Duration::from_secs(2);

/// Asks how things are; none when the thread does not answer in time.
pub(crate) async fn inspect(jobs: &mpsc::Sender<Job>) -> Option<Inspection> {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        jobs.send(Job::Inspect(answer)).await.ok()?;
        answered.await.ok()
    };
    tokio::time::timeout(INSPECT, asked).await.ok().flatten()
}

/// A question for another member that the links carry.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Named in the report.
    pub(crate) number: u64,
    pub(crate) to: NodeId,
    pub(crate) request: SwarmRequest,
    pub(crate) subjects: Vec<Subject>,
}
