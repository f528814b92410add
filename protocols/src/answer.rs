//! What a swarm member answers, and the members' signatures that make an answer count.

pub mod told;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    AccountId, KeyPair, MessageHash, Namespace, NetworkName, NodeId, Signature, Statement, SwarmId,
    identity::Claim,
    record::Mutation,
    request::{Cursor, Token},
};

/// The longest encoded answer, in bytes.
pub const MAX_ANSWER: usize = 1_500_000;
/// The most bytes of messages in one page.
pub const MAX_PAGE: usize = 1024 * 1024;
/// The same for clients of the JSON door, counted as they are sent: base64, and [`JSON_OVERHEAD`] for each.
pub const MAX_PAGE_JSON: usize = 7_800_000;
/// What a message counts for beside its base64: its hash, and about a hundred bytes.
pub const JSON_OVERHEAD: usize = 143;
/// The most messages in one page.
pub const MAX_PAGE_COUNT: usize = 2_000;

/// The version of the rules that nodes go by where their network does not say another, as the first network of this
/// kind counts them: what clients know as `hf`.
pub const RULES: [u64; 2] = [22, 0];

/// The most hashes in one page that lists hashes alone.
pub const MAX_PAGE_IDS: usize = 4_096;

/// Why a request is refused. A peer gets the code, never detail.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[serde(try_from = "u16", into = "u16")]
pub enum Code {
    /// 400: not a request of this protocol.
    #[error("the node does not understand the request")]
    BadRequest,
    /// 401: the signature is missing or wrong.
    #[error("the signature is missing or wrong")]
    Unauthorized,
    /// 403: the message would end too early or too late.
    #[error("the message would live too short or too long")]
    BadTtl,
    /// 404: no member held what had to be there.
    #[error("none of the messages is held")]
    NotFound,
    /// 406: a time is too far from the node's clock.
    #[error("a time in the request is too far from the node's clock")]
    Clock,
    /// 413: too many bytes or hashes.
    #[error("the request is too large")]
    TooLarge,
    /// 421: another swarm keeps this account; the refusal names it.
    #[error("another swarm keeps this account")]
    WrongSwarm,
    /// 429: asked too often.
    #[error("too many requests")]
    TooMany,
    /// 500: the node failed.
    #[error("the node failed")]
    Failed,
    /// 503: the node is not ready, or too few members could make it durable.
    #[error("too few nodes are ready")]
    NotReady,
    /// 507: the node or the account is full.
    #[error("no room is left")]
    Full,
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::BadTtl => 403,
            Self::NotFound => 404,
            Self::Clock => 406,
            Self::TooLarge => 413,
            Self::WrongSwarm => 421,
            Self::TooMany => 429,
            Self::Failed => 500,
            Self::NotReady => 503,
            Self::Full => 507,
        }
    }
}

impl From<Code> for u16 {
    fn from(code: Code) -> Self {
        code.number()
    }
}

impl TryFrom<u16> for Code {
    type Error = &'static str;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        [
            Self::BadRequest,
            Self::Unauthorized,
            Self::BadTtl,
            Self::NotFound,
            Self::Clock,
            Self::TooLarge,
            Self::WrongSwarm,
            Self::TooMany,
            Self::Failed,
            Self::NotReady,
            Self::Full,
        ]
        .into_iter()
        .find(|code| code.number() == number)
        .ok_or("unknown code")
    }
}

/// A node's answer to a storage request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The node's clock, in milliseconds since 1970.
    pub time: u64,
    /// What came of the request.
    pub body: Body,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A message is durable at a majority of its swarm.
    Stored {
        /// Its hash.
        hash: MessageHash,
        /// Whether the asked node knew it before.
        already: bool,
        /// Who has it.
        receipts: Receipts,
    },
    /// A deletion or change of expiry is durable at a majority of the swarm.
    Changed {
        /// Who did it, and to what.
        receipts: Receipts,
    },
    /// A page of messages, oldest arrival first.
    Messages {
        /// The messages.
        messages: Vec<Message>,
        /// Whether more are waiting after them.
        more: bool,
        /// Where this page ends.
        cursor: Cursor,
    },
    /// A page of hashes, oldest arrival first.
    Ids {
        /// The messages' hashes.
        hashes: Vec<MessageHash>,
        /// Whether more are waiting after them.
        more: bool,
        /// Where this page ends.
        cursor: Cursor,
    },
    /// Messages that were asked for by their hashes, as many as fit.
    Fetched {
        /// In the request's order; those that are not there are left out.
        messages: Vec<Message>,
        /// How many of the hashes, from the first, are dealt with: one at least.
        hashes: u32,
    },
    /// When messages end.
    Expiries {
        /// Those that are there.
        ends: Vec<End>,
        /// Whether there was no room for all.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        more: bool,
    },
    /// Subaccounts whose rights are taken away.
    Revoked {
        /// The latest first.
        tokens: Vec<Token>,
    },
    /// One answer for each request of a batch, or of a sequence as far as it went, in order.
    Batch(Vec<Answer>),
    /// What was done under a condition.
    If {
        /// Whether the conditions held.
        condition: bool,
        /// What came of the request that was chosen; none where there was none for the case.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Box<Answer>>,
    },
    /// The swarm that keeps the account asked about.
    Swarm(SwarmInfo),
    /// About the node.
    Info {
        /// The version of its software.
        version: String,
        /// The version of its rules: see [`RULES`].
        #[serde(default)]
        rules: [u64; 2],
        /// The height of the last final block of the settlement chain; 0 without one.
        #[serde(default)]
        height: u64,
    },
    /// Not done.
    Refused(Refusal),
}

