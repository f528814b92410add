//! Reading a direct message.

use prost::{DecodeError, Message};
use session_protocols::{
    AccountId, Signature,
    identity::{ParseError, verify},
    message::MAX_DATA,
};

use super::{
    Attachment, DirectMessage, Kind, Money, Preview, Reaction, Reference, Wallet, padding::unpad, wire,
};
use crate::account::Account;

/// Some bytes are not a direct message to this account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is longer than nodes store.
    #[error("the message has {bytes} bytes, and {max} are the most", max = MAX_DATA)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A layer is not the protobuf it should be.
    #[error("the {layer} cannot be read")]
    Layout {
        /// Which layer.
        layer: &'static str,
        /// What is wrong with it.
        #[source]
        cause: DecodeError,
    },
    /// A layer has another type than a direct message has.
    #[error("the {layer} has type {found}, a direct message has {expected}")]
    Type {
        /// Which layer.
        layer: &'static str,
        /// The type it has.
        found: i32,
        /// The type it should have.
        expected: i32,
    },
    /// Something that is always there is not.
    #[error("the message has no {0}")]
    Missing(&'static str),
    /// The seal does not open with this account's key.
    #[error("the message is sealed for another account, or damaged")]
    Sealed,
    /// The sealed part is too short for a sender and a signature.
    #[error("the sealed part is too short for a sender and a signature")]
    TooShort,
    /// The sender's signature does not hold.
    #[error("the sender's signature does not hold")]
    Signature,
    /// The padding has no end.
    #[error("the padding has no end")]
    Padding,
    /// An account is named that is none.
    #[error("the {field} names no account")]
    Account {
        /// Where it is named.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        cause: ParseError,
    },
    /// What it says of money is nothing that could be paid.
    #[error("the {0} is none")]
    Money(&'static str),
    /// A sender does what only the account that it concerns may do.
    #[error("{from} may not {deed}")]
    Forbidden {
        /// The sender.
        from: AccountId,
        /// What it tried.
        deed: &'static str,
    },
}

/// Opens a direct message to this account, from what a node stores.
///
/// The sender is whoever signed inside the seal. The time is the one that was signed; messages of
/// older clients have none inside, and then it is the envelope's.
///
/// # Errors
/// When the bytes are not a direct message, are not for this account, or are not by their sender.
pub fn open(account: &Account, data: &[u8]) -> Result<DirectMessage, OpenError> {
    let (sealed, timestamp_ms) = unwrap(data)?;
    let signed = unseal(account, &sealed)?;
    let (from, padded) = check(account, &signed)?;
    let content = decode("content", unpad(padded).ok_or(OpenError::Padding)?)?;
    read(account, from, content, timestamp_ms)
}

/// Takes off the two outer layers: the sealed message, and the envelope's time.
fn unwrap(data: &[u8]) -> Result<(Vec<u8>, Option<u64>), OpenError> {
    if data.len() > MAX_DATA {
        return Err(OpenError::TooLong { bytes: data.len() });
    }
    let outer: wire::WebSocketMessage = decode("outer layer", data)?;
    expect("outer layer", outer.kind, wire::REQUEST)?;
    let request = outer.request.ok_or(OpenError::Missing("envelope"))?;
    let envelope: wire::Envelope = decode("envelope", &request.body)?;
    expect("envelope", envelope.kind, wire::SESSION_MESSAGE)?;
    Ok((envelope.content.ok_or(OpenError::Missing("content"))?, envelope.timestamp))
}

fn unseal(account: &Account, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    crypto_box::SecretKey::from_bytes(*account.key_pair().x25519_secret())
        .unseal(sealed)
        .map_err(|_| OpenError::Sealed)
}

/// Checks who signed: the sender, and the padded content.
fn check<'a>(account: &Account, signed: &'a [u8]) -> Result<(AccountId, &'a [u8]), OpenError> {
    let (message, signature) = signed.split_last_chunk::<64>().ok_or(OpenError::TooShort)?;
    let (padded, key) = message.split_last_chunk::<32>().ok_or(OpenError::TooShort)?;
    let statement = [message, &account.id().key()].concat();
    if !verify(key, &statement, &Signature(*signature)) {
        return Err(OpenError::Signature);
    }
    let from = AccountId::of_person(key).ok_or(OpenError::Signature)?;
    Ok((from, padded))
}

