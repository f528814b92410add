//! The task that owns the libp2p swarm and the directory machine.
//!
//! It keeps contact with the members of this node's swarm and with some other nodes, gossips the
//! node's record, judges the others', and answers questions about the directory.

mod announced;
mod change;
mod clocks;
mod connections;
mod doors;
mod pages;
mod reachability;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::ConnectedPoint,
    gossipsub, kad,
    metrics::{Metrics as SwarmMetrics, Recorder},
    request_response,
    swarm::{ConnectionId, DialError, SwarmEvent, dial_opts::DialOpts},
};
use session_protocols::{
    KeyPair, NetworkName, NodeId, Time, codec,
    directory::{
        self, Directory, Download, Endpoint, Input, MAX_ENDPOINTS, OnionDoor, Output, Progress, Timing,
        Verdict,
    },
    libp2p::address::{endpoint, multiaddr, node_id, peer_id},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    attest::{Heard, Said, Shelf},
    behaviour::{Behaviour, BehaviourEvent, checkpoints_topic, records_topic, snapshots_topic},
    links::Links,
    member::Job,
    metrics::Metrics,
    now,
    reach::{Reached, Wanted},
    records::{Asked, Checked, Checks, Unchecked},
    registry::{Registry, Watched},
    snapshot::Ledgers,
    supervisor::Beat,
};
pub(crate) use announced::Announced;
use clocks::Clocks;
use connections::{Connections, Dialled, Opened};
pub(crate) use doors::Doors;
use pages::Pages;

/// Nodes beyond the own swarm that contact is kept with.
const OTHERS: usize = 64;
/// The first pause before a node that did not answer is dialled again, doubled up to the last.
const REDIAL: Duration = Duration::from_millis(500);
/// The longest pause before a member of the own swarm is dialled again.
const LAST_REDIAL: Duration = Duration::from_secs(5);
/// The same for other nodes.
const LAST_REDIAL_OTHERS: Duration = Duration::from_secs(60);
/// How often the others are asked where a node is that cannot be reached.
const SEARCH: Duration = Duration::from_secs(60);
/// The same for members of the own swarm, which go first.
const SEARCH_FELLOWS: Duration = Duration::from_secs(10);
/// Gossip messages waiting for a verdict; the oldest is forgotten beyond it.
const MAX_UNJUDGED: usize = 1_024;
/// Pages of directories that are waited for; beyond it the next is left until the next contact.
const MAX_ASKED: usize = 256;

/// How long leaving may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a node's network tells those who watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contacts {
    /// Nodes in contact.
    pub(crate) peers: usize,
    /// Where this node listens.
    pub(crate) listening: Vec<String>,
    /// What of that others are told, where the node declared a prefix.
    pub(crate) announced: Announced,
    /// How others reach it.
    pub(crate) reached: Reached,
    /// The newest certified snapshot of the directory.
    pub(crate) snapshot: Option<SnapshotSeen>,
}

/// What is shown of a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotSeen {
    /// The number of its period.
    pub(crate) period: u64,
    /// The border of that period.
    pub(crate) border: Time,
    /// The nodes in it.
    pub(crate) nodes: usize,
}

/// What connects the task to the node's part in checkpoints.
pub(crate) struct Checkpoints {
    pub(crate) hear: mpsc::Sender<Heard>,
    pub(crate) said: mpsc::Receiver<Said>,
    /// Those that most members have signed.
    pub(crate) shelf: Shelf,
    /// What those stand for that the contract accepted last.
    pub(crate) ledgers: Ledgers,
}

