//! What can be asked of the contracts and sent to them, as they declare it.
//!
//! `chain/contracts/README.md` says what each does. Amounts are in 10^-9 SESH, times in seconds.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, FixedBytes, U256, hex, keccak256},
    sol_types::{SolCall, SolValue},
};

use session_protocols::NodeId;

use super::sender::Call;

use crate::{
    Candidate,
    bls::{BlsSignature, PointError},
    ledger::{self, BlsKey, StakeId},
    network::Contracts,
};

/// The contracts' own types.
#[allow(missing_docs, unreachable_pub)]
mod types {
    alloy::sol! {
        /// What a node declares.
        #[derive(Debug, PartialEq, Eq)]
        struct Registration {
            bytes32 ed25519Key;
            bytes32 signatureR;
            bytes32 signatureS;
            bytes7 prefix;
            uint16 fee;
            bytes blsKey;
            bytes proofOfPossession;
        }

        /// A slot that is kept for somebody, for at least an amount.
        #[derive(Debug, PartialEq, Eq)]
        struct Reservation { address contributor; uint256 amount; }

        /// What somebody has contributed.
        #[derive(Debug, PartialEq, Eq)]
        struct Part { address contributor; uint96 amount; address beneficiary; uint64 lastAt; }

        /// An allowance of the token by signature (EIP-2612).
        #[derive(Debug, PartialEq, Eq)]
        struct Permit { uint256 value; uint256 deadline; uint8 v; bytes32 r; bytes32 s; }

        /// What nodes say of the border of an epoch.
        #[derive(Debug, PartialEq, Eq)]
        struct Checkpoint {
            uint64 epoch;
            bytes32 borderBlockHash;
            bytes32 previousDigest;
            bytes32 rewardsRoot;
            bytes32 statesRoot;
            bytes32 swarmsRoot;
            bytes32 directoryRoot;
            bytes32 namesRoot;
        }

        /// Who signed a checkpoint.
        #[derive(Debug, PartialEq, Eq)]
        struct Signers { bytes aggregateKey; uint64 nodes; bytes absent; bytes signature; }

        #[derive(Debug)]
        interface Token {
            function approve(address spender, uint256 value) external returns (bool);
            function transfer(address to, uint256 value) external returns (bool);
            function transferAndCall(address to, uint256 value, bytes data) external returns (bool);
            function balanceOf(address account) external view returns (uint256);
            function allowance(address owner, address spender) external view returns (uint256);
            function nonces(address owner) external view returns (uint256);
            function name() external view returns (string);
            function DOMAIN_SEPARATOR() external view returns (bytes32);

            event Transfer(address indexed from, address indexed to, uint256 value);
        }

        #[derive(Debug)]
        interface Staking {
            function register(Registration registration, address beneficiary) external returns (uint64 id);
            function registerWithPermit(Registration registration, address beneficiary, Permit permit)
                external returns (uint64 id);
            function requestExit(uint64 id) external;
            function release(uint64 id, uint8 state, uint16 penaltyBps, bytes32[] proof) external;
            function notePenalty(uint64 id, uint8 state, uint16 penaltyBps, bytes32[] proof) external;
            function escape(uint64 id) external;
            function changeBeneficiary(uint64 id, address beneficiary) external;
            function handOver(uint64 id, address to) external;
            function sharesOf(uint64 id)
                external view returns (address[] contributors, uint256[] amounts);
            function stakeOf(uint64 id)
                external view
                returns (uint64 registeredAt, uint64 exitRequestedAt, uint16 penaltyBps, uint8 shares);
            function parameter(bytes32 name) external view returns (uint256);
            function isNode(uint64 id) external view returns (bool);
            function keys(bytes32 keyHash) external view returns (uint64 holder, uint64 registrations);
            function nextId() external view returns (uint64);
            function nodeCount() external view returns (uint64);
            function aggregateKey() external view returns (bytes);
        }

        #[derive(Debug)]
        interface ContributionFactory {
            function create(
                Registration registration, uint256 amount, address beneficiary, Reservation[] reserved
            ) external returns (address contribution);
            function createWithPermit(
                Registration registration, uint256 amount, address beneficiary, Reservation[] reserved,
                Permit permit
            ) external returns (address contribution);
            function isContribution(address account) external view returns (bool);

            event Created(
                address indexed contribution, address indexed operator, bytes32 indexed ed25519Key,
                uint256 number
            );
        }

        #[derive(Debug)]
        interface Contribution {
            function contribute(uint256 amount, address beneficiary) external;
            function contributeWithPermit(uint256 amount, address beneficiary, Permit permit) external;
            function withdraw() external;
            function reserve(Reservation[] reserved) external;
            function finalise() external;
            function cancel() external;
            function changeBeneficiary(address beneficiary) external;
            function requirement() external view returns (uint256);
            function operator() external view returns (address);
            function registration() external view returns (Registration);
            function contributions() external view returns (Part[]);
            function reservations() external view returns (Reservation[]);
            function limits(address account) external view returns (uint256 least, uint256 most);
            function status() external view returns (uint8);
            function id() external view returns (uint64);
            function total() external view returns (uint96);
        }

        #[derive(Debug)]
        interface Checkpoints {
            function submit(Checkpoint checkpoint, Signers signers) external;
            function claim(uint256 lifetimeTotal, bytes32[] proof, address to)
                external returns (uint256 amount);
            function digest(Checkpoint checkpoint) external view returns (bytes32);
            function nextEpoch() external view returns (uint64);
            function lastDigest() external view returns (bytes32);
            function rewardsRoot() external view returns (bytes32);
            function statesRoot() external view returns (bytes32);
            function claimed(address account) external view returns (uint256);
            function funded() external view returns (uint72);
            function paused() external view returns (bool);
            function parameter(bytes32 name) external view returns (uint256);
        }

        #[derive(Debug)]
        interface RewardPool {
            function release() external returns (uint256 amount);
            function releasable() external view returns (uint256);
            function released() external view returns (uint88);
        }

        #[derive(Debug)]
        interface Names {
            function commit(bytes32 commitment) external;
            function register(uint256 id, uint256 period, bytes32 secret, uint256 mostFee) external;
            function renew(uint256 id, uint256 period, uint256 mostFee) external;
            function safeTransferFrom(address from, address to, uint256 id) external;
            function setRecord(uint256 id, uint8 kind, bytes value) external;
            function setSubnameRecord(uint256 id, bytes32 label, uint8 kind, bytes value) external;
            function setReverse(uint256 id) external;
            function reveal(uint256 id, string name) external;
            function setPrice(uint256 id, uint96 price) external;
            function buy(uint256 id, uint32 version, uint256 mostPrice) external;
            function offer(uint256 id, uint32 version, uint96 amount, uint40 until) external;
            function accept(uint256 id, uint256 least) external;
            function withdrawOffer(uint256 id) external;
            function permit(Permit given) external;
            function multicall(bytes[] data) external returns (bytes[]);
            function releaseFees() external;
            function fees() external view returns (uint96);
            function treasury() external view returns (address);
            function committedAt(bytes32 commitment) external view returns (uint256);
            function nameOf(uint256 id)
                external view returns (address owner, uint40 expiry, uint32 version, uint24 subnames);
            function feeOf(uint256 period) external view returns (uint256);
            function priceOf(uint256 id) external view returns (uint256);
            function offerOf(uint256 id)
                external view returns (address buyer, uint96 amount, uint40 until, uint32 version);
            function leastOffer(uint256 id) external view returns (uint256);
            function reverseOf(address account) external view returns (uint256);
        }

        #[derive(Debug)]
        interface Vault {
            function lend(Registration registration, address operator)
                external returns (address loan, uint64 id);
            function withdraw(uint256 amount) external;
            function setLender(address named) external;
            function token() external view returns (address);
            function staking() external view returns (address);
            function owner() external view returns (address);
            function lender() external view returns (address);
            function loanOf(uint64 id) external view returns (address);
            function loansOf(uint64[] ids)
                external view returns (address[] loans, address[] operators);
            function loanFor(address operator, bytes32 ed25519Key) external view returns (address);
            function timesLent(bytes32 ed25519Key) external view returns (uint256);

            event Lent(
                address indexed loan, address indexed operator, bytes32 indexed ed25519Key, uint64 id
            );
        }

        #[derive(Debug)]
        interface Loan {
            function requestExit() external;
            function changeBeneficiary(address beneficiary) external;
            function giveBack() external returns (uint256 amount);
            function operator() external view returns (address);
            function id() external view returns (uint64);
        }
    }
}
pub use types::*;

