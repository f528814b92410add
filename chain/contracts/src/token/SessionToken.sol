// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20, ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {IArbitrumEnabled, IGatewayRouter, IL1CustomGateway} from "./Arbitrum.sol";

/// @title Session Token, on Ethereum
/// @notice 240,000,000 SESH of 10^9 units each, all issued at once: none is made or burnt later.
/// With permit (EIP-2612), and with what Arbitrum's custom gateway asks.
contract SessionToken is ERC20Permit, IArbitrumEnabled {
    /// @notice All there is, in 10^-9 SESH.
    uint256 public constant SUPPLY = 240_000_000e9;

    /// @notice Who may pair this token with its counterpart. Whoever came first could pair it with any other.
    address public immutable registrar;
    /// @notice Arbitrum's custom gateway on Ethereum.
    IL1CustomGateway public immutable gateway;
    /// @notice Arbitrum's gateway router on Ethereum.
    IGatewayRouter public immutable router;

    bool private registering;

    /// @notice What pairing costs: gas on Arbitrum, its price, and the value for each of two messages.
    struct Costs {
        uint256 maxSubmissionCostForGateway;
        uint256 maxSubmissionCostForRouter;
        uint256 maxGasForGateway;
        uint256 maxGasForRouter;
        uint256 gasPriceBid;
        uint256 valueForGateway;
        uint256 valueForRouter;
    }

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

    /// @inheritdoc IArbitrumEnabled
    function isArbitrumEnabled() external view returns (uint8) {
        return registering ? 0xb1 : 0;
    }

    /// @notice Pairs this token with its counterpart `l2Address` on Arbitrum. Only the registrar may; reverts with
    /// `NotRegistrar` or `BadValue`. Arbitrum credits what is left over to `creditBack`.
    function registerTokenOnL2(address l2Address, Costs calldata costs, address creditBack) external payable {
        if (msg.sender != registrar) revert NotRegistrar(msg.sender, registrar);
        uint256 wanted = costs.valueForGateway + costs.valueForRouter;
        if (msg.value != wanted) revert BadValue(msg.value, wanted);
        registering = true;
        gateway.registerTokenToL2{value: costs.valueForGateway}(
            l2Address,
            costs.maxGasForGateway,
            costs.gasPriceBid,
            costs.maxSubmissionCostForGateway,
            creditBack
        );
        router.setGateway{value: costs.valueForRouter}(
            address(gateway),
            costs.maxGasForRouter,
            costs.gasPriceBid,
            costs.maxSubmissionCostForRouter,
            creditBack
        );
        registering = false;
    }
}