pub(crate) struct Network {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) name: NetworkName,
    /// Whether all of the network is on one machine.
    pub(crate) local: bool,
    /// When the nodes agree on lists of nodes.
    pub(crate) timing: Timing,
    pub(crate) pair: KeyPair,
    pub(crate) directory: Directory,
    pub(crate) links: Links,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) metrics: Metrics,
    pub(crate) swarm_metrics: SwarmMetrics,
    pub(crate) contacts: watch::Sender<Contacts>,
    /// None without a chain.
    pub(crate) checkpoints: Option<Checkpoints>,
    /// The nodes that the door for the clients that exist tells of.
    pub(crate) doors: Doors,
    /// Where the operator said to listen.
    pub(crate) listen: Vec<Endpoint>,
    /// Where the operator said that others reach the node, where that is elsewhere.
    pub(crate) announce: Vec<Endpoint>,
    /// What is told to the task that has others dial this node back.
    pub(crate) wanted: watch::Sender<Wanted>,
    /// How onion packets enter this node.
    pub(crate) door: watch::Receiver<OnionDoor>,
    /// Who is a node of the network, and the maps to go by.
    pub(crate) registry: Watched,
    /// What it said when this task looked last; none before it did.
    pub(crate) seen: Option<Registry>,
    /// The other nodes that this one has to do with by these maps.
    pub(crate) fellows: BTreeSet<NodeId>,
    /// The nodes of the network file, which are dialled whether or not they are registered.
    pub(crate) first: BTreeSet<NodeId>,
    /// Where nodes are, by the network file and then by their own records.
    pub(crate) places: BTreeMap<NodeId, Vec<Endpoint>>,
    /// Where they are by the network file. They are dialled there too: of nodes behind one router it may say where they
    /// are from inside, and their records what others have to know.
    pub(crate) written: BTreeMap<NodeId, Vec<Endpoint>>,
    /// Somebody who asks whether this task goes on.
    pub(crate) pulse: mpsc::Receiver<Beat>,
}

/// What the task keeps beside the machines.
struct Dialling {
    /// Nodes that contact is kept with.
    kept: BTreeSet<NodeId>,
    /// What the member is still to be told: the newest maps, and at most two words about each node that it
    /// has or had to do with.
    owed: VecDeque<Job>,
    /// The node that is looked for, and when it or another may be looked for again.
    search: Option<(kad::QueryId, NodeId)>,
    search_at: Instant,
    connections: Connections,
    dial_at: BTreeMap<NodeId, (Instant, Duration)>,
    unjudged: BTreeMap<u64, (gossipsub::MessageId, PeerId)>,
    next_message: u64,
    asked: BTreeMap<request_response::OutboundRequestId, Asked>,
    fetching: BTreeMap<request_response::OutboundRequestId, (PeerId, Download)>,
    checks: Checks,
    clocks: Clocks,
    /// The newest of this node's shares of checkpoints, where nobody was there to hear it.
    unsaid: Option<Vec<u8>>,
    pages: Pages,
}

