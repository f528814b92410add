//! What an account paid and was paid: SESH by the token's events, the rest by what the home knows.

use core::cmp::Reverse;

use alloy::primitives::{Address, U256};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use session_chain::settlement::{
    Delivery,
    wallet::{Payment, Standing, Sum, Transfer, payment::check},
};
use session_client::home::{Hex, Outgoing, Received};

use super::{
    Till, lower,
    messages::coin,
    outgoing::{Found, payments},
};
use crate::{failure::Failure, text};

/// How many payments the chain is asked about at once.
const MAX_AT_ONCE: usize = 8;
/// The most payments to the account that it is asked about whether they have become final.
const MAX_OPEN: usize = 8;
const PENDING: &str = "pending";
const FINAL: &str = "final";
const UNKNOWN: &str = "unknown";
const FAILED: &str = "failed";

/// One payment.
pub(super) struct Row {
    pub(super) payment: Payment,
    pub(super) height: Option<u64>,
    /// In milliseconds since 1970.
    pub(super) time_ms: Option<u64>,
    pub(super) state: &'static str,
}

impl Row {
    /// Whether it is on its way, or may still disappear.
    pub(super) fn is_pending(&self) -> bool {
        self.state == PENDING
    }

    /// Whether nobody tells how it stands.
    pub(super) fn is_unknown(&self) -> bool {
        self.state == UNKNOWN
    }
}

impl Till<'_> {
    /// Shows the newest payments, `most` at most.
    pub(super) async fn history(&self, most: usize) -> Result<(), Failure> {
        let (rows, more) = self.rows(most).await?;
        self.show(&rows, more)
    }

    /// The newest payments, `most` at most, and whether there are older ones. No event tells of the chain's own coin: of
    /// that there is what was paid from this home, and what messages told of, as the chain confirms it.
    pub(super) async fn rows(&self, most: usize) -> Result<(Vec<Row>, bool), Failure> {
        let history = self.wallet(Delivery::default()).await?.history(most).await?;
        let mut rows: Vec<Row> = history.transfers.iter().map(Row::from).collect();
        let (own, known) = self.known(&rows, most)?;
        let asked = stream::iter(known).map(|outgoing| async move { self.row(&outgoing).await });
        let asked: Vec<Option<Row>> = asked.buffered(MAX_AT_ONCE).collect().await;
        rows.extend(asked.into_iter().flatten());
        let (received, open): (Vec<Row>, Vec<Row>) =
            self.received()?.into_iter().partition(|row| row.height.is_some());
        rows.extend(received);
        let open = stream::iter(open).take(MAX_OPEN).map(|row| self.seen(row));
        let open: Vec<Option<Row>> = open.buffered(MAX_AT_ONCE).collect().await;
        rows.extend(open.into_iter().flatten());
        // Newest first; those in no block before all others.
        rows.sort_by_key(|row| (row.height.is_some(), Reverse(row.height)));
        let more = history.more || rows.len() > most || own > most;
        rows.truncate(most);
        Ok((rows, more))
    }

    /// What others said they paid in the chain's own coin, and did when the chain was asked: what was told of last
    /// first.
    fn received(&self) -> Result<Vec<Row>, Failure> {
        let (chain, own) = (self.settlement.chain, self.signer.address());
        let kept = self.home.claims(&self.id)?.received.into_iter();
        let is_own = |it: &Received| Address::from(it.to.0) == own && Address::from(it.from.0) != own;
        let kept = kept.filter(|(_, it)| it.chain == chain && is_own(it));
        let row = |(transaction, it): (Hex<32>, Received)| {
            let (from, sum) = (Address::from(it.from.0), Sum::Native(U256::from(it.units)));
            let payment = Payment { transaction: transaction.0.into(), from, to: own, sum };
            Row { payment, height: it.height, time_ms: Some(it.told_ms), state: FINAL }
        };
        let mut rows: Vec<Row> = kept.map(row).collect();
        rows.sort_by_key(|row| Reverse(row.time_ms));
        Ok(rows)
    }

    /// A payment that was not final when it was told of, unless the chain does not know it any more.
    async fn seen(&self, row: Row) -> Option<Row> {
        let (state, height) = match check(&self.settlement, &row.payment).await {
            Ok(Standing::Paid { height }) => (FINAL, Some(height)),
            Ok(Standing::Pending { height }) => (PENDING, height),
            Ok(Standing::Failed | Standing::Short { .. } | Standing::Unknown) => return None,
            Err(_) => (UNKNOWN, None),
        };
        Some(Row { state, height, ..row })
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
        let (state, height) = match found.map(|found| (found.standing, found.is_void())) {
            Some((Standing::Paid { height }, _)) => (FINAL, Some(height)),
            Some((Standing::Pending { height }, _)) => (PENDING, height),
            Some((Standing::Failed, true)) => (FAILED, None),
            // Whoever reads that it failed pays again.
            Some((Standing::Failed, false)) => (UNKNOWN, None),
            Some((Standing::Short { .. } | Standing::Unknown, _)) if !outgoing.is_open => return None,
            Some((Standing::Short { .. } | Standing::Unknown, _)) | None => (UNKNOWN, None),
        };
        let payment = found.map_or_else(|| all.first().copied(), |Found { payment, .. }| Some(payment))?;
        Some(Row { payment, height, time_ms: Some(outgoing.signed_ms), state })
    }

    fn show(&self, rows: &[Row], more: bool) -> Result<(), Failure> {
        let own = self.signer.address();
        let direction = |Payment { from, to, .. }: &Payment| match (*from == own, *to == own) {
            (true, true) => "self",
            (true, false) => "out",
            (false, _) => "in",
        };
        let transfer = |row: &Row| {
            let Row { payment, height, time_ms, state } = row;
            json!({
                "transaction": payment.transaction.to_string(), "height": height, "time": time_ms,
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
                .map(|Row { payment, height, time_ms, state }| {
                    let direction = direction(payment);
                    let other = if direction == "in" { payment.from } else { payment.to };
                    [
                        time_ms.map_or_else(|| "-".to_owned(), text::time),
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
        let time_ms = time.map(|second| second.saturating_mul(1_000));
        Self { payment, height, time_ms, state: if is_final { FINAL } else { PENDING } }
    }
}
