//! The state of one message hash, which is the same under every order of arrival.
//!
//! A record joins two registers. *Life* says whether the message is there: unsigned stores join to
//! the earliest time and the latest expiry, and any signed store or deletion stands above them, the
//! latest signed time winning, ties by the request's digest. *Change* is the latest signed change of
//! expiry; it counts when it was signed after the store that it changes. Joining is commutative,
//! associative and idempotent, so members that have seen the same requests hold the same state, and
//! nothing deleted comes back except by its owner's later signed store.

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, MessageHash, Namespace, NetworkName, Span, Time,
    answer::{Code, Subject},
    identity::blake2b,
    request::{Claims, Delete, Expire, MAX_TTL, Replacement, Revoke, Source, Store},
};

/// When and by which request something was signed; the order in which the last one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The signed time, in milliseconds since 1970.
    pub time: u64,
    /// The digest of the signed statement.
    pub digest: [u8; 32],
}

/// Whether a message is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Stored without a signature, once or often.
    Unsigned {
        /// The earliest time given, in milliseconds since 1970.
        timestamp: u64,
        /// The latest end given, in milliseconds since 1970.
        expiry: u64,
    },
    /// Stored by its owner.
    Stored {
        /// When it was signed.
        stamp: Stamp,
        /// The message's time.
        timestamp: u64,
        /// The message's end.
        expiry: u64,
        /// The log row that keeps the signed request.
        row: u64,
    },
    /// Deleted by its owner: a tombstone. Of a revocation: undone.
    Deleted {
        /// When it was signed.
        stamp: Stamp,
        /// The log row that keeps the signed request.
        row: u64,
    },
    /// No message, but a subaccount whose rights its owner took away. It does not end.
    Revoked {
        /// When it was signed.
        stamp: Stamp,
        /// The log row that keeps the signed request.
        row: u64,
    },
}

/// A signed change of expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it was signed.
    pub stamp: Stamp,
    /// The new end, in milliseconds since 1970.
    pub expiry: u64,
    /// The log row that keeps the signed request.
    pub row: u64,
}

/// Where this member keeps a message that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place in the order of arrivals: the sequence of the row that brought it.
    pub sequence: u64,
    /// The log row that holds the bytes.
    pub row: u64,
    /// Its drawer.
    pub namespace: Namespace,
    /// Its length in bytes.
    pub size: u32,
}

/// All that a member knows of one message hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Whether it is there; none when only a change of expiry is known.
    pub life: Option<Life>,
    /// The latest signed change of expiry.
    pub change: Option<Change>,
    /// Where its bytes are; none when it is deleted or was never held.
    pub place: Option<Place>,
}

/// The end of what does not end, in milliseconds since 1970: in the last [`Bucket`](crate::store::Bucket).
pub const FOREVER: u64 = u64::MAX / 2;

/// What a record takes up beside its message, in bytes; it counts against the account's quota. So
/// does a signed request that is kept as evidence.
pub const RECORD_COST: u64 = 256;
/// What each hash that such a request names takes up, in bytes.
pub const HASH_COST: u64 = 36;

impl Record {
    /// When the message ends, in milliseconds since 1970; none when it is not there.
    pub fn expiry(&self) -> Option<u64> {
        match self.life? {
            Life::Unsigned { expiry, .. } | Life::Stored { expiry, .. } => {
                Some(self.counting_change().map_or(expiry, |change| change.expiry))
            }
            Life::Deleted { .. } | Life::Revoked { .. } => None,
        }
    }

    /// The change of expiry, if it was signed after the store that it changes.
    pub fn counting_change(&self) -> Option<Change> {
        self.change.filter(|change| match self.life {
            None | Some(Life::Unsigned { .. }) => true,
            Some(Life::Stored { stamp, .. }) => change.stamp > stamp,
            Some(Life::Deleted { .. } | Life::Revoked { .. }) => false,
        })
    }

