//! A network of fake members on this machine: real links and real rules, no disks and no ledger.

use std::time::Duration;

use futures::StreamExt;
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use serde_bytes::ByteArray;
use session_chain::{
    ledger::Operator,
    network::{NetworkFile, NetworkNode},
};
use session_protocols::{
    KeyPair, NetworkName, NodeId, Protocol, Time,
    answer::RULES,
    codec,
    directory::{self, NodeRecord},
    libp2p::{
        address,
        codec::Cbor,
        link::{self, Backlog, Incoming, Limits},
    },
    names::lookup,
    notify::{self, Subscribe},
    onion::{relay::Neighbour, size},
    request::{self, Request},
};
use tokio::task::JoinHandle;

use super::world::{Push, World};
use crate::{Client, Options};

/// What the members are reached over.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Over {
    Quic,
    Tcp,
}

/// A network of fake members.
pub(super) struct Net {
    pub(super) file: NetworkFile,
    pub(super) world: World,
    pub(super) pairs: Vec<KeyPair>,
    hosts: Vec<JoinHandle<()>>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: libp2p_stream::Behaviour,
    directory: request_response::Behaviour<Cbor<directory::Request, directory::Answer>>,
}

impl Net {
    pub(super) async fn start(nodes: u8, over: Over) -> Self {
        let name: NetworkName = "fake".parse().unwrap();
        let pairs: Vec<_> = (1..=nodes).map(|number| KeyPair::from_seed(&[number; 32])).collect();
        let node = |(number, pair): (u8, &KeyPair)| NetworkNode {
            id: pair.node_id(),
            operator: Operator::from_bytes([number; 20]),
            prefix: format!("127.0.{number}.0/24").parse().unwrap(),
            addresses: Vec::new(),
            door: None,
            bls: None,
        };
        let nodes = (1..).zip(&pairs).map(node).collect();
        let mut file = NetworkFile {
            name: name.clone(),
            local: true,
            seed: [0; 32],
            faucet: None,
            limits: Default::default(),
            hf: RULES,
            nodes,
            settlement: None,
        };
        let world = World::new(&name, file.ledger().map(), &pairs);
        world.lock().hops(&name, &pairs);
        let mut hosts = Vec::new();
        for (number, pair) in (1..).zip(&pairs) {
            let (address, host) = host(&name, pair, number, over, world.clone()).await;
            file.nodes[number - 1].addresses = vec![address.to_string()];
            hosts.push(tokio::spawn(host));
        }
        let ticker = world.clone();
        hosts.push(tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(50));
            loop {
                every.tick().await;
                ticker.lock().tick();
            }
        }));
        let net = Self { file, world, pairs, hosts };
        net.announce();
        net
    }

    /// A client that asks nodes straight.
    pub(super) async fn client(&self) -> Client {
        self.client_of(self.file.clone()).await
    }

    /// The same, of another network file.
    pub(super) async fn client_of(&self, file: NetworkFile) -> Client {
        let hedge = Duration::from_millis(200);
        Client::connect(file, Options { hedge, direct: true, ..Options::default() }).await.unwrap()
    }

    /// A client whose requests travel over paths.
    pub(super) async fn hidden(&self) -> Client {
        Client::connect(self.file.clone(), Options::default()).await.unwrap()
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.pairs.iter().map(KeyPair::node_id).collect()
    }

    /// Ends a member: its machine and its connections.
    pub(super) async fn kill(&mut self, node: NodeId) {
        self.world.lock().kill(node);
        let at = self.nodes().iter().position(|other| *other == node).unwrap();
        self.hosts[at].abort();
        let _ = (&mut self.hosts[at]).await;
    }

    /// Makes every member say where it is.
    pub(super) fn announce(&self) {
        let time = self.world.lock().now();
        let records = self.records(time).into_iter().zip(&self.pairs);
        let signed = records.map(|(record, pair)| record.sign(&self.file.name, pair)).collect();
        self.world.lock().records = signed;
    }

    /// What each member would say at a moment.
    pub(super) fn records(&self, time: Time) -> Vec<NodeRecord> {
        let record = |node: &NetworkNode| {
            let address: Multiaddr = node.addresses[0].parse().unwrap();
            let endpoints = vec![address::endpoint(&address).unwrap()];
            let (height, border) = self.file.border();
            let (border, version) = (ByteArray::new(border), String::new());
            let (time, onion) = (time.as_millis(), self.world.lock().door(node.id));
            NodeRecord { node: node.id, time, height, border, endpoints, onion, version, door: None }
        };
        self.file.nodes.iter().map(record).collect()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.abort();
        }
    }
}

