//! Several things at once, in one request: what a client does that comes back after a while.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use session_protocols::{
    AccountId, MessageHash, Namespace, NodeId,
    answer::{Answer, Body, Code, Refusal},
    path::Use,
    request::{Direction, Ends, MAX_HASHES, MAX_REQUESTS, Request, Retrieve, Which},
};

use super::{
    Client, Inner,
    ask::{ANSWER_TOO_LARGE, Failure, Fault, Question, WITNESSES, is_final},
    change::{AT_ONCE, Change, Changed, Expiries, Proven},
    read::{Page, unique},
    send::Tally,
};
use crate::{actor::Actor, error::ClientError};

/// One of several things to do with a mailbox. Storing is not among them: a path that reads never stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Read the messages of a drawer behind one of them; from the beginning where there is none, or where the asked
    /// member does not hold it.
    Retrieve {
        /// Which drawer.
        namespace: Namespace,
        /// The last message that is known.
        after: Option<MessageHash>,
    },
    /// As [`Client::delete`], of at most 150 messages.
    Delete(Vec<MessageHash>),
    /// As [`Client::expire`], of at most 150 messages.
    Expire {
        /// Which messages.
        hashes: Vec<MessageHash>,
        /// Their new end, in milliseconds since 1970.
        expiry_ms: u64,
        /// Which direction alone is meant, if any.
        only: Option<Direction>,
    },
    /// As [`Client::expiries`], of at most 500 messages where some are named.
    Expiries(Option<Vec<MessageHash>>),
}

impl Deed {
    /// Sees whether one request may name so many messages.
    fn check(&self) -> Result<(), ClientError> {
        let (named, most) = match self {
            Self::Retrieve { .. } | Self::Expiries(None) => return Ok(()),
            Self::Delete(hashes) | Self::Expire { hashes, .. } => (hashes.len(), AT_ONCE),
            Self::Expiries(Some(hashes)) => (hashes.len(), MAX_HASHES),
        };
        if named > most { Err(ClientError::TooManyNamed { named, most }) } else { Ok(()) }
    }
}

/// What came of one of several things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Messages.
    Page(Page),
    /// A majority has proven to have changed this.
    Changed(Changed),
    /// When messages end.
    Expiries(Expiries),
    /// Members agree to refuse it.
    Refused(Code),
}

impl Client {
    /// Does several things with a mailbox, in any order, [`MAX_REQUESTS`] in one request, and tells what came of each;
    /// one that is refused stops no other.
    ///
    /// # Errors
    /// When one of them names more messages than one request may, before anything is sent; when no majority of the swarm
    /// proves to have done what changes something, or no member gives an answer that can be believed. Repeating is safe.
    pub async fn batch<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        deeds: &[Deed],
    ) -> Result<Vec<Outcome>, ClientError> {
        deeds.iter().try_for_each(Deed::check)?;
        self.inner.batch(by.into(), deeds).await
    }
}

/// What one of several requests has come to.
#[derive(Default)]
struct Slot {
    tally: Tally,
    refusals: BTreeMap<NodeId, Code>,
    outcome: Option<Outcome>,
}

