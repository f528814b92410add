// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC1363} from "@openzeppelin/contracts/token/ERC20/extensions/ERC1363.sol";
import {ERC20, ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {IArbToken} from "./Arbitrum.sol";

/// @title Session Token, on Arbitrum
/// @notice The counterpart of what Arbitrum's custom gateway holds on Ethereum. With permit (EIP-2612)
/// and `transferAndCall` (ERC-1363).
contract BridgedSessionToken is ERC20Permit, ERC1363, IArbToken {
    /// @notice Arbitrum's custom gateway on Arbitrum: the only one that makes or burns tokens.
    address public immutable gateway;
    /// @inheritdoc IArbToken
    address public immutable l1Address;

    /// @notice Only the gateway may make or burn tokens.
    error NotGateway(address caller, address gateway);

    modifier onlyGateway() {
        if (msg.sender != gateway) revert NotGateway(msg.sender, gateway);
        _;
    }

    /// @param gateway_ Arbitrum's custom gateway on Arbitrum
    /// @param l1Address_ the token on Ethereum
    constructor(address gateway_, address l1Address_)
        ERC20("Session Token", "SESH")
        ERC20Permit("Session Token")
    {
        (gateway, l1Address) = (gateway_, l1Address_);
    }

    /// @notice 9: one SESH is 10^9 units.
    function decimals() public pure override returns (uint8) {
        return 9;
    }

    /// @inheritdoc IArbToken
    function bridgeMint(address account, uint256 amount) external onlyGateway {
        _mint(account, amount);
    }

    /// @inheritdoc IArbToken
    function bridgeBurn(address account, uint256 amount) external onlyGateway {
        _burn(account, amount);
    }
}
