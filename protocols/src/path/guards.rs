//! Guards: the first hops, which alone learn a client's address. They are few and kept for long, so that
//! who runs a share of the nodes has few chances to be one.
//!
//! There are two. A guard that is silent is waited for before another takes its place, and it has its
//! place back when it returns: of those that answer, the first two drawn are used. No more than
//! [`MAX_GUARDS`] that are still registered are shown the client in [`WINDOW`]; after that nothing is sent
//! until one of them returns.

use std::collections::BTreeMap;

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::{Candidate, choose::below};
use crate::{NodeId, Span, Time, codec, identity::blake2b, mutants};

/// Guards that are used.
pub const GUARDS: usize = 2;
/// Guards in [`WINDOW`], those that are not registered any more not counted.
pub const MAX_GUARDS: usize = 4;
/// How long a guard counts after it was used last.
pub const WINDOW: Span = Span::days(60);
/// How long a guard is kept at least; at most twice as long.
pub const KEPT: Span = Span::days(60);
/// How long a guard may be silent until a third one is drawn beside it.
pub const PATIENCE: Span = Span::hours(1);
/// The same while none answers.
pub const GRACE: Span = Span::secs(15);
/// The longest state, in bytes.
pub const MAX_STATE: usize = 4_096;
/// Guards that are remembered; beyond it the oldest that do not count are forgotten.
const MAX_KEPT: usize = 16;
/// The version of the state.
const VERSION: u32 = 1;
/// How exactly it is kept when a guard last answered.
const SEEN: Span = Span::hours(1);
/// The first pause until a guard that is down is tried again; it doubles.
const RETRY: Span = Span::secs(1);
/// The longest.
const MAX_RETRY: Span = Span::secs(600);
/// Tests without an answer until a guard counts as down: one may have failed for another hop's fault.
const SILENT: u8 = 2;

/// A guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Which node.
    pub node: NodeId,
    /// When it was drawn.
    pub drawn: Time,
    /// When another is to take its place.
    pub until: Time,
    /// When it last answered, to the hour; when it was drawn if it never has.
    pub seen: Time,
    /// Whether it has ever answered.
    pub confirmed: bool,
    /// Since when it is silent; none if it is not.
    pub silent: Option<Time>,
    /// Whether another has taken its place.
    pub retired: bool,
}

/// A client's guards, in the order in which they were drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards(Vec<Guard>);

/// Bytes are not a state of guards. It must not be replaced unasked: that would draw new guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardsError {
    /// They are damaged.
    #[error("the bytes are damaged")]
    Damaged,
    /// A newer build wrote them.
    #[error("they have version {found}, this build reads up to {VERSION}")]
    Newer {
        /// Their version.
        found: u32,
    },
    /// They are of another network.
    #[error("they belong to another network")]
    OtherNetwork,
}

/// What is kept: the version, the encoded guards, and what tells that they are whole.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    body: ByteBuf,
    check: ByteArray<16>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    network: ByteArray<32>,
    guards: Vec<Guard>,
}

impl Guards {
    /// The bytes to keep, for a network of this digest.
    pub fn encode(&self, network: &[u8; 32]) -> Vec<u8> {
        let body = codec::encode(&Body { network: ByteArray::new(*network), guards: self.0.clone() });
        let check = check(&body);
        codec::encode(&Kept { version: VERSION, body: ByteBuf::from(body), check })
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    ///
    /// When they are not whole, of another network, or newer.
    pub fn decode(bytes: &[u8], network: &[u8; 32]) -> Result<Self, GuardsError> {
        let kept: Kept = codec::decode(bytes, MAX_STATE).map_err(|_| GuardsError::Damaged)?;
        if kept.version > VERSION {
            return Err(GuardsError::Newer { found: kept.version });
        }
        if kept.version != VERSION || kept.check != check(&kept.body) {
            return Err(GuardsError::Damaged);
        }
        let body: Body = codec::decode(&kept.body, MAX_STATE).map_err(|_| GuardsError::Damaged)?;
        if *body.network != *network {
            return Err(GuardsError::OtherNetwork);
        }
        if body.guards.len() > MAX_KEPT {
            return Err(GuardsError::Damaged);
        }
        Ok(Self(body.guards))
    }

    /// What to keep: these, as one process has them, together with what another may have kept meanwhile.
    /// Where that one has drawn guards, those that were drawn here and never kept give way.
    #[must_use]
    pub fn merge(&self, kept: &Self, now: Time, nodes: &BTreeMap<NodeId, Candidate>) -> Self {
        let mut kept = kept.clone();
        kept.prune(now, nodes);
        let mut all = self.adopt(&kept);
        if kept.0.iter().all(|guard| self.contains(&guard.node)) {
            all.0.extend(self.0.iter().filter(|guard| !kept.contains(&guard.node)).cloned());
        }
        all.prune(now, nodes);
        all
    }

    /// The guards that are kept, with what is known of them here.
    pub(super) fn adopt(&self, kept: &Self) -> Self {
        let known = |theirs: &Guard| match self.0.iter().find(|mine| mine.node == theirs.node) {
            Some(mine) => Guard {
                drawn: mine.drawn.min(theirs.drawn),
                until: mine.until.min(theirs.until),
                seen: mine.seen.max(theirs.seen),
                confirmed: mine.confirmed || theirs.confirmed,
                retired: mine.retired || theirs.retired,
                ..mine.clone()
            },
            None => theirs.clone(),
        };
        Self(kept.0.iter().map(known).collect())
    }

    /// Forgets one as if it had never been drawn.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.0.retain(|guard| guard.node != *node);
    }

