// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {EventLog} from "./libraries/EventLog.sol";

/// @title The pool that rewards come from
/// @notice Pays 15.1 % a year, simple, of its balance to `beneficiary`, whoever asks. Released daily that is
/// 14 % a year. Nothing else leaves it, and it has no owner. Amounts are in 10^-9 SESH.
contract RewardPool is EventLog {
    /// @notice What a year pays of a balance, in thousandths.
    uint256 public constant YEARLY_PER_MILLE = 151;

    /// @notice The token that is paid.
    address public immutable token;
    /// @notice Where releases go: the contract that pays claims.
    address public immutable beneficiary;

    /// @notice All that was ever released. One slot holds it, the time, and the number of the last event.
    uint88 public released;
    /// @notice When the last release was, in seconds since 1970; at first, when the pool began.
    uint64 public releasedAt;

    /// @notice Something was released. Numbered.
    event Released(uint64 indexed number, uint256 amount);

    constructor(address token_, address beneficiary_, uint64 genesis_, uint64 epochSeconds_)
        EventLog(genesis_, epochSeconds_)
    {
        (token, beneficiary, releasedAt) = (token_, beneficiary_, uint64(block.timestamp));
    }

    /// @notice Releases what has accrued; anyone may. Does nothing while that is zero, and the time counts on.
    function release() external returns (uint256 amount) {
        amount = releasable();
        if (amount == 0) return 0;
        _record(Released.selector, abi.encode(amount));
        released += uint88(amount);
        releasedAt = uint64(block.timestamp);
        SafeTransferLib.safeTransfer(token, beneficiary, amount);
    }

    /// @notice What `release` would release now.
    function releasable() public view returns (uint256) {
        return payout(SafeTransferLib.balanceOf(token, address(this)), block.timestamp - releasedAt);
    }

    /// @notice What a balance pays in some seconds, rounded down; never more than itself.
    function payout(uint256 balance, uint256 duration) public pure returns (uint256) {
        uint256 due = balance * YEARLY_PER_MILLE * duration / (1000 * 365 days);
        return due < balance ? due : balance;
    }
}
