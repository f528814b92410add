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

    /// @dev One campaign for all, so that each has all of its moves.
    function invariant_everythingAddsUp() public view {
        theSupplyIsConstant();
        everybodyHasWhatIsTheirs();
        stakingHoldsWhatIsRecorded();
        contributionsHoldWhatIsContributed();
        claimsNeverExceedReleases();
        theAggregateIsTheSumOfTheKeys();
    }

    /// @dev Whatever happened before: all principal is paid back, less penalties within their bounds.
    function afterInvariant() public {
        world.everybodyLeaves();
        this.invariant_everythingAddsUp();
        vm.assertEq(token.balanceOf(address(staking)), 0, "all principal is paid back");
    }

    /// @dev Forge's way through the moves differs from run to run: this one, as long as fifteen of them, shows that
    /// each succeeds and is refused often enough.
    function test_everyMoveIsMade() public {
        bytes4[] memory moves = world.moves();
        for (uint256 i = 0; i < 2_000; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(i)));
            bytes memory call = abi.encodePacked(
                moves[dice % moves.length], keccak256(abi.encode(dice)), dice >> 8, dice >> 16
            );
            (bool ok,) = address(world).call(call);
            vm.assertTrue(ok, "a move");
        }
        this.invariant_everythingAddsUp();
        string[18] memory names = [
            "register",
            "open",
            "contribute",
            "finalise",
            "cancel",
            "withdraw",
            "reserve",
            "redirect",
            "requestExit",
            "escape",
            "handOver",
            "changeBeneficiary",
            "claim",
            "release",
            "release of a refused registration",
            "note",
            "pause",
            "setParameter"
        ];
        for (uint256 i = 0; i < names.length; ++i) {
            vm.assertLe(10, world.done(names[i]), string.concat(names[i], " is done"));
            vm.assertLe(5, world.refused(names[i]), string.concat(names[i], " is refused"));
        }
        vm.assertLe(20, world.done("agree"), "checkpoints are taken");
        vm.assertLe(20, world.refused("disagree"), "checkpoints are refused");
        vm.assertLe(5, world.refused("replay of one that left"), "old registrations are refused");
    }

    function theSupplyIsConstant() private view {
        vm.assertEq(token.totalSupply(), token.SUPPLY(), "supply");
        uint256 total = 0;
        for (uint256 i = 0; i < world.accountsLength(); ++i) {
            total += token.balanceOf(world.accounts(i));
        }
        vm.assertEq(total, token.SUPPLY(), "money out and money held is money in");
    }

    /// @dev Nobody has another's, and nothing was paid twice.
    function everybodyHasWhatIsTheirs() private view {
        for (uint256 i = 0; i < world.accountsLength(); ++i) {
            address account = world.accounts(i);
            string memory whose = string.concat("of ", vm.toString(account));
            vm.assertEq(token.balanceOf(account), world.expected(account), whose);
        }
    }

    function stakingHoldsWhatIsRecorded() private view {
        uint256 recorded = 0;
        for (uint256 i = 0; i < world.nodesLength(); ++i) {
            (, uint256[] memory amounts) = staking.sharesOf(world.nodes(i));
            vm.assertLe(amounts.length, 10, "holders");
            for (uint256 j = 0; j < amounts.length; ++j) {
                recorded += amounts[j];
            }
        }
        vm.assertEq(token.balanceOf(address(staking)), recorded, "held by staking");
    }

    function contributionsHoldWhatIsContributed() private view {
        for (uint256 i = 0; i < world.contributionsLength(); ++i) {
            Contribution one = world.contributions(i);
            uint256 held = one.status() == Contribution.Status.Open ? one.total() : 0;
            vm.assertEq(token.balanceOf(address(one)), held, "held by a contribution");
            vm.assertLe(one.contributions().length + one.reservations().length, 10, "slots");
        }
    }

    function claimsNeverExceedReleases() private view {
        vm.assertEq(checkpoints.paid(), world.paid(), "paid");
        vm.assertLe(checkpoints.paid(), checkpoints.funded(), "paid is at most funded");
        vm.assertEq(checkpoints.funded(), world.funded(), "funded");
        vm.assertEq(pool.released(), world.released(), "released");
        vm.assertLe(checkpoints.funded(), pool.released(), "funded is at most released");
    }

    function theAggregateIsTheSumOfTheKeys() private view {
        vm.assertEq(staking.nodeCount(), world.nodesLength(), "count");
        vm.assertEq(staking.aggregateKey(), BlsSigner.publicKey(world.secrets()), "sum of the keys");
    }
}