/// What makes an ERC-1167 clone: this, the address of what is cloned, and that.
const CLONE: [&[u8]; 2] =
    [&hex!("3d602d80600a3d3981f3363d3d373d3d3d363d73"), &hex!("5af43d82803e903d91602b57fd5bf3")];

impl Registration {
    /// The registration of a candidate, whose operator keeps `fee` basis points of its rewards.
    ///
    /// # Errors
    /// When the candidate's proof of possession is no point that could be one.
    pub fn new(candidate: &Candidate, fee: u16) -> Result<Self, PointError> {
        let (r, s) = candidate.signature.0.split_at(32);
        Ok(Self {
            ed25519Key: FixedBytes(*candidate.node.as_bytes()),
            signatureR: FixedBytes::from_slice(r),
            signatureS: FixedBytes::from_slice(s),
            prefix: candidate.prefix_word(),
            fee,
            blsKey: candidate.bls.0.into(),
            proofOfPossession: candidate.possession.uncompressed()?.into(),
        })
    }

    /// Where the factory opens a contribution for this, of an operator who opened so many before.
    ///
    /// Nothing else can be there: the factory clones the contract that it made first, by `CREATE2`, with a salt
    /// of these three.
    pub fn contribution(&self, factory: Address, operator: Address, number: U256) -> Address {
        cloned(factory, (operator, number, self.clone()).abi_encode_params())
    }
}

