//! What the page draws: every node with what it counts, and the chain.

use serde::Serialize;

use crate::{
    chain::ChainStatus,
    door::{Stake, Status, Traffic},
    error::TestnetError,
    network::{NodeStatus, Testnet},
};

/// A testnet at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Drawn {
    network: String,
    nodes: Vec<Node>,
    chain: Option<ChainStatus>,
    /// The epoch that ends next, of the node that has come furthest; none without a chain.
    epoch: Option<u64>,
    /// Names that are somebody's, likewise.
    names: Option<u64>,
}

/// A node: what `session testnet status` tells, and what else it says of itself.
#[derive(Debug, Serialize)]
struct Node {
    #[serde(flatten)]
    status: NodeStatus,
    /// Of messages; 0 while it does not answer.
    bytes: u64,
    /// The block up to which its ledger knows all; none without a chain.
    height: Option<u64>,
    /// None while it does not answer.
    traffic: Option<Traffic>,
    /// None where it is not registered.
    stake: Option<Stake>,
}

impl Drawn {
    /// Asks all nodes at once; one that does not answer holds up the others for two seconds.
    pub(super) async fn of(testnet: &Testnet) -> Result<Self, TestnetError> {
        let (found, chain) = futures::future::try_join(testnet.look(), testnet.chain()).await?;
        let told = || found.iter().filter_map(|(_, said)| said.as_ref()?.chain.as_ref());
        Ok(Self {
            network: testnet.folder().network()?.name.to_string(),
            epoch: told().map(|chain| chain.epoch).max(),
            names: told().map(|chain| chain.names).max(),
            nodes: found.into_iter().map(|(status, said)| Node::new(status, said)).collect(),
            chain,
        })
    }
}

impl Node {
    fn new(status: NodeStatus, said: Option<Status>) -> Self {
        let Some(said) = said else {
            return Self { status, bytes: 0, height: None, traffic: None, stake: None };
        };
        let (height, stake) = said.chain.map_or((None, None), |chain| (Some(chain.height), chain.stake));
        Self { status, bytes: said.bytes, height, traffic: said.traffic, stake }
    }
}
