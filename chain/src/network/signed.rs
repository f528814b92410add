//! The signature of whoever publishes a network file: its last section.
//!
//! It signs the text above it as it stands, byte by byte, so that nobody has to agree on how a file is written.

use core::{fmt, ops::Range, str::FromStr};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_protocols::{KeyPair, Signature, identity::verify};

/// The line that the section begins with.
const HEAD: &str = "[signature]";
/// What tells this statement from others of the same key.
const DOMAIN: &[u8] = b"session-network-file-1";

/// The Ed25519 key of whoever publishes a network file, shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Publisher(pub [u8; 32]);

/// A text is no publisher's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a publisher's key: 64 hex digits")]
pub struct PublisherError;

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEX.encode(&self.0))
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({self})")
    }
}

impl FromStr for Publisher {
    type Err = PublisherError;

    fn from_str(text: &str) -> Result<Self, PublisherError> {
        let bytes = HEX.decode(text.as_bytes()).map_err(|_| PublisherError)?;
        bytes.try_into().map(Self).map_err(|_| PublisherError)
    }
}

/// The text with the publisher's signature below it, in place of one that it may have.
pub fn sign(text: &str, pair: &KeyPair) -> String {
    let above = head(text).map_or(text, |head| text.get(..head.start).unwrap_or(text));
    let mut signed = above.trim_end().to_owned();
    signed.push_str("\n\n");
    let signature = pair.sign(&statement(&signed));
    signed.push_str(&format!(
        "{HEAD}\npublisher = \"{}\"\nsignature = \"{signature}\"\n",
        Publisher(pair.public())
    ));
    signed
}

/// Whether a publisher signed what stands above the section; not where something follows it, which is not signed.
pub(super) fn holds(text: &str, publisher: &Publisher, signature: &Signature) -> bool {
    let Some(head) = head(text) else { return false };
    let (Some(above), Some(below)) = (text.get(..head.start), text.get(head.end..)) else { return false };
    let follows = below.lines().any(|line| line.trim_start().starts_with('['));
    !follows && verify(&publisher.0, &statement(above), signature)
}

/// Where the section's head stands: the last line that is one.
fn head(text: &str) -> Option<Range<usize>> {
    let at = text.rmatch_indices(HEAD).map(|(at, _)| at);
    let begins = |at: &usize| text.get(..*at).is_some_and(|above| above.is_empty() || above.ends_with('\n'));
    at.into_iter().find(begins).map(|at| at..at.saturating_add(HEAD.len()))
}

fn statement(above: &str) -> Vec<u8> {
    [DOMAIN, &(above.len() as u64).to_be_bytes(), above.as_bytes()].concat()
}
