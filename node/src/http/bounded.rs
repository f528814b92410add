//! A listener that lets in a few at a time, each for a while, and no stranger all of them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use session_protocols::{Prefix, limits::Seats};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};

/// A listener that lets in a few at a time, and each for a while.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    connections: usize,
    lifetime: Duration,
    strangers: Option<Strangers>,
}

impl Bounded {
    /// Serves so many connections at once, each for so long, whatever it is doing; more wait until one of them ends.
    pub fn new(listener: TcpListener, connections: usize, lifetime: Duration) -> Self {
        let room = Arc::new(Semaphore::new(connections));
        Self { listener, room, connections, lifetime, strangers: None }
    }

    /// Of these connections one prefix has so many: further ones are closed at once. One on which nothing was sent for so
    /// long ends, so that a request has to come in that time, unless somebody is at [`Work`] on one. Whoever connects from
    /// the very address that it connects to is on this machine, and not counted: a server with a certificate, say.
    pub fn for_strangers(self, of_prefix: usize, silence: Duration) -> Self {
        let seats = Arc::new(Mutex::new(Seats::new(of_prefix, self.connections)));
        Self { strangers: Some(Strangers { seats, silence }), ..self }
    }
}

impl Listener for Bounded {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        // It is never closed.
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        let (stream, address, seat) = loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            let Some(strangers) = &self.strangers else { break (stream, address, None) };
            let here = stream.local_addr().map_or_else(|_| Ipv4Addr::UNSPECIFIED.into(), |here| here.ip());
            if let Some(seat) = strangers.seat(here, address.ip()) {
                break (stream, address, Some(seat));
            }
        };
        let silence = self.strangers.as_ref().map(|strangers| Silence::new(strangers.silence));
        let end = Box::pin(tokio::time::sleep(self.lifetime));
        (Guest { stream, end, silence, work: Work::default(), _seat: seat, _room: room }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What bounds those who are not on this machine.
#[derive(Debug)]
struct Strangers {
    seats: Arc<Mutex<Seats<Prefix>>>,
    silence: Duration,
}

impl Strangers {
    /// A seat for a connection between these addresses; none where its prefix has its share.
    fn seat(&self, here: IpAddr, there: IpAddr) -> Option<Seat> {
        let (here, there) = (here.to_canonical(), there.to_canonical());
        let prefix = (here != there).then(|| Prefix::of(there));
        let taken = prefix.is_none_or(|prefix| lock(&self.seats).take(prefix));
        taken.then(|| Seat { seats: Arc::clone(&self.seats), prefix })
    }
}

/// One of a prefix's connections, for as long as this lives; of nobody's where it is from this machine.
#[derive(Debug)]
struct Seat {
    seats: Arc<Mutex<Seats<Prefix>>>,
    prefix: Option<Prefix>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.prefix.iter().for_each(|prefix| lock(&self.seats).leave(prefix));
    }
}

fn lock(seats: &Mutex<Seats<Prefix>>) -> MutexGuard<'_, Seats<Prefix>> {
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests of a connection that somebody works on. Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Work(Arc<AtomicUsize>);

impl Work {
    /// Somebody works on a request, for as long as what this returns lives.
    pub fn begin(&self) -> AtWork {
        self.0.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(&self.0))
    }

    fn goes_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Somebody who works, for as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long nothing was sent on a connection.
#[derive(Debug)]
struct Silence {
    most: Duration,
    end: Pin<Box<Sleep>>,
}

impl Silence {
    fn new(most: Duration) -> Self {
        Self { most, end: Box::pin(tokio::time::sleep(most)) }
    }

    fn begin(&mut self) {
        self.end.as_mut().reset(Instant::now() + self.most);
    }
}

