//! Stakes that were lent come back to the vault: those of nodes that have left, and of nodes that whoever ran them has
//! abandoned.
//!
//! The faucet's key may bring back what a checkpoint released, as anybody may, and has no node leave: that is for the
//! vault's owner. So it counts how often a lent node is missing from the list that the network's nodes sign, and the
//! next time that the owner's account publishes, those leave that were missing for a week.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs, io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use serde::{Deserialize, Serialize};
use session_chain::{
    Ledger, NetworkFile, StakeId, State,
    network::Settlement,
    settlement::{
        Delivery, Options, Replayed, SendError, StakeError, Staker, Vault, VaultError,
        replay::{PACE, replay},
        vault::Loan,
    },
};
use session_client::{Client, Options as ClientOptions};
use session_protocols::NodeId;
use tokio::time::MissedTickBehavior;

use super::{
    DESCRIPTION, PublicError,
    faucet::{Faucet, now},
    places::near,
    write,
};

/// How often at most stakes are brought back: what releases them comes with an epoch.
const SWEEP: Duration = Duration::from_secs(3_600);
/// How long after one look at the list of nodes the next one counts, in seconds.
const LOOK: u64 = 3_600;
/// How often what another checkpoint overtakes is proved anew.
const MAX_AGAIN: u32 = 3;
/// Looks in a row after which a node that was missing each time is abandoned: those of a week.
const ABANDONED: u32 = 7 * 24;
/// How often which node was missing, in the network's folder.
const MISSED: &str = "missed.json";
/// What is made of the chain, in the network's folder.
const LEDGER: &str = "ledger.redb";

/// Why stakes could not be brought back: it is logged, and nobody tells one from the other.
type SweepError = Box<dyn Error + Send + Sync>;

/// Lent nodes that were missing from the network's list of its nodes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Missed {
    /// When the list was looked at last, in seconds since 1970.
    looked: u64,
    /// How often in a row, by the loan.
    loans: BTreeMap<String, u32>,
}

impl Missed {
    fn read(folder: &Path) -> Result<Self, PublicError> {
        let path = folder.join(MISSED);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| PublicError::Io { path, cause: error.into() })
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(cause) => Err(PublicError::Io { path, cause }),
        }
    }

    fn keep(&self, folder: &Path) -> Result<(), PublicError> {
        write(&folder.join(MISSED), &serde_json::to_string(self).unwrap_or_default())
    }

    /// Whether the next look counts at this time.
    const fn is_due(&self, now: u64) -> bool {
        now.saturating_sub(self.looked) >= LOOK
    }

    /// Counts a look, in which each loan's node was there or not. Returns those that are abandoned since this one.
    fn look(&mut self, now: u64, seen: impl IntoIterator<Item = (Address, bool)>) -> Vec<Address> {
        self.looked = now;
        let before = std::mem::take(&mut self.loans);
        let mut since = Vec::new();
        for (loan, _) in seen.into_iter().filter(|(_, there)| !there) {
            let name = format!("{loan:#x}");
            let times = before.get(&name).copied().unwrap_or_default().saturating_add(1);
            if times == ABANDONED {
                since.push(loan);
            }
            self.loans.insert(name, times);
        }
        since
    }

    /// The loans whose nodes are abandoned.
    fn abandoned(&self) -> impl Iterator<Item = Address> {
        let long = self.loans.iter().filter(|(_, times)| **times >= ABANDONED);
        long.filter_map(|(loan, _)| loan.parse().ok())
    }
}

