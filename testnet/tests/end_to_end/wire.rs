//! Relays on loopback that note how long it is what passes them.
//!
//! They see what a capture of packets would show, and need no rights.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use session_protocols::directory::{Endpoint, Transport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// More than any datagram, or any message of Noise.
const BUFFER: usize = 65_536;

/// Which way something goes, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Up,
    Down,
}

/// What went by, in order, and how long it was: datagrams of QUIC; of TCP messages of Noise, whose lengths stand in
/// the open.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<Vec<(Way, usize)>>>);

impl Wire {
    /// What went by since the last time.
    pub(crate) fn take(&self) -> Vec<(Way, usize)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// How many that are longer have gone by this way since then.
    pub(crate) fn count(&self, way: Way, length: usize) -> usize {
        self.0.lock().unwrap().iter().filter(|seen| seen.0 == way && seen.1 > length).count()
    }

    /// Stands before an endpoint, at another port of its address; returns where exactly.
    pub(crate) async fn before(&self, far: Endpoint) -> Endpoint {
        let (near, at) = (SocketAddr::new(far.ip, 0), SocketAddr::new(far.ip, far.port));
        let port = match far.transport {
            Transport::Quic => self.datagrams(near, at).await,
            Transport::Tcp => self.connections(near, at).await,
        };
        Endpoint { port, ..far }
    }

    async fn datagrams(&self, near: SocketAddr, far: SocketAddr) -> u16 {
        let socket = Arc::new(UdpSocket::bind(near).await.unwrap());
        let port = socket.local_addr().unwrap().port();
        let wire = self.clone();
        tokio::spawn(async move {
            let mut beyond: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
            let mut buffer = vec![0; BUFFER];
            loop {
                let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
                let out = match beyond.entry(from) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let out = Arc::new(UdpSocket::bind(near).await.unwrap());
                        out.connect(far).await.unwrap();
                        tokio::spawn(wire.clone().answers(Arc::clone(&out), Arc::clone(&socket), from));
                        new.insert(out)
                    }
                };
                wire.note(Way::Up, length);
                // Datagrams may be lost, here as anywhere.
                let _ = out.send(&buffer[..length]).await;
            }
        });
        port
    }

    async fn answers(self, out: Arc<UdpSocket>, socket: Arc<UdpSocket>, to: SocketAddr) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let Ok(length) = out.recv(&mut buffer).await else { return };
            self.note(Way::Down, length);
            let _ = socket.send_to(&buffer[..length], to).await;
        }
    }

    async fn connections(&self, near: SocketAddr, far: SocketAddr) -> u16 {
        let listener = TcpListener::bind(near).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = self.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(far).await else { continue };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                tokio::spawn(wire.clone().carry(Way::Up, from_near, to_far));
                tokio::spawn(wire.clone().carry(Way::Down, from_far, to_near));
            }
        });
        port
    }

    async fn carry(self, way: Way, mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
        let (mut buffer, mut pending) = (vec![0; BUFFER], Vec::new());
        let mut agreed = false;
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            pending.extend(&buffer[..read]);
            self.note_messages(way, &mut pending, &mut agreed);
            if to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    }

    /// Takes whole messages off the front. Those that agree on Noise begin with a length in one byte, which
    /// is never 0; those of Noise with one in two, of which the first of a handshake is.
    fn note_messages(&self, way: Way, pending: &mut Vec<u8>, agreed: &mut bool) {
        while let [first, second, ..] = pending[..] {
            *agreed |= first == 0;
            let (head, length) = match *agreed {
                true => (2, usize::from(u16::from_be_bytes([first, second]))),
                false => (1, usize::from(first)),
            };
            if pending.len() < head + length {
                return;
            }
            pending.drain(..head + length);
            if *agreed {
                self.note(way, length);
            }
        }
    }

    fn note(&self, way: Way, length: usize) {
        self.0.lock().unwrap().push((way, length));
    }
}
