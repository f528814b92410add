//! `session key`: what it understands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeKey {
    /// Show whose keys are in a node's folder; of the keys themselves nothing
    #[command(after_help = "\
Examples:
  session key show --data /var/lib/session
  session key show --data /var/lib/session --json")]
    Show {
        #[command(flatten)]
        of: Folder,
    },
    /// Write all of a node but its messages to one file, encrypted under a passphrase
    ///
    /// In it are the node's key, the key of the account that pays, the registration, node.toml and the networks'
    /// files. Keys that are encrypted are backed up under their own passphrase. Onion keys are not in it: that they
    /// are destroyed daily protects what was sent.
    ///
    /// Of the folder in which a network was published it is all of that network: the keys of its publisher, its faucet and
    /// its first nodes, its description, what was lent and given, and where the contracts are.
    #[command(after_help = "\
Examples:
  session key backup node.backup --data /var/lib/session       asks for a passphrase
  session key backup node.backup --data /var/lib/session --passphrase-file passphrase
  session key backup mynet.backup --data ~/.session/published/mynet")]
    Backup {
        /// The file to write; one that is there is not replaced
        file: PathBuf,
        #[command(flatten)]
        of: Folder,
    },
    /// Put a node, or a network that was published, back from its backup; what is there is never replaced
    #[command(after_help = "\
Examples:
  session key restore node.backup --data /var/lib/session
  session key restore node.backup --data /var/lib/session --passphrase-file passphrase")]
    Restore {
        /// The file that was written
        file: PathBuf,
        #[command(flatten)]
        of: Folder,
    },
    /// Encrypt a node's keys, under another passphrase, or not at all
    #[command(after_help = "\
Examples:
  session key change-passphrase --data /var/lib/session                 asks for both
  session key change-passphrase --data /var/lib/session --remove
  session key change-passphrase --data node1 --passphrase-file old --new-passphrase-file new

The new one may also be in SESSION_NEW_PASSPHRASE. Backups keep the passphrase that they were made with.")]
    ChangePassphrase(Change),
}

/// Whose keys.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The folder with the node's key and messages; of `backup` and `restore` also that of a published network
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The file of the passphrase; or it is in SESSION_PASSPHRASE, or asked for on a terminal, or the first line of
    /// standard input
    #[arg(long, value_name = "FILE", env = "SESSION_PASSPHRASE_FILE", hide_env_values = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(crate) of: Folder,
    /// The file of the new passphrase
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Encrypt them no more
    #[arg(long, conflicts_with = "new_passphrase_file")]
    pub(crate) remove: bool,
}
