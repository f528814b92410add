//! What an operator is told of the follower.

use session_protocols::{Span, Time};

use super::Follower;

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes part.
    Good,
    /// It fails to answer, and is asked again.
    Failing,
    /// It is left out until then.
    LeftOut(Time),
}

/// An endpoint, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its host; no path and no credentials.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
    /// What it did wrong last, as the end of a sentence that begins with its name.
    pub fault: Option<String>,
    /// How often it was left out.
    pub faults: u64,
    /// How many questions it was asked.
    pub questions: u64,
}

/// How following goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Up to here the ledger knows all.
    pub height: u64,
    /// The newest final block that all endpoints know.
    pub head: Option<u64>,
    /// How old that block is.
    pub lag: Option<Span>,
    /// The epoch that ends next.
    pub epoch: u64,
    /// The endpoints, as configured.
    pub endpoints: Vec<EndpointStatus>,
    /// Why nothing is applied at present.
    pub held: Option<String>,
    /// Why nothing will be applied any more.
    pub stopped: Option<String>,
}

impl Status {
    /// Whether the ledger may be relied on: something is known, and nothing keeps it from following.
    pub const fn is_good(&self) -> bool {
        self.head.is_some() && self.held.is_none() && self.stopped.is_none()
    }
}

impl Follower {
    /// How following goes.
    pub fn status(&self, now: Time) -> Status {
        let head = self.target();
        let endpoints = self.endpoints.iter().map(|endpoint| EndpointStatus {
            name: endpoint.name.clone(),
            standing: match (endpoint.out, endpoint.is_failing()) {
                (Some(until), _) => Standing::LeftOut(until),
                (None, true) => Standing::Failing,
                (None, false) => Standing::Good,
            },
            fault: endpoint.fault.clone(),
            faults: endpoint.faults,
            questions: endpoint.asked,
        });
        Status {
            height: self.scanned.max(self.mark.height),
            head: head.map(|head| head.height),
            lag: head.map(|head| now.since(Time::from_millis(head.time.saturating_mul(1_000)))),
            epoch: self.mark.epoch,
            endpoints: endpoints.collect(),
            held: self.held.clone(),
            stopped: self.stopped.clone(),
        }
    }
}
