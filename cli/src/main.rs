//! The `session` program: accounts, messages, nodes and local testnets on the command line.
//!
//! It reads arguments, calls the crate that does the work, and prints what comes back; nothing is
//! decided here.
//!
//! - `args`: the commands, their options and their help
//! - `output`, `failure`: what is printed, for people and for programs; exit codes
//! - `network`: which network is meant
//! - `account`, `contact`, `name`, `send`, `inbox`, `mailbox`, `path`: what a user does
//! - `recipient`: whom they mean
//! - `stake`: what operators and contributors do on the settlement chain
//! - `name`: what people do with names there
//! - `sending`: transactions: told with their cost, agreed to, sent
//! - `wallet`: paying and being paid
//! - `join`: from a bare machine to a node that is active; `publish`: a network that others join
//! - `node`, `testnet`, `bench`: what operators and developers do
//! - `doctor`: what is wrong with a node, and how to mend it
//! - `config`, `key`: the settings of a node, and its keys
//! - `passphrase`: what keys are encrypted under
//! - `manual`: completions for shells, and the manual

#![allow(clippy::wildcard_enum_match_arm, reason = "people are told of the rest in one way")]

mod account;
mod args;
mod bench;
mod config;
mod contact;
mod doctor;
mod failure;
mod inbox;
mod join;
mod key;
mod log;
mod mailbox;
mod manual;
mod name;
mod network;
mod node;
mod output;
mod passphrase;
mod path;
mod payee;
mod publish;
mod recipient;
mod send;
mod sending;
mod simulation;
mod stake;
mod testnet;
mod text;
mod wallet;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource};
use session_client::home::Home;

use args::{Cli, Command};
use failure::{Exit, Failure};
use output::Output;

/// What a command works with.
struct Context {
    output: Output,
    global: args::Global,
}

impl Context {
    /// The same, for the network of this file.
    fn on(&self, network: &std::path::Path) -> Self {
        let network = Some(network.display().to_string());
        Self { output: self.output, global: args::Global { network, named: false, ..self.global.clone() } }
    }

    fn home(&self) -> Result<Home, Failure> {
        Ok(Home::open(self.home_path()?)?)
    }

    fn home_path(&self) -> Result<std::path::PathBuf, Failure> {
        let default = || std::env::home_dir().map(|home| home.join(".session"));
        let path = self.global.home.clone().or_else(default);
        path.ok_or_else(|| {
            Failure::usage("nothing says where your accounts are", "set HOME, or give --home DIR")
        })
    }
}

fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(cli.global.json);
    log::start(&cli.command);
    let context = Context { output, global: cli.global };
    match run(&context, cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => context.output.failure(&failure),
    }
}

fn parse() -> Result<Cli, clap::Error> {
    let mut matches = Cli::command().try_get_matches()?;
    let named = matches.value_source("network") == Some(ValueSource::CommandLine);
    let cli = Cli::from_arg_matches_mut(&mut matches);
    let mut cli = cli.map_err(|error| error.format(&mut Cli::command()))?;
    cli.global.named = named;
    Ok(cli)
}

fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::io("cannot start", &cause))?;
    runtime.block_on(async {
        match command {
            Command::Account(command) => account::run(context, command).await,
            Command::Contact(command) => contact::run(context, command).await,
            Command::Send(arguments) => send::run(context, arguments).await,
            Command::Inbox(arguments) => inbox::run(context, arguments).await,
            Command::Mailbox(arguments) => mailbox::run(context, arguments).await,
            Command::Path(command) => path::run(context, command).await,
            Command::Name(arguments) => name::run(context, arguments).await,
            Command::Stake(arguments) => stake::run(context, arguments).await,
            Command::Wallet(arguments) => wallet::run(context, arguments).await,
            Command::Testnet(arguments) => testnet::run(context, arguments).await,
            Command::Join(arguments) => Box::pin(join::run(context, arguments)).await,
            Command::Network(command) => Box::pin(network::command::run(context, command)).await,
            Command::Node(command) => node::run(context, command).await,
            Command::Doctor(arguments) => Box::pin(doctor::run(context, &arguments)).await,
            Command::Config(command) => config::run(context, command),
            Command::Key(command) => key::run(context, command),
            Command::Completions(arguments) => manual::completions(context, &arguments),
            Command::Man(arguments) => manual::man(context, &arguments),
        }
    })
}

/// Help and the version are answers; everything else that clap says is an error.
fn usage(error: &clap::Error) -> ExitCode {
    let json =
        std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json");
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) || !json {
        let printed = error.print().is_ok();
        return if error.use_stderr() || !printed { Exit::Usage.into() } else { ExitCode::SUCCESS };
    }
    Output::new(true).failure(&Failure::from_clap(error))
}
