//! Payments that the home knows of: none is made twice by mistake, and each can be told of later.

use alloy::primitives::{Address, B256};
use serde_json::{Value, json};
use session_chain::settlement::{
    SendError, WalletError,
    wallet::{Payment, Standing, Sum, payment::check_for_good},
};
use session_client::home::Outgoing;

use super::{Till, amount, messages};
use crate::{
    args::Pay,
    failure::{Exit, Failure},
    network::Access,
    payee::Payee,
    recipient::FoundBy,
    text,
};

#[cfg(test)]
mod tests;

/// What the chain says of a payment that one of several transactions may make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// By the transaction that it knows.
    pub(super) payment: Payment,
    pub(super) standing: Standing,
    /// Whether that stays so, whatever becomes of the chain and whoever lies.
    is_for_good: bool,
}

impl Found {
    /// Whether it was not made, and never will be: of all versions under one nonce one is mined at most.
    pub(super) const fn is_void(&self) -> bool {
        self.is_for_good && matches!(self.standing, Standing::Failed)
    }
}

impl Till<'_> {
    /// Tells somebody of a payment that was made, and pays nothing.
    pub(super) async fn tell_paid(&self, pay: &Pay, transaction: B256, sum: Sum) -> Result<(), Failure> {
        let kept = self.home.outgoing(&self.id)?;
        let chain = self.settlement.chain;
        let kept =
            kept.into_iter().find(|it| it.chain == chain && it.has(&transaction.0) && it.called == pay.to);
        let from = self.signer.address();
        let (whom, access, payments, found) = match &kept {
            // Whom they meant and where that was paid then: by now both may have changed.
            Some(kept) => {
                let access = if kept.whom.is_some() { Some(Access::open(self.context).await?) } else { None };
                (kept.whom, access, payments(kept, sum), None)
            }
            None => {
                let Payee { person: whom, address: to, access, found, .. } = self.payee(pay).await?;
                if whom.is_none() {
                    let remedy = "name whom you paid by a contact's name or an account id";
                    return Err(Failure::usage("nobody can be written to at a bare address", remedy));
                }
                (whom, access, vec![Payment { transaction, from, to, sum }], found)
            }
        };
        let Found { payment, standing, .. } = self.standing(&payments).await?;
        let transaction = payment.transaction;
        if !matches!(standing, Standing::Paid { .. } | Standing::Pending { .. }) {
            return Err(Failure::new(
                Exit::Failed,
                "not_paid",
                format!(
                    "transaction {transaction} does not pay {sum} to {}: {}",
                    payment.to,
                    messages::why(&standing)
                ),
                "session wallet history shows what was paid",
            ));
        }
        let told = whom.zip(access.as_ref());
        if let Some((id, access)) = told {
            self.tell(access, &id, sum, transaction, pay.price.note.as_deref()).await?;
        }
        self.home.settle_payment(&self.id, &transaction.0)?;
        let mut data = Value::Object(amount(sum));
        data["transaction"] = json!(transaction.to_string());
        data["told"] = json!(told.is_some());
        FoundBy::tell(found.as_ref(), &mut data);
        self.context.output.data(&data, || {
            let whom = text::plain(&pay.to) + FoundBy::told_of(found.as_ref());
            match told {
                Some(_) => format!("{whom} was told of transaction {transaction}; nothing was paid"),
                None => format!("{whom} is paid by transaction {transaction}; nothing more was paid"),
            }
        })
    }

    /// Refuses to pay what an earlier payment that is not settled may have paid; one that failed is settled, once no
    /// endpoint can say otherwise any more.
    pub(super) async fn refuse_twice(&self, payment: &Outgoing) -> Result<(), Failure> {
        for open in self.home.outgoing(&self.id)?.iter().filter(|it| it.is_open && it.is_like(payment)) {
            match self.standing(&payments(open, self.sum_of(open))).await {
                Ok(found) if found.is_void() => {
                    self.home.settle_payment(&self.id, &found.payment.transaction.0)?;
                }
                Ok(Found { payment: Payment { transaction, .. }, standing, .. }) => {
                    return Err(self.open(open, Some((transaction, standing))));
                }
                Err(_) => return Err(self.open(open, None)),
            }
        }
        Ok(())
    }

    /// That a payment is open, as far as the chain says what became of it.
    pub(super) fn open(&self, open: &Outgoing, found: Option<(B256, Standing)>) -> Failure {
        let newest = open.transactions.last().map(|it| B256::from(it.0)).unwrap_or_default();
        let transaction = found.map_or(newest, |(transaction, _)| transaction);
        let (sum, called) = (self.sum_of(open), text::plain(&open.called));
        let says = match found.map(|(_, standing)| standing) {
            Some(Standing::Paid { .. }) => "made",
            Some(Standing::Pending { .. }) => "on its way",
            Some(Standing::Failed) => "said to have failed, not by every endpoint or not in a final block",
            Some(_) => "not on the chain so far",
            None => "made or not: that is not known now",
        };
        let tell = self.tell_again(sum, &open.called, transaction);
        let remedy = match found {
            Some((_, Standing::Paid { .. } | Standing::Pending { .. })) => {
                format!("without paying again: {tell}; to pay once more add --again")
            }
            Some((_, Standing::Failed)) => {
                "repeat it some minutes later, once that block is final; to pay all the same add --again"
                    .to_owned()
            }
            Some(_) | None => {
                format!("once session wallet history shows it: {tell}; to pay all the same add --again")
            }
        };
        Failure::new(
            Exit::Refused,
            "payment_open",
            format!(
                "a payment of {sum} to {called} is not settled: transaction {transaction} is {says}; nothing is \
                 paid now"
            ),
            remedy,
        )
    }

    /// What the chain says of a payment that one of several transactions may make: of the one that it knows.
    pub(super) async fn standing(&self, payments: &[Payment]) -> Result<Found, Failure> {
        let mut best = None;
        for payment in payments {
            let (standing, is_for_good) = check_for_good(&self.settlement, payment).await?;
            let found = Found { payment: *payment, standing, is_for_good };
            match standing {
                Standing::Unknown => best = best.or(Some(found)),
                // Another version may pay all the same.
                Standing::Failed if !is_for_good => best = best.or(Some(found)),
                Standing::Pending { height: None } => best = Some(found),
                Standing::Pending { height: Some(_) }
                | Standing::Paid { .. }
                | Standing::Short { .. }
                | Standing::Failed => return Ok(found),
            }
        }
        best.ok_or_else(|| Failure::usage("there is no transaction", "give one: --paid TRANSACTION"))
    }

    /// The failure that an error amounts to: where it may be paid, how to go on without paying twice.
    pub(super) fn unsure(&self, error: WalletError, sum: Sum, pay: &Pay) -> Failure {
        let hash = match &error {
            WalletError::Send(SendError::Unmined { hash, .. } | SendError::Unanswered { hash, .. }) => {
                Some(*hash)
            }
            _ => None,
        };
        let mut failure = Failure::from(error);
        if let Some(hash) = hash {
            failure.remedy = format!(
                "do not pay again before session wallet history shows what became of it; once it is there: {}",
                self.tell_again(sum, &pay.to, hash)
            );
        }
        failure
    }

    /// The command that tells somebody of a payment, and pays nothing.
    pub(super) fn tell_again(&self, sum: Sum, called: &str, transaction: B256) -> String {
        let native = if matches!(sum, Sum::Native(_)) { " --native" } else { "" };
        let (number, to, name) = (sum.number(), text::plain(called), &self.name);
        format!("session wallet send {number} {to}{native} --account {name} --paid {transaction}")
    }

    /// The sum of a payment that the home knows of.
    pub(super) fn sum_of(&self, payment: &Outgoing) -> Sum {
        messages::sum(&payment.sum())
    }
}

/// A payment that the home knows of, by each transaction that may make it, the newest first.
pub(super) fn payments(of: &Outgoing, sum: Sum) -> Vec<Payment> {
    let [from, to] = [of.from, of.to].map(|it| Address::from(it.0));
    let newest_first = of.transactions.iter().rev();
    newest_first.map(|it| Payment { transaction: it.0.into(), from, to, sum }).collect()
}
