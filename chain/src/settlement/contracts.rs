//! Which contracts are followed, and the events of theirs that are numbered.

use core::fmt;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolEvent,
};

use crate::{
    ledger::{Cursor, Cursors},
    network::{Contracts, Settlement},
};

/// The numbered events, as the contracts declare them.
#[allow(missing_docs, unreachable_pub, clippy::too_many_arguments)]
pub mod events {
    alloy::sol! {
        #[derive(Debug)]
        struct Share { address contributor; address beneficiary; uint256 amount; }

        #[derive(Debug)]
        event Registered(
            uint64 indexed number, uint64 indexed id, address indexed operator, bytes32 ed25519Key,
            bytes32 signatureR, bytes32 signatureS, bytes7 prefix, uint16 fee, bytes blsKey, Share[] shares
        );
        #[derive(Debug)]
        event ExitRequested(uint64 indexed number, uint64 indexed id, address indexed by, uint64 unlocksAt);
        #[derive(Debug)]
        event Removed(uint64 indexed number, uint64 indexed id, uint8 how, uint256 penalty);
        #[derive(Debug)]
        event BeneficiaryChanged(
            uint64 indexed number, uint64 indexed id, address indexed contributor, address beneficiary
        );
        #[derive(Debug)]
        event ShareHandedOver(uint64 indexed number, uint64 indexed id, address indexed from, address to);
        #[derive(Debug)]
        event ParameterChanged(uint64 indexed number, bytes32 indexed name, uint256 value);
        #[derive(Debug)]
        event Released(uint64 indexed number, uint256 amount);
        #[derive(Debug)]
        event Accepted(
            uint64 indexed number, uint64 indexed epoch, address indexed submitter, bytes32 digest
        );

        #[derive(Debug)]
        event NameRegistered(
            uint64 indexed number, uint256 indexed id, address indexed owner, uint40 expiry, uint32 version
        );
        #[derive(Debug)]
        event NameRenewed(uint64 indexed number, uint256 indexed id, uint40 expiry);
        #[derive(Debug)]
        event NameTransferred(
            uint64 indexed number, uint256 indexed id, address indexed owner, uint32 version, uint256 price
        );
        #[derive(Debug)]
        event RecordChanged(
            uint64 indexed number, uint256 indexed id, bytes32 indexed subId, uint32 version, uint8 kind,
            bytes value
        );
        #[derive(Debug)]
        event ReverseChanged(uint64 indexed number, address indexed account, uint256 indexed id);
        #[derive(Debug)]
        event NameRevealed(uint64 indexed number, uint256 indexed id, uint32 version, string name);
        #[derive(Debug)]
        event PriceChanged(uint64 indexed number, uint256 indexed id, uint32 version, uint96 price);
        #[derive(Debug)]
        event OfferMade(
            uint64 indexed number, uint256 indexed id, address indexed buyer, uint32 version, uint96 amount,
            uint40 until
        );
        #[derive(Debug)]
        event OfferWithdrawn(uint64 indexed number, uint256 indexed id, address indexed buyer);
    }
}

/// The parameter that says what the submitter of a checkpoint is credited.
pub const SUBMITTER_REWARD: &[u8] = b"submitterReward";
/// The parameter that says how many nodes there are at least when a checkpoint is taken.
pub const MINIMUM_NODES: &[u8] = b"minimumNodes";
/// The parameter that says how long a node must have been active to earn.
pub const ACTIVE_FOR: &[u8] = b"activeFor";

/// The first topics of all numbered events.
pub const TOPICS: [B256; 17] = [
    events::Registered::SIGNATURE_HASH,
    events::ExitRequested::SIGNATURE_HASH,
    events::Removed::SIGNATURE_HASH,
    events::BeneficiaryChanged::SIGNATURE_HASH,
    events::ShareHandedOver::SIGNATURE_HASH,
    events::ParameterChanged::SIGNATURE_HASH,
    events::Released::SIGNATURE_HASH,
    events::Accepted::SIGNATURE_HASH,
    events::NameRegistered::SIGNATURE_HASH,
    events::NameRenewed::SIGNATURE_HASH,
    events::NameTransferred::SIGNATURE_HASH,
    events::RecordChanged::SIGNATURE_HASH,
    events::ReverseChanged::SIGNATURE_HASH,
    events::NameRevealed::SIGNATURE_HASH,
    events::PriceChanged::SIGNATURE_HASH,
    events::OfferMade::SIGNATURE_HASH,
    events::OfferWithdrawn::SIGNATURE_HASH,
];

/// `eventNumber()` and `rollingHash()`.
const VIEWS: [[u8; 4]; 2] = [[0xcf, 0xfc, 0xf7, 0x4e], [0x9f, 0x22, 0x28, 0x92]];

/// A contract whose events are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contract {
    /// What holds the stakes.
    Staking,
    /// What takes checkpoints and pays claims.
    Checkpoints,
    /// What rewards come from.
    Pool,
    /// What names are registered and sold at.
    Names,
}

impl Contract {
    /// All of them, in the order of [`Cursors`].
    pub const ALL: [Self; 4] = [Self::Staking, Self::Checkpoints, Self::Pool, Self::Names];

    /// How far its events have come.
    pub const fn cursor(self, cursors: &Cursors) -> &Cursor {
        match self {
            Self::Staking => &cursors.staking,
            Self::Checkpoints => &cursors.checkpoints,
            Self::Pool => &cursors.pool,
            Self::Names => &cursors.names,
        }
    }

