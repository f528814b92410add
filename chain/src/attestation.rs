//! How the nodes attest a checkpoint: each signs once, any of them adds the signatures up, one submits.
//!
//! A share is gossiped when the node's own ledger has crossed the border and is durable. Whoever holds shares
//! of more than two thirds of those who may sign adds them up. Whose turn it is to pay for the transaction
//! follows from the checkpoint; who comes next waits longer, until the contract says that it has it.
//!
//! Most of a large network may have nothing to pay with, and nobody knows who has. So the turns come the faster
//! the more have passed: the second waits a pause, the third half of one more, the fourth a third. From any turn
//! to the one with twice its number it is as long, so whatever part of the nodes can pay, the first of these is
//! some time before the second; and 2,000 turns take eight pauses. All fit into half an epoch.
//!
//! Of how few nodes the contract takes a checkpoint is one of its parameters. Where there are fewer they sign all the
//! same, for those who follow no chain, and nobody submits.
//!
//! A node whose endpoints disagree signs nothing, and says so to the others with a [`Report`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use session_protocols::{Span, Time, codec, directory::Verdict, identity::blake2b};

use crate::{
    bls::{BlsSecret, BlsSignature},
    ledger::{BlsKey, Checkpoint, MINIMUM_NODES, StakeId},
};

use report::Reports;
pub use report::{Holding, Report};

mod report;
#[cfg(test)]
mod tests;

/// The most bytes of a share.
pub const MAX_SHARE: usize = 512;
/// Epochs whose shares are held; the oldest goes.
pub const MAX_ROUNDS: usize = 4;
/// How long the second waits for its turn to submit, unless turns would take more than half an epoch then.
const PAUSE: Span = Span::secs(60);
/// Digests beside the own one that are told apart in one epoch; more are counted as one.
const MAX_OTHERS: usize = 16;

/// One node's signature under a checkpoint, as it travels on `<net>/checkpoints`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The epoch that ended.
    pub epoch: u64,
    /// What is signed: [`Checkpoint::digest`].
    pub digest: ByteArray<32>,
    /// Who signed it: the number of its registration.
    pub id: u64,
    /// The signature, a compressed point of G2.
    pub signature: ByteArray<96>,
}

/// What the machine is fed.
#[expect(clippy::large_enum_variant, reason = "short-lived, and few of the large one")]
#[derive(Clone, Debug)]
pub enum Input {
    /// This node's ledger crossed a border, and what it says there is durable.
    Crossed {
        /// What the ledger says.
        checkpoint: Checkpoint,
        /// Who may sign it: all who held a stake at the border.
        signers: BTreeMap<StakeId, BlsKey>,
        /// The fewest signers of whom the contract takes it.
        least: u64,
    },
    /// A share arrived by gossip, or was made here; its signature was checked, if [`Attestation::key`] knew
    /// its signer.
    Share {
        /// The share.
        share: Share,
        /// The gossip message to judge, if it came by gossip.
        message: Option<u64>,
    },
    /// This node's endpoints disagree, and its ledger stands still here.
    Holds {
        /// The epoch that ends next.
        epoch: u64,
        /// The last block of which all is known.
        height: u64,
        /// What [`Report::rolled`] makes of the cursors there.
        hash: B256,
    },
    /// This node's ledger has come here.
    Been {
        /// The last block of which all is known.
        height: u64,
        /// What [`Report::rolled`] makes of the cursors there.
        hash: B256,
    },
    /// A report arrived by gossip; its signature was checked, if [`Attestation::holder`] knew its signer.
    Report {
        /// The report.
        report: Report,
        /// The gossip message to judge.
        message: u64,
    },
    /// A share or report whose signature does not hold, or what is neither.
    Garbage {
        /// The gossip message to judge.
        message: u64,
    },
    /// The contract accepted a checkpoint.
    Accepted {
        /// Of this epoch.
        epoch: u64,
    },
    /// Time has passed.
    Tick,
}

