//! Stakes that the faucet of a test network lends, and how they come back to its vault.
//!
//! A loan is a contract that registers one node and holds its stake: to the staking contract and to the ledger it is
//! the node's operator. Whom it was made to gets the rewards, and no way to the stake. Its address is known before it
//! is there, since the node's keys sign for it, and nobody has to be believed that tells it.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, FixedBytes, U256},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
};
use session_protocols::{NetworkName, NodeId};

use super::{
    caller::{Caller, call},
    calls::{self, Registration, Staking, Token},
    sender::{Call, Delivery, Progress, Quote, SendError, Sender},
};
use crate::{
    Candidate,
    candidate::CandidateError,
    ledger::{Amount, StakeId},
    network::Settlement,
};

pub use error::VaultError;

mod error;

/// Loans that are asked for at once.
const AT_ONCE: usize = 500;
/// The most registrations among which loans are looked for, the newest.
const MAX_REGISTRATIONS: u64 = 100_000;
/// The most loans for one node that are looked at, the newest.
const MAX_LOOKED_AT: u64 = 64;

/// A stake that a vault lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loan {
    /// The contract that holds it: the node's operator on the chain.
    pub at: Address,
    /// Whom it was lent to.
    pub operator: Address,
}

/// One account at the vault of a network's faucet: the faucet itself, who owns the vault, or whoever asks where a loan
/// will be.
#[derive(Debug)]
pub struct Vault {
    caller: Caller,
    at: Address,
}

impl Vault {
    /// An account at the vault of a network, over the first of its endpoints that serves its chain.
    ///
    /// # Errors
    /// When the network names no vault, or it is not there or not one for its contracts.
    pub async fn connect(
        settlement: &Settlement,
        signer: PrivateKeySigner,
        delivery: Delivery,
    ) -> Result<Self, VaultError> {
        let at = settlement.vault.ok_or(VaultError::None)?;
        let vault = Self { caller: Caller::connect(settlement, signer, delivery).await?, at };
        let staking = vault.caller.view(at, calls::Vault::stakingCall {}).await?;
        if staking == settlement.contracts.staking { Ok(vault) } else { Err(VaultError::Elsewhere { at }) }
    }

    /// The account's address.
    pub const fn account(&self) -> Address {
        self.caller.account()
    }

    /// The vault's address.
    pub const fn at(&self) -> Address {
        self.at
    }

    /// What sends.
    pub const fn sender(&mut self) -> &mut Sender {
        self.caller.sender()
    }

    /// What a call would cost; nothing is sent.
    ///
    /// # Errors
    /// Tells what is missing, or why the contract would refuse.
    pub async fn quote(&mut self, call: &Call) -> Result<Quote, VaultError> {
        Ok(self.sender().quote(call).await?)
    }

    /// Sends a call and waits until it is mined.
    ///
    /// # Errors
    /// Tells what is missing, or what the contract says; most are found before anything is sent.
    pub async fn send(
        &mut self,
        call: &Call,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, VaultError> {
        Ok(self.sender().send(call, progress).await?)
    }

    /// What it has, which is not lent.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn unlent(&self) -> Result<Amount, VaultError> {
        let token = self.caller.settlement().contracts.token;
        let held = self.caller.view(token, Token::balanceOfCall { account: self.at }).await?;
        Ok(Amount::try_from(held).unwrap_or_default())
    }

