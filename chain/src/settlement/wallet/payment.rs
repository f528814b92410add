//! Whether a transaction pays what somebody says it does: asked of all endpoints, which have to agree.

use alloy::{
    consensus::Transaction as _,
    eips::BlockNumberOrTag,
    network::TransactionResponse,
    primitives::{Address, B256, U256},
    providers::{Provider, RootProvider},
    rpc::types::{Transaction, TransactionReceipt},
    sol_types::{SolCall, SolEvent},
    transports::TransportError,
};
use tokio::{task::JoinSet, time::timeout};

use super::{Sum, WalletError};
use crate::{
    network::Settlement,
    settlement::{
        caller::ANSWER,
        calls::Token,
        endpoint::{self, Endpoint},
        sender::SendError,
        trouble::Trouble,
    },
};

/// That a transaction pays somebody, as somebody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Which transaction.
    pub transaction: B256,
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// How much at least.
    pub sum: Sum,
}

/// What the chain says of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was made, and its block is final.
    Paid {
        /// The height of its block.
        height: u64,
    },
    /// It is on its way: in no block so far, or in one that may still disappear.
    Pending {
        /// The height of its block; none where not all endpoints have one and the same.
        height: Option<u64>,
    },
    /// The transaction pays less, or somebody else.
    Short {
        /// What it pays from the one to the other.
        paid: Sum,
    },
    /// The transaction was mined and had no effect, as those say that have it; [`check_for_good`] tells whether that
    /// is all of them, and stays so.
    Failed,
    /// Nobody knows of such a transaction: it was never sent, or is gone after a reorganisation.
    Unknown,
}

/// What one endpoint says of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Unknown,
    /// In no block of the chain; what it would pay.
    Waiting(U256),
    /// In a block; what it paid, none where it had no effect.
    Mined {
        block: B256,
        height: u64,
        is_final: bool,
        paid: Option<U256>,
    },
}

/// Asks all endpoints of a chain about a payment.
///
/// # Errors
/// When no more than half of them answer, or two contradict each other.
pub async fn check(settlement: &Settlement, payment: &Payment) -> Result<Standing, WalletError> {
    check_for_good(settlement, payment).await.map(|(standing, _)| standing)
}

/// The same, and whether that stays so: every endpoint answered, and has the transaction in one and the same block,
/// which is final, with an effect or without. Only then a payment that failed may be made once more.
///
/// # Errors
/// As [`check`].
pub async fn check_for_good(
    settlement: &Settlement,
    payment: &Payment,
) -> Result<(Standing, bool), WalletError> {
    let asked = settlement.rpc.len();
    let mut asking = JoinSet::new();
    for url in &settlement.rpc {
        let (url, settlement, payment) = (url.clone(), settlement.clone(), *payment);
        asking.spawn(async move { ask(&settlement, &url, &payment).await });
    }
    let (mut seen, mut failed) = (Vec::new(), None);
    while let Some(answer) = asking.join_next().await {
        match answer {
            Ok(Ok(answer)) => seen.push(answer),
            Ok(Err(error)) => failed = Some(error),
            // One that ended otherwise did not answer.
            Err(_) => {}
        }
    }
    seen.sort_by(|(one, _), (two, _)| one.cmp(two));
    if seen.len() <= asked / 2 {
        let cause = failed.map(Box::new);
        return Err(WalletError::TooFew { answered: seen.len(), asked, cause });
    }
    Ok((judge(&seen, payment)?, seen.len() == asked && are_final(&seen)))
}

fn are_final(seen: &[(String, Seen)]) -> bool {
    let mut places = seen.iter().map(|(_, seen)| match seen {
        Seen::Mined { block, is_final: true, paid, .. } => Some((*block, paid.is_some())),
        Seen::Mined { is_final: false, .. } | Seen::Waiting(_) | Seen::Unknown => None,
    });
    let Some(Some(first)) = places.next() else { return false };
    places.all(|place| place == Some(first))
}

