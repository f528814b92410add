//! Whether others reach a node: nodes in contact dial each address that it announces (AutoNAT v2), again and again;
//! and whoever dials it of its own accord shows that it is reached still.
//!
//! What peers say of this node's address by Identify is not asked about: only what the operator named, or what the
//! node listens on within reason, so that nobody fills the table. libp2p's own AutoNAT dials as the node itself, and
//! the connection of a moment is one more that streams are opened on; it also asks once and of one node. So the
//! protocol is spoken here, and dials are a stranger's.
//!
//! - `rounds`: whom to ask, when, and what all answers come to
//! - `ask`: asks one node
//! - `arrivals`: who has opened a connection to this node
//! - `backs`: who of these is to be heard
//! - `confirm`: the same for others
//! - `reached`: what is known, as it is told
//! - `router`: asks the router to lead ports here
//! - `served`: whose requests are served
//! - `stranger`: a peer of a moment, who dials
//! - `wire`: what travels

mod arrivals;
mod ask;
mod backs;
mod confirm;
mod reached;
mod rounds;
pub(crate) mod router;
mod served;
mod stranger;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{
    StreamExt,
    future::{Abortable, BoxFuture},
    stream::FuturesUnordered,
};
use libp2p::{PeerId, Stream};
use libp2p_stream::{AlreadyRegistered, Control, IncomingStreams};
use session_protocols::{NodeId, Prefix, Time, directory::Endpoint, libp2p::address::peer_id};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{neighbours::Places, network::Contacts, now};
pub(crate) use arrivals::Arrivals;
use arrivals::Came;
use backs::Backs;
use confirm::Paid;
pub(crate) use reached::{Reached, Servers, transport};
use rounds::{Answer, Ask, Input, Rounds};
use served::{Asker, Served};
pub use stranger::{dial, observed};
use wire::{Back, BackAnswer};

/// How long one may take to say what it was to say.
const READ: Duration = Duration::from_secs(5);
/// The longest that nobody looks at the time.
const LONGEST: Duration = Duration::from_secs(60);

/// Which addresses are to be reached, and who may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The addresses.
    pub(crate) addresses: BTreeSet<Endpoint>,
    /// How often those have changed that the node listens on.
    pub(crate) changes: u64,
    /// Nodes in contact, and the prefix that each declared.
    pub(crate) servers: BTreeMap<NodeId, Prefix>,
}

/// Asks others to dial this node, and dials those who ask.
pub(crate) struct Reach {
    control: Control,
    local: bool,
    wanted: watch::Receiver<Wanted>,
    /// The changes that the rounds know of.
    changes: u64,
    told: watch::Sender<Contacts>,
    rounds: Rounds,
    requests: IncomingStreams,
    streams: IncomingStreams,
    arrivals: Arrivals,
    /// Where those come from who ask.
    places: Places,
    /// Who of those that have come is heard.
    backs: Backs,
    /// What was asked, by what is to be said on the dial back.
    questions: BTreeMap<u64, Question>,
    served: Served,
}

/// One node was asked to dial one address.
#[derive(Debug)]
struct Question {
    by: PeerId,
    address: Endpoint,
    /// Connections from this number on may be of its making.
    since: u64,
    /// Whether somebody came and said what only that node knew.
    came: bool,
}

impl Question {
    /// Whether a connection that a peer has opened may be the dial: not the node's own, nor one from before, and over
    /// the transport and to the kind of address that it was to dial. Through a router the port may be another.
    fn expects(&self, peer: &PeerId, came: &Came) -> bool {
        *peer != self.by
            && came.number >= self.since
            && came.transport == self.address.transport
            && came.four == self.address.ip.is_ipv4()
    }
}

/// What has been waited for.
enum Done {
    Asked(Ask, u64, Answer),
    /// Whoever has this place has asked, and paid for the dial; or has not.
    Heard(u64, Option<Paid>),
    Served(u64),
    /// Whoever has this place said this over a stream that it opened, or nothing.
    Back(u64, Option<(u64, Stream)>),
    Greeted,
}

type Tasks = FuturesUnordered<BoxFuture<'static, Done>>;

impl Reach {
    /// In a network that is all on one machine if it is `local`: any address is dialled there.
    pub(crate) fn new(
        mut control: Control,
        (arrivals, places): (Arrivals, Places),
        local: bool,
        wanted: watch::Receiver<Wanted>,
        told: watch::Sender<Contacts>,
    ) -> Result<Self, AlreadyRegistered> {
        let requests = control.accept(wire::REQUEST)?;
        let streams = control.accept(wire::BACK)?;
        // Without randomness the same are asked first: no harm.
        let rounds = Rounds::new(random().unwrap_or_default());
        let (backs, questions, served) = (Backs::default(), BTreeMap::new(), Served::default());
        Ok(Self {
            control,
            local,
            wanted,
            changes: 0,
            told,
            rounds,
            requests,
            streams,
            arrivals,
            places,
            backs,
            questions,
            served,
        })
    }

