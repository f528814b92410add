//! What clients ask of a swarm member: `/session/<net>/storage/1`.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::{
    AccountId, MessageHash, Namespace, NetworkName, Signature, Span, Statement, Time, answer::Code, identity,
    message::MAX_DATA, namespace::Class,
};

/// The longest encoded request, in bytes.
pub const MAX_REQUEST: usize = 128 * 1024;
/// How many hashes one request may name.
pub const MAX_HASHES: usize = 500;
/// The shortest life of a message.
pub const MIN_TTL: Span = Span::secs(10);
/// The longest life of a message in a public inbox.
pub const MAX_TTL_PUBLIC: Span = Span::days(14);
/// The longest life of a message in a private namespace, and of any by extension.
pub const MAX_TTL: Span = Span::days(30);
/// How far ahead of the node's clock a message's time may be.
pub const MAX_AHEAD: Span = Span::secs(10);
/// How far a signed time may be from the clock of the node that a client asks.
pub const TOLERANCE: Span = Span::secs(60);
/// The same between members, who pass requests on.
pub const TOLERANCE_FORWARDED: Span = Span::secs(70);

/// A request about one mailbox, or about the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Keep a message.
    Store(Store),
    /// Hand out messages.
    Retrieve(Retrieve),
    /// Hand out messages by their hashes.
    Fetch(Fetch),
    /// Forget messages.
    Delete(Delete),
    /// Change when messages end.
    Expire(Expire),
    /// Who keeps an account.
    GetSwarm {
        /// The account.
        account: AccountId,
    },
    /// Who is this node, and what time has it.
    Info,
}

/// Proof that the owner of an account asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// The Ed25519 key, where the account's id does not show it (kind `05`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ByteArray<32>>,
    /// When it was signed, in milliseconds since 1970.
    pub time: u64,
    /// Over the request's statement.
    pub signature: Signature,
}

/// Keep a message until it expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which drawer.
    pub namespace: Namespace,
    /// When it was sent, in milliseconds since 1970, as its sender says.
    pub timestamp: u64,
    /// When it ends, in milliseconds since 1970.
    pub expiry: u64,
    /// The message, at most [`MAX_DATA`] bytes.
    pub data: ByteBuf,
    /// Needed in private namespaces; a store into a public inbox carries nothing of its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

/// Hand out the messages of one namespace, oldest arrival first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retrieve {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which drawer.
    pub namespace: Namespace,
    /// Where the last page of the same member ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
    /// At most so many messages; the node may give fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u32>,
    /// At most so many bytes of messages, but one message at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u32>,
    /// Whether hashes will do, for who has messages already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// The owner's proof.
    pub auth: Auth,
}

/// When a page lists hashes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// Where the node does not know the cursor, or there is none: the asker cannot tell what of
    /// the messages it has.
    Anew,
    /// In any case.
    Always,
}

/// Hand out messages of one namespace by their hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which drawer.
    pub namespace: Namespace,
    /// Which messages, at most [`MAX_HASHES`].
    pub hashes: Vec<MessageHash>,
    /// The owner's proof.
    pub auth: Auth,
}

/// A place in one member's order of arrivals. Opaque to clients: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ByteArray<16>", into = "ByteArray<16>")]
pub struct Cursor {
    /// Which life of which member's store.
    pub incarnation: u64,
    /// The last arrival that was handed out.
    pub sequence: u64,
}

/// Forget messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which messages, at most [`MAX_HASHES`].
    pub hashes: Vec<MessageHash>,
    /// The owner's proof.
    pub auth: Auth,
}

/// Change when messages end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expire {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which messages, at most [`MAX_HASHES`].
    pub hashes: Vec<MessageHash>,
    /// The new end, in milliseconds since 1970.
    pub expiry: u64,
    /// Which direction alone is meant, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Direction>,
    /// The owner's proof.
    pub auth: Auth,
}

/// A direction in which an expiry may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Only to an earlier end.
    Shorten,
    /// Only to a later end.
    Extend,
}

/// Who passes a request on: decides how stale a signed time may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client asks for the first time.
    Client,
    /// A member passes on what a client asked, at any later time.
    Member,
}

