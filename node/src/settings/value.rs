//! From text to the values of settings, and back.

use std::{net::SocketAddr, path::PathBuf};

use serde::Serialize;
use session_protocols::directory::Endpoint;

use crate::Beginning;

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A path; a relative one in a file begins at the folder of that file.
    Path,
    /// A name of a network, or a path likewise.
    Network,
    /// Several strings.
    List,
    /// A number of bytes, or a string with a unit.
    Size,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
}

/// A value as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// None.
    None,
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Bytes),
    /// A number.
    Number(u64),
    /// Yes or no.
    Bool(bool),
    /// Several texts.
    List(Vec<String>),
}

impl Shown {
    /// As `node.toml` has it; nothing for none.
    pub fn to_toml(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Text(text) => Some(toml::Value::from(text.clone()).to_string()),
            Self::Bytes(bytes) => Some(toml::Value::from(bytes.to_string()).to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Bool(is) => Some(is.to_string()),
            Self::List(texts) => Some(toml::Value::from(texts.clone()).to_string()),
        }
    }
}

/// What settings may be.
pub(super) trait Value: Sized {
    /// Reads it from its texts, of which only lists have other than one.
    fn read(texts: &[&str]) -> Result<Self, String>;

    fn show(&self) -> Shown;

    /// What stands for a default that reads as no value.
    fn nothing() -> Self;

    /// The value of a default.
    fn of(texts: &[&str]) -> Self {
        Self::read(texts).unwrap_or_else(|_| Self::nothing())
    }
}

/// The one text there is.
fn one<'a>(texts: &[&'a str]) -> Result<&'a str, String> {
    match texts {
        [text] if !text.is_empty() => Ok(text),
        [] | [_] => Err("a value is missing".to_owned()),
        [_, _, ..] => Err("expected one value".to_owned()),
    }
}

impl Value for SocketAddr {
    fn read(texts: &[&str]) -> Result<Self, String> {
        let read = one(texts)?.parse();
        read.map_err(|_| "expected an address and a port, such as 127.0.0.1:22080 or [::1]:22080".to_owned())
    }

    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }

    fn nothing() -> Self {
        (std::net::Ipv4Addr::LOCALHOST, 0).into()
    }
}

/// One of several values.
trait Item: Sized {
    fn item(text: &str) -> Result<Self, String>;

    fn text(&self) -> String;
}

impl Item for Endpoint {
    fn item(text: &str) -> Result<Self, String> {
        text.parse::<Self>().map_err(|error| error.to_string())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Item for SocketAddr {
    fn item(text: &str) -> Result<Self, String> {
        Self::read(&[text])
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Where the settlement chain is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub String);

impl Item for Url {
    fn item(text: &str) -> Result<Self, String> {
        let web = text.starts_with("http://") || text.starts_with("https://");
        web.then(|| Self(text.to_owned()))
            .ok_or_else(|| "expected a URL that begins with http:// or https://".to_owned())
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A host.
impl Item for String {
    fn item(text: &str) -> Result<Self, String> {
        one(&[text]).map(ToOwned::to_owned)
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl<T: Item> Value for Vec<T> {
    fn read(texts: &[&str]) -> Result<Self, String> {
        texts.iter().map(|text| T::item(text)).collect()
    }

    fn show(&self) -> Shown {
        Shown::List(self.iter().map(Item::text).collect())
    }

    fn nothing() -> Self {
        Self::new()
    }
}

impl Value for String {
    fn read(texts: &[&str]) -> Result<Self, String> {
        one(texts).map(ToOwned::to_owned)
    }

    fn show(&self) -> Shown {
        Shown::Text(self.clone())
    }

    fn nothing() -> Self {
        Self::new()
    }
}

impl Value for PathBuf {
    fn read(texts: &[&str]) -> Result<Self, String> {
        one(texts).map(Self::from)
    }

    fn show(&self) -> Shown {
        Shown::Text(self.display().to_string())
    }

    fn nothing() -> Self {
        Self::new()
    }
}

impl<T: Value> Value for Option<T> {
    fn read(texts: &[&str]) -> Result<Self, String> {
        if texts.is_empty() { Ok(None) } else { T::read(texts).map(Some) }
    }

    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::None, Value::show)
    }

    fn nothing() -> Self {
        None
    }
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// An object a line.
    Json,
}

impl Value for LogFormat {
    fn read(texts: &[&str]) -> Result<Self, String> {
        match one(texts)? {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("expected human or json".to_owned()),
        }
    }

    fn show(&self) -> Shown {
        let text = match self {
            Self::Human => "human",
            Self::Json => "json",
        };
        Shown::Text(text.to_owned())
    }

    fn nothing() -> Self {
        Self::Human
    }
}

impl Value for Beginning {
    fn read(texts: &[&str]) -> Result<Self, String> {
        match one(texts)? {
            "checkpoint" => Ok(Self::Checkpoint),
            "logs" => Ok(Self::Logs),
            _ => Err("expected checkpoint or logs".to_owned()),
        }
    }

    fn show(&self) -> Shown {
        let text = match self {
            Self::Checkpoint => "checkpoint",
            Self::Logs => "logs",
        };
        Shown::Text(text.to_owned())
    }

    fn nothing() -> Self {
        Self::Checkpoint
    }
}

impl Value for u64 {
    fn read(texts: &[&str]) -> Result<Self, String> {
        one(texts)?.parse().map_err(|_| "expected a number".to_owned())
    }

    fn show(&self) -> Shown {
        Shown::Number(*self)
    }

    fn nothing() -> Self {
        0
    }
}

impl Value for bool {
    fn read(texts: &[&str]) -> Result<Self, String> {
        one(texts)?.parse().map_err(|_| "expected true or false".to_owned())
    }

    fn show(&self) -> Shown {
        Shown::Bool(*self)
    }

    fn nothing() -> Self {
        false
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// The units that bytes are written in, the largest first.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = |(unit, size): &(&'static str, u64)| {
            let count = self.0.checked_div(*size)?;
            (self.0 > 0 && self.0.is_multiple_of(*size) && !unit.is_empty()).then_some((count, *unit))
        };
        match UNITS.iter().find_map(whole) {
            Some((count, unit)) => write!(f, "{count} {unit}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Value for Bytes {
    fn read(texts: &[&str]) -> Result<Self, String> {
        let text = one(texts)?.trim();
        let digits = text.trim_start_matches(|character: char| character.is_ascii_digit());
        let (number, unit) = text.split_at(text.len().saturating_sub(digits.len()));
        let unit = UNITS.iter().find(|(name, _)| *name == unit.trim());
        let bytes = unit.and_then(|(_, size)| number.parse::<u64>().ok()?.checked_mul(*size));
        let wrong = || {
            "expected a number of bytes, such as 21474836480 or \"20 GiB\" (KiB, MiB, GiB, TiB)".to_owned()
        };
        bytes.map(Self).ok_or_else(wrong)
    }

    fn show(&self) -> Shown {
        Shown::Bytes(*self)
    }

    fn nothing() -> Self {
        Self(0)
    }
}
