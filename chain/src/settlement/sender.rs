//! Transactions that arrive, once: nonces, fees, receipts, and errors that say what is missing.
//!
//! Nothing is sent that would revert or that the account cannot pay. What is not mined in some blocks is sent
//! again under the same nonce with a higher fee, so that one of them is mined and no more. Under another nonce nothing
//! is signed again but what has its effect once however often it is mined: an endpoint may know of a transaction and
//! not say so.

use core::fmt;
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::{eip1559::Eip1559Estimation, eip2718::Encodable2718},
    primitives::{Address, B256, Bytes, TxKind, U256},
    providers::{Provider, RootProvider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolCall,
    transports::{RpcError, TransportError},
};

use super::{
    calls::Token,
    endpoint::{self, Endpoint},
    errors::Refusal,
    trouble::Trouble,
};
use crate::ledger::Amount;

pub(super) use error::ether;

pub use error::SendError;

mod error;
mod fees;
mod settled;

/// Blocks until a transaction that is not mined is sent again with a higher fee.
const PATIENCE: u64 = 5;
/// How often that is done.
const MAX_BUMPS: usize = 12;
/// What the first event after a border costs more, where a call was quoted before the border and is mined behind it.
const BORDER_GAS: u64 = 80_000;
/// How often a nonce is given up because somebody else took it.
const MAX_NONCES: u32 = 8;
/// How many looks in a row must show that somebody else has the nonce: what serves an endpoint may be several
/// machines, and know of a block what the other does not.
const TAKEN_LOOKS: u32 = 10;
/// The least from one of these looks to the next: also a single machine may count a transaction before it shows its receipt.
const TAKEN_PAUSE: Duration = Duration::from_millis(100);
/// What endpoints say when somebody sent another transaction with the nonce.
const TAKEN: [&str; 2] = ["nonce too low", "underpriced"];
/// What they say when they have just this one: it has arrived.
const KNOWN: [&str; 2] = ["already known", "already imported"];

/// What to send.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// To which contract; none deploys one.
    pub to: Option<Address>,
    /// The encoded call.
    pub data: Bytes,
    /// How much ether goes along, in wei.
    pub value: U256,
    /// What the contract will take of the account's tokens.
    pub spends: Option<Spending>,
    /// Whether it has its effect once however often it is mined: only then it is signed again with another nonce
    /// where its own seems to be taken.
    pub repeatable: bool,
}

/// Tokens that a contract will take.
#[derive(Clone, Copy, Debug)]
pub struct Spending {
    /// Which token.
    pub token: Address,
    /// Who takes them; with an allowance, unless it is the token itself.
    pub spender: Address,
    /// How many.
    pub amount: Amount,
}

/// What sending costs, before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Units of gas: a fifth more than the call takes now, and what the first event after a border costs more.
    pub gas: u64,
    /// What it will likely come to with the ether that goes along, in wei.
    pub likely: U256,
    /// The most that it can come to, in wei, also if it has to be sent again with a higher fee: nothing is sent that
    /// costs more.
    pub most: U256,
    fees: Eip1559Estimation,
    balance: U256,
}

impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "about {} ETH, at most {} ETH", ether(self.likely), ether(self.most))
    }
}

/// How sending goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is on its way.
    Sent {
        /// Its hash.
        hash: B256,
        /// Its nonce.
        nonce: u64,
    },
    /// It is sent again with a higher fee.
    Bumped {
        /// The hash of the new one.
        hash: B256,
        /// The most that it pays for a unit of gas, in wei.
        fee: u128,
    },
    /// It is in a block.
    Mined {
        /// Its hash.
        hash: B256,
        /// The height of the block.
        height: u64,
    },
}

/// How transactions are sent.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// From one look at the chain to the next.
    pub poll: Duration,
    /// How long to wait for a transaction in all.
    pub patience: Duration,
    /// In how many blocks it has to be: its own, and those after it.
    pub confirmations: u64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { poll: Duration::from_secs(1), patience: Duration::from_secs(600), confirmations: 1 }
    }
}

/// Sends one account's transactions over one endpoint, one after the other.
#[derive(Debug)]
pub struct Sender {
    endpoint: String,
    provider: RootProvider,
    signer: PrivateKeySigner,
    chain: u64,
    delivery: Delivery,
    checked: bool,
}

/// A transaction that is signed, and not sent so far.
#[derive(Clone, Debug)]
pub struct Signed {
    call: Call,
    transaction: TxEip1559,
    hash: B256,
    raw: Vec<u8>,
    /// The most that is ever offered for a unit of gas, in wei.
    cap: u128,
    /// What the account had when it was quoted, in wei.
    balance: U256,
    /// At which height it was signed.
    since: u64,
}

