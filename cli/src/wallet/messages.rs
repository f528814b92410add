//! What messages say of money, and what the chain says of that.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, U256};
use serde::Serialize;
use session_chain::{
    Amount, account as chain_account,
    network::Settlement,
    settlement::wallet::{Standing, Sum},
};
use session_client::{
    InboxItem,
    envelope::{self, DirectMessage, Kind, Money},
    home::{Claims, Hex, Home, Paid, Received},
};
use session_protocols::{AccountId, MessageHash};

use super::{
    claims::{self, Answer, Claim, Found},
    lower,
};
use crate::{
    account,
    failure::{Failure, chain},
    inbox,
};

#[cfg(test)]
pub(super) mod tests;

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
    /// The messages read last whose payments the chain was not asked about, or not for long enough.
    unchecked: BTreeSet<MessageHash>,
}

/// What is known of payments when messages are read, and what is learnt then.
struct Books {
    /// Those that are final.
    paid: BTreeMap<[u8; 32], Paid>,
    /// What the chain said of others before.
    known: Claims,
    /// What it says now.
    found: BTreeMap<MessageHash, Found>,
    /// What is to be known next time.
    learnt: Claims,
    now_ms: u64,
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
        Ok(Self {
            home: home.clone(),
            account,
            own,
            settlement,
            told: BTreeMap::new(),
            unchecked: BTreeSet::new(),
        })
    }

    /// The messages read last that tell of payments which were not checked.
    pub(crate) const fn unchecked(&self) -> &BTreeSet<MessageHash> {
        &self.unchecked
    }

    /// What messages say of money, the oldest first.
    async fn read_all(&mut self, items: &[InboxItem]) -> Result<BTreeMap<MessageHash, Said>, Failure> {
        let is_money =
            |item: &&InboxItem| matches!(&item.content, Ok(DirectMessage { kind: Kind::Money(_), .. }));
        let items: Vec<&InboxItem> = items.iter().filter(is_money).collect();
        let mut all = BTreeMap::new();
        self.unchecked.clear();
        if items.is_empty() {
            return Ok(all);
        }
        let (paid, known) = (self.home.paid(&self.account)?, self.home.claims(&self.account)?);
        let now_ms = inbox::now_ms();
        let found = match &self.settlement {
            Some(settlement) => {
                let contacts: BTreeSet<AccountId> = self.home.contacts()?.into_values().collect();
                let claims = items.iter().filter_map(|item| self.claim(item, &contacts));
                let open = claims.filter(|claim| !paid.contains_key(&claim.transaction.0));
                let open: Vec<Claim> = open.collect();
                claims::look(settlement, &self.own, &open, &known.unfounded, now_ms).await
            }
            None => BTreeMap::new(),
        };
        let mut books = Books { paid, known, found, learnt: Claims::default(), now_ms };
        for item in items {
            if let Some(said) = self.read(item, &mut books)? {
                all.insert(item.hash, said);
            }
        }
        let Claims { unfounded, received } = books.learnt;
        if !unfounded.is_empty() || !received.is_empty() {
            self.home.change_claims(&self.account, |claims| {
                claims.unfounded.extend(unfounded);
                claims.received.extend(received);
            })?;
        }
        Ok(all)
    }

    /// The payment that a message tells of, where the chain has to say whether it was made.
    fn claim(&self, item: &InboxItem, contacts: &BTreeSet<AccountId>) -> Option<Claim> {
        let message = item.content.as_ref().ok()?;
        let Kind::Money(Money::Payment(payment)) = &message.kind else { return None };
        let is_others = |first: &MessageHash| *first != item.hash;
        if self.told.get(&payment.transaction).is_some_and(is_others) {
            return None;
        }
        let (sum, from) = (self.sum(&payment.sum).ok()?, proven(message)?);
        Some(Claim {
            message: item.hash,
            sender: message.from,
            is_contact: contacts.contains(&message.from),
            told_ms: item.timestamp_ms,
            transaction: B256::from(payment.transaction),
            from,
            sum,
        })
    }

    /// What a message says of money, if anything.
    fn read(&mut self, item: &InboxItem, books: &mut Books) -> Result<Option<Said>, Failure> {
        let Ok(message) = &item.content else { return Ok(None) };
        let Kind::Money(money) = &message.kind else { return Ok(None) };
        Ok(Some(match money {
            Money::Payment(payment) => self.payment(item, message, payment, books)?,
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

    fn payment(
        &mut self,
        item: &InboxItem,
        message: &DirectMessage,
        payment: &envelope::Payment,
        books: &mut Books,
    ) -> Result<Said, Failure> {
        let sum = self.sum(&payment.sum);
        let (state, height, why) = match &sum {
            Ok(_) => self.state(item, message, payment, books)?,
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
    fn state(
        &mut self,
        item: &InboxItem,
        message: &DirectMessage,
        payment: &envelope::Payment,
        books: &mut Books,
    ) -> Result<(State, Option<u64>, Option<String>), Failure> {
        let (hash, transaction) = (item.hash, payment.transaction);
        let claimed = |why: String| Ok((State::Claimed, None, Some(why)));
        let Some(from) = proven(message) else {
            return claimed("its sender has not shown that the address which paid is its own".to_owned());
        };
        let kept = books.paid.get(&transaction).copied();
        let first = kept.map(|paid| paid.message).or_else(|| self.told.get(&transaction).copied());
        if first.is_some_and(|first| first != hash) {
            return claimed("another message told of this transaction before".to_owned());
        }
        let received = |to: Address, height| Received {
            chain: payment.sum.chain,
            from: Hex(from.into_array()),
            to: Hex(to.into_array()),
            units: payment.sum.units,
            height,
            told_ms: item.timestamp_ms,
        };
        if let Some(Paid { height, .. }) = kept {
            // As it was found before such payments were kept, or while it was pending.
            let before = books.known.received.get(&Hex(transaction));
            let to = before.map(|it| Address::from(it.to.0)).or_else(|| self.own.first().copied());
            if before.is_none_or(|before| before.height.is_none())
                && let Some(to) = to
            {
                books.receive(payment, received(to, Some(height)));
            }
            return Ok((State::Verified, Some(height), None));
        }
        let is_late = matches!(books.found.get(&hash), Some(None));
        match books.found.remove(&hash).flatten() {
            Some(Ok(Answer { to, standing: Standing::Paid { height }, .. })) => {
                let paid = Paid { message: hash, height };
                self.home.keep_paid(&self.account, &transaction, paid)?;
                books.paid.insert(transaction, paid);
                self.told.insert(transaction, hash);
                books.receive(payment, received(to, Some(height)));
                Ok((State::Verified, Some(height), None))
            }
            Some(Ok(Answer { to, standing: Standing::Pending { height }, .. })) => {
                self.told.insert(transaction, hash);
                books.receive(payment, received(to, None));
                books.asked(hash, "it was not final when it was checked last");
                Ok((State::Pending, height, Some("it is not final so far".to_owned())))
            }
            Some(Ok(answer)) => {
                let refused = claims::refused(&answer, books.known.unfounded.get(&hash), books.now_ms);
                let why = refused.why.clone();
                books.learnt.unfounded.insert(hash, refused);
                claimed(why)
            }
            Some(Err(error)) => {
                books.asked(hash, "it could not be checked when that was tried last");
                claimed(format!("it could not be checked: {}", chain(&error)))
            }
            None if is_late => {
                self.unchecked.insert(hash);
                books.asked(hash, claims::NOT_CHECKED);
                claimed(claims::NOT_CHECKED.to_owned())
            }
            None => {
                let before = books.known.unfounded.get(&hash);
                let why = before.map_or(claims::NOT_CHECKED, |before| before.why.as_str()).to_owned();
                if why == claims::NOT_CHECKED {
                    self.unchecked.insert(hash);
                }
                claimed(why)
            }
        }
    }

    /// A sum of this network's chain, or why it is none.
    fn sum(&self, sum: &envelope::Sum) -> Result<Sum, &'static str> {
        let settlement = self.settlement.as_ref().ok_or("this network has no chain")?;
        if sum.chain != settlement.chain {
            return Err("it is said to be on another chain than this network's");
        }
        if sum.units == 0 {
            return Err("it is of nothing");
        }
        match sum.token.map(Address::from) {
            None => Ok(Sum::Native(U256::from(sum.units))),
            Some(token) if token == settlement.contracts.token => Ok(Sum::Sesh(Amount(sum.units))),
            Some(_) => Err("it is of another token than SESH"),
        }
    }
}

impl Books {
    /// Remembers that the chain was asked about what a message tells of, and decided nothing.
    fn asked(&mut self, message: MessageHash, why: &str) {
        self.learnt.unfounded.insert(message, claims::undecided(why, self.now_ms));
    }

    /// A payment in the chain's own coin, of which no event tells.
    fn receive(&mut self, payment: &envelope::Payment, received: Received) {
        if payment.sum.token.is_none() {
            self.learnt.received.insert(Hex(payment.transaction), received);
        }
    }
}

/// Keeps where the senders of messages are paid, as their keys signed: of each, what was said last.
pub(crate) fn learn(home: &Home, items: &[InboxItem]) -> Result<(), Failure> {
    let mut last: BTreeMap<AccountId, (u64, Address)> = BTreeMap::new();
    for item in items {
        let Ok(message) = &item.content else { continue };
        let is_later = last.get(&message.from).is_none_or(|(said_ms, _)| *said_ms < item.timestamp_ms);
        if is_later && let Some(address) = proven(message) {
            last.insert(message.from, (item.timestamp_ms, address));
        }
    }
    for (who, (said_ms, address)) in last {
        home.keep_said(&who, address.into_array(), said_ms)?;
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
                let native = match *coin {
                    "sesh" => "",
                    "native" => " --native",
                    // No command pays it: one of this network's coins is not what was asked for.
                    _ => return lines(note.as_deref(), "it cannot be paid from here: another coin or chain"),
                };
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
    cashier.read_all(items).await
}
