//! What a neighbour is answered, over a stream in memory.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    task::{Context, Poll},
};

use futures::io::Cursor;
use serde_json::json;
use session_protocols::{
    KeyPair, Span,
    answer::RULES,
    door::{
        nodes::Listing,
        onion::{
            Cipher, DoorKey, Layer, NONCE,
            wrap::{Answer, Hop, Question, wrap},
        },
    },
};

use super::*;
use crate::{
    door::{Behind, Call, Caller, Service, outside::Outside},
    readme,
    registry::Registry,
};

/// Longer than anything takes.
const PATIENT: Duration = Duration::from_secs(600);
/// How long what never comes is waited for.
const SHORT: Duration = Duration::from_millis(20);

/// A neighbour's stream: what it sends, after which it ends or stays open, and what it is told.
#[derive(Debug)]
struct Pipe {
    sent: Cursor<Vec<u8>>,
    ends: bool,
    told: Vec<u8>,
}

impl Pipe {
    fn new(sent: Vec<u8>, ends: bool) -> Self {
        Self { sent: Cursor::new(sent), ends, told: Vec::new() }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.sent).poll_read(context, into) {
            Poll::Ready(Ok(0)) if !self.ends => Poll::Pending,
            read @ (Poll::Ready(_) | Poll::Pending) => read,
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.told).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Says over whom it was asked, or nothing.
struct Says(bool);

impl Service for Says {
    fn answer(&self, call: Call, _: Room) -> BoxFuture<'static, Reply> {
        let says = self.0;
        Box::pin(async move {
            if !says {
                std::future::pending::<()>().await;
            }
            let Caller::Onion(Some(node)) = call.caller else { panic!("it came over a node") };
            Reply::text(404, node.to_string())
        })
    }
}

/// Reaches nobody.
struct Alone;

impl Carry for Alone {
    fn carry(&self, _: NodeId, _: Passed) -> BoxFuture<'static, Result<Told, Lost>> {
        Box::pin(async { Err(Lost::NotFound) })
    }
}

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

fn neighbour(seed: u8) -> NodeId {
    pair(seed).node_id()
}

/// What serves the neighbours of the first node.
fn host(says: bool) -> Host {
    let me = pair(1);
    let listing = watch::channel(Arc::new(Listing::new(Vec::new(), 0, RULES))).1;
    let (service, carry) = (Arc::new(Says(says)), Arc::new(Alone));
    let behind = Behind { me: me.node_id(), service, carry, listing };
    let outside = Outside::new(&BTreeSet::new());
    Host::new(Arc::new(Onions { key: DoorKey::of(&me).unwrap(), outside, behind }))
}

/// A request for the first node as a neighbour passes it on, and what opens the answer.
fn passed(hops: u8) -> (Vec<u8>, Answer) {
    let hop = Hop { node: neighbour(1), cipher: Cipher::AesGcm, secret: [7; 32], nonce: [8; NONCE] };
    let (packet, answer) = wrap(&[hop], &Question::request(b"{}", true, false)).unwrap();
    let layer = Layer::read(&packet).unwrap();
    (Passed { hops, layer }.encode(), answer)
}

/// The status and the body that a neighbour is told.
async fn told(host: &Host, node: NodeId, mut pipe: Pipe) -> (u16, Vec<u8>) {
    host.serve(node, &mut pipe).await;
    let (status, body) = pipe.told.split_first_chunk().expect("a status");
    (u16::from_be_bytes(*status), body.to_vec())
}