impl Signed {
    /// Its hash; one that is sent again with a higher fee has another.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Its nonce: one transaction at most is mined with it.
    pub const fn nonce(&self) -> u64 {
        self.transaction.nonce
    }
}

/// A transaction that is on its way, and its earlier versions.
struct Flight {
    transaction: TxEip1559,
    hashes: Vec<B256>,
    raw: Vec<u8>,
    /// At which height it was sent last.
    since: u64,
}

/// What became of a flight.
enum Landing {
    Mined(Box<TransactionReceipt>),
    /// Another transaction has the nonce.
    Taken,
}

impl Sender {
    /// A sender for an account on the chain of this id.
    pub fn new(endpoint: &Endpoint, signer: PrivateKeySigner, chain: u64, delivery: Delivery) -> Self {
        let provider = RootProvider::new(endpoint.rpc());
        Self { endpoint: endpoint.name().to_owned(), provider, signer, chain, delivery, checked: false }
    }

    /// The account.
    pub const fn account(&self) -> Address {
        self.signer.address()
    }

    /// The chain's id.
    pub const fn chain(&self) -> u64 {
        self.chain
    }

    /// The ether that the account has, in wei. What is returned waits by itself: the sender may send meanwhile.
    ///
    /// # Errors
    /// When the endpoint does not tell.
    pub fn balance(&self) -> impl Future<Output = Result<U256, TransportError>> + Send + use<> {
        let (provider, account) = (self.provider.clone(), self.account());
        async move { provider.get_balance(account).await }
    }

    /// The nonce of the account's next transaction.
    ///
    /// # Errors
    /// When the endpoint does not tell.
    pub async fn nonce(&self) -> Result<u64, SendError> {
        let counted = self.provider.get_transaction_count(self.account()).pending().await;
        counted.map_err(|error| self.failed(&error))
    }

    /// What a call would cost; nothing is sent.
    ///
    /// # Errors
    /// Tells what is missing, or why the contract would refuse.
    pub async fn quote(&mut self, call: &Call) -> Result<Quote, SendError> {
        self.check_chain().await?;
        let balance = self.check_balances(call).await?;
        let gas = match self.provider.estimate_gas(self.request(call)).await {
            Ok(gas) => gas,
            Err(error @ RpcError::ErrorResp(_)) => {
                return Err(SendError::Refused { refusal: Box::new(Refusal::of(&error)) });
            }
            Err(error) => return Err(self.failed(&error)),
        };
        let fees = self.fees().await?;
        let likely = cost(call.value, gas, present(&fees));
        let gas = with_room(gas);
        let most = cost(call.value, gas, fee_cap(&fees));
        self.affordable(call.value, Quote { gas, likely, most, fees, balance })
    }

    /// What two calls cost, of which the second can be tried only after the first; it will take so much gas,
    /// and spend so many tokens. Nothing is sent.
    ///
    /// # Errors
    /// Tells what is missing for both, or why the contract would refuse the first.
    pub async fn quote_both(
        &mut self,
        first: &Call,
        gas: u64,
        spends: Option<Spending>,
    ) -> Result<Quote, SendError> {
        self.check_balances(&Call { spends, ..Call::default() }).await?;
        let quote = self.quote(first).await?;
        let (fees, most) = (quote.fees, with_room(gas));
        let both = Quote {
            gas: quote.gas.saturating_add(most),
            likely: cost(quote.likely, gas, present(&fees)),
            most: cost(quote.most, most, fee_cap(&fees)),
            ..quote
        };
        self.affordable(first.value, both)
    }

    /// What a call comes to that takes so much gas and spends so many tokens, and that no endpoint is to hear
    /// of yet: it is not tried. Nothing is sent.
    ///
    /// # Errors
    /// Tells what is missing.
    pub async fn quote_untried(&mut self, gas: u64, spends: Option<Spending>) -> Result<Quote, SendError> {
        self.check_chain().await?;
        let balance = self.check_balances(&Call { spends, ..Call::default() }).await?;
        let fees = self.fees().await?;
        let likely = cost(U256::ZERO, gas, present(&fees));
        let gas = with_room(gas);
        let most = cost(U256::ZERO, gas, fee_cap(&fees));
        self.affordable(U256::ZERO, Quote { gas, likely, most, fees, balance })
    }

