//! What the fuzzers run beside the targets of [`session_protocols::fuzz`]: what comes from a network
//! file, from disks, from senders and over streams.
//!
//! Plain functions that panic when a promise is broken, in the crate that sees all the others.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite, FutureExt, StreamExt};
use session_chain::NetworkFile;
use session_client::Cursors;
use session_protocols::{
    frame::HEAD,
    fuzz::Target,
    libp2p::link::{self, Backlog, Limits},
};

pub use session_client::envelope::fuzz::envelope;
pub use session_storage::fuzz::row as storage_row;

#[cfg(test)]
mod tests;

/// All targets there are here.
pub const TARGETS: &[Target] = &[
    ("envelope", envelope),
    ("network_file", network_file),
    ("storage_row", storage_row),
    ("cursors", cursors),
    ("link", link),
];

/// The text of a network file: what is read is written in words that mean the same.
///
/// # Panics
/// When it is not.
pub fn network_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match NetworkFile::parse(text) {
        Ok(file) => {
            assert_eq!(NetworkFile::parse(&file.to_toml()), Ok(file));
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.remedy().is_empty());
            false
        }
    }
}

/// How far a mailbox was read, as a client keeps it on disk.
///
/// # Panics
/// When what is read is written differently.
pub fn cursors(bytes: &[u8]) -> bool {
    let Some(cursors) = Cursors::from_bytes(bytes) else { return false };
    assert_eq!(Cursors::from_bytes(&cursors.to_bytes()), Some(cursors));
    true
}

/// The longest payload that a link takes in here.
const MAX_IN: usize = 64;

/// What a peer says over a stream, to a node and to a client: it ends when the stream does.
///
/// # Panics
/// When it does not, or when more comes out than went in.
pub fn link(bytes: &[u8]) -> bool {
    let limits = Limits { max_in: MAX_IN, window: 2, backlog: Backlog::new(4 * MAX_IN) };
    let (mut requests, run) = link::serve(Said(bytes.to_vec()), limits.clone());
    let run = run.map(|_| ()).fuse();
    let mut run = Box::pin(run);
    let (mut count, mut read) = (0, 0);
    let ended = async {
        loop {
            futures::select_biased! {
                request = requests.next() => {
                    let Some(request) = request else { break };
                    assert!(request.payload.len() <= MAX_IN, "a payload that is too long");
                    count += 1;
                    read += HEAD + request.payload.len();
                    drop(request);
                }
                () = run => {}
            }
        }
    };
    assert!(settle(ended, bytes).is_some(), "the stream has ended, and the link has not");
    assert!(read <= bytes.len(), "more came out than went in");

    let (asker, run) = link::open(Said(bytes.to_vec()), limits);
    let mut run = Box::pin(run);
    let mut ask = Box::pin(asker.ask(b"?".to_vec()));
    let asked = async {
        let answer = futures::future::join(&mut ask, &mut run).await.0;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.len() <= MAX_IN));
    };
    assert!(settle(asked, bytes).is_some(), "the stream has ended, and the asker waits");
    count > 0
}

/// Polls a future as often as these bytes can give it a reason to go on; what has not come by then
/// never comes.
fn settle<T>(future: impl Future<Output = T>, bytes: &[u8]) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..bytes.len() + 64).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    })
}

/// A stream over which somebody has said this and gone; it takes whatever is said.
struct Said(Vec<u8>);

impl AsyncRead for Said {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let len = into.len().min(self.0.len());
        for (to, from) in into.iter_mut().zip(self.0.drain(..len)) {
            *to = from;
        }
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Said {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