    /// When the record itself may be forgotten, in milliseconds since 1970.
    ///
    /// A tombstone lasts the longest life of a message from its deletion, and so does a change of
    /// expiry: what it stands above may have been any change before it, up to the longest extension,
    /// and a member that missed it would bring the message back.
    pub fn until(&self) -> u64 {
        let changed = |change: Change| change.expiry.max(remembered(change.stamp));
        match self.life {
            Some(Life::Deleted { stamp, .. }) => remembered(stamp),
            Some(Life::Revoked { stamp, .. }) if crate::mutants::on("forget-revocation") => {
                stamp.time.saturating_add(60_000)
            }
            Some(Life::Revoked { .. }) => FOREVER,
            Some(Life::Unsigned { expiry, .. } | Life::Stored { expiry, .. }) => {
                if crate::mutants::on("forget-early-end") {
                    return self.expiry().unwrap_or_default();
                }
                self.counting_change().map_or(expiry, changed)
            }
            None => self.change.map_or(0, changed),
        }
    }

    /// When the message itself may go, in milliseconds since 1970, where that is before the record may be
    /// forgotten: a change of expiry outlives what it ended, see [`Self::without_message`].
    pub fn sheds(&self) -> Option<u64> {
        self.life?;
        let change = self.counting_change()?;
        Some(change.expiry.saturating_add(SHED_AFTER.as_millis())).filter(|sheds| *sheds < self.until())
    }

    /// What is left of the record once its message has gone: the change that ended it, which stands
    /// above every store that it stood above.
    pub const fn without_message(&self) -> Self {
        Self { life: None, change: self.change, place: None }
    }

    /// The record as it is to be kept at `now` (milliseconds since 1970); none when it is over.
    pub fn at(self, now: u64) -> Option<Self> {
        let shed = self.sheds().is_some_and(|sheds| sheds <= now);
        let kept = if shed { self.without_message() } else { self };
        (kept.until() > now).then_some(kept)
    }

    /// When [`Self::at`] changes, in milliseconds since 1970: once, or twice.
    pub fn dues(&self) -> impl Iterator<Item = u64> {
        self.sheds().into_iter().chain([self.until()])
    }

    /// Whether the message is there to be read at `now`.
    pub fn readable(&self, now: Time) -> bool {
        self.place.is_some() && self.expiry().is_some_and(|expiry| expiry > now.as_millis())
    }

    /// Whether its owner deleted it.
    pub const fn deleted(&self) -> bool {
        matches!(self.life, Some(Life::Deleted { .. }))
    }

    /// When a revocation was signed; none of anything else.
    pub const fn revoked(&self) -> Option<Stamp> {
        match self.life {
            Some(Life::Revoked { stamp, .. }) => Some(stamp),
            Some(Life::Unsigned { .. } | Life::Stored { .. } | Life::Deleted { .. }) | None => None,
        }
    }

    /// The message's time, in milliseconds since 1970.
    pub const fn timestamp(&self) -> Option<u64> {
        match self.life {
            Some(Life::Unsigned { timestamp, .. } | Life::Stored { timestamp, .. }) => Some(timestamp),
            Some(Life::Deleted { .. } | Life::Revoked { .. }) | None => None,
        }
    }

    /// Bytes that this record takes up, its message included.
    pub fn cost(&self) -> u64 {
        self.place.map_or(RECORD_COST, |place| RECORD_COST.saturating_add(u64::from(place.size)))
    }

    /// Joins a life into the record; tells whether that changed it.
    pub fn join_life(&mut self, new: Life) -> bool {
        let joined = match (self.life, new) {
            (
                Some(Life::Unsigned { timestamp, expiry }),
                Life::Unsigned { timestamp: other_timestamp, expiry: other_expiry },
            ) => {
                Life::Unsigned { timestamp: timestamp.min(other_timestamp), expiry: expiry.max(other_expiry) }
            }
            (Some(Life::Deleted { .. }), Life::Unsigned { .. })
                if crate::mutants::on("unsigned-resurrects") =>
            {
                new
            }
            (Some(old), new) if rank(&new) <= rank(&old) => old,
            (_, new) => new,
        };
        let changed = self.life != Some(joined);
        self.life = Some(joined);
        changed
    }

