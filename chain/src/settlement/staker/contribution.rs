//! Contributions: nodes that several stake, before they are registered.

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    providers::Provider,
    rpc::types::Filter,
    sol_types::SolEvent,
    transports::RpcError,
};
use session_protocols::{NodeId, Signature};

use super::{StakeError, Staker};
use crate::{
    bls::BlsSignature,
    ledger::{Amount, BlsKey, Registration, StakeId, registration::prefix_from},
    settlement::calls::{self, Contribution, ContributionFactory, Staking},
};

/// The most contributions for one node that are looked at, the newest: anybody may open one and cancel it.
const MAX_LOOKED_AT: usize = 4_096;
/// The most of them that are told of while they are open, which holds a quarter of a stake each.
const MAX_OPEN: usize = 64;
/// The most of the others that are told of.
const MAX_CLOSED: usize = 16;
/// The most questions that finding them takes, where endpoints give the logs of few blocks at once.
const MAX_QUESTIONS: usize = 4_096;

/// What can be done with a contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Contribute, withdraw, finalise, cancel.
    Open,
    /// Nothing: its node is registered.
    Finalised,
    /// Nothing: everybody was refunded.
    Cancelled,
}

/// What somebody contributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Who.
    pub contributor: Address,
    /// Who gets the rewards.
    pub beneficiary: Address,
    /// How much.
    pub amount: Amount,
}

/// A contribution for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooled {
    /// The contract's address.
    pub at: Address,
    /// Who opened it.
    pub operator: Address,
    /// What the operator keeps of the rewards, in basis points.
    pub fee: u16,
    /// Whether the node's keys agreed, and if it is open to the next registration of theirs: else the nodes would
    /// refuse it, or the contract.
    pub signed: bool,
    /// What can be done with it.
    pub status: Status,
    /// Who contributed, the operator first.
    pub parts: Vec<Part>,
    /// The slots that are kept, and for how much at least.
    pub reserved: Vec<(Address, Amount)>,
}

impl Pooled {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.status == Status::Open
    }

    /// What all have contributed.
    pub fn total(&self) -> Amount {
        self.parts.iter().fold(Amount::ZERO, |sum, part| sum.checked_add(part.amount).unwrap_or(sum))
    }
}

/// What an endpoint says that the factory opened. Only what [`Staker::declared`] has looked at is believed.
struct Created {
    at: Address,
    operator: Address,
    number: U256,
}

impl Staker {
    /// The contributions that were opened for a node, newest first: anybody may open one, and only those that
    /// are signed count. Where one is, whose, and what its operator declared is proved by its address; the rest is
    /// as the endpoint tells it.
    ///
    /// # Errors
    /// When the chain does not tell, or the endpoint names what the factory cannot have opened.
    pub async fn contributions(&self, node: &NodeId) -> Result<Vec<Pooled>, StakeError> {
        self.looked_at(node, self.created(node, None).await?).await
    }

    /// The contributions that an operator opened for a node, newest first; those of others are not looked at.
    ///
    /// # Errors
    /// As [`Self::contributions`].
    pub async fn contributions_of(
        &self,
        operator: Address,
        node: &NodeId,
    ) -> Result<Vec<Pooled>, StakeError> {
        self.looked_at(node, self.created(node, Some(operator)).await?).await
    }

    async fn looked_at(&self, node: &NodeId, created: Vec<Created>) -> Result<Vec<Pooled>, StakeError> {
        let mut found = Vec::new();
        let (mut open, mut closed) = (0, 0);
        for created in created.into_iter().rev().take(MAX_LOOKED_AT) {
            let status = self.status(&created).await?;
            let (told, most) =
                if status == Status::Open { (&mut open, MAX_OPEN) } else { (&mut closed, MAX_CLOSED) };
            if *told < most {
                *told += 1;
                found.push(self.pooled(node, created, status).await?);
            }
        }
        Ok(found)
    }

    async fn status(&self, created: &Created) -> Result<Status, StakeError> {
        Ok(match self.caller.view(created.at, Contribution::statusCall {}).await? {
            2 => Status::Finalised,
            3 => Status::Cancelled,
            _ => Status::Open,
        })
    }