async fn refused(host: &Host, node: NodeId, pipe: Pipe) -> (u16, String) {
    let (status, body) = told(host, node, pipe).await;
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_neighbour_is_told_a_status_in_two_bytes_and_then_what_is_sealed() {
    let (request, answer) = passed(3);
    let (status, body) = told(&host(true), neighbour(2), Pipe::new(request, true)).await;
    let opened = answer.open(&body, false).expect("sealed for the client");
    let expected = (200, &json!(404), &json!(neighbour(2).to_string()));
    assert_eq!((status, &opened["status"], &opened["body"]), expected);
}

#[tokio::test]
async fn what_is_no_layer_or_too_long_or_never_ends_is_refused() {
    let mut host = host(true);
    host.frame_time = SHORT;
    let node = neighbour(2);
    for odd in [Vec::new(), vec![0; 33], vec![0xff; 100]] {
        let said = refused(&host, node, Pipe::new(odd, true)).await;
        assert_eq!(said, (400, "Invalid onion request".to_owned()));
    }
    // It is one, and was sealed for somebody else.
    let said = refused(&host, node, Pipe::new(vec![0; 100], true)).await;
    assert_eq!(said, (400, "Invalid ciphertext".to_owned()));
    let (sent, _) = passed(1);
    assert_eq!(refused(&host, node, Pipe::new(sent, false)).await.0, 408);
    host.frame_time = FRAME;
    assert_eq!(refused(&host, node, Pipe::new(vec![0; MAX_PASSED + 1], true)).await.0, 413);
}

#[tokio::test]
async fn an_answer_that_is_not_made_in_time_is_given_up() {
    let mut host = host(false);
    host.answer_time = SHORT;
    assert_eq!(refused(&host, neighbour(2), Pipe::new(passed(1).0, true)).await.0, 504);
}

#[tokio::test]
async fn a_neighbour_that_asks_too_often_is_told_so_and_the_others_are_not() {
    let host = host(true);
    // As if it had just asked as much as it may at once, by a clock that goes before, so that nothing is added.
    let ahead = now().after(Span::secs(3_600));
    {
        let mut rates = host.rates.lock().unwrap();
        assert!(rates.take(neighbour(2), ahead, RATE.burst) && !rates.take(neighbour(2), ahead, 1));
    }
    assert_eq!(refused(&host, neighbour(2), Pipe::new(passed(1).0, true)).await.0, 429);
    assert_eq!(told(&host, neighbour(3), Pipe::new(passed(1).0, true)).await.0, 200);
}

#[tokio::test]
async fn a_neighbour_that_holds_all_its_memory_is_read_no_further_and_the_others_are() {
    let host = host(true);
    let mut held = host.memory.hold(neighbour(2));
    assert!(held.grow(MEMORY_EACH) && !held.grow(MEMORY_EACH + 1));
    assert_eq!(refused(&host, neighbour(2), Pipe::new(passed(1).0, true)).await.0, 503);
    assert_eq!(told(&host, neighbour(3), Pipe::new(passed(1).0, true)).await.0, 200);
    drop(held);
    assert_eq!(told(&host, neighbour(2), Pipe::new(passed(1).0, true)).await.0, 200);
}

#[test]
fn the_readme_says_how_much_neighbours_may_have() {
    let limit = |what| readme::limit("The door for the clients that exist", what);
    let (each, total) = (EACH as u64, TOTAL as u64);
    assert_eq!(limit("onion requests handed on to a node"), [each, total]);
    let Rate { per_second, burst } = RATE;
    let memory = [MEMORY_EACH, MEMORY].map(|bytes| bytes as u64 >> 20);
    let numbers = [each, total, per_second.into(), burst.into(), memory[0], memory[1]];
    assert_eq!(limit("those that a node hands on to this one"), numbers);
}

#[tokio::test]
async fn no_more_is_handed_on_to_a_neighbour_than_may_be_under_way_with_it() {
    let (to, streams) = (neighbour(2), libp2p_stream::Behaviour::new());
    let relay = Relay::new(&"test".parse().unwrap(), streams.new_control(), Registry::of([to])).unwrap();
    let ask = |to| {
        let passed = Passed::decode(passed(1).0).unwrap();
        relay.clone().ask(to, passed).now_or_never()
    };
    let held: Vec<_> = (0..EACH).map(|_| Seat::take(&relay.asking, to).unwrap()).collect();
    assert_eq!(ask(to), Some(Err(Lost::Busy)));
    drop(held);
    assert_eq!(ask(to), None, "it is on its way");
    assert_eq!(ask(neighbour(3)), Some(Err(Lost::NotFound)), "nobody knows it");
}

#[tokio::test]
async fn a_stream_that_nobody_took_is_opened_anew_and_what_was_answered_is_not_asked_again() {
    let memory = Memory::new(MEMORY_EACH, MEMORY);
    let ask = async |answers: Vec<&[u8]>| {
        let left = Mutex::new(answers.into_iter().map(<[u8]>::to_vec).collect::<VecDeque<_>>());
        let open = || {
            std::future::ready(
                lock(&left).pop_front().map(|sent| Pipe::new(sent, true)).ok_or(Lost::NotFound),
            )
        };
        let told = heard(open, b"layer", || memory.hold(neighbour(2)), PATIENT).await;
        let left = lock(&left).len();
        (told.map(|told| (told.status, told.body)), left)
    };
    assert_eq!(ask(vec![b"", b"", b"\x00\xc8sealed", b""]).await, (Ok((200, b"sealed".to_vec())), 1));
    // Something was said, and is no answer.
    assert_eq!(ask(vec![b"\x00", b"\x00\xc8sealed"]).await, (Err(Lost::Silent), 1));
    assert_eq!(ask(vec![b"\x00\x01sealed", b""]).await, (Err(Lost::Silent), 1));
    assert_eq!(ask(vec![b""; AGAIN.len() + 2]).await, (Err(Lost::Silent), 1), "it ends");
    assert_eq!(ask(vec![b""]).await, (Err(Lost::Silent), 0), "the neighbour has gone");
    assert_eq!(ask(vec![]).await, (Err(Lost::NotFound), 0), "it was not there");
}

#[tokio::test]
async fn what_may_have_been_done_is_not_handed_over_again() {
    let (memory, opened) = (Memory::new(MEMORY_EACH, MEMORY), Mutex::new(0));
    let open = || {
        *lock(&opened) += 1;
        std::future::ready(Ok(Pipe::new(Vec::new(), true)))
    };
    // However soon it ends, it is too late.
    let told = heard(open, b"layer", || memory.hold(neighbour(2)), Duration::ZERO).await;
    assert_eq!((told, *lock(&opened)), (Err(Lost::Silent), 1));
}

#[test]
fn seats_are_so_many_for_each_neighbour_and_in_all() {
    let seats = seats();
    let mut held = Vec::new();
    let take = |seed| (0..=EACH).filter_map(|_| Seat::take(&seats, neighbour(seed))).collect::<Vec<_>>();
    for seed in 1..=9 {
        held.push(take(seed).len());
    }
    assert_eq!(held, [EACH; 9], "what is given back is free again");
    let taken: Vec<_> = (1..=9).map(take).collect();
    assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), TOTAL);
}
