//! `session config`, and the flags of a node's settings: what they understand.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Subcommand, parser::ValueSource};
use session_node::settings::{Key, Kind, Layer, Settings};

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show the settings that count, and where each comes from
    ///
    /// It takes the flags of `session node run`, and shows what that would go by.
    #[command(after_help = "\
Examples:
  session config show --data /var/lib/session
  session config show --origin --data /var/lib/session
  session config show --origin --data node1 --http 127.0.0.1:8080 --json")]
    Show(ConfigShow),
    /// Check the file of a node's settings
    #[command(after_help = "\
Examples:
  session config check --data /var/lib/session
  session config check --config ./node.toml")]
    Check(Of),
    /// Write a file in which every setting is explained and at its default
    #[command(after_help = "\
Examples:
  session config init --data /var/lib/session
  session config init --config ./node.toml

A file that is there is not replaced without --yes.")]
    Init(ConfigInit),
}

/// Whose settings.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The folder with the node's key and messages
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub(crate) data: Option<PathBuf>,
    /// The file of the node's settings [default: node.toml in its folder]
    #[arg(long, value_name = "FILE", env = "SESSION_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigShow {
    #[command(flatten)]
    pub(crate) of: Of,
    /// Show where each comes from
    #[arg(long)]
    pub(crate) origin: bool,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigInit {
    #[command(flatten)]
    pub(crate) of: Of,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The flags of a node's settings, made from their table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(Vec<(&'static Key, Vec<String>)>);

impl Flags {
    /// As if these had been given.
    pub(crate) fn of(given: impl IntoIterator<Item = (&'static str, Vec<String>)>) -> Self {
        let given = given.into_iter().filter(|(_, texts)| !texts.is_empty());
        Self(given.filter_map(|(name, texts)| Some((Settings::key(name)?, texts))).collect())
    }

    /// What the flags say; of the network the flag is one of all commands.
    pub(crate) fn layer(&self, network: Option<&str>) -> Layer {
        let network = network.and_then(|name| Some((Settings::key("network")?, vec![name.to_owned()])));
        Layer::flags(self.0.iter().cloned().chain(network))
    }
}

/// All that have a flag here.
fn keys() -> impl Iterator<Item = &'static Key> {
    Settings::KEYS.iter().filter(|key| key.name != "network")
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = keys().filter(|key| matches.value_source(key.name) == Some(ValueSource::CommandLine));
        let values = |key: &'static Key| {
            (key, matches.get_many::<String>(key.name).into_iter().flatten().cloned().collect())
        };
        Ok(Self(given.map(values).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        keys().fold(command, |command, key| command.arg(flag(key)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn flag(key: &'static Key) -> Arg {
    let about = key.about();
    let about = about.trim_end_matches('.');
    let default =
        if key.default.is_empty() { String::new() } else { format!(" [default: {}]", key.default.join(",")) };
    let argument = Arg::new(key.name)
        .long(key.flag())
        .value_name(key.placeholder)
        .help(format!("{about}{default} [env: {}]", key.environment()))
        .value_parser(move |text: &str| key.check(text).map(|()| text.to_owned()));
    match key.kind {
        Kind::List => argument.action(ArgAction::Append).value_delimiter(','),
        Kind::Text | Kind::Path | Kind::Network | Kind::Size | Kind::Number | Kind::Bool => {
            argument.action(ArgAction::Set)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use session_node::settings::{Effective, Origin, Shown};

    use super::*;
    use crate::args::{Cli, Command, Node};

    fn flags(words: &[&str]) -> Result<Flags, clap::Error> {
        let words = ["session", "node", "run", "--data", "x"].iter().chain(words);
        match Cli::try_parse_from(words)?.command {
            Command::Node(Node::Run(arguments)) => Ok(arguments.flags),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn every_setting_has_a_flag_that_says_what_was_given() {
        for key in keys() {
            let text = match key.kind {
                Kind::Size => "5 GiB",
                Kind::Number => "5",
                Kind::Bool => "true",
                Kind::Path => "/file",
                _ => match key.name {
                    "listen" | "announce" => "/ip4/203.0.113.7/tcp/5",
                    "http" | "door" => "127.0.0.1:5",
                    "rpc" => "http://five/",
                    "log" => "json",
                    "sync" => "checkpoint",
                    _ => "five",
                },
            };
            let flags = flags(&[&format!("--{}", key.flag()), text]).unwrap();
            assert!(
                matches!(&flags.0[..], [(found, texts)] if found.name == key.name && texts[..] == [text])
            );
            let Ok(effective) = Effective::of(vec![flags.layer(None)]) else {
                assert!(key.name.starts_with("door_"), "{} stands alone", key.name);
                continue;
            };
            let (_, shown, place) = effective.entries().find(|(one, ..)| one.name == key.name).unwrap();
            assert_eq!(place.origin(), Origin::Flag, "{}", key.name);
            assert_ne!(*shown, Shown::None, "{}", key.name);
        }
        let both = flags(&["--rpc", "http://a/,http://b/", "--rpc", "http://c/"]).unwrap();
        assert_eq!(both.0[0].1, ["http://a/", "http://b/", "http://c/"]);
        assert_eq!(flags(&[]).unwrap().0.len(), 0);
        let network = Effective::of(vec![flags(&[]).unwrap().layer(Some("one"))]).unwrap();
        assert_eq!(network.settings().network.as_deref(), Some("one"));
    }

    #[test]
    fn a_flag_that_is_wrong_is_a_matter_of_usage() {
        for words in [
            &["--http", "x"][..],
            &["--listen", "x"],
            &["--log", "xml"],
            &["--http", "1.1.1.1:1", "--http", "1.1.1.1:1"],
        ] {
            let error = flags(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
        let error = flags(&["--http", "x"]).unwrap_err().to_string();
        assert!(error.contains("expected an address and a port"), "{error}");
    }
}
