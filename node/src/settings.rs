//! What may be set for a node, and where each value comes from.
//!
//! A value is given by a flag, the environment, the file `node.toml`, the network's file or nobody; of several the
//! first of these counts. All that is known of a setting (its type, its default, its help) stands in one table, and
//! flags, names in the environment and keys of the file follow from that.
//!
//! - [`Settings`]: the values
//! - [`Layer`]: what one of those who may say something says
//! - [`Effective`]: what counts, and who said it
//! - `value`: from text to values and back
//! - `file`: `node.toml`

mod error;
mod file;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

pub use error::{Problem, SettingsError};
pub use file::{FILE, MAX_FILE};
pub use table::Settings;
pub use value::{Bytes, Kind, LogFormat, Shown, Url};

use crate::{Beginning, Config, door::DoorConfig};
use session_chain::NetworkFile;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in `node.toml`.
    pub name: &'static str,
    /// What it means: lines of text, the first of which says it in short.
    pub help: &'static [&'static str],
    /// What is written, in a word.
    pub placeholder: &'static str,
    /// How it is written.
    pub kind: Kind,
    /// What holds where nobody says anything, as it would be written; nothing in some cases.
    pub default: &'static [&'static str],
    /// Whether these texts are a value.
    check: fn(&[&str]) -> Result<Shown, String>,
}

impl Key {
    /// Its flag, without the dashes in front.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Its name in the environment. What is logged is chosen where all programs that log in this way look.
    pub fn environment(&self) -> String {
        if self.name == "log_level" {
            return "RUST_LOG".to_owned();
        }
        format!("SESSION_{}", self.name.to_uppercase())
    }

    /// Whether one text is a value of it, or one of several.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn check(&self, text: &str) -> Result<(), String> {
        (self.check)(&[text]).map(drop)
    }

    /// The help as one text.
    pub fn about(&self) -> String {
        self.help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

/// Who says something; whoever is named first here is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A flag of the command.
    Flag,
    /// The environment.
    Environment,
    /// `node.toml`.
    File,
    /// The network's file.
    Preset,
    /// Nobody.
    Default,
}

/// Where it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a flag.
    Flag(String),
    /// In a variable of the environment.
    Environment(String),
    /// In a file, at a line and a column, both from 1.
    File(PathBuf, usize, usize),
    /// In a network's file.
    Preset(PathBuf),
    /// Nowhere.
    Default,
}

impl Place {
    /// Who says it there.
    pub const fn origin(&self) -> Origin {
        match self {
            Self::Flag(_) => Origin::Flag,
            Self::Environment(_) => Origin::Environment,
            Self::File(..) => Origin::File,
            Self::Preset(_) => Origin::Preset,
            Self::Default => Origin::Default,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::Preset(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("the defaults"),
        }
    }
}

/// A value as somebody gave it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    texts: Vec<String>,
    place: Place,
}

/// What one of those who may say something says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    origin: Origin,
    given: BTreeMap<&'static str, Given>,
}

