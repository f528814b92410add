//! How a text becomes a name, and why it does not.
//!
//! ASCII is folded to lower case. Anything else goes through UTS #46, non-transitional, which folds
//! case, composes, leaves out what cannot be seen and refuses what is not for names; then into
//! punycode. Labels are judged one by one, as each is registered alone.

use core::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The most characters of a label, in ASCII.
pub const MAX_LABEL: usize = 64;
/// The most bytes of a text that is read as a name.
pub const MAX_INPUT: usize = 1_024;

/// What punycode begins with.
const PREFIX: &str = "xn--";
/// What separates labels: UTS #46 takes all four for the same.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// A text is not a name. Places count characters of the text as it was given, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing where a label should be.
    #[error("a name is missing at character {at}; write 1 to {MAX_LABEL} of a-z, 0-9, - and _")]
    Empty {
        /// Where it should begin.
        at: usize,
    },
    /// A label is too long.
    #[error("the name has {length} characters and can have {MAX_LABEL}{}; shorten it", in_punycode(*.encoded))]
    TooLong {
        /// How many it has.
        length: usize,
        /// Those were counted in punycode.
        encoded: bool,
    },
    /// A character cannot be in a name.
    #[error("character {at}, {}, cannot be in a name; use letters, digits, - and _", Shown(*.character))]
    Character {
        /// Which.
        character: char,
        /// Where it is.
        at: usize,
    },
    /// A label begins or ends with a hyphen.
    #[error("the - at character {at} begins or ends a name; leave it out, or use _")]
    Hyphen {
        /// Where it is.
        at: usize,
    },
    /// There are more labels than a name and one before it.
    #[error("{labels} parts are too many; a name has one, as alice, and a sub-name two, as shop.alice")]
    TooDeep {
        /// How many there are.
        labels: usize,
    },
    /// What begins like punycode is none, or not the one form of what it says.
    #[error("what begins with xn-- at character {at} is no name in punycode; write the name itself")]
    Punycode {
        /// Where it begins.
        at: usize,
    },
    /// Each character can be in a name, and all of them together cannot.
    #[error(
        "the characters of the name from character {at} on cannot stand together, as for their writing \
         direction or marks; write it in one script"
    )]
    Together {
        /// Where the label begins.
        at: usize,
    },
}

/// A character for people, and its number where it might not be seen.
struct Shown(char);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(character) = *self;
        if character.is_ascii_graphic() {
            write!(f, "'{character}'")
        } else {
            write!(f, "'{}' (U+{:04X})", character.escape_debug(), u32::from(character))
        }
    }
}

const fn in_punycode(encoded: bool) -> &'static str {
    if encoded { ", counted in punycode" } else { "" }
}

/// The name in a text, and the label before it.
pub(super) fn split(text: &str) -> Result<(String, Option<String>), NameError> {
    let bare = text.strip_prefix('@').unwrap_or(text);
    if bare.len() > MAX_INPUT {
        return Err(NameError::TooLong { length: bare.chars().count(), encoded: false });
    }
    let mut at = if bare.len() == text.len() { 1_usize } else { 2 };
    let mut labels = Vec::new();
    for label in bare.split(DOTS) {
        labels.push((label, at));
        at = at.saturating_add(label.chars().count()).saturating_add(1);
    }
    match labels[..] {
        [(parent, at)] => Ok((label(parent, at)?, None)),
        [(sub, first), (parent, second)] => {
            let sub = label(sub, first)?;
            Ok((label(parent, second)?, Some(sub)))
        }
        _ => Err(NameError::TooDeep { labels: labels.len() }),
    }
}

/// One label, which begins at character `at` of what was given.
pub(super) fn label(text: &str, at: usize) -> Result<String, NameError> {
    let length = text.chars().count();
    let place = |index: usize| at.saturating_add(index);
    if text.is_empty() {
        return Err(NameError::Empty { at });
    }
    if text.len() > MAX_INPUT {
        return Err(NameError::TooLong { length, encoded: false });
    }
    let wrong =
        |(_, character): &(usize, char)| character.is_ascii() && !allowed(character.to_ascii_lowercase());
    if let Some((index, character)) = text.chars().enumerate().find(wrong) {
        return Err(NameError::Character { character, at: place(index) });
    }
    if text.starts_with('-') {
        return Err(NameError::Hyphen { at });
    }
    if text.ends_with('-') {
        return Err(NameError::Hyphen { at: place(length.saturating_sub(1)) });
    }
    let plain = text.to_ascii_lowercase();
    let label = if plain.is_ascii() && !plain.starts_with(PREFIX) {
        plain
    } else {
        uts46(&plain).ok_or_else(|| blame(&plain, at))?
    };
    match label.len() {
        // UTS #46 can leave nothing.
        0 => Err(NameError::Empty { at }),
        1..=MAX_LABEL => Ok(label),
        longer => Err(NameError::TooLong { length: longer, encoded: !text.is_ascii() }),
    }
}

/// The label as people write it.
pub(super) fn to_unicode(label: &str) -> String {
    if !label.starts_with(PREFIX) {
        return label.to_owned();
    }
    Uts46::new().to_unicode(label.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast).0.into_owned()
}

const fn allowed(character: char) -> bool {
    matches!(character, 'a'..='z' | '0'..='9' | '-' | '_')
}

/// What UTS #46 makes of a label, if that is one.
fn uts46(text: &str) -> Option<String> {
    let label = Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::Ignore)
        .ok()?;
    let ends = label.starts_with('-') || label.ends_with('-');
    (label.chars().all(allowed) && !ends).then(|| label.into_owned())
}

/// Why UTS #46 refuses a label: one of its characters where it can be told, all of them else.
fn blame(text: &str, at: usize) -> NameError {
    if text.starts_with(PREFIX) {
        return NameError::Punycode { at };
    }
    // Marks need a letter before them, and joiners letters around them.
    let refused = |(_, character): &(usize, char)| {
        let joiner = matches!(character, '\u{200c}' | '\u{200d}');
        let alone = |text: String| uts46(&text).is_none();
        !character.is_ascii() && !joiner && alone(format!("{character}")) && alone(format!("a{character}a"))
    };
    match text.chars().enumerate().find(refused) {
        Some((index, character)) => NameError::Character { character, at: at.saturating_add(index) },
        None => NameError::Together { at },
    }
}
