//! The members' machines, wired to each other in memory; they may be made to lie.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use futures::future::{BoxFuture, join_all};
use libp2p::PeerId;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use session_chain::{
    light::Archive,
    names::{Index, tables::Memory},
};
use session_protocols::{
    KeyPair, Maps, NetworkName, NodeId, SwarmMap, Time,
    answer::{Answer, Body, Code, RULES, Subject},
    codec,
    directory::{self, OnionDoor, SignedCheckpoint, SignedRecord},
    libp2p::address,
    mailbox::{self, Limits},
    member::{Input, Member, Output, Setup, check_answer, check_ask, check_request},
    names::lookup,
    notify::{EVENT_BYTES, EVENT_COUNT, Event, Subscribe, Subscribed},
    onion::{
        fit,
        keys::Keyring,
        relay::{Neighbour, Refusal, Relay, Step},
        wrap::{Service, Status},
    },
    request::{Door, If, MAX_REQUEST, Request},
    store::memory::MemoryStore,
    swarm::SwarmRequest,
};
use tokio::sync::{mpsc, oneshot};

/// The software that members say they run.
const VERSION: &str = "1.2.3";

/// What a lying member says to a request, given what an honest one would; none is silence.
pub(super) type Lie = Box<dyn FnMut(&Request, Answer) -> Option<Answer> + Send>;

/// What a lying node says to a lookup, given what an honest one would; none is silence.
pub(super) type Mislead = Box<dyn FnMut(lookup::Answer) -> Option<lookup::Answer> + Send>;

/// What a node answers to somebody who asks for a list of all nodes.
pub(super) type Listed = Arc<dyn Fn(&directory::Request) -> directory::Answer + Send + Sync>;

/// What goes to a subscriber.
pub(super) enum Push {
    Answer(Subscribed),
    Event(Event),
}

#[derive(Clone)]
pub(super) struct World(Arc<Mutex<Machines>>);

pub(super) struct Machines {
    network: NetworkName,
    /// Added to the clock of this machine, in milliseconds.
    pub(super) offset_ms: i64,
    pub(super) records: Vec<SignedRecord>,
    /// What nodes answer who have a list of all nodes.
    pub(super) lists: BTreeMap<NodeId, Listed>,
    /// The checkpoints that nodes hand out, and those who hand out others.
    pub(super) archive: Archive,
    pub(super) forged: BTreeMap<NodeId, Arc<SignedCheckpoint>>,
    /// The index of names that nodes answer from, at the end of which epoch, and those who say something else.
    pub(super) names: Index<Memory>,
    pub(super) named: u64,
    pub(super) misled: BTreeMap<NodeId, Mislead>,
    /// Lookups that were answered.
    pub(super) lookups: usize,
    /// Whom anybody has connected to.
    pub(super) met: BTreeSet<NodeId>,
    members: BTreeMap<NodeId, One>,
    next: u64,
    clients: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// Who asked, its number for the question, the question, and what about.
    asked: BTreeMap<u64, (NodeId, u64, SwarmRequest, Vec<Subject>)>,
    subscribers: BTreeMap<u64, mpsc::UnboundedSender<Push>>,
    relays: BTreeMap<NodeId, Relay<PeerId, ChaCha8Rng>>,
    /// They hang up.
    pub(super) down: BTreeSet<NodeId>,
    /// They take packets, and nothing follows.
    pub(super) mute: BTreeSet<NodeId>,
    /// How much the answers of watches may hold.
    pub(super) frames: Vec<usize>,
    /// They have too much to do for clients.
    pub(super) busy: BTreeSet<NodeId>,
    /// Packets as hops saw them.
    pub(super) tap: Vec<Tapped>,
}

/// What one hop took in and gave out for one packet, byte by byte.
#[derive(Clone, Debug)]
pub(super) struct Tapped {
    pub(super) at: NodeId,
    /// Whether it came from a node.
    pub(super) inside: bool,
    pub(super) packet: Vec<u8>,
    pub(super) answer: Vec<u8>,
    pub(super) beyond: Beyond,
}

/// What a hop did with what it peeled.
#[derive(Clone, Debug)]
pub(super) enum Beyond {
    Nothing,
    /// It sent this on, and this came back.
    Hop(NodeId, Vec<u8>, Vec<u8>),
    /// It was the destination of this request.
    Service(Vec<u8>),
}

