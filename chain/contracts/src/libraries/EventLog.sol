// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What records events, for contracts that do not care how
abstract contract Recorder {
    /// @dev Emits an event with one topic beside its number, and records it.
    function _record(bytes32 topic, bytes32 first, bytes memory data) internal virtual;
}

/// @title Numbered events, and what they were when an epoch ended
/// @notice Each event that nodes follow has a number, from 1 without gaps, and goes into a rolling hash:
/// `hash' = keccak256(hash ‖ keccak256(topics ‖ data))`, with the log's topics and data as its receipt has them.
/// The border of epoch `e` is the instant `genesis + (e + 1) * epochSeconds`. What was true at a border is
/// kept by the first event after it, for the last `BORDERS` borders.
/// @dev A contract changes nothing that a border shows without recording an event first.
abstract contract EventLog is Recorder {
    /// @notice How many of the last borders can be asked for.
    uint64 public constant BORDERS = 8;

    /// @notice When epoch 0 begins, in seconds since 1970.
    uint64 public immutable genesis;
    /// @notice How long an epoch lasts, in seconds.
    uint64 public immutable epochSeconds;

    /// @notice The hash over all events so far; zero before the first.
    bytes32 public rollingHash;

    struct Frozen {
        uint64 epochAfter;
        uint64 number;
        bytes32 hash;
    }

    /// @dev What was true at border `b`, at `b % BORDERS`, if an event followed in epoch `epochAfter == b + 1`.
    mapping(uint256 slot => Frozen) private frozen;

    /// @notice The number of the last event; zero before the first.
    uint64 public eventNumber;
    /// @dev The epoch of the last event. What an inheriting contract declares first shares this slot.
    uint40 private changedIn;

    /// @notice `genesis` lies in the future, or an epoch has no length.
    error BadEpochs(uint64 genesis, uint64 epochSeconds);
    /// @notice The epoch has not ended.
    error BorderAhead(uint64 epoch, uint64 currentEpoch);
    /// @notice The epoch ended more than `BORDERS` borders ago.
    error BorderForgotten(uint64 epoch, uint64 oldest);

    constructor(uint64 genesis_, uint64 epochSeconds_) {
        if (genesis_ > block.timestamp || epochSeconds_ == 0) revert BadEpochs(genesis_, epochSeconds_);
        genesis = genesis_;
        epochSeconds = epochSeconds_;
    }

    /// @notice The epoch that the present block belongs to.
    function currentEpoch() public view returns (uint64) {
        unchecked {
            return (uint64(block.timestamp) - genesis) / epochSeconds;
        }
    }

    /// @notice The last event's number and the rolling hash, as they were at the border of `epoch`.
    /// Reverts with `BorderAhead` or `BorderForgotten`.
    function eventsAt(uint64 epoch) public view returns (uint64 number, bytes32 hash) {
        (bool found, uint256 slot) = _frozenAt(epoch);
        return found ? (frozen[slot].number, frozen[slot].hash) : (eventNumber, rollingHash);
    }

    /// @dev Where the state at the border of `epoch` is kept; if nowhere, it is the present state.
    function _frozenAt(uint64 epoch) internal view returns (bool found, uint256 slot) {
        uint64 current = currentEpoch();
        if (epoch >= current) revert BorderAhead(epoch, current);
        if (current - epoch > BORDERS) revert BorderForgotten(epoch, current - BORDERS);
        // Nothing happened between this border and the first later one at which something is kept.
        for (uint64 after_ = epoch + 1; after_ <= current; ++after_) {
            slot = (after_ - 1) % BORDERS;
            if (frozen[slot].epochAfter == after_) return (true, slot);
        }
        return (false, 0);
    }

    /// @dev Called before the first event after a border, to keep more than the events.
    function _freeze(uint256 slot) internal virtual {}

    /// @dev Emits an event whose number is its only topic, and records it.
    function _record(bytes32 topic, bytes memory data) internal {
        _emit(topic, 0, 0, 2, data);
    }

    /// @inheritdoc Recorder
    function _record(bytes32 topic, bytes32 first, bytes memory data) internal override {
        _emit(topic, first, 0, 3, data);
    }

    /// @dev Emits an event with two topics beside its number, and records it.
    function _record(bytes32 topic, bytes32 first, bytes32 second, bytes memory data) internal {
        _emit(topic, first, second, 4, data);
    }

    function _emit(bytes32 topic, bytes32 first, bytes32 second, uint256 topics, bytes memory data) private {
        bytes32 hash = rollingHash;
        uint64 next = _next(hash);
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
            mstore(0, hash)
            mstore(0x20, keccak256(start, add(shl(5, topics), size)))
            hash := keccak256(0, 0x40)
        }
        rollingHash = hash;
    }

    /// @dev The next event's number; keeps what was true at the last border if this is the first event after it.
    /// @param hash the rolling hash so far
    function _next(bytes32 hash) private returns (uint64 next) {
        (uint64 last, uint64 changed, uint64 epoch) = (eventNumber, changedIn, currentEpoch());
        // Neither is a number of 64 bits counted to its end, nor an epoch with another event before it the first.
        unchecked {
            if (epoch != changed) {
                uint256 slot = (epoch - 1) % BORDERS;
                frozen[slot] = Frozen(epoch, last, hash);
                _freeze(slot);
            }
            next = last + 1;
        }
        (eventNumber, changedIn) = (next, uint40(epoch));
    }
}
