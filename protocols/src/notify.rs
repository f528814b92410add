//! Subscriptions: `/session/<net>/notify/1`.
//!
//! A subscriber names a mailbox and a cursor and is sent what arrived after it and what arrives from
//! then on. What is waiting is never queued: the machine remembers how far each subscriber has come,
//! and the host reads the next page from the store, so a slow subscriber costs nothing and there is
//! no gap to fall into.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, MessageHash, Namespace, Span, Time,
    answer::{Code, Message},
    request::{Cursor, Retrieve},
};

/// The longest encoded subscription, in bytes.
pub const MAX_REQUEST: usize = 4_096;
/// The longest encoded answer or event, in bytes.
pub const MAX_EVENT: usize = 512 * 1024;
/// The most bytes of messages in one event; one message may pass it alone.
pub const EVENT_BYTES: usize = 256 * 1024;
/// The most messages in one event.
pub const EVENT_COUNT: usize = 256;
/// How long a subscription lasts unless renewed.
pub const LIFETIME: Span = Span::secs(65 * 60);
/// How long an answer to a question over a path waits, at most. On a local network it comes sooner when
/// something arrives; on every other one when the node's clock has come to a multiple of this, so that when it
/// comes tells nothing. A hop that dies under a question costs the asker no more than this and its patience.
pub const TICK: Span = Span::secs(1);
/// The most subscriptions at one node.
pub const MAX_SUBSCRIPTIONS: usize = 100_000;
/// The most subscriptions of one neighbour, which the host counts.
pub const MAX_PER_NEIGHBOUR: usize = 128;
/// The most subscriptions to one drawer of one mailbox: an arrival wakes them all.
pub const MAX_PER_MAILBOX: usize = 64;

/// Subscribes to what [`Retrieve`] would read, from its cursor on. Signed like it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// What to read; its limits on count and size are ignored.
    pub retrieve: Retrieve,
}

/// The answer to a subscription, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The node's clock, in milliseconds since 1970.
    pub time: u64,
    /// What came of it.
    pub body: Subscribed,
}

/// What came of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscribed {
    /// Events follow.
    Until {
        /// When it ends unless renewed, in milliseconds since 1970 by the node's clock.
        expiry: u64,
    },
    /// None follow.
    Refused {
        /// Why.
        code: Code,
    },
}

/// Messages that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Oldest arrival first.
    pub messages: Vec<Message>,
    /// Where they end: subscribe from here next time.
    pub cursor: Cursor,
}

/// What the machine is fed.
#[derive(Clone, Debug)]
pub enum Input {
    /// A subscription, its authority checked.
    Subscribe {
        /// The host's number for it.
        subscriber: u64,
        /// Whose mailbox.
        account: AccountId,
        /// Which drawer.
        namespace: Namespace,
        /// From where.
        after: Option<Cursor>,
        /// The hash of the token by which it may, where revoking that takes the right away.
        by: Option<MessageHash>,
    },
    /// A subaccount's rights were taken away.
    Revoked {
        /// Whose subaccount.
        account: AccountId,
        /// The hash of its token.
        hash: MessageHash,
    },
    /// A subscriber has gone.
    Unsubscribe {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
    },
    /// Something arrived in a mailbox.
    Arrived {
        /// Whose.
        account: AccountId,
        /// In which drawer.
        namespace: Namespace,
    },
    /// The last page was taken by the subscriber, who can take another.
    Sent {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
        /// Where that page ended.
        cursor: Cursor,
        /// Whether more was waiting behind it.
        more: bool,
    },
    /// Time has passed.
    Tick,
}

/// What the host must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Accept a subscription.
    Accept {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
        /// When it ends.
        expiry: Time,
    },
    /// Refuse a subscription, or end it.
    End {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
        /// Why.
        code: Code,
    },
    /// Read a page after `after` and send it, if there is anything in it; report [`Input::Sent`].
    Push {
        /// The number of [`Input::Subscribe`].
        subscriber: u64,
        /// Whose mailbox.
        account: AccountId,
        /// Which drawer.
        namespace: Namespace,
        /// From where.
        after: Option<Cursor>,
    },
}

