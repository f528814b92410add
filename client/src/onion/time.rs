//! Whether the clock is to blame: to a hop, a packet of another time is as unreadable as any that is not
//! for it.

use futures::future::join_all;
use session_chain::light;
use session_protocols::{NodeId, directory::Distrust};
use tokio::time::{Duration, Instant};

use super::Onion;
use crate::{client::ask::Fault, clock::Comparison, directory::DirectoryError, error::ClientError};

/// Nodes whose clocks are looked at where there are no guards to ask.
const CLOCKS: usize = 3;
/// How long the same guards are not asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// A comparison that was made.
pub(super) struct Compared {
    at: Instant,
    guards: Vec<NodeId>,
    outcome: Comparison,
}

/// Why there is no list of nodes to make paths of.
pub(super) enum Unlisted {
    /// No node gave one.
    Directory(DirectoryError),
    /// The clock is wrong by so many milliseconds, too many to follow the nodes.
    Clock(i64),
}

impl From<Unlisted> for Fault {
    fn from(why: Unlisted) -> Self {
        match why {
            Unlisted::Directory(cause) => Self::Directory(cause),
            Unlisted::Clock(by) => Self::ClockWrong(by),
        }
    }
}

impl From<Unlisted> for ClientError {
    fn from(why: Unlisted) -> Self {
        match why {
            Unlisted::Directory(cause) => Self::Directory { cause },
            Unlisted::Clock(by) => Self::Clock { seconds: by / 1_000 },
        }
    }
}

impl Onion {
    /// Compares the clock with those of the guards, who know the client's address already, and of other
    /// nodes only where there is no list to make paths of. They are asked straight, and learn nothing but
    /// that somebody asks.
    pub(crate) async fn compare_clocks(&self) -> Comparison {
        let offset = self.clock.offset_ms();
        let mut compared = self.compared.lock().await;
        if self.clock.offset_ms() != offset {
            return Comparison::Moved;
        }
        let guards = self.guards();
        if let Some(last) = compared.as_ref()
            && last.guards == guards
            && last.at.elapsed() < PAUSE
            && last.outcome != Comparison::Moved
        {
            return last.outcome;
        }
        let mut asked = guards.clone();
        if guards.is_empty() || !self.doors.are_usable() {
            let others = self.links.at_random().into_iter().filter(|node| !guards.contains(node));
            asked.extend(others.take(CLOCKS));
        }
        let samples = join_all(asked.into_iter().map(|node| self.links.time_of(node))).await;
        let outcome = self.clock.follow(samples.into_iter().flatten().collect());
        *compared = Some(Compared { at: Instant::now(), guards, outcome });
        outcome
    }

    /// Whether there is no list of nodes that can be used perhaps because it is another time.
    pub(super) fn is_untimely(&self, refreshed: Result<(), DirectoryError>) -> bool {
        match refreshed {
            Err(DirectoryError::Distrust(why)) => matches!(why, Distrust::Ahead | Distrust::Old { .. }),
            // Records of the future are passed over without a word.
            Err(DirectoryError::Checkpoint(why)) => matches!(why, light::Distrust::Ahead),
            Ok(()) | Err(DirectoryError::Unknown) => self.doors.are_local(),
            // Whoever could not be believed is not asked what time it is either.
            Err(
                DirectoryError::Outdated(_)
                | DirectoryError::Silent
                | DirectoryError::Uncertain
                | DirectoryError::Pages(_)
                | DirectoryError::Download(_),
            ) => false,
        }
    }
}
