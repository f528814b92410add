//! Noise for the onion: NK over X25519, SHA-256 and one of two ciphers, computed by aws-lc.
//!
//! snow brings the pattern; the primitives come from here. A hop's public key is computed once and
//! not at each handshake, ciphers get a key only when there is one, and an ephemeral key is made of
//! bytes that the caller passed in: nothing draws randomness here.

use std::sync::Arc;

use aws_lc_rs::{
    aead::{
        AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
        quic::{self, HeaderProtectionKey},
    },
    agreement::{self, PrivateKey, UnparsedPublicKey},
};
use sha2::{Digest, Sha256};
use snow::{
    Builder, Error, HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice, NoiseParams},
    resolvers::CryptoResolver,
    types::{Cipher, Dh, Hash, Random},
};
use zeroize::Zeroizing;

use super::size::{NUMBER, TAG};
use crate::mutants;

/// Bytes of a public key.
pub const PUBLIC: usize = 32;

/// Which cipher a hop's layer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// `Noise_NK_25519_ChaChaPoly_SHA256`: fast everywhere.
    ChaCha,
    /// `Noise_NK_25519_AESGCM_SHA256`: nearly twice as fast where the processor has AES.
    Aes,
}

impl Suite {
    const fn cipher(self) -> CipherChoice {
        match self {
            Self::ChaCha => CipherChoice::ChaChaPoly,
            Self::Aes => CipherChoice::AESGCM,
        }
    }

    /// The name of its Noise protocol.
    pub const fn params(self) -> &'static str {
        match self {
            Self::ChaCha => "Noise_NK_25519_ChaChaPoly_SHA256",
            Self::Aes => "Noise_NK_25519_AESGCM_SHA256",
        }
    }
}

/// Whether this processor is fast at AES: what a host says of itself.
pub fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// A hop's onion key: an X25519 pair that lives for a day.
#[derive(Clone)]
pub struct OnionKey {
    bytes: Zeroizing<[u8; 32]>,
    private: Arc<PrivateKey>,
    public: [u8; PUBLIC],
}

impl OnionKey {
    /// The pair of this private key; any 32 bytes are one.
    ///
    /// None if the library refuses it, which it does for no bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        let bytes = Zeroizing::new(bytes);
        let (private, public) = pair(&bytes)?;
        Some(Self { bytes, private: Arc::new(private), public })
    }

    /// What others seal to.
    pub const fn public(&self) -> &[u8; PUBLIC] {
        &self.public
    }

    /// The private key's bytes, to be kept.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl core::fmt::Debug for OnionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "OnionKey({})", data_encoding::HEXLOWER.encode(&self.public))
    }
}

fn pair(bytes: &[u8; 32]) -> Option<(PrivateKey, [u8; PUBLIC])> {
    let private = PrivateKey::from_private_key(&agreement::X25519, bytes).ok()?;
    let public = private.compute_public_key().ok()?.as_ref().try_into().ok()?;
    Some((private, public))
}

/// The side that knows the hop's public key. `ephemeral` must be random, and never be used again.
///
/// # Errors
///
/// Those of snow, which a key and a prologue of any bytes do not cause.
pub fn initiator(
    suite: Suite,
    prologue: &[u8],
    hop: &[u8; PUBLIC],
    ephemeral: Zeroizing<[u8; 32]>,
) -> Result<HandshakeState, Error> {
    let resolver = Resolver { known: None, ephemeral };
    let params: NoiseParams = suite.params().parse()?;
    Builder::with_resolver(params, Box::new(resolver))
        .remote_public_key(hop)?
        .prologue(prologue)?
        .build_initiator()
}

/// The hop's side. `ephemeral` must be random, and never be used again.
///
/// # Errors
///
/// As with [`initiator`].
pub fn responder(
    suite: Suite,
    prologue: &[u8],
    key: &OnionKey,
    ephemeral: Zeroizing<[u8; 32]>,
) -> Result<HandshakeState, Error> {
    let resolver = Resolver { known: Some(key.clone()), ephemeral };
    let params: NoiseParams = suite.params().parse()?;
    Builder::with_resolver(params, Box::new(resolver))
        .local_private_key(key.bytes.as_slice())?
        .prologue(prologue)?
        .build_responder()
}

