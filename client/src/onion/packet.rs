//! A request over one path: sealed, sent to the guard, and its answer opened.

use session_protocols::{
    Protocol,
    libp2p::link::LinkError,
    onion::{replay::stamp, wrap::Question},
    path::{
        Outcome,
        delivery::{Fault, Received},
        passage::{Next, Passage},
    },
};
use tokio::time::{Duration, sleep, timeout};

use super::{Onion, Parcel, State};

impl Onion {
    /// Takes a parcel over one path, and says what became of that and what it brought. Packets that are sealed
    /// in place of each other may take no longer than `patience` together; comparing clocks does not count.
    pub(super) async fn carry(
        &self,
        mut passage: Passage,
        parcel: &Parcel,
        patience: Duration,
    ) -> (Outcome, Result<Received, Fault>) {
        loop {
            let passed = timeout(patience, self.pass(&mut passage, parcel)).await;
            let next = match passed {
                Ok(Next::Compare) => passage.compared(self.compare_clocks().await),
                Ok(next) => next,
                Err(_) => {
                    // Whatever it leads to, the next packet begins anew.
                    let [guard, ..] = passage.chain();
                    self.links.forget(guard, Protocol::Onion);
                    return (Outcome::Silent, Err(Fault::Silent));
                }
            };
            if let Next::Done { outcome, brought } = next {
                return (outcome, brought);
            }
        }
    }

    /// Sends packets until one is answered, or nothing is to be done but something else.
    async fn pass(&self, passage: &mut Passage, parcel: &Parcel) -> Next {
        loop {
            match self.ask(passage, parcel).await {
                Next::Seal { after } => sleep(Duration::from_micros(after.0)).await,
                next @ (Next::Compare | Next::Done { .. }) => return next,
            }
        }
    }

    /// Seals one packet, and asks the guard.
    async fn ask(&self, passage: &mut Passage, parcel: &Parcel) -> Next {
        let packet = match self.seal(passage, parcel) {
            Ok(packet) => packet,
            Err(next) => return next,
        };
        let [guard, ..] = passage.chain();
        let kept = self.links.live(guard, Protocol::Onion);
        let link = timeout(self.connect, self.links.link(guard, Protocol::Onion, self.clock.now())).await;
        let Ok(Ok(link)) = link else { return passage.unreached() };
        match link.ask(packet).await {
            Ok(answer) => {
                let opened = passage.open(&answer);
                passage.opened(&mut self.state().sessions, opened)
            }
            Err(LinkError::Closed) => passage.hung_up(kept, &mut self.state().random),
            Err(LinkError::Busy) => passage.busy(),
            Err(_) => passage.unreached(),
        }
    }

    fn seal(&self, passage: &mut Passage, parcel: &Parcel) -> Result<Vec<u8>, Next> {
        let [Some(first), Some(second), Some(third), Some(end)] =
            passage.chain().map(|node| self.doors.of(&node))
        else {
            // They are others than the machine was told.
            self.tell();
            return Err(passage.keyless());
        };
        let doors = [&first, &second, &third, &end].map(|door| door.door(self.aes));
        let question = Question {
            service: parcel.service,
            request: &parcel.request,
            answer: parcel.answer,
            stamp: stamp(self.clock.now()),
        };
        let State { sessions, random, .. } = &mut *self.state();
        passage.seal(&self.network, sessions, doors, random, &question)
    }
}
