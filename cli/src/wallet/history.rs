//! What an account paid and was paid: SESH by the token's events, the rest by what the home knows.

use core::cmp::Reverse;

use serde_json::{Value, json};
use session_chain::settlement::{
    Delivery,
    wallet::{Payment, Standing, Sum, Transfer},
};
use session_client::home::Outgoing;

use super::{Till, lower, messages::coin, outgoing::payments};
use crate::{failure::Failure, text};

/// One payment.
struct Row {
    payment: Payment,
    height: Option<u64>,
    /// In seconds since 1970.
    time: Option<u64>,
    state: &'static str,
}

impl Till<'_> {
    /// The newest payments, `most` at most. No event tells of the chain's own coin: of that there is what was paid
    /// from this home, as the chain confirms it.
    pub(super) async fn history(&self, most: usize) -> Result<(), Failure> {
        let history = self.wallet(Delivery::default()).await?.history(most).await?;
        let mut rows: Vec<Row> = history.transfers.iter().map(Row::from).collect();
        let (own, known) = self.known(&rows, most)?;
        for outgoing in known {
            rows.extend(self.row(&outgoing).await);
        }
        // Newest first; those in no block before all others.
        rows.sort_by_key(|row| (row.height.is_some(), Reverse(row.height)));
        let more = history.more || rows.len() > most || own > most;
        rows.truncate(most);
        self.show(&rows, more)
    }

    /// How many payments the events of the token do not tell of, and the newest of them.
    fn known(&self, told: &[Row], most: usize) -> Result<(usize, Vec<Outgoing>), Failure> {
        let (chain, from) = (self.settlement.chain, self.signer.address().into_array());
        let is_told = |it: &Outgoing| told.iter().any(|row| it.has(&row.payment.transaction.0));
        let mut known = self.home.outgoing(&self.id)?;
        known.retain(|it| it.chain == chain && it.from.0 == from);
        known.retain(|it| it.token.is_none() || (it.is_open && !is_told(it)));
        let all = known.len();
        Ok((all, known.into_iter().rev().take(most).collect()))
    }

    /// A payment that the home knows of, unless it is settled and the chain does not know it.
    async fn row(&self, outgoing: &Outgoing) -> Option<Row> {
        let all = payments(outgoing, self.sum_of(outgoing));
        let found = self.standing(&all).await.ok();
        let (state, height) = match found {
            Some((_, Standing::Paid { height })) => ("final", Some(height)),
            Some((_, Standing::Pending { height })) => ("pending", height),
            Some((_, Standing::Failed)) => ("failed", None),
            Some((_, Standing::Short { .. } | Standing::Unknown)) if !outgoing.is_open => return None,
            Some((_, Standing::Short { .. } | Standing::Unknown)) | None => ("unknown", None),
        };
        let payment = found.map_or_else(|| all.first().copied(), |(payment, _)| Some(payment))?;
        Some(Row { payment, height, time: Some(outgoing.signed_ms / 1_000), state })
    }

    fn show(&self, rows: &[Row], more: bool) -> Result<(), Failure> {
        let own = self.signer.address();
        let direction = |Payment { from, to, .. }: &Payment| match (*from == own, *to == own) {
            (true, true) => "self",
            (true, false) => "out",
            (false, _) => "in",
        };
        let transfer = |row: &Row| {
            let Row { payment, height, time, state } = row;
            json!({
                "transaction": payment.transaction.to_string(), "height": height, "time": time,
                "direction": direction(payment), "from": lower(payment.from), "to": lower(payment.to),
                "amount": payment.sum.number(), "coin": coin(&payment.sum), "state": state,
            })
        };
        let transfers: Vec<Value> = rows.iter().map(transfer).collect();
        let data = json!({ "address": lower(own), "transfers": transfers, "more": more });
        self.context.output.data(&data, || {
            if rows.is_empty() {
                return "no payments so far".to_owned();
            }
            let rows: Vec<_> = rows
                .iter()
                .map(|Row { payment, height, time, state }| {
                    let direction = direction(payment);
                    let other = if direction == "in" { payment.from } else { payment.to };
                    [
                        time.map_or_else(|| "-".to_owned(), |time| text::time(time.saturating_mul(1_000))),
                        direction.to_owned(),
                        payment.sum.to_string(),
                        other.to_string(),
                        (*state).to_owned(),
                        height.map_or_else(|| "-".to_owned(), |height| height.to_string()),
                        payment.transaction.to_string(),
                    ]
                })
                .collect();
            let head = ["TIME", "WAY", "AMOUNT", "WITH", "STATE", "BLOCK", "TRANSACTION"];
            let more = if more { "and older ones: session wallet history --most N\n" } else { "" };
            text::table(head, &rows) + more
        })
    }
}

impl From<&Transfer> for Row {
    fn from(transfer: &Transfer) -> Self {
        let Transfer { transaction, height, time, from, to, amount, is_final } = *transfer;
        let payment = Payment { transaction, from, to, sum: Sum::Sesh(amount) };
        Self { payment, height, time, state: if is_final { "final" } else { "pending" } }
    }
}
