//! `session doctor`: what it understands.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The folder with the node's key and messages [default: that of the one node in nodes/ of the home, or of a unit]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Write what was found, with settings, measurements and the end of the log, to a tar archive for whoever helps;
    /// neither secrets nor anything of clients is in it, and a file that is there is not replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
}