    /// Joins a change of expiry into the record; tells whether that changed it.
    pub fn join_change(&mut self, new: Change) -> bool {
        let wins = self.change.is_none_or(|old| new.stamp > old.stamp);
        if wins {
            self.change = Some(new);
        }
        wins
    }

    /// The id under which members compare this record: it covers the hash and the state.
    ///
    /// Where a member keeps the bytes is its own affair and not part of it, nor is a change of
    /// expiry that does not count.
    pub fn id(&self, account: &AccountId, hash: &MessageHash) -> [u8; 32] {
        let mut life = Vec::with_capacity(64);
        let (tag, stamp, times) = match self.life {
            None => (0, None, None),
            Some(Life::Unsigned { timestamp, expiry }) => (1, None, Some((timestamp, expiry))),
            Some(Life::Stored { stamp, timestamp, expiry, .. }) => {
                (2, Some(stamp), Some((timestamp, expiry)))
            }
            Some(Life::Deleted { stamp, .. }) => (3, Some(stamp), None),
            Some(Life::Revoked { stamp, .. }) => (5, Some(stamp), None),
        };
        life.push(tag);
        if let Some(stamp) = stamp {
            life.extend_from_slice(&stamp.time.to_be_bytes());
            life.extend_from_slice(&stamp.digest);
        }
        if let Some((timestamp, expiry)) = times {
            life.extend_from_slice(&timestamp.to_be_bytes());
            life.extend_from_slice(&expiry.to_be_bytes());
        }
        if let Some(change) = self.counting_change() {
            life.push(4);
            life.extend_from_slice(&change.stamp.time.to_be_bytes());
            life.extend_from_slice(&change.stamp.digest);
            life.extend_from_slice(&change.expiry.to_be_bytes());
        }
        blake2b(&[account.as_bytes(), &hash.0, &life])
    }
}

/// How long a message is kept that a change of expiry has ended: members' clocks differ, and one that
/// missed the change is to find it before it finds the message gone.
pub const SHED_AFTER: Span = Span::secs(600);

/// Until when it matters what was signed then: the longest life of a message.
pub(crate) const fn remembered(stamp: Stamp) -> u64 {
    stamp.time.saturating_add(MAX_TTL.as_millis())
}

/// Unsigned stores stand below everything that was signed.
const fn rank(life: &Life) -> (u64, [u8; 32], bool) {
    match life {
        Life::Unsigned { .. } => (0, [0; 32], false),
        Life::Stored { stamp, .. } => (stamp.time, stamp.digest, true),
        Life::Deleted { stamp, .. } | Life::Revoked { stamp, .. } => (stamp.time, stamp.digest, true),
    }
}

/// One mutation of a mailbox, with all that another member needs to check and repeat it.
///
/// `held` names the hashes that the sender of it changed, or knew to be changed: a member takes its word
/// for those that it does not know itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// A message to keep.
    Store(Store),
    /// A message took the place of others of its drawer.
    Replace {
        /// What its owner signed.
        request: Replacement,
        /// The others.
        held: Vec<MessageHash>,
    },
    /// A deletion.
    Delete {
        /// As its owner signed it.
        request: Delete,
        /// Which messages.
        held: Vec<MessageHash>,
    },
    /// A change of expiry.
    Expire {
        /// As its owner signed it.
        request: Expire,
        /// Which messages.
        held: Vec<MessageHash>,
    },
    /// Rights that were taken from subaccounts, or given back.
    Revoke {
        /// As the owner signed it.
        request: Revoke,
        /// The hashes of tokens that are given back; of those that are taken away, where not all are meant.
        held: Vec<MessageHash>,
    },
}

impl Mutation {
    /// Whose mailbox it changes.
    pub const fn account(&self) -> &AccountId {
        match self {
            Self::Store(request) => &request.account,
            Self::Replace { request, .. } => &request.account,
            Self::Delete { request, .. } => &request.account,
            Self::Expire { request, .. } => &request.account,
            Self::Revoke { request, .. } => &request.account,
        }
    }

