//! Neighbours that ask for more at once than they may: they are told so, and can tell their clients.

use std::sync::{Arc, Mutex};

use futures::{AsyncWrite, AsyncWriteExt, FutureExt, future::BoxFuture};
use session_protocols::{NodeId, limits::Seats};
use tokio::time::timeout;

use super::relay::FRAME;
use crate::seat::{Seat, SharedSeats};

/// Those that are told at once, each on one stream: further streams are closed without a word.
const TOLD: usize = 64;
/// What a node answers: 503, and why.
const BUSY: &[u8] = b"\x01\xf7too many requests are under way";

/// Who is being told.
pub(super) struct Beyond(SharedSeats<NodeId>);

impl Beyond {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Seats::new(1, TOLD))))
    }

    /// Answers on a stream whose request is not read; none where it is to be closed.
    pub(super) fn tell(
        &self,
        node: NodeId,
        mut stream: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Option<BoxFuture<'static, ()>> {
        let seat = Seat::take(&self.0, node)?;
        let telling = async move {
            let write = async {
                stream.write_all(BUSY).await?;
                stream.close().await
            };
            // Whoever does not take it has no answer.
            let _ = timeout(FRAME, write).await;
            drop(seat);
        };
        Some(telling.boxed())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::io::AllowStdIo;
    use session_protocols::KeyPair;

    use super::*;
    use crate::door::guests::lock;

    /// What was written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_neighbour_beyond_its_seats_is_told_so_on_one_stream_at_a_time() {
        let node = |seed| KeyPair::from_seed(&[seed; 32]).node_id();
        let (beyond, written) = (Beyond::new(), Written::default());
        let tell = |seed| beyond.tell(node(seed), AllowStdIo::new(written.clone()));
        let telling = tell(1).unwrap();
        assert!(tell(1).is_none() && tell(2).is_some());
        telling.await;
        let told = lock(&written.0).clone();
        assert_eq!((told.as_slice(), &told[..2]), (BUSY, 503_u16.to_be_bytes().as_slice()));
        assert!(tell(1).is_some(), "and then on the next");
    }
}