/// Where a vault makes the loan of a node's stake to an operator, when it lent stakes for the node so often before.
///
/// Nothing else can be there, as with [`Registration::contribution`].
pub fn loan(vault: Address, operator: Address, node: &NodeId, number: U256) -> Address {
    cloned(vault, (operator, FixedBytes(*node.as_bytes()), number).abi_encode())
}

/// Where a contract clones the one that it made first.
fn cloned(maker: Address, salted: Vec<u8>) -> Address {
    let [before, behind] = CLONE;
    let code = [before, maker.create(1).as_slice(), behind].concat();
    maker.create2_from_code(keccak256(salted), code)
}

impl From<&ledger::Checkpoint> for Checkpoint {
    fn from(checkpoint: &ledger::Checkpoint) -> Self {
        let ledger::Checkpoint { border, previous, roots, .. } = checkpoint;
        Self {
            epoch: border.epoch,
            borderBlockHash: border.hash,
            previousDigest: *previous,
            rewardsRoot: roots.rewards,
            statesRoot: roots.states,
            swarmsRoot: roots.swarms,
            directoryRoot: roots.directory,
            namesRoot: roots.names,
        }
    }
}

/// The transaction that hands a checkpoint to its contract.
pub fn submission(contracts: &Contracts, checkpoint: &ledger::Checkpoint, signers: Signers) -> Call {
    let submit = types::Checkpoints::submitCall { checkpoint: checkpoint.into(), signers };
    let data = submit.abi_encode().into();
    // The contract takes one of an epoch.
    Call { to: Some(contracts.checkpoints), data, repeatable: true, ..Call::default() }
}

