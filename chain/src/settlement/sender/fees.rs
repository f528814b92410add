//! What names pay, which waits in their contract until somebody has it paid out.

use alloy::{primitives::Address, sol_types::SolCall};

use super::{SendError, Sender};
use crate::{
    ledger::Amount,
    settlement::{caller::call, calls::Names},
};

impl Sender {
    /// Has the fees that wait at the contract of names paid to pool and treasury. Returns how much waited; none, and
    /// nothing is sent, when that is less than `least`.
    ///
    /// # Errors
    /// When the contract is not there, the endpoint does not tell, or it cannot be sent.
    pub async fn release_fees(&mut self, names: Address, least: Amount) -> Result<Option<Amount>, SendError> {
        self.check_chain().await?;
        let chain = self.chain();
        let fees = self.view(names, Names::feesCall {}.abi_encode()).await.map_err(|error| {
            if matches!(error, SendError::NoToken { .. }) {
                SendError::NoContract { at: names, chain }
            } else {
                error
            }
        })?;
        let fees = Amount::try_from(fees).unwrap_or(Amount(u128::MAX));
        if fees < least {
            return Ok(None);
        }
        self.send(&call(names, &Names::releaseFeesCall {}), |_| {}).await?;
        Ok(Some(fees))
    }
}
