//! The ledger of a network whose nodes register on a settlement chain: followed, and told to the rest of the
//! node.

use std::time::Duration;

use session_chain::{
    NetworkFile,
    bls::BlsSecret,
    network::Settlement,
    settlement::{Delivery, Endpoint, LiveLedger, Options, Pace, Sender, Settled, Status},
};
use session_protocols::{KeyPair, NodeId, Span};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    Beginning, Config, NodeError,
    attest::{Attest, Attested, Ends, MAX_HEARD, Payer, Shelf},
    http::Chain,
    keystore,
    metrics::{ChainMetrics, Metrics},
    names::Names,
    network::Checkpoints,
    registry::{Registry, Watched},
    snapshot::{Ledgers, source::ledger_source},
};

/// The file that keeps the ledger, in the data folder.
const FILE: &str = "chain.redb";
/// How often it is looked, in a local network, whether a transaction is mined.
const POLL_LOCAL: Duration = Duration::from_millis(250);
/// How long a start waits for the ledger to come to where the chain is; it goes on as it was kept then.
const CATCH_UP: Duration = Duration::from_secs(10);

/// A ledger that is followed, and the registry that it makes.
pub(crate) struct Follow {
    live: LiveLedger,
    settlement: Settlement,
    endpoints: Vec<Endpoint>,
    registry: Watched,
    task: JoinHandle<()>,
}

impl Follow {
    /// Follows the chain of the network from where the data folder has come to, and waits a while until that
    /// is where the chain is.
    pub(crate) async fn start(
        config: &Config,
        settlement: &Settlement,
        me: NodeId,
    ) -> Result<Self, NodeError> {
        let mut options = options(config, settlement)?;
        options.source = match config.sync {
            Beginning::Checkpoint => Some(ledger_source(&config.network, Some(me))),
            Beginning::Logs => None,
        };
        let endpoints = options.endpoints.clone();
        let live = LiveLedger::start(&config.data.join(FILE), options)?;
        let mut status = live.watch_status();
        let _ = tokio::time::timeout(CATCH_UP, status.wait_for(has_settled)).await;
        let mut settled = live.watch();
        let network = config.network.clone();
        let (tell, registry) = watch::channel(said(&network, &settled.borrow_and_update()));
        let task = tokio::spawn(async move {
            while settled.changed().await.is_ok() {
                let now = said(&network, &settled.borrow_and_update());
                tell.send_if_modified(|before| {
                    let other = *before != now;
                    *before = now;
                    other
                });
            }
        });
        Ok(Self { live, settlement: settlement.clone(), endpoints, registry, task })
    }

    /// Who is a node of the network, as it changes.
    pub(crate) fn registry(&self) -> Watched {
        self.registry.clone()
    }

    /// How following goes.
    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.live.watch_status()
    }

    /// Starts the node's part in checkpoints; what connects the network to it, and what the door tells.
    pub(crate) fn attest(
        &self,
        config: &Config,
        pair: &KeyPair,
        metrics: &Metrics,
    ) -> Result<(Checkpoints, Chain), NodeError> {
        let Settlement { chain, contracts, .. } = &self.settlement;
        let mut delivery = Delivery::default();
        if config.network.local {
            delivery.poll = POLL_LOCAL;
        }
        let signer = keystore::load_gas_under(&config.data, config.passphrase.as_ref())?;
        let sender = signer
            .map(|signer| move |endpoint: &Endpoint| Sender::new(endpoint, signer.clone(), *chain, delivery));
        let payer = Payer::new(*contracts, &self.endpoints, sender);
        let (hear, heard) = mpsc::channel(MAX_HEARD);
        let (say, said) = mpsc::channel(MAX_HEARD);
        let (tell, attested) = watch::channel(Attested::default());
        let (status, settled) = (self.live.watch_status(), self.live.watch());
        let data = |cause| NodeError::Data { path: config.data.clone(), cause };
        let shelf = Shelf::open(&config.data, &self.settlement.domain()).map_err(data)?;
        let names = Names::new(shelf.clone(), &settled.borrow());
        tokio::spawn(names.clone().follow(settled.clone()));
        let ledgers = Ledgers::new(&settled.borrow());
        tokio::spawn(ledgers.clone().follow(settled.clone()));
        let stands = NodeError::Stopped { part: "metrics" };
        let chain = Chain {
            id: pair.node_id(),
            key: BlsSecret::of_node(pair).public(),
            status: status.clone(),
            settled: settled.clone(),
            attested,
            names,
            metrics: ChainMetrics::new(metrics).map_err(|_| stands)?,
        };
        let (watched, ends) = ((status, settled), Ends { heard, say, tell, shelf: shelf.clone() });
        let epoch = Span::secs(self.settlement.parameters().epoch_seconds.get());
        let attest = Attest::new(&config.data, pair, epoch, payer, watched, ends, metrics.clone());
        let signed = |cause| NodeError::Signed { path: config.data.join("signed"), cause };
        tokio::spawn(attest.map_err(signed)?.run());
        Ok((Checkpoints { hear, said, shelf, ledgers }, chain))
    }

    /// Ends following, and closes the file.
    pub(crate) async fn stop(self) {
        self.task.abort();
        self.live.stop().await;
    }
}

fn options(config: &Config, settlement: &Settlement) -> Result<Options, NodeError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| crate::keystore::KeyError::Random)?;
    let mut options = Options::new(settlement, seed)?;
    if config.network.local {
        options.pace = Pace::local();
    }
    if !config.rpc.is_empty() {
        let endpoints = config.rpc.iter().map(|url| Endpoint::new(url));
        options.endpoints = endpoints.collect::<Result<_, _>>()?;
    }
    Ok(options)
}

/// Whether the ledger is where the chain is, or will not come there soon.
fn has_settled(status: &Status) -> bool {
    let there = status.head.is_some_and(|head| head <= status.height);
    there || status.held.is_some() || status.stopped.is_some()
}

fn said(network: &NetworkFile, settled: &Settled) -> Registry {
    let border = settled.checkpoint.as_ref().map(|one| (one.border.height, one.border.hash.0));
    Registry::new(&settled.ledger, border.unwrap_or_else(|| network.border()))
}
