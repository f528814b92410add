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
//! - `trials`: guards that are drawn and tested, and paths that are tested before they are needed
//! - `wants`: which path a packet gets
//! - `blame`: who refused whom, and who is left out for that
//! - `choose`: hops at random, under the rules
//! - [`delivery`]: which path next for a request, and when it is given up
//! - [`passage`]: what a refusal means for it on one path
//! - [`sessions`]: what the hops of paths keep

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_core::Rng;

use crate::{AccountId, NodeId, Prefix, Span, Time, mutants};

use blame::Blame;
use choose::below;
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
mod trials;
mod wants;

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
/// When a test is late, so that another one is made beside it.
pub const LATE: Span = Span::millis(500);
/// How long a test may take; after that it is silent.
pub const TEST: Span = Span::secs(2);
/// How long a packet's host listens on after its path was given up: by then the hop before a silent one has
/// told so. It is longer than [`patience`](crate::onion::relay::patience) of a guard.
pub const ECHO: Span = Span::secs(14);
/// Paths that were closed lately, of which a hop may still say that it went no further.
const MAX_GONE: usize = 256;
/// Packets that a guard has to leave without a word, or refuse, though it answers the tests between them, until
/// another one takes its place.
const UNHEARD: u8 = 3;
/// Tests of one guard at once: one that is late may have gone wrong at another hop.
const TESTS: usize = 2;
/// How long other guards are preferred to one that has too much to do. It is not replaced: whoever can keep it
/// busy would choose the client's guards.
const BUSY: Span = Span::secs(30);
/// A clock that goes back by more than this was set.
const STEP: Span = Span::secs(1);
/// The pause between two tries to make a spare path for a use; it doubles while none comes of them.
const PAUSE: Span = Span::secs(1);
/// The longest.
const MAX_PAUSE: Span = Span::secs(30);
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
    /// What the owner of one account signs, but for stores: reading first of all.
    Read(AccountId),
    /// Storing, whoever signs it.
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
    /// Something became of a packet. The last word on it may come after its path was given up, for as long as
    /// [`ECHO`].
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
    /// It was no test, and for as long as [`ECHO`] after it was sent there was not one word: the guard itself
    /// keeps silent, for an honest one gives the next hop up sooner, and says so.
    Unheard,
    /// The guard has too much to do, or says so.
    Busy,
    /// It did not come to be sent, and that says nothing of any hop: there is too much to do here, the clock is
    /// wrong, a key is not known.
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
    /// account, and report what comes of it: that tests the guard, and makes the path ready. When it is late,
    /// or silent, the machine knows.
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
    /// A guard was silent: let the stream to it go. The next packet to it begins with another.
    HangUp {
        /// The guard.
        guard: NodeId,
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
    /// When the test that is under way on it began.
    tested: Option<Time>,
}

impl Path {
    /// When the test that is under way on it is late, or silent.
    fn due(&self) -> Option<Time> {
        let span = if self.state == State::Suspect { TEST } else { LATE };
        self.tested.map(|begun| begun.after(span))
    }
}

/// What a guard leaves without a word, or refuses.
#[derive(Clone, Copy, Debug, Default)]
struct Mute {
    /// Packets.
    packets: u8,
    /// When it last answered a test, if no packet was counted since.
    answered: Option<Time>,
}

#[derive(Debug)]
struct Usage {
    since: Time,
    wanted: Time,
    destination: NodeId,
    /// When its spare is looked after.
    look_at: Time,
    tried: Time,
    /// From one try to the next.
    pause: Span,
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
    /// The hops of paths that were closed, and until when it counts what is said of them.
    gone: BTreeMap<PathId, ([NodeId; HOPS], Time)>,
    /// Guards that said that they have too much to do, and until when others are preferred.
    busy: BTreeMap<NodeId, Time>,
    /// Guards that left packets without a word, or refused them, since the last one that was answered.
    mute: BTreeMap<NodeId, Mute>,
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
            gone: BTreeMap::new(),
            busy: BTreeMap::new(),
            mute: BTreeMap::new(),
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
        self.judge_trials(now);
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
        let trials = self.paths.values().filter_map(Path::due);
        paths.chain(waits).chain(uses).chain(guards).chain(trials).min()
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