/// Has those nodes leave that have a stake of the vault and are abandoned: its owner may, who pays.
pub(super) async fn recall(
    folder: &Path,
    settlement: &Settlement,
    owner: &PrivateKeySigner,
) -> Result<(), PublicError> {
    let missed = Missed::read(folder)?;
    let mut loans = missed.abandoned().peekable();
    if loans.peek().is_none() {
        return Ok(());
    }
    let mut vault = Vault::connect(settlement, owner.clone(), Delivery::default()).await?;
    // What is on its way may be just that.
    vault.sender().settled().await?;
    for loan in loans {
        let call = vault.request_exit(loan);
        match vault.send(&call, |_| {}).await {
            // It is leaving, or has left.
            Ok(_) | Err(VaultError::Send(SendError::Refused { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Faucet {
    /// Brings stakes back to the vault, again and again, for as long as this is polled.
    pub(super) async fn sweep(self: Arc<Self>) {
        let mut often = tokio::time::interval(SWEEP.min(Duration::from_secs(self.settlement.epoch.get())));
        often.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            often.tick().await;
            let released = match Box::pin(self.release()).await {
                Ok(now) => Box::pin(self.look_for(&now.ledger)).await,
                Err(error) => Err(error),
            };
            let brought = Box::pin(self.bring_back()).await.map_err(SweepError::from);
            for error in [released.err(), brought.err()].into_iter().flatten() {
                tracing::warn!(%error, "stakes that were lent could not be brought back; it is tried again");
            }
        }
    }

    /// Has the stakes of those nodes paid back to their loans that the last checkpoint released. Returns the ledger.
    async fn release(&self) -> Result<Replayed, SweepError> {
        let mut staker = Staker::connect(&self.settlement, self.signer.clone(), Delivery::default()).await?;
        let mut again = MAX_AGAIN;
        loop {
            let now = self.replayed(&staker).await?;
            let ids: BTreeSet<StakeId> = staker.loans(&now.ledger).await?.into_keys().collect();
            let mut is_overtaken = false;
            for (_, call) in staker.free(&ids, &now).await? {
                let _lends = self.given.lock().await;
                match staker.send(&call, |_| {}).await {
                    Err(error) if error.is_overtaken() => is_overtaken = true,
                    // Somebody else may be faster.
                    Ok(_) | Err(StakeError::Send(SendError::Refused { .. })) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if !is_overtaken || again == 0 {
                return Ok(now);
            }
            // The next sweep comes an epoch later, and may meet the next checkpoint just so.
            again = again.saturating_sub(1);
            staker.sender().next_block().await?;
        }
    }

    /// The ledger, with that of the last checkpoint.
    async fn replayed(&self, staker: &Staker) -> Result<Replayed, SweepError> {
        let mut seed = [0; 32];
        // It says who is asked first.
        let _ = getrandom::fill(&mut seed);
        let options = Options::new(&self.settlement, seed)?;
        let source = Some(session_node::ledger_source(&near(&self.network), None));
        let options = Options { pace: PACE, source, ..options };
        let accepted = staker.accepted().await?;
        Ok(Box::pin(replay(Some(&self.folder.join(LEDGER)), options, accepted, |_| {})).await?)
    }

    /// Brings what loans have back to the vault.
    async fn bring_back(&self) -> Result<(), VaultError> {
        let mut vault = Vault::connect(&self.settlement, self.signer.clone(), Delivery::default()).await?;
        for loan in vault.all_loans().await?.into_values() {
            let _lends = self.given.lock().await;
            match vault.give_back(loan.at).await {
                Ok((call, _)) => drop(vault.send(&call, |_| {}).await?),
                Err(VaultError::NothingBack { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Looks once an hour which of the lent nodes the others list.
    async fn look_for(&self, ledger: &Ledger) -> Result<(), SweepError> {
        let mut missed = Missed::read(&self.folder)?;
        if !missed.is_due(now()) {
            return Ok(());
        }
        let staker = Staker::connect(&self.settlement, self.signer.clone(), Delivery::default()).await?;
        let loans = staker.loans(ledger).await?;
        let stands = |(id, loan): (StakeId, Loan)| {
            let (_, stake) = ledger.stakes().find(|(other, _)| **other == id)?;
            // What was refused, or is leaving, comes back without that.
            let stays = ledger.node(&stake.node).is_some_and(|member| member.state != State::Deregistered);
            (stays && stake.refused.is_none()).then_some((loan.at, stake.node))
        };
        let nodes: Vec<(Address, NodeId)> = loans.into_iter().filter_map(stands).collect();
        let listed = match Box::pin(self.listed()).await {
            Ok(listed) => listed,
            // There is none so far, or too few nodes are there to sign one: that is no fault of those that are lent.
            Err(error) => {
                tracing::debug!(%error, "nobody tells which nodes are there");
                return Ok(());
            }
        };
        let seen = nodes.iter().map(|(loan, node)| (*loan, listed.contains(node)));
        let since = missed.look(now(), seen);
        missed.keep(&self.folder)?;
        for (_, node) in nodes.iter().filter(|(loan, _)| since.contains(loan)) {
            tracing::warn!(
                %node,
                "a node whose stake was lent is in no list of nodes for a week: stop this, and type the command with \
                 --account, and it leaves"
            );
        }
        Ok(())
    }

    /// The nodes that say that they are there, as more than two thirds of all have signed.
    async fn listed(&self) -> Result<BTreeSet<NodeId>, SweepError> {
        let path = self.folder.join(DESCRIPTION);
        // The one of this hour: others are believed for some epochs.
        let text = fs::read_to_string(&path);
        let text = text.map_err(|cause| PublicError::Io { path: path.clone(), cause })?;
        let network = NetworkFile::parse(&text)
            .map_err(|cause| PublicError::Description { path, cause: Box::new(cause) })?;
        let client = Client::connect(near(&network), ClientOptions::default()).await?;
        let list = client.directory().await?;
        Ok(list.entries().iter().map(|entry| entry.record().node).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_missing_for_a_week_is_abandoned_and_one_look_at_it_begins_that_anew() {
        let [gone, back] = [1, 2].map(Address::repeat_byte);
        let folder = tempfile::tempdir().unwrap();
        let (mut now, mut since) = (1_800_000_000, Vec::new());
        for hour in 1..=u64::from(ABANDONED) {
            // Whoever restarts begins where it was.
            let mut missed = Missed::read(folder.path()).unwrap();
            assert!(missed.is_due(now) && missed.abandoned().count() == 0, "{hour}: {missed:?}");
            since = missed.look(now, [(gone, false), (back, hour == 100)]);
            assert!(!missed.is_due(now + LOOK - 1), "one look an hour, however often it restarts");
            missed.keep(folder.path()).unwrap();
            now += LOOK;
        }
        assert_eq!(since, [gone]);
        let mut missed = Missed::read(folder.path()).unwrap();
        assert_eq!(missed.abandoned().collect::<Vec<_>>(), [gone]);
        // It is told once, and forgotten with the loan.
        assert!(missed.look(now, [(gone, false), (back, false)]).is_empty());
        assert_eq!(missed.abandoned().collect::<Vec<_>>(), [gone]);
        missed.look(now, [(back, false)]);
        assert_eq!((missed.abandoned().count(), missed.loans.len()), (0, 1));
    }
}
