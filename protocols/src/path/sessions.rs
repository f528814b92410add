//! What the hops of paths keep: the sessions that finished handshakes leave, on the client's side.

use std::collections::{BTreeMap, VecDeque};

use rand_core::Rng;
use zeroize::Zeroizing;

use super::{HOPS, PathId, Use};
use crate::{
    NodeId, mutants,
    onion::{
        layer::Door,
        wrap::{ClientSession, Entry, Hop},
    },
};

/// Destinations that keep a session on one path; beyond it the oldest session is forgotten.
pub const MAX_ENDS: usize = 32;

/// The sessions of one client's paths: of those that are open, and so of as many as the machine keeps.
///
/// A hop keeps one session for its path. A destination keeps one only where an account is read: what is
/// stored, and what is looked up, must not be known to come from one client.
#[derive(Debug, Default)]
pub struct Sessions {
    paths: BTreeMap<PathId, Kept>,
}

/// Those of one path.
#[derive(Debug, Default)]
struct Kept {
    hops: [Option<ClientSession>; HOPS],
    /// The destinations that one account is read at, the oldest session first.
    ends: VecDeque<(NodeId, ClientSession)>,
}

impl Sessions {
    /// A path is used or tested: its sessions can be kept from now on.
    pub fn open(&mut self, path: PathId) {
        self.paths.entry(path).or_default();
    }

    /// A path is no more: its sessions are forgotten, and no others are kept for what is under way on it.
    pub fn close(&mut self, path: PathId) {
        self.paths.remove(&path);
    }

    /// How guard, middle, last hop and destination are entered: by sessions where there are any.
    pub(super) fn enter<'a>(
        &'a mut self,
        path: PathId,
        [guard, middle, last, to]: [(NodeId, Door<'a>); HOPS + 1],
        random: &mut impl Rng,
    ) -> [Hop<'a>; HOPS + 1] {
        let (hops, end) = match self.paths.get_mut(&path) {
            Some(Kept { hops, ends }) => {
                let end = ends.iter_mut().find(|(node, _)| *node == to.0).map(|(_, session)| session);
                (hops.each_mut().map(Option::as_mut), end)
            }
            None => ([const { None }; HOPS], None),
        };
        let mut enter = |(node, door), session: Option<&'a mut ClientSession>| {
            let first = || {
                let mut fresh = Zeroizing::new([0; 64]);
                random.fill_bytes(fresh.as_mut_slice());
                Entry::First { door, random: fresh }
            };
            Hop { node, entry: session.map_or_else(first, Entry::Session) }
        };
        let [one, two, three] = hops;
        [enter(guard, one), enter(middle, two), enter(last, three), enter(to, end)]
    }

    /// Keeps the sessions that were made; that of the destination only for reading one account.
    pub(super) fn keep(
        &mut self,
        path: PathId,
        to: NodeId,
        usage: Use,
        [guard, middle, last, end]: [Option<ClientSession>; HOPS + 1],
    ) {
        let Some(path) = self.paths.get_mut(&path) else { return };
        for (kept, made) in path.hops.iter_mut().zip([guard, middle, last]) {
            if made.is_some() {
                *kept = made;
            }
        }
        let kept = matches!(usage, Use::Read(_)) || mutants::on("session-any-use");
        if let Some(end) = end.filter(|_| kept) {
            path.ends.retain(|(node, _)| *node != to);
            path.ends.push_back((to, end));
            if path.ends.len() > MAX_ENDS {
                path.ends.pop_front();
            }
        }
    }

    /// Forgets the session of one place, counted from the guard on.
    pub(super) fn forget(&mut self, path: PathId, to: NodeId, place: usize) {
        let Some(kept) = self.paths.get_mut(&path) else { return };
        match kept.hops.get_mut(place) {
            Some(hop) => *hop = None,
            None => kept.ends.retain(|(node, _)| *node != to),
        }
    }
}
