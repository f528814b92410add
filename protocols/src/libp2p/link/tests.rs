use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{FutureExt, executor::LocalPool, future::join, task::LocalSpawnExt};

use super::*;

/// Bytes that the links of a host may hold here.
const BACKLOG: usize = 32 << 20;

fn limits(max_in: usize, window: usize) -> Limits {
    Limits { max_in, window, backlog: Backlog::new(BACKLOG) }
}

fn some() -> Limits {
    limits(1_000, 8)
}

/// One direction of a stream in memory, of bounded capacity.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    wakers: Vec<Waker>,
    /// The most room that a reader had ready at once.
    offered: usize,
}

impl Pipe {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

struct Side {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
}

fn pair(capacity: usize) -> (Side, Side) {
    let pipe = || Arc::new(Mutex::new(Pipe { capacity, ..Pipe::default() }));
    let (there, back) = (pipe(), pipe());
    let one = Side { incoming: Arc::clone(&back), outgoing: Arc::clone(&there) };
    (one, Side { incoming: there, outgoing: back })
}

impl AsyncRead for Side {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.incoming);
        pipe.offered = pipe.offered.max(into.len());
        if pipe.bytes.is_empty() && !pipe.closed {
            pipe.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        let len = into.len().min(pipe.bytes.len());
        for (to, from) in into.iter_mut().zip(pipe.bytes.drain(..len)) {
            *to = from;
        }
        pipe.wake();
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Side {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.outgoing);
        let len = from.len().min(pipe.capacity.saturating_sub(pipe.bytes.len()));
        if len == 0 {
            pipe.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes.extend(&from[..len]);
        pipe.wake();
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.outgoing);
        pipe.closed = true;
        pipe.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let mut pipe = lock(&self.outgoing);
        pipe.closed = true;
        pipe.wake();
    }
}

/// A pause that is over as soon as anybody has to wait.
fn impatient() -> future::Ready<()> {
    future::ready(())
}

fn frame(id: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&Head { len, id, kind }.encode(), payload].concat()
}

/// How a link ends that is sent these bytes and, if `closed`, the end of the stream.
fn end_of(bytes: &[u8], closed: bool) -> End {
    let (client, server) = pair(usize::MAX);
    lock(&client.outgoing).bytes.extend(bytes);
    lock(&client.outgoing).closed = closed;
    let (requests, run) = serve_within(server, some(), impatient);
    let answered = requests.for_each(|incoming| incoming.reply.answer(incoming.payload));
    futures::executor::block_on(join(run, answered)).0
}

#[test]
fn conversations_share_a_stream_and_are_answered_in_any_order() {
    let (client, server) = pair(64);
    let (asker, ask) = open(client, some());
    let (mut requests, serve) = serve(server, some());
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(ask.map(drop)).unwrap();
    pool.spawner().spawn_local(serve.map(drop)).unwrap();
    pool.run_until(async move {
        let both = join(asker.ask(vec![1; 300]), asker.ask(vec![2; 200]));
        let answer = async {
            let first = requests.next().await.unwrap();
            let second = requests.next().await.unwrap();
            assert_eq!((first.payload.len(), second.payload.len()), (300, 200));
            second.reply.answer(vec![4]).await;
            first.reply.answer(vec![3]).await;
        };
        let ((first, second), ()) = join(both, answer).await;
        assert_eq!((first, second), (Ok(vec![3]), Ok(vec![4])));
        // Whoever gets no answer is told that none comes.
        let unanswered = join(asker.ask(vec![5]), async { drop(requests.next().await) }).await.0;
        assert_eq!(unanswered, Err(LinkError::Closed));
    });
}

#[test]
fn what_is_no_frame_ends_the_link_as_garbage() {
    let huge = Head { len: 1_001, id: 1, kind: Kind::Request }.encode();
    assert_eq!(end_of(&huge, false), End::Garbage, "longer than allowed");
    assert_eq!(end_of(&[0, 0, 0, 0, 0, 0, 0, 1, 9], false), End::Garbage, "unknown kind");
    assert_eq!(end_of(&frame(1, Kind::Answer, b"no"), false), End::Garbage, "not its to send");
    assert_eq!(end_of(&frame(1, Kind::Event, b"no"), false), End::Garbage, "not its to send");
    let whole = frame(1, Kind::Request, b"a question");
    for len in 1..whole.len() {
        assert_eq!(end_of(&whole[..len], true), End::Garbage, "cut short after {len} bytes");
    }
    assert_eq!(end_of(&whole, true), End::Closed);
    assert_eq!(end_of(&[], true), End::Closed);
}

