//! Logs go to standard error, or a node's to its file: what a node does, or what a user has to know.

mod rotating;

use std::{
    io::{self, IsTerminal},
    sync::Mutex,
};

use session_node::{
    LogControl,
    settings::{Effective, LogFormat},
};
use tracing_log::AsLog;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::LevelFilter,
    fmt::{self, writer::BoxMakeWriter},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use crate::{
    args::{Command, Networks, Node},
    failure::{Exit, Failure},
};
use rotating::RotatingFile;

/// What is logged for users unless `RUST_LOG` says otherwise.
const USER: &str = "error,session=warn";

/// Starts logging; that of nodes their commands start.
pub(crate) fn start(command: &Command) {
    if matches!(
        command,
        Command::Node(Node::Run(_)) | Command::Join(_) | Command::Network(Networks::Publish(_))
    ) {
        return;
    }
    let builder = tracing_subscriber::fmt().with_env_filter(of_users()).with_writer(io::stderr);
    // It can only be refused when logging has been started before, and it has not.
    let _ = builder.with_ansi(has_colours()).try_init();
}

/// Starts the logging of a command that runs nodes beside what else it does: as of any, and returns what changes it.
pub(crate) fn start_nodes() -> LogControl {
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(of_users());
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(has_colours());
    // As above.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    control(handle)
}

/// Starts the logging of a node, as its settings say; what changes it while the node runs.
pub(crate) fn start_node(effective: &Effective) -> Result<LogControl, Failure> {
    let settings = effective.settings();
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter(effective)?);
    let (writer, terminal) = match &settings.log_file {
        Some(path) => {
            let (bytes, files) = (settings.log_file_bytes.0, settings.log_files);
            let file = RotatingFile::open(path, bytes, files);
            let file = file.map_err(|cause| {
                let message = format!("cannot log to {}: {cause}", path.display());
                Failure::new(
                    Exit::Failed,
                    "log_file",
                    message,
                    "name a file in a folder of this user: --log-file",
                )
            })?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
        None => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
    };
    let format = settings.log.unwrap_or(if terminal { LogFormat::Human } else { LogFormat::Json });
    let lines = fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Human => lines.with_ansi(terminal && has_colours()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // As above.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(control(handle))
}

/// What changes the filter behind a handle.
fn control(handle: reload::Handle<EnvFilter, Registry>) -> LogControl {
    LogControl::new(move |text| {
        let filter = parse(text)?;
        handle.reload(filter).map_err(|error| error.to_string())?;
        // Libraries that log by the crate `log` were bounded once, when logging began.
        tracing_log::log::set_max_level(LevelFilter::current().as_log());
        Ok(())
    })
}

/// What is logged for users.
fn of_users() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USER))
}

/// What a node logs by its settings.
pub(crate) fn filter(effective: &Effective) -> Result<EnvFilter, Failure> {
    parse(&effective.settings().log_level).map_err(|why| match effective.refuse("log_level", why.clone()) {
        Some(error) => error.into(),
        None => Failure::usage(why, "write a level, or levels of parts"),
    })
}

fn parse(text: &str) -> Result<EnvFilter, String> {
    if text.trim().is_empty() {
        return Err("a filter is missing".to_owned());
    }
    // A filter takes another word for a part of the program, and then nothing else is logged.
    let bare = |part: &&str| !part.contains(['=', '[']) && part.trim().parse::<LevelFilter>().is_err();
    if let Some(word) = text.split(',').find(bare) {
        return Err(format!("{word} is no level; if it is a part of the program, write {word}=debug"));
    }
    EnvFilter::builder().parse(text).map_err(|error| format!("{text} is no filter: {error}"))
}

fn has_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use tracing_log::log::{LevelFilter as Most, max_level};

    use super::*;

    #[test]
    fn a_filter_that_is_set_while_a_node_runs_counts_for_libraries_that_log_otherwise_too() {
        let control = start_node(&Effective::of(Vec::new()).unwrap()).unwrap();
        assert_eq!(max_level(), Most::Info);
        for (filter, most) in [
            ("info,yamux=trace", Most::Trace),
            ("error", Most::Error),
            ("off", Most::Off),
            ("debug", Most::Debug),
        ] {
            control.set(filter).unwrap();
            assert_eq!(max_level(), most, "{filter}");
        }
        control.set("verbose").unwrap_err();
        assert_eq!(max_level(), Most::Debug);
    }

    #[test]
    fn what_would_silence_a_node_by_mistake_is_no_filter() {
        for text in ["info", "off", "warn,yamux=error,session=info", "session[span]=debug", "3"] {
            parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        }
        for text in ["", " ", "verbose", "warn,session", "session=loud"] {
            parse(text).unwrap_err();
        }
    }
}
