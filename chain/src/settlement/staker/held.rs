//! Stakes that the contract holds: which there are, whose they are, and how they come back.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::Address;
use session_protocols::NodeId;

use super::{Return, StakeError, Staker};
use crate::{
    ledger::{Amount, Ledger, Refusal, Stake, StakeId, Standing, State, checkpoint},
    settlement::{Replayed, caller::call, calls::Staking, sender::Call},
};

/// How long after a request of exit a stake can be taken out whatever happens, in seconds: 30 days.
const ESCAPE: u64 = 30 * 24 * 3_600;

/// A stake that the contract holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The number of its registration.
    pub id: StakeId,
    /// For which node.
    pub node: NodeId,
    /// Why the nodes refused the registration, if they did.
    pub refused: Option<Refusal>,
    /// When its exit was requested, in seconds since 1970.
    pub exit_requested: Option<u64>,
    /// Who has how much in it, the operator first.
    pub parts: Vec<(Address, Amount)>,
}

impl Held {
    /// What all have in it.
    pub fn total(&self) -> Amount {
        self.parts.iter().fold(Amount::ZERO, |sum, (_, part)| sum.checked_add(*part).unwrap_or(sum))
    }

    fn is_of(&self, holders: &[Address]) -> bool {
        self.parts.iter().any(|(contributor, _)| holders.contains(contributor))
    }

    /// The loan that holds it, where the first of the holders is an account and the others are its loans.
    fn loan(&self, holders: &[Address]) -> Option<Address> {
        let of = |loan: &&Address| self.is_of(core::slice::from_ref(*loan));
        holders.iter().skip(1).find(of).copied()
    }
}

