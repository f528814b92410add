//! All nodes at once: what each says of itself, in a snapshot that more than two thirds have signed.
//!
//! Any node may hand it out, as nothing in it is taken on that node's word. The first one is fetched
//! whole, later ones as changes of the one before. Who fetches the whole list tells nobody which node
//! it is about to use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use session_chain::network::NetworkFile;
use session_protocols::{
    Protocol, Time,
    directory::{
        Answer, Distrust, Download, DownloadError, Found, Progress, Request, Snapshot, Timing, Trusted,
    },
};
use tokio::time::timeout;

use crate::{
    client::{Client, Inner},
    error::ClientError,
};

/// Nodes that are asked, one after the other.
const ASKED: usize = 5;

/// Why no node gave a snapshot that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// No node answered.
    #[error("no node answers")]
    Silent,
    /// Those which answered have none so far, or speak an older protocol.
    #[error("no node has a signed list of nodes")]
    Unknown,
    /// What was fetched is no snapshot.
    #[error("a node gave a list of nodes that cannot be believed")]
    Download(#[from] DownloadError),
    /// It is a snapshot, and not to be believed.
    #[error("a node gave a list of nodes that cannot be used")]
    Distrust(#[from] Distrust),
}

/// The newest snapshot that was believed.
pub(crate) struct Snapshots {
    trusted: Mutex<Trusted>,
    /// Held by whoever fetches, so that nobody fetches the same.
    fetching: tokio::sync::Mutex<()>,
}

impl Snapshots {
    /// Trusts the members that the network file names.
    pub(crate) fn new(file: &NetworkFile) -> Self {
        let members = file.nodes.iter().map(|node| (node.id, node.prefix)).collect();
        let trusted = Trusted::new(file.name.clone(), Timing::of(file.local), members);
        Self { trusted: Mutex::new(trusted), fetching: tokio::sync::Mutex::default() }
    }

    /// The newest one that was fetched, if it can still be used.
    pub(crate) fn known(&self, now: Time) -> Option<Arc<Snapshot>> {
        self.trusted().snapshot(now).cloned()
    }

    /// Fetches the newest one from whoever `ask` asks, unless the one that is known is as new.
    pub(crate) async fn refresh(
        &self,
        now: Time,
        ask: impl AsyncFn(Request) -> Option<Answer>,
    ) -> Result<(), DirectoryError> {
        if !self.trusted().is_behind(now) {
            return Ok(());
        }
        let download = self.trusted().download();
        let found = fetch(download, ask).await?;
        match self.trusted().believe(now, found) {
            // Nobody has a newer one: what is known goes on.
            Err(Distrust::NotNewer) => Ok(()),
            other => Ok(other?),
        }
    }

    fn trusted(&self) -> MutexGuard<'_, Trusted> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for page after page.
async fn fetch(
    mut download: Download,
    ask: impl AsyncFn(Request) -> Option<Answer>,
) -> Result<Found, DirectoryError> {
    loop {
        let page = match ask(download.request()).await.ok_or(DirectoryError::Silent)? {
            Answer::Snapshot(page) => page,
            Answer::Records { .. } | Answer::Unknown => return Err(DirectoryError::Unknown),
        };
        match download.take(page)? {
            Progress::More(more) => download = more,
            Progress::Whole(found) => return Ok(found),
        }
    }
}

impl Client {
    /// What each node says of itself: where it is reached, how onion packets enter it. The newest
    /// snapshot that more than two thirds of the network's nodes have signed, fetched if a newer one is
    /// due; at most 24 hours old.
    ///
    /// # Errors
    /// When none is known that can be used, and no node gives one.
    pub async fn directory(&self) -> Result<Arc<Snapshot>, ClientError> {
        self.inner.directory().await.map_err(|cause| ClientError::Directory { cause })
    }
}

impl Inner {
    async fn directory(&self) -> Result<Arc<Snapshot>, DirectoryError> {
        let _one = self.snapshots.fetching.lock().await;
        let now = self.clock.now();
        let nodes: Vec<_> = self.links.addresses().nodes().collect();
        let mut failed = DirectoryError::Silent;
        for node in self.order(&nodes, Protocol::Storage).into_iter().take(ASKED) {
            let Some((peer, addresses)) = self.links.addresses().of(&node) else { continue };
            let connection = self.links.connection();
            let ask = async |request| {
                let dialled = timeout(self.options.connect, connection.dial(peer, addresses.clone())).await;
                if dialled == Ok(true) { connection.records(peer, request).await } else { None }
            };
            match self.snapshots.refresh(now, ask).await {
                Ok(()) => break,
                // What a node says tells more than silence.
                Err(DirectoryError::Silent) => {}
                Err(error) => failed = error,
            }
        }
        self.snapshots.known(now).ok_or(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use session_chain::{NetworkNode, Operator};
    use session_protocols::{
        KeyPair,
        directory::{
            Certificate, Members, NodeRecord, OnionDoor, Vote,
            snapshot::{Entry, MAX_AGE},
        },
    };

    use super::*;

    const PERIOD: u64 = 340_000_000;

    struct World {
        file: NetworkFile,
        pairs: BTreeMap<session_protocols::NodeId, KeyPair>,
    }

    impl World {
        fn new() -> Self {
            let pairs: Vec<_> = (1..=4).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
            let node = |(number, pair): (u8, &KeyPair)| NetworkNode {
                id: pair.node_id(),
                operator: Operator::from_bytes([number; 20]),
                prefix: "127.0.1.0/24".parse().unwrap(),
                addresses: Vec::new(),
            };
            let nodes = (1..).zip(&pairs).map(node).collect();
            let file = NetworkFile {
                name: "test".parse().unwrap(),
                local: true,
                seed: [0; 32],
                nodes,
                settlement: None,
            };
            Self { file, pairs: pairs.into_iter().map(|pair| (pair.node_id(), pair)).collect() }
        }

        /// The snapshot of a period in which one more node has spoken again.
        fn snapshot(&self, period: u64) -> Snapshot {
            let border = Timing::LOCAL.border(period).as_millis();
            let entry = |(at, pair): (u64, &KeyPair)| {
                let record = NodeRecord {
                    node: pair.node_id(),
                    time: if at == 0 { border } else { Timing::LOCAL.border(PERIOD).as_millis() },
                    height: 0,
                    border: [0; 32].into(),
                    endpoints: vec!["/ip4/127.0.1.1/tcp/9".parse().unwrap()],
                    onion: OnionDoor { day: 1, key: [9; 32].into(), aes: true },
                    version: "1".into(),
                };
                let signed = record.sign(&self.file.name, pair);
                (record.node, Arc::new(Entry::new(record, signed)))
            };
            Snapshot::new(&self.file.name, period, (0..).zip(self.pairs.values()).map(entry).collect())
        }

        fn certify(&self, snapshot: &Snapshot, signers: usize) -> Certificate {
            let prefixes = self.file.nodes.iter().map(|node| (node.id, node.prefix)).collect();
            let members = Members::new(&self.file.name, prefixes).id();
            let vote =
                Vote { period: snapshot.period(), hash: snapshot.hash().into(), members: members.into() };
            let signed = self.pairs.values().map(|pair| vote.sign(&self.file.name, pair).signature);
            Certificate { signatures: (0..).zip(signed.take(signers)).collect() }
        }

        /// Somebody who has these two, the second certified by so many.
        fn page(&self, old: u64, new: u64, signers: usize, request: &Request) -> Option<Answer> {
            let (old, new) = (self.snapshot(old), self.snapshot(new));
            let certificate = self.certify(&new, signers);
            let Request::Snapshot { have, from, .. } = request else { return None };
            let base = have.filter(|have| **have == old.hash()).map(|_| &old);
            Some(Answer::Snapshot(new.page(base, Some(&certificate), *from)))
        }
    }

    fn now(period: u64) -> Time {
        Timing::LOCAL.border(period + 1)
    }

    #[tokio::test]
    async fn a_snapshot_is_fetched_whole_and_then_by_its_changes() {
        let world = World::new();
        let snapshots = Snapshots::new(&world.file);
        assert!(snapshots.known(now(PERIOD)).is_none());
        let first = async |request| world.page(0, PERIOD, 3, &request);
        snapshots.refresh(now(PERIOD), first).await.unwrap();
        assert_eq!(snapshots.known(now(PERIOD)).unwrap().entries().len(), 4);
        // What is not due is not asked for.
        snapshots.refresh(now(PERIOD), async |_| panic!("asked")).await.unwrap();
        let second = async |request| {
            let answer = world.page(PERIOD, PERIOD + 1, 3, &request);
            let Some(Answer::Snapshot(page)) = &answer else { panic!("{answer:?}") };
            assert_eq!((page.base.is_some(), page.changes.len()), (true, 1));
            answer
        };
        snapshots.refresh(now(PERIOD + 1), second).await.unwrap();
        let known = snapshots.known(now(PERIOD + 1)).unwrap();
        assert_eq!(known.hash(), world.snapshot(PERIOD + 1).hash());
        assert!(snapshots.known(now(PERIOD + 1).after(MAX_AGE)).is_none(), "too old to be used");
    }

    #[tokio::test]
    async fn what_cannot_be_believed_changes_nothing() {
        let world = World::new();
        let snapshots = Snapshots::new(&world.file);
        let few = async |request| world.page(0, PERIOD, 2, &request);
        let refused = snapshots.refresh(now(PERIOD), few).await;
        let expected = DownloadError::Certificate(Distrust::Signatures { found: 2, needed: 3 });
        assert_eq!(refused, Err(expected.into()));
        let old = async |request| world.page(0, PERIOD, 3, &request);
        let refused = snapshots.refresh(now(PERIOD).after(MAX_AGE), old).await;
        assert_eq!(refused, Err(Distrust::Old { hours: 24 }.into()));
        let unknown = snapshots.refresh(now(PERIOD), async |_| Some(Answer::Unknown)).await;
        assert_eq!(unknown, Err(DirectoryError::Unknown));
        assert_eq!(snapshots.refresh(now(PERIOD), async |_| None).await, Err(DirectoryError::Silent));
        assert!(snapshots.known(now(PERIOD)).is_none());
    }
}
