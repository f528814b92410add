//! Puts the contracts on a chain, wired to each other: what a local network does first, and whoever begins one.

use core::num::NonZeroU64;

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolValue,
};

use super::sender::{Call, SendError, Sender};
use crate::{
    ledger::Amount,
    network::{Contracts, Settlement},
};

const TOKEN: &str = include_str!("../../contracts/artifacts/SessionToken.json");
const TIMELOCK: &str = include_str!("../../contracts/artifacts/TimelockController.json");
const POOL: &str = include_str!("../../contracts/artifacts/RewardPool.json");
const STAKING: &str = include_str!("../../contracts/artifacts/Staking.json");
const CHECKPOINTS: &str = include_str!("../../contracts/artifacts/Checkpoints.json");
const FACTORY: &str = include_str!("../../contracts/artifacts/ContributionFactory.json");
const NAMES: &str = include_str!("../../contracts/artifacts/Names.json");
const VAULT: &str = include_str!("../../contracts/artifacts/Vault.json");

/// For how long what is known of the nodes of a network on one machine is believed, in seconds: a hundred years, so
/// that whoever stopped it can come back to it, though its stakes are bound for a minute. That is safe there: all its
/// nodes are one person's, and whoever could speak in their place on this machine has their keys anyway.
const LOCAL_TRUST: u64 = 100 * 365 * 24 * 3_600;

/// What the contracts are given at their deployment; `chain/contracts/README.md` lists units and bounds.
#[derive(Clone, Debug)]
pub struct Terms {
    /// When epoch 0 begins, in seconds since 1970; not in the future.
    pub genesis: u64,
    /// Seconds of an epoch.
    pub epoch: NonZeroU64,
    /// How long the stake of a node that lost its place stays locked, in seconds. No contract knows it.
    pub lock: u64,
    /// For how long those who follow no chain believe what they know of the nodes, in seconds. No contract knows it; it
    /// has to be shorter than `unlock`, unless all nodes are of whoever deploys.
    pub trust: u64,
    /// What a node stakes.
    pub requirement: Amount,
    /// How long after a request a node serves on, in seconds.
    pub unlock: u64,
    /// The most that a penalty takes of an operator's share, in basis points.
    pub maximum_penalty: u64,
    /// The least number of nodes whose checkpoint is taken.
    pub minimum_nodes: u64,
    /// What the submitter of a checkpoint is credited.
    pub submitter_reward: Amount,
    /// For how long a node is active before it earns, in seconds.
    pub active_for: u64,
    /// What a name costs a year.
    pub yearly_fee: Amount,
    /// The least that is offered for a name.
    pub minimum_offer: Amount,
    /// Where a tenth of the fees for names goes.
    pub treasury: Address,
    /// Who may change parameters, through the timelock.
    pub governor: Address,
    /// How long a change of parameters is known before it acts, in seconds.
    pub delay: u64,
    /// Who may stop claims.
    pub guardian: Address,
}

impl Terms {
    /// Those of a network on one machine, whose epochs last for seconds: what takes days or a month elsewhere
    /// takes a minute, and a node earns as soon as it is active. One account governs, guards and is the treasury.
    pub const fn local(genesis: u64, epoch: NonZeroU64, requirement: Amount, governor: Address) -> Self {
        Self {
            genesis,
            epoch,
            lock: 60,
            trust: LOCAL_TRUST,
            requirement,
            unlock: 60,
            maximum_penalty: 1_000,
            minimum_nodes: 4,
            submitter_reward: Amount::sesh(1),
            active_for: 0,
            yearly_fee: Amount::sesh(10),
            minimum_offer: Amount::sesh(10),
            treasury: governor,
            governor,
            delay: 60,
            guardian: governor,
        }
    }
}

