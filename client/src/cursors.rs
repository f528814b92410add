//! How far a mailbox was read.

use std::collections::VecDeque;

use session_protocols::{
    MessageHash, NodeId, codec,
    request::{Cursor, MAX_HASHES},
};

/// The longest form of all places, in bytes.
pub const MAX_CURSOR: usize = 4_096;

/// The most members whose place is kept; the one that was asked least recently gives way.
const MAX_MEMBERS: usize = 16;

/// How far one namespace of one account was read, at each member of its swarm.
///
/// Every member counts arrivals on its own. So the first read at another member may bring messages
/// again, and never leaves one out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// The member that was read last comes first.
    places: Vec<(NodeId, Cursor)>,
    /// What is being fetched by hash; not kept, because who forgets it starts over and loses nothing.
    listing: Option<Listing>,
}

/// Messages of which a member told the hashes, and which are still to be fetched from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) node: NodeId,
    /// Where to go on once all of them are there.
    pub(crate) cursor: Cursor,
    /// Whether more hashes follow after the cursor.
    pub(crate) more: bool,
    pub(crate) lacking: VecDeque<MessageHash>,
}

impl Listing {
    /// The messages to fetch next.
    pub(crate) fn next(&self) -> Vec<MessageHash> {
        self.lacking.iter().take(MAX_HASHES).copied().collect()
    }

    /// Takes the first ones off: they are there, or gone for good.
    pub(crate) fn dealt(&mut self, count: usize) {
        self.lacking.drain(..count.min(self.lacking.len()));
    }
}

impl Cursors {
    /// Before the first message.
    pub const fn new() -> Self {
        Self { places: Vec::new(), listing: None }
    }

    /// Reads what [`Self::to_bytes`] wrote; nothing when the bytes are something else, which
    /// starts over and loses nothing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut places: Vec<(NodeId, Cursor)> = codec::decode(bytes, MAX_CURSOR).ok()?;
        places.truncate(MAX_MEMBERS);
        Some(Self { places, listing: None })
    }

    /// The bytes to keep, at most [`MAX_CURSOR`].
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(&self.places)
    }

    /// Where to go on at a member; none at one that was not read before.
    pub(crate) fn at(&self, node: &NodeId) -> Option<Cursor> {
        self.places.iter().find(|(known, _)| known == node).map(|(_, cursor)| *cursor)
    }

    /// The member that was read last.
    pub(crate) fn last(&self) -> Option<NodeId> {
        let listed = self.listing.as_ref().map(|listing| listing.node);
        listed.or_else(|| self.places.first().map(|(node, _)| *node))
    }

    /// Notes how far a member was read.
    pub(crate) fn set(&mut self, node: NodeId, cursor: Cursor) {
        self.places.retain(|(known, _)| *known != node);
        self.places.insert(0, (node, cursor));
        self.places.truncate(MAX_MEMBERS);
    }

    /// What a member is asked for by hash, if it is.
    pub(crate) fn listing(&self, node: &NodeId) -> Option<&Listing> {
        self.listing.as_ref().filter(|listing| listing.node == *node)
    }

    /// Notes what to fetch by hash. Once that is nothing, the place behind it is kept.
    pub(crate) fn list(&mut self, listing: Option<Listing>) {
        if let Some(done) = listing.as_ref().filter(|listing| listing.lacking.is_empty()) {
            self.set(done.node, done.cursor);
        }
        self.listing = listing.filter(|listing| listing.more || !listing.lacking.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_sixteen_members_fit_and_come_back() {
        let mut cursors = Cursors::new();
        for member in 0..=u8::MAX {
            let cursor = Cursor { incarnation: u64::MAX, sequence: u64::from(member) };
            cursors.set(NodeId::from_bytes([member; 32]), cursor);
        }
        cursors.set(NodeId::from_bytes([250; 32]), Cursor { incarnation: 1, sequence: 2 });
        assert_eq!((cursors.places.len(), cursors.last()), (16, Some(NodeId::from_bytes([250; 32]))));
        assert_eq!(cursors.at(&NodeId::from_bytes([1; 32])), None);
        let bytes = cursors.to_bytes();
        assert!(bytes.len() <= MAX_CURSOR);
        assert_eq!(Cursors::from_bytes(&bytes), Some(cursors));
        assert_eq!(Cursors::from_bytes(b"not a cursor"), None);
    }
}