impl Store {
    /// The hash that the message will be known by.
    pub fn hash(&self) -> MessageHash {
        MessageHash::of(&self.account, self.namespace, &self.data)
    }

    /// What its signature covers, if it carries one.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        Statement::new("store", network)
            .bytes(self.account.as_bytes())
            .number(signed(self.namespace))
            .number(self.timestamp)
            .number(self.expiry)
            .bytes(&self.hash().0)
            .number(time)
    }

    /// Checks sizes, times and authority, as a client's or another member's request.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn verify(&self, network: &NetworkName, now: Time, source: Source) -> Result<(), Code> {
        let class = self.namespace.class().ok_or(Code::BadRequest)?;
        if self.data.len() > MAX_DATA {
            return Err(Code::TooLarge);
        }
        let longest = match class {
            Class::PublicInbox => MAX_TTL_PUBLIC,
            Class::Private => MAX_TTL,
        };
        let (ahead, now_ms) = (MAX_AHEAD.as_millis(), now.as_millis());
        match source {
            Source::Client => {
                if self.timestamp > now_ms.saturating_add(ahead) {
                    return Err(Code::Clock);
                }
                let ttl = self.expiry.saturating_sub(self.timestamp);
                if ttl < MIN_TTL.as_millis() || ttl > longest.as_millis() {
                    return Err(Code::BadTtl);
                }
                if self.expiry <= now_ms {
                    return Err(Code::BadTtl);
                }
            }
            // A repeated store may have joined the first time with the last expiry.
            Source::Member => {
                let slack = TOLERANCE_FORWARDED.as_millis();
                let latest = now_ms.saturating_add(longest.as_millis()).saturating_add(slack);
                if self.timestamp > now_ms.saturating_add(slack) || self.expiry > latest {
                    return Err(Code::BadTtl);
                }
            }
        }
        match (&self.auth, class) {
            (Some(auth), _) => auth.verify(&self.account, &self.statement(network, auth.time), now, source),
            (None, Class::PublicInbox) => Ok(()),
            (None, Class::Private) => Err(Code::Unauthorized),
        }
    }
}

impl Retrieve {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        let after = self.after.map(|cursor| cursor.to_bytes());
        Statement::new("retrieve", network)
            .bytes(self.account.as_bytes())
            .number(signed(self.namespace))
            .bytes(after.as_ref().map_or(&[], |bytes| bytes.as_slice()))
            .number(self.max_count.map_or(0, u64::from))
            .number(self.max_size.map_or(0, u64::from))
            .bytes(match self.ids {
                None => b"",
                Some(Ids::Anew) => b"anew",
                Some(Ids::Always) => b"always",
            })
            .number(time)
    }

    /// Checks authority.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn verify(&self, network: &NetworkName, now: Time) -> Result<(), Code> {
        self.namespace.class().ok_or(Code::BadRequest)?;
        self.auth.verify(&self.account, &self.statement(network, self.auth.time), now, Source::Client)
    }
}

impl Fetch {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        Statement::new("fetch", network)
            .bytes(self.account.as_bytes())
            .number(signed(self.namespace))
            .list(self.hashes.iter().map(|hash| hash.0.as_slice()))
            .number(time)
    }

    /// Checks the number of hashes, and authority.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn verify(&self, network: &NetworkName, now: Time) -> Result<(), Code> {
        self.namespace.class().ok_or(Code::BadRequest)?;
        check_count(&self.hashes)?;
        self.auth.verify(&self.account, &self.statement(network, self.auth.time), now, Source::Client)
    }
}

impl Delete {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        Statement::new("delete", network)
            .bytes(self.account.as_bytes())
            .list(self.hashes.iter().map(|hash| hash.0.as_slice()))
            .number(time)
    }

    /// Checks the number of hashes, and authority.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn verify(&self, network: &NetworkName, now: Time, source: Source) -> Result<(), Code> {
        check_count(&self.hashes)?;
        self.auth.verify(&self.account, &self.statement(network, self.auth.time), now, source)
    }
}

