//! Where a client keeps what it has to know again of one network: in its home, or nowhere.

use session_chain::network::NetworkFile;
use session_protocols::{identity::blake2b, path::guards::Guards};

use crate::{error::ClientError, home::Home};

/// The files of one network; without a home, what is kept lasts as long as the process.
#[derive(Clone)]
pub(crate) struct Kept {
    home: Option<Home>,
    network: [u8; 32],
}

impl Kept {
    /// The files of a network in a home.
    pub(crate) fn new(home: Option<Home>, file: &NetworkFile) -> Self {
        // The nodes of a network change and its seed does not.
        let network = blake2b(&[b"session guards of", file.name.as_str().as_bytes(), &file.seed]);
        Self { home, network }
    }

    /// The guards that were kept; none if nothing ever was.
    pub(crate) fn guards(&self) -> Result<Guards, ClientError> {
        let Some(home) = &self.home else { return Ok(Guards::default()) };
        home.guards(&self.network).map_err(ClientError::Guards)
    }

    /// Keeps the guards.
    pub(crate) fn keep_guards(&self, guards: &Guards) {
        let Some(home) = &self.home else { return };
        if let Err(error) = home.keep_guards(&self.network, guards) {
            tracing::error!(%error, "the guards cannot be kept: another run would choose others");
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
