//! `session network` and `session join`.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Subcommand};
use session_chain::{
    Amount,
    network::{Publisher, parse_release},
};
use session_protocols::{NetworkName, directory::Endpoint};

use super::Sending;

#[derive(Debug, Subcommand)]
pub(crate) enum Networks {
    /// List the networks that are known here: those built in, and those added
    #[command(after_help = "\
Example:
  session network list --json")]
    List,
    /// Show what a network's description says
    #[command(after_help = "\
Examples:
  session network show testnet
  session network show https://net.example.org")]
    Show(Named),
    /// Check a description: its form, its signature, and whether its chain is there
    #[command(after_help = "\
Examples:
  session network verify ./network.toml
  session network verify https://net.example.org --publisher 3d40...660c")]
    Verify(Named),
    /// Keep a network's description here, so that --network takes its name
    #[command(after_help = "\
Examples:
  session network add https://net.example.org
  session network add mynet --publisher 3d40...660c        from now on accounts here may pay in it")]
    Add(Named),
    /// Begin a public test network: deploy its contracts, sign its description, run its first nodes
    ///
    /// The account pays for the contracts and has all tokens of the network. The command goes on running: it is the
    /// first nodes, and serves the description that others join by. Whoever was interrupted repeats it, and nothing is
    /// paid twice. Once all is paid it needs no account any more: the faucet lends with a key of its own, which can take
    /// nothing out. If that key is taken, delete faucet/gas.key in the network's folder and name the account once more:
    /// another key lends from then on. What others
    /// can be told anew (--rpc, --ip, --url, --disk, --release) may change then, and there may be more --nodes.
    #[command(after_help = "\
Examples:
  session network publish mynet --rpc https://rpc.example.org --ip 203.0.113.7
  session network publish mynet --rpc http://203.0.113.7:8545 --ip 203.0.113.7 --epoch 60")]
    Publish(Publish),
    /// Show what the faucet of a test network lends from; take out of it, let lent nodes leave
    ///
    /// Who may is the account that published the network. --network names the network, or the file network.toml in its
    /// folder.
    #[command(after_help = "\
Examples:
  session network vault --network mynet                    what is in it, and who has stakes of it
  session network vault withdraw 25000 --network mynet
  session network vault recall d75a98...511a --network mynet --account treasury")]
    Vault(Vault),
}

#[derive(Debug, Args)]
pub(crate) struct Vault {
    /// Whose key signs and pays [default: the first account]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) account: Option<String>,
    #[command(subcommand)]
    pub(crate) deed: Option<VaultDeed>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VaultDeed {
    /// Take out what is not lent, to the vault's owner
    #[command(after_help = "\
Example:
  session network vault withdraw 25000 --network mynet")]
    Withdraw {
        /// How many SESH
        amount: Amount,
        #[command(flatten)]
        sending: Sending,
    },
    /// Let a lent node leave, which is final: its stake comes back when a checkpoint releases it
    #[command(after_help = "\
Example:
  session network vault recall d75a98...511a --network mynet")]
    Recall {
        /// The node: its id, its folder, or the name `node init` gave it
        node: String,
        #[command(flatten)]
        sending: Sending,
    },
}

/// A network that is named.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// A network's name, its file, or an https address
    #[arg(value_name = "NETWORK")]
    pub(crate) source: String,
    /// The key of whoever publishes it: nobody else's description is taken. Once it is added or joined by that key,
    /// accounts here may pay by it
    #[arg(long, value_name = "KEY")]
    pub(crate) publisher: Option<Publisher>,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// What to call the network: 1 to 32 of a-z, 0-9 and -
    pub(crate) name: NetworkName,
    /// Who serves the chain, for everybody who joins; the first is asked here
    #[arg(long, value_name = "URL", required = true, value_delimiter = ',')]
    pub(crate) rpc: Vec<String>,
    /// The public addresses at which others reach this machine; its nodes take turns with them. What it does not have
    /// itself, as behind a router, has to be led here: the ports of the description and of all nodes
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub(crate) ip: Vec<IpAddr>,
    /// The port of the first node; the others have the next ones
    #[arg(long, default_value_t = 22_021)]
    pub(crate) port: u16,
    /// The port at which the description is served
    #[arg(long, default_value_t = 22_000)]
    pub(crate) http_port: u16,
    /// The port of loopback of the first node's /status; the others have the next ones
    #[arg(long, default_value_t = 22_080)]
    pub(crate) status_port: u16,
    /// How others reach the description, where that is not http://ADDRESS:PORT: behind a server with a certificate
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// How many nodes begin, 4 or more [default: 16, or as many as there are]
    #[arg(long)]
    pub(crate) nodes: Option<usize>,
    /// Seconds of an epoch, which stay as they are [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) epoch: Option<core::num::NonZeroU64>,
    /// Room on the disk that a node should have, in GiB [default: 30]
    #[arg(long, value_name = "GIB")]
    pub(crate) disk: Option<u64>,
    /// The oldest release of this program that a node of the network may be [default: any]
    #[arg(long, value_name = "VERSION", value_parser = release)]
    pub(crate) release: Option<[u64; 3]>,
    /// The share of all nodes that the faucet lends stakes to, in percent: from 34 on, nodes that cost nothing can stop
    /// the network's checkpoints. Of 16 first nodes, 25 % lends to 5 newcomers; of 32 to 10 [default: 25]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) lent: Option<u64>,
    /// The folder of the network's keys and its first nodes [default: published/NAME of the home]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The account that pays, and has all tokens [default: the first, where something is left to be paid for]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Do not ask before anything is paid for
    #[arg(long)]
    pub(crate) yes: bool,
}

