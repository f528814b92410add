//! What arrives in a mailbox, as it arrives.
//!
//! A subscription is held at one member of the swarm. When that member or the link to it dies,
//! another one takes over from where the mailbox was last read there: it may send messages again,
//! which are recognised by their hash, and leaves none out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::Stream;
use session_protocols::{
    MessageHash, Namespace, NodeId, Protocol,
    answer::{Body, Code, Message, Refusal},
    codec,
    libp2p::link::{Events, LinkError},
    notify::{self, Event, MAX_EVENT, Subscribe, Subscribed},
    request::{Cursor, Ids, Request},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Client, InboxItem, Inner,
    ask::{Failure, Fault},
};
use crate::{
    account::Account,
    clock::Comparison,
    cursors::{Cursors, Listing},
    error::ClientError,
};

/// Messages that are recognised when they come again; beyond it the oldest are forgotten.
pub const MAX_SEEN: usize = 65_536;

/// Events that wait for the reader.
const BATCHES: usize = 4;
/// How long a reader may take until its subscription is given up. It is taken up again from the
/// same place, so that a slow reader holds up nothing else on the link and loses nothing.
const STALL: Duration = Duration::from_secs(1);
/// When a subscription is renewed at the latest. Nodes end them after 65 minutes.
const RENEW: Duration = Duration::from_secs(55 * 60);
/// When it is renewed at the earliest, whatever a node says.
const RENEW_MIN: Duration = Duration::from_secs(60);
/// The pause after no member could be reached; it doubles up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Pages of hashes that are taken from one member; no mailbox has more.
const MAX_LISTS: usize = 512;
/// How long an answer over a path may wait at the member. Outside local networks none is asked sooner than so
/// long after the last time, which is how often it answers.
pub(super) const TICK: Duration = Duration::from_micros(notify::TICK.0);
/// The same on a local network, where the last answer brought nothing: it should have waited for something.
const SOON: Duration = Duration::from_millis(100);
/// A subscription that ended sooner did not go well.
const SHORT: Duration = Duration::from_secs(5);

/// The messages of one namespace as they arrive: a stream that ends when it is dropped.
///
/// Each is what its hash says, has not expired, and comes once.
pub struct Messages {
    batches: mpsc::Receiver<Batch>,
    /// What is left of the last batch.
    pending: VecDeque<Message>,
    behind: Option<(NodeId, Cursor)>,
    cursors: Cursors,
    task: JoinHandle<()>,
}

/// The messages of an inbox as they arrive: a stream that ends when it is dropped.
///
/// Copies of what the account itself has sent are left out; what cannot be opened is an item too.
pub struct Watch {
    account: Account,
    messages: Messages,
}

struct Batch {
    messages: Vec<Message>,
    /// Where to go on behind them; none where that is not behind all that came before.
    behind: Option<(NodeId, Cursor)>,
}

impl Client {
    /// Watches an inbox: what is there after `since`, and then what arrives.
    ///
    /// `shown` are messages that need not come again, as [`Home::shown`](crate::Home::shown) has
    /// them. Once this has returned, the watch goes on whatever happens to nodes and links; it
    /// holds the account's keys, with which it subscribes anew.
    ///
    /// # Errors
    /// When no member of the swarm takes the first subscription.
    pub async fn watch(
        &self,
        account: &Account,
        since: Cursors,
        shown: impl IntoIterator<Item = MessageHash>,
    ) -> Result<Watch, ClientError> {
        let messages = self.watch_namespace(account, Namespace::INBOX, since, shown).await?;
        Ok(Watch { account: account.clone(), messages })
    }