struct One {
    member: Member,
    store: MemoryStore,
    alive: bool,
    lie: Option<Lie>,
    /// Lies about events.
    twist: Option<Box<dyn FnMut(Event) -> Event + Send>>,
}

impl World {
    pub(super) fn new(network: &NetworkName, map: &SwarmMap, pairs: &[KeyPair]) -> Self {
        let one = |(number, pair): (usize, &KeyPair)| {
            let (limits, version) = (Limits::default(), VERSION.to_owned());
            let setup = Setup {
                network: network.clone(),
                pair: pair.clone(),
                maps: map.clone().into(),
                limits,
                version,
                rules: RULES,
            };
            let store = MemoryStore::new(number as u64 + 1);
            let one = One { member: Member::new(setup), store, alive: true, lie: None, twist: None };
            (pair.node_id(), one)
        };
        let machines = Machines {
            network: network.clone(),
            offset_ms: 0,
            records: Vec::new(),
            lists: BTreeMap::new(),
            archive: Archive::default(),
            forged: BTreeMap::new(),
            names: Index::default(),
            named: 0,
            misled: BTreeMap::new(),
            lookups: 0,
            met: BTreeSet::new(),
            members: pairs.iter().enumerate().map(one).collect(),
            next: 0,
            clients: BTreeMap::new(),
            asked: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            relays: BTreeMap::new(),
            down: BTreeSet::new(),
            mute: BTreeSet::new(),
            frames: Vec::new(),
            busy: BTreeSet::new(),
            tap: Vec::new(),
        };
        let world = Self(Arc::new(Mutex::new(machines)));
        let mut machines = world.lock();
        for (node, _) in machines.nodes() {
            for fellow in map.swarm_with(&node).map_or(&[][..], |swarm| map.members(swarm)) {
                if *fellow != node {
                    machines.input(node, Input::Connected(*fellow));
                }
            }
        }
        machines.tick();
        drop(machines);
        world
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Machines> {
        self.0.lock().unwrap()
    }

    /// Answers a client's request at one member; none is silence.
    pub(super) async fn ask(&self, node: NodeId, request: Request) -> Option<Answer> {
        self.ask_for(node, request, None).await
    }

    /// The same, in so much room; of several requests each as if it had come alone.
    fn ask_for(&self, node: NodeId, request: Request, room: Option<usize>) -> BoxFuture<'_, Option<Answer>> {
        Box::pin(async move {
            let body = match request.clone() {
                Request::Batch(requests) => {
                    let room = room.map(|room| room / requests.len().max(1));
                    let answers =
                        join_all(requests.into_iter().map(|one| self.ask_for(node, one, room))).await;
                    Body::Batch(answers.into_iter().collect::<Option<_>>()?)
                }
                Request::Sequence(requests) => {
                    let room = room.map(|room| room / requests.len().max(1));
                    let mut answers = Vec::new();
                    for one in requests {
                        answers.push(self.ask_for(node, one, room).await?);
                        if answers.last().is_some_and(|last| matches!(last.body, Body::Refused(_))) {
                            break;
                        }
                    }
                    Body::Batch(answers)
                }
                Request::If(choice) => {
                    let If { when, then, otherwise } = *choice;
                    let condition = when.iter().all(|one| one.holds(RULES, VERSION, 0));
                    let answer = match if condition { then } else { otherwise } {
                        Some(chosen) => Some(Box::new(self.ask_for(node, chosen, room).await?)),
                        None => None,
                    };
                    Body::If { condition, answer }
                }
                alone => self.ask_alone(node, alone, room).await?,
            };
            let mut machines = self.lock();
            let answer = Answer { time: machines.now().as_millis(), body };
            match machines.members.get_mut(&node)?.lie.as_mut() {
                Some(lie) => lie(&request, answer),
                None => Some(answer),
            }
        })
    }

    async fn ask_alone(&self, node: NodeId, request: Request, room: Option<usize>) -> Option<Body> {
        let (answer, answered) = oneshot::channel();
        self.lock().request(node, request, room, answer);
        Some(answered.await.ok()?.body)
    }

