//! What those believe of a network who follow no chain: the members and maps of the newest checkpoint that
//! more than two thirds of the members have signed whom they trusted before.
//!
//! They begin with the nodes of the network file, which names their keys. A checkpoint that was believed says
//! who may sign the next ones: any later one, as long as enough of them are still there. Whoever was away for
//! longer goes through those that nodes keep of changes ([`Archive`]).
//!
//! Trust has an age, counted from the border of the checkpoint that was believed last, or from when the network file
//! was written. Nodes have something to lose for as long as their stakes are bound; of those that were nodes before
//! that nothing is believed, whatever they sign. Then a newer network file has to say who the nodes are.
//!
//! A signature is checked with the key that is trusted, never with one that the checkpoint brings: keys that
//! nobody has proven to hold could be made up so that they cancel others out.

use core::num::NonZeroU64;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_bytes::ByteArray;
use session_protocols::{
    NodeId, Prefix, Span, SwarmMap, Time,
    directory::{CheckpointPage, Request, SignedCheckpoint, checkpoint::Member},
};

use crate::{
    bls::BlsSignature,
    ledger::{BlsKey, Checkpoint, Domain, Listed, Roll},
    network::NetworkFile,
};

mod wire;

#[cfg(test)]
mod tests;

/// Checkpoints that a node keeps for those who were away. Each step from one to another may be a third of the
/// members.
pub const MAX_KEPT: usize = 64;
/// How far a border may lie ahead of the own clock.
const MAX_AHEAD: Span = Span::secs(60);

/// When the epochs of a network end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// When epoch 0 begins, in seconds since 1970.
    pub genesis: u64,
    /// Seconds of an epoch.
    pub seconds: NonZeroU64,
}

impl Epochs {
    /// When an epoch ends, and the next one begins.
    pub const fn end(&self, epoch: u64) -> Time {
        let seconds = epoch.saturating_add(1).saturating_mul(self.seconds.get());
        Time::from_millis(self.genesis.saturating_add(seconds).saturating_mul(1_000))
    }

    /// The epoch of an instant; 0 before there was any.
    pub const fn at(&self, now: Time) -> u64 {
        (now.as_millis() / 1_000).saturating_sub(self.genesis) / self.seconds.get()
    }
}

/// A checkpoint, what it says about members and maps, and who signed it; whether that is to be believed is
/// another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What was signed; the height of its border may be 0, which is not part of it.
    pub checkpoint: Checkpoint,
    /// What two of its roots stand for.
    pub roll: Arc<Roll>,
    /// Signatures of members.
    pub signatures: BTreeMap<NodeId, BlsSignature>,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// The bytes are none.
    #[error("not a checkpoint")]
    Bytes,
    /// Something in it cannot be.
    #[error("a checkpoint whose {what} cannot be")]
    Form {
        /// What.
        what: &'static str,
    },
    /// It is no newer than what is known.
    #[error("not newer than the checkpoint known")]
    NotNewer,
    /// Its epoch has not ended.
    #[error("a checkpoint from the future")]
    Ahead,
    /// It is of a time whose nodes may have nothing to lose any more.
    #[error("it is {} old, and believed for {} at most", words(*.age), words(*.most))]
    Old {
        /// How old it is.
        age: Span,
        /// For how long it could be believed.
        most: Span,
    },
    /// Too few of the members that are trusted have signed it.
    #[error("{found} of the {trusted} nodes that are trusted have signed, and more than two thirds have to")]
    Signatures {
        /// How many have.
        found: usize,
        /// How many are trusted.
        trusted: usize,
    },
    /// The signatures do not hold.
    #[error("signatures that do not hold")]
    Forged,
}

impl Signed {
    /// The epoch that ended.
    pub const fn epoch(&self) -> u64 {
        self.checkpoint.border.epoch
    }

