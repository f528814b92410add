//! Many conversations over one kept stream.
//!
//! The side that opens a stream asks, the other answers: [`open`] and [`serve`] turn a stream into a
//! handle and a future that carries the frames; whoever calls spawns the future. Both queues are
//! bounded: an asker waits for room, and an answering side that has [`Limits::window`] requests
//! under way reads no further.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Future},
};

use crate::frame::{HEAD, Head, Kind};

/// What may travel over a link.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest payload that is taken in, in bytes.
    pub max_in: usize,
    /// Requests under way at once.
    pub window: usize,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The stream ended, or said something that is no frame.
    #[error("the link is closed")]
    Closed,
    /// As many requests as the window allows wait already.
    #[error("too many requests are under way")]
    Busy,
}

/// Events that may wait in a subscription before the link waits for its reader.
const EVENTS: usize = 4;

type Waiting = Arc<Mutex<HashMap<u32, Waiter>>>;

enum Waiter {
    Answer(oneshot::Sender<Vec<u8>>),
    Events(oneshot::Sender<Vec<u8>>, mpsc::Sender<Vec<u8>>),
    Streaming(mpsc::Sender<Vec<u8>>),
}

/// The asking side of a link. Clones share the stream.
#[derive(Clone)]
pub struct Asker {
    frames: mpsc::Sender<(u32, Kind, Vec<u8>)>,
    waiting: Waiting,
    next: Arc<AtomicU32>,
    window: usize,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Takes a stream that this side opened.
pub fn open<S>(stream: S, limits: Limits) -> (Asker, impl Future<Output = ()> + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (frames, outgoing) = mpsc::channel(limits.window);
    let waiting = Waiting::default();
    let asker = Asker {
        frames,
        waiting: Arc::clone(&waiting),
        next: Arc::new(AtomicU32::new(0)),
        window: limits.window,
    };
    let (reader, writer) = stream.split();
    let run = async move {
        let read = read_answers(reader, limits.max_in, &waiting);
        let write = write_frames(writer, outgoing);
        future::select(Box::pin(read), Box::pin(write)).await;
        // Whoever still waits learns that nothing will come.
        lock(&waiting).clear();
    };
    (asker, run)
}

impl Asker {
    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    ///
    /// When the link closes first, or too many requests are under way.
    pub async fn ask(&self, payload: Vec<u8>) -> Result<Vec<u8>, LinkError> {
        let (answer, answered) = oneshot::channel();
        let id = self.register(Waiter::Answer(answer))?;
        let _guard = Forget { asker: self, id };
        self.send(id, Kind::Request, payload).await?;
        answered.await.map_err(|_| LinkError::Closed)
    }

    /// Sends a request whose answer may be followed by events.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`].
    pub async fn subscribe(&self, payload: Vec<u8>) -> Result<(Vec<u8>, Events), LinkError> {
        let (answer, answered) = oneshot::channel();
        let (events, received) = mpsc::channel(EVENTS);
        let id = self.register(Waiter::Events(answer, events))?;
        let events = Events { asker: self.clone(), id, received };
        self.send(id, Kind::Request, payload).await?;
        let answer = answered.await.map_err(|_| LinkError::Closed)?;
        Ok((answer, events))
    }

    /// Whether the stream has ended.
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    fn register(&self, waiter: Waiter) -> Result<u32, LinkError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = lock(&self.waiting);
        if self.is_closed() {
            return Err(LinkError::Closed);
        }
        if waiting.len() >= self.window.saturating_mul(4) {
            return Err(LinkError::Busy);
        }
        waiting.insert(id, waiter);
        Ok(id)
    }

    async fn send(&self, id: u32, kind: Kind, payload: Vec<u8>) -> Result<(), LinkError> {
        self.frames.clone().send((id, kind, payload)).await.map_err(|_| LinkError::Closed)
    }
}

/// Forgets a request whose asker has gone away.
struct Forget<'a> {
    asker: &'a Asker,
    id: u32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.asker.waiting).remove(&self.id);
    }
}