/// What the host must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Sign this, gossip the share, and feed it back.
    Sign {
        /// The epoch that ended.
        epoch: u64,
        /// What to sign.
        digest: B256,
    },
    /// Sign this report, and gossip it.
    Report {
        /// The epoch that ends next.
        epoch: u64,
        /// The last block of which all is known.
        height: u64,
        /// What is known there.
        hash: B256,
    },
    /// Judge a gossip message.
    Judge {
        /// The number that it came with.
        message: u64,
        /// What to do with it.
        verdict: Verdict,
    },
    /// Submit this, unless the contract has it.
    Submit {
        /// What was signed.
        checkpoint: Box<Checkpoint>,
        /// The sum of the signatures.
        signature: BlsSignature,
        /// Who did not sign.
        absent: Vec<StakeId>,
    },
    /// More than two thirds have signed, or one more than before: [`Attestation::signed`] has them.
    Signed {
        /// The epoch that ended.
        epoch: u64,
    },
    /// More than a third of those who may sign say something else of this epoch: this node's ledger is wrong,
    /// or theirs.
    Disagree {
        /// The epoch.
        epoch: u64,
        /// How many say what this node says.
        with: usize,
        /// How many say something else.
        against: usize,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Attestation {
    me: Option<StakeId>,
    /// How long an epoch lasts.
    epoch: Span,
    rounds: BTreeMap<u64, Round>,
    /// Shares of the epoch that ends next, and the key that each was checked with: one of each stake, and of
    /// nobody else.
    early: BTreeMap<StakeId, (Share, BlsKey)>,
    /// Who holds a stake by now: most of them can sign at the next border.
    keys: BTreeMap<StakeId, BlsKey>,
    next: Option<u64>,
    accepted: Option<u64>,
    reports: Reports,
    /// The place that this node reported last.
    reported: Option<(u64, u64, B256)>,
    outbox: VecDeque<Output>,
}

/// The signatures under one checkpoint.
#[derive(Debug)]
struct Round {
    checkpoint: Checkpoint,
    signers: BTreeMap<StakeId, BlsKey>,
    shares: BTreeMap<StakeId, BlsSignature>,
    /// Who says something else.
    others: BTreeMap<B256, BTreeSet<StakeId>>,
    told: bool,
    /// Whether the contract would take it: enough may sign it.
    taken: bool,
    /// Whether the contract has it, or a later one.
    done: bool,
    /// When it is this node's turn; later again if nobody's transaction made it.
    submit_at: Option<Time>,
}

impl Share {
    /// Signs a checkpoint's digest.
    pub fn sign(id: StakeId, secret: &BlsSecret, epoch: u64, digest: B256) -> Self {
        let signature = secret.sign(digest.as_slice()).0.into();
        Self { epoch, digest: digest.0.into(), id: id.0, signature }
    }

    /// Whether it was signed with `key`.
    pub fn is_signed(&self, key: &BlsKey) -> bool {
        BlsSignature(*self.signature).verify(&[*key], &*self.digest)
    }

    /// As it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads one as it travels.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode(bytes, MAX_SHARE)
    }
}

impl Attestation {
    /// A machine for the node with this registration; one without watches only. Within half an `epoch`
    /// everybody has a turn to submit.
    pub fn new(me: Option<StakeId>, epoch: Span) -> Self {
        Self {
            me,
            epoch,
            rounds: BTreeMap::new(),
            early: BTreeMap::new(),
            keys: BTreeMap::new(),
            next: None,
            accepted: None,
            reports: Reports::default(),
            reported: None,
            outbox: VecDeque::new(),
        }
    }

    /// Tells who this node is, once its registration is known.
    pub const fn set_me(&mut self, me: Option<StakeId>) {
        self.me = me;
    }

    /// Tells who holds a stake by now. Shares of the next epoch are taken of them alone, as soon as they come.
    pub fn set_stakes(&mut self, stakes: BTreeMap<StakeId, BlsKey>) {
        self.early.retain(|id, (_, key)| stakes.get(id) == Some(key));
        self.reports.retain(|id| stakes.contains_key(&id));
        self.keys = stakes;
    }

    /// The key that a share has to be checked with before it is fed; none when its signer or epoch is not
    /// known here: then it counts for nothing.
    pub fn key(&self, share: &Share) -> Option<BlsKey> {
        let id = StakeId(share.id);
        match self.rounds.get(&share.epoch) {
            Some(round) => round.signers.get(&id).copied(),
            None => {
                let ahead = self.next.is_none_or(|next| share.epoch == next);
                self.keys.get(&id).filter(|_| ahead).copied()
            }
        }
    }

