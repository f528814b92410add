//! What the ledger knows of a node: who runs it, where it stands, and what state it is in.

use core::fmt;
use core::str::FromStr;

use alloy::primitives::Address;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_protocols::Prefix;

use super::registration::{Share, StakeId};

/// Who runs a node: a 20-byte EVM address, shown as `0x` and 40 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operator([u8; 20]);

/// A text is not an operator's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an operator's address: 0x and 40 hex digits")]
pub struct OperatorError;

impl Operator {
    /// Takes the 20 bytes of an address.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FromStr for Operator {
    type Err = OperatorError;

    /// Reads an address in either case; the checksum that mixed case may carry is not checked.
    fn from_str(text: &str) -> Result<Self, OperatorError> {
        let digits = text.strip_prefix("0x").ok_or(OperatorError)?;
        let bytes = HEX.decode(digits.as_bytes()).map_err(|_| OperatorError)?;
        bytes.try_into().map(Self).map_err(|_| OperatorError)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", HEX.encode(&self.0))
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operator({self})")
    }
}

impl From<Address> for Operator {
    fn from(address: Address) -> Self {
        Self(address.into_array())
    }
}

/// What state a node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// In no map that has acted so far, or not since it was decommissioned.
    Awaiting,
    /// In the map that acts.
    Active,
    /// Failed its tests: in no map that is made from here on, until it passes them.
    Decommissioned,
    /// Going: it has to serve until no map names it. Then its stake may be paid back, once its lock has ended.
    Deregistered,
}

/// A node, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The number of its registration.
    pub id: StakeId,
    /// Who runs it.
    pub operator: Operator,
    /// Where it declared to stand.
    pub prefix: Prefix,
    /// What state it is in.
    pub state: State,
    /// The height of the block that registered it.
    pub registered: u64,
    /// What the operator keeps of its rewards before they are divided, in basis points.
    pub fee: u16,
    /// The stake, the operator's share first; none for a node that the network began with.
    pub shares: Vec<Share>,
    /// Since when it is active, in seconds since 1970; of use in that state alone.
    pub since: u64,
    /// When its service ends, if an exit was requested, in seconds since 1970.
    pub unlocks: Option<u64>,
    /// From when its stake may be paid back once no map names it, in seconds since 1970; of use when it is
    /// deregistered.
    pub locked: u64,
    /// What losing its place costs its operator, in basis points of the operator's own share.
    pub penalty: u16,
    /// Whether the stake has been paid back.
    pub removed: bool,
    /// Whether it was deregistered and no map names it any more.
    pub left: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_shown_as_they_are_read() {
        let text = "0x00112233445566778899aabbccddeeff00112233";
        let operator: Operator = text.parse().unwrap();
        assert_eq!(operator.to_string(), text);
        assert_eq!("0x00112233445566778899AABBccddeeff00112233".parse(), Ok(operator));
        for wrong in ["", "0x", &text[2..], &text[..41], "0X00112233445566778899aabbccddeeff00112233"] {
            assert_eq!(wrong.parse::<Operator>(), Err(OperatorError), "{wrong}");
        }
    }
}
