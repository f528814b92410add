//! Hands checkpoints to their contract, from an account of the node's that pays for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future,
    time::Duration,
};

use alloy::primitives::{Address, U256};
use session_chain::{
    Amount,
    bls::BlsSignature,
    ledger::{Checkpoint, StakeId},
    network::Contracts,
    settlement::{Endpoint, SendError, Sender, Signers, Status, calls, follower::Standing},
};
use tokio::{
    task::{JoinError, JoinHandle},
    time::timeout,
};

/// What waits of the fees for names when they are paid out: to do so costs some 66,000 units of gas, a fifteenth of a
/// submission of many nodes.
const LEAST_FEES: Amount = Amount::sesh(10);
/// How long that may take: until then the account submits nothing else.
const RELEASE: Duration = Duration::from_secs(60);

/// What came of a submission, or of a look at the account that could not pay for one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Mined,
    /// Another node was quicker.
    Taken(String),
    /// The contract does not take it.
    Refused {
        /// Of which epoch it was.
        epoch: u64,
        /// Why not, and what to do about it.
        why: String,
    },
    /// It could not be sent.
    Failed {
        /// Of what kind this is, in a word.
        code: &'static str,
        /// What happened, and what to do about it.
        why: String,
    },
    /// There is too little ether still: how much by now.
    Short {
        /// What lacks, and what to do about it.
        why: String,
    },
    /// There is enough ether by now for what could not be paid.
    Funded,
    /// What the account has was looked at, and says nothing else.
    Seen,
}

/// The account that pays, over each of the endpoints; none never submits.
#[derive(Debug)]
pub(crate) struct Payer {
    contracts: Contracts,
    /// Those that are not at work, by their endpoints' names.
    senders: BTreeMap<String, Sender>,
    account: Option<String>,
    /// Endpoints over which nothing came of the last submission: others are tried before them.
    failed: BTreeSet<String>,
    task: Option<JoinHandle<Sent>>,
    /// What pays the fees of names out, once a submission was taken; the sender comes back.
    release: Option<JoinHandle<(String, Sender)>>,
    /// The ether that the last submission lacked.
    lacks: Option<Lack>,
    /// What the account had when it was looked at last.
    balance: Option<U256>,
    /// Whether it may have changed since.
    stale: bool,
    look: Option<JoinHandle<Option<U256>>>,
}

/// What an account needs, and what it had when that was told last, in wei.
#[derive(Clone, Copy, Debug)]
struct Lack {
    needs: U256,
    has: U256,
}

