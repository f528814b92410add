//! How nodes hand each other the onion requests of the clients that exist: a stream for each request, on the
//! connections that they have anyway.
//!
//! The asker writes a layer and closes its half; the other one writes two bytes of status, big-endian, and the
//! body, and closes too. Nodes alone are served.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt, future::BoxFuture};
use libp2p::StreamProtocol;
use session_protocols::{
    NetworkName, NodeId,
    door::{
        Reply, TEXT,
        onion::{MAX_PASSED, Passed},
    },
    libp2p::address::{node_id, peer_id},
    limits::{Limiter, Rate, Seats, TRACKED},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    Carry, Lost, Onions, Room, Told,
    beyond::Beyond,
    guests::{Held, Memory, lock},
};
use crate::{
    now,
    registry::Watched,
    seat::{Seat, SharedSeats},
};

/// Requests under way with one neighbour, each way.
const EACH: usize = 64;
/// Those with all of them.
const TOTAL: usize = 512;
/// Requests a second of one neighbour.
const RATE: Rate = Rate { per_second: 600, burst: 1_200 };
/// Bytes of requests and answers that are held for one neighbour.
const MEMORY_EACH: usize = 64 << 20;
/// Those that are held for all of them.
const MEMORY: usize = 256 << 20;
/// The longest answer, in bytes: the longest page, quoted in JSON, sealed and in base64.
const MAX_TOLD: usize = 16 << 20;
/// How long a neighbour may take over its request, and over taking its answer.
pub(super) const FRAME: Duration = Duration::from_secs(20);
/// How long an answer may take to be made.
const ANSWER: Duration = Duration::from_secs(40);
/// How long to wait before a stream that nobody took is opened anew.
const AGAIN: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];
/// Within which such a stream ends.
const UNHEARD: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// The way to other nodes.
#[derive(Clone)]
pub(crate) struct Relay {
    control: libp2p_stream::Control,
    protocol: StreamProtocol,
    /// Who is a node: nobody else is asked or served.
    registry: Watched,
    /// Requests to others.
    asking: SharedSeats<NodeId>,
    /// What their answers hold.
    memory: Memory<NodeId>,
}

/// What serves the others.
struct Host {
    onions: Arc<Onions>,
    rates: Mutex<Limiter<NodeId>>,
    memory: Memory<NodeId>,
    /// How long a request may take to come: [`FRAME`].
    frame_time: Duration,
    /// How long its answer may take to be made: [`ANSWER`].
    answer_time: Duration,
}

fn seats() -> SharedSeats<NodeId> {
    Arc::new(Mutex::new(Seats::new(EACH, TOTAL)))
}

impl Relay {
    /// A relay in a network; none where its name makes no protocol, which every name does.
    pub(crate) fn new(
        network: &NetworkName,
        control: libp2p_stream::Control,
        registry: Watched,
    ) -> Option<Self> {
        let protocol = StreamProtocol::try_from_owned(network.door_onion()).ok()?;
        let memory = Memory::new(MEMORY_EACH, MEMORY);
        Some(Self { control, protocol, registry, asking: seats(), memory })
    }

    /// Serves the others until `stopping` says so.
    ///
    /// # Errors
    ///
    /// When it is served already.
    pub(crate) fn accept(
        &self,
        onions: Arc<Onions>,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<(), libp2p_stream::AlreadyRegistered> {
        let mut streams = self.control.clone().accept(self.protocol.clone())?;
        let registry = self.registry.clone();
        let host = Arc::new(Host::new(onions));
        let serving = seats();
        tokio::spawn(async move {
            let beyond = Beyond::new();
            loop {
                let came = tokio::select! {
                    came = streams.next() => came,
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                let Some((peer, stream)) = came else { return };
                let Some(node) = node_id(&peer).filter(|node| registry.borrow().contains(node)) else {
                    continue;
                };
                let Some(seat) = Seat::take(&serving, node) else {
                    if let Some(telling) = beyond.tell(node, stream) {
                        let mut stopping = stopping.clone();
                        tokio::spawn(async move {
                            tokio::select! {
                                () = telling => {}
                                _ = stopping.wait_for(|stopping| *stopping) => {}
                            }
                        });
                    }
                    continue;
                };
                let (host, mut stopping) = (Arc::clone(&host), stopping.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = host.serve(node, stream) => {}
                        _ = stopping.wait_for(|stopping| *stopping) => {}
                    }
                    drop(seat);
                });
            }
        });
        Ok(())
    }

    async fn ask(self, to: NodeId, passed: Passed) -> Result<Told, Lost> {
        let peer = peer_id(&to).filter(|_| self.registry.borrow().contains(&to)).ok_or(Lost::NotFound)?;
        let _seat = Seat::take(&self.asking, to).ok_or(Lost::Busy)?;
        let open = || {
            let (mut control, protocol) = (self.control.clone(), self.protocol.clone());
            async move { control.open_stream(peer, protocol).await.map_err(|_| Lost::NotFound) }
        };
        heard(open, &passed.encode(), || self.memory.hold(to), UNHEARD).await
    }
}

