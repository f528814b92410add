//! The protobuf messages, with the fields that are read or written here; others are skipped.
//!
//! What is required is always written, also when it is zero, because older clients insist on it.

use prost::Message;

/// [`WebSocketMessage::kind`] of a request.
pub(super) const REQUEST: i32 = 1;
/// [`Envelope::kind`] of a direct message.
pub(super) const SESSION_MESSAGE: i32 = 6;
/// [`Reaction::action`] that takes an emoji back.
pub(super) const REMOVE: i32 = 1;
/// [`Money::version`] that is written, and the only one that is read.
pub(super) const MONEY: u32 = 1;

/// What a node stores.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WebSocketMessage {
    #[prost(int32, required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) request: Option<WebSocketRequestMessage>,
}

/// A request of which only the body counts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WebSocketRequestMessage {
    #[prost(string, required, tag = "1")]
    pub(super) verb: String,
    #[prost(string, required, tag = "2")]
    pub(super) path: String,
    #[prost(bytes = "vec", required, tag = "3")]
    pub(super) body: Vec<u8>,
    #[prost(uint64, required, tag = "4")]
    pub(super) request_id: u64,
}

/// The ciphertext and what is known without opening it.
///
/// The field `source` (2) is left out: swarms could read it, and a reader must not believe it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Envelope {
    #[prost(int32, required, tag = "1")]
    pub(super) kind: i32,
    #[prost(uint64, optional, tag = "5")]
    pub(super) timestamp: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub(super) content: Option<Vec<u8>>,
}

/// What is padded, signed and sealed. Of kinds that are only told apart, the bytes are kept.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Content {
    #[prost(message, optional, tag = "1")]
    pub(super) data: Option<DataMessage>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) call: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(super) receipt: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(super) typing: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub(super) data_extraction: Option<Vec<u8>>,
    #[prost(message, optional, tag = "9")]
    pub(super) unsend: Option<Reference>,
    #[prost(bytes = "vec", optional, tag = "10")]
    pub(super) request_answer: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "15")]
    pub(super) sig_timestamp: Option<u64>,
    #[prost(message, optional, tag = "1001")]
    pub(super) money: Option<Money>,
}

/// What a message says of money. Clients that do not know it show the text beside it, which says the same.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Money {
    #[prost(uint32, required, tag = "1")]
    pub(super) version: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) payment: Option<Payment>,
    #[prost(message, optional, tag = "3")]
    pub(super) request: Option<Sum>,
    #[prost(bool, optional, tag = "4")]
    pub(super) wallet_wanted: Option<bool>,
    #[prost(string, optional, tag = "5")]
    pub(super) note: Option<String>,
}

/// A payment that was made.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Payment {
    #[prost(message, required, tag = "1")]
    pub(super) sum: Sum,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(super) transaction: Vec<u8>,
}

/// So much of one coin of one chain.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sum {
    #[prost(uint64, required, tag = "1")]
    pub(super) chain: u64,
    /// The token's address; empty for the chain's own coin.
    #[prost(bytes = "vec", required, tag = "2")]
    pub(super) token: Vec<u8>,
    /// In units, big-endian, 16 bytes.
    #[prost(bytes = "vec", required, tag = "3")]
    pub(super) units: Vec<u8>,
}

/// A message to be read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DataMessage {
    #[prost(string, optional, tag = "1")]
    pub(super) body: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) attachments: Vec<AttachmentPointer>,
    #[prost(message, optional, tag = "8")]
    pub(super) quote: Option<Reference>,
    #[prost(message, repeated, tag = "10")]
    pub(super) previews: Vec<Preview>,
    #[prost(message, optional, tag = "11")]
    pub(super) reaction: Option<Reaction>,
    #[prost(message, optional, tag = "101")]
    pub(super) profile: Option<Profile>,
    #[prost(string, optional, tag = "105")]
    pub(super) sync_target: Option<String>,
}

/// Where an attachment is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AttachmentPointer {
    #[prost(fixed64, required, tag = "1")]
    pub(super) id: u64,
    #[prost(string, optional, tag = "2")]
    pub(super) content_type: Option<String>,
    #[prost(uint32, optional, tag = "4")]
    pub(super) size: Option<u32>,
    #[prost(string, optional, tag = "7")]
    pub(super) file_name: Option<String>,
    #[prost(string, optional, tag = "101")]
    pub(super) url: Option<String>,
}

/// A link.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Preview {
    #[prost(string, required, tag = "1")]
    pub(super) url: String,
    #[prost(string, optional, tag = "2")]
    pub(super) title: Option<String>,
}

/// An emoji on a message.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Reaction {
    #[prost(uint64, required, tag = "1")]
    pub(super) id: u64,
    #[prost(string, required, tag = "2")]
    pub(super) author: String,
    #[prost(string, optional, tag = "3")]
    pub(super) emoji: Option<String>,
    #[prost(int32, required, tag = "4")]
    pub(super) action: i32,
}

/// Another message: the one quoted, or the one taken back.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Reference {
    #[prost(uint64, required, tag = "1")]
    pub(super) timestamp: u64,
    #[prost(string, required, tag = "2")]
    pub(super) author: String,
}

/// How the sender wants to be called.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Profile {
    #[prost(string, optional, tag = "1")]
    pub(super) display_name: Option<String>,
    #[prost(message, optional, tag = "1001")]
    pub(super) wallet: Option<Wallet>,
}

/// Where the sender is paid.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Wallet {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(super) address: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(super) proof: Vec<u8>,
}
