//! The node's part in checkpoints: it signs each once, hears what others signed, and submits in its turn.
//!
//! The machine decides; here its shares are checked off its task, what is signed is on the disk before it is
//! said, and one transaction at a time is under way.

mod shelf;
mod signed;
mod submit;

use std::{collections::BTreeMap, future, io, path::Path, sync::Arc, time::Duration};

use alloy::primitives::{B256, U256};
use session_chain::{
    attestation::{Attestation, Holding, Input, MAX_ROUNDS, Output, Report, Share},
    bls::BlsSecret,
    ledger::{BlsKey, Checkpoint, Roll, StakeId},
    light,
    settlement::{Hold, Settled, Signers, Status},
};
use session_protocols::{KeyPair, Span, directory::Verdict};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{metrics::Metrics, now};

pub(crate) use shelf::Shelf;
pub(crate) use signed::Signed;
pub(crate) use submit::Payer;

/// Shares of others that wait to be checked; more are dropped and counted.
pub(crate) const MAX_HEARD: usize = 1_024;
/// Shares that are checked in one go.
const BATCH: usize = 64;
/// A checkpoint is handed out anew when one more in so many has signed it.
const MORE: usize = 8;
/// How soon it is tried again to keep what is to be signed.
const AGAIN: Duration = Duration::from_secs(2);
/// The longest sleep between two looks at the clock, so that a stepped clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A gossip message about checkpoints.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Its number, for [`Said::Judge`].
    pub(crate) message: u64,
    pub(crate) data: Vec<u8>,
}

/// What the network is asked to do.
#[derive(Debug)]
pub(crate) enum Said {
    /// Judge a gossip message.
    Judge { message: u64, verdict: Verdict },
    /// Gossip this share or report.
    Share(Vec<u8>),
}

/// How attesting goes, for those who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attested {
    /// The last epoch whose checkpoint this node signed.
    pub(crate) signed: Option<u64>,
    /// The epoch of which more than a third say something else than this node: how many say the same, and
    /// how many do not.
    pub(crate) against: Option<(u64, usize, usize)>,
    /// Who says that its endpoints disagree.
    pub(crate) holding: Holding,
    /// What pays for submissions, by its address.
    pub(crate) account: Option<String>,
    /// What that account had when it was looked at last, in wei.
    pub(crate) gas: Option<U256>,
    /// Why this node submits nothing, as far as it has tried, and what to do about it.
    pub(crate) trouble: Option<String>,
    /// Why nothing can be signed.
    pub(crate) unsigned: Option<String>,
}

/// What a gossip message says.
enum Word {
    Share(Share),
    Report(Report),
}

/// The machine, and all it needs.
pub(crate) struct Attest {
    machine: Attestation,
    secret: BlsSecret,
    key: BlsKey,
    signed: Signed,
    /// What is to be signed and could not be kept, and when that is tried again.
    unkept: Option<(Instant, u64, B256)>,
    payer: Payer,
    status: watch::Receiver<Status>,
    settled: watch::Receiver<Settled>,
    /// The newest border that the machine knows, and who may sign it.
    crossed: Option<(u64, Arc<Signers>)>,
    accepted: Option<u64>,
    /// Of what kind the trouble with submissions is that was told last.
    failing: Option<&'static str>,
    /// The epoch of the checkpoint that the contract refused last, until it takes one.
    refused: Option<u64>,
    /// What the newest checkpoints say about members and maps, by their epochs.
    rolls: BTreeMap<u64, Arc<Roll>>,
    shelf: Shelf,
    /// Of which epoch the newest on the shelf is, and how many signatures were known then.
    shelved: Option<(u64, usize)>,
    heard: mpsc::Receiver<Heard>,
    say: mpsc::Sender<Said>,
    tell: watch::Sender<Attested>,
    metrics: Metrics,
}

/// What connects it to the network.
pub(crate) struct Ends {
    pub(crate) heard: mpsc::Receiver<Heard>,
    pub(crate) say: mpsc::Sender<Said>,
    pub(crate) tell: watch::Sender<Attested>,
    pub(crate) shelf: Shelf,
}

impl Attest {
    /// The part of the node that holds `pair`, in a network whose epochs last so long.
    ///
    /// # Errors
    ///
    /// When what it signed last cannot be read.
    pub(crate) fn new(
        data: &Path,
        pair: &KeyPair,
        epoch: Span,
        payer: Payer,
        (status, settled): (watch::Receiver<Status>, watch::Receiver<Settled>),
        Ends { heard, say, tell, shelf }: Ends,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let secret = BlsSecret::of_node(pair);
        let signed = Signed::open(data)?;
        tell.send_modify(|told| (told.signed, told.account) = (signed.epoch(), payer.account()));
        Ok(Self {
            machine: Attestation::new(None, epoch),
            key: secret.public(),
            secret,
            signed,
            unkept: None,
            payer,
            status,
            settled,
            crossed: None,
            accepted: None,
            failing: None,
            refused: None,
            rolls: BTreeMap::new(),
            shelf,
            shelved: None,
            heard,
            say,
            tell,
            metrics,
        })
    }