/// The machine of one node's subscriptions.
#[derive(Debug, Default)]
pub struct Subscriptions {
    all: BTreeMap<u64, Subscription>,
    by_mailbox: BTreeSet<(AccountId, Namespace, u64)>,
    ends: BTreeSet<(Time, u64)>,
    outbox: VecDeque<Output>,
}

#[derive(Debug)]
struct Subscription {
    account: AccountId,
    namespace: Namespace,
    after: Option<Cursor>,
    by: Option<MessageHash>,
    end: Time,
    /// A page is on its way; the next waits for it.
    sending: bool,
    /// Something arrived since that page was read.
    waiting: bool,
}

impl Subscriptions {
    /// A machine without subscriptions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one input at `now`; results are read with [`Self::poll`].
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Subscribe { subscriber, account, namespace, after, by } => {
                let full = self.all.len() >= MAX_SUBSCRIPTIONS
                    || self.subscribers(account, namespace).nth(MAX_PER_MAILBOX.saturating_sub(1)).is_some();
                if full || self.all.contains_key(&subscriber) {
                    self.outbox.push_back(Output::End { subscriber, code: Code::TooMany });
                    return;
                }
                let end = now.after(LIFETIME);
                let subscription =
                    Subscription { account, namespace, after, by, end, sending: false, waiting: true };
                self.all.insert(subscriber, subscription);
                self.by_mailbox.insert((account, namespace, subscriber));
                self.ends.insert((end, subscriber));
                self.outbox.push_back(Output::Accept { subscriber, expiry: end });
                self.push(subscriber);
            }
            Input::Revoked { account, hash } => {
                self.end(Code::Unauthorized, |one| one.account == account && one.by == Some(hash));
            }
            Input::Unsubscribe { subscriber } => self.remove(subscriber),
            Input::Arrived { account, namespace } => {
                let subscribers: Vec<_> = self.subscribers(account, namespace).collect();
                for subscriber in subscribers {
                    if let Some(subscription) = self.all.get_mut(&subscriber) {
                        subscription.waiting = true;
                    }
                    self.push(subscriber);
                }
            }
            Input::Sent { subscriber, cursor, more } => {
                if let Some(subscription) = self.all.get_mut(&subscriber) {
                    subscription.sending = false;
                    subscription.after = Some(cursor);
                    subscription.waiting |= more;
                }
                self.push(subscriber);
            }
            Input::Tick => {
                while let Some((end, subscriber)) = self.ends.first().copied().filter(|(end, _)| *end <= now)
                {
                    self.ends.remove(&(end, subscriber));
                    self.remove(subscriber);
                    self.outbox.push_back(Output::End { subscriber, code: Code::Clock });
                }
            }
        }
    }

    /// Ends the subscriptions to accounts that are kept here no longer: whoever wants more subscribes
    /// where they are kept now.
    pub fn end_others(&mut self, kept: impl Fn(&AccountId) -> bool) {
        self.end(Code::WrongSwarm, |one| !kept(&one.account));
    }

    fn end(&mut self, code: Code, ends: impl Fn(&Subscription) -> bool) {
        let ended = self.all.iter().filter(|(_, one)| ends(one)).map(|(subscriber, _)| *subscriber);
        for subscriber in ended.collect::<Vec<_>>() {
            self.remove(subscriber);
            self.outbox.push_back(Output::End { subscriber, code });
        }
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Option<Time> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn subscribers(&self, account: AccountId, namespace: Namespace) -> impl Iterator<Item = u64> {
        let range = (account, namespace, 0)..=(account, namespace, u64::MAX);
        self.by_mailbox.range(range).map(|(_, _, id)| *id)
    }

    fn push(&mut self, subscriber: u64) {
        let Some(subscription) = self.all.get_mut(&subscriber) else { return };
        if subscription.waiting && !subscription.sending {
            subscription.waiting = false;
            subscription.sending = true;
            let Subscription { account, namespace, after, .. } = *subscription;
            self.outbox.push_back(Output::Push { subscriber, account, namespace, after });
        }
    }

    fn remove(&mut self, subscriber: u64) {
        if let Some(subscription) = self.all.remove(&subscriber) {
            self.by_mailbox.remove(&(subscription.account, subscription.namespace, subscriber));
            self.ends.remove(&(subscription.end, subscriber));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId::from_bytes([5; 33]);
    const INBOX: Namespace = Namespace::INBOX;

    fn outputs(machine: &mut Subscriptions) -> Vec<Output> {
        std::iter::from_fn(|| machine.poll()).collect()
    }

    #[test]
    fn what_arrives_during_a_page_is_pushed_after_it() {
        let mut machine = Subscriptions::new();
        let subscribe =
            Input::Subscribe { subscriber: 1, account: ACCOUNT, namespace: INBOX, after: None, by: None };
        machine.handle(Time::ZERO, subscribe);
        let push = |after| Output::Push { subscriber: 1, account: ACCOUNT, namespace: INBOX, after };
        assert_eq!(outputs(&mut machine)[1], push(None));
        // Two arrivals while the first page travels make one more page, not two.
        machine.handle(Time::ZERO, Input::Arrived { account: ACCOUNT, namespace: INBOX });
        machine.handle(Time::ZERO, Input::Arrived { account: ACCOUNT, namespace: INBOX });
        assert_eq!(outputs(&mut machine), []);
        let cursor = Cursor { incarnation: 1, sequence: 9 };
        machine.handle(Time::ZERO, Input::Sent { subscriber: 1, cursor, more: false });
        assert_eq!(outputs(&mut machine), [push(Some(cursor))]);
        machine.handle(Time::ZERO, Input::Sent { subscriber: 1, cursor, more: false });
        assert_eq!(outputs(&mut machine), []);
    }

    #[test]
    fn a_subscription_ends_in_time_and_leaves_nothing() {
        let mut machine = Subscriptions::new();
        let subscribe =
            Input::Subscribe { subscriber: 1, account: ACCOUNT, namespace: INBOX, after: None, by: None };
        machine.handle(Time::ZERO, subscribe);
        let end = machine.deadline().unwrap();
        machine.handle(end, Input::Tick);
        assert!(outputs(&mut machine).contains(&Output::End { subscriber: 1, code: Code::Clock }));
        machine.handle(end, Input::Arrived { account: ACCOUNT, namespace: INBOX });
        assert_eq!((outputs(&mut machine), machine.is_empty(), machine.deadline()), (vec![], true, None));
    }

    #[test]
    fn who_is_revoked_hears_no_more_and_others_go_on() {
        let mut machine = Subscriptions::new();
        let hash = |byte| MessageHash([byte; 32]);
        for (subscriber, by) in [(1, None), (2, Some(hash(2))), (3, Some(hash(3))), (4, Some(hash(2)))] {
            let account = if subscriber == 4 { AccountId::from_bytes([6; 33]) } else { ACCOUNT };
            machine.handle(
                Time::ZERO,
                Input::Subscribe { subscriber, account, namespace: INBOX, after: None, by },
            );
        }
        outputs(&mut machine);
        machine.handle(Time::ZERO, Input::Revoked { account: ACCOUNT, hash: hash(2) });
        assert_eq!(outputs(&mut machine), [Output::End { subscriber: 2, code: Code::Unauthorized }]);
        assert_eq!(machine.len(), 3);
    }

    #[test]
    fn one_mailbox_has_so_many_subscriptions_and_no_more() {
        let mut machine = Subscriptions::new();
        let subscribe = |subscriber, namespace| Input::Subscribe {
            subscriber,
            account: ACCOUNT,
            namespace,
            after: None,
            by: None,
        };
        let most = MAX_PER_MAILBOX as u64;
        for subscriber in 0..most {
            machine.handle(Time::ZERO, subscribe(subscriber, INBOX));
        }
        outputs(&mut machine);
        machine.handle(Time::ZERO, subscribe(most, INBOX));
        assert_eq!(outputs(&mut machine), [Output::End { subscriber: most, code: Code::TooMany }]);
        machine.handle(Time::ZERO, subscribe(most, Namespace(1)));
        assert!(matches!(outputs(&mut machine)[..], [Output::Accept { .. }, Output::Push { .. }]));
        machine.handle(Time::ZERO, Input::Unsubscribe { subscriber: 0 });
        machine.handle(Time::ZERO, subscribe(most + 1, INBOX));
        assert_eq!(outputs(&mut machine).len(), 2, "there is room again");
    }
}
