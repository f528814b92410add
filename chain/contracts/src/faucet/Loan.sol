// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {Staking} from "../staking/Staking.sol";
import {Registration} from "../staking/StakingTypes.sol";

/// @title One node's stake, lent by a vault
/// @notice Holds the operator's share of the node, which is all of it. Rewards go to whom the stake was lent; the
/// stake goes back to the vault and nowhere else, for nothing here hands a share over or sends tokens to anybody else.
/// @dev A clone: what it is for is set by `open`, which only the vault calls, once.
contract Loan {
    /// @notice The token that is staked.
    address public immutable token;
    /// @notice Where the node is registered.
    Staking public immutable staking;
    /// @notice Who opens clones, and gets back what was lent.
    address public immutable vault;
    /// @notice Who owns the vault.
    address public immutable owner;

    /// @notice Whom the stake was lent to.
    address public operator;
    /// @notice The node's id.
    uint64 public id;

    /// @notice Only the vault may.
    error NotVault(address caller);
    /// @notice Only the operator may, and of some things the vault's owner.
    error NotOperator(address caller);

    constructor(address token_, Staking staking_, address owner_) {
        (token, staking, vault, owner) = (token_, staking_, msg.sender, owner_);
    }

    /// @notice Registers the node with the stake that the vault has sent here. Only the vault may. Reverts with
    /// `NotVault`, and as `Staking.register` does.
    function open(address operator_, Registration calldata registration, uint256 stake)
        external
        returns (uint64)
    {
        if (msg.sender != vault) revert NotVault(msg.sender);
        operator = operator_;
        SafeTransferLib.safeApprove(token, address(staking), stake);
        return id = staking.register(registration, operator_);
    }

    /// @notice Makes the node leave; final. Its operator may, and the vault's owner. Reverts with `NotOperator`, and as
    /// `Staking.requestExit` does.
    function requestExit() external {
        if (msg.sender != operator && msg.sender != owner) revert NotOperator(msg.sender);
        staking.requestExit(id);
    }

    /// @notice Sends the node's rewards to another. Only its operator may. Reverts with `NotOperator`, and as
    /// `Staking.changeBeneficiary` does.
    function changeBeneficiary(address beneficiary) external {
        if (msg.sender != operator) revert NotOperator(msg.sender);
        staking.changeBeneficiary(id, beneficiary);
    }

    /// @notice Sends all tokens that are here back to the vault; anyone may. They are here once `Staking.release` or
    /// `Staking.escape` has paid the stake back.
    function giveBack() external returns (uint256 amount) {
        return SafeTransferLib.safeTransferAll(token, vault);
    }
}
