//! Many conversations over one kept stream.
//!
//! The side that opens a stream asks, the other answers: [`open`] and [`serve`] turn a stream into a
//! handle and a future that carries the frames; whoever calls spawns the future. Both queues are
//! bounded: an asker waits for room, and an answering side that has [`Limits::window`] requests
//! under way reads no further.
//!
//! A frame that has begun must be whole before the host's pause ends, and what is written must be taken
//! at that pace too: [`open_within`] and [`serve_within`] take the pause, for this crate has no clock.
//!
//! What waits in memory, frames that are not whole yet and requests and answers that are not taken yet, is
//! charged to a [`Backlog`], which links share as their host sees fit. A request whose asker has gone away
//! counts until it is its turn, and is not sent then.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either, Future},
};

use crate::frame::{HEAD, Head, Kind};

mod backlog;
mod window;

pub use backlog::Backlog;
use backlog::Charge;
use window::{Slot, Window};

/// What may travel over a link.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest payload that is taken in, in bytes.
    pub max_in: usize,
    /// Requests under way at once.
    pub window: usize,
    /// What the link holds in memory is charged to this, as a part of it.
    pub backlog: Backlog,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The stream ended, or said something that is no frame.
    #[error("the link is closed")]
    Closed,
    /// As many requests as the window allows wait already, or there is no memory left for one more.
    #[error("too many requests are under way")]
    Busy,
}

/// Events that may wait in a subscription before the link waits for its reader.
const EVENTS: usize = 4;

/// What is written at a time, in bytes: so much must be taken within one pause.
const CHUNK: usize = 32 * 1024;

/// Why a link has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// One side closed it, or its connection broke.
    Closed,
    /// The other side sent what is no frame: too long, cut short, or of a kind that it may not send.
    Garbage,
    /// The other side left a frame unfinished, or did not take what was sent, for too long.
    Slow,
    /// There was no memory left for what the other side sent.
    Crowded,
}

/// What is to be written, and what it holds until it is.
type Frame = (u32, Kind, Vec<u8>, Held);

/// What a frame holds that waits.
#[derive(Debug, Default)]
struct Held {
    _bytes: Option<Charge>,
    /// The place of its request in the window: whoever does not take answers may ask for no more.
    _slot: Option<Slot>,
    /// The same at the side that asks.
    _asked: Option<Arc<Asked>>,
}

type Waiting = Arc<Mutex<HashMap<u32, Waiter>>>;

#[derive(Debug)]
enum Waiter {
    Answer(oneshot::Sender<Vec<u8>>),
    Events(oneshot::Sender<Vec<u8>>, mpsc::Sender<Vec<u8>>),
    Streaming(mpsc::Sender<Vec<u8>>),
}

/// The asking side of a link. Clones share the stream.
#[derive(Clone)]
pub struct Asker {
    frames: mpsc::Sender<Frame>,
    waiting: Waiting,
    next: Arc<AtomicU32>,
    window: usize,
    share: Backlog,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Takes a stream that this side opened.
pub fn open<S>(stream: S, limits: Limits) -> (Asker, impl Future<Output = End> + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    open_within(stream, limits, future::pending)
}

/// [`open`], for a host that gives the other side no longer than `pause()` for a frame.
pub fn open_within<S, P, F>(
    stream: S,
    limits: Limits,
    pause: P,
) -> (Asker, impl Future<Output = End> + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    P: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (frames, outgoing) = mpsc::channel(limits.window);
    let (waiting, share) = (Waiting::default(), limits.backlog.part(usize::MAX));
    let asker = Asker {
        frames,
        waiting: Arc::clone(&waiting),
        next: Arc::new(AtomicU32::new(0)),
        window: limits.window,
        share: share.clone(),
    };
    let (reader, writer) = stream.split();
    let run = async move {
        let read = read_answers(reader, limits.max_in, &share, &waiting, &pause);
        let write = write_frames(writer, outgoing, Some(&waiting), &pause);
        let end = future::select(Box::pin(read), Box::pin(write)).await.factor_first().0;
        // Whoever still waits learns that nothing will come.
        lock(&waiting).clear();
        end
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
        let asked = self.register(Waiter::Answer(answer))?;
        self.request(&asked, payload).await?;
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
        let asked = self.register(Waiter::Events(answer, events))?;
        self.request(&asked, payload).await?;
        let events = Events { frames: self.frames.clone(), asked, received };
        let answer = answered.await.map_err(|_| LinkError::Closed)?;
        Ok((answer, events))
    }

    /// Whether the stream has ended.
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    fn register(&self, waiter: Waiter) -> Result<Arc<Asked>, LinkError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = lock(&self.waiting);
        if self.is_closed() {
            return Err(LinkError::Closed);
        }
        if waiting.len() >= self.window.saturating_mul(4) {
            return Err(LinkError::Busy);
        }
        waiting.insert(id, waiter);
        Ok(Arc::new(Asked { waiting: Arc::clone(&self.waiting), id }))
    }

