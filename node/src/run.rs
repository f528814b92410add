//! One node, from start to graceful stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use libp2p::{
    Swarm,
    metrics::{Metrics as SwarmMetrics, Registry as SwarmRegistry},
    noise, quic, tcp, yamux,
};
use session_chain::network::shown_release;
use session_protocols::{
    KeyPair, NodeId,
    directory::{Directory, Endpoint},
    door::nodes::Listing,
    libp2p::address::{keypair, multiaddr},
    limits::Admission,
    mailbox::Limits,
    member::Setup,
    request::numbers,
};
use session_storage::{MessageStore, Options};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    Config, NodeError, Supervisor,
    behaviour::Behaviour,
    door::{Behind, Door, Json, Relay},
    follow::Follow,
    http::{
        self,
        admin::{self, Guard},
    },
    keystore,
    links::Links,
    member::{self, Job},
    metrics::{DoorMetrics, HostMetrics, Metrics},
    network::{Announced, Contacts, Doors, Network},
    onion::Hop,
    reach::{Reach, Wanted, router},
    registry::{Registry, Watched},
};

/// How often a line says how things are.
const STATUS_EVERY: Duration = Duration::from_secs(60);
/// How long the member may take over a batch and over closing its store when the node stops; what it
/// has acknowledged is durable whatever happens.
const STOP: Duration = Duration::from_secs(10);
/// Page cache of the store, in bytes.
const CACHE: usize = 64 << 20;

/// Runs a node until `shutdown` completes; then closes its store and returns. Who else is a node, and which
/// swarm map acts, is what the settlement chain says that the network file names, and without one the file.
///
/// # Errors
///
/// When it cannot start, or a part of it stops.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> BoxFuture<'static, Result<(), NodeError>> {
    start(config, None, Box::pin(shutdown))
}

/// Runs a node like [`run`], by the registry that somebody else keeps. When nobody sends another any more it
/// goes by the last one.
///
/// # Errors
///
/// As with [`run`].
///
/// # Panics
///
/// As with [`run`].
pub fn run_by(
    config: Config,
    registry: watch::Receiver<Registry>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> BoxFuture<'static, Result<(), NodeError>> {
    start(config, Some(registry), Box::pin(shutdown))
}

/// Boxed and not generic: the whole node is compiled here, and not again by whoever runs one.
fn start(
    config: Config,
    registry: Option<Watched>,
    shutdown: BoxFuture<'static, ()>,
) -> BoxFuture<'static, Result<(), NodeError>> {
    Box::pin(from_start_to_stop(config, registry, shutdown))
}

