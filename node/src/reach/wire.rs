//! AutoNAT v2 as it travels (libp2p's `autonat/autonat-v2.md`): protobuf, each message behind its length.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;

/// Over which a dial back is asked for.
pub(super) const REQUEST: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");
/// Over which it is shown to have come.
pub(super) const BACK: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-back");

/// The longest message, in bytes.
const MAX: usize = 4_104;
/// The most that one message of data carries.
pub(super) const MAX_DATA: usize = 4_096;

/// [`Answer::status`] and [`Answer::dialled`]: it went well.
pub(super) const OK: i32 = 200;
/// [`Answer::status`] of whoever does not dial there.
pub(super) const REFUSED: i32 = 101;
/// [`Answer::dialled`] where no connection came about.
pub(super) const NO_CONNECTION: i32 = 100;
/// [`Answer::dialled`] where one did, and nobody answered on it.
pub(super) const NO_ANSWER: i32 = 101;

/// What is said over [`REQUEST`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Frame {
    #[prost(oneof = "Said", tags = "1, 2, 3, 4")]
    pub(super) said: Option<Said>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Said {
    /// By whoever wants to be dialled.
    #[prost(message, tag = "1")]
    Request(Request),
    /// By whoever dialled.
    #[prost(message, tag = "2")]
    Answer(Answer),
    /// By whoever is to dial: how much data it wants first.
    #[prost(message, tag = "3")]
    Wants(Wants),
    /// That data.
    #[prost(message, tag = "4")]
    Data(Data),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    /// Multiaddrs, the one to be tried most first.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) addresses: Vec<Vec<u8>>,
    /// Is to be said over [`BACK`].
    #[prost(fixed64, tag = "2")]
    pub(super) nonce: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answer {
    /// What became of the request.
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
    /// Which address was dialled.
    #[prost(uint32, tag = "2")]
    pub(super) index: u32,
    /// What became of the dial.
    #[prost(int32, tag = "3")]
    pub(super) dialled: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Wants {
    /// Which address is dialled then.
    #[prost(uint32, tag = "1")]
    pub(super) index: u32,
    #[prost(uint64, tag = "2")]
    pub(super) bytes: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Data {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) data: Vec<u8>,
}

/// What is said over [`BACK`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Back {
    #[prost(fixed64, tag = "1")]
    pub(super) nonce: u64,
}

/// The answer to it: 0 where it was waited for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BackAnswer {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

impl Frame {
    pub(super) fn of(said: Said) -> Self {
        Self { said: Some(said) }
    }
}

/// Sends a message.
pub(super) async fn send<S, M>(stream: &mut S, message: &M) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
    M: prost::Message,
{
    stream.write_all(&message.encode_length_delimited_to_vec()).await?;
    stream.flush().await
}

/// Receives one.
pub(super) async fn receive<S, M>(stream: &mut S) -> io::Result<M>
where
    S: AsyncRead + Unpin,
    M: prost::Message + Default,
{
    let mut bytes = vec![0; length(stream).await?];
    stream.read_exact(&mut bytes).await?;
    M::decode(bytes.as_slice()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The length of the next message: seven bits a byte, the lowest first.
async fn length<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<usize> {
    let mut length = 0;
    for shift in [0, 7] {
        let mut byte = [0_u8];
        stream.read_exact(&mut byte).await?;
        let [byte] = byte;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 && length <= MAX {
            return Ok(length);
        }
        if byte & 0x80 == 0 {
            break;
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"))
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    fn bytes<M: prost::Message>(message: &M) -> Vec<u8> {
        let mut stream = Cursor::new(Vec::new());
        block_on(send(&mut stream, message)).unwrap();
        stream.into_inner()
    }

    fn read<M: prost::Message + Default>(bytes: &[u8]) -> io::Result<M> {
        block_on(receive(&mut Cursor::new(bytes)))
    }

    #[test]
    fn messages_are_those_of_the_specification() {
        let nonce = 0x0807_0605_0403_0201;
        let request = Frame::of(Said::Request(Request { addresses: vec![vec![4, 127, 0, 0, 1]], nonce }));
        let said = [&[18, 10, 16, 10, 5, 4, 127, 0, 0, 1, 17][..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
        let answer = Frame::of(Said::Answer(Answer { status: OK, index: 0, dialled: NO_CONNECTION }));
        let wants = Frame::of(Said::Wants(Wants { index: 1, bytes: 30_000 }));
        for (frame, said) in [
            (request, said),
            (answer, vec![7, 18, 5, 8, 200, 1, 24, 100]),
            (wants, vec![8, 26, 6, 8, 1, 16, 176, 234, 1]),
        ] {
            assert_eq!(bytes(&frame), said);
            assert_eq!(read::<Frame>(&said).unwrap(), frame);
        }
        assert_eq!(bytes(&Back { nonce }), [9, 9, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes(&BackAnswer { status: 0 }), [0]);
        // The longest that there is.
        let data = Frame::of(Said::Data(Data { data: vec![0; MAX_DATA] }));
        assert_eq!(read::<Frame>(&bytes(&data)).unwrap(), data);
    }

    #[test]
    fn what_is_too_long_cut_off_or_no_message_is_refused() {
        for bytes in [
            &[][..],
            &[0x80],
            &[5, 1, 2],
            // One more than the longest, and a length that does not end.
            &[0x89, 0x20, 0],
            &[0xff, 0xff, 0xff, 0x7f],
            &[2, 0x0a, 0x7f],
        ] {
            assert!(read::<Frame>(bytes).is_err(), "{bytes:?}");
        }
    }
}
