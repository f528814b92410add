//! Which hops a client uses and when it changes them, and how a request gets over them to its destination.
//!
//! [`Paths`] is the machine of one client: it is told which nodes there are, what is to be sent and what
//! became of it, and says over which three hops to send. A [`delivery`](delivery::Delivery) is the machine of
//! one request: it wants paths, one after another or beside each other, and says what is reported of each. A
//! [`passage`](passage::Passage) is that request on one path. Their host keeps the links and waits.
//!
//! A *use* has paths of its own, and each node on a path differs in operator and prefix from the others
//! and from the destination. Paths begin at one of two *guards*, which are kept for weeks. A path that
//! is needed is there before, and the next one before it ends.
//!
//! - [`guards`]: who the guards are, and when others may take their place
//! - `blame`: who refused whom, and who is left out for that
//! - `choose`: hops at random, under the rules
//! - [`delivery`]: which path next for a request, and when it is given up
//! - [`passage`]: what a refusal means for it on one path
//! - [`sessions`]: what the hops of paths keep

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_core::Rng;

use crate::{AccountId, NodeId, Prefix, Span, Time, mutants};

use blame::Blame;
use choose::{Pool, below};
use guards::{Guards, Health};

mod blame;
mod choose;
pub mod delivery;
pub mod guards;
#[cfg(any(test, feature = "test-utils"))]
pub mod model;
pub mod passage;
pub mod sessions;
#[cfg(test)]
mod tests;

/// Hops of a path.
pub const HOPS: usize = 3;
/// How long a path lives at most.
pub const LIFETIME: Span = Span::secs(600);
/// A path is given out no longer when it has only so much left: what it carries ends with it.
pub const LAST: Span = Span::secs(30);
/// When another path takes over at the earliest; at the latest a fifth of [`LIFETIME`] later.
pub const REPLACE: Span = Span::secs(420);
/// Paths that are kept for a use that was wanted lately: one to send over, and a spare.
pub const READY: usize = 2;
/// How long a use counts as wanted lately.
pub const RECENT: Span = Span::secs(300);
/// How long a use lasts until it gets a spare path: many clients ask once and go.
pub const SPARE_AFTER: Span = Span::secs(1);
/// Uses that have paths at once; the one that was wanted least recently loses them.
pub const MAX_USES: usize = 64;
/// Packets that may wait for a path; beyond it they are refused.
pub const MAX_WANTS: usize = 1_024;
/// How long a packet waits for a guard to be tested.
pub const WAIT: Span = Span::secs(5);
/// How long a test may take; its host reports by then.
pub const TEST: Span = Span::secs(15);
/// Tests of one guard at once: one that is late may have gone wrong at another hop.
const TESTS: usize = 2;
/// A clock that goes back by more than this was set.
const STEP: Span = Span::secs(1);
/// The pause between two tries to make a path for a use.
const PAUSE: Span = Span::secs(1);
/// The pause after no guard could be drawn.
const DRAW_PAUSE: Span = Span::secs(10);
/// Paths of one use; beyond it the oldest is closed.
const MAX_PATHS: usize = 4;
/// Refusals between the last hop and destinations until a path is given up.
const REFUSALS: u8 = 2;

/// Who runs a node, as the ledger names them.
pub type Operator = [u8; 20];

/// A node that may be a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who runs it.
    pub operator: Operator,
    /// Where it stands.
    pub prefix: Prefix,
    /// Whether its onion key and its addresses are known, so that it can be used now.
    pub open: bool,
}

/// What a path is used for. No path serves two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// What the owner of one account signs: reading first of all.
    Read(AccountId),
    /// Sending, which nobody signs.
    Send,
    /// Storing for the sender's own devices what was sent to others: apart from that, so that no path joins
    /// both swarms.
    Copy,
    /// Questions that are about no mailbox's content.
    Look,
}

/// A path's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathId(pub u64);