#[test]
fn a_frame_that_is_left_unfinished_ends_the_link() {
    let whole = frame(1, Kind::Request, b"a question");
    for len in 1..whole.len() {
        assert_eq!(end_of(&whole[..len], false), End::Slow, "{len} bytes");
    }
}

#[test]
fn a_stream_may_rest_between_two_frames() {
    let (client, server) = pair(usize::MAX);
    lock(&client.outgoing).bytes.extend(frame(1, Kind::Request, b"a question"));
    let (mut requests, run) = serve_within(server, some(), impatient);
    let mut pool = LocalPool::new();
    let run = pool.spawner().spawn_local_with_handle(run).unwrap();
    pool.run_until_stalled();
    let first = pool.run_until(requests.next()).unwrap();
    pool.run_until_stalled();
    assert!(run.now_or_never().is_none(), "the link rests");
    drop(first);
}

#[test]
fn memory_follows_what_arrives_and_not_what_is_announced() {
    let (client, server) = pair(usize::MAX);
    let announced = Head { len: 1 << 30, id: 1, kind: Kind::Request }.encode();
    lock(&client.outgoing).bytes.extend(announced);
    lock(&client.outgoing).bytes.extend([0; 100]);
    let (_requests, run) = serve_within(server, limits(1 << 30, 1), impatient);
    assert_eq!(futures::executor::block_on(run), End::Slow);
    let offered = lock(&client.outgoing).offered;
    assert!(offered <= 2 * CHUNK, "{offered} bytes were made ready");
}

#[test]
fn whoever_does_not_take_answers_is_cut_off() {
    let (client, server) = pair(100);
    lock(&client.outgoing).bytes.extend(frame(1, Kind::Request, b"a question"));
    let (requests, run) = serve_within(server, some(), impatient);
    let answered = requests.for_each(|incoming| incoming.reply.answer(vec![0; 10_000]));
    assert_eq!(futures::executor::block_on(join(run, answered)).0, End::Slow);
    drop(client);
}

#[test]
fn answers_that_nobody_takes_do_not_pile_up() {
    const ASKED: usize = 40;
    const ANSWER: usize = 1 << 20;
    let (client, server) = pair(64 * 1024);
    for id in 0..ASKED {
        let request = frame(u32::try_from(id).unwrap(), Kind::Request, b"a question");
        lock(&client.outgoing).bytes.extend(request);
    }
    let (requests, run) = serve(server, limits(1_000, 64));
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(run.map(drop)).unwrap();
    // All are asked before the first is answered: who has so much waiting may ask for nothing more.
    let asked: Vec<_> = pool.run_until(requests.take(ASKED).collect());
    for incoming in asked {
        pool.spawner().spawn_local(incoming.reply.answer(vec![0; ANSWER])).unwrap();
    }
    pool.run_until_stalled();
    let (mut answers, mut closes) = (0, 0);
    let mut reader = client;
    pool.run_until(async {
        while answers + closes < ASKED {
            let share = Backlog::new(usize::MAX);
            let frame = read_frame(&mut reader, ANSWER, &share, &future::pending::<()>).await;
            let (head, ..) = frame.unwrap();
            match head.kind {
                Kind::Answer => answers += 1,
                Kind::Close => closes += 1,
                Kind::Request | Kind::Event => panic!("{head:?}"),
            }
        }
    });
    // One link gets half, and one answer may be under way.
    let most = BACKLOG / 2 / ANSWER + 1;
    assert!(answers <= most && closes == ASKED - answers, "{answers} answers, {closes} closed");
}

#[test]
fn the_window_holds_the_other_side_back() {
    let (client, server) = pair(usize::MAX);
    for id in 0..100 {
        lock(&client.outgoing).bytes.extend(frame(id, Kind::Request, b"a question"));
    }
    let (mut requests, run) = serve(server, some());
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(run.map(drop)).unwrap();
    let mut held = Vec::new();
    loop {
        pool.run_until_stalled();
        let Ok(incoming) = requests.try_recv() else { break };
        held.push(incoming);
    }
    assert_eq!(held.len(), some().window);
    drop(held.pop());
    pool.run_until_stalled();
    assert!(requests.try_recv().is_ok(), "one is answered, one more is read");
}

#[test]
fn whoever_sends_more_than_there_is_memory_for_is_cut_off() {
    let (client, server) = pair(usize::MAX);
    let backlog = Backlog::new(3 * CHUNK);
    let held = Limits { max_in: 1 << 20, window: 64, backlog: backlog.clone() };
    lock(&client.outgoing).bytes.extend(frame(1, Kind::Request, &vec![0; CHUNK]));
    lock(&client.outgoing).bytes.extend(frame(2, Kind::Request, &vec![0; 2 * CHUNK]));
    let (mut requests, run) = serve(server, held);
    let mut pool = LocalPool::new();
    let run = pool.spawner().spawn_local_with_handle(run).unwrap();
    pool.run_until_stalled();
    let first = requests.try_recv().unwrap();
    assert_eq!(pool.run_until(run), End::Crowded, "the second would fill the memory of all");
    assert_eq!(backlog.held(), CHUNK, "the first is counted until it is answered");
    drop(first);
    assert_eq!(backlog.held(), 0);
}

