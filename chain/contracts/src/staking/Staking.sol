// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MerkleProofLib} from "solady/utils/MerkleProofLib.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {EventLog} from "../libraries/EventLog.sol";
import {Parameters} from "../libraries/Parameters.sol";
import {NodeSet} from "./NodeSet.sol";
import {StakeMath} from "./StakeMath.sol";
import {IContributions, IStates, Permit, Registration, Share} from "./StakingTypes.sol";
import {Tokens} from "./Tokens.sol";

/// @title Stakes of nodes
/// @notice Holds what nodes stake from registration to removal, and pays it back to whom it is recorded for, once.
/// A node leaves when a checkpoint says that it may, or by the escape hatch, `ESCAPE_DELAY` after an exit was
/// requested, whatever happens. Only a penalty is held back, of the operator's own share, at most
/// `MAX_PENALTY_BPS`. Amounts are in 10^-9 SESH, times in seconds.
/// @dev Share 0 is the operator's; whoever holds it acts as the operator.
contract Staking is NodeSet, Parameters {
    /// @notice How long after a request an exit needs nobody's leave.
    uint256 public constant ESCAPE_DELAY = 30 days;
    /// @notice How long after registration a share of less than a quarter cannot make its node leave.
    uint256 public constant SMALL_SHARE_LOCK = 30 days;
    /// @notice The most that a penalty can ever take of an operator's share, in basis points.
    uint256 public constant MAX_PENALTY_BPS = 1_000;

    /// @notice What a node stakes, in all.
    bytes32 public constant STAKING_REQUIREMENT = "stakingRequirement";
    /// @notice How long after a request a node serves on, in seconds.
    bytes32 public constant UNLOCK_TIME = "unlockTime";
    /// @notice The most that a penalty takes of an operator's share, in basis points.
    bytes32 public constant MAXIMUM_PENALTY = "maximumPenalty";

    /// @notice The states of a node in a checkpoint that are told apart here.
    uint8 public constant DEREGISTERED = 3;
    uint8 public constant RELEASED = 4;
    uint8 public constant REFUSED = 5;

    /// @notice The token that is staked.
    address public immutable token;
    /// @notice Where penalties go.
    address public immutable pool;
    /// @notice The contract whose states permit removals.
    IStates public immutable checkpoints;
    /// @notice The only one whose contributions may register nodes of several.
    IContributions public immutable contributions;

    /// @notice What is recorded of a node beside its shares; all zero once it is removed.
    struct Stake {
        uint64 registeredAt;
        uint64 exitRequestedAt;
        uint16 penaltyBps;
        uint8 shares;
    }

    struct Holding {
        address contributor;
        uint96 amount;
    }

    /// @notice What is recorded of a node.
    mapping(uint64 id => Stake) public stakeOf;
    mapping(uint64 id => mapping(uint256 index => Holding)) private holdings;

    /// @notice A node is registered. Numbered. `shares` begins with the operator's.
    event Registered(
        uint64 indexed number,
        uint64 indexed id,
        address indexed operator,
        bytes32 ed25519Key,
        bytes32 signatureR,
        bytes32 signatureS,
        bytes7 prefix,
        uint16 fee,
        bytes blsKey,
        Share[] shares
    );
    /// @notice A node leaves, and serves until `unlocksAt`. Numbered.
    event ExitRequested(uint64 indexed number, uint64 indexed id, address indexed by, uint64 unlocksAt);
    /// @notice A node is gone and its stake paid back but the penalty. Numbered. `how`: 0 released by a
    /// checkpoint, 1 by the escape hatch.
    event Removed(uint64 indexed number, uint64 indexed id, uint8 how, uint256 penalty);
    /// @notice Rewards of a share go to another beneficiary. Numbered.
    event BeneficiaryChanged(
        uint64 indexed number, uint64 indexed id, address indexed contributor, address beneficiary
    );
    /// @notice A share has another holder. Numbered; `BeneficiaryChanged` follows, to the new holder.
    event ShareHandedOver(uint64 indexed number, uint64 indexed id, address indexed from, address to);
    /// @notice A penalty is noted, for the case that the node leaves by the escape hatch. Not numbered.
    event PenaltyNoted(uint64 indexed id, uint16 penaltyBps);

    /// @notice There is no such node, or it is removed.
    error NoSuchNode(uint64 id);
    /// @notice The prefix is neither 4 and three bytes and zeros, nor 6 and six bytes.
    error BadPrefix(bytes7 prefix);
    /// @notice The fee is more than all.
    error FeeOutOfRange(uint16 fee, uint256 most);
    /// @notice Only contributions of the factory may register nodes of several.
    error NotAContribution(address caller);
    /// @notice The shares are none or more than a node may have.
    error BadNumberOfShares(uint256 shares, uint256 most);
    /// @notice The shares are not the staking requirement.
    error BadStake(uint256 staked, uint256 required);
    /// @notice The operator's share is less than a quarter.
    error OperatorShareTooSmall(uint256 amount, uint256 least);
    /// @notice Neither contributor nor beneficiary can be the zero address.
    error ZeroAddress();
    /// @notice The address holds no share of the node.
    error NotAContributor(uint64 id, address account);
    /// @notice The address holds a share of the node already.
    error AlreadyAContributor(uint64 id, address account);
    /// @notice An exit was requested before, and that is final.
    error ExitAlreadyRequested(uint64 id, uint64 requestedAt);
    /// @notice The share is too small to make the node leave before `until`.
    error ShareLocked(uint64 id, uint256 until);
    /// @notice No exit was requested.
    error ExitNotRequested(uint64 id);
    /// @notice The escape hatch opens later.
    error TooEarly(uint64 id, uint256 opens);
    /// @notice The last checkpoint does not have this state of the node.
    error NotInCheckpoint(uint64 id, uint8 state, uint16 penaltyBps);
    /// @notice The state does not permit it.
    error WrongState(uint64 id, uint8 state);

    /// @param owner_ the timelock that may change parameters
    /// @param requirement the first value of `stakingRequirement`
    /// @param unlockTime the first value of `unlockTime`
    /// @param maximumPenalty the first value of `maximumPenalty`
    constructor(
        address owner_,
        address token_,
        address pool_,
        IStates checkpoints_,
        IContributions contributions_,
        uint64 genesis_,
        uint64 epochSeconds_,
        uint256 requirement,
        uint256 unlockTime,
        uint256 maximumPenalty
    ) Parameters(owner_) EventLog(genesis_, epochSeconds_) {
        (token, pool, checkpoints, contributions) = (token_, pool_, checkpoints_, contributions_);
        _setParameter(STAKING_REQUIREMENT, requirement);
        _setParameter(UNLOCK_TIME, unlockTime);
        _setParameter(MAXIMUM_PENALTY, maximumPenalty);
    }

    /// @notice Registers the caller's node and takes the whole stake from the caller, who allowed it. Reverts with
    /// `BadPrefix`, `FeeOutOfRange`, `KeyInUse`, `BadProofOfPossession`, `ZeroAddress`, or as the token says.
    /// @param beneficiary who gets the rewards
    function register(Registration calldata registration, address beneficiary) public returns (uint64 id) {
        uint256 requirement = parameter[STAKING_REQUIREMENT];
        Share[] memory shares = new Share[](1);
        shares[0] = Share(msg.sender, beneficiary, requirement);
        return _register(registration, shares, requirement);
    }

    /// @notice As `register`, with the allowance by signature.
    function registerWithPermit(
        Registration calldata registration,
        address beneficiary,
        Permit calldata permit
    ) external returns (uint64 id) {
        Tokens.permit(token, permit);
        return register(registration, beneficiary);
    }

    /// @notice Registers a node of several, the operator first. Only a contribution of the factory may, which
    /// holds the stake and allowed it. Reverts as `register` does, and with `NotAContribution`,
    /// `BadNumberOfShares`, `BadStake`, `OperatorShareTooSmall`.
    function registerShared(Registration calldata registration, Share[] calldata shares)
        external
        returns (uint64 id)
    {
        if (!contributions.isContribution(msg.sender)) revert NotAContribution(msg.sender);
        return _register(registration, shares, parameter[STAKING_REQUIREMENT]);
    }

    /// @notice Makes a node leave; final. Any holder of a share may, one of less than a quarter only
    /// `SMALL_SHARE_LOCK` after registration. Reverts with `NotAContributor`, `ExitAlreadyRequested`,
    /// `ShareLocked`.
    function requestExit(uint64 id) external {
        Stake storage stake = stakeOf[id];
        uint256 index = _indexOf(id, msg.sender);
        if (stake.exitRequestedAt != 0) revert ExitAlreadyRequested(id, stake.exitRequestedAt);
        uint256 until = stake.registeredAt + SMALL_SHARE_LOCK;
        if (block.timestamp < until && StakeMath.isSmall(holdings[id][index].amount, _total(id))) {
            revert ShareLocked(id, until);
        }
        uint64 unlocksAt = uint64(block.timestamp + parameter[UNLOCK_TIME]);
        _record(ExitRequested.selector, _word(id), _word(msg.sender), abi.encode(unlocksAt));
        stake.exitRequestedAt = uint64(block.timestamp);
    }

    /// @notice Removes a node that the last checkpoint released, or whose registration it refused, and pays its
    /// stake back; anyone may. Reverts with `NoSuchNode`, `WrongState`, `NotInCheckpoint`.
    /// @param penaltyBps as the checkpoint has it; a refused registration is paid in full
    /// @param proof of the leaf `(id, state, penaltyBps)`
    function release(uint64 id, uint8 state, uint16 penaltyBps, bytes32[] calldata proof) external {
        if (state != RELEASED && state != REFUSED) revert WrongState(id, state);
        _checkState(id, state, penaltyBps, proof);
        _remove(id, 0, state == REFUSED ? 0 : penaltyBps);
    }

    /// @notice Notes the penalty of a node that the last checkpoint has as deregistered or released, so that the
    /// escape hatch does not go round it; anyone may. Reverts as `release` does.
    function notePenalty(uint64 id, uint8 state, uint16 penaltyBps, bytes32[] calldata proof) external {
        if (state != DEREGISTERED && state != RELEASED) revert WrongState(id, state);
        _checkState(id, state, penaltyBps, proof);
        stakeOf[id].penaltyBps = penaltyBps;
        emit PenaltyNoted(id, penaltyBps);
    }

    /// @notice The escape hatch: removes a node and pays its stake back, but a penalty that was noted,
    /// `ESCAPE_DELAY` after an exit was requested; anyone may, and nothing stops it. Reverts with `NoSuchNode`,
    /// `ExitNotRequested`, `TooEarly`.
    function escape(uint64 id) external {
        if (!isNode(id)) revert NoSuchNode(id);
        Stake storage stake = stakeOf[id];
        if (stake.exitRequestedAt == 0) revert ExitNotRequested(id);
        uint256 opens = stake.exitRequestedAt + ESCAPE_DELAY;
        if (block.timestamp < opens) revert TooEarly(id, opens);
        _remove(id, 1, stake.penaltyBps);
    }

    /// @notice Sends the rewards of the caller's share to another. Reverts with `NotAContributor`, `ZeroAddress`.
    function changeBeneficiary(uint64 id, address beneficiary) external {
        if (beneficiary == address(0)) revert ZeroAddress();
        _indexOf(id, msg.sender);
        _record(BeneficiaryChanged.selector, _word(id), _word(msg.sender), abi.encode(beneficiary));
    }

    /// @notice Gives the caller's share of a node to another, who then gets its rewards and its stake; the
    /// operator's share makes the new holder act as operator. Reverts with `NotAContributor`,
    /// `AlreadyAContributor`, `ZeroAddress`.
    function handOver(uint64 id, address to) external {
        if (to == address(0)) revert ZeroAddress();
        uint256 index = _indexOf(id, msg.sender);
        if (_find(id, to) != type(uint256).max) revert AlreadyAContributor(id, to);
        _record(ShareHandedOver.selector, _word(id), _word(msg.sender), abi.encode(to));
        _record(BeneficiaryChanged.selector, _word(id), _word(to), abi.encode(to));
        holdings[id][index].contributor = to;
    }

    /// @notice Who holds how much of a node, its operator first; empty once the node is removed.
    function sharesOf(uint64 id)
        external
        view
        returns (address[] memory contributors, uint256[] memory amounts)
    {
        uint256 count = stakeOf[id].shares;
        (contributors, amounts) = (new address[](count), new uint256[](count));
        for (uint256 i = 0; i < count; ++i) {
            (contributors[i], amounts[i]) = (holdings[id][i].contributor, holdings[id][i].amount);
        }
    }

    /// @inheritdoc Parameters
    function bounds(bytes32 name) public pure override returns (uint256 least, uint256 most) {
        if (name == STAKING_REQUIREMENT) return (100e9, 250_000e9);
        if (name == UNLOCK_TIME) return (1 minutes, 30 days);
        if (name == MAXIMUM_PENALTY) return (0, MAX_PENALTY_BPS);
        revert UnknownParameter(name);
    }

    function _register(Registration calldata registration, Share[] memory shares, uint256 requirement)
        private
        returns (uint64 id)
    {
        if (!_isPrefix(registration.prefix)) revert BadPrefix(registration.prefix);
        if (registration.fee > StakeMath.BPS) revert FeeOutOfRange(registration.fee, StakeMath.BPS);
        _checkShares(shares, requirement);
        id = nextId;
        _recordRegistration(id, registration, shares);
        _join(id, shares[0].contributor, registration.blsKey, registration.proofOfPossession);
        stakeOf[id] = Stake(uint64(block.timestamp), 0, 0, uint8(shares.length));
        for (uint256 i = 0; i < shares.length; ++i) {
            holdings[id][i] = Holding(shares[i].contributor, uint96(shares[i].amount));
        }
        SafeTransferLib.safeTransferFrom(token, msg.sender, address(this), requirement);
    }

    function _checkShares(Share[] memory shares, uint256 requirement) private pure {
        uint256 count = shares.length;
        if (count == 0 || count > StakeMath.MAX_CONTRIBUTORS) {
            revert BadNumberOfShares(count, StakeMath.MAX_CONTRIBUTORS);
        }
        uint256 total = 0;
        for (uint256 i = 0; i < count; ++i) {
            if (shares[i].contributor == address(0) || shares[i].beneficiary == address(0)) {
                revert ZeroAddress();
            }
            total += shares[i].amount;
        }
        if (total != requirement) revert BadStake(total, requirement);
        uint256 least = StakeMath.operatorMinimum(requirement);
        if (shares[0].amount < least) revert OperatorShareTooSmall(shares[0].amount, least);
    }

    function _recordRegistration(uint64 id, Registration calldata registration, Share[] memory shares)
        private
    {
        bytes memory data = abi.encode(
            registration.ed25519Key,
            registration.signatureR,
            registration.signatureS,
            registration.prefix,
            registration.fee,
            registration.blsKey,
            shares
        );
        _record(Registered.selector, _word(id), _word(shares[0].contributor), data);
    }

    /// @dev Pays all shares back and forgets them. What is held for others stays.
    function _remove(uint64 id, uint8 how, uint16 penaltyBps) private {
        uint256 count = stakeOf[id].shares;
        uint256 penalty = StakeMath.penalty(holdings[id][0].amount, penaltyBps, parameter[MAXIMUM_PENALTY]);
        _record(Removed.selector, _word(id), abi.encode(how, penalty));
        _leave(id);
        delete stakeOf[id];
        for (uint256 i = 0; i < count; ++i) {
            Holding memory holding = holdings[id][i];
            delete holdings[id][i];
            uint256 amount = i == 0 ? holding.amount - penalty : holding.amount;
            SafeTransferLib.safeTransfer(token, holding.contributor, amount);
        }
        if (penalty != 0) SafeTransferLib.safeTransfer(token, pool, penalty);
    }

    function _checkState(uint64 id, uint8 state, uint16 penaltyBps, bytes32[] calldata proof) private view {
        if (!isNode(id)) revert NoSuchNode(id);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(id, state, penaltyBps))));
        if (!MerkleProofLib.verifyCalldata(proof, checkpoints.statesRoot(), leaf)) {
            revert NotInCheckpoint(id, state, penaltyBps);
        }
    }

    function _indexOf(uint64 id, address account) private view returns (uint256 index) {
        index = _find(id, account);
        if (index == type(uint256).max) revert NotAContributor(id, account);
    }

    function _find(uint64 id, address account) private view returns (uint256) {
        uint256 count = stakeOf[id].shares;
        for (uint256 i = 0; i < count; ++i) {
            if (holdings[id][i].contributor == account) return i;
        }
        return type(uint256).max;
    }

    function _total(uint64 id) private view returns (uint256 total) {
        uint256 count = stakeOf[id].shares;
        for (uint256 i = 0; i < count; ++i) {
            total += holdings[id][i].amount;
        }
    }

    function _isPrefix(bytes7 prefix) private pure returns (bool) {
        if (prefix[0] == 0x06) return true;
        return prefix[0] == 0x04 && uint24(uint56(prefix)) == 0;
    }

    function _word(uint64 value) private pure returns (bytes32) {
        return bytes32(uint256(value));
    }

    function _word(address value) private pure returns (bytes32) {
        return bytes32(uint256(uint160(value)));
    }
}
