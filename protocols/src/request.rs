//! What clients ask of a swarm member: `/session/<net>/storage/1`.

mod auth;
mod change;
mod read;
mod store;
mod text;

use serde::{Deserialize, Serialize};

pub use auth::{Auth, Claims, Door, Form, REVOCATIONS, Received, Rights, Subaccount, Token};
pub use change::{Delete, Direction, Drawers, Ends, Expire, Revoke, Which};
pub use read::{Cursor, Fetch, GetExpiries, GetRevoked, Ids, Retrieve};
pub use store::{Replacement, Store};

use crate::{AccountId, MessageHash, Namespace, NetworkName, Span, Time, answer::Code};

/// The longest encoded request, in bytes.
pub const MAX_REQUEST: usize = 128 * 1024;
/// How many hashes one request may name.
pub const MAX_HASHES: usize = 500;
/// How many messages of whole drawers one request changes.
pub const MAX_BULK: usize = 2_000;
/// The same for clients of the JSON door, which do not repeat: the node that they ask goes on in steps of so many, and
/// they are told of the first one.
pub const MAX_BULK_JSON: usize = 10_000;
/// How many subaccounts one request revokes, and how many revocations of an account are kept: the newest.
pub const MAX_TOKENS: usize = 50;
/// How many subaccounts one request gives their rights back.
pub const MAX_TOKENS_BACK: usize = 500;
/// How many requests a batch or a sequence holds.
pub const MAX_REQUESTS: usize = 20;
/// How deep conditions are nested.
pub const MAX_CONDITIONS: usize = 4;
/// The same at the JSON door, whose clients were told of no bound.
pub const MAX_CONDITIONS_JSON: usize = 16;
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

/// A request about one mailbox, about the node, or several requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Keep a message.
    Store(Store),
    /// Hand out messages.
    Retrieve(Retrieve),
    /// Hand out messages by their hashes.
    Fetch(Fetch),
    /// Say when messages end.
    GetExpiries(GetExpiries),
    /// Forget messages.
    Delete(Delete),
    /// Change when messages end.
    Expire(Expire),
    /// Take subaccounts' rights away, or give them back.
    Revoke(Revoke),
    /// Say which subaccounts are revoked.
    GetRevoked(GetRevoked),
    /// Who keeps an account.
    GetSwarm {
        /// The account.
        account: AccountId,
    },
    /// Who is this node, and what time has it.
    Info,
    /// Do all of these, in any order; each has its own answer. At most [`MAX_REQUESTS`], none of them
    /// several.
    Batch(Vec<Self>),
    /// Do these one after the other, up to the first that fails. Otherwise as a batch.
    Sequence(Vec<Self>),
    /// Do one thing or another.
    If(Box<If>),
}

/// Do one thing if all conditions hold, and another if not. At most [`MAX_CONDITIONS`] deep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct If {
    /// The conditions.
    pub when: Vec<Condition>,
    /// What to do when they hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Request>,
    /// What to do when they do not.
    #[serde(default, rename = "else", skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Request>,
}

/// What a node may be asked of itself before it does something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its rules are at least of this version.
    RulesAtLeast([u64; 2]),
    /// Its rules are older.
    RulesBefore([u64; 2]),
    /// Its software is at least of this version.
    VersionAtLeast([u64; 3]),
    /// Its software is older.
    VersionBefore([u64; 3]),
    /// The last final block of the settlement chain is at least of this height.
    HeightAtLeast(u64),
    /// The last final block of the settlement chain is lower.
    HeightBefore(u64),
}

/// Who passes a request on: decides how stale a signed time may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client asks for the first time.
    Client,
    /// A member passes on what a client asked, at any later time.
    Member,
}

impl Condition {
    /// Whether it holds at a node with rules of this version, software of this version (numbers with dots
    /// between) and this last final block.
    pub fn holds(&self, rules: [u64; 2], version: &str, height: u64) -> bool {
        let version = numbers(version);
        match self {
            Self::RulesAtLeast(least) => rules >= *least,
            Self::RulesBefore(bound) => rules < *bound,
            Self::VersionAtLeast(least) => version >= *least,
            Self::VersionBefore(bound) => version < *bound,
            Self::HeightAtLeast(least) => height >= *least,
            Self::HeightBefore(bound) => height < *bound,
        }
    }
}

/// The three numbers of a version that is written with dots between them; 0 for what is none.
pub fn numbers(version: &str) -> [u64; 3] {
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    core::array::from_fn(|_| numbers.next().unwrap_or(0))
}