/// A cipher under one key outside of Noise: for what is larger than a Noise message.
pub(super) struct Sealer(LessSafeKey);

impl Sealer {
    /// None if the library refuses the key, which it does for none of 32 bytes.
    pub(super) fn new(suite: Suite, key: &[u8; 32]) -> Option<Self> {
        keyed(&suite.cipher(), key).map(Self)
    }

    /// Seals `body` where it lies, all but its last [`TAG`] bytes, which take the tag. The key must
    /// never seal anything else.
    pub(super) fn seal(&self, ad: &[u8], body: &mut [u8]) -> Option<()> {
        let (text, tag) = body.split_at_mut(body.len().checked_sub(TAG)?);
        let made = self.0.seal_in_place_separate_tag(nonce(0), Aad::from(ad), text).ok()?;
        tag.copy_from_slice(made.as_ref());
        Some(())
    }

    /// Opens what [`Self::seal`] made, where it lies.
    pub(super) fn open(&self, ad: &[u8], body: &mut [u8]) -> Option<()> {
        // Without the tag these ciphers open by what they seal with.
        if mutants::on("layer-unchecked") {
            return self.seal(ad, body);
        }
        self.0.open_in_place(nonce(0), Aad::from(ad), body).ok().map(drop)
    }
}

/// Hides the numbers of a session's packets, as QUIC does (RFC 9001, section 5.4): otherwise they
/// would be the same on both sides of a hop.
pub(super) struct Mask(HeaderProtectionKey);

impl Mask {
    /// None if the library refuses the key, which it does for none of 32 bytes.
    pub(super) fn new(suite: Suite, key: &[u8; 32]) -> Option<Self> {
        let algorithm = match suite {
            Suite::ChaCha => &quic::CHACHA20,
            Suite::Aes => &quic::AES_256,
        };
        HeaderProtectionKey::new(algorithm, key).ok().map(Self)
    }

    /// Masks a number, or takes the mask off, by the last bytes of its packet.
    pub(super) fn apply(&self, mut number: [u8; NUMBER], packet: &[u8]) -> Option<[u8; NUMBER]> {
        let sample = packet.last_chunk::<TAG>()?;
        let mask = self.0.new_mask(sample).ok()?;
        number.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        Some(number)
    }
}

fn keyed(cipher: &CipherChoice, key: &[u8; 32]) -> Option<LessSafeKey> {
    let algorithm = if *cipher == CipherChoice::AESGCM { &AES_256_GCM } else { &CHACHA20_POLY1305 };
    Some(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?))
}

/// As Noise fixes it: big-endian for AES-GCM and little-endian for ChaCha20, which is the same at 0.
fn nonce(number: u64) -> Nonce {
    debug_assert_eq!(number, 0);
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Hands snow its primitives. It serves one handshake.
struct Resolver {
    known: Option<OnionKey>,
    ephemeral: Zeroizing<[u8; 32]>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let known = self.known.clone();
        (*choice == DHChoice::Curve25519).then(|| Box::new(X25519 { known, ..X25519::default() }) as _)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        (*choice == HashChoice::SHA256).then(|| Box::new(Sha(Sha256::new())) as _)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        let cipher = *choice;
        let known = matches!(cipher, CipherChoice::AESGCM | CipherChoice::ChaChaPoly);
        known.then(|| Box::new(Aead { cipher, key: None }) as _)
    }
}

/// Bytes that were drawn by the caller, given out once.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().ok_or(Error::Rng)?;
        if dest.len() != bytes.len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(bytes.as_slice());
        Ok(())
    }
}