    /// Whether more than two thirds of those who hold these keys have signed it.
    fn check(&self, keys: &BTreeMap<NodeId, BlsKey>) -> Result<(), Distrust> {
        let digest = self.checkpoint.digest.as_slice();
        let signed = self.signatures.iter().filter_map(|(node, one)| Some((*keys.get(node)?, *one)));
        let mut signed: Vec<_> = signed.collect();
        let enough = |found: usize| found.saturating_mul(3) > keys.len().saturating_mul(2);
        let (by, signatures): (Vec<_>, Vec<_>) = signed.iter().copied().unzip();
        let sum = BlsSignature::aggregate(&signatures).filter(|_| enough(signatures.len()));
        if sum.is_some_and(|sum| sum.verify(&by, digest)) {
            return Ok(());
        }
        // One that has another key by now, or lies, must not spoil what the others signed.
        let before = signed.len();
        if enough(before) {
            signed.retain(|(key, one)| one.verify(&[*key], digest));
        }
        let (found, trusted) = (signed.len(), keys.len());
        match enough(found) {
            true => Ok(()),
            false if found == 0 && enough(before) => Err(Distrust::Forged),
            false => Err(Distrust::Signatures { found, trusted }),
        }
    }
}

/// Who has to sign what is believed next.
#[derive(Clone, Debug)]
struct Signers {
    keys: BTreeMap<NodeId, BlsKey>,
    /// When they were the nodes of the network.
    since: Time,
}

/// What is trusted.
#[derive(Clone, Debug)]
pub struct Trusted {
    domain: Domain,
    epochs: Epochs,
    /// For how long.
    most: Span,
    /// Those that the network file names.
    first: Arc<Signers>,
    signers: Arc<Signers>,
    last: Option<Signed>,
}

impl Trusted {
    /// Trusts the nodes that a network file names with their keys. None without a chain.
    pub fn new(file: &NetworkFile) -> Option<Self> {
        let settlement = file.settlement.as_ref()?;
        let epochs = Epochs { genesis: settlement.genesis, seconds: settlement.epoch };
        let keys = file.nodes.iter().filter_map(|node| Some((node.id, node.bls?))).collect();
        let since = Time::from_millis(settlement.written.saturating_mul(1_000));
        let first = Arc::new(Signers { keys, since });
        let (domain, most) = (settlement.domain(), Span::secs(settlement.trust));
        Some(Self { domain, epochs, most, signers: Arc::clone(&first), first, last: None })
    }

    /// Whether anybody can be believed at `now`.
    ///
    /// # Errors
    /// When all that is known of the nodes is too old.
    pub fn check(&self, now: Time) -> Result<(), Distrust> {
        self.is_young(now, self.signers.since)
    }

    /// Lets go of what was believed last if it is too old at `now`, so that those are trusted whom the network file
    /// names: it may be a newer one. Whether it was.
    pub fn forget_old(&mut self, now: Time) -> bool {
        let old = self.last.is_some() && self.check(now).is_err();
        if old {
            (self.signers, self.last) = (Arc::clone(&self.first), None);
        }
        old
    }

    fn is_young(&self, now: Time, since: Time) -> Result<(), Distrust> {
        let (age, most) = (now.since(since), self.most);
        if age <= most { Ok(()) } else { Err(Distrust::Old { age, most }) }
    }

    /// When epochs end.
    pub const fn epochs(&self) -> Epochs {
        self.epochs
    }

    /// What was believed last.
    pub const fn last(&self) -> Option<&Signed> {
        self.last.as_ref()
    }

    /// Whether nodes have a newer one by now, by the clock; not before they had `grace` to sign it.
    pub fn is_behind(&self, now: Time, grace: Span) -> bool {
        self.missing(now, grace).is_none_or(|missing| missing > 0)
    }

    /// How many epochs have ended since the one that was believed last, those not counted that nodes have `grace` to
    /// sign; none while nothing is believed.
    pub fn missing(&self, now: Time, grace: Span) -> Option<u64> {
        let settled = Time(now.0.saturating_sub(grace.0));
        let ended = self.epochs.at(settled).checked_sub(1);
        self.last.as_ref().map(|last| ended.map_or(0, |ended| ended.saturating_sub(last.epoch())))
    }

    /// The map that acts from the border of the last checkpoint on, and the one after it and from when, if it is
    /// another.
    pub fn maps(&self) -> Option<(&SwarmMap, Option<(Time, &SwarmMap)>)> {
        let last = self.last.as_ref()?;
        let from = self.epochs.end(last.epoch().saturating_add(1));
        Some((&last.roll.acts, last.roll.next.as_ref().map(|next| (from, next))))
    }

