//! Names, as clients that exist ask for them: by a hash, for the account, which is sealed for who knows the name.

use blake2::{
    Blake2bMac,
    digest::{KeyInit, Mac, consts::U32},
};
use chacha20poly1305::{XChaCha20Poly1305, XNonce, aead::Aead};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::{AccountId, identity::blake2b, names::Label};

/// Bytes of the nonce.
pub const NONCE: usize = 24;

/// What stands for a name: its BLAKE2b-256.
pub fn hash(name: &Label) -> [u8; 32] {
    blake2b(&[name.as_str().as_bytes()])
}

/// What `ons_resolve` answers: `encrypted_value` and `nonce`, both hex; neither where no account is found.
///
/// The value is the account's 33 bytes by XChaCha20-Poly1305, under the keyed BLAKE2b-256 of the name, whose key is
/// the name's hash.
pub fn resolved(found: Option<(&Label, &AccountId)>, nonce: [u8; NONCE]) -> Value {
    let sealed = found.and_then(|(name, account)| seal(name, account, nonce));
    sealed.map_or_else(
        || json!({}),
        |sealed| json!({ "encrypted_value": HEXLOWER.encode(&sealed), "nonce": HEXLOWER.encode(&nonce) }),
    )
}

fn seal(name: &Label, account: &AccountId, nonce: [u8; NONCE]) -> Option<Vec<u8>> {
    let mut key = <Blake2bMac<U32> as KeyInit>::new_from_slice(&hash(name)).ok()?;
    key.update(name.as_str().as_bytes());
    let key: [u8; 32] = key.finalize().into_bytes().into();
    let cipher = XChaCha20Poly1305::new((&key).into());
    cipher.encrypt(XNonce::from_slice(&nonce), account.as_bytes().as_slice()).ok()
}
