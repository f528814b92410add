//! `session testnet`: what it understands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use session_chain::Amount;

use super::Sim;

#[derive(Debug, Args)]
pub(crate) struct Testnet {
    /// Where the testnet lives, so that several can coexist [default: the user's state folder]
    #[arg(long, global = true, value_name = "DIR", env = "SESSION_TESTNET_DIR", hide_env_values = true)]
    pub(crate) dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start the nodes, or those of them that are down, and wait until all are ready
    #[command(after_help = "\
Examples:
  session testnet up
  session testnet up --nodes 30
  session testnet up --page 8080           its page at http://127.0.0.1:8080
  session testnet up --no-chain            its nodes stake nothing, and are those of the network file
  session testnet up --dir /tmp/second     a second one beside the first")]
    Up {
        /// How many nodes, 1 to 250 [default: 12, or as many as there are]
        #[arg(long)]
        nodes: Option<usize>,
        /// Start a new network without a chain
        #[arg(long)]
        no_chain: bool,
        /// The port of the page that shows the network, on loopback; 0 for a free one
        #[arg(long, value_name = "PORT", default_value_t = 0)]
        page: u16,
    },
    /// Serve the page of a testnet, as "up" does
    #[command(
        hide = true,
        after_help = "\
Example:
  session testnet page --port 8080"
    )]
    Page {
        /// Its port, on loopback; 0 for a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Stop the nodes, and remove them with their messages
    #[command(after_help = "\
Examples:
  session testnet down
  session testnet down --keep              \"up\" goes on with the same nodes and messages")]
    Down {
        /// Keep keys and messages
        #[arg(long)]
        keep: bool,
    },
    /// Show how the nodes are
    #[command(after_help = "\
Example:
  session testnet status --json")]
    Status,
    /// Kill nodes, as a crash would
    #[command(after_help = "\
Example:
  session testnet kill 2 5")]
    Kill(Nodes),
    /// Start nodes that are down
    #[command(after_help = "\
Example:
  session testnet start 2 5")]
    Start(Nodes),
    /// Stop nodes gracefully, and start them again
    #[command(after_help = "\
Example:
  session testnet restart 3")]
    Restart(Nodes),
    /// Add one more node: it stakes through the contracts, and is active when the command returns
    #[command(after_help = "\
Example:
  session testnet add")]
    Add,
    /// Let a node leave: it serves to its end, its stake is paid back, and it is taken down
    ///
    /// This takes a minute and a half.
    #[command(after_help = "\
Example:
  session testnet remove 13")]
    Remove {
        /// Which node
        #[arg(value_name = "N")]
        node: usize,
    },
    /// Give somebody SESH of the testnet's chain, and ether to pay for what it sends
    #[command(after_help = "\
Examples:
  session testnet fund alice
  session testnet fund alice --sesh 6250
  session testnet fund 0x52908400098527886E0F7030069857D2E4169EE7")]
    Fund {
        /// An account of yours, somebody from the address book, whoever has a name of the testnet, or any address
        account: String,
        /// How many SESH
        #[arg(long, value_name = "AMOUNT", default_value = "25000")]
        sesh: Amount,
    },
    /// Print what a node wrote
    #[command(after_help = "\
Examples:
  session testnet logs 3
  session testnet logs 3 --follow
  session testnet logs 3 --follow --json   one envelope a line")]
    Logs {
        /// Which node
        #[arg(value_name = "N")]
        node: usize,
        /// Keep printing as it grows
        #[arg(long, short)]
        follow: bool,
    },
    /// Measure how fast a testnet is
    #[command(after_help = "\
Examples:
  session testnet bench
  session testnet bench --clients 16 --seconds 5 --json
  session testnet bench --start                 how soon twelve nodes are ready")]
    Bench(Bench),
    /// Simulate a network with faults, in virtual time
    #[command(after_help = "\
Examples:
  session testnet sim --nodes 200 --minutes 10 --seed 7
  session testnet sim --faults none --json
  session testnet sim --what onion --seed 7     onion paths through hostile nodes
  session testnet sim --what ends               how often both ends of a path are bad
  session testnet sim --what guards --days 90   how many guards see a client in months of churn")]
    Sim(Sim),
}

#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// Which nodes, by their numbers
    #[arg(required = true, num_args = 1.., value_name = "N")]
    pub(crate) nodes: Vec<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// How many clients store at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) clients: u16,
    /// For how long
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub(crate) seconds: u16,
    /// How many nodes, 3 to 250: one of them is killed and returns
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(3..=250))]
    pub(crate) nodes: u16,
    /// Measure stores over onion paths instead, beside stores that go straight
    #[arg(long)]
    pub(crate) paths: bool,
    /// Measure one relay on a core of its own instead
    #[arg(long, conflicts_with = "paths")]
    pub(crate) relay: bool,
    /// Measure how soon a network from nothing is ready instead: with its chain, and without one
    #[arg(long, conflicts_with_all = ["paths", "relay"])]
    pub(crate) start: bool,
    /// Measure lookups of names over onion paths instead, on a testnet with a chain
    #[arg(long, conflicts_with_all = ["paths", "relay", "start"])]
    pub(crate) names: bool,
    /// Measure stores through the JSON door instead, beside native ones, also driven by wrk where that is installed
    #[arg(long, conflicts_with_all = ["paths", "relay", "start", "names"])]
    pub(crate) door: bool,
}
