//! A client of one network: what a user can ask of it.
//!
//! - `ask`: which member is asked, and which one next
//! - `path`: the paths that requests travel over
//! - [`names`]: what names resolve to
//! - `send`, `read`, `change`: writing, reading and changing a mailbox
//! - `rights`: taking rights on a mailbox away
//! - `batch`: several of these in one request, one after the other, or under conditions
//! - [`watch`]: what arrives, as it arrives

pub(crate) mod ask;
mod batch;
mod change;
pub mod names;
mod path;
mod read;
mod rights;
mod send;
pub mod watch;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use session_chain::network::NetworkFile;
use session_protocols::{
    AccountId, MessageHash, NetworkName, NodeId, SwarmMap, answer::Message, request::Auth,
    statement::Statement,
};

pub use batch::{Chosen, Deed, Outcome};
pub use change::{Changed, Expiries, NodeInfo};
pub use names::{GoesBy, Resolved};
pub use path::{PathHop, PathInfo};
pub use read::{InboxItem, Page};
pub use rights::Revoked;
pub use send::{Sent, Stored, TTL};

use crate::{
    actor::Actor,
    clock::Clock,
    connection::{Connection, addresses::Addresses, links::Links},
    directory::Snapshots,
    error::ClientError,
    home::Home,
    kept::Kept,
    membership::Membership,
    onion::{Onion, doors::Doors},
};

/// How patient a client is. The defaults suit people.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long one operation may take in all. 15 s by default.
    pub deadline: Duration,
    /// How long connecting to a node may take. 4 s by default.
    pub connect: Duration,
    /// How long a connected node may take to answer. 3 s by default.
    pub answer: Duration,
    /// The same for writes, which wait for other nodes. 7 s by default.
    pub answer_write: Duration,
    /// How long a node may be silent until another one is asked beside it. 800 ms by default.
    pub hedge: Duration,
    /// Streams that are kept at once. 32 by default.
    pub links: usize,
    /// Whether requests go straight to the nodes that are asked, which then see the address they come
    /// from: for looking into faults, on local networks alone. No by default.
    pub direct: bool,
    /// Where the guards are kept, the first hops of paths, and the signed list of nodes. Without it they
    /// are drawn and fetched anew by every client, which shows its address to many nodes over time.
    pub home: Option<Home>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            connect: Duration::from_secs(4),
            answer: Duration::from_secs(3),
            answer_write: Duration::from_secs(7),
            hedge: Duration::from_millis(800),
            links: 32,
            direct: false,
            home: None,
        }
    }
}

/// A client of one network. Clones share their connections.
///
/// It takes accounts by reference and keeps none of their secrets.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    network: NetworkName,
    pub(crate) members: Arc<Membership>,
    pub(crate) options: Options,
    pub(crate) links: Arc<Links>,
    pub(crate) doors: Arc<Doors>,
    pub(crate) clock: Arc<Clock>,
    /// None where requests go straight to nodes.
    pub(crate) onion: Option<Arc<Onion>>,
    /// How much each account's next page may bring.
    appetite: ask::Appetite,
    pub(crate) names: names::Known,
    pub(crate) kept: Kept,
    random: Mutex<ChaCha8Rng>,
}