impl Expire {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        Statement::new("expire", network)
            .bytes(self.account.as_bytes())
            .bytes(match self.only {
                None => b"",
                Some(Direction::Shorten) => b"shorten",
                Some(Direction::Extend) => b"extend",
            })
            .number(self.expiry)
            .list(self.hashes.iter().map(|hash| hash.0.as_slice()))
            .number(time)
    }

    /// Checks the number of hashes, the new end, and authority.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn verify(&self, network: &NetworkName, now: Time, source: Source) -> Result<(), Code> {
        check_count(&self.hashes)?;
        let now_ms = now.as_millis();
        // What one member took from a client, the others take from it.
        let slack = match source {
            Source::Client => TOLERANCE,
            Source::Member => TOLERANCE_FORWARDED,
        };
        let latest = now_ms.saturating_add(MAX_TTL.as_millis()).saturating_add(slack.as_millis());
        let past = source == Source::Client && self.expiry <= now_ms;
        if past || self.expiry > latest {
            return Err(Code::BadTtl);
        }
        self.auth.verify(&self.account, &self.statement(network, self.auth.time), now, source)
    }
}

impl Auth {
    /// Signs a request's statement as the owner of `account`.
    ///
    /// `statement` must have been made with the same `time`.
    pub fn sign(account: &AccountId, pair: &crate::KeyPair, time: u64, statement: &Statement) -> Self {
        let key = (account.signing_key(None).is_none()).then(|| ByteArray::new(pair.public()));
        Self { key, time, signature: pair.sign(statement.as_bytes()) }
    }

    fn verify(&self, account: &AccountId, said: &Statement, now: Time, source: Source) -> Result<(), Code> {
        let now = now.as_millis();
        let (early, late) = match source {
            Source::Client => (TOLERANCE.as_millis(), TOLERANCE.as_millis()),
            // What a member passes on may be old, but a time ahead would win over honest ones.
            Source::Member => (u64::MAX, TOLERANCE_FORWARDED.as_millis()),
        };
        if self.time > now.saturating_add(late) || self.time < now.saturating_sub(early) {
            return Err(Code::Clock);
        }
        let stated = self.key.as_deref();
        let key = account.signing_key(stated).ok_or(Code::Unauthorized)?;
        if identity::verify(&key, said.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(Code::Unauthorized)
        }
    }
}

impl Request {
    /// The account that the request is about, if it is about one.
    pub const fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Store(request) => Some(&request.account),
            Self::Retrieve(request) => Some(&request.account),
            Self::Fetch(request) => Some(&request.account),
            Self::Delete(request) => Some(&request.account),
            Self::Expire(request) => Some(&request.account),
            Self::GetSwarm { account } => Some(account),
            Self::Info => None,
        }
    }

    /// Checks everything that can be checked without the store: sizes, times, authority.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn verify(&self, network: &NetworkName, now: Time) -> Result<(), Code> {
        match self {
            Self::Store(request) => request.verify(network, now, Source::Client),
            Self::Retrieve(request) => request.verify(network, now),
            Self::Fetch(request) => request.verify(network, now),
            Self::Delete(request) => request.verify(network, now, Source::Client),
            Self::Expire(request) => request.verify(network, now, Source::Client),
            Self::GetSwarm { .. } | Self::Info => Ok(()),
        }
    }
}

impl Cursor {
    /// The 16 bytes: incarnation, sequence, both big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.incarnation) << 64) | u128::from(self.sequence)).to_be_bytes()
    }

    /// Reads the 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { incarnation: (both >> 64) as u64, sequence: both as u64 }
    }
}

impl From<ByteArray<16>> for Cursor {
    fn from(bytes: ByteArray<16>) -> Self {
        Self::from_bytes(bytes.into_array())
    }
}

impl From<Cursor> for ByteArray<16> {
    fn from(cursor: Cursor) -> Self {
        Self::new(cursor.to_bytes())
    }
}

const fn check_count(hashes: &[MessageHash]) -> Result<(), Code> {
    match hashes.len() {
        0 => Err(Code::BadRequest),
        1..=MAX_HASHES => Ok(()),
        _ => Err(Code::TooLarge),
    }
}

/// A namespace as a number of a statement: sign-extended.
const fn signed(namespace: Namespace) -> u64 {
    namespace.0 as i64 as u64
}

#[cfg(test)]
mod tests;