    #[cfg(test)]
    pub(super) const fn of(guards: Vec<Guard>) -> Self {
        Self(guards)
    }

    /// All that are remembered, in the order in which they were drawn.
    pub fn all(&self) -> &[Guard] {
        &self.0
    }

    /// Those that are in use, and still registered.
    pub(super) fn active<'a>(
        &'a self,
        nodes: &'a BTreeMap<NodeId, Candidate>,
    ) -> impl Iterator<Item = &'a Guard> {
        self.0.iter().filter(|guard| !guard.retired && nodes.contains_key(&guard.node))
    }

    pub(super) fn is_active(&self, node: NodeId) -> bool {
        self.0.iter().any(|guard| guard.node == node && !guard.retired)
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.0.iter().any(|guard| guard.node == *node)
    }

    /// How many more may be drawn.
    pub(super) fn left(&self, now: Time, nodes: &BTreeMap<NodeId, Candidate>) -> usize {
        let counted = self.0.iter().filter(|guard| {
            nodes.contains_key(&guard.node) && (!guard.retired || now < guard.counts_until())
        });
        if mutants::on("guards-unlimited") {
            return MAX_GUARDS;
        }
        MAX_GUARDS.saturating_sub(counted.count())
    }

    /// How they are when a client starts: as they were.
    pub(super) fn health(&self) -> BTreeMap<NodeId, Health> {
        let health = |guard: &Guard| match (guard.silent, guard.confirmed) {
            (Some(_), _) => Health::Down { tried: Time::ZERO, retry_at: Time::ZERO, pause: RETRY },
            (None, true) => Health::Up { suspect: false, silent: 0 },
            (None, false) => Health::Untested { silent: 0 },
        };
        self.0.iter().map(|guard| (guard.node, health(guard))).collect()
    }

    /// Whether another is to be drawn.
    pub(super) fn wants_another(
        &self,
        now: Time,
        nodes: &BTreeMap<NodeId, Candidate>,
        health: &BTreeMap<NodeId, Health>,
    ) -> bool {
        // While one answers there should be two; while none does, each is waited for.
        let (limit, enough) = if self.any_answers(nodes, health) { (PATIENCE, GUARDS) } else { (GRACE, 1) };
        let stands = |guard: &&Guard| guard.given_up(limit, health).is_none_or(|at| now < at);
        self.active(nodes).filter(stands).count() < enough && self.left(now, nodes) > 0
    }

    /// When that may change next, after `now`.
    pub(super) fn deadline(
        &self,
        now: Time,
        nodes: &BTreeMap<NodeId, Candidate>,
        health: &BTreeMap<NodeId, Health>,
    ) -> Option<Time> {
        let limit = if self.any_answers(nodes, health) { PATIENCE } else { GRACE };
        let changes = self.active(nodes).flat_map(|guard| [guard.given_up(limit, health), Some(guard.until)]);
        changes.flatten().filter(|at| *at > now).min()
    }

    /// Whether a guard answers, or was just drawn. With no guard at all two are to be drawn.
    fn any_answers(&self, nodes: &BTreeMap<NodeId, Candidate>, health: &BTreeMap<NodeId, Health>) -> bool {
        let up = |guard: &Guard| !matches!(health.get(&guard.node), Some(Health::Down { .. }) | None);
        let mut active = self.active(nodes).peekable();
        active.peek().is_none() || active.any(up)
    }

    pub(super) fn draw(&mut self, now: Time, node: NodeId, random: &mut impl Rng) {
        let until = now.after(KEPT).after(Span(below(random, KEPT.0)));
        self.0.push(Guard {
            node,
            drawn: now,
            until,
            seen: now,
            confirmed: false,
            silent: None,
            retired: false,
        });
    }

    /// Retires one whose time is over, if another may be drawn for it; forgets those that count no more.
    /// Whether anything changed.
    pub(super) fn retire(&mut self, now: Time, nodes: &BTreeMap<NodeId, Candidate>) -> bool {
        let changed = self.prune(now, nodes);
        let over = self.active(nodes).find(|guard| guard.until <= now).map(|guard| guard.node);
        over.is_some_and(|over| self.replace(now, over, nodes)) || changed
    }

    /// Lets another be drawn in the place of one in use, if any may be. Whether it may.
    pub(super) fn replace(&mut self, now: Time, node: NodeId, nodes: &BTreeMap<NodeId, Candidate>) -> bool {
        if self.left(now, nodes) == 0 {
            return false;
        }
        let Some(guard) = self.0.iter_mut().find(|guard| guard.node == node && !guard.retired) else {
            return false;
        };
        guard.retired = true;
        // Until now it was used, if it answered.
        if guard.silent.is_none() {
            guard.seen = guard.seen.max(now);
        }
        true
    }

    /// Forgets those that count no more. Whether there were any.
    fn prune(&mut self, now: Time, nodes: &BTreeMap<NodeId, Candidate>) -> bool {
        let before = self.0.len();
        self.0.retain(|guard| {
            let gone = guard.retired || !nodes.contains_key(&guard.node);
            !gone || now < guard.counts_until()
        });
        while self.0.len() >= MAX_KEPT {
            let Some(at) = self.0.iter().position(|guard| !nodes.contains_key(&guard.node)) else { break };
            self.0.remove(at);
        }
        self.0.len() != before
    }

    /// Notes that a guard answers. Whether that is to be kept.
    pub(super) fn answers(&mut self, now: Time, node: NodeId) -> bool {
        let Some(guard) = self.0.iter_mut().find(|guard| guard.node == node) else { return false };
        let news = !guard.confirmed || guard.silent.is_some() || now >= guard.seen.after(SEEN);
        if news {
            (guard.confirmed, guard.silent, guard.seen) = (true, None, guard.seen.max(now));
        }
        news
    }

    /// Notes that a guard is silent. Whether that is to be kept.
    pub(super) fn fails(&mut self, now: Time, node: NodeId) -> bool {
        let Some(guard) = self.0.iter_mut().find(|guard| guard.node == node) else { return false };
        let news = guard.silent.is_none();
        guard.silent = guard.silent.or(Some(now));
        news
    }
}

