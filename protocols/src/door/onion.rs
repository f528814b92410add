//! Onion requests of the clients that exist (`/onion_req/v2`): a layer for each hop, one seal on the answer.
//!
//! What arrives at a node, and what each layer holds when it is open, is `u32 LE n | n bytes | JSON`. The
//! JSON says what the bytes are: a layer for another node, something for a server outside, or a request
//! for this node. The node for which the request is seals the answer once, under the key of its layer; the
//! hops pass it back as it is.
//!
//! A layer's key is made from the client's ephemeral X25519 key and the node's, which is its Ed25519 key
//! converted. The form without authentication (`aes-cbc`) is refused, and what the client says about its
//! own number of hops is not read.

#[cfg(any(test, feature = "test-utils"))]
pub mod wrap;

use core::fmt;
use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, PrivateKey, UnparsedPublicKey},
    error::Unspecified,
    hmac,
};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce, aead::AeadInPlace};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE as HEX};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Body, MAX_REQUEST, Reply, render::Stamp};
use crate::{KeyPair, NodeId, identity::blake2b};

/// The longest JSON beside the bytes of a layer, in bytes.
pub const MAX_HEAD: usize = 16 << 10;
/// Random bytes that an answer takes: the nonce of the longer cipher.
pub const NONCE: usize = 24;
/// Bytes of the nonce of AES-GCM.
const NONCE_AES: usize = 12;
/// Bytes of either cipher's tag.
const TAG: usize = 16;

/// How a layer is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// `aes-gcm`: AES-256-GCM; what is meant where nothing is said.
    #[default]
    AesGcm,
    /// `xchacha20`: XChaCha20-Poly1305.
    XChaCha20,
}

impl Cipher {
    /// What clients call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::XChaCha20 => "xchacha20",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "aes-gcm" | "gcm" => Some(Self::AesGcm),
            "xchacha20" | "xchacha20-poly1305" => Some(Self::XChaCha20),
            _ => None,
        }
    }

    const fn nonce(self) -> usize {
        match self {
            Self::AesGcm => NONCE_AES,
            Self::XChaCha20 => NONCE,
        }
    }
}

/// A node's key for these requests: X25519, made from its Ed25519 key. Clients derive the public half.
#[derive(Clone)]
pub struct DoorKey {
    private: Arc<PrivateKey>,
    public: [u8; 32],
}

impl DoorKey {
    /// The key of the node that holds this pair.
    ///
    /// None if the library refuses it, which it does for none.
    pub fn of(pair: &KeyPair) -> Option<Self> {
        Self::from_secret(&pair.x25519_secret())
    }

    fn from_secret(secret: &[u8; 32]) -> Option<Self> {
        let private = PrivateKey::from_private_key(&agreement::X25519, secret).ok()?;
        let public = private.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Self { private: Arc::new(private), public })
    }

    /// The public half.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The key that both ends of a layer share. None where their secret would be known to all: the other
    /// key is a point of small order.
    fn shared(&self, other: &[u8; 32], side: Side, cipher: Cipher) -> Option<Zeroizing<[u8; 32]>> {
        let other_key = UnparsedPublicKey::new(&agreement::X25519, other);
        // The library refuses a secret of zeros.
        agreement::agree(&self.private, other_key, Unspecified, |secret| {
            let (client, node) = match side {
                Side::Node => (other, &self.public),
                #[cfg(any(test, feature = "test-utils"))]
                Side::Client => (&self.public, other),
            };
            let mut key = Zeroizing::new([0; 32]);
            match cipher {
                Cipher::AesGcm => {
                    let loki = hmac::Key::new(hmac::HMAC_SHA256, b"LOKI");
                    key.copy_from_slice(hmac::sign(&loki, secret).as_ref());
                }
                Cipher::XChaCha20 => *key = blake2b(&[secret, client, node]),
            }
            Ok(key)
        })
        .ok()
    }
}

impl fmt::Debug for DoorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DoorKey({})", HEX.encode(&self.public))
    }
}

/// Whose key it is that a secret is made with.
#[derive(Clone, Copy)]
enum Side {
    Node,
    #[cfg(any(test, feature = "test-utils"))]
    Client,
}

