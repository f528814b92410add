// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC1363} from "@openzeppelin/contracts/token/ERC20/extensions/ERC1363.sol";
import {ERC20, ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ICustomToken, IGatewayRouter, IL1CustomGateway} from "./Arbitrum.sol";

/// @title Session Token, on Ethereum
/// @notice 240,000,000 SESH of 10^9 units each, all issued at once: none is made or burnt later.
/// With permit (EIP-2612), with `transferAndCall` (ERC-1363), and with what Arbitrum's custom gateway asks.
contract SessionToken is ERC20Permit, ERC1363, ICustomToken {
    /// @notice All there is, in 10^-9 SESH.
    uint256 public constant SUPPLY = 240_000_000e9;

    /// @notice Who may pair this token with its counterpart. Whoever came first could pair it with any other.
    address public immutable registrar;
    /// @notice Arbitrum's custom gateway on Ethereum.
    IL1CustomGateway public immutable gateway;
    /// @notice Arbitrum's gateway router on Ethereum.
    IGatewayRouter public immutable router;

    bool private registering;

    /// @notice Only the registrar may pair the token.
    error NotRegistrar(address caller, address registrar);
    /// @notice The value sent is not what the two messages get.
    error BadValue(uint256 sent, uint256 wanted);

    /// @param holder gets the supply
    /// @param registrar_ may pair this token with its counterpart
    constructor(address holder, address registrar_, IL1CustomGateway gateway_, IGatewayRouter router_)
        ERC20("Session Token", "SESH")
        ERC20Permit("Session Token")
    {
        (registrar, gateway, router) = (registrar_, gateway_, router_);
        _mint(holder, SUPPLY);
    }

    /// @notice 9: one SESH is 10^9 units.
    function decimals() public pure override returns (uint8) {
        return 9;
    }

    /// @inheritdoc ICustomToken
    function isArbitrumEnabled() external view returns (uint8) {
        return registering ? 0xb1 : 0;
    }

    /// @notice Pairs this token with its counterpart on Arbitrum, by a message through each of gateway and router.
    /// Only the registrar may; reverts with `NotRegistrar` or `BadValue`. Arbitrum credits what is left over to
    /// `creditBackAddress`.
    function registerTokenOnL2(
        address l2TokenAddress,
        uint256 maxSubmissionCostForCustomGateway,
        uint256 maxSubmissionCostForRouter,
        uint256 maxGasForCustomGateway,
        uint256 maxGasForRouter,
        uint256 gasPriceBid,
        uint256 valueForGateway,
        uint256 valueForRouter,
        address creditBackAddress
    ) external payable {
        if (msg.sender != registrar) revert NotRegistrar(msg.sender, registrar);
        if (msg.value != valueForGateway + valueForRouter) {
            revert BadValue(msg.value, valueForGateway + valueForRouter);
        }
        registering = true;
        gateway.registerTokenToL2{value: valueForGateway}(
            l2TokenAddress,
            maxGasForCustomGateway,
            gasPriceBid,
            maxSubmissionCostForCustomGateway,
            creditBackAddress
        );
        router.setGateway{value: valueForRouter}(
            address(gateway), maxGasForRouter, gasPriceBid, maxSubmissionCostForRouter, creditBackAddress
        );
        registering = false;
    }
}