/// A packet that wants a path.
#[derive(Clone, Debug)]
pub struct Want {
    /// The host's number for it.
    pub ticket: u64,
    /// What it is for.
    pub usage: Use,
    /// Who is to be asked.
    pub destination: NodeId,
    /// Paths that it went over before, in vain.
    pub not: Vec<[NodeId; HOPS]>,
}

/// What the machine is fed.
#[derive(Clone, Debug)]
pub enum Input {
    /// These are all nodes of the network from now on.
    Nodes(BTreeMap<NodeId, Candidate>),
    /// A path is wanted.
    Want(Want),
    /// It is wanted no longer.
    Forget {
        /// The number of [`Want::ticket`].
        ticket: u64,
    },
    /// Something became of a packet.
    Outcome {
        /// The path that it went over.
        path: PathId,
        /// What.
        outcome: Outcome,
    },
    /// The user wants other paths; guards stay.
    Rebuild,
    /// These are the guards that are kept: the answer to [`Output::Keep`], before anything else is fed,
    /// after a [`merge`](Guards::merge) with what other processes kept.
    Kept(Guards),
    /// They cannot be kept: the other answer to [`Output::Keep`].
    Unkept,
    /// Time has passed.
    Tick,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination answered, whatever it said.
    Answered,
    /// A hop went no further. A session that is gone is no such case: the client handshakes again.
    Stopped {
        /// Which hop says so, 0 to 2.
        by: usize,
        /// The node that the packet was for.
        destination: NodeId,
    },
    /// The guard is reached, and refuses or says nonsense.
    Refused,
    /// The guard is not reached, or hangs up.
    Unreached,
    /// There is no answer so far, and there should be.
    Slow,
    /// There was none in time.
    Silent,
    /// It was not taken, or did not come to be sent, and that says nothing of any hop: there is too much to
    /// do, the clock is wrong, a key is not known.
    Undone,
    /// Nothing can be sealed for the key of this hop.
    BadKey {
        /// Whose key it is.
        hop: NodeId,
    },
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the packet over this path.
    Use {
        /// The number of [`Want::ticket`].
        ticket: u64,
        /// The path.
        path: PathId,
        /// Its hops, from the guard on.
        hops: [NodeId; HOPS],
    },
    /// There is no path for the packet.
    Fail {
        /// The number of [`Want::ticket`].
        ticket: u64,
        /// Why.
        error: PathError,
    },
    /// Ask this destination something harmless over this path, with fresh keys and nothing of any
    /// account, and report what became of it: that tests the guard, and makes the path ready.
    Probe {
        /// The path.
        path: PathId,
        /// Its hops, from the guard on.
        hops: [NodeId; HOPS],
        /// Whom to ask.
        destination: NodeId,
    },
    /// Keep the guards: they changed. Nothing goes through new ones before [`Input::Kept`] names them: a
    /// process that forgot them would draw others.
    Keep(Guards),
    /// A path is no more: forget its sessions.
    Closed {
        /// The path.
        path: PathId,
    },
}

/// Why there is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The network has too few nodes that differ.
    #[error(
        "a path needs {HOPS} hops and a destination of different operators and prefixes: \
         {open} of the network's {nodes} nodes can be used now, of {operators} operators in {prefixes} prefixes"
    )]
    TooFew {
        /// Nodes of the network.
        nodes: usize,
        /// Those whose keys and addresses are known.
        open: usize,
        /// Operators of those.
        operators: usize,
        /// Prefixes of those.
        prefixes: usize,
    },
    /// None of the guards answers.
    #[error("{}, and {left} more may be chosen", gone(*.guards))]
    Guards {
        /// How many guards there are.
        guards: usize,
        /// How many more may be drawn for now.
        left: usize,
    },
    /// Guards cannot be kept, so that none is used.
    #[error("no guard that is kept answers, and new ones cannot be kept")]
    Unkept,
    /// Every guard that answers stands too near the destination.
    #[error("every guard has the operator or the prefix of the node that is asked")]
    Near,
    /// The destination is not known, or its key is not.
    #[error("the onion key of the node that is asked is not known")]
    Destination,
    /// Too many packets wait for a path.
    #[error("too many requests wait for a path")]
    Busy,
}

