// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Lease, Leases, Registry} from "./Registry.sol";

/// @title What is said of names
/// @notice Records are told by events alone: nodes keep them and prove them. A record counts while its name has the
/// version that it was set under. Its value is encrypted by whoever sets it, under a key that knows the name;
/// nothing here can tell what it is.
abstract contract Records is Registry {
    /// @notice The kinds of records are 1 to this: account, wallet, relay address, community, web link, text.
    uint8 public constant KINDS = 6;
    /// @notice The most bytes of a value.
    uint256 public constant MAX_VALUE = 256;
    /// @notice How many sub-names of a name can have records: every node keeps them for the one fee of the name.
    uint256 public constant MAX_SUBNAMES = 32;
    /// @notice The most bytes of a name that is revealed.
    uint256 public constant MAX_NAME = 64;

    mapping(address account => uint256) private reverses;
    /// @dev Which kinds a sub-name has, one bit each.
    mapping(bytes32 subIdAndVersion => uint256) private kindsOf;

    /// @notice A record has another value; none if it is empty. Numbered. `subId` is zero for the name's own.
    event RecordChanged(
        uint64 indexed number,
        uint256 indexed id,
        bytes32 indexed subId,
        uint32 version,
        uint8 kind,
        bytes value
    );
    /// @notice An account says that it goes by a name; by none if the id is zero. Numbered. Counts while the account
    /// owns the name without a break and the name is not expired: once the name has another version, nodes forget it.
    event ReverseChanged(uint64 indexed number, address indexed account, uint256 indexed id);
    /// @notice What a name is called, as its owner says, which may be any bytes. Numbered. Whoever reads it computes
    /// the id and compares.
    event NameRevealed(uint64 indexed number, uint256 indexed id, uint32 version, string name);

    /// @notice There is no such kind of records.
    error UnknownKind(uint8 kind, uint8 most);
    /// @notice The value is too long.
    error ValueTooLong(uint256 length, uint256 most);
    /// @notice As many sub-names have records as can.
    error TooManySubnames(uint256 id, uint256 most);
    /// @notice The label is none.
    error NoLabel();
    /// @notice The name is empty, or too long.
    error BadNameLength(uint256 length, uint256 most);
    /// @notice Only the owner goes by a name.
    error NotOwner(uint256 id, address caller);

    /// @notice Sets a record of a name; an empty value takes it away. The name's owner and whom it approved may.
    /// Reverts with `NoSuchName`, `NameExpired`, `NotPermitted`, `UnknownKind`, `ValueTooLong`.
    function setRecord(uint256 id, uint8 kind, bytes calldata value) external {
        (, Lease lease) = _permitted(id);
        _setRecord(id, 0, lease.version(), kind, value);
    }

    /// @notice Sets a record of a sub-name, which belongs to the owner of its name. Reverts as `setRecord` does, and
    /// with `NoLabel`, `TooManySubnames`.
    /// @param label the hash of the sub-name's own part, as clients compute it
    function setSubnameRecord(uint256 id, bytes32 label, uint8 kind, bytes calldata value) external {
        (, Lease lease) = _permitted(id);
        if (label == 0) revert NoLabel();
        bytes32 sub = subId(id, label);
        _setRecord(id, sub, lease.version(), kind, value);
        _count(id, sub, lease, kind, value.length != 0);
    }

    /// @notice Says that the caller goes by a name, which it owns; by none if the id is zero. Reverts with
    /// `NoSuchName`, `NameExpired`, `NotOwner`.
    function setReverse(uint256 id) external {
        if (id != 0 && ownerOf(id) != msg.sender) revert NotOwner(id, msg.sender);
        _record(ReverseChanged.selector, bytes32(uint256(uint160(msg.sender))), bytes32(id), "");
        reverses[msg.sender] = id;
    }

    /// @notice Publishes what a name is called. The name's owner and whom it approved may. Nothing here can tell
    /// whether it is true, or a text at all. Reverts with `NoSuchName`, `NameExpired`, `NotPermitted`, `BadNameLength`.
    function reveal(uint256 id, string calldata name_) external {
        (, Lease lease) = _permitted(id);
        uint256 length = bytes(name_).length;
        if (length == 0 || length > MAX_NAME) revert BadNameLength(length, MAX_NAME);
        _record(NameRevealed.selector, bytes32(id), abi.encode(lease.version(), name_));
    }

    /// @notice The name that an account said last that it goes by, if it owns it now; zero if there is none. Nodes
    /// know none when the account lost the name since and has it back: it has to say so again.
    function reverseOf(address account) external view returns (uint256 id) {
        id = reverses[account];
        (address owner_, Lease lease) = _lease(id);
        if (owner_ != account || block.timestamp >= lease.expiry()) return 0;
    }

    /// @notice The id of a sub-name. It is looked up under its name: as an id of its own it says nothing.
    function subId(uint256 id, bytes32 label) public pure returns (bytes32) {
        return keccak256(abi.encode(id, label));
    }

    function _setRecord(uint256 id, bytes32 sub, uint32 version, uint8 kind, bytes calldata value) private {
        if (kind == 0 || kind > KINDS) revert UnknownKind(kind, KINDS);
        if (value.length > MAX_VALUE) revert ValueTooLong(value.length, MAX_VALUE);
        _record(RecordChanged.selector, bytes32(id), sub, abi.encode(version, kind, value));
    }

    /// @dev Counts the sub-names that have records.
    function _count(uint256 id, bytes32 sub, Lease lease, uint8 kind, bool present) private {
        bytes32 key = keccak256(abi.encode(sub, lease.version()));
        uint256 before = kindsOf[key];
        uint256 bit = 1 << kind;
        uint256 kinds = present ? before | bit : before & ~bit;
        if (kinds == before) return;
        kindsOf[key] = kinds;
        if (before != 0 && kinds != 0) return;
        uint24 subnames = lease.subnames();
        if (kinds == 0) {
            --subnames;
        } else {
            if (subnames == MAX_SUBNAMES) revert TooManySubnames(id, MAX_SUBNAMES);
            ++subnames;
        }
        _setLease(id, Leases.pack(lease.expiry(), lease.version(), subnames));
    }
}
