//! The other half: dials nodes back that ask whether they are reached (AutoNAT v2), as a stranger.
//!
//! Whoever asks names any address it likes, and pays for it with more bytes than it costs to dial. Outside of a
//! local network none is dialled that is not everybody's: nobody searches this machine's neighbourhood through it.

use std::{io, time::Duration};

use libp2p::{Multiaddr, PeerId, Stream};
use session_protocols::{directory::Endpoint, libp2p::address::endpoint};
use tokio::time::timeout;

use super::{
    stranger::{self, Missed},
    wire::{self, Answer, Frame, NO_ANSWER, NO_CONNECTION, OK, REFUSED, Request, Said, Wants},
};

/// How long one may take, the dial with it.
const PATIENCE: Duration = Duration::from_secs(20);
/// The data that is wanted before a dial, in bytes: the least that the specification knows.
const DATA: u64 = 30_000;
/// Messages that it may come in.
const MAX_PARTS: u64 = 1_000;

/// Answers one request over its stream.
pub(super) async fn serve(mut stream: Stream, peer: PeerId, local: bool) {
    let served = timeout(PATIENCE, answer(&mut stream, peer, local)).await;
    if let Err(error) = served.map_err(io::Error::from).and_then(|done| done) {
        // Whoever asks may be a client: it is not named.
        tracing::debug!(%error, "a dial back was not answered");
    }
}

async fn answer(stream: &mut Stream, peer: PeerId, local: bool) -> io::Result<()> {
    let Frame { said: Some(Said::Request(request)) } = wire::receive(stream).await? else {
        return Err(unexpected());
    };
    let Some((index, address)) = chosen(&request, local) else {
        let answer = Answer { status: REFUSED, index: 0, dialled: 0 };
        return wire::send(stream, &Frame::of(Said::Answer(answer))).await;
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
    let dialled = match stranger::dial_back(peer, &address, request.nonce).await {
        Ok(()) => OK,
        Err(Missed::Connection) => NO_CONNECTION,
        Err(Missed::Answer) => NO_ANSWER,
    };
    wire::send(stream, &Frame::of(Said::Answer(Answer { status: OK, index, dialled }))).await
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
