//! The contracts of a public test network, deployed once however often that is interrupted.
//!
//! Where the deployment begins is written down before anything is sent, and whoever repeats it looks what is there.

use core::num::NonZeroU64;
use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use serde::{Deserialize, Serialize};
use session_chain::{
    Amount, account,
    network::Settlement,
    settlement::{
        Call, Delivery, Endpoint, SendError, Sender, Vault, VaultError,
        calls::Token,
        deploy::{CONTRACTS, Deployed, Origin, Terms, deploy_from, deploy_vault_from},
    },
};

use super::{COINS, EPOCH, ETHER, POOL, Plan, PublicError, STAKE, STOCK, write};

/// What is written down, in the network's folder.
const FILE: &str = "deployment.json";

/// Where a deployment began, and what all that it sends follows from.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    chain: u64,
    account: Address,
    nonce: u64,
    block: u64,
    genesis: u64,
    epoch: NonZeroU64,
}

/// Asks the first endpoint of a plan which chain it serves.
pub(super) async fn chain(plan: &Plan) -> Result<(Endpoint, u64), PublicError> {
    let url = plan.rpc.first().ok_or(PublicError::NoChain)?;
    let endpoint = Endpoint::new(url)?;
    let chain = endpoint.chain().await;
    let chain = chain.map_err(|trouble| PublicError::Chain { url: endpoint.name().to_owned(), trouble })?;
    Ok((endpoint, chain))
}

/// Deploys the contracts, and fills the pool, the vault and the account of the faucet.
pub(super) async fn deploy(
    plan: &Plan,
    treasury: &PrivateKeySigner,
    faucet: Address,
) -> Result<Settlement, PublicError> {
    let (endpoint, chain) = chain(plan).await?;
    let mut sender = Sender::new(&endpoint, treasury.clone(), chain, Delivery::default());
    let path = plan.folder.join(FILE);
    let begun = match read(&path)? {
        Some(begun) => begun.checked(plan, chain, treasury.address())?,
        None => {
            let Origin { nonce, block } = Origin::now(&sender).await?;
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let epoch = plan.epoch.or_else(|| NonZeroU64::new(EPOCH)).unwrap_or(NonZeroU64::MIN);
            let genesis = now.as_secs().saturating_sub(1);
            let begun = Begun { chain, account: treasury.address(), nonce, block, genesis, epoch };
            write(&path, &serde_json::to_string(&begun).unwrap_or_default())?;
            begun
        }
    };
    let mut settlement = match contracts(&mut sender, &begun, faucet).await {
        Err(error @ SendError::Contended { .. }) => {
            // What is there is of no use: the next run begins anew.
            fs::remove_file(&path).map_err(|cause| PublicError::Io { path, cause })?;
            return Err(error.into());
        }
        made => made?,
    };
    settlement.rpc.clone_from(&plan.rpc);
    let token = settlement.contracts.token;
    let vault = settlement.vault.ok_or(PublicError::NoChain)?;
    for (to, amount) in [(settlement.contracts.pool, POOL), (vault, STOCK), (faucet, COINS)] {
        fill(&mut sender, token, to, amount).await?;
    }
    fuel(&mut sender, faucet, U256::from(ETHER)).await?;
    Ok(settlement)
}

async fn contracts(sender: &mut Sender, begun: &Begun, faucet: Address) -> Result<Settlement, SendError> {
    let terms = Terms::test(begun.genesis, begun.epoch, STAKE, sender.account());
    let origin = Origin { nonce: begun.nonce, block: begun.block };
    let Deployed { mut settlement, .. } = deploy_from(sender, &terms, origin).await?;
    let next = begun.nonce.saturating_add(CONTRACTS);
    settlement.vault = Some(deploy_vault_from(sender, &settlement, faucet, next).await?);
    Ok(settlement)
}

/// Lets the faucet's account lend where another one does, and gives it what it gives: the treasury, whose the vault is,
/// pays. Whoever goes on while the chain does not answer is not kept from it.
pub(super) async fn appoint(
    settlement: &Settlement,
    treasury: Option<&PrivateKeySigner>,
    faucet: Address,
) -> Result<(), PublicError> {
    let signer = treasury.cloned().unwrap_or_else(|| account::signer(&[0; account::SEED]));
    let (mut vault, lender) = match lender(settlement, signer).await {
        Ok(told) => told,
        Err(VaultError::Send(SendError::Endpoint { .. })) if treasury.is_none() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if lender == faucet {
        return Ok(());
    }
    if treasury.is_none() {
        return Err(PublicError::Lender { lender: lender.into(), faucet: faucet.into() });
    }
    // First: the other key may be a thief's.
    vault.sender().settled().await?;
    let call = vault.set_lender(faucet).await?;
    vault.send(&call, |_| {}).await?;
    fill(vault.sender(), settlement.contracts.token, faucet, COINS).await?;
    fuel(vault.sender(), faucet, U256::from(ETHER)).await
}

/// An account at the vault, and who lends from it.
async fn lender(settlement: &Settlement, signer: PrivateKeySigner) -> Result<(Vault, Address), VaultError> {
    let vault = Vault::connect(settlement, signer, Delivery::default()).await?;
    let lender = vault.lender().await?;
    Ok((vault, lender))
}

/// Gives an account the tokens that it lacks.
async fn fill(sender: &mut Sender, token: Address, to: Address, amount: Amount) -> Result<(), PublicError> {
    // What is on its way counts.
    sender.settled().await?;
    let value = amount.units().saturating_sub(sender.tokens_of(token, to).await?);
    if !value.is_zero() {
        let data = Token::transferCall { to, value }.abi_encode().into();
        sender.send(&Call { to: Some(token), data, ..Call::default() }, |_| {}).await?;
    }
    Ok(())
}

/// Gives an account the ether that it lacks, in wei.
pub(super) async fn fuel(sender: &mut Sender, to: Address, wei: U256) -> Result<(), PublicError> {
    sender.settled().await?;
    let value = wei.saturating_sub(sender.ether_of(to).await?);
    if !value.is_zero() {
        sender.send(&Call { to: Some(to), value, ..Call::default() }, |_| {}).await?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<Begun>, PublicError> {
    let failed = |cause| PublicError::Io { path: path.to_owned(), cause };
    match fs::read(path) {
        // A file that cannot be read is no reason to pay for everything again.
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed(cause)),
    }
}

impl Begun {
    /// Goes on by the same chain, account and epochs only: the contracts have them.
    fn checked(self, plan: &Plan, chain: u64, account: Address) -> Result<Self, PublicError> {
        if self.account != account {
            return Err(PublicError::OtherAccount { wanted: self.account.into(), found: account.into() });
        }
        if self.chain != chain {
            return Err(PublicError::OtherChain { wanted: self.chain, found: chain });
        }
        super::renewal::same_epoch(plan, self.epoch)?;
        Ok(self)
    }
}