    /// The key that a report has to be checked with before it is fed; none when it is of nobody who holds a stake
    /// by now, or of another time: then it counts for nothing.
    pub fn holder(&self, report: &Report) -> Option<BlsKey> {
        let id = StakeId(report.id);
        // Whether it has signed since is known of these epochs.
        let oldest = |next: u64| next.saturating_sub(MAX_ROUNDS as u64);
        let timely =
            self.next.is_none_or(|next| (oldest(next)..=next.saturating_add(1)).contains(&report.epoch));
        let since = self.rounds.range(report.epoch..).any(|(_, round)| round.has_heard(id))
            || self.early.get(&id).is_some_and(|(share, _)| share.epoch >= report.epoch);
        self.keys.get(&id).filter(|_| timely && !since).copied()
    }

    /// Who says that its endpoints disagree.
    pub fn holding(&self) -> Holding {
        self.reports.holding(self.keys.len())
    }

    /// What was signed at the end of an epoch, and who has; none where that is not known here, or no longer.
    pub fn signed(&self, epoch: u64) -> Option<(&Checkpoint, &BTreeMap<StakeId, BlsSignature>)> {
        self.rounds.get(&epoch).map(|round| (&round.checkpoint, &round.shares))
    }

    /// Applies one input at `now`; results are read with [`Self::poll`].
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Crossed { checkpoint, signers, least } => self.crossed(now, checkpoint, signers, least),
            Input::Share { share, message } => {
                let verdict = self.share(now, share);
                self.outbox.extend(message.map(|message| Output::Judge { message, verdict }));
            }
            Input::Holds { epoch, height, hash } => {
                let place = (epoch, height, hash);
                if self.reported.replace(place) != Some(place) {
                    self.outbox.push_back(Output::Report { epoch, height, hash });
                }
            }
            Input::Been { height, hash } => self.reports.been(height, hash),
            Input::Report { report, message } => {
                let known = self.holder(&report).is_some();
                let verdict = if known { self.reports.take(report) } else { Verdict::Ignore };
                self.outbox.push_back(Output::Judge { message, verdict });
            }
            Input::Garbage { message } => {
                self.outbox.push_back(Output::Judge { message, verdict: Verdict::Reject });
            }
            Input::Accepted { epoch } => {
                self.accepted = self.accepted.max(Some(epoch));
                // Who is late still signs for those who follow no chain.
                let done = self.rounds.range_mut(..=epoch);
                done.for_each(|(_, round)| (round.done, round.submit_at) = (true, None));
            }
            Input::Tick => self.submit(now),
        }
    }

    /// Returns the next thing the host must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when [`Input::Tick`] is next due.
    pub fn deadline(&self) -> Option<Time> {
        self.rounds.values().next_back().and_then(|round| round.submit_at)
    }

    fn crossed(&mut self, now: Time, checkpoint: Checkpoint, signers: BTreeMap<StakeId, BlsKey>, least: u64) {
        let (epoch, digest) = (checkpoint.border.epoch, checkpoint.digest);
        self.next = epoch.checked_add(1);
        let early = std::mem::take(&mut self.early);
        self.keys.clone_from(&signers);
        self.reports.retain(|id| signers.contains_key(&id));
        let done = self.accepted >= Some(epoch);
        if self.rounds.len() >= MAX_ROUNDS {
            self.rounds.pop_first();
        }
        let (shares, others) = (BTreeMap::new(), BTreeMap::new());
        let signs = self.me.is_some_and(|me| signers.contains_key(&me));
        let taken = signers.len() as u64 >= least;
        let round = Round { checkpoint, signers, shares, others, told: false, taken, done, submit_at: None };
        self.rounds.insert(epoch, round);
        if signs {
            self.outbox.push_back(Output::Sign { epoch, digest });
        }
        for (share, checked) in early.into_values().filter(|(share, _)| share.epoch == epoch) {
            if self.key(&share) == Some(checked) {
                self.share(now, share);
            }
        }
    }

    fn share(&mut self, now: Time, share: Share) -> Verdict {
        let id = StakeId(share.id);
        let key = self.key(&share);
        let Some(round) = self.rounds.get_mut(&share.epoch) else {
            // Others have crossed the border before: it counts when this node has. What nobody can check is not
            // held, or whoever likes could fill up the room for it.
            let Some(key) = key.filter(|_| !self.early.contains_key(&id)) else { return Verdict::Ignore };
            self.reports.signed(id, share.epoch);
            self.early.insert(id, (share, key));
            return Verdict::Accept;
        };
        if !round.signers.contains_key(&id) {
            return Verdict::Ignore;
        }
        self.reports.signed(id, share.epoch);
        let digest = B256::from(share.digest.into_array());
        if digest != round.checkpoint.digest {
            return round.object(digest, id, &mut self.outbox);
        }
        if round.shares.insert(id, BlsSignature(share.signature.into_array())).is_some() {
            return Verdict::Ignore;
        }
        if !round.has_quorum() {
            return Verdict::Accept;
        }
        self.outbox.push_back(Output::Signed { epoch: share.epoch });
        if round.submit_at.is_none() && round.taken && !round.done {
            round.submit_at = self
                .me
                .and_then(|me| round.place(me))
                .map(|place| now.after(wait(self.epoch, place, round.signers.len())));
        }
        Verdict::Accept
    }

    fn submit(&mut self, now: Time) {
        // The newest says all that older ones do: nobody submits those.
        let Some((_, round)) = self.rounds.iter_mut().next_back() else { return };
        if round.submit_at.is_none_or(|at| at > now) {
            return;
        }
        let signatures: Vec<_> = round.shares.values().copied().collect();
        let absent = round.signers.keys().filter(|id| !round.shares.contains_key(id)).copied().collect();
        // Everybody else has had a turn when this node tries again.
        let everybody = round.signers.len().max(1);
        round.submit_at = Some(now.after(wait(self.epoch, everybody, everybody)));
        if let Some(signature) = BlsSignature::aggregate(&signatures) {
            let checkpoint = Box::new(round.checkpoint.clone());
            self.outbox.push_back(Output::Submit { checkpoint, signature, absent });
        }
    }
}

