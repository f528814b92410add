//! Who acts on a mailbox: its owner, or somebody to whom the owner gave some rights.

use session_protocols::{
    AccountId, KeyPair, Statement,
    request::{Auth, Rights, Subaccount, Token},
};

use crate::account::Account;

/// What an owner gives to somebody who is to act in their place. It is no secret: the key is needed beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose mailbox.
    pub account: AccountId,
    /// The owner's Ed25519 key.
    pub owner: [u8; 32],
    /// Whose key, which rights, and the owner's signature.
    pub subaccount: Subaccount,
}

impl Grant {
    /// What the rights are taken away by: [`Client::revoke`](crate::Client::revoke).
    pub const fn token(&self) -> Token {
        self.subaccount.token
    }
}

impl Account {
    /// Gives rights on this account's mailbox to whoever has an Ed25519 key. Make a key of its own for each: nodes see
    /// it.
    ///
    /// Rights last until they are revoked.
    pub fn grant(&self, rights: Rights, key: &[u8; 32]) -> Grant {
        let (account, owner) = (self.id(), self.key_pair());
        let [kind, ..] = *account.as_bytes();
        let subaccount = Subaccount::grant(owner, Token::new(kind, rights, key));
        Grant { account, owner: owner.public(), subaccount }
    }
}

/// Who acts on a mailbox.
///
/// An [`Account`] acts on its own; a [`Grant`] with the pair of its key on the one of whoever gave it.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// Its owner.
    Owner(&'a Account),
    /// Somebody in the owner's place, who can do what the grant allows and else is refused (`401`).
    Subaccount {
        /// What the owner gave.
        grant: &'a Grant,
        /// The pair whose public key the grant names.
        key: &'a KeyPair,
    },
}

impl Actor<'_> {
    /// Whose mailbox.
    pub const fn account(&self) -> AccountId {
        match self {
            Self::Owner(account) => account.id(),
            Self::Subaccount { grant, .. } => grant.account,
        }
    }

    /// Signs a request's statement, made with the same time in milliseconds since 1970.
    pub(crate) fn sign(&self, time: u64, statement: &Statement) -> Auth {
        match self {
            Self::Owner(account) => Auth::sign(&account.id(), account.key_pair(), time, statement),
            Self::Subaccount { grant, key } => {
                let owner = (!grant.account.shows_key()).then_some(grant.owner);
                Auth::sign_for(owner, key, grant.subaccount, time, statement)
            }
        }
    }
}

impl<'a> From<&'a Account> for Actor<'a> {
    fn from(account: &'a Account) -> Self {
        Self::Owner(account)
    }
}

impl<'a> From<(&'a Grant, &'a KeyPair)> for Actor<'a> {
    fn from((grant, key): (&'a Grant, &'a KeyPair)) -> Self {
        Self::Subaccount { grant, key }
    }
}
