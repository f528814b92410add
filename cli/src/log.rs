//! Logs go to standard error: what a node does, or what a user has to know.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::{Command, LogFormat, Node};

/// What is logged unless `RUST_LOG` says otherwise. yamux warns of every peer that hung up.
const NODE: &str = "warn,yamux=error,session=info";
/// The same for commands of users.
const USER: &str = "error,session=warn";

/// Starts logging.
pub(crate) fn start(command: &Command) {
    let (default, format) = match command {
        Command::Node(Node::Run(arguments)) => (NODE, arguments.log),
        _ => (USER, Some(LogFormat::Human)),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = std::io::stderr().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It can only be refused when logging has been started before, and it has not.
    let _ = match format {
        Some(LogFormat::Human) => builder.with_ansi(colours).try_init(),
        None if terminal => builder.with_ansi(colours).try_init(),
        Some(LogFormat::Json) | None => builder.json().flatten_event(true).try_init(),
    };
}
