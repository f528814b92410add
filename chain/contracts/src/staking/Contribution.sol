// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SSTORE2} from "solady/utils/SSTORE2.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {StakeMath} from "./StakeMath.sol";
import {IStaking, Permit, Registration, Share} from "./StakingTypes.sol";
import {Tokens} from "./Tokens.sol";

/// @notice A slot that is kept for somebody, for at least an amount in 10^-9 SESH.
struct Reservation {
    address contributor;
    uint256 amount;
}

/// @title One node, staked by several
/// @notice Open until its operator finalises it, which registers the node, or cancels it, which refunds everybody.
/// Whoever contributed can withdraw a day after their last contribution while it is open.
/// @dev A clone: what it is for is set by `open`, which only the factory calls, once.
contract Contribution {
    /// @notice How long after their last contribution somebody can withdraw, in seconds.
    uint256 public constant WITHDRAWAL_DELAY = 1 days;

    /// @notice What can be done: nothing, contribute, and twice nothing again.
    enum Status {
        Unopened,
        Open,
        Finalised,
        Cancelled
    }

    struct Part {
        address contributor;
        uint96 amount;
        address beneficiary;
        uint64 lastAt;
    }

    /// @notice The token that is staked.
    address public immutable token;
    /// @notice Where the node is registered.
    IStaking public immutable staking;
    /// @notice Who opens clones.
    address public immutable factory;

    /// @notice Whether it is open.
    Status public status;
    /// @notice The node's id once it is finalised.
    uint64 public id;
    /// @notice What all have contributed.
    uint96 public total;
    address private registrationAt;
    Part[] private parts;
    Reservation[] private reserved;

    /// @notice Somebody contributed.
    event Contributed(address indexed contributor, address beneficiary, uint256 amount);
    /// @notice Somebody withdrew all they had contributed, or was refunded.
    event Returned(address indexed contributor, uint256 amount);
    /// @notice Somebody's rewards will go to another beneficiary.
    event BeneficiaryChanged(address indexed contributor, address beneficiary);
    /// @notice Other slots are kept.
    event Reserved(Reservation[] reserved);
    /// @notice The node is registered.
    event Finalised(uint64 indexed id);
    /// @notice Everybody is refunded.
    event Cancelled();

    /// @notice It cannot be done in this status.
    error WrongStatus(Status status);
    /// @notice Only the factory may.
    error NotFactory(address caller);
    /// @notice Only the operator may.
    error NotOperator(address caller);
    /// @notice The operator cancels; it does not withdraw.
    error OperatorCancels();
    /// @notice The caller contributed nothing.
    error NotAContributor(address caller);
    /// @notice The amount is less than what the slot takes at least.
    error TooLittle(uint256 amount, uint256 least);
    /// @notice The amount is more than what is open to the contributor.
    error TooMuch(uint256 amount, uint256 most);
    /// @notice All slots, or all of the stake, are taken or reserved.
    error NoSlot();
    /// @notice The slot is reserved twice, or for somebody who contributed already.
    error ReservedTwice(address contributor);
    /// @notice Neither contributor nor beneficiary can be the zero address.
    error ZeroAddress();
    /// @notice The fee is more than all.
    error FeeOutOfRange(uint16 fee, uint256 most);
    /// @notice It can be withdrawn later.
    error TooEarly(uint256 opens);
    /// @notice The stake is not complete.
    error Incomplete(uint256 total, uint256 requirement);

    modifier whileOpen() {
        if (status != Status.Open) revert WrongStatus(status);
        _;
    }

    modifier onlyOperator() {
        if (msg.sender != operator()) revert NotOperator(msg.sender);
        _;
    }

    constructor(address token_, IStaking staking_) {
        (token, staking, factory) = (token_, staking_, msg.sender);
    }

    /// @notice Opens a clone, with the operator's own stake, which the factory brings. Reverts with `NotFactory`,
    /// `WrongStatus`, `FeeOutOfRange`, and as `contribute` and `reserve` do.
    function open(
        address operator_,
        Registration calldata registration_,
        uint256 amount,
        address beneficiary,
        Reservation[] calldata reserved_
    ) external {
        if (msg.sender != factory) revert NotFactory(msg.sender);
        if (status != Status.Unopened) revert WrongStatus(status);
        if (registration_.fee > StakeMath.BPS) revert FeeOutOfRange(registration_.fee, StakeMath.BPS);
        status = Status.Open;
        registrationAt = SSTORE2.write(abi.encode(registration_));
        _add(operator_, amount, beneficiary);
        _reserve(reserved_);
    }

    /// @notice Contributes; the caller allowed it. A first contribution takes a slot and is at least `minimum`;
    /// later ones add to it. Reverts with `WrongStatus`, `NoSlot`, `TooLittle`, `TooMuch`, `ZeroAddress`.
    /// @param beneficiary who gets the rewards, of earlier contributions too
    function contribute(uint256 amount, address beneficiary) public whileOpen {
        _add(msg.sender, amount, beneficiary);
        SafeTransferLib.safeTransferFrom(token, msg.sender, address(this), amount);
    }

    /// @notice As `contribute`, with the allowance by signature.
    function contributeWithPermit(uint256 amount, address beneficiary, Permit calldata permit) external {
        Tokens.permit(token, permit);
        contribute(amount, beneficiary);
    }

    /// @notice Pays all that the caller contributed back, a day after its last contribution. Reverts with
    /// `WrongStatus`, `NotAContributor`, `OperatorCancels`, `TooEarly`.
    function withdraw() external whileOpen {
        uint256 index = _indexOf(msg.sender);
        if (index == 0) revert OperatorCancels();
        Part memory part = parts[index];
        uint256 opens = part.lastAt + WITHDRAWAL_DELAY;
        if (block.timestamp < opens) revert TooEarly(opens);
        parts[index] = parts[parts.length - 1];
        parts.pop();
        total -= part.amount;
        _return(part);
    }

    /// @notice Keeps these slots for others, and no longer the ones before. Only the operator may; each amount is
    /// at least what a slot takes when those before it are taken. Reverts with `WrongStatus`, `NotOperator`,
    /// `NoSlot`, `TooLittle`, `TooMuch`, `ReservedTwice`, `ZeroAddress`.
    function reserve(Reservation[] calldata reserved_) external whileOpen onlyOperator {
        delete reserved;
        _reserve(reserved_);
    }

    /// @notice Registers the node once the stake is complete. Only the operator may. Reverts with `WrongStatus`,
    /// `NotOperator`, `Incomplete`, and as `Staking.registerShared` does.
    function finalise() external whileOpen onlyOperator {
        uint256 wanted = requirement();
        if (total != wanted) revert Incomplete(total, wanted);
        status = Status.Finalised;
        Share[] memory shares = new Share[](parts.length);
        for (uint256 i = 0; i < shares.length; ++i) {
            shares[i] = Share(parts[i].contributor, parts[i].beneficiary, parts[i].amount);
        }
        SafeTransferLib.safeApprove(token, address(staking), wanted);
        id = staking.registerShared(registration(), shares);
        emit Finalised(id);
    }

    /// @notice Refunds everybody, for good. Only the operator may. Reverts with `WrongStatus`, `NotOperator`.
    function cancel() external whileOpen onlyOperator {
        status = Status.Cancelled;
        total = 0;
        emit Cancelled();
        for (uint256 i = 0; i < parts.length; ++i) {
            _return(parts[i]);
        }
    }

    /// @notice Sends the rewards of the caller's contribution to another; once it is finalised,
    /// `Staking.changeBeneficiary` does. Reverts with `WrongStatus`, `NotAContributor`, `ZeroAddress`.
    function changeBeneficiary(address beneficiary) external whileOpen {
        if (beneficiary == address(0)) revert ZeroAddress();
        parts[_indexOf(msg.sender)].beneficiary = beneficiary;
        emit BeneficiaryChanged(msg.sender, beneficiary);
    }

    /// @notice What a node stakes in all at present.
    function requirement() public view returns (uint256) {
        return staking.parameter("stakingRequirement");
    }

    /// @notice Who opened it.
    function operator() public view returns (address) {
        return parts.length == 0 ? address(0) : parts[0].contributor;
    }

    /// @notice What the operator declared of the node.
    function registration() public view returns (Registration memory) {
        return abi.decode(SSTORE2.read(registrationAt), (Registration));
    }

    /// @notice Who contributed what, for which beneficiary, and when last; the operator first.
    function contributions() external view returns (Part[] memory) {
        return parts;
    }

    /// @notice The slots that are kept and not yet taken.
    function reservations() external view returns (Reservation[] memory) {
        return reserved;
    }

    /// @notice The least and the most that an account can contribute now; the most is zero if it cannot at all.
    function limits(address account) public view returns (uint256 least, uint256 most) {
        uint256 wanted = requirement();
        uint256 count = parts.length;
        if (count == 0) return (StakeMath.operatorMinimum(wanted), wanted);
        uint256 kept = 0;
        uint256 own = 0;
        for (uint256 i = 0; i < reserved.length; ++i) {
            if (reserved[i].contributor == account) own = reserved[i].amount;
            else kept += reserved[i].amount;
        }
        most = wanted > total + kept ? wanted - total - kept : 0;
        if (_find(account) < count) return (1, most);
        // A slot that is kept for the account is among those that are not free to others.
        uint256 slots = StakeMath.MAX_CONTRIBUTORS - count - reserved.length;
        if (own != 0) return (own < most ? own : most, most);
        if (slots == 0) return (0, 0);
        return (StakeMath.minimum(most, slots), most);
    }

    function _add(address account, uint256 amount, address beneficiary) private {
        if (beneficiary == address(0)) revert ZeroAddress();
        (uint256 least, uint256 most) = limits(account);
        if (least == 0 && most == 0) revert NoSlot();
        if (amount > most) revert TooMuch(amount, most);
        if (amount < least) revert TooLittle(amount, least);
        uint256 index = _find(account);
        if (index == parts.length) {
            _takeReservation(account);
            parts.push(Part(account, uint96(amount), beneficiary, uint64(block.timestamp)));
        } else {
            Part storage part = parts[index];
            (part.amount, part.beneficiary) = (part.amount + uint96(amount), beneficiary);
            part.lastAt = uint64(block.timestamp);
        }
        total += uint96(amount);
        emit Contributed(account, beneficiary, amount);
    }

    function _reserve(Reservation[] calldata reserved_) private {
        for (uint256 i = 0; i < reserved_.length; ++i) {
            Reservation calldata slot = reserved_[i];
            if (slot.contributor == address(0)) revert ZeroAddress();
            if (_find(slot.contributor) != parts.length || _isReserved(slot.contributor)) {
                revert ReservedTwice(slot.contributor);
            }
            (uint256 least, uint256 most) = limits(slot.contributor);
            if (most == 0) revert NoSlot();
            if (slot.amount > most) revert TooMuch(slot.amount, most);
            if (slot.amount < least) revert TooLittle(slot.amount, least);
            reserved.push(slot);
        }
        emit Reserved(reserved_);
    }

    function _takeReservation(address account) private {
        for (uint256 i = 0; i < reserved.length; ++i) {
            if (reserved[i].contributor != account) continue;
            reserved[i] = reserved[reserved.length - 1];
            reserved.pop();
            return;
        }
    }

    function _return(Part memory part) private {
        emit Returned(part.contributor, part.amount);
        SafeTransferLib.safeTransfer(token, part.contributor, part.amount);
    }

    function _isReserved(address account) private view returns (bool) {
        for (uint256 i = 0; i < reserved.length; ++i) {
            if (reserved[i].contributor == account) return true;
        }
        return false;
    }

    function _indexOf(address account) private view returns (uint256 index) {
        index = _find(account);
        if (index == parts.length) revert NotAContributor(account);
    }

    function _find(address account) private view returns (uint256 index) {
        uint256 count = parts.length;
        while (index < count && parts[index].contributor != account) ++index;
    }
}
