//! `session name`: what it understands.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum NameDeed {
    /// Show what a name leads to, as most nodes have signed it
    #[command(after_help = "\
Examples:
  session name show alice
  session name show @shop.alice --json")]
    Show {
        /// The name, with or without @
        name: String,
    },
}