fn gone(guards: usize) -> String {
    match guards {
        1 => "the guard is gone".to_owned(),
        2 => "both guards are gone".to_owned(),
        guards => format!("all {guards} guards are gone"),
    }
}

/// How a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has come back over it so far.
    Building,
    /// It works.
    Ready,
    /// It did, and lately there is no answer.
    Suspect,
}

/// A path, to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its number.
    pub path: PathId,
    /// What it is used for.
    pub usage: Use,
    /// Its hops, from the guard on.
    pub hops: [NodeId; HOPS],
    /// Since when it is there.
    pub made: Time,
    /// How it is.
    pub state: State,
}

#[derive(Debug)]
struct Path {
    /// None of a guard's test.
    usage: Option<Use>,
    hops: [NodeId; HOPS],
    made: Time,
    replace_at: Time,
    end: Time,
    state: State,
    /// Refusals of its last hop in a row.
    refusals: u8,
    /// A probe is under way on it.
    probed: bool,
}

#[derive(Debug)]
struct Usage {
    since: Time,
    wanted: Time,
    destination: NodeId,
    /// When its spare is looked after.
    look_at: Time,
    tried: Time,
}

/// The machine of one client's paths.
#[derive(Debug)]
pub struct Paths<R> {
    random: R,
    /// What time it was last.
    now: Time,
    nodes: BTreeMap<NodeId, Candidate>,
    guards: Guards,
    health: BTreeMap<NodeId, Health>,
    /// They are to be kept as they are now.
    keep: bool,
    /// Guards that were drawn and are not kept so far.
    fresh: BTreeSet<NodeId>,
    /// No guard is drawn before this: the last ones could not be kept.
    unkept: Option<Time>,
    blame: Blame,
    paths: BTreeMap<PathId, Path>,
    uses: BTreeMap<Use, Usage>,
    wants: BTreeMap<u64, (Want, Time)>,
    next: u64,
    /// When something was last wanted, if that was lately: nobody's guards are tested for nothing.
    wanted: Option<Time>,
    /// When guards are looked after.
    recruit_at: Option<Time>,
    outbox: VecDeque<Output>,
}

impl<R: Rng> Paths<R> {
    /// A client with the guards that it had; none if it is new. `random` must be seeded with secret
    /// bytes: who can guess it, knows the hops.
    pub fn new(guards: Guards, random: R) -> Self {
        Self {
            random,
            now: Time::ZERO,
            nodes: BTreeMap::new(),
            health: guards.health(),
            guards,
            keep: false,
            fresh: BTreeSet::new(),
            unkept: None,
            blame: Blame::default(),
            paths: BTreeMap::new(),
            uses: BTreeMap::new(),
            wants: BTreeMap::new(),
            next: 0,
            wanted: None,
            recruit_at: None,
            outbox: VecDeque::new(),
        }
    }

    /// Applies one input at `now`; results are read with [`Self::poll`].
    pub fn handle(&mut self, now: Time, input: Input) {
        self.end_with_the_clock(now);
        match input {
            Input::Nodes(nodes) => {
                self.nodes = nodes;
                self.blame.stale();
            }
            Input::Want(want) => self.want(now, want),
            Input::Forget { ticket } => {
                self.wants.remove(&ticket);
            }
            Input::Outcome { path, outcome } => self.outcome(now, path, outcome),
            Input::Rebuild => self.close_all(now),
            Input::Kept(guards) => self.kept_guards(&guards),
            Input::Unkept => self.unkept_guards(now),
            Input::Tick => {}
        }
        self.blame.refresh(now, &self.nodes);
        self.expire(now);
        self.recruit(now);
        self.test_guards(now);
        self.serve(now);
        self.look_after_spares(now);
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        if core::mem::take(&mut self.keep) {
            return Some(Output::Keep(self.guards.clone()));
        }
        self.outbox.pop_front()
    }

