// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "../src/checkpoints/Checkpoints.sol";
import {ContributionFactory} from "../src/staking/ContributionFactory.sol";
import {IStaking} from "../src/staking/StakingTypes.sol";
import {Setup} from "./Setup.sol";

contract WiringTest is Setup {
    function test_contractsThatWereDeployedForOthersAreRefused() public {
        vm.expectRevert(ContributionFactory.Miswired.selector);
        new ContributionFactory(address(token), IStaking(address(staking)));
        vm.expectRevert(Checkpoints.Miswired.selector);
        new Checkpoints(address(this), address(0), address(token), pool, staking, GENESIS, EPOCH, 4, 0, 0);
    }

    function test_contractsAreSmallEnoughToDeploy() public view {
        address[6] memory all = [
            address(token),
            address(pool),
            address(staking),
            address(checkpoints),
            address(factory),
            address(factory.implementation())
        ];
        for (uint256 i = 0; i < 6; ++i) {
            vm.assertLe(all[i].code.length, 24_576, "size");
        }
    }
}
