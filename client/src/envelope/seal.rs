//! Writing a direct message.

use crypto_box::aead::rand_core::{CryptoRng, RngCore, impls};
use curve25519_dalek::{MontgomeryPoint, traits::IsIdentity};
use prost::Message;
use session_protocols::{AccountId, identity::AccountKind, message::MAX_DATA};
use zeroize::Zeroizing;

use super::{Money, Wallet, money::MAX_NOTE, padding::pad, wire};
use crate::account::Account;

/// A message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The recipient is not a person.
    #[error("cannot send to {0}: direct messages go to accounts that begin with 05")]
    NotAPerson(AccountId),
    /// What is sealed to this key, everybody can open.
    #[error("cannot send to {0}: there is no key behind this account")]
    WeakKey(AccountId),
    /// A copy for the own devices would go to somebody else.
    #[error("a copy of a sent message goes to its sender, not to {0}")]
    CopyForAnother(AccountId),
    /// The message is longer than nodes store.
    #[error("the text is too long: sealed, the message has {bytes} bytes, and {max} are the most", max = MAX_DATA)]
    TooLong {
        /// The length of the sealed message.
        bytes: usize,
    },
    /// The note is longer than readers take.
    #[error("the note is too long: it has {bytes} bytes, and {max} are the most", max = MAX_NOTE)]
    Note {
        /// Its length.
        bytes: usize,
    },
    /// The operating system gives no random bytes.
    #[error("no random bytes for the seal")]
    Random(#[source] getrandom::Error),
    /// The cipher refused.
    #[error("the cipher refuses the message")]
    Cipher,
}

/// What somebody is to read.
#[derive(Clone, Debug, Default)]
pub struct Draft<'a> {
    /// The text. Beside money it is for clients that do not know that.
    pub text: &'a str,
    /// What it says of money.
    pub money: Option<Money>,
    /// Where the sender is paid; whoever reads it knows from then on what this address does.
    pub wallet: Option<Wallet>,
}

impl<'a> From<&'a str> for Draft<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, ..Self::default() }
    }
}

impl<'a> From<&'a String> for Draft<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

/// Writes a direct message: what a node stores in namespace 0 of the recipient.
///
/// With `sync_target` it writes the copy that a sender keeps for the own devices: the recipient is
/// then the sender, and `sync_target` is whom the message went to.
///
/// # Errors
/// When the recipient is not a person, or the text is too long.
pub fn seal<'a>(
    sender: &Account,
    recipient: &AccountId,
    draft: impl Into<Draft<'a>>,
    timestamp_ms: u64,
    sync_target: Option<&AccountId>,
) -> Result<Vec<u8>, SealError> {
    if recipient.kind() != AccountKind::Person {
        return Err(SealError::NotAPerson(*recipient));
    }
    if sync_target.is_some() && *recipient != sender.id() {
        return Err(SealError::CopyForAnother(*recipient));
    }
    let draft = draft.into();
    let note = match &draft.money {
        Some(Money::Payment(payment)) => payment.note.as_deref(),
        Some(Money::Request { note, .. }) => note.as_deref(),
        Some(Money::WalletWanted | Money::Wallet) | None => None,
    };
    if let Some(note) = note.filter(|note| note.len() > MAX_NOTE) {
        return Err(SealError::Note { bytes: note.len() });
    }
    // Before anything is copied, so that a text of any length costs nothing.
    if draft.text.len() > MAX_DATA {
        return Err(SealError::TooLong { bytes: draft.text.len() });
    }
    let mut ephemeral = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *ephemeral).map_err(SealError::Random)?;
    let content = content(&draft, timestamp_ms, sync_target);
    seal_content(sender, recipient, content, timestamp_ms, ephemeral)
}

/// Pads, signs, seals and wraps a content, with this secret as the ephemeral key of the seal.
pub(super) fn seal_content(
    sender: &Account,
    recipient: &AccountId,
    content: Vec<u8>,
    timestamp_ms: u64,
    ephemeral: Zeroizing<[u8; 32]>,
) -> Result<Vec<u8>, SealError> {
    let signed = sign(sender, recipient, pad(content));
    let data = wrap(seal_signed(recipient, &signed, ephemeral)?, timestamp_ms);
    if data.len() > MAX_DATA { Err(SealError::TooLong { bytes: data.len() }) } else { Ok(data) }
}

/// The content: what is to be read, time and, on a copy, whom it went to.
pub(super) fn content(draft: &Draft<'_>, timestamp_ms: u64, sync_target: Option<&AccountId>) -> Vec<u8> {
    let Draft { text, money, wallet } = draft;
    let wallet = wallet.as_ref().map(Wallet::write);
    let data = wire::DataMessage {
        body: Some((*text).to_owned()),
        profile: wallet.map(|wallet| wire::Profile { display_name: None, wallet: Some(wallet) }),
        sync_target: sync_target.map(AccountId::to_string),
        ..Default::default()
    };
    let money = money.as_ref().map(Money::write);
    wire::Content { data: Some(data), sig_timestamp: Some(timestamp_ms), money, ..Default::default() }
        .encode_to_vec()
}

/// Appends the sender's key, and the signature over both and the recipient's key.
pub(super) fn sign(sender: &Account, recipient: &AccountId, mut message: Vec<u8>) -> Vec<u8> {
    message.extend(sender.key_pair().public());
    let signature = sender.key_pair().sign(&[&message[..], &recipient.key()].concat());
    message.extend(signature.0);
    message
}

/// Seals to the recipient, as libsodium's `crypto_box_seal` does.
pub(super) fn seal_signed(
    recipient: &AccountId,
    signed: &[u8],
    ephemeral: Zeroizing<[u8; 32]>,
) -> Result<Vec<u8>, SealError> {
    // Multiplied by such a key every secret gives zero, so that the seal would keep nobody out.
    if MontgomeryPoint(recipient.key()).mul_clamped(*ephemeral).is_identity() {
        return Err(SealError::WeakKey(*recipient));
    }
    crypto_box::PublicKey::from_bytes(recipient.key())
        .seal(&mut Once(ephemeral), signed)
        .map_err(|_| SealError::Cipher)
}

/// Wraps a sealed message into what a node stores.
pub(super) fn wrap(sealed: Vec<u8>, timestamp_ms: u64) -> Vec<u8> {
    let envelope =
        wire::Envelope { kind: wire::SESSION_MESSAGE, timestamp: Some(timestamp_ms), content: Some(sealed) };
    let request = wire::WebSocketRequestMessage {
        verb: "PUT".to_owned(),
        path: "/api/v1/message".to_owned(),
        body: envelope.encode_to_vec(),
        request_id: 0,
    };
    wire::WebSocketMessage { kind: wire::REQUEST, request: Some(request) }.encode_to_vec()
}

/// A source of randomness that holds the 32 bytes of one ephemeral key.
///
/// `crypto_box` draws its key from a source that cannot fail; the operating system can.
struct Once(Zeroizing<[u8; 32]>);

impl RngCore for Once {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        assert_eq!(to.len(), self.0.len(), "a seal draws one key");
        to.copy_from_slice(&*self.0);
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), crypto_box::aead::rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl CryptoRng for Once {}
