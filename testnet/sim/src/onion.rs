//! Onion paths in virtual time, out of the machines that nodes and clients run: hops that relay, clients
//! that choose paths and deliver over them, and the directory on which the nodes agree.
//!
//! Packets are sealed and peeled as they are in earnest. Between the parties lie delay and loss; hops
//! are slow, crash and return, with and without a clean stop; hostile ones drop packets, refuse them,
//! blame others, change bits and lengths, send packets again, have them sent by others, sign a directory
//! of their own, and keep back what is new in another; guards leave what is no test of a path, say that they
//! have too much to do, or pass on to friends alone; rogue clients come in crowds. One seed fixes all of it.
//! What is asked is in the module `checks`.
//!
//! Two questions need months, or thousands of clients, and no packets: [`guards`] and [`ends`].

use serde::Serialize;

use super::{Choice, Failure, Mutant, checks::Violation};

mod checks;
mod client;
pub mod ends;
mod faults;
pub mod guards;
mod hostile;
mod ill;
mod node;
pub mod steering;
mod world;

pub use faults::Faults;

use world::World;

/// The fewest minutes of a run: what it takes to begin and to heal, and some of chaos.
pub const MIN_MINUTES: u64 = 6;
/// The fewest nodes of a run: fewer make no paths while some of them are hostile.
pub const MIN_NODES: usize = 12;
/// The most nodes of a run.
pub const MAX_NODES: usize = 250;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many nodes, [`MIN_NODES`] to [`MAX_NODES`].
    pub nodes: usize,
    /// How many clients.
    pub clients: usize,
    /// How long, in minutes of virtual time, at least [`MIN_MINUTES`].
    pub minutes: u64,
    /// Fixes everything that is drawn.
    pub seed: u64,
    /// Which faults there are.
    pub faults: Choice,
    /// A deliberate bug of [`session_protocols::mutants`]; it has no effect in builds without the
    /// feature `mutants`.
    pub mutant: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 30, clients: 3, minutes: 15, seed: 1, faults: Choice::Seeded, mutant: None }
    }
}

impl Options {
    /// The line that runs this again.
    pub fn replay(&self) -> String {
        let Self { nodes, clients, minutes, seed, .. } = self;
        let mut line = format!(
            "session testnet sim --what onion --nodes {nodes} --clients {clients} --minutes {minutes} --seed {seed}"
        );
        line.push_str(self.faults.argument());
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
    /// How many of them are hostile.
    pub hostile: usize,
    /// How many clients.
    pub clients: usize,
    /// The seed.
    pub seed: u64,
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
    /// Requests of clients.
    pub requests: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Those of them that took one packet.
    pub first_try: u64,
    /// Requests given up.
    pub failed: u64,
    /// What was heard of packets that nobody waited for any more.
    pub echoes: u64,
    /// Packets of which no hop said a word.
    pub unheard: u64,
    /// Tests of paths.
    pub probes: u64,
    /// Packets that reached a hop.
    pub packets: u64,
    /// Requests that reached their destination, tests included.
    pub delivered: u64,
    /// Layers sealed by a handshake.
    pub by_handshake: u64,
    /// Layers sealed by a session.
    pub by_session: u64,
    /// Packets sealed anew because a hop knew its session no longer, or said so.
    pub lost_sessions: u64,
    /// New onion keys.
    pub new_keys: u64,
    /// Directories that clients believed.
    pub directories: u64,
    /// Directories that they did not believe, or did not get.
    pub disbelieved: u64,
    /// The most nodes that a client left out at once.
    pub left_out: u64,
    /// The most guards that a client spoke to.
    pub guards: u64,
    /// Things said.
    pub words: u64,
    /// Those that were lost on the way.
    pub lost: u64,
    /// Those that a slow hop was late with.
    pub slowed: u64,
    /// The longest that one was under way, in milliseconds.
    pub longest_way_ms: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Nodes that stopped cleanly.
    pub stops: u64,
    /// Packets and answers that a hostile hop dropped.
    pub drops: u64,
    /// Good packets that one refused, or said that the next hop had.
    pub false_refusals: u64,
    /// Packets in which one changed a bit.
    pub flips: u64,
    /// Answers in which one did.
    pub flips_back: u64,
    /// Packets and answers that one made longer or shorter.
    pub resized: u64,
    /// Packets that one sent again.
    pub replays: u64,
    /// Those of them that were sent to a node which had started anew.
    pub replays_after_start: u64,
    /// Packets that one had sent on by somebody who is no node.
    pub side_doors: u64,
    /// Packets that one had sent on by another hostile node.
    pub detours: u64,
    /// Packets of a rogue client, which lead to strangers.
    pub strange: u64,
    /// Packets of a crowd of rogues at one address, which come at once.
    pub crowd: u64,
    /// Packets that were no test and that a mute guard left, or refused.
    pub ignored: u64,
    /// Packets to which a busy guard said that it is.
    pub busy: u64,
    /// Packets that a steering guard left.
    pub steered: u64,
    /// Guards in whose place another was drawn, because they served tests alone.
    pub replaced: u64,
    /// Directories that hostile nodes alone had signed, and a client was given.
    pub forged: u64,
    /// Directories that a client was given without some of what had changed in them.
    pub withheld: u64,
}

/// Runs a network and checks what onion paths promise.
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
    outcome.map_err(|violation| {
        failure(violation, world.elapsed_ms(), world.drawn.to_string(), options.replay())
    })
}

fn failure(Violation { check, detail }: Violation, at_ms: u64, faults: String, replay: String) -> Failure {
    Failure { check, detail, at_ms, faults, build: super::build(), replay }
}
