//! Rewards: what the pool released in an epoch, divided among those who earned it, to the last unit.

use std::collections::BTreeMap;

use alloy::primitives::Address;

use super::{
    amount::Amount,
    input::Refusal,
    member::Member,
    registration::{MAX_FEE, Share},
};

/// What everybody has earned since the network began, and what waits to be divided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewards {
    /// Lifetime totals, by account; no zeros.
    pub(super) totals: BTreeMap<Address, Amount>,
    /// Released and not divided so far.
    pub(super) carried: Amount,
    /// All that was ever released.
    pub(super) released: Amount,
    /// Whose checkpoints were accepted in this epoch.
    pub(super) submitters: Vec<Address>,
    /// What each of them is credited.
    pub(super) credit: Amount,
}

impl Rewards {
    /// An account's lifetime total.
    pub fn total(&self, account: &Address) -> Amount {
        self.totals.get(account).copied().unwrap_or_default()
    }

    /// All lifetime totals, in order of the accounts; no zeros.
    pub fn totals(&self) -> impl ExactSizeIterator<Item = (&Address, &Amount)> {
        self.totals.iter()
    }

    /// What was released and goes into the next division.
    pub const fn carried(&self) -> Amount {
        self.carried
    }

    /// All that the pool ever released: the lifetime totals and [`Self::carried`].
    pub const fn released(&self) -> Amount {
        self.released
    }

    pub(super) fn release(&mut self, amount: Amount) -> Result<(), Refusal> {
        // A sum that fits bounds every part of it: nothing below can overflow.
        self.released = self.released.checked_add(amount).ok_or(Refusal::Amount)?;
        self.carried = self.carried.checked_add(amount).ok_or(Refusal::Amount)?;
        Ok(())
    }

    /// Ends an epoch: credits its submitters, then divides the rest among `earners` alike.
    pub(super) fn divide<'a>(&mut self, earners: impl ExactSizeIterator<Item = &'a Member>) {
        for submitter in std::mem::take(&mut self.submitters) {
            self.pay(submitter, self.credit.min(self.carried));
        }
        let nodes = earners.len() as u128;
        let Some(each) = self.carried.part(1, nodes).filter(|each| !each.is_zero()) else { return };
        for member in earners {
            self.reward(each, member.fee, &member.shares);
        }
    }

    /// One node's reward: the operator's fee, then each share by its amount; what rounding leaves is the
    /// operator's.
    fn reward(&mut self, reward: Amount, fee: u16, shares: &[Share]) {
        let Some(operator) = shares.first().map(|share| share.beneficiary) else { return };
        let Some(stake) = shares.iter().try_fold(Amount::ZERO, |sum, share| sum.checked_add(share.amount))
        else {
            return;
        };
        let kept = reward.part(fee.into(), MAX_FEE.into()).unwrap_or_default();
        let rest = reward.checked_sub(kept).unwrap_or_default();
        let mut left = reward;
        for share in shares.iter().skip(1) {
            let part = rest.part(share.amount.0, stake.0).unwrap_or_default();
            left = left.checked_sub(part).unwrap_or_default();
            self.pay(share.beneficiary, part);
        }
        self.pay(operator, left);
    }

    /// Moves what is carried to an account.
    fn pay(&mut self, account: Address, amount: Amount) {
        let Some(carried) = self.carried.checked_sub(amount).filter(|_| !amount.is_zero()) else { return };
        let total = self.totals.entry(account).or_default();
        if let Some(sum) = total.checked_add(amount) {
            *total = sum;
            self.carried = carried;
        }
    }
}
