// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Staking} from "../src/staking/Staking.sol";
import {Merkle} from "./Merkle.sol";
import {Setup} from "./Setup.sol";

contract ExitTest is Setup {
    address private operator;
    bytes32[] private states;

    function setUp() public override {
        super.setUp();
        registerMany(4);
        operator = vm.addr(1);
    }

    function test_anExitIsFinal() public {
        vm.prank(operator);
        staking.requestExit(1);
        (, uint64 requestedAt,,) = staking.stakeOf(1);
        vm.expectRevert(abi.encodeWithSelector(Staking.ExitAlreadyRequested.selector, 1, requestedAt));
        vm.prank(operator);
        staking.requestExit(1);
    }

    function test_onlyHoldersOfAShareMakeANodeLeave() public {
        vm.expectRevert(abi.encodeWithSelector(Staking.NotAContributor.selector, 1, vm.addr(2)));
        vm.prank(vm.addr(2));
        staking.requestExit(1);
        vm.expectRevert(abi.encodeWithSelector(Staking.NotAContributor.selector, 9, operator));
        vm.prank(operator);
        staking.requestExit(9);
    }

    function test_aReleasePaysOnce() public {
        agree(Merkle.state(1, 4, 0));
        release(1, 4, 0);
        vm.assertEq(token.balanceOf(operator), REQUIREMENT, "paid");
        vm.expectRevert(abi.encodeWithSelector(Staking.NoSuchNode.selector, 1));
        release(1, 4, 0);
        vm.expectRevert(abi.encodeWithSelector(Staking.NoSuchNode.selector, 1));
        staking.escape(1);
        vm.assertEq(token.balanceOf(address(staking)), 3 * REQUIREMENT, "the others' is still held");
    }

    function test_whatTheCheckpointDoesNotSayIsNotPaid() public {
        agree(Merkle.state(1, 4, 500));
        bytes32[] memory proof = Merkle.proof(states, states[0]);
        vm.expectRevert(abi.encodeWithSelector(Staking.NotInCheckpoint.selector, 1, 4, 0));
        staking.release(1, 4, 0, proof);
        vm.expectRevert(abi.encodeWithSelector(Staking.NotInCheckpoint.selector, 2, 4, 500));
        staking.release(2, 4, 500, proof);
        vm.expectRevert(abi.encodeWithSelector(Staking.NotInCheckpoint.selector, 1, 5, 500));
        staking.release(1, 5, 500, proof);
    }

    function test_otherStatesPayNothing() public {
        for (uint8 state = 0; state < 4; ++state) {
            vm.expectRevert(abi.encodeWithSelector(Staking.WrongState.selector, 1, state));
            staking.release(1, state, 0, new bytes32[](0));
        }
        vm.expectRevert(abi.encodeWithSelector(Staking.WrongState.selector, 1, 6));
        staking.release(1, 6, 0, new bytes32[](0));
    }

    function test_aRefusedRegistrationIsPaidInFull() public {
        agree(Merkle.state(1, 5, 10_000));
        release(1, 5, 10_000);
        vm.assertEq(token.balanceOf(operator), REQUIREMENT, "in full");
    }

    function testFuzz_aPenaltyIsBoundedAndGoesToThePool(uint16 bps) public {
        agree(Merkle.state(1, 4, bps));
        uint256 before = token.balanceOf(address(pool));
        release(1, 4, bps);
        uint256 penalty = REQUIREMENT * (bps < 1_000 ? bps : 1_000) / 10_000;
        vm.assertEq(token.balanceOf(operator), REQUIREMENT - penalty, "the rest is paid back");
        vm.assertEq(token.balanceOf(address(pool)) - before, penalty, "the pool gets it");
    }

    function test_theEscapeHatchOpensAfterThirtyDaysWhateverHappens() public {
        vm.expectRevert(abi.encodeWithSelector(Staking.ExitNotRequested.selector, 1));
        staking.escape(1);
        uint256 start = block.timestamp;
        vm.prank(operator);
        staking.requestExit(1);
        vm.prank(GUARDIAN);
        checkpoints.setPaused(true);
        vm.warp(start + 30 days - 1);
        vm.expectRevert(abi.encodeWithSelector(Staking.TooEarly.selector, 1, start + 30 days));
        staking.escape(1);
        vm.warp(start + 30 days);
        vm.prank(address(0x5e));
        staking.escape(1);
        vm.assertEq(token.balanceOf(operator), REQUIREMENT, "in full, with claims stopped and no checkpoint");
    }

    function test_aNotedPenaltyHoldsAtTheEscapeHatch() public {
        vm.prank(operator);
        staking.requestExit(1);
        agree(Merkle.state(1, 3, 200));
        bytes32[] memory proof = Merkle.proof(states, states[0]);
        staking.notePenalty(1, 3, 200, proof);
        vm.expectRevert(abi.encodeWithSelector(Staking.WrongState.selector, 1, 3));
        staking.release(1, 3, 200, proof);
        vm.expectRevert(abi.encodeWithSelector(Staking.WrongState.selector, 1, 1));
        staking.notePenalty(1, 1, 200, proof);
        vm.warp(block.timestamp + 30 days);
        staking.escape(1);
        vm.assertEq(token.balanceOf(operator), REQUIREMENT * 98 / 100, "less two in a hundred");
    }

    function test_aShareIsHandedOver() public {
        address heir = address(0x7e);
        vm.prank(operator);
        staking.handOver(1, heir);
        vm.expectRevert(abi.encodeWithSelector(Staking.NotAContributor.selector, 1, operator));
        vm.prank(operator);
        staking.requestExit(1);
        vm.prank(heir);
        staking.changeBeneficiary(1, address(0xbe));
        vm.prank(heir);
        staking.requestExit(1);
        vm.warp(block.timestamp + 30 days);
        staking.escape(1);
        vm.assertEq(token.balanceOf(heir), REQUIREMENT, "the new holder is paid");
        vm.assertEq(token.balanceOf(operator), 0, "the old one is not");
    }

    function test_sharesGoOnlyToSomebodyNew() public {
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(Staking.AlreadyAContributor.selector, 1, operator));
        staking.handOver(1, operator);
        vm.prank(operator);
        vm.expectRevert(Staking.ZeroAddress.selector);
        staking.handOver(1, address(0));
        vm.prank(operator);
        vm.expectRevert(Staking.ZeroAddress.selector);
        staking.changeBeneficiary(1, address(0));
        vm.prank(vm.addr(2));
        vm.expectRevert(abi.encodeWithSelector(Staking.NotAContributor.selector, 1, vm.addr(2)));
        staking.handOver(1, address(7));
        vm.prank(vm.addr(2));
        vm.expectRevert(abi.encodeWithSelector(Staking.NotAContributor.selector, 1, vm.addr(2)));
        staking.changeBeneficiary(1, address(7));
    }

    function test_aChangedRequirementDoesNotChangeWhatIsRecorded() public {
        vm.prank(address(timelock));
        staking.setParameter("stakingRequirement", 100 * SESH);
        agree(Merkle.state(1, 4, 0));
        release(1, 4, 0);
        vm.assertEq(token.balanceOf(operator), REQUIREMENT, "as recorded");
    }

    /// @dev A checkpoint of the present epoch in which one node has this state.
    function agree(bytes32 leaf) private {
        states = leaves(leaf, Merkle.state(77, 1, 0));
        passBorder(staking.currentEpoch());
        submitAll(4, 0, Merkle.root(states));
    }

    function release(uint64 id, uint8 state, uint16 bps) private {
        bytes32[] memory proof = Merkle.proof(states, states[0]);
        staking.release(id, state, bps, proof);
    }
}
