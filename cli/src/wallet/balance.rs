//! What an account has, and what of that may still change.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use serde_json::{Value, json};
use session_chain::{
    Amount,
    settlement::{Delivery, wallet::Sum},
};
use tokio::time::timeout;

use super::{Till, history::Row, lower};
use crate::failure::Failure;

/// How many of the newest payments are looked at.
const NEWEST: usize = 20;
/// How long that may take: what an account has is told without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// So much of both coins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    sesh: Amount,
    native: U256,
}

/// What is paid to the account and by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ways {
    /// To the account.
    into: Sums,
    /// By the account.
    out: Sums,
}

/// Payments that may still not be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pending {
    /// Those in a block that may still disappear.
    young: Ways,
    /// Those in no block so far.
    waiting: Ways,
    /// How many there are of which the chain does not tell how they stand.
    unknown: usize,
}

impl Till<'_> {
    /// As the newest block has it; of that, what is not final.
    pub(super) async fn balance(&self) -> Result<(), Failure> {
        let balances = self.wallet(Delivery::default()).await?.balances().await?;
        let (sesh, native) = (Sum::Sesh(balances.sesh), Sum::Native(balances.native));
        let address = self.signer.address();
        let rows = timeout(PATIENCE, Box::pin(self.rows(NEWEST))).await;
        let pending = rows.ok().and_then(Result::ok).map(|(rows, _)| Pending::of(&rows, address));
        let data = json!({
            "address": lower(address),
            "sesh": sesh.number(),
            "native": native.number(),
            "pending": pending.map(Pending::json),
        });
        self.context.output.data(&data, || {
            let pending = match pending {
                Some(pending) => pending.told(),
                None => "\n  pending  not known: the chain does not tell, or takes too long".to_owned(),
            };
            format!("{}\n  address  {address}\n  has      {sesh}\n           {native}{pending}", self.name)
        })
    }
}

impl Sums {
    fn count(&mut self, sum: Sum) {
        match sum {
            Sum::Sesh(Amount(units)) => self.sesh = Amount(self.sesh.0.saturating_add(units)),
            Sum::Native(wei) => self.native = self.native.saturating_add(wei),
        }
    }

    const fn both(self) -> [Sum; 2] {
        [Sum::Sesh(self.sesh), Sum::Native(self.native)]
    }

    const fn and(self, other: Self) -> Self {
        Self {
            sesh: Amount(self.sesh.0.saturating_add(other.sesh.0)),
            native: self.native.saturating_add(other.native),
        }
    }

    fn json(self) -> Value {
        let [sesh, native] = self.both().map(Sum::number);
        json!({ "sesh": sesh, "native": native })
    }
}

impl Pending {
    fn of(rows: &[Row], own: Address) -> Self {
        let mut pending = Self::default();
        // What one pays to oneself changes nothing.
        for row in rows.iter().filter(|row| row.payment.from != row.payment.to) {
            if row.is_unknown() {
                pending.unknown = pending.unknown.saturating_add(1);
            }
            if !row.is_pending() {
                continue;
            }
            let ways = if row.height.is_some() { &mut pending.young } else { &mut pending.waiting };
            let way = if row.payment.from == own { &mut ways.out } else { &mut ways.into };
            way.count(row.payment.sum);
        }
        pending
    }

    fn json(self) -> Value {
        let Self { young, waiting, unknown } = self;
        json!({
            "in": young.into.and(waiting.into).json(),
            "out": young.out.and(waiting.out).json(),
            "in_no_block": { "in": waiting.into.json(), "out": waiting.out.json() },
            "unknown": unknown,
        })
    }

    /// The lines below what the account has.
    fn told(self) -> String {
        let places = [(self.young, "in a block, not final so far"), (self.waiting, "in no block so far")];
        let mut lines = Vec::new();
        for (Ways { into, out }, place) in places {
            for (sign, sums) in [("+", into), ("-", out)] {
                let sums = sums.both().into_iter().filter(|sum| !sum.units().is_zero());
                lines.extend(sums.map(|sum| format!("{sign}{sum}, {place}")));
            }
        }
        if self.unknown > 0 {
            let hint = "of which the chain does not tell: session wallet history";
            lines.push(format!("{} {hint}", self.unknown));
        }
        if lines.is_empty() {
            return String::new();
        }
        format!("\n  pending  {}", lines.join("\n           "))
    }
}

#[cfg(test)]
mod tests {
    use session_chain::settlement::wallet::Payment;

    use super::*;

    #[test]
    fn what_is_not_final_is_told_by_its_way_and_coin() {
        let [own, other] = [1, 2].map(Address::repeat_byte);
        let at = |height, from, to, sum, state| {
            let payment = Payment { transaction: [7; 32].into(), from, to, sum };
            Row { payment, height, time_ms: None, state }
        };
        let row = |from, to, sum, state| at(Some(9), from, to, sum, state);
        let (sesh, native) = (|whole| Sum::Sesh(Amount::sesh(whole)), Sum::native("0.5").unwrap());
        let rows = [
            row(other, own, sesh(5), "pending"),
            row(other, own, sesh(2), "pending"),
            row(own, other, native, "pending"),
            row(own, own, sesh(9), "pending"),
            row(other, own, sesh(100), "final"),
            row(own, other, sesh(100), "failed"),
            at(None, own, other, sesh(3), "pending"),
            at(None, own, other, sesh(4), "unknown"),
        ];
        let pending = Pending::of(&rows, own);
        let sums = |sesh: &str, native: &str| json!({ "sesh": sesh, "native": native });
        let wanted = json!({
            "in": sums("7", "0"),
            "out": sums("3", "0.5"),
            "in_no_block": { "in": sums("0", "0"), "out": sums("3", "0") },
            "unknown": 1,
        });
        assert_eq!(pending.json(), wanted);
        let lines = [
            "\n  pending  +7 SESH, in a block, not final so far",
            "\n           -0.5 ETH, in a block, not final so far",
            "\n           -3 SESH, in no block so far",
            "\n           1 of which the chain does not tell: session wallet history",
        ];
        assert_eq!(pending.told(), lines.concat());
        assert_eq!(Pending::of(&rows[4..6], own).told(), "");
    }
}
