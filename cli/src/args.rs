//! The commands, their options and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use session_protocols::AccountId;

mod config;
mod doctor;
mod key;
mod mailbox;
mod manual;
mod name;
mod network;
mod node;
mod simulation;
mod stake;
mod testnet;
mod wallet;

pub(crate) use config::{Config, ConfigInit, ConfigShow, Flags, Of};
pub(crate) use doctor::Doctor;
pub(crate) use key::{Change, Folder, NodeKey};
pub(crate) use mailbox::{Keep, Mailbox, Only, Written};
pub(crate) use manual::{Completions, Man};
pub(crate) use name::{Act, Names, Said};
pub(crate) use network::{Join, Networks, Publish};
pub(crate) use node::{Node, NodeInit, NodeLog, NodeRun};
pub(crate) use simulation::{Sim, Simulation};
pub(crate) use stake::{Deed, Register, Sending, Slot, Stake};
pub(crate) use testnet::{Bench, Testnet, Verb};
pub(crate) use wallet::{Money, Pay, Price, Wallet};

/// Private messages over a network that nobody runs.
#[derive(Debug, Parser)]
#[command(name = "session", version, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  session testnet up                       start twelve nodes on this machine
  session account new --name alice         make an account
  session account new --name bob
  session send --from alice bob hello      send a message
  session inbox --account bob              read it

Exit codes: 0 ok, 1 failed, 2 usage, 3 not ready, 4 refused for safety.
With --json, results and errors are on standard output: {\"data\": ...} or
{\"error\": {\"code\", \"message\", \"remedy\"}}.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Where accounts and contacts are kept [default: ~/.session]
    #[arg(long, global = true, value_name = "DIR", env = "SESSION_HOME", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,
    /// The network: its name, or its file [default: the local testnet]
    #[arg(long, global = true, value_name = "NAME|FILE", env = "SESSION_NETWORK", hide_env_values = true)]
    pub(crate) network: Option<String>,
    /// Whether the network was named by the flag, not by the environment.
    #[arg(skip)]
    pub(crate) named: bool,
    /// Ask nodes straight, not over onion paths: they see where you are. For debugging, on local networks
    #[arg(long, global = true)]
    pub(crate) direct: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, list, show, restore and export accounts, and their keys on the settlement chain
    #[command(
        subcommand,
        after_help = "\
Examples:
  session account new --name alice
  session account list
  session account export alice"
    )]
    Account(Account),
    /// Send a message
    #[command(after_help = "\
Examples:
  session send alice hello                           to a contact, or to an account of your own
  session send @alice hello                          to whoever has the name alice in the network
  session send --from bob alice \"are you there?\"
  session send 05af...12 -- --this starts with a dash
  fortune | session send alice -                     the text from standard input")]
    Send(Send),
    /// Read messages
    #[command(after_help = "\
Examples:
  session inbox                            all messages, oldest first
  session inbox --account bob --new        what bob was not shown before
  session inbox --watch                    keep printing as they arrive
  session inbox --new --watch --json       one envelope a line")]
    Inbox(Inbox),
    /// Delete messages that nodes keep, change when they end, and take rights on a mailbox away
    #[command(after_help = "\
Examples:
  session mailbox ends
  session mailbox expire 24 --all
  session mailbox delete --all --yes")]
    Mailbox(Mailbox),
    /// Give account ids a name
    #[command(
        subcommand,
        after_help = "\
Examples:
  session contact add alice 05af...12
  session contact list
  session contact remove alice"
    )]
    Contact(Contact),
    /// Show or change the onion paths that requests travel over
    #[command(
        subcommand,
        after_help = "\
Examples:
  session path show
  session path rebuild --json"
    )]
    Path(Path),
    /// Look names up; register, point and trade them on the settlement chain
    #[command(after_help = "\
Examples:
  session name show alice
  session name register alice --years 2
  session name set alice account 05af...12
  session name list
  session name sell alice 500
  session name market")]
    Name(Names),
    /// Stake on nodes, and claim what they earn
    #[command(after_help = "\
Examples:
  session stake list
  session stake register node-1 --fee 10%
  session stake contribute d75a98...511a 5000 --account bob
  session stake rewards
  session stake claim --yes")]
    Stake(Stake),
    /// Pay and be paid: every account has a wallet
    #[command(after_help = "\
Examples:
  session wallet faucet                    on a local testnet
  session wallet balance
  session wallet send 5 alice
  session wallet request 5 bob --note lunch
  session wallet history")]
    Wallet(Wallet),
    /// Run a network of many nodes on this machine
    #[command(after_help = "\
