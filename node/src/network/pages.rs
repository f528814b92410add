//! Pages of ledgers, read off the network's task, and counted until they are out.

use std::collections::BTreeMap;

use libp2p::{
    PeerId,
    request_response::{InboundRequestId, ResponseChannel},
};
use session_protocols::{
    Prefix,
    limits::Seats,
    snapshot::{Answer, MAX_ANSWER, Request},
};
use tokio::task::JoinSet;

use super::{Dialling, Network};

/// What all pages may take that are read, or not yet taken by whoever asked, in bytes: each as an answer and as what
/// is sent of it.
const MEMORY: usize = 32 << 20;
/// So many; whoever asks for more is refused. Whoever takes its page slowly holds it until its time is over: ten
/// seconds, as libp2p has it.
const MAX_PAGES: usize = MEMORY / (2 * MAX_ANSWER);
/// Of these for those of one prefix, or for one peer where prefixes do not count.
const MAX_OF_ONE: usize = 4;
/// For how many requests of a neighbour a page counts.
const COST: usize = 4;

type Channel = ResponseChannel<Answer>;

/// Whom a page counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    Prefix(Prefix),
    Peer(PeerId),
}

/// Pages that are being read, and those that are not out yet.
#[derive(Debug, Default)]
pub(super) struct Pages {
    reading: JoinSet<(Channel, Answer)>,
    held: Held<InboundRequestId>,
}

impl Pages {
    /// The next that was read; none where none is being read.
    pub(super) async fn next(&mut self) -> Option<(Channel, Answer)> {
        // One that failed has closed its channel.
        while let Some(read) = self.reading.join_next().await {
            if let Ok(page) = read {
                return Some(page);
            }
        }
        None
    }

    /// The answer to a request is out, or never will be.
    pub(super) fn gone(&mut self, request: &InboundRequestId) {
        self.held.leave(request);
    }
}

/// Seats of requests, each held until its answer is out.
#[derive(Debug)]
struct Held<I> {
    seats: Seats<Asker>,
    by: BTreeMap<I, Asker>,
}

impl<I> Default for Held<I> {
    fn default() -> Self {
        Self { seats: Seats::new(MAX_OF_ONE, MAX_PAGES), by: BTreeMap::new() }
    }
}

impl<I: Ord> Held<I> {
    fn take(&mut self, request: I, asker: Asker) -> bool {
        let taken = !self.by.contains_key(&request) && self.seats.take(asker);
        if taken {
            self.by.insert(request, asker);
        }
        taken
    }

    fn leave(&mut self, request: &I) {
        if let Some(asker) = self.by.remove(request) {
            self.seats.leave(&asker);
        }
    }
}

impl Network {
    /// Answers a question about a ledger, or closes its stream without an answer.
    pub(super) fn page_of_ledger(
        &self,
        peer: PeerId,
        id: InboundRequestId,
        request: Request,
        channel: Channel,
        dialling: &mut Dialling,
    ) {
        let Some(known) = &self.checkpoints else { return };
        let admitted = (0..COST).all(|_| self.links.arrive(peer));
        let asker =
            self.swarm.behaviour().neighbours.places().of(&peer).map_or(Asker::Peer(peer), Asker::Prefix);
        let pages = &mut dialling.pages;
        // Whoever has gone while its page is read holds no seat; the page is still there.
        if !admitted || pages.reading.len() >= MAX_PAGES || !pages.held.take(id, asker) {
            self.metrics.refused_total.with_label_values(&["429"]).inc();
            return;
        }
        self.metrics.requests_total.with_label_values(&["ledger"]).inc();
        let ledgers = known.ledgers.clone();
        pages.reading.spawn_blocking(move || (channel, ledgers.answer(&request)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_nobody_takes_are_bounded_for_each_prefix_and_in_all() {
        let mut held = Held::default();
        let prefix = |number| Asker::Prefix(Prefix::V4([45, 1, number]));
        let taken = (0..1_000_u32).filter(|request| held.take(*request, prefix(0))).count();
        assert_eq!(taken, MAX_OF_ONE);
        assert!(held.take(1_000, Asker::Peer(PeerId::random())), "others are not held up");
        held.leave(&1_000);
        // What was refused holds nothing.
        held.leave(&999);
        assert!(!held.take(999, prefix(0)));
        held.leave(&0);
        assert!(held.take(999, prefix(0)), "there is room again");

        for (request, number) in (2_000..).zip(1..=u8::MAX) {
            held.take(request, prefix(number));
        }
        assert_eq!((held.seats.held(), held.by.len()), (MAX_PAGES, MAX_PAGES));
    }
}