    async fn request(&self, asked: &Arc<Asked>, payload: Vec<u8>) -> Result<(), LinkError> {
        let bytes = self.share.take(payload.len()).ok_or(LinkError::Busy)?;
        let held = Held { _bytes: Some(bytes), _asked: Some(Arc::clone(asked)), ..Held::default() };
        let frame = (asked.id, Kind::Request, payload, held);
        self.frames.clone().send(frame).await.map_err(|_| LinkError::Closed)
    }
}

/// A place among those that wait, for as long as somebody does or something of it is still to be written.
#[derive(Debug)]
struct Asked {
    waiting: Waiting,
    id: u32,
}

impl Drop for Asked {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.id);
    }
}

/// What follows the answer to a subscription. Dropping it closes the subscription.
#[derive(Debug)]
pub struct Events {
    frames: mpsc::Sender<Frame>,
    asked: Arc<Asked>,
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
        // There is room for one more word of each asker.
        let held = Held { _asked: Some(Arc::clone(&self.asked)), ..Held::default() };
        let _ = self.frames.try_send((self.asked.id, Kind::Close, Vec::new(), held));
    }
}

async fn read_answers<R, P, F>(
    mut reader: R,
    max: usize,
    share: &Backlog,
    waiting: &Waiting,
    pause: &P,
) -> End
where
    R: AsyncRead + Unpin,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    loop {
        // An answer counts until its asker has it.
        let (head, payload, _charge) = match read_frame(&mut reader, max, share, pause).await {
            Ok(frame) => frame,
            Err(end) => return end,
        };
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
            Kind::Request => return End::Garbage,
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
    frames: mpsc::Sender<Frame>,
    closed: Option<oneshot::Receiver<()>>,
    /// Held while the request counts against the window.
    slot: Option<Slot>,
    /// What this link holds in memory.
    share: Backlog,
    /// The request counts until it is answered.
    request: Option<Charge>,
    answered: bool,
}

impl Reply {
    /// Sends the answer, and ends the conversation. An answer for which the backlog has no room is
    /// dropped, and its asker told that none comes: it asked for more than it takes.
    pub async fn answer(mut self, payload: Vec<u8>) {
        self.request = None;
        let Some(charge) = self.share.take(payload.len()) else { return };
        self.answered = true;
        let held = Held { _bytes: Some(charge), _slot: self.slot.take(), ..Held::default() };
        let _ = self.frames.send((self.id, Kind::Answer, payload, held)).await;
    }

    /// Sends the answer, and keeps the conversation open for events.
    ///
    /// # Errors
    ///
    /// When the link has closed, or its backlog has no room for the answer.
    pub async fn accept(mut self, payload: Vec<u8>) -> Result<Pusher, LinkError> {
        self.request = None;
        let charge = self.share.take(payload.len()).ok_or(LinkError::Busy)?;
        self.answered = true;
        self.slot = None;
        let held = Held { _bytes: Some(charge), ..Held::default() };
        let sent = self.frames.send((self.id, Kind::Answer, payload, held)).await;
        sent.map_err(|_| LinkError::Closed)?;
        let closed = self.closed.take();
        Ok(Pusher { id: self.id, frames: self.frames.clone(), closed, share: self.share.clone() })
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.answered {
            let held = Held { _slot: self.slot.take(), ..Held::default() };
            let _ = self.frames.try_send((self.id, Kind::Close, Vec::new(), held));
        }
    }
}

