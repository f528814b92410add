// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {Permit} from "./StakingTypes.sol";

/// @title Allowances by signature
library Tokens {
    /// @dev Uses the caller's permit for this contract. One that somebody used before has done its work, so a
    /// refusal is not an error: what then lacks is the allowance, and the transfer says so.
    function permit(address token, Permit calldata given) internal {
        try IERC20Permit(token)
            .permit(msg.sender, address(this), given.value, given.deadline, given.v, given.r, given.s) {}
            catch {}
    }
}
