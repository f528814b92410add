//! Forget messages, change when they end, take rights away.

use serde::{Deserialize, Serialize};

use super::{
    Auth, Claims, MAX_AHEAD, MAX_HASHES, MAX_TOKENS, MAX_TOKENS_BACK, MAX_TTL, Rights, Source, TOLERANCE,
    Token,
    auth::{Asked, settle},
    check_count, signed,
    text::Text,
};
use crate::{AccountId, MessageHash, Namespace, NetworkName, Statement, Time, answer::Code};

/// Which drawers of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawers {
    /// This one.
    One(Namespace),
    /// Every one.
    All,
}

/// Which messages a change is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// These, at most [`MAX_HASHES`].
    Hashes(Vec<MessageHash>),
    /// Those in some drawers, the earliest arrivals first.
    In {
        /// Where.
        drawers: Drawers,
        /// Only those sent at or before this, in milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        /// How many at a time, [`MAX_BULK`](super::MAX_BULK) unless less: whoever is told of so many
        /// repeats the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        most: Option<u32>,
    },
}

/// Forget messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which messages.
    pub which: Which,
    /// Whether it is refused with 404 where no member held any of the messages named.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub required: bool,
    /// The proof of who may delete.
    pub auth: Auth,
}

/// Change when messages end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expire {
    /// Whose mailbox.
    pub account: AccountId,
    /// Which messages. Those of whole drawers can only end earlier.
    pub which: Which,
    /// The new ends. None is later than [`MAX_TTL`] after the request's time.
    pub ends: Ends,
    /// Which direction alone is meant, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Direction>,
    /// The proof of who may do so.
    pub auth: Auth,
}

/// When messages are to end, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// All of them then.
    All(u64),
    /// One end for each hash, in order.
    Each(Vec<u64>),
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

/// Take subaccounts' rights away, or give them back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// Whose.
    pub account: AccountId,
    /// Which: at most [`MAX_TOKENS`] to take away, of which the newest as many of an account count, and
    /// [`MAX_TOKENS_BACK`] to give back.
    pub tokens: Vec<Token>,
    /// Whether the rights are given back.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub undo: bool,
    /// The owner's proof.
    pub auth: Auth,
}

impl Direction {
    /// As it is said in what is signed.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Shorten => "shorten",
            Self::Extend => "extend",
        }
    }
}

impl Which {
    /// Whether a message that lies in `namespace`, sent at `timestamp`, can be meant by a request that was
    /// signed at `time`; both in milliseconds since 1970. So nobody can repeat a request later against what
    /// came after it.
    pub fn covers(&self, time: u64, namespace: Namespace, timestamp: u64) -> bool {
        match self {
            Self::Hashes(_) => true,
            Self::In { drawers, before, .. } => {
                let there = match drawers {
                    Drawers::One(one) => *one == namespace,
                    Drawers::All => true,
                };
                // What the first receiver held may have been sent by a clock that is ahead of its own, which
                // may be ahead of the one that signed.
                let ahead = TOLERANCE.as_millis().saturating_add(MAX_AHEAD.as_millis());
                there && timestamp <= before.unwrap_or(time.saturating_add(ahead))
            }
        }
    }

    /// The hashes that it names.
    pub fn hashes(&self) -> &[MessageHash] {
        match self {
            Self::Hashes(hashes) => hashes,
            Self::In { .. } => &[],
        }
    }

    fn check(&self) -> Result<(), Code> {
        match self {
            Self::Hashes(hashes) => check_count(hashes, MAX_HASHES),
            Self::In { .. } => Ok(()),
        }
    }

    fn state(&self, statement: Statement) -> Statement {
        match self {
            Self::Hashes(hashes) => statement.bytes(b"").list(hashes.iter().map(|hash| hash.0.as_slice())),
            Self::In { drawers, before, most } => {
                let statement = statement.bytes(b"in").number(most.map_or(0, u64::from));
                let statement = match drawers {
                    Drawers::One(namespace) => statement.number(signed(*namespace)),
                    Drawers::All => statement.bytes(b"all"),
                };
                match before {
                    Some(before) => statement.number(*before),
                    None => statement.bytes(b""),
                }
            }
        }
    }
}

impl Delete {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        let statement = Statement::new("delete", network).bytes(self.account.as_bytes());
        let statement = self.which.state(statement);
        if self.required { statement.bytes(b"required") } else { statement }.number(time)
    }

    /// The latest time of a message that it can be about, in milliseconds since 1970.
    pub fn bound(&self) -> u64 {
        match self.which {
            Which::In { before: Some(before), .. } => before,
            Which::In { before: None, .. } | Which::Hashes(_) => self.auth.time,
        }
    }

    /// Checks the number of hashes, and authority.
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
        self.which.check()?;
        let latest = now.as_millis().saturating_add(TOLERANCE.as_millis());
        if let Which::In { before: Some(before), .. } = self.which
            && source == Source::Client
            && before > latest
        {
            return Err(Code::Clock);
        }
        let auth = &self.auth;
        let text = || {
            Some(match &self.which {
                Which::Hashes(hashes) => (Text::new("delete").hashes(hashes, &auth.form), false),
                Which::In { drawers, before: None, .. } => {
                    (Text::new("delete_all").drawers(*drawers).number(auth.time), true)
                }
                Which::In { drawers, before: Some(before), .. } => {
                    (Text::new("delete_before").drawers(*drawers).number(*before), false)
                }
            })
            .map(|(text, names_time)| (text.bytes(), names_time))
        };
        let statement = self.statement(network, auth.time);
        let hashes = self.which.hashes().len();
        let asked = Asked { account: &self.account, needs: Rights::DELETE, statement, hashes, text };
        auth.claims(asked, network, now, source)
    }

    /// Whether a node still has to say when it took this.
    pub const fn wants_time(&self) -> bool {
        self.auth.wants_time(matches!(self.which, Which::In { before: None, .. }))
    }
}

