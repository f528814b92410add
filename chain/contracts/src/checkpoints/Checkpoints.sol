// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";
import {MerkleProofLib} from "solady/utils/MerkleProofLib.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {RewardPool} from "../RewardPool.sol";
import {Bls} from "../libraries/Bls.sol";
import {EventLog} from "../libraries/EventLog.sol";
import {Parameters} from "../libraries/Parameters.sol";
import {Names} from "../names/Names.sol";
import {Staking} from "../staking/Staking.sol";

/// @notice What nodes say of the border of an epoch, beside what the contracts know themselves.
/// @param epoch whose border it is
/// @param borderBlockHash the hash of the last block before the border
/// @param previousDigest the digest of the epoch before, taken here or not; zero for epoch 0
/// @param rewardsRoot over `(address account, uint256 lifetimeTotal)`
/// @param statesRoot over `(uint64 id, uint8 state, uint16 penaltyBps)`
/// @param swarmsRoot over the swarm map
/// @param directoryRoot over the directory
/// @param namesRoot over the names
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

/// @notice Who signed a checkpoint.
/// @param aggregateKey the sum of all keys at the border, 96 bytes
/// @param nodes how many nodes there were at the border
/// @param absent the ids of those that did not sign, ascending, 4 bytes each, big endian
/// @param signature the sum of the signatures of all others, 192 bytes; see `Bls`
struct Signers {
    bytes aggregateKey;
    uint64 nodes;
    bytes absent;
    bytes signature;
}

