//! The message hash, by which a message is known everywhere.

use core::fmt;
use core::str::FromStr;

use data_encoding::BASE64_NOPAD;
use serde::{Deserialize, Serialize};

use crate::{
    Namespace,
    identity::{AccountId, blake2b},
};

/// The longest message, in bytes.
pub const MAX_DATA: usize = 76_800;

/// The hash of a message: 32 bytes, shown as 43 characters of unpadded base64.
///
/// It covers the account, the namespace and the data, not the times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageHash(pub [u8; 32]);

impl MessageHash {
    /// Hashes a message: BLAKE2b-256 of kind, key, namespace ("" for 0, else decimal) and data.
    pub fn of(account: &AccountId, namespace: Namespace, data: &[u8]) -> Self {
        Self(blake2b(&[account.as_bytes(), namespace.tag().as_bytes(), data]))
    }

    /// Reads 43 characters of base64, which hold two bits more than a hash: they are given beside it.
    ///
    /// They are zero in what is a message's hash. Clients that exist also ask for one where they are not, to fill a
    /// list up.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn spelt(text: &str) -> Result<(Self, u8), HashError> {
        if text.len() != 43 {
            return Err(HashError);
        }
        // One more character makes whole bytes of it.
        let bytes = BASE64_NOPAD.decode(format!("{text}A").as_bytes()).map_err(|_| HashError)?;
        match bytes.split_first_chunk() {
            Some((hash, [spare])) => Ok((Self(*hash), spare >> 6)),
            Some(_) | None => Err(HashError),
        }
    }

    /// What [`Self::spelt`] read.
    pub fn spell(&self, spare: u8) -> String {
        let bytes: Vec<_> = self.0.into_iter().chain([spare << 6]).collect();
        let mut text = BASE64_NOPAD.encode(&bytes);
        text.truncate(43);
        text
    }
}

/// A text is not a message hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a message hash: 43 characters of unpadded base64")]
pub struct HashError;

impl FromStr for MessageHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = BASE64_NOPAD.decode(text.as_bytes()).map_err(|_| HashError)?;
        bytes.try_into().map(Self).map_err(|_| HashError)
    }
}

impl fmt::Display for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageHash({self})")
    }
}

impl Serialize for MessageHash {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { to.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for MessageHash {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
        } else {
            serde_bytes::ByteArray::<32>::deserialize(from).map(|array| Self(array.into_array()))
        }
    }
}