/// How long whoever comes behind `before` others of `all` waits for its turn.
fn wait(epoch: Span, before: usize, all: usize) -> Span {
    // The sum of 1, 1/2, 1/3 and so on, in millionths.
    let sum = |count: usize| (1..=count as u64).map(|one| 1_000_000 / one).fold(0, u64::saturating_add);
    let pause = (epoch.0 / 2).saturating_mul(1_000_000).checked_div(sum(all));
    let pause = pause.map_or(PAUSE.0, |pause| pause.min(PAUSE.0));
    Span::micros(pause.saturating_mul(sum(before)) / 1_000_000)
}

impl Round {
    /// Whether more than two thirds have signed, of so many that one bad node among them decides nothing.
    fn has_quorum(&self) -> bool {
        let (signed, all) = (self.shares.len(), self.signers.len());
        all as u64 >= MINIMUM_NODES && signed.saturating_mul(3) > all.saturating_mul(2)
    }

    /// Whether somebody has signed something.
    fn has_heard(&self, id: StakeId) -> bool {
        self.shares.contains_key(&id) || self.others.values().any(|group| group.contains(&id))
    }

    /// How many come before `me`.
    fn place(&self, me: StakeId) -> Option<usize> {
        let lot = |id: StakeId| blake2b(&[self.checkpoint.digest.as_slice(), &id.0.to_be_bytes()]);
        let mine = self.signers.contains_key(&me).then(|| lot(me))?;
        Some(self.signers.keys().filter(|id| lot(**id) < mine).count())
    }

    /// Somebody says something else.
    fn object(&mut self, digest: B256, id: StakeId, outbox: &mut VecDeque<Output>) -> Verdict {
        let known = self.others.contains_key(&digest) || self.others.len() < MAX_OTHERS;
        let group = self.others.entry(if known { digest } else { B256::ZERO }).or_default();
        if !group.insert(id) {
            return Verdict::Ignore;
        }
        let against: BTreeSet<_> = self.others.values().flatten().collect();
        if !self.told && against.len().saturating_mul(3) > self.signers.len() {
            self.told = true;
            outbox.push_back(Output::Disagree {
                epoch: self.checkpoint.border.epoch,
                with: self.shares.len(),
                against: against.len(),
            });
        }
        // Whoever is right, others have to hear of it.
        Verdict::Accept
    }
}
