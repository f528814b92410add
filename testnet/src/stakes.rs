//! Accounts with money, and nodes that come and go, on the chain of a testnet.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use session_chain::{
    Amount, NetworkFile,
    network::Settlement,
    settlement::{
        Options, StakeError,
        replay::{PACE, replay},
        staker::Return,
    },
};
use tokio::time::Instant;

use crate::{
    chain::Anvil,
    error::TestnetError,
    genesis,
    layout::{Entry, Folder, Lock, MAX_NODES, POLL, State},
    network::{NodeStatus, Stopped, Testnet},
};

/// Ether that comes along when an account is given tokens.
pub const FUND_ETHER: u64 = 10;
/// Wei in an ether.
const WEI: u64 = 1_000_000_000_000_000_000;
/// How long a node may take from its registration until it is active: some epochs.
const JOIN: Duration = Duration::from_secs(180);
/// How long a node may take from the request of its exit until its stake is paid back: it serves for a minute,
/// and some epochs until a checkpoint releases it.
const LEAVE: Duration = Duration::from_secs(300);
/// From one look at the chain to the next.
const LOOK: Duration = Duration::from_secs(1);
/// Fewer nodes agree on no checkpoint, and so on nobody's release.
const LEAST: usize = 4;

impl Testnet {
    /// Gives an account tokens, and [`FUND_ETHER`] to pay for what it sends: money of a local chain is worth
    /// nothing.
    ///
    /// # Errors
    /// When there is no testnet, it has no chain, or the chain is down.
    pub async fn fund(&self, account: Address, amount: Amount) -> Result<(), TestnetError> {
        let _lock = self.folder.lock().await?;
        let (state, network) = (self.folder.state()?, self.folder.network()?);
        let (chain, settlement) = staked(&self.folder, &state, &network)?;
        chain.fund(settlement, account, amount, U256::from(FUND_ETHER) * U256::from(WEI)).await
    }