impl Terms {
    /// Those of a public test network, whose tokens are worth nothing: what takes days or a month elsewhere takes some
    /// epochs, and a node earns as soon as it is active. One account governs, guards and is the treasury.
    ///
    /// With epochs of a quarter of an hour and more, trust ends before stakes are free; with shorter ones, which are
    /// for trying things out, clients that are away for up to an hour may trust nodes that have nothing to lose.
    pub fn test(genesis: u64, epoch: NonZeroU64, requirement: Amount, governor: Address) -> Self {
        let epochs = |count: u64| epoch.get().saturating_mul(count);
        Self {
            lock: epochs(6).max(3_600),
            trust: epochs(4).max(3_600),
            unlock: epochs(6).clamp(60, 30 * 24 * 3_600),
            ..Self::local(genesis, epoch, requirement, governor)
        }
    }
}

/// A chain that can be followed, and what its nodes have to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The contracts, as the network file has them; no endpoint is named.
    pub settlement: Settlement,
    /// Who owns the parameters.
    pub timelock: Address,
}

/// Contracts that [`deploy`] makes.
pub const CONTRACTS: u64 = 7;
/// How often it is looked whether a contract is there: what serves an endpoint may be several machines, of which one
/// is behind.
const LOOKS: u32 = 30;

/// Where a deployment begins. Whoever writes it down before anything is sent goes on by it wherever that stopped: the
/// contracts are made by the account's transactions from this nonce on, so that it is known of each whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The nonce of the first.
    pub nonce: u64,
    /// A block before it.
    pub block: u64,
}

impl Origin {
    /// That of a deployment which begins now.
    ///
    /// # Errors
    /// When the endpoint does not tell, or something of the account's is on its way.
    pub async fn now(sender: &Sender) -> Result<Self, SendError> {
        Ok(Self { nonce: sender.settled().await?, block: sender.height().await? })
    }
}

/// Deploys the token and all other contracts. All tokens there will ever be are the sender's account's, and the
/// pool is empty: whoever deploys gives it what rewards are to come from.
///
/// # Errors
/// When a transaction fails; [`deploy_from`] goes on there.
pub async fn deploy(sender: &mut Sender, terms: &Terms) -> Result<Deployed, SendError> {
    let origin = Origin::now(sender).await?;
    deploy_from(sender, terms, origin).await
}

/// The same; of a deployment that began at `origin`, with the same terms, what is there is not deployed again.
///
/// # Errors
/// When a transaction fails. [`SendError::Contended`] says that another transaction of the account came in between,
/// as final blocks show: what is there is of no use then. [`SendError::Behind`] says that nobody knows so far.
pub async fn deploy_from(sender: &mut Sender, terms: &Terms, origin: Origin) -> Result<Deployed, SendError> {
    let me = sender.account();
    let [token, timelock, pool, staking, names, checkpoints, factory] =
        [0, 1, 2, 3, 4, 5, 6].map(|after| me.create(origin.nonce.saturating_add(after)));
    let (genesis, epoch) = (terms.genesis, terms.epoch.get());
    let governors = vec![terms.governor];
    let timelock_takes = (U256::from(terms.delay), governors.clone(), governors, Address::ZERO);
    let staking_takes = (
        (timelock, token, pool, checkpoints, factory, genesis, epoch),
        (terms.requirement.units(), U256::from(terms.unlock), U256::from(terms.maximum_penalty)),
    );
    let checkpoints_takes = (
        (timelock, terms.guardian, token, pool, staking, names, genesis, epoch),
        (U256::from(terms.minimum_nodes), terms.submitter_reward.units(), U256::from(terms.active_for)),
    );
    let names_takes = (
        (timelock, token, pool, terms.treasury, genesis, epoch),
        (terms.yearly_fee.units(), terms.minimum_offer.units()),
    );
    let steps = [
        (TOKEN, (me, me, Address::ZERO, Address::ZERO).abi_encode_params()),
        (TIMELOCK, timelock_takes.abi_encode_params()),
        (POOL, (token, checkpoints, genesis, epoch).abi_encode_params()),
        // All are static types, so the parts simply follow one another.
        (STAKING, staking_takes.abi_encode_params()),
        (NAMES, names_takes.abi_encode_params()),
        (CHECKPOINTS, checkpoints_takes.abi_encode_params()),
        (FACTORY, (token, staking).abi_encode_params()),
    ];
    for (nonce, (artifact, arguments)) in (origin.nonce..).zip(steps) {
        make(sender, nonce, artifact, arguments).await?;
    }
    let contracts = Contracts { token, pool, staking, factory, checkpoints, names };
    let settlement = Settlement {
        chain: sender.chain(),
        rpc: Vec::new(),
        start: origin.block.saturating_add(1),
        genesis,
        epoch: terms.epoch,
        lock: terms.lock,
        trust: terms.trust,
        written: genesis,
        contracts,
        vault: None,
    };
    Ok(Deployed { settlement, timelock })
}

