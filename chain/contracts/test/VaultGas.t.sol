// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Loan} from "../src/faucet/Loan.sol";
import {Registration} from "../src/staking/StakingTypes.sol";
import {VaultSetup} from "./VaultSetup.sol";

/// @title What a faucet's transactions cost, in the worst case that is named
/// @dev Runs with `--isolate`, as `GasTest`.
contract VaultGasTest is VaultSetup {
    uint256 private constant LOAN = 600_000;

    /// @dev The first of a new epoch, as a registration is measured, and the last stake of the vault.
    function test_loan() public {
        registerMany(2);
        passBorder(0);
        vm.prank(PUBLISHER);
        vault.withdraw((STAKES - 1) * REQUIREMENT);
        address operator = vm.addr(3);
        Registration memory declared = candidate(3, operator);
        vm.prank(FAUCET);
        (Loan loan,) = vault.lend(declared, operator);
        vm.assertLe(vm.snapshotGasLastCall("Gas", "loan of a stake, first of an epoch"), LOAN, "loan");

        passBorder(1);
        vm.prank(operator);
        loan.requestExit();
        vm.snapshotGasLastCall("Gas", "loan: exit request, first of an epoch");
        vm.warp(block.timestamp + 30 days);
        staking.escape(3);
        loan.giveBack();
        vm.snapshotGasLastCall("Gas", "loan: given back, to an empty vault");
    }
}
