//! One account's money on the settlement chain: what it has, what it pays, and what it was paid.
//!
//! What is had and what was transferred is as the first endpoint that serves the chain tells it. That somebody
//! was paid is believed of no single one: [`payment`] asks all.

use core::fmt;

use alloy::{
    eips::BlockId,
    primitives::{Address, Bytes, U256, utils::parse_ether},
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
    transports::TransportError,
};

use super::{
    caller::Caller,
    calls::Token,
    sender::{Call, Delivery, Progress, Quote, SendError, Signed, Spending, ether},
    trouble::Trouble,
};
use crate::{ledger::Amount, network::Settlement};

pub use error::WalletError;
pub use history::{History, Transfer};
pub use payment::{Payment, Standing};

mod error;
mod history;
pub mod payment;

/// A sum of money, in one of the two coins that a wallet holds. Shown with the coin's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// Session Tokens.
    Sesh(Amount),
    /// The chain's own coin, which fees are paid with, in wei.
    Native(U256),
}

/// A text is no sum of the chain's own coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount of ETH with up to 18 decimals, such as 1 or 0.05")]
pub struct NativeError;

impl Sum {
    /// Reads a decimal number of the chain's own coin.
    ///
    /// # Errors
    /// When it is none.
    pub fn native(text: &str) -> Result<Self, NativeError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || whole.len() > 20 || decimals.len() > 18 {
            return Err(NativeError);
        }
        parse_ether(text).map(Self::Native).map_err(|_| NativeError)
    }

    /// The units, as the chain counts them.
    pub fn units(self) -> U256 {
        match self {
            Self::Sesh(amount) => amount.units(),
            Self::Native(wei) => wei,
        }
    }

    /// The decimal number alone.
    pub fn number(self) -> String {
        match self {
            Self::Sesh(amount) => amount.to_string(),
            Self::Native(wei) => ether(wei),
        }
    }

    /// As many units of the same coin.
    fn like(self, units: U256) -> Self {
        match self {
            Self::Sesh(_) => Self::Sesh(Amount(u128::try_from(units).unwrap_or(u128::MAX))),
            Self::Native(_) => Self::Native(units),
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coin = match self {
            Self::Sesh(_) => "SESH",
            Self::Native(_) => "ETH",
        };
        write!(f, "{} {coin}", self.number())
    }
}

/// What an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balances {
    /// Session Tokens.
    pub sesh: Amount,
    /// The chain's own coin, in wei.
    pub native: U256,
}

/// One account's money.
#[derive(Debug)]
pub struct Wallet {
    caller: Caller,
}

impl Wallet {
    /// The money of a key on a network's chain, over the first endpoint that serves it.
    ///
    /// # Errors
    /// When none does, or the token is not there.
    pub async fn connect(
        settlement: &Settlement,
        signer: PrivateKeySigner,
        delivery: Delivery,
    ) -> Result<Self, WalletError> {
        Ok(Self { caller: Caller::connect(settlement, signer, delivery).await? })
    }

    /// The account's address.
    pub const fn address(&self) -> Address {
        self.caller.account()
    }