/// What follows the answer to a subscription. Dropping it closes the subscription.
#[derive(Debug)]
pub struct Events {
    asker: Asker,
    id: u32,
    received: mpsc::Receiver<Vec<u8>>,
}

impl Events {
    /// The next event; none when the link or the subscription has ended.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.received.next().await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        lock(&self.asker.waiting).remove(&self.id);
        // When the queue is full the other side learns it from the stream's end.
        let _ = self.asker.frames.try_send((self.id, Kind::Close, Vec::new()));
    }
}

async fn read_answers<R: AsyncRead + Unpin>(mut reader: R, max: usize, waiting: &Waiting) {
    while let Ok(Some((head, payload))) = read_frame(&mut reader, max).await {
        match head.kind {
            Kind::Answer => {
                let mut waiting = lock(waiting);
                match waiting.remove(&head.id) {
                    Some(Waiter::Answer(answer)) => {
                        let _ = answer.send(payload);
                    }
                    Some(Waiter::Events(answer, events)) => {
                        let _ = answer.send(payload);
                        waiting.insert(head.id, Waiter::Streaming(events));
                    }
                    Some(Waiter::Streaming(_)) | None => {}
                }
            }
            Kind::Event => {
                let events = match lock(waiting).get(&head.id) {
                    Some(Waiter::Streaming(events)) => Some(events.clone()),
                    Some(Waiter::Answer(_) | Waiter::Events(..)) | None => None,
                };
                if let Some(mut events) = events {
                    let _ = events.send(payload).await;
                }
            }
            Kind::Close => {
                lock(waiting).remove(&head.id);
            }
            Kind::Request => return,
        }
    }
}

/// A request that arrived.
#[derive(Debug)]
pub struct Incoming {
    /// The request.
    pub payload: Vec<u8>,
    /// Where its answer goes.
    pub reply: Reply,
}

/// Where an answer goes. Dropping it unanswered tells the other side so.
#[derive(Debug)]
pub struct Reply {
    id: u32,
    frames: mpsc::Sender<(u32, Kind, Vec<u8>)>,
    closed: Option<oneshot::Receiver<()>>,
    /// Held while the request counts against the window.
    slot: Option<mpsc::Sender<()>>,
    answered: bool,
}

impl Reply {
    /// Sends the answer, and ends the conversation.
    pub async fn answer(mut self, payload: Vec<u8>) {
        self.answered = true;
        let _ = self.frames.send((self.id, Kind::Answer, payload)).await;
    }

    /// Sends the answer, and keeps the conversation open for events.
    ///
    /// # Errors
    ///
    /// When the link has closed.
    pub async fn accept(mut self, payload: Vec<u8>) -> Result<Pusher, LinkError> {
        self.answered = true;
        self.slot = None;
        self.frames.send((self.id, Kind::Answer, payload)).await.map_err(|_| LinkError::Closed)?;
        let closed = self.closed.take();
        Ok(Pusher { id: self.id, frames: self.frames.clone(), closed })
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.answered {
            let _ = self.frames.try_send((self.id, Kind::Close, Vec::new()));
        }
    }
}

/// Sends events to a subscriber.
#[derive(Debug)]
pub struct Pusher {
    id: u32,
    frames: mpsc::Sender<(u32, Kind, Vec<u8>)>,
    closed: Option<oneshot::Receiver<()>>,
}

impl Pusher {
    /// Sends one event; waits while the subscriber does not read.
    ///
    /// # Errors
    ///
    /// When the link has closed.
    pub async fn push(&mut self, payload: Vec<u8>) -> Result<(), LinkError> {
        self.frames.send((self.id, Kind::Event, payload)).await.map_err(|_| LinkError::Closed)
    }

    /// Ends the subscription from this side.
    pub async fn close(mut self) {
        let _ = self.frames.send((self.id, Kind::Close, Vec::new())).await;
    }