/// A sender that comes back, by its endpoint's name; and of which epoch the checkpoint was that it could not submit,
/// and why.
type Sent = (String, Sender, Result<(), (u64, SendError)>);

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
        Self {
            contracts,
            senders,
            account,
            failed: BTreeSet::new(),
            task: None,
            release: None,
            lacks: None,
            balance: None,
            stale: true,
            look: None,
        }
    }

    /// The account's address.
    pub(crate) fn account(&self) -> Option<String> {
        self.account.clone()
    }

    /// What the account had when it was looked at last, in wei.
    pub(crate) const fn balance(&self) -> Option<U256> {
        self.balance
    }

    /// The account is to be looked at again.
    pub(crate) const fn look_again(&mut self) {
        self.stale = true;
    }

    /// Submits over an endpoint that is believed, unless a submission or what follows it is under way.
    pub(crate) fn submit(
        &mut self,
        status: &Status,
        checkpoint: &Checkpoint,
        signers: &Signers,
        signature: &BlsSignature,
        absent: &[StakeId],
    ) {
        if self.task.is_some() || self.release.is_some() {
            return;
        }
        let fresh = good(status).find(|name| !self.failed.contains(*name));
        if fresh.is_none() {
            self.failed.clear();
        }
        let named = fresh.into_iter().chain(good(status));
        let Some((name, mut sender)) = { named }.find_map(|name| self.senders.remove_entry(name)) else {
            return;
        };
        let Some(signers) = calls::Signers::new(signers, absent, signature) else {
            self.senders.insert(name, sender);
            return;
        };
        let call = calls::submission(&self.contracts, checkpoint, signers);
        let epoch = checkpoint.border.epoch;
        self.task = Some(tokio::spawn(async move {
            let sent = sender.send(&call, |_| {}).await.map(drop).map_err(|error| (epoch, error));
            if sent.is_ok() {
                tracing::info!(epoch, "submitted a checkpoint");
            }
            (name, sender, sent)
        }));
    }

    /// Looks at the account over an endpoint that is believed, if it had too little ether, or may have other than
    /// is known.
    pub(crate) fn look(&mut self, status: &Status) {
        if !self.stale && self.lacks.is_none() || self.look.is_some() {
            return;
        }
        // Whatever is sent meanwhile tells more.
        let Some(balance) = good(status).find_map(|name| self.senders.get(name)).map(Sender::balance) else {
            return;
        };
        self.stale = false;
        self.look = Some(tokio::spawn(async move { balance.await.ok() }));
    }

    /// What came of the submission under way, or what has changed at the account; waits for ever where there is
    /// none. It may be dropped and called again.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        loop {
            tokio::select! {
                sent = ended(&mut self.task) => return self.sent(sent),
                released = ended(&mut self.release) => match released {
                    Ok((name, sender)) => {
                        self.senders.insert(name, sender);
                        self.stale = true;
                    }
                    Err(error) => tracing::warn!(%error, "paying the fees of names out failed"),
                },
                balance = ended(&mut self.look) => match balance.ok().flatten() {
                    Some(balance) => return self.seen(balance),
                    None => self.stale = true,
                },
            }
        }
    }

    fn sent(&mut self, sent: Result<Sent, JoinError>) -> Outcome {
        self.lacks = None;
        self.stale = true;
        let (epoch, error) = match sent {
            Err(failed) => {
                let why = format!("a submission failed: {failed}; look at the log");
                return Outcome::Failed { code: "failed", why };
            }
            Ok((name, sender, Ok(()))) => {
                self.failed.clear();
                // That it was taken is told first.
                self.release = Some(tokio::spawn(release_fees(name, sender, self.contracts.names)));
                return Outcome::Mined;
            }
            Ok((name, sender, Err(failed))) => {
                self.senders.insert(name.clone(), sender);
                // One that lost the answer may have passed it on: sent twice it is taken once.
                let by_endpoint = matches!(
                    failed.1,
                    SendError::Unmined { .. } | SendError::Endpoint { .. } | SendError::Unanswered { .. }
                );
                if by_endpoint {
                    self.failed.insert(name);
                }
                failed
            }
        };
        if error.is_taken() {
            return Outcome::Taken(error.to_string());
        }
        if let SendError::Ether { has, needs, .. } = error {
            self.lacks = Some(Lack { needs, has });
        }
        let (code, why) = (error.code(), format!("{error}; {}", error.remedy()));
        if matches!(error, SendError::Refused { .. } | SendError::Reverted { .. }) {
            Outcome::Refused { epoch, why }
        } else {
            Outcome::Failed { code, why }
        }
    }

    /// What it means that the account has so much.
    fn seen(&mut self, balance: U256) -> Outcome {
        self.balance = Some(balance);
        let Some(Lack { needs, has }) = self.lacks else { return Outcome::Seen };
        if balance >= needs {
            self.lacks = None;
            return Outcome::Funded;
        }
        let account = self.account.as_ref().and_then(|account| account.parse().ok());
        let Some(account) = account.filter(|_| balance != has) else { return Outcome::Seen };
        self.lacks = Some(Lack { needs, has: balance });
        let error = SendError::Ether { account, has: balance, needs };
        Outcome::Short { why: format!("{error}; {}", error.remedy()) }
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(release) = &self.release {
            release.abort();
        }
        if let Some(look) = &self.look {
            look.abort();
        }
    }
}

/// Has the fees of names paid to pool and treasury, where enough of them wait: once a checkpoint at most, by the one
/// node whose submission was taken. That it cannot is no trouble of the submission's; the next one tries again. The sender
/// comes back.
async fn release_fees(name: String, mut sender: Sender, names: Address) -> (String, Sender) {
    match timeout(RELEASE, sender.release_fees(names, LEAST_FEES)).await {
        Ok(Ok(Some(fees))) => tracing::info!(%fees, "had the fees of names paid out"),
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            tracing::info!(%error, remedy = error.remedy(), "the fees of names are not paid out; they wait");
        }
        Err(_) => tracing::info!("the fees of names were not paid out in time; they may be still"),
    }
    (name, sender)
}

/// The endpoints that are believed.
fn good(status: &Status) -> impl Iterator<Item = &str> {
    let good = status.endpoints.iter().filter(|endpoint| endpoint.standing == Standing::Good);
    good.map(|endpoint| endpoint.name.as_str())
}

/// What a task came to; waits for ever where there is none.
async fn ended<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    let Some(under_way) = task.as_mut() else { return future::pending().await };
    let ended = under_way.await;
    *task = None;
    ended
}
