//! Clients that send as fast as answers come, and what they and the next hop need to speak.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, identity, noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use session_protocols::{
    NetworkName, NodeId, Protocol, Time, codec,
    directory::{self, Endpoint, OnionDoor, Transport},
    libp2p::{
        address::{multiaddr, peer_id},
        link::{self, Asker, Backlog, Limits},
    },
    onion::{
        replay::stamp,
        size::{Bucket, MAX_PACKET},
        wrap::{ClientSession, Entry, Hop, Question, Return, Service, Status, Stopped, wrap},
    },
};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::{Beyond, Plan};
use crate::error::TestnetError;

/// The bucket of requests and answers.
pub(super) const SMALL: Bucket = Bucket::ALL[0];
/// A request that fills it.
const REQUEST: [u8; 2_048] = [7; SMALL.capacity()];
/// Requests under way on one link.
const WINDOW: usize = 512;

/// A client, once it has sessions with all four that its packets are wrapped for.
pub(super) struct Guest {
    guard: Asker,
    network: NetworkName,
    nodes: [NodeId; 4],
    sessions: Mutex<[ClientSession; 4]>,
    swarm: JoinHandle<()>,
}

impl Guest {
    /// Connects to the relay, and passes it and what lies behind it once.
    pub(super) async fn enter(plan: &Plan, beyond: &Beyond) -> Result<Arc<Self>, TestnetError> {
        let relay = &plan.network.nodes[0];
        let peer = peer_id(&relay.id).ok_or(TestnetError::Random)?;
        let (mut swarm, mut control) = swarm(identity::Keypair::generate_ed25519(), plan.transport)?;
        let addresses = relay.addresses.iter().filter_map(|address| Some(multiaddr(&address.parse().ok()?)));
        let dial = DialOpts::peer_id(peer).addresses(addresses.collect()).build();
        let missing = TestnetError::Bench("the relay cannot be reached");
        if swarm.dial(dial).is_err() || !connected(&mut swarm).await {
            return Err(missing);
        }
        let swarm = tokio::spawn(async move { while swarm.next().await.is_some() {} });
        let mut open = async |wanted| {
            let opened = control.open_stream(peer, protocol(plan, wanted)?).await;
            opened.map_err(|_| TestnetError::Bench("the relay takes no stream"))
        };
        let door = door(open(Protocol::Directory).await?, plan, relay.id).await?;
        let (guard, run) = link::open(open(Protocol::Onion).await?, limits());
        tokio::spawn(run);
        let doors = [&[(relay.id, door)][..], &beyond.doors].concat();
        let nodes = std::array::from_fn(|at| doors[at].0);
        let hops = entries(&doors)?;
        let (packet, back) = question(&plan.network.name, hops)?;
        let silent = TestnetError::Bench("a first packet has no answer");
        let Ok(answer) = guard.ask(packet).await else { return Err(silent) };
        let Ok(opened) = back.open(&answer) else { return Err(silent) };
        let sessions: Vec<_> = opened.sessions.into_iter().flatten().collect();
        let Ok(sessions) = sessions.try_into() else {
            return Err(TestnetError::Bench("a hop keeps no session"));
        };
        let (network, sessions) = (plan.network.name.clone(), Mutex::new(sessions));
        Ok(Arc::new(Self { guard, network, nodes, sessions, swarm }))
    }

    /// Sends one packet; what comes back is the relay's own work, and bytes of the next hop inside.
    async fn ask(&self) -> Result<(), TestnetError> {
        let (packet, back) = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let mut entries = sessions.iter_mut();
            let hops = self.nodes.map(|node| Some(Hop { node, entry: Entry::Session(entries.next()?) }));
            let [Some(a), Some(b), Some(c), Some(d)] = hops else { return Err(TestnetError::Random) };
            question(&self.network, [a, b, c, d])?
        };
        let closed = |_| TestnetError::Bench("the relay closed a link");
        let answer = self.guard.ask(packet).await.map_err(closed)?;
        let opened = back.open(&answer).map_err(|_| TestnetError::Bench("the relay refused a packet"))?;
        // The relay passed on what the next hop filled its answer with.
        match opened.outcome {
            Err(Stopped { by: 0, status: Status::Malformed }) => Ok(()),
            _ => Err(TestnetError::Bench("the relay did not forward a packet")),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.swarm.abort();
    }
}

