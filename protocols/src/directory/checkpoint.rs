//! A signed checkpoint as it travels: who is a member and which maps act, for those who follow no chain.
//!
//! What is hashed and signed is the ledger's to say (`session-chain`, `light`); here is its form, and how it
//! is fetched page by page. Nothing in it is to be believed before that has been checked.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::MAX_ANSWER;
use crate::NodeId;

/// Signatures that travel with a checkpoint; more are left out.
pub const MAX_SIGNATURES: usize = 8_192;
/// Members of a checkpoint; one with more is not read.
pub const MAX_MEMBERS: usize = 10_000;
/// The most bytes that a member takes up in a page.
const MEMBER: usize = 288;
/// The most bytes that a signature takes up: 96, two heads and its place.
const SIGNATURE: usize = 104;
/// The most bytes that a seat takes up in a map.
const SEAT: usize = 6;

/// How far the numbered events of one contract had come at the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The number of the last one, 0 before the first.
    pub number: u64,
    /// The contract's rolling hash over them.
    pub hash: ByteArray<32>,
}

/// A swarm map whose seats are places among the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// Its version.
    pub version: u64,
    /// The id of each swarm, ascending, and who sits in it: places among the members, ascending.
    pub swarms: Vec<(u64, Vec<u32>)>,
}

/// A member of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its key.
    pub node: NodeId,
    /// The number of its registration.
    pub registration: u64,
    /// Who runs it: an EVM address.
    pub operator: ByteArray<20>,
    /// Where it declared to stand, as it is written.
    pub prefix: String,
    /// The key that it signs checkpoints with, a point of G1, uncompressed; none once its stake has gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ByteArray<96>>,
    /// Whether it agrees on the directory in the epoch that begins at the border (1), and in the one after
    /// that (2).
    pub lists: u8,
}

/// What was signed, but for the members, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The epoch that ended.
    pub epoch: u64,
    /// The hash of its last block.
    pub block: ByteArray<32>,
    /// The digest of the epoch before.
    pub previous: ByteArray<32>,
    /// Of the contracts of stakes and of checkpoints, of the pool, and of the contract of names.
    pub events: [Events; 4],
    /// The root of lifetime totals.
    pub rewards: ByteArray<32>,
    /// The root of the states of registrations.
    pub states: ByteArray<32>,
    /// The root of the members: what the asker has is asked for by it.
    pub directory: ByteArray<32>,
    /// The root of names.
    pub names: ByteArray<32>,
    /// The map that acts from the border on.
    pub acts: Seats,
    /// The map that acts an epoch later, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seats>,
    /// The places of those who signed, among the members, ascending, and their signatures: compressed points
    /// of G2.
    pub signatures: Vec<(u32, ByteArray<96>)>,
}

/// A checkpoint with all that it takes to check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCheckpoint {
    /// What was signed, and by whom.
    pub head: Head,
    /// The members, in order of their keys.
    pub members: Vec<Member>,
}

/// A part of one as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPage {
    /// The epoch that ended.
    pub epoch: u64,
    /// On the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// The members behind those of the pages before; none if the asker has them.
    pub members: Vec<Member>,
    /// Whether more follow.
    pub more: bool,
}

impl SignedCheckpoint {
    /// A page of it: the members behind the first `from`, or none of them where the asker `has` those with
    /// this root.
    pub fn page(&self, has: Option<&[u8; 32]>, from: u32) -> CheckpointPage {
        let head = (from == 0).then(|| self.head.clone());
        let known = has == Some(&*self.head.directory);
        let room = MAX_ANSWER.saturating_sub(1_024).saturating_sub(head.as_ref().map_or(0, Head::size));
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        let rest = self.members.get(skip..).filter(|_| !known).unwrap_or_default();
        let fits = rest.len().min(room / MEMBER);
        CheckpointPage {
            epoch: self.head.epoch,
            head,
            members: rest.get(..fits).unwrap_or_default().to_vec(),
            more: fits < rest.len(),
        }
    }
}

impl Head {
    /// The most bytes that it takes up.
    fn size(&self) -> usize {
        let seats = |map: &Seats| -> usize {
            map.swarms.iter().map(|(_, seats)| seats.len().saturating_mul(SEAT).saturating_add(16)).sum()
        };
        let maps = seats(&self.acts).saturating_add(self.next.as_ref().map_or(0, seats));
        self.signatures.len().saturating_mul(SIGNATURE).saturating_add(maps).saturating_add(1_024)
    }
}

/// Why pages are no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The pages are of different checkpoints, or begin in the middle.
    #[error("pages of different checkpoints")]
    Other,
    /// More members than a network has, or a page that leads nowhere.
    #[error("pages without end")]
    Endless,
}