    /// What the factory opened for a node, or one operator did, oldest first.
    async fn created(&self, node: &NodeId, operator: Option<Address>) -> Result<Vec<Created>, StakeError> {
        let head =
            self.caller.provider().get_block_number().await.map_err(|error| self.caller.failed(&error))?;
        let filter = Filter::new()
            .address(self.contracts().factory)
            .event_signature(ContributionFactory::Created::SIGNATURE_HASH)
            .topic3(B256::from(*node.as_bytes()));
        let filter = match operator {
            Some(operator) => filter.topic2(operator.into_word()),
            None => filter,
        };
        let (mut from, mut span) = (self.caller.settlement().start, u64::MAX);
        let mut found = Vec::new();
        for _ in 0..MAX_QUESTIONS {
            if from > head {
                return Ok(found);
            }
            let to = from.saturating_add(span).min(head);
            match self.caller.provider().get_logs(&filter.clone().from_block(from).to_block(to)).await {
                Ok(logs) => {
                    for log in logs {
                        let created = ContributionFactory::Created::decode_log_data(&log.inner.data);
                        let nothing = || self.caller.nothing_at(self.contracts().factory);
                        let created = created.map_err(|_| nothing())?;
                        let ContributionFactory::Created { contribution: at, operator, number, .. } = created;
                        found.push(Created { at, operator, number });
                    }
                    from = to.saturating_add(1);
                }
                // So many blocks are refused.
                Err(RpcError::ErrorResp(_)) if to > from => span = to.saturating_sub(from) / 2,
                Err(error) => return Err(self.caller.failed(&error).into()),
            }
        }
        Err(StakeError::Unsearched { endpoint: self.caller.endpoint().to_owned(), from, head })
    }

    /// What the operator of a contribution declared, if the contribution can be nowhere else.
    async fn declared(&self, node: &NodeId, created: &Created) -> Result<calls::Registration, StakeError> {
        let Created { at, operator, number } = *created;
        let declared = self.caller.view(at, Contribution::registrationCall {}).await?;
        let follows = declared.contribution(self.contracts().factory, operator, number);
        if follows == at && declared.ed25519Key.0 == *node.as_bytes() {
            Ok(declared)
        } else {
            Err(StakeError::Forged { endpoint: self.caller.endpoint().to_owned(), at })
        }
    }

    async fn pooled(&self, node: &NodeId, created: Created, status: Status) -> Result<Pooled, StakeError> {
        let declared = self.declared(node, &created).await?;
        let Created { at, operator, .. } = created;
        let parts = self.caller.view(at, Contribution::contributionsCall {}).await?;
        let parts: Vec<Part> = parts
            .into_iter()
            .map(|part| Part {
                contributor: part.contributor,
                beneficiary: part.beneficiary,
                amount: Amount(part.amount.to()),
            })
            .collect();
        let reserved = self.caller.view(at, Contribution::reservationsCall {}).await?;
        let signed = self.is_signed(node, operator, &declared)
            && (status != Status::Open || self.is_next(operator, &declared).await?);
        Ok(Pooled {
            at,
            operator,
            fee: declared.fee,
            signed,
            status,
            reserved: reserved
                .into_iter()
                .map(|slot| (slot.contributor, Amount::try_from(slot.amount).unwrap_or_default()))
                .collect(),
            parts,
        })
    }

    /// Whether the node's key agreed to this registration: what the ledger checks, and no contract can.
    fn is_signed(&self, node: &NodeId, operator: Address, declared: &calls::Registration) -> bool {
        let Some(prefix) = prefix_from(declared.prefix.0) else { return false };
        let Ok(bls) = <[u8; 96]>::try_from(declared.blsKey.as_ref()) else { return false };
        let mut signature = [0; 64];
        let halves = declared.signatureR.iter().chain(declared.signatureS.iter());
        signature.iter_mut().zip(halves).for_each(|(into, byte)| *into = *byte);
        let registration = Registration {
            id: StakeId(0),
            node: *node,
            signature: Signature(signature),
            operator,
            prefix,
            fee: declared.fee,
            bls: BlsKey(bls),
            shares: Vec::new(),
        };
        registration.is_signed(&self.caller.settlement().domain())
    }

    /// Whether the node's BLS key signed for its next registration: what the contract checks when it is finalised.
    async fn is_next(&self, operator: Address, declared: &calls::Registration) -> Result<bool, StakeError> {
        let Ok(bls) = declared.blsKey.as_ref().try_into().map(BlsKey) else { return Ok(false) };
        let Ok(proof) = declared.proofOfPossession.as_ref().try_into() else { return Ok(false) };
        let Ok(proof) = BlsSignature::compress(proof) else { return Ok(false) };
        let registrations = self.key(&bls).await?.registrations;
        let statement = self.caller.settlement().domain().possession(operator, &bls, registrations);
        Ok(bls.is_valid() && proof.verify(&[bls], &statement))
    }

    /// What the contract knows of a BLS key.
    pub(super) async fn key(&self, bls: &BlsKey) -> Result<Staking::keysReturn, StakeError> {
        let key = Staking::keysCall { keyHash: keccak256(bls.0) };
        Ok(self.caller.view(self.contracts().staking, key).await?)
    }
}
