//! Names: what one may be called, the id that stands for a name, and what its records say.
//!
//! - [`rules`]: how a text becomes a name, and why it does not
//! - [`warning`]: what a person should hear of a name that is allowed
//! - [`keys`]: Argon2id, from which come a name's id and the key of its records
//! - [`value`], [`seal`]: what records say, and how they are encrypted
//! - [`lookup`]: how nodes are asked, and what they answer
//!
//! The contract knows ids alone (`chain/contracts/src/names`); who looks names up does too.

pub mod keys;
pub mod lookup;
pub mod rules;
pub mod seal;
pub mod value;
pub mod warning;

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

pub use keys::{COST, Cost, NameId, NameKeys};
pub use rules::NameError;
pub use value::{Kind, Value};
pub use warning::Warning;

/// One part of a name: 1 to 64 of `a-z 0-9 - _`, beginning and ending with another than `-`.
///
/// It is as normalised as can be: equal labels are equal bytes. What is not ASCII is in punycode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// The label in ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label as people write it: what stands in punycode is decoded.
    pub fn to_unicode(&self) -> String {
        rules::to_unicode(&self.0)
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        rules::label(text, 1).map(Self)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name, or a sub-name of one: `alice`, `shop.alice`.
///
/// It is shown in ASCII, which tells any two names apart; [`Self::to_unicode`] is for people, and
/// [`Self::warnings`] says when that alone would mislead them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name {
    parent: Label,
    sub: Option<Label>,
}

impl Name {
    /// The name that is registered and owned.
    pub const fn parent(&self) -> &Label {
        &self.parent
    }

    /// The label before it, if this is a sub-name.
    pub const fn sub(&self) -> Option<&Label> {
        self.sub.as_ref()
    }

    /// The name as people write it: what stands in punycode is decoded.
    pub fn to_unicode(&self) -> String {
        let parent = self.parent.to_unicode();
        self.sub.as_ref().map_or_else(|| parent.clone(), |sub| format!("{}.{parent}", sub.to_unicode()))
    }

    /// What a person should hear before they rely on this name.
    pub fn warnings(&self) -> Vec<Warning> {
        self.sub.iter().chain([&self.parent]).flat_map(warning::of).collect()
    }

    /// Whether this is another name that looks the same: say so when one of them is known already.
    pub fn looks_like(&self, other: &Self) -> bool {
        self != other && warning::skeleton(&self.to_unicode()) == warning::skeleton(&other.to_unicode())
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads a name as a person writes it, with or without `@` before it.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (parent, sub) = rules::split(text)?;
        Ok(Self { parent: Label(parent), sub: sub.map(Label) })
    }
}

impl From<Label> for Name {
    fn from(parent: Label) -> Self {
        Self { parent, sub: None }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.to_string()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sub) = &self.sub {
            write!(f, "{sub}.")?;
        }
        self.parent.fmt(f)
    }
}

#[cfg(test)]
mod tests;
