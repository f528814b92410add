// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Loan} from "../src/faucet/Loan.sol";
import {Vault} from "../src/faucet/Vault.sol";
import {NodeSet} from "../src/staking/NodeSet.sol";
import {Staking} from "../src/staking/Staking.sol";
import {Registration} from "../src/staking/StakingTypes.sol";
import {Merkle} from "./Merkle.sol";
import {VaultSetup} from "./VaultSetup.sol";
import {Vm} from "./Vm.sol";

contract VaultTest is VaultSetup {
    address private constant OPERATOR = address(0x09);
    address private constant STRANGER = address(0x5e);

    function test_aLentNodeIsStakedByItsLoanAndRewardedToItsOperator() public {
        address expected = vault.loanFor(OPERATOR, keyOf(1));
        vm.recordLogs();
        (Loan loan, uint64 id) = lend(1, OPERATOR);
        vm.assertEq(address(loan), expected, "where it was said to be");
        vm.assertEq(address(loan).code.length, 45, "a clone of ERC-1167");
        vm.assertEq(address(vault.loanOf(id)), address(loan), "found by the node");
        vm.assertTrue(loan.id() == id && id == 1, "of the node");
        vm.assertEq(loan.operator(), OPERATOR, "operator");
        vm.assertEq(vault.timesLent(keyOf(1)), 1, "once");
        (address[] memory holders, uint256[] memory amounts) = staking.sharesOf(id);
        vm.assertTrue(holders.length == 1 && holders[0] == address(loan), "one holder, the loan");
        vm.assertEq(amounts[0], REQUIREMENT, "the whole stake");
        vm.assertEq(token.balanceOf(address(vault)), (STAKES - 1) * REQUIREMENT, "exactly that");
        vm.assertEq(token.balanceOf(address(loan)), 0, "nothing stays with the loan");
        vm.assertEq(token.allowance(address(loan), address(staking)), 0, "nor may be taken from it");

        Vm.Log[] memory logs = vm.getRecordedLogs();
        Vm.Log memory last = logs[logs.length - 1];
        vm.assertEq(last.topics[0], Vault.Lent.selector, "told");
        vm.assertEq(last.topics[1], bytes32(uint256(uint160(address(loan)))), "which loan");
        vm.assertEq(last.topics[2], bytes32(uint256(uint160(OPERATOR))), "to whom");
        vm.assertEq(last.topics[3], keyOf(1), "for which node");
        bool rewarded = false;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != Staking.Registered.selector) continue;
            bytes memory data = logs[i].data;
            // The last three words are the only share.
            address beneficiary;
            assembly ("memory-safe") {
                beneficiary := mload(sub(add(add(data, 0x20), mload(data)), 0x40))
            }
            rewarded = beneficiary == OPERATOR;
        }
        vm.assertTrue(rewarded, "its operator is the beneficiary");
    }

    function test_theLenderLendsAndTheOwnerTakesOutAndNobodyDoesBoth() public {
        Registration memory declared = candidate(1, STRANGER);
        address[2] memory others = [STRANGER, PUBLISHER];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Vault.NotLender.selector, others[i]));
            vm.prank(others[i]);
            vault.lend(declared, STRANGER);
        }
        others[1] = FAUCET;
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory why = abi.encodeWithSelector(Vault.NotVaultOwner.selector, others[i]);
            vm.expectRevert(why);
            vm.prank(others[i]);
            vault.withdraw(0);
            vm.expectRevert(why);
            vm.prank(others[i]);
            vault.setLender(others[i]);
        }
        uint256 all = STAKES * REQUIREMENT;
        vm.expectRevert(abi.encodeWithSelector(Vault.VaultEmpty.selector, all, all + 1));
        vm.prank(PUBLISHER);
        vault.withdraw(all + 1);
        lend(1, OPERATOR);
        vm.prank(PUBLISHER);
        vault.withdraw(all - REQUIREMENT);
        vm.assertEq(token.balanceOf(PUBLISHER), all - REQUIREMENT, "all but what is lent");
        vm.assertEq(token.balanceOf(FAUCET), 0, "and nothing to who lends");
        declared = candidate(2, OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(Vault.VaultEmpty.selector, 0, REQUIREMENT));
        vm.prank(FAUCET);
        vault.lend(declared, OPERATOR);
    }

    /// @dev As when the faucet's key was taken: whoever has it lends no more, and what it lent still comes back.
    function test_theOwnerNamesWhoLends() public {
        (Loan loan,) = lend(1, STRANGER);
        vm.recordLogs();
        vm.prank(PUBLISHER);
        vault.setLender(OPERATOR);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].topics[0], Vault.LenderChanged.selector, "told");
        vm.assertEq(logs[0].data, abi.encode(OPERATOR), "who");
        Registration memory declared = candidate(2, OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(Vault.NotLender.selector, FAUCET));
        vm.prank(FAUCET);
        vault.lend(declared, OPERATOR);
        vm.prank(OPERATOR);
        vault.lend(declared, OPERATOR);
        vm.prank(PUBLISHER);
        vault.setLender(address(0));
        declared = candidate(3, OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(Vault.NotLender.selector, OPERATOR));
        vm.prank(OPERATOR);
        vault.lend(declared, OPERATOR);
        leave(1, loan);
        vm.assertEq(token.balanceOf(address(vault)), (STAKES - 1) * REQUIREMENT, "all but the other's");
    }

    /// @dev Of any call of the vault and of a loan, by whoever has the faucet's key: tokens go into loans alone.
    function testFuzz_noCallOfTheLenderTakesTokensOut(bytes4 any, uint256 which, uint40[4] calldata words)
        public
    {
        (Loan loan,) = lend(1, FAUCET);
        bytes4[7] memory known = [
            Vault.withdraw.selector,
            Vault.setLender.selector,
            Vault.lend.selector,
            Loan.open.selector,
            Loan.changeBeneficiary.selector,
            Loan.giveBack.selector,
            any
        ];
        bytes memory call = abi.encodePacked(known[which % 7], words);
        address target = which / 7 % 2 == 0 ? address(vault) : address(loan);
        vm.prank(FAUCET);
        (bool done,) = target.call(call);
        vm.assertTrue(!done || which % 7 > 2, "refused of the vault");
        vm.assertEq(token.balanceOf(address(vault)), (STAKES - 1) * REQUIREMENT, "all is there");
        vm.assertEq(token.balanceOf(FAUCET), 0, "nothing is its own");
        vm.assertEq(vault.lender(), FAUCET, "nor does it say who lends");
    }

    /// @dev The node's keys agreed to one operator and one loan.
    function test_whatWasSignedForAnotherIsNotLent() public {
        Registration memory declared = candidate(1, OPERATOR);
        vm.expectRevert(NodeSet.BadProofOfPossession.selector);
        vm.prank(FAUCET);
        vault.lend(declared, STRANGER);
        lend(1, OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(NodeSet.KeyInUse.selector, 1));
        vm.prank(FAUCET);
        vault.lend(declared, OPERATOR);
        leave(1, vault.loanOf(1));
        vm.expectRevert(NodeSet.BadProofOfPossession.selector);
        vm.prank(FAUCET);
        vault.lend(declared, OPERATOR);
        vm.assertEq(vault.timesLent(keyOf(1)), 1, "what failed does not count");
        (Loan second,) = lend(1, OPERATOR);
        vm.assertTrue(address(second) != address(vault.loanOf(1)), "another loan");
        declared = candidate(2, address(0));
        vm.expectRevert(Staking.ZeroAddress.selector);
        vm.prank(FAUCET);
        vault.lend(declared, address(0));
    }

    function test_anOperatorHasAnAddressOfItsOwnForEachNode() public {
        (Loan first,) = lend(1, OPERATOR);
        (Loan second,) = lend(2, OPERATOR);
        vm.assertTrue(address(first) != address(second), "not one operator to the nodes");
    }

    function test_manyLoansAreLookedUpAtOnce() public {
        (Loan first,) = lend(1, OPERATOR);
        register(9);
        (Loan second,) = lend(2, STRANGER);
        uint64[] memory ids = new uint64[](4);
        (ids[0], ids[1], ids[2], ids[3]) = (3, 2, 1, 99);
        (Loan[] memory loans, address[] memory operators) = vault.loansOf(ids);
        vm.assertTrue(loans.length == 4 && operators.length == 4, "one for each");
        vm.assertEq(address(loans[0]), address(second), "the second");
        vm.assertEq(address(loans[2]), address(first), "the first");
        vm.assertTrue(operators[0] == STRANGER && operators[2] == OPERATOR, "their operators");
        for (uint256 i = 1; i < 4; i += 2) {
            vm.assertTrue(address(loans[i]) == address(0) && operators[i] == address(0), "nothing was lent");
        }
    }

    function test_operatorAndOwnerMakeANodeLeaveAndNobodyElse() public {
        (Loan loan,) = lend(1, OPERATOR);
        (Loan other,) = lend(2, OPERATOR);
        address[2] memory others = [STRANGER, FAUCET];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Loan.NotOperator.selector, others[i]));
            vm.prank(others[i]);
            loan.requestExit();
        }
        vm.expectRevert(abi.encodeWithSelector(Staking.NotAContributor.selector, 1, OPERATOR));
        vm.prank(OPERATOR);
        staking.requestExit(1);
        vm.prank(OPERATOR);
        loan.requestExit();
        vm.prank(PUBLISHER);
        other.requestExit();
        (, uint64 requestedAt,,) = staking.stakeOf(1);
        vm.assertEq(requestedAt, block.timestamp, "of the loan's node");
        vm.expectRevert(abi.encodeWithSelector(Staking.ExitAlreadyRequested.selector, 1, requestedAt));
        vm.prank(OPERATOR);
        loan.requestExit();
    }

    function test_onlyTheOperatorSendsRewardsElsewhere() public {
        (Loan loan,) = lend(1, OPERATOR);
        address[3] memory others = [FAUCET, STRANGER, PUBLISHER];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Loan.NotOperator.selector, others[i]));
            vm.prank(others[i]);
            loan.changeBeneficiary(others[i]);
        }
        vm.recordLogs();
        vm.prank(OPERATOR);
        loan.changeBeneficiary(address(0xbe));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].topics[0], Staking.BeneficiaryChanged.selector, "told");
        vm.assertEq(logs[0].data, abi.encode(address(0xbe)), "to whom");
        vm.expectRevert(Staking.ZeroAddress.selector);
        vm.prank(OPERATOR);
        loan.changeBeneficiary(address(0));
    }

    /// @dev Whoever brings it about, and whatever was sent to the loan beside it.
    function testFuzz_allThatALoanHoldsGoesBackToTheVault(uint96 beside, uint16 bps, address anybody) public {
        vm.assume(anybody != address(0));
        beside %= uint96(1_000 * SESH);
        (Loan loan, uint64 id) = lend(1, OPERATOR);
        vm.assertEq(loan.giveBack(), 0, "nothing so far");
        vm.prank(OPERATOR);
        loan.requestExit();
        passBorder(0);
        for (uint256 secret = 2; secret <= 4; ++secret) {
            register(secret);
        }
        passBorder(1);
        bytes32[] memory states = leaves(Merkle.state(id, 4, bps), Merkle.state(77, 1, 0));
        submitAll(4, 0, Merkle.root(states));
        staking.release(id, 4, bps, Merkle.proof(states, states[0]));
        token.transfer(address(loan), beside);
        uint256 penalty = REQUIREMENT * (bps < 1_000 ? bps : 1_000) / 10_000;
        vm.prank(anybody);
        vm.assertEq(loan.giveBack(), REQUIREMENT - penalty + beside, "all of it");
        vm.assertEq(
            token.balanceOf(address(vault)), STAKES * REQUIREMENT - penalty + beside, "less the penalty"
        );
        vm.assertEq(token.balanceOf(address(loan)), 0, "nothing is left");
    }

    /// @dev Of all keys and operators: where a loan will be follows from them and how often the key was lent before.
    function testFuzz_whereALoanWillBeFollowsFromKeyAndOperator(uint256 secret, address operator) public {
        vm.assume(operator != address(0));
        secret = 1 + secret % (1 << 200);
        for (uint64 id = 1; id <= 2; ++id) {
            address expected = vault.loanFor(operator, keyOf(secret));
            (Loan loan,) = lend(secret, operator);
            vm.assertEq(address(loan), expected, "there");
            vm.assertTrue(vault.loanFor(operator, keyOf(secret)) != expected, "the next is elsewhere");
            leave(id, loan);
        }
    }

    function test_aRequirementThatChangesIsFollowed() public {
        vm.prank(address(timelock));
        staking.setParameter("stakingRequirement", 100 * SESH);
        (, uint64 id) = lend(1, OPERATOR);
        (, uint256[] memory amounts) = staking.sharesOf(id);
        vm.assertEq(amounts[0], 100 * SESH, "what a node takes now");
    }

    function test_nobodyButTheVaultOpensALoan() public {
        (Loan loan,) = lend(1, OPERATOR);
        Registration memory declared = candidate(2, OPERATOR);
        Loan implementation = vault.implementation();
        address[3] memory callers = [OPERATOR, FAUCET, address(loan)];
        for (uint256 i = 0; i < 3; ++i) {
            bytes memory why = abi.encodeWithSelector(Loan.NotVault.selector, callers[i]);
            vm.expectRevert(why);
            vm.prank(callers[i]);
            loan.open(callers[i], declared, 0);
            vm.expectRevert(why);
            vm.prank(callers[i]);
            implementation.open(callers[i], declared, 0);
        }
    }

    function test_aVaultForAnotherTokenIsRefused() public {
        vm.expectRevert(Vault.Miswired.selector);
        new Vault(address(pool), staking, PUBLISHER, FAUCET);
    }

    function test_vaultAndLoanAreSmallEnoughToDeploy() public view {
        vm.assertLe(address(vault).code.length, 24_576, "vault");
        vm.assertLe(address(vault.implementation()).code.length, 24_576, "loan");
    }

    function leave(uint64 id, Loan loan) private {
        vm.prank(PUBLISHER);
        loan.requestExit();
        vm.warp(block.timestamp + 30 days);
        staking.escape(id);
        loan.giveBack();
    }
}