    /// Waits until the subscriber or the link has gone.
    pub async fn closed(&mut self) {
        match &mut self.closed {
            Some(closed) => {
                let _ = closed.await;
            }
            None => future::pending().await,
        }
    }
}

/// Takes a stream that the other side opened; `requests` ends with it.
pub fn serve<S>(
    stream: S,
    limits: Limits,
) -> (mpsc::Receiver<Incoming>, impl Future<Output = ()> + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (requests, received) = mpsc::channel(1);
    let (frames, outgoing) = mpsc::channel(limits.window);
    let (reader, writer) = stream.split();
    let run = async move {
        let read = read_requests(reader, limits, requests, frames);
        let write = write_frames(writer, outgoing);
        future::select(Box::pin(read), Box::pin(write)).await;
    };
    (received, run)
}

/// The most subscriptions and requests of one link that can be told of a close.
const MAX_OPEN: usize = 1_024;

async fn read_requests<R: AsyncRead + Unpin>(
    mut reader: R,
    limits: Limits,
    mut requests: mpsc::Sender<Incoming>,
    frames: mpsc::Sender<(u32, Kind, Vec<u8>)>,
) {
    // A slot is a sender that lives as long as its request; each adds one place to the queue, so
    // counting the live ones is what bounds the requests under way.
    let mut slots: Vec<mpsc::Receiver<()>> = Vec::new();
    let mut open: HashMap<u32, oneshot::Sender<()>> = HashMap::new();
    while let Ok(Some((head, payload))) = read_frame(&mut reader, limits.max_in).await {
        match head.kind {
            Kind::Request => {
                while slots.len() >= limits.window {
                    let gone = future::select_all(slots.iter_mut().map(|slot| slot.next().boxed()));
                    let (_, index, _) = gone.await;
                    slots.swap_remove(index);
                }
                let (slot, freed) = mpsc::channel(0);
                slots.push(freed);
                open.retain(|_, open| !open.is_canceled());
                let (close, closed) = oneshot::channel();
                if open.len() >= MAX_OPEN {
                    return;
                }
                open.insert(head.id, close);
                let reply = Reply {
                    id: head.id,
                    frames: frames.clone(),
                    closed: Some(closed),
                    slot: Some(slot),
                    answered: false,
                };
                if requests.send(Incoming { payload, reply }).await.is_err() {
                    return;
                }
            }
            Kind::Close => {
                open.remove(&head.id);
            }
            Kind::Answer | Kind::Event => return,
        }
    }
}

async fn read_frame<R: AsyncRead + Unpin>(reader: &mut R, max: usize) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut head = [0; HEAD];
    reader.read_exact(&mut head).await?;
    let Some(head) = Head::decode(head, u32::try_from(max).unwrap_or(u32::MAX)) else { return Ok(None) };
    // Memory follows what arrives, not what is announced.
    let mut payload = Vec::with_capacity((head.len as usize).min(16 * 1024));
    let read = reader.take(u64::from(head.len)).read_to_end(&mut payload).await?;
    Ok((read == head.len as usize).then_some((head, payload)))
}

async fn write_frames<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut outgoing: mpsc::Receiver<(u32, Kind, Vec<u8>)>,
) -> io::Result<()> {
    /// Small frames are gathered up to this many bytes.
    const GATHER: usize = 32 * 1024;
    let mut buffer = Vec::with_capacity(4 * 1024);
    while let Some(first) = outgoing.next().await {
        let mut next = Some(first);
        while let Some((id, kind, payload)) = next.take() {
            let len = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            buffer.extend_from_slice(&Head { len, id, kind }.encode());
            if payload.len() >= GATHER {
                writer.write_all(&buffer).await?;
                buffer.clear();
                writer.write_all(&payload).await?;
            } else {
                buffer.extend_from_slice(&payload);
            }
            if buffer.len() < GATHER {
                next = outgoing.try_recv().ok();
            }
        }
        writer.write_all(&buffer).await?;
        buffer.clear();
        writer.flush().await?;
    }
    writer.close().await
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