    /// Takes a packet through one hop and all behind it; none when it hangs up.
    pub(super) fn onion(
        &self,
        at: NodeId,
        from: Neighbour<PeerId>,
        packet: Vec<u8>,
    ) -> BoxFuture<'static, Option<Vec<u8>>> {
        let world = self.clone();
        Box::pin(async move {
            let (gone, mute) = {
                let machines = world.lock();
                (machines.down.contains(&at) || !machines.members[&at].alive, machines.mute.contains(&at))
            };
            if gone {
                return None;
            }
            if !from.node && world.lock().busy.contains(&at) {
                return Some(Refusal::Busy.frame().to_vec());
            }
            if mute {
                futures::future::pending::<()>().await;
            }
            let (came, mut beyond) = (packet.clone(), Beyond::Nothing);
            let answer = world.pass(at, from, packet, &mut beyond).await;
            let answer = answer.unwrap_or_else(|refusal| refusal.frame().to_vec());
            let tapped = Tapped { at, inside: from.node, packet: came, answer: answer.clone(), beyond };
            world.lock().tap.push(tapped);
            Some(answer)
        })
    }

    async fn pass(
        &self,
        at: NodeId,
        from: Neighbour<PeerId>,
        packet: Vec<u8>,
        beyond: &mut Beyond,
    ) -> Result<Vec<u8>, Refusal> {
        let relay = |machines: &mut Machines| machines.relays.remove(&at).unwrap();
        let with = |work: &mut dyn FnMut(Time, &mut Relay<PeerId, ChaCha8Rng>)| {
            let mut machines = self.lock();
            let now = machines.now();
            let mut hop = relay(&mut machines);
            work(now, &mut hop);
            machines.relays.insert(at, hop);
        };
        let (mut packet, mut opening) = (Some(packet), None);
        with(&mut |_, hop| opening = Some(hop.arrive(from, packet.take().unwrap())));
        let mut opened = Some(opening.unwrap()?.run());
        let mut step = None;
        with(&mut |now, hop| {
            step = Some(opened.take().unwrap().and_then(|opened| hop.opened(now, from, opened)));
        });
        let sealed = match step.unwrap() {
            Ok(Step::Forward { to, packet, back }) => {
                let me = Neighbour { key: address::peer_id(&at).unwrap(), node: true, prefix: None };
                let answer = self.onion(to, me, packet.clone()).await;
                *beyond = Beyond::Hop(to, packet, answer.clone().unwrap_or_default());
                back.relay(answer.as_deref())
            }
            Ok(Step::Deliver { service, request, back }) => {
                let answer = match service {
                    Service::Names => self.look_up(at, &request),
                    Service::Storage | Service::Notify => {
                        let answer = self.deliver(at, service, &request, back.capacity()).await;
                        answer.map(|answer| codec::encode(&answer))
                    }
                };
                *beyond = Beyond::Service(request);
                match answer {
                    Some(answer) => back.answer(&answer),
                    None => back.turn(Status::Unreachable),
                }
            }
            Ok(Step::Turn { status, back }) => back.turn(status),
            Err(refusal) => Err(refusal),
        };
        let mut sealed = Some(sealed);
        let mut answer = Err(Refusal::Unreadable);
        with(&mut |now, hop| {
            answer = match sealed.take().unwrap() {
                Ok(sealed) => Ok(hop.leave(now, from, sealed)),
                Err(refusal) => {
                    hop.forget(from);
                    Err(refusal)
                }
            };
        });
        answer
    }

    /// Answers a lookup at one node; none is silence.
    pub(super) fn look_up(&self, at: NodeId, request: &[u8]) -> Option<Vec<u8>> {
        let request = codec::decode(request, lookup::MAX_REQUEST).unwrap();
        let mut machines = self.lock();
        machines.lookups += 1;
        let answer = machines.names.answer(machines.named, &request).unwrap();
        let said = match machines.misled.get_mut(&at) {
            Some(mislead) => mislead(answer),
            None => Some(answer),
        };
        said.map(|answer| codec::encode(&answer))
    }

    async fn deliver(&self, at: NodeId, service: Service, request: &[u8], room: usize) -> Option<Answer> {
        let asked: Request = codec::decode(request, MAX_REQUEST).unwrap();
        if service == Service::Notify {
            self.lock().frames.push(room);
        }
        let mut answer = self.ask_within(at, asked.clone(), room).await?;
        if service == Service::Notify
            && let (Request::Retrieve(retrieve), Body::Messages { messages, .. }) = (&asked, &answer.body)
            && messages.is_empty()
        {
            let (subscriber, mut pushes) = self.subscribe(at, Subscribe { retrieve: retrieve.clone() });
            let arrival = async {
                while let Some(push) = pushes.recv().await {
                    if matches!(push, Push::Event(_)) {
                        return;
                    }
                }
            };
            let arrived = tokio::time::timeout(std::time::Duration::from_secs(8), arrival).await;
            self.lock().unsubscribe(at, subscriber);
            if arrived.is_ok() {
                answer = self.ask_within(at, asked, room).await?;
            }
        }
        Some(answer)
    }

    async fn ask_within(&self, at: NodeId, request: Request, room: usize) -> Option<Answer> {
        let fetched = match &request {
            Request::Fetch(fetch) => fetch.hashes.clone(),
            _ => Vec::new(),
        };
        let mut answer = self.ask_for(at, request, Some(room)).await?;
        fit::trim(&mut answer, &fetched, room);
        Some(answer)
    }

    pub(super) fn subscribe(
        &self,
        node: NodeId,
        subscribe: Subscribe,
    ) -> (u64, mpsc::UnboundedReceiver<Push>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut machines = self.lock();
        let subscriber = machines.number();
        let request = Request::Retrieve(subscribe.retrieve.clone());
        match check_request(&machines.network, machines.now(), &request, Door::Native) {
            Ok(()) => {
                machines.subscribers.insert(subscriber, sender);
                machines.input(node, Input::Subscribe { subscriber, retrieve: subscribe.retrieve });
            }
            Err(code) => drop(sender.send(Push::Answer(Subscribed::Refused { code }))),
        }
        (subscriber, receiver)
    }
}

