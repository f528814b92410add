//! Hand out messages, and what is known of them.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{
    Auth, Claims, Door, MAX_BULK_JSON, MAX_HASHES, Rights, Source,
    auth::{Asked, settle},
    check_count, signed,
    text::Text,
};
use crate::{AccountId, MessageHash, Namespace, NetworkName, Statement, Time, answer::Code};

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
    /// The last message that the asker has, for who has no cursor: its place in the asked member's order
    /// counts. From the beginning where the member does not hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<MessageHash>,
    /// At most so many messages; the node may give fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u32>,
    /// At most so many bytes of messages, but one message at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u32>,
    /// Whether hashes will do, for who has messages already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// The proof of who may read; none where anyone may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
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

/// A place in one member's order of arrivals. Opaque to clients: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ByteArray<16>", into = "ByteArray<16>")]
pub struct Cursor {
    /// Which life of which member's store.
    pub incarnation: u64,
    /// The last arrival that was handed out.
    pub sequence: u64,
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
    /// The proof of who may read; none where anyone may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

/// Say when messages end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetExpiries {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which messages, at most [`MAX_HASHES`], at the JSON door [`MAX_BULK_JSON`]; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Vec<MessageHash>>,
    /// The proof of who may read.
    pub auth: Auth,
}

/// Say which subaccounts are revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRevoked {
    /// Whose.
    pub account: AccountId,
    /// The owner's proof.
    pub auth: Auth,
}

impl Retrieve {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        let after = self.after.map(|cursor| cursor.to_bytes());
        Statement::new("retrieve", network)
            .bytes(self.account.as_bytes())
            .number(signed(self.namespace))
            .bytes(after.as_ref().map_or(&[], |bytes| bytes.as_slice()))
            .bytes(self.last.as_ref().map_or(&[], |hash| hash.0.as_slice()))
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
        settle(self.claims(network, now))
    }

    /// Checks all but the signatures that it gives back.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time) -> Claims {
        let namespace = self.namespace;
        let statement = |auth: &Auth| self.statement(network, auth.time);
        reads(self.auth.as_ref(), &self.account, namespace, statement, network, now, |auth| {
            Some((Text::new("retrieve").namespace(namespace).number(auth.time).bytes(), true))
        })
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
        settle(self.claims(network, now))
    }

    /// Checks all but the signatures that it gives back.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time) -> Claims {
        check_count(&self.hashes, MAX_HASHES)?;
        let statement = |auth: &Auth| self.statement(network, auth.time);
        reads(self.auth.as_ref(), &self.account, self.namespace, statement, network, now, |_| None)
    }
}

impl GetExpiries {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        let statement = Statement::new("get_expiries", network).bytes(self.account.as_bytes());
        match &self.hashes {
            Some(hashes) => statement.bytes(b"").list(hashes.iter().map(|hash| hash.0.as_slice())),
            None => statement.bytes(b"all"),
        }
        .number(time)
    }

    /// Checks the number of hashes and all else but the signatures that it gives back.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time) -> Claims {
        if let Some(hashes) = &self.hashes {
            // Nobody keeps or passes it on, so it may be as long as the answer.
            let most = match self.auth.form.door() {
                Door::Native => MAX_HASHES,
                Door::Json => MAX_BULK_JSON,
            };
            check_count(hashes, most)?;
        }
        let auth = &self.auth;
        let text = || {
            let text = Text::new("get_expiries").number(auth.time);
            let text = match &self.hashes {
                Some(hashes) => text.hashes(hashes, &auth.form),
                None => text.drawers(super::Drawers::All),
            };
            Some((text.bytes(), true))
        };
        let statement = self.statement(network, auth.time);
        let hashes = self.hashes.as_ref().map_or(0, Vec::len);
        let asked = Asked { account: &self.account, needs: Rights::READ, statement, hashes, text };
        auth.claims(asked, network, now, Source::Client)
    }
}

impl GetRevoked {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        Statement::new("revoked_subaccounts", network).bytes(self.account.as_bytes()).number(time)
    }

    /// Checks all but the signatures that it gives back.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time) -> Claims {
        let auth = &self.auth;
        let text = || Some((Text::new("revoked_subaccounts").number(auth.time).bytes(), true));
        let statement = self.statement(network, auth.time);
        let asked = Asked { account: &self.account, needs: Rights::OWNER, statement, hashes: 0, text };
        auth.claims(asked, network, now, Source::Client)
    }
}

fn reads(
    auth: Option<&Auth>,
    account: &AccountId,
    namespace: Namespace,
    statement: impl FnOnce(&Auth) -> Statement,
    network: &NetworkName,
    now: Time,
    text: impl FnOnce(&Auth) -> Option<(Vec<u8>, bool)>,
) -> Claims {
    match auth {
        // Whoever proves more than is asked has it checked all the same.
        Some(auth) => {
            let statement = statement(auth);
            let asked = Asked { account, needs: Rights::READ, statement, hashes: 0, text: || text(auth) };
            auth.claims(asked, network, now, Source::Client)
        }
        None if namespace.class().anyone_reads() => Ok(Vec::new()),
        None => Err(Code::Unauthorized),
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