    /// A quote, if the account has what is offered for it at first.
    fn affordable(&self, value: U256, quote: Quote) -> Result<Quote, SendError> {
        let needs = cost(value, quote.gas, quote.fees.max_fee_per_gas);
        let (account, has) = (self.account(), quote.balance);
        if has < needs { Err(SendError::Ether { account, has, needs }) } else { Ok(quote) }
    }

    /// Sends a call and waits until it is mined.
    ///
    /// # Errors
    /// Tells what is missing, or what the contract says; most are found before anything is sent.
    pub async fn send(
        &mut self,
        call: &Call,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, SendError> {
        let quote = self.quote(call).await?;
        self.send_at(call, &quote, progress).await
    }

    /// Sends a call for no more than was quoted for it, and waits until it is mined.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_at(
        &mut self,
        call: &Call,
        quote: &Quote,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, SendError> {
        for _ in 0..MAX_NONCES {
            let signed = self.sign(call, quote).await?;
            match self.fly(&signed, &mut progress).await? {
                Landing::Taken if call.repeatable => {}
                landing @ (Landing::Taken | Landing::Mined(_)) => return self.landed(&signed, landing).await,
            }
        }
        Err(SendError::Contended { account: self.account() })
    }

    /// Signs a call for no more than was quoted for it. Nothing is sent: whoever has to know of it before it can be
    /// mined writes its hash down, then [delivers](Self::deliver) it.
    ///
    /// # Errors
    /// When the endpoint does not tell what comes next, or the key cannot sign.
    pub async fn sign(&self, call: &Call, quote: &Quote) -> Result<Signed, SendError> {
        let Quote { gas, fees, balance, .. } = *quote;
        let (nonce, since) = (self.nonce().await?, self.height().await?);
        let transaction = TxEip1559 {
            chain_id: self.chain,
            nonce,
            gas_limit: gas,
            max_fee_per_gas: own_fee(&fees),
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            to: call.to.map_or(TxKind::Create, TxKind::Call),
            value: call.value,
            input: call.data.clone(),
            access_list: Default::default(),
        };
        let (hash, raw) = self.signature(&transaction)?;
        Ok(Signed { call: call.clone(), transaction, hash, raw, cap: fee_cap(&fees), balance, since })
    }

    /// Sends what is signed, with no nonce but its own, and waits until it is mined.
    ///
    /// # Errors
    /// Tells what is wrong; unless it is [`SendError::Reverted`] it may be mined all the same.
    pub async fn deliver(
        &self,
        signed: Signed,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, SendError> {
        let landing = self.fly(&signed, &mut progress).await?;
        self.landed(&signed, landing).await
    }

    /// Sends what is signed, and waits for what becomes of it.
    async fn fly(
        &self,
        signed: &Signed,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Landing, SendError> {
        let Some(flight) = self.launch(signed).await? else { return Ok(Landing::Taken) };
        progress(Progress::Sent { hash: signed.hash, nonce: signed.nonce() });
        self.wait(flight, signed.balance, signed.cap, progress).await
    }

    async fn landed(&self, signed: &Signed, landing: Landing) -> Result<TransactionReceipt, SendError> {
        match landing {
            // Nobody but the endpoint says that it was another: it may be this one.
            Landing::Taken => Err(SendError::Unmined { hash: signed.hash, nonce: signed.nonce() }),
            Landing::Mined(receipt) if receipt.status() => Ok(*receipt),
            Landing::Mined(receipt) => {
                let refusal = Box::new(self.refusal(&signed.call, &receipt).await);
                Err(SendError::Reverted { hash: receipt.transaction_hash, refusal })
            }
        }
    }

    async fn check_chain(&mut self) -> Result<(), SendError> {
        if !self.checked {
            let found = self.provider.get_chain_id().await.map_err(|error| self.failed(&error))?;
            if found != self.chain {
                return Err(self.trouble(Trouble::WrongChain { found, wanted: self.chain }));
            }
            self.checked = true;
        }
        Ok(())
    }

    /// The account's ether, if value and tokens suffice.
    async fn check_balances(&self, call: &Call) -> Result<U256, SendError> {
        let account = self.account();
        let balance = self.provider.get_balance(account).await.map_err(|error| self.failed(&error))?;
        if balance < call.value {
            return Err(SendError::Ether { account, has: balance, needs: call.value });
        }
        let Some(Spending { token, spender, amount: needs }) = call.spends else { return Ok(balance) };
        let has = self.view(token, Token::balanceOfCall { account }.abi_encode()).await?;
        if has < needs.units() {
            return Err(SendError::Tokens { account, has, needs });
        }
        if spender != token {
            let allowed = Token::allowanceCall { owner: account, spender }.abi_encode();
            let has = self.view(token, allowed).await?;
            if has < needs.units() {
                return Err(SendError::Allowance { account, spender, has, needs });
            }
        }
        Ok(balance)
    }

    async fn view(&self, to: Address, data: Vec<u8>) -> Result<U256, SendError> {
        let request = TransactionRequest::default().to(to).input(Bytes::from(data).into());
        let returned = self.provider.call(request).await.map_err(|error| self.failed(&error))?;
        let word: [u8; 32] = returned.as_ref().try_into().map_err(|_| SendError::NoToken { token: to })?;
        Ok(U256::from_be_bytes(word))
    }

    fn request(&self, call: &Call) -> TransactionRequest {
        let request = TransactionRequest {
            from: Some(self.account()),
            to: Some(call.to.map_or(TxKind::Create, TxKind::Call)),
            value: Some(call.value),
            ..TransactionRequest::default()
        };
        request.input(call.data.clone().into())
    }

    async fn fees(&self) -> Result<Eip1559Estimation, SendError> {
        self.provider.estimate_eip1559_fees().await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn height(&self) -> Result<u64, SendError> {
        self.provider.get_block_number().await.map_err(|error| self.failed(&error))
    }

    /// Sends what is signed; none when somebody else is said to have taken the nonce.
    async fn launch(&self, signed: &Signed) -> Result<Option<Flight>, SendError> {
        let Signed { transaction, hash, raw, since, .. } = signed.clone();
        match self.provider.send_raw_transaction(&raw).await {
            Ok(_) => {}
            Err(error) if says(&error, &KNOWN) => {}
            Err(error) if says(&error, &TAKEN) => return Ok(None),
            Err(error @ RpcError::ErrorResp(_)) => return Err(self.failed(&error)),
            // It may have arrived, and only the answer is lost.
            Err(error) => {
                let (endpoint, trouble) = (self.endpoint.clone(), endpoint::trouble(&error));
                return Err(SendError::Unanswered { endpoint, trouble, hash, nonce: transaction.nonce });
            }
        }
        Ok(Some(Flight { transaction, hashes: vec![hash], raw, since }))
    }

    fn signature(&self, transaction: &TxEip1559) -> Result<(B256, Vec<u8>), SendError> {
        let signature = self.signer.sign_hash_sync(&transaction.signature_hash())?;
        let signed = TxEnvelope::from(transaction.clone().into_signed(signature));
        Ok((*signed.tx_hash(), signed.encoded_2718()))
    }

    /// Waits until one of a flight's versions is mined, and sends more expensive ones.
    async fn wait(
        &self,
        mut flight: Flight,
        balance: U256,
        cap: u128,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Landing, SendError> {
        let (mut told, mut taken) = (None, 0);
        let waited = tokio::time::timeout(self.delivery.patience, async {
            loop {
                // An endpoint that fails for a while is asked again: the transaction is under way.
                if let Ok(Some(landing)) = self.landing(&flight).await {
                    let Landing::Mined(receipt) = &landing else {
                        taken += 1;
                        if taken >= TAKEN_LOOKS {
                            return landing;
                        }
                        tokio::time::sleep(self.delivery.poll.max(TAKEN_PAUSE)).await;
                        continue;
                    };
                    taken = 0;
                    let (hash, height) = (receipt.transaction_hash, receipt.block_number.unwrap_or_default());
                    if told.replace((hash, height)) != Some((hash, height)) {
                        progress(Progress::Mined { hash, height });
                    }
                    let deep = self.height().await.is_ok_and(|head| {
                        head.saturating_add(1).saturating_sub(height) >= self.delivery.confirmations
                    });
                    if deep {
                        return landing;
                    }
                } else {
                    self.bump(&mut flight, balance, cap, progress).await;
                }
                tokio::time::sleep(self.delivery.poll).await;
            }
        })
        .await;
        let unmined = |_| SendError::Unmined {
            hash: flight.hashes.last().copied().unwrap_or_default(),
            nonce: flight.transaction.nonce,
        };
        waited.map_err(unmined)
    }

    /// What became of a flight; none while it is under way.
    async fn landing(&self, flight: &Flight) -> Result<Option<Landing>, TransportError> {
        // Counted before the receipts are asked for: else one could be mined in between.
        let counted = self.provider.get_transaction_count(self.account()).await?;
        for hash in flight.hashes.iter().rev() {
            if let Some(receipt) = self.provider.get_transaction_receipt(*hash).await? {
                return Ok(Some(Landing::Mined(Box::new(receipt))));
            }
        }
        Ok((counted > flight.transaction.nonce).then_some(Landing::Taken))
    }

    /// Sends it again when it has waited for long: with a fee that is higher by an eighth or more, as nodes
    /// demand, if that is not above the cap and the account can pay it.
    async fn bump(
        &self,
        flight: &mut Flight,
        balance: U256,
        cap: u128,
        progress: &mut (impl FnMut(Progress) + Send),
    ) {
        let Ok(height) = self.height().await else { return };
        if height < flight.since.saturating_add(PATIENCE) {
            return;
        }
        flight.since = height;
        let Ok(market) = self.fees().await else { return };
        let mut transaction = flight.transaction.clone();
        let TxEip1559 { max_fee_per_gas, max_priority_fee_per_gas, .. } = &mut transaction;
        let least = higher(*max_fee_per_gas);
        *max_fee_per_gas = least.max(market.max_fee_per_gas.min(cap));
        *max_priority_fee_per_gas =
            higher(*max_priority_fee_per_gas).max(market.max_priority_fee_per_gas).min(*max_fee_per_gas);
        let fee = transaction.max_fee_per_gas;
        if least > cap
            || flight.hashes.len() > MAX_BUMPS
            || balance < cost(transaction.value, transaction.gas_limit, fee)
        {
            // What can be paid is sent once more, in case it was forgotten.
            let _ = self.provider.send_raw_transaction(&flight.raw).await;
            return;
        }
        let Ok((hash, raw)) = self.signature(&transaction) else { return };
        // Whatever the answer, it may have arrived: it is looked for, and told before it can be mined.
        flight.hashes.push(hash);
        progress(Progress::Bumped { hash, fee });
        if self.provider.send_raw_transaction(&raw).await.is_ok() {
            (flight.transaction, flight.raw) = (transaction, raw);
        }
    }

    /// Why a transaction that was mined had no effect: what the contract says where it was.
    async fn refusal(&self, call: &Call, receipt: &TransactionReceipt) -> Refusal {
        let height = receipt.block_number.unwrap_or_default();
        match self.provider.call(self.request(call)).block(height.into()).await {
            Err(error) => Refusal::of(&error),
            Ok(_) => Refusal::unknown("the contract refused it, or its gas ran out".to_owned()),
        }
    }

    fn failed(&self, error: &TransportError) -> SendError {
        self.trouble(endpoint::trouble(error))
    }

    fn trouble(&self, trouble: Trouble) -> SendError {
        SendError::Endpoint { endpoint: self.endpoint.clone(), trouble }
    }
}

fn says(error: &TransportError, words: &[&str]) -> bool {
    let RpcError::ErrorResp(refusal) = error else { return false };
    let message = refusal.message.to_ascii_lowercase();
    words.iter().any(|words| message.contains(words))
}

/// What is offered at first for a unit of gas, less up to a thousandth of it. Two programs that make the same call at
/// the same moment would make the same transaction, and both would take it for theirs.
fn own_fee(fees: &Eip1559Estimation) -> u128 {
    let spare = fees.max_fee_per_gas.saturating_sub(fees.max_priority_fee_per_gas) / 1_024;
    let less = u128::from(RandomState::new().hash_one(())).checked_rem(spare).unwrap_or_default();
    fees.max_fee_per_gas.saturating_sub(less)
}

/// The gas that is offered for a call that was tried: it may be mined in another state than it was tried in.
const fn with_room(gas: u64) -> u64 {
    gas.saturating_add(gas / 5).saturating_add(BORDER_GAS)
}

/// The most that is ever offered for a unit of gas: twice what is offered at first.
const fn fee_cap(fees: &Eip1559Estimation) -> u128 {
    fees.max_fee_per_gas.saturating_mul(2)
}

/// The most that a transaction can cost, in wei.
fn cost(value: U256, gas: u64, fee: u128) -> U256 {
    U256::from(gas).saturating_mul(U256::from(fee)).saturating_add(value)
}

/// What a unit of gas likely costs now: the most that is offered is twice the present base fee, and the tip.
const fn present(fees: &Eip1559Estimation) -> u128 {
    let tip = fees.max_priority_fee_per_gas;
    (fees.max_fee_per_gas.saturating_sub(tip) / 2).saturating_add(tip)
}

/// An eighth more, rounded up.
const fn higher(fee: u128) -> u128 {
    fee.saturating_add(fee.div_ceil(8)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_rises_by_an_eighth_at_least() {
        for fee in [0, 1, 7, 8, 1_000_000_007] {
            assert!(higher(fee) * 8 >= fee * 9 && higher(fee) > fee);
        }
        assert_eq!(higher(u128::MAX), u128::MAX);
    }
}
