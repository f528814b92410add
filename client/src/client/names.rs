//! Names: looked up at any node, believed by proof alone, and followed where they led before.
//!
//! A node learns an id that somebody asks for. Its answer has to lead to the checkpoint that this client trusts;
//! one that does not is given up, and another node is asked. What a name led to when it was followed first is
//! kept ([`Pin`]), and nothing else is followed until the user agrees.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use session_chain::{
    Amount,
    names::resolve::{Anchor, Disbelief, Found, Standing},
};
use session_protocols::{
    NodeId, Protocol, codec,
    names::{
        COST, Kind, Name, NameId, NameKeys, Value,
        lookup::{Answer, MAX_ANSWER, Request},
        seal::OpenError,
        value::Wallet,
    },
    onion::{size::Bucket, wrap::Service},
    path::{PathError, Use},
};
use tokio::time::{Instant, sleep_until};

use super::{
    Client, Inner,
    ask::{Failure, Fault, worst},
};
use crate::{clock::Clock, error::ClientError, home::Pin, kept::Kept, membership::Age, onion::Parcel};

/// Names whose keys, and what they resolved to, are kept in memory; beyond it the oldest are forgotten.
const MAX_KNOWN: usize = 256;
/// Names that are tried for one id.
const MAX_TRIED: usize = 8;
/// Nodes that are asked for one lookup.
const MAX_ASKED: usize = 8;
/// Nodes that are asked at once.
const MAX_RUNNING: usize = 2;
/// How often the newest checkpoint is fetched for one lookup: a node that lies could have it done for ever.
const MAX_REFRESHES: usize = 3;
/// The longest pause after an answer of another epoch: nodes come to a new checkpoint one after the other.
const LATE: Duration = Duration::from_millis(400);
/// What is said of nodes that are not where this client is.
const OTHER_EPOCH: [&str; 2] = [Disbelief::Newer.what(), Disbelief::Older.what()];
/// The smallest answer that is asked for: every lookup's, but for entries with many long records.
const ROOM: Bucket = Bucket::ALL[1];

/// What a name resolves to, as the nodes have signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The name.
    pub name: Name,
    /// Its id; its parent's, if it is a sub-name.
    pub id: NameId,
    /// Whose it is.
    pub owner: Wallet,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// How often it got an owner.
    pub version: u32,
    /// What its records say, or why that cannot be read.
    pub records: BTreeMap<Kind, Result<Value, OpenError>>,
    /// Whether its owner has published what it is called.
    pub revealed: bool,
    /// What it can be bought for.
    pub price: Option<Amount>,
    /// At the end of which epoch all that was so.
    pub epoch: u64,
}

/// The name by which an account on the chain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoesBy {
    /// The name's id.
    pub id: NameId,
    /// What it is called; none where that is not known here.
    pub name: Option<Name>,
}

/// A name, its keys, and how it stood at the end of which epoch, if that was asked.
type One = (Name, Arc<NameKeys>, Option<(u64, Standing)>);

/// What is known of names in memory.
#[derive(Default)]
pub(crate) struct Known {
    names: Mutex<VecDeque<One>>,
    /// Who computes keys: each takes 64 MiB while it does.
    turn: tokio::sync::Mutex<()>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, VecDeque<One>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of a name: one run of Argon2id, where nothing waits for it, or what is known or kept of one.
    async fn keys(&self, name: &Name, kept: &Kept) -> Result<Arc<NameKeys>, ClientError> {
        let _turn = self.turn.lock().await;
        let known = self.lock().iter().find(|(known, ..)| known == name).map(|(_, keys, _)| Arc::clone(keys));
        if let Some(keys) = known {
            return Ok(keys);
        }
        let (of, kept) = (name.clone(), kept.clone());
        let computed = tokio::task::spawn_blocking(move || {
            kept.name_keys(&of).map_or_else(|| NameKeys::of(&of, COST), Ok)
        });
        let computed = computed.await;
        let keys = match computed {
            Ok(keys) => Arc::new(keys?),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        let mut names = self.lock();
        if names.len() >= MAX_KNOWN {
            names.pop_front();
        }
        names.push_back((name.clone(), Arc::clone(&keys), None));
        Ok(keys)
    }

    /// How a name stood at the end of an epoch, if that is known.
    fn at(&self, name: &Name, epoch: u64) -> Option<Standing> {
        let names = self.lock();
        let (.., stood) = names.iter().find(|(known, ..)| known == name)?;
        stood.as_ref().filter(|(at, _)| *at == epoch).map(|(_, standing)| standing.clone())
    }

    fn note(&self, name: &Name, epoch: u64, standing: &Standing) {
        if let Some((.., stood)) = self.lock().iter_mut().find(|(known, ..)| known == name) {
            *stood = Some((epoch, standing.clone()));
        }
    }
}

impl Client {
    /// Whether the network has names: they live on its chain.
    pub fn has_names(&self) -> bool {
        self.inner.members.has_chain()
    }

