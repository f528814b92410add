//! Asks a node in contact to dial this one (AutoNAT v2).

use std::{io, time::Duration};

use libp2p::{PeerId, Stream};
use libp2p_stream::Control;
use session_protocols::{directory::Endpoint, libp2p::address::multiaddr};
use tokio::time::timeout;

use super::{
    rounds::Answer,
    wire::{self, Data, Frame, MAX_DATA, NO_ANSWER, NO_CONNECTION, OK, Request, Said},
};

/// How long it may take to ask.
const OPEN: Duration = Duration::from_secs(10);
/// How long the dial may take after that.
const VERDICT: Duration = Duration::from_secs(20);
/// The most that is sent to whoever wants data first, in bytes; the specification's own limit.
const MAX_BYTES: u64 = 100_000;

/// What a node says that was asked to dial an address and to say `nonce` there. Whether it did so has to be looked
/// at by whoever listens there.
pub(super) async fn ask(mut control: Control, peer: PeerId, address: Endpoint, nonce: u64) -> Answer {
    match exchange(&mut control, peer, &address, nonce).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(%peer, %address, %error, "asked in vain for a dial back");
            Answer::Refused
        }
    }
}

async fn exchange(control: &mut Control, peer: PeerId, address: &Endpoint, nonce: u64) -> io::Result<Answer> {
    let asked = async {
        let mut stream = control.open_stream(peer, wire::REQUEST).await.map_err(io::Error::other)?;
        let addresses = vec![multiaddr(address).to_vec()];
        wire::send(&mut stream, &Frame::of(Said::Request(Request { addresses, nonce }))).await?;
        let Frame { said } = wire::receive(&mut stream).await?;
        if let Some(Said::Wants(wants)) = said {
            pay(&mut stream, wants.bytes).await?;
            return Ok((stream, None));
        }
        io::Result::Ok((stream, said))
    };
    let (mut stream, said) = timeout(OPEN, asked).await??;
    let said = match said {
        Some(said) => Some(said),
        None => match timeout(VERDICT, wire::receive(&mut stream)).await {
            Ok(frame) => {
                let Frame { said } = frame?;
                said
            }
            Err(_) => return Ok(Answer::Missed(format!("it said nothing in {} s", VERDICT.as_secs()))),
        },
    };
    Ok(match said {
        Some(Said::Answer(answer)) if answer.status == OK => match answer.dialled {
            OK => Answer::Reached,
            NO_CONNECTION => Answer::Missed("it could not connect".into()),
            NO_ANSWER => Answer::Missed("it connected, and nobody answered".into()),
            _ => Answer::Refused,
        },
        Some(Said::Answer(_) | Said::Request(_) | Said::Wants(_) | Said::Data(_)) | None => Answer::Refused,
    })
}

/// Sends so much data: it has to cost whoever asks more than the dial costs whoever is dialled.
async fn pay(stream: &mut Stream, bytes: u64) -> io::Result<()> {
    if bytes > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too much data is wanted"));
    }
    let mut left = usize::try_from(bytes).unwrap_or_default();
    while left > 0 {
        let data = vec![0; left.min(MAX_DATA)];
        left -= data.len();
        wire::send(stream, &Frame::of(Said::Data(Data { data }))).await?;
    }
    Ok(())
}
