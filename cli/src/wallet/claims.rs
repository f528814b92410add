//! What the chain says of payments that messages tell of: asked about so many at once, for so long, that whoever tells
//! of payments that were never made keeps nobody from their messages.

use core::cmp::Reverse;
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use alloy::primitives::{Address, B256};
use futures::{StreamExt, future::join_all, stream};
use session_chain::{
    network::Settlement,
    settlement::{
        WalletError,
        wallet::{Payment, Standing, Sum, payment::check_for_good},
    },
};
use session_client::home::Unfounded;
use session_protocols::{AccountId, MessageHash};
use tokio::time::timeout;

use super::messages::why;

/// The most claims that the chain is asked about for one look at an inbox; the next looks come to the others.
const MAX_ASKED: usize = 32;
/// How many of them at once: each asks every endpoint.
const MAX_AT_ONCE: usize = 8;
/// How long all of them may take: a silent endpoint is given up on after five seconds, so two turns end in time.
const PATIENCE: Duration = Duration::from_secs(12);
/// When one is asked about again that pays something else, or failed, and is final, in milliseconds.
const AGAIN_MS: u64 = 24 * 3_600_000;
/// What is said of a claim that the chain was not asked about.
pub(super) const NOT_CHECKED: &str = "it was not checked: there are too many such messages at once, or the chain \
                                      takes too long; session inbox goes on with them";

/// What a message claims: that a transaction pays the reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) message: MessageHash,
    /// Whose message it is.
    pub(super) sender: AccountId,
    /// Whether that is somebody from the address book.
    pub(super) is_contact: bool,
    pub(super) told_ms: u64,
    pub(super) transaction: B256,
    pub(super) from: Address,
    pub(super) sum: Sum,
}

/// What the chain says of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// Whom the transaction was found to pay.
    pub(super) to: Address,
    pub(super) standing: Standing,
    /// Whether that stays so.
    pub(super) is_final: bool,
}

/// What came of the question; none where that took too long.
pub(super) type Found = Option<Result<Answer, WalletError>>;

/// What the chain says of claims, as far as it was asked.
pub(super) async fn look(
    settlement: &Settlement,
    own: &[Address],
    claims: &[Claim],
    unfounded: &BTreeMap<MessageHash, Unfounded>,
    now_ms: u64,
) -> BTreeMap<MessageHash, Found> {
    let due = due(claims, unfounded, now_ms);
    ask(&due, PATIENCE, |claim| pays(settlement, own, claim)).await
}

/// Why a claim does not hold, to be remembered: it is asked about again once the first question is twice as long ago,
/// unless only a reorganisation changes it.
pub(super) fn refused(answer: &Answer, before: Option<&Unfounded>, now_ms: u64) -> Unfounded {
    let first_ms = before.map_or(now_ms, |before| before.first_ms.min(now_ms));
    let pause = if answer.is_final { AGAIN_MS } else { now_ms.saturating_sub(first_ms) };
    let again_ms = now_ms.saturating_add(pause);
    Unfounded { why: why(&answer.standing), first_ms, asked_ms: now_ms, again_ms }
}

/// That the chain was asked about a claim, and decided nothing: nothing is held against it but that others come first.
pub(super) fn undecided(why: &str, now_ms: u64) -> Unfounded {
    Unfounded { why: why.to_owned(), first_ms: now_ms, asked_ms: now_ms, again_ms: now_ms }
}

/// The claims to ask about, by turns of one from each sender: however many one sends, the claims of others wait for as many
/// of them as they have sent themselves. Of one sender those come first that were never asked about, then those asked
/// about longest ago; of these the newest. So it is among the senders of one turn, where contacts come first: accounts
/// cost nothing, so strangers can be as many as somebody likes.
fn due(claims: &[Claim], unfounded: &BTreeMap<MessageHash, Unfounded>, now_ms: u64) -> Vec<Claim> {
    // A clock that was ahead puts nothing off.
    let is_due = |before: &Unfounded| before.again_ms <= now_ms || before.first_ms > now_ms;
    let mut due: Vec<Claim> =
        claims.iter().filter(|claim| unfounded.get(&claim.message).is_none_or(is_due)).copied().collect();
    // None comes before all times.
    let asked_ms = |claim: &Claim| unfounded.get(&claim.message).map(|before| before.asked_ms.min(now_ms));
    due.sort_by_key(|claim| (asked_ms(claim), Reverse(claim.told_ms)));
    let mut turns: BTreeMap<AccountId, usize> = BTreeMap::new();
    let mut due: Vec<(usize, Claim)> = due
        .into_iter()
        .map(|claim| {
            let next = turns.entry(claim.sender).or_default();
            let turn = *next;
            *next += 1;
            (turn, claim)
        })
        .collect();
    // What is equal stays in its order.
    due.sort_by_key(|(turn, claim)| (*turn, !claim.is_contact));
    due.into_iter().take(MAX_ASKED).map(|(_, claim)| claim).collect()
}

