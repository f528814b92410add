//! CBOR for libp2p's own request-response.

use std::{io, marker::PhantomData};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use serde::{Serialize, de::DeserializeOwned};

use crate::codec;

/// Reads and writes one request and one answer, each bounded in length.
#[derive(Debug)]
pub struct Cbor<Q, A> {
    max_request: usize,
    max_answer: usize,
    types: PhantomData<fn() -> (Q, A)>,
}

impl<Q, A> Clone for Cbor<Q, A> {
    fn clone(&self) -> Self {
        Self { types: PhantomData, ..*self }
    }
}

impl<Q, A> Cbor<Q, A> {
    /// A codec with these limits, in bytes.
    pub const fn new(max_request: usize, max_answer: usize) -> Self {
        Self { max_request, max_answer, types: PhantomData }
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
        read(io, self.max_request).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<A>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, self.max_answer).await
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

async fn read<T: AsyncRead + Unpin + Send, M: DeserializeOwned>(io: &mut T, max: usize) -> io::Result<M> {
    let mut bytes = Vec::new();
    io.take((max as u64).saturating_add(1)).read_to_end(&mut bytes).await?;
    codec::decode(&bytes, max).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