/// Listens for one member; the future serves it.
async fn host(
    network: &NetworkName,
    pair: &KeyPair,
    number: usize,
    over: Over,
    world: World,
) -> (Multiaddr, impl Future<Output = ()> + Send + use<>) {
    let protocol = |protocol| StreamProtocol::try_from_owned(network.protocol(protocol)).unwrap();
    let codec = Cbor::new(directory::MAX_REQUEST, directory::MAX_ANSWER);
    let directory = [(protocol(Protocol::Directory), ProtocolSupport::Inbound)];
    let directory =
        request_response::Behaviour::with_codec(codec, directory, request_response::Config::default());
    let behaviour = Behaviour { streams: libp2p_stream::Behaviour::new(), directory };
    let mut control = behaviour.streams.new_control();
    let mut storage = control.accept(protocol(Protocol::Storage)).unwrap();
    let mut notify = control.accept(protocol(Protocol::Notify)).unwrap();
    let mut onion = control.accept(protocol(Protocol::Onion)).unwrap();
    let mut names = control.accept(protocol(Protocol::Names)).unwrap();
    let mut swarm = SwarmBuilder::with_existing_identity(address::keypair(pair).unwrap())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|_| behaviour)
        .unwrap()
        .build();
    let listen = match over {
        Over::Quic => format!("/ip4/127.0.{number}.1/udp/0/quic-v1"),
        Over::Tcp => format!("/ip4/127.0.{number}.1/tcp/0"),
    };
    swarm.listen_on(listen.parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let node = pair.node_id();
    let run = async move {
        // What this spawns ends with it.
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                event = swarm.select_next_some() => happened(&mut swarm, &world, node, event),
                Some((_, stream)) = storage.next() => {
                    tasks.spawn(serve_storage(stream, node, world.clone()));
                }
                Some((_, stream)) = notify.next() => {
                    tasks.spawn(serve_notify(stream, node, world.clone()));
                }
                Some((_, stream)) = names.next() => {
                    tasks.spawn(serve_names(stream, node, world.clone()));
                }
                Some((peer, stream)) = onion.next() => {
                    tasks.spawn(serve_onion(stream, peer, node, world.clone()));
                }
            }
        }
    };
    (address, run)
}

fn happened(swarm: &mut Swarm<Behaviour>, world: &World, node: NodeId, event: SwarmEvent<BehaviourEvent>) {
    match event {
        SwarmEvent::ConnectionEstablished { .. } => drop(world.lock().met.insert(node)),
        SwarmEvent::Behaviour(BehaviourEvent::Directory(request_response::Event::Message {
            message: request_response::Message::Request { channel, request, .. },
            ..
        })) => {
            let answer = world.lock().directory(node, &request);
            let _ = swarm.behaviour_mut().directory.send_response(channel, answer);
        }
        _ => {}
    }
}

async fn serve_storage(stream: libp2p::Stream, node: NodeId, world: World) {
    let (mut requests, run) = link::serve(
        stream,
        Limits { max_in: request::MAX_REQUEST, window: 32, backlog: Backlog::new(64 << 20) },
    );
    let serve = async move {
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(Incoming { payload, reply }) = requests.next().await {
            let request: Request = codec::decode(&payload, request::MAX_REQUEST).unwrap();
            let world = world.clone();
            tasks.spawn(async move {
                match world.ask(node, request).await {
                    Some(answer) => reply.answer(codec::encode(&answer)).await,
                    None => {
                        let _silent = reply;
                        futures::future::pending().await
                    }
                }
            });
        }
    };
    tokio::join!(run, serve);
}

async fn serve_names(stream: libp2p::Stream, node: NodeId, world: World) {
    let (mut requests, run) = link::serve(
        stream,
        Limits { max_in: lookup::MAX_REQUEST, window: 32, backlog: Backlog::new(64 << 20) },
    );
    let serve = async move {
        let mut silent = Vec::new();
        while let Some(Incoming { payload, reply }) = requests.next().await {
            match world.look_up(node, &payload) {
                Some(answer) => reply.answer(answer).await,
                None => silent.push(reply),
            }
        }
    };
    tokio::join!(run, serve);
}

async fn serve_onion(stream: libp2p::Stream, peer: libp2p::PeerId, node: NodeId, world: World) {
    let (mut requests, run) =
        link::serve(stream, Limits { max_in: size::MAX_PACKET, window: 32, backlog: Backlog::new(64 << 20) });
    let serve = async move {
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(Incoming { payload, reply }) = requests.next().await {
            let from = Neighbour { key: peer, node: false, prefix: None };
            let passed = world.onion(node, from, payload);
            tasks.spawn(async move {
                if let Some(answer) = passed.await {
                    reply.answer(answer).await;
                }
            });
        }
    };
    tokio::join!(run, serve);
}

async fn serve_notify(stream: libp2p::Stream, node: NodeId, world: World) {
    let (mut requests, run) = link::serve(
        stream,
        Limits { max_in: notify::MAX_REQUEST, window: 32, backlog: Backlog::new(64 << 20) },
    );
    let serve = async move {
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(Incoming { payload, reply }) = requests.next().await {
            let subscribe: Subscribe = codec::decode(&payload, notify::MAX_REQUEST).unwrap();
            let world = world.clone();
            tasks.spawn(async move {
                let (subscriber, mut pushes) = world.subscribe(node, subscribe);
                let Some(Push::Answer(answer)) = pushes.recv().await else { return };
                let time = world.lock().now().as_millis();
                let answer = notify::Answer { time, body: answer };
                let mut pusher = reply.accept(codec::encode(&answer)).await.unwrap();
                loop {
                    let push = tokio::select! {
                        push = pushes.recv() => push,
                        () = pusher.closed() => None,
                    };
                    match push {
                        Some(Push::Event(event)) => pusher.push(codec::encode(&event)).await.unwrap(),
                        Some(Push::Answer(_)) | None => break,
                    }
                }
                world.lock().unsubscribe(node, subscriber);
                pusher.close().await;
            });
        }
    };
    tokio::join!(run, serve);
}