impl Staker {
    /// Those stakes of the ledger that the contract holds now, in order of their numbers.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn held(&self, now: &Ledger, wanted: impl Fn(&Stake) -> bool) -> Result<Vec<Held>, StakeError> {
        let staking = self.contracts().staking;
        let mut held = Vec::new();
        for (id, stake) in now.stakes().filter(|(_, stake)| wanted(stake)) {
            let of = self.caller.view(staking, Staking::stakeOfCall { id: id.0 }).await?;
            let shares = self.caller.view(staking, Staking::sharesOfCall { id: id.0 }).await?;
            // It may have been paid back in a block that is not final so far.
            if of.registeredAt == 0 || shares.contributors.is_empty() {
                continue;
            }
            let amounts =
                shares.amounts.into_iter().map(|amount| Amount::try_from(amount).unwrap_or_default());
            held.push(Held {
                id: *id,
                node: stake.node,
                refused: stake.refused,
                exit_requested: (of.exitRequestedAt != 0).then_some(of.exitRequestedAt),
                parts: shares.contributors.into_iter().zip(amounts).collect(),
            });
        }
        Ok(held)
    }

    /// The registration that whoever wants a node to leave means: an own one, rather than one that others put
    /// down for the same key; and the loan that holds it, where it was lent to the account.
    pub(super) async fn leaver(
        &self,
        node: &NodeId,
        now: &Ledger,
    ) -> Result<(StakeId, Option<Address>), StakeError> {
        let mut held = self.held(now, |stake| stake.node == *node).await?;
        if held.is_empty() {
            return Err(StakeError::Unknown { node: *node });
        }
        let holders = self.holders(node).await?;
        // What the contract says of one that is another's tells enough.
        held.retain(|one| one.is_of(&holders) || one.refused.is_none());
        let first = held.iter().min_by_key(|one| {
            (!one.is_of(&holders), one.refused.is_some(), one.exit_requested.is_some(), one.id)
        });
        first.map(|one| (one.id, one.loan(&holders))).ok_or(StakeError::NoStake { node: *node })
    }

    /// The stake of a node that a checkpoint releases, or whose exit was requested long ago. Who has a part in
    /// one gets that one, or the loan that has it; anybody may have those of others paid back.
    pub(super) async fn release(
        &self,
        node: &NodeId,
        holders: &[Address],
        now: &Replayed,
    ) -> Result<(Call, Return), StakeError> {
        let staking = self.contracts().staking;
        let held = own(self.held(&now.ledger, |stake| stake.node == *node).await?, holders);
        let back = |one: &Held, back: fn(Amount) -> Return| {
            if one.loan(holders).is_some() { Return::ToLoan(one.total()) } else { back(one.total()) }
        };
        let epoch = self.accepted().await?;
        if let (Some(epoch), Some(_)) = (epoch, &now.accepted) {
            let proved = self.proved(now, epoch).await?;
            let standings: BTreeMap<StakeId, (Standing, u16)> =
                proved.standings().map(|(id, standing, penalty)| (id, (standing, penalty))).collect();
            let free = held.iter().find_map(|one| {
                let (standing, penalty) = standings.get(&one.id).copied()?;
                is_free(standing).then_some((one, standing, penalty))
            });
            if let Some((one, standing, penalty)) = free {
                let call = self.paid_back((epoch, proved), one.id, standing, penalty)?;
                return Ok((call, back(one, Return::Released)));
            }
        }
        let time = self.caller.time().await?;
        let long_ago = |one: &&Held| one.exit_requested.is_some_and(|at| at.saturating_add(ESCAPE) <= time);
        if let Some(one) = held.iter().find(long_ago) {
            let deed = Staking::escapeCall { id: one.id.0 };
            return Ok((call(staking, &deed), back(one, Return::Escaped)));
        }
        // What the nodes took is what is meant, where there are others too.
        let first = held.iter().min_by_key(|one| one.refused.is_some());
        let one = first.ok_or(StakeError::NoStake { node: *node })?;
        let leaving = one.exit_requested.is_some();
        if let Some(why) = one.refused {
            return Err(StakeError::Unreleased { node: *node, why, leaving });
        }
        let state = now.ledger.node(node).ok_or(StakeError::NoStake { node: *node })?.state;
        Err(StakeError::Locked { node: *node, state, leaving: leaving || state == State::Deregistered })
    }

    /// Those of some stakes that can be paid back at this moment, with the call that does so, which anybody may send: the
    /// last checkpoint releases them, or has refused them, or their exit was requested 30 days ago.
    ///
    /// # Errors
    /// When the chain does not tell, or the ledger is not the one that was signed.
    pub async fn free(
        &self,
        ids: &BTreeSet<StakeId>,
        now: &Replayed,
    ) -> Result<Vec<(StakeId, Call)>, StakeError> {
        let staking = self.contracts().staking;
        let proved = match (self.accepted().await?, &now.accepted) {
            (Some(epoch), Some(_)) => match self.proved(now, epoch).await {
                Ok(ledger) => Some((epoch, ledger)),
                // Another checkpoint came in between: it will be that one's.
                Err(StakeError::NotFinal { .. }) => None,
                Err(error) => return Err(error),
            },
            (None, _) | (_, None) => None,
        };
        let standings: BTreeMap<StakeId, (Standing, u16)> = proved
            .iter()
            .flat_map(|(_, ledger)| ledger.standings())
            .map(|(id, standing, penalty)| (id, (standing, penalty)))
            .collect();
        let time = self.caller.time().await?;
        let mut free = Vec::new();
        for id in ids {
            let of = self.caller.view(staking, Staking::stakeOfCall { id: id.0 }).await?;
            // It may have been paid back in a block that is not final so far.
            if of.registeredAt == 0 {
                continue;
            }
            let standing = standings.get(id).copied().filter(|(standing, _)| is_free(*standing));
            if let (Some(proved), Some((standing, penalty))) = (proved, standing) {
                free.push((*id, self.paid_back(proved, *id, standing, penalty)?));
            } else if of.exitRequestedAt != 0 && of.exitRequestedAt.saturating_add(ESCAPE) <= time {
                free.push((*id, call(staking, &Staking::escapeCall { id: id.0 })));
            }
        }
        Ok(free)
    }

    /// What pays a stake back, as the checkpoint of an epoch has it.
    fn paid_back(
        &self,
        (epoch, proved): (u64, &Ledger),
        id: StakeId,
        standing: Standing,
        penalty: u16,
    ) -> Result<Call, StakeError> {
        let proof = proved.states_tree().proof(checkpoint::state_leaf(id, standing, penalty));
        let proof = proof.ok_or(StakeError::OtherLedger { epoch })?;
        let deed = Staking::releaseCall { id: id.0, state: standing as u8, penaltyBps: penalty, proof };
        Ok(call(self.contracts().staking, &deed))
    }
}

/// Whether a checkpoint that has a stake so lets it be paid back.
const fn is_free(standing: Standing) -> bool {
    matches!(standing, Standing::Released | Standing::Refused)
}

/// Those that the account or a loan of its own has a part in; where there are none, all.
fn own(mut held: Vec<Held>, holders: &[Address]) -> Vec<Held> {
    if held.iter().any(|one| one.is_of(holders)) {
        held.retain(|one| one.is_of(holders));
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_a_part_in_one_gets_that_one_and_others_any() {
        let [stranger, alice, bob, carol] = [9, 1, 2, 3].map(Address::repeat_byte);
        let held = |id, refused, parts: &[Address]| Held {
            id: StakeId(id),
            node: NodeId::from_bytes([7; 32]),
            refused,
            exit_requested: None,
            parts: parts.iter().map(|one| (*one, Amount::sesh(1))).collect(),
        };
        let all = vec![held(1, Some(Refusal::Unsigned), &[stranger]), held(2, None, &[alice, bob])];
        let ids = |account| own(all.clone(), &[account]).iter().map(|one| one.id.0).collect::<Vec<_>>();
        assert_eq!([alice, bob, stranger, carol].map(ids), [vec![2], vec![2], vec![1], vec![1, 2]]);
        // Carol's loan is as good as an own stake; where it is her own, no loan is asked.
        let lent = held(2, None, &[alice]);
        assert_eq!(own(all, &[carol, alice]).len(), 1);
        assert_eq!(
            [&[carol, alice][..], &[alice, bob], &[bob]].map(|it| lent.loan(it)),
            [Some(alice), None, None]
        );
    }
}
