//! Stakes that the vault of a test network's faucet lent: which there are, and which are the account's to return.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use session_protocols::NodeId;

use super::{Return, StakeError, Staker};
use crate::{
    ledger::{Ledger, StakeId},
    settlement::{
        sender::Call,
        vault::{self, Loan},
    },
};

impl Staker {
    /// Those stakes of the ledger that a faucet lent, and to whom; none where the network names no vault. A loan is the
    /// operator of its node in the ledger; to whom it was made is as the endpoint tells.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn loans(&self, now: &Ledger) -> Result<BTreeMap<StakeId, Loan>, StakeError> {
        let Some(vault) = self.caller.settlement().vault else { return Ok(BTreeMap::new()) };
        Ok(vault::loans(&self.caller, vault, now.stakes().map(|(id, _)| *id)).await?)
    }

    /// Whose stakes in a node the account decides on: its own first, then those of the loans that it had for the node.
    pub(super) async fn holders(&self, node: &NodeId) -> Result<Vec<Address>, StakeError> {
        let account = self.account();
        let mut holders = vec![account];
        if let Some(vault) = self.caller.settlement().vault {
            holders.extend(vault::loans_to(&self.caller, vault, account, node).await?);
        }
        Ok(holders)
    }

    /// Brings what a loan of the account has back to the vault; none where none of them has anything.
    pub(super) async fn give_back(&self, holders: &[Address]) -> Result<Option<(Call, Return)>, StakeError> {
        for loan in holders.iter().skip(1) {
            if let Some((call, amount)) = vault::give_back(&self.caller, *loan).await? {
                return Ok(Some((call, Return::GivenBack(amount))));
            }
        }
        Ok(None)
    }
}