    /// What the account has.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn balances(&self) -> Result<Balances, WalletError> {
        let (token, account) = (self.caller.settlement().contracts.token, self.address());
        let data = Bytes::from(Token::balanceOfCall { account }.abi_encode());
        let request = TransactionRequest::default().to(token).input(data.into());
        // What is in no block so far would count otherwise, in this coin alone.
        let returned = self.caller.provider().call(request).block(BlockId::latest()).await;
        let returned = returned.map_err(|error| self.failed(&error))?;
        let units = Token::balanceOfCall::abi_decode_returns(&returned);
        let sesh = units.ok().and_then(|units| Amount::try_from(units).ok());
        let sesh = sesh.ok_or(SendError::NoToken { token })?;
        let native =
            self.caller.provider().get_balance(account).await.map_err(|error| self.failed(&error))?;
        Ok(Balances { sesh, native })
    }

    /// How many names the account has, those among them that expired and can be renewed.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn names(&self) -> Result<u64, WalletError> {
        let (names, account) = (self.caller.settlement().contracts.names, self.address());
        // The contract of names counts what an account has by the same call as the token.
        let count = self.caller.view(names, Token::balanceOfCall { account }).await?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// How many of the account's transactions wait for a block.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn waiting(&self) -> Result<u64, WalletError> {
        let next = self.caller.nonce().await?;
        let mined = self.caller.provider().get_transaction_count(self.address()).await;
        Ok(next.saturating_sub(mined.map_err(|error| self.failed(&error))?))
    }

    /// What pays a sum to somebody. Nothing is sent.
    ///
    /// # Errors
    /// When it is nothing, or would be lost: with nobody, or with the token's own contract.
    pub fn transfer(&self, to: Address, sum: Sum) -> Result<Call, WalletError> {
        let token = self.caller.settlement().contracts.token;
        if sum.units().is_zero() {
            return Err(WalletError::Nothing);
        }
        if to == Address::ZERO || to == token {
            return Err(WalletError::Lost { to });
        }
        Ok(match sum {
            Sum::Native(value) => Call { to: Some(to), value, ..Call::default() },
            Sum::Sesh(amount) => Call {
                to: Some(token),
                data: Token::transferCall { to, value: amount.units() }.abi_encode().into(),
                spends: Some(Spending { token, spender: token, amount }),
                ..Call::default()
            },
        })
    }

    /// What a transfer would cost; nothing is sent.
    ///
    /// # Errors
    /// Tells what is missing, or why the contract would refuse.
    pub async fn quote(&mut self, call: &Call) -> Result<Quote, WalletError> {
        Ok(self.caller.sender().quote(call).await?)
    }

    /// Sends a transfer and waits until it is mined.
    ///
    /// # Errors
    /// Tells what is missing, or what the contract says; most are found before anything is sent.
    pub async fn send(
        &mut self,
        call: &Call,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, WalletError> {
        Ok(self.caller.sender().send(call, progress).await?)
    }

    /// Signs a transfer for no more than was quoted for it, and sends nothing: whoever pays writes its hash down
    /// first.
    ///
    /// # Errors
    /// When the endpoint does not tell what comes next, or the key cannot sign.
    pub async fn sign(&mut self, call: &Call, quote: &Quote) -> Result<Signed, WalletError> {
        Ok(self.caller.sender().sign(call, quote).await?)
    }

    /// Sends a transfer that is signed and waits until it is mined. It pays once or not at all.
    ///
    /// # Errors
    /// Tells what is wrong; unless it was mined without effect it may pay all the same.
    pub async fn deliver(
        &mut self,
        signed: Signed,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, WalletError> {
        Ok(self.caller.sender().deliver(signed, progress).await?)
    }

    fn failed(&self, error: &TransportError) -> WalletError {
        self.caller.failed(error).into()
    }

    fn trouble(&self, trouble: Trouble) -> WalletError {
        self.caller.trouble(trouble).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_decimal_numbers_of_their_coin() {
        let wei = U256::from(10).pow(U256::from(16));
        assert_eq!(Sum::native("0.01"), Ok(Sum::Native(wei)));
        assert_eq!(
            (Sum::Native(wei).to_string(), Sum::Native(wei).number()),
            ("0.01 ETH".into(), "0.01".into())
        );
        assert_eq!(Sum::Sesh(Amount(1_500_000_000)).to_string(), "1.5 SESH");
        for wrong in
            ["", ".", "-1", "+1", "1e3", "1,5", " 1", "0.0000000000000000001", "1gwei", &"9".repeat(21)]
        {
            assert_eq!(Sum::native(wrong), Err(NativeError), "{wrong}");
        }
    }
}