    /// Runs until nobody is left who wants anything.
    pub(crate) async fn run(mut self) {
        let mut tasks = Tasks::new();
        // These are counted by themselves, in `backs`.
        let mut greeting = Tasks::new();
        self.want();
        loop {
            while let Some(ask) = self.rounds.poll() {
                tasks.push(self.asking(ask));
            }
            self.tell();
            let wake = self.wake();
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.want();
                }
                Some(done) = tasks.next() => self.done(done, &tasks, &greeting),
                Some(done) = greeting.next() => self.done(done, &tasks, &greeting),
                Some((peer, stream)) = self.requests.next() => self.serve(peer, stream, &tasks),
                Some((peer, stream)) = self.streams.next() => self.hear(peer, stream, &greeting),
                () = sleep_until(wake) => self.rounds.handle(now(), Input::Tick),
            }
        }
    }

    /// Goes by what is wanted.
    fn want(&mut self) {
        let Wanted { addresses, changes, servers } = self.wanted.borrow_and_update().clone();
        let changed = std::mem::replace(&mut self.changes, changes) != changes;
        self.rounds.handle(now(), Input::Servers(servers));
        self.rounds.handle(now(), Input::Addresses { addresses, changed });
    }

    /// Asks one node to dial.
    fn asking(&mut self, ask: Ask) -> BoxFuture<'static, Done> {
        let (Some(peer), Some(nonce)) = (peer_id(&ask.by), random()) else {
            return Box::pin(async move { Done::Asked(ask, 0, Answer::Refused) });
        };
        let question = Question { by: peer, address: ask.address, since: self.arrivals.next(), came: false };
        self.questions.insert(nonce, question);
        let control = self.control.clone();
        Box::pin(async move { Done::Asked(ask, nonce, ask::ask(control, peer, ask.address, nonce).await) })
    }

    /// Reads what a peer says over a stream that it opened, if it may be one that was asked to come.
    fn hear(&mut self, peer: PeerId, stream: Stream, greeting: &Tasks) {
        let Some(came) = self.arrivals.of(&peer) else { return };
        if !self.questions.values().any(|question| question.expects(&peer, &came)) {
            return;
        }
        if let Some((number, stopped)) = self.backs.admit(peer, came) {
            let reading = Abortable::new(heard(stream), stopped);
            greeting.push(Box::pin(async move { Done::Back(number, reading.await.ok().flatten()) }));
        }
    }

    /// Reads what a peer asks, if there is a place for it.
    fn serve(&mut self, peer: PeerId, stream: Stream, tasks: &Tasks) {
        let asker = self.places.of(&peer).map_or(Asker::Node(peer), Asker::Stranger);
        if let Some((number, stopped)) = self.served.admit(asker) {
            let reading = Abortable::new(confirm::hear(stream, peer, self.local), stopped);
            tasks.push(Box::pin(async move { Done::Heard(number, reading.await.ok().flatten()) }));
        }
    }

    fn done(&mut self, done: Done, tasks: &Tasks, greeting: &Tasks) {
        match done {
            Done::Asked(ask, nonce, said) => {
                let came = self.questions.remove(&nonce).is_some_and(|question| question.came);
                // Whoever says so without having come says nothing.
                let answer = if said == Answer::Reached && !came { Answer::Refused } else { said };
                self.rounds.handle(now(), Input::Answered(ask, answer));
            }
            Done::Heard(number, Some(paid)) if self.served.dials(number) => {
                tasks.push(Box::pin(async move {
                    paid.dial().await;
                    Done::Served(number)
                }));
            }
            Done::Heard(number, _) | Done::Served(number) => self.served.end(number),
            Done::Back(number, said) => {
                let (Some((peer, came)), Some((nonce, stream))) = (self.backs.end(number), said) else {
                    return;
                };
                let question = self.questions.get_mut(&nonce);
                if let Some(question) = question.filter(|one| !one.came && one.expects(&peer, &came)) {
                    question.came = true;
                    greeting.push(Box::pin(greet(stream)));
                }
            }
            Done::Greeted => {}
        }
    }

    /// Tells what is known, where it is something else.
    fn tell(&self) {
        let verdicts = self.rounds.verdicts();
        self.told.send_if_modified(|contacts| {
            let other = contacts.reached.verdicts != verdicts;
            if other {
                contacts.reached.verdicts = verdicts;
            }
            other
        });
    }

    fn wake(&self) -> Instant {
        let sleep = |deadline: Time| Duration::from_micros(deadline.since(now()).0);
        Instant::now() + self.rounds.deadline().map_or(LONGEST, sleep).min(LONGEST)
    }
}

/// Reads what somebody who dialled back says.
async fn heard(mut stream: Stream) -> Option<(u64, Stream)> {
    match timeout(READ, wire::receive(&mut stream)).await {
        Ok(Ok(Back { nonce })) => Some((nonce, stream)),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Tells him that he was waited for.
async fn greet(mut stream: Stream) -> Done {
    // Where that does not arrive he says that nobody answered.
    let _ = timeout(READ, wire::send(&mut stream, &BackAnswer { status: 0 })).await;
    Done::Greeted
}

/// What others must not guess.
fn random() -> Option<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
