// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "../src/checkpoints/Checkpoints.sol";
import {Merkle} from "./Merkle.sol";
import {Setup} from "./Setup.sol";

contract ClaimsTest is Setup {
    address private alice = address(0xa11ce);
    address private bob = address(0xb0b);
    bytes32[] private rewards;

    function setUp() public override {
        super.setUp();
        registerMany(4);
    }

    function test_aClaimPaysWhatIsNewToAnyAddress() public {
        credit(10, 20);
        claim(alice, 10, address(0xcafe));
        credit(25, 20);
        claim(alice, 25, address(0xbeef));
        vm.assertEq(token.balanceOf(address(0xcafe)), 10, "the first");
        vm.assertEq(token.balanceOf(address(0xbeef)), 15, "what came after it");
        vm.assertEq(checkpoints.claimed(alice), 25, "in all");
    }

    function test_aClaimIsPaidOnce() public {
        credit(10, 20);
        claim(alice, 10, alice);
        bytes32[] memory proof = Merkle.proof(rewards, Merkle.reward(alice, 10));
        vm.expectRevert(abi.encodeWithSelector(Checkpoints.NothingToClaim.selector, 10, 10));
        vm.prank(alice);
        checkpoints.claim(10, proof, alice);
    }

    function test_nobodyClaimsForAnother() public {
        credit(10, 20);
        bytes32[] memory proof = Merkle.proof(rewards, Merkle.reward(bob, 20));
        vm.expectRevert(abi.encodeWithSelector(Checkpoints.NotInCheckpoint.selector, alice, 20));
        vm.prank(alice);
        checkpoints.claim(20, proof, alice);
        vm.expectRevert(abi.encodeWithSelector(Checkpoints.NotInCheckpoint.selector, bob, 21));
        vm.prank(bob);
        checkpoints.claim(21, proof, bob);
    }

    function test_aClaimIsNoneOfTheEventsThatNodesFollow() public {
        credit(10, 20);
        passBorder(staking.currentEpoch());
        (uint64 number, bytes32 hash) = (checkpoints.eventNumber(), checkpoints.rollingHash());
        claim(alice, 10, alice);
        vm.assertEq(checkpoints.eventNumber(), number, "number");
        vm.assertEq(checkpoints.rollingHash(), hash, "hash");
    }

    function test_anOldRootPaysNothing() public {
        credit(10, 20);
        bytes32[] memory old = Merkle.proof(rewards, Merkle.reward(alice, 10));
        credit(25, 20);
        vm.expectRevert(abi.encodeWithSelector(Checkpoints.NotInCheckpoint.selector, alice, 10));
        vm.prank(alice);
        checkpoints.claim(10, old, alice);
    }

    function test_aLowerTotalPaysNothing() public {
        credit(10, 20);
        claim(alice, 10, alice);
        credit(9, 20);
        bytes32[] memory proof = Merkle.proof(rewards, Merkle.reward(alice, 9));
        vm.expectRevert(abi.encodeWithSelector(Checkpoints.NothingToClaim.selector, 9, 10));
        vm.prank(alice);
        checkpoints.claim(9, proof, alice);
    }

    function test_beforeAnyCheckpointThereIsNothing() public {
        vm.expectRevert(abi.encodeWithSelector(Checkpoints.NotInCheckpoint.selector, alice, 1));
        vm.prank(alice);
        checkpoints.claim(1, new bytes32[](0), alice);
    }

    /// @dev Whatever the nodes sign, and whatever somebody gives.
    function testFuzz_neverMoreThanThePoolReleased(uint256 total, uint256 gift) public {
        gift %= 1_000 * SESH;
        token.transfer(address(checkpoints), gift);
        credit(7, 1);
        claim(alice, 7, alice);
        uint256 released = pool.released();
        total = total % 4 == 0 ? released + 8 + total % SESH : total;
        credit(7, total);
        released = pool.released();
        bytes32[] memory proof = Merkle.proof(rewards, Merkle.reward(bob, total));
        if (total == 0) {
            vm.expectRevert(abi.encodeWithSelector(Checkpoints.NothingToClaim.selector, 0, 0));
        } else if (total > type(uint256).max - 7) {
            vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        } else if (total + 7 > released) {
            vm.expectRevert(
                abi.encodeWithSelector(Checkpoints.MoreThanReleased.selector, total + 7, released)
            );
        }
        vm.prank(bob);
        checkpoints.claim(total, proof, bob);
        vm.assertLe(checkpoints.paid(), released, "never more");
        vm.assertEq(checkpoints.paid(), token.balanceOf(alice) + token.balanceOf(bob), "paid is what is paid");
    }

    function test_aPauseStopsClaims() public {
        credit(10, 20);
        vm.prank(GUARDIAN);
        checkpoints.setPaused(true);
        bytes32[] memory proof = Merkle.proof(rewards, Merkle.reward(alice, 10));
        vm.expectRevert(Checkpoints.ClaimsPaused.selector);
        vm.prank(alice);
        checkpoints.claim(10, proof, alice);
        credit(11, 20);
        vm.prank(GUARDIAN);
        checkpoints.setPaused(false);
        claim(alice, 11, alice);
    }

    function test_onlyOwnerAndGuardianPause() public {
        vm.expectRevert(abi.encodeWithSelector(Checkpoints.NotGuardian.selector, alice));
        vm.prank(alice);
        checkpoints.setPaused(true);
        vm.prank(address(timelock));
        checkpoints.setPaused(true);
        vm.prank(address(timelock));
        checkpoints.setGuardian(alice);
        vm.expectRevert(abi.encodeWithSelector(Checkpoints.NotGuardian.selector, GUARDIAN));
        vm.prank(GUARDIAN);
        checkpoints.setPaused(false);
        vm.prank(alice);
        checkpoints.setPaused(false);
    }

    /// @dev A checkpoint of the present epoch with these lifetime totals.
    function credit(uint256 alices, uint256 bobs) private {
        rewards = leaves(Merkle.reward(alice, alices), Merkle.reward(bob, bobs));
        passBorder(staking.currentEpoch());
        submitAll(4, Merkle.root(rewards), 0);
    }

    function claim(address account, uint256 total, address to) private {
        bytes32[] memory proof = Merkle.proof(rewards, Merkle.reward(account, total));
        vm.prank(account);
        checkpoints.claim(total, proof, to);
    }
}
