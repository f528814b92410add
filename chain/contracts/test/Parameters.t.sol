// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {Parameters} from "../src/libraries/Parameters.sol";
import {Setup} from "./Setup.sol";

contract ParametersTest is Setup {
    function test_aChangeWaitsForTheTimelock() public {
        bytes memory change = abi.encodeCall(Parameters.setParameter, ("stakingRequirement", 20_000 * SESH));
        timelock.schedule(address(staking), 0, change, 0, 0, TIMELOCK_DELAY);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        timelock.execute(address(staking), 0, change, 0, 0);
        vm.warp(block.timestamp + TIMELOCK_DELAY);
        timelock.execute(address(staking), 0, change, 0, 0);
        vm.assertEq(staking.parameter("stakingRequirement"), 20_000 * SESH, "changed");
    }

    function test_nobodyElseChangesAnything() public {
        bytes memory why = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this));
        vm.expectRevert(why);
        staking.setParameter("unlockTime", 1 days);
        vm.expectRevert(why);
        checkpoints.setParameter("minimumNodes", 5);
        vm.expectRevert(why);
        checkpoints.setGuardian(address(this));
        vm.expectRevert(why);
        names.setParameter("yearlyFee", 5 * SESH);
    }

    function test_unknownNamesAreRefused() public {
        vm.expectRevert(abi.encodeWithSelector(Parameters.UnknownParameter.selector, bytes32("minimumNodes")));
        staking.bounds("minimumNodes");
        vm.prank(address(timelock));
        vm.expectRevert(abi.encodeWithSelector(Parameters.UnknownParameter.selector, bytes32("x")));
        checkpoints.setParameter("x", 5);
        vm.expectRevert(abi.encodeWithSelector(Parameters.UnknownParameter.selector, bytes32("activeFor")));
        names.bounds("activeFor");
    }

    /// @dev As README.md lists them.
    function test_bounds() public view {
        bounded(staking, "stakingRequirement", 100 * SESH, 250_000 * SESH);
        bounded(staking, "unlockTime", 1 minutes, 30 days);
        bounded(staking, "maximumPenalty", 0, 1_000);
        bounded(checkpoints, "minimumNodes", 4, 1_000);
        bounded(checkpoints, "submitterReward", 0, 1_000 * SESH);
        bounded(checkpoints, "activeFor", 0, 7 days);
        bounded(names, "yearlyFee", 1 * SESH, 1_000 * SESH);
        bounded(names, "minimumOffer", 1 * SESH, 1_000 * SESH);
        vm.assertLe(30 days, staking.ESCAPE_DELAY(), "whoever takes the escape hatch has served to the end");
    }

    function bounded(Parameters chosen, bytes32 name, uint256 wantedLeast, uint256 wantedMost) private pure {
        (uint256 least, uint256 most) = chosen.bounds(name);
        vm.assertEq(least, wantedLeast, "least");
        vm.assertEq(most, wantedMost, "most");
    }

    function testFuzz_valuesStayWithinBounds(uint256 pick, uint256 value) public {
        Parameters[3] memory contracts = [Parameters(staking), Parameters(checkpoints), Parameters(names)];
        bytes32[3][3] memory all = [
            [bytes32("stakingRequirement"), "unlockTime", "maximumPenalty"],
            [bytes32("minimumNodes"), "submitterReward", "activeFor"],
            [bytes32("yearlyFee"), "minimumOffer", "minimumOffer"]
        ];
        Parameters chosen = contracts[pick % 3];
        bytes32 name = all[pick % 3][pick / 3 % 3];
        (uint256 least, uint256 most) = chosen.bounds(name);
        // A third each: anything, one beyond a bound, on a bound.
        if (value % 3 == 1) value = value % 2 == 0 || least == 0 ? most + 1 : least - 1;
        else if (value % 3 == 2) value = value % 2 == 0 ? most : least;
        if (value < least || value > most) {
            vm.expectRevert(abi.encodeWithSelector(Parameters.OutOfBounds.selector, name, value, least, most));
        }
        vm.prank(address(timelock));
        chosen.setParameter(name, value);
        (uint256 now_) = chosen.parameter(name);
        vm.assertTrue(now_ >= least && now_ <= most, "within bounds");
    }
}
