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
    /// The owner stores, each message in place of the last, and anyone reads.
    PublicOutbox,
    /// Anyone stores and reads: closed groups of old.
    Open,
    /// As private; a subaccount that was revoked still reads.
    Unrevocable,
    /// Nobody stores, and whoever reads finds nothing.
    Closed,
}

impl Namespace {
    /// Direct messages.
    pub const INBOX: Self = Self(0);
    /// The drawer that is kept shut.
    pub const CLOSED: Self = Self(-3741);

    /// The class, by the number alone.
    pub const fn class(self) -> Class {
        match self.0 {
            -3741 => Class::Closed,
            -10 => Class::Open,
            inbox if inbox % 10 == 0 => Class::PublicInbox,
            outbox if outbox % 20 == -1 => Class::PublicOutbox,
            lasting if lasting % 100 == -11 => Class::Unrevocable,
            _ => Class::Private,
        }
    }

    /// The form that the message hash uses: empty for 0, decimal otherwise.
    pub fn tag(self) -> String {
        if self.0 == 0 { String::new() } else { self.0.to_string() }
    }
}

impl Class {
    /// Whether a store needs no proof.
    pub const fn anyone_stores(self) -> bool {
        matches!(self, Self::PublicInbox | Self::Open)
    }

    /// Whether reading needs no proof.
    pub const fn anyone_reads(self) -> bool {
        matches!(self, Self::PublicOutbox | Self::Open | Self::Closed)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_alone_says_who_may_do_what() {
        for (number, class) in [
            (0, Class::PublicInbox),
            (10, Class::PublicInbox),
            (-20, Class::PublicInbox),
            (32760, Class::PublicInbox),
            (-32760, Class::PublicInbox),
            (-10, Class::Open),
            (-110, Class::PublicInbox),
            (1, Class::Private),
            (11, Class::Private),
            (19, Class::Private),
            (-2, Class::Private),
            (-12, Class::Private),
            (-31, Class::Private),
            (32767, Class::Private),
            (-32768, Class::Private),
            (-1, Class::PublicOutbox),
            (-21, Class::PublicOutbox),
            (-41, Class::PublicOutbox),
            (-3721, Class::PublicOutbox),
            (-11, Class::Unrevocable),
            (-111, Class::Unrevocable),
            (-3741, Class::Closed),
        ] {
            assert_eq!(Namespace(number).class(), class, "{number}");
        }
    }
}