/// Sends events to a subscriber.
#[derive(Debug)]
pub struct Pusher {
    id: u32,
    frames: mpsc::Sender<Frame>,
    closed: Option<oneshot::Receiver<()>>,
    share: Backlog,
}

impl Pusher {
    /// Sends one event; waits while the subscriber does not read.
    ///
    /// # Errors
    ///
    /// When the link has closed, or its backlog has no room: the subscriber takes less than it asked
    /// for.
    pub async fn push(&mut self, payload: Vec<u8>) -> Result<(), LinkError> {
        let charge = self.share.take(payload.len()).ok_or(LinkError::Busy)?;
        let held = Held { _bytes: Some(charge), ..Held::default() };
        let sent = self.frames.send((self.id, Kind::Event, payload, held)).await;
        sent.map_err(|_| LinkError::Closed)
    }

    /// Ends the subscription from this side.
    pub async fn close(mut self) {
        let _ = self.frames.send((self.id, Kind::Close, Vec::new(), Held::default())).await;
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
) -> (mpsc::Receiver<Incoming>, impl Future<Output = End> + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    serve_within(stream, limits, future::pending)
}

/// [`serve`], for a host that gives the other side no longer than `pause()` for a frame.
pub fn serve_within<S, P, F>(
    stream: S,
    limits: Limits,
    pause: P,
) -> (mpsc::Receiver<Incoming>, impl Future<Output = End> + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    P: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (requests, received) = mpsc::channel(1);
    let (frames, outgoing) = mpsc::channel(limits.window);
    let (reader, writer) = stream.split();
    let run = async move {
        let read = read_requests(reader, limits, requests, frames, &pause);
        let write = write_frames(writer, outgoing, None, &pause);
        future::select(Box::pin(read), Box::pin(write)).await.factor_first().0
    };
    (received, run)
}

/// The most subscriptions and requests of one link that can be told of a close.
const MAX_OPEN: usize = 1_024;

async fn read_requests<R, P, F>(
    mut reader: R,
    limits: Limits,
    mut requests: mpsc::Sender<Incoming>,
    frames: mpsc::Sender<Frame>,
    pause: &P,
) -> End
where
    R: AsyncRead + Unpin,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let window = Window::new(limits.window);
    let mut open: HashMap<u32, oneshot::Sender<()>> = HashMap::new();
    let share = limits.backlog.part(usize::MAX);
    loop {
        let (head, payload, charge) = match read_frame(&mut reader, limits.max_in, &share, pause).await {
            Ok(frame) => frame,
            Err(end) => return end,
        };
        match head.kind {
            Kind::Request => {
                let slot = window.slot().await;
                let (close, closed) = oneshot::channel();
                // Those that have ended are looked for where they are in the way.
                if open.len() >= MAX_OPEN {
                    open.retain(|_, open| !open.is_canceled());
                }
                if open.len() >= MAX_OPEN {
                    return End::Garbage;
                }
                open.insert(head.id, close);
                let reply = Reply {
                    id: head.id,
                    frames: frames.clone(),
                    closed: Some(closed),
                    slot: Some(slot),
                    share: share.clone(),
                    request: Some(charge),
                    answered: false,
                };
                if requests.send(Incoming { payload, reply }).await.is_err() {
                    return End::Closed;
                }
            }
            Kind::Close => {
                open.remove(&head.id);
            }
            Kind::Answer | Kind::Event => return End::Garbage,
        }
    }
}

async fn read_frame<R, P, F>(
    reader: &mut R,
    max: usize,
    share: &Backlog,
    pause: &P,
) -> Result<(Head, Vec<u8>, Charge), End>
where
    R: AsyncRead + Unpin,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let mut head = [0; HEAD];
    // Between two frames a kept stream may rest as long as it likes.
    match reader.read(&mut head[..1]).await {
        Ok(1..) => {}
        Ok(0) | Err(_) => return Err(End::Closed),
    }
    let rest = std::pin::pin!(read_rest(reader, head, max, share));
    match future::select(rest, std::pin::pin!(pause())).await {
        Either::Left((frame, _)) => frame,
        Either::Right(_) => Err(End::Slow),
    }
}