fn release(text: &str) -> Result<[u64; 3], &'static str> {
    parse_release(text).ok_or("expected a version such as 0.2.0")
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    #[command(flatten)]
    pub(crate) named: Named,
    /// What to call the node here; its folder is nodes/NAME of the home, with --service /var/lib/session/NAME
    /// [default: as the network is called]
    #[arg(long, conflicts_with = "data")]
    pub(crate) name: Option<String>,
    /// The folder for the node's keys and messages; made if missing
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The account that the node's rewards are for, and that stakes [default: the first; made where there is none]
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
    /// Where others reach the node, several times if needed [default: what is found]
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) address: Vec<Endpoint>,
    /// The port to listen on, in the place of that of the node's settings, too; others are told it unless --address
    /// says another [default: 22021]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The port of loopback where /livez, /readyz, /metrics and /status are served [default: 22080]
    #[arg(long)]
    pub(crate) http_port: Option<u16>,
    /// Who serves the chain, several times if needed [default: as the description says]
    #[arg(long, value_name = "URL", env = "SESSION_RPC", hide_env_values = true, value_delimiter = ',')]
    pub(crate) rpc: Vec<String>,
    /// Pay the stake without being asked, where the account has it; in a network that nobody here agreed to pay in so
    /// far, name its publisher too (--publisher)
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print what to sign in another wallet to register the node (text, data and links; with --json as JSON), and wait
    /// until that is done
    #[arg(long, requires = "operator", conflicts_with_all = ["account", "yes"])]
    pub(crate) elsewhere: bool,
    /// Whose wallet that is: it stakes, and the node's rewards are for it. An address (0x and 40 hex digits), an
    /// account of yours, somebody from the address book, or whoever has a name of the network
    #[arg(long, value_name = "WHO", requires = "elsewhere")]
    pub(crate) operator: Option<String>,
    /// Where the node logs, unless its settings say it [default: node.log in its folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// End once the node is active: for trying out whether it can be
    #[arg(long)]
    pub(crate) once: bool,
    /// Let systemd run the node, in the unit session-NAME, and end once it is active; as root
    #[arg(long, conflicts_with_all = ["once", "log_file"])]
    pub(crate) service: bool,
    /// Stop that unit and remove it; the node's folder stays as it is
    #[arg(long, requires = "service", conflicts_with_all = ["yes", "elsewhere", "account", "address"])]
    pub(crate) remove: bool,
    /// The user of this machine that the service runs as; only the one named session is made
    #[arg(long, value_name = "NAME", default_value = "session", requires = "service")]
    pub(crate) user: String,
    /// The folder of units, where it is not systemd's
    #[arg(long, value_name = "DIR", requires = "service", hide = true)]
    pub(crate) unit_dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn command(words: &str) -> Result<Command, clap::error::ErrorKind> {
        let words = ["session"].into_iter().chain(words.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.command).map_err(|error| error.kind())
    }

    fn vault(words: &str) -> Vault {
        match command(&format!("network vault {words}")) {
            Ok(Command::Network(Networks::Vault(vault))) => vault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_vault_is_looked_at_unless_something_is_to_be_done() {
        assert!(vault("--network mynet").deed.is_none());
        let Vault { account, deed: Some(VaultDeed::Withdraw { amount, sending }) } =
            vault("withdraw 1.5 --account bob --yes")
        else {
            panic!("another deed")
        };
        assert_eq!((account.as_deref(), amount, sending.yes), (Some("bob"), Amount(1_500_000_000), true));
        let deed = vault("--account bob recall node-1").deed;
        assert!(
            matches!(deed, Some(VaultDeed::Recall { node, sending }) if node == "node-1" && !sending.yes)
        );
    }

    #[test]
    fn only_a_service_is_removed_and_nothing_is_paid_for_it() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        for (words, kind) in [
            ("join mynet --remove", MissingRequiredArgument),
            ("join mynet --service --remove --yes", ArgumentConflict),
            ("network vault withdraw", MissingRequiredArgument),
        ] {
            assert_eq!(command(words).unwrap_err(), kind, "{words}");
        }
        assert!(command("join mynet --service --remove --name berlin").is_ok());
    }
}