    /// Who says who lends, lets lent nodes leave, and may take out what is not lent.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn owner(&self) -> Result<Address, VaultError> {
        Ok(self.caller.view(self.at, calls::Vault::ownerCall {}).await?)
    }

    /// Who lends, and may do nothing else.
    ///
    /// # Errors
    /// When the chain does not tell, or the vault knows of nobody but its owner.
    pub async fn lender(&self) -> Result<Address, VaultError> {
        let told = self.caller.view(self.at, calls::Vault::lenderCall {}).await;
        let is_refused = matches!(told, Err(SendError::Refused { .. }));
        // An endpoint that refuses for reasons of its own refuses the other question too.
        if is_refused && self.owner().await.is_ok() {
            return Err(VaultError::OneRole { at: self.at });
        }
        Ok(told?)
    }

    /// Where the next loan of a node's stake to an operator will be: for this address the node signs.
    ///
    /// # Errors
    /// When the chain does not tell how many there were.
    pub async fn loan_for(&self, operator: Address, node: &NodeId) -> Result<Address, VaultError> {
        let number = times_lent(&self.caller, self.at, node).await?;
        Ok(calls::loan(self.at, operator, node, number))
    }

    /// Registers a node with a stake from the vault, for an operator. Returns how much that is. It happens once
    /// however often it is sent: what the node signed is for one loan.
    ///
    /// # Errors
    /// When the account may not lend, the node signed for something else, or the vault has too little.
    pub async fn lend(
        &self,
        network: &NetworkName,
        candidate: &Candidate,
        operator: Address,
    ) -> Result<(Call, Amount), VaultError> {
        candidate.check(network, &self.caller.settlement().domain())?;
        let (account, lender) = (self.account(), self.lender().await?);
        if account != lender {
            return Err(VaultError::NotLender { lender, account });
        }
        let (node, signed) = (candidate.node, candidate.operator);
        let loan = self.loan_for(operator, &node).await?;
        if signed != loan {
            return Err(VaultError::OtherLoan { node, signed, operator, loan });
        }
        let stake = self.caller.requirement().await?;
        let has = self.unlent().await?;
        if has < stake {
            return Err(VaultError::Empty { has, stake });
        }
        // Its operator has the whole stake: there is nobody to take a fee of.
        let registration =
            Registration::new(candidate, 0).map_err(|_| CandidateError::Unsigned { which: "BLS" })?;
        Ok((call(self.at, &calls::Vault::lendCall { registration, operator }), stake))
    }

    /// The loans that registered some nodes; those of others are left out. The endpoint is believed.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn loans(
        &self,
        ids: impl IntoIterator<Item = StakeId>,
    ) -> Result<BTreeMap<StakeId, Loan>, VaultError> {
        Ok(loans(&self.caller, self.at, ids).await?)
    }

    /// All loans that there ever were, also those whose stakes have come back, among the newest 100,000 registrations.
    /// The endpoint is believed.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn all_loans(&self) -> Result<BTreeMap<StakeId, Loan>, VaultError> {
        let next =
            self.caller.view(self.caller.settlement().contracts.staking, Staking::nextIdCall {}).await?;
        let first = next.saturating_sub(MAX_REGISTRATIONS).max(1);
        self.loans((first..next).map(StakeId)).await
    }

    /// How many nodes stand whose stakes are lent, and how many in all. Those in `gone` are not asked about again: no
    /// node comes back under its id. The endpoint is believed.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn standing(&self, gone: &mut BTreeSet<StakeId>) -> Result<(u64, u64), VaultError> {
        let staking = self.caller.settlement().contracts.staking;
        let nodes = self.caller.view(staking, Staking::nodeCountCall {}).await?;
        let mut lent: u64 = 0;
        for id in self.all_loans().await?.into_keys().filter(|id| !gone.contains(id)).collect::<Vec<_>>() {
            if self.caller.view(staking, Staking::isNodeCall { id: id.0 }).await? {
                lent = lent.saturating_add(1);
            } else {
                gone.insert(id);
            }
        }
        Ok((lent, nodes))
    }

    /// Whom the loan at an address was made to; none where the vault made none there. The endpoint is believed.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn operator_of_loan(&self, at: Address) -> Result<Option<Address>, VaultError> {
        let id = match self.caller.view(at, calls::Loan::idCall {}).await {
            Ok(id) => StakeId(id),
            // Something else is there, or nothing.
            Err(SendError::NoContract { .. } | SendError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let loan = self.loans([id]).await?.remove(&id).filter(|loan| loan.at == at);
        Ok(loan.map(|loan| loan.operator))
    }

    /// Lets the node of a loan leave, which is final: its operator may, and the vault's owner.
    pub fn request_exit(&self, loan: Address) -> Call {
        call(loan, &calls::Loan::requestExitCall {})
    }

    /// Brings back what a loan has, once its node's stake is released; anyone may. Returns how much that is.
    ///
    /// # Errors
    /// When there is nothing.
    pub async fn give_back(&self, loan: Address) -> Result<(Call, Amount), VaultError> {
        give_back(&self.caller, loan).await?.ok_or(VaultError::NothingBack { loan })
    }

    /// Names who lends from here on. Only the vault's owner may.
    ///
    /// # Errors
    /// When the account is not the owner.
    pub async fn set_lender(&self, lender: Address) -> Result<Call, VaultError> {
        self.check_owner().await?;
        Ok(call(self.at, &calls::Vault::setLenderCall { named: lender }))
    }

    /// Takes out what is not lent, to the account, which is the vault's owner.
    ///
    /// # Errors
    /// When the account is not the owner, or that is more than the vault has.
    pub async fn withdraw(&self, amount: Amount) -> Result<Call, VaultError> {
        self.check_owner().await?;
        let has = self.unlent().await?;
        if has < amount {
            return Err(VaultError::Empty { has, stake: amount });
        }
        // Sent twice it takes twice.
        let deed = calls::Vault::withdrawCall { amount: amount.units() };
        Ok(Call { repeatable: false, ..call(self.at, &deed) })
    }

    async fn check_owner(&self) -> Result<(), VaultError> {
        let (account, owner) = (self.account(), self.owner().await?);
        if account == owner { Ok(()) } else { Err(VaultError::NotOwner { owner, account }) }
    }
}