impl Inner {
    async fn batch(&self, by: Actor<'_>, deeds: &[Deed]) -> Result<Vec<Outcome>, ClientError> {
        let mut outcomes = Vec::with_capacity(deeds.len());
        let mut parts: VecDeque<_> = deeds.chunks(MAX_REQUESTS).collect();
        while let Some(part) = parts.pop_front() {
            let mut done = self.batch_once(by, part).await;
            if matches!(done, Err(Failure::ClockMoved)) {
                done = self.batch_once(by, part).await;
            }
            match done.map_err(|failure| self.error(by.account(), failure)) {
                Ok(done) => outcomes.extend(done),
                // Half as many fit.
                Err(
                    ClientError::TooLarge { .. } | ClientError::Disbelieved { what: ANSWER_TOO_LARGE, .. },
                ) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push_front(second);
                    parts.push_front(first);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcomes)
    }

    async fn batch_once(&self, by: Actor<'_>, deeds: &[Deed]) -> Result<Vec<Outcome>, Failure> {
        let account = by.account();
        let (requests, digests): (Vec<_>, Vec<_>) = deeds.iter().map(|deed| self.sign_deed(by, deed)).unzip();
        let slots: Mutex<Vec<Slot>> = Mutex::new(deeds.iter().map(|_| Slot::default()).collect());
        // Of one account, as its other requests.
        let (patience, usage) = (self.options.answer_write, Some(Use::Read(account)));
        let question = Question { account, patience, first: None, usage };
        let judge = |node, swarm: &[NodeId], body| {
            let other = Fault::Disbelieved("it answers something else");
            let Body::Batch(answers) = body else { return Err(other) };
            if answers.len() != deeds.len() {
                return Err(other);
            }
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            let mut fault = None;
            for (((slot, deed), digest), answer) in slots.iter_mut().zip(deeds).zip(&digests).zip(answers) {
                if slot.outcome.is_none()
                    && let Err(new) = self.fill(slot, deed, *digest, (node, swarm, account), answer)
                {
                    fault = fault.or(Some(new));
                }
            }
            match fault {
                Some(fault) => Err(fault),
                None => Ok(slots.iter_mut().filter_map(|slot| slot.outcome.take()).collect()),
            }
        };
        self.ask(question, |_| Request::Batch(requests.clone()), judge).await
    }

    /// The request for a deed, and the digest of its statement where members sign that.
    fn sign_deed(&self, by: Actor<'_>, deed: &Deed) -> (Request, Option<[u8; 32]>) {
        let change = match deed {
            Deed::Retrieve { namespace, after } => {
                let bare = self.retrieve(by, *namespace, None, None, None);
                let mut request = Retrieve { last: *after, ..bare };
                request.auth = Some(self.sign(by, |network, time| request.statement(network, time)));
                return (Request::Retrieve(request), None);
            }
            Deed::Expiries(hashes) => {
                return (Request::GetExpiries(self.get_expiries(by, hashes.as_deref())), None);
            }
            Deed::Delete(hashes) => Change::Delete(Which::Hashes(hashes.clone())),
            Deed::Expire { hashes, expiry_ms, only } => {
                let (which, ends) = (Which::Hashes(hashes.clone()), Ends::All(*expiry_ms));
                Change::Expire { which, ends, only: *only }
            }
        };
        let (request, digest) = change.sign(self, by);
        (request, Some(digest))
    }

    /// Takes one member's answer to one of several requests.
    fn fill(
        &self,
        slot: &mut Slot,
        deed: &Deed,
        digest: Option<[u8; 32]>,
        (node, swarm, account): (NodeId, &[NodeId], AccountId),
        answer: Answer,
    ) -> Result<(), Fault> {
        if let Body::Refused(Refusal { code, receipts: None, .. }) = &answer.body {
            slot.refusals.insert(node, *code);
            let same = slot.refusals.values().filter(|other| *other == code).count();
            let Body::Refused(refusal) = answer.body else { return Ok(()) };
            let fault = Fault::Refused(refusal);
            if let Fault::Refused(Refusal { code, .. }) = fault
                && is_final(&fault)
                && same >= WITNESSES.min(swarm.len())
            {
                slot.outcome = Some(Outcome::Refused(code));
                return Ok(());
            }
            return Err(fault);
        }
        slot.outcome = Some(match (deed, answer.body) {
            (Deed::Retrieve { namespace, .. }, Body::Messages { messages, more, .. }) => {
                let messages = self.check(&account, *namespace, messages).map_err(Fault::Disbelieved)?;
                Outcome::Page(Page { messages: unique(messages), more, node })
            }
            (Deed::Expiries(_), Body::Expiries { ends, more }) => Outcome::Expiries(Expiries { ends, more }),
            (Deed::Delete(hashes) | Deed::Expire { hashes, .. }, body) => {
                let digest = digest.unwrap_or_default();
                let stored = self.count_changed(&slot.tally, swarm, account, digest, body)?;
                let proven = Proven::of(&slot.tally, stored, swarm);
                let hashes = hashes.iter().filter(|hash| proven.hashes.contains(hash)).copied().collect();
                Outcome::Changed(Changed { hashes, stored, swarm: swarm.len() })
            }
            _ => return Err(Fault::Disbelieved("it answers something else")),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_names_more_messages_than_an_answer_can() {
        let named = |many| vec![MessageHash([0; 32]); many];
        let delete = |many| Deed::Delete(named(many));
        let expire = |many| Deed::Expire { hashes: named(many), expiry_ms: 0, only: None };
        let ends = |many| Deed::Expiries(Some(named(many)));
        let deeds: [(_, &dyn Fn(usize) -> Deed); 3] =
            [(AT_ONCE, &delete), (AT_ONCE, &expire), (MAX_HASHES, &ends)];
        for (most, deed) in deeds {
            assert!(deed(most).check().is_ok() && deed(0).check().is_ok());
            let refused = deed(most + 1).check().unwrap_err();
            assert!(
                matches!(refused, ClientError::TooManyNamed { named, most: it } if (named, it) == (most + 1, most))
            );
            assert_eq!(refused.code(), "too_large");
            assert!(refused.to_string().ends_with(&format!("and {most} is the most")), "{refused}");
        }
        assert!(Deed::Expiries(None).check().is_ok());
    }
}