    /// Adds a node that stakes through the contracts, and waits until it is active and ready.
    ///
    /// # Errors
    /// When there is no chain that runs, there are [`MAX_NODES`] already, or the node is not active in time: it
    /// stays then.
    pub async fn add(&self) -> Result<NodeStatus, TestnetError> {
        let index = self.enrol().await?;
        let until = Instant::now() + JOIN;
        loop {
            let nodes = self.status().await?;
            let nodes_now = nodes.len();
            let node = nodes.into_iter().find(|node| node.index == index);
            let node = node.ok_or(TestnetError::NoNode { index, nodes: nodes_now })?;
            if node.is_ready() && node.registration.as_deref() == Some("active") {
                return Ok(node);
            }
            if node.pid.is_none() {
                let entry = self.folder.state()?;
                return Err(TestnetError::Died(vec![self.last_words(entry.node(index)?, None)]));
            }
            if Instant::now() >= until {
                return Err(TestnetError::Unsettled { index, what: "active", seconds: JOIN.as_secs() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets a node leave: requests its exit, waits until it has served and its stake is paid back, and takes it
    /// down with its messages. Tells how it stopped. Whoever repeats it goes on where it was interrupted.
    ///
    /// # Errors
    /// When there is no chain that runs, too few nodes would be left, or the stake is not paid back in time: the
    /// node runs on then.
    pub async fn remove(&self, index: usize) -> Result<Stopped, TestnetError> {
        let (state, network) = (self.folder.state()?, self.folder.network()?);
        let (chain, settlement) = staked(&self.folder, &state, &network)?;
        let entry = state.node(index)?;
        let nodes = state.nodes.len();
        if nodes <= LEAST {
            return Err(TestnetError::TooFew { nodes, least: LEAST });
        }
        leave(chain, settlement, entry).await?;
        let lock = self.folder.lock().await?;
        let mut state = self.folder.state()?;
        let stopped = self.stop(&mut state, &[index], &lock).await?;
        self.forget_node(&mut state, index, &lock)?;
        Ok(stopped)
    }

    /// Makes a node, puts down its stake, and starts it.
    async fn enrol(&self) -> Result<usize, TestnetError> {
        let lock = self.folder.lock().await?;
        let (mut state, mut network) = (self.folder.state()?, self.folder.network()?);
        staked(&self.folder, &state, &network)?;
        let taken = |index: &usize| state.nodes.iter().any(|node| node.index == *index);
        let free = (1..=MAX_NODES).find(|index| !taken(index));
        let index = free.ok_or_else(|| TestnetError::Nodes(MAX_NODES.saturating_add(1)))?;
        // What an earlier one was interrupted over.
        self.folder.remove_node(index, &lock)?;
        let (node, entry, _ports) = genesis::node(&self.folder, index, true)?;
        state.nodes.push(entry);
        state.nodes.sort_by_key(|node| node.index);
        network.nodes.push(node.clone());
        // Written down before it stakes: whatever fails after that, it is started, or removed, as a node.
        self.folder.write(&state, &lock)?;
        self.folder.write_network(&network)?;
        let (chain, _) = staked(&self.folder, &state, &network)?;
        if let Err(error) = chain.enrol(&self.folder, &network, index, &node).await {
            self.forget_node(&mut state, index, &lock)?;
            return Err(error);
        }
        self.launch(&mut state, index, &lock)?;
        Ok(index)
    }

    /// Strikes a node that is down off all lists, and removes what it kept.
    fn forget_node(&self, state: &mut State, index: usize, lock: &Lock) -> Result<(), TestnetError> {
        let id = state.node(index)?.id;
        let mut network = self.folder.network()?;
        network.nodes.retain(|node| node.id != id);
        self.folder.write_network(&network)?;
        state.nodes.retain(|node| node.index != index);
        self.folder.write(state, lock)?;
        self.folder.remove_node(index, lock)
    }
}

/// The chain of a testnet, if it runs, and its contracts.
fn staked<'a>(
    folder: &Folder,
    state: &'a State,
    network: &'a NetworkFile,
) -> Result<(&'a Anvil, &'a Settlement), TestnetError> {
    let (Some(chain), Some(settlement)) = (&state.chain, &network.settlement) else {
        return Err(TestnetError::NoChain(folder.path().to_owned()));
    };
    if chain.running().is_some() { Ok((chain, settlement)) } else { Err(TestnetError::ChainDown) }
}

/// Requests a node's exit, and waits until its stake is paid back. A node that is not registered has left.
async fn leave(chain: &Anvil, settlement: &Settlement, node: &Entry) -> Result<(), TestnetError> {
    let Entry { index, id, .. } = *node;
    let mut staker = chain.staker(settlement, index).await?;
    let until = Instant::now() + LEAVE;
    let mut requested = false;
    loop {
        let accepted = staker.accepted().await?;
        let options = Options { pace: PACE, ..Options::new(settlement, *id.as_bytes())? };
        let now = replay(None, options, accepted, |_| {}).await?;
        let Some(member) = now.ledger.node(&id) else { return Ok(()) };
        if member.unlocks.is_none() && !requested {
            let (call, _) = staker.exit(&id, &now.ledger).await?;
            staker.send(&call, |_| {}).await?;
            requested = true;
        }
        let paid = match staker.withdraw(&id, &now).await {
            Ok((call, Return::Released(_))) => staker.send(&call, |_| {}).await.map(drop),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match paid {
            // It serves, or another checkpoint came in between, or it is paid back and that is not final so far.
            Err(StakeError::NoStake { .. }) => {}
            Err(error) if error.passes() => {}
            paid => paid?,
        }
        if Instant::now() >= until {
            return Err(TestnetError::Unsettled { index, what: "paid back", seconds: LEAVE.as_secs() });
        }
        tokio::time::sleep(LOOK).await;
    }
}
