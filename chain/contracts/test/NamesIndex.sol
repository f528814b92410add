// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Market} from "../src/names/Market.sol";
import {Records} from "../src/names/Records.sol";
import {Registry} from "../src/names/Registry.sol";
import {Vm} from "./Vm.sol";

/// @title What a node knows of names, from their numbered events alone
contract NamesIndex {
    struct Entry {
        address owner;
        uint40 expiry;
        uint32 version;
        uint96 price;
        address buyer;
        uint96 offered;
        uint40 until;
        string revealed;
    }

    struct Record {
        uint32 version;
        bytes value;
    }

    struct Said {
        uint256 id;
        uint32 version;
    }

    uint64 public number;
    bytes32 public hash;
    mapping(uint256 id => Entry) private entries;
    mapping(uint256 id => mapping(bytes32 subId => mapping(uint8 kind => Record))) private records;
    mapping(address account => Said) private reverses;

    /// @notice Begins where the contract is.
    function begin(uint64 number_, bytes32 hash_) external {
        (number, hash) = (number_, hash_);
    }

    /// @notice Reads the next log; skips those that are not numbered.
    function read(Vm.Log calldata log) external {
        bytes32 topic = log.topics[0];
        if (topic == Registry.NameRegistered.selector) {
            (uint40 expiry, uint32 version) = abi.decode(log.data, (uint40, uint32));
            owned(log, version);
            entries[uint256(log.topics[2])].expiry = expiry;
        } else if (topic == Registry.NameRenewed.selector) {
            entries[uint256(log.topics[2])].expiry = abi.decode(log.data, (uint40));
        } else if (topic == Registry.NameTransferred.selector) {
            (uint32 version,) = abi.decode(log.data, (uint32, uint256));
            owned(log, version);
        } else if (topic == Records.RecordChanged.selector) {
            (uint32 version, uint8 kind, bytes memory value) = abi.decode(log.data, (uint32, uint8, bytes));
            records[uint256(log.topics[2])][log.topics[3]][kind] = Record(version, value);
        } else if (topic == Records.ReverseChanged.selector) {
            uint256 id = uint256(log.topics[3]);
            reverses[address(uint160(uint256(log.topics[2])))] = Said(id, entries[id].version);
        } else if (topic == Records.NameRevealed.selector) {
            (, string memory called) = abi.decode(log.data, (uint32, string));
            entries[uint256(log.topics[2])].revealed = called;
        } else if (topic == Market.PriceChanged.selector) {
            (, uint96 price) = abi.decode(log.data, (uint32, uint96));
            entries[uint256(log.topics[2])].price = price;
        } else if (topic == Market.OfferMade.selector) {
            offered(log);
        } else if (topic == Market.OfferWithdrawn.selector) {
            withdrawn(log);
        } else if (topic != keccak256("ParameterChanged(uint64,bytes32,uint256)")) {
            return;
        }
        require(uint256(log.topics[1]) == ++number, "numbered without gaps");
        hash = keccak256(abi.encodePacked(hash, keccak256(abi.encodePacked(log.topics, log.data))));
    }

    function entry(uint256 id) external view returns (Entry memory) {
        return entries[id];
    }

    /// @notice A record that counts.
    function record(uint256 id, bytes32 subId, uint8 kind) external view returns (bytes memory) {
        Record storage last = records[id][subId][kind];
        return last.version == entries[id].version ? last.value : bytes("");
    }

    /// @notice The name that an account goes by, while the name has the version that it was said of and is not
    /// expired.
    function reverseOf(address account) external view returns (uint256) {
        Said storage last = reverses[account];
        Entry storage one = entries[last.id];
        bool counts = one.owner == account && one.version == last.version && block.timestamp < one.expiry;
        return counts ? last.id : 0;
    }

    function owned(Vm.Log calldata log, uint32 version) private {
        Entry storage one = entries[uint256(log.topics[2])];
        uint40 expiry = one.expiry;
        delete entries[uint256(log.topics[2])];
        (one.owner, one.expiry) = (address(uint160(uint256(log.topics[3]))), expiry);
        one.version = version;
    }

    function offered(Vm.Log calldata log) private {
        Entry storage one = entries[uint256(log.topics[2])];
        (, one.offered, one.until) = abi.decode(log.data, (uint32, uint96, uint40));
        one.buyer = address(uint160(uint256(log.topics[3])));
    }

    /// @dev One of an earlier version is gone already.
    function withdrawn(Vm.Log calldata log) private {
        Entry storage one = entries[uint256(log.topics[2])];
        if (one.buyer != address(uint160(uint256(log.topics[3])))) return;
        (one.buyer, one.offered, one.until) = (address(0), 0, 0);
    }
}
