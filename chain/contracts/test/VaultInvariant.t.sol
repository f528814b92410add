// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Loan} from "../src/faucet/Loan.sol";
import {Vault} from "../src/faucet/Vault.sol";
import {Staking} from "../src/staking/Staking.sol";
import {SessionToken} from "../src/token/SessionToken.sol";
import {VaultWorld} from "./VaultWorld.sol";
import {Vm} from "./Vm.sol";

/// @title What always holds of what a faucet lends
contract VaultInvariantTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    VaultWorld private world;
    SessionToken private token;
    Staking private staking;
    Vault private vault;
    uint256 private pool;

    function setUp() public {
        world = new VaultWorld();
        world.setUp();
        (address token_, address staking_, address vault_, address pool_) = world.everything();
        (token, staking, vault) = (SessionToken(token_), Staking(staking_), Vault(vault_));
        pool = token.balanceOf(pool_);
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
    function invariant_whatWasPutInIsThereButPenalties() public view {
        uint256 lent = 0;
        uint256 returning = 0;
        for (uint256 i = 0; i < world.loansLength(); ++i) {
            Loan loan = world.loans(i);
            (address[] memory holders, uint256[] memory amounts) = staking.sharesOf(loan.id());
            returning += token.balanceOf(address(loan));
            vm.assertEq(holders.length, world.present(loan) ? 1 : 0, "holders");
            if (holders.length == 0) continue;
            vm.assertEq(holders[0], address(loan), "the loan holds the node's stake");
            vm.assertEq(amounts[0], world.staked(loan), "all of it");
            vm.assertEq(address(vault.loanOf(loan.id())), address(loan), "and is found by the node");
            lent += amounts[0];
        }
        vm.assertEq(token.balanceOf(address(staking)), lent, "held by staking");
        vm.assertEq(token.balanceOf(address(vault)), world.expected(), "held by the vault");
        uint256 there = world.expected() + returning + lent;
        vm.assertEq(there + world.taken() + world.penalties(), world.given(), "all that was put in");
        (,,, address pool_) = world.everything();
        vm.assertEq(token.balanceOf(pool_) - pool, world.penalties(), "penalties are the pool's");
        // Tokens leave the vault into a loan, or to its owner.
        vm.assertEq(token.balanceOf(world.owner()), world.taken(), "taken out by the owner");
        address[] memory people = world.people();
        for (uint256 i = 0; i < people.length; ++i) {
            vm.assertEq(token.balanceOf(people[i]), 0, "nobody else has any");
        }
    }

    /// @dev Whatever happened before: all that was lent comes back, less penalties.
    function afterInvariant() public {
        world.everybodyLeaves();
        this.invariant_whatWasPutInIsThereButPenalties();
        uint256 back = world.given() - world.taken() - world.penalties();
        vm.assertEq(token.balanceOf(address(vault)), back, "all is back");
    }

    /// @dev As `InvariantTest` does it: each move succeeds and is refused often enough.
    function test_everyMoveIsMade() public {
        bytes4[] memory moves = world.moves();
        for (uint256 i = 0; i < 1_500; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(i)));
            bytes memory call = abi.encodePacked(
                moves[dice % moves.length], keccak256(abi.encode(dice)), dice >> 8, dice >> 16
            );
            (bool ok,) = address(world).call(call);
            vm.assertTrue(ok, "a move");
            if (i % 20 == 0) this.invariant_whatWasPutInIsThereButPenalties();
        }
        this.afterInvariant();
        string[8] memory names =
            ["lend", "requestExit", "release", "escape", "note", "withdraw", "redirect", "setLender"];
        for (uint256 i = 0; i < names.length; ++i) {
            vm.assertLe(10, world.done(names[i]), string.concat(names[i], " is done"));
            vm.assertLe(5, world.refused(names[i]), string.concat(names[i], " is refused"));
        }
        vm.assertLe(20, world.refused("steal"), "nothing else moves a stake");
        vm.assertLe(10, world.done("giveBack"), "stakes are given back");
        vm.assertLe(10, world.done("put"), "the vault is filled");
        vm.assertLe(10, world.done("setRequirement"), "what a node takes changes");
    }
}
