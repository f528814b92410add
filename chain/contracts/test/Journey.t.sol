// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "./Merkle.sol";
import {Setup} from "./Setup.sol";

/// @title The whole way of a node: register, be rewarded, leave
contract JourneyTest is Setup {
    function test_anOperatorRegistersIsRewardedAndLeaves() public {
        registerMany(4);
        address operator = vm.addr(1);
        vm.assertEq(token.balanceOf(operator), 0, "all is staked");

        passBorder(0);
        pool.release();
        uint256 reward = pool.released();
        bytes32[] memory rewards = leaves(Merkle.reward(operator, reward), Merkle.reward(vm.addr(2), 7));
        submitAll(4, Merkle.root(rewards), 0);
        vm.prank(operator);
        checkpoints.claim(reward, Merkle.proof(rewards, rewards[0]), address(0xbeef));
        vm.assertEq(token.balanceOf(address(0xbeef)), reward, "rewards are paid to where they are wanted");

        vm.prank(operator);
        staking.requestExit(1);
        passBorder(1);
        bytes32[] memory states = leaves(Merkle.state(1, 4, 0), Merkle.state(2, 1, 0));
        submitAll(4, Merkle.root(rewards), Merkle.root(states));
        staking.release(1, 4, 0, Merkle.proof(states, states[0]));
        vm.assertEq(token.balanceOf(operator), REQUIREMENT, "the stake is paid back");
        vm.assertEq(staking.nodeCount(), 3, "the node is gone");
    }
}
