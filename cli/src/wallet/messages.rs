//! What messages say of money, and what the chain says of that.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use serde::Serialize;
use session_chain::{
    Amount, account as chain_account,
    network::Settlement,
    settlement::wallet::{Payment, Standing, Sum, payment::check},
};
use session_client::{
    InboxItem,
    envelope::{self, DirectMessage, Kind, Money},
    home::{Home, Paid},
};
use session_protocols::{AccountId, MessageHash};

use super::lower;
use crate::{
    account,
    failure::{Failure, chain},
};

/// What a message says of money, as programs are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Said {
    /// That the reader was paid.
    Payment {
        amount: String,
        coin: &'static str,
        transaction: String,
        /// Whether it holds: `verified`, `pending` or `claimed`.
        state: State,
        #[serde(skip_serializing_if = "Option::is_none")]
        height: Option<u64>,
        /// Why it is not verified.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// That the sender wants to be paid.
    Request {
        amount: String,
        coin: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// That the sender wants to know where to pay.
    AddressWanted,
    /// Where the sender is paid; none where its key did not say so.
    Address { address: Option<String> },
}

/// How far a payment can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It is on the chain, and final.
    Verified,
    /// It is on its way.
    Pending,
    /// Nobody but the sender says so.
    Claimed,
}

/// Reads what messages to one account say of money.
pub(crate) struct Cashier {
    home: Home,
    account: AccountId,
    /// The addresses at which the account is paid: of the key it uses, and of the one of its recovery phrase.
    own: Vec<Address>,
    settlement: Option<Settlement>,
    /// The messages that told of payments here, by transaction.
    told: BTreeMap<[u8; 32], MessageHash>,
}

impl Cashier {
    pub(crate) fn new(
        home: &Home,
        name: &str,
        account: AccountId,
        settlement: Option<Settlement>,
    ) -> Result<Self, Failure> {
        let used = account::signer(home, name, &account)?.0.address();
        let grown = chain_account::signer(home.account(name)?.seed()).address();
        let own = if used == grown { vec![used] } else { vec![used, grown] };
        Ok(Self { home: home.clone(), account, own, settlement, told: BTreeMap::new() })
    }

    /// What a message says of money, if anything.
    pub(crate) async fn read(&mut self, item: &InboxItem) -> Result<Option<Said>, Failure> {
        let Ok(message) = &item.content else { return Ok(None) };
        let Kind::Money(money) = &message.kind else { return Ok(None) };
        Ok(Some(match money {
            Money::Payment(payment) => self.payment(item.hash, message, payment).await?,
            Money::Request { sum, note } => match self.sum(sum) {
                Ok(sum) => Said::Request { amount: sum.number(), coin: coin(&sum), note: note.clone() },
                Err(_) => {
                    Said::Request { amount: sum.units.to_string(), coin: "unknown", note: note.clone() }
                }
            },
            Money::WalletWanted => Said::AddressWanted,
            _ => Said::Address { address: proven(message).map(lower) },
        }))
    }

    async fn payment(
        &mut self,
        hash: MessageHash,
        message: &DirectMessage,
        payment: &envelope::Payment,
    ) -> Result<Said, Failure> {
        let sum = self.sum(&payment.sum);
        let (state, height, why) = match &sum {
            Ok(sum) => self.state(hash, message, payment, *sum).await?,
            Err(why) => (State::Claimed, None, Some((*why).to_owned())),
        };
        let (amount, coin) = match &sum {
            Ok(sum) => (sum.number(), coin(sum)),
            Err(_) => (payment.sum.units.to_string(), "unknown"),
        };
        let transaction = B256::from(payment.transaction).to_string();
        Ok(Said::Payment { amount, coin, transaction, state, height, why, note: payment.note.clone() })
    }

    /// Whether a payment holds.
    async fn state(
        &mut self,
        hash: MessageHash,
        message: &DirectMessage,
        payment: &envelope::Payment,
        sum: Sum,
    ) -> Result<(State, Option<u64>, Option<String>), Failure> {
        let claimed = |why: String| Ok((State::Claimed, None, Some(why)));
        let Some(from) = proven(message) else {
            return claimed("its sender has not shown that the address which paid is its own".to_owned());
        };
        let kept = self.home.paid(&self.account, &payment.transaction)?;
        let first = kept.map(|paid| paid.message).or_else(|| self.told.get(&payment.transaction).copied());
        if first.is_some_and(|first| first != hash) {
            return claimed("another message told of this transaction before".to_owned());
        }
        if let Some(Paid { height, .. }) = kept {
            return Ok((State::Verified, Some(height), None));
        }
        let Some(settlement) = &self.settlement else {
            return claimed("this network has no chain".to_owned());
        };
        let mut standing = Ok(Standing::Unknown);
        for to in &self.own {
            let transaction = payment.transaction.into();
            standing = check(settlement, &Payment { transaction, from, to: *to, sum }).await;
            if !matches!(standing, Ok(Standing::Short { .. })) {
                break;
            }
        }
        match standing {
            Ok(Standing::Paid { height }) => {
                let paid = Paid { message: hash, height };
                self.home.keep_paid(&self.account, &payment.transaction, paid)?;
                self.told.insert(payment.transaction, hash);
                Ok((State::Verified, Some(height), None))
            }
            Ok(Standing::Pending { height }) => {
                self.told.insert(payment.transaction, hash);
                Ok((State::Pending, height, Some("it is not final so far".to_owned())))
            }
            Ok(standing) => claimed(why(&standing)),
            Err(error) => claimed(format!("it could not be checked: {}", chain(&error))),
        }
    }

