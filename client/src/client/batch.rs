//! Several things in one request: what a client does that comes back after a while. All of them, one after the other,
//! or some of them where conditions hold.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use session_protocols::{
    AccountId, MessageHash, Namespace, NodeId,
    answer::{Answer, Body, Code, Refusal},
    path::Use,
    request::{Condition, Direction, Ends, If, MAX_HASHES, MAX_REQUESTS, Request, Retrieve, Which},
};

use super::{
    Client, Inner,
    ask::{ANSWER_TOO_LARGE, Failure, Fault, Question, WITNESSES, is_final, split},
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

/// What came of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Whether the conditions held at the member whose answer was taken.
    pub condition: bool,
    /// What came of what was to be done then, as of a [sequence](Client::sequence); none where that was nothing.
    pub outcomes: Vec<Outcome>,
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
        self.inner.several(by.into(), deeds, false).await
    }

    /// Does several things with a mailbox one after the other, [`MAX_REQUESTS`] in one request, and tells what came of
    /// each, up to the first that is refused: of what stands behind that nothing is done.
    ///
    /// Where a member fails on the way, another one begins at the first again.
    ///
    /// ```no_run
    /// use session_client::{Account, Client, ClientError, Deed, Outcome};
    /// use session_protocols::{MessageHash, Namespace};
    ///
    /// # async fn example(client: &Client, me: &Account, old: Vec<MessageHash>) -> Result<(), ClientError> {
    /// // What is known goes, but not before what came behind it is here.
    /// let new = Deed::Retrieve { namespace: Namespace::INBOX, after: old.last().copied() };
    /// for outcome in client.sequence(me, &[new, Deed::Delete(old)]).await? {
    ///     match outcome {
    ///         Outcome::Page(page) => println!("{} new messages", page.messages.len()),
    ///         Outcome::Changed(deleted) => println!("{} old ones are deleted", deleted.hashes.len()),
    ///         Outcome::Refused(code) => println!("{code}"),
    ///         Outcome::Expiries(_) => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::batch`].
    pub async fn sequence<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        deeds: &[Deed],
    ) -> Result<Vec<Outcome>, ClientError> {
        deeds.iter().try_for_each(Deed::check)?;
        self.inner.several(by.into(), deeds, true).await
    }

    /// Does some things with a mailbox if all conditions hold at the member that is asked, and others if not: a
    /// [sequence](Self::sequence) either way, or nothing. Whether they hold, one member is believed; while members
    /// differ, one that fails may have begun with what another one leaves.
    ///
    /// There are 1 to [`MAX_REQUESTS`] conditions, and as many things to do at most either way.
    ///
    /// ```no_run
    /// use session_client::{Account, Client, ClientError, Deed};
    /// use session_protocols::{Namespace, request::Condition};
    ///
    /// # async fn example(client: &Client, me: &Account) -> Result<(), ClientError> {
    /// let read = [Deed::Retrieve { namespace: Namespace(7), after: None }];
    /// let chosen = client.if_else(me, &[Condition::RulesAtLeast([22, 0])], &read, &[]).await?;
    /// if !chosen.condition {
    ///     println!("the nodes go by older rules");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::batch`]; also when there are more conditions or things to do than that, or no conditions, before
    /// anything is sent, and when what came of it all does not fit into one answer.
    pub async fn if_else<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        when: &[Condition],
        then: &[Deed],
        otherwise: &[Deed],
    ) -> Result<Chosen, ClientError> {
        check_choice(when, then, otherwise)?;
        let (inner, by) = (&*self.inner, by.into());
        let mut chosen = inner.choose(by, when, then, otherwise).await;
        if matches!(chosen, Err(Failure::ClockMoved)) {
            chosen = inner.choose(by, when, then, otherwise).await;
        }
        chosen.map_err(|failure| inner.error(by.account(), failure))
    }
}

/// Sees whether one request may hold so much.
fn check_choice(when: &[Condition], then: &[Deed], otherwise: &[Deed]) -> Result<(), ClientError> {
    const DEEDS: &str = "things to do";
    let counts = [(when.len(), 1, "conditions"), (then.len(), 0, DEEDS), (otherwise.len(), 0, DEEDS)];
    for (many, least, what) in counts {
        if !(least..=MAX_REQUESTS).contains(&many) {
            return Err(ClientError::NoChoice { many, what });
        }
    }
    then.iter().chain(otherwise).try_for_each(Deed::check)
}

/// What one of several requests has come to.
#[derive(Default)]
struct Slot {
    tally: Tally,
    refusals: BTreeMap<NodeId, Code>,
    outcome: Option<Outcome>,
}

/// Several requests that are answered together, and what each has come to by what members said so far.
struct Several<'a> {
    account: AccountId,
    deeds: &'a [Deed],
    requests: Vec<Request>,
    /// Of the statements that members sign; none of what changes nothing.
    digests: Vec<Option<[u8; 32]>>,
    /// Whether one that is refused stops those behind it.
    in_turn: bool,
    slots: Mutex<Vec<Slot>>,
}

impl<'a> Several<'a> {
    fn sign(inner: &Inner, by: Actor<'_>, deeds: &'a [Deed], in_turn: bool) -> Self {
        let (requests, digests) = deeds.iter().map(|deed| inner.sign_deed(by, deed)).unzip();
        let slots = Mutex::new(deeds.iter().map(|_| Slot::default()).collect());
        Self { account: by.account(), deeds, requests, digests, in_turn, slots }
    }

    fn request(&self) -> Request {
        let requests = self.requests.clone();
        if self.in_turn { Request::Sequence(requests) } else { Request::Batch(requests) }
    }

