//! Node records, shares and snapshots whose signatures wait to be checked, and the worker thread that
//! checks them.
//!
//! One batch is checked at a time, off the task that owns libp2p; what arrives meanwhile waits here,
//! bounded in number and in bytes, so that load makes batches larger.

use std::{collections::VecDeque, future};

use libp2p::PeerId;
use session_protocols::{
    NetworkName, NodeId, codec,
    directory::{
        Change, Download, DownloadError, MAX_RECORD, MAX_SHARE, NodeRecord, Page, Progress, Share,
        SignedRecord,
    },
};
use tokio::task::JoinHandle;

/// Things that may wait to be checked.
pub(crate) const MAX_WAITING: usize = 1_024;
/// The bytes of what may wait to be checked.
pub(crate) const MAX_WAITING_BYTES: usize = 8 << 20;
/// Things that are checked in one go.
const BATCH: usize = 64;
/// Pages of one node's directory that are read after each other; what follows is left.
const MAX_PAGES: usize = 64;

/// A record whose signature was found good, and what was signed.
pub(crate) type Opened = (NodeRecord, SignedRecord);

/// What arrived.
#[derive(Debug)]
pub(crate) enum Unchecked {
    /// A gossip message of this number.
    Gossip { message: u64, data: Vec<u8> },
    /// A page of a node's directory.
    Page { asked: Asked, records: Vec<SignedRecord>, more: bool },
    /// A gossiped share.
    Share { message: u64, data: Vec<u8> },
    /// A page of a snapshot.
    Snapshot { from: PeerId, download: Box<Download>, page: Box<Page> },
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Checked {
    /// Nothing was found in the gossip message where none.
    Gossip { message: u64, opened: Option<Opened> },
    /// The good records of a page, how many others there were, and what to ask next.
    Page { opened: Vec<Opened>, bad: usize, next: Option<Asked> },
    /// Nothing was found in the gossip message where none.
    Share { message: u64, share: Option<Share> },
    /// How far the snapshot that was wanted is.
    Snapshot { from: PeerId, wanted: Option<[u8; 32]>, progress: Result<Progress, DownloadError> },
}

/// A question for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whom.
    pub(crate) peer: PeerId,
    /// From which node on; from the first if none.
    pub(crate) after: Option<NodeId>,
    /// How many pages came before.
    pub(crate) earlier: usize,
}

impl Asked {
    /// A question for the first page.
    pub(crate) const fn first(peer: PeerId) -> Self {
        Self { peer, after: None, earlier: 0 }
    }

    /// The question for the page after one that ended at `last`: none at the end, at the limit, or when
    /// that page led nowhere.
    fn next(self, last: Option<NodeId>, more: bool) -> Option<Self> {
        let earlier = self.earlier.saturating_add(1);
        let onwards = last > self.after && earlier < MAX_PAGES;
        (more && onwards).then_some(Self { after: last, earlier, ..self })
    }
}

/// The queue and its worker.
#[derive(Debug)]
pub(crate) struct Checks {
    network: NetworkName,
    waiting: VecDeque<Unchecked>,
    bytes: usize,
    running: Option<JoinHandle<Vec<Checked>>>,
}

impl Checks {
    pub(crate) const fn new(network: NetworkName) -> Self {
        Self { network, waiting: VecDeque::new(), bytes: 0, running: None }
    }

    /// Takes something in; false when too much waits.
    pub(crate) fn offer(&mut self, one: Unchecked) -> bool {
        let bytes = self.bytes.saturating_add(size(&one));
        if self.waiting.len() >= MAX_WAITING || bytes > MAX_WAITING_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.waiting.push_back(one);
        true
    }

    /// The results of the next batch; waits while there is nothing to check. It may be dropped and
    /// called again: nothing is lost.
    pub(crate) async fn next(&mut self) -> Vec<Checked> {
        if self.running.is_none() {
            let count = self.waiting.len().min(BATCH);
            let batch: Vec<_> = self.waiting.drain(..count).collect();
            self.bytes = self.bytes.saturating_sub(batch.iter().map(size).sum());
            if !batch.is_empty() {
                let network = self.network.clone();
                let check = move || batch.into_iter().map(|one| check(&network, one)).collect();
                self.running = Some(tokio::task::spawn_blocking(check));
            }
        }
        let Some(running) = self.running.as_mut() else { return future::pending().await };
        let checked = running.await;
        self.running = None;
        checked.unwrap_or_default()
    }
}

fn size(one: &Unchecked) -> usize {
    match one {
        Unchecked::Gossip { data, .. } | Unchecked::Share { data, .. } => data.len(),
        Unchecked::Snapshot { page, .. } => page.changes.iter().map(Change::size).sum(),
        Unchecked::Page { records, .. } => records.iter().map(|signed| signed.record.len()).sum(),
    }
}

