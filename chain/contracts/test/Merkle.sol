// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// @title Merkle trees as OpenZeppelin's JavaScript library lays them out
library Merkle {
    function reward(address account, uint256 lifetimeTotal) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(account, lifetimeTotal))));
    }

    function state(uint64 id, uint8 state_, uint16 penaltyBps) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(id, state_, penaltyBps))));
    }

    /// @dev All nodes of the tree, its root first. Leaves are sorted, the first of them at the end.
    function tree(bytes32[] memory leaves) internal pure returns (bytes32[] memory nodes) {
        uint256 count = leaves.length;
        nodes = new bytes32[](2 * count - 1);
        bytes32[] memory sorted = sort(leaves);
        for (uint256 i = 0; i < count; ++i) {
            nodes[nodes.length - 1 - i] = sorted[i];
        }
        for (uint256 i = count - 1; i > 0; --i) {
            nodes[i - 1] = Hashes.commutativeKeccak256(nodes[2 * i - 1], nodes[2 * i]);
        }
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        return leaves.length == 0 ? bytes32(0) : tree(leaves)[0];
    }

    function proof(bytes32[] memory leaves, bytes32 leaf) internal pure returns (bytes32[] memory path) {
        bytes32[] memory nodes = tree(leaves);
        uint256 index = 0;
        while (nodes[index] != leaf || index < leaves.length - 1) {
            ++index;
        }
        uint256 depth = 0;
        for (uint256 i = index; i > 0; i = (i - 1) / 2) {
            ++depth;
        }
        path = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            path[i] = nodes[index % 2 == 0 ? index - 1 : index + 1];
            index = (index - 1) / 2;
        }
    }

    function sort(bytes32[] memory values) internal pure returns (bytes32[] memory sorted) {
        sorted = new bytes32[](values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            uint256 j = i;
            for (; j > 0 && sorted[j - 1] > values[i]; --j) {
                sorted[j] = sorted[j - 1];
            }
            sorted[j] = values[i];
        }
    }
}