impl Machines {
    /// Whose machines these are, and whether each is alive.
    pub(super) fn nodes(&self) -> Vec<(NodeId, bool)> {
        self.members.iter().map(|(node, one)| (*node, one.alive)).collect()
    }

    /// What a node says of all nodes.
    pub(super) fn directory(&self, node: NodeId, request: &directory::Request) -> directory::Answer {
        match request {
            directory::Request::Records { .. } => {
                directory::Answer::Records { records: self.records.clone(), more: false }
            }
            directory::Request::Snapshot { .. } => {
                self.lists.get(&node).map_or(directory::Answer::Unknown, |list| list(request))
            }
            directory::Request::Checkpoint { .. } => {
                let mut archive = self.archive.clone();
                if let Some(forged) = self.forged.get(&node) {
                    archive = Archive::default();
                    archive.keep(Arc::clone(forged));
                }
                let page = archive.page(request);
                page.map_or(directory::Answer::Unknown, |page| directory::Answer::Checkpoint(Box::new(page)))
            }
        }
    }

    pub(super) fn lie(&mut self, node: NodeId, lie: Lie) {
        self.members.get_mut(&node).unwrap().lie = Some(lie);
    }

    pub(super) fn twist(&mut self, node: NodeId, twist: impl FnMut(Event) -> Event + Send + 'static) {
        self.members.get_mut(&node).unwrap().twist = Some(Box::new(twist));
    }

    /// Tells every member of these maps, and that it reaches whom it has to do with by them.
    pub(super) fn tell(&mut self, maps: &Maps) {
        for (node, _) in self.nodes() {
            self.input(node, Input::Maps(maps.clone()));
            let kin: Vec<_> = self.members[&node].member.kin().collect();
            kin.into_iter().for_each(|other| self.input(node, Input::Connected(other)));
        }
    }

    pub(super) fn kill(&mut self, node: NodeId) {
        self.members.get_mut(&node).unwrap().alive = false;
    }

    pub(super) fn unsubscribe(&mut self, node: NodeId, subscriber: u64) {
        self.subscribers.remove(&subscriber);
        self.input(node, Input::Unsubscribe { subscriber });
    }

    pub(super) fn subscriptions(&self, node: NodeId) -> usize {
        self.members[&node].member.subscriptions()
    }