impl Carry for Relay {
    fn carry(&self, to: NodeId, passed: Passed) -> BoxFuture<'static, Result<Told, Lost>> {
        self.clone().ask(to, passed).boxed()
    }
}

impl Host {
    fn new(onions: Arc<Onions>) -> Self {
        let rates = Mutex::new(Limiter::new(RATE, TRACKED));
        let memory = Memory::new(MEMORY_EACH, MEMORY);
        Self { onions, rates, memory, frame_time: FRAME, answer_time: ANSWER }
    }

    async fn serve(&self, node: NodeId, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let held = Arc::new(Mutex::new(self.memory.hold(node)));
        let told = self.answer(node, &mut stream, &held).await;
        let room = lock(&held).grow(told.body.len());
        let told = if room { told } else { refusal(503, "the answer is too long for now") };
        let write = async {
            stream.write_all(&told.status.to_be_bytes()).await?;
            stream.write_all(&told.body).await?;
            stream.close().await
        };
        // Whoever does not take it has no answer.
        let _ = timeout(FRAME, write).await;
    }

    async fn answer(
        &self,
        node: NodeId,
        stream: &mut (impl AsyncRead + Unpin),
        held: &Arc<Mutex<Held<NodeId>>>,
    ) -> Told {
        if !self.rates.lock().unwrap_or_else(PoisonError::into_inner).take(node, now(), 1) {
            return refusal(429, "too many requests");
        }
        let request = match timeout(self.frame_time, read(stream, MAX_PASSED, held)).await {
            Ok(Ok(request)) => request,
            Ok(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                return refusal(503, "too many requests are read");
            }
            Ok(Err(_)) => return refusal(413, "the request is too long"),
            Err(_) => return refusal(408, "the request takes too long"),
        };
        let Some(passed) = Passed::decode(request) else { return refusal(400, "Invalid onion request") };
        timeout(self.answer_time, self.onions.pass(passed, Some(node), Room::of(held)))
            .await
            .unwrap_or_else(|_| refusal(504, "the answer takes too long"))
    }
}

/// Hands a request over by a stream that `open` makes, and by another one where nobody took that: whoever listens has
/// room for one new stream at a time, and lets those that come beside it go. What ends only after `unheard` may have been
/// taken, and done: it is not to be done twice.
async fn heard<S: AsyncRead + AsyncWrite + Unpin, O: Future<Output = Result<S, Lost>>>(
    open: impl Fn() -> O,
    request: &[u8],
    hold: impl Fn() -> Held<NodeId>,
    unheard: Duration,
) -> Result<Told, Lost> {
    let (mut stream, mut pauses) = (open().await?, AGAIN.into_iter());
    loop {
        let began = Instant::now();
        if let Some(told) = handed(stream, request, &Mutex::new(hold())).await? {
            return Ok(told);
        }
        let again = pauses.next().filter(|_| began.elapsed() < unheard);
        sleep(again.ok_or(Lost::Silent)?).await;
        stream = open().await.map_err(|_| Lost::Silent)?;
    }
}

/// Hands a request over, and reads the answer; none where there is not a byte of one.
async fn handed(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
    held: &Mutex<Held<NodeId>>,
) -> Result<Option<Told>, Lost> {
    let write = async {
        stream.write_all(request).await?;
        stream.close().await
    };
    // Whoever takes no more of it may have said why.
    let _broken_off = timeout(FRAME, write).await.map_err(|_| Lost::Silent)?;
    let mut first = [0];
    let Ok(1..) = stream.read(&mut first).await else { return Ok(None) };
    let full = |error: io::Error| error.kind() == io::ErrorKind::OutOfMemory;
    let answer = read(&mut stream, MAX_TOLD, held).await;
    let mut answer = answer.map_err(|error| if full(error) { Lost::Busy } else { Lost::Silent })?;
    let status = answer.first().map(|second| u16::from_be_bytes([first[0], *second]));
    let status = status.filter(|status| (200..600).contains(status)).ok_or(Lost::Silent)?;
    answer.remove(0);
    Ok(Some(Told { status, kind: TEXT, body: answer }))
}

fn refusal(status: u16, text: &str) -> Told {
    Reply::text(status, text).into()
}

/// Reads to the end, at most `most` bytes and as far as there is memory for them.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
    held: &Mutex<Held<NodeId>>,
) -> io::Result<Vec<u8>> {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(bytes);
        }
        if read > most - bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if !lock(held).grow(bytes.len() + read) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}

#[cfg(test)]
mod tests;