async fn ask(settlement: &Settlement, url: &str, payment: &Payment) -> Result<(String, Seen), WalletError> {
    let endpoint = Endpoint::new(url)?;
    let name = endpoint.name().to_owned();
    let provider = RootProvider::new(endpoint.rpc());
    let failed = |trouble| SendError::Endpoint { endpoint: name.clone(), trouble };
    let look = async {
        let found = provider.get_chain_id().await?;
        if found != settlement.chain {
            return Ok(Err(Trouble::WrongChain { found, wanted: settlement.chain }));
        }
        look(&provider, settlement, payment).await.map(Ok)
    };
    let seen = match timeout(ANSWER, look).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => Err(endpoint::trouble(&error)),
        Err(_) => Err(Trouble::Late),
    };
    let seen = seen.map_err(&failed)?;
    Ok((name, seen))
}

/// What an endpoint knows of the transaction.
async fn look(
    provider: &RootProvider,
    settlement: &Settlement,
    payment: &Payment,
) -> Result<Seen, TransportError> {
    let token = settlement.contracts.token;
    let last_final = provider.get_block_by_number(BlockNumberOrTag::Finalized).await?;
    let last_final = last_final.map_or(0, |block| block.header.number);
    let Some(transaction) = provider.get_transaction_by_hash(payment.transaction).await? else {
        return Ok(Seen::Unknown);
    };
    let receipt = provider.get_transaction_receipt(payment.transaction).await?;
    let mined =
        receipt.as_ref().and_then(|receipt| Some((receipt, receipt.block_hash?, receipt.block_number?)));
    let Some((receipt, block, height)) = mined else {
        return Ok(Seen::Waiting(would_pay(&transaction, token, payment)));
    };
    // A receipt outlives its block where that was replaced.
    let stands = provider.get_block_by_number(height.into()).await?;
    if stands.is_none_or(|stands| stands.header.hash != block) {
        return Ok(Seen::Waiting(would_pay(&transaction, token, payment)));
    }
    let paid = receipt.status().then(|| paid(&transaction, receipt, token, payment));
    Ok(Seen::Mined { block, height, is_final: height <= last_final, paid })
}

/// What a transaction without a receipt would pay from the one to the other.
fn would_pay(transaction: &Transaction, token: Address, payment: &Payment) -> U256 {
    if transaction.from() != payment.from {
        return U256::ZERO;
    }
    match payment.sum {
        Sum::Native(_) if transaction.to() == Some(payment.to) => transaction.value(),
        Sum::Sesh(_) if transaction.to() == Some(token) => {
            Token::transferCall::abi_decode(transaction.input())
                .ok()
                .filter(|call| call.to == payment.to)
                .map_or(U256::ZERO, |call| call.value)
        }
        Sum::Native(_) | Sum::Sesh(_) => U256::ZERO,
    }
}

/// What a transaction paid from the one to the other: by a transfer that it is, and nothing else. The price of a name
/// that one bought of the other is owed for the name.
fn paid(transaction: &Transaction, receipt: &TransactionReceipt, token: Address, payment: &Payment) -> U256 {
    let meant = would_pay(transaction, token, payment);
    if meant.is_zero() || matches!(payment.sum, Sum::Native(_)) {
        return meant;
    }
    let transfers = receipt.logs().iter().filter(|log| log.inner.address == token);
    let transfers = transfers.filter_map(|log| Token::Transfer::decode_log_data(&log.inner.data).ok());
    let own = transfers.filter(|transfer| transfer.from == payment.from && transfer.to == payment.to);
    own.fold(U256::ZERO, |sum, transfer| sum.saturating_add(transfer.value))
}