/// @title What the nodes agree on, and rewards
/// @notice Takes the checkpoint of an epoch, signed by more than two thirds of the nodes that there were at its
/// border, and pays rewards by its root: never more than the pool released. Amounts are in 10^-9 SESH.
contract Checkpoints is Parameters, EventLog {
    /// @notice The least number of nodes at a border whose checkpoint is taken.
    bytes32 public constant MINIMUM_NODES = "minimumNodes";
    /// @notice What whoever submits a checkpoint is credited in a later root, in 10^-9 SESH.
    bytes32 public constant SUBMITTER_REWARD = "submitterReward";
    /// @notice For how long a node is active before it is rewarded, in seconds.
    bytes32 public constant ACTIVE_FOR = "activeFor";

    /// @notice The token that is paid.
    address public immutable token;
    /// @notice Where rewards come from.
    RewardPool public immutable pool;
    /// @notice Who the nodes are.
    Staking public immutable staking;
    /// @notice What nodes know of names.
    Names public immutable names;

    // All that a claim needs but the root and what the account claimed: it shares a slot.

    /// @notice Whether claims are stopped.
    bool public paused;
    /// @notice All that was ever claimed.
    uint72 public paid;
    /// @notice What the pool had released when the last checkpoint was taken: what all claims can come to.
    uint72 public funded;

    /// @notice The root that claims are proved against.
    bytes32 public rewardsRoot;
    /// @notice The root that states of nodes are proved against.
    bytes32 public statesRoot;
    /// @notice The digest of the last checkpoint.
    bytes32 public lastDigest;
    /// @notice The epoch after the last checkpoint's; zero before the first.
    uint64 public nextEpoch;
    /// @notice Who, beside the owner, may stop claims and let them go on.
    address public guardian;
    /// @notice What an account has claimed, in all.
    mapping(address account => uint256) public claimed;

    /// @notice A checkpoint is taken. Numbered.
    event Accepted(uint64 indexed number, uint64 indexed epoch, address indexed submitter, bytes32 digest);
    /// @notice Rewards are paid. Not numbered: what an account earns does not depend on what it claimed, so the
    /// nodes do not follow claims, and a claim costs no more after a border than before it.
    event Claimed(address indexed account, address to, uint256 amount);
    /// @notice Claims are stopped, or go on. Not numbered.
    event PausedChanged(bool paused, address by);
    /// @notice There is another guardian. Not numbered.
    event GuardianChanged(address guardian);

    /// @notice A checkpoint of this epoch or a later one is taken already.
    error EpochTaken(uint64 epoch, uint64 next);
    /// @notice The checkpoint does not follow the one before.
    error WrongPrevious(bytes32 given, bytes32 wanted);
    /// @notice There were too few nodes at the border.
    error TooFewNodes(uint256 nodes, uint256 least);
    /// @notice It takes more than two thirds of the nodes at the border.
    error TooFewSigners(uint256 signers, uint256 nodes);
    /// @notice The signature does not fit the checkpoint and its signers.
    error BadSignature(bytes32 digest);
    /// @notice Claims are stopped.
    error ClaimsPaused();
    /// @notice The last checkpoint has no such total of the account.
    error NotInCheckpoint(address account, uint256 lifetimeTotal);
    /// @notice All of the total is claimed.
    error NothingToClaim(uint256 lifetimeTotal, uint256 claimed);
    /// @notice Claims would come to more than the pool released.
    error MoreThanReleased(uint256 paid, uint256 released);
    /// @notice The contracts were not deployed for each other, or with other epochs.
    error Miswired();
    /// @notice Only owner and guardian may.
    error NotGuardian(address caller);

    /// @param owner_ the timelock that may change parameters
    /// @param guardian_ who may stop claims
    /// @param minimumNodes the first value of `minimumNodes`
    /// @param submitterReward the first value of `submitterReward`
    /// @param activeFor the first value of `activeFor`
    constructor(
        address owner_,
        address guardian_,
        address token_,
        RewardPool pool_,
        Staking staking_,
        Names names_,
        uint64 genesis_,
        uint64 epochSeconds_,
        uint256 minimumNodes,
        uint256 submitterReward,
        uint256 activeFor
    ) Parameters(owner_) EventLog(genesis_, epochSeconds_) {
        (guardian, token, pool, staking, names) = (guardian_, token_, pool_, staking_, names_);
        _checkWiring();
        _setParameter(MINIMUM_NODES, minimumNodes);
        _setParameter(SUBMITTER_REWARD, submitterReward);
        _setParameter(ACTIVE_FOR, activeFor);
    }

    /// @notice Takes a checkpoint, and releases from the pool what has accrued; anyone may, and the nodes credit
    /// the caller. Reverts with `EpochTaken`, `BorderAhead`, `BorderForgotten`, `WrongPrevious`, `TooFewNodes`,
    /// `TooFewSigners`, `BadSignature`, and as `NodeSet.signersAt` does.
    function submit(Checkpoint calldata checkpoint, Signers calldata signers) external {
        uint64 epoch = checkpoint.epoch;
        if (epoch < nextEpoch) revert EpochTaken(epoch, nextEpoch);
        if (epoch == nextEpoch && checkpoint.previousDigest != lastDigest) {
            revert WrongPrevious(checkpoint.previousDigest, lastDigest);
        }
        bytes32 signed = digest(checkpoint);
        _checkSigners(epoch, signed, signers);

        _record(
            Accepted.selector,
            bytes32(uint256(epoch)),
            bytes32(uint256(uint160(msg.sender))),
            abi.encode(signed)
        );
        pool.release();
        (lastDigest, rewardsRoot, statesRoot) = (signed, checkpoint.rewardsRoot, checkpoint.statesRoot);
        (nextEpoch, funded) = (epoch + 1, uint72(pool.released()));
    }

    /// @notice Pays the caller's rewards, all that it has not claimed, to any address. Reverts with
    /// `ClaimsPaused`, `NotInCheckpoint`, `NothingToClaim`, `MoreThanReleased`.
    /// @param lifetimeTotal all that the caller was ever credited, as the last checkpoint has it
    /// @param proof of the leaf `(caller, lifetimeTotal)`
    function claim(uint256 lifetimeTotal, bytes32[] calldata proof, address to)
        external
        returns (uint256 amount)
    {
        if (paused) revert ClaimsPaused();
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(msg.sender, lifetimeTotal))));
        if (!MerkleProofLib.verifyCalldata(proof, rewardsRoot, leaf)) {
            revert NotInCheckpoint(msg.sender, lifetimeTotal);
        }
        uint256 before = claimed[msg.sender];
        if (lifetimeTotal <= before) revert NothingToClaim(lifetimeTotal, before);
        amount = lifetimeTotal - before;
        uint256 total = paid + amount;
        if (total > funded) revert MoreThanReleased(total, funded);

        claimed[msg.sender] = lifetimeTotal;
        paid = uint72(total);
        emit Claimed(msg.sender, to, amount);
        SafeTransferLib.safeTransfer(token, to, amount);
    }

    /// @notice Stops claims, or lets them go on; nothing else stops. Owner and guardian may.
    function setPaused(bool paused_) external {
        if (msg.sender != guardian && msg.sender != owner()) revert NotGuardian(msg.sender);
        paused = paused_;
        emit PausedChanged(paused_, msg.sender);
    }

    /// @notice Names another guardian; zero for none. Only the owner may.
    function setGuardian(address guardian_) external onlyOwner {
        guardian = guardian_;
        emit GuardianChanged(guardian_);
    }

    /// @notice What the nodes sign of a checkpoint: with what the contracts themselves knew at its border.
    /// Reverts with `BorderAhead` or `BorderForgotten`.
    function digest(Checkpoint calldata checkpoint) public view returns (bytes32) {
        return keccak256(bytes.concat(_place(checkpoint), _events(checkpoint.epoch), _roots(checkpoint)));
    }

    /// @inheritdoc Parameters
    function bounds(bytes32 name) public pure override returns (uint256 least, uint256 most) {
        if (name == MINIMUM_NODES) return (4, 1_000);
        if (name == SUBMITTER_REWARD) return (0, 1_000e9);
        if (name == ACTIVE_FOR) return (0, 7 days);
        revert UnknownParameter(name);
    }

    /// @dev The others are deployed before this one, for the address that it will have.
    function _checkWiring() private view {
        bool known = pool.beneficiary() == address(this) && address(staking.checkpoints()) == address(this)
            && staking.pool() == address(pool) && address(names.pool()) == address(pool);
        bool sameToken = pool.token() == token && staking.token() == token && names.token() == token;
        bool sameEpochs = pool.genesis() == genesis && pool.epochSeconds() == epochSeconds
            && staking.genesis() == genesis && staking.epochSeconds() == epochSeconds
            && names.genesis() == genesis && names.epochSeconds() == epochSeconds;
        if (!known || !sameToken || !sameEpochs) revert Miswired();
    }

    function _checkSigners(uint64 epoch, bytes32 signed, Signers calldata signers) private view {
        (BLS.G1Point memory key, uint256 count) =
            staking.signersAt(epoch, signers.aggregateKey, signers.nodes, signers.absent);
        uint256 least = parameter[MINIMUM_NODES];
        if (signers.nodes < least) revert TooFewNodes(signers.nodes, least);
        if (count * 3 <= uint256(signers.nodes) * 2) revert TooFewSigners(count, signers.nodes);
        if (!Bls.verify(key, abi.encodePacked(signed), Bls.signature(signers.signature))) {
            revert BadSignature(signed);
        }
    }

    function _place(Checkpoint calldata checkpoint) private view returns (bytes memory) {
        return abi.encode(
            bytes32("session-checkpoint-1"),
            block.chainid,
            address(this),
            checkpoint.epoch,
            checkpoint.borderBlockHash,
            checkpoint.previousDigest
        );
    }

    function _events(uint64 epoch) private view returns (bytes memory) {
        (uint64 stakingNumber, bytes32 stakingHash) = staking.eventsAt(epoch);
        (uint64 ownNumber, bytes32 ownHash) = eventsAt(epoch);
        (uint64 poolNumber, bytes32 poolHash) = pool.eventsAt(epoch);
        (uint64 namesNumber, bytes32 namesHash) = names.eventsAt(epoch);
        return abi.encode(
            stakingNumber, stakingHash, ownNumber, ownHash, poolNumber, poolHash, namesNumber, namesHash
        );
    }

    function _roots(Checkpoint calldata checkpoint) private pure returns (bytes memory) {
        return abi.encode(
            checkpoint.rewardsRoot,
            checkpoint.statesRoot,
            checkpoint.swarmsRoot,
            checkpoint.directoryRoot,
            checkpoint.namesRoot
        );
    }
}
