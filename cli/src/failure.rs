//! What went wrong, as people and programs are told, and the exit code that goes with it.

use std::{error::Error, io, process::ExitCode};

use session_client::{ClientError, home::HomeError};
use session_node::NodeError;
use session_testnet::TestnetError;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Whoever read the output has gone: nobody is left to complain to.
    Closed = 0,
    /// It did not work.
    Failed = 1,
    /// It was asked for in a wrong way.
    Usage = 2,
    /// What is needed does not run, or not yet.
    NotReady = 3,
    /// It would have been dangerous.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Failure {
    pub(crate) fn new(
        exit: Exit,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { exit, code, message: message.into(), remedy: remedy.into() }
    }

    pub(crate) fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message, remedy)
    }

    /// What is wrong is the result, and was printed: only the exit code is left to say.
    pub(crate) fn told(exit: Exit) -> Self {
        Self::new(exit, TOLD, "", "")
    }

    /// Whether nothing is left to print.
    pub(crate) fn is_told(&self) -> bool {
        self.exit == Exit::Closed || self.code == TOLD
    }

    /// What the system refused; a closed pipe ends the program quietly.
    pub(crate) fn io(deed: &str, cause: &io::Error) -> Self {
        let exit = if cause.kind() == io::ErrorKind::BrokenPipe { Exit::Closed } else { Exit::Failed };
        Self::new(
            exit,
            "io",
            format!("{deed}: {cause}"),
            "check the folder, its owner and the room on the disk",
        )
    }

    /// What clap says, without its layout.
    pub(crate) fn from_clap(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let first = text.split("\n\n").next().unwrap_or_default().trim();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
        let remedy = tip.map_or_else(|| "read the help: add --help".to_owned(), ToOwned::to_owned);
        let words: Vec<&str> = message.split_whitespace().collect();
        let message = if words.is_empty() || error.kind() == HELP {
            "a command is missing".into()
        } else {
            words.join(" ")
        };
        Self::usage(message, remedy)
    }
}

/// The code of what was told already.
const TOLD: &str = "told";

const HELP: clap::error::ErrorKind = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// An error with its causes, each said once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let message = chain(&error);
        let (exit, code, remedy) = match &error {
            HomeError::OpenToOthers(path) => {
                (Exit::Refused, "home_open_to_others", format!("chmod 700 {}", path.display()))
            }
            HomeError::Broken { remedy, .. } => (Exit::Failed, "home_broken", (*remedy).to_owned()),
            HomeError::Newer { .. } => (Exit::Failed, "home_newer", "use the newer build".to_owned()),
            HomeError::Name(_) => (Exit::Usage, "name", "choose another name".to_owned()),
            HomeError::NameTaken { .. } => (Exit::Failed, "name_taken", "choose another name".to_owned()),
            HomeError::NameAlike { known, .. } => (
                Exit::Failed,
                "name_taken",
                format!(
                    "choose a name that nobody takes for {known}; if it is the same account, write {known}"
                ),
            ),
            HomeError::AccountExists { name, .. } => {
                (Exit::Failed, "account_exists", format!("use it as it is: session account show {name}"))
            }
            HomeError::NoAccount(_) => {
                (Exit::Failed, "no_account", "see which there are: session account list".to_owned())
            }
            HomeError::NoContact(_) => {
                (Exit::Failed, "no_contact", "see which there are: session contact list".to_owned())
            }
            HomeError::ChainKeyExists(path) => (
                Exit::Refused,
                "chain_key_exists",
                format!("it may hold money: move {} to a safe place first", path.display()),
            ),
            HomeError::Ambiguous { .. } => (
                Exit::Refused,
                "ambiguous_name",
                "write it just as the one that you mean is written".to_owned(),
            ),
            HomeError::Unknown(name) => {
                (Exit::Failed, "unknown_name", format!("add the id first: session contact add {name} ID"))
            }
            _ => (Exit::Failed, "home", "check the folder, its owner and the room on the disk".to_owned()),
        };
        Self { exit, code, message, remedy }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match error.code() {
            "unreachable" | "not_durable" | "no_nodes" | "no_path" | "guards_gone" | "no_directory" => {
                Exit::NotReady
            }
            "not_local" | "name_changed" | "names_old" => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        if let NodeError::Key(error) = error {
            return error.into();
        }
        let exit = if error.code() == "in_use" { Exit::Refused } else { Exit::Failed };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}

impl From<TestnetError> for Failure {
    fn from(error: TestnetError) -> Self {
        let exit = match error.code() {
            "not_up" | "not_ready" | "busy" | "chain_down" => Exit::NotReady,
            "not_empty" | "too_few_nodes" => Exit::Refused,
            "nodes" | "no_node" => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_in_the_text_is_not_said_again() {
        let error = TestnetError::Io {
            deed: "read",
            path: "/x".into(),
            cause: io::Error::new(io::ErrorKind::NotFound, "no such thing"),
        };
        assert_eq!(chain(&error), "cannot read /x: no such thing");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = io::Error::new(io::ErrorKind::BrokenPipe, "gone");
        assert_eq!(Failure::io("cannot print", &closed).exit, Exit::Closed);
    }
}