impl Guard {
    /// How long it counts after it is in use no more: [`Self::seen`] may be an hour behind.
    fn counts_until(&self) -> Time {
        self.seen.after(SEEN).after(WINDOW)
    }

    /// When another may be drawn in its place; none while it answers.
    fn given_up(&self, limit: Span, health: &BTreeMap<NodeId, Health>) -> Option<Time> {
        let down = matches!(health.get(&self.node), Some(Health::Down { .. }));
        let since = self.silent.filter(|_| down)?;
        // Nobody waits for one that has never answered.
        Some(if self.confirmed { since.after(limit) } else { since })
    }
}

fn check(body: &[u8]) -> ByteArray<16> {
    let mut check = [0; 16];
    check.iter_mut().zip(blake2b(&[b"session guards", body])).for_each(|(kept, byte)| *kept = byte);
    ByteArray::new(check)
}

/// How a guard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It was just drawn: nothing is sent through it but a test.
    Untested { silent: u8 },
    /// It answers; if suspect, something that should have come did not.
    Up { suspect: bool, silent: u8 },
    /// It does not.
    Down { tried: Time, retry_at: Time, pause: Span },
}

impl Default for Health {
    fn default() -> Self {
        Self::Untested { silent: 0 }
    }
}

impl Health {
    /// Whether nothing speaks against it.
    pub(super) const fn is_well(&self) -> bool {
        matches!(self, Self::Untested { .. } | Self::Up { suspect: false, .. })
    }

    /// Something is late.
    pub(super) const fn suspect(&mut self) {
        if let Self::Up { suspect, .. } = self {
            *suspect = true;
        }
    }

    /// Something did not come, which was a test or not. Whether it counts as down.
    pub(super) const fn silent(&mut self, test: bool) -> bool {
        match self {
            Self::Untested { silent } => {
                *silent = silent.saturating_add(test as u8);
                *silent >= SILENT
            }
            Self::Up { suspect, silent } => {
                *suspect = true;
                *silent = silent.saturating_add(test as u8);
                *silent >= SILENT
            }
            Self::Down { .. } => test,
        }
    }

    /// It is down: as it is from now on.
    pub(super) fn down(self, now: Time) -> Self {
        let pause = match self {
            Self::Down { pause, .. } => Span(pause.0.saturating_mul(2)).min(MAX_RETRY),
            Self::Untested { .. } | Self::Up { .. } => RETRY,
        };
        Self::Down { tried: now, retry_at: now.after(pause), pause }
    }

    /// When it is to be tried again by itself.
    pub(super) const fn retry_at(&self) -> Option<Time> {
        match self {
            Self::Down { retry_at, .. } => Some(*retry_at),
            Self::Untested { .. } | Self::Up { .. } => None,
        }
    }

    /// Whether it is down, and may be tried because somebody waits for it.
    pub(super) fn rested(&self, now: Time) -> bool {
        matches!(self, Self::Down { tried, .. } if tried.after(RETRY) <= now)
    }
}
