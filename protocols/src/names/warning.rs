//! What a person should hear of a name that is allowed: UTS #39, and addresses.

use core::fmt;

use unicode_script::{Script, UnicodeScript};
use unicode_security::mixed_script::AugmentedScriptSet;

use super::Label;

/// A name is allowed, and may be taken for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A label has letters of scripts that are not written together.
    MixedScripts {
        /// The label, as people write it.
        label: String,
        /// The scripts, in the order in which they come.
        scripts: Vec<&'static str>,
    },
    /// A label looks like one in plain ASCII.
    LooksLike {
        /// The label, as people write it.
        label: String,
        /// The other.
        other: Label,
    },
    /// A label has the form of a wallet's address or of a key: where one of those is asked for, it is
    /// taken for that.
    Address {
        /// The label.
        label: Label,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MixedScripts { label, scripts } => {
                write!(
                    f,
                    "{label} mixes letters of {}: make sure that it is not made to deceive",
                    scripts.join(" and ")
                )
            }
            Self::LooksLike { label, other } => {
                write!(f, "{label} looks like {other} and is another name: make sure whose it is")
            }
            Self::Address { label } => {
                write!(f, "{label} looks like an address: where one is asked for it is taken for that")
            }
        }
    }
}

/// What is to be said of a label.
pub(super) fn of(label: &Label) -> Vec<Warning> {
    let text = label.to_unicode();
    let mut warnings = Vec::new();
    if is_address(&text) {
        warnings.push(Warning::Address { label: label.clone() });
    }
    if is_mixed(&text) {
        warnings.push(Warning::MixedScripts { label: text.clone(), scripts: scripts(&text) });
    }
    if let Some(other) = plain(&text).filter(|_| !text.is_ascii()) {
        warnings.push(Warning::LooksLike { label: text, other });
    }
    warnings
}

/// What a text looks like: texts that look the same have the same skeleton (UTS #39, section 4). Names have no upper
/// case, and the skeleton has: of `0` it makes `O`, which is folded to be that of `o` as well.
pub(super) fn skeleton(text: &str) -> String {
    folded(&prototypes(&folded(&prototypes(text))))
}

/// The characters that stand for those of a text and for all that look like them.
fn prototypes(text: &str) -> String {
    unicode_security::skeleton(text).collect()
}

/// In lower case, each character for itself.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// The name in ASCII that a text looks like, if each of its characters looks like one.
fn plain(text: &str) -> Option<Label> {
    // ASCII stands for itself: the skeleton would have `rn` for `m`.
    let alike = |character: char| {
        if character.is_ascii() { character.into() } else { prototypes(character.encode_utf8(&mut [0; 4])) }
    };
    let plain: String = text.chars().map(alike).collect();
    plain.parse().ok().filter(|_| plain.is_ascii())
}

/// Whether a text mixes scripts: less than "highly restrictive" in UTS #39, section 5.2, where Latin
/// may stand beside the scripts of Chinese, Japanese or Korean.
fn is_mixed(text: &str) -> bool {
    let (mut all, mut beside_latin) = (AugmentedScriptSet::default(), AugmentedScriptSet::default());
    for set in text.chars().map(AugmentedScriptSet::for_char) {
        all.intersect_with(set);
        if !set.base.contains_script(Script::Latin) {
            beside_latin.intersect_with(set);
        }
    }
    all.is_empty() && !(beside_latin.hanb || beside_latin.jpan || beside_latin.kore)
}

fn scripts(text: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for script in text.chars().map(|character| character.script()) {
        let counts = !matches!(script, Script::Common | Script::Inherited);
        if counts && !names.contains(&script.full_name()) {
            names.push(script.full_name());
        }
    }
    names
}

/// Whether a text is `0x` and 40 hex digits, or 64 of them.
fn is_address(text: &str) -> bool {
    let hex =
        |digits: &str, length| digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.strip_prefix("0x").is_some_and(|digits| hex(digits, 40)) || hex(text, 64)
}
