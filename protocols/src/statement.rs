//! Statements: what a signature covers.
//!
//! A statement is a list of parts, each behind its length (4 bytes, big-endian). The first two are
//! the domain and the network, so that no signature means anything elsewhere, and no two lists of
//! parts give the same bytes.

use crate::{NetworkName, identity::blake2b};

/// Builds the bytes that are signed.
#[derive(Clone, Debug)]
pub struct Statement(Vec<u8>);

impl Statement {
    /// Opens a statement about `subject` on `network`.
    pub fn new(subject: &str, network: &NetworkName) -> Self {
        Self(Vec::with_capacity(256))
            .bytes(b"session-network/1")
            .bytes(subject.as_bytes())
            .bytes(network.as_str().as_bytes())
    }

    /// Appends a part.
    #[must_use]
    pub fn bytes(mut self, part: &[u8]) -> Self {
        let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    /// Appends a number, as 8 bytes, big-endian.
    #[must_use]
    pub fn number(self, part: u64) -> Self {
        self.bytes(&part.to_be_bytes())
    }

    /// Appends how many parts follow, then each of them.
    #[must_use]
    pub fn list<'a>(self, parts: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let counted = self.number(parts.len() as u64);
        parts.fold(counted, Self::bytes)
    }

    /// The bytes to sign.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// BLAKE2b-256 of the bytes to sign.
    pub fn digest(&self) -> [u8; 32] {
        blake2b(&[&self.0])
    }
}
