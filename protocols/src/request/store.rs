//! Keep a message.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{
    Auth, Claims, Door, MAX_AHEAD, MAX_TTL, MAX_TTL_PUBLIC, MIN_TTL, Rights, Source, TOLERANCE_FORWARDED,
    auth::{Asked, settle},
    signed,
    text::Text,
};
use crate::{
    AccountId, MessageHash, Namespace, NetworkName, Statement, Time, answer::Code, message::MAX_DATA,
    namespace::Class,
};

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
    /// Needed unless strangers may store there; a store into a public inbox carries nothing of its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

/// A store without its message: what shows, by its signature, that the message took the place of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which drawer: a public outbox.
    pub namespace: Namespace,
    /// As in [`Store`].
    pub timestamp: u64,
    /// As in [`Store`].
    pub expiry: u64,
    /// The message's hash.
    pub hash: MessageHash,
    /// As in [`Store`].
    pub auth: Auth,
}

impl Store {
    /// The hash that the message will be known by.
    pub fn hash(&self) -> MessageHash {
        MessageHash::of(&self.account, self.namespace, &self.data)
    }

    /// What its signature covers, if it carries one.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        let Self { account, namespace, timestamp, expiry, .. } = self;
        statement(network, account, *namespace, (*timestamp, *expiry), &self.hash(), time)
    }

    /// The store without its message; none of a stranger's.
    pub fn replacement(&self) -> Option<Replacement> {
        let Self { account, namespace, timestamp, expiry, .. } = *self;
        let auth = self.auth.clone()?;
        Some(Replacement { account, namespace, timestamp, expiry, hash: self.hash(), auth })
    }

    /// Checks sizes, times and authority, as a client's or another member's request.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn verify(&self, network: &NetworkName, now: Time, source: Source) -> Result<(), Code> {
        settle(self.claims(network, now, source))
    }

    /// Checks all but the signatures that it gives back.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time, source: Source) -> Claims {
        let class = self.namespace.class();
        if self.data.len() > MAX_DATA {
            return Err(Code::TooLarge);
        }
        let longest = match class {
            Class::PublicInbox | Class::Open => MAX_TTL_PUBLIC,
            Class::Private | Class::PublicOutbox | Class::Unrevocable => MAX_TTL,
            Class::Closed => return Err(Code::Unauthorized),
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
                // What has just ended is taken, by the JSON door alone, as clients that exist expect. Whoever
                // says that it ended earlier has another clock.
                if self.expiry < now_ms.saturating_sub(MAX_AHEAD.as_millis()) {
                    return Err(Code::Clock);
                }
            }
            // A repeated store may have joined the first time with the last expiry.
            Source::Member => {
                // One of the JSON door has kept an end that its owner had extended, which no such signature is about.
                let extended = self.auth.as_ref().is_some_and(|auth| auth.form.door() == Door::Json);
                let longest = if extended { MAX_TTL } else { longest };
                let slack = TOLERANCE_FORWARDED.as_millis();
                let latest = now_ms.saturating_add(longest.as_millis()).saturating_add(slack);
                if self.timestamp > now_ms.saturating_add(slack) || self.expiry > latest {
                    return Err(Code::BadTtl);
                }
            }
        }
        match &self.auth {
            Some(auth) => {
                let asked = asked(&self.account, self.namespace, self.statement(network, auth.time), auth);
                auth.claims(asked, network, now, source)
            }
            None if class.anyone_stores() => Ok(Vec::new()),
            None => Err(Code::Unauthorized),
        }
    }
}

impl Replacement {
    /// What the store's signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        let Self { account, namespace, timestamp, expiry, hash, .. } = self;
        statement(network, account, *namespace, (*timestamp, *expiry), hash, time)
    }

    /// Checks, as another member's word, all but the signatures that it gives back.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time) -> Claims {
        if self.namespace.class() != Class::PublicOutbox {
            return Err(Code::BadRequest);
        }
        let auth = &self.auth;
        let asked = asked(&self.account, self.namespace, self.statement(network, auth.time), auth);
        auth.claims(asked, network, now, Source::Member)
    }
}

fn statement(
    network: &NetworkName,
    account: &AccountId,
    namespace: Namespace,
    (timestamp, expiry): (u64, u64),
    hash: &MessageHash,
    time: u64,
) -> Statement {
    Statement::new("store", network)
        .bytes(account.as_bytes())
        .number(signed(namespace))
        .number(timestamp)
        .number(expiry)
        .bytes(&hash.0)
        .number(time)
}

fn asked<'a>(
    account: &'a AccountId,
    namespace: Namespace,
    statement: Statement,
    auth: &Auth,
) -> Asked<'a, impl FnOnce() -> Option<(Vec<u8>, bool)> + use<'a>> {
    // Storing into an outbox deletes what was there.
    let outbox = namespace.class() == Class::PublicOutbox;
    let needs = if outbox { Rights::WRITE.and(Rights::DELETE) } else { Rights::WRITE };
    let time = auth.time;
    let text = move || Some((Text::new("store").namespace(namespace).number(time).bytes(), true));
    Asked { account, needs, statement, hashes: 0, text }
}
