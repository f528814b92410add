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

/// Payments that are in no block so far, or in one that may still disappear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pending {
    /// To the account.
    into: Sums,
    /// By the account.
    out: Sums,
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
            "pending": pending.map(|pending| json!({ "in": pending.into.json(), "out": pending.out.json() })),
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

    fn json(self) -> Value {
        let [sesh, native] = self.both().map(Sum::number);
        json!({ "sesh": sesh, "native": native })
    }
}

impl Pending {
    fn of(rows: &[Row], own: Address) -> Self {
        let mut pending = Self::default();
        // What one pays to oneself changes nothing.
        let rows = rows.iter().filter(|row| row.is_pending() && row.payment.from != row.payment.to);
        for payment in rows.map(|row| row.payment) {
            let way = if payment.from == own { &mut pending.out } else { &mut pending.into };
            way.count(payment.sum);
        }
        pending
    }

    /// The lines below what the account has.
    fn told(self) -> String {
        let ways = [("+", self.into), ("-", self.out)];
        let sums = ways.into_iter().flat_map(|(sign, sums)| sums.both().map(|sum| (sign, sum)));
        let lines: Vec<String> = sums
            .filter(|(_, sum)| !sum.units().is_zero())
            .map(|(sign, sum)| format!("{sign}{sum}, not final so far"))
            .collect();
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
        let row = |from, to, sum, state| {
            let payment = Payment { transaction: [7; 32].into(), from, to, sum };
            Row { payment, height: None, time: None, state }
        };
        let (sesh, native) = (|whole| Sum::Sesh(Amount::sesh(whole)), Sum::native("0.5").unwrap());
        let rows = [
            row(other, own, sesh(5), "pending"),
            row(other, own, sesh(2), "pending"),
            row(own, other, native, "pending"),
            row(own, own, sesh(9), "pending"),
            row(other, own, sesh(100), "final"),
            row(own, other, sesh(100), "failed"),
        ];
        let pending = Pending::of(&rows, own);
        assert_eq!(pending.into.json(), json!({ "sesh": "7", "native": "0" }));
        assert_eq!(pending.out.json(), json!({ "sesh": "0", "native": "0.5" }));
        let told = "\n  pending  +7 SESH, not final so far\n           -0.5 ETH, not final so far";
        assert_eq!(pending.told(), told);
        assert_eq!(Pending::of(&rows[4..], own).told(), "");
    }
}
