// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "../src/checkpoints/Checkpoints.sol";
import {EventLog} from "../src/libraries/EventLog.sol";
import {Merkle} from "./Merkle.sol";
import {Setup} from "./Setup.sol";
import {Vm} from "./Vm.sol";

contract Diary is EventLog {
    event Written(uint64 indexed number, uint256 what);

    constructor(uint64 genesis_, uint64 epochSeconds_) EventLog(genesis_, epochSeconds_) {}

    function write(uint256 what) external {
        _record(Written.selector, abi.encode(what));
    }
}

contract EventLogTest is Setup {
    Diary private diary;

    function setUp() public override {
        super.setUp();
        diary = new Diary(GENESIS, EPOCH);
    }

    function test_hashesFollowFromTheLogsAlone() public {
        uint64[3] memory numbers = [staking.eventNumber(), checkpoints.eventNumber(), pool.eventNumber()];
        bytes32[3] memory hashes = [staking.rollingHash(), checkpoints.rollingHash(), pool.rollingHash()];
        vm.recordLogs();
        liveABit();
        Vm.Log[] memory logs = vm.getRecordedLogs();
        address[3] memory contracts = [address(staking), address(checkpoints), address(pool)];
        for (uint256 i = 0; i < logs.length; ++i) {
            for (uint256 j = 0; j < 3; ++j) {
                if (logs[i].emitter != contracts[j] || logs[i].topics[0] == Checkpoints.Claimed.selector) {
                    continue;
                }
                ++numbers[j];
                vm.assertEq(uint256(logs[i].topics[1]), numbers[j], "numbered without gaps");
                bytes32 entry = keccak256(abi.encodePacked(logs[i].topics, logs[i].data));
                hashes[j] = keccak256(abi.encodePacked(hashes[j], entry));
            }
        }
        vm.assertEq(numbers[0], staking.eventNumber(), "all events of staking");
        vm.assertEq(numbers[1], checkpoints.eventNumber(), "all events of checkpoints");
        vm.assertEq(numbers[2], pool.eventNumber(), "all events of the pool");
        vm.assertEq(hashes[0], staking.rollingHash(), "staking");
        vm.assertEq(hashes[1], checkpoints.rollingHash(), "checkpoints");
        vm.assertEq(hashes[2], pool.rollingHash(), "pool");
        vm.assertTrue(numbers[0] >= 12 && numbers[1] >= 4 && numbers[2] >= 2, "something happened");
    }

    function test_aBorderThatIsAheadOrForgottenIsRefused() public {
        vm.expectRevert(abi.encodeWithSelector(EventLog.BorderAhead.selector, 0, 0));
        diary.eventsAt(0);
        vm.warp(GENESIS + 10 * EPOCH);
        vm.expectRevert(abi.encodeWithSelector(EventLog.BorderForgotten.selector, 1, 2));
        diary.eventsAt(1);
        vm.expectRevert(abi.encodeWithSelector(EventLog.BorderAhead.selector, 10, 10));
        diary.eventsAt(10);
        diary.eventsAt(2);
        diary.eventsAt(9);
    }

    function test_theBorderIsAnInstant() public {
        vm.warp(GENESIS + EPOCH - 1);
        diary.write(1);
        vm.warp(GENESIS + EPOCH);
        diary.write(2);
        (uint64 number,) = diary.eventsAt(0);
        vm.assertEq(number, 1, "one second before counts, the instant itself does not");
    }

    function test_epochsMustMakeSense() public {
        vm.expectRevert(abi.encodeWithSelector(EventLog.BadEpochs.selector, GENESIS + 1, EPOCH));
        new Diary(GENESIS + 1, EPOCH);
        vm.expectRevert(abi.encodeWithSelector(EventLog.BadEpochs.selector, GENESIS, 0));
        new Diary(GENESIS, 0);
    }

    /// @dev Against a model that notes the state at every border. Each byte is the time to the next event.
    function testFuzz_whatWasTrueAtABorderIsKept(bytes32 gaps) public {
        uint64[] memory numbers = new uint64[](1_000);
        bytes32[] memory hashes = new bytes32[](1_000);
        uint64 noted = 0;
        for (uint256 i = 0; i < 32; ++i) {
            vm.warp(block.timestamp + (uint256(uint8(gaps[i])) ** 2) * EPOCH / 5_000);
            for (; noted < diary.currentEpoch(); ++noted) {
                (numbers[noted], hashes[noted]) = (diary.eventNumber(), diary.rollingHash());
            }
            if (uint8(gaps[i]) % 3 != 0) diary.write(i);
            for (uint64 back = 1; back <= 8 && back <= noted; ++back) {
                (uint64 number, bytes32 hash) = diary.eventsAt(noted - back);
                vm.assertEq(number, numbers[noted - back], "number");
                vm.assertEq(hash, hashes[noted - back], "hash");
            }
        }
    }

    function liveABit() private {
        registerMany(5);
        vm.prank(vm.addr(3));
        staking.changeBeneficiary(3, address(0xbe));
        vm.prank(vm.addr(3));
        staking.handOver(3, address(0x33));
        passBorder(0);
        bytes32[] memory rewards = leaves(Merkle.reward(vm.addr(1), 9), Merkle.reward(vm.addr(2), 7));
        bytes32[] memory states = leaves(Merkle.state(2, 5, 0), Merkle.state(1, 1, 0));
        submitAll(5, Merkle.root(rewards), Merkle.root(states));
        vm.prank(vm.addr(1));
        checkpoints.claim(9, Merkle.proof(rewards, rewards[0]), address(0xbeef));
        staking.release(2, 5, 0, Merkle.proof(states, states[0]));
        vm.prank(vm.addr(1));
        staking.requestExit(1);
        vm.warp(block.timestamp + 30 days);
        staking.escape(1);
        pool.release();
    }
}