    /// Who agrees on the directory: from the border of the last checkpoint on, and from an epoch later on.
    pub fn listed(&self) -> Option<[(Time, BTreeMap<NodeId, Prefix>); 2]> {
        let Signed { roll, checkpoint, .. } = self.last.as_ref()?;
        let epoch = checkpoint.border.epoch;
        let of = |agrees: fn(&Listed) -> bool| {
            roll.members.iter().filter(|one| agrees(one)).map(|one| (one.node, one.prefix)).collect()
        };
        let now = (self.epochs.end(epoch), of(|one| one.now));
        Some([now, (self.epochs.end(epoch.saturating_add(1)), of(|one| one.later))])
    }

    /// Believes what was fetched, in place of what was known before.
    ///
    /// # Errors
    /// When it is not newer, not signed by enough of those who are trusted, or too old, as they may be themselves; what
    /// was known stays.
    pub fn believe(&mut self, now: Time, found: &SignedCheckpoint) -> Result<(), Distrust> {
        self.check(now)?;
        let known = self.last.as_ref().map(|last| &*last.roll);
        let signed = Signed::read(&self.domain, found, known)?;
        let epoch = signed.epoch();
        if self.last.as_ref().is_some_and(|last| last.epoch() >= epoch) {
            return Err(Distrust::NotNewer);
        }
        if self.epochs.end(epoch) > now.after(MAX_AHEAD) {
            return Err(Distrust::Ahead);
        }
        // Those of the file may have been nodes for long, and signed it long before the file was written.
        self.is_young(now, self.epochs.end(epoch))?;
        signed.check(&self.signers.keys)?;
        self.trust(signed);
        Ok(())
    }

    fn trust(&mut self, signed: Signed) {
        let since = self.epochs.end(signed.epoch());
        self.signers = Arc::new(Signers { keys: signed.roll.keys(), since });
        self.last = Some(signed);
    }

    /// The first epoch whose checkpoint may lead on from here.
    fn next(&self) -> u64 {
        let first = || self.epochs.at(self.first.since);
        self.last.as_ref().map_or_else(first, |last| last.epoch().saturating_add(1))
    }

    /// The bytes to keep until another time; none while nothing was believed.
    pub fn encode(&self) -> Option<Vec<u8>> {
        self.last.as_ref().map(Signed::to_bytes)
    }

    /// Goes on at `now` with what [`Self::encode`] wrote, which has to be kept where nobody else can write: who has
    /// signed it was checked before.
    ///
    /// # Errors
    /// When it is damaged, of another network, or too old.
    pub fn restore(&mut self, now: Time, bytes: &[u8]) -> Result<(), Distrust> {
        let signed = Signed::from_bytes(&self.domain, bytes)?;
        self.is_young(now, self.epochs.end(signed.epoch()))?;
        self.trust(signed);
        Ok(())
    }
}

/// The way from what is trusted to the newest checkpoint: that itself, if enough of those who are trusted have
/// signed it, else through those that lead to it.
#[derive(Debug, Default)]
pub struct Walk {
    at: At,
    asked: usize,
}

/// What a [`Walk`] asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The newest.
    #[default]
    Newest,
    /// The first of this epoch or later.
    Since(u64),
    /// Nothing any more.
    End,
}

impl Walk {
    /// What to ask for next, as [`Request::Checkpoint`] wants it; none once the newest is believed.
    pub const fn since(&self) -> Option<Option<u64>> {
        match self.at {
            At::Newest => Some(None),
            At::Since(epoch) => Some(Some(epoch)),
            At::End => None,
        }
    }

    /// Takes what was given for that. Whether it is believed, and so to be kept.
    ///
    /// # Errors
    /// When it leads nowhere: whoever gave it hides something or knows too little, and somebody else is to be
    /// asked. The walk has ended then.
    pub fn take(
        &mut self,
        trusted: &mut Trusted,
        now: Time,
        found: &SignedCheckpoint,
    ) -> Result<bool, Distrust> {
        let at = core::mem::replace(&mut self.at, At::End);
        self.asked = self.asked.saturating_add(1);
        match (trusted.believe(now, found), at) {
            (Ok(()), At::Since(_)) => self.at = At::Newest,
            (Ok(()), At::Newest | At::End) => {}
            // Nobody has a newer one: what is known goes on.
            (Err(Distrust::NotNewer), At::Newest) => return Ok(false),
            // Each step but the last may take two questions.
            (Err(Distrust::Signatures { .. }), At::Newest) if self.asked <= 2 * MAX_KEPT => {
                self.at = At::Since(trusted.next());
                return Ok(false);
            }
            (Err(error), _) => return Err(error),
        }
        Ok(true)
    }
}