    pub(super) fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Time::from_millis(u64::try_from(since).unwrap().saturating_add_signed(self.offset_ms))
    }

    pub(super) fn tick(&mut self) {
        for (node, alive) in self.nodes() {
            if alive {
                self.input(node, Input::Tick);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Makes every member a hop.
    pub(super) fn hops(&mut self, network: &NetworkName, pairs: &[KeyPair]) {
        for pair in pairs {
            self.forget_sessions(network, pair);
        }
    }

    /// Makes a member's hop anew, with the key that it gave out.
    pub(super) fn forget_sessions(&mut self, network: &NetworkName, pair: &KeyPair) {
        let me = pair.node_id();
        let keys = match self.relays.get(&me) {
            Some(relay) => relay.keys().clone(),
            None => Keyring::new(self.now(), *me.as_bytes()).unwrap(),
        };
        let nodes = self.members.keys().copied().filter(|node| *node != me).collect();
        let random = ChaCha8Rng::from_seed(pair.public());
        self.relays.insert(me, Relay::new(network.clone(), me, keys, nodes, 0, random));
    }

    /// How packets enter a member.
    pub(super) fn door(&self, node: NodeId) -> OnionDoor {
        OnionDoor::of(&self.relays[&node].keys().current, true)
    }

    fn request(
        &mut self,
        node: NodeId,
        mut request: Request,
        room: Option<usize>,
        answer: oneshot::Sender<Answer>,
    ) {
        let now = self.now();
        if let Err(code) = check_request(&self.network, now, &request, Door::Native) {
            let _ = answer.send(Answer::refused(now.as_millis(), code));
            return;
        }
        if let Some(room) = room {
            fit::narrow(&mut request, room);
        }
        let ticket = self.number();
        self.clients.insert(ticket, answer);
        self.input(node, Input::Request { ticket, request, door: Door::Native });
    }

    /// Feeds one machine, and all that follows from it.
    fn input(&mut self, node: NodeId, input: Input) {
        let now = self.now();
        let one = self.members.get_mut(&node).unwrap();
        one.member.handle(now, input, &mut one.store).unwrap();
        let outputs: Vec<_> = std::iter::from_fn(|| one.member.poll()).collect();
        for output in outputs {
            self.output(node, output);
        }
    }

    fn output(&mut self, node: NodeId, output: Output) {
        match output {
            Output::Answer { ticket, answer } => {
                self.clients.remove(&ticket).map(|client| client.send(answer));
            }
            Output::Reply { ticket, answer } => {
                let Some((asker, exchange, request, subjects)) = self.asked.remove(&ticket) else { return };
                let checked = check_answer(&self.network, self.now(), node, (&request, &subjects), answer);
                self.input(asker, Input::Answered { exchange, answer: Some(checked) });
            }
            Output::Send { exchange, to, request, subjects } if self.members[&to].alive => {
                let ticket = self.number();
                self.asked.insert(ticket, (node, exchange, request.clone(), subjects));
                self.asked(node, to, ticket, request);
            }
            Output::Send { exchange, .. } => self.input(node, Input::Answered { exchange, answer: None }),
            Output::Reconciled { .. } | Output::Damaged(_) => {}
            Output::Subscribed { subscriber, answer } => {
                if let Some(sender) = self.subscribers.get(&subscriber) {
                    let _ = sender.send(Push::Answer(answer));
                }
            }
            Output::Push { subscriber, account, namespace, after } => {
                let now = self.now();
                let one = self.members.get_mut(&node).unwrap();
                let page =
                    mailbox::page(&one.store, now, &account, namespace, after, EVENT_COUNT, EVENT_BYTES)
                        .unwrap();
                let Body::Messages { messages, more, cursor } = page else { panic!("no page") };
                if let Some(sender) = self.subscribers.get(&subscriber).filter(|_| !messages.is_empty()) {
                    let event = Event { messages, cursor };
                    let event = match one.twist.as_mut() {
                        Some(twist) => twist(event),
                        None => event,
                    };
                    let _ = sender.send(Push::Event(event));
                }
                self.input(node, Input::Pushed { subscriber, cursor, more });
            }
        }
    }

    fn asked(&mut self, from: NodeId, to: NodeId, ticket: u64, request: SwarmRequest) {
        let ask = check_ask(&self.network, self.now(), request);
        self.input(to, Input::Asked { ticket, from, ask });
    }
}

/// Says no.
pub(super) fn refusal(code: Code) -> Lie {
    Box::new(move |_, answer| Some(Answer::refused(answer.time, code)))
}