/// How far fetching is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// Ask on.
    More(Collection),
    /// That was the last page; without members where those that the asker has are meant.
    Whole(Box<SignedCheckpoint>),
}

/// A checkpoint that is being fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    head: Option<Box<Head>>,
    members: Vec<Member>,
}

impl Collection {
    /// The epoch whose pages have to follow, and how many members they had so far; none before the first.
    pub fn goes_on(&self) -> Option<(u64, u32)> {
        let head = self.head.as_ref()?;
        Some((head.epoch, u32::try_from(self.members.len()).ok()?))
    }

    /// Takes the next page in.
    ///
    /// # Errors
    /// When it is not the next page of this checkpoint.
    pub fn take(mut self, page: CheckpointPage) -> Result<Collected, PageError> {
        let CheckpointPage { epoch, head, members, more } = page;
        let head = match (self.head.take(), head) {
            (None, Some(head)) if head.epoch == epoch => Box::new(head),
            (Some(head), None) if head.epoch == epoch => head,
            _ => return Err(PageError::Other),
        };
        let leads = !more || !members.is_empty();
        self.members.extend(members);
        if !leads || self.members.len() > MAX_MEMBERS {
            return Err(PageError::Endless);
        }
        if more {
            self.head = Some(head);
            return Ok(Collected::More(self));
        }
        Ok(Collected::Whole(Box::new(SignedCheckpoint { head: *head, members: self.members })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    /// One of the largest networks, whose values take up the most.
    fn largest(members: usize) -> SignedCheckpoint {
        let word = || ByteArray::new([0xff; 32]);
        let place = |at: usize| u32::try_from(at).unwrap();
        let seats = Seats {
            version: u64::MAX,
            swarms: (0..members / 5)
                .map(|swarm| (u64::MAX - swarm as u64, (0..5).map(|at| place(members - 5 + at)).collect()))
                .collect(),
        };
        let head = Head {
            epoch: u64::MAX,
            block: word(),
            previous: word(),
            events: [Events { number: u64::MAX, hash: word() }; 4],
            rewards: word(),
            states: word(),
            directory: word(),
            names: word(),
            acts: seats.clone(),
            next: Some(seats),
            signatures: (0..members.min(MAX_SIGNATURES))
                .map(|at| (place(at), ByteArray::new([0xff; 96])))
                .collect(),
        };
        let member = Member {
            node: NodeId::from_bytes([0xff; 32]),
            registration: u64::MAX,
            operator: ByteArray::new([0xff; 20]),
            prefix: "2001:db8:ffff::/48".to_owned(),
            key: Some(ByteArray::new([0xff; 96])),
            lists: 3,
        };
        SignedCheckpoint { head, members: vec![member; members] }
    }

    fn collect(whole: &SignedCheckpoint, has: Option<&[u8; 32]>) -> (SignedCheckpoint, usize) {
        let (mut collection, mut pages) = (Collection::default(), 0);
        loop {
            let from = collection.goes_on().map_or(0, |(_, from)| from);
            let page = whole.page(has, from);
            let bytes = codec::encode(&super::super::Answer::Checkpoint(Box::new(page.clone())));
            assert!(bytes.len() <= MAX_ANSWER, "{} bytes", bytes.len());
            pages += 1;
            match collection.take(page).unwrap() {
                Collected::More(more) => collection = more,
                Collected::Whole(found) => return (*found, pages),
            }
        }
    }

    #[test]
    fn the_largest_network_travels_in_pages_that_fit() {
        let whole = largest(MAX_MEMBERS);
        let (found, pages) = collect(&whole, None);
        assert!(found == whole && pages > 1);
        let root = *whole.head.directory;
        let (found, pages) = collect(&whole, Some(&root));
        assert_eq!((found.members.len(), pages), (0, 1), "who has the members is not sent them again");
        assert_eq!(collect(&largest(2_000), None).1, 1);
    }

    #[test]
    fn pages_that_do_not_follow_are_refused() {
        let whole = largest(MAX_MEMBERS);
        let first = whole.page(None, 0);
        let Ok(Collected::More(begun)) = Collection::default().take(first.clone()) else { panic!() };
        let (_, from) = begun.goes_on().unwrap();
        let next = whole.page(None, from);
        assert_eq!(Collection::default().take(next.clone()), Err(PageError::Other), "from the middle");
        assert_eq!(begun.clone().take(first), Err(PageError::Other), "from the beginning again");
        assert_eq!(begun.clone().take(CheckpointPage { epoch: 1, ..next.clone() }), Err(PageError::Other));
        let empty = CheckpointPage { members: Vec::new(), more: true, ..next.clone() };
        assert_eq!(begun.clone().take(empty), Err(PageError::Endless));
        let all = CheckpointPage { members: whole.members, ..next };
        assert_eq!(begun.take(all), Err(PageError::Endless));
    }
}
