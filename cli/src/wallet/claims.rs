//! What the chain says of payments that messages tell of: asked about so many at once, for so long, that whoever tells
//! of payments that were never made keeps nobody from their messages.

use core::cmp::Reverse;
use std::{collections::BTreeMap, pin::pin, time::Duration};

use alloy::primitives::{Address, B256};
use futures::{StreamExt, stream};
use session_chain::{
    network::Settlement,
    settlement::{
        WalletError,
        wallet::{Payment, Standing, Sum, payment::check},
    },
};
use session_client::home::Unfounded;
use session_protocols::MessageHash;
use tokio::time::timeout;

use super::messages::why;

/// The most claims that the chain is asked about for one look at an inbox; the next looks come to the others.
const MAX_ASKED: usize = 32;
/// How many of them at once: each asks every endpoint.
const MAX_AT_ONCE: usize = 8;
/// How long all of them may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// When one is asked about again that pays something else, or failed, in milliseconds: only a reorganisation changes it.
const AGAIN_MS: u64 = 24 * 3_600_000;
/// What is said of a claim that the chain was not asked about.
pub(super) const NOT_CHECKED: &str = "it was not checked: there are too many such messages at once, or the chain \
                                      takes too long; session inbox goes on with them";

/// What a message claims: that a transaction pays the reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) message: MessageHash,
    pub(super) told_ms: u64,
    pub(super) transaction: B256,
    pub(super) from: Address,
    pub(super) sum: Sum,
}

/// Whom a transaction was found to pay, and how that stands.
pub(super) type Found = Result<(Address, Standing), WalletError>;

/// What the chain says of claims, as far as it was asked.
pub(super) async fn look(
    settlement: &Settlement,
    own: &[Address],
    claims: &[Claim],
    unfounded: &BTreeMap<MessageHash, Unfounded>,
    now_ms: u64,
) -> BTreeMap<MessageHash, Found> {
    let due = due(claims, unfounded, now_ms);
    ask(due, PATIENCE, |claim| pays(settlement, own, claim)).await
}

/// Why a claim does not hold, to be remembered: one of a transaction that nobody knows is asked about again once the
/// first question is twice as long ago.
pub(super) fn refused(standing: &Standing, before: Option<&Unfounded>, now_ms: u64) -> Unfounded {
    let first_ms = before.map_or(now_ms, |before| before.first_ms.min(now_ms));
    let pause = match standing {
        Standing::Short { .. } | Standing::Failed => AGAIN_MS,
        Standing::Unknown | Standing::Paid { .. } | Standing::Pending { .. } => {
            now_ms.saturating_sub(first_ms)
        }
    };
    Unfounded { why: why(standing), first_ms, again_ms: now_ms.saturating_add(pause) }
}

/// The claims to ask about: those first that were never asked about, and of these the newest.
fn due(claims: &[Claim], unfounded: &BTreeMap<MessageHash, Unfounded>, now_ms: u64) -> Vec<Claim> {
    // A clock that was ahead puts nothing off.
    let is_due = |before: &Unfounded| before.again_ms <= now_ms || before.first_ms > now_ms;
    let mut due: Vec<Claim> =
        claims.iter().filter(|claim| unfounded.get(&claim.message).is_none_or(is_due)).copied().collect();
    due.sort_by_key(|claim| (unfounded.contains_key(&claim.message), Reverse(claim.told_ms)));
    due.truncate(MAX_ASKED);
    due
}

/// Asks about each, some at once; those that are not answered in time are left out.
async fn ask<T, F: Future<Output = T>>(
    due: Vec<Claim>,
    patience: Duration,
    one: impl Fn(Claim) -> F,
) -> BTreeMap<MessageHash, T> {
    let mut found = BTreeMap::new();
    let asking = stream::iter(due).map(|claim| {
        let answer = one(claim);
        async move { (claim.message, answer.await) }
    });
    let mut asking = pin!(asking.buffer_unordered(MAX_AT_ONCE));
    let all = async {
        while let Some((message, answer)) = asking.next().await {
            found.insert(message, answer);
        }
    };
    // What is there by then counts.
    let _ = timeout(patience, all).await;
    found
}

