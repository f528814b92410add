// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";
import {SSTORE2} from "solady/utils/SSTORE2.sol";
import {Bls} from "../libraries/Bls.sol";
import {EventLog} from "../libraries/EventLog.sol";

/// @title Who may sign checkpoints
/// @notice Node ids count from 1 and are never used twice. A node counts at the borders of the epochs from the one
/// that it joins in to the one before that it leaves in. The sum of all keys runs along, so that an aggregate is
/// checked at the cost of those that did not sign.
abstract contract NodeSet is EventLog {
    uint40 private constant STAYS = type(uint40).max;
    uint256 private constant ID_BYTES = 4;

    struct Member {
        address key; // where its BLS key is stored, as code: half the price of storage, to write and to read
        uint40 since; // the first border that it counts at
        uint40 until; // the first border that it does not count at; `_sum` knows this order
    }

    /// @notice How many nodes there are.
    uint64 public nodeCount;
    /// @notice The id that the next node gets.
    uint64 public nextId = 1;
    mapping(uint64 id => Member) private members;

    struct Key {
        uint64 holder;
        uint64 registrations;
    }

    /// @notice The node that holds a BLS key at present, zero for none, and how often the key was registered; by
    /// the key's hash. A proof of possession is for one such number: with the next registration of the key all that
    /// it signed before, used or not, is void.
    mapping(bytes32 keyHash => Key) public keys;

    bytes32[3] private aggregate;
    mapping(uint256 slot => bytes32) private frozenSets;

    /// @notice Another node holds this BLS key.
    error KeyInUse(uint64 id);
    /// @notice The proof of possession does not fit key, operator, chain, contract and how often the key was
    /// registered.
    error BadProofOfPossession();
    /// @notice Aggregate key and number of nodes are not those of the border.
    error NotTheSet(uint64 epoch, bytes32 given, bytes32 kept);
    /// @notice The node did not count at the border.
    error NotInSet(uint64 id, uint64 epoch);
    /// @notice The ids are not 4 bytes each.
    error BadIds(uint256 length);
    /// @notice Ids of nodes that did not sign must ascend.
    error NotAscending(uint64 id, uint64 previous);

    /// @notice The BLS key of a node, also of one that has left; empty for an unknown id.
    function keyOf(uint64 id) public view returns (bytes memory) {
        address store = members[id].key;
        return store == address(0) ? bytes("") : SSTORE2.read(store);
    }

    /// @notice Whether a node is registered and not yet removed.
    function isNode(uint64 id) public view returns (bool) {
        return members[id].until == STAYS;
    }

    /// @notice Whether a node counts at the border of `epoch`, if nothing else happens until then.
    function countsAt(uint64 id, uint64 epoch) public view returns (bool) {
        Member storage member = members[id];
        return member.since <= epoch && epoch < member.until;
    }

    /// @notice The sum of the keys of all nodes.
    function aggregateKey() public view returns (bytes memory) {
        return abi.encodePacked(aggregate[0], aggregate[1], aggregate[2]);
    }

    /// @notice The hash of the set at the border of `epoch`: `keccak256(aggregateKey ‖ nodeCount as uint64)`.
    /// Reverts with `BorderAhead` or `BorderForgotten`.
    function setAt(uint64 epoch) public view returns (bytes32) {
        (bool found, uint256 slot) = _frozenAt(epoch);
        return found ? frozenSets[slot] : _set();
    }

    /// @notice What a proof of possession signs, for the next registration of the key:
    /// `"session-pop-1" ‖ chain id ‖ this contract ‖ operator ‖ how often the key was registered, as uint64 ‖ key`.
    function possessionMessage(address operator, bytes memory key) public view returns (bytes memory) {
        uint64 registrations = keys[keccak256(key)].registrations;
        return abi.encodePacked("session-pop-1", block.chainid, address(this), operator, registrations, key);
    }

    /// @notice The key of all nodes that counted at the border of `epoch` but `absent`, and how many they are.
    /// @param aggregate_ the aggregate key at that border
    /// @param nodes the number of nodes at that border
    /// @param absent ids, ascending, 4 bytes each, big endian
    function signersAt(uint64 epoch, bytes calldata aggregate_, uint64 nodes, bytes calldata absent)
        external
        view
        returns (BLS.G1Point memory key, uint256 signers)
    {
        bytes32 given = keccak256(abi.encodePacked(aggregate_, nodes));
        bytes32 kept = setAt(epoch);
        if (given != kept) revert NotTheSet(epoch, given, kept);
        key = Bls.key(aggregate_);
        if (absent.length != 0) key = BLS.add(key, Bls.negate(_sum(epoch, absent)));
        signers = nodes - absent.length / ID_BYTES;
    }

    /// @dev Adds a node. The caller records the event first.
    function _join(uint64 id, address operator, bytes memory key, bytes memory proof) internal {
        Key storage held = keys[keccak256(key)];
        if (held.holder != 0) revert KeyInUse(held.holder);
        BLS.G1Point memory point = Bls.key(key);
        if (!Bls.verify(point, possessionMessage(operator, key), Bls.signature(proof))) {
            revert BadProofOfPossession();
        }
        (held.holder, held.registrations) = (id, held.registrations + 1);
        members[id] = Member(SSTORE2.write(key), uint40(currentEpoch()), STAYS);
        (nextId, nodeCount) = (id + 1, nodeCount + 1);
        _addToAggregate(point);
    }

    /// @dev Removes a node. The caller records the event first.
    function _leave(uint64 id) internal {
        bytes memory key = keyOf(id);
        keys[keccak256(key)].holder = 0;
        members[id].until = uint40(currentEpoch());
        --nodeCount;
        _addToAggregate(Bls.negate(Bls.key(key)));
    }

    function _freeze(uint256 slot) internal virtual override {
        frozenSets[slot] = _set();
    }

    function _set() private view returns (bytes32) {
        return keccak256(abi.encodePacked(aggregateKey(), nodeCount));
    }

    function _addToAggregate(BLS.G1Point memory point) private {
        bytes memory sum = Bls.encode(BLS.add(Bls.key(aggregateKey()), point));
        for (uint256 i = 0; i < 3; ++i) {
            bytes32 word;
            assembly ("memory-safe") {
                word := mload(add(add(sum, 0x20), shl(5, i)))
            }
            aggregate[i] = word;
        }
    }

    /// @dev The sum of the keys of some nodes that counted at the border.
    function _sum(uint64 epoch, bytes calldata ids) private view returns (BLS.G1Point memory sum) {
        uint256 previous = 0;
        bool added = true;
        uint256 scratch;
        assembly ("memory-safe") {
            // The sum, then the next key as the precompile reads it: a zero half word before each coordinate.
            scratch := mload(0x40)
            calldatacopy(scratch, calldatasize(), 0x100)
            mstore(0x40, add(scratch, 0x100))
        }
        if (ids.length % ID_BYTES != 0) revert BadIds(ids.length);
        for (uint256 i = 0; i < ids.length;) {
            uint256 id;
            uint256 member;
            assembly ("memory-safe") {
                id := shr(0xe0, calldataload(add(ids.offset, i)))
                mstore(0x00, id)
                mstore(0x20, members.slot)
                member := sload(keccak256(0x00, 0x40))
                i := add(i, ID_BYTES)
            }
            if (id <= previous) revert NotAscending(uint64(id), uint64(previous));
            previous = id;
            // The fields of `Member`, from the lowest bit up.
            if (epoch < uint40(member >> 160) || epoch >= member >> 200) revert NotInSet(uint64(id), epoch);
            assembly ("memory-safe") {
                // The code begins with one byte that stops whoever calls it.
                extcodecopy(member, add(scratch, 0x90), 0x01, 0x60)
                mcopy(add(scratch, 0xd0), add(scratch, 0xc0), 0x30)
                mstore(add(scratch, 0xc0), shr(0x80, mload(add(scratch, 0xd0))))
                added := and(added, staticcall(gas(), 0x0b, scratch, 0x100, scratch, 0x80))
            }
        }
        if (!added) revert BLS.G1AddFailed();
        assembly ("memory-safe") {
            mcopy(sum, scratch, 0x80)
        }
    }
}
