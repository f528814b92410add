//! Who somebody is: accounts, nodes, and the keys behind them.

mod verify;

pub use verify::{Claim, Keys, MAX_TOGETHER, verify, verify_all};

use core::fmt;
use core::str::FromStr;

use blake2::{Blake2b, Digest, digest::consts::U32};
use curve25519_dalek::edwards::CompressedEdwardsY;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

/// BLAKE2b with an output of 32 bytes.
pub type Blake2b256 = Blake2b<U32>;

/// Hashes the parts, joined, with BLAKE2b-256.
pub fn blake2b(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2b256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A text is not the identifier that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ParseError {
    pub(crate) expected: &'static str,
}

/// What kind of key stands behind an account; the first byte of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// `05`: a person; the id is an X25519 key made from an Ed25519 one.
    Person,
    /// Anything else, `03` (a group) first of all: the id is the Ed25519 key itself.
    Plain(u8),
}

/// An account: one byte of kind and 32 bytes of key, shown as 66 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId([u8; 33]);

impl AccountId {
    /// Length in bytes.
    pub const LEN: usize = 33;

    /// Takes the 33 bytes as they are; any of them names a mailbox.
    pub const fn from_bytes(bytes: [u8; 33]) -> Self {
        Self(bytes)
    }

    /// The account of a person who holds this Ed25519 key (`05` and its X25519 form).
    ///
    /// None when the bytes are not a point of the curve.
    pub fn of_person(key: &[u8; 32]) -> Option<Self> {
        let mut id = [0x05; 33];
        id.get_mut(1..)?.copy_from_slice(&to_x25519(key)?);
        Some(Self(id))
    }

    /// The 33 bytes.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// The kind, from the first byte.
    pub const fn kind(&self) -> AccountKind {
        match self.0[0] {
            0x05 => AccountKind::Person,
            other => AccountKind::Plain(other),
        }
    }

    /// The 32 bytes behind the kind.
    pub fn key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.split_at(1).1);
        key
    }

    /// Whether the id is the Ed25519 key itself. If not, requests name the key and the id is its X25519 form.
    pub const fn shows_key(&self) -> bool {
        matches!(self.kind(), AccountKind::Plain(_))
    }

    /// What must hold for `said` to be the account's own word.
    ///
    /// A person's id does not show the key, so the request names it (`stated`) and it must convert to the id,
    /// which is part of the claim; for every other kind the id is the key and nothing may be stated: else none.
    pub fn claim(&self, stated: Option<&[u8; 32]>, said: Vec<u8>, signature: Signature) -> Option<Claim> {
        match (self.kind(), stated) {
            (AccountKind::Person, Some(key)) => {
                Some(Claim { key: *key, x25519: Some(self.key()), said, signature })
            }
            (AccountKind::Plain(_), None) => Some(Claim::by(self.key(), said, signature)),
            (AccountKind::Person, None) | (AccountKind::Plain(_), Some(_)) => None,
        }
    }
}

/// A node: its Ed25519 public key, which is also its libp2p identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// Takes the 32 bytes of an Ed25519 public key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An Ed25519 signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// An Ed25519 key pair: a node's identity, or an account's. Zeroized when dropped.
#[derive(Clone)]
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// The pair that grows from a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The public key, as a node's id.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.public())
    }

    /// The secret seed. Keep it out of logs and messages.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The X25519 secret scalar that belongs to this pair (libsodium's conversion).
    pub fn x25519_secret(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_scalar_bytes())
    }

    /// Signs a statement.
    pub fn sign(&self, statement: &[u8]) -> Signature {
        Signature(self.0.sign(statement).to_bytes())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", HEX.encode(&self.public()))
    }
}

/// Converts an Ed25519 public key to X25519; none when it is not a point of the curve.
pub fn to_x25519(key: &[u8; 32]) -> Option<[u8; 32]> {
    Some(CompressedEdwardsY(*key).decompress()?.to_montgomery().to_bytes())
}

macro_rules! hex_and_bytes {
    ($type:ident, $len:literal, $expected:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEX.encode(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), HEX.encode(&self.0))
            }
        }

        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                HEX.decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or(ParseError { expected: $expected })
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { to.serialize_bytes(&self.0) }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                use serde::de::Error;
                if from.is_human_readable() {
                    String::deserialize(from)?.parse().map_err(D::Error::custom)
                } else {
                    serde_bytes::ByteArray::<$len>::deserialize(from).map(|array| Self(array.into_array()))
                }
            }
        }
    };
}

pub(crate) use hex_and_bytes;

hex_and_bytes!(AccountId, 33, "an account id: 66 hex digits");
hex_and_bytes!(NodeId, 32, "a node id: 64 hex digits");
hex_and_bytes!(Signature, 64, "a signature: 128 hex digits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_follow_the_published_vectors() {
        for (seed, id) in [
            (
                "dc040000dc040000dc040000dc040000",
                "0512742fb4ac033a8a33f5776aa0e7e88f35f7af9f65dee31e57fbc7d6f8664b12",
            ),
            (
                "37030000370300003703000037030000",
                "053db493811f729da20289e31498b8fe2b28edc90358cd3ec11a6b12ac1b9fb818",
            ),
        ] {
            let mut full = [0; 32];
            full[..16].copy_from_slice(&HEX.decode(seed.as_bytes()).unwrap());
            let pair = KeyPair::from_seed(&full);
            let account = AccountId::of_person(&pair.public()).unwrap();
            assert_eq!(account.to_string(), id);
            let signature = pair.sign(b"said");
            let claim = |key: Option<&[u8; 32]>| account.claim(key, b"said".to_vec(), signature);
            assert!(claim(Some(&pair.public())).unwrap().holds());
            assert_eq!(claim(None), None);
            let other = KeyPair::from_seed(&[7; 32]);
            let signed = account.claim(Some(&other.public()), b"said".to_vec(), other.sign(b"said"));
            assert!(!signed.unwrap().holds(), "the key of somebody else");
        }
    }

    #[test]
    fn ids_are_text_for_people_and_bytes_on_the_wire() {
        let id = AccountId::from_bytes([0x05; 33]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("05".parse::<AccountId>(), Err(ParseError { expected: "an account id: 66 hex digits" }));
        let bytes = crate::codec::encode(&id);
        assert_eq!(bytes.len(), 35);
        assert_eq!(crate::codec::decode(&bytes, 99), Ok(id));
    }
}