async fn times_lent(caller: &Caller, vault: Address, node: &NodeId) -> Result<U256, SendError> {
    let key = FixedBytes(*node.as_bytes());
    caller.view(vault, calls::Vault::timesLentCall { ed25519Key: key }).await
}

/// Where the loans of a node's stakes to an operator are, if they were made, the newest first. An endpoint that lies
/// can hide some, and name none that is another's.
pub(super) async fn loans_to(
    caller: &Caller,
    vault: Address,
    operator: Address,
    node: &NodeId,
) -> Result<Vec<Address>, SendError> {
    let times = u64::try_from(times_lent(caller, vault, node).await?).unwrap_or(u64::MAX);
    let numbers = times.saturating_sub(MAX_LOOKED_AT)..times;
    Ok(numbers.rev().map(|number| calls::loan(vault, operator, node, U256::from(number))).collect())
}

/// The loans that registered some nodes.
pub(super) async fn loans(
    caller: &Caller,
    vault: Address,
    ids: impl IntoIterator<Item = StakeId>,
) -> Result<BTreeMap<StakeId, Loan>, SendError> {
    let ids: Vec<u64> = ids.into_iter().map(|id| id.0).collect();
    let mut loans = BTreeMap::new();
    for ids in ids.chunks(AT_ONCE) {
        let told = caller.view(vault, calls::Vault::loansOfCall { ids: ids.to_vec() }).await?;
        let all = ids.iter().zip(told.loans.into_iter().zip(told.operators));
        let made = all.filter(|(_, (at, _))| !at.is_zero());
        loans.extend(made.map(|(id, (at, operator))| (StakeId(*id), Loan { at, operator })));
    }
    Ok(loans)
}

/// What brings back what a loan has; none where it has nothing.
pub(super) async fn give_back(caller: &Caller, loan: Address) -> Result<Option<(Call, Amount)>, SendError> {
    let token = caller.settlement().contracts.token;
    let held = caller.view(token, Token::balanceOfCall { account: loan }).await?;
    let held = Amount::try_from(held).unwrap_or_default();
    Ok((!held.is_zero()).then(|| (call(loan, &calls::Loan::giveBackCall {}), held)))
}