/// The greatest number of nodes that a request may have passed.
pub const MAX_HOPS: u8 = 15;
/// The longest layer between nodes, in bytes: with what stands before it.
pub const MAX_PASSED: usize = MAX_REQUEST + PASSED;
/// Bytes before a layer between nodes.
const PASSED: usize = 34;

/// A layer that one node hands to the next: a byte for the number of nodes that it has passed, one for the
/// cipher, 32 of the client's key, and what is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The nodes that it has passed, as they count themselves.
    pub hops: u8,
    /// The layer.
    pub layer: Layer,
}

impl Passed {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let cipher = match self.layer.cipher {
            Cipher::AesGcm => 0,
            Cipher::XChaCha20 => 1,
        };
        [&[self.hops, cipher], &self.layer.ephemeral[..], &self.layer.sealed].concat()
    }

    /// Reads them. None when they are no layer, too long, or have passed too many nodes.
    pub fn decode(mut bytes: Vec<u8>) -> Option<Self> {
        let (&[hops, cipher], rest) = bytes.split_first_chunk::<2>()?;
        let cipher = match cipher {
            0 => Cipher::AesGcm,
            1 => Cipher::XChaCha20,
            _ => return None,
        };
        let ephemeral = *rest.first_chunk::<32>()?;
        if hops > MAX_HOPS || bytes.len() > MAX_PASSED {
            return None;
        }
        bytes.drain(..PASSED);
        Some(Self { hops, layer: Layer { sealed: bytes, ephemeral, cipher } })
    }
}

/// A sealed layer: what a node opens.
#[derive(Clone, PartialEq, Eq)]
pub struct Layer {
    /// Nonce, ciphertext, tag.
    pub sealed: Vec<u8>,
    /// The client's key for this layer.
    pub ephemeral: [u8; 32],
    /// How it is sealed.
    pub cipher: Cipher,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({}, {} bytes)", self.cipher.name(), self.sealed.len())
    }
}

/// What a layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A layer for the node of this id.
    Forward {
        /// The next node.
        to: NodeId,
        /// What it opens.
        layer: Layer,
    },
    /// Something for a server outside.
    Leave {
        /// Where to.
        server: Server,
        /// The whole layer, which the server reads itself.
        body: Vec<u8>,
    },
    /// A request for this node: the JSON of a method and its parameters.
    Deliver(Vec<u8>),
}

/// A server outside that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name or address, as the client wrote it.
    pub host: String,
    /// Its port; 443 where nothing is said.
    pub port: u16,
    /// Whether TLS is spoken, as it is where nothing is said.
    pub tls: bool,
    /// The path that is asked for.
    pub target: String,
}

/// Why a layer is not opened. Whoever sent it is told 400.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It has not the form of a layer.
    #[error("Error parsing onion request: {0}")]
    Form(&'static str),
    /// It does not open: whatever the cause, this is all that is said.
    #[error("Invalid ciphertext")]
    Sealed,
    /// It opens, and what it holds makes no sense; the answer can be sealed.
    #[error("Invalid json")]
    Content(Back),
    /// The server's address is none that such requests may go to; the answer can be sealed.
    #[error("Invalid url")]
    Url(Back),
}

impl Refusal {
    /// The status and body that the client gets; sealed, where it can be, with these random bytes.
    pub fn reply(self, stamp: Stamp, nonce: [u8; NONCE]) -> Result<Reply, Vec<u8>> {
        let text = self.to_string();
        match self {
            Self::Form(_) | Self::Sealed => Ok(Reply::text(400, text)),
            Self::Content(back) | Self::Url(back) => Err(back.seal(&Reply::text(400, text), stamp, nonce)),
        }
    }
}

/// How the answer to an opened layer goes back.
pub struct Back {
    key: Zeroizing<[u8; 32]>,
    cipher: Cipher,
    /// Whether a body in JSON stands in the answer as it is, and not as a string.
    json: bool,
    /// Whether the sealed answer is written in base64.
    base64: bool,
}

impl fmt::Debug for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cipher, json, base64, .. } = self;
        f.debug_struct("Back").field("cipher", cipher).field("json", json).field("base64", base64).finish()
    }
}

