//! Which nodes keep which account, in a network whose nodes register on a chain: what the chain says.

use std::{fs, path::Path, time::Duration};

use session_chain::{
    NetworkFile,
    network::Settlement,
    settlement::{FollowError, LiveLedger, Options, Pace, StateError, Status},
};
use session_protocols::SwarmMap;

use crate::failure::{Exit, Failure};

/// How long following may take until what is known of the chain has to do.
const CATCH_UP: Duration = Duration::from_secs(30);

/// The map that acts, by the chain: followed on from where the last command that needed it stopped.
pub(crate) async fn map(
    home: &Path,
    network: &NetworkFile,
    settlement: &Settlement,
) -> Result<SwarmMap, Failure> {
    let kept = home.join(format!("chain-{}.redb", network.name));
    match follow(&kept, network, settlement).await {
        Err(FollowError::State(StateError::InUse { .. })) => {
            // Another command follows it at this moment: this one begins anew, for itself alone.
            let own = home.join(format!("chain-{}.{}.redb", network.name, std::process::id()));
            let map = follow(&own, network, settlement).await;
            let _ = fs::remove_file(&own);
            map
        }
        Err(FollowError::State(
            StateError::Network { .. } | StateError::Damaged { .. } | StateError::Schema { .. },
        )) => {
            // Of a network that had this name before. It can always be made again.
            fs::remove_file(&kept)
                .map_err(|cause| Failure::io("cannot remove what is known of a chain", &cause))?;
            follow(&kept, network, settlement).await
        }
        followed => followed,
    }
    .map_err(|error| {
        let remedy = "check the endpoints that the network file names, and the home folder";
        Failure::new(Exit::Failed, "chain", crate::failure::chain(&error), remedy)
    })
    .and_then(|map| if map.swarms.is_empty() { Err(nobody(settlement)) } else { Ok(map) })
}

async fn follow(
    path: &Path,
    network: &NetworkFile,
    settlement: &Settlement,
) -> Result<SwarmMap, FollowError> {
    // The seed spreads the pauses of many who follow; one command alone has none to spread.
    let mut options = Options::new(settlement, [0; 32]).map_err(|_| FollowError::NoEndpoint)?;
    if network.local {
        options.pace = Pace::local();
    }
    let live = LiveLedger::start(path, options)?;
    let mut status = live.watch_status();
    let _ = tokio::time::timeout(CATCH_UP, status.wait_for(has_settled)).await;
    let map = live.settled().ledger.map().clone();
    live.stop().await;
    Ok(map)
}

/// Whether all that is final is known, or will not be soon.
fn has_settled(status: &Status) -> bool {
    let there = status.head.is_some_and(|head| head <= status.height);
    there || status.held.is_some() || status.stopped.is_some()
}

fn nobody(settlement: &Settlement) -> Failure {
    let message = format!("no node is known to be active on chain {}", settlement.chain);
    let remedy =
        "wait until the first epoch has ended, and check that an endpoint of the network file answers";
    Failure::new(Exit::NotReady, "chain", message, remedy)
}