    /// What a name resolves to: asked of a node over a path, and proven by what most nodes have signed. Known
    /// ones are not asked for again until there can be a newer checkpoint.
    ///
    /// Computing the name's id takes a fraction of a second, once, beside the caller's tasks; of a name that is
    /// followed it is kept, in the home if there is one.
    ///
    /// # Errors
    /// When the name is nobody's or has expired, when no node proves what it says, and where there are no names.
    pub async fn resolve(&self, name: &Name) -> Result<Resolved, ClientError> {
        let inner = &*self.inner;
        self.check_names()?;
        let keys = inner.names.keys(name, &inner.kept).await?;
        let (epoch, standing) = inner.standing(name, &keys).await?;
        let found = match standing {
            Standing::Free => return Err(ClientError::NameFree { name: name.clone() }),
            Standing::Expired { .. } => return Err(ClientError::NameExpired { name: name.clone() }),
            Standing::Held(found) => *found,
        };
        let Found { entry, records } = found;
        let opened = records.iter().filter_map(|(number, sealed)| {
            // Kinds that are not known are for newer clients.
            let kind = Kind::of_number(*number)?;
            Some((kind, keys.open(entry.version, kind, sealed)))
        });
        let called = entry.revealed.as_ref().and_then(|called| called.parse::<Name>().ok());
        Ok(Resolved {
            name: name.clone(),
            id: keys.id(),
            owner: Wallet(entry.owner.into_array()),
            expires: entry.expires,
            version: entry.version,
            records: opened.collect(),
            revealed: called.is_some_and(|called| called.parent() == name.parent() && called.sub().is_none()),
            price: entry.price,
            epoch,
        })
    }

    /// What a record of a name says, to be relied on: what it said when it was followed first is kept, in the
    /// home if there is one, and anything else is refused until the user has `agreed` to that very value. So is a
    /// record that was never followed, of a name that was, or whose parent or sub-name was, and is somebody else's since.
    ///
    /// A wallet is refused too where what is known of the name is old ([`Age::is_old`]): who withholds
    /// checkpoints could have somebody paid who has sold the name since.
    ///
    /// # Errors
    /// As [`Self::resolve`]; when the name has no such record or it cannot be read; when it says something else
    /// than before, or than what was agreed to; when a wallet's name is known of an old epoch alone; and when what
    /// is kept cannot be read or written.
    pub async fn follow(
        &self,
        name: &Name,
        kind: Kind,
        agreed: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let resolved = self.resolve(name).await?;
        if let Some(age) = self.names_age().filter(Age::is_old)
            && kind == Kind::Wallet
        {
            return Err(ClientError::NamesOld { name: name.clone(), age });
        }
        let value = match resolved.records.get(&kind) {
            None => return Err(ClientError::NoRecord { name: name.clone(), kind }),
            Some(Err(cause)) => {
                return Err(ClientError::Record { name: name.clone(), kind, cause: *cause });
            }
            Some(Ok(value)) => value.clone(),
        };
        let now = Pin {
            value: value.to_string(),
            owner: resolved.owner.to_string(),
            version: resolved.version,
            since_ms: self.now_ms(),
        };
        if let Some(other) = agreed.filter(|agreed| **agreed != value) {
            let agreed = other.to_string();
            return Err(ClientError::NotAgreed { name: name.clone(), kind, agreed, now: Box::new(now) });
        }
        match self.inner.kept.pin(name, kind, now.clone(), agreed.is_some()).map_err(ClientError::Pins)? {
            None => {
                self.inner.kept.keep_name_keys(name, &*self.inner.names.keys(name, &self.inner.kept).await?);
                Ok(value)
            }
            Some((led, of, before)) => Err(ClientError::NameChanged {
                name: name.clone(),
                kind,
                led: Box::new(led),
                of,
                before: Box::new(before),
                now: Box::new(now),
            }),
        }
    }