/// Why not, and what may help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// With 421: the swarm that keeps the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<SwarmInfo>,
    /// With 503 to a write: who has it all the same. Repeating is safe. For a client of the JSON door also with 404
    /// and 507: what each member said of what none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipts: Option<Receipts>,
}

/// One swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmInfo {
    /// The version of the map that says so.
    pub map_version: u64,
    /// Its place on the ring.
    pub id: SwarmId,
    /// Its members, in order.
    pub members: Vec<NodeId>,
}

/// When a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its hash.
    pub hash: MessageHash,
    /// In milliseconds since 1970.
    pub expiry: u64,
}

/// A message as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its hash.
    pub hash: MessageHash,
    /// When it was sent, in milliseconds since 1970, as its sender said.
    pub timestamp: u64,
    /// When it ends, in milliseconds since 1970.
    pub expiry: u64,
    /// The message.
    pub data: ByteBuf,
}

/// Members' signatures for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// The version of the map that the members used.
    pub map_version: u64,
    /// One of each member that is durable.
    pub signed: Vec<Receipt>,
    /// The members that have not said so, for a client of the JSON door.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// A member that has not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The member.
    pub node: NodeId,
    /// Why not.
    pub why: Failure,
}

/// Why a member has not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It cannot be reached, or said nothing in time.
    Silent,
    /// It refused.
    Refused {
        /// Why.
        code: Code,
    },
    /// What it sent is no answer, or is not signed by it.
    Unsound,
    /// It is the node that was asked, and has no room itself.
    Own,
}

/// One member's word that it has done, durably, what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The member.
    pub node: NodeId,
    /// What it did.
    pub done: Done,
    /// Over what was done and the [`Subject`] it was about, signed by `node`.
    pub signature: Signature,
    /// What it tells a client of the JSON door; nobody else is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

/// What a member tells a client of the JSON door of what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Whether it knew the message before.
    pub already: bool,
    /// The messages that it held and changed, with their drawers.
    pub listed: Vec<(Namespace, MessageHash)>,
    /// The messages that it held and did not change, with their ends in milliseconds since 1970.
    pub unchanged: Vec<(MessageHash, u64)>,
    /// Over [`told::text`], by the member. The node that asked it checks that, and so does the client.
    pub signature: Signature,
}

impl Told {
    /// What is to be checked of it: that `node` signed that it did this of a mutation.
    pub fn claim(&self, node: &NodeId, mutation: &Mutation) -> Claim {
        let text = told::text(mutation, &self.listed, &self.unchanged);
        Claim::by(*node.as_bytes(), text, self.signature)
    }
}

/// What a member did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// Keeps the message until then, in milliseconds since 1970.
    Keeps {
        /// When the message ends at this member.
        expiry: u64,
    },
    /// Changed these messages and no others.
    Changed {
        /// In the request's order.
        hashes: Vec<MessageHash>,
    },
}

/// What a receipt is about: the part that the asker knows anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A message to keep.
    Message {
        /// Whose.
        account: AccountId,
        /// In which drawer.
        namespace: Namespace,
        /// Which.
        hash: MessageHash,
    },
    /// A deletion or change of expiry, by the digest of its signed statement.
    Request {
        /// Whose.
        account: AccountId,
        /// Which.
        digest: [u8; 32],
    },
}

impl Receipt {
    /// Signs as a member of the map of this version.
    pub fn sign(
        pair: &KeyPair,
        network: &NetworkName,
        map_version: u64,
        subject: &Subject,
        done: Done,
    ) -> Self {
        let signature = pair.sign(Self::statement(network, map_version, subject, &done).as_bytes());
        Self { node: pair.node_id(), done, signature, told: None }
    }

    /// Whether the named node signed this about `subject`.
    pub fn verify(&self, network: &NetworkName, map_version: u64, subject: &Subject) -> bool {
        self.claim(network, map_version, subject).holds()
    }

    /// What [`Self::verify`] checks.
    pub fn claim(&self, network: &NetworkName, map_version: u64, subject: &Subject) -> Claim {
        let statement = Self::statement(network, map_version, subject, &self.done);
        Claim::by(*self.node.as_bytes(), statement.as_bytes().to_vec(), self.signature)
    }

    /// What a receipt's signature covers.
    fn statement(network: &NetworkName, map_version: u64, subject: &Subject, done: &Done) -> Statement {
        let statement = Statement::new("receipt", network).number(map_version);
        let statement = match subject {
            Subject::Message { account, namespace, hash } => {
                statement.bytes(account.as_bytes()).bytes(&namespace.0.to_be_bytes()).bytes(&hash.0)
            }
            Subject::Request { account, digest } => statement.bytes(account.as_bytes()).bytes(digest),
        };
        match done {
            Done::Keeps { expiry } => statement.number(*expiry),
            Done::Changed { hashes } => statement.list(hashes.iter().map(|hash| hash.0.as_slice())),
        }
    }
}

impl Answer {
    /// A plain refusal.
    pub const fn refused(time: u64, code: Code) -> Self {
        Self { time, body: Body::Refused(Refusal { code, swarm: None, receipts: None }) }
    }
}

#[cfg(test)]
mod tests;