    /// When it was signed, and by which request; none of a stranger's store.
    pub fn stamp(&self, network: &NetworkName) -> Option<Stamp> {
        let (time, statement) = match self {
            Self::Store(request) => {
                let time = request.auth.as_ref()?.time;
                (time, request.statement(network, time))
            }
            Self::Replace { request, .. } => {
                (request.auth.time, request.statement(network, request.auth.time))
            }
            Self::Delete { request, .. } => {
                (request.auth.time, request.statement(network, request.auth.time))
            }
            Self::Expire { request, .. } => {
                (request.auth.time, request.statement(network, request.auth.time))
            }
            Self::Revoke { request, .. } => {
                (request.auth.time, request.statement(network, request.auth.time))
            }
        };
        Some(Stamp { time, digest: statement.digest() })
    }

    /// What receipts for it are about.
    pub fn subject(&self, network: &NetworkName) -> Subject {
        match self {
            Self::Store(request) => {
                let (account, namespace, hash) = (request.account, request.namespace, request.hash());
                Subject::Message { account, namespace, hash }
            }
            Self::Replace { .. } | Self::Delete { .. } | Self::Expire { .. } | Self::Revoke { .. } => {
                let digest = self.stamp(network).unwrap_or_default().digest;
                Subject::Request { account: *self.account(), digest }
            }
        }
    }

    /// Checks, as another member's word, all but the signatures that it gives back.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time) -> Claims {
        let few = |held: &[MessageHash]| if held.len() > MAX_HELD { Err(Code::TooLarge) } else { Ok(()) };
        match self {
            Self::Store(request) => request.claims(network, now, Source::Member),
            Self::Replace { request, held } => few(held).and_then(|()| request.claims(network, now)),
            Self::Delete { request, held } => {
                few(held).and_then(|()| request.claims(network, now, Source::Member))
            }
            Self::Expire { request, held } => {
                few(held).and_then(|()| request.claims(network, now, Source::Member))
            }
            Self::Revoke { request, held } => {
                few(held).and_then(|()| request.claims(network, now, Source::Member))
            }
        }
    }

    /// Whether it can be the evidence of what became of a message that lies in `namespace`, sent at
    /// `timestamp`.
    pub fn covers(&self, namespace: Namespace, timestamp: u64) -> bool {
        match self {
            Self::Store(request) => request.namespace == namespace,
            Self::Replace { request, .. } => request.namespace == namespace,
            Self::Delete { request: Delete { which, auth, .. }, .. }
            | Self::Expire { request: Expire { which, auth, .. }, .. } => {
                which.covers(auth.time, namespace, timestamp)
            }
            Self::Revoke { .. } => false,
        }
    }

    /// It without the hashes that its sender held, which its owner did not sign.
    pub fn evidence(&self) -> Self {
        let mut evidence = self.clone();
        evidence.held_mut().map(Vec::clear);
        evidence
    }

    /// The hashes that its sender changed; none of a store.
    pub const fn held_mut(&mut self) -> Option<&mut Vec<MessageHash>> {
        match self {
            Self::Store(_) => None,
            Self::Replace { held, .. }
            | Self::Delete { held, .. }
            | Self::Expire { held, .. }
            | Self::Revoke { held, .. } => Some(held),
        }
    }

    /// The same as it is passed on for one hash.
    pub fn about(mut self, hash: MessageHash) -> Self {
        if let Some(held) = self.held_mut() {
            *held = vec![hash];
        }
        self
    }

    /// How many hashes or tokens it names.
    fn names(&self) -> usize {
        match self {
            Self::Store(_) => 0,
            Self::Replace { held, .. } => held.len(),
            Self::Delete { request, held } => request.which.hashes().len().saturating_add(held.len()),
            Self::Expire { request, held } => request.which.hashes().len().saturating_add(held.len()),
            Self::Revoke { request, held } => request.tokens.len().saturating_add(held.len()),
        }
    }

    /// Bytes that it takes up when it is kept as the evidence of a deletion or change of expiry.
    pub fn evidence_cost(&self) -> u64 {
        RECORD_COST.saturating_add(HASH_COST.saturating_mul(self.names() as u64))
    }

    /// About how many bytes it takes on the wire.
    pub fn weight(&self) -> usize {
        const HEAD: usize = 768;
        const NAME: usize = 40;
        let data = match self {
            Self::Store(request) => request.data.len(),
            Self::Replace { .. } | Self::Delete { .. } | Self::Expire { .. } | Self::Revoke { .. } => 0,
        };
        data.saturating_add(self.names().saturating_mul(NAME)).saturating_add(HEAD)
    }
}

