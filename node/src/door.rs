//! The door for the clients that exist: HTTPS, JSON, and their onion requests.
//!
//! This is the shell: it lets in, bounds, reads and writes. What a request means is decided by whoever is
//! plugged in as [`Service`].
//!
//! - [`Limits`]: how much anyone may have of it
//! - `certificate`: its key and certificate on disk
//! - `guests`: who is connected, who asks how often, and who holds how much memory
//! - `connection`: from a socket to requests
//! - `routes`: what there is to ask
//! - `onion`: requests that pass through here
//! - `outside`: servers that such a request may be for
//! - `relay`: how nodes hand them to each other
//! - `service`: what requests mean, answered by the service behind every door
//! - `turns`: whose turn it is to have something long

mod certificate;
mod connection;
mod guests;
mod onion;
mod outside;
mod relay;
mod routes;
mod service;
mod turns;

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use session_protocols::{
    KeyPair, NodeId,
    door::{MAX_REQUEST, Reply, nodes::Listing, onion::DoorKey},
    limits::{Rate, Seats},
};
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::rustls::ServerConfig;

pub use certificate::CertificateError;
pub(crate) use onion::Onions;
pub use onion::{Carry, Lost, Told};
pub(crate) use relay::Relay;
pub(crate) use service::Json;

use crate::metrics::DoorMetrics;
use guests::{Address, Clients, Held, Memory, lock};
use outside::Outside;
use routes::State;

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers a request: the JSON of a method and its parameters. An answer of several parts takes `room` for
    /// each as it is made.
    fn answer(&self, call: Call, room: Room) -> BoxFuture<'static, Reply>;
}

/// A request as it reaches the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `{"method": ..., "params": ...}`, at most [`MAX_REQUEST`] bytes; nobody has looked at it yet.
    pub body: Vec<u8>,
    /// Whose it is.
    pub caller: Caller,
}

/// The memory that whoever asks may still have.
#[derive(Clone)]
pub struct Room(Arc<dyn Lender>);

/// What has memory for those who ask.
trait Lender: Send + Sync {
    fn take(&self, bytes: usize) -> bool;
    fn lend(&self, bytes: usize) -> Option<Loan>;
}

/// Memory that is held beside what an answer takes, for as long as this is.
pub(crate) struct Loan {
    _held: Box<dyn Send>,
}

impl<K: Copy + Ord + Send + 'static> Lender for Mutex<Held<K>> {
    fn take(&self, bytes: usize) -> bool {
        lock(self).add(bytes)
    }

    fn lend(&self, bytes: usize) -> Option<Loan> {
        let mut held = lock(self).beside();
        held.grow(bytes).then(|| Loan { _held: Box::new(held) })
    }
}

impl Room {
    fn of<K: Copy + Ord + Send + 'static>(held: &Arc<Mutex<Held<K>>>) -> Self {
        Self(held.clone())
    }

    /// Takes so many bytes of it, until the answer is gone; not if there are fewer.
    pub fn take(&self, bytes: usize) -> bool {
        self.0.take(bytes)
    }

    /// Holds so many bytes of it while something is made that may be as long; none if there are fewer.
    pub(crate) fn lend(&self, bytes: usize) -> Option<Loan> {
        self.0.lend(bytes)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// A client that asks this node itself, from this address.
    Client(IpAddr),
    /// Somebody behind an onion path, over this node; over none where this one is all of the path.
    Onion(Option<NodeId>),
}

impl Caller {
    /// Who it counts as: whoever has a /64 of IPv6 is one client, and what comes over one node is one too.
    pub(crate) fn counted(self) -> Self {
        match self {
            Self::Client(ip) => Self::Client(Address::of(ip).ip()),
            Self::Onion(_) => self,
        }
    }
}

/// The settings of a door.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    /// Where it listens; addresses of either family.
    pub listen: Vec<SocketAddr>,
    /// The files of the certificate's chain and its key, both PEM; a certificate that the node signs itself
    /// where there are none.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The hosts outside to which onion requests may go; none by default.
    pub servers: BTreeSet<String>,
    /// How much anyone may have of it.
    pub limits: Limits,
}

impl DoorConfig {
    /// A door with the defaults.
    pub fn new(listen: Vec<SocketAddr>) -> Self {
        Self { listen, certificate: None, servers: BTreeSet::new(), limits: Limits::default() }
    }
}

