//! What can be wrong with settings, where, and what to do about it.

use super::{Key, Kind, MAX_FILE, Place, Settings};

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsError {
    /// Where it stands.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Longer than any file of settings.
    #[error("the file is longer than {MAX_FILE} bytes")]
    TooLong,
    /// Not TOML.
    #[error("this is not TOML: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A key that nothing reads.
    #[error("unknown key `{key}`")]
    Unknown {
        /// The key.
        key: String,
        /// The known key that looks most like it, when one does.
        nearest: Option<&'static str>,
    },
    /// A value of another type.
    #[error("`{key}` is {found}, expected {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// The type that it should have.
        expected: &'static str,
        /// The type that it has.
        found: &'static str,
    },
    /// A value that means nothing.
    #[error("`{key}`: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
    /// One of two that go together.
    #[error("`{key}` is set, and `{other}` is not")]
    Alone {
        /// That which is set.
        key: &'static str,
        /// That which is not.
        other: &'static str,
    },
}

impl SettingsError {
    pub(super) const fn value(key: &'static Key, place: Place, why: String) -> Self {
        Self { place, problem: Problem::Value { key: key.name, why } }
    }

    /// What to do about it: one sentence.
    pub fn remedy(&self) -> String {
        match &self.problem {
            Problem::TooLong => "check that this is a node's file and not another one".to_owned(),
            Problem::Syntax { .. } => "correct the text there".to_owned(),
            Problem::Unknown { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Problem::Unknown { nearest: None, .. } => {
                format!("remove it; known are {}", Settings::NAMES.join(", "))
            }
            Problem::Type { key, .. } | Problem::Value { key, .. } => example(key, &self.place),
            Problem::Alone { other, .. } => format!("set `{other}` too, or neither"),
        }
    }
}

/// How a setting is written there.
fn example(name: &str, place: &Place) -> String {
    let Some(key) = Settings::key(name) else { return "remove it".to_owned() };
    let value = match (key.kind, name) {
        (_, "listen" | "announce") => "/ip4/203.0.113.7/udp/22021/quic-v1",
        (_, "http") => "127.0.0.1:22080",
        (_, "door") => "203.0.113.7:22443",
        (_, "rpc") => "https://rpc.example/",
        (_, "log") => "json",
        (_, "log_level") => "session=debug",
        (Kind::List, _) => "host.example",
        (Kind::Size, _) => "20 GiB",
        (Kind::Number, _) => "8",
        (Kind::Bool, _) => "true",
        (Kind::Path, _) => "/etc/session/file",
        (Kind::Network, _) => "testnet",
        (Kind::Text, _) => "text",
    };
    match place {
        Place::File(..) => match key.kind {
            Kind::Number | Kind::Bool => format!("write it as in `{name} = {value}`, or leave it out"),
            Kind::List => format!("write it as in `{name} = [\"{value}\"]`, or leave it out"),
            Kind::Text | Kind::Path | Kind::Network | Kind::Size => {
                format!("write it as in `{name} = \"{value}\"`, or leave it out")
            }
        },
        Place::Environment(variable) => format!("set it as in {variable}='{value}', or unset it"),
        Place::Flag(flag) => format!("write it as in --{flag} '{value}', or leave it out"),
        Place::Preset(_) => "correct the network's file".to_owned(),
        Place::Default => "give another value".to_owned(),
    }
}
