//! A whole network in one thread and in virtual time, out of the node's own machines.
//!
//! Every node is a [`session_protocols::member::Member`] over a store, under a host that does what
//! the real one does: it drains what has arrived into a batch, applies it in one transaction,
//! commits, and only then speaks. What lies between the nodes is an event queue: delay, loss,
//! duplication, reordering, partitions; crashes that lose what was not synced; disks that fail;
//! clocks that disagree; members that lie. One seed fixes all of it, and [`Report::trace`] is a
//! hash over every event, so equal runs can be told from unequal ones.
//!
//! A run has two phases. During *chaos* only safety is asked for; then everything heals, and
//! progress and equality are asked for as well. What is asked is in the module `checks`.
//!
//! ```
//! use session_sim::Options;
//!
//! let report = session_sim::run(&Options { nodes: 7, minutes: 6, seed: 1, ..Options::default() }).unwrap();
//! assert!(report.acknowledged > 0);
//! ```

use std::fmt;

use serde::Serialize;

mod changes;
mod checks;
mod clients;
mod dice;
mod disk;
mod faults;
mod host;
mod hostile;
mod links;
pub mod onion;
mod queue;
mod readers;
mod world;

pub use faults::{Choice, Faults};

use checks::Violation;
use world::World;

/// The fewest minutes of a run: what healing takes, and one of chaos.
pub const MIN_MINUTES: u64 = 6;
/// The most nodes of a run.
pub const MAX_NODES: usize = 2_000;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many nodes, 1 to [`MAX_NODES`].
    pub nodes: usize,
    /// How long, in minutes of virtual time, at least [`MIN_MINUTES`].
    pub minutes: u64,
    /// Fixes everything that is drawn.
    pub seed: u64,
    /// Which faults there are.
    pub faults: Choice,
    /// What the nodes keep their messages on.
    pub disk: Disk,
    /// A deliberate bug of [`session_protocols::mutants`]; it has no effect in builds without the
    /// feature `mutants`.
    pub mutant: Option<&'static str>,
}

/// What the nodes keep their messages on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Disk {
    /// The seed decides; networks of more than [`REDB_NODES`] nodes use memory.
    #[default]
    Seeded,
    /// Plain maps.
    Memory,
    /// The node's own engine, over a disk in memory that tears what was not synced.
    Redb,
}

/// The most nodes for which [`Disk::Seeded`] chooses the node's own engine.
pub const REDB_NODES: usize = 40;

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 30, minutes: 10, seed: 1, faults: Choice::Seeded, disk: Disk::Seeded, mutant: None }
    }
}

impl Options {
    /// The line that runs this again.
    pub fn replay(&self) -> String {
        let mut line = format!(
            "session testnet sim --nodes {} --minutes {} --seed {}",
            self.nodes, self.minutes, self.seed
        );
        line.push_str(self.faults.argument());
        match self.disk {
            Disk::Seeded => {}
            Disk::Memory => line.push_str(" --disk memory"),
            Disk::Redb => line.push_str(" --disk redb"),
        }
        if let Some(mutant) = self.mutant {
            line.push_str(" --mutant ");
            line.push_str(mutant);
        }
        line
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many nodes.
    pub nodes: usize,
    /// In how many swarms.
    pub swarms: usize,
    /// The seed.
    pub seed: u64,
    /// What the nodes kept their messages on.
    pub disk: Disk,
    /// The faults that the seed switched on, in words.
    pub faults: String,
    /// The same, as they were drawn.
    #[serde(skip)]
    pub drawn: Faults,
    /// BLAKE2b-256 over every event, in hex: equal runs have equal ones.
    pub trace: String,
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
    /// What happened how often.
    #[serde(flatten)]
    pub counts: Counts,
}

impl std::ops::Deref for Report {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.counts
    }
}

