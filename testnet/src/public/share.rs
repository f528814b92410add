//! How many of a network's nodes may have a stake that its faucet lends.

use std::collections::BTreeSet;

use session_chain::settlement::{Delivery, Vault, VaultError};

use super::{Public, STAKE};

/// The share of the nodes whose stakes are lent at most, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share(pub(super) u64);

impl Share {
    /// How many stakes more may be lent where `lent` of `nodes` have one of these: each of them is a node more.
    pub(super) fn left(self, lent: u64, nodes: u64) -> u64 {
        let may = nodes.saturating_mul(self.0).saturating_sub(lent.saturating_mul(100));
        // With all of them there is no bound.
        may.checked_div(100_u64.saturating_sub(self.0)).unwrap_or(u64::MAX)
    }
}

/// How many stakes the faucet of a network can lend at this moment, by its share and by what the vault has; none where
/// the chain does not tell.
pub async fn lendable(public: &Public) -> Option<u64> {
    let asked = async {
        let settlement = public.network.settlement.as_ref().ok_or(VaultError::None)?;
        let vault = Vault::connect(settlement, public.faucet.clone(), Delivery::default()).await?;
        let (lent, nodes) = vault.standing(&mut BTreeSet::new()).await?;
        let stocked = vault.unlent().await?.0.checked_div(STAKE.0).unwrap_or_default();
        Ok::<_, VaultError>(
            Share(public.lent).left(lent, nodes).min(u64::try_from(stocked).unwrap_or(u64::MAX)),
        )
    };
    asked.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::{FIRST_NODES, LENT};

    /// How many are lent one after the other, where so many nodes have stakes of their own.
    fn lent(share: Share, own: u64) -> u64 {
        (0..1_000).find(|lent| share.left(*lent, own + lent) == 0).unwrap()
    }

    #[test]
    fn by_default_several_newcomers_get_a_stake_and_the_next_does_not() {
        let (share, own) = (Share(LENT), FIRST_NODES as u64);
        assert_eq!((lent(share, own), share.left(0, own)), (5, 5), "what the documents promise");
        // Whoever adds nodes lets it lend more.
        assert_eq!(lent(share, 2 * own), 10);
        // Those who are lent a stake never are a third of all, so they stop no checkpoint.
        assert!((4..200).all(|own| 3 * lent(share, own) < own + lent(share, own)));
    }

    #[test]
    fn what_is_left_is_what_can_be_lent_one_after_the_other() {
        for (percent, own) in [(0, 4), (1, 99), (25, 4), (33, 16), (50, 7), (99, 3)] {
            let (share, all) = (Share(percent), lent(Share(percent), own));
            assert!((0..=all).all(|lent| share.left(lent, own + lent) == all - lent), "{percent} % of {own}");
        }
        assert_eq!(Share(0).left(0, 4), 0);
        assert_eq!(Share(100).left(3, 7), u64::MAX);
        assert_eq!(Share(25).left(9, 10), 0, "others have left");
    }
}
