//! The other half: dials nodes back that ask whether they are reached (AutoNAT v2), as a stranger.
//!
//! Whoever asks names any address it likes, and pays for it with more bytes than it costs to dial. Outside of a
//! local network none is dialled that is not everybody's: nobody searches this machine's neighbourhood through it.

use std::{io, time::Duration};

use libp2p::{Multiaddr, PeerId, Stream};
use session_protocols::{directory::Endpoint, libp2p::address::endpoint};
use tokio::time::timeout;

use super::{
    READ,
    stranger::{self, Missed},
    wire::{self, Answer, Frame, NO_ANSWER, NO_CONNECTION, OK, REFUSED, Request, Said, Wants},
};

/// How long a dial may take, what is said over it and of it with it.
const PATIENCE: Duration = Duration::from_secs(15);
/// The data that is wanted before a dial, in bytes: the least that the specification knows.
const DATA: u64 = 30_000;
/// Messages that it may come in.
const MAX_PARTS: u64 = 1_000;

/// A request that is paid for.
pub(super) struct Paid {
    stream: Stream,
    peer: PeerId,
    /// Which address that was asked about.
    index: u32,
    address: Endpoint,
    nonce: u64,
}

/// Reads one request, and the data that it costs; none where it is refused, or does not come in time.
pub(super) async fn hear(mut stream: Stream, peer: PeerId, local: bool) -> Option<Paid> {
    let heard = timeout(READ, request(&mut stream, local)).await;
    let paid = told(heard.map_err(io::Error::from).and_then(|done| done)).flatten();
    paid.map(|(index, address, nonce)| Paid { stream, peer, index, address, nonce })
}

impl Paid {
    /// Dials, and answers over the stream of the request what came of it.
    pub(super) async fn dial(self) {
        let dialled = timeout(PATIENCE, self.answer()).await;
        told(dialled.map_err(io::Error::from).and_then(|done| done));
    }

    async fn answer(mut self) -> io::Result<()> {
        let dialled = match stranger::dial_back(self.peer, &self.address, self.nonce).await {
            Ok(()) => OK,
            Err(Missed::Connection) => NO_CONNECTION,
            Err(Missed::Answer) => NO_ANSWER,
        };
        let answer = Answer { status: OK, index: self.index, dialled };
        wire::send(&mut self.stream, &Frame::of(Said::Answer(answer))).await
    }
}

/// What came of a part of it.
fn told<T>(result: io::Result<T>) -> Option<T> {
    // Whoever asks may be a client: it is not named.
    result.inspect_err(|error| tracing::debug!(%error, "a dial back was not answered")).ok()
}

/// What is to be dialled, and what is to be said there.
async fn request(stream: &mut Stream, local: bool) -> io::Result<Option<(u32, Endpoint, u64)>> {
    let Frame { said: Some(Said::Request(request)) } = wire::receive(stream).await? else {
        return Err(unexpected());
    };
    let Some((index, address)) = chosen(&request, local) else {
        let answer = Answer { status: REFUSED, index: 0, dialled: 0 };
        wire::send(stream, &Frame::of(Said::Answer(answer))).await?;
        return Ok(None);
    };
    wire::send(stream, &Frame::of(Said::Wants(Wants { index, bytes: DATA }))).await?;
    let (mut bytes, mut parts) = (0, 0);
    while bytes < DATA && parts < MAX_PARTS {
        let Frame { said: Some(Said::Data(part)) } = wire::receive(stream).await? else {
            return Err(unexpected());
        };
        bytes += part.data.len() as u64;
        parts += 1;
    }
    if bytes < DATA {
        return Err(unexpected());
    }
    Ok(Some((index, address, request.nonce)))
}

/// The first address that may be dialled.
fn chosen(request: &Request, local: bool) -> Option<(u32, Endpoint)> {
    let addresses = (0..).zip(&request.addresses);
    addresses
        .filter_map(|(index, bytes)| Some((index, endpoint(&Multiaddr::try_from(bytes.clone()).ok()?)?)))
        .find(|(_, address)| local || address.is_public())
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "that is not said at this place")
}

#[cfg(test)]
mod tests {
    use session_protocols::libp2p::address::multiaddr;

    use super::*;

    #[test]
    fn nobody_searches_the_neighbourhood_through_a_node() {
        let [private, public]: [Endpoint; 2] =
            ["/ip4/192.168.1.1/tcp/80", "/ip4/45.1.0.2/tcp/22021"].map(|text| text.parse().unwrap());
        let request = |addresses: &[Endpoint]| Request {
            addresses: addresses.iter().map(|one| multiaddr(one).to_vec()).chain([vec![255]]).collect(),
            nonce: 1,
        };
        assert_eq!(chosen(&request(&[private]), false), None);
        assert_eq!(chosen(&request(&[private, public]), false), Some((1, public)));
        assert_eq!(chosen(&request(&[private, public]), true), Some((0, private)));
        assert_eq!(chosen(&request(&[]), true), None);
    }
}