    /// Takes one member's answers: what came of it all, if that is known by now.
    fn take(&self, inner: &Inner, node: NodeId, swarm: &[NodeId], body: Body) -> Result<Vec<Outcome>, Fault> {
        let other = Fault::Disbelieved("it answers something else");
        let Body::Batch(answers) = body else { return Err(other) };
        let refused = answers.iter().position(|answer| matches!(answer.body, Body::Refused(_)));
        // In turn it ends with what is refused, and with nothing else.
        let end = refused.filter(|_| self.in_turn).map_or(self.deeds.len(), |last| last + 1);
        if answers.len() != end {
            return Err(other);
        }
        let stopped = answers.last().and_then(refusal);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fault = None;
        let asked = self.deeds.iter().zip(&self.digests);
        for ((slot, (deed, digest)), answer) in slots.iter_mut().zip(asked).zip(answers) {
            if slot.outcome.is_none()
                && let Err(new) = inner.fill(slot, deed, *digest, (node, swarm, self.account), answer)
            {
                fault = fault.or(Some(new));
            }
        }
        let refused = slots.iter().position(|slot| matches!(slot.outcome, Some(Outcome::Refused(_))));
        let end = refused.filter(|_| self.in_turn).map_or(slots.len(), |last| last + 1);
        if slots.iter().take(end).all(|slot| slot.outcome.is_some()) {
            return Ok(slots.iter_mut().take(end).filter_map(|slot| slot.outcome.take()).collect());
        }
        // Where it refuses what others have done before, that is all that it says.
        Err(fault.or_else(|| stopped.map(Fault::Refused)).unwrap_or(other))
    }
}

/// What a member refuses, if it does.
fn refusal(answer: &Answer) -> Option<Refusal> {
    let Body::Refused(Refusal { code, swarm, .. }) = &answer.body else { return None };
    Some(Refusal { code: *code, swarm: swarm.clone(), receipts: None })
}

impl Inner {
    async fn several(
        &self,
        by: Actor<'_>,
        deeds: &[Deed],
        in_turn: bool,
    ) -> Result<Vec<Outcome>, ClientError> {
        let mut outcomes = Vec::with_capacity(deeds.len());
        let mut parts: VecDeque<_> = deeds.chunks(MAX_REQUESTS).collect();
        while let Some(part) = parts.pop_front() {
            let mut done = self.several_once(by, part, in_turn).await;
            if matches!(done, Err(Failure::ClockMoved)) {
                done = self.several_once(by, part, in_turn).await;
            }
            match done.map_err(|failure| self.error(by.account(), failure)) {
                Ok(done) => {
                    outcomes.extend(done);
                    if in_turn && matches!(outcomes.last(), Some(Outcome::Refused(_))) {
                        break;
                    }
                }
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

    async fn several_once(
        &self,
        by: Actor<'_>,
        deeds: &[Deed],
        in_turn: bool,
    ) -> Result<Vec<Outcome>, Failure> {
        let several = Several::sign(self, by, deeds, in_turn);
        let judge = |node, swarm: &[NodeId], body| several.take(self, node, swarm, body);
        self.ask(self.question_of(by), |_| several.request(), judge).await
    }

    async fn choose(
        &self,
        by: Actor<'_>,
        when: &[Condition],
        then: &[Deed],
        otherwise: &[Deed],
    ) -> Result<Chosen, Failure> {
        let [then, otherwise] = [then, otherwise].map(|deeds| Several::sign(self, by, deeds, true));
        let branch = |deeds: &Several<'_>| (!deeds.requests.is_empty()).then(|| deeds.request());
        let choice = If { when: when.to_vec(), then: branch(&then), otherwise: branch(&otherwise) };
        let request = Request::If(Box::new(choice));
        let judge = |node, swarm: &[NodeId], body| {
            let other = Fault::Disbelieved("it answers something else");
            let Body::If { condition, answer } = body else { return Err(other) };
            let chosen = if condition { &then } else { &otherwise };
            let outcomes = match answer {
                Some(answer) => chosen.take(self, node, swarm, split(*answer)?)?,
                None if chosen.deeds.is_empty() => Vec::new(),
                None => return Err(other),
            };
            Ok(Chosen { condition, outcomes })
        };
        self.ask(self.question_of(by), |_| request.clone(), judge).await
    }

    /// How several things are asked: over the paths of the account's other requests.
    const fn question_of(&self, by: Actor<'_>) -> Question {
        let account = by.account();
        let (patience, usage) = (self.options.answer_write, Some(Use::Read(account)));
        Question { account, patience, first: None, usage }
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

    #[test]
    fn a_choice_has_conditions_and_no_more_of_anything_than_a_request_may_hold() {
        let when = |many| vec![Condition::HeightAtLeast(0); many];
        let deeds = |many| vec![Deed::Expiries(None); many];
        for (conditions, then, otherwise) in
            [(1, 0, 0), (1, 1, 0), (MAX_REQUESTS, MAX_REQUESTS, MAX_REQUESTS)]
        {
            assert!(check_choice(&when(conditions), &deeds(then), &deeds(otherwise)).is_ok());
        }
        for (conditions, then, otherwise, why) in [
            (0, 1, 1, "0 conditions"),
            (MAX_REQUESTS + 1, 1, 1, "21 conditions"),
            (1, MAX_REQUESTS + 1, 1, "21 things to do"),
            (1, 1, MAX_REQUESTS + 1, "21 things to do"),
        ] {
            let refused = check_choice(&when(conditions), &deeds(then), &deeds(otherwise)).unwrap_err();
            assert_eq!(refused.code(), "no_choice");
            assert!(refused.to_string().ends_with(why), "{refused}");
        }
        let many = [Deed::Delete(vec![MessageHash([0; 32]); AT_ONCE + 1])];
        assert_eq!(check_choice(&when(1), &[], &many).unwrap_err().code(), "too_large");
    }
}