fn check(network: &NetworkName, one: Unchecked) -> Checked {
    match one {
        Unchecked::Gossip { message, data } => {
            let signed = codec::decode::<SignedRecord>(&data, MAX_RECORD).ok();
            let opened = signed.and_then(|signed| Some((signed.open(network)?, signed)));
            Checked::Gossip { message, opened }
        }
        Unchecked::Page { asked, records, more } => {
            let all = records.len();
            let open = |signed: SignedRecord| Some((signed.open(network)?, signed));
            let opened: Vec<_> = records.into_iter().filter_map(open).collect();
            let last = opened.iter().map(|(record, _)| record.node).max();
            Checked::Page { bad: all.saturating_sub(opened.len()), next: asked.next(last, more), opened }
        }
        Unchecked::Share { message, data } => {
            let share = codec::decode::<Share>(&data, MAX_SHARE).ok();
            Checked::Share { message, share: share.filter(|share| share.verify(network)) }
        }
        Unchecked::Snapshot { from, download, page } => {
            Checked::Snapshot { from, wanted: download.wanted(), progress: download.take(*page) }
        }
    }
}

#[cfg(test)]
mod tests {
    use session_protocols::{KeyPair, directory::OnionDoor};

    use super::*;

    fn network() -> NetworkName {
        "test".parse().unwrap()
    }

    fn signed(seed: u8) -> SignedRecord {
        let pair = KeyPair::from_seed(&[seed; 32]);
        let record = NodeRecord {
            node: pair.node_id(),
            time: 1,
            height: 0,
            border: [0; 32].into(),
            endpoints: vec!["/ip4/127.0.1.1/tcp/9".parse().unwrap()],
            onion: OnionDoor { day: 1, key: [9; 32].into(), aes: true },
            version: "1".into(),
            door: None,
        };
        record.sign(&network(), &pair)
    }

    #[tokio::test]
    async fn pages_are_followed_to_their_end_and_not_in_circles() {
        let mut checks = Checks::new(network());
        let asked = Asked::first(PeerId::random());
        let mut page = async |asked, records, more| {
            assert!(checks.offer(Unchecked::Page { asked, records, more }));
            let Some(Checked::Page { opened, bad, next }) = checks.next().await.pop() else { panic!() };
            (opened.len(), bad, next)
        };
        let (opened, bad, next) = page(asked, vec![signed(1), signed(2)], true).await;
        let last = [1, 2].map(|seed| KeyPair::from_seed(&[seed; 32]).node_id()).into_iter().max();
        let second = Asked { after: last, earlier: 1, ..asked };
        assert_eq!((opened, bad, next), (2, 0, Some(second)));
        assert_eq!(page(second, vec![signed(1), signed(2)], true).await, (2, 0, None), "the same again");
        assert_eq!(page(second, Vec::new(), true).await, (0, 0, None), "nothing new");
        assert_eq!(page(asked, vec![signed(1)], false).await, (1, 0, None), "the end");
        let endless = Asked { earlier: MAX_PAGES - 1, ..asked };
        assert_eq!(page(endless, vec![signed(1)], true).await, (1, 0, None), "enough");
        let mut forged = signed(1);
        forged.signature = signed(2).signature;
        assert_eq!(page(asked, vec![forged, signed(2)], false).await, (1, 1, None), "one is forged");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_number_and_in_bytes() {
        let mut checks = Checks::new(network());
        let gossip = |len| Unchecked::Gossip { message: 0, data: vec![0; len] };
        let taken = (0..2 * MAX_WAITING).filter(|_| checks.offer(gossip(1))).count();
        assert_eq!(taken, MAX_WAITING);
        let mut checks = Checks::new(network());
        let large = MAX_WAITING_BYTES / 4;
        assert_eq!((0..9).filter(|_| checks.offer(gossip(large))).count(), 4);
        // Once they are taken up there is room again.
        assert_eq!(checks.next().await.len(), 4);
        assert!(checks.offer(gossip(large)));
    }

    #[test]
    fn a_batch_that_nobody_waited_for_is_not_lost() {
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let mut checks = Checks::new(network());
            let data = codec::encode(&signed(1));
            assert!(checks.offer(Unchecked::Gossip { message: 7, data }));
            // The only worker is busy for as long as this test likes.
            let (release, released) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || released.recv());
            {
                let mut next = std::pin::pin!(checks.next());
                assert!(futures::poll!(&mut next).is_pending());
            }
            drop(release);
            let found = checks.next().await;
            assert!(matches!(found[..], [Checked::Gossip { message: 7, opened: Some(_) }]), "{found:?}");
            let _ = busy.await;
        });
    }
}