Examples:
  session testnet up                       twelve nodes, ready when the command returns
  session testnet status
  session testnet kill 2 5                 as a crash would
  session testnet start 2 5
  session testnet fund alice               SESH and ether, to stake with
  session testnet down                     stop them and remove their messages")]
    Testnet(Testnet),
    /// Run a node of a network: one command, from nothing to a node that is active
    ///
    /// Looks the network's description up, checks the machine, makes keys, finds out where others reach it and has
    /// them try, reads the chain, stakes, and waits until the node is in a swarm. Whoever was interrupted, or mended
    /// what a step named, types it again.
    #[command(after_help = "\
Examples:
  session join https://net.example.org
  session join testnet --account alice
  sudo session join testnet --service      in the background, from now on and after each start of the machine
  session join ./network.toml --address /ip4/203.0.113.7/udp/22021/quic-v1
  session join testnet --yes --json        an envelope a step, for programs")]
    Join(Join),
    /// Networks: list, show, check and add them, and begin one
    #[command(
        subcommand,
        after_help = "\
Examples:
  session network list
  session network show https://net.example.org
  session network publish mynet --rpc https://rpc.example.org --ip 203.0.113.7"
    )]
    Network(Networks),
    /// Make and run a node
    #[command(
        subcommand,
        after_help = "\
Examples:
  session node init --data /var/lib/session --operator 0x52908400098527886E0F7030069857D2E4169EE7 \\
      --address /ip4/203.0.113.7/udp/22021/quic-v1
  session node run --network network.toml --data /var/lib/session"
    )]
    Node(Node),
    /// Find out what is wrong with a node, and how to mend it
    ///
    /// It looks at the node's folder, keys and settings, the machine, the ports, the endpoints of the chain, and asks
    /// the node itself where it runs: whether others reach it, its stake, its swarm, its peers. Nothing is changed.
    #[command(after_help = "\
Examples:
  session doctor                           of the one node that was made here
  session doctor --data /var/lib/session
  session doctor --data /var/lib/session --bundle support.tar
  session doctor --data /var/lib/session --json

Exit codes: 0 nothing is to be done, 3 something wants to be looked at or the node does not run,
1 something is broken.")]
    Doctor(Doctor),
    /// Show, check and write the settings of a node
    #[command(
        subcommand,
        after_help = "\
Examples:
  session config init --data /var/lib/session
  session config check --data /var/lib/session
  session config show --origin --data /var/lib/session"
    )]
    Config(Config),
    /// Show, back up, restore and encrypt the keys of a node
    #[command(
        subcommand,
        after_help = "\
Examples:
  session key show --data /var/lib/session
  session key backup node.backup --data /var/lib/session
  session key restore node.backup --data /var/lib/session
  session key change-passphrase --data /var/lib/session"
    )]
    Key(NodeKey),
    /// Print what completes commands in a shell
    #[command(after_help = "\
Examples:
  session completions bash > ~/.local/share/bash-completion/completions/session
  session completions zsh > ~/.zfunc/_session
  session completions fish > ~/.config/fish/completions/session.fish")]
    Completions(Completions),
    /// Print the manual as man reads it
    #[command(after_help = "\
Examples:
  session man | man -l -
  session man node run | man -l -
  session man --out /usr/local/share/man/man1          a page for every command")]
    Man(Man),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Make an account
    #[command(after_help = "\
Examples:
  session account new
  session account new --name alice")]
    New {
        /// What to call it here; others do not see it [default: account-1, account-2, ...]
        #[arg(long)]
        name: Option<String>,
    },
    /// List the accounts; the first is used when none is named
    #[command(after_help = "\
Example:
  session account list --json")]
    List,
    /// Show the id of an account, by which others reach it
    #[command(after_help = "\
Examples:
  session account show
  session account show alice")]
    Show {
        /// Which account [default: the first]
        name: Option<String>,
    },
    /// Bring an account back from its recovery phrase
    #[command(after_help = "\
Examples:
  session account restore --name alice     asks for the phrase, which then is in no shell history
  session account restore < phrase.txt")]
    Restore {
        /// What to call it here [default: account-1, account-2, ...]
        #[arg(long)]
        name: Option<String>,
        /// The thirteen words; when not given, asked for on a terminal, and else read from standard input
        #[arg(num_args = 1..)]
        phrase: Vec<String>,
    },
    /// Print the recovery phrase of an account: whoever has it, has the account
    #[command(after_help = "\