impl Expire {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        let statement = Statement::new("expire", network)
            .bytes(self.account.as_bytes())
            .bytes(self.only.map_or("", Direction::word).as_bytes());
        let statement = match &self.ends {
            Ends::All(end) => statement.number(*end),
            Ends::Each(ends) => {
                let ends: Vec<_> = ends.iter().map(|end| end.to_be_bytes()).collect();
                statement.list(ends.iter().map(|end| end.as_slice()))
            }
        };
        self.which.state(statement).number(time)
    }

    /// The new end of the message at this place among the hashes, or of any of a drawer, in milliseconds
    /// since 1970.
    pub fn end(&self, place: usize) -> u64 {
        let end = match &self.ends {
            Ends::All(end) => *end,
            Ends::Each(ends) => ends.get(place).copied().unwrap_or_default(),
        };
        end.min(self.auth.time.saturating_add(MAX_TTL.as_millis()))
    }

    /// The direction that is meant, or that is all whoever asks may do.
    pub fn direction(&self) -> Option<Direction> {
        match (&self.which, self.only) {
            (Which::In { .. }, _) => Some(Direction::Shorten),
            (Which::Hashes(_), None) if !self.auth.rights().include(Rights::DELETE) => {
                Some(Direction::Extend)
            }
            (Which::Hashes(_), only) => only,
        }
    }

    /// Checks the number of hashes, the new ends, and authority.
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
        self.which.check()?;
        let earliest = match (&self.ends, &self.which) {
            (Ends::All(end), _) => *end,
            (Ends::Each(ends), Which::Hashes(hashes)) if ends.len() == hashes.len() => {
                ends.iter().copied().min().unwrap_or_default()
            }
            (Ends::Each(_), _) => return Err(Code::BadRequest),
        };
        let whole = match self.which {
            Which::Hashes(_) => false,
            Which::In { before: None, .. } if self.only != Some(Direction::Extend) => true,
            Which::In { .. } => return Err(Code::BadRequest),
        };
        // What one member took from a client, the others take from it.
        if source == Source::Client && earliest <= now.as_millis() {
            return Err(Code::BadTtl);
        }
        let auth = &self.auth;
        let text = || {
            let text = match &self.which {
                Which::Hashes(hashes) => {
                    Text::new("expire").direction(self.only).ends(&self.ends).hashes(hashes, &auth.form)
                }
                Which::In { drawers, .. } => Text::new("expire_all").drawers(*drawers).ends(&self.ends),
            };
            Some((text.bytes(), false))
        };
        let needs = match self.only {
            Some(Direction::Shorten) => Rights::WRITE.and(Rights::DELETE),
            Some(Direction::Extend) | None if whole => Rights::DELETE,
            Some(Direction::Extend) | None => Rights::WRITE,
        };
        let statement = self.statement(network, auth.time);
        let hashes = self.which.hashes().len();
        let asked = Asked { account: &self.account, needs, statement, hashes, text };
        auth.claims(asked, network, now, source)
    }

    /// Whether a node still has to say when it took this.
    pub const fn wants_time(&self) -> bool {
        self.auth.wants_time(false)
    }
}

impl Revoke {
    /// What its signature covers.
    pub fn statement(&self, network: &NetworkName, time: u64) -> Statement {
        Statement::new(if self.undo { "unrevoke_subaccount" } else { "revoke_subaccount" }, network)
            .bytes(self.account.as_bytes())
            .list(self.tokens.iter().map(|token| token.0.as_slice()))
            .number(time)
    }

    /// Checks the number of tokens and all else but the signatures that it gives back.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub fn claims(&self, network: &NetworkName, now: Time, source: Source) -> Claims {
        let most = if self.undo { MAX_TOKENS_BACK } else { MAX_TOKENS };
        if self.tokens.is_empty() {
            return Err(Code::BadRequest);
        }
        if self.tokens.len() > most {
            return Err(Code::TooLarge);
        }
        let auth = &self.auth;
        let text = || {
            let method = if self.undo { "unrevoke_subaccount" } else { "revoke_subaccount" };
            Some((Text::new(method).number(auth.time).tokens(&self.tokens).bytes(), true))
        };
        let statement = self.statement(network, auth.time);
        let asked = Asked { account: &self.account, needs: Rights::OWNER, statement, hashes: 0, text };
        auth.claims(asked, network, now, source)
    }
}

/// Says when a request came whose text does not.
macro_rules! receive {
    ($($request:ty),*) => {$(
        impl $request {
            /// Says, as the first node that took it, that this was at the time that its door wrote in, if
            /// nothing else does. It stays that time: whoever asked is told of ends that depend on it.
            pub fn receive(&mut self, pair: &crate::KeyPair, network: &NetworkName) {
                if self.wants_time() && !crate::mutants::on("text-unreceived") {
                    let statement = self.statement(network, self.auth.time);
                    self.auth.receive(pair, network, &statement);
                }
            }
        }
    )*};
}

receive!(Delete, Expire);