impl Client {
    /// Makes a client of the network that a file describes. No node is dialled before something is
    /// asked of it.
    ///
    /// Call it inside a tokio runtime; one task is spawned there and ends with the last clone.
    ///
    /// # Errors
    /// When the transports cannot be set up, the guards that were kept cannot be read, or the operating
    /// system gives no random bytes; and where requests are to go straight to nodes of a network that is
    /// not local.
    #[expect(clippy::unused_async, reason = "a tokio runtime is needed, and later a first dial")]
    pub async fn connect(network: NetworkFile, options: Options) -> Result<Self, ClientError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(ClientError::Random)?;
        if options.direct && !network.local {
            return Err(ClientError::NotLocal { network: network.name });
        }
        let connection = Connection::start(network.name.clone())?;
        let kept = Kept::new(options.home.clone(), &network);
        let members = Arc::new(Membership::new(&network, kept.clone(), Clock::device_now()));
        let addresses = Addresses::new(&network, Arc::clone(&members));
        let links = Arc::new(Links::new(connection, addresses, options.links));
        let clock = Arc::new(Clock::default());
        let snapshots = Snapshots::new(&network, Arc::clone(&members), kept.clone(), clock.now());
        let of = Arc::clone(&members);
        let doors = Doors::new(&network, Arc::clone(&links), Arc::clone(&clock), snapshots, of);
        let doors = Arc::new(doors);
        let onion = if options.direct {
            None
        } else {
            let (members, links) = (Arc::clone(&members), Arc::clone(&links));
            Some(Onion::start(&network, members, links, Arc::clone(&doors), kept.clone(), options.connect)?)
        };
        let inner = Inner {
            members,
            links,
            doors,
            network: network.name,
            options,
            clock,
            onion,
            appetite: ask::Appetite::default(),
            names: names::Known::default(),
            kept,
            random: Mutex::new(ChaCha8Rng::from_seed(seed)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The network's name.
    pub fn network(&self) -> &NetworkName {
        &self.inner.network
    }

    /// What tells the network from others of its name, in a home's files.
    pub fn digest(&self) -> &[u8; 32] {
        self.inner.kept.network()
    }

    /// Which nodes keep which account, as far as it is known: of a network with a chain nothing before
    /// something was asked of it.
    pub fn map(&self) -> Arc<SwarmMap> {
        self.inner.map()
    }

    /// Milliseconds since 1970; the nodes' time when this device's clock has proven wrong.
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }
}

impl Inner {
    /// The map to go by.
    pub(crate) fn map(&self) -> Arc<SwarmMap> {
        self.members.map(self.clock.now())
    }

    /// Signs a request as whoever acts.
    fn sign(&self, by: Actor<'_>, statement: impl FnOnce(&NetworkName, u64) -> Statement) -> Auth {
        // Members go by the signed time: of what is done within a millisecond, too, the last is to stand.
        let time = self.clock.stamp_ms();
        by.sign(time, &statement(&self.network, time))
    }

    /// A number below `bound`.
    fn random(&self, bound: usize) -> usize {
        let drawn = self.random.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        usize::try_from(drawn % (bound.max(1) as u64)).unwrap_or_default()
    }

    /// A span between half of `span` and all of it.
    fn jitter(&self, span: Duration) -> Duration {
        let millis = usize::try_from(span.as_millis() / 2).unwrap_or(usize::MAX);
        span / 2 + Duration::from_millis(self.random(millis.saturating_add(1)) as u64)
    }

    /// The messages among these that can be read: whole, and not expired.
    ///
    /// One that is not what its hash says proves that the node which sent it cannot be believed.
    fn check(
        &self,
        account: &AccountId,
        namespace: session_protocols::Namespace,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, &'static str> {
        let whole = |message: &Message| MessageHash::of(account, namespace, &message.data) == message.hash;
        if !messages.iter().all(whole) {
            return Err("a message is not what its hash says");
        }
        let now = self.clock.now_ms();
        Ok(messages.into_iter().filter(|message| message.expiry > now).collect())
    }

    /// The members in the order in which to ask them: those that lately failed last, before them the
    /// guards, who know where the client is, and through one of which alone the other one is asked; first
    /// those that are linked; otherwise at random.
    pub(crate) fn order(&self, members: &[NodeId], protocol: session_protocols::Protocol) -> Vec<NodeId> {
        let mut members = members.to_vec();
        for end in (1..members.len()).rev() {
            members.swap(end, self.random(end + 1));
        }
        let guards = self.onion.as_ref().map_or_else(Vec::new, |onion| onion.guards());
        members.sort_by_key(|node| {
            let (failed, linked) = (self.links.avoided(*node), self.links.live(*node, protocol));
            (failed, guards.contains(node), !linked)
        });
        members
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.inner.network)
    }
}