async fn from_start_to_stop(
    config: Config,
    registry: Option<Watched>,
    mut shutdown: BoxFuture<'static, ()>,
) -> Result<(), NodeError> {
    // Where there is no key there is no node: a folder that was mistyped is not made.
    keystore::id(&config.data)?;
    let lock = lock(&config)?;
    let (own, least) = (env!("CARGO_PKG_VERSION"), config.network.limits.release);
    if numbers(own) < least {
        let asked = format!("{} or newer", shown_release(least));
        tracing::warn!(own, asked, "the network asks for a newer release: install the newest one");
    }
    let pair = keystore::load_under(&config.data, config.passphrase.as_ref())?;
    let id = pair.node_id();
    let follow = match (&registry, &config.network.settlement) {
        (None, Some(settlement)) => Some(Follow::start(&config, settlement, id).await?),
        _ => None,
    };
    let registry = match (&follow, registry) {
        (Some(follow), _) => follow.registry(),
        (None, Some(registry)) => registry,
        (None, None) => written(&config, &id)?,
    };
    let metrics = Metrics::new().map_err(|_| NodeError::Stopped { part: "metrics" })?;
    let store = open_store(&config)?;
    let listener = TcpListener::bind(config.http)
        .await
        .map_err(|cause| NodeError::Http { address: config.http, cause })?;
    let http = listener.local_addr().unwrap_or(config.http);
    let guard = Guard::open(&config.data, http)
        .map_err(|cause| NodeError::Data { path: config.data.join(admin::FILE), cause })?;
    let admin = admin::routes(guard, config.log.clone());

    let door = config.door.as_ref().map(|door| Door::open(door, &config.data, &pair)).transpose()?;
    let unmeasured = |_| NodeError::Stopped { part: "metrics" };
    let counted = DoorMetrics::new(&metrics).map_err(unmeasured)?;
    let (data, memory) = (config.data.clone(), config.max_memory);
    let host = HostMetrics::new(&metrics, data, memory, env!("CARGO_PKG_VERSION")).map_err(unmeasured)?;
    metrics.store_limit_bytes.set(i64::try_from(config.max_bytes).unwrap_or(i64::MAX));
    let every = config.network.timing().period.as_millis() / 1_000;
    metrics.directory_snapshot_every_seconds.set(i64::try_from(every).unwrap_or(i64::MAX));
    let door = door.map(|door| door.counted(counted));

    let mut libp2p = SwarmRegistry::default();
    let swarm_metrics = SwarmMetrics::new(&mut libp2p);
    let mut swarm = swarm(&config, &pair, registry.clone(), &metrics)?;
    for endpoint in &config.listen {
        let listened = swarm.listen_on(multiaddr(endpoint));
        listened.map_err(|error| NodeError::Listen { endpoint: *endpoint, reason: cause(&error) })?;
    }
    let first = registry.borrow().clone();
    let limits = Limits { bytes: config.max_bytes, account_bytes: config.account_bytes };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let name = config.network.name.clone();
    let setup = Setup {
        network: name.clone(),
        pair: pair.clone(),
        maps: first.maps().clone(),
        limits,
        version: version.clone(),
        rules: config.network.hf,
    };

    let (jobs, queue) = mpsc::channel(member::QUEUE);
    let (stopping, stop_seen) = watch::channel(false);
    let admission = Admission::new(config.rates);
    // Whom it forwards to it is told with the first look at the registry.
    let hop = Hop::open(&config.data, name.clone(), id, BTreeSet::new(), config.network.local)?;
    let (onion_doors, onion_door) = watch::channel(hop.door());
    let (checkpoints, chain) = match &follow {
        Some(follow) => {
            let (checkpoints, chain) = follow.attest(&config, &pair, &metrics)?;
            (Some(checkpoints), Some(chain))
        }
        None => (None, None),
    };
    let links = Links::new(
        &setup,
        jobs.clone(),
        admission,
        metrics.clone(),
        hop.clone(),
        swarm.behaviour(),
        stop_seen.clone(),
    );
    let mut links = links.with_names(chain.as_ref().map(|chain| chain.names.clone()));
    let (carrier, serving) = (links.clone(), links.clone());
    let carry = move |exchange| carrier.carry(exchange);
    let heights = follow.as_ref().map(Follow::status);
    let height = move || heights.as_ref().map_or(0, |status| status.borrow().height);
    let mut member = member::start(setup, store, metrics.clone(), queue, stop_seen.clone(), carry, height)
        .map_err(|cause| NodeError::Data { path: config.data.clone(), cause })?;
    links.accept().map_err(|_| NodeError::Stopped { part: "links" })?;

    let directory = Directory::new(Some(id), version, first.listed())
        .with_door(door.as_ref().and_then(Door::port))
        .with_snapshots(name.clone(), config.network.timing());
    let (doors, listing) = Doors::new(config.network.hf);
    let relay = Relay::new(&name, swarm.behaviour().streams.new_control(), registry.clone());
    let relay = relay.ok_or(NodeError::Stopped { part: "relay" })?;
    let (contacts, watching) = watch::channel(Contacts::default());
    let (beats, pulse) = mpsc::channel(1);
    if swarm.behaviour().upnp.is_enabled() {
        contacts.send_modify(|contacts| contacts.reached.gateway.ask(crate::now()));
    }
    let (wanted, wants) = watch::channel(Wanted::default());
    let control = swarm.behaviour().streams.new_control();
    let come = (swarm.behaviour().arrivals.clone(), swarm.behaviour().neighbours.places());
    let reach = Reach::new(control, come, config.network.local, wants, contacts.clone());
    let reach = reach.map_err(|_| NodeError::Stopped { part: "reach" })?;
    let network = Network {
        swarm,
        name,
        local: config.network.local,
        timing: config.network.timing(),
        pair,
        directory,
        links,
        jobs: jobs.clone(),
        metrics: metrics.clone(),
        swarm_metrics,
        contacts,
        checkpoints,
        doors,
        listen: config.listen.clone(),
        announce: config.announce.clone(),
        wanted,
        door: onion_door,
        fellows: BTreeSet::new(),
        registry,
        seen: None,
        first: config.network.nodes.iter().map(|node| node.id).collect(),
        places: places(&config),
        written: places(&config),
        pulse,
    };
    let (stop_network, stopped) = oneshot::channel();
    let mut network = tokio::spawn(Box::pin(network.run(stopped)));
    // It ends with the network, which tells it what is wanted.
    let mut reach = tokio::spawn(Box::pin(reach.run()));
    let doors_at = door.as_ref().map(Door::addresses).unwrap_or_default();
    let view = http::View {
        id,
        network: config.network.name.clone(),
        max_bytes: config.max_bytes,
        http,
        doors: doors_at.clone(),
        jobs: jobs.clone(),
        contacts: watching.clone(),
        metrics,
        host,
        hop: hop.clone(),
        chain,
        libp2p,
        stopping: stop_seen.clone(),
    };
    let mut http_door = tokio::spawn(http::serve(listener, view, admin));
    let keys = tokio::spawn(hop.clone().keep_keys(onion_doors));
    let service = Json::new(serving, listing.clone(), door.as_ref().map_or(0, Door::line));
    let mut door = tokio::spawn(serve_door(door, id, (service, relay), listing, stop_seen));
    tracing::info!(%id, network = %config.network.name, http = %http, doors = ?doors_at, "node started");

    let supervised = config.supervisor;
    let supervisor = supervised.map(|it| tokio::spawn(it.keep_told(jobs.clone(), watching.clone(), beats)));
    let status = tokio::spawn(log_status(jobs, watching));
    let result = tokio::select! {
        () = &mut shutdown => Ok(()),
        _ = &mut network => Err(NodeError::Stopped { part: "network" }),
        _ = &mut reach => Err(NodeError::Stopped { part: "reach" }),
        _ = &mut http_door => Err(NodeError::Stopped { part: "http" }),
        _ = &mut door => Err(NodeError::Stopped { part: "door" }),
        () = member.ended() => Err(NodeError::Stopped { part: "member" }),
    };
    let _ = stopping.send(true);
    tracing::info!(%id, "stopping");
    status.abort();
    keys.abort();
    if let Some(supervisor) = supervisor {
        supervisor.abort();
        let _ = supervisor.await;
    }
    supervised.iter().for_each(Supervisor::stopping);
    // What is acknowledged is durable already; the store closes when its thread ends.
    let ended = tokio::time::timeout(STOP, member.ended()).await.is_ok();
    let _ = stop_network.send(());
    let _ = tokio::time::timeout(Duration::from_secs(2), network).await;
    door.abort();
    let _ = door.await;
    http_door.abort();
    // The address is free again once the task is gone.
    let _ = http_door.await;
    let _ = keys.await;
    hop.close()?;
    if let Some(follow) = follow {
        follow.stop().await;
    }
    drop(lock);
    if ended && member.ended_well() { result } else { Err(NodeError::Stopped { part: "member" }) }
}

