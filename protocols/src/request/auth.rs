//! Proof that somebody may ask: the owner of an account, or one to whom the owner gave rights.
//!
//! A native request is signed over its statement. A request that came through the JSON door is signed
//! over a [text](super::text), and every member judges it by that text, whoever passed it on.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{Source, TOLERANCE, TOLERANCE_FORWARDED};
use crate::{
    AccountId, KeyPair, MessageHash, Namespace, NetworkName, NodeId, Signature, Statement, Time,
    answer::Code,
    identity::{self, Claim},
};

/// The drawer in which revocations lie. No client may store there, and whoever reads it finds nothing.
pub const REVOCATIONS: Namespace = Namespace::CLOSED;

/// Through which door a client came, which decides what it signs and what it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// `/session/<net>/storage/1`, straight or through an onion path.
    #[default]
    Native,
    /// HTTPS, for clients that exist.
    Json,
}

/// Proof that one who may do so asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// The account's Ed25519 key, where its id does not show it (kind `05`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ByteArray<32>>,
    /// When it was signed, in milliseconds since 1970. Where a text names no time, when the first
    /// receiver took it.
    pub time: u64,
    /// Over the request's statement or text, by the account, or by the subaccount if there is one.
    pub signature: Signature,
    /// Who asks in the owner's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subaccount: Option<Subaccount>,
    /// What was signed.
    #[serde(default, skip_serializing_if = "Form::is_statement")]
    pub form: Form,
}

/// What was signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The request's statement.
    #[default]
    Statement,
    /// The request's text.
    Text {
        /// Who says when it came, where the text does not. None before that is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received: Option<Received>,
        /// Of each hash that is asked for, the two bits that its spelling has beyond it; none where all are zero.
        #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
        spare: Vec<u8>,
    },
}

/// A node's word that it took a request at the time which [`Auth::time`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The first member that took it.
    pub node: NodeId,
    /// By `node`, over the digest of the request's statement.
    pub signature: Signature,
}

/// A subaccount: a key to which an account's owner gave some rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subaccount {
    /// Whose key, and which rights.
    pub token: Token,
    /// The account's Ed25519 signature over the token's 36 bytes.
    pub signature: Signature,
}

/// What a subaccount is known by: kind of account, rights, two zero bytes, and an Ed25519 key; 36 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub [u8; 36]);

/// What a subaccount may do: a set of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(pub u8);

impl Rights {
    /// Read messages.
    pub const READ: Self = Self(1);
    /// Store messages, and let them end later.
    pub const WRITE: Self = Self(2);
    /// Delete messages, and let them end earlier.
    pub const DELETE: Self = Self(4);
    /// For accounts of any kind with the same key.
    pub const ANY_PREFIX: Self = Self(8);
    /// What no subaccount has: the owner alone.
    pub const OWNER: Self = Self(0x80);

    /// Whether all of `others` are among these.
    pub const fn include(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// These and others.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

impl Token {
    /// Length in bytes.
    pub const LEN: usize = 36;

    /// A token for `key` to act for an account of this kind (the first byte of its id).
    pub fn new(kind: u8, rights: Rights, key: &[u8; 32]) -> Self {
        let mut bytes = [0; Self::LEN];
        let head = [kind, rights.0, 0, 0];
        for (to, from) in bytes.iter_mut().zip(head.iter().chain(key)) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The rights that it names, [`Rights::OWNER`] never among them.
    pub const fn rights(&self) -> Rights {
        Rights(self.0[1] & 0x0f)
    }

    /// The key that signs in the owner's place.
    pub fn key(&self) -> [u8; 32] {
        self.0.last_chunk().copied().unwrap_or_default()
    }

    /// Under what a mailbox knows the token's revocation.
    pub fn hash(&self, account: &AccountId) -> MessageHash {
        MessageHash(identity::blake2b(&[b"session revocation", account.as_bytes(), &self.0]))
    }

    /// Whether it was made for an account of this kind.
    const fn fits(&self, account: &AccountId) -> bool {
        self.0[0] == account.as_bytes()[0] || self.rights().include(Rights::ANY_PREFIX)
    }
}

impl core::fmt::Debug for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Token({})", data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ByteArray::<36>::deserialize(from).map(|array| Self(array.into_array()))
    }
}

impl Subaccount {
    /// Gives rights to a key, as the owner of an account.
    pub fn grant(owner: &KeyPair, token: Token) -> Self {
        Self { token, signature: owner.sign(&token.0) }
    }
}

/// A request's shape and times are sound, and these signatures have to hold too.
pub type Claims = Result<Vec<Claim>, Code>;

/// Checks what is claimed.
pub(super) fn settle(claims: Claims) -> Result<(), Code> {
    if claims?.iter().all(Claim::holds) { Ok(()) } else { Err(Code::Unauthorized) }
}

/// What an [`Auth`] is for.
pub(super) struct Asked<'a, F> {
    pub account: &'a AccountId,
    /// What a subaccount needs.
    pub needs: Rights,
    pub statement: Statement,
    /// How many hashes it asks for.
    pub hashes: usize,
    /// The text of the request, and whether it names [`Auth::time`]; none where the JSON door has no
    /// such request.
    pub text: F,
}

impl Form {
    const fn is_statement(&self) -> bool {
        matches!(self, Self::Statement)
    }

