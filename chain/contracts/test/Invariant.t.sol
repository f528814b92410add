// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {RewardPool} from "../src/RewardPool.sol";
import {Checkpoints} from "../src/checkpoints/Checkpoints.sol";
import {Contribution} from "../src/staking/Contribution.sol";
import {Staking} from "../src/staking/Staking.sol";
import {SessionToken} from "../src/token/SessionToken.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Vm} from "./Vm.sol";
import {World} from "./World.sol";

/// @title What always holds
contract InvariantTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    World private world;
    SessionToken private token;
    Staking private staking;
    RewardPool private pool;
    Checkpoints private checkpoints;

    function setUp() public {
        world = new World();
        world.setUp();
        (address token_, address staking_, address pool_, address checkpoints_) = world.everything();
        (token, staking) = (SessionToken(token_), Staking(staking_));
        (pool, checkpoints) = (RewardPool(pool_), Checkpoints(checkpoints_));
    }

    function targetSelectors() public view returns (FuzzSelector[] memory all) {
        all = new FuzzSelector[](1);
        all[0] = FuzzSelector(address(world), world.moves());
    }

    function targetContracts() public view returns (address[] memory all) {
        all = new address[](1);
        all[0] = address(world);
    }

    function invariant_theSupplyIsConstant() public view {
        vm.assertEq(token.totalSupply(), token.SUPPLY(), "supply");
    }

    function invariant_stakingHoldsWhatIsRecorded() public view {
        uint256 recorded = 0;
        for (uint256 i = 0; i < world.nodesLength(); ++i) {
            (, uint256[] memory amounts) = staking.sharesOf(world.nodes(i));
            for (uint256 j = 0; j < amounts.length; ++j) {
                recorded += amounts[j];
            }
        }
        vm.assertEq(token.balanceOf(address(staking)), recorded, "held");
        vm.assertEq(recorded, staking.nodeCount() * 25_000e9, "a whole stake for each node");
    }

    function invariant_contributionsHoldWhatIsContributed() public view {
        for (uint256 i = 0; i < world.contributionsLength(); ++i) {
            Contribution one = world.contributions(i);
            uint256 held = one.status() == Contribution.Status.Open ? one.total() : 0;
            vm.assertEq(token.balanceOf(address(one)), held, "held");
        }
    }

    function invariant_claimsNeverExceedReleases() public view {
        vm.assertLe(checkpoints.paid(), checkpoints.funded(), "paid");
        vm.assertLe(checkpoints.funded(), pool.released(), "funded");
        uint256 held = pool.released() + world.givenToCheckpoints() - checkpoints.paid();
        vm.assertEq(token.balanceOf(address(checkpoints)), held, "held");
    }

    function invariant_theAggregateIsTheSumOfTheKeys() public view {
        vm.assertEq(staking.nodeCount(), world.nodesLength(), "count");
        vm.assertEq(staking.aggregateKey(), BlsSigner.publicKey(world.secrets()), "sum");
    }
}