impl Signers {
    /// Those of `signers`, all who held a stake at the border, that are not `absent`, and the sum of their
    /// signatures; none when a key or the signature is no point that it could be.
    pub fn new(
        signers: &BTreeMap<StakeId, BlsKey>,
        absent: &[StakeId],
        signature: &BlsSignature,
    ) -> Option<Self> {
        let keys: Vec<BlsKey> = signers.values().copied().collect();
        let absent: BTreeSet<u32> =
            absent.iter().map(|id| u32::try_from(id.0)).collect::<Result<_, _>>().ok()?;
        Some(Self {
            aggregateKey: BlsKey::aggregate(&keys)?.0.into(),
            nodes: u64::try_from(keys.len()).ok()?,
            absent: absent.into_iter().flat_map(u32::to_be_bytes).collect(),
            signature: signature.uncompressed().ok()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloy::{
        primitives::{Bytes, LogData},
        sol_types::{SolEvent, SolInterface},
    };

    use super::*;
    use crate::settlement::contracts::signatures;

    /// The log of the factory, and where what it opened is.
    #[test]
    fn a_contribution_is_where_the_factory_opens_it() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../contracts/vectors/signatures.json")).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let factory: Address = text(&vectors["factory"]).parse().unwrap();
        let all = vectors["contributions"].as_array().unwrap();
        for vector in all {
            let topics =
                vector["topics"].as_array().unwrap().iter().map(|topic| text(topic).parse().unwrap());
            let data = LogData::new(topics.collect(), text(&vector["data"]).parse().unwrap()).unwrap();
            let created = ContributionFactory::Created::decode_log_data(&data).unwrap();
            let declared: Bytes = text(&vector["registration"]).parse().unwrap();
            let declared = Registration::abi_decode(&declared).unwrap();
            let at: Address = text(&vector["at"]).parse().unwrap();
            assert_eq!((created.contribution, created.ed25519Key), (at, declared.ed25519Key));
            assert_eq!(created.operator, text(&vector["operator"]).parse::<Address>().unwrap());
            assert_eq!(created.number, U256::from(vector["number"].as_u64().unwrap()));
            assert_eq!(declared.contribution(factory, created.operator, created.number), at);
        }
        assert!(all.len() >= 3 && all.iter().any(|vector| vector["number"] == 1));
    }

    #[test]
    fn all_that_is_called_is_there() {
        let there = |artifact: &str, kind: &str, selectors: Vec<&'static str>| {
            let signatures = signatures(artifact, kind);
            for selector in selectors {
                assert!(signatures.iter().any(|it| it == selector), "{selector}");
            }
        };
        fn of<I: SolInterface>(signature: fn([u8; 4]) -> Option<&'static str>) -> Vec<&'static str> {
            I::selectors().map(|selector| signature(selector).unwrap()).collect()
        }
        there(
            include_str!("../../contracts/artifacts/SessionToken.json"),
            "function",
            of::<Token::TokenCalls>(Token::TokenCalls::signature_by_selector),
        );
        there(
            include_str!("../../contracts/artifacts/SessionToken.json"),
            "event",
            vec!["Transfer(address,address,uint256)"],
        );
        there(
            include_str!("../../contracts/artifacts/BridgedSessionToken.json"),
            "function",
            of::<Token::TokenCalls>(Token::TokenCalls::signature_by_selector),
        );
        there(
            include_str!("../../contracts/artifacts/BridgedSessionToken.json"),
            "event",
            vec!["Transfer(address,address,uint256)"],
        );
        there(
            include_str!("../../contracts/artifacts/Staking.json"),
            "function",
            of::<Staking::StakingCalls>(Staking::StakingCalls::signature_by_selector),
        );
        type Factory = ContributionFactory::ContributionFactoryCalls;
        let factory = include_str!("../../contracts/artifacts/ContributionFactory.json");
        there(factory, "function", of::<Factory>(Factory::signature_by_selector));
        there(factory, "event", vec!["Created(address,address,bytes32,uint256)"]);
        there(
            include_str!("../../contracts/artifacts/Contribution.json"),
            "function",
            of::<Contribution::ContributionCalls>(Contribution::ContributionCalls::signature_by_selector),
        );
        there(
            include_str!("../../contracts/artifacts/Checkpoints.json"),
            "function",
            of::<Checkpoints::CheckpointsCalls>(Checkpoints::CheckpointsCalls::signature_by_selector),
        );
        there(
            include_str!("../../contracts/artifacts/RewardPool.json"),
            "function",
            of::<RewardPool::RewardPoolCalls>(RewardPool::RewardPoolCalls::signature_by_selector),
        );
        there(
            include_str!("../../contracts/artifacts/Names.json"),
            "function",
            of::<Names::NamesCalls>(Names::NamesCalls::signature_by_selector),
        );
        let vault = include_str!("../../contracts/artifacts/Vault.json");
        there(vault, "function", of::<Vault::VaultCalls>(Vault::VaultCalls::signature_by_selector));
        there(vault, "event", vec![Vault::Lent::SIGNATURE]);
        there(
            include_str!("../../contracts/artifacts/Loan.json"),
            "function",
            of::<Loan::LoanCalls>(Loan::LoanCalls::signature_by_selector),
        );
    }
}
