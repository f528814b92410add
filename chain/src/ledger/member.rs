//! What the ledger knows of a node: who runs it, where it stands, and what state it is in.

use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_protocols::Prefix;

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

/// What state a node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// Registered, and in no map that has acted so far.
    Awaiting,
    /// In the map that acts.
    Active,
    /// Deregistered, and still in the map that acts or in the next one: it has to serve until neither
    /// names it.
    Leaving,
}

/// A node, as the ledger knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Who runs it.
    pub operator: Operator,
    /// Where it declared to stand.
    pub prefix: Prefix,
    /// What state it is in.
    pub state: State,
    /// The height of the block that registered it.
    pub registered: u64,
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