/// Deploys what a faucet lends stakes from, for the contracts of a test network: it is the sender's, and another account
/// lends. It is empty: whoever fills it sends it tokens.
///
/// # Errors
/// When the transaction fails.
pub async fn deploy_vault(
    sender: &mut Sender,
    settlement: &Settlement,
    lender: Address,
) -> Result<Address, SendError> {
    let nonce = sender.settled().await?;
    deploy_vault_from(sender, settlement, lender, nonce).await
}

/// The same by the account's transaction with this nonce, unless it did that before.
///
/// # Errors
/// As with [`deploy_from`].
pub async fn deploy_vault_from(
    sender: &mut Sender,
    settlement: &Settlement,
    lender: Address,
    nonce: u64,
) -> Result<Address, SendError> {
    let Contracts { token, staking, .. } = settlement.contracts;
    let owner = sender.account();
    make(sender, nonce, VAULT, (token, staking, owner, lender).abi_encode_params()).await
}

/// Makes a contract by the account's transaction with this nonce, unless it is there.
async fn make(
    sender: &mut Sender,
    nonce: u64,
    artifact: &str,
    arguments: Vec<u8>,
) -> Result<Address, SendError> {
    let account = sender.account();
    let at = account.create(nonce);
    let data = [bytecode(artifact), arguments].concat().into();
    let (call, mut is_sent) = (Call { data, ..Call::default() }, false);
    for _ in 0..LOOKS {
        // What was sent and is in no block so far is waited for.
        let next = sender.settled().await?;
        if next > nonce && sender.has_code(at).await? {
            return Ok(at);
        }
        if next == nonce {
            let quote = sender.quote(&call).await?;
            let signed = sender.sign(&call, &quote).await?;
            // With another nonce it would be a contract that no other knows.
            if signed.nonce() == nonce {
                match sender.deliver(signed, |_| {}).await {
                    Ok(_) => return Ok(at),
                    // Something had the nonce before: an earlier run's, maybe, which is not shown so far.
                    Err(SendError::Unmined { .. }) if !is_sent => is_sent = true,
                    Err(error) => return Err(error),
                }
            }
        }
        sender.pause().await;
    }
    // Who cannot tell is not believed that it is lost.
    if sender.is_without(at, nonce).await.unwrap_or_default() {
        return Err(SendError::Contended { account });
    }
    Err(SendError::Behind { endpoint: sender.endpoint().to_owned(), account, nonce })
}

/// The code that creates a contract.
fn bytecode(artifact: &str) -> Vec<u8> {
    let artifact: Option<serde_json::Value> = serde_json::from_str(artifact).ok();
    let code = artifact.as_ref().and_then(|it| it.get("bytecode")?.as_str()?.parse::<Bytes>().ok());
    #[expect(
        clippy::expect_used,
        reason = "the artifacts are part of this program, and a test reads them all"
    )]
    code.expect("an artifact has bytecode").to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_artifacts_have_code() {
        for artifact in [TOKEN, TIMELOCK, POOL, STAKING, NAMES, CHECKPOINTS, FACTORY, VAULT] {
            assert!(bytecode(artifact).len() > 1_000);
        }
    }
}