/// Serves the door for the clients that exist, and the other nodes' onion requests of them; for ever where there
/// is none.
async fn serve_door(
    door: Option<Door>,
    me: NodeId,
    (service, relay): (Json, Relay),
    listing: watch::Receiver<Arc<Listing>>,
    stopping: watch::Receiver<bool>,
) {
    let Some(door) = door else { return std::future::pending().await };
    let (service, carry) = (Arc::new(service), Arc::new(relay.clone()));
    let onions = door.onions(Behind { me, service, carry, listing });
    if relay.accept(Arc::clone(&onions), stopping.clone()).is_ok() {
        door.serve_with(onions, stopping).await;
    }
}

/// The registry of a network without a chain, which nobody changes: whoever is not in its file is no node.
fn written(config: &Config, id: &NodeId) -> Result<Watched, NodeError> {
    let registry = Registry::new(&config.network.ledger(), config.network.border());
    if !registry.contains(id) {
        let network = config.network.name.to_string();
        return Err(NodeError::NotRegistered { id: id.to_string(), network });
    }
    Ok(watch::channel(registry).1)
}

/// Logs how things are, again and again.
async fn log_status(jobs: mpsc::Sender<Job>, contacts: watch::Receiver<Contacts>) {
    let mut every = tokio::time::interval(STATUS_EVERY);
    let mut told = Announced::default();
    loop {
        every.tick().await;
        let Contacts { peers, announced, listening, .. } = contacts.borrow().clone();
        let (reachable, why) = announced.told();
        // Where it listens is not known at first.
        if !listening.is_empty() && told != announced {
            if !reachable || !announced.outside.is_empty() {
                tracing::warn!(why, "addresses lie outside the node's prefix");
            }
            told = announced;
        }
        match member::inspect(&jobs).await {
            Some(one) => {
                tracing::info!(
                    ready = one.ready,
                    peers,
                    messages = one.messages,
                    bytes = one.bytes,
                    "status"
                );
            }
            None => tracing::warn!(peers, "the store does not answer"),
        }
    }
}