/// How much anyone may have of a door. The address of a client is its IPv4 address, or the /64 of its IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one address; beyond it 429.
    pub rate: Rate,
    /// Addresses whose requests are counted; others are refused with 429 while there are as many.
    pub tracked: usize,
    /// Connections. At the limit the oldest that waits for its client makes room; a new one is closed where
    /// none does.
    pub connections: usize,
    /// Those of one address, likewise.
    pub connections_each: usize,
    /// Requests that are worked on at once; beyond it 503.
    pub at_once: usize,
    /// Those of one address, likewise.
    pub at_once_each: usize,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of requests and answers that are held in memory; beyond it 503.
    pub memory: usize,
    /// Those of one address, likewise.
    pub memory_each: usize,
    /// Bytes of a request's head; beyond it 431.
    pub head: usize,
    /// Bytes of a request's body; beyond it 413.
    pub body: usize,
    /// How long a client may take over the TLS handshake.
    pub handshake_time: Duration,
    /// How long it may take over a request's head, and be idle before it.
    pub head_time: Duration,
    /// How long it may take over a request's body; beyond it 408.
    pub body_time: Duration,
    /// How long an answer may take to be made; beyond it 504.
    pub answer_time: Duration,
    /// How long it may take over the next part of an answer.
    pub stall_time: Duration,
    /// How long a connection may last; what is under way then has [`Self::stall_time`] to end.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: Rate { per_second: 300, burst: 600 },
            tracked: 10_000,
            connections: 4_096,
            connections_each: 256,
            at_once: 256,
            at_once_each: 64,
            streams: 32,
            memory: 256 << 20,
            memory_each: 32 << 20,
            head: 32 << 10,
            body: MAX_REQUEST,
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(30),
            body_time: Duration::from_secs(30),
            answer_time: Duration::from_secs(40),
            stall_time: Duration::from_secs(20),
            lifetime: Duration::from_secs(600),
        }
    }
}

impl Limits {
    /// Lets everybody have as much as the machine has, for measurements; sizes and times stay.
    pub const fn lift(&mut self) {
        self.rate = Rate { per_second: 1 << 30, burst: 1 << 30 };
        self.tracked = usize::MAX;
        self.connections = 1 << 16;
        self.connections_each = self.connections;
        self.at_once = 1 << 12;
        self.at_once_each = self.at_once;
        self.memory = 1 << 30;
        self.memory_each = self.memory;
    }
}

/// Why a door cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorError {
    /// An address cannot be listened on.
    #[error("cannot serve HTTPS on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The node's key cannot be used.
    #[error("the node's key cannot be used for onion requests")]
    Key,
}

/// A door that listens, and serves nobody yet.
#[derive(Debug)]
pub struct Door {
    listeners: Vec<TcpListener>,
    tls: Arc<ServerConfig>,
    limits: Limits,
    servers: BTreeSet<String>,
    key: DoorKey,
    /// When its certificate runs out, in seconds since 1970.
    expires: Option<i64>,
    metrics: Option<DoorMetrics>,
}

/// Who stands behind a door.
pub struct Behind {
    /// The node whose door it is.
    pub me: NodeId,
    /// What answers requests.
    pub service: Arc<dyn Service>,
    /// How onion requests reach other nodes.
    pub carry: Arc<dyn Carry>,
    /// The nodes that clients are told of.
    pub listing: watch::Receiver<Arc<Listing>>,
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behind").finish_non_exhaustive()
    }
}

impl Door {
    /// Opens the door of the node that holds `pair` and lives in the folder `data`, where a certificate that
    /// it signs itself is kept.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, or there is no certificate.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn open(config: &DoorConfig, data: &Path, pair: &KeyPair) -> Result<Self, DoorError> {
        let (tls, expires) = certificate::config(data, config.certificate.as_ref())?;
        let listen = |address: &SocketAddr| {
            let listener = connection::listen(*address);
            listener.map_err(|cause| DoorError::Listen { address: *address, cause })
        };
        let listeners = config.listen.iter().map(listen).collect::<Result<_, _>>()?;
        let key = DoorKey::of(pair).ok_or(DoorError::Key)?;
        Ok(Self {
            listeners,
            tls: Arc::new(tls),
            limits: config.limits,
            servers: config.servers.clone(),
            key,
            expires,
            metrics: None,
        })
    }

    /// Counts what comes.
    pub(crate) fn counted(self, metrics: DoorMetrics) -> Self {
        if let Some(expires) = self.expires {
            metrics.certificate_expires(expires);
        }
        Self { metrics: Some(metrics), ..self }
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// How many requests of one client may wait for others of its own: half of those that are worked on, so that
    /// the rest is.
    pub(crate) const fn line(&self) -> usize {
        self.limits.at_once_each / 2
    }

    /// The port that others are told: the first one.
    pub(crate) fn port(&self) -> Option<u16> {
        self.addresses().first().map(SocketAddr::port)
    }

    /// Serves until `stopping` says so.
    pub async fn serve(self, behind: Behind, stopping: watch::Receiver<bool>) {
        let onions = self.onions(behind);
        self.serve_with(onions, stopping).await;
    }

    /// What passes onion requests on; other nodes hand theirs to it too.
    pub(crate) fn onions(&self, behind: Behind) -> Arc<Onions> {
        Arc::new(Onions { key: self.key.clone(), outside: Outside::new(&self.servers), behind })
    }

    pub(crate) async fn serve_with(self, onions: Arc<Onions>, stopping: watch::Receiver<bool>) {
        let Self { listeners, tls, limits, metrics, .. } = self;
        let state = Arc::new(State {
            limits,
            metrics,
            onions,
            clients: Clients::new(limits),
            memory: Memory::new(limits.memory_each, limits.memory),
            at_once: Arc::new(Mutex::new(Seats::new(limits.at_once_each, limits.at_once))),
        });
        connection::serve(listeners, tls, state, stopping).await;
    }
}
