//! What accounts have, and what is on its way: looked at before something is sent once more.

use core::time::Duration;

use alloy::{
    eips::BlockId,
    primitives::{Address, U256},
    providers::Provider,
    sol_types::SolCall,
};

use super::{SendError, Sender};
use crate::settlement::calls::Token;

/// How long the next block is waited for: there are chains that make one only when there is something for it.
const NEXT_BLOCK: Duration = Duration::from_secs(30);

impl Sender {
    /// Waits until none of the account's transactions is on its way. Returns the nonce of its next one.
    ///
    /// # Errors
    /// When the endpoint does not tell, or one stays on its way for too long.
    pub async fn settled(&self) -> Result<u64, SendError> {
        let settling = async {
            loop {
                let mined = self.provider.get_transaction_count(self.account()).await;
                let mined = mined.map_err(|error| self.failed(&error))?;
                if self.nonce().await? <= mined {
                    return Ok::<u64, SendError>(mined);
                }
                tokio::time::sleep(self.delivery.poll).await;
            }
        };
        match tokio::time::timeout(self.delivery.patience, settling).await {
            Ok(settled) => settled,
            Err(_) => Err(SendError::Waiting { account: self.account() }),
        }
    }

    /// Waits until the chain has another block, at most 30 seconds: what is in the mempool, which a
    /// [quote](Self::quote) goes by and contracts that are asked do not, may be in it.
    ///
    /// # Errors
    /// When the endpoint does not tell.
    pub async fn next_block(&self) -> Result<(), SendError> {
        let before = self.height().await?;
        let comes = async {
            while self.height().await? <= before {
                self.pause().await;
            }
            Ok(())
        };
        tokio::time::timeout(NEXT_BLOCK, comes).await.unwrap_or(Ok(()))
    }

    /// The ether that an account has, in wei.
    ///
    /// # Errors
    /// When the endpoint does not tell.
    pub async fn ether_of(&self, account: Address) -> Result<U256, SendError> {
        self.provider.get_balance(account).await.map_err(|error| self.failed(&error))
    }

    /// The tokens that an account has, in units.
    ///
    /// # Errors
    /// When the endpoint does not tell, or there is no token.
    pub async fn tokens_of(&self, token: Address, account: Address) -> Result<U256, SendError> {
        self.view(token, Token::balanceOfCall { account }.abi_encode()).await
    }

    /// Whether there is a contract at an address.
    ///
    /// # Errors
    /// When the endpoint does not tell.
    pub async fn has_code(&self, at: Address) -> Result<bool, SendError> {
        let code = self.provider.get_code_at(at).await.map_err(|error| self.failed(&error))?;
        Ok(!code.is_empty())
    }

    /// Whether the account's transaction with this nonce made no contract at an address, as a final block shows: both
    /// are asked of one block by its hash, which a machine that is behind does not know.
    pub(in crate::settlement) async fn is_without(&self, at: Address, nonce: u64) -> Result<bool, SendError> {
        let block = self.provider.get_block(BlockId::finalized()).await;
        let Some(block) = block.map_err(|error| self.failed(&error))? else { return Ok(false) };
        let block = BlockId::hash(block.header.hash);
        let counted = self.provider.get_transaction_count(self.account()).block_id(block).await;
        if counted.map_err(|error| self.failed(&error))? <= nonce {
            return Ok(false);
        }
        let code = self.provider.get_code_at(at).block_id(block).await;
        Ok(code.map_err(|error| self.failed(&error))?.is_empty())
    }

    /// Waits until it is time to look again.
    pub(in crate::settlement) async fn pause(&self) {
        tokio::time::sleep(self.delivery.poll).await;
    }

    /// The host of the endpoint.
    pub(in crate::settlement) fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