/// What happened how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events handled.
    pub events: u64,
    /// Transactions of all nodes.
    pub batches: u64,
    /// Stores that a client has a majority of receipts for.
    pub acknowledged: u64,
    /// Deletions likewise.
    pub deleted: u64,
    /// Changes of expiry likewise.
    pub changed: u64,
    /// Deletions of whole drawers likewise; they are among the deletions.
    pub emptied: u64,
    /// Rights taken away or given back likewise.
    pub revoked: u64,
    /// Requests of who was revoked that were refused.
    pub shut_out: u64,
    /// Times that two devices wrote to one outbox at once.
    pub raced: u64,
    /// Those of them in which both were acknowledged, each by the member that its device asked.
    pub raced_apart: u64,
    /// Deletions of whole drawers that took something, and were asked for while members of the swarm could
    /// not reach each other.
    pub emptied_apart: u64,
    /// Rights taken away where no member kept anything of the account.
    pub revoked_empty: u64,
    /// Changes of expiry that a member had heard of before the message, when that came.
    pub changed_early: u64,
    /// Writes of clients of the JSON door that they have a majority of receipts for.
    pub texts: u64,
    /// Pages that clients of the JSON door read; they are among the pages read.
    pub read_texts: u64,
    /// Pages in which such a client was given what lies behind the last message that it had.
    pub read_on: u64,
    /// Writes given up without a majority.
    pub given_up: u64,
    /// Requests that were wrong on purpose, and refused.
    pub refused: u64,
    /// Pages read, and pages pushed to subscribers.
    pub reads: u64,
    /// Messages in them.
    pub delivered: u64,
    /// Mutations that members fetched from each other.
    pub repaired: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Whole swarms that crashed at once.
    pub blackouts: u64,
    /// Crashes that took writes with them which were not synced; on the node's own engine alone.
    pub torn: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Disks that were replaced by empty ones.
    pub lost_disks: u64,
    /// Partitions.
    pub partitions: u64,
    /// Borders of epochs at which maps changed.
    pub borders: u64,
    /// Records that a node forgot because others keep them now.
    pub purged: u64,
    /// Messages between nodes.
    pub messages: u64,
    /// Messages that were lost, for any reason.
    pub lost: u64,
    /// Those of them that were dropped on the way, by chance.
    pub dropped: u64,
    /// Messages that came twice.
    pub duplicated: u64,
    /// Messages that went astray for up to three seconds.
    pub strayed: u64,
    /// Messages that were sent after another one and came before it.
    pub overtaken: u64,
    /// The longest that a message was under way, in milliseconds.
    pub longest_way_ms: u64,
    /// Lies of hostile members.
    pub lies: u64,
    /// The most inputs that waited at one node.
    pub longest_inbox: u64,
}

/// A promise that was broken, and how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which promise.
    pub check: &'static str,
    /// What was seen.
    pub detail: String,
    /// When, in milliseconds of virtual time from the start.
    pub at_ms: u64,
    /// The faults that the seed switched on, in words.
    pub faults: String,
    /// By which build: its version, and the commit where `SESSION_COMMIT` names it, as `scripts/test` does.
    pub build: String,
    /// The line that runs this again.
    pub replay: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.at_ms / 1_000, self.at_ms % 1_000);
        writeln!(f, "broken at {secs}.{millis:03} s: {}", self.check)?;
        writeln!(f, "  {}", self.detail)?;
        writeln!(f, "  faults: {}", self.faults)?;
        writeln!(f, "  {}", self.build)?;
        write!(f, "{}", self.replay)
    }
}

impl std::error::Error for Failure {}

/// Runs a network and checks what it promises.
///
/// # Errors
///
/// The first promise that was broken.
///
/// # Panics
///
/// When the simulator itself is at fault.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let _mutant = Mutant::activate(options.mutant);
    let mut world = World::new(options);
    let outcome = world.run();
    outcome.map_err(|Violation { check, detail }| Failure {
        check,
        detail,
        at_ms: world.elapsed_ms(),
        faults: world.drawn_faults().to_string(),
        build: build(),
        replay: options.replay(),
    })
}

fn build() -> String {
    let version = concat!("version ", env!("CARGO_PKG_VERSION"));
    std::env::var("SESSION_COMMIT")
        .map_or_else(|_| version.to_owned(), |commit| format!("{version}, commit {commit}"))
}

/// A deliberate bug that is on for as long as this lives.
struct Mutant;

impl Mutant {
    #[cfg(feature = "mutants")]
    fn activate(name: Option<&'static str>) -> Self {
        session_protocols::mutants::activate(name);
        Self
    }

    #[cfg(not(feature = "mutants"))]
    const fn activate(_name: Option<&'static str>) -> Self {
        Self
    }
}

impl Drop for Mutant {
    fn drop(&mut self) {
        #[cfg(feature = "mutants")]
        session_protocols::mutants::activate(None);
    }
}
