//! A request over one path: sealed, sent to the guard, and its answer opened.

use std::{
    pin::pin,
    sync::{Arc, Weak},
};

use session_protocols::{
    Protocol,
    libp2p::link::{Asker, LinkError},
    onion::{relay::patience, replay::stamp, size::Position, wrap::Question},
    path::{
        ECHO, Outcome,
        delivery::{Fault, Received},
        passage::{Next, Passage},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Duration, Instant, sleep, timeout},
};

use super::{Onion, Parcel, State};

/// How long an honest guard leaves a packet without a word at most, and some more.
const HEED: Duration =
    Duration::from_micros(patience(Position::Guard).0).saturating_add(Duration::from_secs(1));

/// What came of a parcel on a path, and what that means for it.
pub(super) type Carried = (Outcome, Result<Received, Fault>);

/// A parcel on its way over one path. It keeps nothing of the client alive.
struct Flight {
    onion: Weak<Onion>,
    passage: Passage,
    parcel: Arc<Parcel>,
    /// Whoever waits for it; none of a test.
    told: Option<oneshot::Sender<Carried>>,
    /// Its place among those that nobody waits for.
    seat: Option<OwnedSemaphorePermit>,
    /// When the packet that is under way went out.
    sent: Option<Instant>,
}

impl Onion {
    /// Takes a parcel over one path, and tells whoever waits what comes of it.
    ///
    /// When nobody waits any more no other packet is sealed. The one that is under way is listened for, until
    /// [`ECHO`] is over, and what comes is told to the machine of all paths: only so late does it hear of a hop
    /// that is silent, from the one before it.
    pub(super) fn carry(&self, passage: Passage, parcel: Arc<Parcel>) -> oneshot::Receiver<Carried> {
        let (told, carried) = oneshot::channel();
        self.fly(passage, parcel, Some(told));
        carried
    }

    /// Takes a test over a path; the machine of all paths is told what comes of it.
    pub(super) fn probe(&self, passage: Passage, parcel: Arc<Parcel>) {
        self.fly(passage, parcel, None);
    }

    fn fly(&self, passage: Passage, parcel: Arc<Parcel>, told: Option<oneshot::Sender<Carried>>) {
        let flight = Flight { onion: self.me.clone(), passage, parcel, told, seat: None, sent: None };
        tokio::spawn(flight.fly());
    }

    /// Seals one packet, for a link to the guard; whether that was there before.
    async fn send_off(&self, passage: &mut Passage, parcel: &Parcel) -> Result<(Asker, bool, Vec<u8>), Next> {
        let packet = self.seal(passage, parcel)?;
        let [guard, ..] = passage.chain();
        let kept = self.links.live(guard, Protocol::Onion);
        let link = timeout(self.connect, self.links.link(guard, Protocol::Onion, self.clock.now())).await;
        let link = link.ok().and_then(Result::ok).ok_or_else(|| passage.unreached())?;
        Ok((link, kept, packet))
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

impl Flight {
    async fn fly(mut self) {
        let test = self.told.is_none();
        let landed = timeout(Duration::from_micros(ECHO.0), self.land()).await;
        // The guard had the time to say that it gave the next hop up.
        let heeded = self.sent.is_some_and(|sent| sent.elapsed() >= HEED);
        if landed.is_err()
            && !test
            && heeded
            && let Some(onion) = self.onion.upgrade()
        {
            onion.report(self.passage.path(), Outcome::Unheard);
        }
    }

    /// Sends packets until one is answered, or nothing is to be done but something else.
    async fn land(&mut self) {
        let carried = loop {
            let Some(next) = self.ask().await else { return };
            match next {
                Next::Done { outcome, brought } => break (outcome, brought),
                Next::Seal { .. } | Next::Compare if self.is_alone() => return,
                Next::Seal { after } => sleep(Duration::from_micros(after.0)).await,
                Next::Compare => {
                    let Some(onion) = self.onion.upgrade() else { return };
                    match self.passage.compared(onion.compare_clocks().await) {
                        Next::Done { outcome, brought } => break (outcome, brought),
                        Next::Seal { .. } | Next::Compare => {}
                    }
                }
            }
        };
        let (path, (outcome, _)) = (self.passage.path(), &carried);
        let outcome = *outcome;
        let heard = self.told.take().is_some_and(|told| told.send(carried).is_ok());
        if !heard && let Some(onion) = self.onion.upgrade() {
            onion.report(path, outcome);
        }
    }

    /// Whether whoever waited does so no longer.
    fn is_alone(&self) -> bool {
        self.told.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Seals one packet, and asks the guard; none if nobody wants to know any more.
    async fn ask(&mut self) -> Option<Next> {
        let sent = self.onion.upgrade()?.send_off(&mut self.passage, &self.parcel).await;
        let (link, kept, packet) = match sent {
            Ok(sent) => sent,
            Err(next) => return Some(next),
        };
        self.sent = Some(Instant::now());
        let mut asked = pin!(link.ask(packet));
        let answer = match &mut self.told {
            None => asked.await,
            Some(told) => tokio::select! {
                answer = &mut asked => answer,
                () = told.closed() => {
                    let listeners = Arc::clone(&self.onion.upgrade()?.listeners);
                    self.seat = Some(listeners.try_acquire_owned().ok()?);
                    asked.await
                }
            },
        };
        self.sent = None;
        let onion = self.onion.upgrade()?;
        Some(match answer {
            Ok(answer) => {
                let opened = self.passage.open(&answer);
                self.passage.opened(&mut onion.state().sessions, opened)
            }
            Err(LinkError::Closed) => self.passage.hung_up(kept, &mut onion.state().random),
            Err(LinkError::Busy) => self.passage.busy(),
            Err(_) => self.passage.unreached(),
        })
    }
}