impl Network {
    /// Runs until `stop` is told.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut dialling = Dialling::new(self.name.clone(), self.local);
        self.change(&mut dialling);
        for (node, endpoints) in self.places.clone() {
            self.found(node, &endpoints);
        }
        self.door.mark_changed();
        let jobs = self.jobs.clone();
        loop {
            self.drain(&mut dialling);
            self.dial(&mut dialling);
            let wake = self.wake(&dialling);
            tokio::select! {
                event = self.swarm.select_next_some() => self.event(event, &mut dialling),
                Ok(place) = jobs.reserve(), if !dialling.owed.is_empty() => {
                    if let Some(job) = dialling.owed.pop_front() {
                        place.send(job);
                    }
                }
                checked = dialling.checks.next() => {
                    checked.into_iter().for_each(|one| self.checked(one, &mut dialling));
                }
                Ok(()) = self.door.changed() => {
                    let door = *self.door.borrow_and_update();
                    self.directory.handle(now(), Input::Onion(door));
                }
                Some((channel, page)) = dialling.pages.next() => {
                    // Who asked may be gone.
                    let _ = self.swarm.behaviour_mut().snapshot.send_response(channel, page);
                }
                Some(said) = next_said(&mut self.checkpoints) => self.say(said, &mut dialling),
                Ok(()) = self.registry.changed() => self.change(&mut dialling),
                Some(beat) = self.pulse.recv() => {
                    let _ = beat.send(());
                }
                () = tokio::time::sleep_until(wake) => self.directory.handle(now(), Input::Tick),
                _ = &mut stop => break,
            }
            while let Some(output) = self.directory.poll() {
                self.output(output, &mut dialling);
            }
            self.show_snapshot();
            let registry = self.registry.borrow();
            if self.doors.refresh(&self.directory, &registry.maps().acts, registry.border().0) {
                let newer = versions::newer(env!("CARGO_PKG_VERSION"), self.directory.said());
                self.metrics.newer_nodes.set(i64::try_from(newer).unwrap_or(i64::MAX));
            }
        }
        Box::pin(self.leave()).await;
    }

    /// Says goodbye, so that nobody has to find out by waiting.
    async fn leave(mut self) {
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let left = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, left).await;
    }

    /// Does what the time has come for.
    fn drain(&mut self, dialling: &mut Dialling) {
        if self.directory.deadline().is_some_and(|deadline| deadline <= now()) {
            self.directory.handle(now(), Input::Tick);
        }
        for peer in dialling.connections.came_back(Instant::now()) {
            // A client may have as many connections as it likes, and when.
            if self.node(&peer, dialling).is_some() {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    fn wake(&self, dialling: &Dialling) -> Instant {
        let sleep = |deadline: Time| Duration::from_micros(deadline.since(now()).0);
        let machine = self.directory.deadline().map(|deadline| Instant::now() + sleep(deadline));
        let dial = dialling.dial_at.values().map(|(at, _)| *at).min();
        let longest = Instant::now() + Duration::from_secs(60);
        machine.into_iter().chain(dial).chain(dialling.connections.deadline()).fold(longest, Instant::min)
    }

    /// Dials the nodes whose time has come, on all their addresses: QUIC first.
    fn dial(&mut self, dialling: &mut Dialling) {
        let now = Instant::now();
        let due: Vec<_> =
            dialling.dial_at.iter().filter(|(_, (at, _))| *at <= now).map(|(node, _)| *node).collect();
        for node in due {
            let Some(peer) = peer_id(&node) else {
                dialling.dial_at.remove(&node);
                continue;
            };
            if self.swarm.is_connected(&peer) {
                dialling.dial_at.remove(&node);
                continue;
            }
            if let Some((at, pause)) = dialling.dial_at.get_mut(&node) {
                *at = now + *pause;
                let last = if self.fellows.contains(&node) { LAST_REDIAL } else { LAST_REDIAL_OTHERS };
                *pause = (*pause * 2).min(last);
            }
            let mut endpoints = self.places.get(&node).cloned().unwrap_or_default();
            let written = self.written.get(&node).into_iter().flatten();
            let others: Vec<_> = written.filter(|one| !endpoints.contains(one)).copied().collect();
            endpoints.extend(others);
            endpoints.sort_by_key(|endpoint| endpoint.transport);
            let addresses = endpoints.iter().map(multiaddr).collect();
            let options = DialOpts::peer_id(peer).addresses(addresses).build();
            match self.swarm.dial(options) {
                Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
                Err(error) => tracing::debug!(%node, %error, "cannot dial"),
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's events are open-ended; the rest is not ours"
    )]
    fn event(&mut self, event: SwarmEvent<BehaviourEvent>, dialling: &mut Dialling) {
        self.swarm_metrics.record(&event);
        match event {
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.listening(),
            SwarmEvent::ConnectionEstablished { peer_id: peer, connection_id, endpoint, .. } => {
                if let ConnectedPoint::Listener { local_addr, .. } = &endpoint {
                    self.reached(&peer, local_addr);
                }
                let dialled = if endpoint.is_dialer() { Dialled::Here } else { Dialled::There };
                self.connected(peer, connection_id, dialled, dialling);
            }
            SwarmEvent::ConnectionClosed { peer_id: peer, connection_id, num_established, .. } => {
                dialling.connections.closed(&peer, connection_id);
                if num_established == 0 {
                    self.disconnected(peer, dialling);
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), .. } => {
                // Not whom: a packet may have led there, and the error names it too.
                tracing::debug!("a node was not reached");
                self.search(&peer, dialling);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => {
                self.swarm_metrics.record(&gossipsub::Event::Message {
                    propagation_source,
                    message_id: message_id.clone(),
                    message: message.clone(),
                });
                self.gossip(propagation_source, message_id, message, dialling);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => {
                self.directory.handle(now(), Input::Heard);
                if let Some(data) = dialling.unsaid.take() {
                    self.say(Said::Share(data), dialling);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Directory(request_response::Event::Message {
                peer,
                message: request_response::Message::Request { request, channel, .. },
                ..
            })) => {
                if self.links.arrive(peer) {
                    let answer = match (&request, &self.checkpoints) {
                        (directory::Request::Checkpoint { .. }, Some(known)) => known.shelf.answer(&request),
                        _ => self.directory.answer(&request),
                    };
                    let _ = self.swarm.behaviour_mut().directory.send_response(channel, answer);
                } else {
                    // There is no word for it: the stream closes without an answer.
                    self.metrics.refused_total.with_label_values(&["429"]).inc();
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Directory(request_response::Event::Message {
                message: request_response::Message::Response { request_id, response },
                ..
            })) => {
                if let Some(asked) = dialling.asked.remove(&request_id) {
                    self.page(asked, response, dialling);
                } else if let Some((from, download)) = dialling.fetching.remove(&request_id) {
                    self.snapshot_page(from, download, response, dialling);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Directory(request_response::Event::OutboundFailure {
                request_id,
                error,
                ..
            })) => {
                dialling.asked.remove(&request_id);
                if let Some((_, download)) = dialling.fetching.remove(&request_id) {
                    let failed = Input::Fetched { hash: download.wanted(), found: None };
                    self.directory.handle(now(), failed);
                }
                // Not whose: it is asked for on contact, and a packet may have led there.
                tracing::debug!(%error, "no directory");
                // What is no answer was counted where it was read.
                if !matches!(&error, request_response::OutboundFailure::Io(error) if garbage(error)) {
                    self.metrics.directory_failures_total.with_label_values(&["asked"]).inc();
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Directory(request_response::Event::InboundFailure {
                error,
                ..
            })) => {
                // Whoever asked may be a client: it is not named.
                tracing::debug!(%error, "a question about the directory went unanswered");
                self.metrics.directory_failures_total.with_label_values(&["answered"]).inc();
            }
            SwarmEvent::Behaviour(BehaviourEvent::Snapshot(request_response::Event::Message {
                peer,
                message: request_response::Message::Request { request_id, request, channel },
                ..
            })) => self.page_of_ledger(peer, request_id, request, channel, dialling),
            SwarmEvent::Behaviour(BehaviourEvent::Snapshot(
                request_response::Event::ResponseSent { request_id, .. }
                | request_response::Event::InboundFailure { request_id, .. },
            )) => dialling.pages.gone(&request_id),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => {
                self.swarm_metrics.record(&event);
                if let kad::Event::OutboundQueryProgressed {
                    id,
                    result: kad::QueryResult::GetClosestPeers(found),
                    step,
                    ..
                } = event
                {
                    self.searched(id, found, step.last, dialling);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Upnp(event)) => self.led(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.swarm_metrics.record(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.swarm_metrics.record(&event),
            _ => {}
        }
    }

    fn connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        dialled: Dialled,
        dialling: &mut Dialling,
    ) {
        let opened = dialling.connections.opened(Instant::now(), peer, connection, dialled);
        let Some(node) = self.node(&peer, dialling) else { return };
        dialling.dial_at.remove(&node);
        self.count(dialling);
        match opened {
            Opened::First => {}
            Opened::Beside => return,
            Opened::Surplus => {
                self.swarm.close_connection(connection);
                return;
            }
        }
        self.meet(peer, dialling);
        if self.fellows.contains(&node) {
            dialling.owe(node, [Job::Disconnected(node), Job::Connected(node)]);
        }
    }

    /// Which node a peer is, if it is one that this node has to do with.
    fn node(&self, peer: &PeerId, dialling: &Dialling) -> Option<NodeId> {
        node_id(peer).filter(|node| self.is_registered(node) || dialling.kept.contains(node))
    }

    fn disconnected(&mut self, peer: PeerId, dialling: &mut Dialling) {
        let Some(node) = node_id(&peer) else { return };
        self.links.forget(&node);
        self.count(dialling);
        if dialling.kept.contains(&node) {
            dialling.dial_at.insert(node, (Instant::now() + REDIAL, REDIAL));
        }
        if self.fellows.contains(&node) {
            dialling.owe(node, [Job::Disconnected(node)]);
        }
    }

    /// Asks the nodes nearest to one that cannot be reached where it is: it may have moved while this
    /// node was away.
    fn search(&mut self, peer: &PeerId, dialling: &mut Dialling) {
        let Some(node) = node_id(peer).filter(|node| dialling.kept.contains(node)) else { return };
        let fellow = self.fellows.contains(&node);
        let free = dialling.search.is_none_or(|(_, other)| fellow && !self.fellows.contains(&other));
        let ahead = if fellow { SEARCH - SEARCH_FELLOWS } else { Duration::ZERO };
        if free && dialling.search_at <= Instant::now() + ahead {
            let id = self.swarm.behaviour_mut().kad.get_closest_peers(*peer);
            dialling.search = Some((id, node));
            dialling.search_at = Instant::now() + SEARCH;
        }
    }

    /// Dials a node where others say that it is. Nobody vouches for that: it has to lie inside the
    /// prefix that the node declared, and the node has to prove who it is.
    fn searched(
        &mut self,
        id: kad::QueryId,
        found: kad::GetClosestPeersResult,
        last: bool,
        dialling: &mut Dialling,
    ) {
        let Some((_, node)) = dialling.search.filter(|(search, _)| *search == id) else { return };
        if last {
            dialling.search = None;
        }
        let (Ok(found), Some(prefix)) = (found, self.prefix(&node)) else { return };
        let places = found.peers.into_iter().filter(|info| node_id(&info.peer_id) == Some(node));
        let covered =
            |address: &Multiaddr| endpoint(address).is_some_and(|endpoint| prefix.covers(endpoint.ip));
        let addresses: Vec<_> =
            places.flat_map(|info| info.addrs).filter(covered).take(MAX_ENDPOINTS).collect();
        let Some(peer) = peer_id(&node).filter(|_| !addresses.is_empty()) else { return };
        let options = DialOpts::peer_id(peer).addresses(addresses).build();
        if self.swarm.dial(options).is_err() {
            // Not whom: it was searched for because it was not reached, maybe for a packet.
            tracing::debug!("a node cannot be dialled where it was found");
        }
    }

    fn count(&self, dialling: &Dialling) {
        let nodes = dialling.connections.peers().filter_map(node_id);
        let peers = nodes.filter(|node| self.is_registered(node)).count();
        self.metrics.peers.set(i64::try_from(peers).unwrap_or(i64::MAX));
        self.contacts.send_modify(|contacts| contacts.peers = peers);
        self.show_servers(dialling);
    }

    fn gossip(
        &mut self,
        from: PeerId,
        id: gossipsub::MessageId,
        said: gossipsub::Message,
        dialling: &mut Dialling,
    ) {
        dialling.next_message = dialling.next_message.wrapping_add(1);
        let message = dialling.next_message;
        let data = said.data;
        let taken = if said.topic == checkpoints_topic(&self.name).hash() {
            let heard = Heard { message, data };
            self.checkpoints.as_ref().is_some_and(|one| one.hear.try_send(heard).is_ok())
        } else if said.topic == snapshots_topic(&self.name).hash() {
            dialling.checks.offer(Unchecked::Share { message, data })
        } else {
            dialling.checks.offer(Unchecked::Gossip { message, data })
        };
        if !taken {
            self.metrics.records_dropped_total.inc();
            let dropped = gossipsub::MessageAcceptance::Ignore;
            self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, dropped);
            return;
        }
        dialling.unjudged.insert(message, (id, from));
        if dialling.unjudged.len() > MAX_UNJUDGED {
            dialling.unjudged.pop_first();
        }
    }

    /// Asks a node for a page of its directory.
    fn ask(&mut self, asked: Asked, dialling: &mut Dialling) {
        if dialling.asked.len() >= MAX_ASKED {
            return;
        }
        let request = directory::Request::Records { after: asked.after };
        let id = self.swarm.behaviour_mut().directory.send_request(&asked.peer, request);
        dialling.asked.insert(id, asked);
    }

    fn page(&self, asked: Asked, answer: directory::Answer, dialling: &mut Dialling) {
        let directory::Answer::Records { records, more } = answer else { return };
        if !dialling.checks.offer(Unchecked::Page { asked, records, more }) {
            self.metrics.records_dropped_total.inc();
        }
    }

    /// Asks for the next page of a snapshot.
    fn fetch(&mut self, from: PeerId, download: Download, dialling: &mut Dialling) {
        if dialling.fetching.len() >= MAX_ASKED {
            let failed = Input::Fetched { hash: download.wanted(), found: None };
            self.directory.handle(now(), failed);
            return;
        }
        let id = self.swarm.behaviour_mut().directory.send_request(&from, download.request());
        dialling.fetching.insert(id, (from, download));
    }

    fn snapshot_page(
        &mut self,
        from: PeerId,
        download: Download,
        answer: directory::Answer,
        dialling: &mut Dialling,
    ) {
        let hash = download.wanted();
        let taken = match answer {
            directory::Answer::Snapshot(page) => {
                let (download, page) = (Box::new(download), Box::new(page));
                dialling.checks.offer(Unchecked::Snapshot { from, download, page })
            }
            directory::Answer::Records { .. }
            | directory::Answer::Checkpoint(_)
            | directory::Answer::Unknown => false,
        };
        if !taken {
            self.directory.handle(now(), Input::Fetched { hash, found: None });
        }
    }

    /// Takes in what the worker thread found.
    fn checked(&mut self, checked: Checked, dialling: &mut Dialling) {
        match checked {
            Checked::Gossip { message, opened: Some((record, signed)) } => {
                if self.directory.contains(&record.node) && record.node != self.me() {
                    dialling.clocks.heard(now(), record.node, record.time);
                    self.metrics.clock_ahead_seconds.set(dialling.clocks.ahead().unwrap_or_default());
                }
                self.directory.handle(now(), Input::Record { record, signed, message: Some(message) });
            }
            Checked::Gossip { message, opened: None } => {
                self.metrics.garbage_total.with_label_values(&["records"]).inc();
                self.directory.handle(now(), Input::Garbage { message });
            }
            Checked::Page { opened, bad, next } => {
                self.metrics.garbage_total.with_label_values(&["directory"]).inc_by(bad as u64);
                for (record, signed) in opened {
                    self.directory.handle(now(), Input::Record { record, signed, message: None });
                }
                if let Some(next) = next {
                    self.ask(next, dialling);
                }
            }
            Checked::Share { message, share: Some(share) } => {
                self.directory.handle(now(), Input::Share { share, message: Some(message) });
            }
            Checked::Share { message, share: None } => {
                self.metrics.garbage_total.with_label_values(&["snapshots"]).inc();
                self.directory.handle(now(), Input::Garbage { message });
            }
            Checked::Snapshot { from, progress: Ok(Progress::More(download)), .. } => {
                self.fetch(from, download, dialling);
            }
            Checked::Snapshot { wanted: hash, progress: Ok(Progress::Whole(found)), .. } => {
                self.directory.handle(now(), Input::Fetched { hash, found: Some(found) });
            }
            Checked::Snapshot { from, wanted: hash, progress: Err(error) } => {
                tracing::debug!(%from, %error, "no snapshot");
                self.metrics.garbage_total.with_label_values(&["directory"]).inc();
                self.directory.handle(now(), Input::Fetched { hash, found: None });
            }
        }
    }

    fn output(&mut self, output: Output, dialling: &mut Dialling) {
        match output {
            Output::Announce(record) => {
                self.doors.change();
                let signed = record.sign(&self.name, &self.pair);
                let data = codec::encode(&signed);
                self.directory.handle(now(), Input::Record { record, signed, message: None });
                if let Err(error) = self.swarm.behaviour_mut().gossip.publish(records_topic(&self.name), data)
                {
                    tracing::debug!(%error, "the record was not gossiped yet");
                }
            }
            Output::Judge { message, verdict } => self.judge(message, verdict, dialling),
            Output::Found { node, endpoints } => {
                self.doors.change();
                self.found(node, &endpoints);
                self.places.insert(node, endpoints);
            }
            Output::Vote(vote) => {
                let share = vote.sign(&self.name, &self.pair);
                let topic = snapshots_topic(&self.name);
                if let Err(error) = self.swarm.behaviour_mut().gossip.publish(topic, codec::encode(&share)) {
                    tracing::debug!(%error, "the share was not gossiped");
                }
                self.directory.handle(now(), Input::Share { share, message: None });
            }
            Output::Fetch { from, download } => match peer_id(&from) {
                Some(peer) => self.fetch(peer, download, dialling),
                None => {
                    let failed = Input::Fetched { hash: download.wanted(), found: None };
                    self.directory.handle(now(), failed);
                }
            },
        }
        self.metrics.known_nodes.set(i64::try_from(self.directory.len()).unwrap_or(i64::MAX));
    }

    /// Does what the node's part in checkpoints wants.
    fn say(&mut self, said: Said, dialling: &mut Dialling) {
        match said {
            Said::Judge { message, verdict } => self.judge(message, verdict, dialling),
            Said::Share(data) => {
                let topic = checkpoints_topic(&self.name);
                match self.swarm.behaviour_mut().gossip.publish(topic, data.clone()) {
                    Ok(_) | Err(gossipsub::PublishError::Duplicate) => {}
                    Err(error) => {
                        tracing::debug!(%error, "the share of a checkpoint was not gossiped yet");
                        dialling.unsaid = Some(data);
                    }
                }
            }
        }
    }

    fn judge(&mut self, message: u64, verdict: Verdict, dialling: &mut Dialling) {
        let Some((id, from)) = dialling.unjudged.remove(&message) else { return };
        let acceptance = match verdict {
            Verdict::Accept => gossipsub::MessageAcceptance::Accept,
            Verdict::Ignore => gossipsub::MessageAcceptance::Ignore,
            Verdict::Reject => gossipsub::MessageAcceptance::Reject,
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, acceptance);
    }

    /// Shows the newest snapshot to those who watch, where it is another one.
    fn show_snapshot(&self) {
        let Some(snapshot) = self.directory.snapshot() else { return };
        let (period, nodes) = (snapshot.period(), snapshot.entries().len());
        let border = self.timing.border(period);
        self.contacts.send_if_modified(|contacts| {
            let other = contacts.snapshot.is_none_or(|seen| seen.period != period);
            contacts.snapshot = Some(SnapshotSeen { period, border, nodes });
            other
        });
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.directory_snapshot_period.set(gauge(period));
        self.metrics.directory_snapshot_border_seconds.set(gauge(border.as_millis() / 1_000));
        self.metrics.directory_snapshot_nodes.set(gauge(nodes as u64));
    }

    /// Tells Kademlia where a registered node is; it learns addresses from nobody else.
    fn found(&mut self, node: NodeId, endpoints: &[Endpoint]) {
        if let Some(peer) = peer_id(&node).filter(|peer| peer != self.swarm.local_peer_id()) {
            // What leads to this machine is told to nobody else.
            let local = self.local;
            for endpoint in endpoints.iter().filter(|one| local || !one.ip.is_loopback()) {
                self.swarm.behaviour_mut().kad.add_address(&peer, multiaddr(endpoint));
            }
        }
    }
}

impl Dialling {
    fn new(name: NetworkName, local: bool) -> Self {
        Self {
            kept: BTreeSet::new(),
            owed: VecDeque::new(),
            search: None,
            search_at: Instant::now(),
            connections: Connections::new(local),
            dial_at: BTreeMap::new(),
            unjudged: BTreeMap::new(),
            next_message: 0,
            asked: BTreeMap::new(),
            fetching: BTreeMap::new(),
            checks: Checks::new(name),
            clocks: Clocks::default(),
            unsaid: None,
            pages: Pages::default(),
        }
    }

    /// Owes the member these words about a node, in place of those before.
    fn owe<const N: usize>(&mut self, node: NodeId, words: [Job; N]) {
        self.owed.retain(|job| !matches!(job, Job::Connected(one) | Job::Disconnected(one) if *one == node));
        self.owed.extend(words);
    }
}

/// What the node's part in checkpoints wants next; nothing ever where it has none.
async fn next_said(checkpoints: &mut Option<Checkpoints>) -> Option<Said> {
    match checkpoints {
        Some(checkpoints) => checkpoints.said.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether an answer failed because it was no message, not because of the way it came.
fn garbage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

#[cfg(test)]
mod tests;