/// Which of the reader's addresses a transaction pays.
async fn pays(settlement: &Settlement, own: &[Address], claim: Claim) -> Found {
    let Claim { transaction, from, sum, .. } = claim;
    let mut found = Ok((Address::ZERO, Standing::Unknown));
    for to in own.iter().copied() {
        let standing = check(settlement, &Payment { transaction, from, to, sum }).await;
        let is_short = matches!(standing, Ok(Standing::Short { .. }));
        found = standing.map(|standing| (to, standing));
        if !is_short {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use session_chain::Amount;

    use super::*;

    fn claim(number: u64) -> Claim {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        let (message, transaction) = (MessageHash(hash), B256::from(hash));
        Claim { message, told_ms: number, transaction, from: Address::ZERO, sum: Sum::Sesh(Amount::sesh(1)) }
    }

    #[test]
    fn of_many_claims_all_are_asked_about_in_turn_and_the_newest_first() {
        let (mut claims, mut unfounded) = ((0..1_000).map(claim).collect::<Vec<_>>(), BTreeMap::new());
        let mut now_ms = 1_000_000;
        for look in 0..32 {
            let due = due(&claims, &unfounded, now_ms);
            let newest = 1_000 - look * MAX_ASKED as u64;
            let wanted: Vec<u64> = (0..newest).rev().take(MAX_ASKED).collect();
            // The last look goes on with those that were asked about before.
            let told: Vec<u64> = due.iter().map(|claim| claim.told_ms).collect();
            assert_eq!((due.len(), told.get(..wanted.len())), (MAX_ASKED, Some(&wanted[..])));
            for claim in &due {
                let refused = refused(&Standing::Unknown, unfounded.get(&claim.message), now_ms);
                unfounded.insert(claim.message, refused);
            }
            now_ms += 1_000;
        }
        assert_eq!(unfounded.len(), claims.len());
        // One that comes then is asked about before all of them.
        claims.push(claim(1_000));
        assert_eq!(due(&claims, &unfounded, now_ms).first().map(|it| it.told_ms), Some(1_000));
    }

    #[test]
    fn what_did_not_hold_is_asked_about_less_and_less_and_what_cannot_hold_once_a_day() {
        let due_at = |before: &Unfounded, now_ms| {
            let one = claim(1);
            !due(&[one], &BTreeMap::from([(one.message, before.clone())]), now_ms).is_empty()
        };
        let first = refused(&Standing::Unknown, None, 1_000);
        assert!(first.why.contains("there is no such transaction"));
        assert!(due_at(&first, 1_000));
        let second = refused(&Standing::Unknown, Some(&first), 61_000);
        assert!(!due_at(&second, 120_999) && due_at(&second, 121_000));
        let third = refused(&Standing::Unknown, Some(&second), 121_000);
        assert_eq!((third.first_ms, third.again_ms), (1_000, 241_000));
        for standing in [Standing::Failed, Standing::Short { paid: Sum::Sesh(Amount::ZERO) }] {
            let refused = refused(&standing, None, 1_000);
            assert!(!due_at(&refused, AGAIN_MS) && due_at(&refused, AGAIN_MS + 1_000));
        }
        // The clock was ahead by then.
        assert!(due_at(&refused(&Standing::Failed, None, 1_000), 999));
    }

    #[tokio::test]
    async fn those_that_are_not_answered_keep_nobody_waiting() {
        let (asked, running, most) = (Cell::new(0_usize), Cell::new(0_usize), Cell::new(0_usize));
        let due: Vec<Claim> = (0..MAX_ASKED as u64).map(claim).collect();
        let one = |claim: Claim| {
            let (asked, running, most) = (&asked, &running, &most);
            async move {
                asked.set(asked.get() + 1);
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                if claim.told_ms % 8 == 7 {
                    pending::<()>().await;
                }
                running.set(running.get() - 1);
                claim.told_ms
            }
        };
        let found = ask(due.clone(), Duration::ZERO, one).await;
        assert_eq!(found.len(), MAX_ASKED - MAX_ASKED / 8, "{found:?}");
        assert!(found.values().all(|told_ms| told_ms % 8 != 7));
        assert_eq!((asked.get(), running.get()), (MAX_ASKED, MAX_ASKED / 8));
        assert!(most.get() <= MAX_AT_ONCE, "{}", most.get());
        let silent = ask(due, Duration::ZERO, |_| pending::<()>()).await;
        assert!(silent.is_empty());
    }
}