#[test]
fn a_subscriber_that_takes_less_than_it_asked_for_is_let_go() {
    let (client, server) = pair(64);
    lock(&client.outgoing).bytes.extend(frame(1, Kind::Request, b"subscribe"));
    let held = Limits { max_in: 1_000, window: 64, backlog: Backlog::new(8 * CHUNK) };
    let (mut requests, run) = serve(server, held);
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(run.map(drop)).unwrap();
    let pushed = pool.run_until(async {
        let mut pusher = requests.next().await.unwrap().reply.accept(Vec::new()).await.unwrap();
        for pushed in 0.. {
            if let Err(error) = pusher.push(vec![0; CHUNK]).await {
                return (pushed, error);
            }
        }
        unreachable!()
    });
    assert_eq!(pushed, (4, LinkError::Busy), "half of what all may hold");
    drop(client);
}

#[test]
fn whoever_takes_no_answers_may_ask_for_no_more() {
    let (client, server) = pair(64);
    for id in 0..100 {
        lock(&client.outgoing).bytes.extend(frame(id, Kind::Request, b"a question"));
    }
    let (mut requests, run) = serve(server, some());
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(run.map(drop)).unwrap();
    let mut asked = 0;
    loop {
        pool.run_until_stalled();
        let Ok(incoming) = requests.try_recv() else { break };
        // Answered or not, each stays in the window until the other side has heard of it.
        if asked % 2 == 0 {
            pool.spawner().spawn_local(incoming.reply.answer(vec![0; 100])).unwrap();
        }
        asked += 1;
    }
    assert!(asked < 2 * some().window, "{asked}");
}

#[test]
fn requests_that_nobody_waits_for_any_more_do_not_pile_up() {
    const REQUEST: usize = 100;
    let (client, server) = pair(64);
    let held = limits(1_000, 4);
    let backlog = held.backlog.clone();
    let (asker, run) = open(client, held);
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(run.map(drop)).unwrap();
    let mut taken = 0;
    for _ in 0..1_000 {
        let mut asked = Box::pin(asker.ask(vec![0; REQUEST]));
        match (&mut asked).now_or_never() {
            None => taken += 1,
            Some(answer) => assert_eq!(answer, Err(LinkError::Busy)),
        }
        pool.run_until_stalled();
    }
    // Four for each that may be under way, behind the one that is being written.
    assert_eq!(taken, 17, "wait at somebody who reads nothing");
    assert!(backlog.held() >= REQUEST && backlog.held() <= taken * REQUEST, "{}", backlog.held());
    // Once it reads it hears of what was begun alone, and of whatever is asked from then on.
    let (requests, run) = serve(server, some());
    pool.spawner().spawn_local(run.map(drop)).unwrap();
    let requests: Vec<_> = {
        let asked = asker.ask(b"last".to_vec());
        let answered = requests.then(|incoming| async move {
            let payload = incoming.payload.clone();
            incoming.reply.answer(b"yes".to_vec()).await;
            payload
        });
        let mut seen = Box::pin(answered);
        let heard = async {
            let mut heard = Vec::new();
            while let Some(payload) = seen.next().await {
                heard.push(payload.clone());
                if payload == b"last" {
                    break;
                }
            }
            heard
        };
        pool.run_until_stalled();
        let (heard, answer) = pool.run_until(join(heard, asked));
        assert_eq!(answer, Ok(b"yes".to_vec()));
        heard
    };
    assert!(requests.len() < taken, "{} of {taken} were sent for nobody", requests.len());
    assert_eq!(backlog.held(), 0);
}

#[test]
fn requests_take_no_more_memory_than_there_is() {
    let (client, server) = pair(64);
    let backlog = Backlog::new(8 * CHUNK);
    let (asker, run) = open(client, Limits { max_in: 1_000, window: 64, backlog: backlog.clone() });
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(run.map(drop)).unwrap();
    let mut asked: Vec<_> = (0..10).map(|_| Box::pin(asker.ask(vec![0; CHUNK]))).collect();
    let refused = asked.iter_mut().filter_map(|ask| ask.now_or_never());
    assert_eq!(refused.collect::<Vec<_>>(), vec![Err(LinkError::Busy); 6], "half of it is for one link");
    drop(asked);
    drop(server);
    pool.run_until_stalled();
    assert_eq!(backlog.held(), 0);
}
