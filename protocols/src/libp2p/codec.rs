//! CBOR for libp2p's own request-response.

use std::{fmt, io, marker::PhantomData, sync::Arc};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use serde::{Serialize, de::DeserializeOwned};

use crate::codec;

/// Reads and writes one request and one answer, each bounded in length.
pub struct Cbor<Q, A> {
    max_request: usize,
    max_answer: usize,
    on_garbage: Option<Arc<dyn Fn() + Send + Sync>>,
    types: PhantomData<fn() -> (Q, A)>,
}

impl<Q, A> Clone for Cbor<Q, A> {
    fn clone(&self) -> Self {
        Self { types: PhantomData, on_garbage: self.on_garbage.clone(), ..*self }
    }
}

impl<Q, A> fmt::Debug for Cbor<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_request, max_answer, .. } = self;
        f.debug_struct("Cbor").field("max_request", max_request).field("max_answer", max_answer).finish()
    }
}

impl<Q, A> Cbor<Q, A> {
    /// A codec with these limits, in bytes.
    pub const fn new(max_request: usize, max_answer: usize) -> Self {
        Self { max_request, max_answer, on_garbage: None, types: PhantomData }
    }

    /// Calls `told` for each request or answer that is no message, which libp2p tells nobody of.
    #[must_use]
    pub fn on_garbage(mut self, told: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_garbage = Some(Arc::new(told));
        self
    }

    async fn read<T, M>(&self, io: &mut T, max: usize) -> io::Result<M>
    where
        T: AsyncRead + Unpin + Send,
        M: DeserializeOwned,
    {
        let mut bytes = Vec::new();
        io.take((max as u64).saturating_add(1)).read_to_end(&mut bytes).await?;
        codec::decode(&bytes, max).map_err(|error| {
            if let Some(told) = &self.on_garbage {
                told();
            }
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }
}

impl<Q, A> request_response::Codec for Cbor<Q, A>
where
    Q: Serialize + DeserializeOwned + Send + 'static,
    A: Serialize + DeserializeOwned + Send + 'static,
{
    type Protocol = StreamProtocol;
    type Request = Q;
    type Response = A;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Q>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io, self.max_request).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<A>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io, self.max_answer).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Q) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&codec::encode(&request)).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: A) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&codec::encode(&answer)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::{executor::block_on, io::Cursor};
    use libp2p::request_response::Codec as _;

    use super::*;

    const NAME: StreamProtocol = StreamProtocol::new("/test");

    fn counting(max: usize) -> (Cbor<Vec<u8>, Vec<u8>>, Arc<AtomicU64>) {
        let count = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&count);
        let codec = Cbor::new(max, 100).on_garbage(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        (codec, count)
    }

    fn read(codec: &mut Cbor<Vec<u8>, Vec<u8>>, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        block_on(codec.read_request(&NAME, &mut Cursor::new(bytes)))
    }

    #[test]
    fn a_message_of_the_greatest_length_is_read_and_a_longer_one_refused_and_counted() {
        let (mut codec, garbage) = counting(12);
        let fits = vec![1_u8; 11];
        let encoded = crate::codec::encode(&fits);
        assert_eq!(encoded.len(), 12);
        assert_eq!(read(&mut codec, encoded).unwrap(), fits);
        assert_eq!(garbage.load(Ordering::Relaxed), 0);
        let long = crate::codec::encode(&vec![1_u8; 12]);
        assert_eq!(read(&mut codec, long.clone()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(garbage.load(Ordering::Relaxed), 1);
        assert!(block_on(codec.read_response(&NAME, &mut Cursor::new(long))).is_ok(), "an answer has room");
    }

    #[test]
    fn garbage_is_counted_whatever_it_is() {
        let (mut codec, garbage) = counting(64);
        let nested = [vec![0x81; 40], vec![0x00]].concat();
        for bytes in [vec![], vec![0xff; 9], vec![0x85, 0x01], nested, vec![0x00, 0x00]] {
            assert!(read(&mut codec, bytes).is_err());
        }
        assert_eq!(garbage.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn no_more_is_read_than_a_message_may_have() {
        struct Endless(usize);
        impl AsyncRead for Endless {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                into: &mut [u8],
            ) -> std::task::Poll<io::Result<usize>> {
                self.0 += into.len();
                std::task::Poll::Ready(Ok(into.len()))
            }
        }
        let mut codec = Cbor::<Vec<u8>, Vec<u8>>::new(1_000, 1_000);
        let mut endless = Endless(0);
        assert!(block_on(codec.read_request(&NAME, &mut endless)).is_err());
        assert!(endless.0 <= 1_001, "{} bytes were read", endless.0);
    }
}
