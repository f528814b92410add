// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Records whatever events it is told to, as the contracts record theirs
/// @notice For tests of those who follow events.
contract Recorder {
    uint64 public eventNumber;
    bytes32 public rollingHash;

    /// @notice An error that nobody else has.
    error Refused(uint256 wanted, uint256 most);
    /// @notice As the staking contract has it.
    error NoSuchNode(uint64 id);

    /// @notice Records an event with up to two topics beside its number; those that are zero are left out.
    function record(bytes32 topic, bytes32 first, bytes32 second, bytes memory data) public {
        uint256 topics = second != 0 ? 4 : first != 0 ? 3 : 2;
        (bytes32 hash, uint64 next) = (rollingHash, eventNumber + 1);
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, topic)
            mstore(add(start, 0x20), next)
            mstore(add(start, 0x40), first)
            mstore(add(start, 0x60), second)
            let body := add(start, shl(5, topics))
            let size := mload(data)
            mcopy(body, add(data, 0x20), size)
            switch topics
            case 2 { log2(body, size, topic, next) }
            case 3 { log3(body, size, topic, next, first) }
            default { log4(body, size, topic, next, first, second) }
            mstore(0x20, keccak256(start, add(shl(5, topics), size)))
            mstore(0x00, hash)
            hash := keccak256(0x00, 0x40)
        }
        (rollingHash, eventNumber) = (hash, next);
    }

    /// @notice Records an event many times.
    function many(uint256 count, bytes32 topic, bytes calldata data) external {
        for (uint256 i = 0; i < count; ++i) {
            record(topic, 0, 0, data);
        }
    }

    /// @notice Reverts when `wanted` is more than `most`; costs `work` rounds of gas.
    function refuse(uint256 wanted, uint256 most, uint256 work) external payable {
        if (wanted > most) revert Refused(wanted, most);
        for (uint256 i = 0; i < work; ++i) {
            rollingHash = keccak256(abi.encode(rollingHash));
        }
    }

    /// @notice As if it were a token, of which everybody has 5.
    function balanceOf(address) external pure returns (uint256) {
        return 5e9;
    }

    /// @notice As if it were a token, of which everybody may take 3.
    function allowance(address, address) external pure returns (uint256) {
        return 3e9;
    }

    /// @notice Refuses as the staking contract does.
    function remove(uint64 id) external pure {
        revert NoSuchNode(id);
    }
}
