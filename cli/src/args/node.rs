//! `session node`: what it understands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use session_protocols::directory::Endpoint;

use super::Flags;

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Make the key of a new node, and say what to register
    ///
    /// In a network with a chain the node's keys sign its registration for one operator: registration.toml in
    /// its folder, which is no secret. `session stake register` takes it. Without a chain the network file names
    /// the node.
    #[command(after_help = "\
Examples:
  session node init --name berlin                         on a machine with a public address
  session node init --name berlin --address /ip4/203.0.113.7/udp/22021/quic-v1
  session node init --name berlin --again                 once it has left, to register it again
  session node init --data /var/lib/session --operator 0x52908400098527886E0F7030069857D2E4169EE7 \\
      --address /ip4/203.0.113.7/udp/22021/quic-v1 --address /ip4/203.0.113.7/tcp/22021

A key that is there is never replaced.")]
    Init(NodeInit),
    /// Run one node in the foreground, until it gets SIGTERM or Ctrl-C
    #[command(after_help = "\
Examples:
  session node run --network network.toml --data /var/lib/session
  session node run --network network.toml --data node1 \\
      --listen /ip4/127.0.1.1/udp/22021/quic-v1 --listen /ip4/127.0.1.1/tcp/22021 \\
      --http 127.0.1.1:22080 --door 127.0.1.1:22443 --log json
  RUST_LOG=session=debug session node run --network network.toml --data node1

A flag counts before the environment, that before node.toml in the folder, this before the
network's file, and that before the defaults: session config show --origin.")]
    Run(NodeRun),
    /// Change what a running node logs, until it stops
    #[command(after_help = "\
Examples:
  session node log session=debug --data /var/lib/session
  session node log warn,yamux=error,libp2p_upnp=error,session=info --data /var/lib/session       as it is by default

It asks the node at its HTTP address, with the token in admin-token of its folder. What is to
last is the setting log_level.")]
    Log(NodeLog),
}

#[derive(Debug, Args)]
pub(crate) struct NodeInit {
    /// What to call it here; its folder is nodes/NAME of the home [default: node-1, node-2, ...]
    #[arg(long, conflicts_with = "data")]
    pub(crate) name: Option<String>,
    /// The folder for the node's key and messages; made if missing [default: as the name says]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Who runs the node: an address (0x and 40 hex digits), an account of yours, somebody from the address book, or
    /// whoever has a name of the network [default: the account's address on the settlement chain]
    #[arg(long, value_name = "WHO")]
    pub(crate) operator: Option<String>,
    /// The account that will register the node [default: the first]
    #[arg(long, value_name = "NAME", conflicts_with = "operator")]
    pub(crate) account: Option<String>,
    /// The file of a passphrase to encrypt the node's keys under; or it is in SESSION_PASSPHRASE [default: they are
    /// not encrypted, and readable by their owner only]
    #[arg(long, value_name = "FILE", env = "SESSION_PASSPHRASE_FILE", hide_env_values = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Sign the registration again with the key that is there: for another operator, prefix or network, or
    /// because the node was registered since
    #[arg(long)]
    pub(crate) again: bool,
    /// How often the node's keys have been registered [default: what the chain says; 0 for new keys]
    #[arg(long, value_name = "TIMES", requires = "again")]
    pub(crate) registrations: Option<u64>,
    /// Where others reach the node, several times if needed; all in one IPv4 /24 or IPv6 /48 [default: this
    /// machine's public address at port 22021; in a local network a free port of 127.0.0.1]
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) address: Vec<Endpoint>,
}

#[derive(Debug, Args)]
pub(crate) struct NodeRun {
    /// The folder with the node's key and messages
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The file of the node's settings [default: node.toml in its folder, if there is one]
    #[arg(long, value_name = "FILE", env = "SESSION_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Let everybody ask as much as they like: for measurements
    #[arg(long, hide = true)]
    pub(crate) unlimited: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NodeLog {
    /// A level (error, warn, info, debug, trace), or levels of parts as in RUST_LOG
    #[arg(value_name = "LEVEL")]
    pub(crate) level: String,
    /// The folder with the node's key and messages
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}
