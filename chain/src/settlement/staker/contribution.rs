//! Contributions: nodes that several stake, before they are registered.

use alloy::{
    primitives::{Address, B256},
    providers::Provider,
    rpc::types::Filter,
    sol_types::SolEvent,
    transports::RpcError,
};
use session_protocols::{NodeId, Signature};

use super::{StakeError, Staker};
use crate::{
    ledger::{Amount, BlsKey, Registration, StakeId, registration::prefix_from},
    settlement::calls::{self, Contribution, ContributionFactory},
};

/// The most contributions for one node that are looked at, the newest.
const MAX_LOOKED_AT: usize = 64;
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
    /// Whether the node's key agreed: else the nodes would refuse it.
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

impl Staker {
    /// The contributions that were opened for a node, newest first: anybody may open one, and only those that
    /// are signed count.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn contributions(&self, node: &NodeId) -> Result<Vec<Pooled>, StakeError> {
        let mut found = Vec::new();
        for at in self.created(node).await?.into_iter().rev().take(MAX_LOOKED_AT) {
            found.push(self.pooled(node, at).await?);
        }
        Ok(found)
    }

    /// Where contributions for a node are, oldest first.
    async fn created(&self, node: &NodeId) -> Result<Vec<Address>, StakeError> {
        let head = self.provider.get_block_number().await.map_err(|error| self.failed(&error))?;
        let filter = Filter::new()
            .address(self.settlement.contracts.factory)
            .event_signature(ContributionFactory::Created::SIGNATURE_HASH)
            .topic3(B256::from(*node.as_bytes()));
        let (mut from, mut span) = (self.settlement.start, u64::MAX);
        let mut found = Vec::new();
        for _ in 0..MAX_QUESTIONS {
            if from > head {
                return Ok(found);
            }
            let to = from.saturating_add(span).min(head);
            match self.provider.get_logs(&filter.clone().from_block(from).to_block(to)).await {
                Ok(logs) => {
                    let created = logs.iter().filter_map(|log| log.topics().get(1));
                    found.extend(created.map(|word| Address::from_word(*word)));
                    from = to.saturating_add(1);
                }
                // So many blocks are refused.
                Err(RpcError::ErrorResp(_)) if to > from => span = to.saturating_sub(from) / 2,
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Err(StakeError::Unsearched { endpoint: self.endpoint.clone(), from, head })
    }

    async fn pooled(&self, node: &NodeId, at: Address) -> Result<Pooled, StakeError> {
        let status = match self.view(at, Contribution::statusCall {}).await? {
            2 => Status::Finalised,
            3 => Status::Cancelled,
            _ => Status::Open,
        };
        let parts = self.view(at, Contribution::contributionsCall {}).await?;
        let parts: Vec<Part> = parts
            .into_iter()
            .map(|part| Part {
                contributor: part.contributor,
                beneficiary: part.beneficiary,
                amount: Amount(part.amount.to()),
            })
            .collect();
        let reserved = self.view(at, Contribution::reservationsCall {}).await?;
        let registration = self.view(at, Contribution::registrationCall {}).await?;
        let operator = parts.first().map_or(Address::ZERO, |part| part.contributor);
        Ok(Pooled {
            at,
            operator,
            fee: registration.fee,
            signed: self.is_signed(node, operator, &registration),
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
        registration.is_signed(&self.settlement.domain())
    }
}