#[derive(Default)]
struct X25519 {
    /// The hop's own key, whose public half need not be computed again.
    known: Option<OnionKey>,
    bytes: Zeroizing<[u8; 32]>,
    private: Option<Arc<PrivateKey>>,
    public: [u8; PUBLIC],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        PUBLIC
    }

    fn priv_len(&self) -> usize {
        self.bytes.len()
    }

    fn set(&mut self, privkey: &[u8]) {
        // snow has checked nothing; without a key every exchange fails.
        let Ok(bytes) = <[u8; 32]>::try_from(privkey) else { return };
        self.bytes = Zeroizing::new(bytes);
        match &self.known {
            Some(known) if subtle::ConstantTimeEq::ct_eq(known.bytes.as_slice(), privkey).into() => {
                self.private = Some(Arc::clone(&known.private));
                self.public = known.public;
            }
            Some(_) | None => {
                let made = pair(&self.bytes);
                self.public = made.as_ref().map_or([0; PUBLIC], |(_, public)| *public);
                self.private = made.map(|(private, _)| Arc::new(private));
            }
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(bytes.as_mut_slice())?;
        self.set(bytes.as_slice());
        self.private.as_ref().map(|_| ()).ok_or(Error::Dh)
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let private = self.private.as_ref().ok_or(Error::Dh)?;
        let (peer, out) = (pubkey.get(..PUBLIC).ok_or(Error::Dh)?, out.get_mut(..PUBLIC).ok_or(Error::Dh)?);
        let peer = UnparsedPublicKey::new(&agreement::X25519, peer);
        // A peer's key of low order is refused here: the shared secret would be known to all.
        agreement::agree(private, peer, Error::Dh, |secret| {
            out.copy_from_slice(secret);
            Ok(())
        })
    }
}

struct Aead {
    cipher: CipherChoice,
    key: Option<LessSafeKey>,
}

impl Aead {
    fn nonce(&self, number: u64) -> Nonce {
        let mut bytes = [0; NONCE_LEN];
        let number =
            if self.cipher == CipherChoice::AESGCM { number.to_be_bytes() } else { number.to_le_bytes() };
        if let Some(end) = bytes.last_chunk_mut() {
            *end = number;
        }
        Nonce::assume_unique_for_key(bytes)
    }
}

impl Cipher for Aead {
    fn name(&self) -> &'static str {
        if self.cipher == CipherChoice::AESGCM { "AESGCM" } else { "ChaChaPoly" }
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.key = keyed(&self.cipher, key);
    }

    /// The trait knows no failure, and neither does the cipher below its limits, which snow keeps;
    /// if it had one, zeros would go out, and nobody could open them.
    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let length = plaintext.len();
        let sealed = || {
            let (text, rest) = out.split_at_mut_checked(length)?;
            text.copy_from_slice(plaintext);
            let made =
                self.key.as_ref()?.seal_in_place_separate_tag(self.nonce(nonce), Aad::from(authtext), text);
            match made {
                Ok(tag) => rest.get_mut(..TAG)?.copy_from_slice(tag.as_ref()),
                Err(_) => text.fill(0),
            }
            Some(())
        };
        let _ = { sealed }();
        length.saturating_add(TAG)
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let key = self.key.as_ref().ok_or(Error::Decrypt)?;
        let length = ciphertext.len().checked_sub(TAG).ok_or(Error::Decrypt)?;
        let (text, tag) = ciphertext.split_at_checked(length).ok_or(Error::Decrypt)?;
        let out = out.get_mut(..length).ok_or(Error::Decrypt)?;
        // Only handshakes are bound to something.
        if mutants::on("handshake-unchecked") && !authtext.is_empty() {
            out.copy_from_slice(text);
            let opened = key.seal_in_place_separate_tag(self.nonce(nonce), Aad::from(authtext), out);
            return opened.map(|_| length).map_err(|_| Error::Decrypt);
        }
        key.open_separate_gather(self.nonce(nonce), Aad::from(authtext), text, tag, out)
            .map_err(|_| Error::Decrypt)?;
        Ok(length)
    }
}

struct Sha(Sha256);

impl Hash for Sha {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let digest = self.0.finalize_reset();
        if let Some(out) = out.get_mut(..digest.len()) {
            out.copy_from_slice(&digest);
        }
    }
}
