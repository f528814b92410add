//! What the records of a name say.

use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use sha3::{Digest, Keccak256};

use crate::{AccountId, identity::ParseError};

/// The most bytes of a link or a text: what fits into the larger form that is sealed.
pub const MAX_TEXT: usize = 215;

/// What kind of thing a record says; a name has one record of each. The contract numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Whose messages go where.
    Account = 1,
    /// Who is paid.
    Wallet = 2,
    /// A service behind onion paths.
    Relay = 3,
    /// A community.
    Community = 4,
    /// A page of the web.
    Link = 5,
    /// Anything, in words.
    Text = 6,
}

impl Kind {
    /// All of them, by their numbers.
    pub const ALL: [Self; 6] =
        [Self::Account, Self::Wallet, Self::Relay, Self::Community, Self::Link, Self::Text];

    /// Its number in the contract.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind of a number, if there is one.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// What people call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Wallet => "wallet",
            Self::Relay => "relay",
            Self::Community => "community",
            Self::Link => "link",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = "a kind of record: account, wallet, relay, community, link or text";
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(ParseError { expected })
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An account.
    Account(AccountId),
    /// An address on the chain.
    Wallet(Wallet),
    /// The Ed25519 key by which a service behind onion paths is known.
    Relay(RelayKey),
    /// Where a community is.
    Community(Link),
    /// Where a page is.
    Link(Link),
    /// Anything, in words.
    Text(Text),
}

/// Something cannot be the value of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// It is not what its kind says.
    #[error(transparent)]
    Expected(#[from] ParseError),
    /// Letter case in the address is a checksum, and it does not fit.
    #[error(
        "the upper and lower case of the address do not fit it: one of its digits is mistyped; copy it again"
    )]
    Checksum,
    /// It is too long, or empty.
    #[error("{length} bytes do not fit: a record holds 1 to {MAX_TEXT}; shorten it")]
    Length {
        /// How long it is.
        length: usize,
    },
    /// It has a character that cannot be seen.
    #[error("character {at} (U+{:04X}) cannot be seen or changes the direction of writing; leave it out", u32::from(*.character))]
    Character {
        /// Which.
        character: char,
        /// Where it is, from 1.
        at: usize,
    },
}

impl Value {
    /// Reads a value as a person writes it.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, ValueError> {
        Ok(match kind {
            Kind::Account => Self::Account(text.parse()?),
            Kind::Wallet => Self::Wallet(text.parse()?),
            Kind::Relay => Self::Relay(text.parse()?),
            Kind::Community => Self::Community(text.parse()?),
            Kind::Link => Self::Link(text.parse()?),
            Kind::Text => Self::Text(text.parse()?),
        })
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Account(_) => Kind::Account,
            Self::Wallet(_) => Kind::Wallet,
            Self::Relay(_) => Kind::Relay,
            Self::Community(_) => Kind::Community,
            Self::Link(_) => Kind::Link,
            Self::Text(_) => Kind::Text,
        }
    }

    /// The bytes that are sealed, at most [`MAX_TEXT`]; the kind is told beside them.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Account(account) => account.as_bytes(),
            Self::Wallet(Wallet(bytes)) => bytes,
            Self::Relay(RelayKey(bytes)) => bytes,
            Self::Community(link) | Self::Link(link) => link.0.0.as_bytes(),
            Self::Text(text) => text.0.as_bytes(),
        }
    }

    /// Reads what [`Self::as_bytes`] gave.
    pub fn from_bytes(kind: Kind, bytes: &[u8]) -> Result<Self, ValueError> {
        fn fixed<const N: usize>(bytes: &[u8], expected: &'static str) -> Result<[u8; N], ParseError> {
            bytes.try_into().map_err(|_| ParseError { expected })
        }
        let text = || core::str::from_utf8(bytes).map_err(|_| ParseError { expected: "UTF-8" });
        Ok(match kind {
            Kind::Account => Self::Account(AccountId::from_bytes(fixed(bytes, "33 bytes of an account")?)),
            Kind::Wallet => Self::Wallet(Wallet(fixed(bytes, "20 bytes of an address")?)),
            Kind::Relay => Self::Relay(RelayKey(fixed(bytes, "32 bytes of a key")?)),
            Kind::Community | Kind::Link | Kind::Text => Self::parse(kind, text()?)?,
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(f),
            Self::Wallet(wallet) => wallet.fmt(f),
            Self::Relay(key) => key.fmt(f),
            Self::Community(link) | Self::Link(link) => f.write_str(link.as_str()),
            Self::Text(text) => f.write_str(text.as_str()),
        }
    }
}

/// An address on the chain, 20 bytes, shown with the checksum of ERC-55.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet(pub [u8; 20]);

impl FromStr for Wallet {
    type Err = ValueError;

    /// Reads `0x` and 40 hex digits; when their case is mixed it must be the checksum.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let expected = ParseError { expected: "a wallet's address: 0x and 40 hex digits" };
        let digits = text.strip_prefix("0x").ok_or(expected)?;
        let bytes = HEX.decode(digits.as_bytes()).map_err(|_| expected)?;
        let wallet = Self(bytes.try_into().map_err(|_| expected)?);
        let has = |case: fn(&u8) -> bool| digits.as_bytes().iter().any(case);
        let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
        if mixed && wallet.to_string() != text { Err(ValueError::Checksum) } else { Ok(wallet) }
    }
}

impl fmt::Display for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = HEX.encode(&self.0);
        let hash = HEX.encode(&Keccak256::digest(digits.as_bytes()));
        let cased = digits.chars().zip(hash.chars());
        let cased = cased.map(|(digit, hash)| if hash >= '8' { digit.to_ascii_uppercase() } else { digit });
        write!(f, "0x{}", cased.collect::<String>())
    }
}

/// The Ed25519 key by which a service behind onion paths is known, 32 bytes, shown as 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayKey(pub [u8; 32]);

impl FromStr for RelayKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bytes = HEX.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseError { expected: "a relay's key: 64 hex digits" })
    }
}

impl fmt::Display for RelayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEX.encode(&self.0))
    }
}

/// A link into the web: `https://` or `http://` and something, without white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(Text);

impl Link {
    /// The link as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Link {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let sound = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
        let expected = "a link: https:// or http:// and what follows, without spaces";
        if sound { text.parse().map(Self) } else { Err(ParseError { expected }.into()) }
    }
}

/// 1 to 215 bytes of UTF-8, all of which can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if !(1..=MAX_TEXT).contains(&text.len()) {
            return Err(ValueError::Length { length: text.len() });
        }
        // Strangers show it, in terminals too.
        match (1..).zip(text.chars()).find(|(_, character)| is_hidden(*character)) {
            Some((at, character)) => Err(ValueError::Character { character, at }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// Control characters, ends of lines, and what changes the direction of writing.
fn is_hidden(character: char) -> bool {
    let steers =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || steers || character == '\u{61c}'
}