/// Takes the data folder for this process alone, with a kernel lock that dies with the process.
fn lock(config: &Config) -> Result<fs::File, NodeError> {
    let data = |cause| NodeError::Data { path: config.data.clone(), cause };
    fs::create_dir_all(&config.data).map_err(data)?;
    let options =
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(config.data.join("lock"));
    let file = options.map_err(data)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(NodeError::InUse { path: config.data.clone() }),
        Err(fs::TryLockError::Error(cause)) => Err(data(cause)),
    }
}

fn open_store(config: &Config) -> Result<MessageStore, NodeError> {
    let mut fresh = [0; 8];
    getrandom::fill(&mut fresh).map_err(|_| keystore::KeyError::Random)?;
    let options =
        Options { cache_bytes: CACHE, fresh_incarnation: u64::from_be_bytes(fresh), ..Options::default() };
    let folder = config.data.join("messages");
    fs::create_dir_all(&folder).map_err(|cause| NodeError::Data { path: folder.clone(), cause })?;
    Ok(MessageStore::open(folder, options)?)
}

fn swarm(
    config: &Config,
    pair: &KeyPair,
    registry: Watched,
    metrics: &Metrics,
) -> Result<Swarm<Behaviour>, NodeError> {
    let key = keypair(pair).ok_or(NodeError::Stopped { part: "key" })?;
    let network = &config.network;
    let (name, local, chain) = (&network.name, network.local, network.settlement.is_some());
    let behaviour = Behaviour::new(&key, name, local, config.max_memory, chain, registry, metrics);
    let behaviour = behaviour.map_err(|reason| {
        tracing::error!(reason, "the protocols cannot be set up");
        NodeError::Stopped { part: "protocols" }
    })?;
    let behaviour = behaviour.with_router(router::asks(config.upnp, local, &config.listen, router::own()));
    let transport = |_| NodeError::Stopped { part: "transport" };
    let builder = libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(transport)?
        .with_quic_config(|config: quic::Config| {
            let mut config = config;
            // A dead peer is noticed in a few seconds.
            config.max_idle_timeout = 6_000;
            config.keep_alive_interval = Duration::from_secs(2);
            // What one connection may send ahead of its readers.
            config.max_stream_data = 512 << 10;
            config.max_connection_data = 1 << 20;
            config
        })
        .with_behaviour(|_| behaviour)
        .map_err(|_| NodeError::Stopped { part: "protocols" })?
        .with_swarm_config(|config| {
            config.with_idle_connection_timeout(Duration::from_secs(600)).with_smart_dial()
        });
    Ok(builder.build())
}

/// The innermost cause, which is the one that says something.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

/// Where nodes are, by the network file.
fn places(config: &Config) -> BTreeMap<NodeId, Vec<Endpoint>> {
    let nodes = config.network.nodes.iter();
    nodes.map(|node| (node.id, node.addresses.iter().filter_map(|one| one.parse().ok()).collect())).collect()
}
