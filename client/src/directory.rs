//! All nodes at once: what each says of itself, in a snapshot that more than two thirds have signed.
//!
//! Any node may hand it out, as nothing in it is taken on that node's word. The first one is fetched
//! whole, later ones as changes of the one before. Who fetches the whole list tells nobody which node
//! it is about to use.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use session_chain::{light, network::NetworkFile};
use session_protocols::{
    NodeId, Time,
    directory::{
        Answer, Distrust, Download, DownloadError, Found, OnionDoor, Progress, Request, Snapshot, Timing,
        Trusted, checkpoint::PageError,
    },
};

use crate::{client::Client, error::ClientError, kept::Kept, membership::Membership};

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
    /// Those which answered have no checkpoint so far that says who is a node.
    #[error("no node has a signed checkpoint")]
    Uncertain,
    /// What is known of the nodes is of a time whose nodes may have nothing to lose any more: nobody is asked.
    #[error("what this device knows of the network's nodes is too old")]
    Outdated(#[source] light::Distrust),
    /// What was fetched is no checkpoint.
    #[error("a node gave a checkpoint that cannot be read")]
    Pages(#[from] PageError),
    /// It is a checkpoint, and not to be believed.
    #[error("a node gave a checkpoint that cannot be believed")]
    Checkpoint(#[from] light::Distrust),
    /// What was fetched is no snapshot.
    #[error("a node gave a list of nodes that cannot be believed")]
    Download(#[from] DownloadError),
    /// It is a snapshot, and not to be believed.
    #[error("a node gave a list of nodes that cannot be used")]
    Distrust(#[from] Distrust),
}

/// The newest snapshot that was believed, and where it is kept.
pub(crate) struct Snapshots {
    timing: Timing,
    members: Arc<Membership>,
    trusted: Mutex<Trusted>,
    kept: Kept,
}

impl Snapshots {
    /// Trusts the members that are known, and what was kept as far as they have signed it.
    pub(crate) fn new(file: &NetworkFile, members: Arc<Membership>, kept: Kept, now: Time) -> Self {
        let named = file.nodes.iter().map(|node| (node.id, node.prefix)).collect();
        let timing = file.timing();
        let mut trusted = Trusted::new(file.name.clone(), timing, named);
        follow(&mut trusted, timing, &members);
        if let Some(bytes) = kept.directory()
            && let Err(error) = trusted.restore(now, &bytes)
        {
            tracing::info!(%error, "the list of nodes is fetched again");
        }
        Self { timing, members, trusted: Mutex::new(trusted), kept }
    }

    /// The newest one that was fetched, if it can still be used.
    pub(crate) fn known(&self, now: Time) -> Option<Arc<Snapshot>> {
        self.trusted().snapshot(now).cloned()
    }

    /// How each member is entered by onion packets, by a snapshot that can be used.
    pub(crate) fn doors(&self, now: Time) -> BTreeMap<NodeId, OnionDoor> {
        self.trusted().records(now).map(|record| (record.node, record.onion)).collect()
    }

    /// The same of one member.
    pub(crate) fn door(&self, now: Time, node: &NodeId) -> Option<OnionDoor> {
        self.trusted().record(now, node).map(|record| record.onion)
    }

    /// Whether there is a newer one, or a newer checkpoint of the members, by the clock.
    pub(crate) fn is_behind(&self, now: Time) -> bool {
        self.trusted().is_behind(now) || self.members.is_behind(now)
    }

    /// Fetches the newest one from whoever `ask` asks, unless the one that is known is as new; before it the
    /// checkpoint that says who has to sign it.
    pub(crate) async fn refresh<F: Future<Output = Option<Answer>>>(
        &self,
        now: Time,
        ask: impl Fn(Request) -> F,
    ) -> Result<(), DirectoryError> {
        if self.members.is_behind(now) {
            self.members.refresh(now, &ask).await?;
            follow(&mut self.trusted(), self.timing, &self.members);
        }
        if !self.trusted().is_behind(now) {
            return Ok(());
        }
        let download = self.trusted().download();
        let found = fetch(download, ask).await?;
        let kept = {
            let mut trusted = self.trusted();
            match trusted.believe(now, found) {
                // Nobody has a newer one: what is known goes on.
                Err(Distrust::NotNewer) => return Ok(()),
                other => other?,
            }
            trusted.encode()
        };
        kept.iter().for_each(|bytes| self.kept.keep_directory(bytes));
        Ok(())
    }

    fn trusted(&self) -> MutexGuard<'_, Trusted> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Trusts those with the next lists whom the newest checkpoint names.
fn follow(trusted: &mut Trusted, timing: Timing, members: &Membership) {
    for (from, members) in members.listed().into_iter().flatten() {
        trusted.replace_members(timing.first(from), members);
    }
}

/// Asks for page after page.
async fn fetch<F: Future<Output = Option<Answer>>>(
    mut download: Download,
    ask: impl Fn(Request) -> F,
) -> Result<Found, DirectoryError> {
    loop {
        let page = match ask(download.request()).await.ok_or(DirectoryError::Silent)? {
            Answer::Snapshot(page) => page,
            Answer::Records { .. } | Answer::Checkpoint(_) | Answer::Unknown => {
                return Err(DirectoryError::Unknown);
            }
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
    /// due; at most 24 hours old. Paths are made of nothing else, but on local networks.
    ///
    /// # Errors
    /// When none is known that can be used, and no node gives one.
    pub async fn directory(&self) -> Result<Arc<Snapshot>, ClientError> {
        let inner = &*self.inner;
        let guards = inner.onion.as_ref().map_or_else(Vec::new, |onion| onion.guards());
        let refreshed = inner.doors.refresh(&guards, false).await;
        let cause = refreshed.err().unwrap_or(DirectoryError::Unknown);
        inner.doors.snapshot().ok_or(ClientError::Directory { cause })
    }
}

#[cfg(test)]
mod tests {
    use session_chain::{NetworkNode, Operator};
    use session_protocols::{
        KeyPair,
        directory::{
            Certificate, Members, NodeRecord, Vote,
            snapshot::{Entry, MAX_AGE},
        },
    };

    use super::*;
    use crate::Home;

    const PERIOD: u64 = 340_000_000;

    struct World {
        file: NetworkFile,
        pairs: BTreeMap<NodeId, KeyPair>,
    }

    impl World {
        fn new() -> Self {
            let pairs: Vec<_> = (1..=4).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
            let node = |(number, pair): (u8, &KeyPair)| NetworkNode {
                id: pair.node_id(),
                operator: Operator::from_bytes([number; 20]),
                prefix: "127.0.1.0/24".parse().unwrap(),
                addresses: Vec::new(),
                door: None,
                bls: None,
            };
            let nodes = (1..).zip(&pairs).map(node).collect();
            let file = NetworkFile {
                name: "test".parse().unwrap(),
                local: true,
                seed: [0; 32],
                faucet: None,
                limits: Default::default(),
                hf: session_protocols::answer::RULES,
                nodes,
                settlement: None,
            };
            Self { file, pairs: pairs.into_iter().map(|pair| (pair.node_id(), pair)).collect() }
        }

        /// What a client with this home knows at first.
        fn snapshots(&self, home: Option<&Home>, period: u64) -> Snapshots {
            let kept = Kept::new(home.cloned(), &self.file);
            let members = Arc::new(Membership::new(&self.file, kept.clone(), now(period)));
            Snapshots::new(&self.file, members, kept, now(period))
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
                    door: None,
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
        let snapshots = world.snapshots(None, PERIOD);
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
        let snapshots = world.snapshots(None, PERIOD);
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

    #[tokio::test]
    async fn it_is_kept_at_home_until_it_is_too_old_and_whatever_is_damaged_is_fetched_again() {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let home = Home::open(folder.path().join("home")).unwrap();
        let page = async |request| world.page(0, PERIOD, 3, &request);
        world.snapshots(Some(&home), PERIOD).refresh(now(PERIOD), page).await.unwrap();
        let again = world.snapshots(Some(&home), PERIOD);
        assert_eq!(again.known(now(PERIOD)).unwrap().hash(), world.snapshot(PERIOD).hash());
        // A later one takes its place, as changes of it.
        let next = async |request| {
            let answer = world.page(PERIOD, PERIOD + 1, 3, &request);
            assert!(matches!(&answer, Some(Answer::Snapshot(page)) if page.base.is_some()), "{answer:?}");
            answer
        };
        again.refresh(now(PERIOD + 1), next).await.unwrap();
        let later = |period| world.snapshots(Some(&home), period);
        assert_eq!(later(PERIOD + 1).known(now(PERIOD + 1)).unwrap().period(), PERIOD + 1);
        let day = MAX_AGE.0 / Timing::LOCAL.period.0;
        assert!(later(PERIOD + 1 + day).known(now(PERIOD + 1 + day)).is_none(), "a day old");

        let path = std::fs::read_dir(home.path().join("directory")).unwrap().next().unwrap().unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        for bytes in [&damaged[..], &whole[..whole.len() / 2], b""] {
            std::fs::write(&path, bytes).unwrap();
            let damaged = later(PERIOD + 1);
            assert!(damaged.known(now(PERIOD + 1)).is_none());
            let page = async |request| world.page(0, PERIOD + 1, 3, &request);
            damaged.refresh(now(PERIOD + 1), page).await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[tokio::test]
    async fn changes_that_do_not_give_what_was_signed_are_refused() {
        let world = World::new();
        let snapshots = world.snapshots(None, PERIOD);
        let first = async |request| world.page(0, PERIOD, 3, &request);
        snapshots.refresh(now(PERIOD), first).await.unwrap();
        let lacking = async |request| {
            let Some(Answer::Snapshot(mut page)) = world.page(PERIOD, PERIOD + 1, 3, &request) else {
                panic!()
            };
            page.changes.clear();
            Some(Answer::Snapshot(page))
        };
        let refused = snapshots.refresh(now(PERIOD + 1), lacking).await;
        assert_eq!(refused, Err(DownloadError::Hash.into()));
        assert_eq!(snapshots.known(now(PERIOD + 1)).unwrap().period(), PERIOD, "what was known goes on");
    }
}
