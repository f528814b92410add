//! The thread over a disk that fails: whoever waits is told, what was acknowledged is there, and what
//! can be read is read.

use std::{collections::BTreeSet, sync::Arc};

use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace, Signature, SwarmId, SwarmMap,
    answer::RULES,
    mailbox::Limits,
    request::{Auth, Delete, Door, Form, Retrieve, Store, Which},
};
use session_storage::{
    Options,
    faulty::{Fault, FaultyDisk},
};

use super::*;

/// Longer than anything here takes; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    disk: FaultyDisk,
    jobs: mpsc::Sender<Job>,
    stop: watch::Sender<bool>,
    running: Running,
    metrics: Metrics,
    owner: KeyPair,
}

fn pair(number: u8) -> KeyPair {
    KeyPair::from_seed(&[number; 32])
}

impl World {
    /// A member in a swarm of so many, of which it is the only one that lives.
    fn start(members: u8, carry: impl Fn(Exchange) + Send + 'static) -> Self {
        let disk = FaultyDisk::new();
        let options = Options { overlay_bytes: 1 << 20, ..Options::default() };
        let store = MessageStore::open_on(Arc::new(disk.clone()), options).unwrap();
        let mut nodes: Vec<_> = (1..=members).map(|number| pair(number).node_id()).collect();
        nodes.sort();
        let map = SwarmMap { version: 1, swarms: [(SwarmId(0), nodes)].into() };
        let network = "test".parse().unwrap();
        let setup = Setup {
            network,
            pair: pair(1),
            maps: map.into(),
            limits: Limits::default(),
            version: String::new(),
            rules: RULES,
        };
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (stop, stopping) = watch::channel(false);
        let metrics = Metrics::new().unwrap();
        let running = start(setup, store, metrics.clone(), queue, stopping, carry, || 0).unwrap();
        Self { disk, jobs, stop, running, metrics, owner: pair(200) }
    }

    fn account(&self) -> AccountId {
        AccountId::of_person(&self.owner.public()).unwrap()
    }

    async fn ask(&self, request: Request) -> Option<Body> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Request { request, door: Door::Native, answer, place: None }).await.unwrap();
        let answered = tokio::time::timeout(PATIENCE, answered).await.expect("in time");
        answered.ok().map(|answer| answer.body)
    }

    /// Stores a message of so many bytes; its hash, or the code of the refusal.
    async fn store(&self, number: u32, size: usize) -> Result<MessageHash, Code> {
        let (account, timestamp) = (self.account(), now().as_millis());
        let mut data = number.to_be_bytes().to_vec();
        data.resize(size, 7);
        let (namespace, expiry) = (Namespace::INBOX, timestamp + 3_600_000);
        let request = Store { account, namespace, timestamp, expiry, data: data.into(), auth: None };
        let hash = request.hash();
        match self.ask(Request::Store(request)).await {
            Some(Body::Stored { .. }) => Ok(hash),
            Some(Body::Refused(refusal)) => Err(refusal.code),
            other => panic!("{other:?}"),
        }
    }

    async fn inbox(&self) -> BTreeSet<MessageHash> {
        let (mut found, mut after) = (BTreeSet::new(), None);
        loop {
            let auth = None;
            let (account, namespace) = (self.account(), Namespace::INBOX);
            let request = Retrieve {
                account,
                namespace,
                after,
                last: None,
                max_count: None,
                max_size: None,
                ids: None,
                auth,
            };
            match self.ask(Request::Retrieve(request)).await {
                Some(Body::Messages { messages, more, cursor }) => {
                    found.extend(messages.iter().map(|message| message.hash));
                    after = Some(cursor);
                    if !more {
                        return found;
                    }
                }
                other => panic!("not served: {other:?}"),
            }
        }
    }

    async fn stop(mut self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.running.ended()).await.expect("it ends");
        assert!(self.running.ended_well());
    }
}

#[tokio::test]
async fn a_commit_that_fails_is_refused_and_what_was_acknowledged_is_there() {
    let world = World::start(1, |_| {});
    let mut acknowledged = BTreeSet::from([world.store(0, 500).await.unwrap()]);
    for (round, fault) in (1..).zip([Fault::Error, Fault::Half, Fault::Error, Fault::Half]) {
        world.disk.fail(world.disk.operations() + u64::from(round) % 3, fault);
        let mut number = round * 100;
        let code = loop {
            match world.store(number, 500).await {
                Ok(hash) => acknowledged.insert(hash),
                Err(code) => break code,
            };
            number += 1;
        };
        assert_eq!(code, Code::Failed, "it says so, and does not keep silent");
        // What was refused may be there all the same, and may be asked for again.
        acknowledged.insert(world.store(number, 500).await.unwrap());
        assert!(world.inbox().await.is_superset(&acknowledged));
        assert_eq!(world.metrics.store_failures_total.get(), u64::from(round));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_is_read_until_there_is_room() {
    let world = World::start(1, |_| {});
    world.store(0, 500).await.unwrap();
    world.disk.set_capacity(Some(world.disk.len() + 900_000));
    let mut acknowledged = BTreeSet::new();
    let code = loop {
        match world.store(1 + acknowledged.len() as u32, 60_000).await {
            Ok(hash) => acknowledged.insert(hash),
            Err(code) => break code,
        };
    };
    assert_eq!(code, Code::Full);
    let failures = world.metrics.store_failures_total.get();
    for number in 0..50 {
        assert_eq!(world.store(1_000 + number, 60_000).await, Err(Code::Full));
        assert!(world.inbox().await.is_superset(&acknowledged), "reading goes on");
        let inspection = inspect(&world.jobs).await.unwrap();
        assert!(inspection.ready && inspection.full, "{inspection:?}");
    }
    assert_eq!(world.metrics.store_failures_total.get(), failures, "no commit is tried for nothing");
    let (account, hashes) = (world.account(), vec![MessageHash([1; 32])]);
    let auth = Auth {
        key: None,
        time: now().as_millis(),
        signature: Signature([0; 64]),
        subaccount: None,
        form: Form::Statement,
    };
    let (which, required) = (Which::Hashes(hashes), false);
    let refused = world.ask(Request::Delete(Delete { account, which, required, auth })).await;
    assert!(matches!(refused, Some(Body::Refused(refusal)) if refusal.code == Code::Full));
    world.disk.set_capacity(None);
    let deadline = Instant::now() + PATIENCE;
    let hash = loop {
        match world.store(2_000, 60_000).await {
            Ok(hash) => break hash,
            Err(code) => assert!(code == Code::Full && Instant::now() < deadline, "{code:?}"),
        }
    };
    acknowledged.insert(hash);
    assert!(world.inbox().await.is_superset(&acknowledged));
    assert!(!inspect(&world.jobs).await.unwrap().full);
    world.stop().await;
}

#[tokio::test]
async fn a_store_that_does_not_open_holds_up_nobody_and_not_the_end() {
    let world = World::start(1, |_| {});
    world.store(0, 500).await.unwrap();
    world.disk.power_off();
    assert_eq!(world.store(1, 500).await, Err(Code::Failed));
    assert_eq!(world.store(2, 500).await, Err(Code::NotReady));
    assert!(inspect(&world.jobs).await.is_none(), "nobody can say how things are");
    world.stop().await;
}

#[tokio::test]
async fn a_thread_that_panics_is_noticed_at_once() {
    let mut world = World::start(2, |_| panic!("on purpose"));
    world.jobs.send(Job::Connected(pair(2).node_id())).await.unwrap();
    tokio::time::timeout(PATIENCE, world.running.ended()).await.expect("it is noticed");
    assert!(!world.running.ended_well());
}