    /// The name by which an account on the chain goes, proven both ways: the account says so, and the name is
    /// its own. None where it goes by none.
    ///
    /// The chain has the name's id. What it is called is known if its owner revealed it, or if it was followed
    /// before; each such name is tried, which takes a fraction of a second.
    ///
    /// # Errors
    /// When no node proves what it says, where there are no names, and when what is kept cannot be read.
    pub async fn goes_by(&self, account: &Wallet) -> Result<Option<GoesBy>, ClientError> {
        let inner = &*self.inner;
        self.check_names()?;
        inner.anchored().await?;
        let address = account.0.into();
        let judge = |anchor: &Anchor, answer: &Answer| {
            anchor.account(address, answer, inner.clock.now().as_millis() / 1_000)
        };
        let request = Request::account(account.0);
        let (_, found) = Box::pin(inner.look_up(&request, &judge)).await?;
        let Some((id, entry)) = found else { return Ok(None) };
        let owner = account.to_string();
        let revealed = entry.revealed.and_then(|name| name.parse::<Name>().ok());
        let pins = inner.kept.pins().map_err(ClientError::Pins)?;
        let followed = pins.into_iter().filter(|(_, pins)| pins.values().any(|pin| pin.owner == owner));
        let may_be = revealed.into_iter().chain(followed.map(|(name, _)| name));
        for name in may_be.filter(|name| name.sub().is_none()).take(MAX_TRIED) {
            if inner.names.keys(&name, &inner.kept).await?.id() == id {
                return Ok(Some(GoesBy { id, name: Some(name) }));
            }
        }
        Ok(Some(GoesBy { id, name: None }))
    }

    /// How old what is known of names is; none while nothing was asked.
    pub fn names_age(&self) -> Option<Age> {
        self.inner.age()
    }

    fn check_names(&self) -> Result<(), ClientError> {
        let none = || ClientError::NoNames { network: self.inner.network.clone() };
        self.has_names().then_some(()).ok_or_else(none)
    }

    /// What a record of a name said when it was followed last; none where it never was.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub fn followed(&self, name: &Name, kind: Kind) -> Result<Option<Value>, ClientError> {
        let pins = self.inner.kept.pins().map_err(ClientError::Pins)?;
        let pin = pins.get(name).and_then(|of_name| of_name.get(kind.as_str()));
        Ok(pin.and_then(|pin| Value::parse(kind, &pin.value).ok()))
    }

    /// The names that were followed before and look like this one, and are others.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub fn look_alikes(&self, name: &Name) -> Result<Vec<Name>, ClientError> {
        let pins = self.inner.kept.pins().map_err(ClientError::Pins)?;
        Ok(pins.into_keys().filter(|known| name.looks_like(known)).collect())
    }
}

/// Who to ask next, and what came of those before.
struct Asked {
    faults: BTreeMap<NodeId, Fault>,
    /// How often the newest checkpoint was fetched because of an answer.
    refreshes: usize,
}

impl Inner {
    /// How old the newest checkpoint is: by the later of this device's clock and the nodes', so that nobody's word
    /// makes it younger.
    fn age(&self) -> Option<Age> {
        self.members.age(self.clock.now().max(Clock::device_now()))
    }

    /// How a name stands, and at the end of which epoch it did.
    async fn standing(&self, name: &Name, keys: &NameKeys) -> Result<(u64, Standing), ClientError> {
        if let Some(anchor) = self.anchored().await?
            && let Some(standing) = self.names.at(name, anchor.epoch)
        {
            return Ok((anchor.epoch, expired(standing, self.clock.now().as_millis() / 1_000)));
        }
        let sub = name.sub().map(|_| keys.sub_id());
        let request = Request::name(keys.id(), sub);
        let judge = |anchor: &Anchor, answer: &Answer| {
            let now = self.clock.now().as_millis() / 1_000;
            anchor.name(keys.id(), sub.map(Into::into), answer, now)
        };
        let found = Box::pin(self.look_up(&request, &judge)).await?;
        self.names.note(name, found.0, &found.1);
        Ok(found)
    }

    /// Makes sure that a checkpoint is trusted, and returns it if there can be no newer one.
    async fn anchored(&self) -> Result<Option<Anchor>, ClientError> {
        let is_behind = self.members.is_behind(self.clock.now());
        if let Some(anchor) = self.members.anchor().filter(|_| !is_behind) {
            return Ok(Some(anchor));
        }
        let learned = self.learn_members().await;
        match self.members.anchor() {
            Some(_) => Ok(None),
            None => {
                let cause = learned.err().unwrap_or(crate::DirectoryError::Uncertain);
                Err(ClientError::Directory { cause })
            }
        }
    }

