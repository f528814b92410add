// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Bls} from "../src/libraries/Bls.sol";
import {EventLog} from "../src/libraries/EventLog.sol";
import {Checkpoint, Checkpoints, Signers} from "../src/checkpoints/Checkpoints.sol";
import {NodeSet} from "../src/staking/NodeSet.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Merkle} from "./Merkle.sol";
import {Setup} from "./Setup.sol";

contract CheckpointsTest is Setup {
    function setUp() public override {
        super.setUp();
        registerMany(6);
    }

    function test_moreThanTwoThirdsSign() public {
        passBorder(0);
        Checkpoint memory content = checkpoint(0, "rewards", "states");
        Signers memory signers = signed(content, 6, ids(2, 5), 1 + 3 + 4 + 6);
        refused(content, signers, abi.encodeWithSelector(Checkpoints.TooFewSigners.selector, 4, 6));
        signers = signed(content, 6, ids(2), 1 + 3 + 4 + 5 + 6);
        checkpoints.submit(content, signers);
        vm.assertEq(checkpoints.rewardsRoot(), "rewards", "rewards");
        vm.assertEq(checkpoints.statesRoot(), "states", "states");
        vm.assertEq(checkpoints.nextEpoch(), 1, "epoch");
        vm.assertEq(checkpoints.lastDigest(), checkpoints.digest(content), "digest");
    }

    function test_theDigestIsThatOfTheInterface() public {
        passBorder(0);
        pool.release();
        Checkpoint memory c = checkpoint(0, "rewards", "states");
        (uint64 stakingNumber, bytes32 stakingHash) = staking.eventsAt(0);
        (uint64 ownNumber, bytes32 ownHash) = checkpoints.eventsAt(0);
        bytes memory head = abi.encode(
            bytes32("session-checkpoint-1"),
            block.chainid,
            address(checkpoints),
            uint64(0),
            c.borderBlockHash,
            c.previousDigest,
            stakingNumber,
            stakingHash,
            ownNumber,
            ownHash
        );
        // The pool has told of nothing before the border, the names of their first parameters.
        (uint64 namesNumber, bytes32 namesHash) = names.eventsAt(0);
        vm.assertEq(namesNumber, 2, "names");
        bytes memory logs = abi.encode(uint64(0), bytes32(0), namesNumber, namesHash);
        bytes memory tail =
            abi.encode(c.rewardsRoot, c.statesRoot, c.swarmsRoot, c.directoryRoot, c.namesRoot);
        vm.assertEq(checkpoints.digest(c), keccak256(bytes.concat(head, logs, tail)), "digest");
    }

    function test_fewerThanTwoThirdsCannotPassForMore() public {
        passBorder(0);
        Checkpoint memory content = checkpoint(0, "forged", "forged");
        // Four of six sign, and one who did not is said to have.
        Signers memory signers = signed(content, 6, ids(2), 1 + 3 + 4 + 6);
        bytes32 digest = checkpoints.digest(content);
        refused(content, signers, abi.encodeWithSelector(Checkpoints.BadSignature.selector, digest));
        // One node is left out of the set.
        signers = signed(content, 5, ids(2), 1 + 3 + 4 + 6);
        vm.expectPartialRevert(NodeSet.NotTheSet.selector);
        checkpoints.submit(content, signers);
        // The aggregate is another.
        signers = signed(content, 6, "", 77);
        signers.aggregateKey = BlsSigner.publicKey(77);
        vm.expectPartialRevert(NodeSet.NotTheSet.selector);
        checkpoints.submit(content, signers);
        // Nobody signs, with the signature that fits nobody's key.
        signers.aggregateKey = staking.aggregateKey();
        signers.signature = new bytes(192);
        refused(content, signers, abi.encodeWithSelector(Checkpoints.BadSignature.selector, digest));
    }

    function test_aChangedWordSpoilsTheSignature() public {
        passBorder(0);
        Checkpoint memory content = checkpoint(0, "rewards", "states");
        Signers memory signers = signed(content, 6, "", 21);
        content.namesRoot = "others";
        bytes32 digest = checkpoints.digest(content);
        refused(content, signers, abi.encodeWithSelector(Checkpoints.BadSignature.selector, digest));
    }

    function test_absentIdsAreOfTheSetAndAscend() public {
        passBorder(0);
        Checkpoint memory content = checkpoint(0, "rewards", "states");
        Signers memory signers = signed(content, 6, "", 21);
        signers.absent = ids(2, 2);
        refused(content, signers, abi.encodeWithSelector(NodeSet.NotAscending.selector, 2, 2));
        signers.absent = ids(3, 2);
        refused(content, signers, abi.encodeWithSelector(NodeSet.NotAscending.selector, 2, 3));
        signers.absent = ids(0);
        refused(content, signers, abi.encodeWithSelector(NodeSet.NotAscending.selector, 0, 0));
        signers.absent = ids(7);
        refused(content, signers, abi.encodeWithSelector(NodeSet.NotInSet.selector, 7, 0));
        signers.absent = hex"000001";
        refused(content, signers, abi.encodeWithSelector(NodeSet.BadIds.selector, 3));
        signers.aggregateKey = hex"00";
        vm.expectPartialRevert(NodeSet.NotTheSet.selector);
        checkpoints.submit(content, signers);
    }

    function test_whoJoinsOrLeavesAfterTheBorderChangesNothing() public {
        bytes memory aggregate = staking.aggregateKey();
        vm.prank(vm.addr(6));
        staking.requestExit(6);
        vm.warp(GENESIS + 30 days);
        uint64 epoch = staking.currentEpoch() - 1;
        staking.escape(6);
        register(7);
        vm.prank(vm.addr(5));
        staking.requestExit(5);

        Checkpoint memory content = checkpoint(epoch, "rewards", "states");
        Signers memory signers = signed(content, 6, "", 21);
        signers.aggregateKey = aggregate;
        signers.absent = ids(7);
        refused(content, signers, abi.encodeWithSelector(NodeSet.NotInSet.selector, 7, epoch));
        signers = signed(content, 6, ids(6), 15);
        signers.aggregateKey = aggregate;
        checkpoints.submit(content, signers);

        passBorder(epoch + 1);
        content = checkpoint(epoch + 1, "rewards", "states");
        signers = signed(content, 6, ids(6), 15 + 7);
        refused(content, signers, abi.encodeWithSelector(NodeSet.NotInSet.selector, 6, epoch + 1));
        checkpoints.submit(content, signed(content, 6, "", 15 + 7));
    }

    function test_borders() public {
        Signers memory signers;
        Checkpoint memory content = checkpoint(0, "rewards", "states");
        refused(content, signers, abi.encodeWithSelector(EventLog.BorderAhead.selector, 0, 0));
        vm.warp(GENESIS + 20 * EPOCH);
        content = checkpoint(11, "rewards", "states");
        refused(content, signers, abi.encodeWithSelector(EventLog.BorderForgotten.selector, 11, 12));
        submit(12, "rewards");
        content = checkpoint(12, "rewards", "states");
        refused(content, signers, abi.encodeWithSelector(Checkpoints.EpochTaken.selector, 12, 13));
        content = checkpoint(type(uint64).max, "rewards", "states");
        refused(content, signers, abi.encodeWithSelector(EventLog.BorderAhead.selector, type(uint64).max, 20));
        submit(15, "skipped two");
        submit(16, "the next");
    }

    function test_aCheckpointFollowsTheOneBefore() public {
        passBorder(0);
        Checkpoint memory content = checkpoint(0, "rewards", "states");
        content.previousDigest = "something";
        Signers memory signers = signed(content, 6, "", 21);
        refused(
            content,
            signers,
            abi.encodeWithSelector(Checkpoints.WrongPrevious.selector, bytes32("something"), 0)
        );
        submit(0, "rewards");
        passBorder(1);
        content = checkpoint(1, "rewards", "states");
        content.previousDigest = 0;
        signers = signed(content, 6, "", 21);
        bytes32 last = checkpoints.lastDigest();
        refused(content, signers, abi.encodeWithSelector(Checkpoints.WrongPrevious.selector, 0, last));
        submit(1, "rewards");
    }

    function test_aSmallSetTakesNone() public {
        vm.prank(address(timelock));
        checkpoints.setParameter("minimumNodes", 7);
        passBorder(0);
        Checkpoint memory content = checkpoint(0, "rewards", "states");
        Signers memory signers = signed(content, 6, "", 21);
        refused(content, signers, abi.encodeWithSelector(Checkpoints.TooFewNodes.selector, 6, 7));
        register(7);
        passBorder(1);
        content = checkpoint(1, "rewards", "states");
        checkpoints.submit(content, signed(content, 7, "", 28));
    }

    /// @dev Any number of nodes of which any do not sign.
    function testFuzz_thresholds(uint256 absentBits, uint256 more) public {
        uint256 count = 6 + more % 5;
        for (uint256 secret = 7; secret <= count; ++secret) {
            register(secret);
        }
        (bytes memory absent, uint256 secrets, uint256 signers) = (bytes(""), 0, 0);
        for (uint32 id = 1; id <= count; ++id) {
            if (absentBits >> id & 1 == 1) {
                absent = bytes.concat(absent, ids(id));
            } else {
                (secrets, signers) = (secrets + id, signers + 1);
            }
        }
        passBorder(0);
        Checkpoint memory content = checkpoint(0, "rewards", "states");
        Signers memory all = signed(content, uint64(count), absent, secrets);
        if (signers * 3 <= count * 2) {
            vm.expectRevert(abi.encodeWithSelector(Checkpoints.TooFewSigners.selector, signers, count));
        }
        checkpoints.submit(content, all);
    }

    function submit(uint64 epoch, bytes32 rewards) private {
        Checkpoint memory content = checkpoint(epoch, rewards, "states");
        checkpoints.submit(content, signed(content, 6, "", 21));
    }

    function refused(Checkpoint memory content, Signers memory signers, bytes memory why) private {
        vm.expectRevert(why);
        checkpoints.submit(content, signers);
    }
}
