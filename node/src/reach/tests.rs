use std::sync::{Arc, Mutex};

use futures::channel::mpsc;
use libp2p::{
    Multiaddr, StreamProtocol, Swarm,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
};
use session_protocols::{
    directory::Transport,
    libp2p::address::{endpoint, node_id},
};
use tokio::task::JoinHandle;

use super::{
    wire::{Frame, Said},
    *,
};
use crate::registry::Registry;

/// What of a node has to do with dials back.
#[derive(NetworkBehaviour)]
struct Streams {
    streams: libp2p_stream::Behaviour,
    arrivals: Arrivals,
}

/// A node that answers those who ask, and asks others.
struct Node {
    peer: PeerId,
    address: Endpoint,
    control: Control,
    wanted: watch::Sender<Wanted>,
    contacts: watch::Receiver<Contacts>,
    /// Whom it had a connection with, one entry for each.
    met: Arc<Mutex<Vec<PeerId>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Takes streams, once whoever took them before does not any more.
async fn accept(control: &mut Control, protocol: StreamProtocol) -> IncomingStreams {
    loop {
        if let Ok(streams) = control.accept(protocol.clone()) {
            break streams;
        }
        tokio::task::yield_now().await;
    }
}

/// Listens on loopback, and dials whoever is named.
async fn node(dials: &[&Node]) -> Node {
    let arrivals = Arrivals::default();
    let known = arrivals.clone();
    let mut swarm: Swarm<Streams> =
        stranger::swarm(|_| Streams { streams: libp2p_stream::Behaviour::new(), arrivals: known }).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse::<Multiaddr>().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break endpoint(&address).unwrap();
        }
    };
    let (peer, control) = (*swarm.local_peer_id(), swarm.behaviour().streams.new_control());
    let (wanted, wants) = watch::channel(Wanted::default());
    let (told, contacts) = watch::channel(Contacts::default());
    let reach =
        Reach::new(control.clone(), (arrivals, Places::new(Registry::of([]))), true, wants, told).unwrap();
    for other in dials {
        let options = DialOpts::peer_id(other.peer);
        let addresses = vec![session_protocols::libp2p::address::multiaddr(&other.address)];
        swarm.dial(options.addresses(addresses).build()).unwrap();
    }
    let met = Arc::new(Mutex::new(Vec::new()));
    let (meets, (mut ready, mut is_ready)) = (Arc::clone(&met), mpsc::channel(8));
    let run = async move {
        while let Some(event) = swarm.next().await {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = event {
                meets.lock().unwrap().push(peer_id);
                let _ = ready.try_send(());
            }
        }
    };
    let tasks = [tokio::spawn(run), tokio::spawn(reach.run())];
    for _ in dials {
        is_ready.next().await.unwrap();
    }
    Node { peer, address, control, wanted, contacts, met, tasks }
}

#[tokio::test]
async fn a_node_is_dialled_back_by_strangers() {
    let servers = [node(&[]).await, node(&[]).await];
    let [one, other] = &servers;
    let mut asks = node(&[one, other]).await;
    let by = |server: &Node| node_id(&server.peer).unwrap();
    asks.wanted.send_replace(Wanted {
        addresses: [asks.address].into(),
        changes: 0,
        servers: [(by(one), Prefix::V4([45, 1, 0])), (by(other), Prefix::V4([45, 2, 0]))].into(),
    });
    let address = asks.address;
    let told = asks.contacts.wait_for(|contacts| contacts.reached.verdicts.contains_key(&address));
    let verdict = told.await.unwrap().reached.verdicts[&address].clone();
    assert!(verdict.reached && verdict.said.len() == 2, "{verdict:?}");
    let said: BTreeSet<_> = verdict.said.iter().map(|word| word.by).collect();
    assert_eq!(said, BTreeSet::from([by(one), by(other)]));
    // The connections that were made for it are neither side's: nobody sends anything else over them.
    let met = asks.met.lock().unwrap().clone();
    assert!(met.len() == 4 && !met[2..].contains(&one.peer) && !met[2..].contains(&other.peer), "{met:?}");
    assert!(servers.iter().all(|server| *server.met.lock().unwrap() == [asks.peer]));
}

#[tokio::test]
async fn who_says_it_over_a_connection_that_was_there_has_not_come() {
    let liar = node(&[]).await;
    let mut control = liar.control.clone();
    let asks = node(&[&liar]).await;
    // It is asked in the place of the node that it is.
    liar.tasks[1].abort();
    let mut requests = accept(&mut control, wire::REQUEST).await;
    asks.wanted.send_replace(Wanted {
        addresses: [asks.address].into(),
        changes: 0,
        servers: [(node_id(&liar.peer).unwrap(), Prefix::V4([45, 1, 0]))].into(),
    });
    let (peer, mut stream) = requests.next().await.unwrap();
    assert_eq!(peer, asks.peer);
    let Frame { said: Some(Said::Request(request)) } = wire::receive(&mut stream).await.unwrap() else {
        panic!("something else is asked");
    };
    let mut back = control.open_stream(peer, wire::BACK).await.unwrap();
    // The stream may be closed by then.
    let _ = wire::send(&mut back, &Back { nonce: request.nonce }).await;
    assert!(wire::receive::<_, BackAnswer>(&mut back).await.is_err(), "nobody waited for that");
}

#[tokio::test]
async fn who_found_no_room_to_be_heard_says_it_again() {
    let node = node(&[]).await;
    node.tasks[1].abort();
    let mut backs = accept(&mut node.control.clone(), wire::BACK).await;
    let hears = async {
        drop(backs.next().await.unwrap());
        let (nonce, stream) = heard(backs.next().await.unwrap().1).await.unwrap();
        greet(stream).await;
        nonce
    };
    let (dialled, nonce) = tokio::join!(stranger::dial_back(node.peer, &node.address, 7), hears);
    assert_eq!((dialled, nonce), (Ok(()), 7));
}

#[test]
fn a_dial_comes_from_another_after_the_question_and_where_it_was_asked_to() {
    let (by, stranger) = (PeerId::random(), PeerId::random());
    let address = "/ip4/45.1.0.2/udp/22021/quic-v1".parse().unwrap();
    let question = Question { by, address, since: 7, came: false };
    let came = Came { number: 7, transport: Transport::Quic, four: true, prefix: None };
    assert!(question.expects(&stranger, &came));
    assert!(!question.expects(&by, &came));
    assert!(!question.expects(&stranger, &Came { number: 6, ..came }));
    assert!(!question.expects(&stranger, &Came { transport: Transport::Tcp, ..came }));
    assert!(!question.expects(&stranger, &Came { four: false, ..came }));
}

#[tokio::test]
async fn what_nobody_listens_on_and_who_answers_nothing_are_told_apart() {
    let server = node(&[]).await;
    let asks = node(&[&server]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = Endpoint { port: free, ..asks.address };
    let answer = ask::ask(asks.control.clone(), server.peer, address, 1).await;
    assert_eq!(answer, Answer::Missed("it could not connect".into()));
    // Another node is there, who proves to be another.
    let other = node(&[]).await;
    let answer = ask::ask(asks.control.clone(), server.peer, other.address, 1).await;
    assert_eq!(answer, Answer::Missed("it could not connect".into()));
    // Whoever does not know the nonce has not asked.
    let answer = ask::ask(asks.control.clone(), server.peer, asks.address, 1).await;
    assert_eq!(answer, Answer::Missed("it connected, and nobody answered".into()));
}