    /// Watches any namespace, without opening anything: what [`Self::watch`] is made of.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub async fn watch_namespace(
        &self,
        account: &Account,
        namespace: Namespace,
        since: Cursors,
        shown: impl IntoIterator<Item = MessageHash>,
    ) -> Result<Messages, ClientError> {
        let (sender, batches) = mpsc::channel(BATCHES);
        let mut watcher = Watcher {
            inner: Arc::clone(&self.inner),
            account: account.clone(),
            namespace,
            cursors: since.clone(),
            seen: Seen::default(),
            batches: sender,
        };
        for hash in shown {
            watcher.seen.insert(hash);
        }
        let first = watcher.subscribe().await.map_err(|failure| self.inner.error(account.id(), failure))?;
        let task = tokio::spawn(watcher.run(first));
        Ok(Messages { batches, pending: VecDeque::new(), behind: None, cursors: since, task })
    }
}

impl Messages {
    /// Where to go on another time: behind every event whose messages were all taken.
    pub const fn cursors(&self) -> &Cursors {
        &self.cursors
    }
}

impl Watch {
    /// Where to go on another time, as [`Messages::cursors`].
    pub const fn cursors(&self) -> &Cursors {
        self.messages.cursors()
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let this = &mut *self;
        loop {
            let next = this.pending.pop_front();
            if this.pending.is_empty()
                && let Some((node, cursor)) = this.behind.take()
            {
                this.cursors.set(node, cursor);
            }
            if next.is_some() {
                return Poll::Ready(next);
            }
            let Some(batch) = ready!(this.batches.poll_recv(cx)) else { return Poll::Ready(None) };
            this.pending = batch.messages.into();
            this.behind = batch.behind;
        }
    }
}

