//! One client's paths over nodes that answer at once, are dead, or lie: for tests, and for simulations of
//! months that have no time for packets.

#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test's model, which speaks by panics"
)]

use super::{guards::Guards, *};

/// When it begins.
pub const START: Time = Time::from_millis(1_790_000_000_000);

pub fn id(number: u16) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    NodeId::from_bytes(bytes)
}

pub fn candidate(operator: u16, prefix: u16) -> Candidate {
    let mut bytes = [0; 20];
    bytes[..2].copy_from_slice(&operator.to_be_bytes());
    let [high, low] = prefix.to_be_bytes();
    Candidate { operator: bytes, prefix: Prefix::V4([10, high, low]), open: true }
}

/// As many nodes, each of an operator and a prefix of its own.
pub fn apart(count: u16) -> BTreeMap<NodeId, Candidate> {
    (0..count).map(|number| (id(number), candidate(number, number))).collect()
}

/// A machine, and the nodes that it speaks to: they answer at once, or are dead, or lie.
#[derive(Debug)]
pub struct World<R> {
    pub machine: Paths<R>,
    pub now: Time,
    pub nodes: BTreeMap<NodeId, Candidate>,
    pub dead: BTreeSet<NodeId>,
    /// They say that the next hop is gone.
    pub liars: BTreeSet<NodeId>,
    /// As guards they answer tests, and say nothing to other packets.
    pub mute: BTreeSet<NodeId>,
    /// As guards they answer tests, and refuse other packets.
    pub picky: BTreeSet<NodeId>,
    /// As guards they answer tests, and say to other packets that they have too much to do.
    pub busy: BTreeSet<NodeId>,
    /// As guards they answer tests, and pass other packets on where middle and last hop are of them too: what
    /// becomes of all else.
    pub steering: BTreeMap<NodeId, Outcome>,
    pub kept: Option<Guards>,
    /// Guards cannot be kept.
    pub disk_full: bool,
    /// What came of each ticket.
    pub results: BTreeMap<u64, Result<(PathId, [NodeId; HOPS]), PathError>>,
    pub closed: BTreeSet<PathId>,
    pub probes: usize,
    /// The guards that anything was sent to, answered or not: they know where the client is.
    pub dialled: BTreeSet<NodeId>,
    /// How often something was wanted.
    pub ticket: u64,
}

impl<R: Rng> World<R> {
    /// A client that had these guards. `random` fixes what it draws.
    pub fn begin(nodes: BTreeMap<NodeId, Candidate>, random: R, now: Time, guards: Guards) -> Self {
        let mut world = Self {
            kept: Some(guards.clone()).filter(|guards| !guards.all().is_empty()),
            machine: Paths::new(guards, random),
            now,
            nodes,
            dead: BTreeSet::new(),
            liars: BTreeSet::new(),
            mute: BTreeSet::new(),
            picky: BTreeSet::new(),
            busy: BTreeSet::new(),
            steering: BTreeMap::new(),
            disk_full: false,
            results: BTreeMap::new(),
            closed: BTreeSet::new(),
            probes: 0,
            dialled: BTreeSet::new(),
            ticket: 0,
        };
        world.feed(Input::Nodes(world.nodes.clone()));
        world
    }

    pub fn feed(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Use { ticket, path, hops } => {
                    self.results.insert(ticket, Ok((path, hops)));
                }
                Output::Fail { ticket, error } => {
                    self.results.insert(ticket, Err(error));
                }
                Output::Probe { path, hops, destination } => {
                    self.probes += 1;
                    check(&self.nodes, &hops, destination);
                    let outcome = self.send(&hops, destination);
                    self.machine.handle(self.now, Input::Outcome { path, outcome });
                }
                Output::Keep(_) if self.disk_full => self.machine.handle(self.now, Input::Unkept),
                Output::Keep(guards) => {
                    let before = self.kept.take().unwrap_or_default();
                    let kept = guards.merge(&before, self.now, &self.nodes);
                    self.kept = Some(kept.clone());
                    self.machine.handle(self.now, Input::Kept(kept));
                }
                Output::Closed { path } => assert!(self.closed.insert(path), "closed twice"),
                Output::HangUp { .. } => {}
            }
        }
        assert!(self.machine.deadline().is_none_or(|at| at > self.now), "nothing is due for ever");
    }

    /// What becomes of a packet.
    pub fn send(&mut self, hops: &[NodeId; HOPS], destination: NodeId) -> Outcome {
        let [guard, middle, last] = *hops;
        self.dialled.insert(guard);
        if self.dead.contains(&guard) {
            return Outcome::Unreached;
        }
        for (by, (hop, next)) in
            [(guard, middle), (middle, last), (last, destination)].into_iter().enumerate()
        {
            if self.dead.contains(&next) || self.liars.contains(&hop) {
                return Outcome::Stopped { by, destination };
            }
        }
        Outcome::Answered
    }

    pub fn want(&mut self, usage: Use, destination: NodeId, not: Vec<[NodeId; HOPS]>) -> u64 {
        self.ticket += 1;
        let ticket = self.ticket;
        self.feed(Input::Want(Want { ticket, usage, destination, not }));
        ticket
    }

    /// A request that is tried once: its path, and what became of it.
    pub fn ask(
        &mut self,
        usage: Use,
        destination: NodeId,
    ) -> Result<(PathId, [NodeId; HOPS], Outcome), PathError> {
        self.ask_anew(usage, destination, Vec::new())
    }

    /// The same after it went over these paths in vain.
    pub fn ask_anew(
        &mut self,
        usage: Use,
        destination: NodeId,
        not: Vec<[NodeId; HOPS]>,
    ) -> Result<(PathId, [NodeId; HOPS], Outcome), PathError> {
        let ticket = self.want(usage, destination, not);
        let until = self.now.after(Span(WAIT.0 * 2));
        while !self.results.contains_key(&ticket) {
            let next = self.machine.deadline().expect("the wait has an end");
            assert!(next <= until, "a want is answered in time");
            self.run(next);
        }
        let (path, hops) = self.results[&ticket]?;
        check(&self.nodes, &hops, destination);
        let mut outcome = self.send(&hops, destination);
        if self.mute.contains(&hops[0]) && outcome != Outcome::Unreached {
            outcome = Outcome::Silent;
        }
        if let Some(steered) = self.steering.get(&hops[0])
            && !hops.iter().all(|hop| self.steering.contains_key(hop))
        {
            outcome = *steered;
        }
        if self.picky.contains(&hops[0]) && outcome != Outcome::Unreached {
            outcome = Outcome::Refused;
        }
        if self.busy.contains(&hops[0]) {
            outcome = Outcome::Busy;
        }
        self.feed(Input::Outcome { path, outcome });
        Ok((path, hops, outcome))
    }

    /// Lets time pass.
    pub fn run(&mut self, until: Time) {
        while let Some(next) = self.machine.deadline().filter(|next| *next <= until) {
            self.now = next;
            self.feed(Input::Tick);
        }
        self.now = until;
    }

    pub fn pass(&mut self, span: Span) {
        self.run(self.now.after(span));
    }

    pub fn guards(&self) -> Vec<NodeId> {
        self.machine.guards().all().iter().map(|guard| guard.node).collect()
    }
}

/// The rules that every path keeps.
fn check(nodes: &BTreeMap<NodeId, Candidate>, hops: &[NodeId; HOPS], destination: NodeId) {
    let all: Vec<_> = hops.iter().chain([&destination]).collect();
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            let (one, other) = (&nodes[*one], &nodes[*other]);
            assert!(one.operator != other.operator && one.prefix != other.prefix, "{all:?}");
        }
    }
}
