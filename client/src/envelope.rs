//! Direct messages, as clients of Session write and read them.
//!
//! From the inside out: the content (protobuf), padded, signed by its sender, sealed to its
//! recipient, and wrapped twice (protobuf) into the bytes that a node stores. Who sent a message is
//! known from the signature inside the seal and from nothing else.

#[cfg(any(test, feature = "test-utils"))]
pub mod fuzz;
pub mod money;
mod open;
mod padding;
mod seal;
mod wire;

#[cfg(test)]
mod tests;

use session_protocols::AccountId;

pub use money::{Money, Payment, Sum, Wallet};
pub use open::{OpenError, open};
pub use seal::{Draft, SealError, seal};

/// A direct message that was opened: its seal and its signature hold.
///
/// Texts are as the sender wrote them; whoever shows them on a terminal removes control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectMessage {
    /// Who signed it.
    pub from: AccountId,
    /// When it was sent, in milliseconds since 1970, by the sender's clock.
    pub timestamp_ms: u64,
    /// Set on the copy that a sender keeps for the own devices: whom the message went to.
    pub sync_target: Option<AccountId>,
    /// What it is for.
    pub kind: Kind,
    /// The text; absent when there is none or when it is empty.
    pub text: Option<String>,
    /// The name that the sender goes by. Anyone may take any name.
    pub display_name: Option<String>,
    /// Where the sender says to be paid. Whether the key there agrees, the envelope does not know.
    pub wallet: Option<Wallet>,
    /// What comes with it.
    pub attachments: Vec<Attachment>,
    /// The links that come with a preview.
    pub previews: Vec<Preview>,
    /// The message that it answers.
    pub quote: Option<Reference>,
    /// The emoji that it puts on a message, or takes back.
    pub reaction: Option<Reaction>,
}

/// What a direct message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// To be read: text, attachments, a reaction.
    Data,
    /// It says something of money, which the text beside it says to clients that do not know this.
    Money(Money),
    /// A call is offered, answered or ended.
    Call,
    /// Messages were read.
    Receipt,
    /// Somebody is typing, or has stopped.
    Typing,
    /// A screenshot was taken or an attachment saved.
    DataExtraction,
    /// A message is taken back; its sender asks for it, or one of the own devices.
    Unsend(Reference),
    /// A first message was accepted or refused.
    RequestAnswer,
    /// Something that this version does not know.
    Other,
}

/// Which message is meant: there is one per sender and millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// When it was sent, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Who sent it.
    pub author: AccountId,
}

/// A file on a file server that comes with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The number by which older clients ask the file server for it.
    pub id: u64,
    /// Where it is.
    pub url: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// What it is, as a MIME type.
    pub content_type: Option<String>,
    /// Its length in bytes, before padding and encryption, as the sender states it.
    pub size: Option<u32>,
}

/// A link with its preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Where it leads.
    pub url: String,
    /// What the sender's client found there.
    pub title: Option<String>,
}

/// An emoji put on a message, or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The message it is put on.
    pub to: Reference,
    /// The emoji.
    pub emoji: String,
    /// Whether it is taken back.
    pub removed: bool,
}
