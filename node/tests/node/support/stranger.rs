//! Somebody who speaks to a node, well or badly.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identity, noise, quic,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use session_protocols::{
    AccountId, KeyPair, Namespace, NetworkName, Protocol, Time,
    answer::{Answer, Body, Code},
    codec,
    directory::{self, NodeRecord, Transport},
    libp2p::{
        address::{keypair, multiaddr, peer_id},
        link::{self, Asker, Backlog, Limits},
    },
    notify::{self, Subscribed},
    request::{Auth, Request, Retrieve, Store},
};

use super::Plan;

/// A connection to one node.
pub struct Stranger {
    control: libp2p_stream::Control,
    node: PeerId,
    network: NetworkName,
    task: tokio::task::JoinHandle<()>,
}

impl Stranger {
    /// A nobody.
    pub async fn meet(plan: &Plan, node: usize) -> Self {
        Self::with_key(identity::Keypair::generate_ed25519(), plan, node).await
    }

    /// Whoever holds the key of the node `own`.
    pub async fn meet_as(own: usize, plan: &Plan, node: usize) -> Self {
        Self::with_key(keypair(&plan.pair(own)).unwrap(), plan, node).await
    }

    /// Whoever holds `key`, over TCP, whose streams end where they are ended.
    async fn with_key(key: identity::Keypair, plan: &Plan, node: usize) -> Self {
        let streams = libp2p_stream::Behaviour::new();
        let control = streams.new_control();
        let swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| streams)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(super::PATIENCE))
            .build();
        Self::dial(swarm, control, plan, (node, Transport::Tcp)).await
    }

    /// Whoever holds `key`, over QUIC, and is sent so many bytes of a stream ahead of what is read of it.
    pub async fn narrow(key: &identity::Keypair, plan: &Plan, node: usize, window: u32) -> Self {
        let streams = libp2p_stream::Behaviour::new();
        let control = streams.new_control();
        let swarm = SwarmBuilder::with_existing_identity(key.clone())
            .with_tokio()
            .with_quic_config(|config: quic::Config| {
                let mut config = config;
                config.max_stream_data = window;
                config
            })
            .with_behaviour(|_| streams)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(super::PATIENCE))
            .build();
        Self::dial(swarm, control, plan, (node, Transport::Quic)).await
    }

    async fn dial(
        mut swarm: Swarm<libp2p_stream::Behaviour>,
        control: libp2p_stream::Control,
        plan: &Plan,
        (node, transport): (usize, Transport),
    ) -> Self {
        let peer = peer_id(&plan.network.nodes[node].id).unwrap();
        let endpoint = plan.listen[node].iter().find(|endpoint| endpoint.transport == transport).unwrap();
        swarm.dial(DialOpts::peer_id(peer).addresses(vec![multiaddr(endpoint)]).build()).unwrap();
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("no connection: {error}"),
                _ => {}
            }
        }
        let task = tokio::spawn(async move { while swarm.next().await.is_some() {} });
        Self { control, node: peer, network: plan.network.name.clone(), task }
    }

    /// Opens a stream of a protocol.
    pub async fn open(&self, protocol: Protocol) -> Stream {
        let name = StreamProtocol::try_from_owned(self.network.protocol(protocol)).unwrap();
        self.control.clone().open_stream(self.node, name).await.unwrap()
    }

    /// Takes the streams of a protocol that the node opens.
    pub fn accept(&self, protocol: Protocol) -> libp2p_stream::IncomingStreams {
        let name = StreamProtocol::try_from_owned(self.network.protocol(protocol)).unwrap();
        self.control.clone().accept(name).unwrap()
    }

    /// What the node's directory says: its first page.
    pub async fn records(&self) -> Vec<NodeRecord> {
        let mut stream = self.open(Protocol::Directory).await;
        stream.write_all(&codec::encode(&directory::Request::Records { after: None })).await.unwrap();
        stream.close().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = codec::decode(&answer, directory::MAX_ANSWER).unwrap();
        let directory::Answer::Records { records, .. } = answer else { panic!("{answer:?}") };
        records.iter().map(|signed| signed.open(&self.network).unwrap()).collect()
    }

    /// Opens a kept stream of a protocol.
    pub async fn link(&self, protocol: Protocol) -> Asker {
        let (asker, run) = link::open(
            self.open(protocol).await,
            Limits { max_in: 4 << 20, window: 64, backlog: Backlog::new(64 << 20) },
        );
        tokio::spawn(run);
        asker
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The clock that requests are signed by.
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap())
}

/// A person with a mailbox.
pub struct Person {
    pub pair: KeyPair,
    pub account: AccountId,
}

impl Person {
    pub fn new(number: u8) -> Self {
        let pair = KeyPair::from_seed(&[number; 32]);
        let account = AccountId::of_person(&pair.public()).unwrap();
        Self { pair, account }
    }

    /// A signed question for the inbox.
    pub fn retrieve(&self, network: &NetworkName) -> Retrieve {
        let time = now().as_millis();
        let mut retrieve = Retrieve {
            account: self.account,
            namespace: Namespace::INBOX,
            after: None,
            last: None,
            max_count: None,
            max_size: None,
            ids: None,
            auth: None,
        };
        let statement = retrieve.statement(network, time);
        retrieve.auth = Some(Auth::sign(&self.account, &self.pair, time, &statement));
        retrieve
    }

    /// A message for the inbox, from nobody.
    pub fn post(&self, data: &[u8]) -> Request {
        let time = now().as_millis();
        Request::Store(Store {
            account: self.account,
            namespace: Namespace::INBOX,
            timestamp: time,
            expiry: time + 60_000,
            data: data.to_vec().into(),
            auth: None,
        })
    }

    /// A question for the inbox, signed by somebody else.
    pub fn forged(&self, network: &NetworkName) -> Retrieve {
        let mut retrieve = self.retrieve(network);
        retrieve.auth.as_mut().unwrap().time += 1;
        retrieve
    }
}

/// The code that a request is refused with; none when it is not.
pub async fn refusal(link: &Asker, request: &Request) -> Option<Code> {
    refusal_of(link, codec::encode(request)).await
}

/// The same for bytes that may be no request.
pub async fn refusal_of(link: &Asker, payload: Vec<u8>) -> Option<Code> {
    let answer = link.ask(payload).await.expect("an answer");
    match codec::decode::<Answer>(&answer, 4 << 20).unwrap().body {
        Body::Refused(refusal) => Some(refusal.code),
        _ => None,
    }
}

/// What a subscription is answered.
pub fn subscribed(payload: &[u8]) -> Subscribed {
    let answer: notify::Answer = codec::decode(payload, 4 << 20).unwrap();
    assert!(answer.time.abs_diff(now().as_millis()) < 60_000, "every answer carries the node's time");
    answer.body
}
