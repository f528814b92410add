//! From a socket to requests: TLS, then HTTP/1.1 or HTTP/2, each step in its time.

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus::IntGauge;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tower_service::Service as _;

use super::{
    Limits,
    guests::{Address, Guest, Guests, Place},
    routes::{self, State},
};
use crate::now;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1_024;
/// How many lines a request's head may have.
const MAX_HEADERS: usize = 64;
/// The pause after the system refused to accept, as it does where a process has too many files open.
const PAUSE: Duration = Duration::from_millis(50);
/// The least that HTTP/1.1 can be given for a head.
const LEAST_HEAD: usize = 8 << 10;

/// Listens on an address; on one of IPv6 for IPv6 alone, so that both may have the same port.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restarted node finds its port taken by connections that are over.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What every connection needs.
#[derive(Clone)]
struct Host {
    acceptor: TlsAcceptor,
    router: Router,
    state: Arc<State>,
    stopping: watch::Receiver<bool>,
}

/// Serves until `stopping` says so.
pub(super) async fn serve(
    listeners: Vec<TcpListener>,
    tls: Arc<ServerConfig>,
    state: Arc<State>,
    mut stopping: watch::Receiver<bool>,
) {
    let guests = Guests::new(state.limits);
    let router = routes::router(Arc::clone(&state));
    let host = Host { acceptor: tls.into(), router, state, stopping: stopping.clone() };
    let accepting = listeners.into_iter().map(|listener| accept(listener, host.clone(), Arc::clone(&guests)));
    futures::future::join_all(accepting).await;
    // Where it listens nowhere it is still served.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn accept(listener: TcpListener, host: Host, guests: Arc<Guests>) {
    let mut stopping = host.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            // Where it may not come the connection closes here, before it costs a handshake.
            Ok((stream, address)) if host.state.arrivals.may(Address::of(address.ip()), now()) => {
                match guests.enter(address.ip()) {
                    Some(place) => drop(tokio::spawn(host.clone().welcome(stream, place))),
                    None => host.state.refused("connections"),
                }
            }
            Ok(_) => host.state.refused("arrivals"),
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

impl Host {
    /// Serves a connection until it ends, its time is over, it is to make room, or the node stops.
    async fn welcome(self, stream: TcpStream, place: Place) {
        let mut stopping = self.stopping.clone();
        let guest = Arc::clone(&place.guest);
        let _open = self.state.metrics.as_ref().map(|metrics| Open::new(metrics.connections.clone()));
        tokio::select! {
            () = self.talk(stream, Arc::clone(&guest)) => {}
            () = guest.told_to_leave() => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    async fn talk(self, stream: TcpStream, guest: Arc<Guest>) {
        let Self { acceptor, router, state, .. } = self;
        let limits = state.limits;
        let _ = stream.set_nodelay(true);
        let stream = Paced { stream, stall: limits.stall_time, timer: None };
        let Ok(Ok(stream)) = timeout(limits.handshake_time, acceptor.accept(stream)).await else { return };
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let asking = Arc::clone(&guest);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Arc::clone(&asking));
            router.clone().call(request)
        });
        let stream = TokioIo::new(stream);
        if h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits.streams)
                .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
                .keep_alive_interval(limits.head_time)
                .keep_alive_timeout(limits.handshake_time);
            let mut connection = pin!(builder.serve_connection(stream, service));
            if watch(connection.as_mut(), &guest, limits).await {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(limits.stall_time, connection).await;
            }
        } else {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head_time)
                .max_headers(MAX_HEADERS)
                .max_buf_size(limits.head.max(LEAST_HEAD));
            let mut connection = pin!(builder.serve_connection(stream, service));
            if watch(connection.as_mut(), &guest, limits).await {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(limits.stall_time, connection).await;
            }
        }
    }
}

/// A connection that is counted while this is held.
struct Open(IntGauge);

impl Open {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Drives a connection; whether its time is over, or nothing came over it for a while.
async fn watch<C: Future>(mut connection: Pin<&mut C>, guest: &Guest, limits: Limits) -> bool {
    let end = Instant::now() + limits.lifetime;
    let idle = limits.head_time.max(limits.body_time);
    let mut seen = None;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return false,
            () = sleep_until(end.min(Instant::now() + idle)) => {
                let asked = guest.idle_since();
                if Instant::now() >= end || (asked.is_some() && asked == seen) {
                    return true;
                }
                seen = asked;
            }
        }
    }
}

/// A stream that fails when the other side does not take the next part in time.
struct Paced {
    stream: TcpStream,
    stall: Duration,
    /// Since when it does not.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn paced<T>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = step(Pin::new(&mut self.stream), cx) {
            self.timer = None;
            return Poll::Ready(done);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.stall)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.paced(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.paced(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.paced(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.paced(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}
