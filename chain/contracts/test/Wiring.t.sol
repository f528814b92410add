// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "../src/checkpoints/Checkpoints.sol";
import {ContributionFactory} from "../src/staking/ContributionFactory.sol";
import {Names} from "../src/names/Names.sol";
import {RewardPool} from "../src/RewardPool.sol";
import {Staking} from "../src/staking/Staking.sol";
import {IContributions, IStaking, IStates} from "../src/staking/StakingTypes.sol";
import {Setup} from "./Setup.sol";

contract WiringTest is Setup {
    function test_contractsThatWereDeployedForOthersAreRefused() public {
        vm.expectRevert(ContributionFactory.Miswired.selector);
        new ContributionFactory(address(token), IStaking(address(staking)));
        vm.expectRevert(Checkpoints.Miswired.selector);
        new Checkpoints(
            address(this), address(0), address(token), pool, staking, names, GENESIS, EPOCH, 4, 0, 0
        );
        vm.expectRevert(Names.Miswired.selector);
        new Names(address(this), address(this), pool, TREASURY, GENESIS, EPOCH, SESH, SESH);
    }

    /// @dev Names of other epochs, or that pay another pool, are not those that checkpoints are about.
    function test_checkpointsTakeNoNamesThatWereDeployedForOthers() public {
        uint64 nonce = vm.getNonce(address(this));
        address at = vm.computeCreateAddress(address(this), nonce + 3);
        RewardPool fresh = new RewardPool(address(token), at, GENESIS, EPOCH);
        Staking staked = new Staking(
            address(this),
            address(token),
            address(fresh),
            IStates(at),
            IContributions(address(factory)),
            GENESIS,
            EPOCH,
            REQUIREMENT,
            15 days,
            1_000
        );
        Names own = new Names(address(this), address(token), fresh, TREASURY, GENESIS, EPOCH + 1, SESH, SESH);
        vm.expectRevert(Checkpoints.Miswired.selector);
        new Checkpoints(
            address(this), address(0), address(token), fresh, staked, own, GENESIS, EPOCH, 4, 0, 0
        );
    }

    function test_namesNeedATreasury() public {
        vm.expectRevert(Names.ZeroAddress.selector);
        new Names(address(this), address(token), pool, address(0), GENESIS, EPOCH, SESH, SESH);
    }

    function test_contractsAreSmallEnoughToDeploy() public view {
        address[7] memory all = [
            address(token),
            address(pool),
            address(staking),
            address(checkpoints),
            address(factory),
            address(factory.implementation()),
            address(names)
        ];
        for (uint256 i = 0; i < 7; ++i) {
            vm.assertLe(all[i].code.length, 24_576, "size");
        }
    }
}
