//! Where a client's guards are kept: in its home, or nowhere.

use session_chain::network::NetworkFile;
use session_protocols::{identity::blake2b, path::guards::Guards};

use crate::{error::ClientError, home::Home};

/// The guards' file for one network.
pub(crate) struct GuardFile {
    home: Option<Home>,
    network: [u8; 32],
}

impl GuardFile {
    /// The file of a network's guards in a home; without one they last as long as the process.
    pub(crate) fn new(home: Option<Home>, file: &NetworkFile) -> Self {
        // The nodes of a network change and its seed does not.
        let network = blake2b(&[b"session guards of", file.name.as_str().as_bytes(), &file.seed]);
        Self { home, network }
    }

    /// The guards that were kept; none if nothing ever was.
    pub(crate) fn read(&self) -> Result<Guards, ClientError> {
        let Some(home) = &self.home else { return Ok(Guards::default()) };
        home.guards(&self.network).map_err(ClientError::Guards)
    }

    /// Keeps the guards.
    pub(crate) fn keep(&self, guards: &Guards) {
        let Some(home) = &self.home else { return };
        if let Err(error) = home.keep_guards(&self.network, guards) {
            tracing::error!(%error, "the guards cannot be kept: another run would choose others");
        }
    }
}