    /// The form of what comes through the JSON door.
    pub const fn text() -> Self {
        Self::Text { received: None, spare: Vec::new() }
    }

    /// Whether a client may say so at this door: no member has put its word to it.
    pub(super) const fn is_of(&self, door: Door) -> bool {
        matches!(
            (self, door),
            (Self::Statement, Door::Native) | (Self::Text { received: None, .. }, Door::Json)
        )
    }

    fn spare(&self) -> &[u8] {
        match self {
            Self::Statement => &[],
            Self::Text { spare, .. } => spare,
        }
    }

    /// The hashes that are asked for, as they were written.
    pub fn spell(&self, hashes: &[MessageHash]) -> Vec<String> {
        let mut spare = self.spare().iter();
        hashes.iter().map(|hash| hash.spell(spare.next().copied().unwrap_or_default())).collect()
    }

    /// The door through which it came.
    pub const fn door(&self) -> Door {
        match self {
            Self::Statement => Door::Native,
            Self::Text { .. } => Door::Json,
        }
    }
}

impl Auth {
    /// Signs a request's statement as the owner of `account`.
    ///
    /// `statement` must have been made with the same `time`.
    pub fn sign(account: &AccountId, pair: &KeyPair, time: u64, statement: &Statement) -> Self {
        Self { signature: pair.sign(statement.as_bytes()), ..Self::unsigned(account, pair, time) }
    }

    /// Signs a request's statement as a subaccount.
    pub fn sign_for(
        owner: Option<[u8; 32]>,
        pair: &KeyPair,
        of: Subaccount,
        time: u64,
        said: &Statement,
    ) -> Self {
        let signature = pair.sign(said.as_bytes());
        Self { key: owner.map(ByteArray::new), time, signature, subaccount: Some(of), form: Form::Statement }
    }

    /// The owner's proof before it is signed.
    pub fn unsigned(account: &AccountId, pair: &KeyPair, time: u64) -> Self {
        let key = (!account.shows_key()).then(|| ByteArray::new(pair.public()));
        Self { key, time, signature: Signature([0; 64]), subaccount: None, form: Form::Statement }
    }

    /// What whoever asks may do; all where the owner does.
    pub fn rights(&self) -> Rights {
        self.subaccount.map_or(Rights(u8::MAX), |subaccount| subaccount.token.rights())
    }

    /// Whether a node still has to say when it took this.
    pub const fn wants_time(&self, names_time: bool) -> bool {
        matches!(self.form, Form::Text { received: None, .. }) && !names_time
    }

    /// Says, as the first node that took the request, that [`Self::time`] is when it came. `statement` must
    /// have been made with that time.
    pub fn receive(&mut self, pair: &KeyPair, network: &NetworkName, statement: &Statement) {
        let signature = pair.sign(taken(network, statement).as_bytes());
        let spare = self.form.spare().to_vec();
        self.form = Form::Text { received: Some(Received { node: pair.node_id(), signature }), spare };
    }

    /// Checks times and rights; what is left are the signatures.
    pub(super) fn claims<F: FnOnce() -> Option<(Vec<u8>, bool)>>(
        &self,
        asked: Asked<'_, F>,
        network: &NetworkName,
        now: Time,
        source: Source,
    ) -> Claims {
        let Asked { account, needs, statement, hashes, text } = asked;
        if self.form.spare().len() > hashes {
            return Err(Code::BadRequest);
        }
        let now = now.as_millis();
        let (early, late) = match source {
            Source::Client => (TOLERANCE.as_millis(), TOLERANCE.as_millis()),
            // What a member passes on may be old, but a time ahead would win over honest ones.
            Source::Member => (u64::MAX, TOLERANCE_FORWARDED.as_millis()),
        };
        if self.time > now.saturating_add(late) || self.time < now.saturating_sub(early) {
            return Err(Code::Clock);
        }
        let owns =
            |said, signature| account.claim(self.key.as_deref(), said, signature).ok_or(Code::Unauthorized);
        let mut claims = Vec::with_capacity(3);
        if let Some(Subaccount { token, signature }) = &self.subaccount {
            if !token.fits(account) || !token.rights().include(needs) {
                return Err(Code::Unauthorized);
            }
            claims.push(owns(token.0.to_vec(), *signature)?);
        }
        let said = match &self.form {
            Form::Statement => statement.as_bytes().to_vec(),
            Form::Text { received, .. } => {
                let (text, names_time) = text().ok_or(Code::BadRequest)?;
                match received {
                    Some(Received { node, signature }) if !names_time => {
                        let said = taken(network, &statement).as_bytes().to_vec();
                        claims.push(Claim::by(*node.as_bytes(), said, *signature));
                    }
                    None if names_time || source == Source::Client => {}
                    Some(_) | None => return Err(Code::Unauthorized),
                }
                text
            }
        };
        if !self.form.is_statement() && crate::mutants::on("text-unverified") {
            return Ok(claims);
        }
        claims.push(match &self.subaccount {
            None => owns(said, self.signature)?,
            Some(Subaccount { token, .. }) => Claim::by(token.key(), said, self.signature),
        });
        Ok(claims)
    }
}

fn taken(network: &NetworkName, statement: &Statement) -> Statement {
    Statement::new("received", network).bytes(&statement.digest())
}