/// The most hashes that a mutation says its sender changed.
pub const MAX_HELD: usize = crate::request::MAX_BULK_JSON;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Life(Life),
        Change(Change),
    }

    fn stamp() -> impl Strategy<Value = Stamp> {
        (1_u64..6, 0_u8..3).prop_map(|(time, digest)| Stamp { time, digest: [digest; 32] })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u64..5, 5_u64..9)
                .prop_map(|(timestamp, expiry)| Step::Life(Life::Unsigned { timestamp, expiry })),
            // Times follow from the request, so equal stamps mean equal requests.
            stamp().prop_map(|stamp| {
                let spread = u64::from(stamp.digest[0]);
                Step::Life(if spread == 1 {
                    Life::Deleted { stamp, row: 0 }
                } else {
                    Life::Stored { stamp, timestamp: spread, expiry: stamp.time + spread + 9, row: 0 }
                })
            }),
            stamp().prop_map(|stamp| Step::Change(Change { stamp, expiry: stamp.time * 3, row: 0 })),
        ]
    }

    fn joined(steps: &[Step]) -> Record {
        let mut record = Record::default();
        for step in steps {
            match step {
                Step::Life(life) => record.join_life(*life),
                Step::Change(change) => record.join_change(*change),
            };
        }
        record
    }

    proptest! {
        #[test]
        fn any_order_and_any_repeats_give_one_state(
            steps in proptest::collection::vec(step(), 0..8)
                .prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle())),
        ) {
            let (first, second) = steps;
            let twice: Vec<_> = second.iter().chain(&first).cloned().collect();
            prop_assert_eq!(joined(&first), joined(&second));
            prop_assert_eq!(joined(&first), joined(&twice));
        }

        #[test]
        fn only_a_later_signed_store_brings_back_what_was_deleted(
            before in proptest::collection::vec(step(), 0..5),
            deletion in stamp(),
            after in proptest::collection::vec(step(), 0..5),
        ) {
            let deletion = Stamp { digest: [1; 32], ..deletion };
            let steps: Vec<_> = before.iter().cloned()
                .chain([Step::Life(Life::Deleted { stamp: deletion, row: 0 })])
                .chain(after.iter().cloned()).collect();
            let revived = steps.iter().any(|step| matches!(
                step, Step::Life(Life::Stored { stamp, .. }) if *stamp > deletion));
            prop_assert!(joined(&steps).deleted() || revived);
        }
    }

    #[test]
    fn a_repeated_unsigned_store_extends_and_never_shortens() {
        let mut record = Record::default();
        assert!(record.join_life(Life::Unsigned { timestamp: 5, expiry: 20 }));
        assert!(!record.join_life(Life::Unsigned { timestamp: 6, expiry: 10 }));
        assert_eq!(record.expiry(), Some(20));
        assert!(record.join_life(Life::Unsigned { timestamp: 6, expiry: 30 }));
        assert_eq!((record.expiry(), record.timestamp()), (Some(30), Some(5)));
    }

    #[test]
    fn a_change_counts_when_signed_after_the_store() {
        let stamp = |time| Stamp { time, digest: [0; 32] };
        let mut record = Record::default();
        record.join_life(Life::Stored { stamp: stamp(5), timestamp: 1, expiry: 50, row: 0 });
        record.join_change(Change { stamp: stamp(4), expiry: 10, row: 0 });
        assert_eq!(record.expiry(), Some(50));
        record.join_change(Change { stamp: stamp(6), expiry: 10, row: 0 });
        assert_eq!(record.expiry(), Some(10));
    }
}
