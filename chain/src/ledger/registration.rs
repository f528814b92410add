//! A registration, as the staking contract took it, and what the contract could not check.

use core::{fmt, str::FromStr};

use alloy::{
    primitives::{Address, FixedBytes},
    sol_types::SolValue,
};
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_protocols::{NodeId, Prefix, Signature, identity::verify};

use super::amount::Amount;

/// Contributors of one node, its operator among them.
pub const MAX_SHARES: usize = 10;
/// An operator's fee that takes all, in basis points.
pub const MAX_FEE: u16 = 10_000;

/// What a node's key signs at its registration begins with this.
const STATEMENT: &str = "session-register-1";
/// What a BLS key signs to prove that somebody holds its secret begins with this.
const POSSESSION: &str = "session-pop-1";

/// A registration's permanent number in the staking contract, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StakeId(pub u64);

impl fmt::Display for StakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A node's BLS12-381 public key: its point of G1, x and y, 48 bytes each.
///
/// The contract has checked that it is a point of the right order and that its secret is held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlsKey(pub [u8; 96]);

/// A text is no BLS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a BLS12-381 public key: a point of the curve's group, as 192 hex digits")]
pub struct BlsKeyError;

impl FromStr for BlsKey {
    type Err = BlsKeyError;

    fn from_str(text: &str) -> Result<Self, BlsKeyError> {
        let bytes = HEX.decode(text.as_bytes()).map_err(|_| BlsKeyError)?;
        let key = bytes.try_into().map(Self).map_err(|_| BlsKeyError)?;
        if key.is_valid() { Ok(key) } else { Err(BlsKeyError) }
    }
}

/// 192 lower-case hex digits.
impl fmt::Display for BlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEX.encode(&self.0))
    }
}

impl fmt::Debug for BlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: String = self.0.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        write!(f, "BlsKey({head}..)")
    }
}

/// Which contract on which chain, so that no signature counts for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The chain's id.
    pub chain: u64,
    /// The staking contract.
    pub staking: Address,
    /// The contract of checkpoints and claims.
    pub checkpoints: Address,
}

/// What one contributor put into a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Who gets the principal back.
    pub contributor: Address,
    /// Who gets the rewards.
    pub beneficiary: Address,
    /// The principal.
    pub amount: Amount,
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its number.
    pub id: StakeId,
    /// The node's key.
    pub node: NodeId,
    /// What that key says to it; nobody has checked it.
    pub signature: Signature,
    /// Who runs the node.
    pub operator: Address,
    /// Where it declares to stand.
    pub prefix: Prefix,
    /// What the operator keeps of the node's rewards before they are divided, in basis points.
    pub fee: u16,
    /// The node's key for checkpoints.
    pub bls: BlsKey,
    /// The stake; the operator's share first, 1 to [`MAX_SHARES`].
    pub shares: Vec<Share>,
}

impl Domain {
    /// What a node's Ed25519 key signs so that it can be registered.
    pub fn registration(&self, operator: Address, prefix: Prefix, bls: &BlsKey) -> Vec<u8> {
        let Self { chain, staking, .. } = *self;
        let prefix = FixedBytes::from(prefix_bytes(prefix));
        let head = (STATEMENT.to_owned(), alloy::primitives::U256::from(chain), staking, operator, prefix);
        [head.abi_encode_packed(), bls.0.to_vec()].concat()
    }

    /// What a BLS key signs so that the contract knows that its secret is held, for the next registration of a
    /// key that was registered so often before.
    pub fn possession(&self, operator: Address, bls: &BlsKey, registrations: u64) -> Vec<u8> {
        let Self { chain, staking, .. } = *self;
        let chain = alloy::primitives::U256::from(chain);
        let head = (POSSESSION.to_owned(), chain, staking, operator, registrations);
        [head.abi_encode_packed(), bls.0.to_vec()].concat()
    }
}

impl Registration {
    /// Whether the node's key agrees to be registered so.
    pub fn is_signed(&self, domain: &Domain) -> bool {
        let statement = domain.registration(self.operator, self.prefix, &self.bls);
        verify(self.node.as_bytes(), &statement, &self.signature)
    }

    /// The sum of the shares; none when the shares are not what the contract lets through.
    pub fn stake(&self) -> Option<Amount> {
        let shares = &self.shares;
        let first = shares.first()?;
        if shares.len() > MAX_SHARES || self.fee > MAX_FEE || first.contributor != self.operator {
            return None;
        }
        let sum = shares.iter().try_fold(Amount::ZERO, |sum, share| sum.checked_add(share.amount))?;
        (!sum.is_zero()).then_some(sum)
    }
}

/// A prefix as the contract writes it: 4 and three bytes, or 6 and six bytes, zeros behind.
pub fn prefix_bytes(prefix: Prefix) -> [u8; 7] {
    match prefix {
        Prefix::V4([a, b, c]) => [4, a, b, c, 0, 0, 0],
        Prefix::V6([a, b, c, d, e, f]) => [6, a, b, c, d, e, f],
    }
}

/// Reads a prefix as the contract writes it; whatever the contract lets through is one, or who registers could
/// make its events unreadable.
pub fn prefix_from(bytes: [u8; 7]) -> Option<Prefix> {
    match bytes {
        [4, a, b, c, 0, 0, 0] => Some(Prefix::V4([a, b, c])),
        [6, a, b, c, d, e, f] => Some(Prefix::V6([a, b, c, d, e, f])),
        _ => None,
    }
}
