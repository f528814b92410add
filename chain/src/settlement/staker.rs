//! One account at the contracts of a network: what people register, contribute, take back and claim.
//!
//! Each deed is one [`Call`]; nothing is sent but by [`Staker::send`].

use alloy::{primitives::Address, rpc::types::TransactionReceipt, signers::local::PrivateKeySigner};
use session_protocols::{NetworkName, NodeId};
use tokio::time::timeout;

use super::{
    caller::{ANSWER, Caller, call},
    calls::{
        Checkpoints, Contribution, ContributionFactory, Loan, Registration, Reservation, Staking, Token,
    },
    endpoint::{Endpoint, EndpointError},
    replay::Replayed,
    sender::{Call, Delivery, Progress, Quote, SendError, Sender},
    trouble::Trouble,
};
use crate::{
    Candidate, account,
    ledger::{
        Amount, BlsKey, Ledger, StakeId, checkpoint,
        registration::{MAX_FEE, MAX_SHARES},
    },
    network::{Contracts, Settlement},
};

pub use contribution::{Part, Pooled, Status};
pub use error::{StakeError, word};
pub use held::Held;

mod contribution;
mod elsewhere;
mod error;
mod held;
mod lent;

/// What a registration comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// The operator brings the whole stake.
    Alone {
        /// How much that is.
        stake: Amount,
    },
    /// A contribution is opened.
    Opened {
        /// What the operator brings.
        stake: Amount,
        /// What others have to.
        lacks: Amount,
    },
    /// The stake of several is complete, and the node is registered.
    Finalised {
        /// Where they contributed.
        contribution: Address,
        /// How much they did.
        stake: Amount,
    },
}

/// What comes back, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The account's part of a contribution.
    Part(Amount),
    /// All parts of a contribution, each to whose it is: its operator ends it.
    All(Amount),
    /// The stake of a node that a checkpoint releases, each part to whose it is.
    Released(Amount),
    /// The same, 30 days after its exit was requested.
    Escaped(Amount),
    /// The stake of a node, one way or the other, to the loan that the account had of it: [`Self::GivenBack`] is next.
    ToLoan(Amount),
    /// What that loan has then, to the vault that lent it.
    GivenBack(Amount),
}

/// What an account has earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earnings {
    /// In all, as far as the chain is final.
    pub earned: Amount,
    /// Paid out of it.
    pub claimed: Amount,
    /// What the last checkpoint permits to claim now.
    pub claimable: Amount,
    /// The epoch of that checkpoint; none before the first.
    pub epoch: Option<u64>,
    /// The SESH that it has.
    pub balance: Amount,
}

/// One account at the contracts of a network.
#[derive(Debug)]
pub struct Staker {
    caller: Caller,
    requirement: Amount,
}

impl Staker {
    /// An account at the contracts of a network, over the first of its endpoints that serves its chain.
    ///
    /// # Errors
    /// When none does, or the contracts are not there.
    pub async fn connect(
        settlement: &Settlement,
        signer: PrivateKeySigner,
        delivery: Delivery,
    ) -> Result<Self, StakeError> {
        let caller = Caller::connect(settlement, signer, delivery).await?;
        let requirement = requirement(&caller).await?;
        Ok(Self { caller, requirement })
    }

    /// How often a node's BLS key was registered, by all endpoints that answer: what a node signs for its next
    /// registration holds from that number on, so that no single one is believed.
    ///
    /// # Errors
    /// When none answers, or two say something else.
    pub async fn registrations(settlement: &Settlement, key: &BlsKey) -> Result<u64, StakeError> {
        let nobody = account::signer(&[0; account::SEED]);
        let mut told: Option<(String, u64)> = None;
        let mut failed = StakeError::from(SendError::Url(EndpointError::Url));
        for url in &settlement.rpc {
            let endpoint = Endpoint::new(url).map_err(SendError::from)?.name().to_owned();
            let alone = Settlement { rpc: vec![url.clone()], ..settlement.clone() };
            let ask =
                async { Self::connect(&alone, nobody.clone(), Delivery::default()).await?.key(key).await };
            let second = match timeout(ANSWER, ask).await {
                Ok(Ok(key)) => key.registrations,
                Ok(Err(error)) => {
                    failed = error;
                    continue;
                }
                Err(_) => {
                    failed = SendError::Endpoint { endpoint, trouble: Trouble::Late }.into();
                    continue;
                }
            };
            match told {
                Some((one, first)) if first != second => {
                    return Err(StakeError::Apart { one, first, two: endpoint, second });
                }
                _ => told = Some((endpoint, second)),
            }
        }
        told.map(|(_, registrations)| registrations).ok_or(failed)
    }