Example:
  session account export alice > phrase.txt")]
    Export {
        /// Which account
        name: String,
    },
    /// Show or import the key that an account uses on the settlement chain
    #[command(
        subcommand,
        after_help = "\
Examples:
  session account key show alice
  session account key import alice < key.txt"
    )]
    Key(Key),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Show the address of an account on the settlement chain: what stakes and fees are paid from
    #[command(after_help = "\
Examples:
  session account key show
  session account key show alice --json")]
    Show {
        /// Which account [default: the first]
        name: Option<String>,
    },
    /// Use a key that you have in place of the one that follows from the recovery phrase
    ///
    /// It is asked for on a terminal, and else read from standard input: 64 hex digits. It is kept in your
    /// home folder and is not in the recovery phrase: back it up. While the address so far holds money or names it is
    /// refused, since the account could not get at them by the new key; the key of the recovery phrase is used again once
    /// the file of the new one, which is told, is moved away.
    #[command(after_help = "\
Examples:
  session account key import alice         asks for the key, which then is in no shell history
  session account key import < key.txt")]
    Import {
        /// Which account [default: the first]
        name: Option<String>,
        /// Do so though the address so far holds something, or nobody tells whether it does
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The account that sends [default: the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// An account id, a name from the address book, or a name of the network; @ means those of the network
    pub(crate) to: String,
    /// Send although the name leads to another account than before, if it is this one
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) follow: Option<AccountId>,
    /// The text; words are joined by spaces; - reads standard input
    #[arg(required = true, num_args = 1..)]
    pub(crate) text: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Inbox {
    /// Whose messages [default: the first account]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Only those not shown before
    #[arg(long)]
    pub(crate) new: bool,
    /// Keep printing as messages arrive
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Contact {
    /// Add an account id under a name
    #[command(after_help = "\
Examples:
  session contact add alice 05af...12
  session contact add alice @alice                   whoever has that name now")]
    Add {
        /// The name: letters, digits, -, _ and .
        name: String,
        /// The account id: 66 hex digits; an account of yours, somebody from the address book, or a name of the network;
        /// @ means those of the network
        id: String,
        /// Take it although the name of the network leads to another account than before, if it is this one
        #[arg(long, value_name = "ACCOUNT")]
        follow: Option<AccountId>,
    },
    /// List the address book
    #[command(after_help = "\
Example:
  session contact list --json")]
    List,
    /// Remove a name
    #[command(after_help = "\
Example:
  session contact remove alice")]
    Remove {
        /// The name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Path {
    /// Make paths as a command would, try them, and show them
    ///
    /// A path begins at one of two guards, which are kept for weeks and remembered in your home folder. The
    /// hops behind it are new with every command: paths end with the program that made them. A program that
    /// runs on changes them every few minutes.
    #[command(after_help = "\
Examples:
  session path show                        one for sending, and one for reading the first account
  session path show --json")]
    Show,
    /// Give the paths up, make others and show those; the guards stay
    ///
    /// Paths belong to one running program: a watch that runs elsewhere goes on over its own.
    #[command(after_help = "\
Example:
  session path rebuild")]
    Rebuild,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use session_sim as sim;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_least_that_help_names_is_the_least() {
        let command = Cli::command();
        let testnet = command.find_subcommand("testnet").unwrap();
        let help = |verb: &str, argument: &str| {
            let verb = testnet.find_subcommand(verb).unwrap();
            let argument = verb.get_arguments().find(|known| known.get_id() == argument).unwrap();
            argument.get_help().unwrap().to_string()
        };
        assert_eq!(sim::MIN_MINUTES, sim::onion::MIN_MINUTES);
        assert!(help("sim", "minutes").contains(&format!("{} at least", sim::MIN_MINUTES)));
        assert!(help("sim", "nodes").contains(&format!("1 to {}", sim::MAX_NODES)));
        let paths = format!("{} to {}", sim::onion::MIN_NODES, sim::onion::MAX_NODES);
        assert!(help("sim", "nodes").contains(&paths));
        assert!(help("up", "nodes").contains(&format!("1 to {}", session_testnet::MAX_NODES)));
        let least = format!("{} to {}", session_testnet::bench::MIN_NODES, session_testnet::MAX_NODES);
        assert!(help("bench", "nodes").contains(&least));
    }

    #[test]
    fn every_command_has_examples_in_its_help() {
        fn check(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") && help.contains("session "), "{path} shows no example");
            for sub in command.get_subcommands() {
                check(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        check(&Cli::command(), "session");
    }
}