    /// Asks one node after the other, until one proves what it says.
    async fn look_up<T>(
        &self,
        request: &Request,
        judge: &(impl Fn(&Anchor, &Answer) -> Result<T, Disbelief> + Sync),
    ) -> Result<(u64, T), ClientError> {
        let deadline = Instant::now() + self.options.deadline;
        let nodes: Vec<_> = self.members.nodes().keys().copied().collect();
        let mut queue: VecDeque<_> =
            self.order(&nodes, Protocol::Names).into_iter().take(MAX_ASKED).collect();
        let mut asked = Asked { faults: BTreeMap::new(), refreshes: 0 };
        let mut running = FuturesUnordered::new();
        let mut next = Instant::now();
        while !(queue.is_empty() && running.is_empty()) {
            if Instant::now() >= next
                && running.len() < MAX_RUNNING
                && let Some(node) = queue.pop_front()
            {
                let answer = self.ask_name(node, request);
                running.push(async move { (node, answer.await) });
                next = Instant::now() + self.jitter(self.options.hedge * 2);
            }
            let may_ask = running.len() < MAX_RUNNING && !queue.is_empty();
            let (node, outcome) = tokio::select! {
                Some(answered) = running.next() => answered,
                () = sleep_until(next), if may_ask => continue,
                () = sleep_until(deadline) => break,
            };
            let fault = match outcome {
                Ok(answer) => match self.judge(&answer, judge, &mut asked).await {
                    Ok(found) => {
                        self.links.answered(node);
                        return Ok(found);
                    }
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            tracing::debug!(%node, ?fault, "another node is asked for the name");
            next = Instant::now();
            match &fault {
                Fault::Disbelieved(what) if OTHER_EPOCH.contains(what) => next += self.jitter(LATE),
                Fault::Silent | Fault::Disbelieved(_) => self.links.failed(node),
                Fault::ClockWrong(by) => return Err(ClientError::Clock { seconds: by / 1_000 }),
                // No other node can be reached either.
                Fault::Path(PathError::TooFew { .. }) | Fault::Directory(_) => queue.clear(),
                Fault::Busy | Fault::Refused(_) | Fault::Path(_) | Fault::ClockMoved | Fault::TooLarge(_) => {
                }
            }
            asked.faults.insert(node, fault);
        }
        let silent = ClientError::NamesSilent { asked: asked.faults.len() };
        Err(worst(silent, Failure::Faults(asked.faults)))
    }

    /// Takes an answer if it is proven by the checkpoint that is trusted, once that is the newest.
    async fn judge<T>(
        &self,
        answer: &Answer,
        judge: &(impl Fn(&Anchor, &Answer) -> Result<T, Disbelief> + Sync),
        asked: &mut Asked,
    ) -> Result<(u64, T), Fault> {
        if let Answer::Refused { code } = answer {
            let refusal = session_protocols::answer::Refusal { code: *code, swarm: None, receipts: None };
            return Err(Fault::Refused(refusal));
        }
        loop {
            let anchor = self.members.anchor().ok_or(Fault::Disbelieved(Disbelief::Newer.what()))?;
            match judge(&anchor, answer) {
                Ok(found) => return Ok((anchor.epoch, found)),
                Err(Disbelief::Newer) if asked.refreshes < MAX_REFRESHES => {
                    asked.refreshes += 1;
                    let guards = self.onion.as_ref().map_or_else(Vec::new, |onion| onion.guards());
                    if let Err(error) = self.doors.refresh(&guards, true).await {
                        tracing::debug!(%error, "no newer checkpoint");
                    }
                }
                Err(disbelief) => return Err(Fault::Disbelieved(disbelief.what())),
            }
        }
    }

    /// Asks one node.
    fn ask_name(&self, node: NodeId, request: &Request) -> BoxFuture<'_, Result<Answer, Fault>> {
        let payload = codec::encode(request);
        let patience = self.options.answer;
        Box::pin(async move {
            let bytes = match &self.onion {
                Some(onion) => {
                    // Of nobody's mailbox, and with a layer of its own for each.
                    let (usage, service) = (Use::Look, Service::Names);
                    let (hedge, hold) = (self.options.hedge * 3 / 4, Duration::ZERO);
                    let parcel =
                        Parcel { usage, service, request: payload, answer: ROOM, patience, hold, hedge };
                    self.carry(onion, node, parcel).await?
                }
                None => self.directly(node, Protocol::Names, payload, patience).await?,
            };
            codec::decode(&bytes, MAX_ANSWER).map_err(|_| Fault::Disbelieved("the answer cannot be read"))
        })
    }
}

/// A standing that was known before, as it is now.
fn expired(standing: Standing, now: u64) -> Standing {
    match standing {
        Standing::Held(found) if !found.entry.is_live(now) => {
            Standing::Expired { since: found.entry.expires }
        }
        as_it_was @ (Standing::Free | Standing::Expired { .. } | Standing::Held(_)) => as_it_was,
    }
}