    /// Whether a node's BLS key stands in a registration at present, final or not.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn holds(&self, key: &BlsKey) -> Result<bool, StakeError> {
        Ok(self.key(key).await?.holder != 0)
    }

    /// The account's address.
    pub const fn account(&self) -> Address {
        self.caller.account()
    }

    /// What sends.
    pub const fn sender(&mut self) -> &mut Sender {
        self.caller.sender()
    }

    /// What a node takes in all.
    pub const fn requirement(&self) -> Amount {
        self.requirement
    }

    /// What a call would cost; nothing is sent.
    ///
    /// # Errors
    /// Tells what is missing, or why the contract would refuse.
    pub async fn quote(&mut self, call: &Call) -> Result<Quote, StakeError> {
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
    ) -> Result<TransactionReceipt, StakeError> {
        Ok(self.sender().send(call, progress).await?)
    }

    /// Sends a call for no more than was quoted for it, and waits until it is mined.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_at(
        &mut self,
        call: &Call,
        quote: &Quote,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, StakeError> {
        Ok(self.sender().send_at(call, quote, progress).await?)
    }

    /// Registers a node, whose operator keeps `fee` basis points of its rewards.
    ///
    /// With `own` less than a node takes, or slots that are reserved, a contribution is opened; `own` is all
    /// that is not reserved where it is not given. If the operator's contribution for the node is open, it is
    /// finalised.
    ///
    /// # Errors
    /// When node, operator, fee or amounts do not fit, or the contribution still lacks something.
    pub async fn register(
        &self,
        network: &NetworkName,
        candidate: &Candidate,
        fee: u16,
        own: Option<Amount>,
        reserved: &[(Address, Amount)],
    ) -> Result<(Call, Enrolment), StakeError> {
        candidate.check(network, &self.caller.settlement().domain())?;
        let (account, operator) = (self.account(), candidate.operator);
        if account != operator {
            return Err(StakeError::NotOperator { operator, account });
        }
        let key = self.key(&candidate.bls).await?;
        // Of a key that is in use the contract says so.
        if key.holder == 0 && key.registrations != candidate.registrations {
            let (node, signed, registered) = (candidate.node, candidate.registrations, key.registrations);
            return Err(StakeError::Spent { node, signed, registered });
        }
        if fee > MAX_FEE {
            return Err(StakeError::Fee { fee });
        }
        let (node, required) = (candidate.node, self.requirement);
        let pooled = self.contributions_of(account, &node).await?;
        if let Some(open) = pooled.iter().find(|it| it.is_open() && it.signed && it.operator == account) {
            let lacks = required.checked_sub(open.total()).unwrap_or_default();
            if !lacks.is_zero() {
                return Err(StakeError::Incomplete { node, lacks });
            }
            let (contribution, stake) = (open.at, open.total());
            let call = call(contribution, &Contribution::finaliseCall {});
            return Ok((call, Enrolment::Finalised { contribution, stake }));
        }
        let sum = reserved.iter().try_fold(Amount::ZERO, |sum, (_, amount)| sum.checked_add(*amount));
        let sum = sum.unwrap_or(Amount(u128::MAX));
        let rest = required.checked_sub(sum).filter(|rest| !rest.is_zero());
        let Some(rest) = rest.filter(|_| reserved.len() < MAX_SHARES) else {
            return Err(StakeError::Reserved { reserved: sum, required });
        };
        let registration = Registration::new(candidate, fee)
            .map_err(|_| crate::candidate::CandidateError::Unsigned { which: "BLS" })?;
        let stake = own.unwrap_or(rest);
        if stake == required && reserved.is_empty() {
            let staking = self.contracts().staking;
            let permit = self.caller.permit(staking, stake).await?;
            let deed = Staking::registerWithPermitCall { registration, beneficiary: account, permit };
            return Ok((self.caller.spending(staking, &deed, stake), Enrolment::Alone { stake }));
        }
        let factory = self.contracts().factory;
        let permit = self.caller.permit(factory, stake).await?;
        let slot = |(contributor, amount): &(Address, Amount)| Reservation {
            contributor: *contributor,
            amount: amount.units(),
        };
        let deed = ContributionFactory::createWithPermitCall {
            registration,
            amount: stake.units(),
            beneficiary: account,
            reserved: reserved.iter().map(slot).collect(),
            permit,
        };
        let lacks = required.checked_sub(stake).unwrap_or_default();
        Ok((self.caller.spending(factory, &deed, stake), Enrolment::Opened { stake, lacks }))
    }

    /// Contributes to a node, whose operator opened a contribution that its key agreed to. Returns where.
    ///
    /// # Errors
    /// When no such contribution is open.
    pub async fn contribute(&self, node: &NodeId, amount: Amount) -> Result<(Call, Address), StakeError> {
        let pooled = self.contributions(node).await?;
        let open = pooled.iter().find(|it| it.is_open() && it.signed);
        let open = open.ok_or(StakeError::NotOpen { node: *node })?;
        let at = open.at;
        let permit = self.caller.permit(at, amount).await?;
        // Who contributes more keeps the beneficiary that it chose.
        let own = open.parts.iter().find(|part| part.contributor == self.account());
        let beneficiary = own.map_or_else(|| self.account(), |part| part.beneficiary);
        let deed = Contribution::contributeWithPermitCall { amount: amount.units(), beneficiary, permit };
        Ok((self.caller.spending(at, &deed, amount), at))
    }

    /// Gets a stake back: a part of a contribution that is open, or the stake of a node that has left; a lent one to
    /// its loan, and from there to the vault.
    ///
    /// # Errors
    /// When the account has none, or it is locked.
    pub async fn withdraw(&self, node: &NodeId, now: &Replayed) -> Result<(Call, Return), StakeError> {
        let account = self.account();
        // Also where the node's key did not agree: whoever was deceived gets the money back.
        let pooled = match self.contributions(node).await {
            // What a checkpoint has released needs no contribution.
            Err(StakeError::Unsearched { .. }) => Vec::new(),
            pooled => pooled?,
        };
        for pooled in pooled.into_iter().filter(Pooled::is_open) {
            let Some(part) = pooled.parts.iter().find(|part| part.contributor == account) else { continue };
            return Ok(if pooled.operator == account {
                (call(pooled.at, &Contribution::cancelCall {}), Return::All(pooled.total()))
            } else {
                (call(pooled.at, &Contribution::withdrawCall {}), Return::Part(part.amount))
            });
        }
        let holders = self.holders(node).await?;
        match self.release(node, &holders, now).await {
            Err(locked) if locked.is_unreleased() => self.give_back(&holders).await?.ok_or(locked),
            released => released,
        }
    }

    /// Requests that a node leaves, which is final; of one that the nodes refused, that its stake comes back
    /// 30 days later whatever happens. Where the stake was lent to the account, the loan requests it.
    ///
    /// # Errors
    /// When the node is not registered, or only others' registrations of it were refused.
    pub async fn exit(&self, node: &NodeId, now: &Ledger) -> Result<(Call, StakeId), StakeError> {
        let (id, loan) = self.leaver(node, now).await?;
        let deed = match loan {
            Some(loan) => call(loan, &Loan::requestExitCall {}),
            None => call(self.contracts().staking, &Staking::requestExitCall { id: id.0 }),
        };
        Ok((deed, id))
    }

    /// The epoch of the last checkpoint that the contract accepted; none before the first.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn accepted(&self) -> Result<Option<u64>, StakeError> {
        Ok(self.caller.accepted().await?)
    }

    /// What the account has earned, claimed, and can claim.
    ///
    /// # Errors
    /// When the chain does not tell, or the ledger is not the one that was signed.
    pub async fn earnings(&self, now: &Replayed) -> Result<Earnings, StakeError> {
        let account = self.account();
        let earned = now.ledger.rewards().total(&account);
        let claimed = self.caller.view(self.contracts().checkpoints, Checkpoints::claimedCall { account });
        let claimed = Amount::try_from(claimed.await?).unwrap_or_default();
        let balance = self.caller.view(self.contracts().token, Token::balanceOfCall { account }).await?;
        let balance = Amount::try_from(balance).unwrap_or_default();
        let Some(epoch) = self.accepted().await? else {
            return Ok(Earnings { earned, claimed, claimable: Amount::ZERO, epoch: None, balance });
        };
        let proved = self.proved(now, epoch).await?.rewards().total(&account);
        let claimable = proved.checked_sub(claimed).unwrap_or_default();
        Ok(Earnings { earned, claimed, claimable, epoch: Some(epoch), balance })
    }

    /// Claims all that the last checkpoint permits, to an address. Returns how much that is.
    ///
    /// # Errors
    /// When there is no checkpoint, or nothing to claim.
    pub async fn claim(&self, to: Address, now: &Replayed) -> Result<(Call, Amount), StakeError> {
        let account = self.account();
        let Earnings { claimed, claimable, epoch, .. } = self.earnings(now).await?;
        let epoch = epoch.ok_or(StakeError::NoCheckpoint)?;
        if claimable.is_zero() {
            return Err(StakeError::NothingToClaim { account, claimed });
        }
        let rewards = self.proved(now, epoch).await?.rewards();
        let total = rewards.total(&account);
        let leaf = checkpoint::reward_leaf(account, total);
        let proof = checkpoint::rewards_tree(rewards.totals()).proof(leaf);
        let proof = proof.ok_or(StakeError::OtherLedger { epoch })?;
        let deed = Checkpoints::claimCall { lifetimeTotal: total.units(), proof, to };
        Ok((call(self.contracts().checkpoints, &deed), claimable))
    }

    /// The ledger of the last checkpoint, if it is the one that was signed.
    async fn proved<'a>(&self, now: &'a Replayed, epoch: u64) -> Result<&'a Ledger, StakeError> {
        let behind = |ledger: &&Ledger| ledger.epoch() == epoch.saturating_add(1);
        let ledger = now.accepted.as_ref().filter(behind).ok_or(StakeError::NotFinal { epoch })?;
        let digest = self.caller.view(self.contracts().checkpoints, Checkpoints::lastDigestCall {}).await?;
        if ledger.digest() == digest {
            return Ok(ledger);
        }
        match self.accepted().await? {
            // Another one came in between.
            Some(later) if later != epoch => Err(StakeError::NotFinal { epoch: later }),
            _ => Err(StakeError::OtherLedger { epoch }),
        }
    }

    const fn contracts(&self) -> Contracts {
        self.caller.settlement().contracts
    }
}

/// What a node takes; and whoever asks for tokens or claims later should know now that the network file is wrong.
async fn requirement(caller: &Caller) -> Result<Amount, SendError> {
    let (account, contracts) = (caller.account(), caller.settlement().contracts);
    let required = caller.requirement().await?;
    caller.view(contracts.token, Token::balanceOfCall { account }).await?;
    caller.view(contracts.checkpoints, Checkpoints::nextEpochCall {}).await?;
    caller.view(contracts.factory, ContributionFactory::isContributionCall { account }).await?;
    Ok(required)
}