    /// A sum of this network's chain, or why it is none.
    fn sum(&self, sum: &envelope::Sum) -> Result<Sum, &'static str> {
        let settlement = self.settlement.as_ref().ok_or("this network has no chain")?;
        if sum.chain != settlement.chain {
            return Err("it is said to be on another chain than this network's");
        }
        match sum.token.map(Address::from) {
            None => Ok(Sum::Native(U256::from(sum.units))),
            Some(token) if token == settlement.contracts.token => Ok(Sum::Sesh(Amount(sum.units))),
            Some(_) => Err("it is of another token than SESH"),
        }
    }
}

/// Keeps where the senders of messages are paid, as their keys signed.
pub(crate) fn learn(home: &Home, items: &[InboxItem]) -> Result<(), Failure> {
    for item in items {
        let Ok(message) = &item.content else { continue };
        if let Some(address) = proven(message) {
            home.keep_said(&message.from, address.into_array(), item.timestamp_ms)?;
        }
    }
    Ok(())
}

/// The address of a message's sender, if its key says that it belongs to the sender.
fn proven(message: &DirectMessage) -> Option<Address> {
    let wallet = message.wallet?;
    let address = Address::from(wallet.address);
    chain_account::is_proven(address, &message.from, &wallet.proof).then_some(address)
}

/// A sum of this network's chain, that the home keeps.
pub(super) fn sum(kept: &envelope::Sum) -> Sum {
    match kept.token {
        None => Sum::Native(U256::from(kept.units)),
        Some(_) => Sum::Sesh(Amount(kept.units)),
    }
}

/// Which coin, for programs.
pub(super) const fn coin(sum: &Sum) -> &'static str {
    match sum {
        Sum::Sesh(_) => "sesh",
        Sum::Native(_) => "native",
    }
}

/// Why a payment is none.
pub(super) fn why(standing: &Standing) -> String {
    match standing {
        Standing::Short { paid } if paid.units().is_zero() => {
            "the transaction pays nothing of the kind".to_owned()
        }
        Standing::Short { paid } => format!("the transaction pays {paid}"),
        Standing::Failed => "the transaction failed".to_owned(),
        Standing::Unknown => {
            "there is no such transaction: it was never sent, or is gone after a reorganisation".to_owned()
        }
        Standing::Paid { .. } | Standing::Pending { .. } => String::new(),
    }
}

impl Said {
    /// What people are told behind the sender's name, where no text of a sender's can stand.
    pub(crate) fn head(&self) -> String {
        match self {
            Self::Payment { amount, coin, state, height, why, .. } => {
                let (sum, why) = (shown(amount, coin), why.as_deref().unwrap_or_default());
                match (state, height) {
                    (State::Verified, Some(height)) => {
                        format!("[paid you {sum}: verified, in block {height}]")
                    }
                    (State::Verified, None) => format!("[paid you {sum}: verified]"),
                    (State::Pending, _) => format!("[pays you {sum}: pending, {why}]"),
                    (State::Claimed, _) => format!("[claims to have paid you {sum}, NOT verified: {why}]"),
                }
            }
            Self::Request { amount, coin, .. } => format!("[asks for {}]", shown(amount, coin)),
            Self::AddressWanted => "[asks where to pay you]".to_owned(),
            Self::Address { address: Some(address) } => format!("[is paid at {address}]"),
            Self::Address { address: None } => {
                "[names an address, and has not shown that it is its own]".to_owned()
            }
        }
    }

    /// What people are told below it: the note, and what can be done.
    pub(crate) fn body(&self, from: &str) -> String {
        match self {
            Self::Payment { transaction, note, .. } => {
                lines(note.as_deref(), &format!("transaction {transaction}"))
            }
            Self::Request { amount, coin, note } => {
                let native = if *coin == "native" { " --native" } else { "" };
                lines(note.as_deref(), &format!("to pay it: session wallet send {amount} {from}{native}"))
            }
            Self::AddressWanted => format!("to answer: session wallet address --tell {from}"),
            Self::Address { .. } => format!("to pay: session wallet send AMOUNT {from}"),
        }
    }

    /// The sender's own words.
    pub(crate) fn note(&self) -> Option<&str> {
        match self {
            Self::Payment { note, .. } | Self::Request { note, .. } => note.as_deref(),
            Self::AddressWanted | Self::Address { .. } => None,
        }
    }
}

fn shown(amount: &str, coin: &str) -> String {
    match coin {
        "sesh" => format!("{amount} SESH"),
        "native" => format!("{amount} ETH"),
        _ => format!("{amount} units of something else"),
    }
}

fn lines(note: Option<&str>, last: &str) -> String {
    note.map_or_else(|| last.to_owned(), |note| format!("{note}\n{last}"))
}

/// Keeps where the senders of messages are paid, and tells what they say of money.
pub(crate) async fn said(
    cashier: &mut Cashier,
    items: &[InboxItem],
) -> Result<BTreeMap<MessageHash, Said>, Failure> {
    learn(&cashier.home, items)?;
    let mut all = BTreeMap::new();
    for item in items {
        if let Some(said) = cashier.read(item).await? {
            all.insert(item.hash, said);
        }
    }
    Ok(all)
}