/// What clients have done so far.
pub(super) struct Load {
    pub(super) done: Arc<AtomicU64>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Load {
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Keeps so many requests of a client under way.
    pub(super) fn start(
        &self,
        guest: &Arc<Guest>,
        depth: usize,
    ) -> Vec<JoinHandle<Result<(), TestnetError>>> {
        let one = || {
            let (guest, done, stop) = (Arc::clone(guest), Arc::clone(&self.done), Arc::clone(&self.stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    guest.ask().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        (0..depth).map(|_| one()).collect()
    }
}

fn question(network: &NetworkName, hops: [Hop<'_>; 4]) -> Result<(Vec<u8>, Return), TestnetError> {
    let question =
        Question { service: Service::Storage, request: &REQUEST, answer: SMALL, stamp: stamp(now()) };
    wrap(network, hops, &question).map_err(|_| TestnetError::Bench("a packet cannot be made"))
}

fn entries(doors: &[(NodeId, OnionDoor)]) -> Result<[Hop<'_>; 4], TestnetError> {
    let mut hops = Vec::new();
    for (node, door) in doors {
        let (mut random, bytes) = (Zeroizing::new([0; 64]), [random()?, random()?].concat());
        random.copy_from_slice(&bytes);
        hops.push(Hop { node: *node, entry: Entry::First { door: door.door(true), random } });
    }
    hops.try_into().map_err(|_| TestnetError::Random)
}

/// How the relay is entered: it says so itself.
async fn door(mut stream: libp2p::Stream, plan: &Plan, relay: NodeId) -> Result<OnionDoor, TestnetError> {
    let unknown = || TestnetError::Bench("the relay does not say how it is entered");
    let request = codec::encode(&directory::Request::Records { after: None });
    let mut answer = Vec::new();
    stream.write_all(&request).await.map_err(|_| unknown())?;
    stream.close().await.map_err(|_| unknown())?;
    (&mut stream).take(directory::MAX_ANSWER as u64).read_to_end(&mut answer).await.map_err(|_| unknown())?;
    let Ok(directory::Answer::Records { records, .. }) = codec::decode(&answer, directory::MAX_ANSWER) else {
        return Err(unknown());
    };
    let mut records = records.iter().filter_map(|signed| signed.open(&plan.network.name));
    records.find(|record| record.node == relay).map(|record| record.onion).ok_or_else(unknown)
}

/// Speaks one transport, as nodes and clients do.
pub(super) fn swarm(
    key: identity::Keypair,
    transport: Transport,
) -> Result<(Swarm<libp2p_stream::Behaviour>, libp2p_stream::Control), TestnetError> {
    let streams = libp2p_stream::Behaviour::new();
    let control = streams.new_control();
    let broken = || TestnetError::Bench("the transport cannot be set up");
    let builder = SwarmBuilder::with_existing_identity(key).with_tokio();
    let swarm = match transport {
        Transport::Quic => {
            let builder = builder.with_quic().with_behaviour(|_| streams).map_err(|_| broken())?;
            builder.build()
        }
        Transport::Tcp => {
            let config = tcp::Config::new().nodelay(true);
            let builder = builder.with_tcp(config, noise::Config::new, yamux::Config::default);
            let builder = builder.map_err(|_| broken())?.with_behaviour(|_| streams).map_err(|_| broken())?;
            builder.build()
        }
    };
    Ok((swarm, control))
}

pub(super) fn listen(
    swarm: &mut Swarm<libp2p_stream::Behaviour>,
    addresses: &[String],
) -> Result<(), TestnetError> {
    let endpoints = addresses.iter().filter_map(|address| address.parse::<Endpoint>().ok());
    for endpoint in endpoints {
        swarm
            .listen_on(multiaddr(&endpoint))
            .map_err(|_| TestnetError::Bench("the next hop cannot listen"))?;
    }
    Ok(())
}

async fn connected(swarm: &mut Swarm<libp2p_stream::Behaviour>) -> bool {
    loop {
        let event = swarm.select_next_some().await;
        if matches!(event, SwarmEvent::ConnectionEstablished { .. }) {
            return true;
        }
        if matches!(event, SwarmEvent::OutgoingConnectionError { .. }) {
            return false;
        }
    }
}

pub(super) fn limits() -> Limits {
    Limits { max_in: MAX_PACKET, window: WINDOW, backlog: Backlog::new(64 << 20) }
}

pub(super) fn protocol(plan: &Plan, protocol: Protocol) -> Result<StreamProtocol, TestnetError> {
    StreamProtocol::try_from_owned(plan.network.name.protocol(protocol))
        .map_err(|_| TestnetError::Bench("the network's name makes no protocol"))
}

pub(super) fn random() -> Result<[u8; 32], TestnetError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| TestnetError::Random)?;
    Ok(bytes)
}

pub(super) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time::from_millis(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}
