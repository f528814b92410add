// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What Arbitrum's gateway and tools ask of a token on Ethereum
interface ICustomToken {
    /// @notice Pairs the token with its counterpart on Arbitrum; costs are in wei, gas is Arbitrum's.
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
    ) external payable;

    /// @notice 0xb1 while the token registers itself.
    function isArbitrumEnabled() external view returns (uint8);
}

/// @title What Arbitrum's gateway asks of a token's counterpart on Arbitrum
interface IArbToken {
    /// @notice Makes tokens for what is locked on Ethereum. Only the gateway may.
    function bridgeMint(address account, uint256 amount) external;
    /// @notice Burns tokens whose counterpart is unlocked on Ethereum. Only the gateway may.
    function bridgeBurn(address account, uint256 amount) external;
    /// @notice The token on Ethereum.
    function l1Address() external view returns (address);
}

/// @title Arbitrum's custom gateway on Ethereum, as far as it is used
interface IL1CustomGateway {
    /// @notice Pairs the calling token with `l2Address`.
    function registerTokenToL2(
        address l2Address,
        uint256 maxGas,
        uint256 gasPriceBid,
        uint256 maxSubmissionCost,
        address creditBackAddress
    ) external payable returns (uint256);
}

/// @title Arbitrum's gateway router on Ethereum, as far as it is used
interface IGatewayRouter {
    /// @notice Sends transfers of the calling token through `gateway`.
    function setGateway(
        address gateway,
        uint256 maxGas,
        uint256 gasPriceBid,
        uint256 maxSubmissionCost,
        address creditBackAddress
    ) external payable returns (uint256);
}
