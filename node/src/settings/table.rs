//! The table of all settings.

use std::{net::SocketAddr, path::PathBuf};

use session_protocols::directory::Endpoint;

use super::{
    Key,
    value::{Bytes, Kind, LogFormat, Shown, Url, Value},
};
use crate::Beginning;

/// Makes the struct of the settings and the list of their keys out of one table:
/// `name: type, how it is written, placeholder, default`.
macro_rules! settings {
    ($($(#[doc = $help:literal])+ $name:ident: $type:ty, $kind:ident, $placeholder:literal, $default:expr;)+) => {
        /// The settings of one node.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $help])+ pub $name: $type,)+
        }

        impl Settings {
            /// All that may be set.
            pub const KEYS: &'static [Key] = &[$(Key {
                name: stringify!($name),
                help: &[$($help),+],
                placeholder: $placeholder,
                kind: Kind::$kind,
                default: &$default,
                check: |texts| <$type as Value>::read(texts).map(|value| value.show()),
            }),+];

            /// The names of all that may be set, in that order.
            pub(super) const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Sets one of them; tells how its value is shown.
            pub(super) fn set(&mut self, name: &str, texts: &[&str]) -> Result<Shown, String> {
                match name {
                    $(stringify!($name) => {
                        self.$name = Value::read(texts)?;
                        Ok(self.$name.show())
                    })+
                    _ => Err("there is no such setting".to_owned()),
                }
            }
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: Value::of(&$default),)+ }
            }
        }
    };
}

settings! {
    /// The network: its name, or its file.
    network: Option<String>, Network, "NAME|FILE", [];
    /// Where to listen, several times if needed
    /// [default: as the network file says].
    listen: Vec<Endpoint>, List, "ENDPOINT", [];
    /// Where others reach the node, several times if needed
    /// [default: where it listens].
    announce: Vec<Endpoint>, List, "ENDPOINT", [];
    /// Whether to ask the router to lead the node's ports here (UPnP)
    /// [default: where the node listens on a private address].
    upnp: Option<bool>, Bool, "true|false", [];
    /// Where to serve /livez, /readyz, /metrics and /status.
    http: SocketAddr, Text, "ADDR", ["127.0.0.1:22080"];
    /// Where to serve HTTPS for the clients that exist, several times if needed
    /// [default: as the network file says, else nowhere].
    door: Vec<SocketAddr>, List, "ADDR", [];
    /// The file of the door's certificate and those it follows from, in PEM
    /// [default: one that the node signs itself].
    door_certificate: Option<PathBuf>, Path, "FILE", [];
    /// The file of that certificate's key, in PEM.
    door_key: Option<PathBuf>, Path, "FILE", [];
    /// A host outside to which onion requests through the door may go, several times if needed
    /// [default: none].
    door_server: Vec<String>, List, "HOST", [];
    /// Who serves the settlement chain, several times if needed
    /// [default: as the network file says].
    rpc: Vec<Url>, List, "URL", [];
    /// What a new node's ledger begins with: that of the last checkpoint, or all logs of the settlement chain
    /// [default: checkpoint].
    sync: Option<Beginning>, Text, "checkpoint|logs", [];
    /// How much to keep of messages, 96 KiB at least: bytes, or as in "20 GiB".
    max_bytes: Bytes, Size, "BYTES", ["20 GiB"];
    /// How much of it one account may fill, 96 KiB at least.
    account_bytes: Bytes, Size, "BYTES", ["256 MiB"];
    /// How much memory the process may use before new connections are refused, 128 MiB at least.
    max_memory: Bytes, Size, "BYTES", ["2 GiB"];
    /// How the log is written
    /// [default: human on a terminal, json otherwise].
    log: Option<LogFormat>, Text, "human|json", [];
    /// What is logged: a level, or levels of parts.
    log_level: String, Text, "FILTER", ["warn,yamux=error,libp2p_upnp=error,session=info"];
    /// The file that the log is written to, readable by its owner only
    /// [default: standard error].
    log_file: Option<PathBuf>, Path, "FILE", [];
    /// How long that file may become before another is begun, 64 KiB at least.
    log_file_bytes: Bytes, Size, "BYTES", ["64 MiB"];
    /// How many such files are kept, the one that is written to among them.
    log_files: u64, Number, "N", ["8"];
    /// The file of the passphrase that the node's keys are encrypted under.
    passphrase_file: Option<PathBuf>, Path, "FILE", [];
}

impl Settings {
    /// The setting of a name.
    pub fn key(name: &str) -> Option<&'static Key> {
        Self::KEYS.iter().find(|key| key.name == name)
    }
}