/// What all endpoints together say.
fn judge(seen: &[(String, Seen)], payment: &Payment) -> Result<Standing, WalletError> {
    let wanted = payment.sum.units();
    // Every transaction pays nothing to everybody: that is no payment.
    let is_enough = |paid: U256| !wanted.is_zero() && paid >= wanted;
    let pays = |seen: &Seen| match seen {
        Seen::Unknown => None,
        Seen::Waiting(paid) => Some(is_enough(*paid)),
        Seen::Mined { paid, .. } => Some(paid.is_some_and(is_enough)),
    };
    let find = |what: &dyn Fn(&Seen) -> bool| seen.iter().find(|(_, seen)| what(seen));
    let apart = |(one, first): &(String, Seen), (two, second): &(String, Seen)| WalletError::Apart {
        one: one.clone(),
        first: first.say(payment),
        two: two.clone(),
        second: second.say(payment),
    };
    let (paying, other) = (find(&|seen| pays(seen) == Some(true)), find(&|seen| pays(seen) == Some(false)));
    let first = match (paying, other) {
        (Some(paying), Some(other)) => return Err(apart(paying, other)),
        (None, None) => return Ok(Standing::Unknown),
        (None, Some((_, other))) => {
            return Ok(match other {
                Seen::Mined { paid: None, .. } => Standing::Failed,
                Seen::Mined { paid: Some(paid), .. } | Seen::Waiting(paid) => {
                    Standing::Short { paid: payment.sum.like(*paid) }
                }
                Seen::Unknown => Standing::Unknown,
            });
        }
        (Some(paying), None) => paying,
    };
    let Some(done) = find(&|seen| matches!(seen, Seen::Mined { is_final: true, .. })) else {
        let place = |seen: &Seen| match seen {
            Seen::Mined { block, height, .. } => Some((*block, *height)),
            Seen::Unknown | Seen::Waiting(_) => None,
        };
        let one = place(&first.1).filter(|one| seen.iter().all(|(_, seen)| place(seen) == Some(*one)));
        return Ok(Standing::Pending { height: one.map(|(_, height)| height) });
    };
    let Seen::Mined { block: final_block, height, .. } = done.1 else { return Ok(Standing::Unknown) };
    // What is final for one is in the same block for all.
    let same = |seen: &Seen| matches!(seen, Seen::Mined { block, .. } if *block == final_block);
    if let Some(other) = find(&|seen| !same(seen)) {
        return Err(apart(done, other));
    }
    if find(&|seen| matches!(seen, Seen::Mined { is_final: false, .. })).is_some() {
        return Ok(Standing::Pending { height: Some(height) });
    }
    Ok(Standing::Paid { height })
}

