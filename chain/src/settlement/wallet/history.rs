//! What an account paid and was paid in SESH, by the token's own events.

use std::collections::BTreeSet;

use alloy::{
    consensus::Transaction as _,
    eips::BlockNumberOrTag,
    network::TransactionResponse,
    primitives::{Address, B256},
    providers::Provider,
    rpc::types::{Filter, Log},
    sol_types::{SolCall, SolEvent},
    transports::{RpcError, TransportError},
};

use super::{Wallet, WalletError};
use crate::{
    ledger::Amount,
    settlement::{calls::Token, endpoint::logs_failure, follower::Failure, trouble::Trouble},
};

/// The most questions that a history takes, where endpoints give the logs of few blocks at once.
const MAX_QUESTIONS: usize = 4_096;

/// One transfer of SESH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// In which transaction.
    pub transaction: B256,
    /// In which block; none while it is in no block.
    pub height: Option<u64>,
    /// When that was, in seconds since 1970, where the endpoint says it.
    pub time: Option<u64>,
    /// Who paid.
    pub from: Address,
    /// Who was paid.
    pub to: Address,
    /// How much.
    pub amount: Amount,
    /// Whether its block is final: else it may still disappear.
    pub is_final: bool,
}

/// The newest transfers of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Newest first; those in no block before all others.
    pub transfers: Vec<Transfer>,
    /// Whether there may be older ones.
    pub more: bool,
}

impl Wallet {
    /// The newest transfers of SESH from and to the account, `most` at most.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn history(&self, most: usize) -> Result<History, WalletError> {
        let head = self.caller.provider().get_block_number().await.map_err(|error| self.failed(&error))?;
        let last_final = self.caller.provider().get_block_by_number(BlockNumberOrTag::Finalized).await;
        let last_final = last_final.map_err(|error| self.failed(&error))?;
        let last_final = last_final.map_or(0, |block| block.header.number);
        let mut transfers = self.unmined().await;
        let (start, mut to, mut span) = (self.caller.settlement().start, head, u64::MAX);
        for _ in 0..MAX_QUESTIONS {
            let from = to.saturating_sub(span).max(start);
            match self.transfers(from, to).await {
                Ok(logs) => {
                    for log in logs.into_iter().rev() {
                        let read = self.read(&log, last_final);
                        transfers
                            .push(read.ok_or_else(|| self.trouble(Trouble::NoAnswer { what: "transfers" }))?);
                    }
                    let whole = from <= start;
                    if whole || transfers.len() > most {
                        return Ok(newest(transfers, most, !whole));
                    }
                    to = from.saturating_sub(1);
                }
                // So many blocks are refused.
                Err(error) if to > from && is_too_many(&error) => span = to.saturating_sub(from) / 2,
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Err(WalletError::Unsearched { endpoint: self.caller.endpoint().to_owned(), from: start, to })
    }

    /// The logs of transfers in both directions, oldest first, each once.
    async fn transfers(&self, from: u64, to: u64) -> Result<Vec<Log>, TransportError> {
        let account = self.address().into_word();
        let filter = Filter::new()
            .address(self.caller.settlement().contracts.token)
            .event_signature(Token::Transfer::SIGNATURE_HASH)
            .from_block(from)
            .to_block(to);
        let mut logs = self.caller.provider().get_logs(&filter.clone().topic1(account)).await?;
        logs.extend(self.caller.provider().get_logs(&filter.topic2(account)).await?);
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        logs.dedup_by_key(|log| (log.block_number, log.log_index));
        Ok(logs)
    }

    /// A transfer of this account, if the log is one.
    fn read(&self, log: &Log, last_final: u64) -> Option<Transfer> {
        let Token::Transfer { from, to, value } = Token::Transfer::decode_log_data(&log.inner.data).ok()?;
        let own = from == self.address() || to == self.address();
        let height = log.block_number?;
        (own && log.inner.address == self.caller.settlement().contracts.token).then_some(Transfer {
            transaction: log.transaction_hash?,
            height: Some(height),
            time: log.block_timestamp,
            from,
            to,
            amount: Amount::try_from(value).ok()?,
            is_final: height <= last_final,
        })
    }

    /// Transfers that are in no block so far, as far as the endpoint shows what waits: many show nothing.
    async fn unmined(&self) -> Vec<Transfer> {
        let waiting = self.caller.provider().get_block_by_number(BlockNumberOrTag::Pending).full().await;
        let Ok(Some(block)) = waiting else { return Vec::new() };
        let account = self.address();
        let transfer = |transaction: &alloy::rpc::types::Transaction| {
            if transaction.to() != Some(self.caller.settlement().contracts.token) {
                return None;
            }
            let Token::transferCall { to, value } =
                Token::transferCall::abi_decode(transaction.input()).ok()?;
            let from = transaction.from();
            let own = from == account || to == account;
            let amount = Amount::try_from(value).ok()?;
            let transaction = transaction.tx_hash();
            own.then_some(Transfer {
                transaction,
                height: None,
                time: None,
                from,
                to,
                amount,
                is_final: false,
            })
        };
        block.transactions.as_transactions().unwrap_or_default().iter().rev().filter_map(transfer).collect()
    }
}

/// The newest of these; what was mined since it was seen waiting is named once.
fn newest(mut transfers: Vec<Transfer>, most: usize, more: bool) -> History {
    let mined: BTreeSet<B256> =
        transfers.iter().filter(|it| it.height.is_some()).map(|it| it.transaction).collect();
    transfers.retain(|it| it.height.is_some() || !mined.contains(&it.transaction));
    let more = more || transfers.len() > most;
    transfers.truncate(most);
    History { transfers, more }
}

fn is_too_many(error: &TransportError) -> bool {
    matches!(error, RpcError::ErrorResp(_)) || matches!(logs_failure(error), Failure::TooMany)
}
