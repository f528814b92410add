//! What an operator is told of the follower.

use session_protocols::{Span, Time};

use super::Follower;
use crate::settlement::{
    sync::{Begun, Led},
    trouble::{Hold, Stop, Trouble},
};

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
    /// What it did wrong last.
    pub trouble: Option<Trouble>,
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
    /// Whether one of several endpoints alone has told what is in the ledger by now: it is followed, and
    /// nothing is signed by its word until another one agrees.
    pub alone: bool,
    /// Why nothing is applied at present.
    pub held: Option<Hold>,
    /// Why nothing will be applied any more.
    pub stopped: Option<Stop>,
    /// What the ledger began with when it was taken up last.
    pub begun: Begun,
}

impl Status {
    /// Whether the ledger may be relied on: something is known, and nothing keeps it from following.
    pub const fn is_good(&self) -> bool {
        self.head.is_some() && self.held.is_none() && self.stopped.is_none()
    }

    /// Whether no endpoint has the logs that come next: each is left out because it says that it has dropped them, or
    /// leaves some out.
    pub fn lacks_logs(&self) -> bool {
        let lacks = |one: &EndpointStatus| {
            let trouble = one.trouble.as_ref().filter(|_| matches!(one.standing, Standing::LeftOut(_)));
            matches!(trouble, Some(Trouble::Pruned { .. } | Trouble::Forged { .. }))
        };
        !self.endpoints.is_empty() && self.endpoints.iter().all(lacks)
    }

    /// Whether what the ledger says may be signed: nobody contradicts it, and another endpoint says the same,
    /// where there are several. That one endpoint is behind does not matter.
    pub const fn may_sign(&self) -> bool {
        let followed = matches!(self.held, None | Some(Hold::Apart { .. }));
        self.head.is_some() && self.stopped.is_none() && followed && !self.alone
    }
}

impl Follower {
    /// How far the logs have led a ledger in which this epoch ends next; none where nothing has come of them.
    ///
    /// While endpoints contradict each other about a ledger that has begun, or what was final was replaced, nothing is
    /// missing that another ledger could be believed for.
    pub fn led(&self, epoch: Option<u64>, status: &Status) -> Led {
        let disputed = status.stopped.is_some() || status.held.as_ref().is_some_and(Hold::is_dispute);
        let disputed = disputed && epoch.is_some();
        Led {
            height: status.height,
            head: status.head,
            epoch,
            behind: if disputed { Some(0) } else { self.behind() },
            compared: self.has_compared(),
            pruned: !disputed && status.lacks_logs(),
        }
    }

    /// How following goes.
    pub fn status(&self, now: Time) -> Status {
        let head = self.target();
        let endpoints = self.witnesses.iter().map(|witness| EndpointStatus {
            name: witness.name.clone(),
            standing: match (witness.out, witness.is_failing()) {
                (Some(until), _) => Standing::LeftOut(until),
                (None, true) => Standing::Failing,
                (None, false) => Standing::Good,
            },
            trouble: witness.trouble.clone(),
            faults: witness.faults,
            questions: witness.asked,
        });
        Status {
            height: if self.unproven.is_empty() {
                self.scanned.max(self.mark.height)
            } else {
                self.proven.height
            },
            head: head.map(|head| head.height),
            lag: head.map(|head| now.since(Time::from_millis(head.time.saturating_mul(1_000)))),
            epoch: self.proven.epoch,
            endpoints: endpoints.collect(),
            alone: self.alone,
            held: self.held.clone(),
            stopped: self.stopped.clone(),
            begun: Begun::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    use super::*;
    use crate::{
        ledger::Parameters,
        network::Contracts,
        settlement::{
            contracts::{Contract, Followed},
            follower::{Header, Mark, Pace},
            trouble::Replaced,
        },
    };

    const GENESIS: u64 = 1_000;

    /// One over two endpoints, in which the fourth epoch ends next.
    fn follower() -> Follower {
        let [token, pool, staking, factory, checkpoints, names] = [Address::ZERO; 6];
        let contracts = Contracts { token, pool, staking, factory, checkpoints, names };
        let followed = Followed { chain: 1, start: 1, contracts };
        let mark = Mark { epoch: 3, ..Mark::before(&followed) };
        let parameters = Parameters { genesis: GENESIS, ..Parameters::default() };
        let endpoints = ["one", "two"].map(str::to_owned);
        Follower::new(followed, parameters, Pace::default(), mark, endpoints, ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn what_is_missing_is_known_but_not_believed_while_endpoints_contradict_each_other() {
        let mut follower = follower();
        let length = follower.parameters.epoch_seconds.get();
        assert_eq!(follower.behind(), None, "nobody has told of a block");
        for (epochs, behind) in [(0, 0), (3, 0), (4, 1), (9, 6)] {
            let time = GENESIS + epochs * length;
            let head = Header { height: 9, hash: B256::ZERO, parent: B256::ZERO, time };
            follower.witnesses[0].takes_part = true;
            follower.witnesses[0].head = Some(head);
            assert_eq!(follower.behind(), Some(behind), "{epochs} epochs have ended");
        }

        let mut status = follower.status(Time::ZERO);
        let led = |epoch, status: &Status| follower.led(epoch, status);
        assert_eq!((led(Some(3), &status).behind, led(None, &status).behind), (Some(6), Some(6)));
        let replaced = Replaced { height: 5, was: B256::ZERO, is: B256::repeat_byte(1) };
        for (held, stopped) in [(Some(Hold::Alone(replaced)), None), (None, Some(Stop::Replaced(replaced)))] {
            (status.held, status.stopped) = (held, stopped);
            assert_eq!((led(Some(3), &status).behind, led(None, &status).behind), (Some(0), Some(6)));
        }
    }

    #[test]
    fn logs_are_lacking_once_every_endpoint_is_left_out_for_it() {
        let mut status = follower().status(Time::ZERO);
        let out = Standing::LeftOut(Time::ZERO);
        let pruned = Trouble::Pruned { said: "pruned history unavailable".to_owned() };
        let forged = Trouble::Forged { contract: Contract::Staking, number: 1, height: 5 };
        let mut lacks = |all: [(Standing, &Trouble); 2]| {
            for (endpoint, (standing, trouble)) in status.endpoints.iter_mut().zip(all) {
                (endpoint.standing, endpoint.trouble) = (standing, Some(trouble.clone()));
            }
            status.lacks_logs()
        };
        assert!(lacks([(out, &pruned), (out, &forged)]));
        assert!(!lacks([(out, &pruned), (out, &Trouble::Late)]), "one may be back");
        assert!(!lacks([(out, &pruned), (Standing::Good, &pruned)]), "one takes part again");
        assert!(!Status::default().lacks_logs());
    }
}
