//! How far a mailbox was read.

use session_protocols::{NodeId, codec, request::Cursor};

use crate::home::MAX_CURSOR;

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
}

impl Cursors {
    /// Before the first message.
    pub const fn new() -> Self {
        Self { places: Vec::new() }
    }

    /// Reads what [`Self::to_bytes`] wrote; nothing when the bytes are something else, which
    /// starts over and loses nothing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut places: Vec<(NodeId, Cursor)> = codec::decode(bytes, MAX_CURSOR).ok()?;
        places.truncate(MAX_MEMBERS);
        Some(Self { places })
    }

    /// The bytes to keep, at most [`MAX_CURSOR`]: see [`Home::set_cursor`](crate::Home::set_cursor).
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(&self.places)
    }

    /// Where to go on at a member; none at one that was not read before.
    pub(crate) fn at(&self, node: &NodeId) -> Option<Cursor> {
        self.places.iter().find(|(known, _)| known == node).map(|(_, cursor)| *cursor)
    }

    /// The member that was read last.
    pub(crate) fn last(&self) -> Option<NodeId> {
        self.places.first().map(|(node, _)| *node)
    }

    /// Notes how far a member was read.
    pub(crate) fn set(&mut self, node: NodeId, cursor: Cursor) {
        self.places.retain(|(known, _)| *known != node);
        self.places.insert(0, (node, cursor));
        self.places.truncate(MAX_MEMBERS);
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