impl Layer {
    /// What flags say: of each that was given its name and its values.
    pub fn flags(given: impl IntoIterator<Item = (&'static Key, Vec<String>)>) -> Self {
        let given = given.into_iter();
        let given = given.map(|(key, texts)| (key.name, Given { texts, place: Place::Flag(key.flag()) }));
        Self { origin: Origin::Flag, given: given.collect() }
    }

    /// What the environment says, by a look into it. A variable that is empty says nothing; of what may be given
    /// several times the values are divided by commas.
    pub fn environment(look: impl Fn(&str) -> Option<String>) -> Self {
        let given = Settings::KEYS.iter().filter_map(|key| {
            let name = key.environment();
            let text = look(&name).filter(|text| !text.is_empty())?;
            let texts = if key.kind == Kind::List {
                text.split(',').map(|part| part.trim().to_owned()).collect()
            } else {
                vec![text]
            };
            Some((key.name, Given { texts, place: Place::Environment(name) }))
        });
        Self { origin: Origin::Environment, given: given.collect() }
    }

    /// What the text of `node.toml` says; relative paths in it begin at its folder.
    ///
    /// # Errors
    /// At the first thing that is wrong, with its place.
    pub fn file(path: &Path, text: &str) -> Result<Self, SettingsError> {
        Ok(Self { origin: Origin::File, given: file::read(path, text)? })
    }

    /// What the network's file says, by the names of settings.
    pub fn preset(path: &Path, given: impl IntoIterator<Item = (&'static str, Vec<String>)>) -> Self {
        let known = given.into_iter().filter_map(|(name, texts)| {
            let key = Settings::key(name)?;
            Some((key.name, Given { texts, place: Place::Preset(path.to_owned()) }))
        });
        Self { origin: Origin::Preset, given: known.collect() }
    }
}

/// What counts, and who said it.
#[derive(Clone, Debug)]
pub struct Effective {
    settings: Settings,
    said: BTreeMap<&'static str, (Shown, Place)>,
}

impl Effective {
    /// What counts of all that is said, whatever order it comes in.
    ///
    /// # Errors
    /// When a value that counts is none, or two do not go together.
    pub fn of(mut layers: Vec<Layer>) -> Result<Self, SettingsError> {
        layers.sort_by_key(|layer| layer.origin);
        let mut settings = Settings::default();
        let mut said = BTreeMap::new();
        for key in Settings::KEYS {
            let given = layers.iter().find_map(|layer| layer.given.get(key.name));
            let default = || Given {
                texts: key.default.iter().map(|text| (*text).to_owned()).collect(),
                place: Place::Default,
            };
            let Given { texts, place } = given.cloned().unwrap_or_else(default);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let shown = settings.set(key.name, &texts);
            let shown = shown.map_err(|why| SettingsError::value(key, place.clone(), why))?;
            said.insert(key.name, (shown, place));
        }
        let effective = Self { settings, said };
        match (effective.certificate(), effective.least()) {
            (Some(error), _) | (None, Some(error)) => Err(error),
            (None, None) => Ok(effective),
        }
    }

    /// The values.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Each setting, its value, and where that was said.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Key, &Shown, &Place)> {
        let entry = |key: &'static Key| self.said.get(key.name).map(|(shown, place)| (key, shown, place));
        Settings::KEYS.iter().filter_map(entry)
    }

    /// That a value is none after all, said where it was given.
    pub fn refuse(&self, name: &'static str, why: impl Into<String>) -> Option<SettingsError> {
        let (key, _, place) = self.entries().find(|(key, ..)| key.name == name)?;
        Some(SettingsError::value(key, place.clone(), why.into()))
    }

    /// The settings as the node takes them.
    pub fn config(&self, network: NetworkFile, data: PathBuf) -> Config {
        let Settings { listen, http, door, rpc, .. } = self.settings.clone();
        let mut config = Config::new(network, data, listen, http);
        config.announce.clone_from(&self.settings.announce);
        config.upnp = self.settings.upnp;
        config.rpc = rpc.into_iter().map(|url| url.0).collect();
        config.sync = self.settings.sync.unwrap_or(Beginning::Checkpoint);
        config.max_bytes = self.settings.max_bytes.0;
        config.account_bytes = self.settings.account_bytes.0;
        config.max_memory = usize::try_from(self.settings.max_memory.0).unwrap_or(usize::MAX);
        if !door.is_empty() {
            let mut door = DoorConfig::new(door);
            let Settings { door_certificate, door_key, door_server, .. } = self.settings.clone();
            door.certificate = door_certificate.zip(door_key);
            door.servers = door_server.into_iter().collect();
            config.door = Some(door);
        }
        config
    }

    /// A certificate and its key go together.
    fn certificate(&self) -> Option<SettingsError> {
        let (name, other) = match (&self.settings.door_certificate, &self.settings.door_key) {
            (Some(_), None) => ("door_certificate", "door_key"),
            (None, Some(_)) => ("door_key", "door_certificate"),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let (_, place) = self.said.get(name)?;
        Some(SettingsError { place: place.clone(), problem: Problem::Alone { key: name, other } })
    }

    /// There is room for what a node cannot do without.
    fn least(&self) -> Option<SettingsError> {
        let Settings { max_bytes, account_bytes, max_memory, log_files, log_file_bytes, .. } = &self.settings;
        if *log_files == 0 {
            return self.refuse("log_files", "expected 1 at least: that which is written to");
        }
        let sizes = [
            ("max_bytes", max_bytes, MIN_STORE),
            ("account_bytes", account_bytes, MIN_STORE),
            ("max_memory", max_memory, MIN_MEMORY),
            ("log_file_bytes", log_file_bytes, MIN_LOG),
        ];
        let (name, _, least) = sizes.into_iter().find(|(_, size, least)| *size < least)?;
        self.refuse(name, format!("expected {least} at least"))
    }
}

/// The least that is kept of messages, in all and of one account: the largest message fits.
const MIN_STORE: Bytes = Bytes(96 << 10);
/// The least memory of a process: what a node that does nothing has, and some connections.
const MIN_MEMORY: Bytes = Bytes(128 << 20);
/// The least that one file of a log may hold.
const MIN_LOG: Bytes = Bytes(64 << 10);