async fn read_rest<R: AsyncRead + Unpin>(
    reader: &mut R,
    mut head: [u8; HEAD],
    max: usize,
    share: &Backlog,
) -> Result<(Head, Vec<u8>, Charge), End> {
    let broken = |error: io::Error| {
        if error.kind() == io::ErrorKind::UnexpectedEof { End::Garbage } else { End::Closed }
    };
    reader.read_exact(&mut head[1..]).await.map_err(broken)?;
    let head = Head::decode(head, u32::try_from(max).unwrap_or(u32::MAX)).ok_or(End::Garbage)?;
    // Memory follows what arrives, not what is announced.
    let length = head.len as usize;
    let mut charge = share.open();
    let mut payload = Vec::new();
    while payload.len() < length {
        let next = length.saturating_sub(payload.len()).min(CHUNK);
        if !charge.grow(next) {
            return Err(End::Crowded);
        }
        let read = payload.len();
        payload.resize(read.saturating_add(next), 0);
        let rest = payload.get_mut(read..).unwrap_or_default();
        reader.read_exact(rest).await.map_err(broken)?;
    }
    Ok((head, payload, charge))
}

/// `waiting` are those who wait for answers, at the side that asks.
async fn write_frames<W, P, F>(
    mut writer: W,
    mut outgoing: mpsc::Receiver<Frame>,
    waiting: Option<&Waiting>,
    pause: &P,
) -> End
where
    W: AsyncWrite + Unpin,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let mut buffer = Vec::with_capacity(4 * 1024);
    while let Some(first) = outgoing.next().await {
        let mut next = Some(first);
        while let Some((id, kind, payload, held)) = next.take() {
            if kind == Kind::Request && waiting.is_some_and(|waiting| is_abandoned(waiting, id)) {
                drop(held);
                next = outgoing.try_recv().ok();
                continue;
            }
            let Ok(len) = u32::try_from(payload.len()) else { return End::Closed };
            buffer.extend_from_slice(&Head { len, id, kind }.encode());
            // Small frames are gathered, large ones are not copied.
            let written = if payload.len() >= CHUNK {
                let head = write(&mut writer, &buffer, pause).await;
                buffer.clear();
                match head {
                    Ok(()) => write(&mut writer, &payload, pause).await,
                    slow => slow,
                }
            } else {
                buffer.extend_from_slice(&payload);
                Ok(())
            };
            if let Err(end) = written {
                return end;
            }
            drop(held);
            if buffer.len() < CHUNK {
                next = outgoing.try_recv().ok();
            }
        }
        if let Err(end) = write(&mut writer, &buffer, pause).await {
            return end;
        }
        buffer.clear();
        if let Err(end) = within(writer.flush(), pause).await {
            return end;
        }
    }
    let _ = within(writer.close(), pause).await;
    End::Closed
}

/// Whether nobody waits for an answer any more.
fn is_abandoned(waiting: &Waiting, id: u32) -> bool {
    match lock(waiting).get(&id) {
        Some(Waiter::Answer(answer) | Waiter::Events(answer, _)) => answer.is_canceled(),
        Some(Waiter::Streaming(_)) | None => false,
    }
}

/// Writes all, a chunk at a time, so that a slow line has time for as much as it takes.
async fn write<W, P, F>(writer: &mut W, bytes: &[u8], pause: &P) -> Result<(), End>
where
    W: AsyncWrite + Unpin,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    for chunk in bytes.chunks(CHUNK) {
        within(writer.write_all(chunk), pause).await?;
    }
    Ok(())
}

async fn within<P, F>(work: impl Future<Output = io::Result<()>>, pause: &P) -> Result<(), End>
where
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    match future::select(std::pin::pin!(work), std::pin::pin!(pause())).await {
        Either::Left((done, _)) => done.map_err(|_| End::Closed),
        Either::Right(_) => Err(End::Slow),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