/// Asks about each, some at once; nothing is found of those that are not answered in time, and those whose turn did not
/// come are left out.
async fn ask<T, F: Future<Output = T>>(
    due: &[Claim],
    patience: Duration,
    one: impl Fn(Claim) -> F,
) -> BTreeMap<MessageHash, Option<T>> {
    let begun = AtomicUsize::new(0);
    let mut found = BTreeMap::new();
    let asking = stream::iter(due.to_vec()).map(|claim| {
        begun.fetch_add(1, Ordering::Relaxed);
        let answer = one(claim);
        async move { (claim.message, answer.await) }
    });
    let mut asking = pin!(asking.buffer_unordered(MAX_AT_ONCE));
    let all = async {
        while let Some((message, answer)) = asking.next().await {
            found.insert(message, Some(answer));
        }
    };
    // What is there by then counts.
    let _ = timeout(patience, all).await;
    for claim in due.iter().take(begun.load(Ordering::Relaxed)) {
        found.entry(claim.message).or_insert(None);
    }
    found
}

/// Which of the reader's addresses a transaction pays.
async fn pays(settlement: &Settlement, own: &[Address], claim: Claim) -> Result<Answer, WalletError> {
    let Claim { transaction, from, sum, .. } = claim;
    let asking = own.iter().copied().map(|to| async move {
        let found = check_for_good(settlement, &Payment { transaction, from, to, sum }).await;
        found.map(|(standing, is_final)| Answer { to, standing, is_final })
    });
    // All at once: nobody's patience is for the sum of them.
    let mut found = Ok(Answer { to: Address::ZERO, standing: Standing::Unknown, is_final: false });
    for answer in join_all(asking).await {
        let is_short = matches!(answer, Ok(Answer { standing: Standing::Short { .. }, .. }));
        found = answer;
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
        Claim {
            message,
            sender: AccountId::from_bytes([5; 33]),
            is_contact: false,
            told_ms: number,
            transaction,
            from: Address::ZERO,
            sum: Sum::Sesh(Amount::sesh(1)),
        }
    }

    /// The same of another sender.
    fn of(sender: u8, number: u64) -> Claim {
        Claim { sender: AccountId::from_bytes([sender; 33]), ..claim(number) }
    }

    fn numbers(due: &[Claim]) -> Vec<u64> {
        due.iter().map(|claim| claim.told_ms).collect()
    }

    fn answer(standing: Standing, is_final: bool) -> Answer {
        Answer { to: Address::ZERO, standing, is_final }
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
                let before = unfounded.get(&claim.message);
                let refused = refused(&answer(Standing::Unknown, false), before, now_ms);
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
    fn one_sender_pushes_nobody_else_out_however_many_claims_there_are() {
        // Three of Bob's and one of Carol's, and all that Mallory sends since are newer.
        let others = [of(1, 1), of(1, 2), of(1, 3), of(2, 4)];
        let (mut claims, mut unfounded) = (others.to_vec(), BTreeMap::new());
        let mut now_ms = 1_000_000;
        for look in 0..4_u64 {
            claims.extend((0..500).map(|number| of(9, 1_000 + look * 500 + number)));
            let due = due(&claims, &unfounded, now_ms);
            assert_eq!(due.len(), MAX_ASKED, "what others leave is his");
            let told = numbers(&due);
            let newest = 1_000 + look * 500 + 499;
            if look == 0 {
                assert_eq!(&told[..6], [newest, 4, 3, newest - 1, 2, newest - 2]);
                assert_eq!(told[6], 1);
            }
            // What was not decided is asked about each time.
            assert!(others.iter().all(|claim| told.contains(&claim.told_ms)), "{look}: {told:?}");
            for claim in &due {
                unfounded.insert(claim.message, undecided("it was pending", now_ms));
            }
            now_ms += 1_000;
        }
    }

    #[test]
    fn contacts_come_before_strangers_however_many_there_are() {
        let strangers = (10..200).map(|sender| of(sender, 1_000 + u64::from(sender)));
        let contact = |number| Claim { is_contact: true, ..of(1, number) };
        let claims: Vec<Claim> = [contact(1), contact(2)].into_iter().chain(strangers).collect();
        // One each time: the others have their turn before the second.
        let told = numbers(&due(&claims, &BTreeMap::new(), 1_000_000));
        assert_eq!((told[0], told[1], told.len()), (2, 1_199, MAX_ASKED));
        assert!(!told.contains(&1));
        let before = BTreeMap::from([(contact(2).message, undecided("it was pending", 999_000))]);
        assert_eq!(numbers(&due(&claims, &before, 1_000_000))[0], 1);
    }

    #[test]
    fn what_is_not_decided_keeps_no_other_from_its_turn() {
        let (claims, mut unfounded) = ((0..100).map(claim).collect::<Vec<_>>(), BTreeMap::new());
        let mut now_ms = 1_000_000;
        let mut told = Vec::new();
        for _ in 0..8 {
            for claim in due(&claims, &unfounded, now_ms) {
                told.push(claim.told_ms);
                unfounded.insert(claim.message, undecided("it was pending", now_ms));
            }
            now_ms += 1_000;
        }
        // Nobody twice before all others once, and then all once more.
        let mut first = told[..100].to_vec();
        first.sort_unstable();
        assert_eq!(first, (0..100).collect::<Vec<u64>>());
        for number in 0..100 {
            assert!(told.iter().filter(|told| **told == number).count() >= 2, "{number}");
        }
        // What is not decided is due at once, and behind what was never asked about.
        let before = BTreeMap::from([(claim(9).message, undecided("it was pending", now_ms))]);
        let told: Vec<u64> =
            due(&[claim(9), claim(1)], &before, now_ms).iter().map(|it| it.told_ms).collect();
        assert_eq!(told, [1, 9]);
    }

    #[test]
    fn what_did_not_hold_is_asked_about_less_and_less_and_what_cannot_hold_once_a_day() {
        let due_at = |before: &Unfounded, now_ms| {
            let one = claim(1);
            !due(&[one], &BTreeMap::from([(one.message, before.clone())]), now_ms).is_empty()
        };
        let unknown = answer(Standing::Unknown, false);
        let first = refused(&unknown, None, 1_000);
        assert!(first.why.contains("there is no such transaction"));
        assert!(due_at(&first, 1_000));
        let second = refused(&unknown, Some(&first), 61_000);
        assert!(!due_at(&second, 120_999) && due_at(&second, 121_000));
        let third = refused(&unknown, Some(&second), 121_000);
        assert_eq!((third.first_ms, third.again_ms), (1_000, 241_000));
        for standing in [Standing::Failed, Standing::Short { paid: Sum::Sesh(Amount::ZERO) }] {
            let last = refused(&answer(standing, true), None, 1_000);
            assert!(!due_at(&last, AGAIN_MS) && due_at(&last, AGAIN_MS + 1_000));
            // What may still change is as good as what nobody knows.
            let young = refused(&answer(standing, false), Some(&first), 61_000);
            assert_eq!(young.again_ms, 121_000);
        }
        // The clock was ahead by then.
        assert!(due_at(&refused(&answer(Standing::Failed, true), None, 1_000), 999));
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
        let found = ask(&due, Duration::ZERO, one).await;
        // Those that were not answered were asked about all the same.
        assert_eq!(found.len(), MAX_ASKED, "{found:?}");
        let answered: Vec<u64> = found.values().copied().flatten().collect();
        assert_eq!(answered.len(), MAX_ASKED - MAX_ASKED / 8, "{found:?}");
        assert!(answered.iter().all(|told_ms| told_ms % 8 != 7));
        assert_eq!((asked.get(), running.get()), (MAX_ASKED, MAX_ASKED / 8));
        assert!(most.get() <= MAX_AT_ONCE, "{}", most.get());
        let silent = ask(&due, Duration::ZERO, |_| pending::<()>()).await;
        assert_eq!(silent.len(), MAX_AT_ONCE);
        assert!(silent.values().all(Option::is_none));
    }
}
