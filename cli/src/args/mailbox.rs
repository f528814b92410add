//! `session mailbox`: what it understands.

use core::str::FromStr;

use clap::{Args, Subcommand, value_parser};
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_protocols::{
    MessageHash,
    request::{MAX_TOKENS, Token},
};

#[derive(Debug, Args)]
pub(crate) struct Mailbox {
    /// Whose mailbox [default: the first account]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) account: Option<String>,
    #[command(subcommand)]
    pub(crate) act: Keep,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keep {
    /// Show when messages end
    #[command(after_help = "\
Examples:
  session mailbox ends
  session mailbox ends kR2v...9A --json")]
    Ends {
        /// The messages' hashes, as `session inbox --json` gives them [default: all messages]
        hash: Vec<MessageHash>,
    },
    /// Delete messages at the nodes, for good
    #[command(after_help = "\
Examples:
  session mailbox delete kR2v...9A Qx7c...b0
  session mailbox delete --before 1764460800000 --yes
  session mailbox delete --all --namespace 0 --yes")]
    Delete {
        /// The messages' hashes
        #[arg(required_unless_present_any = ["all", "before"], conflicts_with_all = ["all", "before"])]
        hash: Vec<MessageHash>,
        /// All messages
        #[arg(long, conflicts_with = "before")]
        all: bool,
        /// All that were sent at or before this, in milliseconds since 1970
        #[arg(long, value_name = "TIME")]
        before: Option<u64>,
        /// Of this drawer alone [default: of all]
        #[arg(long, value_name = "N", conflicts_with = "hash", allow_negative_numbers = true)]
        namespace: Option<i16>,
        /// Delete messages that are not named
        #[arg(long)]
        yes: bool,
    },
    /// Change when messages end
    #[command(after_help = "\
Examples:
  session mailbox expire 24 kR2v...9A
  session mailbox expire 24 --all                    what would end later
  session mailbox expire 240 kR2v...9A --only extend")]
    Expire {
        /// In how many hours, 1 to 720
        #[arg(value_parser = value_parser!(u64).range(1..=720))]
        hours: u64,
        /// The messages' hashes
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        hash: Vec<MessageHash>,
        /// All messages that end later than that
        #[arg(long, conflicts_with = "only")]
        all: bool,
        /// Of this drawer alone [default: of all]
        #[arg(long, value_name = "N", conflicts_with = "hash", allow_negative_numbers = true)]
        namespace: Option<i16>,
        /// Only where it moves this way
        #[arg(long, value_name = "shorten|extend")]
        only: Option<Only>,
    },
    /// Take rights on the mailbox away from subaccounts; of an account the newest 50 are kept
    #[command(after_help = "\
One more gives the rights back that were taken away first: see `session mailbox revoked`.

Example:
  session mailbox revoke 0503...9c")]
    Revoke {
        /// Their tokens, 72 hex digits each, at most 50
        #[arg(required = true, num_args = 1..=MAX_TOKENS)]
        token: Vec<Written>,
    },
    /// Give subaccounts back the rights that were taken away
    #[command(after_help = "\
Example:
  session mailbox unrevoke 0503...9c")]
    Unrevoke {
        /// Their tokens, 72 hex digits each
        #[arg(required = true)]
        token: Vec<Written>,
    },
    /// List the subaccounts whose rights are taken away, the latest first
    #[command(after_help = "\
Example:
  session mailbox revoked --json")]
    Revoked,
}

/// A subaccount's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written(pub(crate) Token);

impl FromStr for Written {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEX.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Self(Token(bytes))).ok_or("expected 72 hex digits")
    }
}

/// A direction in which an end may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Only {
    /// To an earlier one
    Shorten,
    /// To a later one
    Extend,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn act(words: &str) -> Result<Keep, clap::error::ErrorKind> {
        let words = ["session", "mailbox"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words) {
            Ok(Cli { command: Command::Mailbox(mailbox), .. }) => Ok(mailbox.act),
            Ok(_) => panic!("another command"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn what_is_meant_is_named_or_said_to_be_all() {
        use clap::error::ErrorKind::{
            ArgumentConflict, MissingRequiredArgument, TooManyValues, ValueValidation,
        };
        let hash = MessageHash([7; 32]).to_string();
        let Keep::Delete { hash: hashes, all: false, .. } = act(&format!("delete {hash}")).unwrap() else {
            panic!("another act")
        };
        assert_eq!(hashes, [MessageHash([7; 32])]);
        let all = act("delete --all --namespace -10").unwrap();
        assert!(matches!(all, Keep::Delete { all: true, namespace: Some(-10), yes: false, .. }));
        for (words, kind) in [
            ("delete".to_owned(), MissingRequiredArgument),
            ("delete xyz".to_owned(), ValueValidation),
            (format!("delete {hash} --all"), ArgumentConflict),
            ("delete --all --before 5".to_owned(), ArgumentConflict),
            ("expire 0 --all".to_owned(), ValueValidation),
            ("expire 5".to_owned(), MissingRequiredArgument),
            ("expire 5 --all --only extend".to_owned(), ArgumentConflict),
            ("revoke 05".to_owned(), ValueValidation),
            ("revoke".to_owned(), MissingRequiredArgument),
            (format!("revoke {}", format!("{} ", "05".repeat(36)).repeat(51)), TooManyValues),
        ] {
            assert_eq!(act(&words).unwrap_err(), kind, "{words}");
        }
    }
}
