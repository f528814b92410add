//! Namespaces: the drawers of a mailbox, and who may open which.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A drawer of a mailbox, -32768 to 32767.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(pub i16);

/// Who may do what in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Anyone stores, the owner reads.
    PublicInbox,
    /// The owner stores and reads.
    Private,
}

impl Namespace {
    /// Direct messages.
    pub const INBOX: Self = Self(0);

    /// The class: multiples of ten are public inboxes. Negative ones are reserved and not offered.
    pub const fn class(self) -> Option<Class> {
        match self.0 {
            i16::MIN..=-1 => None,
            inbox if inbox % 10 == 0 => Some(Class::PublicInbox),
            _ => Some(Class::Private),
        }
    }

    /// The form that the message hash uses: empty for 0, decimal otherwise.
    pub fn tag(self) -> String {
        if self.0 == 0 { String::new() } else { self.0.to_string() }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