/// The checkpoints that a node hands out: the newest, and of those before it each whose members are others
/// than those of the one before.
#[derive(Clone, Debug, Default)]
pub struct Archive(BTreeMap<u64, Arc<SignedCheckpoint>>);

impl Archive {
    /// Takes one in that most members have signed, in place of what was known of its epoch. Returns the epochs
    /// of those that are no longer kept.
    pub fn keep(&mut self, signed: Arc<SignedCheckpoint>) -> Vec<u64> {
        let before: BTreeSet<u64> = self.0.keys().copied().collect();
        self.0.insert(signed.head.epoch, signed);
        let (mut last, newest) = (None, self.0.keys().next_back().copied());
        self.0.retain(|epoch, one| {
            let changed = last.replace(Arc::clone(one)).is_none_or(|last| !same_keys(&last, one));
            changed || Some(*epoch) == newest
        });
        while self.0.len() > MAX_KEPT {
            self.thin();
        }
        before.into_iter().filter(|epoch| !self.0.contains_key(epoch)).collect()
    }

    /// The newest, or the first of the epoch `since` and later ones.
    pub fn get(&self, since: Option<u64>) -> Option<&Arc<SignedCheckpoint>> {
        match since {
            None => self.0.last_key_value().map(|(_, one)| one),
            Some(since) => self.0.range(since..).next().map(|(_, one)| one),
        }
    }

    /// That of one epoch.
    pub fn of(&self, epoch: u64) -> Option<&Arc<SignedCheckpoint>> {
        self.0.get(&epoch)
    }

    /// Drops the first that nobody needs who comes this way: whoever believed the one before it believes the one
    /// behind it. If all are needed the oldest goes.
    fn thin(&mut self) {
        let all: Vec<_> = self.0.iter().collect();
        let spare = all.windows(3).find_map(|three| match three {
            [(_, before), (epoch, _), (_, behind)] => carries(before, behind).then_some(**epoch),
            _ => None,
        });
        match spare {
            Some(epoch) => drop(self.0.remove(&epoch)),
            None => drop(self.0.pop_first()),
        }
    }

    /// A page, as it is asked for; none where there is none.
    pub fn page(&self, request: &Request) -> Option<CheckpointPage> {
        let Request::Checkpoint { since, have, from } = request else { return None };
        let (one, from) = match from {
            Some((epoch, from)) => (self.of(*epoch)?, *from),
            None => (self.get(*since)?, 0),
        };
        Some(one.page(have.as_deref(), from))
    }
}

/// A span as people say it.
fn words(span: Span) -> String {
    const HOUR: u64 = 3_600;
    match span.as_millis() / 1_000 {
        seconds @ ..HOUR => format!("{seconds} s"),
        seconds @ HOUR..172_800 => format!("{} h", seconds / HOUR),
        seconds => format!("{} days", seconds / (24 * HOUR)),
    }
}

/// Whether whoever trusts the members of `one` believes `later`.
fn carries(one: &SignedCheckpoint, later: &SignedCheckpoint) -> bool {
    let keys = |of: &SignedCheckpoint| -> BTreeMap<NodeId, ByteArray<96>> {
        of.members.iter().filter_map(|member| Some((member.node, member.key?))).collect()
    };
    let (trusted, present) = (keys(one), keys(later));
    let signer =
        |(place, _): &(u32, ByteArray<96>)| Some(later.members.get(usize::try_from(*place).ok()?)?.node);
    let signers = later.head.signatures.iter().filter_map(signer);
    let known = |node: &NodeId| trusted.get(node).is_some_and(|key| present.get(node) == Some(key));
    signers.filter(known).count().saturating_mul(3) > trusted.len().saturating_mul(2)
}

fn same_keys(one: &SignedCheckpoint, other: &SignedCheckpoint) -> bool {
    let key = |member: &Member| (member.node, member.key);
    one.members.len() == other.members.len()
        && one.members.iter().zip(&other.members).all(|(one, other)| key(one) == key(other))
}