impl Stream for Watch {
    type Item = InboxItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<InboxItem>> {
        let this = &mut *self;
        loop {
            let next = ready!(Pin::new(&mut this.messages).poll_next(cx));
            let Some(message) = next else { return Poll::Ready(None) };
            if let Some(item) = InboxItem::open(&this.account, &message) {
                return Poll::Ready(Some(item));
            }
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("cursors", &self.cursors).finish_non_exhaustive()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({})", self.account.id())
    }
}

/// The task behind a watch.
struct Watcher {
    inner: Arc<Inner>,
    account: Account,
    namespace: Namespace,
    cursors: Cursors,
    seen: Seen,
    batches: mpsc::Sender<Batch>,
}

/// What a member has for a watcher that turns to it.
enum Start {
    /// It knows how far it was read.
    Events(Subscription),
    /// It does not: these messages are to be fetched first.
    Lacking(Listing),
}

struct Subscription {
    node: NodeId,
    source: Source,
}

/// How events come.
enum Source {
    /// They are pushed over a link to the member, until then.
    Link(Events, Instant),
    /// They are asked for over a path, again and again: each answer waits until there is something.
    Path,
}

impl Watcher {
    async fn run(mut self, first: Start) {
        let mut next = Some(first);
        let mut pause = PAUSE;
        while !self.batches.is_closed() {
            if let Some(start) = next.take() {
                let started = Instant::now();
                let subscription = match start {
                    Start::Events(subscription) => Some(subscription),
                    Start::Lacking(listing) => self.catch_up(listing).await,
                };
                if let Some(subscription) = subscription {
                    self.follow(subscription).await;
                }
                if started.elapsed() >= SHORT {
                    pause = PAUSE;
                    next = self.subscribe().await.ok();
                    continue;
                }
            }
            sleep(self.inner.jitter(pause)).await;
            next = match self.subscribe().await {
                Ok(start) => Some(start),
                Err(failure) => {
                    let error = self.inner.error(self.account.id(), failure);
                    if pause == PAUSE {
                        tracing::warn!(account = %self.account.id(), %error, "nobody to watch at; trying on");
                    }
                    None
                }
            };
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Fetches what a member has and this watcher lacks, and subscribes behind it.
    async fn catch_up(&mut self, mut listing: Listing) -> Option<Subscription> {
        let node = listing.node;
        while !listing.lacking.is_empty() {
            let Ok((messages, hashes)) = self.fetch(node, listing.next()).await else {
                self.inner.links.failed(node);
                return None;
            };
            listing.dealt(hashes);
            let messages = self.unseen(messages);
            let behind = listing.lacking.is_empty().then_some((node, listing.cursor));
            self.batches.send(Batch { messages, behind }).await.ok()?;
        }
        self.cursors.set(node, listing.cursor);
        self.subscribe_at(node).await.ok()
    }

    async fn fetch(&self, node: NodeId, hashes: Vec<MessageHash>) -> Result<(Vec<Message>, usize), Fault> {
        let inner = &*self.inner;
        let request = Request::Fetch(inner.fetch((&self.account).into(), self.namespace, hashes.clone()));
        match inner.exchange(node, request, inner.options.answer).await?.body {
            Body::Fetched { messages, hashes: dealt } => inner
                .check_fetched(&self.account.id(), self.namespace, &hashes, (messages, dealt))
                .map_err(Fault::Disbelieved),
            Body::Refused(refusal) => Err(Fault::Refused(refusal)),
            Body::Stored { .. }
            | Body::Changed { .. }
            | Body::Messages { .. }
            | Body::Ids { .. }
            | Body::Swarm(_)
            | Body::Info { .. }
            | Body::Expiries { .. }
            | Body::Revoked { .. }
            | Body::Batch(_)
            | Body::If { .. } => Err(Fault::Disbelieved("it answers something else")),
        }
    }

    /// Asks a member for the hashes of what this watcher may lack; none where it knows the cursor.
    async fn list(&self, node: NodeId) -> Result<Option<Listing>, Fault> {
        let inner = &*self.inner;
        let (mut cursor, mut ids) = (self.cursors.at(&node), Ids::Anew);
        let (mut lacking, mut pages) = (VecDeque::new(), 0_usize..MAX_LISTS);
        while pages.next().is_some() {
            // One message is enough to tell that the cursor is known: the subscription brings it.
            let request = inner.retrieve((&self.account).into(), self.namespace, cursor, Some(ids), Some(1));
            let request = Request::Retrieve(request);
            match inner.exchange(node, request, inner.options.answer).await?.body {
                Body::Messages { .. } if ids == Ids::Anew => return Ok(None),
                Body::Ids { hashes, more, cursor: end } if !more || cursor != Some(end) => {
                    lacking.extend(hashes.into_iter().filter(|hash| !self.seen.known.contains(hash)));
                    if !more {
                        return Ok(Some(Listing { node, cursor: end, more, lacking }));
                    }
                    (cursor, ids) = (Some(end), Ids::Always);
                }
                Body::Refused(refusal) => return Err(Fault::Refused(refusal)),
                Body::Stored { .. }
                | Body::Changed { .. }
                | Body::Messages { .. }
                | Body::Ids { .. }
                | Body::Fetched { .. }
                | Body::Swarm(_)
                | Body::Info { .. }
                | Body::Expiries { .. }
                | Body::Revoked { .. }
                | Body::Batch(_)
                | Body::If { .. } => return Err(Fault::Disbelieved("it answers something else")),
            }
        }
        Err(Fault::Disbelieved("its pages lead nowhere"))
    }

    /// Turns to a member: at once to its events, unless it has to be told first what is there.
    async fn start_at(&mut self, node: NodeId) -> Result<Start, Fault> {
        if !self.seen.known.is_empty()
            && let Some(listing) = self.list(node).await?
        {
            if !listing.lacking.is_empty() {
                return Ok(Start::Lacking(listing));
            }
            self.cursors.set(node, listing.cursor);
        }
        self.subscribe_at(node).await.map(Start::Events)
    }

    /// The messages among these that did not come before.
    fn unseen(&mut self, mut messages: Vec<Message>) -> Vec<Message> {
        messages.retain(|message| self.seen.insert(message.hash));
        messages
    }

    /// Takes what one subscription brings, for as long as it goes well.
    async fn follow(&mut self, mut subscription: Subscription) {
        loop {
            let node = subscription.node;
            let (events, renew) = match &mut subscription.source {
                Source::Link(events, renew) => (events, *renew),
                Source::Path => return self.follow_by_path(node).await,
            };
            let event = tokio::select! {
                event = events.next() => event,
                () = sleep_until(renew) => {
                    match self.subscribe_at(subscription.node).await {
                        // The new one begins where the last event ended; what the old one still
                        // holds comes again.
                        Ok(renewed) => {
                            subscription = renewed;
                            continue;
                        }
                        Err(_) => None,
                    }
                }
            };
            let Some(batch) = event.and_then(|event| self.take(node, &event)) else {
                self.inner.links.failed(node);
                return;
            };
            match timeout(STALL, self.batches.reserve()).await {
                Ok(Ok(room)) => room.send(batch),
                Ok(Err(_)) => return,
                Err(_) => {
                    drop(subscription);
                    if let Ok(room) = self.batches.reserve().await {
                        room.send(batch);
                    }
                    return;
                }
            }
        }
    }

    /// Asks a member for what arrives over a path, for as long as it goes well.
    ///
    /// What one answer of a watch does not hold is read apart, as anything else is read: so its answers
    /// are of one length.
    async fn follow_by_path(&mut self, node: NodeId) {
        let inner = Arc::clone(&self.inner);
        let Some(onion) = &inner.onion else { return };
        let mut pace = Pace::new(inner.doors.are_local(), Instant::now());
        while !self.batches.is_closed() {
            let apart = pace.apart;
            let begun = pace.next(Instant::now());
            let ask = async {
                sleep_until(begun).await;
                let after = self.cursors.at(&node);
                let request = inner.retrieve((&self.account).into(), self.namespace, after, None, None);
                let request = Request::Retrieve(request);
                if apart {
                    inner.exchange(node, request, inner.options.answer).await.map(Some)
                } else {
                    inner.await_arrival(onion, node, request).await
                }
            };
            let answered = tokio::select! {
                answered = ask => answered,
                () = self.batches.closed() => return,
            };
            let page = match answered.map(|answer| answer.map(|answer| answer.body)) {
                Ok(Some(Body::Messages { messages, more, cursor })) => {
                    self.believe(node, messages, cursor).map(|batch| (Some(batch), more))
                }
                Ok(None) => Some((None, true)),
                Ok(Some(
                    Body::Stored { .. }
                    | Body::Changed { .. }
                    | Body::Ids { .. }
                    | Body::Fetched { .. }
                    | Body::Swarm(_)
                    | Body::Info { .. }
                    | Body::Expiries { .. }
                    | Body::Revoked { .. }
                    | Body::Batch(_)
                    | Body::If { .. }
                    | Body::Refused(_),
                ))
                | Err(_) => None,
            };
            let Some((batch, more)) = page else {
                inner.links.failed(node);
                return;
            };
            inner.links.answered(node);
            let brought = batch.as_ref().is_some_and(|batch| !batch.messages.is_empty());
            pace.answered(begun, brought, more);
            if let Some(batch) = batch
                && self.batches.send(batch).await.is_err()
            {
                return;
            }
        }
    }

    /// Reads an event; none when its sender cannot be believed.
    fn take(&mut self, node: NodeId, event: &[u8]) -> Option<Batch> {
        let Event { messages, cursor } = codec::decode(event, MAX_EVENT).ok()?;
        self.believe(node, messages, cursor)
    }

    /// Takes messages in; none when whoever sent them cannot be believed.
    fn believe(&mut self, node: NodeId, messages: Vec<Message>, cursor: Cursor) -> Option<Batch> {
        let checked = self.inner.check(&self.account.id(), self.namespace, messages);
        let messages =
            checked.inspect_err(|what| tracing::debug!(%node, what, "an event is not believed")).ok()?;
        let messages = self.unseen(messages);
        self.cursors.set(node, cursor);
        Some(Batch { messages, behind: Some((node, cursor)) })
    }

    /// Turns to the first member that takes the watcher.
    async fn subscribe(&mut self) -> Result<Start, Failure> {
        let inner = Arc::clone(&self.inner);
        let deadline = Instant::now() + inner.options.deadline;
        let members = inner.swarm_of(&self.account.id()).await?;
        let members = &members[..];
        // Nodes that are linked for requests are connected: it costs nothing to reach them.
        let mut queue = VecDeque::from(inner.order(members, Protocol::Storage));
        if let Some(last) =
            self.cursors.last().filter(|last| queue.contains(last) && !inner.links.avoided(*last))
        {
            queue.retain(|node| *node != last);
            queue.push_front(last);
        }
        let mut faults = BTreeMap::new();
        let mut compared = false;
        while let Some(node) = queue.pop_front().filter(|_| Instant::now() < deadline) {
            let fault = match self.start_at(node).await {
                Ok(start) => {
                    inner.links.answered(node);
                    return Ok(start);
                }
                Err(fault) => fault,
            };
            match &fault {
                Fault::Refused(Refusal { code: Code::Clock, .. }) if !compared => {
                    compared = true;
                    match inner.compare_clocks(node, members).await {
                        Comparison::Same => {}
                        Comparison::Moved => {
                            queue.push_front(node);
                            continue;
                        }
                        Comparison::TooFar(by) => return Err(Failure::ClockWrong(by)),
                    }
                }
                Fault::ClockMoved if !compared => {
                    compared = true;
                    queue.push_front(node);
                    continue;
                }
                Fault::ClockWrong(by) => return Err(Failure::ClockWrong(*by)),
                Fault::Silent | Fault::Disbelieved(_) => inner.links.failed(node),
                Fault::Directory(_) => {
                    faults.insert(node, fault);
                    break;
                }
                Fault::Refused(_) | Fault::Busy | Fault::Path(_) | Fault::ClockMoved | Fault::TooLarge(_) => {
                }
            }
            faults.insert(node, fault);
        }
        Err(Failure::Faults(faults))
    }

    async fn subscribe_at(&self, node: NodeId) -> Result<Subscription, Fault> {
        let inner = &*self.inner;
        if inner.onion.is_some() {
            // One short answer tells that it is there, and takes nothing from what is to come.
            let after = self.cursors.at(&node);
            let request = inner.retrieve((&self.account).into(), self.namespace, after, None, None);
            return match inner.exchange(node, Request::Retrieve(request), inner.options.answer).await?.body {
                Body::Refused(refusal) => Err(Fault::Refused(refusal)),
                Body::Messages { .. } => Ok(Subscription { node, source: Source::Path }),
                Body::Stored { .. }
                | Body::Changed { .. }
                | Body::Ids { .. }
                | Body::Fetched { .. }
                | Body::Swarm(_)
                | Body::Info { .. }
                | Body::Expiries { .. }
                | Body::Revoked { .. }
                | Body::Batch(_)
                | Body::If { .. } => Err(Fault::Disbelieved("it answers something else")),
            };
        }
        let mut kept = inner.links.live(node, Protocol::Notify);
        loop {
            let link = inner.links.link(node, Protocol::Notify, inner.clock.now());
            let link = timeout(inner.options.connect, link).await;
            let link = link.ok().and_then(Result::ok).ok_or(Fault::Silent)?;
            let after = self.cursors.at(&node);
            let retrieve = inner.retrieve((&self.account).into(), self.namespace, after, None, None);
            let payload = codec::encode(&Subscribe { retrieve });
            let (answer, events) = match timeout(inner.options.answer, link.subscribe(payload)).await {
                Ok(Ok(subscribed)) => subscribed,
                // The stream had ended before it was used.
                Ok(Err(LinkError::Closed)) if kept => {
                    kept = false;
                    continue;
                }
                Ok(Err(LinkError::Busy)) => return Err(Fault::Busy),
                Ok(Err(_)) | Err(_) => {
                    inner.links.forget(node, Protocol::Notify);
                    return Err(Fault::Silent);
                }
            };
            return match codec::decode(&answer, MAX_EVENT).map(|answer: notify::Answer| answer.body) {
                Ok(Subscribed::Until { expiry }) => {
                    let lasts = Duration::from_millis(expiry.saturating_sub(inner.clock.now_ms()));
                    let renew = Instant::now() + (lasts / 6 * 5).clamp(RENEW_MIN, RENEW);
                    Ok(Subscription { node, source: Source::Link(events, renew) })
                }
                Ok(Subscribed::Refused { code }) => {
                    Err(Fault::Refused(Refusal { code, swarm: None, receipts: None }))
                }
                Err(_) => Err(Fault::Disbelieved("the answer cannot be read")),
            };
        }
    }
}

/// When a watch over a path asks, and what.
struct Pace {
    /// Whether the network is one machine's, where times tell nobody anything.
    local: bool,
    /// What the last answer did not hold is asked for, in the bucket that it needs.
    apart: bool,
    /// When the next question may be asked.
    due: Instant,
}

impl Pace {
    const fn new(local: bool, now: Instant) -> Self {
        Self { local, apart: false, due: now }
    }

    /// When to ask: outside local networks at times that follow from the first alone, whatever came.
    fn next(&self, now: Instant) -> Instant {
        if self.apart && self.local { now } else { now.max(self.due) }
    }

    /// What was asked for at `begun` is answered, whenever that was.
    fn answered(&mut self, begun: Instant, brought: bool, more: bool) {
        if !(self.local && self.apart) {
            let pause = match (self.local, brought) {
                (false, _) => TICK,
                (true, false) => SOON,
                (true, true) => Duration::ZERO,
            };
            self.due = begun + pause;
        }
        // A member that goes on and on about what it does not give is not followed.
        self.apart = more && (brought || !self.apart);
    }
}

/// The messages that came lately.
#[derive(Default)]
struct Seen {
    known: BTreeSet<MessageHash>,
    order: VecDeque<MessageHash>,
}

impl Seen {
    /// Whether a message is new.
    fn insert(&mut self, hash: MessageHash) -> bool {
        let new = self.known.insert(hash);
        if new {
            self.order.push_back(hash);
            if self.order.len() > MAX_SEEN {
                self.order.pop_front().map(|oldest| self.known.remove(&oldest));
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each question is asked, by whether the one before brought something and said that there is more,
    /// and how long its answer took.
    fn asked(local: bool, answers: &[(bool, bool, Duration)]) -> Vec<Duration> {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(local, start), start);
        let mut asked = Vec::new();
        for (brought, more, took) in answers {
            let begun = pace.next(now);
            asked.push(begun - start);
            pace.answered(begun, *brought, *more);
            now = begun + *took;
        }
        asked.push(pace.next(now) - start);
        asked
    }

    #[test]
    fn outside_local_networks_questions_come_at_ticks_whatever_came() {
        let soon = Duration::from_millis(90);
        let answers =
            [(false, false), (true, false), (true, true), (true, true), (true, false), (false, true)];
        let answers = answers.map(|(brought, more)| (brought, more, soon));
        let ticks: Vec<_> = (0..=6).map(|tick| TICK * tick).collect();
        assert_eq!(asked(false, &answers), ticks);
    }

    #[test]
    fn on_a_local_network_what_arrives_is_told_at_once_and_nobody_is_asked_without_end() {
        let (at_once, soon) = (Duration::ZERO, SOON);
        assert_eq!(asked(true, &[(true, false, at_once); 3]), [at_once; 4], "what arrives is told at once");
        assert_eq!(asked(true, &[(false, false, at_once); 2]), [at_once, soon, soon * 2]);
        // Something larger is read apart at once, but a member that only says so is not asked again for it.
        assert_eq!(asked(true, &[(true, true, at_once); 2]), [at_once; 3]);
        let empty = (false, true, at_once);
        assert_eq!(asked(true, &[empty, empty, empty]), [at_once, at_once, soon, soon]);
    }
}
