//! Lookups: `/session/<net>/names/1`, and the same over onion paths.
//!
//! Every node answers, from its index as it was at a border whose checkpoint most nodes have signed. Who asks
//! tells an id and nothing else, and believes an answer by its proofs alone: they lead to the root of names in
//! the checkpoint of the epoch that the answer names (`session-chain`, `names::resolve`).

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::NameId;
use crate::answer::Code;

/// The longest encoded request, in bytes.
pub const MAX_REQUEST: usize = 256;
/// The longest encoded answer, in bytes: two entries at their longest, and two ways at theirs.
pub const MAX_ANSWER: usize = 32 << 10;
/// The most bytes that a proof shows to stand somewhere.
pub const MAX_VALUE: usize = 4 << 10;
/// The most steps of a way.
pub const MAX_STEPS: usize = 256;

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A name, or a sub-name of it.
    Name {
        /// The name's id.
        id: NameId,
        /// The sub-name's id under it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sub: Option<ByteArray<32>>,
    },
    /// By which name an account on the chain goes.
    Account {
        /// Its address.
        account: ByteArray<20>,
    },
}

impl Request {
    /// The lookup of a name, or of a sub-name by the id that it has under its parent.
    pub fn name(id: NameId, sub: Option<[u8; 32]>) -> Self {
        Self::Name { id, sub: sub.map(ByteArray::new) }
    }

    /// The lookup of an account's name.
    pub const fn account(account: [u8; 20]) -> Self {
        Self::Account { account: ByteArray::new(account) }
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "few are there at once, and refusals are the rare ones")]
pub enum Answer {
    /// What stood there.
    Proven {
        /// At the end of which epoch.
        epoch: u64,
        /// Under the name, or the account.
        first: Proof,
        /// Under the sub-name that was asked for, or under the name by which the account goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<Proof>,
    },
    /// Nothing is told.
    Refused {
        /// Why.
        code: Code,
    },
}

/// What stands somewhere in the index, or that nothing does, and the way from there to the index's root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The bytes; none where nothing stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ByteBuf>,
    /// The hashes beside the way, that next to the root first; at most [`MAX_STEPS`].
    pub beside: Vec<ByteArray<32>>,
    /// Where nothing stands: hashed key and value of the one leaf at the end of the way, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<(ByteArray<32>, ByteArray<32>)>,
}

impl Proof {
    /// Whether it is within its bounds.
    pub fn fits(&self) -> bool {
        let value = self.value.as_ref().map_or(0, |value| value.len());
        value <= MAX_VALUE && self.beside.len() <= MAX_STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn the_longest_of_both_have_room() {
        let value = Some(ByteBuf::from(vec![0xff; MAX_VALUE]));
        let longest = Proof { value, beside: vec![ByteArray::new([0xff; 32]); MAX_STEPS], instead: None };
        assert!(longest.fits());
        let answer = Answer::Proven { epoch: u64::MAX, first: longest.clone(), second: Some(longest) };
        assert!(codec::encode(&answer).len() <= MAX_ANSWER);
        let request = Request::name(NameId::from_bytes([0xff; 32]), Some([0xff; 32]));
        assert!(codec::encode(&request).len() <= MAX_REQUEST);
    }

    #[test]
    fn what_is_too_long_does_not_fit() {
        let long = Proof { value: Some(ByteBuf::from(vec![0; MAX_VALUE + 1])), ..Proof::default() };
        let deep = Proof { beside: vec![ByteArray::new([0; 32]); MAX_STEPS + 1], ..Proof::default() };
        assert!(Proof::default().fits() && !long.fits() && !deep.fits());
    }
}