    /// Returns when [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Option<Time> {
        let paths = self.paths.values().map(|path| path.end);
        let waits = self.wants.values().map(|(_, until)| *until);
        let uses = self.uses.values().flat_map(|usage| {
            let end = usage.wanted.after(RECENT);
            [end, usage.look_at.min(end)]
        });
        let guards = self.guards.active(&self.nodes).filter(|guard| !self.is_tested(guard.node));
        let retries = guards.filter_map(|guard| self.health.get(&guard.node)?.retry_at());
        let guards = retries.chain(self.recruit_at).filter(|_| self.wanted.is_some());
        paths.chain(waits).chain(uses).chain(guards).min()
    }

    /// The guards, in the order in which they were drawn.
    pub const fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Whether a guard is kept, so that it may learn of the client.
    pub fn is_kept(&self, guard: &NodeId) -> bool {
        self.guards.contains(guard) && !self.fresh.contains(guard)
    }

    /// The paths that there are, oldest first.
    pub fn paths(&self) -> impl Iterator<Item = Shown> {
        self.paths.iter().filter_map(|(path, kept)| {
            let Path { hops, made, state, .. } = *kept;
            kept.usage.map(|usage| Shown { path: *path, usage, hops, made, state })
        })
    }

    /// Who is left out for refusals.
    pub const fn left_out(&self) -> &BTreeSet<NodeId> {
        self.blame.dropped()
    }

    fn want(&mut self, now: Time, want: Want) {
        if self.wants.len() >= MAX_WANTS {
            self.outbox.push_back(Output::Fail { ticket: want.ticket, error: PathError::Busy });
            return;
        }
        self.wanted = Some(now);
        if !self.uses.contains_key(&want.usage) && self.uses.len() >= MAX_USES {
            let oldest = self.uses.iter().min_by_key(|(_, usage)| usage.wanted).map(|(usage, _)| *usage);
            if let Some(oldest) = oldest {
                self.uses.remove(&oldest);
                let paths = self.paths.iter().filter(|(_, path)| path.usage == Some(oldest));
                let paths: Vec<_> = paths.map(|(path, _)| *path).collect();
                paths.into_iter().for_each(|path| self.close(now, path));
            }
        }
        let fresh = Usage {
            since: now,
            wanted: now,
            destination: want.destination,
            look_at: now.after(SPARE_AFTER),
            tried: Time::ZERO,
        };
        let usage = self.uses.entry(want.usage).or_insert(fresh);
        (usage.wanted, usage.destination) = (now, want.destination);
        self.wants.insert(want.ticket, (want, now.after(WAIT)));
    }

    fn outcome(&mut self, now: Time, id: PathId, outcome: Outcome) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let (hops, test) = (path.hops, path.usage.is_none());
        let [guard, ..] = hops;
        if outcome != Outcome::Slow {
            path.probed = false;
        }
        match outcome {
            Outcome::Answered => {
                path.state = State::Ready;
                path.refusals = 0;
                self.answers(now, guard);
                if test {
                    self.tests(guard).into_iter().for_each(|test| self.close(now, test));
                }
            }
            Outcome::Stopped { by, destination } => {
                let refused = by.checked_add(1).and_then(|next| hops.get(next)).copied();
                if let Some(by) = hops.get(by) {
                    self.blame.refuse(now, *by, refused.unwrap_or(destination));
                }
                path.refusals = path.refusals.saturating_add(1);
                let keep = refused.is_none() && path.refusals < REFUSALS && !test;
                self.answers(now, guard);
                if !keep {
                    self.close(now, id);
                }
            }
            // Nobody waits for it; a guard is tested once more.
            Outcome::Slow if path.probed => path.state = State::Suspect,
            Outcome::Slow => {
                path.state = State::Suspect;
                if let Some(health) = self.health.get_mut(&guard) {
                    health.suspect();
                }
                self.look_soon(now, id);
            }
            Outcome::Silent => {
                let health = self.health.entry(guard).or_default();
                if health.silent(test) {
                    self.fails(now, guard);
                }
                self.close(now, id);
            }
            Outcome::Undone => {
                // Tested again after a pause, and never given up for it.
                if test {
                    let health = self.health.get(&guard).copied().unwrap_or_default();
                    self.health.insert(guard, health.down(now));
                    self.close(now, id);
                }
            }
            Outcome::BadKey { hop } => {
                self.blame.leave_out(now, hop);
                if hop == guard {
                    self.fails(now, guard);
                }
                self.close(now, id);
            }
            Outcome::Refused | Outcome::Unreached => {
                self.fails(now, guard);
                self.close(now, id);
            }
        }
    }

    /// A guard answers.
    fn answers(&mut self, now: Time, guard: NodeId) {
        self.health.insert(guard, Health::Up { suspect: false, silent: 0 });
        self.keep |= self.guards.answers(now, guard);
    }

    /// A guard does not answer.
    fn fails(&mut self, now: Time, guard: NodeId) {
        let health = self.health.get(&guard).copied().unwrap_or_default();
        self.health.insert(guard, health.down(now));
        self.keep |= self.guards.fails(now, guard);
    }

    /// A clock that is set back would make paths live longer than they may.
    fn end_with_the_clock(&mut self, now: Time) {
        if now.after(STEP) < self.now {
            self.close_all(now);
        }
        self.now = now;
    }

    fn close_all(&mut self, now: Time) {
        let all: Vec<_> = self.paths.keys().copied().collect();
        all.into_iter().for_each(|path| self.close(now, path));
    }

    fn close(&mut self, now: Time, id: PathId) {
        self.look_soon(now, id);
        if self.paths.remove(&id).is_some() {
            self.outbox.push_back(Output::Closed { path: id });
        }
    }

    /// A path is not what it was: its use may need another.
    fn look_soon(&mut self, now: Time, id: PathId) {
        let usage = self.paths.get(&id).and_then(|path| path.usage);
        if let Some(usage) = usage.and_then(|usage| self.uses.get_mut(&usage)) {
            let soon = now.max(usage.tried.after(PAUSE)).max(usage.since.after(SPARE_AFTER));
            usage.look_at = usage.look_at.min(soon);
        }
    }

    fn expire(&mut self, now: Time) {
        let over: Vec<_> =
            self.paths.iter().filter(|(_, path)| path.end <= now).map(|(path, _)| *path).collect();
        for path in over {
            let test = self.paths.get(&path).filter(|path| path.usage.is_none() && path.probed);
            // A host that does not report has lost its probe.
            if let Some([guard, ..]) = test.map(|path| path.hops) {
                self.fails(now, guard);
            }
            self.close(now, path);
        }
        self.uses.retain(|_, usage| now < usage.wanted.after(RECENT));
        if self.wanted.is_some_and(|wanted| now >= wanted.after(RECENT)) {
            self.wanted = None;
        }
    }

    /// Goes on with the guards that are kept: those drawn here, or by another process before.
    fn kept_guards(&mut self, kept: &Guards) {
        self.guards = self.guards.adopt(kept);
        for (node, health) in kept.health() {
            self.health.entry(node).or_insert(health);
        }
        self.fresh.clear();
        self.unkept = None;
    }

    /// Forgets guards that could not be kept; others are drawn after a pause, if somebody waits.
    fn unkept_guards(&mut self, now: Time) {
        for node in core::mem::take(&mut self.fresh) {
            self.guards.forget(&node);
            self.health.remove(&node);
            self.unkept = Some(now.after(PAUSE));
        }
    }

    /// Draws guards where there are too few.
    fn recruit(&mut self, now: Time) {
        if self.wanted.is_none() || self.nodes.is_empty() {
            return;
        }
        self.keep |= self.guards.retire(now, &self.nodes);
        let mut lacking = None;
        while self.guards.wants_another(now, &self.nodes, &self.health) {
            if let Some(until) = self.unkept.filter(|until| now < *until) {
                lacking = Some(until);
                break;
            }
            let pool = Pool { nodes: &self.nodes, avoid: self.blame.dropped() };
            let Some(node) = pool.guard(&mut self.random, &self.guards) else {
                lacking = Some(now.after(DRAW_PAUSE));
                break;
            };
            self.guards.draw(now, node, &mut self.random);
            self.health.insert(node, Health::default());
            self.fresh.insert(node);
            self.keep = true;
        }
        let next = self.guards.deadline(now, &self.nodes, &self.health);
        self.health.retain(|node, _| self.guards.contains(node));
        self.recruit_at = lacking.into_iter().chain(next).min();
    }

    fn test_guards(&mut self, now: Time) {
        if self.wanted.is_none() {
            return;
        }
        let due = |health: &Health| match health {
            Health::Untested { .. } => true,
            Health::Up { suspect, .. } => *suspect,
            Health::Down { retry_at, .. } => *retry_at <= now,
        };
        let guards: Vec<_> = self.guards.active(&self.nodes).map(|guard| guard.node).collect();
        for guard in guards {
            let kept = !self.fresh.contains(&guard);
            if kept && self.health.get(&guard).is_some_and(due) && !self.is_tested(guard) {
                self.test(now, guard);
            }
        }
    }

    /// The tests of a guard that are under way.
    fn tests(&self, guard: NodeId) -> Vec<PathId> {
        let mine = |path: &Path| path.usage.is_none() && path.hops.first() == Some(&guard);
        self.paths.iter().filter(|(_, path)| mine(path)).map(|(id, _)| *id).collect()
    }

    /// Whether no further test of a guard is to begin: beside one that is late a second one is made.
    fn is_tested(&self, guard: NodeId) -> bool {
        let tests = self.tests(guard);
        let late = |test: &PathId| self.paths.get(test).is_some_and(|path| path.state == State::Suspect);
        tests.len() >= TESTS || !tests.iter().all(late)
    }

    fn test(&mut self, now: Time, guard: NodeId) -> bool {
        let probed = self.probe(now, None, guard, None);
        if !probed {
            // Nothing can be sent through it for now: that says nothing of it.
            if let Some(health @ Health::Down { .. }) = self.health.get_mut(&guard) {
                *health = health.down(now);
            }
        }
        probed
    }

    /// Makes a path through a guard and has it tried; false if there is none.
    fn probe(&mut self, now: Time, usage: Option<Use>, guard: NodeId, beside: Option<NodeId>) -> bool {
        let mut avoid = self.avoided();
        let late = self.tests(guard).into_iter().filter_map(|test| self.paths.get(&test));
        avoid.extend(late.flat_map(|test| test.hops));
        let pool = Pool { nodes: &self.nodes, avoid: &avoid };
        let found = pool.probe(&mut self.random, guard, beside);
        let found = found.or_else(|| pool.probe(&mut self.random, guard, None).filter(|_| beside.is_some()));
        let Some((hops, destination)) = found else { return false };
        let path = self.make(now, usage, hops);
        if let Some(made) = self.paths.get_mut(&path) {
            made.probed = true;
        }
        self.outbox.push_back(Output::Probe { path, hops, destination });
        true
    }

    fn make(&mut self, now: Time, usage: Option<Use>, hops: [NodeId; HOPS]) -> PathId {
        self.next = self.next.wrapping_add(1);
        let path = PathId(self.next);
        let spread = Span(below(&mut self.random, LIFETIME.0 / 5));
        let life = if usage.is_some() { LIFETIME } else { TEST };
        let made = Path {
            usage,
            hops,
            made: now,
            replace_at: now.after(REPLACE).after(spread),
            end: now.after(life),
            state: State::Building,
            refusals: 0,
            probed: false,
        };
        let same = self.paths.iter().filter(|(_, path)| path.usage == usage && usage.is_some());
        let same: Vec<_> = same.map(|(path, _)| *path).collect();
        if let Some(oldest) = same.first().filter(|_| same.len() >= MAX_PATHS) {
            self.close(now, *oldest);
        }
        self.paths.insert(path, made);
        path
    }

    /// Gives paths to the packets that wait.
    fn serve(&mut self, now: Time) {
        let tickets: Vec<_> = self.wants.keys().copied().collect();
        for ticket in tickets {
            let Some((want, until)) = self.wants.get(&ticket).cloned() else { continue };
            let output = match self.find(now, &want) {
                Found::Path(path, hops) => Output::Use { ticket, path, hops },
                Found::Soon(_) if now < until => continue,
                Found::Soon(error) | Found::Nothing(error) => Output::Fail { ticket, error },
            };
            self.wants.remove(&ticket);
            self.outbox.push_back(output);
        }
    }

    fn find(&mut self, now: Time, want: &Want) -> Found {
        if !self.nodes.get(&want.destination).is_some_and(|node| node.open) {
            return Found::Nothing(PathError::Destination);
        }
        let kept = self.kept(now, want);
        if let Some((Flaws { suspect: false, blamed: false, old: false }, path, hops)) = kept {
            return Found::Path(path, hops);
        }
        // A second try avoids the hops of the first, if there are others.
        let mut avoid = self.avoided();
        avoid.extend(want.not.iter().flatten());
        let guards = self.usable(want.destination, &avoid);
        let pool = Pool { nodes: &self.nodes, avoid: &avoid };
        let made = guards.iter().find_map(|guard| pool.hops(&mut self.random, *guard, &[want.destination]));
        match (kept, made) {
            (Some((flaws, path, hops)), made) if made.is_none_or(|made| self.flaws(&made) >= flaws) => {
                return Found::Path(path, hops);
            }
            (_, Some(hops)) => return Found::Path(self.make(now, Some(want.usage), hops), hops),
            (_, None) => {}
        }
        let error = self.shortage(now, want.destination);
        // Guards that are down are asked again, now that somebody waits.
        let active: Vec<_> = self.guards.active(&self.nodes).map(|guard| guard.node).collect();
        let mut tested = false;
        for guard in active {
            let rested = self.health.get(&guard).is_some_and(|health| health.rested(now));
            let soon = self.is_tested(guard) || self.fresh.contains(&guard);
            tested |= soon || (rested && self.test(now, guard));
        }
        if tested { Found::Soon(error) } else { Found::Nothing(error) }
    }

    /// The best path that there is for a packet: the oldest of those with the fewest flaws.
    fn kept(&self, now: Time, want: &Want) -> Option<(Flaws, PathId, [NodeId; HOPS])> {
        let usable = self.paths.iter().filter(|(_, path)| {
            (path.usage == Some(want.usage) || (path.usage.is_some() && mutants::on("path-mixed")))
                && now < Time(path.end.0.saturating_sub(LAST.0))
                && self.stands(&path.hops)
                && choose::fits(&self.nodes, &path.hops, want.destination)
                // A second try goes through another guard where it can.
                && !want.not.iter().any(|hops| hops.first() == path.hops.first())
        });
        let best =
            usable.min_by_key(|(id, path)| (self.flaws_of(now, path), path.state == State::Building, **id));
        best.map(|(id, path)| (self.flaws_of(now, path), *id, path.hops))
    }

    fn flaws_of(&self, now: Time, path: &Path) -> Flaws {
        let Flaws { suspect, blamed, .. } = self.flaws(&path.hops);
        let suspect = suspect || path.state == State::Suspect;
        Flaws { suspect, blamed, old: now >= path.replace_at }
    }

    fn flaws(&self, hops: &[NodeId; HOPS]) -> Flaws {
        let blamed = hops.iter().any(|hop| self.blame.dropped().contains(hop));
        Flaws { suspect: self.is_suspect(hops), blamed, old: false }
    }

    /// Whether a path's hops can still be used, and its guard answers.
    fn stands(&self, hops: &[NodeId; HOPS]) -> bool {
        let [guard, ..] = hops;
        let up = matches!(self.health.get(guard), Some(Health::Up { .. }));
        up && self.guards.is_active(*guard)
            && hops.iter().all(|hop| self.nodes.get(hop).is_some_and(|node| node.open))
    }

    fn is_suspect(&self, [guard, ..]: &[NodeId; HOPS]) -> bool {
        matches!(self.health.get(guard), Some(Health::Up { suspect: true, .. }))
    }

    /// Nodes that are chosen only where nothing else will do: those left out for refusals, and guards that
    /// do not answer, which are no better further on.
    fn avoided(&self) -> BTreeSet<NodeId> {
        let silent = self.health.iter().filter(|(_, health)| !health.is_well()).map(|(guard, _)| *guard);
        self.blame.dropped().iter().copied().chain(silent).collect()
    }

    /// The guards that a packet for this destination may go through, the best first.
    fn usable(&self, destination: NodeId, avoid: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let up = self.guards.active(&self.nodes).filter_map(|guard| match self.health.get(&guard.node) {
            Some(Health::Up { suspect, .. }) => Some((guard.node, *suspect)),
            Some(Health::Untested { .. } | Health::Down { .. }) | None => None,
        });
        let up = up.filter(|(guard, _)| self.nodes.get(guard).is_some_and(|node| node.open));
        let fits = |(at, (guard, suspect)): (usize, (NodeId, bool))| {
            let fits = choose::fits(&self.nodes, &[guard], destination);
            fits.then_some((avoid.contains(&guard), suspect, at, guard))
        };
        let mut all: Vec<_> = up.enumerate().filter_map(fits).collect();
        all.sort_unstable();
        all.into_iter().map(|(.., guard)| guard).collect()
    }

    /// What is missing for a path to this destination.
    fn shortage(&mut self, now: Time, destination: NodeId) -> PathError {
        let pool = Pool { nodes: &self.nodes, avoid: &BTreeSet::new() };
        let possible = pool.any(&mut self.random, destination);
        if !possible {
            let open = || self.nodes.values().filter(|node| node.open);
            return PathError::TooFew {
                nodes: self.nodes.len(),
                open: open().count(),
                operators: open().map(|node| node.operator).collect::<BTreeSet<_>>().len(),
                prefixes: open().map(|node| node.prefix).collect::<BTreeSet<_>>().len(),
            };
        }
        let up = |guard: &guards::Guard| matches!(self.health.get(&guard.node), Some(Health::Up { .. }));
        if self.guards.active(&self.nodes).any(up) {
            return PathError::Near;
        }
        if self.unkept.is_some() {
            return PathError::Unkept;
        }
        let guards = self.guards.active(&self.nodes).count();
        PathError::Guards { guards, left: self.guards.left(now, &self.nodes) }
    }

    /// Has spare paths made for the uses that were wanted lately.
    fn look_after_spares(&mut self, now: Time) {
        let due: Vec<_> =
            self.uses.iter().filter(|(_, usage)| usage.look_at <= now).map(|(usage, _)| *usage).collect();
        for usage in due {
            let good = |path: &&Path| {
                let well = self.flaws_of(now, path) == Flaws::default();
                path.usage == Some(usage) && well && self.stands(&path.hops)
            };
            let mine: Vec<_> = self.paths.values().filter(good).collect();
            let until = mine.iter().map(|path| path.replace_at).min();
            let (lacking, probed) = (mine.len() < READY, mine.iter().any(|path| path.probed));
            let taken: BTreeSet<_> = mine.iter().filter_map(|path| path.hops.first()).copied().collect();
            let Some(destination) = self.uses.get(&usage).map(|usage| usage.destination) else { continue };
            if lacking && !probed {
                // The spare begins at the other guard, so that the death of one leaves a path.
                if let Some(guard) = self.usable(destination, &taken).first().copied() {
                    self.probe(now, Some(usage), guard, Some(destination));
                }
            }
            if let Some(usage) = self.uses.get_mut(&usage) {
                usage.tried = now;
                let next = if lacking { None } else { until };
                usage.look_at = next.unwrap_or_else(|| now.after(PAUSE));
            }
        }
    }
}

/// What speaks against a path, the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Flaws {
    /// An answer is late.
    suspect: bool,
    /// One of its hops is left out.
    blamed: bool,
    /// Another should have taken over.
    old: bool,
}

enum Found {
    Path(PathId, [NodeId; HOPS]),
    /// Guards are being tested; why there is none so far.
    Soon(PathError),
    Nothing(PathError),
}