impl Request {
    /// The account that the request is about, if it is about one.
    pub const fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Store(request) => Some(&request.account),
            Self::Retrieve(request) => Some(&request.account),
            Self::Fetch(request) => Some(&request.account),
            Self::GetExpiries(request) => Some(&request.account),
            Self::Delete(request) => Some(&request.account),
            Self::Expire(request) => Some(&request.account),
            Self::Revoke(request) => Some(&request.account),
            Self::GetRevoked(request) => Some(&request.account),
            Self::GetSwarm { account } => Some(account),
            Self::Info | Self::Batch(_) | Self::Sequence(_) | Self::If(_) => None,
        }
    }

    /// The proof of who asks, if it carries one.
    pub const fn auth(&self) -> Option<&Auth> {
        match self {
            Self::Store(request) => request.auth.as_ref(),
            Self::Retrieve(request) => request.auth.as_ref(),
            Self::Fetch(request) => request.auth.as_ref(),
            Self::GetExpiries(request) => Some(&request.auth),
            Self::Delete(request) => Some(&request.auth),
            Self::Expire(request) => Some(&request.auth),
            Self::Revoke(request) => Some(&request.auth),
            Self::GetRevoked(request) => Some(&request.auth),
            Self::GetSwarm { .. } | Self::Info | Self::Batch(_) | Self::Sequence(_) | Self::If(_) => None,
        }
    }

    /// The same, of a store without the message.
    pub fn without_message(&self) -> Self {
        let Self::Store(Store { account, namespace, timestamp, expiry, auth, .. }) = self else {
            return self.clone();
        };
        Self::Store(Store {
            account: *account,
            namespace: *namespace,
            timestamp: *timestamp,
            expiry: *expiry,
            data: Vec::new().into(),
            auth: auth.clone(),
        })
    }

    /// Checks everything that can be checked without the store: sizes, times, authority.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn verify(&self, network: &NetworkName, now: Time, door: Door) -> Result<(), Code> {
        auth::settle(self.claims(network, now, door))
    }

    /// Checks all but the signatures that it gives back. Of several requests their number and nesting are
    /// checked; each is checked when its turn comes, so that a bad one fails alone.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time, door: Door) -> Claims {
        // Each door has its own form of signing, and no signature is good for both.
        if self.auth().is_some_and(|auth| !auth.form.is_of(door)) {
            return Err(Code::Unauthorized);
        }
        match self {
            Self::Store(request) => {
                if request.expiry <= now.as_millis() && door == Door::Native {
                    return Err(Code::BadTtl);
                }
                request.claims(network, now, Source::Client)
            }
            Self::Retrieve(request) => request.claims(network, now),
            Self::Fetch(request) => request.claims(network, now),
            Self::GetExpiries(request) => request.claims(network, now),
            Self::Delete(request) => request.claims(network, now, Source::Client),
            Self::Expire(request) => request.claims(network, now, Source::Client),
            Self::Revoke(request) => request.claims(network, now, Source::Client),
            Self::GetRevoked(request) => request.claims(network, now),
            Self::GetSwarm { .. } | Self::Info => Ok(Vec::new()),
            Self::Batch(_) | Self::Sequence(_) | Self::If(_) if self.nested_well(MAX_CONDITIONS) => {
                Ok(Vec::new())
            }
            Self::Batch(_) | Self::Sequence(_) | Self::If(_) => Err(Code::BadRequest),
        }
    }

    /// Whether several requests are not too many, and no deeper in each other than they may be.
    fn nested_well(&self, conditions: usize) -> bool {
        match self {
            Self::Batch(requests) | Self::Sequence(requests) => {
                let several = |one: &Self| matches!(one, Self::Batch(_) | Self::Sequence(_) | Self::If(_));
                (1..=MAX_REQUESTS).contains(&requests.len()) && !requests.iter().any(several)
            }
            Self::If(choice) => conditions.checked_sub(1).is_some_and(|left| {
                let If { when, then, otherwise } = &**choice;
                let inner = then.iter().chain(otherwise);
                (1..=MAX_REQUESTS).contains(&when.len()) && inner.into_iter().all(|one| one.nested_well(left))
            }),
            Self::Store(_)
            | Self::Retrieve(_)
            | Self::Fetch(_)
            | Self::GetExpiries(_)
            | Self::Delete(_)
            | Self::Expire(_)
            | Self::Revoke(_)
            | Self::GetRevoked(_)
            | Self::GetSwarm { .. }
            | Self::Info => true,
        }
    }
}

const fn check_count(hashes: &[MessageHash], most: usize) -> Result<(), Code> {
    match hashes.len() {
        0 => Err(Code::BadRequest),
        count if count <= most => Ok(()),
        _ => Err(Code::TooLarge),
    }
}

/// A namespace as a number of a statement: sign-extended.
const fn signed(namespace: Namespace) -> u64 {
    namespace.0 as i64 as u64
}

#[cfg(test)]
mod tests;