impl Seen {
    /// The end of a sentence: the endpoint says that ...
    fn say(&self, payment: &Payment) -> String {
        let sum = |units| payment.sum.like(units);
        match self {
            Self::Unknown => "there is no such transaction".to_owned(),
            Self::Waiting(paid) => format!("it is in no block and would pay {}", sum(*paid)),
            Self::Mined { paid: None, .. } => "it had no effect".to_owned(),
            Self::Mined { paid: Some(paid), height, block, .. } => {
                format!("it paid {} in block {height} ({block})", sum(*paid))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Amount;

    const WANTED: Sum = Sum::Sesh(Amount::sesh(5));

    fn payment() -> Payment {
        let [from, to] = [1, 2].map(Address::repeat_byte);
        Payment { transaction: B256::repeat_byte(7), from, to, sum: WANTED }
    }

    fn mined(block: u8, is_final: bool, paid: Option<u64>) -> Seen {
        let paid = paid.map(|sesh| Amount::sesh(sesh).units());
        Seen::Mined { block: B256::repeat_byte(block), height: 9, is_final, paid }
    }

    fn judged(seen: &[Seen]) -> Result<Standing, String> {
        let named: Vec<_> =
            (0..).map(|number: u8| format!("rpc{number}")).zip(seen.iter().copied()).collect();
        judge(&named, &payment()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_payment_is_made_when_all_say_so_and_call_it_final() {
        let (waiting, paid) = (Seen::Waiting(WANTED.units()), mined(1, true, Some(5)));
        assert_eq!(judged(&[paid, paid]), Ok(Standing::Paid { height: 9 }));
        assert_eq!(judged(&[paid, mined(1, true, Some(6))]), Ok(Standing::Paid { height: 9 }));
        let pending = |height| Ok(Standing::Pending { height });
        assert_eq!(judged(&[paid, mined(1, false, Some(5))]), pending(Some(9)));
        assert_eq!(judged(&[mined(1, false, Some(5)), mined(1, false, Some(5))]), pending(Some(9)));
        // On both sides of a reorganisation, or where one has not heard of it so far.
        assert_eq!(judged(&[mined(1, false, Some(5)), mined(2, false, Some(5))]), pending(None));
        assert_eq!(judged(&[mined(1, false, Some(5)), Seen::Unknown]), pending(None));
        assert_eq!(judged(&[Seen::Unknown, waiting]), pending(None));
    }

    #[test]
    fn what_does_not_hold_is_told_apart() {
        let short = |sesh| Ok(Standing::Short { paid: Sum::Sesh(Amount::sesh(sesh)) });
        assert_eq!(judged(&[mined(1, true, Some(4))]), short(4));
        assert_eq!(judged(&[Seen::Waiting(U256::ZERO)]), short(0));
        assert_eq!(judged(&[mined(1, true, None), Seen::Unknown]), Ok(Standing::Failed));
        assert_eq!(judged(&[Seen::Unknown, Seen::Unknown]), Ok(Standing::Unknown));
    }

    #[test]
    fn nothing_is_no_payment_whoever_sent_the_transaction() {
        for sum in [Sum::Sesh(Amount::ZERO), Sum::Native(U256::ZERO)] {
            let nothing = Payment { sum, ..payment() };
            for seen in [mined(1, true, Some(0)), mined(1, true, Some(5)), Seen::Waiting(U256::ZERO)] {
                let judged = judge(&[("rpc0".to_owned(), seen)], &nothing).unwrap();
                assert!(matches!(judged, Standing::Short { .. }), "{judged:?}");
            }
        }
    }

    #[test]
    fn what_is_final_for_one_is_not_for_all() {
        let named = |seen: &[Seen]| seen.iter().map(|seen| ("rpc".to_owned(), *seen)).collect::<Vec<_>>();
        let (last, young) = (mined(1, true, Some(4)), mined(1, false, Some(4)));
        assert!(are_final(&named(&[last, last])) && are_final(&named(&[mined(1, true, None)])));
        let elsewhere = mined(2, true, Some(4));
        for other in [young, Seen::Unknown, Seen::Waiting(U256::ZERO), elsewhere, mined(1, true, None)] {
            assert!(!are_final(&named(&[last, other])), "{other:?}");
            assert!(!are_final(&named(&[other, last])), "{other:?}");
        }
        // Of a transaction that one says failed the others may make a payment yet.
        assert!(!are_final(&named(&[mined(1, true, None), Seen::Unknown])) && !are_final(&[]));
    }

    #[test]
    fn one_that_lies_is_named_and_nothing_is_believed() {
        let paid = mined(1, true, Some(5));
        for other in
            [Seen::Unknown, Seen::Waiting(WANTED.units()), mined(2, true, Some(5)), mined(1, true, None)]
        {
            let said = judged(&[paid, other]).unwrap_err();
            assert!(
                said.contains("rpc0 says that it paid 5 SESH in block 9") && said.contains("rpc1"),
                "{said}"
            );
            judged(&[other, paid]).unwrap_err();
        }
        let said = judged(&[Seen::Waiting(WANTED.units()), mined(1, false, Some(4))]).unwrap_err();
        assert!(said.contains("it paid 4 SESH"), "{said}");
    }
}
