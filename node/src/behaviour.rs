//! Which libp2p protocols a node speaks, and with which limits.

use std::time::Duration;

use libp2p::{
    StreamProtocol, connection_limits, gossipsub, identify, identity, kad, memory_connection_limits, ping,
    request_response,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    upnp,
};
use session_protocols::{
    NetworkName, Protocol,
    directory::{self, MAX_RECORD},
    identity::blake2b,
    libp2p::codec::Cbor,
    snapshot,
};

use crate::{metrics::Metrics, neighbours::Neighbours, reach::Arrivals, registry::Watched};

/// The longest message of gossip, in bytes.
const MAX_GOSSIP: usize = MAX_RECORD + 512;

/// All that a node speaks over libp2p, beside the kept streams inside `streams`.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(crate) neighbours: Neighbours,
    pub(crate) streams: libp2p_stream::Behaviour,
    pub(crate) directory: request_response::Behaviour<Cbor<directory::Request, directory::Answer>>,
    pub(crate) snapshot: request_response::Behaviour<Cbor<snapshot::Request, snapshot::Answer>>,
    pub(crate) gossip: gossipsub::Behaviour,
    pub(crate) kad: kad::Behaviour<kad::store::MemoryStore>,
    pub(crate) upnp: Toggle<upnp::tokio::Behaviour>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    /// Behind all that refuse connections.
    pub(crate) arrivals: Arrivals,
}

impl Behaviour {
    /// A behaviour for the node that holds `key`. Whoever is let past `limits` is not turned away because
    /// strangers have taken the room. Shares of `checkpoints` are gossiped where nodes register on a chain.
    pub(crate) fn new(
        key: &identity::Keypair,
        network: &NetworkName,
        local: bool,
        max_memory: usize,
        checkpoints: bool,
        registry: Watched,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let me = key.public().to_peer_id();
        let limits = connection_limits::Behaviour::new(
            connection_limits::ConnectionLimits::default()
                .with_max_pending_incoming(Some(256))
                .with_max_pending_outgoing(Some(256))
                .with_max_established_incoming(Some(4_096))
                .with_max_established_outgoing(Some(512))
                .with_max_established_per_peer(Some(4)),
        );
        let protocol = |protocol| {
            StreamProtocol::try_from_owned(network.protocol(protocol)).map_err(|error| error.to_string())
        };
        let mut kad = kad::Config::new(protocol(Protocol::Kad)?);
        // The table holds what the directory proved, and nobody's records.
        kad.set_kbucket_inserts(kad::BucketInserts::Manual)
            .set_record_filtering(kad::StoreInserts::FilterBoth)
            .set_query_timeout(Duration::from_secs(20));
        let mut kad = kad::Behaviour::with_config(me, kad::store::MemoryStore::new(me), kad);
        kad.set_mode(Some(kad::Mode::Server));
        let identify = identify::Config::new(format!("/session/{network}/id/1"), key.public())
            .with_agent_version(format!("session/{}", env!("CARGO_PKG_VERSION")))
            .with_hide_listen_addrs(true)
            .with_cache_size(0);
        let garbage = metrics.garbage_total.with_label_values(&["directory"]);
        let no_request = metrics.garbage_total.with_label_values(&["snapshot"]);
        let ledgers = (protocol(Protocol::Snapshot)?, request_response::ProtocolSupport::Inbound);
        Ok(Self {
            limits,
            memory: memory_connection_limits::Behaviour::with_max_bytes(max_memory),
            neighbours: Neighbours::new(local, registry),
            streams: libp2p_stream::Behaviour::new(),
            directory: request_response::Behaviour::with_codec(
                Cbor::new(directory::MAX_REQUEST, directory::MAX_ANSWER).on_garbage(move || garbage.inc()),
                [(protocol(Protocol::Directory)?, request_response::ProtocolSupport::Full)],
                request_response::Config::default().with_max_concurrent_streams(16),
            ),
            snapshot: request_response::Behaviour::with_codec(
                Cbor::new(snapshot::MAX_REQUEST, snapshot::MAX_ANSWER).on_garbage(move || no_request.inc()),
                checkpoints.then_some(ledgers),
                request_response::Config::default().with_max_concurrent_streams(4),
            ),
            gossip: gossip(network, local, checkpoints)?,
            kad,
            upnp: Toggle::from(None::<upnp::tokio::Behaviour>),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(15))),
            arrivals: Arrivals::default(),
        })
    }

    /// Has the router lead the node's ports here, where it is to be asked.
    pub(crate) fn with_router(self, asked: bool) -> Self {
        Self { upnp: asked.then(upnp::tokio::Behaviour::default).into(), ..self }
    }
}

/// The topic of signed node records.
pub(crate) fn records_topic(network: &NetworkName) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(network.topic("records"))
}

/// The topic of shares of snapshots.
pub(crate) fn snapshots_topic(network: &NetworkName) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(network.topic("snapshots"))
}

/// The topic of shares of checkpoints.
pub(crate) fn checkpoints_topic(network: &NetworkName) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(network.topic("checkpoints"))
}

/// Records and shares are signed by the node that they name, so gossip itself signs nothing; a message is known
/// by its bytes, passed on only after the directory has judged it, and senders are scored.
fn gossip(network: &NetworkName, local: bool, checkpoints: bool) -> Result<gossipsub::Behaviour, String> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .max_transmit_size(MAX_GOSSIP)
        .message_id_fn(|message| gossipsub::MessageId::from(blake2b(&[&message.data]).to_vec()))
        .build()
        .map_err(|error| error.to_string())?;
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config)?;
    let mut topics = vec![records_topic(network), snapshots_topic(network)];
    if checkpoints {
        topics.push(checkpoints_topic(network));
    }
    let mut score = gossipsub::PeerScoreParams::default();
    for topic in &topics {
        score.topics.insert(
            topic.hash(),
            gossipsub::TopicScoreParams {
                // Messages are rare: silence is no fault, a bad one is.
                mesh_message_deliveries_weight: 0.0,
                mesh_failure_penalty_weight: 0.0,
                ..Default::default()
            },
        );
    }
    if local {
        // On one machine everybody comes from one address.
        score.ip_colocation_factor_weight = 0.0;
    }
    gossip.with_peer_score(score, gossipsub::PeerScoreThresholds::default())?;
    for topic in &topics {
        gossip.subscribe(topic).map_err(|error| error.to_string())?;
    }
    Ok(gossip)
}
