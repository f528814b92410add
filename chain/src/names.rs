//! The index of names that every node has, and what it proves to whoever looks one up.
//!
//! It is fed with what the contract tells of names, in order, and says at each border what root stands for all of
//! them: a checkpoint carries it. So whoever trusts a checkpoint believes an entry, and that there is none, with a
//! [`Way`] from it to that root, whichever node it comes from.
//!
//! - [`index`]: what becomes of it as names change
//! - [`entry`]: what is known of a name
//! - [`tree`]: the tree and its proofs
//! - [`tables`]: where it is kept
//! - [`resolve`]: what is answered to who looks a name up, and what they believe
//!
//! Names that expired stay in it until their grace is over, as nobody else can have them; then it forgets them. An
//! account goes by a name ([`Change::Reverse`]) until the name has another owner, and has to say so again if it gets
//! the name back. So it holds no more than what is paid for: a name, and up to 32 sub-names of it.

use alloy::primitives::{Address, B256, keccak256};
use session_protocols::names::NameId;

pub mod entry;
pub mod index;
pub mod resolve;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod tree;

pub use entry::{Entry, EntryError, Offer, Records, SubEntry};
pub use index::{Index, Proven, Row};
pub use tree::Way;

use crate::ledger::Amount;

/// How long an expired name can be renewed by its owner and is nobody else's, in seconds: 30 days, as in the
/// contract.
pub const GRACE: u64 = 30 * 24 * 3_600;

/// Something that happened to names, as the contract tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A name is somebody's, who did not have it or lost it; what was said of it before counts no more.
    Registered {
        /// Which.
        id: NameId,
        /// Whose.
        owner: Address,
        /// When it expires, in seconds since 1970.
        expires: u64,
        /// How often it got an owner.
        version: u32,
    },
    /// A name expires later.
    Renewed {
        /// Which.
        id: NameId,
        /// When, in seconds since 1970.
        expires: u64,
    },
    /// A name has another owner; what was said of it before counts no more.
    Transferred {
        /// Which.
        id: NameId,
        /// Whose.
        owner: Address,
        /// How often it got an owner.
        version: u32,
    },
    /// A record has another value; none if it is empty.
    Record {
        /// Of which name.
        id: NameId,
        /// Of which sub-name of it; zero for the name itself.
        sub: B256,
        /// The name's version.
        version: u32,
        /// The number of its kind.
        kind: u8,
        /// The value, sealed.
        value: Vec<u8>,
    },
    /// An account goes by a name that it owns; by none if the id is zero.
    Reverse {
        /// Which account.
        account: Address,
        /// By which.
        id: NameId,
    },
    /// What a name is called, as its owner says.
    Revealed {
        /// Which.
        id: NameId,
        /// The name's version.
        version: u32,
        /// What it is called: 1 to 64 of `a-z 0-9 - _`.
        name: String,
    },
    /// A name can be bought; no more if the price is zero.
    Price {
        /// Which.
        id: NameId,
        /// The name's version.
        version: u32,
        /// For how much.
        price: Amount,
    },
    /// An offer takes the place of the one before.
    Offered {
        /// For which name.
        id: NameId,
        /// The name's version.
        version: u32,
        /// Who offers.
        buyer: Address,
        /// How much.
        amount: Amount,
        /// How long it binds, in seconds since 1970.
        until: u64,
    },
    /// An offer is gone.
    Withdrawn {
        /// For which name.
        id: NameId,
        /// Whose it was.
        buyer: Address,
    },
}

/// What something stands under in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A name's [`Entry`].
    Name(NameId),
    /// A [`SubEntry`], under the name and the sub-name's id.
    Sub(NameId, B256),
    /// The id of the name, 32 bytes, by which an account goes.
    Account(Address),
}

impl Key {
    /// Its bytes: 32, 64 or 20, so that no two keys have the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Name(id) => id.as_bytes().to_vec(),
            Self::Sub(id, sub) => [id.as_bytes(), sub.as_slice()].concat(),
            Self::Account(account) => account.to_vec(),
        }
    }

    /// Whether `proven` stands under this key in the tree that has this root.
    pub fn is_proven(&self, root: B256, proven: &Proven) -> bool {
        let value = proven.value.as_ref().map(keccak256);
        proven.way.root(keccak256(self.to_bytes()), value) == Some(root)
    }
}
