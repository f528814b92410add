// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Setup} from "./Setup.sol";

contract RewardPoolTest is Setup {
    uint256 private constant HELD = 40_000_000 * SESH;

    function test_aYearPaysFifteenPointOnePercentSimple() public {
        vm.warp(GENESIS + 365 days);
        vm.prank(address(0x5e));
        pool.release();
        vm.assertEq(pool.released(), HELD * 151 / 1_000, "15.1 %");
        vm.assertEq(token.balanceOf(address(checkpoints)), HELD * 151 / 1_000, "to the one who pays claims");
    }

    function test_aYearReleasedDailyPaysFourteenPercent() public {
        for (uint256 day = 1; day <= 365; ++day) {
            vm.warp(GENESIS + day * 1 days);
            pool.release();
        }
        uint256 bps = pool.released() * 10_000 / HELD;
        vm.assertEq(bps, 1_401, "14.01 %");
    }

    function test_timeCountsOnWhileThereIsNothingToPay() public {
        uint256 reward = pool.payout(HELD, 60);
        vm.assertTrue(pool.release() == 0 && pool.eventNumber() == 0, "no time, no payout, no event");
        vm.warp(GENESIS + 60);
        vm.assertEq(pool.release(), reward, "a minute's");
        vm.assertEq(pool.release(), 0, "once");
    }

    function testFuzz_aPayoutIsNeverMoreThanTheBalance(uint256 balance, uint256 duration) public view {
        (balance, duration) = (balance % (240_000_000 * SESH + 1), duration % 1e12);
        uint256 payout = pool.payout(balance, duration);
        vm.assertLe(payout, balance, "at most all");
        if (duration <= 2_000 days) {
            // Times the divisor, a floor lies within one divisor of the product.
            uint256 product = balance * 151 * duration;
            uint256 divisor = 31_536_000_000;
            vm.assertTrue(payout * divisor <= product && product < (payout + 1) * divisor, "the floor");
        }
    }

    function testFuzz_whatIsReleasedAndWhatIsHeldIsAllThereWas(uint32[8] memory gaps) public {
        uint256 all = HELD;
        for (uint256 i = 0; i < 8; ++i) {
            vm.warp(block.timestamp + gaps[i]);
            pool.release();
            token.transfer(address(pool), gaps[i]);
            all += gaps[i];
        }
        vm.assertEq(token.balanceOf(address(pool)) + pool.released(), all, "held and released");
        vm.assertEq(token.balanceOf(address(checkpoints)), pool.released(), "released is paid");
    }
}
