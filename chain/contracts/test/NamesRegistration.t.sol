// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC721} from "solady/tokens/ERC721.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {Names} from "../src/names/Names.sol";
import {Registry} from "../src/names/Registry.sol";
import {NamesSetup} from "./NamesSetup.sol";
import {Vm} from "./Vm.sol";

contract NamesRegistrationTest is NamesSetup {
    uint256 private constant YEAR = 365 days;
    uint256 private constant ANY = type(uint256).max;

    function test_aRegistrationTakesTheFeeAndGivesTheName() public {
        uint256 before = balance(alice);
        take(ALICE, alice, YEAR);
        (address owner, uint40 expiry, uint32 version, uint24 subnames) = names.nameOf(ALICE);
        vm.assertEq(owner, alice, "whose it is");
        vm.assertEq(expiry, block.timestamp + YEAR, "until when");
        vm.assertEq(version, 1, "its first version");
        vm.assertEq(subnames, 0, "no sub-names");
        vm.assertEq(names.ownerOf(ALICE), alice, "as ERC-721 has it");
        vm.assertEq(names.balanceOf(alice), 1, "counted");
        vm.assertEq(before - balance(alice), YEARLY_FEE, "a year's fee");
    }

    function test_whoeverSeesARegistrationCannotTakeTheNameFirst() public {
        commit(ALICE, alice);
        // Bob sees id and secret of what alice sends, and has a minute less than she.
        bytes memory hisIsNone =
            abi.encodeWithSelector(Registry.NotCommitted.selector, names.commitment(ALICE, bob, SECRET));
        vm.expectRevert(hisIsNone);
        vm.prank(bob);
        names.register(ALICE, YEAR, SECRET, ANY);
        vm.expectRevert(hisIsNone);
        vm.prank(bob);
        names.multicall(
            calls(
                abi.encodeCall(names.register, (ALICE, 28 days, SECRET, ANY)),
                abi.encodeCall(names.transferFrom, (bob, alice, ALICE))
            )
        );
        names.commit(names.commitment(ALICE, bob, SECRET));
        uint256 opens = block.timestamp + 1 minutes;
        vm.warp(opens - 1);
        vm.expectRevert(abi.encodeWithSelector(Registry.CommitmentTooNew.selector, opens));
        vm.prank(bob);
        names.register(ALICE, YEAR, SECRET, ANY);
        vm.prank(alice);
        names.register(ALICE, YEAR, SECRET, ANY);
        vm.assertEq(names.ownerOf(ALICE), alice, "hers");
    }

    /// @dev Nor use the commitment up for another period, or without what she lets the name say.
    function test_whoeverSeesARegistrationCannotMakeItAnother() public {
        commit(ALICE, alice);
        bytes[] memory hers = calls(
            abi.encodeCall(names.register, (ALICE, 10 * YEAR, SECRET, ANY)),
            abi.encodeCall(names.setRecord, (ALICE, 1, "x"))
        );
        bytes32[2] memory used =
            [names.commitment(ALICE, bob, SECRET), names.commitment(ALICE, alice, SECRET)];
        uint256 before = balance(bob);
        vm.expectRevert(abi.encodeWithSelector(Registry.NotCommitted.selector, used[0]));
        vm.prank(bob);
        names.register(ALICE, 28 days, SECRET, ANY);
        vm.assertTrue(names.committedAt(used[1]) != 0, "it is there still");
        uint64 number = names.eventNumber();
        vm.prank(alice);
        names.multicall(hers);
        vm.assertEq(names.ownerOf(ALICE), alice, "hers");
        vm.assertEq(expiryOf(ALICE), block.timestamp + 10 * YEAR, "for as long as she pays");
        vm.assertEq(names.eventNumber(), number + 2, "with what it says");
        vm.assertTrue(names.committedAt(used[1]) == 0 && balance(bob) == before, "he had no part in it");
    }

    function test_aCommitmentIsUsedOnce() public {
        take(ALICE, alice, YEAR);
        vm.warp(block.timestamp + YEAR + 30 days);
        bytes32 used = names.commitment(ALICE, alice, SECRET);
        vm.expectRevert(abi.encodeWithSelector(Registry.NotCommitted.selector, used));
        vm.prank(alice);
        names.register(ALICE, YEAR, SECRET, ANY);
    }

    function test_aCommitmentBindsIdOwnerAndSecret() public {
        commit(ALICE, alice);
        bytes32[3] memory others = [
            names.commitment(ALICE + 1, alice, SECRET),
            names.commitment(ALICE, bob, SECRET),
            names.commitment(ALICE, alice, keccak256("other"))
        ];
        vm.expectRevert(abi.encodeWithSelector(Registry.NotCommitted.selector, others[0]));
        vm.prank(alice);
        names.register(ALICE + 1, YEAR, SECRET, ANY);
        vm.expectRevert(abi.encodeWithSelector(Registry.NotCommitted.selector, others[1]));
        vm.prank(bob);
        names.register(ALICE, YEAR, SECRET, ANY);
        vm.expectRevert(abi.encodeWithSelector(Registry.NotCommitted.selector, others[2]));
        vm.prank(alice);
        names.register(ALICE, YEAR, keccak256("other"), ANY);
    }

    /// @dev Whoever copies a commitment can neither make it younger nor keep it from its maker.
    function test_aCommitmentThatIsCopiedServesItsMaker() public {
        bytes32 one = names.commitment(ALICE, alice, SECRET);
        vm.prank(bob);
        names.commit(one);
        uint256 until = block.timestamp + 1 hours;
        vm.warp(block.timestamp + 59);
        vm.expectRevert(abi.encodeWithSelector(Registry.AlreadyCommitted.selector, one, until));
        vm.prank(bob);
        names.commit(one);
        vm.warp(block.timestamp + 1);
        vm.prank(alice);
        names.register(ALICE, YEAR, SECRET, ANY);
    }

    function test_aCommitmentLastsAnHour() public {
        commit(ALICE, alice);
        uint256 closed = block.timestamp - 1 minutes + 1 hours;
        vm.warp(closed + 1);
        vm.expectRevert(abi.encodeWithSelector(Registry.CommitmentTooOld.selector, closed));
        vm.prank(alice);
        names.register(ALICE, YEAR, SECRET, ANY);
        names.commit(names.commitment(ALICE, alice, SECRET));
        vm.warp(block.timestamp + 1 hours);
        vm.prank(alice);
        names.register(ALICE, YEAR, SECRET, ANY);
    }

    function test_whoeverComesFirstHasIt() public {
        commit(ALICE, alice);
        commit(ALICE, bob);
        vm.prank(bob);
        names.register(ALICE, YEAR, SECRET, ANY);
        uint256 freeAt = block.timestamp + YEAR + 30 days;
        vm.expectRevert(abi.encodeWithSelector(Registry.NameTaken.selector, ALICE, freeAt));
        vm.prank(alice);
        names.register(ALICE, YEAR, SECRET, ANY);
    }

    function test_aFeeThatRoseIsRefusedBeforeItIsPaid() public {
        commit(ALICE, alice);
        setParameter("yearlyFee", 11 * SESH);
        bytes memory why = abi.encodeWithSelector(Registry.FeeTooHigh.selector, 11 * SESH, 10 * SESH);
        vm.expectRevert(why);
        vm.prank(alice);
        names.register(ALICE, YEAR, SECRET, 10 * SESH);
        vm.prank(alice);
        names.register(ALICE, YEAR, SECRET, 11 * SESH);
        vm.expectRevert(why);
        vm.prank(alice);
        names.renew(ALICE, YEAR, 10 * SESH);
    }

    function test_whoCannotPayGetsNothing() public {
        commit(ALICE, address(0x50));
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(address(0x50));
        names.register(ALICE, YEAR, SECRET, ANY);
        vm.expectRevert(abi.encodeWithSelector(Registry.NoSuchName.selector, ALICE));
        names.ownerOf(ALICE);
        take(ALICE, alice, YEAR);
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(address(0x50));
        names.renew(ALICE, YEAR, ANY);
    }

    function test_aPermitPaysInOneTransaction() public {
        vm.prank(alice);
        token.approve(address(names), 0);
        commit(ALICE, alice);
        bytes[] memory both = calls(
            allows(ALICES, YEARLY_FEE), abi.encodeCall(names.register, (ALICE, YEAR, SECRET, YEARLY_FEE))
        );
        vm.prank(alice);
        names.multicall(both);
        vm.assertEq(names.ownerOf(ALICE), alice, "registered");

        both = calls(allows(ALICES, YEARLY_FEE), abi.encodeCall(names.renew, (ALICE, YEAR, YEARLY_FEE)));
        vm.prank(alice);
        names.multicall(both);
        vm.assertEq(expiryOf(ALICE), block.timestamp + 2 * YEAR, "renewed");
    }

    function test_aPermitIsForItsSignerAlone() public {
        vm.prank(alice);
        token.approve(address(names), 0);
        commit(ALICE, bob);
        bytes[] memory both = calls(
            allows(ALICES, YEARLY_FEE), abi.encodeCall(names.register, (ALICE, YEAR, SECRET, YEARLY_FEE))
        );
        vm.prank(bob);
        token.approve(address(names), 0);
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(bob);
        names.multicall(both);
    }

    function test_aPermitThatSomebodyUsedBeforeDoesNoHarm() public {
        vm.prank(alice);
        token.approve(address(names), 0);
        commit(ALICE, alice);
        bytes[] memory both = calls(
            allows(ALICES, YEARLY_FEE), abi.encodeCall(names.register, (ALICE, YEAR, SECRET, YEARLY_FEE))
        );
        vm.prank(alice);
        names.multicall(calls(both[0], both[0]));
        vm.prank(alice);
        names.multicall(both);
        vm.assertEq(names.ownerOf(ALICE), alice, "registered");
    }

    function test_periodsLieBetweenAMonthAndTenYears() public {
        commit(ALICE, alice);
        uint256[5] memory bad = [uint256(0), 28 days - 1, 3_650 days + 1, 2 ** 40, ANY];
        for (uint256 i = 0; i < 5; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(Registry.PeriodOutOfRange.selector, bad[i], 28 days, 3_650 days)
            );
            vm.prank(alice);
            names.register(ALICE, bad[i], SECRET, ANY);
        }
        vm.prank(alice);
        names.register(ALICE, 3_650 days, SECRET, ANY);
        take(ALICE + 1, alice, 28 days);
    }

    function test_nobodyPaysMoreThanTenYearsAhead() public {
        take(ALICE, alice, 3_650 days);
        vm.warp(block.timestamp + 100 days);
        uint256[3] memory bad = [100 days + 1, 2 ** 40, ANY];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(Registry.PeriodOutOfRange.selector, bad[i], 28 days, 100 days)
            );
            vm.prank(alice);
            names.renew(ALICE, bad[i], ANY);
        }
        vm.prank(alice);
        names.renew(ALICE, 100 days, ANY);
        vm.assertEq(expiryOf(ALICE), block.timestamp + 3_650 days, "ten years ahead");
    }

    function test_anyoneRenewsAndTheNameStaysItsOwners() public {
        take(ALICE, alice, YEAR);
        uint256 expiry = expiryOf(ALICE);
        (uint256 alices, uint256 bobs) = (balance(alice), balance(bob));
        vm.prank(bob);
        names.renew(ALICE, YEAR / 2, ANY);
        vm.assertEq(expiryOf(ALICE), expiry + YEAR / 2, "later");
        vm.assertEq(names.ownerOf(ALICE), alice, "hers");
        vm.assertEq(versionOf(ALICE), 1, "all that was said of it stays");
        vm.assertEq(bobs - balance(bob), YEARLY_FEE / 2, "he paid");
        vm.assertEq(balance(alice), alices, "she did not");
    }

    function test_anExpiredNameCanBeRenewedAndNothingElse() public {
        take(ALICE, alice, YEAR);
        uint256 expiry = expiryOf(ALICE);
        vm.warp(expiry - 1);
        vm.assertEq(names.ownerOf(ALICE), alice, "until its last second");
        vm.prank(alice);
        names.setPrice(ALICE, 5);
        vm.warp(expiry);
        bytes[] memory all = new bytes[](10);
        all[0] = abi.encodeCall(names.transferFrom, (alice, bob, ALICE));
        all[1] = abi.encodeWithSignature("safeTransferFrom(address,address,uint256)", alice, bob, ALICE);
        all[2] = abi.encodeCall(names.setRecord, (ALICE, 1, "x"));
        all[3] = abi.encodeCall(names.setSubnameRecord, (ALICE, "shop", 1, "x"));
        all[4] = abi.encodeCall(names.setReverse, (ALICE));
        all[5] = abi.encodeCall(names.reveal, (ALICE, "alice"));
        all[6] = abi.encodeCall(names.setPrice, (ALICE, 6));
        all[7] = abi.encodeCall(names.accept, (ALICE, 0));
        all[8] = abi.encodeCall(names.buy, (ALICE, 1, 5));
        all[9] =
            abi.encodeCall(names.offer, (ALICE, 1, uint96(MINIMUM_OFFER), uint40(block.timestamp + 2 days)));
        for (uint256 i = 0; i < all.length; ++i) {
            vm.prank(alice);
            (bool ok, bytes memory why) = address(names).call(all[i]);
            vm.assertTrue(!ok, "refused");
            vm.assertEq(why, abi.encodeWithSelector(Registry.NameExpired.selector, ALICE, expiry), "why");
        }
        vm.assertEq(names.priceOf(ALICE), 0, "not for sale");
        (address owner,,,) = names.nameOf(ALICE);
        vm.assertEq(owner, alice, "still hers to renew");
        vm.prank(alice);
        names.renew(ALICE, 28 days, ANY);
        vm.assertEq(expiryOf(ALICE), expiry + 28 days, "from its expiry on");
        vm.assertEq(names.priceOf(ALICE), 5, "as it was");
        vm.prank(alice);
        names.setRecord(ALICE, 1, "x");
    }

    function test_aRenewalMakesAnExpiredNameLive() public {
        take(ALICE, alice, YEAR);
        uint256 expiry = expiryOf(ALICE);
        vm.warp(expiry + 29 days);
        uint256 most = 3_650 days + 29 days;
        vm.expectRevert(
            abi.encodeWithSelector(Registry.PeriodOutOfRange.selector, 29 days, 29 days + 1, most)
        );
        names.renew(ALICE, 29 days, ANY);
        vm.prank(alice);
        names.renew(ALICE, 29 days + 1, ANY);
        vm.assertEq(names.ownerOf(ALICE), alice, "live, for a second");
        vm.assertEq(expiryOf(ALICE), expiry + 29 days + 1, "time that it was expired is paid for too");
    }

    function test_afterItsGraceANameIsFree() public {
        take(ALICE, alice, YEAR);
        uint256 freeAt = expiryOf(ALICE) + 30 days;
        commit(ALICE, bob);
        vm.warp(freeAt - 1 hours);
        names.commit(names.commitment(ALICE, bob, keccak256("later")));
        vm.warp(freeAt - 1);
        vm.expectRevert(abi.encodeWithSelector(Registry.NameTaken.selector, ALICE, freeAt));
        vm.prank(bob);
        names.register(ALICE, YEAR, keccak256("later"), ANY);
        vm.warp(freeAt);
        vm.expectRevert(abi.encodeWithSelector(Registry.NoSuchName.selector, ALICE));
        names.ownerOf(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Registry.NoSuchName.selector, ALICE));
        vm.prank(alice);
        names.renew(ALICE, YEAR, ANY);
        (address owner, uint40 expiry,,) = names.nameOf(ALICE);
        vm.assertTrue(owner == address(0) && expiry == 0, "nobody's");
        vm.recordLogs();
        vm.prank(bob);
        names.register(ALICE, YEAR, keccak256("later"), ANY);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        isTransfer(logs[0], alice, address(0));
        isTransfer(logs[1], address(0), bob);
        vm.assertEq(names.ownerOf(ALICE), bob, "his");
        vm.assertEq(versionOf(ALICE), 2, "its next version");
        vm.assertTrue(names.balanceOf(alice) == 0 && names.balanceOf(bob) == 1, "counted");
    }

    /// @dev Approvals, sub-names, price, offer and reverse record of the owner before.
    function test_nothingOfTheOwnerBeforeOutlivesAnExpiry() public {
        take(ALICE, alice, YEAR);
        vm.prank(alice);
        names.approve(address(0xca), ALICE);
        vm.prank(alice);
        names.setSubnameRecord(ALICE, "shop", 1, "x");
        vm.prank(alice);
        names.setPrice(ALICE, 5);
        vm.prank(alice);
        names.setReverse(ALICE);
        vm.warp(expiryOf(ALICE) - 1);
        offerFor(ALICE, alice, 100 * SESH, 30);
        vm.warp(block.timestamp + 30 days - 59);
        take(ALICE, bob, YEAR);
        vm.assertEq(names.getApproved(ALICE), address(0), "approval");
        vm.assertEq(subnamesOf(ALICE), 0, "sub-names");
        vm.assertEq(names.priceOf(ALICE), 0, "price");
        vm.assertEq(names.reverseOf(alice), 0, "reverse record");
        vm.expectRevert(abi.encodeWithSignature("NotForSale(uint256)", ALICE));
        vm.prank(alice);
        names.buy(ALICE, 2, ANY);
        vm.expectRevert(abi.encodeWithSignature("NoOffer(uint256)", ALICE));
        vm.prank(bob);
        names.accept(ALICE, 0);
        uint256 before = balance(alice);
        vm.prank(alice);
        names.withdrawOffer(ALICE);
        vm.assertEq(balance(alice) - before, 100 * SESH, "paid back");
    }

    function test_tenthsOfTheFeesGoToPoolAndTreasury() public {
        take(ALICE, alice, 28 days);
        uint256 fee = names.feeOf(28 days);
        uint256 before = balance(address(pool));
        vm.prank(address(0x5e));
        names.releaseFees();
        vm.assertEq(balance(TREASURY), fee / 10, "a tenth, rounded down");
        vm.assertEq(balance(address(pool)) - before, fee - fee / 10, "the rest");
        vm.assertEq(balance(address(names)), 0, "nothing stays");
        names.releaseFees();
        vm.assertEq(balance(TREASURY), fee / 10, "once");
    }

    function test_theTimelockNamesTheTreasury() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, alice));
        vm.prank(alice);
        names.setTreasury(alice);
        vm.expectRevert(Names.ZeroAddress.selector);
        vm.prank(address(timelock));
        names.setTreasury(address(0));
        vm.prank(address(timelock));
        names.setTreasury(address(0x7f));
        take(ALICE, alice, YEAR);
        names.releaseFees();
        vm.assertEq(balance(address(0x7f)), YEARLY_FEE / 10, "the other");
    }

    /// @dev At any fee, to the end of the range: at least what the time costs, less than one unit more.
    function testFuzz_feesAreRoundedUp(uint256 yearly, uint256 period) public {
        yearly = 1e9 + yearly % (1_000e9 - 1e9 + 1);
        period = 28 days + period % (3_650 days - 28 days + 1);
        setParameter("yearlyFee", yearly);
        uint256 fee = names.feeOf(period);
        vm.assertLe(yearly * period, fee * 365 days, "at least");
        vm.assertTrue((fee - 1) * 365 days < yearly * period, "not a unit more");
        uint256 before = balance(alice);
        take(ALICE, alice, period);
        vm.assertEq(before - balance(alice), fee, "paid");
    }

    /// @dev Time that is paid for in pieces costs no less, and ends no later.
    function testFuzz_piecesAreNoCheaper(uint256 first, uint256 second) public {
        first = 28 days + first % (1_000 days);
        second = 28 days + second % (1_000 days);
        vm.assertLe(
            names.feeOf(first + second), names.feeOf(first) + names.feeOf(second), "two pieces for one whole"
        );
        take(ALICE, alice, first);
        uint256 expiry = expiryOf(ALICE);
        vm.prank(bob);
        names.renew(ALICE, second, ANY);
        vm.assertEq(expiryOf(ALICE), expiry + second, "what is paid for");
    }

    function test_itIsAnERC721() public view {
        bytes4[3] memory interfaces = [bytes4(0x01ffc9a7), bytes4(0x80ac58cd), bytes4(0x5b5e139f)];
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertTrue(names.supportsInterface(interfaces[i]), "ERC-165, ERC-721 and its metadata");
        }
        vm.assertEq(bytes(names.name()), "Session Names", "name");
        vm.assertEq(bytes(names.symbol()), "NAME", "symbol");
        vm.assertEq(bytes(names.tokenURI(ALICE)), "", "nothing is told");
    }

    /// @dev A token that is burnt and made anew is not one that its owner handed over.
    function isTransfer(Vm.Log memory log, address from, address to) private pure {
        vm.assertEq(log.topics[0], ERC721.Transfer.selector, "ERC-721's event");
        vm.assertEq(uint256(log.topics[1]), uint160(from), "from");
        vm.assertEq(uint256(log.topics[2]), uint160(to), "to");
    }

    function setParameter(bytes32 name, uint256 value) private {
        vm.prank(address(timelock));
        names.setParameter(name, value);
    }
}
