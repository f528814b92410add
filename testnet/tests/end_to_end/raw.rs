//! Mailboxes as each member hands them out, and anything else that nodes answer, without a client that tidies
//! up.

use std::collections::BTreeMap;

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, SwarmBuilder, noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use session_chain::NetworkFile;
use session_client::Account;
use session_protocols::{
    MessageHash, Namespace, NetworkName, NodeId, Protocol,
    answer::{Answer, Body, MAX_ANSWER},
    codec,
    libp2p::{
        address,
        link::{self, Asker, Backlog, Events, Limits},
    },
    request::{Auth, Cursor, Request, Retrieve},
};
use tokio::task::AbortHandle;

use crate::support::PATIENCE;

/// More pages than any mailbox of a test has.
const MAX_PAGES: usize = 1_000;

/// A connection to every node of a network, and a stream of one protocol on it, for as long as this lives.
pub(crate) struct Members {
    network: NetworkName,
    links: BTreeMap<NodeId, Asker>,
    tasks: Vec<AbortHandle>,
}

impl Members {
    /// Connects to ask them for mailboxes.
    pub(crate) async fn connect(file: &NetworkFile) -> Self {
        Self::connect_over(file, Protocol::Storage).await
    }

    pub(crate) async fn connect_over(file: &NetworkFile, protocol: Protocol) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
            .build();
        let mut control = swarm.behaviour().new_control();
        let mut peers: Vec<(NodeId, PeerId)> = Vec::new();
        for node in &file.nodes {
            let peer = address::peer_id(&node.id).unwrap();
            let tcp = node.addresses.iter().find(|address| address.contains("/tcp/")).unwrap();
            let address: Multiaddr = tcp.parse().unwrap();
            swarm.dial(DialOpts::peer_id(peer).addresses(vec![address]).build()).unwrap();
            while !swarm.is_connected(&peer) {
                let event = swarm.select_next_some().await;
                assert!(!matches!(event, SwarmEvent::OutgoingConnectionError { .. }), "{event:?}");
            }
            peers.push((node.id, peer));
        }
        let drive = async move {
            loop {
                swarm.select_next_some().await;
            }
        };
        let mut tasks = vec![tokio::spawn(drive).abort_handle()];
        let protocol = StreamProtocol::try_from_owned(file.name.protocol(protocol)).unwrap();
        let mut links = BTreeMap::new();
        for (node, peer) in peers {
            let stream = control.open_stream(peer, protocol.clone()).await.unwrap();
            let (link, run) = link::open(
                stream,
                Limits { max_in: MAX_ANSWER, window: 1, backlog: Backlog::new(4 * MAX_ANSWER) },
            );
            tasks.push(tokio::spawn(run).abort_handle());
            links.insert(node, link);
        }
        Self { network: file.name.clone(), links, tasks }
    }

    /// What a node answers to these bytes.
    pub(crate) async fn ask(&self, node: &NodeId, bytes: Vec<u8>) -> Vec<u8> {
        self.links[node].ask(bytes).await.unwrap()
    }

    /// Subscribes at a node: what it answers, and what it pushes then.
    pub(crate) async fn subscribe(&self, node: &NodeId, bytes: Vec<u8>) -> (Vec<u8>, Events) {
        self.links[node].subscribe(bytes).await.unwrap()
    }

    /// What an account asks a member for: a page of its inbox after a cursor.
    pub(crate) fn retrieve(&self, account: &Account, after: Option<Cursor>, now_ms: u64) -> Retrieve {
        // Small pages, so that there are borders between them.
        let mut request = Retrieve {
            account: account.id(),
            namespace: Namespace::INBOX,
            after,
            last: None,
            max_count: Some(7),
            max_size: None,
            ids: None,
            auth: None,
        };
        let statement = request.statement(&self.network, now_ms);
        request.auth = Some(Auth::sign(&account.id(), account.key_pair(), now_ms, &statement));
        request
    }

    /// The hashes in somebody's inbox at one member, page after page, as they come.
    pub(crate) async fn inbox(&self, account: &Account, node: &NodeId, now_ms: u64) -> Vec<MessageHash> {
        self.pages(account, node, now_ms).await.unwrap_or_else(|body| panic!("{node} answers {body:?}"))
    }

    /// The same; none where the member does not answer for this account, as one of another swarm does not.
    pub(crate) async fn kept(
        &self,
        account: &Account,
        node: &NodeId,
        now_ms: u64,
    ) -> Option<Vec<MessageHash>> {
        self.pages(account, node, now_ms).await.ok()
    }

    async fn pages(&self, account: &Account, node: &NodeId, now_ms: u64) -> Result<Vec<MessageHash>, Body> {
        let (mut hashes, mut after) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let request = self.retrieve(account, after, now_ms);
            let asked = self.ask(node, codec::encode(&Request::Retrieve(request)));
            let answer: Answer = codec::decode(&asked.await, MAX_ANSWER).unwrap();
            let Body::Messages { messages, more, cursor } = answer.body else { return Err(answer.body) };
            hashes.extend(messages.iter().map(|message| message.hash));
            if !more {
                return Ok(hashes);
            }
            after = Some(cursor);
        }
        panic!("the pages of {node} have no end");
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
