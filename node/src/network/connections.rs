//! The connections with each peer, and what becomes of a second one.
//!
//! Two nodes that dial each other at once have two connections, and keep both. A second one that comes late
//! has two other causes, and only one side knows which:
//!
//! - A dial that was begun before the two had contact has come through in the end. Whoever dialled has not
//!   begun anew since: it closes the late one.
//! - The other side was killed and came back. It knows of no earlier connection and keeps the late one. Streams
//!   over the dead one would only time out, and gossipsub says what it hears on the first connection alone:
//!   both begin anew.
//!
//! A dial back that one of them asked for comes from a stranger, and is none of these.
//!
//! So whoever was dialled waits a little for the late one to be closed before it begins anew.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use libp2p::{PeerId, swarm::ConnectionId};
use tokio::time::Instant;

/// How long two sides that dial at once may take from the first connection to the second.
const AT_ONCE: Duration = Duration::from_secs(2);
/// The same in a local network, where nobody is far and nodes are killed and started by hand.
const AT_ONCE_LOCAL: Duration = Duration::from_millis(400);
/// How long whoever dialled may take to close a late connection.
const CLOSING: Duration = Duration::from_secs(1);
/// The same in a local network.
const CLOSING_LOCAL: Duration = Duration::from_millis(300);

/// Who dialled a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialled {
    /// This node.
    Here,
    /// The other side.
    There,
}

/// What to do about a connection that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It is the only one with this peer.
    First,
    /// There are others already.
    Beside,
    /// It is late and not needed: close it.
    Surplus,
}

/// The connections that stand.
#[derive(Debug)]
pub(super) struct Connections {
    at_once: Duration,
    closing: Duration,
    peers: HashMap<PeerId, Vec<(ConnectionId, Instant)>>,
    /// Late ones that the peer may yet close, and until when.
    late: BTreeMap<ConnectionId, (PeerId, Instant)>,
}

impl Connections {
    /// None stand, in a network that is all on one machine if it is `local`.
    pub(super) fn new(local: bool) -> Self {
        let (at_once, closing) = if local { (AT_ONCE_LOCAL, CLOSING_LOCAL) } else { (AT_ONCE, CLOSING) };
        Self { at_once, closing, peers: HashMap::new(), late: BTreeMap::new() }
    }

    /// Takes note of a connection with a peer that this node `dialled`, or was dialled by.
    pub(super) fn opened(
        &mut self,
        now: Instant,
        peer: PeerId,
        id: ConnectionId,
        dialled: Dialled,
    ) -> Opened {
        let standing = self.peers.entry(peer).or_default();
        let first = standing.iter().map(|(_, since)| *since).min();
        standing.push((id, now));
        match first {
            None => Opened::First,
            Some(first) if now.duration_since(first) < self.at_once => Opened::Beside,
            Some(_) => match dialled {
                Dialled::Here => Opened::Surplus,
                Dialled::There => {
                    self.late.insert(id, (peer, now + self.closing));
                    Opened::Beside
                }
            },
        }
    }

    /// Forgets a connection that was closed.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) {
        self.late.remove(&id);
        if let Some(standing) = self.peers.get_mut(peer) {
            standing.retain(|(one, _)| *one != id);
            if standing.is_empty() {
                self.peers.remove(peer);
            }
        }
    }

    /// When [`Self::came_back`] may next have something to tell.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.late.values().map(|(_, until)| *until).min()
    }

    /// The peers that have come back by now: close every connection with them.
    pub(super) fn came_back(&mut self, now: Instant) -> Vec<PeerId> {
        let mut back = Vec::new();
        self.late.retain(|_, (peer, until)| {
            let due = *until <= now;
            if due {
                back.push(*peer);
            }
            !due
        });
        back
    }

    /// Everybody in contact.
    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn id(id: usize) -> ConnectionId {
        ConnectionId::new_unchecked(id)
    }

    /// Connections with a peer, the first of which was opened at the moment that is given too.
    fn met(dialled: Dialled) -> (Connections, PeerId, Instant) {
        let (mut connections, peer, now) = (Connections::new(true), PeerId::random(), Instant::now());
        assert_eq!(connections.opened(now, peer, id(0), dialled), Opened::First);
        (connections, peer, now)
    }

    #[test]
    fn two_sides_that_dial_at_once_keep_both() {
        for (first, second) in [(Dialled::There, Dialled::Here), (Dialled::Here, Dialled::There)] {
            let (mut connections, peer, now) = met(first);
            let soon = now + AT_ONCE_LOCAL - MOMENT;
            assert_eq!(connections.opened(soon, peer, id(1), second), Opened::Beside);
            assert_eq!(connections.deadline(), None);
            connections.closed(&peer, id(0));
            connections.closed(&peer, id(1));
            assert_eq!(connections.opened(soon, peer, id(2), Dialled::There), Opened::First);
        }
    }

    #[test]
    fn a_dial_that_comes_through_late_is_closed_by_whoever_dialled_and_nobody_begins_anew() {
        let (mut ours, peer, now) = met(Dialled::There);
        assert_eq!(ours.opened(now + AT_ONCE_LOCAL, peer, id(1), Dialled::Here), Opened::Surplus);
        assert_eq!(ours.deadline(), None);

        let (mut theirs, peer, now) = met(Dialled::Here);
        let late = now + AT_ONCE_LOCAL;
        assert_eq!(theirs.opened(late, peer, id(1), Dialled::There), Opened::Beside);
        assert_eq!(theirs.deadline(), Some(late + CLOSING_LOCAL));
        theirs.closed(&peer, id(1));
        assert_eq!((theirs.deadline(), theirs.came_back(late + CLOSING)), (None, vec![]));
        assert_eq!(theirs.peers().collect::<Vec<_>>(), [&peer]);
    }

    #[test]
    fn whoever_keeps_a_late_connection_has_come_back() {
        let (mut connections, peer, now) = met(Dialled::Here);
        let until = now + AT_ONCE_LOCAL + CLOSING_LOCAL;
        connections.opened(now + AT_ONCE_LOCAL, peer, id(1), Dialled::There);
        assert_eq!(connections.came_back(until - MOMENT), []);
        assert_eq!(connections.came_back(until), [peer]);
        assert_eq!(connections.came_back(until), [], "it is told once");
    }
}
