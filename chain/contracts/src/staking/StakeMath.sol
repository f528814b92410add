// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title How stakes are divided
/// @notice Amounts are in 10^-9 SESH.
library StakeMath {
    /// @notice How many may hold a share of a node, its operator among them.
    uint256 internal constant MAX_CONTRIBUTORS = 10;
    /// @notice Basis points of a whole.
    uint256 internal constant BPS = 10_000;

    /// @dev The least that an operator puts in: a quarter, rounded up.
    function operatorMinimum(uint256 requirement) internal pure returns (uint256) {
        return _divUp(requirement, 4);
    }

    /// @dev The least that the next contributor puts in: what is open, shared by the slots that are open, rounded
    /// up. So the last slot takes all that is left, and a node is never full of people but short of stake.
    function minimum(uint256 open, uint256 slots) internal pure returns (uint256) {
        return slots == 0 ? open : _divUp(open, slots);
    }

    /// @dev Whether a share is too small to make its node leave at once: less than a quarter of the whole.
    function isSmall(uint256 amount, uint256 whole) internal pure returns (bool) {
        return amount * 4 < whole;
    }

    /// @dev What an operator loses of its own stake, rounded down.
    function penalty(uint256 operatorStake, uint256 bps, uint256 mostBps) internal pure returns (uint256) {
        return operatorStake * (bps < mostBps ? bps : mostBps) / BPS;
    }

    function _divUp(uint256 a, uint256 b) private pure returns (uint256) {
        return a == 0 ? 0 : (a - 1) / b + 1;
    }
}
