//! The task that owns libp2p: it dials nodes by their addresses and asks them for their directory.
//!
//! It listens nowhere and says nothing of itself; its identity is drawn anew for every client and
//! known to nobody.
//!
//! - [`links`]: the kept streams that requests travel on
//! - [`addresses`]: where nodes are reached

pub(crate) mod addresses;
pub(crate) mod links;

use std::{collections::HashMap, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise,
    request_response::{self, OutboundRequestId, ProtocolSupport},
    swarm::{
        DialError, NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use session_protocols::{
    NetworkName, Protocol,
    directory::{self, Answer, Request},
    libp2p::codec::Cbor,
};
use tokio::sync::{mpsc, oneshot};

use crate::error::ClientError;

/// Commands that may wait for the task; beyond it callers wait.
const COMMANDS: usize = 64;
/// Callers that may wait for dials and answers at once; beyond it they are refused.
const MAX_WAITING: usize = 1_024;
/// How long a QUIC handshake may take. Nobody says that a QUIC port is closed, so that a node that
/// is gone costs as much.
const HANDSHAKE: Duration = Duration::from_millis(2_500);
/// How long a connection is kept on which nothing is open.
const IDLE: Duration = Duration::from_secs(30);
/// How long the directory may take to answer.
const DIRECTORY: Duration = Duration::from_secs(3);

/// How to speak to the task. It ends when the last of these is dropped.
#[derive(Clone)]
pub(crate) struct Connection {
    commands: mpsc::Sender<Command>,
    control: libp2p_stream::Control,
    network: NetworkName,
}

enum Command {
    Dial { peer: PeerId, addresses: Vec<Multiaddr>, done: oneshot::Sender<bool> },
    Records { peer: PeerId, request: Request, done: oneshot::Sender<Answer> },
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: libp2p_stream::Behaviour,
    directory: request_response::Behaviour<Cbor<Request, Answer>>,
}

impl Connection {
    /// Starts the task.
    pub(crate) fn start(network: NetworkName) -> Result<Self, ClientError> {
        let (task, connection) = Task::new(network)?;
        tokio::spawn(task.run());
        Ok(connection)
    }

    /// Connects to a node, at whichever of these addresses answers first, QUIC having a head start.
    pub(crate) async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> bool {
        let (done, dialled) = oneshot::channel();
        let sent = self.commands.send(Command::Dial { peer, addresses, done }).await;
        sent.is_ok() && dialled.await.unwrap_or(false)
    }

    /// Asks a connected node for a page of its directory.
    pub(crate) async fn records(&self, peer: PeerId, request: Request) -> Option<Answer> {
        let (done, answered) = oneshot::channel();
        self.commands.send(Command::Records { peer, request, done }).await.ok()?;
        answered.await.ok()
    }

    /// Opens a stream to a connected node.
    pub(crate) async fn open(&self, peer: PeerId, protocol: Protocol) -> Option<libp2p::Stream> {
        let protocol = stream_protocol(&self.network, protocol)?;
        let opened = self.control.clone().open_stream(peer, protocol).await;
        opened.inspect_err(|error| tracing::debug!(%peer, %error, "no stream")).ok()
    }
}

fn stream_protocol(network: &NetworkName, protocol: Protocol) -> Option<StreamProtocol> {
    StreamProtocol::try_from_owned(network.protocol(protocol)).ok()
}

struct Task {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    dialling: HashMap<PeerId, Vec<oneshot::Sender<bool>>>,
    asking: HashMap<OutboundRequestId, oneshot::Sender<Answer>>,
}

impl Task {
    fn new(network: NetworkName) -> Result<(Self, Connection), ClientError> {
        let directory_protocol = stream_protocol(&network, Protocol::Directory)
            .ok_or_else(|| ClientError::Setup("the network's name makes no protocol id".into()))?;
        let codec = Cbor::new(directory::MAX_REQUEST, directory::MAX_ANSWER);
        let config = request_response::Config::default().with_request_timeout(DIRECTORY);
        let behaviour = Behaviour {
            streams: libp2p_stream::Behaviour::new(),
            directory: request_response::Behaviour::with_codec(
                codec,
                [(directory_protocol, ProtocolSupport::Outbound)],
                config,
            ),
        };
        let control = behaviour.streams.new_control();
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .map_err(|error| ClientError::Setup(error.into()))?
            .with_quic_config(|mut config| {
                config.handshake_timeout = HANDSHAKE;
                // A guard that is gone is noticed in a few seconds.
                config.max_idle_timeout = 6_000;
                config.keep_alive_interval = Duration::from_secs(2);
                config
            })
            .with_behaviour(|_| behaviour)
            .map_err(|error| ClientError::Setup(error.into()))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE).with_smart_dial())
            .build();
        let (sender, commands) = mpsc::channel(COMMANDS);
        let task = Self { swarm, commands, dialling: HashMap::new(), asking: HashMap::new() };
        Ok((task, Connection { commands: sender, control, network }))
    }

    async fn run(mut self) {
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event),
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Dial { peer, addresses, done } => self.dial(peer, addresses, done),
            Command::Records { peer, request, done } => {
                self.asking.retain(|_, done| !done.is_closed());
                if self.asking.len() < MAX_WAITING {
                    let id = self.swarm.behaviour_mut().directory.send_request(&peer, request);
                    self.asking.insert(id, done);
                }
            }
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, done: oneshot::Sender<bool>) {
        if self.swarm.is_connected(&peer) {
            let _ = done.send(true);
            return;
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .build();
        match self.swarm.dial(options) {
            // Somebody else dials already: the outcome is for both.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {
                let waiting = self.dialling.entry(peer).or_default();
                waiting.retain(|done| !done.is_closed());
                if waiting.len() < MAX_WAITING {
                    waiting.push(done);
                }
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "cannot dial");
                let _ = done.send(false);
            }
        }
    }

    fn dialled(&mut self, peer: &PeerId, connected: bool) {
        for done in self.dialling.remove(peer).into_iter().flatten() {
            let _ = done.send(connected);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most of what a swarm tells is for listeners")]
    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => self.dialled(&peer_id, true),
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                tracing::debug!(%peer, %error, "not reached");
                let connected = self.swarm.is_connected(&peer);
                self.dialled(&peer, connected);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Directory(request_response::Event::Message {
                message: request_response::Message::Response { request_id, response },
                ..
            })) => {
                if let Some(done) = self.asking.remove(&request_id) {
                    let _ = done.send(response);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Directory(request_response::Event::OutboundFailure {
                request_id,
                ..
            })) => {
                self.asking.remove(&request_id);
            }
            _ => {}
        }
    }
}