    fn outcome(&mut self, now: Time, id: PathId, outcome: Outcome) {
        let Some(path) = self.paths.get_mut(&id) else { return self.echo(now, id, outcome) };
        let (hops, test, tried) = (path.hops, path.usage.is_none(), path.tested.is_some());
        let [guard, ..] = hops;
        if outcome != Outcome::Slow {
            path.tested = None;
        }
        match outcome {
            Outcome::Answered => {
                path.state = State::Ready;
                path.refusals = 0;
                self.answers(now, guard);
                if tried {
                    self.mute.entry(guard).or_default().answered = Some(now);
                } else {
                    self.mute.remove(&guard);
                }
                if test {
                    self.tests(guard).into_iter().for_each(|test| self.close(now, test));
                }
            }
            Outcome::Stopped { by, destination } => {
                path.refusals = path.refusals.saturating_add(1);
                let keep = by.saturating_add(1) >= HOPS && path.refusals < REFUSALS && !test;
                self.lay(now, hops, by, destination);
                if by > 0 {
                    self.answers(now, guard);
                } else if !test {
                    // Whoever gets nothing to any next hop is no guard, whatever it says: a test will tell.
                    self.suspect(guard);
                } else if self.health.entry(guard).or_default().silent(test) {
                    self.fails(now, guard);
                }
                if !keep {
                    self.close(now, id);
                }
            }
            // Nobody waits for it; a guard is tested once more.
            Outcome::Slow if path.tested.is_some() => path.state = State::Suspect,
            Outcome::Slow => {
                path.state = State::Suspect;
                self.suspect(guard);
                self.look_soon(now, id);
            }
            Outcome::Silent | Outcome::Unheard => {
                let health = self.health.entry(guard).or_default();
                if health.silent(test) {
                    self.fails(now, guard);
                }
                if outcome == Outcome::Unheard {
                    self.leaves(now, guard, ECHO);
                }
                self.outbox.push_back(Output::HangUp { guard });
                self.close(now, id);
            }
            Outcome::Busy if !test => {
                self.busy.insert(guard, now.after(BUSY));
            }
            Outcome::Busy | Outcome::Undone => {
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
                // Whoever refuses is reached, whenever the test between was.
                if outcome == Outcome::Refused && !tried {
                    self.leaves(now, guard, LIFETIME);
                }
                self.fails(now, guard);
                self.close(now, id);
            }
        }
    }

    /// Lays a refusal at the link between the hop `by` and the next.
    fn lay(&mut self, now: Time, hops: [NodeId; HOPS], by: usize, destination: NodeId) {
        let next = by.checked_add(1).and_then(|next| hops.get(next)).copied();
        if let Some(by) = hops.get(by) {
            self.blame.refuse(now, *by, next.unwrap_or(destination));
        }
    }

    /// What becomes of a packet whose path was closed: who went no further still counts, and who says nothing.
    fn echo(&mut self, now: Time, id: PathId, outcome: Outcome) {
        let gone = self.gone.get(&id).filter(|(_, until)| now < *until);
        let Some((hops, _)) = gone.copied() else { return };
        match outcome {
            Outcome::Stopped { by, destination } => self.lay(now, hops, by, destination),
            Outcome::Unheard => self.leaves(now, hops[0], ECHO),
            Outcome::Answered
            | Outcome::Refused
            | Outcome::Unreached
            | Outcome::Slow
            | Outcome::Silent
            | Outcome::Busy
            | Outcome::Undone
            | Outcome::BadKey { .. } => {}
        }
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
        let Some(Path { hops, .. }) = self.paths.remove(&id) else { return };
        self.outbox.push_back(Output::Closed { path: id });
        self.gone.insert(id, (hops, now.after(ECHO)));
        if self.gone.len() > MAX_GONE {
            self.gone.pop_first();
        }
    }

    /// A path is not what it was: its use may need another.
    fn look_soon(&mut self, now: Time, id: PathId) {
        let usage = self.paths.get(&id).and_then(|path| path.usage);
        if let Some(usage) = usage.and_then(|usage| self.uses.get_mut(&usage)) {
            let soon = now.max(usage.tried.after(usage.pause)).max(usage.since.after(SPARE_AFTER));
            usage.look_at = usage.look_at.min(soon);
        }
    }

    fn expire(&mut self, now: Time) {
        let over: Vec<_> =
            self.paths.iter().filter(|(_, path)| path.end <= now).map(|(path, _)| *path).collect();
        over.into_iter().for_each(|path| self.close(now, path));
        self.busy.retain(|_, until| now < *until);
        self.gone.retain(|_, (_, until)| now < *until);
        self.uses.retain(|_, usage| now < usage.wanted.after(RECENT));
        if self.wanted.is_some_and(|wanted| now >= wanted.after(RECENT)) {
            self.wanted = None;
        }
    }

    fn make(&mut self, now: Time, usage: Option<Use>, hops: [NodeId; HOPS]) -> PathId {
        self.next = self.next.wrapping_add(1);
        let path = PathId(self.next);
        let spread = Span(below(&mut self.random, LIFETIME.0 / 5));
        let made = Path {
            usage,
            hops,
            made: now,
            replace_at: now.after(REPLACE).after(spread),
            end: now.after(if mutants::on("path-endless") { Span::days(1) } else { LIFETIME }),
            state: State::Building,
            refusals: 0,
            tested: None,
        };
        let same = self.paths.iter().filter(|(_, path)| path.usage == usage && usage.is_some());
        let same: Vec<_> = same.map(|(path, _)| *path).collect();
        if let Some(oldest) = same.first().filter(|_| same.len() >= MAX_PATHS) {
            self.close(now, *oldest);
        }
        self.paths.insert(path, made);
        path
    }
}