impl Layer {
    /// Reads what a client sent to its first node.
    ///
    /// # Errors
    ///
    /// When it is none, too long, or in a cipher that is not accepted.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.len() > MAX_REQUEST {
            return Err(Refusal::Form("too long"));
        }
        let (sealed, head) = split(body).ok_or(Refusal::Form("wrong length"))?;
        let head = head_of(head).ok_or(Refusal::Form("no JSON follows the ciphertext"))?;
        Self::from_head(sealed.to_vec(), &head).ok_or(Refusal::Form("ephemeral_key or enc_type"))
    }

    /// None when the JSON does not say with what it is sealed.
    fn from_head(sealed: Vec<u8>, head: &Map<String, Value>) -> Option<Self> {
        let ephemeral = hex(text(head, "ephemeral_key")?)?;
        let cipher = match head.get("enc_type") {
            None => Cipher::default(),
            Some(name) => Cipher::named(name.as_str()?)?,
        };
        Some(Self { sealed, ephemeral, cipher })
    }

    /// Opens the layer with the node's key: what is in it, and how its answer goes back.
    ///
    /// # Errors
    ///
    /// When it was not sealed for this key, or holds nothing that makes sense.
    pub fn open(self, key: &DoorKey) -> Result<(Step, Back), Refusal> {
        let Self { mut sealed, ephemeral, cipher } = self;
        let key = key.shared(&ephemeral, Side::Node, cipher).ok_or(Refusal::Sealed)?;
        unseal(cipher, &key, &mut sealed).ok_or(Refusal::Sealed)?;
        let mut back = Back { key, cipher, json: false, base64: true };
        match Step::read(sealed, &mut back) {
            Some(Step::Leave { server, .. }) if !server.is_allowed() => Err(Refusal::Url(back)),
            Some(step) => Ok((step, back)),
            None => Err(Refusal::Content(back)),
        }
    }
}

impl Step {
    /// Reads an open layer, and notes how its answer is wanted.
    fn read(open: Vec<u8>, back: &mut Back) -> Option<Self> {
        let (bytes, head) = split(&open)?;
        let (end, head) = (bytes.len().checked_add(4)?, head_of(head)?);
        let blob = |mut open: Vec<u8>| {
            open.truncate(end);
            open.drain(..4);
            open
        };
        if head.contains_key("headers") {
            back.json = flag(&head, "json", false)?;
            back.base64 = flag(&head, "base64", true)?;
            return Some(Self::Deliver(blob(open)));
        }
        if head.contains_key("host") {
            let server = Server::read(&head)?;
            return Some(Self::Leave { server, body: open });
        }
        let to = NodeId::from_bytes(hex(text(&head, "destination")?)?);
        Some(Self::Forward { to, layer: Layer::from_head(blob(open), &head)? })
    }
}

impl Server {
    fn read(head: &Map<String, Value>) -> Option<Self> {
        let port = match head.get("port") {
            None => 443,
            Some(port) => u16::try_from(port.as_u64()?).ok().filter(|port| *port != 0)?,
        };
        let tls = match head.get("protocol").map(Value::as_str) {
            None | Some(Some("https")) => true,
            Some(Some("http")) => false,
            Some(_) => return None,
        };
        let method = head.get("method").map_or(Some("POST"), Value::as_str)?;
        let host = text(head, "host")?.to_owned();
        let target = text(head, "target")?.to_owned();
        method.eq_ignore_ascii_case("POST").then_some(Self { host, port, tls, target })
    }

    /// Whether such a request may go there at all: to `/loki/.../lsrpc` or `/oxen/.../lsrpc`, without a query.
    fn is_allowed(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let rest = self.target.strip_prefix("/loki/").or_else(|| self.target.strip_prefix("/oxen/"));
        let fits = rest.is_some_and(|rest| rest.ends_with("/lsrpc") && !rest.starts_with('/'));
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b".:[]-".contains(&byte);
        fits && self.target.bytes().all(plain)
            && !self.target.contains("..")
            && !self.host.is_empty()
            && self.host.bytes().all(host)
    }
}