    pub(super) const fn cursor_mut(self, cursors: &mut Cursors) -> &mut Cursor {
        match self {
            Self::Staking => &mut cursors.staking,
            Self::Checkpoints => &mut cursors.checkpoints,
            Self::Pool => &mut cursors.pool,
            Self::Names => &mut cursors.names,
        }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Staking => "Staking",
            Self::Checkpoints => "Checkpoints",
            Self::Pool => "RewardPool",
            Self::Names => "Names",
        })
    }
}

/// Where the contracts are whose events are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The chain's id.
    pub chain: u64,
    /// The block from which on events are read: none of the contracts is older.
    pub start: u64,
    /// The contracts.
    pub contracts: Contracts,
}

impl From<&Settlement> for Followed {
    fn from(settlement: &Settlement) -> Self {
        let Settlement { chain, start, contracts, .. } = *settlement;
        Self { chain, start, contracts }
    }
}

impl Followed {
    /// The contracts' addresses, in the order of [`Contract::ALL`].
    pub const fn addresses(&self) -> [Address; 4] {
        let Contracts { staking, checkpoints, pool, names, .. } = self.contracts;
        [staking, checkpoints, pool, names]
    }

    /// The contract at an address; none when it is not one of them.
    pub fn contract(&self, address: Address) -> Option<Contract> {
        let at = self.addresses().iter().position(|contract| *contract == address)?;
        Contract::ALL.get(at).copied()
    }

    /// A program that asks all contracts for number and rolling hash and returns the eight words, to be
    /// run as a call without a receiver: one call, of one state, that needs no contract of its own.
    pub fn cursors_program(&self) -> Bytes {
        const PUSH1: u8 = 0x60;
        const PUSH2: u8 = 0x61;
        const RESULT: u16 = 0x40;
        let mut code = Vec::with_capacity(320);
        for (view, at) in VIEWS.iter().zip([0x00, 0x20]) {
            // The selector goes to the upper end of a word at `at`.
            code.push(0x63);
            code.extend(view);
            code.extend([PUSH1, 0xe0, 0x1b, PUSH1, at, 0x52]);
        }
        let mut result = RESULT;
        for contract in self.addresses() {
            for at in [0x00, 0x20] {
                // staticcall(gas, contract, at, 4, result, 32); a contract that is not there leaves zeros.
                let [high, low] = result.to_be_bytes();
                code.extend([PUSH1, 0x20, PUSH2, high, low, PUSH1, 0x04, PUSH1, at, 0x73]);
                code.extend(contract);
                code.extend([0x5a, 0xfa, 0x50]);
                result = result.saturating_add(0x20);
            }
        }
        let [high, low] = result.saturating_sub(RESULT).to_be_bytes();
        code.extend([PUSH2, high, low, PUSH1, 0x40, 0xf3]);
        code.into()
    }

    /// Reads what the program returned.
    pub fn read_cursors(returned: &[u8]) -> Option<Cursors> {
        let (words, rest) = returned.as_chunks::<32>();
        let [a, b, c, d, e, f, g, h] = words else { return None };
        let cursor = |number: &[u8; 32], hash: &[u8; 32]| {
            let number = u64::try_from(U256::from_be_bytes(*number)).ok()?;
            Some(Cursor { number, hash: B256::from(*hash) })
        };
        let (staking, checkpoints) = (cursor(a, b)?, cursor(c, d)?);
        let cursors = Cursors { staking, checkpoints, pool: cursor(e, f)?, names: cursor(g, h)? };
        rest.is_empty().then_some(cursors)
    }
}

/// The signatures of all functions, events or errors of a contract's artifact.
#[cfg(test)]
pub(super) fn signatures(artifact: &str, kind: &str) -> Vec<String> {
    fn kind_of(input: &serde_json::Value) -> String {
        let kind = input["type"].as_str().unwrap();
        let Some(array) = kind.strip_prefix("tuple") else { return kind.to_owned() };
        format!("({}){array}", kinds_of(&input["components"]))
    }
    fn kinds_of(inputs: &serde_json::Value) -> String {
        inputs.as_array().unwrap().iter().map(kind_of).collect::<Vec<_>>().join(",")
    }
    let artifact: serde_json::Value = serde_json::from_str(artifact).unwrap();
    let abi = artifact["abi"].as_array().unwrap().iter().filter(|it| it["type"] == kind);
    abi.map(|it| format!("{}({})", it["name"].as_str().unwrap(), kinds_of(&it["inputs"]))).collect()
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;

    use super::*;

    #[test]
    fn views_are_asked_for_by_their_selectors() {
        for (selector, name) in VIEWS.iter().zip(["eventNumber()", "rollingHash()"]) {
            assert_eq!(selector, &keccak256(name)[..4], "{name}");
        }
    }

    #[test]
    fn all_numbered_events_of_the_contracts_are_asked_for_and_no_more() {
        let artifacts = [
            include_str!("../../contracts/artifacts/Checkpoints.json"),
            include_str!("../../contracts/artifacts/RewardPool.json"),
            include_str!("../../contracts/artifacts/Staking.json"),
            include_str!("../../contracts/artifacts/Names.json"),
        ];
        // What is numbered begins with its number; nothing else that the contracts tell does.
        let numbered = |signature: &String| {
            let name = signature.split('(').next().unwrap();
            let plain = [
                "PenaltyNoted",
                "PausedChanged",
                "GuardianChanged",
                "Claimed",
                "FeesReleased",
                "TreasuryChanged",
                "Transfer",
                "Approval",
                "ApprovalForAll",
            ];
            !plain.contains(&name) && !name.starts_with("Ownership")
        };
        let mut there: Vec<B256> =
            artifacts.iter().flat_map(|it| signatures(it, "event")).filter(numbered).map(keccak256).collect();
        there.sort();
        there.dedup();
        let mut asked = TOPICS.to_vec();
        asked.sort();
        assert_eq!(asked, there);
    }
}
