//! Where a client keeps what it has to know again of one network: in its home, or nowhere.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use session_chain::network::NetworkFile;
use session_protocols::{
    NodeId, Time,
    identity::blake2b,
    names::{Kind, Name, NameKeys},
    path::{Candidate, guards::Guards},
};

use crate::{
    error::ClientError,
    home::{Home, HomeError, Pin, Pins},
};

/// The files of one network; without a home, what is kept lasts as long as the process.
#[derive(Clone)]
pub(crate) struct Kept {
    home: Option<Home>,
    network: [u8; 32],
    /// What names said, where there is no home.
    pins: Arc<Mutex<Pins>>,
}

impl Kept {
    /// The files of a network in a home.
    pub(crate) fn new(home: Option<Home>, file: &NetworkFile) -> Self {
        // The nodes of a network change and its seed does not.
        let network = blake2b(&[b"session guards of", file.name.as_str().as_bytes(), &file.seed]);
        Self { home, network, pins: Arc::default() }
    }

    /// What the network's files are kept under.
    pub(crate) const fn network(&self) -> &[u8; 32] {
        &self.network
    }

    /// The guards that were kept; none if nothing ever was.
    pub(crate) fn guards(&self) -> Result<Guards, ClientError> {
        let Some(home) = &self.home else { return Ok(Guards::default()) };
        home.guards(&self.network).map_err(ClientError::Guards)
    }

    /// Keeps the guards together with those that other processes kept, and returns all of them; none if the
    /// disk refuses.
    pub(crate) fn keep_guards(
        &self,
        guards: &Guards,
        now: Time,
        nodes: &BTreeMap<NodeId, Candidate>,
    ) -> Option<Guards> {
        let Some(home) = &self.home else { return Some(guards.clone()) };
        let kept = home.change_guards(&self.network, |kept| guards.merge(kept, now, nodes));
        kept.inspect_err(|error| tracing::error!(%error, "the guards cannot be kept, and none is drawn")).ok()
    }

    /// What names said when they were followed.
    pub(crate) fn pins(&self) -> Result<Pins, HomeError> {
        match &self.home {
            Some(home) => home.pins(&self.network),
            None => Ok(self.own_pins().clone()),
        }
    }

    /// As [`Home::pin`].
    pub(crate) fn pin(
        &self,
        name: &Name,
        kind: Kind,
        pin: Pin,
        replace: bool,
    ) -> Result<Option<(Name, Kind, Pin)>, HomeError> {
        match &self.home {
            Some(home) => home.pin(&self.network, name, kind, pin, replace),
            None => Ok(Pin::keep(&mut self.own_pins(), name, kind, pin, replace)),
        }
    }

    /// The keys of a name, if it was followed before; if they cannot be read they are computed anew.
    pub(crate) fn name_keys(&self, name: &Name) -> Option<NameKeys> {
        self.home.as_ref()?.name_keys(&self.network, name).ok().flatten()
    }

    /// Keeps the keys of a name that was followed.
    pub(crate) fn keep_name_keys(&self, name: &Name, keys: &NameKeys) {
        let Some(home) = &self.home else { return };
        if let Err(error) = home.keep_name_keys(&self.network, name, keys) {
            tracing::warn!(%error, "the keys of a name cannot be kept: another run computes them again");
        }
    }

    fn own_pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of the nodes' newest checkpoint; none if there are none that can be read: it is fetched again.
    pub(crate) fn checkpoint(&self) -> Option<Vec<u8>> {
        let read = self.home.as_ref()?.checkpoint(&self.network);
        read.inspect_err(|error| tracing::warn!(%error, "the nodes' checkpoint is fetched again"))
            .ok()
            .flatten()
    }

    /// Keeps them.
    pub(crate) fn keep_checkpoint(&self, bytes: &[u8]) {
        let Some(home) = &self.home else { return };
        if let Err(error) = home.keep_checkpoint(&self.network, bytes) {
            tracing::warn!(%error, "the nodes' checkpoint cannot be kept: another run fetches it again");
        }
    }

    /// The bytes of the signed list of nodes; none if there are none that can be read: it is fetched again.
    pub(crate) fn directory(&self) -> Option<Vec<u8>> {
        let read = self.home.as_ref()?.directory(&self.network);
        read.inspect_err(|error| tracing::warn!(%error, "the list of nodes is fetched again")).ok().flatten()
    }

    /// Keeps them.
    pub(crate) fn keep_directory(&self, bytes: &[u8]) {
        let Some(home) = &self.home else { return };
        if let Err(error) = home.keep_directory(&self.network, bytes) {
            tracing::warn!(%error, "the list of nodes cannot be kept: another run fetches it again");
        }
    }
}