/// Reads a content whose sender is known.
fn read(
    account: &Account,
    from: AccountId,
    content: wire::Content,
    envelope_ms: Option<u64>,
) -> Result<DirectMessage, OpenError> {
    let timestamp_ms = content.sig_timestamp.or(envelope_ms).ok_or(OpenError::Missing("time"))?;
    let kind = kind(account, from, &content)?;
    let data = content.data.unwrap_or_default();
    let profile = data.profile.unwrap_or_default();

    let sync_target = data.sync_target.filter(|target| !target.is_empty());
    if sync_target.is_some() && from != account.id() {
        return Err(OpenError::Forbidden { from, deed: "say what this account has sent" });
    }
    Ok(DirectMessage {
        from,
        timestamp_ms,
        sync_target: sync_target.map(|target| parse("sync target", &target)).transpose()?,
        kind,
        text: data.body.filter(|text| !text.is_empty()),
        display_name: profile.display_name,
        wallet: profile.wallet.as_ref().map(Wallet::read).transpose()?,
        attachments: data.attachments.into_iter().map(attachment).collect(),
        previews: data
            .previews
            .into_iter()
            .map(|link| Preview { url: link.url, title: link.title })
            .collect(),
        quote: data.quote.map(|quote| reference("quote", &quote)).transpose()?,
        reaction: data.reaction.map(reaction).transpose()?,
    })
}

/// Tells what a content is for; a message may be taken back by its author and by the own devices.
fn kind(account: &Account, from: AccountId, content: &wire::Content) -> Result<Kind, OpenError> {
    // Of a version that is not known here, the text says it.
    if let Some(money) = content.money.as_ref().filter(|money| money.version == wire::MONEY) {
        return Ok(Kind::Money(Money::read(money)?));
    }
    if content.data.is_some() {
        return Ok(Kind::Data);
    }
    if let Some(unsend) = &content.unsend {
        let taken_back = reference("message taken back", unsend)?;
        return if from == taken_back.author || from == account.id() {
            Ok(Kind::Unsend(taken_back))
        } else {
            Err(OpenError::Forbidden { from, deed: "take back what another account has sent" })
        };
    }
    let kinds = [
        (&content.call, Kind::Call),
        (&content.receipt, Kind::Receipt),
        (&content.typing, Kind::Typing),
        (&content.data_extraction, Kind::DataExtraction),
        (&content.request_answer, Kind::RequestAnswer),
    ];
    Ok(kinds.into_iter().find(|(part, _)| part.is_some()).map_or(Kind::Other, |(_, kind)| kind))
}

fn attachment(pointer: wire::AttachmentPointer) -> Attachment {
    Attachment {
        id: pointer.id,
        url: pointer.url,
        name: pointer.file_name,
        content_type: pointer.content_type,
        size: pointer.size,
    }
}

fn reaction(reaction: wire::Reaction) -> Result<Reaction, OpenError> {
    let author = parse("reaction", &reaction.author)?;
    Ok(Reaction {
        to: Reference { timestamp_ms: reaction.id, author },
        emoji: reaction.emoji.unwrap_or_default(),
        removed: reaction.action == wire::REMOVE,
    })
}

fn reference(field: &'static str, reference: &wire::Reference) -> Result<Reference, OpenError> {
    Ok(Reference { timestamp_ms: reference.timestamp, author: parse(field, &reference.author)? })
}

fn parse(field: &'static str, account: &str) -> Result<AccountId, OpenError> {
    account.parse().map_err(|cause| OpenError::Account { field, cause })
}

fn expect(layer: &'static str, found: i32, expected: i32) -> Result<(), OpenError> {
    if found == expected { Ok(()) } else { Err(OpenError::Type { layer, found, expected }) }
}

fn decode<M: Message + Default>(layer: &'static str, bytes: &[u8]) -> Result<M, OpenError> {
    M::decode(bytes).map_err(|cause| OpenError::Layout { layer, cause })
}
