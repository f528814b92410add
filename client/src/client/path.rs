//! The paths that requests travel over, to be looked at and given up.

use std::time::Duration;

use session_protocols::{
    AccountId, NodeId,
    path::{State, Use},
};

use super::Client;
use crate::{clock::Clock, error::ClientError};

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// The hops, from the guard on.
    pub hops: Vec<PathHop>,
    /// What it is used for: no path serves two.
    pub usage: Use,
    /// How long it has been there.
    pub age: Duration,
    /// How it is.
    pub state: State,
}

/// A hop of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathHop {
    /// Which node.
    pub id: NodeId,
    /// Where it is reached; none where that is not known.
    pub address: Option<String>,
}

impl Client {
    /// How the paths are, oldest first; none where requests go straight to nodes.
    pub fn paths(&self) -> Vec<PathInfo> {
        let inner = &*self.inner;
        let Some(onion) = &inner.onion else { return Vec::new() };
        let now = Clock::device_now();
        let hop = |id: NodeId| {
            let address = inner.links.addresses().of(&id).and_then(|(_, all)| all.into_iter().next());
            PathHop { id, address: address.map(|address| address.to_string()) }
        };
        let info = |shown: session_protocols::path::Shown| PathInfo {
            hops: shown.hops.map(hop).to_vec(),
            usage: shown.usage,
            age: Duration::from_micros(now.since(shown.made).0),
            state: shown.state,
        };
        onion.shown().into_iter().map(info).collect()
    }

    /// Makes paths for sending and for reading these accounts, and has each tried by a question that is
    /// nobody's.
    ///
    /// # Errors
    /// When none can be made.
    pub async fn prepare_paths(&self, accounts: &[AccountId]) -> Result<Vec<PathInfo>, ClientError> {
        let inner = &*self.inner;
        if let Some(onion) = &inner.onion {
            let reads = accounts.iter().map(|account| Use::Read(*account));
            let uses: Vec<_> = [Use::Send].into_iter().chain(reads).collect();
            onion.prepare(&uses, inner.options.answer).await?;
        }
        Ok(self.paths())
    }

    /// Gives up all paths, so that what is asked next travels over others. The guards stay.
    pub fn rebuild_paths(&self) {
        if let Some(onion) = &self.inner.onion {
            onion.rebuild();
        }
    }
}
