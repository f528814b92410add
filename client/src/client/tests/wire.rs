//! What somebody sees who watches a client's line to its guards: the lengths of what is sealed.
//!
//! Bytes pass through a relay on loopback that stands where the nodes say that they are. It sees what a
//! capture of packets would show, needs no rights, and reads the lengths of Noise's messages, which stand
//! in the open.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use libp2p::{Multiaddr, multiaddr::Protocol as Part};
use session_protocols::{
    Namespace,
    onion::size::{Bucket, Position, answer_len, packet_len},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{account, fake::Net};
use crate::{Client, Cursors, client::TTL};

/// What was sealed on the line, by direction.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Mutex<BTreeMap<Way, Vec<usize>>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Up,
    Down,
}

impl Line {
    /// Stands before this address: the one that it is to be reached at.
    pub(super) async fn before(&self, address: &Multiaddr) -> Multiaddr {
        let (mut ip, mut port) = (None, None);
        for part in address {
            match part {
                Part::Ip4(address) => ip = Some(address),
                Part::Tcp(number) => port = Some(number),
                _ => {}
            }
        }
        let (ip, port) = (ip.unwrap(), port.unwrap());
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let shown = listener.local_addr().unwrap().port();
        let line = self.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect((ip, port)).await else { continue };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                tokio::spawn(line.clone().carry(Way::Up, from_near, to_far));
                tokio::spawn(line.clone().carry(Way::Down, from_far, to_near));
            }
        });
        format!("/ip4/{ip}/tcp/{shown}").parse().unwrap()
    }

    async fn carry(self, way: Way, mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
        let (mut buffer, mut pending) = (vec![0; 65_536], Vec::new());
        let mut agreed = false;
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            pending.extend(&buffer[..read]);
            self.note(way, &mut pending, &mut agreed);
            if to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    }

    /// Takes whole messages off the front. Those that agree on Noise begin with a length in one byte, which
    /// is never 0; those of Noise with one in two, of which the first of a handshake is.
    fn note(&self, way: Way, pending: &mut Vec<u8>, agreed: &mut bool) {
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
                self.0.lock().unwrap().entry(way).or_default().push(length);
            }
        }
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    /// The lengths of packets and answers that were there most often since the last time.
    fn usual(&self) -> [usize; 2] {
        let mut seen = std::mem::take(&mut *self.0.lock().unwrap());
        [Way::Up, Way::Down].map(|way| {
            let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
            // What carries no packet belongs to the streams: it opens them, and gives them room.
            for length in seen.remove(&way).unwrap_or_default().into_iter().filter(|length| *length > 1_024) {
                *counts.entry(length).or_default() += 1;
            }
            let (length, count) = counts.into_iter().max_by_key(|(_, count)| *count).unwrap();
            assert!(count >= usize::from(ROUNDS), "{way:?}: {count} of {length} bytes");
            length
        })
    }
}

/// How often each thing is done: paths are made beside it, which looks the same, but may share a message.
const ROUNDS: u8 = 10;

async fn poll(client: &Client, number: u8) -> usize {
    let mut cursors = Cursors::new();
    client.retrieve(&account(number), Namespace::INBOX, &mut cursors).await.unwrap().messages.len()
}

#[tokio::test]
async fn on_the_line_a_short_store_an_empty_poll_and_a_poll_of_one_message_have_one_size() {
    let line = Line::default();
    let net = Net::watched(8, line.clone()).await;
    let client = net.hidden().await;
    let (one, none, other) = (3, 4, 5);
    client.send(&account(one), &account(one).id(), "short").await.unwrap();
    poll(&client, none).await;
    line.forget();
    for _ in 0..ROUNDS {
        assert_eq!(poll(&client, none).await, 0);
    }
    let empty = line.usual();
    for _ in 0..ROUNDS {
        assert_eq!(poll(&client, one).await, 1);
    }
    let full = line.usual();
    for round in 0..ROUNDS {
        client.send(&account(other), &account(other).id(), &format!("short {round}")).await.unwrap();
    }
    let store = line.usual();
    assert_eq!((empty, full), (store, store));
    let small = Bucket::ALL[0];
    assert!(empty[0] > packet_len(small, Position::Guard) && empty[1] > answer_len(small, Position::Guard));
    // A larger one does not: the capture would show a difference.
    for round in 0..ROUNDS {
        client.store(&account(other).id(), Namespace::INBOX, vec![round; 3_000], TTL, None).await.unwrap();
    }
    assert_ne!(line.usual(), store);
}
