// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What a node declares.
/// @param ed25519Key its identity. Nobody owns one on chain: the nodes take the first that its signature fits
/// @param signatureR the first half of that key's signature, which nodes check, over
/// `"session-register-1" ‖ chain id ‖ staking contract ‖ operator ‖ prefix ‖ blsKey`, packed
/// @param signatureS the second half
/// @param prefix the addresses that it serves from: 4 and the 3 bytes of a /24 and zeros, or 6 and the 6 of a /48
/// @param fee what its operator takes of the others' rewards, in basis points
/// @param blsKey its key for checkpoints, 96 bytes; see `Bls`
/// @param proofOfPossession that key's signature over `possessionMessage`, 192 bytes; it holds for one registration
/// of the key, and with it what the Ed25519 key signed, which names the BLS key
struct Registration {
    bytes32 ed25519Key;
    bytes32 signatureR;
    bytes32 signatureS;
    bytes7 prefix;
    uint16 fee;
    bytes blsKey;
    bytes proofOfPossession;
}

/// @notice What somebody has in a node: who gets it back, who gets its rewards, and how much, in 10^-9 SESH.
struct Share {
    address contributor;
    address beneficiary;
    uint256 amount;
}

/// @notice An allowance of the token by signature (EIP-2612), for the contract that is called.
struct Permit {
    uint256 value;
    uint256 deadline;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// @title What staking asks of checkpoints
interface IStates {
    /// @notice The Merkle root over the states of nodes, of the last checkpoint.
    function statesRoot() external view returns (bytes32);
}

/// @title What staking asks of the factory of contributions
interface IContributions {
    /// @notice Whether the factory made it.
    function isContribution(address account) external view returns (bool);
}

/// @title What contributions ask of staking
interface IStaking {
    /// @notice The factory whose contributions it takes.
    function contributions() external view returns (IContributions);
    /// @notice The token that is staked.
    function token() external view returns (address);
    /// @notice The value of a parameter.
    function parameter(bytes32 name) external view returns (uint256);
    /// @notice Registers a node with several shares.
    function registerShared(Registration calldata registration, Share[] calldata shares)
        external
        returns (uint64 id);
}