impl Back {
    /// Seals the answer: what the first node gives the client as the body of a 200. Beside what is no JSON, and has no
    /// room for it, stands `stamp`. `nonce` must be random, and never be used again.
    pub fn seal(self, reply: &Reply, stamp: Stamp, nonce: [u8; NONCE]) -> Vec<u8> {
        let Self { key, cipher, json, base64 } = self;
        let mut sealed = Vec::new();
        sealed.extend(nonce.iter().take(cipher.nonce()));
        sealed.extend(format!("{{\"status\":{},\"body\":", reply.status).into_bytes());
        match &reply.body {
            Body::Json(body) if json => sealed.extend_from_slice(body),
            Body::Json(body) => quote(&mut sealed, &String::from_utf8_lossy(body)),
            Body::Text(text) => quote(&mut sealed, text),
            Body::Bytes(bytes) => quote(&mut sealed, &BASE64.encode(bytes)),
        }
        if !matches!(reply.body, Body::Json(_)) {
            sealed.extend(format!(",{stamp}").into_bytes());
        }
        sealed.push(b'}');
        seal(cipher, &key, &mut sealed);
        if base64 { BASE64.encode(&sealed).into_bytes() } else { sealed }
    }
}

/// Appends a string of JSON.
fn quote(to: &mut Vec<u8>, text: &str) {
    // A string is always written.
    to.extend(serde_json::to_vec(text).unwrap_or_default());
}

/// Splits `u32 LE n | n bytes | rest`.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)
}

fn head_of(bytes: &[u8]) -> Option<Map<String, Value>> {
    if bytes.len() > MAX_HEAD {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

fn text<'a>(head: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    head.get(name)?.as_str()
}

fn flag(head: &Map<String, Value>, name: &str, otherwise: bool) -> Option<bool> {
    head.get(name).map_or(Some(otherwise), Value::as_bool)
}

fn hex(text: &str) -> Option<[u8; 32]> {
    HEX.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn aes(key: &[u8; 32]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))
}

/// Turns `nonce | ciphertext | tag` into what was sealed.
fn unseal(cipher: Cipher, key: &[u8; 32], sealed: &mut Vec<u8>) -> Option<()> {
    let mut nonce = [0; NONCE];
    let nonce = nonce.get_mut(..cipher.nonce())?;
    let (head, text) = sealed.split_at_mut_checked(nonce.len())?;
    nonce.copy_from_slice(head);
    match cipher {
        Cipher::AesGcm => {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            aes(key)?.open_in_place(nonce, Aad::empty(), text).ok()?;
        }
        Cipher::XChaCha20 => {
            let (text, tag) = text.split_at_mut_checked(text.len().checked_sub(TAG)?)?;
            let nonce = XNonce::from_slice(nonce);
            let cipher = XChaCha20Poly1305::new(key.into());
            cipher.decrypt_in_place_detached(nonce, b"", text, (&*tag).into()).ok()?;
        }
    }
    sealed.drain(..cipher.nonce());
    sealed.truncate(sealed.len().checked_sub(TAG)?);
    Some(())
}

/// The other way: what follows the nonce is encrypted in its place, and the tag appended.
fn seal(cipher: Cipher, key: &[u8; 32], text: &mut Vec<u8>) {
    let tag = sealing(cipher, key, text);
    // Neither cipher refuses what is as short as this.
    match tag {
        Some(tag) => text.extend(tag),
        None => text.clear(),
    }
}

fn sealing(cipher: Cipher, key: &[u8; 32], text: &mut [u8]) -> Option<[u8; TAG]> {
    let (nonce, text) = text.split_at_mut_checked(cipher.nonce())?;
    match cipher {
        Cipher::AesGcm => {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            aes(key)?.seal_in_place_separate_tag(nonce, Aad::empty(), text).ok()?.as_ref().try_into().ok()
        }
        Cipher::XChaCha20 => {
            let cipher = XChaCha20Poly1305::new(key.into());
            let tag = cipher.encrypt_in_place_detached(XNonce::from_slice(nonce), b"", text).ok()?;
            Some(tag.into())
        }
    }
}

#[cfg(test)]
mod tests;
