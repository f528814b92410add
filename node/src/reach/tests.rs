use std::sync::{Arc, Mutex};

use futures::channel::mpsc;
use libp2p::{
    Multiaddr, Swarm,
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use session_protocols::libp2p::address::{endpoint, node_id};
use tokio::task::JoinHandle;

use super::*;

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

/// Listens on loopback, and dials whoever is named.
async fn node(dials: Option<&Node>) -> Node {
    let mut swarm: Swarm<libp2p_stream::Behaviour> =
        stranger::swarm(|_| libp2p_stream::Behaviour::new()).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse::<Multiaddr>().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break endpoint(&address).unwrap();
        }
    };
    let (peer, control) = (*swarm.local_peer_id(), swarm.behaviour().new_control());
    let (wanted, wants) = watch::channel(Wanted::default());
    let (told, contacts) = watch::channel(Contacts::default());
    let reach = Reach::new(control.clone(), true, wants, told).unwrap();
    if let Some(other) = dials {
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
    if dials.is_some() {
        is_ready.next().await.unwrap();
    }
    Node { peer, address, control, wanted, contacts, met, tasks }
}

#[tokio::test]
async fn a_node_is_dialled_back_by_a_stranger() {
    let server = node(None).await;
    let mut asks = node(Some(&server)).await;
    let by = node_id(&server.peer).unwrap();
    asks.wanted.send_replace(Wanted {
        addresses: [asks.address].into(),
        changes: 0,
        servers: [(by, Prefix::V4([45, 1, 0]))].into(),
    });
    let address = asks.address;
    let told = asks.contacts.wait_for(|contacts| contacts.reached.verdicts.contains_key(&address));
    let verdict = told.await.unwrap().reached.verdicts[&address].clone();
    assert!(verdict.reached, "{verdict:?}");
    assert_eq!(verdict.word().map(|word| word.by), Some(by));
    // The connection that was made for it is neither side's: nobody sends anything else over it.
    let (met, met_server) = (asks.met.lock().unwrap().clone(), server.met.lock().unwrap().clone());
    assert!(met.len() == 2 && met[0] == server.peer && !met[1..].contains(&server.peer), "{met:?}");
    assert_eq!(met_server, [asks.peer]);
}

#[tokio::test]
async fn what_nobody_listens_on_and_who_answers_nothing_are_told_apart() {
    let server = node(None).await;
    let asks = node(Some(&server)).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = Endpoint { port: free, ..asks.address };
    let answer = ask::ask(asks.control.clone(), server.peer, address, 1).await;
    assert_eq!(answer, Answer::Missed("it could not connect".into()));
    // Another node is there, who proves to be another.
    let other = node(None).await;
    let answer = ask::ask(asks.control.clone(), server.peer, other.address, 1).await;
    assert_eq!(answer, Answer::Missed("it could not connect".into()));
    // Whoever does not know the nonce has not asked.
    let answer = ask::ask(asks.control.clone(), server.peer, asks.address, 1).await;
    assert_eq!(answer, Answer::Missed("it connected, and nobody answered".into()));
}
