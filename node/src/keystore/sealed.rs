//! What is encrypted under a passphrase: Argon2id makes the key, XChaCha20-Poly1305 seals.
//!
//! How stands in front of it as words, so that what was sealed opens for ever:
//! `argon2id <KiB> <passes> <lanes> <salt, 32 hex digits> <nonce, 48 hex digits>`.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use data_encoding::HEXLOWER as HEX;
use zeroize::Zeroizing;

/// The longest passphrase, in bytes.
const MAX_PASSPHRASE: usize = 1_024;
/// The most that somebody else's file may make this machine spend: 1 GiB, and so many passes.
const MAX_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;

/// What keys are encrypted under.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase, without the line's end that may follow it; none if it is empty, or longer than any.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_end_matches(['\r', '\n']);
        (1..=MAX_PASSPHRASE).contains(&text.len()).then(|| Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// What makes a key of a passphrase, and what it seals with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 16],
    nonce: [u8; 24],
}

impl Lock {
    /// A new one, at the cost that is usual: 64 MiB, three passes.
    pub(super) fn fresh() -> Result<Self, getrandom::Error> {
        let mut lock = Self { kib: 64 << 10, passes: 3, lanes: 1, salt: [0; 16], nonce: [0; 24] };
        getrandom::fill(&mut lock.salt)?;
        getrandom::fill(&mut lock.nonce)?;
        Ok(lock)
    }

    /// One that costs next to nothing.
    #[cfg(test)]
    pub(super) const fn cheap(byte: u8) -> Self {
        Self { kib: 8, passes: 1, lanes: 1, salt: [byte; 16], nonce: [byte; 24] }
    }

    /// Reads what [`fmt::Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let ["argon2id", kib, passes, lanes, salt, nonce] = words.as_slice() else { return None };
        let lock = Self {
            kib: kib.parse().ok().filter(|kib| *kib <= MAX_KIB)?,
            passes: passes.parse().ok().filter(|passes| *passes <= MAX_PASSES)?,
            lanes: lanes.parse().ok().filter(|lanes| *lanes <= MAX_LANES)?,
            salt: HEX.decode(salt.as_bytes()).ok()?.try_into().ok()?,
            nonce: HEX.decode(nonce.as_bytes()).ok()?.try_into().ok()?,
        };
        lock.params().map(|_| lock)
    }

    fn params(&self) -> Option<Params> {
        Params::new(self.kib, self.passes, self.lanes, Some(32)).ok()
    }

    /// Encrypts `plain`, and binds `beside` to it; none where there is no memory for it.
    pub(super) fn seal(&self, passphrase: &Passphrase, beside: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: plain, aad: beside };
        self.cipher(passphrase)?.encrypt(XNonce::from_slice(&self.nonce), payload).ok()
    }

    /// What was encrypted; none if the passphrase is another one, or anything was changed.
    pub(super) fn open(
        &self,
        passphrase: &Passphrase,
        beside: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let payload = Payload { msg: sealed, aad: beside };
        let plain = self.cipher(passphrase)?.decrypt(XNonce::from_slice(&self.nonce), payload);
        plain.ok().map(Zeroizing::new)
    }

    fn cipher(&self, passphrase: &Passphrase) -> Option<XChaCha20Poly1305> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params()?);
        let mut key = Zeroizing::new([0; 32]);
        argon2.hash_password_into(passphrase.0.as_bytes(), &self.salt, key.as_mut_slice()).ok()?;
        XChaCha20Poly1305::new_from_slice(key.as_slice()).ok()
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kib, passes, lanes, salt, nonce } = self;
        write!(f, "argon2id {kib} {passes} {lanes} {} {}", HEX.encode(salt), HEX.encode(nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_alone() {
        let lock = Lock::cheap(1);
        let (right, wrong) = (Passphrase::new("right").unwrap(), Passphrase::new("wrong").unwrap());
        let sealed = lock.seal(&right, b"head", b"plain").unwrap();
        assert_eq!(*lock.open(&right, b"head", &sealed).unwrap(), b"plain");
        assert!(lock.open(&wrong, b"head", &sealed).is_none());
        assert!(lock.open(&right, b"other", &sealed).is_none());
        assert!(Lock::cheap(2).open(&right, b"head", &sealed).is_none());
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert!(lock.open(&right, b"head", &changed).is_none());
        }
    }

    #[test]
    fn a_lock_is_read_as_it_is_written_and_costs_no_more_than_is_borne() {
        let lock = Lock::fresh().unwrap();
        assert_eq!(Lock::parse(&lock.to_string()), Some(lock));
        assert_ne!(Lock::fresh().unwrap(), lock);
        let text = Lock::cheap(0xab).to_string();
        assert_eq!(text, format!("argon2id 8 1 1 {} {}", "ab".repeat(16), "ab".repeat(24)));
        for (from, to) in [
            ("id 8 ", "id 4294967295 "),
            ("id 8 ", "id 7 "),
            (" 1 1 ", " 65 1 "),
            (" 1 1 ", " 0 1 "),
            (" 1 1 ", " 1 17 "),
            ("argon2id", "argon2i"),
            (" abab", " ab"),
            (" abab", " ABAB"),
        ] {
            assert_eq!(Lock::parse(&text.replacen(from, to, 1)), None, "{from} -> {to}");
        }
    }

    #[test]
    fn a_passphrase_is_a_line_and_shows_itself_to_nobody() {
        assert_eq!(Passphrase::new("a b\r\n"), Passphrase::new("a b"));
        assert_ne!(Passphrase::new(" a"), Passphrase::new("a"));
        assert_eq!(Passphrase::new("\n"), None);
        assert_eq!(Passphrase::new(&"a".repeat(1_025)), None);
        assert_eq!(format!("{:?}", Passphrase::new("secret").unwrap()), "Passphrase");
    }
}