/// A connection that ends when its time is over.
#[derive(Debug)]
pub struct Guest {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    silence: Option<Silence>,
    work: Work,
    _seat: Option<Seat>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Guest {
    /// What is worked on for it.
    pub fn work(&self) -> Work {
        self.work.clone()
    }

    fn over(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// The same, and whether a request should have come.
    fn silent(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.over(cx)?;
        let Some(silence) = &mut self.silence else { return Ok(()) };
        if silence.end.as_mut().poll(cx).is_ready() {
            if !self.work.goes_on() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            silence.begin();
            // It wakes this task then.
            let _ = silence.end.as_mut().poll(cx);
        }
        Ok(())
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.silent(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.over(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.silence.iter_mut().for_each(Silence::begin);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        extract::{ConnectInfo, connect_info::Connected},
        routing::get,
        serve::IncomingStream,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpSocket,
        sync::{mpsc, watch},
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(600);
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    #[derive(Clone)]
    struct Visitor(Work);

    impl Connected<IncomingStream<'_, Bounded>> for Visitor {
        fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
            Self(stream.io().work())
        }
    }

    /// All that comes until the connection ends, however it does.
    async fn rest(mut stream: TcpStream) -> String {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn a_prefix_has_its_share_until_it_leaves_and_this_machine_is_not_counted() {
        let strangers = Strangers { seats: Arc::new(Mutex::new(Seats::new(2, 16))), silence: LONG };
        let seat = |there: &str| strangers.seat("203.0.113.7".parse().unwrap(), there.parse().unwrap());
        let mut held: Vec<_> = ["198.51.100.1", "198.51.100.2"].map(|ip| seat(ip).unwrap()).into();
        assert!(seat("198.51.100.3").is_none() && seat("::ffff:198.51.100.3").is_none());
        held.push(seat("192.0.2.1").unwrap());
        held.extend((0..20).map(|_| seat("203.0.113.7").unwrap()));
        drop(held.remove(0));
        held.push(seat("198.51.100.3").unwrap());
        assert!(seat("198.51.100.1").is_none());
        drop(held);
        assert_eq!(lock(&strangers.seats).held(), 0);
    }

    #[tokio::test]
    async fn whoever_opens_more_than_its_share_is_let_go_and_others_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let listener = Bounded::new(listener, 16, LONG).for_strangers(2, LONG);
        let router = Router::new().route("/", get(|| async { "here" }));
        let served = tokio::spawn(axum::serve(listener, router).into_future());
        let from = async |ip: &str| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
            socket.connect(at).await.unwrap()
        };
        let held = [from("127.0.0.2").await, from("127.0.0.3").await];
        assert_eq!(rest(from("127.0.0.4").await).await, "", "it is closed");
        for other in ["127.0.1.2", "127.0.0.1"] {
            let mut stream = from(other).await;
            stream.write_all(ASK).await.unwrap();
            assert!(rest(stream).await.ends_with("here"), "{other}");
        }
        drop(held);
        served.abort();
    }

    #[tokio::test]
    async fn whoever_asks_for_nothing_is_let_go_and_whoever_is_worked_for_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (finish, finished) = watch::channel(false);
        let (begun, mut begins) = mpsc::channel(1);
        let work = move |ConnectInfo(Visitor(work)): ConnectInfo<Visitor>| {
            let (mut finished, begun) = (finished.clone(), begun.clone());
            async move {
                let _at_work = work.begin();
                begun.send(()).await.unwrap();
                finished.wait_for(|it| *it).await.unwrap();
                "done"
            }
        };
        let router = Router::new().route("/", get(work)).into_make_service_with_connect_info::<Visitor>();
        let listener = Bounded::new(listener, 16, LONG).for_strangers(16, Duration::from_millis(100));
        let served = tokio::spawn(axum::serve(listener, router).into_future());
        let mut asks = TcpStream::connect(at).await.unwrap();
        asks.write_all(ASK).await.unwrap();
        begins.recv().await.unwrap();
        // One after the other: they outlast the silence that the first was allowed many times.
        for said in ["", "G", "GET / HTTP/1.1\r\n"] {
            let mut silent = TcpStream::connect(at).await.unwrap();
            silent.write_all(said.as_bytes()).await.unwrap();
            assert_eq!(rest(silent).await, "", "{said}");
        }
        finish.send(true).unwrap();
        assert!(rest(asks).await.ends_with("done"));
        served.abort();
    }
}
