//! Records as the chain shows them: encrypted for everybody who knows the name.
//!
//! What is sealed is 96 or 256 bytes: a nonce of 24 bytes, the value, `80` and as many zeros as it takes,
//! and a tag of 16, by XChaCha20-Poly1305, which the libraries of all platforms have. The name, the
//! sub-name, the version of the name and the kind are authenticated with it, so that a record means
//! nothing elsewhere, nor after the name has changed hands.
//!
//! The nonce is a hash of the key, all of that and the value: two values never share one, whatever draws
//! randomness on however many devices. Whoever sets a value again sends the same bytes again, which
//! tells that it is the same; and a client sees that there is nothing to send.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

use super::{
    NameKeys,
    value::{Kind, Value, ValueError},
};
use crate::identity::blake2b;

/// How long what is sealed is: the shorter form holds every key and address, and short texts.
pub const SEALED: [usize; 2] = [96, 256];

/// What a key is hashed behind: that of the cipher, and that of nonces.
const CIPHER: &[u8] = b"session-network/1 name-record key";
const NONCES: &[u8] = b"session-network/1 name-record nonce";
/// What the authenticated context begins with.
const CONTEXT: &[u8] = b"session-network/1 name-record";
const NONCE: usize = 24;
/// Nonce and tag.
const OVERHEAD: usize = NONCE.saturating_add(16);
/// What ends a value; zeros follow.
const END: u8 = 0x80;

/// What the chain says of a name cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It has no length of what is sealed.
    #[error(
        "the record is {length} bytes long and can be 96 or 256: its owner has not set it with a client of this network"
    )]
    Length {
        /// How long it is.
        length: usize,
    },
    /// It was not sealed for this name, version and kind.
    #[error(
        "the record was not made for this name, or before it changed hands: ask its owner to set it again"
    )]
    Forged,
    /// It is padded by other rules.
    #[error("the record has another form: ask its owner to set it again, or update")]
    Form,
    /// What it says is not of its kind.
    #[error("the record does not say what its kind should")]
    Value(#[from] ValueError),
}

impl NameKeys {
    /// Encrypts a record of this name, for one version of the name: what the contract is given.
    pub fn seal(&self, version: u32, value: &Value) -> Vec<u8> {
        let context = self.context(version, value.kind());
        let text = pad(value.as_bytes());
        let drawn = blake2b(&[NONCES, self.root().as_slice(), &context, &text]);
        let (nonce, _) = drawn.split_at(NONCE);
        let payload = Payload { msg: &text, aad: &context };
        let Ok(sealed) = self.cipher().encrypt(XNonce::from_slice(nonce), payload) else {
            unreachable!("what is padded to {} bytes is not too long for the cipher", text.len())
        };
        [nonce, &sealed].concat()
    }

    /// Decrypts a record of this name, set under that version of the name.
    pub fn open(&self, version: u32, kind: Kind, sealed: &[u8]) -> Result<Value, OpenError> {
        let length = sealed.len();
        let (nonce, rest) = sealed
            .split_at_checked(NONCE)
            .filter(|_| SEALED.contains(&length))
            .ok_or(OpenError::Length { length })?;
        let context = self.context(version, kind);
        let payload = Payload { msg: rest, aad: &context };
        let text = self.cipher().decrypt(XNonce::from_slice(nonce), payload);
        let text = Zeroizing::new(text.map_err(|_| OpenError::Forged)?);
        let bytes = unpad(&text).ok_or(OpenError::Form)?;
        Ok(Value::from_bytes(kind, bytes)?)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = Zeroizing::new(blake2b(&[CIPHER, self.root().as_slice()]));
        XChaCha20Poly1305::new((&*key).into())
    }

    /// What a record belongs to; all of its parts have fixed lengths.
    fn context(&self, version: u32, kind: Kind) -> Vec<u8> {
        [CONTEXT, self.id().as_bytes(), &self.sub_id(), &version.to_be_bytes(), &[kind.number()]].concat()
    }
}

/// A value behind which zeros follow, up to the shortest form that holds it.
fn pad(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new([value, &[END]].concat());
    let mut forms = SEALED.into_iter().map(|sealed| sealed.saturating_sub(OVERHEAD));
    let form = forms.find(|form| text.len() <= *form);
    assert!(form.is_some(), "no value is longer than the longest form");
    text.resize(form.unwrap_or_default(), 0);
    text
}

/// What [`pad`] was given; none if it cannot have given this.
fn unpad(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().rposition(|byte| *byte != 0)?;
    let (value, rest) = text.split_at_checked(end)?;
    (rest.first() == Some(&END) && *pad(value) == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_padded_in_one_way() {
        for length in [0, 1, 55, 56, 215] {
            // Ends of values that look like padding.
            for fill in [0, END] {
                let value = vec![fill; length];
                assert_eq!(unpad(&pad(&value)), Some(&value[..]));
            }
        }
        let mut longer = pad(b"short").to_vec();
        longer.resize(216, 0);
        let mut unended = pad(b"short").to_vec();
        unended[5] = 0x81;
        for wrong in [vec![], vec![0; 56], longer, unended, pad(b"short")[..55].to_vec()] {
            assert_eq!(unpad(&wrong), None);
        }
    }
}
