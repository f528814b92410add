//! Pages of ledgers, read off the network's task.

use libp2p::{PeerId, request_response::ResponseChannel};
use session_protocols::snapshot::{Answer, Request};
use tokio::task::JoinSet;

use super::{Dialling, Network};

/// Pages that are read at once; whoever asks for more is refused.
const MAX_PAGES: usize = 16;
/// For how many requests of a neighbour a page counts.
const COST: usize = 4;

type Channel = ResponseChannel<Answer>;

/// Pages that are being read, and where they go.
#[derive(Debug, Default)]
pub(super) struct Pages(JoinSet<(Channel, Answer)>);

impl Pages {
    /// The next that was read; none where none is being read.
    pub(super) async fn next(&mut self) -> Option<(Channel, Answer)> {
        // One that failed has closed its channel.
        while let Some(read) = self.0.join_next().await {
            if let Ok(page) = read {
                return Some(page);
            }
        }
        None
    }
}

impl Network {
    /// Answers a question about a ledger, or closes its stream without an answer.
    pub(super) fn page_of_ledger(
        &self,
        peer: &PeerId,
        request: Request,
        channel: Channel,
        dialling: &mut Dialling,
    ) {
        let Some(known) = &self.checkpoints else { return };
        let admitted = (0..COST).all(|_| self.links.arrive(*peer));
        if !admitted || dialling.pages.0.len() >= MAX_PAGES {
            self.metrics.refused_total.with_label_values(&["429"]).inc();
            return;
        }
        self.metrics.requests_total.with_label_values(&["ledger"]).inc();
        let ledgers = known.ledgers.clone();
        dialling.pages.0.spawn_blocking(move || (channel, ledgers.answer(&request)));
    }
}
