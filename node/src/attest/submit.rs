//! Hands checkpoints to their contract, from an account of the node's that pays for it.

use std::{collections::BTreeMap, future};

use session_chain::{
    bls::BlsSignature,
    ledger::{Checkpoint, StakeId},
    network::Contracts,
    settlement::{Endpoint, SendError, Sender, Signers, Status, calls, follower::Standing},
};
use tokio::task::JoinHandle;

/// What came of a submission.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Mined,
    /// The contract would not take it: nothing was paid.
    Refused(String),
    /// It could not be sent.
    Failed {
        /// Of what kind this is, in a word.
        code: &'static str,
        /// What happened, and what to do about it.
        why: String,
    },
}

/// The account that pays, over each of the endpoints; none never submits.
#[derive(Debug)]
pub(crate) struct Payer {
    contracts: Contracts,
    /// Those that are not at work, by their endpoints' names.
    senders: BTreeMap<String, Sender>,
    account: Option<String>,
    task: Option<JoinHandle<(String, Sender, Outcome)>>,
}

impl Payer {
    /// A payer that sends by `sender` over each of the endpoints, or none.
    pub(crate) fn new(
        contracts: Contracts,
        endpoints: &[Endpoint],
        sender: Option<impl Fn(&Endpoint) -> Sender>,
    ) -> Self {
        let named = |sender: &dyn Fn(&Endpoint) -> Sender| {
            endpoints.iter().map(|one| (one.name().to_owned(), sender(one))).collect()
        };
        let senders: BTreeMap<_, _> = sender.as_ref().map_or_else(BTreeMap::new, |sender| named(sender));
        let account = senders.values().next().map(|sender| format!("{:#x}", sender.account()));
        Self { contracts, senders, account, task: None }
    }

    /// The account's address.
    pub(crate) fn account(&self) -> Option<String> {
        self.account.clone()
    }

    /// Submits over an endpoint that is believed, unless a submission is under way.
    pub(crate) fn submit(
        &mut self,
        status: &Status,
        checkpoint: &Checkpoint,
        signers: &Signers,
        signature: &BlsSignature,
        absent: &[StakeId],
    ) {
        if self.task.is_some() {
            return;
        }
        let good = status.endpoints.iter().filter(|endpoint| endpoint.standing == Standing::Good);
        let Some((name, mut sender)) = good.into_iter().find_map(|one| self.senders.remove_entry(&one.name))
        else {
            return;
        };
        let Some(signers) = calls::Signers::new(signers, absent, signature) else {
            self.senders.insert(name, sender);
            return;
        };
        let call = calls::submission(&self.contracts, checkpoint, signers);
        let epoch = checkpoint.border.epoch;
        self.task = Some(tokio::spawn(async move {
            let outcome = match sender.send(&call, |_| {}).await {
                Ok(_) => {
                    tracing::info!(epoch, "submitted a checkpoint");
                    Outcome::Mined
                }
                Err(error @ (SendError::Refused { .. } | SendError::Reverted { .. })) => {
                    Outcome::Refused(error.to_string())
                }
                Err(error) => {
                    Outcome::Failed { code: error.code(), why: format!("{error}; {}", error.remedy()) }
                }
            };
            (name, sender, outcome)
        }));
    }

    /// What came of the submission under way; waits for ever where none is. It may be dropped and called
    /// again.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        let Some(task) = self.task.as_mut() else { return future::pending().await };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok((name, sender, outcome)) => {
                self.senders.insert(name, sender);
                outcome
            }
            Err(failed) => Outcome::Failed {
                code: "failed",
                why: format!("a submission failed: {failed}; look at the log"),
            },
        }
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
