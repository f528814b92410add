//! What messages say of money: who was paid, who wants to be, and where.
//!
//! It is what a sender says, and no more: only the chain knows whether a payment was made.

use super::{OpenError, wire};

/// Bytes of an address on a settlement chain.
pub const ADDRESS: usize = 20;
/// Bytes of a key's word that its address belongs to an account.
pub const PROOF: usize = 65;
/// The longest note, in bytes; of a longer one the message is refused.
pub const MAX_NOTE: usize = 1_024;

/// What a message says of money.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Money {
    /// The sender says that it paid the recipient.
    Payment(Payment),
    /// The sender wants to be paid.
    Request {
        /// How much.
        sum: Sum,
        /// What for.
        note: Option<String>,
    },
    /// The sender wants to know where to pay the recipient.
    WalletWanted,
    /// The sender says where it is paid: see [`super::DirectMessage::wallet`].
    Wallet,
}

/// A payment, as its sender says that it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// How much.
    pub sum: Sum,
    /// The hash of the transaction.
    pub transaction: [u8; 32],
    /// What for.
    pub note: Option<String>,
}

/// So much of one coin of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The chain's id.
    pub chain: u64,
    /// The token's address; none for the chain's own coin.
    pub token: Option<[u8; ADDRESS]>,
    /// In units of the coin.
    pub units: u128,
}

/// Where somebody is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// The address.
    pub address: [u8; ADDRESS],
    /// What the address's key signed for the account: whoever pays checks it.
    pub proof: [u8; PROOF],
}

impl Money {
    pub(super) fn read(money: &wire::Money) -> Result<Self, OpenError> {
        let note = money.note.clone().filter(|note| !note.is_empty());
        if note.as_ref().is_some_and(|note| note.len() > MAX_NOTE) {
            return Err(OpenError::Money("note"));
        }
        if let Some(payment) = &money.payment {
            let transaction = exact(&payment.transaction, "transaction")?;
            return Ok(Self::Payment(Payment { sum: Sum::read(&payment.sum)?, transaction, note }));
        }
        if let Some(sum) = &money.request {
            return Ok(Self::Request { sum: Sum::read(sum)?, note });
        }
        Ok(if money.wallet_wanted == Some(true) { Self::WalletWanted } else { Self::Wallet })
    }

    pub(super) fn write(&self) -> wire::Money {
        let money = wire::Money { version: wire::MONEY, ..Default::default() };
        match self {
            Self::Payment(Payment { sum, transaction, note }) => {
                let payment = wire::Payment { sum: sum.write(), transaction: transaction.to_vec() };
                wire::Money { payment: Some(payment), note: note.clone(), ..money }
            }
            Self::Request { sum, note } => {
                wire::Money { request: Some(sum.write()), note: note.clone(), ..money }
            }
            Self::WalletWanted => wire::Money { wallet_wanted: Some(true), ..money },
            Self::Wallet => money,
        }
    }
}

impl Sum {
    fn read(sum: &wire::Sum) -> Result<Self, OpenError> {
        let token = match sum.token.as_slice() {
            [] => None,
            token => Some(exact(token, "token")?),
        };
        let units = u128::from_be_bytes(exact(&sum.units, "amount")?);
        // Nothing is never paid, and never asked for: who tells of it means something else by it.
        if units == 0 {
            return Err(OpenError::Money("amount"));
        }
        Ok(Self { chain: sum.chain, token, units })
    }

    fn write(&self) -> wire::Sum {
        let token = self.token.map(Vec::from).unwrap_or_default();
        wire::Sum { chain: self.chain, token, units: self.units.to_be_bytes().to_vec() }
    }
}

impl Wallet {
    pub(super) fn read(wallet: &wire::Wallet) -> Result<Self, OpenError> {
        Ok(Self {
            address: exact(&wallet.address, "address of a wallet")?,
            proof: exact(&wallet.proof, "proof of a wallet")?,
        })
    }

    pub(super) fn write(&self) -> wire::Wallet {
        wire::Wallet { address: self.address.to_vec(), proof: self.proof.to_vec() }
    }
}

fn exact<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], OpenError> {
    bytes.try_into().map_err(|_| OpenError::Money(what))
}