    /// Runs until the network is gone.
    pub(crate) async fn run(mut self) {
        self.look();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            while let Some(output) = self.machine.poll() {
                if !self.output(output).await {
                    return;
                }
            }
            tokio::select! {
                Ok(()) = self.settled.changed() => self.look(),
                Ok(()) = self.status.changed() => self.look(),
                count = self.heard.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.hear(std::mem::take(&mut batch)).await;
                }
                outcome = self.payer.outcome() => {
                    self.tell.send_modify(|told| told.gas = self.payer.balance());
                    self.submitted(outcome);
                }
                () = sleep_until(self.machine.deadline()) => self.machine.handle(now(), Input::Tick),
                () = until(self.unkept.map(|(again, ..)| again)) => {
                    if !self.sign_again().await {
                        return;
                    }
                }
            }
        }
    }

    /// Tells the machine what is new in the ledger: a border, once it may be signed, and what the contract has.
    fn look(&mut self) {
        let settled = self.settled.borrow_and_update().clone();
        let may_sign = self.status.borrow_and_update().may_sign();
        let accepted = settled.ledger.accepted().map(|(epoch, _)| epoch);
        if let Some(epoch) = accepted.filter(|_| accepted > self.accepted) {
            self.accepted = accepted;
            // Whatever was wrong with what this node submitted, checkpoints go on.
            if self.refused.take_if(|refused| *refused <= epoch).is_some() {
                self.trouble(None);
            }
            self.machine.handle(now(), Input::Accepted { epoch });
        }
        self.cross(settled.clone(), may_sign);
        self.payer.look(&self.status.borrow());
        let stakes = settled.ledger.stakes().map(|(id, stake)| (*id, stake.bls));
        self.machine.set_stakes(stakes.collect());
        let (height, hash) = (settled.mark.height, Report::rolled(&settled.mark.cursors));
        self.machine.handle(now(), Input::Been { height, hash });
        if self.status.borrow().held.as_ref().is_some_and(Hold::is_dispute) {
            let epoch = settled.ledger.epoch();
            self.machine.handle(now(), Input::Holds { epoch, height, hash });
        }
        self.tell_holding();
    }

    fn cross(&mut self, settled: Settled, may_sign: bool) {
        let Settled { ledger, checkpoint: Some(checkpoint), signers, roll, .. } = settled else { return };
        let epoch = checkpoint.border.epoch;
        let newer = self.crossed.as_ref().is_none_or(|(last, _)| *last < epoch);
        if newer && may_sign && !signers.is_empty() {
            // The contract counts whoever holds the key, whichever registration that is.
            let mine = signers.iter().find(|(_, key)| **key == self.key);
            self.machine.set_me(mine.map(|(id, _)| *id));
            self.crossed = Some((epoch, Arc::clone(&signers)));
            // Once an epoch, as whoever fills it up may not have been waited for.
            self.payer.look_again();
            if self.rolls.len() >= MAX_ROUNDS {
                self.rolls.pop_first();
            }
            // With all that signed the one before after it was shelved.
            self.shelve();
            self.rolls.insert(epoch, roll);
            self.tell.send_modify(|told| told.against = None);
            let crossed = Input::Crossed {
                checkpoint: Checkpoint::clone(&checkpoint),
                signers: Signers::clone(&signers),
                least: ledger.minimum_nodes(),
            };
            self.machine.handle(now(), crossed);
        }
    }

    /// Checks what was heard off this task, and feeds what holds.
    async fn hear(&mut self, batch: Vec<Heard>) {
        let domain = self.settled.borrow().ledger.parameters().domain;
        let words: Vec<_> = batch
            .into_iter()
            .map(|Heard { message, data }| {
                let share = Share::from_bytes(&data).map(Word::Share);
                let word = share.or_else(|_| Report::from_bytes(&data).map(Word::Report)).ok();
                let key = word.as_ref().and_then(|word| match word {
                    Word::Share(share) => self.machine.key(share),
                    Word::Report(report) => self.machine.holder(report),
                });
                (message, word, key)
            })
            .collect();
        let check = move || -> Vec<_> {
            let signed = |word: &Word, key: BlsKey| match word {
                Word::Share(share) => share.is_signed(&key),
                Word::Report(report) => report.is_signed(&key, &domain),
            };
            let holds = |word: &Word, key: Option<BlsKey>| key.is_none_or(|key| signed(word, key));
            let checked = words.into_iter();
            checked.map(|(message, word, key)| (message, word.filter(|word| holds(word, key)))).collect()
        };
        // It fails when the runtime stops.
        for (message, word) in tokio::task::spawn_blocking(check).await.unwrap_or_default() {
            let input = match word {
                Some(Word::Share(share)) => Input::Share { share, message: Some(message) },
                Some(Word::Report(report)) => {
                    let Report { id, epoch, height, .. } = report;
                    tracing::debug!(id, epoch, height, "the endpoints of a node disagree");
                    Input::Report { report, message }
                }
                None => {
                    self.metrics.garbage_total.with_label_values(&["checkpoints"]).inc();
                    Input::Garbage { message }
                }
            };
            self.machine.handle(now(), input);
        }
        self.tell_holding();
    }

    /// Tells who holds, and logs what changed for the worse.
    fn tell_holding(&self) {
        let holding = self.machine.holding();
        self.tell.send_if_modified(|told| {
            let before = std::mem::replace(&mut told.holding, holding);
            let nodes = holding.nodes;
            if holding.most && !before.most {
                tracing::warn!(nodes, "no checkpoint comes while the endpoints of so many nodes disagree");
            }
            if let Some(height) = holding.other.filter(|_| before.other.is_none()) {
                tracing::warn!(
                    height,
                    remedy = DISAGREE,
                    "a node that holds knows another history than this one"
                );
            }
            before != holding
        });
    }

    /// Does what the machine wants; false when the network is gone.
    async fn output(&mut self, output: Output) -> bool {
        match output {
            Output::Sign { epoch, digest } => self.sign(epoch, digest).await,
            Output::Report { epoch, height, hash } => {
                let (ledger, key) = (self.settled.borrow().ledger.clone(), self.key);
                let mine = ledger.stakes().find(|(_, stake)| stake.bls == key).map(|(id, _)| *id);
                let Some(id) = mine else { return true };
                let domain = &ledger.parameters().domain;
                let report = Report::sign(id, &self.secret, domain, (epoch, height, hash));
                tracing::info!(epoch, height, "told the other nodes that this node's endpoints disagree");
                self.say.send(Said::Share(report.to_bytes())).await.is_ok()
            }
            Output::Judge { message, verdict } => {
                self.say.send(Said::Judge { message, verdict }).await.is_ok()
            }
            Output::Submit { checkpoint, signature, absent } => {
                let epoch = checkpoint.border.epoch;
                let signers = self.crossed.as_ref().filter(|(last, _)| *last == epoch).map(|(_, it)| it);
                if let Some(signers) = signers {
                    let status = self.status.borrow().clone();
                    self.payer.submit(&status, &checkpoint, signers, &signature, &absent);
                }
                true
            }
            Output::Signed { epoch } => {
                self.signed_by_most(epoch);
                true
            }
            Output::Disagree { epoch, with, against } => {
                tracing::warn!(
                    epoch,
                    with,
                    against,
                    remedy = DISAGREE,
                    "more than a third sign another checkpoint than this node"
                );
                self.tell.send_modify(|told| told.against = Some((epoch, with, against)));
                true
            }
        }
    }

    /// Signs a checkpoint and says so, if it may; false when the network is gone.
    async fn sign(&mut self, epoch: u64, digest: B256) -> bool {
        let Some(id) = self.id() else {
            self.unkept = None;
            return true;
        };
        if !self.may_sign(epoch, digest) {
            return true;
        }
        let share = Share::sign(id, &self.secret, epoch, digest);
        let data = share.to_bytes();
        self.machine.handle(now(), Input::Share { share, message: None });
        self.say.send(Said::Share(data)).await.is_ok()
    }

    /// Signs what could not be kept before, unless the ledger is in doubt by now; false when the network is gone.
    async fn sign_again(&mut self) -> bool {
        let Some((_, epoch, digest)) = self.unkept else { return true };
        if !self.status.borrow().may_sign() {
            self.unkept = Some((Instant::now() + AGAIN, epoch, digest));
            return true;
        }
        self.sign(epoch, digest).await
    }

    /// Most have signed a checkpoint, or one more has: hands it out to those who follow no chain, anew as soon as
    /// some more have.
    fn signed_by_most(&mut self, epoch: u64) {
        let Some((_, shares)) = self.machine.signed(epoch) else { return };
        let all = self.rolls.get(&epoch).map_or(0, |roll| roll.members.len());
        let (before, now) = (self.shelved.filter(|(last, _)| *last == epoch), shares.len());
        if before.is_none_or(|(_, before)| now >= all || now >= before.saturating_add(all / MORE)) {
            self.shelved = Some((epoch, 0));
            self.shelve();
        }
    }

    /// Hands the checkpoint out that was signed last, with all signatures of members that are known by now.
    fn shelve(&mut self) {
        let Some((epoch, before)) = self.shelved else { return };
        let Some((checkpoint, shares)) = self.machine.signed(epoch).filter(|(_, all)| all.len() > before)
        else {
            return;
        };
        let Some(roll) = self.rolls.get(&epoch).filter(|roll| !roll.members.is_empty()) else { return };
        self.shelved = Some((epoch, shares.len()));
        let nodes: BTreeMap<_, _> = roll.members.iter().map(|member| (member.id, member.node)).collect();
        let signatures = shares.iter().filter_map(|(id, one)| Some((*nodes.get(id)?, *one))).collect();
        self.shelf.put(&light::Signed { checkpoint: checkpoint.clone(), roll: Arc::clone(roll), signatures });
    }

    /// The number of this node's registration among those that may sign.
    fn id(&self) -> Option<StakeId> {
        let (_, signers) = self.crossed.as_ref()?;
        signers.iter().find(|(_, key)| **key == self.key).map(|(id, _)| *id)
    }

    /// Whether it is on the disk that this, and nothing else of this epoch, is signed.
    fn may_sign(&mut self, epoch: u64, digest: B256) -> bool {
        let before = self.unkept.take().filter(|(_, last, _)| *last == epoch);
        let why = match self.signed.note(epoch, digest.0) {
            Ok(true) => {
                self.tell.send_modify(|told| (told.signed, told.unsigned) = (Some(epoch), None));
                return true;
            }
            Ok(false) => format!(
                "another checkpoint of epoch {epoch}, or one of a later epoch, was signed before: it goes on with \
                 the next"
            ),
            Err(error) => {
                self.unkept = Some((Instant::now() + AGAIN, epoch, digest));
                format!(
                    "what is signed cannot be kept: {error}; make room, or the data folder writable: it is tried on"
                )
            }
        };
        // It is told once.
        if before.is_none() || self.unkept.is_none() {
            tracing::error!(epoch, why, "no checkpoint is signed");
        }
        self.tell.send_modify(|told| told.unsigned = Some(why));
        false
    }

    fn submitted(&mut self, outcome: submit::Outcome) {
        use submit::Outcome::{Failed, Funded, Mined, Refused, Seen, Short, Taken};
        let counted = match &outcome {
            Mined => "mined",
            Taken(_) => "taken",
            Refused { .. } => "refused",
            Failed { .. } => "failed",
            Short { .. } | Funded => "",
            Seen => return,
        };
        if !counted.is_empty() {
            self.metrics.checkpoint_submissions_total.with_label_values(&[counted]).inc();
        }
        self.refused = None;
        let trouble = match outcome {
            Mined => None,
            Taken(why) => {
                tracing::debug!(why, "the contract has a checkpoint");
                None
            }
            Funded => {
                tracing::info!("the account has enough ether to submit a checkpoint");
                None
            }
            Refused { epoch, why } => {
                self.refused = Some(epoch);
                Some((REFUSED, why))
            }
            Failed { code, why } => Some((code, why)),
            Short { why } => self.failing.map(|code| (code, why)),
            Seen => return,
        };
        self.trouble(trouble);
    }

    /// Tells what keeps this node from submitting, or that nothing does as far as is known.
    fn trouble(&mut self, trouble: Option<(&'static str, String)>) {
        // Amounts and fees differ each time: the kind tells whether there is something new.
        let code = trouble.as_ref().map(|(code, _)| *code);
        let before = std::mem::replace(&mut self.failing, code);
        let trouble = trouble.map(|(_, why)| why);
        if let Some(why) = trouble.as_ref().filter(|_| before != code) {
            tracing::warn!(why, "this node submits no checkpoints; others may");
        }
        self.tell.send_modify(|told| told.trouble = trouble);
    }
}

/// The kind of trouble that the contract makes.
const REFUSED: &str = "contract_refuses";

/// What to do where nodes disagree.
pub(crate) const DISAGREE: &str =
    "compare this node's endpoints of the settlement chain with others', and its version";

/// Waits until the machine is due; for ever where it is not.
async fn sleep_until(deadline: Option<session_protocols::Time>) {
    match deadline {
        Some(deadline) => {
            let left = Duration::from_micros(deadline.since(now()).0);
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
        None => future::pending().await,
    }
}

/// Waits for an instant; for ever without one.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests;
